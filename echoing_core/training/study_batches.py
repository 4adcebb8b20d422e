"""Batches of ECGs and the echo studies that they belong to, each a function of its number alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.study_views import StudyViews, padded
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.foreign_preprocessing import ForeignInput, cut
from echoing_core.records import BoolArray
from echoing_core.training.augmentation import echo2ecg_view, view_of
from echoing_core.training.batches import rows_of_epoch
from echoing_core.training.distributed import World, encoded_share_of, share_of
from echoing_core.training.settings import RunConfig

# Of another stream than those of `training.batches`.
_VIEW = 11

_MAX_KEPT_BYTES = 2_000_000_000
"""Of preprocessed ECGs: taking a baseline away costs more than a step of a small network."""


@dataclass(frozen=True, eq=False)
class StudyPairs:
    """ECGs, and the clips of the echo study of each.

    Attributes
    ----------
    signal_mv, valid : ndarray, shape (n, 12, n_times)
    study : ndarray of int, shape (n,)
        Which of ``rows`` is the ECG's; several ECGs may share one.
    vectors : ndarray, shape (n_clips, width)
    rows : tuple of ndarray of int, n_studies
        Of each study its rows in ``vectors``.
    texts : ndarray, shape (n_studies, dim), or None
        What a teacher makes of each study's report, of unit length.
    """

    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    study: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float32]
    rows: tuple[npt.NDArray[np.int64], ...]
    texts: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.study)

    def views(
        self, studies: Sequence[int] | npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float32], BoolArray]:
        """Clips of some studies, and where there is none; see `echo.study_views.padded`."""
        return padded(self.vectors, [self.rows[study] for study in studies])


def pair_with_views(
    studies: StudySet, views: StudyViews, texts: StudyViews | None = None
) -> tuple[StudyPairs, BoolArray]:
    """The ECGs whose echo study is among those of ``views``.

    Parameters
    ----------
    studies : StudySet, n rows
        Joined by ``echo_study_id`` where the table has it, else by ``study_id``.
    views : StudyViews
    texts : StudyViews, optional
        A teacher's embeddings of the studies' reports; of several of a study the mean is taken,
        as ULIP does with its templates. ECGs of a study without one are left out.

    Returns
    -------
    pairs : StudyPairs
    used : ndarray of bool, shape (n,)
        The rows of ``studies`` that are its ECGs, in their order.

    Raises
    ------
    DataSetError
        None has one.
    """
    column = "echo_study_id" if "echo_study_id" in studies.table.columns else "study_id"
    rows = views.rows_of_studies()
    of_texts = None if texts is None else texts.rows_of_studies()
    if of_texts is not None:
        rows = {name: own for name, own in rows.items() if name in of_texts}
    names = [str(name) for name in studies.table[column]]
    used = np.array([name in rows for name in names], dtype=np.bool_)
    if not used.any():
        raise DataSetError(
            f"None of the {len(studies)} ECGs has its echo study among the {len(rows)} whose clips "
            f"are given: no {column} is in both."
        )
    own = [name for name in names if name in rows]
    number = {name: k for k, name in enumerate(dict.fromkeys(own))}
    # A slice of a memory-mapped set stays on disk.
    whole = bool(used.all())
    return (
        StudyPairs(
            studies.signal_mv if whole else studies.signal_mv[used],
            studies.valid if whole else studies.valid[used],
            np.array([number[name] for name in own], dtype=np.int64),
            views.vectors,
            tuple(rows[name] for name in number),
            None
            if texts is None or of_texts is None
            else np.stack([_mean_direction(texts.vectors[of_texts[name]]) for name in number]),
        ),
        used,
    )


def _mean_direction(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    mean = unit.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class StudyBatch:
    """This process's share of ECGs and studies, and the match matrix of the whole batch.

    Attributes
    ----------
    segments : Tensor, shape (n_share, 12, segment)
        As the network reads them.
    views : Tensor, shape (m_share, n_views, width)
    missing : Tensor of bool, shape (m_share, n_views)
    match : Tensor of bool, shape (n, m)
    texts : Tensor, shape (m, dim), or None
        Of all studies of the batch.
    """

    segments: Tensor
    views: Tensor
    missing: Tensor
    match: Tensor
    texts: Tensor | None = None


class StudyBatches:
    """All batches of a run on echo studies.

    Parameters
    ----------
    pairs : StudyPairs
    config : RunConfig
        With a frozen ECG encoder, whose preprocessing is done here.
    world : World

    Raises
    ------
    ConfigError
        A batch is larger than the pairs, or smaller than the processes.
    """

    def __init__(self, pairs: StudyPairs, config: RunConfig, *, world: World | None = None) -> None:
        self.pairs, self.config, self.world = pairs, config, world or World()
        self.preprocess = ForeignInput(config.model.frozen)
        self._kept: dict[int, npt.NDArray[np.float32]] = {}
        self._kept_bytes = 0
        if not self.world.size <= config.batch_size <= len(pairs):
            raise ConfigError(
                f"There are {len(pairs)} ECGs with an echo study and {self.world.size} "
                f"process(es); a batch of {config.batch_size} cannot be made of them. Set "
                f"batch_size to {len(pairs)} or less, and no less than the processes."
            )

    @property
    def per_epoch(self) -> int:
        """Full batches in one pass over the ECGs."""
        return len(self.pairs) // self.config.batch_size

    def fingerprint(self) -> str:
        """Hash over some ECGs, all clips, and which belong together."""
        digest = hashlib.sha256()
        digest.update(self.pairs.signal_mv[:: max(1, len(self.pairs) // 64)].tobytes())
        for array in (self.pairs.study, self.pairs.vectors):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def at(self, number: int) -> StudyBatch:
        """Batch ``number`` of the run, this process's share of it.

        Parameters
        ----------
        number : int

        Returns
        -------
        StudyBatch
        """
        seed, size = self.config.seed, self.config.batch_size
        rows = rows_of_epoch(seed, 0, len(self.pairs), size, number)
        study = self.pairs.study[rows]
        if self.config.objective.identity_match:
            studies, match = study, torch.eye(size, dtype=torch.bool)
        else:
            studies = np.unique(study)
            match = torch.from_numpy(study[:, None] == studies[None, :])
        # Padded as the whole batch is, whoever encodes which part of it.
        views, missing = self.pairs.views(studies)
        part = encoded_share_of(len(studies), self.world)
        return StudyBatch(
            self._segments(rows, number),
            torch.from_numpy(views[part]),
            torch.from_numpy(missing[part]),
            match,
            None if self.pairs.texts is None else torch.from_numpy(self.pairs.texts[studies]),
        )

    def _segments(self, rows: npt.NDArray[np.int64], number: int) -> Tensor:
        config = self.config
        slots = list(enumerate(rows))[share_of(len(rows), self.world)]
        # By slot, so that a view does not depend on how many processes share the batch.
        rngs = [np.random.default_rng((_VIEW, config.seed, number, slot)) for slot, _ in slots]
        own = [int(row) for _, row in slots]
        if config.views.kind in ("device", "raghu", "leads"):
            given = [
                view_of(self._signal(row), self._valid(row), config.views, rng)
                for row, rng in zip(own, rngs, strict=True)
            ]
            whole = self._whole([signal for signal, _ in given], [there for _, there in given])
        else:
            whole = self._whole_of(own)
        frozen = config.model.frozen
        if config.views.kind != "echo2ecg":
            # One segment an ECG: the first, as it is evaluated.
            return cut(torch.from_numpy(whole), frozen.segment, first_only=True)[:, 0]
        views = [echo2ecg_view(x, frozen.segment, rng) for x, rng in zip(whole, rngs, strict=True)]
        return torch.from_numpy(np.stack(views))

    def _signal(self, row: int) -> npt.NDArray[np.float32]:
        return np.asarray(self.pairs.signal_mv[row])

    def _valid(self, row: int) -> BoolArray:
        return np.asarray(self.pairs.valid[row])

    def _whole(
        self, signals: Sequence[npt.NDArray[np.float32]], masks: Sequence[BoolArray]
    ) -> npt.NDArray[np.float32]:
        """Preprocessed ECGs, shape (n, 12, n_out)."""
        with torch.no_grad():
            out = self.preprocess.whole(
                torch.from_numpy(np.stack(signals)), torch.from_numpy(np.stack(masks))
            )
        return np.asarray(out.numpy(), dtype=np.float32)

    def _whole_of(self, rows: Sequence[int]) -> npt.NDArray[np.float32]:
        """The same of rows as they are, which are kept for later epochs while there is room."""
        made = []
        for row in rows:
            x = self._kept.get(row)
            if x is None:
                # Alone: what it is must not depend, by rounding, on who else is in its batch.
                x = self._whole([self._signal(row)], [self._valid(row)])[0]
                if self._kept_bytes + x.nbytes <= _MAX_KEPT_BYTES:
                    self._kept[row] = x
                    self._kept_bytes += x.nbytes
            made.append(x)
        return np.stack(made)
