"""All weights of an ECG encoder trained for one question, beside a probe and random weights."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import device_for_windows, to_tensors
from echoing_core.evaluate.protocols.answers import FINE_TUNED, FROZEN_PROBE, Scored
from echoing_core.evaluate.protocols.data import (
    EvaluationData,
    batch_of,
    embed_ecgs,
    patient_subset,
    patients_of,
    truth_of,
)
from echoing_core.evaluate.protocols.settings import FineTuneSettings
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.devices import compute_in_full, device_of
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, GaussianEmbedding
from echoing_core.signals.scaling import LeadScaler
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]

VALID_SHARE = 0.2
"""Of the training patients, where a set has no valid split of its own (MUSIC)."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """ECGs with a known answer.

    Attributes
    ----------
    studies : StudySet, n rows
    yes : ndarray of bool, shape (n,)
    """

    studies: StudySet
    yes: BoolArray

    @classmethod
    def of(cls, studies: StudySet, label: str) -> Labelled:
        """The ECGs of a set whose answer is known.

        Parameters
        ----------
        studies : StudySet
        label : str
            Without ``label_``.

        Returns
        -------
        Labelled
        """
        truth = truth_of(studies, label)
        known = np.isfinite(truth)
        # Copying a split that is all known would read a memory-mapped set whole.
        part = studies if known.all() else studies.where(known)
        return cls(part, truth[known] > 0.5)


@dataclass(frozen=True, eq=False)
class Tuned:
    """An encoder with a head, as they were after the epoch chosen.

    Attributes
    ----------
    encoder : Module
        In evaluation mode; a copy of what was given.
    head : Module
        dim -> 1 logit.
    probe : LinearProbe
        What the head began as: on the frozen encoder, from the same ECGs.
    epoch : int
        Which was chosen; 0 is before any step.
    valid_auroc : tuple of float
        After each epoch, from 0.
    """

    encoder: EcgEncoder
    head: nn.Linear
    probe: LinearProbe
    epoch: int
    valid_auroc: tuple[float, ...] = field(default=())

    def logits(self, scaler: LeadScaler, studies: StudySet, *, batch_size: int = 128) -> Floats:
        """Logit of yes for each ECG.

        Parameters
        ----------
        scaler : LeadScaler
        studies : StudySet, n rows
        batch_size : int

        Returns
        -------
        ndarray, shape (n,)
        """
        return self.of_means(
            self.means(scaler, studies.signal_mv, studies.valid, batch_size=batch_size)
        )

    def means(
        self,
        scaler: LeadScaler,
        signal_mv: npt.NDArray[np.float32],
        valid: BoolArray,
        *,
        batch_size: int = 128,
    ) -> npt.NDArray[np.float32]:
        """Means of windows by the tuned encoder.

        Parameters
        ----------
        scaler : LeadScaler
        signal_mv, valid : ndarray, shape (n, 12, 1000)
        batch_size : int

        Returns
        -------
        ndarray, shape (n, dim)
        """
        means, device = [], device_of(self.encoder)
        with torch.inference_mode():
            for first in range(0, len(signal_mv), batch_size):
                rows = slice(first, first + batch_size)
                pair = to_tensors(scaler, signal_mv[rows], valid[rows], device)
                means.append(self.encoder.mean(*pair))
        return torch.cat(means).cpu().numpy()

    def of_means(self, mu: npt.NDArray[np.float32]) -> Floats:
        """Logit of yes for each mean.

        Parameters
        ----------
        mu : ndarray, shape (n, dim)

        Returns
        -------
        ndarray, shape (n,)
        """
        with torch.inference_mode():
            logits = self.head(torch.from_numpy(mu).to(device_of(self.head)))[:, 0]
            return np.asarray(logits.cpu().numpy(), dtype=np.float64)


def tune(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    train: Labelled,
    valid: Labelled,
    settings: FineTuneSettings,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> Tuned:
    """Train a copy of an encoder and a linear head on mu for one yes/no question.

    The head begins as the probe on the frozen encoder, so that the first steps do not bend the
    encoder towards a random direction. Both classes weigh as much, in the mean over an epoch.
    After every epoch, and before the first, the AUROC on ``valid`` is taken; the weights of the
    best epoch are kept, the earlier one of two equals. Where ``valid`` has only one class, the
    last epoch is kept.

    Parameters
    ----------
    encoder : EcgEncoder
        It is not changed.
    scaler : LeadScaler
    train, valid : Labelled
        ECGs of different patients.
    settings : FineTuneSettings
    seed : int
        Of order and dropout.
    progress : Progress, optional
        Counts epochs.

    Returns
    -------
    Tuned

    References
    ----------
    Kumar et al., ICLR 2022, "Fine-Tuning can Distort Pretrained Features" (probe, then tune).
    """
    # A stream of its own: the order does not hang on how many draws chose the ECGs ([seed, 0]).
    rng = np.random.default_rng([seed, 1])
    frozen = embed_ecgs(encoder, scaler, train.studies)
    probe = LinearProbe.fit(frozen.mu, train.yes)
    device = device_for_windows(encoder, settings.epochs * len(train.yes))
    compute_in_full(device)
    tuned = copy.deepcopy(encoder).to(device)
    # A loaded checkpoint is frozen; its copy is not to be.
    for parameter in tuned.parameters():
        parameter.requires_grad_(True)
    head = _head_of(probe).to(device)
    optimiser = torch.optim.AdamW(
        [
            {"params": list(tuned.parameters()), "lr": settings.lr},
            {"params": list(head.parameters()), "lr": settings.head_lr},
        ],
        weight_decay=settings.weight_decay,
    )
    # How much a positive counts so that both classes sum to as much.
    weight = torch.tensor(float((~train.yes).sum()) / float(train.yes.sum())).to(device)
    scores = [_valid_auroc(tuned, head, scaler, valid)]
    best, chosen = _state(tuned, head), 0
    # Dropout takes torch's generator, which others use after us.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else ()):
        torch.manual_seed(seed)
        for epoch in range(1, settings.epochs + 1):
            tuned.train()
            for rows in _batches(len(train.yes), settings.batch_size, rng):
                target = torch.from_numpy(train.yes[rows].astype(np.float32)).to(device)
                mu = tuned.mean(*(x.to(device) for x in batch_of(scaler, train.studies, rows)))
                loss = functional.binary_cross_entropy_with_logits(
                    head(mu)[:, 0], target, pos_weight=weight
                )
                _step(loss, optimiser, [*tuned.parameters(), *head.parameters()], settings)
            tuned.eval()
            scores.append(_valid_auroc(tuned, head, scaler, valid))
            # NaN: one class only among the valid ECGs, so nothing to choose by: the last one stays.
            if np.isnan(scores[-1]) or scores[-1] > scores[chosen]:
                best, chosen = _state(tuned, head), epoch
            progress(epoch, settings.epochs)
    tuned.load_state_dict(best[0])
    head.load_state_dict(best[1])
    tuned.eval().cpu()
    head.cpu()
    return Tuned(tuned, head, probe, chosen, tuple(scores))


def fine_tune(
    checkpoint: Checkpoint,
    name: str,
    encoder: EcgEncoder,
    test_ecg: GaussianEmbedding,
    data: EvaluationData,
    questions: Sequence[PromptSet],
    settings: FineTuneSettings,
    *,
    n_seeds: int,
    by_entropy: bool,
    keep: Callable[[PromptSet, Tuned], None] | None = None,
    progress: Progress = SILENT,
) -> tuple[list[Scored], dict[str, float]]:
    """Fine-tuned logits of the test split, and those of the probe from the same ECGs.

    Parameters
    ----------
    checkpoint : Checkpoint
        Gives the scaler; its own encoder is not touched.
    name : str
        How tables call ``encoder``.
    encoder : EcgEncoder
        Where tuning begins; it is not changed.
    test_ecg : GaussianEmbedding
        The test split by ``encoder`` before tuning: sigma^2 for the halves.
    data : EvaluationData
    questions : sequence of PromptSet
        Each with a label; their prompts are not used.
    settings : FineTuneSettings
    n_seeds : int
        Each draws its own training patients, order and dropout.
    by_entropy : bool
        As in `surer`.
    keep : callable, optional
        Given each question with what its first seed was tuned to.
    progress : Progress, optional
        Counts questions.

    Returns
    -------
    scored : list of Scored
    counts : dict
        Training and valid ECGs, and the mean epoch chosen, by label.
    """
    test = data.split("test")
    scored: list[Scored] = []
    counts: dict[str, float] = {}
    for done, question in enumerate(questions):
        runs, of_label = tuned_runs(
            checkpoint, encoder, data, str(question.label), settings, n_seeds=n_seeds
        )
        progress(done + 1, len(questions))
        counts |= of_label
        if not runs:
            continue
        if keep is not None:
            keep(question, runs[0])
        for protocol, scores in (
            (FROZEN_PROBE, [run.probe.logits(test_ecg)[0] for run in runs]),
            (FINE_TUNED, [run.logits(checkpoint.scaler, test) for run in runs]),
        ):
            scored.append(
                Scored.of(data, name, question, protocol, test_ecg, scores, by_entropy=by_entropy)
            )
    return scored, counts


def tuned_runs(
    checkpoint: Checkpoint,
    encoder: EcgEncoder,
    data: EvaluationData,
    label: str,
    settings: FineTuneSettings,
    *,
    n_seeds: int,
    progress: Progress = SILENT,
) -> tuple[list[Tuned], dict[str, float]]:
    """Tune an encoder for one label, once for each seed.

    Parameters
    ----------
    checkpoint : Checkpoint
        Gives the scaler.
    encoder : EcgEncoder
        Where tuning begins; it is not changed.
    data : EvaluationData
    label : str
    settings : FineTuneSettings
    n_seeds : int
        Each draws its own training patients, order and dropout: the same ones for every encoder,
        so that two of them pair.
    progress : Progress, optional
        Counts seeds.

    Returns
    -------
    runs : list of Tuned
        None where the training ECGs of a seed have one class only: fewer seeds than the other
        questions have could not be paired or averaged alike.
    counts : dict
        Training and valid ECGs, and the mean epoch chosen.
    """
    runs: list[Tuned] = []
    counts: dict[str, float] = {}
    for seed in range(n_seeds):
        train, valid = training_ecgs(data, label, settings, seed)
        if train.yes.all() or not train.yes.any():
            logger.warning("%s: only one class of it among the training ECGs; left out", label)
            return [], counts
        runs.append(tune(encoder, checkpoint.scaler, train, valid, settings, seed=seed))
        counts[f"{label} train ECGs"] = len(train.yes)
        counts[f"{label} valid ECGs"] = len(valid.yes)
        progress(seed + 1, n_seeds)
    counts[f"{label} mean epoch chosen"] = float(np.mean([run.epoch for run in runs]))
    return runs, counts


def training_ecgs(
    data: EvaluationData, label: str, settings: FineTuneSettings, seed: int
) -> tuple[Labelled, Labelled]:
    """About ``n_train`` ECGs to train on and ``n_valid`` to choose the epoch, by patient.

    The valid ECGs come from the set's valid split, or where it has none from `VALID_SHARE` of the
    training patients, who then do not train.

    Parameters
    ----------
    data : EvaluationData
    label : str
        ECGs whose answer is not known are left out.
    settings : FineTuneSettings
    seed : int
        Of the draws.

    Returns
    -------
    train, valid : Labelled
    """
    rng = np.random.default_rng([seed, 0])
    train = Labelled.of(data.split("train"), label)
    if "valid" in data.splits:
        valid = Labelled.of(data.splits["valid"], label)
    else:
        held = patient_subset(patients_of(train.studies), train.yes, VALID_SHARE, rng)
        train, valid = _rows(train, ~held), _rows(train, held)
    return _about(train, settings.n_train, rng), _about(valid, settings.n_valid, rng)


def _about(ecgs: Labelled, n: int, rng: np.random.Generator) -> Labelled:
    if len(ecgs.yes) <= n:
        return ecgs
    # By patient: as many ECGs as asked for only on average.
    share = n / len(ecgs.yes)
    return _rows(ecgs, patient_subset(patients_of(ecgs.studies), ecgs.yes, share, rng))


def _rows(ecgs: Labelled, rows: BoolArray) -> Labelled:
    return Labelled(ecgs.studies.where(rows), ecgs.yes[rows])


def _head_of(probe: LinearProbe) -> nn.Linear:
    head = nn.Linear(len(probe.weights), 1)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(probe.weights[None].astype(np.float32)))
        head.bias.fill_(probe.bias)
    return head


def _batches(n: int, batch_size: int, rng: np.random.Generator) -> list[npt.NDArray[np.intp]]:
    """Rows in a new order; a last batch of one ECG, of which there is no variance, is left out."""
    order = rng.permutation(n)
    cut = [order[i : i + batch_size] for i in range(0, n, batch_size)]
    return [rows for rows in cut if len(rows) > 1]


def _step(
    loss: Tensor,
    optimiser: torch.optim.Optimizer,
    parameters: list[nn.Parameter],
    settings: FineTuneSettings,
) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
    optimiser.step()


def _valid_auroc(encoder: EcgEncoder, head: nn.Linear, scaler: LeadScaler, ecgs: Labelled) -> float:
    # The probe of this passing object is never asked.
    scores = Tuned(encoder, head, LinearProbe(np.zeros(1), 0.0), 0).logits(scaler, ecgs.studies)
    return auroc(ecgs.yes, scores)


def _state(encoder: EcgEncoder, head: nn.Linear) -> tuple[dict[str, Any], dict[str, Any]]:
    return copy.deepcopy(encoder.state_dict()), copy.deepcopy(head.state_dict())
