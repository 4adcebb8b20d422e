"""A file that was made to hold a program up holds up nobody but the person who gave it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from broken_uploads import sound_upload
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def hostile() -> bytes:
    """An ECG in DICOM with half a million elements in one entry: linear, and long, to parse."""

    def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sH", group, number, kind, len(value)) + value

    def long(group: int, number: int, kind: bytes, value: bytes) -> bytes:
        return struct.pack("<HH2sHI", group, number, kind, 0, len(value)) + value

    ecg = b"1.2.840.10008.5.1.4.1.1.9.1.1\0"
    meta = element(2, 2, b"UI", ecg) + element(2, 0x10, b"UI", b"1.2.840.10008.1.2.1\0")
    head = bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(meta))) + meta
    many = b"".join(element(9, 0x1000 + i, b"LO", b"") for i in range(50_000)) * 10
    entry = struct.pack("<HHI", 0xFFFE, 0xE000, len(many)) + many
    return head + element(8, 0x16, b"UI", ecg) + long(0x5400, 0x100, b"SQ", entry)


def test_another_session_opens_its_ecg_meanwhile(
    visitor: Callable[..., AbstractContextManager[Page]], tmp_path: Path
) -> None:
    bad = tmp_path / "hostile.dcm"
    bad.write_bytes(hostile())
    names = [f"mine{number}" for number in range(5)]
    for name in names:
        for file, data in sound_upload(name, seconds=10.0).items():
            (tmp_path / file).write_bytes(data)

    def opened_in(page: Page, name: str) -> float:
        chosen = page.locator("input[type=file][multiple]").first
        if name != names[0]:
            folded = page.get_by_text("Open another recording").first
            expect(folded).to_be_visible()
            # It stays as it was left.
            if not chosen.count():
                folded.click()
        began = time.perf_counter()
        chosen.set_input_files([str(tmp_path / f"{name}.hea"), str(tmp_path / f"{name}.dat")])
        expect(page.get_by_text(name).first).to_be_visible()
        expect(page.locator(".st-key-ecg_paper .trace").first).to_be_attached()
        return time.perf_counter() - began

    with visitor() as attacker, visitor() as other:
        # The first one pays for what is loaded once.
        opened_in(other, names[0])
        idle = min(opened_in(other, name) for name in names[1:3])
        attacker.locator("input[type=file][multiple]").first.set_input_files(str(bad))
        expect(attacker.get_by_text("Reading the recording")).to_be_visible()
        busy = min(opened_in(other, name) for name in names[3:])
        # Still being read: the others did not merely come after it.
        assert attacker.get_by_text("Reading the recording").is_visible()
        assert busy < 2 * idle + 0.5
