"""The echo teacher: open_clip models opened from folders and files, frames to Gaussians."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echoing_core.echo import stand_in
from echoing_core.echo import teacher as teacher_module
from echoing_core.echo.reading_scale import N_ALIKE
from echoing_core.echo.simulated import FrameBank, simulated_echo_embeddings, spread_patients
from echoing_core.echo.stand_in import StandInConfig, train_stand_in, train_teacher
from echoing_core.echo.store import FrameChoice, embed_study
from echoing_core.echo.teacher import (
    CARD_FILE,
    CONFIG_FILE,
    MEAN,
    STD,
    WEIGHTS_FILE,
    EchoTeacher,
    echo_gaussian,
    load_teacher,
    new_stand_in,
    prepare_frames,
    resized_by_area,
    save_teacher,
    stand_in_config,
)
from echoing_core.errors import CheckpointError, ConfigError, RecordError
from echoing_core.models.hugging_face import declare_missing_operators
from echoing_core.progress import Progress
from echoing_core.records import EchoStudy
from echoing_core.simulate.echo.clips import study_clips
from echoing_core.simulate.heart.patients import patient_state

TINY: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 2, "head_width": 16, "image_size": 32},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
CARD = {"name": "tiny, simulated", "simulated": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("teacher") / "tiny"
    save_teacher(place, new_stand_in(0, TINY), TINY, CARD)
    return place


@pytest.fixture(scope="module")
def teacher(folder: Path) -> EchoTeacher:
    return load_teacher(folder)


def frames_of(n: int, size: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, *size, 3), dtype=np.uint8)


def unit_frames(n: int, dim: int = 32) -> np.ndarray:
    vectors = np.random.default_rng(2).normal(size=(n, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# The Gaussian of a video


def test_variances_add_up_to_what_the_mean_lost() -> None:
    frames = unit_frames(11)
    mean, log_var = echo_gaussian(frames)
    lost = 1.0 - np.linalg.norm(frames.mean(axis=0)) ** 2
    assert (np.exp(log_var.astype(np.float64)) - 1e-8).sum() == pytest.approx(lost, abs=1e-6)
    assert np.linalg.norm(mean) == pytest.approx(1.0, abs=1e-6)
    assert mean.dtype == log_var.dtype == np.float32


def test_frames_that_do_not_move_have_the_least_variance() -> None:
    _, log_var = echo_gaussian(np.repeat(unit_frames(1), 5, axis=0))
    np.testing.assert_allclose(log_var, np.log(1e-8), atol=1e-4)


def test_opposite_frames_keep_a_mean_of_zero() -> None:
    mean, _ = echo_gaussian([[1.0, 0.0], [-1.0, 0.0]])
    assert (mean == 0).all()


@pytest.mark.parametrize("n", [0, 1])
def test_less_than_two_frames_are_refused(n: int) -> None:
    with pytest.raises(RecordError, match="at least 2"):
        echo_gaussian(unit_frames(2)[:n])


def test_vectors_of_another_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="unit"):
        echo_gaussian(2.0 * unit_frames(3))


# Preparation


def test_shrinking_is_the_mean_over_each_area() -> None:
    pixels = torch.rand(2, 3, 12, 20)
    blocks = pixels.unflatten(2, (4, 3)).unflatten(4, (5, 4)).mean(dim=(3, 5))
    torch.testing.assert_close(resized_by_area(pixels, (4, 5)), blocks)


def test_shrinking_by_no_whole_factor_is_the_mean_of_finer_pixels() -> None:
    grey = frames_of(1, (47, 61))[0, :, :, 0].astype(np.float64)
    ours = resized_by_area(torch.from_numpy(grey).float(), (32, 40)).numpy()
    fine = np.repeat(np.repeat(grey, 32, axis=0), 40, axis=1)
    np.testing.assert_allclose(ours, fine.reshape(32, 47, 40, 61).mean(axis=(1, 3)), atol=1e-3)


def test_same_size_is_untouched_and_enlarging_keeps_a_ramp() -> None:
    pixels = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(resized_by_area(pixels, (9, 9)), pixels)
    ramp = torch.arange(4.0).repeat(4, 1)
    wide = resized_by_area(ramp, (4, 8))[0]
    torch.testing.assert_close(wide[1:-1], torch.arange(6) * 0.5 + 0.25)


def test_prepared_frames_are_clips_normalised_rgb() -> None:
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    prepared = prepare_frames(torch.from_numpy(red), (8, 8), MEAN, STD)[0, :, 0, 0].numpy()
    np.testing.assert_allclose(prepared, (np.array([1.0, 0, 0]) - MEAN) / np.array(STD), rtol=1e-5)


# A loaded teacher


def test_frames_and_texts_become_unit_vectors(teacher: EchoTeacher) -> None:
    calls: list[tuple[int, int]] = []
    vectors = teacher.embed_frames(
        frames_of(7), batch_size=3, progress=Progress(lambda _, *done: calls.append(done))
    )
    texts = teacher.embed_text(["LV EJECTION FRACTION IS 45%. ", "normal"])
    assert vectors.shape == (7, teacher.dim) == (7, 16)
    assert texts.shape == (2, 16)
    assert vectors.dtype == texts.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.vstack([vectors, texts]), axis=1), 1.0, rtol=1e-5)
    assert calls == [(3, 7), (6, 7), (7, 7)]
    assert teacher.embed_text([]).shape == (0, 16)


def test_batches_and_repetition_change_nothing(teacher: EchoTeacher) -> None:
    frames = frames_of(5)
    whole = teacher.embed_frames(frames)
    np.testing.assert_allclose(teacher.embed_frames(frames, batch_size=2), whole, atol=1e-5)
    np.testing.assert_array_equal(teacher.embed_frames(frames), whole)


def test_a_teacher_is_frozen_and_says_what_it_is(teacher: EchoTeacher, folder: Path) -> None:
    assert not teacher.model.training
    assert not any(p.requires_grad for p in teacher.model.parameters())
    assert (teacher.name, teacher.simulated) == ("tiny, simulated", True)
    assert teacher.image_size == (32, 32)
    assert teacher.mean == pytest.approx(MEAN)
    assert load_teacher(folder).hash == teacher.hash


def test_other_weights_have_another_hash(tmp_path: Path, teacher: EchoTeacher) -> None:
    save_teacher(tmp_path / "other", new_stand_in(1, TINY), TINY, CARD)
    assert load_teacher(tmp_path / "other").hash != teacher.hash


def test_what_are_no_frames_is_a_mistake(teacher: EchoTeacher) -> None:
    with pytest.raises(ValueError, match="uint8"):
        teacher.embed_frames(np.zeros((2, 8, 8), np.uint8))


def test_a_small_convnext_opens_from_its_folder(tmp_path: Path) -> None:
    """ECHO-CLIP's kind of tower, timm's ConvNeXt, written the way open_clip's hub folders are."""
    from safetensors.torch import save_file

    declare_missing_operators()
    import open_clip

    config: dict[str, Any] = {
        "embed_dim": 8,
        "vision_cfg": {
            "timm_model_name": "convnext_atto",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "timm_drop": 0.0,
            "timm_drop_path": 0.1,
            "image_size": 32,
        },
        "text_cfg": {**TINY["text_cfg"]},
    }
    model = open_clip.CLIP(**config)
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model_cfg": config}))
    teacher = load_teacher(tmp_path)
    assert (teacher.dim, teacher.simulated, teacher.image_size) == (8, False, (32, 32))
    assert teacher.mean == pytest.approx(MEAN)
    vectors = teacher.embed_frames(frames_of(2))
    pixels = prepare_frames(torch.from_numpy(frames_of(2)), (32, 32), MEAN, STD)
    with torch.inference_mode():
        direct = model.eval().encode_image(pixels, normalize=True).numpy()
    np.testing.assert_allclose(vectors, direct, atol=1e-5)


