"""The three views of a simulated heart as brightness of tissue, before any ultrasound.

Each view is plain geometry in millimetres: an ellipse for the left ventricle's cavity, a larger
one for the outside of its wall, and ellipses and lines for what lies around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.simulate.echo.anatomy import (
    BASE_CUT,
    Pump,
    clock_motion,
    length_mm,
    side_motion,
)
from echoing_core.simulate.heart.state import HeartState

F64 = npt.NDArray[np.float64]

Pixels = npt.NDArray[Any]
"""float32 of shape (n_frames, n_pixels), or what broadcasts to it; only the sector's pixels."""

# Brightness on the screen, 0 to 1, before gain and speckle.
BLOOD, MUSCLE, AROUND, LINING, VALVE = 0.07, 0.50, 0.24, 0.68, 0.80

# Chest wall between probe and heart.
_CHEST_MM = 12.0
# Steps of the boundary in the short axis.
_N_ANGLES = 72


@dataclass(frozen=True, eq=False)
class Scene:
    """One view: tissue, and where each pixel's tissue was at end-diastole.

    Attributes
    ----------
    tissue : ndarray, shape (n_frames, n_pixels)
        Brightness, 0 to 1.
    x_mm, y_mm : ndarray, shape (n_frames, n_pixels)
        Coordinates that move with the tissue, roughly: speckle is looked up there.
    """

    tissue: Pixels
    x_mm: Pixels
    y_mm: Pixels


@dataclass(frozen=True, eq=False)
class Canvas:
    """Pixel places and the small moves of the probe.

    Attributes
    ----------
    x_mm, depth_mm : ndarray, shape (n_pixels,)
        Of the pixels inside the sector, right of the middle and below the probe.
    pixel_mm : float
    shift_mm : ndarray, shape (n_frames, 2)
        How far the heart is displaced, right and down.
    turn_rad : ndarray, shape (n_frames,)
        How far the heart is turned.
    """

    x_mm: Pixels
    depth_mm: Pixels
    pixel_mm: float
    shift_mm: F64
    turn_rad: F64

    def around(self, x_mm: float, depth_mm: float | F64) -> tuple[Pixels, Pixels]:
        """Coordinates right of and below a place that moves and turns with the heart.

        Parameters
        ----------
        x_mm : float
            Of the place, right of the picture's middle.
        depth_mm : float or ndarray, shape (n_frames,)
            Of the place, below the probe.

        Returns
        -------
        x, y : ndarray, shape (n_frames, n_pixels), float32
            In mm.
        """
        cos, sin = _frames(np.cos(self.turn_rad)), _frames(np.sin(self.turn_rad))
        x = self.x_mm - _frames(x_mm + self.shift_mm[:, 0])
        y = self.depth_mm - _frames(depth_mm + self.shift_mm[:, 1])
        return cos * x + sin * y, cos * y - sin * x

    def within(self, q: Pixels, radius_mm: Pixels | np.float32 | float) -> Pixels:
        """Soft mask of ``q`` < 1, one pixel wide at its edge.

        Parameters
        ----------
        q : ndarray, shape (n_frames, n_pixels)
            Distance from the shape's middle in units of its radius (`_radius`).
        radius_mm : ndarray or float
            About the radius, which says how wide a pixel is in units of ``q``.

        Returns
        -------
        ndarray, shape (n_frames, n_pixels)
            0 outside to 1 inside.
        """
        mask = 1.0 - q
        mask *= radius_mm / np.float32(self.pixel_mm)
        mask += 0.5
        np.clip(mask, 0.0, 1.0, out=mask)
        return mask

    def below(self, distance_mm: Pixels) -> Pixels:
        """Soft mask of a distance below zero, one pixel wide at its edge.

        Parameters
        ----------
        distance_mm : ndarray, shape (n_frames, n_pixels)
            From a line or a curve, negative on the inner side.
        """
        mask = distance_mm * np.float32(-1.0 / self.pixel_mm)
        mask += 0.5
        np.clip(mask, 0.0, 1.0, out=mask)
        return mask

    def segment(
        self, x: Pixels, y: Pixels, start: tuple[Pixels, Pixels], stop: tuple[Pixels, Pixels]
    ) -> Pixels:
        """Soft mask of a leaflet: a line 3 mm thick between two moving points.

        Parameters
        ----------
        x, y : ndarray, shape (n_frames, n_pixels)
            Coordinates as `around` gives them.
        start, stop : tuple of ndarray, shape (n_frames, 1)
            The two points in the same coordinates.
        """
        # Distance from the nearest point between the two.
        (x0, y0), (x1, y1) = start, stop
        dx, dy = x1 - x0, y1 - y0
        px, py = x - x0, y - y0
        along = px * dx
        along += py * dy
        along /= np.maximum(dx * dx + dy * dy, np.float32(1e-6))
        np.clip(along, 0.0, 1.0, out=along)
        px -= along * dx
        py -= along * dy
        px *= px
        py *= py
        px += py
        np.sqrt(px, out=px)
        px -= 1.5
        return self.below(px)


