"""A folder of one's own: WFDB records of simulated hearts, and a CSV as a spreadsheet writes it.

Semicolons, decimal commas, cp1252, backslashes, endings on some names, empty cells, a name that
reaches out of the folder, a row without a name, a record that is not there, a short one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echoing_core.io import write_wfdb
from echoing_core.records import LEADS
from echoing_core.simulate import simulate_study

TABLE = """\
record; patient_id;report;split;label_af;label_lvef_lt40;lvef_pct
ward\\p1_a;p1;Vorhofflimmern, möglicher Hinterwandinfarkt;Training;1;;38,5
ward/p1_b.hea;p1;sinus rhythm;;0;1;31
p2.dat;p2;sinus rhythm;val;0;0;55
p3;;sinus rhythm;;0;unknown;
gone;p4;;test;0;0;60
short;p5;;test;0;0;60
../outside;p6;;test;0;0;60
;p7;;test;0;0;60
"""
NUMBERS = {"ward/p1_a": 1, "ward/p1_b": 2, "p2": 3, "p3": 4, "short": 5}
"""Record -> patient of the simulated cohort."""


def write_plain(root: Path) -> Path:
    """Write the folder and return it."""
    (root / "ward").mkdir(parents=True, exist_ok=True)
    (root / "studies.csv").write_bytes(TABLE.encode("cp1252"))
    for name, number in NUMBERS.items():
        signal = np.asarray(simulate_study(11, number).clean_12)
        if name == "short":
            signal = signal[:, :4000]
        folder, _, record = name.rpartition("/")
        write_wfdb(root / folder, record, signal, 500.0, LEADS)
    return root
