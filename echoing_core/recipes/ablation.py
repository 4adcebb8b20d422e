"""Table 5 of the paper: four ways to train, alike in all else, several seeds each.

InfoNCE on ECG-text pairs, the same with the echo teacher, PCME++, and PCME++ with the teacher.
Data, split, steps, batch size, views, encoder sizes and test patients are the same for all; a seed
changes first weights, order and views. Each run's raw scores are kept, one file a run, so that a
study that is cut off goes on, and so that intervals are drawn over patients and seeds together.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.config import EcgEncoderConfig, LossConfig, ModelConfig, to_mapping
from echoing_core.datasets.study_set import StudySet
from echoing_core.distances import cosine, csd
from echoing_core.embed.echo_store import EchoEmbeddings
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.evaluate.metrics import pair_ranks, same_text_ranks
from echoing_core.files import write_text_atomically
from echoing_core.recipes.paired import Prepared, in_memory, prepare, train_paired
from echoing_core.training.run import TrainedPair
from echoing_core.training.settings import (
    ObjectiveConfig,
    OptimiserConfig,
    RunConfig,
    ViewConfig,
)
from echoing_core.zeroshot import margins
from echoing_core.zeroshot_prompts import PromptSet

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]
Stage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Method:
    """One row of Table 5."""

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


@dataclass(frozen=True)
class AblationConfig:
    """What is alike for all four rows.

    Attributes
    ----------
    seeds : tuple of int
    echo_share : float
        Share of the training patients who had an echocardiogram (in the paper 814 of some 88,000
        ECGs).
    infonce_scale, pcmepp_scale, pcmepp_shift : float
        Where the learnt constants of the losses begin.
    """

    seeds: tuple[int, ...] = (1, 2, 3)
    steps: int = 500
    batch_size: int = 128
    echo_batch_size: int = 64
    text_weight: float = 0.7
    echo_share: float = 0.5
    lr: float = 1.5e-3
    infonce_scale: float = 15.0
    pcmepp_scale: float = 10.0
    pcmepp_shift: float = 10.0
    ecg: EcgEncoderConfig = field(
        default_factory=lambda: EcgEncoderConfig(stem_width=32, mid_width=64, width=128)
    )
    dim: int = 256

    def run_of(self, method: Method, seed: int) -> RunConfig:
        """Settings of one run."""
        if method.loss == "infonce":
            loss = LossConfig("infonce", scale_init=self.infonce_scale)
        else:
            loss = LossConfig(
                method.loss, scale_init=self.pcmepp_scale, shift_init=self.pcmepp_shift
            )
        return RunConfig(
            preset=f"ablation-{method.key}",
            seed=seed,
            steps=self.steps,
            batch_size=self.batch_size,
            objective=ObjectiveConfig(
                text_weight=self.text_weight, echo_batch_size=self.echo_batch_size
            ),
            optimiser=OptimiserConfig(lr=self.lr, warmup_share=0.08, average_decay=0.98),
            views=ViewConfig(kind="device", corrupt_share=0.2, partial_report_share=0.25),
            loss=loss,
            model=ModelConfig(dim=self.dim, ecg=self.ecg),
        )


@dataclass(frozen=True, eq=False)
class RunScores:
    """What one trained model says of the test patients.

    Attributes
    ----------
    margins : mapping of str to ndarray, shape (n_test,)
        By label, with prompts in the model's own words; ``"teacher:<label>"`` with the echo
        teacher's sentences, through its text encoder, against the ECG's mu.
    ranks : mapping of str to ndarray of int, shape (n_test,)
        Of each test report's ECG among all test ECGs: ``"pair"`` and ``"same text"`` by the
        distance that the loss uses (CSD, or cosine for InfoNCE).
    sigma2 : ndarray, shape (n_test,)
    """

    margins: Mapping[str, Floats]
    ranks: Mapping[str, npt.NDArray[np.int64]]
    sigma2: Floats
    minutes: float


def run_ablation(
    folder: Path,
    studies: StudySet,
    echo: EchoEmbeddings,
    prompts: Sequence[PromptSet],
    config: AblationConfig,
    *,
    teacher_sides: Mapping[str, tuple[Floats, Floats]] | None = None,
    methods: Sequence[Method] = METHODS,
    progress: Stage | None = None,
) -> dict[str, list[RunScores]]:
    """Train and score every method with every seed; runs that are there already are read.

    Parameters
    ----------
    folder : Path
        Holds ``<method>-<seed>.npz``, one a run.
    studies : StudySet
        All splits.
    teacher_sides : mapping of label to (yes, no), optional
        Unit embeddings of the teacher's sentences, each of shape (n, dim).

    Returns
    -------
    dict of method key to list of RunScores, in the order of the seeds
    """
    folder.mkdir(parents=True, exist_ok=True)
    _check_same_study(folder, studies, echo, config)
    test = studies.where((studies.table["split"] == "test").to_numpy())
    found: dict[str, list[RunScores]] = {}
    total, done = len(methods) * len(config.seeds), 0
    # Seed by seed, so that a study cut off early has all rows for the first seeds.
    for seed in config.seeds:
        for method in methods:
            path = folder / f"{method.key}-{seed}.npz"
            if not path.is_file():
                _save(
                    path,
                    _one_run(method, seed, studies, test, echo, prompts, config, teacher_sides),
                )
            found.setdefault(method.key, []).append(_load(path))
            done += 1
            if progress is not None:
                progress("runs", done, total)
    return found


def echo_of_some(echo: EchoEmbeddings, studies: StudySet, share: float) -> EchoEmbeddings:
    """Keep the echocardiograms of a share of the patients, chosen by a hash of their name."""
    table = studies.table.set_index("study_id")["patient_id"]
    keep = np.array(
        [_unit_hash(str(table.get(study, study))) < share for study in echo.study_ids], dtype=bool
    )
    return dataclasses.replace(
        echo,
        study_ids=tuple(s for s, k in zip(echo.study_ids, keep, strict=True) if k),
        mu=echo.mu[keep],
        log_var=echo.log_var[keep],
        n_frames=echo.n_frames[keep],
    )


def _one_run(
    method: Method,
    seed: int,
    studies: StudySet,
    test: StudySet,
    echo: EchoEmbeddings,
    prompts: Sequence[PromptSet],
    config: AblationConfig,
    teacher_sides: Mapping[str, tuple[Floats, Floats]] | None,
) -> RunScores:
    import time

    started = time.monotonic()
    paired = echo_of_some(echo, studies, config.echo_share) if method.with_echo else None
    prepared = prepare(config.run_of(method, seed), studies, echo=paired)
    trained = train_paired(prepared)
    minutes = (time.monotonic() - started) / 60
    logger.info("%s, seed %d: %.1f minutes", method.name, seed, minutes)
    return scores_of(prepared, trained, test, prompts, teacher_sides or {}, minutes)


def scores_of(
    prepared: Prepared,
    trained: TrainedPair,
    test: StudySet,
    prompts: Sequence[PromptSet],
    teacher_sides: Mapping[str, tuple[Floats, Floats]],
    minutes: float,
) -> RunScores:
    """Score a trained model on test patients."""
    model = in_memory(prepared, trained)
    ecg = encode_batch(model.encoder.ecg, model.scaler, test.signal_mv, test.valid)
    reports = [str(text) for text in test.table["report"]]
    text = encode_texts(model, reports)
    deterministic = prepared.config.loss.name == "infonce"
    distance = (
        1.0 - cosine(text.mu, ecg.mu)
        if deterministic
        else csd(text.mu, text.log_var, ecg.mu, ecg.log_var)
    )
    said: dict[str, Floats] = {}
    for item in prompts:
        if f"label_{item.label}" in test.label_columns:
            yes, no = (encode_texts(model, side) for side in (item.positive, item.negative))
            said[str(item.label)] = np.asarray(margins(ecg, yes, no)[0], dtype=np.float64)
    for label, (yes_mu, no_mu) in teacher_sides.items():
        direction = _unit(yes_mu.mean(0)) - _unit(no_mu.mean(0))
        said[f"teacher:{label}"] = ecg.mu.astype(np.float64) @ direction
    ranks = {"pair": pair_ranks(distance), "same text": same_text_ranks(distance, reports, reports)}
    return RunScores(said, ranks, ecg.uncertainty, minutes)


def _check_same_study(
    folder: Path, studies: StudySet, echo: EchoEmbeddings, config: AblationConfig
) -> None:
    """Runs of another study must not be mixed in."""
    from echoing_core.errors import ConfigError

    digest = hashlib.sha256(np.ascontiguousarray(studies.signal_mv[::50]).tobytes())
    for report in studies.table["report"]:
        digest.update(str(report).encode())
    facts: dict[str, Any] = {
        "config": {k: v for k, v in to_mapping(config).items() if k != "seeds"},
        "data": digest.hexdigest(),
        "teacher": echo.teacher_hash,
    }
    path = folder / "study.json"
    text = json.dumps(facts, indent=1, sort_keys=True) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{folder.name} holds the runs of another study. Name another folder, or repeat its "
            "settings."
        )
    write_text_atomically(path, text)


def _save(path: Path, scores: RunScores) -> None:
    arrays = {f"margin|{k}": v for k, v in scores.margins.items()}
    arrays |= {f"rank|{k}": v for k, v in scores.ranks.items()}
    draft = path.with_suffix(".draft.npz")
    np.savez(draft, sigma2=scores.sigma2, minutes=np.array(scores.minutes), **arrays)  # type: ignore[arg-type]
    draft.replace(path)


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


def _unit_hash(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2.0**64
