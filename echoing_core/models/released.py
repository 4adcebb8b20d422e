"""The published model: a residual ECG network and BioBERT, each pooled into a Gaussian.

Written from a description of the layers, not from their code. Module names are those of the
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

import logging
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.bert import PooledBert, published_sizes
from echoing_core.models.config import BertTextConfig, ModelConfig, ReleasedEcgConfig
from echoing_core.models.hugging_face import TextStates, declare_missing_operators
from echoing_core.models.tokenizer import BIOBERT
from echoing_core.records import LEADS

N_BLOCKS = (3, 4, 23, 3)
FACTORS = (2, 4, 8, 16)

LEAD_ORDERS: dict[str, tuple[str, ...]] = {
    "standard": LEADS,
    "mimic": ("I", "II", "III", "aVR", "aVF", "aVL", *LEADS[6:]),
}
"""Orders in which a network may have been given the leads. MIMIC-IV-ECG's WFDB files have aVF
before aVL, and nothing is known to have put them in another order before training."""

_MASKED = -10000.0
_TEMPERATURE = 0.1


class GeneralisedPooling(nn.Module):
    """How much the largest, the second largest... value of a sequence counts.

    Features (batch, n, channels) -> (batch, channels). Every channel is sorted by itself, and the
    k-th largest value of all channels gets the same weight. The weights come from a small
    recurrent network that is given nothing but positions, so they depend on the length alone: for
    ECG windows, which are all equally long, they are constants.

    Parameters
    ----------
    width : int
        Of the position encoding and of the recurrent network's state.

    References
    ----------
    Chen et al., "Learning the best pooling strategy for visual semantic embedding", CVPR 2021,
    sec. 4 (GPO).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.gru = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(width, 1, bias=False)

    def weights(self, lengths: Tensor) -> Tensor:
        """Weights of the sorted positions, shape (batch, longest); 0 beyond a row's length.

        Parameters
        ----------
        lengths : Tensor of int64, shape (batch,), >= 1

        Returns
        -------
        Tensor, shape (batch, longest)
        """
        # The recurrent network runs once for each length, not for each row.
        different, row = torch.unique(lengths, return_inverse=True)
        longest = int(different[-1])
        positions = position_encoding(longest, self.width).to(self.linear.weight)
        packed = pack_padded_sequence(
            positions.expand(len(different), -1, -1),
            different.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        both, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        # Mean of both directions.
        scores = self.linear((both[..., : self.width] + both[..., self.width :]) / 2)[..., 0]
        beyond = torch.arange(longest, device=lengths.device) >= different[:, None]
        scores = scores.float().masked_fill(beyond, _MASKED)
        return torch.softmax(scores / _TEMPERATURE, dim=1)[row]

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool items channel by channel, each sorted by size, with weights learnt by position.

        Parameters
        ----------
        features : Tensor, shape (batch, n, channels)
        mask : Tensor, shape (batch, n), optional
            1 where there is a real item; every row needs at least one. Without it all are real.

        Returns
        -------
        Tensor, shape (batch, channels)
        """
        n = features.shape[1]
        if mask is None:
            weights = self.weights(torch.full((1,), n, device=features.device))
            ranked = features.sort(dim=1, descending=True).values
            return (ranked * weights.to(features.dtype)[..., None]).sum(1)
        real = mask.bool()
        lengths = real.sum(1)
        weights = self.weights(lengths)
        ranked = features.masked_fill(~real[..., None], _MASKED).sort(dim=1, descending=True).values
        # Masked items were sorted to the end; their weight is 0, and 0 times -10000 must be 0 too.
        ranked = ranked[:, : weights.shape[1]]
        beyond = torch.arange(ranked.shape[1], device=mask.device) >= lengths[:, None]
        ranked = ranked.masked_fill(beyond[..., None], 0.0)
        return (ranked * weights.to(features.dtype)[..., None]).sum(1)


def position_encoding(length: int, width: int) -> Tensor:
    """Sines (even columns) and cosines (odd) of positions, base 10000, shape (length, width).

    Parameters
    ----------
    length : int
    width : int
        Even.

    Returns
    -------
    Tensor, shape (length, width)
    """
    position = torch.arange(length, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(1e4) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


def to_unit(x: Tensor) -> Tensor:
    """Rows on the unit sphere; 1e-8 is added to the norm, as in the published model.

    Parameters
    ----------
    x : Tensor, shape (..., dim)

    Returns
    -------
    Tensor, same shape
    """
    unit: Tensor = x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + 1e-8)
    return unit


class BasicBlock(nn.Module):
    """Two convolutions of 3 and a shortcut, which is a convolution of 1 where shapes change.

    Parameters
    ----------
    n_in, n_out : int
        Channels.
    stride : int
    """

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
        """Residual block.

        Parameters
        ----------
        x : Tensor, shape (batch, n_in, n_times)

        Returns
        -------
        Tensor, shape (batch, n_out, ceil(n_times / stride))
        """
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
        # Each stage is so many times as wide as the stem.
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
        """Frames of the trunk, shape (batch, n_frames, 16 * init_dim).

        Parameters
        ----------
        scaled : Tensor, shape (batch, 12, n_times)

        Returns
        -------
        Tensor, shape (batch, n_frames, 16 * init_dim)
        """
        # From the order of `LEADS` to the order that the weights were trained with.
        x = scaled[:, self.lead_rows]
        x = functional.relu(self.bn1(self.conv1(x)))
        frames: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return frames.transpose(1, 2)

    def mean(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim).

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, n_times)
            As in `forward`.

        Returns
        -------
        Tensor, shape (batch, dim)
        """
        return to_unit(self.gpool(self.linear(self.features(scaled))))

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim); log_var has no limits, as released.

        Parameters
        ----------
        scaled : Tensor, shape (batch, 12, n_times)
            In the order of `LEADS`, whatever the network's own order is; 0 where not valid.
        valid : Tensor of the same shape
            Not read: this network was never told which samples are real.

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        features = self.features(scaled)
        mu = to_unit(self.gpool(self.linear(features)))
        return mu, self.std_gpool(self.std_linear(features))


