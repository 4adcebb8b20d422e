"""Each page opens, one journey each, and nothing that a person uploads breaks the app."""

from __future__ import annotations

import html
import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit as st
from broken_uploads import broken_uploads, sound_upload
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.errors import SignalQualityError
from echoing_core.io import looking
from echoing_core.records import LEADS

OpenApp = Callable[[], AppTest]
DISCLAIMER = "Research use only, not a medical device"
PAGES = ("explore", "ask", "retrieve", "echo", "model")


def words(app: AppTest) -> str:
    """All Markdown, headings, captions and badges of the page."""
    return "\n".join(str(e.value) for e in [*app.title, *app.header, *app.markdown, *app.caption])


def paper_of(app: AppTest) -> dict[str, Any]:
    """What the ECG paper was given to draw."""
    (paper,) = (c for c in app.get("bidi_component") if c.proto.component_name == "ecg_paper")
    data: dict[str, Any] = json.loads(paper.proto.json)
    return data


def map_of(app: AppTest) -> dict[str, Any]:
    """What the uncertainty map was given to draw."""
    (drawn,) = (c for c in app.get("bidi_component") if c.proto.component_name == "uncertainty_map")
    data: dict[str, Any] = json.loads(drawn.proto.json)
    return data


def is_sound(app: AppTest) -> bool:
    return not app.exception and not app.error


def upload(app: AppTest, files: Mapping[str, bytes]) -> AppTest:
    chosen = [(name, data, "application/octet-stream") for name, data in files.items()]
    return app.file_uploader[0].set_value(chosen).run()


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def open_first_sample(app: AppTest) -> AppTest:
    return press(app, services.samples()[0].title)


def open_short_sample(app: AppTest) -> AppTest:
    """Ten seconds: one window."""
    return press(app, next(s.title for s in services.samples() if "10 s" in s.description))


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.slow
def test_every_page_opens_and_says_that_it_is_for_research(open_app: OpenApp, name: str) -> None:
    app = open_app().switch_page(f"pages/{name}.py").run()
    assert is_sound(app)
    assert DISCLAIMER in words(app)


def test_a_page_opened_first_of_all_comes_through_the_router(repo_root: Path) -> None:
    # As after a start of the server, when nobody has opened app.py yet.
    app = AppTest.from_file(str(repo_root / "app.py"), default_timeout=120)
    app.switch_page("pages/model.py").run()
    assert is_sound(app) and PagesManager.uses_pages_directory is False
    assert len(app.get("page_link")) >= len(PAGES)


@pytest.mark.slow
def test_a_sample_is_opened_and_windows_are_chosen(open_app: OpenApp) -> None:
    app = open_first_sample(open_app())
    assert is_sound(app)
    track = app.session_state["record"].explanation.track
    assert app.session_state["window"] == services.most_sure_window(track)
    assert services.samples()[0].simulated and "simulated" in words(app)
    # By keyboard: the slider moves by one window.
    app.slider(key="window_start").set_value(datetime(2000, 1, 1)).run()
    # What the person moved is not set again: that would take back a faster press.
    assert not app.slider(key="window_start").proto.set_value
    assert app.session_state["window"] == 0 and "Window 00:00 to 00:10" in words(app)
    # By the list of the least sure windows.
    app.button(key="unsure_0").click().run()
    least = int(np.argmax(track.uncertainty))
    assert app.session_state["window"] == least
    assert app.slider(key="window_start").proto.set_value
    assert app.slider(key="window_start").value.second == int(track.start_s[least]) % 60
    assert is_sound(app)


@pytest.mark.slow
def test_the_chosen_window_is_explained(open_app: OpenApp) -> None:
    app = open_first_sample(open_app())
    # It opens at its surest window, where there is nothing to explain or to colour.
    assert "Nothing stands out" in words(app)
    assert paper_of(app)["cells"] is None
    app.button(key="unsure_0").click().run()
    assert is_sound(app)
    explanation = app.session_state["record"].explanation
    window = app.session_state["window"]
    report = services.window_reasons(services.load_model(), explanation, [window])[window]
    assert report.leads and report.sentence in words(app).replace("\\", "")
    bars = next(h.proto.body for h in app.get("html") if "shares" in h.proto.body)
    largest = LEADS[int(np.argmax(report.share_by_lead))]
    assert f"<span>{largest}</span>" in bars
    coloured = paper_of(app)["cells"][LEADS.index(largest)]
    assert any(level is not None and level >= 75 for level in coloured)


