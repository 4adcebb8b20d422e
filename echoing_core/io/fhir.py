"""HL7 FHIR (JSON): ``SampledData`` of an Observation, or of those in a Bundle, to `Recording`.

A value is ``data * factor + origin``; "E", "U" and "L" stand for errors and values out of range.
Several parts of one lead follow one another in the order of the file, as exporters of watches
write them; an Observation's own times are not looked at.

References
----------
HL7 FHIR R4 (period in ms) and R5 (interval and intervalUnit), datatype SampledData; lead codes of
ISO/IEEE 11073-10102.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import (
    Channel,
    Findings,
    check_rate,
    check_size,
    mv_per_unit,
    recording_from,
)
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.records import LEADS, Recording

MAX_BYTES = 24 * 1024**2
"""Ten minutes of 12 leads; JSON of many small parts takes twenty times its size in memory."""
_MAX_PARTS = 10_000
_MAX_LEADS = 32

# MDC_ECG_ELEC_POTL_I is 131329: 2 * 65536 + 256 and the number of the lead in SCP-ECG.
_LEAD_CODES = {
    str(131328 + number): lead
    for number, lead in zip((1, 2, 61, 62, 63, 64, *range(3, 9)), LEADS, strict=True)
}
_NOT_MEASURED = frozenset({"E", "U", "L"})
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}


def is_fhir(head: bytes) -> bool:
    """Whether a file begins as a FHIR resource in JSON does.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"resourceType"' in head


def read_fhir(file: SourceFile) -> Recording:
    """Read the sampled data of one Observation or of a Bundle's Observations.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts; NaN where the data say that nothing was measured.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    parts: dict[str, list[npt.NDArray[np.float32]]] = {}
    stated: dict[str, str] = {}
    rates: set[float] = set()
    for source, sampled in _sampled(_parsed(file, name), name):
        told = file.told or NOTHING
        mv, fs_hz, words = _part(sampled, told, f"Lead {shown(source)} of {name}")
        parts.setdefault(source, []).append(mv)
        stated.setdefault(source, words)
        rates.add(fs_hz)
    if not parts:
        raise MissingLeadError(
            f"{name} holds no sampled data (valueSampledData) of an ECG; export the Observation "
            "with its waveform."
        )
    if len(rates) > 1:
        raise SamplingRateError(
            f"The leads of {name} have different sampling rates; export them at one rate."
        )
    if len(parts) > _MAX_LEADS:
        raise MissingLeadError(f"{name} holds {len(parts)} leads; at most {_MAX_LEADS} are read.")
    rows = {source: np.concatenate(pieces) for source, pieces in parts.items()}
    if len({row.size for row in rows.values()}) > 1:
        raise UnreadableRecordError(
            f"The leads of {name} have different lengths, and the file does not say how they lie "
            "in time; export it with full-length leads."
        )
    notes = Findings()
    if any(len(pieces) > 1 for pieces in parts.values()):
        notes.add("The file holds each lead in parts, which are read as following one another.")
    fs_hz = rates.pop()
    check_size(next(iter(rows.values())).size, len(rows), fs_hz, name)
    channels = [
        Channel(source, canonical_lead_name(source) or shown(source), fs_hz, row, stated[source])
        for source, row in rows.items()
    ]
    return recording_from(channels, file.name.rsplit(".", 1)[0], "HL7 FHIR", notes)


def _parsed(file: SourceFile, name: str) -> dict[str, Any]:
    if file.size > MAX_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB, the most that is read of JSON; "
            "export a shorter part, or another format."
        )
    try:
        resource = json.loads(bytes(file.content()[:]), parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise UnreadableRecordError(
            f"{name} is damaged or cut short: it is not well-formed JSON; export it again."
        ) from exc
    if not isinstance(resource, dict) or resource.get("resourceType") not in (
        "Observation",
        "Bundle",
    ):
        raise UnreadableRecordError(
            f"{name} is a FHIR resource of another kind; an Observation with sampled data, or a "
            "Bundle of such, is read."
        )
    return resource


def _no_constant(word: str) -> float:
    raise ValueError(word)


def _sampled(resource: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lead and sampled data of each part, in the order of the file."""
    entries = _dicts(resource.get("entry"))
    observations = [r for e in entries if isinstance(r := e.get("resource"), dict)] or [resource]
    count = 0
    for observation in observations:
        if observation.get("resourceType") != "Observation":
            continue
        for element in (*_dicts(observation.get("component")), observation):
            sampled = element.get("valueSampledData")
            if not isinstance(sampled, dict):
                continue
            count += 1
            if count > _MAX_PARTS:
                raise UnreadableRecordError(
                    f"{name} holds more than {_MAX_PARTS} parts; export a shorter recording."
                )
            yield _lead(element.get("code"), count), sampled


