"""PR, QRS, QT and the axis against the hand marks of LUDB, beside NeuroKit2.

    python benchmarks/delineation.py LUDB [--rival OUT.json] [--half odd|even]

LUDB is a folder of its records (``1.hea``, ``1.dat``, ``1.i`` ... ``1.v6``, ``ludb.csv``). The
constants of `echoing_core.measure` were set with the records of even number in view; what is
claimed is of the odd ones. OUT.json comes from ``benchmarks/delineation_neurokit.py``.

Lead by lead, the truth is the median over the beats that were marked by hand in that lead; ours is
the median beat's, the rival's the median over its beats. Of all leads together, each marked beat
begins and ends by the rule of `measure.waves.agreed`, and the median over beats is taken; the
rival's marks of the same beats are joined by the same rule. "Within" is the share of all true
intervals, so that one that is not measured is not within. Intervals are 95 %, over records.

LUDB scales each lead by itself. For the axis alone, I and III are scaled so that they add up to II;
only then is it known up to one factor, which an axis does not depend on. Its diagnoses name a
range of 30 degrees or more.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import wfdb

from echoing_core.io import read_recording
from echoing_core.measure import MARKS, Measured, measure
from echoing_core.measure.waves import MARK, agreed
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.results import Table
from echoing_core.records import LEADS, Recording

FS_HZ, SAMPLE_MS = 500.0, 2.0
FILES = tuple(lead.lower() for lead in LEADS)
INTERVALS = {
    "PR": ("p_onset", "qrs_onset", 20.0),
    "QRS": ("qrs_onset", "qrs_offset", 20.0),
    "QT": ("qrs_onset", "t_offset", 40.0),
}
NAMES = {"PR": "pr_ms", "QRS": "qrs_ms", "QT": "qt_ms"}
AXIS_DEG = {
    "normal": (30.0, 70.0),
    "horizontal": (0.0, 30.0),
    "vertical": (70.0, 90.0),
    "left axis deviation": (-90.0, 0.0),
    "right axis deviation": (90.0, 180.0),
}
"""What the words of LUDB mean in degrees."""
SAME_BEAT = 50
_LETTERS = {"p": "p", "N": "qrs", "t": "t"}


def hand_marks(record: Path) -> tuple[np.ndarray, np.ndarray]:
    """Samples of the marked beats, and their marks: (n_beats,), (n_leads, n_beats, 8)."""
    beats = [_lead_beats(record, name) for name in FILES]
    at = np.sort(np.concatenate([[b["r"] for b in lead] for lead in beats]))
    groups = np.split(at, np.flatnonzero(np.diff(at) > SAME_BEAT) + 1)
    r = np.array([np.median(group) for group in groups])
    return r, _by_beat(beats, r)


def _lead_beats(record: Path, name: str) -> list[dict[str, float]]:
    read = wfdb.rdann(str(record), name)
    waves: list[tuple[str, float, float, float]] = []
    begin, peak = np.nan, ("", np.nan)
    for at, symbol in zip(read.sample, read.symbol, strict=True):
        if symbol == "(":
            begin, peak = float(at), ("", np.nan)
        elif symbol == ")":
            if peak[0]:
                waves.append((peak[0], begin, peak[1], float(at)))
            begin, peak = np.nan, ("", np.nan)
        else:
            peak = (_LETTERS.get(symbol, ""), float(at))
    beats = []
    for i, (wave, *qrs) in enumerate(waves):
        if wave != "qrs":
            continue
        beat = {"r": qrs[1], "qrs_onset": qrs[0], "qrs_offset": qrs[2]}
        if i and waves[i - 1][0] == "p" and qrs[1] - waves[i - 1][2] < 0.5 * FS_HZ:
            beat |= dict(zip(("p_onset", "p_peak", "p_offset"), waves[i - 1][1:], strict=True))
        if i + 1 < len(waves) and waves[i + 1][0] == "t":
            beat |= dict(zip(("t_onset", "t_peak", "t_offset"), waves[i + 1][1:], strict=True))
        beats.append(beat)
    return beats


def _by_beat(beats: list[list[dict[str, float]]], r: np.ndarray) -> np.ndarray:
    marks = np.full((len(beats), len(r), len(MARKS)), np.nan)
    for k, lead in enumerate(beats):
        for beat in lead:
            j = int(np.argmin(np.abs(r - beat["r"])))
            if abs(r[j] - beat["r"]) <= SAME_BEAT:
                for name in MARKS:
                    marks[k, j, MARK[name]] = beat.get(name, np.nan)
    return marks


def rival_marks(told: dict, r: np.ndarray) -> np.ndarray:
    """Marks of a rival's beats nearest to the marked ones, (n_leads, n_beats, 8)."""
    beats = []
    for name in FILES:
        found = told.get(name) or {"r": []}
        lead = []
        for j, at in enumerate(found["r"]):
            own = {m: found[m][j] for m in MARKS if m in found and found[m][j] is not None}
            lead.append({"r": at, **own})
        beats.append(lead)
    return _by_beat(beats, r)


