"""Laws that hold for every input."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from echoing_core.metrics import scores as metrics
from echoing_core.metrics.distances import cosine, csd, wasserstein
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.index import build_index, open_index
from echoing_core.uncertainty.reference import Reference
from echoing_core.zeroshot import closed_form
from tests.ranks import pair_ranks, same_text_ranks

finite = st.floats(-10, 10, width=32)
quick = settings(max_examples=60, deadline=None)


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    n_a, n_b, dim = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    shapes = [(n_a, dim), (n_a, dim), (n_b, dim), (n_b, dim)]
    return tuple(draw(hnp.arrays(np.float64, shape, elements=finite)) for shape in shapes)


@quick
@given(two_sets())
def test_distances_are_symmetric_and_not_negative(sets: tuple[np.ndarray, ...]):
    mu_a, lv_a, mu_b, lv_b = sets
    for distance in (csd, wasserstein):
        d = distance(mu_a, lv_a, mu_b, lv_b)
        assert (d >= 0).all()
        np.testing.assert_allclose(d, distance(mu_b, lv_b, mu_a, lv_a).T, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cosine(mu_a, mu_b), cosine(mu_b, mu_a).T, atol=1e-12)


@quick
@given(two_sets())
def test_distance_of_a_gaussian_to_itself(sets: tuple[np.ndarray, ...]):
    mu, log_var, _, _ = sets
    own_spread = np.exp(log_var).sum(axis=1)
    np.testing.assert_allclose(
        np.diagonal(csd(mu, log_var, mu, log_var)), 2 * own_spread, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        np.diagonal(wasserstein(mu, log_var, mu, log_var)), 0, atol=1e-8 * (1 + own_spread.max())
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 16), st.floats(-9.0, 0.0))
def test_flat_search_is_brute_force(seed: int, n: int, dim: int, log_var_centre: float):
    rng = np.random.default_rng(seed)

    def draw(rows: int) -> GaussianEmbedding:
        mu = rng.normal(size=(rows, dim))
        mu /= np.linalg.norm(mu, axis=1, keepdims=True)
        log_var = rng.normal(log_var_centre, 1.0, size=(rows, dim))
        return GaussianEmbedding(mu.astype(np.float32), log_var.astype(np.float32))

    ecg, text, query = draw(n), draw(n), draw(1)
    names = [str(i) for i in range(n)]
    items = pd.DataFrame(
        dict.fromkeys(("item_id", "patient_id", "record_id", "report", "source"), names)
    ).assign(
        uncertainty=ecg.uncertainty,
        percentile=50.0,
        text_uncertainty=text.uncertainty,
        simulated=True,
    )
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "index"
        build_index(folder, ecg=ecg, text=text, items=items, checkpoint_hash="x")
        index = open_index(folder, checkpoint_hash="x")
    for order in ("csd", "cosine"):
        rows, found = index.nearest(query, n, order=order)
        if order == "csd":
            expected = csd(*(_double(a) for a in (query.mu, query.log_var, ecg.mu, ecg.log_var)))[0]
        else:
            expected = 1.0 - cosine(_double(query.mu), _double(ecg.mu))[0]
        # The distances of the rows found are the sorted distances: ranking up to rounding.
        tolerance = 1e-5 * max(1.0, float(expected.max()))
        np.testing.assert_allclose(found, np.sort(expected), atol=tolerance)
        np.testing.assert_allclose(expected[rows], np.sort(expected), atol=tolerance)


def _double(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64)


@quick
@given(
    hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1e6)),
    hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1, 2e6)),
)
def test_percentiles_are_monotone_and_between_0_and_100(cohort: np.ndarray, values: np.ndarray):
    reference = Reference.from_values(cohort, name="x")
    percentile = reference.percentile(np.sort(values))
    assert (np.diff(percentile) >= 0).all()
    assert ((percentile >= 0) & (percentile <= 100)).all()


@quick
@given(st.integers(0, 10_000), st.integers(2, 20))
def test_recall_grows_with_k_and_same_text_never_loses_to_exact_pair(seed: int, n: int):
    rng = np.random.default_rng(seed)
    distances = rng.normal(size=(n, n))
    texts = [str(t) for t in rng.integers(0, max(1, n // 2), n)]
    exact, same = pair_ranks(distances), same_text_ranks(distances, texts, texts)
    assert (same <= exact).all()
    recalls = [metrics.recall_at_k(exact, k) for k in range(1, n + 1)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1.0


@quick
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_auroc_turns_over_with_the_sign_of_the_score(seed: int, n: int):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    scores = np.round(rng.normal(size=n), 1)
    forward, backward = metrics.auroc(labels, scores), metrics.auroc(labels, -scores)
    assert abs(forward + backward - 1.0) < 1e-12


@quick
@given(st.floats(-2, 2), st.floats(0, 2), st.floats(0.1, 50))
def test_probability_and_verdict_agree_with_the_sign_of_the_margin(
    margin: float, std: float, scale: float
):
    m, s = np.array([margin]), np.array([std])
    p = closed_form.probabilities(m, s, logit_scale=scale)[0]
    low, high = closed_form.intervals(m, s, logit_scale=scale)[0]
    assert 0.0 <= low <= high <= 1.0
    turned = closed_form.probabilities(-m, s, logit_scale=scale)[0]
    assert abs(p + turned - 1.0) < 1e-12
    answer = closed_form.verdict((float(low), float(high)))
    if answer == "yes":
        assert p > 0.5
        assert closed_form.p_margin_positive(m, s)[0] > 0.95 - 1e-9
    if answer == "no":
        assert p < 0.5
