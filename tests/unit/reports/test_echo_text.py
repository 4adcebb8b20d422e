"""LVEF and findings out of report text; the sentences with their truth are in a CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.errors import DataSetError
from echoing_core.evaluate.echo_text import (
    TrueSentence,
    read_sentences,
    readings_of,
    score_echo_text,
)
from echoing_core.reports.echo_text.findings import FINDINGS
from echoing_core.reports.echo_text.reading import echo_findings
from echoing_core.reports.echo_text.sentences import number_of, sentences
from echoing_core.simulate.heart.sampling import sample_heart_state
from echoing_core.simulate.reports import echo_report, echo_sentences

SENTENCES = Path(__file__).resolve().parents[2] / "data_trees" / "echo_sentences.csv"


@pytest.fixture(scope="module")
def known() -> tuple[TrueSentence, ...]:
    return read_sentences(SENTENCES)


def test_there_are_300_sentences_and_none_twice(known: tuple[TrueSentence, ...]) -> None:
    assert len(known) >= 300
    assert len({one.text for one in known}) == len(known)


@pytest.mark.parametrize("half", ["developed", "held out", "held out later"])
def test_precision_and_recall_do_not_fall(known: tuple[TrueSentence, ...], half: str) -> None:
    together = score_echo_text(known, half).scores[-1]
    assert together.kind == "all"
    assert together.precision is not None
    assert together.recall is not None
    assert min(together.precision, together.recall) >= 0.98


def test_what_was_found_names_its_place_in_the_text() -> None:
    text = "Technically limited.\nThe LVEF is 55–60 % (previously 30 %). Moderate MR."
    found = echo_findings(text)
    assert found.lvef is not None
    assert text[found.lvef.start : found.lvef.end] == found.lvef.text == "LVEF is 55–60 %"
    assert (found.lvef_pct, found.lvef.kind) == (57.5, "range")
    assert (found.lvef.low_pct, found.lvef.high_pct) == (55.0, 60.0)
    assert found.lvef_past is not None
    assert found.lvef_past.pct == 30.0
    regurgitation = found.findings["mitral_regurgitation"]
    assert text[regurgitation.start : regurgitation.end] == regurgitation.text == "MR"
    assert regurgitation.present


@pytest.mark.parametrize(
    ("text", "below_40"),
    [
        ("LVEF 39%", True),
        ("LVEF 40%", False),
        ("LVEF 35-45%", False),
        ("LVEF 35-40%", True),
        ("LVEF > 55%", False),
        ("LVEF > 30%", None),
        ("LVEF < 20%", True),
        ("LVEF < 50%", None),
        ("LV function is severely reduced", True),
        ("LV function is moderately reduced", True),
        ("LV function is mildly to moderately reduced", None),
        ("LV function is mildly reduced", False),
        ("LV function is reduced", None),
        ("Normal sinus rhythm", None),
    ],
)
def test_below_40_is_said_only_where_the_text_decides_it(text: str, below_40: bool | None) -> None:
    assert echo_findings(text).lvef_below(40.0) is below_40


def test_right_ventricle_is_never_taken_for_the_left() -> None:
    for text in ("RVEF 35%", "RV ejection fraction 35 %", "Right ventricular function is reduced"):
        assert echo_findings(text).lvef is None


def test_worst_statement_counts_and_what_is_not_told_is_not_there() -> None:
    found = echo_findings("Trace TR. Moderate to severe TR. No TR at rest.")
    assert found.grade("tricuspid_regurgitation") == "moderate to severe"
    assert found.grade("aortic_stenosis") is None
    with pytest.raises(KeyError):
        found.grade("lvef")


def test_nothing_in_nothing() -> None:
    for text in ("", " \n\n ", "....", "EF", "%", "İ ẞ EF 55%"[:3]):
        found = echo_findings(text)
        assert found.lvef is None
        assert not found.findings


def test_place_is_right_where_small_letters_are_longer() -> None:
    text = "İİİ. LVEF 35%."
    found = echo_findings(text).lvef
    assert found is not None
    assert found.text == text[found.start : found.end] == "LVEF 35%"


def test_lines_wrapped_within_a_sentence_are_joined_and_items_are_not() -> None:
    assert len(list(sentences("The left ventricular\nejection fraction is 55%."))) == 1
    assert len(list(sentences("Mild MR\nNo AS\nLVEF 0.55"))) == 3


def test_numbers() -> None:
    assert [number_of(text) for text in ("52,5", ".35", "fifty-five", "thirty", "60")] == [
        52.5,
        0.35,
        55.0,
        30.0,
        60.0,
    ]


def test_reports_of_simulated_hearts_are_read_back() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        state = sample_heart_state(rng)
        told = " ".join(echo_sentences(state, np.random.default_rng(seed)))
        found = echo_findings(told)
        assert found.lvef_pct is not None
        assert abs(found.lvef_pct - state.lvef_pct) < 15
        assert found.measures["lvedd_mm"] == round(state.lvedd_mm)
        severe = found.grade("lv_hypertrophy") == "severe"
        assert severe == (state.wall_mm >= 15.0)
        assert echo_findings(echo_report(state, rng)).lvef is not None


def test_long_text_without_end_is_read_in_time() -> None:
    for piece in ("mild ", "no ", "ejection ", "55 to ", "left ventricular ", "(", "is "):
        echo_findings(piece * 4000)


def test_score_counts_a_wrong_value_twice() -> None:
    report = score_echo_text([TrueSentence("h", "LVEF 55%", {"lvef_number": "50"})], "h")
    (score, _) = report.scores
    assert (score.right, score.wrong, score.missed) == (0, 1, 1)
    assert report.failures == (("LVEF 55%", "lvef number 50", "lvef number 55"),)
    assert "50" in report.to_markdown()


def test_what_is_said_uses_only_known_kinds() -> None:
    assert set(readings_of(echo_findings("Mild MR. EF 30-35%. FS 20%."))) == {
        "mitral_regurgitation",
        "lvef_range",
        "fractional_shortening_pct",
    }
    assert len(set(FINDINGS)) == len(FINDINGS)


def test_command_and_its_refusals(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(app, ["evaluate", "echo-text", str(SENTENCES), "--half", "developed"])
    assert done.exit_code == 0
    assert "| all |" in done.stdout
    assert run.invoke(app, ["evaluate", "echo-text", str(SENTENCES), "--half", "x"]).exit_code == 2
    path = tmp_path / "s.csv"
    path.write_text("half,text\na,b\n")
    with pytest.raises(DataSetError, match="truth"):
        read_sentences(path)
    path.write_text("half,text,truth\na,b,mood=good\n")
    with pytest.raises(DataSetError, match="mood"):
        read_sentences(path)
