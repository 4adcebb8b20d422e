"""The compact encoder: local, shareable, and its variance kept out of the trunk."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoing_core.embed.encode import (
    encode_batch,
    encode_batch_terms,
    encode_dense,
    encode_dense_terms,
)
from echoing_core.models.config import EcgEncoderConfig, ModelConfig, TextEncoderConfig
from echoing_core.models.ecg_encoder import WINDOW_N, CompactEcgEncoder
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.variance_head import HOP
from echoing_core.records import LEADS, StandardEcg
from echoing_core.signals.scaling import LeadScaler
from echoing_core.signals.windows import cut_windows, window_starts

SMALL = EcgEncoderConfig(
    stem_width=8, mid_width=8, width=16, n_pool_heads=2, variance_width=4, variance_hidden=16
)
SCALER = LeadScaler(np.zeros(12), np.full(12, 0.3))


@pytest.fixture(scope="module")
def encoder() -> CompactEcgEncoder:
    torch.manual_seed(1)
    encoder = CompactEcgEncoder(SMALL, dim=12)
    encoder.train()
    with torch.no_grad():  # BatchNorm statistics other than 0 and 1
        for _ in range(3):
            encoder(torch.randn(8, 12, WINDOW_N), torch.ones(8, 12, WINDOW_N))
    encoder.eval()
    return encoder


def _ecg(seconds: float) -> StandardEcg:
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (12, round(seconds * 100))).astype(np.float32)
    valid = np.ones(signal.shape, dtype=bool)
    valid[7] = False
    valid[:, 1500:1620] = False
    signal[~valid] = 0.0
    origin = tuple("missing" if i == 7 else "measured" for i in range(len(LEADS)))
    return StandardEcg(signal, valid, origin, "made-for-the-test")


@pytest.mark.parametrize("stride_n", [20, 100, 1000, 7])
def test_one_pass_equals_window_by_window(encoder: CompactEcgEncoder, stride_n: int) -> None:
    ecg = _ecg(47.3)
    starts = window_starts(ecg.n_times, WINDOW_N, stride_n)
    dense = encode_dense(encoder, SCALER, ecg, starts)
    single = encode_batch(encoder, SCALER, *cut_windows(ecg, starts))
    assert np.abs(dense.mu - single.mu).max() < 1e-5
    assert np.abs(dense.log_var - single.log_var).max() < 1e-5


def test_one_pass_and_single_windows_agree_on_the_terms(encoder: CompactEcgEncoder) -> None:
    ecg = _ecg(30)
    starts = np.array([0, 700, 2000])
    dense = encode_dense_terms(encoder, SCALER, ecg, starts)
    single = encode_batch_terms(encoder, SCALER, *cut_windows(ecg, starts), keep_cells=True)
    assert single.cells is not None
    assert np.allclose(single.by_lead, single.cells.sum(2), rtol=1e-5)
    assert np.allclose(dense.by_lead, single.by_lead, rtol=1e-4, atol=1e-9)
    assert np.allclose(dense.rest, single.rest, rtol=1e-4, atol=1e-9)
    total = dense.by_lead.sum(1) + dense.rest
    assert np.allclose(total, dense.embedding.uncertainty, rtol=1e-4)


def test_one_pass_over_several_stretches(encoder: CompactEcgEncoder) -> None:
    """A recording longer than one stretch (300 s) has no seam."""
    ecg = _ecg(330)
    starts = np.arange(28_500, ecg.n_times - WINDOW_N + 1, 60)
    dense = encode_dense(encoder, SCALER, ecg, starts)
    single = encode_batch(encoder, SCALER, *cut_windows(ecg, starts))
    assert np.abs(dense.mu - single.mu).max() < 1e-5
    assert np.abs(dense.log_var - single.log_var).max() < 1e-5


def test_frames_agree_with_the_receptive_field(encoder: CompactEcgEncoder) -> None:
    maps = encoder.frame_maps(torch.randn(1, 12, WINDOW_N), torch.ones(1, 12, WINDOW_N))
    every = (maps.early, maps.deep, maps.leads, maps.statistics)
    found = tuple(frame_map.shape[-1] for frame_map in every)
    assert found == encoder.window_frames
    # In samples: about 4 s, and never the whole window.
    assert 300 <= encoder.receptive_field <= 420


def test_a_sample_reaches_only_its_receptive_field(encoder: CompactEcgEncoder) -> None:
    signal = torch.zeros(1, 12, 2000)
    moved = signal.clone()
    moved[0, :, 1000] = 1.0
    valid = torch.ones_like(signal)
    with torch.inference_mode():
        difference = encoder.frame_maps(moved, valid).deep - encoder.frame_maps(signal, valid).deep
    touched = torch.nonzero(difference.abs().amax(1)[0] > 0).flatten()
    reach = int(touched.max() - touched.min()) * HOP
    assert 0 < reach < encoder.receptive_field


def test_means_have_unit_norm_and_variances_stay_finite(encoder: CompactEcgEncoder) -> None:
    loud = 1e4 * torch.randn(4, 12, WINDOW_N)
    with torch.inference_mode():
        mu, log_var = encoder(loud, torch.ones_like(loud))
    assert torch.allclose(mu.norm(dim=1), torch.ones(4), atol=1e-5)
    assert torch.isfinite(log_var).all()


def test_leads_and_moments_add_up_to_sigma2(encoder: CompactEcgEncoder) -> None:
    signal = torch.randn(4, 12, WINDOW_N)
    with torch.inference_mode():
        parts = encoder.variance_from(encoder.frame_maps(signal, torch.ones_like(signal)))
    assert parts.cells.shape == (4, 12, 50)
    assert (parts.cells >= 0).all()
    total = parts.log_var.double().exp().sum(1)
    assert torch.allclose(parts.cells.sum((1, 2)).double() + parts.rest, total, rtol=1e-5)


def test_variance_never_bends_the_trunk(encoder: CompactEcgEncoder) -> None:
    _, log_var = encoder(torch.randn(4, 12, WINDOW_N), torch.ones(4, 12, WINDOW_N))
    encoder.zero_grad()
    log_var.sum().backward()
    touched = {name.split(".")[0] for name, p in encoder.named_parameters() if p.grad is not None}
    assert touched == {"variance_head"}


def test_mask_is_read(encoder: CompactEcgEncoder) -> None:
    """A missing lead and a flat lead hold the same zeros, and are not the same."""
    signal = torch.randn(1, 12, WINDOW_N)
    signal[:, 3] = 0.0
    missing = torch.ones_like(signal)
    missing[:, 3] = 0.0
    with torch.inference_mode():
        flat_mu, _ = encoder(signal, torch.ones_like(signal))
        missing_mu, _ = encoder(signal, missing)
    assert not torch.allclose(flat_mu, missing_mu)


def test_default_size_is_within_ten_million() -> None:
    model = DualEncoder(ModelConfig(text=TextEncoderConfig(n_layers=1, vocab_size=100)))
    assert sum(p.numel() for p in model.ecg.parameters()) < 10_000_000
