"""From a configuration to a model: the compact encoders, the published ones, or plugins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.models.bert import Bert
from echoing_core.models.config import DISPLACEMENT, MATCHING, ModelConfig, TextEncoderConfig
from echoing_core.models.ecg_encoder import LOG_VAR_RANGE, CompactEcgEncoder
from echoing_core.models.hugging_face import TextStates

if TYPE_CHECKING:
    # At run time only who builds one pays for its module and for what that imports.
    from echoing_core.models.frozen import FrozenEcgEncoder, FrozenEncoder
    from echoing_core.models.melp import MelpEncoder
    from echoing_core.models.plugged import PluggedEcgEncoder, PluggedTextEncoder
    from echoing_core.models.released import ReleasedDualEncoder, ReleasedEcgEncoder


class TextEncoder(TextStates):
    """A BERT whose token states are averaged into a mean and a log-variance.

    Parameters
    ----------
    config : TextEncoderConfig
    dim : int
        Dimension of the shared space.
    log_var_bias : float
        Start of the log-variance output. With 0 the summed variance would start at ``dim``
        and drown the distance between means.
    sigma2_kinds : tuple of str
        As `ModelConfig.sigma2_kinds`; one head for each.
    """

    matching_head: nn.Sequential | None

    def __init__(
        self,
        config: TextEncoderConfig,
        dim: int,
        log_var_bias: float,
        sigma2_kinds: tuple[str, ...] = (DISPLACEMENT,),
    ) -> None:
        super().__init__()
        self.sigma2 = sigma2_kinds[0]
        self.backbone = Bert(config)
        self.mean = nn.Linear(2 * config.hidden, dim)
        self.variance_head = _text_variance(config, dim, log_var_bias)
        # The same network for either kind. With one kind alone it is `variance_head`, whose names
        # are part of the hash of every model there is.
        self.matching_head = None
        if len(sigma2_kinds) > 1:
            self.matching_head = _text_variance(config, dim, log_var_bias)

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
        weight = attention_mask[..., None].to(states.dtype)
        # Mean over real tokens, and [CLS] beside it, shape (batch, 2 * hidden).
        average = (states * weight).sum(1) / weight.sum(1).clamp_min(1.0)
        pooled = torch.cat([average, states[:, 0]], dim=1)
        mu = functional.normalize(self.mean(pooled), dim=-1)
        head = self.variance_head
        if self.matching_head is not None and self.sigma2 == MATCHING:
            head = self.matching_head
        return mu, head(pooled).clamp(*LOG_VAR_RANGE)


def _text_variance(config: TextEncoderConfig, dim: int, log_var_bias: float) -> nn.Sequential:
    last = nn.Linear(config.hidden, dim)
    # Small weights: every text starts with nearly the same sigma^2.
    nn.init.normal_(last.weight, std=0.01)
    nn.init.constant_(last.bias, log_var_bias)
    return nn.Sequential(
        nn.LayerNorm(2 * config.hidden),
        nn.Linear(2 * config.hidden, config.hidden),
        nn.GELU(),
        last,
    )


class DualEncoder(nn.Module):
    """ECG and text encoders that embed into one space of ``config.dim`` dimensions.

    Parameters
    ----------
    config : ModelConfig
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        kinds, bias = config.sigma2_kinds, config.log_var_bias
        self.ecg = CompactEcgEncoder(config.ecg, config.dim, kinds, bias)
        self.text = TextEncoder(config.text, config.dim, bias, kinds)

    @property
    def sigma2(self) -> str:
        """Which sigma^2 both encoders give: ``"displacement"`` or ``"matching"``."""
        return self.ecg.sigma2

    def read(self, sigma2: str) -> None:
        """Choose which sigma^2 both encoders give from here on, in place.

        Parameters
        ----------
        sigma2 : str
            One of ``config.sigma2_kinds``.

        Raises
        ------
        ConfigError
            The model has no such sigma^2.
        """
        if sigma2 not in self.config.sigma2_kinds:
            raise ConfigError(
                f"This model has no sigma^2 of the kind {sigma2!r}. It has: "
                f"{', '.join(self.config.sigma2_kinds)}."
            )
        self.ecg.sigma2 = self.text.sigma2 = sigma2

    @contextmanager
    def reading(self, sigma2: str) -> Iterator[None]:
        """`read` for a while, and again by the present kind afterwards.

        Parameters
        ----------
        sigma2 : str
            One of ``config.sigma2_kinds``.
        """
        before = self.sigma2
        self.read(sigma2)
        try:
            yield
        finally:
            self.read(before)

    def renew_variance(self) -> None:
        """The heads of displacement as if never trained, in place; the means stay as they are.

        Raises
        ------
        ConfigError
            The model has no such sigma^2.
        """
        # The same random draws as a new model, of which only the heads are used.
        fresh = DualEncoder(self.config)
        head = self.ecg.displacement_head
        head.load_state_dict(fresh.ecg.displacement_head.state_dict())
        self.text.variance_head.load_state_dict(fresh.text.variance_head.state_dict())

    def rotate(self, axes: Tensor) -> None:
        """Turn the space, in place: column k of ``axes`` becomes dimension k.

        Distances and cosines between means stay as they are, whatever the rotation. A diagonal
        sigma^2 does not: it can only be narrow in one direction and wide in another if these are
        axes.

        Parameters
        ----------
        axes : Tensor, shape (dim, dim)
            Orthogonal.
        """
        with torch.no_grad():
            for linear in (self.ecg.mean_head.out, self.text.mean):
                # Both means are normalised after this layer, so a rotation passes through.
                linear.weight.copy_(axes.T @ linear.weight)
                linear.bias.copy_(axes.T @ linear.bias)


