"""Train the demo model: simulated cohort, and real ECGs of PTB-XL where a folder is given.

PTB-XL's folds 1-7 are learnt from. Fold 8 is for calibrating answers alone, fold 9 for figures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from echoing_core.config import to_mapping
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.simulated import CohortConfig, build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.datasets.zscored import load_zscored
from echoing_core.echo.simulated import simulated_echo_embeddings
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.echo.teacher import EchoTeacher
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError
from echoing_core.models.checkpoint import Checkpoint, save_checkpoint
from echoing_core.models.config import DISPLACEMENT
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.losses import logit_scale
from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.progress import SILENT, Progress
from echoing_core.reports.scp_text import report_from_scp
from echoing_core.signals import standardise
from echoing_core.signals.scaling import LeadScaler
from echoing_core.simulate import simulate_study
from echoing_core.training.batches import Batches, ReportSource, Source
from echoing_core.training.metric_logs import JSON, LogPlace, open_log
from echoing_core.training.paired import (
    add_references,
    fit_reference,
    fit_vocabulary,
    pair_with_echo,
    training_record,
    with_echo,
)
from echoing_core.training.questions import answers_of, questions_of
from echoing_core.training.run import Log, flushed_denormals, train
from echoing_core.training.settings import RunConfig
from echoing_core.training.variance_stage import compact_encoder, learn_variance
from echoing_core.zeroshot.prompts import PromptSet

PTBXL_TRAIN_FOLDS = (1, 2, 3, 4, 5, 6, 7)
PTBXL_CALIBRATION_FOLDS = (8,)
REAL_SOURCE = "PTB-XL folds 1-7"
PTBXL_TEST_FOLDS = (9,)


@dataclass(frozen=True)
class Shares:
    """Of every batch, what comes from where; the rest is simulated.

    Attributes
    ----------
    real : float
        Real ECGs in millivolts, where there are any.
    borrowed : float
        ECGs with borrowed millivolts, where there are any.
    """

    real: float = 0.35
    borrowed: float = 0.25

    def __post_init__(self) -> None:
        if min(self.real, self.borrowed) < 0 or self.real + self.borrowed >= 1:
            raise ConfigError(
                f"Shares of {self.real:g} and {self.borrowed:g} leave nothing for simulated ECGs, "
                "of which every batch needs some. Use smaller ones."
            )


BORROWED = "PTB-XL with borrowed millivolts"

_WORDINGS_FOR_VOCABULARY = 12
# Another cohort: patients of another seed are other people.
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
        PTB-XL folds 1-7.
    borrowed : StudySet or None
        Of the same folds, with borrowed millivolts (`datasets.zscored`).
    echo : EchoEmbeddings or None
        What a teacher made of echocardiograms of simulated training patients.
    """

    simulated: StudySet
    real: StudySet | None
    borrowed: StudySet | None = None
    echo: EchoEmbeddings | None = None


