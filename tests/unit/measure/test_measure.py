"""Measurements of hearts whose intervals, axes and voltages are known, and of what has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoing_core import read_recording
from echoing_core.errors import ConfigError, MissingLeadError, SignalQualityError
from echoing_core.measure import MARKS, Measured, compare_measured, measure
from echoing_core.measure.voltages import amplitudes, frontal_vector
from echoing_core.measure.waves import MARK, qrs_end
from echoing_core.records import LEADS, Recording
from tests.unit.measure.made import Heart, made

RR = (800.0,) * 7
LBBB = Path(__file__).parents[3] / "assets" / "recordings" / "SIM_LBBB.hea"


@pytest.fixture(scope="module")
def usual() -> Measured:
    return measure(made(rr_ms=RR))


def test_intervals_of_a_known_heart(usual: Measured) -> None:
    # The waves of this heart have corners, which every filter rounds off by some milliseconds.
    for name, true in (("pr_ms", 160.0), ("qrs_ms", 90.0), ("qt_ms", 400.0), ("p_ms", 100.0)):
        found = usual.get(name)
        assert found.value == pytest.approx(true, abs=18.0), name
        assert found.spread is not None
        assert found.spread < 3.0
    assert usual.get("heart_rate_bpm").value == pytest.approx(75.0, abs=0.1)
    assert usual.get("qt_ms", "V5").value == pytest.approx(400.0, abs=18.0)


def test_a_longer_pr_and_qt_are_found_longer_by_as_much(usual: Measured) -> None:
    other = measure(
        made(Heart(p_onset_ms=-240.0, p_offset_ms=-140.0, t_onset_ms=260.0, qt_ms=460.0), RR)
    )
    for name, longer in (("pr_ms", 80.0), ("qt_ms", 60.0), ("qrs_ms", 0.0)):
        one, two = usual.get(name).value, other.get(name).value
        assert one is not None
        assert two is not None
        assert two - one == pytest.approx(longer, abs=6.0)


def test_axes_and_voltages(usual: Measured) -> None:
    for name, true in (("p_axis_deg", 60.0), ("qrs_axis_deg", 50.0), ("t_axis_deg", 40.0)):
        assert usual.get(name).value == pytest.approx(true, abs=3.0)
    # Lead I sees 1.2 mV cos 50°, aVL sqrt(3)/2 of 1.2 mV cos 80°; V1 is a QS.
    assert usual.get("r_mv", "I").value == pytest.approx(1.2 * np.cos(np.radians(50)), abs=0.03)
    assert usual.get("r_mv", "aVL").value == pytest.approx(0.180, abs=0.03)
    assert usual.get("r_mv", "V1").value == 0.0
    assert usual.get("s_mv", "V1").value == pytest.approx(0.72, abs=0.03)
    assert usual.get("st_j60_mv", "V5").value == pytest.approx(0.0, abs=0.02)
    assert usual.get("sokolow_lyon_mv").value == pytest.approx(0.72 + 1.2, abs=0.05)
    assert usual.get("sokolow_lyon_mv").met is False


# Turns of one lead in (ms, mV) from the onset of the QRS, which ends at 120 ms; and its Q, R and S.
@pytest.mark.parametrize(
    ("turns", "q_r_s"),
    [
        # All of it negative, and ST above zero behind it: a QS.
        (((0, 0.0), (50, -2.0), (110, 0.1), (120, 0.15), (200, 0.4)), (0.0, 0.0, 2.0)),
        # A small r before it.
        (((0, 0.0), (15, 0.1), (60, -2.0), (110, 0.1), (120, 0.15), (200, 0.4)), (0.0, 0.1, 2.0)),
        # rSR': S lies between the two, and is no Q.
        (((0, 0.0), (20, 0.3), (50, -0.7), (95, 0.9), (120, 0.0), (200, 0.0)), (0.0, 0.9, 0.7)),
        # qR, and ST below zero behind it: no S.
        (((0, 0.0), (15, -0.2), (60, 1.5), (120, -0.2), (200, -0.3)), (0.2, 1.5, 0.0)),
        # qRs.
        (((0, 0.0), (15, -0.2), (60, 1.5), (105, -0.3), (120, 0.0), (200, 0.0)), (0.2, 1.5, 0.3)),
        # R passes into an ST segment as high as itself.
        (((0, 0.0), (15, -0.2), (120, 1.0), (200, 1.2)), (0.2, 1.0, 0.0)),
    ],
)
def test_waves_of_the_qrs_are_peaks_and_st_is_none(
    turns: tuple[tuple[float, float], ...], q_r_s: tuple[float, float, float]
) -> None:
    at_ms, mv = zip(*turns, strict=True)
    lead = np.interp(np.arange(600) * 2.0 - 400.0, at_ms, mv)
    found = amplitudes(lead[np.newaxis], 200.0, 260.0, None)
    measured = [found[name][0] for name in ("q_mv", "r_mv", "s_mv")]
    assert measured == pytest.approx(q_r_s, abs=0.04)


def test_left_bundle_branch_block_has_its_depth_in_s() -> None:
    found = measure(read_recording(LBBB))
    assert found.get("r_mv", "V3").value == 0.0
    for name, lead, true in (("s_mv", "V1", 1.94), ("s_mv", "V3", 2.07), ("r_mv", "V1", 0.12)):
        assert found.get(name, lead).value == pytest.approx(true, abs=0.03)
    assert found.get("sokolow_lyon_mv").value == pytest.approx(2.69, abs=0.05)
    assert found.get("cornell_mv").value == pytest.approx(2.84, abs=0.05)


@pytest.mark.parametrize(
    ("late", "steep", "true"), [((280, 282), 1.0, 282), ((280, 282), 0.0, 250), ((282,), 1.0, 250)]
)
def test_two_late_leads_end_the_qrs_where_they_still_move(
    late: tuple[int, ...], steep: float, true: int
) -> None:
    marks, signal = np.full((12, 8), np.nan), np.zeros((12, 600))
    marks[:, MARK["qrs_onset"]], marks[:, MARK["qrs_offset"]] = 200.0, 250.0
    signal[:, 225] = 1.0
    for k, end in enumerate(late):
        marks[k, MARK["qrs_offset"]] = end
        signal[k, 250:282] = steep * np.linspace(1.0, 0.0, 32)
    assert qrs_end(signal, marks) == true


@pytest.mark.slow
def test_large_voltages_meet_sokolow_lyon_and_the_sex_decides_cornell() -> None:
    tall = made(Heart(r_mv=2.5, qrs_axis_deg=-30.0), RR, factor={"V3": -1.0 / 3.0})
    # aVL looks along the axis: sqrt(3)/2 of 2.5 mV, and S in V3 is a third of 0.3 of 2.5 mV.
    cornell = measure(tall).get("cornell_mv")
    assert cornell.value == pytest.approx(2.165 + 0.25, abs=0.08)
    assert cornell.met is None
    assert "sex" in cornell.why
    assert measure(tall, sex="female").get("cornell_mv").met is True
    assert measure(tall, sex="male").get("sokolow_lyon_mv").met is True


def test_the_vector_of_limb_leads_by_hand() -> None:
    # I 1 and aVF 0: the axis is 0. I 0 and aVF sqrt(3)/2: length 1 at 90 degrees.
    assert frontal_vector(("I", "aVF"), np.array([1.0, 0.0])) == pytest.approx((1.0, 0.0))
    assert frontal_vector(("I", "aVF"), np.array([0.0, 0.8660254])) == pytest.approx((1.0, 90.0))
    # II alone tells no direction.
    assert frontal_vector(("II", "V1"), np.array([1.0, 1.0])) is None


def test_fibrillation_has_no_pr_and_says_why() -> None:
    rng = np.random.default_rng(3)
    found = measure(made(Heart(p_mv=0.0), tuple(rng.uniform(450.0, 1100.0, 14))))
    for name in ("pr_ms", "p_ms", "p_axis_deg"):
        assert found.get(name).value is None
        assert "no P wave" in found.get(name).why
        assert "fibrillation" in found.get(name).why
    assert found.get("qrs_ms").value is not None
    assert "irregular" in found.get("qtc_bazett_ms").why


def test_leads_on_scales_of_their_own_have_intervals_but_no_axis_and_no_voltage() -> None:
    found = measure(made(rr_ms=RR, factor={"II": 0.5}))
    assert found.get("qt_ms").value == pytest.approx(400.0, abs=18.0)
    for one in (found.get("qrs_axis_deg"), found.get("sokolow_lyon_mv"), found.get("r_mv", "V5")):
        assert one.value is None
        assert "I + III is not II" in one.why


def test_few_leads_say_what_is_lacking_and_derived_ones_are_named() -> None:
    one = measure(made(rr_ms=RR, leads=("I",)))
    assert one.get("qt_ms").value == pytest.approx(400.0, abs=18.0)
    assert "two limb leads" in one.get("qrs_axis_deg").why
    assert one.get("sokolow_lyon_mv").why == "not recorded: V1, V5, V6"
    two = measure(made(rr_ms=RR, leads=("I", "II")))
    assert two.get("qrs_axis_deg").value == pytest.approx(50.0, abs=3.0)
    assert two.beat is not None
    assert two.beat.derived == ("III", "aVR", "aVL", "aVF")
    assert two.get("r_mv", "aVL").value == pytest.approx(0.180, abs=0.03)
    assert "computed from other leads" in two.get("qt_ms", "aVL").why


@pytest.mark.slow
def test_an_ectopic_beat_is_left_out_of_the_median() -> None:
    rr = (800.0,) * 5 + (480.0, 1120.0) + (800.0,) * 5
    ecg = made(rr_ms=rr)
    signal = ecg.signal_mv.copy()
    # The early beat: wide, tall and upside down.
    at = round((sum(rr[:6]) - 20.0) * 0.5)
    wide = np.sin(np.pi * np.arange(100) / 100.0)
    signal[:, at : at + 100] = np.array([2.0, 2.5, 0.5, -2.25, 0.75, 1.5, *[-2.0] * 6])[:, None] * (
        -wide
    )
    found = measure(replace(ecg, signal_mv=signal))
    assert found.beat is not None
    assert found.beat.n_beats < found.beat.n_found
    assert np.abs(found.beat.time_s - sum(rr[:6]) / 1000.0).min() > 0.2
    assert found.get("qrs_ms").value == pytest.approx(90.0, abs=18.0)


@pytest.mark.slow
def test_gaps_are_left_out_and_noise_alone_is_not_measurable(usual: Measured) -> None:
    ecg = made()
    signal = ecg.signal_mv.copy()
    signal[:, 1500:2200] = np.nan
    gapped = measure(replace(ecg, signal_mv=signal))
    one, other = gapped.get("qt_ms").value, usual.get("qt_ms").value
    assert one == pytest.approx(other, abs=6.0)
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 0.3, ecg.signal_mv.shape).astype(np.float32)
    found = measure(replace(ecg, signal_mv=noise))
    for one_value in found.values:
        if one_value.name not in ("heart_rate_bpm", "rr_ms"):
            assert one_value.value is None, one_value
            assert one_value.why
    flat = measure(Recording(np.zeros((1, 5000), np.float32), 500.0, ("I",), "flat"))
    assert flat.beat is None
    assert {value.why for value in flat.values} == {
        "every lead is flat for half of the time or more"
    }
    end = measure(made(rr_ms=RR), sum(RR) / 1000.0 - 0.7, 10.0)
    assert "too short" in end.get("qt_ms").why


def test_a_flat_lead_is_no_measurement_of_0_mv() -> None:
    ecg = made(rr_ms=RR)

    def without(*leads: str) -> Measured:
        off = [ecg.lead_names.index(lead) for lead in leads]
        signal = np.array(ecg.signal_mv)
        # An amplifier's own noise makes no heartbeat.
        signal[off] = np.random.default_rng(0).normal(0.0, 0.002, (len(off), signal.shape[1]))
        return measure(replace(ecg, signal_mv=signal))

    found = without("V3", "V6")
    assert found.get("cornell_mv").value is None
    assert found.get("cornell_mv").why == "V3 is flat"
    assert found.get("sokolow_lyon_mv").why == "V6 is flat"
    assert {one.value for one in found.by_lead if one.lead == "V3"} == {None}
    assert found.get("qrs_axis_deg").value == pytest.approx(50.0, abs=2.0)
    limb = without("II")
    for wave in ("p", "qrs", "t"):
        assert limb.get(f"{wave}_axis_deg").why == "II is flat"
    assert limb.get("sokolow_lyon_mv").value is not None
    assert compare_measured(measure(ecg), found).beats.leads == (*LEADS[:8], "V4", "V5")


def test_p_ends_before_the_qrs_begins_however_late_single_leads_begin() -> None:
    found = measure(read_recording(LBBB.with_name("SIM_NORMAL.hea")))
    assert found.mark_ms("p_offset") <= found.mark_ms("qrs_onset")
    assert found.get("p_ms").value <= found.get("pr_ms").value
    assert "runs into the QRS" in found.get("p_ms").why
    begin = MARKS.index("qrs_onset")
    assert np.nanmax(found.marks_ms[:, MARKS.index("p_offset")] - found.marks_ms[:, begin]) <= 0
    # Whoever sees the QRS begin 4 ms earlier is not refused because of where P was found to end.
    earlier = {"qrs_onset": found.mark_ms("qrs_onset") - 4.0}
    moved = measure(read_recording(LBBB.with_name("SIM_NORMAL.hea")), by_hand=earlier)
    assert moved.get("pr_ms").value == pytest.approx(found.get("pr_ms").value - 4.0)
    assert moved.mark_ms("p_offset") == moved.mark_ms("qrs_onset")


def test_no_p_wave_is_measured_in_fibrillation_and_it_is_in_irregular_sinus_rhythm() -> None:
    holter = read_recording(LBBB.with_name("SIM_HOLTER.hea"))
    # In the last minutes it fibrillates. Here half of the beats and more look alike by chance.
    for start_s in (1732.0, 1748.0, 1782.0):
        found = measure(holter, start_s, 10.0)
        for name in ("p_ms", "pr_ms", "p_axis_deg"):
            assert found.get(name).value is None, start_s
            assert "irregular as in atrial fibrillation" in found.get(name).why
    rr_ms = (1100.0, 760.0, 1300.0, 880.0, 1040.0, 740.0, 1200.0, 900.0, 1340.0, 700.0, 1000.0)
    sinus = measure(made(rr_ms=rr_ms))
    assert "irregular" in sinus.get("heart_rate_bpm").why
    assert sinus.get("pr_ms").value == pytest.approx(160.0, abs=18.0)


@pytest.mark.slow
def test_other_sampling_rates_and_stretches_give_the_same(usual: Measured) -> None:
    coarse = measure(made(rr_ms=RR, fs_hz=250.0))
    for name in ("pr_ms", "qrs_ms", "qt_ms"):
        assert coarse.get(name).value == pytest.approx(usual.get(name).value, abs=8.0)
    part = measure(made(), 2.0, 6.0)
    assert part.get("qt_ms").value == pytest.approx(usual.get("qt_ms").value, abs=6.0)
    assert "from second 2 to 8" in part.notes[0]


def test_what_is_no_ecg_and_a_sex_that_is_none_are_refused() -> None:
    with pytest.raises(MissingLeadError):
        measure(Recording(np.zeros((1, 5000), np.float32), 500.0, ("Resp",), "r"))
    with pytest.raises(ConfigError, match="sex"):
        measure(made(), sex="other")


@pytest.mark.parametrize(
    ("start_s", "length_s"), [(-1.0, 10.0), (500.0, 10.0), (float("nan"), 10.0), (0.0, -5.0)]
)
def test_a_stretch_that_is_not_there_is_refused(start_s: float, length_s: float) -> None:
    with pytest.raises(SignalQualityError, match="no stretch"):
        measure(made(), start_s, length_s)


def test_a_mark_set_by_hand_moves_what_follows_from_it_and_says_so(usual: Measured) -> None:
    end = usual.mark_ms("t_offset") + 30.0
    moved = measure(made(rr_ms=RR), by_hand={"t_offset": end})
    qt, before = moved.get("qt_ms"), usual.get("qt_ms")
    assert qt.value == pytest.approx(before.value + 30.0, abs=0.1)
    assert qt.by_hand
    assert qt.why == f"T end set by hand, measured: {before.value:.0f} ms"
    assert moved.get("qtc_hodges_ms").by_hand
    assert moved.mark_ms("t_offset") == pytest.approx(end)
    for name in ("pr_ms", "qrs_ms", "qrs_axis_deg"):
        assert moved.get(name) == usual.get(name)


def test_a_p_wave_that_was_not_found_can_be_set_and_disorder_is_refused() -> None:
    ecg = made(Heart(p_mv=0.0), RR)
    onset = measure(ecg).mark_ms("qrs_onset")
    told = measure(ecg, by_hand={"p_onset": onset - 150.0, "p_offset": onset - 60.0})
    assert told.get("pr_ms").value == pytest.approx(150.0, abs=0.1)
    assert told.get("pr_ms").by_hand
    with pytest.raises(ConfigError, match="QRS onset lies before P end"):
        measure(ecg, by_hand={"p_onset": onset - 150.0, "p_offset": onset + 10.0})
    with pytest.raises(ConfigError, match="outside of the beat"):
        measure(ecg, by_hand={"t_offset": 5000.0})
    with pytest.raises(ConfigError, match="t_peak cannot be set"):
        measure(ecg, by_hand={"t_peak": 200.0})
