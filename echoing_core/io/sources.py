"""Where the bytes of a recording come from: a folder, a list of paths, or an upload."""

from __future__ import annotations

import io
import mmap
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from echoing_core.errors import UnreadableRecordError

if TYPE_CHECKING:
    from echoing_core.io.told import Told
    from echoing_core.stores import StorePath

Source = str | Path | Sequence[str | Path] | Mapping[str, bytes] | Sequence[tuple[str, bytes]]

SIMULATED_MARK = "simulated by echoingecg"
"""What our writers put into a file's comments, in lower case."""

_MARK_WITHIN = 64 * 1024
_MAX_SHOWN = 60
_MAX_NAMED = 8
# Of a folder without headers; what is wanted there is one recording, not a data set.
_MAX_LISTED = 1000


def shown(name: str) -> str:
    """``name`` as it may stand in a message: printable and short.

    Parameters
    ----------
    name : str
        From a file or a person, so it may hold anything.
    """
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def listed(names: Sequence[str]) -> str:
    """Names as they may stand in a message, the first few of many.

    Parameters
    ----------
    names : sequence of str
    """
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(map(shown, names[:_MAX_NAMED])) + more


def base_name(name: str) -> str:
    """Last part of a path, whichever way its slashes lean.

    Parameters
    ----------
    name : str
        A path of any system, as browsers and archives give it.
    """
    return PurePosixPath(name.replace("\\", "/")).name


@dataclass(frozen=True)
class SourceFile:
    """One file: either a path on this machine or the bytes of an upload.

    Attributes
    ----------
    name : str
        Without folders.
    size : int
        Bytes.
    path : Path, optional
    data : bytes, optional
        One of the two is given.
    told : Told, optional
        What the person who gave the file says of it, for its reader.
    beside : SourceFile, optional
        Annotations that came with it, where its format keeps them in a file of their own.
    remote : StorePath, optional
        Where it lies in an object store; it is read once it is `at_hand`.
    """

    name: str
    size: int
    path: Path | None = None
    data: bytes | None = None
    told: Told | None = None
    beside: SourceFile | None = None
    remote: StorePath | None = None

    def at_hand(self) -> SourceFile:
        """With its bytes, of a file in an object store."""
        if self.remote is None or self.data is not None:
            return self
        return replace(self, data=self.remote.read_bytes())

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return PurePosixPath(self.name).stem

    def head(self, n_bytes: int) -> bytes:
        """Read the first bytes.

        Parameters
        ----------
        n_bytes : int
            Fewer come back where the file is shorter.

        Raises
        ------
        UnreadableRecordError
            The file cannot be opened.
        """
        if self.data is not None:
            return self.data[:n_bytes]
        if self.remote is not None:
            return self.at_hand().head(n_bytes)
        try:
            with self._path().open("rb") as stream:
                return stream.read(n_bytes)
        except OSError as exc:
            raise UnreadableRecordError(
                f"{shown(self.name)} cannot be opened; check that you may read it."
            ) from exc

    def content(self) -> bytes | mmap.mmap:
        """All bytes; of a file on disk they are mapped, not loaded.

        Both give ``bytes`` when sliced and can be read by `numpy.frombuffer`.

        Raises
        ------
        UnreadableRecordError
            The file cannot be opened.
        """
        if self.data is not None:
            return self.data
        if self.remote is not None:
            return self.remote.read_bytes()
        if self.size == 0:
            return b""
        try:
            with self._path().open("rb") as stream:
                # The map outlives the open file; it is released with the last array that views
                # it.
                return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as exc:
            raise UnreadableRecordError(
                f"{shown(self.name)} cannot be opened; check that you may read it."
            ) from exc

    def open(self) -> BinaryIO:
        """The bytes as an open file, for readers that go back and forth in it.

        Raises
        ------
        OSError
            The file cannot be opened.
        """
        data = self.at_hand().data
        return io.BytesIO(data) if data is not None else self._path().open("rb")

    def says_simulated(self) -> bool:
        """Whether its ends, of 64 KB each, hold the mark of a simulated recording.

        In UTF-8 or UTF-16. Parquet has its remarks at the end.
        """
        content = self.content()
        ends = (bytes(content[:_MARK_WITHIN]), bytes(content[-_MARK_WITHIN:]))
        mark = SIMULATED_MARK.encode()
        return any(mark in end.replace(b"\0", b"").lower() for end in ends)

    def _path(self) -> Path:
        if self.path is None:
            raise ValueError(f"source file {self.name} has neither path nor bytes")
        return self.path


