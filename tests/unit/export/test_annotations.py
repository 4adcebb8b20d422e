"""What the device says, in words, as values and in documents."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from echoing_core.export.annotations import (
    annotation_lines,
    annotation_values,
    beat_words,
    measurement_rows,
    rhythm_lines,
)
from echoing_core.export.document.deidentify import plain_annotations
from echoing_core.records import LEADS, Annotations, RhythmSpan, StandardEcg, TextMark

SAID = Annotations(
    beat_s=0.4 + 0.8 * np.arange(12),
    beat_symbols=np.array([*"NNNNNVNNNNVN"]),
    rhythms=(RhythmSpan(0.0, 6.0, "N"), RhythmSpan(6.0, 10.0, "AFIB")),
    texts=(TextMark(2.0, "cough"),),
    measurements={"heart_rate_bpm": 90.0, "qrs_axis_deg": -30.0},
    statements=("Sinus rhythm",),
    sources=("a.atr",),
)


def ecg(annotations: Annotations = SAID, seconds: int = 10) -> StandardEcg:
    """At 75 bpm, whatever its annotations say."""
    t = np.arange(100 * seconds) / 100.0
    beat = np.exp(-0.5 * (((t % 0.8) - 0.4) / 0.012) ** 2)
    signal = np.outer(np.linspace(0.5, 1.5, 12), beat).astype(np.float32)
    valid = np.ones(signal.shape, dtype=np.bool_)
    return StandardEcg(
        signal, valid, ("measured",) * len(LEADS), "made-up", annotations=annotations
    )


def test_the_device_and_this_program_stand_side_by_side() -> None:
    rows = measurement_rows(ecg())
    assert rows == [
        ("Heart rate", "90 bpm", "75 bpm"),
        ("QRS axis", "-30°", "see the measurements"),
    ]
    # Of hours there is no one heart rate of ours.
    assert measurement_rows(ecg(seconds=61))[0][2] == "see the measurements"
    assert measurement_rows(ecg(Annotations())) == []


def test_lines_for_people() -> None:
    assert annotation_lines(ecg()) == [
        "Heart rate: 90 bpm (here: 75 bpm)",
        "QRS axis: -30°",
        "statement: Sinus rhythm",
        "rhythm: sinus rhythm, 00:00.0 to 00:06.0",
        "rhythm: atrial fibrillation, 00:06.0 to 00:10.0",
        "12 beats: 10 normal, 2 premature ventricular",
        "note at 00:02.0: cough",
    ]
    assert annotation_lines(ecg(Annotations())) == []
    assert beat_words(SAID, 4.0, 5.0) == "1 beat: 1 premature ventricular"
    assert beat_words(SAID, 20.0) == ""


def test_many_rhythms_are_counted() -> None:
    spans = tuple(RhythmSpan(i, i + 1, "AFIB" if i % 2 else "N") for i in range(61))
    assert rhythm_lines(replace(SAID, rhythms=spans)) == [
        "sinus rhythm, 31 times, 00:31 in all",
        "atrial fibrillation, 30 times, 00:30 in all",
    ]


def test_values_are_plain() -> None:
    values = json.loads(json.dumps(annotation_values(SAID)))
    assert values["beat_symbols"] == "NNNNNVNNNNVN" and values["beat_s"][5] == pytest.approx(4.4)
    assert values["rhythms"][1]["words"] == "atrial fibrillation"
    assert values["measurements"]["qrs_axis_deg"] == -30.0


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("Normal sinus rhythm", ["Normal sinus rhythm"]),
        ("Possible inferior infarct, age undetermined", None),
        ("LEFT AXIS DEVIATION", ["LEFT AXIS DEVIATION"]),
        ("Confirmed by Dr. Wall on 3-Mar-2020", []),
        ("Atrial flutter, told Mrs Miller", ["atrial flutter"]),
        ("Possible atrial flutter, told Mrs Miller", []),
        ("Müller, Hans", []),
    ],
)
def test_statements_without_anybody(statement: str, left: list[str] | None) -> None:
    plain = plain_annotations(replace(SAID, statements=(statement,)))
    assert list(plain.statements) == ([statement] if left is None else left)
    assert plain.texts == () and plain.sources == ()
    assert dict(plain.measurements) == dict(SAID.measurements)
