"""Hundreds of model and index folders with right hashes and changed content: no escape."""

from __future__ import annotations

from random import Random

import pytest

from tests.fuzz import artifacts
from tests.fuzz.attempt import attempt
from tests.fuzz.mutate import Files, mutated
from tests.fuzz.targets import targets

pytestmark = pytest.mark.slow


def test_a_sound_index_is_opened_when_it_was_only_resealed() -> None:
    (files,) = artifacts.indexes()
    changed = {**files, "card.json": files["card.json"].replace(b'"a"', b'"b"')}
    assert changed != files
    artifacts.opened_index(changed)


def test_a_sound_model_is_opened_when_it_was_only_resealed() -> None:
    (files,) = artifacts.models()
    artifacts.opened_model({**files, "card.md": b"# other words\n"})


@pytest.mark.parametrize(("name", "n"), [("index", 320), ("model", 60)])
def test_many_changed_folders_end_in_a_sentence(name: str, n: int) -> None:
    _attempts(name, n)


def _attempts(name: str, n: int) -> None:
    target = next(one for one in targets() if one.name == name)
    seeds: list[Files] = target.seeds()
    found = {}
    for number in range(n):
        rng = Random(f"resealed {name} {number}")
        finding = attempt(target, mutated(rng.choice(seeds), rng, seeds))
        if finding is not None:
            found[finding.key] = (number, finding)
    assert found == {}
