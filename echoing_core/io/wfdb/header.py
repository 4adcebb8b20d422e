"""A strict reader of WFDB headers, used before any other program sees the file.

A header decides how much memory and time the reader of the signals will spend, and which
files it opens. So it is checked here first: its size, the numbers in it, the formats, the
file names. What passes is a `Header`; the text itself goes no further, and with it go the
comments and dates, which may tell who the patient is.

References
----------
WFDB Applications Guide, header(5) and signal(5).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from echoing_core.errors import MissingLeadError, SamplingRateError, UnreadableRecordError
from echoing_core.io.channels import MAX_FS_HZ, MAX_VALUES
from echoing_core.io.numbers import NUMBER_PATTERN
from echoing_core.io.sources import SIMULATED_MARK, base_name, shown

MAX_HEADER_BYTES = 64 * 1024
# 12 leads, Frank leads, and what a bedside monitor records besides.
MAX_SIGNALS = 32
MAX_SAMPLES_PER_FRAME = 1_000
DEFAULT_GAIN = 200.0
"""Units per mV where a header gives none, or 0 (header(5))."""

MIN_GAIN, MAX_GAIN = 1e-9, 1e15
"""From far below one unit per kV to far above a thousand per nV; keeps float32 finite."""

BITS_PER_SAMPLE = {
    "8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12,
    "310": 32 / 3, "311": 32 / 3,
}  # fmt: skip
"""Formats read here. In 310 and 311 three samples share four bytes."""
FLAC_FORMATS = ("508", "516", "524")
NULL_FORMAT = "0"
_FORMAT_HELP = "8, 16, 24, 32, 61, 80, 160, 212, 310, 311 or FLAC (508, 516, 524)"

_FORMAT = re.compile(r"(\d{1,4})(?:x(\d{1,9}))?(?::(\d{1,12}))?(?:\+(\d{1,12}))?", re.ASCII)
_GAIN = re.compile(
    "(" + NUMBER_PATTERN + r")(?:\((-?\d{1,12}(?:\.\d{0,6})?)\))?(?:/(\S+))?", re.ASCII
)
_COUNT = re.compile(r"\d{1,15}", re.ASCII)
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(NUMBER_PATTERN, re.ASCII)


@dataclass(frozen=True)
class SignalLine:
    """One channel, as its line in the header describes it.

    Attributes
    ----------
    file_name, fmt, name : str
    samples_per_frame : int
    skew : int
        Frames by which the channel is delayed.
    byte_offset : int
    gain : float
        Digital units per physical unit.
    gain_assumed : bool
        Whether the header gives none.
    baseline : float
        Digital value of physical zero.
    units, checksum
        None where the header gives none.
    first : int
        Digital value before the first difference, in format 8.
    problem : str
        Why this one channel cannot be read, in a sentence; otherwise empty.
    """

    file_name: str
    fmt: str
    name: str
    samples_per_frame: int = 1
    skew: int = 0
    byte_offset: int = 0
    gain: float = DEFAULT_GAIN
    gain_assumed: bool = False
    baseline: float = 0
    units: str | None = None
    checksum: int | None = None
    first: int = 0
    problem: str = ""


@dataclass(frozen=True)
class SegmentLine:
    """One segment of a multi-segment record.

    Attributes
    ----------
    name : str
        Of its record; ``~`` is a gap.
    n_frames : int
    """

    name: str
    n_frames: int


@dataclass(frozen=True)
class Header:
    """What a WFDB header says, checked.

    Attributes
    ----------
    fs_hz : float
        Frames per second.
    n_frames : int or None
        None where it gives no length.
    signals : tuple of SignalLine
        Empty for a master header.
    segments : tuple of SegmentLine
        Empty for a record without segments.
    n_signals : int
    simulated : bool
        Whether a comment says so.
    n_lines_left : int
        Lines of text after those of the signals, which say nothing to a program.
    """

    fs_hz: float
    n_frames: int | None
    signals: tuple[SignalLine, ...]
    segments: tuple[SegmentLine, ...]
    n_signals: int
    simulated: bool
    n_lines_left: int = 0


def decode_header(data: bytes, file_name: str) -> str:
    """Text of a header file.

    Raises
    ------
    UnreadableRecordError
        If the bytes are too many, empty, or not plain text.
    """
    name = shown(file_name)
    if not data.strip():
        raise UnreadableRecordError(f"The header {name} is empty; copy or export it again.")
    if len(data) > MAX_HEADER_BYTES:
        raise UnreadableRecordError(
            f"The header {name} is larger than {MAX_HEADER_BYTES // 1024} KB, which no ECG header "
            "is; check that the right file was chosen."
        )
    # Downloads that failed often leave a page or a pointer under the file's name.
    start = data[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        raise UnreadableRecordError(
            f"{name} is a web page, not a header: the download was answered by a page; "
            "download the .hea file itself."
        )
    if start.startswith(b"version https://git-lfs"):
        raise UnreadableRecordError(
            f"{name} only points at a file kept elsewhere (Git LFS); fetch the file itself."
        )
    # Binary data under the ending .hea; ^Z is allowed, as DOS editors end files with it.
    controls = sum(byte < 32 and byte not in b"\t\r\n\f\x1a" for byte in data)
    if controls or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableRecordError(
            f"{name} is not a text file, so it is not a WFDB header; choose the .hea file that was "
            "exported with the recording."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Only comments and channel names can hold such letters; Latin-1 reads any byte.
        return data.decode("latin-1")


def parse_header(data: bytes, file_name: str, fs_hz: float | None = None) -> Header:
    """Read and check a header.

    Parameters
    ----------
    data : bytes
        The whole file, or its first ``MAX_HEADER_BYTES + 1`` bytes.
    file_name : str
        Name for messages.
    fs_hz : float, optional
        The sampling rate where the header gives none.

    Raises
    ------
    UnreadableRecordError
        If it is not a WFDB header or contradicts itself.
    MissingLeadError
        If it declares no signals.
    SamplingRateError
        If the sampling rate is absent, not a number, or not within 0-10,000 Hz.
    """
    name = shown(file_name)
    lines: list[str] = []
    simulated = False
    for raw in decode_header(data, file_name).splitlines():
        line = raw.replace("\x1a", "").strip()  # some old editors end a file with ^Z
        if line.startswith("#"):
            simulated = simulated or SIMULATED_MARK in line.lower()
        elif line:
            lines.append(line)
    if not lines:
        raise UnreadableRecordError(f"The header {name} holds nothing but comments.")

    n_segments, n_signals, fs_hz, n_frames = _record_line(lines[0], fs_hz, name)
    body = lines[1:]
    if n_segments is not None:
        return Header(fs_hz, n_frames, (), _segments(body, n_segments, name), n_signals, simulated)
    after = body[n_signals:]
    # Old headers end in remarks without their "#"; what describes a signal is none.
    if len(body) > n_signals and not any(_describes_signal(line) for line in after):
        body = body[:n_signals]
    if len(body) != n_signals:
        raise UnreadableRecordError(
            f"The header {name} declares {n_signals} signals but describes {len(body)}; "
            "export the recording again."
        )
    signals = tuple(_signal_line(line, i, name) for i, line in enumerate(body))
    if all(signal.problem for signal in signals):
        raise UnreadableRecordError(signals[0].problem)
    n_left = len(after) if len(body) == n_signals else 0
    return Header(fs_hz, n_frames, signals, (), n_signals, simulated, n_left)


def _describes_signal(line: str) -> bool:
    tokens = line.split()
    match = _FORMAT.fullmatch(tokens[1]) if len(tokens) > 2 else None
    known = (*BITS_PER_SAMPLE, *FLAC_FORMATS, NULL_FORMAT)
    return match is not None and match[1] in known and _GAIN.fullmatch(tokens[2]) is not None


def _record_line(
    line: str, said_hz: float | None, name: str
) -> tuple[int | None, int, float, int | None]:
    """Number of segments (None for one), signals, sampling rate in Hz, frames."""
    tokens = line.split()
    _, slash, segments_text = tokens[0].partition("/")
    if len(tokens) < 2 or not _INTEGER.fullmatch(tokens[1]):
        raise UnreadableRecordError(
            f"{name} does not begin like a WFDB header (record name, number of signals, sampling "
            "rate, length); choose the .hea file that was exported with the recording."
        )
    n_signals = int(tokens[1])
    if n_signals == 0:
        raise MissingLeadError(
            f"The header {name} declares no signals, so there is no ECG lead to read."
        )
    if not 1 <= n_signals <= MAX_SIGNALS:
        raise UnreadableRecordError(
            f"The header {name} declares {n_signals} signals; at most {MAX_SIGNALS} can be read."
        )
    n_segments: int | None = None
    if slash:
        if not _COUNT.fullmatch(segments_text) or int(segments_text) < 1:
            raise UnreadableRecordError(f"The header {name} declares no usable number of segments.")
        n_segments = int(segments_text)

    if len(tokens) < 3 and said_hz is None:
        raise SamplingRateError(
            f"The header {name} gives no sampling rate; say it, or add it after the number of "
            "signals."
        )
    # "360/1000(0)": rate, counter frequency and base counter value.
    fs_text = tokens[2].split("/")[0].split("(")[0] if len(tokens) > 2 else f"{said_hz:g}"
    fs_hz = float(fs_text) if _FLOAT.fullmatch(fs_text) else math.nan
    if said_hz is not None and not 0 < fs_hz <= MAX_FS_HZ:
        fs_hz = said_hz
    if not 0 < fs_hz <= MAX_FS_HZ:
        raise SamplingRateError(
            f"The header {name} gives a sampling rate of {shown(fs_text)} Hz; "
            f"a number above 0 and up to {MAX_FS_HZ:.0f} is needed."
        )

    n_frames: int | None = None
    if len(tokens) > 3:
        if not _INTEGER.fullmatch(tokens[3]) or int(tokens[3]) < 0:
            raise UnreadableRecordError(
                f"The header {name} gives {shown(tokens[3])} as the number of samples; "
                "a whole number is needed."
            )
        n_frames = int(tokens[3]) or None  # 0 means "not known" in WFDB
    check_n_values(n_frames or 0, n_signals, fs_hz, name)
    return n_segments, n_signals, fs_hz, n_frames


def check_n_values(n_frames: int, n_per_frame: int, fs_hz: float, name: str) -> None:
    """Refuse records that would not fit into memory.

    Raises
    ------
    UnreadableRecordError
        If ``n_frames * n_per_frame`` is above ``MAX_VALUES``.
    """
    if n_frames * n_per_frame > MAX_VALUES:
        hours = n_frames / fs_hz / 3600
        raise UnreadableRecordError(
            f"The header {name} declares {n_frames:,} samples of {n_per_frame} signals "
            f"({hours:,.0f} hours), more than can be read at once; export a shorter part."
        )


def _segments(body: list[str], n_segments: int, name: str) -> tuple[SegmentLine, ...]:
    if len(body) != n_segments:
        raise UnreadableRecordError(
            f"The header {name} declares {n_segments} segments but lists {len(body)}; "
            "export the recording again."
        )
    segments = []
    for line in body:
        tokens = line.split()
        if len(tokens) < 2 or not _COUNT.fullmatch(tokens[1]):
            raise UnreadableRecordError(
                f"The header {name} lists a segment without its length; export the recording again."
            )
        segment = tokens[0] if tokens[0] == "~" else _safe_file_name(tokens[0], name)
        segments.append(SegmentLine(segment, int(tokens[1])))
    return tuple(segments)


def _safe_file_name(text: str, name: str) -> str:
    """The last part of a file name; a name that leaves its folder is refused."""
    parts = text.replace("\\", "/").split("/")
    # A header must not reach for files outside of its folder, whatever the system's slashes.
    outside = text.startswith(("/", "\\", "~/")) or ".." in parts or ":" in text
    if outside or not base_name(text):
        raise UnreadableRecordError(
            f"The header {name} names a file outside its own folder ({shown(base_name(text))}); "
            "put all files of the recording into one folder and name them without it."
        )
    return parts[-1]


def _signal_line(line: str, index: int, name: str) -> SignalLine:
    tokens = line.split()
    where = f"Line {index + 1} of the signals in the header {name}"
    if len(tokens) < 2:
        raise UnreadableRecordError(f"{where} is incomplete; export the recording again.")
    file_name = tokens[0] if tokens[0] == "~" else _safe_file_name(tokens[0], name)

    match = _FORMAT.fullmatch(tokens[1])
    if match is None:
        raise UnreadableRecordError(
            f"{where} gives the storage format {shown(tokens[1])}, which is none of WFDB's; "
            f"formats that can be read are {_FORMAT_HELP}."
        )
    fmt = str(int(match[1]))
    if fmt not in BITS_PER_SAMPLE and fmt not in (*FLAC_FORMATS, NULL_FORMAT):
        raise UnreadableRecordError(
            f"{where} gives the storage format {fmt}, which cannot be read; "
            f"convert the recording to one of {_FORMAT_HELP}."
        )
    per_frame, skew, offset = (
        int(g) if g else d for g, d in zip(match.groups()[1:], (1, 0, 0), strict=True)
    )
    if not 1 <= per_frame <= MAX_SAMPLES_PER_FRAME:
        raise UnreadableRecordError(f"{where} declares {per_frame} samples per frame.")

    gain, assumed, baseline, units, rest = DEFAULT_GAIN, True, None, None, tokens[2:]
    problem = ""
    if rest and (gain_match := _GAIN.fullmatch(rest[0])):
        gain, assumed, rest = float(gain_match[1]), False, rest[1:]
        baseline = float(gain_match[2]) if gain_match[2] else None
        units = gain_match[3]
        if gain == 0:
            gain, assumed = DEFAULT_GAIN, True
        if not MIN_GAIN <= abs(gain) <= MAX_GAIN:
            problem = f"{where} gives no usable gain; export it again."
    elif rest and rest[0][0].isdigit():
        problem = (
            f"{where} gives the gain {shown(rest[0])}, which is no number with an optional "
            "baseline and unit such as 200(0)/mV; export the recording again."
        )
        rest = rest[1:]

    # ADC resolution, ADC zero, first value, checksum and block size come before the name.
    # A name may follow early, as in hand-written headers: the first word that is no number.
    numbers: list[int] = []
    while rest and len(numbers) < 5 and _INTEGER.fullmatch(rest[0]):
        numbers.append(int(rest[0]))
        rest = rest[1:]
    if len(numbers) < 5 and rest and _FLOAT.fullmatch(rest[0]):
        problem = problem or (
            f"{where} holds {shown(rest[0])} where a whole number is needed; "
            "export the recording again."
        )
        # The name comes after the numbers, whole or not.
        rest = [word for word in rest if not _FLOAT.fullmatch(word)]
    adc_zero = numbers[1] if len(numbers) > 1 else 0
    return SignalLine(
        file_name=file_name,
        fmt=fmt,
        name=" ".join(rest) or f"channel {index + 1}",
        samples_per_frame=per_frame,
        skew=skew,
        byte_offset=offset,
        gain=gain,
        gain_assumed=assumed,
        baseline=adc_zero if baseline is None else baseline,
        units=units,
        checksum=numbers[3] if len(numbers) > 3 else None,
        first=numbers[2] if len(numbers) > 2 else 0,
        problem=problem,
    )
