"""The same numbers on a GPU as on the processor: ``pytest -m gpu``, on a machine that has one.

Limits are those that docs/performance.md states.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.simulated import build_simulated
from echoing_core.embed.encode import (
    EncodedWindows,
    encode_batch_terms,
    encode_dense_terms,
    encode_texts,
)
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.models.devices import device_of, placed
from echoing_core.records import GaussianEmbedding, StandardEcg
from echoing_core.retrieve.vectors import Vectors, as_vectors
from echoing_core.services.embedding import embed_part
from echoing_core.signals.standard import standardise
from echoing_core.training.distributed import World
from tests import tiny_run
from tests.released_model import write_released_model

pytestmark = pytest.mark.gpu

MU, LOG_VAR = 2e-6, 2e-5


@pytest.fixture(scope="module", autouse=True)
def gpu() -> Iterator[torch.device]:
    assert torch.cuda.is_available(), "PyTorch sees no GPU"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ECHOING_DEVICE", raising=False)
        yield torch.device("cuda")


@pytest.fixture(scope="module")
def demo() -> Checkpoint:
    return services.load_model().checkpoint


@pytest.fixture(scope="module")
def recording() -> StandardEcg:
    """The longest that ships."""
    samples = services.samples()
    read = [services.read_recording(sample.paths[0]) for sample in samples]
    longest = max(read, key=lambda one: one.duration_s)
    return standardise(longest)


def windows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Waves with noise, lost leads, flat stretches and gaps."""
    rng = np.random.default_rng(seed)
    t = np.arange(1000) / 100
    signal = np.sin(2 * np.pi * rng.uniform(0.5, 8.0, (n, 12, 1)) * t) * rng.uniform(
        0, 2, (n, 12, 1)
    )
    signal += rng.normal(0, 0.2, signal.shape)
    valid = np.ones(signal.shape, dtype=bool)
    valid[::3, 4], signal[1::3, 2, 200:700] = False, 0.0
    valid[2::5, :, 900:] = False
    return signal.astype(np.float32), valid


def near(got: GaussianEmbedding, wanted: GaussianEmbedding) -> None:
    np.testing.assert_allclose(got.mu, wanted.mu, rtol=0, atol=MU)
    np.testing.assert_allclose(got.log_var, wanted.log_var, rtol=0, atol=LOG_VAR)


