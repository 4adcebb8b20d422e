"""Marks of NeuroKit2 on LUDB, for `benchmarks/delineation.py` to set beside ours.

NeuroKit2 asks for an old pandas, so that it has an environment of its own, and this file imports
nothing of EchoingECG:

    python -m venv RIVAL && RIVAL/bin/pip install neurokit2 wfdb
    RIVAL/bin/python benchmarks/delineation_neurokit.py LUDB OUT.json

Each lead is cleaned, its R peaks are found and it is delineated (`dwt`), all by NeuroKit2's own
defaults. Samples are those of the recording; a lead that NeuroKit2 fails on has no marks.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import neurokit2 as nk
import numpy as np
import wfdb

MARKS = {
    "p_onset": "ECG_P_Onsets",
    "p_offset": "ECG_P_Offsets",
    "qrs_onset": "ECG_R_Onsets",
    "qrs_offset": "ECG_R_Offsets",
    "t_onset": "ECG_T_Onsets",
    "t_offset": "ECG_T_Offsets",
}


def marks_of(signal: np.ndarray, fs_hz: float) -> dict[str, list[float | None]]:
    """R peaks of one lead, and the marks of each of its beats."""
    cleaned = nk.ecg_clean(signal, sampling_rate=fs_hz)
    _, peaks = nk.ecg_peaks(cleaned, sampling_rate=fs_hz)
    r = peaks["ECG_R_Peaks"]
    _, waves = nk.ecg_delineate(cleaned, r, sampling_rate=fs_hz, method="dwt")
    found = {"r": [float(at) for at in r]}
    for name, theirs in MARKS.items():
        found[name] = [None if np.isnan(at) else float(at) for at in waves[theirs]]
    return found


def main() -> None:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    warnings.simplefilter("ignore")
    told = {}
    for header in sorted(folder.glob("*.hea")):
        record = wfdb.rdrecord(str(header.with_suffix("")))
        told[header.stem] = {}
        for name, signal in zip(record.sig_name, record.p_signal.T, strict=True):
            try:
                told[header.stem][name] = marks_of(signal, record.fs)
            except (ValueError, IndexError, ZeroDivisionError, KeyError, TypeError) as error:
                sys.stderr.write(f"{header.stem} {name}: {error}\n")
                told[header.stem][name] = None
    out.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
