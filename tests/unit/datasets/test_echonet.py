"""EchoNet-Dynamic on a tree of its published layout, and a teacher measured on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.echonet import EchoNetDynamic, read_echonet
from echoing_core.echo.store import load_echo_embeddings
from echoing_core.echo.teacher import new_stand_in, save_teacher
from echoing_core.errors import ConfigError, DataSetError
from tests.data_trees import echonet as tree

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 2, "head_width": 16, "image_size": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
NAMES = [tree.name_of(number) for number in range(8)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.write_echonet(tmp_path_factory.mktemp("echonet") / "EchoNet-Dynamic")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher") / "tiny"
    save_teacher(place, new_stand_in(0, TINY), TINY, {"name": "tiny", "simulated": True})
    return place


def test_the_list_with_its_traps(root: Path) -> None:
    found = read_echonet(root)
    assert [video.study_id for video in found.videos] == [NAMES[i] for i in (0, 1, 2, 3, 5, 7)]
    assert [video.split for video in found.videos] == [
        "train", "test", "valid", "test", "test", "test",
    ]  # fmt: skip
    assert [(left.record_id, left.reason) for left in found.left_out] == [
        (NAMES[tree.NOT_THERE], "file is not there"),
        (NAMES[tree.NO_EF], "no EF"),
        ("0X1UNLISTED", "not in FileList.csv"),
    ]
    assert [video.traced for video in found.videos] == [True] * 5 + [False]
    assert found.untraced == 1
    first = found.videos[0]
    assert first.lvef_pct == pytest.approx(tree.lvef_pct(0), abs=1e-9)
    assert (first.esv_ml, first.edv_ml) == (40.383875917, 109.0)
    assert (first.fps, first.n_frames) == (50.0, 12)
    test = read_echonet(root, split="test")
    assert [video.study_id for video in test.videos] == [NAMES[i] for i in (1, 3, 5, 7)]
    assert len(test.left_out) == 2


def test_a_teacher_is_measured_on_the_test_split(root: Path, teacher: Path) -> None:
    measured = services.measure_echo_teacher_on_echonet(root, teacher=teacher)
    readings = measured.to_dict()["readings"]
    assert [one["study_id"] for one in readings] == [NAMES[i] for i in (1, 3, 7)]
    assert set(measured.to_dict()["left_out"]) == {NAMES[i] for i in (4, 5, 6)}
    by_name = {(r.task, r.metric, r.model): r for r in measured.results}
    mae = by_name["LVEF, points", "MAE", "prompts"]
    truth = np.array([tree.lvef_pct(i) for i in (1, 3, 7)])
    read = np.array([one["read_pct"] for one in readings])
    assert mae.estimate.value == pytest.approx(float(np.abs(truth - read).mean()))
    assert mae.data == "EchoNet-Dynamic, test"
    # The files say that they were simulated.
    assert mae.simulated
    always = by_name["LVEF, points", "MAE", "always the median"].estimate.value
    assert always == pytest.approx(float(np.abs(truth - np.median(truth)).mean()))
    narrow = [one["read_10_80_pct"] for one in readings]
    assert min(narrow) >= 10
    assert max(narrow) <= 80


def test_on_the_command_line(root: Path, teacher: Path, tmp_path: Path) -> None:
    out = tmp_path / "echonet.json"
    asked = ["teacher", "measure", "--echonet", str(root), "--teacher", str(teacher)]
    result = CliRunner().invoke(app, [*asked, "--json", str(out)])
    assert result.exit_code == 0, result.output
    assert "EchoNet-Dynamic, test" in result.output
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["n_studies"] == 3
    assert len(told["left_out"]) == 3
    assert told["readings"][0]["study_id"] == NAMES[1]
    refused = CliRunner().invoke(
        app, ["teacher", "measure", "--echonet", str(tmp_path), "--teacher", str(teacher)]
    )
    assert refused.exit_code == 2
    assert "no FileList.csv" in refused.output


def test_each_listed_video_is_embedded_as_a_study(
    root: Path, teacher: Path, tmp_path: Path
) -> None:
    run = services.embed_echo_folder(root, tmp_path / "store", teacher=teacher)
    made = load_echo_embeddings(tmp_path / "store")
    assert made.study_ids == tuple(NAMES[i] for i in (0, 1, 2, 3, 7))
    assert made.n_frames.tolist() == [6] * 5
    assert set(run.failures) == {NAMES[4], NAMES[5], NAMES[6], "0X1UNLISTED"}


def test_what_is_not_the_published_set(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"no FileList\.csv"):
        read_echonet(tmp_path)
    with pytest.raises(ConfigError, match="no split VAL"):
        read_echonet(root, split="VAL")
    (tmp_path / "FileList.csv").write_text("FileName,EF\n", encoding="utf-8")
    with pytest.raises(DataSetError, match="lacks the columns Split"):
        read_echonet(tmp_path)
    listed = (root / "FileList.csv").read_text(encoding="utf-8")
    (tmp_path / "FileList.csv").write_text(listed, encoding="utf-8")
    with pytest.raises(DataSetError, match="no folder Videos"):
        read_echonet(tmp_path)
    (tmp_path / "Videos").mkdir()
    with pytest.raises(DataSetError, match=r"None of the 8 videos .* file is not there"):
        read_echonet(tmp_path)
    twice = listed + listed.splitlines()[1] + "\n"
    (tmp_path / "FileList.csv").write_text(twice, encoding="utf-8")
    with pytest.raises(DataSetError, match=f"lists {NAMES[0]} twice"):
        read_echonet(tmp_path)
    with pytest.raises(DataSetError, match="no ECG, so there is nothing to prepare"):
        EchoNetDynamic().plan(root)
