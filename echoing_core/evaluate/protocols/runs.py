"""One function a protocol: from a model and a data set to a `Study`, random weights beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from echoing_core.evaluate.protocols.data import (
    RANDOM_WEIGHTS,
    EvaluationData,
    embed_ecgs,
    open_data,
    questions_of,
)
from echoing_core.evaluate.protocols.few_shot import few_shot
from echoing_core.evaluate.protocols.fine_tune import FineTuneSettings, fine_tune
from echoing_core.evaluate.protocols.results import Figure, PromptSpread, Scored, Study, differences
from echoing_core.evaluate.protocols.retrieval import COSINE, CSD, retrieval
from echoing_core.evaluate.protocols.splits import is_deterministic
from echoing_core.evaluate.protocols.tables import (
    MUSIC_LABELS,
    answers_table,
    differences_table,
    recall_table,
    spread_table,
    table_2,
    table_3,
    table_4,
)
from echoing_core.evaluate.protocols.zero_shot import prompt_spread, zero_shot
from echoing_core.evaluate.shipped.held_out import random_encoder
from echoing_core.evaluate.shipped.gallery import GALLERY_SEED, gallery_set
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.zeroshot.prompts import PromptSet

GALLERY_N = 1000

_INTERVALS = "Intervals: 95 %, bootstrap over patients"
_HALVES = {
    False: "low and high: halves of the test set by the median of the ECG's sum of sigma^2, ties "
    "low",
    True: "low and high: the entropy of the answer up to 0.5 bit, and above",
}
_RANDOM = "*random weights*: the same ECG architecture untrained, everything else the same"


def run_zero_shot(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    *,
    labels: Sequence[str] | None = None,
    deterministic: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Questions answered by prompts alone.

    Parameters
    ----------
    folder : path or None
        As in `open_data`.
    labels : sequence of str, optional
        As in `questions_of`.
    deterministic : bool, optional
        Whether sigma^2 was never taught; without it, what the training record says.
    """
    data = open_data(checkpoint, folder, ("test",), progress=progress.stage("open the data"))
    questions = questions_of(data.split("test"), prompts, labels)
    plain = is_deterministic(checkpoint) if deterministic is None else deterministic
    scored: list[Scored] = []
    spreads: list[PromptSpread] = []
    for name, encoder in _encoders(checkpoint).items():
        ecg = embed_ecgs(
            encoder,
            checkpoint.scaler,
            data.split("test"),
            progress=progress.stage(f"embed, {name}"),
        )
        scored += zero_shot(checkpoint, name, ecg, data, questions, deterministic=plain)
        spreads += prompt_spread(checkpoint, name, ecg, data, questions)
    figures, gains = _measured(checkpoint, scored, n_resamples)
    return Study(
        "zero_shot",
        f"Zero-shot on {data.name}",
        f"Yes where mu lies nearer to the mean of the prompts for yes than to that for no; no "
        f"threshold is tuned. {_HALVES[plain]}. {_RANDOM}. {_INTERVALS}.",
        tuple(figures),
        (answers_table(figures), differences_table(gains), spread_table(spreads)),
        tuple(gains),
        tuple(spreads),
        {"test ECGs": len(data.split("test"))},
    )


