"""A faster search among very many vectors, of which is known how much it finds.

Vectors are sorted into cells around centroids (an inverted file of faiss, a byte a number). A
search looks into the cells that are nearest to the query, and compares the best of them exactly.
How many cells it must look into is measured when it is made: the fewest with which ECGs and
reports of the index find 199 of 200 of the ten that are nearest to them. Where that needs too many,
there is no fast search. Kept are the centroids and the cell of each vector, as plain arrays; the
inverted file is made of them when it is opened, so nothing that faiss wrote is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.vectors import Float32s, Floats, Rows, Vectors

RECALL = 0.995
"""Share of the ten nearest that it must find when it is made. What was measured is a little
better than what is met later, and 99 of 100 are wanted then."""

K = 10

_QUERIES = 200
_PORTION = 100_000
_TRAIN_EACH = 40
_SEED = 0
# More than this share of the cells, and an exact search is hardly slower.
_MOST_SHARE = 0.1
# Fetched for each one wanted, since a byte a number misses the order of near ones.
_FETCHED = 8


@dataclass(frozen=True)
class Cells:
    """Which cell each vector lies in.

    Attributes
    ----------
    centroids : ndarray of float32, shape (n_cells, dim + 1)
    cell_of : ndarray of int32, shape (n,)
    n_probed : int
        Cells that a search looks into.
    recall : float
        Share of the ten nearest that were found, 0..1.
    n_queries : int
        With so many queries that were measured.
    """

    centroids: Float32s
    cell_of: npt.NDArray[np.int32]
    n_probed: int
    recall: float
    n_queries: int

    def facts(self) -> dict[str, Any]:
        """For an index's card."""
        return {
            "kind": f"IVF{len(self.centroids)},SQ8 with exact comparison of the best",
            "n_probed": self.n_probed,
            "recall_at_10": round(self.recall, 4),
            "n_queries": self.n_queries,
        }


class FastSearch:
    """`Cells` over `Vectors`, ready to be searched from several threads.

    Parameters
    ----------
    vectors : Vectors
    centroids : ndarray of float32, shape (n_cells, dim + 1)
    cell_of : ndarray of int32, shape (n,)
    n_probed : int
    """

    def __init__(
        self,
        vectors: Vectors,
        centroids: Float32s,
        cell_of: npt.NDArray[np.int32],
        n_probed: int,
    ) -> None:
        self.vectors = vectors
        self.n_probed = n_probed
        d = centroids.shape[1]
        self._coarse = faiss.IndexFlatL2(d)
        self._coarse.add(np.ascontiguousarray(centroids))
        index = faiss.IndexIVFScalarQuantizer(
            self._coarse, d, len(centroids), faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_L2, False
        )
        # faiss leaves centroids that are there already as they are.
        index.train(vectors.rows[_spread(len(vectors), _PORTION)])
        for first in range(0, len(vectors), _PORTION):
            rows = vectors.rows[first : first + _PORTION]
            cells = cell_of[first : first + len(rows)].astype(np.int64)
            ids = np.arange(first, first + len(rows), dtype=np.int64)
            index.add_core(
                len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(ids), faiss.swig_ptr(cells)
            )
        index.ntotal = len(vectors)
        self._index = index

    def nearest(
        self, query: GaussianEmbedding, k: int, *, n_probed: int | None = None
    ) -> tuple[Rows, Floats]:
        """As `Vectors.nearest` by CSD, but for those that are missed.

        Parameters
        ----------
        query : GaussianEmbedding, one row
        k : int
        n_probed : int, optional
            Other than the measured number of cells.

        Returns
        -------
        rows : ndarray, shape (<= k,)
        distances : ndarray, shape (<= k,)
            Exact.
        """
        vector = np.append(query.mu[0], np.float32(0.0))[None].astype(np.float32)
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = n_probed or self.n_probed
        _, found = self._index.search(vector, max(_FETCHED * k, 100), params=parameters)
        return self.vectors.in_order(query, found[0][found[0] >= 0], k, "csd")


def sort_into_cells(
    vectors: Vectors,
    others: Vectors | None = None,
    askers: Rows | None = None,
    *,
    n_cells: int | None = None,
) -> Cells | None:
    """Find cells, and into how many a search must look.

    Parameters
    ----------
    vectors : Vectors
        Two hundred of them, spread evenly, are asked for their nearest but themselves.
    others : Vectors, optional
        Where further queries are, such as the items' reports where these are their ECGs.
    askers : ndarray of int, optional
        Which of them; up to two hundred, spread evenly, are asked.
    n_cells : int, optional
        By default four times the square root of the number of vectors, as a power of two.

    Returns
    -------
    Cells or None
        None where a tenth of the cells does not hold enough of what is nearest.
    """
    n, d = vectors.rows.shape
    n_cells = n_cells or 1 << round(np.log2(4.0 * np.sqrt(n)))
    kmeans = faiss.Kmeans(d, n_cells, niter=10, seed=_SEED, max_points_per_centroid=_TRAIN_EACH)
    kmeans.train(vectors.rows[_spread(n, _TRAIN_EACH * n_cells)])
    centroids = np.asarray(kmeans.centroids, dtype=np.float32)
    coarse = faiss.IndexFlatL2(d)
    coarse.add(centroids)
    cell_of = np.empty(n, dtype=np.int32)
    for first in range(0, n, _PORTION):
        some = vectors.rows[first : first + _PORTION]
        cell_of[first : first + len(some)] = coarse.search(some, 1)[1][:, 0]
    fast = FastSearch(vectors, centroids, cell_of, 1)
    asked = [
        _Asked(vectors, vectors.gaussians(np.array([row])), row) for row in _spread(n, _QUERIES)
    ]
    if others is not None and askers is not None:
        chosen = askers[_spread(len(askers), _QUERIES)]
        asked += [_Asked(vectors, others.gaussians(np.array([row]))) for row in chosen]
    n_probed, most = 1, max(1, int(_MOST_SHARE * n_cells))
    while n_probed <= most:
        recall = float(np.mean([one.recall(fast, n_probed) for one in asked]))
        if recall >= RECALL:
            return Cells(centroids, cell_of, n_probed, recall, len(asked))
        n_probed = max(n_probed + 1, round(1.25 * n_probed))
    return None


class _Asked:
    """A query, and how far away the tenth nearest is.

    By distance, since equal reports are equally near, and any of them will do.
    """

    def __init__(self, vectors: Vectors, query: GaussianEmbedding, own: int = -1) -> None:
        self.query, self.own = query, own
        self.limit = self._distances(*vectors.nearest(query, K + 1, "csd"))[-1]

    def recall(self, fast: FastSearch, n_probed: int) -> float:
        found = self._distances(*fast.nearest(self.query, K + 1, n_probed=n_probed))
        return float((found <= self.limit).sum() / K)

    def _distances(self, rows: Rows, distances: Floats) -> Floats:
        others: Floats = distances[rows != self.own][:K]
        return others


def _spread(n: int, most: int) -> Rows:
    """Up to so many of n rows, spread evenly and not drawn."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
