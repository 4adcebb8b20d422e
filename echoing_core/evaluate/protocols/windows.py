"""Answers to yes/no questions by one window of a long recording, or by several fused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from echoing_core.evaluate.protocols.answers import (
    AUROC,
    BALANCED_ACCURACY,
    FINE_TUNED,
    FROZEN_PROBE,
    Scored,
    metric_of,
    zero_shot,
)
from echoing_core.evaluate.protocols.fine_tune import tuned_runs
from echoing_core.evaluate.protocols.long_recordings import (
    CHOICES,
    FUSED,
    HIGHEST,
    LOWEST,
    START,
    LongRecordings,
)
from echoing_core.evaluate.protocols.settings import ZERO_SHOT, FineTuneSettings
from echoing_core.metrics.bootstrap import patient_bootstrap_over_seeds
from echoing_core.metrics.results import Result
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

GAPS = ((LOWEST, START), (LOWEST, HIGHEST), (FUSED, START), (FUSED, LOWEST))
"""What is subtracted from what; the first two are the article's claim."""

MEAN_RANK = "mean rank"


@dataclass(frozen=True, eq=False)
class ByWindow:
    """Every way of answering, by the window that answers.

    Attributes
    ----------
    scored : dict of (choice, protocol, label) to Scored
        In the order of the table.
    counts : dict
        Training ECGs and epochs.
    """

    scored: dict[tuple[str, str, str], Scored]
    counts: dict[str, float]

    @property
    def protocols(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(protocol for _, protocol, _ in self.scored))

    def of(self, choice: str, protocol: str) -> list[Scored]:
        """All labels of one row of the table.

        Parameters
        ----------
        choice, protocol : str

        Returns
        -------
        list of Scored
        """
        return [s for (c, p, _), s in self.scored.items() if (c, p) == (choice, protocol)]


def row_name(model: str, choice: str) -> str:
    """How the table calls a row, as the article does: ``"demo (low)"``.

    Parameters
    ----------
    model, choice : str

    Returns
    -------
    str
    """
    return f"{model} ({choice})"


def answers_by_window(
    checkpoint: Checkpoint,
    long: LongRecordings,
    questions: Sequence[PromptSet],
    settings: FineTuneSettings,
    *,
    n_seeds: int,
    progress: Progress = SILENT,
) -> ByWindow:
    """Zero-shot and fine-tuned scores of every recording by each of `CHOICES`.

    An encoder is tuned on the first windows of the training recordings, once for each question
    and seed; every row of the table is then answered by the same tuned encoders. Windows were
    chosen, and are fused, by the sigma^2 before tuning: tuning teaches mu alone.

    Parameters
    ----------
    checkpoint : Checkpoint
    long : LongRecordings
    questions : sequence of PromptSet
        Each with a label.
    settings : FineTuneSettings
    n_seeds : int
    progress : Progress, optional
        Told of each question by its label.

    Returns
    -------
    ByWindow
    """
    scored: dict[tuple[str, str, str], Scored] = {}
    for choice in CHOICES:
        name = row_name(checkpoint.name, choice)
        ecg = long.embedding[choice]
        for one in zero_shot(checkpoint, name, ecg, long.data, questions, by_entropy=False):
            scored[choice, ZERO_SHOT, one.place.label] = one
    counts: dict[str, float] = {}
    for question in questions:
        label = str(question.label)
        runs, of_label = tuned_runs(
            checkpoint,
            checkpoint.encoder.ecg,
            long.data,
            label,
            settings,
            n_seeds=n_seeds,
            progress=progress.stage(f"fine-tune, {label}"),
        )
        counts |= of_label
        if not runs:
            continue
        tuned: dict[str, list[Floats]] = {
            choice: [run.logits(checkpoint.scaler, studies) for run in runs]
            for choice, studies in long.windows.items()
        }
        fused = long.fused
        tuned[FUSED] = [
            run.of_means(fused.fuse(run.means(checkpoint.scaler, fused.signal_mv, fused.valid)).mu)
            for run in runs
        ]
        for choice in CHOICES:
            ecg = long.embedding[choice]
            probe = [run.probe.logits(ecg)[0] for run in runs]
            for protocol, scores in ((FROZEN_PROBE, probe), (FINE_TUNED, tuned[choice])):
                scored[choice, protocol, label] = Scored.of(
                    long.data,
                    row_name(checkpoint.name, choice),
                    question,
                    protocol,
                    ecg,
                    scores,
                    by_entropy=False,
                )
    return ByWindow(scored, counts)


