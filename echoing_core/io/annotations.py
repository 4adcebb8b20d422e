"""What files say of beats, rhythm and findings: codes, words, and how they are gathered.

Readers put what they find into a `Gathered`, which bounds it and puts it in order. Formats with a
place for beats and texts alone (WFDB, EDF+) carry measurements and statements as lines of text,
`measurement_line` and `statement_line`, which `Gathered.add_line` takes back.

References
----------
Codes of beats and rhythms: WFDB Programmer's Guide, "Annotation codes" and "Rhythm annotations"
(https://physionet.org/physiotools/wpg).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from echoing_core.records import NO_ANNOTATIONS, Annotations, RhythmSpan, TextMark

BEATS: Mapping[str, str] = {
    "N": "normal",
    "L": "left bundle branch block",
    "R": "right bundle branch block",
    "B": "bundle branch block",
    "A": "atrial premature",
    "a": "aberrated atrial premature",
    "J": "nodal premature",
    "S": "supraventricular premature",
    "V": "premature ventricular",
    "r": "R-on-T premature ventricular",
    "F": "fusion of ventricular and normal",
    "e": "atrial escape",
    "j": "nodal escape",
    "n": "supraventricular escape",
    "E": "ventricular escape",
    "/": "paced",
    "f": "fusion of paced and normal",
    "Q": "kind not said",
    "?": "not classified",
}
"""WFDB's letters of beats, in words."""

RHYTHMS: Mapping[str, str] = {
    "AB": "atrial bigeminy",
    "AFIB": "atrial fibrillation",
    "AFL": "atrial flutter",
    "B": "ventricular bigeminy",
    "BII": "second-degree heart block",
    "IVR": "idioventricular rhythm",
    "J": "junctional rhythm",
    "N": "sinus rhythm",
    "NOD": "nodal rhythm",
    "P": "paced rhythm",
    "PREX": "pre-excitation",
    "SBR": "sinus bradycardia",
    "SVTA": "supraventricular tachyarrhythmia",
    "T": "ventricular trigeminy",
    "VFL": "ventricular flutter or fibrillation",
    "VT": "ventricular tachycardia",
}
"""WFDB's codes of rhythms, without their parenthesis, in words."""

MEASUREMENTS: Mapping[str, tuple[str, str]] = {
    "heart_rate_bpm": ("Heart rate", "bpm"),
    "atrial_rate_bpm": ("Atrial rate", "bpm"),
    "rr_ms": ("Mean RR interval", "ms"),
    "p_ms": ("P duration", "ms"),
    "pr_ms": ("PR interval", "ms"),
    "qrs_ms": ("QRS duration", "ms"),
    "qt_ms": ("QT interval", "ms"),
    "qtc_ms": ("QT corrected by the device", "ms"),
    "p_axis_deg": ("P axis", "°"),
    "qrs_axis_deg": ("QRS axis", "°"),
    "t_axis_deg": ("T axis", "°"),
}
"""Name of a measurement -> its words and its unit."""

# What no heart has: the codes by which devices say that something was not measured (999, 29999,
# 32767, 65535) lie outside.
_RANGES = {"bpm": (1.0, 600.0), "ms": (0.0, 10_000.0), "°": (-360.0, 360.0)}

MAX_BEATS = 2_000_000
"""A month at 46 beats a minute."""
MAX_TEXTS = 1000
ENOUGH_DROPPED = 10_000
"""A reader that had to leave out so many looks no further."""
MAX_STATEMENTS = 100
_MAX_TEXT = 200

_MEASUREMENT = re.compile(r"Measured by the device: ([a-z_]{4,20}) = (-?\d{1,5}(?:\.\d{1,3})?)")
_STATEMENT = "Stated by the device: "


def rhythm_words(name: str) -> str:
    """A rhythm for people.

    Parameters
    ----------
    name : str
        As in `RhythmSpan`.
    """
    return RHYTHMS.get(name, name)


def measurement_line(name: str, value: float) -> str:
    """One measurement as a line of text.

    Parameters
    ----------
    name : str
        A key of `MEASUREMENTS`.
    value : float
    """
    number = f"{value:.3f}".rstrip("0").rstrip(".")
    return f"Measured by the device: {name} = {number}"


def statement_line(statement: str) -> str:
    """One statement as a line of text."""
    return f"{_STATEMENT}{statement}"