def load_demo_data(
    cohort: CohortConfig,
    ptbxl: Path | None,
    *,
    zscored: Path | None = None,
    teacher: EchoTeacher | None = None,
    echo_share: float = 0.1,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> DemoData:
    """Simulate the cohort and read PTB-XL's training folds.

    Parameters
    ----------
    cohort : CohortConfig
    ptbxl : Path, optional
        Folder of PTB-XL; without it there are no real ECGs.
    zscored : Path, optional
        Folder of further ECGs of PTB-XL whose millivolts are lost; needs ``ptbxl``.
    teacher : EchoTeacher, optional
        Embeds simulated echocardiograms of some of the training patients.
    echo_share : float
        Of the training patients who have one, as many as that.
    n_workers : int
        Processes that simulate.
    progress : Progress

    Returns
    -------
    DemoData

    Raises
    ------
    ConfigError
        ``zscored`` without ``ptbxl``, which lends the millivolts.
    """
    if zscored is not None and ptbxl is None:
        raise ConfigError("ECGs without millivolts borrow them from PTB-XL. Name --ptbxl, too.")
    simulated = build_simulated(
        cohort.n_patients,
        cohort.seed,
        n_workers=n_workers,
        progress=progress.stage("simulate"),
    )
    real = borrowed = None
    if ptbxl is not None:
        real = load_ptbxl(ptbxl, folds=PTBXL_TRAIN_FOLDS, progress=progress.stage("read PTB-XL"))
    if zscored is not None and real is not None:
        borrowed = load_zscored(zscored, folds=PTBXL_TRAIN_FOLDS, donors=real)
    echo = None
    if teacher is not None:
        echo = simulated_echo_embeddings(
            teacher,
            with_echo(simulated, echo_share),
            n_workers=n_workers,
            progress=progress.stage("embed simulated echo"),
        )
    return DemoData(simulated, real, borrowed, echo)


@flushed_denormals()
def train_demo(
    out: Path,
    data: DemoData,
    config: RunConfig,
    *,
    cohort: CohortConfig | None = None,
    space: Checkpoint | None = None,
    where: Checkpoint | None = None,
    begin: Checkpoint | None = None,
    shares: Shares = Shares(),
    questions: Sequence[PromptSet] = (),
    log_path: Path | None = None,
    log_to: Sequence[str] = (JSON,),
    run: Path | None = None,
    resume: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Train on ``data`` and write the model folder ``out``.

    The run is determined by ``config.seed`` and the data on one machine with one number of
    threads; floating-point sums differ between machines.

    Parameters
    ----------
    out : Path
    data : DemoData
    config : RunConfig
        Of the compact architecture: `training.settings.demo_recipe`.
    cohort : CohortConfig, optional
        What ``data.simulated`` was drawn from, for the training record.
    space : Checkpoint, optional
        A model whose means, scaler and vocabulary are kept: the first stage is left out, and only
        sigma^2 is learnt anew. It must have been trained on the same data.
    where : Checkpoint, optional
        A model whose knowledge of where in a window a lead is lost is taken over: that network
        reads no feature of the space. ``config.variance.where_steps`` may then be 0.
    begin : Checkpoint, optional
        A model of the same data from whose weights, scaler and vocabulary the first stage begins,
        instead of random weights.
    shares : Shares
    questions : sequence of PromptSet
        From which `training.questions` chooses what the run learns to answer.
    log_path : Path, optional
        JSON lines with the figures of every step.
    log_to : sequence of str
        Names of `metric_logs.LOGGERS`. What keeps files does so in ``run``, or in a folder beside
        ``out`` named after it.
    run : Path, optional
        Where the first stage saves its state every ``config.save_every`` steps.
    resume : bool
        Go on from the newest state of ``run``.
    progress : Progress

    Returns
    -------
    str
        The model's hash.

    Raises
    ------
    CheckpointError
        ``space`` is not of the compact architecture.
    ConfigError
        ``space`` was trained on other data, or the run cannot be resumed.
    """
    cohort = cohort or CohortConfig()
    for given in (space, begin):
        if given is not None:
            _check_same_data(given, cohort, data)
    torch.manual_seed(config.seed)
    started = time.monotonic()
    # Patients, not ECGs, are split: no patient is on both sides.
    train_set = data.simulated.where((data.simulated.table["split"] == "train").to_numpy())
    real_sets = [one for one in (data.real, data.borrowed) if one is not None]
    taught = questions_of(questions, [train_set, *real_sets])
    # A run without the questions' term need not carry them in every batch.
    asked = taught if config.objective.question_weight > 0 else ()
    sources = _sources(train_set, data, taught, shares)
    place = LogPlace(
        folder=run if run is not None else out.with_name(f"{out.name}-run"),
        name=out.name,
        settings=to_mapping(config),
        metrics=log_path,
    )
    # The loop below keeps its own JSON lines in `run`; these are of both stages.
    named = [name for name in log_to if name != JSON or log_path is not None]
    metrics = open_log(named, place)

    def log_stage(stage: str) -> Log:
        return lambda step, values: metrics.write(step, values, stage=stage)

    if space is None:
        source_of_scale = train_set if data.real is None else data.real
        scaler = LeadScaler.fit(source_of_scale.signal_mv, source_of_scale.valid)
        if begin is None:
            tokenizer, config = _vocabulary(train_set, real_sets, taught, config)
            # After the vocabulary, whose size it needs; the first weights follow from the seed.
            encoder = DualEncoder(config.model)
        else:
            scaler, tokenizer, encoder = begin.scaler, begin.tokenizer, compact_encoder(begin)
            encoder.requires_grad_(True)
            config = dataclasses.replace(config, model=encoder.config)
        pairs = None
        if data.echo is not None:
            pairs = pair_with_echo(train_set, data.echo, config.model.dim)
        trained = train(
            encoder,
            Batches(sources, scaler, tokenizer, config, echo=pairs, questions=asked),
            config,
            run=run,
            resume=resume,
            log=log_stage("space"),
            progress=progress.stage("train the space"),
        )
        assert isinstance(trained.encoder, DualEncoder)
        encoder, scale, shift = trained.encoder, trained.scale, trained.shift
        scale_of_logits = logit_scale(config.loss.name, scale)
    else:
        scaler, tokenizer, encoder = space.scaler, space.tokenizer, compact_encoder(space)
        config = dataclasses.replace(config, model=encoder.config)
        scale, shift = space.training["learnt_scale"], space.training["learnt_shift"]
        scale_of_logits = space.logit_scale
    # Borrowed millivolts are nobody's: what noise does to them is not to be learnt.
    measured = [source for source in sources[1:] if source.name != BORROWED]
    learn_variance(
        encoder,
        _shares_to_one([_without_simulated_noise(sources[0], train_set), *measured]),
        scaler,
        tokenizer,
        config.variance,
        seed=config.seed,
        where=where,
        # Turned, the space would no longer be the teacher's.
        turn=data.echo is None,
        progress=progress.stage("train the variance"),
        log=log_stage("variance"),
    )
    metrics.close()
    sigma2_scale = calibrate(encoder, scaler)
    # The real ECGs enter as recorded. They were seen in training, but never as targets of any
    # quality, and the variance head is far too small to know them one by one.
    held_out = data.simulated.where((data.simulated.table["split"] == "valid").to_numpy())
    name = f"{len(held_out)} simulated ECGs of held-out patients, everyday noise"
    if data.real is not None:
        name += f"; {len(data.real)} ECGs of PTB-XL folds 1-7 as recorded"
    real = [] if data.real is None else [data.real]
    reference = fit_reference(encoder.ecg, scaler, [held_out, *real], name)
    echo_record = {}
    if data.echo is not None:
        echo_record = {
            "echo_pairs": len(data.echo),
            "echo_teacher": data.echo.teacher_hash,
            "echo_teacher_name": data.echo.teacher,
        }
    tables = [train_set.table, *(studies.table for studies in real_sets)]
    minutes = (time.monotonic() - started) / 60
    model_hash = save_checkpoint(
        out,
        encoder=encoder,
        tokenizer=tokenizer,
        scaler=scaler,
        logit_scale=scale_of_logits,
        reference=reference.to_dict(),
        training={
            **training_record(tables, encoder, config, minutes),
            "real_source": REAL_SOURCE if real else None,
            "shares": to_mapping(shares) if real else None,
            "borrowed_ecgs": 0 if data.borrowed is None else len(data.borrowed),
            "questions": [q.name for q in taught] if config.objective.question_weight else [],
            "begun_from": None
            if begin is None
            else {"hash": begin.hash, "config": begin.training.get("config")},
            "where_from": None if where is None else where.hash,
            "cohort": to_mapping(cohort),
            "learnt_scale": scale,
            "learnt_shift": shift,
            "space_from": None if space is None else space.hash,
            "sigma2_scale": sigma2_scale,
            **echo_record,
        },
        card="The card is written by the evaluation that follows training.\n",
    )
    add_references(out, encoder, scaler, [held_out, *real], name)
    return model_hash


def _check_same_data(model: Checkpoint, cohort: CohortConfig, data: DemoData) -> None:
    """A model of other data may have seen this cohort's test patients, or fold 8."""
    trained_on = (model.training.get("cohort"), model.training.get("real_source"))
    if trained_on != (to_mapping(cohort), None if data.real is None else REAL_SOURCE):
        raise ConfigError(
            f"Model {model.name} was trained on other data: cohort {trained_on[0]}, "
            f"real ECGs {trained_on[1]}. "
            "Give the same --patients and --ptbxl as then, or another model."
        )


def calibrate(encoder: DualEncoder, scaler: LeadScaler) -> float:
    """Scale sigma^2, in place, so that its mean is right where the model is used.

    Training draws many faults, and asks for the worst lead's reading, too. For answers and
    distances, sigma^2 should be the squared error of the mean of all leads on ECGs as they are
    recorded. So it is scaled by mean error over mean sigma^2 on simulated ECGs of patients of
    another cohort, noisy ones and clean ones as the simulator draws them, whose noiseless twins
    are known. No order changes, no part of sigma^2 moves from one lead to another.

    Parameters
    ----------
    encoder : DualEncoder
    scaler : LeadScaler

    Returns
    -------
    float
        The factor.
    """
    recorded, noiseless = [], []
    for patient in range(_CALIBRATION_PATIENTS):
        study = simulate_study(_CALIBRATION_SEED, patient)
        # The same heart, leads and position, without any noise.
        clean_twin = dataclasses.replace(study.recording_12, signal_mv=study.clean_12)
        recorded.append(standardise(study.recording_12).signal_mv)
        noiseless.append(standardise(clean_twin).signal_mv)
    # Simulated recordings have every lead and no gap.
    valid = np.ones((len(recorded), *recorded[0].shape), dtype=np.bool_)
    with encoder.reading(DISPLACEMENT):
        embedding = encode_batch(encoder.ecg, scaler, np.stack(recorded), valid)
    clean = encode_batch(encoder.ecg, scaler, np.stack(noiseless), valid)
    # In double precision: a sum over the dimensions of small squares, shape (n,).
    error = np.square(embedding.mu.astype(np.float64) - clean.mu).sum(axis=1)
    factor = float(error.mean() / embedding.uncertainty.mean())
    # A factor on sigma^2: ranks and shares of leads stay as they are.
    encoder.ecg.displacement_head.scale.mul_(factor)
    return factor


def _vocabulary(
    train_set: StudySet,
    real_sets: Sequence[StudySet],
    taught: Sequence[PromptSet],
    config: RunConfig,
) -> tuple[ReportTokenizer, RunConfig]:
    """A vocabulary of simulated reports, of many wordings of real ones, and of the questions."""
    # Many wordings of each real ECG, or rare words would be missing from the vocabulary.
    rng = np.random.default_rng(config.seed)
    texts = [str(text) for text in train_set.table["report"]]
    for real in real_sets:
        report = _worded_scp(real)
        for row in range(len(real)):
            texts.extend(report(row, rng) for _ in range(_WORDINGS_FOR_VOCABULARY))
    if config.objective.question_weight > 0:
        texts += [text for question in taught for text in (*question.positive, *question.negative)]
    return fit_vocabulary(texts, config)


def _sources(
    train_set: StudySet, data: DemoData, taught: Sequence[PromptSet], shares: Shares
) -> list[Source]:
    """Simulated ECGs with their reports, then real ones with a wording drawn each time."""
    reports = [str(text) for text in train_set.table["report"]]
    real = [
        Source(name, one.signal_mv, one.valid, _worded_scp(one), share, answers_of(one, taught))
        for name, one, share in (
            ("PTB-XL", data.real, shares.real),
            (BORROWED, data.borrowed, shares.borrowed),
        )
        if one is not None
    ]
    simulated = Source(
        "simulated",
        train_set.signal_mv,
        train_set.valid,
        lambda row, _: reports[row],
        1.0 - sum(source.share for source in real),
        answers_of(train_set, taught),
    )
    return [simulated, *real]


def _shares_to_one(sources: Sequence[Source]) -> list[Source]:
    total = sum(source.share for source in sources)
    return [dataclasses.replace(source, share=source.share / total) for source in sources]


def _worded_scp(study_set: StudySet) -> ReportSource:
    codes = study_set.table["scp_codes"].tolist()
    axes = study_set.table["heart_axis"].tolist()

    def report(row: int, rng: np.random.Generator) -> str:
        # Half as a machine prints its findings, half as a person would put them.
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
