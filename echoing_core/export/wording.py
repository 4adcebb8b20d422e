"""How figures are put into words, the same on the screen and in a document."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from echoing_core.figures.style import clock
from echoing_core.measure import Measurement
from echoing_core.records import Answer, WindowTrack

CALIBRATION_NOTE = (
    "A probability says how often such ECGs had the finding among those that it was calibrated "
    "on; where more or fewer people have it, set the prevalence. Its 90 % interval holds the "
    "uncertainty of the calibration, of the wording and of the recording. “Not sure enough” is "
    "said where a yes or no would be wrong too often, with the reason. A score is no probability, "
    "and nothing here is a diagnosis."
)

SIMULATION_NOTE = "learnt from simulation, validated on nobody"
NOT_CALIBRATED_NOTE = "not calibrated: a score, not a probability"

ANSWER_HEADER = (
    "Question", "Answer", "Probability (90 % interval)", "P(wrong)", "Worth", "Uncertainty"
)  # fmt: skip
"""Headings of `AnswerLine.cells`."""


@dataclass(frozen=True)
class AnswerLine:
    """One answer in words, the same on every screen and in every export.

    Attributes
    ----------
    question : str
    answer : str
        The verdict, with what has to be known at once.
    probability : str
        With its 90 % interval, or the score.
    p_wrong : str
    worth : str
        How such answers fared on real ECGs, or that nobody knows.
    uncertainty : str
        The window's percentile.
    """

    question: str
    answer: str
    probability: str
    p_wrong: str
    worth: str
    uncertainty: str

    @property
    def cells(self) -> tuple[str, str, str, str, str, str]:
        """For a table under `ANSWER_HEADER`."""
        return (
            self.question, self.answer, self.probability, self.p_wrong, self.worth,
            self.uncertainty,
        )  # fmt: skip

    @property
    def text(self) -> str:
        """As one line."""
        # A table says in its heading what stands in brackets.
        parts = [self.answer, self.probability.replace("(", "(90 % interval ")]
        if self.p_wrong:
            parts.append(f"P(wrong) {self.p_wrong}")
        # What the answer itself says already is not said twice.
        worth = "" if self.worth in self.answer else self.worth
        parts += [part for part in (worth, self.uncertainty) if part]
        return f"{self.question}: " + "; ".join(parts) + "."


def answer_line(answer: Answer) -> AnswerLine:
    """Put an answer into words.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    AnswerLine
    """
    verdict = answer.verdict
    # The word in brackets of a leaning is said in full below.
    verdict = verdict.partition(" (")[0]
    if answer.reasons:
        verdict += f": {' and '.join(answer.reasons)}"
    if answer.basis == "simulated":
        verdict += f" ({SIMULATION_NOTE})"
    elif answer.basis != "calibrated":
        verdict += f" ({NOT_CALIBRATED_NOTE})"
    uncertainty = ""
    if answer.percentile is not None and math.isfinite(answer.percentile):
        uncertainty = f"percentile {answer.percentile:.0f} among recordings with these leads"
    if answer.basis != "calibrated" or answer.p_wrong is None:
        # Of 100, and without a per cent sign, which would make it a probability again.
        share = f"score {100 * answer.probability:.0f} of 100, no probability"
        worth = SIMULATION_NOTE if answer.basis == "simulated" else NOT_CALIBRATED_NOTE
        return AnswerLine(answer.question, verdict, share, "not known", worth, uncertainty)
    return AnswerLine(
        answer.question,
        verdict,
        probability_words(answer),
        percent_words(answer.p_wrong),
        worth_words(answer),
        uncertainty,
    )


def answer_values(answer: Answer) -> dict[str, Any]:
    """An answer as JSON holds it, with its line in words.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    dict
        ``probability`` is a probability of the finding only where ``basis`` is ``"calibrated"``.
    """
    values = asdict(answer)
    # NaN is no JSON.
    for key in ("score", "percentile"):
        if values[key] is not None and not math.isfinite(values[key]):
            values[key] = None
    return values | {"words": answer_line(answer).text}


def probability_words(answer: Answer) -> str:
    """``"38 % (20–60 %)"``: a probability and its interval, rounded alike.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    str
        What lies within the interval still does after rounding, since all three are rounded by
        one rule.
    """
    low, high = (percent_words(end) for end in answer.interval)
    if low == high:
        return f"{percent_words(answer.probability)} ({low})"
    return f"{percent_words(answer.probability)} ({low.removesuffix(' %')}–{high})"


def worth_words(answer: Answer) -> str:
    """What a calibrated answer was worth on ECGs that the model never saw.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    str
        Counts, and never a share of a handful.
    """
    worth = answer.worth
    if worth is None:
        return "calibrated, but not measured on further ECGs"
    words = []
    given = {"yes": (worth.yes_n, worth.yes_right), "no": (worth.no_n, worth.no_right)}
    if answer.verdict in given:
        n, right = given[answer.verdict]
        words.append(
            f"of {n} such “{answer.verdict}” {right} {'was' if right == 1 else 'were'} right"
            if n
            else f"nobody there got a “{answer.verdict}”"
        )
    words.append(
        f"AUROC {worth.auroc:.2f} ({worth.auroc_low:.2f}–{worth.auroc_high:.2f}) on {worth.n} real "
        f"ECGs, {worth.n_positive} with it, {answer.worth_leads}"
    )
    if answer.base_rate is not None:
        whose = "as you set it" if answer.prevalence_given else "as in the calibration"
        words.append(f"prevalence {percent_words(answer.base_rate)}, {whose}")
    return "; ".join(words)


def percentile_words(percentile: float) -> str:
    """What a percentile means to somebody who does not know the word sigma.

    Parameters
    ----------
    percentile : float
        Of sigma^2 in the reference cohort, 0 to 100.

    Returns
    -------
    str
        Without a capital and a full stop.
    """
    # Borders by what a reader does with the answer: trust it, weigh it, or look at the ECG.
    if percentile < 25:
        return "the model is surer here than usual"
    if percentile < 75:
        return "about as sure as usual"
    if percentile < 90:
        return "less sure than usual"
    return "the model is unsure here: read its answers with care"


def measured_words(measurement: Measurement) -> str:
    """``"116 ± 2 ms"``: a measurement with its spread over beats.

    Parameters
    ----------
    measurement : Measurement

    Returns
    -------
    str
        ``"not measurable"`` where there is no value.
    """
    value, spread, unit = measurement.value, measurement.spread, measurement.unit
    if value is None:
        return "not measurable"
    # Hundredths of a millivolt, whole milliseconds, degrees and beats.
    digits = 2 if unit == "mV" else 0
    told = f"{value:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
    # -0 is no axis.
    told = "0" + told[2:] if told.startswith("-0 ") or told == "-0" else told.replace("-", "−")
    return f"{told}{'' if unit == '°' else ' '}{unit}"


def novelty_words(novelty: float) -> str:
    """That an ECG is unlike those that the model learnt from; empty where it is not.

    Parameters
    ----------
    novelty : float
        Distance from the training windows; 1 is their 99th percentile.

    Returns
    -------
    str
    """
    if not novelty > 1:
        return ""
    return (
        f"Unlike training: {novelty:.1f} times as far from the windows that the model learnt from "
        "as 99 % of those are. sigma² was not learnt for such ECGs."
    )


def percent_words(share: float) -> str:
    """A probability; never 0 % or 100 %, which no model may claim.

    Parameters
    ----------
    share : float
        0 to 1.

    Returns
    -------
    str
    """
    if share < 0.01:
        return "< 1 %"
    # Whole percents: the width of the interval leaves no meaning to a decimal.
    return "> 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def interval_words(low: float, high: float) -> str:
    """An interval of probabilities, with a decimal where its ends would look the same.

    Parameters
    ----------
    low, high : float
        0 to 1.

    Returns
    -------
    str
    """
    if high < 0.01 or low > 0.99:
        return percent_words(low)
    # Under two percent apart both ends would round to one number or to neighbours.
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f} %"


def span_words(track: WindowTrack, index: int) -> str:
    """From when to when a window lasts.

    Parameters
    ----------
    track : WindowTrack
    index : int
        Row of the track.

    Returns
    -------
    str
        ``"07:31 to 07:41"``, with tenths where the stride is under a second.
    """
    start, tenths = float(track.start_s[index]), track.stride_s < 1
    begin, end = (clock(s, tenths=tenths) for s in (start, start + track.window_s))
    return f"{begin} to {end}"


def remark_words(measurement: Measurement) -> str:
    """Whether a criterion is met, and what to know of a measurement or why there is none.

    Parameters
    ----------
    measurement : Measurement

    Returns
    -------
    str
        Mostly empty.
    """
    met = {True: "met", False: "not met", None: ""}[measurement.met]
    return ", ".join(part for part in (met, measurement.why) if part)