def interval_ms(marks: np.ndarray, name: str) -> np.ndarray:
    begin, end, _ = INTERVALS[name]
    value = SAMPLE_MS * (marks[..., MARK[end]] - marks[..., MARK[begin]])
    return np.where(value > 0, value, np.nan)


def lead_ms(marks: np.ndarray, name: str) -> np.ndarray:
    """Median over beats of each lead."""
    value = interval_ms(marks, name)
    empty = np.isnan(value).all(axis=1)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty[:, None], 0.0, value), axis=1))


def together_ms(marks: np.ndarray, name: str) -> float:
    """Of all leads together, median over beats."""
    joined = np.array(
        [[agreed(marks[:, j, MARK[m]], m) for m in MARKS] for j in range(marks.shape[1])]
    )
    value = interval_ms(joined, name)
    return float(np.nanmedian(value)) if np.isfinite(value).any() else float("nan")


def ours(found: Measured, name: str, lead: str = "") -> float:
    try:
        value = found.get(NAMES[name], lead).value
    except KeyError:
        return float("nan")
    return float("nan") if value is None else value


def on_one_scale(recording: Recording, found: Measured) -> Recording | None:
    """I, II and III so scaled that I + III is II; the augmented leads left out.

    Fitted on the median beat, for the wandering baseline of a record is larger than its QRS.
    """
    if found.beat is None or not {"I", "II", "III"} <= set(found.beat.leads):
        return None
    one, two, three = (found.beat.row(lead) for lead in ("I", "II", "III"))
    scale, *_ = np.linalg.lstsq(np.stack([one, three], axis=1), two, rcond=None)
    rows = [recording.lead_names.index(lead) for lead in ("I", "II", "III")]
    limb = recording.signal_mv[rows] * np.array([[scale[0]], [1.0], [scale[1]]])
    return replace(
        recording,
        signal_mv=limb.astype(np.float32),
        lead_names=("I", "II", "III"),
        source_names=(),
        stated=(),
    )