@pytest.mark.slow
def test_a_file_of_the_real_size_opens_by_its_architecture(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    declare_missing_operators()
    import open_clip

    # Once for both kinds of file: it has 150 million weights.
    state = open_clip.create_model("convnext_base").state_dict()
    for suffix in (".safetensors", ".pt"):
        path = tmp_path / f"echo_clip{suffix}"
        if suffix == ".pt":
            torch.save(state, path)
        else:
            save_file(state, path)
        teacher = load_teacher(path)
        path.unlink()
        assert (teacher.dim, teacher.image_size) == (512, (224, 224))
        assert teacher.embed_frames(frames_of(2)).shape == (2, 512)


# What cannot be opened


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no echo teacher"):
        load_teacher(tmp_path / "absent")


def test_a_folder_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=CONFIG_FILE):
        load_teacher(tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model_cfg": TINY}))
    with pytest.raises(CheckpointError, match="no weights"):
        load_teacher(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_cfg": {}}', '{"model_cfg": 3}'])
def test_a_broken_configuration(tmp_path: Path, content: str) -> None:
    (tmp_path / CONFIG_FILE).write_text(content)
    with pytest.raises(CheckpointError):
        load_teacher(tmp_path)


def test_parts_that_would_come_from_the_hub_are_refused(tmp_path: Path) -> None:
    config = {**TINY, "text_cfg": {"hf_model_name": "someone/model"}}
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(CheckpointError, match="hf_model_name"):
        load_teacher(tmp_path)


def test_weights_of_another_model(tmp_path: Path, folder: Path) -> None:
    other = {**TINY, "embed_dim": 24}
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"model_cfg": other}))
    (tmp_path / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_teacher(tmp_path)


def test_a_truncated_file_of_weights(tmp_path: Path, folder: Path) -> None:
    (tmp_path / CONFIG_FILE).write_bytes((folder / CONFIG_FILE).read_bytes())
    (tmp_path / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_teacher(tmp_path)


def test_a_file_with_code_in_it_runs_nothing(tmp_path: Path) -> None:
    """A pickle that would make a folder: open_clip reads with weights_only."""
    made = tmp_path / "made"
    path = tmp_path / "weights.pt"
    torch.save(_Payload(made), path)
    with pytest.raises(CheckpointError, match="cannot be used"):
        load_teacher(path, architecture="RN50")
    assert not made.exists()


class _Payload:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.mkdir, (self.folder,)


def test_an_unknown_architecture_and_an_unknown_kind_of_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"x")
    with pytest.raises(CheckpointError, match="knows no model"):
        load_teacher(path, architecture="nonesuch")
    (tmp_path / "weights.txt").write_text("x")
    with pytest.raises(CheckpointError, match="not a file of weights"):
        load_teacher(tmp_path / "weights.txt")


def test_the_hub_without_network_says_what_to_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"huggingface.co/mkaichristensen/echo-clip into"):
        load_teacher("hf-hub:mkaichristensen/echo-clip")


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(CheckpointError, match="already holds"):
        save_teacher(tmp_path, new_stand_in(0, TINY), TINY, CARD)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_teacher_of_ours_is_replaced_whole(tmp_path: Path) -> None:
    for seed in (0, 1):
        save_teacher(tmp_path / "t", new_stand_in(seed, TINY), TINY, CARD)
    assert sorted(p.name for p in (tmp_path / "t").iterdir()) == sorted(
        [CARD_FILE, CONFIG_FILE, WEIGHTS_FILE]
    )


