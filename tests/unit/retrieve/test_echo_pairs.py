"""Distances of ECGs and echocardiograms among reference pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoing_core.errors import CheckpointError
from echoing_core.retrieve.echo_pairs import EchoPairDistances


def pairs(own: np.ndarray, other: np.ndarray) -> EchoPairDistances:
    return EchoPairDistances.of(own, other, source="test", simulated=True, teacher_hash="t")


@pytest.fixture
def even() -> EchoPairDistances:
    """Own pairs at 1 to 100, those of two people at 51 to 150."""
    return pairs(np.arange(1.0, 101.0), np.arange(51.0, 151.0))


def test_the_auroc_counts_pairs_of_pairs_with_ties_for_half() -> None:
    rng = np.random.default_rng(1)
    own, other = rng.integers(0, 9, 30).astype(float), rng.integers(3, 12, 41).astype(float)
    nearer = (own[:, None] < other[None]).mean() + 0.5 * (own[:, None] == other[None]).mean()
    assert pairs(own, other).auroc == pytest.approx(nearer)


def test_how_many_lie_farther(even: EchoPairDistances) -> None:
    assert even.own_farther_pct(75.0) == pytest.approx(25.0)
    assert even.other_farther_pct(75.0) == pytest.approx(75.0)
    assert even.other_farther_pct(1.0) == 100.0


def test_words_say_only_what_the_pairs_allow(even: EchoPairDistances) -> None:
    assert even.words(1.0).startswith("Nearer than more than 99 of 100")
    assert even.words(70.0).startswith("Nearer than 80 of 100")
    assert even.words(90.0).startswith("No nearer than")
    assert even.words(120.0).startswith("Farther apart than 95 of 100")


def test_it_comes_back_from_json_and_is_thinned_without_losing_its_ends() -> None:
    rng = np.random.default_rng(2)
    other = rng.gamma(4.0, size=20_000)
    made = pairs(rng.gamma(2.0, size=50), other)
    back = EchoPairDistances.from_dict(json.loads(json.dumps(made.to_dict())))
    assert len(back.other) == 1000 and back.teacher_hash == "t"
    assert back.other[[0, -1]] == pytest.approx([other.min(), other.max()], abs=1e-4)
    assert back.other_farther_pct(4.0) == pytest.approx(100 * (other > 4.0).mean(), abs=0.3)
    assert back.auroc == pytest.approx(made.auroc, abs=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": 7},
        {"pair_distances": {"own": [1.0] * 30, "other": [2.0, 1.0] * 20}},
        {"pair_distances": {"own": [1.0] * 3, "other": [2.0] * 30}},
        {"pair_distances": {"own": [float("nan")] * 30, "other": [2.0] * 30}},
        {"auroc": None},
    ],
)
def test_a_damaged_document_is_one_sentence(even: EchoPairDistances, wrong: dict) -> None:
    with pytest.raises(CheckpointError, match="echo-pairs --write"):
        EchoPairDistances.from_dict({**even.to_dict(), **wrong})
