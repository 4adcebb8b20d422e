"""Calipers and moved marks as they leave: words, rows, JSON, annotations."""

from __future__ import annotations

import csv
import io

import pytest

from echoing_core import services
from echoing_core.export.by_hand import caliper_values
from echoing_core.export.document.elements import Words
from echoing_core.export.document.front import measured_drawing
from echoing_core.export.recording import recording_files
from echoing_core.io import read_recording
from echoing_core.measure import Measured, measure
from echoing_core.services import Caliper, WaveMarks
from tests.unit.measure.made import Heart, made

# Drawn from the right to the left and downwards.
CALIPER = Caliper("V2", 3.012, 2.2, 0.5, 0.16)


@pytest.fixture(scope="module")
def moved() -> Measured:
    ecg = made(Heart(), (800.0,) * 6, leads=("I", "II", "V2"))
    return measure(ecg, by_hand={"t_offset": 380.0})


def test_a_caliper_in_words_and_numbers() -> None:
    assert CALIPER.words == "lead V2, 812 ms (74 bpm), −0.34 mV"
    # 40 ms are no interval between beats.
    assert Caliper("I", 1.0, 1.04, 0.0, 0.0).words == "lead I, 40 ms, +0.00 mV"
    assert caliper_values([CALIPER])[0]["ms"] == pytest.approx(812.0)
    assert services.caliper_lines([CALIPER]) == {"Caliper 1, 00:02.2": CALIPER.words}
    for wrong in (
        ("X9", 0.0, 1.0, 0.0, 0.0),
        ("I", -1.0, 1.0, 0.0, 0.0),
        ("I", 0.0, 1.0, 999.0, 0.0),
    ):
        with pytest.raises(ValueError, match=r"lead|recording|paper"):
            Caliper(*wrong)
    with pytest.raises(ValueError, match="u_wave"):
        WaveMarks(0.0, {"u_wave": 1.0})


def test_rows_values_and_annotations(moved: Measured) -> None:
    rows = list(csv.DictReader(io.StringIO(services.measured_csv([moved], [CALIPER]))))
    assert [(r["name"], r["lead"], r["value"], r["unit"]) for r in rows[-2:]] == [
        ("caliper_1_ms", "V2", "812.000", "ms"),
        ("caliper_1_mv", "V2", "-0.340", "mV"),
    ]
    qt = next(r for r in rows if r["name"] == "qt_ms" and not r["lead"])
    assert qt["note"].startswith("T end set by hand")
    values = services.measured_values(moved, [CALIPER])
    assert values["marks_by_hand_ms"] == {"t_offset": 380.0}
    assert values["values"]["qt_ms"]["by_hand"] is True
    assert "by_hand" not in values["values"]["pr_ms"]
    assert values["calipers"][0]["lead"] == "V2"
    (drawn,) = services.calipers_as_text([CALIPER])
    assert (drawn.at_s, drawn.text) == (2.2, "caliper: lead V2, 812 ms (74 bpm), -0.34 mV")
    (mark,) = services.wave_marks_as_text(moved)
    assert moved.beat is not None
    assert mark.at_s == pytest.approx(moved.beat.time_s.min() + 0.380)
    assert mark.text == "T end, set by hand"
    # They come back out of a written recording, beside its beats.
    ecg = made(Heart(), (800.0,) * 6, leads=("I", "II", "V2"))
    files = recording_files(ecg, "wfdb", "rec", (drawn, mark))
    again = read_recording(list(files.items()))
    assert sorted(one.text for one in again.annotations.texts) == sorted([drawn.text, mark.text])


def test_the_first_page_says_what_was_set_by_hand(moved: Measured) -> None:
    drawing = measured_drawing(moved.values)
    assert drawing is not None
    words = [item.text for item in drawing.items if isinstance(item, Words)]
    assert "QT, by hand" in words and "QTc, Bazett, by hand" in words
    assert "PR" in words and "QRS axis" in words
