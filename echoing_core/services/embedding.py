"""Very many ECGs embedded once, by many processes or machines, for indexes and other readers.

A **collection of embeddings** is a sealed folder of parts in Parquet. Parts are made in any order
by anybody, beside the folder, and become it in the end; after a kill the same command goes on. The
same vectors come out whoever does the work.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoing_core.artifacts import (
    CARD,
    card_bytes,
    linked_or_copied,
    make_card,
    read_card,
    read_checked,
    replacing_file,
    writing_folder,
)
from echoing_core.errors import ConfigError, DataSetError, EchoingError
from echoing_core.io.many import BatchItem, folder_items
from echoing_core.progress import SILENT, Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.services.given import check_embeddings_out, check_given
from echoing_core.services.models import Model, load_model, model_in_worker, model_place
from echoing_core.services.own_index import MOST_WINDOWS_EACH, as_microvolts, items_of_recording
from echoing_core.stores import Place, StorePath, opened, place_of, refuse_store
from echoing_core.version import __version__
from echoing_core.workers import parts_of, shared

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.datasets.study_set import StudySet

KIND = "embeddings"
ITEMS_A_PART = 256
"""Recordings, or ECGs of a prepared set: half a minute of one core lost to a kill."""

_FAILURES = b"failures"
_MAX_FAILURE = 300
_TABLE = ["record", "start_s", "content", "percentile", "simulated", "origin"]


@dataclass(frozen=True)
class Embedded:
    """What came of embedding a collection.

    Attributes
    ----------
    n : int
        ECGs of ten seconds.
    n_recordings : int
        Recordings, or rows of a prepared set.
    n_resumed : int
        Recordings of parts that were there already.
    n_again : int
        Recordings whose content another one has, which were left out.
    failures : tuple of (name, reason)
        Recordings that could not be read.
    """

    n: int
    n_recordings: int
    n_resumed: int
    n_again: int
    failures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class EmbeddedPart:
    """Some of the ECGs of a collection.

    Attributes
    ----------
    table : DataFrame, n rows
        ``record``, ``start_s``, ``content`` (sha256 of the recording's files), ``percentile``,
        ``simulated``, ``origin`` (a letter for each lead).
    embedding : GaussianEmbedding, n rows
    """

    table: pd.DataFrame
    embedding: GaussianEmbedding


def embed_collection(
    root: str | os.PathLike[str] | StorePath,
    out: str | os.PathLike[str] | StorePath,
    *,
    model: str | os.PathLike[str] | None = None,
    windows: int = 1,
    n_workers: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    progress: Progress = SILENT,
) -> Embedded:
    """Embed all recordings below a folder, or all ECGs of a prepared set.

    Parameters
    ----------
    root : path
        A folder of recordings, or one that ``echoing prepare`` made; or an address in an object
        store (`stores`) with recordings.
    out : path
        New, empty, or an older collection of embeddings, which is then replaced. Unfinished work
        lies in ``<out>-parts``. Of an address in an object store see `workers.parts_of`.
    model : path or str, optional
        A model folder or the name of a model at hand. All machines of a cluster must see it.
    windows : int
        Of each recording so many of its surest windows, not overlapping; 1 to 5.
    n_workers : int, optional
        Processes of this machine, each with a model of its own (0.4 GB); one by default.
    cluster : str, optional
        A Ray cluster that does it instead, on all of its cores by default (`workers.shared`).
    restart : bool
        Throw away unfinished work on other recordings or with another model.
    progress : Progress, optional
        Counts recordings.

    Returns
    -------
    Embedded

    Raises
    ------
    ConfigError, DataSetError
        ``root`` holds nothing to embed, none of it can be read, or ``out`` is something else.
    LostProcessError
        See `workers.shared`.
    """
    if not 1 <= windows <= MOST_WINDOWS_EACH:
        raise ConfigError(
            f"{windows} windows of a recording are not possible; 1 to {MOST_WINDOWS_EACH} are."
        )
    check_given(recordings=[root], stores=True)
    check_embeddings_out(out)
    root, out = place_of(root), place_of(out)
    if (root / "studies.parquet").is_file():
        # Its arrays are mapped.
        refuse_store(root)
    loaded = load_model(model)
    # Other machines look for the same files from other folders.
    seen_by_all = root.resolve()
    sources, names = _sources(seen_by_all, loaded)
    # Machines of a cluster may differ: there all compute on processors, which give equal numbers.
    device = "cpu" if cluster else _device(loaded, len(sources))
    pieces = [sources[i : i + ITEMS_A_PART] for i in range(0, len(sources), ITEMS_A_PART)]
    with parts_of(out, _fingerprint(loaded, names, windows, device), restart=restart) as work:
        there = {path.name for path in work.glob("part-*")}
        todo = [i for i in range(len(pieces)) if _name(i) not in there]
        done = n_resumed = len(sources) - sum(len(pieces[i]) for i in todo)
        progress(done, len(sources))
        place = model_place(model)
        jobs = (
            (i, (place, seen_by_all, pieces[i], windows, (work / _name(i)).resolve(), device))
            for i in todo
        )
        for number, _ in shared(
            embed_part, jobs, n_workers=n_workers, cluster=cluster, n_pieces=len(todo)
        ):
            done += len(pieces[number])
            progress(done, len(sources))
        n, n_again, failures = _joined(work, len(pieces), out, loaded, root, windows, device)
    return Embedded(n, len(sources), n_resumed, n_again, tuple(failures))


def _sources(root: Place, model: Model) -> tuple[list[BatchItem] | range, list[str]]:
    """What is embedded: recordings, or rows; and a line for each that tells it apart."""
    if (root / "studies.parquet").is_file():
        import pandas as pd

        from echoing_core.datasets.prepared import check_filter_padding

        check_filter_padding(Path(str(root)), model.checkpoint.filter_padding)
        card = (root / CARD).read_text(encoding="utf-8")
        ids = pd.read_parquet(str(root / "studies.parquet"), columns=["record_id"])["record_id"]
        return range(len(ids)), [card]
    items, _ = folder_items(root)
    # Archives are opened by `echoing batch`; here each file is one recording.
    return items, [f"{item.name} {item.size}" for item in items]


def _device(model: Model, n: int) -> str:
    """Where so many ECGs are embedded, as `torch.device` takes it."""
    from echoing_core.embed.encode import device_for_windows

    return str(device_for_windows(model.checkpoint.encoder.ecg, n))


def _fingerprint(model: Model, names: Sequence[str], windows: int, device: str) -> str:
    facts = [__version__, model.hash, model.checkpoint.sigma2, windows, ITEMS_A_PART]
    # A GPU's numbers differ in the last digits, and a collection is of one kind.
    if device != "cpu":
        facts.append(device.partition(":")[0])
    hashed = hashlib.sha256(json.dumps(facts).encode())
    for name in names:
        hashed.update(name.encode() + b"\n")
    return hashed.hexdigest()


def _name(number: int) -> str:
    return f"part-{number:06d}.parquet"


# One a process, as its model: a worker makes many parts of the same set.
@lru_cache(maxsize=1)
def _prepared(root: Path) -> StudySet:
    from echoing_core.datasets.prepared import load_prepared

    return load_prepared(root)


def embed_part(
    model: str,
    root: Place,
    sources: Sequence[BatchItem] | range,
    windows: int,
    path: Place,
    device: str = "cpu",
) -> int:
    """Embed some recordings, or rows of a prepared set, and write them as one file.

    Parameters
    ----------
    model : str
        As `model_place` gives it.
    root : Path
        Of the prepared set.
    sources : sequence of BatchItem, or range
        Recordings, or rows of the set.
    windows : int
        Of each recording.
    path : Path or StorePath
        Of the part; it appears whole.
    device : str
        As `torch.device` takes it.

    Returns
    -------
    int
        ECGs in it.
    """
    loaded = model_in_worker(model, device)
    failures: list[tuple[str, str]] = []
    if isinstance(sources, range):
        rows = _rows_of_set(loaded, Path(str(root)), sources)
    else:
        rows, failures = _rows_of_recordings(loaded, sources, windows)
    _write_part(path, rows, failures, loaded.checkpoint.encoder.config.dim)
    return len(rows)


Row = dict[str, Any]


def _rows_of_recordings(
    model: Model, items: Sequence[BatchItem], windows: int
) -> tuple[list[Row], list[tuple[str, str]]]:
    rows: list[Row] = []
    failures: list[tuple[str, str]] = []
    for item in items:
        item = item.at_hand()
        try:
            recording = item.read()
            found = items_of_recording(model, recording, windows=windows)
        except EchoingError as error:
            failures.append((item.name, str(error)[:_MAX_FAILURE]))
            continue
        content = _content_of(item)
        rows += [
            {
                "record": item.name,
                "start_s": one.start_s,
                "content": content,
                "percentile": one.percentile,
                "simulated": one.simulated,
                "origin": "".join(origin[0] for origin in one.origin),
                "mu": one.embedding.mu[0],
                "log_var": one.embedding.log_var[0],
                "microvolts": one.microvolts.tobytes(),
            }
            for one in found
        ]
    return rows, failures


def _content_of(item: BatchItem) -> str:
    """Hash over the bytes of a recording's files; names have no part in it."""
    told = hashlib.sha256()
    # An archive is one file of several recordings.
    for member in item.members:
        told.update(member.encode() + b"\n")
    for file in item.files:
        # Mapped and never copied: a Holter's bytes would be held as a whole.
        data = file.content()
        if file.name.lower().endswith(".hea"):
            # A WFDB header names its record, whose copy has another name.
            data = data[:].replace(file.stem.encode(), b"")
        told.update(hashlib.sha256(data).digest())
    return told.hexdigest()


def _rows_of_set(model: Model, root: Path, numbers: range) -> list[Row]:
    from echoing_core.embed.encode import encode_batch
    from echoing_core.retrieve.index import GAP

    # Arrays are mapped, so that only these rows are read.
    studies = _prepared(root)
    rows = slice(numbers.start, numbers.stop)
    signal_mv, valid = np.array(studies.signal_mv[rows]), np.array(studies.valid[rows])
    checkpoint = model.checkpoint
    embedding = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid)
    percentile = model.reference.percentile(embedding.uncertainty)
    microvolts = as_microvolts(signal_mv, valid, GAP)
    table = studies.table.iloc[rows]
    return [
        {
            "record": str(record),
            "start_s": 0.0,
            "content": hashlib.sha256(microvolts[i].tobytes()).hexdigest(),
            "percentile": float(percentile[i]),
            "simulated": bool(simulated),
            # A set does not keep which of its leads were derived.
            "origin": "",
            "mu": embedding.mu[i],
            "log_var": embedding.log_var[i],
            "microvolts": microvolts[i].tobytes(),
        }
        for i, (record, simulated) in enumerate(
            zip(table["record_id"], table["simulated"], strict=True)
        )
    ]


