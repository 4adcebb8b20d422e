"""The ECG paper and its calipers, measured on what Chromium drew."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from echoing_core.io import read_recording, write_wfdb
from echoing_core.io.wfdb.annotations import annotation_bytes
from echoing_core.records import LEADS, Annotations, RhythmSpan

pytestmark = pytest.mark.browser

F64 = npt.NDArray[np.float64]
BOLD = (0xEE, 0xB0, 0xB0)
START_S = 20.0
READING = re.compile(r"(\d+) ms · (\d+|–) bpm · ([+−][\d.]+) mV")
"""Of the sheet's own colours only the large boxes have this one."""

# Scale of the drawing: seconds by the beat marks, millivolts by the calibration pulse.
_SCALE = """paper => {
  const beats = [...paper.querySelectorAll('.beat')];
  const x = e => { const b = e.getBoundingClientRect(); return b.left + b.width / 2; };
  const [first, last] = [beats[0], beats[beats.length - 1]];
  const pulse = paper.querySelector('.pulse').getBBox();
  const drawn = paper.querySelector('.pulse').getScreenCTM();
  return {
    perS: (x(last) - x(first)) / (last.dataset.t - first.dataset.t),
    perMv: pulse.height * drawn.d,
    pxPerMm: Number(paper.dataset.pxPerMm),
    leads: [...paper.querySelectorAll('.trace[data-rhythm=false]')].map(e => e.dataset.lead),
    rhythm: [...paper.querySelectorAll('.trace[data-rhythm=true]')].map(e => e.dataset.lead),
  };
}"""


@pytest.fixture
def known_record(shared_data: Path, tmp_path: Path) -> tuple[list[Path], F64]:
    """Ten seconds of an annotated recording, and its annotated R peaks in seconds."""
    wfdb = pytest.importorskip("wfdb")
    source = shared_data / "nstdb" / "118e24"
    whole = read_recording(source.with_suffix(".hea"))
    begin = round(START_S * whole.fs_hz)
    cut = whole.signal_mv[:, begin : begin + round(10 * whole.fs_hz)]
    files = write_wfdb(tmp_path, "known", cut, whole.fs_hz, list(whole.lead_names))
    note = wfdb.rdann(str(source), "atr")
    peaks = note.sample[np.isin(note.symbol, list("NRVA"))] / whole.fs_hz - START_S
    return files, peaks[(peaks > 0) & (peaks < 10)]


def open_files(app: Page, files: list[Path]) -> Locator:
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    paper = app.locator(".st-key-ecg_paper .paper")
    expect(paper.locator(".trace").first).to_be_attached()
    return paper


def open_sample(app: Page, name: str = "Normal ECG") -> Locator:
    app.get_by_role("button", name=name).click()
    paper = app.locator(".st-key-ecg_paper .paper")
    expect(paper.locator(".trace").first).to_be_attached()
    return paper


def pixels(box: Locator) -> npt.NDArray[np.int64]:
    return np.asarray(Image.open(io.BytesIO(box.screenshot())).convert("RGB"), dtype=np.int64)


def period_px(profile: F64, near: float) -> float:
    """The distance of the bold lines in a profile of rows or columns: its strongest period."""
    at, height = np.arange(profile.size), profile - profile.mean()
    periods = np.linspace(0.95 * near, 1.05 * near, 1001)
    power = [abs(np.sum(height * np.exp(-2j * np.pi * at / period))) for period in periods]
    return float(periods[int(np.argmax(power))])


