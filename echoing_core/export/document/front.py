"""The first page: the ECG, what was measured, how sure the model is, and answers to be signed.

All that is read every morning stands on one sheet, on A4 and on Letter; the rest is an appendix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echoing_core.export.document.charts import WIDTH_MM, strip_drawing
from echoing_core.export.document.ecg_paper import ecg_paper_drawing
from echoing_core.export.document.elements import (
    Block,
    Box,
    Drawing,
    Item,
    Line,
    Picture,
    Text,
    Words,
)
from echoing_core.export.track import Explanation
from echoing_core.export.wording import (
    measured_words,
    novelty_words,
    percentile_words,
    probability_words,
    span_words,
)
from echoing_core.figures.style import INK, MUTED
from echoing_core.measure import Measurement
from echoing_core.records import Answer
from echoing_core.uncertainty.reasons import WindowReasons

_READ_FIRST = (
    ("heart_rate_bpm", "Heart rate"),
    ("pr_ms", "PR"),
    ("qrs_ms", "QRS"),
    ("qt_ms", "QT"),
    ("qtc_bazett_ms", "QTc, Bazett"),
    ("qtc_fridericia_ms", "QTc, Fridericia"),
    ("qrs_axis_deg", "QRS axis"),
)
MOST_ANSWERS = 12
"""As many as have room beside a person's signature; all of them stand in the appendix."""

# Three rows and the rhythm strip with all that may stand on the sheet beside them; what is not
# there leaves its room to the paper.
_PAPER_MM, _MOST_PAPER_MM = 79.0, 112.0
_STRIP_MM, _CAUTION_MM = 12.0, 7.0
_ROW_MM, _SIZE_MM = 4.9, 2.9
# What fits into half of the width at this size, with the box before it.
_MOST_CHARACTERS = 84


def measured_drawing(measurements: Sequence[Measurement]) -> Drawing | None:
    """Names over values, side by side.

    Parameters
    ----------
    measurements : sequence of Measurement
        Of them those that are read first are shown.

    Returns
    -------
    Drawing or None
        None where there is none of these.
    """
    found = {m.name: m for m in measurements}
    measured = [
        (words + (", by hand" if found[name].by_hand else ""), measured_words(found[name]))
        for name, words in _READ_FIRST
        if name in found
    ]
    if not measured:
        return None
    each = min(WIDTH_MM / len(measured), 40.0)
    items: list[Item] = []
    for number, (name, value) in enumerate(measured):
        left = number * each
        items.append(Words(left + 1.0, 3.0, name, 2.5, MUTED))
        items.append(Words(left + 1.0, 7.4, value, 3.5, INK, bold=True))
        if number:
            items.append(Line(np.array([(left - 1.0, 0.5), (left - 1.0, 8.0)]), MUTED, 0.15))
    said = "; ".join(f"{name} {value}" for name, value in measured)
    return Drawing(WIDTH_MM, 8.6, tuple(items), f"Measured: {said}.")


def answer_words(answer: Answer) -> str:
    """``"Conduction disturbance: yes, 91 % (52–99 %)"``: an answer to be signed or struck out.

    Parameters
    ----------
    answer : Answer

    Returns
    -------
    str
    """
    verdict = answer.verdict.partition(" (")[0]
    if answer.basis == "calibrated" and answer.p_wrong is not None:
        return f"{answer.question}: {verdict}, {probability_words(answer)}"
    learnt = "learnt from simulation" if answer.basis == "simulated" else "not calibrated"
    return f"{answer.question}: {verdict}, score {100 * answer.probability:.0f} of 100, {learnt}"


