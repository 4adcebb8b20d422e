"""Train the demo model: simulated cohort, and real ECGs of PTB-XL where a folder is given."""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoing_core.config import to_mapping
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.checkpoint import Checkpoint, save_checkpoint
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.tokenizer import ReportTokenizer, train_tokenizer
from echoing_core.progress import SILENT, Progress
from echoing_core.reports.scp_text import report_from_scp
from echoing_core.signals import standardise
from echoing_core.signals.scaling import LeadScaler
from echoing_core.simulate import simulate_study
from echoing_core.training.batches import Batches
from echoing_core.training.run import flushed_denormals, train
from echoing_core.training.sampling import ReportSource, Sampler, Source
from echoing_core.training.settings import (
    DEMO_TRAINING,
    OptimiserConfig,
    RunConfig,
    TrainingConfig,
    ViewConfig,
)
from echoing_core.training.variance_stage import train_variance
from echoing_core.uncertainty.reference import Reference

logger = logging.getLogger(__name__)


PTBXL_TRAIN_FOLDS = (1, 2, 3, 4, 5, 6, 7, 8)
PTBXL_TEST_FOLDS = (9,)
_WORDINGS_FOR_VOCABULARY = 12
_SAVE_EVERY = 100
_CALIBRATION_SEED = 70_001
_CALIBRATION_PATIENTS = 600


@dataclass(frozen=True, eq=False)
class DemoData:
    """What the demo model learns from.

    Attributes
    ----------
    simulated : StudySet
        The whole cohort with its patient-level split.
    real : StudySet or None
        PTB-XL folds 1-8.
    """

    simulated: StudySet
    real: StudySet | None


