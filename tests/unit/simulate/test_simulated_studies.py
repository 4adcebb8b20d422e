"""The simulated cohort: what it promises about hearts, signals, noise, reports and files."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmarks.simulated_ceiling import estimate_ceiling, severity_bound
from echoing_core.errors import ConfigError
from echoing_core.io import read_recording
from echoing_core.progress import Progress
from echoing_core.records import LEADS
from echoing_core.reports.vocabulary import FINDINGS
from echoing_core.signals.leads import DOWER
from echoing_core.simulate import (
    NoiseEpisode,
    RhythmEpisode,
    SimulationConfig,
    corrupt,
    ecg_count,
    redraw,
    sample_heart_state,
    simulate_long,
    simulate_study,
    write,
    write_cohort,
)
from echoing_core.simulate.ecg.heart_vector import Torso, render
from echoing_core.simulate.ecg.reading import measure_beat
from echoing_core.simulate.ecg.study import patient_body
from echoing_core.simulate.ecg.waves import sample_build
from echoing_core.simulate.heart.patients import patient_state
from echoing_core.simulate.heart.rhythm import CONDUCTED, PVC, BeatTrain, beat_train, flutter_ratio
from echoing_core.simulate.heart.state import HeartState
from echoing_core.simulate.noise.electrodes import LEADS_FROM_ELECTRODES
from echoing_core.simulate.noise.spans import add_noise

SEED = 3
ROW = {lead: i for i, lead in enumerate(LEADS)}


@pytest.fixture(scope="module")
def normal_state() -> HeartState:
    """A heart without any disease, rate 70."""
    state = sample_heart_state(np.random.default_rng(0))
    return dataclasses.replace(
        state,
        age_years=45.0,
        sex="m",
        rhythm="sinus",
        paced_atrium="",
        heart_rate_bpm=70.0,
        hrv=0.02,
        conduction="normal",
        fascicle="",
        pr_ms=160.0,
        qrs_ms=92.0,
        qt_ms=390.0,
        axis_deg=40.0,
        infarct="",
        infarct_size=0.0,
        st_t="",
        st_t_area="",
        st_t_size=0.0,
        t_gain=1.0,
        t_turn_deg=0.0,
        voltage=1.0,
        anterior_loss=0.0,
        hypertrophy=0.0,
        rvh=False,
        lae=False,
        rae=False,
        p_terminal=1.0,
        notching=0.0,
        pvc_per_min=0.0,
        pac_per_min=0.0,
        bigeminy=False,
    )


def _drawn_beat(state: HeartState, n_builds: int = 12) -> np.ndarray:
    """Clean beats of several builds on the standard torso, (n_builds, 8, 600) at 1000 Hz."""
    torso = Torso(DOWER, 0.0)
    beats = []
    for k in range(n_builds):
        build = sample_build(np.random.default_rng(k))
        one = np.array([0.35])
        train = BeatTrain(
            one, np.array([CONDUCTED], np.int8), 60 / state.heart_rate_bpm * (one / one), one / one,
            0 * one,
        )  # fmt: skip
        _, eight = render(
            state,
            build,
            torso,
            train,
            start_s=0.0,
            n_times=1000,
            fs_hz=1000.0,
            rng=np.random.default_rng(0),
        )
        beats.append(eight)
    return np.stack(beats)


def test_same_arguments_same_bytes() -> None:
    a, b = simulate_study(SEED, 5, 1), simulate_study(SEED, 5, 1)
    assert a.recording_12.signal_mv.tobytes() == b.recording_12.signal_mv.tobytes()
    assert a.clean_xyz.tobytes() == b.clean_xyz.tobytes()
    assert (a.report, a.labels, a.noise_spans) == (b.report, b.labels, b.noise_spans)
    other = simulate_study(SEED + 1, 5, 1)
    assert a.recording_12.signal_mv.tobytes() != other.recording_12.signal_mv.tobytes()


def test_redraw_from_the_name_alone() -> None:
    study = simulate_study(SEED, 12, 2)
    again = redraw(study.record_id)
    assert study.record_id == "sim-3-000012-2"
    np.testing.assert_array_equal(again.recording_12.signal_mv, study.recording_12.signal_mv)
    with pytest.raises(ConfigError, match="not the name of a simulated ECG"):
        redraw("s0010_re")
    with pytest.raises(ConfigError, match="from 0 upwards"):
        simulate_study(-1, 0)


def test_ecgs_of_a_patient_share_the_heart() -> None:
    first, second = patient_state(SEED, 7), patient_state(SEED, 7, 1)
    assert first != second
    assert (first.rhythm, first.conduction, first.infarct) == (
        second.rhythm,
        second.conduction,
        second.infarct,
    )
    assert abs(first.lvef_pct - second.lvef_pct) < 8.0
    counts = np.bincount([ecg_count(SEED, p) for p in range(600)], minlength=4) / 600
    assert counts[0] == 0
    assert counts[2] + counts[3] == pytest.approx(1 / 3, abs=0.06)


def test_noise_settings_do_not_change_the_heart() -> None:
    usual = simulate_study(SEED, 9)
    clean = simulate_study(SEED, 9, config=SimulationConfig(clean_share=1.0, moderate_share=0.0))
    np.testing.assert_array_equal(usual.clean_12, clean.clean_12)
    assert clean.noise_spans == ()
    floor = clean.recording_12.signal_mv - clean.clean_12
    assert 0.001 < floor.std() < 0.06


@pytest.mark.slow
def test_prevalences_are_those_of_a_diseased_sample() -> None:
    states = [patient_state(1, patient) for patient in range(4000)]

    def share(fits: list[bool]) -> float:
        return float(np.mean(fits))

    low = [s.lvef_pct < 40 for s in states]
    assert share(low) == pytest.approx(0.20, abs=0.03)
    assert share([s.rhythm == "af" for s in states]) == pytest.approx(0.085, abs=0.025)
    assert share([s.conduction == "lbbb" for s in states]) == pytest.approx(0.07, abs=0.02)
    assert share([s.conduction == "rbbb" for s in states]) == pytest.approx(0.07, abs=0.02)
    # A quarter of patients with heart failure have LBBB (Baldasseroni 2002).
    block = [s.conduction == "lbbb" for s, is_low in zip(states, low, strict=True) if is_low]
    assert 0.15 < share(block) < 0.32


@pytest.mark.parametrize("rhythm", ["sinus", "af", "paced", "flutter"])
def test_rate_of_the_beats_is_the_states(normal_state: HeartState, rhythm: str) -> None:
    hrv = {"sinus": 0.03, "af": 0.22}.get(rhythm, 0.004)
    state = dataclasses.replace(
        normal_state, rhythm=rhythm, hrv=hrv, heart_rate_bpm=73.0,
        paced_atrium="sinus" if rhythm == "paced" else "",
    )  # fmt: skip
    train = beat_train(state, 0.0, 600.0, np.random.default_rng(1))
    assert 60.0 / np.diff(train.onset_s).mean() == pytest.approx(73.0, rel=0.01)


def test_af_is_irregular_and_sinus_is_not(normal_state: HeartState) -> None:
    af = dataclasses.replace(normal_state, rhythm="af", hrv=0.2)
    spread = {}
    for name, state in (("sinus", normal_state), ("af", af)):
        rr = np.diff(beat_train(state, 0.0, 300.0, np.random.default_rng(2)).onset_s)
        spread[name] = np.sqrt(np.mean(np.diff(rr) ** 2)) / rr.mean()
    assert spread["sinus"] < 0.06
    assert spread["af"] > 0.2


def test_a_pvc_is_early_and_followed_by_a_pause(normal_state: HeartState) -> None:
    state = dataclasses.replace(normal_state, pvc_per_min=8.0, hrv=0.005)
    train = beat_train(state, 0.0, 120.0, np.random.default_rng(3))
    at = np.flatnonzero(train.kind == PVC)
    at = at[(at > 0) & (at < train.onset_s.size - 1)]
    assert 6 <= at.size <= 32
    usual = 60.0 / 70.0
    before = train.onset_s[at] - train.onset_s[at - 1]
    after = train.onset_s[at + 1] - train.onset_s[at]
    assert (before < 0.85 * usual).all()
    np.testing.assert_allclose(before + after, 2 * usual, rtol=0.05)


def test_flutter_atria_beat_near_300() -> None:
    states = [s for s in (patient_state(1, p) for p in range(1500)) if s.rhythm == "flutter"]
    assert len(states) > 10
    for state in states:
        assert 240 <= state.heart_rate_bpm * flutter_ratio(state) <= 345


def _qrs_duration_ms(eight: np.ndarray) -> float:
    """Time over which the leads bend faster than 4 % of their fastest, (8, n) at 1 kHz.

    The second difference, unlike the first, is far smaller in a T wave than in any QRS complex.
    """
    bend = np.abs(np.diff(eight, n=2, axis=1)).sum(axis=0)[310:560]
    fast = np.flatnonzero(bend > 0.04 * bend.max())
    return float(fast[-1] - fast[0])


def test_lbbb_is_wide_and_discordant(normal_state: HeartState) -> None:
    state = dataclasses.replace(normal_state, conduction="lbbb", qrs_ms=145.0, qt_ms=430.0)
    wide = [_qrs_duration_ms(b) for b in _drawn_beat(state)]
    narrow = [_qrs_duration_ms(b) for b in _drawn_beat(normal_state)]
    assert min(wide) >= 120.0
    assert np.median(narrow) < 105.0
    assert max(narrow) < min(wide)
    beats = _drawn_beat(state)
    qrs, t = beats[:, :, 350:500], beats[:, :, 600:780]
    v1, v6 = 2, 7
    assert (qrs[:, v1].min(axis=1) < -0.8).all()
    assert (qrs[:, v1].max(axis=1) < 0.3).all()
    assert (qrs[:, v6].max(axis=1) > 0.3).all()
    # T opposite to QRS: up in V1.
    assert (t[:, v1].max(axis=1) > 0.1).all()


def test_rbbb_ends_to_the_right_and_forwards(normal_state: HeartState) -> None:
    state = dataclasses.replace(normal_state, conduction="rbbb", qrs_ms=138.0)
    beats = _drawn_beat(state)
    late = beats[:, :, 350 + 80 : 350 + 130]
    assert (late[:, 2].max(axis=1) > 0.3).all()  # R' in V1
    assert (late[:, 0].min(axis=1) < -0.1).all()  # S in I
    assert (late[:, 7].min(axis=1) < -0.1).all()  # S in V6


def test_lafb_axis_and_infarct_q(normal_state: HeartState) -> None:
    lafb = dataclasses.replace(normal_state, fascicle="lafb", axis_deg=-60.0)
    torso = Torso(DOWER, 0.0)
    axes = [
        measure_beat(lafb, sample_build(np.random.default_rng(k)), torso).axis_deg
        for k in range(12)
    ]
    assert -90 < np.median(axes) < -45
    inferior = dataclasses.replace(normal_state, infarct="inferior", infarct_size=0.9)
    q_normal = (
        _drawn_beat(normal_state)[:, 1, 350:390] - 0.5 * _drawn_beat(normal_state)[:, 0, 350:390]
    )
    q_infarct = _drawn_beat(inferior)[:, 1, 350:390] - 0.5 * _drawn_beat(inferior)[:, 0, 350:390]
    assert (q_infarct.min(axis=1) < q_normal.min(axis=1) - 0.05).all()  # deeper Q in aVF


def test_first_degree_block_moves_the_p_wave(normal_state: HeartState) -> None:
    long_pr = dataclasses.replace(normal_state, pr_ms=280.0)
    for state in (normal_state, long_pr):
        lead_ii = _drawn_beat(state)[:, 1, :345].mean(axis=0)
        peak_ms = 350 - int(lead_ii.argmax())
        assert state.pr_ms - 75 < peak_ms < state.pr_ms - 15


def test_leads_obey_einthoven_and_goldberger() -> None:
    for study in (simulate_study(SEED, p) for p in range(6)):
        x = study.clean_12
        np.testing.assert_allclose(x[ROW["III"]], x[ROW["II"]] - x[ROW["I"]], atol=1e-5)
        total = x[ROW["aVR"]] + x[ROW["aVL"]] + x[ROW["aVF"]]
        np.testing.assert_allclose(total, 0.0, atol=1e-5)


def test_standard_torso_is_dowers() -> None:
    plain = SimulationConfig(torso_spread=0.0)
    eight = [ROW[lead] for lead in ("I", "II", *LEADS[6:])]
    for patient in range(4):
        study = simulate_study(SEED, patient, config=plain)
        np.testing.assert_allclose(study.clean_12[eight], (DOWER @ study.clean_xyz), atol=2e-5)
        usual = simulate_study(SEED, patient)
        np.testing.assert_array_equal(usual.clean_xyz, study.clean_xyz)
        assert np.abs(usual.clean_12 - study.clean_12).max() > 0.02


def test_noise_lies_where_its_spans_say() -> None:
    seen = 0
    for patient in range(40):
        study = simulate_study(SEED, patient)
        signal, fs_hz = study.recording_12.signal_mv, study.recording_12.fs_hz
        change = signal - study.clean_12
        outside = np.ones(signal.shape, dtype=bool)
        for span in study.noise_spans:
            rows = [ROW[lead] for lead in span.lead_names]
            lo, hi = round(span.start_s * fs_hz), round(span.end_s * fs_hz)
            assert np.sqrt((change[rows, lo:hi] ** 2).mean(axis=1)).max() > 0.012
            outside[rows, lo:hi] = False
            seen += 1
        # Beyond the spans there is only the floor (a hundredth of a mV; drift a few of them).
        rest = np.where(outside, change, 0.0)
        share = np.maximum(outside.sum(axis=1), 1)
        assert np.sqrt((rest**2).sum(axis=1) / share).max() < 0.09
    assert seen > 20


def test_snr_is_what_was_added() -> None:
    rng = np.random.default_rng(0)
    clean = np.sin(np.linspace(0, 60, 5000))[None] * np.linspace(0.2, 1, 12)[:, None]
    noisy, spans = add_noise(clean, 500.0, LEADS, [NoiseEpisode("muscle", 0.8, 2.0, 6.0)], rng)
    (span,) = spans
    rows = [ROW[lead] for lead in span.lead_names]
    part = slice(1000, 3000)
    noise = (noisy - clean)[rows, part]
    expected = 10 * np.log10(clean[rows, part].var(axis=1).mean() / (noise**2).mean())
    assert span.snr_db == pytest.approx(expected, abs=0.2)
    np.testing.assert_array_equal(noisy[:, 3000:], clean[:, 3000:].astype(np.float32))


def test_an_electrode_disturbs_leads_as_hardware_does() -> None:
    right_arm = LEADS_FROM_ELECTRODES[:, 0]
    assert right_arm[ROW["III"]] == 0
    assert right_arm[ROW["V1"]] == pytest.approx(-1 / 3)
    # An equal potential on all electrodes is seen by no lead.
    np.testing.assert_allclose(LEADS_FROM_ELECTRODES.sum(axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize("fs_hz", [100.0, 500.0])
def test_corrupt_works_on_any_ecg(fs_hz: float) -> None:
    rng = np.random.default_rng(1)
    ecg = rng.normal(0, 0.2, (12, int(10 * fs_hz))).astype(np.float32)
    before = ecg.copy()
    kinds = set()
    for _ in range(200):
        noisy, spans = corrupt(ecg, fs_hz, rng, float(rng.random()))
        assert noisy.shape == ecg.shape
        assert noisy.dtype == np.float32
        assert np.isfinite(noisy).all()
        assert np.abs(noisy).max() < 40.0
        kinds |= {span.kind for span in spans}
        for span in spans:
            assert 0 <= span.start_s < span.end_s <= 10.0
    assert len(kinds) == 8
    np.testing.assert_array_equal(ecg, before)
    with pytest.raises(ValueError, match="12"):
        corrupt(ecg[:3], fs_hz, rng, 0.5)
    with pytest.raises(ValueError, match="severity"):
        corrupt(ecg, fs_hz, rng, 1.5)


def test_severity_brings_faults_beyond_5_mv_and_flat_leads() -> None:
    rng = np.random.default_rng(2)
    ecg = rng.normal(0, 0.2, (12, 1000)).astype(np.float32)
    bad = [corrupt(ecg, 100.0, rng, 1.0)[0] for _ in range(150)]
    assert any(np.abs(x).max() > 5.0 for x in bad)
    assert any((x[:, 300:600].std(axis=1) < 1e-6).any() for x in bad)


def test_findings_and_labels_tell_what_was_simulated() -> None:
    for study in (simulate_study(1, p) for p in range(150)):
        found = set(study.findings)
        assert found <= set(FINDINGS)
        assert set(study.echo_findings) <= set(FINDINGS)
        assert ("normal_ecg" in found) != ("abnormal_ecg" in found)
        assert study.labels["NORM"] == ("normal_ecg" in found)
        assert study.labels["af"] == (study.state.rhythm == "af")
        assert study.labels["lvef_lt40"] == (study.state.lvef_pct < 40)
        if study.labels["lbbb"]:
            assert study.labels["CD"]
            assert study.state.qrs_ms >= 120
        if study.labels["av_block_1"]:
            assert study.state.pr_ms > 200
        assert study.simulated
        assert study.recording_12.simulated


def test_reports_keep_silent_about_the_echo_when_told_to() -> None:
    silent = SimulationConfig(echo_in_report=0.0)
    for patient in range(80):
        report = simulate_study(1, patient, config=silent).report
        assert not any(word in report for word in ("ejection", "lvef", "echo", "dilated", " ef "))
    told = [simulate_study(1, p, config=SimulationConfig(echo_in_report=1.0)) for p in range(80)]
    with_echo = [
        any(word in s.report for word in ("ejection", "lvef", "ef ", "systolic")) for s in told
    ]
    assert np.mean(with_echo) > 0.9


def test_equal_findings_give_equal_machine_reports() -> None:
    machine = SimulationConfig(machine_share=1.0, echo_in_report=0.0)
    texts: dict[frozenset[str], set[str]] = {}
    for patient in range(120):
        study = simulate_study(2, patient, config=machine)
        texts.setdefault(frozenset(study.findings), set()).add(study.report)
    assert all(len(reports) == 1 for reports in texts.values())
    assert len({next(iter(r)) for r in texts.values()}) == len(texts)


def test_long_recording_has_noise_that_comes_and_goes() -> None:
    long = simulate_long(SEED, 4, duration_s=400.0, fs_hz=200.0, leads="xyz", test_pattern_s=10.0)
    x = long.recording.signal_mv
    assert x.shape == (3, 80_000)
    assert long.recording.lead_names == ("X", "Y", "Z")
    assert set(np.unique(x[:, :2000])) <= {np.float32(0.0), np.float32(0.001)}
    assert long.noise_spans
    covered = sum(span.end_s - span.start_s for span in long.noise_spans)
    assert 0 < covered < 3 * 400
    assert all(span.start_s >= 10.0 for span in long.noise_spans)


def test_pieces_of_a_long_recording_fit_together() -> None:
    # Two pieces meet at 300 s; a beat there must look like any other, in AF as well.
    quiet = simulate_long(
        SEED, 4, duration_s=310.0, fs_hz=200.0, leads="xyz", noise=(),
        schedule=(RhythmEpisode(0.0, (("rhythm", "af"), ("hrv", 0.2))),),
    )  # fmt: skip
    x = quiet.recording.signal_mv
    step = np.abs(np.diff(x, axis=1))
    assert step[:, 60_000 - 1].max() < 0.5 * step.max() or step[:, 60_000 - 1].max() < 0.1
    gaps = np.diff(quiet.onset_s)
    assert gaps.min() > 0.2
    assert gaps.max() < 2.5


def test_rhythm_episodes(normal_state: HeartState) -> None:
    af = RhythmEpisode(60.0, (("rhythm", "af"), ("heart_rate_bpm", 120.0), ("hrv", 0.22)))
    long = simulate_long(
        SEED, 2, duration_s=180.0, fs_hz=100.0, leads="12", schedule=(af, RhythmEpisode(120.0))
    )
    assert [rhythm for _, _, rhythm in long.episodes][1] == "af"
    rr = np.diff(long.onset_s[(long.onset_s > 61) & (long.onset_s < 119)])
    assert 60 / rr.mean() == pytest.approx(120, rel=0.06)
    assert rr.std() / rr.mean() > 0.12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leads": "8"}, 'leads "xyz" or "12"'),
        ({"duration_s": 0.0}, "must be positive"),
        ({"schedule": (RhythmEpisode(500.0),)}, "outside"),
        ({"schedule": (RhythmEpisode(1.0, (("mood", "good"),)),)}, "has no mood"),
    ],
)
def test_impossible_long_recordings_are_refused(changes: dict[str, object], message: str) -> None:
    settings: dict[str, object] = {"duration_s": 20.0, "fs_hz": 200.0, "leads": "xyz"}
    settings.update(changes)
    with pytest.raises(ConfigError, match=message):
        simulate_long(SEED, 0, **settings)  # type: ignore[arg-type]


def interrupted(stage: str, done: float, total: int) -> None:
    raise KeyboardInterrupt


def test_cohort_on_disk_reads_back(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    done: list[tuple[int, int]] = []
    n_ecgs = write_cohort(folder, 6, SEED, progress=Progress(lambda _, d, n: done.append((d, n))))
    assert done == [(k, 6) for k in range(1, 7)]
    with (folder / "studies.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == n_ecgs == sum(ecg_count(SEED, p) for p in range(6))
    assert {row["split"] for row in rows} <= {"train", "valid", "test"}
    for row in rows:
        path = folder / row["path"]
        recording = read_recording([path.with_suffix(".hea"), path.with_suffix(".dat")])
        truth = redraw(row["record_id"])
        assert recording.simulated
        assert recording.lead_names == LEADS
        np.testing.assert_allclose(recording.signal_mv, truth.recording_12.signal_mv, atol=0.00051)
        assert row["report"] == truth.report
        assert float(row["label_lvef_pct"]) == truth.labels["lvef_pct"]
        assert row["echo_path"] == ""
    assert "SIMULATED" in (folder / "README.txt").read_text(encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "cut", 6, SEED, progress=Progress(interrupted))
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]
    with pytest.raises(ConfigError, match="never overwrites"):
        write_cohort(folder, 1, SEED)
    with pytest.raises(ConfigError, match="at least one patient"):
        write_cohort(tmp_path / "other", 0, SEED)


def test_the_visible_severity_bounds_what_can_be_known() -> None:
    assert 0.87 < severity_bound(n_hearts=1500) < 0.97
    with pytest.raises(ValueError, match="target"):
        estimate_ceiling("age", n_hearts=10)


@pytest.mark.slow
def test_best_possible_lvef_classifier_is_good_but_not_perfect() -> None:
    ceiling = estimate_ceiling("lvef_lt40", n_hearts=4500, n_bootstrap=100)
    assert 0.87 < ceiling.auroc < 0.95
    assert ceiling.interval[0] < ceiling.auroc < ceiling.interval[1]
    assert ceiling.balanced_accuracy > 0.78


def test_body_belongs_to_the_patient() -> None:
    build, torso = patient_body(SEED, 1)
    again, same_torso = patient_body(SEED, 1)
    np.testing.assert_array_equal(build.qrs, again.qrs)
    np.testing.assert_array_equal(torso.matrix, same_torso.matrix)
    assert not np.array_equal(torso.matrix, patient_body(SEED, 2)[1].matrix)


def test_an_artefact_beyond_16_bits_is_written_by_a_smaller_gain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = simulate_study(7, 585)
    assert np.abs(study.recording_12.signal_mv).max() > 32.8
    monkeypatch.setattr(write, "_cohort", lambda *_: iter([(study, 1)]))
    write_cohort(tmp_path / "cohort", 1, seed=7)
    header = tmp_path / "cohort" / "records" / f"{study.record_id}.hea"
    assert " 500(0)/mV " in header.read_text(encoding="ascii")
    # Half a unit of 1/500 mV.
    np.testing.assert_allclose(
        read_recording(header).signal_mv, study.recording_12.signal_mv, atol=0.00101
    )
