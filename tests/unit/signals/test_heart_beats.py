"""Heart beats found on simulated hearts with known beats and on annotated real recordings."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from echoing_core.io import read_recording
from echoing_core.records import LEADS, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.heart_beats import find_heart_beats, heart_beats
from echoing_core.simulate import simulate_study

F64 = npt.NDArray[np.float64]

R_AFTER_ONSET_S = 0.045
"""About where the R peak lies; matters only for which beat is which."""

NEAR_S = 0.15
"""ANSI/AAMI EC57: a beat within 150 ms of the annotation is found."""


def found_in(ecg: StandardEcg) -> F64:
    there = [origin != "missing" for origin in ecg.lead_origin]
    return find_heart_beats(ecg.signal_mv[there], ecg.valid[there], ecg.fs_hz)


def matched(truth_s: F64, found_s: F64) -> list[tuple[int, int]]:
    """Pairs of true and found beats, each in one pair at most."""
    pairs = []
    for i, t in enumerate(truth_s):
        nearest = int(np.abs(found_s - t).argmin()) if found_s.size else -1
        taken = bool(pairs) and pairs[-1][1] == nearest
        if nearest >= 0 and abs(found_s[nearest] - t) <= NEAR_S and not taken:
            pairs.append((i, nearest))
    return pairs


def interval_errors_ms(truth_s: F64, found_s: F64) -> F64:
    pairs = matched(truth_s, found_s)
    return np.array(
        [
            1000.0 * ((found_s[b] - found_s[a]) - (truth_s[j] - truth_s[i]))
            for (i, a), (j, b) in pairwise(pairs)
            if j == i + 1 and b == a + 1
        ]
    )


@pytest.mark.slow
def test_the_beats_of_simulated_hearts() -> None:
    n_true = n_found = n_matched = 0
    errors = []
    for patient in range(40):
        study = simulate_study(311, patient)
        if study.quality == "bad":  # some of these show no QRS in any lead
            continue
        found_s, truth_s = found_in(standardise(study.recording_12)), study.onset_s
        truth_s = truth_s + R_AFTER_ONSET_S
        # A QRS cut by an end of the recording may be counted or not.
        inside = found_s[(found_s > 0.45) & (found_s < 9.55)]
        truth_in = truth_s[(truth_s > 0.45) & (truth_s < 9.55)]
        n_true += truth_in.size
        n_found += inside.size
        n_matched += min(len(matched(truth_in, found_s)), len(matched(inside, truth_s)))
        if not {"pvc", "pac", "bigeminy"} & set(study.findings):
            errors.append(np.abs(interval_errors_ms(truth_in, found_s)))
    assert n_matched / n_true > 0.99
    assert n_matched / n_found > 0.98
    # Far below the 10 ms between samples: that is what the parabola is for.
    assert float(np.median(np.concatenate(errors))) < 1.0


@pytest.mark.parametrize(
    ("name", "sensitivity", "precision", "normal_rr_ms"),
    [("long_recordings/mitdb/208", 0.995, 0.99, 10.0), ("nstdb/118e24", 0.999, 0.999, 3.0)],
)
def test_annotated_recordings(
    shared_data: Path, name: str, sensitivity: float, precision: float, normal_rr_ms: float
) -> None:
    wfdb = pytest.importorskip("wfdb")
    recording = read_recording(shared_data / f"{name}.hea")
    note = wfdb.rdann(str(shared_data / name), "atr")
    is_beat = np.isin(note.symbol, list("NLRBAaJSVrFejnE/fQ"))
    truth_s = note.sample[is_beat] / recording.fs_hz
    kind = np.array(note.symbol)[is_beat]
    found_s = found_in(standardise(recording))
    n = len(matched(truth_s, found_s))
    assert n / truth_s.size > sensitivity
    assert n / found_s.size > precision
    # Intervals between two beats of the same normal kind.
    pairs = dict(matched(truth_s, found_s))
    errors = [
        1000.0 * abs((found_s[pairs[i + 1]] - found_s[pairs[i]]) - (truth_s[i + 1] - truth_s[i]))
        for i in range(truth_s.size - 1)
        if i in pairs and i + 1 in pairs and kind[i] == kind[i + 1] and kind[i] in "NR"
    ]
    assert float(np.quantile(errors, 0.95)) < normal_rr_ms


def peaks_ecg(
    times_s: F64,
    duration_s: float,
    *,
    gap: tuple[float, float] | None = None,
    height: F64 | None = None,
) -> StandardEcg:
    """Narrow QRS complexes at known times in all leads, each of its own height."""
    t = np.arange(round(100 * duration_s)) / 100.0
    heights = np.ones(len(times_s)) if height is None else height
    beat = sum(
        h * np.exp(-0.5 * ((t - at) / 0.012) ** 2) for h, at in zip(heights, times_s, strict=True)
    )
    signal = np.outer(np.linspace(0.6, 1.4, 12), beat).astype(np.float32)
    valid = np.ones(signal.shape, dtype=np.bool_)
    if gap is not None:
        valid[:, (t >= gap[0]) & (t < gap[1])] = False
        signal[~valid] = 0.0
    return StandardEcg(signal, valid, ("measured",) * len(LEADS), "made-up")


def test_intervals_are_finer_than_samples() -> None:
    times_s = np.arange(0.5, 39.0, 0.8137)
    beats = heart_beats(peaks_ecg(times_s, 40.0), 12.0)
    assert beats.caution is None
    np.testing.assert_allclose(beats.rr_ms, 813.7, atol=1.5)
    assert beats.rate_bpm == pytest.approx(60.0 / 0.8137, rel=1e-3)
    inside = times_s[(times_s >= 12.0) & (times_s < 22.0)] - 12.0
    np.testing.assert_allclose(beats.time_s, inside, atol=0.002)


def test_rate_and_its_range() -> None:
    rr = np.tile([0.6, 0.9, 1.2], 6)
    beats = heart_beats(peaks_ecg(0.4 + np.cumsum(rr), 17.0), 2.0)
    assert beats.rate_range_bpm is not None
    low, high = beats.rate_range_bpm
    assert low == pytest.approx(50.0, abs=0.3) and high == pytest.approx(100.0, abs=0.5)
    assert low < beats.rate_bpm < high


def test_the_rate_is_the_mean_and_not_the_median() -> None:
    # Three short intervals to one long: mean 0.75 s, so 80 a minute; median 0.6 s, which is 100.
    times_s = 0.4 + np.concatenate([[0.0], np.cumsum(np.tile([0.6, 0.6, 0.6, 1.2], 6))])
    beats = heart_beats(peaks_ecg(times_s, 19.0), 3.2, 12.4)  # from 3.4 to 15.4 s
    assert beats.rr_ms.size == 16
    assert np.median(beats.rr_ms) == pytest.approx(600.0, abs=3.0)
    assert beats.rate_bpm == pytest.approx(80.0, abs=0.1)


def test_a_stretch_holds_the_beats_from_its_start_to_before_its_end() -> None:
    # Peaks at whole samples: the one at the start belongs to the stretch, the one at its end not.
    beats = heart_beats(peaks_ecg(np.arange(1.0, 39.0, 1.0), 40.0), 10.0, 8.0)
    np.testing.assert_allclose(beats.time_s, np.arange(0.0, 8.0), atol=1e-6)


def test_beats_that_point_down_are_placed_at_their_lowest_point() -> None:
    times_s = np.arange(0.5, 19.5, 0.8137)
    beats = heart_beats(peaks_ecg(times_s, 20.0, height=-np.ones(len(times_s))), 5.0)
    inside = times_s[(times_s >= 5.0) & (times_s < 15.0)] - 5.0
    np.testing.assert_allclose(beats.time_s, inside, atol=0.002)


def test_a_low_beat_is_found_where_one_is_overdue() -> None:
    times_s = np.arange(0.5, 19.5, 0.8)
    height = np.ones(len(times_s))
    height[12] = 0.3
    found_s = found_in(peaks_ecg(times_s, 20.0, height=height))
    np.testing.assert_allclose(found_s, times_s, atol=0.01)


def test_no_interval_across_a_gap() -> None:
    ecg = peaks_ecg(np.arange(0.5, 20.0, 0.8), 20.0, gap=(8.0, 10.5))
    beats = heart_beats(ecg, 5.0)
    assert np.isnan(beats.rr_ms).sum() == 1
    assert beats.caution == "Intervals across gaps in the recording are left out."
    assert beats.rate_bpm == pytest.approx(75.0, rel=0.01)


def test_a_pause_is_told() -> None:
    times_s = np.concatenate([np.arange(0.5, 8.0, 0.8), np.arange(12.0, 20.0, 0.8)])
    beats = heart_beats(peaks_ecg(times_s, 20.0), 5.0)
    assert beats.caution is not None and "No beat was found for 4.3 s" in beats.caution


@pytest.mark.parametrize("kind", ["white", "wander", "flat", "gap"])
def test_no_rate_where_nothing_beats(kind: str) -> None:
    rng = np.random.default_rng(4)
    signal = rng.normal(0.0, 0.2, (12, 3000)).astype(np.float32)
    if kind == "wander":
        signal = np.cumsum(signal, axis=1) * 0.1
    if kind == "flat":
        signal *= 1e-4
    recording = Recording(
        signal_mv=signal, fs_hz=100.0, lead_names=LEADS, record_id="noise", source_names=LEADS
    )
    ecg = standardise(recording)
    if kind == "gap":
        ecg.valid[:] = False
    beats = heart_beats(ecg, 10.0)
    assert beats.rate_bpm is None and beats.time_s.size == 0
    assert beats.caution is not None


def test_the_noise_of_the_stress_test_is_not_taken_for_beats(shared_data: Path) -> None:
    io = pytest.importorskip("scipy.io")
    for name in ("BW", "EM", "MA"):
        content = io.loadmat(shared_data / "nstdb" / f"{name}.mat")
        table = next(np.asarray(v, dtype=float) for k, v in content.items() if k[0] != "_")
        noise = table[:, 1:].T - table[:, 1:].mean(axis=0)[:, np.newaxis]
        noise *= 0.4 / noise.std(axis=1, keepdims=True)
        recording = Recording(
            signal_mv=noise.astype(np.float32),
            fs_hz=360.0,
            lead_names=("II", "V1"),
            record_id=name,
            source_names=("II", "V1"),
        )
        beats = heart_beats(standardise(recording), 10.0)
        assert beats.rate_bpm is None, name
