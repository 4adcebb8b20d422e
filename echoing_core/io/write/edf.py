"""`Outgoing` to EDF+: gaps and remarks are annotations.

How gaps and the end of the recording are said: `io.edf_gaps`.

References
----------
Kemp & Olivan 2003, Clin Neurophysiol 114:1755; https://www.edfplus.info, section 2.1.3 and 2.2.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.io.edf_annotations import lists_of
from echoing_core.io.edf_gaps import NOT_RECORDED, RECORDING_ENDS
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.write.outgoing import NOT_MEASURED, Outgoing

_MOST_BYTES = 48_000
"""Of a data record; the standard recommends 61,440, and our reader looks for remarks in 65,536."""
_RATE_ERROR = 1e-9


def edf_bytes(out: Outgoing) -> bytes:
    """One EDF+ file.

    Parameters
    ----------
    out : Outgoing

    Raises
    ------
    ConfigError
        The sampling rate is none that EDF can say.
    """
    n_leads, n_times = out.digital.shape
    n, record_s = _record(out)
    n_records = -(-n_times // n)
    texts = _annotations(out, n_records * n)
    stamps = [f"+{_seconds(i * Fraction(record_s))}\x14\x14\0".encode() for i in range(n_records)]
    # Each record takes its share of the annotations, and may go over it by one.
    share = -(-sum(map(len, texts)) // n_records) + max(map(len, texts), default=0)
    width = max(map(len, stamps)) + share
    width += width % 2
    waiting = texts[::-1]
    tals = []
    for stamp in stamps:
        tal = stamp
        while waiting and len(tal) + len(waiting[-1]) <= width:
            tal += waiting.pop()
        tals.append(tal.ljust(width, b"\0"))
    padded = np.full((n_leads, n_records * n), NOT_MEASURED, dtype="<i2")
    padded[:, :n_times] = out.digital
    records = padded.reshape(n_leads, n_records, n).transpose(1, 0, 2).reshape(n_records, -1)
    notes = np.frombuffer(b"".join(tals), dtype="<i2").reshape(n_records, -1)
    return _header(out, n, record_s, n_records, width // 2) + np.hstack([records, notes]).tobytes()


def label_of(lead: str) -> str:
    """Name of a signal, of the standard's kind where it is a lead."""
    return f"ECG {lead}" if canonical_lead_name(lead) else lead


def _record(out: Outgoing) -> tuple[int, str]:
    """Samples of a data record and its duration in seconds, as text that says the rate exactly."""
    rate = Fraction(out.fs_hz).limit_denominator(10_000_000)
    most = max(1, _MOST_BYTES // (2 * len(out.lead_names)) - 200)
    around = min(most, max(1, round(out.fs_hz)))
    divisors = [d for d in range(1, min(most, 4 * around) + 1) if out.n_times % d == 0]
    # About a second, without rest where that is possible.
    candidates = sorted((d for d in divisors if 4 * d >= around), key=lambda d: abs(d - around))
    whole = rate.limit_denominator(1000)
    candidates += [around, whole.numerator, *range(1, most + 1)]
    for n in candidates:
        if not 1 <= n <= most:
            continue
        text = f"{float(n / rate):.8f}"[:8].rstrip("0").rstrip(".")
        if float(text or 0) > 0 and abs(n / float(text) / out.fs_hz - 1) < _RATE_ERROR:
            return n, text
    raise ConfigError(
        f"A sampling rate of {out.fs_hz:g} Hz cannot be written as EDF, which keeps few digits of "
        "it. Choose WFDB, DICOM or a table."
    )


def _annotations(out: Outgoing, n_held: int) -> list[bytes]:
    """Time-stamped lists, each whole."""
    rate = Fraction(out.fs_hz)
    texts = [f"+0\x14{remark}\x14\0" for remark in out.remarks]
    if n_held > out.n_times:
        texts.append(f"+{_seconds(out.n_times / rate)}\x14{RECORDING_ENDS}\x14\0")
    for gap in out.gaps():
        lead = "" if gap.lead is None else f"@@{label_of(out.lead_names[gap.lead])}"
        at, lasts = _seconds(gap.start / rate), _seconds((gap.stop - gap.start) / rate)
        texts.append(f"+{at}\x15{lasts}\x14{NOT_RECORDED}{lead}\x14\0")
    texts += lists_of(out.annotations, _seconds)
    return [text.encode() for text in texts]


def _seconds(value: Fraction) -> str:
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _header(out: Outgoing, n: int, record_s: str, n_records: int, n_notes: int) -> bytes:
    labels = [*map(label_of, out.lead_names), "EDF Annotations"]
    n_leads, n_signals = len(out.lead_names), len(labels)

    def column(width: int, values: list[str]) -> str:
        return "".join(value[:width].ljust(width) for value in values)

    def each(width: int, of_lead: str, of_notes: str) -> str:
        return column(width, [of_lead] * n_leads + [of_notes])

    low, high = f"{NOT_MEASURED * out.unit_uv:.8g}", f"{-(NOT_MEASURED + 1) * out.unit_uv:.8g}"
    text = "".join([
        "0       ", "X X X X".ljust(80), "Startdate X X X EchoingECG".ljust(80),
        # The standard's way to leave the date out.
        "01.01.85", "00.00.00", f"{256 * (n_signals + 1):<8}", "EDF+C".ljust(44),
        f"{n_records:<8}", f"{record_s:<8}", f"{n_signals:<4}",
        column(16, labels), each(80, "", ""), each(8, "uV", ""), each(8, low, "-1"),
        each(8, high, "1"), each(8, "-32768", "-32768"), each(8, "32767", "32767"),
        each(80, "", ""), each(8, str(n), str(n_notes)), each(32, "", ""),
    ])  # fmt: skip
    return text.encode("ascii")
