"""Ten seconds on paper: the scale, every lead once with its samples, gaps, what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.export.document.ecg_paper import ecg_paper_drawing
from echoing_core.export.document.elements import Box, Drawing, Line, Words
from echoing_core.figures.style import GAP
from echoing_core.records import LEADS, StandardEcg

LEFT_MM = 16.0


def make_ecg(duration_s: float = 10.0, origin: tuple[str, ...] = ("measured",) * 12) -> StandardEcg:
    rng = np.random.default_rng(5)
    n_times = round(duration_s * 100)
    valid = np.ones((12, n_times), dtype=bool)
    valid[[i for i, o in enumerate(origin) if o == "missing"]] = False
    signal = rng.normal(0, 0.3, (12, n_times)).astype(np.float32)
    return StandardEcg(np.where(valid, signal, 0.0), valid, origin, "made")


def traces(drawing: Drawing) -> list[Line]:
    return [i for i in drawing.items if isinstance(i, Line) and i.kind.startswith("lead-")]


def pulses(drawing: Drawing) -> list[Line]:
    return [i for i in drawing.items if isinstance(i, Line) and i.kind == "calibration"]


def words(drawing: Drawing) -> list[str]:
    return [i.text for i in drawing.items if isinstance(i, Words)]


def test_the_calibration_pulse_is_one_millivolt_for_a_fifth_of_a_second():
    drawn = pulses(ecg_paper_drawing(make_ecg(), 0.0, "3x4"))
    assert len(drawn) == 4
    for pulse in drawn:
        x, y = pulse.points.T
        assert np.ptp(y) == pytest.approx(10.0)
        assert np.ptp(x[y == y.min()]) == pytest.approx(5.0)


def test_every_lead_is_on_the_paper_exactly_once_with_its_own_samples():
    ecg = make_ecg(30.0)
    drawing = ecg_paper_drawing(ecg, 12.0, "3x4")
    *leads, rhythm = traces(drawing)
    assert sorted(t.kind for t in leads) == sorted(f"lead-{lead}" for lead in LEADS)
    bases = [float(p.points[0, 1]) for p in pulses(drawing)]
    for i, trace in enumerate(leads):
        x, y = trace.points.T
        rows = np.round((12.0 + (x - LEFT_MM) / 25.0) * 100).astype(int)
        expected = ecg.signal_mv[LEADS.index(trace.kind.removeprefix("lead-")), rows]
        # Four leads to a row, each of them upwards from its base line.
        np.testing.assert_allclose((bases[i // 4] - y) / 10.0, expected, atol=1e-6)
        assert np.ptp(x) == pytest.approx(62.25)
    assert rhythm.kind == "lead-II" and np.ptp(rhythm.points[:, 0]) == pytest.approx(249.75)


def test_tall_complexes_stay_on_the_paper():
    ecg = make_ecg()
    ecg.signal_mv[:] = 0.0
    ecg.signal_mv[LEADS.index("V4"), 800] = 2.3
    drawing = ecg_paper_drawing(ecg, 0.0, "3x4")
    (tall,) = [t for t in traces(drawing) if t.kind == "lead-V4"]
    assert tall.points[:, 1].min() > 0
    # An electrode that came off does not make the page endless.
    ecg.signal_mv[:] = 40.0
    assert ecg_paper_drawing(ecg, 0.0, "3x4").height_mm <= 142.0


def test_names_lie_on_the_paper():
    ecg = make_ecg()
    ecg.signal_mv[:] = 0.0
    for layout in ("3x4", "12x1"):
        for item in ecg_paper_drawing(ecg, 0.0, layout).items:
            if isinstance(item, Words):
                assert item.y >= item.size_mm, item.text


def test_the_paper_names_missing_and_derived_leads():
    origin = ("measured", "missing", "derived", *("derived",) * 3, "measured", *("missing",) * 4)
    drawing = ecg_paper_drawing(make_ecg(10.0, (*origin, "measured")), 0.0, "3x4")
    assert words(drawing).count("not recorded") == 5
    assert words(drawing).count("derived") == 4
    *drawn, rhythm = [t.kind for t in traces(drawing)]
    assert set(drawn) == {f"lead-{lead}" for lead in ("I", "III", "aVR", "aVL", "aVF", "V1", "V6")}
    # II is missing, so the rhythm strip shows the first lead there is.
    assert rhythm == "lead-I"


def test_a_gap_is_left_open_and_shaded():
    ecg = make_ecg()
    ecg.valid[LEADS.index("I"), 100:150] = False
    drawing = ecg_paper_drawing(ecg, 0.0, "3x4")
    lead = next(t for t in traces(drawing) if t.kind == "lead-I")
    assert np.isnan(lead.points[100:150, 1]).all()
    assert np.isfinite(lead.points[:100, 1]).all()
    (gap,) = [i for i in drawing.items if isinstance(i, Box) and i.fill == GAP]
    assert gap.left == pytest.approx(LEFT_MM + 25.0) and gap.width == pytest.approx(12.25)
