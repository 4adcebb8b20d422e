"""A model as a folder that carries its own truth.

::

    config.json         architecture
    model.safetensors   weights (never pickle)
    tokenizer/          tokenizer.json, words.json
    scaler.json         per-lead mean and scale in mV
    reference.json      sigma^2 of the reference cohort, as quantiles
    training.json       what it was trained on, and how
    card.md             the model card, for people
    manifest.json       sha256 of every file above; their joint hash names the model
    README.md           the card as the Hugging Face hub takes it; in no manifest, never read

and, where they were measured (`MEASURED_FILES`):

    lead_references.json   sigma^2 of the reference cohort with only some leads
    calibration.json       what answers were worth on ECGs with known findings
    distances.json         distances between reference ECGs, reports and both
    echo_pairs.json        distances between ECGs and echocardiograms, of one heart and of two

and, where single questions were taught (`models.heads`), ``heads.json`` and ``heads.safetensors``.

A model of two kinds of sigma^2 is read by one of them at a time (`load_checkpoint`). What was
measured with the second has its name in the file's, ``lead_references.displacement.json``; so has
its ``reference.displacement.json``.

Loading is strict: every file that the manifest lists must be there with the hash it gives.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from echoing_core.artifacts import (
    replacing_folder,
    settled,
    sha256_of_file,
    write_text_atomically,
)
from echoing_core.config import flattened, from_mapping
from echoing_core.documents import DocumentError, json_text, parse_json
from echoing_core.errors import CheckpointError, EchoingError
from echoing_core.metrics.model_index import model_index
from echoing_core.metrics.results import Result
from echoing_core.models.config import (
    ABSENT,
    BAND_LIMITED,
    DISPLACEMENT,
    MATCHING,
    NO_SIGMA2,
    NO_TEXT,
    SIGMA2_SETTINGS,
    UNTAUGHT,
    ModelConfig,
)
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.encoders import DualEncoder, Encoder, build_encoder
from echoing_core.models.heads import HEAD_FILES, HEADS, Head, heads_card, parse_heads, write_heads
from echoing_core.models.hub_card import README, hub_readme, index_of
from echoing_core.models.tokenizer import ReportTokenizer, parse_tokenizer
from echoing_core.records import LONG_PADDING, FilterPadding
from echoing_core.signals.filters import check_padding
from echoing_core.signals.scaling import LeadScaler

FORMAT = 1
FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer/tokenizer.json",
    "tokenizer/words.json",
    "scaler.json",
    "reference.json",
    "training.json",
    "card.md",
)
MEASURED_FILES = {
    "lead_references": "lead_references.json",
    "calibration": "calibration.json",
    "distances": "distances.json",
    "reference": "reference.json",
    "echo_pairs": "echo_pairs.json",
}
"""Optional files: what was measured with the finished model. It computes no embedding with them,
so they are no part of its hash, and a model without them is whole. ``reference`` is one of them
for the second kind of sigma^2 alone; that of the first is among `FILES`."""

_STORED_AS = {"ecg.novelty.": "ecg.familiarity."}
"""Names of weights in model files where they differ from the code's: a file's names are part of
its hash, and every index names that hash."""

# Such as a rate in Hz or a number of samples: a setting, but no width of the weights.
_MOST_NOT_A_WIDTH = 10_000

MODEL_FILES = FILES[:5]
"""The files that decide what the model computes: the hash is theirs alone, so that a
corrected card does not orphan every index."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything that a model folder holds, in memory.

    Attributes
    ----------
    name : str
        Of the folder.
    encoder : DualEncoder or ReleasedDualEncoder
        In evaluation mode. Only the first has parts of sigma^2 by lead and moment.
    tokenizer : ReportTokenizer
    scaler : LeadScaler
    logit_scale : float
        What a difference of cosines is worth in log-odds: 2a for the losses on ``-a * csd``
        (equal variances cancel and two cosines remain), the scale itself for ``infonce``.
    reference : mapping
        Of `uncertainty.reference.Reference`.
    training : mapping
        What it was trained on, and how.
    card : str
        Markdown.
    hash : str
        sha256 over the model files, hexadecimal; of these and the kind of sigma^2 where the model
        has two and the second is read, so that no index of one is searched with the other.
    measured : mapping
        Of `MEASURED_FILES`, by their keys: those that the folder has for this sigma^2.
    sigma2 : {"displacement", "matching"}
        Which sigma^2 the encoder gives.
    filter_padding : {"long", "scipy"}
        How recordings are filtered at their ends before it reads them (`records.PADDINGS`).
    other_reference : mapping or None
        As ``reference``, of the other sigma^2 where the model has two.
    heads : tuple of Head
        Questions that ECGs with known answers taught; most models have none.
    """

    name: str
    encoder: Encoder
    tokenizer: ReportTokenizer
    scaler: LeadScaler
    logit_scale: float
    reference: Mapping[str, Any]
    training: Mapping[str, Any]
    card: str
    hash: str
    measured: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sigma2: str = DISPLACEMENT
    filter_padding: FilterPadding = LONG_PADDING
    other_reference: Mapping[str, Any] | None = None
    heads: tuple[Head, ...] = ()

    @property
    def masks_leads(self) -> bool:
        """Whether the model can be told which leads are missing."""
        ecg = self.encoder.ecg
        # The published encoder is never told; a plugin says whether it reads them.
        return isinstance(ecg, CompactEcgEncoder) or bool(getattr(ecg, "masks_leads", False))

    @property
    def has_text(self) -> bool:
        """Whether the model has an encoder of texts; see `require_text`."""
        return self.encoder.config.has_text

    @property
    def caution(self) -> str:
        """A sentence to stand beside every figure of the model; empty where there is none."""
        foreign = self.encoder.config.architecture in ("frozen", "melp")
        return BAND_LIMITED if foreign else ""

    def require_text(self) -> None:
        """Refuse what needs texts before any work is done for it.

        Raises
        ------
        CheckpointError
            The model reads ECGs alone.
        """
        if not self.has_text:
            raise CheckpointError(f"Model {self.name}: {NO_TEXT}")

    def require_sigma2(self) -> None:
        """Refuse what chooses or compares by sigma^2 before any work is done for it.

        Raises
        ------
        CheckpointError
            The model has none.
        """
        if not self.encoder.config.has_sigma2:
            raise CheckpointError(f"Model {self.name}: {NO_SIGMA2}")

    @property
    def has_attribution(self) -> bool:
        """Whether sigma^2 has parts by lead and moment."""
        return self.masks_leads and self.sigma2 == DISPLACEMENT

    @property
    def sigma2_taught_by(self) -> str:
        """What taught the sigma^2 that is read: displacement, matching, nothing, or absent."""
        if not self.encoder.config.has_sigma2:
            return ABSENT
        config = self.training.get("config", {})
        # Three ways in which records say that there was a second stage, by who wrote them.
        second_stage = (
            self.training.get("second_stage") is not None
            or "sigma2_scale" in self.training
            or config.get("variance_steps", 0) > 0
        )
        if self.sigma2 == DISPLACEMENT and second_stage:
            return DISPLACEMENT
        means_alone = config.get("loss", {}).get("name") == "infonce"
        return UNTAUGHT if means_alone else MATCHING

    @property
    def sigma2_kinds(self) -> tuple[str, ...]:
        """Every sigma^2 that the model can be read by; the first is its own hash's."""
        return self.encoder.config.sigma2_kinds


