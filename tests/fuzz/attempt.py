"""One input given to one target, and what is wrong if something is."""

from __future__ import annotations

import hashlib
import io
import resource
import time
import traceback
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutate import Files
from tests.fuzz.targets import Target

MOST_CPU_S = 2.0
MOST_GROWTH = 500 * 2**20


@dataclass(frozen=True)
class Finding:
    """Something that must not happen.

    Attributes
    ----------
    target, kind : str
        ``kind`` is ``"escape"``, ``"slow"``, ``"growth"``, ``"hang"`` or ``"crash"``.
    what : str
        The same for inputs that are wrong in the same way.
    """

    target: str
    kind: str
    what: str

    @property
    def key(self) -> str:
        """For the name of a file."""
        digest = hashlib.sha256(f"{self.kind} {self.what}".encode("utf-8", "replace"))
        return f"{self.target.replace(' ', '_')}-{self.kind}-{digest.hexdigest()[:8]}"


def attempt(target: Target, files: Files) -> Finding | None:
    """Read files as the program does.

    Parameters
    ----------
    target : Target
    files : dict of str to bytes

    Returns
    -------
    Finding or None
    """
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    finding = None
    try:
        # A warning is no error to a person who uploads; to the tests of the program it is.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            target.read(files)
    except target.family:
        pass
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        finding = Finding(target.name, "escape", f"{type(error).__name__} at {_place(error)}")
    cpu_s = time.process_time() - began
    if finding is None and cpu_s > MOST_CPU_S:
        finding = Finding(target.name, "slow", f"{min(files)} {cpu_s:.0f} s")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held)
    if grown > MOST_GROWTH:
        finding = Finding(target.name, "growth", f"{min(files)} {grown >> 20} MB")
    return finding


def _place(error: BaseException) -> str:
    """The last line of this program that it went through, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "echoing_core" in f.filename or f"{'/ui/'}" in f.filename]
    last = frames[-1]
    mine = ours[-1] if ours else last
    return f"{Path(mine.filename).name}:{mine.lineno} ({Path(last.filename).name}:{last.lineno})"


def packed(files: Files, target: str) -> bytes:
    """Files as they are kept.

    Parameters
    ----------
    files : dict of str to bytes
    target : str
        Name of the target that they are for.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = target.encode()
        for name, content in files.items():
            # A fixed date, so that the same input is the same file.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def unpacked(data: bytes) -> tuple[str, Files]:
    """Name of the target and files, as `packed` has them.

    Parameters
    ----------
    data : bytes
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.comment.decode(), {n: archive.read(n) for n in archive.namelist()}
