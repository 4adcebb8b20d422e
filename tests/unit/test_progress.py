"""Tests of the one progress object."""

from __future__ import annotations

import pytest

from echoing_core.progress import SILENT, Progress


def test_the_silent_form_tells_nobody_in_any_stage() -> None:
    SILENT(1, 2)
    SILENT.stage("embed")(2, 2)
    assert SILENT.tell is None and SILENT.stage("embed").tell is None


def test_stages_speak_to_one_listener_each_by_its_name() -> None:
    heard: list[tuple[str, float, int]] = []
    progress = Progress(lambda *said: heard.append(said))
    first, second = progress.stage("read"), progress.stage("embed")
    progress(0, 1)
    first(1, 3)
    second(1, 2)
    first(2, 3)
    assert heard == [("", 0, 1), ("read", 1, 3), ("embed", 1, 2), ("read", 2, 3)]


def test_a_stage_of_a_stage_has_its_own_name() -> None:
    heard: list[str] = []
    Progress(lambda stage, *_: heard.append(stage)).stage("all").stage("one")(1, 1)
    assert heard == ["one"]


def test_parts_of_an_item_count_as_fractions() -> None:
    heard: list[float] = []
    progress = Progress(lambda _, done, __: heard.append(done))
    progress(3.25, 4)
    progress(4, 4)
    assert heard == [3.25, 4]


def test_a_listener_stops_the_work_by_raising() -> None:
    def refuse(stage: str, done: float, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Progress(refuse).stage("read")(1, 2)
