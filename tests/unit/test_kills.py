"""What writes is killed at random moments. Many times: ``python -m tests.kills --kills 500``."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests import kills


# Preparing and training have kills of their own in test_preparing.py and test_paired.py.
@pytest.mark.parametrize("name", ["index", "batch", "model replacement", "documents of a model"])
@pytest.mark.slow
def test_a_kill_loses_nothing_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    (scenario,) = (one for one in (make() for make in kills.MAKERS) if one.name == name)
    counts = kills.kill_at_random(scenario, tmp_path / "here", 2, Random(7))
    assert counts["kills"] >= 2 and counts["old"] + counts["new"] == counts["kills"]


@pytest.mark.slow
def test_two_files_that_are_written_one_after_the_other_are_caught(tmp_path: Path) -> None:
    def write(folder: Path, word: str) -> None:
        for name in "abcdefgh":
            (folder / name).write_text(word)

    def state(folder: Path) -> str:
        (word,) = {(folder / name).read_text() for name in "abcdefgh"}
        return word

    careless = kills.Scenario(
        "careless", lambda folder: write(folder, "old"), lambda folder: write(folder, "new"), state
    )
    with pytest.raises((AssertionError, ValueError)):
        kills.kill_at_random(careless, tmp_path / "here", 40, Random(7))
