"""Where the shards of an index lie; asked before anything heavy is imported."""

from __future__ import annotations

from echoing_core.artifacts import CARD
from echoing_core.stores import Place


def shard_name(number: int) -> str:
    """Folder of a shard in that of its index."""
    return f"shard-{number:04d}"


def is_sharded(folder: Place) -> bool:
    """Whether the items of an index lie in shards."""
    return (folder / shard_name(0) / CARD).is_file()
