"""Who is surer, and which patients train a probe: worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from echoing_core.evaluate.protocols.answers import halves_among_known, is_deterministic, surer
from echoing_core.evaluate.protocols.data import patient_subset
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import GaussianEmbedding


def gaussians(sums: list[float]) -> GaussianEmbedding:
    """One dimension, so that the sum of sigma^2 is sigma^2."""
    log_var = np.log(np.array(sums))[:, None]
    return GaussianEmbedding(np.ones_like(log_var), log_var)


def logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def test_a_model_without_sigma2_is_split_at_half_a_bit() -> None:
    """H(0.11) = 0.4999 is low and H(0.1101) = 0.5001 is high; sigma^2 does not enter."""
    answers = np.array([logit(p) for p in (0.11, 0.1105, 0.5, 0.89, 0.9999)])
    low = surer(gaussians([9.0, 1.0, 1.0, 9.0, 9.0]), answers, by_entropy=True)
    assert low.tolist() == [True, False, False, True, True]


def test_other_models_are_split_at_the_median_of_sigma2_with_ties_low() -> None:
    """Median of 1, 2, 2, 2, 5 is 2: four low, one high. Of 1, 2, 3, 4 it is 2.5: two and two."""
    sure = np.full(5, 9.0)
    low = surer(gaussians([5.0, 2.0, 1.0, 2.0, 2.0]), sure, by_entropy=False)
    assert low.tolist() == [False, True, True, True, True]
    low = surer(gaussians([4.0, 1.0, 3.0, 2.0]), sure[:4], by_entropy=False)
    assert low.tolist() == [False, True, False, True]


def test_the_median_is_that_of_the_ecgs_with_a_known_answer() -> None:
    """1 and 3 are known: median 2. With the unknown 10 and 20 it would be 6.5 and both low."""
    truth = np.array([1.0, 0.0, np.nan, np.nan])
    low = halves_among_known(
        gaussians([1.0, 3.0, 10.0, 20.0]), np.zeros(4), truth, by_entropy=False
    )
    assert low.tolist() == [True, False, False, False]


def test_what_is_deterministic_stands_in_the_training_record() -> None:
    def of(training: dict[str, Any]) -> bool:
        # Nothing but the record is read, of a model that has a sigma^2, of the default kind.
        nothing = cast("Any", None)
        encoder = cast("Any", SimpleNamespace(config=SimpleNamespace(has_sigma2=True)))
        return is_deterministic(
            Checkpoint("x", encoder, nothing, nothing, 1.0, {}, training, card="", hash="")
        )

    assert of({"config": {"loss": {"name": "infonce"}}})
    assert not of({"config": {"loss": {"name": "csd_infonce"}}})
    assert not of({})
    # A second stage, of either way to train, teaches the variance after it.
    assert not of({"config": {"loss": {"name": "infonce"}, "variance_steps": 500}})
    assert not of({"config": {"loss": {"name": "infonce"}}, "second_stage": {"steps": 1}})
    assert of({"config": {"loss": {"name": "infonce"}}, "second_stage": None})


def test_a_tenth_of_the_patients_has_a_tenth_of_each_kind() -> None:
    """40 patients with two ECGs each, 10 with the finding in one of them: 1 and 3 are drawn."""
    patients = np.repeat([f"p{i:02d}" for i in range(40)], 2)
    positive = np.zeros(80, dtype=bool)
    positive[:20:2] = True
    rows = patient_subset(patients, positive, 0.1, np.random.default_rng(0))
    drawn = set(patients[rows])
    assert len(drawn) == 4 and rows.sum() == 8
    assert len(drawn & {f"p{i:02d}" for i in range(10)}) == 1
    # All ECGs of a patient or none.
    assert not drawn & set(patients[~rows])


def test_few_of_a_kind_still_give_one_and_all_is_all() -> None:
    patients = np.array([f"p{i}" for i in range(30)])
    positive = np.arange(30) < 2
    rng = np.random.default_rng(1)
    assert patient_subset(patients, positive, 0.1, rng)[:2].sum() == 1
    assert patient_subset(patients, positive, 1.0, rng).all()
    with pytest.raises(ValueError, match="share"):
        patient_subset(patients, positive, 0.0, rng)


def test_seeds_draw_other_patients() -> None:
    patients = np.array([f"p{i}" for i in range(100)])
    positive = np.arange(100) < 50
    one, two, again = (
        patient_subset(patients, positive, 0.1, np.random.default_rng(seed)) for seed in (0, 1, 0)
    )
    assert (one == again).all() and (one != two).any()
