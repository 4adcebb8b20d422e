"""The folders that a command was given, looked at before anything heavy is imported.

Torch, FAISS and transformers take seconds to import and a model to load; that a path is wrong is
known at once. So commands ask here first. Whether a folder is sound is the matter of whoever opens
it: here it is only of the right kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoing_core.datasets.prepared import read_card
from echoing_core.errors import (
    CheckpointError,
    ConfigError,
    DataSetError,
    EchoingError,
    IndexMismatchError,
    UnreadableRecordError,
)
from echoing_core.evaluate.protocols.settings import NEEDED_SPLITS, WINDOWS, EvaluationPreset
from echoing_core.stores import Place, StorePath, place_of, refuse_store

# `datasets.music.TABLE`, whose module brings pandas along.
MUSIC_TABLE = "subject-info.csv"
_N_NAMED = 5

Given = str | os.PathLike[str] | None
GivenPlace = Given | StorePath


@dataclass(frozen=True)
class _Kind:
    """A kind of folder.

    Attributes
    ----------
    words : str
        What it is, with its article.
    markers : tuple of str
        Files of which every such folder has one.
    mend : str
        A sentence with the command that makes one, or where to find one.
    error : type
        What is raised where a folder is none.
    written : str
        What the marker, a card of ours, says that it is; empty where it does not.
    """

    words: str
    markers: tuple[str, ...]
    mend: str
    error: type[EchoingError]
    written: str = ""


_PREPARE = "Make one with `echoing prepare NAME ROOT OUT`; `echoing prepare --list` has the names."
MODEL = _Kind(
    "a model",
    ("manifest.json",),
    "Name one that ships (--model demo), or train one with `echoing train from demo --data "
    "PREPARED --out MODEL`.",
    CheckpointError,
)
INDEX = _Kind(
    "an index",
    ("card.json",),
    "Leave --index out for the shipped one, or build one with `echoing index build INDEX`.",
    IndexMismatchError,
    "index",
)
EMBEDDINGS = _Kind(
    "a collection of embeddings",
    ("card.json",),
    "Make one with `echoing embed FOLDER OUT`; the same command finishes one that was stopped.",
    IndexMismatchError,
    "embeddings",
)
PREPARED = _Kind(
    "a prepared study set", ("card.json",), _PREPARE, DataSetError, "prepared study set"
)
ECHO_STORE = _Kind(
    "a store of echo embeddings",
    ("card.json",),
    "Make one with `echoing teacher embed FOLDER STORE --teacher TEACHER`.",
    IndexMismatchError,
    "echo embedding store",
)
TEACHER = _Kind(
    "an echo teacher",
    ("open_clip_config.json",),
    "Train a stand-in with `echoing teacher train TEACHER`, or name ECHO-CLIP's weight file or "
    "hf-hub:mkaichristensen/echo-clip.",
    CheckpointError,
)
_AS_PUBLISHED = "Name the folder as it was downloaded; docs/datasets.md says where to get it."
PTBXL = _Kind("PTB-XL", ("ptbxl_database.csv",), _AS_PUBLISHED, DataSetError)
ZSCORED = _Kind(
    "a folder of z-scored ECGs",
    ("records.csv",),
    "Name the folder with records.csv and x_NN.npz.",
    DataSetError,
)
CINC_2011 = _Kind(
    "the graded CinC Challenge 2011", ("quality_labels.csv",), _AS_PUBLISHED, DataSetError
)
NSTDB = _Kind("the MIT-BIH Noise Stress Test", ("em.hea", "EM.mat"), _AS_PUBLISHED, DataSetError)
LANGUAGE_MODEL = _Kind(
    "a language model", ("config.json",), "Name its folder on this machine.", CheckpointError
)
ECHONET = _Kind("EchoNet-Dynamic", ("FileList.csv",), _AS_PUBLISHED, DataSetError)


def check_given(
    *,
    model: Given = None,
    index: GivenPlace = None,
    data: Given = None,
    echo: Given = None,
    embedded: GivenPlace = None,
    teacher: Given = None,
    ptbxl: Given = None,
    zscored: Given = None,
    cinc: Given = None,
    nstdb: Given = None,
    echonet: Given = None,
    language_model: Given = None,
    recordings: Iterable[GivenPlace] = (),
    files: Iterable[Given] = (),
    stores: bool = False,
) -> None:
    """Refuse a path that is not what its option asks for; None was not given.

    Parameters
    ----------
    model, index, data, echo : path, optional
        Folders of this project: a model, an index, a prepared set, a store of echo embeddings (or a
        file of vectors).
    embedded : path, optional
        What ``echoing embed`` made.
    teacher : path or str, optional
        A folder, a weight file, or a name on the hub.
    ptbxl, zscored, cinc, nstdb, echonet : path, optional
        Data sets as they are published.
    language_model : path, optional
        As transformers writes one.
    recordings : iterable of path
        Folders with recordings.
    stores : bool
        Recordings may lie in an object store.
    files : iterable of path
        Files, of whatever kind.

    Raises
    ------
    CheckpointError, IndexMismatchError, DataSetError
        The first that is not, with what is needed and how to get it.
    """
    kinds = (
        (MODEL, model),
        (INDEX, index),
        (PREPARED, data),
        (EMBEDDINGS, embedded),
        # Vectors of other programs are a file, which says itself what it is when it is read.
        (ECHO_STORE, None if echo is not None and Path(echo).is_file() else echo),
        (PTBXL, ptbxl),
        (ZSCORED, zscored),
        (CINC_2011, cinc),
        (NSTDB, nstdb),
        (ECHONET, echonet),
        (LANGUAGE_MODEL, language_model),
    )
    for kind, given in kinds:
        if given is not None:
            # Of these alone an object store can hold one.
            if kind not in (INDEX, EMBEDDINGS):
                refuse_store(given)
            _check(kind, place_of(given))
    # Weights alone are a file, whose kind only open_clip can tell.
    is_weights = teacher is not None and Path(teacher).is_file()
    if teacher is not None and not is_weights and not str(teacher).startswith("hf-hub:"):
        _check(TEACHER, Path(teacher))
    for given in recordings:
        if given is None:
            continue
        if not stores:
            refuse_store(given)
        if not place_of(given).is_dir():
            raise DataSetError(f"There is no folder {given}. Name one that holds the recordings.")
    for given in files:
        if given is not None and not Path(given).is_file():
            raise DataSetError(f"There is no file {given}. Check its name, or leave it out.")


def _check(kind: _Kind, path: Place) -> None:
    if not path.exists():
        raise kind.error(f"There is no folder {path}; needed is {kind.words}. {kind.mend}")
    if not path.is_dir():
        raise kind.error(f"{path} is a file; needed is the folder of {kind.words}. {kind.mend}")
    if not any((path / marker).is_file() for marker in kind.markers):
        wanted = " or ".join(kind.markers)
        raise kind.error(f"{path} holds no {wanted}, so it is not {kind.words}. {kind.mend}")
    # All folders of ours have a card of one name; a damaged one is told when it is opened.
    found = _written(path / kind.markers[0]) if kind.written else ""
    if found not in ("", kind.written):
        raise kind.error(
            f"{path} holds the card of another kind ({found}), so it is not {kind.words}. "
            f"{kind.mend}"
        )


def _written(card: Place) -> str:
    """What a card says that its folder is; empty where it cannot be read."""
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return ""
    return str(content.get("kind", "")) if isinstance(content, dict) else ""


def check_model_out(out: Given) -> None:
    """Refuse to write a model where something else lies: it would be replaced whole.

    Parameters
    ----------
    out : path or None

    Raises
    ------
    ConfigError
        It is a file, or holds something that is no model.
    """
    _check_out(out, "manifest.json", "model")


def check_text_model(text_model: str | None) -> None:
    """Refuse a BERT that is meant to be a folder here and is none.

    Any ``a/b`` is a name on the hub, too, which is asked for half a minute where there is no
    network; where ``a`` is a folder here, ``a/b`` was meant to be one.

    Parameters
    ----------
    text_model : str or None

    Raises
    ------
    ConfigError
    """
    if text_model is None:
        return
    path = Path(text_model)
    if path.parent != Path() and path.parent.is_dir() and not path.exists():
        raise ConfigError(
            f"There is no folder {text_model}. Name one with a BERT in the published form, such as "
            "`echoing train melp-text` writes, or a name on the Hugging Face hub."
        )


def check_text_model_out(out: Given) -> None:
    """Refuse to write a text model where something else lies, as `check_model_out` does.

    Parameters
    ----------
    out : path or None

    Raises
    ------
    ConfigError
        It is a file, or holds something else.
    """
    _check_out(out, "card.json", "text model", "text model")


def check_embeddings_out(out: GivenPlace) -> None:
    """Refuse to write embeddings where something else lies, as `check_model_out` does.

    Parameters
    ----------
    out : path or None

    Raises
    ------
    ConfigError
        It is a file, or holds something else.
    """
    _check_out(out, "card.json", "collection of embeddings", "embeddings", stores=True)


def run_folder_of(out: str | os.PathLike[str], run: str | os.PathLike[str] | None) -> Path:
    """Where a training run keeps its states: the folder given, or one named after the model's.

    Parameters
    ----------
    out : path
        Model folder that the run writes.
    run : path or None

    Returns
    -------
    Path
    """
    # Beside the model, not in it: a model folder holds only what its card lists.
    return Path(run) if run is not None else Path(out).with_name(f"{Path(out).name}-run")


def check_teacher_out(out: Given) -> None:
    """As `check_model_out`, of an echo teacher of ours."""
    _check_out(out, "teacher.json", "echo teacher")


def check_index_out(out: GivenPlace) -> None:
    """As `check_model_out`, of an index."""
    _check_out(out, "card.json", "index", INDEX.written, stores=True)


def check_echo_store_out(out: Given) -> None:
    """As `check_model_out`, of a store of echo embeddings."""
    _check_out(out, "card.json", "store of echo embeddings", ECHO_STORE.written)


def _check_out(
    out: GivenPlace, marker: str, words: str, written: str = "", *, stores: bool = False
) -> None:
    if out is None:
        return
    path = place_of(out)
    if not stores:
        refuse_store(path)
    # In a store the parts of unfinished work lie in their place.
    if isinstance(path, StorePath) and (path / "plan.json").is_file():
        return
    if path.is_file():
        raise ConfigError(f"{path} is a file, and the {words} will be a folder. Name another.")
    is_ours = (path / marker).is_file() and written in ("", _written(path / marker))
    if path.is_dir() and any(path.iterdir()) and not is_ours:
        raise ConfigError(
            f"{path} already holds something that is not an older {words} of ours, and all of it "
            "would be replaced. Name another folder, or empty this one."
        )


def check_clips(clips: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse clips of an echocardiogram that are not there.

    Parameters
    ----------
    clips : iterable of path
        Files, or folders of such.

    Raises
    ------
    UnreadableRecordError
        One is not, or a folder holds none.
    """
    wanted = "Name AVI or DICOM clips, or the folder that holds them."
    for path in map(Path, clips):
        if not path.exists():
            raise UnreadableRecordError(f"There is no echo clip {path}. {wanted}")
        # Of what kind a file is, only its content says: DICOM files often have no ending.
        if path.is_dir() and not any(p.is_file() for p in path.rglob("*")):
            raise UnreadableRecordError(f"{path} is empty. {wanted}")


