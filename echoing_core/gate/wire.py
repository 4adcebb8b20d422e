"""Calls to a worker and its answers, through pipes.

A worker has parsed what a stranger wrote, so its answers are not trusted: their size is bounded
before anything is allocated, and they can build nothing but plain values, arrays, frozen records
and errors of this package.
"""

from __future__ import annotations

import builtins
import dataclasses
import importlib
import io
import pickle
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO

from echoing_core.errors import EchoingError

_HEAD = struct.Struct(">QI")
_LENGTH = struct.Struct(">Q")
_MOST_BUFFERS = 100_000

_PLAIN = {"complex", "set", "frozenset", "bytearray", "range", "slice"}
# What NumPy's arrays, scalars and types are made of; its modules were renamed in version 2.
_NUMPY = {
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class TooMuchError(Exception):
    """An answer is larger than it may be."""


class BrokenAnswerError(Exception):
    """What came is no answer, or holds what an answer may not."""


def send(stream: BinaryIO, value: Any, most: int) -> None:
    """Write one answer.

    Parameters
    ----------
    stream : binary stream
    value : object
    most : int
        Bytes.

    Raises
    ------
    TooMuchError
        It is larger; nothing was written.
    """
    buffers: list[pickle.PickleBuffer] = []
    # Arrays go beside the rest, without being copied.
    body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    parts = [buffer.raw() for buffer in buffers]
    if len(body) + sum(part.nbytes for part in parts) > most or len(parts) > _MOST_BUFFERS:
        raise TooMuchError
    stream.write(_HEAD.pack(len(body), len(parts)))
    stream.writelines(_LENGTH.pack(part.nbytes) for part in parts)
    stream.write(body)
    stream.writelines(parts)
    stream.flush()


def receive(stream: BinaryIO, most: int) -> Any:
    """Read one answer.

    Parameters
    ----------
    stream : binary stream
    most : int
        Bytes.

    Returns
    -------
    object

    Raises
    ------
    EOFError
        The stream ends before.
    TooMuchError
        It says that it is larger.
    BrokenAnswerError
        It cannot be what a worker of ours would send.
    """
    n_body, n_parts = _HEAD.unpack(_exactly(stream, _HEAD.size))
    if n_body > most or n_parts > _MOST_BUFFERS:
        raise TooMuchError
    sizes = [_LENGTH.unpack(_exactly(stream, _LENGTH.size))[0] for _ in range(n_parts)]
    if n_body + sum(sizes) > most:
        raise TooMuchError
    body = _exactly(stream, n_body)
    parts = [_exactly(stream, size) for size in sizes]
    try:
        return _Answers(body, parts).load()
    except BrokenAnswerError:
        raise
    # Unpickling of bytes that somebody made raises whatever they like.
    except Exception as error:
        raise BrokenAnswerError from error


def _exactly(stream: BinaryIO, n_bytes: int) -> bytearray:
    data = bytearray(n_bytes)
    view, done = memoryview(data), 0
    while done < n_bytes:
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return data


class _Answers(pickle.Unpickler):
    """Knows plain values, arrays, and our own records and errors by name, and nothing else."""

    def __init__(self, body: bytes | bytearray, parts: Iterable[bytearray]) -> None:
        super().__init__(io.BytesIO(body), buffers=parts)

    def find_class(self, module: str, name: str) -> Any:
        if module == "builtins" and name in _PLAIN:
            return getattr(builtins, name)
        if module.split(".")[0] == "numpy" and (module.split(".")[-1], name) in _NUMPY:
            return getattr(importlib.import_module(module), name)
        if module.startswith("echoing_core.") and name.isidentifier():
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and (
                dataclasses.is_dataclass(found) or issubclass(found, EchoingError)
            ):
                return found
        raise BrokenAnswerError(name)
