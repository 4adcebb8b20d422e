"""Signals and texts -> Gaussians, in batches or by one pass over a whole recording.

Only the compact encoder can share a pass between windows, and only its sigma^2 has parts. The
published encoder sees a window whole, so for it every way leads through batches of windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import SignalQualityError
from echoing_core.models.build import EcgEncoder
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.ecg_encoder import N_CHUNKS, WINDOW_N, CompactEcgEncoder, FrameMaps
from echoing_core.models.released_ecg import ReleasedEcgEncoder
from echoing_core.models.variance_head import HOP
from echoing_core.records import LEADS, BoolArray, GaussianEmbedding, StandardEcg
from echoing_core.signals.scaling import LeadScaler

Progress = Callable[[int, int], None]

# One pass is cut into stretches of about five minutes so that the early maps of a 24-hour
# Holter never have to be in memory together. Stretches overlap by what a window needs.
_STRETCH_HOPS = 1500
_WINDOW_HOPS = WINDOW_N // HOP
_WINDOWS_PER_BATCH = 256
_WINDOWS_APART_PER_BATCH = 48

# At its full width the published encoder takes half a second for a window on one core, so small
# batches are as fast as large ones and let a person see that something moves.
_RELEASED_BATCH = 16


@dataclass(frozen=True, eq=False)
class Parts:
    """Windows as Gaussians, and the parts that their sums of sigma^2 are made of.

    All but the embedding is None where the model does not tell leads and moments apart.

    Attributes
    ----------
    embedding : GaussianEmbedding, n rows
    by_lead : ndarray, shape (n, 12), float32, >= 0, or None
        Part of the sum of sigma^2 that each lead is to blame for.
    by_time : ndarray, shape (n, 50), float32, >= 0, or None
        The same by chunks of 0.2 s from the window's start.
    rest : ndarray, shape (n,), float32, >= 0, or None
        What no lead and no moment is to blame for.
    novelty : ndarray, shape (n,), float32, or None
        Distance from the training windows; above 1 is farther than 99 % of them.
    cells : ndarray, shape (n, 12, 50), float32, or None
        By lead and chunk, where it was asked for.
    """

    embedding: GaussianEmbedding
    by_lead: npt.NDArray[np.float32] | None = None
    by_time: npt.NDArray[np.float32] | None = None
    rest: npt.NDArray[np.float32] | None = None
    novelty: npt.NDArray[np.float32] | None = None
    cells: npt.NDArray[np.float32] | None = None


class _Filled:
    """Arrays for n windows that are filled in any order."""

    def __init__(self, n: int, dim: int, keep_cells: bool) -> None:
        self.mu = np.zeros((n, dim), dtype=np.float32)
        self.log_var = np.zeros((n, dim), dtype=np.float32)
        self.by_lead = np.zeros((n, len(LEADS)), dtype=np.float32)
        self.by_time = np.zeros((n, N_CHUNKS), dtype=np.float32)
        self.rest = np.zeros(n, dtype=np.float32)
        self.novelty = np.zeros(n, dtype=np.float32)
        self.cells = np.zeros((n, len(LEADS), N_CHUNKS), dtype=np.float32) if keep_cells else None

    def put(self, rows: Any, encoder: CompactEcgEncoder, maps: FrameMaps) -> None:
        trunk = encoder.trunk_of(maps)
        parts = encoder.variance_head(maps.leads, maps.statistics, trunk)
        self.mu[rows] = encoder.mean_from(maps).numpy()
        self.log_var[rows] = parts.log_var.numpy()
        self.by_lead[rows] = parts.cells.sum(2).numpy()
        self.by_time[rows] = parts.cells.sum(1).numpy()
        self.rest[rows] = parts.rest.numpy()
        self.novelty[rows] = encoder.novelty(trunk).numpy()
        if self.cells is not None:
            self.cells[rows] = parts.cells.numpy()

    def parts(self) -> Parts:
        embedding = GaussianEmbedding(self.mu, self.log_var)
        return Parts(embedding, self.by_lead, self.by_time, self.rest, self.novelty, self.cells)


def encode_batch(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
    *,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> GaussianEmbedding:
    """Embed windows one by one.

    Parameters
    ----------
    signal_mv : ndarray, shape (n, 12, 1000)
        Filtered, 100 Hz, millivolts, order of `LEADS`.
    valid : ndarray of bool, same shape
    """
    return encode_batch_parts(
        encoder, scaler, signal_mv, valid, batch_size=batch_size, progress=progress
    ).embedding


def encode_batch_parts(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
    *,
    keep_cells: bool = False,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Parts:
    """`encode_batch`, and where the variance of each window comes from."""
    if isinstance(encoder, ReleasedEcgEncoder):
        ecgs = (
            (signal_mv[first : first + _RELEASED_BATCH], valid[first : first + _RELEASED_BATCH])
            for first in range(0, len(signal_mv), _RELEASED_BATCH)
        )
        return _encode_whole(encoder, scaler, ecgs, len(signal_mv), progress)
    filled = _Filled(len(signal_mv), encoder.variance_head.dim, keep_cells)
    with torch.inference_mode():
        for first in range(0, len(signal_mv), batch_size):
            rows = slice(first, first + batch_size)
            maps = encoder.frame_maps(*to_tensors(scaler, signal_mv[rows], valid[rows]))
            filled.put(rows, encoder, maps)
            if progress is not None:
                progress(min(first + batch_size, len(signal_mv)), len(signal_mv))
    return filled.parts()


def encode_dense(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    ecg: StandardEcg,
    starts: npt.NDArray[np.integer],
    *,
    progress: Progress | None = None,
) -> GaussianEmbedding:
    """Embed the windows that start at ``starts``, by one pass over the recording if possible.

    With the compact encoder, windows that start on a common 0.2-s raster share one pass; starts
    off that raster cost one further pass for each of their phases (at most 20).

    Parameters
    ----------
    starts : ndarray of int, shape (n_windows,)
        First samples of the windows, each with 1000 samples after it.

    Returns
    -------
    GaussianEmbedding
        In the order of ``starts``; equal to `encode_batch` of the cut windows up to rounding.
    """
    return encode_dense_parts(encoder, scaler, ecg, starts, progress=progress).embedding


def encode_dense_parts(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    ecg: StandardEcg,
    starts: npt.NDArray[np.integer],
    *,
    keep_cells: bool = False,
    progress: Progress | None = None,
) -> Parts:
    """`encode_dense`, and where the variance of each window comes from."""
    starts = np.asarray(starts, dtype=np.int64)
    if len(starts) and (starts.min() < 0 or starts.max() + WINDOW_N > ecg.n_times):
        raise SignalQualityError(
            f"A window reaches beyond the recording, which lasts {ecg.duration_s:.1f} s."
        )
    if isinstance(encoder, ReleasedEcgEncoder):
        batches = (
            starts[first : first + _RELEASED_BATCH]
            for first in range(0, len(starts), _RELEASED_BATCH)
        )
        windows_of = (
            (
                np.stack([ecg.signal_mv[:, start : start + WINDOW_N] for start in batch]),
                np.stack([ecg.valid[:, start : start + WINDOW_N] for start in batch]),
            )
            for batch in batches
        )
        return _encode_whole(encoder, scaler, windows_of, len(starts), progress)
    filled = _Filled(len(starts), encoder.variance_head.dim, keep_cells)
    done = 0
    if len(starts) and np.diff(starts, append=starts[-1] + WINDOW_N).min() >= WINDOW_N:
        # Windows that share nothing gain nothing from one pass, which also reads between them.
        with torch.inference_mode():
            for first in range(0, len(starts), _WINDOWS_APART_PER_BATCH):
                batch = slice(first, first + _WINDOWS_APART_PER_BATCH)
                cuts = [slice(start, start + WINDOW_N) for start in starts[batch].tolist()]
                signal_mv = np.stack([ecg.signal_mv[:, cut] for cut in cuts])
                valid = np.stack([ecg.valid[:, cut] for cut in cuts])
                maps = encoder.frame_maps(*to_tensors(scaler, signal_mv, valid))
                filled.put(batch, encoder, maps)
                done += len(cuts)
                if progress is not None:
                    progress(done, len(starts))
        return filled.parts()
    with torch.inference_mode():
        for rows, begin, end in _stretches(starts, ecg.n_times):
            scaled, mask = to_tensors(
                scaler, ecg.signal_mv[None, :, begin:end], ecg.valid[None, :, begin:end]
            )
            maps = encoder.frame_maps(scaled, mask)
            local = torch.from_numpy((starts[rows] - begin) // HOP)
            for part in torch.split(torch.arange(len(rows)), _WINDOWS_PER_BATCH):
                windows: FrameMaps = maps.unfold(local[part], encoder.window_frames)
                filled.put(rows[part.numpy()], encoder, windows)
            done += len(rows)
            if progress is not None:
                progress(done, len(starts))
    return filled.parts()


def _encode_whole(
    encoder: ReleasedEcgEncoder,
    scaler: LeadScaler,
    batches: Iterable[tuple[npt.NDArray[np.float32], BoolArray]],
    n: int,
    progress: Progress | None,
) -> Parts:
    """Windows as Gaussians that have no parts; ``batches`` are cut only when it is their turn."""
    mu = np.zeros((n, encoder.dim), dtype=np.float32)
    log_var = np.zeros_like(mu)
    done = 0
    with torch.inference_mode():
        for signal_mv, valid in batches:
            rows = slice(done, done + len(signal_mv))
            means, spreads = encoder(*to_tensors(scaler, signal_mv, valid))
            mu[rows], log_var[rows] = means.numpy(), spreads.numpy()
            done += len(signal_mv)
            if progress is not None:
                progress(done, n)
    return Parts(GaussianEmbedding(mu, log_var))


def _stretches(
    starts: npt.NDArray[np.integer], n_times: int
) -> Iterator[tuple[npt.NDArray[np.intp], int, int]]:
    """Windows that share a pass: their row numbers, and the samples that the pass needs."""
    for phase in np.unique(starts % HOP):
        chosen = np.flatnonzero(starts % HOP == phase)
        hops = (starts[chosen] - phase) // HOP
        for stretch in np.unique(hops // _STRETCH_HOPS):
            begin = int(phase) + int(stretch) * _STRETCH_HOPS * HOP
            end = min(begin + (_STRETCH_HOPS + _WINDOW_HOPS) * HOP, n_times)
            yield chosen[hops // _STRETCH_HOPS == stretch], begin, end


def encode_texts(
    checkpoint: Checkpoint, texts: Sequence[str], *, batch_size: int = 256
) -> GaussianEmbedding:
    """Embed reports or prompts, in their order. Equal texts are encoded once."""
    unique = list(dict.fromkeys(texts))
    mus, log_vars = [], []
    with torch.inference_mode():
        for first in range(0, len(unique), batch_size):
            ids, mask = checkpoint.tokenizer.encode(unique[first : first + batch_size])
            mu, log_var = checkpoint.encoder.text(torch.from_numpy(ids), torch.from_numpy(mask))
            mus.append(mu.numpy())
            log_vars.append(log_var.numpy())
    if not mus:
        empty = np.zeros((0, checkpoint.encoder.config.dim), dtype=np.float32)
        return GaussianEmbedding(empty, empty)
    row_of = {text: i for i, text in enumerate(unique)}
    rows = np.array([row_of[text] for text in texts], dtype=np.int64)
    return GaussianEmbedding(np.concatenate(mus)[rows], np.concatenate(log_vars)[rows])


def to_tensors(
    scaler: LeadScaler, signal_mv: npt.NDArray[np.float32], valid: BoolArray
) -> tuple[Tensor, Tensor]:
    """Scale per lead and put zeros, together with their mask, where nothing was measured."""
    scaled = np.where(valid, scaler.apply(signal_mv), 0.0).astype(np.float32)
    return torch.from_numpy(scaled), torch.from_numpy(valid.astype(np.float32))
