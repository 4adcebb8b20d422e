"""An index in shards: more items than one process or machine holds.

Each shard is an index folder of its own, ``shard-0000`` and so on, in a folder whose card lists
their cards' hashes; the items of the whole are those of the shards, one after the other. So one is
opened as any index is, and none can be missing or another one without its being told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echoing_core.artifacts import CARD, card_bytes, make_card, read_card
from echoing_core.documents import parse_json
from echoing_core.errors import IndexMismatchError
from echoing_core.retrieve.index import (
    KIND,
    SHARDS,
    TRACES,
    GalleryIndex,
    open_index,
)
from echoing_core.retrieve.shard_names import is_sharded, shard_name
from echoing_core.stores import Place, StorePath

FEWEST_IN_SHARD_FOR_CELLS = 100_000
"""Items of a shard from which on its fast search is faster than its exact one."""


@dataclass(frozen=True)
class Shard:
    """What the card of an index says of a shard.

    Attributes
    ----------
    folder : Path or StorePath
    first : int
        Row of its first item in the whole.
    n : int
        Items.
    n_bytes : int
        Of its files that are held in memory.
    card_sha256 : str
    """

    folder: Place
    first: int
    n: int
    n_bytes: int
    card_sha256: str


def seal_shards(
    folder: Place, *, n_shards: int, checkpoint_hash: str, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the card of an index whose shards stand in a folder.

    Parameters
    ----------
    folder : Path or StorePath
        Holds the shards, as `build_index` wrote them with ``n_reports`` in their card.
    n_shards : int
    checkpoint_hash : str
    extra : mapping
        Further entries of the card, ``sources`` (of all items) among them.

    Returns
    -------
    dict
        The card as written.
    """
    entries, dims, n_simulated, n_reports = [], set(), 0, 0
    for number in range(n_shards):
        shard = folder / shard_name(number)
        content = (shard / CARD).read_bytes()
        card: Any = parse_json(content)
        entries.append(
            {
                "n": card["n"],
                # What is mapped and only looked at where it is drawn needs no memory.
                "n_bytes": sum(
                    path.stat().st_size
                    for path in shard.iterdir()
                    if path.name != TRACES or isinstance(path, StorePath)
                ),
                "card_sha256": hashlib.sha256(content).hexdigest(),
            }
        )
        dims.add(card["dim"])
        n_simulated += card["n_simulated"]
        n_reports += card["n_reports"]
    n = sum(entry["n"] for entry in entries)
    sealed = make_card(
        {},
        kind=KIND,
        checkpoint_hash=checkpoint_hash,
        n=n,
        dim=dims.pop(),
        extra={
            "simulated": n == n_simulated,
            "n_simulated": n_simulated,
            "n_reports": n_reports,
            **extra,
            SHARDS: entries,
        },
    )
    (folder / CARD).write_bytes(card_bytes(sealed))
    return sealed


def read_shards(
    folder: Place, *, checkpoint_hash: str | None
) -> tuple[dict[str, Any], tuple[Shard, ...]]:
    """The card of an index in shards; no shard is touched.

    Parameters
    ----------
    folder : Path or StorePath
    checkpoint_hash : str or None
        As in `open_index`.

    Returns
    -------
    card : dict
    shards : tuple of Shard

    Raises
    ------
    IndexMismatchError
        It is damaged, holds no shards, or belongs to another checkpoint.
    """
    if not is_sharded(folder):
        raise IndexMismatchError(
            f"The index {folder} holds no shards. It is opened as a whole, by services.load_index."
        )
    card = read_card(folder, kind=KIND, files=frozenset(), checkpoint_hash=checkpoint_hash)
    shards: list[Shard] = []
    first = 0
    try:
        for number, entry in enumerate(card[SHARDS]):
            n, n_bytes, told = entry["n"], entry["n_bytes"], entry["card_sha256"]
            if type(n) is not int or n < 1 or type(n_bytes) is not int or type(told) is not str:
                raise ValueError(f"shard {number}")
            shards.append(Shard(folder / shard_name(number), first, n, n_bytes, told))
            first += n
        if first != card["n"] or not all(isinstance(name, str) for name in card["sources"]):
            raise ValueError(f"{first} items")
    except (KeyError, TypeError, ValueError) as error:
        raise IndexMismatchError(
            f"{CARD} in {folder} does not list the shards of an index. Build the index again."
        ) from error
    return card, tuple(shards)


def check_shard(shard: Shard) -> None:
    """Whether one is there, by its card alone.

    Parameters
    ----------
    shard : Shard
        From `read_shards`.

    Raises
    ------
    IndexMismatchError
        It is missing, or not the one that its index lists.
    """
    path = shard.folder / CARD
    if not path.is_file():
        raise IndexMismatchError(
            f"{shard.folder.name} of the index {shard.folder.parent} is missing here. All machines "
            "must see all shards; build the index again, or take an undamaged copy."
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != shard.card_sha256:
        raise IndexMismatchError(
            f"{shard.folder.name} of the index {shard.folder.parent} is not the shard that its "
            "card lists. Build the index again, or take an undamaged copy."
        )


def open_shard(shard: Shard) -> GalleryIndex:
    """Open one, with what is large left in its files.

    Parameters
    ----------
    shard : Shard
        From `read_shards`, which has compared the checkpoint.

    Returns
    -------
    GalleryIndex

    Raises
    ------
    IndexMismatchError
        As `check_shard`, or it is damaged.
    """
    check_shard(shard)
    return open_index(shard.folder, checkpoint_hash=None, mapped=True)
