"""Indexes of one's own ECGs, on disk: of a prepared set, or of a folder of files and a table.

What the app builds in memory from uploads (`services.own_index`) is made of the same parts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from echoing_core.artifacts import CARD, linked_or_copied, writing_folder
from echoing_core.errors import ConfigError, DataSetError, EchoingError
from echoing_core.io.many import folder_items, recording_endings
from echoing_core.progress import SILENT, Progress
from echoing_core.services.models import Model, model_in_worker
from echoing_core.services.own_index import (
    MOST_WINDOWS_EACH,
    SOURCE,
    Metadata,
    OwnItem,
    as_microvolts,
    index_parts,
    items_of_recording,
    parts_of_many,
)
from echoing_core.stores import Place, StorePath, place_of
from echoing_core.version import __version__
from echoing_core.workers import parts_of, shared

MADE_OF = "made_of"
"""Entry of an index's card: hash of what it was made of, by which it is known again."""

N_REPORTS = "n_reports"
"""Entry of the card of a shard, and of an index of shards."""

_MOST_TRACES = 200_000
_N_NAMED = 5


@dataclass(frozen=True)
class BuiltIndex:
    """What came of building an index.

    Attributes
    ----------
    n : int
        Items.
    n_reports : int
        Of these with a report.
    failures : tuple of (name, reason)
        Recordings that could not be read.
    notes : tuple of str
        Sentences on rows and recordings that do not belong to each other.
    """

    n: int
    n_reports: int
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def build_prepared_index(
    out: str | os.PathLike[str],
    model: Model,
    data: str | os.PathLike[str],
    *,
    name: str | None = None,
    traces: bool = True,
    made_of: str = "",
    progress: Progress = SILENT,
) -> BuiltIndex:
    """Embed every ECG and report of a prepared set and write an index folder.

    Parameters
    ----------
    out : path
        Folder to write.
    model : Model
        Embeds the ECGs; the index is bound to it.
    data : path
        That ``echoing prepare`` made; all of its splits.
    name : str, optional
        As a person reads it; without, the folder's.
    traces : bool
        Keep the ECGs themselves, 24 kB each: they are drawn where they are found.
    made_of : str
        Goes into the card (`MADE_OF`).
    progress : Progress, optional
        Counts ECGs.

    Returns
    -------
    BuiltIndex

    Raises
    ------
    DataSetError
        The set is damaged, or was filtered otherwise than the model reads.
    ConfigError
        ``out`` holds something that is no index.
    """
    from echoing_core.datasets.prepared import check_filter_padding, load_prepared
    from echoing_core.embed.encode import encode_batch, encode_reports
    from echoing_core.evaluate.shipped.gallery import items_of
    from echoing_core.retrieve.index import GAP, REPORTS_EMBEDDED, build_index

    folder = Path(data)
    check_filter_padding(folder, model.checkpoint.filter_padding)
    studies = load_prepared(folder)
    reports = [str(text) for text in studies.table["report"].fillna("")]
    checkpoint = model.checkpoint
    ecg = encode_batch(
        checkpoint.encoder.ecg,
        checkpoint.scaler,
        studies.signal_mv,
        studies.valid,
        progress=progress,
    )
    text = encode_reports(checkpoint, reports)
    build_index(
        Path(out),
        ecg=ecg,
        text=text,
        items=items_of(studies, ecg.uncertainty, text.uncertainty, checkpoint),
        checkpoint_hash=model.hash,
        card={
            "name": (name or folder.name)[:80],
            "description": f"The prepared set {folder.name}.",
            "model": model.name,
            **({} if model.has_text else {REPORTS_EMBEDDED: False}),
            **({MADE_OF: made_of} if made_of else {}),
        },
        traces=as_microvolts(studies.signal_mv, studies.valid, GAP) if traces else None,
    )
    return BuiltIndex(len(studies), sum(bool(report.strip()) for report in reports))


