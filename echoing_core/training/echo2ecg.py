"""Echo2ECG and ULIP: an ECG encoder drawn towards echo studies, from data to a model folder.

The clips of a study are mapped, pooled by attention and mapped again into a space of their own
(`models.otis.StudySide`); an ECG is mapped there from what its encoder makes of it. ECG and study
of a pair are drawn together by InfoNCE at a fixed temperature. There are no texts and no sigma^2.

ULIP in its place has a frozen teacher of echo and text. A study is the mean of its clips, and the
ECG is drawn to it and to the teacher's embedding of its report; the teacher's two are not drawn to
each other.

What a reader of the model gets for an ECG is the encoder's own vector, before the map into that
space, as its authors' nearest neighbours and probes have it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.study_views import StudyViews
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.metrics.scores import recall_at_k, relevant_ranks
from echoing_core.models.config import BAND_LIMITED
from echoing_core.models.devices import device_of
from echoing_core.models.encoders import Encoder, build_encoder
from echoing_core.models.frozen import FrozenEncoder
from echoing_core.models.otis import OtisEncoder, StudySide, TeacherSide
from echoing_core.records import BoolArray
from echoing_core.training.distributed import gathered
from echoing_core.training.paired import training_record
from echoing_core.training.run import TrainedPair
from echoing_core.training.settings import RunConfig
from echoing_core.training.study_batches import StudyBatch, StudyPairs, pair_with_views
from echoing_core.training.trainer import Term, Trainer, widened
from echoing_core.uncertainty.absent import save_without_sigma2

F32 = npt.NDArray[np.float32]

_ROWS = 64
_MAX_VALID = 1000


class StudyTrainer(Trainer):
    """`Trainer` whose loss is between ECGs and echo studies."""

    def terms(self, batch: Any) -> list[tuple[float, Term]]:
        """One term, or ULIP's two; see `Trainer.terms`.

        Parameters
        ----------
        batch : StudyBatch

        Returns
        -------
        list of (float, Term)
        """
        return [(1.0, partial(self._study_term, batch))]

    def _study_term(self, batch: StudyBatch) -> tuple[Tensor, dict[str, float]]:
        (encoder, side), device = _with_studies(self.encoder), self.world.device
        n_ecgs, n_studies = batch.match.shape
        segments, views = (x.to(device, self._dtype) for x in (batch.segments, batch.views))
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            with self._dropping(n_ecgs):
                ecg = side.of_ecg(encoder.ecg.tower(segments))
            study = side.study(views, batch.missing.to(device))
        z_ecg = functional.normalize(gathered(widened(ecg), n_ecgs, self.world), dim=-1)
        z_study = functional.normalize(gathered(widened(study), n_studies, self.world), dim=-1)
        match = batch.match.to(device)
        # The loss on cosines reads no sigma^2.
        total = self.text_loss(z_ecg, z_ecg, z_study, z_study, match).total
        aligned = (z_ecg @ z_study.T)[match].mean()
        figures = {"study": float(total.detach()), "alignment": float(aligned.detach())}
        if batch.texts is None:
            return total, figures
        z_text = functional.normalize(batch.texts.to(z_ecg), dim=-1)
        texts = self.text_loss(z_ecg, z_ecg, z_text, z_text, match).total
        figures["text"] = float(texts.detach())
        weight = self.config.objective.text_weight
        return weight * texts + (1.0 - weight) * total, figures


def _with_studies(encoder: Encoder) -> tuple[FrozenEncoder, StudySide | TeacherSide]:
    """The encoder as one that reads echo studies, and what it reads them by."""
    if not isinstance(encoder, FrozenEncoder) or encoder.study is None:
        raise ConfigError(
            "This model does not read echo studies. Name one that `echoing train echo2ecg` made."
        )
    return encoder, encoder.study


@torch.no_grad()
def embed_ecgs_and_studies(encoder: Encoder, pairs: StudyPairs) -> tuple[F32, F32]:
    """Both in the space that they share.

    Parameters
    ----------
    encoder : FrozenEncoder
        With its side of echo studies, in evaluation mode.
    pairs : StudyPairs
        n ECGs of m studies.

    Returns
    -------
    ecgs : ndarray, shape (n, dim), float32
    studies : ndarray, shape (m, dim), float32
        Both of unit length.

    Raises
    ------
    ConfigError
        The model does not read echo studies, or not of this width.
    """
    whole, side = _with_studies(encoder)
    width = whole.config.study.view_width
    if pairs.vectors.shape[1] != width:
        raise ConfigError(
            f"This model reads {width} numbers a clip and is given {pairs.vectors.shape[1]}. Embed "
            "the clips with the teacher that it was trained with."
        )
    # In training the encoder may lie on a GPU.
    device, ecgs, studies = device_of(whole), [], []
    for first in range(0, len(pairs), _ROWS):
        rows = slice(first, first + _ROWS)
        features = whole.ecg.features(
            # Copied, since a prepared set is mapped and cannot be written to.
            torch.from_numpy(np.array(pairs.signal_mv[rows])).to(device),
            torch.from_numpy(np.array(pairs.valid[rows])).to(device),
        )
        ecgs.append(functional.normalize(side.of_ecg(features), dim=-1).cpu().numpy())
    for first in range(0, len(pairs.rows), _ROWS):
        own = range(first, min(first + _ROWS, len(pairs.rows)))
        views, missing = (torch.from_numpy(x).to(device) for x in pairs.views(own))
        studies.append(functional.normalize(side.study(views, missing), dim=-1).cpu().numpy())
    return np.concatenate(ecgs), np.concatenate(studies)


@dataclass(frozen=True, eq=False)
class StudyInputs:
    """What a run on echo studies starts from, with its settings.

    Attributes
    ----------
    train : StudyPairs
    table : DataFrame
        Of the training ECGs that have a study, as `StudySet.table`.
    valid : StudyPairs or None
    config : RunConfig
        With the width that the clips have.
    encoder : FrozenEncoder
        New, by the run's seed.
    views : StudyViews
    """

    train: StudyPairs
    table: pd.DataFrame
    valid: StudyPairs | None
    config: RunConfig
    encoder: Encoder
    views: StudyViews


def build_study_inputs(
    config: RunConfig,
    studies: StudySet,
    views: StudyViews,
    texts: StudyViews | None = None,
) -> StudyInputs:
    """Split the studies, pair them with their clips, build the encoder.

    Parameters
    ----------
    config : RunConfig
        Of a model with a side of echo studies.
    studies : StudySet
        With train and valid patients; test patients are not touched.
    views : StudyViews
    texts : StudyViews, optional
        The teacher's embeddings of the studies' reports, where ``config.model.study.teacher``.

    Returns
    -------
    StudyInputs

    Raises
    ------
    DataSetError
        No training ECG has its echo study among ``views``.
    ConfigError
        The model has no side of echo studies.
    """
    if not config.model.has_study:
        raise ConfigError(
            "Echo studies need a model that reads them. Start from the preset echo2ecg, which has "
            "model.study."
        )
    if config.model.study.teacher != (texts is not None) or (
        texts is not None and texts.width != views.width
    ):
        raise ConfigError(
            "With model.study.teacher (ULIP) clips and texts of one teacher are needed, of equal "
            "width; without it no texts are read."
        )
    split = studies.table["split"].to_numpy()
    train_set = studies.where(np.asarray(split == "train"))
    train, used = pair_with_views(train_set, views, texts)
    valid = None
    # Without validation patients a run is merely not watched.
    with contextlib.suppress(DataSetError):
        valid, _ = pair_with_views(studies.where(np.asarray(split == "valid")), views)
    side = dataclasses.replace(config.model.study, view_width=views.width)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, study=side))
    # The first weights follow from the seed alone, whatever was drawn before.
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.model)
    set_drop_path(encoder, config.drop_path)
    return StudyInputs(
        train, train_set.table[used].reset_index(drop=True), valid, config, encoder, views
    )


def set_drop_path(encoder: Encoder, share: float) -> None:
    """Let the branches of blocks be left out in training, the last most often.

    Parameters
    ----------
    encoder : Encoder
    share : float
        Of the last block; the first leaves none out.
    """
    for module in encoder.modules():
        if isinstance(module, OtisEncoder):
            top = max(1, len(module.blocks) - 1)
            for k, block in enumerate(module.blocks):
                block.drop_path = share * k / top  # type: ignore[assignment]


class StudyValidation:
    """How often the ECG's own study is among the nearest ten, on validation patients.

    Parameters
    ----------
    pairs : StudyPairs
        At most 1,000 are used, always the same.
    """

    names = ("R@10 own study",)

    def __init__(self, pairs: StudyPairs) -> None:
        n = min(_MAX_VALID, len(pairs))
        self.pairs = dataclasses.replace(
            pairs, signal_mv=pairs.signal_mv[:n], valid=pairs.valid[:n], study=pairs.study[:n]
        )

    def __call__(self, encoder: Encoder, step: int) -> dict[str, float]:
        """Measure an encoder in evaluation mode.

        Parameters
        ----------
        encoder : FrozenEncoder
        step : int
            Not read: the figures of all steps are on the same ECGs.

        Returns
        -------
        dict
            Figures by name.
        """
        ecgs, studies = embed_ecgs_and_studies(encoder, self.pairs)
        own: BoolArray = self.pairs.study[:, None] == np.arange(len(studies))
        ranks = relevant_ranks(-(ecgs @ studies.T), own)
        return {self.names[0]: recall_at_k(ranks, 10)}


def write_study_model(
    out: Path,
    inputs: StudyInputs,
    trained: TrainedPair,
    *,
    origin: Mapping[str, str | None],
    minutes: float,
) -> str:
    """Write the model folder.

    Parameters
    ----------
    out : Path
    inputs : StudyInputs
    trained : TrainedPair
    origin : mapping
        Where the data come from, for the training record.
    minutes : float
        What training took.

    Returns
    -------
    str
        The model's hash.
    """
    (encoder, side), config = _with_studies(trained.encoder), inputs.config
    real = inputs.table[~inputs.table["simulated"].to_numpy(dtype=bool)]
    record = training_record([inputs.table], encoder, config, minutes)
    training = record | {
        "real_source": ", ".join(sorted(set(real["source"].astype(str)))) or None,
        "echo_pairs": len(inputs.train),
        "echo_studies": len(inputs.train.rows),
        "echo_clips": len(inputs.views),
        # Not as ``echo_teacher``: the vector that a reader gets does not lie in its space.
        "clips_by": inputs.views.teacher,
        "clips_by_hash": inputs.views.teacher_hash,
        "echo_simulated": inputs.views.simulated,
        "second_stage": None,
        # Its table of places in time is never learnt.
        "ecg_parameters": sum(
            p.numel() for name, p in encoder.ecg.named_parameters() if "pos_embed_x" not in name
        ),
        "study_parameters": sum(p.numel() for p in side.parameters()),
        **({} if trained.kept is None else {"kept": dataclasses.asdict(trained.kept)}),
        **origin,
    }
    return save_without_sigma2(
        out,
        encoder,
        training,
        lambda model_hash: _card(out.name, model_hash, inputs, trained, training),
        filter_padding=config.filter_padding,
    )


def _card(
    name: str,
    model_hash: str,
    inputs: StudyInputs,
    trained: TrainedPair,
    training: Mapping[str, Any],
) -> str:
    config, table = inputs.config, inputs.table
    simulated = bool(table["simulated"].all())
    which = "simulated ECGs; no real patient stands behind them" if simulated else "ECGs"
    clips = "simulated clips" if inputs.views.simulated else "clips"
    return "\n".join(
        [
            f"# Model card: {name}",
            "",
            "**Research use only. Not a medical device, not for diagnosis.**",
            "",
            f"- Hash: `{model_hash[:16]}`",
            f"- ECG encoder: {training['ecg_parameters']:,} parameters; side of echo studies: "
            f"{training['study_parameters']:,}",
            f"- Preset `{config.preset}`, {trained.steps} steps of {config.batch_size}, seed "
            f"{config.seed}",
            "- No text encoder: it answers no question in words and finds nothing by words",
            "- No sigma^2: one constant stands for it, so it does not say where it can be believed",
            "",
            "## Trained on",
            "",
            f"{len(table)} {which}, of {table['patient_id'].nunique()} patients, each drawn "
            f"towards its echo study: {training['echo_studies']} studies, of "
            f"{training['echo_clips']} {clips} embedded by {inputs.views.teacher}.",
            "",
            "## What to know before believing it",
            "",
            f"- {BAND_LIMITED}",
            f"- It reads at {config.model.frozen.input_hz} Hz. At which rate Echo2ECG's authors "
            "read ECGs they do not say.",
            "- Leads that were not recorded are given to it as flat lines.",
            "",
        ]
    )