def test_one_scale_for_time_and_millivolts_by_the_pixels(app: Page) -> None:
    paper = open_sample(app)
    app.set_viewport_size({"width": 1440, "height": 2400})
    app.wait_for_timeout(800)
    shown = pixels(paper.locator(".box"))
    bold = np.abs(shown - np.array(BOLD)).sum(axis=2) < 40
    near = 5.0 * float(paper.get_attribute("data-px-per-mm") or 0)
    per_box_x, per_box_y = (period_px(bold.mean(axis=axis), near) for axis in (0, 1))
    # A large box is 0.2 s wide and 0.5 mV high: px per s to px per mV is 2.5.
    assert (per_box_x / 0.2) / (per_box_y / 0.5) == pytest.approx(2.5, rel=0.01)
    # The calibration pulse: two large boxes high, one wide.
    pulse, box = paper.locator(".pulse").first.bounding_box(), paper.locator(".box").bounding_box()
    assert pulse is not None and box is not None
    left, top = round(pulse["x"] - box["x"]) - 2, round(pulse["y"] - box["y"]) - 3
    ink = shown[top : top + round(pulse["height"]) + 6, left : left + round(pulse["width"]) + 4]
    dark = ink.sum(axis=2) < 300
    rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.sum(axis=0) > 10)
    line = 1.3
    assert rows[-1] - rows[0] + 1 - line == pytest.approx(2 * per_box_y, abs=1.2)
    assert columns[-1] - columns[0] + 1 - line == pytest.approx(per_box_x, abs=1.2)
    # What is drawn keeps to that grid.
    scale = paper.evaluate(_SCALE)
    assert scale["perS"] == pytest.approx(5 * per_box_x, rel=0.005)
    assert scale["perMv"] == pytest.approx(2 * per_box_y, rel=0.005)


def test_every_speed_gain_layout_and_zoom_keeps_its_ratio(app: Page) -> None:
    paper = open_sample(app)
    choose = {
        name: paper.locator(f"select[data-setting={name}]") for name in ("speed", "gain", "layout")
    }
    for width, layout in ((1440, "3x4"), (1440, "12x1"), (390, "6x2"), (390, "single")):
        app.set_viewport_size({"width": width, "height": 900})
        choose["layout"].select_option(layout)
        for speed, gain in ((25, 10), (12.5, 20), (50, 5)):
            choose["speed"].select_option(str(speed))
            choose["gain"].select_option(str(gain))
            for zoom in ("Zoom in", "Zoom to the usual size"):
                paper.get_by_role("button", name=zoom).click()
                app.wait_for_timeout(60)
                scale = paper.evaluate(_SCALE)
                assert scale["perS"] / scale["perMv"] == pytest.approx(speed / gain, rel=0.01)
                assert scale["perS"] == pytest.approx(speed * scale["pxPerMm"], rel=0.005)
        assert len(scale["leads"]) == len(set(scale["leads"])) == (1 if layout == "single" else 12)
        assert scale["rhythm"] == (["II"] if layout == "3x4" else [])
        main = app.get_by_test_id("stMain").evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert main[0] <= main[1]


def annotated_rr_ms(peaks: F64, first_s: float) -> float:
    """The annotated interval that begins nearest to a time."""
    i = int(np.abs(peaks[:-1] - first_s).argmin())
    return float(1000.0 * (peaks[i + 1] - peaks[i]))


def drawn_peaks_px(paper: Locator, lead: str) -> F64:
    """Where the R peaks of a lead are in the page, in px from the left of the window.

    By eye, so to say: the highest dark pixels of each complex in a picture of its row.
    """
    trace = paper.locator(f".trace[data-lead={lead}]").first
    trace.scroll_into_view_if_needed()
    box, view = trace.bounding_box(), paper.locator(".box").bounding_box()
    assert box is not None and view is not None
    left, right = (
        max(box["x"], view["x"] + 2),
        min(box["x"] + box["width"], view["x"] + view["width"] - 2),
    )
    clip = {"x": left, "y": box["y"] - 1, "width": right - left, "height": 0.35 * box["height"]}
    picture = np.asarray(
        Image.open(io.BytesIO(paper.page.screenshot(clip=clip))).convert("L"), dtype=float
    )
    columns = np.flatnonzero((picture < 110).any(axis=0))
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 20) + 1)
    return np.array([g.mean() for g in groups if g.size]) + left + 0.5