def build_folder_index(
    out: str | os.PathLike[str],
    model: Model,
    folder: str | os.PathLike[str],
    reports: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    windows: int = 1,
    made_of: str = "",
    progress: Progress = SILENT,
) -> BuiltIndex:
    """Embed the recordings of a folder with their reports and write an index folder.

    Parameters
    ----------
    out : path
        Folder to write.
    model : Model
        Embeds them; the index is bound to it.
    folder : path
        With recordings of any format that can be read, and folders of such.
    reports : path, optional
        A CSV with a column that names the recording (``recording``, ``record``, ``path``, ``file``
        or ``filename``; the ending may be left out) and any of ``report``, ``patient`` and
        ``label_...``.
    name : str, optional
        As a person reads it; without, the folder's.
    windows : int
        Of each recording so many of its surest windows, not overlapping; 1 to 5.
    made_of : str
        As in `build_prepared_index`.
    progress : Progress, optional
        Counts recordings.

    Returns
    -------
    BuiltIndex

    Raises
    ------
    ConfigError
        The folder holds no recording, or ``out`` something that is no index.
    DataSetError
        The table cannot be used, names a recording twice, or none of the recordings; or no
        recording could be read.
    """
    from echoing_core.retrieve.index import build_index

    if not 1 <= windows <= MOST_WINDOWS_EACH:
        raise ConfigError(
            f"{windows} windows of a recording are not possible; 1 to {MOST_WINDOWS_EACH} are."
        )
    root = Path(folder)
    recordings, _ = folder_items(root)
    if reports is not None:
        # A table is read as a recording by its ending, and may lie among them.
        table = Path(reports).resolve()
        recordings = [
            item
            for item in recordings
            if not any(f.path is not None and f.path.resolve() == table for f in item.files)
        ]
    rows = {} if reports is None else read_reports(Path(reports))
    by_item, notes = _matched(
        [item.name for item in recordings], rows, "" if reports is None else Path(reports).name
    )
    items: list[OwnItem] = []
    of_each: list[Metadata] = []
    failures: list[tuple[str, str]] = []
    for done, item in enumerate(recordings):
        try:
            found = items_of_recording(model, item.read(), windows=windows)
        except EchoingError as error:
            failures.append((item.name, str(error)))
        else:
            items += [replace(one, record=item.name) for one in found]
            of_each += [by_item.get(item.name, Metadata())] * len(found)
        progress(done + 1, len(recordings))
    if not items:
        first = f" The first, {failures[0][0]}: {failures[0][1]}" if failures else ""
        raise DataSetError(f"None of the recordings of {root} could be read.{first}")
    parts = index_parts(model, items, of_each, name or root.name, f"Recordings of {root.name}.")
    if made_of:
        parts["card"][MADE_OF] = made_of
    build_index(Path(out), **parts)
    n_reports = sum(bool(one.report.strip()) for one in of_each)
    return BuiltIndex(len(items), n_reports, tuple(failures), notes)