def _dicts(value: object) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _lead(code: object, number: int) -> str:
    """The lead that a code says, or its name for people."""
    code = code if isinstance(code, dict) else {}
    codings = _dicts(code.get("coding"))
    for coding in codings:
        lead = _LEAD_CODES.get(str(coding.get("code")))
        if lead is not None:
            return lead
    texts = [*(c.get("display") for c in codings), *(c.get("code") for c in codings)]
    names = [t for t in (*texts, code.get("text")) if isinstance(t, str) and t.strip()]
    for text in names:
        lead = canonical_lead_name(text)
        if lead is not None:
            return lead
    return names[0].strip() if names else f"channel {number}"


def _part(
    sampled: dict[str, Any], told: Told, what: str
) -> tuple[npt.NDArray[np.float32], float, str]:
    """Millivolts, sampling rate and what is stated of one SampledData."""
    origin = sampled.get("origin")
    origin = origin if isinstance(origin, dict) else {}
    units = origin.get("code") or origin.get("unit")
    factor = told.mv_per_number
    if factor is None and isinstance(units, str) and units:
        factor = mv_per_unit(units)
    if factor is None:
        given = f"in {shown(units)}" if isinstance(units, str) and units else "without a unit"
        raise UnitsError(
            f"{what} is {given}, so its size in mV is not known; say the unit, or export it again."
        )
    if _number(sampled.get("dimensions", 1)) != 1:
        raise UnreadableRecordError(
            f"{what} holds several dimensions in one row of numbers; export one lead at a time."
        )
    step_s = 1.0 / told.fs_hz if told.fs_hz else _step_s(sampled)
    if step_s is None or step_s <= 0:
        raise SamplingRateError(f"{what} gives no usable time between samples; export it again.")
    fs_hz = 1.0 / step_s
    # 1.953125 ms are 512 Hz, and so are 1.9531.
    if math.isclose(fs_hz, round(fs_hz), rel_tol=2e-5):
        fs_hz = float(round(fs_hz))
    check_rate(fs_hz, what)
    data = sampled.get("data")
    words = data.split() if isinstance(data, str) else []
    if not words:
        raise UnreadableRecordError(f"{what} holds no sample; export it again.")
    scale, zero = _number(sampled.get("factor", 1)), _number(origin.get("value", 0))
    if not scale or zero is None:
        raise UnitsError(f"{what} gives no usable factor or origin; export it again.")
    try:
        values = np.array([math.nan if w in _NOT_MEASURED else w for w in words], dtype=np.float64)
    except ValueError as exc:
        raise UnreadableRecordError(
            f"{what} holds samples that are no numbers; export it again."
        ) from exc
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        mv = ((values * scale + zero) * factor).astype(np.float32)
    if np.isinf(mv).any():
        raise UnitsError(f"{what} holds values without end; export it again.")
    return mv, fs_hz, shown(f"{scale:g} {units or 'of the unit said'} per unit")


def _step_s(sampled: dict[str, Any]) -> float | None:
    period = _number(sampled.get("period"))
    if period is not None:
        return period * 1e-3
    interval, unit = _number(sampled.get("interval")), sampled.get("intervalUnit")
    if interval is None or unit not in _SECONDS:
        return None
    return interval * _SECONDS[unit]


def _number(value: object) -> float | None:
    """A finite number as JSON has it, or in a string as some exporters write it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
