"""Answers in words: what may be said as a probability, and what may not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from echoing_core.export.wording import answer_line, answer_values, percent_words
from echoing_core.records import Answer, AnswerWorth

WORTH = AnswerWorth(
    n=245, n_positive=55, auroc=0.843, auroc_low=0.78, auroc_high=0.9, yes_n=31, yes_right=25,
    no_n=120, no_right=112,
)  # fmt: skip
SURE = Answer(
    "MI", 0.83, (0.61, 0.94), 0.2, 0.01, 1.0, "yes", ("a",), ("b",), basis="calibrated",
    score=0.99, p_wrong=0.17, base_rate=0.18, worth=WORTH, worth_leads="two leads: II and V5",
    percentile=46.2,
)  # fmt: skip


def test_a_calibrated_answer_says_what_it_was_worth() -> None:
    line = answer_line(SURE)
    assert line.answer == "yes" and line.probability == "83 % (61–94 %)"
    assert line.p_wrong == "17 %"
    assert line.worth == (
        "of 31 such “yes” 25 were right; AUROC 0.84 (0.78–0.90) on 245 real ECGs, 55 with it, "
        "two leads: II and V5; prevalence 18 %, as in the calibration"
    )
    assert line.uncertainty == "percentile 46 among recordings with these leads"
    assert line.text.startswith("MI: yes; 83 % (90 % interval 61–94 %); P(wrong) 17 %; of 31 such")
    assert line.text.endswith(f"{line.uncertainty}.")
    set_by_user = replace(SURE, verdict="no", prevalence_given=True)
    assert "of 120 such “no” 112 were right" in answer_line(set_by_user).worth
    assert "as you set it" in answer_line(set_by_user).worth


def test_an_answer_that_is_not_given_says_why_and_counts_no_yes() -> None:
    line = answer_line(replace(SURE, verdict="not sure enough", reasons=("it rains", "it pours")))
    assert line.answer == "not sure enough: it rains and it pours"
    assert "such “" not in line.worth and "AUROC 0.84" in line.worth


@pytest.mark.parametrize(
    ("basis", "verdict", "note"),
    [
        ("simulated", "leans yes (unvalidated)", "learnt from simulation, validated on nobody"),
        ("uncalibrated", "leans no (not calibrated)", "not calibrated: a score, not a probability"),
        ("simulated", "not sure enough", "learnt from simulation, validated on nobody"),
    ],
)
def test_what_nobody_validated_is_no_probability_and_no_bare_yes(
    basis: str, verdict: str, note: str
) -> None:
    said = replace(
        SURE, verdict=verdict, basis=basis, p_wrong=None, worth=None, base_rate=None, score=0.83
    )
    line = answer_line(said)
    assert note in line.answer and line.answer != "yes"
    assert line.probability == "score 83 of 100, no probability"
    assert "%" not in line.answer + line.probability and line.p_wrong == "not known"
    assert line.text.count(note) == 1


def test_rounding_never_puts_a_probability_outside_its_interval() -> None:
    rng = np.random.default_rng(0)
    order = ["< 1 %", *(f"{n} %" for n in range(1, 100)), "> 99 %"]
    for _ in range(300):
        low, p, high = np.sort(rng.beta(0.4, 0.4, size=3))
        words = [order.index(percent_words(float(v))) for v in (low, p, high)]
        assert words == sorted(words)
        text = answer_line(replace(SURE, probability=float(p), interval=(float(low), float(high))))
        assert text.probability.startswith(percent_words(float(p)))


def test_json_has_the_old_keys_and_the_new_ones_and_no_nan() -> None:
    values = answer_values(replace(SURE, score=float("nan"), percentile=None))
    old = {
        "question", "probability", "interval", "margin", "margin_std", "p_margin_positive",
        "verdict", "positive_prompts", "negative_prompts", "unknown_words",
    }  # fmt: skip
    assert old < set(values) and values["basis"] == "calibrated"
    assert values["worth"]["yes_right"] == 25 and values["score"] is None
    json.dumps(values, allow_nan=False)
