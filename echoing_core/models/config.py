"""Settings of the encoders and of the losses, stored with every model as its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError


@dataclass(frozen=True)
class EcgEncoderConfig:
    """The compact ECG encoder (``models/ecg_encoder.py``).

    Only valid convolutions; ``strides`` multiply to 20 samples (0.2 s at 100 Hz), so windows
    that start on a multiple of 0.2 s share every feature.

    Attributes
    ----------
    stem_width, mid_width, width : int
        Channels after one, two and three reductions of the rate.
    n_blocks, dilated_blocks : int
        Residual blocks at the lowest rate, and how many of them, the last ones, are dilated by 2.
    n_pool_heads : int
        Of the attention over frames; divides ``width``.
    clip_scaled : float
        Where the smooth clip of scaled signals levels off.
    dropout : float
        On what was pooled, in training.
    variance_width, variance_hidden : int
        Features a lead and chunk in the variance head, and its hidden width.
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
    """A BERT of our own size (``models/encoders.py``).

    Attributes
    ----------
    hidden, n_layers, n_heads, ffn : int
    vocab_size : int
        At most; a small corpus fills fewer.
    max_tokens : int
        Where texts are cut.
    dropout : float
    """

    hidden: int = 128
    n_layers: int = 2
    n_heads: int = 4
    ffn: int = 384
    vocab_size: int = 1600
    max_tokens: int = 96
    dropout: float = 0.1


@dataclass(frozen=True)
class ReleasedEcgConfig:
    """The published ECG encoder, ProbXResNet1D (``models/released.py``).

    ``init_dim`` is the stem's width; the four stages are 2, 4, 8 and 16 times as wide.
    ``lead_order`` names the order in which the network's first layer has the leads: ``"standard"``
    is `records.LEADS`, ``"mimic"`` has aVF before aVL, as MIMIC-IV-ECG's files do.

    Attributes
    ----------
    init_dim : int
    lead_order : {"standard", "mimic"}
    """

    init_dim: int = 96
    lead_order: str = "standard"


@dataclass(frozen=True)
class BertTextConfig:
    """A BERT of any size with the published heads (``models/released.py``); here BioBERT's.

    ``max_tokens`` is where reports are cut (the paper's 244); ``n_positions`` is what the network
    could take.

    Attributes
    ----------
    hidden, n_layers, n_heads, ffn, vocab_size : int
    n_positions, max_tokens : int
        ``max_tokens`` <= ``n_positions``.
    dropout : float
    """

    hidden: int = 768
    n_layers: int = 12
    n_heads: int = 12
    ffn: int = 3072
    vocab_size: int = 28996
    n_positions: int = 512
    max_tokens: int = 244
    dropout: float = 0.1


FROZEN_KINDS = ("wav2vec2", "otis")
GAINS = ("none", "min_max", "lead_z", "group_z")