def all_near(got: EncodedWindows, wanted: EncodedWindows) -> None:
    near(got.embedding, wanted.embedding)
    for name in ("by_lead", "rest", "novelty", "other_sigma2", "cells", "lost"):
        one, other = getattr(got, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", services.shipped_models())
def test_windows_one_by_one(name: str, gpu: torch.device) -> None:
    checkpoint = services.load_model(name).checkpoint
    scaler, own = checkpoint.scaler, checkpoint.encoder.ecg
    wanted = encode_batch_terms(own, scaler, *windows(200), keep_cells=True)
    moved = placed(own, gpu)
    assert device_of(own).type == "cpu" and device_of(moved).type == "cuda"
    all_near(encode_batch_terms(moved, scaler, *windows(200), keep_cells=True), wanted)


@pytest.mark.parametrize("stride", [0.2, 1.0, 10.0, 0.31])
def test_windows_of_a_recording(
    stride: float, demo: Checkpoint, recording: StandardEcg, gpu: torch.device
) -> None:
    starts = np.arange(0, recording.n_times - 1000, round(stride * 100))[:3000]
    wanted = encode_dense_terms(demo.encoder.ecg, demo.scaler, recording, starts)
    moved = placed(demo.encoder.ecg, gpu)
    all_near(encode_dense_terms(moved, demo.scaler, recording, starts), wanted)


def test_many_windows_go_to_a_gpu_by_themselves(
    demo: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ecg, scaler = demo.encoder.ecg, demo.scaler
    signal, valid = windows(64)
    many = np.tile(signal, (80, 1, 1)), np.tile(valid, (80, 1, 1))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    wanted = encode_batch_terms(ecg, scaler, signal, valid)
    assert torch.cuda.max_memory_allocated() == before
    got = encode_batch_terms(ecg, scaler, *many)
    assert torch.cuda.max_memory_allocated() > before
    near(got.embedding[np.arange(64)], wanted.embedding)
    monkeypatch.setenv("ECHOING_DEVICE", "cpu")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    encode_batch_terms(ecg, scaler, *many)
    assert torch.cuda.max_memory_allocated() == before


def test_texts(demo: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["sinus rhythm. normal ecg.", "left bundle branch block", "", "lvef 25 %"]
    wanted = encode_texts(demo, texts)
    monkeypatch.setenv("ECHOING_DEVICE", "cuda")
    near(encode_texts(demo, texts), wanted)


def test_the_published_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_released_model(tmp_path / "m")
    published = load_checkpoint(tmp_path / "m")
    texts = ["SINUS RHYTHM", "ATRIAL FIBRILLATION"]
    pair = [
        encode_batch_terms(published.encoder.ecg, published.scaler, *windows(40)).embedding,
        encode_texts(published, texts),
    ]
    monkeypatch.setenv("ECHOING_DEVICE", "cuda")
    near(
        encode_batch_terms(published.encoder.ecg, published.scaler, *windows(40)).embedding, pair[0]
    )
    near(encode_texts(published, texts), pair[1])


@pytest.mark.parametrize("order", ["csd", "cosine"])
def test_searches_find_the_same(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    crowd = rng.normal(size=(40, 64))[rng.integers(40, size=60_000)]
    mu = (crowd + 1e-4 * rng.normal(size=crowd.shape)).astype(np.float32)
    items = GaussianEmbedding(mu, np.full_like(mu, -5.0))
    rows = as_vectors(items)
    some = np.flatnonzero(rng.random(len(mu)) < 0.3)
    monkeypatch.setenv("ECHOING_DEVICE", "cpu")
    by_processor = Vectors(rows)
    for query in (items[np.array([7])], items[np.array([59_999])]):
        for allowed in (None, some):
            monkeypatch.setenv("ECHOING_DEVICE", "cpu")
            wanted = by_processor.nearest(query, 30, order, allowed)
            monkeypatch.setenv("ECHOING_DEVICE", "cuda")
            on_gpu = Vectors(rows)
            for one, other in zip(on_gpu.nearest(query, 30, order, allowed), wanted, strict=True):
                np.testing.assert_array_equal(one, other)
            assert on_gpu._on_gpu is not None and by_processor._on_gpu is None


def test_a_collection_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_prepared(tmp_path / "set", build_simulated(20, 3))
    model = services.load_model()
    found = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("ECHOING_DEVICE", device)
        out = tmp_path / device
        services.embed_collection(tmp_path / "set", out, n_workers=1 if device == "cpu" else 2)
        assert json.loads((out / "card.json").read_text())["device"] == device
        parts = list(services.embedded_parts(out, model))
        found[device] = GaussianEmbedding(
            np.concatenate([part.embedding.mu for part in parts]),
            np.concatenate([part.embedding.log_var for part in parts]),
        )
    near(found["cuda"], found["cpu"])
    # In this process: the worker's model stays where it is put.
    embed_part("demo", tmp_path / "set", range(4), 1, tmp_path / "part.parquet", "cuda")
    assert (tmp_path / "part.parquet").is_file()


def _trained(kind: str, world: World) -> tuple[list[float], nn.Module]:
    if kind == "paired":
        trainer = tiny_run.trainer(tiny_run.config(precision="float32"), world=world)
    elif kind == "language":
        trainer = tiny_run.language_trainer(world=world, precision="float32")  # type: ignore[assignment]
    else:
        settings = tiny_run.melp_config(kind, precision="float32")
        still = replace(settings.masked, dropout=0.0), replace(settings.melp, dropout=0.0)
        settings = replace(settings, masked=still[0], melp=still[1])
        trainer = tiny_run.melp_trainer(settings, world=world)
    losses = [trainer.step([trainer.batches.at(step)])["loss"] for step in range(3)]
    return losses, trainer.encoder


@pytest.mark.parametrize("kind", ["paired", "masked", "melp", "language"])
def test_steps_of_training(kind: str, gpu: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each device drops units, and draws codes, of its own choice.
    monkeypatch.setattr(nn.Dropout, "forward", lambda self, x: x)
    monkeypatch.setattr(functional, "dropout", lambda x, *_: x)
    monkeypatch.setattr(functional, "gumbel_softmax", lambda x, **_: x.softmax(-1))
    wanted, _ = _trained(kind, World())
    got, encoder = _trained(kind, World(device=gpu))
    assert device_of(encoder).type == "cuda"
    np.testing.assert_allclose(got, wanted, rtol=2e-4)


def test_a_whole_training_with_validation(tmp_path: Path, gpu: torch.device) -> None:
    from echoing_core.cli.root import app
    from tests.unit.training.test_paired import SMALL

    save_prepared(tmp_path / "data", build_simulated(36, 3))
    arguments = ["train", "from", "demo", "--data", str(tmp_path / "data"), *SMALL]
    more = ["--out", str(tmp_path / "m"), "--set", "validate_every=3"]
    done = CliRunner().invoke(app, ["--device", "cuda", *arguments, *more])
    assert done.exit_code == 0, done.output
    assert device_of(load_checkpoint(tmp_path / "m").encoder).type == "cpu"
    rows = (tmp_path / "m-run" / "metrics.jsonl").read_text().splitlines()
    assert sum("valid/sigma2 AUROC noise" in json.loads(row) for row in rows) == 2


def test_fine_tuning(demo: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    from echoing_core.evaluate.protocols.fine_tune import Labelled, tune
    from echoing_core.evaluate.protocols.settings import FineTuneSettings

    studies = build_simulated(60, 3)
    yes = np.asarray(studies.signal_mv[:, 1].max(1) > np.median(studies.signal_mv[:, 1].max(1)))
    ecgs, settings = Labelled(studies, yes), FineTuneSettings(epochs=2)
    for module in demo.encoder.ecg.modules():
        if isinstance(module, nn.Dropout):
            monkeypatch.setattr(module, "p", 0.0)
    found = {}
    for device in ("cpu", "cuda"):
        monkeypatch.setenv("ECHOING_DEVICE", device)
        tuned = tune(demo.encoder.ecg, demo.scaler, ecgs, ecgs, settings, seed=1)
        assert device_of(tuned.encoder).type == device_of(tuned.head).type == "cpu"
        assert device_of(demo.encoder.ecg).type == "cpu"
        found[device] = tuned.logits(demo.scaler, studies)
    np.testing.assert_allclose(found["cuda"], found["cpu"], atol=0.02 * np.ptp(found["cpu"]))
