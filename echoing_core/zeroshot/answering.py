"""One answer: what the margin says, what that was worth elsewhere, and whether it may be given.

`closed_form` knows the question and the window, `calibration` knows ECGs with known findings. Here
both become an `Answer`, by the same rules for one window and for every window of a recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from echoing_core.records import Answer, AnswerWorth, GaussianEmbedding
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.calibration import (
    Calibrated,
    CalibratedQuestion,
    LeadSetCalibration,
    calibrated,
    wording_std,
)

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]
Basis = Literal["calibrated", "simulated", "uncalibrated"]

YES, NO, WITHHELD = "yes", "no", "not sure enough"
UNVALIDATED, NOT_CALIBRATED = "unvalidated", "not calibrated"

EXTREME_PERCENTILE = 98.0
"""From here on sigma^2 says that a window is unlike what answers were measured on: the ECGs of the
calibration are as good as the reference, which has 2 % above this."""

MIDDLE = 0.1
"""A score this near to a half leans nowhere: nobody knows where its true middle lies."""

LEAST_SIGNAL = 0.5
"""Share of a window that has to hold signal in at least one lead."""


@dataclass(frozen=True)
class AskedWindow:
    """What has to be known of a window to judge an answer about it.

    Attributes
    ----------
    leads : str or None
        Key of the recording's lead set; None is taken for 12 leads.
    percentile : float or None
        Of sigma^2, among recordings with these leads.
    signal_share : float or None
        Share of the window that holds signal in its fullest lead, 0..1.
    """

    leads: str | None = None
    percentile: float | None = None
    signal_share: float | None = None


UNKNOWN_WINDOW = AskedWindow()


@dataclass(frozen=True, eq=False)
class Judged:
    """Answers to one question for n windows.

    Attributes
    ----------
    probability, low, high : ndarray, shape (n,)
        Calibrated where there is a map for these leads; else the score and its own interval.
    verdict : ndarray of str, shape (n,)
    fitting : LeadSetCalibration or None
        The map that was used.
    calibrated : Calibrated or None
    """

    probability: Floats
    low: Floats
    high: Floats
    verdict: Strings
    fitting: LeadSetCalibration | None
    calibrated: Calibrated | None


def judge(
    embedding: GaussianEmbedding,
    positive: GaussianEmbedding,
    negative: GaussianEmbedding,
    *,
    logit_scale: float,
    calibration: CalibratedQuestion | None,
    simulated: bool,
    leads: str | None,
    percentile: npt.ArrayLike | None = None,
    signal_share: npt.ArrayLike | None = None,
    prevalence: float | None = None,
) -> Judged:
    """Answer one question for windows of one recording.

    Parameters
    ----------
    embedding : GaussianEmbedding, n rows
    positive, negative : GaussianEmbedding
        The embedded texts of both sides.
    logit_scale : float
    calibration : CalibratedQuestion or None
    simulated : bool
        Without calibration: what is asked was learnt from simulated hearts alone.
    leads : str or None
        As in `AskedWindow`.
    percentile, signal_share : array-like, shape (n,), optional
        As in `AskedWindow`, NaN where unknown.
    prevalence : float, optional
        Share of the user's patients with what is asked; without effect on an answer that is not
        calibrated.

    Returns
    -------
    Judged

    Raises
    ------
    ConfigError
        The prevalence is no share, or one side has no text.
    """
    margin, std = closed_form.margins(embedding, positive, negative)
    unclear = _unclear(len(embedding), percentile, signal_share)
    fitting = None if calibration is None else calibration.calibration.fitting(leads)
    if calibration is None or fitting is None:
        return _scored(margin, std, logit_scale, unclear, simulated=simulated)
    centre = calibration.centres.get(fitting.leads)
    wording = wording_std(embedding.mu, positive, negative, centre)
    return _mapped(calibration, fitting, margin, std, wording, unclear, prevalence)


def _scored(
    margin: Floats,
    std: Floats,
    logit_scale: float,
    unclear: npt.NDArray[np.bool_],
    *,
    simulated: bool,
) -> Judged:
    """Answers of which nobody measured what they are worth."""
    ends = closed_form.intervals(margin, std, logit_scale=logit_scale)
    score = closed_form.probabilities(margin, std, logit_scale=logit_scale)
    # MacKay's mean may leave the interval of a skewed distribution by a hair.
    low, high = np.minimum(ends[:, 0], score), np.maximum(ends[:, 1], score)
    word = UNVALIDATED if simulated else NOT_CALIBRATED
    lean = np.where(score > 0.5, f"leans {YES} ({word})", f"leans {NO} ({word})")
    middling = np.abs(score - 0.5) < MIDDLE
    withheld = unclear | middling | ((low <= 0.5) & (high >= 0.5))
    return Judged(score, low, high, np.where(withheld, WITHHELD, lean), None, None)


def _mapped(
    calibration: CalibratedQuestion,
    fitting: LeadSetCalibration,
    margin: Floats,
    std: Floats,
    wording: Floats,
    unclear: npt.NDArray[np.bool_],
    prevalence: float | None,
) -> Judged:
    """Answers by a map, given or withheld."""
    said = calibrated(
        fitting,
        margin,
        std,
        wording,
        base_rate=calibration.calibration.base_rate,
        prevalence=prevalence,
        negated=calibration.negated,
    )
    withheld = unclear | _flips(said) | (said.p_wrong > fitting.wrong_limit)
    if not fitting.beats_base_rate:
        withheld = np.ones_like(withheld)
    verdict = np.where(withheld, WITHHELD, np.where(said.probability > 0.5, YES, NO))
    return Judged(said.probability, said.low, said.high, verdict, fitting, said)


def judge_logits(
    logit: Floats,
    std: Floats,
    *,
    calibration: CalibratedQuestion | None,
    simulated: bool,
    leads: str | None,
    percentile: npt.ArrayLike | None = None,
    signal_share: npt.ArrayLike | None = None,
    prevalence: float | None = None,
) -> Judged:
    """As `judge`, of logits that a trained head gave; there is no wording to differ.

    Parameters
    ----------
    logit, std : ndarray, shape (n,)
        Of yes, and its deviation by sigma^2; 0 where sigma^2 says nothing of it.
    calibration : CalibratedQuestion or None
    simulated : bool
        The head was trained on simulated ECGs.
    leads, percentile, signal_share, prevalence
        As in `judge`.

    Returns
    -------
    Judged
    """
    unclear = _unclear(len(logit), percentile, signal_share)
    fitting = None if calibration is None else calibration.calibration.fitting(leads)
    if calibration is None or fitting is None:
        return _scored(logit, std, 1.0, unclear, simulated=simulated)
    return _mapped(calibration, fitting, logit, std, np.zeros_like(logit), unclear, prevalence)


def head_answer(
    logit: float,
    std: float,
    *,
    question: str,
    by: str,
    trained_on: str,
    calibration: CalibratedQuestion | None = None,
    simulated: bool = False,
    window: AskedWindow = UNKNOWN_WINDOW,
    prevalence: float | None = None,
) -> Answer:
    """What a trained head answers about one window.

    Parameters
    ----------
    logit, std : float
        As in `judge_logits`.
    question : str
        That says who answers.
    by, trained_on : str
        As in `Answer`.
    calibration, simulated, prevalence
        As in `judge_logits`.
    window : AskedWindow

    Returns
    -------
    Answer
    """
    at, spread = np.array([logit]), np.array([std])
    judged = judge_logits(
        at,
        spread,
        calibration=calibration,
        simulated=simulated,
        leads=window.leads,
        percentile=None if window.percentile is None else [window.percentile],
        signal_share=None if window.signal_share is None else [window.signal_share],
        prevalence=prevalence,
    )
    raw = Answer(
        question=question,
        probability=float("nan"),
        interval=(float("nan"), float("nan")),
        margin=logit,
        margin_std=std,
        # Of a Gaussian logit; without a deviation it lies on one side for certain.
        p_margin_positive=float(closed_form.p_margin_positive(at, spread)[0]),
        verdict="",
        positive_prompts=(),
        negative_prompts=(),
        score=float(closed_form.probabilities(at, spread, logit_scale=1.0)[0]),
        by=by,
        trained_on=trained_on,
    )
    return _said(raw, judged, calibration, window, simulated=simulated, prevalence=prevalence)


def answer(
    embedding: GaussianEmbedding,
    positive: GaussianEmbedding,
    negative: GaussianEmbedding,
    *,
    question: str,
    positive_prompts: Sequence[str],
    negative_prompts: Sequence[str],
    logit_scale: float,
    unknown_words: Sequence[str] = (),
    calibration: CalibratedQuestion | None = None,
    simulated: bool = False,
    window: AskedWindow = UNKNOWN_WINDOW,
    prevalence: float | None = None,
) -> Answer:
    """Answer one question about one window.

    Parameters
    ----------
    embedding, positive, negative, question, positive_prompts, negative_prompts, logit_scale
        As in `closed_form.answer`.
    unknown_words : sequence of str
    calibration, simulated, prevalence
        As in `judge`.
    window : AskedWindow

    Returns
    -------
    Answer

    Raises
    ------
    ConfigError
        One side has no prompt, or the prevalence is no share.
    """
    raw = closed_form.answer(
        embedding,
        positive,
        negative,
        question=question,
        positive_prompts=positive_prompts,
        negative_prompts=negative_prompts,
        logit_scale=logit_scale,
        unknown_words=unknown_words,
    )
    judged = judge(
        embedding,
        positive,
        negative,
        logit_scale=logit_scale,
        calibration=calibration,
        simulated=simulated,
        leads=window.leads,
        percentile=None if window.percentile is None else [window.percentile],
        signal_share=None if window.signal_share is None else [window.signal_share],
        prevalence=prevalence,
    )
    scored = replace(raw, score=raw.probability)
    return _said(scored, judged, calibration, window, simulated=simulated, prevalence=prevalence)


def _said(
    raw: Answer,
    judged: Judged,
    calibration: CalibratedQuestion | None,
    window: AskedWindow,
    *,
    simulated: bool,
    prevalence: float | None,
) -> Answer:
    """An answer with what it was judged to be worth."""
    said = replace(
        raw,
        probability=float(judged.probability[0]),
        interval=(float(judged.low[0]), float(judged.high[0])),
        verdict=str(judged.verdict[0]),
        basis="simulated" if simulated else "uncalibrated",
        reasons=_reasons(judged, window),
        percentile=window.percentile,
    )
    if calibration is None or judged.fitting is None or judged.calibrated is None:
        return said
    rate = calibration.calibration.base_rate
    own_rate = 1.0 - rate if calibration.negated else rate
    return replace(
        said,
        basis="calibrated",
        p_wrong=float(judged.calibrated.p_wrong[0]),
        base_rate=own_rate if prevalence is None else prevalence,
        prevalence_given=prevalence is not None,
        worth=_turned(judged.fitting.worth) if calibration.negated else judged.fitting.worth,
        worth_leads=LeadSet.from_key(judged.fitting.leads).words,
        negated=calibration.negated,
    )


def _turned(worth: AnswerWorth | None) -> AnswerWorth | None:
    """The same answers counted for the denial: its yes is the finding's no."""
    if worth is None:
        return None
    return replace(
        worth,
        n_positive=worth.n - worth.n_positive,
        yes_n=worth.no_n,
        yes_right=worth.no_right,
        no_n=worth.yes_n,
        no_right=worth.yes_right,
    )


