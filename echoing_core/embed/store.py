"""A folder of embeddings: ``mu.npy``, ``log_var.npy``, ``items.parquet`` and ``card.json``.

The arrays are memory-mapped when read, so a store may be larger than memory. Reading is
strict: hashes, shapes, types and the number of items must fit, and nothing is repaired.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import check_file, read_card, read_checked, seal, writing_folder
from echoing_core.errors import IndexMismatchError
from echoing_core.records import GaussianEmbedding

if TYPE_CHECKING:
    import pandas as pd

KIND = "embedding store"
_FILES = frozenset({"mu.npy", "log_var.npy", "items.parquet"})
_DTYPES = (np.dtype(np.float16), np.dtype(np.float32))


@dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """An opened folder of embeddings.

    Attributes
    ----------
    mu, log_var : ndarray, shape (n, dim), float16 or float32
        Memory-mapped, read-only.
    items : DataFrame, n rows
        What each row is; never changed in place.
    card : mapping
    """

    mu: npt.NDArray[np.floating]
    log_var: npt.NDArray[np.floating]
    items: pd.DataFrame
    card: Mapping[str, Any]

    def __len__(self) -> int:
        return int(self.mu.shape[0])

    def embedding(
        self, rows: slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_] | None = None
    ) -> GaussianEmbedding:
        """Rows as float32 in memory; all of them by default."""
        chosen = slice(None) if rows is None else rows
        return GaussianEmbedding(
            mu=np.asarray(self.mu[chosen], dtype=np.float32),
            log_var=np.asarray(self.log_var[chosen], dtype=np.float32),
        )


def save_embeddings(
    folder: Path,
    embedding: GaussianEmbedding,
    items: pd.DataFrame,
    *,
    checkpoint_hash: str,
    card: Mapping[str, Any] | None = None,
    dtype: Literal["float16", "float32"] = "float32",
) -> dict[str, Any]:
    """Write embeddings and what they are of, all or nothing.

    Parameters
    ----------
    folder : Path
        New, empty, or an older store, which is then replaced.
    embedding : GaussianEmbedding, n rows
    items : DataFrame, n rows
    checkpoint_hash : str
        Hash of the checkpoint that made the embeddings.
    card : mapping, optional
        Further entries for ``card.json``.
    dtype : str
        ``"float16"`` halves the size and keeps about three digits.

    Returns
    -------
    dict
        The card as written.
    """
    if len(items) != len(embedding) or len(embedding) == 0:
        raise ValueError(f"{len(items)} items do not fit {len(embedding)} embeddings")
    if not (np.isfinite(embedding.mu).all() and np.isfinite(embedding.log_var).all()):
        raise ValueError("embeddings must be finite")
    with writing_folder(Path(folder), kind=KIND) as temporary:
        np.save(temporary / "mu.npy", embedding.mu.astype(dtype))
        np.save(temporary / "log_var.npy", embedding.log_var.astype(dtype))
        items.reset_index(drop=True).to_parquet(temporary / "items.parquet", engine="pyarrow")
        return seal(
            temporary,
            kind=KIND,
            checkpoint_hash=checkpoint_hash,
            n=len(embedding),
            dim=int(embedding.mu.shape[1]),
            extra=card or {},
        )


def open_embeddings(folder: Path, *, checkpoint_hash: str | None = None) -> EmbeddingStore:
    """Open a folder that `save_embeddings` wrote.

    Parameters
    ----------
    checkpoint_hash : str or None
        Hash of the checkpoint in use; None to open a store of whatever checkpoint.

    Raises
    ------
    IndexMismatchError
        If the folder is damaged, of another kind, or of another checkpoint.
    """
    import pandas as pd

    folder = Path(folder)
    card = read_card(folder, kind=KIND, files=_FILES, checkpoint_hash=checkpoint_hash)
    arrays = {name: _map_array(folder, f"{name}.npy", card) for name in ("mu", "log_var")}
    items = pd.read_parquet(io.BytesIO(read_checked(folder, "items.parquet", card)))
    if len(items) != card["n"]:
        raise IndexMismatchError(
            f"items.parquet in {folder} has {len(items)} rows where {card['n']} are needed. "
            "Embed the recordings again."
        )
    return EmbeddingStore(mu=arrays["mu"], log_var=arrays["log_var"], items=items, card=card)


def _map_array(folder: Path, name: str, card: Mapping[str, Any]) -> npt.NDArray[np.floating]:
    path = check_file(folder, name, card)
    try:
        # open_memmap reads the .npy format alone and refuses arrays of Python objects.
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError) as error:
        raise IndexMismatchError(
            f"{name} in {folder} is not a NumPy array file. Embed the recordings again."
        ) from error
    if array.shape != (card["n"], card["dim"]) or array.dtype not in _DTYPES:
        raise IndexMismatchError(
            f"{name} in {folder} holds {array.dtype} of shape {array.shape}, where float16 or "
            f"float32 of shape {(card['n'], card['dim'])} is needed. Embed the recordings again."
        )
    return array
