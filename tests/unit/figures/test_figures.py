"""Figures: nothing gets lost on the way to the screen, and the paper keeps its scale."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from echoing_core.figures import (
    SCALE,
    SCALE_DARK,
    clock,
    colour_of,
    decimate_min_max,
    first_shown_lead,
    in_dark,
    lead_percentile,
    map_data,
    reference_figure,
    thumbnail_svg,
)
from echoing_core.records import LEADS, GaussianEmbedding, StandardEcg, WindowTrack
from echoing_core.uncertainty.reference import Reference

REFERENCE = Reference.from_values(np.linspace(0.0, 1.0, 2001), name="made", simulated=True)
"""sigma^2 of 0.42 is at percentile 42."""


def make_ecg(duration_s: float, origin: tuple[str, ...] = ("measured",) * 12) -> StandardEcg:
    rng = np.random.default_rng(5)
    n_times = round(duration_s * 100)
    if duration_s > 3600:  # all leads share one row: a day of twelve would fill half a gigabyte
        one = rng.normal(0, 0.3, n_times).astype(np.float32)
        signal = np.broadcast_to(one, (12, n_times))
        return StandardEcg(signal, np.broadcast_to(True, (12, n_times)), origin, "made")
    valid = np.ones((12, n_times), dtype=bool)
    valid[[i for i, o in enumerate(origin) if o == "missing"]] = False
    signal = rng.normal(0, 0.3, (12, n_times)).astype(np.float32) * valid
    return StandardEcg(signal_mv=signal, valid=valid, lead_origin=origin, record_id="made")


def make_track(duration_s: float, stride_s: float) -> WindowTrack:
    start_s = np.arange(0.0, duration_s - 10.0 + 1e-9, stride_s)
    n = len(start_s)
    percentile = np.random.default_rng(6).uniform(0, 90, n)
    flat = np.zeros((n, 4), dtype=np.float32)
    return WindowTrack(
        start_s=start_s,
        embedding=GaussianEmbedding(flat, flat),
        uncertainty=percentile / 100,
        percentile=percentile,
        valid_fraction=np.ones((n, 12)),
        by_lead=np.repeat(percentile[:, None] / 1200, 12, axis=1).astype(np.float32),
        novelty=np.full(n, 0.5, dtype=np.float32),
        window_s=10.0,
        stride_s=stride_s,
    )


def test_decimation_keeps_the_extremes_in_order_of_time():
    rng = np.random.default_rng(1)
    values = rng.normal(size=100_003)
    values[70_001], values[5] = 50.0, -40.0
    time_s = np.arange(values.size) / 100
    shown_s, shown = decimate_min_max(time_s, values, 500)
    assert len(shown) <= 1000
    assert (np.diff(shown_s) >= 0).all()
    assert shown.max() == 50.0 and shown_s[shown.argmax()] == 700.01
    assert shown.min() == -40.0 and shown_s[shown.argmin()] == 0.05
    assert np.isin(shown, values).all()


def test_decimation_leaves_gaps_as_gaps_and_short_signals_alone():
    values = np.ones(10_000)
    values[2000:4000] = np.nan
    shown_s, shown = decimate_min_max(np.arange(10_000.0), values, 100)
    inside = (shown_s >= 2000) & (shown_s < 4000)
    assert np.isnan(shown[inside]).all() and inside.sum() >= 30
    assert not np.isnan(shown[~inside]).any()
    few = np.arange(7.0)
    np.testing.assert_array_equal(decimate_min_max(few, few, 5)[1], few)
    with pytest.raises(ValueError, match="at least 1"):
        decimate_min_max(few, few, 0)


def test_each_lead_is_on_the_scale_of_the_model():
    track = make_track(60.0, 10.0)
    track.uncertainty[:] = 0.3
    track.by_lead[:] = 0.01
    track.by_lead[3, LEADS.index("V5")] = 0.05
    levels = lead_percentile(track, REFERENCE)
    assert levels.shape == (6, 12)
    # 0.18 belongs to no lead; all leads like this one: 0.18 + 12 * 0.01.
    assert levels[0, 0] == pytest.approx(30)
    assert levels[3, LEADS.index("V5")] == pytest.approx(100 * (0.3 - 0.16 + 12 * 0.05))
    # Half of everything in this recording: other numbers, the same scale.
    track.by_lead[:] /= 2
    track.uncertainty[:] /= 2
    assert lead_percentile(track, REFERENCE)[0, 0] == pytest.approx(15)


def test_a_lead_without_signal_is_blank():
    track = make_track(60.0, 10.0)
    track.valid_fraction[:, 4] = 0.0
    track.valid_fraction[2, 5] = 0.0
    blank = np.isnan(lead_percentile(track, REFERENCE)).T
    assert blank[4].all() and list(blank[5]) == [False, False, True, False, False, False]
    assert blank.sum() == 7


def test_the_worst_moment_of_a_lead_survives_a_24_hour_map():
    ecg, track = make_ecg(86400.0), make_track(86400.0, 10.0)
    track.by_lead[:] = 0.001
    track.uncertainty[:] = 0.012
    track.by_lead[5003, 7] = 0.05  # although the window is no less sure than its neighbours
    data = map_data(ecg, track, REFERENCE)
    rows = np.frombuffer(base64.b64decode(data["leads"]), dtype=np.uint8).reshape(12, -1) / 2.5
    edges = np.frombuffer(base64.b64decode(data["edges"]), dtype="<f4")
    assert rows.shape[1] <= 1500 and len(edges) == rows.shape[1] + 1
    column = int(np.argmax(rows[7]))
    assert rows[7, column] > 50 and (np.delete(rows[7], column) < 2).all()
    assert edges[column] <= 50_035 <= edges[column + 1]
    assert (edges[0], edges[-1]) == (0, pytest.approx(86400.0))


def test_a_stretch_without_signal_is_blank_on_the_map():
    ecg, track = make_ecg(60.0), make_track(60.0, 10.0)
    track.valid_fraction[2] = 0.0
    data = map_data(ecg, track, REFERENCE, selected=2)
    shown = np.frombuffer(base64.b64decode(data["percentile"]), dtype=np.uint8)
    assert list(shown == 255) == [False, False, True, False, False, False]
    assert "Chosen: 00:20 to 00:30, nothing recorded." in data["words"]


def test_the_map_shows_the_first_lead_there_is():
    origin = tuple("measured" if lead in ("II", "V1") else "missing" for lead in LEADS)
    ecg = make_ecg(20.0, origin)
    assert first_shown_lead(ecg) == "II"
    assert map_data(ecg, make_track(20.0, 1.0), REFERENCE)["lead"] == "II"


def test_a_detail_shows_every_sample():
    ecg = make_ecg(1196.0)
    data = map_data(ecg, make_track(1196.0, 1.0), REFERENCE, view_s=(300.0, 310.0))
    times = np.frombuffer(base64.b64decode(data["traceTime"]), dtype="<f4")
    assert len(np.unique(times)) == 1000
    assert (data["begin"], data["end"]) == (300.0, 310.0)


def test_the_reference_histogram_holds_the_whole_cohort():
    values = np.random.default_rng(2).lognormal(-3, 0.5, 5000)
    reference = Reference.from_values(values, name="made", simulated=True)
    figure = reference_figure(reference, [("this window", 0.05)])
    assert sum(figure.data[0].y) == pytest.approx(100, abs=0.5)
    assert figure.data[0].marker.color[0] == SCALE[0]
    assert figure.data[0].marker.color[-1] == SCALE[-1]


def test_on_a_dark_page_every_colour_of_the_scale_is_seen():
    def lightness(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    page = lightness("#14171d")
    levels = [lightness(colour) for colour in SCALE_DARK]
    # Contrast of WCAG for what is drawn, and an order that is seen without colour, too.
    assert min((level + 0.05) / (page + 0.05) for level in levels) >= 3
    assert levels == sorted(levels) and len(SCALE_DARK) == len(SCALE)
    assert colour_of(99.0, dark=True) == SCALE_DARK[-1]


def test_a_figure_in_the_dark_shows_the_same_in_other_colours():
    values = np.random.default_rng(2).lognormal(-3, 0.5, 500)
    figure = reference_figure(Reference.from_values(values, name="made", simulated=True))
    dark = in_dark(figure)
    assert dark.to_plotly_json()["data"][0]["y"] == figure.to_plotly_json()["data"][0]["y"]
    assert set(dark.data[0].marker.color) <= set(SCALE_DARK)
    assert dark.layout.paper_bgcolor == "rgba(0,0,0,0)"
    assert dark.layout.font.color != figure.layout.font.color
    assert figure.layout.paper_bgcolor == "white"


def test_a_thumbnail_shows_beats_at_one_scale_and_leaves_gaps_open():
    ecg = make_ecg(10.0)
    row = LEADS.index("II")
    ecg.signal_mv[row] = 0.0
    ecg.signal_mv[row, 200:203] = 1.5
    ecg.valid[row, 500:600] = False
    paths = re.findall(r'd="(M[^"]*)" fill="none" stroke="#16181d"', thumbnail_svg(ecg))
    points = np.array(
        [[float(v) for v in p.split()] for p in re.findall(r"[ML]([^ML]+)", paths[0])]
    )
    # The spike at 2 s of 10, as high as the picture; nothing in the gap from 5 to 6 s.
    top = points[points[:, 1].argmin()]
    assert top[0] == pytest.approx(0.2 * 156, abs=1.0) and top[1] == 0.0
    assert not ((points[:, 0] > 0.51 * 156) & (points[:, 0] < 0.59 * 156)).any()
    assert paths[0].count("M") == 2


def test_colours_and_clock():
    assert colour_of(0.0) == SCALE[0] and colour_of(100.0) == SCALE[-1]
    assert colour_of(float("nan")) not in SCALE
    assert [clock(s) for s in (0, 451, 3661.0, 59.96)] == ["00:00", "07:31", "1:01:01", "01:00"]
    assert clock(451.26, tenths=True) == "07:31.3"