# Training


@pytest.fixture
def tiny_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe with a model that takes seconds; tests marked slow train the real one."""
    for module in (stand_in, teacher_module):
        monkeypatch.setattr(module, "stand_in_config", lambda: TINY)


def check_training(size: int) -> None:
    rng = np.random.default_rng(5)
    states = tuple(patient_state(9, p) for p in range(8))
    # The size of a bright square stands for the heart.
    frames = rng.integers(0, 30, (8, 3, size, size), dtype=np.uint8)
    for i, state in enumerate(states):
        side = round(state.lvef_pct / 80 * size)
        frames[i, :, :side, :side] += 180
    bank = FrameBank(frames, states)
    config = StandInConfig(
        steps=6, batch_size=8, frames_per_study=2, warmup_steps=2, text_steps=3, text_batch_size=8
    )
    runs = []
    for _ in range(2):
        losses: list[float] = []
        model = train_stand_in(bank, config, log=lambda _, loss, kept=losses: kept.append(loss))
        runs.append((losses, model.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, runs[1][1][k]) for k, a in runs[0][1].items())
    assert len(runs[0][0]) == 9
    assert runs[0][0][5] < runs[0][0][0]
    assert not model.training


@pytest.mark.usefixtures("tiny_stand_in")
def test_training_lowers_the_loss_and_repeats() -> None:
    check_training(TINY["vision_cfg"]["image_size"])


@pytest.mark.slow
def test_training_of_the_real_stand_in_lowers_the_loss_and_repeats() -> None:
    check_training(stand_in_config()["vision_cfg"]["image_size"])


def test_a_small_training_has_nothing_large_beside_it() -> None:
    usual = StandInConfig()
    assert StandInConfig.sized() == usual
    # As the shipped stand-in was trained: fewer steps of both towers, all of the texts'.
    assert StandInConfig.sized(steps=200) == replace(usual, steps=200)
    small = StandInConfig.sized(steps=5, n_studies=16, seed=3)
    assert (small.steps, small.n_studies, small.seed) == (5, 16, 3)
    # A scale of what it reads of others needs 40 known hearts.
    assert (small.text_steps, small.n_held_out) == (5, N_ALIKE)
    assert StandInConfig.sized(n_studies=100).n_held_out == 100


def test_frames_without_states_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="states"):
        FrameBank(np.zeros((2, 1, 8, 8), np.uint8), (patient_state(1, 1),))


# The recipe


def check_recipe(folder: Path) -> None:
    config = StandInConfig(
        n_studies=10,
        n_held_out=10,
        n_frames=2,
        steps=2,
        batch_size=5,
        frames_per_study=2,
        text_steps=2,
    )
    stages: set[str] = set()
    measured = train_teacher(
        folder, config, n_workers=1, progress=Progress(lambda stage, *_: stages.add(stage))
    )
    card = json.loads((folder / CARD_FILE).read_text())
    assert card["simulated"] is True
    assert "simulated" in card["name"]
    assert card["training"]["steps"] == 2
    assert all(r.simulated for r in measured.results)
    content = measured.to_dict()
    assert (content["n_studies"], content["n_frames"]) == (10, 6)
    assert len(card["held_out"]) == len(measured.results) > 10
    assert len(stages) == 3
    teacher = load_teacher(folder)
    assert teacher.name == card["name"]
    assert teacher.simulated


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_stand_in")
def test_the_recipe_writes_a_stand_in_that_says_so(tmp_path: Path) -> None:
    check_recipe(tmp_path / "t")


@pytest.mark.slow
def test_the_recipe_of_the_real_stand_in(tmp_path: Path) -> None:
    check_recipe(tmp_path / "t")


def test_simulated_embeddings_are_those_of_the_clips(folder: Path) -> None:
    teacher = load_teacher(folder)
    names = ["sim-5-000001-s1", "sim-5-000002-0"]
    made = simulated_echo_embeddings(teacher, names, n_frames=3, n_workers=1)
    assert made.study_ids == tuple(names)
    assert made.n_frames.tolist() == [9, 9]
    assert (made.teacher, made.teacher_hash) == (teacher.name, teacher.hash)
    assert made.simulated
    study = EchoStudy("x", study_clips(5, 1, 1, n_frames=3))
    mu, log_var, _ = embed_study(teacher, study, choice=FrameChoice(1, 3))
    # Drawn frames are kept in whole grey levels at the model's size.
    assert float(made.mu[0] @ mu) > 0.999
    assert np.abs(made.log_var[0] - log_var).mean() < 0.5
    numbers = simulated_echo_embeddings(teacher, [(5, 1, 1)], n_frames=3, n_workers=1)
    assert numbers.study_ids == ("sim-5-000001-s1",)
    np.testing.assert_array_equal(numbers.mu[0], made.mu[0])


def test_simulated_frames_are_grey_and_workers_change_nothing(folder: Path) -> None:
    clip = study_clips(5, 1, n_frames=2)[0]
    assert (clip.frames == clip.frames[..., :1]).all()
    with pytest.raises(ConfigError, match="workers"):
        simulated_echo_embeddings(load_teacher(folder), [(5, 1, 0)], n_workers=0)


def test_what_is_no_simulated_study_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not the name"):
        simulated_echo_embeddings(load_teacher(folder), ["study-17"])


def test_teaching_patients_have_their_ejection_fractions_spread() -> None:
    chosen = spread_patients(4, 60, 600)
    assert chosen == spread_patients(4, 60, 600) == sorted(set(chosen))
    of_all = [patient_state(4, p).lvef_pct for p in range(600)]
    of_chosen = [patient_state(4, p).lvef_pct for p in chosen]
    assert np.mean(np.array(of_chosen) < 40) > 1.5 * np.mean(np.array(of_all) < 40)
    assert spread_patients(4, 5, 5) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="out of"):
        spread_patients(4, 6, 5)
