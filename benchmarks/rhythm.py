"""Beats, ventricular beats and atrial fibrillation: how well they are told, beside plain rivals.

    python benchmarks/rhythm.py DATA [--model FOLDER] [--fit] [--without v|af|ptbxl]

DATA holds ``mitdb_more``, ``long_recordings/mitdb``, ``nstdb``, ``cinc2017_one_lead`` and
``ptbxl``. Beats and ventricular beats as ANSI/AAMI EC57 counts them: within 150 ms, without the
first five minutes, fusion and unclassifiable beats called ventricular not counted as false. 118e12
has the annotations of 118e24, which is the same recording with less noise. Atrial fibrillation by
recording, on the half of CinC 2017 that the weights were not fitted on (SHA-256 of its name); with
`--fit` the weights of the other half are printed. "Without rejects": beats in windows above the
90th percentile of sigma^2 left out. A recording of which too little is left counts as none.
"""

from __future__ import annotations

import argparse
import ast
import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from echoing_core import load_model
from echoing_core.io import Told, read_recording
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.scores import auroc
from echoing_core.records import Annotations
from echoing_core.rhythm.beats import Beats, find_beats_of
from echoing_core.rhythm.fibrillation import (
    conducted_intervals_ms,
    irregularity,
    recording_af_probability,
)
from echoing_core.rhythm.shapes import VENTRICULAR
from echoing_core.rhythm.whole import beats_outside
from echoing_core.services import explain
from echoing_core.services.rhythm import rejected_spans

WINDOW_S, SKIPPED_S = 0.15, 300.0
# 208 was run once before anybody looked at it (sensitivity 51.6 %, PPV 99.5 % of V), which showed
# that the noise between beats was measured on neighbouring beats; all after that is looked at.
LOOKED_AT = ("103", "105", "108", "118e12", "208")
RECORDS = {
    "101": "mitdb_more/101",
    "208": "long_recordings/mitdb/208",
    "103": "mitdb_more/103",
    "105": "mitdb_more/105",
    "108": "mitdb_more/108",
    "118e12": "mitdb_more/118e12",
}


def matched(truth_s: np.ndarray, found_s: np.ndarray) -> np.ndarray:
    """For each true beat the nearest found one within the window, each used once; -1 for none."""
    match = np.full(len(truth_s), -1)
    taken: set[int] = set()
    for k, at in enumerate(truth_s.tolist()):
        j = int(np.searchsorted(found_s, at))
        near = [i for i in (j - 1, j) if 0 <= i < len(found_s) and i not in taken]
        near = [i for i in near if abs(found_s[i] - at) <= WINDOW_S]
        if near:
            match[k] = min(near, key=lambda i: abs(found_s[i] - at))
            taken.add(int(match[k]))
    return match


def premature(beats: Beats) -> np.ndarray:
    """The rival: a beat that comes before 80 % of the median of the last nine intervals."""
    rr = pd.Series(beats.rr_ms)
    return np.asarray(rr < 0.8 * rr.rolling(9, min_periods=3).median().shift(1))


def counts(truth: Annotations, beats: Beats, ventricular: np.ndarray) -> Counter[str]:
    match = matched(truth.beat_s, beats.time_s)
    late = truth.beat_s >= SKIPPED_S
    called = np.array([i >= 0 and bool(ventricular[i]) for i in match])
    spare = np.ones(len(beats), dtype=bool)
    spare[match[match >= 0]] = False
    spare &= beats.time_s >= SKIPPED_S
    true_v = truth.beat_symbols == "V"
    open_kind = np.isin(truth.beat_symbols, ["V", "F", "Q"])
    return Counter(
        {
            "beats": int(late.sum()),
            "found": int((late & (match >= 0)).sum()),
            "spare": int(spare.sum()),
            "V": int((late & true_v).sum()),
            "V right": int((late & true_v & called).sum()),
            "V wrong": int((late & ~open_kind & called).sum() + (spare & ventricular).sum()),
        }
    )


def share(part: int, rest: int) -> str:
    return f"{100 * part / (part + rest):.1f}" if part + rest else "-"


