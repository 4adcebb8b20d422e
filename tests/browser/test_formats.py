"""An interrupted Holter in EDF and a table without words, opened in a real Chromium."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import ecg_files as made
import pytest
from playwright.sync_api import Page, TimeoutError, expect

pytestmark = pytest.mark.browser


def choose(app: Page, path: Path, data: bytes) -> None:
    path.write_bytes(data)
    app.locator("input[type=file][multiple]").first.set_input_files(str(path))


def test_an_interrupted_edf_says_what_the_model_saw(app: Page, camera, tmp_path: Path) -> None:
    signal = made.ecg(20)
    onsets = [i + 30 * (i >= 12) for i in range(20)]
    choose(app, tmp_path / "holter.edf", made.edf(signal, onsets_s=onsets))
    app.get_by_text("What the model saw").click()
    expect(app.get_by_text("interrupted for 30.0 s, from 00:00:12 to 00:00:42")).to_be_visible()
    table = app.get_by_role("region", name="Leads the model saw").get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(13)
    expect(table.get_by_role("row", name=re.compile("V1 measured ECG V1"))).to_be_visible()
    camera.take(app, "edf-seen")


def test_a_table_is_told_what_it_is_by_keyboard(app: Page, camera, tmp_path: Path) -> None:
    choose(app, tmp_path / "strip.npy", made.npy(made.ecg()))
    expect(app.get_by_text("What are the numbers in strip.npy?")).to_be_visible()
    app.get_by_role("button", name="I, II, III, aVR").press("Enter")
    # A person sees the leads appear before going on.
    expect(app.get_by_role("combobox", name="row 12")).to_have_value("V6")
    rate = app.get_by_role("spinbutton", name="Samples per second (Hz)")
    rate.fill("500")
    rate.press("Enter")
    unit = app.get_by_role("combobox", name="Unit of the numbers")
    raw = app.get_by_role("option", name="raw numbers")
    for _ in range(10):
        # The page may be drawn again for the rate just then, which closes the list.
        unit.press("ArrowDown")
        with suppress(TimeoutError):
            raw.wait_for(state="visible", timeout=3000)
            break
    raw.click()
    expect(unit).to_have_value("raw numbers")
    counts = app.get_by_role("spinbutton", name="Numbers for 1 mV")
    counts.fill("200")
    counts.press("Enter")
    expect(app.get_by_text("seconds", exact=True).first).to_be_attached()
    camera.take(app, "table-form")
    app.get_by_role("button", name="Open this recording").press("Enter")
    expect(app.get_by_text("What the model saw")).to_be_visible()
    expect(app.get_by_text("measured: all 12 leads")).to_be_visible()


def test_channels_that_name_no_lead_go_from_drop_to_picture_by_one_choice(
    app: Page, camera, tmp_path: Path
) -> None:
    signal = made.rows_of(made.ecg(20), ("II", "V5"))
    choose(app, tmp_path / "night.edf", made.edf(signal, leads=("ECG1", "ECG2")))
    expect(app.get_by_text("What are the channels in night.edf?")).to_be_visible()
    second = app.get_by_role("combobox", name="ECG2")
    expect(app.get_by_role("combobox", name="ECG1")).to_be_visible()
    lead = app.get_by_role("option", name="V5", exact=True)
    for _ in range(10):
        second.press("ArrowDown")
        with suppress(TimeoutError):
            lead.wait_for(state="visible", timeout=3000)
            break
    lead.click()
    camera.take(app, "edf-channels")
    app.get_by_role("button", name="Open this recording").click()
    app.get_by_text("What the model saw").click()
    table = app.get_by_role("region", name="Leads the model saw").get_by_role("table")
    expect(table.get_by_role("row", name=re.compile("V5 measured"))).to_be_visible()