def draw_a4c(state: HeartState, pump: Pump, canvas: Canvas, rng: np.random.Generator) -> Scene:
    """Four chambers seen from the apex: apex on top, right heart on the left.

    Parameters
    ----------
    state : HeartState
    pump : Pump
        The left ventricle in each frame.
    canvas : Canvas
    rng : Generator
        Chooses how the view was got: its cut and its place.

    Returns
    -------
    Scene
    """
    width = 0.5 * state.lvedd_mm * rng.uniform(0.95, 1.03)
    # Most four-chamber views miss the true apex by a little.
    long_mm = length_mm(state.lvedd_mm) * rng.uniform(0.92, 1.02)
    semi = long_mm / (1 + BASE_CUT) * pump.length
    left, right = _sides(state, "a4c", pump, width)
    wall_left, wall_right = _walls(state, "a4c", pump, width)
    apex = _CHEST_MM + state.wall_mm + rng.uniform(-2.0, 6.0)
    x, y = canvas.around(rng.uniform(4.0, 12.0), apex + semi)

    on_left = x < 0
    b = np.where(on_left, _frames(left), _frames(right))
    wall = np.where(on_left, _frames(wall_left), _frames(wall_right))
    a = _frames(semi)
    base = a * np.float32(BASE_CUT)
    mean = _frames(width * pump.width)
    q = _radius(x, y, b, a)
    tissue = np.full(x.shape, AROUND, dtype=np.float32)

    # Right ventricle and the atria first: the left ventricle covers what it overlaps.
    rv = rng.uniform(11.0, 15.0)
    rv_x = x + _frames(left + wall_left + 0.55 * rv)
    rv_long = _frames(0.82 * semi)
    in_ventricle = canvas.below(y - base)
    rv_q = _radius(
        rv_x, y - _frames(0.15 * semi), _frames(0.92 * rv + 0.08 * rv * pump.width), rv_long
    )
    _cover(tissue, canvas.within(rv_q * np.float32(0.78), rv) * in_ventricle, MUSCLE)
    _cover(tissue, canvas.within(rv_q, rv) * in_ventricle, BLOOD)
    # The atria fill while the ventricle empties; they are large in fibrillation.
    atrial = 1.0 + 0.35 * (1.0 - pump.volume)
    big = 1.25 if state.rhythm in ("af", "flutter") or state.lae else 1.0
    la_wide, la_long = 19.0 * big * rng.uniform(0.9, 1.1), 19.0 * big
    below = base + _frames(la_long * atrial) + np.float32(1.0)
    la_q = _radius(x, y - below, _frames(la_wide * atrial**0.5), _frames(la_long * atrial))
    ra_x = x + _frames(left + wall_left + 0.6 * rv)
    ra_q = _radius(ra_x, y - below, np.float32(16.0), _frames(17.0 * atrial))
    for atrium in (ra_q, la_q):
        _cover(tissue, canvas.within(atrium * np.float32(0.86), 18.0), LINING * 0.8)
        _cover(tissue, canvas.within(atrium, 18.0), BLOOD)

    # The wall reaches 2 mm below the mitral plane, as the annulus.
    outer = _radius(x, y, b + wall, a + wall)
    _cover(tissue, canvas.within(outer, mean + wall) * canvas.below(y - base - 2.0), LINING)
    inner = _radius(x, y, b + wall - 2.0, a + wall - 2.0)
    _cover(tissue, canvas.within(inner, mean + wall) * canvas.below(y - base - 2.0), MUSCLE)
    _cover(tissue, canvas.within(q, mean) * in_ventricle, BLOOD)
    annulus = np.float32(np.sqrt(1 - BASE_CUT**2))
    # Blood goes through the annulus only between the leaflets.
    _cover(tissue, canvas.below(np.abs(y - base - 1.0) - 2.0) * canvas.within(q, mean), BLOOD)

    # Mitral leaflets: from the annulus towards the middle, and down into the ventricle when open.
    opening = _frames(pump.mitral)
    for side, sign in ((left, -1.0), (right, 1.0)):
        hinge = _frames(sign * side) * annulus
        tip_x = hinge * (np.float32(0.72) * opening)
        tip_y = base - np.float32(1.0) - opening * np.float32(14.0)
        _cover(tissue, canvas.segment(x, y, (hinge, base), (tip_x, tip_y)), VALVE)
    return _scene(tissue, x, y, outer, pump.width, pump.length)


