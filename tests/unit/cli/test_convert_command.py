"""``echoing convert``: a recording in another format, beside what is in the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.io import read_recording
from echoing_core.records import LEADS
from tests import device_files
from tests.ecg_files import UV, ecg

SIGNAL = ecg(1.0)


@pytest.fixture(scope="module")
def scp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scp") / "Doe.scp"
    path.write_bytes(device_files.scp(SIGNAL))
    return path


@pytest.mark.parametrize("ending", ["hea", "edf"])
def test_a_file_becomes_one_of_another_format(scp: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"plain.{ending}"
    done = CliRunner().invoke(app, ["convert", str(scp), str(out)])
    assert done.exit_code == 0 and f"Written: {out}" in done.stdout
    again = read_recording(out)
    assert again.lead_names == LEADS and again.fs_hz == 500
    np.testing.assert_allclose(again.signal_mv, SIGNAL * (UV / 1000), atol=0.00005 + 3e-7)
    assert not any(b"Doe" in path.read_bytes() for path in tmp_path.iterdir())
    # What is there already stays.
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = CliRunner().invoke(app, ["convert", str(scp), str(out)])
    assert done.exit_code == 2 and "choose another name" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_the_file_does_not_say_is_said(tmp_path: Path) -> None:
    bare = tmp_path / "bare.npy"
    np.save(bare, SIGNAL[1:2].T)
    out = tmp_path / "named.dcm"
    said = ["--lead", "column 1=II", "--fs", "500", "--unit", "5uV"]
    done = CliRunner().invoke(app, ["convert", str(bare), str(out), *said])
    assert done.exit_code == 0, done.stderr
    again = read_recording(out)
    assert again.lead_names == ("II",) and again.fs_hz == 500
    np.testing.assert_allclose(again.signal_mv, SIGNAL[1:2] * (UV / 1000), atol=0.00005 + 3e-7)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pdf", "does not say a format by its ending"),
        ("none/a.edf", "its folder does not exist"),
        ("two words.hea", "letters, digits, - and _ are allowed"),
    ],
)
def test_a_name_that_cannot_be_written_is_told(
    scp: Path, tmp_path: Path, name: str, words: str
) -> None:
    done = CliRunner().invoke(app, ["convert", str(scp), str(tmp_path / name)])
    assert done.exit_code == 2 and words in done.stderr
    assert not list(tmp_path.iterdir())
