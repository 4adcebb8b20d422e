"""A very small run of the training loop on made-up signals; also a script for the test of torchrun.

``python tests/tiny_run.py FOLDER`` makes two steps of each kind and writes loss and gradients;
started by torchrun, as one of several processes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from echoing_core.models.config import (
    BertTextConfig,
    EcgEncoderConfig,
    FrozenEcgConfig,
    LossConfig,
    ModelConfig,
    TextEncoderConfig,
)
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.melp import melp_tokenizer
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.batches import Batches, EchoPairs, Source
from echoing_core.training.distributed import World, joined
from echoing_core.training.echo2ecg import StudyTrainer, build_study_inputs
from echoing_core.training.language import LanguageTrainer, Texts, new_language_model
from echoing_core.training.melp import new_encoder, trainer_of, vocabulary_of
from echoing_core.training.settings import (
    MaskedConfig,
    MelpConfig,
    ObjectiveConfig,
    OptimiserConfig,
    RunConfig,
    ViewConfig,
    load_preset,
)
from echoing_core.training.study_batches import StudyBatches
from echoing_core.training.trainer import Trainer
from echoing_core.uncertainty.absent import UNSCALED

WORDS = ("sinus bradycardia", "sinus rhythm", "sinus tachycardia", "normal ecg", "long pause")
DIM = 8


def texts() -> list[str]:
    """Reports of one to three sentences."""
    return [". ".join(WORDS[i] for i in range(5) if (k >> i) & 1) + "." for k in range(1, 32)]


def source(n: int = 48, name: str = "waves", share: float = 1.0, seed: int = 0) -> Source:
    """Waves with a report each."""
    rng = np.random.default_rng(seed)
    t = np.arange(1000) / 100
    rate = rng.uniform(0.5, 6.0, (n, 1, 1))
    signal = 0.3 * np.sin(2 * np.pi * rate * t + rng.uniform(0, 6, (n, 12, 1)))
    reports = texts()
    return Source(
        name,
        signal.astype(np.float32),
        np.ones(signal.shape, bool),
        lambda row, _: reports[row % len(reports)],
        share,
    )


def echo_pairs(n: int = 20, n_echoes: int = 12) -> EchoPairs:
    """ECGs that share echocardiograms with unit means."""
    ecgs, rng = source(n, seed=1), np.random.default_rng(2)
    mu = rng.standard_normal((n_echoes, DIM)).astype(np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    return EchoPairs(
        ecgs.signal_mv,
        ecgs.valid,
        np.arange(n, dtype=np.int64) % n_echoes,
        mu,
        rng.normal(-5, 1, (n_echoes, DIM)).astype(np.float32),
    )


def config(**changes: object) -> RunConfig:
    """A run that takes seconds."""
    model = ModelConfig(
        dim=DIM,
        ecg=EcgEncoderConfig(
            stem_width=8,
            mid_width=8,
            width=16,
            n_pool_heads=2,
            dropout=0.0,
            variance_width=4,
            variance_hidden=8,
        ),
        text=TextEncoderConfig(
            hidden=16, n_layers=1, n_heads=2, ffn=16, vocab_size=80, max_tokens=24, dropout=0.0
        ),
    )
    settings: dict[str, object] = {
        "seed": 5,
        "steps": 6,
        "batch_size": 8,
        "objective": ObjectiveConfig(text_weight=0.7),
        "optimiser": OptimiserConfig(lr=3e-3, average_decay=0.9),
        "views": ViewConfig(kind="device", corrupt_share=0.5, lead_subset_share=0.3),
        "model": model,
    }
    return RunConfig(**{**settings, **changes})  # type: ignore[arg-type]


def with_dropout(settings: RunConfig, share: float) -> RunConfig:
    """The same run with dropout in both encoders."""
    model = settings.model
    return replace(
        settings,
        model=replace(
            model,
            ecg=replace(model.ecg, dropout=share),
            text=replace(model.text, dropout=share),
        ),
    )


def trainer(
    settings: RunConfig,
    *,
    echo: EchoPairs | None = None,
    world: World | None = None,
    dtype: torch.dtype = torch.float32,
) -> Trainer:
    """A trainer whose first weights depend on nothing but the seed."""
    torch.manual_seed(settings.seed)
    batches = Batches(
        [source(48, share=0.6), source(40, "others", 0.4, seed=3)],
        LeadScaler(np.zeros(12), np.full(12, 0.3)),
        train_tokenizer(texts() * 2, 80, 24),
        settings,
        echo=echo,
        world=world,
    )
    return Trainer(DualEncoder(settings.model).to(dtype), batches, settings, world=world)


def melp_config(kind: str, **changes: object) -> RunConfig:
    """A run of MELP's first stage (``"masked"``) or of its second (``"melp"``)."""
    frozen = FrozenEcgConfig(
        layers=1,
        width=16,
        heads=2,
        ffn=16,
        stem_width=8,
        beats=0 if kind == "masked" else 3,
        beat_width=8,
        input_hz=100,
        segment=500 if kind == "masked" else 1000,
        gain="min_max",
    )
    model = ModelConfig(
        architecture="frozen" if kind == "masked" else "melp",
        dim=frozen.dim,
        frozen=frozen,
        released_text=BertTextConfig(16, 1, 2, 16, 80, 24, 24, 0.2),
    )
    settings: dict[str, object] = {
        "seed": 5,
        "steps": 5,
        "batch_size": 8,
        "optimiser": OptimiserConfig(lr=3e-3, clip_norm=0.0),
        "views": ViewConfig(kind="leads"),
        "loss": LossConfig("infonce", scale_init=5.0),
        "masked": MaskedConfig(others=5, dropout=0.2, penalty_weight=10.0),
        "melp": MelpConfig(decoder_layers=1, dropout=0.2),
        "model": model,
    }
    return RunConfig(**{**settings, **changes})  # type: ignore[arg-type]


