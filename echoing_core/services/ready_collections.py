"""Collections by one word: what a folder holds becomes an index that is kept, and used again.

A folder may be an index, a prepared set, PTB-XL as it is published, or hold recordings. What is
missing is made beside the others of its kind and bound to the model's hash and to what it was made
of, so that the next time nothing is made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echoing_core.errors import ConfigError, DataSetError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.at_hand import IndexAtHand, indexes_at_hand
from echoing_core.services.given import INDEX, PREPARED, PTBXL
from echoing_core.services.models import RUNS_FOLDER, card_kind
from echoing_core.stores import refuse_store

if TYPE_CHECKING:
    from echoing_core.services.models import Model

COLLECTIONS_VARIABLE = "ECHOING_COLLECTIONS"
"""Environment variable with index folders and folders that hold such; the app offers all of them,
and begins with the first where that is an index itself."""

KEPT = RUNS_FOLDER / "collections"
"""Where indexes are kept that `ready_collection` makes, where no place is named."""

Source = Literal["index", "prepared", "ptbxl", "recordings"]

_PTBXL_FILES = ("ptbxl_database.csv", "scp_statements.csv")


@dataclass(frozen=True)
class ReadyCollection:
    """An index that can be opened.

    Attributes
    ----------
    folder : Path
    n : int
        ECGs.
    made : bool
        False where it was there already.
    failures : int
        Recordings that could not be used.
    """

    folder: Path
    n: int
    made: bool
    failures: int = 0


def collection_sources(given: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The collections that folders hold: each its own, or those of the folders in it.

    Parameters
    ----------
    given : sequence of path

    Returns
    -------
    list of Path

    Raises
    ------
    DataSetError
        There is no such folder, or it is empty.
    ConfigError
        It is in an object store.
    """
    found: list[Path] = []
    for path in map(Path, given):
        refuse_store(path)
        if not path.is_dir():
            raise DataSetError(
                f"There is no folder {path}. Name one that holds a collection: PTB-XL, what "
                "`echoing prepare` or `echoing index build` made, or recordings."
            )
        inside = [
            inner
            for inner in sorted(path.iterdir())
            if inner.is_dir() and source_of(inner) != "recordings"
        ]
        if source_of(path) == "recordings" and inside:
            found += inside
        elif not any(path.iterdir()):
            raise DataSetError(
                f"{path} is empty. Name a folder that holds a collection: PTB-XL, what `echoing "
                "prepare` or `echoing index build` made, or recordings."
            )
        else:
            found.append(path)
    return found


def source_of(folder: Path) -> Source:
    """What a folder holds, by its marker alone.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    {"index", "prepared", "ptbxl", "recordings"}
        The last of any folder that is nothing else.
    """
    kind = card_kind(folder)
    if kind == INDEX.written:
        return "index"
    if kind == PREPARED.written:
        return "prepared"
    return "ptbxl" if (folder / PTBXL.markers[0]).is_file() else "recordings"


def ready_collection(
    source: str | os.PathLike[str],
    model: Model,
    *,
    keep: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> ReadyCollection:
    """The index of a collection for a model; made where it is not kept already.

    Parameters
    ----------
    source : path
        See `collection_sources`.
    model : Model
        That searches it.
    keep : path, optional
        Folder for what is made; without it, `KEPT`.
    progress : Progress, optional
        Takes the stages ``prepare`` and ``embed``.

    Returns
    -------
    ReadyCollection

    Raises
    ------
    IndexMismatchError
        It is an index of another model.
    DataSetError, ConfigError
        It cannot be read, or nothing in it can.
    """
    root = Path(source)
    kind = source_of(root)
    if kind == "index":
        from echoing_core.retrieve.shard_names import is_sharded
        from echoing_core.services.models import load_index
        from echoing_core.services.sharded import open_shards

        if is_sharded(root):
            # Whoever holds them opens them: here they may not fit into memory.
            shards = open_shards(root, model)
            shards.check()
            return ReadyCollection(root, len(shards), False)
        return ReadyCollection(root, len(load_index(root, model)), False)
    place = Path(keep) if keep is not None else KEPT
    # The path tells two folders of one name apart.
    told = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:6]
    name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', root.name or 'collection')[:40]}-{told}"
    made_of = _content(root, kind, model.checkpoint.filter_padding)
    out = place / f"{name}-{model.hash[:8]}"
    n = _kept(out, model, made_of)
    if n is not None:
        return ReadyCollection(out, n, False)
    place.mkdir(parents=True, exist_ok=True)
    from echoing_core.services.index_building import build_folder_index, build_prepared_index

    left_out = 0
    if kind == "recordings":
        built = build_folder_index(
            out, model, root, name=root.name, made_of=made_of, progress=progress.stage("embed")
        )
        return ReadyCollection(out, built.n, True, len(built.failures))
    data = root
    if kind == "ptbxl":
        data, left_out = _prepared_ptbxl(root, place / f"{name}-prepared", made_of, model, progress)
    built = build_prepared_index(
        out,
        model,
        data,
        name="PTB-XL" if kind == "ptbxl" else root.name,
        made_of=made_of,
        progress=progress.stage("embed"),
    )
    return ReadyCollection(out, built.n, True, left_out)


