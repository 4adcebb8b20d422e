"""Places in object stores (``s3://bucket/prefix`` and whatever else fsspec reaches).

A `StorePath` answers to those names of `pathlib.Path` that this project uses, so that a function
takes either. What differs stands here: an object appears whole when it is written, none can be
renamed, and folders are only how names begin. So whatever consists of several objects counts from
when its card is there, which is written last.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from echoing_core.errors import ConfigError

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_AT_ONCE = 2000

# Of the libraries below fsspec, none of which is imported here: they may not be installed.
_CREDENTIALS = ("credential", "forbidden", "unauthorized", "accessdenied", "permission")


@dataclass(frozen=True)
class _Size:
    st_size: int


@dataclass(frozen=True, order=True)
class StorePath:
    """An object, or all whose names begin with one, in an object store.

    Attributes
    ----------
    url : str
        With its protocol, without a slash at its end.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> StorePath:
        return StorePath(self.url.rpartition("/")[0])

    def resolve(self) -> StorePath:
        """The same: an address has no working folder."""
        return self

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        with self._told():
            return bool(self._fs.isfile(self._path))

    def is_dir(self) -> bool:
        """Whether any object lies below."""
        with self._told():
            try:
                return bool(self._fs.ls(self._path, detail=False)) and not self.is_file()
            except (FileNotFoundError, NotADirectoryError):
                return False

    def stat(self) -> _Size:
        with self._told():
            return _Size(int(self._fs.size(self._path) or 0))

    def iterdir(self) -> Iterator[StorePath]:
        """What lies directly below, in the order of names."""
        with self._told():
            try:
                found = self._fs.ls(self._path, detail=False)
            except FileNotFoundError:
                found = []
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        yield from (self / name for name in sorted(names))

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """As `iterdir`, of names that fit."""
        return (path for path in self.iterdir() if fnmatch.fnmatch(path.name, pattern))

    def sizes(self) -> dict[str, int]:
        """Bytes of every object below, by its name from here, in the order of names."""
        with self._told():
            try:
                found = self._fs.find(self._path, detail=True)
            except FileNotFoundError:
                found = {}
        begin = len(self._path) + 1
        named = {str(path)[begin:]: int(info["size"] or 0) for path, info in found.items()}
        # Objects that end in a slash stand for folders.
        return {name: named[name] for name in sorted(named) if name and not name.endswith("/")}

    def open(self, mode: str = "rb") -> IO[bytes]:
        """An object to be read here and there, without all of it."""
        with self._told():
            opened: IO[bytes] = self._fs.open(self._path, mode)
            return opened

    def read_bytes(self) -> bytes:
        with self._told():
            return bytes(self._fs.cat_file(self._path))

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def heads(self, wanted: Mapping[str, int]) -> dict[str, bytes]:
        """First bytes of objects below, so many at a time as the store gives.

        Parameters
        ----------
        wanted : mapping of str to int
            How many bytes, by the name from here.

        Returns
        -------
        dict of str to bytes
        """
        names = list(wanted)
        found: dict[str, bytes] = {}
        with self._told():
            for at in range(0, len(names), _AT_ONCE):
                some = names[at : at + _AT_ONCE]
                paths = [f"{self._path}/{name}" for name in some]
                ends = [wanted[name] for name in some]
                read = self._fs.cat_ranges(paths, [0] * len(some), ends, on_error="raise")
                found |= dict(zip(some, map(bytes, read), strict=True))
        return found

    def write_bytes(self, content: bytes | memoryview) -> None:
        """Write an object, which appears whole or not at all."""
        with self._told(writing=True):
            self._fs.pipe_file(self._path, bytes(content))

    def put(self, folder: Path, *, last: str) -> None:
        """Put all files of a folder here in place of what is here.

        Parameters
        ----------
        folder : Path
        last : str
            The file without which the others do not count: it leaves first and comes last.
        """
        before = self.sizes()
        (self / last).unlink(missing_ok=True)
        files = [path for path in folder.rglob("*") if path.is_file()]
        names = [path.relative_to(folder).as_posix() for path in files]
        with self._told(writing=True):
            for name in sorted(names, key=lambda name: (name == last, name)):
                self._fs.put_file(os.fspath(folder / name), f"{self._path}/{name}")
        self.remove([name for name in before if name not in names])

    def unlink(self, missing_ok: bool = False) -> None:
        with self._told(writing=True):
            if missing_ok and not self._fs.exists(self._path):
                return
            self._fs.rm_file(self._path)

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects by their names from here."""
        with self._told(writing=True):
            for name in names:
                self._fs.rm_file(f"{self._path}/{name}")

    @property
    def _fs(self) -> Any:
        return _file_system(self.url.partition("://")[0])

    @property
    def _path(self) -> str:
        return str(self._fs._strip_protocol(self.url)).rstrip("/")

    @contextlib.contextmanager
    def _told(self, *, writing: bool = False) -> Iterator[None]:
        """What goes wrong in between, as a sentence about this place."""
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:
            mend = _mend(error, writing)
            if mend is None:
                raise
            done = "written" if writing else "read"
            raise ConfigError(f"{self.url} cannot be {done}: {mend}") from error


def _mend(error: Exception, writing: bool) -> str | None:
    """What was wrong, and what to do; None where it is a mistake of this program."""
    kind = f"{type(error).__module__}.{type(error).__name__}"
    if isinstance(error, FileNotFoundError):
        if writing or "bucket" in str(error).lower():
            return "there is no such bucket. Make it first, or check its name."
        return "it is not there. Check its name."
    if isinstance(error, PermissionError) or any(word in kind.lower() for word in _CREDENTIALS):
        return (
            "the store refuses. Check the credentials that this machine has for it (of S3: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws), and what they allow."
        )
    # Connections end in errors of the libraries below, most of which are no OSError.
    if isinstance(error, OSError | TimeoutError) or kind.split(".")[0] in (
        "botocore", "aiobotocore", "aiohttp", "google", "gcsfs", "azure",
    ):  # fmt: skip
        said = " ".join(str(error).split())[:200]
        return f"the store does not answer as it should ({said}). Try again; what is done stays."
    return None


@lru_cache
def _file_system(protocol: str) -> Any:
    try:
        import fsspec

        # Others write here, too, so what was listed once is not what is there.
        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol)
        how = f"pip install {package}" if package else "install its package for fsspec"
        raise ConfigError(f"To reach {protocol}:// a package is missing: {how}.") from error
    except ValueError as error:
        raise ConfigError(
            f"Nothing is known that reaches {protocol}://. Use a folder, or a store such as s3://."
        ) from error


Place = Path | StorePath


def place_of(given: str | os.PathLike[str] | StorePath) -> Place:
    """A folder or file on this machine, or in an object store where a protocol says so.

    Parameters
    ----------
    given : path, str or StorePath

    Returns
    -------
    Path or StorePath
    """
    if isinstance(given, StorePath):
        return given
    text = os.fspath(given)
    return StorePath(text.rstrip("/")) if "://" in text else Path(text)


def refuse_store(given: str | os.PathLike[str] | StorePath) -> None:
    """Refuse an address where only folders will do.

    Parameters
    ----------
    given : path, str or StorePath

    Raises
    ------
    ConfigError
    """
    text = str(given)
    # A Path takes one of the two slashes.
    protocol, colon, rest = text.partition(":/")
    if colon and len(protocol) > 1 and protocol.isalnum():
        url = f"{protocol}://{rest.lstrip('/')}"
        raise ConfigError(
            f"{url} is in an object store, and here a folder is needed. Copy it to one, or mount "
            "it. Object stores are read by `echoing batch`, `echoing embed`, `echoing index build "
            "--embedded` and `echoing search --index`, and written by `embed` and `index build`."
        )


@contextlib.contextmanager
def opened(place: Place) -> Iterator[Path | IO[bytes]]:
    """A file for a reader that takes a path or an open file, and reads here and there in it.

    Parameters
    ----------
    place : Path or StorePath

    Yields
    ------
    Path or binary file
    """
    if isinstance(place, Path):
        yield place
        return
    with place._told(), place.open() as stream:
        yield stream
