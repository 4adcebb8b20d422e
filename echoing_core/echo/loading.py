"""Opening and writing echo teachers: open_clip folders, weight files, and the hub.

A folder holds ``open_clip_config.json`` and weights, as open_clip writes them for the hub. A
folder of ours has ``teacher.json`` beside them, which says its name and that it was trained on
simulated echo. Weights that are not safetensors (``.bin``, ``.pth``, ``.pt``) are read by
open_clip's own loader, which lets torch unpickle tensors and nothing else (``weights_only``);
this project itself never unpickles.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from echoing_core.artifacts import replacing_folder, sha256_of_file
from echoing_core.echo.teacher import EchoTeacher
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.hugging_face import declare_missing_operators

ECHO_CLIP = "hf-hub:mkaichristensen/echo-clip"
ECHO_CLIP_ARCHITECTURE = "convnext_base"
STAND_IN_NAME = "stand-in trained on simulated echo"

CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
CARD_FILE = "teacher.json"

_HUB = "hf-hub:"
_FOLDER_WEIGHTS = (".safetensors", ".bin", ".pth")
_FILE_WEIGHTS = (*_FOLDER_WEIGHTS, ".pt")
_MAX_JSON_BYTES = 1_000_000
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of red, green and blue: CLIP's, which every open_clip model has where its folder is silent."""


def load_teacher(
    source: str | os.PathLike[str],
    *,
    architecture: str = ECHO_CLIP_ARCHITECTURE,
    device: str = "cpu",
) -> EchoTeacher:
    """Open an echo teacher.

    Parameters
    ----------
    source : path or str
        A folder with ``open_clip_config.json`` and weights; a weight file of a model that
        open_clip knows by name; or ``hf-hub:mkaichristensen/echo-clip``, which needs the network.
    architecture : str
        open_clip's name of the model, for a weight file alone; ECHO-CLIP's by default.
    device : str
        Where it computes: ``"cpu"``, ``"cuda"``.

    Raises
    ------
    CheckpointError
        If there is no teacher, or one that cannot be used.
    ConfigError
        If ``device`` is a GPU and there is none.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError("There is no CUDA device here. Choose the device cpu.")
    if str(source).startswith(_HUB):
        return _from_folder(_downloaded(str(source)), device, name=str(source))
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, device)
    if path.is_file():
        return _from_file(path, architecture, device)
    raise CheckpointError(
        f"There is no echo teacher at {path}. Give a folder with {CONFIG_FILE} and weights, a "
        f"weight file, or {ECHO_CLIP}."
    )


def new_stand_in(seed: int, config: Mapping[str, Any] | None = None) -> Any:
    """Build the small open_clip model of ``open_clip_configs/echo_stand_in.json``, untrained.

    Parameters
    ----------
    seed : int
        Of the random weights; the global generator is left as it was.
    config : mapping, optional
        Another ``model_cfg``, in open_clip's form.
    """
    open_clip = _open_clip()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**(stand_in_config() if config is None else config))


def stand_in_config() -> dict[str, Any]:
    """``model_cfg`` of the stand-in, in open_clip's form."""
    place = files("echoing_core.echo") / "open_clip_configs" / "echo_stand_in.json"
    config: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return config


def tokenizer_of(config: Mapping[str, Any]) -> Any:
    """open_clip's tokenizer with the context length of a ``model_cfg``."""
    length = int(config["text_cfg"].get("context_length", 77))
    return _open_clip().SimpleTokenizer(context_length=length)


def clip_loss() -> Any:
    """open_clip's own contrastive loss."""
    return _open_clip().ClipLoss()


def save_teacher(
    folder: Path, model: Any, config: Mapping[str, Any], card: Mapping[str, Any]
) -> None:
    """Write a teacher folder, all or nothing.

    Parameters
    ----------
    folder : Path
        New or empty, or an older teacher folder of ours, which is replaced.
    model : open_clip model
    config : mapping
        Its ``model_cfg``.
    card : mapping
        What ``teacher.json`` says; needs ``name`` and ``simulated``.

    Raises
    ------
    CheckpointError
        If the folder holds something else.
    """
    from safetensors.torch import save_file

    check_replaceable(folder)
    # Half precision: the stand-in's weights are noise beyond that, and the file half the size.
    state = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    with replacing_folder(folder) as temporary:
        save_file(state, temporary / WEIGHTS_FILE)
        _write(
            temporary / CONFIG_FILE,
            {"model_cfg": dict(config), "preprocess_cfg": {"mean": MEAN, "std": STD}},
        )
        _write(temporary / CARD_FILE, card)


