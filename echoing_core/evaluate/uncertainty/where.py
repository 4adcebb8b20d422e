"""Does sigma^2 know where the noise is: in which leads, and from when to when?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty.annotations import find_records, read_bad_leads, read_judged
from echoing_core.evaluate.uncertainty.scores import (
    PLAIN,
    RANDOM,
    SIGMA2,
    Floats,
    Scorer,
    measure_scores,
    section,
)
from echoing_core.metrics.results import Experiment, Result
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, STANDARD_FS_HZ, WINDOW_S, BoolArray, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.quality import lead_penalty, lead_quality, rail_samples
from echoing_core.signals.windows import WINDOW_N
from echoing_core.simulate import NoiseEpisode, NoiseSpan, SimulationConfig, simulate_study
from echoing_core.simulate.noise.spans import add_noise
from echoing_core.uncertainty.attribution import CHUNK_S, N_CHUNKS, Attribution, attribute_windows
from echoing_core.uncertainty.intervals import noisy_span, time_profile

LEAD_TABLE = "leadwise_quality.csv"

SHARE = "share of sigma^2"
"""A lead's terms over the sum of its window."""

BADNESS = "sigma^2 and what is lost"
"""By which the app names leads (`attribution.lead_badness`)."""

KINDS = ("muscle", "electrode_motion", "baseline_wander", "lead_off")
"""Noise that fills its span; a step, a spike or a clipped peak is only somewhere within it."""

SEEN_MV = 0.012
"""RMS change within the model's band above which a lead counts as noisy; the simulator counts
a lead as disturbed from the same change on, in the band of the recorder."""

CLEAR_MV = 0.05
"""RMS change from which a lead is clearly noisy: a small P wave drowns in it."""

SPAN_S = (2.0, 6.0)
SEVERITY = (0.3, 1.0)
MIN_IOU = 0.5
N_SIMULATED = 400
SEED = 50_013

_CLEAN = SimulationConfig(clean_share=1.0, moderate_share=0.0)

_METHOD = (
    "Real: leads that people flagged as bad. Simulated: clean ECGs of patients that no training "
    "saw, disturbed by one stretch of 2 to 6 s of noise (severity 0.3 to 1, at the electrodes) "
    "and then read as any recording is; a lead is bad where that changed it by more than 0.012 mV "
    "RMS within 0.5-40 Hz (clearly bad: more than 0.05 mV; leads between are left out). Pooled: "
    "bad leads against good ones over all recordings. Within: inside each recording that has both. "
    "Attributed span: the stretch for which two levels, one inside and one outside, fit best to "
    "what the leads' parts of sigma^2 stand above their own quiet level; IoU: its overlap with the "
    "true span over the union of both. Clear noise: windows with a clearly bad lead. Intervals: "
    "95 %, bootstrap over recordings."
)


@dataclass(frozen=True, eq=False)
class Window:
    """A window whose bad leads are known.

    Attributes
    ----------
    signal_mv, valid : ndarray, shape (12, 1000)
    bad, doubtful : ndarray of bool, shape (12,)
        Bad leads, and those of them that are so little changed that one may miss them.
    penalty : ndarray, shape (12,)
        What the plain index holds against each lead.
    """

    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    bad: BoolArray
    doubtful: BoolArray
    penalty: Floats