def run_few_shot(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    *,
    labels: Sequence[str] | None = None,
    n_seeds: int = 3,
    deterministic: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """Probes from 10 % and 100 % of the training patients, and zero-shot beside them."""
    data = open_data(
        checkpoint, folder, ("train", "test"), progress=progress.stage("open the data")
    )
    train, test = data.split("train"), data.split("test")
    questions = questions_of(test, prompts, labels)
    plain = is_deterministic(checkpoint) if deterministic is None else deterministic
    scored: list[Scored] = []
    for name, encoder in _encoders(checkpoint).items():
        stage = progress.stage(f"embed, {name}")
        train_ecg = embed_ecgs(encoder, checkpoint.scaler, train, progress=stage)
        test_ecg = embed_ecgs(encoder, checkpoint.scaler, test)
        scored += zero_shot(checkpoint, name, test_ecg, data, questions, deterministic=plain)
        scored += few_shot(
            name,
            train_ecg,
            test_ecg,
            data,
            questions,
            n_seeds=n_seeds,
            deterministic=plain,
        )
    figures, gains = _measured(checkpoint, scored, n_resamples)
    return Study(
        "few_shot",
        f"Few-shot on {data.name}",
        f"Logistic regression on frozen mu, both classes weighing as much, from 10 % of the "
        f"training patients (drawn by patient, stratified by the label, {n_seeds} draws) and from "
        f"all of them (one fit); yes where its logit is positive. {_HALVES[plain]}. {_RANDOM}. "
        f"{_INTERVALS}, and over draws where there are several.",
        tuple(figures),
        (
            table_2(figures, source=data.source, label=str(questions[0].label)),
            differences_table(gains),
            answers_table(figures),
        ),
        tuple(gains),
        counts={"training ECGs": len(train), "test ECGs": len(test)},
    )


def run_fine_tune(
    checkpoint: Checkpoint,
    folder: Path | None,
    prompts: Sequence[PromptSet],
    *,
    labels: Sequence[str] | None = None,
    settings: FineTuneSettings | None = None,
    deterministic: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """All weights of the ECG encoder trained for each label, beside probe, zero-shot and random.

    Parameters
    ----------
    labels : sequence of str, optional
        Without, the four of the paper's Table 3.
    """
    settings = settings or FineTuneSettings()
    data = open_data(
        checkpoint, folder, ("train", "valid", "test"), progress=progress.stage("open the data")
    )
    test = data.split("test")
    asked = labels
    if asked is None:
        asked = [name for name in MUSIC_LABELS if f"label_{name}" in test.table.columns]
    questions = questions_of(test, prompts, asked or None)
    plain = is_deterministic(checkpoint) if deterministic is None else deterministic
    scored: list[Scored] = []
    counts: dict[str, float] = {"test ECGs": len(test)}
    for name, encoder in _encoders(checkpoint).items():
        ecg = embed_ecgs(encoder, checkpoint.scaler, test)
        scored += zero_shot(checkpoint, name, ecg, data, questions, deterministic=plain)
        tuned, told = fine_tune(
            checkpoint,
            name,
            encoder,
            ecg,
            data,
            questions,
            settings,
            deterministic=plain,
            progress=progress.stage(f"fine-tune, {name}"),
        )
        scored += tuned
        counts |= {f"{name}, {key}": value for key, value in told.items()}
    figures, gains = _measured(checkpoint, scored, n_resamples)
    rows = {
        f"{name} (start)": [f for f in figures if f.model == name] for name in _encoders(checkpoint)
    }
    return Study(
        "fine_tune",
        f"Fine-tuning on {data.name}",
        f"All weights of the ECG encoder and a linear head on mu, which begins as the frozen "
        f"probe: AdamW, learning rates {settings.lr:g} and {settings.head_lr:g}, weight decay "
        f"{settings.weight_decay:g}, batches of {settings.batch_size}, {settings.epochs} epochs, "
        f"classes weighted; about {settings.n_train} training ECGs of whole patients, stratified "
        f"by the label; the epoch is chosen by the AUROC on about {settings.n_valid} valid ECGs; "
        f"{settings.n_seeds} seeds, each with its own draw. *frozen probe*: logistic regression on "
        f"the untuned mu of the same ECGs. {_HALVES[plain]}, before tuning. {_RANDOM}, trained in "
        f"the same way. {_INTERVALS} and seeds.",
        tuple(figures),
        (
            table_3(rows, source=data.source),
            differences_table(gains),
            answers_table(figures),
        ),
        tuple(gains),
        counts=counts,
    )


def run_retrieval(
    checkpoint: Checkpoint,
    folder: Path | None,
    *,
    deterministic: bool | None = None,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Study:
    """From each report to its ECG.

    Parameters
    ----------
    folder : path or None
        A prepared set, whose test split is the gallery; without it, `GALLERY_N` simulated ECGs of
        patients that no training saw.
    """
    if folder is None:
        gallery = gallery_set(
            GALLERY_N, GALLERY_SEED, progress=progress.stage("simulate the gallery")
        )
        data = EvaluationData("simulated gallery", "simulated", True, {"test": gallery})
    else:
        data = open_data(checkpoint, folder, ("test",))
        gallery = data.split("test")
    plain = is_deterministic(checkpoint) if deterministic is None else deterministic
    figures: list[Figure] = []
    for name, encoder in _encoders(checkpoint).items():
        ecg = embed_ecgs(
            encoder, checkpoint.scaler, gallery, progress=progress.stage(f"embed, {name}")
        )
        figures += retrieval(
            checkpoint,
            name,
            ecg,
            gallery,
            data=data.name,
            simulated=data.simulated,
            deterministic=plain,
            n_resamples=n_resamples,
        )
    texts = gallery.table["report"].astype(str)
    return Study(
        "retrieval",
        f"Text to ECG on {data.name}",
        "Every report is a query for its ECG. *exact pair*: only its own ECG is a hit; *same "
        "text*: any ECG with the same report. A tie counts as a miss. low and high: halves by the "
        "median of the ECG's sum of sigma^2, once ranked in the full gallery and once each half in "
        f"a gallery of its own. {_RANDOM}; its texts go through the trained text encoder. "
        f"{_INTERVALS}.",
        tuple(figures),
        (
            table_4(figures, source=data.source, order=COSINE if plain else CSD),
            recall_table(figures),
        ),
        counts={"gallery ECGs": len(gallery), "different reports": int(texts.nunique())},
    )


def _measured(
    checkpoint: Checkpoint, scored: Sequence[Scored], n_resamples: int
) -> tuple[list[Figure], list[Figure]]:
    """Figures of every way of answering, and paired differences to random weights and probes."""
    figures = [figure for s in scored for figure in s.figures(n_resamples=n_resamples)]
    gains = differences(
        scored, model=checkpoint.name, control=RANDOM_WEIGHTS, n_resamples=n_resamples
    )
    return figures, gains


def _encoders(checkpoint: Checkpoint) -> dict[str, EcgEncoder]:
    return {checkpoint.name: checkpoint.encoder.ecg, RANDOM_WEIGHTS: random_encoder(checkpoint)}
