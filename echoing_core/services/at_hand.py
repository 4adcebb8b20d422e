"""Which models and indexes are at hand: by their cards and configurations alone, nothing is opened.

No weight, vector or table is read and no hash is checked, so a list takes a moment; whoever opens
a folder checks it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoing_core.config import from_mapping
from echoing_core.documents import parse_json
from echoing_core.errors import ConfigError
from echoing_core.models.config import ModelConfig
from echoing_core.models.hub_card import trained_on
from echoing_core.services.models import card_kind, index_folders_by_name, model_folders

HEADS = "heads.json"
"""`models.heads.HEADS`, whose module brings torch along."""


@dataclass(frozen=True)
class ModelAtHand:
    """A model folder, as its documents describe it.

    Attributes
    ----------
    name : str
        By which commands know it; the folder's.
    folder : Path
    hash : str
        Empty where the folder is damaged.
    sigma2 : tuple of str
        Kinds of sigma^2 that it can be read by.
    size_mb : float
        Of all its files.
    trained_on : str
    heads : tuple of str
        Each as ``"LVEF < 40 % (fine-tuned head, trained on ...)"``.
    problem : str
        Why it cannot be used, where that shows at once; else empty.
    """

    name: str
    folder: Path
    hash: str
    sigma2: tuple[str, ...]
    size_mb: float
    trained_on: str
    heads: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class IndexAtHand:
    """An index folder, as its card describes it.

    Attributes
    ----------
    name : str
        By which commands know it; the folder's.
    folder : Path
    model, model_hash : str
        That it was built with, and can be searched with.
    n : int
        Items.
    n_simulated : int
        Of these.
    size_mb : float
    title : str
        As the app shows it.
    fits : tuple of str
        Names of models at hand with that hash.
    problem : str
        As in `ModelAtHand`.
    """

    name: str
    folder: Path
    model: str
    model_hash: str
    n: int
    n_simulated: int
    size_mb: float
    title: str
    fits: tuple[str, ...] = ()
    problem: str = ""


def models_at_hand(folder: str | os.PathLike[str] | None = None) -> tuple[ModelAtHand, ...]:
    """Models that go by their name, or those in a folder.

    Parameters
    ----------
    folder : path, optional
        Without it, what `services.model_folders` knows.

    Returns
    -------
    tuple of ModelAtHand

    Raises
    ------
    ConfigError
        There is no such folder.
    """
    folders = model_folders().values() if folder is None else _inside(folder, "manifest.json")
    return tuple(_model(one) for one in folders)


def indexes_at_hand(folder: str | os.PathLike[str] | None = None) -> tuple[IndexAtHand, ...]:
    """Indexes that go by their name, or those in a folder.

    Parameters
    ----------
    folder : path, optional
        Without it, what `services.index_folders_by_name` knows.

    Returns
    -------
    tuple of IndexAtHand

    Raises
    ------
    ConfigError
        There is no such folder.
    """
    folders: Iterable[Path] = index_folders_by_name().values()
    if folder is not None:
        folders = [one for one in _inside(folder, "card.json") if card_kind(one) == "index"]
    hashes: dict[str, list[str]] = {}
    for model in models_at_hand():
        hashes.setdefault(model.hash, []).append(model.name)
    return tuple(_index(one, hashes) for one in folders)


def _inside(folder: str | os.PathLike[str], marker: str) -> list[Path]:
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"There is no folder {path}. Name one that holds models or indexes.")
    # The folder itself, or those in it.
    if (path / marker).is_file():
        return [path]
    return [one for one in sorted(path.glob("*")) if (one / marker).is_file()]


def _model(folder: Path) -> ModelAtHand:
    size = _size_mb(folder)
    try:
        manifest, config = _read(folder / "manifest.json"), _read(folder / "config.json")
        kinds = from_mapping(ModelConfig, config["model"]).sigma2_kinds
        trained = trained_on(_read(folder / "training.json"))
        heads = _read(folder / HEADS)["heads"] if (folder / HEADS).is_file() else []
        titles = tuple(
            f"{h['question']} ({h['kind']}, trained on {h['n_train']:,} "
            f"{'simulated ' if h['simulated'] else ''}ECGs of {h['source']})"
            for h in heads
        )
        return ModelAtHand(folder.name, folder, str(manifest["hash"]), kinds, size, trained, titles)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        # One damaged folder must not hide the rest.
        return ModelAtHand(folder.name, folder, "", (), size, "", (), _short(error))


def _index(folder: Path, hashes: Mapping[str, list[str]]) -> IndexAtHand:
    size = _size_mb(folder)
    try:
        card = _read(folder / "card.json")
        model_hash = str(card["checkpoint_hash"])
        return IndexAtHand(
            folder.name,
            folder,
            str(card.get("model", "")),
            model_hash,
            int(card["n"]),
            # Cards of before the number was written say it of all or none.
            int(card.get("n_simulated", card["n"] if card.get("simulated") else 0)),
            size,
            str(card.get("name", ""))[:80],
            tuple(hashes.get(model_hash, ())),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        return IndexAtHand(folder.name, folder, "", "", 0, 0, size, "", (), _short(error))


def _size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _read(path: Path) -> dict[str, Any]:
    value = parse_json(path.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no settings")
    return value


def _short(error: Exception) -> str:
    return f"damaged: {str(error).splitlines()[0][:100]}" if str(error) else "damaged"
