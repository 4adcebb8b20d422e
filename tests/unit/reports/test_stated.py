"""Reports and labels read into findings; every expectation is written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from echoing_core.reports.scp_text import SCP_FINDINGS
from echoing_core.reports.stated import finding_of_label, read_labels, read_report
from echoing_core.reports.understanding import AskedFinding
from echoing_core.reports.vocabulary import WORDING

NO = True


def said(report: str, finding: str, negated: bool = False) -> bool | None:
    return read_report(report).answers(AskedFinding(finding, negated))[0]


@pytest.mark.parametrize(
    ("report", "finding", "expected"),
    [
        ("sinus rhythm. old inferior infarct.", "mi_inferior", True),
        ("sinus rhythm. old inferior infarct.", "mi_lateral", None),
        ("sinus rhythm. old inferior infarct.", "infarction", True),
        ("myocardial infarction in the anterior and septal leads.", "mi_anteroseptal", True),
        ("no signs of atrial fibrillation or lbbb.", "atrial_fibrillation", False),
        ("no signs of atrial fibrillation or lbbb.", "lbbb", False),
        ("no bundle branch block. sinus rhythm.", "rbbb", False),
        ("sinus rhythm. left anterior hemiblock.", "atrial_fibrillation", False),
        ("sinus rhythm. normal ecg.", "lvh", False),
        ("sinus rhythm. normal ecg.", "sinus_bradycardia", None),
        ("rbbb.", "normal_ecg", False),
        ("vorhofflimmern. linksschenkelblock.", "lbbb", True),
        ("Sinusrhythmus, kein Hinweis auf Infarkt", "infarction", False),
        ("unvollständiger Rechtsschenkelblock", "irbbb", True),
        ("unvollständiger Rechtsschenkelblock", "rbbb", None),
        ("inferiorer Myokardschaden nicht auszuschliessen", "mi_inferior", None),
        ("echo: normal left ventricular size. ecg: atrial flutter.", "normal_ecg", False),
        ("normal left ventricular size.", "normal_ecg", None),
        ("af. lv not dilated.", "lv_dilated", False),
        ("sinus rhythm. lvef 25 %.", "lvef_reduced", True),
        ("sinus rhythm. severe lvh on echo.", "wall_severely_thick", True),
        ("a note about nothing of the kind", "lbbb", None),
        ("", "lbbb", None),
    ],
)
def test_a_report_says_yes_no_or_nothing(report: str, finding: str, expected: bool | None) -> None:
    assert said(report, finding) is expected
    # The denial of a finding is so where the finding is not.
    assert said(report, finding, NO) is (None if expected is None else not expected)


def test_denials_and_doubts_of_reports_are_read_as_written_by_hand() -> None:
    path = Path(__file__).resolve().parents[2] / "questions" / "reports.yaml"
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    read = [(report, {name: said(report, name) for name in so}) for report, so in rows]
    assert read == [(report, so) for report, so in rows] and len(rows) == 34


@pytest.mark.parametrize(
    ("report", "limit_pct", "expected"),
    [
        ("lvef 25 %.", 35.0, True),
        ("lvef 40 %.", 40.0, False),
        ("moderately reduced ejection fraction.", 40.0, True),
        ("moderately reduced ejection fraction.", 35.0, None),
        ("normal ef.", 40.0, False),
        ("sinus rhythm.", 40.0, None),
    ],
)
def test_ejection_fractions_are_held_against_the_limit_asked(
    report: str, limit_pct: float, expected: bool | None
) -> None:
    asked = AskedFinding("lvef_below", threshold_pct=limit_pct)
    assert read_report(report).answers(asked)[0] is expected


def test_the_words_that_say_so_are_told() -> None:
    stated = read_report("sinus rhythm. old inferior infarct, age undetermined. no lbbb")
    assert (
        stated.answers(AskedFinding("mi_inferior"))[1] == "old inferior infarct, age undetermined"
    )
    assert stated.answers(AskedFinding("lbbb", NO))[1] == "no lbbb"
    assert stated.answers(AskedFinding("atrial_flutter", NO))[1] == "sinus rhythm"


def test_every_wording_of_the_common_findings_is_read_as_the_finding() -> None:
    """The reports that ship are made of these phrases; 2 of some 200 are read as something else."""
    codes = "AFIB AFLT CLBBB CRBBB IRBBB LAFB IMI ASMI AMI ILMI SBRAD STACH PVC PAC 1AVB LVH STD_"
    wrong = []
    for code in f"{codes} PACE NORM WPW".split():
        finding = SCP_FINDINGS[code]
        wrong += [t for t in WORDING[finding].free if said(f"{t}.", finding) is not True]
    assert len(wrong) <= 2, wrong


def test_labels_say_what_they_are_about() -> None:
    labels = {"af": True, "lbbb": 0.0, "mi": float("nan"), "lvef_pct": 31.0, "age_years": 1.0}
    stated = read_labels(labels)
    assert stated.answers(AskedFinding("atrial_fibrillation"))[0] is True
    assert stated.answers(AskedFinding("lbbb"))[0] is False
    assert stated.answers(AskedFinding("infarction"))[0] is None
    assert stated.answers(AskedFinding("lvef_below", threshold_pct=35.0))[0] is True
    assert stated.answers(AskedFinding("lbbb"))[1] == "label lbbb: no"
    names = {"AFIB": "atrial_fibrillation", "paced": "paced_rhythm", "age_years": None, "HYP": None}
    assert {name: finding_of_label(name) for name in names} == names


def test_a_normal_detail_of_a_report_is_no_normal_ecg() -> None:
    for report, normal in (
        ("atrial flutter. normal axis.", False),
        ("sinus rhythm. left anterior fascicular block. pr interval is normal.", False),
        ("lagetyp normal", None),
        ("p wave axis is abnormal", False),
        ("sinusrhythmus lagetyp normal normales ekg", True),
        ("sinusrhythmus lagetyp normal", None),
        ("lagetyp normal normales ekg", True),
        ("low voltage normales ekg", None),
    ):
        assert read_report(report).answers(AskedFinding("normal_ecg"))[0] is normal, report
    stated = read_report("vorhofflimmern/-flattern lagetyp normal")
    assert set(stated.present) == {"atrial_fibrillation"}
    assert stated.answers(AskedFinding("left_axis"))[0] is False
