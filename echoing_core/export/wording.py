"""How figures are put into words, the same on the screen and in a document."""

from __future__ import annotations

from echoing_core.figures import clock
from echoing_core.records import WindowTrack

CALIBRATION_NOTE = (
    "The interval says how far the answer might move with a cleaner or fuller recording of the "
    "same ECG; where it holds 50 %, the answer is “not sure enough”. It does not say how often "
    "the model is right, and the probabilities are no risks of a patient."
)


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
