"""A report of a record that was asked, a session that comes back, a link that is followed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from broken_uploads import sound_upload
from playwright.sync_api import BrowserContext, Page, expect

from echoing_core import services
from echoing_core.io import write_wfdb

pytestmark = pytest.mark.browser

WINDOW = re.compile(r"^Window (\S+) to (\S+)$")


def upload(app: Page, *files: Path) -> None:
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    expect(app.get_by_role("heading", name=WINDOW)).to_be_visible()


def go(app: Page, name: str) -> None:
    app.get_by_test_id("stTopNavLinkContainer").get_by_text(name, exact=True).click()


def take_away(app: Page, tab: str) -> None:
    box = app.locator(".st-key-take_away")
    tab_there = box.get_by_role("tab", name=tab)
    if not tab_there.is_visible():
        box.get_by_text("Take it away", exact=True).click()
    tab_there.click()


def ptb_xl_record(folder: Path, repo_root: Path) -> tuple[Path, ...]:
    """A record of PTB-XL where the shared data are, else a simulated one in its form."""
    shared = repo_root.parent / "shared" / "data" / "ptbxl" / "records100"
    headers = sorted(shared.rglob("*_lr.hea"))
    if headers:
        return headers[0], headers[0].with_suffix(".dat")
    from echoing_core.simulate import simulate_long

    made = simulate_long(30_003, 1, duration_s=10.0, fs_hz=100.0, leads="12").recording
    return write_wfdb(
        folder, "00001_lr", made.signal_mv, made.fs_hz, made.lead_names, gain=1000.0,
        comments=("simulated by EchoingECG",),
    )  # fmt: skip


def test_three_questions_of_a_ptb_xl_record_and_the_html_report(
    app: Page, camera, tmp_path: Path, repo_root: Path
) -> None:
    files = ptb_xl_record(tmp_path, repo_root)
    upload(app, *files)
    go(app, "Ask")
    add = app.get_by_role("button", name="Add to the report")
    expect(add).to_be_visible()
    questions = [p.question for p in services.prompt_sets()[:3]]
    for words in questions:
        expect(app.get_by_role("rowheader", name=words, exact=True)).to_be_visible()
    add.click()
    expect(app.get_by_role("button", name="In the report")).to_be_visible()
    go(app, "Explore")
    take_away(app, "Report")
    expect(app.get_by_text("answers about").first).to_be_visible()
    camera.take(app, "take_away_report")
    with app.expect_download() as download:
        app.get_by_role("button", name="Report as HTML").click()
    target = tmp_path / "report.html"
    download.value.save_as(target)
    text = target.read_text(encoding="utf-8")
    assert files[0].stem not in text and download.value.suggested_filename == "recording.html"
    assert_opens_alone(app.context, target, questions)


def assert_opens_alone(context: BrowserContext, file: Path, questions: list[str]) -> None:
    """The file by itself: it asks for nothing, fits a phone, and its paper is to scale."""
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(file.as_uri())
    assert asked == [file.as_uri()] and said == []
    for words in questions:
        expect(page.get_by_role("cell", name=words, exact=True).first).to_be_visible()
    wide, shown = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown
    # The shape without the breadth of its line, in pixels.
    size = "e => [e.getBBox().width * e.getScreenCTM().a, e.getBBox().height * e.getScreenCTM().d]"
    pulse_width, per_mv = page.locator("path.calibration").first.evaluate(size)
    # The rhythm strip holds all of it, a lead of 3x4 a quarter.
    width = max(strip.evaluate(size)[0] for strip in page.locator("path.lead-II").all())
    per_s = width / 9.99
    assert per_s / per_mv == pytest.approx(2.5, rel=0.01)
    # A pixel is 1/96 inch: the paper has its true size, and so has the pulse with its two feet.
    assert per_mv == pytest.approx(10 / 25.4 * 96, rel=0.01)
    assert pulse_width == pytest.approx(6.4 / 25.4 * 96, rel=0.02)
    page.close()


def test_a_session_file_comes_back(app: Page, camera, tmp_path: Path) -> None:
    for name, data in sound_upload(seconds=40.0).items():
        (tmp_path / name).write_bytes(data)
    files = [tmp_path / "rec.hea", tmp_path / "rec.dat"]
    upload(app, *files)
    slider = app.get_by_role("slider", name="Window starts at")
    slider.focus()
    slider.press("End")
    expect(app.get_by_role("heading", name="Window 00:30 to 00:40")).to_be_visible()
    go(app, "Retrieve")
    text = app.get_by_role("textbox", name="What should the ECG show?")
    text.fill("paced rhythm")
    text.press("Enter")
    expect(app.get_by_text(re.compile("paced rhythm.* is read as"))).to_be_visible()
    go(app, "Explore")
    take_away(app, "Session and link")
    expect(app.get_by_text("Leads to this page")).to_be_visible()
    camera.take(app, "take_away_session")
    with app.expect_download() as download:
        app.get_by_role("button", name="Save session").click()
    saved = tmp_path / "session.json"
    download.value.save_as(saved)
    # A new session of the browser: first the file, then the recording.
    app.reload()
    app.get_by_text("Go on with a saved session").click()
    app.locator("input[type=file]:not([multiple])").last.set_input_files(str(saved))
    expect(app.get_by_text("Open the recording of this session")).to_be_visible()
    upload(app, *files)
    expect(app.get_by_role("heading", name="Window 00:30 to 00:40")).to_be_visible()
    go(app, "Retrieve")
    expect(app.get_by_role("textbox", name="What should the ECG show?")).to_have_value(
        "paced rhythm"
    )


def test_a_link_leads_to_page_and_settings(app: Page, server: str) -> None:
    app.goto(f"{server}/retrieve?find_k=2&find_order=cosine&find_text=a+name")
    expect(app.get_by_text("2 of")).to_be_visible()
    app.get_by_text("Order and filters").click()
    expect(app.get_by_role("radio", name="similarity alone (cosine)")).to_be_checked()
    expect(app.get_by_role("textbox", name="What should the ECG show?")).not_to_have_value("a name")
