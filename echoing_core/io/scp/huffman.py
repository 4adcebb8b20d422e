"""Huffman tables of SCP-ECG (section 2) and what they decode.

A code is a prefix, and for values out of the table's range a number of 8 or 16 bits after it. A
code may also switch to another table. Every code takes at least one bit, so decoding ends.

References
----------
ISO 11073-91064:2009, clause 5.5 and table C.1 (default table).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError

DEFAULT_TABLE = 19999
"""Number that stands in section 2 in place of tables."""

MAX_PREFIX = 16
_MAX_TABLES = 16


@dataclass(frozen=True)
class Code:
    """One code structure of a table.

    Attributes
    ----------
    prefix, total : int
        Bits of the prefix, and with what follows it.
    is_value : bool
        False where the code switches to table number ``value``.
    value : int
        Added to what follows the prefix.
    bits : int
        The prefix; its first bit is the least significant.
    """

    prefix: int
    total: int
    is_value: bool
    value: int
    bits: int


def _default_codes() -> tuple[Code, ...]:
    # 0 is one bit; n is n ones, a zero and the sign; above 8 a number of 8 or 16 bits follows.
    codes = [Code(1, 1, True, 0, 0)]
    for n in range(1, 9):
        ones = (1 << n) - 1
        codes += [Code(n + 2, n + 2, True, n, ones)]
        codes += [Code(n + 2, n + 2, True, -n, ones | 1 << n + 1)]
    return (*codes, Code(10, 18, True, 0, 511), Code(10, 26, True, 0, 1023))


DEFAULT_CODES = _default_codes()


class Huffman:
    """Tables ready to decode.

    Parameters
    ----------
    tables : sequence of sequence of Code
        Decoding starts in the first.
    """

    def __init__(self, tables: Sequence[Sequence[Code]]) -> None:
        codes = [code for table in tables for code in table]
        self._totals = [code.total for code in codes]
        self._switches = [-1 if code.is_value else code.value - 1 for code in codes]
        self._prefix = np.array([code.prefix for code in codes])
        self._extra = np.array([code.total - code.prefix for code in codes])
        self._value = np.array([code.value for code in codes])
        self._lookups: list[list[int]] = []
        first = 0
        for table in tables:
            # By the next 16 bits: index of the code that they begin with, -1 for none.
            lookup = np.full(1 << MAX_PREFIX, -1, dtype=np.int32)
            for i, code in enumerate(table, first):
                start = int(f"{code.bits & (1 << code.prefix) - 1:0{code.prefix}b}"[::-1], 2)
                shift = MAX_PREFIX - code.prefix
                lookup[start << shift : (start + 1) << shift] = i
            self._lookups.append(lookup.tolist())
            first += len(table)

    def decode(
        self, data: bytes, n: int, what: str, *, may_end: bool = False
    ) -> npt.NDArray[np.int64]:
        """The first ``n`` numbers.

        Parameters
        ----------
        data : bytes
            Of one lead; the first bit is the most significant of the first byte.
        n : int
        what : str
            Beginning of a message.
        may_end : bool
            Fewer than ``n`` are no damage.

        Returns
        -------
        ndarray of int64, shape (n,)

        Raises
        ------
        UnreadableRecordError
            The bits end before, or are no code.
        """
        n_bits = 8 * len(data)
        if n > n_bits and not may_end:
            raise self._cut(what)
        padded = np.frombuffer(data + bytes(8), dtype=np.uint8).astype(np.int64)
        triples = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
        # The 16 bits from every bit on.
        windows = (triples[:, None] >> np.arange(8, 0, -1) & 0xFFFF).ravel()
        ahead = windows.tolist()
        lookup, place = self._lookups[0], 0
        places: list[int] = []
        kinds: list[int] = []
        while len(places) < n:
            if place >= n_bits:
                if may_end:
                    break
                raise self._cut(what)
            kind = lookup[ahead[place]]
            if kind < 0:
                if may_end:  # what fills the last byte
                    break
                raise UnreadableRecordError(
                    f"{what} holds bits that are no code of its Huffman table; export it again."
                )
            if self._switches[kind] >= 0:
                lookup = self._lookups[self._switches[kind]]
            else:
                places.append(place)
                kinds.append(kind)
            place += self._totals[kind]
        if place > n_bits:
            if not may_end:
                raise self._cut(what)
            places, kinds = places[:-1], kinds[:-1]
        chosen = np.array(kinds, dtype=np.int64)
        extra = self._extra[chosen]
        after = windows[np.array(places, dtype=np.int64) + self._prefix[chosen]]
        # A number of so many bits with a sign; of none it is nothing.
        number = after >> (16 - extra)
        number -= (number >> np.maximum(extra - 1, 0) & (extra > 0)) << extra
        decoded: npt.NDArray[np.int64] = np.where(extra > 0, number, 0) + self._value[chosen]
        return decoded

    @staticmethod
    def _cut(what: str) -> UnreadableRecordError:
        return UnreadableRecordError(
            f"{what} ends before its last sample: the file is damaged; export it again."
        )


def huffman_of(section: bytes, name: str) -> Huffman:
    """The tables of section 2.

    Parameters
    ----------
    section : bytes
    name : str
        Of the file, fit for a message.

    Raises
    ------
    UnreadableRecordError
        Cut short, or codes that no decoder could follow.
    """
    n_tables = int.from_bytes(section[:2], "little")
    if n_tables == DEFAULT_TABLE:
        return _default()
    if not 1 <= n_tables <= _MAX_TABLES:
        raise _unusable(name)
    tables, at = [], 2
    for _ in range(n_tables):
        n_codes = int.from_bytes(section[at : at + 2], "little")
        at += 2
        if n_codes < 1 or len(section) < at + 9 * n_codes:
            raise _unusable(name)
        table = []
        for i in range(n_codes):
            prefix, total, mode, value, bits = struct.unpack_from("<BBBhI", section, at + 9 * i)
            is_value = mode == 1
            if not 1 <= prefix <= MAX_PREFIX or not 0 <= total - prefix <= 16:
                raise _unusable(name)
            if not is_value and not 1 <= value <= n_tables:
                raise _unusable(name)
            table.append(Code(prefix, total, is_value, value, bits))
        at += 9 * n_codes
        tables.append(table)
    return Huffman(tables)


@lru_cache(maxsize=1)
def _default() -> Huffman:
    return Huffman([DEFAULT_CODES])


def _unusable(name: str) -> UnreadableRecordError:
    return UnreadableRecordError(
        f"The Huffman tables of {name} are damaged or of a kind that is not read here; export it "
        "without compression, or as DICOM."
    )