def check_published(weights: str | os.PathLike[str], scaler: str | os.PathLike[str]) -> None:
    """Refuse published weights that are not there, and say which of the two files it is.

    Parameters
    ----------
    weights, scaler : path
        ``echoingecg.pt`` and ``ecg_scaler.pkl``.

    Raises
    ------
    CheckpointError
    """
    files = (
        (weights, "weights (echoingecg.pt)", "first"),
        (scaler, "scaler (ecg_scaler.pkl)", "second"),
    )
    for given, what, place in files:
        if not Path(given).is_file():
            raise CheckpointError(
                f"There is no file {given}. The published {what} must be named {place}; its "
                "authors have both files at mcintoshML/EchoingECG."
            )


def check_calibration_data(
    *,
    ptbxl: Given,
    zscored: Given,
    data: Given,
    measure_zscored: bool,
    writes: bool,
) -> None:
    """Refuse data that answers cannot be calibrated on.

    Parameters
    ----------
    ptbxl, zscored, data, measure_zscored
        As in `services.evaluate_calibration`.
    writes : bool
        Whether the calibration is to be kept.

    Raises
    ------
    ConfigError
        Neither or both of PTB-XL and a prepared set are named, or it is to be kept with
        ``measure_zscored``.
    DataSetError
        A folder is not what it should be.
    """
    if (ptbxl is None) == (data is None):
        raise ConfigError("Name either PTB-XL with --ptbxl or a prepared set with --data.")
    if measure_zscored and (zscored is None or writes):
        raise ConfigError("--measure-zscored needs --zscored, and does not go with --write.")
    check_given(ptbxl=ptbxl, zscored=zscored, data=data)


