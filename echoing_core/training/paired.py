"""One run from a preset: data, vocabulary, both encoders, validation, and the model folder."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from echoing_core.config import to_mapping
from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.checkpoint import Checkpoint, save_checkpoint
from echoing_core.models.encoders import build_encoder
from echoing_core.models.tokenizer import ReportTokenizer, train_tokenizer
from echoing_core.progress import SILENT, Progress
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.batches import Batches, EchoPairs
from echoing_core.training.distributed import World
from echoing_core.training.run import TrainedPair, Validate, train
from echoing_core.training.sampling import Sampler, Source
from echoing_core.training.settings import RunConfig, TrainingConfig
from echoing_core.training.text_cache import TextStates
from echoing_core.training.variance_stage import train_variance
from echoing_core.uncertainty.reference import Reference

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What a run needs beside its settings.

    Attributes
    ----------
    train, valid : StudySet
    echo : EchoPairs or None
        Of training patients only.
    tokenizer : ReportTokenizer
    scaler : LeadScaler
    config : RunConfig
        With the model's sizes as the vocabulary made them.
    encoder : nn.Module
        New, or with the text model's own weights.
    """

    train: StudySet
    valid: StudySet
    echo: EchoPairs | None
    tokenizer: ReportTokenizer
    scaler: LeadScaler
    config: RunConfig
    encoder: Any


def prepare(
    config: RunConfig,
    studies: StudySet,
    *,
    echo: EchoEmbeddings | None = None,
    text_model: str | None = None,
) -> Prepared:
    """Split, scale, pair and build.

    Parameters
    ----------
    studies : StudySet
        With train and valid patients; test patients are not touched.
    echo : EchoEmbeddings, optional
        Paired by the table's column ``echo_study_id`` where it has one, else by ``study_id``.
    text_model : str, optional
        Folder or hub name of a BERT with its vocabulary, for the released architecture.

    Raises
    ------
    DataSetError
        No training studies with a report, or no echocardiogram that belongs to any of them.
    ConfigError
        The teacher's dimension cannot be brought to the model's.
    """
    split = studies.table["split"]
    told = (studies.table["report"].fillna("").str.strip() != "").to_numpy()
    train_set = studies.where(np.asarray((split == "train").to_numpy() & told))
    valid_set = studies.where(np.asarray((split == "valid").to_numpy() & told))
    if not len(train_set):
        raise DataSetError("The data set has no training studies with a report. Prepare others.")
    pairs = None if echo is None else pair_with_echo(train_set, echo, config.model.dim)
    torch.manual_seed(config.seed)
    tokenizer, config = _tokenizer(config, train_set, text_model)
    encoder: Any = build_encoder(config.model)
    if text_model is not None and config.model.architecture == "released":
        encoder.text.load_pretrained(text_model)
    scaler = LeadScaler.fit(train_set.signal_mv, train_set.valid)
    return Prepared(train_set, valid_set, pairs, tokenizer, scaler, config, encoder)


def pair_with_echo(studies: StudySet, echo: EchoEmbeddings, dim: int) -> EchoPairs:
    """ECGs of ``studies`` whose echocardiogram the teacher has embedded.

    Where rows of ``echo`` are clips, an ECG stands once for each clip. A teacher of more
    dimensions than ``dim`` is projected, see `project_echo`.

    Raises
    ------
    DataSetError
        None of the studies has one.
    """
    column = "echo_study_id" if "echo_study_id" in studies.table.columns else "study_id"
    rows_of: dict[str, list[int]] = {}
    for row, study in enumerate(echo.study_ids):
        rows_of.setdefault(study, []).append(row)
    ecg, clip = [], []
    for row, study in enumerate(studies.table[column].astype(str)):
        for found in rows_of.get(study, ()):
            ecg.append(row)
            clip.append(found)
    if not ecg:
        raise DataSetError(
            f"None of the {len(studies)} training studies has its echocardiogram among the "
            f"{len(echo)} that the teacher embedded: no {column} is in both."
        )
    used, echo_row = np.unique(np.array(clip), return_inverse=True)
    mu, log_var = project_echo(echo.mu[used], echo.log_var[used], dim)
    chosen = np.array(ecg)
    return EchoPairs(
        studies.signal_mv[chosen], studies.valid[chosen], echo_row.astype(np.int64), mu, log_var
    )


