"""Measurements in a simulated clip, from its pixels alone.

They show that the ejection fraction, the size and the wall of a simulated heart can be seen in
its clips. They know how wide a picture is and which view it shows; they know nothing of the heart.
They are no measurements for pictures of real hearts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from echoing_core.errors import SignalQualityError
from echoing_core.records import EchoClip
from echoing_core.simulate.echo.anatomy import WIDTH_POWER
from echoing_core.simulate.echo.clips import pixel_mm

_LEVEL = 0.44
"""Share of the way from blood to wall at which the cavity ends; higher lets it leak out."""

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Picture = npt.NDArray[Any]

# Where the middle of the left ventricle may lie: share of the picture's width, and of its height.
_WINDOWS = {
    "a4c": (slice(0.44, 0.68), slice(0.28, 0.58)),
    "plax": (slice(0.30, 0.56), slice(0.30, 0.58)),
    "psax": (slice(0.42, 0.66), slice(0.24, 0.52)),
}


@dataclass(frozen=True, eq=False)
class Cavity:
    """The left ventricle's cavity in each frame.

    Attributes
    ----------
    mask : ndarray, shape (n_frames, height, width), bool
    smooth : ndarray, shape (n_frames, height, width)
        The smoothed picture that it was found in.
    level : ndarray, shape (height, width)
        Brightness between blood and wall.
    pixel_mm : float
    """

    mask: Mask
    smooth: Picture
    level: Picture
    pixel_mm: float


def measure_ef(clip: EchoClip) -> float:
    """Ejection fraction in percent, from a four-chamber or short-axis clip.

    The four-chamber view is measured by the area-length method, V = 8 A^2 / (3 pi L) (Dodge et
    al., Am Heart J 1960;60:762), in the frames in which the mitral valve is shut; the short axis
    by its areas, EF = 1 - (A_min / A_max)^(1/0.78), as `simulate.echo.anatomy` says.

    Raises
    ------
    SignalQualityError
        No cavity is found.
    """
    cavity = find_cavity(clip)
    if clip.view == "psax":
        low, high = _extremes(np.array([_round_area(mask) for mask in cavity.mask]))
        return 100.0 * (1.0 - float((low / high) ** (1.0 / (2.0 * WIDTH_POWER))))
    if clip.view != "a4c":
        raise SignalQualityError(
            f"The ejection fraction is measured in a4c and psax clips; {clip.clip_id} is of view "
            f"{clip.view!r}."
        )
    volume, shut = [], []
    for mask in cavity.mask:
        area, length, leaked = _long_section(mask)
        volume.append(area**2 / max(length, 1.0))
        shut.append(not leaked)
    chosen = np.array(volume)[np.array(shut)] if sum(shut) >= 4 else np.array(volume)
    low, high = _extremes(chosen)
    return 100.0 * (1.0 - low / high)


def measure_cavity_mm(clip: EchoClip) -> tuple[float, float]:
    """Largest diameter of the cavity and thickness of its wall at that time, in millimetres.

    In the long axis across the cavity below the middle of its length; in the short axis, from
    the area and from the mean of all directions.

    Returns
    -------
    diameter, wall : float

    Raises
    ------
    SignalQualityError
        No cavity is found, or the view is neither plax nor psax.
    """
    if clip.view not in ("plax", "psax"):
        raise SignalQualityError(
            f"The cavity is measured in plax and psax clips; {clip.clip_id} is of view "
            f"{clip.view!r}."
        )
    cavity = find_cavity(clip)
    filled = [ndimage.binary_fill_holes(mask) for mask in cavity.mask]
    if clip.view == "psax":
        diameters = np.array([2.0 * np.sqrt(_round_area(mask) / np.pi) for mask in filled])
    else:
        diameters = np.array([_wide(mask) for mask in filled])
    # The median of the five largest: a leak into what lies behind makes one or two too large.
    frames = np.argsort(diameters)[-5:]
    walls = [_wall(filled[i], cavity.smooth[i] > cavity.level, clip.view) for i in frames]
    diameter, wall = np.median(diameters[frames]), np.median(walls)
    diameter, wall = diameter * cavity.pixel_mm, wall * cavity.pixel_mm
    return float(diameter), float(wall)


def find_cavity(clip: EchoClip) -> Cavity:
    """Dark region around where the view has its left ventricle, in each frame.

    Raises
    ------
    SignalQualityError
        There is none.
    """
    grey = clip.frames.mean(axis=-1, dtype=np.float32)
    height, width = grey.shape[1:]
    unit = width / 112.0
    smooth = ndimage.gaussian_filter(grey, (0.4, 1.1 * unit, 1.1 * unit))
    still = ndimage.gaussian_filter(grey.mean(axis=0), 1.0 * unit)
    columns, rows = _WINDOWS[clip.view]
    window = np.zeros((height, width), dtype=bool)
    window[
        int(rows.start * height) : int(rows.stop * height),
        int(columns.start * width) : int(columns.stop * width),
    ] = True
    blood = float(np.percentile(still[window], 20))
    # The wall is the brightest thing within reach; where the sound is weak it is less bright.
    wall = ndimage.percentile_filter(still, 92, size=round(27 * unit))
    wall = ndimage.gaussian_filter(wall, 5.0 * unit)
    top = float(np.percentile(wall[window], 80))
    wall = np.clip(wall, 0.45 * top, 1.4 * top)
    level = blood + _LEVEL * (wall - blood)

    # Nothing outside the sector is blood.
    sector = ndimage.binary_erosion(ndimage.binary_fill_holes(grey.max(axis=0) > 4), iterations=1)
    dark = (smooth < level) & sector
    seed = _seed(dark, window)
    masks = [_component(frame, seed, unit) for frame in dark]
    return Cavity(np.array(masks), smooth, level, pixel_mm(width))


def _seed(dark: Mask, window: Mask) -> tuple[int, int]:
    """Pixel of the window that is dark in all frames and farthest from anything bright."""
    always = dark.mean(axis=0) > 0.9
    depth = ndimage.distance_transform_edt(always) * window
    if depth.max() < 2:
        raise SignalQualityError("No cavity was found in the clip.")
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return int(row), int(column)


def _component(dark: Mask, seed: tuple[int, int], unit: float) -> Mask:
    """Connected dark region at the seed, after gaps narrower than about 6 mm are closed."""
    reach = 2.0 * unit
    core = ndimage.distance_transform_edt(dark) > reach
    labels, _ = ndimage.label(core)
    label = labels[seed]
    if label == 0:
        # The seed lies in a narrow stretch of this frame: take the nearest piece of core.
        distance, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
        if not core.any() or distance[seed] > 8 * unit:
            raise SignalQualityError("No cavity was found in one frame of the clip.")
        label = labels[nearest[0][seed], nearest[1][seed]]
    grown = ndimage.distance_transform_edt(labels != label) <= reach + 0.5
    return np.asarray(grown & dark)


def _long_section(mask: Mask) -> tuple[float, float, bool]:
    """Area and length of the ventricle in pixels, cut at the waist to the atrium, if open."""
    filled = ndimage.binary_fill_holes(mask)
    middle, axis = _axis(filled)
    along = (np.argwhere(filled) - middle) @ (axis * np.sign(axis[0]))
    along -= along.min()
    profile = np.bincount(along.astype(np.int64)).astype(np.float64)
    smooth = ndimage.gaussian_filter1d(profile, 1.0, mode="nearest")
    widest = int(np.argmax(smooth[: max(int(0.65 * len(smooth)), 1)]))
    tail = smooth[widest:]
    # A waist is narrower than what comes after it.
    after = np.maximum.accumulate(tail[::-1])[::-1]
    waist = after > 1.25 * tail
    if waist[:-2].any():
        depth = after / np.maximum(tail, 1.0)
        cut = widest + int(np.argmax(np.where(waist, depth, 0.0)))
        return float(profile[:cut].sum()), float(cut), True
    return float(profile.sum()), float(along.max() + 1.0), False


def _axis(mask: Mask) -> tuple[F64, F64]:
    """Middle of a region and unit vector along its length, as (row, column)."""
    points = np.argwhere(mask).astype(np.float64)
    middle = points.mean(axis=0)
    points -= middle
    _, vectors = np.linalg.eigh(points.T @ points)
    return middle, np.asarray(vectors[:, 1])


def _wide(mask: Mask) -> float:
    """Width across the length of a region in pixels, where it is widest."""
    middle, axis = _axis(mask)
    along = (np.argwhere(mask) - middle) @ axis
    profile = np.bincount((along - along.min()).astype(np.int64))
    # The widest twelfth: one stray line of pixels does not count.
    return float(np.percentile(profile, 92))


def _reach(mask: Mask, bearings: F64) -> F64:
    """Last pixel of the region along rays from its middle, in pixels."""
    y, x, steps = _rays(mask, bearings)
    inside = ndimage.map_coordinates(mask.astype(np.float32), (y, x), order=1) > 0.5
    return np.asarray(steps[inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)])


def _rays(mask: Mask, bearings: F64) -> tuple[F64, F64, F64]:
    row, column = np.argwhere(mask).mean(axis=0)
    steps = np.arange(0.0, 0.5 * max(mask.shape), 0.25)
    y = row + np.sin(bearings)[:, None] * steps
    return y, column + np.cos(bearings)[:, None] * steps, steps


def _round_area(mask: Mask) -> float:
    """Area in pixels of a region that should be round: neither bays nor leaks narrower than 40
    degrees count, so that papillary muscles belong to the cavity."""
    radius = _reach(mask, np.deg2rad(np.arange(0.0, 360.0, 5.0)))
    radius = np.minimum(radius, 1.25 * np.median(radius))
    radius = ndimage.percentile_filter(radius, 60, size=17, mode="wrap")
    return float(np.pi * np.mean(radius**2))


def _wall(mask: Mask, bright: Mask, view: str) -> float:
    """Median thickness of what is bright around a region, in pixels."""
    if view == "psax":
        bearings = np.deg2rad(np.arange(0.0, 360.0, 7.5))
    else:
        _, axis = _axis(mask)
        across = np.arctan2(axis[1], -axis[0])
        spread = np.deg2rad(np.arange(-24.0, 25.0, 6.0))
        bearings = np.concatenate([across + spread, across + np.pi + spread])
    y, x, steps = _rays(mask, bearings)
    is_bright = ndimage.map_coordinates(bright.astype(np.float32), (y, x), order=1) > 0.5
    outside = steps > _reach(mask, bearings)[:, None]
    start = np.argmax(outside & is_bright, axis=1)
    stop = np.argmax((np.arange(len(steps)) > start[:, None]) & ~is_bright, axis=1)
    return float(np.median(steps[stop] - steps[start]))


def _extremes(values: F64) -> tuple[float, float]:
    """Smallest and largest value, each as the mean of the two most extreme."""
    ordered = np.sort(values)
    return float(ordered[:2].mean()), float(ordered[-2:].mean())
