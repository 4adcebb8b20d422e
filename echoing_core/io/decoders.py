"""Libraries that decode foreign bytes: imported when needed, their errors as one sentence."""

from __future__ import annotations

import importlib
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

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
