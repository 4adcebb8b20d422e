"""A study set as a folder: filtered once, read by every training and evaluation.

::

    studies.parquet   the table
    signal_mv.npy     (n, 12, n_times), float32
    valid.npy         the same shape, bool
    card.json         what it is, where it comes from, counts, and the sha256 of the files above
    croissant.json    the same for catalogues (`croissant`); never read

The arrays are memory-mapped when read, so a set may be larger than memory. Rows stand in the
order of the splits (train, valid, test), so that a split is one slice of the file and reading
it copies nothing. Reading is strict: hashes, shapes and types must fit, and nothing is repaired.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import replacing_folder, settled, sha256_of_file
from echoing_core.datasets.croissant import CROISSANT, croissant_text
from echoing_core.datasets.study_set import SPLITS, StudySet
from echoing_core.documents import parse_json
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.records import LEADS, LONG_PADDING, BoolArray
from echoing_core.stores import refuse_store

if TYPE_CHECKING:
    import pandas as pd

KIND = "prepared study set"
FORMAT = 1
FILES = ("studies.parquet", "signal_mv.npy", "valid.npy")
CARD = "card.json"

_OWN_ENTRIES = (
    "kind",
    "format",
    "source",
    "simulated",
    "n_studies",
    "n_patients",
    "n_times",
    "splits",
    "labels",
    "files",
)
# 60 MB of signals.
_ROWS_AT_ONCE = 1024
_MAX_CARD_BYTES = 4_000_000


def save_prepared(
    folder: Path, study_set: StudySet, *, card: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write a study set as a folder, whole or not at all.

    Parameters
    ----------
    folder : Path
        New, empty, or an older prepared set, which is then replaced.
    study_set : StudySet
        Rows are written in the order of the splits, and within a split in their own.
    card : mapping, optional
        Further entries for ``card.json``: how the set was made, versions, what was left out.

    Returns
    -------
    dict
        The card as written. ``source`` and ``simulated`` come from the table; ``labels`` has, for
        each label, how many studies have it known and, of a bool, how many are positive.

    Raises
    ------
    ConfigError
        ``folder`` holds something else.
    DataSetError
        The set is empty.
    """
    folder = Path(folder)
    if not len(study_set):
        raise DataSetError("A study set without studies cannot be prepared. Choose other records.")
    may_become_prepared(folder)
    order = order_of_splits(study_set.table)
    blocks = (
        (study_set.signal_mv[rows], study_set.valid[rows])
        for rows in (order[i : i + _ROWS_AT_ONCE] for i in range(0, len(order), _ROWS_AT_ONCE))
    )
    table = study_set.table.iloc[order].reset_index(drop=True)
    n_times = study_set.signal_mv.shape[2]
    with replacing_folder(folder) as draft:
        return write_draft(draft, table, blocks, n_times=n_times, card=card)


def may_become_prepared(folder: Path) -> None:
    """Refuse a folder that a prepared set may not replace.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    ConfigError
        It holds something else than a prepared set, or is in an object store.
    """
    refuse_store(folder)
    if not _may_replace(folder):
        raise ConfigError(
            f"{folder} already holds something that is not a {KIND}. Choose another folder or "
            "empty this one."
        )


