"""ECHO-CLIP's zero-shot readings, worked by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from echoing_core.echo.measuring import (
    BINARY_PROMPTS,
    EF_TEMPLATES,
    binary_reading,
    filled,
    regression_reading,
)
from echoing_core.reports.echo_text.writing import EF_SENTENCES
from echoing_core.simulate.ecg.reading import true_labels
from echoing_core.simulate.heart.patients import patient_state
from echoing_core.simulate.reports import READER_SD_POINTS, echo_report, echo_sentences


def test_candidates_are_both_templates_with_every_value() -> None:
    texts, values = filled()
    assert len(texts) == len(values) == 202
    assert texts[45] == "THE LEFT VENTRICULAR EJECTION FRACTION IS ESTIMATED TO BE 45% "
    assert texts[101] == "LV EJECTION FRACTION IS 0%. "
    assert values[45] == values[146] == 45


def test_regression_by_hand() -> None:
    values = np.arange(10.0) * 10  # 0, 10, ... 90: the top 20 % are two ranks
    first = [0.0, 0.1, 0.2, 0.9, 0.8, 0.3, 0.0, 0.0, 0.0, 0.0]  # ranks say 30, 40, ...
    second = [0.0, 0.1, 0.2, 0.3, 0.4, 0.9, 0.8, 0.0, 0.0, 0.0]  # ranks say 50, 60, ...
    # Rank 1: (30 + 50) / 2 = 40; rank 2: (40 + 60) / 2 = 50; their median is 45.
    assert regression_reading([first, second], values) == 45.0
    assert regression_reading([first], values) == 35.0


def test_regression_takes_at_least_one_rank_and_keeps_order_in_ties() -> None:
    assert regression_reading([[0.5, 0.5, 0.1]], [7.0, 8.0, 9.0]) == 7.0


def test_binary_by_hand() -> None:
    assert binary_reading([[0.1, 0.3], [0.5, 0.7]]) == pytest.approx(0.4)


@pytest.mark.parametrize("bad", [[], [[]], [0.1, 0.2], [[np.nan, 0.1]]])
def test_what_is_no_similarity_is_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="similarity"):
        binary_reading(bad)


def test_values_must_fit() -> None:
    with pytest.raises(ValueError, match="values"):
        regression_reading([[0.1, 0.2]], [1.0])


def test_reports_say_what_the_heart_is() -> None:
    for patient in range(60):
        state = patient_state(3, patient)
        rng = np.random.default_rng(patient)
        told = "".join(echo_sentences(state, rng))
        truth = true_labels(state, ())
        read_pct = int(re.findall(r"(\d+)%", told)[0])
        assert abs(read_pct - state.lvef_pct) < 5 * READER_SD_POINTS
        severe_wall = "SEVERE CONCENTRIC" in told or "THICKNESS IS SEVERELY" in told
        assert severe_wall == truth["slvh"]
        dilated = "VENTRICLE IS DILATED" in told or "SIZE IS INCREASED" in told
        assert dilated == truth["dlv"]
        assert told == told.upper()


def test_a_report_of_some_sentences_is_part_of_the_whole_and_repeats_with_its_rng() -> None:
    state = patient_state(3, 1)
    short = echo_report(state, np.random.default_rng(4), n_sentences=2)
    assert short == echo_report(state, np.random.default_rng(4), n_sentences=2)
    assert short.count(". ") == 2
    assert echo_report(state, np.random.default_rng(4)).count(". ") == 6


def test_prompts_and_reports_speak_alike() -> None:
    assert [t.split("<#>")[0] for t in EF_TEMPLATES] == [s.split("{}")[0] for s in EF_SENTENCES]
    assert set(BINARY_PROMPTS) == {"lvef_lt40", "slvh", "dlv"}
