"""sigma^2 by matching and by displacement: what either reads, moves and is compared with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from echoing_core.embed.encode import encode_batch, encode_batch_terms, encode_dense_terms
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.checkpoint import load_checkpoint, save_checkpoint, update_documents
from echoing_core.models.config import LossConfig, ModelConfig
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.losses import MatchingLoss
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.records import LEADS, StandardEcg
from echoing_core.services import load_model, shipped_models
from echoing_core.signals.scaling import LeadScaler
from echoing_core.uncertainty.reference import Reference
from tests.tiny_model import TEXTS, tiny_config

SCALER = LeadScaler(np.zeros(12), np.full(12, 0.3))


def _encoder(sigma2: str) -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder(dataclasses.replace(tiny_config(120), sigma2=sigma2)).eval()


def _windows(n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    signal = np.random.default_rng(0).standard_normal((n, 12, 1000)).astype(np.float32)
    return signal, np.ones(signal.shape, bool)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of both kinds, with references that differ."""
    out = tmp_path_factory.mktemp("models") / "two"
    save_checkpoint(
        out,
        encoder=_encoder("both"),
        tokenizer=train_tokenizer(TEXTS, vocab_size=120, max_tokens=24),
        scaler=SCALER,
        logit_scale=10.0,
        reference=Reference.from_values(np.linspace(0.0, 1.0, 50), name="matching").to_dict(),
        training={"simulated_ecgs": 0, "real_ecgs": 0},
        card="# Two\n",
    )
    other = Reference.from_values(np.linspace(0.0, 2.0, 50), name="displacement").to_dict()
    update_documents(out, measured={"reference": other}, sigma2="displacement")
    return out


def _moved_by(encoder: DualEncoder) -> set[str]:
    """Parts of the ECG encoder that a loss of nothing but sigma^2 reaches."""
    signal, valid = map(torch.from_numpy, _windows())
    _, log_var = encoder.ecg(signal, valid.float())
    log_var.sum().backward()
    return {name.split(".")[0] for name, p in encoder.ecg.named_parameters() if p.grad is not None}


def test_matching_reaches_the_trunk_and_displacement_does_not() -> None:
    matching = _moved_by(_encoder("matching"))
    assert {"stem", "stage3", "matching_head"} <= matching
    assert "mean_head" not in matching
    assert _moved_by(_encoder("displacement")) == {"variance_head"}


def test_a_model_of_matching_has_no_other_head() -> None:
    encoder = _encoder("matching")
    assert encoder.ecg.variance_head is None
    assert encoder.text.matching_head is None
    with pytest.raises(ConfigError, match="no sigma\\^2 that is learnt from displacement"):
        encoder.renew_variance()
    with pytest.raises(ConfigError, match="It has: matching"):
        encoder.read("displacement")


def test_sigma2_starts_where_the_setting_says() -> None:
    config = dataclasses.replace(tiny_config(120), sigma2="matching", log_var_bias=-5.0)
    torch.manual_seed(0)
    encoder = DualEncoder(config).eval()
    windows = encode_batch(encoder.ecg, SCALER, *_windows())
    assert np.allclose(windows.log_var, -5.0, atol=0.2)


def test_the_loss_teaches_the_sigma2_that_is_read() -> None:
    """With equal means only sigma^2 can lower a matching loss; it sinks for what matches."""
    encoder = _encoder("both")
    head = encoder.ecg.matching_head
    assert head is not None
    loss = MatchingLoss(LossConfig("pcmepp", scale_init=5.0, shift_init=1.0))
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    signal, valid = map(torch.from_numpy, _windows())
    before = encode_batch(encoder.ecg, SCALER, signal.numpy(), valid.numpy()).uncertainty
    for _ in range(5):
        mu, log_var = encoder.ecg(signal / 0.3, valid.float())
        terms = loss(mu, log_var, mu.detach(), log_var.detach(), torch.ones(4, 4, dtype=torch.bool))
        optimiser.zero_grad()
        terms.total.backward()
        optimiser.step()
    after = encode_batch(encoder.ecg, SCALER, signal.numpy(), valid.numpy()).uncertainty
    assert (after < before).all()


