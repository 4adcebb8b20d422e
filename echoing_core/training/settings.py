"""Settings of a training run, and the presets: YAML files with the same names (``presets/``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from importlib import resources

from echoing_core.config import apply_changes, from_mapping, read_settings
from echoing_core.errors import ConfigError
from echoing_core.models.config import MATCHING, LossConfig, ModelConfig
from echoing_core.records import LONG_PADDING, PADDINGS, FilterPadding

PRESETS = (
    "paper",
    "release",
    "demo",
    "echoing",
    "echo2ecg",
    "ecg-clip",
    "medbind",
    "ulip",
    "melp-stage1",
    "melp-text",
    "melp-stage2",
    "melp-published",
    "ecg-fm",
)
OBJECTIVES = ("joint", "alternate")
DRAWS = ("uniform", "proportional")
VIEWS = ("none", "device", "raghu", "leads", "echo2ecg")
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
    match_studies : bool
        True counts every clip of an ECG's echo study as its match, where the teacher's rows are
        clips; else an ECG stands once for each of its clips, and that clip alone is its match.
    echo_text_weight : float
        Of a third term, between echocardiograms and the reports of their ECGs, which binds what
        the teacher saw through text (MEDBind). 0 for none.
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
    match_studies: bool = False
    echo_text_weight: float = 0.0
    question_weight: float = 0.0
    prompts_a_side: int = 2


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, linear warm-up, cosine, clipped gradients, an average of the weights.

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
    final_share : float
        Share of ``lr`` that the cosine ends at.
    cycles : int
        How often the cosine falls; each time it begins at ``lr`` again.
    layer_decay : float
        Of a transformer of ECGs: the learning rate of a block over that of the block above it; what
        lies below the blocks learns as the lowest.
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
    final_share: float = 0.0
    cycles: int = 1
    layer_decay: float = 1.0
    decay_vectors: bool = False
    clip_norm: float = 1.0
    clip_loss_constants: bool = False
    average_decay: float = 0.0


@dataclass(frozen=True)
class ViewConfig:
    """What is done to an ECG and its report before the model sees them in training.

    Attributes
    ----------
    kind : {"none", "device", "raghu", "leads", "echo2ecg"}
        ``"device"``: gain, and for shares of the ECGs device faults and lead subsets.
        ``"raghu"``: the operations of Raghu et al. 2022, each with probability ``probability``.
        ``"leads"``: each lead is left out with probability ``probability``, as MELP and ECG-FM do.
        ``"echo2ecg"``: Echo2ECG's own, after its preprocessing (`augmentation.echo2ecg_view`).
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
class MaskedConfig:
    """Masked prediction and contrast of the two halves of an ECG (`training.melp.MaskedTrainer`).

    It is what a model of the architecture ``frozen`` and the kind ``wav2vec2`` learns by: MELP's
    first stage, and with weights for diversity and penalty ECG-FM's only one.

    Attributes
    ----------
    share : float
        Of the frames, in spans that may overlap, so fewer are masked.
    span, others : int
        Frames of a span; wrong answers for each masked frame.
    contrast_weight : float
        Of the contrast of halves, whose scale is the loss's.
    diversity_weight, penalty_weight : float
        Of codes that are not in use, and of the mean square of the stem's frames.
    stem_gradient : float
        Share of its gradient that the stem learns from.
    code_temperature, code_temperature_end, code_temperature_decay : float
        Of the draw of codes: at the first step, at least, and its factor in each step.
    dropout : float
    """

    share: float = 0.65
    span: int = 10
    others: int = 100
    contrast_weight: float = 1.0
    diversity_weight: float = 0.0
    penalty_weight: float = 0.0
    stem_gradient: float = 0.1
    code_temperature: float = 2.0
    code_temperature_end: float = 0.5
    code_temperature_decay: float = 0.999995
    dropout: float = 0.1


