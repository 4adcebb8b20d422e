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
    """What an uncertainty percentile (0..100) means to somebody who does not know sigma."""
    if percentile < 25:
        return "the model is surer here than usual"
    if percentile < 75:
        return "about as sure as usual"
    if percentile < 90:
        return "less sure than usual"
    return "the model is unsure here: read its answers with care"


def percent_words(share: float) -> str:
    """A probability (0..1); never 0 % or 100 %, which no model may claim."""
    if share < 0.01:
        return "< 1 %"
    return "> 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def interval_words(low: float, high: float) -> str:
    """An interval of probabilities, with a decimal where its ends would look the same."""
    if high < 0.01 or low > 0.99:
        return percent_words(low)
    digits = 0 if high - low >= 0.02 else 1
    return f"{100 * low:.{digits}f}–{100 * high:.{digits}f} %"


def span_words(track: WindowTrack, index: int) -> str:
    """``"07:31 to 07:41"``, with tenths where the stride is that short."""
    start, tenths = float(track.start_s[index]), track.stride_s < 1
    begin, end = (clock(s, tenths=tenths) for s in (start, start + track.window_s))
    return f"{begin} to {end}"
