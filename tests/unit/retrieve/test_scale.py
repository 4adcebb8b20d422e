"""The absolute scale of distances and margins, against counting in the samples themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoing_core.errors import CheckpointError
from echoing_core.retrieve.scale import (
    FEWEST,
    LEVELS_PCT,
    ReferenceDistances,
    finding_scale,
    quantiles_of,
)

RNG = np.random.default_rng(3)
OWN, OTHER = RNG.normal(0.7, 0.1, 4000), RNG.normal(1.7, 0.3, 4000)
SAME, STRANGERS = RNG.normal(0.1, 0.02, 4000), RNG.normal(1.3, 0.3, 4000)


@pytest.fixture
def scale() -> ReferenceDistances:
    kinds = {
        "own_report": OWN,
        "other_report": OTHER,
        "same_patient": SAME,
        "other_patient": STRANGERS,
    }
    pairs = {("csd", kind): quantiles_of(values) for kind, values in kinds.items()}
    return ReferenceDistances("made up", 4000, True, pairs, {})


@pytest.mark.parametrize("distance", [0.55, 0.7, 0.86, 1.2])
def test_a_share_is_the_share_of_pairs_that_lie_farther_apart(
    scale: ReferenceDistances, distance: float
) -> None:
    counted = 100 * float((distance < OWN).mean())
    assert scale.nearer_than_pct("csd", "own_report", distance) == pytest.approx(counted, abs=0.6)
    assert scale.nearer_than_pct("cosine", "own_report", distance) is None


def test_far_is_beyond_95_of_100_pairs_that_belong_together(scale: ReferenceDistances) -> None:
    limit = float(np.percentile(OWN, 95))
    assert not scale.is_far("csd", limit - 0.01, with_report=True)
    assert scale.is_far("csd", limit + 0.01, with_report=True)
    # The same distance is far for two ECGs of one patient.
    assert scale.is_far("csd", 0.5, with_report=False)
    assert not scale.is_far("cosine", 9.0, with_report=True), "nothing to compare with"


@pytest.mark.parametrize(
    ("distance", "words", "near"),
    [
        (0.5, "nearer than an ECG and its own report usually are", "near"),
        (0.7, "as near as an ECG and its own report usually are", "near"),
        (0.83, "farther than an ECG and its own report usually are, nearer than", "middling"),
        (1.0, "farther than an ECG and its own report nearly ever are, nearer than", "far"),
        (1.6, "no nearer than ECGs and reports of others often are", "far"),
    ],
)
def test_words_say_where_a_distance_lies(
    scale: ReferenceDistances, distance: float, words: str, near: str
) -> None:
    assert scale.words("csd", distance, with_report=True).startswith(words)
    assert scale.words("cosine", distance, with_report=True) == ""
    assert scale.nearness("csd", distance, with_report=True) == near
    assert scale.nearness("cosine", distance, with_report=True) == ""


def test_a_finding_is_held_against_ecgs_with_and_without_it() -> None:
    margins = np.concatenate([RNG.normal(0.3, 0.05, 300), RNG.normal(-0.2, 0.1, 3000)])
    having = np.arange(3300) < 300
    scale = finding_scale(margins, having)
    assert scale is not None and (scale.n_with, scale.n_without) == (300, 3000)
    for margin in (-0.1, 0.1, 0.28):
        less = 100 * float((margins[~having] < margin).mean())
        assert float(scale.above_lacking_pct(margin)) == pytest.approx(less, abs=0.6)
        more = 100 * float((margins[having] > margin).mean())
        negated = float(scale.above_lacking_pct(margin, negated=True))
        assert negated == pytest.approx(more, abs=0.6)
    low, high = np.percentile(margins[having], 5), np.percentile(margins[~having], 95)
    assert scale.fits([low - 0.01, low + 0.01]).tolist() == [False, True]
    assert scale.fits([high - 0.01, high + 0.01], negated=True).tolist() == [True, False]
    assert finding_scale(margins, np.arange(3300) < FEWEST - 1) is None


def test_an_ecg_that_one_in_fifty_others_is_like_does_not_stand_out() -> None:
    """With margins that overlap, above 95 % of those without it is not enough."""
    margins = np.concatenate([RNG.normal(0.1, 0.2, 3000), RNG.normal(0.0, 0.2, 3000)])
    scale = finding_scale(margins, np.arange(6000) < 3000)
    assert scale is not None
    at_98, at_995 = np.percentile(margins[3000:], [98, 99.6])
    assert scale.fits([at_98, at_995]).tolist() == [False, True]


def test_a_scale_comes_back_from_its_document(scale: ReferenceDistances) -> None:
    finding = finding_scale(np.arange(40.0), np.arange(40) > 25)
    assert finding is not None
    full = ReferenceDistances("made up", 40, True, scale.pairs, {"lbbb": finding})
    document = json.loads(json.dumps(full.to_dict()))
    assert ReferenceDistances.from_dict(document) == full
    for wrong in (
        {**document, "format": 9},
        {**document, "pairs": {"csd": {"own_report": [1.0]}}},
        {**document, "pairs": {"csd": {"own_report": list(range(len(LEVELS_PCT)))[::-1]}}},
        {k: v for k, v in document.items() if k != "findings"},
    ):
        with pytest.raises(CheckpointError, match="echoing evaluate distances"):
            ReferenceDistances.from_dict(wrong)
