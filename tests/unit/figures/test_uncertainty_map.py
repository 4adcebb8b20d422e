"""What the map of a recording is drawn from."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from echoing_core.figures.uncertainty_map import (
    COLUMNS,
    Mark,
    _height_mv,
    _runs_of,
    map_data,
    overview_rows,
    trace_points,
    unrecorded_spans,
)
from echoing_core.records import StandardEcg
from echoing_core.uncertainty.reference import Reference
from tests.made_tracks import track_of

LINE = Reference.from_dict(
    {
        "name": "a line",
        "n": 1001,
        "simulated": True,
        "quantiles": np.linspace(0.1, 100.0, 1001).tolist(),
    }
)


def ecg_of(duration_s: float) -> StandardEcg:
    n = round(100 * duration_s)
    signal = np.zeros((12, n), dtype=np.float32)
    signal[0] = np.sin(np.arange(n) / 20.0)
    return StandardEcg(signal, np.ones((12, n), dtype=np.bool_), ("measured",) * 12, "rec")


def decoded(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8)


def test_a_day_needs_no_more_numbers_than_pixels() -> None:
    rng = np.random.default_rng(5)
    n = 40_000
    track = track_of(rng.uniform(0, 100, n).tolist(), (np.arange(n) * 2.0).tolist())
    ecg = ecg_of(80_010.0)
    data = map_data(ecg, track, LINE, selected=17)
    assert data["rows"] == 23
    assert len(decoded(data["overview"])) == 23 * 360
    assert len(decoded(data["percentile"])) == COLUMNS
    assert len(decoded(data["leads"])) == 12 * COLUMNS
    time_s, signal_mv = trace_points(ecg, 0.0, ecg.duration_s)
    assert len(time_s) <= 2 * COLUMNS + 2
    assert np.nanmax(signal_mv) == pytest.approx(1.0, abs=1e-3)
    assert sum(len(v) for v in data.values() if isinstance(v, str)) < 80_000


def test_the_least_sure_of_a_pixel_and_the_chosen_view_survive() -> None:
    n = 20_000
    percentile = np.full(n, 5.0)
    percentile[7_777] = 100.0
    track = track_of(percentile.tolist(), np.arange(n).astype(float).tolist())
    data = map_data(ecg_of(n + 9.0), track, LINE)
    assert 250 in decoded(data["percentile"]) and 250 in decoded(data["overview"])
    # In a close view the columns are the windows themselves.
    near = map_data(ecg_of(n + 9.0), track, LINE, view_s=(7_700.0, 7_900.0))
    assert (decoded(near["percentile"]) == 250).sum() == 1
    assert near["unsureStart"] == [7_777.0]


@pytest.mark.parametrize("starts", [[0.0], [0.0, 1.0, 2.0], [0, 10, 20, 21, 22, 23, 30, 40.5]])
def test_starts_come_back_from_their_runs(starts: list[float]) -> None:
    back = [a + i * step for a, step, n in _runs_of(np.array(starts)) for i in range(int(n))]
    assert back == pytest.approx(starts)


def test_gaps_of_all_leads_are_found() -> None:
    ecg = ecg_of(30.0)
    ecg.valid[:, 1000:1500] = False
    ecg.valid[0, :200] = False
    assert unrecorded_spans(ecg) == [(10.0, 15.0)]
    assert overview_rows(86_400.0) == (24, 3600.0) and overview_rows(1200.0) == (1, 1200.0)
    data = map_data(ecg, track_of([5, 5, 5]), LINE, marks=[Mark(10.0, 15.0, "not recorded")])
    assert data["marks"] == [[10.0, 15.0, "not recorded"]]


def test_the_height_shows_whole_beats_and_withstands_a_loose_electrode() -> None:
    time_s = np.arange(3000) / 100.0
    signal = np.zeros(3000)
    signal[50::100] = 1.2  # narrow beats, most samples near 0
    low, high = _height_mv(time_s, signal)
    assert high > 1.2 and low > -0.5
    signal[1000:1200] = 40.0
    low, high = _height_mv(time_s, signal)
    assert 1.2 < high < 4.0
    assert _height_mv(time_s, np.full(3000, np.nan)) == [-1.0, 1.0]