def build_embedded_index(
    out: str | os.PathLike[str] | StorePath,
    model: Model,
    embedded: str | os.PathLike[str] | StorePath,
    reports: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    traces: bool = True,
    n_shards: int | None = None,
    n_workers: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    progress: Progress = SILENT,
) -> BuiltIndex:
    """Write an index folder of what `embedding.embed_collection` embedded.

    Parameters
    ----------
    out : path
        Folder to write, or address in an object store. Shards that are finished wait for the
        others (`workers.parts_of`).
    model : Model
        That the embeddings were made with.
    embedded : path
    reports, name
        As in `build_folder_index`.
    traces : bool
        Keep the ECGs themselves, 24 kB each: they are drawn where they are found.
    n_shards : int, optional
        An index in so many shards (`retrieve.shards`); memory is taken for one at a time.
    n_workers, cluster
        Who builds shards, as in `workers.shared`.
    restart : bool
        Throw away unfinished shards of other embeddings or reports.
    progress : Progress, optional
        Counts ECGs.

    Returns
    -------
    BuiltIndex

    Raises
    ------
    IndexMismatchError
        The embeddings are damaged, unfinished, or another model's.
    DataSetError
        The table cannot be used.
    ConfigError
        So many shards cannot be, or there are unfinished ones of other work.
    LostProcessError
        See `workers.shared`.
    """
    from echoing_core.retrieve.index import build_index
    from echoing_core.services.embedding import counts_of, part_records, part_sizes

    out, folder = place_of(out), place_of(embedded)
    rows = {} if reports is None else read_reports(Path(reports))
    total, n_failed = counts_of(folder, model)
    sizes = {part: n for part, n in part_sizes(folder, model).items() if n}
    shards = _cut(list(sizes), n_shards or 1)
    largest = max(sum(sizes[part] for part in shard) for shard in shards)
    if traces and largest > _MOST_TRACES:
        raise ConfigError(
            f"{largest:,} ECGs do not go into one folder with their traces of 24 kB; at most "
            f"{_MOST_TRACES:,} do. Leave them out with --no-traces, or make more --shards."
        )
    records: dict[str, list[str]] = {}
    by_record: dict[str, Metadata] = {}
    notes: tuple[str, ...] = ()
    if reports is not None:
        records = part_records(folder, model)
        names = list(dict.fromkeys(record for some in records.values() for record in some))
        by_record, notes = _matched(names, rows, Path(reports).name)
    title = name or folder.name
    if n_shards is None:
        parts, n_reports = _of_parts(
            model, folder, shards[0], total, by_record, title, traces, progress=progress
        )
        build_index(out, **parts)
    else:
        # Each is given the rows of its own recordings, which are copied to who builds it.
        pieces, first = [], 0
        for shard in shards:
            own = [r for part in shard for r in records.get(part, ()) if r in by_record]
            n = sum(sizes[part] for part in shard)
            pieces.append(_Piece(tuple(shard), first, n, {r: by_record[r] for r in own}))
            first += n
        n_reports = _build_shards(
            out, model, folder, pieces, title, traces, n_workers, cluster, restart, progress
        )
    if n_failed:
        notes += (f"{n_failed:,} recordings could not be read when they were embedded.",)
    return BuiltIndex(total, n_reports, notes=notes)


@dataclass(frozen=True)
class _Piece:
    """A shard to be built: of which parts of embeddings, after how many items of other shards."""

    parts: tuple[str, ...]
    first: int
    n: int
    by_record: Mapping[str, Metadata]


def _of_parts(
    model: Model,
    folder: Place,
    names: Sequence[str],
    n: int,
    by_record: Mapping[str, Metadata],
    title: str,
    traces: bool,
    *,
    first: int = 0,
    progress: Progress = SILENT,
) -> tuple[dict[str, Any], int]:
    """What `build_index` takes, of some parts of embeddings with n ECGs; and how many reports."""
    import pandas as pd

    from echoing_core.retrieve.vectors import as_vectors
    from echoing_core.services.embedding import embedded_parts

    # In their place at once: pieces that are put together in the end are there twice.
    rows = np.empty((n, model.checkpoint.encoder.config.dim + 1), dtype=np.float32)
    uncertainty = np.empty(n)
    microvolts = np.empty((n, 12, 1000), dtype=np.int16) if traces else None
    tables, done = [], 0
    for part in embedded_parts(folder, model, traces=traces, names=names):
        here = slice(done, done + len(part.table))
        if microvolts is not None:
            raw = b"".join(part.table.pop("microvolts"))
            microvolts[here] = np.frombuffer(raw, np.int16).reshape(-1, 12, 1000)
        rows[here] = as_vectors(part.embedding)
        uncertainty[here] = part.embedding.uncertainty
        tables.append(part.table.drop(columns="content"))
        done = here.stop
        progress(done, n)
    table = pd.concat(tables, ignore_index=True)
    nothing = Metadata()
    of_each = [by_record.get(record, nothing) for record in table["record"]]
    parts = parts_of_many(
        model,
        rows,
        uncertainty=uncertainty,
        records=list(table["record"]),
        start_s=list(table["start_s"]),
        percentile=list(table["percentile"]),
        simulated=list(table["simulated"]),
        of_each=of_each,
        name=title,
        description=f"The embeddings {folder.name}.",
        traces=microvolts,
        first=first,
    )
    if traces and all(table["origin"]):
        parts["card"]["lead_origins"] = list(table["origin"])
    return parts, sum(bool(one.report.strip()) for one in of_each)


