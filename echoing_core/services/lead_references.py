"""What percentiles compare with, for a recording that has only some of the 12 leads.

The model folder keeps references for the lead sets that devices record. For any other set a few
hundred simulated ECGs are reduced to its leads and embedded when such a recording is opened: some
seconds, once, since the result is kept beside the user's other caches.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import write_text_atomically
from echoing_core.documents import parse_json
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.records import StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.lead_sets import LEAD_SETS, LeadSet, lead_set_of, reduced_to
from echoing_core.uncertainty.reference import (
    LeadReference,
    Reference,
    read_references,
    stored_references,
)

if TYPE_CHECKING:
    from echoing_core.services.models import Model

logger = logging.getLogger(__name__)

N_ON_DEMAND = 200
"""Simulated ECGs of a reference that is measured when it is needed: a percentile is then known to
some three points."""

N_KEPT = 400
"""ECGs of a reference that the model folder keeps."""

# A cohort of its own: nobody in it was trained on.
_SEED = 52_011
# About half a second of simulation, after which a page may answer a click.
_PATIENTS_A_STEP = 10

Float32s = npt.NDArray[np.float32]


def reference_of(model: Model, of: StandardEcg | LeadSet) -> Reference:
    """The reference for a recording's leads, measured where it is not known yet.

    Parameters
    ----------
    model : Model
    of : StandardEcg or LeadSet

    Returns
    -------
    Reference
        For all 12 leads the model's own; also for a model that cannot be told which leads are
        missing, and so has no other.
    """
    job = LeadReferenceJob(model, of)
    while not job.finished:
        job.step()
    return job.reference


class LeadReferenceJob:
    """`reference_of` in steps of about half a second. Most are finished from the beginning.

    Parameters
    ----------
    model : Model
        Remembers what is measured.
    of : StandardEcg or LeadSet
    n_ecgs : int
        Simulated ECGs, where the reference has to be measured.
    """

    def __init__(
        self, model: Model, of: StandardEcg | LeadSet, *, n_ecgs: int = N_ON_DEMAND
    ) -> None:
        self.model = model
        self.lead_set = of if isinstance(of, LeadSet) else lead_set_of(of)
        self.n_ecgs = n_ecgs
        self._known = _known(model, self.lead_set)
        self._uncertainty: list[npt.NDArray[np.float64]] = []
        self._by_lead: list[Float32s] = []
        self._next = 0

    @property
    def finished(self) -> bool:
        return self._known is not None

    @property
    def share_done(self) -> float:
        """Of the work, 0..1."""
        return 1.0 if self.finished else self._next / self.n_ecgs

    @property
    def reference(self) -> Reference:
        """The result.

        Raises
        ------
        ValueError
            It is not finished.
        """
        if self._known is None:
            raise ValueError("the reference is not measured yet")
        return self._known

    def step(self) -> None:
        """Simulate and embed some more ECGs; after the last, keep the result."""
        if self._known is not None:
            return
        from echoing_core.embed.encode import encode_batch_terms
        from echoing_core.simulate import simulate_study

        stop = min(self._next + _PATIENTS_A_STEP, self.n_ecgs)
        studies = [simulate_study(_SEED, patient) for patient in range(self._next, stop)]
        checkpoint = self.model.checkpoint
        ecgs = [
            standardise(study.recording_12, filter_padding=checkpoint.filter_padding)
            for study in studies
        ]
        windows = encode_batch_terms(
            checkpoint.encoder.ecg,
            checkpoint.scaler,
            *reduced_to(
                self.lead_set,
                np.stack([ecg.signal_mv for ecg in ecgs]),
                np.stack([ecg.valid for ecg in ecgs]),
            ),
        )
        self._uncertainty.append(windows.embedding.uncertainty)
        if windows.by_lead is not None:
            self._by_lead.append(windows.by_lead)
        self._next = stop
        if stop == self.n_ecgs:
            self._known = measured = LeadReference.of_leads(
                self.lead_set,
                np.concatenate(self._uncertainty),
                np.concatenate(self._by_lead) if self._by_lead else None,
                name="simulated ECGs with everyday noise",
                simulated=True,
            )
            self.model.lead_references[self.lead_set.key] = measured
            _keep(_file_of(self.model, self.lead_set), measured)


def measure_lead_references(
    model: Model,
    *,
    ptbxl: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    n_ecgs: int = N_KEPT,
    progress: Progress = SILENT,
) -> dict[str, LeadReference]:
    """Measure the reference of each of `LEAD_SETS`, a quarter of a minute each on one slow core.

    Where a folder of PTB-XL is given, the ECGs are its own as recorded: a person's Holter is then
    compared with people. Otherwise they are simulated patients that training left out, with
    everyday noise; those reach lower and higher than real ECGs of few leads do.

    Parameters
    ----------
    model : Model
    ptbxl : path, optional
        Folder of PTB-XL, of which the training folds are read.
    folder : path, optional
        Model folder into which they are written; its hash stays what it is.
    n_ecgs : int
        How many, at most.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    dict of str to LeadReference
        By the keys of the lead sets.

    Raises
    ------
    CheckpointError
        The model cannot be told which leads are missing.
    DataSetError
        The folder of PTB-XL cannot be read.
    """
    from echoing_core.datasets.ptbxl import load_ptbxl
    from echoing_core.datasets.simulated import CohortConfig, build_simulated
    from echoing_core.models.checkpoint import update_documents
    from echoing_core.training.demo import PTBXL_TRAIN_FOLDS
    from echoing_core.uncertainty.lead_references import fit_lead_references

    checkpoint = model.checkpoint
    if not checkpoint.masks_leads:
        raise CheckpointError(
            f"Model {model.name} cannot be told which leads are missing, so it has no "
            "references by leads. Name a model of the compact architecture."
        )
    if ptbxl is not None:
        folds = PTBXL_TRAIN_FOLDS
        studies = load_ptbxl(Path(ptbxl), folds=folds, progress=progress.stage("read PTB-XL"))
        name = f"ECGs of PTB-XL folds {folds[0]}-{folds[-1]} as recorded"
    else:
        cohort = checkpoint.training.get("cohort") or {}
        studies = build_simulated(
            # One patient in ten is held out, and each has at least one ECG.
            12 * n_ecgs,
            int(cohort.get("seed", CohortConfig().seed)),
            splits=("valid",),
            filter_padding=checkpoint.filter_padding,
            progress=progress.stage("simulate"),
        )
        name = "simulated ECGs of held-out patients, everyday noise"
    # Evenly over folds or patients, and the same ones each time.
    rows = np.unique(np.linspace(0, len(studies) - 1, n_ecgs).round().astype(np.intp))
    references = fit_lead_references(
        checkpoint.encoder.ecg,
        checkpoint.scaler,
        studies.signal_mv[rows],
        studies.valid[rows],
        [lead_set for lead_set in LEAD_SETS if not lead_set.is_all],
        name=name,
        simulated=ptbxl is None,
        progress=progress.stage("measure each lead set"),
    )
    if folder is not None:
        document = stored_references(references)
        update_documents(Path(folder), measured={"lead_references": document}, sigma2=model.sigma2)
    return references


def _known(model: Model, lead_set: LeadSet) -> Reference | None:
    if lead_set.is_all or not model.masks_leads:
        return model.reference
    if lead_set.key not in model.lead_references:
        found = _kept(_file_of(model, lead_set), lead_set.key)
        if found is None:
            return None
        model.lead_references[lead_set.key] = found
    return model.lead_references[lead_set.key]


def _file_of(model: Model, lead_set: LeadSet) -> Path | None:
    """Where this machine keeps it; None without a home."""
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    name = f"{lead_set.key.replace(':', '-')}.json"
    return caches / "echoing" / "lead_references" / model.hash[:32] / name


def _kept(path: Path | None, key: str) -> LeadReference | None:
    if path is None or not path.is_file():
        return None
    try:
        return read_references(parse_json(path.read_bytes()))[key]
    # A cache that somebody cut or changed is measured anew.
    except (OSError, ValueError, KeyError, CheckpointError, ConfigError):
        logger.warning("the kept reference of the leads %s cannot be read", key)
        return None


def _keep(path: Path | None, reference: LeadReference) -> None:
    if path is None:
        return
    document = stored_references({reference.lead_set.key: reference})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, json.dumps(document) + "\n")
    except OSError as error:
        # A home that cannot be written to costs some seconds the next time, and nothing else.
        logger.warning("the reference of these leads could not be kept: %s", error.strerror)
