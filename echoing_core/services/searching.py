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
from echoing_core.metrics import distances
from echoing_core.records import LEADS, GaussianEmbedding, Hit, Recording, StandardEcg
from echoing_core.services.models import Model, load_index
from echoing_core.services.windows import window_embedding
from echoing_core.signals import standardise
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
# Rows of a table of distances that are in memory together, against every item.
_ROWS_PER_TABLE = 100


def search(
    index: GalleryIndex,
    model: Model,
    query: str | Recording | StandardEcg | Explanation,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
    unique_reports: bool = False,
) -> list[Hit]:
    """Nearest ECGs or reports to a text or to a window of a recording.

    Parameters
    ----------
    index : GalleryIndex
        From `load_index`.
    model : Model
        That the index was built with.
    query : str, Recording, StandardEcg or Explanation
    k : int
    order : {"csd", "cosine"}
        Exact closed-form sampled distance, or cosine of the means.
    target : {"ecg", "report"}
    where : ItemFilter, optional
        Applied before the nearest ``k`` are taken.
    start_s : float, optional
        Start of the window of a recording; without, the one with the lowest sigma^2.
    vcg_method : str
        As in `explain`.
    unique_reports : bool
        Show each report text once, at its nearest item.

    Returns
    -------
    list of Hit
        Nearest first.

    Raises
    ------
    ConfigError
        The text is empty, or a setting is impossible.
    SignalQualityError
        There is no window at ``start_s``.
    """
    from echoing_core.retrieve.search import search_gallery

    return search_gallery(
        index,
        query_embedding(model, query, start_s, vcg_method),
        k=k,
        order=order,
        target=target,
        where=where,
        unique_reports=unique_reports,
    )


