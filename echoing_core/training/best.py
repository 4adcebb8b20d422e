"""The weights that were best on validation patients, kept beside those that are learnt further."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from echoing_core.artifacts import replacing_folder, sha256_of_file
from echoing_core.documents import parse_json
from echoing_core.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from echoing_core.training.trainer import Trainer


@dataclass(frozen=True)
class Kept:
    """Which weights a run gave.

    Attributes
    ----------
    step : int
        Steps done.
    figure : str
        By which they were the best.
    value : float
        Of the figure, on validation patients.
    """

    step: int
    figure: str
    value: float


class BestWeights:
    """The best of the weights that were validated; the earliest of several that are equal.

    Parameters
    ----------
    figure : str
        Of validation; the higher the better.
    run : Path or None
        Folder of the run, where they are kept under ``best`` for a run that is cut off and
        resumed; without one, in memory alone.
    begun : bool
        True where a run goes on: what is kept there is its own.
    """

    def __init__(self, figure: str, run: Path | None, *, begun: bool) -> None:
        self.figure = figure
        self.kept: Kept | None = None
        self._tensors: dict[str, Tensor] = {}
        self._folder = None if run is None else run / "best"
        if self._folder is not None and self._folder.is_dir():
            if begun:
                self._read(self._folder)
            else:
                shutil.rmtree(self._folder)

    def offer(self, figures: Mapping[str, float], trainer: Trainer) -> None:
        """Keep what the trainer would give now, if it is better than all before.

        Parameters
        ----------
        figures : mapping of str to float
            Of the weights as they are.
        trainer : Trainer

        Raises
        ------
        ConfigError
            Validation has no such figure.
        """
        if self.figure not in figures:
            raise ConfigError(
                f"Validation has no figure {self.figure!r} to keep the best by. Set keep_by to one "
                f"of: {', '.join(figures)}."
            )
        value = float(figures[self.figure])
        # NaN is never above anything, and so is never kept.
        if not value > (float("-inf") if self.kept is None else self.kept.value):
            return
        self.kept = Kept(trainer.done, self.figure, value)
        self._tensors = {
            name: tensor.detach().cpu().clone() for name, tensor in trainer.result_tensors().items()
        }
        if self._folder is not None:
            self._write(self._folder)

    def put_back(self, trainer: Trainer) -> Kept | None:
        """Give the trainer the best weights.

        Parameters
        ----------
        trainer : Trainer
            Its result and the constants of its loss are replaced.

        Returns
        -------
        Kept or None
            None where no validation gave a number, and all stays as it is.
        """
        if self.kept is not None:
            trainer.take_result(self._tensors)
        return self.kept

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_file

        assert self.kept is not None
        with replacing_folder(folder) as draft:
            path = draft / "weights.safetensors"
            save_file({name: tensor.contiguous() for name, tensor in self._tensors.items()}, path)
            content = {**asdict(self.kept), "sha256": sha256_of_file(path)}
            (draft / "best.json").write_text(json.dumps(content) + "\n", encoding="utf-8")

    def _read(self, folder: Path) -> None:
        from safetensors.torch import load_file

        try:
            content = parse_json((folder / "best.json").read_bytes())
            path = folder / "weights.safetensors"
            if sha256_of_file(path) != content.pop("sha256"):
                raise ValueError("hash")
            kept, tensors = Kept(**content), load_file(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"The best weights under {folder.parent.name}/{folder.name} are damaged. Remove "
                "that folder: the run goes on and keeps the best of what is still to come."
            ) from error
        # Another figure says nothing of which of them was the best.
        if kept.figure == self.figure:
            self.kept, self._tensors = kept, tensors
