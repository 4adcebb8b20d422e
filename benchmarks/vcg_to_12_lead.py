"""How well 12 leads made from X, Y, Z match the 12 leads measured at the same time.

    python benchmarks/vcg_to_12_lead.py RECORD [RECORD ...]

Each record must hold 12 leads and Frank leads. Prints one Markdown table per record:
correlation and RMS difference in mV per lead, at 100 Hz and 0.5-40 Hz, over the whole
recording; and, as a check of signs and axes, how well Kors's regression of the measured
leads meets the measured X, Y, Z.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from echoing_core.io import read_recording
from echoing_core.records import FRANK_LEADS, LEADS, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.filters import bandpass, fill_gaps
from echoing_core.signals.leads import EIGHT_LEADS, KORS, VCG_METHODS


def rows_of(recording: Recording, names: tuple[str, ...]) -> np.ndarray:
    """Leads by name, shape (n_names, n_times), mV."""
    return recording.signal_mv[[recording.lead_names.index(name) for name in names]]


def frank_only(recording: Recording) -> Recording:
    """The same recording with X, Y, Z alone."""
    return replace(
        recording,
        signal_mv=rows_of(recording, FRANK_LEADS),
        lead_names=FRANK_LEADS,
        source_names=(),
    )


def agreement(a: StandardEcg, b: StandardEcg) -> tuple[np.ndarray, np.ndarray]:
    """Correlation and RMS difference in mV of each lead, where both are valid, shape (12,)."""
    correlations, rms_mv = [], []
    for row in range(len(LEADS)):
        both = a.valid[row] & b.valid[row]
        x = a.signal_mv[row, both].astype(np.float64)
        y = b.signal_mv[row, both].astype(np.float64)
        correlations.append(np.corrcoef(x, y)[0, 1])
        rms_mv.append(np.sqrt(np.mean((x - y) ** 2)))
    return np.array(correlations), np.array(rms_mv)


def kors_check(recording: Recording) -> np.ndarray:
    """Correlation of Kors's X, Y, Z with the measured ones, shape (3,)."""

    def filtered(names: tuple[str, ...]) -> np.ndarray:
        rows = rows_of(recording, names)
        return bandpass(np.stack([fill_gaps(r, recording.fs_hz) for r in rows]), recording.fs_hz)

    made, measured = KORS @ filtered(EIGHT_LEADS), filtered(FRANK_LEADS)
    return np.array([np.corrcoef(m, n)[0, 1] for m, n in zip(made, measured, strict=True)])


def print_table(path: Path) -> None:
    recording = read_recording(path)
    measured = standardise(recording)
    if len(measured.leads_with("measured")) < len(LEADS):
        raise SystemExit(f"{path} does not hold 12 measured leads")
    vcg = frank_only(recording)
    results = {m: agreement(measured, standardise(vcg, vcg_method=m)) for m in VCG_METHODS}
    print(f"\n{recording.record_id}: {recording.duration_s:.1f} s at {recording.fs_hz:g} Hz\n")
    print("| lead | measured RMS mV |" + "".join(f" {m} r | {m} RMS mV |" for m in results))
    print("|---|---|" + "---|---|" * len(results))
    level_mv = np.sqrt(np.mean(measured.signal_mv.astype(np.float64) ** 2, axis=1))
    for row, lead in enumerate(LEADS):
        cells = "".join(f" {r[row]:.2f} | {e[row]:.3f} |" for r, e in results.values())
        print(f"| {lead} | {level_mv[row]:.3f} |{cells}")
    means = "".join(
        f" {r.mean():.2f} | {np.sqrt(np.mean(e**2)):.3f} |" for r, e in results.values()
    )
    print(f"| mean r, overall RMS | {np.sqrt(np.mean(level_mv**2)):.3f} |{means}")
    x, y, z = kors_check(recording)
    print(f"\nKors from the measured leads against the measured X, Y, Z: {x:.2f}, {y:.2f}, {z:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="+", type=Path)
    for path in parser.parse_args().records:
        print_table(path)


if __name__ == "__main__":
    main()
