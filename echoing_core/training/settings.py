"""Settings of a training run, and the presets: YAML files with the same names (``presets/``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import resources

from echoing_core.config import apply_changes, from_mapping, read_settings
from echoing_core.errors import ConfigError
from echoing_core.models.config import MATCHING, LossConfig, ModelConfig
from echoing_core.records import LONG_PADDING, PADDINGS, FilterPadding

PRESETS = ("paper", "release", "demo", "echoing")
OBJECTIVES = ("joint", "alternate")
DRAWS = ("uniform", "proportional")
VIEWS = ("none", "device", "raghu")
ECHO_FRAMES = ("", "echo-clip", "first-40", "every")
LAST, BEST = "last", "best"
PRECISIONS = ("auto", "float32", "bfloat16", "float64")


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
    question_weight : float
        Of the term that answers questions: the logit of every labelled ECG for every question with
        a label, by its prompts, against the truth. 0 for none. Answers to the same questions are
        then prompting in the domain of training, and not zero-shot in the strict sense.
    prompts_a_side : int
        Prompts for yes and for no that a step draws of each question.
    """

    text_weight: float = 0.9
    mode: str = "joint"
    draw: str = "uniform"
    echo_batch_size: int = 0
    identity_match: bool = False
    question_weight: float = 0.0
    prompts_a_side: int = 2


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, linear warm-up, cosine to zero, clipped gradients, an average of the weights.

    Attributes
    ----------
    lr, weight_decay : float
        Highest learning rate; decay as AdamW has it, apart from the gradient.
    constants_lr_factor : float
        Learning rate of the loss's scale and shift over ``lr``. They have to move by whole numbers
        where a weight moves by hundredths, and AdamW moves both alike.
    beta1, beta2 : float
        Of AdamW's averages.
    warmup_share, warmup_start : float
        Share of all steps that warm up; the first step's share of ``lr``.
    decay_vectors : bool
        False keeps weight decay off biases, norms and the loss's constants.
    clip_norm : float
        0 for no clipping.
    clip_loss_constants : bool
        Whether the norm that is clipped has the gradients of the loss's constants in it, and
        whether they are clipped with the rest: of everything that learns, as released. False: that
        of the encoders alone, which a steep loss does not shorten.
    average_decay : float
        Decay of the exponential moving average of the weights that is kept as the result; 0 keeps
        the last weights.
    """

    lr: float = 1.0e-3
    constants_lr_factor: float = 1.0
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.98
    warmup_share: float = 0.05
    warmup_start: float = 0.01
    decay_vectors: bool = False
    clip_norm: float = 1.0
    clip_loss_constants: bool = False
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
class VarianceConfig:
    """The second stage of the compact encoder: sigma^2 alone, on the frozen space.

    Attributes
    ----------
    where_steps : int
        Steps in which the ECG's head learns only where in a window the signal is lost.
    steps, text_steps : int
        Steps of the ECG's and of the text's variance head.
    batch_size, text_batch_size : int
        ECGs and reports of a step.
    lr, weight_decay, clip_norm : float
        As in `OptimiserConfig`; the averages of AdamW decay as torch has it.
    """

    where_steps: int = 6000
    steps: int = 1500
    text_steps: int = 300
    batch_size: int = 64
    text_batch_size: int = 128
    lr: float = 2.0e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0


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
    precision : {"auto", "float32", "bfloat16", "float64"}
        Of the encoders; losses are float32 or better. ``"auto"``: bfloat16 on a GPU, where it
        halves time and memory; float32 on a CPU, where it was slower. ``"float64"`` is for
        comparing runs: AdamW makes whole steps of gradients that are nothing but rounding, so
        that in float32 two orders of one sum are two models.
    freeze_text : bool
        Leave the text model's own weights as they are and train its heads on states that are
        computed once and kept on disk.
    recompute_text : bool
        Compute the text model's activations a second time in the backward pass instead of keeping
        them: a third more time for a fraction of its memory, and the same gradients.
    means_only : bool
        Leave sigma^2 of both sides constant in the matching losses, and do not compute it: a third
        less time, for runs whose second stage learns it anew whatever it was. Compact only.
    validate_every, save_every : int
        Steps; 0 for never.
    keep : {"last", "best"}
        Which weights become the model: those after the last step, or of those that were validated
        on the way the best; their averages where averages are kept.
    keep_by : str
        The figure of validation by which they are the best, the higher the better.
    filter_padding : {"long", "scipy"}
        How the ECGs were filtered at their ends (`records.PADDINGS`): a prepared set must have been
        so, and the model reads so.
    echo_frames : {"", "echo-clip", "first-40", "every"}
        Which frames of a clip the teacher must have seen (`echo.store.FRAMES`); "" takes any store.
    variance : VarianceConfig
        Used where a run has a second stage for sigma^2.
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
    means_only: bool = False
    validate_every: int = 0
    save_every: int = 0
    keep: str = LAST
    keep_by: str = "R@10 same text csd"
    filter_padding: FilterPadding = LONG_PADDING
    echo_frames: str = ""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    variance: VarianceConfig = field(default_factory=VarianceConfig)

    def __post_init__(self) -> None:
        # Words of a YAML file are checked here, since `from_mapping` knows types only.
        for name, value, known in (
            ("objective.mode", self.objective.mode, OBJECTIVES),
            ("objective.draw", self.objective.draw, DRAWS),
            ("views.kind", self.views.kind, VIEWS),
            ("precision", self.precision, PRECISIONS),
            ("filter_padding", self.filter_padding, PADDINGS),
            ("echo_frames", self.echo_frames, ECHO_FRAMES),
            ("keep", self.keep, (LAST, BEST)),
        ):
            if value not in known:
                raise ConfigError(f"Setting {name} must be {' or '.join(known)}, not {value!r}.")
        if self.keep == BEST and not self.validate_every:
            raise ConfigError(
                "With keep = best the model is chosen by validation, which never happens. Set "
                "validate_every to a number of steps, or keep to last."
            )
        # With 0 no report would be learnt, and there could be no question.
        if not 0.0 < self.objective.text_weight <= 1.0:
            raise ConfigError(
                f"Setting objective.text_weight is {self.objective.text_weight}; it must be above "
                "0 and at most 1."
            )
        if not self.model.has_text:
            raise ConfigError(
                "A model of the architecture frozen reads ECGs alone and comes from "
                "`echoing import-weights`; there are no reports for it to be trained with here. "
                "Set model.architecture to compact or released."
            )
        if self.means_only and self.model.architecture != "compact":
            raise ConfigError(
                "Setting means_only is for the compact encoder, whose second stage learns sigma^2. "
                "Set it to false."
            )
        if self.model.text_plugin and (self.freeze_text or self.recompute_text):
            raise ConfigError(
                "Settings freeze_text and recompute_text know our text encoders alone. Set them to "
                "false for a text encoder of a plugin."
            )
        if self.means_only and MATCHING in self.model.sigma2_kinds:
            raise ConfigError(
                f"With model.sigma2 = {self.model.sigma2} the matching loss learns sigma^2. Set "
                "means_only to false."
            )
        # A loss of one pair has no negatives.
        if self.batch_size < 2 or self.accumulate < 1:
            raise ConfigError(
                f"A batch of {self.batch_size} and {self.accumulate} batches a step cannot be "
                "contrasted. Use at least 2 and 1."
            )


def load_preset(name: str, changes: Iterable[str] = ()) -> RunConfig:
    """Read a preset, or a YAML file of the same form, with single settings changed.

    Parameters
    ----------
    name : str
        One of `PRESETS`, or the path of a YAML file.
    changes : iterable of str
        ``"optimiser.lr=1e-4"``: the value is read as YAML.

    Returns
    -------
    RunConfig

    Raises
    ------
    ConfigError
        There is no such preset, or a setting is unknown or of a wrong type.
    """
    folder = resources.files("echoing_core.training").joinpath("presets")
    # As plain values first, so that changes are checked together with the file.
    values = read_settings(name, folder, PRESETS)
    apply_changes(values, changes)
    return from_mapping(RunConfig, values)


def demo_recipe(
    preset: str = "demo",
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    where_steps: int | None = None,
    variance_steps: int | None = None,
    text_variance_steps: int | None = None,
) -> RunConfig:
    """A shipped model's preset with what the command ``echoing train demo`` lets a user change.

    Parameters
    ----------
    preset : str
        ``"demo"``, or ``"echoing"`` for the model that the article describes.
    steps : int, optional
        Of the first stage. The warm-up stays as many steps long as the full recipe's, so that a
        run that was shortened for a trial begins as the full one does.
    batch_size : int, optional
        Of the first stage and of the texts of the second.
    seed, where_steps, variance_steps, text_variance_steps : int, optional
        None keeps the preset's.

    Returns
    -------
    RunConfig
    """

    def chosen(value: int | None, default: int) -> int:
        # Not `value or default`: 0 is a seed.
        return default if value is None else value

    full = load_preset(preset)
    n_steps = chosen(steps, full.steps)
    # The preset says a share of its own steps; here it becomes a number of steps again.
    n_warmup = round(full.optimiser.warmup_share * full.steps)
    return replace(
        full,
        steps=n_steps,
        batch_size=chosen(batch_size, full.batch_size),
        seed=chosen(seed, full.seed),
        # `train demo` always has a second stage; only what it does not learn is left to the first.
        means_only=MATCHING not in full.model.sigma2_kinds,
        optimiser=replace(full.optimiser, warmup_share=n_warmup / n_steps),
        variance=replace(
            full.variance,
            where_steps=chosen(where_steps, full.variance.where_steps),
            steps=chosen(variance_steps, full.variance.steps),
            text_steps=chosen(text_variance_steps, full.variance.text_steps),
            text_batch_size=chosen(batch_size, full.variance.text_batch_size),
        ),
    )
