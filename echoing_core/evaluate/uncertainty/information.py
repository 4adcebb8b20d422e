"""Does sigma^2 grow when there is less to go by: fewer leads, vaguer texts, unknown words?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.evaluate.shipped.held_out import SIMULATED, HeldOut
from echoing_core.evaluate.uncertainty.scores import (
    RANDOM,
    SIGMA2,
    Floats,
    Scorer,
    measure_quartiles,
    measure_scores,
    section,
)
from echoing_core.metrics.results import Experiment, Result
from echoing_core.metrics.scores import spearman
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, BoolArray
from echoing_core.training.batches import sentences_of

# Sets that recorders use, from the standard ECG to a watch.
LEAD_SETS: dict[str, tuple[str, ...]] = {
    "12 leads": LEADS,
    "8 leads (I, II, V1-V6)": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "6 leads (limb)": ("I", "II", "III", "aVR", "aVL", "aVF"),
    "3 leads (I, II, III)": ("I", "II", "III"),
    "2 leads (I, II)": ("I", "II"),
    "1 lead (I)": ("I",),
}
"""From all to one. Each but the limb leads is a part of the one before."""

N_ECGS = 500
"""Of each test set at most the first so many ECGs lose leads."""

_LEADS_METHOD = (
    "Leads are masked, as the model is told of leads that were not recorded. (A reader of I and II "
    "would derive the other limb leads; here nothing is derived, so that the 8 leads and the first "
    "two limb leads hold all that the 12 and the 6 do.) The plain index is no rival: a "
    "lead that is not there is no noise to it. Intervals: 95 %, bootstrap over patients."
)

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

_TEXT_METHOD = (
    "sigma^2 of the text encoder. Hand-written pairs of a vague and a specific prompt; one random "
    "sentence of a simulated report against the whole report (reports of one sentence are left "
    "out); and reports some of whose words, drawn at random, are replaced by made-up ones. "
    "Intervals: 95 %, bootstrap over pairs or patients."
)


def missing_study(
    checkpoint: Checkpoint,
    sets: Sequence[HeldOut],
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """sigma^2 of the same ECGs with fewer and fewer leads.

    Parameters
    ----------
    checkpoint : Checkpoint
        A model that can be told that a lead is missing.
    sets : sequence of HeldOut
        Of each at most the first `N_ECGS` ECGs are used.
    n_resamples : int
    progress : Progress
        Counts test sets times lead sets.

    Returns
    -------
    Experiment
    """
    scorer = Scorer.of(checkpoint)
    # The plain index has no column: a lead that is not there is no noise to it.
    encoders = {SIGMA2: scorer.trained, RANDOM: scorer.random}
    results: list[Result] = []
    for done, held_out in enumerate(sets):
        signal_mv = held_out.studies.signal_mv[:N_ECGS]
        valid = held_out.studies.valid[:N_ECGS]
        columns: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
        for step, leads in enumerate(LEAD_SETS.values(), start=1):
            left = valid & lead_mask(leads)[:, np.newaxis]
            # What is masked is 0, as it is in a recording without that lead.
            masked = np.where(left, signal_mv, np.float32(0.0))
            for name, encoder in encoders.items():
                columns[name].append(encode_batch(encoder, scorer.scaler, masked, left).uncertainty)
            progress(done * len(LEAD_SETS) + step, len(sets) * len(LEAD_SETS))
        results += _lead_set_figures(
            held_out,
            {name: np.stack(values, axis=1) for name, values in columns.items()},
            n_resamples,
        )
    return section("missing", "Leads taken away", _LEADS_METHOD, results)


def lead_mask(leads: Sequence[str]) -> BoolArray:
    """True for the leads named, shape (12,), in the order of `LEADS`."""
    return np.array([lead in leads for lead in LEADS])


def _lead_set_figures(
    held_out: HeldOut, by_set: dict[str, np.ndarray], n_resamples: int
) -> list[Result]:
    patients = held_out.patients[:N_ECGS]
    results: list[Result] = []
    # The first column is all leads, which the others are compared with.
    for column, name in list(enumerate(LEAD_SETS))[1:]:
        results += measure_quartiles(
            (held_out.name, f"{name}: sigma^2 over that with 12"),
            {score: v[:, column] / v[:, 0] for score, v in by_set.items()},
            patients,
            simulated=held_out.simulated,
            n_resamples=n_resamples,
        )
    shares = {
        f"{name}: more than with 12": lambda v, c=column: v[:, c] > v[:, 0]
        for column, name in list(enumerate(LEAD_SETS))[1:]
    } | {"more at every step from 12 to 1": lambda v: (np.diff(v, axis=1) > 0).all(axis=1)}
    for task, holds in shares.items():
        results += measure_scores(
            (held_out.name, task, "share of ECGs"),
            lambda rows: float(rows.mean()),
            {score: holds(values) for score, values in by_set.items()},
            patients,
            simulated=held_out.simulated,
            n_resamples=n_resamples,
        )
    return results


def text_study(
    checkpoint: Checkpoint,
    simulated: StudySet,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """Shares of pairs in which the vaguer or stranger text is the more uncertain one.

    Parameters
    ----------
    checkpoint : Checkpoint
    simulated : StudySet
        Held-out simulated patients, of whom at most the first `N_REPORTS` reports are used.
    n_resamples : int
    progress : Progress
        Counts shares of made-up words.

    Returns
    -------
    Experiment
    """
    reports = [str(report) for report in simulated.table["report"][:N_REPORTS]]
    patients = np.asarray(simulated.table["patient_id"].astype(str))[:N_REPORTS]
    rng = np.random.default_rng(SEED)
    results = _hand_written(checkpoint, n_resamples)
    results += _single_sentences(checkpoint, reports, patients, rng, n_resamples)
    results += _unknown_words(checkpoint, reports, patients, rng, n_resamples, progress)
    return section("text_side", "Vague prompts and unknown words", _TEXT_METHOD, results)


def with_made_up_words(
    text: str, share: float, known: frozenset[str], rng: np.random.Generator
) -> str:
    """Replace a share of the words of a text by pronounceable ones that are not in ``known``.

    At least one word is replaced unless ``share`` is 0; marks and numbers stay.

    Parameters
    ----------
    text : str
    share : float
        0..1, of the words that hold a letter.
    known : frozenset of str
        The model's words.
    rng : Generator
        Chooses the words, and makes up others.

    Returns
    -------
    str
    """
    words = text.split(" ")
    # Numbers stay: made-up digits would still be known word pieces.
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


def _single_sentences(
    checkpoint: Checkpoint,
    reports: Sequence[str],
    patients: npt.NDArray[np.str_],
    rng: np.random.Generator,
    n_resamples: int,
) -> list[Result]:
    # A report of one sentence has no smaller part.
    several = [i for i, report in enumerate(reports) if len(sentences_of(report)) > 1]
    single = [str(rng.choice(sentences_of(reports[i]))) for i in several]
    more = _sigma2(checkpoint, single) > _sigma2(checkpoint, [reports[i] for i in several])
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
    # What the model has never read depends on its own vocabulary.
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
    # One correlation a report, over the five shares.
    correlation = np.array([spearman(SHARES, row) for row in sigma2])
    results += measure_scores(
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
    return measure_scores(
        (*place, "share"),
        lambda rows: float(rows.mean()),
        {SIGMA2: holds},
        ids,
        simulated=simulated,
        n_resamples=n_resamples,
    )


def _sigma2(checkpoint: Checkpoint, texts: Sequence[str]) -> Floats:
    return encode_texts(checkpoint, texts).uncertainty
