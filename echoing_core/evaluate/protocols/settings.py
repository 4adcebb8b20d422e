"""Settings of the protocols, and presets: data set, labels and prompts of a published table.

Nothing heavy is imported here, so that a command line can say what there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from echoing_core.config import from_mapping, read_settings
from echoing_core.errors import ConfigError

ZERO_SHOT, FEW_SHOT, NEAREST, FINE_TUNE, RETRIEVAL, CLASSES, WINDOWS = (
    "zero-shot",
    "few-shot",
    "knn",
    "fine-tune",
    "retrieval",
    "classes",
    "windows",
)
PROTOCOLS = (ZERO_SHOT, FEW_SHOT, NEAREST, FINE_TUNE, RETRIEVAL, CLASSES, WINDOWS)

NEEDED_SPLITS: Mapping[str, tuple[str, ...]] = {
    ZERO_SHOT: ("test",),
    RETRIEVAL: ("test",),
    FEW_SHOT: ("train", "test"),
    NEAREST: ("train", "test"),
    FINE_TUNE: ("train", "test"),
    CLASSES: ("train", "test"),
    WINDOWS: ("test",),
}
"""Splits of a prepared set in which a protocol needs studies."""

# By importlib.resources, since an installed package need not be a folder of files.
_PRESETS = resources.files("echoing_core.evaluate.protocols").joinpath("presets")


@dataclass(frozen=True)
class FineTuneSettings:
    """How an encoder is tuned. The article says only that it was.

    Attributes
    ----------
    n_train, n_valid : int
        About how many ECGs train the weights (MUSIC has 512) and choose the epoch; whole patients.
    epochs : int
    batch_size : int
    lr, head_lr : float
        Of AdamW, for the encoder and for the head.
    weight_decay, clip_norm : float
    """

    n_train: int = 512
    n_valid: int = 256
    epochs: int = 6
    batch_size: int = 32
    lr: float = 1.0e-4
    head_lr: float = 1.0e-3
    weight_decay: float = 0.05
    clip_norm: float = 1.0


@dataclass(frozen=True)
class WindowSettings:
    """Which windows of a long recording answer for it. The article gives none of these numbers.

    Attributes
    ----------
    stride_s : float
        Seconds from one 10-s window to the next, among which the lowest and the highest sigma^2
        are sought.
    fused_every_s : float
        The windows that are fused follow each other so: a minute apart they share no signal.
    n_patients : int
        Simulated test patients, where no data set is named.
    noise : {"clean", "mixed", "bad"}
        How noise comes and goes in a simulated recording (`uncertainty.fusion_study.QUALITIES`).
    """

    stride_s: float = 5.0
    fused_every_s: float = 60.0
    n_patients: int = 200
    noise: str = "mixed"


@dataclass(frozen=True)
class EvaluationOptions:
    """What may be chosen about a protocol, whichever it is.

    Attributes
    ----------
    labels : tuple of str or None
        Without ``label_``; None for all that the protocol has questions for.
    by_entropy : bool or None
        Make the halves by the entropy of the answer and not by sigma^2; None: so for models
        whose sigma^2 nothing ever taught.
    n_resamples : int
        Bootstrap resamples of the patients.
    n_seeds : int
        Draws of the training ECGs, for probes and fine-tuning.
    fine_tune : FineTuneSettings
    windows : WindowSettings
        For ``"windows"``.
    """

    labels: tuple[str, ...] | None = None
    by_entropy: bool | None = None
    n_resamples: int = 1000
    n_seeds: int = 3
    fine_tune: FineTuneSettings = FineTuneSettings()
    windows: WindowSettings = WindowSettings()


DEFAULTS = EvaluationOptions()


@dataclass(frozen=True)
class EvaluationPreset:
    """What a table was made on, and how.

    Attributes
    ----------
    title : str
    source : str
        ``source`` of the prepared sets it is for. On another set it runs too, and says so.
    prepare : str
        The command that prepares such a set.
    protocol : str
        One of `PROTOCOLS`.
    labels : list of str
        Without ``label_``; for protocols with questions.
    questions : list of str
        Names of the prompt sets that are asked.
    classes : mapping of str to str
        Label to prompt, for ``"classes"``.
    only_labelled : bool
        Use only the ECGs that have at least one of the classes.
    shares : list of float
        Of the training patients, for the linear probes of ``"classes"``.
    n_seeds, n_train : int
    paper_table : int
        Table of the EchoingECG paper that stands beside the figures where the data are its own; 0
        for none.
    notes : list of str
        What must be known to compare.
    """

    title: str
    source: str
    prepare: str
    protocol: str
    labels: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    classes: Mapping[str, str] = field(default_factory=dict)
    only_labelled: bool = False
    shares: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    n_seeds: int = 3
    n_train: int = 512
    paper_table: int = 0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(
                f"There is no protocol {self.protocol!r}. Choose among {', '.join(PROTOCOLS)}."
            )
        if self.protocol == CLASSES and not self.classes:
            raise ConfigError("The protocol classes needs classes: each label with its prompt.")
        # Retrieval asks no question, and `classes` brings its labels with the prompts.
        if self.protocol in (ZERO_SHOT, FEW_SHOT, NEAREST, FINE_TUNE, WINDOWS) and not self.labels:
            raise ConfigError(f"The protocol {self.protocol} needs labels.")
        # `from_mapping` checks the type of a list, not those of its items.
        if any(not isinstance(share, float) or not 0 < share <= 1 for share in self.shares):
            raise ConfigError(f"Shares {self.shares} must be numbers above 0 and up to 1.")
        if self.n_seeds < 1 or self.n_train < 1:
            raise ConfigError("n_seeds and n_train must be at least 1.")
        # YAML reads an unquoted no as false, which is no prompt.
        for name, words in self.classes.items():
            if not isinstance(words, str) or not words.strip():
                raise ConfigError(f"Class {name} has no prompt.")


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package, in alphabetical order."""
    return tuple(sorted(f.name.removesuffix(".yaml") for f in _PRESETS.iterdir()))


def load_evaluation_preset(name: str) -> EvaluationPreset:
    """Read a preset by name, or a YAML file of the same form.

    Parameters
    ----------
    name : str
        One of `preset_names`, or the path of a file.

    Returns
    -------
    EvaluationPreset

    Raises
    ------
    ConfigError
        There is no such preset, or a setting in it is missing, unknown or of a wrong type.
    """
    values = read_settings(name, _PRESETS, preset_names())
    missing = [key for key in ("title", "source", "prepare", "protocol") if key not in values]
    if missing:
        raise ConfigError(f"{Path(name).name} lacks {', '.join(missing)}.")
    return from_mapping(EvaluationPreset, values)
