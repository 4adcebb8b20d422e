"""The shipped collection in shards, as `echoing index build --shards` would leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from echoing_core import services
from echoing_core.retrieve.index import build_index
from echoing_core.retrieve.shard_names import shard_name
from echoing_core.retrieve.shards import seal_shards


def demo_in_shards(folder: Path, n_shards: int) -> Path:
    """Write it into a new folder.

    Parameters
    ----------
    folder : Path
    n_shards : int

    Returns
    -------
    Path
        The same folder.
    """
    index = services.shipped_collection(services.load_model()).index
    folder.mkdir(parents=True)
    for number, rows in enumerate(np.array_split(np.arange(len(index)), n_shards)):
        items = index.items.iloc[rows].reset_index(drop=True)
        build_index(
            folder / shard_name(number),
            ecg=index.vectors("ecg").rows[rows],
            text=index.vectors("report").rows[rows],
            items=items,
            checkpoint_hash=index.card["checkpoint_hash"],
            card={"n_reports": int((items["report"] != "").sum())},
            traces=None if index.traces is None else index.traces[rows],
        )
    seal_shards(
        folder,
        n_shards=n_shards,
        checkpoint_hash=index.card["checkpoint_hash"],
        extra={"name": folder.name, "sources": sorted(set(index.items["source"]))},
    )
    return folder