def save_checkpoint(
    folder: Path,
    *,
    encoder: Encoder,
    tokenizer: ReportTokenizer,
    scaler: LeadScaler,
    logit_scale: float,
    reference: Mapping[str, Any],
    training: Mapping[str, Any],
    card: str,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
    filter_padding: str = LONG_PADDING,
) -> str:
    """Write a model folder and return its hash. An older folder of that name is replaced.

    Everything is written under a temporary name and renamed at the end, so a killed run
    leaves either the old model or the new one.

    Parameters
    ----------
    folder : Path
    encoder : DualEncoder or ReleasedDualEncoder
    tokenizer : ReportTokenizer
    scaler : LeadScaler
    logit_scale : float
        See `Checkpoint`.
    reference : mapping
        Of `uncertainty.reference.Reference`, for the first of the model's kinds of sigma^2.
    training : mapping
        What it was trained on, and how; JSON.
    card : str
        Markdown, for people.
    measured : mapping, optional
        Documents of `MEASURED_FILES`, by their keys, for that kind, too.
    filter_padding : {"long", "scipy"}
        See `Checkpoint`.

    Returns
    -------
    str
        The model's hash.
    """
    from safetensors.torch import save_file

    with replacing_folder(folder) as draft:
        config = {
            "format": FORMAT,
            "model": encoder.config.settings(),
            "logit_scale": logit_scale,
        }
        # Part of the hash, so that models of before there was a choice keep theirs.
        if filter_padding != LONG_PADDING:
            config["filter_padding"] = filter_padding
        _write_json(draft / "config.json", config)
        state = {
            _renamed(key, _STORED_AS): value.contiguous()
            for key, value in encoder.state_dict().items()
        }
        save_file(state, str(draft / "model.safetensors"))
        tokenizer.save(draft / "tokenizer")
        _write_json(draft / "scaler.json", scaler.to_dict())
        _write_json(draft / "reference.json", reference)
        _write_json(draft / "training.json", training)
        (draft / "card.md").write_text(card, encoding="utf-8")
        extra = {MEASURED_FILES[key]: document for key, document in (measured or {}).items()}
        for name, document in extra.items():
            _write_json(draft / name, document)
        # Over the files as they lie on disk, since that is what a reader can check.
        digests = {name: sha256_of_file(draft / name) for name in (*FILES, *extra)}
        model_hash = _joint_hash(digests)
        _write_json(
            draft / "manifest.json", {"format": FORMAT, "hash": model_hash, "sha256": digests}
        )
        _write_readme(draft, folder.name, card, training, encoder.config, model_hash)
    return model_hash