def query_embedding(
    model: Model,
    query: str | Recording | StandardEcg | Explanation,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
) -> GaussianEmbedding:
    """A text, or a window of a recording, as something to search with.

    Parameters
    ----------
    model : Model
    query : str, Recording, StandardEcg or Explanation
    start_s, vcg_method
        Of a recording, see `window_embedding`.

    Returns
    -------
    GaussianEmbedding, one row

    Raises
    ------
    ConfigError
        The text is empty.
    SignalQualityError
        There is no window at ``start_s``.
    """
    from echoing_core.embed.encode import encode_texts

    if not isinstance(query, str):
        return window_embedding(model, query, start_s, vcg_method)
    if not query.strip():
        raise ConfigError("The search text is empty. Type what to look for.")
    return encode_texts(model.checkpoint, [query])


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
        # Measured when first needed, and kept: an opened index never changes.
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

        Parameters
        ----------
        item_id : str

        Returns
        -------
        int

        Raises
        ------
        ConfigError
            There is no such item.
        """
        return _row_of(self.index, item_id)

    def gaussian(self, item_id: str) -> GaussianEmbedding:
        """The ECG of an item as something to search with.

        Parameters
        ----------
        item_id : str

        Returns
        -------
        GaussianEmbedding, one row
            Its sigma^2 is spread evenly, see `GalleryIndex.gaussians`.

        Raises
        ------
        ConfigError
            There is no such item.
        """
        return self.index.gaussians("ecg", np.array([self.row(item_id)]))

    def yardstick(self, order: str, *, pairs: bool) -> Floats:
        """Distances that a new one is held against, ascending; empty where there are none.

        Of a large collection, of 1000 items spread evenly over it.

        Parameters
        ----------
        order : {"csd", "cosine"}
        pairs : bool
            Distances between the ECG and the report of one item: what belongs together. Otherwise
            those between the ECG of an item and its nearest other one, of another patient.

        Returns
        -------
        ndarray of float64, shape (n_distances,)
        """
        key = (order, pairs)
        if key not in self._yardsticks:
            self._yardsticks[key] = self._measure(order, pairs)
        return self._yardsticks[key]

    def _measure(self, order: str, pairs: bool) -> Floats:
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
            # Row i of both sides is one item, so pairs stand on the diagonal.
            return np.sort(np.diagonal(_distances(ecg[rows], text, order)))
        patients = self.index.items["patient_id"].to_numpy()
        nearest = []
        for some in np.array_split(rows, max(rows.size // _ROWS_PER_TABLE, 1)):
            apart = _distances(ecg[some], ecg, order)
            # Of the same patient, the item itself included: such ECGs are alike for another reason.
            apart[patients[some][:, None] == patients[None, :]] = np.inf
            nearest.append(apart.min(axis=1))
        smallest = np.concatenate(nearest)
        # A patient who is alone in the collection has no neighbour.
        return np.sort(smallest[np.isfinite(smallest)])

    def search(
        self,
        query: GaussianEmbedding,
        k: int = 10,
        *,
        order: str = "csd",
        target: str = "ecg",
        where: ItemFilter | None = None,
        from_text: bool = False,
    ) -> Search:
        """The nearest items, as the function `search` finds them, and what their distances mean.

        Parameters
        ----------
        query : GaussianEmbedding, one row
            From `query_embedding` or `gaussian`.
        k, order, target, where
            As in `search`.
        from_text : bool
            The query is a text. A text and an ECG, or an ECG and a report, are held against how
            far an ECG is from its own report; an ECG and an ECG against how far one is from its
            nearest neighbour.

        Returns
        -------
        Search

        Raises
        ------
        ConfigError
            A setting is impossible, or reports are wanted of a collection that has none.
        """
        from echoing_core.retrieve.search import search_gallery

        index = self.index
        if target == "report" and not self.has_reports:
            raise ConfigError(
                "This collection has no reports to search in. Search for ECGs, or choose another "
                "collection."
            )
        hits = search_gallery(index, query, k=k, order=order, target=target, where=where)
        side: Literal["ecg", "report"] = "report" if target == "report" else "ecg"
        apart = _distances(query, index.gaussians(side), order)[0]
        comparable = np.ones(len(index), dtype=bool)
        if side == "report":
            comparable = (index.items["report"].str.strip() != "").to_numpy()
        # Where there is no report stands a place holder, whose distance says nothing.
        apart[~comparable] = np.nan
        # Distances are to all items, since ranks are in the whole collection; the filter is for
        # hits.
        passing = comparable.copy()
        if where is not None:
            passing &= np.isin(np.arange(len(index)), where.rows(index.items))
        by_pairs = from_text or side == "report"
        return Search(
            hits=tuple(hits),
            query=query,
            order=order,
            target=target,
            n_passing=int(passing.sum()),
            n_compared=int(comparable.sum()),
            distances=apart,
            # Text and ECG never come as near as ECGs do, so each kind of search has a scale of its
            # own.
            yardstick=self.yardstick(order, pairs=by_pairs),
            by_pairs=by_pairs,
        )

    def as_hit(self, search: Search, item_id: str) -> Hit:
        """Any item as a hit of a search, with its place in the whole collection.

        Parameters
        ----------
        search : Search
            In this collection.
        item_id : str

        Returns
        -------
        Hit
            Of rank 0 where there is nothing to compare with.

        Raises
        ------
        ConfigError
            There is no such item.
        """
        from echoing_core.retrieve.search import hit_of

        row = self.row(item_id)
        distance = float(search.distances[row])
        return hit_of(self.index.items, row, distance, search.rank(row) or 0, search.order)


@dataclass(frozen=True, eq=False)
class Search:
    """Hits of a search, and what its distances mean.

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
        """Per cent of the whole collection that lies farther from the query.

        Parameters
        ----------
        distance : float

        Returns
        -------
        float
            0..100.
        """
        there = self.distances[np.isfinite(self.distances)]
        return 100.0 * float((there > distance).mean()) if there.size else 0.0

    def closer_than_known_pct(self, distance: float) -> float | None:
        """Per cent of the yardstick's distances that are larger; None without a yardstick.

        Parameters
        ----------
        distance : float

        Returns
        -------
        float, 0..100, or None
        """
        if not self.yardstick.size:
            return None
        return 100.0 * float((self.yardstick > distance).mean())

    def rank(self, row: int) -> int | None:
        """Which place an item takes in the whole collection; None where it has none.

        Parameters
        ----------
        row : int
            Of the item in the collection.

        Returns
        -------
        int, from 1, or None
            Items at the same distance share the better place.
        """
        own = self.distances[row]
        if not np.isfinite(own):
            return None
        return 1 + int((self.distances < own).sum())


