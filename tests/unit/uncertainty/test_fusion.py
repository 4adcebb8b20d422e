"""Fusing windows, by hand where that is possible."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.records import GaussianEmbedding
from echoing_core.uncertainty.fusion import RULES, fuse, overlap_weights


def embedding(mu: list[list[float]], variance: list[float]) -> GaussianEmbedding:
    """Windows with one variance in all dimensions."""
    mus = np.array(mu, dtype=np.float32)
    log_var = np.log(np.array(variance, dtype=np.float32))[:, None] + 0.0 * mus
    return GaussianEmbedding(mus, log_var)


def test_overlap_weights_by_hand():
    # Windows of 10 s at 0, 5 and 30: the first two share 5-10, the third stands alone.
    # First: (5 * 1 + 5 / 2) / 10; second the same; third 1. Covered: 25 s = 2.5 windows.
    np.testing.assert_allclose(overlap_weights([0, 5, 30], 10.0), [0.75, 0.75, 1.0])
    # 2.5-s stride: in the middle 4 windows cover each moment.
    regular = overlap_weights(np.arange(0, 100, 2.5), 10.0)
    np.testing.assert_allclose(regular[5:-5], 0.25)
    assert regular[0] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert regular.sum() == pytest.approx(107.5 / 10)


def test_two_windows_by_hand():
    # Apart in time, so c = 1. Variances 0.02 and 0.01 in 2 dimensions: w is 1 to 2, and
    # m = (1, 2) / 3, |m|^2 = 5 / 9. Sigma together: ((sqrt 0.02 + 2 sqrt 0.01) / 3)^2.
    # Scatter per dimension: (1 * 4/9 + 2 * 1/9) / 3 = 2/9; n_eff = 9 / 5, less than 2.
    found = fuse(embedding([[1, 0], [0, 1]], [0.02, 0.01]), [0.0, 50.0], 10.0, "precision")
    np.testing.assert_allclose(found.weights, [1 / 3, 2 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.embedding.mu[0], np.array([1, 2]) / np.sqrt(5), rtol=1e-6)
    together = ((np.sqrt(0.02) + 2 * np.sqrt(0.01)) / 3) ** 2
    np.testing.assert_allclose(
        np.exp(found.embedding.log_var[0]), (together + 2 / 9) / (5 / 9), rtol=1e-5
    )


def test_start_and_lowest_are_single_windows():
    windows = embedding([[1, 0], [0, 1], [0.6, 0.8]], [0.3, 0.1, 0.1])
    first = fuse(windows, [7.0, 9.0, 8.0], 10.0, "start")
    assert first.used.tolist() == [True, False, False]
    assert np.array_equal(first.embedding.mu, windows.mu[:1])
    # Two windows are equally sure: the earlier one.
    lowest = fuse(windows, [7.0, 9.0, 8.0], 10.0, "lowest")
    assert lowest.weights.tolist() == [0.0, 0.0, 1.0]


def test_trimmed_leaves_out_the_unsure_and_the_far():
    rng = np.random.default_rng(0)
    mu = np.array([1.0, 0.0, 0.0]) + 0.02 * rng.normal(size=(40, 3))
    mu[7] = [0.0, 1.0, 0.0]
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    variance = np.full(40, 1e-4)
    variance[20:30] = 6e-4
    found = fuse(embedding(mu.tolist(), variance.tolist()), np.arange(40) * 10.0, 10.0, "trimmed")
    left_out = np.flatnonzero(~found.used).tolist()
    assert left_out == [7, *range(20, 30)]
    assert (found.weights[left_out] == 0).all()
    assert found.weights.sum() == pytest.approx(1)


def test_errors_shared_by_all_windows_do_not_average_out():
    same = embedding([[1.0, 0.0]] * 100, [0.01] * 100)
    found = fuse(same, np.arange(100) * 10.0, 10.0, "precision")
    assert found.embedding.uncertainty[0] == pytest.approx(0.02, rel=1e-5)


def test_what_cannot_be_fused_is_told():
    one = embedding([[1, 0]], [0.1])
    with pytest.raises(ConfigError, match=r"no rule 'best'.*trimmed"):
        fuse(one, [0.0], 10.0, "best")
    with pytest.raises(SignalQualityError, match="no window"):
        fuse(one[:0], [], 10.0, "precision")
    with pytest.raises(SignalQualityError, match="opposite"):
        fuse(embedding([[1, 0], [-1, 0]], [0.1, 0.1]), [0, 20], 10.0, "precision")
    for starts, window_s in (([0.0, 1.0], 10.0), ([np.nan], 10.0), ([0.0], 0.0)):
        with pytest.raises(ValueError, match=r"starts|window_s"):
            fuse(one, starts, window_s, "start")
    assert set(RULES) == {"start", "lowest", "precision", "trimmed"}
