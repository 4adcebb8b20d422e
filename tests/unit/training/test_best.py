"""The weights that were best on validation: kept, given in the end, and found after a resume."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_run
import torch

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.training.run import TrainedPair, train
from echoing_core.training.settings import OptimiserConfig, RunConfig

FIGURES = {1: 0.2, 2: 0.7, 3: 0.9, 4: 0.9, 5: 0.4, 6: 0.1}
"""Made up: they peak at step 3, and step 4 is only as good."""


class Watched:
    """Made-up figures, and the weights that they were of."""

    def __init__(self, figures: dict[int, float]) -> None:
        self.figures = figures
        self.weights: dict[int, dict[str, torch.Tensor]] = {}

    def __call__(self, encoder: torch.nn.Module, step: int) -> dict[str, float]:
        self.weights[step] = {k: v.clone() for k, v in encoder.state_dict().items()}
        return {"recall": self.figures[step], "other": float(step)}


def _settings(average: float = 0.9, **changes: object) -> RunConfig:
    return tiny_run.config(
        validate_every=1,
        keep="best",
        keep_by="recall",
        optimiser=OptimiserConfig(lr=3e-3, average_decay=average),
        **changes,
    )


def _run(settings: RunConfig, watched: Watched, **more: object) -> TrainedPair:
    start = tiny_run.trainer(settings)
    return train(start.encoder, start.batches, settings, validate=watched, **more)  # type: ignore[arg-type]


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("average", [0.9, 0.0])
def test_the_best_weights_are_given_and_not_the_last(average: float, tmp_path: Path) -> None:
    watched = Watched(FIGURES)
    best = _run(_settings(average), watched, run=tmp_path / "run")
    assert best.kept is not None
    assert (best.kept.step, best.kept.figure, best.kept.value) == (3, "recall", 0.9)
    assert _equal(best.encoder.state_dict(), watched.weights[3])
    assert not _equal(best.encoder.state_dict(), watched.weights[6])
    assert best.steps == 6
    # A run of three steps that ends there, with the rates of one of six, has the same constants.
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    at_best = next(row for row in rows if row["step"] == 2 and "scale" in row)
    assert (best.scale, best.shift) == (at_best["scale"], at_best["shift"])
    assert all(not value.requires_grad for value in best.encoder.parameters())


def test_without_it_the_last_weights_are_given() -> None:
    watched = Watched(FIGURES)
    last = _run(replace(_settings(), keep="last"), watched)
    assert last.kept is None
    assert _equal(last.encoder.state_dict(), watched.weights[6])


@pytest.mark.slow
@pytest.mark.parametrize("cut_after", [2, 4])
def test_a_resumed_run_keeps_the_same(cut_after: int, tmp_path: Path) -> None:
    """The best may lie before the cut, or still be to come."""
    whole = _run(_settings(save_every=2), Watched(FIGURES), run=tmp_path / "whole")
    folder = tmp_path / "cut"

    def killed(step: int, values: object) -> None:
        if step == cut_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(_settings(save_every=2), Watched(FIGURES), run=folder, log=killed)
    again = _run(_settings(save_every=2), Watched(FIGURES), run=folder, resume=True)
    assert again.kept == whole.kept
    assert (again.scale, again.shift) == (whole.scale, whole.shift)
    assert _equal(again.encoder.state_dict(), whole.encoder.state_dict())


@pytest.mark.slow
def test_weights_of_an_earlier_run_in_the_folder_are_forgotten(tmp_path: Path) -> None:
    _run(_settings(save_every=2), Watched(FIGURES), run=tmp_path)
    shutil.rmtree(tmp_path / "steps")
    worse = {step: value / 10 for step, value in FIGURES.items()}
    again = _run(_settings(), Watched(worse), run=tmp_path)
    assert again.kept is not None and again.kept.value == pytest.approx(0.09)


@pytest.mark.slow
def test_damaged_weights_are_refused_in_words(tmp_path: Path) -> None:
    _run(_settings(save_every=2), Watched(FIGURES), run=tmp_path)
    path = tmp_path / "best" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(CheckpointError, match="best are damaged"):
        _run(_settings(save_every=2), Watched(FIGURES), run=tmp_path, resume=True)


def test_a_figure_that_is_never_a_number_keeps_the_last() -> None:
    watched = Watched(dict.fromkeys(FIGURES, float("nan")))
    done = _run(_settings(), watched)
    assert done.kept is None
    assert _equal(done.encoder.state_dict(), watched.weights[6])


def test_what_cannot_be_kept_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="validate_every"):
        tiny_run.config(keep="best")
    with pytest.raises(ConfigError, match="keep must be last or best"):
        tiny_run.config(keep="first")
    settings = replace(_settings(), keep_by="recal")
    with pytest.raises(ConfigError, match=r"'recal'.*recall, other"):
        _run(settings, Watched(FIGURES))
    start = tiny_run.trainer(_settings())
    with pytest.raises(ConfigError, match="valid split"):
        train(start.encoder, start.batches, _settings())