def draw_plax(state: HeartState, pump: Pump, canvas: Canvas, rng: np.random.Generator) -> Scene:
    """Long axis seen from beside the sternum: septum on top, apex on the left.

    Parameters
    ----------
    state, pump, canvas, rng
        As in `draw_a4c`.

    Returns
    -------
    Scene
    """
    half = 0.5 * state.lvedd_mm * rng.uniform(0.97, 1.03)
    semi = length_mm(state.lvedd_mm) * rng.uniform(0.95, 1.0) / (1 + BASE_CUT) * pump.length
    top, bottom = _sides(state, "plax", pump, half)
    wall_top, wall_bottom = _walls(state, "plax", pump, half)
    rv = rng.uniform(9.0, 13.0)
    depth = _CHEST_MM + 2 * rv + state.wall_mm + half + rng.uniform(-3.0, 3.0)
    x, y = canvas.around(rng.uniform(-12.0, -2.0), depth)

    above = y < 0
    b = np.where(above, _frames(top), _frames(bottom))
    wall = np.where(above, _frames(wall_top), _frames(wall_bottom))
    a = _frames(semi)
    base = a * np.float32(BASE_CUT)
    mean = _frames(half * pump.width)
    q = _radius(x, y, a, b)
    outer = _radius(x, y, a + wall, b + wall)
    tissue = np.full(x.shape, AROUND, dtype=np.float32)

    _cover(
        tissue,
        canvas.within(
            _radius(
                x - 8.0,
                y + _frames(top + wall_top + 0.9 * rv),
                _frames(0.95 * semi),
                np.float32(rv),
            ),
            rv,
        ),
        BLOOD,
    )
    in_ventricle = canvas.below(x - base)
    annulus = np.float32(np.sqrt(1 - BASE_CUT**2))
    hinge_top, hinge_bottom = -_frames(top) * annulus, _frames(bottom) * annulus

    # Aorta: a tube to the right of the upper part of the base, its two walls bright.
    root = np.float32(rng.uniform(12.0, 15.0))
    root_y = np.abs(y - hinge_top - root)
    beyond = canvas.below(base - x)
    big = 1.25 if state.rhythm in ("af", "flutter") or state.lae else 1.0
    atrium = np.float32(19.0 * big)
    la_q = _radius(
        x - base - atrium - 1.0,
        y - hinge_top - 2 * root - np.float32(0.8) * atrium,
        atrium,
        atrium * _frames(0.9 + 0.25 * (1 - pump.volume)),
    )
    _cover(tissue, canvas.within(la_q * np.float32(0.88), atrium), LINING * 0.8)
    _cover(tissue, canvas.within(la_q, atrium), BLOOD)
    _cover(tissue, canvas.below(root_y - root - 1.5) * beyond, LINING)
    _cover(tissue, canvas.below(root_y - root + 1.5) * beyond, BLOOD)

    # The wall ends 2 mm beyond the mitral plane, as the annulus.
    in_wall = canvas.below(x - base - 2.0)
    _cover(tissue, canvas.within(outer, mean + wall) * in_wall, LINING)
    inner = _radius(x, y, a + wall - 2.0, b + wall - 2.0)
    _cover(tissue, canvas.within(inner, mean + wall) * in_wall, MUSCLE)
    _cover(tissue, canvas.within(q, mean) * in_ventricle, BLOOD)
    through = canvas.below(np.abs(x - base - 1.0) - 2.0)
    _cover(tissue, through * canvas.below(root_y - root + 1.5), BLOOD)

    # The two mitral leaflets meet behind the aortic root and part when the valve opens.
    opening = _frames(pump.mitral)
    hinge = hinge_top + 2 * root
    meet = 0.5 * (hinge + hinge_bottom)
    front = (base - 3.0 - 18.0 * opening, meet + (0.8 * hinge - meet) * opening)
    back = (base - 3.0 - 9.0 * opening, meet + (0.9 * hinge_bottom - meet) * opening)
    _cover(tissue, canvas.segment(x, y, (base, hinge), front), VALVE)
    _cover(tissue, canvas.segment(x, y, (base, hinge_bottom), back), VALVE)
    # Closed aortic cusps are a line across the root.
    shut = _frames(1.0 - pump.aortic)
    cusp = canvas.below(np.abs(x - base - 5.0) - 1.2) * canvas.below(root_y - root) * shut
    _cover(tissue, cusp, VALVE)
    return _scene(tissue, x, y, outer, pump.length, pump.width)


