"""A run's state on disk: everything that the next step depends on, and nothing pickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from echoing_core.artifacts import replacing_folder, sha256_of_file, write_text_atomically
from echoing_core.errors import CheckpointError

_KEPT = 2


def save_state(
    run: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> Path:
    """Write ``run/steps/<step>`` whole or not at all, and drop all but the last two.

    Parameters
    ----------
    tensors : mapping of str to Tensor
    facts : mapping
        What must be equal when the run is resumed, as JSON.
    """
    from safetensors.torch import save_file

    folder = run / "steps" / f"{step:08d}"
    with replacing_folder(folder) as draft:
        save_file(
            {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()},
            str(draft / "state.safetensors"),
        )
        content = {
            "step": step,
            "facts": dict(facts),
            "sha256": sha256_of_file(draft / "state.safetensors"),
        }
        (draft / "state.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for old in _saved_steps(run)[:-_KEPT]:
        shutil.rmtree(old)
    return folder


def load_state(run: Path) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
    """Step, tensors and facts of the newest state, or None where there is none.

    Raises
    ------
    CheckpointError
        The newest state is damaged.
    """
    from safetensors.torch import load_file

    saved = _saved_steps(run)
    if not saved:
        return None
    folder = saved[-1]
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        path = folder / "state.safetensors"
        if sha256_of_file(path) != content["sha256"]:
            raise ValueError("hash")
        return int(content["step"]), load_file(str(path)), content["facts"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"The state of step {folder.name} is damaged. Remove the folder {folder.name} under "
            "steps/, and the run resumes from the state before it."
        ) from error


def _saved_steps(run: Path) -> list[Path]:
    """Complete states, oldest first. Half-written ones have names that begin with a dot."""
    folder = run / "steps"
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


class MetricsLog:
    """``metrics.jsonl`` of a run, and TensorBoard events where a folder for them is given.

    Parameters
    ----------
    path : Path or None
        None keeps no file.
    first_step : int
        Lines of this step and later ones are left over from a run that was killed after its
        last saved state, and are dropped, as is a last line that was cut short.
    tensorboard : Path, optional
    """

    def __init__(
        self, path: Path | None, *, first_step: int = 0, tensorboard: Path | None = None
    ) -> None:
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _whole_lines(path) if json.loads(line)["step"] < first_step]
            write_text_atomically(path, "".join(line + "\n" for line in kept))
        self._writer: Any = None
        if tensorboard is not None:
            self._writer = _summary_writer(tensorboard, first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One JSON object a line, on disk when this returns."""
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Let TensorBoard's last events reach the disk."""
        if self._writer is not None:
            self._writer.close()


def _whole_lines(path: Path) -> list[str]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [line for line in lines[:-1] if line]


def _summary_writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CheckpointError(
            "TensorBoard is not installed. Install requirements-research.txt, or leave out "
            "--tensorboard: the same figures are in metrics.jsonl."
        ) from error
    return SummaryWriter(str(folder), purge_step=first_step or None)
