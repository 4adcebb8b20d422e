"""The one strict reader of settings: mappings, YAML files, and what is typed as ``key=value``.

Settings are frozen dataclasses that stand in the room they belong to, with their defaults in
view. Reading rejects unknown keys and values of the wrong type with a `ConfigError` that names
the key, so a typo never becomes a default.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml

from echoing_core.documents import DocumentError, parse_yaml
from echoing_core.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

_YES = {"yes": True, "true": True, "on": True, "1": True}
_NO = {"no": False, "false": False, "off": False, "0": False}


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Build a settings dataclass from a mapping, strictly.

    Parameters
    ----------
    cls : type
        A dataclass. Fields that are dataclasses themselves are read from inner mappings.
    values : mapping of str to object
        What YAML or JSON gives. A whole number stands for a float, nothing else is converted.
    where : str
        Put before the keys in error messages: ``"optimiser."``.

    Raises
    ------
    ConfigError
        An unknown key, or a value of another type than the field's.
    """
    hints = _hints(cls)  # type: ignore[arg-type]
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        near = _near(unknown, setting_names(cls))
        meant = f"Did you mean {' or '.join(where + name for name in near)}? " if near else ""
        raise ConfigError(
            f"Unknown setting {', '.join(where + key for key in unknown)}. {meant}"
            f"Known settings here: {', '.join(sorted(known))}."
        )
    return cls(**{key: _checked(hints[key], value, where + key) for key, value in values.items()})


