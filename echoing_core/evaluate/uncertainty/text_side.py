"""Is a vague prompt less certain than a specific one, and a text of unknown words less still?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_texts
from echoing_core.evaluate.shipped.held_out import SIMULATED
from echoing_core.evaluate.uncertainty.part import Floats, Part, measured
from echoing_core.evaluate.uncertainty.scores import SIGMA2
from echoing_core.metrics.results import Result
from echoing_core.metrics.scores import spearman
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.training.sampling import sentences_of

PAIRS: tuple[tuple[str, str], ...] = (
    ("ecg.", "sinus rhythm. left bundle branch block. abnormal ecg."),
    ("abnormal ecg.", "atrial fibrillation. right bundle branch block. abnormal ecg."),
    ("normal.", "sinus rhythm. normal axis. normal ecg."),
    ("rhythm.", "atrial fibrillation with rapid ventricular response."),
    ("block.", "complete left bundle branch block with left axis deviation."),
    ("heart disease.", "dilated left ventricle with severely reduced ejection fraction."),
    ("ejection fraction.", "severely reduced left ventricular ejection fraction, lvef 25 %."),
    ("infarction.", "old inferior myocardial infarction with q waves in ii, iii and avf."),
    ("hypertrophy.", "left ventricular hypertrophy by voltage with strain pattern."),
    ("t wave changes.", "t wave inversion in v4 to v6, suggesting lateral ischemia."),
    ("premature beats.", "sinus rhythm with frequent premature ventricular complexes."),
    ("paced.", "ventricular paced rhythm at 70 beats per minute."),
)
"""Vague and specific, written by hand before any of them was embedded."""

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
N_REPORTS = 500
SEED = 5_005

_METHOD = (
    "sigma^2 of the text encoder. Hand-written pairs of a vague and a specific prompt; one random "
    "sentence of a simulated report against the whole report (reports of one sentence are left "
    "out); and reports some of whose words, drawn at random, are replaced by made-up ones. "
    "Intervals: 95 %, bootstrap over pairs or patients."
)


def text_study(
    checkpoint: Checkpoint,
    simulated: StudySet,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Part:
    """Shares of pairs in which the vaguer or stranger text is the more uncertain one.

    Parameters
    ----------
    simulated : StudySet
        Held-out simulated patients, of whom at most the first `N_REPORTS` reports are used.
    """
    reports = [str(report) for report in simulated.table["report"][:N_REPORTS]]
    patients = np.asarray(simulated.table["patient_id"].astype(str))[:N_REPORTS]
    rng = np.random.default_rng(SEED)
    results = _hand_written(checkpoint, n_resamples)
    results += _parts_of_reports(checkpoint, reports, patients, rng, n_resamples)
    results += _unknown_words(checkpoint, reports, patients, rng, n_resamples, progress)
    return Part("text_side", "Vague prompts and unknown words", _METHOD, tuple(results))


def with_made_up_words(
    text: str, share: float, known: frozenset[str], rng: np.random.Generator
) -> str:
    """Replace a share of the words of a text by pronounceable ones that are not in ``known``.

    At least one word is replaced unless ``share`` is 0; marks and numbers stay.
    """
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if any(c.isalpha() for c in word)]
    n = max(1, round(share * len(places))) if share > 0 and places else 0
    for i in rng.permutation(places)[:n]:
        letters = words[i].strip(".,;:()%")
        words[i] = words[i].replace(letters, made_up_word(known, rng), 1)
    return " ".join(words)


def made_up_word(known: frozenset[str], rng: np.random.Generator) -> str:
    """Three syllables that make no word of ``known``."""
    while True:
        consonants = rng.choice(list("bdfgklmnprstvz"), size=3)
        vowels = rng.choice(list("aeiou"), size=3)
        word = "".join(c + v for c, v in zip(consonants, vowels, strict=True))
        if word not in known:
            return word


def _hand_written(checkpoint: Checkpoint, n_resamples: int) -> list[Result]:
    vague, specific = (_sigma2(checkpoint, texts) for texts in zip(*PAIRS, strict=True))
    return _share(
        ("hand-written prompts", "vague more uncertain than specific"),
        vague > specific,
        np.arange(len(PAIRS)),
        simulated=False,
        n_resamples=n_resamples,
    )


def _parts_of_reports(
    checkpoint: Checkpoint,
    reports: Sequence[str],
    patients: npt.NDArray[np.str_],
    rng: np.random.Generator,
    n_resamples: int,
) -> list[Result]:
    several = [i for i, report in enumerate(reports) if len(sentences_of(report)) > 1]
    parts = [str(rng.choice(sentences_of(reports[i]))) for i in several]
    more = _sigma2(checkpoint, parts) > _sigma2(checkpoint, [reports[i] for i in several])
    return _share(
        (SIMULATED, "one sentence more uncertain than its report"),
        more,
        patients[several],
        simulated=True,
        n_resamples=n_resamples,
    )


def _unknown_words(
    checkpoint: Checkpoint,
    reports: Sequence[str],
    patients: npt.NDArray[np.str_],
    rng: np.random.Generator,
    n_resamples: int,
    progress: Progress,
) -> list[Result]:
    known = checkpoint.tokenizer.known_words
    columns = []
    for done, share in enumerate(SHARES, start=1):
        texts = [with_made_up_words(report, share, known, rng) for report in reports]
        columns.append(_sigma2(checkpoint, texts))
        progress(done, len(SHARES))
    sigma2 = np.stack(columns, axis=1)
    results: list[Result] = []
    for column, share in enumerate(SHARES[1:], start=1):
        results += _share(
            (SIMULATED, f"{share:.0%} of the words made up: more uncertain"),
            sigma2[:, column] > sigma2[:, 0],
            patients,
            simulated=True,
            n_resamples=n_resamples,
        )
    correlation = np.array([spearman(SHARES, row) for row in sigma2])
    results += measured(
        (SIMULATED, "rank correlation with the share of made-up words", "median"),
        lambda values: float(np.median(values)),
        {SIGMA2: correlation},
        patients,
        simulated=True,
        n_resamples=n_resamples,
    )
    return results


def _share(
    place: tuple[str, str],
    holds: npt.NDArray[np.bool_],
    ids: npt.ArrayLike,
    *,
    simulated: bool,
    n_resamples: int,
) -> list[Result]:
    return measured(
        (*place, "share"),
        lambda rows: float(rows.mean()),
        {SIGMA2: holds},
        ids,
        simulated=simulated,
        n_resamples=n_resamples,
    )


def _sigma2(checkpoint: Checkpoint, texts: Sequence[str]) -> Floats:
    return encode_texts(checkpoint, texts).uncertainty
