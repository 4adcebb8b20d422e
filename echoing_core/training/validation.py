"""What a run is watched by: retrieval, zero-shot questions and sigma^2 on validation patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    auroc,
    balanced_accuracy,
    recall_at_k,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import Encoder
from echoing_core.training.augmentation import disturb
from echoing_core.zeroshot.prompts import PromptSet

_MAX_ECGS = 1000
_MAX_DISTURBED = 200
_NOISE = "sigma2 AUROC noise"


class Validation:
    """Figures of a model in training, on at most 1,000 validation ECGs, always the same.

    Parameters
    ----------
    checkpoint : Checkpoint
        Gives tokenizer and scaler; its encoder is not looked at.
    studies : StudySet
        Validation patients.
    prompts : sequence of PromptSet
        Those whose label the studies have are asked.
    """

    def __init__(
        self, checkpoint: Checkpoint, studies: StudySet, prompts: Sequence[PromptSet]
    ) -> None:
        rng = np.random.default_rng(0)
        # The same ECGs at every step and in every run, or figures would not compare.
        chosen = np.zeros(len(studies), dtype=np.bool_)
        chosen[rng.permutation(len(studies))[:_MAX_ECGS]] = True
        self.studies = studies.where(chosen)
        self.checkpoint = checkpoint
        self.prompts = [p for p in prompts if f"label_{p.label}" in self.studies.label_columns]
        first = self.studies.signal_mv[:_MAX_DISTURBED]
        # One severity in the middle, and the same faults every time, so that steps compare.
        self._disturbed = np.stack([disturb(np.asarray(window), rng, 0.5) for window in first])

    @property
    def names(self) -> tuple[str, ...]:
        """Of the figures, in their order."""
        recalls = [
            f"R@10 {name} {order}" for order in (CSD, COSINE) for name in ("same text", "pair")
        ]
        questions = [f"{item.label} {figure}" for item in self._asked for figure in ("AUROC", "BA")]
        return (*recalls, *questions, _NOISE)

    @property
    def _asked(self) -> list[PromptSet]:
        """Questions with answers of both kinds; with one kind only, no figure is defined."""
        table = self.studies.table
        return [
            item for item in self.prompts if table[f"label_{item.label}"].dropna().nunique() > 1
        ]

    def __call__(self, encoder: Encoder, step: int) -> dict[str, float]:
        """Measure an encoder in evaluation mode.

        Parameters
        ----------
        encoder : nn.Module
        step : int
            Not read: the figures of all steps are on the same ECGs.

        Returns
        -------
        dict
            Figures by name; a question is ``<label> BA`` and ``<label> AUROC``.
        """
        model = dataclasses.replace(self.checkpoint, encoder=encoder)
        studies = self.studies
        ecg = encode_batch(model.encoder.ecg, model.scaler, studies.signal_mv, studies.valid)
        reports = [str(text) for text in studies.table["report"]]
        text = encode_texts(model, reports)
        figures: dict[str, float] = {}
        for order in (CSD, COSINE):
            for hit, name in ((SAME_TEXT, "same text"), (EXACT_PAIR, "pair")):
                ranks = text_to_ecg_ranks(text, ecg, reports, order=order, hit=hit)
                figures[f"R@10 {name} {order}"] = recall_at_k(ranks, 10)
        for item in self._asked:
            truth = studies.table[f"label_{item.label}"].to_numpy(dtype=np.float64)
            known = np.isfinite(truth)
            margin, _ = question_margins(model, ecg, item)
            figures[f"{item.label} AUROC"] = auroc(truth[known], margin[known])
            figures[f"{item.label} BA"] = balanced_accuracy(truth[known] > 0, margin[known] > 0)
        n = len(self._disturbed)
        noisy = encode_batch(model.encoder.ecg, model.scaler, self._disturbed, studies.valid[:n])
        sigma2 = np.concatenate([ecg.uncertainty[:n], noisy.uncertainty])
        # A deterministic model's sigma^2 may be anything; the figure then says so itself.
        figures[_NOISE] = auroc(np.repeat([0.0, 1.0], n), sigma2)
        return figures
