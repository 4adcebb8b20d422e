"""Report wording."""

from __future__ import annotations

import re

import numpy as np
import pytest

from echoing_core.reports.composing import N_WRITERS, compose_report
from echoing_core.reports.vocabulary import (
    FINDINGS,
    SUPERCLASS_WORDS,
    WORDING,
    lvef_grade,
    superclasses_of,
)


def texts(findings: list[str], n: int = 400, **kwargs: object) -> set[str]:
    rng = np.random.default_rng(3)
    return {compose_report(findings, rng, style="free", **kwargs) for _ in range(n)}  # type: ignore[arg-type]


def test_machine_wording_is_fixed_and_ordered() -> None:
    findings = ["abnormal_ecg", "lbbb", "sinus_rhythm"]
    text = compose_report(findings, np.random.default_rng(0), style="machine")
    assert text == "sinus rhythm. left bundle branch block. abnormal ecg."
    assert text == compose_report(findings[::-1], np.random.default_rng(9), style="machine")


def test_machine_states_no_number_and_no_negation() -> None:
    text = compose_report(
        ["sinus_rhythm", "lvef_severely_reduced"],
        np.random.default_rng(0),
        style="machine",
        absent=["lvh"],
        lvef_pct=24.0,
        heart_rate_bpm=71,
    )
    assert not re.search(r"\d", text)
    assert "hypertrophy" not in text


def test_free_texts_of_one_finding_set_are_many_but_not_endless() -> None:
    found = texts(["atrial_fibrillation", "mi_inferior", "lvh", "abnormal_ecg"])
    assert 10 <= len(found) <= N_WRITERS
    assert len(texts(["normal_ecg", "sinus_rhythm"])) >= 10


def test_every_phrase_of_every_finding_is_used() -> None:
    for key, wording in WORDING.items():
        joined = "\n".join(texts([key]))
        unused = [phrase for phrase in wording.free if phrase not in joined]
        assert not unused, key


@pytest.mark.parametrize("key", ["atrial_fibrillation", "lbbb", "rbbb", "lvh", "sinus_rhythm"])
def test_common_findings_have_five_synonyms_and_an_abbreviation(key: str) -> None:
    assert len(set(WORDING[key].free)) >= 5
    assert any(len(phrase) <= 5 for phrase in WORDING[key].free)


def test_negations_name_what_is_absent_and_keep_it_apart() -> None:
    for text in texts(["sinus_rhythm"], absent=["atrial_fibrillation", "lvh"]):
        assert re.search(r"\b(no|without|not)\b", text)
        present = re.split(r"\b(?:no|without)\b|[^.]*not seen", text)[0]
        assert "fib" not in present
        assert "hypertrophy" not in present


def test_negated_phrases_stand_after_no() -> None:
    for text in texts(["normal_ecg"], absent=list(FINDINGS)):
        assert " no rhythm is" not in text
        assert "no signs of signs of" not in text


@pytest.mark.parametrize(("lvef_pct", "below"), [(38.9, True), (12.0, True), (40.0, False)])
def test_lvef_numbers_never_cross_forty(lvef_pct: float, below: bool) -> None:
    found = texts(["sinus_rhythm"], lvef_pct=lvef_pct)
    for text in found:
        assert ("less than 40 %" in text) <= below
        assert ("40 % or more" in text) <= (not below)
        for number in re.findall(r"(?:lvef|is|ef) (\d+) ?%", text):
            assert (int(number) < 40) == below
    assert any("less than" in text for text in found) == below


@pytest.mark.parametrize(
    ("lvef_pct", "grade"),
    [
        (62, "lvef_normal"),
        (50, "lvef_normal"),
        (49, "lvef_mildly_reduced"),
        (40, "lvef_moderately_reduced"),
        (30, "lvef_moderately_reduced"),
        (29.9, "lvef_severely_reduced"),
    ],
)
def test_lvef_grades(lvef_pct: float, grade: str) -> None:
    assert lvef_grade(lvef_pct) == grade


def test_lvef_must_be_a_number() -> None:
    with pytest.raises(ValueError, match="LVEF"):
        lvef_grade(float("nan"))


def test_heart_rate_and_doubt_and_class_words_appear_in_some_texts() -> None:
    found = texts(["sinus_rhythm", "mi_inferior"], heart_rate_bpm=73, doubtful=["mi_inferior"])
    assert 0 < sum("73 bpm" in text for text in found) < len(found)
    assert 0 < sum("possible" in text for text in found) < len(found)
    impressions = texts(["sinus_rhythm", "lbbb"])
    assert any("impression: conduction" in text for text in impressions)


def test_superclasses_in_their_order() -> None:
    assert superclasses_of(["lvh", "lbbb", "sinus_rhythm", "mi_lateral"]) == ("MI", "CD", "HYP")
    assert set(SUPERCLASS_WORDS) == {w.superclass for w in WORDING.values()} - {None}


def test_unknown_finding_and_style_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="lbbbb"):
        compose_report(["lbbbb"], rng, style="free")
    with pytest.raises(ValueError, match="style"):
        compose_report(["lbbb"], rng, style="telegram")
