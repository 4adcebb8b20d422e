"""A collection of one's own: built from files, packed as a zip, opened from one. All in memory."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, IndexMismatchError, UnreadableRecordError
from echoing_core.io import group_records, read_recording
from echoing_core.io.sources import SourceFile, base_name
from echoing_core.io.zipped import unzip
from echoing_core.records import WINDOW_S, GaussianEmbedding, Recording
from echoing_core.services.explaining import explain
from echoing_core.services.models import Model
from echoing_core.services.searching import Collection
from echoing_core.services.uploads import Through, at_once
from echoing_core.services.windows import extreme_windows
from echoing_core.signals.windows import WINDOW_N

if TYPE_CHECKING:
    from echoing_core.retrieve.vectors import Float32s

Files = Sequence[tuple[str, bytes]]

SOURCE = "own files"
# All is held in memory for each session: traces of 2000 items are 48 MB.
MOST_ITEMS = 2000
MOST_WINDOWS_EACH = 5
MAX_ZIP_BYTES = 256 * 1024**2
_MOST_ROWS = 20_000
_MAX_REPORT = 4000
_TEXTS_AT_ONCE = 10_000
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")


@dataclass(frozen=True, eq=False)
class OwnItem:
    """Ten seconds of a recording in a collection of one's own.

    Attributes
    ----------
    record : str
        The recording's name in its file.
    start_s : float
    embedding : GaussianEmbedding, one row
    percentile : float
    microvolts : ndarray of int16, shape (12, 1000)
    origin : tuple of 12 str
        `StandardEcg.lead_origin`.
    simulated : bool
    """

    record: str
    start_s: float
    embedding: GaussianEmbedding
    percentile: float
    microvolts: npt.NDArray[np.int16]
    origin: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True)
class Metadata:
    """What a table says of a recording.

    Attributes
    ----------
    report, patient : str
        Empty where it does not say.
    labels : mapping of str to float
        1 for yes and 0 for no; without those that are not known.
    """

    report: str = ""
    patient: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)


def grouped(files: Files) -> tuple[list[list[tuple[str, bytes]]], dict[str, Metadata]]:
    """Files of several recordings, those of one recording together; and what a table says of them.

    Parameters
    ----------
    files : sequence of (name, bytes)
        A CSV file with a column ``record`` and one of ``report``, ``patient`` and ``label_...`` is
        no recording but a table about recordings.

    Returns
    -------
    groups : list of list of (name, bytes)
        See `io.group_records`; those with a header come first.
    metadata : dict
        By the name of the record.

    Raises
    ------
    ConfigError
        Such a table cannot be used, or two files have one name.
    """
    metadata: dict[str, Metadata] = {}
    others = []
    for name, content in files:
        base = base_name(name)
        if base.lower().endswith(".csv") and _is_table(content):
            metadata |= _table(content)
        else:
            others.append(SourceFile(base, len(content), data=content))
    groups = group_records(others)
    for group in groups:
        if group.refusal:
            raise ConfigError(f"Two files are called {group.name}. Add them one after the other.")
    groups.sort(key=lambda group: group.header_name is None)
    return [[(file.name, file.data or b"") for file in group.files] for group in groups], metadata


def grouped_places(files: Files) -> tuple[list[list[int]], dict[str, Metadata]]:
    """As `grouped`, with the place of each file in ``files`` for its bytes.

    Parameters
    ----------
    files : sequence of (name, bytes)

    Returns
    -------
    groups : list of list of int
    metadata : dict

    Raises
    ------
    ConfigError
        As `grouped`.
    """
    groups, metadata = grouped(files)
    # Each name stands in one of the files: two of one name were refused.
    places = {base_name(name).lower(): place for place, (name, _) in enumerate(files)}
    return [[places[name.lower()] for name, _ in group] for group in groups], metadata


def _is_table(content: bytes) -> bool:
    # The header line is enough, and a recording as CSV may be huge.
    first = content[:4000].decode("utf-8-sig", errors="replace").splitlines()[:1]
    names = {n.strip().strip('"').lower() for n in first[0].split(",")} if first else set()
    return "record" in names and any(
        n in ("report", "patient") or n.startswith("label_") for n in names
    )


def _table(content: bytes) -> dict[str, Metadata]:
    try:
        # utf-8-sig: Excel writes a byte order mark before the first name.
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            "The table of reports is no CSV file in UTF-8. Save it again as “CSV UTF-8”."
        ) from error
    if len(rows) > _MOST_ROWS:
        raise ConfigError(f"The table of reports has {len(rows):,} rows. Give {_MOST_ROWS:,}.")
    metadata = {}
    # Line numbers as an editor shows them: line 1 is the header.
    for number, row in enumerate(rows, start=2):
        values = {str(k).strip().lower(): str(v or "").strip() for k, v in row.items() if k}
        report = values.get("report", "")
        if len(report) > _MAX_REPORT:
            raise ConfigError(
                f"The report in line {number} of the table has {len(report):,} characters. "
                f"At most {_MAX_REPORT:,} are read."
            )
        labels = {
            name.removeprefix("label_"): _flag(value, name, number)
            for name, value in values.items()
            if name.startswith("label_") and value
        }
        metadata[values["record"]] = Metadata(report, values.get("patient", ""), labels)
    return metadata


def _flag(value: str, name: str, number: int) -> float:
    if value.lower() in _YES + _NO:
        return float(value.lower() in _YES)
    raise ConfigError(
        f"Line {number} of the table says {value[:20]!r} for {name}. Write 1 for yes, 0 for no, or "
        "nothing where it is not known."
    )


def own_items(model: Model, files: Files, *, windows: int = 1) -> list[OwnItem]:
    """The surest windows of the recording in these files, as items.

    Parameters
    ----------
    model : Model
    files : sequence of (name, bytes)
        Of one recording, see `grouped`.
    windows : int
        How many at most, not overlapping; 1 to 5.

    Returns
    -------
    list of OwnItem
        The surest window first.

    Raises
    ------
    EchoingError
        The files hold no recording that can be read.
    """
    if not 1 <= windows <= MOST_WINDOWS_EACH:
        raise ConfigError(
            f"{windows} windows of a recording are not possible; 1 to {MOST_WINDOWS_EACH} are."
        )
    return items_of_recording(model, read_recording(list(files)), windows=windows)


def items_of_recording(model: Model, recording: Recording, *, windows: int = 1) -> list[OwnItem]:
    """`own_items` of a recording that was read already.

    Parameters
    ----------
    model : Model
    recording : Recording
    windows : int
        As in `own_items`.

    Returns
    -------
    list of OwnItem

    Raises
    ------
    EchoingError
        It cannot be standardised, or is too short.
    """
    from echoing_core.retrieve.index import GAP

    # Windows that touch but do not overlap: items are to be different moments.
    explanation = explain(model, recording, WINDOW_S)
    ecg, track = explanation.ecg, explanation.track
    items = []
    for index in extreme_windows(track, windows, surest=True):
        begin = round(float(track.start_s[index]) * ecg.fs_hz)
        signal = ecg.signal_mv[:, begin : begin + WINDOW_N]
        known = ecg.valid[:, begin : begin + WINDOW_N]
        items.append(
            OwnItem(
                record=recording.record_id,
                start_s=float(track.start_s[index]),
                embedding=track.embedding[np.array([index])],
                # Among 12-lead ECGs, as in the shipped index, so that one filter fits both.
                percentile=float(model.reference.percentile(track.uncertainty[index])),
                microvolts=as_microvolts(signal, known, GAP),
                origin=ecg.lead_origin,
                simulated=recording.simulated,
            )
        )
    return items


def as_microvolts(
    signal_mv: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], gap: int
) -> npt.NDArray[np.int16]:
    """Traces as an index keeps them.

    Parameters
    ----------
    signal_mv, valid : ndarray, shape (..., 12, 1000)
    gap : int
        What stands where nothing was recorded (`retrieve.index.GAP`).

    Returns
    -------
    ndarray of int16, same shape
    """
    # int16 holds +-32.767 mV, and no ECG reaches the limit of 32 mV; the lowest value is the gap.
    microvolts = np.round(1000.0 * signal_mv.clip(-32.0, 32.0)).astype(np.int16)
    return np.where(valid, microvolts, np.int16(gap)).astype(np.int16)


def own_files(
    model: Model, items: Sequence[OwnItem], metadata: Mapping[str, Metadata], name: str
) -> dict[str, bytes]:
    """The files of an index folder with these items, with their traces.

    Parameters
    ----------
    model : Model
    items : sequence of OwnItem
    metadata : mapping of str to Metadata
        By the name of the record, from `grouped`.
    name : str
        Of the collection, as a person reads it.

    Returns
    -------
    dict of str to bytes
        By the name of the file.

    Raises
    ------
    ConfigError
        There are no items, or too many.
    """
    from echoing_core.retrieve.index import index_files

    if not items:
        raise ConfigError("There is no recording in this collection yet. Add at least one.")
    if len(items) > MOST_ITEMS:
        raise ConfigError(
            f"A collection built here has at most {MOST_ITEMS:,} items, and these are "
            f"{len(items):,}. Build a larger one with: echoing index build OUT --folder FILES"
        )
    of_each = [metadata.get(item.record, Metadata()) for item in items]
    parts = index_parts(model, items, of_each, name, "Built in the app from a person's own files.")
    return index_files(**parts)


def index_parts(
    model: Model,
    items: Sequence[OwnItem],
    of_each: Sequence[Metadata],
    name: str,
    description: str,
) -> dict[str, Any]:
    """What `retrieve.index.build_index` and `index_files` take, of items of one's own.

    Parameters
    ----------
    model : Model
    items : sequence of OwnItem
        At least one.
    of_each : sequence of Metadata
        Of these items.
    name, description : str
        As a person reads them.

    Returns
    -------
    dict
    """
    from echoing_core.retrieve.vectors import as_vectors

    ecg = GaussianEmbedding(
        np.concatenate([i.embedding.mu for i in items]),
        np.concatenate([i.embedding.log_var for i in items]),
    )
    parts = parts_of_many(
        model,
        as_vectors(ecg),
        uncertainty=ecg.uncertainty,
        records=[i.record for i in items],
        start_s=[i.start_s for i in items],
        percentile=[i.percentile for i in items],
        simulated=[i.simulated for i in items],
        of_each=of_each,
        name=name,
        description=description,
        traces=np.stack([i.microvolts for i in items]),
    )
    parts["card"]["lead_origins"] = ["".join(o[0] for o in i.origin) for i in items]
    return parts


def parts_of_many(
    model: Model,
    ecg: Float32s,
    *,
    uncertainty: npt.NDArray[np.float64],
    records: Sequence[str],
    start_s: Sequence[float],
    percentile: Sequence[float],
    simulated: Sequence[bool],
    of_each: Sequence[Metadata],
    name: str,
    description: str,
    traces: npt.NDArray[np.int16] | None,
    first: int = 0,
) -> dict[str, Any]:
    """`index_parts` of items whose facts stand in columns.

    Parameters
    ----------
    model : Model
    ecg : ndarray of float32, n rows
        As `as_vectors` gives them.
    uncertainty : ndarray, shape (n,)
        Of the ECGs.
    records, start_s, percentile, simulated, of_each : sequence, n entries
    name, description : str
    traces : ndarray of int16, shape (n, 12, 1000), optional
    first : int
        Items that stand before these, in another shard.

    Returns
    -------
    dict
    """
    import pandas as pd

    from echoing_core.retrieve.index import REPORTS_EMBEDDED

    text, text_uncertainty = _report_rows(model, [m.report for m in of_each])
    table = pd.DataFrame(
        {
            "item_id": [f"own-{first + number:04d}" for number in range(1, len(records) + 1)],
            # Without a name, each recording is a patient of its own, so that no two count as one
            # person.
            "patient_id": [m.patient or record for m, record in zip(of_each, records, strict=True)],
            "record_id": [f"{r} at {at:.0f} s" for r, at in zip(records, start_s, strict=True)],
            "report": [m.report for m in of_each],
            "uncertainty": uncertainty,
            "percentile": np.asarray(percentile, dtype=np.float64),
            "text_uncertainty": text_uncertainty,
            "simulated": np.asarray(simulated, dtype=np.bool_),
            "source": SOURCE,
        }
    )
    for label in dict.fromkeys(n for m in of_each for n in m.labels):
        # NaN where a table says nothing: unknown is not no.
        table[f"label_{label}"] = [m.labels.get(label, float("nan")) for m in of_each]
    texts = ["item_id", "patient_id", "record_id", "report", "source"]
    return {
        "ecg": ecg,
        "text": text,
        # The index checks the kinds of its columns, and pandas may choose a text type of its own.
        "items": table.astype(dict.fromkeys(texts, object)),
        "checkpoint_hash": model.hash,
        "card": {
            "name": name[:80],
            "description": description,
            "model": model.name,
            **({} if model.has_text else {REPORTS_EMBEDDED: False}),
        },
        "traces": traces,
    }


def _report_rows(model: Model, reports: Sequence[str]) -> tuple[Float32s, npt.NDArray[np.float64]]:
    """The reports as `as_vectors` gives them, and their uncertainty; each text embedded once."""
    from echoing_core.embed.encode import encode_reports
    from echoing_core.retrieve.vectors import as_vectors

    number = {text: i for i, text in enumerate(dict.fromkeys(reports))}
    texts = list(number)
    rows: list[Float32s] = []
    uncertainty = []
    # Whole embeddings of all would be twice as large as what is kept.
    for at in range(0, len(texts), _TEXTS_AT_ONCE):
        some = encode_reports(model.checkpoint, texts[at : at + _TEXTS_AT_ONCE])
        rows.append(as_vectors(some))
        uncertainty.append(some.uncertainty)
    of_each = [number[text] for text in reports]
    return np.concatenate(rows)[of_each], np.concatenate(uncertainty)[of_each]


def own_collection(model: Model, files: Mapping[str, bytes]) -> Collection:
    """The collection that `own_files` made, opened as any other.

    Parameters
    ----------
    model : Model
        That the items were embedded with.
    files : mapping of str to bytes
        By the name of the file.

    Returns
    -------
    Collection
    """
    from echoing_core.retrieve.index import open_index_files

    index = open_index_files(files, "own collection", checkpoint_hash=model.hash)
    return Collection(str(index.card["name"]), index, "built")


def zipped(files: Mapping[str, bytes], folder: str) -> bytes:
    """An index folder as a zip archive.

    Parameters
    ----------
    files : mapping of str to bytes
        As `own_files` gives them.
    folder : str
        Name of the folder in the archive.

    Returns
    -------
    bytes
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return out.getvalue()


