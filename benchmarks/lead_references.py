"""Percentiles of recordings with few leads: among 12-lead ECGs, and among ECGs with these leads.

``python benchmarks/lead_references.py [--model FOLDER] [--data FOLDER] [--ptbxl FOLDER]
[--day HOURS]`` prints

- of each long two-lead recording below ``--data``: the 5th to 95th percentile of its windows in
  both readings, the span from the 10th to the 90th, and the uncertain stretches;
- of the recordings of the noise stress test (names that begin with 118e), whose noise is switched
  on and off: AUROC of sigma^2 and of both percentiles for "noise is on", the stretches that lie in
  noise, and how much of the noise they find;
- of a generated day with two leads, noise bursts of three kinds and a flat half hour: which bursts
  are found, and whether the cause and the leads that are told are the true ones;
- of ECGs of PTB-XL's fold 9, reduced to lead sets: how many are at percentile 90 or above. It
  should be one in ten, if they are as noisy as the reference.

A percentile is a rising function of sigma^2, so within one recording every order of windows, and
with it every AUROC, stays what it was; only ties at 0 and 100 can cost something.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core import services
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.embed.encode import encode_batch
from echoing_core.evaluate.uncertainty.schedule import judged_windows, noise_schedule
from echoing_core.io import read_recording
from echoing_core.metrics.scores import auroc
from echoing_core.records import Recording
from echoing_core.services import UNSURE_PERCENTILE, Explanation, FlaggedInterval, Model
from echoing_core.signals.lead_sets import LeadSet, reduced_to
from echoing_core.simulate.ecg.long import simulate_long
from echoing_core.simulate.noise.spans import NoiseEpisode, add_noise

STRIDE_S = 10.0
DAY_LEADS = ("II", "V5")
DAY_FS_HZ = 100.0
SEED = 91_131
FOLD_9_SETS = ("12", "limb", "II+V1", "II+V5", "V1+V5", "I", "XYZ:dower")

CAUSES_OF = {
    "muscle": {"noise"},
    "electrode_motion": {"baseline or motion", "noise"},
    "baseline_wander": {"baseline or motion"},
    "flat": {"lead off"},
}
"""Which `Reason` is right for what: motion of an electrode is fast and slow at once."""

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Burst:
    """A disturbance of the generated day."""

    kind: str
    leads: tuple[str, ...]
    start_s: float
    end_s: float


def readings(explanation: Explanation) -> list[tuple[str, npt.NDArray[np.float64]]]:
    """Percentiles of the windows, by what they compare with."""
    everyone = explanation.read_among(all_leads=True)
    return [
        ("12-lead ECGs", everyone.track.percentile),
        ("these leads", explanation.track.percentile),
    ]


def print_spread(name: str, explanation: Explanation) -> None:
    """How much of the scale the windows use, and how much of the time is called uncertain."""
    print(f"{name} ({explanation.lead_set.key}, {len(explanation.track)} windows)")
    for words, percentile in readings(explanation):
        p5, p10, p50, p90, p95 = np.percentile(percentile, (5, 10, 50, 90, 95))
        high = 100 * (percentile >= UNSURE_PERCENTILE).mean()
        runs = np.flatnonzero(np.diff(np.r_[0, percentile >= UNSURE_PERCENTILE, 0])).size // 2
        print(
            f"  among {words:<13} 5-50-95 %: {p5:.0f}-{p50:.0f}-{p95:.0f}; 10 to 90 %: "
            f"{p90 - p10:.0f} points; {high:.0f} % at {UNSURE_PERCENTILE:.0f} or above, "
            f"{runs} stretches"
        )


def seconds_shared(one: tuple[float, float], others: Spans) -> float:
    """Seconds of a span that lie in any of some others, which do not overlap."""
    return sum(max(0.0, min(one[1], b) - max(one[0], a)) for a, b in others)


def print_schedule(model: Model, explanation: Explanation) -> None:
    """A recording whose noise is switched on and off at known times."""
    ecg, track = explanation.ecg, explanation.track
    spans = noise_schedule(ecg.duration_s)
    starts, noisy, _ = judged_windows(ecg.n_times, spans)
    # Windows of the track that lie wholly in noise or wholly outside.
    label = dict(zip(starts.tolist(), noisy.tolist(), strict=True))
    at = np.round(track.start_s * ecg.fs_hz).astype(int).tolist()
    rows = np.array([i for i, start in enumerate(at) if start in label])
    truth = np.array([label[at[i]] for i in rows])
    scores = [("sigma^2", track.uncertainty), *readings(explanation)]
    words = ", ".join(f"{name} {auroc(truth, score[rows]):.4f}" for name, score in scores)
    print(f"  noise on or off, AUROC: {words} ({truth.sum()} and {(~truth).sum()} windows)")
    for name, read in (
        ("12-lead ECGs", explanation.read_among(all_leads=True)),
        ("these leads", explanation),
    ):
        found = services.flagged_intervals(model, read)
        print_found(name, [(t.interval.start_s, t.interval.end_s) for t in found], spans)
        kinds = [t.kind for t in found]
        print("    causes:", {kind: kinds.count(kind) for kind in sorted(set(kinds))})


def print_found(name: str, found: Spans, truth: Spans) -> None:
    """Stretches against the truth, in seconds and by number."""
    flagged = sum(b - a for a, b in found)
    inside = sum(seconds_shared(span, truth) for span in found)
    noisy = sum(b - a for a, b in truth)
    hit = sum(seconds_shared(span, found) > 0 for span in truth)
    print(
        f"    among {name}: {len(found)} stretches; {100 * inside / max(flagged, 1e-9):.0f} % of "
        f"their time is noise, {100 * inside / noisy:.0f} % of the noise lies in them, {hit} of "
        f"{len(truth)} noisy spans met"
    )


def made_day(hours: float) -> tuple[Recording, list[Burst]]:
    """Two leads for some hours, with bursts of noise and a flat half hour in the last third.

    One simulated hour is repeated: a day of different beats would take minutes to draw, and the
    noise is new each time.
    """
    hour = simulate_long(
        SEED, 0, duration_s=3600.0, fs_hz=DAY_FS_HZ, leads="12", noise=()
    ).recording
    rows = [hour.lead_names.index(lead) for lead in DAY_LEADS]
    n = round(hours * 3600 * DAY_FS_HZ)
    signal = np.tile(hour.signal_mv[rows], (1, int(np.ceil(hours))))[:, :n].copy()
    rng = np.random.default_rng(SEED)
    bursts: list[Burst] = []
    flat = (0.7 * hours * 3600, 0.7 * hours * 3600 + 1800.0)
    start = 300.0
    while start < hours * 3600 - 600:
        length = float(rng.uniform(40.0, 240.0))
        if start + length + 60 < flat[0] or start > flat[1] + 60:
            kind = str(rng.choice(["muscle", "electrode_motion", "baseline_wander"]))
            # One lead or both; strong enough that a person would call it noise.
            which = [[0], [1], [0, 1]][int(rng.integers(3))]
            leads = tuple(DAY_LEADS[i] for i in which)
            lo, hi = round(start * DAY_FS_HZ), round((start + length) * DAY_FS_HZ)
            episode = NoiseEpisode(kind, float(rng.uniform(0.6, 1.0)), 0.0, length)
            # Lead by lead, or the draw might leave one of them out.
            for i in which:
                noisy, _ = add_noise(signal[[i], lo:hi], DAY_FS_HZ, (DAY_LEADS[i],), [episode], rng)
                signal[i, lo:hi] = noisy[0]
            bursts.append(Burst(kind, leads, start, start + length))
        start += length + float(rng.uniform(300.0, 1500.0))
    lo, hi = (round(s * DAY_FS_HZ) for s in flat)
    signal[:, lo:hi] = signal[:, [lo]]
    bursts.append(Burst("flat", DAY_LEADS, *flat))
    recording = Recording(signal, DAY_FS_HZ, DAY_LEADS, "day", simulated=True)
    return recording, sorted(bursts, key=lambda burst: burst.start_s)


def print_day(model: Model, hours: float) -> None:
    """The generated day: which bursts are found, and what is said of them."""
    recording, bursts = made_day(hours)
    explanation = services.explain(model, recording, STRIDE_S)
    print_spread(f"generated, {hours:g} h, one simulated hour repeated", explanation)
    truth = [(burst.start_s, burst.end_s) for burst in bursts]
    everyone = explanation.read_among(all_leads=True)
    for name, read in (("12-lead ECGs", everyone), ("these leads", explanation)):
        found = services.flagged_intervals(model, read)
        print_found(name, [(t.interval.start_s, t.interval.end_s) for t in found], truth)
        print_causes(found, bursts)


def print_causes(found: Sequence[FlaggedInterval], bursts: Sequence[Burst]) -> None:
    """Of the stretches that meet one burst alone: is its cause told, and are its leads?"""
    by_kind: dict[str, list[tuple[bool, bool]]] = {}
    elsewhere = 0
    for told in found:
        span = (told.interval.start_s, told.interval.end_s)
        met = [b for b in bursts if seconds_shared(span, [(b.start_s, b.end_s)]) > 0]
        if len(met) != 1:
            elsewhere += 1
            continue
        (burst,) = met
        right = told.kind in CAUSES_OF[burst.kind]
        by_kind.setdefault(burst.kind, []).append((right, set(told.leads) == set(burst.leads)))
    for kind, checks in sorted(by_kind.items()):
        causes, leads = (sum(values) for values in zip(*checks, strict=True))
        print(f"      {kind}: cause right {causes}, leads right {leads}, of {len(checks)}")
    print(f"      stretches that meet no burst, or several: {elsewhere}")


def print_fold_9(model: Model, ptbxl: Path) -> None:
    """Real ECGs with known leads taken away: is one in ten at percentile 90 or above?"""
    studies = load_ptbxl(ptbxl, folds=(9,))
    checkpoint = model.checkpoint
    print(f"PTB-XL fold 9, {len(studies)} ECGs: share at 90 or above, and 10-50-90 %")
    for key in FOLD_9_SETS:
        lead_set = LeadSet.from_key(key)
        windows = reduced_to(lead_set, studies.signal_mv, studies.valid)
        sums = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, *windows).uncertainty
        for words, reference in (
            ("12-lead ECGs", model.reference),
            ("these leads", services.reference_of(model, lead_set)),
        ):
            percentile = reference.percentile(sums)
            low, middle, high = np.percentile(percentile, (10, 50, 90))
            share = 100 * (percentile >= UNSURE_PERCENTILE).mean()
            print(
                f"  {key:<10} among {words:<13} {share:3.0f} %, {low:.0f}-{middle:.0f}-{high:.0f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders of recordings")
    parser.add_argument("--ptbxl", type=Path)
    parser.add_argument("--day", type=float, default=24.0, help="hours; 0 leaves it out")
    options = parser.parse_args()
    model = services.load_model(options.model)
    print(f"model {model.name} {model.hash[:16]}")
    for header in sorted(h for folder in options.data for h in folder.glob("*.hea")):
        explanation = services.explain(model, read_recording(header), STRIDE_S)
        print_spread(header.stem, explanation)
        if header.stem.startswith("118e"):
            print_schedule(model, explanation)
    if options.day:
        print_day(model, options.day)
    if options.ptbxl is not None:
        print_fold_9(model, options.ptbxl)


if __name__ == "__main__":
    main()
