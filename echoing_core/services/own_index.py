"""A collection of one's own: built from files, packed as a zip, opened from one. All in memory."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, IndexMismatchError, UnreadableRecordError
from echoing_core.io import read_recording
from echoing_core.records import WINDOW_S, GaussianEmbedding, Recording
from echoing_core.services.explaining import explain
from echoing_core.services.models import Model
from echoing_core.services.searching import Collection
from echoing_core.services.windows import extreme_windows
from echoing_core.signals.windows import WINDOW_N

if TYPE_CHECKING:
    import pandas as pd

Files = Sequence[tuple[str, bytes]]

SOURCE = "own files"
MOST_ITEMS = 2000
MOST_WINDOWS_EACH = 5
MAX_ZIP_BYTES = 256 * 1024**2
_MOST_ROWS = 20_000
_MAX_REPORT = 4000
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
    """

    record: str
    start_s: float
    embedding: GaussianEmbedding
    percentile: float
    microvolts: npt.NDArray[np.int16]
    origin: tuple[str, ...]
    simulated: bool


@dataclass(frozen=True)
class Told:
    """What a table says of a recording."""

    report: str = ""
    patient: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)


def grouped(files: Files) -> tuple[list[list[tuple[str, bytes]]], dict[str, Told]]:
    """Files of several recordings, those of one recording together; and what a table says of them.

    A WFDB header takes the files that it names. A CSV file with a column ``record`` and one of
    ``report``, ``patient`` and ``label_...`` is no recording but a table about recordings.

    Raises
    ------
    ConfigError
        Such a table cannot be used.
    """
    told: dict[str, Told] = {}
    left: dict[str, tuple[str, bytes]] = {}
    for name, content in files:
        base = name.replace("\\", "/").rsplit("/", 1)[-1]
        if base.lower().endswith(".csv") and _is_table(content):
            told |= _table(content)
        elif base.lower() in left:
            raise ConfigError(f"Two files are called {base}. Add them one after the other.")
        else:
            left[base.lower()] = (base, content)
    groups = []
    # Headers of many segments first: they take the headers of their segments.
    headers = [n for n in left if n.endswith(".hea")]
    headers.sort(key=lambda n: (not _is_master(left[n][1]), n))
    for name in headers:
        if name in left:
            groups.append(_take(name, left))
    groups += [[file] for _, file in sorted(left.items())]
    return groups, told


def _is_master(header: bytes) -> bool:
    first = _lines(header)[:1]
    return bool(first) and "/" in first[0].split()[0]


