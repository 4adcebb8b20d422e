"""Encoders of other packages: any network that gives a mean and a log variance, as an encoder here.

An entry point of ``echoing.encoders`` is called with ``dim`` and ``log_var_bias``, one of
``echoing.text_encoders`` with ``vocab_size``, too, and either with the options of the settings
(``model.ecg_options``). It gives an `nn.Module` that maps

    signals, valid : (batch, 12, 1000), scaled; bool     or     tokens, mask : (batch, n), int64

to (mu, log_var), each (batch, dim). Here mu is brought onto the unit sphere. Such a half has no
parts of sigma^2 by lead and moment and is embedded window by window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from echoing_core import plugins
from echoing_core.errors import ConfigError
from echoing_core.models.config import ModelConfig


class PluggedEcgEncoder(nn.Module):
    """12 leads at 100 Hz -> Gaussian in the shared space, by a plugin.

    Parameters
    ----------
    config : ModelConfig
        ``ecg_plugin`` and ``ecg_options``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.name = config.ecg_plugin
        self.inner = _built(
            plugins.ENCODERS,
            config.ecg_plugin,
            config.ecg_options,
            dim=config.dim,
            log_var_bias=config.log_var_bias,
        )

    @property
    def masks_leads(self) -> bool:
        """Whether the plugin says (``masks_leads = True``) that it reads which samples are real."""
        return bool(getattr(self.inner, "masks_leads", False))

    def forward(self, scaled: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim).

        Parameters
        ----------
        scaled, valid : Tensor, shape (batch, 12, n_times)
            0 where not valid.

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        return _checked(self.inner(scaled, valid), self.name, (len(scaled), self.dim))

    def mean(self, scaled: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim)."""
        return self.forward(scaled, valid)[0]


class PluggedTextEncoder(nn.Module):
    """Tokens -> Gaussian in the shared space, by a plugin.

    Parameters
    ----------
    config : ModelConfig
        ``text_plugin`` and ``text_options``; the vocabulary is that of ``text``.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dim = config.dim
        self.name = config.text_plugin
        self.inner = _built(
            plugins.TEXT_ENCODERS,
            config.text_plugin,
            config.text_options,
            dim=config.dim,
            log_var_bias=config.log_var_bias,
            vocab_size=config.text.vocab_size,
        )

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim).

        Parameters
        ----------
        token_ids, attention_mask : Tensor of int64, shape (batch, n_tokens)

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        given = self.inner(token_ids, attention_mask)
        return _checked(given, self.name, (len(token_ids), self.dim))


def _built(group: str, name: str, options: Any, **sizes: Any) -> nn.Module:
    make: Callable[..., nn.Module] = plugins.load(group, name)
    try:
        module = make(**sizes, **options)
    except TypeError as error:
        # A misspelt option, most of all.
        raise ConfigError(
            f"The {plugins.GROUPS[group]} {name} cannot be built with the options "
            f"{', '.join(options) or 'none'}: {error}."
        ) from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"The {plugins.GROUPS[group]} {name} makes no torch module.")
    return module


def _checked(given: Any, name: str, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    pair = given if isinstance(given, tuple) else (given,)
    shapes = [tuple(x.shape) for x in pair if isinstance(x, Tensor)]
    if shapes != [shape, shape]:
        raise ConfigError(
            f"The plugin {name} gave {shapes or type(given).__name__}; needed are mu and log_var "
            f"of shape {shape}."
        )
    mu, log_var = pair
    return functional.normalize(mu, dim=-1), log_var
