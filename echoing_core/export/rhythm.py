"""The rhythm of a recording as JSON, as CSV, as Markdown, and as annotations of its beats."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np

from echoing_core.figures.style import clock
from echoing_core.metrics.results import Table
from echoing_core.records import Annotations, Recording, RhythmSpan, TextMark
from echoing_core.rhythm import KINDS, Measure, Rhythm, RhythmView
from echoing_core.rhythm.measures import RATE_BEATS
from echoing_core.version import DISCLAIMER

SOURCE = "found by EchoingECG; checked by nobody"
NOT_MEASURABLE = "not measurable"
MOST_LISTED = 40
"""Episodes and pauses in a table for people; JSON has all of them."""


def measure_words(measure: Measure) -> str:
    """A measure as it stands in a table.

    Parameters
    ----------
    measure : Measure

    Returns
    -------
    str
        Its value and unit, or "not measurable" and why.
    """
    if measure.value is None:
        return f"{NOT_MEASURABLE}: {measure.why}"
    if measure.name == "recorded_s":
        return clock(measure.value)
    whole = measure.unit == "" and measure.name != "lf_hf"
    # Three digits that mean something, and all of a number that is counted.
    digits = 0 if whole or abs(measure.value) >= 100 else 1 if abs(measure.value) >= 10 else 2
    return f"{measure.value:,.{digits}f} {measure.unit}".strip()


def measure_rows(rhythm: Rhythm) -> list[list[str]]:
    """What is measured, of all and of what was kept.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    list of list of str
        Words, value, and without what was rejected where something was told of that.
    """
    kept = rhythm.kept.measures if rhythm.kept is not None else [None] * len(rhythm.all.measures)
    return [
        [one.words, measure_words(one), *([measure_words(other)] if other is not None else [])]
        for one, other in zip(rhythm.all.measures, kept, strict=True)
    ]


def rhythm_values(rhythm: Rhythm) -> dict[str, Any]:
    """Plain values for JSON.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    dict
        Times in seconds from the start of the recording; ``without_rejected`` is null where
        nothing is known of what to reject.
    """
    beats = rhythm.all.beats
    return {
        "disclaimer": DISCLAIMER,
        "recording": rhythm.record_id,
        "simulated": rhythm.simulated,
        "duration_s": round(beats.duration_s, 3),
        "leads": list(beats.leads),
        "kinds": dict(KINDS),
        "rejected_s": [[round(a, 3), round(b, 3)] for a, b in rhythm.rejected],
        "all": _view_values(rhythm.all),
        "without_rejected": None if rhythm.kept is None else _view_values(rhythm.kept),
        "beat_s": [round(at, 4) for at in beats.time_s.tolist()],
        "beat_kinds": "".join(beats.kind.tolist()),
    }


def rhythm_json(rhythm: Rhythm, name: str = "") -> str:
    """The text of `rhythm_values`, under a name that is no person's.

    Parameters
    ----------
    rhythm : Rhythm
    name : str, optional
        In place of the recording's own.

    Returns
    -------
    str
        With a line end.
    """
    values = rhythm_values(replace(rhythm, record_id=name) if name else rhythm)
    return json.dumps(values, indent=1) + "\n"


def _view_values(view: RhythmView) -> dict[str, Any]:
    return {
        "measures": {
            one.name: {
                "value": None if one.value is None else round(one.value, 4),
                "unit": one.unit,
                "why_not" if one.value is None else "of": one.why,
            }
            for one in view.measures
        },
        "af_episodes": [
            {
                "start_s": round(one.start_s, 3),
                "stop_s": round(one.stop_s, 3),
                "beats": one.n_beats,
                "probability": round(one.probability, 3),
            }
            for one in view.episodes
        ],
        "pauses": [
            {
                "start_s": round(one.start_s, 3),
                "stop_s": round(one.stop_s, 3),
                "doubtful": one.doubtful,
            }
            for one in view.pauses
        ],
        "hours": [
            {
                "start_s": row.start_s,
                "recorded_s": round(row.recorded_s, 1),
                "beats": row.n_beats,
                "ventricular": row.n_ventricular,
                "supraventricular": row.n_supraventricular,
                "rate_bpm": _rounded(row.rate_bpm),
                "slowest_bpm": _rounded(row.slowest_bpm),
                "fastest_bpm": _rounded(row.fastest_bpm),
            }
            for row in view.hours
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def rhythm_csv(rhythm: Rhythm) -> str:
    """One row a beat.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    str
        An interval or probability that is not known is empty.
    """
    beats = rhythm.all.beats
    rejected = np.zeros(len(beats), dtype=np.int64)
    for start_s, stop_s in rhythm.rejected:
        first, stop = np.searchsorted(beats.time_s, [start_s, stop_s]).tolist()
        rejected[first:stop] = 1
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["time_s", "kind", "rr_ms", "qrs_ms", "likeness", "af_probability", "rejected"])
    columns = (
        beats.time_s, beats.kind, beats.rr_ms, beats.qrs_ms, beats.likeness,
        rhythm.all.af_probability, rejected,
    )  # fmt: skip
    for at, kind, rr, qrs, like, af, left_out in zip(*columns, strict=True):
        writer.writerow(
            [
                f"{at:.4f}", kind, _cell(rr, 1), f"{qrs:.0f}", f"{like:.3f}", _cell(af, 3),
                int(left_out),
            ]
        )  # fmt: skip
    return out.getvalue()


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else ""


def rhythm_tables(rhythm: Rhythm) -> list[Table]:
    """The tables that people read: measures, hours, episodes, pauses.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    list of Table
        Those that hold anything.
    """
    header = ["Measure", "Value"]
    note = ""
    if rhythm.kept is not None:
        header = ["Measure", "All of it", "Without unsure windows"]
        n, seconds = len(rhythm.rejected), sum(b - a for a, b in rhythm.rejected)
        stretches = "stretch" if n == 1 else "stretches"
        note = f"Left out on the right: {n:,} {stretches}, {clock(seconds)} in all."
    tables = [Table("", header, measure_rows(rhythm), note=note)]
    view = rhythm.best
    of = "" if rhythm.kept is None else "Without unsure windows. "
    if len(view.hours) > 1:
        rows = [
            [
                clock(row.start_s),
                clock(row.recorded_s),
                f"{row.n_beats:,}",
                *(
                    "-" if rate is None else f"{rate:.0f}"
                    for rate in (row.rate_bpm, row.slowest_bpm, row.fastest_bpm)
                ),
                f"{row.n_ventricular:,}",
                f"{row.n_supraventricular:,}",
            ]
            for row in view.hours
        ]
        head = ["From", "Recorded", "Beats", "Mean bpm", "Slowest", "Fastest", "V", "S"]
        note = f"{of}Slowest and fastest are means over {RATE_BEATS} intervals or more."
        tables.append(Table("By hour", head, rows, note=note))
    for title, found in (
        ("Like atrial fibrillation", [(e.start_s, e.stop_s, "") for e in view.episodes]),
        (
            "Pauses",
            [
                (p.start_s, p.stop_s, "a beat beside it is unsure" if p.doubtful else "")
                for p in view.pauses
            ],
        ),
    ):
        if found:
            rows = [
                [clock(a, tenths=True), clock(b, tenths=True), f"{b - a:.1f} s", words]
                for a, b, words in found[:MOST_LISTED]
            ]
            more = len(found) - MOST_LISTED
            note = of.strip() if more <= 0 else f"{of}And {more:,} more."
            tables.append(Table(title, ["From", "To", "Lasts", ""], rows, note=note))
    return tables


def rhythm_markdown(rhythm: Rhythm) -> str:
    """The tables as Markdown.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    str
        With a line end.
    """
    said = " (simulated)" if rhythm.simulated else ""
    parts = [f"# Rhythm of {rhythm.record_id}{said}\n"]
    for table in rhythm_tables(rhythm):
        parts += [f"## {table.title}\n"] if table.title else []
        parts.append(table.to_markdown())
    parts.append(f"Leads: {', '.join(rhythm.all.beats.leads)}. {DISCLAIMER}\n")
    return "\n".join(parts)


def rhythm_annotations(rhythm: Rhythm) -> Annotations:
    """Beats, episodes and pauses as a file's annotations hold them.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    Annotations
        Of all that was recorded.
    """
    beats = rhythm.all.beats
    return Annotations(
        beat_s=beats.time_s,
        beat_symbols=beats.kind,
        rhythms=tuple(RhythmSpan(e.start_s, e.stop_s, "AFIB") for e in rhythm.all.episodes),
        sources=(SOURCE,),
    )


def pause_marks(rhythm: Rhythm) -> tuple[TextMark, ...]:
    """The pauses as words at the beat before each.

    Parameters
    ----------
    rhythm : Rhythm

    Returns
    -------
    tuple of TextMark
        The longest `MOST_LISTED`, in the order of time.
    """
    longest = sorted(rhythm.all.pauses, key=lambda p: -p.duration_s)[:MOST_LISTED]
    marks = [TextMark(p.start_s, f"pause of {p.duration_s:.1f} s") for p in longest]
    return tuple(sorted(marks, key=lambda mark: mark.at_s))


def annotated(recording: Recording, rhythm: Rhythm) -> Recording:
    """A recording with the beats found here instead of what its file says of them.

    Parameters
    ----------
    recording : Recording
    rhythm : Rhythm
        Of the same recording.

    Returns
    -------
    Recording
        For writing; measurements and statements of the device stay.
    """
    said = recording.annotations
    ours = replace(
        rhythm_annotations(rhythm),
        measurements=said.measurements,
        statements=said.statements,
        sources=(*said.sources, SOURCE),
    )
    # Of words that `plain_notes` knows, so that it is written whole.
    note = "Beats and rhythm annotations are computed from the waveforms, not read from the file."
    return replace(recording, annotations=ours, notes=(*recording.notes, note))
