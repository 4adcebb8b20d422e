"""The shipped index: simulated ECGs and reports of patients that no training saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from echoing_core.datasets.simulated import build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_reports
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LONG_PADDING
from echoing_core.retrieve.index import ORIGINAL, REPORTS_EMBEDDED, TRANSLATED, build_index
from echoing_core.uncertainty.reference import Reference

GALLERY_SEED = 20_001
"""Another seed than any cohort's: patients of different seeds are different people."""


def build_demo_index(
    out: Path,
    checkpoint: Checkpoint,
    *,
    n_items: int = 1000,
    seed: int = GALLERY_SEED,
    progress: Progress = SILENT,
) -> int:
    """Simulate a gallery, embed it with ``checkpoint`` and write the index folder ``out``.

    Parameters
    ----------
    out : Path
        Index folder to write.
    checkpoint : Checkpoint
        The index is bound to its hash.
    n_items : int
        Simulated ECGs, each with its report.
    seed : int
        Of the cohort; not that of any training.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    int
        Number of items written.
    """
    gallery = gallery_set(
        n_items, seed, filter_padding=checkpoint.filter_padding, progress=progress
    )
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, gallery.signal_mv, gallery.valid)
    text = encode_reports(checkpoint, [str(report) for report in gallery.table["report"]])
    build_index(
        out,
        ecg=ecg,
        text=text,
        items=items_of(gallery, ecg.uncertainty, text.uncertainty, checkpoint),
        checkpoint_hash=checkpoint.hash,
        card={
            "name": "demo gallery",
            "description": "Simulated ECGs and reports, none of them used in training. "
            "Traces are drawn again from seed and id.",
            # Traces are not stored: each is simulated again, from its record id, when it is shown.
            "simulated": True,
            "seed": seed,
            "model": checkpoint.name,
            **({} if checkpoint.has_text else {REPORTS_EMBEDDED: False}),
        },
    )
    return len(gallery.table)


def gallery_set(
    n_items: int,
    seed: int,
    *,
    filter_padding: str = LONG_PADDING,
    progress: Progress = SILENT,
) -> StudySet:
    """Simulate the first studies of a cohort.

    Parameters
    ----------
    n_items : int
        Studies.
    seed : int
        Of the cohort.
    filter_padding : {"long", "scipy"}
        That of the model that reads it.
    progress : Progress, optional
        Counts patients.

    Returns
    -------
    StudySet, n_items rows
    """
    # Every patient has at least one ECG, so as many patients are certainly enough.
    cohort = build_simulated(
        n_items, seed, n_workers=2, filter_padding=filter_padding, progress=progress
    )
    first = np.zeros(len(cohort.table), dtype=bool)
    first[:n_items] = True
    return cohort.where(first)


def items_of(
    gallery: StudySet,
    uncertainty: np.ndarray,
    text_uncertainty: np.ndarray,
    checkpoint: Checkpoint,
) -> pd.DataFrame:
    """Make the table that stands beside the vectors of an index.

    Parameters
    ----------
    gallery : StudySet, n rows
    uncertainty, text_uncertainty : ndarray, shape (n,)
        Sums of sigma^2 of ECGs and of reports.
    checkpoint : Checkpoint
        Its reference cohort gives the percentiles of the ECGs.

    Returns
    -------
    DataFrame, n rows
    """
    table = gallery.table
    # Percentiles are computed once here, since the vectors never change under an index.
    reference = Reference.from_dict(checkpoint.reference)
    items = pd.DataFrame(
        {
            "item_id": table["record_id"].astype(str).to_numpy(),
            "patient_id": table["patient_id"].astype(str).to_numpy(),
            "record_id": table["record_id"].astype(str).to_numpy(),
            # Real sets have ECGs without one.
            "report": table["report"].fillna("").astype(str).to_numpy(),
            "uncertainty": uncertainty,
            "percentile": reference.percentile(uncertainty),
            "text_uncertainty": text_uncertainty,
            "simulated": table["simulated"].to_numpy(dtype=bool),
            "source": table["source"].astype(str).to_numpy(),
        }
    )
    # As PTB-XL's adapter calls what was written, and what its publishers translated of it.
    for column, given in ((ORIGINAL, "report_original"), (TRANSLATED, "report_en")):
        if given in table.columns:
            items[column] = table[given].fillna("").astype(str).to_numpy()
    # The truth of simulated hearts goes along, so that a search can be judged.
    labels = [column for column in table.columns if column.startswith("label_")]
    return pd.concat([items, table[labels].reset_index(drop=True)], axis=1)
