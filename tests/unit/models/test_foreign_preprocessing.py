"""What encoders of others do to an ECG before they read it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echoing_core.errors import ConfigError
from echoing_core.models.config import FrozenEcgConfig
from echoing_core.models.foreign_preprocessing import (
    GROUPS,
    ForeignInput,
    baseline,
    clipped_about_zero,
    cut,
    min_max,
    resampled,
    z_scored,
)
from echoing_core.records import LEADS

ECG_FM = FrozenEcgConfig()
OTIS = FrozenEcgConfig(
    kind="otis", width=192, heads=3, ffn=768, input_hz=100, segment=1008, gain="group_z"
)


@pytest.fixture(scope="module")
def ecg() -> Tensor:
    rng = np.random.default_rng(0)
    times = np.arange(1000) / 100
    waves = np.sin(
        2 * np.pi * times * rng.uniform(1, 9, (2, 12, 1)) + rng.uniform(0, 6, (2, 12, 1))
    )
    return torch.from_numpy((waves * rng.uniform(0.2, 1.5, (2, 12, 1))).astype(np.float32))


def all_known(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


@pytest.mark.parametrize(("n", "n_out"), [(1000, 5000), (1000, 4000), (4096, 5120)])
def test_resampling_goes_from_end_to_end(n: int, n_out: int) -> None:
    x = np.random.default_rng(n).normal(size=(1, 2, n)).astype(np.float32)
    places = np.linspace(0, n_out - 1, n)
    wanted = np.stack([np.interp(np.arange(n_out), places, row) for row in x[0]])
    out = resampled(torch.from_numpy(x), n_out)[0].numpy()
    # 32 bits place a sample within 4096 of them to a few thousandths of their distance.
    np.testing.assert_allclose(out, wanted, atol=3e-3)
    np.testing.assert_allclose(out[:, [0, -1]], x[0][:, [0, -1]], atol=1e-6)


def test_ecg_fm_gets_each_lead_at_500_hz_without_mean_and_gain(ecg: Tensor) -> None:
    segments = ForeignInput(ECG_FM)(ecg, all_known(ecg))
    assert segments.shape == (2, 2, 12, 2500)
    whole = resampled(ecg, 5000).double()
    wanted = (whole - whole.mean(-1, keepdim=True)) / whole.std(-1, keepdim=True, correction=0)
    assert_close(segments[:, 0], wanted[..., :2500].float(), atol=1e-5, rtol=0)
    assert_close(segments[:, 1], wanted[..., 2500:].float(), atol=1e-5, rtol=0)


def test_leads_come_in_the_networks_order(ecg: Tensor) -> None:
    network = ForeignInput(dataclasses.replace(ECG_FM, lead_order="mimic", gain="none"))
    out = network(ecg, all_known(ecg))[:, 0]
    first = resampled(ecg, 5000)[..., :2500]
    assert_close(out[:, 4], first[:, LEADS.index("aVF")])
    assert_close(out[:, 5], first[:, LEADS.index("aVL")])
    assert_close(out[:, [0, 1, 2, 3, *range(6, 12)]], first[:, [0, 1, 2, 3, *range(6, 12)]])


@pytest.mark.parametrize("gain", ["none", "min_max", "lead_z", "group_z"])
def test_what_was_not_measured_is_zero_and_moves_nothing_else(ecg: Tensor, gain: str) -> None:
    network = ForeignInput(dataclasses.replace(ECG_FM, gain=gain))
    valid = all_known(ecg)
    valid[:, 3], valid[0, 7, 400:600] = False, False
    absent = torch.where(valid, ecg, 0.0)
    out = network(absent, valid)
    assert bool(torch.isfinite(out).all())
    assert not out[:, :, 3].any()
    # The gap, and less than one sample of 100 Hz on either side.
    assert not out[0, 0, 7, 2005:].any() and out[0, 0, 7, :1990].any()
    # Whatever stands where nothing was measured is not read.
    other = torch.where(valid, ecg, 5.0)
    assert_close(network(other, valid), out, atol=1e-5, rtol=1e-5)


def test_a_window_without_a_sample_is_all_zero(ecg: Tensor) -> None:
    for gain in ("none", "min_max", "lead_z", "group_z"):
        network = ForeignInput(dataclasses.replace(ECG_FM, gain=gain))
        assert not network(torch.zeros_like(ecg), ~all_known(ecg)).any()


def test_a_lead_that_never_moves_becomes_zero(ecg: Tensor) -> None:
    x = ecg.clone()
    x[:, 2] = 0.7
    out = z_scored(x, all_known(x), [(lead,) for lead in LEADS], LEADS)
    assert not out[:, 2].any()


def test_min_max_is_over_all_leads(ecg: Tensor) -> None:
    out = min_max(ecg, all_known(ecg))
    for row, scaled in zip(ecg.numpy(), out.numpy(), strict=True):
        np.testing.assert_allclose(scaled, (row - row.min()) / (row.max() - row.min()), atol=1e-6)


def test_groups_share_a_mean_and_a_deviation(ecg: Tensor) -> None:
    out = z_scored(ecg, all_known(ecg), GROUPS, LEADS).numpy()
    assert [len(group) for group in GROUPS] == [3, 3, 6]
    for rows in (slice(0, 3), slice(3, 6), slice(6, 12)):
        part = ecg.numpy()[0, rows].astype(np.float64)
        wanted = (part - part.mean()) / part.std()
        np.testing.assert_allclose(out[0, rows], wanted, atol=1e-5)


def test_clipping_is_about_zero() -> None:
    x = torch.full((1, 12, 1000), 0.1)
    x[0, 0, :3] = torch.tensor([50.0, -50.0, 0.2])
    limit = 4 * float(x.std(correction=0))
    out = clipped_about_zero(x, all_known(x))
    assert out.max() == pytest.approx(limit, rel=1e-5)
    assert out.min() == pytest.approx(-limit, rel=1e-5)
    assert_close(out[0, 0, 2:], x[0, 0, 2:])


def test_the_baseline_solves_its_equations() -> None:
    rng = np.random.default_rng(3)
    n = 200
    y = np.cumsum(rng.normal(size=(2, n)), axis=1) + 3 * (rng.random((2, n)) > 0.95)
    x = torch.from_numpy(y)[None]
    found = baseline(x, all_known(x))[0].numpy()
    # Written out with full matrices.
    second = np.diff(np.eye(n), n=2, axis=0)
    for row, z_found in zip(y, found, strict=True):
        weights = np.ones(n)
        for _ in range(5):
            z = np.linalg.solve(np.diag(weights) + 1e7 * second.T @ second, weights * row)
            weights = np.where(row > z, 0.3, 0.7)
        np.testing.assert_allclose(z_found, z, atol=1e-5 * np.abs(row).max())


def test_a_slow_drift_is_taken_away() -> None:
    times = np.arange(4000) / 400
    beats = (np.arange(4000) % 320 < 20) * 1.0
    drift = 0.4 * times / 10 + 0.2
    x = torch.from_numpy((beats + drift)[None, None])
    left = (x - baseline(x, all_known(x)))[0, 0].numpy()
    slope = np.polyfit(times[beats == 0], left[beats == 0], 1)[0]
    assert abs(slope) < 0.1 * 0.04


def test_segments_lie_one_after_another_and_the_rest_is_dropped() -> None:
    x = torch.arange(2 * 11.0).reshape(1, 2, 11)
    out = cut(x, 4, first_only=False)
    assert out.shape == (1, 2, 2, 4)
    assert_close(out[0, 1], x[0, :, 4:8])
    assert_close(cut(x, 4, first_only=True), out[:, :1])


def test_eight_samples_are_filled_up_and_more_are_refused(ecg: Tensor) -> None:
    out = ForeignInput(OTIS)(ecg, all_known(ecg))
    assert out.shape == (2, 1, 12, 1008) and not out[..., 1000:].any()
    at_400 = dataclasses.replace(OTIS, input_hz=400)
    assert ForeignInput(at_400)(ecg, all_known(ecg)).shape == (2, 3, 12, 1008)
    first = dataclasses.replace(at_400, segments="first")
    assert ForeignInput(first)(ecg, all_known(ecg)).shape == (2, 1, 12, 1008)
    with pytest.raises(ConfigError, match="reads 1,008 samples at once and was given 900"):
        ForeignInput(OTIS)(ecg[..., :900], all_known(ecg[..., :900]))
