"""What once broke a reader is read again, and every reader is given a few changed files."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.attempt import attempt, packed, unpacked
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import Target, targets

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.zip"))


@pytest.mark.parametrize("path", CORPUS, ids=[path.stem for path in CORPUS])
def test_what_was_found_before_ends_in_a_sentence(path: Path) -> None:
    name, files = unpacked(path.read_bytes())
    (target,) = (one for one in targets() if one.name == name)
    assert attempt(target, files) is None


def test_an_input_that_is_kept_is_the_one_that_was_given() -> None:
    files = {"a.hea": b"rec 1\n", "b.dat": bytes(range(256)) * 9}
    assert unpacked(packed(files, "wfdb")) == ("wfdb", files)


def test_what_is_looked_for_is_found() -> None:
    def breaks(files: dict[str, bytes]) -> None:
        raise KeyError(len(files["a"]))

    escape = attempt(Target("t", list, breaks), {"a": b"1"})
    assert escape is not None and escape.kind == "escape" and "KeyError" in escape.what
    assert attempt(Target("t", list, breaks, (LookupError,)), {"a": b"1"}) is None
    again = attempt(Target("t", list, breaks), {"a": b"22"})
    # The same mistake is kept once, whatever is in its message.
    assert again is not None and again.key == escape.key


def test_a_change_is_made_again_from_its_number() -> None:
    target = next(one for one in targets() if one.name == "scp")
    seeds = target.seeds()
    first = [mutated(seeds[0], Random(n), seeds) for n in range(50)]
    assert first == [mutated(seeds[0], Random(n), seeds) for n in range(50)]
    # Most of fifty differ from the seed, and from each other.
    assert len({one["rec.scp"] for one in first if "rec.scp" in one}) > 40


@pytest.mark.parametrize("name", [t.name for t in targets()])
@pytest.mark.slow
def test_every_reader_takes_its_sound_files_and_no_harm_from_changed_ones(name: str) -> None:
    target = next(one for one in targets() if one.name == name)
    seeds = target.seeds()
    taken = 0
    for files in seeds:
        try:
            target.read(files)
            taken += 1
        except target.family:
            continue
    # Of echo clips, one has pixels that are none.
    assert taken >= len(seeds) - (name == "echo dicom")
    for number in range(20):
        rng = Random(f"test {name} {number}")
        finding = attempt(target, mutated(rng.choice(seeds), rng, seeds))
        assert finding is None, finding
