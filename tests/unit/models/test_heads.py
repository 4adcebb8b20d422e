"""Heads on disk: what is kept of an encoder, and that it comes back the same."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from echoing_core.metrics.probe import LinearProbe
from echoing_core.models.checkpoint import load_checkpoint, save_with_heads
from echoing_core.models.heads import FEW_SHOT, FINE_TUNED, Head
from echoing_core.records import GaussianEmbedding
from tests.tiny_model import write_tiny_model


def test_an_encoder_comes_back_of_the_tensors_that_differ(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "tiny")
    checkpoint = load_checkpoint(tmp_path / "tiny")
    own = checkpoint.encoder.ecg
    tuned = copy.deepcopy(own)
    with torch.no_grad():
        tuned.mean_head.out.weight.add_(0.25)
    rng = np.random.default_rng(0)
    head = Head(
        "af", "AF", FINE_TUNED, "clinic", False, 40, 9, 12,
        LinearProbe(rng.normal(size=12), 0.5), epoch=3, encoder=tuned,
    )  # fmt: skip
    probe = replace(head, kind=FEW_SHOT, encoder=None, epoch=0, simulated=True)
    save_with_heads(tmp_path / "new", tmp_path / "tiny", checkpoint, [head, probe])

    tensors = load_file(str(tmp_path / "new" / "heads.safetensors"))
    assert [n for n in tensors if "encoder" in n] == ["0.encoder.mean_head.out.weight"]
    after = load_checkpoint(tmp_path / "new")
    first, second = after.heads
    assert after.hash == checkpoint.hash and second.encoder is None
    assert first.encoder is not None and not first.encoder.training
    for name, value in tuned.state_dict().items():
        assert torch.equal(first.encoder.state_dict()[name], value), name
    for name, value in own.state_dict().items():
        assert torch.equal(after.encoder.ecg.state_dict()[name], value), name

    ecg = GaussianEmbedding(rng.normal(size=(3, 12)), np.full((3, 12), -2.0))
    mean, std = first.logits(ecg)
    np.testing.assert_allclose(mean, ecg.mu @ head.probe.weights + 0.5)
    # sigma^2 of a tuned encoder was taught by nothing; that of the model's own is its own.
    assert (std == 0).all()
    np.testing.assert_allclose(
        second.logits(ecg)[1], np.sqrt(np.exp(-2.0) * (head.probe.weights**2).sum())
    )
    assert second.title == "AF (few-shot head, trained on 40 simulated ECGs of clinic)"
    assert "epoch 3" in after.card and "validated on nobody" in after.card