def _unclear(
    n: int, percentile: npt.ArrayLike | None, signal_share: npt.ArrayLike | None
) -> npt.NDArray[np.bool_]:
    """Windows of which sigma^2, or the lack of signal, says that no answer can be trusted."""
    unclear = np.zeros(n, dtype=bool)
    # Comparisons with NaN are false: what is not known holds nothing back.
    if percentile is not None:
        unclear |= np.asarray(percentile, dtype=np.float64) >= EXTREME_PERCENTILE
    if signal_share is not None:
        unclear |= np.asarray(signal_share, dtype=np.float64) < LEAST_SIGNAL
    return unclear


def _flips(said: Calibrated) -> npt.NDArray[np.bool_]:
    """Whether other texts would turn the answer: it lies within one standard error of a half.

    With the 90 % interval instead, no atrial fibrillation of PTB-XL's fold 9 got a yes, however
    plain: a rare finding starts far on the side of no.
    """
    logit = np.log(said.probability) - np.log1p(-said.probability)
    low = np.log(said.wording_low) - np.log1p(-said.wording_low)
    return np.asarray(np.abs(logit) <= (logit - low) / closed_form.Z_90)


def _reasons(judged: Judged, window: AskedWindow) -> tuple[str, ...]:
    """Why no answer is given, the gravest first; empty where one is."""
    if judged.verdict[0] != WITHHELD:
        return ()
    reasons = []
    if window.signal_share is not None and window.signal_share < LEAST_SIGNAL:
        reasons.append(f"only {100 * window.signal_share:.0f} % of the window holds signal")
    if window.percentile is not None and window.percentile >= EXTREME_PERCENTILE:
        reasons.append(
            f"the recording is too unsure here (percentile {window.percentile:.0f} among "
            "recordings with these leads)"
        )
    said, fitting = judged.calibrated, judged.fitting
    if said is None or fitting is None:
        near = abs(judged.probability[0] - 0.5) < MIDDLE
        if near or judged.low[0] <= 0.5 <= judged.high[0]:
            reasons.append("the score lies too near its middle")
        return tuple(reasons)
    if not fitting.beats_base_rate:
        reasons.append(
            "with these leads its answers were no better than telling everybody the base rate"
        )
    if _flips(said)[0]:
        reasons.append("the answer flips with the wording of the question")
    p_wrong = float(said.p_wrong[0])
    if p_wrong > fitting.wrong_limit:
        # Rounded apart, so that "12 of 100, at most 12" is never read.
        digits = 0 if round(100 * p_wrong) > round(100 * fitting.wrong_limit) else 1
        reasons.append(
            f"a yes or no would be wrong in {100 * p_wrong:.{digits}f} of 100 such cases "
            f"(accepted: {100 * fitting.wrong_limit:.{digits}f})"
        )
    return tuple(reasons)
