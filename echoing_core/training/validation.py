"""What a run is watched by: retrieval, zero-shot questions and sigma^2 on validation patients."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from torch import nn

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.metrics.distances import cosine, csd
from echoing_core.metrics.scores import (
    auroc,
    balanced_accuracy,
    pair_ranks,
    recall_at_k,
    same_text_ranks,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.training.augmentation import disturb
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet

_MOST = 1000
_DISTURBED = 200


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
        chosen = np.zeros(len(studies), dtype=np.bool_)
        chosen[rng.permutation(len(studies))[:_MOST]] = True
        self.studies = studies.where(chosen)
        self.checkpoint = checkpoint
        self.prompts = [p for p in prompts if f"label_{p.label}" in self.studies.label_columns]
        few = self.studies.signal_mv[:_DISTURBED]
        # One severity in the middle, and the same faults every time, so that steps compare.
        self._disturbed = np.stack([disturb(np.asarray(window), rng, 0.5) for window in few])

    def __call__(self, encoder: nn.Module, step: int) -> dict[str, float]:
        """Figures by name; a question is ``<label> BA`` and ``<label> AUROC``."""
        model = dataclasses.replace(self.checkpoint, encoder=encoder)  # type: ignore[arg-type]
        studies = self.studies
        ecg = encode_batch(model.encoder.ecg, model.scaler, studies.signal_mv, studies.valid)
        reports = [str(text) for text in studies.table["report"]]
        text = encode_texts(model, reports)
        figures: dict[str, float] = {}
        for name, distance in (
            ("csd", csd(text.mu, text.log_var, ecg.mu, ecg.log_var)),
            ("cosine", 1.0 - cosine(text.mu, ecg.mu)),
        ):
            same = same_text_ranks(distance, reports, reports)
            figures[f"R@10 same text {name}"] = recall_at_k(same, 10)
            figures[f"R@10 pair {name}"] = recall_at_k(pair_ranks(distance), 10)
        for item in self.prompts:
            truth = studies.table[f"label_{item.label}"].to_numpy(dtype=np.float64)
            known = np.isfinite(truth)
            if len(set(truth[known])) < 2:
                continue
            yes, no = (encode_texts(model, side) for side in (item.positive, item.negative))
            margin = closed_form.margins(ecg, yes, no)[0]
            figures[f"{item.label} AUROC"] = auroc(truth[known], margin[known])
            figures[f"{item.label} BA"] = balanced_accuracy(truth[known] > 0, margin[known] > 0)
        n = len(self._disturbed)
        noisy = encode_batch(model.encoder.ecg, model.scaler, self._disturbed, studies.valid[:n])
        sigma2 = np.concatenate([ecg.uncertainty[:n], noisy.uncertainty])
        # A deterministic model's sigma^2 may be anything; the figure then says so itself.
        figures["sigma2 AUROC noise"] = auroc(np.repeat([0.0, 1.0], n), sigma2)
        return figures
