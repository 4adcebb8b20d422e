"""Which data sets can be prepared: name -> adapter, imported only when it is asked for.

To add one, write its adapter (a frozen dataclass, see `datasets.adapter`) and give it one line
in `DATA_SETS`. The fields of the dataclass are its options; ``field(metadata={"help": ...})``
gives the sentence that ``echoing prepare --list`` prints of them.
"""

from __future__ import annotations

import dataclasses
import importlib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from echoing_core.datasets.adapter import Adapter
from echoing_core.errors import ConfigError


class Entry(NamedTuple):
    """Where an adapter lives, and what its data set is in a few words."""

    module: str
    adapter: str
    summary: str


DATA_SETS: dict[str, Entry] = {
    "ptbxl": Entry("ptbxl", "PtbXl", "PTB-XL 1.0.3"),
    "cinc": Entry("cinc", "Cinc", "PhysioNet/CinC Challenge 2020 and 2021, CPSC2018, CSN"),
    "echonet": Entry(
        "echonet", "EchoNetDynamic", "EchoNet-Dynamic: videos only, for echoing teacher measure"
    ),
    "echonext": Entry("echonext", "EchoNext", "EchoNext 1.1"),
    "music": Entry("music", "Music", "MUSIC 1.0.1, high-resolution and Holter recordings"),
    "mimic": Entry("mimic_ecg", "MimicEcg", "MIMIC-IV-ECG 1.0, with -ECHO, -Note and admissions"),
    "plain": Entry("plain", "Plain", "records of one's own, listed in a CSV"),
}
"""Name on the command line -> adapter in ``echoing_core.datasets``."""

_YES = {"1": True, "true": True, "yes": True, "on": True}
_NO = {"0": False, "false": False, "no": False, "off": False}


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a data set.

    Attributes
    ----------
    name : str
    kind : str
        Its type in words: ``"int"``, ``"one of 100, 500"``.
    default : str or None
        As it is written on the command line; None where it must be given.
    help : str
    """

    name: str
    kind: str
    default: str | None
    help: str


def data_set_names() -> tuple[str, ...]:
    """Names of the data sets that can be prepared, in alphabetical order."""
    return tuple(sorted(DATA_SETS))


def adapter_class(name: str) -> type[Any]:
    """Import the adapter of a data set.

    Raises
    ------
    ConfigError
        There is no such data set.
    """
    if name not in DATA_SETS:
        raise ConfigError(
            f"There is no data set {name}. The data sets are {', '.join(data_set_names())}."
        )
    entry = DATA_SETS[name]
    module = importlib.import_module(f"echoing_core.datasets.{entry.module}")
    found: type[Any] = getattr(module, entry.adapter)
    return found


def options_of(name: str) -> tuple[Option, ...]:
    """Options of a data set, in the order of its fields."""
    kinds = _kinds(adapter_class(name))
    found = []
    for item in dataclasses.fields(adapter_class(name)):
        default: Any = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        told = None if default is dataclasses.MISSING else _as_text(default)
        found.append(
            Option(item.name, _words(kinds[item.name]), told, item.metadata.get("help", ""))
        )
    return tuple(found)


def build_adapter(name: str, settings: Mapping[str, str] | None = None) -> Adapter:
    """Make the adapter of a data set from options as they are typed.

    Parameters
    ----------
    name : str
        Of `data_set_names`.
    settings : mapping of str to str
        Option -> value. ``-`` and ``_`` in names are the same. Several values of one option are
        separated by commas; ``none`` is no value.

    Raises
    ------
    ConfigError
        There is no such data set or option, a value does not fit, or one that is needed is not
        there.
    """
    made = adapter_class(name)
    kinds = _kinds(made)
    values: dict[str, Any] = {}
    for typed, text in (settings or {}).items():
        key = typed.replace("-", "_")
        if key not in kinds:
            known = ", ".join(kinds) or "none at all"
            raise ConfigError(f"{name} has no option {typed}. Its options: {known}.")
        try:
            values[key] = _parsed(text, kinds[key])
        except ValueError as error:
            raise ConfigError(
                f"{text!r} does not fit the option {key} of {name}, which is {_words(kinds[key])}."
            ) from error
    needed = [option.name for option in options_of(name) if option.default is None]
    lacking = [key for key in needed if key not in values]
    if lacking:
        raise ConfigError(f"{name} needs the option {lacking[0]}. Give it with --set.")
    adapter: Adapter = made(**values)
    return adapter


def _kinds(made: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(made)
    return {item.name: hints[item.name] for item in dataclasses.fields(made)}


def _parsed(text: str, kind: Any) -> Any:
    """Read ``text`` as ``kind``; ValueError where it is none."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in inside and text.lower() in ("none", ""):
            return None
        for one in inside:
            if one is type(None):
                continue
            try:
                return _parsed(text, one)
            except ValueError:
                continue
        raise ValueError(text)
    if origin is Literal:
        for choice in inside:
            if text == str(choice):
                return choice
        raise ValueError(text)
    if origin in (tuple, frozenset):
        return origin(_parsed(part.strip(), inside[0]) for part in text.split(",") if part.strip())
    if kind is bool:
        found = (_YES | _NO).get(text.lower())
        if found is None:
            raise ValueError(text)
        return found
    if kind in (int, float, str, Path):
        return kind(text)
    raise TypeError(f"an option of type {kind} cannot be typed on a command line")


def _words(kind: Any) -> str:
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join("none" if one is type(None) else _words(one) for one in inside)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in inside)}"
    if origin in (tuple, frozenset):
        return f"{_words(inside[0])}, several by commas"
    names = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
    return names.get(kind, "a path" if kind is Path else str(kind))


def _as_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, frozenset)):
        return ",".join(str(part) for part in value)
    return str(value)
