"""Annotations of EDF+ and BDF+: time-stamped lists of texts, read and written.

Our writer says a beat as "Beat V" and a rhythm as "Rhythm AFIB" with its duration; texts of others
stay texts.

References
----------
https://www.edfplus.info, sections 2.2.2 to 2.2.4 (time-stamped annotations lists).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from echoing_core.io.annotations import (
    BEATS,
    ENOUGH_DROPPED,
    Gathered,
    measurement_line,
    statement_line,
)
from echoing_core.io.edf_gaps import NOT_RECORDED, RECORDING_ENDS
from echoing_core.records import Annotations

MAX_BYTES = 32 * 1024**2
"""Of all lists together; what follows is left unread."""

_REMARKS = ("Converted by EchoingECG", "Simulated by EchoingECG")
_MAX_IN_LIST = 100
"""Texts of one moment."""
_LIST = re.compile(rb"([+-]\d{1,12}(?:\.\d{0,12})?)(?:\x15(\d{1,12}(?:\.\d{0,12})?))?\x14")
_BEAT = re.compile(r"Beat (\S)", re.IGNORECASE)
_RHYTHM = re.compile(r"Rhythm (.{1,60})", re.IGNORECASE)


def read_lists(data: bytes, origin_s: float = 0.0) -> Gathered:
    """Beats, rhythms and texts out of the annotation signals of a file.

    Parameters
    ----------
    data : bytes
        Of all data records, one after the other.
    origin_s : float
        Of the first sample, on the file's clock.

    Returns
    -------
    Gathered
    """
    said = Gathered("annotations of the file")
    ours = False
    # One after the other: a list of all pieces would need far more memory than the file.
    for found in re.finditer(rb"[^\0]+", data[:MAX_BYTES]):
        piece = found[0]
        head = _LIST.match(piece)
        if head is None:
            continue
        if said.n_dropped > ENOUGH_DROPPED:
            break
        at_s = float(head[1]) - origin_s
        lasts_s = float(head[2] or 0.0)
        for raw in piece[head.end() :].split(b"\x14", _MAX_IN_LIST)[:_MAX_IN_LIST]:
            text = raw.decode("utf-8", "replace").strip()
            if not text or text.startswith((NOT_RECORDED, RECORDING_ENDS)):
                continue
            ours = ours or text.startswith(_REMARKS)
            beat, rhythm = _BEAT.fullmatch(text), _RHYTHM.fullmatch(text)
            if beat is not None and beat[1] in BEATS:
                said.add_beat(at_s, beat[1])
            elif rhythm is not None and lasts_s > 0:
                said.add_rhythm(at_s, at_s + lasts_s, rhythm[1])
            elif rhythm is not None:
                said.change_rhythm(at_s, rhythm[1])
            # A file of ours begins with remarks on the conversion, which nobody annotated.
            elif not (ours and at_s == 0 and not said.add_line(text)):
                said.add_text(at_s, text)
    return said


def lists_of(annotations: Annotations, seconds: Callable[[Fraction], str]) -> list[str]:
    """Annotations as time-stamped lists.

    Parameters
    ----------
    annotations : Annotations
    seconds : callable
        A time as text.

    Returns
    -------
    list of str
        One annotation each; measurements and statements stand at the first sample.
    """
    lines = [measurement_line(name, value) for name, value in annotations.measurements.items()]
    lines += [statement_line(statement) for statement in annotations.statements]
    lists = [f"+0\x14{line}\x14\0" for line in lines]
    lists += [f"+{seconds(Fraction(t.at_s))}\x14{t.text}\x14\0" for t in annotations.texts]
    for span in annotations.rhythms:
        start, lasts = Fraction(span.start_s), Fraction(span.stop_s) - Fraction(span.start_s)
        lists.append(f"+{seconds(start)}\x15{seconds(lasts)}\x14Rhythm {span.name}\x14\0")
    for at_s, symbol in zip(
        annotations.beat_s.tolist(), annotations.beat_symbols.tolist(), strict=True
    ):
        lists.append(f"+{seconds(Fraction(at_s))}\x14Beat {symbol}\x14\0")
    return lists
