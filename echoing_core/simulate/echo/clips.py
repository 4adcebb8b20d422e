"""Echocardiography clips of a simulated heart, with its ejection fraction, size and wall.

A clip is a view of the heart (`views`), which moves as `anatomy` says, seen through a machine: a
sector, speckle that moves with the tissue, gain, shadows and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from echoing_core.errors import ConfigError
from echoing_core.records import EchoClip
from echoing_core.simulate.echo.anatomy import Pump, pump
from echoing_core.simulate.echo.views import Canvas, Scene, draw_a4c, draw_plax, draw_psax
from echoing_core.simulate.heart.patients import (
    ECHO,
    patient_state,
    record_id,
    stream,
)
from echoing_core.simulate.heart.rhythm import CONDUCTED, beat_train
from echoing_core.simulate.heart.state import HeartState

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.floating[Any]]

VIEWS = ("a4c", "plax", "psax")
"""Apical four-chamber, parasternal long axis, parasternal short axis."""

DEPTH_MM = 168.0
"""Width and height of a picture, whatever its number of pixels."""

# The probe lies this far below the upper edge of the picture.
_PROBE_MM = 3.0

# Texels per pixel and per side of the speckle texture, which repeats: a side must be a power of
# two, so that a bit mask wraps indices.
_TEXELS_PER_PIXEL = 2
_TEXTURE = 256

_DRAW: dict[str, Callable[[HeartState, Pump, Canvas, np.random.Generator], Scene]] = {
    "a4c": draw_a4c,
    "plax": draw_plax,
    "psax": draw_psax,
}


def pixel_mm(size: int) -> float:
    """Pixel spacing in mm of a square picture.

    Parameters
    ----------
    size : int
        Height and width in pixels.
    """
    return DEPTH_MM / size


def echo_clip(
    state: HeartState,
    view: str,
    rng: np.random.Generator,
    *,
    size: int = 112,
    n_frames: int = 32,
    fps: float | None = None,
    n_beats: float = 2.5,
    clip_id: str = "",
) -> EchoClip:
    """Draw one clip of a heart.

    Parameters
    ----------
    state : HeartState
        Its ``lvef_pct``, ``lvedd_mm``, ``wall_mm``, rhythm, rate and infarct show.
    view : str
        One of `VIEWS`.
    rng : Generator
    size : int
        Height and width in pixels; the picture is always `DEPTH_MM` deep.
    n_frames : int
    fps : float, optional
        Frames per second. Without it, as many as make ``n_frames`` last ``n_beats`` mean beats.
    n_beats : float
        Not used where ``fps`` is given.
    clip_id : str
        Without it, ``sim-`` and the view.

    Returns
    -------
    EchoClip
        Frames of shape (n_frames, size, size, 3), grey, marked as simulated.

    Raises
    ------
    ConfigError
        If the view does not exist, or a number is out of range.
    """
    if view not in _DRAW:
        raise ConfigError(f"There is no simulated view {view!r}; choose from {', '.join(VIEWS)}.")
    if size < 32 or n_frames < 1:
        raise ConfigError(
            f"A simulated clip needs at least one frame of 32 x 32 pixels, not {n_frames} of "
            f"{size} x {size}."
        )
    if fps is None:
        fps = n_frames * state.heart_rate_bpm / (60.0 * n_beats)
    if not 0 < fps < 1000:
        raise ConfigError(f"Frames per second must lie between 0 and 1000, not {fps:g}.")

    # Streams of their own, so that more draws for one never change the others.
    beats, look, machine = rng.spawn(3)
    motion = _motion(state, n_frames, fps, beats)
    spacing = pixel_mm(size)
    x_mm, depth_mm = _pixels(size)
    beam = _draw_beam(x_mm, depth_mm, machine)
    shift, turn = _probe(n_frames, look)
    canvas = Canvas(x_mm.ravel()[beam.inside], depth_mm.ravel()[beam.inside], spacing, shift, turn)
    scene = _DRAW[view](state, motion, canvas, look)
    speckle = _sample_texture(_speckle_texture(machine), scene.x_mm / spacing, scene.y_mm / spacing)
    return EchoClip(
        frames=_to_screen(scene.tissue, speckle, beam, machine),
        fps=float(fps),
        clip_id=clip_id or f"sim-{view}",
        view=view,
        simulated=True,
    )


def study_clips(
    seed: int,
    patient: int,
    ecg: int = 0,
    views: Sequence[str] = VIEWS,
    **settings: Any,
) -> tuple[EchoClip, ...]:
    """Draw the clips of a patient's heart at the time of one ECG; the arguments determine them.

    A view comes out the same whichever others are asked for.

    Parameters
    ----------
    seed, patient, ecg : int
        As in `simulate_study`.
    views : sequence of str
        Of `VIEWS`.
    **settings
        Of `echo_clip`: ``size``, ``n_frames``, ``fps``, ``n_beats``.

    Raises
    ------
    ConfigError
        If a view does not exist, or a number is out of range.
    """
    state = patient_state(seed, patient, ecg)
    name = record_id(seed, patient, ecg)
    # One stream for each view there is, asked for or not.
    streams = stream(ECHO, seed, patient, ecg).spawn(len(VIEWS))
    rngs = dict(zip(VIEWS, streams, strict=True))
    clips = []
    for view in views:
        if view not in rngs:
            raise ConfigError(
                f"There is no simulated view {view!r}; choose from {', '.join(VIEWS)}."
            )
        clips.append(echo_clip(state, view, rngs[view], clip_id=f"{name}-{view}", **settings))
    return tuple(clips)


def _motion(state: HeartState, n_frames: int, fps: float, rng: np.random.Generator) -> Pump:
    """Beats as the rhythm draws them, from just before a conducted one."""
    duration = n_frames / fps
    mean_s = 60.0 / state.heart_rate_bpm
    train = beat_train(state, 0.0, duration + 4.0 * mean_s, rng)
    starts = (train.onset_s > mean_s) & (train.kind == CONDUCTED)
    # A train of nothing but premature beats does not occur; the first beat would serve there.
    first = int(np.argmax(starts)) or 1
    start = train.onset_s[first] - rng.uniform(0.05, 0.5) * train.rr_s[first]
    return pump(state, train, start + np.arange(n_frames) / fps)


def _pixels(size: int) -> tuple[F32, F32]:
    """Middle of each pixel in millimetres, right of the picture's middle and below the probe."""
    axis = ((np.arange(size) + 0.5) * pixel_mm(size)).astype(np.float32)
    x, depth = np.meshgrid(axis - np.float32(DEPTH_MM / 2), axis - np.float32(_PROBE_MM))
    return x, depth


