"""Settings as frozen dataclasses, one per concern, with their defaults in view.

Files hold plain mappings (YAML or JSON). Reading rejects unknown keys and values of the
wrong type with a `ConfigError` that names the key, so a typo never becomes a default.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from echoing_core.errors import ConfigError

T = TypeVar("T")


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


@dataclass(frozen=True)
class TrainingConfig:
    """One training run: first the space, then both variance heads on the frozen space."""

    seed: int = 20261121
    steps: int = 1200
    batch_size: int = 128
    real_share: float = 0.4
    lr: float = 1.0e-3
    weight_decay: float = 0.05
    warmup_steps: int = 60
    clip_norm: float = 1.0
    ema_decay: float = 0.995
    corrupt_share: float = 0.4
    lead_subset_share: float = 0.25
    partial_report_share: float = 0.0
    where_steps: int = 6000
    variance_steps: int = 1500
    variance_batch_size: int = 64
    variance_lr: float = 2.0e-3
    text_variance_steps: int = 300
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)


DEMO_TRAINING = TrainingConfig(
    steps=1400,
    lr=1.2e-3,
    warmup_steps=100,
    real_share=0.35,
    corrupt_share=0.3,
    partial_report_share=0.25,
    loss=LossConfig(name="csd_infonce", scale_init=10.0),
)
"""The shipped model's run. The paper's own wording of the loss, CSD inside a softmax, learnt the
rarer findings sooner than `pcmepp` in as many steps (docs/experiments.md)."""


@dataclass(frozen=True)
class CohortConfig:
    """The simulated cohort that the demo model is trained and evaluated on."""

    n_patients: int = 9000
    seed: int = 7


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a config dataclass from a mapping, strictly.

    Raises
    ------
    ConfigError
        An unknown key, or a value of another type than the field's.
    """
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"Unknown setting {', '.join(where + key for key in unknown)}. "
            f"Known settings here: {', '.join(sorted(known))}."
        )
    return cls(**{key: _checked(hints[key], value, where + key) for key, value in values.items()})


def to_mapping(config: Any) -> dict[str, Any]:
    """The inverse of `from_mapping`: plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"Setting {where} must be a group of settings, not {value!r}.")
        return from_mapping(hint, value, where + ".")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    origin = typing.get_origin(hint)
    allowed = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)
    plain = tuple(t for t in allowed if isinstance(t, type))
    if plain and (not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain)):
        names = " or ".join(t.__name__ for t in plain)
        raise ConfigError(f"Setting {where} must be {names}, not {value!r}.")
    return value
