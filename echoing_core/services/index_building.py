"""Indexes of one's own ECGs, on disk: of a prepared set, or of a folder of files and a table.

What the app builds in memory from uploads (`services.own_index`) is made of the same parts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoing_core.errors import ConfigError, DataSetError, EchoingError
from echoing_core.io.many import folder_items, recording_endings
from echoing_core.progress import SILENT, Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.services.models import Model
from echoing_core.services.own_index import (
    MOST_WINDOWS_EACH,
    Metadata,
    OwnItem,
    as_microvolts,
    index_parts,
    items_of_recording,
    parts_of_many,
)

MADE_OF = "made_of"
"""Entry of an index's card: hash of what it was made of, by which it is known again."""

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
    out: str | os.PathLike[str],
    model: Model,
    embedded: str | os.PathLike[str],
    reports: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    traces: bool = True,
    progress: Progress = SILENT,
) -> BuiltIndex:
    """Write an index folder of what `embedding.embed_collection` embedded.

    Parameters
    ----------
    out : path
        Folder to write.
    model : Model
        That the embeddings were made with.
    embedded : path
    reports, name
        As in `build_folder_index`.
    traces : bool
        Keep the ECGs themselves, 24 kB each: they are drawn where they are found.
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
    """
    import pandas as pd

    from echoing_core.retrieve.index import build_index
    from echoing_core.services.embedding import counts_of, embedded_parts

    folder = Path(embedded)
    rows = {} if reports is None else read_reports(Path(reports))
    mu, log_var, tables, microvolts = [], [], [], []
    n, (total, n_failed) = 0, counts_of(folder, model)
    for part in embedded_parts(folder, model, traces=traces):
        if traces:
            raw = b"".join(part.table.pop("microvolts"))
            microvolts.append(np.frombuffer(raw, np.int16).reshape(-1, 12, 1000))
        tables.append(part.table)
        mu.append(part.embedding.mu)
        log_var.append(part.embedding.log_var)
        n += len(part.table)
        progress(n, total)
    table = pd.concat(tables, ignore_index=True)
    names = list(dict.fromkeys(table["record"]))
    by_record, notes = _matched(names, rows, "" if reports is None else Path(reports).name)
    of_each = [by_record.get(record, Metadata()) for record in table["record"]]
    parts = parts_of_many(
        model,
        GaussianEmbedding(np.concatenate(mu), np.concatenate(log_var)),
        records=list(table["record"]),
        start_s=list(table["start_s"]),
        percentile=list(table["percentile"]),
        simulated=list(table["simulated"]),
        of_each=of_each,
        name=name or folder.name,
        description=f"The embeddings {folder.name}.",
        traces=np.concatenate(microvolts) if traces else None,
    )
    if traces and all(table["origin"]):
        parts["card"]["lead_origins"] = list(table["origin"])
    build_index(Path(out), **parts)
    n_reports = sum(bool(one.report.strip()) for one in of_each)
    if n_failed:
        notes += (f"{n_failed:,} recordings could not be read when they were embedded.",)
    return BuiltIndex(len(table), n_reports, notes=notes)


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
