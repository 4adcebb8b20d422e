"""What a file itself says of a recording, in words and as values, beside what is found here."""

from __future__ import annotations

from collections import Counter
from typing import Any

from echoing_core.figures.style import clock
from echoing_core.io.annotations import BEATS, MEASUREMENTS, rhythm_words
from echoing_core.records import Annotations, StandardEcg
from echoing_core.signals.heart_beats import heart_beats

LONGEST_BESIDE_S = 60.0
"""Of a longer recording no one heart rate of ours stands beside the device's."""

_N_SHOWN = 8
_NOT_HERE = "see the measurements"


def annotation_values(annotations: Annotations) -> dict[str, Any]:
    """Plain values for JSON.

    Parameters
    ----------
    annotations : Annotations

    Returns
    -------
    dict
        Times in seconds; ``beat_symbols`` has one letter of WFDB for each of ``beat_s``.
    """
    return {
        "sources": list(annotations.sources),
        "measurements": dict(annotations.measurements),
        "statements": list(annotations.statements),
        "rhythms": [
            {
                "start_s": round(span.start_s, 4),
                "stop_s": round(span.stop_s, 4),
                "name": span.name,
                "words": rhythm_words(span.name),
            }
            for span in annotations.rhythms
        ],
        "texts": [{"at_s": round(mark.at_s, 4), "text": mark.text} for mark in annotations.texts],
        "beat_s": [round(at, 4) for at in annotations.beat_s.tolist()],
        "beat_symbols": "".join(annotations.beat_symbols.tolist()),
    }


def beat_words(annotations: Annotations, start_s: float = 0.0, stop_s: float | None = None) -> str:
    """How many beats of which kind are marked, the most frequent first.

    Parameters
    ----------
    annotations : Annotations
    start_s, stop_s : float
        Seconds; without an end, to that of the recording.

    Returns
    -------
    str
        ``"12 beats: 10 normal, 2 premature ventricular"``; empty where no beat is marked.
    """
    inside = annotations.beat_s >= start_s
    if stop_s is not None:
        inside &= annotations.beat_s < stop_s
    kinds = Counter(annotations.beat_symbols[inside].tolist()).most_common()
    if not kinds:
        return ""
    listed = ", ".join(f"{n:,} {BEATS[symbol]}" for symbol, n in kinds)
    total = sum(n for _, n in kinds)
    return f"{total:,} {'beat' if total == 1 else 'beats'}: {listed}"


def rhythm_lines(annotations: Annotations) -> list[str]:
    """The rhythms with their times, a line each; many alike are counted.

    Parameters
    ----------
    annotations : Annotations

    Returns
    -------
    list of str
    """
    spans = annotations.rhythms
    if len(spans) <= _N_SHOWN:
        return [
            f"{rhythm_words(s.name)}, {clock(s.start_s, tenths=True)} to "
            f"{clock(s.stop_s, tenths=True)}"
            for s in spans
        ]
    seconds: Counter[str] = Counter()
    for span in spans:
        seconds[span.name] += span.stop_s - span.start_s  # type: ignore[assignment]
    counts = Counter(span.name for span in spans)
    return [
        f"{rhythm_words(name)}, {counts[name]:,} {'time' if counts[name] == 1 else 'times'}, "
        f"{clock(lasting)} in all"
        for name, lasting in seconds.most_common()
    ]


def measurement_rows(ecg: StandardEcg) -> list[tuple[str, str, str]]:
    """The device's measurements, and what is found here of the same ECG.

    Parameters
    ----------
    ecg : StandardEcg

    Returns
    -------
    list of (str, str, str)
        What, the device's value, ours.
    """
    measurements = ecg.annotations.measurements
    if not measurements:
        return []
    here: dict[str, float] = {}
    if ecg.duration_s <= LONGEST_BESIDE_S and {"heart_rate_bpm", "rr_ms"} & set(measurements):
        rate = heart_beats(ecg, 0.0, ecg.duration_s).rate_bpm
        if rate is not None:
            here = {"heart_rate_bpm": rate, "rr_ms": 60_000 / rate}
    rows = []
    for name, value in measurements.items():
        words, unit = MEASUREMENTS[name]
        ours = f"{here[name]:.0f} {unit}" if name in here else _NOT_HERE
        rows.append((words, f"{value:g} {unit}".replace(" °", "°"), ours))
    return rows


def annotation_lines(ecg: StandardEcg) -> list[str]:
    """What the file says of the recording, a line each.

    Parameters
    ----------
    ecg : StandardEcg

    Returns
    -------
    list of str
        Empty where it says nothing.
    """
    said = ecg.annotations
    lines = []
    for words, device, ours in measurement_rows(ecg):
        lines.append(f"{words}: {device}" + ("" if ours == _NOT_HERE else f" (here: {ours})"))
    lines += [f"statement: {statement}" for statement in said.statements]
    lines += [f"rhythm: {line}" for line in rhythm_lines(said)]
    if beats := beat_words(said):
        lines.append(beats)
    for mark in said.texts[:_N_SHOWN]:
        lines.append(f"note at {clock(mark.at_s, tenths=True)}: {mark.text}")
    if len(said.texts) > _N_SHOWN:
        lines.append(f"and {len(said.texts) - _N_SHOWN:,} more notes")
    return lines
