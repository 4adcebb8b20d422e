"""How many misplaced electrodes are found, and how many ECGs are suspected without reason?

    python benchmarks/misplaced_electrodes.py PTBXL [--folds 9]

Real ECGs of PTB-XL with electrodes put in each other's places by the lead equations
(`simulate.noise.electrodes.misplace`): share of ECGs with each suspicion of
`uncertainty.artefacts`. The first row is as recorded: a swap that truly happened there counts as
suspected without reason.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.records import LEADS
from echoing_core.simulate.noise.electrodes import MISPLACEMENTS, misplace
from echoing_core.uncertainty.artefacts import ARMS, CHEST, GROUND, suspected_misplacements

SEED = 5
MEASURED = ("measured",) * len(LEADS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    given = parser.parse_args()
    studies = load_ptbxl(given.ptbxl, folds=given.folds)
    print(f"{len(studies)} ECGs\n")
    print("| Electrodes | arms | ground | chest | any |")
    print("|---|---|---|---|---|")
    for kind in (None, *MISPLACEMENTS):
        rng = np.random.default_rng(SEED)
        suspicions = []
        for signal_mv, valid in zip(studies.signal_mv, studies.valid, strict=True):
            leads_mv = signal_mv if kind is None else misplace(signal_mv, valid, rng, kind)
            suspected = suspected_misplacements(leads_mv, valid, MEASURED)
            suspicions.append(
                [each in suspected for each in (ARMS, GROUND, CHEST)] + [bool(suspected)]
            )
        shares = " | ".join(f"{share:.3f}" for share in np.mean(suspicions, axis=0))
        print(f"| {kind or 'as recorded'} | {shares} |")


if __name__ == "__main__":
    main()
