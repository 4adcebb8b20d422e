"""Does sigma^2 follow noise that comes and goes along a recording?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.errors import DataSetError, RecordError
from echoing_core.evaluate.uncertainty.added_noise import (
    NOISES,
    StressNoise,
    lead_noise,
    noise_gain,
    read_stress_noise,
)
from echoing_core.evaluate.uncertainty.scores import (
    SCORES,
    Floats,
    Scorer,
    measure_scores,
    section,
)
from echoing_core.io import read_recording
from echoing_core.metrics.results import Experiment, Result
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import STANDARD_FS_HZ, BoolArray, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.windows import WINDOW_N, window_starts
from echoing_core.simulate import simulate_long

Spans = Sequence[tuple[float, float]]
"""Start and end in seconds of spans with noise, in order, apart from each other."""

SNR_DB = (12, 6, 0)
STRIDE_S = 5.0
BLOCK_S = 30.0
LEAD_IN_S, TURN_S = 300.0, 120.0
"""The noise stress test's schedule: five quiet minutes, then noise every other two minutes."""

SHORTEST_S = 36.0
READY_MADE = "118e24"
TWO_LEADS = ("II", "V1")
SEED = 11_824
N_SIMULATED, SIMULATED_S, SIMULATED_FS_HZ = 6, 600.0, 200.0

_METHOD = (
    "Windows of 10 s every 5 s that lie wholly in noise against those that lie wholly outside it, "
    "within each recording; several recordings: mean of their AUROCs. Real noise of the MIT-BIH "
    "Noise Stress Test is switched on after five minutes for two of every four minutes; in "
    "recordings too short for that, in the middle third. Strength: of each lead, within "
    "0.5-40 Hz. 118e24 is the ready-made record, whose 24 dB are those of the stress test's own "
    "definition; its quiet five minutes carry the other noises. Of simulated recordings the "
    "noise's true spans are known, weak ones included. Intervals: 95 %, bootstrap over recordings, "
    "or over stretches of 30 s where there is a single recording."
)


@dataclass(frozen=True, eq=False)
class Scheduled:
    """A recording and where its noise is.

    Attributes
    ----------
    ecg : StandardEcg
    noise_spans : sequence of (start_s, end_s)
    """

    ecg: StandardEcg
    noise_spans: Spans


@dataclass(frozen=True, eq=False)
class _Judged:
    """Windows of one recording that lie wholly in noise or wholly outside it."""

    noisy: BoolArray
    block: npt.NDArray[np.int64]
    scores: dict[str, Floats]


