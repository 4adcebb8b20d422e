"""Measurements of one or several recordings as JSON, CSV and tables, and two beside each other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from echoing_core.export.by_hand import Caliper, caliper_values
from echoing_core.export.wording import remark_words
from echoing_core.io.annotations import MEASUREMENTS
from echoing_core.measure import MARKS, Difference, Measured, Measurement, Serial
from echoing_core.metrics.results import Table
from echoing_core.version import DISCLAIMER

NOT_MEASURABLE = "not measurable"
_LEAD_COLUMNS = (
    ("pr_ms", "PR ms"), ("qrs_ms", "QRS ms"), ("qt_ms", "QT ms"), ("q_mv", "Q mV"),
    ("r_mv", "R mV"), ("s_mv", "S mV"), ("st_j_mv", "ST J mV"), ("st_j60_mv", "ST J+60 mV"),
    ("t_mv", "T mV"),
)  # fmt: skip
_QTC = "qtc_ms"
VISIT_NOTE = (
    "“From visit to visit”: as far as two ECGs of a healthy person that were recorded weeks apart "
    "differ in about 95 of 100 cases (27 people of PTB-XL)."
)


def value_words(value: float | None, unit: str) -> str:
    """A number with its unit, in digits that mean something.

    Parameters
    ----------
    value : float or None
    unit : str

    Returns
    -------
    str
        A dash for none.
    """
    if value is None:
        return "–"
    number = f"{value:.2f}" if unit == "mV" else f"{value:.0f}"
    # Of -0.4 there is no "-0".
    number = number.removeprefix("-") if not float(number) else number
    return f"{number}°" if unit == "°" else f"{number} {unit}"


def spread_words(one: Measurement) -> str:
    """The spread over beats, with a sign; empty where it is not known."""
    if one.value is None or one.spread is None:
        return ""
    # One digit more than the value, for most spreads are below 10.
    return f"± {one.spread:.2f}" if one.unit == "mV" else f"± {one.spread:.1f}"


def note_words(one: Measurement) -> str:
    """Whether a criterion is met, what to know of a value, or why there is none."""
    if one.value is None:
        return f"{NOT_MEASURABLE}: {one.why}"
    return remark_words(one)


def device_words(measured: Measured, name: str) -> str:
    """What the file itself states of a measurement; empty where it states nothing."""
    if name not in measured.device:
        return ""
    return value_words(measured.device[name], MEASUREMENTS[name][1])


def measured_rows(measured: Measured) -> list[list[str]]:
    """What is measured of the heart as a whole, for people.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    list of list of str
        What, value, spread over beats, what the device states, and why not or what to know.
    """
    rows = [
        [
            one.words,
            value_words(one.value, one.unit),
            spread_words(one),
            device_words(measured, one.name),
            note_words(one),
        ]
        for one in measured.values
    ]
    # A device does not say which formula it corrects by.
    if _QTC in measured.device:
        at = [one.name for one in measured.values].index("qt_ms") + 1
        words = MEASUREMENTS[_QTC][0]
        rows.insert(at, [words, "–", "", device_words(measured, _QTC), "formula not stated"])
    return rows


def measured_values(measured: Measured, calipers: Sequence[Caliper] = ()) -> dict[str, Any]:
    """Plain values for JSON.

    Parameters
    ----------
    measured : Measured
    calipers : sequence of Caliper, optional
        That a person drew.

    Returns
    -------
    dict
        Marks in milliseconds from the fiducial of the median beat, null where a lead shows no such
        wave.
    """
    beat = measured.beat
    return {
        "disclaimer": DISCLAIMER,
        "recording": measured.record_id,
        "simulated": measured.simulated,
        "start_s": round(measured.start_s, 3),
        "duration_s": round(measured.duration_s, 3),
        "sex": measured.sex,
        "notes": list(measured.notes),
        "beats": None
        if beat is None
        else {
            "found": beat.n_found,
            "kinds": beat.kinds,
            "used_s": [round(measured.start_s + at, 4) for at in beat.time_s.tolist()],
            "leads": list(beat.leads),
            "derived": list(beat.derived),
        },
        "values": {one.name: _value(one) for one in measured.values},
        "by_lead": _by_lead(measured),
        "marks_ms": {
            "together": _marks(measured.together_ms),
            **(
                {}
                if beat is None
                else {
                    lead: _marks(row)
                    for lead, row in zip(beat.leads, measured.marks_ms, strict=True)
                }
            ),
        },
        "marks_by_hand_ms": {name: round(at, 1) for name, at in measured.by_hand.items()},
        "calipers": caliper_values(calipers),
        "device": dict(measured.device),
    }


def measured_json(measured: Measured, calipers: Sequence[Caliper] = ()) -> str:
    """The text of `measured_values`, with a line end."""
    return json.dumps(measured_values(measured, calipers), indent=1) + "\n"


def _value(one: Measurement) -> dict[str, Any]:
    told: dict[str, Any] = {
        "value": None if one.value is None else round(one.value, 3),
        "unit": one.unit,
        "spread": None if one.spread is None else round(one.spread, 3),
        "beats": one.n_beats,
        "why_not" if one.value is None else "note": one.why,
    }
    if one.met is not None:
        told["met"] = one.met
    if one.by_hand:
        told["by_hand"] = True
    return told


def _by_lead(measured: Measured) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for one in measured.by_lead:
        told.setdefault(one.lead, {})[one.name] = _value(one)
    return told


def _marks(row: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float | None]:
    return {
        name: round(float(at), 1) if np.isfinite(at) else None
        for name, at in zip(MARKS, row, strict=True)
    }


def measured_csv(several: Sequence[Measured], calipers: Sequence[Caliper] = ()) -> str:
    """One row a measurement of each recording, those of single leads too.

    Parameters
    ----------
    several : sequence of Measured
    calipers : sequence of Caliper, optional
        That a person drew on the last of them: two rows each, behind all others.

    Returns
    -------
    str
        A value that is not measurable is empty, and has its reason.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["recording", "lead", "name", "value", "unit", "spread", "beats", "device", "met", "note"]
    )
    for measured in several:
        for one in (*measured.values, *measured.by_lead):
            stated = "" if one.lead else measured.device.get(one.name, "")
            writer.writerow(
                [
                    measured.record_id, one.lead, one.name,
                    "" if one.value is None else f"{one.value:.3f}", one.unit,
                    "" if one.spread is None else f"{one.spread:.3f}", one.n_beats, stated,
                    "" if one.met is None else int(one.met), one.why,
                ]
            )  # fmt: skip
    for number, caliper in enumerate(calipers, start=1):
        note = f"drawn by hand, from {caliper.start_s:.3f} s to {caliper.end_s:.3f} s"
        for unit, value in (("ms", caliper.ms), ("mV", caliper.mv)):
            name = f"caliper_{number}_{unit.lower()}"
            row = [several[-1].record_id, caliper.lead, name, f"{value:.3f}", unit]
            writer.writerow([*row, "", "", "", "", note])
    return out.getvalue()