def let_go(content: object) -> None:
    """What was read of a mapped file no longer counts as this process's memory.

    Whoever reads on finds it again, from the system's cache.

    Parameters
    ----------
    content : object
        From `SourceFile.content`; nothing happens where it is no map.
    """
    # Windows has no such call, and there a map does not count.
    if isinstance(content, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)


def _file_at(path: Path) -> SourceFile:
    """The file at ``path``; links, folders and devices are refused."""
    try:
        info = path.lstat()
    except OSError as exc:
        raise UnreadableRecordError(
            f"{shown(path.name)} is not there; check its name and folder."
        ) from exc
    if stat.S_ISLNK(info.st_mode):
        raise UnreadableRecordError(
            f"{shown(path.name)} is a link to another file, and links are not followed; "
            "copy the file itself into this folder."
        )
    if not stat.S_ISREG(info.st_mode):
        raise UnreadableRecordError(f"{shown(path.name)} is not an ordinary file.")
    return SourceFile(path.name, info.st_size, path=path)


@dataclass(frozen=True)
class FileSet:
    """Files that belong together, found by name, upper and lower case alike.

    Attributes
    ----------
    files : mapping of str to SourceFile
        By lower-case name.
    folder : Path, optional
        Set where the files beside the given ones may be looked up too.
    """

    files: Mapping[str, SourceFile]
    folder: Path | None = None
    _listing: dict[str, str] = field(default_factory=dict, compare=False)

    def find(self, name: str) -> SourceFile | None:
        """The file called ``name``, or None.

        Parameters
        ----------
        name : str
            As a header spells it; files on disk may differ in upper and lower case.

        Raises
        ------
        UnreadableRecordError
            It is a link, or no ordinary file.
        """
        given = self.files.get(name.lower())
        if given is not None or self.folder is None:
            return given
        # The exact name first: listing a folder of 800,000 records takes seconds.
        exact = self.folder / name
        try:
            if exact.is_symlink() or exact.exists():
                return _file_at(exact)
        except OSError:  # a name longer than the file system allows
            return None
        if not self._listing:
            self._listing.update({p.name.lower(): p.name for p in self.folder.iterdir()})
        real_name = self._listing.get(name.lower())
        return None if real_name is None else _file_at(self.folder / real_name)

    def beside(self, name: str) -> SourceFile | None:
        """A file that may accompany the others, or None: it has no say in whether they are read.

        Parameters
        ----------
        name : str
            On disk as spelled here or in capitals, so that no folder is listed for it; a link is
            not followed.
        """
        given = self.files.get(name.lower())
        if given is not None or self.folder is None:
            return given
        ending = name.rpartition(".")[2]
        return file_at(self.folder / name) or file_at(
            self.folder / (name[: len(name) - len(ending)] + ending.upper())
        )

    def names(self, *endings: str) -> list[str]:
        """Sorted names of the given files.

        Parameters
        ----------
        *endings : str
            In lower case; where there are any, only names that end in one of them.
        """
        given = [f.name for f in self.files.values()]
        return sorted(n for n in given if not endings or n.lower().endswith(endings))


def _keyed(files: Iterable[SourceFile]) -> dict[str, SourceFile]:
    by_name: dict[str, SourceFile] = {}
    for file in files:
        if file.name.lower() in by_name:
            raise UnreadableRecordError(
                f"Two files are called {shown(file.name)}; "
                "give the files of one recording at a time."
            )
        by_name[file.name.lower()] = file
    return by_name


def _from_bytes(pairs: Iterable[tuple[str, bytes]]) -> FileSet:
    return FileSet(_keyed(SourceFile(base_name(n), len(b), data=bytes(b)) for n, b in pairs))


