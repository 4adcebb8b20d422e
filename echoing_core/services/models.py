"""What ships with the project, opened: models, indexes, recordings and questions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from echoing_core.config import from_mapping
from echoing_core.documents import parse_yaml
from echoing_core.errors import CheckpointError, IndexMismatchError
from echoing_core.models.config import NO_SIGMA2, NO_TEXT, SIGMA2_SETTINGS, ModelConfig
from echoing_core.services.given import check_given
from echoing_core.stores import Place, StorePath, place_of
from echoing_core.uncertainty.meaning import MEANINGS
from echoing_core.uncertainty.reference import LeadReference, Reference, read_references
from echoing_core.zeroshot.calibration import Calibration
from echoing_core.zeroshot.prompts import PromptSet, load_prompt_sets

if TYPE_CHECKING:
    from echoing_core.models.checkpoint import Checkpoint
    from echoing_core.models.heads import Head
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.services.sharded import Shards

_PACKAGE = Path(__file__).resolve().parents[1]

DEFAULT_MODEL = "demo"
"""Name of the shipped model that is used where none is named."""

RUNS_FOLDER = Path("runs")
"""Seen from the working folder: what lies there goes by its name, too."""

INDEX_VARIABLE, MODEL_VARIABLE = "ECHOING_INDEX", "ECHOING_MODEL"
"""Environment variables with folders of indexes and models that the app offers beside the shipped
ones; the app begins with the first of these models."""


def shipped_folder() -> Path:
    """Where the app and all that ships lie: beside the package in a checkout, in it in a wheel.

    Returns
    -------
    Path
        With ``app.py``, ``assets`` and ``indexes``.
    """
    # Put there by setup.py, which is the one other place that knows this name.
    carried = _PACKAGE / "_shipped"
    return carried if carried.is_dir() else _PACKAGE.parent


def assets_folder() -> Path:
    """Where the shipped model, prompts and recordings lie.

    In `shipped_folder`; ``ECHOING_HOME`` names another place.
    """
    return Path(os.environ.get("ECHOING_HOME") or shipped_folder()) / "assets"


def indexes_folder() -> Path:
    """Where the shipped index lies; see `assets_folder`."""
    return Path(os.environ.get("ECHOING_HOME") or shipped_folder()) / "indexes"


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model.

    Attributes
    ----------
    name, hash : str
        Folder name; sha256 over the files that it computes with.
    card_markdown : str
    reference : Reference
        sigma^2 of the reference cohort.
    trained_on : mapping
        The training record: data, settings, figures.
    simulated_training : bool
        True when no real ECG was used in training.
    imported : bool
        True for published weights of others, under their licence.
    checkpoint : Checkpoint
    lead_references : dict of str to LeadReference
        The same for recordings that have only some leads, by the key of the lead set; what is
        measured while the model is in use is added (`services.lead_references`).
    calibration : Calibration or None
        What answers were worth on ECGs with known findings; None where that was never measured.
    folder : Path or None
        Where it lies.
    other_reference : Reference or None
        As ``reference``, of the model's other sigma^2 where it has two.
    """

    name: str
    hash: str
    card_markdown: str
    reference: Reference
    trained_on: Mapping[str, Any]
    simulated_training: bool
    imported: bool
    checkpoint: Checkpoint
    lead_references: dict[str, LeadReference] = field(default_factory=dict)
    calibration: Calibration | None = None
    folder: Path | None = None
    other_reference: Reference | None = None

    @property
    def heads(self) -> tuple[Head, ...]:
        """Questions that ECGs with known answers taught; most models have none."""
        return self.checkpoint.heads

    @property
    def sigma2(self) -> str:
        """Which sigma^2 is read: ``"displacement"`` or ``"matching"``."""
        return self.checkpoint.sigma2

    @property
    def sigma2_taught_by(self) -> str:
        """What taught it, by the keys of `uncertainty.meaning.MEANINGS`."""
        return self.checkpoint.sigma2_taught_by

    @property
    def sigma2_means(self) -> str:
        """What it says, in a sentence or two."""
        return MEANINGS[self.sigma2_taught_by]

    @property
    def has_text(self) -> bool:
        """Whether it reads texts; without, it answers and finds nothing in words."""
        return self.checkpoint.has_text

    @property
    def has_sigma2(self) -> bool:
        """Whether ECGs differ in sigma^2; without, one constant stands for it."""
        return self.checkpoint.encoder.config.has_sigma2

    @property
    def lacks(self) -> dict[str, str]:
        """What it does not have, ``"text"`` or ``"sigma2"``: a sentence or two for each."""
        lacking = (("text", self.has_text, NO_TEXT), ("sigma2", self.has_sigma2, NO_SIGMA2))
        return {what: words for what, there, words in lacking if not there}

    @property
    def masks_leads(self) -> bool:
        """Whether missing leads can be declared."""
        return self.checkpoint.masks_leads

    @property
    def has_attribution(self) -> bool:
        """Whether sigma^2 has terms by lead and moment."""
        return self.checkpoint.has_attribution

    @property
    def saw_words(self) -> bool:
        """Whether the words that its vocabulary knows are those of its training."""
        return self.checkpoint.tokenizer.saw_words


