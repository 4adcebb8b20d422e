"""Collections that are searched, and searches whose distances can be read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.export.collection_table import TEXTS, collection_csv
from echoing_core.export.track import Explanation
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, GaussianEmbedding, Hit, Recording, StandardEcg
from echoing_core.services.given import check_given
from echoing_core.services.models import (
    DEFAULT_MODEL,
    INDEX_VARIABLE,
    Model,
    index_place,
    indexes_folder,
    load_index,
    prompt_sets,
)
from echoing_core.services.selecting import Tally, tally
from echoing_core.services.windows import window_embedding
from echoing_core.signals import standardise
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.stores import StorePath

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.reports.stated import Stated
    from echoing_core.reports.understanding import AskedFinding
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.retrieve.projection import Projection
    from echoing_core.retrieve.scale import ReferenceDistances
    from echoing_core.retrieve.search import ItemFilter

Floats = npt.NDArray[np.float64]
Origin = Literal["shipped", "folder", "upload", "built"]

_WORD = re.compile(r"[^\W_]+")


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


def reference_distances(model: Model) -> ReferenceDistances | None:
    """What distances of a model mean, as its folder has it; None where it was not measured.

    Parameters
    ----------
    model : Model

    Returns
    -------
    ReferenceDistances or None

    Raises
    ------
    CheckpointError
        The document cannot be used.
    """
    from echoing_core.retrieve.scale import ReferenceDistances

    document = model.checkpoint.measured.get("distances")
    return None if document is None else ReferenceDistances.from_dict(document)


def measure_distances(
    model: Model,
    *,
    n_patients: int = 900,
    folder: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> ReferenceDistances:
    """Measure what distances of a model mean, on simulated patients that no training saw.

    Parameters
    ----------
    model : Model
    n_patients : int
        To simulate; 900 take some two minutes.
    folder : path, optional
        Model folder into which ``distances.json`` is written.
    progress : Progress, optional
        Counts simulated patients.

    Returns
    -------
    ReferenceDistances
    """
    model.checkpoint.require_text()
    from echoing_core.evaluate.shipped.distances import measure_distances as measure
    from echoing_core.models.checkpoint import update_documents

    measured = measure(model.checkpoint, prompt_sets(), n_patients=n_patients, progress=progress)
    if folder is not None:
        update_documents(
            Path(folder), measured={"distances": measured.to_dict()}, sigma2=model.sigma2
        )
    return measured


def pair_rows(measured: ReferenceDistances) -> list[tuple[str, tuple[float, float, float]]]:
    """CSD of each kind of reference pairs: what they are; 5 % quantile, median, 95 % quantile.

    Parameters
    ----------
    measured : ReferenceDistances
    """
    from echoing_core.retrieve.scale import LEVELS_PCT, PAIRS

    places = [LEVELS_PCT.index(level) for level in (5, 50, 95)]
    rows = []
    for kind, words in PAIRS.items():
        quantiles = measured.pairs.get(("csd", kind))
        if quantiles is not None:
            low, middle, high = (quantiles[place] for place in places)
            rows.append((words, (low, middle, high)))
    return rows


def plain_words(text: str) -> str:
    """The words of a text alone, with one space before and after each.

    One text is then found in another only as whole words.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
    """
    from echoing_core.reports.lexicon import folded

    return f" {' '.join(_WORD.findall(folded(text)))} "


@dataclass(frozen=True)
class Item:
    """What a page tells of an item of a collection besides what a hit says.

    Attributes
    ----------
    row : int
        In the collection.
    record_id, source : str
    simulated : bool
    original, translated : str
        Its report as it was written, and the English translation; empty where the collection does
        not have them.
    """

    row: int
    record_id: str
    source: str
    simulated: bool
    original: str
    translated: str


@dataclass(frozen=True, eq=False)
class Dots:
    """Items of a collection on its map.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        In the collection, ascending.
    items : DataFrame, n rows
    xy : ndarray, shape (n, 2)
    plane : Projection
    """

    rows: npt.NDArray[np.int64]
    items: pd.DataFrame
    xy: Floats
    plane: Projection

    def passing(self, where: ItemFilter) -> npt.NDArray[np.bool_]:
        """Which of them pass a filter, shape (n,).

        Parameters
        ----------
        where : ItemFilter
        """
        passing = np.zeros(len(self.rows), dtype=bool)
        passing[where.of_rows(self.rows, self.items).rows(self.items)] = True
        return passing


class Collection:
    """An opened index with what is computed of it once: its map and what its reports state.

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
        # Kept, as an opened index never changes.
        self._answers: dict[AskedFinding, tuple[npt.NDArray[np.int8], tuple[str, ...]]] = {}

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
    def dim(self) -> int:
        return self.index.dim

    @property
    def model_hash(self) -> str:
        """Of the model that embedded it."""
        return str(self.index.card["checkpoint_hash"])

    @cached_property
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

        # A view: `gaussians` would copy them.
        return project(self.index.vectors("ecg").rows[:, :-1])

    def rows_inside(self, polygon: Sequence[tuple[float, float]]) -> tuple[int, ...]:
        """Rows of the items that lie in an area of the map.

        Parameters
        ----------
        polygon : sequence of (float, float)
            Its corners, in the units of `map`.

        Returns
        -------
        tuple of int
        """
        from echoing_core.retrieve.projection import inside

        return tuple(int(row) for row in inside(polygon, self.map.xy))

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
        try:
            return self._rows[item_id]
        except KeyError:
            raise no_item(item_id) from None

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {item_id: row for row, item_id in enumerate(self.index.items["item_id"])}

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """What a page tells of some items besides what hits say.

        Parameters
        ----------
        item_ids : sequence of str

        Returns
        -------
        dict of str to Item

        Raises
        ------
        ConfigError
            There is no such item.
        """
        return {one: self._item(self.row(one)) for one in item_ids}

    def _item(self, row: int) -> Item:
        from echoing_core.retrieve.index import ORIGINAL, TRANSLATED

        items = self.index.items
        original, translated = (
            str(items[column].iloc[row]).strip() if column in items.columns else ""
            for column in (ORIGINAL, TRANSLATED)
        )
        return Item(
            row,
            str(items["record_id"].iloc[row]),
            str(items["source"].iloc[row]),
            bool(items["simulated"].iloc[row]),
            original,
            translated,
        )

    def item_id(self, row: int) -> str:
        """The item of a row."""
        return str(self.index.items["item_id"].iloc[row])

    def draw(self, item_id: str) -> StandardEcg:
        """The trace of an item, see `draw_item`."""
        return draw_item(self.index, item_id)

    @cached_property
    def everything(self) -> Tally:
        """All items, counted by what is yes or no."""
        return tally(self.index.items, self.flags, digests=True)

    def tally(self, where: ItemFilter, names: Sequence[str]) -> Tally:
        """The items that pass a filter, counted.

        Parameters
        ----------
        where : ItemFilter
        names : sequence of str
            Of `flags`.

        Returns
        -------
        Tally
        """
        return tally(self.index.items, names, where.rows(self.index.items))

    def table(self, where: ItemFilter) -> str:
        """The items that pass a filter as CSV, see `export.collection_table`.

        Parameters
        ----------
        where : ItemFilter

        Returns
        -------
        str
        """
        return collection_csv(
            self.index.items,
            self.map.xy,
            where.rows(self.index.items),
            self.model_hash,
            self.index.label_names,
            self.texts,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Its columns of texts."""
        return tuple(name for name in TEXTS if name in self.index.items.columns)

    def dots(self, item_ids: Sequence[str] = ()) -> Dots:
        """Items to be drawn on the map: all of this collection.

        Parameters
        ----------
        item_ids : sequence of str
            That must be among them.

        Returns
        -------
        Dots
        """
        return Dots(np.arange(len(self)), self.index.items, self.map.xy, self.map)

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

    @cached_property
    def stated(self) -> tuple[tuple[Stated, Stated], ...]:
        """What the report of each item states, and what its labels do."""
        from echoing_core.reports.stated import read_labels, read_report

        items = self.index.items
        names = [n for n in self.index.label_names if n in self.flags or n == "lvef_pct"]
        columns = [items[f"label_{name}"].tolist() for name in names]
        values = zip(*columns, strict=True) if columns else ((),) * len(items)
        return tuple(
            (read_report(str(report)), read_labels(dict(zip(names, row, strict=True))))
            for report, row in zip(items["report"], values, strict=True)
        )

    @cached_property
    def report_words(self) -> tuple[str, ...]:
        """The report of each item as `plain_words`."""
        return tuple(plain_words(str(report)) for report in self.index.items["report"])

    def answers(self, asked: AskedFinding) -> tuple[npt.NDArray[np.int8], tuple[str, ...]]:
        """What the items' reports and labels say to a question.

        Parameters
        ----------
        asked : AskedFinding

        Returns
        -------
        so : ndarray of int8, shape (n,)
            1 where it is said to be so, -1 where the opposite is said, 0 where nothing is.
        words : tuple of str
            That say so, of each item; empty where nothing is said.
        """
        if asked not in self._answers:
            # A label counts where the report says nothing.
            said = [
                answer
                if (answer := report.answers(asked))[0] is not None
                else labels.answers(asked)
                for report, labels in self.stated
            ]
            so = np.array([0 if s is None else (1 if s else -1) for s, _ in said], dtype=np.int8)
            self._answers[asked] = so, tuple(words for _, words in said)
        return self._answers[asked]

    def search(
        self,
        query: GaussianEmbedding,
        k: int = 10,
        *,
        order: str = "csd",
        target: str = "ecg",
        where: ItemFilter | None = None,
        unique_reports: bool = False,
        from_text: bool = False,
        scale: ReferenceDistances | None = None,
    ) -> Search:
        """The items nearest to a Gaussian, what their distances mean, and those of all items.

        Parameters
        ----------
        query : GaussianEmbedding, one row
            From `query_embedding` or `gaussian`.
        k, order, target, where, unique_reports
            As in `search`.
        from_text : bool
            The query is a text. A text and an ECG, or an ECG and a report, are held against how
            far an ECG is from its own report; an ECG and an ECG against two of one patient.
        scale : ReferenceDistances, optional
            Of the model, see `reference_distances`; without it nothing is said of distances.

        Returns
        -------
        Search

        Raises
        ------
        ConfigError
            A setting is impossible, or reports are wanted of a collection that has none.
        """
        found = self.nearest(
            query,
            k,
            order=order,
            target=target,
            where=where,
            unique_reports=unique_reports,
            from_text=from_text,
            scale=scale,
        )
        # To all items, since ranks are in the whole collection; the filter is for hits.
        apart = self.distances(query, order, target)
        return Search(**vars(found), distances=apart, places=apart)

    def nearest(
        self,
        query: GaussianEmbedding,
        k: int = 10,
        *,
        order: str = "csd",
        target: str = "ecg",
        where: ItemFilter | None = None,
        unique_reports: bool = False,
        from_text: bool = False,
        scale: ReferenceDistances | None = None,
        exact: bool = True,
    ) -> Found:
        """As `search`, of the hits alone.

        Parameters
        ----------
        query, k, order, target, where, unique_reports, from_text, scale
            As in `search`.
        exact : bool
            Not by a fast search (`GalleryIndex.nearest`), which knows no ranks in the whole.

        Returns
        -------
        Found

        Raises
        ------
        ConfigError
            As `search`.
        """
        from echoing_core.retrieve.search import search_gallery

        comparable = self.comparable(target)
        hits = search_gallery(
            self.index,
            query,
            k=k,
            order=order,
            target=target,
            where=where,
            unique_reports=unique_reports,
            exact=exact,
        )
        passing = comparable
        if where is not None:
            passing = comparable & np.isin(np.arange(len(self)), where.rows(self.index.items))
        with_report = from_text or target == "report"
        close, far = closeness(scale, order, hits, with_report=with_report)
        return Found(
            hits=tuple(hits),
            query=query,
            order=order,
            target=target,
            n_passing=int(passing.sum()),
            n_compared=int(comparable.sum()),
            scale=scale,
            with_report=with_report,
            close=close,
            far=far,
        )

    def comparable(self, target: str) -> npt.NDArray[np.bool_]:
        """Which items have what a search compares with.

        Parameters
        ----------
        target : {"ecg", "report"}

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        ConfigError
            Reports are wanted, and there are none.
        """
        if target != "report":
            return np.ones(len(self), dtype=bool)
        if not self.has_reports:
            raise no_reports()
        return np.asarray((self.index.items["report"].str.strip() != "").to_numpy(), dtype=bool)

    def distances(self, query: GaussianEmbedding, order: str, target: str) -> Floats:
        """Distances of a Gaussian to every item; NaN where there is nothing to compare with.

        Parameters
        ----------
        query : GaussianEmbedding, one row
        order : {"csd", "cosine"}
        target : {"ecg", "report"}

        Returns
        -------
        ndarray, shape (n,)
        """
        side: Literal["ecg", "report"] = "report" if target == "report" else "ecg"
        by: Literal["csd", "cosine"] = "cosine" if order == "cosine" else "csd"
        apart = self.index.distances(query, order=by, target=side)
        # Where there is no report stands a place holder, whose distance says nothing.
        apart[~self.comparable(target)] = np.nan
        return apart

    def as_hit(self, search: Found, item_id: str) -> Hit:
        """Any item as a hit of a search, with its place in the whole collection.

        Parameters
        ----------
        search : Search
            In this collection; `Found` knows the hits alone.
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

        if not isinstance(search, Search):
            raise TypeError("only a Search knows where all items are")
        row = self.row(item_id)
        distance = float(search.distances[row])
        return hit_of(self.index.items, row, distance, search.rank(row) or 0, search.order)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """Hits of a search, and what their distances mean.

    Attributes
    ----------
    hits : tuple of Hit
    query : GaussianEmbedding, one row
    order, target : str
    n_passing : int
        Items that passed the filter.
    n_compared : int
        Items that could have been found without it.
    scale : ReferenceDistances or None
        Of the model.
    with_report : bool
        Whether distances are between an ECG and a text, or a text and a text.
    note : str
        Sentences that say how a text was read.
    as_it_stands : bool
        The text was not read but embedded as it is.
    reasons : tuple of str
        Why each of the hits is there; empty where its distance says it.
    close : bool or None
        Whether anything fits what was searched for; None where that cannot be said.
    far : str
        The sentence that nothing does.
    """

    hits: tuple[Hit, ...]
    query: GaussianEmbedding
    order: str
    target: str
    n_passing: int
    n_compared: int
    scale: ReferenceDistances | None = None
    with_report: bool = False
    note: str = ""
    as_it_stands: bool = False
    reasons: tuple[str, ...] = ()
    close: bool | None = None
    far: str = ""

    @property
    def by_fit(self) -> bool:
        """Whether hits stand in the order in which they fit the findings that were read.

        How an ECG looks and what its report says counts then; its distance to the words is another
        number, and says little.
        """
        return bool(self.reasons) and not self.as_it_stands

    def distance_words(self, distance: float) -> str:
        """What a distance means, in words; empty where the model's folder does not say.

        Parameters
        ----------
        distance : float

        Returns
        -------
        str
        """
        if self.scale is None:
            return ""
        return self.scale.words(self.order, distance, with_report=self.with_report)

    def nearness(self, distance: float) -> str:
        """A distance in one word: near, middling or far.

        Parameters
        ----------
        distance : float

        Returns
        -------
        str
            Empty where the model's folder does not say.
        """
        if self.scale is None:
            return ""
        return self.scale.nearness(self.order, distance, with_report=self.with_report)


@dataclass(frozen=True, eq=False, kw_only=True)
class Search(Found):
    """`Found`, with where every item of the collection is.

    Attributes
    ----------
    distances : ndarray, shape (n,)
        To every item of the collection; NaN where there is nothing to compare with.
    places : ndarray, shape (n,)
        By what the items are ranked, the smallest first: the distances, or what takes reports
        and questions into account too.
    """

    distances: Floats
    places: Floats

    def rank(self, row: int) -> int | None:
        """Which place an item takes in the whole collection; None where it has none.

        Parameters
        ----------
        row : int
            Of the item in the collection.

        Returns
        -------
        int, from 1, or None
            Items that are equally near share the better place.
        """
        own = self.places[row]
        if not np.isfinite(own):
            return None
        return 1 + int((self.places < own).sum())


def closeness(
    scale: ReferenceDistances | None, order: str, hits: Sequence[Hit], *, with_report: bool
) -> tuple[bool | None, str]:
    """Whether the nearest of the hits is near, and the sentence that it is not.

    Parameters
    ----------
    scale : ReferenceDistances or None
        Of the model; without it nothing can be said.
    order : {"csd", "cosine"}
    hits : sequence of Hit
    with_report : bool
        As in `Found`.

    Returns
    -------
    close : bool or None
    far : str
        Empty unless ``close`` is False.
    """
    if scale is None or not hits:
        return None, ""
    nearest = min(hit.distance for hit in hits)
    if not scale.is_far(order, nearest, with_report=with_report):
        return True, ""
    return False, _far(with_report)


def no_reports() -> ConfigError:
    """What is told where reports are wanted of a collection without any."""
    return ConfigError(
        "This collection has no reports to search in. Search for ECGs, or choose another "
        "collection."
    )


def _far(with_report: bool) -> str:
    together = "ECGs are from their own report" if with_report else "two ECGs of one patient are"
    return f"Nothing close: even the nearest is farther away than 95 % of {together}."


def index_folders() -> list[Path]:
    """Folders that whoever started the app named in ``ECHOING_INDEX``."""
    return [Path(p) for p in os.environ.get(INDEX_VARIABLE, "").split(os.pathsep) if p.strip()]


def shipped_index_fits(model: Model) -> bool:
    """Whether the index that `load_index` takes for a model was built with it.

    A model of one's own has none that ships. What is damaged is left to whoever opens it.

    Parameters
    ----------
    model : Model

    Returns
    -------
    bool
    """
    own = indexes_folder() / model.name
    folder = own if own.is_dir() else indexes_folder() / DEFAULT_MODEL
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        return bool(card["checkpoint_hash"] == model.hash)
    except (OSError, ValueError, KeyError, TypeError):
        return True


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


def folder_collection(folder: str | os.PathLike[str] | StorePath, model: Model) -> Collection:
    """An index that lies whole in a folder; see `load_index`.

    Parameters
    ----------
    folder : path or str
    model : Model
        That is used to search.

    Returns
    -------
    Collection

    Raises
    ------
    IndexMismatchError
        It is damaged, was built with another model, or lies in shards.
    """
    from echoing_core.retrieve.index import open_index

    path = index_place(folder)
    check_given(index=path)
    index = open_index(path, checkpoint_hash=model.hash)
    return Collection(str(index.card.get("name") or path.name)[:80], index, "folder")


def _is_flag(column: pd.Series[Any]) -> bool:
    # Yes or no comes as bool, or as 0, 1 and NaN where some are not known.
    if column.dtype == bool:
        return True
    return column.dtype.kind == "f" and bool(column.dropna().isin([0.0, 1.0]).all())


def _row_of(index: GalleryIndex, item_id: str) -> int:
    rows = np.flatnonzero((index.items["item_id"] == item_id).to_numpy())
    if not rows.size:
        raise no_item(item_id)
    return int(rows[0])


def no_item(item_id: str) -> ConfigError:
    """What is told where an item is not there."""
    return ConfigError(f"The collection has no item {item_id}. Search again.")


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