def measured_tables(measured: Measured) -> list[Table]:
    """The tables that people read: the heart as a whole, and lead by lead.

    Parameters
    ----------
    measured : Measured

    Returns
    -------
    list of Table
    """
    beat = measured.beat
    header = ["Measurement", "Value", "SD over beats", "Device", ""]
    note = " ".join(measured.notes)
    if beat is not None:
        note = f"Median of {beat.n_beats} of {beat.n_found} beats. {note}".strip()
    tables = [Table("", header, measured_rows(measured), note=note)]
    if beat is None:
        return tables
    by = {(one.name, one.lead): one for one in measured.by_lead}
    rows = []
    for lead in beat.leads:
        cells = [by.get((name, lead)) for name, _ in _LEAD_COLUMNS]
        rows.append([lead, *("–" if c is None else _bare(c) for c in cells)])
    reasons = {one.why for one in measured.by_lead if one.value is None and one.unit == "mV"}
    tables.append(
        Table(
            "Lead by lead",
            ["Lead", *(words for _, words in _LEAD_COLUMNS)],
            rows,
            note=f"– is {NOT_MEASURABLE}" + "".join(f": {why}" for why in sorted(reasons)) + ".",
        )
    )
    return tables


def _bare(one: Measurement) -> str:
    return value_words(one.value, one.unit).removesuffix(one.unit).strip()


def measured_markdown(several: Sequence[Measured]) -> str:
    """The tables as Markdown.

    Parameters
    ----------
    several : sequence of Measured

    Returns
    -------
    str
        With a line end.
    """
    parts = []
    for measured in several:
        said = " (simulated)" if measured.simulated else ""
        parts.append(f"# Measurements of {measured.record_id}{said}\n")
        for table in measured_tables(measured):
            parts += [f"## {table.title}\n"] if table.title else []
            parts.append(table.to_markdown())
    return "\n".join([*parts, f"{DISCLAIMER}\n"])


