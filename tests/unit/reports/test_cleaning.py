"""Machine statements joined and cleaned, and free text before them."""

from __future__ import annotations

import math

import pytest

from echoing_core.reports.cleaning import (
    Report,
    clean_note,
    clean_statement,
    is_about_quality,
    machine_report,
    report_of,
)


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        ("Sinus rhythm", "Sinus rhythm"),
        ("*** CONSIDER ACUTE STEMI ***", "CONSIDER ACUTE STEMI"),
        (" - Borderline ST elevation, consider early repolarization", None),
        ("Left axis deviation.", "Left axis deviation"),
        ("Warning: Prolonged QTc interval", "Prolonged QTc interval"),
        ("*** report made without knowing patient's sex ***", ""),
        ("*** report made without knowing patient's age/sex ***", ""),
        ("--- Warning: Data quality may affect interpretation ---", ""),
        ("Warning: machine interpretation not available", ""),
        ("Age not entered, assumed to be 50 years old for purpose of ECG interpretation", ""),
        ("Confirmed by ___", ""),
        ("Unconfirmed report", ""),
        ("Electronically signed by Dr. ___, M.D.", ""),
        ("Summary:", ""),
        ("---", ""),
        ("", ""),
        (math.nan, ""),
        ("All 12 leads are missing", ""),
        ("Sinus rhythm with artifact", "Sinus rhythm with artifact"),
        ("Baseline wander in lead(s) V1", ""),
        ("Since last ECG of ___ rate has slowed", "Since last ECG rate has slowed"),
        ("Abnormal ECG", "Abnormal ECG"),
    ],
)
def test_statements(statement: object, left: str | None) -> None:
    expected = str(statement).lstrip(" -") if left is None else left
    assert clean_statement(statement) == expected


def test_statements_are_joined_in_order_and_each_once() -> None:
    said = ["Sinus rhythm", "sinus rhythm.", math.nan, "", "*** ACUTE MI ***", "Sinus rhythm"]
    assert machine_report(said) == "Sinus rhythm. ACUTE MI."
    assert machine_report([]) == ""
    assert machine_report(["*** report made without knowing patient's sex ***"]) == ""


def test_words_about_the_recording() -> None:
    assert is_about_quality("--- Warning: Data quality may affect interpretation ---")
    assert is_about_quality("Sinus rhythm with artifact")
    assert is_about_quality("Lead(s) V3 unsuitable for analysis")
    assert not is_about_quality("Left bundle branch block")
    assert not is_about_quality("Leftward axis")


def test_free_text_loses_what_de_identification_left() -> None:
    note = (
        "Sinus rhythm.  Compared to the previous tracing of ___\n\nno change. TRACING #2\n"
        "Read by Dr. ___, M.D. at the bedside.\nConfirmed by ___\n____\n"
    )
    assert clean_note(note) == (
        "Sinus rhythm. Compared to the previous tracing no change. TRACING #2 Read at the bedside."
    )
    assert clean_note("Compared with [**2150-3-2**] no change.") == "Compared with no change."
    assert clean_note("\ufffdSinus rhythm") == "Sinus rhythm"
    for nothing in (None, math.nan, "", "___ ___\n", "Confirmed by Dr. ___"):
        assert clean_note(nothing) == ""


def test_free_text_goes_first() -> None:
    assert report_of("Sinus rhythm.", "Normal ECG.") == Report("Sinus rhythm.", "note")
    assert report_of("___", "Normal ECG.") == Report("Normal ECG.", "machine")
    assert report_of(None, "") == Report("", "")