def test_both_are_read_in_one_pass(folder: Path) -> None:
    signal, valid = _windows()
    matching = load_checkpoint(folder)
    displacement = load_checkpoint(folder, sigma2="displacement")
    one, other = (
        encode_batch_terms(model.encoder.ecg, model.scaler, signal, valid)
        for model in (matching, displacement)
    )
    assert np.array_equal(one.embedding.mu, other.embedding.mu)
    assert np.allclose(one.other_sigma2, other.embedding.uncertainty, rtol=1e-5)
    assert np.allclose(other.other_sigma2, one.embedding.uncertainty, rtol=1e-5)
    assert one.by_lead is None and one.cells is None
    assert other.by_lead is not None
    # Not of sigma^2, so both know it.
    assert np.array_equal(one.novelty, other.novelty)


def test_windows_of_one_pass_equal_windows_alone(folder: Path) -> None:
    signal = np.random.default_rng(1).standard_normal((12, 3000)).astype(np.float32)
    ecg = StandardEcg(
        record_id="x",
        signal_mv=signal,
        valid=np.ones(signal.shape, bool),
        fs_hz=100.0,
        lead_origin=("measured",) * len(LEADS),
        derivation=None,
    )
    model = load_checkpoint(folder)
    starts = np.array([0, 200, 400])
    dense = encode_dense_terms(model.encoder.ecg, model.scaler, ecg, starts)
    cut = np.stack([signal[:, s : s + 1000] for s in starts])
    alone = encode_batch_terms(model.encoder.ecg, model.scaler, cut, np.ones(cut.shape, bool))
    assert np.allclose(dense.embedding.log_var, alone.embedding.log_var, atol=1e-4)
    assert np.allclose(dense.other_sigma2, alone.other_sigma2, rtol=1e-4)


def test_each_kind_has_its_reference_and_a_hash_of_its_own(folder: Path) -> None:
    matching, displacement = load_model(folder), load_model(f"{folder}@displacement")
    assert (matching.sigma2, matching.reference.name) == ("matching", "matching")
    assert matching.other_reference is not None
    assert matching.other_reference.name == "displacement"
    assert displacement.reference.name == "displacement"
    assert displacement.other_reference is not None
    assert displacement.other_reference.name == "matching"
    # An index of one must never be searched with the other.
    assert matching.hash != displacement.hash
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert matching.hash == manifest["hash"]
    assert matching.masks_leads and not matching.has_attribution
    assert displacement.has_attribution
    with pytest.raises(CheckpointError, match="no sigma\\^2 of the kind 'both'"):
        load_checkpoint(folder, sigma2="both")


def test_what_was_measured_with_one_is_not_read_for_the_other(folder: Path) -> None:
    update_documents(folder, measured={"distances": {"of": "displacement"}}, sigma2="displacement")
    assert "distances" not in load_checkpoint(folder).measured
    measured = load_checkpoint(folder, sigma2="displacement").measured
    assert measured["distances"] == {"of": "displacement"}


def test_the_training_record_names_the_default(folder: Path) -> None:
    record = {"simulated_ecgs": 0, "real_ecgs": 0}
    update_documents(folder, training={**record, "sigma2_default": "displacement"})
    try:
        assert load_checkpoint(folder).sigma2 == "displacement"
    finally:
        update_documents(folder, training=record)


@pytest.mark.slow
def test_models_are_known_by_name() -> None:
    names = shipped_models()
    assert names[0] == "demo"
    assert load_model("demo").hash == load_model().hash
    with pytest.raises(CheckpointError, match="has no sigma\\^2 of the kind 'matching'"):
        load_model("demo@matching")


def test_settings_of_older_models_are_as_they_were_written() -> None:
    assert "sigma2" not in ModelConfig().settings()
    assert ModelConfig(sigma2="both").settings()["sigma2"] == "both"
    with pytest.raises(ConfigError, match="displacement, matching, both"):
        ModelConfig(sigma2="none")