def signing_drawing(answers: Sequence[Answer]) -> Drawing:
    """Answers with a box before each, and lines for a name and a date.

    Parameters
    ----------
    answers : sequence of Answer
        The first `MOST_ANSWERS` are shown.

    Returns
    -------
    Drawing
    """
    shown = answers[:MOST_ANSWERS]
    items: list[Item] = []
    top = 0.0
    if shown:
        head = "Answers of the model: tick what you agree with, strike out what you do not"
        more = len(answers) - len(shown)
        head += f" ({more} more in the appendix)" if more else ""
        items.append(Words(0.0, 3.4, head, 3.1, INK, bold=True))
        top = 5.2
    n_rows = -(-len(shown) // 2)
    for number, answer in enumerate(shown):
        # Down the first column, then down the second, as a list is read.
        left = (number // n_rows) * WIDTH_MM / 2
        y = top + (number % n_rows) * _ROW_MM
        items.append(Box(left + 0.3, y + 0.7, 2.9, 2.9, None, INK, 0.25))
        words = answer_words(answer)
        if len(words) > _MOST_CHARACTERS:
            # The question may be any text of a person; what is answered must be seen.
            told = words[len(answer.question) :]
            words = f"{answer.question[: _MOST_CHARACTERS - len(told) - 1]}…{told}"
        items.append(Words(left + 5.0, y + 3.3, words, _SIZE_MM, INK))
    bottom = top + n_rows * _ROW_MM + 6.5
    for left, right, words in ((0.0, 150.0, "Read by"), (160.0, 267.0, "Date")):
        items.append(Words(left, bottom, words, _SIZE_MM, MUTED))
        ends = [(left + 14.0, bottom + 0.4), (right, bottom + 0.4)]
        items.append(Line(np.array(ends), INK, 0.2))
    said = "; ".join(answer_words(answer) for answer in shown)
    return Drawing(WIDTH_MM, bottom + 1.5, tuple(items), f"To be signed or struck out. {said}")


def front_blocks(
    explanation: Explanation,
    index: int,
    reasons: WindowReasons,
    measurements: Sequence[Measurement],
    answers: Sequence[Answer],
    file_format: str = "",
    letter: str = "A",
) -> list[Block]:
    """The blocks of the first page, under the title and the disclaimer.

    Parameters
    ----------
    explanation : Explanation
    index : int
        Row of the track: the window that is printed.
    reasons : WindowReasons
        Of that window.
    measurements : sequence of Measurement
        Of that window; may be empty.
    answers : sequence of Answer
        Of any sections, in order.
    file_format : str
    letter : str
        Under which the overview of the appendix marks the window.

    Returns
    -------
    list of Block
    """
    ecg, track = explanation.ecg, explanation.track
    start_s = float(track.start_s[index])
    blocks: list[Block] = [Text(_about(explanation, file_format))]
    if strip := measured_drawing(measurements):
        blocks.append(Picture(strip))
    cells = reasons.cell_percentile if reasons.leads else None
    caption = f"Window {letter}, {span_words(track, index)}; 25 mm/s, 10 mm/mV at full size; "
    caption += "0.5 to 40 Hz."
    if cells is not None:
        caption += " Orange: there the model is unsure of that lead."
    if ecg.leads_with("derived"):
        caption += " Blue: derived, not measured."
    if ecg.simulated:
        caption += " Simulated."
    novelty = 0.0 if track.novelty is None else float(track.novelty[index])
    unlike = novelty_words(novelty)
    rows = -(-min(len(answers), MOST_ANSWERS) // 2)
    room = _PAPER_MM + _ROW_MM * (MOST_ANSWERS / 2 - rows)
    room += _STRIP_MM * (len(track) < 2) - _CAUTION_MM * bool(unlike)
    paper = ecg_paper_drawing(ecg, start_s, "3x4", cells, most_mm=min(room, _MOST_PAPER_MM))
    blocks.append(Picture(paper, caption))
    percentile = float(track.percentile[index])
    words = f"Uncertainty percentile {percentile:.0f}: {percentile_words(percentile)}. "
    words += reasons.sentence
    if len(track) > 1:
        blocks.append(Picture(strip_drawing(ecg, track, index), words))
    else:
        # Of one window the strip would be a bar of one colour.
        blocks.append(Text(words))
    if unlike:
        blocks.append(Text(unlike, "caution"))
    blocks.append(Picture(signing_drawing(answers)))
    return blocks


def _about(explanation: Explanation, file_format: str) -> str:
    ecg = explanation.ecg
    parts = [file_format] if file_format else []
    parts.append(
        f"{ecg.recorded_s:.0f} s" if ecg.duration_s < 120 else f"{ecg.duration_s / 60:.0f} min"
    )
    for origin, words in (
        ("measured", "measured"),
        ("derived", "derived"),
        ("missing", "not recorded"),
    ):
        leads = ecg.leads_with(origin)
        if leads:
            parts.append(f"{words}: {'all 12 leads' if len(leads) == 12 else ', '.join(leads)}")
    return " · ".join(parts)