def difference_words(one: Difference) -> str:
    """A difference with its interval, or why there is none."""
    if one.value is None or one.interval is None:
        return one.why
    digits = 2 if one.one.unit == "mV" else 0
    low, high = one.interval
    return f"{one.value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"


def serial_rows(serial: Serial) -> list[list[str]]:
    """Two recordings beside each other, for people.

    Parameters
    ----------
    serial : Serial

    Returns
    -------
    list of list of str
        What, the first, the second, the difference with its 95 % interval, and whether it changed.
    """
    return [_difference_row(d) for d in serial.differences]


def serial_lead_rows(serial: Serial) -> list[list[str]]:
    """Heights of single leads of two recordings beside each other, for people.

    Parameters
    ----------
    serial : Serial

    Returns
    -------
    list of list of str
        As `serial_rows`, with the lead before each.
    """
    return [[d.one.lead, *_difference_row(d)] for d in serial.by_lead]


def change_words(one: Difference) -> str:
    """Whether a measurement changed, and by more than it does without a reason."""
    if one.value is None:
        return ""
    if not one.changed:
        return "within what repeats differ by"
    if one.beyond_visits:
        return "changed by more than from visit to visit"
    return "changed as from visit to visit"


def _difference_row(d: Difference) -> list[str]:
    return [
        d.one.words,
        value_words(d.one.value, d.one.unit),
        value_words(d.other.value, d.other.unit),
        difference_words(d),
        change_words(d),
    ]


def serial_values(serial: Serial) -> dict[str, Any]:
    """Plain values for JSON.

    Parameters
    ----------
    serial : Serial

    Returns
    -------
    dict
        Differences by name; likeness of the median beats by lead.
    """
    beats = serial.beats
    return {
        "disclaimer": DISCLAIMER,
        "first": serial.one.record_id,
        "second": serial.other.record_id,
        "notes": {"first": list(serial.one.notes), "second": list(serial.other.notes)},
        "differences": {d.one.name: _difference_value(d) for d in serial.differences},
        "by_lead": _differences_by_lead(serial),
        "likeness": None
        if beats is None
        else dict(zip(beats.leads, np.round(beats.likeness, 4).tolist(), strict=True)),
        "why_no_beats": serial.why,
    }


def _difference_value(d: Difference) -> dict[str, Any]:
    return {
        "first": None if d.one.value is None else round(d.one.value, 3),
        "second": None if d.other.value is None else round(d.other.value, 3),
        "unit": d.one.unit,
        "difference": None if d.value is None else round(d.value, 3),
        "interval": None if d.interval is None else [round(end, 3) for end in d.interval],
        "changed": d.changed if d.value is not None else None,
        "more_than_between_visits": d.beyond_visits if d.value is not None else None,
        "why_not": d.why,
    }


def _differences_by_lead(serial: Serial) -> dict[str, dict[str, Any]]:
    told: dict[str, dict[str, Any]] = {}
    for d in serial.by_lead:
        told.setdefault(d.one.lead, {})[d.one.name] = _difference_value(d)
    return told


def serial_tables(serial: Serial) -> list[Table]:
    """The tables that people read.

    Parameters
    ----------
    serial : Serial

    Returns
    -------
    list of Table
    """
    names = [serial.one.record_id, serial.other.record_id]
    tables = [
        Table(
            "",
            ["Measurement", *names, "Difference (95 % interval)", ""],
            serial_rows(serial),
            note=" ".join(
                [
                    "The interval is of beats that vary and of what two measurements of one heart "
                    f"differ by. {VISIT_NOTE}",
                    *serial_notes(serial),
                ]
            ),
        )
    ]
    if serial.beats is not None:
        rows = [
            [lead, f"{like:.3f}"]
            for lead, like in zip(serial.beats.leads, serial.beats.likeness.tolist(), strict=True)
        ]
        tables.append(Table("Likeness of the median beats", ["Lead", "Correlation"], rows))
    return tables


def serial_notes(serial: Serial) -> list[str]:
    """What to know of each of two recordings, with which of them it is said of."""
    return [
        f"Of {which}: {' '.join(each.notes)}"
        for which, each in (("the first", serial.one), ("the second", serial.other))
        if each.notes
    ]


def serial_markdown(serial: Serial) -> str:
    """The tables as Markdown, with a line end."""
    parts = [f"# {serial.one.record_id} and {serial.other.record_id}\n"]
    if serial.why:
        parts.append(f"{serial.why}\n")
    for table in serial_tables(serial):
        parts += [f"## {table.title}\n"] if table.title else []
        parts.append(table.to_markdown())
    return "\n".join([*parts, f"{DISCLAIMER}\n"])
