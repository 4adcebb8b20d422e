"""Percentiles in a reference cohort."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoing_core.errors import CheckpointError
from echoing_core.records import GaussianEmbedding
from echoing_core.uncertainty.reference import Reference


@pytest.fixture
def even() -> Reference:
    """A cohort of 0, 1, ..., 1000: its quantiles are the values themselves."""
    return Reference.from_values(np.arange(1001.0), name="even", simulated=True)


def test_uncertainty_is_the_sum_of_sigma2_by_hand():
    log_var = np.log(np.array([[1.0, 2.0, 3.0], [0.5, 0.25, 0.25]], dtype=np.float32))
    embedding = GaussianEmbedding(np.zeros_like(log_var), log_var)
    np.testing.assert_allclose(embedding.uncertainty, [6.0, 1.0], rtol=1e-6)


def test_percentile_by_hand(even: Reference):
    # 250 of 1000 steps is 25 %; half way between 250 and 251 is 25.05 %.
    np.testing.assert_allclose(
        even.percentile([-5.0, 0.0, 250.0, 250.5, 1000.0, 2000.0]),
        [0.0, 0.0, 25.0, 25.05, 100.0, 100.0],
        rtol=1e-12,
    )
    assert even.percentile(np.ones((2, 3))).shape == (2, 3)


def test_unmeasured_stays_unmeasured(even: Reference):
    result = even.percentile([np.nan, 500.0, np.inf, -np.inf])
    assert np.isnan(result[0])
    np.testing.assert_allclose(result[1:], [50.0, 100.0, 0.0])


def test_shared_values_get_the_middle_of_their_ranks():
    # 40 % zeros, 60 % ones: the zeros fill ranks 0..40 %, the ones 40..100 %.
    reference = Reference.from_values(np.repeat([0.0, 1.0], [400, 600]), name="two values")
    np.testing.assert_allclose(reference.percentile([0.0, 1.0]), [20.0, 70.0], atol=0.1)
    constant = Reference.from_values(np.full(5, 3.0), name="one value")
    np.testing.assert_allclose(constant.percentile([2.9, 3.0, 3.1]), [0.0, 50.0, 100.0])


def test_percentile_matches_counting():
    rng = np.random.default_rng(0)
    cohort, values = rng.lognormal(size=20_000), rng.lognormal(size=200)
    counted = 100.0 * (cohort[None] < values[:, None]).mean(axis=1)
    found = Reference.from_values(cohort, name="x").percentile(values)
    np.testing.assert_allclose(found, counted, atol=0.06)


def test_value_at_undoes_percentile(even: Reference):
    np.testing.assert_allclose(even.value_at([0.0, 12.34, 100.0]), [0.0, 123.4, 1000.0])
    with pytest.raises(ValueError, match="between 0 and 100"):
        even.value_at(101.0)


def test_json_round_trip(even: Reference):
    again = Reference.from_json(even.to_json())
    np.testing.assert_array_equal(again.quantiles, even.quantiles)
    assert (again.name, again.n, again.simulated) == ("even", 1001, True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"extra": 1}, "needs exactly"),
        ({"n": 0}, "at least one value"),
        ({"n": True}, "bool as 'n'"),
        ({"name": 3}, "int as 'name'"),
        ({"quantiles": [1.0, 2.0]}, "1001 quantiles"),
        ({"quantiles": [float(i) for i in range(1000, -1, -1)]}, "ascending"),
        ({"quantiles": ["a"] * 1001}, "cannot be used"),
        ({"quantiles": [float("nan")] * 1001}, "finite"),
    ],
)
def test_a_reference_that_is_not_one_is_refused(even: Reference, change: dict, sentence: str):
    with pytest.raises(CheckpointError, match=sentence):
        Reference.from_dict(even.to_dict() | change)


@pytest.mark.parametrize("text", ["", "<html>", "[1, 2]", json.dumps({"name": "x"})])
def test_text_that_is_no_reference_is_refused(text: str):
    with pytest.raises(CheckpointError):
        Reference.from_json(text)


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_a_cohort_needs_finite_values(values: list[float]):
    with pytest.raises(ValueError, match="at least one value"):
        Reference.from_values(np.asarray(values), name="x")
