"""What a person did by hand on the paper of the open recording, and what is measured with it.

Calipers and moved marks belong to one recording: of another one there are none. They are kept by
seconds of the recording, so that they come back with their window, on whatever page.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import ref

from echoing_core import services
from echoing_core.errors import ConfigError, EchoingError
from echoing_core.records import WINDOW_S, Recording
from echoing_core.services import (
    HAND_MARKS,
    MAX_CALIPERS,
    MAX_STRETCHES,
    Caliper,
    Measured,
    WaveMarks,
)
from ui import record, state

_MOST_STEPS_BACK = 100


def measured(recording: Recording, window_s: tuple[float, float] | None, name: str) -> Measured:
    """What is measured of a recording, with the marks that were set by hand.

    Parameters
    ----------
    recording : Recording
    window_s : (float, float) or None
        Start and length of the stretch; None for the whole of a recording of up to
        `services.MEASURED_WHOLE_S`.
    name : str
        One result is remembered under each.

    Returns
    -------
    Measured
    """
    start_s, length_s = (None, 10.0) if window_s is None else window_s
    moved = dict(marks_of(recording, start_s or 0.0))

    def measure() -> Measured:
        try:
            return services.measurements(recording, start_s, length_s, by_hand=moved)
        except ConfigError:
            # Of a session file of another version, whose own marks lay elsewhere.
            kept_of(recording).marks.pop(round(start_s or 0.0, 3), None)
            return services.measurements(recording, start_s, length_s)

    found: Measured = state.remembered(
        name, (recording, window_s, tuple(sorted(moved.items()))), measure
    )
    return found


def stretch(recording: Recording, start_s: float, length_s: float) -> tuple[float, float] | None:
    """What is measured while a window is chosen: the window of a long recording, else all of it.

    Parameters
    ----------
    recording : Recording
    start_s, length_s : float
        The window.

    Returns
    -------
    (float, float) or None
        As `measured` takes it.
    """
    return (start_s, length_s) if recording.duration_s > services.MEASURED_WHOLE_S else None


def _of(recording: Recording) -> state.ByHand | None:
    kept = state.Explore.by_hand.value
    return kept if kept is not None and kept.recording() is recording else None


def kept_of(recording: Recording) -> state.ByHand:
    """What is kept of a recording; it takes the place of what is kept of another.

    Calipers are drawn without a run of the page, so whatever is made later, when a button is
    pressed, holds this and reads it then.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    ByHand
        Changed in place.
    """
    kept = _of(recording)
    if kept is None:
        kept = state.Explore.by_hand.value = state.ByHand(ref(recording))
    return kept


def marks_of(recording: Recording, start_s: float) -> Mapping[str, float]:
    """Marks that were set by hand in the stretch that begins at a second; mostly none.

    Parameters
    ----------
    recording : Recording
    start_s : float

    Returns
    -------
    mapping of str to float
        By `services.HAND_MARKS`, in ms from the fiducial.
    """
    kept = _of(recording)
    return {} if kept is None else kept.marks.get(round(start_s, 3), {})


def steps_back(recording: Recording, start_s: float) -> int:
    """How many changes of the marks of a stretch can be taken back."""
    kept = _of(recording)
    return 0 if kept is None else sum(at == round(start_s, 3) for at, _ in kept.before)


def take_marks(recording: Recording, window_s: tuple[float, float] | None, wanted: object) -> None:
    """Set, take back or undo marks as the paper in the browser says.

    Parameters
    ----------
    recording : Recording
    window_s : (float, float) or None
        The stretch, as in `measured`.
    wanted : object
        ``{"set": {name: ms}}``, ``{"undo": true}`` or ``{"reset": true}``. It comes from outside:
        what cannot be is left out.
    """
    if not isinstance(wanted, dict):
        return
    kept = kept_of(recording)
    at = round(0.0 if window_s is None else window_s[0], 3)
    now = dict(kept.marks.get(at, {}))
    if wanted.get("undo") is True:
        for i in range(len(kept.before) - 1, -1, -1):
            if kept.before[i][0] == at:
                kept.marks[at] = kept.before.pop(i)[1]
                break
        return
    if wanted.get("reset") is True:
        after: dict[str, float] = {}
    else:
        after = now | _numbers(wanted.get("set"))
    if after == now or (at not in kept.marks and len(kept.marks) >= MAX_STRETCHES):
        return
    start_s, length_s = (None, 10.0) if window_s is None else window_s
    try:
        # Marks out of order are refused here, and not on every later run.
        services.measurements(recording, start_s, length_s, by_hand=after)
    except EchoingError:
        return
    kept.before = [*kept.before[1 - _MOST_STEPS_BACK :], (at, now)]
    kept.marks[at] = after


def _numbers(wanted: object) -> dict[str, float]:
    if not isinstance(wanted, dict):
        return {}
    return {
        name: float(at_ms)
        for name, at_ms in wanted.items()
        if name in HAND_MARKS
        and isinstance(at_ms, int | float)
        and not isinstance(at_ms, bool)
        and abs(at_ms) < 10_000
    }


def calipers(start_s: float | None = None) -> tuple[Caliper, ...]:
    """Calipers on the open recording, in the order in which they were drawn.

    Parameters
    ----------
    start_s : float, optional
        Only those that stand within the window that begins here.

    Returns
    -------
    tuple of Caliper
    """
    current = record.opened()
    kept = None if current is None else _of(current.recording)
    if kept is None:
        return ()
    return tuple(c for c in kept.calipers if start_s is None or _within(c, start_s))


def _within(caliper: Caliper, start_s: float) -> bool:
    ends = (caliper.start_s, caliper.end_s)
    return start_s - 1e-3 <= min(ends) and max(ends) <= start_s + WINDOW_S + 1e-3


def take_calipers(start_s: float, wanted: object) -> None:
    """What the paper of a window holds now, in place of what it held.

    Parameters
    ----------
    start_s : float
        Of the window.
    wanted : object
        List of ``{"lead", "t": [s, s], "mv": [mV, mV], "march"}`` with seconds of the window. It
        comes from outside: what cannot be is left out.
    """
    current = record.opened()
    if current is None or not isinstance(wanted, list):
        return
    kept = kept_of(current.recording)
    others = [c for c in kept.calipers if not _within(c, start_s)]
    drawn = [c for item in wanted if (c := _caliper(item, start_s)) is not None]
    kept.calipers = (*others, *drawn)[:MAX_CALIPERS]


def _caliper(item: Any, start_s: float) -> Caliper | None:
    try:
        (first, second), (low, high) = item["t"], item["mv"]
        return Caliper(
            item["lead"],
            round(start_s + float(first), 4),
            round(start_s + float(second), 4),
            round(float(low), 4),
            round(float(high), 4),
            march=item["march"] is True,
        )
    except (TypeError, ValueError, KeyError):
        return None


def from_session(
    recording: Recording, drawn: tuple[Caliper, ...], marks: tuple[WaveMarks, ...]
) -> None:
    """What a session file kept, in place of what there is.

    Parameters
    ----------
    recording : Recording
        That the file was made with.
    drawn : tuple of Caliper
    marks : tuple of WaveMarks
    """
    state.Explore.by_hand.value = state.ByHand(
        ref(recording),
        {round(one.start_s, 3): dict(one.marks_ms) for one in marks},
        drawn,
    )
    # The papers of the page take them from here, and not what their browser remembers.
    state.Explore.paper_round.begin_anew()
