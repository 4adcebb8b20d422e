"""What the device says in an SCP-ECG file: measurements (section 7) and statements (section 8).

References
----------
ISO 11073-91064:2009, clauses 5.10 (global measurements) and 5.11 (diagnosis).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from echoing_core.io.annotations import Gathered

_BLOCK = struct.Struct("<5H3h")
_NOT_COMPUTED = 29999
_MAX_STATEMENTS = 100


def findings_of(sections: Mapping[int, bytes]) -> Gathered:
    """Measurements and statements of a file.

    Parameters
    ----------
    sections : mapping of int to bytes
        By their numbers, without their headers.

    Returns
    -------
    Gathered
        What a section is cut short of is left out.
    """
    said = Gathered("measurements and statements of the SCP-ECG file")
    _add_measurements(said, sections.get(7, b""))
    _add_statements(said, sections.get(8, b""))
    return said


def _add_measurements(said: Gathered, section: bytes) -> None:
    if len(section) < 6:
        return
    n_blocks, n_spikes, rr_ms = section[0], section[1], int.from_bytes(section[2:4], "little")
    if rr_ms < _NOT_COMPUTED:
        said.add_measurement("rr_ms", rr_ms)
    # Of several blocks, the first is of the reference beat, which stands for the ECG.
    if n_blocks and len(section) >= 6 + _BLOCK.size:
        p_on, p_off, qrs_on, qrs_off, t_off, p_axis, qrs_axis, t_axis = _BLOCK.unpack_from(
            section, 6
        )
        for name, start, stop in (
            ("p_ms", p_on, p_off),
            ("pr_ms", p_on, qrs_on),
            ("qrs_ms", qrs_on, qrs_off),
            ("qt_ms", qrs_on, t_off),
        ):
            if start < stop < _NOT_COMPUTED:
                said.add_measurement(name, stop - start)
        axes = {"p_axis_deg": p_axis, "qrs_axis_deg": qrs_axis, "t_axis_deg": t_axis}
        for name, degrees in axes.items():
            said.add_measurement(name, degrees)
    # After the pacemaker spikes, the types of all QRS complexes; then rates and corrected QT.
    at = 6 + _BLOCK.size * n_blocks + 10 * n_spikes
    if len(section) < at + 2:
        return
    at += 2 + int.from_bytes(section[at : at + 2], "little")
    if len(section) >= at + 6:
        rates = struct.unpack_from("<3H", section, at)
        for name, number in zip(
            ("heart_rate_bpm", "atrial_rate_bpm", "qtc_ms"), rates, strict=True
        ):
            if number < _NOT_COMPUTED:
                said.add_measurement(name, number)


def _add_statements(said: Gathered, section: bytes) -> None:
    # Confirmed or not, date and time of it, then the number of statements.
    if len(section) < 9:
        return
    at = 9
    for _ in range(min(section[8], _MAX_STATEMENTS)):
        size = int.from_bytes(section[at + 1 : at + 3], "little")
        text = section[at + 3 : at + 3 + size]
        if len(section) < at + 3 + size:
            return
        said.add_statement(text.split(b"\0")[0].decode("latin-1"))
        at += 3 + size
