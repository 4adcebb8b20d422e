"""What a teacher reads off one study, and what such readings were worth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fake_teacher import FakeTeacher, fake_reader, fake_scale

from echoing_core.echo.measuring import TASKS, frame_spread
from echoing_core.echo.reading import verdict_of
from echoing_core.echo.reading_scale import (
    N_ALIKE,
    SCALE_FILE,
    ReadingScale,
    load_scale,
    save_scale,
)
from echoing_core.errors import CheckpointError, RecordError
from echoing_core.records import EchoClip, EchoStudy


def clip_of(greys: list[int], name: str = "clip", fps: float = 20.0) -> EchoClip:
    """Frames of one grey level each."""
    frames = np.repeat(np.array(greys, np.uint8), 16 * 16 * 3).reshape(-1, 16, 16, 3)
    return EchoClip(frames, fps, name, simulated=True)


def study_of(*clips: EchoClip) -> EchoStudy:
    return EchoStudy("study", clips)


def test_mean_and_variance_are_those_of_every_second_frame() -> None:
    reading = fake_reader().read(study_of(clip_of([0, 99, 255, 99])))
    # Frames 0 and 2 are the first and the second axis: mean (1/2, 1/2), variance 1/4 in each.
    assert reading.n_frames == 2
    assert reading.embedding.mu[0, :2] == pytest.approx([np.sqrt(0.5)] * 2)
    assert np.exp(reading.embedding.log_var[0, :2]) == pytest.approx([0.25] * 2, rel=1e-6)
    assert reading.spread == pytest.approx(0.5)
    assert reading.clips[0].away == pytest.approx([0.5, 0.5])
    assert reading.clips[0].stride == 2


def test_variance_within_clips_leaves_out_what_lies_between_them() -> None:
    still = study_of(clip_of([0, 0, 0], "a"), clip_of([255, 255, 255], "b"))
    reading = fake_reader().read(still)
    assert reading.spread == pytest.approx(0.5) and reading.spread_within == 0.0
    # The scale's studies have 0 to 0.5 and 0 to 0.1, evenly.
    assert reading.spread_pct == pytest.approx(99.0) and reading.spread_within_pct == 0.0


def test_one_frame_has_no_variance_and_is_refused() -> None:
    with pytest.raises(RecordError, match="moving picture"):
        fake_reader().read(study_of(clip_of([7])))


def test_a_still_among_clips_has_no_ejection_fraction_of_its_own() -> None:
    reading = fake_reader().read(study_of(clip_of([3], "still"), clip_of([0, 0, 90], "moves")))
    assert np.isnan(reading.clips[0].lvef_pct) and np.isfinite(reading.clips[1].lvef_pct)
    assert (
        json.loads(json.dumps(reading.to_dict(), allow_nan=False))["clips"][0]["lvef_pct"] is None
    )


def test_a_reading_is_held_against_the_hearts_that_were_read_alike() -> None:
    scale = fake_scale(FakeTeacher())
    # Read from 20 to 60 %, truly 10 to 70 %, evenly: around 40 % lie the middle 40 of 100.
    low, middle, high = scale.lvef_range_pct(40.0)
    inside = scale.lvef_pct[30:70]
    assert (low, middle, high) == pytest.approx(tuple(np.percentile(inside, (5, 50, 95))))
    # Scores rise evenly, and the 40 highest have it.
    assert scale.n_with("slvh", 5.0) == N_ALIKE
    assert scale.n_with("slvh", -5.0) == 0
    assert scale.n_with("slvh", float(scale.scores["slvh"][60]) - 1e-9) == N_ALIKE // 2


@pytest.mark.parametrize(
    ("n_with", "verdict"),
    [(40, "yes"), (32, "yes"), (31, "unclear"), (9, "unclear"), (8, "no"), (0, "no")],
)
def test_four_of_five_make_a_verdict(n_with: int, verdict: str) -> None:
    assert verdict_of(n_with) == verdict


def test_without_a_scale_nothing_is_said(tmp_path: Path) -> None:
    reading = fake_reader(scale=False).read(study_of(clip_of([0, 50, 100])))
    assert {one.verdict for one in reading.findings} == {""}
    assert reading.lvef_range_pct is None and reading.spread_pct is None
    assert reading.lvef_words == reading.scale_source == reading.findings[0].worth == ""
    assert load_scale(tmp_path, "any") is None


def test_a_scale_comes_back_from_its_folder(tmp_path: Path) -> None:
    scale = fake_scale(FakeTeacher())
    save_scale(tmp_path, scale)
    back = load_scale(tmp_path, scale.teacher_hash)
    assert back is not None and len(back) == 100
    assert back.lvef_pct == pytest.approx(scale.lvef_pct, abs=0.05)
    for key in TASKS:
        assert (back.having[key] == scale.having[key]).all()
        assert back.scores[key] == pytest.approx(scale.scores[key], abs=1e-5)


def test_a_scale_of_other_weights_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    scale = fake_scale(FakeTeacher())
    save_scale(tmp_path, scale)
    with pytest.raises(CheckpointError, match="teacher measure"):
        load_scale(tmp_path, "0" * 64)
    whole = scale.to_dict()
    short = {**whole, "read_pct": whole["read_pct"][:-1]}
    strange = {**whole, "having": {key: ["x"] for key in TASKS}}
    for damaged in (short, strange, {**whole, "scores": {}}, [], "{"):
        text = damaged if isinstance(damaged, str) else json.dumps(damaged)
        (tmp_path / SCALE_FILE).write_text(text)
        with pytest.raises(CheckpointError, match="teacher measure"):
            load_scale(tmp_path, scale.teacher_hash)


def test_too_few_studies_are_no_scale() -> None:
    scale = fake_scale(FakeTeacher())
    cut = {
        field.name: getattr(scale, field.name)[: N_ALIKE - 1]
        for field in dataclasses.fields(ReadingScale)
        if field.name in ("lvef_pct", "read_pct", "spread", "spread_within")
    }
    with pytest.raises(ValueError, match="no scale"):
        dataclasses.replace(
            scale,
            **cut,
            scores={key: values[: N_ALIKE - 1] for key, values in scale.scores.items()},
        )


def test_spread_is_one_minus_the_squared_length_of_the_mean() -> None:
    drawn = np.random.default_rng(3).normal(size=(9, 5))
    unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    assert frame_spread(unit) == pytest.approx(1.0 - np.linalg.norm(unit.mean(axis=0)) ** 2)
