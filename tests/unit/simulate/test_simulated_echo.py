"""Simulated echo clips: what the heart is can be measured back from the pixels."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import spearmanr

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.simulate import sample_heart_state
from echoing_core.simulate.echo.anatomy import (
    LENGTH_POWER,
    WIDTH_POWER,
    clock_motion,
    length_mm,
    pump,
    side_motion,
)
from echoing_core.simulate.echo.clips import VIEWS, echo_clip, study_clips
from echoing_core.simulate.heart.rhythm import beat_train
from echoing_core.simulate.heart.state import HeartState
from tests.echo_measure import measure_cavity_mm, measure_ef


def heart(seed: int, **changes: object) -> HeartState:
    return replace(sample_heart_state(np.random.default_rng(seed)), **changes)


def clip_of(state: HeartState, view: str, seed: int):
    return echo_clip(state, view, np.random.default_rng(seed))


def mean_rr_s(state: HeartState, n_beats: int) -> npt.NDArray[np.float64]:
    train = beat_train(state, 0.0, n_beats * 60.0 / state.heart_rate_bpm, np.random.default_rng(2))
    return np.diff(train.onset_s)


def test_the_volume_curve_has_the_ejection_fraction() -> None:
    for seed in range(30):
        state = heart(seed, pvc_per_min=0.0, bigeminy=False)
        train = beat_train(state, 0.0, 6.0, np.random.default_rng(seed))
        volume = pump(state, train, np.arange(0.5, 5.5, 0.002)).volume
        # (EDV - ESV) / EDV of the hidden curve, sampled finely
        assert 100 * (volume.max() - volume.min()) / volume.max() == pytest.approx(
            state.lvef_pct, abs=0.2
        )


def test_length_and_width_make_the_volume() -> None:
    assert abs(LENGTH_POWER + 2 * WIDTH_POWER - 1.0) < 1e-12
    state = heart(1)
    train = beat_train(state, 0.0, 4.0, np.random.default_rng(1))
    moving = pump(state, train, np.arange(0.5, 3.5, 0.01))
    assert moving.length * moving.width**2 == pytest.approx(moving.volume)
    # The wall keeps its volume: ring area times length stays what it was.
    radius, wall = 24.0 * moving.width, moving.wall_mm(24.0, 10.0)
    ring = ((radius + wall) ** 2 - radius**2) * moving.length
    assert ring == pytest.approx(34.0**2 - 24.0**2)


def test_infarcted_walls_move_less_and_the_mean_stays() -> None:
    state = heart(1, infarct="anteroseptal", infarct_size=1.0)
    first, second = side_motion(state, "a4c")
    assert first < 1 < second
    assert first + second == pytest.approx(2.0)
    motion = clock_motion(state, 72)
    assert motion.mean() == pytest.approx(1.0)
    assert motion.argmin() == 8  # 40 degrees after the start at -180
    assert side_motion(replace(state, infarct="", infarct_size=0.0), "a4c") == (1.0, 1.0)


def test_dilated_hearts_are_more_spherical() -> None:
    sizes = np.arange(34.0, 86.0)
    shape = np.array([length_mm(size) / size for size in sizes])
    assert (np.diff(shape) < 1e-9).all()
    assert (np.diff([length_mm(size) for size in sizes]) > 0).all()


@pytest.mark.parametrize("view", VIEWS)
def test_a_clip_is_what_it_says(view: str) -> None:
    clip = clip_of(heart(3), view, 3)
    assert clip.frames.shape == (32, 112, 112, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.simulated
    assert clip.view == view
    # 2.5 mean beats
    assert 32 / clip.fps * heart(3).heart_rate_bpm / 60 == pytest.approx(2.5)
    # The corners lie outside the sector; the picture is neither empty nor burnt out.
    assert clip.frames[:, :8, :8].max() == 0
    assert 10 < clip.frames.mean() < 120
    assert (clip.frames == 255).mean() < 0.03
    assert (clip.frames[..., 0] == clip.frames[..., 2]).all()


def test_other_sizes_show_the_same_field() -> None:
    small = echo_clip(heart(3), "a4c", np.random.default_rng(3), size=64, n_frames=5, fps=30.0)
    assert small.frames.shape == (5, 64, 64, 3)
    assert small.fps == 30.0


def test_studies_are_determined_by_their_numbers() -> None:
    clips = study_clips(7, 3, n_frames=4)
    assert [c.clip_id for c in clips] == [f"sim-7-000003-0-{view}" for view in VIEWS]
    (alone,) = study_clips(7, 3, views=("psax",), n_frames=4)
    assert np.array_equal(alone.frames, clips[2].frames)
    assert not np.array_equal(study_clips(7, 4, n_frames=4)[0].frames, clips[0].frames)
    assert np.array_equal(study_clips(7, 3, n_frames=4)[0].frames, clips[0].frames)


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ConfigError, match="a2c"):
        clip_of(heart(1), "a2c", 1)
    with pytest.raises(ConfigError, match="a2c"):
        study_clips(7, 3, views=("a2c",))
    with pytest.raises(ConfigError, match="0 of 112"):
        echo_clip(heart(1), "a4c", np.random.default_rng(1), n_frames=0)
    with pytest.raises(ConfigError, match="Frames per second"):
        echo_clip(heart(1), "a4c", np.random.default_rng(1), fps=0.0)
    with pytest.raises(SignalQualityError, match="plax"):
        measure_ef(clip_of(heart(1), "plax", 1))
    with pytest.raises(SignalQualityError, match="a4c"):
        measure_cavity_mm(clip_of(heart(1), "a4c", 1))


def test_an_empty_picture_has_no_cavity() -> None:
    clip = clip_of(heart(1), "a4c", 1)
    with pytest.raises(SignalQualityError, match="No cavity"):
        measure_ef(replace(clip, frames=np.zeros_like(clip.frames)))


def _errors(view: str, seeds: range) -> npt.NDArray[np.float64]:
    states = [sample_heart_state(np.random.default_rng(seed)) for seed in seeds]
    return np.array(
        [
            measure_ef(clip_of(state, view, seed)) - state.lvef_pct
            for seed, state in zip(seeds, states, strict=True)
        ]
    )


@pytest.mark.parametrize("view", ["a4c", "psax"])
def test_the_ejection_fraction_can_be_measured_back(view: str) -> None:
    # Four hearts, for speed; the slow test below says how well it works in general.
    assert np.abs(_errors(view, range(1000, 1004))).mean() < 3.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("view", "seeds"),
    [("a4c", range(1000, 1040)), ("a4c", range(2000, 2200)), ("psax", range(2000, 2200))],
)
def test_the_ejection_fraction_can_be_measured_back_in_many(view: str, seeds: range) -> None:
    error = np.abs(_errors(view, seeds))
    assert error.mean() < 3.0
    assert np.percentile(error, 95) < 5.0


@pytest.mark.parametrize("view", ["plax", "psax"])
def test_a_large_thick_heart_measures_larger_and_thicker_than_a_small_thin_one(view: str) -> None:
    small, large = (
        np.array(measure_cavity_mm(clip_of(heart(1, lvedd_mm=size, wall_mm=wall), view, 50)))
        for size, wall in ((42.0, 8.0), (64.0, 16.0))
    )
    assert np.abs(small - [42.0, 8.0]).max() < 5.0
    assert np.abs(large - [64.0, 16.0]).max() < 5.0


@pytest.mark.slow
@pytest.mark.parametrize(("view", "n"), [("plax", 16), ("psax", 16)])
def test_size_and_wall_can_be_measured_back(view: str, n: int) -> None:
    # Spread evenly over what hearts show, so that few of them tell how well the measure tracks.
    rng = np.random.default_rng(5)
    size = rng.permutation(np.linspace(38.0, 70.0, n))
    wall = rng.permutation(np.linspace(7.0, 18.0, n))
    measured = [
        measure_cavity_mm(clip_of(heart(i, lvedd_mm=size[i], wall_mm=wall[i]), view, 50 + i))
        for i in range(n)
    ]
    measured_size, measured_wall = np.array(measured).T
    assert spearmanr(measured_size, size).statistic > 0.9
    assert spearmanr(measured_wall, wall).statistic > 0.9
    assert np.median(np.abs(measured_size - size)) < 3.0
    assert np.median(np.abs(measured_wall - wall)) < 3.0


def test_fibrillation_makes_the_beats_irregular() -> None:
    af = mean_rr_s(heart(1, rhythm="af", heart_rate_bpm=90.0, hrv=0.22, pvc_per_min=0.0), 40)
    sinus = mean_rr_s(heart(1, rhythm="sinus", heart_rate_bpm=90.0, hrv=0.03, pvc_per_min=0.0), 40)
    assert af.std() / af.mean() > 3 * sinus.std() / sinus.mean()


def test_a_clip_is_drawn_quickly() -> None:
    state = heart(2)
    clip_of(state, "a4c", 0)
    took = []
    for seed in range(5):
        start = time.perf_counter()
        clip_of(state, "a4c", seed)
        took.append(time.perf_counter() - start)
    # About 30 ms alone on a core; the limit only catches a change of kind.
    assert min(took) < 0.3
