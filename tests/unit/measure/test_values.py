"""QTc by hand, criteria at their limits, and the rule that a value has a number or a reason."""

from __future__ import annotations

import math

import pytest

from echoing_core.measure import (
    Measurement,
    cornell_met,
    qtc_bazett_ms,
    qtc_framingham_ms,
    qtc_fridericia_ms,
    qtc_hodges_ms,
    sokolow_lyon_met,
)


def test_at_sixty_a_minute_every_formula_leaves_the_qt_as_it_is() -> None:
    for formula in (qtc_bazett_ms, qtc_fridericia_ms, qtc_framingham_ms, qtc_hodges_ms):
        assert formula(412.0, 1000.0) == pytest.approx(412.0)


def test_qtc_by_hand() -> None:
    # RR 640 ms: the root of 0.64 is 0.8, and 60000 / 640 = 93.75 beats a minute.
    assert qtc_bazett_ms(360.0, 640.0) == pytest.approx(360.0 / 0.8)
    assert qtc_framingham_ms(360.0, 640.0) == pytest.approx(360.0 + 154.0 * 0.36)  # 415.44
    assert qtc_hodges_ms(360.0, 640.0) == pytest.approx(360.0 + 1.75 * 33.75)  # 419.06
    # RR 512 ms: the cube root of 0.512 is 0.8.
    assert qtc_fridericia_ms(360.0, 512.0) == pytest.approx(450.0)
    # RR 1210 ms: the root of 1.21 is 1.1; slower than sixty, all formulas shorten.
    assert qtc_bazett_ms(440.0, 1210.0) == pytest.approx(400.0)
    assert qtc_framingham_ms(440.0, 1210.0) == pytest.approx(440.0 - 32.34)
    assert qtc_hodges_ms(440.0, 1200.0) == pytest.approx(440.0 - 17.5)


def test_criteria_at_their_limits() -> None:
    assert sokolow_lyon_met(3.5)
    assert not sokolow_lyon_met(3.49)
    assert cornell_met(2.0, None) is False
    assert cornell_met(2.9, None) is True
    # Between the limits of women and men the sex decides.
    assert cornell_met(2.4, None) is None
    assert cornell_met(2.4, "female") is True
    assert cornell_met(2.4, "male") is False


def test_no_value_without_a_reason_and_no_number_that_is_none() -> None:
    with pytest.raises(ValueError, match="neither a value nor a reason"):
        Measurement("pr_ms", "PR interval", None, "ms")
    with pytest.raises(ValueError, match="not measurable"):
        Measurement("pr_ms", "PR interval", math.nan, "ms")


def test_the_error_of_a_median_falls_with_the_root_of_the_beats() -> None:
    one = Measurement("qt_ms", "QT interval", 400.0, "ms", spread=8.0, n_beats=16)
    assert one.standard_error == pytest.approx(2.5)
    assert Measurement("qt_ms", "QT interval", 400.0, "ms").standard_error is None