def check_replaceable(folder: Path) -> None:
    """Refuse a place that holds anything but an older teacher of ours, before any work.

    Raises
    ------
    CheckpointError
    """
    if not folder.exists() or (folder / CARD_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise CheckpointError(
            f"{folder} already holds something that is not an echo teacher of ours. "
            "Choose another folder or empty this one."
        )


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Replace ``teacher.json``; the teacher's hash does not cover it."""
    from echoing_core.artifacts import write_text_atomically

    write_text_atomically(folder / CARD_FILE, _json(card))


def read_card(folder: Path) -> dict[str, Any]:
    """What ``teacher.json`` says; empty where there is none."""
    path = folder / CARD_FILE
    return _read(path) if path.is_file() else {}


def _from_folder(folder: Path, device: str, name: str | None = None) -> EchoTeacher:
    if not (folder / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{folder} holds no {CONFIG_FILE}, so it is not an open_clip model. Give the folder "
            "with that file and the weights."
        )
    config = _checked_config(_read(folder / CONFIG_FILE), folder)
    weights = sorted(p for p in folder.iterdir() if p.suffix in _FOLDER_WEIGHTS)
    if not weights:
        raise CheckpointError(
            f"{folder} holds no weights ({', '.join(_FOLDER_WEIGHTS)}). Copy the file of the "
            f"model's weights beside {CONFIG_FILE}."
        )
    card = read_card(folder)
    with _unusable_where_it_fails(folder):
        # resolve(): open_clip takes whatever follows the prefix as it stands.
        model = _open_clip().create_model(f"local-dir:{folder.resolve()}", device=device)
    return _teacher(
        model,
        tokenizer_of(config),
        name=name or str(card.get("name", folder.name)),
        digest=_joint_hash([folder / CONFIG_FILE, *weights]),
        simulated=card.get("simulated") is True,
    )


def _from_file(path: Path, architecture: str, device: str) -> EchoTeacher:
    open_clip = _open_clip()
    if path.suffix not in _FILE_WEIGHTS:
        raise CheckpointError(
            f"{path} is not a file of weights that can be read. Needed is one of "
            f"{', '.join(_FILE_WEIGHTS)}."
        )
    config = open_clip.get_model_config(architecture) if ":" not in architecture else None
    if config is None:
        raise CheckpointError(
            f"open_clip knows no model {architecture!r}. ECHO-CLIP is {ECHO_CLIP_ARCHITECTURE}; "
            f"for another model give a folder with {CONFIG_FILE}."
        )
    _checked_config({"model_cfg": config}, path)
    with _unusable_where_it_fails(path):
        model = open_clip.create_model(architecture, pretrained=str(path), device=device)
    return _teacher(
        model,
        tokenizer_of(config),
        name=f"{path.stem} ({architecture})",
        digest=_joint_hash([path], architecture),
        simulated=False,
    )


def _teacher(model: Any, tokenizer: Any, **told: Any) -> EchoTeacher:
    visual = model.visual
    size = visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return EchoTeacher(
        model,
        tokenizer,
        image_size=(int(height), int(width)),
        mean=tuple(visual.image_mean),
        std=tuple(visual.image_std),
        **told,
    )


def _downloaded(source: str) -> Path:
    """Folder of a model of the hub, from the cache or over the network."""
    from huggingface_hub import snapshot_download

    repository = source.removeprefix(_HUB)
    try:
        folder = snapshot_download(
            repository,
            allow_patterns=[CONFIG_FILE, *(f"*{suffix}" for suffix in _FOLDER_WEIGHTS)],
        )
    # The hub's client raises errors of several libraries for want of a network, a name or a right.
    except Exception as error:
        raise CheckpointError(
            f"{repository} could not be fetched from the Hugging Face hub. Where there is a "
            f"network, download {CONFIG_FILE} and the weights of "
            f"https://huggingface.co/{repository} into one folder, bring it here and give that "
            "folder as the teacher."
        ) from error
    return Path(folder)


def _checked_config(content: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """``model_cfg``, if nothing in it names further files or models to fetch."""
    config = content.get("model_cfg")
    parts = ("vision_cfg", "text_cfg")
    if not isinstance(config, dict) or not all(isinstance(config.get(p), dict) for p in parts):
        raise CheckpointError(
            f"{CONFIG_FILE} of {place} has no model_cfg with vision_cfg and text_cfg. Take the "
            "file that belongs to the weights."
        )
    named = [key for key in config["text_cfg"] if key.startswith("hf_")]
    if named or ":" in str(config["vision_cfg"].get("timm_model_name", "")):
        raise CheckpointError(
            f"The model of {place} takes parts from the hub ({', '.join(named) or 'vision'}), "
            "which is not supported. Needed is a model whose weights are all in its own folder."
        )
    return config


@contextmanager
def _unusable_where_it_fails(place: Path) -> Iterator[None]:
    try:
        yield
    # open_clip, timm, torch and safetensors each have errors of their own for weights that do not
    # fit or files that are damaged; to a user they are all the same.
    except Exception as error:
        raise CheckpointError(
            f"The weights of {place} cannot be used with its configuration "
            f"({type(error).__name__}). Take both files from the same model, undamaged."
        ) from error


def _joint_hash(paths: list[Path], said: str = "") -> str:
    lines = [f"{said or p.name} {sha256_of_file(p)}" for p in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _open_clip() -> Any:
    declare_missing_operators()
    try:
        import open_clip
    except ImportError as error:
        raise CheckpointError(
            "The echo teacher needs the package open_clip_torch, which is not installed. "
            "Install what requirements-research.txt lists."
        ) from error
    return open_clip


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ValueError("too long")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON. Take an undamaged copy.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object. Take an undamaged copy.")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(_json(content), encoding="utf-8")


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