def project_echo(
    mu: npt.NDArray[np.float32], log_var: npt.NDArray[np.float32], dim: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bring a teacher's Gaussians to ``dim`` dimensions.

    The paper's space has 256 dimensions and ECHO-CLIP 512, and no projection is described. Here
    it is orthonormal, onto the leading directions of the uncentred second moment of the means,
    without anything learnt; means are normalised again, and variances follow exactly if the
    Gaussian is diagonal: sigma^2' = (P * P)^T sigma^2.

    Raises
    ------
    ConfigError
        The teacher has fewer dimensions than the model.
    """
    if mu.shape[1] == dim:
        return mu, log_var
    if mu.shape[1] < dim or len(mu) < dim:
        raise ConfigError(
            f"The teacher has {mu.shape[1]} dimensions and {len(mu)} echocardiograms are paired; "
            f"a model of {dim} dimensions needs at least as many of both. Set model.dim to "
            f"{mu.shape[1]}, or use another teacher."
        )
    _, _, directions = np.linalg.svd(mu.astype(np.float64), full_matrices=False)
    basis = directions[:dim].T
    turned = mu @ basis
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
    variance = np.exp(log_var.astype(np.float64)) @ np.square(basis)
    return turned.astype(np.float32), np.log(variance).astype(np.float32)


def train_paired(
    prepared: Prepared,
    *,
    run: Path | None = None,
    resume: bool = False,
    world: World | None = None,
    states_folder: Path | None = None,
    validate: Validate | None = None,
    tensorboard: Path | None = None,
    log: Callable[[int, Mapping[str, float]], None] | None = None,
    progress: Progress = SILENT,
) -> TrainedPair:
    """The run itself; see `training.run.train`."""
    config, world = prepared.config, world or World()
    if config.freeze_text and config.views.partial_report_share:
        raise ConfigError(
            "A frozen text model needs whole reports. Set views.partial_report_share to 0."
        )
    reports = [str(text) for text in prepared.train.table["report"]]
    batches = Batches(
        [_source(prepared.train, reports)],
        prepared.scaler,
        prepared.tokenizer,
        config,
        echo=prepared.echo,
        world=world,
    )
    states = None
    if config.freeze_text:
        if states_folder is None:
            raise ConfigError("A frozen text model needs a folder for its states: --text-cache.")
        states = TextStates(
            states_folder,
            prepared.encoder.text.to(world.device),
            prepared.tokenizer,
            # The words as a batch puts them together.
            batches.texts_in_use(),
            device=world.device,
            progress=progress.stage("read the reports"),
        )
    return train(
        prepared.encoder,
        batches,
        config,
        run=run,
        resume=resume,
        world=world,
        states=states,
        validate=validate,
        log=log,
        tensorboard=tensorboard,
        progress=progress.stage("train both encoders"),
    )


def finish(
    out: Path,
    prepared: Prepared,
    trained: TrainedPair,
    *,
    origin: Mapping[str, Any],
    minutes: float,
    second_stage: TrainingConfig | None = None,
    progress: Progress = SILENT,
) -> str:
    """Teach sigma^2 where it is asked for, fit the reference, write the model folder.

    Parameters
    ----------
    origin : mapping
        Where the data come from, for the training record.
    second_stage : TrainingConfig, optional
        Steps of the variance's own stage (`training.variance_stage`), for the compact encoder.
        Without it sigma^2 is what the matching loss made of it.

    Returns
    -------
    str
        The model's hash.
    """
    checkpoint = in_memory(prepared, trained)
    encoder: Any = checkpoint.encoder
    if second_stage is not None:
        if prepared.config.model.architecture != "compact":
            raise ConfigError("Only the compact encoder has a second stage for sigma^2.")
        learn_variance(prepared, encoder, second_stage, progress=progress)
    reference_set = prepared.valid if len(prepared.valid) else prepared.train
    sigma2 = encode_batch(
        encoder.ecg, prepared.scaler, reference_set.signal_mv, reference_set.valid
    ).uncertainty
    which = "validation" if len(prepared.valid) else "training"
    table = prepared.train.table
    simulated = table["simulated"].to_numpy(dtype=bool)
    return save_checkpoint(
        out,
        encoder=encoder,
        tokenizer=prepared.tokenizer,
        scaler=prepared.scaler,
        logit_scale=checkpoint.logit_scale,
        reference=Reference.from_values(
            sigma2, name=f"{len(sigma2)} {which} ECGs of the training data"
        ).to_dict(),
        training={
            "simulated_ecgs": int(simulated.sum()),
            "simulated_patients": int(table.loc[simulated, "patient_id"].nunique()),
            "real_ecgs": int((~simulated).sum()),
            "real_patients": int(table.loc[~simulated, "patient_id"].nunique()),
            "real_source": ", ".join(sorted(set(table.loc[~simulated, "source"]))) or None,
            "echo_pairs": 0 if prepared.echo is None else len(prepared.echo),
            "config": to_mapping(prepared.config),
            "second_stage": None if second_stage is None else to_mapping(second_stage),
            "learnt_scale": trained.scale,
            "learnt_shift": trained.shift,
            "torch": str(torch.__version__),
            "threads": torch.get_num_threads(),
            "minutes": round(minutes, 1),
            "ecg_parameters": sum(p.numel() for p in encoder.ecg.parameters()),
            "text_parameters": sum(p.numel() for p in encoder.text.parameters()),
            **origin,
        },
        card=_card(prepared, trained, out.name),
    )


def learn_variance(
    prepared: Prepared, encoder: Any, settings: TrainingConfig, *, progress: Progress = SILENT
) -> None:
    """The second stage on frozen means, in place, for the compact encoder."""
    torch.manual_seed(settings.seed + 1)
    encoder.renew_variance()
    table = prepared.train.table
    # Studies that were simulated with noise are no clean originals; of real ones nothing is known.
    clean = ((table["quality"] == "clean") | ~table["simulated"].astype(bool)).to_numpy()
    chosen = prepared.train.where(np.asarray(clean, dtype=np.bool_))
    sampler = Sampler(
        [_source(chosen, [str(text) for text in chosen.table["report"]])],
        prepared.scaler,
        prepared.tokenizer,
        np.random.default_rng(settings.seed + 1),
    )
    train_variance(
        encoder,
        sampler,
        dataclasses.replace(settings, model=encoder.config),
        progress=progress.stage("train the variance"),
    )


def in_memory(
    prepared: Prepared, trained: TrainedPair, encoder: nn.Module | None = None
) -> Checkpoint:
    """The model as a checkpoint that lies on no disk, for measuring it."""
    softmax_cosine = prepared.config.loss.name == "infonce"
    return Checkpoint(
        name=prepared.config.preset or "run",
        encoder=encoder if encoder is not None else trained.encoder,  # type: ignore[arg-type]
        tokenizer=prepared.tokenizer,
        scaler=prepared.scaler,
        logit_scale=trained.scale * (1.0 if softmax_cosine else 2.0),
        reference={},
        training={"config": to_mapping(prepared.config)},
        card="",
        hash="",
    )


class Stopwatch:
    """Minutes since it was made."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._started) / 60.0


def _tokenizer(
    config: RunConfig, train_set: StudySet, text_model: str | None
) -> tuple[ReportTokenizer, RunConfig]:
    model = config.model
    if model.architecture == "released":
        from echoing_core.models.tokenizer import read_bert_tokenizer

        if text_model is None:
            raise ConfigError(
                "The published text encoder starts from a BERT. Name its folder, or a name on the "
                "Hugging Face hub, with --text-model."
            )
        return read_bert_tokenizer(text_model, model.released_text.max_tokens), config
    reports = [str(text) for text in train_set.table["report"]]
    tokenizer = train_tokenizer(reports, model.text.vocab_size, model.text.max_tokens)
    # A small corpus may not fill the vocabulary that was asked for.
    fitted = dataclasses.replace(model.text, vocab_size=tokenizer.tokenizer.get_vocab_size())
    return tokenizer, dataclasses.replace(config, model=dataclasses.replace(model, text=fitted))


def _source(studies: StudySet, reports: list[str]) -> Source:
    name = ", ".join(sorted(set(studies.table["source"].astype(str))))
    return Source(name, studies.signal_mv, studies.valid, lambda row, _: reports[row], 1.0)


def _card(prepared: Prepared, trained: TrainedPair, name: str) -> str:
    config, table = prepared.config, prepared.train.table
    simulated = bool(table["simulated"].all())
    told = "simulated ECGs; no real patient stands behind them" if simulated else "ECGs"
    echo = (
        "no echocardiograms"
        if prepared.echo is None
        else f"{len(prepared.echo)} ECGs paired with {len(prepared.echo.mu)} echocardiograms"
    )
    return (
        f"# {name}\n\nResearch use only; not a medical device.\n\n"
        f"Preset `{config.preset}`, loss `{config.loss.name}`, {trained.steps} steps of "
        f"{config.batch_size}, seed {config.seed}.\n\n"
        f"Trained on {len(table)} {told}, of {table['patient_id'].nunique()} patients; {echo}.\n"
    )
