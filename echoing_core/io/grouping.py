"""Which of many files are one recording: headers with what they name, everything else alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from echoing_core.errors import EchoingError
from echoing_core.io.ishne import ISHNE_ANNOTATIONS, belongs_to_ishne
from echoing_core.io.kinds import WFDB_ENDINGS, kind_of
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.wfdb.annotations import ENDINGS as ANNOTATION_ENDINGS
from echoing_core.io.wfdb.header import MAX_HEADER_BYTES, parse_header


@dataclass(frozen=True, eq=False)
class RecordFiles:
    """The files of one recording, not read yet.

    Attributes
    ----------
    name : str
        Of the record, or of the file where it stands alone.
    files : tuple of SourceFile
        The WFDB header first, where there is one; then by name.
    header_name : str or None
        The header's file name; None for a file without one.
    refusal : str
        Why it cannot be read, where that is known already; otherwise empty.
    """

    name: str
    files: tuple[SourceFile, ...]
    header_name: str | None = None
    refusal: str = ""


def group_records(files: Iterable[SourceFile]) -> list[RecordFiles]:
    """Files of one folder as recordings, in the order of their names.

    A WFDB header takes the files that it names, the segments of a multi-segment record with
    theirs, and the annotations beside it; an ISHNE recording its annotations. Every other file
    stands alone, so that its reader says what is wrong with it.

    Parameters
    ----------
    files : iterable of SourceFile
        Names are compared without regard to case. The second of two files with one name is a
        group of its own with a ``refusal``.

    Returns
    -------
    list of RecordFiles
        Each file stands in one of them, except for annotations that are not read, which are
        dropped, and files that two headers name, which stand in both.
    """
    by_name: dict[str, SourceFile] = {}
    groups = []
    for file in files:
        if file.name.lower() not in by_name:
            by_name[file.name.lower()] = file
            continue
        refusal = f"Another file is called {shown(file.name)} too; give it another name."
        groups.append(RecordFiles(file.name, (file,), refusal=refusal))
    named_by = {name: _named_in(f, by_name) for name, f in by_name.items() if name.endswith(".hea")}
    segments = {other for name, named in named_by.items() for other in named if other != name}
    taken: set[str] = set()
    for name in named_by:
        if name in segments:
            continue
        own = _with_segments(name, named_by) & set(by_name)
        stem = name.removesuffix(".hea")
        # Annotations and lists beside a record; an EDF of the same name is one of its own, and an
        # empty one is told as such.
        beside = {n for n in by_name if n.startswith(f"{stem}.") and kind_of(by_name[n]) is None}
        read = {n for n in beside if n.endswith(ANNOTATION_ENDINGS)}
        taken |= own | read | {n for n in beside if by_name[n].size}
        header = by_name[name]
        rest = tuple(by_name[n] for n in sorted((own | read) - {name}))
        groups.append(RecordFiles(header.name[: len(stem)], (header, *rest), header.name))
    for name, file in by_name.items():
        said = by_name.get(f"{name.rsplit('.', 1)[0]}{ISHNE_ANNOTATIONS}")
        if said is not None and name not in taken and belongs_to_ishne(said, file):
            taken |= {name, said.name.lower()}
            groups.append(RecordFiles(file.name, (file, said)))
    groups += [RecordFiles(f.name, (f,)) for name, f in by_name.items() if name not in taken]
    return sorted(groups, key=lambda group: group.name.lower())


def _named_in(header: SourceFile, by_name: Mapping[str, SourceFile]) -> set[str]:
    """Lower-case names of files that a header asks for; of a damaged one, those with its stem."""
    name = header.name.lower()
    try:
        parsed = parse_header(header.head(MAX_HEADER_BYTES + 1), header.name)
    except EchoingError:  # the reader of this record says what is wrong
        stem = name.removesuffix(".hea")
        return {n for n in by_name if n.endswith(WFDB_ENDINGS) and n.rsplit(".", 1)[0] == stem}
    named = {signal.file_name.lower() for signal in parsed.signals}
    return named | {f"{segment.name.lower()}.hea" for segment in parsed.segments}


def _with_segments(name: str, named_by: Mapping[str, set[str]]) -> set[str]:
    """A header, what it names, and what that names."""
    reached, waiting = {name}, [name]
    while waiting:
        for other in named_by.get(waiting.pop(), set()) - reached:
            reached.add(other)
            waiting.append(other)
    return reached
