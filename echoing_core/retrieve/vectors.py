"""Gaussians as vectors, and the nearest of them exactly, by one pass over memory.

A row is [mu, sqrt(sum sigma^2)]. A query [mu_q, 0] then has the squared distance
||mu_q - mu||^2 + sum sigma^2, which is the CSD less the query's own sum sigma_q^2, a constant;
and the inner product of the two, divided by both means' lengths, is their cosine. So one array
serves both orders. What is nearest is found by a product of the array and the query in float32, on
all cores, which costs what reading the array costs; whoever is within its rounding of the k-th is
then compared in float64. Many rows are multiplied on a GPU, where there is one.
"""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.records import GaussianEmbedding

if TYPE_CHECKING:
    from echoing_core.retrieve.gpu import GpuRows

Order = Literal["csd", "cosine"]
Floats = npt.NDArray[np.float64]
Float32s = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

_BLOCK = 16_384
"""Rows worked on together where float64 is needed: 34 MB of 256 dimensions."""

_ENOUGH_FOR_GPU = 100_000
"""Rows that a processor compares in 10 ms."""

# Below this share of the rows, copying them is cheaper than comparing all and leaving most out.
_FEW = 0.2


class Vectors:
    """n Gaussians among which the nearest are found; safe to use from several threads.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, dim + 1), C order
        [mu, sqrt(sum sigma^2)]; kept, never changed.
    owner : object, optional
        Whose memory that is, to be kept with it.
    """

    def __init__(self, rows: Float32s, owner: object = None) -> None:
        self.rows = rows
        self._owner = owner
        self._squares = np.empty(len(rows), dtype=np.float32)
        self._lengths = np.empty(len(rows), dtype=np.float32)
        for some in _blocks(len(rows)):
            exact = rows[some].astype(np.float64)
            means = np.einsum("ij,ij->i", exact[:, :-1], exact[:, :-1])
            # Too large for float32 is not finite there, which `finite` tells.
            with np.errstate(over="ignore"):
                self._squares[some] = means + exact[:, -1] ** 2
            # Above 0, so that it may be divided by.
            self._lengths[some] = np.maximum(np.sqrt(means), 1e-12)
        # Of the product of float32 numbers and of what it is added to (Higham 2002, section 3.1).
        self._rounding = (rows.shape[1] + 4) * 2.0**-24

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def finite(self) -> bool:
        """Whether all numbers are, and small enough to be squared."""
        return bool(np.isfinite(self._squares).all())

    @property
    def sums(self) -> Floats:
        """Sums of sigma^2, shape (n,)."""
        spread = self.rows[:, -1].astype(np.float64)
        squared: Floats = spread * spread
        return squared

    def gaussians(self, rows: npt.NDArray[np.integer] | None = None) -> GaussianEmbedding:
        """Means, and the sums of sigma^2 spread evenly over the dimensions, which is all that a
        CSD needs.

        Parameters
        ----------
        rows : ndarray of int or None
            Which; None for all.

        Returns
        -------
        GaussianEmbedding, one row for each
        """
        vectors = self.rows if rows is None else self.rows[rows]
        dim = vectors.shape[1] - 1
        # Not below 1e-30, of which the logarithm is still finite.
        share = np.maximum(vectors[:, -1:].astype(np.float64) ** 2 / dim, 1e-30)
        log_var = np.broadcast_to(np.log(share).astype(np.float32), (len(vectors), dim))
        return GaussianEmbedding(
            np.ascontiguousarray(vectors[:, :-1]), np.ascontiguousarray(log_var)
        )

    def nearest(
        self, query: GaussianEmbedding, k: int, order: Order, rows: Rows | None = None
    ) -> tuple[Rows, Floats]:
        """The k nearest, exactly.

        Parameters
        ----------
        query : GaussianEmbedding, one row
        k : int
            At least 1.
        order : {"csd", "cosine"}
        rows : ndarray of int, ascending, or None
            Those that may be found; None for all.

        Returns
        -------
        rows : ndarray, shape (<= k,)
            Nearest first; of equal distances the earlier row.
        distances : ndarray, shape (<= k,)
            CSD, or 1 - cosine.
        """
        k = min(k, len(self) if rows is None else len(rows))
        if k == 0:
            return np.empty(0, dtype=np.int64), np.empty(0)
        vector, slack = self._asked(query, order)
        if self._on_gpu is not None:
            close = self._on_gpu.close(vector, k, cosine=order == "cosine", slack=slack, rows=rows)
        else:
            score = self._scores(vector, order, rows)
            close = np.flatnonzero(score <= np.partition(score, k - 1)[k - 1] + slack)
        return self.in_order(query, close if rows is None else rows[close], k, order)

    def in_order(
        self, query: GaussianEmbedding, rows: Rows, k: int, order: Order
    ) -> tuple[Rows, Floats]:
        """The k nearest of a few rows by distances in float64; else as `nearest`."""
        rows = rows.astype(np.int64)
        exact = [self._exact(query, rows[some], order) for some in _blocks(len(rows))]
        distances = np.concatenate(exact) if exact else np.empty(0)
        first = np.lexsort((rows, distances))[:k]
        return rows[first], distances[first]

    def distances(self, query: GaussianEmbedding, order: Order) -> Floats:
        """To every row, up to the rounding of float32; shape (n,)."""
        if order == "cosine":
            own = float(np.linalg.norm(query.mu[0].astype(np.float64)))
            lengths = np.maximum(self._lengths.astype(np.float64), 1e-12)
            cosine: Floats = 1.0 - self.products(query.mu[0]) / (lengths * max(own, 1e-12))
            return cosine
        return self.apart(query.mu[0]) + self.sums + float(query.uncertainty[0])

    def products(self, direction: npt.NDArray[np.floating]) -> Floats:
        """Inner products of the means with a vector, shape (n,), up to the rounding of float32.

        Parameters
        ----------
        direction : ndarray, shape (dim,)
        """
        vector = np.append(direction, 0.0).astype(np.float32)
        # Not by BLAS, whose rounding of a row depends on where it lies: what is ranked by these
        # would be ranked otherwise in another array.
        found: Floats = np.einsum("ij,j->i", self.rows, vector).astype(np.float64)
        return found

    def apart(self, place: npt.NDArray[np.floating]) -> Floats:
        """Squared distances of the means from a place, as `products`."""
        own = float((np.asarray(place, dtype=np.float64) ** 2).sum())
        squares = self._lengths.astype(np.float64) ** 2
        return np.maximum(squares - 2.0 * self.products(place) + own, 0.0)

    @cached_property
    def _on_gpu(self) -> GpuRows | None:
        # Few rows, and nobody who names a device: torch need not be there.
        if len(self) < _ENOUGH_FOR_GPU and not os.environ.get("ECHOING_DEVICE"):
            return None
        from echoing_core.retrieve.gpu import on_gpu

        return on_gpu(self.rows, self._squares, self._lengths, enough=_ENOUGH_FOR_GPU)

    def _dots(self, vector: Float32s) -> Float32s:
        found: Float32s = self.rows @ vector if self._on_gpu is None else self._on_gpu.dots(vector)
        return found

    def _asked(self, query: GaussianEmbedding, order: Order) -> tuple[Float32s, float]:
        """What rows are multiplied with, and how far the scores of two equal rows may differ."""
        mu = query.mu[0].astype(np.float32)
        length = float(np.linalg.norm(mu.astype(np.float64)))
        if order == "cosine":
            mu = mu / np.float32(max(length, 1e-12))
            return np.append(mu, np.float32(0.0)), 4.0 * self._rounding
        largest = float(self._squares.max(initial=0.0))
        slack = 4.0 * self._rounding * (largest + length * largest**0.5)
        return np.append(mu, np.float32(0.0)), slack

    def _scores(self, vector: Float32s, order: Order, rows: Rows | None) -> Float32s:
        """What grows with the distance."""
        squares, lengths = self._squares, self._lengths
        if rows is None:
            dots = self._dots(vector)
        else:
            few = len(rows) < _FEW * len(self)
            dots = self.rows[rows] @ vector if few else self._dots(vector)[rows]
            squares, lengths = squares[rows], lengths[rows]
        score: Float32s = -dots / lengths if order == "cosine" else squares - 2.0 * dots
        return score

    def _exact(self, query: GaussianEmbedding, rows: Rows, order: Order) -> Floats:
        theirs = self.rows[rows].astype(np.float64)
        means, own = theirs[:, :-1], query.mu[0].astype(np.float64)
        if order == "cosine":
            lengths = np.maximum(np.linalg.norm(means, axis=1), 1e-12)
            # As in `products`: the same in every array.
            dots = np.einsum("ij,j->i", means, own)
            cosine: Floats = 1.0 - dots / (lengths * max(float(np.linalg.norm(own)), 1e-12))
            return cosine
        apart = ((means - own) ** 2).sum(axis=1) + theirs[:, -1] ** 2
        csd: Floats = apart + float(query.uncertainty[0])
        return csd


def as_vectors(embedding: GaussianEmbedding) -> Float32s:
    """[mu, sqrt(sum sigma^2)].

    Parameters
    ----------
    embedding : GaussianEmbedding, n rows

    Returns
    -------
    ndarray of float32, shape (n, dim + 1)

    Raises
    ------
    ValueError
        Not all numbers are finite.
    """
    if not (np.isfinite(embedding.mu).all() and np.isfinite(embedding.log_var).all()):
        raise ValueError("embeddings must be finite")
    spread = np.sqrt(embedding.uncertainty)[:, None]
    return np.ascontiguousarray(np.hstack([embedding.mu, spread]), dtype=np.float32)


def _blocks(n: int) -> list[slice]:
    return [slice(i, i + _BLOCK) for i in range(0, n, _BLOCK)]