@dataclass(frozen=True)
class Sample:
    """A recording that ships with the project.

    Attributes
    ----------
    sample_id, title, description : str
    simulated : bool
    paths : tuple of Path
        All files of the recording.
    echo_paths : tuple of Path
        Clips of an echocardiogram of the same heart; most have none.
    """

    sample_id: str
    title: str
    description: str
    simulated: bool
    paths: tuple[Path, ...]
    echo_paths: tuple[Path, ...] = ()


def shipped_models() -> tuple[str, ...]:
    """Names under which `load_model` knows the models that ship, the default one first.

    One of two kinds of sigma^2 is there once for each: ``"echoing"``, ``"echoing@displacement"``.
    """
    folders = sorted(
        (f for f in (assets_folder() / "models").glob("*") if (f / "manifest.json").is_file()),
        key=lambda folder: (folder.name != DEFAULT_MODEL, folder.name),
    )
    return _with_kinds(folders)


def offered_models() -> tuple[str, ...]:
    """Names of the models that the app offers: those given in ``ECHOING_MODEL``, then the shipped.

    Returns
    -------
    tuple of str
        As in `shipped_models`; the app begins with the first.
    """
    given = os.environ.get(MODEL_VARIABLE, "").split(os.pathsep)
    folders = [Path(text) for text in given if text.strip()]
    shipped = shipped_models()
    own = _with_kinds([f for f in folders if (f / "manifest.json").is_file()])
    # A folder of a shipped model's name would not be found by that name.
    return tuple(dict.fromkeys([*(name for name in own if name not in shipped), *shipped]))


def _with_kinds(folders: Sequence[Path]) -> tuple[str, ...]:
    return tuple(
        folder.name if kind is None else f"{folder.name}@{kind}"
        for folder in folders
        for kind in (None, *_sigma2_kinds(folder)[1:])
    )


def _sigma2_kinds(folder: Path) -> tuple[str, ...]:
    # Without `models.checkpoint`, which brings torch along before anything needs it.
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return from_mapping(ModelConfig, settings["model"]).sigma2_kinds


def model_folders() -> dict[str, Path]:
    """Models that go by their name: shipped, given in ``ECHOING_MODEL``, and in ``runs``.

    Returns
    -------
    dict of str to Path
        Shipped ones first; of two of one name, the first in this order.
    """
    return _folders(
        [assets_folder() / "models"], os.environ.get(MODEL_VARIABLE, ""), "manifest.json"
    )


def index_folders_by_name() -> dict[str, Path]:
    """Indexes that go by their name: shipped, given in ``ECHOING_INDEX``, and in ``runs``.

    Returns
    -------
    dict of str to Path
    """
    found = _folders([indexes_folder()], os.environ.get(INDEX_VARIABLE, ""), "card.json")
    # Prepared sets and echo stores have a card of the same name.
    return {name: folder for name, folder in found.items() if card_kind(folder) == "index"}


