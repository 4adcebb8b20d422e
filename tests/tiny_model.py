"""A real, complete and very small model with random weights, for tests of everything around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from echoing_core.models.checkpoint import save_checkpoint
from echoing_core.models.config import EcgEncoderConfig, ModelConfig, TextEncoderConfig
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.signals.lead_sets import LEAD_SETS
from echoing_core.signals.scaling import LeadScaler
from echoing_core.uncertainty.reference import LeadReference, Reference, stored_references

TEXTS = [
    "sinus rhythm. normal ecg.",
    "atrial fibrillation. left bundle branch block. abnormal ecg.",
    "normal left ventricular ejection fraction",
    "severely reduced left ventricular ejection fraction, lvef 25 %",
] * 3


def tiny_config(vocab_size: int) -> ModelConfig:
    """Sizes of the smallest model that does all a large one does."""
    return ModelConfig(
        dim=12,
        ecg=EcgEncoderConfig(
            stem_width=8,
            mid_width=8,
            width=16,
            n_pool_heads=2,
            variance_width=4,
            variance_hidden=16,
        ),
        text=TextEncoderConfig(
            hidden=16,
            n_layers=1,
            n_heads=2,
            ffn=16,
            vocab_size=vocab_size,
            max_tokens=24,
        ),
    )


def write_tiny_model(folder: Path, seed: int = 0) -> str:
    """Write a model folder with random weights; returns its hash."""
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(TEXTS, vocab_size=120, max_tokens=24)
    config = tiny_config(tokenizer.tokenizer.get_vocab_size())
    values = np.linspace(0.001, 0.1, 200)
    # The same scale for every lead set: of random weights no other would say more.
    by_lead = np.repeat(values[:, np.newaxis] / 12, 12, axis=1)
    leads = {
        lead_set.key: LeadReference.of_leads(lead_set, values, by_lead, name="test", simulated=True)
        for lead_set in LEAD_SETS
        if not lead_set.is_all
    }
    return save_checkpoint(
        folder,
        encoder=DualEncoder(config),
        tokenizer=tokenizer,
        scaler=LeadScaler(np.zeros(12), np.full(12, 0.3)),
        logit_scale=10.0,
        reference=Reference.from_values(values, name="test").to_dict(),
        measured={"lead_references": stored_references(leads)},
        training={"simulated_ecgs": 0, "real_ecgs": 0},
        card="# A model with random weights, for tests\n",
    )