def index_folders() -> list[Path]:
    """Folders that whoever started the app named in ``ECHOING_INDEX``."""
    return [Path(p) for p in os.environ.get(INDEX_VARIABLE, "").split(os.pathsep) if p.strip()]


def shipped_collection(model: Model) -> Collection:
    """The index that ships with the project.

    Parameters
    ----------
    model : Model
        That is used to search.

    Returns
    -------
    Collection

    Raises
    ------
    IndexMismatchError
        It is damaged or was built with another model.
    """
    return Collection("Demo collection", load_index(model=model), "shipped")


def folder_collection(folder: str | os.PathLike[str], model: Model) -> Collection:
    """An index folder on this machine; see `load_index`.

    Parameters
    ----------
    folder : path
    model : Model
        That is used to search.

    Returns
    -------
    Collection

    Raises
    ------
    IndexMismatchError
        It is damaged or was built with another model.
    """
    index = load_index(folder, model)
    return Collection(str(index.card.get("name") or Path(folder).name)[:80], index, "folder")


def _is_flag(column: pd.Series[Any]) -> bool:
    # Yes or no comes as bool, or as 0, 1 and NaN where some are not known.
    if column.dtype == bool:
        return True
    return column.dtype.kind == "f" and bool(column.dropna().isin([0.0, 1.0]).all())


def _row_of(index: GalleryIndex, item_id: str) -> int:
    rows = np.flatnonzero((index.items["item_id"] == item_id).to_numpy())
    if not rows.size:
        raise ConfigError(f"The collection has no item {item_id}. Search again.")
    return int(rows[0])


def _distances(queries: GaussianEmbedding, items: GaussianEmbedding, order: str) -> Floats:
    """CSD, or 1 - cosine, of each query to each item, shape (n_queries, n_items)."""
    if order == "cosine":
        # A distance, so that smaller is nearer in both orders.
        return 1.0 - distances.cosine(queries.mu, items.mu).astype(np.float64)
    apart = distances.csd(queries.mu, queries.log_var, items.mu, items.log_var)
    return apart.astype(np.float64)


def draw_item(index: GalleryIndex, item_id: str) -> StandardEcg:
    """The trace of an index item: as the index holds it, or simulated again from its seed and id.

    Parameters
    ----------
    index : GalleryIndex
    item_id : str

    Returns
    -------
    StandardEcg

    Raises
    ------
    ConfigError
        There is no such item, or it is a real recording of which the index holds no trace.
    """
    from echoing_core.retrieve.index import GAP
    from echoing_core.simulate import redraw

    row = _row_of(index, item_id)
    item = index.items.iloc[row]
    # A stored trace is what was embedded; only simulated items without one can be drawn again.
    if index.traces is not None:
        microvolts = index.traces[row]
        valid = microvolts != GAP
        return StandardEcg(
            # From microvolts to mV; gaps are 0 and marked as not valid.
            signal_mv=np.where(valid, microvolts / 1000.0, 0.0).astype(np.float32),
            valid=valid,
            lead_origin=_lead_origins(index, row, valid),
            derivation="as its collection says",
            record_id=str(item["record_id"]),
            simulated=bool(item["simulated"]),
        )
    if not bool(item["simulated"]):
        raise ConfigError(f"Item {item_id} is a real recording; the index holds no trace of it.")
    return standardise(redraw(str(item["record_id"])).recording_12)


def _lead_origins(
    index: GalleryIndex, row: int, valid: npt.NDArray[np.bool_]
) -> tuple[Literal["measured", "derived", "missing"], ...]:
    """Where the leads of a stored trace come from, as far as the card says it."""
    of_items = index.card.get("lead_origins")
    # A card may be of anybody: what does not fit is taken for measured.
    letters = of_items[row] if isinstance(of_items, list) and len(of_items) == len(index) else ""
    if not isinstance(letters, str) or len(letters) != len(LEADS):
        letters = "m" * len(LEADS)
    return tuple(
        "missing" if not there else ("derived" if letter == "d" else "measured")
        for letter, there in zip(letters, np.atleast_1d(valid.any(axis=1)), strict=True)
    )
