"""A recording in another format: which there are, and the files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from echoing_core.artifacts import replacing_file
from echoing_core.errors import ConfigError
from echoing_core.export.recording import recording_files
from echoing_core.io.write import WRITERS
from echoing_core.records import Recording, TextMark


def written_formats() -> dict[str, str]:
    """Names of the formats that can be written, for people, by the names for programs."""
    return {name: writer.words for name, writer in WRITERS.items()}


def format_for(out: Path) -> str:
    """The format that a file's ending asks for.

    Parameters
    ----------
    out : Path
        Not written yet.

    Raises
    ------
    ConfigError
        No format has this ending, the folder does not exist, or the file does.
    """
    by_ending = {writer.ending: name for name, writer in WRITERS.items()}
    file_format = by_ending.get(out.suffix.lower())
    if file_format is None:
        listed = ", ".join(f"{ending} ({WRITERS[n].words})" for ending, n in by_ending.items())
        raise ConfigError(f"{out} does not say a format by its ending; choose one of {listed}.")
    if not out.parent.is_dir():
        raise ConfigError(f"{out} cannot be written: its folder does not exist.")
    if out.exists():
        raise ConfigError(f"{out} exists already and would be replaced; choose another name.")
    return file_format


def convert(recording: Recording, out: Path, marks: Sequence[TextMark] = ()) -> list[Path]:
    """Write a recording in the format that the file's ending asks for.

    Parameters
    ----------
    recording : Recording
    out : Path
        ``.hea``, ``.edf``, ``.dcm``, ``.xml``, ``.csv`` or ``.parquet``; must not exist.
    marks : sequence of TextMark, optional
        As in `export.recording.recording_files`.

    Returns
    -------
    list of Path
        What was written; of WFDB, a header and its data.

    Raises
    ------
    ConfigError
        See `format_for`; or the format cannot hold this recording, or another file is in the way.
    """
    file_format = format_for(out)
    files = converted_files(recording, file_format, out.stem, marks)
    if len(files) == 1:
        files = {out.name: next(iter(files.values()))}
    elif f"{out.stem}.hea" not in files:
        raise ConfigError(
            f"{out.name} cannot be the name of a WFDB header: letters, digits, - and _ are allowed."
        )
    paths = [out.parent / name for name in files]
    for path in paths:
        if path.exists():
            raise ConfigError(f"{path} exists already and would be replaced; choose another name.")
    with ExitStack() as all_or_none:
        drafts = [all_or_none.enter_context(replacing_file(path)) for path in paths]
        for draft, content in zip(drafts, files.values(), strict=True):
            draft.write_bytes(content)
        # They appear from the last to the first, the header: who finds it finds the data as well.
    return paths


def converted_files(
    recording: Recording, file_format: str, stem: str, marks: Sequence[TextMark] = ()
) -> dict[str, bytes]:
    """The files of a recording in another format, by name.

    Parameters
    ----------
    recording : Recording
    file_format : str
        A key of `written_formats`.
    stem : str
        Of the files' names; what is no letter, digit, - or _ becomes _.
    marks : sequence of TextMark, optional
        As in `export.recording.recording_files`.

    Raises
    ------
    ConfigError
        The format cannot hold this recording.
    """
    return recording_files(recording, file_format, _plain(stem), marks)


def download_name(file_format: str, stem: str) -> str:
    """Name of the one file that `converted_download` gives.

    Parameters
    ----------
    file_format, stem : str
        As for `converted_files`.
    """
    # WFDB alone is two files.
    ending = ".zip" if file_format == "wfdb" else WRITERS[file_format].ending
    return f"{_plain(stem)}{ending}"


def converted_download(
    recording: Recording, file_format: str, stem: str, marks: Sequence[TextMark] = ()
) -> bytes:
    """One file to download; several files come as a zip.

    Parameters
    ----------
    recording, file_format, stem, marks
        As for `converted_files`.
    """
    files = converted_files(recording, file_format, stem, marks)
    if len(files) == 1:
        return next(iter(files.values()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _plain(stem: str) -> str:
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in stem)
    return plain or "recording"
