"""Table 5 of the article: four ways to train, alike in all else, several seeds each.

InfoNCE on ECG-text pairs, the same with the echo teacher, PCME++, and PCME++ with the teacher.
PCME++ is trained by its own loss, which the published configuration names, and its sigma^2 is
learnt by that loss jointly with mu. The article's wording, its distance (CSD) inside InfoNCE,
stands by as two rows more.
Data, split, steps, batch size, views, encoder sizes and test patients are the same for all; a seed
changes first weights, order and views. Each run's model and raw scores are kept, so that a study
that is cut off goes on, that intervals are drawn over patients and seeds together, and that
`two_variances` can ask the same models more.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import replacing_file, write_text_atomically
from echoing_core.config import to_mapping
from echoing_core.datasets.simulated import build_simulated
from echoing_core.datasets.study_set import StudySet
from echoing_core.echo.measuring import BINARY_PROMPTS
from echoing_core.echo.store import EchoEmbeddings
from echoing_core.echo.teacher import EchoTeacher
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.embed.questions import question_margins
from echoing_core.errors import ConfigError
from echoing_core.evaluate.protocols.ablation_tables import (
    PAIR,
    RunScores,
    TestSet,
    over_seeds,
    paired_over_seeds,
    table_5,
)
from echoing_core.evaluate.protocols.data import questions_of
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.results import Experiment, Table, with_interval
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    auroc,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint
from echoing_core.models.config import (
    MATCHING,
    EcgEncoderConfig,
    LossConfig,
    ModelConfig,
    TextEncoderConfig,
)
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.simulate import SimulationConfig
from echoing_core.training.paired import build_inputs, train_paired, with_echo, write_model
from echoing_core.training.settings import (
    ObjectiveConfig,
    OptimiserConfig,
    RunConfig,
    VarianceConfig,
    ViewConfig,
)
from echoing_core.zeroshot.prompts import PromptSet

logger = logging.getLogger(__name__)

GALLERY_N = 1000
"""Test ECGs among which a report's own is looked for."""

TEACHER_NO: Mapping[str, tuple[str, ...]] = {
    "lvef_lt40": (
        "THE LEFT VENTRICULAR EJECTION FRACTION IS NORMAL. ",
        "LEFT VENTRICULAR SYSTOLIC FUNCTION IS NORMAL. ",
        "LEFT VENTRICULAR WALL MOTION IS NORMAL. ",
    ),
    "slvh": ("LEFT VENTRICULAR WALL THICKNESS IS NORMAL. ",),
    "dlv": (
        "THE LEFT VENTRICLE IS NORMAL IN SIZE. ",
        "LEFT VENTRICULAR CAVITY SIZE IS NORMAL. ",
    ),
}
"""What stands against `echo.measuring.BINARY_PROMPTS`."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Method:
    """One row of Table 5.

    Attributes
    ----------
    key : str
        As a command line names it.
    name : str
        As the table names it.
    loss : str
        One of `LossConfig`.
    with_echo : bool
        Whether ECGs with an echo are drawn to the teacher's Gaussian, too.
    """

    key: str
    name: str
    loss: str
    with_echo: bool


METHODS = (
    Method("infonce", "InfoNCE", "infonce", False),
    Method("infonce_echo", "InfoNCE + echo teacher", "infonce", True),
    Method("pcmepp", "PCME++", "pcmepp", False),
    Method("pcmepp_echo", "PCME++ + echo teacher (ours)", "pcmepp", True),
)
"""The rows of Table 5, and what is run if nothing else is asked for."""

AS_WORDED = (
    Method("csd_infonce", "CSD inside InfoNCE", "csd_infonce", False),
    Method("csd_infonce_echo", "CSD inside InfoNCE + echo teacher", "csd_infonce", True),
)
"""As the article's text has it: a softmax over distances."""

KNOWN = METHODS + AS_WORDED

ACROSS_LOSSES = (("pcmepp", "infonce"), ("pcmepp", "csd_infonce"))
COMPARED = (
    ("infonce_echo", "infonce"),
    ("pcmepp_echo", "pcmepp"),
    ("csd_infonce_echo", "csd_infonce"),
    *ACROSS_LOSSES,
)
"""Methods that are subtracted from each other: with and without the teacher, and two losses."""

