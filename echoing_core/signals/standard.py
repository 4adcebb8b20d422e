"""From a recording as measured to the 12 leads at 100 Hz that the model reads."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from echoing_core.errors import MissingLeadError, SignalQualityError
from echoing_core.records import (
    FRANK_LEADS,
    LEADS,
    LONG_PADDING,
    STANDARD_FS_HZ,
    WINDOW_S,
    BoolArray,
    Recording,
    StandardEcg,
)
from echoing_core.signals.filters import (
    bandpass,
    check_fs,
    check_padding,
    fill_gaps,
    resample,
    resampled_length,
    resampling_ratio,
    valid_after_resampling,
)
from echoing_core.signals.leads import (
    DEFAULT_VCG_METHOD,
    LIMB_LEADS,
    VCG_METHOD_NAMES,
    limb_lead_sources,
    limb_weights,
    vcg_matrix,
)
from echoing_core.signals.windows import WINDOW_N

logger = logging.getLogger(__name__)


SHORTEST_S = 2.5
"""One row of a printed ECG; anything shorter says too little to be read as a window of 10 s."""


def filled_to_window(recording: Recording) -> Recording:
    """A recording of less than one window, with the rest of the window as not measured.

    What was not recorded stays that: NaN becomes not valid, the model is given the mask, and
    sigma^2 grows with what is missing.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    Recording
        The same one where it fills a window; else one of 10 s that says what was added.

    Raises
    ------
    SignalQualityError
        It is shorter than `SHORTEST_S`.
    """
    check_fs(recording.fs_hz)
    ratio = resampling_ratio(recording.fs_hz, STANDARD_FS_HZ, n_times=recording.n_times)
    if resampled_length(recording.n_times, ratio) >= WINDOW_N:
        return recording
    # A sample less than 2.5 s is 2.5 s for anybody who exported it.
    if recording.n_times + 1 < SHORTEST_S * recording.fs_hz:
        raise SignalQualityError(
            f"Recording {recording.record_id} is {recording.duration_s:.2f} s long; at least "
            f"{SHORTEST_S:g} s are needed. Choose a longer recording."
        )
    lacking = int(np.ceil(WINDOW_S * recording.fs_hz)) - recording.n_times
    filled = np.pad(recording.signal_mv, ((0, 0), (0, lacking)), constant_values=np.nan)
    note = (
        f"The recording lasts {recording.duration_s:.3g} s; the last "
        f"{lacking / recording.fs_hz:.2g} s of the window of {WINDOW_S:g} s were not recorded, and "
        "the model is told so."
    )
    return replace(recording, signal_mv=filled, notes=(*recording.notes, note))


def standardise(
    recording: Recording,
    *,
    vcg_method: str = DEFAULT_VCG_METHOD,
    filter_padding: str = LONG_PADDING,
) -> StandardEcg:
    """Filter, resample and complete a recording: 12 leads, 0.5-40 Hz, 100 Hz.

    The whole recording is band-passed (Butterworth of order 4, zero phase), then resampled
    by a rational ratio, lead by lead. Measured leads are kept as they are; missing limb
    leads follow from two measured ones (Einthoven, Goldberger); what is then still missing
    is synthesised from X, Y, Z if all three were measured. Everything else is "missing".

    Gaps (NaN) stay gaps: ``valid`` is False and the signal 0 there and in a small guard
    around them (`filters.valid_after_resampling`). A lead that holds nothing but gaps counts
    as not measured.

    Parameters
    ----------
    recording : Recording
    vcg_method : str
        ``"dower"``, ``"kors_pinv"`` or ``"kors_gls"``, see `signals.leads`.
    filter_padding : {"long", "scipy"}
        See `records.PADDINGS`; for a model, that of its folder.

    Returns
    -------
    StandardEcg
        ``n_times`` is ceil(recording.n_times * 100 / fs).

    Raises
    ------
    MissingLeadError
        If the recording holds neither one of the 12 leads nor all of X, Y and Z.
    SignalQualityError
        If it is shorter than one window of 10 s, or holds nothing but gaps.
    SamplingRateError
        If the sampling rate is too low for 0.5-40 Hz.
    ConfigError
        If ``vcg_method`` or ``filter_padding`` does not exist.
    """
    # Everything that can be refused is refused before anything is filtered.
    from_xyz = vcg_matrix(vcg_method)
    check_fs(recording.fs_hz)
    check_padding(filter_padding)
    ratio = resampling_ratio(recording.fs_hz, STANDARD_FS_HZ, n_times=recording.n_times)
    n_out = resampled_length(recording.n_times, ratio)
    _check_leads(recording)
    if n_out < WINDOW_N:
        raise SignalQualityError(
            f"Recording {recording.record_id} is {recording.duration_s:.2f} s long; at least "
            f"{WINDOW_S:g} s are needed. Choose a longer recording."
        )
    measured, empty = _measured_rows(recording)
    notes = list(recording.notes)
    if empty:
        plural = "s" if len(empty) > 1 else ""
        notes.append(f"Lead{plural} {', '.join(empty)} held no measured value and was left out.")

    signal_mv = np.zeros((len(LEADS), n_out), dtype=np.float32)
    valid = np.zeros((len(LEADS), n_out), dtype=np.bool_)
    origin = ["missing"] * len(LEADS)

    # One lead at a time: a day of 12 leads in float64 would be many gigabytes.
    def standard_row(name: str) -> tuple[npt.NDArray[np.float32], BoolArray]:
        lead_mv = recording.signal_mv[measured[name]]
        row_valid = valid_after_resampling(lead_mv, recording.fs_hz, n_out)
        filled = fill_gaps(lead_mv, recording.fs_hz)
        row = resample(bandpass(filled, recording.fs_hz, padding=filter_padding), ratio)
        return row.astype(np.float32), row_valid

    for row, lead in enumerate(LEADS):
        if lead in measured:
            signal_mv[row], valid[row] = standard_row(lead)
            origin[row] = "measured"

    # Limb leads first: two measured leads give the others exactly, a VCG only by a model.
    derivations = []
    sources = limb_lead_sources(measured)
    if sources is not None and not all(lead in measured for lead in LIMB_LEADS):
        a, b = LEADS.index(sources[0]), LEADS.index(sources[1])
        for lead, weights in limb_weights(sources).items():
            row = LEADS.index(lead)
            if origin[row] == "missing":
                signal_mv[row] = weights[0] * signal_mv[a] + weights[1] * signal_mv[b]
                valid[row] = valid[a] & valid[b]
                origin[row] = "derived"
        derivations.append(f"Einthoven and Goldberger from {sources[0]}, {sources[1]}")

    if all(axis in measured for axis in FRANK_LEADS):
        if "missing" in origin:
            # Every derived lead has a share of X, Y and Z, and is valid where all three are.
            all_valid = np.ones(n_out, dtype=np.bool_)
            wanted = [row for row in range(len(LEADS)) if origin[row] == "missing"]
            for axis, name in enumerate(FRANK_LEADS):
                axis_mv, axis_valid = standard_row(name)
                all_valid &= axis_valid
                for row in wanted:
                    signal_mv[row] += np.float32(from_xyz[row, axis]) * axis_mv
            for row in wanted:
                valid[row] = all_valid
                origin[row] = "derived"
            derivations.append(f"{VCG_METHOD_NAMES[vcg_method]} from X, Y, Z")
        else:
            notes.append("X, Y and Z are in the recording too; the 12 leads are used.")

    for row in range(len(LEADS)):
        # What the filter made of bridged gaps is no signal.
        signal_mv[row, ~valid[row]] = 0.0
    logger.debug("%s: %s", recording.record_id, dict(zip(LEADS, origin, strict=True)))
    return StandardEcg(
        signal_mv=signal_mv,
        valid=valid,
        lead_origin=tuple(origin),
        record_id=recording.record_id,
        derivation="; ".join(derivations) or None,
        notes=tuple(notes),
        simulated=recording.simulated,
        annotations=recording.annotations,
    )


def _check_leads(recording: Recording) -> None:
    """Refuse a recording from which no ECG lead can be had, naming what it holds."""
    names = recording.lead_names
    if any(lead in names for lead in LEADS):
        return
    axes = [axis for axis in FRANK_LEADS if axis in names]
    if len(axes) == len(FRANK_LEADS):
        return
    if axes:
        missing = [axis for axis in FRANK_LEADS if axis not in names]
        raise MissingLeadError(
            f"Recording {recording.record_id} holds {' and '.join(axes)} but not "
            f"{' and '.join(missing)}; 12 leads need all of X, Y and Z. "
            f"Choose a recording with three orthogonal leads, or with ECG leads."
        )
    channels = ", ".join(names) if names else "no channel at all"
    raise MissingLeadError(
        f"Recording {recording.record_id} has no ECG lead; it holds: {channels}. At least one of "
        f"{', '.join(LEADS)}, or X, Y and Z together, is needed; say which "
        "lead a channel is when opening it."
    )


def _measured_rows(recording: Recording) -> tuple[dict[str, int], list[str]]:
    """Rows of the ECG leads that hold values, and the names of those that hold none."""
    measured: dict[str, int] = {}
    empty: list[str] = []
    for row, name in enumerate(recording.lead_names):
        if name not in LEADS and name not in FRANK_LEADS:
            continue
        if np.isfinite(recording.signal_mv[row]).any():
            measured[name] = row
        else:
            empty.append(name)
    usable = any(lead in measured for lead in LEADS) or all(a in measured for a in FRANK_LEADS)
    if not usable:
        raise SignalQualityError(
            f"Recording {recording.record_id} holds no measured value in "
            f"{', '.join(empty)}. Choose a recording with a signal in at least one ECG lead, "
            f"or in X, Y and Z together."
        )
    return measured, empty
