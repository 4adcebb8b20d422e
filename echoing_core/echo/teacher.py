"""The echo teacher: a frozen open_clip model that turns frames of an echocardiogram into vectors.

ECHO-CLIP is open_clip's ``convnext_base`` trained on echo frames and reports (Christensen et al.,
Nat Med 30 (2024) 1481). Any open_clip model of image and text does, so the small stand-in that is
trained on simulated echo goes through the same code.

A teacher's folder holds ``open_clip_config.json`` and weights, as open_clip writes them for the
hub. A folder of ours has ``teacher.json`` beside them, which says its name and that it was trained
on simulated echo. Weights that are not safetensors (``.bin``, ``.pth``, ``.pt``) are read by
open_clip's own loader, which lets torch unpickle tensors and nothing else (``weights_only``);
this project itself never unpickles.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from echoing_core.artifacts import (
    replacing_folder,
    settled,
    sha256_of_file,
    write_text_atomically,
)
from echoing_core.documents import json_text, parse_json
from echoing_core.errors import CheckpointError, RecordError
from echoing_core.models.devices import chosen_device, compute_in_full
from echoing_core.models.hugging_face import declare_missing_operators
from echoing_core.progress import SILENT, Progress

F32 = npt.NDArray[np.float32]

VARIANCE_FLOOR = 1.0e-8
"""Added to a variance before its logarithm is taken, as the released code does."""

_UNIT_TOLERANCE = 1e-3

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


class EchoTeacher:
    """A frozen model of frames and texts in one space.

    Parameters
    ----------
    model : open_clip model
        With ``encode_image`` and ``encode_text``; it is put into evaluation for good.
    tokenizer : callable
        Texts to ids, as open_clip's.
    name : str
        For cards and tables.
    digest : str
        Hexadecimal sha256 over everything that the model computes with.
    simulated : bool
        True when it was trained on simulated echo.
    image_size : (int, int)
        Height and width that the model reads.
    mean, std : (float, float, float)
        Of red, green and blue in [0, 1].
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        name: str,
        digest: str,
        simulated: bool,
        image_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name = name
        self.hash = digest
        self.simulated = simulated
        self.image_size = image_size
        self.mean = mean
        self.std = std
        self._tokenizer = tokenizer
        # Asked of the model itself: configurations name the width in several ways.
        self.dim = int(self.embed_text(["LEFT VENTRICLE"]).shape[1])

    @property
    def device(self) -> torch.device:
        """Where the model computes.

        Returns
        -------
        torch.device
        """
        device: torch.device = next(self.model.parameters()).device
        return device

    def embed_frames(
        self,
        frames: npt.NDArray[np.uint8],
        *,
        batch_size: int = 64,
        progress: Progress = SILENT,
    ) -> F32:
        """Embed frames one by one.

        Parameters
        ----------
        frames : ndarray, shape (n, height, width, 3), uint8
            RGB; any size (`prepare_frames`).
        batch_size : int
            Changes results by rounding only.
        progress : Progress, optional
            Counts frames.

        Returns
        -------
        ndarray, shape (n, dim), float32
            Unit vectors.
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 of shape (n, height, width, 3), not {frames.dtype} "
                f"of {frames.shape}"
            )
        # No frames give no rows, of the right width.
        parts = [np.empty((0, self.dim), np.float32)]
        for start in range(0, len(frames), batch_size):
            # A strided choice of frames is a view, which torch would not take as it is.
            batch = torch.from_numpy(np.ascontiguousarray(frames[start : start + batch_size]))
            with torch.inference_mode():
                pixels = prepare_frames(batch.to(self.device), self.image_size, self.mean, self.std)
                vectors = self.model.encode_image(pixels, normalize=True)
            parts.append(vectors.float().cpu().numpy())
            progress(min(start + batch_size, len(frames)), len(frames))
        return np.concatenate(parts)

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 256) -> F32:
        """Embed texts.

        open_clip's tokenizer writes everything small and cuts what is too long, so capitals and
        trailing spaces of prompts change nothing.

        Parameters
        ----------
        texts : sequence of str
        batch_size : int
            Changes results by rounding only.

        Returns
        -------
        ndarray, shape (n, dim), float32
            Unit vectors.
        """
        parts = []
        for start in range(0, len(texts), batch_size):
            ids = self._tokenizer(list(texts[start : start + batch_size])).to(self.device)
            with torch.inference_mode():
                vectors = self.model.encode_text(ids, normalize=True)
            parts.append(vectors.float().cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)


def prepare_frames(
    frames: torch.Tensor,
    image_size: tuple[int, int],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> torch.Tensor:
    """RGB frames as the model reads them: resized, in [0, 1], normalised.

    The whole frame becomes the model's rectangle, so its aspect is not kept. Shrinking takes the
    exact mean over each new pixel's area (what OpenCV calls INTER_AREA), enlarging is linear.
    Unlike the released way over 8-bit files, nothing is rounded to whole grey levels.

    Parameters
    ----------
    frames : Tensor, shape (n, height, width, 3), uint8
    image_size : (int, int)
        Height and width that the model reads.
    mean, std : (float, float, float)
        Of red, green and blue in [0, 1].

    Returns
    -------
    Tensor, shape (n, 3, *image_size), float32
    """
    # In [0, 1] first: the model's mean and spread are of that scale.
    pixels = resized_by_area(frames.permute(0, 3, 1, 2).float() / 255.0, image_size)
    shift = torch.tensor(mean, device=pixels.device)[:, None, None]
    scale = torch.tensor(std, device=pixels.device)[:, None, None]
    return (pixels - shift) / scale


def resized_by_area(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Resize the last two axes; see `prepare_frames`.

    Parameters
    ----------
    pixels : Tensor, shape (..., height, width)
    size : (int, int)
        New height and width.

    Returns
    -------
    Tensor, shape (..., *size)
    """
    rows = torch.from_numpy(_resizing(pixels.shape[-2], size[0])).to(pixels.device)
    columns = torch.from_numpy(_resizing(pixels.shape[-1], size[1])).to(pixels.device)
    return rows @ pixels @ columns.T


