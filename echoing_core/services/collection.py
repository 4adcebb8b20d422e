"""Collections that are searched, and searches whose distances can be read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.export.track import Explanation
from echoing_core.records import GaussianEmbedding, Hit
from echoing_core.services.recordings import Model, _one_window, load_index
from echoing_core.signals.leads import DEFAULT_VCG_METHOD

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.retrieve.projection import Projection
    from echoing_core.retrieve.search import ItemFilter

Floats = npt.NDArray[np.float64]
Origin = Literal["shipped", "folder", "upload", "built"]

INDEX_VARIABLE = "ECHOING_INDEX"
"""Environment variable with index folders that the app offers beside the shipped one."""

_MOST_COMPARED = 1000


class Collection:
    """An opened index with what is computed of it once: its map and what its distances mean.

    Parameters
    ----------
    name : str
        As a person reads it.
    index : GalleryIndex
    origin : {"shipped", "folder", "upload", "built"}
    """

    def __init__(self, name: str, index: GalleryIndex, origin: Origin) -> None:
        self.name = name
        self.index = index
        self.origin = origin
        self._yardsticks: dict[tuple[str, bool], Floats] = {}

    def __len__(self) -> int:
        return len(self.index)

    @property
    def simulated(self) -> bool:
        """Whether nothing in it was measured on a person."""
        return bool(self.index.items["simulated"].all())

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.index.items["source"].astype(str))))

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the labels that are yes or no; of some items it may not be known which."""
        items = self.index.items
        return tuple(n for n in self.index.label_names if _is_flag(items[f"label_{n}"]))

    @cached_property
    def has_reports(self) -> bool:
        return bool((self.index.items["report"].str.strip() != "").any())

    @cached_property
    def map(self) -> Projection:
        """The map of the items' ECGs."""
        from echoing_core.retrieve.projection import project

        return project(self.index.gaussians("ecg").mu)

    def row(self, item_id: str) -> int:
        """Number of the row of an item.

        Raises
        ------
        ConfigError
            There is no such item.
        """
        rows = np.flatnonzero((self.index.items["item_id"] == item_id).to_numpy())
        if not rows.size:
            raise ConfigError(f"The collection has no item {item_id}. Search again.")
        return int(rows[0])

    def gaussian(self, item_id: str) -> GaussianEmbedding:
        """The ECG of an item as something to search with."""
        return self.index.gaussians("ecg", np.array([self.row(item_id)]))

    def yardstick(self, order: str, *, pairs: bool) -> Floats:
        """Distances that a new one is held against, ascending; empty where there are none.

        With ``pairs``, those between the ECG and the report of one item: what belongs together.
        Otherwise, those between the ECG of an item and its nearest other one, of another
        patient. Of a large collection, of 1000 items spread evenly over it.
        """
        key = (order, pairs)
        if key not in self._yardsticks:
            self._yardsticks[key] = self._measured(order, pairs)
        return self._yardsticks[key]

    def _measured(self, order: str, pairs: bool) -> Floats:
        ecg = self.index.gaussians("ecg")
        rows = np.arange(len(self))
        if pairs:
            rows = np.flatnonzero((self.index.items["report"].str.strip() != "").to_numpy())
        if rows.size > _MOST_COMPARED:
            rows = rows[np.linspace(0, rows.size - 1, _MOST_COMPARED).astype(int)]
        if not rows.size or (not pairs and len(self) < 2):
            return np.empty(0)
        if pairs:
            text = self.index.gaussians("report", rows)
            mine = ecg[rows]
            return np.sort(_row_by_row(mine, text, order))
        patients = self.index.items["patient_id"].to_numpy()
        nearest = []
        for some in np.array_split(rows, max(rows.size // 100, 1)):
            apart = _table(ecg[some], ecg, order)
            apart[patients[some][:, None] == patients[None, :]] = np.inf
            nearest.append(apart.min(axis=1))
        found = np.concatenate(nearest)
        return np.sort(found[np.isfinite(found)])


def _is_flag(column: pd.Series[Any]) -> bool:
    if column.dtype == bool:
        return True
    return column.dtype.kind == "f" and bool(column.dropna().isin([0.0, 1.0]).all())


def distances(query: GaussianEmbedding, items: GaussianEmbedding, order: str) -> Floats:
    """From one query to each item: CSD, or 1 - cosine, as a search counts it."""
    return np.asarray(_table(query, items, order)[0])


def _table(queries: GaussianEmbedding, items: GaussianEmbedding, order: str) -> Floats:
    """Distances of each query to each item, shape (n_queries, n_items)."""
    dot = (queries.mu @ items.mu.T).astype(np.float64)
    own = np.square(queries.mu, dtype=np.float64).sum(axis=1)[:, None]
    theirs = np.square(items.mu, dtype=np.float64).sum(axis=1)[None, :]
    if order == "cosine":
        return np.asarray(1.0 - dot / np.maximum(np.sqrt(own * theirs), 1e-12))
    apart = np.maximum(own + theirs - 2 * dot, 0.0)
    return np.asarray(apart + queries.uncertainty[:, None] + items.uncertainty[None, :])


def _row_by_row(one: GaussianEmbedding, other: GaussianEmbedding, order: str) -> Floats:
    a, b = one.mu.astype(np.float64), other.mu.astype(np.float64)
    if order == "cosine":
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return np.asarray(1.0 - (a * b).sum(axis=1) / np.maximum(norms, 1e-12))
    return np.asarray(((a - b) ** 2).sum(axis=1) + one.uncertainty + other.uncertainty)


@dataclass(frozen=True, eq=False)
class Search:
    """What a search found, and what its distances mean.

    Attributes
    ----------
    hits : tuple of Hit
    query : GaussianEmbedding, one row
    order, target : str
    n_passing : int
        Items that passed the filter.
    n_compared : int
        Items that could have been found without it.
    distances : ndarray, shape (n,)
        To every item of the collection; NaN where there is nothing to compare with.
    yardstick : ndarray
        See `Collection.yardstick`.
    by_pairs : bool
        Whether the yardstick is that of ECGs and their own reports.
    """

    hits: tuple[Hit, ...]
    query: GaussianEmbedding
    order: str
    target: str
    n_passing: int
    n_compared: int
    distances: Floats
    yardstick: Floats
    by_pairs: bool

    def nearer_than_pct(self, distance: float) -> float:
        """Per cent of the whole collection that lies farther from the query."""
        there = self.distances[np.isfinite(self.distances)]
        return 100.0 * float((there > distance).mean()) if there.size else 0.0

    def closer_than_known_pct(self, distance: float) -> float | None:
        """Per cent of the yardstick's distances that are larger; None without a yardstick."""
        if not self.yardstick.size:
            return None
        return 100.0 * float((self.yardstick > distance).mean())

    def rank(self, row: int) -> int | None:
        """Which place an item takes in the whole collection; None where it has none."""
        own = self.distances[row]
        if not np.isfinite(own):
            return None
        return 1 + int((self.distances < own).sum())


def index_folders() -> list[Path]:
    """Folders that whoever started the app named in ``ECHOING_INDEX``."""
    return [Path(p) for p in os.environ.get(INDEX_VARIABLE, "").split(os.pathsep) if p.strip()]


def shipped_collection(model: Model) -> Collection:
    """The index that ships with the project.

    Raises
    ------
    IndexMismatchError
        It is damaged or was built with another model.
    """
    return Collection("Demo collection", load_index(model=model), "shipped")


def folder_collection(folder: str | os.PathLike[str], model: Model) -> Collection:
    """An index folder on this machine; see `load_index`."""
    index = load_index(folder, model)
    return Collection(str(index.card.get("name") or Path(folder).name)[:80], index, "folder")


def query_embedding(
    model: Model, query: str | Explanation, start_s: float | None = None
) -> GaussianEmbedding:
    """A text, or a window of a recording, as something to search with (one row).

    Raises
    ------
    ConfigError
        The text is empty.
    SignalQualityError
        There is no window at ``start_s``.
    """
    from echoing_core.embed.encode import encode_texts

    if isinstance(query, str):
        if not query.strip():
            raise ConfigError("The search text is empty. Type what to look for.")
        return encode_texts(model.checkpoint, [query])
    return _one_window(model, query, start_s, DEFAULT_VCG_METHOD)[0]


def find(
    collection: Collection,
    query: GaussianEmbedding,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    from_text: bool = False,
) -> Search:
    """The nearest items of a collection, and what their distances mean.

    Parameters
    ----------
    query : GaussianEmbedding, one row
        From `query_embedding` or `Collection.gaussian`.
    from_text : bool
        The query is a text. A text and an ECG, or an ECG and a report, are held against how far
        an ECG is from its own report; an ECG and an ECG against how far one is from its nearest
        neighbour.

    Raises
    ------
    ConfigError
        A setting is impossible, or reports are wanted of a collection that has none.
    """
    from echoing_core.retrieve.search import search_gallery

    index = collection.index
    if target == "report" and not collection.has_reports:
        raise ConfigError(
            "This collection has no reports to search in. Search for ECGs, or choose another "
            "collection."
        )
    hits = search_gallery(index, query, k=k, order=order, target=target, where=where)
    side: Literal["ecg", "report"] = "report" if target == "report" else "ecg"
    apart = distances(query, index.gaussians(side), order)
    comparable = np.ones(len(index), dtype=bool)
    if side == "report":
        comparable = (index.items["report"].str.strip() != "").to_numpy()
    apart[~comparable] = np.nan
    passing = comparable if where is None else _passing(where, index, comparable)
    by_pairs = from_text or side == "report"
    return Search(
        hits=tuple(hits),
        query=query,
        order=order,
        target=target,
        n_passing=int(passing.sum()),
        n_compared=int(comparable.sum()),
        distances=apart,
        yardstick=collection.yardstick(order, pairs=by_pairs),
        by_pairs=by_pairs,
    )


def _passing(
    where: ItemFilter, index: GalleryIndex, comparable: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    rows = np.zeros(len(index), dtype=bool)
    rows[where.rows(index.items)] = True
    return rows & comparable


def item_hit(collection: Collection, found: Search, item_id: str) -> Hit:
    """Any item of the collection as a hit of this search, with its place in the whole of it."""
    from echoing_core.retrieve.search import hit_of

    row = collection.row(item_id)
    apart = float(found.distances[row])
    return hit_of(collection.index.items, row, apart, found.rank(row) or 0, found.order)
