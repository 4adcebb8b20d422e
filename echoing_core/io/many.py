"""Many files at once, sorted into recordings: pairs together, archives opened, nothing lost.

Names come from a browser or a disk. They are looked at to see what belongs together and shown to
the person who gave them; no path is ever made of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.io.grouping import group_records
from echoing_core.io.kinds import (
    HEAD_BYTES,
    WFDB_DATA_ENDINGS,
    WFDB_ENDINGS,
    kind_of,
    kinds,
)
from echoing_core.io.reading import read_recording
from echoing_core.io.sources import SourceFile, base_name, file_at, shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.zipped import unzip
from echoing_core.records import Recording
from echoing_core.stores import StorePath, place_of

RECORDING_ENDINGS = (
    *WFDB_ENDINGS, ".edf", ".bdf", ".dcm", ".ecg", ".scp", ".atc", ".mwf", ".mfer", ".xml", ".csv",
    ".tsv", ".parquet", ".npy", ".zip",
)  # fmt: skip
"""Files of a folder that are taken for recordings by their names alone, be they readable or not."""

_MARKED = ("edf", "dicom", "ishne", "scp", "mfer", "atc", "contec", "fhir")
"""Kinds that are recordings whatever their files are called."""


@dataclass(frozen=True, eq=False)
class BatchItem:
    """One recording among many, not read yet.

    Attributes
    ----------
    name : str
        As a person knows it: the record's or file's name, with its folder or archive.
    files : tuple of SourceFile
        All that belongs to it; of a recording in an archive, the archive.
    members : tuple of str
        Names within the archive; empty for what lies in none.
    refusal : str
        Why it cannot be read, where that is known already.
    """

    name: str
    files: tuple[SourceFile, ...]
    members: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(file.size for file in self.files)

    @property
    def is_archive(self) -> bool:
        """Whether this is an archive, whose recordings `inside` gives."""
        return not self.members and len(self.files) == 1 and kind_of(self.files[0]) == "zip"

    def inside(self) -> list[tuple[BatchItem, tuple[SourceFile, ...]]]:
        """The recordings of an archive, each with its unpacked files.

        The items themselves hold the archive and not what came out of it, so that keeping them
        costs no memory.

        Raises
        ------
        UnreadableRecordError
            The archive is damaged, encrypted, or larger than an archive of ECGs.
        """
        archive = self.files[0]
        unpacked = [SourceFile(name, len(data), data=data) for name, data in unzip(archive)]
        return [
            (
                replace(
                    item,
                    name=f"{self.name}/{item.name}",
                    files=(archive,),
                    members=tuple(file.name for file in item.files),
                ),
                item.files,
            )
            for item in _grouped([("", file) for file in unpacked])
        ]

    def at_hand(self) -> BatchItem:
        """With the bytes of its files, where they lie in an object store."""
        return replace(self, files=tuple(file.at_hand() for file in self.files))

    def read(self, unpacked: Sequence[SourceFile] | None = None, told: Told = NOTHING) -> Recording:
        """Read the recording, as `read_recording` does.

        Parameters
        ----------
        unpacked : sequence of SourceFile, optional
            Its files from `inside`, where they are at hand.
        told : Told, optional
            What a person says of these recordings.

        Raises
        ------
        RecordError
            The files hold no recording that can be read.
        """
        if self.refusal:
            raise UnreadableRecordError(self.refusal)
        files = self.files if unpacked is None else unpacked
        if self.members and unpacked is None:
            wanted = {name.lower() for name in self.members}
            pairs = [(n, data) for n, data in unzip(self.files[0]) if n.lower() in wanted]
            return read_recording(pairs, told=told)
        paths = [file.path for file in files if file.path is not None]
        # The path of an empty file would stand for the header of its name beside it.
        if paths and any(file.size for file in files):
            return read_recording(paths, told=told)
        pairs = [(file.name, file.at_hand().data or b"") for file in files]
        return read_recording(pairs, told=told)


def group_files(files: Iterable[tuple[str, bytes]]) -> list[BatchItem]:
    """Uploaded files as recordings, in the order of their names.

    A header takes the files that it names with it, and the annotations beside it. What belongs to
    nothing becomes an item of its own, so that its reader says why it is none.

    Parameters
    ----------
    files : iterable of (str, bytes)
        Names may have folders; files belong together within one folder only.
    """
    placed = [
        (_folder(name), SourceFile(base_name(name), len(data), data=data)) for name, data in files
    ]
    return _grouped([(place, file) for place, file in placed if not file.name.startswith(".")])


def grouped_heads(
    heads: Sequence[tuple[str, int, bytes]],
) -> list[tuple[str, tuple[int, ...], str]]:
    """As `group_files`, of the first `kinds.HEAD_BYTES` of each file, which tell enough.

    Parameters
    ----------
    heads : sequence of (str, int, bytes)
        Name, size of the whole file, first bytes.

    Returns
    -------
    list of (str, tuple of int, str)
        Name, places of its files in ``heads``, and refusal of each item.
    """
    files = [SourceFile(base_name(name), size, data=head) for name, size, head in heads]
    places = {id(file): place for place, file in enumerate(files)}
    placed = [
        (_folder(heads[place][0]), file)
        for place, file in enumerate(files)
        if not file.name.startswith(".")
    ]
    return [
        (item.name, tuple(places[id(file)] for file in item.files), item.refusal)
        for item in _grouped(placed)
    ]


def folder_items(folder: str | Path | StorePath) -> tuple[list[BatchItem], tuple[str, ...]]:
    """The recordings of a folder and the folders in it, and which other files there are.

    Hidden files are left alone. A link is not followed, and one that may be a recording or a folder
    is an item that says so; only ``folder`` itself may be one. A text, a picture or a list is no
    recording and is named only; what has the name of a recording is given to the reader, who says
    what is wrong.

    Parameters
    ----------
    folder : path
        Or an address in an object store, of which the headers are read here, many at a time.

    Returns
    -------
    items : list of BatchItem
        In the order of their names, then links.
    others : tuple of str
        Their names, fit for a message.

    Raises
    ------
    ConfigError
        There is no such folder, or no recording in it.
    """
    root = place_of(folder)
    if not root.is_dir():
        raise ConfigError(f"{root} is no folder. Give the folder that holds the recordings.")
    links: list[BatchItem] = []
    if isinstance(root, StorePath):
        placed = list(_stored(root))
    else:
        # Followed where it is a link itself, but called as it was given.
        placed, links = _on_disk(root.resolve())
    items = _grouped(placed)
    taken = [item for item in items if any(_looks_like_one(file) for file in item.files)]
    if not taken and not links:
        raise ConfigError(f"{root} holds no recording. Give the folder that holds the recordings.")
    # Annotations beside a header belong to it, and are in no item.
    of_recordings = {id(item) for item in taken}
    others = tuple(
        shown(file.name) for item in items if id(item) not in of_recordings for file in item.files
    )
    found = [replace(item, files=tuple(map(_unread, item.files))) for item in taken]
    return [*found, *links], others


def _unread(file: SourceFile) -> SourceFile:
    # What is known of an object so far is its beginning.
    return file if file.remote is None else replace(file, data=None)


def _on_disk(root: Path) -> tuple[list[tuple[str, SourceFile]], list[BatchItem]]:
    """The files below a folder, each with its own; and an item for each link that is told of."""
    placed: list[tuple[str, SourceFile]] = []
    links = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if any(part.startswith(".") for part in relative.parts):
            continue
        if any((root / parent).is_symlink() for parent in relative.parents):
            continue
        file = file_at(path)
        if file is not None:
            place = relative.parent.as_posix()
            placed.append(("" if place == "." else place, file))
        elif path.is_symlink() and (_may_be_a_recording(path.name) or path.is_dir()):
            why = (
                f"{shown(path.name)} is a link, and links are not followed. Give the folder that "
                "it leads to, or put the file itself here."
            )
            links.append(BatchItem(relative.as_posix(), (), refusal=why))
    return placed, links


def _may_be_a_recording(name: str) -> bool:
    # A linked record is told of once, by its header.
    low = name.lower()
    return low.endswith(recording_endings()) and not low.endswith(WFDB_DATA_ENDINGS)


def _stored(root: StorePath) -> Iterator[tuple[str, SourceFile]]:
    """The objects below an address, each with as much of its beginning as tells what it is."""
    sizes = {
        name: size
        for name, size in root.sizes().items()
        if not any(part.startswith(".") for part in name.split("/"))
    }
    stems = Counter(name.rpartition(".")[0].lower() for name in sizes)
    known = tuple(recording_endings())
    wanted = {}
    for name, size in sizes.items():
        low = name.lower()
        # Of most the name is enough. A header names others, and what shares its name with another
        # may belong to it.
        alone = low.endswith(WFDB_ENDINGS) or stems[low.rpartition(".")[0]] == 1
        if size and (low.endswith(".hea") or not (alone and low.endswith(known))):
            wanted[name] = min(size, HEAD_BYTES)
    heads = root.heads(wanted)
    for name, size in sizes.items():
        yield (
            _folder(name),
            SourceFile(base_name(name), size, data=heads.get(name, b""), remote=root / name),
        )


def _looks_like_one(file: SourceFile) -> bool:
    return file.name.lower().endswith(recording_endings()) or kind_of(file) in _MARKED


def recording_endings() -> tuple[str, ...]:
    """`RECORDING_ENDINGS` and those of plugins' formats."""
    return (*RECORDING_ENDINGS, *(ending for kind in kinds() for ending in kind.endings))


def _folder(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).parent.as_posix().removeprefix(".").strip("/")


def _grouped(placed: Sequence[tuple[str, SourceFile]]) -> list[BatchItem]:
    """Files with the folder that each lies in; those of one folder may belong together."""
    return [
        BatchItem(f"{place}/{group.name}" if place else group.name, group.files, (), group.refusal)
        for place in sorted({place for place, _ in placed})
        for group in group_records(file for other, file in placed if other == place)
    ]
