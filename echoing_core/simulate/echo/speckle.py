"""What an ultrasound machine makes of tissue: a sector, speckle, gain, shadows and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.floating[Any]]

# Texels per pixel and per side of the speckle texture, which repeats: a side must be a power of
# two, so that a bit mask wraps indices.
_TEXELS_PER_PIXEL = 2
_TEXTURE = 256


@dataclass(frozen=True, eq=False)
class Beam:
    """How well the sound gets through, for one clip.

    Attributes
    ----------
    size : int
        Height and width of the picture.
    inside : ndarray, shape (n_pixels,)
        Which pixels, row by row, lie in the sector; nothing else is drawn.
    gain : ndarray, shape (n_pixels,)
        Factor on the brightness: overall gain, depth, and ribs or lung in the way.
    haze : ndarray, shape (n_pixels,)
        Brightness added by reverberation near the probe.
    """

    size: int
    inside: npt.NDArray[np.intp]
    gain: F32
    haze: F32


def draw_beam(x_mm: F32, depth_mm: F32, rng: np.random.Generator) -> Beam:
    """Draw sector, gain and shadows.

    Parameters
    ----------
    x_mm, depth_mm : ndarray, shape (size, size)
        Place of each pixel: right of the middle, and below the probe.
    """
    radius = np.hypot(x_mm, depth_mm)
    angle = np.arctan2(x_mm, np.maximum(depth_mm, 1e-3))
    half = np.deg2rad(rng.uniform(40.0, 46.0))
    reach = float(depth_mm.max()) * rng.uniform(0.97, 1.0)
    sector = (np.abs(angle) < half) & (radius < reach) & (radius > 2.0)
    inside = np.flatnonzero(sector)
    radius, angle = radius[sector], angle[sector]

    # Tissue is not equally bright everywhere, on the scale of centimetres.
    coarse = rng.standard_normal((6, 6), dtype=np.float32)
    patches = ndimage.zoom(coarse, x_mm.shape[0] / 6, order=1, grid_mode=True, mode="nearest")
    # The time-gain compensation undoes most of the loss with depth, not all of it.
    gain = rng.uniform(0.85, 1.2) * np.exp(-rng.uniform(0.0, 0.0028) * radius)
    gain *= np.exp(rng.uniform(0.05, 0.22) * patches.ravel()[inside])
    for _ in range(int(rng.integers(0, 4))):
        middle, width = rng.uniform(-half, half), rng.uniform(0.04, 0.16)
        gain *= 1.0 - rng.uniform(0.1, 0.45) * np.exp(-(((angle - middle) / width) ** 2))
    haze = rng.uniform(0.0, 0.03) + rng.uniform(0.0, 0.25) * np.exp(-radius / 12.0)
    return Beam(
        size=len(x_mm),
        inside=inside,
        gain=gain.astype(np.float32),
        haze=haze.astype(np.float32),
    )


def speckle_texture(rng: np.random.Generator) -> F32:
    """Draw fully developed speckle as a screen shows it, mean 1, shape (256, 256), periodic.

    The envelope of a complex Gaussian field is Rayleigh-distributed (Burckhardt, IEEE Trans
    Sonics Ultrason 1978;25:1); the square root stands for the machine's compression. Blurred more
    across than along the beam.
    """
    field = rng.standard_normal((2, _TEXTURE, _TEXTURE), dtype=np.float32)
    wide, deep = rng.uniform(2.0, 3.2), rng.uniform(1.2, 1.8)
    field = ndimage.gaussian_filter(field, (0.0, deep, wide), mode="wrap", truncate=3.0)
    envelope = np.sqrt(np.hypot(field[0], field[1]))
    return np.asarray(envelope / envelope.mean(), dtype=np.float32)


def sample_texture(texture: F32, x_px: Pixels, y_px: Pixels) -> F32:
    """Look the texture up at tissue coordinates, given in pixels."""
    last = _TEXTURE - 1
    column = (x_px * _TEXELS_PER_PIXEL).astype(np.int32)
    row = (y_px * _TEXELS_PER_PIXEL).astype(np.int32)
    column &= last
    row &= last
    row *= _TEXTURE
    row += column
    return np.asarray(texture.ravel()[row])


def to_screen(
    tissue: F32, speckle: F32, beam: Beam, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Brightness of tissue, 0 to 1, as frames of a machine; ``tissue`` is overwritten.

    Parameters
    ----------
    tissue, speckle : ndarray, shape (n_frames, n_pixels)

    Returns
    -------
    ndarray, shape (n_frames, size, size, 3), uint8
    """
    picture = tissue
    picture *= speckle
    picture *= beam.gain
    flicker = 1.0 + 0.02 * rng.standard_normal((len(picture), 1), dtype=np.float32)
    picture *= flicker
    picture += beam.haze
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(0.01, 0.03))
    picture += noise
    picture *= 255.0
    np.clip(picture, 0.0, 255.0, out=picture)
    grey = np.zeros((len(picture), beam.size * beam.size), dtype=np.uint8)
    grey[:, beam.inside] = picture
    return np.repeat(grey.reshape(-1, beam.size, beam.size, 1), 3, axis=-1)