@dataclass
class Gathered:
    """Annotations while a file is read.

    Attributes
    ----------
    source : str
        What is read, for people.
    n_dropped : int
        What was too much or outside the recording.
    """

    source: str = ""
    n_dropped: int = 0
    _beats: list[tuple[float, str]] = field(default_factory=list)
    _changes: list[tuple[float, str]] = field(default_factory=list)
    _spans: list[RhythmSpan] = field(default_factory=list)
    _texts: list[TextMark] = field(default_factory=list)
    _measurements: dict[str, float] = field(default_factory=dict)
    _statements: list[str] = field(default_factory=list)

    def add_beat(self, at_s: float, symbol: str) -> None:
        """One beat.

        Parameters
        ----------
        at_s : float
        symbol : str
            A key of `BEATS`.
        """
        if symbol not in BEATS or len(self._beats) >= MAX_BEATS:
            self.n_dropped += 1
        else:
            self._beats.append((at_s, symbol))

    def change_rhythm(self, at_s: float, name: str) -> None:
        """A rhythm that begins here and lasts to the next one.

        Parameters
        ----------
        at_s : float
        name : str
            Of a rhythm; empty where one ends and none follows.
        """
        if len(self._changes) < MAX_TEXTS * 100:
            self._changes.append((at_s, _plain(name)))
        else:
            self.n_dropped += 1

    def add_rhythm(self, start_s: float, stop_s: float, name: str) -> None:
        """A rhythm with its end."""
        if len(self._spans) < MAX_TEXTS * 100 and _plain(name):
            self._spans.append(RhythmSpan(start_s, stop_s, _plain(name)))
        else:
            self.n_dropped += 1

    def add_text(self, at_s: float, text: str) -> None:
        """Words at a moment: where our own writers put a measurement or statement, that."""
        if self.add_line(text) or not _plain(text):
            return
        if len(self._texts) < MAX_TEXTS:
            self._texts.append(TextMark(at_s, _plain(text)))
        else:
            self.n_dropped += 1

    def add_line(self, text: str) -> bool:
        """Take a line that `measurement_line` or `statement_line` made; False for any other."""
        match = _MEASUREMENT.fullmatch(text)
        if match is not None:
            self.add_measurement(match[1], float(match[2]))
        elif text.startswith(_STATEMENT):
            self.add_statement(text.removeprefix(_STATEMENT))
        else:
            return False
        return True

    def add_measurement(self, name: str, value: float | None) -> None:
        """One measurement; what no heart has was not measured, and the first of two is kept.

        Parameters
        ----------
        name : str
        value : float or None
        """
        if name not in MEASUREMENTS or value is None or not math.isfinite(value):
            return
        low, high = _RANGES[MEASUREMENTS[name][1]]
        if low < value < high:
            self._measurements.setdefault(name, float(value))

    def add_statement(self, text: str) -> None:
        """One line of the interpretation; empty and repeated ones are passed over."""
        line = _plain(text)
        if line and line not in self._statements and len(self._statements) < MAX_STATEMENTS:
            self._statements.append(line)

    @property
    def has_beats(self) -> bool:
        return bool(self._beats)

    @property
    def has_rhythms(self) -> bool:
        return bool(self._spans or self._changes)

    def take(self, other: Gathered) -> None:
        """Add what another file of the same record holds and this one lacks.

        Parameters
        ----------
        other : Gathered
        """
        before = self.is_empty
        if not self.has_beats:
            self._beats = other._beats
        if not self.has_rhythms:
            self._changes, self._spans = other._changes, other._spans
        self._texts += other._texts[: MAX_TEXTS - len(self._texts)]
        for name, value in other._measurements.items():
            self.add_measurement(name, value)
        for line in other._statements:
            self.add_statement(line)
        self.n_dropped += other.n_dropped
        if before:
            self.source = other.source
        elif not other.is_empty:
            self.source = f"{self.source}, {other.source}"

    @property
    def is_empty(self) -> bool:
        parts = (self._beats, self._changes, self._spans, self._texts)
        return not any(parts) and not self._measurements and not self._statements

    def done(self, duration_s: float) -> Annotations:
        """All of it, in order of time and within the recording.

        Parameters
        ----------
        duration_s : float
            Of the recording.

        Returns
        -------
        Annotations
        """
        if self.is_empty:
            return NO_ANNOTATIONS
        beats = sorted(b for b in self._beats if 0 <= b[0] < duration_s)
        changes = sorted((c for c in self._changes if c[0] < duration_s), key=lambda c: c[0])
        ends = [at for at, _ in changes[1:]] + [duration_s]
        spans = [RhythmSpan(a, b, n) for (a, n), b in zip(changes, ends, strict=False) if n]
        inside = [
            RhythmSpan(max(s.start_s, 0.0), min(s.stop_s, duration_s), s.name)
            for s in [*spans, *self._spans]
            if s.start_s < duration_s and s.stop_s > 0 and s.stop_s > s.start_s
        ]
        texts = [t for t in self._texts if 0 <= t.at_s <= duration_s]
        self.n_dropped += len(self._beats) - len(beats) + len(self._texts) - len(texts)
        return Annotations(
            beat_s=np.array([at for at, _ in beats], dtype=np.float64),
            beat_symbols=np.array([symbol for _, symbol in beats], dtype="<U1"),
            rhythms=tuple(sorted(inside, key=lambda s: (s.start_s, s.stop_s))),
            texts=tuple(sorted(texts, key=lambda t: t.at_s)),
            measurements={
                n: self._measurements[n] for n in MEASUREMENTS if n in self._measurements
            },
            statements=tuple(self._statements),
            sources=(self.source,) if self.source else (),
        )


def _plain(text: str) -> str:
    """On one line, printable and short."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text[:1000]).split())
    return words if len(words) <= _MAX_TEXT else words[: _MAX_TEXT - 1] + "…"
