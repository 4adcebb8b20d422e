"""One ECG in the formats of single devices, written from their descriptions and not by the product.

Beside `ecg_files`, whose formats the tests of the app open too.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Literal

import numpy as np

from tests.ecg_files import LEADS, UV, Ints, rows_of, zipped


def cardiosoft(signal: Ints, fs_hz: int = 500, *, leads: Sequence[str] = LEADS) -> bytes:
    """``CardiologyXML`` with a strip and, three times too large, median beats."""

    def waves(part: Ints) -> str:
        return "".join(
            f'<WaveformData lead="{lead}">\n\t{",".join(map(str, row.tolist()))}</WaveformData>'
            for lead, row in zip(leads, rows_of(part, leads), strict=True)
        )

    return (
        '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<CardiologyXML>'
        "<ObservationType>RestECG</ObservationType><PatientInfo><Name><FamilyName>Doe</FamilyName>"
        "</Name></PatientInfo><RestingECGMeasurements><MedianSamples>"
        f'<NumberOfLeads>{len(leads)}</NumberOfLeads><SampleRate units="Hz">{fs_hz}</SampleRate>'
        f"{waves(3 * signal[:, :fs_hz])}</MedianSamples></RestingECGMeasurements>"
        f"<StripData><NumberOfLeads>{len(leads)}</NumberOfLeads>"
        f'<SampleRate units="Hz">{fs_hz}</SampleRate>'
        f"<ChannelSampleCountTotal>{signal.shape[1]}</ChannelSampleCountTotal>"
        f'<Resolution units="uVperLsb">{UV}</Resolution>{waves(signal)}</StripData></CardiologyXML>'
    ).encode("latin-1")


def cardiosoft_exercise(
    signal: Ints, fs_hz: int = 500, *, leads: Sequence[str] = ("I", "II", "V2")
) -> bytes:
    """``CardiologyXML`` of an exercise test: all leads in turn, and a strip of the first second."""
    values = ",".join(map(str, rows_of(signal, leads).T.ravel().tolist()))
    strip = "".join(
        f'<WaveformData lead="{lead}">{",".join(map(str, row.tolist()))}</WaveformData>'
        for lead, row in zip(leads, rows_of(signal[:, :fs_hz], leads), strict=True)
    )
    scale = f'<SampleRate units="Hz">{fs_hz}</SampleRate><Resolution units="uVperLsb">{UV}'
    return (
        '<?xml version="1.0" encoding="UTF-8"?><CardiologyXML>'
        f"<StripData>{scale}</Resolution>{strip}</StripData>"
        f"<FullDisclosure><NumberOfChannels>{len(leads)}</NumberOfChannels>{scale}</Resolution>"
        f"<LeadOrder>{','.join(leads)}</LeadOrder>"
        f"<FullDisclosureData>{values}</FullDisclosureData></FullDisclosure></CardiologyXML>"
    ).encode()


_ISHNE_CODES = {lead: 5 + i for i, lead in enumerate(LEADS)}


def crc_ccitt(data: bytes) -> int:
    """The checksum of ISHNE and SCP-ECG bit by bit: x^16 + x^12 + x^5 + 1, all ones first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1
            crc &= 0xFFFF
    return crc


def ishne(
    signal: Ints,
    fs_hz: int = 500,
    *,
    leads: Sequence[str] = ("V5", "V1", "II"),
    variable: bytes = b"a block of any length",
    counts_all: bool = False,
    quality: int = 1,
) -> bytes:
    """ISHNE 1.0; ``counts_all`` for recorders that count the samples of all leads."""
    rows = rows_of(signal, leads)
    n = len(leads)
    n_samples = rows.size if counts_all else rows.shape[1]
    filled = [0] * (12 - n)
    header = struct.pack("<4i", len(variable), n_samples, 522, 522 + len(variable))
    header += struct.pack("<h40s40s20s", 1, b"Jane", b"Doe", b"4711")
    header += struct.pack("<2h3h3h3h3h", 2, 1, 1, 2, 1950, 3, 2, 2020, 4, 2, 2020, 12, 0, 0)
    header += struct.pack("<h", n)
    header += struct.pack("<12h", *[_ISHNE_CODES[lead] for lead in leads], *filled)
    header += struct.pack("<12h", *[quality] * n, *filled)
    header += struct.pack("<12h", *[1000 * UV] * n, *filled)
    header += struct.pack("<h40sh80s80s88s", 0, b"digital", fs_hz, b"", b"", b"")
    header += variable
    crc = struct.pack("<H", crc_ccitt(header))
    return b"ISHNE1.0" + crc + header + rows.T.astype("<i2").tobytes()


