"""Learning from the answers to questions: what is known, how it weighs, and that it is learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from echoing_core.config import to_mapping
from echoing_core.datasets.simulated import CohortConfig
from echoing_core.datasets.study_set import COLUMNS, StudySet
from echoing_core.errors import ConfigError
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.batches import Batches, Source
from echoing_core.training.demo import DemoData, Shares, train_demo
from echoing_core.training.questions import FINDING_LABELS, answers_of, questions_of
from echoing_core.training.settings import ObjectiveConfig, OptimiserConfig
from echoing_core.training.trainer import Trainer
from echoing_core.zeroshot.prompts import PromptSet
from tests import tiny_run
from tests.tiny_model import write_tiny_model

QUESTIONS = (
    PromptSet("slow", "Slow", ("sinus bradycardia", "long pause"), ("sinus tachycardia",), "slow"),
    PromptSet("normal", "Normal", ("normal ecg",), ("long pause", "sinus rhythm"), "normal"),
)


def _studies(n: int, **labels: list[float]) -> StudySet:
    rows = {name: [f"{name}{i}" for i in range(n)] for name in COLUMNS}
    rows["simulated"], rows["split"] = [True] * n, ["train"] * n
    table = pd.DataFrame({**rows, **{f"label_{k}": v for k, v in labels.items()}})
    signal = np.zeros((n, 12, 1000), np.float32)
    return StudySet(table, signal, np.ones(signal.shape, bool))


def _trainer(weight: float = 2.0, n_known: int = 48) -> Trainer:
    settings = tiny_run.config(
        objective=ObjectiveConfig(question_weight=weight, prompts_a_side=3), batch_size=12
    )
    torch.manual_seed(settings.seed)
    answers = np.full((48, 2), np.nan, np.float32)
    answers[:n_known, 0] = np.arange(n_known) % 4 == 0
    answers[:n_known, 1] = np.arange(n_known) % 2 == 0
    sources = [
        replace(tiny_run.source(48, share=0.5), answers=answers),
        tiny_run.source(48, "unlabelled", 0.5, seed=3),
    ]
    batches = Batches(
        sources,
        LeadScaler(np.zeros(12), np.full(12, 0.3)),
        train_tokenizer(tiny_run.texts() * 2, 80, 24),
        settings,
        questions=QUESTIONS,
    )
    return Trainer(DualEncoder(settings.model), batches, settings)


def test_the_term_is_the_weighted_cross_entropy_of_the_margins_one_by_one() -> None:
    trainer = _trainer()
    batch = trainer.batches.at(0).text
    assert batch is not None and batch.asked is not None
    trainer.encoder.eval()
    asked = batch.asked
    with torch.no_grad():
        mu, _ = trainer.encoder.ecg(batch.scaled, batch.valid)
        prompts, _ = trainer.encoder.text(asked.token_ids, asked.token_mask)
        term = float(trainer._questions_term(mu, asked))
    mu, prompts = mu.double().numpy(), prompts.double().numpy()
    scale = 2.0 * trainer.text_loss.scale.item()
    total = weights = 0.0
    for q in range(2):
        sides = []
        for side in range(2):
            first = (2 * q + side) * 3
            direction = prompts[first : first + 3].mean(0)
            sides.append(direction / np.linalg.norm(direction))
        for ecg, answer in zip(mu, asked.answers[:, q].tolist(), strict=True):
            if np.isnan(answer):
                continue
            logit = scale * ecg @ (sides[0] - sides[1])
            # A quarter of the known answers to the first question are yes, half to the second.
            share = (0.25, 0.5)[q]
            weight = 0.5 / share if answer else 0.5 / (1 - share)
            p = 1 / (1 + np.exp(-logit))
            total -= weight * np.log(p if answer else 1 - p)
            weights += weight
    assert term == pytest.approx(total / weights, abs=1e-5)


def test_an_ecg_of_which_nothing_is_known_weighs_nothing() -> None:
    trainer = _trainer(n_known=0)
    batch = trainer.batches.at(0).text
    assert batch is not None and batch.asked is not None
    assert torch.isnan(batch.asked.answers).all()
    mu, _ = trainer.encoder.ecg(batch.scaled, batch.valid)
    assert float(trainer._questions_term(mu, batch.asked).detach()) == 0.0


def test_without_weight_no_question_is_asked_and_the_loss_is_the_old_one() -> None:
    with_term, without = _trainer(2.0), _trainer(0.0)
    a, b = with_term.step([with_term.batches.at(0)]), without.step([without.batches.at(0)])
    assert without.batches.at(0).text.asked is None  # type: ignore[union-attr]
    assert "questions" not in b
    assert a["loss"] == pytest.approx(a["text"] + 2.0 * a["questions"], abs=1e-5)
    assert a["text"] == pytest.approx(b["text"], abs=1e-6)


def test_a_side_with_few_prompts_says_some_of_them_twice_and_draws_follow_the_number() -> None:
    batches = _trainer().batches
    one, again, other = (batches.at(k).text.asked for k in (0, 0, 1))  # type: ignore[union-attr]
    assert one is not None and again is not None and other is not None
    assert one.token_ids.shape[0] == len(QUESTIONS) * 2 * 3
    assert torch.equal(one.token_ids, again.token_ids)
    # The side with a single prompt: three times the same.
    single = one.token_ids[3:6]
    assert (single == single[0]).all()
    assert not torch.equal(one.token_ids[:3], other.token_ids[:3]) or not torch.equal(
        one.answers.nan_to_num(-1), other.answers.nan_to_num(-1)
    )


@pytest.mark.slow
def test_answers_are_learnt() -> None:
    """Frequency decides the answer: the term falls although the texts say nothing of it."""
    torch.manual_seed(0)
    settings = tiny_run.config(
        steps=24,
        batch_size=16,
        objective=ObjectiveConfig(question_weight=5.0),
        optimiser=OptimiserConfig(lr=1e-2, average_decay=0.9),
        views=replace(tiny_run.config().views, corrupt_share=0.0, lead_subset_share=0.0),
    )
    base = tiny_run.source(48)
    # Zero crossings of a sine count its frequency.
    rate = (np.diff(np.signbit(base.signal_mv[:, 0]), axis=1) != 0).sum(1)
    answers = (rate > np.median(rate)).astype(np.float32)[:, None]
    source = Source(base.name, base.signal_mv, base.valid, base.report, 1.0, answers)
    batches = Batches(
        [source],
        LeadScaler(np.zeros(12), np.full(12, 0.3)),
        train_tokenizer(tiny_run.texts() * 2, 80, 24),
        settings,
        questions=QUESTIONS[:1],
    )
    trainer = Trainer(DualEncoder(settings.model), batches, settings)
    terms = [trainer.step([batches.at(k)])["questions"] for k in range(24)]
    assert np.mean(terms[-6:]) < 0.6 * np.mean(terms[:6])


def test_answers_come_from_the_label_columns_and_are_unknown_without_one() -> None:
    studies = _studies(3, slow=[1.0, 0.0, float("nan")])
    np.testing.assert_array_equal(
        answers_of(studies, QUESTIONS), [[1, np.nan], [0, np.nan], [np.nan, np.nan]]
    )
    assert answers_of(studies, ()).shape == (3, 0)


def test_questions_that_no_set_can_teach_are_left_out() -> None:
    both = [1.0, 0.0] * 10
    studies = _studies(20, slow=both, normal=[1.0] * 20, rbbb=both)
    taught = questions_of(QUESTIONS, [studies])
    assert [q.label for q in taught] == ["slow", "rbbb"]
    assert FINDING_LABELS["rbbb"] == "rbbb"
    assert any("right bundle branch block" in text for text in taught[1].positive)


def test_shares_that_leave_no_simulated_ecgs_are_refused() -> None:
    assert Shares(0.3, 0.2).real == 0.3
    for real, borrowed in ((0.6, 0.4), (-0.1, 0.2), (0.9, 0.3)):
        with pytest.raises(ConfigError, match="simulated"):
            Shares(real, borrowed)


def test_a_model_of_other_folds_is_no_place_to_begin(tmp_path: Path) -> None:
    """One that has seen fold 8 would be calibrated on what it was trained on."""
    write_tiny_model(tmp_path / "tiny")
    tiny = load_checkpoint(tmp_path / "tiny")
    cohort, studies = CohortConfig(40, 3), _studies(2)
    other = replace(
        tiny, training={"cohort": to_mapping(cohort), "real_source": "PTB-XL folds 1-8"}
    )
    with pytest.raises(ConfigError, match="folds 1-8"):
        train_demo(
            tmp_path / "out", DemoData(studies, studies), tiny_run.config(), cohort=cohort,
            begin=other,
        )  # fmt: skip