def load_demo_data(
    cohort: CohortConfig,
    ptbxl: Path | None,
    *,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> DemoData:
    """Simulate the cohort and read PTB-XL's training folds."""
    simulated = build_simulated(
        cohort.n_patients,
        cohort.seed,
        n_workers=n_workers,
        progress=progress.stage("simulate"),
    )
    real = None
    if ptbxl is not None:
        real = load_ptbxl(ptbxl, folds=PTBXL_TRAIN_FOLDS, progress=progress.stage("read PTB-XL"))
    return DemoData(simulated, real)


@flushed_denormals()
def train_demo(
    out: Path,
    data: DemoData,
    *,
    config: TrainingConfig | None = None,
    cohort: CohortConfig | None = None,
    space: Checkpoint | None = None,
    log_path: Path | None = None,
    run: Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Train on ``data`` and write the model folder ``out``; returns the model's hash.

    With ``space`` the first stage is left out: means, scaler and vocabulary are those of that
    model, which must have been trained on the same data, and only sigma^2 is learnt anew.

    With ``run`` the first stage saves its state there every 100 steps, and with ``resume`` goes on
    from the newest.

    The run is determined by ``config.seed`` and the data on one machine with one number of
    threads; floating-point sums differ between machines.
    """
    config = config or DEMO_TRAINING
    cohort = cohort or CohortConfig()
    if space is not None:
        _check_same_data(space, cohort, data)
    torch.manual_seed(config.seed)
    started = time.monotonic()

    train_set = data.simulated.where((data.simulated.table["split"] == "train").to_numpy())
    real_share = config.real_share if data.real is not None else 0.0
    sources = [
        Source(
            "simulated",
            train_set.signal_mv,
            train_set.valid,
            _worded_findings(train_set),
            1 - real_share,
        )
    ]
    if data.real is not None:
        sources.append(
            Source(
                "PTB-XL", data.real.signal_mv, data.real.valid, _worded_scp(data.real), real_share
            )
        )
    log = _JsonLines(log_path)
    if space is None:
        scaler = fit_scaler(train_set, data.real)
        tokenizer, model_config = _vocabulary(train_set, data.real, config)
        config = dataclasses.replace(config, model=model_config)
        settings = first_stage(config)
        trained = train(
            DualEncoder(config.model),
            Batches(sources, scaler, tokenizer, settings),
            settings,
            run=run,
            resume=resume,
            log=log.stage("space"),
            progress=progress.stage("train the space"),
        )
        encoder, scale, shift = trained.encoder, trained.scale, trained.shift
        logit_scale = scale * (1.0 if config.loss.name == "infonce" else 2.0)
    else:
        if not isinstance(space.encoder, DualEncoder):
            raise CheckpointError(
                f"sigma^2 cannot be learnt anew for model {space.name}: it is not of the compact "
                "architecture. Name another with --space."
            )
        scaler, tokenizer, encoder = space.scaler, space.tokenizer, space.encoder
        config = dataclasses.replace(config, model=encoder.config)
        scale, shift = space.training["learnt_scale"], space.training["learnt_shift"]
        logit_scale = space.logit_scale
    # The second stage draws from generators of its own: it is the same with a space just
    # trained and with one read from a folder.
    torch.manual_seed(config.seed + 1)
    encoder.renew_variance()
    train_variance(
        encoder,
        Sampler(
            [_without_simulated_noise(sources[0], train_set), *sources[1:]],
            scaler,
            tokenizer,
            np.random.default_rng(config.seed + 1),
        ),
        config,
        progress=progress.stage("train the variance"),
        log=log.stage("variance"),
    )
    sigma2_scale = calibrate(encoder, scaler)
    reference = reference_cohort(encoder, scaler, data)
    minutes = (time.monotonic() - started) / 60
    training = {
        "simulated_ecgs": len(train_set.table),
        "simulated_patients": int(train_set.table["patient_id"].nunique()),
        "real_ecgs": 0 if data.real is None else len(data.real.table),
        "real_patients": 0 if data.real is None else int(data.real.table["patient_id"].nunique()),
        "real_source": None if data.real is None else "PTB-XL folds 1-8",
        "cohort": to_mapping(cohort),
        "config": to_mapping(config),
        "learnt_scale": scale,
        "learnt_shift": shift,
        "space_from": None if space is None else space.hash,
        "sigma2_scale": sigma2_scale,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "minutes": round(minutes, 1),
        "ecg_parameters": sum(p.numel() for p in encoder.ecg.parameters()),
        "text_parameters": sum(p.numel() for p in encoder.text.parameters()),
    }
    return save_checkpoint(
        out,
        encoder=encoder,
        tokenizer=tokenizer,
        scaler=scaler,
        logit_scale=logit_scale,
        reference=reference.to_dict(),
        training=training,
        card="The card is written by the evaluation that follows training.\n",
    )


def first_stage(config: TrainingConfig) -> RunConfig:
    """The demo's settings of the first stage, as `training.run` wants them."""
    return RunConfig(
        preset="demo",
        seed=config.seed,
        steps=config.steps,
        batch_size=config.batch_size,
        precision="float32",
        save_every=_SAVE_EVERY,
        optimiser=OptimiserConfig(
            lr=config.lr,
            weight_decay=config.weight_decay,
            warmup_share=config.warmup_steps / config.steps,
            warmup_start=1.0 / max(1, config.warmup_steps),
            clip_norm=config.clip_norm,
            average_decay=config.ema_decay,
        ),
        views=ViewConfig(
            kind="device",
            corrupt_share=config.corrupt_share,
            lead_subset_share=config.lead_subset_share,
            partial_report_share=config.partial_report_share,
        ),
        loss=config.loss,
        model=config.model,
    )


def _check_same_data(space: Checkpoint, cohort: CohortConfig, data: DemoData) -> None:
    """A space from other data may have seen this cohort's test patients."""
    seen = (space.training.get("cohort"), bool(space.training.get("real_ecgs")))
    if seen != (to_mapping(cohort), data.real is not None):
        raise ConfigError(
            f"Model {space.name} was trained on other data: cohort {seen[0]}, PTB-XL {seen[1]}. "
            "Give the same --patients and --ptbxl as then, or leave out --space."
        )


def fit_scaler(simulated: StudySet, real: StudySet | None) -> LeadScaler:
    """Mean and scale per lead over the training ECGs, real ones where there are any."""
    source = simulated if real is None else real
    return LeadScaler.fit(source.signal_mv, source.valid)


def calibrate(encoder: DualEncoder, scaler: LeadScaler) -> float:
    """Scale sigma^2 so that its mean is right where the model is used; returns the factor.

    Training draws many faults, and asks for the worst lead's reading, too. For answers and
    distances, sigma^2 should be the squared error of the mean of all leads on ECGs as they are
    recorded. So it is scaled by mean error over mean sigma^2 on simulated ECGs of patients of
    another cohort, noisy ones and clean ones as the simulator draws them, whose noiseless twins
    are known. No order changes, no part of sigma^2 moves from one lead to another.
    """
    seen, truth = [], []
    for patient in range(_CALIBRATION_PATIENTS):
        study = simulate_study(_CALIBRATION_SEED, patient)
        noiseless = dataclasses.replace(study.recording_12, signal_mv=study.clean_12)
        seen.append(standardise(study.recording_12).signal_mv)
        truth.append(standardise(noiseless).signal_mv)
    valid = np.ones((len(seen), *seen[0].shape), dtype=np.bool_)
    embedding = encode_batch(encoder.ecg, scaler, np.stack(seen), valid)
    clean = encode_batch(encoder.ecg, scaler, np.stack(truth), valid)
    error = np.square(embedding.mu.astype(np.float64) - clean.mu).sum(axis=1)
    factor = float(error.mean() / embedding.uncertainty.mean())
    encoder.ecg.variance_head.scale.mul_(factor)
    return factor


def reference_cohort(encoder: DualEncoder, scaler: LeadScaler, data: DemoData) -> Reference:
    """sigma^2 of held-out simulated ECGs with everyday noise, and of the real training ECGs.

    The real ECGs enter as recorded. They were seen in training, but never as targets of any
    quality, and the variance head is far too small to know them one by one.
    """
    held_out = data.simulated.where((data.simulated.table["split"] == "valid").to_numpy())
    parts = [encode_batch(encoder.ecg, scaler, held_out.signal_mv, held_out.valid).uncertainty]
    name = f"{len(held_out.table)} simulated ECGs of held-out patients, everyday noise"
    if data.real is not None:
        real = encode_batch(encoder.ecg, scaler, data.real.signal_mv, data.real.valid)
        parts.append(real.uncertainty)
        name += f"; {len(data.real.table)} ECGs of PTB-XL folds 1-8 as recorded"
    return Reference.from_values(np.concatenate(parts), name=name)


def _vocabulary(
    train: StudySet, real: StudySet | None, config: TrainingConfig
) -> tuple[ReportTokenizer, Any]:
    rng = np.random.default_rng(config.seed)
    texts = [str(text) for text in train.table["report"]]
    if real is not None:
        source = _worded_scp(real)
        for row in range(len(real.table)):
            texts.extend(source(row, rng) for _ in range(_WORDINGS_FOR_VOCABULARY))
    text_config = config.model.text
    tokenizer = train_tokenizer(texts, text_config.vocab_size, text_config.max_tokens)
    # A small corpus may not fill the vocabulary that was asked for.
    fitted = dataclasses.replace(text_config, vocab_size=tokenizer.tokenizer.get_vocab_size())
    return tokenizer, dataclasses.replace(config.model, text=fitted)


def _worded_findings(study_set: StudySet) -> ReportSource:
    reports = [str(text) for text in study_set.table["report"]]

    def report(row: int, rng: np.random.Generator) -> str:
        return reports[row]

    return report


def _worded_scp(study_set: StudySet) -> ReportSource:
    codes = study_set.table["scp_codes"].tolist()
    axes = study_set.table["heart_axis"].tolist()

    def report(row: int, rng: np.random.Generator) -> str:
        style = "machine" if rng.random() < 0.5 else "free"
        return report_from_scp(codes[row], axes[row], rng, style=style)

    return report


def _without_simulated_noise(source: Source, study_set: StudySet) -> Source:
    """The studies that were simulated without noise, which the simulator knows.

    Real ECGs stay as they are, noisy ones included: what is known of their quality are grades
    by people, and these never enter training.
    """
    clean = (study_set.table["quality"] == "clean").to_numpy()
    return dataclasses.replace(source, signal_mv=source.signal_mv[clean], valid=source.valid[clean])


class _JsonLines:
    """Training metrics, one JSON object a line."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("", encoding="utf-8")

    def stage(self, name: str) -> Callable[[int, Mapping[str, float]], None] | None:
        path = self.path
        if path is None:
            return None

        def log(step: int, values: Mapping[str, float]) -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stage": name, "step": step, **values}) + "\n")

        return log
