"""Ask and Retrieve without a browser: places, files of questions, trails, own collections."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from broken_uploads import sound_upload
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.services import own_index, searching
from echoing_core.zeroshot.prompts import prompt_sets_text

OpenApp = Callable[[], AppTest]
YAML = "application/yaml"


def words(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.success, *app.info, *app.error, *app.warning]
    return "\n".join(str(e.value) for e in shown).replace("\\", "")


def ask(app: AppTest, seconds: float = 40.0) -> AppTest:
    files = sound_upload(seconds=seconds)
    app.file_uploader[0].set_value([(n, d, "application/octet-stream") for n, d in files.items()])
    app.run()
    return app.switch_page("pages/ask.py").run()


def press(app: AppTest, key: str) -> AppTest:
    return app.button(key=key).click().run()


def is_sound(app: AppTest) -> bool:
    return not app.exception and not app.error


@pytest.mark.slow
def test_the_whole_recording_is_asked_and_every_place_told(open_app: OpenApp) -> None:
    app = ask(open_app())
    # The scores behind the answers, and every place; the answers are HTML.
    assert is_sound(app) and len(app.table) == 2
    surest = app.table[0].value
    app.radio(key="ask_window").set_value("fused").run()
    assert is_sound(app) and not app.table[0].value.equals(surest)
    app.selectbox(key="ask_rule").set_value("precision").run()
    assert is_sound(app)
    assert "Whole recording" in app.table[1].value.columns
    checked = app.table[0].value["Had it among 100 alike"]
    assert checked.str.match(r"\d+ \(\d+\)").sum() >= 7


def test_questions_go_to_a_file_and_come_back(open_app: OpenApp) -> None:
    app = ask(open_app(), seconds=10.0)
    shipped = services.prompt_sets()
    mine = services.PromptSet("mine", "Is it <b>so</b>?", ("af",), ("sinus rhythm",))
    text = prompt_sets_text([shipped[1], mine]).encode()
    app.file_uploader(key="questions_file").set_value(("q.yaml", text, YAML)).run()
    assert is_sound(app) and "2 questions were loaded" in words(app)
    assert app.session_state["questions"] == [shipped[1].name, "mine"]
    assert len(app.table[0].value) == 2 and len(app.session_state["own_questions"]) == 1
    app.file_uploader(key="questions_file").set_value(("q.yaml", b"nothing", YAML)).run()
    assert not app.exception and "must hold a list of prompt sets" in words(app)
    assert len(app.table[0].value) == 2


def test_an_own_question_is_read_before_it_is_asked(open_app: OpenApp) -> None:
    app = ask(open_app(), seconds=10.0)
    n_shipped = len(services.prompt_sets())

    def add(text: str) -> None:
        app.text_input(key="own_text").set_value(text)
        next(b for b in app.button if b.label == "Add question").click().run()

    add("no evidence of AFib")
    assert is_sound(app) and "No atrial fibrillation" in words(app)
    assert "is read as: No atrial fibrillation" in words(app)
    assert len(app.table[0].value) == n_shipped + 1
    add("old infarction")
    add("banana")
    # The table still says how each was read.
    table = "".join(str(e.proto.body) for e in app.get("html"))
    assert "no evidence of AFib&#x27; is read as" in table
    assert "acute or old cannot be told" in table
    assert not app.exception and "banana: not a word for a finding" in words(app)
    add("kein Vorhofflimmern")
    assert "already in the list" in words(app)
    assert len(app.session_state["own_questions"]) == 1


@pytest.mark.slow
def test_from_hit_to_hit_and_back(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    first = [b.key for b in app.button if b.key and b.key.startswith("from_")]
    item = first[1].removeprefix("from_")
    press(app, first[1])
    assert is_sound(app) and app.session_state["find_trail"] == [item]
    second = [b.key for b in app.button if b.key and b.key.startswith("from_")]
    assert first[1] not in second, "the item searched from is not found"
    assert "-badge[near]" in words(app) and "How near is near" in words(app)
    assert any("two ECGs of one patient" in caption.proto.help for caption in app.caption)
    press(app, second[0])
    assert len(app.session_state["find_trail"]) == 2
    press(app, "find_crumb_1")
    assert app.session_state["find_trail"] == [item]
    press(app, "find_crumb_0")
    assert app.session_state["find_trail"] == []
    # What one came from is marked in the list.
    assert app.session_state["find_marked"] == item and "Marked: number **2**" in words(app)
    # Other words begin anew.
    press(app, first[0])
    app.text_input(key="find_text").set_value("normal ecg").run()
    assert is_sound(app) and app.session_state["find_trail"] == []


def test_words_are_read_answered_with_reasons_and_refused(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    items = services.load_index().items.set_index("item_id")

    def look_for(text: str) -> list[str]:
        app.text_input(key="find_text").set_value(text).run()
        return [b.key.removeprefix("from_") for b in app.button if str(b.key).startswith("from_")]

    found = look_for("kein Vorhofflimmern, kein Schenkelblock")
    assert is_sound(app) and "No atrial fibrillation; No bundle branch block" in words(app)
    assert len(found) == 10 and "Why:" in words(app)
    # They stand by how they fit; a distance beside that order would contradict it.
    assert "best match first" in words(app) and "distance" not in words(app)
    assert not items.loc[found, ["label_af", "label_lbbb", "label_rbbb"]].any(axis=None)
    # Nobody here has both; what is listed all the same is folded away under the sentence.
    look_for("wpw and pacemaker")
    assert is_sound(app) and any("Nothing close" in w.value for w in app.warning)
    assert "What is found all the same" in [e.label for e in app.expander]
    look_for("banana")
    assert not app.exception and "not a word for a finding" in words(app)


def test_a_mark_outside_the_list_is_shown_with_its_facts(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    shown = {b.key for b in app.button if b.key and b.key.startswith("mark_")}
    items = services.load_index().items
    other = next(i for i in items["item_id"] if f"mark_{i}" not in shown)
    app.session_state["find_marked"] = other
    app.run()
    assert is_sound(app) and "Chosen on the map" in words(app)
    press(app, f"mark_{other}")
    assert app.session_state["find_marked"] is None and "Chosen on the map" not in words(app)


def test_filters_hold_together_and_contradict_in_a_sentence(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    app.multiselect(key="find_without").set_value(["lbbb"]).run()
    app.multiselect(key="find_sources").set_value(["simulated"]).run()
    assert is_sound(app) and "pass the filters" in words(app)
    app.multiselect(key="find_labels").set_value(["lbbb"]).run()
    assert not app.exception and "both with and without" in words(app)


@pytest.mark.slow
def test_a_collection_of_ones_own_is_built_and_opened_again(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    files = {
        **sound_upload("one", seconds=30.0),
        "bad.edf": b"no",
        "r.csv": b"record,report\none,af\n",
    }
    upload = [(n, d, "application/octet-stream") for n, d in files.items()]
    app.file_uploader[0].set_value(upload).run()
    press(app, "own_add")
    assert not app.exception and app.session_state["find_collection"] == "built"
    assert "1 added" in words(app) and "bad.edf" in words(app)
    own = app.session_state["own_gathered"]
    assert [i.record for i in own.items] == ["one"] and "**1 of 1 items" in words(app)
    other = open_app().switch_page("pages/retrieve.py").run()
    assert (
        "own_gathered" not in other.session_state or not other.session_state["own_gathered"].items
    )
    archive = own_index.zipped(own.files, "mine")
    other.file_uploader(key="own_zip").set_value(("m.zip", archive, "application/zip")).run()
    assert is_sound(other) and other.session_state["find_collection"] == "uploaded"
    other.file_uploader(key="own_zip").set_value(("m.zip", b"x", "application/zip")).run()
    assert not other.exception and len(other.error) == 1
    press(app, "own_clear")
    assert is_sound(app) and app.session_state["find_collection"] == "demo"


def test_a_folder_of_this_machine_is_offered(open_app: OpenApp, monkeypatch, tmp_path) -> None:
    shipped = services.indexes_folder() / "demo"
    monkeypatch.setenv(searching.INDEX_VARIABLE, f"{shipped}{os.pathsep}{tmp_path / 'none'}")
    app = open_app().switch_page("pages/retrieve.py").run()
    assert not app.exception and len(app.error) == 1 and "it is no folder" in words(app)
    app.radio(key="find_collection").set_value("folder_0").run()
    assert "**10 of 1,000 items" in words(app)
