"""The page Echo without a browser: a clip beside an ECG, and clips that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_teacher import fake_reader
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.io.echo.avi import write_avi
from echoing_core.records import EchoClip
from ui import resources

OpenApp = Callable[[], AppTest]

PAGE = "pages/echo.py"


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A teacher without weights: opening a real one takes seconds."""
    monkeypatch.setattr(services, "load_echo_reader", lambda: fake_reader(256))
    resources.echo_reader.clear()
    yield
    resources.echo_reader.clear()


def avi(folder: Path, n_frames: int, *, simulated: bool) -> bytes:
    frames = np.random.default_rng(1).integers(0, 256, (n_frames, 32, 32, 3), np.uint8)
    write_avi(folder / "x.avi", EchoClip(frames, 25.0, "x", simulated=simulated))
    return (folder / "x.avi").read_bytes()


def upload(app: AppTest, name: str, data: bytes) -> AppTest:
    chosen = next(u for u in app.file_uploader if "echo_files" in str(u.key))
    return chosen.set_value([(name, data, "application/octet-stream")]).run()


def words(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.info, *app.warning, *app.header]
    tables = [h.proto.body for h in app.get("html")]
    # As a person reads it: without what keeps Markdown from being read into names.
    return "\n".join([*(str(e.value) for e in shown), *tables]).replace("\\", "")


def test_the_sample_pair_is_read_and_compared(open_app: OpenApp) -> None:
    pair = next(s for s in services.samples() if s.echo_paths)
    app = open_app().switch_page(PAGE).run()
    assert not app.exception and not app.error
    assert "Open a recording on Explore" in words(app)
    # The page alone opens the ECG of the sample, too.
    app.button(key=f"echo_ecg_{pair.sample_id}").click().run()
    assert app.session_state["record"].recording.record_id == pair.sample_id
    app.button(key=f"echo_sample_{pair.sample_id}").click().run()
    assert not app.exception and not app.error
    told = words(app)
    read = app.session_state["echo_read"]
    assert [clip.view for clip in read.reading.clips] == ["a4c", "plax", "psax"]
    assert "simulated echocardiogram" in told and "stand-in trained on simulated echo" in told
    assert f"{read.reading.lvef_pct:.0f} %" == app.metric[0].value
    assert "was not trained with this echo teacher" in told
    for question in ("LVEF &lt; 40 %", "Severe LV hypertrophy", "Dilated left ventricle"):
        assert told.count(question) >= 2
    # It stays when another page was looked at.
    app.switch_page("pages/ask.py").run()
    app.switch_page(PAGE).run()
    assert app.session_state["echo_read"] is read and app.metric


def test_what_cannot_be_read_is_one_sentence_and_a_real_clip_is_not_believed(
    open_app: OpenApp, tmp_path: Path
) -> None:
    app = open_app().switch_page(PAGE).run()
    for name, data, sentence in (
        ("<b>cut</b>.avi", avi(tmp_path, 12, simulated=True)[:700], "not an AVI video"),
        ("empty.dcm", b"\0" * 200, "not a DICOM file"),
        ("still.avi", avi(tmp_path, 1, simulated=True), "moving picture"),
    ):
        app = upload(app, name, data)
        assert not app.exception
        (error,) = app.error
        assert sentence in error.value.replace("\\", "") and "<b>" not in error.value
        assert not app.metric
    app = upload(app, "real.avi", avi(tmp_path, 12, simulated=False))
    assert not app.exception and not app.error
    assert any("not to be believed" in w.value for w in app.warning)
    assert "Open a recording to hold it against" in words(app)
