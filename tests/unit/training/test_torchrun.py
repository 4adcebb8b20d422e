"""The training command as README starts it on several processes: its end, its failures, resuming.

Slow: each process takes ten seconds of processor time to start. ``benchmarks/torchrun_five.py``
does the same more often, and measures.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from echoing_core import services
from echoing_core.training.settings import load_preset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]

# In double precision, where the order of a sum does not decide how a step goes; with dropout,
# views and questions, as the demo preset has them.
SETTINGS = """
seed: 11
steps: 8
batch_size: 9
precision: float64
save_every: 1
validate_every: 8
objective: {text_weight: 0.7, question_weight: 1.0}
views: {kind: device, corrupt_share: 0.3, lead_subset_share: 0.25, partial_report_share: 0.25}
loss: {name: csd_infonce, scale_init: 10.0}
variance: {batch_size: 4}
model:
  dim: 16
  ecg:
    {stem_width: 8, mid_width: 8, width: 16, n_pool_heads: 2, variance_width: 4, variance_hidden: 8}
  text: {hidden: 16, n_layers: 1, n_heads: 2, ffn: 16, vocab_size: 200, max_tokens: 64}
"""

TWO_PROCESSES = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, a file of settings, and what one process makes of them."""
    path = tmp_path_factory.mktemp("torchrun")
    services.prepare_simulated(path / "data", n_patients=40, seed=7)
    (path / "tiny.yaml").write_text(SETTINGS, encoding="utf-8")
    _alone(path, "one")
    return path


def _alone(folder: Path, name: str, *, resume: bool = False) -> None:
    config = load_preset(str(folder / "tiny.yaml"))
    services.train_preset(config, folder / "data", folder / name, resume=resume)


def _started(folder: Path, name: str, *more: str) -> subprocess.Popen[str]:
    command = ["-m", "echoing_core.cli", "train", "from", str(folder / "tiny.yaml")]
    places = ["--data", str(folder / "data"), "--out", str(folder / name)]
    without = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [sys.executable, *TWO_PROCESSES, *command, *places, *more],
        cwd=ROOT,
        env={**without, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _largest_difference(folder: Path, first: str, second: str) -> float:
    """Of all weights that were learnt by gradients; novelty is fitted afterwards, by one process.

    Its axes are eigenvectors, which turn freely where two directions are equally wide.
    """
    from safetensors.torch import load_file

    one, other = (load_file(str(folder / name / "model.safetensors")) for name in (first, second))
    assert one.keys() == other.keys()
    learnt = [name for name in one if "familiarity" not in name]
    return max((one[k].double() - other[k].double()).abs().max().item() for k in learnt)


def test_two_processes_end_with_the_model_that_one_process_makes(folder: Path) -> None:
    run = _started(folder, "two")
    out, err = run.communicate(timeout=600)
    assert run.returncode == 0, err[-3000:]
    assert out.count("Model two") == 1, "told by one process"
    assert "Traceback" not in err and "Warning" not in err
    assert _largest_difference(folder, "one", "two") < 1e-6


def test_a_killed_process_ends_the_run_and_two_or_one_resume_it(folder: Path) -> None:
    run = _started(folder, "killed")
    steps = folder / "killed-run" / "steps"
    _wait_until(lambda: steps.is_dir() and any(p.name.isdigit() for p in steps.iterdir()), 300)
    second = _process_of_rank(run.pid, 1)
    # Held first, so that the run cannot end in between.
    os.kill(second, signal.SIGSTOP)
    os.kill(second, signal.SIGKILL)
    began = time.monotonic()
    _, err = run.communicate(timeout=300)
    assert time.monotonic() - began < 60
    assert run.returncode != 0
    assert not (folder / "killed").exists()
    assert err.count("--resume") == 1, err
    # One is the launcher's own, which it prints of any failure.
    assert err.count("Traceback") <= 1, err
    assert "Connection closed" not in err
    shutil.copytree(folder / "killed-run", folder / "killed-alone-run")
    # Here it goes on in one process, with the same batches; and there in two again.
    run = _started(folder, "killed", "--resume")
    _alone(folder, "killed-alone", resume=True)
    _, err = run.communicate(timeout=600)
    assert run.returncode == 0, err[-3000:]
    for resumed in ("killed", "killed-alone"):
        assert _largest_difference(folder, "one", resumed) < 1e-6


def _wait_until(happened: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def _process_of_rank(launcher: int, rank: int) -> int:
    """Process that the launcher started with that rank, by Linux's table of processes."""
    for line in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in b"\0" + Path(f"/proc/{line}/environ").read_bytes():
            return int(line)
    raise AssertionError(f"no process of rank {rank}")
