"""Looking at a recording in steps gives what looking at it at once gives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from holter import holter

from echoing_core import services
from echoing_core.services import explaining, windows


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


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


@pytest.mark.slow
def test_stretches_are_told_once(model: services.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = services.explain(model, holter(1200.0).recording, 1.0)
    told = services.flagged_intervals(model, explanation, most=2)
    assert len(told) >= 2 and sum(bool(t.sentence) for t in told) == 2
    asked: list[int] = []
    monkeypatch.setattr(windows, "window_reasons", lambda m, e, i: asked.extend(i) or {})
    again = services.flagged_intervals(model, explanation, most=2, known=told)
    assert asked == [] and [t.sentence for t in again] == [t.sentence for t in told]
