"""Prompt sets: a question in words, with the texts that say yes and the texts that say no.

A file is a YAML list of ``{name, question, label, positive, negative}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from echoing_core.artifacts import write_text_atomically
from echoing_core.documents import DocumentError, parse_yaml
from echoing_core.errors import ConfigError

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*\Z")
_KEYS = ("name", "question", "label", "positive", "negative")
_MAX_TEXT = 400
MAX_FILE_BYTES = 256 * 1024
MOST_SETS, MOST_PROMPTS = 100, 50


@dataclass(frozen=True)
class PromptSet:
    """One zero-shot question.

    Attributes
    ----------
    name : str
        Lower-case letters, digits and underscores.
    question : str
        As a person reads it, for example ``"LVEF < 40 %"``.
    positive, negative : tuple of str
        Prompts for yes and for no, at least one each.
    label : str or None
        Label that holds the true answer, without ``label_`` (``"af"``), where there is one.
    """

    name: str
    question: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    label: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise ConfigError(
                f"The name {self.name!r} of a prompt set must be lower-case letters, digits and "
                "underscores. Rename it."
            )
        if not self.question.strip():
            raise ConfigError(f"Prompt set {self.name} has no question. Write one.")
        for side, prompts in (("positive", self.positive), ("negative", self.negative)):
            if not prompts:
                raise ConfigError(f"Prompt set {self.name} has no {side} prompt. Add at least one.")
            for prompt in prompts:
                if not prompt.strip() or len(prompt) > _MAX_TEXT:
                    raise ConfigError(
                        f"Prompt set {self.name} has a {side} prompt of {len(prompt.strip())} "
                        f"characters. Prompts need 1 to {_MAX_TEXT}."
                    )
        # A prompt on both sides cancels itself and weakens the rest.
        both = sorted(set(self.positive) & set(self.negative))
        if both:
            raise ConfigError(
                f"Prompt set {self.name} has {both[0]!r} on both sides. Keep it on one."
            )


def load_prompt_sets(path: str | Path) -> tuple[PromptSet, ...]:
    """Read one YAML file, or every ``*.yaml`` of a folder in the order of their names.

    Parameters
    ----------
    path : path

    Returns
    -------
    tuple of PromptSet

    Raises
    ------
    ConfigError
        Nothing is there, or a file holds something else than prompt sets.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.yaml"))
        if not files:
            raise ConfigError(f"The folder {path.name} holds no .yaml file with prompts.")
    elif path.is_file():
        files = [path]
    else:
        raise ConfigError(f"There is no file or folder {path.name} with prompts.")
    sets = [item for file in files for item in _read(file)]
    _refuse_repeated(sets)
    return tuple(sets)


def _refuse_repeated(sets: Sequence[PromptSet]) -> None:
    names = [item.name for item in sets]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"The prompt set {repeated[0]} stands there {names.count(repeated[0])} times. "
            "Give each its own name."
        )


def prompt_sets_text(sets: Iterable[PromptSet]) -> str:
    """Write the text of a file that `load_prompt_sets` and `parse_prompt_sets` read back.

    Parameters
    ----------
    sets : iterable of PromptSet

    Returns
    -------
    str
        YAML.
    """
    entries = []
    for item in sets:
        entry: dict[str, Any] = {key: asdict(item)[key] for key in _KEYS}
        entry["positive"], entry["negative"] = list(item.positive), list(item.negative)
        entries.append(entry)
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=100)


def save_prompt_sets(sets: Iterable[PromptSet], path: str | Path) -> None:
    """Write one YAML file that `load_prompt_sets` reads back, replacing it in one step.

    Parameters
    ----------
    sets : iterable of PromptSet
    path : path
    """
    write_text_atomically(Path(path), prompt_sets_text(sets))


