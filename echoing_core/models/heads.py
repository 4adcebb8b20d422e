"""Heads of a model folder: each answers one question that ECGs with known answers taught it.

::

    heads.json          what each head asks, what it was trained on, and its calibration
    heads.safetensors   its weights, and those of its ECG encoder that tuning changed

A head is a linear map of mu. A few-shot head reads the mu of the model's own encoder; a fine-tuned
one brings an encoder of its own, of which only the tensors that differ are kept. The model itself
stays what it was: its answers from prompts, its sigma^2 and its distances are those of its own
encoder, so its hash is the same and every index of it fits. Both files are in the manifest.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.documents import parse_json
from echoing_core.errors import CheckpointError
from echoing_core.metrics.probe import LinearProbe
from echoing_core.models.encoders import EcgEncoder
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot.calibration import QuestionCalibration

Floats = npt.NDArray[np.float64]

FORMAT = 1
HEADS, HEAD_WEIGHTS = "heads.json", "heads.safetensors"
HEAD_FILES = (HEADS, HEAD_WEIGHTS)

FINE_TUNED, FEW_SHOT = "fine-tuned head", "few-shot head"


@dataclass(frozen=True, eq=False)
class Head:
    """One question, answered by weights that were trained for it.

    Attributes
    ----------
    label : str
        Of the ECGs that it was trained on, without ``label_``.
    question : str
        As a person reads it, for example ``"LVEF < 40 %"``.
    kind : {"fine-tuned head", "few-shot head"}
    source : str
        Name of the data set.
    simulated : bool
        True where any of its ECGs was simulated.
    n_train, n_positive, n_valid : int
        ECGs that trained it, those of them with the finding, and those that chose its epoch and
        gave its calibration.
    epoch : int
        The epoch of fine-tuning that was kept; 0 where no step was better than the probe it began
        as.
    probe : LinearProbe
        Logit of yes from mu.
    encoder : EcgEncoder or None
        In evaluation mode; None for the model's own.
    calibration : QuestionCalibration or None
        From logits to probabilities; None where too few ECGs were there, or simulated ones.
    measured : mapping
        Its figures on the test split: ``n``, ``n_positive``, ``auroc``, ``auroc_low``,
        ``auroc_high``; empty where they were not measured.
    """

    label: str
    question: str
    kind: str
    source: str
    simulated: bool
    n_train: int
    n_positive: int
    n_valid: int
    probe: LinearProbe
    epoch: int = 0
    encoder: EcgEncoder | None = None
    calibration: QuestionCalibration | None = None
    measured: Mapping[str, float] | None = None

    @property
    def trained_on(self) -> str:
        """``"512 ECGs of cohort"``; says where they were simulated."""
        return trained_on_words(self.n_train, self.source, simulated=self.simulated)

    @property
    def title(self) -> str:
        """The question, and who answers it: ``"... (fine-tuned head, trained on ...)"``."""
        return f"{self.question} ({self.kind}, trained on {self.trained_on})"

    def logits(self, ecg: GaussianEmbedding) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the logit of yes.

        Parameters
        ----------
        ecg : GaussianEmbedding, n rows
            By ``encoder``, or by the model's own where there is none.

        Returns
        -------
        mean, std : ndarray, shape (n,)
            The deviation is 0 of a tuned encoder, whose sigma^2 nothing taught.
        """
        mean, std = self.probe.logits(ecg)
        return mean, std if self.encoder is None else np.zeros_like(std)


def trained_on_words(n_train: int, source: str, *, simulated: bool) -> str:
    """``"512 simulated ECGs of cohort"``.

    Parameters
    ----------
    n_train : int
    source : str
    simulated : bool

    Returns
    -------
    str
    """
    return f"{n_train:,} {'simulated ' if simulated else ''}ECGs of {source}"