def load_checkpoint(folder: str | os.PathLike[str], *, sigma2: str | None = None) -> Checkpoint:
    """Read a model folder, strictly.

    Parameters
    ----------
    folder : path
    sigma2 : str, optional
        Which of the model's kinds of sigma^2 to read it by; without it, what the training record
        names as ``sigma2_default``, or the first.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        The folder or a file is missing, was changed, or holds another architecture.
    """
    from safetensors.torch import load

    path = settled(Path(folder))
    if not path.is_dir():
        raise CheckpointError(
            f"There is no model folder {path.name!r}. Name a folder that holds manifest.json, "
            "or make the demo model with: make demo-model"
        )
    # Before anything is parsed: a file that was changed is not even looked into.
    content, model_hash = _verified(path)
    config = _json_object(content["config.json"], "config.json")
    if config.get("format") != FORMAT:
        raise CheckpointError(
            f"Model {path.name} has format {config.get('format')!r}; this version reads {FORMAT}."
        )
    try:
        # Weights keep the names they were written with; the code may call them otherwise.
        in_code = {stored: own for own, stored in _STORED_AS.items()}
        weights = load(content.pop("model.safetensors"))
        weights = {_renamed(key, in_code): value for key, value in weights.items()}
        settings = _model_config(config)
        _check_sizes(settings, weights)
        encoder = build_encoder(settings)
        encoder.load_state_dict(weights, strict=True)
        scaler = LeadScaler.from_dict(_json_object(content["scaler.json"], "scaler.json"))
        logit_scale = float(config["logit_scale"])
        filter_padding = check_padding(config.get("filter_padding", LONG_PADDING))
        tokenizer = parse_tokenizer(
            content["tokenizer/tokenizer.json"], content["tokenizer/words.json"]
        )
        card = content["card.md"].decode("utf-8")
    # It already says in words what is wrong.
    except EchoingError:
        raise
    # A file whose hash is right may still hold anything: safetensors has an error of its own.
    except Exception as error:
        raise CheckpointError(
            f"Model {path.name} does not fit its own configuration. Fetch the folder again."
        ) from error
    # A loaded model is for use; the second stage switches on what it learns.
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    training = _json_object(content["training.json"], "training.json")
    kinds = encoder.config.sigma2_kinds
    kind = sigma2 or str(training.get("sigma2_default", kinds[0]))
    if kind not in kinds:
        raise CheckpointError(
            f"Model {path.name} has no sigma^2 of the kind {kind!r}. It has: {', '.join(kinds)}."
        )
    measured = {
        key: _json_object(content[name], name)
        for key in MEASURED_FILES
        if key != "reference" and (name := _measured_name(key, kind, kinds)) in content
    }
    references = {kinds[0]: _json_object(content["reference.json"], "reference.json")}
    for second in kinds[1:]:
        name = _measured_name("reference", second, kinds)
        if name not in content:
            raise CheckpointError(
                f"Model {path.name} lacks the reference of its sigma^2 by {second}. Fetch the "
                "folder again."
            )
        references[second] = _json_object(content[name], name)
    if isinstance(encoder, DualEncoder):
        encoder.read(kind)
    if kind != kinds[0]:
        model_hash = hashlib.sha256(f"{model_hash} {kind}".encode()).hexdigest()
    return Checkpoint(
        name=path.name,
        encoder=_in_evaluation(encoder),
        tokenizer=tokenizer,
        scaler=scaler,
        logit_scale=logit_scale,
        reference=references.pop(kind),
        training=training,
        card=card,
        hash=model_hash,
        measured=measured,
        sigma2=kind,
        filter_padding=filter_padding,
        other_reference=next(iter(references.values()), None),
        heads=parse_heads(content, encoder.ecg, path.name) if HEADS in content else (),
    )


