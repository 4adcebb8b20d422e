"""Stores of echo Gaussians, and the cache that lets an interrupted run go on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoing_core.echo.store import (
    EchoEmbeddings,
    EchoSource,
    FrameChoice,
    embed_studies,
    embed_study,
    load_echo_embeddings,
    save_echo_embeddings,
)
from echoing_core.echo.teacher import echo_gaussian
from echoing_core.errors import ConfigError, DataSetError, IndexMismatchError, RecordError
from echoing_core.progress import Progress
from echoing_core.records import EchoClip, EchoStudy


class FakeTeacher:
    """Colours of a frame, made a unit vector: all that these tests need of a teacher."""

    dim = 3
    name = "fake"
    simulated = False

    def __init__(self, digest: str = "a" * 64) -> None:
        self.hash = digest
        self.n_seen = 0

    def embed_frames(self, frames: np.ndarray) -> np.ndarray:
        self.n_seen += len(frames)
        colours = frames.mean(axis=(1, 2)).astype(np.float64) + 1.0
        return (colours / np.linalg.norm(colours, axis=1, keepdims=True)).astype(np.float32)


def study_of(number: int, *, clips: int = 2, frames: int = 6, simulated: bool = True) -> EchoStudy:
    rng = np.random.default_rng(number)
    return EchoStudy(
        f"study-{number}",
        tuple(
            EchoClip(
                # Clips of one study may differ in size.
                rng.integers(0, 256, (frames, 8 + i, 9, 3), dtype=np.uint8),
                30.0,
                f"clip-{i}",
                simulated=simulated,
            )
            for i in range(clips)
        ),
    )


def sources(n: int, **settings: bool) -> list[EchoSource]:
    return [
        EchoSource(f"study-{i}", lambda i=i: study_of(i, **settings))  # type: ignore[misc]
        for i in range(n)
    ]


def same(a: EchoEmbeddings, b: EchoEmbeddings) -> bool:
    return (
        (a.study_ids, a.clip_ids, a.teacher, a.teacher_hash, a.simulated)
        == (b.study_ids, b.clip_ids, b.teacher, b.teacher_hash, b.simulated)
        and np.array_equal(a.mu, b.mu)
        and np.array_equal(a.log_var, b.log_var)
        and np.array_equal(a.n_frames, b.n_frames)
    )


# Studies


def test_a_study_is_the_gaussian_of_the_chosen_frames_of_all_clips() -> None:
    teacher, study = FakeTeacher(), study_of(0)
    mu, log_var, n_frames = embed_study(teacher, study, choice=FrameChoice(2, 2))
    chosen = [teacher.embed_frames(clip.frames[[0, 2]]) for clip in study.clips]
    expected = echo_gaussian(np.concatenate(chosen))
    np.testing.assert_array_equal((mu, log_var), expected)
    assert n_frames == 4


def test_echo_clips_own_choice_is_every_second_of_the_first_forty() -> None:
    clip = EchoClip(np.zeros((55, 1, 1, 3), np.uint8), 30.0, "c")
    clip.frames[:, 0, 0, 0] = np.arange(55)
    assert FrameChoice().of(clip)[:, 0, 0, 0].tolist() == list(range(0, 40, 2))


@pytest.mark.parametrize("study", [study_of(0, clips=0), study_of(0, clips=1, frames=1)])
def test_a_study_without_moving_pictures_is_refused(study: EchoStudy) -> None:
    with pytest.raises(RecordError, match="at least 2"):
        embed_study(FakeTeacher(), study)


def test_rows_are_studies_or_clips() -> None:
    by_study = embed_studies(FakeTeacher(), sources(2), None).embeddings
    by_clip = embed_studies(FakeTeacher(), sources(2), None, pool="clip").embeddings
    assert by_study.study_ids == ("study-0", "study-1")
    assert by_study.clip_ids == ()
    assert by_clip.study_ids == ("study-0", "study-0", "study-1", "study-1")
    assert by_clip.clip_ids == ("clip-0", "clip-1") * 2
    assert by_study.n_frames.tolist() == [6, 6]
    assert by_clip.n_frames.tolist() == [3] * 4


def test_simulated_comes_from_the_clips_or_the_teacher() -> None:
    real = sources(1, simulated=False)
    assert embed_studies(FakeTeacher(), sources(1), None).embeddings.simulated
    assert not embed_studies(FakeTeacher(), real, None).embeddings.simulated
    teacher = FakeTeacher()
    teacher.simulated = True
    assert embed_studies(teacher, real, None).embeddings.simulated


def test_broken_studies_are_counted_and_told() -> None:
    bad = EchoSource("bad", lambda: study_of(7, frames=1, clips=1))
    run = embed_studies(FakeTeacher(), [*sources(2), bad], None)
    assert run.embeddings.study_ids == ("study-0", "study-1")
    assert "at least 2" in run.failures["bad"]
    assert (run.n_computed, run.n_cached) == (2, 0)
    with pytest.raises(DataSetError, match="None of 1"):
        embed_studies(FakeTeacher(), [bad], None)


# The cache


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    first = embed_studies(FakeTeacher(), sources(3), tmp_path)
    teacher = FakeTeacher()
    again = embed_studies(teacher, sources(4), tmp_path)
    assert (first.n_computed, again.n_computed, again.n_cached) == (3, 1, 3)
    assert teacher.n_seen == 6
    assert same(again.embeddings, embed_studies(FakeTeacher(), sources(4), None).embeddings)


def test_a_killed_run_goes_on_and_ends_alike(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def stop(stage: str, done: float, total: int) -> None:
        if done == 2:
            raise KilledError

    with pytest.raises(KilledError):
        embed_studies(FakeTeacher(), sources(5), tmp_path, progress=Progress(stop))
    # What a kill in the middle of writing leaves: a draft, and a file cut short.
    (tmp_path / ".x.draft").write_bytes(b"half")
    cut = next(iter(sorted(tmp_path.glob("*.npz"))))
    cut.write_bytes(cut.read_bytes()[:100])
    run = embed_studies(FakeTeacher(), sources(5), tmp_path)
    assert (run.n_computed, run.n_cached) == (4, 1)
    assert same(run.embeddings, embed_studies(FakeTeacher(), sources(5), None).embeddings)


@pytest.mark.parametrize("what", ["teacher", "frames", "pool", "state"])
def test_another_teacher_choice_or_file_computes_anew(tmp_path: Path, what: str) -> None:
    embed_studies(FakeTeacher(), sources(2), tmp_path)
    studies = sources(2)
    if what == "state":
        studies = [replace(s, state="newer") for s in studies]
    run = embed_studies(
        FakeTeacher("b" * 64) if what == "teacher" else FakeTeacher(),
        studies,
        tmp_path,
        choice=FrameChoice(1, 5) if what == "frames" else FrameChoice(),
        pool="clip" if what == "pool" else "study",
    )
    assert (run.n_computed, run.n_cached) == (2, 0)


# The store


@pytest.fixture
def made() -> EchoEmbeddings:
    return embed_studies(FakeTeacher(), sources(3), None).embeddings


def test_written_and_read_is_the_same(tmp_path: Path, made: EchoEmbeddings) -> None:
    card = save_echo_embeddings(tmp_path / "echo", made)
    assert same(load_echo_embeddings(tmp_path / "echo", teacher_hash="a" * 64), made)
    assert (card["teacher"], card["simulated"], card["rows"]) == ("fake", True, "studies")
    clips = embed_studies(FakeTeacher(), sources(3), None, pool="clip").embeddings
    save_echo_embeddings(tmp_path / "echo", clips)
    assert same(load_echo_embeddings(tmp_path / "echo"), clips)


def test_another_teachers_store_is_refused(tmp_path: Path, made: EchoEmbeddings) -> None:
    save_echo_embeddings(tmp_path / "echo", made)
    with pytest.raises(IndexMismatchError, match="bbbb"):
        load_echo_embeddings(tmp_path / "echo", teacher_hash="b" * 64)


@pytest.mark.parametrize("name", ["mu.npy", "log_var.npy", "items.parquet", "card.json"])
def test_a_damaged_store_is_refused(tmp_path: Path, made: EchoEmbeddings, name: str) -> None:
    save_echo_embeddings(tmp_path / "echo", made)
    path = tmp_path / "echo" / name
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    with pytest.raises(IndexMismatchError, match=name):
        load_echo_embeddings(tmp_path / "echo")


@pytest.mark.parametrize("name", ["mu.npy", "log_var.npy"])
def test_other_numbers_of_the_same_shape_are_refused(
    tmp_path: Path, made: EchoEmbeddings, name: str
) -> None:
    """They load as well as the right ones: only the hash on the card can tell."""
    save_echo_embeddings(tmp_path / "echo", made)
    path = tmp_path / "echo" / name
    content = path.read_bytes()
    path.write_bytes(content[:-4] + np.float32(0.25).tobytes())
    with pytest.raises(IndexMismatchError, match="is not the file that its card"):
        load_echo_embeddings(tmp_path / "echo")


def test_something_else_is_not_replaced(tmp_path: Path, made: EchoEmbeddings) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="already holds"):
        save_echo_embeddings(tmp_path, made)


def test_rows_must_fit(made: EchoEmbeddings) -> None:
    with pytest.raises(ValueError, match="rows"):
        replace(made, study_ids=("a",))
    with pytest.raises(ValueError, match="one row"):
        replace(made, study_ids=("a", "a", "b"))
