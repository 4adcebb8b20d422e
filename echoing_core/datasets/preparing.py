"""From an adapter's plan to a prepared folder: in shards, resumable, the same bytes every time.

The planned rows, in the order of the splits, are cut into shards of `ROWS_PER_SHARD`. Each is read
by one worker and written to ``<out>-parts`` under its final name only when it is complete, so that
after a kill whatever has a name is finished and the rest is read again. In the end the shards are
joined to the folder, and removed. Nothing in the files depends on the time, the number of
workers, or how often the work was interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import (
    replacing_file,
    replacing_folder,
)
from echoing_core.datasets.adapter import NO_FILE, Adapter, LeftOut
from echoing_core.datasets.prepared import may_become_prepared, order_of_splits, write_draft
from echoing_core.datasets.study_set import COLUMNS, SPLITS
from echoing_core.errors import (
    DataSetError,
    MissingLeadError,
    RecordError,
    SamplingRateError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, BoolArray
from echoing_core.signals.windows import WINDOW_N
from echoing_core.version import __version__
from echoing_core.workers import agree_on, locked_parts, shared

if TYPE_CHECKING:
    import pandas as pd

# 13 MB of signals: minutes of reading lost to a kill, and few enough files.
ROWS_PER_SHARD = 256

_FORMAT = 1
# Reasons that are the same for many records, so that they can be counted; most special first.
_REASONS: tuple[tuple[type[RecordError], str], ...] = (
    (MissingLeadError, "leads are missing"),
    (SamplingRateError, "sampling rate cannot be used"),
    (UnitsError, "units cannot be used"),
    (SignalQualityError, "too short or not measured"),
    (UnreadableRecordError, "file cannot be read"),
    (RecordError, "record cannot be used"),
)

_MAX_EXAMPLES = 3

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class PrepareReport:
    """What became of a data set.

    Attributes
    ----------
    card : mapping
        Card of the prepared folder.
    n_planned : int
        Rows of the plan, that is, without what the tables alone ruled out.
    n_resumed : int
        Rows whose shards an earlier, interrupted run had finished.
    reasons : mapping of str to int
        Why records were left out -> how many, the most frequent first.
    markdown : str
        The same as ``report.md``.
    """

    card: Mapping[str, Any]
    n_planned: int
    n_resumed: int
    reasons: Mapping[str, int]
    markdown: str


def prepare(
    adapter: Adapter,
    root: str | Path,
    out: str | Path,
    *,
    n_workers: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    rows_per_shard: int = ROWS_PER_SHARD,
    progress: Progress = SILENT,
) -> PrepareReport:
    """Read a data set into a prepared folder.

    Parameters
    ----------
    adapter : Adapter
    root : path
        The folder of the data set as it was downloaded.
    out : path
        New, empty, or an older prepared set, which is then replaced. Unfinished work lies beside
        it in ``<out>-parts`` and needs about as much room as the result.
    n_workers : int, optional
        Processes that read, two by default; the result does not depend on it.
    cluster : str, optional
        A Ray cluster that reads in their place, on all of its cores by default
        (`workers.shared`).
    restart : bool
        Throw away unfinished work on other data or with other options; without, it is an error.
    rows_per_shard : int
        So many rows are read before they are safe from a kill. The result does not depend on it.
    progress : Progress, optional
        Counts rows. The first call tells what was finished before.

    Returns
    -------
    PrepareReport

    Raises
    ------
    DataSetError
        ``root`` is not this data set, or none of its records can be used.
    ConfigError
        ``out`` holds something else, is being prepared by another process, or holds unfinished
        work on other data or with other options.
    """
    root, out = Path(root), Path(out)
    if n_workers is None and cluster is None:
        n_workers = 2
    if not root.is_dir():
        raise DataSetError(f"There is no folder {root}. Name the folder of the data set.")
    # Refused before hours of reading, not after.
    may_become_prepared(out)
    plan = adapter.plan(root)
    if plan.table.empty:
        raise DataSetError(_nothing(adapter.name, plan.left_out))
    _check(plan.table, adapter.name)
    table = plan.table.iloc[order_of_splits(plan.table)].reset_index(drop=True)
    pieces = [
        range(i, min(i + rows_per_shard, len(table))) for i in range(0, len(table), rows_per_shard)
    ]
    work = out.with_name(out.name + "-parts")
    with locked_parts(work):
        agree_on(work, _fingerprint(adapter, table, rows_per_shard), restart=restart)
        todo = [i for i in range(len(pieces)) if not (work / _name(i)).is_file()]
        # Rows, not shards: the last shard may be short.
        n_resumed = len(table) - sum(len(pieces[i]) for i in todo)
        _read_all(adapter, root, table, pieces, todo, work, n_workers, cluster, n_resumed, progress)
        taken_rows: list[int] = []
        left_out = list(plan.left_out)
        # np.asarray may give a read-only view of the table.
        simulated = np.asarray(table["simulated"], dtype=np.bool_).copy()
        for number, piece in enumerate(pieces):
            # First the facts of all shards, then signals one shard at a time: memory holds one
            # block.
            shard = _read_shard(work / _name(number), with_signals=False)
            rows = piece.start + shard.rows
            taken_rows += rows.tolist()
            simulated[rows] |= shard.simulated
            left_out += shard.left_out
        if not taken_rows:
            raise DataSetError(_nothing(adapter.name, left_out))
        # A file that says it was simulated is believed, whatever the table says.
        table = table.assign(simulated=simulated)
        taken = table.iloc[taken_rows].reset_index(drop=True)
        reasons = dict(Counter(item.reason for item in left_out).most_common())
        card = {
            "data_set": adapter.name,
            "options": _options(adapter),
            "left_out": reasons,
            **plan.card,
        }
        blocks = (
            (shard.signal_mv, shard.valid)
            for shard in (
                _read_shard(work / _name(number), with_signals=True)
                for number in range(len(pieces))
            )
        )
        with replacing_folder(out) as draft:
            card = write_draft(draft, taken, blocks, n_times=WINDOW_N, card=card)
            markdown = report_text(card, left_out)
            (draft / "report.md").write_text(markdown, encoding="utf-8")
            (draft / "left_out.csv").write_text(_left_out_text(left_out), encoding="utf-8")
    # The plan last: without it, what a kill leaves here would pass for work on other data.
    for number in range(len(pieces)):
        (work / _name(number)).unlink(missing_ok=True)
    shutil.rmtree(work)
    return PrepareReport(card, len(plan.table), n_resumed, reasons, markdown)


def report_text(card: Mapping[str, Any], left_out: list[LeftOut] | tuple[LeftOut, ...]) -> str:
    """Write as Markdown what was taken, what was left out and why, and the labels.

    Parameters
    ----------
    card : mapping
        Of the prepared folder.
    left_out : sequence of LeftOut

    Returns
    -------
    str
    """
    n_left = len(left_out)
    simulated = " (holds simulated ECGs)" if card["simulated"] else ""
    lines = [
        f"# {card['data_set']}{simulated}",
        "",
        f"{card['n_studies']} ECGs of {card['n_patients']} patients taken, {n_left} left out.",
        "",
        "| split | ECGs | patients |",
        "|---|---|---|",
        *(
            f"| {name} | {card['splits'][name]['studies']} | {card['splits'][name]['patients']} |"
            for name in SPLITS
        ),
        "",
    ]
    if n_left:
        lines += ["| left out because | records | for example |", "|---|---|---|"]
        for reason, count in Counter(item.reason for item in left_out).most_common():
            examples = [item.record_id for item in left_out if item.reason == reason]
            named = ", ".join(examples[:_MAX_EXAMPLES])
            lines.append(f"| {_cell(reason)} | {count} | {_cell(named)} |")
        lines.append("")
    notes = card.get("notes")
    if notes:
        lines += [*(f"- {note}" for note in notes), ""]
    if card["labels"]:
        lines += ["| label | known | positive |", "|---|---|---|"]
        for name, counts in card["labels"].items():
            lines.append(f"| {_cell(name)} | {counts['known']} | {counts.get('positive', '')} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _left_out_text(left_out: list[LeftOut]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["record_id", "reason", "detail"])
    writer.writerows([item.record_id, item.reason, item.detail] for item in left_out)
    return stream.getvalue()


def _nothing(name: str, left_out: list[LeftOut] | tuple[LeftOut, ...]) -> str:
    if not left_out:
        return f"{name} holds no record here. Check that the folder is complete."
    reason, count = Counter(item.reason for item in left_out).most_common(1)[0]
    return (
        f"None of the {len(left_out)} records of {name} can be used; of {count} the reason is: "
        f"{reason}. Check that the folder is complete and the options fit."
    )


def _check(table: pd.DataFrame, name: str) -> None:
    """Refuse a plan that cannot become a study set before hours of reading, not after."""
    missing = [column for column in (*COLUMNS, "path") if column not in table.columns]
    if missing:
        raise DataSetError(f"The plan of {name} lacks the columns {', '.join(missing)}.")
    unknown = sorted(set(table["split"]) - set(SPLITS))
    if unknown:
        raise DataSetError(f"Unknown splits {unknown}; the splits are {', '.join(SPLITS)}.")
    doubled = table["record_id"][table["record_id"].duplicated()]
    if len(doubled):
        raise DataSetError(
            f"{len(doubled)} records of {name} stand in its tables twice, for example "
            f"{doubled.iloc[0]}. Remove one of the two."
        )
    n_splits = table.groupby(["source", "patient_id"])["split"].nunique()
    shared = n_splits[n_splits > 1]
    if len(shared):
        raise DataSetError(
            f"{len(shared)} patients of {name} stand in more than one split, for example "
            f"{shared.index[0][1]}. Split by patient, not by recording."
        )


# Shards


@dataclass(frozen=True, eq=False)
class _Shard:
    """Rows of one shard that were taken, counted from its first, and what was left out."""

    rows: npt.NDArray[np.int64]
    simulated: BoolArray
    left_out: tuple[LeftOut, ...]
    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray


def _name(number: int) -> str:
    return f"part-{number:06d}.npz"


def _read_all(
    adapter: Adapter,
    root: Path,
    table: pd.DataFrame,
    pieces: list[range],
    todo: list[int],
    work: Path,
    n_workers: int | None,
    cluster: str | None,
    n_done: int,
    progress: Progress,
) -> None:
    """Read the shards that are still to do; a few are under way at a time, not all."""

    def rows_of(number: int) -> list[Row]:
        piece = table.iloc[pieces[number].start : pieces[number].stop]
        return [{str(k): value for k, value in row.items()} for row in piece.to_dict("records")]

    progress(n_done, len(table))
    jobs = ((number, (adapter, root, rows_of(number), work / _name(number))) for number in todo)
    for number, _ in shared(
        write_shard, jobs, n_workers=n_workers, cluster=cluster, n_pieces=len(todo)
    ):
        n_done += len(pieces[number])
        progress(n_done, len(table))


def write_shard(adapter: Adapter, root: Path, rows: list[Row], path: Path) -> None:
    """Read the ECGs of some rows and write them as one file, complete or not at all.

    Parameters
    ----------
    adapter : Adapter
    root : Path
    rows : list of dict
        Of the plan's table.
    path : Path
        Of the shard.

    Raises
    ------
    ValueError
        The adapter gave an ECG of another shape than (12, 1000).
    """
    taken: list[int] = []
    simulated: list[bool] = []
    left_out: list[tuple[str, str, str]] = []
    signal_mv = np.zeros((len(rows), len(LEADS), WINDOW_N), dtype=np.float32)
    valid = np.zeros(signal_mv.shape, dtype=np.bool_)
    for number, row in enumerate(rows):
        try:
            ecg = adapter.read(root, row)
        except RecordError as error:
            left_out.append((str(row["record_id"]), _reason(error, root, row), str(error)))
            continue
        if ecg.signal_mv.shape != signal_mv.shape[1:]:
            raise ValueError(
                f"adapter {adapter.name} gave {row['record_id']} the shape {ecg.signal_mv.shape}, "
                f"not {signal_mv.shape[1:]}"
            )
        signal_mv[len(taken)], valid[len(taken)] = ecg.signal_mv, ecg.valid
        taken.append(number)
        simulated.append(ecg.simulated)
    facts = json.dumps({"rows": taken, "simulated": simulated, "left_out": left_out})
    with replacing_file(path) as draft, draft.open("wb") as stream:
        np.savez(
            stream,
            told=np.frombuffer(facts.encode(), dtype=np.uint8),
            signal_mv=signal_mv[: len(taken)],
            # Bits: a byte for each sample would make the shards a fifth larger than they need be.
            valid=np.packbits(valid[: len(taken)], axis=2),
        )


def _reason(error: RecordError, root: Path, row: Row) -> str:
    stem = root / str(row["path"])
    if isinstance(error, UnreadableRecordError):
        # Tables name the header, the stem, or a file with all rows.
        header = stem.with_name(stem.name.removesuffix(".hea") + ".hea")
        if not stem.is_file() and not header.is_file():
            return NO_FILE
    return next(words for kind, words in _REASONS if isinstance(error, kind))


def _read_shard(path: Path, *, with_signals: bool) -> _Shard:
    """Read a shard; a damaged one is removed, so that the next run reads its rows again."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            facts = json.loads(file["told"].tobytes())
            rows = np.asarray(facts["rows"], dtype=np.int64)
            n = len(rows) if with_signals else 0
            signal_mv = file["signal_mv"] if n else np.zeros((0, len(LEADS), WINDOW_N), np.float32)
            packed = file["valid"] if n else np.zeros((0, len(LEADS), 0), np.uint8)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        path.unlink(missing_ok=True)
        raise DataSetError(
            f"{path.name} in {path.parent.name} is damaged and was removed. Run the same command "
            "again: only that part is read anew."
        ) from error
    valid = np.unpackbits(packed, axis=2, count=WINDOW_N) if n else packed
    return _Shard(
        rows,
        np.asarray(facts["simulated"], dtype=np.bool_),
        tuple(LeftOut(*item) for item in facts["left_out"]),
        signal_mv,
        valid.astype(np.bool_),
    )


# What shards belong to


def _fingerprint(adapter: Adapter, table: pd.DataFrame, rows_per_shard: int) -> str:
    """Hash of everything that decides what stands in a shard, the code's version included."""
    facts = [_FORMAT, __version__, adapter.name, repr(adapter), rows_per_shard]
    hashed = hashlib.sha256(json.dumps(facts).encode())
    # Parquet holds types and order of the rows, as a hash of CSV would not.
    hashed.update(table.to_parquet(engine="pyarrow"))
    return hashed.hexdigest()


def _options(adapter: Adapter) -> dict[str, Any]:
    """Options as the card lists them; of paths the last part only, which is no private matter."""
    options: Any = adapter  # a dataclass, which the protocol cannot say
    return {item.name: _plain(getattr(options, item.name)) for item in fields(options)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, (tuple, frozenset, list, set)):
        return [_plain(item) for item in (value if isinstance(value, tuple) else sorted(value))]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
