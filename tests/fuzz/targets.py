"""Every reader of the program that may be given a stranger's bytes, with small sound files.

A target gets files by name, and may end well or in an `EchoingError`; anything else has escaped.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import device_files as devices
import ecg_files as made
import numpy as np
from scipy.io import savemat

from echoing_core.documents import DocumentError
from echoing_core.errors import EchoingError
from echoing_core.records import Recording
from tests.fuzz import artifacts
from tests.fuzz.mutate import Files

FAMILY = (EchoingError,)
_DOC = (DocumentError,)


@dataclass(frozen=True)
class Target:
    """One reader, or several that an upload passes.

    Attributes
    ----------
    name : str
    seeds : callable
        Gives sound files, smallest first.
    read : callable
        What the program does with them.
    family : tuple of type
        In which it may end.
    """

    name: str
    seeds: Callable[[], list[Files]]
    read: Callable[[Files], object]
    family: tuple[type[Exception], ...] = FAMILY


def _ecg(seconds: float = 0.4) -> made.Ints:
    return made.ecg(seconds, 250)


def opened(files: Files) -> None:
    """As the app opens an upload: look, ask what is not said, standardise, write it out again."""
    from echoing_core.io.looking import look

    given = list(files.items())
    looked = look(given)
    for name in looked.names[:2]:
        if len(looked.names) > 1:
            _used(look(given, name).recording)
    _used(looked.recording)
    # A table is read four times for it; one in three is enough.
    if (looked.is_table or looked.can_be_told) and sum(map(len, files.values())) % 3 == 0:
        _told(given, is_table=looked.is_table)


def _told(given: list[tuple[str, bytes]], *, is_table: bool) -> None:
    """What a person would say of the channels, who knows nothing of them."""
    from echoing_core.io import TableLayout, Told, read_recording
    from echoing_core.services.reading import preview

    try:
        seen = preview(given, None, None)
    except EchoingError:
        return
    columns = [c for c in seen.columns if not c.is_time][:3]
    for samples_in in ("rows", "columns") if is_table else ("rows",):
        try:
            if is_table:
                layout = TableLayout(
                    leads=dict(zip((c.index for c in columns), ("I", "II", "V1"), strict=False)),
                    units=seen.units or "mV",
                    fs_hz=None if seen.time_column is not None else 250.0,
                    time_column=seen.time_column,
                    samples_in=samples_in,  # type: ignore[arg-type]
                )
                _used(read_recording(given, layout=layout))
            else:
                names = {c.name: lead for c, lead in zip(columns, ("I", "II", "V1"), strict=False)}
                _used(read_recording(given, told=Told(leads=names, fs_hz=250.0, unit="mV")))
        except EchoingError:
            continue


def _used(recording: Recording | None) -> None:
    """What every recording goes through, and now and then what leaves again."""
    from echoing_core.signals import standardise

    # A minute and more has nothing new in it and would take all the time.
    if recording is None or recording.signal_mv.size > 12 * 30_000:
        return
    with suppress(EchoingError):
        standardise(recording)
    if recording.signal_mv.size < 4000 and recording.n_times % 4 == 1:
        _written(recording)


def _written(recording: Recording) -> None:
    from echoing_core.io.write import WRITERS, outgoing

    for writer in WRITERS.values():
        try:
            writer.files(outgoing(recording), "out")
        except EchoingError:
            continue


def _one(name: str, *contents: bytes) -> list[Files]:
    return [{name: content} for content in contents]


def _wfdb() -> list[Files]:
    signal = _ecg()
    plain = made.wfdb(signal, 250)
    files = [plain]
    header = plain["rec.hea"]
    for fmt in (
        b"8",
        b"24",
        b"32",
        b"61",
        b"80",
        b"160",
        b"212",
        b"310",
        b"311",
        b"16x2",
        b"16+24",
    ):
        files.append({**plain, "rec.hea": header.replace(b".dat 16 ", b".dat %s " % fmt)})
    parts = b"rec/2 12 250 200\nseg1 100\nseg2 100\n"
    segment = header.replace(b"rec ", b"seg1 ", 1).replace(b"rec.dat", b"seg1.dat")
    files.append(
        {
            "rec.hea": parts,
            "seg1.hea": segment,
            "seg1.dat": plain["rec.dat"],
            "seg2.hea": segment.replace(b"seg1", b"seg2"),
            "seg2.dat": plain["rec.dat"],
        }
    )
    told = bytes.fromhex("0a04 1404 28fc 0300 3a00 414b 0000 1e04 00ec 0100 1027 0000")
    files.append({**plain, "rec.atr": told, "rec.qrs": told})
    return files


def _edf() -> list[Files]:
    signal = made.ecg(2.0, 100)
    return [
        *_one("rec.edf", made.edf(signal, 100), made.edf(signal, 100, onsets_s=range(2))),
        *_one("rec.edf", made.edf(signal, 100, onsets_s=(0, 60))),
        *_one("rec.bdf", made.edf(signal, 100, bdf=True)),
    ]


def _text_of_xml() -> list[Files]:
    signal = _ecg()
    return _one(
        "rec.xml",
        made.muse(signal, 250),
        made.aecg(signal, 250),
        devices.cardiosoft(signal, 250),
        devices.cardiosoft_exercise(signal, 250),
        devices.eli(signal, 250),
        made.philips(signal, 250),
        made.philips(signal, 250, xli=False, encoding="utf-8"),
    )


def _ishne() -> list[Files]:
    recording = devices.ishne(_ecg(), 250)
    beats = [(20, "N"), (200, "V"), (70_000, "S")]
    said = devices.ishne_annotations(recording, beats, first=20)
    return [{"rec.ecg": recording}, {"rec.ecg": recording, "rec.ann": said}]


def _scp() -> list[Files]:
    signal = made.ecg(1.2, 250)
    return _one(
        "rec.scp",
        devices.scp(signal, 250),
        devices.scp(signal, 250, tables=None, differences=0),
        devices.scp(signal, 250, tables=devices.SCP_CUSTOM, differences=1),
        devices.scp(signal, 250, subtract=True, period_s=0.5),
        devices.scp(signal, 250, thinning=4, period_s=0.5),
    )


def _tables() -> list[Files]:
    signal = _ecg()[:3, :40]
    texts = (
        made.csv(made.ecg(0.16, 250), 250),
        made.csv(made.ecg(0.16, 250), 250, separator=";", decimal=","),
        made.csv(made.ecg(0.16, 250), 250, separator="\t"),
        b"Name: A\nSampling rate: 250 Hz\nUnit: uV\nI,II\n" + b"1,2\n3,-4\n" * 30,
        b"time,I (mV),V1 (uV)\n" + b"".join(b"00:00:00.%03d,0.1,20\n" % (4 * i) for i in range(40)),
        b"\n".join(b" ".join(b"%d" % v for v in row) for row in signal.T[:40]),
    )
    matlab = io.BytesIO()
    savemat(matlab, {"val": signal, "fs": 250.0, "names": ["I", "II", "III"]})
    return [
        *_one("rec.csv", *texts),
        *_one("rec.npy", made.npy(signal), made.npy(signal.T.astype(np.float64))),
        *_one("rec.mat", matlab.getvalue()),
    ]


def _archives() -> list[Files]:
    signal = _ecg()
    many = {**made.wfdb(signal, 250), **made.wfdb(signal, 250, "other")}
    return [
        *_one("rec.zip", made.zipped(made.wfdb(signal, 250), "a/b/"), made.zipped(many)),
        *_one("rec.zip", made.zipped({"a.edf": made.edf(made.ecg(1.0, 100), 100)})),
        {**many, "a.edf": made.edf(made.ecg(1.0, 100), 100)},
    ]


def _looked_together(files: Files) -> None:
    from echoing_core.io.many import group_files, grouped_heads

    grouped_heads([(name, len(data), data[:4096]) for name, data in files.items()])
    for item in group_files(files.items())[:3]:
        for inner in [item] if not item.is_archive else [one for one, _ in item.inside()][:3]:
            try:
                _used(inner.read())
            except EchoingError:
                continue


def _contec() -> list[Files]:
    head = b"0000011\0\0\0" + b"2020-11-12 18:09:05\0\0\0"
    body = (2048 + made.ecg(0.2, 800)[:8].T).astype("<u2").tobytes()
    return _one("rec.ecg", head.ljust(43, b"\0") + body + bytes(37))


@cache
def _clip() -> bytes:
    from echoing_core.io.echo.avi import write_avi
    from echoing_core.records import EchoClip

    pictures = np.zeros((3, 24, 32, 3), np.uint8)
    pictures[1, 5:12, 8:20] = 200
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.avi"
        write_avi(path, EchoClip(frames=pictures, fps=25.0, clip_id="clip"))
        return path.read_bytes()


def _echo_dicom() -> list[Files]:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

    contents = []
    for syntax, space in (
        (ExplicitVRLittleEndian, "RGB"),
        (ExplicitVRLittleEndian, "YBR_FULL_422"),
        (ExplicitVRLittleEndian, "MONOCHROME2"),
        (RLELossless, "RGB"),
        (JPEGBaseline8Bit, "YBR_FULL_422"),
    ):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        ds = FileDataset("a", {}, file_meta=meta, preamble=bytes(128))
        ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "US"
        n = 1 if space == "MONOCHROME2" else 3
        ds.Rows, ds.Columns, ds.NumberOfFrames, ds.SamplesPerPixel = 16, 16, 2, n
        ds.PhotometricInterpretation, ds.PlanarConfiguration = space, 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
        ds.FrameTime, ds.CineRate = "40", "25"
        region = pydicom.Dataset()
        region.RegionLocationMinX0, region.RegionLocationMinY0 = 1, 1
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 14, 14
        region.RegionDataType, region.RegionSpatialFormat = 1, 1
        ds.SequenceOfUltrasoundRegions = pydicom.Sequence([region])
        size = 2 * 16 * 16 * (2 if space.endswith("422") else n)
        if syntax == ExplicitVRLittleEndian:
            ds.PixelData = bytes(range(256)) * (size // 256)
        else:
            packed = b"\xff\xd8\xff\xe0" + bytes(60) + b"\xff\xd9"
            if syntax == RLELossless:
                packed = (
                    np.array([3, 64, 68, 72, *[0] * 12], "<u4").tobytes() + b"\x81\x10\x81\x10" * 3
                )
            ds.PixelData = pydicom.encaps.encapsulate([packed, packed])
        buffer = io.BytesIO()
        ds.save_as(buffer)
        contents.append(buffer.getvalue())
    return _one("clip.dcm", *contents)


def _clips(files: Files) -> None:
    from echoing_core.io.echo.clips import read_echo_clip
    from echoing_core.io.sources import SourceFile

    for name, content in files.items():
        read_echo_clip(SourceFile(name, len(content), data=content), size=32, max_frames=4)


def _questions() -> list[Files]:
    from echoing_core.services import assets_folder

    # The first set of each: a whole file takes longer than all the rest.
    shipped = [
        b"\n- name".join(path.read_bytes().split(b"\n- name")[:2]) + b"\n"
        for path in sorted((assets_folder() / "prompts").glob("*.yaml"))
    ]
    own = (
        b"name: af\nquestion: Is it atrial fibrillation?\npositive:\n- atrial fibrillation\n"
        b"negative:\n- sinus rhythm\n"
    )
    both = b"- " + own.replace(b"\n", b"\n  ").rstrip() + b"\n"
    return _one("q.yaml", both, *shipped)


def _question_file(files: Files) -> None:
    from echoing_core.services.session_file import Session, read_session, session_text
    from echoing_core.zeroshot.prompts import parse_prompt_sets
    from ui import state

    for content in files.values():
        sets = parse_prompt_sets(content, "The file")
        # What was taken in leaves again in a session file, and comes back.
        session = Session(own_questions=sets[:3])
        read_session(session_text(session, state.SETTINGS).encode(), state.SETTINGS)


def _sessions() -> list[Files]:
    from echoing_core.services.session_file import Session, session_text
    from echoing_core.zeroshot.prompts import PromptSet
    from ui import state

    question = PromptSet("own", "Is it so?", ("it is",), ("it is not",))
    settings = {"hide_above": 90, "listed_kind": "least", "ask_names": ["atrial_fibrillation"]}
    of_a_recording = Session(settings, (question,), 3.5, 1.0, "dower", "0" * 32, "0" * 64)
    texts = (session_text(one, state.SETTINGS) for one in (Session(), of_a_recording))
    return _one("s.json", *(text.encode() for text in texts))


def _session(files: Files) -> None:
    from echoing_core.services.session_file import read_session, session_text
    from ui import state

    for content in files.values():
        session = read_session(content, state.SETTINGS)
        session_text(session, state.SETTINGS).encode()


def _documents(files: Files) -> None:
    from echoing_core.documents import json_text, parse_json, parse_yaml

    for name, content in files.items():
        value = parse_json(content) if name.endswith("json") else parse_yaml(content)
        json_text(value).encode()


def _words() -> list[Files]:
    texts = (
        "Sinus rhythm. Left bundle branch block. No acute ST elevation, QTc 450 ms.",
        "Vorhofflimmern, kein Linksschenkelblock. LVEF 35 %.",
        "is there af without lbbb and ejection fraction below 40 percent?",
        "The left ventricular ejection fraction is 55-60%. Mild mitral regurgitation. Mildly "
        "dilated left atrium. RVSP 35 mmHg, was 30 mmHg in 2019.",
    )
    return _one("words.txt", *(t.encode() for t in texts))


def _understood(files: Files) -> None:
    from echoing_core.reports.echo_text.reading import echo_findings
    from echoing_core.reports.stated import read_report
    from echoing_core.reports.understanding import understand

    for content in files.values():
        text = content.decode("utf-8", "replace")[:2000]
        # A report need be no question.
        with suppress(EchoingError):
            understand(text[:300])
        read_report(text)
        echo_findings(text)


def _metadata(files: Files) -> None:
    from echoing_core.services.own_index import grouped_places

    grouped_places(list(files.items()))


def _cohorts() -> list[Files]:
    table = b"file,patient,report,lvef\nrec.hea,p1,sinus rhythm,55\nother.hea,p2,af,30\n"
    signal = _ecg()
    return [
        {**made.wfdb(signal, 250), **made.wfdb(signal, 250, "other"), "reports.csv": table},
    ]


@cache
def targets() -> tuple[Target, ...]:
    """All of them; names are unique."""
    signal = _ecg()
    return (
        Target("wfdb", _wfdb, opened),
        Target("edf", _edf, opened),
        Target("dicom", lambda: _one("rec.dcm", made.dicom(_ecg(), 250)), opened),
        Target("xml", _text_of_xml, opened),
        Target("scp", _scp, opened),
        Target("ishne", _ishne, opened),
        Target("atc", lambda: _one("rec.atc", devices.atc(signal, 250)), opened),
        Target("mfer", lambda: _one("rec.mwf", devices.mfer(signal, 250)), opened),
        Target("fhir", lambda: _one("rec.json", devices.fhir(signal, 250)), opened),
        Target("contec", _contec, opened),
        Target("tables", _tables, opened),
        Target(
            "xlsx",
            lambda: _one("rec.xlsx", devices.xlsx(signal[:, :30], 250, leads=("I", "II", "V1"))),
            opened,
        ),
        Target("parquet", lambda: _one("rec.parquet", made.parquet(_ecg(), 250)), opened),
        Target("archives", _archives, opened),
        Target("many", _archives, _looked_together),
        Target("echo avi", lambda: _one("clip.avi", _clip()), _clips),
        Target("echo dicom", _echo_dicom, _clips),
        Target("questions", _questions, _question_file),
        Target("sessions", _sessions, _session),
        Target("json", lambda: [{"a.json": s["s.json"]} for s in _sessions()], _documents, _DOC),
        Target("yaml", lambda: [{"a.yaml": q["q.yaml"]} for q in _questions()], _documents, _DOC),
        Target("words", _words, _understood),
        Target("cohorts", _cohorts, _metadata),
        Target("model", artifacts.models, artifacts.opened_model),
        Target("index", artifacts.indexes, artifacts.opened_index),
    )


_DOC = (*FAMILY, DocumentError)