def melp_batches(settings: RunConfig, world: World | None = None) -> Batches:
    """Of the same waves; every patient has three ECGs."""
    reports = texts()
    tokenizer = melp_tokenizer(train_tokenizer(reports * 2, 72, 24))
    waves = replace(source(48), patients=np.arange(48) // 3)
    return Batches([waves], UNSCALED, tokenizer, settings, world=world)


def melp_trainer(
    settings: RunConfig, *, world: World | None = None, dtype: torch.dtype = torch.float32
) -> Trainer:
    """As `trainer`, of one of MELP's stages."""
    torch.manual_seed(settings.seed)
    batches = melp_batches(settings, world)
    text = replace(
        settings.model.released_text,
        vocab_size=batches.tokenizer.tokenizer.get_vocab_size(),
    )
    settings = replace(settings, model=replace(settings.model, released_text=text))
    encoder = new_encoder(settings).to(dtype)
    return trainer_of(settings)(encoder, batches, settings, world=world)


def language_trainer(
    *, world: World | None = None, dtype: torch.dtype = torch.float32, **changes: object
) -> LanguageTrainer:
    """As `trainer`, of MELP's language model."""
    settings = melp_config("melp", **changes)
    tokenizer, settings = vocabulary_of(settings, texts() * 2, None)
    sizes = settings.model.released_text
    model = new_language_model(sizes, None, seed=settings.seed).to(dtype)
    batches = Texts(texts(), tokenizer, settings.batch_size, settings.seed)
    return LanguageTrainer(model, batches, settings, world=world)


def some_steps(folder: Path) -> None:
    """Make two steps of each mode, alone or as one of several processes, and write what came."""
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    with joined() as world:
        for mode, loss in (("joint", "pcmepp"), ("alternate", "csd_infonce")):
            _steps_of(_both_kinds(mode, loss, world), world, folder / f"{mode}.safetensors")
        for kind in ("masked", "melp"):
            run = melp_trainer(melp_config(kind), world=world, dtype=torch.float64)
            _steps_of(run, world, folder / f"{kind}.safetensors")
        _steps_of(study_trainer(world), world, folder / "echo2ecg.safetensors")
        words = language_trainer(world=world, dtype=torch.float64)
        _steps_of(words, world, folder / "words.safetensors")


def study_trainer(world: World) -> StudyTrainer:
    """As `trainer`, of Echo2ECG, with what it drops in training."""
    from tests import tiny_studies

    torch.manual_seed(5)
    given = tiny_studies.studies()
    settings = load_preset("echo2ecg", [*tiny_studies.SMALL, "precision=float64"])
    inputs = build_study_inputs(settings, given, tiny_studies.clips(given))
    batches = StudyBatches(inputs.train, inputs.config, world=world)
    return StudyTrainer(inputs.encoder, batches, inputs.config, world=world)


def _both_kinds(mode: str, loss: str, world: World) -> Trainer:
    settings = with_dropout(
        config(
            objective=ObjectiveConfig(text_weight=0.7, mode=mode),
            loss=LossConfig(loss, scale_init=3.0, shift_init=3.0),
            optimiser=OptimiserConfig(lr=3e-3, clip_norm=0.0),
        ),
        0.3,
    )
    return trainer(settings, echo=echo_pairs(), world=world, dtype=torch.float64)


def _steps_of(run: Trainer, world: World, out: Path) -> None:
    from safetensors.torch import save_file

    values = {}
    for number in range(2):
        values = run.step([run.batches.at(number)])
    tensors = {f"grad.{k}": p.grad for k, p in run.modules.named_parameters() if p.grad is not None}
    tensors |= {f"after.{k}": v for k, v in run.modules.state_dict().items()}
    tensors["loss"] = torch.tensor(values["loss"], dtype=torch.float64)
    if world.is_first:
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, str(out))


if __name__ == "__main__":
    some_steps(Path(sys.argv[1]))
