"""Gaps of single leads in EDF+, which has no value that means "not measured".

Our writer says them by annotations with a duration, for one lead by its label after ``@@``; and
where the last data record is longer than the recording, by the standard's "Recording ends".

References
----------
https://www.edfplus.info, sections 2.1.3 and 2.2.2 (annotations), additional specifications 13.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.io.channels import Channel, array_of

NOT_RECORDED = "Not recorded"
RECORDING_ENDS = "Recording ends"

_SECONDS = rb"(\d{1,8}(?:\.\d{0,9})?)"
_GAP = re.compile(
    rb"\+" + _SECONDS + rb"\x15" + _SECONDS + rb"\x14Not recorded(?:@@([^\x14\0]{1,60}))?\x14"
)
_END = re.compile(rb"\+" + _SECONDS + rb"\x14Recording ends\x14")


def with_gaps(channels: Sequence[Channel], annotations: bytes) -> bool:
    """Put NaN where annotations say that nothing was recorded, and cut what follows the end.

    Parameters
    ----------
    channels : sequence of Channel
        Their signals are changed; ``source_name`` is the label in the file.
    annotations : bytes
        The annotations of all data records of a recording without interruption.

    Returns
    -------
    bool
        Whether there were any.
    """
    found = [(float(a), float(b), label.decode("latin-1")) for a, b, label in
             ((m[1], m[2], m[3] or b"") for m in _GAP.finditer(annotations))]  # fmt: skip
    end = _END.search(annotations)
    for channel in channels:
        # One pass, however many there are and however they overlap.
        steps = np.zeros(channel.signal_mv.size + 1, dtype=np.int32)
        for start_s, lasts_s, label in found:
            if label in ("", channel.source_name):
                _mark(steps, start_s * channel.fs_hz, (start_s + lasts_s) * channel.fs_hz)
        array_of(channel)[np.cumsum(steps[:-1]) > 0] = np.nan
        if end is not None:
            channel.signal_mv = channel.signal_mv[: max(1, round(float(end[1]) * channel.fs_hz))]
    return bool(found) or end is not None


def _mark(steps: npt.NDArray[np.int32], start: float, stop: float) -> None:
    last = steps.size - 1
    steps[min(round(start), last)] += 1
    steps[min(round(stop), last)] -= 1
