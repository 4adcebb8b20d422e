"""One ECG in every format that is read, written by hand or by libraries that are not ours.

Used by the tests of the readers and by those that drive the app; a mistake in a writer of the
product cannot hide one in a reader, because none of them is used here.
"""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
UV = 5
"""Microvolts of one unit in all files here."""

Ints = npt.NDArray[np.int16]


def ecg(seconds: float = 12.0, fs_hz: int = 500) -> Ints:
    """Twelve leads in units of `UV` microvolts, shape (12, n_times); Einthoven's law holds."""
    time_s = np.arange(round(seconds * fs_hz)) / fs_hz
    phase = (time_s % 0.8) - 0.3
    qrs = 200 * np.exp(-((phase / 0.02) ** 2)) - 40 * np.exp(-(((phase - 0.04) / 0.02) ** 2))
    tee = 50 * np.exp(-(((phase - 0.25) / 0.06) ** 2))
    wander = 8 * np.sin(2 * np.pi * 0.7 * time_s)
    rows = {"I": 0.7 * qrs + 0.8 * tee + wander, "II": qrs + tee - wander}
    for i, weight in enumerate((-0.6, -0.2, 0.4, 0.9, 1.1, 0.8)):
        rows[f"V{i + 1}"] = weight * qrs + (0.4 + 0.1 * i) * tee + wander * (i - 2) / 3
    # Even numbers, so that halves stay whole.
    one, two = (2 * np.rint(rows[lead] / 2).astype(np.int64) for lead in ("I", "II"))
    limb = {"I": one, "II": two, "III": two - one, "aVR": -(one + two) // 2}
    limb |= {"aVL": one - two // 2, "aVF": two - one // 2}
    chest = {lead: np.rint(rows[lead]).astype(np.int64) for lead in EIGHT[2:]}
    return np.array([{**limb, **chest}[lead] for lead in LEADS]).astype(np.int16)


def rows_of(signal: Ints, leads: Sequence[str]) -> Ints:
    """Some of the twelve leads."""
    return signal[[LEADS.index(lead) for lead in leads]]


def wfdb(signal: Ints, fs_hz: int = 500, name: str = "rec") -> dict[str, bytes]:
    lines = [f"{name} 12 {fs_hz} {signal.shape[1]}"]
    lines += [f"{name}.dat 16 {1000 / UV:g}(0)/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    data = signal.T.astype("<i2").tobytes()
    return {f"{name}.hea": ("\n".join(lines) + "\n").encode(), f"{name}.dat": data}


def zipped(files: dict[str, bytes], folder: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)
    return buffer.getvalue()


def edf(
    signal: Ints,
    fs_hz: int = 500,
    *,
    leads: Sequence[str] = LEADS,
    bdf: bool = False,
    onsets_s: Sequence[float] | None = None,
    units: str = "uV",
    prefilter: str = "HP:0.05Hz LP:150Hz",
) -> bytes:
    """EDF or BDF with data records of one second; with ``onsets_s``, EDF+D."""
    width, low = (3, -1_000_000) if bdf else (2, -32768)
    labels = [f"ECG {lead}" for lead in leads]
    n_records = signal.shape[1] // fs_hz
    counts = [fs_hz] * len(labels)
    plus = onsets_s is not None
    if plus:
        labels, counts = [*labels, "BDF Annotations" if bdf else "EDF Annotations"], [*counts, 30]
    n = len(labels)
    ranges = [(low * UV, (-low - 1) * UV)] * len(leads) + [(-1, 1)] * plus
    kind = ("BDF+D" if bdf else "EDF+D") if plus else ("24BIT" if bdf else "")
    head = b"\xffBIOSEMI" if bdf else b"0       "
    head += f"{'X X X X':<80}{'Startdate 01-JAN-2020 X X X':<80}01.01.2000.00.00".encode()
    head += f"{256 * (n + 1):<8}{kind:<44}{n_records:<8}{'1':<8}{n:<4}".encode()
    columns = [
        [f"{x:<16}" for x in labels],
        [f"{'':<80}"] * n,
        [f"{units:<8}"] * len(leads) + [f"{'':<8}"] * plus,
        [f"{a:<8}" for a, _ in ranges],
        [f"{b:<8}" for _, b in ranges],
        [f"{low:<8}"] * n,
        [f"{-low - 1:<8}"] * n,
        [f"{prefilter:<80}"] * n,
        [f"{c:<8}" for c in counts],
        [f"{'':<32}"] * n,
    ]
    head += "".join("".join(column) for column in columns).encode()
    body = []
    for record in range(n_records):
        part = signal[:, record * fs_hz : (record + 1) * fs_hz].astype("<i4")
        raw = part.view(np.uint8).reshape(*part.shape, 4)[..., :width]
        body.append(np.ascontiguousarray(raw).tobytes())
        if plus:
            onset = onsets_s[record]  # type: ignore[index]
            body.append(f"+{onset}\x14\x14\0".encode().ljust(30 * width, b"\0"))
    return head + b"".join(body)


def dicom(
    signal: Ints,
    fs_hz: int = 500,
    *,
    leads: Sequence[str] = LEADS,
    kind: str = "1.2.840.10008.5.1.4.1.1.9.1.1",
    groups: Sequence[tuple[int, int]] | None = None,
    median: bool = True,
    padding: int | None = None,
    units: str = "uV",
) -> bytes:
    """An ECG object: the rhythm in one group or in several stretches, and a median beat."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = kind, "1.2.3.4", "ECG"
    ds.PatientName = "Doe^Jane"

    def group(part: Ints, start_ms: float, label: str, originality: str) -> Dataset:
        item = Dataset()
        item.MultiplexGroupTimeOffset = start_ms
        item.WaveformOriginality, item.MultiplexGroupLabel = originality, label
        item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = part.shape
        item.SamplingFrequency = fs_hz
        item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
        if padding is not None:
            item.add_new(0x5400100A, "OW", np.int16(padding).tobytes())
        item.ChannelDefinitionSequence = []
        for lead in leads:
            channel, source, unit = Dataset(), Dataset(), Dataset()
            source.CodeMeaning, source.CodeValue = f"Lead {lead}", "0"
            source.CodingSchemeDesignator = "SCPECG"
            unit.CodeValue, unit.CodingSchemeDesignator = units, "UCUM"
            channel.ChannelSourceSequence = [source]
            channel.ChannelSensitivity, channel.ChannelBaseline = UV, 0
            channel.ChannelSensitivityCorrectionFactor = 1
            channel.ChannelSensitivityUnitsSequence = [unit]
            channel.WaveformBitsStored = 16
            channel.FilterLowFrequency, channel.FilterHighFrequency = 0.05, 150
            item.ChannelDefinitionSequence.append(channel)
        item.add_new(0x54001010, "OW", np.ascontiguousarray(part.T).astype("<i2").tobytes())
        return item

    sequence = [
        group(signal[:, a:b], a * 1000 / fs_hz, f"RHYTHM {i + 1}", "ORIGINAL")
        for i, (a, b) in enumerate(groups or [(0, signal.shape[1])])
    ]
    if median:
        sequence.insert(0, group(signal[:, :fs_hz] * 3, 0.0, "MEDIAN BEAT", "DERIVED"))
    ds.WaveformSequence = sequence
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def muse(signal: Ints, fs_hz: int = 500, *, kinds: Sequence[str] = ("Median", "Rhythm")) -> bytes:
    """RestingECG with the eight leads that MUSE stores; the median is three times too large."""

    def lead(name: str, row: Ints) -> str:
        text = base64.b64encode(row.astype("<i2").tobytes()).decode()
        wrapped = "\n".join(text[i : i + 76] for i in range(0, len(text), 76))
        return (
            f"<LeadData><LeadByteCountTotal>{2 * row.size}</LeadByteCountTotal>"
            f"<LeadTimeOffset>0</LeadTimeOffset><LeadSampleCountTotal>{row.size}"
            f"</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>{UV}</LeadAmplitudeUnitsPerBit>"
            "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
            f"<LeadID>{name}</LeadID><LeadSampleSize>2</LeadSampleSize><LeadOff>FALSE</LeadOff>"
            f"<WaveFormData>\n{wrapped}\n</WaveFormData></LeadData>"
        )

    waves = ""
    for kind in kinds:
        part = 3 * signal[:, :600] if kind == "Median" else signal
        waves += (
            f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>8</NumberofLeads>"
            f"<SampleBase>{fs_hz}</SampleBase><SampleExponent>0</SampleExponent>"
            "<LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter>"
            + "".join(lead(n, r) for n, r in zip(EIGHT, rows_of(part, EIGHT), strict=True))
            + "</Waveform>"
        )
    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        '<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n'
        "<RestingECG><PatientDemographics><PatientLastName>Doe</PatientLastName>"
        f"</PatientDemographics>{waves}</RestingECG>"
    ).encode("latin-1")


def lzw(data: bytes) -> bytes:
    """LZW with 10-bit codes as XLI has it, the other way round."""
    table = {bytes([i]): i for i in range(256)}
    codes, word = [], b""
    for value in data:
        longer = word + bytes([value])
        if longer in table:
            word = longer
            continue
        codes.append(table[word])
        if len(table) <= 1022:
            table[longer] = len(table)
        word = bytes([value])
    codes.append(table[word])
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "1" * 30  # an end that is no code
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def xli_row(row: npt.NDArray[np.int64]) -> bytes:
    """One lead compressed by XLI."""
    stored = np.zeros(row.size, dtype=np.int64)
    stored[:2] = row[:2]
    error = 2 * row[1:-1] - row[:-2] - row[2:]
    stored[2:-1] = error[1:] + 64
    stored &= 0xFFFF
    raw = np.concatenate([stored >> 8, stored & 0xFF]).astype(np.uint8).tobytes()
    packed = lzw(raw)
    first = int(error[0]).to_bytes(2, "little", signed=True)
    return len(packed).to_bytes(4, "little") + (1).to_bytes(2, "little") + first + packed


def philips(signal: Ints, fs_hz: int = 500, *, xli: bool = True, encoding: str = "utf-16") -> bytes:
    """Sierra ECG 1.04; III, aVR, aVL and aVF are stored as what I and II leave of them."""
    stored = signal.astype(np.int64)
    stored[2:6] = np.arange(signal.shape[1]) % 3 - 1
    data = b"".join(map(xli_row, stored)) if xli else stored.astype("<i2").tobytes()
    text = base64.b64encode(data).decode()
    how = 'compressflag="True" compressmethod="XLI"' if xli else 'compressflag="False"'
    return (
        f'<?xml version="1.0" encoding="{encoding}"?>'
        '<restingecgdata xmlns="http://www3.medical.philips.com">'
        "<documentinfo><documenttype>SierraECG</documenttype>"
        "<documentversion>1.04</documentversion></documentinfo>"
        "<dataacquisition><signalcharacteristics>"
        f"<samplingrate>{fs_hz}</samplingrate><resolution>{UV}</resolution>"
        "<hipass>0.05</hipass><lowpass>150</lowpass><acquisitiontype>STD-12</acquisitiontype>"
        "<numberchannelsallocated>12</numberchannelsallocated>"
        "</signalcharacteristics></dataacquisition>"
        f'<waveforms><parsedwaveforms dataencoding="Base64" {how} '
        f'durationperchannel="{signal.shape[1] * 1000 // fs_hz}" nbitspersample="16" '
        f'numberofleads="12" leadlabels="{" ".join(LEADS)}">{text}</parsedwaveforms>'
        "<repbeats><repbeat leadname='I'><waveform>AAAA</waveform></repbeat></repbeats></waveforms>"
        "</restingecgdata>"
    ).encode(encoding)


def aecg(
    signal: Ints,
    fs_hz: int = 500,
    *,
    stretches: Sequence[tuple[int, int, Sequence[str]]] | None = None,
    beat: bool = True,
) -> bytes:
    """Annotated ECG with one or several sequence sets and a derived representative beat."""

    def sequence_set(part: Ints, leads: Sequence[str], start_s: float) -> str:
        head = datetime(2020, 1, 31, 23, 59, 55) + timedelta(seconds=start_s)
        stamp = head.strftime("%Y%m%d%H%M%S") + f".{head.microsecond // 1000:03d}"
        sequences = "".join(
            f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/>'
            f'<value xsi:type="SLIST_PQ"><origin value="0" unit="uV"/><scale value="{UV}" '
            f'unit="uV"/><digits>{" ".join(map(str, row.tolist()))}</digits></value></sequence>'
            "</component>"
            for lead, row in zip(leads, rows_of(part, leads), strict=True)
        )
        return (
            '<component><sequenceSet><component><sequence><code code="TIME_ABSOLUTE"/>'
            f'<value xsi:type="GLIST_TS"><head value="{stamp}"/><increment value="{1 / fs_hz}" '
            f'unit="s"/></value></sequence></component>{sequences}</sequenceSet></component>'
        )

    parts = stretches or [(0, signal.shape[1], LEADS)]
    sets = "".join(sequence_set(signal[:, a:b], leads, a / fs_hz) for a, b, leads in parts)
    beats = (
        '<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/>'
        f"{sequence_set(3 * signal[:, :400], LEADS, 0.0)}</derivedSeries></derivation>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><component><series>'
        f'<code code="RHYTHM"/>{sets}{beats if beat else ""}</series></component></AnnotatedECG>'
    ).encode()


def csv(
    signal: Ints,
    fs_hz: int = 500,
    *,
    separator: str = ",",
    decimal: str = ".",
    time: bool = True,
    units: str = " (mV)",
) -> bytes:
    """A table with a header; times in seconds first."""
    columns = [f"{lead}{units}" for lead in LEADS]
    lines = [separator.join([*(["time (s)"] if time else []), *columns])]
    for i, row in enumerate(signal.T.tolist()):
        cells = ([f"{i / fs_hz:.4f}"] if time else []) + [f"{UV * v / 1000:.3f}" for v in row]
        lines.append(separator.join(cell.replace(".", decimal) for cell in cells))
    return ("\n".join(lines) + "\n").encode()


def parquet(signal: Ints, fs_hz: int = 500) -> bytes:
    import pandas as pd

    frame = pd.DataFrame((signal * (UV / 1000)).T, columns=[f"{lead}_mV" for lead in LEADS])
    frame.insert(0, "time_s", np.arange(len(frame)) / fs_hz)
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


def npy(signal: Ints) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, signal)
    return buffer.getvalue()


def every_format(signal: Ints, fs_hz: int = 500) -> dict[str, dict[str, bytes]]:
    """The uploads that need nothing said, by a name for the format."""
    return {
        "WFDB": wfdb(signal, fs_hz),
        "WFDB zip": {"rec.zip": zipped(wfdb(signal, fs_hz), "a/b/")},
        "EDF": {"rec.edf": edf(signal, fs_hz)},
        "EDF+": {"rec.edf": edf(signal, fs_hz, onsets_s=range(signal.shape[1] // fs_hz))},
        "BDF": {"rec.bdf": edf(signal, fs_hz, bdf=True)},
        "EDF zip": {"rec.zip": zipped({"holter.edf": edf(signal, fs_hz)})},
        "DICOM": {"rec.dcm": dicom(signal, fs_hz)},
        "MUSE": {"rec.xml": muse(signal, fs_hz)},
        "Philips XLI": {"rec.xml": philips(signal, fs_hz)},
        "Philips": {"rec.xml": philips(signal, fs_hz, xli=False, encoding="utf-8")},
        "aECG": {"rec.xml": aecg(signal, fs_hz)},
        "CSV": {"rec.csv": csv(signal, fs_hz)},
        "CSV of Germany": {"rec.csv": csv(signal, fs_hz, separator=";", decimal=",")},
        "TSV": {"rec.tsv": csv(signal, fs_hz, separator="\t")},
        "Parquet": {"rec.parquet": parquet(signal, fs_hz)},
    }
