"""``echoing teacher``: from clips on disk to a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from fake_teacher import fake_reader
from tiny_model import write_tiny_model
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.echo.store import load_echo_embeddings
from echoing_core.echo.teacher import CARD_FILE, new_stand_in, save_teacher
from echoing_core.io.echo.avi import write_avi
from echoing_core.simulate.echo.clips import study_clips

# Runs of commands: seconds each.
pytestmark = pytest.mark.slow

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 2, "head_width": 16, "image_size": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher") / "tiny"
    save_teacher(place, new_stand_in(0, TINY), TINY, {"name": "tiny", "simulated": True})
    return place


@pytest.fixture(scope="module")
def echo_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("echo")
    for patient in range(2):
        study = folder / "p10" / f"s{patient}"
        study.mkdir(parents=True)
        for clip in study_clips(6, patient, views=("a4c", "plax"), n_frames=6, size=64):
            write_avi(study / f"{clip.view}.avi", clip)
    return folder


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    return result.exit_code, result.output


@pytest.mark.slow
def test_studies_on_disk_become_a_store_and_a_second_run_reads_the_cache(
    tmp_path: Path, teacher: Path, echo_files: Path
) -> None:
    folder = tmp_path / "echo"
    shutil.copytree(echo_files, folder)
    code, told = invoke("teacher", "embed", folder, tmp_path / "out", "--teacher", teacher)
    assert code == 0, told
    made = load_echo_embeddings(tmp_path / "out")
    assert made.study_ids == ("s0", "s1")
    assert made.n_frames.tolist() == [6, 6]
    assert made.simulated
    assert "0 were there already" in told
    shutil.copy(folder / "p10" / "s0" / "a4c.avi", folder / "alone.avi")
    (folder / "p10" / "broken").mkdir()
    (folder / "p10" / "broken" / "x.avi").write_bytes(b"RIFF")
    code, told = invoke("teacher", "embed", folder, tmp_path / "out", "--teacher", teacher)
    assert code == 0, told
    assert "2 were there already, 1 left out. Simulated." in told
    again = load_echo_embeddings(tmp_path / "out")
    assert set(again.study_ids) == {"alone", "s0", "s1"}
    assert (again.mu[again.study_ids.index("s1")] == made.mu[1]).all()


def test_a_row_a_clip(tmp_path: Path, teacher: Path, echo_files: Path) -> None:
    code, told = invoke(
        "teacher", "embed", echo_files, tmp_path / "o", "--teacher", teacher, "--by-clip"
    )
    assert code == 0, told
    assert load_echo_embeddings(tmp_path / "o").clip_ids[:2] == ("a4c", "plax")


def test_what_cannot_be_embedded_is_told_in_a_sentence(tmp_path: Path, teacher: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, told = invoke("teacher", "embed", tmp_path / "empty", tmp_path / "o", "--teacher", "x")
    assert (code, "holds no echo clip" in told) == (2, True)
    code, told = invoke("teacher", "embed", tmp_path / "no", tmp_path / "o", "--teacher", "x")
    assert (code, "is not a folder" in told) == (2, True)
    for parent in ("a", "b"):
        (tmp_path / "twice" / parent / "s1").mkdir(parents=True)
        (tmp_path / "twice" / parent / "s1" / "x.avi").write_bytes(b"")
    code, told = invoke("teacher", "embed", tmp_path / "twice", tmp_path / "o", "--teacher", "x")
    assert (code, "Two studies" in told) == (2, True)
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_measuring_says_that_the_echo_is_simulated(tmp_path: Path, teacher: Path) -> None:
    out = tmp_path / "figures.json"
    code, told = invoke(
        "teacher", "measure", "--teacher", teacher, "--studies", 20, "--workers", 1, "--json", out
    )
    assert code == 0, told
    content = json.loads(out.read_text())
    assert content["data"] == "simulated echo"
    assert all(row["simulated"] for row in content["results"])


def test_training_needs_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    code, told = invoke("teacher", "train", tmp_path, "--steps", 1, "--studies", 2, "--workers", 1)
    assert (code, "already holds" in told) == (2, True)
    assert not (tmp_path / CARD_FILE).exists()


def test_a_study_is_read_and_held_against_an_ecg(
    tmp_path: Path, echo_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing here hangs on what a teacher says, and opening a real one takes seconds.
    monkeypatch.setattr(services, "load_echo_reader", lambda _=None: fake_reader())
    write_tiny_model(tmp_path / "model")
    ecg = next(sample for sample in services.samples() if "10 s" in sample.description)
    code, told = invoke(
        "teacher", "read", echo_files / "p10" / "s0",
        "--recording", ecg.paths[0].with_suffix(".hea"), "--model", tmp_path / "model",
        "--json", tmp_path / "read.json",
    )  # fmt: skip
    assert code == 0, told
    assert "stand-in trained on simulated echo. The echocardiogram is simulated." in told
    assert "6 frames of 2 clips" in told and "EF by prompts" in told
    assert "was not trained with this echo teacher" in told
    # The tiny model's answers are calibrated on nobody.
    assert told.count("no probability") == 3
    content = json.loads((tmp_path / "read.json").read_text())
    assert [clip["view"] for clip in content["clips"]] == ["a4c", "plax"]
    assert content["teacher_simulated"] and len(content["mu"]) == 12
    beside = content["beside_ecg"]
    assert beside["distance"] is None and len(beside["comparisons"]) == 3
    code, told = invoke("teacher", "read", tmp_path / "read.json")
    assert code == 2 and told.count("\n") == 1 and ".avi and .dcm are read" in told
    code, told = invoke("evaluate", "echo-pairs", "--model", tmp_path / "model")
    assert code == 2 and told.count("\n") == 1


def test_readings_are_kept_only_where_they_make_a_scale(tmp_path: Path, teacher: Path) -> None:
    for options, words in (
        (("--studies", 20, "--write"), "no scale"),
        (("--write", "--echonet", tmp_path), "simulated readings"),
    ):
        code, told = invoke("teacher", "measure", "--teacher", teacher, *options)
        assert code == 2 and words in told
