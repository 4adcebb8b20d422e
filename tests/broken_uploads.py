"""Uploads that cannot be used, each with a phrase of the sentence it must end in.

Used by the reader's tests and by those that drive the app. The files are built by hand here,
so that a mistake in our writer cannot hide one in our reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    SamplingRateError,
    SignalQualityError,
    UnitsError,
    UnreadableRecordError,
)

TWELVE = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


@dataclass(frozen=True)
class BrokenUpload:
    """One upload that has to end in a sentence.

    ``refused_by`` is ``"read"`` (`read_recording`) or ``"standardise"`` (the recording is
    sound, but no window of it can be embedded).
    """

    name: str
    files: dict[str, bytes]
    expected: str
    error: type[RecordError] = UnreadableRecordError
    refused_by: str = "read"


def beats(n_leads: int, seconds: float, fs_hz: int = 100) -> npt.NDArray[np.int16]:
    """Digital samples at 1000 per mV, shape (n_times, n_leads): one narrow peak a second."""
    time_s = np.arange(round(seconds * fs_hz)) / fs_hz
    phase = (time_s % 1.0) - 0.4
    beat = 900 * np.exp(-((phase / 0.03) ** 2)) + 150 * np.exp(-(((phase - 0.25) / 0.08) ** 2))
    weights = np.linspace(-0.6, 1.0, n_leads) if n_leads > 1 else np.ones(1)
    drift = 40 * np.sin(2 * np.pi * 0.2 * time_s)
    return np.rint(np.outer(beat, weights) + drift[:, None]).astype(np.int16)


def header(
    record: str,
    names: Sequence[str],
    n_times: int | None,
    *,
    fs_hz: str = "100",
    fmt: str = "16",
    gain: str = "1000(0)/mV",
    data: str | None = None,
) -> bytes:
    """A plain WFDB header."""
    length = "" if n_times is None else f" {n_times}"
    lines = [f"{record} {len(names)} {fs_hz}{length}".strip()]
    lines += [f"{data or record + '.dat'} {fmt} {gain} 16 0 0 0 0 {name}" for name in names]
    return ("\n".join(lines) + "\n").encode()


def sound_upload(
    record: str = "rec", names: Sequence[str] = TWELVE, seconds: float = 12.0
) -> dict[str, bytes]:
    """An upload with nothing wrong, from which the broken ones are made."""
    samples = beats(len(names), seconds)
    data = samples.astype("<i2").tobytes()
    return {f"{record}.hea": header(record, names, len(samples)), f"{record}.dat": data}


def _changed(old: bytes, new: bytes) -> dict[str, bytes]:
    files = sound_upload()
    changed = files["rec.hea"].replace(old, new)
    if changed == files["rec.hea"]:
        raise ValueError(f"{old!r} is not in the header")
    return {**files, "rec.hea": changed}


def _with_header(text: bytes) -> dict[str, bytes]:
    return {**sound_upload(), "rec.hea": text}


def broken_uploads() -> list[BrokenUpload]:
    """All of them; names are unique."""
    sound = sound_upload()
    n_times = 1200
    nothing = np.full((n_times, 12), -32768, dtype="<i2").tobytes()
    pattern = np.tile(np.array([[0], [1]], dtype="<i2"), (n_times // 2, 12)).tobytes()
    many = b"rec 100000 100 1200\n" + b"rec.dat 16 1000/mV 16 0 0 0 0 I\n" * 1000
    short = sound_upload(seconds=3.0)
    matlab = b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128) + b"\0" * 40_000
    units, missing = UnitsError, MissingLeadError
    return [
        BrokenUpload(
            "truncated data", {**sound, "rec.dat": sound["rec.dat"][:7201]}, "3.0 s of the 12.0 s"
        ),
        BrokenUpload("header without data", {"rec.hea": sound["rec.hea"]}, "rec.dat, which is"),
        BrokenUpload("data without header", {"rec.dat": sound["rec.dat"]}, "add rec.hea"),
        BrokenUpload(
            "data renamed",
            {"rec.hea": sound["rec.hea"], "other.dat": sound["rec.dat"]},
            "needs rec.dat",
        ),
        BrokenUpload(
            "a picture", {"ecg.jpg": b"\xff\xd8\xff\xe0" + bytes(300)}, "is a picture"
        ),
        BrokenUpload(
            "a document called .hea",
            {**sound, "rec.hea": b"%PDF-1.7\n" + bytes(range(256))},
            "not a text file",
        ),
        BrokenUpload("no file", {}, "No file was given"),
        BrokenUpload("empty header", _with_header(b""), "header rec.hea is empty"),
        BrokenUpload("empty data", {**sound, "rec.dat": b""}, "rec.dat is empty"),
        BrokenUpload(
            "web page for header", _with_header(b"<!DOCTYPE html><html>404</html>"), "web page"
        ),
        BrokenUpload(
            "web page for data", {**sound, "rec.dat": b"<!DOCTYPE html>404"}, "web page, not ECG"
        ),
        BrokenUpload(
            "pointer for data",
            {**sound, "rec.dat": b"version https://git-lfs.github.com/spec/v1\n"},
            "kept elsewhere",
        ),
        BrokenUpload("zero leads", _with_header(b"rec 0 100 1200\n"), "no signals", missing),
        BrokenUpload("nothing but gaps", {**sound, "rec.dat": nothing}, "gap", SignalQualityError),
        BrokenUpload(
            "nothing but test pattern", {**sound, "rec.dat": pattern}, "flat", SignalQualityError
        ),
        BrokenUpload("100,000 leads", _with_header(many), "declares 100000 signals; at most 32"),
        BrokenUpload(
            "100,000,000,000 samples", _changed(b" 1200", b" 100000000000"), "more than can be read"
        ),
        BrokenUpload(
            "sampling rate 0", _changed(b"12 100 ", b"12 0 "), "rate of 0 Hz", SamplingRateError
        ),
        BrokenUpload(
            "sampling rate missing",
            _with_header(sound["rec.hea"].replace(b" 100 1200", b"")),
            "gives no sampling rate",
            SamplingRateError,
        ),
        BrokenUpload(
            "sampling rate of a word",
            _changed(b"12 100 ", b"12 fast "),
            "rate of fast Hz",
            SamplingRateError,
        ),
        BrokenUpload("fewer lines than leads", _changed(b"rec 12", b"rec 13"), "describes 12"),
        BrokenUpload("unknown format", _changed(b"dat 16", b"dat 999"), "format 999"),
        BrokenUpload(
            "data outside the folder", _changed(b"rec.dat", b"../../etc/passwd"), "outside its own"
        ),
        BrokenUpload("data on the network", _changed(b"rec.dat", b"s3://a/rec.dat"), "outside"),
        BrokenUpload("pressure as lead I", _changed(b"mV", b"mmHg"), "not a voltage", units),
        BrokenUpload(
            "counts as millivolts", _changed(b"1000(0)/mV", b"0.1/mV"), "mV, which", units
        ),
        BrokenUpload(
            "MATLAB 5 file",
            {
                "rec.hea": header("rec", TWELVE, n_times, fmt="16+24", data="rec.mat"),
                "rec.mat": matlab,
            },
            "MATLAB 5",
        ),
        BrokenUpload("two recordings", {**sound, **sound_upload("other")}, "other, rec"),
        BrokenUpload(
            "segments missing",
            {"rec.hea": b"rec/2 12 100 1200\nrec_1 600\nrec_2 600\n"},
            "2 of their headers are missing",
        ),
        BrokenUpload(
            "no lead at all",
            _with_header(header("rec", ["ABP", "PAP"], n_times, gain="10/mmHg")),
            "no voltage channel",
            missing,
        ),
        BrokenUpload("3 s long", short, "10", SignalQualityError, "standardise"),
        BrokenUpload("2-lead VCG", sound_upload(names=("X", "Y")), "Z", missing, "standardise"),
        BrokenUpload(
            "leads without known names",
            sound_upload(names=("ECG", "chest")),
            "lead",
            missing,
            "standardise",
        ),
    ]
