"""Which ECG belongs to which note or echocardiogram, and who must not stand in two splits.

The rules, in this order:

1. Both are of one person.
2. ``same_admission``: some stay in hospital holds both. Stays may overlap, and a time may lie in
   several of them; one that holds both is enough.
3. They lie no more than ``window_days`` apart.
4. Of those left, the nearest in time. Of two equally near the earlier is taken (what was known
   when the ECG was made), of two at one time the smaller id: numbers by value, names by letters.

MIMIC's ECG machines set their own clocks, which may be wrong by much; so order in time is no rule
here, and distances of less than a day should not be trusted.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from echoing_core.datasets.prepared import load_prepared
from echoing_core.datasets.study_set import SPLITS, StudySet
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.records import LEADS

MIMIC_SHARES: tuple[float, float, float] = (0.7, 0.1, 0.2)
"""Of train, valid and test patients: the paper has 71, 10 and 20 % of ECGs."""

# A patient may have hundreds of both, and all pairs of a person stand in memory at once.
_EVENTS_AT_ONCE = 20_000
_ROWS_AT_ONCE = 4096
# Midway between what one ECG in two files shows and what two ECGs show; see `shared_between`.
_SAME_WAVE = 0.8
# Two leads by matrix product rule out nearly all pairs; the 12 leads are compared for the rest.
_SCREENING_LEADS = (LEADS.index("II"), LEADS.index("V2"))


@dataclass(frozen=True)
class PairingRule:
    """What may be a pair; see the rules at the top of this module.

    Attributes
    ----------
    same_admission : bool
        One stay in hospital must hold both.
    window_days : float or None
        How far apart they may lie; None for any distance.
    """

    same_admission: bool = True
    window_days: float | None = None

    def __post_init__(self) -> None:
        if self.window_days is not None and not self.window_days >= 0:
            raise ConfigError(f"A window of {self.window_days} days is none. Give 0 or more.")
        if not self.same_admission and self.window_days is None:
            raise ConfigError(
                "Pairs that need neither lie in one admission nor near in time could be years "
                "apart. Give window_days, or ask for the same admission."
            )

    def in_words(self) -> str:
        """The rule as a sentence, for cards and reports."""
        parts = ["same person"]
        if self.same_admission:
            parts.append("one admission holds both")
        if self.window_days is not None:
            parts.append(f"at most {self.window_days:g} days apart")
        return ", ".join([*parts, "nearest in time, the earlier of two equally near"])


def pair(
    left: pd.DataFrame,
    right: pd.DataFrame,
    rule: PairingRule,
    admissions: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The best partner of each event, for those that have one.

    Parameters
    ----------
    left, right : DataFrame
        ``subject_id``, ``id`` (each once) and ``time``. Rows without a time have no partner.
    rule : PairingRule
    admissions : DataFrame, optional
        ``subject_id``, ``hadm_id``, ``start``, ``end`` as `mimic_tables.read_admissions` gives
        them. Needed for ``rule.same_admission``; else only used to name the stay.

    Returns
    -------
    DataFrame
        ``left_id``, ``right_id``, ``hours`` (right minus left) and ``hadm_id`` (the stay that
        holds both, of several the one that began last; "" without), in the order of ``left``. A
        right event may be the partner of several.

    Raises
    ------
    ConfigError
        ``rule.same_admission`` without admissions.
    """
    if rule.same_admission and admissions is None:
        raise ConfigError(
            "Pairing within admissions needs MIMIC-IV's admissions table. Name its folder (hosp), "
            "or switch same_admission off and give a window in days."
        )
    right = right[right["time"].notna()]
    # Whoever has no partner at all is dropped before the merge, which multiplies rows.
    left = left[left["time"].notna() & left["subject_id"].isin(set(right["subject_id"]))]
    parts = [
        _best(left.iloc[first : first + _EVENTS_AT_ONCE], right, rule, admissions)
        for first in range(0, len(left), _EVENTS_AT_ONCE)
    ]
    columns = ["left_id", "right_id", "hours", "hadm_id"]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns})
    return pd.concat(parts, ignore_index=True)[columns]


def admission_of(events: pd.DataFrame, admissions: pd.DataFrame) -> pd.Series[str]:
    """``hadm_id`` of the stay that each event lies in, both ends included; "" where in none.

    Of several, the one that began last: a transfer opens a new stay before the old one is closed.

    Parameters
    ----------
    events : DataFrame
        ``subject_id`` and ``time``.
    admissions : DataFrame
        As for `pair`.

    Returns
    -------
    Series of str
        With the index of ``events``.
    """
    stays = pd.Series("", index=events.index, dtype=object)
    for first in range(0, len(events), _EVENTS_AT_ONCE):
        some = events.iloc[first : first + _EVENTS_AT_ONCE]
        lies = _stays(some.assign(row=some.index), admissions, "time")
        lies = _latest_stay_first(lies).drop_duplicates("row")
        stays.loc[lies["row"]] = lies["hadm_id"].to_numpy()
    return stays


