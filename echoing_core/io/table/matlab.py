"""Matrices in MATLAB files (levels 4 and 5) that came without the header of a WFDB record.

PhysioNet's export and several challenges store leads as rows of a matrix called ``val``, and the
header beside it gets lost. Rate, unit and leads have to be said then, as for any array.

References
----------
MathWorks, "MAT-File Format" (levels 4 and 5).
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import RecordError, UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown

LEVEL_5 = b"MATLAB 5.0"
NAME = "val"
"""The variable that is taken where there are several."""

MAX_BYTES = 512 * 1024**2
"""Of the file, and of what it unpacks to."""

# Level 4: the number of the class in the header's first word, for little-endian numbers.
_DTYPES = {0: "<f8", 10: "<f4", 20: "<i4", 30: "<i2", 40: "<u2", 50: "<u1"}
_HEAD = struct.Struct("<5i")
_COMPRESSED = 15


def is_matrix(head: bytes) -> bool:
    """Whether a file begins like a MATLAB file of level 4 or 5.

    Parameters
    ----------
    head : bytes
        The first bytes of the file, 20 at least.
    """
    return head.startswith(LEVEL_5) or _level_4(head) is not None


def matrix_in(file: SourceFile) -> npt.NDArray[Any]:
    """The matrix of numbers in a MATLAB file.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    ndarray, shape (n_rows, n_columns)

    Raises
    ------
    UnreadableRecordError
        Damaged, larger than `MAX_BYTES`, or without a matrix of real numbers.
    """
    name = shown(file.name)
    if file.size > MAX_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB; save a shorter part."
        )
    content = bytes(file.content()[:])
    level_4 = _level_4(content)
    if level_4 is None:
        return _of_level_5(content, name)
    dtype, rows, columns, start = level_4
    if len(content) < start + rows * columns * dtype.itemsize:
        raise UnreadableRecordError(f"{name} is cut short; copy or save it again.")
    flat = np.frombuffer(content, dtype=dtype, count=rows * columns, offset=start)
    return flat.reshape(rows, columns, order="F")


def _level_4(head: bytes) -> tuple[np.dtype[Any], int, int, int] | None:
    """Type, rows, columns and first byte of the numbers; None for anything else."""
    if len(head) < _HEAD.size + 2:
        return None
    kind, rows, columns, imaginary, n_name = _HEAD.unpack_from(head)
    variable = head[_HEAD.size : _HEAD.size + max(n_name, 0)]
    if kind not in _DTYPES or rows < 1 or columns < 1 or imaginary or not 2 <= n_name <= 64:
        return None
    if variable[-1:] != b"\0" or not variable[:-1].replace(b"_", b"a").isalnum():
        return None
    return np.dtype(_DTYPES[kind]), rows, columns, _HEAD.size + n_name


def _of_level_5(content: bytes, name: str) -> npt.NDArray[Any]:
    import scipy.io

    try:
        plain = _inflated(content, name)
        held = scipy.io.whosmat(io.BytesIO(plain))
        wanted = [n for n, shape, _ in held if len(shape) == 2 and min(shape) > 0]
        chosen = NAME if NAME in wanted else next(iter(wanted), None)
        values = scipy.io.loadmat(io.BytesIO(plain), variable_names=[chosen]) if chosen else {}
    except RecordError:
        raise
    # It stumbles over damage in every way that there is.
    except Exception as exc:
        raise UnreadableRecordError(f"{name} is a damaged MATLAB file; save it again.") from exc
    matrix = np.asarray(values.get(chosen)) if chosen else np.empty(0)
    if matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
        raise UnreadableRecordError(
            f"{name} holds no matrix of numbers called {NAME}; save the leads as one."
        )
    return matrix


def _inflated(content: bytes, name: str) -> bytes:
    """The file with its compressed parts unpacked, which a reader would do without a limit."""
    if content[126:128] != b"IM":
        raise UnreadableRecordError(
            f"{name} is a MATLAB file of the other byte order; save it again as NPY or CSV."
        )
    parts, place, left = [content[:128]], 128, MAX_BYTES
    while place + 8 <= len(content):
        kind, n_bytes = struct.unpack_from("<2I", content, place)
        body = content[place + 8 : place + 8 + n_bytes]
        if kind == _COMPRESSED:
            packed = zlib.decompressobj()
            part = packed.decompress(body, left)
            if packed.unconsumed_tail:
                raise UnreadableRecordError(f"{name} unpacks to more than can be read at once.")
        else:
            part = content[place : place + 8 + n_bytes]
        parts.append(part)
        left = max(1, left - len(part))
        place += 8 + n_bytes
    return b"".join(parts)
