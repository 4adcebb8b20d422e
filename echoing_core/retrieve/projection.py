"""A flat map of a collection: the two principal directions of its means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_BLOCK = 65_536


@dataclass(frozen=True, eq=False)
class Projection:
    """Where items lie in the plane of their two principal directions.

    Attributes
    ----------
    centre : ndarray, shape (dim,)
    axes : ndarray, shape (2, dim)
        Orthonormal.
    xy : ndarray, shape (n, 2)
        The items.
    explained : tuple of two float
        Share of the variance along each axis, 0..1.
    """

    centre: Floats
    axes: Floats
    xy: Floats
    explained: tuple[float, float]

    def place(self, mu: npt.NDArray[np.floating]) -> Floats:
        """Where means lie on the map, shape (n, 2)."""
        return np.vstack(
            [np.empty((0, 2)), *((block - self.centre) @ self.axes.T for block in _blocks(mu))]
        )


def inside(polygon: npt.ArrayLike, xy: Floats) -> npt.NDArray[np.int64]:
    """Which points of a map lie in a polygon, by the even-odd rule.

    Parameters
    ----------
    polygon : array-like, shape (m, 2)
        Its corners in order; the last is joined to the first.
    xy : ndarray, shape (n, 2)

    Returns
    -------
    ndarray of int
        Row numbers, ascending.
    """
    corners = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    x, y = xy[:, 0], xy[:, 1]
    odd = np.zeros(len(xy), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        crossed = (y0 > y) != (y1 > y)
        # Where an edge is level it is crossed by no row, and nothing is divided by zero.
        at = x0 + (y[crossed] - y0) * (x1 - x0) / (y1 - y0 if y1 != y0 else 1.0)
        odd[crossed] ^= x[crossed] < at
    return np.flatnonzero(odd).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Moments:
    """What the principal directions of some means follow from.

    Attributes
    ----------
    n : int
    centre : ndarray, shape (dim,)
    products : ndarray, shape (dim, dim)
        Of what lies about the centre, summed over the means.
    """

    n: int
    centre: Floats
    products: Floats


def moments(mu: npt.NDArray[np.floating]) -> Moments:
    """Those of means, shape (n, dim), of which there is one at least."""
    blocks = _blocks(mu)
    centre = sum(block.sum(axis=0, dtype=np.float64) for block in blocks) / len(mu)
    products = np.zeros((mu.shape[1], mu.shape[1]))
    for block in blocks:
        apart = block - centre
        products += apart.T @ apart
    return Moments(len(mu), centre, products)


def joined_moments(parts: Sequence[Moments]) -> Moments:
    """Those of all the means of which each has some (Chan, Golub and LeVeque 1979).

    Parameters
    ----------
    parts : sequence of Moments
        At least one.

    Returns
    -------
    Moments
    """
    n = sum(part.n for part in parts)
    centre = np.sum([part.n * part.centre for part in parts], axis=0) / n
    products = np.zeros_like(parts[0].products)
    for part in parts:
        apart = part.centre - centre
        products += part.products + part.n * np.outer(apart, apart)
    return Moments(n, centre, products)


def plane_of(found: Moments) -> Projection:
    """The plane of the two principal directions, with no item in it yet.

    An eigenvector's sign is arbitrary, so its largest entry is made positive.

    Parameters
    ----------
    found : Moments

    Returns
    -------
    Projection
    """
    variance, directions = np.linalg.eigh(found.products)
    axes = directions[:, ::-1][:, :2].T
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.where(axes[np.arange(2), largest] < 0, -1.0, 1.0)[:, None]
    total = float(variance.sum())
    # Of one item, or of equal ones, there is nothing to explain.
    share = variance[::-1][:2] / total if total > 1e-12 else np.zeros(2)
    first, second = (float(np.clip(s, 0.0, 1.0)) for s in share)
    return Projection(found.centre, np.ascontiguousarray(axes), np.empty((0, 2)), (first, second))


def project(mu: npt.NDArray[np.floating]) -> Projection:
    """Principal component analysis of means; the same means always give the same map.

    Parameters
    ----------
    mu : ndarray, shape (n, dim)
        At least one row.

    Returns
    -------
    Projection
    """
    plane = plane_of(moments(mu))
    return replace(plane, xy=plane.place(mu))


def _blocks(mu: npt.NDArray[np.floating]) -> list[npt.NDArray[np.floating]]:
    # Block by block: a large collection in float64 is twice as large as it is itself.
    return [mu[i : i + _BLOCK] for i in range(0, len(mu), _BLOCK)]
