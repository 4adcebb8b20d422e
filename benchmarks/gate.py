"""What the gate costs: a 10-s ECG looked at in a worker process, beside the same in this process.

``python benchmarks/gate.py`` prints milliseconds, their difference and their ratio for each format,
and the same for one upload while a hostile one holds another worker.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import ecg_files as made

from echoing_core.errors import StoppedReadingError
from echoing_core.io.looking import look
from echoing_core.services import uploads

REPEATS = 25


def median_ms(call: Callable[[], object]) -> float:
    """Median time of a call, after two that do not count."""
    taken = []
    for number in range(REPEATS + 2):
        began = time.perf_counter()
        call()
        if number >= 2:
            taken.append(1000.0 * (time.perf_counter() - began))
    return statistics.median(taken)


def hold() -> None:
    """Occupy a worker until its limit, as a file made for it would."""
    try:
        uploads.gated(sum, range(10**12))
    except StoppedReadingError:
        return


def main() -> None:
    """Print the table."""
    signal = made.ecg(10.0)
    kinds = {
        "WFDB": made.wfdb(signal),
        "EDF": {"a.edf": made.edf(signal)},
        "DICOM": {"a.dcm": made.dicom(signal)},
        "CSV": {"a.csv": made.csv(signal)},
    }
    uploads.warm()
    # Until the worker has imported everything that it has time for.
    time.sleep(8.0)
    print(f"{'format':8}{'here':>10}{'gate':>10}{'more':>10}{'ratio':>8}   ms, median of {REPEATS}")
    for name, files in kinds.items():
        here = median_ms(lambda files=files: look(files))
        gate = median_ms(lambda files=files: uploads.gated(look, files))
        print(f"{name:8}{here:10.1f}{gate:10.1f}{gate - here:10.1f}{gate / here:8.2f}")
    idle = median_ms(lambda: uploads.gated(look, kinds["WFDB"]))
    thread = threading.Thread(target=hold)
    thread.start()
    time.sleep(0.5)
    busy = median_ms(lambda: uploads.gated(look, kinds["WFDB"]))
    held = thread.is_alive()
    print(f"WFDB while a hostile upload is read: {busy:.1f} ms, {busy / idle:.2f} times of idle")
    if not held:
        print("(the hostile upload ended before; its limit is by processor time)")
    thread.join()
    uploads.close()


if __name__ == "__main__":
    main()