def test_an_interval_of_a_known_record_drawn_by_mouse(
    app: Page, known_record: tuple[list[Path], F64]
) -> None:
    files, peaks = known_record
    paper = open_files(app, files)
    paper.locator("select[data-setting=layout]").select_option("single")
    for _ in range(3):
        paper.get_by_role("button", name="Zoom in").click()
    app.wait_for_timeout(400)
    x = drawn_peaks_px(paper, "II")
    trace = paper.locator(".trace[data-lead=II]").bounding_box()
    assert trace is not None and x.size >= 3
    middle = trace["y"] + 0.5 * trace["height"]
    paper.get_by_role("button", name="Draw with the pointer").click()
    app.mouse.move(x[0], middle)
    app.mouse.down()
    app.mouse.move((x[0] + x[1]) / 2, middle - 5)
    app.mouse.move(x[1], middle - 10)
    app.mouse.up()
    said = paper.locator(".readings .words").inner_text()
    ms, bpm, mv = READING.search(said).groups()  # type: ignore[union-attr]
    scale = paper.evaluate(_SCALE)
    first_s = (x[0] - trace["x"]) / scale["perS"]
    assert abs(float(ms) - annotated_rr_ms(peaks, first_s)) <= 10
    assert abs(float(bpm) - 60_000 / float(ms)) < 1
    assert float(mv.replace("−", "-")) == pytest.approx(10 / scale["perMv"], abs=0.02)
    # An end can be taken up again, and all can be cleared.
    handle = paper.get_by_role("slider", name="Caliper 1, second end").bounding_box()
    assert handle is not None
    at = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    app.mouse.move(*at)
    app.mouse.down()
    app.mouse.move(at[0] + scale["perS"] / 10, at[1])
    app.mouse.up()
    expect(paper.locator(".readings .words")).to_contain_text(f"{int(ms) + 100} ms")
    paper.get_by_role("button", name="Clear").click()
    expect(paper.locator(".caliper")).to_have_count(0)


def focused(app: Page) -> str:
    """Name of what has the focus, through shadow roots."""
    return str(
        app.evaluate(
            """() => {
              let e = document.activeElement;
              while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
              return e.getAttribute('aria-label') || e.textContent;
            }"""
        )
    )