@dataclass(frozen=True)
class FrozenEcgConfig:
    """An ECG encoder of others, without a text encoder and without sigma^2 (``models/frozen.py``).

    The defaults are ECG-FM's.

    Attributes
    ----------
    kind : {"wav2vec2", "otis"}
        ECG-FM and MELP, or Echo2ECG.
    layers, width, heads, ffn : int
    stem_width : int
        Channels of ``wav2vec2``'s convolutions.
    beats, beat_width : int
        Queries that MELP pools frames with, and their width; 0 for the mean over frames.
    input_hz : int
        Rate at which it reads.
    segment : int
        Samples that it reads at once.
    segments : {"all", "first"}
        Of a window of 10 s: the mean over all whole segments, or the first alone.
    lead_order : {"standard", "mimic"}
        As in `ReleasedEcgConfig`.
    gain : {"none", "min_max", "lead_z", "group_z"}
        See ``models/foreign_preprocessing.py``.

    Raises
    ------
    ConfigError
        There is no such kind, gain or choice of segments, or a number is none that can be built.
    """

    kind: str = "wav2vec2"
    layers: int = 12
    width: int = 768
    heads: int = 12
    ffn: int = 3072
    stem_width: int = 256
    beats: int = 0
    beat_width: int = 256
    input_hz: int = 500
    segment: int = 2500
    segments: str = "all"
    lead_order: str = "standard"
    gain: str = "lead_z"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, FROZEN_KINDS),
            ("gain", self.gain, GAINS),
            ("segments", self.segments, ("all", "first")),
        ):
            if value not in known:
                raise ConfigError(
                    f"Setting model.frozen.{name} must be one of {', '.join(known)}, not {value!r}."
                )
        counts = (self.layers, self.width, self.heads, self.ffn, self.stem_width, self.beat_width)
        if min(counts) < 1 or self.beats < 0 or self.width % self.heads:
            raise ConfigError(
                "Sizes of model.frozen must be at least 1, and its heads divide its width "
                f"({self.heads} and {self.width})."
            )
        if not 50 <= self.input_hz <= 2000 or self.segment < 16:
            raise ConfigError(
                "model.frozen needs a rate of 50 to 2,000 Hz and a segment of 16 samples or more "
                f"(given are {self.input_hz} Hz and {self.segment})."
            )

    @property
    def dim(self) -> int:
        """Numbers that it makes of a window."""
        return self.beat_width if self.beats else self.width


@dataclass(frozen=True)
class StudySideConfig:
    """The side of echo studies beside an ECG encoder, Echo2ECG's or ULIP's (``models/otis.py``).

    Attributes
    ----------
    view_width : int
        Of one clip's embedding; 0 for a model without this side. EchoPrime's have 512.
    study_width, heads : int
        Of the attention over the views of a study.
    dim : int
        Of the space that ECGs and studies share.
    teacher : bool
        True: that space is a frozen teacher's own, of ``view_width`` dimensions; a study is the
        mean of its clips there, nothing of it is learnt, and ECGs are drawn to the teacher's texts
        as well (ULIP).

    Raises
    ------
    ConfigError
        A number is none that can be built.
    """

    view_width: int = 0
    study_width: int = 1024
    heads: int = 4
    dim: int = 512
    teacher: bool = False

    def __post_init__(self) -> None:
        if min(self.study_width, self.heads, self.dim) < 1 or self.view_width < 0:
            raise ConfigError("Sizes of model.study must be at least 1, and view_width at least 0.")
        if self.study_width % self.heads:
            raise ConfigError(
                f"The {self.heads} heads of model.study must divide its study_width, "
                f"{self.study_width}."
            )


# Ours, the published one, encoders of others without and with a text encoder, and one with halves
# of plugins; `models.encoders.build_encoder` builds any.
ARCHITECTURES = ("compact", "released", "frozen", "melp", "plugged")

DISPLACEMENT, MATCHING, BOTH = "displacement", "matching", "both"
SIGMA2_SETTINGS = (DISPLACEMENT, MATCHING, BOTH)
"""What sigma^2 is learnt from: from how far a bad recording moves mu, in a second stage on the
finished space; from the matching loss itself, jointly with mu, as PCME++ and EchoingECG do; or one
of each, of which one at a time is read."""

_PLUGGED = ("ecg_plugin", "text_plugin", "ecg_options", "text_options")

UNTAUGHT = "nothing"
"""What taught sigma^2 of a model whose loss knows means alone."""

ABSENT = "absent"
"""The same of a model that has no sigma^2: what stands in its place is one constant."""

NO_TEXT = (
    "This model reads ECGs alone and has no text encoder, so it answers no question in words and "
    "finds nothing by words. Choose another model for that, such as demo; this one serves "
    "neighbours among ECGs, probes, heads and fine-tuning."
)

NO_SIGMA2 = (
    "This model gives one point for an ECG and has no sigma^2, so it does not tell where it can be "
    "believed, and windows cannot be chosen or weighed by it. Choose another model for that, such "
    "as demo."
)
BAND_LIMITED = (
    "Band-limited to 40 Hz: this program gives it ECGs filtered to 0.5-40 Hz at 100 Hz and raised "
    "to its own rate by straight lines. Its authors gave it ECGs as they were recorded, so figures "
    "here may lie below theirs."
)