def ishne_annotations(
    recording: bytes, beats: Sequence[tuple[int, str]], first: int = 0, own: bytes = b"\0"
) -> bytes:
    """Beats at samples, with a mark of 65,535 samples wherever none comes for longer."""
    (n_variable,) = struct.unpack_from("<i", recording, 10)
    data = b"ANN  1.0" + recording[8 : 522 + n_variable] + struct.pack("<I", first)
    last = first
    for sample, label in beats:
        while sample - last > 65_535:
            data += struct.pack("<ccH", b"!", own, 65_535)
            last += 65_535
        data += struct.pack("<ccH", label.encode(), own, sample - last)
        last = sample
    return data


_SCP_NUMBERS = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, *range(3, 9)), strict=True))

Table = dict[int | str, str]
"""Value -> its code; ``"literal 8"`` -> prefix of a number; ``"to 2"`` -> switch of tables."""

SCP_DEFAULT: Table = {
    0: "0",
    **{n: "1" * n + "00" for n in range(1, 9)},
    **{-n: "1" * n + "01" for n in range(1, 9)},
    "literal 8": "1" * 9 + "0",
    "literal 16": "1" * 10,
}
"""Table C.1 of the standard."""

SCP_CUSTOM: tuple[Table, ...] = (
    {0: "0", 1: "10", "to 2": "110", "literal 16": "111"},
    {0: "1", -1: "01", "to 1": "000", "literal 8": "001"},
)
"""Two tables; the encoder goes to the second for -1 and back for 1."""