def setting_names(cls: type) -> dict[str, Any]:
    """All single settings of a dataclass by the names that ``--set`` takes, with their defaults.

    Parameters
    ----------
    cls : type
        A dataclass whose groups are dataclasses themselves.

    Returns
    -------
    dict of str to object
        ``"optimiser.lr"``, in the order of the fields; None where there is no default.
    """
    hints = _hints(cls)
    names: dict[str, Any] = {}
    for one in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[one.name]):
            inner = setting_names(hints[one.name])
            names |= {f"{one.name}.{name}": default for name, default in inner.items()}
        else:
            has_default = one.default is not dataclasses.MISSING
            names[one.name] = one.default if has_default else None
    return names


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields. A calibration holds hundreds of one class, and reading them is slow."""
    return typing.get_type_hints(cls)


def _near(unknown: Sequence[str], names: Iterable[str]) -> list[str]:
    """Settings that may have been meant: of the same last word in another group, or alike."""
    near: list[str] = []
    for key in unknown:
        groups = {name.split(".")[0] for name in names}
        near += [name for name in names if name.rpartition(".")[2] == key]
        near += difflib.get_close_matches(key, [*groups, *names], n=2, cutoff=0.7)
    return list(dict.fromkeys(near))[:3]


def to_yaml(config: DataclassInstance) -> str:
    """Settings as a YAML file that `read_settings` reads back to the same.

    Parameters
    ----------
    config : dataclass

    Returns
    -------
    str
    """
    # Through JSON's types: YAML has none for tuples.
    plain = json.loads(json.dumps(to_mapping(config), allow_nan=False))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def flattened(settings: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """Settings in groups as one level, by the names that ``--set`` takes.

    Parameters
    ----------
    settings : mapping
        As `to_mapping` gives them.
    within : str
        Put before the names: ``"optimiser."``.

    Returns
    -------
    dict of str to object
    """
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= flattened(value, f"{within}{key}.")
        else:
            flat[within + key] = value
    return flat


def to_mapping(config: DataclassInstance) -> dict[str, Any]:
    """Undo `from_mapping`: plain dicts, lists and scalars."""
    return dataclasses.asdict(config)


def read_settings(name: str, presets: Traversable, names: Sequence[str]) -> dict[str, Any]:
    """Read a preset that comes with the package, or a YAML file of the same form.

    Parameters
    ----------
    name : str
        One of ``names``, or the path of a YAML file.
    presets : Traversable
        Folder with ``<name>.yaml``: ``importlib.resources.files(room).joinpath("presets")``.
    names : sequence of str
        The presets there are, in the order in which a message lists them.

    Returns
    -------
    dict
        For `from_mapping`; its keys are not checked yet.

    Raises
    ------
    ConfigError
        There is no such preset, or the file is no YAML mapping.
    """
    if name in names:
        text = presets.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).is_file():
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{Path(name).name} cannot be read as text.") from error
    else:
        raise ConfigError(
            f"There is no preset {name!r}. Choose {', '.join(names)}, or name a YAML file."
        )
    try:
        values = parse_yaml(text)
    except DocumentError as error:
        raise ConfigError(f"{Path(name).name} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{Path(name).name} holds no settings.")
    return values


def apply_changes(values: dict[str, Any], changes: Iterable[str]) -> None:
    """Change single settings of a mapping, in place, before it is checked.

    Parameters
    ----------
    values : dict
        As `read_settings` gives it.
    changes : iterable of str
        ``"optimiser.lr=1e-4"``: groups are separated by points, the value is read as YAML.

    Raises
    ------
    ConfigError
        A change has no ``=``, its value is no single value, or its group is a single setting.
    """
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"{change!r} changes nothing. Write it as setting=value.")
        *groups, last = key.strip().split(".")
        place = values
        for group in groups:
            inner = place.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"Setting {group} is no group of settings, so there is no {key.strip()}."
                )
            place = inner
        place[last] = _yaml_scalar(value)


def parse_text(text: str, kind: Any) -> Any:
    """Read what was typed on a command line as a value of a field's type.

    Parameters
    ----------
    text : str
        ``none`` is None where the type allows it; several values are separated by commas.
    kind : type
        Of int, float, str, bool, Path, Literal, tuples and frozensets of them, and unions, as
        `typing.get_type_hints` resolves them.

    Raises
    ------
    ValueError
        The text is no such value.
    TypeError
        A field of such a type cannot be typed at all.
    """
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if type(None) in inside and text.lower() in ("none", ""):
            return None
        for one in inside:
            if one is type(None):
                continue
            try:
                return parse_text(text, one)
            except ValueError:
                continue
        raise ValueError(text)
    if origin is Literal:
        for choice in inside:
            if text == str(choice):
                return choice
        raise ValueError(text)
    if origin in (tuple, frozenset):
        return origin(
            parse_text(item.strip(), inside[0]) for item in text.split(",") if item.strip()
        )
    if kind is bool:
        answer = (_YES | _NO).get(text.lower())
        if answer is None:
            raise ValueError(text)
        return answer
    if kind in (int, float, str, Path):
        return kind(text)
    raise TypeError(f"an option of type {kind} cannot be typed on a command line")


def describe_type(kind: Any) -> str:
    """Say in words what `parse_text` accepts for a type: ``"a whole number or none"``."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("none" if one is type(None) else describe_type(one) for one in inside)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in inside)}"
    if origin in (tuple, frozenset):
        return f"{describe_type(inside[0])}, several by commas"
    names = {bool: "yes or no", int: "a whole number", float: "a number", str: "text"}
    return names.get(kind, "a path" if kind is Path else str(kind))


def format_value(value: Any) -> str:
    """Write a value as `parse_text` reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, frozenset)):
        return ",".join(str(item) for item in value)
    return str(value)


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` if it fits a field's type, with inner groups built."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"Setting {where} must be a group of settings, not {value!r}.")
        return from_mapping(hint, value, where + ".")
    # JSON and YAML write 1.0 as 1; bool is an int in Python and must not pass for a number.
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    origin = typing.get_origin(hint)
    allowed = typing.get_args(hint) if origin in (typing.Union, types.UnionType) else (hint,)
    plain = tuple(t for t in allowed if isinstance(t, type))
    if plain and (not isinstance(value, plain) or (isinstance(value, bool) and bool not in plain)):
        names = " or ".join(t.__name__ for t in plain)
        raise ConfigError(f"Setting {where} must be {names}, not {value!r}.")
    return value


def _yaml_scalar(text: str) -> Any:
    """A single value as YAML reads it, and ``1e-4`` as a number."""
    try:
        value = parse_yaml(text)
    except DocumentError as error:
        raise ConfigError(f"{text!r} is no single value: {error}.") from error
    if isinstance(value, str):
        # YAML 1.1 takes a number without a point, as 1e-4, for a word.
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, Mapping | list):
        raise ConfigError(f"{text!r} is no single value.")
    return value
