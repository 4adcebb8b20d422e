"""Signals and texts -> Gaussians, in batches or by one pass over a whole recording.

Only the compact encoder can share a pass between windows, and only its sigma^2 is a sum of terms.
The published encoder sees a window whole, so for it every way leads through batches of windows.

All is computed where the encoder lies, and many windows on a GPU where there is one
(`models.devices`); what comes back is in this machine's own memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import SignalQualityError
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.config import DISPLACEMENT
from echoing_core.models.devices import device_for, device_of, placed
from echoing_core.models.ecg_encoder import N_CHUNKS, WINDOW_N, CompactEcgEncoder
from echoing_core.models.encoders import EcgEncoder
from echoing_core.models.side_by_side import side_by_side
from echoing_core.models.variance_head import FLOOR, HOP
from echoing_core.models.window_pass import WindowPass, WindowValues
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, BoolArray, GaussianEmbedding, StandardEcg
from echoing_core.signals.scaling import LeadScaler
from echoing_core.signals.windows import cut_windows

_WINDOW_HOPS = WINDOW_N // HOP


@dataclass(frozen=True)
class _Portions:
    """How much is worked on at once on a kind of device.

    Attributes
    ----------
    stretch_hops : int
        One pass is cut into stretches so that the early maps of a 24-hour Holter never have to be
        in memory together. They overlap by what a window needs.
    windows, windows_apart : int
        By the compact encoder, that share a pass or do not.
    released : int
        By the published one. At its full width it takes half a second for a window on one core,
        so small batches are as fast there and let a person see that something moves.
    at_once : int or None
        Portions under way; None for one a core. A GPU computes one while the next is made ready.
    """

    stretch_hops: int
    windows: int
    windows_apart: int
    released: int
    at_once: int | None = None

    def released_of(self, n: int) -> int:
        """Of n windows by the published encoder, on a processor with a batch for every thread."""
        n_threads = torch.get_num_threads() if self.at_once is None else 1
        return max(1, min(self.released, -(-n // n_threads)))


_PORTIONS = {
    "cpu": _Portions(stretch_hops=1500, windows=64, windows_apart=48, released=16),
    "cuda": _Portions(
        stretch_hops=12_000, windows=1024, windows_apart=512, released=128, at_once=2
    ),
}

# What repays the second or two that a GPU takes to begin. An encoder that is on it anyway stays.
_ENOUGH, _ENOUGH_RELEASED = 4096, 64

Float32s = npt.NDArray[np.float32]
Batch = tuple[Float32s, BoolArray]


@dataclass(frozen=True, eq=False)
class EncodedWindows:
    """Windows as Gaussians, and the terms that their sums of sigma^2 are made of.

    All but the embedding is None where the model does not tell leads and moments apart, or its
    sigma^2 is read that was learnt by matching.

    Attributes
    ----------
    embedding : GaussianEmbedding, n rows
        With the sigma^2 that the encoder gives.
    by_lead : ndarray, shape (n, 12), float32, >= 0, or None
        Term of the sum of sigma^2 that each lead is to blame for.
    rest : ndarray, shape (n,), float32, >= 0, or None
        What no lead and no moment is to blame for.
    novelty : ndarray, shape (n,), float32, or None
        Distance from the training windows; above 1 is farther than 99 % of them.
    other_sigma2 : ndarray, shape (n,), float32, or None
        Sum of the model's other sigma^2, where it has two.
    cells, lost : ndarray, shape (n, 12, 50), float32, or None
        By lead and chunk of 0.2 s, where it was asked for: terms of the sum of sigma^2, and how
        much of the signal is lost, 0..1.
    """

    embedding: GaussianEmbedding
    by_lead: Float32s | None = None
    rest: Float32s | None = None
    novelty: Float32s | None = None
    other_sigma2: Float32s | None = None
    cells: Float32s | None = None
    lost: Float32s | None = None


class _Filled:
    """Arrays for n windows that are filled in any order."""

    def __init__(self, encoder: EcgEncoder, n: int, *, keep_cells: bool = False) -> None:
        self.is_compact = isinstance(encoder, CompactEcgEncoder)
        self.has_terms = isinstance(encoder, CompactEcgEncoder) and encoder.sigma2 == DISPLACEMENT
        self.has_two = isinstance(encoder, CompactEcgEncoder) and len(encoder.sigma2_kinds) > 1
        self.mu = np.zeros((n, encoder.dim), dtype=np.float32)
        self.log_var = np.zeros((n, encoder.dim), dtype=np.float32)
        self.other = np.zeros(n, dtype=np.float32)
        self.by_lead = np.zeros((n, len(LEADS)), dtype=np.float32)
        self.rest = np.zeros(n, dtype=np.float32)
        self.novelty = np.zeros(n, dtype=np.float32)
        self.cells = np.zeros((n, len(LEADS), N_CHUNKS), dtype=np.float32) if keep_cells else None
        self.lost = None if self.cells is None else np.zeros_like(self.cells)

    def put(self, rows: slice | npt.NDArray[np.intp], values: WindowValues) -> None:
        """Rows from what the encoder says of their windows."""
        self.mu[rows] = values.mu.cpu().numpy()
        self.log_var[rows] = values.log_var.cpu().numpy()
        self.novelty[rows] = values.novelty.cpu().numpy()
        if values.other is not None:
            self.other[rows] = values.other.cpu().numpy()
        if values.cells is not None and self.has_terms:
            self.by_lead[rows] = values.cells.sum(2).cpu().numpy()
            self.rest[rows] = self.mu.shape[1] * FLOOR
            if self.cells is not None:
                self.cells[rows] = values.cells.cpu().numpy()
            if self.lost is not None and values.lost is not None:
                self.lost[rows] = values.lost.cpu().numpy()

    def windows(self) -> EncodedWindows:
        return EncodedWindows(
            GaussianEmbedding(self.mu, self.log_var),
            by_lead=self.by_lead if self.has_terms else None,
            rest=self.rest if self.has_terms else None,
            novelty=self.novelty if self.is_compact else None,
            other_sigma2=self.other if self.has_two else None,
            cells=self.cells if self.has_terms else None,
            lost=self.lost if self.has_terms else None,
        )


def encode_batch(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: Float32s,
    valid: BoolArray,
    *,
    batch_size: int | None = None,
    progress: Progress = SILENT,
) -> GaussianEmbedding:
    """Embed windows one by one.

    Parameters
    ----------
    encoder : EcgEncoder
        In evaluation mode.
    scaler : LeadScaler
        The one that the encoder was trained with.
    signal_mv : ndarray, shape (n, 12, 1000)
        Filtered, 100 Hz, millivolts, order of `LEADS`.
    valid : ndarray of bool, same shape
        False where nothing was measured.
    batch_size : int, optional
        Windows in memory at once, by default what the device likes; the published encoder takes
        its own, smaller number.
    progress : Progress, optional
        Counts windows.

    Returns
    -------
    GaussianEmbedding, n rows
    """
    return encode_batch_terms(
        encoder, scaler, signal_mv, valid, batch_size=batch_size, progress=progress
    ).embedding


def encode_batch_terms(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: Float32s,
    valid: BoolArray,
    *,
    keep_cells: bool = False,
    batch_size: int | None = None,
    progress: Progress = SILENT,
) -> EncodedWindows:
    """`encode_batch`, and where the variance of each window comes from.

    Parameters
    ----------
    keep_cells : bool
        Keep the terms by lead and chunk, 2.4 kB a window.
    """
    encoder, portions = _at_work(encoder, len(signal_mv))
    if not isinstance(encoder, CompactEcgEncoder):
        batch_size = portions.released_of(len(signal_mv))
    elif batch_size is None:
        batch_size = max(128, portions.windows_apart)
    batches = (
        (signal_mv[first : first + batch_size], valid[first : first + batch_size])
        for first in range(0, len(signal_mv), batch_size)
    )
    filled = _Filled(encoder, len(signal_mv), keep_cells=keep_cells)
    return _encode_batches(encoder, scaler, batches, filled, progress)


def encode_dense(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    ecg: StandardEcg,
    starts: npt.NDArray[np.integer],
    *,
    progress: Progress = SILENT,
) -> GaussianEmbedding:
    """Embed the windows that start at ``starts``, by one pass over the recording if possible.

    With the compact encoder, windows that start on a common 0.2-s raster share one pass; starts
    off that raster cost one further pass for each of their phases (at most 20).

    Parameters
    ----------
    encoder, scaler
        As in `encode_batch`.
    ecg : StandardEcg
    starts : ndarray of int, shape (n_windows,)
        First samples of the windows, each with 1000 samples after it.
    progress : Progress, optional
        Counts windows.

    Returns
    -------
    GaussianEmbedding
        In the order of ``starts``; equal to `encode_batch` of the cut windows up to rounding.

    Raises
    ------
    SignalQualityError
        A window reaches beyond the recording.
    """
    return encode_dense_terms(encoder, scaler, ecg, starts, progress=progress).embedding


def encode_dense_terms(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    ecg: StandardEcg,
    starts: npt.NDArray[np.integer],
    *,
    progress: Progress = SILENT,
) -> EncodedWindows:
    """`encode_dense`, and where the variance of each window comes from."""
    starts = np.asarray(starts, dtype=np.int64)
    if len(starts) and (starts.min() < 0 or starts.max() + WINDOW_N > ecg.n_times):
        raise SignalQualityError(
            f"A window reaches beyond the recording, which lasts {ecg.duration_s:.1f} s."
        )
    filled = _Filled(encoder, len(starts))
    encoder, portions = _at_work(encoder, len(starts))
    if not isinstance(encoder, CompactEcgEncoder):
        batches = _cut_in_batches(ecg, starts, portions.released_of(len(starts)))
        return _encode_batches(encoder, scaler, batches, filled, progress)
    if len(starts) and np.diff(starts, append=starts[-1] + WINDOW_N).min() >= WINDOW_N:
        # Windows that share nothing gain nothing from one pass, which also reads between them.
        batches = _cut_in_batches(ecg, starts, portions.windows_apart)
        return _encode_batches(encoder, scaler, batches, filled, progress)
    with torch.inference_mode():
        shared, device = WindowPass(encoder), device_of(encoder)

    @torch.inference_mode()
    def encoded(stretch: tuple[npt.NDArray[np.intp], int, int]) -> int:
        rows, begin, end = stretch
        scaled, mask = to_tensors(
            scaler, ecg.signal_mv[None, :, begin:end], ecg.valid[None, :, begin:end], device
        )
        frames = shared.frames(scaled, mask)
        local = torch.from_numpy((starts[rows] - begin) // HOP)
        for some in torch.split(torch.arange(len(rows)), portions.windows):
            filled.put(rows[some.numpy()], shared.windows(frames, local[some]))
        return len(rows)

    done = 0
    stretches = _stretches(starts, ecg.n_times, portions.stretch_hops)
    for n in side_by_side(encoded, stretches, at_once=portions.at_once):
        done += n
        progress(done, len(starts))
    return filled.windows()


def device_for_windows(encoder: EcgEncoder, n: int) -> torch.device:
    """Where so many windows are best encoded.

    Parameters
    ----------
    encoder : EcgEncoder
    n : int

    Returns
    -------
    torch.device
        Where the encoder lies, if that is not the processor; else as `models.devices` says.

    Raises
    ------
    ConfigError
        A device is named that is not here.
    """
    enough = _ENOUGH if isinstance(encoder, CompactEcgEncoder) else _ENOUGH_RELEASED
    return device_for(n, enough=enough, of=encoder)


def move_ecg_encoder(checkpoint: Checkpoint, device: str) -> None:
    """Let all ECGs of a checkpoint be encoded on a device from now on, however few at a time.

    Parameters
    ----------
    checkpoint : Checkpoint
        Changed in place.
    device : str
        As `torch.device` takes it.
    """
    checkpoint.encoder.ecg = placed(checkpoint.encoder.ecg, torch.device(device))


def _at_work(encoder: EcgEncoder, n: int) -> tuple[EcgEncoder, _Portions]:
    """The encoder where n windows are best encoded, and in what portions."""
    device = device_for_windows(encoder, n)
    return placed(encoder, device), _PORTIONS[device.type]


def _cut_in_batches(
    ecg: StandardEcg, starts: npt.NDArray[np.integer], size: int
) -> Iterator[Batch]:
    """Windows cut out of a recording, each batch when it is its turn."""
    for first in range(0, len(starts), size):
        yield cut_windows(ecg, starts[first : first + size])


def _encode_batches(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    batches: Iterable[Batch],
    filled: _Filled,
    progress: Progress,
) -> EncodedWindows:
    """Windows one after another; the published encoder gives Gaussians without terms."""
    device = device_of(encoder)
    at_once = _PORTIONS[device.type].at_once
    with torch.inference_mode():
        shared = WindowPass(encoder) if isinstance(encoder, CompactEcgEncoder) else None

    @torch.inference_mode()
    def encoded(batch: tuple[slice, Batch]) -> int:
        rows, (signal_mv, valid) = batch
        scaled, mask = to_tensors(scaler, signal_mv, valid, device)
        if shared is None:
            mu, log_var = encoder(scaled, mask)
            filled.mu[rows], filled.log_var[rows] = mu.cpu().numpy(), log_var.cpu().numpy()
        else:
            frames = shared.frames(scaled, mask)
            filled.put(rows, shared.windows(frames, None, keep_cells=filled.lost is not None))
        return len(signal_mv)

    done = 0
    for n in side_by_side(encoded, _with_rows(batches), at_once=at_once):
        done += n
        progress(done, len(filled.mu))
    return filled.windows()


def _with_rows(batches: Iterable[Batch]) -> Iterator[tuple[slice, Batch]]:
    first = 0
    for batch in batches:
        yield slice(first, first + len(batch[0])), batch
        first += len(batch[0])


def _stretches(
    starts: npt.NDArray[np.integer], n_times: int, n_hops: int
) -> Iterator[tuple[npt.NDArray[np.intp], int, int]]:
    """Windows that share a pass: their row numbers, and the samples that the pass needs."""
    for phase in np.unique(starts % HOP):
        chosen = np.flatnonzero(starts % HOP == phase)
        hops = (starts[chosen] - phase) // HOP
        for stretch in np.unique(hops // n_hops):
            begin = int(phase) + int(stretch) * n_hops * HOP
            end = min(begin + (n_hops + _WINDOW_HOPS) * HOP, n_times)
            yield chosen[hops // n_hops == stretch], begin, end


def encode_texts(
    checkpoint: Checkpoint, texts: Sequence[str], *, batch_size: int = 256
) -> GaussianEmbedding:
    """Embed reports or prompts, in their order. Equal texts are encoded once.

    Parameters
    ----------
    checkpoint : Checkpoint
    texts : sequence of str
    batch_size : int
        Texts in memory at once.

    Returns
    -------
    GaussianEmbedding
        One row for each text; none for no texts.

    Raises
    ------
    CheckpointError
        The model reads ECGs alone.
    """
    checkpoint.require_text()
    unique = list(dict.fromkeys(texts))
    text, mus, log_vars = checkpoint.encoder.text, [], []
    device = device_for(len(unique), enough=_ENOUGH, of=text)
    text = placed(text, device)
    with torch.inference_mode():
        for first in range(0, len(unique), batch_size):
            ids, mask = checkpoint.tokenizer.encode(unique[first : first + batch_size])
            mu, log_var = text(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
            mus.append(mu.cpu().numpy())
            log_vars.append(log_var.cpu().numpy())
    if not mus:
        empty = np.zeros((0, checkpoint.encoder.config.dim), dtype=np.float32)
        return GaussianEmbedding(empty, empty)
    row_of = {text: i for i, text in enumerate(unique)}
    rows = np.array([row_of[text] for text in texts], dtype=np.int64)
    return GaussianEmbedding(np.concatenate(mus)[rows], np.concatenate(log_vars)[rows])


def encode_reports(checkpoint: Checkpoint, reports: Sequence[str]) -> GaussianEmbedding:
    """`encode_texts` for an index, which needs a row for each item whatever there is of it.

    Parameters
    ----------
    checkpoint : Checkpoint
    reports : sequence of str

    Returns
    -------
    GaussianEmbedding
        One row for each report. Where it is empty, and for all where the model reads ECGs alone,
        stands a place holder.
    """
    dim = checkpoint.encoder.config.dim
    mu = np.zeros((len(reports), dim), dtype=np.float32)
    # Finite, as the index demands of every row; sigma^2 is 1 in each dimension.
    mu[:, 0] = 1.0
    log_var = np.zeros_like(mu)
    there = [i for i, report in enumerate(reports) if report.strip() and checkpoint.has_text]
    if there:
        encoded = encode_texts(checkpoint, [reports[i] for i in there])
        mu[there], log_var[there] = encoded.mu, encoded.log_var
    return GaussianEmbedding(mu, log_var)


def to_tensors(
    scaler: LeadScaler,
    signal_mv: npt.NDArray[np.float32],
    valid: BoolArray,
    device: torch.device | None = None,
) -> tuple[Tensor, Tensor]:
    """Scale per lead and put zeros, together with their mask, where nothing was measured.

    Parameters
    ----------
    signal_mv : ndarray, shape (..., 12, n_times)
        Millivolts.
    valid : ndarray of bool, same shape
    device : torch.device, optional
        Where they go; the processor's memory without it.

    Returns
    -------
    scaled, mask : Tensor of float32, same shape
    """
    scaled = np.where(valid, scaler.apply(signal_mv), 0.0).astype(np.float32)
    pair = torch.from_numpy(scaled), torch.from_numpy(valid.astype(np.float32))
    return pair if device is None else (pair[0].to(device), pair[1].to(device))