def scp_bits(values: Sequence[int], tables: Sequence[Table]) -> bytes:
    """Numbers as Huffman codes, whole bytes."""
    now, parts = 0, []
    for value in values:
        if len(tables) > 1 and abs(value) == 1 and value not in tables[now]:
            parts.append(tables[now][f"to {2 - now}"])
            now = 1 - now
        table = tables[now]
        if value in table:
            parts.append(table[value])
            continue
        width = 8 if "literal 8" in table and -128 <= value < 128 else 16
        if f"literal {width}" not in table:
            parts.append(table[f"to {2 - now}"])
            now = 1 - now
            table = tables[now]
        parts.append(table[f"literal {width}"] + f"{value & (1 << width) - 1:0{width}b}")
    bits = "".join(parts)
    bits += "0" * (-len(bits) % 16)
    return int(bits, 2).to_bytes(len(bits) // 8, "big") if bits else b""


def _scp_table(table: Table) -> bytes:
    out = struct.pack("<H", len(table))
    for value, code in table.items():
        reverse = int(code[::-1], 2)
        if isinstance(value, int):
            out += struct.pack("<BBBhI", len(code), len(code), 1, value, reverse)
        elif value.startswith("to"):
            out += struct.pack("<BBBhI", len(code), len(code), 0, int(value[3:]), reverse)
        else:
            total = len(code) + int(value[8:])
            out += struct.pack("<BBBhI", len(code), total, 1, 0, reverse)
    return out


def _scp_differences(row: Sequence[int], times: int) -> list[int]:
    values = np.asarray(row, dtype=np.int64)
    kept = values[:times].tolist()
    return kept + np.diff(values, n=times).tolist() if times else values.tolist()


def scp(
    signal: Ints,
    fs_hz: int = 500,
    *,
    tables: Sequence[Table] | None = (SCP_DEFAULT,),
    differences: int = 2,
    subtract: bool = False,
    thinning: int = 1,
    leads: Sequence[str] = LEADS,
    starts: Sequence[int] | None = None,
    mark: bytes = b"SCPECG",
    period_s: float = 0.8,
    peak_s: float = 0.3,
    said: Mapping[int, bytes] | None = None,
) -> bytes:
    """SCP-ECG: ``tables`` None for plain numbers, ``thinning`` above 1 for bimodal compression.

    ``said`` holds further sections, such as 7 and 8.
    """
    rows = rows_of(signal, leads).astype(np.int64)
    n = rows.shape[1]
    step_us = 1_000_000 // fs_hz

    def encoded(row: Sequence[int]) -> bytes:
        values = _scp_differences(row, differences)
        return np.array(values, "<i2").tobytes() if tables is None else scp_bits(values, tables)

    def samples(parts: Sequence[Sequence[int]], step: int, bimodal: int) -> bytes:
        data = [encoded(part) for part in parts]
        sizes = struct.pack(f"<{len(data)}H", *map(len, data))
        return struct.pack("<HHBB", 1000 * UV, step, differences, bimodal) + sizes + b"".join(data)

    sections: dict[int, bytes] = {1: b"\0\4\0Doe\0\x1b\2\0\5\0\xff\0\0"}
    if tables is not None:
        is_default = tables == (SCP_DEFAULT,)
        number = struct.pack("<H", 19999 if is_default else len(tables))
        sections[2] = number if is_default else number + b"".join(map(_scp_table, tables))
    firsts = [1] * len(leads) if starts is None else list(starts)
    sections[3] = struct.pack("<BB", len(leads), subtract | 4 | len(leads) << 3 & 0xF8)
    for lead, first in zip(leads, firsts, strict=True):
        sections[3] += struct.pack("<IIB", first, first + n - 1, _SCP_NUMBERS[lead])
    step = step_us
    if subtract or thinning > 1:
        before, after = round(0.25 * fs_hz), round(0.4 * fs_hz)
        peaks = [round((peak_s + k * period_s) * fs_hz) for k in range(int(n / fs_hz / period_s))]
        peaks = [p for p in peaks if p + after < n]
        beat = np.rint(np.mean([rows[:, p - before : p + after] for p in peaks], axis=0))
        beat = beat.astype(np.int64)
        # Counted from 1; the length in whole milliseconds.
        zones = [(p - before + 1, p + 1, p + after) for p in peaks]
        half = round(0.06 * fs_hz)
        areas, last = [], 0
        for p in peaks:
            start = p - half + 1
            start -= (start - last - 1) % thinning
            areas.append((start, p + half))
            last = p + half
        if subtract:
            for p in peaks:
                rows[:, p - before : p + after] -= beat
        length_ms = (before + after) * 1000 // fs_hz
        sections[4] = struct.pack("<HHH", length_ms, before + 1, len(peaks))
        sections[4] += b"".join(struct.pack("<HIII", 0, *zone) for zone in zones)
        if thinning > 1:
            sections[4] += b"".join(struct.pack("<II", *area) for area in areas)
            step = step_us * thinning
            whole = np.zeros(n, dtype=bool)
            for start, end in areas:
                whole[start - 1 : end] = True
            kept, i = [], 0
            while i < n:
                stop = i + 1
                while not whole[i] and stop < min(n, i + thinning) and not whole[stop]:
                    stop += 1
                kept.append(np.rint(rows[:, i:stop].mean(axis=1)).astype(np.int64))
                i = stop
            rows = np.array(kept).T
        sections[5] = samples(beat, step_us, 0)
    sections[6] = samples(rows, step, int(thinning > 1))
    sections |= said or {}
    return _scp_file(sections, mark)


def _scp_file(sections: dict[int, bytes], mark: bytes) -> bytes:
    def section(number: int, body: bytes, reserved: bytes = b"") -> bytes:
        body += b"\0" * (len(body) % 2)
        head = struct.pack("<HIBB6s", number, 16 + len(body), 20, 20, reserved) + body
        return struct.pack("<H", crc_ccitt(head)) + head

    bodies = {number: section(number, body) for number, body in sections.items()}
    at = 7 + 16 + 120
    pointers = struct.pack("<HII", 0, 136, 7)
    for number in range(1, 12):
        size = len(bodies.get(number, b""))
        pointers += struct.pack("<HII", number, size, at if size else 0)
        at += size
    whole = section(0, pointers, mark) + b"".join(bodies.values())
    whole = struct.pack("<I", 6 + len(whole)) + whole
    return struct.pack("<H", crc_ccitt(whole)) + whole


def eli(signal: Ints, fs_hz: int = 500, *, leads: Sequence[str] = LEADS) -> bytes:
    """``ECG`` of Mortara: channels, and an averaged beat three times too large."""

    def attributes(row: Ints) -> str:
        data = base64.b64encode(row.astype("<i2").tobytes()).decode()
        return (
            f'BITS="16" FORMAT="SIGNED" UNITS_PER_MV="{1000 // UV}" DURATION="'
            f'{row.size * 1000 // fs_hz}" SAMPLE_FREQ="{fs_hz}" ENCODING="BASE64" DATA="{data}"'
        )

    rows = list(zip(leads, rows_of(signal, leads), strict=True))
    channels = "".join(f'<CHANNEL OFFSET="0" {attributes(r)} NAME="{n}" />\n' for n, r in rows)
    beats = "".join(f'<TYPICAL_CYCLE {attributes(3 * r[:fs_hz])} NAME="{n}" />' for n, r in rows)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ECG ACQUISITION_TIME="20200131235955">\n'
        '<SOURCE TYPE="STD-12" MANUFACTURER="Mortara Instrument, Inc." MODEL="ELI 280" />\n'
        f'<SUBJECT LAST_NAME="Doe" ID="4711" />{beats}<QRS NUM="4" />{channels}</ECG>'
    ).encode()


