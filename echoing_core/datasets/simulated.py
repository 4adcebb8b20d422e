"""The simulated cohort as one study table, drawn in memory or read from a folder."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from echoing_core.datasets.study_set import COLUMNS, SPLITS, StudySet
from echoing_core.errors import ConfigError, DataSetError, RecordError
from echoing_core.io import read_recording
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, LONG_PADDING, BoolArray
from echoing_core.signals import standardise
from echoing_core.simulate import (
    SimulatedStudy,
    SimulationConfig,
    ecg_count,
    patient_id,
    simulate_study,
    split_of,
)
from echoing_core.workers import in_order

logger = logging.getLogger(__name__)

SOURCE = "simulated"
# Some seconds of work: few enough jobs, and progress that moves.
_PATIENTS_A_CHUNK = 16


@dataclass(frozen=True)
class CohortConfig:
    """The simulated cohort that the demo model is trained and evaluated on.

    Attributes
    ----------
    n_patients : int
        The split hangs on the patient: 80 % of them are for training.
    seed : int
        Another seed is another cohort, with other patients.
    """

    n_patients: int = 9000
    seed: int = 7


@dataclass(frozen=True, eq=False)
class _Chunk:
    rows: list[dict[str, Any]]
    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray


def build_simulated(
    n_patients: int,
    seed: int,
    *,
    config: SimulationConfig | None = None,
    splits: Collection[str] = SPLITS,
    n_workers: int = 1,
    filter_padding: str = LONG_PADDING,
    progress: Progress = SILENT,
) -> StudySet:
    """Simulate a cohort and standardise its 12-lead ECGs.

    Parameters
    ----------
    n_patients : int
        Patients 0 to n - 1 of the cohort: a longer cohort of one seed begins with a shorter.
    seed : int
    config : SimulationConfig, optional
    splits : collection of str
        Which of ``"train"``, ``"valid"`` and ``"test"`` to simulate. The split of a patient
        hangs on the patient's id alone: 80, 10 and 10 %.
    n_workers : int
        Processes to share the work; the result does not depend on it.
    filter_padding : {"long", "scipy"}
        As in `signals.standardise`.
    progress : Progress, optional
        Counts patients.

    Returns
    -------
    StudySet
        In the order of patients and of their ECGs; signals of shape (n, 12, n_times). The truth
        about the simulated heart stands in ``label_*`` columns where it is a number or a bool,
        and in a column of its own name (``sex``, ``rhythm``) where it is a word. ``quality`` is
        ``"clean"``, ``"moderate"`` or ``"bad"``.

    Raises
    ------
    ConfigError
        An unknown split, nobody in the splits, or fewer than one worker.
    """
    unknown = sorted(set(splits) - set(SPLITS))
    if unknown:
        raise ConfigError(f"There is no split {unknown[0]}. The splits are {', '.join(SPLITS)}.")
    if n_workers < 1:
        raise ConfigError(f"{n_workers} workers cannot simulate anything. Use at least 1.")
    # The split is known from the id, so nobody is simulated in vain.
    patients = [p for p in range(n_patients) if split_of(patient_id(seed, p)) in splits]
    if not patients:
        raise ConfigError(
            f"Of {n_patients} simulated patients none is in the splits asked for "
            f"({', '.join(splits) or 'none'}). Simulate more patients."
        )
    pieces = [
        patients[i : i + _PATIENTS_A_CHUNK] for i in range(0, len(patients), _PATIENTS_A_CHUNK)
    ]
    # A function of the module, since a spawned process gets it by pickle.
    draw = partial(
        _draw_chunk,
        seed=seed,
        config=config or SimulationConfig(),
        filter_padding=filter_padding,
    )
    chunks: list[_Chunk] = []
    n_done = 0
    drawn = in_order(draw, ((piece,) for piece in pieces), n_workers=min(n_workers, len(pieces)))
    # In the order of the patients, whichever process is done first.
    for piece, chunk in zip(pieces, drawn, strict=True):
        chunks.append(chunk)
        n_done += len(piece)
        progress(n_done, len(patients))
    return _assembled(chunks)


def load_simulated(folder: str | Path, *, progress: Progress = SILENT) -> StudySet:
    """Read a cohort that `echoing simulate` wrote: ``studies.csv`` and the records it names.

    Parameters
    ----------
    folder : path
    progress : Progress, optional
        Counts records.

    Returns
    -------
    StudySet
        As `build_simulated` gives it, apart from what 16-bit files round (0.5 microvolt), with
        the further columns of ``studies.csv``. Records that are missing or cannot be used are
        left out, counted, and named in the log.

    Raises
    ------
    DataSetError
        ``studies.csv`` is missing, is not one of a simulated cohort, or none of its records
        can be used.
    """
    root = Path(folder)
    path = root / "studies.csv"
    if not path.is_file():
        raise DataSetError(
            f"There is no studies.csv in {root.name or root}. Name a folder that `echoing "
            "simulate` wrote."
        )
    # Ids as text: 00012 is not 12. Empty reports stay empty, and do not become NaN.
    table = pd.read_csv(path, dtype={"patient_id": str, "record_id": str}, keep_default_na=False)
    missing = [n for n in (*COLUMNS, "path") if n not in table.columns and n != "source"]
    if missing or table["simulated"].astype(str).ne("True").any():
        problem = f"lacks {', '.join(missing)}" if missing else "has rows that are not simulated"
        raise DataSetError(f"studies.csv {problem}; `echoing simulate` writes no such table.")
    table.insert(0, "source", SOURCE)
    # `rows_read` keeps table and signals together where records are left out.
    rows_read, signals, valids, failures = [], [], [], []
    for done, name in enumerate(table["path"]):
        progress(done, len(table))
        header = root / f"{name}.hea"
        try:
            ecg = standardise(read_recording([header, header.with_suffix(".dat")]))
        except RecordError as error:
            failures.append(str(error))
            continue
        rows_read.append(done)
        signals.append(ecg.signal_mv)
        valids.append(ecg.valid)
    progress(len(table), len(table))
    if failures:
        logger.warning(
            "Simulated cohort: %d of %d records left out, the first: %s",
            len(failures),
            len(table),
            failures[0],
        )
    if not rows_read:
        raise DataSetError(f"None of the {len(table)} records of studies.csv can be used.")
    if len({signal.shape for signal in signals}) > 1:
        raise DataSetError("The records of studies.csv differ in length; a cohort has one length.")
    rows = table.iloc[rows_read].reset_index(drop=True)
    # As `build_simulated` does: a label is a number or bool, words stand under their own name.
    words = [n for n in rows.columns if n.startswith("label_") and rows[n].dtype == object]
    rows = rows.rename(columns={n: n.removeprefix("label_") for n in words})
    # CSV does not tell 60.0 from 60; labels are float.
    counts = rows.select_dtypes("integer").columns
    rows = rows.astype({n: np.float64 for n in counts if n.startswith("label_")})
    return StudySet(rows, np.stack(signals), np.stack(valids))


def _draw_chunk(
    patients: Sequence[int], seed: int, config: SimulationConfig, filter_padding: str
) -> _Chunk:
    rows, signals, valids = [], [], []
    for patient in patients:
        for ecg in range(ecg_count(seed, patient)):
            study = simulate_study(seed, patient, ecg, config)
            standard = standardise(study.recording_12, filter_padding=filter_padding)
            rows.append(_row(study))
            signals.append(standard.signal_mv)
            valids.append(standard.valid)
    return _Chunk(rows, np.stack(signals), np.stack(valids))


def _row(study: SimulatedStudy) -> dict[str, Any]:
    row: dict[str, Any] = {
        "source": SOURCE,
        "patient_id": study.patient_id,
        "study_id": study.study_id,
        "record_id": study.record_id,
        "split": split_of(study.patient_id),
        "report": study.report,
        "simulated": True,
        "quality": study.quality,
        "report_style": study.report_style,
    }
    # The truth about the heart: numbers and bools are labels, words (rhythm, sex) are columns.
    for name, value in study.labels.items():
        row[name if isinstance(value, str) else f"label_{name}"] = value
    return row


def _assembled(chunks: list[_Chunk]) -> StudySet:
    """Join the chunks, letting go of each as it is copied: cohorts fill much of the memory."""
    n_rows = sum(len(chunk.rows) for chunk in chunks)
    n_times = chunks[0].signal_mv.shape[2]
    signal_mv = np.empty((n_rows, len(LEADS), n_times), dtype=np.float32)
    valid = np.empty(signal_mv.shape, dtype=np.bool_)
    rows: list[dict[str, Any]] = []
    # Popped from the end, so that the first chunk is copied first and each is freed at once.
    chunks.reverse()
    while chunks:
        chunk = chunks.pop()
        place = slice(len(rows), len(rows) + len(chunk.rows))
        signal_mv[place], valid[place] = chunk.signal_mv, chunk.valid
        rows += chunk.rows
    return StudySet(pd.DataFrame(rows), signal_mv, valid)
