"""Long recordings with labels, of each the windows that may answer for it.

The article's Table 3 asks about 20-minute recordings by one window: the first, that of the lowest
or that of the highest sigma^2. Recordings come from MUSIC as it is published, from a prepared set
that has several windows of each, or from simulated patients; one after the other, and of each only
the chosen windows are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from echoing_core.datasets.music import MIN_VALID_SHARE, TABLE, Music
from echoing_core.datasets.prepared import check_filter_padding, load_prepared, read_card
from echoing_core.datasets.simulated import SOURCE
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_dense
from echoing_core.errors import ConfigError, DataSetError, RecordError, SignalQualityError
from echoing_core.evaluate.protocols.data import EvaluationData
from echoing_core.evaluate.protocols.settings import FineTuneSettings, WindowSettings
from echoing_core.evaluate.uncertainty.fusion_study import FS_HZ, QUALITIES, Quality, with_noise
from echoing_core.io import read_stretch
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import (
    STANDARD_FS_HZ,
    WINDOW_S,
    BoolArray,
    GaussianEmbedding,
    StandardEcg,
)
from echoing_core.signals import standardise
from echoing_core.signals.windows import WINDOW_N, cut_windows, stride_to_samples
from echoing_core.simulate import patient_id, simulate_long, split_of
from echoing_core.uncertainty.fusion import fuse

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]

START, LOWEST, HIGHEST, FUSED = "start", "low", "high", "fused"
CHOICES = (START, LOWEST, HIGHEST, FUSED)
"""Rows of Table 3, by the article's names; the last is ours."""

LONG_SEED = 30_017
"""A cohort of its own: no model was trained on its patients, as none of the article's on MUSIC."""

DURATION_S = 1196.0
"""Of a simulated recording, as MUSIC's are."""

# Enough around the first window that the filter's edge does not reach it.
_SHORT_S = 30.0


@dataclass(frozen=True, eq=False)
class FusedWindows:
    """The windows of all test recordings that are fused, one below the other.

    Attributes
    ----------
    recording : ndarray of int, shape (n,)
        Row of the test split that a window belongs to.
    start_s : ndarray, shape (n,)
    signal_mv, valid : ndarray, shape (n, 12, 1000)
    embedding : GaussianEmbedding, n rows
        By the model as it is.
    """

    recording: npt.NDArray[np.int64]
    start_s: Floats
    signal_mv: Float32s
    valid: BoolArray
    embedding: GaussianEmbedding

    def fuse(self, mu: Float32s | None = None) -> GaussianEmbedding:
        """Each recording as one Gaussian, precision-weighted.

        Parameters
        ----------
        mu : ndarray, shape (n, dim), optional
            Means of a tuned encoder, in the place of the model's own; the weights stay those of
            the model's sigma^2.

        Returns
        -------
        GaussianEmbedding, one row a recording
        """
        rows = []
        for number in range(int(self.recording.max()) + 1):
            of_it = self.recording == number
            one = self.embedding[of_it]
            if mu is not None:
                one = GaussianEmbedding(mu[of_it], one.log_var)
            rows.append(fuse(one, self.start_s[of_it], WINDOW_S, "precision").embedding)
        return _joined(rows)


@dataclass(frozen=True, eq=False)
class LongRecordings:
    """A data set of long recordings.

    Attributes
    ----------
    data : EvaluationData
        ``"train"`` and perhaps ``"valid"`` hold the first window of each recording, ``"test"`` one
        row a recording with its first window.
    windows : mapping of str to StudySet
        `START`, `LOWEST` and `HIGHEST`: the test split with that window.
    embedding : mapping of str to GaussianEmbedding
        For each of `CHOICES`, one row a test recording.
    fused : FusedWindows
    counts : mapping of str to number
        What entered and what was left out.
    """

    data: EvaluationData
    windows: Mapping[str, StudySet]
    embedding: Mapping[str, GaussianEmbedding]
    fused: FusedWindows
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Chosen:
    """Window numbers of one recording.

    Attributes
    ----------
    start, lowest, highest : int
    fused : ndarray of int
    """

    start: int
    lowest: int
    highest: int
    fused: npt.NDArray[np.int64]


