"""One of everything that a package can add to EchoingECG; pyproject.toml names each of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.datasets.adapter import Plan, first_window
from echoing_core.io import read_recording
from echoing_core.io.kinds import Kind
from echoing_core.io.sources import SourceFile
from echoing_core.models.losses import PluggedLoss
from echoing_core.records import LEADS, Recording, StandardEcg


class StridedEcg(nn.Module):
    """An encoder: three strided convolutions, and a mean over time. Gives (mu, log_var)."""

    def __init__(self, dim: int, log_var_bias: float, width: int = 16) -> None:
        super().__init__()
        layers = [nn.Conv1d(n, width, 7, stride=4, padding=3) for n in (12, width, width)]
        self.trunk = nn.Sequential(*(m for conv in layers for m in (conv, nn.GELU())))
        self.out = nn.Linear(width, 2 * dim)
        self.log_var_bias = log_var_bias

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        mu, log_var = self.out(self.trunk(scaled).mean(2)).chunk(2, dim=1)
        return mu, log_var + self.log_var_bias


class BagOfTokens(nn.Module):
    """A text encoder: the mean of learnt token vectors."""

    def __init__(self, dim: int, log_var_bias: float, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, dim)
        self.log_var = nn.Parameter(torch.full((dim,), log_var_bias))

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        weight = attention_mask[..., None].to(self.log_var.dtype)
        mu = (self.table(token_ids) * weight).sum(1) / weight.sum(1)
        return mu, self.log_var.expand_as(mu)


def sigmoid_loss(mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor,
                 match: Tensor, scale: Tensor, shift: Tensor) -> Tensor:  # fmt: skip
    """Every pair a question of its own (Zhai et al. 2023, SigLIP), on cosines."""
    logits = scale * (mu_a @ mu_b.T) - shift
    return functional.binary_cross_entropy_with_logits(logits, match.to(logits.dtype))


SIGMOID = PluggedLoss(sigmoid_loss, logit_per_scale=1.0)


@dataclass(frozen=True)
class Clinic:
    """A data set: recordings in the root, and diagnoses.tsv with file, person and text."""

    @property
    def name(self) -> str:
        return "clinic"

    def plan(self, root: Path) -> Plan:
        given = pd.read_csv(root / "diagnoses.tsv", sep="\t", dtype=str)
        columns = {"source": "clinic", "patient_id": given["person"], "study_id": given["file"]}
        columns |= {"record_id": given["file"], "report": given["text"], "path": given["file"]}
        return Plan(pd.DataFrame(columns | {"split": "train", "simulated": False, "quality": ""}))

    def read(self, root: Path, row: Mapping[str, str]) -> StandardEcg:
        return first_window(read_recording(root / str(row["path"])))


def read_hexlead(file: SourceFile) -> Recording:
    """A reader: after the line HEXLEAD 500 big-endian 16-bit microvolts, lead by lead."""
    first, _, samples = bytes(file.content()).partition(b"\n")
    signal_mv = np.frombuffer(samples, dtype=">i2").reshape(12, -1).astype(np.float32) / 1000
    return Recording(signal_mv, float(first.split()[1]), LEADS, Path(file.name).stem)


HEXLEAD = Kind("hexlead", lambda head: head.startswith(b"HEXLEAD"), read_hexlead, endings=(".hxl",))
