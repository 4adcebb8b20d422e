"""Long simulated recordings whose rhythm and noise come and go.

Laid out like the recordings of the MUSIC study: X, Y, Z at 1000 Hz for 1196 s, or a Holter at
200 Hz. Noise alternates between quiet and disturbed stretches, as a person who walks, lies down
and turns over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import FRANK_LEADS, LEADS, Recording
from echoing_core.simulate.ecg.heart_vector import render, twelve_leads
from echoing_core.simulate.ecg.reading import find_in_ecg, measure_beat, true_labels
from echoing_core.simulate.ecg.study import patient_body
from echoing_core.simulate.heart.patients import (
    LONG,
    SIMULATED_NOTE,
    patient_id,
    patient_state,
    stream,
)
from echoing_core.simulate.heart.rhythm import BeatTrain, beat_train
from echoing_core.simulate.heart.state import HeartState
from echoing_core.simulate.noise.spans import NoiseEpisode, NoiseSpan, add_noise, noise_floor

F32 = npt.NDArray[np.float32]

# Rendered in pieces of this length, so that a day at 200 Hz needs little beside its result.
_PIECE_S = 300.0

# Beats this far outside a piece may still reach into it.
_SEAM_S = 1.2


@dataclass(frozen=True)
class RhythmEpisode:
    """From ``start_s`` on (until the next episode) the heart differs in ``changes``.

    Attributes
    ----------
    start_s : float
    changes : tuple of (str, value)
        Fields of `HeartState`, for example ``(("rhythm", "af"), ("heart_rate_bpm", 110.0))``.
    """

    start_s: float
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class SimulatedLong:
    """A long recording and its truth.

    Attributes
    ----------
    recording : Recording
    noise_spans : tuple of NoiseSpan
    state : HeartState
        The heart at the start.
    episodes : tuple of (float, float, str)
        Start, end and rhythm of each stretch.
    onset_s : ndarray
        QRS onsets.
    labels : dict
        As in `SimulatedStudy`, of the heart at the start.
    """

    recording: Recording
    noise_spans: tuple[NoiseSpan, ...]
    state: HeartState
    episodes: tuple[tuple[float, float, str], ...]
    onset_s: npt.NDArray[np.float64]
    labels: dict[str, float | bool | str]


def simulate_long(
    seed: int,
    patient: int,
    *,
    duration_s: float,
    fs_hz: float,
    leads: str,
    schedule: Sequence[RhythmEpisode] | None = None,
    noise: Sequence[NoiseEpisode] | None = None,
    test_pattern_s: float = 0.0,
) -> SimulatedLong:
    """Simulate one long recording; the arguments determine it fully.

    Parameters
    ----------
    seed, patient : int
        The cohort, and the number of the patient in it, from 0.
    duration_s, fs_hz : float
        Length in s; sampling rate in Hz, at least 90.
    leads : {"xyz", "12"}
        Frank leads, or the 12 leads.
    schedule : sequence of RhythmEpisode, optional
        Changes of the heart; none by default. Ectopy comes and goes in any case.
    noise : sequence of NoiseEpisode, optional
        Where the noise lies; drawn when not given.
    test_pattern_s : float
        Length of the pattern of 0 and 1 units (0.001 mV) at the start, as MUSIC records
        have it.

    Raises
    ------
    ConfigError
        Leads that are neither, a length or rate that is not positive, an episode outside the
        recording or with an unknown field.
    """
    _check(duration_s, fs_hz, leads, schedule or ())
    n_times = round(duration_s * fs_hz)
    rng = stream(LONG, seed, patient)
    base = patient_state(seed, patient)
    build, torso = patient_body(seed, patient)
    stretches = _stretches(base, schedule or (), duration_s)
    signal = np.zeros((3 if leads == "xyz" else 12, n_times), dtype=np.float32)
    trains: list[BeatTrain] = []
    # Each stretch of one rhythm has a train of beats of its own, which is drawn in pieces.
    for number, (state, start, stop) in enumerate(stretches):
        # Circuits and pacemakers keep their rate.
        drift = 0.0 if state.rhythm in ("flutter", "paced", "svt") else 0.05
        train = beat_train(state, start, stop, rng, rate_drift=drift)
        # A pause at each change of rhythm: the last T wave ends, then the next P wave begins.
        train = train.within(
            start - _SEAM_S if number == 0 else start + 0.35,
            stop + _SEAM_S if number == len(stretches) - 1 else stop - 0.5,
        )
        trains.append(train.within(start, stop))
        for begin in np.arange(start, stop, _PIECE_S):
            end = min(begin + _PIECE_S, stop)
            lo, hi = round(begin * fs_hz), min(round(end * fs_hz), n_times)
            xyz, eight = render(
                state,
                build,
                None if leads == "xyz" else torso,
                train.within(begin - _SEAM_S, end + _SEAM_S),
                start_s=lo / fs_hz,
                n_times=hi - lo,
                fs_hz=fs_hz,
                # Anew for each piece: atrial waves depend on the clock and meet at the seams.
                rng=stream(LONG, seed, patient, number + 1),
            )
            signal[:, lo:hi] = xyz if leads == "xyz" else twelve_leads(eight)
            signal[:, lo:hi] += noise_floor(signal.shape[0], hi - lo, fs_hz, rng, size_mv=0.005)
    names = FRANK_LEADS if leads == "xyz" else LEADS
    episodes = list(noise) if noise is not None else _come_and_go(duration_s, rng)
    signal, spans = add_noise(signal, fs_hz, names, episodes, rng)
    notes = [SIMULATED_NOTE]
    if test_pattern_s > 0:
        n_pattern = min(round(test_pattern_s * fs_hz), n_times)
        # Four samples of 0, four of 1, and so on; noise under the pattern is none.
        signal[:, :n_pattern] = 0.001 * (np.arange(n_pattern) // 4 % 2)
        spans = tuple(
            replace(span, start_s=max(span.start_s, test_pattern_s))
            for span in spans
            if span.end_s > test_pattern_s
        )
        notes.append(f"A test pattern of 0 and 1 fills the first {test_pattern_s:g} s.")
    # Labels are those of the heart at the start; ectopy counts wherever it occurs.
    first_findings = find_in_ecg(
        base, measure_beat(base, build, torso), np.concatenate([t.kind for t in trains])
    )
    name = f"{patient_id(seed, patient)}-long"
    return SimulatedLong(
        recording=Recording(
            signal_mv=signal,
            fs_hz=fs_hz,
            lead_names=names,
            record_id=name,
            source_names=names,
            notes=tuple(notes),
            simulated=True,
        ),
        noise_spans=spans,
        state=base,
        episodes=tuple((start, stop, state.rhythm) for state, start, stop in stretches),
        onset_s=np.concatenate([train.onset_s for train in trains]),
        labels=true_labels(base, first_findings),
    )


def _check(duration_s: float, fs_hz: float, leads: str, schedule: Sequence[RhythmEpisode]) -> None:
    if leads not in ("xyz", "12"):
        raise ConfigError(f'A long recording has leads "xyz" or "12", not {leads!r}.')
    if not duration_s > 0 or not fs_hz >= 90:
        raise ConfigError(
            f"A recording of {duration_s:g} s at {fs_hz:g} Hz cannot be simulated; the length "
            "must be positive and the rate at least 90 Hz."
        )
    known = set(HeartState.__dataclass_fields__)
    for episode in schedule:
        unknown = sorted({key for key, _ in episode.changes} - known)
        if unknown:
            raise ConfigError(
                f"A heart has no {', '.join(unknown)}; see HeartState for its fields."
            )
        if not 0 <= episode.start_s < duration_s:
            raise ConfigError(
                f"An episode starts at {episode.start_s:g} s, outside the {duration_s:g} s."
            )


def _stretches(
    base: HeartState, schedule: Sequence[RhythmEpisode], duration_s: float
) -> list[tuple[HeartState, float, float]]:
    """The heart of each stretch, with its start and end; changes are those of the base heart."""
    ordered = sorted(schedule, key=lambda e: e.start_s)
    if not ordered or ordered[0].start_s > 0:
        ordered = [RhythmEpisode(0.0), *ordered]
    ends = [*(e.start_s for e in ordered[1:]), duration_s]
    return [
        (replace(base, **dict(e.changes)), e.start_s, end)
        for e, end in zip(ordered, ends, strict=True)
        if end > e.start_s
    ]


def _come_and_go(duration_s: float, rng: np.random.Generator) -> list[NoiseEpisode]:
    """Quiet stretches of about two minutes, disturbed ones of about half a minute."""
    usual = ("baseline_wander", "muscle", "electrode_motion", "mains")
    faults = ("lead_off", "step", "spike", "saturation")
    episodes: list[NoiseEpisode] = []
    t = float(rng.uniform(5.0, 60.0))
    while t < duration_s - 5.0:
        length = float(np.clip(rng.exponential(35.0), 6.0, 240.0))
        end = min(t + length, duration_s)
        severity = float(rng.uniform(0.15, 1.0))
        # One kind of disturbance, often a second, sometimes a fault within it.
        kinds = [str(rng.choice(usual, p=(0.3, 0.35, 0.25, 0.1)))]
        if rng.random() < 0.45:
            kinds.append(str(rng.choice(usual)))
        if rng.random() < 0.25:
            kinds.append(str(rng.choice(faults)))
        for kind in dict.fromkeys(kinds):
            start = t if kind in usual else float(rng.uniform(t, max(t, end - 6.0)))
            stop = end if kind in usual else min(start + float(rng.uniform(4.0, 20.0)), end)
            episodes.append(NoiseEpisode(kind, severity, start, stop))
        t = end + float(np.clip(rng.exponential(100.0), 15.0, 600.0))
    return episodes
