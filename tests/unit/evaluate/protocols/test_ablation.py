"""Table 5 by one command, on a cohort far too small to learn from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.errors import ConfigError
from echoing_core.evaluate.protocols.ablation import (
    KNOWN,
    METHODS,
    AblationConfig,
    Method,
    cohort_of,
    measure_ablation,
    run_ablation,
    with_echo,
)
from echoing_core.evaluate.protocols.ablation_tables import RunScores
from echoing_core.models.config import EcgEncoderConfig, TextEncoderConfig
from echoing_core.services import prompt_sets
from echoing_core.training.settings import VarianceConfig

# Runs of commands: seconds each.
pytestmark = pytest.mark.slow

DIM = 8
CONFIG = AblationConfig(
    seeds=(1, 2),
    steps=2,
    batch_size=16,
    echo_batch_size=4,
    dim=DIM,
    ecg=EcgEncoderConfig(
        stem_width=8, mid_width=8, width=16, n_pool_heads=2, variance_width=4, variance_hidden=8
    ),
    text=TextEncoderConfig(hidden=16, n_layers=1, n_heads=2, ffn=32),
    # What is novel is learnt from sixty batches of this size.
    variance=VarianceConfig(where_steps=1, steps=1, text_steps=1, batch_size=2, text_batch_size=2),
)


SIDES = {
    "lvef_lt40": tuple(np.random.default_rng(1).standard_normal((n, DIM)) for n in (3, 2)),
}


@pytest.fixture(scope="module")
def studies() -> StudySet:
    # One process: starting others costs more than simulating 50 patients.
    return cohort_of(24, 3, 3, 0.1, n_workers=1)


@pytest.fixture(scope="module")
def echo(studies: StudySet) -> EchoEmbeddings:
    ids = tuple(with_echo(studies, 1.0))
    rng = np.random.default_rng(0)
    mu = rng.standard_normal((len(ids), DIM)).astype(np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    log_var = np.full(mu.shape, -6.0, dtype=np.float32)
    return EchoEmbeddings(ids, mu, log_var, np.full(len(ids), 8), "made up", "0" * 64, True)


def test_only_training_patients_lend_their_echo(studies: StudySet) -> None:
    table = studies.table.set_index("study_id")
    half = with_echo(studies, 0.5)
    assert set(table.loc[half, "split"]) == {"train"}
    assert 0 < len(half) < len(with_echo(studies, 1.0))
    chosen = set(table.loc[half, "patient_id"])
    of_them = table[(table["split"] == "train") & table["patient_id"].isin(chosen)]
    assert set(of_them.index) == set(half), "a patient is with echo or without, never both"


def test_runs_are_kept_and_a_study_is_not_mixed_with_another(
    studies: StudySet, echo: EchoEmbeddings, tmp_path: Path
) -> None:
    """Two methods and one seed: with and without the teacher, by cosine and by CSD."""
    config = dataclasses.replace(CONFIG, seeds=(1,))
    methods = [method for method in METHODS if method.key in ("infonce", "pcmepp_echo")]

    def run(config: AblationConfig) -> dict[str, list[RunScores]]:
        return run_ablation(
            tmp_path, studies, echo, prompt_sets(), config, sides=SIDES, methods=methods
        )

    runs = run(config)
    for method in methods:
        (scores,) = runs[method.key]
        assert ("teacher:lvef_lt40" in scores.margins) == method.with_echo
        assert len(scores.margins["lvef_lt40"]) == (studies.table["split"] == "test").sum()
    experiment = measure_ablation(runs, studies, config, n_resamples=20)
    assert all(method.name in experiment.to_markdown() for method in methods)
    told = json.loads(json.dumps(experiment.to_dict()))
    assert {row["words"] for row in told["echo_labels"]} == {"its own words", "the teacher's"}
    assert set(told["minutes_a_run"]) == {method.name for method in methods}
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert len(kept) == 2
    run(config)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == kept
    with pytest.raises(ConfigError, match="another study"):
        run(dataclasses.replace(config, lr=1.0))


@pytest.mark.slow
def test_four_rows_several_seeds_one_report(
    studies: StudySet, echo: EchoEmbeddings, tmp_path: Path
) -> None:
    def run(config: AblationConfig, methods: Sequence[Method]) -> dict[str, list[RunScores]]:
        return run_ablation(
            tmp_path, studies, echo, prompt_sets(), config, sides=SIDES, methods=methods
        )

    runs = run(CONFIG, KNOWN)
    assert {key: len(of_method) for key, of_method in runs.items()} == {m.key: 2 for m in KNOWN}
    for method in KNOWN:
        margins = runs[method.key][0].margins
        assert ("teacher:lvef_lt40" in margins) == method.with_echo
        assert not np.array_equal(margins["lvef_lt40"], runs[method.key][1].margins["lvef_lt40"])
    experiment = measure_ablation(runs, studies, CONFIG, n_resamples=20)
    markdown = experiment.to_markdown()
    for method in KNOWN:
        assert method.name in markdown
    assert "imulated" in markdown
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")}
    assert len(kept) == 2 * len(KNOWN)
    again = run(CONFIG, METHODS)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npz")} == kept
    assert tuple(again) == tuple(method.key for method in METHODS)
    with pytest.raises(ConfigError, match="another study"):
        run(dataclasses.replace(CONFIG, lr=1.0), METHODS)