def write_heads(folder: Path, heads: Sequence[Head], own: EcgEncoder) -> None:
    """Write both files.

    Parameters
    ----------
    folder : Path
        Of a model that is being written.
    heads : sequence of Head
    own : EcgEncoder
        The model's, from which the heads' encoders began.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    entries = []
    before = own.state_dict()
    for number, head in enumerate(heads):
        # A copy: two heads may share one array, which safetensors refuses.
        tensors[f"{number}.weight"] = torch.tensor(head.probe.weights, dtype=torch.float64)
        tensors[f"{number}.bias"] = torch.tensor([head.probe.bias], dtype=torch.float64)
        if head.encoder is not None:
            for name, value in head.encoder.state_dict().items():
                if not torch.equal(value, before[name]):
                    tensors[f"{number}.encoder.{name}"] = value.detach().contiguous().clone()
        entries.append(
            {
                "label": head.label,
                "question": head.question,
                "kind": head.kind,
                "source": head.source,
                "simulated": head.simulated,
                "n_train": head.n_train,
                "n_positive": head.n_positive,
                "n_valid": head.n_valid,
                "epoch": head.epoch,
                "own_encoder": head.encoder is not None,
                "calibration": None if head.calibration is None else head.calibration.to_dict(),
                # A figure that is not defined, as of a test set of one class, is none.
                "measured": dict(head.measured or {}) if _is_defined(head.measured) else {},
            }
        )
    save_file(tensors, str(folder / HEAD_WEIGHTS))
    text = json.dumps({"format": FORMAT, "heads": entries}, indent=1) + "\n"
    (folder / HEADS).write_text(text, encoding="utf-8")


def _is_defined(measured: Mapping[str, float] | None) -> bool:
    return all(np.isfinite(value) for value in (measured or {}).values())


def parse_heads(content: Mapping[str, bytes], own: EcgEncoder, name: str) -> tuple[Head, ...]:
    """Read what `write_heads` wrote, from files whose hashes were checked.

    Parameters
    ----------
    content : mapping of str to bytes
        The files of the model folder by their names.
    own : EcgEncoder
        The model's own, in evaluation mode and frozen.
    name : str
        Of the model, for messages.

    Returns
    -------
    tuple of Head

    Raises
    ------
    CheckpointError
        The files do not fit each other, or the model.
    """
    from safetensors.torch import load

    try:
        document = parse_json(content[HEADS])
        if document["format"] != FORMAT:
            raise CheckpointError(
                f"The heads of model {name} have format {document['format']!r}; this "
                f"version reads {FORMAT}."
            )
        tensors = load(content[HEAD_WEIGHTS])
        return tuple(
            _head(number, entry, tensors, own) for number, entry in enumerate(document["heads"])
        )
    except CheckpointError:
        raise
    # A file whose hash is right may still hold anything: safetensors has an error of its own.
    except Exception as error:
        raise CheckpointError(
            f"The heads of model {name} do not fit it. Make them again with: echoing "
            "evaluate fine-tune --out"
        ) from error


def heads_card(heads: Sequence[Head]) -> str:
    """The section of the model card on its heads; empty without any.

    Parameters
    ----------
    heads : sequence of Head

    Returns
    -------
    str
        Markdown, with an empty line before it.
    """
    if not heads:
        return ""
    lines = [
        "",
        "## Heads",
        "",
        "Each answers one question beside the model's answers from prompts. A fine-tuned head has "
        "an ECG encoder of its own, trained for its question alone; a few-shot head is a logistic "
        "regression on the model's own mu. Prompts, sigma^2 and searches use the model's own "
        "encoder, which no head changed.",
        "",
        "| question | head | trained on | with it | chosen by | probability | test |",
        "|---|---|---|---|---|---|---|",
    ]
    for head in heads:
        test = "not measured"
        if head.measured:
            m = head.measured
            test = (
                f"AUROC {m['auroc']:.2f} ({m['auroc_low']:.2f}–{m['auroc_high']:.2f}) on "
                f"{m['n']:.0f} ECGs, {m['n_positive']:.0f} with it"
            )
        given = "calibrated" if head.calibration is not None else "none: a score alone"
        if head.simulated:
            given = "none: learnt from simulated ECGs, validated on nobody"
        lines.append(
            f"| {head.question} | {head.kind} | {head.trained_on} | {head.n_positive:,} | "
            f"{_chosen(head)} | {given} | {test} |"
        )
    return "\n".join([*lines, ""])


def _chosen(head: Head) -> str:
    if head.kind == FEW_SHOT:
        return f"calibrated on {head.n_valid:,} valid ECGs" if head.calibration else "nothing"
    kept = f"epoch {head.epoch}" if head.epoch else "epoch 0: no tuning was better than the probe"
    return f"{head.n_valid:,} valid ECGs, {kept}"


def _head(
    number: int, entry: Mapping[str, Any], tensors: Mapping[str, Tensor], own: EcgEncoder
) -> Head:
    weights = tensors[f"{number}.weight"].numpy().astype(np.float64)
    if weights.shape != (own.dim,):
        raise ValueError(f"{weights.shape} weights of a head for {own.dim} dimensions")
    encoder = None
    if entry["own_encoder"]:
        encoder = copy.deepcopy(own)
        prefix = f"{number}.encoder."
        changed = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        encoder.load_state_dict(encoder.state_dict() | changed, strict=True)
        encoder.eval()
    calibration = entry["calibration"]
    return Head(
        label=str(entry["label"]),
        question=str(entry["question"]),
        kind=str(entry["kind"]),
        source=str(entry["source"]),
        simulated=bool(entry["simulated"]),
        n_train=int(entry["n_train"]),
        n_positive=int(entry["n_positive"]),
        n_valid=int(entry["n_valid"]),
        epoch=int(entry["epoch"]),
        probe=LinearProbe(weights, float(tensors[f"{number}.bias"][0])),
        encoder=encoder,
        calibration=None if calibration is None else QuestionCalibration.from_dict(calibration),
        measured={str(k): float(v) for k, v in entry["measured"].items()},
    )