def choose_windows(
    sigma2: npt.ArrayLike, start_s: npt.ArrayLike, valid_share: npt.ArrayLike, *, every_s: float
) -> Chosen:
    """Choose the windows of a recording that may answer for it.

    Parameters
    ----------
    sigma2 : array-like, shape (n,)
        Sum of sigma^2 of each window.
    start_s : array-like, shape (n,)
        In seconds, ascending.
    valid_share : array-like, shape (n,)
        Share of each window's samples that was measured; below 80 % it is not chosen.
    every_s : float
        The windows to be fused begin at least so far from each other.

    Returns
    -------
    Chosen
        The earlier one of equals.

    Raises
    ------
    SignalQualityError
        In no window enough was measured.
    """
    sums, starts = (np.asarray(x, dtype=np.float64) for x in (sigma2, start_s))
    usable = np.flatnonzero(np.asarray(valid_share) >= MIN_VALID_SHARE)
    if not usable.size:
        raise SignalQualityError(
            f"In no window of 10 s {MIN_VALID_SHARE:.0%} of the samples were measured."
        )
    fused = [int(usable[0])]
    for window in usable[1:]:
        # Against rounding: a minute after a minute must not fail by the last digit of a sum.
        if starts[window] - starts[fused[-1]] >= every_s - 1e-6:
            fused.append(int(window))
    return Chosen(
        int(usable[0]),
        int(usable[sums[usable].argmin()]),
        int(usable[sums[usable].argmax()]),
        np.array(fused, dtype=np.int64),
    )


def open_long(
    checkpoint: Checkpoint,
    folder: Path | None,
    settings: WindowSettings,
    fine: FineTuneSettings,
    *,
    progress: Progress = SILENT,
) -> LongRecordings:
    """Read or simulate long recordings and keep the windows that may answer for each.

    Parameters
    ----------
    checkpoint : Checkpoint
        Its sigma^2 chooses.
    folder : path or None
        MUSIC as it is published, or a prepared set with several windows of each recording;
        without it, simulated patients.
    settings : WindowSettings
    fine : FineTuneSettings
        How many simulated recordings there are to train on.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    LongRecordings

    Raises
    ------
    DataSetError
        The folder is neither, or none of its test recordings can be used.
    ConfigError
        There is no such kind of noise.
    """
    if folder is None:
        return _simulated(checkpoint, settings, fine, progress)
    if (folder / TABLE).is_file():
        return _published(checkpoint, folder, settings, progress)
    return _prepared(checkpoint, folder, settings, progress)


def has_long_recordings(folder: Path) -> bool:
    """Whether a folder is MUSIC as published, or prepared with several windows of a recording.

    Parameters
    ----------
    folder : path

    Returns
    -------
    bool
    """
    if (folder / TABLE).is_file():
        return True
    test = load_prepared(folder, splits=("test",)).table
    return bool("start_s" in test.columns and test.duplicated(["source", "study_id"]).any())


def source_of(folder: Path | None) -> str:
    """``source`` of the recordings that `open_long` would read.

    Parameters
    ----------
    folder : path or None
        Any prepared set will do.

    Returns
    -------
    str
    """
    if folder is None:
        return SOURCE
    return Music().name if (folder / TABLE).is_file() else str(read_card(folder)["source"])


class _Kept:
    """Test recordings as they come, of each the chosen windows."""

    def __init__(self, checkpoint: Checkpoint, settings: WindowSettings) -> None:
        self.checkpoint, self.settings = checkpoint, settings
        self.rows: list[dict[str, Any]] = []
        self.cut: dict[str, list[tuple[Float32s, BoolArray]]] = {
            name: [] for name in (START, LOWEST, HIGHEST, FUSED)
        }
        self.embedded: dict[str, list[GaussianEmbedding]] = {name: [] for name in self.cut}
        self.fused_start_s: list[Floats] = []
        self.n_windows = 0

    def add_recording(self, row: Mapping[str, Any], ecg: StandardEcg, first: int = 0) -> None:
        """A whole recording, whose windows begin at sample ``first``."""
        stride_n = stride_to_samples(self.settings.stride_s)
        starts = np.arange(first, ecg.n_times - WINDOW_N + 1, stride_n, dtype=np.int64)
        encoder, scaler = self.checkpoint.encoder.ecg, self.checkpoint.scaler
        # Running counts: what was measured in a window is the difference of its ends.
        until = np.concatenate([[0], np.cumsum(ecg.valid.sum(axis=0))])
        share = (until[starts + WINDOW_N] - until[starts]) / (WINDOW_N * len(ecg.valid))
        self.add(
            row,
            encode_dense(encoder, scaler, ecg, starts),
            starts / STANDARD_FS_HZ,
            share,
            lambda windows: cut_windows(ecg, starts[windows]),
        )

    def add(
        self,
        row: Mapping[str, Any],
        embedding: GaussianEmbedding,
        start_s: Floats,
        valid_share: Floats,
        cut: Callable[[npt.NDArray[np.int64]], tuple[Float32s, BoolArray]],
    ) -> None:
        """Windows of one recording; ``cut`` gives the signals of those that are asked for."""
        chosen = choose_windows(
            embedding.uncertainty, start_s, valid_share, every_s=self.settings.fused_every_s
        )
        for name, windows in (
            (START, np.array([chosen.start])),
            (LOWEST, np.array([chosen.lowest])),
            (HIGHEST, np.array([chosen.highest])),
            (FUSED, chosen.fused),
        ):
            self.cut[name].append(cut(windows))
            self.embedded[name].append(embedding[windows])
        self.fused_start_s.append(start_s[chosen.fused])
        self.rows.append(dict(row))
        self.n_windows += len(embedding)

    def finish(
        self, name: str, splits: Mapping[str, StudySet], counts: Mapping[str, float]
    ) -> LongRecordings:
        if not self.rows:
            raise DataSetError(f"None of the test recordings of {name} can be used.")
        table = pd.DataFrame(self.rows)
        windows = {
            choice: StudySet(table, *_stacked(self.cut[choice]))
            for choice in (START, LOWEST, HIGHEST)
        }
        lengths = [len(one) for one in self.embedded[FUSED]]
        fused = FusedWindows(
            np.repeat(np.arange(len(lengths)), lengths),
            np.concatenate(self.fused_start_s),
            *_stacked(self.cut[FUSED]),
            _joined(self.embedded[FUSED]),
        )
        simulated = any(
            bool(one.table["simulated"].any()) for one in (*splits.values(), windows[START])
        )
        data = EvaluationData(
            name, str(table["source"].iloc[0]), simulated, {**splits, "test": windows[START]}
        )
        embedding = {choice: _joined(self.embedded[choice]) for choice in windows}
        return LongRecordings(
            data,
            windows,
            embedding | {FUSED: fused.fuse()},
            fused,
            {"test recordings": len(table), "windows looked at": self.n_windows} | dict(counts),
        )


