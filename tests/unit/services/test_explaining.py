"""Looking at a recording in steps gives what looking at it at once gives."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from holter import holter

from echoing_core import services
from echoing_core.errors import SignalQualityError
from echoing_core.services import explaining, windows


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


@pytest.mark.slow
def test_two_rounds_are_the_same_as_one(
    model: services.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "LONG_S", 300.0)
    recording = holter(900.0).recording
    job = services.ExplainJob(model, recording, 10.0)
    with pytest.raises(ValueError, match="no window"):
        job.explanation()
    assert math.isnan(job.left_s)
    while not job.has_overview:
        job.step()
    first = job.explanation()
    assert len(first.track) == 30 and first.settings["windows_in_all"] == 90
    assert np.diff(first.track.start_s) == pytest.approx(30.0)
    while not job.finished:
        job.step()
    whole, at_once = job.explanation(), services.explain(model, recording, 10.0)
    assert job.left_s == 0.0 and "windows_in_all" not in whole.settings
    assert np.array_equal(whole.track.start_s, at_once.track.start_s)
    np.testing.assert_allclose(whole.track.embedding.mu, at_once.track.embedding.mu, atol=1e-5)
    np.testing.assert_allclose(whole.track.percentile, at_once.track.percentile, atol=0.05)
    assert whole.settings == at_once.settings


@pytest.mark.slow
def test_looking_closer_adds_windows_and_keeps_those_there(model: services.Model) -> None:
    recording = holter(300.0).recording
    coarse = services.explain(model, recording, 10.0)
    fine = services.refine(model, coarse, 100.0, 130.0)
    starts = fine.track.start_s
    assert set(coarse.track.start_s) <= set(starts)
    assert np.diff(starts[(starts >= 90) & (starts <= 130)]) == pytest.approx(1.0)
    assert services.refine(model, fine, 100.0, 130.0) is fine
    every = services.explain(model, recording, 1.0).track
    rows = np.round(starts).astype(int)
    np.testing.assert_allclose(fine.track.percentile, every.percentile[rows], atol=0.05)


def test_what_a_short_recording_lacks_is_told_and_raises_sigma2(model: services.Model) -> None:
    whole = holter(60.0).recording
    totals = []
    for seconds in (10.0, 9.98, 7.0, 2.5):
        n = round(seconds * whole.fs_hz)
        part = replace(whole, signal_mv=whole.signal_mv[:, 5000 : 5000 + n])
        explanation = services.explain(model, part)
        ecg = explanation.ecg
        assert ecg.n_times == 1000 and len(explanation.track) == 1
        assert explanation.to_dict()["duration_s"] == pytest.approx(seconds, abs=0.001)
        measured = ecg.valid[[lead != "missing" for lead in ecg.lead_origin]]
        assert measured.mean() == pytest.approx(seconds / 10, abs=0.03)
        assert (
            not ecg.valid[:, round(100 * seconds) :].any() and not ecg.signal_mv[~ecg.valid].any()
        )
        said = [n for n in services.what_the_model_saw(part, ecg).notes if "were not recorded" in n]
        assert bool(said) == (seconds < 9.99)
        totals.append(float(explanation.track.uncertainty[0]))
    assert totals[0] < totals[2] < totals[3] and totals[1] == pytest.approx(totals[0], rel=0.1)
    with pytest.raises(SignalQualityError, match=r"2\.00 s long; at least 2\.5 s"):
        n = round(2 * whole.fs_hz)
        services.explain(model, replace(whole, signal_mv=whole.signal_mv[:, :n]))


def test_what_else_a_file_holds_is_told(model: services.Model) -> None:
    whole = holter(20.0).recording
    n = len(whole.lead_names)
    more = replace(
        whole,
        signal_mv=np.concatenate([whole.signal_mv, whole.signal_mv[:1]]),
        lead_names=(*whole.lead_names, "V4R"),
        source_names=(*whole.lead_names, "ECG V4R\x1b[2J"),
        stated=(),
    )
    assert services.explain(model, whole).ecg.notes == whole.notes
    notes = services.explain(model, more).ecg.notes
    assert notes == (*whole.notes, "In the file but not used: ECG V4R?[2J.") and n < 12


@pytest.mark.slow
def test_stretches_are_told_once(model: services.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = services.explain(model, holter(1200.0).recording, 1.0)
    told = services.flagged_intervals(model, explanation, most=2)
    assert len(told) >= 2 and sum(bool(t.sentence) for t in told) == 2
    asked: list[int] = []
    monkeypatch.setattr(windows, "window_reasons", lambda m, e, i: asked.extend(i) or {})
    again = services.flagged_intervals(model, explanation, most=2, known=told)
    assert asked == [] and [t.sentence for t in again] == [t.sentence for t in told]


@pytest.mark.parametrize(("hours", "stride_n"), [(24, 1000), (24, 100), (3, 1000)])
def test_the_first_round_is_short_and_all_over_the_recording(hours: int, stride_n: int) -> None:
    starts = np.arange(0, hours * 360_000 - 999, stride_n, dtype=np.int64)
    chunks, n_first = explaining._chunks(starts, hours * 3600.0)
    first = np.concatenate(chunks[:n_first])
    assert 300 <= len(first) <= explaining.FIRST_LOOK_WINDOWS
    # Evenly spread, the first and last windows in the middle of what they speak for.
    assert len(set(np.diff(first))) == 1
    assert first[0] <= np.diff(first)[0] and len(starts) - first[-1] <= np.diff(first)[0]
    assert np.array_equal(np.sort(np.concatenate(chunks)), np.arange(len(starts)))
