"""Index folders and exact nearest neighbours; the only module that knows faiss.

One flat file holds a whole Gaussian per row, as [mu, sqrt(sum sigma^2)]. A query [mu_q, 0]
then has the squared L2 distance ||mu_q - mu||^2 + sum sigma^2, which is the CSD less the
query's own sum sigma_q^2, a constant. So `IndexFlatL2` ranks exactly by CSD. The cosine order
needs no second file: inner products of [mu_q, 0] with [mu / ||mu||, 0] are cosines, and that
index is made in memory from the same vectors. Both searches are exhaustive, none is
approximate.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import faiss
import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import (
    CARD,
    card_bytes,
    check_bytes,
    make_card,
    parse_card,
    read_card,
    read_checked,
    seal,
    writing_folder,
)
from echoing_core.errors import IndexMismatchError
from echoing_core.records import GaussianEmbedding

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Target = Literal["ecg", "report"]
Order = Literal["csd", "cosine"]

KIND = "index"
COLUMNS: Mapping[str, str] = {
    "item_id": "O",
    "patient_id": "O",
    "record_id": "O",
    "report": "O",
    "source": "O",
    "uncertainty": "f",
    "percentile": "f",
    "text_uncertainty": "f",
    "simulated": "b",
}
"""Columns of ``items.parquet`` and the kind of their dtype; ``label_*`` columns come on top."""

_VECTOR_FILES: Mapping[Target, str] = {"ecg": "vectors.faiss", "report": "reports.faiss"}
_FILES = frozenset({*_VECTOR_FILES.values(), "items.parquet"})
REPORTS_EMBEDDED = "reports_embedded"
"""Entry of the card: False where the model reads ECGs alone, so that no report can be found."""
TRACES = "traces.npy"
"""Optional: ten seconds of each item, int16 microvolts, shape (n, 12, 1000)."""

GAP = np.iinfo(np.int16).min
"""In `TRACES`: nothing was recorded here."""

MAX_TABLE_BYTES = 512 * 1024**2
"""What the table of an index may take in memory. A few kB of Parquet can hold the same text a
billion times."""

_TRACE_SHAPE = (12, 1000)
_MAX_COLUMNS = 300
# The deserialisation limit is a setting of the process, so only one thread may move it.
_FAISS_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class GalleryIndex:
    """An opened index folder; safe to search from several threads.

    Attributes
    ----------
    folder : Path
    items : DataFrame, n rows
        Row i describes vector i. Never changed in place.
    card : mapping
        What ``card.json`` says.
    traces : ndarray of int16 or None, shape (n, 12, 1000)
        The ECGs in microvolts, `GAP` where nothing was recorded, if the folder holds them.
    """

    folder: Path
    items: pd.DataFrame
    card: Mapping[str, Any]
    _by_csd: Mapping[Target, Any]
    _by_cosine: Mapping[Target, Any]
    traces: npt.NDArray[np.int16] | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def dim(self) -> int:
        return int(self.card["dim"])

    @property
    def has_report_vectors(self) -> bool:
        """Whether the model that made it reads reports; see `REPORTS_EMBEDDED`."""
        return self.card.get(REPORTS_EMBEDDED) is not False

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, without ``label_``."""
        return tuple(
            str(c).removeprefix("label_") for c in self.items.columns if c.startswith("label_")
        )

    def gaussians(
        self, target: Target = "ecg", rows: npt.NDArray[np.integer] | None = None
    ) -> GaussianEmbedding:
        """The items' Gaussians as far as an index keeps them: mu, and the sum of sigma^2.

        Only that sum matters to a CSD, so here it is spread evenly over the dimensions.

        Parameters
        ----------
        target : {"ecg", "report"}
        rows : ndarray of int or None
            Of which items; None for all.

        Returns
        -------
        GaussianEmbedding, one row for each item
        """
        vectors = self._by_csd[target].reconstruct_n(0, len(self))
        if rows is not None:
            vectors = vectors[rows]
        # Last column: sqrt(sum sigma^2). Not below 1e-30, of which the logarithm is still finite.
        share = np.maximum(vectors[:, -1:].astype(np.float64) ** 2 / self.dim, 1e-30)
        log_var = np.broadcast_to(np.log(share), (len(vectors), self.dim))
        return GaussianEmbedding(
            np.ascontiguousarray(vectors[:, :-1]), np.ascontiguousarray(log_var, dtype=np.float32)
        )

    def nearest(
        self,
        query: GaussianEmbedding,
        k: int,
        *,
        order: Order = "csd",
        target: Target = "ecg",
        rows: npt.NDArray[np.int64] | None = None,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The k nearest items among ``rows``, exactly.

        Parameters
        ----------
        query : GaussianEmbedding, one row
        k : int
            At least 1. Fewer come back where there are fewer items.
        order : {"csd", "cosine"}
        target : {"ecg", "report"}
            Which side of the items to compare with.
        rows : ndarray of int or None
            The items that may be found; None for all.

        Returns
        -------
        rows : ndarray, shape (<= k,)
            Row numbers in `items`, nearest first; equal distances in order of row.
        distances : ndarray, shape (<= k,)
            CSD, or 1 - cosine.

        Raises
        ------
        IndexMismatchError
            If the query has another dimension than the index.
        """
        if len(query) != 1:
            raise ValueError(f"a search takes one query, not {len(query)}")
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        if query.mu.shape[1] != self.dim:
            raise IndexMismatchError(
                f"The query has {query.mu.shape[1]} dimensions and the index in {self.folder} has "
                f"{self.dim}. Use the model that the index was built with."
            )
        if target not in _VECTOR_FILES:
            raise ValueError(f"target must be 'ecg' or 'report', not {target!r}")
        k = min(k, len(self) if rows is None else len(rows))
        if k == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
        mu = query.mu.astype(np.float32)
        if order == "csd":
            index = self._by_csd[target]
        elif order == "cosine":
            index = self._by_cosine[target]
            mu = _unit(mu)
        else:
            raise ValueError(f"order must be 'csd' or 'cosine', not {order!r}")
        vector = np.ascontiguousarray(np.hstack([mu, np.zeros((1, 1), dtype=np.float32)]))
        if rows is None:
            score, places = index.search(vector, k)
        else:
            allowed = np.ascontiguousarray(rows, dtype=np.int64)
            # The parameters hold a bare pointer: the selector needs a name to stay alive.
            selector = faiss.IDSelectorBatch(allowed)
            parameters = faiss.SearchParameters()
            parameters.sel = selector
            score, places = index.search(vector, k, params=parameters)
        nearest_rows = np.asarray(places[0], dtype=np.int64)
        raw = np.asarray(score[0], dtype=np.float64)
        # faiss gives the squared L2 distance, to which the query's own sum of sigma^2 is added; or
        # the cosine.
        distance = raw + query.uncertainty[0] if order == "csd" else 1.0 - raw
        # faiss leaves the order of equal distances open; here it is that of the rows.
        nearest_first = np.lexsort((nearest_rows, distance))
        return nearest_rows[nearest_first], distance[nearest_first]


def build_index(
    folder: Path,
    *,
    ecg: GaussianEmbedding,
    text: GaussianEmbedding,
    items: pd.DataFrame,
    checkpoint_hash: str,
    card: Mapping[str, Any] | None = None,
    traces: npt.NDArray[np.int16] | None = None,
) -> dict[str, Any]:
    """Write an index folder, all or nothing.

    Parameters
    ----------
    folder : Path
        New, empty, or an older index, which is then replaced.
    ecg, text : GaussianEmbedding, n rows each
        The ECG and the report of each item.
    items : DataFrame, n rows
        The columns `COLUMNS` and any ``label_*``. ``uncertainty`` and ``text_uncertainty`` must
        be those of the embeddings: that is what shows a table in another order.
    checkpoint_hash : str
    card : mapping, optional
        Further entries for ``card.json`` (what the gallery is, seed...).
    traces : ndarray of int16, shape (n, 12, 1000), optional
        The ECGs themselves in microvolts, `GAP` where nothing was recorded.

    Returns
    -------
    dict
        The card as written.
    """
    files, facts = _contents(ecg, text, items, card, traces)
    with writing_folder(Path(folder), kind=KIND) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
        return seal(temporary, kind=KIND, checkpoint_hash=checkpoint_hash, **facts)


def index_files(
    *,
    ecg: GaussianEmbedding,
    text: GaussianEmbedding,
    items: pd.DataFrame,
    checkpoint_hash: str,
    card: Mapping[str, Any] | None = None,
    traces: npt.NDArray[np.int16] | None = None,
) -> dict[str, bytes]:
    """The files of an index folder, in memory; for the parameters see `build_index`.

    Parameters
    ----------
    ecg, text, items, checkpoint_hash, card, traces
        As in `build_index`.

    Returns
    -------
    dict of str to bytes
        By the name of the file, the card included.
    """
    files, facts = _contents(ecg, text, items, card, traces)
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    sealed = make_card(hashes, kind=KIND, checkpoint_hash=checkpoint_hash, **facts)
    return {CARD: card_bytes(sealed), **files}


def _contents(
    ecg: GaussianEmbedding,
    text: GaussianEmbedding,
    items: pd.DataFrame,
    card: Mapping[str, Any] | None,
    traces: npt.NDArray[np.int16] | None,
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files of an index but its card, and what the card says besides their hashes."""
    n, dim = ecg.mu.shape
    if text.mu.shape != (n, dim) or len(items) != n or n == 0:
        raise ValueError(f"{ecg.mu.shape} ECGs, {text.mu.shape} reports, {len(items)} items differ")
    problem = _problem_with_items(items)
    if problem is not None:
        raise ValueError(problem)
    vectors = {"ecg": _vectors(ecg), "report": _vectors(text)}
    for target, column in (("ecg", "uncertainty"), ("report", "text_uncertainty")):
        # Catches a table sorted in another way than the vectors, which nothing else would show.
        if not _fits(vectors[target], items[column].to_numpy()):
            raise ValueError(f"column {column!r} is not the uncertainty of the embeddings")
    if traces is not None and (traces.shape != (n, *_TRACE_SHAPE) or traces.dtype != np.int16):
        raise ValueError(f"traces are {traces.shape} {traces.dtype}, not ({n}, 12, 1000) int16")
    files = {}
    for target, name in _VECTOR_FILES.items():
        index = faiss.IndexFlatL2(dim + 1)
        index.add(vectors[target])
        files[name] = faiss.serialize_index(index).tobytes()
    table = io.BytesIO()
    items.reset_index(drop=True).to_parquet(table, engine="pyarrow")
    files["items.parquet"] = table.getvalue()
    if traces is not None:
        array = io.BytesIO()
        # Without pickles a file of arrays cannot carry code.
        np.save(array, traces, allow_pickle=False)
        files[TRACES] = array.getvalue()
    extra = {
        "faiss_version": faiss.__version__,
        "simulated": bool(items["simulated"].all()),
        # Both: a collection may be simulated in parts, and whoever opens it must know.
        "n_simulated": int(items["simulated"].sum()),
        **(card or {}),
    }
    return files, {"n": n, "dim": dim, "extra": extra}


def open_index(folder: Path, *, checkpoint_hash: str | None) -> GalleryIndex:
    """Open a folder that `build_index` wrote.

    Every file's hash is compared before its bytes are parsed; then the shape, the number of
    vectors and their agreement with the table are checked.

    Parameters
    ----------
    folder : Path
    checkpoint_hash : str or None
        Hash of the checkpoint in use; None to open an index of whatever checkpoint, which is
        for looking at its card and not for searching.

    Returns
    -------
    GalleryIndex

    Raises
    ------
    IndexMismatchError
        If the folder is damaged, is no index, or belongs to another checkpoint.
    """
    folder = Path(folder)
    card = read_card(
        folder,
        kind=KIND,
        files=_FILES,
        checkpoint_hash=checkpoint_hash,
        optional=frozenset({TRACES}),
    )
    content = {name: read_checked(folder, name, card) for name in sorted(card["files"])}
    return _opened(folder, card, content)


def open_index_files(
    files: Mapping[str, bytes], name: str, *, checkpoint_hash: str | None
) -> GalleryIndex:
    """As `open_index`, of files that are in memory; nothing is written to disk.

    Parameters
    ----------
    files : mapping of str to bytes
        The files of an index folder by their names.
    name : str
        What to call the folder in messages.
    checkpoint_hash : str or None
        As in `open_index`.

    Returns
    -------
    GalleryIndex

    Raises
    ------
    IndexMismatchError
        As `open_index`.
    """
    folder = Path(name)
    if CARD not in files:
        raise IndexMismatchError(f"{name} holds no {CARD}, so it is not an index. Choose another.")
    card = parse_card(
        files[CARD],
        folder,
        kind=KIND,
        files=_FILES,
        checkpoint_hash=checkpoint_hash,
        optional=frozenset({TRACES}),
    )
    missing = sorted(set(card["files"]) - set(files))
    if missing:
        raise IndexMismatchError(
            f"{missing[0]} in {name} is missing. Take an undamaged copy of the index."
        )
    content = {file: files[file] for file in card["files"]}
    # Hashes before any of the bytes are parsed.
    for file, data in content.items():
        check_bytes(data, folder / file, card)
    return _opened(folder, card, content)


def _opened(folder: Path, card: dict[str, Any], content: Mapping[str, bytes]) -> GalleryIndex:
    # The vectors first: once they are as many as the card says, so may the rows be.
    parsed = {
        target: _parse(content[name], folder / name, n=card["n"], dim=card["dim"] + 1)
        for target, name in _VECTOR_FILES.items()
    }
    items = _items(content["items.parquet"], folder, n=card["n"])
    by_csd: dict[Target, Any] = {}
    by_cosine: dict[Target, Any] = {}
    for target, index in parsed.items():
        vectors = index.reconstruct_n(0, card["n"])
        column = "uncertainty" if target == "ecg" else "text_uncertainty"
        if not np.isfinite(vectors).all() or not _fits(vectors, items[column].to_numpy()):
            raise IndexMismatchError(
                f"{_VECTOR_FILES[target]} in {folder} does not belong to the rows of its "
                "items.parquet. Build the index again."
            )
        by_csd[target] = index
        by_cosine[target] = faiss.IndexFlatIP(card["dim"] + 1)
        # A column of zeros keeps both indexes at dim + 1, so one query vector serves both.
        by_cosine[target].add(np.hstack([_unit(vectors[:, :-1]), np.zeros_like(vectors[:, -1:])]))
    traces = _traces(content[TRACES], folder, n=card["n"]) if TRACES in content else None
    logger.info("opened index of %d items with dimension %d", card["n"], card["dim"])
    return GalleryIndex(folder, items, card, by_csd, by_cosine, traces)


def _items(content: bytes, folder: Path, *, n: int) -> pd.DataFrame:
    """The table, once it is known to fit into memory and to be what `build_index` writes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if file.metadata.num_rows != n:
            raise _unusable(folder, f"{file.metadata.num_rows} rows where {n} are needed")
        schema = file.schema_arrow
        if len(schema) > _MAX_COLUMNS:
            raise _unusable(folder, f"it has {len(schema)} columns")
        texts = [
            f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
        ]
        rows = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        if sum(group.total_byte_size for group in rows) > MAX_TABLE_BYTES:
            raise _unusable(folder, "the table is too large")
        # Repeated texts stay one text each until it is known how long they all are.
        table = pq.read_table(io.BytesIO(content), read_dictionary=texts)
        long = 0
        for name in texts:
            for chunk in table[name].chunks:
                lengths = pc.binary_length(chunk.dictionary).take(chunk.indices)
                long += pc.sum(lengths).as_py() or 0
        if long + table.nbytes > MAX_TABLE_BYTES:
            raise _unusable(folder, "the table is too large")
        # What pandas wrote beside the table for itself is not needed, and may say anything.
        items: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except IndexMismatchError:
        raise
    except Exception as error:
        raise _unusable(folder, "it is no table that an index has") from error
    # Texts that were read as a dictionary come as categories.
    for name in items.columns[items.dtypes == "category"]:
        items[name] = items[name].astype(object)
    problem = _problem_with_items(items)
    if problem is not None:
        raise _unusable(folder, problem)
    return items


def _unusable(folder: Path, problem: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"items.parquet in {folder} cannot be used: {problem}. Build the index again."
    )


def _traces(content: bytes, folder: Path, *, n: int) -> npt.NDArray[np.int16]:
    wanted = (n, *_TRACE_SHAPE)
    try:
        # Mapped over the bytes at hand: what a header claims takes no memory.
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = (
            np.lib.format.read_array_header_1_0(stream) if version == (1, 0) else ((), True, None)
        )
        if shape != wanted or fortran or dtype != np.dtype("<i2"):
            raise ValueError(f"an array of {shape}")
        data = np.frombuffer(content, dtype="<i2", offset=stream.tell())
        return np.asarray(data.reshape(wanted), dtype=np.int16)
    except (ValueError, EOFError) as error:
        raise IndexMismatchError(
            f"{TRACES} in {folder} does not hold the {n} ECGs of its index. Build the index again."
        ) from error


def _vectors(embedding: GaussianEmbedding) -> npt.NDArray[np.float32]:
    """[mu, sqrt(sum sigma^2)], shape (n, dim + 1)."""
    if not (np.isfinite(embedding.mu).all() and np.isfinite(embedding.log_var).all()):
        raise ValueError("embeddings must be finite")
    spread = np.sqrt(embedding.uncertainty)[:, None]
    return np.ascontiguousarray(np.hstack([embedding.mu, spread]), dtype=np.float32)


def _fits(vectors: npt.NDArray[np.float32], uncertainty: npt.NDArray[np.floating]) -> bool:
    # float32 of a square root and its square: equal to about 1e-7, and 1e-4 leaves room.
    stored = vectors[:, -1].astype(np.float64) ** 2
    return bool(np.allclose(stored, uncertainty, rtol=1e-4, atol=1e-9))


def _unit(mu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    norm = np.linalg.norm(mu, axis=1, keepdims=True)
    return np.asarray(mu / np.maximum(norm, 1e-12), dtype=np.float32)


def _problem_with_items(items: pd.DataFrame) -> str | None:
    """What is wrong with the table, as the end of a sentence, or None."""
    missing = [name for name in COLUMNS if name not in items.columns]
    if missing:
        return f"the columns {missing} are missing"
    extra = [c for c in items.columns if c not in COLUMNS and not str(c).startswith("label_")]
    if extra:
        return f"the columns {extra} are neither standard nor labels"
    for name, kind in COLUMNS.items():
        if items[name].dtype.kind != kind:
            return f"the column {name!r} has type {items[name].dtype}"
        if items[name].isna().any():
            return f"the column {name!r} has gaps"
    if items["item_id"].duplicated().any():
        return "item_id repeats"
    return None


def _parse(content: bytes, path: Path, *, n: int, dim: int) -> Any:
    """A flat L2 index of exactly this size, or an IndexMismatchError."""
    with _FAISS_LIMIT_LOCK:
        limit = faiss.get_deserialization_vector_byte_limit()
        # No vector of an honest file is longer than the file itself.
        faiss.set_deserialization_vector_byte_limit(len(content))
        try:
            index = faiss.deserialize_index(np.frombuffer(content, dtype=np.uint8))
        except RuntimeError as error:
            raise IndexMismatchError(
                f"{path.name} in {path.parent} is not a faiss index. Build the index again."
            ) from error
        finally:
            faiss.set_deserialization_vector_byte_limit(limit)
    # Any other kind could search approximately, or be of any size.
    if not isinstance(index, faiss.IndexFlatL2) or index.d != dim or index.ntotal != n:
        raise IndexMismatchError(
            f"{path.name} in {path.parent} is not a flat index of {n} vectors with {dim} "
            "numbers each. Build the index again."
        )
    return index
