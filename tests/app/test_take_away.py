"""Reports, tables, session files and links, as a person gets them out of the app and back."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
import streamlit as st
from broken_uploads import sound_upload
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.records import LEADS

OpenApp = Callable[[], AppTest]
NAME = "Mustermann_Erika_19570304"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, SimpleNamespace]:
    """What each download button of the last run would give, by its label."""
    offered: dict[str, SimpleNamespace] = {}
    real = st.download_button

    def note(label: str, data: object, name: str, *rest: object, **more: object) -> bool:
        offered[label] = SimpleNamespace(make=data, name=name)
        return real(label, data, name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(st, "download_button", note)
    return offered


def is_sound(app: AppTest) -> bool:
    return not app.exception and not app.error


def words(app: AppTest) -> str:
    shown = [
        *app.title,
        *app.header,
        *app.markdown,
        *app.subheader,
        *app.caption,
        *app.info,
        *app.error,
    ]
    return "\n".join(str(e.value) for e in shown).replace("\\", "")


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


def unfold(app: AppTest) -> None:
    """What is in the panel is made when it is open."""
    app.session_state["take_away"] = True


def upload(app: AppTest, files: Mapping[str, bytes]) -> AppTest:
    chosen = [(name, data, "application/octet-stream") for name, data in files.items()]
    unfold(app)
    return app.file_uploader[0].set_value(chosen).run()


def open_session(app: AppTest, content: bytes) -> AppTest:
    at = next(u for u in app.file_uploader if u.label == "Open a session file")
    return at.set_value(("session.json", content, "application/json")).run()


def go(app: AppTest, page: str) -> AppTest:
    unfold(app)
    return app.switch_page(f"pages/{page}.py").run()


def choose(app: AppTest, key: str, value: object) -> AppTest:
    return next(c for c in app.get("button_group") if c.key == key).set_value(value).run()


DRAWN = {"Report as PDF": b"%PDF-", "Report as PNG": b"\x89PNG"}


def assert_nameless(label: str, name: str, content: str | bytes) -> None:
    assert "Mustermann" not in name
    text = content if isinstance(content, str) else content.decode("latin-1")
    assert "Mustermann" not in text and "19570304" not in text, label


def test_everything_can_be_taken_away_without_a_name(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace]
) -> None:
    app = upload(open_app(), sound_upload(NAME, seconds=30.0))
    assert is_sound(app) and set(DRAWN) < set(downloads)
    # What is drawn takes seconds: the next test.
    made = {label: each.make() for label, each in downloads.items() if label not in DRAWN}
    table = pd.read_csv(io.StringIO(made["Download CSV"]))
    assert len(table) == len(app.session_state["record"].explanation.track) == 21
    assert len(pd.read_parquet(io.BytesIO(made["Download Parquet"]))) == 21
    track = json.loads(made["Download JSON"])
    assert track["recording"] == "recording" and track["versions"]["numpy"]
    page = made["Report as HTML"].decode()
    assert "Window A" in page and "Read from" in page
    for words in services.written_formats().values():
        one = downloads[f"Recording as {words}"]
        again = services.read_recording([(one.name, made[f"Recording as {words}"])])
        assert again.duration_s == 30.0 and again.lead_names == LEADS
    for label, content in made.items():
        assert_nameless(label, downloads[label].name, content)


@pytest.mark.slow
@pytest.mark.parametrize("label", DRAWN)
def test_what_is_drawn_can_be_taken_away_without_a_name(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace], label: str
) -> None:
    upload(open_app(), sound_upload(NAME, seconds=30.0))
    content = downloads[label].make()
    assert content.startswith(DRAWN[label])
    assert_nameless(label, downloads[label].name, content)


def test_the_person_names_the_report(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace]
) -> None:
    app = upload(open_app(), sound_upload(NAME))
    app.text_input(key="report_name").set_value("<b>Case 7</b>").run()
    assert is_sound(app)
    page = downloads["Report as HTML"].make().decode()
    assert "&lt;b&gt;Case 7&lt;/b&gt;" in page and "<b>" not in page
    assert downloads["Report as HTML"].name == "bCase_7b.html"


@pytest.mark.slow
def test_answers_and_hits_go_into_the_report_of_their_recording(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace]
) -> None:
    app = upload(open_app(), sound_upload())
    press(go(app, "ask"), "Add to the report")
    assert is_sound(app) and any(b.label == "In the report" for b in app.button)
    press(go(app, "retrieve"), "Add to the report")
    assert is_sound(app)
    go(app, "explore")
    assert is_sound(app) and "answers about" in words(app) and "nearest to" in words(app)
    page = downloads["Report as HTML"].make().decode()
    for prompts in services.prompt_sets()[:3]:
        assert prompts.question.replace("<", "&lt;") in page
    # Every answer carries what it is: here of simulation alone.
    assert "validated on nobody" in page
    assert "Best matches in the collection" in page and "(simulated)" in page
    app.button(key="report_remove_asked_0").click().run()
    assert "answers about" not in words(app)
    assert "Questions about" not in downloads["Report as HTML"].make().decode()
    # Another recording starts with an empty report.
    upload(app, sound_upload("other", seconds=20.0))
    assert is_sound(app) and "nearest to" not in words(app)


def test_an_ecg_of_a_collection_is_not_named(open_app: OpenApp) -> None:
    from ui import document_parts

    app = upload(open_app(), sound_upload())
    seen: list[object] = []
    real = {"one": True, "two": False}
    made = {
        "items": lambda ids: {i: SimpleNamespace(simulated=not real[i]) for i in ids},
        "model_hash": "0" * 64,
    }
    searched = type("Searched", (SimpleNamespace,), {"__len__": lambda _: 2})(**made)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_parts, "_add_button", lambda *given: seen.append(given[2].query))
        for words, item in (
            (f"ECG {NAME}", ["one"]),
            ("ECG b", ["two"]),
            ("the words “paced”", []),
        ):
            nothing = SimpleNamespace(hits=[], note="", far="", by_fit=False)
            document_parts.add_hits(
                app.session_state["record"], searched, nothing, words, searched_from=item
            )
    assert seen == ["an ECG of the collection", "ECG b", "the words “paced”"]


def test_without_a_recording_hits_cannot_be_added(open_app: OpenApp) -> None:
    app = go(open_app(), "retrieve")
    assert next(b for b in app.button if b.label == "Add to the report").disabled


def saved_session(app: AppTest, downloads: dict[str, SimpleNamespace]) -> bytes:
    """A session with something of every page in it."""
    upload(app, sound_upload("first_name", seconds=40.0))
    go(app, "ask")
    name = services.prompt_sets()[0].name
    app.text_area(key=f"wording_positive_{name}").set_value("another wording").run()
    app.text_input(key="own_text").set_value("left anterior fascicular block")
    press(app, "Add question")
    go(app, "retrieve")
    app.text_input(key="find_text").set_value("paced rhythm").run()
    app.slider(key="find_k").set_value(3).run()
    app.radio(key="find_order").set_value("cosine").run()
    app.session_state["settings_panel"] = True
    go(app, "explore")
    next(s for s in app.selectbox if "window starts" in s.label).set_value(5.0).run()
    app.slider(key="window_start").set_value(datetime(2000, 1, 1, 0, 0, 20)).run()
    assert is_sound(app) and "Window 00:20 to 00:30" in words(app)
    return bytes(downloads["Save session"].make())


def assert_restored(app: AppTest) -> None:
    go(app, "ask")
    name = services.prompt_sets()[0].name
    assert app.session_state[f"wording_positive_{name}"] == "another wording"
    questions = app.table[0].value.iloc[:, 0].tolist()
    assert "Left anterior fascicular block" in questions
    go(app, "retrieve")
    assert app.text_input(key="find_text").value == "paced rhythm"
    assert app.slider(key="find_k").value == 3
    assert app.radio(key="find_order").value == "cosine"
    go(app, "explore")


@pytest.mark.slow
def test_a_session_comes_back_with_its_recording(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace]
) -> None:
    content = saved_session(open_app(), downloads)
    text = content.decode()
    assert "first_name" not in text and json.loads(text)["window_start_s"] == 20.0
    # First the session, then the same samples under another name.
    app = open_session(open_app(), content)
    assert is_sound(app) and "Open the recording of this session" in words(app)
    upload(app, sound_upload("other_name", seconds=40.0))
    assert is_sound(app) and "back as it was saved" in words(app)
    assert app.session_state["record"].stride_s == 5.0
    assert "Window 00:20 to 00:30" in words(app)
    assert_restored(app)
    assert "Window 00:20 to 00:30" in words(app)
    # First the recording, then the session.
    app = upload(open_app(), sound_upload("third_name", seconds=40.0))
    open_session(app, content)
    assert is_sound(app)
    assert app.session_state["record"].stride_s == 5.0
    assert "Window 00:20 to 00:30" in words(app)
    assert_restored(app)


@pytest.mark.slow
def test_a_session_of_another_recording_says_so_and_changes_nothing(
    open_app: OpenApp, downloads: dict[str, SimpleNamespace]
) -> None:
    content = saved_session(open_app(), downloads)
    app = upload(open_app(), sound_upload("first_name", seconds=20.0))
    open_session(app, content)
    assert is_sound(app) and "made with another recording" in words(app)
    assert app.session_state["record"].stride_s == 1.0
    assert "find_text" not in app.session_state
    press(app, "Use its questions, filters and layout here")
    assert is_sound(app) and app.session_state["record"].stride_s == 1.0
    assert_restored(app)
    # And where the other recording is opened after the session.
    app = open_session(open_app(), content)
    upload(app, sound_upload(seconds=20.0))
    assert is_sound(app) and "made with another recording than this one" in words(app)
    assert app.session_state["record"].stride_s == 1.0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<script>", "damaged"),
        (b"{}", "no session file"),
        (b'{"format": "EchoingECG session", "version": 9}', "has version 9"),
        (b'{"format": "EchoingECG session", "version": 1, "x": 1}', "field 'x'"),
    ],
)
def test_a_broken_session_file_is_one_sentence(
    open_app: OpenApp, content: bytes, sentence: str
) -> None:
    app = open_session(open_app(), content)
    assert not app.exception and len(app.error) == 1
    assert sentence in app.error[0].value.replace("\\", "")


def test_a_link_leads_to_page_window_and_settings(open_app: OpenApp) -> None:
    app = upload(open_app(), sound_upload(NAME, seconds=40.0))
    go(app, "retrieve")
    app.text_input(key="find_text").set_value("Mustermann").run()
    app.slider(key="find_k").set_value(4).run()
    go(app, "explore")
    app.session_state["window"] = 7
    app.run()
    link = next(c.value for c in app.code if "://" in c.value)
    assert "Mustermann" not in link
    query = parse_qs(urlsplit(link).query)
    assert query["find_k"] == ["4"] and query["window_s"] == ["7"]
    assert not {"find_text", "questions", "report_name"} & set(query)


def test_a_link_is_followed_and_what_it_must_not_ask_for_is_ignored(
    repo_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repo_root)
    app = AppTest.from_file(str(repo_root / "app.py"), default_timeout=120)
    for key, value in {
        "find_k": "4", "find_order": "<script>", "find_text": "a name", "window_s": "12",
        "hide_above": "90", "record": "x", "stride_s": "0.001",
    }.items():  # fmt: skip
        app.query_params[key] = value
    app.run()
    assert is_sound(app) and "find_text" not in app.session_state
    upload(app, sound_upload(seconds=40.0))
    assert is_sound(app) and app.session_state["window"] == 12
    assert app.session_state["record"].stride_s == 1.0
    assert app.session_state["hide_above"] == 90
    go(app, "retrieve")
    assert is_sound(app)
    assert app.slider(key="find_k").value == 4 and app.radio(key="find_order").value == "csd"