def collections_at_hand() -> tuple[IndexAtHand, ...]:
    """Indexes in the folders of ``ECHOING_COLLECTIONS``; without it, those kept in `KEPT`.

    Nothing of them is opened: only their cards are read.

    Returns
    -------
    tuple of IndexAtHand
        In the order of the variable; each once.
    """
    found: dict[Path, IndexAtHand] = {}
    for folder in _named() or [KEPT]:
        # One that is gone by now is no reason to refuse the others.
        if folder.is_dir():
            for one in indexes_at_hand(folder):
                found.setdefault(one.folder.resolve(), one)
    return tuple(found.values())


def first_collection() -> Path | None:
    """The index that the app begins with, where one was named for that.

    Returns
    -------
    Path or None
        Resolved.
    """
    first = next(iter(_named()), None)
    return first.resolve() if first is not None and card_kind(first) == INDEX.written else None


def _named() -> list[Path]:
    given = os.environ.get(COLLECTIONS_VARIABLE, "").split(os.pathsep)
    return [Path(text) for text in given if text.strip()]


def _content(root: Path, kind: Source, padding: str) -> str:
    """Hash of what a collection is made of.

    A prepared set's card holds the hashes of its files. Of recordings it is names, sizes and
    times: to read all of PTB-XL takes longer than most people wait for a list.
    """
    hashed = hashlib.sha256(kind.encode())
    if kind == "prepared":
        hashed.update((root / "card.json").read_bytes())
        return hashed.hexdigest()
    files = [p for p in root.rglob("*") if p.is_file()]
    if kind == "ptbxl":
        hashed.update(padding.encode())
        for name in _PTBXL_FILES:
            if (root / name).is_file():
                hashed.update((root / name).read_bytes())
        files = [p for p in files if p.suffix in (".dat", ".hea")]
    for path in sorted(files):
        facts = path.stat()
        line = f"{path.relative_to(root).as_posix()} {facts.st_size} {facts.st_mtime_ns}\n"
        hashed.update(line.encode())
    return hashed.hexdigest()


def _kept(out: Path, model: Model, made_of: str) -> int | None:
    """Number of items of a kept index, where it is of this model and content, and all there."""
    from echoing_core.services.index_building import MADE_OF

    if card_kind(out) != INDEX.written:
        return None
    card: dict[str, Any] = json.loads((out / "card.json").read_text(encoding="utf-8"))
    if card.get("checkpoint_hash") != model.hash or card.get(MADE_OF) != made_of:
        return None
    # Their hashes are compared by whoever opens it.
    there = all((out / str(name)).is_file() for name in card.get("files", {}))
    return int(card["n"]) if there else None


def _prepared_ptbxl(
    root: Path, out: Path, made_of: str, model: Model, progress: Progress
) -> tuple[Path, int]:
    """PTB-XL as a prepared set, and how many of its ECGs could not be used."""
    from echoing_core.datasets.prepared import KIND, read_card
    from echoing_core.services.preparing import prepare_data_set

    note = out.with_name(f"{out.name}.txt")
    if card_kind(out) == KIND and note.is_file() and note.read_text(encoding="utf-8") == made_of:
        return out, sum(read_card(out).get("left_out", {}).values())
    if out.is_dir() and card_kind(out) != KIND:
        raise ConfigError(f"{out} holds something that is no prepared set. Move it elsewhere.")
    # An older one is of other data.
    shutil.rmtree(out, ignore_errors=True)
    settings: dict[str, str] = {"filter_padding": model.checkpoint.filter_padding}
    if not (root / "records100").is_dir() and (root / "records500").is_dir():
        settings["rate"] = "500"
    report = prepare_data_set(
        "ptbxl", root, out, settings=settings, restart=True, progress=progress.stage("prepare")
    )
    note.write_text(made_of, encoding="utf-8")
    return out, sum(report.reasons.values())