def draw_psax(state: HeartState, pump: Pump, canvas: Canvas, rng: np.random.Generator) -> Scene:
    """Short axis at the papillary muscles: anterior wall on top, septum on the left.

    Parameters
    ----------
    state, pump, canvas, rng
        As in `draw_a4c`.

    Returns
    -------
    Scene
    """
    half = 0.5 * state.lvedd_mm * rng.uniform(0.96, 1.02)
    depth = _CHEST_MM + 10.0 + state.wall_mm + half + rng.uniform(-3.0, 5.0)
    x, y = canvas.around(rng.uniform(0.0, 10.0), depth)
    radius = np.hypot(x, y)
    # Angle as an index into a table of the boundary: 72 steps are finer than a pixel there.
    bearing = np.arctan2(y, x)
    bearing += np.float32(np.pi)
    bearing *= np.float32(_N_ANGLES / (2 * np.pi))
    step = bearing.astype(np.int32)
    np.minimum(step, _N_ANGLES - 1, out=step)
    frame = np.arange(len(x), dtype=np.int32)[:, None] * np.int32(_N_ANGLES)
    step += frame

    motion = clock_motion(state, _N_ANGLES)
    inward = 1.0 - (1.0 - pump.width)[:, None] * motion
    # The area keeps its share of the end-diastolic one, wherever the wall does not move.
    inward *= (pump.width / np.sqrt(np.mean(inward**2, axis=1)))[:, None]
    thick = pump.wall_mm(half, state.wall_mm)
    walls = state.wall_mm + (thick - state.wall_mm)[:, None] * motion
    endo = (half * inward).astype(np.float32).ravel()[step]
    wall = walls.astype(np.float32).ravel()[step]
    tissue = np.full(x.shape, AROUND, dtype=np.float32)

    mean = _frames(half * pump.width)
    outer_mm = _frames(half * pump.width + thick)
    rv_q = _radius(
        x + outer_mm, y + 6.0, np.float32(rng.uniform(15.0, 22.0)), outer_mm * np.float32(0.8)
    )
    _cover(tissue, canvas.within(rv_q * np.float32(0.84), 22.0), MUSCLE)
    _cover(tissue, canvas.within(rv_q, 22.0), BLOOD)
    gap = radius - endo
    _cover(tissue, canvas.below(gap - wall), LINING)
    _cover(tissue, canvas.below(gap - wall + 2.0), MUSCLE)
    _cover(tissue, canvas.below(gap), BLOOD)
    # Two papillary muscles that shrink and move with the cavity.
    for degrees in (35.0, 145.0):
        way = np.deg2rad(degrees + rng.uniform(-8.0, 8.0))
        px = x - mean * np.float32(0.68 * np.cos(way))
        py = y - mean * np.float32(0.68 * np.sin(way))
        size = mean * np.float32(0.17)
        _cover(tissue, canvas.within(_radius(px, py, size, size), size), MUSCLE)
    outer = radius / outer_mm
    return _scene(tissue, x, y, outer, pump.width, pump.width)


def _frames(values: float | F64) -> Pixels:
    """One number for each frame, ready to meet pictures."""
    return np.asarray(values, dtype=np.float32).reshape(-1, 1)


def _radius(x: Pixels, y: Pixels, a: Pixels | np.float32, b: Pixels | np.float32) -> Pixels:
    """Distance from the middle of an ellipse, in units of its radius in that direction."""
    q = x / a
    q *= q
    r = y / b
    r *= r
    q += r
    np.sqrt(q, out=q)
    return q


def _cover(picture: Pixels, mask: Pixels, brightness: float) -> None:
    """Lay a shape over the picture."""
    mask = mask * (np.float32(brightness) - picture)
    picture += mask


def _sides(state: HeartState, view: str, pump: Pump, half_mm: float) -> tuple[F64, F64]:
    """Half widths of the cavity on its two sides; they add up to its width."""
    first, second = side_motion(state, view)
    inward = 1.0 - pump.width
    return half_mm * (1.0 - first * inward), half_mm * (1.0 - second * inward)


def _walls(state: HeartState, view: str, pump: Pump, half_mm: float) -> tuple[F64, F64]:
    """Thickness of the two walls: what moves less also thickens less."""
    first, second = side_motion(state, view)
    more = pump.wall_mm(half_mm, state.wall_mm) - state.wall_mm
    return state.wall_mm + first * more, state.wall_mm + second * more


def _scene(tissue: Pixels, x: Pixels, y: Pixels, outer: Pixels, across: F64, down: F64) -> Scene:
    """Tissue coordinates: inside the heart they scale with it, far away they stay."""
    near = np.clip(np.float32(2.0) - outer, 0.0, 1.0)
    return Scene(
        tissue=tissue,
        x_mm=x * (1.0 + near * _frames(1.0 / across - 1.0)),
        y_mm=y * (1.0 + near * _frames(1.0 / down - 1.0)),
    )
