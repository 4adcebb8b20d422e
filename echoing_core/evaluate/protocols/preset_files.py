"""Evaluation presets: data set, labels, prompts and protocol of a published table, each a YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from echoing_core.config import from_mapping
from echoing_core.errors import ConfigError

FEW_SHOT, FINE_TUNE, RETRIEVAL, CLASSES, ZERO_SHOT = (
    "few-shot",
    "fine-tune",
    "retrieval",
    "classes",
    "zero-shot",
)
PROTOCOLS = (ZERO_SHOT, FEW_SHOT, FINE_TUNE, RETRIEVAL, CLASSES)


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
        if self.protocol in (ZERO_SHOT, FEW_SHOT, FINE_TUNE) and not self.labels:
            raise ConfigError(f"The protocol {self.protocol} needs labels.")
        if any(not isinstance(share, float) or not 0 < share <= 1 for share in self.shares):
            raise ConfigError(f"Shares {self.shares} must be numbers above 0 and up to 1.")
        if self.n_seeds < 1 or self.n_train < 1:
            raise ConfigError("n_seeds and n_train must be at least 1.")
        for name, words in self.classes.items():
            if not isinstance(words, str) or not words.strip():
                raise ConfigError(f"Class {name} has no prompt.")


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the package, in alphabetical order."""
    folder = resources.files("echoing_core.evaluate.protocols").joinpath("presets")
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir()))


def load_evaluation_preset(name: str) -> EvaluationPreset:
    """A preset by name, or a YAML file of the same form.

    Raises
    ------
    ConfigError
        There is no such preset, or a setting in it is unknown or of a wrong type.
    """
    import yaml

    if name in preset_names():
        folder = resources.files("echoing_core.evaluate.protocols").joinpath("presets")
        text = folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{Path(name).name} cannot be read as text.") from error
    else:
        raise ConfigError(
            f"There is no preset {name!r}. Choose {', '.join(preset_names())}, or name a YAML file."
        )
    try:
        values: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{Path(name).name} is not a YAML file that can be read.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{Path(name).name} holds no settings.")
    missing = [key for key in ("title", "source", "prepare", "protocol") if key not in values]
    if missing:
        raise ConfigError(f"{Path(name).name} lacks {', '.join(missing)}.")
    return from_mapping(EvaluationPreset, values)