@dataclass(frozen=True)
class MelpConfig:
    """MELP's second stage: a model of the architecture ``melp`` (`training.melp.MelpTrainer`).

    Attributes
    ----------
    rhythm_weight, caption_weight, beat_weight : float
        Of the three losses.
    scale_max : float
        Where the scale of the rhythm loss is held; 0 never holds it, as published.
    per_sentence : bool
        See `melp_losses.beat_scores`; False is as published.
    keep_rest : bool
        See `melp.sentence_means`; False is as published.
    frozen_text_layers : int
        Layers of the language model, from the first, that stay as they were given.
    decoder_layers : int
        Pairs of blocks of the caption decoder.
    dropout : float
        Of the ECG tower; the language model has its own.
    """

    rhythm_weight: float = 1.0
    caption_weight: float = 2.0
    beat_weight: float = 0.2
    scale_max: float = 100.0
    per_sentence: bool = True
    keep_rest: bool = True
    frozen_text_layers: int = 0
    decoder_layers: int = 6
    dropout: float = 0.1


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
    drop_path : float
        How often the last block of an OTiS encoder leaves its branches out; earlier ones less.
    masked : MaskedConfig
    melp : MelpConfig
        Each for the models that it names.
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
    drop_path: float = 0.0
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    masked: MaskedConfig = field(default_factory=MaskedConfig)
    melp: MelpConfig = field(default_factory=MelpConfig)
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
        if not (self.model.has_text or self.model.has_study or self.predicts_masked):
            raise ConfigError(
                "A model of the architecture frozen reads ECGs alone and comes from "
                "`echoing import-weights`; there are no reports for it to be trained with here. "
                "Set model.architecture to compact or released, or train it towards echo studies "
                "with `echoing train echo2ecg`; one of the kind wav2vec2 without beats learns from "
                "ECGs alone, as the preset melp-stage1 does."
            )
        if self.own_losses and (
            self.loss.name != "infonce"
            or self.objective.question_weight
            or self.objective.echo_text_weight
            or self.freeze_text
            or self.recompute_text
        ):
            raise ConfigError(
                "The losses of melp-stage1, melp-stage2 and ecg-fm are their own: leave loss.name "
                "at infonce, objective.question_weight and objective.echo_text_weight at 0, and "
                "freeze_text and recompute_text at false."
            )
        self._check_study()
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
        if self.objective.match_studies and self.objective.identity_match:
            raise ConfigError(
                "Settings objective.match_studies and objective.identity_match contradict each "
                "other. Set one to false."
            )
        if self.objective.echo_text_weight and (
            self.freeze_text
            or self.means_only
            or self.objective.mode != "joint"
            or self.objective.text_weight == 1.0
        ):
            raise ConfigError(
                "The term of echo and text (objective.echo_text_weight) needs a text model that "
                "learns, objective.mode = joint and objective.text_weight below 1. Set freeze_text "
                "and means_only to false."
            )
        # A loss of one pair has no negatives.
        if self.batch_size < 2 or self.accumulate < 1:
            raise ConfigError(
                f"A batch of {self.batch_size} and {self.accumulate} batches a step cannot be "
                "contrasted. Use at least 2 and 1."
            )

    @property
    def own_losses(self) -> bool:
        """Whether the losses are those of MELP's stages and of ECG-FM (`training.melp`)."""
        return self.predicts_masked or self.model.architecture == "melp"

    @property
    def predicts_masked(self) -> bool:
        """Whether this run learns from ECGs alone, by masked prediction."""
        model = self.model
        alone = model.architecture == "frozen" and not model.has_study
        return alone and model.frozen.kind == "wav2vec2" and not model.frozen.beats

    def _check_study(self) -> None:
        """Settings that only a model with a side of echo studies has a use for, and the reverse."""
        own = self.views.kind == "echo2ecg" or self.drop_path or self.optimiser.layer_decay != 1.0
        if own and not self.model.has_study:
            raise ConfigError(
                "Settings views.kind = echo2ecg, drop_path and optimiser.layer_decay are for the "
                "preset echo2ecg, whose model reads echo studies. Leave them out."
            )
        if self.model.has_study and (self.loss.name != "infonce" or self.objective.question_weight):
            raise ConfigError(
                "ECGs and echo studies are matched by loss.name = infonce alone, and there are no "
                "words to ask questions in. Set objective.question_weight to 0."
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
