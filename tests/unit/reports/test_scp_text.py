"""SCP statements as English texts and superclasses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from echoing_core.reports.scp_text import (
    SCP_FINDINGS,
    SUPERCLASS_CODES,
    report_from_scp,
    superclasses_of_codes,
)
from echoing_core.reports.vocabulary import FINDINGS


def test_all_71_codes_have_a_finding() -> None:
    assert len(SCP_FINDINGS) == 71
    assert set(SCP_FINDINGS.values()) <= set(FINDINGS)
    assert len(set(SCP_FINDINGS.values())) == 71


def test_codes_and_classes_are_those_of_the_published_file(shared_data: Path) -> None:
    with (shared_data / "ptbxl" / "scp_statements.csv").open(encoding="utf-8") as file:
        rows = {row[""]: row["diagnostic_class"] for row in csv.DictReader(file)}
    assert set(rows) == set(SCP_FINDINGS)
    for code, name in rows.items():
        assert superclasses_of_codes({code: 0.0}) == ((name,) if name else ())


def test_any_likelihood_counts_for_the_superclass() -> None:
    codes = {"IMI": 15.0, "CLBBB": 0.0, "SR": 0.0, "VCLVH": 100.0}
    assert superclasses_of_codes(codes) == ("MI", "CD")
    assert sum(len(codes) for codes in SUPERCLASS_CODES.values()) == 44


def test_machine_text() -> None:
    rng = np.random.default_rng(0)
    text = report_from_scp({"CLBBB": 100.0, "SR": 0.0}, "LAD", rng, style="machine")
    assert text == "sinus rhythm. left bundle branch block. left axis deviation. abnormal ecg."
    text = report_from_scp({"NORM": 100.0, "SR": 0.0}, None, rng, style="machine")
    assert text == "sinus rhythm. normal ecg."
    assert report_from_scp({"SR": 0.0}, None, rng, style="machine") == "sinus rhythm."


def test_missing_axis_is_left_unsaid() -> None:
    rng = np.random.default_rng(0)
    text = report_from_scp({"SR": 0.0}, float("nan"), rng, style="machine")  # type: ignore[arg-type]
    assert text == "sinus rhythm."


def test_free_texts_vary_and_never_deny_what_is_there() -> None:
    rng = np.random.default_rng(1)
    codes = {"AFIB": 0.0, "VCLVH": 0.0, "LVH": 35.0}
    texts = [report_from_scp(codes, "MID", rng, style="free") for _ in range(500)]
    assert len(set(texts)) > 20
    denied = [text for text in texts if "no " in text or "without" in text or "not seen" in text]
    assert 0.15 < len(denied) / len(texts) < 0.45
    for text in denied:
        for negation in ("no ", "no evidence of ", "no signs of ", "without "):
            for finding in ("af.", "afib", "atrial fibrillation", "lvh", "left ventricular"):
                assert f"{negation}{finding}" not in text
    assert 0 < sum("possible" in text for text in texts) < len(texts)


def test_unknown_code_and_no_code_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="XYZ"):
        report_from_scp({"XYZ": 100.0}, None, rng, style="free")
    with pytest.raises(ValueError, match="no SCP codes"):
        report_from_scp({}, None, rng, style="free")
