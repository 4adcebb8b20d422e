"""Signals of a long record left where they are, in the file's own numbers, and read in pieces.

A day of 12 leads at 500 Hz is 1 GB in its file and 2 GB as millivolts. Whoever goes over it once,
as filtering does, needs neither in memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown

_BYTES = 2
_BLOCK_BYTES = 1 << 23


@dataclass(frozen=True, eq=False)
class StoredFrames:
    """A file of numbers of 16 bits, or of 12 in pairs, frame by frame.

    Attributes
    ----------
    file : SourceFile
    byte_offset : int
        Of the first frame.
    n_frames, n_columns : int
        A frame has a number for each column.
    unpack : callable, optional
        Makes so many numbers of packed bytes, for a file of pairs of 12 bits.
    """

    file: SourceFile
    byte_offset: int
    n_frames: int
    n_columns: int
    unpack: Callable[[bytes, int], npt.NDArray[np.int16]] | None = None
    _taken: dict[int, npt.NDArray[np.int16]] = field(default_factory=dict)

    def read(self, start: int, stop: int) -> npt.NDArray[np.int16]:
        """Frames from one up to another.

        Parameters
        ----------
        start, stop : int
            Within the file.

        Returns
        -------
        ndarray, shape (stop - start, n_columns)

        Raises
        ------
        UnreadableRecordError
            The file became shorter, or can no longer be read.
        """
        shape = (stop - start, self.n_columns)
        n, first = shape[0] * shape[1], start * self.n_columns
        if self.unpack is None:
            return self._bytes(_BYTES * first, _BYTES * n).view("<i2").reshape(shape)
        # Pairs of samples share three bytes, so an odd one begins within its pair.
        odd = first % 2
        packed = self._bytes((first - odd) // 2 * 3, -(-(n + odd) // 2) * 3)
        return self.unpack(packed.tobytes(), n + odd)[odd:].reshape(shape)

    def _bytes(self, first: int, n: int) -> npt.NDArray[np.uint8]:
        first += self.byte_offset
        if self.file.data is not None:
            n = min(n, max(0, len(self.file.data) - first))
            return np.frombuffer(self.file.data, dtype=np.uint8, count=n, offset=first)
        # Read and not mapped: pages of a map count as this process's memory. The last pair of an
        # odd number of samples may be cut.
        values = np.empty(n, dtype=np.uint8)
        try:
            with self.file.open() as stream:
                stream.seek(first)
                n_read = stream.readinto(values.data) if n else 0  # type: ignore[attr-defined]
        except OSError:
            n_read = -1
        if n_read < n - int(self.unpack is not None):
            raise UnreadableRecordError(
                f"{shown(self.file.name)} changed or went away while it was read; open it again."
            )
        return values[:n_read]

    def blocks(self) -> Iterator[npt.NDArray[np.int16]]:
        """All frames in the order of time, some megabytes at a time."""
        n = max(1, _BLOCK_BYTES // (self.n_columns * _BYTES))
        for start in range(0, self.n_frames, n):
            yield self.read(start, min(start + n, self.n_frames))

    @functools.cached_property
    def sums(self) -> npt.NDArray[np.int64]:
        """Sum of each column, shape (n_columns,), for checksums."""
        total = np.zeros(self.n_columns, dtype=np.int64)
        for block in self.blocks():
            total += block.sum(axis=0, dtype=np.int64)
        return total

    def every(self, step: int) -> npt.NDArray[np.int16]:
        """Each so many frames one, shape (n, n_columns).

        Parameters
        ----------
        step : int
        """
        if step not in self._taken:
            taken, start = [], 0
            for block in self.blocks():
                taken.append(block[-start % step :: step].copy())
                start += len(block)
            self._taken[step] = np.concatenate(taken)
        return self._taken[step]


@dataclass(frozen=True, eq=False)
class StoredRow:
    """One column of `StoredFrames`, in millivolts where it is asked for.

    Attributes
    ----------
    frames : StoredFrames
    column : int
    to_mv : callable
        From numbers to mV in float32; NaN for what means "not measured".
    blanks : tuple of (int, int)
        Stretches that count as not measured.
    """

    frames: StoredFrames
    column: int
    to_mv: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.float32]]
    blanks: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        return self.frames.n_frames

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    def of(self, numbers: npt.NDArray[np.int16], start: int) -> npt.NDArray[np.float32]:
        """Millivolts of numbers of this column that begin at sample ``start``.

        Parameters
        ----------
        numbers : ndarray of int16, shape (n,)
        start : int

        Returns
        -------
        ndarray, shape (n,), float32
        """
        values = self.to_mv(np.ascontiguousarray(numbers))
        for first, last in self.blanks:
            values[max(0, first - start) : max(0, last - start)] = np.nan
        return values

    def __getitem__(self, key: slice) -> npt.NDArray[np.float32]:
        start, stop, step = key.indices(self.size)
        if step == 1:
            return self.of(self.frames.read(start, max(start, stop))[:, self.column], start)
        if (start, stop) != (0, self.size) or step < 1:
            raise IndexError("a stored signal is read in one piece, or evenly over all of it")
        values = self.to_mv(self.frames.every(step)[:, self.column])
        for first, last in self.blanks:
            values[-(-first // step) : -(-last // step)] = np.nan
        return values


@dataclass(frozen=True, eq=False)
class StoredSignal:
    """Rows of one file as a `Recording` holds them: an array that is made where it is asked for.

    Of an array's ways it has shape, indexing by rows and a stretch of time, and `numpy.asarray`.

    Attributes
    ----------
    rows : tuple of StoredRow
    """

    rows: tuple[StoredRow, ...]
    ndim: int = field(default=2, init=False)
    dtype: np.dtype[np.float32] = field(default=np.dtype(np.float32), init=False)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.rows[0].size if self.rows else 0

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> Any:
        rows, times = key if isinstance(key, tuple) else (key, slice(None))
        if isinstance(rows, int | np.integer):
            return self.rows[int(rows)][times]
        if isinstance(rows, slice):
            taken = self.rows[rows]
        else:
            taken = tuple(self.rows[int(row)] for row in rows)
        if times == slice(None):
            return StoredSignal(taken)
        start, stop, step = times.indices(self.shape[1])
        if step != 1:
            raise IndexError("a stored signal is read in stretches")
        return _read(taken, start, max(start, stop))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        n_rows, n_times = self.shape
        out = np.empty((n_rows, n_times), dtype=np.float32)
        for start in range(0, n_times, _BLOCK_BYTES // 16):
            stop = min(start + _BLOCK_BYTES // 16, n_times)
            out[:, start:stop] = _read(self.rows, start, stop)
        return out if dtype is None else out.astype(dtype, copy=False)

    def blanked(self, start: int, stop: int) -> StoredSignal:
        """The same, with a stretch that counts as not measured in all rows.

        Parameters
        ----------
        start, stop : int

        Returns
        -------
        StoredSignal
        """
        return StoredSignal(
            tuple(replace(row, blanks=(*row.blanks, (start, stop))) for row in self.rows)
        )


def _read(rows: Sequence[StoredRow], start: int, stop: int) -> npt.NDArray[np.float32]:
    out = np.empty((len(rows), stop - start), dtype=np.float32)
    frames: StoredFrames | None = None
    for i, row in enumerate(rows):
        if row.frames is not frames:
            frames = row.frames
            numbers = frames.read(start, stop)
        out[i] = row.of(numbers[:, row.column], start)
    return out
