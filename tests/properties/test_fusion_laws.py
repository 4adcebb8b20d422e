"""What fusing windows must never depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoing_core.records import GaussianEmbedding
from echoing_core.uncertainty.fusion import RULES, Fused, fuse, overlap_weights

DIM = 5
WINDOW_S = 10.0
Windows = tuple[GaussianEmbedding, np.ndarray]

rules = st.sampled_from(RULES)
means = st.sampled_from(("precision", "trimmed"))


@st.composite
def windows(draw: st.DrawFn, min_size: int = 1) -> Windows:
    """Windows of one heart, more or less noisy, at irregular starts."""
    n = draw(st.integers(min_size, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mu = np.eye(DIM)[0] + draw(st.sampled_from((0.05, 0.5))) * rng.normal(size=(n, DIM))
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    log_var = rng.normal(-6.0, 1.5, (n, 1)) + rng.normal(0, 0.3, (n, DIM))
    start_s = np.round(rng.uniform(0, 60, n), 2)
    return GaussianEmbedding(mu.astype(np.float32), log_var.astype(np.float32)), start_s


def assert_same(a: Fused, b: Fused) -> None:
    np.testing.assert_allclose(a.embedding.mu, b.embedding.mu, atol=1e-5)
    np.testing.assert_allclose(a.embedding.log_var, b.embedding.log_var, atol=1e-3)


@given(windows(), rules, st.integers(0, 99))
def test_the_order_of_the_windows_does_not_matter(seen: Windows, rule: str, seed: int) -> None:
    embedding, start_s = seen
    order = np.random.default_rng(seed).permutation(len(start_s))
    fused, mixed = (
        fuse(e, s, WINDOW_S, rule) for e, s in (seen, (embedding[order], start_s[order]))
    )
    assert_same(fused, mixed)
    np.testing.assert_allclose(mixed.weights, fused.weights[order], atol=1e-9)
    assert np.array_equal(mixed.used, fused.used[order])


@given(windows(), means, st.integers(2, 4))
def test_copies_of_all_windows_change_nothing(seen: Windows, rule: str, n_copies: int) -> None:
    embedding, start_s = seen
    again = np.tile(np.arange(len(start_s)), n_copies)
    assert_same(
        fuse(embedding, start_s, WINDOW_S, rule),
        fuse(embedding[again], start_s[again], WINDOW_S, rule),
    )


@given(windows(), rules)
def test_one_window_is_fused_to_itself(seen: Windows, rule: str) -> None:
    embedding, start_s = seen
    fused = fuse(embedding[:1], start_s[:1], WINDOW_S, rule)
    np.testing.assert_allclose(fused.embedding.mu, embedding.mu[:1], atol=1e-6)
    np.testing.assert_allclose(fused.embedding.log_var, embedding.log_var[:1], atol=1e-5)
    assert fused.weights.tolist() == [1.0]


@given(windows(), rules, st.integers(2, 9))
def test_equal_windows_keep_their_mean_and_variance(seen: Windows, rule: str, n: int) -> None:
    one = seen[0][np.zeros(n, dtype=np.int64)]
    fused = fuse(one, np.arange(n) * 3.7, WINDOW_S, rule)
    np.testing.assert_allclose(fused.embedding.mu, one.mu[:1], atol=1e-6)
    np.testing.assert_allclose(fused.embedding.log_var, one.log_var[:1], atol=1e-4)


@given(windows(min_size=2))
def test_a_window_that_knows_nothing_moves_nothing(seen: Windows) -> None:
    embedding, start_s = seen
    mu, log_var = embedding.mu.copy(), embedding.log_var.copy()
    mu[0], log_var[0] = -mu[0], 40.0
    # Beside the others in time: an overlapping one would still take a share of their signal.
    start_s = start_s.copy()
    start_s[0] = 500.0
    whole = GaussianEmbedding(mu, log_var)
    assert_same(
        fuse(embedding[1:], start_s[1:], WINDOW_S, "precision"),
        fuse(whole, start_s, WINDOW_S, "precision"),
    )
    assert not fuse(whole, start_s, WINDOW_S, "trimmed").used[0]


@given(windows(), rules)
def test_the_result_is_a_unit_mean_and_weights_are_shares(seen: Windows, rule: str) -> None:
    fused = fuse(*seen, WINDOW_S, rule)
    assert len(fused.embedding) == 1
    assert np.linalg.norm(fused.embedding.mu) == pytest.approx(1, abs=1e-5)
    assert fused.weights.sum() == pytest.approx(1)
    assert ((fused.weights > 0) == fused.used).all()


@settings(max_examples=50)
@given(windows(), st.integers(-100, 100))
def test_overlap_weights_add_up_to_the_time_covered(seen: Windows, shift_s: int) -> None:
    start_s = seen[1]
    weights = overlap_weights(start_s, WINDOW_S)
    assert ((weights > 0) & (weights <= 1 + 1e-9)).all()
    raster = np.arange(-5, 80, 0.01) + 0.005
    covered = ((raster >= start_s[:, None]) & (raster < start_s[:, None] + WINDOW_S)).any(axis=0)
    assert weights.sum() * WINDOW_S == pytest.approx(covered.sum() * 0.01, abs=0.02)
    np.testing.assert_allclose(overlap_weights(start_s + shift_s, WINDOW_S), weights, atol=1e-9)