DIFFERS = (
    "What differs from the paper: encoders of half a million weights, not 126 million; {steps} "
    "steps of {batch} on one small cohort, not MIMIC-IV; {share:.0f} % of the training patients "
    "have an echocardiogram (in the paper 814 of some 88,000 ECGs); lambda = {weight:g}."
)

OWN_WORDS, TEACHERS_WORDS = "its own words", "the teacher's"
"""In which an echo label is asked."""


@dataclass(frozen=True)
class AblationConfig:
    """What is alike for all four rows.

    Attributes
    ----------
    seeds : tuple of int
    sigma2 : str
        Jointly by the loss in every row, so that only the loss tells two apart; `BOTH` adds the one
        by displacement, learnt with ``variance``.
    ecg, text : configs
        Smaller than the demo's: twelve runs are to end within two or three hours on two cores.
    echo_share : float
        Share of the training patients who had an echocardiogram (in the article 814 of some 88,000
        ECGs).
    infonce_scale, csd_scale, pcmepp_scale, pcmepp_shift : float
        Where the learnt constants of the losses begin.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 900
    batch_size: int = 64
    echo_batch_size: int = 32
    text_weight: float = 0.7
    echo_share: float = 0.5
    lr: float = 2.0e-3
    infonce_scale: float = 15.0
    csd_scale: float = 10.0
    pcmepp_scale: float = 10.0
    pcmepp_shift: float = 10.0
    ecg: EcgEncoderConfig = field(
        default_factory=lambda: EcgEncoderConfig(
            stem_width=24, mid_width=48, width=96, variance_width=6, variance_hidden=48
        )
    )
    text: TextEncoderConfig = field(
        default_factory=lambda: TextEncoderConfig(hidden=96, n_layers=1, ffn=256)
    )
    dim: int = 256
    sigma2: str = MATCHING
    variance: VarianceConfig = field(
        default_factory=lambda: VarianceConfig(where_steps=800, steps=250, text_steps=100)
    )

    def run_of(self, method: Method, seed: int) -> RunConfig:
        """Settings of one run.

        Parameters
        ----------
        method : Method
            Gives the loss. The teacher is no setting: the caller passes its embeddings, or none.
        seed : int
            Of first weights, order and views.

        Returns
        -------
        RunConfig
        """
        loss = {
            "infonce": LossConfig("infonce", scale_init=self.infonce_scale),
            "csd_infonce": LossConfig("csd_infonce", scale_init=self.csd_scale),
            "pcmepp": LossConfig(
                "pcmepp", scale_init=self.pcmepp_scale, shift_init=self.pcmepp_shift
            ),
        }[method.loss]
        return RunConfig(
            preset=f"ablation-{method.key}",
            seed=seed,
            steps=self.steps,
            batch_size=self.batch_size,
            precision="float32",
            objective=ObjectiveConfig(
                text_weight=self.text_weight, echo_batch_size=self.echo_batch_size
            ),
            optimiser=OptimiserConfig(lr=self.lr, warmup_share=0.08, average_decay=0.98),
            views=ViewConfig(kind="device", corrupt_share=0.2, partial_report_share=0.25),
            loss=loss,
            model=ModelConfig(dim=self.dim, ecg=self.ecg, text=self.text, sigma2=self.sigma2),
            variance=self.variance,
        )


def run_ablation(
    folder: Path,
    studies: StudySet,
    echo: EchoEmbeddings,
    prompts: Sequence[PromptSet],
    config: AblationConfig,
    *,
    sides: Mapping[str, tuple[Floats, Floats]] | None = None,
    methods: Sequence[Method] = METHODS,
    progress: Progress = SILENT,
) -> dict[str, list[RunScores]]:
    """Train and score every method with every seed; runs that are there already are read.

    Parameters
    ----------
    folder : Path
        Holds the model folder ``<method>-<seed>`` and its scores beside it, one a run.
    studies : StudySet
        All splits.
    echo : EchoEmbeddings
        Of the training studies; which of them a method sees, `with_echo` chooses.
    prompts : sequence of PromptSet
        Those whose label the test patients know with both answers.
    config : AblationConfig
    sides : mapping of label to (yes, no), optional
        As `teacher_sides` gives them.

    methods : sequence of Method
    progress : Progress, optional
        Counts runs.

    Returns
    -------
    dict of method key to list of RunScores, in the order of the seeds
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_study(folder, studies, echo, config)
    test = studies.where((studies.table["split"] == "test").to_numpy())
    # Asked of the test patients once, so that every run answers the same questions.
    prompts = questions_of(test, prompts)
    runs: dict[str, list[RunScores]] = {}
    total, done = len(methods) * len(config.seeds), 0
    # Seed by seed, so that a study cut off early has all rows for the first seeds.
    for seed in config.seeds:
        for method in methods:
            path = run_folder(folder, method, seed).with_suffix(".npz")
            if not path.is_file():
                checkpoint = _one_run(folder, method, seed, studies, echo, config)
                _save(path, scores_of(checkpoint, method, test, prompts, sides or {}))
            runs.setdefault(method.key, []).append(_load(path))
            done += 1
            progress.stage("runs")(done, total)
    return runs