@dataclass(frozen=True)
class ModelConfig:
    """Both encoders and the space they share.

    ``architecture`` says which two: ``"compact"`` are ``ecg`` and ``text``, ``"released"`` are
    ``released_ecg`` and ``released_text``; ``"frozen"`` is one alone, for ECGs; ``"melp"`` is
    ``frozen`` with a language model of the sizes of ``released_text``; ``"plugged"`` are
    the plugins ``ecg_plugin`` and ``text_plugin``, with ``ecg`` or ``text`` in place of one that is
    not named. ``log_var_bias`` is where log sigma^2 starts, and stays where none is learnt; the
    release has 0, which lets the summed variance start at ``dim`` and drown all distances.
    ``sigma2`` is a setting of the compact encoder; the others learn their own by matching.

    Attributes
    ----------
    dim : int
        Of the shared space.
    log_var_bias : float
    sigma2 : {"displacement", "matching", "both"}
        See `SIGMA2_SETTINGS`.
    ecg, text : EcgEncoderConfig, TextEncoderConfig
    architecture : {"compact", "released", "frozen", "melp", "plugged"}
    released_ecg, released_text : ReleasedEcgConfig, BertTextConfig
    frozen : FrozenEcgConfig
    study : StudySideConfig
        Of a frozen encoder that was trained here towards echo studies.
    ecg_plugin, text_plugin : str
        Names of entry points of ``echoing.encoders`` and ``echoing.text_encoders`` (`plugins`).
    ecg_options, text_options : mapping
        What they are built with, besides the sizes that the model gives.

    Raises
    ------
    ConfigError
        There is no such architecture, or no such sigma^2, or a frozen encoder has another ``dim``.
    """

    dim: int = 256
    # exp(-7) * 256 = 0.23: the summed variance starts below the squared distance of two means.
    log_var_bias: float = -7.0
    sigma2: str = DISPLACEMENT
    ecg: EcgEncoderConfig = field(default_factory=EcgEncoderConfig)
    text: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    architecture: str = "compact"
    released_ecg: ReleasedEcgConfig = field(default_factory=ReleasedEcgConfig)
    released_text: BertTextConfig = field(default_factory=BertTextConfig)
    frozen: FrozenEcgConfig = field(default_factory=FrozenEcgConfig)
    study: StudySideConfig = field(default_factory=StudySideConfig)
    ecg_plugin: str = ""
    text_plugin: str = ""
    ecg_options: Mapping[str, Any] = field(default_factory=dict)
    text_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise ConfigError(
                f"There is no architecture {self.architecture!r}. Choose one of "
                f"{', '.join(ARCHITECTURES)}."
            )
        if (self.architecture == "plugged") != bool(self.ecg_plugin or self.text_plugin):
            raise ConfigError(
                "Settings model.ecg_plugin and model.text_plugin go with model.architecture = "
                "plugged, which needs one of them."
            )
        if self.sigma2 not in SIGMA2_SETTINGS:
            raise ConfigError(
                f"Setting model.sigma2 must be one of {', '.join(SIGMA2_SETTINGS)}, not "
                f"{self.sigma2!r}."
            )
        if self.architecture == "melp" and not (
            self.frozen.kind == "wav2vec2"
            and self.frozen.beats
            and self.frozen.width == self.released_text.hidden
            and 2 < self.released_text.max_tokens <= self.released_text.n_positions
        ):
            raise ConfigError(
                "With model.architecture = melp, model.frozen is a wav2vec2 with beats, as wide as "
                "model.released_text.hidden, since captions look at both; and max_tokens of the "
                "latter is at most its n_positions."
            )
        if self.architecture in ("frozen", "melp") and self.dim != self.frozen.dim:
            raise ConfigError(
                f"This frozen encoder has {self.frozen.dim} dimensions; setting model.dim must be "
                f"that, not {self.dim}."
            )
        if self.has_study and self.architecture != "frozen":
            raise ConfigError(
                "Only model.architecture = frozen has a side of echo studies. Set "
                "model.study.view_width to 0."
            )

    @property
    def has_study(self) -> bool:
        """Whether echo studies of several views can be read, too."""
        return self.study.view_width > 0

    @property
    def has_text(self) -> bool:
        """Whether there is an encoder of texts beside that of ECGs."""
        return self.architecture != "frozen"

    @property
    def has_sigma2(self) -> bool:
        """Whether ECGs differ in sigma^2; in its place may stand one constant."""
        return self.architecture not in ("frozen", "melp")

    @property
    def sigma2_kinds(self) -> tuple[str, ...]:
        """Which sigma^2 the model can be read by; the first is the one that training makes."""
        if self.architecture != "compact" or self.sigma2 == MATCHING:
            return (MATCHING,)
        return (MATCHING, DISPLACEMENT) if self.sigma2 == BOTH else (DISPLACEMENT,)

    def settings(self) -> dict[str, Any]:
        """As a checkpoint's config.json holds it: only what this architecture is built from.

        Returns
        -------
        dict
        """
        # Part of the model's hash, so a new setting must not appear in old architectures.
        values = to_mapping(self)
        # The released architecture is not built from these.
        unused: tuple[str, ...] = ("ecg", "text", "sigma2", "frozen", *_PLUGGED)
        if self.architecture == "frozen":
            unused = ("ecg", "text", "sigma2", "released_ecg", "released_text", *_PLUGGED)
        if self.architecture == "melp":
            unused = ("ecg", "text", "sigma2", "released_ecg", *_PLUGGED)
        if self.architecture == "plugged":
            # Of each half only what builds it; the vocabulary is that of ``text`` in any case.
            unused = ("sigma2", "released_ecg", "released_text", "frozen")
            unused += ("ecg",) if self.ecg_plugin else ("ecg_plugin", "ecg_options")
            unused += () if self.text_plugin else ("text_plugin", "text_options")
        if self.architecture == "compact":
            # Exactly what compact models were written with before there was another kind.
            unused = ("architecture", "released_ecg", "released_text", "frozen", *_PLUGGED)
            if self.sigma2 == DISPLACEMENT:
                unused += ("sigma2",)
        if not self.has_study:
            unused += ("study",)
        return {key: value for key, value in values.items() if key not in unused}