def order_of_splits(table: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Row numbers in the order train, valid, test, and within a split as they stand.

    Parameters
    ----------
    table : DataFrame
        With a column ``split``.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    rank = table["split"].map(SPLITS.index).to_numpy()
    return np.argsort(rank, kind="stable")


def write_draft(
    draft: Path,
    table: pd.DataFrame,
    blocks: Iterable[tuple[npt.NDArray[np.float32], BoolArray]],
    *,
    n_times: int,
    card: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the files of a prepared set into an empty folder; memory holds one block at a time.

    Parameters
    ----------
    draft : Path
        A folder that is renamed to its place afterwards.
    table : DataFrame, n rows
        In the order of the splits, see `order_of_splits`.
    blocks : iterable of (signal_mv, valid)
        Rows in the order of the table, each of shape (some, 12, n_times), float32 and bool.
    n_times : int
    card : mapping, optional
        Further entries for the card.

    Returns
    -------
    dict
        The card as written.

    Raises
    ------
    DataSetError
        The table and the signals are not a study set.
    """
    taken = sorted(set(card or {}) & set(_OWN_ENTRIES))
    if taken:
        raise ValueError(f"these entries of the card are written here and not given: {taken}")
    # Written first: it is small, and a table that Parquet refuses should fail early.
    table.to_parquet(draft / "studies.parquet", engine="pyarrow")
    shape = (len(table), len(LEADS), n_times)
    # Plain writing, not a memory map: mapped pages count as memory of this process.
    with (draft / "signal_mv.npy").open("wb") as signals, (draft / "valid.npy").open("wb") as valid:
        _start_array(signals, np.dtype(np.float32), shape)
        _start_array(valid, np.dtype(np.bool_), shape)
        for signal_block, valid_block in blocks:
            signals.write(np.ascontiguousarray(signal_block, dtype=np.float32).tobytes())
            valid.write(np.ascontiguousarray(valid_block, dtype=np.bool_).tobytes())
    # Refuses tables without the columns, patients in two splits, and files of another length.
    StudySet(
        table,
        np.load(draft / "signal_mv.npy", mmap_mode="r", allow_pickle=False),
        np.load(draft / "valid.npy", mmap_mode="r", allow_pickle=False),
    )
    content = {
        "kind": KIND,
        "format": FORMAT,
        **_facts_of(table),
        "n_times": int(n_times),
        **(card or {}),
        "files": {name: sha256_of_file(draft / name) for name in FILES},
    }
    (draft / CARD).write_text(
        json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )
    sizes = {name: (draft / name).stat().st_size for name in FILES}
    (draft / CROISSANT).write_text(croissant_text(content, table, sizes), encoding="utf-8")
    return content


def load_prepared(folder: str | Path, *, splits: Collection[str] | None = None) -> StudySet:
    """Read a folder that `save_prepared` wrote; its signals stay on disk until they are used.

    Parameters
    ----------
    folder : path
    splits : collection of str, optional
        Only these splits. Neighbours in the order of `SPLITS` stay memory-mapped; train and test
        without valid are copied into memory.

    Returns
    -------
    StudySet
        ``signal_mv`` and ``valid`` are read-only.

    Raises
    ------
    DataSetError
        The folder is missing, damaged or of another kind, or has nothing in these splits.
    ConfigError
        There is no such split.
    """
    import pandas as pd

    root = Path(folder)
    unknown = sorted(set(splits or ()) - set(SPLITS))
    if unknown:
        raise ConfigError(f"There is no split {unknown[0]}. The splits are {', '.join(SPLITS)}.")
    card = read_card(root)
    for name in FILES:
        if not (root / name).is_file():
            raise _damaged(root, f"lacks {name}")
        # Hashing reads the signals once from end to end; a silent bit error would cost far more.
        if sha256_of_file(root / name) != card["files"][name]:
            raise _damaged(root, f"has a {name} that is not the file its card describes")
    try:
        table = pd.read_parquet(io.BytesIO((root / "studies.parquet").read_bytes()))
        signal_mv = np.load(root / "signal_mv.npy", mmap_mode="r", allow_pickle=False)
        valid = np.load(root / "valid.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _damaged(root, "cannot be read") from error
    all_splits = StudySet(table, signal_mv, valid)
    if splits is None:
        return all_splits
    # Splits stand one after the other, so one split, or neighbours, are one slice.
    rows = np.flatnonzero(table["split"].isin(list(splits)).to_numpy())
    if not rows.size:
        counts = ", ".join(f"{(table['split'] == split).sum()} in {split}" for split in SPLITS)
        raise DataSetError(
            f"{root.name} has no study in {' or '.join(sorted(splits))} ({counts}). Prepare more "
            "patients, or other folds with --set."
        )
    chosen = table.iloc[rows].reset_index(drop=True)
    first, last = int(rows[0]), int(rows[-1]) + 1
    if last - first == rows.size:
        return StudySet(chosen, signal_mv[first:last], valid[first:last])
    return StudySet(chosen, signal_mv[rows], valid[rows])


def read_card(folder: str | Path) -> dict[str, Any]:
    """Card of a prepared set; no other file is touched.

    Parameters
    ----------
    folder : path

    Returns
    -------
    dict

    Raises
    ------
    DataSetError
        There is none, or it is one of something else.
    """
    path = settled(Path(folder)) / CARD
    if not path.is_file():
        raise DataSetError(
            f"{folder} holds no {CARD}, so it is not a {KIND}. Make one with: echoing prepare"
        )
    if path.stat().st_size > _MAX_CARD_BYTES:
        raise _damaged(path.parent, f"has a {CARD} that is too long")
    try:
        card = parse_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path.parent, f"has a {CARD} that cannot be read") from error
    if not isinstance(card, dict) or card.get("kind") != KIND:
        raise DataSetError(f"{folder} is not a {KIND}. Make one with: echoing prepare")
    if card.get("format") != FORMAT:
        raise DataSetError(
            f"{folder} has format {card.get('format')!r}; this version reads {FORMAT}. "
            "Prepare it again."
        )
    files = card.get("files")
    if not isinstance(files, dict) or set(files) != set(FILES):
        raise _damaged(path.parent, f"has a {CARD} that does not list its files")
    return card


def filter_padding_of(folder: str | Path) -> str:
    """How the ECGs of a prepared set were filtered at their ends.

    Parameters
    ----------
    folder : path
        A prepared set.

    Returns
    -------
    str
        One of `records.PADDINGS`; sets of before there was a choice had the long one.
    """
    card = read_card(folder)
    # Of a data set it is an option like others; a simulated cohort has no adapter.
    options = card.get("options", {})
    return str(card.get("filter_padding", options.get("filter_padding", LONG_PADDING)))


def check_filter_padding(folder: str | Path, wanted: str) -> None:
    """Refuse a prepared set that was filtered otherwise than a model reads.

    Parameters
    ----------
    folder : path
    wanted : str
        The model's.

    Raises
    ------
    DataSetError
        It was.
    """
    found = filter_padding_of(folder)
    if found != wanted:
        raise DataSetError(
            f"{Path(folder).name} was filtered with the padding {found!r} and the model reads "
            f"{wanted!r}, which differs at the ends of each ECG. Prepare the set again with "
            f"--set filter_padding={wanted} (a simulated one: --filter-padding {wanted})."
        )


def _facts_of(table: pd.DataFrame) -> dict[str, Any]:
    """What the card says of the table: source, counts, and how often each label is known."""
    labels: dict[str, dict[str, int]] = {}
    for name in (str(column) for column in table.columns if str(column).startswith("label_")):
        known = table[name].dropna().astype(np.float64)
        counts = {"known": len(known)}
        if known.isin((0.0, 1.0)).all():
            counts["positive"] = int(known.sum())
        labels[name.removeprefix("label_")] = counts
    # Ids are unique within a source only.
    people = table[["source", "patient_id"]].astype(str)
    return {
        "source": ", ".join(sorted(set(table["source"].astype(str)))),
        # Who mixes real and simulated ECGs has a set of which some are simulated: say so.
        "simulated": bool(table["simulated"].astype(bool).any()),
        "n_studies": len(table),
        "n_patients": len(people.drop_duplicates()),
        "splits": {
            split: {
                "studies": int((table["split"] == split).sum()),
                "patients": len(people[table["split"] == split].drop_duplicates()),
            }
            for split in SPLITS
        },
        "labels": labels,
    }


def _start_array(stream: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = np.lib.format.dtype_to_descr(dtype)
    # Version 1.0 has a fixed header for a given shape, so that the bytes are the same each time.
    header = {"descr": described, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)


def _may_replace(folder: Path) -> bool:
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        read_card(folder)
    except DataSetError:
        return False
    return True


def _damaged(folder: Path, what: str) -> DataSetError:
    return DataSetError(
        f"The prepared set {folder.name} {what}. Prepare it again or take an undamaged copy."
    )