def where_study(
    checkpoint: Checkpoint,
    *,
    cinc: Path | None = None,
    n_simulated: int = N_SIMULATED,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """AUROC of each lead's terms of sigma^2 for bad leads, and overlap of spans in time.

    Parameters
    ----------
    checkpoint : Checkpoint
        A model whose sigma^2 is a sum over leads and moments.
    cinc : path, optional
        Folder with recordings and ``leadwise_quality.csv``, see `annotations.read_bad_leads`.
    n_simulated : int
        Simulated ECGs.
    n_resamples : int
    progress : Progress
        Counts simulated ECGs.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        The folder or its table is not as it should be.
    """
    scorer = Scorer.of(checkpoint)
    results: list[Result] = []
    counts: dict[str, int] = {}
    if cinc is not None:
        annotated, n_refused = annotated_windows(cinc)
        counts |= {"annotated": len(annotated), "refused as flat and left out": n_refused}
        results += _lead_figures(
            f"{cinc.resolve().name}, annotated leads",
            annotated,
            _attributed(scorer, annotated),
            np.ones(len(annotated), dtype=np.bool_),
            simulated=False,
            n_resamples=n_resamples,
        )
    disturbed, spans = simulated_windows(n_simulated, progress=progress)
    counts["simulated"] = len(disturbed)
    by_score = _attributed(scorer, disturbed)
    # Figures for all noises together, and for each kind.
    kinds = np.array([span.kind for span in spans])
    clear = np.array([bool((window.bad & ~window.doubtful).any()) for window in disturbed])
    counts["simulated with a clearly bad lead"] = int(clear.sum())
    for kind in ("all noises", *KINDS):
        rows = (kinds == kind) | (kind == "all noises")
        data = f"simulated, {kind.replace('_', ' ')}"
        results += _lead_figures(
            data, disturbed, by_score, rows, simulated=True, n_resamples=n_resamples
        )
        results += _span_figures(data, "the noise", spans, by_score, rows, n_resamples)
        if (rows & clear).any():
            results += _span_figures(
                data, "clear noise", spans, by_score, rows & clear, n_resamples
            )
    return section("where", "Which leads, and when", _METHOD, results, counts)


def annotated_windows(folder: Path) -> tuple[list[Window], int]:
    """First windows of the recordings whose leads were judged, and how many the reader refused.

    Parameters
    ----------
    folder : path
        With the recordings, anywhere below it, and `LEAD_TABLE`.

    Returns
    -------
    windows : list of Window
    n_refused : int
        Recordings in which nothing moves.

    Raises
    ------
    DataSetError
        The table is not as it should be, a recording cannot be used, or nothing moves in any.
    """
    flags = read_bad_leads(folder / LEAD_TABLE)
    windows = []
    for name, header in find_records(folder, flags).items():
        judged = read_judged(header)
        if judged is None:
            continue
        recording, ecg = judged
        # People flagged or did not: nothing is in between.
        sure = np.zeros(len(LEADS), dtype=np.bool_)
        windows.append(_window(ecg, flags[name], sure, rail_samples(recording, ecg)))
    if not windows:
        raise DataSetError(f"Nothing moves in any of the {len(flags)} records of {LEAD_TABLE}.")
    return windows, len(flags) - len(windows)


def simulated_windows(
    n: int, *, progress: Progress = SILENT
) -> tuple[list[Window], list[NoiseSpan]]:
    """Clean simulated ECGs, each with one stretch of noise that reaches the model's band.

    Stretches that do not (slow wander, say) are drawn anew with the next patient.

    Parameters
    ----------
    n : int
    progress : Progress
        Counts windows.

    Returns
    -------
    windows : list of Window
    spans : list of NoiseSpan
        The noise of each window.
    """
    windows: list[Window] = []
    spans: list[NoiseSpan] = []
    patient = 0
    # Kinds in turn, so that all are equally frequent however many are drawn anew.
    while len(windows) < n:
        drawn = _disturbed(patient, KINDS[len(windows) % len(KINDS)])
        patient += 1
        if drawn is not None:
            windows.append(drawn[0])
            spans.append(drawn[1])
            progress(len(windows), n)
    return windows, spans


def overlap(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Intersection over union of two spans, 0..1.

    Parameters
    ----------
    first, second : (float, float)
        Start and end.
    """
    both = max(0.0, min(first[1], second[1]) - max(first[0], second[0]))
    either = (first[1] - first[0]) + (second[1] - second[0]) - both
    return both / either if either > 0 else 0.0


def _disturbed(patient: int, kind: str) -> tuple[Window, NoiseSpan] | None:
    # One generator a patient, so that a window does not depend on those before it.
    rng = np.random.default_rng([SEED, patient])
    study = simulate_study(SEED, patient, config=_CLEAN)
    recording = study.recording_12
    length_s = float(rng.uniform(*SPAN_S))
    start_s = float(rng.uniform(0.0, WINDOW_S - length_s))
    episode = NoiseEpisode(kind, float(rng.uniform(*SEVERITY)), start_s, start_s + length_s)
    noisy, spans = add_noise(recording.signal_mv, recording.fs_hz, LEADS, [episode], rng)
    # Both read as any recording is; what differs within the band is what the model can know.
    clean, ecg = standardise(recording), standardise(replace(recording, signal_mv=noisy))
    inside = slice(round(start_s * STANDARD_FS_HZ), round(episode.end_s * STANDARD_FS_HZ))
    change = np.square(ecg.signal_mv - clean.signal_mv)[:, inside].mean(axis=1)
    noisy_leads = change > SEEN_MV**2
    if not spans or not noisy_leads.any():
        return None
    return _window(ecg, noisy_leads, noisy_leads & (change < CLEAR_MV**2), None), spans[0]


def _window(
    ecg: StandardEcg, bad: BoolArray, doubtful: BoolArray, saturated: BoolArray | None
) -> Window:
    signal_mv, valid = ecg.signal_mv[:, :WINDOW_N], ecg.valid[:, :WINDOW_N]
    rails = None if saturated is None else saturated[:, :WINDOW_N]
    quality = lead_quality(signal_mv, valid, saturated=rails)
    # A lead that is not there is as bad as can be, if people were asked about it.
    penalty = np.where(quality.present, lead_penalty(quality), 1.0)
    return Window(signal_mv, valid, bad, doubtful, penalty)


def _attributed(scorer: Scorer, windows: Sequence[Window]) -> dict[str, Attribution]:
    signal_mv = np.stack([window.signal_mv for window in windows])
    valid = np.stack([window.valid for window in windows])
    return {
        name: attribute_windows(encoder, scorer.scaler, signal_mv, valid)
        for name, encoder in ((SIGMA2, scorer.trained), (RANDOM, scorer.random))
    }


def _lead_figures(
    data: str,
    windows: Sequence[Window],
    by_score: Mapping[str, Attribution],
    rows: BoolArray,
    *,
    simulated: bool,
    n_resamples: int,
) -> list[Result]:
    own = by_score[SIGMA2].by_lead
    # The whole sum of sigma^2, with what belongs to no lead.
    total = own.sum(axis=1) + by_score[SIGMA2].rest
    scores = {
        SIGMA2: own,
        SHARE: own / total[:, np.newaxis],
        BADNESS: by_score[SIGMA2].badness,
        PLAIN: np.stack([window.penalty for window in windows]),
        RANDOM: by_score[RANDOM].by_lead,
    }
    bad = np.stack([window.bad for window in windows])
    doubtful = np.stack([window.doubtful for window in windows])
    results: list[Result] = []
    tasks = {"bad leads, pooled": np.ones_like(bad)}
    if doubtful.any():
        tasks["clearly bad leads, pooled"] = ~doubtful
    for task, judged in tasks.items():
        results += measure_scores(
            (data, task, "AUROC"),
            lambda label, taken, values: auroc(label[taken], values[taken]),
            {name: values[rows] for name, values in scores.items()},
            np.flatnonzero(rows),
            given=(bad[rows], judged[rows]),
            simulated=simulated,
            n_resamples=n_resamples,
        )
    # Within a recording there must be a good and a bad lead.
    both = rows & bad.any(axis=1) & ~bad.all(axis=1)
    within = {
        name: np.array([auroc(bad[i], values[i]) for i in np.flatnonzero(both)])
        for name, values in scores.items()
    }
    return results + measure_scores(
        (data, "bad leads within a recording", "AUROC, mean of recordings"),
        lambda values: float(values.mean()),
        # A lead's share orders the leads of one recording as its terms do.
        {name: values for name, values in within.items() if name != SHARE},
        np.flatnonzero(both),
        simulated=simulated,
        n_resamples=n_resamples,
    )


def _span_figures(
    data: str,
    what: str,
    noise: Sequence[NoiseSpan],
    by_score: Mapping[str, Attribution],
    rows: BoolArray,
    n_resamples: int,
) -> list[Result]:
    chosen = np.flatnonzero(rows)
    spans = [(noise[row].start_s, noise[row].end_s) for row in chosen.tolist()]
    by_time = {
        name: np.stack([time_profile(cells) for cells in attribution.cells[chosen]])
        for name, attribution in by_score.items()
    }
    iou = {
        name: np.array([overlap(_span_s(v), s) for v, s in zip(values, spans, strict=True)])
        for name, values in by_time.items()
    }
    # A chunk is in the noise if its middle is.
    middle = (np.arange(N_CHUNKS) + 0.5) * CHUNK_S
    inside = np.stack([(middle >= start) & (middle < end) for start, end in spans])
    within = {
        name: np.array([auroc(label, v) for label, v in zip(inside, values, strict=True)])
        for name, values in by_time.items()
    }
    results: list[Result] = []
    for place, metric, scores in (
        ((f"span of {what}", f"share with IoU >= {MIN_IOU:g}"), _share_overlapping, iou),
        ((f"span of {what}", "median IoU"), _median, iou),
        ((f"chunks in {what} within a recording", "AUROC, mean of recordings"), _mean, within),
    ):
        results += measure_scores(
            (data, *place), metric, scores, chosen, simulated=True, n_resamples=n_resamples
        )
    return results


def _span_s(by_time: Floats) -> tuple[float, float]:
    first, stop = noisy_span(by_time)
    return first * CHUNK_S, stop * CHUNK_S


def _share_overlapping(iou: Floats) -> float:
    return float((iou >= MIN_IOU).mean())


def _median(values: Floats) -> float:
    return float(np.median(values))


def _mean(values: Floats) -> float:
    return float(values.mean())
