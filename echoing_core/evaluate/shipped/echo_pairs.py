"""How far ECGs lie from echocardiograms: of one heart and of two, on simulated patients."""

from __future__ import annotations

import numpy as np

from echoing_core.datasets.simulated import build_simulated
from echoing_core.echo.simulated import simulated_echo_embeddings
from echoing_core.echo.teacher import EchoTeacher
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import ConfigError
from echoing_core.metrics.distances import csd
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.retrieve.echo_pairs import EchoPairDistances

SEED = 30_011
"""Another seed than any cohort's that a model or a teacher learnt from."""


def measure_echo_pairs(
    checkpoint: Checkpoint,
    teacher: EchoTeacher,
    *,
    n_patients: int = 300,
    seed: int = SEED,
    n_workers: int = 2,
    progress: Progress = SILENT,
) -> EchoPairDistances:
    """Measure reference pairs on a simulated cohort of its own.

    The first ECG of every patient is held against the echocardiogram of the same examination,
    and against those of all others.

    Parameters
    ----------
    checkpoint : Checkpoint
        Trained with this teacher; else the distances would be of two spaces.
    teacher : EchoTeacher
    n_patients : int
        Simulated; at least 20.
    seed : int
        Of the cohort; not that of any training.
    n_workers : int
        Processes that simulate.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    EchoPairDistances

    Raises
    ------
    ConfigError
        Teacher and model have spaces of different dimensions.
    """
    dim = checkpoint.encoder.config.dim
    if teacher.dim != dim:
        raise ConfigError(
            f"The teacher has {teacher.dim} dimensions and the model {dim}; between them no "
            "distance can be told."
        )
    studies = build_simulated(
        n_patients, seed, n_workers=n_workers, progress=progress.stage("simulate ECGs")
    )
    table = studies.table
    # One of each patient, so that no patient counts more than another.
    first = np.asarray(~table["patient_id"].duplicated())
    studies = studies.where(first)
    echo = simulated_echo_embeddings(
        teacher,
        [str(name) for name in studies.table["record_id"]],
        n_workers=n_workers,
        progress=progress.stage("simulate echo"),
    )
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid)
    apart = csd(ecg.mu, ecg.log_var, echo.mu, echo.log_var).astype(np.float64)
    own = np.eye(len(apart), dtype=bool)
    n = len(apart)
    return EchoPairDistances.of(
        apart[own],
        apart[~own],
        source=f"{n:,} simulated patients that neither model nor teacher learnt from",
        simulated=True,
        teacher_hash=teacher.hash,
    )