def compared(folder: Path, half: str, rival: dict | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row for each interval of each lead (and of all together), and one a record for the axis."""
    stated = pd.read_csv(folder / "ludb.csv").set_index("ID")
    rows, axes = [], []
    for header in sorted(folder.glob("*.hea"), key=lambda path: int(path.stem)):
        number = int(header.stem)
        if (number % 2 == 0) != (half == "even"):
            continue
        recording = read_recording(header)
        found = measure(recording)
        r, truth = hand_marks(header.with_suffix(""))
        theirs = None if rival is None else rival_marks(rival[header.stem], r)
        for name in INTERVALS:
            true = [*lead_ms(truth, name), together_ms(truth, name)]
            of_rival = (
                [np.nan] * len(true)
                if theirs is None
                else [*lead_ms(theirs, name), together_ms(theirs, name)]
            )
            for k, lead in enumerate((*LEADS, "")):
                value = ours(found, name, lead)
                rows.append((number, name, lead or "together", true[k], value, of_rival[k]))
        words = str(stated.loc[number, "Electric axis of the heart"])
        match = re.search(r"heart: ([a-z ]+)", words)
        if match:
            limb = on_one_scale(recording, found)
            axis = None if limb is None else measure(limb).get("qrs_axis_deg").value
            axes.append((number, match[1].strip(), np.nan if axis is None else axis))
    columns = ["record", "interval", "lead", "truth", "ours", "rival"]
    return (
        pd.DataFrame(rows, columns=columns),
        pd.DataFrame(axes, columns=["record", "stated", "axis"]),
    )


def figures(part: pd.DataFrame, who: str, limit_ms: float) -> list[str]:
    """n of n, mean, SD, share within, each with its interval."""
    part = part[part.truth.notna()]
    apart = (part[who] - part.truth).to_numpy(dtype=np.float64)

    def of(values: np.ndarray) -> dict[str, float]:
        known = values[np.isfinite(values)]
        if known.size < 2:
            return {"mean": np.nan, "sd": np.nan, "within": 0.0}
        within = 100.0 * float((np.abs(known) <= limit_ms).sum()) / values.size
        return {"mean": float(known.mean()), "sd": float(known.std(ddof=1)), "within": within}

    told = patient_bootstrap_all(of, (apart,), part.record.to_numpy())
    shown = [f"{e.value:.1f} ({e.low:.1f} to {e.high:.1f})" for e in told.values()]
    return [f"{int(np.isfinite(apart).sum())} of {len(part)}", *shown]


def tables(found: pd.DataFrame, half: str, has_rival: bool) -> list[Table]:
    who = {"ours": "EchoingECG", **({"rival": "NeuroKit2 dwt"} if has_rival else {})}
    header = ["Interval", "Who", "Measured", "Mean difference, ms", "SD, ms", "Within, %"]
    told = []
    for title, of in (("lead by lead", found.lead != "together"), ("all leads together", None)):
        part = found[of] if of is not None else found[found.lead == "together"]
        rows = [
            [
                f"{name} (± {limit:.0f} ms)",
                words,
                *figures(part[part.interval == name], column, limit),
            ]
            for name, (*_, limit) in INTERVALS.items()
            for column, words in who.items()
        ]
        told.append(Table(f"{half} records, {title}", header, rows))
    rows = [
        [lead, *[_short(found, name, lead, column) for name in INTERVALS for column in who]]
        for lead in LEADS
    ]
    names = [f"{name}, {words}" for name in INTERVALS for words in who.values()]
    told.append(Table(f"{half} records, mean ± SD in ms by lead", ["Lead", *names], rows))
    p = found[(found.interval == "PR") & (found.lead == "together")]
    rows = [
        [
            words,
            f"{int((p.truth.notna() & p[column].notna()).sum())} of {int(p.truth.notna().sum())}",
            f"{int((p.truth.isna() & p[column].notna()).sum())} of {int(p.truth.isna().sum())}",
        ]
        for column, words in who.items()
    ]
    header = ["Who", "PR where P is marked", "PR where no P is marked"]
    told.append(Table(f"{half} records, is there a P wave", header, rows))
    return told


def _short(found: pd.DataFrame, name: str, lead: str, column: str) -> str:
    part = found[(found.interval == name) & (found.lead == lead)]
    apart = (part[column] - part.truth).dropna()
    return f"{apart.mean():.0f} ± {apart.std():.0f} (n {len(apart)})"


def axis_table(axes: pd.DataFrame, half: str) -> Table:
    rows = []
    for words, (low, high) in AXIS_DEG.items():
        part = axes[axes.stated == words]
        known = part.axis.dropna()
        within = int(((known >= low - 15.0) & (known <= high + 15.0)).sum())
        inside = int(((known >= low) & (known <= high)).sum())
        rows.append(
            [
                words, f"{low:.0f} to {high:.0f}°", f"{len(known)} of {len(part)}",
                str(inside), str(within),
                f"{known.median():.0f}°" if len(known) else "",
            ]
        )  # fmt: skip
    header = ["Stated", "Range", "Measured", "Inside", "Within 15° of it", "Median"]
    return Table(f"{half} records, QRS axis", header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rival", type=Path)
    parser.add_argument("--half", choices=["odd", "even"], default="odd")
    parser.add_argument("--rows", type=Path, help="also write every difference to this CSV")
    given = parser.parse_args()
    rival = None
    if given.rival is not None:
        rival = json.loads(given.rival.read_text(encoding="utf-8"))
    found, axes = compared(given.folder, given.half, rival)
    if given.rows is not None:
        found.to_csv(given.rows, index=False)
    for table in [*tables(found, given.half, rival is not None), axis_table(axes, given.half)]:
        print(f"\n## {table.title}\n\n{table.to_markdown()}")


if __name__ == "__main__":
    main()