def _probe(n_frames: int, rng: np.random.Generator) -> tuple[F64, F64]:
    """Tilt of the view and slow drift of the probe: shift in mm and turn in rad of each frame."""
    time = np.linspace(0.0, 1.0, n_frames)[:, None]
    waves = np.sin(2 * np.pi * (rng.uniform(0.2, 0.8) * time + rng.uniform(0.0, 1.0, 3)))
    shift = waves[:, :2] * rng.uniform(0.3, 1.8)
    return shift, np.deg2rad(rng.uniform(-8.0, 8.0) + waves[:, 2] * rng.uniform(0.0, 1.5))


@dataclass(frozen=True, eq=False)
class _Beam:
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


def _draw_beam(x_mm: F32, depth_mm: F32, rng: np.random.Generator) -> _Beam:
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
    # Up to three shadows of ribs or lung, each along a line from the probe.
    for _ in range(int(rng.integers(0, 4))):
        middle, width = rng.uniform(-half, half), rng.uniform(0.04, 0.16)
        gain *= 1.0 - rng.uniform(0.1, 0.45) * np.exp(-(((angle - middle) / width) ** 2))
    haze = rng.uniform(0.0, 0.03) + rng.uniform(0.0, 0.25) * np.exp(-radius / 12.0)
    return _Beam(
        size=len(x_mm),
        inside=inside,
        gain=gain.astype(np.float32),
        haze=haze.astype(np.float32),
    )


def _speckle_texture(rng: np.random.Generator) -> F32:
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


def _sample_texture(texture: F32, x_px: Pixels, y_px: Pixels) -> F32:
    """Look the texture up at tissue coordinates, given in pixels."""
    last = _TEXTURE - 1
    # Indices wrap by a bit mask: the texture repeats.
    column = (x_px * _TEXELS_PER_PIXEL).astype(np.int32)
    row = (y_px * _TEXELS_PER_PIXEL).astype(np.int32)
    column &= last
    row &= last
    row *= _TEXTURE
    row += column
    return np.asarray(texture.ravel()[row])


def _to_screen(
    tissue: F32, speckle: F32, beam: _Beam, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Brightness of tissue, 0 to 1, as frames of a machine; ``tissue`` is overwritten.

    Parameters
    ----------
    tissue, speckle : ndarray, shape (n_frames, n_pixels)

    Returns
    -------
    ndarray, shape (n_frames, size, size, 3), uint8
    """
    # In place throughout: a clip has half a million pixels in single precision.
    picture = tissue
    picture *= speckle
    picture *= beam.gain
    # Frames differ a little in brightness as a whole.
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
