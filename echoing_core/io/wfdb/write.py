"""`write_wfdb`: leads in mV to a WFDB record, whole or not at all."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_BITS = {"16": 16, "24": 24, "32": 32, "80": 8, "212": 12, "508": 8, "516": 16, "524": 24}
_FLAC_SUBTYPE = {"508": "PCM_S8", "516": "PCM_16", "524": "PCM_24"}
_MAX_FLAC_CHANNELS = 8
_RECORD_ID = re.compile(r"[A-Za-z0-9_-]+")


def write_wfdb(
    folder: str | Path,
    record_id: str,
    signal_mv: npt.NDArray[np.floating],
    fs_hz: float,
    lead_names: Sequence[str],
    *,
    comments: Sequence[str] = (),
    fmt: str = "16",
    gain: float = 1000.0,
) -> list[Path]:
    """Write one record: data files first, the header last, each renamed into place.

    Parameters
    ----------
    folder : path
        Existing folder.
    record_id : str
        Letters, digits, ``-`` and ``_``; the stem of the file names.
    signal_mv : ndarray, shape (n_leads, n_times)
        NaN becomes the value that means "not measured" in ``fmt``.
    fs_hz : float
        Sampling rate in Hz.
    lead_names : sequence of str
        One for each row.
    comments : sequence of str
        Written after the signals, each on a line of its own.
    fmt : str
        16, 24, 32, 80, 212, or FLAC: 508, 516, 524 (up to 8 leads a file, so several files).
    gain : float
        Digital units per mV.

    Returns
    -------
    list of Path
        The header and the data files.

    Raises
    ------
    ValueError
        If shapes, names or the format do not fit, or if an amplitude is beyond the format.
    """
    folder = Path(folder)
    files = wfdb_files(
        record_id, signal_mv, fs_hz, lead_names, comments=comments, fmt=fmt, gain=gain
    )
    written = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        for name, data in files.items():
            (Path(temporary) / name).write_bytes(data)
        # The header last: a reader that finds it finds the data as well.
        for name in files:
            (Path(temporary) / name).replace(folder / name)
            written.append(folder / name)
    return [written[-1], *written[:-1]]


def wfdb_files(
    record_id: str,
    signal_mv: npt.NDArray[np.floating],
    fs_hz: float,
    lead_names: Sequence[str],
    *,
    comments: Sequence[str] = (),
    fmt: str = "16",
    gain: float = 1000.0,
) -> dict[str, bytes]:
    """The files of one record, in memory.

    Parameters
    ----------
    record_id, signal_mv, fs_hz, lead_names, comments, fmt, gain
        As in `write_wfdb`.

    Returns
    -------
    dict of str to bytes
        By the name of the file; the header last.

    Raises
    ------
    ValueError
        As `write_wfdb`.
    """
    lines = [n.strip() for n in lead_names]
    _check(record_id, signal_mv, fs_hz, lines, comments, fmt, gain)
    digital = _digital(signal_mv, fmt, gain)
    n_leads, n_times = digital.shape

    # FLAC holds at most 8 channels, so 12 leads take two files.
    group = _MAX_FLAC_CHANNELS if fmt in _FLAC_SUBTYPE else n_leads
    starts = range(0, n_leads, group)
    ending = "flac" if fmt in _FLAC_SUBTYPE else "dat"
    names = [
        f"{record_id}.{ending}" if len(starts) == 1 else f"{record_id}_{i + 1}.{ending}"
        for i in range(len(starts))
    ]
    rate = f"{int(fs_hz)}" if float(fs_hz).is_integer() else np.format_float_positional(fs_hz)
    header = [f"{record_id} {n_leads} {rate} {n_times}"]
    for i, (lead, row) in enumerate(zip(lines, digital, strict=True)):
        # Sum of the samples modulo 2^16, written as a signed number (header(5)).
        checksum = int(row.sum(dtype=np.int64)) & 0xFFFF
        checksum -= 0x10000 if checksum >= 0x8000 else 0
        header.append(
            f"{names[i // group]} {fmt} {gain:.17g}(0)/mV {_BITS[fmt]} 0 "
            f"{row[0]} {checksum} 0 {lead}"
        )
    header.extend(f"# {comment}" for comment in comments)

    files = {
        name: _data(digital[start : start + group], fmt, fs_hz)
        for name, start in zip(names, starts, strict=True)
    }
    return files | {f"{record_id}.hea": ("\n".join(header) + "\n").encode()}


def _check(
    record_id: str,
    signal_mv: npt.NDArray[np.floating],
    fs_hz: float,
    lead_names: Sequence[str],
    comments: Sequence[str],
    fmt: str,
    gain: float,
) -> None:
    if not _RECORD_ID.fullmatch(record_id):
        raise ValueError(f"record_id {record_id!r} may hold letters, digits, - and _ only")
    if fmt not in _BITS:
        raise ValueError(f"fmt {fmt!r} is none of {', '.join(_BITS)}")
    if signal_mv.ndim != 2 or signal_mv.shape[0] != len(lead_names) or not signal_mv.size:
        raise ValueError(f"signal_mv {signal_mv.shape} does not fit {len(lead_names)} lead names")
    if not (0 < fs_hz < np.inf and 0 < gain < np.inf):
        raise ValueError(f"fs_hz {fs_hz} and gain {gain} must be positive")
    for text in [*lead_names, *comments]:
        if not text or not text.isprintable():
            raise ValueError(f"{text!r} does not fit on one line of a header")


def _digital(signal_mv: npt.NDArray[np.floating], fmt: str, gain: float) -> npt.NDArray[np.int32]:
    """Rounded to digital units; NaN to the smallest value of the format."""
    invalid = -(1 << (_BITS[fmt] - 1))
    value = np.rint(np.asarray(signal_mv, dtype=np.float64) * gain)
    missing = np.isnan(value)
    value[missing] = 0
    largest = float(np.abs(value).max())
    # Refused, not clipped: a clipped amplitude looks like a measured one.
    if largest >= -invalid:
        raise ValueError(
            f"an amplitude of {largest / gain:g} mV is beyond format {fmt} at {gain:g} units per mV"
        )
    value[missing] = invalid
    return value.astype(np.int32)


def _data(digital: npt.NDArray[np.int32], fmt: str, fs_hz: float) -> bytes:
    """Samples of all leads of one file, in turn (signal(5))."""
    frames = np.ascontiguousarray(digital.T)
    if fmt in _FLAC_SUBTYPE:
        import soundfile

        # soundfile takes the sample from the upper bits of a 32-bit word. FLAC has no use
        # for the rate here and does not store every rate; WFDB itself writes 96,000.
        shifted = frames << (32 - _BITS[fmt])
        out = io.BytesIO()
        soundfile.write(out, shifted, 96_000, format="FLAC", subtype=_FLAC_SUBTYPE[fmt])
        return out.getvalue()
    flat = frames.ravel()
    if fmt == "16":
        return flat.astype("<i2").tobytes()
    if fmt == "24":
        return flat.astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if fmt == "32":
        return flat.astype("<i4").tobytes()
    if fmt == "80":
        return (flat + 128).astype(np.uint8).tobytes()
    return _pack_212(flat)


def _pack_212(flat: npt.NDArray[np.int32]) -> bytes:
    """Two 12-bit samples in three bytes: low byte, both upper halves, low byte."""
    pairs = np.append(flat, np.zeros(flat.size % 2, dtype=flat.dtype)).reshape(-1, 2) & 0xFFF
    packed = np.empty((pairs.shape[0], 3), dtype=np.uint8)
    packed[:, 0] = pairs[:, 0] & 0xFF
    packed[:, 1] = (pairs[:, 0] >> 8) | ((pairs[:, 1] >> 8) << 4)
    packed[:, 2] = pairs[:, 1] & 0xFF
    return packed.tobytes()[: -(-3 * flat.size // 2)]
