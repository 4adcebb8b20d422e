"""Data files of a WFDB record: whether they fit the header, and their digital samples."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.channels import MAX_MISSING, check_unpacked
from echoing_core.io.sources import FileSet, SourceFile, shown
from echoing_core.io.stored import StoredFrames
from echoing_core.io.wfdb.header import (
    BITS_PER_SAMPLE,
    FLAC_FORMATS,
    NULL_FORMAT,
    Header,
    SignalLine,
    check_n_values,
)

# FLAC formats are named for the bits that they unpack to (508: 8).
_INVALID_BITS = {
    "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 10, "311": 10,
    "508": 8, "516": 16, "524": 24,
}  # fmt: skip
# Of the formats whose samples are plain numbers, with what stands for zero.
_PLAIN = {"16": ("<i2", 0), "32": ("<i4", 0), "80": ("u1", 128), "160": ("<u2", 32768)}
_FLAC_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}
# libsndfile fails with more than 2^24 values at once.
_FLAC_BLOCK = 1 << 20

STORED_FROM = 20_000_000
"""Values from which on a record is read in pieces: 80 MB as millivolts."""

_MIN_SURPLUS_S = 10.0
"""In a short file, two thirds come about by chance."""


@dataclass(frozen=True)
class DataFile:
    """One data file and the signals in it.

    Attributes
    ----------
    file : SourceFile
    fmt : str
        Storage format (signal(5)).
    byte_offset : int
        Of the first sample; in FLAC files, in samples.
    indices : tuple of int
        Positions of its signals in the header.
    samples_per_frame : int
        Of all its signals together.
    """

    file: SourceFile
    fmt: str
    byte_offset: int
    indices: tuple[int, ...]
    samples_per_frame: int

    def n_bytes(self, n_frames: int) -> int:
        """Bytes that frames take, with what lies before them.

        Parameters
        ----------
        n_frames : int
        """
        n_samples = n_frames * self.samples_per_frame
        if self.fmt in ("310", "311"):
            return self.byte_offset + -(-n_samples // 3) * 4
        return self.byte_offset + math.ceil(n_samples * BITS_PER_SAMPLE[self.fmt] / 8)

    def n_whole_frames(self) -> int:
        """Frames that the file holds in full.

        Raises
        ------
        UnreadableRecordError
            It is said to be FLAC and is not, or holds another number of channels.
        """
        if self.fmt in FLAC_FORMATS:
            return self._n_flac_frames()
        n_bytes = max(0, self.file.size - self.byte_offset)
        if self.fmt in ("310", "311"):
            return n_bytes * 3 // 4 // self.samples_per_frame
        return 8 * n_bytes // int(BITS_PER_SAMPLE[self.fmt] * self.samples_per_frame)

    def _n_flac_frames(self) -> int:
        """From FLAC's own header, so that nothing has to be unpacked to know the size.

        36 bits of the STREAMINFO block hold the number of samples of each channel.
        """
        head = self.file.head(42)
        if len(head) < 42 or head[:4] != b"fLaC":
            raise UnreadableRecordError(
                f"{shown(self.file.name)} is not a FLAC file, as its header says; "
                "copy or export the recording again."
            )
        n_channels = ((head[20] >> 1) & 0x07) + 1
        n_samples = int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF
        if n_channels != len(self.indices):
            raise UnreadableRecordError(
                f"{shown(self.file.name)} holds {n_channels} channels, but the header puts "
                f"{len(self.indices)} into it; copy or export the recording again."
            )
        per_channel = self.samples_per_frame // len(self.indices)
        check_unpacked(4 * n_samples * n_channels, self.file.size, shown(self.file.name))
        return max(0, n_samples - self.byte_offset) // per_channel


@dataclass(frozen=True)
class Layout:
    """Data files that were found to fit their header.

    Attributes
    ----------
    header : Header
    n_frames : int
        To read.
    data_files : tuple of DataFile
    notes : tuple of str
    longer_than_declared_from : int or None
        First frame beyond the declared length, where those are read as well.
    """

    header: Header
    n_frames: int
    data_files: tuple[DataFile, ...]
    notes: tuple[str, ...] = ()
    longer_than_declared_from: int | None = None

    @staticmethod
    def invalid_value(fmt: str) -> int | None:
        """The digital value that means "not measured": the smallest of the format.

        Parameters
        ----------
        fmt : str

        Returns
        -------
        int or None
            None for differences, which have none.
        """
        if fmt not in _INVALID_BITS:
            return None
        return -(1 << (_INVALID_BITS[fmt] - 1))

    def read_digital(self) -> dict[int, npt.NDArray[np.integer]]:
        """Digital samples of each signal, by its position in the header; all in memory.

        Returns
        -------
        dict of int to ndarray, shape (n_frames * samples per frame,)

        Raises
        ------
        UnreadableRecordError
            A FLAC file holds fewer or wider samples than it says.
        """
        found: dict[int, npt.NDArray[np.integer]] = {}
        for data_file in self.data_files:
            flac = data_file.fmt in FLAC_FORMATS
            columns = self._flac(data_file) if flac else self._interleaved(data_file)
            for index, samples in zip(data_file.indices, columns, strict=True):
                found[index] = self._moved_back(index, samples)
        return found

    def stored_frames(self) -> StoredFrames | None:
        """The samples of a long record that can be read in pieces; None of any other."""
        only = self.data_files[0]
        if (
            len(self.data_files) > 1
            or only.fmt not in ("16", "212")
            or self.longer_than_declared_from is not None
            or self.n_frames * only.samples_per_frame < STORED_FROM
            or any(
                self.header.signals[i].skew or self.header.signals[i].samples_per_frame != 1
                for i in only.indices
            )
        ):
            return None
        unpack = _unpacked_212 if only.fmt == "212" else None
        return StoredFrames(
            only.file, only.byte_offset, self.n_frames, only.samples_per_frame, unpack
        )

    def _interleaved(self, data_file: DataFile) -> Iterator[npt.NDArray[np.integer]]:
        """Samples of one signal after the other of a file that holds them frame by frame."""
        content = data_file.file.content()
        n = self.n_frames * data_file.samples_per_frame
        if data_file.fmt == "16":
            # A view of the file: a day is copied once, signal by signal.
            flat: npt.NDArray[np.integer] = np.frombuffer(
                content, dtype="<i2", count=n, offset=data_file.byte_offset
            )
        else:
            data = bytes(content[data_file.byte_offset : data_file.n_bytes(self.n_frames)])
            flat = unpacked(data, data_file.fmt, n)
        frames = flat.reshape(self.n_frames, data_file.samples_per_frame)
        start = 0
        for index in data_file.indices:
            signal = self.header.signals[index]
            samples = frames[:, start : start + signal.samples_per_frame].ravel()
            start += signal.samples_per_frame
            if data_file.fmt == "8":
                samples = signal.first + np.cumsum(samples, dtype=np.int32)
            yield samples

    def _flac(self, data_file: DataFile) -> Iterator[npt.NDArray[np.integer]]:
        """Samples of one channel after the other of a FLAC file."""
        import soundfile

        content = data_file.file.content()
        name = shown(data_file.file.name)
        stream: Any = io.BytesIO(content) if isinstance(content, bytes) else content
        # As long as it is not written to, it takes no memory: a file may say more than it holds.
        per_channel = data_file.samples_per_frame // len(data_file.indices)
        n, n_channels = self.n_frames * per_channel, len(data_file.indices)
        with soundfile.SoundFile(stream) as flac:
            bits = _FLAC_BITS.get(flac.subtype, 32)
            if bits > _INVALID_BITS[data_file.fmt]:
                raise UnreadableRecordError(
                    f"{name} holds samples of {bits} bits, but the header says fewer; copy or "
                    "export the recording again."
                )
            wide = bits > 16
            samples = np.empty((n, n_channels), dtype=np.int32 if wide else np.int16)
            flac.seek(data_file.byte_offset)
            for start in range(0, n, _FLAC_BLOCK):
                block = samples[start : start + _FLAC_BLOCK]
                if len(flac.read(out=block)) < len(block):
                    raise UnreadableRecordError(
                        f"{name} is cut short: it holds fewer samples than it says; copy or export "
                        "the recording again."
                    )
                # soundfile puts a sample into the upper bits.
                np.right_shift(block, (32 if wide else 16) - bits, out=block)
        for column in samples.T:
            yield np.ascontiguousarray(column)

    def _moved_back(self, index: int, samples: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """What was delayed is moved back; the end was not recorded."""
        signal = self.header.signals[index]
        if not signal.skew:
            return samples
        shift = signal.skew * signal.samples_per_frame
        fill = self.invalid_value(signal.fmt)
        end = np.full(shift, samples[-1] if fill is None else fill, dtype=samples.dtype)
        return np.concatenate([samples[shift:], end])

    def has_wrong_checksum(self, index: int, total: Callable[[], int]) -> bool:
        """Whether samples contradict the header's checksum: their sum modulo 2^16.

        Not judged where it is 0, which many programs write for "unknown", where channels are
        shifted against each other, or where more is read than the header declares.

        Parameters
        ----------
        index : int
            Position of the signal in the header.
        total : callable
            Gives the sum of the samples.
        """
        signal = self.header.signals[index]
        declared = self.header.n_frames in (None, self.n_frames)
        if not signal.checksum or signal.skew or not declared:
            return False
        return (total() - signal.checksum) & 0xFFFF != 0

    def check_channels(self, digital: Mapping[int, npt.NDArray[np.integer]]) -> None:
        """Refuse samples beyond the declared length unless they look like the same leads.

        Raises
        ------
        UnreadableRecordError
            If the file is longer than declared (see `checked_layout`) and splitting it into
            the declared channels gives no continuous signals.
        """
        start = self.longer_than_declared_from
        if start is None:
            return
        stack = np.stack(list(digital.values()), axis=1)
        if not (_is_interleaved(stack[:start]) and _is_interleaved(stack[start:])):
            raise UnreadableRecordError(
                "The data file holds half as many samples again as the header declares, and they "
                "do not look like the leads it names; the header is wrong, so export it again."
            )


def unpacked(data: bytes, fmt: str, n: int) -> npt.NDArray[np.integer]:
    """The first numbers of a file in any format but FLAC.

    Parameters
    ----------
    data : bytes
        At least as many as ``n`` samples take; a last group of two or three may be cut.
    fmt : str
        Format 8 gives the differences as they stand.
    n : int

    Returns
    -------
    ndarray, shape (n,)
        int16 where that holds them.

    References
    ----------
    WFDB Applications Guide, signal(5).
    """
    if fmt in _PLAIN:
        kind, zero = _PLAIN[fmt]
        values = np.frombuffer(data, dtype=kind, count=n)
        if zero:
            # Offset binary: with its highest bit turned over, a number is an ordinary one.
            turned = np.bitwise_xor(values, values.dtype.type(zero))
            return np.asarray(turned.view(f"i{values.itemsize}"), dtype=np.int16)
        return np.asarray(values)
    if fmt == "8":
        return np.frombuffer(data, dtype="i1", count=n)
    if fmt == "61":
        return np.frombuffer(data, dtype=">i2", count=n).astype(np.int16)
    if fmt == "24":
        # Three bytes become the upper three of four, and the sign comes along.
        wide = np.zeros((n, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, dtype=np.uint8, count=3 * n).reshape(n, 3)
        return np.asarray(wide.view("<i4").ravel() >> 8)
    if fmt == "212":
        return _unpacked_212(data, n)
    n_groups = -(-n // 3)
    data = data[: 4 * n_groups].ljust(4 * n_groups, b"\0")
    if fmt == "310":
        # Bits 1 to 10 of each of two words; the third sample is the five bits above in both.
        low, high = np.frombuffer(data, dtype="<u2").reshape(-1, 2).astype(np.int32).T
        three = [low >> 1, high >> 1, (low >> 11) | (high >> 11) << 5]
    else:
        words = np.frombuffer(data, dtype="<u4").astype(np.int64)
        three = [words, words >> 10, words >> 20]
    ten_bits = np.stack([sample & 0x3FF for sample in three], axis=1).ravel()[:n]
    return ((ten_bits ^ 0x200) - 0x200).astype(np.int16)


def _unpacked_212(data: bytes, n: int) -> npt.NDArray[np.int16]:
    """Two samples of 12 bits in three bytes: low byte, both upper halves, low byte."""
    n_pairs = -(-n // 2)
    triples = np.frombuffer(data[: 3 * n_pairs].ljust(3 * n_pairs, b"\0"), dtype=np.uint8)
    low, both, high = triples.reshape(-1, 3).T
    values = np.empty((n_pairs, 2), dtype=np.uint16)
    # Into the upper 12 bits, so that the shift back brings the sign along.
    values[:, 0] = low.astype(np.uint16) << 4 | both.astype(np.uint16) << 12
    values[:, 1] = high.astype(np.uint16) << 4 | (both.astype(np.uint16) & 0xF0) << 8
    return np.asarray(values.view(np.int16).ravel()[:n] >> 4)


def _is_interleaved(stack: npt.NDArray[np.integer]) -> bool:
    """Whether columns of ``stack``, shape (n_times, n_leads), are continuous signals.

    Samples of one lead follow each other at a distance of n_leads in the file. If the file
    were interleaved in another way, some other distance would give the smoother sequence.
    Squares let the QRS complexes decide, where leads differ most.
    """
    n_leads = stack.shape[1]
    flat = stack.astype(np.float64).ravel()
    # Mean squared difference at each distance k; at n_leads it should be the smallest by far.
    rough = [float(np.mean((flat[k:] - flat[:-k]) ** 2)) for k in range(1, n_leads + 1)]
    varies = all(float(np.std(column)) > 0 for column in stack.T[:2])
    return varies and rough[-1] < 0.5 * min(rough[:-1])


def checked_layout(files: FileSet, header: Header, header_name: str) -> Layout:
    """Find the data files that ``header`` names and compare their sizes with it.

    MUSIC trap: headers of 20 high-resolution records declare 797,333 samples of 3 signals,
    two thirds of the 1,196,000 that their .dat files hold. Exactly that pattern (3 signals,
    format 16, whole frames, two thirds) is read to the end of the file, and `check_channels`
    then has to find the three leads in it. Other surplus bytes are left unread and noted.

    Raises
    ------
    UnreadableRecordError
        If a file is missing, empty, shorter than declared, or described in two ways.
    """
    data_files = _find_files(files, header, header_name)
    lengths = [data_file.n_whole_frames() for data_file in data_files]
    declared = header.n_frames
    # Several data files have to cover the same time; the shortest decides.
    shortest = min(range(len(lengths)), key=lengths.__getitem__)
    n_frames = lengths[shortest] if declared is None else declared
    notes: list[str] = []
    if declared is not None and 0 < declared - lengths[shortest] <= MAX_MISSING * declared:
        n_missing = declared - lengths[shortest]
        n_frames = lengths[shortest]
        plural = "s" if n_missing > 1 else ""
        notes.append(
            f"The data file ends {n_missing:,} sample{plural} ({n_missing / header.fs_hz:.3g} s) "
            "before the end that the header declares."
        )
    if n_frames > lengths[shortest] or n_frames == 0:
        raise UnreadableRecordError(_too_short(data_files[shortest], lengths[shortest], header))
    per_frame = sum(f.samples_per_frame for f in data_files)
    check_n_values(n_frames, per_frame, header.fs_hz, shown(header_name))
    for signal in header.signals:
        if signal.skew > n_frames:
            raise UnreadableRecordError(
                f"The header {shown(header_name)} delays {shown(signal.name)} by more than the "
                "length of the recording; export it again."
            )
    longer_from: int | None = None
    if declared is not None and _is_two_thirds(data_files, lengths, header):
        longer_from, n_frames = declared, lengths[0]
        notes.append(
            f"The header declares {declared:,} samples, two thirds of the {n_frames:,} in the data "
            "file; the whole file is read, because its three leads go on to the end."
        )
    elif declared is not None:
        for data_file in data_files:
            if data_file.fmt in FLAC_FORMATS:
                continue
            extra = data_file.file.size - data_file.n_bytes(declared)
            if extra > (data_file.fmt == "212"):  # 212 may be padded to whole pairs
                notes.append(
                    f"{shown(data_file.file.name)} holds {extra:,} bytes more than the header "
                    "declares; they are left unread."
                )
    return Layout(header, n_frames, data_files, tuple(notes), longer_from)


def _is_two_thirds(data_files: tuple[DataFile, ...], lengths: list[int], header: Header) -> bool:
    only = data_files[0]
    return (
        len(data_files) == 1
        and header.n_frames is not None
        and len(header.signals) == only.samples_per_frame == 3
        and only.fmt == "16"
        and only.file.size == only.n_bytes(lengths[0])
        and abs(3 * header.n_frames - 2 * lengths[0]) <= 2
        and lengths[0] - header.n_frames >= _MIN_SURPLUS_S * header.fs_hz
    )


def _too_short(data_file: DataFile, n_found: int, header: Header) -> str:
    name = shown(data_file.file.name)
    if data_file.file.size == 0:
        return f"The data file {name} is empty; copy or export the recording again."
    start = data_file.file.head(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html")):
        return f"{name} is a web page, not ECG data; download the data file itself."
    if start.startswith(b"version https://git-lfs"):
        return f"{name} only points at a file kept elsewhere (Git LFS); fetch the file itself."
    if header.n_frames is None:
        return f"The data file {name} holds no complete sample; copy or export it again."
    return (
        f"The data file {name} is cut short: it holds {n_found / header.fs_hz:,.1f} s of the "
        f"{header.n_frames / header.fs_hz:,.1f} s that the header declares; "
        "copy or export the recording again."
    )


def _find_files(files: FileSet, header: Header, header_name: str) -> tuple[DataFile, ...]:
    by_name: dict[str, list[int]] = {}
    for index, signal in enumerate(header.signals):
        if signal.fmt != NULL_FORMAT and signal.file_name != "~":
            # Signals of one file are interleaved in it, so they are read together.
            by_name.setdefault(signal.file_name.lower(), []).append(index)
    data_files: list[DataFile] = []
    missing: list[str] = []
    for indices in by_name.values():
        first = header.signals[indices[0]]
        file = files.find(first.file_name)
        if file is None:
            missing.append(first.file_name)
            continue
        data_files.append(_data_file(file, [(i, header.signals[i]) for i in indices]))
    if missing:
        what = " and ".join(shown(m) for m in missing[:4]) + (" and more" if missing[4:] else "")
        raise UnreadableRecordError(
            f"The header {shown(header_name)} needs {what}, which "
            f"{'is' if len(missing) == 1 else 'are'} missing; add the data file under the name "
            "that the header gives it."
        )
    return tuple(data_files)


def _data_file(file: SourceFile, signals: list[tuple[int, SignalLine]]) -> DataFile:
    first = signals[0][1]
    name = shown(file.name)
    if any((s.fmt, s.byte_offset) != (first.fmt, first.byte_offset) for _, s in signals):
        raise UnreadableRecordError(
            f"The header gives two storage formats or two starts for {name}; one file has one."
        )
    if first.fmt in FLAC_FORMATS and len({s.samples_per_frame for _, s in signals}) > 1:
        raise UnreadableRecordError(
            f"The header gives two sampling rates for the FLAC file {name}; one file has one."
        )
    if file.head(10) == b"MATLAB 5.0":
        raise UnreadableRecordError(
            f"{name} is a MATLAB 5 file, whose numbers are packed in a way WFDB does not know; "
            "export the recording as WFDB (.hea and .dat)."
        )
    per_frame = sum(s.samples_per_frame for _, s in signals)
    return DataFile(file, first.fmt, first.byte_offset, tuple(i for i, _ in signals), per_frame)
