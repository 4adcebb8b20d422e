"""Matrices in MATLAB files (levels 4 and 5) that came without the header of a WFDB record.

PhysioNet's export and several challenges store leads as rows of a matrix called ``val``, and the
header beside it gets lost. Rate, unit and leads have to be said then, as for any array.

References
----------
MathWorks, "MAT-File Format" (levels 4 and 5).
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown

LEVEL_5 = b"MATLAB 5.0"
NAME = "val"
"""The variable that is taken where there are several."""

MAX_BYTES = 512 * 1024**2
"""Of the file, and of what it unpacks to."""

# Level 4: the number of the class in the header's first word, for little-endian numbers.
_DTYPES = {0: "<f8", 10: "<f4", 20: "<i4", 30: "<i2", 40: "<u2", 50: "<u1"}
_HEAD = struct.Struct("<5i")
# Level 5: types of elements, and classes of arrays that are numbers.
_MATRIX, _COMPRESSED = 14, 15
_STORED = {
    1: "<i1", 2: "<u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 9: "<f8", 12: "<i8",
    13: "<u8",
}  # fmt: skip
_NUMBERS = range(6, 16)
_COMPLEX = 0x0800


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
    if content[126:128] != b"IM":
        raise UnreadableRecordError(
            f"{name} is a MATLAB file of the other byte order; save it again as NPY or CSV."
        )
    try:
        held = dict(_matrices(content, name))
    except (struct.error, ValueError, zlib.error) as exc:
        raise UnreadableRecordError(f"{name} is a damaged MATLAB file; save it again.") from exc
    matrix = held.get(NAME, next(iter(held.values()), None))
    if matrix is None:
        raise UnreadableRecordError(
            f"{name} holds no matrix of numbers called {NAME}; save the leads as one."
        )
    return matrix


def _matrices(content: bytes, name: str) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Names and values of the matrices of real numbers; whatever else there is is passed over.

    SciPy's reader trusts the types that a file states, and ends the process over an unknown one.
    """
    left = MAX_BYTES
    for kind, body in _elements(memoryview(content)[128:]):
        if kind == _COMPRESSED:
            packed = zlib.decompressobj()
            plain = packed.decompress(body, left)
            if packed.unconsumed_tail:
                raise UnreadableRecordError(f"{name} unpacks to more than can be read at once.")
            left = max(1, left - len(plain))
            kind, body = next(_elements(memoryview(plain)), (0, memoryview(b"")))
        if kind != _MATRIX:
            continue
        found = _matrix(body)
        if found is not None:
            yield found


def _matrix(body: memoryview) -> tuple[str, npt.NDArray[Any]] | None:
    """One variable; None where it is no matrix of real numbers."""
    # Flags, shape, name, numbers: always in this order.
    parts = list(itertools.islice(_elements(body), 4))
    if len(parts) < 4 or len(parts[0][1]) < 4:
        return None
    (flags,) = struct.unpack_from("<I", parts[0][1])
    shape = np.frombuffer(parts[1][1], "<i4").tolist()
    kind, numbers = parts[3]
    if (flags & 0xFF) not in _NUMBERS or flags & _COMPLEX or kind not in _STORED:
        return None
    if len(shape) != 2 or min(shape) < 1:
        return None
    values = np.frombuffer(numbers, _STORED[kind])
    if values.size != shape[0] * shape[1]:
        raise ValueError("the shape is not that of the numbers")
    return bytes(parts[2][1]).decode("latin-1"), values.reshape(shape, order="F")


def _elements(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of one element after the other; the last may be cut short."""
    place = 0
    while place + 8 <= len(content):
        kind, n_bytes = struct.unpack_from("<2I", content, place)
        if kind >> 16:
            # Up to four bytes lie in the place of their number.
            yield kind & 0xFFFF, content[place + 4 : place + 4 + min(kind >> 16, 4)]
            place += 8
            continue
        yield kind, content[place + 8 : place + 8 + n_bytes]
        # Compressed ones follow each other without a gap.
        place += 8 + n_bytes + (0 if kind == _COMPRESSED else -n_bytes % 8)
