"""Rhythm over time: kinds of beats, gaps, pauses, atrial fibrillation, variability."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.errors import MissingLeadError
from echoing_core.export.rhythm import rhythm_tables
from echoing_core.records import Recording
from echoing_core.rhythm import Beats, find_beats_of, rhythm_of
from echoing_core.rhythm.beats import intervals_ms, unrecorded_s, without_spans
from echoing_core.rhythm.fibrillation import af_episodes, af_probability, beat_probabilities
from echoing_core.rhythm.measures import (
    _powers,
    pauses,
    rate_by_hour,
    rr_histogram,
    variability_measures,
)
from echoing_core.rhythm.whole import beats_outside, rhythm_of_beats, view_of

F64 = npt.NDArray[np.float64]
FS_HZ = 200.0


def made(
    rr_ms: npt.ArrayLike,
    kinds: str = "",
    recorded: tuple[tuple[float, float], ...] | None = None,
) -> Beats:
    """Beats with given intervals, the first at 1 s."""
    time_s = 1.0 + np.concatenate([[0.0], np.cumsum(rr_ms)]) / 1000.0
    end_s = float(time_s[-1]) + 1.0
    stretches = recorded or ((0.0, end_s),)
    n = len(time_s)
    return Beats(
        time_s,
        np.array(list(kinds or "N" * n)),
        intervals_ms(time_s, stretches),
        np.full(n, 90.0),
        np.ones(n),
        stretches,
        end_s,
        ("II",),
    )


@pytest.mark.parametrize("gap_s", [0.0, 11.0])
def test_powers_of_what_was_measured_alone(gap_s: float) -> None:
    at_s = 0.8 * np.arange(1, 375)
    # A wave of 30 ms has 450 ms^2, one of 20 ms 200 ms^2.
    nn_ms = 800.0 + 30 * np.sin(2 * np.pi * 0.09 * at_s) + 20 * np.sin(2 * np.pi * 0.26 * at_s)
    kept = np.abs((at_s % 60.0) - 30.0) >= gap_s / 2
    lf, hf = _powers(at_s[kept], nn_ms[kept])
    assert lf == pytest.approx(450.0, rel=0.1)
    assert hf == pytest.approx(200.0, rel=0.1)


def drawn(
    beat_s: npt.ArrayLike,
    wide_s: npt.ArrayLike = (),
    duration_s: float = 60.0,
    noise_mv: float = 0.01,
) -> Recording:
    """One lead of narrow upright beats, and of wide ones that point down."""
    n = round(duration_s * FS_HZ)
    signal = noise_mv * np.random.default_rng(3).standard_normal(n + 400)
    waves = ((beat_s, ((1.0, 0.0, 0.012), (0.2, 0.25, 0.05))),)
    waves += ((wide_s, ((-1.3, 0.0, 0.04), (0.4, 0.28, 0.06))),)
    for times, bumps in waves:
        for beat in np.asarray(times, dtype=np.float64):
            around = np.arange(max(0, round((beat - 0.3) * FS_HZ)), round((beat + 0.6) * FS_HZ))
            for height, late_s, width_s in bumps:
                x = (around / FS_HZ - beat - late_s) / width_s
                signal[around] += height * np.exp(-(x**2))
    return Recording(signal[np.newaxis, :n].astype(np.float32), FS_HZ, ("II",), "drawn")


@pytest.fixture(scope="module")
def ectopic() -> tuple[Recording, Beats, F64, F64]:
    """A beat each 0.8 s over two seams of pieces; ventricular and atrial ones between."""
    beat_s = np.arange(1.0, 618.0, 0.8)
    wide = np.arange(20, 760, 37)
    early = np.arange(30, 740, 53)
    early = early[np.abs(early[:, np.newaxis] - wide).min(axis=1) > 3]
    wide_s = beat_s[wide] - 0.3
    premature_s = beat_s[early] - 0.24
    beat_s[early] = premature_s
    normal_s = np.delete(beat_s, wide)
    recording = drawn(normal_s, wide_s, 620.0)
    return recording, find_beats_of(recording), wide_s, premature_s


def test_every_beat_is_found_once_across_the_seams_of_pieces(
    ectopic: tuple[Recording, Beats, F64, F64],
) -> None:
    _, beats, wide_s, _ = ectopic
    # 772 places, each with one beat.
    assert len(beats) == len(np.arange(1.0, 618.0, 0.8))
    distance = np.abs(beats.time_s[:, np.newaxis] - wide_s).min(axis=0)
    assert distance.max() < 0.08  # the steepest part of a wide beat is not its middle


def test_kinds_of_beats_are_told_apart(ectopic: tuple[Recording, Beats, F64, F64]) -> None:
    _, beats, wide_s, premature_s = ectopic
    near = lambda at: int(np.abs(beats.time_s - at).argmin())  # noqa: E731
    assert {str(beats.kind[near(at)]) for at in wide_s} == {"V"}
    assert {str(beats.kind[near(at)]) for at in premature_s} == {"S"}
    assert beats.n("V") == len(wide_s)
    assert beats.n("S") == len(premature_s)
    assert beats.n("Q") == 0


def test_of_noise_alone_no_beat_is_called_ventricular() -> None:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((1, round(60 * FS_HZ))).astype(np.float32)
    beats = find_beats_of(Recording(noise, FS_HZ, ("I",), "noise"))
    assert beats.n("V") <= 0.02 * len(beats)
    assert (beats.kind == "Q").mean() > 0.5


def test_a_gap_is_no_pause_and_a_pause_is_no_gap() -> None:
    beat_s = np.concatenate([np.arange(1, 20, 0.8), np.arange(23, 40, 0.8), np.arange(45, 59, 0.8)])
    recording = drawn(beat_s)
    signal = recording.signal_mv.copy()
    signal[:, round(40 * FS_HZ) : round(44 * FS_HZ)] = np.nan
    rhythm = rhythm_of(replace(recording, signal_mv=signal))
    (pause,) = rhythm.all.pauses
    assert (pause.start_s, pause.stop_s) == pytest.approx((19.4, 23.0), abs=0.02)
    assert not pause.doubtful
    # The gap and its guard of 0.1 s on each side.
    assert rhythm.all.measure("recorded_s").value == pytest.approx(55.8, abs=0.05)
    assert np.isnan(rhythm.all.beats.rr_ms).sum() == 2


def test_what_was_rejected_is_left_out_and_made_a_gap() -> None:
    recording = drawn(np.arange(1.0, 59.0, 0.8))
    rhythm = rhythm_of(recording, [(10.0, 20.0), (15.0, 30.0)])
    assert rhythm.kept is not None
    assert rhythm.best is rhythm.kept
    kept = rhythm.kept.beats
    assert kept.recorded_s == pytest.approx(40.0)
    assert not ((kept.time_s >= 10) & (kept.time_s < 30)).any()
    # The interval across what was left out is not 20 s.
    assert float(np.nanmax(kept.rr_ms)) == pytest.approx(800, abs=5)
    assert rhythm.kept.pauses == ()


def test_no_lead_no_rhythm() -> None:
    with pytest.raises(MissingLeadError, match="no ECG lead"):
        find_beats_of(Recording(np.zeros((1, 2000), np.float32), FS_HZ, ("RESP",), "breath"))


def test_nothing_recorded_says_so() -> None:
    rhythm = rhythm_of(Recording(np.full((1, 4000), np.nan, np.float32), FS_HZ, ("II",), "nothing"))
    assert len(rhythm.all.beats) == 0
    rate = rhythm.all.measure("rate_bpm")
    assert (rate.value, rate.why) == (None, "nothing was recorded")
    assert all(m.value is None for m in rhythm.all.measures if m.name.endswith(("_ms", "_pct")))


def test_spans_are_taken_away_and_counted() -> None:
    left = without_spans(((0.0, 10.0), (20.0, 30.0)), ((25.0, 26.0), (8.0, 22.0), (9.0, 21.0)))
    assert left == ((0.0, 8.0), (22.0, 25.0), (26.0, 30.0))
    missing = unrecorded_s(np.array([0.0, 7.0, 23.0]), np.array([8.0, 23.0, 30.0]), left)
    assert missing == pytest.approx([0.0, 14.0, 1.0])


def test_variability_by_hand() -> None:
    # 800, 900, 800, ...: mean 850 (20 of each), steps of 100.
    view = view_of(made([800.0, 900.0] * 20))
    value = {m.name: m.value for m in view.measures}
    assert value["sdnn_ms"] == pytest.approx(50 * np.sqrt(40 / 39))
    assert value["rmssd_ms"] == pytest.approx(100)
    assert value["pnn50_pct"] == pytest.approx(100)
    steps = np.array([100.0, -100.0] * 20)[:39]  # both signs: their mean is not quite 0
    assert value["sd1_ms"] == pytest.approx(steps.std(ddof=1) / np.sqrt(2))
    assert value["rate_bpm"] == pytest.approx(60_000 / 850)
    # Of nine in a row, five are long or five are short.
    assert value["slowest_bpm"] == pytest.approx(60_000 / (7700 / 9))
    assert value["fastest_bpm"] == pytest.approx(60_000 / (7600 / 9))
    assert value["sdann_ms"] is None
    assert view.measure("sdann_ms").why.startswith("36 s were recorded; at least 18 h")


def test_the_mean_rate_lies_between_the_slowest_and_the_fastest() -> None:
    rng = np.random.default_rng(0)
    for n in range(10, 60):
        rr_ms = rng.choice([400.0, 800.0, 1500.0], n)
        kinds = "".join(rng.choice(list("NNNQ"), n + 1))
        beats = made(rr_ms, kinds)
        value = {m.name: m.value for m in view_of(beats).measures}
        hour = rate_by_hour(beats)[0]
        for rates in (
            [value[f"{name}_bpm"] for name in ("slowest", "rate", "fastest")],
            [hour.slowest_bpm, hour.rate_bpm, hour.fastest_bpm],
        ):
            assert None in rates or rates == sorted(rates), rates
    # A long interval at either end is more than any nine in a row show of one.
    ends = {m.name: m.value for m in view_of(made([1500.0, *[800.0] * 8, 1500.0])).measures}
    assert ends["slowest_bpm"] == pytest.approx(ends["rate_bpm"])


def test_what_was_left_out_is_not_called_unrecorded() -> None:
    beats = made([800.0] * 12)
    rhythm = rhythm_of_beats(beats, "r", True, ((0.0, beats.duration_s),))
    assert rhythm.kept.measure("rate_bpm").why == "nothing is left without the unsure windows"


def test_an_ectopic_beat_takes_both_of_its_intervals_out_of_the_variability() -> None:
    kinds = "N" * 30 + "V" + "N" * 30
    rr_ms = [800.0] * 29 + [500.0, 1100.0] + [800.0] * 29
    sdnn = next(m for m in variability_measures(made(rr_ms, kinds), ()) if m.name == "sdnn_ms")
    assert sdnn.value == pytest.approx(0.0, abs=1e-6)
    assert sdnn.why == "58 intervals between normal beats"


@pytest.mark.parametrize(("at_hz", "band"), [(0.1, "lf_ms2"), (0.25, "hf_ms2")])
def test_power_lies_where_the_interval_swings(at_hz: float, band: str) -> None:
    # A swing of 40 ms: its variance is 40^2 / 2 = 800 ms^2.
    rr_ms, at = [], 0.0
    while at < 330:
        rr_ms.append(800 + 40 * np.sin(2 * np.pi * at_hz * at))
        at += rr_ms[-1] / 1000
    value = {m.name: m.value for m in variability_measures(made(rr_ms), ())}
    assert value[band] == pytest.approx(800, rel=0.15)
    other = "hf_ms2" if band == "lf_ms2" else "lf_ms2"
    assert float(value[other] or 0) < 0.1 * 800


def test_irregular_intervals_alone_are_called_atrial_fibrillation() -> None:
    rng = np.random.default_rng(0)
    sinus = 800 + 40 * np.sin(np.arange(60) * 2 * np.pi / 5) + 5 * rng.standard_normal(60)
    bigeminy = np.tile([500.0, 1000.0], 30)
    irregular = rng.uniform(380, 980, 60)
    told = [af_probability(rr_ms) for rr_ms in (sinus, irregular)]
    assert told[0] is not None and told[0] < 0.3
    assert told[1] is not None and told[1] > 0.8
    # Every Lorenz point lies far out in bigeminy; entropy and the step to the next but one do not.
    assert float(af_probability(bigeminy) or 1) < float(told[1]) - 0.2
    assert af_probability(irregular[:7]) is None


def test_an_episode_has_its_beginning_and_its_end() -> None:
    rng = np.random.default_rng(2)
    rr_ms = np.concatenate([np.full(150, 850.0), rng.uniform(350, 900, 200), np.full(150, 850.0)])
    rr_ms += 4 * rng.standard_normal(rr_ms.size)
    beats = made(rr_ms)
    (episode,) = af_episodes(beats, beat_probabilities(beats))
    # Windows are 40 beats wide, so the borders may be off by half of one.
    assert abs(episode.start_s - beats.time_s[150]) < 20
    assert abs(episode.stop_s - beats.time_s[350]) < 20
    burden = view_of(beats).measure("af_burden_pct")
    true = 100 * (beats.time_s[350] - beats.time_s[150]) / (beats.time_s[-1] - beats.time_s[0])
    assert burden.value == pytest.approx(true, abs=8)


def test_hours_and_histogram_count_every_interval() -> None:
    beats = made(np.full(5000, 1000.0))
    first, second = rate_by_hour(beats)
    assert first.n_beats + second.n_beats == 5001
    assert first.rate_bpm == pytest.approx(60)
    assert second.recorded_s == pytest.approx(beats.duration_s - 3600)
    edges_ms, count = rr_histogram(beats)
    assert count.sum() == 5000
    assert edges_ms[int(count.argmax())] == 1000


def test_a_pause_beside_an_unsure_beat_is_doubtful() -> None:
    beats = made([800.0, 2500.0, 800.0], "NNQN")
    (pause,) = pauses(beats)
    assert pause.duration_s == pytest.approx(2.5)
    assert pause.doubtful
    # Left out with its surroundings, it is no pause at all.
    assert pauses(beats_outside(beats, ((2.0, 3.0),))) == ()


def test_tables_say_that_they_are_without_unsure_windows() -> None:
    rr_ms = np.random.default_rng(0).choice([450.0, 620.0, 810.0, 1040.0], 120)
    beats = made(rr_ms)
    whole, kept = (rhythm_of_beats(beats, "r", True, spans) for spans in (None, ((0.0, 5.0),)))
    for rhythm, note in ((whole, ""), (kept, "Without unsure windows.")):
        (episodes,) = [one for one in rhythm_tables(rhythm) if one.title]
        assert (episodes.title, episodes.note) == ("Like atrial fibrillation", note)