def ventricular_table(data: Path) -> None:
    print("\n| record | beats | Se / PPV of beats | V | Se / PPV of V | by prematurity alone |")
    print("|---|---|---|---|---|---|")
    totals = [Counter[str](), Counter[str]()]
    for name, path in RECORDS.items():
        recording = read_recording(data / f"{path}.hea")
        truth = recording.annotations
        if name == "118e12":
            truth = read_recording(data / "nstdb/118e24.hea").annotations
        beats = find_beats_of(recording)
        both = [
            counts(truth, beats, beats.kind == VENTRICULAR),
            counts(truth, beats, premature(beats)),
        ]
        for total, one in zip(totals, both, strict=True):
            total.update(one)
        print(row(f"{name}{' (looked at)' if name in LOOKED_AT else ''}", *both))
    print(row("all", *totals))


def row(name: str, ours: Counter[str], rival: Counter[str]) -> str:
    told = [
        f"{share(c['V right'], c['V'] - c['V right'])} / {share(c['V right'], c['V wrong'])}"
        f" ({c['V wrong']} false)"
        for c in (ours, rival)
    ]
    found = share(ours["found"], ours["beats"] - ours["found"])
    true = share(ours["found"], ours["spare"])
    return f"| {name} | {ours['beats']} | {found} / {true} | {ours['V']} | {told[0]} | {told[1]} |"


def is_for_fitting(record: str) -> bool:
    return hashlib.sha256(record.encode()).digest()[0] % 2 == 0


def variation(beats: Beats) -> float:
    """The rival: standard deviation of all intervals over their mean."""
    rr_ms = beats.rr_ms[np.isfinite(beats.rr_ms)]
    return float(rr_ms.std() / rr_ms.mean()) if rr_ms.size >= 2 else 0.0


def fibrillation_table(data: Path, model_folder: Path | None, fit: bool) -> None:
    folder = data / "cinc2017_one_lead"
    with (folder / "labels.csv").open() as stream:
        labels = {line["record"]: line["label"] for line in csv.DictReader(stream)}
    if fit:
        fitted(folder, labels)
    model = load_model(model_folder)
    rows = []
    for name, label in labels.items():
        if is_for_fitting(name):
            continue
        recording = read_recording(folder / f"{name}.hea", told=Told({"ECG": "I"}))
        beats = find_beats_of(recording)
        explanation = explain(model, recording)
        spans = rejected_spans(explanation.track, recording.duration_s)
        kept = beats_outside(beats, spans)
        rows.append(
            (
                label,
                recording_af_probability(beats) or 0.0,
                recording_af_probability(kept) or 0.0,
                variation(beats),
                variation(kept),
                recording_af_probability(kept) is not None,
                sum(stop - start for start, stop in spans) / recording.duration_s,
            )
        )
    table = pd.DataFrame(
        rows, columns=["label", "ours", "kept", "cv", "cv kept", "measurable", "rejected"]
    )
    print("\n| AF against | recordings | ours | ours, without rejects | CV | CV, without rejects |")
    print("|---|---|---|---|---|---|")
    for words, chosen in (
        ("normal and other", table[table.label != "~"]),
        ("normal, other and noisy", table),
        (
            "normal and other, of which enough is left",
            table[(table.label != "~") & table.measurable],
        ),
        ("all, of which enough is left", table[table.measurable]),
    ):
        print(auroc_row(words, chosen))
    print("\n| label | recordings | share of time rejected | enough is left |\n|---|---|---|---|")
    for label, chosen in table.groupby("label"):
        print(
            f"| {label} | {len(chosen)} | {100 * chosen.rejected.mean():.0f} % | "
            f"{100 * chosen.measurable.mean():.0f} % |"
        )
    for label, chosen in table.groupby("label"):
        print(f"called AF at 0.5, {label}: {100 * (chosen.ours >= 0.5).mean():.1f} %")