def gaps_of(answers: ByWindow, *, n_resamples: int) -> list[Result]:
    """`GAPS` for each label and protocol, paired by patient and by seed.

    Parameters
    ----------
    answers : ByWindow
    n_resamples : int

    Returns
    -------
    list of Result
        ``protocol`` tells what is subtracted from what; one for each metric.
    """
    return [
        result
        for (choice, protocol, label), one in answers.scored.items()
        for first, second in GAPS
        if choice == first
        for result in one.minus(
            answers.scored[second, protocol, label],
            f"{protocol}: {first} - {second}",
            n_resamples=n_resamples,
        )
    ]


def overall(answers: ByWindow, *, n_resamples: int) -> tuple[list[Result], list[Result]]:
    """Means over the labels: of the figures, of the gaps, and of the ranks of the rows.

    A row's rank in a column counts the rows with a higher balanced accuracy; equal ones share the
    mean of their ranks. The article's "overall rank" orders its rows in a way it does not tell;
    the order of mean ranks gives the ties that it prints.

    Parameters
    ----------
    answers : ByWindow
    n_resamples : int

    Returns
    -------
    figures : list of Result
        Mean balanced accuracy, AUROC and `MEAN_RANK` of each row and protocol.
    gaps : list of Result
    """
    figures: list[Result] = []
    gaps: list[Result] = []
    for protocol in answers.protocols:
        by_choice = {choice: answers.of(choice, protocol) for choice in CHOICES}
        first = by_choice[START][0]
        # (n, n_labels), and for each seed (n, n_rows, n_labels).
        truth = np.stack([one.truth.astype(np.float64) for one in by_choice[START]], axis=1)
        per_seed = [
            (
                truth,
                np.stack(
                    [
                        np.stack([one.scores[seed] for one in by_choice[choice]], axis=1)
                        for choice in CHOICES
                    ],
                    axis=1,
                ),
            )
            for seed in range(len(first.scores))
        ]
        estimates = patient_bootstrap_over_seeds(
            _means, per_seed, first.patients, n_resamples=n_resamples
        )
        labels = len(by_choice[START])
        place = replace(first.place, task=f"mean of the {labels} labels", label="")
        for name, estimate in estimates.items():
            metric, subject = name.split("|")
            is_gap = " - " in subject
            (gaps if is_gap else figures).append(
                Result(
                    data=place.data,
                    task=place.task,
                    metric=metric,
                    model=first.place.model if is_gap else row_name(_model(first), subject),
                    estimate=estimate,
                    simulated=place.simulated,
                    protocol=f"{protocol}: {subject}" if is_gap else protocol,
                    n_group=len(truth),
                    n_seeds=len(per_seed),
                )
            )
    return figures, gaps


def _model(scored: Scored) -> str:
    return scored.place.model.removesuffix(f" ({START})")


def _means(truth: Floats, scores: Floats) -> dict[str, float]:
    """Figures by ``metric|row`` and ``metric|gap``, averaged over the labels."""
    figures: dict[str, float] = {}
    # Of each label: which recordings have it, and of which it is known.
    answers = [(column > 0.5, np.isfinite(column)) for column in truth.T]
    by_metric = {
        metric: np.array(
            [
                [
                    metric_of(metric, yes[known], scores[known, row, label])
                    for label, (yes, known) in enumerate(answers)
                ]
                for row in range(scores.shape[1])
            ]
        )
        for metric in (BALANCED_ACCURACY, AUROC)
    }
    ranks = rankdata(-by_metric[BALANCED_ACCURACY], axis=0, nan_policy="propagate").mean(axis=1)
    for metric, values in by_metric.items():
        means = dict(zip(CHOICES, values.mean(axis=1).tolist(), strict=True))
        figures |= {f"{metric}|{choice}": mean for choice, mean in means.items()}
        figures |= {
            f"{metric}|{first} - {second}": means[first] - means[second] for first, second in GAPS
        }
    return figures | {
        f"{MEAN_RANK}|{choice}": float(rank) for choice, rank in zip(CHOICES, ranks, strict=True)
    }