def _stage(n_in: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    blocks = [BasicBlock(n_in, n_out, stride)]
    blocks += [BasicBlock(n_out, n_out, 1) for _ in range(1, n_blocks)]
    return nn.Sequential(*blocks)


class BertTextEncoder(TextStates):
    """Tokens -> Gaussian in the shared space. All real tokens are pooled, [CLS] and [SEP] too.

    Parameters
    ----------
    config : BertTextConfig
    dim : int
    log_var_bias : float
        Added to the start of the log-variance; 0 is the release's.

    References
    ----------
    EchoingECG, sec. 2.2; layers as released.
    """

    def __init__(self, config: BertTextConfig, dim: int, log_var_bias: float) -> None:
        super().__init__()
        self.config = config
        self.backbone = PooledBert(published_sizes(config))
        self.linear = nn.Linear(config.hidden, dim)
        self.gpool = GeneralisedPooling()
        self.std_linear = nn.Linear(config.hidden, dim)
        self.std_gpool = GeneralisedPooling()
        with torch.no_grad():
            self.std_linear.bias.add_(log_var_bias)

    def from_states(self, states: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) from token states, which a frozen backbone needs to give only once.

        Parameters
        ----------
        states : Tensor, shape (batch, n_tokens, hidden)
        attention_mask : Tensor of int64, shape (batch, n_tokens)

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        mu = to_unit(self.gpool(self.linear(states), attention_mask))
        return mu, self.std_gpool(self.std_linear(states), attention_mask)

    def load_pretrained(self, source: str = BIOBERT) -> None:
        """Take the backbone's weights from a local folder or a name on the Hugging Face hub.

        Parameters
        ----------
        source : str
            Folder, or name on the hub.

        Raises
        ------
        CheckpointError
            There is no such folder, the hub cannot be reached, or the BERT there has another size.
        """
        pretrained = read_bert(source)
        try:
            self.backbone.load_state_dict(pretrained.state_dict(), strict=True)
        except RuntimeError as error:
            raise CheckpointError(
                f"The BERT of {source!r} has {pretrained.config.num_hidden_layers} layers of width "
                f"{pretrained.config.hidden_size} and {pretrained.config.vocab_size} tokens; "
                f"needed are {self.config.n_layers} of {self.config.hidden} and "
                f"{self.config.vocab_size}. "
                "Name another, or change the settings of the text encoder."
            ) from error


def read_bert(source: str) -> Any:
    """A ``BertModel`` of transformers from a local folder or a name on the Hugging Face hub.

    Parameters
    ----------
    source : str

    Returns
    -------
    BertModel

    Raises
    ------
    CheckpointError
        There is no such folder, or the hub cannot be reached.
    """
    declare_missing_operators()
    from transformers import BertModel
    from transformers.utils import logging as their_logging

    told_before = their_logging.get_verbosity()
    # They would tell of a missing pooler, which nothing here reads; the rest is looked at below.
    their_logging.set_verbosity(logging.ERROR)
    model: Any
    told: Any
    try:
        loaded: Any = BertModel.from_pretrained(source, output_loading_info=True)
        model, told = loaded
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"No BERT could be loaded from {source!r}. Name a local folder with config.json "
            f"and weights, or a name such as {BIOBERT} while the Hugging Face hub can be "
            "reached."
        ) from error
    finally:
        their_logging.set_verbosity(told_before)
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise CheckpointError(
            f"The BERT of {source!r} lacks {len(missing)} of its weights, the first {missing[0]}; "
            "they would be random. Name a folder whose weights are those of its config.json."
        )
    return model


class ReleasedDualEncoder(nn.Module):
    """The published ECG and text encoders, side by side in ``config.dim`` dimensions.

    They have no parts of sigma^2 by lead or moment, and no measure of novelty.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.ecg = ReleasedEcgEncoder(config.released_ecg, config.dim, config.log_var_bias)
        self.text = BertTextEncoder(config.released_text, config.dim, config.log_var_bias)
