"""What people do with the app, from the first click to the picture, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from broken_uploads import sound_upload
from playwright.sync_api import Page, expect

from echoing_core import services
from echoing_core.io import write_wfdb

pytestmark = pytest.mark.browser

LEAD = re.compile(r"\b(I{1,3}|aV[RLF]|V[1-6]|all leads|limb leads|chest leads)\b", re.I)
WINDOW = re.compile(r"^Window (\S+) to (\S+)$")


def window_heading(app: Page) -> str:
    return app.get_by_role("heading", name=WINDOW).inner_text()


def wait_for_paper(app: Page, timeout_s: float = 60.0) -> None:
    """Until a window is chosen and its ECG paper drawn."""
    expect(app.get_by_role("heading", name=WINDOW)).to_be_visible(timeout=1000 * timeout_s)
    expect(app.locator(".st-key-ecg_paper .trace").first).to_be_attached()


def upload(app: Page, *files: Path) -> None:
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    wait_for_paper(app)


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


def open_sample(app: Page) -> None:
    app.get_by_role("button", name=services.samples()[0].title).click()
    wait_for_paper(app)


def test_a_sample_from_heatmap_to_window_by_keyboard(app: Page, camera) -> None:
    camera.take(app, "start")
    open_sample(app)
    camera.take(app, "sample")
    before = window_heading(app)
    slider = app.get_by_role("slider", name="Window starts at")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
    # The slider moves at once, the page follows each of the three steps in its own time.
    clock = slider.get_attribute("aria-valuetext")
    assert clock
    expect(app.get_by_role("heading", name=re.compile(f"^Window {clock} "))).to_be_visible()


def test_the_least_sure_window_says_which_leads_and_shows_them(app: Page, camera) -> None:
    open_sample(app)
    before = window_heading(app)
    app.locator(".st-key-unsure_0 button:visible").first.click()
    expect(app.get_by_role("heading", name=before, exact=True)).to_have_count(0)
    expect(app.locator(".st-key-window_line")).to_contain_text(LEAD)
    expect(app.locator(".st-key-reasons").get_by_role("listitem").first).to_be_visible()
    rows = app.locator(".st-key-overview canvas.picture")
    expect(rows).to_be_visible()
    box = rows.bounding_box()
    assert box is not None and box["height"] > 100 and box["width"] > 800
    # Colour behind the trace, as wide as the stretch it is about.
    expect(app.locator(".st-key-ecg_paper .cell").first).to_be_visible()
    camera.take(app, "least_sure")
    expect(app.locator(".st-key-ecg_paper .name[data-lead=aVF]")).to_be_visible()
    app.locator(".st-key-ecg_paper select[data-setting=layout]").select_option("12x1")
    expect(app.locator(".st-key-ecg_paper .trace[data-rhythm=true]")).to_have_count(0)
    camera.take(app, "least_sure_12x1")


def test_a_ptb_xl_record(app: Page, camera, shared_data: Path) -> None:
    header = next(iter(sorted((shared_data / "ptbxl" / "records100").rglob("*_lr.hea"))))
    upload(app, header, header.with_suffix(".dat"))
    expect(app.get_by_text("measured: all 12 leads")).to_be_visible()
    # Ten seconds open on the paper: how sure the model is stands in one line right above it, and
    # three rows of leads and more are seen without scrolling.
    line = app.locator(".st-key-window_line")
    expect(line).to_contain_text(re.compile(r"Uncertainty percentile \d+"))
    box, paper = line.bounding_box(), app.locator(".st-key-ecg_paper .box").bounding_box()
    assert box is not None and paper is not None
    assert paper["y"] - (box["y"] + box["height"]) < 130
    third = app.locator(".st-key-ecg_paper .name[data-lead=aVF]").bounding_box()
    assert third is not None and third["y"] < app.viewport_size["height"]  # type: ignore[index]
    expect(app.locator(".st-key-ecg_paper .trace[data-rhythm=true]")).to_have_count(1)
    camera.take(app, "ptbxl")


def test_ptb_s0010_re_with_twelve_and_frank_leads(app: Page, camera, shared_data: Path) -> None:
    folder = shared_data / "ptbdb_frank_xyz"
    upload(app, *(folder / f"s0010_re.{e}" for e in ("hea", "dat", "xyz")))
    expect(app.get_by_text("1000 → 100 Hz")).to_be_visible()
    expect(app.get_by_text("measured: all 12 leads")).to_be_visible()
    camera.take(app, "s0010_re")


def test_a_challenge_mat_file(app: Page, camera, shared_data: Path) -> None:
    matlab = next(iter(sorted((shared_data / "cinc2021_challenge").rglob("*.mat"))))
    upload(app, matlab.with_suffix(".hea"), matlab)
    expect(app.get_by_text("500 → 100 Hz")).to_be_visible()
    camera.take(app, "challenge_mat")


def test_mit_bih_208_names_its_missing_leads(app: Page, camera, shared_data: Path) -> None:
    folder = shared_data / "long_recordings" / "mitdb"
    upload(app, folder / "208.hea", folder / "208.dat")
    missing = "not recorded: I, III, aVR, aVL, aVF, V2, V3, V4, V5, V6"
    expect(app.get_by_text(missing, exact=True)).to_be_visible()
    expect(app.get_by_text("lead I was not recorded")).to_be_visible()
    camera.take(app, "mitdb_208")


def test_a_simulated_music_record_of_20_minutes_at_1000_hz(
    app: Page, camera, tmp_path: Path
) -> None:
    from echoing_core.simulate import simulate_long

    made = simulate_long(30_002, 1, duration_s=1196.0, fs_hz=1000.0, leads="xyz").recording
    files = write_wfdb(
        tmp_path,
        "P9001_H",
        made.signal_mv,
        made.fs_hz,
        made.lead_names,
        gain=200.0,
        comments=("simulated by EchoingECG",),
    )
    assert made.duration_s == 1196.0 and made.lead_names == ("X", "Y", "Z")
    upload(app, *files)
    expect(app.get_by_text("derived: all 12 leads")).to_be_visible()
    expect(app.get_by_text("1000 → 100 Hz · 19:56")).to_be_visible()
    expect(app.locator(".stMarkdownBadge:visible", has_text="simulated").first).to_be_visible()
    camera.take(app, "music")


def test_a_broken_upload_is_one_sentence_and_the_next_one_works(
    app: Page, camera, tmp_path: Path
) -> None:
    sound = sound_upload(seconds=20.0)
    for name, data in sound.items():
        (tmp_path / name).write_bytes(data)
    app.locator("input[type=file][multiple]").first.set_input_files(str(tmp_path / "rec.hea"))
    alert = app.get_by_test_id("stAlert").filter(has_text="rec.dat")
    expect(alert).to_have_count(1)
    assert "Traceback" not in app.content()
    camera.take(app, "broken")
    # The missing file is added to the one already chosen, as a person would do it.
    app.locator("input[type=file][multiple]").first.set_input_files(str(tmp_path / "rec.dat"))
    wait_for_paper(app)
    expect(alert).to_have_count(0)


def test_questions_and_neighbours_of_the_open_recording(app: Page, camera) -> None:
    open_sample(app)
    chosen = window_heading(app)
    go(app, "Ask")
    expect(app.get_by_role("table").first).to_be_visible()
    own = app.get_by_label("A question of your own")
    own.fill("left anterior fascicular block")
    app.get_by_role("button", name="Add question").click()
    # Once about the chosen window, once along the recording.
    row = app.get_by_role("row").filter(has_text="left anterior fascicular block")
    expect(row).to_have_count(2)
    assert re.search(r"\d–\d+(\.\d)? %|[<>] \d+ %", row.first.inner_text())
    camera.take(app, "ask")

    go(app, "Retrieve")
    expect(app.get_by_text("best match first")).to_be_visible()
    app.get_by_text("Show ECG 1", exact=True).click()
    paper = app.locator("[class*=st-key-paper_hit] img")
    expect(paper).to_be_visible()
    assert paper.evaluate("e => e.decode().then(() => e.naturalWidth > 900)")
    camera.take(app, "retrieve_words")
    app.get_by_text("This ECG → reports").click()
    expect(app.get_by_text("About which ten seconds")).to_be_visible()
    # Once: what was found before is gone.
    expect(app.get_by_text("nearest first")).to_have_count(1)
    camera.take(app, "retrieve_reports")

    go(app, "Model")
    expect(app.get_by_text("Fingerprint")).to_be_visible()
    camera.take(app, "model")

    go(app, "Explore")
    wait_for_paper(app)
    assert window_heading(app) == chosen


def test_the_track_can_be_taken_away(app: Page, tmp_path: Path) -> None:
    open_sample(app)
    app.locator(".st-key-take_away").get_by_text("Take it away", exact=True).click()
    app.get_by_role("tab", name="Table of windows").click()
    with app.expect_download() as download:
        app.get_by_role("button", name="Download CSV").click()
    target = tmp_path / "track.csv"
    download.value.save_as(target)
    table = np.genfromtxt(target, delimiter=",", names=True)
    assert len(table) == 1187
    assert ((table["percentile"] >= 0) & (table["percentile"] <= 100)).all()


def test_the_phone_menu_reaches_every_page(app: Page) -> None:
    app.set_viewport_size({"width": 390, "height": 844})
    for name, heading in (("Ask", "Ask about"), ("Model", "The model")):
        app.locator(".st-key-phone_menu").get_by_text(name, exact=True).click()
        expect(app.get_by_role("heading", name=re.compile(heading))).to_be_visible()