def _resizing(n_old: int, n_new: int) -> F32:
    """Weights of old pixels in new ones along one axis, shape (n_new, n_old), rows sum to 1."""
    if n_new <= n_old:
        # Borders of new pixels, in old pixels.
        edges = np.arange(n_new + 1) * (n_old / n_new)
        old = np.arange(n_old)
        # Overlap of new pixel [e_i, e_i+1] with old pixel [j, j+1].
        overlap = np.minimum(edges[1:, None], old + 1) - np.maximum(edges[:-1, None], old)
        weights = np.maximum(overlap, 0.0)
    else:
        # Centres of new pixels among the old ones; beyond the outermost the edge goes on.
        centre = np.clip((np.arange(n_new) + 0.5) * (n_old / n_new) - 0.5, 0.0, n_old - 1.0)
        weights = np.maximum(1.0 - np.abs(centre[:, None] - np.arange(n_old)), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def echo_gaussian(frame_embeddings: npt.ArrayLike) -> tuple[F32, F32]:
    """Mean and log variance of a video's unit frame vectors.

    The mean is brought to unit length (kept where it is zero). The variance is the biased one of
    the unit vectors, so the variances add up to 1 minus the squared length of the mean before
    that: a heart that moves much has a wide Gaussian.

    Parameters
    ----------
    frame_embeddings : array-like, shape (n_frames, dim)
        Unit vectors, at least two.

    Returns
    -------
    (ndarray, ndarray), both of shape (dim,), float32
        Mean of unit length; ln(variance + 1e-8).

    Raises
    ------
    RecordError
        If there are fewer than two frames: one frame has variance 0 in every dimension, and
        would teach a certainty that nobody has.

    References
    ----------
    EchoingECG's echo teacher: mean over frames, variance as the Gaussian's.
    """
    # In 64 bits: the variances of a still heart are near the rounding of 32.
    frames = np.asarray(frame_embeddings, dtype=np.float64)
    if frames.ndim != 2:
        raise ValueError(f"frame embeddings must be (n_frames, dim), not {frames.shape}")
    if len(frames) < 2:
        raise RecordError(
            f"The echo has {len(frames)} usable frames, and a Gaussian needs at least 2. "
            "Choose a moving picture."
        )
    # Of other vectors the variances would say something about length, not about motion.
    if np.abs(np.linalg.norm(frames, axis=1) - 1.0).max() > _UNIT_TOLERANCE:
        raise ValueError("frame embeddings must be unit vectors")
    mean = frames.mean(axis=0)
    variance = np.square(frames - mean).mean(axis=0)
    length = np.linalg.norm(mean)
    unit = mean / length if length > 0.0 else mean
    return unit.astype(np.float32), np.log(variance + VARIANCE_FLOOR).astype(np.float32)


# Opening and writing a teacher


def load_teacher(
    source: str | os.PathLike[str],
    *,
    architecture: str = ECHO_CLIP_ARCHITECTURE,
    device: str | None = None,
) -> EchoTeacher:
    """Open an echo teacher.

    Parameters
    ----------
    source : path or str
        A folder with ``open_clip_config.json`` and weights; a weight file of a model that
        open_clip knows by name; or ``hf-hub:mkaichristensen/echo-clip``, which needs the network.
    architecture : str
        open_clip's name of the model, for a weight file alone; ECHO-CLIP's by default.
    device : str, optional
        Where it computes, as `models.devices.chosen_device` takes it.

    Raises
    ------
    CheckpointError
        If there is no teacher, or one that cannot be used.
    ConfigError
        If ``device`` is a GPU that is not here.
    """
    # Said at once; torch would say it only after the weights are read.
    place = chosen_device(device)
    compute_in_full(place)
    if str(source).startswith(_HUB):
        return _from_folder(_downloaded(str(source)), place, name=str(source))
    path = Path(source)
    if path.is_dir():
        return _from_folder(path, place)
    if path.is_file():
        return _from_file(path, architecture, place)
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
    # open_clip draws weights from the global generator, which belongs to the caller.
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.CLIP(**(stand_in_config() if config is None else config))


def stand_in_config() -> dict[str, Any]:
    """``model_cfg`` of the stand-in, in open_clip's form.

    Returns
    -------
    dict
        With ``embed_dim``, ``vision_cfg`` and ``text_cfg``.
    """
    place = files("echoing_core.echo") / "open_clip_configs" / "echo_stand_in.json"
    config: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
    return config


def tokenizer_of(config: Mapping[str, Any]) -> Any:
    """open_clip's tokenizer with the context length of a ``model_cfg``.

    Returns
    -------
    callable
        Texts to ids, shape (n, context_length), int64.
    """
    length = int(config["text_cfg"].get("context_length", 77))
    return _open_clip().SimpleTokenizer(context_length=length)


def clip_loss() -> Any:
    """open_clip's own contrastive loss.

    Returns
    -------
    callable
        Takes unit vectors of images and of texts, both (n, dim), and the logit scale.

    References
    ----------
    Radford et al., ICML 2021: the symmetric cross-entropy of Fig. 3.
    """
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
        # safetensors: whoever opens the folder runs no code of ours.
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
        Naming the folder.
    """
    if not folder.exists() or (folder / CARD_FILE).is_file():
        return
    # An empty folder may be one that somebody made for this.
    if not folder.is_dir() or any(folder.iterdir()):
        raise CheckpointError(
            f"{folder} already holds something that is not an echo teacher of ours. "
            "Choose another folder or empty this one."
        )


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Replace ``teacher.json``; the teacher's hash does not cover it.

    Parameters
    ----------
    folder : Path
        Of a teacher of ours.
    card : mapping
        As in `save_teacher`.
    """
    write_text_atomically(folder / CARD_FILE, json_text(card))


def read_card(folder: Path) -> dict[str, Any]:
    """What ``teacher.json`` says; empty where there is none.

    Raises
    ------
    CheckpointError
        If it is damaged.
    """
    path = folder / CARD_FILE
    return _read(path) if path.is_file() else {}


def _from_folder(folder: Path, device: torch.device, name: str | None = None) -> EchoTeacher:
    if not (settled(folder) / CONFIG_FILE).is_file():
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
    # Only folders of ours have one; of others the folder's name has to do.
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


def _from_file(path: Path, architecture: str, device: torch.device) -> EchoTeacher:
    open_clip = _open_clip()
    if path.suffix not in _FILE_WEIGHTS:
        raise CheckpointError(
            f"{path} is not a file of weights that can be read. Needed is one of "
            f"{', '.join(_FILE_WEIGHTS)}."
        )
    # A name with a colon makes open_clip ask the hub.
    config = open_clip.get_model_config(architecture) if ":" not in architecture else None
    if config is None:
        raise CheckpointError(
            f"open_clip knows no model {architecture!r}. ECHO-CLIP is {ECHO_CLIP_ARCHITECTURE}; "
            f"for another model give a folder with {CONFIG_FILE}."
        )
    # An architecture of open_clip's own list may still name parts to fetch.
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


def _teacher(model: Any, tokenizer: Any, **facts: Any) -> EchoTeacher:
    visual = model.visual
    # open_clip gives one number for a square and a pair for a rectangle.
    size = visual.image_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return EchoTeacher(
        model,
        tokenizer,
        image_size=(int(height), int(width)),
        mean=tuple(visual.image_mean),
        std=tuple(visual.image_std),
        **facts,
    )


def _downloaded(source: str) -> Path:
    """Folder of a model of the hub, from the cache or over the network."""
    from huggingface_hub import snapshot_download

    # Only the two kinds of files that are read; a repository may hold gigabytes besides.
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
    # Such a model would fetch weights over the network, whatever the folder holds.
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


def _joint_hash(paths: list[Path], name: str = "") -> str:
    lines = [f"{name or p.name} {sha256_of_file(p)}" for p in paths]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _open_clip() -> Any:
    declare_missing_operators()
    try:
        import open_clip
    except ImportError as error:
        raise CheckpointError(
            "The echo teacher needs the package open_clip_torch, which is not installed. "
            "Install it with what requirements.txt lists, and open this again."
        ) from error
    return open_clip


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise ValueError("too long")
        content = parse_json(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path} is not readable JSON. Take an undamaged copy.") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object. Take an undamaged copy.")
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json_text(content), encoding="utf-8")
