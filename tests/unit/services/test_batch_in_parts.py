"""A batch in parts: the table of a batch, whoever made its parts, and after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.errors import ConfigError
from echoing_core.services import batching_in_parts
from echoing_core.services.batching_in_parts import BatchSettings, batch_in_parts
from tests.ecg_files import ecg, wfdb
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three ECGs, a file that is damaged before all others, and one that is no recording."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    for name in ("b", "c", "d"):
        noisy = ecg(10.0) + rng.normal(0, 20, (12, 5000)).round().astype(np.int16)
        for file, content in wfdb(noisy, name=name).items():
            (folder / file).write_bytes(content)
    (folder / "a.edf").write_bytes(b"")
    (folder / "readme.txt").write_text("no recording")
    return folder


def whole(folder: Path, files: Path, *, names: bool = True, measured: bool = False) -> str:
    model = services.load_model(folder)
    results = list(services.batch(model, services.folder_items(files)[0], measured=measured))
    return services.batch_csv(model, results, names=names)


@pytest.mark.parametrize("names", [True, False])
def test_the_table_is_that_of_a_batch(
    folder: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: bool
) -> None:
    # The first part holds nothing but a failure, and so no column of an answer.
    monkeypatch.setattr(batching_in_parts, "ITEMS_A_PART", 1)
    out = tmp_path / "table.csv"
    settings = BatchSettings(names=names, measured=True)
    made = batch_in_parts(files, out, settings, model=folder)
    assert (made.n_read, made.n_failed, made.n_files, made.n_resumed) == (3, 1, 4, 0)
    assert made.others == ("readme.txt",)
    assert out.read_text() == whole(folder, files, names=names, measured=True)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_after_a_kill_it_goes_on_and_other_work_is_not_mixed_in(
    folder: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching_in_parts, "ITEMS_A_PART", 2)
    out = tmp_path / "table.csv"
    work = batching_in_parts.batch_part

    def killed(model: str, items: list[services.BatchItem], *rest: object) -> int:
        if "d" in [item.name for item in items]:
            raise KeyboardInterrupt
        return work(model, items, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(batching_in_parts, "batch_part", killed)
    with pytest.raises(KeyboardInterrupt):
        batch_in_parts(files, out, model=folder)
    assert not out.exists()
    monkeypatch.setattr(batching_in_parts, "batch_part", work)
    with pytest.raises(ConfigError, match="--restart"):
        batch_in_parts(files, out, BatchSettings("left bundle branch block"), model=folder)
    made = batch_in_parts(files, out, model=folder)
    # The part with d had not been written.
    assert (made.n_read, made.n_failed, made.n_resumed) == (3, 1, 2)
    assert out.read_text() == whole(folder, files)


def test_questions_are_refused_before_a_recording_is_read(
    folder: Path, files: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError):
        batch_in_parts(files, tmp_path / "t.csv", BatchSettings(prevalence=3.0), model=folder)
    with pytest.raises(ConfigError, match="is a folder"):
        batch_in_parts(files, tmp_path, model=folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_processes_make_the_same_table_by_the_command(
    folder: Path, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.csv"
    arguments = ["batch", str(files), "--model", str(folder), "--csv", str(out), "--workers", "2"]
    told = CliRunner().invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "3 read, 1 failed, of 4 files" in told.output and "readme.txt" in told.output
    assert out.read_text() == whole(folder, files)
