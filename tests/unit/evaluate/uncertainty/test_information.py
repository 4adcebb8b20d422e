"""Vague texts, made-up words, leads taken away, and how a section is written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.shipped.held_out import HeldOut
from echoing_core.evaluate.uncertainty.information import (
    LEAD_SETS,
    PAIRS,
    lead_mask,
    made_up_word,
    missing_study,
    text_study,
    with_made_up_words,
)
from echoing_core.evaluate.uncertainty.scores import measure_scores, section
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.results import Result
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import LEADS
from tests.tiny_model import TEXTS


@pytest.fixture(scope="module")
def simulated() -> HeldOut:
    rng = np.random.default_rng(0)
    n = len(TEXTS)
    table = pd.DataFrame(
        {
            "source": "simulated",
            "patient_id": [f"p{i // 2}" for i in range(n)],
            "study_id": [f"s{i}" for i in range(n)],
            "record_id": [f"s{i}" for i in range(n)],
            "split": "test",
            "report": TEXTS,
            "simulated": True,
            "quality": "clean",
        }
    )
    signal = rng.normal(0, 0.3, (n, 12, 1000)).astype(np.float32)
    studies = StudySet(table, signal, np.ones(signal.shape, dtype=np.bool_))
    return HeldOut("simulated test patients", studies, simulated=True)


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (0.1, 1), (0.5, 2), (1.0, 4)])
def test_a_share_of_the_words_is_made_up(share: float, n: int) -> None:
    known = frozenset({"atrial", "fibrillation", "with", "lvef"})
    text = "atrial fibrillation, with lvef 25 %."
    rng = np.random.default_rng(1)
    made = with_made_up_words(text, share, known, rng).split(" ")
    changed = [a != b for a, b in zip(text.split(" "), made, strict=True)]
    assert sum(changed) == n
    # Numbers and marks stay.
    assert made[4:] == ["25", "%."]
    assert made[1].endswith(",")


def test_a_made_up_word_is_unknown() -> None:
    seen = {made_up_word(frozenset(), np.random.default_rng(seed)) for seed in range(50)}
    again = {made_up_word(frozenset(seen), np.random.default_rng(seed)) for seed in range(50)}
    assert not seen & again


def test_texts_of_a_model(checkpoint: Checkpoint, simulated: HeldOut) -> None:
    study = text_study(checkpoint, simulated.studies, n_resamples=20)
    sizes = {r.task: r.estimate.n_items for r in study.results}
    assert sizes["vague more uncertain than specific"] == len(PAIRS)
    # Half of the texts are one sentence only, and no part of themselves.
    assert sizes["one sentence more uncertain than its report"] == len(TEXTS) // 2
    assert sizes["100% of the words made up: more uncertain"] == len(TEXTS)
    assert all(0 <= r.estimate.value <= 1 for r in study.results if r.metric == "share")


def test_lead_sets_shrink() -> None:
    sizes = [len(leads) for leads in LEAD_SETS.values()]
    assert sizes == [12, 8, 6, 3, 2, 1]
    assert lead_mask(("II", "V6")).nonzero()[0].tolist() == [LEADS.index("II"), LEADS.index("V6")]


def test_leads_are_taken_away(
    checkpoint: Checkpoint, simulated: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted:
        def __init__(self, uncertainty: np.ndarray) -> None:
            self.uncertainty = uncertainty

    def encode(_: object, __: object, signal: np.ndarray, valid: np.ndarray) -> Counted:
        assert not signal[~valid].any()
        # The first ECG forgets a lead that it lost; all others are unsure of what they lack.
        lacking = 12.0 - valid.any(axis=2).sum(axis=1)
        lacking[0] = min(lacking[0], 6.0)
        return Counted(1.0 + lacking)

    monkeypatch.setattr("echoing_core.evaluate.uncertainty.information.encode_batch", encode)
    study = missing_study(checkpoint, [simulated], n_resamples=20)
    figures = {(r.task, r.metric): r.estimate.value for r in study.results if r.model == "sigma^2"}
    n = len(TEXTS)
    assert figures["more at every step from 12 to 1", "share of ECGs"] == pytest.approx(1 - 1 / n)
    assert figures["1 lead (I): more than with 12", "share of ECGs"] == 1.0
    assert figures["1 lead (I): sigma^2 over that with 12", "median"] == 12.0
    assert figures["6 leads (limb): sigma^2 over that with 12", "lower quartile"] == 7.0


def test_a_section_says_the_same_in_json_and_markdown() -> None:
    estimate = Estimate(0.9, 0.8, 1.0, 40, 30, 100, 0, 0)
    undefined = Estimate(float("nan"), float("nan"), float("nan"), 40, 30, 100, 100, 0)
    results = (
        Result("data", "task", "AUROC", "sigma^2", estimate, False),
        Result("data", "task", "AUROC", "plain index", undefined, False),
        Result("data", "task", "gap", "sigma^2", estimate, False),
    )
    experiment = section("name", "Title", "How.", results, {"ECGs": 1200})
    assert [row["value"] for row in experiment.to_dict()["results"]] == [0.9, None, 0.9]
    lines = experiment.to_markdown().splitlines()
    assert lines[0] == "## Title"
    assert "Counts: ECGs 1,200." in lines
    assert "| data | task | AUROC | 0.900 (0.800 to 1.000) | not defined | 40 (30) |" in lines
    assert "| data | task | gap | 0.900 (0.800 to 1.000) |  | 40 (30) |" in lines


def test_scores_are_measured_on_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    results = measure_scores(
        ("data", "task", "mean"),
        lambda given, score: float((given + score).mean()),
        {"a": values, "b": values + 1.0},
        np.arange(60) // 2,
        given=(np.zeros(60),),
        simulated=True,
        n_resamples=50,
    )
    first, second = (result.estimate for result in results)
    assert second.low - first.low == pytest.approx(1.0)
    assert (first.n_items, first.n_patients) == (60, 30)
