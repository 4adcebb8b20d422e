"""The stretch of a recording that a prepared set keeps: its first 10 s that were measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from echoing_core.errors import SignalQualityError
from echoing_core.records import WINDOW_S, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.windows import WINDOW_N


def first_window(recording: Recording, *, pad_shorter: bool = False) -> StandardEcg:
    """Standardise a recording and cut out its first 10 s that were measured.

    The whole recording is filtered before it is cut, so that the filter does not ring at the cut.
    The window begins at the first sample at which at least half of the leads that are measured at
    all are measured, or so much earlier that it fits into the recording.

    Parameters
    ----------
    recording : Recording
    pad_shorter : bool
        A recording under 10 s is filled up at its end with samples that are not valid. Without,
        it is refused.

    Returns
    -------
    StandardEcg
        1000 samples at 100 Hz.

    Raises
    ------
    RecordError
        It cannot be standardised, is too short, or has nothing measured in that window.
    """
    if pad_shorter and recording.duration_s < WINDOW_S:
        lacking = int(np.ceil(WINDOW_S * recording.fs_hz)) - recording.n_times
        filled = np.pad(recording.signal_mv, ((0, 0), (0, lacking)), constant_values=np.nan)
        recording = replace(recording, signal_mv=filled)
    ecg = standardise(recording)
    if ecg.n_times == WINDOW_N:
        return ecg
    measured = ecg.valid[ecg.valid.any(axis=1)]
    enough = 2 * measured.sum(axis=0) >= max(1, len(measured))
    start = min(int(np.argmax(enough)), ecg.n_times - WINDOW_N)
    window = slice(start, start + WINDOW_N)
    if not ecg.valid[:, window].any():
        raise SignalQualityError(
            f"Recording {recording.record_id} has nothing measured in the 10 s from "
            f"{start / ecg.fs_hz:g} s on. Choose another recording."
        )
    return replace(
        ecg,
        signal_mv=np.ascontiguousarray(ecg.signal_mv[:, window]),
        valid=np.ascontiguousarray(ecg.valid[:, window]),
    )