def _simulated(
    checkpoint: Checkpoint, settings: WindowSettings, fine: FineTuneSettings, progress: Progress
) -> LongRecordings:
    by_name = {quality.name: quality for quality in QUALITIES}
    if settings.noise not in by_name:
        raise ConfigError(
            f"There is no noise {settings.noise!r} of simulated recordings. Choose "
            f"{', '.join(by_name)}."
        )
    quality = by_name[settings.noise]
    told = progress.stage("simulate the training recordings")
    splits = {}
    for split, n in (("train", fine.n_train), ("valid", fine.n_valid)):
        rows, cut = [], []
        for done, patient in enumerate(_patients(split, n), start=1):
            # Only the first window is used, so only the beginning is simulated.
            row, ecg = _simulated_recording(checkpoint, patient, _SHORT_S, quality)
            rows.append(row)
            cut.append(cut_windows(ecg, [0]))
            told(done, n)
        splits[split] = StudySet(pd.DataFrame(rows), *_stacked(cut))
    kept = _Kept(checkpoint, settings)
    told = progress.stage("simulate and embed the test recordings")
    for done, patient in enumerate(_patients("test", settings.n_patients), start=1):
        row, ecg = _simulated_recording(checkpoint, patient, DURATION_S, quality)
        kept.add_recording(row, ecg)
        told(done, settings.n_patients)
    name = f"simulated 20-minute X, Y, Z, noise {quality.name}"
    return kept.finish(name, splits, {})


def _patients(split: str, n: int) -> list[int]:
    """The first ``n`` patients of a split."""
    found: list[int] = []
    patient = 0
    while len(found) < n:
        if split_of(patient_id(LONG_SEED, patient)) == split:
            found.append(patient)
        patient += 1
    return found


def _simulated_recording(
    checkpoint: Checkpoint, patient: int, duration_s: float, quality: Quality
) -> tuple[dict[str, Any], StandardEcg]:
    simulated = simulate_long(
        LONG_SEED, patient, duration_s=duration_s, fs_hz=FS_HZ, leads="xyz", noise=()
    )
    noisy = with_noise(simulated.recording, quality, LONG_SEED, patient)
    ecg = standardise(noisy, filter_padding=checkpoint.filter_padding)
    name = patient_id(LONG_SEED, patient)
    row: dict[str, Any] = {
        "source": SOURCE,
        "patient_id": name,
        "study_id": ecg.record_id,
        "record_id": ecg.record_id,
        "split": split_of(name),
        "report": "",
        "simulated": True,
        "quality": "unknown",
    }
    # Words (rhythm, sex) are no labels.
    return row | {
        f"label_{label}": value
        for label, value in simulated.labels.items()
        if not isinstance(value, str)
    }, ecg


