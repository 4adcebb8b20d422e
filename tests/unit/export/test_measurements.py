"""Measurements as JSON, CSV and tables: each value with its unit, or its reason."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from echoing_core.export.measurements import (
    measured_csv,
    measured_markdown,
    measured_rows,
    measured_values,
    serial_markdown,
    serial_values,
    value_words,
)
from echoing_core.measure import Measured, compare_measured, measure
from echoing_core.records import Annotations
from tests.unit.measure.made import Heart, made


@pytest.fixture(scope="module")
def found() -> Measured:
    ecg = made(Heart(p_mv=0.0), (800.0,) * 6, leads=("I", "II", "V1"))
    stated = Annotations(measurements={"qt_ms": 402.0, "qtc_ms": 449.0})
    return measure(replace(ecg, annotations=stated))


def test_json_has_a_value_or_a_reason(found: Measured) -> None:
    values = json.loads(json.dumps(measured_values(found)))
    qt = values["values"]["qt_ms"]
    assert qt["value"] == pytest.approx(400.0, abs=18.0)
    assert qt["unit"] == "ms"
    assert qt["beats"] >= 3
    assert values["values"]["pr_ms"]["value"] is None
    assert "no P wave" in values["values"]["pr_ms"]["why_not"]
    assert values["device"] == {"qt_ms": 402.0, "qtc_ms": 449.0}
    assert values["marks_ms"]["together"]["p_onset"] is None
    assert values["marks_ms"]["V1"]["qrs_onset"] < values["marks_ms"]["V1"]["qrs_offset"]
    assert values["by_lead"]["V1"]["s_mv"]["value"] == pytest.approx(0.72, abs=0.04)


def test_the_device_stands_beside_ours(found: Measured) -> None:
    by = {row[0]: row for row in measured_rows(found)}
    assert by["QT interval"][3] == "402 ms"
    # Which formula the device corrects by it does not say, so it stands beside none of ours.
    assert by["QT corrected by the device"][3] == "449 ms"
    assert by["QTc, Bazett"][3] == ""
    assert by["PR interval"][1] == "–"
    assert by["PR interval"][4].startswith("not measurable: no P wave")


def test_csv_has_a_row_a_measurement(found: Measured) -> None:
    rows = list(csv.DictReader(io.StringIO(measured_csv([found, found]))))
    assert len(rows) == 2 * (len(found.values) + len(found.by_lead))
    qt = next(row for row in rows if row["name"] == "qt_ms" and not row["lead"])
    assert qt["device"] == "402.0"
    pr = next(row for row in rows if row["name"] == "pr_ms" and not row["lead"])
    assert pr["value"] == ""
    assert "no P wave" in pr["note"]


def test_tables_for_people(found: Measured) -> None:
    markdown = measured_markdown([found])
    assert "# Measurements of made (simulated)" in markdown
    assert "| V1 |" in markdown
    both = compare_measured(found, found)
    assert "+0 (" in serial_markdown(both)
    told = serial_values(both)
    assert told["differences"]["qt_ms"]["difference"] == 0.0
    assert told["differences"]["qt_ms"]["changed"] is False
    assert told["likeness"]["II"] == pytest.approx(1.0)


def test_numbers_in_words() -> None:
    assert value_words(-0.4, "ms") == "0 ms"
    assert value_words(-30.0, "°") == "-30°"
    assert value_words(1.0 / 3.0, "mV") == "0.33 mV"
    assert value_words(None, "ms") == "–"
