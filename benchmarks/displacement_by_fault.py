"""Which faults move mu further than sigma^2 says? Kind by kind, on PTB-XL fold 9.

    python benchmarks/displacement_by_fault.py PTBXL [--model FOLDER]

For each fault: mean squared distance that mu moved, its ratio to the mean sum of sigma^2 (1 is
right, 100 is overconfident by ten in standard deviation), AUROC of sigma^2 for the faulty against
the same ECGs as recorded, share of zero-shot answers (five superclasses) turned round, and, of
the ECGs that moved by more than 0.1, the share whose sigma^2 is one that a tenth of the ECGs as
recorded exceed ("sure of it"). The last block holds faults that training does not draw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from echoing_core import load_model
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import encode_sides
from echoing_core.evaluate.shipped.held_out import SUPERCLASSES
from echoing_core.metrics.scores import auroc
from echoing_core.records import LEADS, STANDARD_FS_HZ
from echoing_core.services import prompt_sets
from echoing_core.signals.filters import bandpass
from echoing_core.simulate import NoiseEpisode
from echoing_core.simulate.noise.spans import KINDS, add_noise
from echoing_core.training.demo import PTBXL_TEST_FOLDS
from echoing_core.zeroshot import closed_form

MOVED = 0.1
SEED = 404
REPLACING = ("lead_off", "saturation")
Change = Callable[[np.ndarray], np.ndarray]


def with_fault(
    ecg: np.ndarray,
    kind: str,
    severity: float,
    span_s: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """One ECG, shape (12, n_times), with one disturbance, filtered as the reader would."""
    faulty, _ = add_noise(ecg, STANDARD_FS_HZ, LEADS, [NoiseEpisode(kind, severity, *span_s)], rng)
    hit = np.flatnonzero((faulty != ecg).any(axis=1))
    out = ecg.copy()
    if hit.size:
        passed = bandpass(
            faulty[hit] if kind in REPLACING else faulty[hit] - ecg[hit], STANDARD_FS_HZ
        )
        out[hit] = passed if kind in REPLACING else ecg[hit] + passed
    return out


def row_order(*order: int) -> Change:
    return lambda x: x[:, list(order)]


def arms_swapped(x: np.ndarray) -> np.ndarray:
    # I turns round; II and III change places, and so do aVR and aVL.
    swapped = x[:, [0, 2, 1, 4, 3, *range(5, 12)]]
    swapped[:, 0] *= -1
    return swapped


def slowed(x: np.ndarray) -> np.ndarray:
    at = np.arange(x.shape[2]) / 1.5
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    return (1 - part) * x[:, :, low] + part * x[:, :, low + 1]


UNTRAINED: dict[str, Change] = {
    "arm electrodes swapped": arms_swapped,
    "V1 and V3 swapped": row_order(0, 1, 2, 3, 4, 5, 8, 7, 6, 9, 10, 11),
    "V1-V6 in reverse": row_order(0, 1, 2, 3, 4, 5, 11, 10, 9, 8, 7, 6),
    "all leads upside down": lambda x: -x,
    "half the gain": lambda x: 0.5 * x,
    "twice the gain": lambda x: 2.0 * x,
    "slowed to two thirds": slowed,
    "chest leads of another ECG": lambda x: np.concatenate(
        [x[:, :6], np.roll(x, 1, axis=0)[:, 6:]], axis=1
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    checkpoint = load_model(given.model).checkpoint
    studies = load_ptbxl(given.ptbxl, folds=PTBXL_TEST_FOLDS)
    signal_mv, valid = studies.signal_mv, studies.valid
    before = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid)
    directions = np.stack(
        [
            closed_form.question_direction(*encode_sides(checkpoint, item))
            for item in prompt_sets()
            if item.label in SUPERCLASSES
        ],
        axis=1,
    )
    usual = np.quantile(before.uncertainty, 0.9)

    def print_row(name: str, changed: np.ndarray, known: np.ndarray) -> None:
        after = encode_batch(
            checkpoint.encoder.ecg, checkpoint.scaler, changed.astype(np.float32), known
        )
        moved = ((after.mu - before.mu) ** 2).sum(axis=1)
        far = moved > MOVED
        label = np.repeat([0, 1], len(moved))
        area = auroc(label, np.concatenate([before.uncertainty, after.uncertainty]))
        turned = np.mean((after.mu @ directions > 0) != (before.mu @ directions > 0))
        sure = f"{(after.uncertainty[far] < usual).mean():.2f}" if far.any() else ""
        print(
            f"| {name} | {moved.mean():.3f} | {moved.mean() / after.uncertainty.mean():.2f} "
            f"| {area:.2f} | {turned:.3f} | {far.mean():.2f} | {sure} |"
        )

    print(f"{len(studies)} ECGs\n")
    print("| Fault | moved | moved / sigma^2 | AUROC | turned | far | sure of it |")
    print("|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(SEED)
    for kind in KINDS:
        for severity, span_s in ((0.3, (0.0, 10.0)), (0.8, (0.0, 10.0)), (0.8, (3.0, 6.0))):
            faulty = [with_fault(ecg, kind, severity, span_s, rng) for ecg in signal_mv]
            where = "whole" if span_s == (0.0, 10.0) else "3-6 s"
            print_row(f"{kind}, severity {severity:g}, {where}", np.stack(faulty), valid)
    for keep in (("I",), ("II", "V1"), LEADS[:6], LEADS[6:]):
        known = valid & np.isin(LEADS, keep)[:, None]
        print_row("only " + ", ".join(keep), signal_mv * known, known)
    for name, change in UNTRAINED.items():
        print_row(name, change(signal_mv), valid)


if __name__ == "__main__":
    main()
