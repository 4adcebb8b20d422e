"""Does sigma^2 agree with what PTB-XL's annotators noted on the quality of a signal?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from echoing_core.datasets.ptbxl import NOTES
from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.uncertainty.part import Part, measured
from echoing_core.evaluate.uncertainty.scores import Scorer
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.training.demo import PTBXL_TEST_FOLDS

_METHOD = (
    "ECGs with a note against ECGs without any, among those whose metadata are complete (in the "
    "others an empty note says nothing). A note names the leads concerned, often a single one, "
    "and was made on the raw signal, wander below 0.5 Hz included. On the folds that the model "
    "was trained on, an ECG without notes may have served as a clean original; no note was a "
    "target. Intervals: 95 %, bootstrap over patients."
)


def notes_study(
    checkpoint: Checkpoint,
    studies: StudySet,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Part:
    """AUROC of each score for each kind of note and for any, on the held-out fold and on all.

    Parameters
    ----------
    studies : StudySet
        PTB-XL, from `load_ptbxl`.
    """
    known = studies.where(studies.table["quality"] != "unknown")
    table = known.table
    scores = Scorer.of(checkpoint).windows(known.signal_mv, known.valid, progress=progress)
    patients = np.asarray(table["patient_id"].astype(str))
    noted = {name: _has(table[name]) for name in NOTES}
    clean = ~np.logical_or.reduce(list(noted.values()))
    held_out = np.isin(table["fold"].to_numpy(), PTBXL_TEST_FOLDS)
    results: list[Result] = []
    for data, rows in (
        ("PTB-XL fold 9", held_out),
        ("PTB-XL folds 1-9 (1-8 were in training)", np.ones_like(held_out)),
    ):
        for task, positive in {"any note": ~clean, **noted}.items():
            compared = rows & (positive | clean)
            label = positive[compared]
            if label.all() or not label.any():
                continue
            results += measured(
                (data, f"{task.replace('_', ' ')} ({int(label.sum())})", "AUROC"),
                auroc,
                {name: values[compared] for name, values in scores.items()},
                patients[compared],
                given=(label,),
                simulated=False,
                n_resamples=n_resamples,
            )
    return Part(
        name="ptbxl_notes",
        title="PTB-XL's own notes",
        method=_METHOD,
        results=tuple(results),
        counts={"ECGs": len(known), "left out, notes unknown": len(studies) - len(known)},
    )


def _has(note: pd.Series) -> BoolArray:
    # Some notes are commas and spaces only.
    return np.asarray(note.fillna("").astype(str).str.strip(" ,") != "")