def parse_prompt_sets(content: bytes, name: str) -> tuple[PromptSet, ...]:
    """Read prompt sets from the bytes of a file that somebody sent.

    Parameters
    ----------
    content : bytes
    name : str
        What to call the file in messages.

    Returns
    -------
    tuple of PromptSet

    Raises
    ------
    ConfigError
        It is too large, holds something else, or a name in it repeats.
    """
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{name} has {len(content) // 1024:,} kB; a file of prompt sets has at most "
            f"{MAX_FILE_BYTES // 1024} kB."
        )
    sets = _parsed(content, name)
    if len(sets) > MOST_SETS or any(
        len(s.positive) > MOST_PROMPTS or len(s.negative) > MOST_PROMPTS for s in sets
    ):
        raise ConfigError(
            f"{name} has {len(sets)} prompt sets. At most {MOST_SETS} are read, with at most "
            f"{MOST_PROMPTS} prompts on each side."
        )
    _refuse_repeated(sets)
    return tuple(sets)


def prompt_set_from_text(text: str) -> PromptSet:
    """Make a yes/no question of one free text, for example ``"atrial fibrillation"``.

    Parameters
    ----------
    text : str

    Returns
    -------
    PromptSet
        The text says yes; its negations and a normal ECG say no.

    Raises
    ------
    ConfigError
        The text is empty or too long.
    """
    words = " ".join(text.lower().split()).strip(" .?!")
    if not words:
        raise ConfigError("The question is empty. Type what to look for, such as a finding.")
    negative = [f"no {words}", f"no evidence of {words}", "normal ecg"]
    # Its own negation cannot hold "normal ecg".
    if words == "normal ecg":
        negative = ["abnormal ecg", "not a normal ecg"]
    name = re.sub(r"[^a-z0-9]+", "_", words).strip("_") or "question"
    return PromptSet(name, " ".join(text.split()), (words,), tuple(negative))


def with_either(sets: Sequence[PromptSet]) -> list[PromptSet]:
    """The prompt sets, and the question for severe hypertrophy or dilatation made of those two.

    Parameters
    ----------
    sets : sequence of PromptSet
        With the labels ``slvh`` and ``dlv``; the prompts of both sides are joined.

    Returns
    -------
    list of PromptSet
        The new one, with the label ``slvh_or_dlv``, stands last.
    """
    by_label = {item.label: item for item in sets}
    slvh, dlv = by_label["slvh"], by_label["dlv"]
    either = PromptSet(
        "severe_lvh_or_dilated_lv",
        "Severe LV hypertrophy or dilated left ventricle",
        slvh.positive + dlv.positive,
        slvh.negative + dlv.negative,
        "slvh_or_dlv",
    )
    return [*sets, either]


def _read(path: Path) -> list[PromptSet]:
    return _parsed(path.read_bytes(), path.name)


def _parsed(content: bytes, name: str) -> list[PromptSet]:
    try:
        entries = parse_yaml(content)
    except DocumentError as error:
        raise ConfigError(f"{name} cannot be read as a file of prompts: {error}.") from error
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{name} must hold a list of prompt sets; it holds something else.")
    return [_prompt_set(entry, f"{name}, entry {i}") for i, entry in enumerate(entries, 1)]


def _prompt_set(entry: object, where: str) -> PromptSet:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: a prompt set has the keys {', '.join(_KEYS)}.")
    # A misspelt key would silently drop a side or a label.
    unknown = [str(key) for key in entry if key not in _KEYS]
    missing = [key for key in _KEYS if key not in entry and key != "label"]
    if unknown or missing:
        problem = f"unknown key {unknown[0]}" if unknown else f"the key {missing[0]} is missing"
        raise ConfigError(f"{where}: {problem}. A prompt set has the keys {', '.join(_KEYS)}.")
    for key in ("name", "question"):
        if not isinstance(entry[key], str):
            raise ConfigError(f"{where}: {key} must be a text, not {entry[key]!r}.")
    label = entry.get("label")
    if label is not None and not isinstance(label, str):
        raise ConfigError(f"{where}: label must be a text or left out, not {label!r}.")
    for key in ("positive", "negative"):
        prompts = entry[key]
        # A bare "no" is false in YAML; quoting is what helps.
        if not isinstance(prompts, list) or not all(isinstance(text, str) for text in prompts):
            raise ConfigError(f"{where}: {key} must be a list of texts. Quote each of them.")
    return PromptSet(
        name=entry["name"],
        question=entry["question"],
        positive=tuple(entry["positive"]),
        negative=tuple(entry["negative"]),
        label=label,
    )
