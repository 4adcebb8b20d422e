"""Settings of a training run; presets are YAML files with the same names (``recipes/presets``)."""

from __future__ import annotations

from dataclasses import dataclass, field

from echoing_core.errors import ConfigError
from echoing_core.models.config import LossConfig, ModelConfig

OBJECTIVES = ("joint", "alternate")
DRAWS = ("uniform", "proportional")
VIEWS = ("none", "device", "raghu")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class ObjectiveConfig:
    """How the ECG-text and the ECG-echo term are joined.

    Attributes
    ----------
    text_weight : float
        lambda of L = lambda * L_text + (1 - lambda) * L_echo (EchoingECG, eq. 2). Only used where
        there are echo pairs.
    mode : {"joint", "alternate"}
        ``"joint"``: every step has a batch of each kind, the equation to the letter.
        ``"alternate"``: a batch holds one kind only and its term alone, weighted, is the step's
        loss, as released.
    draw : {"uniform", "proportional"}
        Under ``"alternate"``, which kind comes next: drawn among the kinds that can still fill a
        batch in this epoch, all alike (released: few echo batches are then used up at the
        epoch's beginning), or in proportion to the batches left.
    echo_batch_size : int
        0 for the size of the text batches. A smaller set is one batch.
    identity_match : bool
        True counts only an ECG's own report or echo as its match, as released; else equal texts,
        parts of a report, and ECGs of one echo are matches of each other.
    """

    text_weight: float = 0.9
    mode: str = "joint"
    draw: str = "uniform"
    echo_batch_size: int = 0
    identity_match: bool = False


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, linear warm-up, cosine to zero, clipped gradients, an average of the weights.

    Attributes
    ----------
    warmup_share : float
        Part of all steps; ``warmup_start`` is the first step's share of ``lr``.
    decay_vectors : bool
        False keeps weight decay off biases, norms and the loss's constants.
    clip_norm : float
        0 for no clipping.
    average_decay : float
        Decay of the exponential moving average of the weights that is kept as the result; 0 keeps
        the last weights.
    """

    lr: float = 1.0e-3
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    warmup_share: float = 0.05
    warmup_start: float = 0.01
    decay_vectors: bool = False
    clip_norm: float = 1.0
    average_decay: float = 0.0


@dataclass(frozen=True)
class ViewConfig:
    """What is done to an ECG and its report before the model sees them in training.

    Attributes
    ----------
    kind : {"none", "device", "raghu"}
        ``"device"``: gain, and for shares of the ECGs device faults and lead subsets.
        ``"raghu"``: the operations of Raghu et al. 2022, each with probability ``probability``.
    partial_report_share : float
        Share of the texts that are only some sentences of their report.
    """

    kind: str = "none"
    probability: float = 0.5
    corrupt_share: float = 0.0
    lead_subset_share: float = 0.0
    partial_report_share: float = 0.0


@dataclass(frozen=True)
class RunConfig:
    """One training run of both encoders.

    Attributes
    ----------
    epochs, steps : int
        Optimiser steps; where ``steps`` is 0, as many as ``epochs`` passes over the ECG-text
        pairs take.
    batch_size : int
        Pairs that are contrasted with each other, over all processes together.
    accumulate : int
        Batches whose gradients are averaged before a step. Each is contrasted by itself.
    precision : {"auto", "float32", "bfloat16"}
        Of the encoders; losses are always float32. ``"auto"``: bfloat16 on a GPU, where it
        halves time and memory; float32 on a CPU, where it was slower.
    freeze_text : bool
        Leave the text model's own weights as they are and train its heads on states that are
        computed once and kept on disk.
    recompute_text : bool
        Compute the text model's activations a second time in the backward pass instead of keeping
        them: a third more time for a fraction of its memory, and the same gradients.
    validate_every, save_every : int
        Steps; 0 for never.
    """

    preset: str = ""
    seed: int = 43
    epochs: int = 0
    steps: int = 0
    batch_size: int = 128
    accumulate: int = 1
    precision: str = "auto"
    freeze_text: bool = False
    recompute_text: bool = False
    validate_every: int = 0
    save_every: int = 0
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("objective.mode", self.objective.mode, OBJECTIVES),
            ("objective.draw", self.objective.draw, DRAWS),
            ("views.kind", self.views.kind, VIEWS),
            ("precision", self.precision, PRECISIONS),
        ):
            if value not in known:
                raise ConfigError(f"Setting {name} must be {' or '.join(known)}, not {value!r}.")
        if not 0.0 < self.objective.text_weight <= 1.0:
            raise ConfigError(
                f"Setting objective.text_weight is {self.objective.text_weight}; it must be above "
                "0 and at most 1."
            )
        if self.batch_size < 2 or self.accumulate < 1:
            raise ConfigError(
                f"A batch of {self.batch_size} and {self.accumulate} batches a step cannot be "
                "contrasted. Use at least 2 and 1."
            )


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
