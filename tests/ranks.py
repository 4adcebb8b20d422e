"""Ranks from a whole distance matrix: the slow form, beside which the product's is tested."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.metrics.scores import relevant_ranks


def pair_ranks(distances: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Rank of each query's own partner, the gallery item with the same number; ties count."""
    d = np.asarray(distances, dtype=np.float64)
    if d.shape[0] != d.shape[1]:
        raise ValueError(f"exact pairs need a square matrix, not {d.shape}")
    return np.asarray((d <= np.diagonal(d)[:, None]).sum(axis=1), dtype=np.int64)


def same_text_ranks(
    distances: npt.ArrayLike, query_texts: Sequence[str], gallery_texts: Sequence[str]
) -> npt.NDArray[np.int64]:
    """`relevant_ranks` where every item with exactly the query's text is relevant."""
    relevant = np.array([[query == text for text in gallery_texts] for query in query_texts])
    return relevant_ranks(distances, relevant)