def _folders(shipped: Sequence[Path], given: str, marker: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    listed = [Path(text) for text in given.split(os.pathsep) if text.strip()]
    for folder in [
        *(inner for place in shipped for inner in sorted(place.glob("*"))),
        *listed,
        *sorted(RUNS_FOLDER.glob("*")),
    ]:
        if (folder / marker).is_file():
            found.setdefault(folder.name, folder)
    return found


def card_kind(folder: Path) -> str:
    """What ``card.json`` of a folder says that it is; empty where that cannot be read."""
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(card.get("kind", "")) if isinstance(card, dict) else ""


def model_place(model: str | os.PathLike[str] | None = None) -> str:
    """A model as other processes and machines find it, for `model_in_worker`.

    A name is looked up once: elsewhere it may name something else.

    Parameters
    ----------
    model : path or str, optional
        As in `load_model`.

    Returns
    -------
    str

    Raises
    ------
    CheckpointError
        As `model_folder`.
    """
    folder, kind = model_folder(model)
    return f"{folder.resolve()}@{kind}" if kind else str(folder.resolve())


# One a process: a worker does many pieces, all with the same model.
@lru_cache(maxsize=1)
def model_in_worker(place: str, device: str = "cpu") -> Model:
    """The model of a process that does pieces of work; loaded with the first of them.

    Parameters
    ----------
    place : str
        Of `model_place`.
    device : str
        As `torch.device` takes it.

    Returns
    -------
    Model
    """
    loaded = load_model(place)
    if device != "cpu":
        from echoing_core.embed.encode import move_ecg_encoder

        move_ecg_encoder(loaded.checkpoint, device)
    return loaded


def model_folder(model: str | os.PathLike[str] | None = None) -> tuple[Path, str | None]:
    """The folder that a name or path means, and the kind of sigma^2 that it asks for.

    Parameters
    ----------
    model : path or str, optional
        As in `load_model`.

    Returns
    -------
    folder : Path
    sigma2 : str or None

    Raises
    ------
    CheckpointError
        There is no such folder, and no model of that name.
    """
    text = os.fspath(model) if model is not None else DEFAULT_MODEL
    name, at, kind = text.rpartition("@")
    # A folder of somebody's own may have an @ in its name.
    if not at or kind not in SIGMA2_SETTINGS or Path(text).is_dir():
        name, kind = text, ""
    folder = _by_name(name, model_folders())
    if folder is None:
        raise CheckpointError(_unknown("model", name, model_folders()))
    return folder, kind or None


def index_folder(index: str | os.PathLike[str]) -> Path:
    """The folder that the name or path of an index means.

    Parameters
    ----------
    index : path or str

    Returns
    -------
    Path

    Raises
    ------
    IndexMismatchError
        There is no such folder, and no index of that name.
    """
    text = os.fspath(index)
    folder = _by_name(text, index_folders_by_name())
    if folder is None:
        raise IndexMismatchError(_unknown("index", text, index_folders_by_name()))
    return folder


def index_place(index: str | os.PathLike[str] | StorePath) -> Place:
    """As `index_folder`, or the address of an index in an object store.

    Parameters
    ----------
    index : path or str

    Returns
    -------
    Path or StorePath

    Raises
    ------
    IndexMismatchError
        As `index_folder`.
    """
    if isinstance(index, StorePath) or "://" in os.fspath(index):
        return place_of(index)
    return index_folder(index)


def _by_name(text: str, known: Mapping[str, Path]) -> Path | None:
    # A folder of the working folder before a shipped one of its name.
    if Path(text).is_dir():
        return Path(text)
    if text in known:
        return known[text]
    # A file is told of by whoever wants to open it.
    return Path(text) if Path(text).exists() else None


def _unknown(what: str, text: str, known: Mapping[str, Path]) -> str:
    article = "an" if what == "index" else "a"
    names = ", ".join(known) or "none"
    plural = "indexes" if what == "index" else "models"
    return (
        f"There is no {what} {text!r}: it is no folder, and no name among those at hand ({names}). "
        f"Name {article} {what} folder; `echoing {plural}` lists what is at hand."
    )


def load_model(model: str | os.PathLike[str] | None = None) -> Model:
    """Load a model.

    Parameters
    ----------
    model : path or str, optional
        A model folder, or the name of one (`model_folders`). Where the model has two kinds of
        sigma^2, ``@`` and one of them may follow. Without it, the shipped demo model.

    Returns
    -------
    Model

    Raises
    ------
    CheckpointError
        The folder is missing, damaged or of another kind.
    """
    folder, sigma2 = model_folder(model)
    # Before torch is imported: a wrong name should be told at once.
    check_given(model=folder)
    from echoing_core.models.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(folder, sigma2=sigma2)
    # Written by `import_weights`; the record of a model trained here has no such entry.
    imported = bool(checkpoint.training.get("imported"))
    measured = checkpoint.measured.get("calibration")
    other = checkpoint.other_reference
    return Model(
        name=checkpoint.name,
        hash=checkpoint.hash,
        card_markdown=checkpoint.card,
        # Parsed once: every window of every recording is compared with it.
        reference=Reference.from_dict(checkpoint.reference),
        trained_on=checkpoint.training,
        # Imported weights tell nothing of their training, so they are never called simulated.
        simulated_training=not (checkpoint.training.get("real_ecgs", 0) or imported),
        imported=imported,
        checkpoint=checkpoint,
        lead_references=read_references(checkpoint.measured.get("lead_references", {"leads": {}})),
        calibration=None if measured is None else Calibration.from_dict(measured, checkpoint.hash),
        folder=folder,
        other_reference=None if other is None else Reference.from_dict(other),
    )


@overload
def load_index(folder: None = None, model: Model | None = None) -> GalleryIndex: ...


@overload
def load_index(
    folder: str | os.PathLike[str] | StorePath | None, model: Model | None = None
) -> GalleryIndex | Shards: ...


def load_index(
    folder: str | os.PathLike[str] | StorePath | None = None, model: Model | None = None
) -> GalleryIndex | Shards:
    """Open an index.

    Parameters
    ----------
    folder : path or str, optional
        An index folder, the name of one (`index_folders_by_name`), or an address in an object
        store. Without it, the index that ships with ``model``, or else with the demo model.
    model : Model, optional
        With it, an index of another model is refused.

    Returns
    -------
    GalleryIndex, or Shards held by this process where it lies in shards

    Raises
    ------
    IndexMismatchError
        The index is damaged, or was built with another model.
    ConfigError
        There is not enough memory for all shards; `open_shards` opens one after the other.
    """
    own = indexes_folder() / (model.name if model is not None else DEFAULT_MODEL)
    shipped = own if own.is_dir() else indexes_folder() / DEFAULT_MODEL
    path = index_place(folder) if folder is not None else shipped
    check_given(index=path)
    from echoing_core.retrieve.index import open_index
    from echoing_core.retrieve.shard_names import is_sharded

    if is_sharded(path):
        from echoing_core.services.sharded import open_shards

        return open_shards(path, model, kept=True)
    return open_index(path, checkpoint_hash=model.hash if model is not None else None)


def samples() -> list[Sample]:
    """The recordings that ship with the project, in the order in which to show them."""
    # A checkout without recordings is a checkout with nothing to show, not an error.
    listing = assets_folder() / "recordings" / "samples.yaml"
    if not listing.is_file():
        return []
    entries = parse_yaml(listing.read_text(encoding="utf-8"))
    return [
        Sample(
            sample_id=entry["id"],
            title=entry["title"],
            description=entry["description"],
            simulated=entry["simulated"],
            paths=tuple(listing.parent / name for name in entry["files"]),
            echo_paths=tuple(listing.parent / name for name in entry.get("echo", ())),
        )
        for entry in entries
    ]


def named_sample(typed: Sequence[str | os.PathLike[str]]) -> Sample | None:
    """The shipped recording that a person means by its name.

    Parameters
    ----------
    typed : sequence of path or str
        What stands where files of a recording are expected.

    Returns
    -------
    Sample or None
        None where it is no such name, or where files of that name lie in the working folder.
    """
    if len(typed) != 1:
        return None
    (name,) = (os.fspath(one) for one in typed)
    # A person's own recording of the same name comes first: it is what lies before their eyes.
    if Path(name).exists() or Path(f"{name}.hea").exists():
        return None
    return next((sample for sample in samples() if sample.sample_id == name), None)


def recording_source(typed: Sequence[str | os.PathLike[str]]) -> Path | list[Path]:
    """What `read_recording` takes for what a person typed: files, or the name of a sample.

    Parameters
    ----------
    typed : sequence of path or str
        At least one.

    Returns
    -------
    Path or list of Path
    """
    sample = named_sample(typed)
    paths = [Path(one) for one in typed] if sample is None else list(sample.paths)
    return paths[0] if len(paths) == 1 else paths


def prompt_sets(path: str | os.PathLike[str] | None = None) -> tuple[PromptSet, ...]:
    """The shipped questions, or those of a file or folder.

    Parameters
    ----------
    path : path, optional
        A YAML file or a folder of such; without it, the shipped questions.

    Returns
    -------
    tuple of PromptSet

    Raises
    ------
    ConfigError
        The file is no list of prompt sets.
    """
    return load_prompt_sets(Path(path) if path is not None else assets_folder() / "prompts")


def unknown_words(model: Model, text: str) -> tuple[str, ...]:
    """Words of a text that the model's text encoder never saw, or does not know whole.

    Parameters
    ----------
    model : Model
    text : str

    Returns
    -------
    tuple of str
    """
    return model.checkpoint.tokenizer.unknown_words(text)


def unknown_words_mean(model: Model) -> str:
    """What `unknown_words` says of words, as the start of a sentence that lists them.

    Parameters
    ----------
    model : Model

    Returns
    -------
    str
    """
    if model.saw_words:
        return "The model never saw these words"
    return "The model's vocabulary has these words in pieces only"
