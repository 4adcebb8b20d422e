"""Indexes in shards (`retrieve.shards`), searched one shard after the other or by a Ray cluster.

What is searched for is read and embedded once, by whoever asks. Each shard judges its own items
exactly as a whole index would (`word_search.judge`), with no model, and sends its first hits; what
comes back is joined. An answer is of all shards or there is none.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from echoing_core.artifacts import CARD
from echoing_core.errors import ConfigError
from echoing_core.services.given import check_given
from echoing_core.services.models import Model, index_place, load_index
from echoing_core.services.searching import Collection
from echoing_core.services.word_search import Judged, Request, judge
from echoing_core.stores import Place, StorePath
from echoing_core.workers import Held, Holding

if TYPE_CHECKING:
    from echoing_core.retrieve.shards import Shard


class ShardHolder:
    """A shard, opened when it is first asked, and kept open."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard

    @cached_property
    def _collection(self) -> Collection:
        from echoing_core.retrieve.shards import open_shard

        return Collection("", open_shard(self._shard), "folder")

    def open(self) -> int:
        """Open it, and tell how many items it has."""
        return len(self._collection)

    def judge(self, request: Request) -> Judged:
        """Its items for a request, as `word_search.judge`."""
        collection, options = self._collection, request.options
        # Other shards may have reports; if none has, the one who asks will say so.
        if options.target == "report" and not collection.has_reports:
            return Judged()
        if options.where is not None:
            where = options.where.of_shard(self._shard.first, collection.index.items)
            request = replace(request, options=replace(options, where=where))
        return judge(collection, request).alone


class Shards:
    """An index in shards, for `search_collection`; from `open_shards`.

    Parameters
    ----------
    folder : Path or StorePath
    checkpoint_hash : str, optional
        Of the model that searches it; another one's index is refused.
    cluster : str, optional
        Address of a Ray cluster whose processes hold a shard each, or `workers.RAY`. Without it
        this process opens a shard after the other, anew for each search.
    """

    def __init__(
        self, folder: Place, checkpoint_hash: str | None = None, cluster: str | None = None
    ) -> None:
        from echoing_core.retrieve.shards import read_shards

        self.folder = folder
        self.card, self._shards = read_shards(folder.resolve(), checkpoint_hash=checkpoint_hash)
        self._held: Held | None = None
        if cluster is not None:
            # Where the index was built anew, no older shard is taken for one of it.
            told = hashlib.sha256((folder / CARD).read_bytes()).hexdigest()[:12]
            holdings = [
                Holding(f"{one.folder.name} of {folder.name} ({told})", (one,), one.n_bytes)
                for one in self._shards
            ]
            self._held = Held(ShardHolder, holdings, cluster)

    def __len__(self) -> int:
        return int(self.card["n"])

    @property
    def n_shards(self) -> int:
        return len(self._shards)

    def open(self) -> None:
        """Let the cluster open all shards, which the first search does otherwise.

        Raises
        ------
        IndexMismatchError
            A shard is missing or damaged.
        LostProcessError
            As `judge`.
        """
        if self._held is not None:
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
        if request.options.where is not None:
            request.options.where.check_sources(set(self.card["sources"]))
        if self._held is not None:
            return self._held.ask("judge", request)
        # One at a time: let go before the next is opened.
        return [ShardHolder(one).judge(request) for one in self._shards]

    def close(self) -> None:
        """Let go of the shards; those that another process opened stay open."""
        if self._held is not None:
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


def open_shards(
    folder: str | os.PathLike[str] | StorePath,
    model: Model | None = None,
    *,
    cluster: str | None = None,
) -> Shards:
    """Open an index in shards.

    Parameters
    ----------
    folder : path or str
        As in `load_index`.
    model : Model, optional
        With it, an index of another model is refused.
    cluster : str, optional
        As in `Shards`.

    Returns
    -------
    Shards

    Raises
    ------
    IndexMismatchError
        It is damaged, holds no shards, or was built with another model.
    ConfigError
        A cluster is named and Ray is not installed, or nobody answers there.
    """
    path = index_place(folder)
    check_given(index=path)
    return Shards(path, model.hash if model is not None else None, cluster)


def open_collection(
    folder: str | os.PathLike[str] | StorePath | None, model: Model, *, cluster: str | None = None
) -> Collection | Shards:
    """Open an index for `search_collection`, whole or in shards.

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
    from echoing_core.retrieve.index import is_sharded

    if folder is not None and is_sharded(index_place(folder)):
        return open_shards(folder, model, cluster=cluster)
    if cluster is not None:
        raise ConfigError(
            "--cluster is for an index in shards, and this one is not. Leave it out, or build one "
            "with `echoing index build INDEX --embedded EMBEDDED --shards N`."
        )
    return Collection("", load_index(folder, model), "folder")
