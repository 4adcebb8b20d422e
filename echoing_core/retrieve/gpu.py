"""The rows of a large index on a GPU, for the product that a search is made of.

In torch, which is there for the models anyway: faiss for GPUs would bring a second CUDA into the
process, and could not leave what it finds to be compared again in float64.
"""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.models.devices import compute_in_full, device_for

logger = logging.getLogger(__name__)

Float32s = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class GpuRows:
    """A copy of an index's rows.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
    squares, lengths : ndarray of float32, shape (n,)
        As `retrieve.vectors.Vectors` has them; lengths above 0.
    device : torch.device
    """

    def __init__(
        self, rows: Float32s, squares: Float32s, lengths: Float32s, device: torch.device
    ) -> None:
        compute_in_full(device)
        self._rows, self._squares, self._lengths = (
            torch.from_numpy(x).to(device) for x in (rows, squares, lengths)
        )

    def dots(self, vector: Float32s) -> Float32s:
        """Products of all rows with a vector, shape (n,)."""
        found: Float32s = self._product(vector).cpu().numpy()
        return found

    def close(
        self, vector: Float32s, k: int, *, cosine: bool, slack: float, rows: Rows | None
    ) -> Rows:
        """Which of ``rows`` (of all, where None) are within ``slack`` of the k-th lowest score."""
        dots, squares, lengths = self._product(vector), self._squares, self._lengths
        if rows is not None:
            some = torch.from_numpy(rows).to(dots.device)
            dots, squares, lengths = dots[some], squares[some], lengths[some]
        score = -dots / lengths if cosine else squares - 2.0 * dots
        limit = torch.topk(score, k, largest=False, sorted=True).values[-1] + slack
        found: Rows = torch.nonzero(score <= limit)[:, 0].cpu().numpy()
        return found

    def _product(self, vector: Float32s) -> torch.Tensor:
        return self._rows @ torch.from_numpy(vector).to(self._rows.device)


def on_gpu(rows: Float32s, squares: Float32s, lengths: Float32s, *, enough: int) -> GpuRows | None:
    """The rows on a GPU, where there is one with room for them and they are many.

    Parameters
    ----------
    rows, squares, lengths : ndarray of float32
        As in `GpuRows`.
    enough : int
        Rows from which on a GPU that was not asked for by name is used.

    Returns
    -------
    GpuRows or None

    Raises
    ------
    ConfigError
        A device is named that is not here.
    """
    device = device_for(len(rows), enough=enough)
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    # A tenth for the scores of searches.
    if 1.1 * rows.nbytes > free:
        logger.warning("The index has no room on the GPU; searches stay on the processor.")
        return None
    return GpuRows(rows, squares, lengths, device)