def schedule_study(
    checkpoint: Checkpoint,
    *,
    nstdb: Path | None = None,
    recordings: Sequence[Path] = (),
    n_simulated: int = N_SIMULATED,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """AUROC of windows in noise against windows outside it.

    Parameters
    ----------
    checkpoint : Checkpoint
    nstdb : path, optional
        Folder with the real noises and perhaps 118e24. Without it only simulated recordings
        are judged.
    recordings : sequence of path
        Folders of long recordings with leads II and V1; each folder is one row of the table.
    n_simulated : int
        Simulated recordings of ten minutes, X, Y, Z.
    n_resamples : int
    progress : Progress
        Counts rows of the table.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        A noise or a folder is not as it should be.
    """
    scorer = Scorer.of(checkpoint)
    counts = {"simulated recordings": n_simulated}
    jobs: list[tuple[str, str, bool, list[Scheduled]]] = []
    if nstdb is not None:
        # Recordings that are quiet by themselves, into which noise is put.
        quiet, left_out = _quiet_recordings(recordings)
        ready_made = nstdb / f"{READY_MADE}.hea"
        if ready_made.is_file():
            ecg = _two_leads(ready_made)
            jobs.append((READY_MADE, "as recorded, 24 dB", False, [_ready_made(ecg)]))
            # Its first five minutes carry no noise, and so serve as one more quiet recording.
            quiet[f"{READY_MADE}, first five minutes"] = [_first(ecg, LEAD_IN_S)]
        counts |= {
            "real recordings": sum(len(group) for group in quiet.values()),
            "real recordings left out (too short, without II and V1, or unreadable)": left_out,
        }
        noises = read_stress_noise(nstdb)
        for data, ecgs in quiet.items():
            for kind, (name, noise) in enumerate(noises.items()):
                for snr_db in SNR_DB:
                    group = [
                        scheduled(ecg, noise, snr_db, np.random.default_rng([SEED, kind, i]))
                        for i, ecg in enumerate(ecgs)
                    ]
                    jobs.append((data, f"{NOISES[name]} ({name}) at {snr_db} dB", False, group))
    simulated = [_simulated(patient) for patient in range(n_simulated)]
    if simulated:
        jobs.append(("simulated X, Y, Z", "noise that comes and goes", True, simulated))
    results: list[Result] = []
    for done, (data, task, is_simulated, group) in enumerate(jobs, start=1):
        judged = [_judge(scorer, item) for item in group]
        results += _figures((data, task), judged, is_simulated, n_resamples)
        progress(done, len(jobs))
    return section("schedule", "Noise that comes and goes", _METHOD, results, counts)


def noise_schedule(duration_s: float) -> list[tuple[float, float]]:
    """Where noise is switched on in a recording of some length.

    Five minutes quiet, then on for two minutes of every four; where not even one whole turn
    of noise and quiet fits behind the five minutes, on in the middle third.

    Parameters
    ----------
    duration_s : float

    Returns
    -------
    list of (start_s, end_s)
    """
    if duration_s < LEAD_IN_S + 2 * TURN_S:
        return [(duration_s / 3, 2 * duration_s / 3)]
    starts = np.arange(LEAD_IN_S, duration_s, 2 * TURN_S).tolist()
    return [(start, min(start + TURN_S, duration_s)) for start in starts]


def scheduled(
    ecg: StandardEcg, noise: StressNoise, snr_db: float, rng: np.random.Generator
) -> Scheduled:
    """Add noise to the measured leads of a recording by `noise_schedule`.

    Derived leads would have to carry their sources' noise; there must be none.

    Parameters
    ----------
    ecg : StandardEcg
        Without derived leads.
    noise : StressNoise
    snr_db : float
        Of each lead within 0.5-40 Hz, where the noise is on.
    rng : Generator

    Returns
    -------
    Scheduled
    """
    spans = noise_schedule(ecg.duration_s)
    unit = lead_noise(noise, ecg.signal_mv.shape, rng)
    # Nothing is added where nothing was measured, or outside the spans.
    unit *= ecg.valid * _inside(spans, ecg.n_times)
    noisy = ecg.signal_mv + noise_gain(ecg.signal_mv, ecg.valid, snr_db) * unit
    return Scheduled(replace(ecg, signal_mv=noisy.astype(np.float32)), spans)


def judged_windows(
    n_times: int, noise_spans: Spans
) -> tuple[npt.NDArray[np.int64], BoolArray, npt.NDArray[np.int64]]:
    """Windows that lie wholly in noise or wholly outside it.

    Parameters
    ----------
    n_times : int
        Samples of the recording at 100 Hz.
    noise_spans : sequence of (start_s, end_s)

    Returns
    -------
    starts : ndarray of int, shape (n_windows,)
        First samples.
    noisy : ndarray of bool, shape (n_windows,)
    block : ndarray of int, shape (n_windows,)
        Number of the stretch of `BLOCK_S` that a window starts in; stretches begin anew
        wherever noise is switched on or off.
    """
    starts = window_starts(n_times, WINDOW_N, round(STRIDE_S * STANDARD_FS_HZ))
    # Running count of noisy samples: what a window holds is the difference of its ends.
    count = np.concatenate([[0], np.cumsum(_inside(noise_spans, n_times))])
    n_noisy = count[starts + WINDOW_N] - count[starts]
    # A window that is noisy in part has no label.
    starts = starts[(n_noisy == 0) | (n_noisy == WINDOW_N)]
    noisy = (count[starts + 1] - count[starts]) > 0
    # Blocks are what a single recording is resampled by: neighbouring windows overlap.
    edges_s = np.unique([0.0, *(edge for span in noise_spans for edge in span)])
    segment = np.searchsorted(edges_s, starts / STANDARD_FS_HZ, side="right") - 1
    in_segment = ((starts / STANDARD_FS_HZ - edges_s[segment]) // BLOCK_S).astype(np.int64)
    _, block = np.unique(np.stack([segment, in_segment]), axis=1, return_inverse=True)
    return starts, noisy, block.ravel()


def _inside(spans: Spans, n_times: int) -> BoolArray:
    inside = np.zeros(n_times, dtype=np.bool_)
    for start_s, end_s in spans:
        inside[round(start_s * STANDARD_FS_HZ) : round(end_s * STANDARD_FS_HZ)] = True
    return inside


def _judge(scorer: Scorer, item: Scheduled) -> _Judged:
    starts, noisy, block = judged_windows(item.ecg.n_times, item.noise_spans)
    return _Judged(noisy, block, scorer.recording(item.ecg, starts))


def _figures(
    place: tuple[str, str], judged: Sequence[_Judged], simulated: bool, n_resamples: int
) -> list[Result]:
    # A single recording is resampled by blocks, several by recording.
    if len(judged) == 1:
        (only,) = judged
        return measure_scores(
            (*place, "AUROC"),
            auroc,
            only.scores,
            only.block,
            given=(only.noisy,),
            simulated=simulated,
            n_resamples=n_resamples,
        )
    values = {
        name: np.array([auroc(item.noisy, item.scores[name]) for item in judged]) for name in SCORES
    }
    # A recording without both kinds of window has no AUROC, whatever the score.
    defined = np.isfinite(values[SCORES[0]])
    return measure_scores(
        (*place, "AUROC, mean of recordings"),
        lambda rows: float(rows.mean()),
        {name: rows[defined] for name, rows in values.items()},
        np.flatnonzero(defined),
        simulated=simulated,
        n_resamples=n_resamples,
    )


def _quiet_recordings(folders: Sequence[Path]) -> tuple[dict[str, list[StandardEcg]], int]:
    """Two leads of every recording below each folder that is long enough, by folder."""
    groups: dict[str, list[StandardEcg]] = {}
    left_out = 0
    for folder in folders:
        headers = sorted(folder.rglob("*.hea"))
        ecgs = []
        for header in headers:
            try:
                ecg = _two_leads(header)
            # A folder of long recordings holds others, too; they are counted, not refused.
            except DataSetError:
                left_out += 1
                continue
            ecgs.append(ecg)
        if not ecgs:
            raise DataSetError(
                f"None of the {len(headers)} recordings in {folder.name or folder} has leads II "
                f"and V1 and lasts {SHORTEST_S:g} s. Name a folder of longer recordings."
            )
        groups[folder.resolve().name] = ecgs
    return groups, left_out


def _two_leads(header: Path) -> StandardEcg:
    """Leads II and V1 of a recording of at least `SHORTEST_S`.

    Raises
    ------
    DataSetError
        It has not got them, is shorter, or cannot be read.
    """
    try:
        recording = read_recording(header)
        if not set(TWO_LEADS) <= set(recording.lead_names) or recording.duration_s < SHORTEST_S:
            raise DataSetError(
                f"{header.stem} has no leads II and V1, or is shorter than {SHORTEST_S:g} s."
            )
        rows = [recording.lead_names.index(name) for name in TWO_LEADS]
        cut = Recording(
            recording.signal_mv[rows], recording.fs_hz, TWO_LEADS, recording.record_id, TWO_LEADS
        )
        return standardise(cut)
    except RecordError as error:
        raise DataSetError(f"{header.stem} cannot be used: {error}") from error


def _ready_made(ecg: StandardEcg) -> Scheduled:
    return Scheduled(ecg, noise_schedule(ecg.duration_s))


def _first(ecg: StandardEcg, seconds: float) -> StandardEcg:
    n = round(seconds * STANDARD_FS_HZ)
    return replace(ecg, signal_mv=ecg.signal_mv[:, :n], valid=ecg.valid[:, :n])


def _simulated(patient: int) -> Scheduled:
    study = simulate_long(SEED, patient, duration_s=SIMULATED_S, fs_hz=SIMULATED_FS_HZ, leads="xyz")
    # Spans of different noises overlap; together they are where the recording is noisy.
    spans = sorted((span.start_s, span.end_s) for span in study.noise_spans)
    return Scheduled(standardise(study.recording), _joined(spans))


def _joined(spans: Spans) -> list[tuple[float, float]]:
    """Spans in order, those that touch each other made one."""
    joined: list[tuple[float, float]] = []
    for start_s, end_s in spans:
        if joined and start_s <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end_s))
        else:
            joined.append((start_s, end_s))
    return joined
