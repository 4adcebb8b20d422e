"""The published ECG encoder (ProbXResNet1D): a residual network that sees nearly the whole window.

Written from a description of its layers, not from its code. Module names are those of the
published weights, so that a key needs no more than another prefix (`models.foreign`).

==========  ====================================  ==========  ===============
stage       layers                                channels    frames of 1000
==========  ====================================  ==========  ===============
stem        conv 7, stride 2, norm, ReLU          w = 96      500
layer1      3 basic blocks                        2 w         500
layer2      4, the first with stride 2            4 w         250
layer3      23, the first with stride 2           8 w         125
layer4      3, the first with stride 2            16 w        63
==========  ====================================  ==========  ===============

Its receptive field of 995 samples covers the window of 1000, and convolutions pad with zeros at the
window's own ends. So one pass over a recording cannot stand for its windows: they are embedded in
batches.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.models.config import ReleasedEcgConfig
from echoing_core.models.pooling import GeneralisedPooling, to_unit
from echoing_core.records import LEADS

N_BLOCKS = (3, 4, 23, 3)
FACTORS = (2, 4, 8, 16)

LEAD_ORDERS: dict[str, tuple[str, ...]] = {
    "standard": LEADS,
    "mimic": ("I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:]),
}
"""Orders in which a network may have been given the leads. MIMIC-IV-ECG's WFDB files have aVF
before aVL, and nothing is known to have put them in another order before training."""


class BasicBlock(nn.Module):
    """Two convolutions of 3 and a shortcut, which is a convolution of 1 where shapes change."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(n_in, n_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(n_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            self.shortcut = nn.Sequential(
                nn.Conv1d(n_in, n_out, 1, stride=stride, bias=False), nn.BatchNorm1d(n_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self.shortcut(x))


class ReleasedEcgEncoder(nn.Module):
    """12 leads at 100 Hz -> Gaussian in the shared space.

    Parameters
    ----------
    config : ReleasedEcgConfig
    dim : int
        Dimension of the shared space.
    log_var_bias : float
        Added to the start of the log-variance; 0 is the release's.

    References
    ----------
    EchoingECG, sec. 2.2 ("1D-ResNet"); the layers as released.
    """

    lead_rows: Tensor

    def __init__(self, config: ReleasedEcgConfig, dim: int, log_var_bias: float) -> None:
        super().__init__()
        if config.lead_order not in LEAD_ORDERS:
            raise ConfigError(
                f"There is no lead order {config.lead_order!r}. Choose one of "
                f"{', '.join(LEAD_ORDERS)}."
            )
        self.config = config
        self.dim = dim
        width = config.init_dim
        self.conv1 = nn.Conv1d(len(LEADS), width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        widths = (width, *(width * factor for factor in FACTORS))
        self.layer1 = _stage(widths[0], widths[1], N_BLOCKS[0], stride=1)
        self.layer2 = _stage(widths[1], widths[2], N_BLOCKS[1], stride=2)
        self.layer3 = _stage(widths[2], widths[3], N_BLOCKS[2], stride=2)
        self.layer4 = _stage(widths[3], widths[4], N_BLOCKS[3], stride=2)
        self.linear = nn.Linear(widths[4], dim)
        self.gpool = GeneralisedPooling()
        self.std_linear = nn.Linear(widths[4], dim)
        self.std_gpool = GeneralisedPooling()
        with torch.no_grad():
            # Pooling weights sum to one, so what is added here is added to every log-variance.
            self.std_linear.bias.add_(log_var_bias)
        order = [LEADS.index(lead) for lead in LEAD_ORDERS[config.lead_order]]
        # Not among the weights: the configuration says it.
        self.register_buffer("lead_rows", torch.tensor(order), persistent=False)

    def features(self, scaled: Tensor) -> Tensor:
        """Frames of the trunk, shape (batch, n_frames, 16 * init_dim)."""
        x = scaled[:, self.lead_rows]
        x = functional.relu(self.bn1(self.conv1(x)))
        frames: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return frames.transpose(1, 2)

    def mean(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim)."""
        return to_unit(self.gpool(self.linear(self.features(scaled))))

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim); log_var has no limits, as released.

        Parameters
        ----------
        scaled : Tensor, shape (batch, 12, n_times)
            In the order of `LEADS`, whatever the network's own order is; 0 where not valid.
        valid : Tensor of the same shape
            Not read: this network was never told which samples are real.
        """
        features = self.features(scaled)
        mu = to_unit(self.gpool(self.linear(features)))
        return mu, self.std_gpool(self.std_linear(features))


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    blocks = [BasicBlock(n_in, n_out, stride)]
    blocks += [BasicBlock(n_out, n_out, 1) for _ in range(1, n_blocks)]
    return nn.Sequential(*blocks)