def _published(
    checkpoint: Checkpoint, root: Path, settings: WindowSettings, progress: Progress
) -> LongRecordings:
    """MUSIC: recordings are read whole, one at a time."""
    adapter = Music(filter_padding=checkpoint.filter_padding)
    plan = adapter.plan(root)
    rows: list[dict[str, Any]] = [
        {str(key): value for key, value in row.items()} for row in plan.table.to_dict("records")
    ]
    splits = {}
    unread = 0
    for split in ("train", "valid"):
        told = progress.stage(f"read the {split} recordings")
        of_split = [row for row in rows if row["split"] == split]
        read, cut = [], []
        for done, row in enumerate(of_split, start=1):
            told(done, len(of_split))
            try:
                ecg = adapter.read(root, row)
            except RecordError as error:
                unread += _told(row, error)
                continue
            read.append(row | {"simulated": ecg.simulated})
            cut.append((ecg.signal_mv[None], ecg.valid[None]))
        if read:
            splits[split] = StudySet(pd.DataFrame(read), *_stacked(cut))
    kept = _Kept(checkpoint, settings)
    told = progress.stage("read and embed the test recordings")
    of_split = [row for row in rows if row["split"] == "test"]
    for done, row in enumerate(of_split, start=1):
        told(done, len(of_split))
        try:
            recording = read_stretch(root / str(row["path"]), 0.0, float(row["duration_s"]))
            ecg = standardise(
                recording, vcg_method=adapter.vcg_method, filter_padding=adapter.filter_padding
            )
            kept.add_recording(
                row | {"simulated": ecg.simulated}, ecg, round(row["start_s"] * STANDARD_FS_HZ)
            )
        except RecordError as error:
            unread += _told(row, error)
    left_out = len(plan.left_out) + unread
    return kept.finish(root.name or "MUSIC", splits, {"recordings left out": left_out})


def _told(row: Mapping[str, Any], error: RecordError) -> int:
    logger.warning("%s left out: %s", row["record_id"], error)
    return 1


def _prepared(
    checkpoint: Checkpoint, folder: Path, settings: WindowSettings, progress: Progress
) -> LongRecordings:
    """A prepared set with several windows of each recording."""
    check_filter_padding(folder, checkpoint.filter_padding)
    card = read_card(folder)
    splits = {
        split: _first_windows(load_prepared(folder, splits=(split,)))
        for split in ("train", "valid")
        if card["splits"][split]["studies"]
    }
    test = load_prepared(folder, splits=("test",))
    kept = _Kept(checkpoint, settings)
    told = progress.stage("embed the test recordings")
    recordings = list(_by_recording(test))
    for done, of_it in enumerate(recordings, start=1):
        signal_mv, valid = np.asarray(test.signal_mv[of_it]), np.asarray(test.valid[of_it])
        try:
            kept.add(
                {str(k): v for k, v in test.table.iloc[int(of_it[0])].items()},
                encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid),
                test.table["start_s"].to_numpy(dtype=np.float64)[of_it],
                valid.mean(axis=(1, 2)),
                partial(_taken, signal_mv, valid),
            )
        except SignalQualityError as error:
            logger.warning("%s left out: %s", test.table["study_id"].iloc[int(of_it[0])], error)
        told(done, len(recordings))
    name = f"{folder.name} (simulated)" if card["simulated"] else folder.name
    left_out = len(recordings) - len(kept.rows)
    return kept.finish(name, splits, {"recordings left out": left_out})


def _taken(
    signal_mv: Float32s, valid: BoolArray, windows: npt.NDArray[np.int64]
) -> tuple[Float32s, BoolArray]:
    return signal_mv[windows], valid[windows]


def _by_recording(studies: StudySet) -> Collection[npt.NDArray[np.int64]]:
    """Rows of each recording, its earliest window first, in the order of the set."""
    table = studies.table
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(table["source"], table["study_id"], strict=True)):
        groups.setdefault((str(key[0]), str(key[1])), []).append(row)
    start_s = table["start_s"].to_numpy(dtype=np.float64)
    return [
        np.array(sorted(rows, key=lambda row: start_s[row]), dtype=np.int64)
        for rows in groups.values()
    ]


def _first_windows(studies: StudySet) -> StudySet:
    first = np.zeros(len(studies), dtype=np.bool_)
    first[[int(rows[0]) for rows in _by_recording(studies)]] = True
    return studies.where(first)


def _stacked(parts: list[tuple[Float32s, BoolArray]]) -> tuple[Float32s, BoolArray]:
    return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])


def _joined(parts: list[GaussianEmbedding]) -> GaussianEmbedding:
    return GaussianEmbedding(
        np.concatenate([one.mu for one in parts]), np.concatenate([one.log_var for one in parts])
    )
