"""ECG encoders of others behind the contract of ours: windows in, points on the unit sphere out.

Such a model knows ECGs alone. It has no text encoder, so it answers no question in words; and no
sigma^2: in its place stands one constant for all ECGs, so that distances by CSD order ECGs as those
of means do. What it does serve is probes, few heads, fine-tuning, and neighbours among ECGs.

A window of 10 s is resampled, scaled and cut into segments (`models.foreign_preprocessing`); the
mean over what the network makes of its segments is brought to unit length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import CheckpointError
from echoing_core.models.config import NO_TEXT, FrozenEcgConfig, ModelConfig
from echoing_core.models.foreign_preprocessing import ForeignInput
from echoing_core.models.hugging_face import TextStates
from echoing_core.models.otis import GlobalToken, OtisEncoder, StudySide, TeacherSide
from echoing_core.models.wav2vec2 import MelpTower, Wav2Vec2


class _OtisTower(nn.Module):
    def __init__(self, config: FrozenEcgConfig) -> None:
        super().__init__()
        self.ecg_encoder = OtisEncoder(
            config.layers, config.width, config.heads, config.ffn, config.segment
        )
        self.token_aggregator = GlobalToken(config.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.token_aggregator(self.ecg_encoder(x))
        return out


class _MeanOfFrames(nn.Module):
    def __init__(self, backbone: Wav2Vec2) -> None:
        super().__init__()
        self.ecg_encoder = backbone

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.ecg_encoder(x).mean(1)
        return out


def build_tower(config: FrozenEcgConfig, *, full: bool = False, dropout: float = 0.0) -> nn.Module:
    """The network without its preprocessing: (batch, 12, segment) -> (batch, dim).

    Parameters
    ----------
    config : FrozenEcgConfig
    full : bool
        With what training by masked prediction, and MELP's, needs beside it.
    dropout : float
        Of ``wav2vec2``, in training.

    Returns
    -------
    nn.Module

    Raises
    ------
    ConfigError
        It cannot be built so.
    """
    if config.kind == "otis":
        return _OtisTower(config)
    sizes = (config.layers, config.width, config.heads, config.ffn, config.stem_width)
    backbone = Wav2Vec2(*sizes, pretraining=full, dropout=dropout)
    if config.beats:
        return MelpTower(backbone, config.width, config.beats, config.beat_width, full=full)
    return _MeanOfFrames(backbone)


class FrozenEcgEncoder(nn.Module):
    """12 leads at 100 Hz in millivolts -> a point on the unit sphere, and a constant for sigma^2.

    Parameters
    ----------
    config : FrozenEcgConfig
    log_var : float
        The constant, as the logarithm of sigma^2 in each dimension.
    full, dropout
        See `build_tower`.
    """

    def __init__(
        self,
        config: FrozenEcgConfig,
        log_var: float,
        *,
        full: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.config = config
        self.dim = config.dim
        self.log_var = log_var
        self.input = ForeignInput(config)
        self.tower = build_tower(config, full=full, dropout=dropout)

    def features(self, signal_mv: Tensor, valid: Tensor) -> Tensor:
        """What the network makes of each window, before it is brought to unit length.

        Parameters
        ----------
        signal_mv : Tensor, shape (batch, 12, n_times)
            100 Hz, order of `LEADS`, 0 where not valid; one scale for all leads.
        valid : Tensor, same shape

        Returns
        -------
        Tensor, shape (batch, dim)

        Raises
        ------
        ConfigError
            The windows are shorter than what the network reads at once.
        """
        segments = self.input(signal_mv, valid)
        each = self.tower(segments.flatten(0, 1))
        out: Tensor = each.unflatten(0, segments.shape[:2]).mean(1)
        return out

    def mean(self, signal_mv: Tensor, valid: Tensor) -> Tensor:
        """mu alone, shape (batch, dim); see `features`."""
        return functional.normalize(self.features(signal_mv, valid), dim=-1)

    def forward(self, signal_mv: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim), the second the same for every ECG; see `features`."""
        mu = self.mean(signal_mv, valid)
        return mu, torch.full_like(mu, self.log_var)


class AbsentTextEncoder(TextStates):
    """Stands where others have their text encoder, and says that there is none."""

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Refuse every text.

        Parameters
        ----------
        token_ids, attention_mask : Tensor

        Raises
        ------
        CheckpointError
            Always.
        """
        raise CheckpointError(NO_TEXT)


class FrozenEncoder(nn.Module):
    """An ECG encoder of others, where other models have two encoders.

    Parameters
    ----------
    config : ModelConfig
        Of the architecture ``frozen``.
    full, dropout
        See `build_tower`.

    Attributes
    ----------
    study : StudySide or TeacherSide or None
        What echo studies are read by, in a space of their own that ECGs are mapped into.
    """

    def __init__(self, config: ModelConfig, *, full: bool = False, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.ecg = FrozenEcgEncoder(config.frozen, config.log_var_bias, full=full, dropout=dropout)
        self.text = AbsentTextEncoder()
        side = config.study
        self.study: StudySide | TeacherSide | None = None
        if config.has_study and side.teacher:
            self.study = TeacherSide(config.dim, side.view_width)
        elif config.has_study:
            self.study = StudySide(
                config.dim, side.view_width, side.study_width, side.heads, side.dim
            )
