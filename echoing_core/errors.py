"""Every error a user can cause, as one family.

::

    EchoingError
    ├── RecordError              a recording cannot be used as it is
    │   ├── UnreadableRecordError   not a recording, or a damaged one
    │   │   ├── StoppedReadingError    reading was stopped at a limit, or failed unexpectedly
    │   │   └── UnsaidTimesError       leads of different lengths that lie nobody knows how in time
    │   ├── MissingLeadError        leads that are needed are not there
    │   ├── SamplingRateError       sampling rate absent or out of range
    │   ├── UnitsError              amplitudes that cannot be turned into mV
    │   └── SignalQualityError      too short, or nothing but gaps
    ├── ConfigError              a setting that does not exist or does not fit
    ├── CheckpointError          a model folder that is damaged or of another kind
    ├── IndexMismatchError       an index that does not belong to this model
    ├── DataSetError             a folder of recordings that is not what it should be
    └── LostProcessError         one of several processes that train together ended before its time

Each message is one or two plain sentences: what was seen, what is needed, what to do.
Programming mistakes stay ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

import errno
import re
from pathlib import PurePath


class EchoingError(Exception):
    """Anything a user can cause and can act on."""


class RecordError(EchoingError):
    """A recording cannot be used as it is."""


class UnreadableRecordError(RecordError):
    """The bytes are not a recording, or a damaged one."""


class StoppedReadingError(UnreadableRecordError):
    """Reading an upload was stopped at a limit, or failed in a way that nobody expected."""


class UnsaidTimesError(UnreadableRecordError):
    """Leads have different lengths, and nothing says how they lie in time."""


class MissingLeadError(RecordError):
    """Leads that are needed are not in the recording."""


class SamplingRateError(RecordError):
    """The sampling rate is absent or out of range."""


class UnitsError(RecordError):
    """Amplitudes cannot be turned into millivolts."""


class SignalQualityError(RecordError):
    """The recording is too short, or holds nothing but gaps."""


class ConfigError(EchoingError):
    """A setting does not exist, or its value does not fit."""


class CheckpointError(EchoingError):
    """A model folder is damaged, incomplete or of another kind."""


class IndexMismatchError(EchoingError):
    """An index is damaged or does not belong to the model in use."""


class DataSetError(EchoingError):
    """A data set folder is not laid out as its documentation says."""


class LostProcessError(EchoingError):
    """One of several processes that work together ended before the work was done."""


_OF_THE_SYSTEM = {
    errno.ENOSPC: "There is no room left on the disk{of}. Free some, or choose another place.",
    errno.EDQUOT: "You may put no more on the disk{of}. Free some, or choose another place.",
    errno.EFBIG: "A file{of} would be larger than files may be there. Choose another place.",
    errno.EROFS: "The disk{of} can only be read. Choose another place.",
    errno.EACCES: "This user may not read or write a file{of}. Change its rights, or choose "
    "another place.",
    errno.EPERM: "This user may not change a file{of}. Change its rights, or choose another place.",
    errno.EIO: "The disk{of} gave an error. Look after it, and try again.",
    errno.EMFILE: "This program has as many files open as it may. Close some, or raise the limit "
    "(ulimit -n).",
    errno.ENFILE: "The system has as many files open as it may. Close some programs.",
}
_IN_WORDS = re.compile(r"\(os error (\d{1,5})\)")


def of_the_system(error: BaseException | None) -> str | None:
    """What the system refused, for people: no bug, and nothing that a file said.

    Parameters
    ----------
    error : exception or None

    Returns
    -------
    str or None
        A sentence and what to do; None for anything else, also for a file that is not there, which
        whoever looks for it has to explain.
    """
    if isinstance(error, MemoryError):
        return "There is not enough memory for this. Close other programs, or take less at once."
    number = error.errno if isinstance(error, OSError) else None
    # Libraries in Rust (safetensors) have errors of their own, with the system's in their words.
    if type(error).__name__ == "SafetensorError" and (found := _IN_WORDS.search(str(error))):
        number = int(found[1])
    if number is None or number not in _OF_THE_SYSTEM:
        return None
    # A write that fails says no name; a draft's own name is none that anybody chose.
    filename = getattr(error, "filename", None)
    named = filename if isinstance(filename, str) else ""
    shown = "".join(c if c.isprintable() else "?" for c in named)
    is_draft = PurePath(shown).name.startswith(".")
    return _OF_THE_SYSTEM[number].format(of=f" ({shown})" if shown and not is_draft else "")
