"""`Outgoing` to an HL7 annotated ECG: one sequence set for every stretch with the same leads.

References
----------
HL7 aECG Implementation Guide, 21 March 2005.
"""

from __future__ import annotations

import itertools
from xml.sax.saxutils import escape

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.write.outgoing import Outgoing
from echoing_core.io.xml.aecg_annotations import (
    BEAT_CODES,
    MEASUREMENT_CODES,
    RHYTHM_CODE,
    STATEMENT_CODES,
)
from echoing_core.records import Annotations

MAX_VALUES = 6_000_000
"""Of digits, which take up to seven characters each, in a file that can still be read."""
_MAX_SETS = 10_000
_MDC = "2.16.840.1.113883.6.24"

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<AnnotatedECG xmlns="urn:hl7-org:v3" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="Observation">\n'
    '<code code="93000" codeSystem="2.16.840.1.113883.6.12" codeSystemName="CPT-4"/>\n'
)


def aecg_bytes(out: Outgoing) -> bytes:
    """One annotated ECG without subject and dates.

    Parameters
    ----------
    out : Outgoing

    Raises
    ------
    ConfigError
        Too long for a file of text, or in too many pieces.
    """
    if out.digital.size > MAX_VALUES:
        raise ConfigError(
            f"The recording has {out.digital.size:,} samples, and an aECG is text for up to "
            f"{MAX_VALUES:,}. Choose EDF, WFDB or DICOM."
        )
    valid = out.valid
    edges = np.flatnonzero((valid[:, 1:] != valid[:, :-1]).any(axis=0)) + 1
    stretches = [(a, b) for a, b in itertools.pairwise([0, *edges.tolist(), out.n_times])
                 if valid[:, a].any()]  # fmt: skip
    if len(stretches) > _MAX_SETS:
        raise ConfigError(
            f"The recording has {len(stretches):,} gaps, more than an aECG can say. Choose EDF, "
            "WFDB or DICOM."
        )
    parts = [_HEAD]
    parts.append(f"<text>{escape(chr(10).join(out.remarks))}</text>\n")
    parts.append('<effectiveTime nullFlavor="MSK"/>\n<component><series><code code="RHYTHM" ')
    parts.append('codeSystem="2.16.840.1.113883.5.4"/>\n')
    parts += [_sequence_set(out, a, b) for a, b in stretches]
    parts.append(_annotation_set(out.annotations))
    parts.append("</series></component></AnnotatedECG>\n")
    return "".join(parts).encode()


def _annotation_set(annotations: Annotations) -> str:
    """Beats, rhythms, measurements and statements; nothing where there are none."""
    if not annotations:
        return ""
    parts = ["<subjectOf><annotationSet>\n"]
    for name, number in annotations.measurements.items():
        code, unit = MEASUREMENT_CODES[name]
        parts.append(_annotation(code, f'<value xsi:type="PQ" value="{number:g}" unit="{unit}"/>'))
    if annotations.statements:
        lines = "".join(
            _annotation(STATEMENT_CODES[1], f'<value xsi:type="ST">{escape(line)}</value>')
            for line in annotations.statements
        )
        parts.append(_annotation(STATEMENT_CODES[0], lines))
    for span in annotations.rhythms:
        value = f'<value xsi:type="ST">{escape(span.name)}</value>'
        parts.append(_annotation(RHYTHM_CODE, value + _region(span.start_s, span.stop_s)))
    beats = zip(annotations.beat_s.tolist(), annotations.beat_symbols.tolist(), strict=True)
    for at_s, symbol in beats:
        value = f'<value xsi:type="CD" code="{BEAT_CODES[symbol]}" codeSystem="{_MDC}"/>'
        parts.append(_annotation("MDC_ECG_BEAT", value + _region(at_s)))
    return "".join([*parts, "</annotationSet></subjectOf>\n"])


def _annotation(code: str, content: str) -> str:
    return (
        f'<component><annotation><code code="{code}" codeSystem="{_MDC}"/>{content}'
        "</annotation></component>\n"
    )


def _region(start_s: float, stop_s: float | None = None) -> str:
    high = "" if stop_s is None else f'<high value="{stop_s:.9f}" unit="s"/>'
    return (
        '<support><supportingROI classCode="ROIBND"><code code="ROIPS" '
        'codeSystem="2.16.840.1.113883.5.4"/><component><boundary><code code="TIME_RELATIVE" '
        'codeSystem="2.16.840.1.113883.5.4"/><value xsi:type="IVL_PQ">'
        f'<low value="{start_s:.9f}" unit="s"/>{high}</value></boundary></component>'
        "</supportingROI></support>"
    )


def _sequence_set(out: Outgoing, start: int, stop: int) -> str:
    head, step = start / out.fs_hz, 1 / out.fs_hz
    parts = [
        '<component><sequenceSet><component><sequence><code code="TIME_RELATIVE" '
        'codeSystem="2.16.840.1.113883.5.4"/><value xsi:type="GLIST_PQ">'
        f'<head value="{head:.9f}" unit="s"/><increment value="{step:.12g}" unit="s"/></value>'
        "</sequence></component>\n"
    ]
    for row, lead in enumerate(out.lead_names):
        if not out.valid[row, start]:
            continue
        # Of what is no lead there is no code, and its name stands for itself.
        code = f"MDC_ECG_LEAD_{lead.upper()}" if canonical_lead_name(lead) else lead
        digits = " ".join(map(str, out.digital[row, start:stop].tolist()))
        parts.append(
            f'<component><sequence><code code="{code}" codeSystem="2.16.840.1.113883.6.24"/>'
            '<value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/>'
            f'<scale value="{out.unit_uv:g}" unit="uV"/><digits>{digits}</digits></value>'
            "</sequence></component>\n"
        )
    parts.append("</sequenceSet></component>\n")
    return "".join(parts)
