"""The drawing of the median beat says what was measured."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from echoing_core.figures import beats_beside_svgs, median_beat_figure
from echoing_core.measure import compare_measured, measure
from echoing_core.records import Recording
from tests.unit.measure.made import Heart, made


def test_bands_lie_where_waves_were_measured_and_no_band_without_a_wave() -> None:
    found = measure(made(Heart(p_mv=0.0), (800.0,) * 6, leads=("I", "II", "V1")))
    figure = median_beat_figure(found)
    # The leads that follow from I and II would say the same again.
    assert [trace.name for trace in figure.data] == ["I", "II", "V1"]
    bands = {shape.name: (shape.x0, shape.x1) for shape in figure.layout.shapes}
    assert set(bands) == {"QRS", "T"}
    assert bands["QRS"][0] == 0.0
    assert bands["QRS"][1] == found.get("qrs_ms").value
    assert bands["T"][1] == found.get("qt_ms").value
    # The tallest point of lead II is its R, over the level before the QRS.
    two = figure.data[1]
    assert np.max(two.y) == pytest.approx(found.get("r_mv", "II").value, abs=0.01)


def test_without_a_beat_there_is_nothing_to_draw() -> None:
    flat = measure(Recording(np.zeros((1, 3000), np.float32), 500.0, ("I",), "flat"))
    with pytest.raises(ValueError, match="no median beat"):
        median_beat_figure(flat)


def test_two_median_beats_lie_over_each_other_in_millimetres() -> None:
    ecg = made(rr_ms=(800.0,) * 6, leads=("I", "II", "V1"))
    found = measure(ecg)
    beats = compare_measured(found, found).beats
    assert beats is not None
    drawn = beats_beside_svgs(beats)
    assert list(drawn) == list(beats.leads)
    svg = ElementTree.fromstring(drawn["II"])
    first, second = (p.get("d", "") for p in svg[-2:])
    assert first == second and svg[-1].get("stroke-dasharray")
    points = np.array([[float(v) for v in p.split()] for p in first[1:].split("L")])
    # 25 mm/s from 300 ms before the QRS on, and 10 mm/mV.
    top = points[points[:, 1].argmin()]
    assert 300 * 0.025 < top[0] < 400 * 0.025
    tall = np.max(beats.one_mv[beats.leads.index("II")])
    assert np.ptp(points[:, 1]) >= 10 * tall - 0.1


def test_a_tall_beat_is_not_cut_off() -> None:
    found = measure(made(rr_ms=(800.0,) * 6, leads=("I", "II", "V1")))
    beats = compare_measured(found, found).beats
    assert beats is not None
    tall = replace(beats, one_mv=4.0 * beats.one_mv)
    svg = ElementTree.fromstring(beats_beside_svgs(tall)["II"])
    points = [p.split() for p in svg[-2].get("d", "")[1:].split("L")]
    heights = np.array([float(y) for _, y in points])
    assert np.ptp(heights) == pytest.approx(10 * np.ptp(tall.one_mv[1][::2]), abs=0.1)
