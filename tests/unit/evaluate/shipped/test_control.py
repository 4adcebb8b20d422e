"""The probe control: which ECGs are labelled, what is averaged, and that a control can win."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from echoing_core.datasets.study_set import COLUMNS, StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import question_margins
from echoing_core.evaluate.shipped.control import LABEL_SHARES, labelled_rows, probe_results
from echoing_core.evaluate.shipped.held_out import (
    PTBXL,
    RANDOM_WEIGHTS,
    SUPERCLASSES,
    HeldOut,
    random_encoder,
)
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.zeroshot.prompts import PromptSet
from tests.tiny_model import write_tiny_model

PROMPTS = tuple(
    PromptSet(name.lower(), name, (f"sinus rhythm {i}",), ("atrial fibrillation",), name)
    for i, name in enumerate(SUPERCLASSES)
)


def _set(n: int, seed: int) -> StudySet:
    """Sines whose frequency is the class: even random features tell them apart."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 5
    t = np.arange(1000) / 100
    signal = 0.5 * np.sin(
        2 * np.pi * (1.0 + 3.0 * kind)[:, None, None] * t + rng.uniform(0, 6, (n, 12, 1))
    )
    rows = {name: [f"{name}-{seed}-{i}" for i in range(n)] for name in COLUMNS}
    rows["simulated"], rows["split"] = [False] * n, ["train"] * n
    labels = {f"label_{name}": kind == i for i, name in enumerate(SUPERCLASSES)}
    return StudySet(
        pd.DataFrame({**rows, **labels}), signal.astype(np.float32), np.ones(signal.shape, bool)
    )


@pytest.mark.slow
def test_figures_are_those_of_probes_fitted_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(folder)
    checkpoint = load_checkpoint(folder)
    train, test = _set(60, 1), _set(40, 2)
    held_out = HeldOut(PTBXL, test, simulated=False)
    results = probe_results(checkpoint, train, held_out, PROMPTS, n_seeds=2, n_resamples=20)
    figures = {(r.task, r.model): r.estimate.value for r in results}
    assert len(results) == 2 * len(LABEL_SHARES) + 1
    by_hand = []
    for seed in (0, 1):
        encoder = random_encoder(checkpoint, seed)
        mu, mu_test = (
            encode_batch(encoder, checkpoint.scaler, s.signal_mv, s.valid).mu for s in (train, test)
        )
        aurocs = []
        for name in SUPERCLASSES:
            probe = LinearProbe.fit(mu, train.table[f"label_{name}"].to_numpy(dtype=bool))
            aurocs.append(
                auroc(test.table[f"label_{name}"].to_numpy(dtype=bool), mu_test @ probe.weights)
            )
        by_hand.append(np.mean(aurocs))
    task = "five superclasses, linear probe on 100 % of the labels"
    random = figures[task, RANDOM_WEIGHTS]
    assert random == pytest.approx(np.mean(by_hand))
    # Frequencies are easy for a probe, and mean nothing to prompts that never learnt.
    assert random > 0.65
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, test.signal_mv, test.valid)
    prompted = np.mean(
        [
            auroc(
                test.table[f"label_{prompts.label}"].to_numpy(dtype=bool),
                question_margins(checkpoint, ecg, prompts)[0],
            )
            for prompts in PROMPTS
        ]
    )
    lead = next(r for r in results if "less" in r.task).estimate
    assert lead.value == pytest.approx(prompted - random)
    assert lead.low <= lead.value <= lead.high


def test_few_labels_still_hold_every_class_and_more_labels_hold_the_fewer() -> None:
    truth = np.zeros((200, 2), dtype=bool)
    truth[:100, 0] = True
    truth[[7, 150], 1] = True
    few = labelled_rows(truth, 0.01, seed=3)
    assert truth[few].any(axis=0).all() and not truth[few].all(axis=0).any()
    assert set(few) <= set(labelled_rows(truth, 0.9, seed=3))
    assert len(labelled_rows(truth, 1.0, seed=3)) == 200
    common = labelled_rows(truth[:, :1], 0.1, seed=3)
    assert len(common) == 20 and (np.diff(common) > 0).all()
