"""One run on a prepared data set: vocabulary, pairs, both encoders, and the model folder."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from echoing_core.config import to_mapping
from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.checkpoint import Checkpoint, save_checkpoint, update_documents
from echoing_core.models.config import BAND_LIMITED, BOTH
from echoing_core.models.ecg_encoder import CompactEcgEncoder
from echoing_core.models.encoders import DualEncoder, EcgEncoder, Encoder, build_encoder
from echoing_core.models.losses import logit_scale
from echoing_core.models.released import ReleasedDualEncoder
from echoing_core.models.tokenizer import ReportTokenizer, read_bert_tokenizer, train_tokenizer
from echoing_core.progress import SILENT, Progress
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.batches import Batches, EchoPairs, Source
from echoing_core.training.distributed import World, one_of_each_machine_first
from echoing_core.training.melp import for_use, new_encoder, trainer_of, vocabulary_of
from echoing_core.training.metric_logs import JSON
from echoing_core.training.questions import answers_of, questions_of
from echoing_core.training.run import Log, TrainedPair, Validate, train
from echoing_core.training.settings import RunConfig
from echoing_core.training.text_cache import TextStates
from echoing_core.training.variance_stage import learn_novelty, learn_variance
from echoing_core.uncertainty.absent import UNSCALED, absent_reference
from echoing_core.uncertainty.reference import Reference
from echoing_core.zeroshot.prompts import PromptSet


@dataclass(frozen=True, eq=False)
class TrainingInputs:
    """What a run starts from, with its settings.

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
    questions : tuple of PromptSet
        That the run learns to answer, by the training studies' labels.
    """

    train: StudySet
    valid: StudySet
    echo: EchoPairs | None
    tokenizer: ReportTokenizer
    scaler: LeadScaler
    config: RunConfig
    encoder: Encoder
    questions: tuple[PromptSet, ...] = ()


def build_inputs(
    config: RunConfig,
    studies: StudySet,
    *,
    echo: EchoEmbeddings | None = None,
    text_model: str | None = None,
    begin: Checkpoint | None = None,
    questions: Sequence[PromptSet] = (),
) -> TrainingInputs:
    """Split the studies, fit vocabulary and scale, pair with echocardiograms, build the encoders.

    Parameters
    ----------
    config : RunConfig
    studies : StudySet
        With train and valid patients; test patients are not touched.
    echo : EchoEmbeddings, optional
        Paired by the table's column ``echo_study_id`` where it has one, else by ``study_id``.
    text_model : str, optional
        Folder or hub name of a BERT with its vocabulary, for the architectures released and melp.
    begin : Checkpoint, optional
        Whose ECG network a run of `training.melp` begins with.
    questions : sequence of PromptSet
        Used with ``config.objective.question_weight``, see `training.questions`.

    Returns
    -------
    TrainingInputs

    Raises
    ------
    DataSetError
        No training studies with a report, or no echocardiogram that belongs to any of them.
    ConfigError
        The teacher's dimension cannot be brought to the model's.
    """
    split = studies.table["split"]
    # A study without a report has nothing to be contrasted with.
    has_report = (studies.table["report"].fillna("").str.strip() != "").to_numpy()
    if config.predicts_masked:
        has_report = np.ones_like(has_report)
    train_set = studies.where(np.asarray((split == "train").to_numpy() & has_report))
    valid_set = studies.where(np.asarray((split == "valid").to_numpy() & has_report))
    if not len(train_set):
        raise DataSetError("The data set has no training studies with a report. Prepare others.")
    if echo is None and config.objective.echo_text_weight:
        raise ConfigError(
            "This run binds a third modality, and none is given. Name its embeddings with --echo, "
            "or set objective.echo_text_weight to 0; without it the run is ECG-CLIP."
        )
    if echo is not None and config.own_losses:
        raise ConfigError(
            "MELP's stages and ECG-FM learn nothing from echocardiograms. Leave --echo out."
        )
    # Training patients only: an echocardiogram of another would leak into the space.
    pairs = None if echo is None else pair_with_echo(train_set, echo, config.model.dim)
    # The first weights follow from the seed alone, whatever was drawn before.
    torch.manual_seed(config.seed)
    tokenizer, config = _tokenizer(config, train_set, text_model)
    foreign = config.own_losses
    if begin is not None and not foreign:
        raise ConfigError(
            "Only melp-stage1, melp-stage2 and ecg-fm begin with a model's network. Leave --begin "
            "out."
        )
    encoder = (
        new_encoder(config, begin=begin, text_model=text_model)
        if foreign
        else build_encoder(config.model)
    )
    if text_model is not None and isinstance(encoder, ReleasedDualEncoder):
        encoder.text.load_pretrained(text_model)
    # Fitted to training ECGs alone, like everything that is fitted.
    scaler = UNSCALED if foreign else LeadScaler.fit(train_set.signal_mv, train_set.valid)
    taught = questions_of(questions, [train_set]) if config.objective.question_weight else ()
    return TrainingInputs(train_set, valid_set, pairs, tokenizer, scaler, config, encoder, taught)


def with_echo(studies: StudySet, share: float) -> list[str]:
    """Choose the training studies of a share of the patients, by a hash of the patient's name.

    Parameters
    ----------
    studies : StudySet
    share : float
        0..1.

    Returns
    -------
    list of str
        Their ``study_id``.
    """
    table = studies.table[studies.table["split"] == "train"]
    pairs = zip(table["study_id"], table["patient_id"], strict=True)
    return [str(study) for study, patient in pairs if _unit_hash(str(patient)) < share]


def _unit_hash(text: str) -> float:
    # Even in 0..1 and the same in every process, unlike Python's own hash.
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2.0**64


def pair_with_echo(studies: StudySet, echo: EchoEmbeddings, dim: int) -> EchoPairs:
    """ECGs of ``studies`` whose echocardiogram the teacher has embedded.

    Where rows of ``echo`` are clips, an ECG stands once for each clip. A teacher of more
    dimensions than ``dim`` is projected, see `project_echo`.

    Parameters
    ----------
    studies : StudySet
        Of training patients; joined by ``echo_study_id`` where the table has it, else by
        ``study_id``.
    echo : EchoEmbeddings
    dim : int
        Dimensions of the model's space.

    Returns
    -------
    EchoPairs

    Raises
    ------
    DataSetError
        None of the studies has one.
    """
    # Data sets whose ECGs and echocardiograms are of different days name the pair themselves.
    column = "echo_study_id" if "echo_study_id" in studies.table.columns else "study_id"
    # Several rows where the store has one Gaussian a clip.
    rows_of: dict[str, list[int]] = {}
    for row, study in enumerate(echo.study_ids):
        rows_of.setdefault(study, []).append(row)
    ecg, clip = [], []
    for row, study in enumerate(studies.table[column].astype(str)):
        clips = rows_of.get(study, [])
        ecg += [row] * len(clips)
        clip += clips
    if not ecg:
        raise DataSetError(
            f"None of the {len(studies)} training studies has its echocardiogram among the "
            f"{len(echo)} that the teacher embedded: no {column} is in both."
        )
    # Echocardiograms of nobody here are left out, also of the projection.
    used, echo_row = np.unique(np.array(clip), return_inverse=True)
    mu, log_var = project_echo(echo.mu[used], echo.log_var[used], dim)
    chosen = np.array(ecg)
    reports = studies.table["report"].fillna("").astype(str)
    names = np.array(echo.study_ids)[used]
    return EchoPairs(
        studies.signal_mv[chosen],
        studies.valid[chosen],
        echo_row.astype(np.int64),
        mu,
        log_var,
        study=np.unique(names, return_inverse=True)[1].astype(np.int64),
        reports=tuple(reports.iloc[row] for row in ecg),
    )


def project_echo(
    mu: npt.NDArray[np.float32], log_var: npt.NDArray[np.float32], dim: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Bring a teacher's Gaussians to ``dim`` dimensions.

    The paper's space has 256 dimensions and ECHO-CLIP 512, and no projection is described. Here
    it is orthonormal, onto the leading directions of the uncentred second moment of the means,
    without anything learnt; means are normalised again, and variances follow exactly if the
    Gaussian is diagonal: sigma^2' = (P * P)^T sigma^2.

    Parameters
    ----------
    mu, log_var : ndarray, shape (n_echoes, teacher_dim)
        Unit-norm means, and log variances.
    dim : int

    Returns
    -------
    mu, log_var : ndarray, shape (n_echoes, dim)

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
    # Rows are directions, the leading first; in double, for a stable order.
    _, _, directions = np.linalg.svd(mu.astype(np.float64), full_matrices=False)
    basis = directions[:dim].T
    turned = mu @ basis
    # Projected means are shorter than 1.
    turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
    # Sum over k of P_kj^2 sigma_k^2, shape (n_echoes, dim).
    variance = np.exp(log_var.astype(np.float64)) @ np.square(basis)
    return turned.astype(np.float32), np.log(variance).astype(np.float32)


def train_paired(
    inputs: TrainingInputs,
    *,
    run: Path | None = None,
    resume: bool = False,
    world: World | None = None,
    states_folder: Path | None = None,
    validate: Validate | None = None,
    tensorboard: Path | None = None,
    log_to: Sequence[str] = (JSON,),
    log: Log | None = None,
    progress: Progress = SILENT,
) -> TrainedPair:
    """Train both encoders on pairs of ECG and report, and of ECG and echocardiogram.

    Parameters
    ----------
    inputs : TrainingInputs
    states_folder : Path, optional
        Where the states of a frozen text model go.
    run, resume, world, validate, tensorboard, log_to, log
        See `training.run.train`.
    progress : Progress

    Returns
    -------
    TrainedPair

    Raises
    ------
    ConfigError
        The settings do not go together, or the run cannot be resumed.
    """
    config, world = inputs.config, world or World()
    # Cached states are those of whole reports.
    if config.freeze_text and config.views.partial_report_share:
        raise ConfigError(
            "A frozen text model needs whole reports. Set views.partial_report_share to 0."
        )
    batches = Batches(
        [_source_of(inputs.train, inputs.questions)],
        inputs.scaler,
        inputs.tokenizer,
        config,
        echo=inputs.echo,
        questions=inputs.questions,
        world=world,
    )
    states = None
    if config.freeze_text:
        if states_folder is None:
            raise ConfigError("A frozen text model needs a folder for its states: --text-cache.")
        # Together they would write the same files.
        with one_of_each_machine_first(world):
            states = TextStates(
                states_folder,
                inputs.encoder.text.to(world.device),
                inputs.tokenizer,
                # The words as a batch puts them together.
                batches.texts_in_use(),
                device=world.device,
                progress=progress.stage("read the reports") if world.is_first else SILENT,
            )
    return train(
        inputs.encoder,
        batches,
        config,
        kind=trainer_of(config),
        run=run,
        resume=resume,
        world=world,
        states=states,
        validate=validate,
        log=log,
        tensorboard=tensorboard,
        log_to=log_to,
        progress=progress.stage("train both encoders"),
    )


def write_model(
    out: Path,
    inputs: TrainingInputs,
    trained: TrainedPair,
    *,
    origin: Mapping[str, str | None],
    minutes: float,
    with_second_stage: bool = False,
    progress: Progress = SILENT,
) -> str:
    """Learn sigma^2 anew where it is asked for, fit the reference, write the model folder.

    Parameters
    ----------
    out : Path
    inputs : TrainingInputs
    trained : TrainedPair
    origin : mapping
        Where the data come from, for the training record.
    minutes : float
        What training took so far.
    with_second_stage : bool
        Use `training.variance_stage`, for the compact encoder. Without it sigma^2 is what the
        matching loss made of it. A model of both kinds of sigma^2 always has it.
    progress : Progress

    Returns
    -------
    str
        The model's hash.

    Raises
    ------
    ConfigError
        A second stage is asked for an encoder that has none.
    """
    trained = dataclasses.replace(trained, encoder=for_use(trained.encoder))
    checkpoint = as_checkpoint(inputs, trained)
    encoder, config = checkpoint.encoder, inputs.config
    with_second_stage = with_second_stage or config.model.sigma2 == BOTH
    if with_second_stage and not isinstance(encoder, DualEncoder):
        raise ConfigError("Only the compact encoder has a second stage for sigma^2.")
    # Novelty is the compact ECG encoder's, also where the texts are read by a plugin.
    if isinstance(encoder.ecg, CompactEcgEncoder):
        data = ([_source_of(_well_recorded(inputs.train))], inputs.scaler, inputs.tokenizer)
        if with_second_stage and isinstance(encoder, DualEncoder):
            learn_variance(
                encoder,
                *data,
                config.variance,
                seed=config.seed,
                # Turned, the space would no longer be the teacher's.
                turn=inputs.echo is None,
                progress=progress.stage("train the variance"),
            )
        else:
            learn_novelty(encoder.ecg, *data, config.variance, seed=config.seed)
    # Reference percentiles of patients that training did not see, where there are any.
    cohort, which = (
        (inputs.valid, "validation") if len(inputs.valid) else (inputs.train, "training")
    )
    reference = (
        fit_reference(
            encoder.ecg, inputs.scaler, [cohort], f"{len(cohort)} {which} ECGs of the training data"
        )
        if encoder.config.has_sigma2
        else absent_reference(encoder.config)
    )
    # Names of data sets stand in the record only for what was measured on people.
    real = inputs.train.table[~inputs.train.table["simulated"].to_numpy(dtype=bool)]
    model_hash = save_checkpoint(
        out,
        encoder=encoder,
        tokenizer=inputs.tokenizer,
        scaler=inputs.scaler,
        logit_scale=checkpoint.logit_scale,
        reference=reference.to_dict(),
        training={
            **training_record([inputs.train.table], encoder, config, minutes),
            "real_source": ", ".join(sorted(set(real["source"]))) or None,
            "echo_pairs": 0 if inputs.echo is None else len(inputs.echo),
            "second_stage": to_mapping(config.variance) if with_second_stage else None,
            "learnt_scale": trained.scale,
            "learnt_shift": trained.shift,
            # Only where they are not the last.
            **({} if trained.kept is None else {"kept": dataclasses.asdict(trained.kept)}),
            **origin,
        },
        card=_card(inputs, trained, out.name),
        filter_padding=config.filter_padding,
    )
    add_references(out, encoder, inputs.scaler, [cohort], reference.name)
    return model_hash


def add_references(
    folder: Path,
    encoder: Encoder,
    scaler: LeadScaler,
    cohorts: Sequence[StudySet],
    name: str,
) -> None:
    """Write what every further kind of sigma^2 is compared with into a model folder.

    Parameters
    ----------
    folder : Path
        Just written with the reference of the first kind.
    encoder : nn.Module
    scaler, cohorts, name
        As in `fit_reference`.
    """
    if not isinstance(encoder, DualEncoder):
        return
    for kind in encoder.config.sigma2_kinds[1:]:
        with encoder.reading(kind):
            reference = fit_reference(encoder.ecg, scaler, cohorts, name)
        update_documents(folder, measured={"reference": reference.to_dict()}, sigma2=kind)


def fit_reference(
    ecg_encoder: EcgEncoder, scaler: LeadScaler, cohorts: Sequence[StudySet], name: str
) -> Reference:
    """Summarise sigma^2 over all ECGs of some sets, as they are.

    Parameters
    ----------
    ecg_encoder : nn.Module
        With its final sigma^2.
    scaler : LeadScaler
    cohorts : sequence of StudySet
    name : str
        What the ECGs are, for a person.

    Returns
    -------
    Reference
        Of the sums of sigma^2 over dimensions.
    """
    sums = [
        encode_batch(ecg_encoder, scaler, studies.signal_mv, studies.valid).uncertainty
        for studies in cohorts
    ]
    return Reference.from_values(np.concatenate(sums), name=name)


def training_record(
    tables: Sequence[pd.DataFrame], encoder: Encoder, config: RunConfig, minutes: float
) -> dict[str, Any]:
    """What a model folder says of its training, whatever the data were.

    Parameters
    ----------
    tables : sequence of DataFrame
        Of the training studies, with ``simulated`` and ``patient_id``.
    encoder : nn.Module
    config : RunConfig
        With the sizes that the model really has.
    minutes : float

    Returns
    -------
    dict
        For training.json.
    """
    ecgs = pd.concat([table[["simulated", "patient_id"]] for table in tables], ignore_index=True)
    simulated = ecgs["simulated"].to_numpy(dtype=bool)
    return {
        "simulated_ecgs": int(simulated.sum()),
        "simulated_patients": int(ecgs.loc[simulated, "patient_id"].nunique()),
        "real_ecgs": int((~simulated).sum()),
        "real_patients": int(ecgs.loc[~simulated, "patient_id"].nunique()),
        "config": to_mapping(config),
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "minutes": round(minutes, 1),
        "ecg_parameters": sum(p.numel() for p in encoder.ecg.parameters()),
        "text_parameters": sum(p.numel() for p in encoder.text.parameters()),
    }


def as_checkpoint(inputs: TrainingInputs, trained: TrainedPair) -> Checkpoint:
    """The model as a checkpoint that lies on no disk, for measuring it.

    Parameters
    ----------
    inputs : TrainingInputs
    trained : TrainedPair

    Returns
    -------
    Checkpoint
        Without reference, card and hash; it shares its encoder with ``trained``.
    """
    config = inputs.config
    return Checkpoint(
        # A file of one's own need not name a preset.
        name=config.preset or "run",
        encoder=trained.encoder,
        tokenizer=inputs.tokenizer,
        scaler=inputs.scaler,
        logit_scale=logit_scale(config.loss.name, trained.scale),
        reference={},
        training={"config": to_mapping(config)},
        card="",
        hash="",
        sigma2=config.model.sigma2_kinds[0],
        filter_padding=config.filter_padding,
    )


def fit_vocabulary(reports: Sequence[str], config: RunConfig) -> tuple[ReportTokenizer, RunConfig]:
    """Learn a vocabulary for the compact text encoder.

    Parameters
    ----------
    reports : sequence of str
        Of training patients.
    config : RunConfig

    Returns
    -------
    tokenizer : ReportTokenizer
    config : RunConfig
        With the size that the vocabulary came to: a small corpus may not fill what was asked for.
    """
    model = config.model
    tokenizer = train_tokenizer(list(reports), model.text.vocab_size, model.text.max_tokens)
    text = dataclasses.replace(model.text, vocab_size=tokenizer.tokenizer.get_vocab_size())
    return tokenizer, dataclasses.replace(config, model=dataclasses.replace(model, text=text))


def _tokenizer(
    config: RunConfig, train_set: StudySet, text_model: str | None
) -> tuple[ReportTokenizer, RunConfig]:
    """The vocabulary of the architecture, and the settings with its size."""
    if config.predicts_masked:
        # A folder has one; this model reads no word.
        return train_tokenizer([], vocab_size=0, max_tokens=2), config
    if config.model.architecture == "melp":
        reports = [str(text) for text in train_set.table["report"]]
        return vocabulary_of(config, reports, text_model)
    if config.model.architecture == "released":
        if text_model is None:
            raise ConfigError(
                "The published text encoder starts from a BERT. Name its folder, or a name on the "
                "Hugging Face hub, with --text-model."
            )
        return read_bert_tokenizer(text_model, config.model.released_text.max_tokens), config
    return fit_vocabulary([str(text) for text in train_set.table["report"]], config)


def _source_of(studies: StudySet, questions: Sequence[PromptSet] = ()) -> Source:
    """A prepared set as the only source of its batches."""
    reports = [str(text) for text in studies.table["report"]]
    name = ", ".join(sorted(set(studies.table["source"].astype(str))))
    return Source(
        name,
        studies.signal_mv,
        studies.valid,
        lambda row, _: reports[row],
        1.0,
        answers_of(studies, questions) if questions else None,
        np.unique(studies.table["patient_id"].astype(str), return_inverse=True)[1],
    )


def _well_recorded(studies: StudySet) -> StudySet:
    """Without what was simulated with noise; of the quality of real ECGs nothing is known."""
    table = studies.table
    clean = ((table["quality"] == "clean") | ~table["simulated"].astype(bool)).to_numpy()
    return studies.where(np.asarray(clean, dtype=np.bool_))


def _kept_words(trained: TrainedPair) -> str:
    if trained.kept is None:
        return ""
    kept = trained.kept
    return (
        f" The weights are those after {kept.step} steps, the best on validation patients by "
        f"{kept.figure} ({kept.value:.3f}): of that figure they are no fair measure."
    )


def _card(inputs: TrainingInputs, trained: TrainedPair, name: str) -> str:
    config, table = inputs.config, inputs.train.table
    simulated = bool(table["simulated"].all())
    which = "simulated ECGs; no real patient stands behind them" if simulated else "ECGs"
    echo = (
        "no echocardiograms"
        if inputs.echo is None
        else f"{len(inputs.echo)} ECGs paired with {len(inputs.echo.mu)} echocardiograms"
    )
    return (
        f"# {name}\n\nResearch use only; not a medical device.\n\n"
        f"Preset `{config.preset}`, {_loss_words(config)}, {trained.steps} steps of "
        f"{config.batch_size}, seed {config.seed}.{_kept_words(trained)}\n\n"
        f"Trained on {len(table)} {which}, of {table['patient_id'].nunique()} patients; {echo}.\n"
        + ("" if config.model.has_sigma2 else f"\nNo sigma^2. {BAND_LIMITED}\n")
    )


def _loss_words(config: RunConfig) -> str:
    if config.predicts_masked:
        return "masked prediction and contrast of an ECG's halves"
    if config.model.architecture == "melp":
        return "MELP's losses of rhythm, caption and beat"
    return f"loss `{config.loss.name}`"
