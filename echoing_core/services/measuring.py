"""Measurements of a recording, and what changed from one recording to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from echoing_core.errors import RecordError
from echoing_core.measure import LONGEST_S, Measured, Serial, compare_measured, measure, stretch_of
from echoing_core.records import LEADS, Recording
from echoing_core.signals.standard import standardise
from echoing_core.uncertainty.artefacts import suspected_misplacements

MEASURED_WHOLE_S = 60.0
"""A recording of up to this long is measured whole."""


def measurements(
    recording: Recording,
    start_s: float | None = None,
    length_s: float = 10.0,
    *,
    sex: str | None = None,
    by_hand: Mapping[str, float] | None = None,
) -> Measured:
    """Measure a recording, or a stretch of a long one.

    Parameters
    ----------
    recording : Recording
    start_s : float, optional
        Where the stretch begins, in seconds; without it the whole of a recording of up to
        `MEASURED_WHOLE_S`, and the beginning of a longer one.
    length_s : float
        Of the stretch.
    sex : {"male", "female"}, optional
        For the Cornell criterion.
    by_hand : mapping of str to float, optional
        Marks that a person set, as in `measure`.

    Returns
    -------
    Measured
        Its notes say what was assumed when the recording was read, and what looks like electrodes
        put wrongly.

    Raises
    ------
    ConfigError
        Marks set by hand that cannot be, or a sex that is none.
    RecordError
        It holds no ECG lead or no such stretch, or its sampling rate is too low.
    """
    if start_s is None and recording.duration_s <= MEASURED_WHOLE_S:
        start_s, length_s = 0.0, LONGEST_S
    measured = measure(recording, start_s or 0.0, length_s, sex=sex, by_hand=by_hand)
    doubts = _misplacements(stretch_of(recording, start_s or 0.0, length_s))
    return replace(measured, notes=(*measured.notes, *doubts))


def _misplacements(part: Recording) -> tuple[str, ...]:
    """What looks as if electrodes were put wrongly, in the words of an explanation."""
    # Without all of these nothing is suspected, and filtering is spared.
    if not set(LEADS[6:]) <= set(part.lead_names):
        return ()
    try:
        ecg = standardise(part)
    except RecordError:
        return ()
    found = suspected_misplacements(ecg.signal_mv, ecg.valid, ecg.lead_origin)
    return tuple(one.sentence for one in found)


def serial_comparison(
    one: Recording,
    other: Recording,
    *,
    starts_s: tuple[float | None, float | None] = (None, None),
    sex: str | None = None,
) -> Serial:
    """Measurements of two recordings of one person, and their differences.

    Parameters
    ----------
    one, other : Recording
    starts_s : (float or None, float or None)
        Where the ten seconds of each begin; without, all of up to `MEASURED_WHOLE_S` is measured,
        and the first ten seconds of a longer one.
    sex : {"male", "female"}, optional

    Returns
    -------
    Serial

    Raises
    ------
    RecordError
        One of them holds no ECG lead or no such stretch, or its sampling rate is too low.
    """
    first, second = (
        measurements(recording, start_s, sex=sex)
        for recording, start_s in zip((one, other), starts_s, strict=True)
    )
    return compare_measured(first, second)