@dataclass(frozen=True)
class LossConfig:
    """Which objective and its constants (facts: PCME++ eq. 1-6).

    Attributes
    ----------
    name : {"pcmepp", "csd_infonce", "infonce"}
    scale_init, shift_init : float
        Where the learnt a and b of -a * csd + b begin.
    pseudo_positive_weight, vib_weight : float
        Of the pseudo-positives and of the information bottleneck, for ``pcmepp``.
    pseudo_positive_above : {"weakest", "first"}
        Which of a row's matches a pair must equal to be a pseudo-positive. ``"first"`` is the
        release's, whose rows have one match.
    match_weight : {"pair", "row"}
        Of a match in ``pcmepp``'s cross entropy. ``"row"``: the matches of an ECG or a text weigh
        together as much as one, so that what fits half of a batch does not rule its loss. The
        same where every row has one match, as in the release.
    vib_drop_above : float, optional
        A larger information bottleneck counts as 0, as released.
    learn_constants : bool
        False keeps scale and shift where they begin.

    References
    ----------
    Chun, "Improved probabilistic image-text representations", ICLR 2024 (PCME++), eq. 1-6.
    """

    name: str = "pcmepp"
    scale_init: float = 5.0
    shift_init: float = 5.0
    pseudo_positive_weight: float = 0.1
    pseudo_positive_above: str = "weakest"
    match_weight: str = "pair"
    vib_weight: float = 1.0e-4
    vib_drop_above: float | None = None
    learn_constants: bool = True
