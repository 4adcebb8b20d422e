"""An area of the map, kept collections and teaching cases without a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sharded_demo import demo_in_shards
from streamlit.testing.v1 import AppTest

from echoing_core import services
from ui.retrieve.selection import _corners

OpenApp = Callable[[], AppTest]


# Without the rest of a page: what stands above it is all that is asked here.
CASES = """
from ui import teaching
teaching.offer()
teaching.panel("Explore")
teaching.open_case()
"""


def words(app: AppTest) -> str:
    shown = [*app.markdown, *app.caption, *app.success, *app.error, *app.info]
    return "\n".join(str(e.value) for e in shown).replace("\\", "")


def test_an_area_of_the_map_holds_the_search_until_it_is_cleared(open_app: OpenApp) -> None:
    app = open_app().switch_page("pages/retrieve.py").run()
    left = ((-9.0, -9.0), (0.0, -9.0), (0.0, 9.0), (-9.0, 9.0))
    app.session_state["find_area"] = ("demo:1000", left)
    app.run()
    assert not app.exception and not app.error
    n = int(words(app).partition(" of 1,000 ECGs** in the area")[0].rpartition("**")[2])
    assert 0 < n < 1000 and f"({n:,} pass the filters)" in words(app)
    app.button(key="find_area_clear").click().run()
    assert not app.exception and "in the area" not in words(app)
    # That of another collection's map is none of this one's.
    app.session_state["find_area"] = ("built:3", left)
    app.run()
    assert not app.exception and "in the area" not in words(app)


@pytest.mark.parametrize(
    "sent",
    [
        None, "x", [], [[0, 0], [1, 1]], [[0, 0], [1, 1], [1]], [[0, 0], [1, 1], [1, "2"]],
        [[0, 0], [1, 1], [1, float("nan")]], [[0, 0]] * 1000, [[0, 0], [1, 1], [True, None]],
    ],
)  # fmt: skip
def test_what_is_no_area_is_not_taken(sent: object) -> None:
    assert _corners(sent) is None
    assert _corners([[0, 0], [1, 1], [1, 0.5]]) == ((0.0, 0.0), (1.0, 1.0), (1.0, 0.5))


def test_kept_collections_are_one_click_and_the_named_one_comes_first(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # As if it had been made of a folder: an index of the same model under another name.
    kept = tmp_path / "ward"
    kept.mkdir()
    for path in (services.indexes_folder() / "demo").iterdir():
        (kept / path.name).write_bytes(path.read_bytes())
    other = tmp_path / "other"
    other.mkdir()
    (other / "card.json").write_bytes(
        (services.indexes_folder() / "echoing/card.json").read_bytes()
    )
    monkeypatch.setenv(services.COLLECTIONS_VARIABLE, f"{kept}:{tmp_path}")
    app = open_app().switch_page("pages/retrieve.py").run()
    assert not app.exception and not app.error
    assert len(app.radio(key="find_collection").options) == 2
    assert str(app.session_state["find_collection"]).startswith("kept_")
    assert "1 more was made with another model" in words(app)
    app.radio(key="find_collection").set_value("demo").run()
    assert not app.exception and "**10 of 1,000 items" in words(app)
    # One that is damaged says so, and the others stay.
    (kept / "vectors.faiss").write_bytes(b"")
    app.radio(key="find_collection").set_value(app.session_state["find_collection"]).run()
    assert not app.exception


def test_a_collection_in_shards_shows_what_the_whole_one_does(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = demo_in_shards(tmp_path / "sharded", 3)
    monkeypatch.setenv(services.COLLECTIONS_VARIABLE, str(folder))
    app = open_app().switch_page("pages/retrieve.py").run()
    key = str(app.session_state["find_collection"])
    assert key.startswith("kept_") and "Searching in: sharded, 1,000 ECGs" in app.expander[0].label

    def told() -> list[str]:
        """Of words in an area with a filter; then from the first that is found, with a mark."""
        right = ((0.0, -9.0), (9.0, -9.0), (9.0, 9.0), (0.0, 9.0))
        app.session_state["find_area"] = (f"{app.session_state['find_collection']}:1000", right)
        app.session_state["find_labels"] = ["af"]
        app.run()
        pages = [words(app)]
        first = next(str(b.key) for b in app.button if str(b.key).startswith("from_"))
        app.session_state["find_trail"] = [first.removeprefix("from_")]
        app.session_state["find_marked"] = "sim-20001-000689-0"
        app.toggle(key=next(t.key for t in app.toggle)).set_value(True).run()
        assert not app.exception and not app.error
        return [*pages, words(app)]

    in_shards = told()
    assert "in the area" in in_shards[0] and "Chosen on the map" in in_shards[1]
    app.session_state["find_collection"] = "demo"
    assert told() == in_shards
    # What is lost with a shard is told, and nothing is searched without it.
    shutil.rmtree(folder / "shard-0001")
    (folder / "card.json").touch()
    app.session_state["find_collection"] = key
    app.run()
    assert not app.exception and len(app.error) == 1 and " items, " not in words(app)
    assert "shard-0001 of the index" in app.error[0].value.replace("\\", "")


def test_a_case_is_opened_answered_and_left() -> None:
    app = AppTest.from_string(CASES, default_timeout=120).run()
    app.button(key="teach_begin").click().run()
    case = services.teaching_case(services.case_ids()[0])
    assert not app.exception and not app.error
    assert app.session_state["record"].recording.record_id == case.case_id
    assert app.button(key="teach_check").disabled
    app.radio(key=f"teach_choice_{case.case_id}").set_value(case.answer).run()
    app.button(key="teach_check").click().run()
    assert not app.exception and any("Right:" in str(e.value) for e in app.success)
    assert "1 right of 1 answered" in words(app) and f"Mostly {case.truth}" in words(app)
    # The first answer counts.
    app.radio(key=f"teach_choice_{case.case_id}").set_value(case.answer - 1).run()
    app.button(key="teach_check").click().run()
    assert "1 right of 1 answered" in words(app)
    app.selectbox(key="teach_story").set_value("which_af").run()
    assert not app.exception and not app.error
    assert app.session_state["record"].recording.record_id == "which_af-0-A"
    app.button(key="teach_open_C").click().run()
    assert app.session_state["record"].recording.record_id == "which_af-0-C"
    app.button(key="teach_leave").click().run()
    assert not app.exception and "Teaching case" not in words(app)
