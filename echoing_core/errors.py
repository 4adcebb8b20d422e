"""Every error a user can cause, as one family.

::

    EchoingError
    ├── RecordError              a recording cannot be used as it is
    │   ├── UnreadableRecordError   not a recording, or a damaged one
    │   │   └── StoppedReadingError    reading was stopped at a limit, or failed unexpectedly
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


class EchoingError(Exception):
    """Anything a user can cause and can act on."""


class RecordError(EchoingError):
    """A recording cannot be used as it is."""


class UnreadableRecordError(RecordError):
    """The bytes are not a recording, or a damaged one."""


class StoppedReadingError(UnreadableRecordError):
    """Reading an upload was stopped at a limit, or failed in a way that nobody expected."""


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
    """One of several processes that train together ended before the run was done."""
