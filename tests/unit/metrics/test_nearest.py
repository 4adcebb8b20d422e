"""Answers by nearest neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from echoing_core.metrics.nearest import nearest_share, share_logit


def test_shares_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    train, queries = rng.normal(size=(80, 6)), rng.normal(size=(1500, 6))
    labels = rng.random(80) > 0.6
    reference = KNeighborsClassifier(5, algorithm="brute").fit(train, labels)
    shares = nearest_share(train, labels, queries)
    np.testing.assert_allclose(shares, reference.predict_proba(queries)[:, 1])
    assert set(np.round(shares, 9)) <= {0.0, 0.2, 0.4, 0.6, 0.8, 1.0}


def test_of_equally_near_the_first_count_and_few_are_all() -> None:
    train = np.zeros((4, 2))
    labels = np.array([True, True, False, False])
    assert nearest_share(train, labels, np.ones((1, 2)), k=3)[0] == pytest.approx(2 / 3)
    assert nearest_share(train, labels, np.ones((1, 2)), k=9)[0] == 0.5
    with pytest.raises(ValueError, match="no example"):
        nearest_share(train[:0], labels[:0], train)


def test_the_logit_is_finite_and_says_yes_where_most_are() -> None:
    logits = share_logit(np.arange(6) / 5)
    assert np.isfinite(logits).all() and (np.diff(logits) > 0).all()
    assert (logits > 0).tolist() == [False, False, False, True, True, True]
    np.testing.assert_allclose(logits, -logits[::-1], atol=1e-12)