def auroc_row(words: str, table: pd.DataFrame) -> str:
    names = ["ours", "kept", "cv", "cv kept"]
    found = patient_bootstrap_all(
        lambda label, *scores: {
            name: auroc(label, score) for name, score in zip(names, scores, strict=True)
        },
        ((table.label == "A").to_numpy(), *(table[name].to_numpy() for name in names)),
        np.arange(len(table)),
    )
    told = [f"{e.value:.3f} ({e.low:.3f}-{e.high:.3f})" for e in found.values()]
    return f"| {words} | {len(table)} | " + " | ".join(told) + " |"


def fitted(folder: Path, labels: dict[str, str]) -> None:
    """Print the weights of `rhythm.fibrillation`."""
    features, truth = [], []
    for name, label in labels.items():
        if is_for_fitting(name):
            recording = read_recording(folder / f"{name}.hea", told=Told({"ECG": "I"}))
            found = irregularity(conducted_intervals_ms(find_beats_of(recording)))
            if found is not None:
                features.append(found)
                truth.append(label == "A")
    x = np.array(features)
    mean, std = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(C=0.1, max_iter=500).fit((x - mean) / std, truth)
    weights = model.coef_[0] / std
    bias = model.intercept_[0] - (weights * mean).sum()
    print(f"WEIGHTS = {tuple(np.round(weights, 3).tolist())}, BIAS = {bias:.3f}, of {len(x)}")


def ptbxl_table(data: Path) -> None:
    """12 leads of 10 s, on which nothing here was set: premature beats and AF as stated there."""
    table = pd.read_csv(data / "ptbxl/ptbxl_database.csv", index_col="ecg_id")
    table = table[(table.strat_fold != 8) & table.scp_codes.notna()]
    rows = []
    for _, line in table.iterrows():
        path = data / "ptbxl" / f"{line.filename_lr}.hea"
        if not path.is_file():
            continue
        codes = ast.literal_eval(line.scp_codes)
        beats = find_beats_of(read_recording(path))
        rows.append(
            (
                "PVC" in codes,
                "AFIB" in codes,
                beats.n(VENTRICULAR),
                int(premature(beats).sum()),
                recording_af_probability(beats),
                variation(beats),
                "PACE" in codes,
            )
        )
    found = pd.DataFrame(rows, columns=["pvc", "af", "v", "early", "af p", "cv", "paced"])
    found["af p"] = found["af p"].astype(float)
    print(
        f"\nPTB-XL without fold 8: {len(found)} ECGs, {found.pvc.sum()} PVC, {found.af.sum()} AFIB"
    )
    called = found.v > 0
    print(f"PVC: {100 * called[found.pvc].mean():.1f} % of them have a V beat, ", end="")
    print(f"{100 * called[~found.pvc].mean():.1f} % of the others ", end="")
    print(f"(paced: {100 * called[~found.pvc & found.paced].mean():.0f} %)")
    early = found.early > 0
    print(f"  by prematurity alone: {100 * early[found.pvc].mean():.1f} %, ", end="")
    print(f"{100 * early[~found.pvc].mean():.1f} %")
    found["af all"] = found["af p"].fillna(0.0)
    enough = found[found["af p"].notna()]
    print(f"Intervals enough to tell AF: {len(enough)} ECGs, {enough.af.sum()} of them AFIB")
    for words, table, truth, names in (
        ("PVC", found, "pvc", ("v", "early")),
        ("AF, none told counts as none", found, "af", ("af all", "cv")),
        ("AF, where it is told", enough, "af", ("af p", "cv")),
    ):
        told = patient_bootstrap_all(
            lambda label, *scores, names=names: {
                name: auroc(label, score) for name, score in zip(names, scores, strict=True)
            },
            (table[truth].to_numpy(), *(table[name].to_numpy() for name in names)),
            np.arange(len(table)),
        )
        figures = {k: f"{e.value:.3f} ({e.low:.3f}-{e.high:.3f})" for k, e in told.items()}
        print(f"{words}: AUROC", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--without", action="append", default=[], choices=["v", "af", "ptbxl"])
    given = parser.parse_args()
    if "v" not in given.without:
        ventricular_table(given.data)
    if "af" not in given.without:
        fibrillation_table(given.data, given.model, given.fit)
    if "ptbxl" not in given.without:
        ptbxl_table(given.data)


if __name__ == "__main__":
    main()
