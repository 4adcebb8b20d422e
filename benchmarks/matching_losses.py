"""Which part of PCME++'s own loss makes it slower than CSD inside a softmax?

    python -m benchmarks.matching_losses [NAME...] [--steps 300] [--seed 1]

Small encoders, the simulated cohort of the shipped model, sigma^2 learnt jointly; one run for each
NAME of `TRIALS` (all of them without), measured on the first 1,000 ECGs of validation patients, so
for looking and not for claiming: text to ECG R@10 by CSD and by cosine, macro AUROC of the findings
that training's questions know, and the spread of sigma^2. JSON, a line a run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.protocols.ablation import AblationConfig, Method
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    auroc,
    recall_at_k,
    text_to_ecg_ranks,
)
from echoing_core.services import prompt_sets
from echoing_core.training.paired import as_checkpoint, build_inputs, train_paired
from echoing_core.training.questions import answers_of, questions_of
from echoing_core.training.settings import RunConfig

N_MEASURED = 1000


@dataclass(frozen=True)
class Trial:
    """What one run changes of the ablation's settings."""

    loss: str
    of_loss: dict[str, Any] = field(default_factory=dict)
    of_optimiser: dict[str, Any] = field(default_factory=dict)
    partial_reports: float = 0.25
    identity_match: bool = False

    def config(self, steps: int, seed: int) -> RunConfig:
        """Settings of the run."""
        method = Method(self.loss, self.loss, self.loss, False)
        base = replace(AblationConfig(), steps=steps).run_of(method, seed)
        return replace(
            base,
            precision="float32",
            loss=replace(base.loss, **self.of_loss),
            optimiser=replace(base.optimiser, **self.of_optimiser),
            views=replace(base.views, partial_report_share=self.partial_reports),
            objective=replace(base.objective, identity_match=self.identity_match),
        )


FAST = {"constants_lr_factor": 50.0}
TRIALS = {
    "csd_infonce": Trial("csd_infonce"),
    "pcmepp": Trial("pcmepp"),
    "constants_fast": Trial("pcmepp", {}, FAST),
    "whole_reports": Trial("pcmepp", {}, FAST, partial_reports=0.0),
    "identity": Trial("pcmepp", partial_reports=0.0, identity_match=True),
    "no_pseudo_positives": Trial("pcmepp", {"pseudo_positive_weight": 0.0}),
    "no_bottleneck": Trial("pcmepp", {"vib_weight": 0.0}),
    "base_rate_start": Trial("pcmepp", {"scale_init": 10.0, "shift_init": 21.7}),
    "steep": Trial("pcmepp", {"scale_init": 30.0, "shift_init": 15.0}),
    "rows_weigh_one": Trial(
        "pcmepp",
        {
            "scale_init": 20.0,
            "shift_init": 20.0,
            "pseudo_positive_weight": 0.0,
            "match_weight": "row",
        },
    ),
}


def measured(trial: Trial, studies: StudySet, steps: int, seed: int) -> dict[str, Any]:
    """Train one run and measure it."""
    inputs = build_inputs(trial.config(steps, seed), studies)
    trained = train_paired(inputs)
    model = as_checkpoint(inputs, trained)
    model.encoder.eval()
    seen = inputs.valid.where(np.arange(len(inputs.valid)) < N_MEASURED)
    ecg = encode_batch(model.encoder.ecg, model.scaler, seen.signal_mv, seen.valid)
    reports = [str(text) for text in seen.table["report"]]
    text = encode_texts(model, reports)
    figures: dict[str, Any] = {"scale": trained.scale, "shift": trained.shift}
    for order in (CSD, COSINE):
        for kind in (SAME_TEXT, EXACT_PAIR):
            ranks = text_to_ecg_ranks(text, ecg, reports, order=order, hit=kind)
            figures[f"R@10 by {order}, {kind}"] = recall_at_k(ranks, 10)
    questions = questions_of(prompt_sets(), [inputs.train])
    truth = answers_of(seen, questions)
    areas = []
    for column, question in zip(truth.T, questions, strict=True):
        known = np.isfinite(column)
        yes = column[known] > 0.5
        if 3 < yes.sum() < known.sum() - 3:
            areas.append(auroc(yes, question_margins(model, ecg, question)[0][known]))
    figures["macro AUROC"] = float(np.mean(areas))
    figures["sigma^2, 5-50-95 %"] = np.quantile(ecg.uncertainty, [0.05, 0.5, 0.95]).tolist()
    return figures


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TRIALS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patients", type=int, default=CohortConfig().n_patients)
    given = parser.parse_args()
    studies = build_simulated(
        given.patients, CohortConfig().seed, splits=("train", "valid"), n_workers=2
    )
    for name in given.names or TRIALS:
        figures = measured(TRIALS[name], studies, given.steps, given.seed)
        print(json.dumps({"name": name, "steps": given.steps} | figures), flush=True)


if __name__ == "__main__":
    main()
