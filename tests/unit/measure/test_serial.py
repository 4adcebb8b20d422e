"""Two recordings of one heart, and of a heart that changed by what is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echoing_core.export.measurements import change_words
from echoing_core.measure import VISIT_SD, Measurement, Serial, compare_measured, measure
from echoing_core.measure.serial import REPEAT, difference
from tests.unit.measure.made import Heart, made

RR = (800.0,) * 7


@pytest.fixture(scope="module")
def changed() -> Serial:
    later = Heart(t_onset_ms=260.0, qt_ms=460.0, qrs_axis_deg=-10.0)
    return compare_measured(measure(made(rr_ms=RR)), measure(made(later, RR, seed=1)))


def test_what_changed_is_told_and_what_did_not_is_not(changed: Serial) -> None:
    by = {d.one.name: d for d in changed.differences}
    assert by["qt_ms"].value == pytest.approx(60.0, abs=6.0)
    assert by["qt_ms"].changed
    assert by["qrs_axis_deg"].value == pytest.approx(-60.0, abs=4.0)
    assert by["qrs_axis_deg"].changed
    for name in ("pr_ms", "qrs_ms", "p_axis_deg", "heart_rate_bpm"):
        assert not by[name].changed, name


def test_the_beats_lie_over_each_other(changed: Serial) -> None:
    beats = changed.beats
    assert beats is not None
    # V5 does not see the frontal plane, and its QRS is the same in both.
    row = beats.leads.index("V5")
    qrs = (beats.time_ms >= 0.0) & (beats.time_ms <= 90.0)
    assert np.abs(beats.one_mv[row, qrs] - beats.other_mv[row, qrs]).max() < 0.15
    assert beats.likeness[row] > 0.9


def test_what_cannot_be_measured_is_not_compared(changed: Serial) -> None:
    ecg = made(rr_ms=RR)
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.5, ecg.signal_mv.shape).astype(np.float32)
    noisy = compare_measured(changed.one, measure(replace(ecg, signal_mv=noise)))
    qt = next(d for d in noisy.differences if d.one.name == "qt_ms")
    assert qt.value is None
    assert qt.interval is None
    assert qt.why.startswith("not measurable in the second: ")
    assert noisy.beats is None
    assert noisy.why.startswith("too noisy to compare: the second")


def test_the_interval_by_hand_and_the_shorter_way_round() -> None:
    one = Measurement("t_axis_deg", "T axis", 170.0, "°", spread=8.0, n_beats=16)
    other = Measurement("t_axis_deg", "T axis", -170.0, "°", spread=8.0, n_beats=16)
    found = difference(one, other)
    assert found.value == pytest.approx(20.0)
    # Each standard error is 1.25 * 8 / 4 = 2.5.
    reach = 1.96 * np.sqrt(2 * 2.5**2 + 2 * REPEAT["t_axis_deg"] ** 2)
    assert found.interval == pytest.approx((20.0 - reach, 20.0 + reach))
    few = difference(one, replace(other, spread=None))
    assert few.value is None
    assert "too noisy to compare" in few.why


def test_a_change_is_held_against_visits_of_healthy_people() -> None:
    one = Measurement("qt_ms", "QT interval", 400.0, "ms", spread=1.0, n_beats=100)
    told = {}
    for value in (410.0, 432.0, 440.0):
        found = difference(one, Measurement("qt_ms", "QT interval", value, "ms", 1.0, 100))
        told[value] = (found.changed, found.beyond_visits, change_words(found))
    # Repeats reach 1.96 sqrt(2) 10 = 28 ms, visits 1.96 times 17 = 33 ms.
    assert told[410.0] == (False, False, "within what repeats differ by")
    assert told[432.0] == (True, False, "changed as from visit to visit")
    assert told[440.0] == (True, True, "changed by more than from visit to visit")
    assert set(VISIT_SD) == set(REPEAT)
