"""The card says what the training record and the results say, and nothing else."""

from __future__ import annotations

from typing import Any

from echoing_core.config import to_mapping
from echoing_core.evaluate.shipped.card import encoders_side_by_side, write_card
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.results import Result
from echoing_core.training.settings import demo_recipe


def _estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.1, value + 0.1, 40, 30, 1000, 0, 0, 0.95)


RESULTS = [
    Result("test patients", "AF", "AUROC", "demo", _estimate(0.9), True),
    Result("test patients", "AF", "AUROC", "random weights", _estimate(0.5), True),
    Result("test patients", "LBBB", "AUROC", "demo", _estimate(float("nan")), True),
]


def _training(real: int) -> dict[str, Any]:
    return {
        "simulated_ecgs": 12_345,
        "simulated_patients": 9_000,
        "real_ecgs": real,
        "real_patients": real,
        "real_source": "PTB-XL folds 1-8" if real else None,
        "ecg_parameters": 2_000_000,
        "text_parameters": 500_000,
        "config": to_mapping(demo_recipe()),
    }


def test_encoders_stand_side_by_side() -> None:
    rows = encoders_side_by_side(RESULTS, "demo").splitlines()
    assert rows[0] == "| Data | Task | Metric | demo | random weights | ECGs (patients) |"
    assert rows[2] == (
        "| test patients | AF | AUROC | 0.900 (0.800 to 1.000) | 0.500 (0.400 to 0.600) | 40 (30) |"
    )
    assert rows[3].split(" | ")[3:5] == ["not defined", "not defined"]
    assert len(rows) == 4


def test_card_with_real_ecgs_names_and_credits_them() -> None:
    card = write_card("demo", "f" * 64, _training(1_499), "the cohort", RESULTS)
    assert "1,499 **real** ECGs" in card
    assert "The weights were trained on it." in card
    assert "12,345 **simulated**" in card
    assert '"partial_report_share": 0.25' in card


def test_card_without_real_ecgs_says_so() -> None:
    card = write_card("demo", "f" * 64, _training(0), "the cohort", [])
    assert "No real ECG was used" in card
    assert "The weights were trained on it." not in card
    assert "Not evaluated yet" in card


def test_card_names_what_was_taught_and_borrowed() -> None:
    training = {**_training(2_500), "questions": ["lbbb", "normal"], "borrowed_ecgs": 1_174}
    card = write_card("demo", "f" * 64, training, "the cohort", [])
    assert "answers to 2 questions, too (lbbb, normal)" in card
    assert "1,174 were known without their millivolts" in card
    assert "not zero-shot" in card
    assert "not zero-shot" not in write_card("demo", "f" * 64, _training(9), "the cohort", [])


def test_card_says_what_answers_were_worth_with_twelve_leads() -> None:
    worth = {
        "n": 245, "n_positive": 40, "auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.94,
        "yes_n": 20, "yes_right": 17, "no_n": 150, "no_right": 148,
    }  # fmt: skip
    calibration = {
        "fitted_on": "173 real ECGs of PTB-XL fold 8",
        "measured_on": "245 real ECGs of PTB-XL fold 9",
        "questions": [
            {
                "question": "Myocardial infarction",
                "lead_sets": [
                    {"leads": "12", "worth": worth},
                    {"leads": "I", "worth": {**worth, "auroc": 0.6}},
                ],
            },
            {"question": "Never measured", "lead_sets": [{"leads": "12", "worth": None}]},
        ],
    }
    card = write_card("demo", "f" * 64, _training(9), "the cohort", [], calibration)
    row = next(line for line in card.splitlines() if line.startswith("| Myocardial"))
    assert row == (
        "| Myocardial infarction | 40 of 245 | 0.900 (0.850 to 0.940) | 17 of 20 | 148 of 150 |"
    )
    assert "0.600" not in card and "Never measured" not in card
    assert "validated on nobody" in card
    assert "Not calibrated" in write_card("demo", "f" * 64, _training(9), "the cohort", [])