def atc(signal: Ints, fs_hz: int = 500, *, n_leads: int = 6, plain_sum: bool = False) -> bytes:
    """AliveCor ATC 1.6 with an averaged beat and a block about the phone."""

    def block(name: bytes, data: bytes) -> bytes:
        whole = name + struct.pack("<I", len(data)) + data
        sums = sum(whole) & 0xFFFFFFFF if plain_sum else zlib.crc32(whole)
        return whole + struct.pack("<I", sums)

    names = [b"ecg ", *(f"ecg{sign}".encode() for sign in "23456789abc")]
    out = b"ALIVE\0\0\0" + struct.pack("<I", 4)
    out += block(b"info", b"2010-12-08T15:54:23.245+10:00".ljust(264, b"\0"))
    out += block(b"fmt ", struct.pack("<BHHBH", 1, fs_hz, 1000 * UV, 14, 0))
    for name, row in zip(names[:n_leads], signal, strict=False):
        out += block(name, row.astype("<i2").tobytes())
    return out + block(b"avg ", (3 * signal[0, :fs_hz]).astype("<i2").tobytes())


def mfer_field(tag: int, value: bytes, channel: int | None = None) -> bytes:
    """One definition: tag (and number of the channel), length, value."""
    head = bytes([tag]) + (b"" if channel is None else bytes([channel]))
    n = len(value)
    return head + (bytes([n]) if n < 128 else b"\x84" + n.to_bytes(4, "big")) + value


