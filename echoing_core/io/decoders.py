"""Libraries that decode foreign bytes: imported when needed, their errors as one sentence."""

from __future__ import annotations

import importlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from types import ModuleType
from typing import BinaryIO, cast

from echoing_core.errors import ConfigError, RecordError, UnreadableRecordError

# Anything that pydicom and the decoders below it raise on damaged bytes.
_DAMAGE = (
    struct.error,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ArithmeticError,
)


def import_decoder(module: str, package: str) -> ModuleType:
    """Import what reads or writes a format.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigError(
            f"{package} is not installed, and echocardiography clips need it. Install what "
            "requirements.txt lists."
        ) from exc


DEFLATED = "1.2.840.10008.1.2.1.99"
"""Inflating the whole object comes before anything in it can be checked."""

MOST_ITEMS = 40_000
"""Of sequences in a DICOM object: a day in 10,000 groups has fewer; each takes 50 us to parse."""

_ITEM = b"\xfe\xff\x00\xe0"
_PIXELS = b"\xe0\x7f\x10\x00"


def transfer_syntax(stream: BinaryIO | mmap, *, force: bool = False) -> str:
    """How a DICOM object is encoded, from its meta information alone, which is never compressed.

    Parameters
    ----------
    stream : binary file
        At its start; left anywhere.
    force : bool
        An object may come without its mark.

    Returns
    -------
    str
        A UID; empty where it does not say.

    Raises
    ------
    InvalidDicomError
        Without ``force``: the mark is not there.
    """
    from pydicom.filereader import read_partial

    part = read_partial(
        cast("BinaryIO", stream), lambda tag, vr, length: tag.group > 2, force=force
    )
    return str(getattr(part, "file_meta", {}).get("TransferSyntaxUID", ""))


def check_items(content: bytes | mmap, name: str) -> None:
    """Refuse a DICOM object of far more items than any, before they are parsed one by one.

    Parameters
    ----------
    content : bytes or mmap
    name : str
        Of the file, for the message.

    Raises
    ------
    UnreadableRecordError
    """
    end = content.find(_PIXELS)
    end = len(content) if end < 0 else end
    found = at = 0
    # Not `bytes.count`, which a memory map does not have. Four bytes of a waveform that happen to
    # be these are one in 4e9.
    while (at := content.find(_ITEM, at, end)) >= 0:
        found, at = found + 1, at + len(_ITEM)
        if found > MOST_ITEMS:
            raise UnreadableRecordError(
                f"{name} holds more than {MOST_ITEMS:,} entries in its lists, which no ECG and no "
                "echocardiogram has; export it again."
            )


@contextmanager
def damage_as(sentence: str, *others: type[Exception]) -> Iterator[None]:
    """Turn what damaged bytes raise into one sentence, and silence warnings that quote values.

    Parameters
    ----------
    sentence : str
        Of the `UnreadableRecordError`.
    *others : exception types
        That are damage where this is used, too.
    """
    from pydicom.errors import BytesLengthException, InvalidDicomError

    damage: tuple[type[Exception], ...] = (*_DAMAGE, *others, BytesLengthException)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InvalidDicomError, RecordError):
            raise
        except damage:
            # `from None`: the messages below quote the object's values.
            raise UnreadableRecordError(sentence) from None
