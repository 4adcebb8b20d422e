"""From MIMIC's folders to training pairs, through the command line as a user would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.pairing import patient_split
from echoing_core.datasets.prepared import load_prepared
from echoing_core.echo.store import load_echo_embeddings
from echoing_core.echo.teacher import new_stand_in, save_teacher
from echoing_core.training.paired import build_inputs
from echoing_core.training.settings import load_preset
from tests.data_trees.mimic import write_mimic
from tests.unit.cli.test_echo_command import TINY

pytest.importorskip("pydicom")


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_prepared_ecgs_find_their_embedded_echocardiograms(tmp_path: Path) -> None:
    tree = write_mimic(tmp_path / "mimic")
    data, store, teacher = tmp_path / "data", tmp_path / "echo", tmp_path / "teacher"
    save_teacher(teacher, new_stand_in(0, TINY), TINY, {"name": "tiny", "simulated": True})
    modules = ("--set", f"hosp={tree.hosp}", "--set", f"echo={tree.echo}")
    run("prepare", "mimic", tree.ecg, data, *modules, "--workers", "1")
    told = run("teacher", "embed", tree.echo, store, "--teacher", teacher)
    assert "3 Gaussians of 3 studies" in told
    echo = load_echo_embeddings(store)
    assert echo.study_ids == ("s90000001", "s90000002", "s90000003")
    assert echo.n_frames.tolist() == [6, 6, 3]  # three a clip; of the last, one clip is there

    studies = load_prepared(data)
    table = studies.table
    assert set(table["split"]) >= {"train"}
    assert patient_split("mimic-iv-10000032") == "train"  # the only one who has echo on disk
    small = ["model.dim=16", "model.text.vocab_size=300", "views.partial_report_share=0"]
    prepared = build_inputs(load_preset("demo", small), studies, echo=echo)
    assert prepared.echo is not None
    # Both of this patient's paired ECGs, each with the one echocardiogram of its stay.
    rows = np.flatnonzero((table["echo_study_id"] == "s90000001").to_numpy())
    assert len(prepared.echo) == len(rows) == 2
    np.testing.assert_array_equal(prepared.echo.signal_mv, studies.signal_mv[rows])
    np.testing.assert_array_equal(prepared.echo.echo, [0, 0])
    np.testing.assert_array_equal(prepared.echo.mu, echo.mu[:1])

    told = run("teacher", "embed", tree.echo, store, "--teacher", teacher, "--paired-with", data)
    assert "1 Gaussians of 1 studies" in told
    assert "1 were there already" in told
