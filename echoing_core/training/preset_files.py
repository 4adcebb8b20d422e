"""Presets: the paper's run, the release's, and the demo's, each a YAML file that can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from echoing_core.config import from_mapping
from echoing_core.errors import ConfigError
from echoing_core.training.settings import RunConfig

PRESETS = ("paper", "release", "demo")


def load_preset(name: str, changes: Iterable[str] = ()) -> RunConfig:
    """A preset, or a YAML file of the same form, with single settings changed.

    Parameters
    ----------
    name : str
        One of `PRESETS`, or the path of a YAML file.
    changes : iterable of str
        ``"optimiser.lr=1e-4"``: the value is read as YAML.

    Raises
    ------
    ConfigError
        There is no such preset, or a setting is unknown or of a wrong type.
    """
    import yaml

    if name in PRESETS:
        text = resources.files("echoing_core.training").joinpath(f"presets/{name}.yaml").read_text()
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ConfigError(
            f"There is no preset {name!r}. Choose {', '.join(PRESETS)}, or name a YAML file."
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{Path(name).name} is not a YAML file that can be read.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{Path(name).name} holds no settings.")
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"{change!r} changes nothing. Write it as setting=value.")
        _set(values, key.strip(), _value(value))
    return from_mapping(RunConfig, values)


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    place = values
    for group in groups:
        inner = place.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"Setting {group} is no group of settings, so there is no {key}.")
        place = inner
    place[last] = value


def _value(text: str) -> Any:
    import yaml

    value = yaml.safe_load(text)
    if isinstance(value, str):
        # YAML 1.1 reads 1e-4 as a word.
        try:
            return float(value)
        except ValueError:
            return value
    if isinstance(value, Mapping | list):
        raise ConfigError(f"{text!r} is no single value.")
    return value