def check_protocol_data(data: Given, protocol: str) -> None:
    """Refuse a prepared set without the studies that a protocol needs.

    Parameters
    ----------
    data : path or None
        None for simulated patients, which are always there.
    protocol : str
        One of `evaluate.protocols.settings.PROTOCOLS`.

    Raises
    ------
    DataSetError
        It is no prepared set, or a split is empty.
    """
    check_given(data=data)
    if data is not None:
        _check_splits(Path(data), read_card(Path(data)), protocol, "")


def check_preset_data(preset: EvaluationPreset, name: str, data: Given) -> None:
    """Refuse data that a preset cannot be measured on, with the command that prepares its own.

    Data of another source that have its labels are measured, and the table says so.

    Parameters
    ----------
    preset : EvaluationPreset
    name : str
        Of the preset.
    data : path or None
        As in `services.evaluate_preset`.

    Raises
    ------
    ConfigError
        None is given, and the preset needs some.
    DataSetError
        They are not what the preset needs.
    """
    windows = preset.protocol == WINDOWS
    mend = f"Preset {name} is for {preset.source}; prepare it with `{preset.prepare}`."
    if data is None:
        if windows:
            return
        raise ConfigError(f"Preset {name} needs a prepared set: name it with --data. {mend}")
    path = Path(data)
    # MUSIC itself, unprepared.
    if windows and (path / MUSIC_TABLE).is_file():
        return
    if not path.is_dir():
        raise DataSetError(f"There is no folder {path}. {mend}")
    if not (path / PREPARED.markers[0]).is_file():
        raise DataSetError(f"{path} is not {PREPARED.words}. {mend}")
    card = read_card(path)
    missing = [name for name in preset.classes or preset.labels if name not in card["labels"]]
    if missing:
        raise DataSetError(
            f"{path} was prepared from {card['source']} and has no label {_first(missing)} (it has "
            f"{_first(list(card['labels']))}). {mend}"
        )
    _check_splits(path, card, preset.protocol, mend)


def _check_splits(path: Path, card: Mapping[str, Any], protocol: str, mend: str) -> None:
    counts = {name: int(split["studies"]) for name, split in card["splits"].items()}
    empty = [name for name in NEEDED_SPLITS[protocol] if not counts.get(name)]
    if empty:
        there = ", ".join(f"{n} in {name}" for name, n in counts.items())
        raise DataSetError(
            f"{path} has no study in {' and '.join(empty)} ({there}), which {protocol} needs. "
            + (mend or "Prepare more patients, or other folds with --set.")
        )


def _first(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_N_NAMED]) or "none"
    return shown + (f" and {len(names) - _N_NAMED} others" if len(names) > _N_NAMED else "")