class PluggedDualEncoder(nn.Module):
    """Two encoders of which at least one is a plugin's, side by side; sigma^2 learnt by matching.

    Parameters
    ----------
    config : ModelConfig
    """

    ecg: CompactEcgEncoder | PluggedEcgEncoder
    text: TextEncoder | PluggedTextEncoder

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        from echoing_core.models.plugged import PluggedEcgEncoder, PluggedTextEncoder

        self.config = config
        kinds, bias = config.sigma2_kinds, config.log_var_bias
        self.ecg = (
            PluggedEcgEncoder(config)
            if config.ecg_plugin
            else CompactEcgEncoder(config.ecg, config.dim, kinds, bias)
        )
        self.text = (
            PluggedTextEncoder(config)
            if config.text_plugin
            else TextEncoder(config.text, config.dim, bias, kinds)
        )


Encoder: TypeAlias = (
    "DualEncoder | ReleasedDualEncoder | FrozenEncoder | MelpEncoder | PluggedDualEncoder"
)
EcgEncoder: TypeAlias = (
    "CompactEcgEncoder | ReleasedEcgEncoder | FrozenEcgEncoder | PluggedEcgEncoder"
)


def build_ecg_encoder(config: ModelConfig) -> EcgEncoder:
    """The ECG half of `build_encoder`, with the weights that it would have there.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    CompactEcgEncoder, ReleasedEcgEncoder, FrozenEcgEncoder or PluggedEcgEncoder
    """
    if config.architecture in ("frozen", "melp"):
        from echoing_core.models.frozen import FrozenEcgEncoder

        return FrozenEcgEncoder(config.frozen, config.log_var_bias)
    if config.ecg_plugin:
        from echoing_core.models.plugged import PluggedEcgEncoder

        return PluggedEcgEncoder(config)
    if config.architecture in ("compact", "plugged"):
        return CompactEcgEncoder(config.ecg, config.dim, config.sigma2_kinds, config.log_var_bias)
    from echoing_core.models.released import ReleasedEcgEncoder

    return ReleasedEcgEncoder(config.released_ecg, config.dim, config.log_var_bias)


def build_encoder(config: ModelConfig) -> Encoder:
    """The model that a configuration describes, with new weights.

    Parameters
    ----------
    config : ModelConfig

    Returns
    -------
    DualEncoder, ReleasedDualEncoder, FrozenEncoder, MelpEncoder or PluggedDualEncoder
        All have ``config``, ``ecg(scaled, valid)`` and ``text(token_ids, attention_mask)``, which
        give (mu, log_var) of shape (batch, dim). Only the first tells leads and moments apart; the
        third refuses texts, since it has no encoder of them.

    Raises
    ------
    ConfigError
        It names a plugin that is not installed or does not work.
    """
    if config.architecture == "compact":
        return DualEncoder(config)
    if config.architecture == "plugged":
        return PluggedDualEncoder(config)
    if config.architecture == "frozen":
        from echoing_core.models.frozen import FrozenEncoder

        return FrozenEncoder(config)
    if config.architecture == "melp":
        from echoing_core.models.melp import MelpEncoder

        return MelpEncoder(config)
    from echoing_core.models.released import ReleasedDualEncoder

    return ReleasedDualEncoder(config)
