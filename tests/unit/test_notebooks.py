"""The notebooks of ``examples/notebooks`` run from top to bottom, offline, on what ships."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))

EXPECTED = {
    "explore_a_recording": ("X, Y, Z 200 Hz, 19.9 min", "119 windows", "Atrial fibrillation: "),
    "compare_two_losses": ("40 simulated patients", "infonce ", "csd_infonce "),
    "bring_your_own_cohort": ("AUROC", "torch.Size([8, 12, 1000]) torch.bool"),
}
"""What their cells print, in words that hold on any machine."""


def test_the_three_notebooks_are_there_without_outputs() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "bring_your_own_cohort",
        "compare_two_losses",
        "explore_a_recording",
    ]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        # What a run prints is of one machine; a diff of a notebook is to be of its words.
        assert all(not cell.outputs and cell.execution_count is None for cell in code), path.name
        assert "simulated" in notebook.cells[0].source.lower(), "it says what its data are"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever has a proxy finds that nothing goes through it.
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    for words in EXPECTED[path.stem]:
        assert words in printed, printed
