"""Index folders, and which of their items are nearest.

One flat faiss file for each side holds a whole Gaussian per row, as [mu, sqrt(sum sigma^2)], which
ranks by CSD and by cosine alike (`retrieve.vectors`). Searches are exhaustive and exact. An index
of very many items also holds cells (`retrieve.cells`), with which those by CSD are faster and miss
up to one in a hundred; its card says how many.
"""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import faiss
import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import (
    CARD,
    Content,
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
from echoing_core.retrieve.shard_names import is_sharded
from echoing_core.retrieve.vectors import Float32s, Order, Vectors, as_vectors
from echoing_core.stores import Place, place_of

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.retrieve.cells import FastSearch

logger = logging.getLogger(__name__)

Target = Literal["ecg", "report"]

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

ORIGINAL, TRANSLATED = "report_original", "report_translated"
"""Columns that a collection may have: the report as it was written, in whatever language, and its
English translation by whoever published it; empty where there is none. Nothing is searched by
them."""

_VECTOR_FILES: Mapping[Target, str] = {"ecg": "vectors.faiss", "report": "reports.faiss"}
_UNCERTAINTY: Mapping[Target, str] = {"ecg": "uncertainty", "report": "text_uncertainty"}
_FILES = frozenset({*_VECTOR_FILES.values(), "items.parquet"})
REPORTS_EMBEDDED = "reports_embedded"
"""Entry of the card: False where the model reads ECGs alone, so that no report can be found."""
TRACES = "traces.npy"
"""Optional: ten seconds of each item, int16 microvolts, shape (n, 12, 1000)."""

CELLS = "cells.safetensors"
"""Optional: where a fast search looks."""

FAST_SEARCH = "fast_search"
"""Entry of the card: by side, what the fast search is and how much it finds; None where it finds
too little."""

GAP = np.iinfo(np.int16).min
"""In `TRACES`: nothing was recorded here."""

FEWEST_FOR_CELLS = 1_000_000
"""Items from which on an index gets a fast search. Below, the exact one takes less than 0.1 s."""

MAX_TABLE_BYTES = 512 * 1024**2
"""What the table of an index may take in memory. A few kB of Parquet can hold the same text a
billion times."""

SHARDS = "shards"
"""Entry of the card of an index whose items lie in several (`retrieve.shards`)."""

_TRACE_SHAPE = (12, 1000)
# A header of NumPy's first version is no longer.
_MAX_HEADER = 70_000
_MAX_COLUMNS = 300
_MOST_FAST = 100
_ASKED_FROM: Mapping[Target, Target] = {"ecg": "report", "report": "ecg"}
# The deserialisation limit is a setting of the process, so only one thread may move it.
_FAISS_LIMIT_LOCK = threading.Lock()


@dataclass(frozen=True, eq=False)
class GalleryIndex:
    """An opened index folder; safe to search from several threads.

    Attributes
    ----------
    folder : Path or StorePath
    items : DataFrame, n rows
        Row i describes vector i. Never changed in place.
    card : mapping
        What ``card.json`` says.
    traces : ndarray of int16 or None, shape (n, 12, 1000)
        The ECGs in microvolts, `GAP` where nothing was recorded, if the folder holds them.
    """

    folder: Place
    items: pd.DataFrame
    card: Mapping[str, Any]
    _vectors: Mapping[Target, Vectors]
    _fast: Mapping[Target, FastSearch]
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
        return self._vectors[target].gaussians(rows)

    def nearest(
        self,
        query: GaussianEmbedding,
        k: int,
        *,
        order: Order = "csd",
        target: Target = "ecg",
        rows: npt.NDArray[np.int64] | None = None,
        exact: bool = False,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The k nearest items among ``rows``.

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
        exact : bool
            Not by the fast search, where the index has one. That one is only for up to 100 of all
            items by CSD; everything else is exact anyway.

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
        if order not in ("csd", "cosine"):
            raise ValueError(f"order must be 'csd' or 'cosine', not {order!r}")
        fast = self._fast.get(target)
        if fast is not None and order == "csd" and rows is None and not exact and k <= _MOST_FAST:
            return fast.nearest(query, k)
        return self._vectors[target].nearest(query, k, order, rows)

    def distances(
        self, query: GaussianEmbedding, *, order: Order = "csd", target: Target = "ecg"
    ) -> npt.NDArray[np.float64]:
        """Distances to all items, up to the rounding of float32.

        Parameters
        ----------
        query : GaussianEmbedding, one row
        order, target
            As in `nearest`.

        Returns
        -------
        ndarray, shape (n,)
            CSD, or 1 - cosine.
        """
        return self._vectors[target].distances(query, order)

    def vectors(self, target: Target = "ecg") -> Vectors:
        """One side of the items as vectors."""
        return self._vectors[target]


def build_index(
    folder: Place,
    *,
    ecg: GaussianEmbedding | Float32s,
    text: GaussianEmbedding | Float32s,
    items: pd.DataFrame,
    checkpoint_hash: str,
    card: Mapping[str, Any] | None = None,
    traces: npt.NDArray[np.int16] | None = None,
    fast: bool | None = None,
) -> dict[str, Any]:
    """Write an index folder, all or nothing.

    Parameters
    ----------
    folder : Path or StorePath
        New, empty, or an older index, which is then replaced.
    ecg, text : GaussianEmbedding, n rows each
        The ECG and the report of each item; of very many, their rows as `as_vectors` gives them,
        which take half of the memory.
    items : DataFrame, n rows
        The columns `COLUMNS` and any ``label_*``. ``uncertainty`` and ``text_uncertainty`` must
        be those of the embeddings: that is what shows a table in another order.
    checkpoint_hash : str
    card : mapping, optional
        Further entries for ``card.json`` (what the gallery is, seed...).
    traces : ndarray of int16, shape (n, 12, 1000), optional
        The ECGs themselves in microvolts, `GAP` where nothing was recorded.
    fast : bool, optional
        Make a fast search, too; by default from a million items on (`FEWEST_FOR_CELLS`).

    Returns
    -------
    dict
        The card as written.
    """
    files, facts = _contents(ecg, text, items, card, traces, fast)
    with writing_folder(folder, kind=KIND) as temporary:
        for name, write in files.items():
            with (temporary / name).open("wb") as stream:
                write(stream)
        return seal(temporary, kind=KIND, checkpoint_hash=checkpoint_hash, **facts)


def index_files(
    *,
    ecg: GaussianEmbedding | Float32s,
    text: GaussianEmbedding | Float32s,
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
    writers, facts = _contents(ecg, text, items, card, traces, None)
    files = {}
    for name, write in writers.items():
        stream = io.BytesIO()
        write(stream)
        files[name] = stream.getvalue()
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}
    sealed = make_card(hashes, kind=KIND, checkpoint_hash=checkpoint_hash, **facts)
    return {CARD: card_bytes(sealed), **files}


Write = Callable[[BinaryIO], object]


def _contents(
    ecg: GaussianEmbedding | Float32s,
    text: GaussianEmbedding | Float32s,
    items: pd.DataFrame,
    card: Mapping[str, Any] | None,
    traces: npt.NDArray[np.int16] | None,
    fast: bool | None,
) -> tuple[dict[str, Write], dict[str, Any]]:
    """What writes each file of an index but its card, and what the card says besides hashes."""
    sides: dict[Target, Float32s] = {
        "ecg": as_vectors(ecg) if isinstance(ecg, GaussianEmbedding) else ecg,
        "report": as_vectors(text) if isinstance(text, GaussianEmbedding) else text,
    }
    n, width = sides["ecg"].shape
    if sides["report"].shape != (n, width) or len(items) != n or n == 0:
        raise ValueError(
            f"{n} ECGs, {len(sides['report'])} reports, {len(items)} items, or their widths differ"
        )
    problem = _problem_with_items(items)
    if problem is not None:
        raise ValueError(problem)
    for target, column in _UNCERTAINTY.items():
        # Catches a table sorted in another way than the vectors, which nothing else would show.
        if not _fits(sides[target], items[column].to_numpy()):
            raise ValueError(f"column {column!r} is not the uncertainty of the embeddings")
    if traces is not None and (traces.shape != (n, *_TRACE_SHAPE) or traces.dtype != np.int16):
        raise ValueError(f"traces are {traces.shape} {traces.dtype}, not ({n}, 12, 1000) int16")
    files: dict[str, Write] = {
        name: partial(_write_vectors, sides[target]) for target, name in _VECTOR_FILES.items()
    }
    files["items.parquet"] = partial(items.reset_index(drop=True).to_parquet, engine="pyarrow")
    if traces is not None:
        # Without pickles a file of arrays cannot carry code.
        files[TRACES] = partial(np.save, arr=traces, allow_pickle=False)
    fast_facts: dict[str, Any] = {}
    if fast or (fast is None and n >= FEWEST_FOR_CELLS):
        with_report = np.flatnonzero((items["report"].str.strip() != "").to_numpy())
        with_report = with_report.astype(np.int64)
        cells, fast_facts = _cells(
            {target: Vectors(rows) for target, rows in sides.items()}, with_report
        )
        files[CELLS] = lambda stream: stream.write(cells)
    extra = {
        **fast_facts,
        "faiss_version": faiss.__version__,
        "simulated": bool(items["simulated"].all()),
        # Both: a collection may be simulated in parts, and whoever opens it must know.
        "n_simulated": int(items["simulated"].sum()),
        **(card or {}),
    }
    return files, {"n": n, "dim": width - 1, "extra": extra}


def _write_vectors(rows: Float32s, stream: BinaryIO) -> None:
    index = faiss.IndexFlatL2(rows.shape[1])
    index.add(rows)
    # In pieces: as bytes it would be in memory once more.
    writer = faiss.PyCallbackIOWriter(stream.write)  # type: ignore[attr-defined]
    faiss.write_index(index, writer)


def _cells(
    sides: Mapping[Target, Vectors], with_report: npt.NDArray[np.int64]
) -> tuple[bytes, dict[str, Any]]:
    """The file of a fast search, and what the card says of it."""
    from safetensors.numpy import save

    from echoing_core.retrieve.cells import sort_into_cells

    arrays: dict[str, npt.NDArray[Any]] = {}
    facts: dict[str, Any] = {}
    for target, other in _ASKED_FROM.items():
        # Searches among reports leave out items without one, and are exact then.
        if target == "report" and len(with_report) < len(sides[target]):
            continue
        askers = with_report if other == "report" else np.arange(len(sides[other]), dtype=np.int64)
        cells = sort_into_cells(sides[target], sides[other], askers)
        facts[target] = None if cells is None else cells.facts()
        if cells is not None:
            arrays |= {f"{target}.centroids": cells.centroids, f"{target}.cell_of": cells.cell_of}
    return save(arrays), {FAST_SEARCH: facts}


def open_index(folder: Place, *, checkpoint_hash: str | None, mapped: bool = False) -> GalleryIndex:
    """Open a folder that `build_index` wrote.

    Every file's hash is compared before its bytes are parsed; then the shape, the number of
    vectors and their agreement with the table are checked.

    Parameters
    ----------
    folder : Path
    checkpoint_hash : str or None
        Hash of the checkpoint in use; None to open an index of whatever checkpoint, which is
        for looking at its card and not for searching.
    mapped : bool
        Leave traces in their file, and read a side when it is first searched: for an index that
        is large beside the memory. Nobody may write into its files, as nobody here does.

    Returns
    -------
    GalleryIndex

    Raises
    ------
    IndexMismatchError
        If the folder is damaged, is no index, belongs to another checkpoint, or holds shards.
    """
    folder = place_of(folder)
    if is_sharded(folder):
        raise IndexMismatchError(
            f"The index {folder} lies in shards, which are not opened as one. Search it with "
            f"`echoing search --index {folder}`, or from Python with load_index."
        )
    card = read_card(
        folder,
        kind=KIND,
        files=_FILES,
        checkpoint_hash=checkpoint_hash,
        optional=frozenset({TRACES, CELLS}),
    )
    content = {
        name: read_checked(folder, name, card, mapped=mapped) for name in sorted(card["files"])
    }
    return _opened(folder, card, content, lazily=mapped)


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
        optional=frozenset({TRACES, CELLS}),
    )
    missing = sorted(set(card["files"]) - set(files))
    if missing:
        raise IndexMismatchError(
            f"{missing[0]} in {name} is missing. Take an undamaged copy of the index."
        )
    content: dict[str, Content] = {file: files[file] for file in card["files"]}
    # Hashes before any of the bytes are parsed.
    for file, data in content.items():
        check_bytes(data, folder / file, card)
    return _opened(folder, card, content)


class _Sides(Mapping[Target, Vectors]):
    """The sides of an index, each parsed when it is first looked at."""

    def __init__(self, parse: Mapping[Target, Callable[[], Vectors]]) -> None:
        self._parse = parse
        self._parsed: dict[Target, Vectors] = {}

    def __getitem__(self, target: Target) -> Vectors:
        if target not in self._parsed:
            self._parsed[target] = self._parse[target]()
        return self._parsed[target]

    def __iter__(self) -> Iterator[Target]:
        return iter(self._parse)

    def __len__(self) -> int:
        return len(self._parse)


def _done(vectors: Vectors) -> Callable[[], Vectors]:
    return lambda: vectors


def _fitting(
    target: Target, parse: Callable[[], Vectors], folder: Place, items: pd.DataFrame
) -> Vectors:
    found = parse()
    if not found.finite or not _fits(found.rows, items[_UNCERTAINTY[target]].to_numpy()):
        raise IndexMismatchError(
            f"{_VECTOR_FILES[target]} in {folder} does not belong to the rows of its "
            "items.parquet. Build the index again."
        )
    return found


def _opened(
    folder: Place, card: dict[str, Any], content: dict[str, Content], *, lazily: bool = False
) -> GalleryIndex:
    parse: dict[Target, Callable[[], Vectors]] = {}
    # The vectors first: once they are as many as the card says, so may the rows be. What is parsed
    # is let go: of a large index each file is as large as what is made of it.
    for target, name in _VECTOR_FILES.items():
        later = partial(_parse, content.pop(name), folder / name, n=card["n"], dim=card["dim"] + 1)
        parse[target] = later if lazily else _done(later())
    items = _items(content.pop("items.parquet"), folder, n=card["n"])
    vectors: Mapping[Target, Vectors] = _Sides(
        {t: partial(_fitting, t, parse[t], folder, items) for t in parse}
    )
    if not lazily:
        vectors = dict(vectors)
    files = card["files"]
    traces = _traces(content.pop(TRACES), folder, n=card["n"]) if TRACES in files else None
    fast = _fast(content.pop(CELLS), folder, card, vectors) if CELLS in files else {}
    logger.info("opened index of %d items with dimension %d", card["n"], card["dim"])
    return GalleryIndex(folder, items, card, vectors, fast, traces)


def _fast(
    content: Content, folder: Place, card: Mapping[str, Any], vectors: Mapping[Target, Vectors]
) -> dict[Target, FastSearch]:
    """The fast searches whose cells fit the vectors and the card."""
    from safetensors.numpy import load

    from echoing_core.retrieve.cells import FastSearch

    try:
        arrays = load(bytes(content))
        found: dict[Target, FastSearch] = {}
        for target, facts in dict(card[FAST_SEARCH]).items():
            if facts is None:
                continue
            centroids, cell_of = arrays[f"{target}.centroids"], arrays[f"{target}.cell_of"]
            of_side = vectors[target]
            n_probed = facts["n_probed"]
            if (
                centroids.shape != (len(centroids), card["dim"] + 1)
                or centroids.dtype != np.float32
                or not np.isfinite(centroids).all()
                or cell_of.shape != (len(of_side),)
                or cell_of.dtype != np.int32
                or not (cell_of.min() >= 0 and cell_of.max() < len(centroids))
                or type(n_probed) is not int
                or not 1 <= n_probed <= len(centroids)
            ):
                raise ValueError(f"cells of {target}")
            found[target] = FastSearch(of_side, centroids, cell_of, n_probed)
    except Exception as error:
        raise IndexMismatchError(
            f"{CELLS} in {folder} does not fit the vectors of its index. Build the index again."
        ) from error
    return found


def _items(content: Content, folder: Place, *, n: int) -> pd.DataFrame:
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


def _unusable(folder: Place, problem: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"items.parquet in {folder} cannot be used: {problem}. Build the index again."
    )


def _traces(content: Content, folder: Place, *, n: int) -> npt.NDArray[np.int16]:
    wanted = (n, *_TRACE_SHAPE)
    try:
        # Mapped over the bytes at hand: what a header claims takes no memory.
        stream = io.BytesIO(content[:_MAX_HEADER])
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


def _fits(vectors: npt.NDArray[np.float32], uncertainty: npt.NDArray[np.floating]) -> bool:
    # float32 of a square root and its square: equal to about 1e-7, and 1e-4 leaves room.
    stored = vectors[:, -1].astype(np.float64) ** 2
    return bool(np.allclose(stored, uncertainty, rtol=1e-4, atol=1e-9))


def _problem_with_items(items: pd.DataFrame) -> str | None:
    """What is wrong with the table, as the end of a sentence, or None."""
    missing = [name for name in COLUMNS if name not in items.columns]
    if missing:
        return f"the columns {missing} are missing"
    known = {**COLUMNS, **dict.fromkeys({ORIGINAL, TRANSLATED} & set(items.columns), "O")}
    extra = [c for c in items.columns if c not in known and not str(c).startswith("label_")]
    if extra:
        return f"the columns {extra} are neither standard nor labels"
    for name, kind in known.items():
        if items[name].dtype.kind != kind:
            return f"the column {name!r} has type {items[name].dtype}"
        if items[name].isna().any():
            return f"the column {name!r} has gaps"
    if items["item_id"].duplicated().any():
        return "item_id repeats"
    return None


def _parse(content: Content, path: Place, *, n: int, dim: int) -> Vectors:
    """What a flat L2 index of exactly this size holds, or an IndexMismatchError."""
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
    # Where they lie: a copy of a large index would be as large.
    rows = faiss.rev_swig_ptr(index.get_xb(), n * dim).reshape(n, dim)
    return Vectors(rows, owner=index)
