"""Our metrics against scikit-learn and SciPy on seeded data with many ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from echoing_core.metrics import scores as metrics


@pytest.fixture(params=[0, 1, 2])
def data(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(request.param)
    labels = rng.random(300) < 0.3
    # One decimal: about 40 distinct scores for 300 rows.
    return labels, np.round(rng.normal(size=300) + labels, 1)


def test_auroc(data):
    assert metrics.auroc(*data) == pytest.approx(sk.roc_auc_score(*data), abs=1e-12)


def test_average_precision(data):
    expected = sk.average_precision_score(*data)
    assert metrics.average_precision(*data) == pytest.approx(expected, abs=1e-12)


def test_macro_auroc():
    rng = np.random.default_rng(3)
    labels = rng.random((200, 5)) < 0.3
    scores = np.round(rng.normal(size=(200, 5)) + labels, 1)
    expected = sk.roc_auc_score(labels, scores, average="macro")
    assert metrics.macro_auroc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy():
    rng = np.random.default_rng(4)
    truth, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    expected = sk.balanced_accuracy_score(truth, predicted)
    assert metrics.balanced_accuracy(truth, predicted) == pytest.approx(expected, abs=1e-12)


def test_spearman_and_midranks(data):
    _, scores = data
    other = np.round(scores * 2 + np.random.default_rng(5).normal(size=300))
    expected = stats.spearmanr(scores, other).statistic
    assert metrics.spearman(scores, other) == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(metrics.midranks(scores), stats.rankdata(scores), atol=1e-12)
