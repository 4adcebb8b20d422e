"""Compare and Batch without a browser: what they say, and that no session sees another's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace

import broken_uploads as broken
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.services import BatchJob
from ui.batch import results

OpenApp = Callable[[], AppTest]

pytestmark = pytest.mark.filterwarnings("ignore:missing ScriptRunContext")


def sound(*names: str) -> list[tuple[str, bytes]]:
    return [item for name in names for item in broken.sound_upload(name, seconds=12.0).items()]


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def sample(start: str) -> str:
    return next(s.title for s in services.samples() if s.title.startswith(start))


def markup(app: AppTest) -> str:
    return "\n".join(h.proto.body for h in app.get("html"))


def batch_of(app: AppTest, *names: str) -> AppTest:
    """Upload, start, and wait until the thread is through."""
    app.switch_page("pages/batch.py").run()
    files = [(name, data, "application/octet-stream") for name, data in sound(*names)]
    app.file_uploader[0].set_value(files).run()
    app.button(key="batch_start").click().run()
    job: BatchJob = app.session_state["batch_job"]
    job.wait(120)
    return app.run()


@pytest.fixture
def normal(open_app: OpenApp) -> AppTest:
    app = press(open_app(), sample("Normal"))
    return app.switch_page("pages/compare.py").run()


def test_nothing_open_leads_to_explore(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/compare.py").run()
    assert not app.exception and "Open a recording to compare" in app.info[0].value


def test_two_recordings_beside_each_other(normal: AppTest) -> None:
    app = press(normal, sample("Left bundle"))
    assert not app.exception and not app.error
    text = " ".join(m.value for m in app.markdown)
    assert "SIM\\_NORMAL" in text and "SIM\\_LBBB" in text
    assert "of 100** cases" in text and "two people" in text
    table = markup(app)
    assert "Intervals" in table and ("apart" in table or "overlap" in table)
    drawn = [c for c in app.get("bidi_component") if c.proto.component_name == "ecg_paper"]
    assert len(drawn) == 2
    # The second recording stays when another page was looked at; Explore keeps the first.
    app.switch_page("pages/explore.py").run()
    app.switch_page("pages/compare.py").run()
    assert app.session_state["compare_second"].explanation.recording_id == "SIM_LBBB"
    assert app.session_state["record"].explanation.recording_id == "SIM_NORMAL"


@pytest.mark.slow
def test_of_a_second_recording_too_it_is_asked_which_lead_a_channel_is(normal: AppTest) -> None:
    files = broken.sound_upload("night", names=("ECG1", "ECG2"), seconds=12.0)
    upload = [(name, data, "application/octet-stream") for name, data in files.items()]
    app = normal.file_uploader[0].set_value(upload).run()
    assert not app.exception and not app.error
    assert any("What are the channels" in m.value for m in app.markdown)
    app.button(key="read_table").click().run()
    assert not app.exception and not app.error
    second = app.session_state["compare_second"].explanation
    assert second.ecg.leads_with("measured") == ("II", "V5")
    assert not any("What are the channels" in m.value for m in app.markdown)


def test_a_second_recording_that_cannot_be_read_is_one_sentence(normal: AppTest) -> None:
    header = dict(sound("x"))["x.hea"]
    normal.file_uploader[0].set_value([("x.hea", header, "text/plain")]).run()
    assert not normal.exception
    assert len(normal.error) == 1 and "x\\.dat" in normal.error[0].value


@pytest.mark.slow
def test_two_times_of_one_recording(open_app: OpenApp) -> None:
    app = press(open_app(), sample("30-minute")).switch_page("pages/compare.py").run()
    kind = next(c for c in app.get("button_group") if c.key == "compare_kind")
    kind.set_value("times").run()
    assert not app.exception and not app.error
    track = app.session_state["record"].explanation.track
    a, b = (app.session_state[f"compare_{letter}"][1] for letter in "AB")
    assert track.uncertainty[b] == max(track.uncertainty) and a != b
    # The least sure window is not called different, but too noisy for that.
    shown = "\n".join(e.value for e in [*app.markdown, *app.warning, *app.info])
    assert "B is too noisy to compare" in shown and "within this recording" not in shown
    # So it has no distance, and what was measured of it is no headline.
    assert "Distance (CSD)" not in "\n".join(e.value for e in app.caption)
    assert "What was measured all the same" in [e.label for e in app.expander]
    app.button(key="compare_B_best").click().run()
    assert app.session_state["compare_B"][1] == services.most_sure_window(track)
    last = datetime(2000, 1, 1) + timedelta(seconds=float(track.start_s[-1]))
    app.slider(key="compare_A_start").set_value(last).run()
    assert app.session_state["compare_A"][1] == len(track) - 1
    assert any("within this recording" in m.value for m in app.markdown)


def test_a_batch_with_a_broken_file(open_app: OpenApp) -> None:
    app = open_app()
    app.switch_page("pages/batch.py").run()
    files = [*sound("one", "two"), ("<b>three</b>.edf", b"0")]
    app.file_uploader[0].set_value([(n, d, "application/octet-stream") for n, d in files]).run()
    app.checkbox(key="batch_measured").check().run()
    app.button(key="batch_start").click().run()
    app.session_state["batch_job"].wait(120)
    app.run()
    assert not app.exception and not app.error
    table = app.dataframe[0].value
    assert table["Recording"].tolist() == ["one", "two"]
    assert {"Surest", "Median", "Unsure %", "bpm", "Measured", "Reason"} <= set(table.columns)
    assert table["bpm"].round().tolist() == [60, 60]
    # What is not measurable is empty, and says why at the end of the row.
    assert (table["QRS"] > 0).all() and table["PR"].isna().all()
    assert table["Not measurable"].str.contains("PR").all()
    # One column for each question, with its probability or score.
    asked = [prompts.question for prompts in app.session_state["batch_job"].questions]
    assert asked and not any(name.endswith(", %") for name in table.columns)
    for question in asked:
        assert table[question].str.fullmatch(r"(score \d+|([<>] )?\d+ %), .+").all()
    failures = [m.value for m in app.markdown if "three" in m.value]
    assert failures and "<b>" not in failures[0].replace("\\<b\\>", "")
    # A row opens on Explore, and the results are still there afterwards.
    app.selectbox(key="batch_row").set_value(1).run()
    app.button(key="batch_open_row").click().run()
    assert app.session_state["record"].recording.record_id == "two"
    app.switch_page("pages/batch.py").run()
    assert len(app.dataframe[0].value) == 2
    app.button(key="batch_forget").click().run()
    assert "batch_job" not in app.session_state and not app.dataframe


def test_the_least_sure_recording_comes_first() -> None:
    def row(percentile: float) -> services.BatchRow:
        return SimpleNamespace(median_percentile=percentile)  # type: ignore[return-value]

    rows = (row(20.0), row(95.0), row(float("nan")), row(50.0))
    shown = [r.median_percentile for r in results.unsure_first(rows)]
    assert np.isnan(shown[0]) and shown[1:] == [95.0, 50.0, 20.0]


def test_two_sessions_never_see_each_others_rows(open_app: OpenApp) -> None:
    one, other = open_app(), open_app()
    one = batch_of(one, "ann_1", "ann_2")
    other = batch_of(other, "bob_1")
    assert one.dataframe[0].value["Recording"].tolist() == ["ann_1", "ann_2"]
    assert other.dataframe[0].value["Recording"].tolist() == ["bob_1"]
    third = open_app().switch_page("pages/batch.py").run()
    assert "batch_job" not in third.session_state and not third.dataframe
    assert one.session_state["batch_job"] is not other.session_state["batch_job"]


def test_what_was_found_is_kept_when_cancelled(open_app: OpenApp) -> None:
    app = open_app()
    app.switch_page("pages/batch.py").run()
    names = [f"r{i:02d}" for i in range(40)]
    files = [(n, d, "application/octet-stream") for n, d in sound(*names)]
    app.file_uploader[0].set_value(files).run()
    app.button(key="batch_start").click().run()
    job: BatchJob = app.session_state["batch_job"]
    app.button(key="batch_cancel").click().run()
    job.wait(120)
    app.run()
    assert not app.exception and job.stopped and len(job.rows) < 40
    assert any("Stopped after" in w.value for w in app.warning)