def _cut(parts: Sequence[str], n_shards: int) -> list[list[str]]:
    """Parts of embeddings, which are of about one size, in shards of about one size."""
    if not 1 <= n_shards <= len(parts):
        raise ConfigError(
            f"{n_shards} shards are not possible: these embeddings lie in {len(parts)} parts, each "
            f"of which goes into one shard. Choose 1 to {len(parts)}."
        )
    cuts = [len(parts) * i // n_shards for i in range(n_shards + 1)]
    return [list(parts[begin:end]) for begin, end in pairwise(cuts)]


def _build_shards(
    out: Place,
    model: Model,
    folder: Place,
    pieces: Sequence[_Piece],
    title: str,
    traces: bool,
    n_workers: int | None,
    cluster: str | None,
    restart: bool,
    progress: Progress,
) -> int:
    """Write an index in shards; how many of its items have a report."""
    from echoing_core.retrieve.index import FEWEST_FOR_CELLS, KIND, REPORTS_EMBEDDED
    from echoing_core.retrieve.shard_names import shard_name
    from echoing_core.retrieve.shards import seal_shards

    total = sum(piece.n for piece in pieces)
    told = hashlib.sha256((folder / CARD).read_bytes())
    facts = [__version__, model.hash, title, traces, [asdict(piece) for piece in pieces]]
    told.update(json.dumps(facts).encode())
    place: Model | str = model
    if (n_workers or 1) > 1 or cluster is not None:
        # Others open the model themselves.
        kind = f"@{model.sigma2}" if model.other_reference is not None else ""
        place = f"{(model.folder or Path(model.name)).resolve()}{kind}"
    extra = {
        "name": title[:80],
        "description": f"The embeddings {folder.name}.",
        "model": model.name,
        "sources": [SOURCE],
        **({} if model.has_text else {REPORTS_EMBEDDED: False}),
    }
    with parts_of(out, told.hexdigest(), restart=restart) as work:
        # In a store they stand in their place at once.
        named = shard_name if isinstance(work, StorePath) else _part
        todo = [i for i in range(len(pieces)) if not (work / named(i) / CARD).is_file()]
        done = total - sum(pieces[i].n for i in todo)
        progress(done, total)
        jobs = (
            (i, (place, folder.resolve(), pieces[i], title, traces,
                 total >= FEWEST_FOR_CELLS, (work / named(i)).resolve()))
            for i in todo
        )  # fmt: skip
        for number, _ in shared(
            build_shard, jobs, n_workers=n_workers, cluster=cluster, n_pieces=len(todo)
        ):
            done += pieces[number].n
            progress(done, total)
        if isinstance(work, StorePath):
            card = seal_shards(work, n_shards=len(pieces), checkpoint_hash=model.hash, extra=extra)
            return int(card[N_REPORTS])
        with writing_folder(out, kind=KIND) as draft:
            for i in range(len(pieces)):
                shutil.copytree(
                    work / named(i), draft / shard_name(i), copy_function=linked_or_copied
                )
            card = seal_shards(draft, n_shards=len(pieces), checkpoint_hash=model.hash, extra=extra)
    return int(card[N_REPORTS])


def _part(number: int) -> str:
    return f"part-{number:04d}"


def build_shard(
    model: Model | str,
    folder: Place,
    piece: _Piece,
    title: str,
    traces: bool,
    fast: bool,
    out: Place,
) -> None:
    """Write a shard of an index; it appears whole.

    Parameters
    ----------
    model : Model or str
        Or what `model_in_worker` opens.
    folder : Path
        Of the embeddings.
    piece : _Piece
    title : str
        Of the index.
    traces : bool
    fast : bool
        With a fast search, unless the shard is so small that it is of no use.
    out : Path or StorePath
    """
    from echoing_core.retrieve.index import build_index
    from echoing_core.retrieve.shards import FEWEST_IN_SHARD_FOR_CELLS

    loaded = model_in_worker(model) if isinstance(model, str) else model
    parts, n_reports = _of_parts(
        loaded, folder, piece.parts, piece.n, piece.by_record, title, traces, first=piece.first
    )
    parts["card"][N_REPORTS] = n_reports
    build_index(out, **parts, fast=fast and piece.n >= FEWEST_IN_SHARD_FOR_CELLS)


def read_reports(path: Path) -> dict[str, Metadata]:
    """Read a table of reports.

    Parameters
    ----------
    path : Path
        A CSV as in `build_folder_index`.

    Returns
    -------
    dict of str to Metadata
        By the name of the recording, without an ending.

    Raises
    ------
    DataSetError
        It is not there, lacks the column that names the recording, or names one twice.
    """
    from echoing_core.datasets.plain import (
        PATIENT_COLUMNS,
        RECORD_COLUMNS,
        TEXT_COLUMNS,
        label_numbers,
        read_csv,
    )

    given, decimal_comma = read_csv(path)
    named = {name.lower(): name for name in given.columns}

    def column(names: Sequence[str]) -> str | None:
        return next((named[name] for name in names if name in named), None)

    record = column(RECORD_COLUMNS)
    if record is None:
        raise DataSetError(
            f"{path.name} has no column that names the recordings. Call it recording; the table "
            f"has {', '.join(given.columns)}."
        )
    report, patient = column(TEXT_COLUMNS), column(PATIENT_COLUMNS)
    labels = {
        name.removeprefix("label_"): label_numbers(given[name], name, path.name, decimal_comma)
        for name in given.columns
        if name.startswith("label_")
    }
    rows: dict[str, Metadata] = {}
    lines: dict[str, int] = {}
    for number, text in enumerate(given[record]):
        key = _key(text)
        if not key:
            raise DataSetError(
                f"Row {number + 2} of {path.name} names no recording. Fill its column {record}, or "
                "delete the row."
            )
        if key in rows:
            raise DataSetError(
                f"{path.name} names {text} twice, in rows {lines[key] + 2} and {number + 2}. Keep "
                "one of them."
            )
        lines[key] = number
        rows[key] = Metadata(
            "" if report is None else given[report].iloc[number],
            "" if patient is None else given[patient].iloc[number],
            {
                name: float(values.iloc[number])
                for name, values in labels.items()
                # Unknown is not no.
                if values.iloc[number] == values.iloc[number]
            },
        )
    return rows


def _key(text: str) -> str:
    """A recording's name without ending, as rows and files are compared."""
    plain = text.strip().replace("\\", "/").removeprefix("./")
    for ending in recording_endings():
        if plain.lower().endswith(ending):
            return plain[: -len(ending)]
    return plain


def _matched(
    recordings: Sequence[str], rows: Mapping[str, Metadata], table: str
) -> tuple[dict[str, Metadata], tuple[str, ...]]:
    """The row of each recording by its name, and sentences on what belongs to nothing."""
    if not rows:
        return {}, ()
    # By the name with its folder; by the bare name where that is one recording alone.
    whole = {_key(name): name for name in recordings}
    bare: dict[str, list[str]] = {}
    for name in recordings:
        bare.setdefault(_key(name).rpartition("/")[2], []).append(name)
    found: dict[str, Metadata] = {}
    nowhere = []
    for key, said in rows.items():
        names = [whole[key]] if key in whole else bare.get(key, [])
        if len(names) > 1:
            raise DataSetError(
                f"{table} names {key}, and there are {len(names)} recordings of that name: "
                f"{', '.join(names[:_N_NAMED])}. Write the folder before the name."
            )
        if not names:
            nowhere.append(key)
        elif names[0] in found:
            raise DataSetError(f"{table} names {names[0]} twice. Keep one of its rows.")
        else:
            found[names[0]] = said
    if not found:
        raise DataSetError(
            f"None of the {len(rows)} rows of {table} names a recording of the folder: the first "
            f"row names {next(iter(rows))}, and the first recording is "
            f"{recordings[0] if recordings else 'none'}."
        )
    without = [name for name in recordings if name not in found]
    notes = []
    if nowhere:
        notes.append(
            f"{len(nowhere)} of {len(rows)} rows of {table} name no recording of the folder and "
            f"are left out: {_some(nowhere)}."
        )
    if without:
        notes.append(
            f"{len(without)} of {len(recordings)} recordings have no row in {table}, so no report: "
            f"{_some(without)}."
        )
    return found, tuple(notes)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _N_NAMED} more" if len(names) > _N_NAMED else ""
    return ", ".join(names[:_N_NAMED]) + more
