"""Indexes in shards (`retrieve.shards`): asked one after the other, held by this process, or by a
Ray cluster.

What is searched for is read and embedded once, by whoever asks. Each shard judges its own items
exactly as a whole index would (`word_search.judge`), with no model, and sends its first hits; what
comes back is joined. So are counts, the map and tables. An answer is of all shards or there is
none.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import CARD
from echoing_core.errors import ConfigError
from echoing_core.export.collection_table import collection_csv
from echoing_core.records import GaussianEmbedding, Hit, StandardEcg
from echoing_core.services.given import check_given
from echoing_core.services.models import Model, index_place, load_index
from echoing_core.services.searching import (
    Collection,
    Dots,
    Found,
    Item,
    folder_collection,
    no_item,
)
from echoing_core.services.selecting import Tally, joined_tally, tally
from echoing_core.services.word_search import (
    Judged,
    Options,
    Request,
    ShardSearch,
    joined,
    judge,
    judge_all,
)
from echoing_core.stores import Place, StorePath
from echoing_core.workers import Held, HeldApart, Holding

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.retrieve.projection import Moments, Projection
    from echoing_core.retrieve.scale import ReferenceDistances
    from echoing_core.retrieve.search import ItemFilter
    from echoing_core.retrieve.shards import Shard

CLUSTER_VARIABLE = "ECHOING_CLUSTER"
"""Environment variable with the address of the Ray cluster that holds the app's indexes in shards;
without it the app holds them itself."""

NO_SHARDS_FOR_CLUSTER = (
    "--cluster is for an index in shards, and none is named. Leave it out, or build one with "
    "`echoing index build INDEX --embedded EMBEDDED --shards N`."
)
"""Why a cluster is refused."""

MOST_DOTS = 10_000
"""Items of an index in shards that are drawn on its map, besides hits; spread evenly over it."""

_MOST_KEPT = 1000


@dataclass(frozen=True)
class _Facts:
    """What a shard tells of itself once: its labels in order, those that are yes or no, texts."""

    label_names: tuple[str, ...]
    flags: tuple[str, ...]
    texts: tuple[str, ...]


class ShardHolder:
    """A shard, opened when it is first asked, and kept open.

    Rows that come and go are those of the whole index.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._opening = threading.Lock()
        self._opened: Collection | None = None
        self._map: tuple[bytes, npt.NDArray[np.float64]] | None = None

    @property
    def _collection(self) -> Collection:
        from echoing_core.retrieve.shards import open_shard

        # Two who ask at once do not open it twice.
        with self._opening:
            if self._opened is None:
                self._opened = Collection("", open_shard(self._shard), "folder")
            return self._opened

    @property
    def _rows(self) -> npt.NDArray[np.int64]:
        return self._shard.first + np.arange(self._shard.n)

    def _here(self, where: ItemFilter) -> ItemFilter:
        return where.of_rows(self._rows, self._collection.index.items)

    def open(self) -> int:
        """Open it, and tell how many items it has."""
        return len(self._collection)

    def judge(self, request: Request) -> Judged:
        """Its items for a request, as `word_search.judge`."""
        return self._judged(request, judge).alone

    def _judged(self, request: Request, judging: Callable[[Collection, Request], Judged]) -> Judged:
        collection, options = self._collection, request.options
        # Other shards may have reports; if none has, the one who asks will say so.
        if options.target == "report" and not collection.has_reports:
            return Judged(label_names=collection.index.label_names)
        if options.where is not None:
            request = replace(request, options=replace(options, where=self._here(options.where)))
        return replace(judging(collection, request), label_names=collection.index.label_names)

    def place(self, request: Request, item_id: str) -> tuple[Hit, float] | None:
        """An item as a hit of a request, and by what it is ranked; None where it is elsewhere."""
        from echoing_core.retrieve.search import hit_of

        try:
            row = self._collection.row(item_id)
        except ConfigError:
            return None
        found = self._judged(request, judge_all)
        # A shard without reports has no distance to any.
        apart, own = (
            (float(values[row]) if len(values) else np.nan)
            for values in (found.all_distances, found.all_places)
        )
        items = self._collection.index.items
        return hit_of(items, row, apart, 0, request.options.order), own

    def n_before(self, request: Request, place: float) -> int:
        """How many of its items are ranked before a place."""
        return int((self._judged(request, judge_all).all_places < place).sum())

    def facts(self) -> _Facts:
        """See `_Facts`."""
        collection = self._collection
        return _Facts(collection.index.label_names, collection.flags, collection.texts)

    def tally(self, where: ItemFilter | None, names: Sequence[str]) -> Tally:
        """Its items that pass a filter, counted; without one, all, with digests."""
        items = self._collection.index.items
        if where is None:
            return tally(items, names, digests=True)
        return tally(items, names, self._here(where).rows(items))

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """Those of the items that are here."""
        found = {}
        for item_id in item_ids:
            try:
                item = self._collection.items([item_id])[item_id]
            except ConfigError:
                continue
            found[item_id] = replace(item, row=self._shard.first + item.row)
        return found

    def item_id(self, row: int) -> str:
        """The item of a row, which is here."""
        return self._collection.item_id(row - self._shard.first)

    def gaussian(self, item_id: str) -> GaussianEmbedding:
        """Of an item that is here."""
        return self._collection.gaussian(item_id)

    def draw(self, item_id: str) -> StandardEcg:
        """Of an item that is here."""
        return self._collection.draw(item_id)

    def moments(self) -> Moments:
        """Of the means of its ECGs."""
        from echoing_core.retrieve.projection import moments

        return moments(self._means)

    @property
    def _means(self) -> npt.NDArray[np.float32]:
        # A view: `gaussians` would copy them.
        return self._collection.index.vectors("ecg").rows[:, :-1]

    def _xy(self, plane: Projection) -> npt.NDArray[np.float64]:
        known, name = self._map, plane.axes.tobytes()
        if known is None or known[0] != name:
            known = self._map = (name, plane.place(self._means))
        return known[1]

    def dots(self, rows: npt.NDArray[np.int64], plane: Projection) -> tuple[pd.DataFrame, Any]:
        """Those of the rows that are here, without their texts, and where they lie."""
        here = rows[(rows >= self._shard.first) & (rows < self._shard.first + self._shard.n)]
        own = here - self._shard.first
        collection = self._collection
        items = collection.index.items.drop(columns=list(collection.texts)).iloc[own]
        return items.reset_index(drop=True), self._xy(plane)[own]

    def rows_inside(
        self, polygon: Sequence[tuple[float, float]], plane: Projection
    ) -> npt.NDArray[np.int64]:
        """As `Collection.rows_inside`."""
        from echoing_core.retrieve.projection import inside

        return inside(polygon, self._xy(plane)) + self._shard.first

    def table(
        self, where: ItemFilter, plane: Projection, labels: Sequence[str], texts: Sequence[str]
    ) -> str:
        """As `Collection.table`."""
        collection = self._collection
        items = collection.index.items
        rows = self._here(where).rows(items)
        return collection_csv(items, self._xy(plane), rows, collection.model_hash, labels, texts)


