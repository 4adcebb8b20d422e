"""Uploads that cannot be used, each with a phrase of the sentence it must end in.

Used by the reader's tests and by those that drive the app. The files are built by hand here,
so that a mistake in our writer cannot hide one in our reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ecg_files as made
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
    return [*_broken_wfdb(), *_broken_edf(), *_broken_dicom(), *_broken_xml(), *_broken_tables()]


def _swapped(data: bytes, old: bytes, new: bytes, count: int = -1) -> bytes:
    changed = data.replace(old, new, count)
    if changed == data:
        raise ValueError(f"{old!r} is not in the file")
    return changed


def _broken_edf() -> list[BrokenUpload]:
    sound = made.edf(made.ecg(3.0))

    def patched(place: int, text: str) -> dict[str, bytes]:
        raw = text.encode()
        return {"a.edf": sound[:place] + raw + sound[place + len(raw) :]}

    labels = 256
    units, low = labels + 12 * 96, labels + 12 * 104
    rate = UnreadableRecordError
    return [
        BrokenUpload("EDF cut short", {"a.edf": sound[:-2000]}, "2.0 s of the 3.0 s"),
        BrokenUpload("EDF header cut short", {"a.edf": sound[:1000]}, "cut short"),
        BrokenUpload("EDF of no signals", patched(252, "0   "), "declares 0 signals"),
        BrokenUpload("EDF of 9999 signals", patched(252, "9999"), "declares 9999 signals"),
        BrokenUpload("EDF with a word for a number", patched(236, "many    "), "gives many as"),
        BrokenUpload(
            "EDF of no duration", patched(244, "0       "), "sampling rate", SamplingRateError
        ),
        BrokenUpload("EDF of endless duration", patched(244, "1e999   "), "without end", rate),
        BrokenUpload(
            "EDF of 99,999,999 records", patched(236, "99999999"), "99,999,999 data records"
        ),
        BrokenUpload("EDF without a unit", patched(units, " " * 96), "without a unit", UnitsError),
        BrokenUpload("EDF in degrees", patched(units, "degC    " * 12), "degC", UnitsError),
        BrokenUpload(
            "EDF without a range", patched(low, "163835  " * 12), "no usable gain", UnitsError
        ),
        BrokenUpload(
            "EDF of a sleep study",
            {"a.edf": _swapped(sound, b"ECG ", b"EEG ")},
            "called like an ECG lead",
            MissingLeadError,
        ),
        BrokenUpload(
            "EDF+ out of order",
            {"a.edf": made.edf(made.ecg(3.0), onsets_s=[0, 5, 2])},
            "out of order",
        ),
        BrokenUpload(
            "EDF+ over a year",
            {"a.edf": made.edf(made.ecg(3.0), onsets_s=[0, 1, 30_000_000])},
            "31 days",
        ),
        BrokenUpload(
            "EDF+ without times",
            {
                "a.edf": _swapped(
                    made.edf(made.ecg(3.0), onsets_s=[0, 1, 2]), b"+1\x14\x14", b"....\x14"
                )
            },
            "does not say when",
        ),
    ]


def _broken_dicom() -> list[BrokenUpload]:
    signal = made.ecg(3.0)
    sound = made.dicom(signal)
    picture = made.dicom(signal, kind="1.2.840.10008.5.1.4.1.1.7")
    return [
        BrokenUpload("DICOM picture", {"a.dcm": picture}, "another kind than an ECG"),
        BrokenUpload("DICOM cut short", {"a.dcm": sound[:-9000]}, "is cut short"),
        BrokenUpload(
            "DICOM with a median beat alone",
            {"a.dcm": _swapped(sound, b"RHYTHM 1", b"MEDIAN 1")},
            "only median or derived beats",
        ),
        BrokenUpload(
            "DICOM in another unit",
            {"a.dcm": made.dicom(signal, units="mm[Hg]")},
            "size in mV",
            UnitsError,
        ),
        BrokenUpload(
            "DICOM of no leads",
            {"a.dcm": made.dicom(made.ecg(12.0)[:2], leads=("left", "right"))},
            "no ECG lead",
            MissingLeadError,
            "standardise",
        ),
    ]


def _broken_xml() -> list[BrokenUpload]:
    signal = made.ecg(3.0)
    muse, aecg = made.muse(signal), made.aecg(signal, beat=False)
    philips = made.philips(signal, encoding="utf-8")

    def broken(name: str, data: bytes, expected: str, error: type[RecordError]) -> BrokenUpload:
        return BrokenUpload(name, {"a.xml": data}, expected, error)

    unreadable, units, rate = UnreadableRecordError, UnitsError, SamplingRateError
    doctype = b'<!DOCTYPE RestingECG SYSTEM "restecg.dtd">'
    return [
        broken("other XML", b"<?xml version='1.0'?><note/>", "XML of a kind", unreadable),
        broken("a web page", b"<html><body>404</body></html>", "a web page", unreadable),
        broken("XML cut short", muse[:5000], "not well-formed", unreadable),
        broken(
            "XML with entities",
            _swapped(muse, doctype, b'<!DOCTYPE RestingECG [<!ENTITY a "b">]>'),
            "rules of its own",
            unreadable,
        ),
        broken(
            "MUSE median alone",
            made.muse(signal, kinds=["Median"]),
            "only the median beat",
            unreadable,
        ),
        broken("MUSE report", made.muse(signal, kinds=[]), "without waveforms", unreadable),
        broken(
            "MUSE without a rate",
            _swapped(muse, b"<SampleBase>500</SampleBase>", b""),
            "no sampling rate",
            rate,
        ),
        broken("MUSE in inches", _swapped(muse, b"MICROVOLTS", b"INCHES"), "in INCHES", units),
        broken(
            "MUSE with a lead cut short",
            _swapped(muse, b"Total>1500<", b"Total>1501<"),
            "1500 samples where 1501",
            unreadable,
        ),
        broken(
            "MUSE with a lead that is no Base64",
            _swapped(muse, b"<WaveFormData>\n", b"<WaveFormData>\n*"),
            "no Base64",
            unreadable,
        ),
        broken(
            "MUSE with a lead begun later",
            _swapped(muse, b"Offset>0<", b"Offset>9<"),
            "begin later",
            unreadable,
        ),
        broken(
            "Philips of another version", _swapped(philips, b"1.04", b"3.00"), "3.00", unreadable
        ),
        broken(
            "Philips compressed otherwise",
            _swapped(philips, b'"XLI"', b'"ZIP"'),
            "without compression",
            unreadable,
        ),
        broken(
            "Philips of another length",
            _swapped(philips, b'channel="3000"', b'channel="9000"'),
            "where 4500 are declared",
            unreadable,
        ),
        broken(
            "Philips without a resolution",
            _swapped(philips, b"<resolution>5</resolution>", b""),
            "microvolts",
            units,
        ),
        broken(
            "aECG without times",
            _swapped(aecg, b"TIME_ABSOLUTE", b"SPACE"),
            "without their times",
            rate,
        ),
        broken(
            "aECG with words for samples",
            _swapped(aecg, b"<digits>", b"<digits>many "),
            "no numbers",
            unreadable,
        ),
        broken("aECG in seconds", _swapped(aecg, b'unit="uV"', b'unit="s"'), "voltage", units),
        broken(
            "aECG of beats alone",
            _swapped(aecg, b'"RHYTHM"', b'"REPRESENTATIVE_BEAT"'),
            "beats only",
            unreadable,
        ),
    ]


def _broken_tables() -> list[BrokenUpload]:
    signal = made.ecg(3.0)
    table, array = made.csv(signal), made.npy(signal)
    record = made.wfdb(signal)
    return [
        BrokenUpload("table, no rate", {"a.csv": made.csv(signal, time=False)}, "sampling rate"),
        BrokenUpload("table without units", {"a.csv": made.csv(signal, units="")}, "its units"),
        BrokenUpload("array of numbers", {"a.npy": array}, "which leads its columns are"),
        BrokenUpload("array cut short", {"a.npy": array[:-100]}, "cut short"),
        BrokenUpload("objects", {"a.npy": _swapped(array, b"<i2", b"|O ")}, "plain numbers"),
        BrokenUpload("Parquet cut short", {"a.parquet": made.parquet(signal)[:-40]}, "damaged"),
        BrokenUpload(
            "table with a word", {"a.csv": _swapped(table, b"\n0.0200,", b"\n0.0200,x")}, "numbers"
        ),
        BrokenUpload("letter", {"a.txt": b"Dear colleague,\nthank you.\n"}, "not a recording"),
        BrokenUpload("PDF", {"ecg.pdf": b"%PDF-1.7\n..."}, "a PDF"),
        BrokenUpload("sheet", {"a.xlsx": made.zipped({"xl/a.xml": b"<a/>"})}, "without a table"),
        BrokenUpload("zip cut short", {"a.zip": made.zipped(record)[:-40]}, "damaged zip"),
        BrokenUpload("zip in a zip", {"a.zip": made.zipped({"b": made.zipped(record)})}, "another"),
        BrokenUpload(
            "zip of two",
            {"a.zip": made.zipped({**record, **made.wfdb(signal, name="b")})},
            "b, rec",
        ),
        BrokenUpload(
            "EDF and DICOM", {"a": made.edf(signal), "b": made.dicom(signal)}, "2 recordings"
        ),
    ]


def _broken_wfdb() -> list[BrokenUpload]:
    sound = sound_upload()
    n_times = 1200
    nothing = np.full((n_times, 12), -32768, dtype="<i2").tobytes()
    pattern = np.tile(np.array([[0], [1]], dtype="<i2"), (n_times // 2, 12)).tobytes()
    many = b"rec 100000 100 1200\n" + b"rec.dat 16 1000/mV 16 0 0 0 0 I\n" * 1000
    short = sound_upload(seconds=2.0)
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
        BrokenUpload("a picture", {"ecg.jpg": b"\xff\xd8\xff\xe0" + bytes(300)}, "is a picture"),
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
        BrokenUpload("2 s long", short, "s are needed", SignalQualityError, "standardise"),
        BrokenUpload("2-lead VCG", sound_upload(names=("X", "Y")), "Z", missing, "standardise"),
        BrokenUpload(
            "leads without known names",
            sound_upload(names=("ECG", "chest")),
            "lead",
            missing,
            "standardise",
        ),
    ]