def _take(name: str, left: dict[str, tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The header with this name and all that belongs to it, out of ``left``."""
    header = left.pop(name)
    taken = [header]
    for line in _lines(header[1])[1:]:
        wanted = line.split()[0].lower()
        if wanted in left:
            taken.append(left.pop(wanted))
        elif f"{wanted}.hea" in left:
            taken += _take(f"{wanted}.hea", left)
    return taken


def _lines(header: bytes) -> list[str]:
    text = header[:100_000].decode("latin-1")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _is_table(content: bytes) -> bool:
    first = content[:4000].decode("utf-8-sig", errors="replace").splitlines()[:1]
    names = {n.strip().strip('"').lower() for n in first[0].split(",")} if first else set()
    return "record" in names and any(
        n in ("report", "patient") or n.startswith("label_") for n in names
    )


def _table(content: bytes) -> dict[str, Told]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            "The table of reports is no CSV file in UTF-8. Save it again as “CSV UTF-8”."
        ) from error
    if len(rows) > _MOST_ROWS:
        raise ConfigError(f"The table of reports has {len(rows):,} rows. Give {_MOST_ROWS:,}.")
    told = {}
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
        told[values["record"]] = Told(report, values.get("patient", ""), labels)
    return told


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
    windows : int
        How many at most, not overlapping; 1 to 5.

    Raises
    ------
    EchoingError
        The files hold no recording that can be read.
    """
    if not 1 <= windows <= MOST_WINDOWS_EACH:
        raise ConfigError(
            f"{windows} windows of a recording are not possible; 1 to {MOST_WINDOWS_EACH} are."
        )
    recording = read_recording(list(files))
    return items_of_recording(model, recording, windows=windows)


def items_of_recording(model: Model, recording: Recording, *, windows: int = 1) -> list[OwnItem]:
    """As `own_items`, of a recording that was read already."""
    from echoing_core.retrieve.index import GAP

    explanation = explain(model, recording, WINDOW_S)
    ecg, track = explanation.ecg, explanation.track
    items = []
    for index in extreme_windows(track, windows, surest=True):
        begin = round(float(track.start_s[index]) * ecg.fs_hz)
        signal = ecg.signal_mv[:, begin : begin + WINDOW_N]
        known = ecg.valid[:, begin : begin + WINDOW_N]
        microvolts = np.round(1000.0 * signal.clip(-32.0, 32.0)).astype(np.int16)
        items.append(
            OwnItem(
                record=recording.record_id,
                start_s=float(track.start_s[index]),
                embedding=track.embedding[np.array([index])],
                percentile=float(track.percentile[index]),
                microvolts=np.where(known, microvolts, np.int16(GAP)).astype(np.int16),
                origin=ecg.lead_origin,
                simulated=recording.simulated,
            )
        )
    return items


def own_files(
    model: Model, items: Sequence[OwnItem], told: Mapping[str, Told], name: str
) -> dict[str, bytes]:
    """The files of an index folder with these items, with their traces.

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
            f"{len(items):,}. Build a larger one from the command line."
        )
    of_each = [told.get(item.record, Told()) for item in items]
    text = _report_gaussians(model, [t.report for t in of_each])
    ecg = GaussianEmbedding(
        np.concatenate([i.embedding.mu for i in items]),
        np.concatenate([i.embedding.log_var for i in items]),
    )
    return index_files(
        ecg=ecg,
        text=text,
        items=_own_table(items, of_each, ecg, text),
        checkpoint_hash=model.hash,
        card={
            "name": name[:80],
            "description": "Built in the app from a person's own files.",
            "model": model.name,
            "lead_origins": ["".join(o[0] for o in i.origin) for i in items],
        },
        traces=np.stack([i.microvolts for i in items]),
    )


def _report_gaussians(model: Model, reports: Sequence[str]) -> GaussianEmbedding:
    """Reports embedded. Where there is none stands a place holder, which no search returns."""
    from echoing_core.embed.encode import encode_texts

    there = [i for i, report in enumerate(reports) if report.strip()]
    dim = model.checkpoint.encoder.config.dim
    mu = np.zeros((len(reports), dim), dtype=np.float32)
    mu[:, 0] = 1.0
    log_var = np.zeros_like(mu)
    if there:
        made = encode_texts(model.checkpoint, [reports[i] for i in there])
        mu[there], log_var[there] = made.mu, made.log_var
    return GaussianEmbedding(mu, log_var)


def _own_table(
    items: Sequence[OwnItem],
    told: Sequence[Told],
    ecg: GaussianEmbedding,
    text: GaussianEmbedding,
) -> pd.DataFrame:
    import pandas as pd

    table = pd.DataFrame(
        {
            "item_id": [f"own-{number:04d}" for number in range(1, len(items) + 1)],
            "patient_id": [t.patient or i.record for t, i in zip(told, items, strict=True)],
            "record_id": [f"{i.record} at {i.start_s:.0f} s" for i in items],
            "report": [t.report for t in told],
            "uncertainty": ecg.uncertainty,
            "percentile": [i.percentile for i in items],
            "text_uncertainty": text.uncertainty,
            "simulated": [i.simulated for i in items],
            "source": SOURCE,
        }
    )
    for name in dict.fromkeys(n for t in told for n in t.labels):
        table[f"label_{name}"] = [t.labels.get(name, float("nan")) for t in told]
    texts = ["item_id", "patient_id", "record_id", "report", "source"]
    return table.astype(dict.fromkeys(texts, object))


def own_collection(model: Model, files: Mapping[str, bytes]) -> Collection:
    """The collection that `own_files` made, opened as any other."""
    from echoing_core.retrieve.index import open_index_files

    index = open_index_files(files, "own collection", checkpoint_hash=model.hash)
    return Collection(str(index.card["name"]), index, "built")


def zipped(files: Mapping[str, bytes], folder: str) -> bytes:
    """An index folder as a zip archive, for taking away."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{folder}/{name}", content)
    return out.getvalue()


def zip_collection(content: bytes, name: str, model: Model) -> Collection:
    """The index folder in a zip archive, checked as `load_index` checks one; nothing on disk.

    Raises
    ------
    IndexMismatchError
        It is no archive of an index folder, too large, damaged, or of another model.
    """
    from echoing_core.io.sources import SourceFile
    from echoing_core.io.zipped import unzip
    from echoing_core.retrieve.index import open_index_files

    if len(content) > MAX_ZIP_BYTES:
        raise IndexMismatchError(
            f"{name} has {len(content) / 1024**2:.0f} MB; an index that is uploaded may have "
            f"{MAX_ZIP_BYTES // 1024**2} MB. Start the app with --index and its folder instead."
        )
    try:
        files = dict(unzip(SourceFile(name, len(content), data=content)))
    except UnreadableRecordError as error:
        what = str(error).split(";")[0].rstrip(".")
        raise IndexMismatchError(f"{what}. Zip the index folder again as it was saved.") from error
    index = open_index_files(files, name, checkpoint_hash=model.hash)
    shown = str(index.card.get("name") or name)[:80]
    return Collection(shown, index, "upload")