def mfer(
    signal: Ints,
    fs_hz: int = 500,
    *,
    leads: Sequence[str] = LEADS,
    little: bool = True,
    block: int | None = None,
    more: bytes = b"",
) -> bytes:
    """MFER as in its tables: preamble, byte order, name of the patient, channels, waveforms."""
    order: Literal["little", "big"] = "little" if little else "big"
    rows = rows_of(signal, leads)
    n = rows.shape[1]
    block = n if block is None else block
    field = mfer_field
    channels = b"".join(
        field(0x3F, field(0x09, _SCP_NUMBERS[lead].to_bytes(2, order)), i)
        for i, lead in enumerate(leads)
    )
    # In each sequence of each channel in turn a block.
    data = rows.reshape(len(leads), n // block, block).transpose(1, 0, 2)
    return (
        field(0x40, b"MFR Standard 12 leads ECG".ljust(32))
        + field(0x01, bytes([little]))
        + field(0x81, b"Doe^John") + field(0x08, (1).to_bytes(2, order))
        # 1/fs of a second as 10^-3, and UV microvolts as 10^-6 V.
        + field(0x0B, b"\0\0" + fs_hz.to_bytes(2, order))
        + field(0x0C, b"\0\xfa" + UV.to_bytes(2, order))
        + field(0x05, bytes([len(leads)])) + field(0x04, block.to_bytes(4, order))
        + field(0x06, (n // block).to_bytes(4, order)) + field(0x0A, b"\0") + channels + more
        + field(0x1E, np.ascontiguousarray(data).astype("<i2" if little else ">i2").tobytes())
        + b"\x80\0"
    )  # fmt: skip


def fhir(
    signal: Ints,
    fs_hz: int = 500,
    *,
    leads: Sequence[str] = LEADS,
    parts: int = 1,
    bundle: bool = False,
    r5: bool = False,
) -> bytes:
    """An Observation of R4 or R5 with a component a lead and part, or a Bundle of it."""

    def component(lead: str, values: list[str]) -> dict[str, object]:
        clock = {"period": 1000 / fs_hz}
        if r5:
            clock = {"interval": 1 / fs_hz, "intervalUnit": "s"}
        number = 131328 + _SCP_NUMBERS[lead]
        coding = {"system": "urn:oid:2.16.840.1.113883.6.24", "code": str(number)}
        # Beside the origin, which is added, so that the values are those of the signal.
        sampled = {"origin": {"value": -10 * UV, "unit": "microvolt", "code": "uV"}, **clock}
        sampled |= {"factor": UV, "dimensions": 1, "data": " ".join(values)}
        return {"code": {"coding": [coding]}, "valueSampledData": sampled}

    edges = np.linspace(0, signal.shape[1], parts + 1).astype(int)
    components = [
        component(lead, [str(v + 10) for v in row[a:b].tolist()])
        for lead, row in zip(leads, rows_of(signal, leads), strict=True)
        for a, b in itertools.pairwise(edges)
    ]
    resource: dict[str, object] = {
        "resourceType": "Observation", "status": "final", "subject": {"display": "Doe"},
        "code": {"coding": [{"code": "131328"}]}, "component": components,
    }  # fmt: skip
    if bundle:
        entries = [{"resource": {"resourceType": "Patient"}}, {"resource": resource}]
        resource = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return json.dumps(resource).encode()


def xlsx(
    signal: Ints, fs_hz: int = 500, *, leads: Sequence[str] = LEADS, more: Mapping[str, bytes] = {}
) -> bytes:
    """A spreadsheet as Excel saves it: names as shared texts, a note in a second sheet."""
    names = ["time (s)", *(f"{lead} (mV)" for lead in leads)]

    def cell(column: int, row: int, value: str, kind: str = "") -> str:
        place = f"{chr(65 + column)}{row}"
        return f'<c r="{place}"{kind}><v>{value}</v></c>'

    head = "".join(cell(i, 1, str(i), ' t="s"') for i in range(len(names)))
    lines = [f'<row r="1">{head}</row>']
    for n, values in enumerate(rows_of(signal, leads).T.tolist()):
        cells = [f"{n / fs_hz:.4f}", *(f"{UV * v / 1000:.3f}" for v in values)]
        parts = "".join(cell(i, n + 2, text) for i, text in enumerate(cells))
        lines.append(f'<row r="{n + 2}">{parts}</row>')
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{name}</t></si>" for name in names)
    note = '<row r="1"><c r="A1" t="inlineStr"><is><t>Doe</t></is></c></row>'
    files = {
        "[Content_Types].xml": b"<Types/>",
        "xl/workbook.xml": f"<workbook {space}/>".encode(),
        "xl/sharedStrings.xml": f"<sst {space}>{shared}</sst>".encode(),
        "xl/worksheets/sheet1.xml": (
            f"<worksheet {space}><sheetData>{''.join(lines)}</sheetData></worksheet>"
        ).encode(),
        "xl/worksheets/sheet2.xml": (
            f"<worksheet {space}><sheetData>{note}</sheetData></worksheet>"
        ).encode(),
    }
    return zipped({**files, **more})


def every_device(signal: Ints, fs_hz: int = 500) -> dict[str, dict[str, bytes]]:
    """The uploads by a name for the format."""
    return {
        "CardioSoft": {"rec.xml": cardiosoft(signal, fs_hz)},
        "CardioSoft exercise": {"rec.xml": cardiosoft_exercise(signal, fs_hz)},
        "ISHNE": {"rec.ecg": ishne(signal, fs_hz)},
        "ELI": {"rec.xml": eli(signal, fs_hz)},
        "ATC": {"rec.atc": atc(signal, fs_hz)},
        "FHIR": {"rec.json": fhir(signal, fs_hz)},
        "XLSX": {"rec.xlsx": xlsx(signal, fs_hz, leads=("I", "II", "V1"))},
        "MFER": {"rec.mwf": mfer(signal, fs_hz)},
        "MFER big": {"rec.mwf": mfer(signal, fs_hz, little=False, block=fs_hz // 10)},
        "SCP": {"rec.scp": scp(signal, fs_hz)},
        "SCP plain": {"rec.scp": scp(signal, fs_hz, tables=None, differences=0)},
        "SCP tables": {"rec.scp": scp(signal, fs_hz, tables=SCP_CUSTOM, differences=1)},
        "SCP beats": {"rec.scp": scp(signal, fs_hz, subtract=True)},
    }


_PIECES = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff", b"-1", b"0", b"9999999", b"1e9",
           b"nan", b"<", b">", b"&", b'"', b"{", b"]", b",", b"\n")  # fmt: skip


_WORDS = (b"", b"0", b"-1", b"1e9", b"1e308", b"nan", b"E", b"x", b"9" * 30, b"0.001", b"-2.5")


@cache
def _words_of(text: bytes) -> list[tuple[int, int]]:
    """Where the first of its words are, and those that are no samples."""
    found = [match.span() for match in re.finditer(rb"[A-Za-z0-9.+-]+", text)]
    return found[:200] + [(a, b) for a, b in found[200:] if text[a:b].isalpha()]


def mutated(sound: bytes, rng: np.random.Generator) -> bytes:
    """A file with bytes changed, put in, taken out or doubled; now and then cut short.

    Of text mostly whole words are changed, after which it is still XML or JSON.
    """
    changed = bytearray(sound)
    if sound[:1] in (b"<", b"{") and rng.random() < 0.7:
        words = _words_of(sound)
        # From the end, so that the places before stay as they are.
        for i in sorted(set(rng.integers(0, len(words), int(rng.integers(1, 4))).tolist()))[::-1]:
            start, stop = words[i]
            changed[start:stop] = _WORDS[int(rng.integers(len(_WORDS)))]
        return bytes(changed)
    # Bytes put in shift all that follows, which most readers notice at once.
    only_changed = rng.random() < 0.7
    for _ in range(int(rng.integers(1, 4 if only_changed else 6))):
        # Headers are where the mischief is.
        within = int(rng.choice([64, 600, 4000, len(changed)]))
        place = int(rng.integers(0, max(1, min(within, len(changed)))))
        piece = _PIECES[int(rng.integers(len(_PIECES)))]
        if rng.random() < 0.4:
            piece = rng.bytes(int(rng.integers(1, 6)))
        kind = 3 if only_changed else int(rng.integers(4))
        if kind == 0:
            changed[place:place] = piece
        elif kind == 1:
            del changed[place : place + int(rng.integers(1, 40))]
        elif kind == 2:
            changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
        else:
            changed[place : place + len(piece)] = piece
    if not only_changed and rng.random() < 0.2:
        del changed[int(rng.integers(0, len(changed) + 1)) :]
    return bytes(changed)
