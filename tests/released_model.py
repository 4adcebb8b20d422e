"""Files of the published structure with random numbers and small widths."""

from __future__ import annotations

import string
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from echoing_core.models.config import BertTextConfig, ModelConfig, ReleasedEcgConfig
from echoing_core.models.foreign import published_name
from echoing_core.models.released import ReleasedDualEncoder
from echoing_core.services.weights import import_weights

WORDS = "sinus rhythm normal ecg atrial left ventricular given the data for report is ECG Given The"
ENTRIES = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", ":", "%", "<",
    *string.ascii_letters, *string.digits,
    *(f"##{c}" for c in string.ascii_letters + string.digits),
    *WORDS.split(),
]  # fmt: skip

CONFIG = ModelConfig(
    architecture="released",
    dim=12,
    log_var_bias=0.0,
    released_ecg=ReleasedEcgConfig(init_dim=8),
    released_text=BertTextConfig(
        hidden=16, n_layers=1, n_heads=1, ffn=16, vocab_size=len(ENTRIES), n_positions=48
    ),
)

# Standard deviations of I, II and III, and of aVL and aVF as they follow from these (mV).
I_MV, II_MV, III_MV = 0.15, 0.2, 0.18
_COVARIANCE = (I_MV**2 + II_MV**2 - III_MV**2) / 2
AVL_MV = (I_MV**2 + II_MV**2 / 4 - _COVARIANCE) ** 0.5
AVF_MV = (II_MV**2 + I_MV**2 / 4 - _COVARIANCE) ** 0.5


def published_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """A table of weights under the published names."""
    torch.manual_seed(seed)
    encoder = ReleasedDualEncoder(CONFIG)
    state = {published_name(name): value for name, value in encoder.state_dict().items()}
    for name, value in state.items():
        # Statistics as after some training, so that the output is not all one.
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.1)
    return state


def scaler(order: str = "mimic") -> StandardScaler:
    """A scaler as fitted, whose numbers fit each other."""
    made = StandardScaler().fit(np.random.default_rng(0).normal(size=(40, 12)))
    fifth = (AVF_MV, AVL_MV) if order == "mimic" else (AVL_MV, AVF_MV)
    made.mean_ = np.linspace(-0.01, 0.012, 12)
    made.scale_ = np.array([I_MV, II_MV, III_MV, 0.16, *fifth, 0.2, 0.3, 0.3, 0.3, 0.25, 0.2])
    return made


def write_published(folder: Path) -> tuple[Path, Path, Path]:
    """``echoingecg.pt``, ``ecg_scaler.pkl`` and ``vocab.txt`` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, pickled, vocab = (
        folder / name for name in ("echoingecg.pt", "ecg_scaler.pkl", "vocab.txt")
    )
    torch.save(published_state(), weights)
    joblib.dump(scaler(), pickled)
    vocab.write_text("\n".join(ENTRIES) + "\n", encoding="utf-8")
    return weights, pickled, vocab


def write_released_model(folder: Path) -> str:
    """A model folder of the published architecture; returns its hash."""
    weights, pickled, vocab = write_published(folder.parent / (folder.name + "_files"))
    made = import_weights(weights, pickled, folder, vocab=vocab, reference_ecgs=10)
    return made.model.hash
