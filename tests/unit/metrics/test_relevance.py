"""Search with many right answers, against figures by hand and against chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from echoing_core.metrics.relevance import of_queries, within
from echoing_core.metrics.scores import average_precision


def test_figures_of_a_ranking_by_hand() -> None:
    similarity = [[0.9, 0.1, 0.5, 0.3], [0.1, 0.2, 0.3, 0.4]]
    relevant = [[True, False, False, True], [True, False, False, False]]
    found = of_queries(similarity, relevant, (1, 3))
    # Ranked 0, 2, 3, 1: right at places 1 and 3. Then 3, 2, 1, 0: right at place 4.
    np.testing.assert_allclose(found["P@1"], [1.0, 0.0])
    np.testing.assert_allclose(found["P@3"], [2 / 3, 0.0])
    np.testing.assert_allclose(found["R@1"], [0.5, 0.0])
    np.testing.assert_allclose(found["mAP"], [(1 + 2 / 3) / 2, 1 / 4])
    np.testing.assert_allclose(found["rank of the first"], [1.0, 4.0])
    np.testing.assert_allclose(found["prevalence"], [0.5, 0.25])


def test_average_precision_is_that_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    similarity, relevant = rng.standard_normal((20, 30)), rng.random((20, 30)) < 0.3
    found = of_queries(similarity, relevant, (5,))["mAP"]
    one_by_one = [average_precision(relevant[i], similarity[i]) for i in range(20)]
    np.testing.assert_allclose(found, one_by_one, atol=1e-12)


def test_by_chance_precision_is_the_prevalence() -> None:
    rng = np.random.default_rng(1)
    relevant = np.tile(np.arange(200) < 50, (2000, 1))
    found = of_queries(rng.standard_normal((2000, 200)), relevant, (10,))
    assert found["P@10"].mean() == pytest.approx(0.25, abs=0.01)
    assert found["mAP"].mean() == pytest.approx(0.25, abs=0.03)
    # Recall is small by construction: 10 of 50 times the precision.
    assert found["R@10"].mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("n", "r"), [(7, 1), (7, 3), (5, 5)])
def test_average_precision_by_chance_is_the_mean_over_all_rankings(n: int, r: int) -> None:
    places = list(itertools.combinations(range(n), r))
    relevant = np.zeros((len(places), n), dtype=bool)
    for row, own in enumerate(places):
        relevant[row, list(own)] = True
    # One ranking, and every way in which r items of it may be the relevant ones.
    found = of_queries(np.tile(-np.arange(n), (len(places), 1)), relevant, (1,))
    assert found["mAP"].mean() == pytest.approx(found["mAP by chance"][0], abs=1e-12)


def test_what_is_near_is_measured_in_standard_deviations() -> None:
    gallery = [0.0, 1.0, 2.0, 3.0, 4.0]
    # Their standard deviation is sqrt(2.5) = 1.58; half of it is 0.79.
    assert within([1.0, 3.79], gallery).tolist() == [
        [False, True, False, False, False],
        [False, False, False, True, True],
    ]
    assert within([1.0], [1.0, 1.0, 1.0]).all()
    everything = of_queries([[0.1, 0.3]], within([1.0], [1.0, 1.0]), (1, 5))
    assert everything["P@1"][0] == everything["P@5"][0] == everything["mAP"][0] == 1.0


def test_a_query_with_nothing_relevant_has_no_figure() -> None:
    found = of_queries([[0.1, 0.2]], [[False, False]], (1,))
    assert all(np.isnan(value[0]) for value in found.values())
    with pytest.raises(ValueError, match="must be"):
        of_queries([[0.1, 0.2]], [[True]], (1,))