def patient_split(patient_id: str, shares: tuple[float, float, float] = MIMIC_SHARES) -> str:
    """Split of a person, by SHA-256 of the name alone.

    Whoever prepares another set of the same people, or the same set in part or again, gets the
    same answer; so nobody can be a training patient in one set and a test patient in another, as
    long as both use one name for a person (`mimic_tables.patient_name`).

    Parameters
    ----------
    patient_id : str
    shares : tuple of float
        Of train, valid and test; their sum is 1.

    Returns
    -------
    {"train", "valid", "test"}
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
        raise ConfigError(f"The shares of the splits are {shares}; they must be 0 to 1, 1 in all.")
    # Uniform in [0, 1): the first 8 bytes as a fraction of 2^64.
    number = int.from_bytes(hashlib.sha256(patient_id.encode()).digest()[:8], "big") / 2.0**64
    for split, end in zip(SPLITS, itertools.accumulate(shares), strict=True):
        if number < end:
            return split
    return SPLITS[-1]


def _stays(events: pd.DataFrame, admissions: pd.DataFrame, time: str) -> pd.DataFrame:
    """One row for each event and each stay that it lies in."""
    lies = events.merge(admissions, on="subject_id")
    return lies[(lies["start"] <= lies[time]) & (lies[time] <= lies["end"])]


def _latest_stay_first(lies: pd.DataFrame) -> pd.DataFrame:
    # By value first: as text "100" would come before "99".
    number = pd.to_numeric(lies["hadm_id"], errors="coerce")
    return lies.assign(hadm_number=number).sort_values(
        ["start", "hadm_number", "hadm_id"], ascending=[False, True, True], kind="stable"
    )


def _best(
    left: pd.DataFrame, right: pd.DataFrame, rule: PairingRule, admissions: pd.DataFrame | None
) -> pd.DataFrame:
    one = left[["subject_id", "id", "time"]].assign(row=np.arange(len(left)))
    two = right[right["subject_id"].isin(set(one["subject_id"]))]
    two = two[["subject_id", "id", "time"]]
    pairs = one.merge(two, on="subject_id", suffixes=("_left", "_right"))
    pairs["hours"] = (pairs["time_right"] - pairs["time_left"]).dt.total_seconds() / 3600.0
    if rule.window_days is not None:
        pairs = pairs[pairs["hours"].abs() <= rule.window_days * 24.0]
    pairs["number"] = pd.to_numeric(pairs["id_right"].astype(str), errors="coerce")
    pairs["name"] = pairs["id_right"].astype(str)
    pairs["distance"] = pairs["hours"].abs()
    if admissions is not None:
        # One row for each pair and each stay that holds the left event; then the right one, too.
        both = _stays(pairs.assign(pairing=pairs.index), admissions, "time_left")
        both = both[(both["start"] <= both["time_right"]) & (both["time_right"] <= both["end"])]
        stay = _latest_stay_first(both).drop_duplicates("pairing").set_index("pairing")["hadm_id"]
        pairs["hadm_id"] = stay.reindex(pairs.index).fillna("")
        if rule.same_admission:
            pairs = pairs[pairs["hadm_id"] != ""]
    else:
        pairs["hadm_id"] = ""
    # hours before number: of two equally near, the earlier has the smaller (negative) value.
    best = pairs.sort_values(
        ["row", "distance", "hours", "number", "name"], kind="stable"
    ).drop_duplicates("row")
    return best.rename(columns={"id_left": "left_id", "id_right": "right_id"})


# Shared people and records


class Shared(NamedTuple):
    """A person or a recording that stands in two prepared sets.

    Attributes
    ----------
    kind : str
        ``"patient"``, ``"record"`` (one name) or ``"signal"`` (one ECG under two names).
    first, second : str
        Names of the sets.
    first_id, second_id : str
        What it is called in each.
    first_split, second_split : str
    """

    kind: str
    first: str
    second: str
    first_id: str
    second_id: str
    first_split: str
    second_split: str

    @property
    def leaks(self) -> bool:
        """Whether it is trained or tuned on in one set and measured on in the other."""
        return self.first_split != self.second_split


def shared_between(folders: Sequence[str | Path], *, signals: bool = True) -> list[Shared]:
    """People and recordings that several prepared sets have in common.

    People and records are shared by name (sets of one origin use one name, as MIMIC's modules do),
    and, with ``signals``, by what was recorded: CinC 2021 holds PTB-XL under other names and at
    another rate. Two ECGs are one where II, V2 and the median of the 12 leads correlate above 0.8
    over their whole length. (Of 10 ECGs in PTB-XL's 100-Hz files and in CinC 2021's at 500 Hz all
    correlate above 0.88, of 240,000 pairs of different ones none above 0.58.) A shared ECG tells
    of a shared person whose other ECGs may be anywhere.

    Parameters
    ----------
    folders : sequence of path
        At least two, as `save_prepared` writes them.
    signals : bool
        Compare signals too, which reads all of them.

    Returns
    -------
    list of Shared
        In the order of the folders; ``leaks`` says which stand in different splits.

    Raises
    ------
    DataSetError
        A folder is not a prepared set.
    ConfigError
        Fewer than two folders, or one given twice.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < max(len(paths), 2):
        raise ConfigError("Give two or more different prepared sets to compare.")
    sets = [(path.name, load_prepared(path)) for path in paths]
    shared: list[Shared] = []
    for (name_a, a), (name_b, b) in itertools.combinations(sets, 2):
        shared += _by_name("patient", "patient_id", name_a, a, name_b, b)
        records = _by_name("record", "record_id", name_a, a, name_b, b)
        shared += records
        if signals:
            # What is shared by name is not listed again by signal.
            known = {(one.first_id, one.second_id) for one in records}
            shared += [
                one
                for one in _by_signal(name_a, a, name_b, b)
                if (one.first_id, one.second_id) not in known
            ]
    return shared


def check_no_leak(folders: Sequence[str | Path], *, signals: bool = True) -> list[Shared]:
    """As `shared_between`, for sets that are to be trained on and measured on together.

    Parameters
    ----------
    folders, signals
        As in `shared_between`.

    Returns
    -------
    list of Shared
        None of which leaks.

    Raises
    ------
    DataSetError
        Somebody or something stands in different splits of two sets.
    """
    shared = shared_between(folders, signals=signals)
    bad = [one for one in shared if one.leaks]
    if bad:
        one = bad[0]
        raise DataSetError(
            f"{len(bad)} patients or recordings stand in different splits of the sets, for example "
            f"{one.kind} {one.first_id}: {one.first_split} in {one.first}, {one.second_split} in "
            f"{one.second}. Split both sets by the same rule, or leave one of them out."
        )
    return shared


def _by_name(
    kind: str, column: str, name_a: str, a: StudySet, name_b: str, b: StudySet
) -> Iterator[Shared]:
    splits_a, splits_b = (_splits_of(one, column) for one in (a, b))
    for item in sorted(splits_a.keys() & splits_b.keys()):
        yield Shared(kind, name_a, name_b, item, item, splits_a[item], splits_b[item])


def _splits_of(studies: StudySet, column: str) -> dict[str, str]:
    table = studies.table
    return dict(zip(table[column].astype(str), table["split"].astype(str), strict=True))


def _by_signal(name_a: str, a: StudySet, name_b: str, b: StudySet) -> Iterator[Shared]:
    n_times = min(a.signal_mv.shape[2], b.signal_mv.shape[2])
    for start_a in range(0, len(a), _ROWS_AT_ONCE):
        pairs = []
        waves_a = [_unit_waves(a, start_a, lead, n_times) for lead in _SCREENING_LEADS]
        for start_b in range(0, len(b), _ROWS_AT_ONCE):
            waves_b = [_unit_waves(b, start_b, lead, n_times) for lead in _SCREENING_LEADS]
            # Correlations of all pairs of two blocks, the smaller of both leads: (rows of a, rows
            # of b).
            alike = np.minimum(*(one @ two.T for one, two in zip(waves_a, waves_b, strict=True)))
            rows = np.argwhere(alike > _SAME_WAVE) + np.array([start_a, start_b])
            pairs += [(int(row_a), int(row_b)) for row_a, row_b in rows]
        # Sorted, so that the list does not depend on the size of the blocks.
        for row_a, row_b in sorted(pairs):
            if _alike(a, row_a, b, row_b, n_times) > _SAME_WAVE:
                yield Shared(
                    "signal",
                    name_a,
                    name_b,
                    str(a.table["record_id"].iloc[row_a]),
                    str(b.table["record_id"].iloc[row_b]),
                    str(a.table["split"].iloc[row_a]),
                    str(b.table["split"].iloc[row_b]),
                )


def _unit_waves(studies: StudySet, start: int, lead: int, n_times: int) -> npt.NDArray[np.float32]:
    """One lead of some ECGs without its mean, of length 1 (0 where the lead is flat)."""
    wave = np.array(studies.signal_mv[start : start + _ROWS_AT_ONCE, lead, :n_times])
    wave -= wave.mean(axis=1, keepdims=True)
    length = np.linalg.norm(wave, axis=1, keepdims=True)
    return np.asarray(np.divide(wave, length, out=np.zeros_like(wave), where=length > 0))


def _alike(a: StudySet, row_a: int, b: StudySet, row_b: int, n_times: int) -> float:
    """Median of the 12 leads' correlations; a flat lead counts as 0."""
    waves = []
    for studies, row in ((a, row_a), (b, row_b)):
        wave = np.array(studies.signal_mv[row, :, :n_times], dtype=np.float64)
        wave -= wave.mean(axis=1, keepdims=True)
        length = np.linalg.norm(wave, axis=1, keepdims=True)
        waves.append(np.divide(wave, length, out=np.zeros_like(wave), where=length > 0))
    return float(np.median((waves[0] * waves[1]).sum(axis=1)))
