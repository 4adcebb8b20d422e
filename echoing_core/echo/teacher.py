"""The echo teacher: a frozen open_clip model that turns frames of an echocardiogram into vectors.

ECHO-CLIP is open_clip's ``convnext_base`` trained on echo frames and reports (Christensen et al.,
Nat Med 30 (2024) 1481). Any open_clip model of image and text does, so the small stand-in that is
trained on simulated echo goes through the same code. `echo_loading` opens them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.errors import RecordError
from echoing_core.progress import SILENT, Progress

F32 = npt.NDArray[np.float32]

VARIANCE_FLOOR = 1.0e-8
"""Added to a variance before its logarithm is taken, as the released code does."""

_UNIT_TOLERANCE = 1e-3


class EchoTeacher:
    """A frozen model of frames and texts in one space.

    Parameters
    ----------
    model : open_clip model
        With ``encode_image`` and ``encode_text``; it is put into evaluation for good.
    tokenizer : callable
        Texts to ids, as open_clip's.
    name : str
        For cards and tables.
    digest : str
        Hexadecimal sha256 over everything that the model computes with.
    simulated : bool
        True when it was trained on simulated echo.
    image_size : (int, int)
        Height and width that the model reads.
    mean, std : (float, float, float)
        Of red, green and blue in [0, 1].
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        name: str,
        digest: str,
        simulated: bool,
        image_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.hash = digest
        self.simulated = simulated
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self._tokenizer = tokenizer
        self.dim = int(self.embed_text(["LEFT VENTRICLE"]).shape[1])

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def embed_frames(
        self,
        frames: npt.NDArray[np.uint8],
        *,
        batch_size: int = 64,
        progress: Progress = SILENT,
    ) -> F32:
        """Embed frames one by one.

        Parameters
        ----------
        frames : ndarray, shape (n, height, width, 3), uint8
            RGB; any size (`prepare_frames`).
        batch_size : int
            Changes results by rounding only.
        progress : Progress, optional
            Told how much is done.

        Returns
        -------
        ndarray, shape (n, dim), float32
            Unit vectors.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 of shape (n, height, width, 3), not {frames.dtype} "
                f"of {frames.shape}"
            )
        parts = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(frames), batch_size):
            batch = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch_size]))
            with torch.inference_mode():
                pixels = prepare_frames(batch.to(self.device), self.image_size, self.mean, self.std)
                vectors = self.model.encode_image(pixels, normalize=True)
            parts.append(vectors.float().cpu().numpy())
            progress(min(start + batch_size, len(frames)), len(frames))
        return np.concatenate(parts)

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256) -> F32:
        """Embed texts; returns unit vectors of shape (n, dim), float32.

        open_clip's tokenizer writes everything small and cuts what is too long, so capitals and
        trailing spaces of prompts change nothing.
        """
        parts = []
        for start in range(0, len(texts), batch_size):
            ids = self._tokenizer(list(texts[start : start + batch_size])).to(self.device)
            with torch.inference_mode():
                vectors = self.model.encode_text(ids, normalize=True)
            parts.append(vectors.float().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)


def prepare_frames(
    frames: torch.Tensor,
    image_size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> torch.Tensor:
    """RGB frames as the model reads them: resized, in [0, 1], normalised.

    The whole frame becomes the model's rectangle, so its aspect is not kept. Shrinking takes the
    exact mean over each new pixel's area (what OpenCV calls INTER_AREA), enlarging is linear.
    Unlike the released way over 8-bit files, nothing is rounded to whole grey levels.

    Parameters
    ----------
    frames : Tensor, shape (n, height, width, 3), uint8

    Returns
    -------
    Tensor, shape (n, 3, *image_size), float32
    """
    pixels = resized_by_area(frames.permute(0, 3, 1, 2).float() / 255.0, image_size)
    shift = torch.tensor(mean, device=pixels.device)[:, None, None]
    scale = torch.tensor(std, device=pixels.device)[:, None, None]
    return (pixels - shift) / scale


def resized_by_area(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize the last two axes of ``pixels`` to ``size``; see `prepare_frames`."""
    rows = torch.from_numpy(_resizing(pixels.shape[-2], size[0])).to(pixels.device)
    columns = torch.from_numpy(_resizing(pixels.shape[-1], size[1])).to(pixels.device)
    return rows @ pixels @ columns.T


def _resizing(n_old: int, n_new: int) -> F32:
    """Weights of old pixels in new ones along one axis, shape (n_new, n_old), rows sum to 1."""
    if n_new <= n_old:
        edges = np.arange(n_new + 1) * (n_old / n_new)
        old = np.arange(n_old)
        # Overlap of new pixel [e_i, e_i+1] with old pixel [j, j+1].
        overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
        weights = np.maximum(overlap, 0.0)
    else:
        centre = np.clip((np.arange(n_new) + 0.5) * (n_old / n_new) - 0.5, 0.0, n_old - 1.0)
        weights = np.maximum(1.0 - np.abs(centre[:, None] - np.arange(n_old)), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def echo_gaussian(frame_embeddings: npt.ArrayLike) -> tuple[F32, F32]:
    """Mean and log variance of a video's unit frame vectors.

    The mean is brought to unit length (kept where it is zero). The variance is the biased one of
    the unit vectors, so the variances add up to 1 minus the squared length of the mean before
    that: a heart that moves much has a wide Gaussian.

    Parameters
    ----------
    frame_embeddings : array-like, shape (n_frames, dim)
        Unit vectors, at least two.

    Returns
    -------
    (ndarray, ndarray), both of shape (dim,), float32
        Mean of unit length; ln(variance + 1e-8).

    Raises
    ------
    RecordError
        If there are fewer than two frames: one frame has variance 0 in every dimension, and
        would teach a certainty that nobody has.

    References
    ----------
    EchoingECG's echo teacher: mean over frames, variance as the Gaussian's.
    """
    frames = np.asarray(frame_embeddings, dtype=np.float64)
    if frames.ndim != 2:
        raise ValueError(f"frame embeddings must be (n_frames, dim), not {frames.shape}")
    if len(frames) < 2:
        raise RecordError(
            f"The echo has {len(frames)} usable frames, and a Gaussian needs at least 2. "
            "Choose a moving picture."
        )
    if np.abs(np.linalg.norm(frames, axis=1) - 1.0).max() > _UNIT_TOLERANCE:
        raise ValueError("frame embeddings must be unit vectors")
    mean = frames.mean(axis=0)
    variance = np.square(frames - mean).mean(axis=0)
    length = np.linalg.norm(mean)
    unit = mean / length if length > 0.0 else mean
    return unit.astype(np.float32), np.log(variance + VARIANCE_FLOOR).astype(np.float32)
