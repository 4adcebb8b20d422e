"""The protocols end to end, on a very small model with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.evaluate.protocols import retrieval
from echoing_core.evaluate.protocols.answers import probe_scores
from echoing_core.evaluate.protocols.data import EvaluationData, open_data, questions_of
from echoing_core.evaluate.protocols.fine_tune import Labelled, training_ecgs, tune
from echoing_core.evaluate.protocols.runs import run_few_shot, run_retrieval
from echoing_core.evaluate.protocols.settings import EvaluationOptions, FineTuneSettings
from echoing_core.metrics.results import ALL
from echoing_core.metrics.scores import COSINE, CSD, EXACT_PAIR, text_to_ecg_ranks
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.models.config import ReleasedEcgConfig
from echoing_core.models.released import ReleasedEcgEncoder
from echoing_core.progress import Progress
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot.prompts import load_prompt_sets
from tests.tiny_model import write_tiny_model

REPORTS = ("sinus rhythm. normal ecg.", "atrial fibrillation. abnormal ecg.")


def study_set(n: int, split: str, *, seed: int = 0, source: str = "toy") -> StudySet:
    """Two ECGs a patient; af is a steep slow wave that a linear probe can find."""
    rng = np.random.default_rng([seed, len(split)])
    patient = np.arange(n) // 2
    af = patient % 3 == 0
    signal_mv = rng.normal(0, 0.2, size=(n, 12, 1000)).astype(np.float32)
    wave = np.sin(2 * np.pi * 6.0 * np.arange(1000) / 100.0).astype(np.float32)
    signal_mv[af] += 0.8 * wave
    table = pd.DataFrame(
        {
            "source": source,
            "patient_id": [f"{split}{p}" for p in patient],
            "study_id": [f"{split}{i}" for i in range(n)],
            "record_id": [f"{split}{i}" for i in range(n)],
            "split": split,
            "report": [REPORTS[int(yes)] for yes in af],
            "simulated": True,
            "quality": "clean",
            "label_af": af,
            "label_lbbb": False,
        }
    )
    return StudySet(table, signal_mv, np.ones(signal_mv.shape, dtype=bool))


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(model_folder: Path) -> Checkpoint:
    return load_checkpoint(model_folder)


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "toy"
    whole = study_set(48, "train").concat(study_set(16, "valid"), study_set(24, "test"))
    save_prepared(folder, whole)
    return folder


@pytest.fixture(scope="module")
def prompts(repo_root: Path) -> tuple:  # type: ignore[type-arg]
    return load_prompt_sets(repo_root / "assets" / "prompts")


def test_halves_of_a_gallery_by_hand() -> None:
    """Four ECGs on the axes, each report on its ECG's neighbour of the other half, a bit nearer to
    its own than to the rest of its half: in the full gallery every report is second, in its half's
    own gallery first."""
    mu = np.eye(4)
    text_mu = mu * 0.6 + mu[[2, 3, 0, 1]] * 0.8
    ecg = GaussianEmbedding(mu, np.zeros_like(mu))
    text = GaussianEmbedding(text_mu, np.zeros_like(mu))
    texts = ["a", "b", "c", "d"]
    low = np.array([True, True, False, False])
    for order in (CSD, COSINE):
        full = text_to_ecg_ranks(text, ecg, texts, order=order, hit=EXACT_PAIR)
        own = retrieval._ranks_by_half(text, ecg, texts, low, order, EXACT_PAIR)
        assert full.tolist() == [2, 2, 2, 2] and own.tolist() == [1, 1, 1, 1]


def test_halves_in_the_full_gallery_average_to_the_whole(
    checkpoint: Checkpoint, data_folder: Path
) -> None:
    study = run_retrieval(checkpoint, data_folder, (), EvaluationOptions(n_resamples=20))
    found = {(f.model, f.protocol, f.group, f.metric): f for f in study.results}
    key = ("tiny", "by csd, same text, full gallery")
    every, low, high = (found[(*key, group, "R@10")] for group in ("all", "low", "high"))
    n = every.n_group
    assert low.n_group + high.n_group == n == 24 and every.gallery_size == 24
    mean = (low.estimate.value * low.n_group + high.estimate.value * high.n_group) / n
    assert mean == pytest.approx(every.estimate.value)
    own = found["tiny", "by csd, same text, each half its own gallery", "low", "R@10"]
    assert own.gallery_size == own.n_group == low.n_group


def test_a_probe_never_sees_the_test_patients_and_knows_its_scale_from_training() -> None:
    """Test means moved and stretched do not change the probe: only training standardises it."""
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(60, 4)).astype(np.float32)
    yes = mu[:, 0] > 0
    people = np.array([f"p{i // 2}" for i in range(60)])
    one = GaussianEmbedding(mu[:5], np.zeros((5, 4)))
    with_others = GaussianEmbedding(np.concatenate([mu[:5], 100 + 50 * mu]), np.zeros((65, 4)))
    alone = probe_scores(mu, yes, people, one, share=0.5, seed=3)
    among = probe_scores(mu, yes, people, with_others, share=0.5, seed=3)
    np.testing.assert_allclose(alone, among[:5])
    assert ((alone > 0) == yes[:5]).all()


def test_few_shot_has_ten_percent_and_all_with_random_weights_beside(
    checkpoint: Checkpoint,
    data_folder: Path,
    prompts: tuple,  # type: ignore[type-arg]
) -> None:
    study = run_few_shot(checkpoint, data_folder, prompts, EvaluationOptions(n_resamples=20))
    seeds = {(f.model, f.protocol): f.n_seeds for f in study.results}
    assert seeds == {
        (model, protocol): n
        for model in ("tiny", "random weights")
        for protocol, n in (("zero-shot", 1), ("10 % probe", 3), ("100 % probe", 1))
    }
    probe = next(
        f
        for f in study.results
        if (f.model, f.protocol, f.group, f.metric) == ("tiny", "100 % probe", ALL, "AUROC")
    )
    assert probe.estimate.value == 1.0 and probe.simulated
    assert {f.label for f in study.results} == {"af"}
    assert "Table 2 layout" in study.to_markdown()


def test_fine_tuning_trains_a_copy_of_every_weight_of_the_mean(checkpoint: Checkpoint) -> None:
    settings = FineTuneSettings(epochs=2, batch_size=8, lr=1e-2)
    train, valid = study_set(24, "train"), study_set(12, "valid")
    before = {k: v.clone() for k, v in checkpoint.encoder.ecg.state_dict().items()}
    answer = [np.asarray(part.table["label_af"]) for part in (train, valid)]
    rounds: list[tuple[int, int]] = []
    run = tune(
        checkpoint.encoder.ecg,
        checkpoint.scaler,
        Labelled(train, answer[0]),
        Labelled(valid, ~answer[1]),  # Wrong on purpose: learning makes it worse.
        settings,
        seed=0,
        progress=Progress(lambda _, *done: rounds.append(done)),
    )
    assert rounds == [(1, 2), (2, 2)] and len(run.valid_auroc) == 3
    # The probe was better than anything learnt after it: epoch 0 is kept, and gives its logits.
    assert run.epoch == int(np.argmax(run.valid_auroc))
    for name, value in checkpoint.encoder.ecg.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(p.requires_grad for p in checkpoint.encoder.ecg.parameters())

    right = tune(
        checkpoint.encoder.ecg,
        checkpoint.scaler,
        Labelled(train, answer[0]),
        # One class only: no AUROC to choose by, so the last epoch stays.
        Labelled(valid, np.zeros(12, dtype=bool)),
        settings,
        seed=0,
    )
    assert right.epoch == 2
    tuned = dict(right.encoder.named_parameters())
    stuck = [
        name
        for name, value in checkpoint.encoder.ecg.named_parameters()
        if torch.equal(value, tuned[name]) and not name.startswith("variance_head")
    ]
    assert not stuck
    logits = right.logits(checkpoint.scaler, study_set(12, "test", seed=5))
    assert logits.shape == (12,) and np.isfinite(logits).all()


def test_without_a_step_the_head_is_the_probe(checkpoint: Checkpoint) -> None:
    train = study_set(24, "train")
    yes = np.asarray(train.table["label_af"])
    settings = FineTuneSettings(epochs=1, lr=0.0, head_lr=0.0, weight_decay=0.0)
    valid = Labelled(train, yes)
    run = tune(checkpoint.encoder.ecg, checkpoint.scaler, valid, valid, settings, seed=0)
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, train.signal_mv, train.valid)
    assert run.epoch == 0
    np.testing.assert_allclose(
        run.logits(checkpoint.scaler, train), run.probe.logits(ecg)[0], rtol=1e-3, atol=1e-3
    )


def test_a_set_without_valid_patients_takes_some_of_the_training_ones() -> None:
    data = EvaluationData("toy", "toy", True, {"train": study_set(60, "train")})
    train, valid = training_ecgs(data, "af", FineTuneSettings(n_train=30), seed=1)
    people = [set(part.studies.table["patient_id"]) for part in (train, valid)]
    assert not people[0] & people[1]
    # A fifth of 30 patients, 10 of them with the finding: 2 and 4. Of the other 24, 30 of 48 ECGs.
    assert len(people[1]) == 6 and valid.yes.sum() == 4
    assert len(train.yes) == 30


def test_questions_are_those_with_both_answers(prompts: tuple) -> None:  # type: ignore[type-arg]
    studies = study_set(12, "test")
    assert [item.label for item in questions_of(studies, prompts)] == ["af"]
    with pytest.raises(DataSetError, match=r"no label gout.*it has: af, lbbb"):
        questions_of(studies, prompts, ["gout"])
    with pytest.raises(DataSetError, match="no label slvh"):
        questions_of(studies, prompts, ["slvh"])
    with pytest.raises(DataSetError, match="both answers"):
        questions_of(studies, prompts, ["lbbb"])
    table = studies.table.assign(label_slvh_or_dlv=studies.table["label_af"])
    either = questions_of(StudySet(table, studies.signal_mv, studies.valid), prompts)
    assert [item.label for item in either] == ["slvh_or_dlv", "af"]
    assert "severe lvh on echo" in either[0].positive and "dilated lv cavity" in either[0].positive


def test_a_model_without_a_cohort_needs_a_folder(checkpoint: Checkpoint) -> None:
    with pytest.raises(ConfigError, match="--data"):
        open_data(checkpoint, None, ("test",))


@pytest.mark.parametrize(
    ("command", "further", "heading"),
    [
        ("zero-shot", [], "over all such pairs"),
        ("few-shot", ["--seeds", "2"], "Table 2 layout"),
        ("fine-tune", ["--seeds", "1", "--epochs", "1", "--labels", "af"], "Table 3 layout"),
        ("knn", [], "Nearest neighbours on"),
        ("retrieval", [], "Table 4 layout"),
    ],
)
def test_each_protocol_is_a_command(
    command: str,
    further: list[str],
    heading: str,
    model_folder: Path,
    data_folder: Path,
    tmp_path: Path,
) -> None:
    place = ["--model", str(model_folder), "--data", str(data_folder), "--resamples", "10"]
    target = tmp_path / "out.json"
    arguments = ["evaluate", command, *place, *further, "--json", str(target)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert heading in done.output and "random weights" in done.output
    assert "toy (simulated)" in done.output
    told = json.loads(target.read_text())
    assert told["model"] == "tiny" and all(row["simulated"] for row in told["figures"])


def test_a_folder_that_is_no_prepared_set_ends_in_one_sentence(
    model_folder: Path, tmp_path: Path
) -> None:
    done = CliRunner().invoke(
        app, ["evaluate", "retrieval", "--model", str(model_folder), "--data", str(tmp_path)]
    )
    assert done.exit_code == 2 and "echoing prepare" in done.output


@pytest.mark.slow
def test_the_published_architecture_is_tuned_in_the_same_way(checkpoint: Checkpoint) -> None:
    torch.manual_seed(0)
    encoder = ReleasedEcgEncoder(ReleasedEcgConfig(init_dim=4), dim=12, log_var_bias=-7.0).eval()
    train = study_set(24, "train")
    labelled = Labelled(train, np.asarray(train.table["label_af"]))
    settings = FineTuneSettings(epochs=1, batch_size=8)
    run = tune(encoder, checkpoint.scaler, labelled, labelled, settings, seed=0)
    assert len(run.valid_auroc) == 2 and np.isfinite(run.valid_auroc).all()
    assert run.logits(checkpoint.scaler, train).shape == (24,)