def cohort_of(
    n_patients: int,
    n_test_patients: int,
    seed: int,
    echo_in_report: float,
    *,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> StudySet:
    """A simulated cohort whose test patients are as many as the intervals want.

    Train and valid patients are those among the first ``n_patients`` of the cohort; test patients
    those among the first ten times ``n_test_patients``, since one in ten is one.

    Parameters
    ----------
    n_patients, n_test_patients, seed : int
    echo_in_report : float
        Share of the reports that tell the echocardiogram, too.
    n_workers : int
        Processes.
    progress : Progress, optional

    Returns
    -------
    StudySet
        All splits.
    """
    config = SimulationConfig(echo_in_report=echo_in_report)

    learnt = build_simulated(
        n_patients,
        seed,
        config=config,
        splits=("train", "valid"),
        n_workers=n_workers,
        progress=progress.stage("simulate training patients"),
    )
    tested = build_simulated(
        10 * n_test_patients,
        seed,
        config=config,
        splits=("test",),
        n_workers=n_workers,
        progress=progress.stage("simulate test patients"),
    )
    return learnt.concat(tested)


def teacher_sides(teacher: EchoTeacher) -> dict[str, tuple[Floats, Floats]]:
    """The teacher's sentences for yes and no of each echo label, embedded by its text encoder.

    An ECG encoder that has learnt to meet the teacher's means can be asked in the teacher's own
    words, and need never have read a report that tells of an echocardiogram.

    Parameters
    ----------
    teacher : EchoTeacher

    Returns
    -------
    dict of label to (yes, no)
        Each an ndarray, shape (n_sentences, dim).
    """
    return {
        label: (
            teacher.embed_text(BINARY_PROMPTS[label]).astype(np.float64),
            teacher.embed_text(no).astype(np.float64),
        )
        for label, no in TEACHER_NO.items()
    }


def measure_ablation(
    runs: Mapping[str, Sequence[RunScores]],
    studies: StudySet,
    config: AblationConfig,
    *,
    n_resamples: int = 1000,
) -> Experiment:
    """Make tables of what `run_ablation` returned.

    Parameters
    ----------
    runs : mapping of method key to sequence of RunScores
    studies : StudySet
        The same as there.
    config : AblationConfig
    n_resamples : int

    Returns
    -------
    Experiment
        Table 5, and what the echo teacher adds to each echo label, asked in the model's own words
        and in the teacher's.
    """
    test = studies.where((studies.table["split"] == "test").to_numpy())
    # The gallery is the first test ECGs, as in `scores_of`, so that ranks and patients go together.
    table, gallery = test.table, test.table["patient_id"][:GALLERY_N]
    patients = np.asarray(table["patient_id"].astype(str))
    truth = {
        name.removeprefix("label_"): table[name].to_numpy(dtype=np.float64)
        for name in test.label_columns
    }
    names = {method.key: method.name for method in KNOWN}
    pairs = [(a, b) for a, b in COMPARED if a in runs and b in runs]
    table_of_5 = table_5(
        {names[key]: of_method for key, of_method in runs.items()},
        TestSet(
            truth=truth,
            patients=patients,
            gallery_patients=np.asarray(gallery.astype(str)),
            source=str(table["source"].iloc[0]),
            simulated=bool(table["simulated"].all()),
        ),
        compare=[(names[a], names[b]) for a, b in pairs],
        probabilistic={method.name: method.loss != "infonce" for method in KNOWN},
        n_resamples=n_resamples,
    )
    gains = _echo_gains(runs, names, pairs, truth, patients, n_resamples)
    of_teacher = Table(
        "What the echo teacher adds, by question (AUROC)",
        ["Question", "Asked in", "Figure", "Percent"],
        [
            [label, words, name, with_interval(e, percent=True, signed=" minus " in name)]
            for (label, words, name), e in gains.items()
        ],
        [
            {"question": label, "words": words, "figure": name} | dataclasses.asdict(e)
            for (label, words, name), e in gains.items()
        ],
        rule="---",
    )
    further = {
        # Beyond the layout of Table 5, for whoever reads the JSON.
        "echo_labels": of_teacher.records,
        "minutes_a_run": {
            names[key]: float(np.mean([run.minutes for run in of_method]))
            for key, of_method in runs.items()
        },
        "settings": to_mapping(config),
    }
    differs = DIFFERS.format(
        steps=config.steps,
        batch=config.batch_size,
        share=100 * config.echo_share,
        weight=config.text_weight,
    )
    first, *rest = table_of_5.tables
    return dataclasses.replace(
        table_of_5,
        tables=(dataclasses.replace(first, note=f"{first.note}\n\n{differs}"), *rest, of_teacher),
        content=table_of_5.to_dict() | further,
    )


def _echo_gains(
    runs: Mapping[str, Sequence[RunScores]],
    names: Mapping[str, str],
    pairs: Sequence[tuple[str, str]],
    truth: Mapping[str, Floats],
    patients: npt.NDArray[np.str_],
    n_resamples: int,
) -> dict[tuple[str, str, str], Estimate]:
    """AUROC of each echo label by (label, whose words, method or difference)."""
    gains: dict[tuple[str, str, str], Estimate] = {}
    for label in TEACHER_NO:
        known = np.isfinite(truth[label])
        yes, people, teacher = truth[label][known] > 0.5, patients[known], f"teacher:{label}"

        def of(key: str, name: str, known: BoolArray = known) -> list[Floats]:
            # One array of shape (n_known,) for each seed. `known` is bound now: the loop rebinds
            # it.
            return [run.margins[name][known] for run in runs[key]]

        for key in runs:
            for name, words in ((label, OWN_WORDS), (teacher, TEACHERS_WORDS)):
                # Runs without the teacher have no margins by its sentences.
                if name in runs[key][0].margins:
                    gains[label, words, names[key]] = over_seeds(
                        auroc, yes, of(key, name), people, n_resamples=n_resamples
                    )
        for a, b in pairs:
            # A teacher is what tells the two of a pair apart; the losses are compared in Table 5.
            if (a, b) in ACROSS_LOSSES:
                continue
            difference = f"{names[a]} minus {names[b]}"
            gains[label, OWN_WORDS, difference] = paired_over_seeds(
                auroc, yes, of(a, label), of(b, label), people, n_resamples=n_resamples
            )
            # With the teacher, asked in the teacher's words, against without it in the model's own:
            # a model that saw no teacher cannot be asked in the teacher's.
            if teacher in runs[a][0].margins:
                gains[label, TEACHERS_WORDS, f"{difference} in its own"] = paired_over_seeds(
                    auroc, yes, of(a, teacher), of(b, label), people, n_resamples=n_resamples
                )
    return gains


def _only(echo: EchoEmbeddings, wanted: set[str]) -> EchoEmbeddings:
    # A store has one Gaussian a study or one a clip; without clips `clip_ids` is empty and stays
    # so.
    keep = np.array([study in wanted for study in echo.study_ids], dtype=np.bool_)

    def chosen(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name, k in zip(names, keep, strict=True) if k) if names else ()

    return dataclasses.replace(
        echo,
        study_ids=chosen(echo.study_ids),
        clip_ids=chosen(echo.clip_ids),
        mu=echo.mu[keep],
        log_var=echo.log_var[keep],
        n_frames=echo.n_frames[keep],
    )


def run_folder(folder: Path, method: Method, seed: int) -> Path:
    """Where a run's model lies.

    Parameters
    ----------
    folder : Path
        Of all runs.
    method : Method
    seed : int

    Returns
    -------
    Path
    """
    return folder / f"{method.key}-{seed}"


def _one_run(
    folder: Path,
    method: Method,
    seed: int,
    studies: StudySet,
    echo: EchoEmbeddings,
    config: AblationConfig,
) -> Checkpoint:
    """Train a run, or read its model where it is there."""
    path = run_folder(folder, method, seed)
    if not path.is_dir():
        started = time.monotonic()
        # All methods train on all ECGs; those without a teacher never see the echo of any.
        wanted = set(with_echo(studies, config.echo_share))
        paired = _only(echo, wanted) if method.with_echo else None
        inputs = build_inputs(config.run_of(method, seed), studies, echo=paired)
        trained = train_paired(inputs)
        minutes = (time.monotonic() - started) / 60
        logger.info("%s, seed %d: %.1f minutes", method.name, seed, minutes)
        write_model(path, inputs, trained, origin={"method": method.key}, minutes=minutes)
    return load_checkpoint(path)


def scores_of(
    model: Checkpoint,
    method: Method,
    test: StudySet,
    prompts: Sequence[PromptSet],
    sides: Mapping[str, tuple[Floats, Floats]],
) -> RunScores:
    """Score a trained model on test patients.

    Parameters
    ----------
    model : Checkpoint
    method : Method
        That it was trained by.
    test : StudySet
    prompts : sequence of PromptSet
    sides : mapping of label to (yes, no)
        As `teacher_sides` gives them; not used for a method that saw no teacher.

    Returns
    -------
    RunScores
    """
    ecg = encode_batch(model.encoder.ecg, model.scaler, test.signal_mv, test.valid)
    reports = [str(text) for text in test.table["report"][:GALLERY_N]]
    text, gallery = encode_texts(model, reports), ecg[:GALLERY_N]
    # A model is searched by the distance that it was trained with.
    order = COSINE if method.loss == "infonce" else CSD
    margins = {
        str(question.label): question_margins(model, ecg, question)[0] for question in prompts
    }
    for label, (yes_mu, no_mu) in sides.items() if method.with_echo else ():
        # As `zeroshot.closed_form.prototype`, of sentences that another encoder embedded.
        direction = _unit(yes_mu.mean(0)) - _unit(no_mu.mean(0))
        margins[f"teacher:{label}"] = ecg.mu.astype(np.float64) @ direction
    ranks = {
        key: text_to_ecg_ranks(text, gallery, reports, order=order, hit=hit)
        for key, hit in ((PAIR, EXACT_PAIR), (SAME_TEXT, SAME_TEXT))
    }
    return RunScores(margins, ranks, ecg.uncertainty, float(model.training["minutes"]))


def _check_same_study(
    folder: Path, studies: StudySet, echo: EchoEmbeddings, config: AblationConfig
) -> None:
    """Runs of another study must not be mixed in."""
    # Every 50th ECG tells two cohorts apart at a fiftieth of the reading.
    digest = hashlib.sha256(np.ascontiguousarray(studies.signal_mv[::50]).tobytes())
    for report in studies.table["report"]:
        digest.update(str(report).encode())
    facts: dict[str, Any] = {
        # More seeds may be added to a study later.
        "config": {k: v for k, v in to_mapping(config).items() if k != "seeds"},
        "data": digest.hexdigest(),
        "teacher": echo.teacher_hash,
        # A row's name has stood for another loss before.
        "losses": {method.key: method.loss for method in KNOWN},
    }
    path = folder / "study.json"
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    # Compared as text: keys are sorted and floats are written in full, so equal settings are equal
    # text.
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{folder.name} holds the runs of another study. Name another folder, or repeat its "
            "settings."
        )
    write_text_atomically(path, text)


def _save(path: Path, scores: RunScores) -> None:
    arrays: dict[str, npt.NDArray[Any]] = {f"margin|{k}": v for k, v in scores.margins.items()}
    arrays |= {f"rank|{k}": v for k, v in scores.ranks.items()}
    # A run that was cut off leaves no half-written scores to read.
    with replacing_file(path) as draft:
        np.savez(draft, sigma2=scores.sigma2, minutes=np.array(scores.minutes), **arrays)  # type: ignore[arg-type]


def _load(path: Path) -> RunScores:
    with np.load(path) as arrays:
        return RunScores(
            {k[7:]: arrays[k] for k in arrays.files if k.startswith("margin|")},
            {k[5:]: arrays[k] for k in arrays.files if k.startswith("rank|")},
            arrays["sigma2"],
            float(arrays["minutes"]),
        )


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float64)