def file_at(path: Path) -> SourceFile | None:
    """The ordinary file at ``path``.

    Parameters
    ----------
    path : Path

    Returns
    -------
    SourceFile or None
        None for a folder, a link, a device or nothing.
    """
    try:
        info = path.lstat()
    except (OSError, ValueError):
        return None
    return SourceFile(path.name, info.st_size, path=path) if stat.S_ISREG(info.st_mode) else None


def from_files(files: Iterable[SourceFile]) -> FileSet:
    """Files that a reader already holds, as one set."""
    return FileSet(_keyed(files))


def from_bytes(pairs: Iterable[tuple[str, bytes]]) -> FileSet:
    """Named bytes as one set."""
    return _from_bytes(pairs)


def _from_path(path: Path) -> tuple[FileSet, str | None]:
    """Files and header name for one path: a folder, a header, a data file or a bare stem."""
    if path.is_dir():
        headers = sorted(p for p in path.iterdir() if p.name.lower().endswith(".hea"))
        files = [_file_at(p) for p in headers]
        if not files:
            # No WFDB: perhaps files that hold a recording each, which is for the reader to see.
            others = sorted(p for p in path.iterdir() if p.is_file() and not p.is_symlink())
            others = [p for p in others if not p.name.startswith(".")][:_MAX_LISTED]
            if not others:
                raise UnreadableRecordError(
                    f"The folder {shown(path.name)} holds no header (.hea) and no other recording; "
                    "choose the folder that holds the files of one recording."
                )
            return FileSet(_keyed(_file_at(p) for p in others)), None
        return FileSet(_keyed(files), folder=path), None
    # A name with a point (a.b) may be a stem or a file: the header that is there decides.
    names = [path.name + ".hea"]
    if path.suffix.lower() == ".hea":
        names.insert(0, path.name)
    elif path.suffix and path.exists():
        names = [path.stem + ".hea", *names]
    beside = FileSet({}, folder=path.parent if path.parent.is_dir() else None)
    for name in names:
        header = beside.find(name)
        if header is not None:
            return FileSet(_keyed([header]), folder=path.parent), header.name
    if path.exists():
        return FileSet(_keyed([_file_at(path)])), None
    folder = path.parent
    if not folder.is_dir():
        raise UnreadableRecordError(
            f"There is no folder {shown(folder.name)} that could hold {shown(path.name)}; check "
            "the path."
        )
    where = "here" if folder == Path() else f"in {shown(folder.resolve().name) or 'that folder'}"
    raise UnreadableRecordError(
        f"There is no file or recording called {shown(path.name)} {where}; check its name."
    )


def gather(source: Source) -> tuple[FileSet, str | None]:
    """Turn what a caller gives into files, and the header's name where that is settled.

    Raises
    ------
    UnreadableRecordError
        If nothing is there, if two files share a name, or if a file is a link.
    TypeError
        If ``source`` is none of the kinds named in `read_recording`.
    """
    try:
        return _gather(source)
    except (OSError, ValueError) as exc:  # unreadable folder, name too long, NUL in a name
        raise UnreadableRecordError(
            "The files cannot be reached; check their names and that you may read them."
        ) from exc


def _gather(source: Source) -> tuple[FileSet, str | None]:
    if isinstance(source, str | Path):
        return _from_path(Path(source))
    if isinstance(source, Mapping):
        return _from_bytes(source.items()), None
    if not isinstance(source, Sequence):
        raise TypeError(f"source must be paths or named bytes, not {type(source).__name__}")
    paths: list[Path] = []
    pairs: list[tuple[str, bytes]] = []
    for item in source:
        if isinstance(item, str | Path):
            paths.append(Path(item))
        else:
            name, data = item
            pairs.append((name, data))
    # A programming mistake, not a user's, so no `EchoingError`.
    if paths and pairs:
        raise TypeError("source mixes paths and named bytes")
    if len(paths) == 1:
        return _from_path(paths[0])
    if paths:
        return FileSet(_keyed(_file_at(p) for p in paths)), None
    return _from_bytes(pairs), None