def test_calipers_by_keyboard_alone(app: Page, known_record: tuple[list[Path], F64]) -> None:
    files, peaks = known_record
    paper = open_files(app, files)
    # Chromium starts a walk with Tab where something was focused last.
    paper.locator("select[data-setting=layout]").focus()
    for _ in range(20):
        if focused(app) == "Add":
            break
        app.keyboard.press("Tab")
    assert focused(app) == "Add"
    app.keyboard.press("Enter")
    assert focused(app) == "Caliper 1, first end"
    status = paper.get_by_role("status")
    first = paper.get_by_role("slider", name="Caliper 1, first end")
    second = paper.get_by_role("slider", name="Caliper 1, second end")
    start_ms = int(first.get_attribute("aria-valuenow") or 0)
    # To the R peak nearest to where it appeared, then Enter for the very top.
    near = int(np.abs(peaks[:-1] - start_ms / 1000).argmin())

    def walk(to_ms: float, now_ms: float) -> None:
        large, small = divmod(abs(round(to_ms - now_ms)), 50)
        key = "ArrowRight" if to_ms > now_ms else "ArrowLeft"
        for _ in range(large):
            app.keyboard.press(f"Shift+{key}")
        for _ in range(small // 5):
            app.keyboard.press(key)

    walk(1000 * peaks[near] + 20, start_ms)
    app.keyboard.press("Enter")
    app.keyboard.press("Tab")
    assert focused(app) == "Caliper 1, second end"
    walk(1000 * peaks[near + 1] - 20, int(second.get_attribute("aria-valuenow") or 0))
    app.keyboard.press("Enter")
    app.keyboard.press("Shift+ArrowUp")
    expect(status).to_contain_text("Caliper 1, lead II: ")
    said = READING.search(status.inner_text())
    assert said is not None
    truth = 1000 * (peaks[near + 1] - peaks[near])
    assert abs(float(said[1]) - truth) <= 10
    assert said[1] in (second.get_attribute("aria-valuetext") or "")
    # March out, another lead, remove: all without a mouse.
    app.keyboard.press("m")
    assert paper.locator(".march").get_attribute("d")
    app.keyboard.press("PageDown")
    expect(status).to_contain_text("lead V1")
    app.keyboard.press("Delete")
    expect(status).to_contain_text("removed")
    assert focused(app) == "Add" and paper.locator(".caliper").count() == 0
    # What the calipers measured, the beat marks say too.
    marks = [float(e) for e in paper.locator(".rr").all_text_contents()[:-1]]
    assert np.abs(np.array(marks)[:, np.newaxis] - truth).min() <= 10


def test_the_file_s_own_beats_stand_over_the_paper(
    app: Page, known_record: tuple[list[Path], F64]
) -> None:
    files, peaks = known_record
    said = Annotations(
        beat_s=peaks,
        beat_symbols=np.array(["V" if i == 3 else "N" for i in range(len(peaks))]),
        rhythms=(RhythmSpan(0.0, 10.0, "AFIB"),),
        measurements={"qt_ms": 398.0},
        statements=("Atrial fibrillation",),
    )
    marks = files[0].with_suffix(".atr")
    marks.write_bytes(annotation_bytes(said, 360.0))
    paper = open_files(app, [*files, marks])
    letters = paper.locator(".device[data-t]")
    expect(letters).to_have_count(len(peaks))
    assert [letters.nth(i).text_content() for i in range(5)] == ["N", "N", "N", "V", "N"]
    # At their own times, on the scale of the paper.
    places = letters.evaluate_all(
        "all => all.map(e => { const b = e.getBoundingClientRect(); "
        "return [Number(e.dataset.t), b.left + b.width / 2]; })"
    )
    times, x = np.array(places).T
    np.testing.assert_allclose(times, peaks, atol=0.002)
    np.testing.assert_allclose(
        np.diff(x) / np.diff(times), paper.evaluate(_SCALE)["perS"], rtol=0.02
    )
    expect(paper.get_by_text("The file: atrial fibrillation")).to_be_visible()
    app.get_by_text("Beats, measurements and statements in the file").click()
    expect(app.get_by_text("398 ms")).to_be_visible()


def heights_mm(paper: Locator, lead: str) -> F64:
    """Where a trace is on the page, in mm from its top, point by point."""
    path = paper.locator(f".trace[data-lead={lead}][data-rhythm=false]").get_attribute("d") or ""
    return np.array([float(y) for y in re.findall(r"[ML][\d.-]+ ([\d.-]+)", path)])


def test_a_noisy_lead_is_cut_with_a_mark_and_absent_leads_take_no_room(
    app: Page, tmp_path: Path
) -> None:
    time_s = np.arange(5000) / 500
    beat = 0.9 * np.exp(-((((time_s + 0.4) % 0.8) - 0.4) ** 2) / 0.0004)
    signal = np.tile(beat, (12, 1))
    # V2 stands between V1 and V3 and is without contact for its part of the page.
    signal[7] += 9.0 * np.sin(2 * np.pi * 3.0 * time_s) * ((time_s > 5) & (time_s < 7.5))
    paper = open_files(app, write_wfdb(tmp_path, "loose", signal, 500.0, list(LEADS)))
    cuts = paper.locator(".cut")
    expect(cuts.first).to_be_attached()
    assert set(cuts.evaluate_all("all => all.map(e => e.dataset.lead)")) == {"V2"}
    noisy, above, below = (heights_mm(paper, lead) for lead in ("V2", "V1", "V3"))
    # Nowhere beyond the zero lines of its neighbours, of which all is there to be seen.
    assert noisy.min() > np.median(above) and noisy.max() < np.median(below)
    assert 5.0 < np.ptp(above) < 12.0
    # Two leads: two rows of ten seconds, and the others named instead of drawn empty.
    app.get_by_text("Open another recording").click()
    files = write_wfdb(tmp_path, "two", signal[[1, 6]], 500.0, ["II", "V1"])
    app.locator("input[type=file][multiple]").first.set_input_files([str(f) for f in files])
    expect(paper.locator(".scale")).to_contain_text("not recorded: I, III, aVR")
    scale = paper.evaluate(_SCALE)
    assert (scale["leads"], scale["rhythm"]) == (["II", "V1"], [])
    assert paper.locator(".name").count() == 2