def zip_collection(
    content: bytes, name: str, model: Model, *, through: Through = at_once
) -> Collection:
    """The index folder in a zip archive, checked as `load_index` checks one; nothing on disk.

    Parameters
    ----------
    content : bytes
        Of the archive.
    name : str
        Of the uploaded file.
    model : Model
        That is used to search.
    through : callable
        As in `batch`: there it is opened once, and here only if that went well.

    Returns
    -------
    Collection

    Raises
    ------
    IndexMismatchError
        It is no archive of an index folder, too large, damaged, or of another model.
    """
    from echoing_core.retrieve.index import open_index_files

    files = through(index_in_zip, content, name, model.hash)
    index = open_index_files(files, name, checkpoint_hash=model.hash)
    shown = str(index.card.get("name") or name)[:80]
    return Collection(shown, index, "upload")


def index_in_zip(content: bytes, name: str, checkpoint_hash: str) -> dict[str, bytes]:
    """The files of the index folder in a zip archive, after it was opened once.

    Parameters
    ----------
    content : bytes
        Of the archive.
    name : str
        Of the uploaded file.
    checkpoint_hash : str
        Of the model that is used to search.

    Returns
    -------
    dict of str to bytes
        For `open_index_files`, which takes them without objection.

    Raises
    ------
    IndexMismatchError
        As `zip_collection`.
    """
    from echoing_core.retrieve.index import open_index_files

    if len(content) > MAX_ZIP_BYTES:
        raise IndexMismatchError(
            f"{name} has {len(content) / 1024**2:.0f} MB; an index that is uploaded may have "
            f"{MAX_ZIP_BYTES // 1024**2} MB. Start the app with --index and its folder instead."
        )
    try:
        files = dict(unzip(SourceFile(name, len(content), data=content)))
    except UnreadableRecordError as error:
        # Its advice after the semicolon is about recordings, not about an index.
        what = str(error).split(";")[0].rstrip(".")
        raise IndexMismatchError(f"{what}. Zip the index folder again as it was saved.") from error
    open_index_files(files, name, checkpoint_hash=checkpoint_hash)
    return files
