"""Questions whose answers a run may learn, and what a study table knows of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.reports.understanding import AskedFinding, Understood, prompt_sets_of
from echoing_core.zeroshot.prompts import PromptSet

FINDING_LABELS: dict[str, str] = {
    "sinus_bradycardia": "sinus_bradycardia",
    "sinus_tachycardia": "sinus_tachycardia",
    "sinus_arrhythmia": "sinus_arrhythmia",
    "atrial_flutter": "flutter",
    "paced_rhythm": "paced",
    "pvc": "pvc",
    "pac": "pac",
    "rbbb": "rbbb",
    "irbbb": "irbbb",
    "lafb": "lafb",
    "av_block_1": "av_block_1",
    "lvh": "lvh",
    "mi_anterior": "sub_AMI",
    "mi_inferior": "sub_IMI",
}
"""Finding of the lexicon -> label (without ``label_``), of those beyond the shipped questions."""

_FEWEST = 10


def questions_of(shipped: Sequence[PromptSet], sets: Sequence[StudySet]) -> tuple[PromptSet, ...]:
    """Questions whose answers are known for some ECGs, both ways.

    Parameters
    ----------
    shipped : sequence of PromptSet
    sets : sequence of StudySet

    Returns
    -------
    tuple of PromptSet
        The shipped ones, then those of `FINDING_LABELS` in the reader's words; each with a label
        that at least 10 ECGs have and 10 have not.
    """
    findings = tuple(AskedFinding(finding) for finding in FINDING_LABELS)
    further = [
        dataclasses.replace(question, label=label)
        for question, label in zip(
            prompt_sets_of(Understood("", findings)), FINDING_LABELS.values(), strict=True
        )
    ]
    candidates = [question for question in (*shipped, *further) if question.label is not None]
    columns = [np.concatenate([_column(one, question) for one in sets]) for question in candidates]
    return tuple(
        question
        for question, truth in zip(candidates, columns, strict=True)
        if (truth == 1).sum() >= _FEWEST and (truth == 0).sum() >= _FEWEST
    )


def answers_of(studies: StudySet, questions: Sequence[PromptSet]) -> npt.NDArray[np.float32]:
    """Truth of each ECG for each question.

    Parameters
    ----------
    studies : StudySet
    questions : sequence of PromptSet
        With labels.

    Returns
    -------
    ndarray, shape (n, n_questions)
        1, 0, or NaN where it is not known.
    """
    if not questions:
        return np.zeros((len(studies), 0), dtype=np.float32)
    return np.stack([_column(studies, question) for question in questions], axis=1)


def _column(studies: StudySet, question: PromptSet) -> npt.NDArray[np.float32]:
    name = f"label_{question.label}"
    if name not in studies.table.columns:
        return np.full(len(studies), np.nan, dtype=np.float32)
    return studies.table[name].to_numpy(dtype=np.float32)
