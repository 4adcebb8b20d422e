"""One ECG in the formats of single devices, written from their descriptions and not by the product.

Beside `ecg_files`, whose formats the tests of the app open too.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from tests.ecg_files import LEADS, UV, Ints, rows_of


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


def every_device(signal: Ints, fs_hz: int = 500) -> dict[str, dict[str, bytes]]:
    """The uploads by a name for the format."""
    return {
        "CardioSoft": {"rec.xml": cardiosoft(signal, fs_hz)},
        "CardioSoft exercise": {"rec.xml": cardiosoft_exercise(signal, fs_hz)},
        "ISHNE": {"rec.ecg": ishne(signal, fs_hz)},
    }


_PIECES = (b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff", b"-1", b"0", b"9999999", b"1e9",
           b"nan", b"<", b">", b"&", b'"', b"{", b"]", b",", b"\n")  # fmt: skip


def mutated(sound: bytes, rng: np.random.Generator) -> bytes:
    """A file with bytes changed, put in, taken out or doubled; now and then cut short."""
    changed = bytearray(sound)
    for _ in range(int(rng.integers(1, 6))):
        # Headers are where the mischief is.
        within = int(rng.choice([64, 600, len(changed)]))
        place = int(rng.integers(0, max(1, min(within, len(changed)))))
        piece = _PIECES[int(rng.integers(len(_PIECES)))]
        if rng.random() < 0.4:
            piece = rng.bytes(int(rng.integers(1, 6)))
        kind = int(rng.integers(4))
        if kind == 0:
            changed[place:place] = piece
        elif kind == 1:
            del changed[place : place + int(rng.integers(1, 40))]
        elif kind == 2:
            changed[place:place] = changed[place : place + int(rng.integers(1, 40))]
        else:
            changed[place : place + len(piece)] = piece
    if rng.random() < 0.1:
        del changed[int(rng.integers(0, len(changed) + 1)) :]
    return bytes(changed)
