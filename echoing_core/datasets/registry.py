"""Which data sets can be prepared: name -> adapter, imported only when it is asked for.

To add one, write its adapter (a frozen dataclass, see `datasets.adapter`) and give it one line
in `DATA_SETS`; another package names its adapter as an entry point of ``echoing.datasets``. The
fields of the dataclass are its options; ``field(metadata={"help": ...})`` gives the sentence that
``echoing prepare --list`` prints of them.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

from echoing_core import plugins
from echoing_core.config import describe_type, format_value, parse_text
from echoing_core.errors import ConfigError

if TYPE_CHECKING:
    from echoing_core.datasets.adapter import Adapter


class Entry(NamedTuple):
    """Where an adapter is defined, and what its data set is in a few words.

    Attributes
    ----------
    module : str
        In ``echoing_core.datasets``.
    adapter : str
        Name of the class.
    summary : str
    """

    module: str
    adapter: str
    summary: str


# Strings, not classes: listing the sets must not import pandas.
DATA_SETS: dict[str, Entry] = {
    "ptbxl": Entry("ptbxl", "PtbXl", "PTB-XL 1.0.3"),
    "cinc": Entry("cinc", "Cinc", "PhysioNet/CinC Challenge 2020 and 2021, CPSC2018, CSN"),
    "cinc2017": Entry("cinc2017", "Cinc2017", "CinC Challenge 2017: one lead, four classes"),
    "code15": Entry("code15", "Code15", "CODE-15%, HDF5 (needs h5py)"),
    "ludb": Entry("ludb", "Ludb", "LUDB 1.0.1"),
    "samitrop": Entry("code15", "SamiTrop", "SaMi-Trop, HDF5 (needs h5py)"),
    "sph": Entry("sph", "Sph", "SPH of Shandong, HDF5 (needs h5py)"),
    "echonet": Entry(
        "echonet", "EchoNetDynamic", "EchoNet-Dynamic: videos only, for echoing teacher measure"
    ),
    "echonext": Entry("echonext", "EchoNext", "EchoNext 1.1"),
    "music": Entry("music", "Music", "MUSIC 1.0.1, high-resolution and Holter recordings"),
    "mimic": Entry("mimic_ecg", "MimicEcg", "MIMIC-IV-ECG 1.0, with -ECHO, -Note and admissions"),
    "plain": Entry("plain", "Plain", "records of one's own, listed in a CSV"),
}
"""Name on the command line -> adapter in ``echoing_core.datasets``."""


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
    """Names of the data sets that can be prepared, those of plugins among them, from A to Z."""
    return tuple(sorted({*DATA_SETS, *plugins.plugins(plugins.DATA_SETS)}))


def summary_of(name: str) -> str:
    """What a data set is, in a few words, without importing it.

    Parameters
    ----------
    name : str
        Of `data_set_names`.

    Returns
    -------
    str
    """
    if name in DATA_SETS:
        return DATA_SETS[name].summary
    return f"a plugin of {plugins.plugins(plugins.DATA_SETS)[name].package}"


def adapter_class(name: str) -> type[Any]:
    """Import the adapter of a data set.

    Parameters
    ----------
    name : str
        Of `data_set_names`.

    Returns
    -------
    type
        A frozen dataclass, see `datasets.adapter`.

    Raises
    ------
    ConfigError
        There is no such data set, or its package cannot be imported.
    """
    if name not in data_set_names():
        raise ConfigError(
            f"There is no data set {name}. The data sets are {', '.join(data_set_names())}."
        )
    if name not in DATA_SETS:
        plugged: type[Any] = plugins.load(plugins.DATA_SETS, name)
        if not dataclasses.is_dataclass(plugged):
            raise ConfigError(f"The data set {name} is no dataclass. See datasets/adapter.py.")
        return plugged
    entry = DATA_SETS[name]
    module = importlib.import_module(f"echoing_core.datasets.{entry.module}")
    adapter: type[Any] = getattr(module, entry.adapter)
    return adapter


def options_of(name: str) -> tuple[Option, ...]:
    """Options of a data set, in the order of its fields.

    Parameters
    ----------
    name : str
        Of `data_set_names`.

    Returns
    -------
    tuple of Option

    Raises
    ------
    ConfigError
        There is no such data set.
    """
    adapter = adapter_class(name)
    kinds = _kinds(adapter)
    options = []
    for item in dataclasses.fields(adapter):
        # A list has a factory in place of a default; one without either must be given.
        default: Any = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        typed = None if default is dataclasses.MISSING else format_value(default)
        kind = describe_type(kinds[item.name])
        options.append(Option(item.name, kind, typed, item.metadata.get("help", "")))
    return tuple(options)


def build_adapter(name: str, settings: Mapping[str, str] | None = None) -> Adapter:
    """Make the adapter of a data set from options as they are typed.

    Parameters
    ----------
    name : str
        Of `data_set_names`.
    settings : mapping of str to str
        Option -> value. ``-`` and ``_`` in names are the same. Several values of one option are
        separated by commas; ``none`` is no value.

    Returns
    -------
    Adapter

    Raises
    ------
    ConfigError
        There is no such data set or option, a value does not fit, or one that is needed is not
        there.
    """
    kinds = _kinds(adapter_class(name))
    values: dict[str, Any] = {}
    for typed, text in (settings or {}).items():
        # Shell users write options with a hyphen.
        key = typed.replace("-", "_")
        if key not in kinds:
            known = ", ".join(kinds) or "none at all"
            raise ConfigError(f"{name} has no option {typed}. Its options: {known}.")
        try:
            values[key] = parse_text(text, kinds[key])
        except ValueError as error:
            kind = describe_type(kinds[key])
            raise ConfigError(
                f"{text!r} does not fit the option {key} of {name}, which is {kind}."
            ) from error
    # Asked here, since the dataclass would answer with a TypeError.
    needed = [option.name for option in options_of(name) if option.default is None]
    lacking = [key for key in needed if key not in values]
    if lacking:
        raise ConfigError(f"{name} needs the option {lacking[0]}. Give it with --set.")
    adapter: Adapter = adapter_class(name)(**values)
    return adapter


def _kinds(adapter: type[Any]) -> dict[str, Any]:
    """Types of the fields of an adapter, resolved: annotations are strings until then."""
    hints = get_type_hints(adapter)
    return {item.name: hints[item.name] for item in dataclasses.fields(adapter)}