class _Kept:
    """Shards that this process holds open, asked by as many threads as there are cores."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._holders = [ShardHolder(one) for one in shards]
        self._pool = ThreadPoolExecutor(min(len(shards), os.cpu_count() or 1), "shard")

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        return list(
            self._pool.map(lambda holder: getattr(holder, method)(*arguments), self._holders)
        )

    def ask_one(self, number: int, method: str, *arguments: Any) -> Any:
        return getattr(self._holders[number], method)(*arguments)

    def close(self) -> None:
        self._pool.shutdown(wait=False)
        self._holders.clear()


class _Anew:
    """Shards of which one is open at a time."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        return [self.ask_one(i, method, *arguments) for i in range(len(self._shards))]

    def ask_one(self, number: int, method: str, *arguments: Any) -> Any:
        # Let go of before the next is opened.
        return getattr(ShardHolder(self._shards[number]), method)(*arguments)

    def close(self) -> None:
        """Nothing is open."""


class Shards:
    """An index in shards, searched and looked at as a `Collection` is; from `open_shards`.

    Parameters
    ----------
    folder : Path or StorePath
    checkpoint_hash : str, optional
        Of the model that searches it; another one's index is refused.
    cluster : str, optional
        Address of a Ray cluster whose processes hold a shard each, or `workers.RAY`.
    kept : bool
        For many searches: without a cluster this process holds all shards open, else it opens one
        after the other, anew for each search; with one it is asked through a process of its own,
        so that this one outlives the cluster.

    Raises
    ------
    IndexMismatchError
        It is damaged or holds no shards.
    ConfigError
        It is to be kept, and there is not enough memory.
    """

    origin = "folder"

    def __init__(
        self,
        folder: Place,
        checkpoint_hash: str | None = None,
        cluster: str | None = None,
        *,
        kept: bool = False,
    ) -> None:
        from echoing_core.retrieve.shards import read_shards

        self.folder = folder
        self.card, self._shards = read_shards(folder.resolve(), checkpoint_hash=checkpoint_hash)
        self._known: dict[str, Item] = {}
        self._held: Held | HeldApart | _Kept | _Anew
        if cluster is not None:
            # Where the index was built anew, no older shard is taken for one of it.
            told = hashlib.sha256((folder / CARD).read_bytes()).hexdigest()[:12]
            holdings = [
                Holding(f"{one.folder.name} of {folder.name} ({told})", (one,), one.n_bytes)
                for one in self._shards
            ]
            self._held = (HeldApart if kept else Held)(ShardHolder, holdings, cluster)
        elif kept:
            _check_memory(folder, sum(one.n_bytes for one in self._shards))
            self._held = _Kept(self._shards)
        else:
            self._held = _Anew(self._shards)

    def __len__(self) -> int:
        return int(self.card["n"])

    @property
    def n_shards(self) -> int:
        return len(self._shards)

    @property
    def name(self) -> str:
        """As a person reads it."""
        return str(self.card.get("name") or self.folder.name)[:80]

    @property
    def simulated(self) -> bool:
        """Whether nothing in it was measured on a person."""
        return bool(self.card["simulated"])

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted(self.card["sources"]))

    @property
    def has_reports(self) -> bool:
        return bool(self.card["n_reports"])

    @property
    def dim(self) -> int:
        return int(self.card["dim"])

    @property
    def model_hash(self) -> str:
        """Of the model that embedded it."""
        return str(self.card["checkpoint_hash"])

    @cached_property
    def _facts(self) -> _Facts:
        parts: list[_Facts] = self._held.ask("facts")
        names = tuple(dict.fromkeys(name for part in parts for name in part.label_names))
        flags = tuple(
            name
            for name in names
            if all(name in part.flags for part in parts if name in part.label_names)
        )
        return _Facts(names, flags, tuple(dict.fromkeys(t for part in parts for t in part.texts)))

    @property
    def flags(self) -> tuple[str, ...]:
        """As `Collection.flags`."""
        return self._facts.flags

    @cached_property
    def everything(self) -> Tally:
        """As `Collection.everything`."""
        return joined_tally(self._held.ask("tally", None, self.flags))

    def tally(self, where: ItemFilter, names: Sequence[str]) -> Tally:
        """As `Collection.tally`."""
        return joined_tally(self._held.ask("tally", where, tuple(names)))

    def table(self, where: ItemFilter) -> str:
        """As `Collection.table`."""
        facts = self._facts
        parts: list[str] = self._held.ask(
            "table", where, self._plane, facts.label_names, facts.texts
        )
        return parts[0] + "".join(part.partition("\n")[2] for part in parts[1:])

    def check(self) -> None:
        """Whether all shards are there, by their cards alone.

        Raises
        ------
        IndexMismatchError
            One is not.
        """
        from echoing_core.retrieve.shards import check_shard

        for one in self._shards:
            check_shard(one)

    def open(self) -> None:
        """Open all shards, where they are held, which the first search does otherwise.

        Raises
        ------
        IndexMismatchError
            A shard is missing or damaged.
        LostProcessError
            As `judge`.
        """
        if not isinstance(self._held, _Anew):
            self._held.ask("open")

    def judge(self, request: Request) -> list[Judged]:
        """What each shard has for a request, in the order of their items.

        Parameters
        ----------
        request : Request

        Returns
        -------
        list of Judged

        Raises
        ------
        ConfigError
            A setting is impossible.
        IndexMismatchError
            A shard is missing or damaged.
        LostProcessError
            A shard was lost with its process or machine, and could not be opened elsewhere.
        """
        where = request.options.where
        if where is not None:
            where.check_sources(set(self.card["sources"]))
        parts: list[Judged] = self._held.ask("judge", request)
        if where is not None:
            where.check_labels({name for part in parts for name in part.label_names})
        return parts

    def search(
        self,
        query: GaussianEmbedding,
        k: int = 10,
        *,
        order: str = "csd",
        target: str = "ecg",
        where: ItemFilter | None = None,
        unique_reports: bool = False,
        scale: ReferenceDistances | None = None,
    ) -> ShardSearch:
        """As `Collection.search`, from an ECG.

        Parameters
        ----------
        query, k, order, target, where, unique_reports, scale
            As there.

        Returns
        -------
        ShardSearch

        Raises
        ------
        ConfigError, IndexMismatchError, LostProcessError
            As `judge`.
        """
        request = Request(query, Options(k, order, target, where, unique_reports), scale)
        return ShardSearch(**vars(joined(request, self.judge(request))), request=request)

    def as_hit(self, search: Found, item_id: str) -> Hit:
        """As `Collection.as_hit`; the search is made once more.

        Parameters
        ----------
        search : ShardSearch
            In these shards.
        item_id : str

        Returns
        -------
        Hit

        Raises
        ------
        ConfigError
            There is no such item.
        """
        if not isinstance(search, ShardSearch):
            raise TypeError("only a ShardSearch knows what was asked")
        _, number = self._where(item_id)
        found: tuple[Hit, float] = self._held.ask_one(number, "place", search.request, item_id)
        hit, place = found
        if not np.isfinite(place):
            return hit
        return replace(hit, rank=1 + sum(self._held.ask("n_before", search.request, place)))

    def items(self, item_ids: Sequence[str]) -> dict[str, Item]:
        """As `Collection.items`.

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
        # Asked together, since each question of a cluster takes some milliseconds.
        missing = tuple(one for one in item_ids if one not in self._known)
        if missing:
            found = {k: v for part in self._held.ask("items", missing) for k, v in part.items()}
            for one in missing:
                if one not in found:
                    raise no_item(one)
            if len(self._known) > _MOST_KEPT:
                self._known = {}
            self._known |= found
        return {one: self._known[one] for one in item_ids}

    def _where(self, item_id: str) -> tuple[int, int]:
        """Row of an item in the whole, and number of its shard."""
        row = self.items([item_id])[item_id].row
        return row, self._shard_of(row)

    def _shard_of(self, row: int) -> int:
        return sum(one.first <= row for one in self._shards) - 1

    def row(self, item_id: str) -> int:
        """As `Collection.row`."""
        return self._where(item_id)[0]

    def item_id(self, row: int) -> str:
        """The item of a row."""
        return str(self._held.ask_one(self._shard_of(row), "item_id", row))

    def gaussian(self, item_id: str) -> GaussianEmbedding:
        """As `Collection.gaussian`."""
        found: GaussianEmbedding = self._held.ask_one(self._where(item_id)[1], "gaussian", item_id)
        return found

    def draw(self, item_id: str) -> StandardEcg:
        """As `Collection.draw`."""
        ecg: StandardEcg = self._held.ask_one(self._where(item_id)[1], "draw", item_id)
        return ecg

    @cached_property
    def _plane(self) -> Projection:
        from echoing_core.retrieve.projection import joined_moments, plane_of

        return plane_of(joined_moments(self._held.ask("moments")))

    @cached_property
    def _sample(self) -> tuple[npt.NDArray[np.int64], pd.DataFrame, npt.NDArray[np.float64]]:
        n = len(self)
        return self._dots(np.unique(np.linspace(0, n - 1, min(n, MOST_DOTS)).astype(np.int64)))

    def _dots(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], pd.DataFrame, npt.NDArray[np.float64]]:
        import pandas as pd

        parts = self._held.ask("dots", rows, self._plane)
        tables = [table for table, _ in parts if len(table)]
        return rows, pd.concat(tables, ignore_index=True), np.vstack([xy for _, xy in parts])

    def dots(self, item_ids: Sequence[str] = ()) -> Dots:
        """Items to be drawn on the map: a sample, spread evenly over all, and these.

        Parameters
        ----------
        item_ids : sequence of str

        Returns
        -------
        Dots
            Without texts of reports.
        """
        import pandas as pd

        rows, items, xy = self._sample
        told = self.items(item_ids)
        more = np.setdiff1d(np.array([one.row for one in told.values()], dtype=np.int64), rows)
        if more.size:
            _, their, where = self._dots(more)
            order = np.argsort(np.concatenate([rows, more]), kind="stable")
            rows = np.concatenate([rows, more])[order]
            items = pd.concat([items, their], ignore_index=True).iloc[order]
            items, xy = items.reset_index(drop=True), np.vstack([xy, where])[order]
        return Dots(rows, items, xy, self._plane)

    def rows_inside(self, polygon: Sequence[tuple[float, float]]) -> tuple[int, ...]:
        """As `Collection.rows_inside`."""
        parts = self._held.ask("rows_inside", tuple(polygon), self._plane)
        return tuple(np.concatenate(parts).tolist())

    def close(self) -> None:
        """Let go of the shards; those that another process opened stay open."""
        self._held.close()

    def __enter__(self) -> Shards:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


Searched = Collection | Shards
"""What is searched and looked at: an index whole, or in shards."""


def _check_memory(folder: Place, n_bytes: int) -> None:
    """Refuse what this machine cannot hold, where it says how much it can."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return
    if n_bytes > 1024 * free:
        raise ConfigError(
            f"The index {folder} needs {n_bytes / 1e9:.1f} GB of memory, and {free / 1e6:.1f} GB "
            "are free on this machine. Let a cluster hold it, with `echoing index serve` and "
            "`--cluster ADDRESS`."
        )


