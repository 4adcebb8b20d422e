"""Signals and texts -> Gaussians, in batches or by one pass over a whole recording."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import SignalQualityError
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.ecg_encoder import HOP, WINDOW_N, CompactEcgEncoder, FrameMaps
from echoing_core.records import BoolArray, GaussianEmbedding, StandardEcg
from echoing_core.signals.scaling import LeadScaler

Progress = Callable[[int, int], None]

# One pass is cut into stretches of about five minutes so that the early maps of a 24-hour
# Holter never have to be in memory together. Stretches overlap by what a window needs.
_STRETCH_HOPS = 1500
_WINDOW_HOPS = WINDOW_N // HOP
_WINDOWS_PER_BATCH = 256


def encode_batch(
    encoder: CompactEcgEncoder,
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
    mus, log_vars = [], []
    with torch.inference_mode():
        for first in range(0, len(signal_mv), batch_size):
            rows = slice(first, first + batch_size)
            scaled, mask = to_tensors(scaler, signal_mv[rows], valid[rows])
            mu, log_var = encoder(scaled, mask)
            mus.append(mu.numpy())
            log_vars.append(log_var.numpy())
            if progress is not None:
                progress(min(first + batch_size, len(signal_mv)), len(signal_mv))
    dim = int(encoder.variance_head.out.out_features)
    if not mus:
        empty = np.zeros((0, dim), dtype=np.float32)
        return GaussianEmbedding(empty, empty)
    return GaussianEmbedding(np.concatenate(mus), np.concatenate(log_vars))


def encode_dense(
    encoder: CompactEcgEncoder,
    scaler: LeadScaler,
    ecg: StandardEcg,
    starts: npt.NDArray[np.integer],
    *,
    progress: Progress | None = None,
) -> GaussianEmbedding:
    """Embed the windows that start at ``starts`` by one pass over the recording.

    Windows that start on a common 0.2-s raster share one pass; starts off that raster cost
    one further pass for each of their phases (at most 20).

    Parameters
    ----------
    starts : ndarray of int, shape (n_windows,)
        First samples of the windows, each with 1000 samples after it.

    Returns
    -------
    GaussianEmbedding
        In the order of ``starts``; equal to `encode_batch` of the cut windows up to rounding.
    """
    starts = np.asarray(starts, dtype=np.int64)
    if len(starts) and (starts.min() < 0 or starts.max() + WINDOW_N > ecg.n_times):
        raise SignalQualityError(
            f"A window reaches beyond the recording, which lasts {ecg.duration_s:.1f} s."
        )
    dim = int(encoder.variance_head.out.out_features)
    mu = np.zeros((len(starts), dim), dtype=np.float32)
    log_var = np.zeros((len(starts), dim), dtype=np.float32)
    done = 0
    with torch.inference_mode():
        for phase in np.unique(starts % HOP):
            chosen = np.flatnonzero(starts % HOP == phase)
            hops = (starts[chosen] - phase) // HOP
            for stretch in np.unique(hops // _STRETCH_HOPS):
                rows = chosen[hops // _STRETCH_HOPS == stretch]
                first_hop = int(stretch) * _STRETCH_HOPS
                begin = int(phase) + first_hop * HOP
                end = min(begin + (_STRETCH_HOPS + _WINDOW_HOPS) * HOP, ecg.n_times)
                scaled, mask = to_tensors(
                    scaler, ecg.signal_mv[None, :, begin:end], ecg.valid[None, :, begin:end]
                )
                maps = encoder.frame_maps(scaled, mask)
                local = torch.from_numpy((starts[rows] - begin) // HOP)
                for part in torch.split(torch.arange(len(rows)), _WINDOWS_PER_BATCH):
                    windows: FrameMaps = maps.unfold(local[part], encoder.window_frames)
                    mu[rows[part.numpy()]] = encoder.mean_from(windows).numpy()
                    log_var[rows[part.numpy()]] = encoder.log_var_from(windows).numpy()
                done += len(rows)
                if progress is not None:
                    progress(done, len(starts))
    return GaussianEmbedding(mu, log_var)


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
