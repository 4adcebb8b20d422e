"""What other packages add, by entry points: encoders, losses, text encoders, data sets, readers.

A package names its additions in its own ``pyproject.toml``::

    [project.entry-points."echoing.readers"]
    holter2 = "my_package.reader:KIND"

and the registry of that kind knows them beside its own from then on; nothing is registered by
importing. Names are read from the installed packages' metadata alone. Code of a package is imported
when its addition is used, by the name that a person chose: a model folder that asks for an addition
gets only what is installed here, and never brings code along.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from echoing_core.errors import ConfigError

logger = logging.getLogger(__name__)

ENCODERS = "echoing.encoders"
LOSSES = "echoing.losses"
TEXT_ENCODERS = "echoing.text_encoders"
DATA_SETS = "echoing.datasets"
READERS = "echoing.readers"
GROUPS = {
    ENCODERS: "ECG encoder",
    LOSSES: "loss",
    TEXT_ENCODERS: "text encoder",
    DATA_SETS: "data set",
    READERS: "reader",
}
"""Group of entry points -> what one of it is."""


@dataclass(frozen=True)
class Plugin:
    """An addition of an installed package, not imported yet.

    Attributes
    ----------
    group, name : str
    package : str
        With its version: ``"my-package 1.2"``.
    """

    group: str
    name: str
    package: str


def plugins(group: str) -> dict[str, Plugin]:
    """The additions of one group, by name in alphabetical order; nothing is imported.

    Parameters
    ----------
    group : str
        One of `GROUPS`.

    Returns
    -------
    dict of str to Plugin
    """
    return {name: plugin for name, (plugin, _) in _found(group).items()}


def load(group: str, name: str) -> Any:
    """Import an addition.

    Parameters
    ----------
    group : str
    name : str

    Returns
    -------
    object
        What its entry point names.

    Raises
    ------
    ConfigError
        It is not installed, or cannot be imported; the sentence says which.
    """
    found = _found(group)
    if name not in found:
        known = ", ".join(found) or "none"
        raise ConfigError(
            f"There is no {GROUPS[group]} {name!r} among the installed plugins ({known}). Install "
            f"the package that brings it as an entry point of {group}."
        )
    plugin, entry = found[name]
    try:
        return entry.load()
    # A package of somebody else's may fail in any way, and none of it is this program's mistake.
    except Exception as error:
        raise ConfigError(
            f"The {GROUPS[group]} {name} of {plugin.package} cannot be loaded "
            f"({type(error).__name__}: {str(error)[:200]}). Mend or uninstall that package."
        ) from error


def load_all(group: str) -> dict[str, Any]:
    """Import every addition of a group; one that fails is named in a warning, once, and left out.

    Parameters
    ----------
    group : str

    Returns
    -------
    dict of str to object
    """
    return dict(_loaded(group))


def forget() -> None:
    """Look at the installed packages anew: they were changed while this process runs."""
    _found.cache_clear()
    _loaded.cache_clear()


@cache
def _found(group: str) -> dict[str, tuple[Plugin, metadata.EntryPoint]]:
    found: dict[str, tuple[Plugin, metadata.EntryPoint]] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        package = "?" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
        if entry.name in found and found[entry.name][0].package != package:
            logger.warning(
                "%s and %s both bring a %s %s; that of the first is used",
                found[entry.name][0].package, package, GROUPS[group], entry.name,
            )  # fmt: skip
        found.setdefault(entry.name, (Plugin(group, entry.name, package), entry))
    return found


@cache
def _loaded(group: str) -> tuple[tuple[str, Any], ...]:
    loaded = []
    for name in _found(group):
        try:
            loaded.append((name, load(group, name)))
        except ConfigError as error:
            logger.warning("%s", error)
    return tuple(loaded)
