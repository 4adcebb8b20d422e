"""Settings of the encoders and of the losses, stored with every model as its config.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError


@dataclass(frozen=True)
class EcgEncoderConfig:
    """The compact ECG encoder (``models/ecg_encoder.py``).

    Only valid convolutions; ``strides`` multiply to 20 samples (0.2 s at 100 Hz), so windows
    that start on a multiple of 0.2 s share every feature.
    """

    stem_width: int = 64
    mid_width: int = 128
    width: int = 256
    n_blocks: int = 3
    dilated_blocks: int = 1
    n_pool_heads: int = 8
    clip_scaled: float = 8.0
    dropout: float = 0.1
    variance_width: int = 24
    variance_hidden: int = 128


@dataclass(frozen=True)
class TextEncoderConfig:
    """A BERT of our own size, or a folder/name with one (``models/text_encoder.py``)."""

    hidden: int = 128
    n_layers: int = 2
    n_heads: int = 4
    ffn: int = 384
    vocab_size: int = 1600
    max_tokens: int = 96
    dropout: float = 0.1


@dataclass(frozen=True)
class ReleasedEcgConfig:
    """The published ECG encoder, ProbXResNet1D (``models/released_ecg.py``).

    ``init_dim`` is the stem's width; the four stages are 2, 4, 8 and 16 times as wide.
    ``lead_order`` names the order in which the network's first layer has the leads: ``"standard"``
    is `records.LEADS`, ``"mimic"`` has aVF before aVL, as MIMIC-IV-ECG's files do.
    """

    init_dim: int = 96
    lead_order: str = "standard"


@dataclass(frozen=True)
class BertTextConfig:
    """A BERT of any size with the published heads (``models/bert_text.py``); here BioBERT's.

    ``max_tokens`` is where reports are cut (the paper's 244); ``n_positions`` is what the network
    could take.
    """

    hidden: int = 768
    n_layers: int = 12
    n_heads: int = 12
    ffn: int = 3072
    vocab_size: int = 28996
    n_positions: int = 512
    max_tokens: int = 244
    dropout: float = 0.1


ARCHITECTURES = ("compact", "released")


@dataclass(frozen=True)
class ModelConfig:
    """Both encoders and the space they share.

    ``architecture`` says which two: ``"compact"`` are ``ecg`` and ``text``, ``"released"`` are
    ``released_ecg`` and ``released_text``. ``log_var_bias`` is where log sigma^2 starts; the
    release has 0, which lets the summed variance start at ``dim`` and drown all distances.
    """

    dim: int = 256
    log_var_bias: float = -7.0
    ecg: EcgEncoderConfig = field(default_factory=EcgEncoderConfig)
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    architecture: str = "compact"
    released_ecg: ReleasedEcgConfig = field(default_factory=ReleasedEcgConfig)
    released_text: BertTextConfig = field(default_factory=BertTextConfig)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(
                f"There is no architecture {self.architecture!r}. Choose one of "
                f"{', '.join(ARCHITECTURES)}."
            )

    def settings(self) -> dict[str, Any]:
        """As a checkpoint's config.json holds it: only what this architecture is built from."""
        values = to_mapping(self)
        unused: tuple[str, ...] = ("ecg", "text")
        if self.architecture == "compact":
            # Exactly what compact models were written with before there was another kind.
            unused = ("architecture", "released_ecg", "released_text")
        return {key: value for key, value in values.items() if key not in unused}


@dataclass(frozen=True)
class LossConfig:
    """Which objective and its constants (facts: PCME++ eq. 1-6)."""

    name: str = "pcmepp"
    scale_init: float = 5.0
    shift_init: float = 5.0
    pseudo_positive_weight: float = 0.1
    vib_weight: float = 1.0e-4
    vib_drop_above: float | None = None