def save_with_heads(
    folder: Path, source: Path, checkpoint: Checkpoint, heads: Sequence[Head]
) -> None:
    """Write a copy of a model folder with heads, which its card then names.

    The model's hash stays: a head changes nothing of what the model itself computes.

    Parameters
    ----------
    folder : Path
        To write; an older folder of that name, which may be ``source``, is replaced.
    source : Path
        The folder that ``checkpoint`` was read from.
    checkpoint : Checkpoint
        Heads that it has already stay, unless one of the same kind and label is new.
    heads : sequence of Head

    Raises
    ------
    CheckpointError
        The source is damaged.
    """
    content, model_hash = _verified(source)
    new = {(head.kind, head.label) for head in heads}
    kept = [head for head in checkpoint.heads if (head.kind, head.label) not in new]
    every = [*kept, *heads]
    # Everything from the section on heads to the end is written anew.
    bare = checkpoint.card.replace(heads_card(checkpoint.heads), "") if checkpoint.heads else None
    card = (bare or checkpoint.card).rstrip("\n") + "\n" + heads_card(every)
    with replacing_folder(folder) as draft:
        for name in set(content) - {*HEAD_FILES, "card.md"}:
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(content[name])
        (draft / "card.md").write_text(card, encoding="utf-8")
        write_heads(draft, every, checkpoint.encoder.ecg)
        written = {name: sha256_of_file(draft / name) for name in (*content, *HEAD_FILES)}
        manifest = {"format": FORMAT, "hash": model_hash, "sha256": written}
        _write_json(draft / "manifest.json", manifest)
        index = _listed_figures(source)
        config = checkpoint.encoder.config
        _write_readme(draft, folder.name, card, checkpoint.training, config, model_hash, index)


def update_documents(
    folder: Path,
    *,
    card: str | None = None,
    training: Mapping[str, Any] | None = None,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
    sigma2: str | None = None,
    figures: Sequence[Result] | None = None,
) -> None:
    """Rewrite documents of a model folder and its manifest.

    The model's own hash does not change, since no file that it computes with does.

    Parameters
    ----------
    folder : Path
    card : str, optional
    training : mapping, optional
    measured : mapping, optional
        Documents of `MEASURED_FILES`, by their keys; those that are not named stay.
    sigma2 : str, optional
        The kind of sigma^2 they were measured with; without it, the model's first.
    figures : sequence of Result, optional
        Of the model, for the metadata of ``README.md``; without them, those that it has stay.

    Raises
    ------
    CheckpointError
        The folder is damaged, or is none.
    """
    content, model_hash = _verified(folder)
    config = _model_config(_json_object(content["config.json"], "config.json"))
    kinds = config.sigma2_kinds
    texts = {
        _measured_name(key, sigma2 or kinds[0], kinds): json_text(value)
        for key, value in (measured or {}).items()
    }
    if card is not None:
        texts["card.md"] = card
    if training is not None:
        texts["training.json"] = json_text(training)
    # The folder is exchanged whole: of files that were replaced one by one, a run that is killed
    # between leaves a folder that nobody can read, and no way to write it again.
    with replacing_folder(folder) as draft:
        for path in folder.resolve().rglob("*"):
            if path.is_file():
                _linked(path, draft / path.relative_to(folder.resolve()))
        changed = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
        for name, text in texts.items():
            write_text_atomically(draft / name, text)
            changed[name] = sha256_of_file(draft / name)
        manifest = {"format": FORMAT, "hash": model_hash, "sha256": changed}
        write_text_atomically(draft / "manifest.json", json_text(manifest))
        if card is not None or training is not None or figures is not None:
            _write_readme(
                draft,
                folder.name,
                texts.get("card.md", content["card.md"].decode("utf-8")),
                training or _json_object(content["training.json"], "training.json"),
                config,
                model_hash,
                _listed_figures(folder) if figures is None else model_index(figures, [folder.name]),
            )