def _write_part(
    path: Place, rows: Sequence[Row], failures: Sequence[tuple[str, str]], dim: int
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vector = pa.list_(pa.float32(), dim)
    fields = {
        "record": pa.string(), "start_s": pa.float64(), "content": pa.string(),
        "percentile": pa.float32(), "simulated": pa.bool_(), "origin": pa.string(),
    }  # fmt: skip
    columns = [pa.array([row[name] for row in rows], kind) for name, kind in fields.items()]
    for name in ("mu", "log_var"):
        flat = np.concatenate([row[name] for row in rows]) if rows else np.empty(0)
        columns.append(pa.FixedSizeListArray.from_arrays(pa.array(flat, pa.float32()), dim))
    columns.append(pa.array([row["microvolts"] for row in rows], pa.binary()))
    schema = pa.schema(
        [*(pa.field(name, kind) for name, kind in fields.items()),
         pa.field("mu", vector), pa.field("log_var", vector), pa.field("microvolts", pa.binary())],
        metadata={_FAILURES: json.dumps(list(failures)).encode()},
    )  # fmt: skip
    table = pa.Table.from_arrays(columns, schema=schema)
    if isinstance(path, StorePath):
        content = io.BytesIO()
        pq.write_table(table, content, compression="zstd")
        path.write_bytes(content.getbuffer())
        return
    with replacing_file(path) as draft:
        pq.write_table(table, draft, compression="zstd")


def _joined(
    work: Place,
    n_parts: int,
    out: Place,
    model: Model,
    root: Place,
    windows: int,
    device: str,
) -> tuple[int, int, list[tuple[str, str]]]:
    """All parts as one sealed folder; the counts of ECGs and of recordings left out, failures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    failures: list[tuple[str, str]] = []
    seen: dict[str, str] = {}
    again: dict[str, list[int]] = {}
    recordings: set[str] = set()
    hashes: dict[str, str] = {}
    n = 0
    for number in range(n_parts):
        content = (work / _name(number)).read_bytes()
        hashes[_name(number)] = hashlib.sha256(content).hexdigest()
        part = pq.ParquetFile(pa.BufferReader(content))
        failures += json.loads(part.schema_arrow.metadata[_FAILURES])
        table = part.read(columns=["record", "content"])
        pairs = zip(table["record"].to_pylist(), table["content"].to_pylist(), strict=True)
        n += table.num_rows
        for row, (record, content) in enumerate(pairs):
            # Several windows of a recording have its content all.
            if seen.setdefault(content, record) != record:
                again.setdefault(_name(number), []).append(row)
                recordings.add(record)
                n -= 1
    if not n:
        first = f" The first, {failures[0][0]}: {failures[0][1]}" if failures else ""
        raise DataSetError(f"None of the recordings of {root} could be read.{first}")
    card = make_card(
        hashes,
        kind=KIND,
        checkpoint_hash=model.hash,
        n=n,
        dim=model.checkpoint.encoder.config.dim,
        extra={
            "model": model.name, "sigma2": model.checkpoint.sigma2, "of": root.name,
            "windows": windows, "again": again, "n_failed": len(failures),
            "device": device.partition(":")[0],
        },
    )  # fmt: skip
    if isinstance(out, StorePath):
        (out / CARD).write_bytes(card_bytes(card))
        return n, len(recordings), failures
    with writing_folder(out, kind=KIND) as draft:
        for name in hashes:
            linked_or_copied(Path(str(work)) / name, draft / name)
        (draft / CARD).write_bytes(card_bytes(card))
    return n, len(recordings), failures


def counts_of(folder: Place, model: Model) -> tuple[int, int]:
    """ECGs of a collection, and recordings that could not be read when it was made."""
    card = _card(folder, model)
    return int(card["n"]), int(card["n_failed"])


def _card(folder: Place, model: Model) -> dict[str, Any]:
    names = frozenset(path.name for path in folder.glob("part-*.parquet"))
    return read_card(folder, kind=KIND, files=names, checkpoint_hash=model.hash)


def part_sizes(folder: str | os.PathLike[str] | StorePath, model: Model) -> dict[str, int]:
    """ECGs of each part of a collection, by its name, in order; see `embedded_parts`."""
    import pyarrow.parquet as pq

    place = place_of(folder)
    card = _card(place, model)
    sizes = {}
    for name in sorted(card["files"]):
        with opened(place / name) as part:
            sizes[name] = pq.read_metadata(part).num_rows - len(card["again"].get(name, []))
    return sizes


def part_records(folder: str | os.PathLike[str] | StorePath, model: Model) -> dict[str, list[str]]:
    """The recording of each ECG of each part of a collection, as `part_sizes`."""
    import pyarrow.parquet as pq

    place = place_of(folder)
    card = _card(place, model)
    records = {}
    for name in sorted(card["files"]):
        with opened(place / name) as part:
            column = pq.read_table(part, columns=["record"])["record"].to_numpy()
        records[name] = list(np.delete(column, card["again"].get(name, [])))
    return records


def embedded_parts(
    folder: str | os.PathLike[str] | StorePath,
    model: Model,
    *,
    traces: bool = True,
    names: Sequence[str] | None = None,
) -> Iterator[EmbeddedPart]:
    """The ECGs of a collection of embeddings, part by part; each recording once.

    Parameters
    ----------
    folder : path
        That `embed_collection` wrote.
    model : Model
        That it was made with.
    traces : bool
        With ``microvolts``, 24 kB an ECG, in the table.
    names : sequence of str, optional
        Of the only parts that are wanted.

    Yields
    ------
    EmbeddedPart

    Raises
    ------
    IndexMismatchError
        It is damaged, unfinished, or another model's.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = place_of(folder)
    card = _card(place, model)
    kept = [*_TABLE, *(["microvolts"] if traces else [])]
    for name in sorted(card["files"]) if names is None else names:
        content = read_checked(place, name, card)
        held = pq.read_table(pa.BufferReader(content), columns=[*kept, "mu", "log_var"])
        vectors = [
            held[column].combine_chunks().flatten().to_numpy().reshape(held.num_rows, card["dim"])
            for column in ("mu", "log_var")
        ]
        table = held.select(kept).to_pandas()
        rows = np.delete(np.arange(len(table)), card["again"].get(name, []))
        yield EmbeddedPart(
            table.iloc[rows].reset_index(drop=True),
            GaussianEmbedding(vectors[0][rows], vectors[1][rows]),
        )