def open_shards(
    folder: str | os.PathLike[str] | StorePath,
    model: Model | None = None,
    *,
    cluster: str | None = None,
    kept: bool = False,
) -> Shards:
    """Open an index in shards.

    Parameters
    ----------
    folder : path or str
        As in `load_index`.
    model : Model, optional
        With it, an index of another model is refused.
    cluster, kept
        As in `Shards`.

    Returns
    -------
    Shards

    Raises
    ------
    IndexMismatchError
        It is damaged, holds no shards, or was built with another model.
    ConfigError
        A cluster is named and Ray is not installed, or nobody answers there; or as in `Shards`.
    """
    path = index_place(folder)
    check_given(index=path)
    return Shards(path, model.hash if model is not None else None, cluster, kept=kept)


def open_collection(
    folder: str | os.PathLike[str] | StorePath | None, model: Model, *, cluster: str | None = None
) -> Searched:
    """Open an index for one search, whole or in shards.

    Parameters
    ----------
    folder : path or str, optional
        As in `load_index`.
    model : Model
        That is used to search.
    cluster : str, optional
        As in `Shards`.

    Returns
    -------
    Collection or Shards

    Raises
    ------
    IndexMismatchError
        It is damaged, or was built with another model.
    ConfigError
        A cluster is named for an index that does not lie in shards, or as `open_shards`.
    """
    from echoing_core.retrieve.shard_names import is_sharded

    if folder is not None and is_sharded(index_place(folder)):
        return open_shards(folder, model, cluster=cluster)
    if cluster is not None:
        raise ConfigError(NO_SHARDS_FOR_CLUSTER)
    if folder is None:
        return Collection("", load_index(model=model), "folder")
    return folder_collection(folder, model)


def held_collection(folder: str | os.PathLike[str], model: Model) -> Searched:
    """Open an index for many searches: its shards by the cluster of `CLUSTER_VARIABLE`, or here.

    Parameters
    ----------
    folder : path or str
        As in `load_index`.
    model : Model
        That is used to search.

    Returns
    -------
    Collection or Shards

    Raises
    ------
    IndexMismatchError
        It is damaged, or was built with another model.
    ConfigError, LostProcessError
        As `open_shards` and `Shards.open`.
    """
    from echoing_core.retrieve.shard_names import is_sharded

    if not is_sharded(index_place(folder)):
        return folder_collection(folder, model)
    cluster = os.environ.get(CLUSTER_VARIABLE, "").strip() or None
    shards = open_shards(folder, model, cluster=cluster, kept=True)
    shards.open()
    return shards
