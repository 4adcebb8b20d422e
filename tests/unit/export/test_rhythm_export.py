"""What leaves of a rhythm: JSON, CSV, Markdown, annotations in a file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services
from echoing_core.export.document.elements import Box, NewPage, Picture, Table
from echoing_core.export.document.rhythm import rhythm_blocks
from echoing_core.io import read_recording
from echoing_core.records import Recording
from echoing_core.rhythm import Rhythm
from tests.unit.rhythm.test_rhythm import drawn


@pytest.fixture(scope="module")
def recording() -> Recording:
    beat_s = np.concatenate([np.arange(1.0, 20.0, 0.8), np.arange(23.0, 59.0, 0.8)])
    return drawn(beat_s[beat_s != 5.0])


@pytest.fixture(scope="module")
def rhythm(recording: Recording) -> Rhythm:
    from echoing_core.rhythm import rhythm_of

    return rhythm_of(recording, [(40.0, 50.0)])


def test_json_holds_both_columns_and_is_strict(rhythm: Rhythm) -> None:
    values = json.loads(json.dumps(services.rhythm_values(rhythm), allow_nan=False))
    assert len(values["beat_s"]) == len(values["beat_kinds"]) == len(rhythm.all.beats)
    assert values["rejected_s"] == [[40.0, 50.0]]
    beats = {k: values[k]["measures"]["beats"]["value"] for k in ("all", "without_rejected")}
    assert beats["all"] - beats["without_rejected"] in (12, 13)  # one each 0.8 s of 10 s
    sdann = values["all"]["measures"]["sdann_ms"]
    assert sdann["value"] is None
    assert sdann["why_not"].startswith("1.0 min were recorded")
    (pause,) = values["all"]["pauses"]
    assert pause["stop_s"] - pause["start_s"] == pytest.approx(3.6, abs=0.02)


def test_csv_has_a_row_for_each_beat(rhythm: Rhythm) -> None:
    rows = list(csv.DictReader(io.StringIO(services.rhythm_csv(rhythm))))
    assert len(rows) == len(rhythm.all.beats)
    assert rows[0]["rr_ms"] == ""
    assert float(rows[1]["rr_ms"]) == pytest.approx(800, abs=5)
    left_out = [40 <= float(row["time_s"]) < 50 for row in rows]
    assert [row["rejected"] == "1" for row in rows] == left_out


def test_markdown_says_what_was_left_out_and_why_there_is_no_figure(rhythm: Rhythm) -> None:
    text = services.rhythm_markdown(rhythm)
    assert "| Measure | All of it | Without unsure windows |" in text
    assert "Left out on the right: 1 stretch, 00:10 in all." in text
    assert "not measurable: 1.0 min were recorded" in text
    assert "not for diagnosis" in text


def test_beats_come_back_from_the_file_that_they_were_written_into(
    recording: Recording, rhythm: Rhythm, tmp_path: Path
) -> None:
    ours, marks = services.annotated(recording, rhythm), services.pause_marks(rhythm)
    services.convert(ours, tmp_path / "drawn.hea", marks)
    again = read_recording(tmp_path / "drawn.hea")
    assert again.annotations.beat_s == pytest.approx(
        rhythm.all.beats.time_s, abs=0.5 / recording.fs_hz
    )
    assert again.annotations.beat_symbols.tolist() == rhythm.all.beats.kind.tolist()
    assert [mark.text for mark in again.annotations.texts] == ["pause of 3.6 s"]
    # Whoever opens it is told that no person marked them.
    assert "computed from the waveforms" in (tmp_path / "drawn.hea").read_text()


def test_the_report_has_its_trend_its_intervals_and_its_numbers(rhythm: Rhythm) -> None:
    blocks = rhythm_blocks(rhythm)
    assert isinstance(blocks[0], NewPage)
    trend, bars = (b.drawing for b in blocks if isinstance(b, Picture))
    # 75 beats a minute in a picture of 40 to 100: a level line, and the pause of 3.6 s below it.
    (pause,) = (i for i in trend.items if isinstance(i, Box) and i.fill == "#7e03a8")
    scale = (267.0 - 38.0 - 4.0) / 60.0
    assert pause.left == pytest.approx(38.0 + 19.4 * scale, abs=2.0)
    assert pause.width == pytest.approx(3.6 * scale, abs=0.2)
    shaded = [i for i in trend.items if isinstance(i, Box) and i.opacity < 1]
    assert [round(b.width / scale) for b in shaded] == [10]
    assert sum(isinstance(i, Box) for i in bars.items) >= 2
    measures, pauses = (b for b in blocks if isinstance(b, Table))
    # In two columns beside each other.
    assert measures.head == 2 * ("Measure", "All of it", "Without unsure windows")
    told = {row[0]: row[1:3] for row in measures.rows} | {row[3]: row[4:] for row in measures.rows}
    assert told["Pauses over 2 s"] == ("1", "1")
    assert told["Beats"][0] == f"{len(rhythm.all.beats)}"
    assert len(pauses.rows) == 1
