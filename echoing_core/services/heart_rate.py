"""Heart beats and heart rate of a window."""

from __future__ import annotations

from echoing_core.records import WINDOW_S, StandardEcg
from echoing_core.signals.heart_beats import HeartBeats, heart_beats

__all__ = ["HeartBeats", "window_beats"]


def window_beats(ecg: StandardEcg, start_s: float, length_s: float = WINDOW_S) -> HeartBeats:
    """Beats, RR intervals and heart rate of one window, with what cannot be relied on.

    Parameters
    ----------
    ecg : StandardEcg
    start_s, length_s : float
        The window in seconds.
    """
    return heart_beats(ecg, start_s, length_s)
