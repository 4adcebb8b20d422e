"""What an ultrasound machine makes of tissue: a sector, speckle, gain, shadows and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

F32 = npt.NDArray[np.float32]

# Texels per pixel and per side of the speckle texture, which repeats: a side must be a power of
# two, so that a bit mask wraps indices.
_TEXELS_PER_PIXEL = 2
_TEXTURE = 256


@dataclass(frozen=True, eq=False)
class Beam:
    """How well the sound gets through, for one clip.

    Attributes
    ----------
    mask : ndarray, shape (size, size)
        1 inside the sector.
    gain : ndarray, shape (size, size)
        Factor on the brightness: overall gain, depth, and ribs or lung in the way.
    haze : ndarray, shape (size, size)
        Brightness added by reverberation near the probe.
    """

    mask: F32
    gain: F32
    haze: F32


def draw_beam(x_mm: F32, depth_mm: F32, pixel_mm: float, rng: np.random.Generator) -> Beam:
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
    edge = (half - np.abs(angle)) * radius / pixel_mm
    mask = np.clip(np.minimum(edge, (reach - radius) / pixel_mm), 0.0, 1.0)
    mask *= radius > 2.0

    # The time-gain compensation undoes most of the loss with depth, not all of it.
    gain = rng.uniform(0.85, 1.2) * np.exp(-rng.uniform(0.0, 0.0028) * radius)
    for _ in range(int(rng.integers(0, 4))):
        middle, width = rng.uniform(-half, half), rng.uniform(0.04, 0.16)
        gain *= 1.0 - rng.uniform(0.1, 0.45) * np.exp(-(((angle - middle) / width) ** 2))
    haze = rng.uniform(0.0, 0.03) + rng.uniform(0.0, 0.25) * np.exp(-radius / 12.0)
    return Beam(
        mask=mask.astype(np.float32),
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
    wide, deep = rng.uniform(1.5, 2.2), rng.uniform(0.9, 1.4)
    field = ndimage.gaussian_filter(field, (0.0, deep, wide), mode="wrap", truncate=3.0)
    envelope = np.sqrt(np.hypot(field[0], field[1]))
    return np.asarray(envelope / envelope.mean(), dtype=np.float32)


def sample_texture(texture: F32, x_px: F32, y_px: F32) -> F32:
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
    tissue, speckle : ndarray, shape (n_frames, size, size)

    Returns
    -------
    ndarray, shape (n_frames, size, size, 3), uint8
    """
    picture = tissue
    picture *= speckle
    picture *= beam.gain
    flicker = 1.0 + 0.02 * rng.standard_normal((len(picture), 1, 1), dtype=np.float32)
    picture *= flicker
    picture += beam.haze
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noise *= np.float32(rng.uniform(0.01, 0.03))
    picture += noise
    picture *= beam.mask
    picture *= 255.0
    np.clip(picture, 0.0, 255.0, out=picture)
    grey = picture.astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
