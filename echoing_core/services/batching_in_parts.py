"""A batch over very many recordings, by several processes or machines, as one table.

Recordings are looked at in parts, each of which is written whole, as the CSV that `batch_csv` makes
of it, beside the table; the table is the parts one after the other. After a kill the same command
goes on with the parts that lack.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoing_core.artifacts import replacing_file, write_text_atomically
from echoing_core.errors import ConfigError
from echoing_core.export.batch_table import batch_csv
from echoing_core.io.many import BatchItem, folder_items
from echoing_core.io.told import NOTHING, Told
from echoing_core.progress import SILENT, Progress
from echoing_core.services.asking import Prevalence
from echoing_core.services.batching import batch
from echoing_core.services.models import Model, load_model, model_in_worker, model_place
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.stores import StorePath, place_of
from echoing_core.version import __version__
from echoing_core.workers import parts_of, shared
from echoing_core.zeroshot.prompts import PromptSet

ITEMS_A_PART = 64
"""Recordings: some seconds of one core lost to a kill."""

Questions = str | PromptSet | Sequence[str | PromptSet] | None


@dataclass(frozen=True)
class BatchSettings:
    """How all recordings of a batch are looked at; see `batch` for each.

    Attributes
    ----------
    questions, vcg_method, prevalence, told, measured
        As in `batch`.
    names, refused
        As in `batch_csv`.
    """

    questions: Questions = None
    vcg_method: str = DEFAULT_VCG_METHOD
    prevalence: Prevalence = None
    told: Told = NOTHING
    measured: bool = False
    names: bool = True
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchTable:
    """What came of a batch in parts.

    Attributes
    ----------
    n_read, n_failed : int
        Rows of the table.
    n_files : int
        What was given; an archive is one and may make many rows.
    n_resumed : int
        Of these, those that were done before.
    others : tuple of str
        Files that are no recordings.
    """

    n_read: int
    n_failed: int
    n_files: int
    n_resumed: int
    others: tuple[str, ...]


def batch_in_parts(
    root: str | os.PathLike[str] | StorePath,
    out: str | os.PathLike[str],
    settings: BatchSettings | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    n_workers: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    progress: Progress = SILENT,
) -> BatchTable:
    """Look at all recordings of a folder and write a table, a row for each.

    Parameters
    ----------
    root : path
        As in `folder_items`.
    out : path
        The CSV; an older one is replaced in the end. Unfinished work lies in ``<out>-parts``.
    settings : BatchSettings, optional
    model : path or str, optional
        A model folder or the name of a model at hand. All machines of a cluster must see it.
    n_workers : int, optional
        Processes of this machine, each with a model of its own (0.4 GB); one by default.
    cluster : str, optional
        A Ray cluster that does it instead, on all of its cores by default (`workers.shared`).
        All of its machines see the recordings and the place of the table.
    restart : bool
        Throw away unfinished work on other recordings or with other settings.
    progress : Progress, optional
        Counts files.

    Returns
    -------
    BatchTable

    Raises
    ------
    ConfigError
        ``root`` holds no recording, a setting is impossible, or ``out`` cannot be a file.
    LostProcessError
        See `workers.shared`.
    """
    settings = settings or BatchSettings()
    out = Path(out)
    if out.is_dir():
        raise ConfigError(f"{out} is a folder. Name a file for the table.")
    loaded = load_model(model)
    # A question or a share that cannot be is refused here, before any recording is read.
    list(batch(loaded, (), settings.questions, prevalence=settings.prevalence))
    # Other machines look for the same files from other folders.
    items, others = folder_items(place_of(root).resolve())
    pieces = [items[i : i + ITEMS_A_PART] for i in range(0, len(items), ITEMS_A_PART)]
    with parts_of(out, _fingerprint(loaded, items, settings), restart=restart) as work:
        assert isinstance(work, Path)
        todo = {
            # As it is named where a process dies over it, again and again.
            f"{piece[0].name} to {piece[-1].name}": (number, piece)
            for number, piece in enumerate(pieces)
            if not (work / _name(number)).is_file()
        }
        done = n_resumed = len(items) - sum(len(piece) for _, piece in todo.values())
        progress(done, len(items))
        place = model_place(model)
        jobs = (
            (key, (place, piece, settings, (work / _name(number)).resolve()))
            for key, (number, piece) in todo.items()
        )
        for key, _ in shared(
            batch_part, jobs, n_workers=n_workers, cluster=cluster, n_pieces=len(todo)
        ):
            done += len(todo[key][1])
            progress(done, len(items))
        parts = [work / _name(number) for number in range(len(pieces))]
        n_read, n_failed = _joined(parts, out, names=settings.names)
    return BatchTable(n_read, n_failed, len(items), n_resumed, others)


def batch_part(model: str, items: Sequence[BatchItem], settings: BatchSettings, path: Path) -> int:
    """Look at some recordings and write their rows as one file.

    Parameters
    ----------
    model : str
        As `model_place` gives it.
    items : sequence of BatchItem
    settings : BatchSettings
    path : Path
        Of the part; it appears whole.

    Returns
    -------
    int
        Rows in it.
    """
    loaded = model_in_worker(model)
    results = list(
        batch(
            loaded,
            items,
            settings.questions,
            vcg_method=settings.vcg_method,
            prevalence=settings.prevalence,
            told=settings.told,
            measured=settings.measured,
        )
    )
    write_text_atomically(
        path, batch_csv(loaded, results, names=settings.names, refused=settings.refused)
    )
    return len(results)


def _name(number: int) -> str:
    return f"part-{number:06d}.csv"


def _fingerprint(model: Model, items: Sequence[BatchItem], settings: BatchSettings) -> str:
    facts = [__version__, model.hash, model.checkpoint.sigma2, repr(settings), ITEMS_A_PART]
    hashed = hashlib.sha256(json.dumps(facts).encode())
    for item in items:
        hashed.update(f"{item.name} {item.size}\n".encode())
    return hashed.hexdigest()


def _heads(part: Path) -> list[str]:
    with part.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file))


def _rows(part: Path) -> tuple[list[str], list[list[str]]]:
    """Names of columns, and the rows."""
    with part.open(encoding="utf-8", newline="") as file:
        heads, *rows = csv.reader(file)
    return heads, rows


def _joined(parts: Sequence[Path], out: Path, *, names: bool) -> tuple[int, int]:
    """Write the table; how many rows were read and how many failed."""
    # Columns of answers and measurements are there only where a row of the part has them.
    columns = max(map(_heads, parts), key=len)
    n_rows = n_failed = 0
    with (
        replacing_file(out) as draft,
        draft.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for part in parts:
            heads, rows = _rows(part)
            for cells in rows:
                row: dict[str, Any] = dict(zip(heads, cells, strict=True))
                n_rows += 1
                n_failed += row["status"] == "failed"
                if not names:
                    # In the part they are numbered from 1.
                    row["recording"] = f"recording {n_rows}"
                writer.writerow(row)
    return n_rows - n_failed, n_failed
