"""Echo2ECG's run: its loss in closed forms, its views, rates, resuming, and the model folder."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from echoing_core.cli.root import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.errors import CheckpointError, ConfigError, DataSetError
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.models.config import LossConfig
from echoing_core.models.losses import MatchingLoss
from echoing_core.training.augmentation import echo2ecg_view, phase_noise
from echoing_core.training.distributed import World
from echoing_core.training.echo2ecg import (
    StudyTrainer,
    StudyValidation,
    build_study_inputs,
    embed_ecgs_and_studies,
    set_drop_path,
)
from echoing_core.training.run import train
from echoing_core.training.settings import RunConfig, load_preset
from echoing_core.training.study_batches import StudyBatches, pair_with_views
from echoing_core.training.trainer import layer_factors, rate_factor
from tests.tiny_studies import SMALL, WIDTH, clips, studies, write_npz

SET = studies()
CLIPS = clips(SET)


def settings(**changes: object) -> RunConfig:
    return replace(load_preset("echo2ecg", SMALL), **changes)  # type: ignore[arg-type]


def fixed_loss() -> MatchingLoss:
    return MatchingLoss(load_preset("echo2ecg").loss).double()


# --- the loss ---------------------------------------------------------------------------------


def test_the_loss_is_clips_at_a_fixed_temperature() -> None:
    rng = np.random.default_rng(0)
    ecg, study = (rng.standard_normal((9, 5)) for _ in range(2))
    ecg /= np.linalg.norm(ecg, axis=1, keepdims=True)
    study /= np.linalg.norm(study, axis=1, keepdims=True)
    slow = 0.0
    for i in range(9):
        to_study = [math.exp(float(ecg[i] @ study[j]) / 0.5) for j in range(9)]
        to_ecg = [math.exp(float(ecg[j] @ study[i]) / 0.5) for j in range(9)]
        slow -= 0.5 * math.log(to_study[i] / sum(to_study)) / 9
        slow -= 0.5 * math.log(to_ecg[i] / sum(to_ecg)) / 9
    a, b = torch.from_numpy(ecg), torch.from_numpy(study)
    loss = fixed_loss()
    assert abs(float(loss(a, a, b, b, torch.eye(9, dtype=torch.bool)).total) - slow) <= 1e-9
    assert not loss.scale.requires_grad


def test_equal_rows_and_orthogonal_pairs_give_the_known_numbers() -> None:
    loss, n = fixed_loss(), 256
    match = torch.eye(n, dtype=torch.bool)
    same = torch.ones(n, 4, dtype=torch.float64) / 2
    assert float(loss(same, same, same, same, match).total) == pytest.approx(math.log(n), abs=1e-9)
    apart = torch.eye(n, dtype=torch.float64)
    floor = math.log(math.exp(2.0) + n - 1) - 2.0
    value = float(loss(apart, apart, apart, apart, match).total)
    assert value == pytest.approx(floor, abs=1e-9) and value == pytest.approx(3.570, abs=5e-4)


# --- views and rates --------------------------------------------------------------------------


def test_a_view_is_one_segment_and_phase_noise_keeps_every_power() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 1200)).astype(np.float32)
    assert echo2ecg_view(x, 1008, rng).shape == (12, 1008)
    assert echo2ecg_view(x[:, :1000], 1008, rng).shape == (12, 1008)
    turned = phase_noise(x, 0.25, rng)
    assert np.abs(turned - x).max() > 0.1
    power = np.abs(np.fft.rfft(x))
    np.testing.assert_allclose(np.abs(np.fft.rfft(turned)), power, atol=1e-3)
    # All leads by the same phases, so what leads have in common stays.
    np.testing.assert_allclose(turned[0] + turned[1], phase_noise_of(x, rng)[0], atol=2e-4)


def phase_noise_of(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    again = np.random.default_rng(1)
    again.standard_normal((12, 1200))
    echo2ecg_view(x, 1008, again)
    echo2ecg_view(x[:, :1000], 1008, again)
    return phase_noise((x[:1] + x[1:2]).astype(np.float32), 0.25, again)


def test_rates_fall_by_block_and_end_at_a_tenth() -> None:
    config = settings()
    torch.manual_seed(0)
    inputs = build_study_inputs(config, SET, CLIPS)
    named = dict(inputs.encoder.named_parameters())
    factors = layer_factors(inputs.encoder, 0.75)
    by_name = {name: factors[p] for name, p in named.items() if p in factors}
    assert by_name["ecg.tower.ecg_encoder.blocks.1.mlp.fc1.weight"] == 1.0
    assert by_name["ecg.tower.ecg_encoder.blocks.0.mlp.fc1.weight"] == 0.75
    assert by_name["ecg.tower.ecg_encoder.cls_token"] == 0.75
    assert not any(name.startswith("study.") for name in by_name)
    assert rate_factor(0, 50, config.optimiser) == pytest.approx(0.1)
    assert rate_factor(2, 50, config.optimiser) == pytest.approx(1.0)
    assert rate_factor(49, 50, config.optimiser) == pytest.approx(0.1, abs=2e-3)
    # The last block's branches are left out most often, the first's never.
    blocks = inputs.encoder.ecg.tower.ecg_encoder.blocks
    assert [block.drop_path for block in blocks] == [0.0, 0.3]


# --- pairs and batches ------------------------------------------------------------------------


def test_studies_bring_all_their_clips_and_equal_ones_may_match() -> None:
    shared = SET.where(np.arange(len(SET)) < 4)
    table = shared.table.copy()
    table["echo_study_id"] = ["s002", "s002", "nobody", "s001"]
    pairs, used = pair_with_views(replace(shared, table=table), CLIPS)
    assert used.tolist() == [True, True, False, True] and pairs.study.tolist() == [0, 0, 1]
    views, missing = pairs.views([0, 1])
    assert missing.tolist() == [[False] * 3, [False, False, True]]
    # Study s002 is the third, of three clips, after one and two.
    np.testing.assert_array_equal(views[0], CLIPS.vectors[3:6])
    config = settings(batch_size=3)
    assert StudyBatches(pairs, config).at(0).match.tolist() == np.eye(3).astype(bool).tolist()
    free = replace(config, objective=replace(config.objective, identity_match=False))
    assert StudyBatches(pairs, free).at(0).match.shape == (3, 2)
    assert int(StudyBatches(pairs, free).at(0).match.sum()) == 3
    with pytest.raises(DataSetError, match="None of the 4 ECGs"):
        pair_with_views(shared, replace(CLIPS, study_ids=("x",) * len(CLIPS)))
    with pytest.raises(ConfigError, match="There are 3 ECGs"):
        StudyBatches(pairs, settings())


def test_two_processes_draw_the_batch_of_one() -> None:
    pairs, _ = pair_with_views(SET, CLIPS)
    whole = StudyBatches(pairs, settings()).at(3)
    shares = [
        StudyBatches(pairs, settings(), world=World(rank, 2, torch.device("cpu"))).at(3)
        for rank in (0, 1)
    ]
    for name in ("segments", "views", "missing"):
        joined = torch.cat([getattr(share, name) for share in shares])
        assert torch.equal(joined, getattr(whole, name)), name
    assert torch.equal(shares[0].match, whole.match)


@pytest.mark.slow
def test_an_ecg_is_preprocessed_once_and_alike_in_any_batch() -> None:
    """Of a baseline taken away, too, whose equations of several ECGs are solved at once."""
    config = load_preset("echo2ecg", [*SMALL, "model.frozen.gain=group_z", "views.kind=none"])
    pairs, _ = pair_with_views(SET, CLIPS)
    first, second = StudyBatches(pairs, config), StudyBatches(pairs, config)
    for number in range(4):
        first.at(number)
    # Number 4 again in another epoch's order, and by batches that have seen nothing.
    assert torch.equal(first.at(7).segments, second.at(7).segments)
    assert len(first._kept) > len(second._kept) == config.batch_size


# --- runs -------------------------------------------------------------------------------------


def _run(config: RunConfig, folder: Path | None = None, **how: object) -> dict[str, torch.Tensor]:
    inputs = build_study_inputs(config, SET, CLIPS)
    batches = StudyBatches(inputs.train, inputs.config)
    done = train(inputs.encoder, batches, inputs.config, kind=StudyTrainer, run=folder, **how)  # type: ignore[arg-type]
    return done.encoder.state_dict()


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    config = settings()
    whole = _run(config)

    def stop(step: int, _: object) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(config, tmp_path / "run", log=stop)
    resumed = _run(config, tmp_path / "run", resume=True)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())


@pytest.mark.slow
def test_a_run_learns_what_ecg_and_study_share() -> None:
    config = settings(steps=50, views=replace(settings().views, kind="none"), drop_path=0.0)
    inputs = build_study_inputs(config, SET, CLIPS)
    pairs = inputs.train
    figures: list[float] = []
    done = train(
        inputs.encoder,
        StudyBatches(pairs, inputs.config),
        inputs.config,
        kind=StudyTrainer,
        log=lambda _, values: figures.append(values["study"]),
    )
    # From chance for a batch of 8 to well below it.
    assert figures[0] == pytest.approx(math.log(8), abs=0.3)
    assert np.mean(figures[-5:]) < math.log(8) - 0.3
    ecgs, found = embed_ecgs_and_studies(done.encoder, pairs)
    assert ecgs.shape == (24, 4) and found.shape == (24, 4)
    own = (ecgs * found[pairs.study]).sum(1).mean()
    assert own > (ecgs @ found.T).mean() + 0.1
    assert set(StudyValidation(pairs)(done.encoder, 1)) == set(StudyValidation.names)
    with pytest.raises(ConfigError, match="reads 6 numbers a clip and is given 2"):
        embed_ecgs_and_studies(done.encoder, replace(pairs, vectors=pairs.vectors[:, :2]))


def test_drop_path_drops_in_training_alone() -> None:
    inputs = build_study_inputs(settings(), SET, CLIPS)
    set_drop_path(inputs.encoder, 0.5)
    tower, x = inputs.encoder.ecg.tower, torch.randn(16, 12, 120)
    torch.manual_seed(0)
    assert not torch.equal(tower.train()(x), tower(x))
    assert torch.equal(tower.eval()(x), tower(x))


# --- the command ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("echo2ecg")
    save_prepared(folder / "data", SET)
    write_npz(folder / "clips.npz", CLIPS)
    arguments = ["train", "echo2ecg", "--data", str(folder / "data"), "--out", str(folder / "m")]
    arguments += ["--echo", str(folder / "clips.npz"), "--set", "validate_every=2"]
    for change in SMALL:
        arguments += ["--set", change]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return folder / "m"


def test_the_command_writes_a_model_that_opens_and_says_what_it_lacks(model: Path) -> None:
    loaded = load_checkpoint(model)
    assert loaded.encoder.config.study.view_width == WIDTH
    assert loaded.training["echo_studies"] == 24 and loaded.training["echo_clips"] == len(CLIPS)
    assert "24 simulated ECGs" in loaded.card and "No sigma^2" in loaded.card
    assert not loaded.has_text and loaded.sigma2_taught_by == "absent"
    with pytest.raises(CheckpointError, match="no text encoder"):
        loaded.require_text()
    state = load_file(str(model.with_name("m-run") / "steps" / "00000004" / "state.safetensors"))
    saved = loaded.encoder.state_dict()
    assert all(
        torch.equal(value, state[f"modules.encoder.{name}"]) for name, value in saved.items()
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["loss.name=pcmepp"], "infonce alone"),
        (["model.study.view_width=0"], "import-weights"),
        (["model.study.heads=3"], "must divide"),
    ],
)
def test_settings_that_cannot_be(changes: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_preset("echo2ecg", changes)


def test_its_settings_belong_to_it_alone() -> None:
    for change in ("views.kind=echo2ecg", "drop_path=0.1", "optimiser.layer_decay=0.75"):
        with pytest.raises(ConfigError, match="preset echo2ecg"):
            load_preset("demo", [change])
    assert load_preset("demo").loss == LossConfig("csd_infonce", scale_init=10.0)
