"""What pydicom raises on damaged bytes, as one sentence: of ECGs and of echo clips alike."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from echoing_core.errors import RecordError, UnreadableRecordError

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


@contextmanager
def damage_told(sentence: str, *others: type[Exception]) -> Iterator[None]:
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
