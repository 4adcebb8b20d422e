"""Figures of rhythm: every event is there, where it was, however long the recording is."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.figures import interval_figure, rate_figure, rhythm
from echoing_core.rhythm.whole import view_of
from tests.unit.rhythm.test_rhythm import made


def test_rate_and_events_stand_where_they_were() -> None:
    rr_ms = np.full(60, 1000.0)
    rr_ms[29], rr_ms[30] = 600.0, 2400.0
    view = view_of(made(rr_ms, "N" * 30 + "V" + "N" * 30))
    figure = rate_figure(view, ((5.0, 8.0), (8.0, 9.0)), 12.0)
    rate, pause, ventricular = (
        next(t for t in figure.data if t.name == name)
        for name in ("heart rate", "pause", "ventricular")
    )
    at_10_s = int(np.abs(np.array(rate.x) - 10.0).argmin())
    assert rate.y[at_10_s] == pytest.approx(60.0)
    assert list(ventricular.customdata) == [pytest.approx(1.0 + 29 + 0.6)]
    # A pause can be clicked on in its middle.
    assert list(pause.customdata) == [pytest.approx(30.6 + 1.2)]
    # Two spans that touch are one, and the chosen window is a line.
    assert [(s.x0, s.x1) for s in figure.layout.shapes] == [(5.0, 9.0), (12.0, 12.0)]


def test_a_long_recording_has_no_more_points_than_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rhythm, "MOST_POINTS", 100)
    rng = np.random.default_rng(0)
    kinds = "".join(rng.choice(["N", "V"], 1001, p=[0.5, 0.5]))
    view = view_of(made(rng.uniform(600, 1000, 1000), kinds))
    for figure in (rate_figure(view), interval_figure(view)):
        # The band of slowest to fastest goes there and back.
        assert max(len(trace.x) for trace in figure.data) <= 200
    # Every interval is counted, though not every one is a point.
    assert sum(figure.data[0].y) == 1000


def test_a_gap_breaks_the_line_of_the_rate() -> None:
    beats = made([1000.0] * 20 + [30_000.0] + [1000.0] * 20, recorded=((0.0, 22.0), (50.0, 73.0)))
    rate = next(t for t in rate_figure(view_of(beats)).data if t.name == "heart rate")
    known = np.isfinite(np.array(rate.y, dtype=float))
    inside = (np.array(rate.x) > 26) & (np.array(rate.x) < 46)
    assert inside.any() and not known[inside].any()
    assert known[~inside].mean() > 0.8
