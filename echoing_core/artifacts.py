"""Files and folders that appear whole or not at all, and folders that carry their hashes.

A sealed folder is written under a temporary name and renamed into place when it is complete.
Its ``card.json`` names the kind of folder, the checkpoint that made it and the sha256 of
every file. A reader takes the bytes of a file once, compares their hash, and only then
parses those same bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import json
import mmap
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from echoing_core.documents import DocumentError, parse_json
from echoing_core.errors import ConfigError, IndexMismatchError
from echoing_core.stores import Place, StorePath, place_of, refuse_store

fcntl: Any = None
# Not on Windows, where leftovers of killed writers stay.
with contextlib.suppress(ImportError):
    import fcntl

Content = bytes | memoryview
"""Of a file: read, or mapped."""

CARD = "card.json"
FORMAT_VERSION = 1
# A card lists a dozen files; what is longer is not one, and is not parsed.
MAX_CARD_BYTES = 4_000_000

_DRAFT = ".draft"
# Of linux/fcntl.h and linux/fs.h.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2

_REQUIRED: Mapping[str, type] = {
    "kind": str,
    "format_version": int,
    "checkpoint_hash": str,
    "created": str,
    "dim": int,
    "n": int,
    "files": dict,
}


def sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        64 digits.
    """
    # In pieces, since an index of a whole archive does not fit into memory.
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a temporary file to write, and put it at ``path`` on success.

    On an error nothing of the new file stays behind and an older one is as it was. What killed
    writers of ``path`` left behind is removed first.

    Parameters
    ----------
    path : Path
        An older file of that name is replaced; what a link leads to, not the link.

    Yields
    ------
    Path
        An empty file on the same file system, with the same suffix.
    """
    refuse_store(path)
    path = path.resolve()
    with _draft(path, folder=False) as draft:
        yield draft
        _to_disk(draft)
        draft.replace(path)
        _to_disk(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it into place.

    Parameters
    ----------
    path : Path
        An older file of that name is replaced.
    text : str
        Written as UTF-8.
    """
    with replacing_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to write into, and put it at ``folder`` on success.

    An older folder of that name is replaced whole, at every moment either the old or the new one
    stands there. On an error nothing of the new one stays behind and the old one is as it was.
    What killed writers of ``folder`` left behind is removed first.

    Parameters
    ----------
    folder : Path
        Its parents are made. Where it is a link, what it leads to is replaced.

    Yields
    ------
    Path
        On the same file system as ``folder``.

    Raises
    ------
    NotADirectoryError
        If ``folder`` is a file.
    """
    refuse_store(folder)
    folder = settled(folder).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "is a file and no folder", str(folder))
    # Where both stand, an earlier writer was killed when all was done but this.
    if folder.exists() and _before(folder).is_dir():
        shutil.rmtree(_before(folder))
    with _draft(folder, folder=True) as draft:
        yield draft
        for path in draft.rglob("*"):
            _to_disk(path)
        _to_disk(draft)
        if not folder.exists():
            draft.replace(folder)
        # A folder that holds files cannot be renamed over: the two change places, and what is
        # then called the draft is the old one, which `_draft` removes.
        elif not _exchanged(draft, folder):
            _replace_in_two_steps(draft, folder)
        _to_disk(folder.parent)


def linked_or_copied(
    source: str | os.PathLike[str], place: str | os.PathLike[str]
) -> str | os.PathLike[str]:
    """Give a file a second name, where the disk knows such; what is finished is never moved.

    Parameters
    ----------
    source, place : path

    Returns
    -------
    path
        The place, as `shutil.copytree` wants it.
    """
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)
    return place


def settled(folder: Path) -> Path:
    """``folder``, brought back if a replacement was cut off between its two renames.

    Only file systems without an exchange of two names (NFS, systems other than Linux) ever need
    two renames.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    Path
        The same.
    """
    before = _before(folder)
    if not folder.exists() and before.is_dir():
        before.replace(folder)
    return folder


def take_lock(handle: int) -> bool:
    """Lock an open file or folder for this process; the OS frees the lock when it ends.

    Parameters
    ----------
    handle : int
        File descriptor.

    Returns
    -------
    bool
        False if another has it. True where the system has no such locks (Windows).
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _before(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.before")


def _replace_in_two_steps(draft: Path, folder: Path) -> None:
    before = _before(folder)
    folder.replace(before)
    try:
        draft.replace(folder)
    except OSError:
        settled(folder)
        raise
    shutil.rmtree(before)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    paths = (os.fsencode(one), os.fsencode(other))
    failed = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    if failed and ctypes.get_errno() not in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
    return not failed


@contextmanager
def _draft(target: Path, *, folder: bool) -> Iterator[Path]:
    """A locked, empty file or folder beside ``target``, which is removed if it is still there."""
    # Beside the target: a rename is only atomic within one file system.
    prefix, suffix = f".{target.name}.", f"{_DRAFT}{'' if folder else target.suffix}"
    _sweep(target.parent, prefix, suffix)
    while True:
        # Not by tempfile, whose files nobody but their owner may read: here umask decides.
        draft = target.with_name(f"{prefix}{secrets.token_hex(6)}{suffix}")
        if folder:
            draft.mkdir()
            handle = os.open(draft, os.O_RDONLY) if fcntl else -1
        else:
            handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        # Another writer may have taken the draft for a leftover before it was locked.
        if take_lock(handle) and draft.exists():
            break
        os.close(handle)
    try:
        yield draft
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
        if handle >= 0:
            os.close(handle)


def _sweep(parent: Path, prefix: str, suffix: str) -> None:
    """Remove drafts whose writers are gone: the OS frees a dead writer's lock."""
    if fcntl is None:
        return
    with os.scandir(parent) as entries:
        names = [e.path for e in entries if e.name.startswith(prefix) and e.name.endswith(suffix)]
    for name in names:
        # Another writer may be sweeping, too.
        with contextlib.suppress(FileNotFoundError, PermissionError):
            handle = os.open(name, os.O_RDONLY)
            try:
                if take_lock(handle):
                    shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()
            finally:
                os.close(handle)


def _to_disk(path: Path) -> None:
    # Before a rename: after a power cut a name must not stand for an empty file.
    if fcntl is None or not (path.is_file() or path.is_dir()):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        # Some network file systems refuse it for folders.
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing_folder(folder: Place, *, kind: str) -> Iterator[Path]:
    """Give a temporary folder to write into, and put it at ``folder`` on success.

    A sealed folder of the same kind that is already there is replaced; anything else is left
    alone. On an error nothing of the new folder stays behind, but in an object store whatever had
    been copied by then, which without its card counts as nothing.

    Parameters
    ----------
    folder : Path or StorePath
    kind : str
        As the card names it.

    Yields
    ------
    Path
        Where to write before `seal`.

    Raises
    ------
    ConfigError
        If ``folder`` exists and is something else.
    """
    folder = place_of(folder)
    if folder.exists() and not _may_replace(folder, kind):
        raise ConfigError(
            f"{folder} already holds something that is not {_a(kind)}. "
            "Choose another folder or empty this one."
        )
    if isinstance(folder, StorePath):
        with tempfile.TemporaryDirectory(prefix="echoing-") as draft:
            yield Path(draft)
            folder.put(Path(draft), last=CARD)
        return
    with replacing_folder(folder) as temporary:
        yield temporary


def seal(
    folder: Path, *, kind: str, checkpoint_hash: str, n: int, dim: int, extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``card.json`` for the files that are in ``folder`` now, and return the card.

    Parameters
    ----------
    folder : Path
        Holds the files and nothing else.
    kind : str
        Such as ``"echo embedding store"``.
    checkpoint_hash : str
        Of the model behind the content.
    n, dim : int
        Rows, and numbers in each.
    extra : mapping
        Further entries of the card; may not use the names of the standard ones.

    Returns
    -------
    dict
        As `read_card` gives it.
    """
    # The card itself is written after this, so it is not among the files that it lists.
    hashes = {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())}
    card = make_card(hashes, kind=kind, checkpoint_hash=checkpoint_hash, n=n, dim=dim, extra=extra)
    (folder / CARD).write_bytes(card_bytes(card))
    return card


def make_card(
    hashes: Mapping[str, str],
    *,
    kind: str,
    checkpoint_hash: str,
    n: int,
    dim: int,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``card.json`` says of files with these hashes; other arguments as in `seal`.

    Parameters
    ----------
    hashes : mapping of str to str
        sha256 by file name.

    Raises
    ------
    ValueError
        If ``extra`` uses the name of a standard entry.
    """
    # An entry of the caller's would otherwise hide a check's own without a word.
    taken = sorted(set(extra) & set(_REQUIRED))
    if taken:
        raise ValueError(f"these entries of the card are written by seal itself: {taken}")
    return {
        "kind": kind,
        "format_version": FORMAT_VERSION,
        "checkpoint_hash": checkpoint_hash,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "n": n,
        "dim": dim,
        # Before the files, so that a person who opens the card reads its facts first.
        **extra,
        "files": dict(hashes),
    }


def card_bytes(card: Mapping[str, Any]) -> bytes:
    """The content of ``card.json``."""
    return (json.dumps(card, indent=1, allow_nan=False) + "\n").encode()


def read_card(
    folder: Place,
    *,
    kind: str,
    files: frozenset[str],
    checkpoint_hash: str | None,
    optional: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Read and check ``card.json``; no other file is touched.

    Parameters
    ----------
    folder : Path or StorePath
    kind : str
        The kind of folder that is wanted.
    files : frozenset of str
        The files that the card must list, exactly.
    checkpoint_hash : str or None
        Hash of the checkpoint in use; None leaves that comparison out.
    optional : frozenset of str
        Files that it may list besides.

    Raises
    ------
    IndexMismatchError
        Naming what is missing, damaged or does not belong.
    """
    folder = place_of(folder)
    path = (settled(folder) if isinstance(folder, Path) else folder) / CARD
    if not path.is_file():
        raise IndexMismatchError(
            f"{folder} holds no {CARD}, so it is not {_a(kind)}. Build it first or choose another."
        )
    # Asked before the file is read: a card may come from anywhere.
    if path.stat().st_size > MAX_CARD_BYTES:
        raise _damaged(path, f"is {path.stat().st_size} bytes long, too much for a card")
    return parse_card(
        path.read_bytes(),
        folder,
        kind=kind,
        files=files,
        checkpoint_hash=checkpoint_hash,
        optional=optional,
    )


def parse_card(
    content: bytes,
    folder: Place,
    *,
    kind: str,
    files: frozenset[str],
    checkpoint_hash: str | None,
    optional: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """As `read_card`, of a card that is in memory.

    Parameters
    ----------
    content : bytes
        Of ``card.json``.
    folder : Path
        Names it in messages; nothing is read there.
    kind, files, checkpoint_hash, optional
        As in `read_card`.

    Raises
    ------
    IndexMismatchError
        Naming what is damaged or does not belong.
    """
    path = place_of(folder) / CARD
    if len(content) > MAX_CARD_BYTES:
        raise _damaged(path, f"is {len(content)} bytes long, too much for a card")
    try:
        card = parse_json(content)
    except DocumentError as error:
        raise _damaged(path, "is not readable JSON") from error
    if not isinstance(card, dict):
        raise _damaged(path, "is not a JSON object")
    for name, wanted in _REQUIRED.items():
        # Not isinstance: True would pass for an int.
        if type(card.get(name)) is not wanted:
            raise _damaged(path, f"has no proper entry {name!r}")
    if card["kind"] != kind:
        raise IndexMismatchError(
            f"{folder} is {_a(str(card['kind'])[:40])}, not {_a(kind)}. Choose another folder."
        )
    # After the kind: another kind of folder counts its versions by itself.
    if card["format_version"] != FORMAT_VERSION:
        raise IndexMismatchError(
            f"{folder} has format version {card['format_version']}, and this program reads "
            f"version {FORMAT_VERSION}. Build it again."
        )
    # Exactly these files: one that no hash covers would be read unchecked.
    listed = set(card["files"])
    proper = all(isinstance(h, str) for h in card["files"].values())
    if listed - optional != files - optional or not proper:
        raise _damaged(path, f"does not list exactly the files {sorted(files)}")
    if card["n"] < 1 or card["dim"] < 1:
        raise _damaged(path, f"says n = {card['n']} and dim = {card['dim']}")
    if checkpoint_hash is not None and card["checkpoint_hash"] != checkpoint_hash:
        raise IndexMismatchError(
            f"{folder} was made with the model {card['checkpoint_hash'][:12]}, and the model in "
            f"use is {checkpoint_hash[:12]}. Build it again with this model or load the other one."
        )
    return card


def read_checked(
    folder: Place, name: str, card: Mapping[str, Any], *, mapped: bool = False
) -> Content:
    """Bytes of a file of a sealed folder, after comparing their hash with the card's.

    Parameters
    ----------
    folder : Path or StorePath
    name : str
        One of the card's files.
    card : mapping
        As `read_card` gives it.
    mapped : bool
        Leave them in the file, where it is one of this machine, for one that is large beside the
        memory.

    Returns
    -------
    bytes, or memoryview where they are mapped

    Raises
    ------
    IndexMismatchError
        If the file is missing or is not the one that was written.
    """
    path = place_of(folder) / name
    if not path.is_file():
        raise _damaged(path, "is missing")
    # Read once: the bytes that are hashed are those that the caller parses.
    content = _mapped(path) if mapped and isinstance(path, Path) else path.read_bytes()
    check_bytes(content, path, card)
    return content


def _mapped(path: Path) -> Content:
    with path.open("rb") as stream:
        try:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError:
            # An empty file cannot be mapped.
            return b""


def check_bytes(content: Content, path: Place, card: Mapping[str, Any]) -> None:
    """Compare the hash of a file's bytes with the card's.

    Parameters
    ----------
    content : bytes
    path : Path
        Its last part is the file's name on the card.
    card : mapping
        As `read_card` gives it.

    Raises
    ------
    IndexMismatchError
        If they are not the bytes that were written.
    """
    if hashlib.sha256(content).hexdigest() != card["files"][path.name]:
        raise _damaged(path, f"({len(content)} bytes) is not the file that its card describes")


def _may_replace(folder: Place, kind: str) -> bool:
    """True for an empty folder and for a sealed folder of this kind."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    card = folder / CARD
    # Without a card of its own it is somebody's folder, and is never deleted.
    if not card.is_file() or card.stat().st_size > MAX_CARD_BYTES:
        return False
    try:
        content = parse_json(card.read_bytes())
    except DocumentError:
        return False
    return isinstance(content, dict) and content.get("kind") == kind


def _damaged(path: Place, what: str) -> IndexMismatchError:
    return IndexMismatchError(
        f"{path.name} in {path.parent} {what}. Build the folder again or take an undamaged copy."
    )


def _a(kind: str) -> str:
    return f"an {kind}" if kind[:1] in "aeiou" else f"a {kind}"