def _linked(path: Path, target: Path) -> None:
    """The same file under a second name; a copy where the file system has no such names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _write_readme(
    folder: Path,
    name: str,
    card: str,
    training: Mapping[str, Any],
    config: ModelConfig,
    model_hash: str,
    index: Sequence[Mapping[str, Any]] = (),
) -> None:
    text = hub_readme(name, card, training, config, model_hash, index)
    write_text_atomically(folder / README, text)


def _listed_figures(folder: Path) -> list[dict[str, Any]]:
    """Of a folder's README.md, which somebody may have changed or taken away."""
    try:
        return index_of((folder / README).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return []


def _measured_name(key: str, kind: str, kinds: tuple[str, ...]) -> str:
    """Name of what was measured with one of a model's kinds of sigma^2."""
    name = MEASURED_FILES[key]
    return name if kind == kinds[0] else _second(name, kind)


def _second(name: str, kind: str) -> str:
    return f"{name.removesuffix('.json')}.{kind}.json"


def _model_config(config: Mapping[str, Any]) -> ModelConfig:
    return from_mapping(ModelConfig, config["model"])


def _check_sizes(settings: ModelConfig, weights: Mapping[str, Tensor]) -> None:
    """Refuse sizes that these weights cannot have, before memory is taken for them."""
    # Exact shapes are compared when they are loaded. Building on torch's meta device would compare
    # them here, and imports its compiler: seconds at every start.
    longest = max((max(w.shape, default=1) for w in weights.values()), default=1)
    for name, value in flattened(settings.settings()).items():
        # Each layer and block has weights, so there cannot be more of them than weights.
        repeated = "layers" in name or "blocks" in name
        most = len(weights) if repeated else max(longest, _MOST_NOT_A_WIDTH)
        if isinstance(value, int) and value > most:
            raise ValueError(f"{name} is {value}, of weights that allow {most}")


def _renamed(key: str, prefixes: Mapping[str, str]) -> str:
    """A weight's name with the first of these prefixes that it has exchanged for the other."""
    for old, new in prefixes.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _in_evaluation(encoder: Encoder) -> Encoder:
    module: nn.Module = encoder
    module.eval()
    return encoder


def _verified(path: Path) -> tuple[dict[str, bytes], str]:
    """Bytes of every file of a model folder, read once and checked, and the model's hash."""
    if not (path / "manifest.json").is_file():
        raise CheckpointError(
            f"{path.name} is not a model folder: it has no manifest.json. Name another folder."
        )
    manifest = _json_object((path / "manifest.json").read_bytes(), "manifest.json")
    digests = manifest.get("sha256")
    # A shorter list could hide a file that was changed.
    known = {
        *FILES,
        *MEASURED_FILES.values(),
        *HEAD_FILES,
        *(_second(name, kind) for name in MEASURED_FILES.values() for kind in SIGMA2_SETTINGS),
    }
    if not isinstance(digests, dict) or not set(FILES) <= set(digests) <= known:
        raise CheckpointError(f"The manifest of model {path.name} does not list its files.")
    # One without the other would be read as a model without heads.
    if len({name in digests for name in HEAD_FILES}) > 1:
        raise CheckpointError(f"The manifest of model {path.name} does not list its files.")
    content = {}
    for name in digests:
        if not (path / name).is_file():
            raise CheckpointError(f"Model {path.name} lacks {name}. Fetch the folder again.")
        content[name] = (path / name).read_bytes()
        if hashlib.sha256(content[name]).hexdigest() != digests[name]:
            raise CheckpointError(
                f"{name} of model {path.name} is not the file that the manifest describes: "
                "it is damaged or was changed. Fetch the folder again."
            )
    model_hash = _joint_hash(digests)
    # Indexes name this hash, so a manifest that lies about it would pair them with another model.
    if manifest.get("hash") != model_hash:
        raise CheckpointError(f"The manifest of model {path.name} gives a hash of another model.")
    return content, model_hash


def _joint_hash(digests: Mapping[str, str]) -> str:
    # In the order of `MODEL_FILES`, so that the hash depends on nothing else.
    joined = "\n".join(f"{name} {digests[name]}" for name in MODEL_FILES)
    return hashlib.sha256(joined.encode()).hexdigest()


def _json_object(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = parse_json(content)
    except DocumentError as error:
        raise CheckpointError(
            f"{name} of a model folder cannot be read: {error}. Fetch the folder again."
        ) from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} of a model folder does not hold settings.")
    return value


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json_text(value), encoding="utf-8")