@pytest.mark.slow
def test_an_upload_is_read_once_and_survives_other_pages(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    read = looking.read_recording

    def counted(files: object, **told: object) -> object:
        reads.append(1)
        return read(files, **told)  # type: ignore[arg-type]

    monkeypatch.setattr(looking, "read_recording", counted)
    app = upload(open_app(), sound_upload("my_record", seconds=30.0))
    assert is_sound(app) and "my\\_record" in words(app)
    record = app.session_state["record"]
    for page in ("ask", "retrieve", "model", "explore"):
        app.switch_page(f"pages/{page}.py").run()
        assert is_sound(app)
        assert app.session_state["record"] is record
    assert len(reads) == 1


def test_missing_leads_are_named(open_app: OpenApp) -> None:
    app = upload(open_app(), sound_upload(names=("II", "V1"), seconds=20.0))
    assert is_sound(app)
    text = words(app)
    assert "measured: II, V1" in text and "lead I was not recorded" in text
    missing = [lead for lead in LEADS if lead not in ("II", "V1")]
    assert f"not recorded: {', '.join(missing)}" in text
    assert map_of(app)["leads"] is not None


@pytest.mark.slow
def test_each_broken_upload_ends_in_one_sentence_and_the_app_goes_on(open_app: OpenApp) -> None:
    app = open_app()
    tried = asked = 0
    for broken in broken_uploads():
        if not broken.files:
            continue  # nothing chosen: nothing happens
        upload(app, broken.files)
        assert not app.exception, broken.name
        if {button.key for button in app.button} & {"read_table", "open_record"}:
            # What the files do not say is asked for, and nothing opened yet.
            assert not app.error and "record" not in app.session_state, broken.name
            assert broken.error is not SignalQualityError, broken.name
            asked += 1
            app.file_uploader[0].set_value([]).run()
            continue
        assert len(app.error) == 1, broken.name
        sentence = app.error[0].value.replace("\\", "")
        assert broken.expected in sentence, broken.name
        assert "Traceback" not in sentence and "/tmp" not in sentence, broken.name
        app.file_uploader[0].set_value([]).run()
        assert is_sound(app), broken.name
        tried += 1
    assert tried >= 60 and 15 <= asked <= 30
    upload(app, sound_upload())
    assert is_sound(app) and "record" in app.session_state


def test_a_broken_upload_leaves_the_open_recording_alone(open_app: OpenApp) -> None:
    app = upload(open_app(), sound_upload())
    record = app.session_state["record"]
    upload(app, {"rec.hea": b""})
    assert len(app.error) == 1 and not app.exception
    assert app.session_state["record"] is record
    # The same files are not complained about twice, nor read again.
    app.run()
    assert len(app.error) == 1


def test_an_unexpected_failure_is_a_plain_sentence(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(looking, "read_recording", fail)
    with caplog.at_level(logging.ERROR):
        app = upload(open_app(), sound_upload())
    assert not app.exception and len(app.error) == 1
    assert "did not expect" in app.error[0].value
    assert "secret detail" not in app.error[0].value + caplog.text
    # Where it came from, and nothing that was read.
    assert "unexpected RuntimeError at io/looking.py" in caplog.text


def test_markup_in_names_and_questions_stays_text(open_app: OpenApp) -> None:
    app = open_short_sample(open_app()).switch_page("pages/ask.py").run()
    markup = "<script>alert(1)</script> **bold** $x$"
    app.text_input[0].set_value(markup)
    press(app, "Add question")
    (refusal,) = [e.value for e in app.error]
    assert "not a word for a finding" in refusal and "<script>" not in refusal
    # In quotation marks it is asked as it stands.
    app.text_input[0].set_value(f'"{markup}"')
    press(app, "Add question")
    assert is_sound(app)
    shown = [m.value for m in app.markdown if "script" in m.value]
    assert all("<script>" not in text.replace("\\<", "") for text in shown)


@pytest.mark.slow
def test_questions_are_answered_reworded_and_added(open_app: OpenApp) -> None:
    app = open_short_sample(open_app()).switch_page("pages/ask.py").run()
    shipped = services.prompt_sets()
    assert is_sound(app) and len(app.table[0].value) == len(shipped)
    before = app.table[0].value.iloc[0].tolist()
    # Two empty sides cannot be asked: a sentence, and the other questions are still answered.
    name = shipped[0].name
    app.text_area(key=f"wording_positive_{name}").set_value("").run()
    assert not app.exception and len(app.error) == 1
    assert len(app.table[0].value) == len(shipped) - 1
    # Other wording, another answer.
    negative = app.text_area(key=f"wording_negative_{name}").value
    app.text_area(key=f"wording_positive_{name}").set_value(negative.replace("normal", "healthy"))
    app.run()
    assert app.table[0].value.iloc[0].tolist() != before
    press(app, "Back to the original wording")
    assert app.table[0].value.iloc[0].tolist() == before
    # A question of one's own, with a word that no report held.
    app.text_input[0].set_value('"zebrafish arrhythmia"')
    press(app, "Add question")
    assert is_sound(app)
    assert app.table[0].value.iloc[-1].iloc[0] == "zebrafish arrhythmia"
    # Said beside its row, in the table of answers.
    assert any("zebrafish" in e.proto.body and "⚠" in e.proto.body for e in app.get("html"))


@pytest.mark.slow
def test_the_chosen_window_is_the_one_asked(open_app: OpenApp) -> None:
    app = open_first_sample(open_app())
    app.button(key="unsure_0").click().run()
    app.switch_page("pages/ask.py").run()
    surest = app.table[0].value
    app.radio(key="ask_window").set_value("chosen").run()
    assert is_sound(app)
    assert not app.table[0].value.equals(surest)


@pytest.mark.slow
def test_words_find_ecgs_and_filters_hold(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    assert is_sound(app)
    model = services.load_model()
    index = services.load_index(model=model)
    text = app.text_input(key="find_text").value
    hits = services.search(index, model, text, 10)
    # What matched is in bold.
    shown = words(app).replace("\\", "").replace("**", "")
    assert all(" ".join(hit.report.split()) in shown for hit in hits)
    app.slider(key="find_k").set_value(3).run()
    assert sum(t.label.startswith("Show ECG") for t in app.toggle) == 3
    app.radio(key="find_order").set_value("cosine").run()
    assert is_sound(app) and app.session_state["find_order"] == "cosine"
    app.slider(key="find_percentile").set_value(0).run()
    assert is_sound(app)
    app.slider(key="find_percentile").set_value(100).run()
    next(t for t in app.toggle if t.label.startswith("Show ECG")).set_value(True).run()
    assert is_sound(app)
    assert sum("hit_paper" in h.proto.body for h in app.get("html")) == 1


def test_the_open_recording_finds_reports_and_ecgs(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    mode = next(c for c in app.get("button_group") if c.key == "find_mode")
    mode.set_value("reports").run()
    assert any("Open a recording" in i.value for i in app.info)
    app.switch_page("pages/explore.py").run()
    open_short_sample(app).switch_page("pages/retrieve.py").run()
    for wanted in ("reports", "ecgs"):
        next(c for c in app.get("button_group") if c.key == "find_mode").set_value(wanted).run()
        assert is_sound(app)
        assert sum(t.label.startswith("Show ECG") for t in app.toggle) == 10


def test_the_model_page_tells_its_hash_and_card(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/model.py").run()
    model = services.load_model()
    assert app.code[0].value == model.hash
    # It begins with what the model can and cannot do, the limits of its card among that.
    first, second = (e.value for e in app.header[:2])
    assert first.endswith("What it can do") and second.endswith("What it cannot do")
    assert next(m.value for m in app.markdown if "Small model, small data" in m.value)
    # Nothing of the card is lost: its headings two levels lower or those of what is folded, its
    # tables as tables.
    folded = [e.label for e in app.expander]
    assert "Every training setting" in folded and "Held-out figures" in folded
    said = words(app) + " ".join(f"## {label}" for label in folded)
    tables = " ".join(h.proto.body for h in app.get("html"))
    for line in model.card_markdown.splitlines():
        if line.startswith("|"):
            cells = [html.escape(cell.strip().strip("*`")) for cell in line.strip("|").split("|")]
            assert all(cell in tables for cell in cells if set(cell) - set("-: ")), line
        else:
            assert line.strip() in said, line


def test_another_stride_looks_again_and_keeps_the_place(open_app: OpenApp) -> None:
    app = upload(open_app(), sound_upload(seconds=40.0))
    app.session_state["settings_panel"] = True
    app.slider(key="window_start").set_value(datetime(2000, 1, 1, 0, 0, 30)).run()
    next(s for s in app.selectbox if "window starts" in s.label).set_value(5.0).run()
    assert is_sound(app)
    track = app.session_state["record"].explanation.track
    assert track.stride_s == 5.0 and len(track) == 7
    assert app.session_state["window"] == 6


def test_a_missing_model_is_told_in_a_sentence(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    st.cache_resource.clear()
    monkeypatch.setenv("ECHOING_HOME", str(tmp_path))
    app = open_app().switch_page("pages/model.py").run()
    assert not app.exception and len(app.error) == 1
    st.cache_resource.clear()


@pytest.mark.slow
def test_two_sessions_do_not_see_each_other(open_app: OpenApp) -> None:
    one = upload(open_app(), sound_upload("mine"))
    other = open_app()
    assert "record" in one.session_state and "record" not in other.session_state
    assert "mine" not in words(other)
