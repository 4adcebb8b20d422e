"""Two windows beside each other: of two recordings, or of one at two times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.export.track import Explanation
from echoing_core.measure import Serial
from echoing_core.metrics import distances
from echoing_core.records import LEADS, WINDOW_S, Answer, StandardEcg, WindowTrack
from echoing_core.services.asking import EncodedQuestion, asked_window
from echoing_core.signals.heart_beats import heart_beats
from echoing_core.uncertainty.intervals import UNSURE_PERCENTILE

if TYPE_CHECKING:
    from echoing_core.retrieve.index import GalleryIndex

Floats = npt.NDArray[np.float64]

LEAD_DIFFERENCE = 20.0
"""Points of percentile from which on two leads are said to differ."""

ALIKE_SHARE = 25.0
"""Nearer than this per cent of the distances between two people is called alike."""

FEWEST_PAIRS = 10
"""Fewer pairs make no scale."""

# About 45,000 and 500,000 pairs: enough for a percentile, and a fraction of a second.
_MOST_WINDOWS = 300
_MOST_ITEMS = 1000


@dataclass(frozen=True)
class AnswerPair:
    """Answers to one question in both windows.

    Attributes
    ----------
    one, other : Answer
    difference : float
        Probability in the other less that in the one, -1..1.
    apart : bool or None
        Whether the 90 % intervals have nothing in common; None where one of the two answers is not
        calibrated, whose interval is of the margin alone.
    """

    one: Answer
    other: Answer

    @property
    def difference(self) -> float:
        return self.other.probability - self.one.probability

    @property
    def apart(self) -> bool | None:
        if not self.one.basis == self.other.basis == "calibrated":
            return None
        # Two intervals have something in common where the later begin is not after the earlier end.
        return max(self.one.interval[0], self.other.interval[0]) > min(
            self.one.interval[1], self.other.interval[1]
        )


@dataclass(frozen=True)
class LeadPair:
    """How unsure the model is of one lead in both windows.

    Attributes
    ----------
    lead : str
    one, other : float
        Percentile of a window whose leads were all like this one; NaN where it holds no signal.
    """

    lead: str
    one: float
    other: float

    @property
    def difference(self) -> float:
        """NaN where either holds no signal."""
        return self.other - self.one

    @property
    def differs(self) -> bool:
        """Whether by `LEAD_DIFFERENCE` or more, or recorded in one of the two alone."""
        # A comparison with NaN is false, which would hide a lead that one of the two lacks.
        if np.isnan(self.one) != np.isnan(self.other):
            return True
        return bool(abs(self.difference) >= LEAD_DIFFERENCE)


@dataclass(frozen=True)
class Apart:
    """How far two windows are from each other.

    Attributes
    ----------
    csd : float
        Closed-form sampled distance.
    means : float
        The part of it that lies between the means.
    spread : float
        The part that is the sigma^2 of both.
    """

    csd: float
    means: float
    spread: float


def windows_apart(one: WindowTrack, i: int, other: WindowTrack, j: int) -> Apart:
    """The distance of window ``i`` of one track from window ``j`` of another.

    Parameters
    ----------
    one, other : WindowTrack
    i, j : int
        Windows of each.

    Returns
    -------
    Apart

    References
    ----------
    Chun, "Improved Probabilistic Image-Text Representations" (PCME++), ICLR 2024, eq. 1.
    """
    a, b = one.embedding[np.array([i])], other.embedding[np.array([j])]
    csd = float(distances.csd(a.mu, a.log_var, b.mu, b.log_var)[0, 0])
    # CSD = ||mu_a - mu_b||^2 + sum sigma_a^2 + sum sigma_b^2; rounding could leave the means below
    # 0.
    spread = float(a.uncertainty[0] + b.uncertainty[0])
    return Apart(csd=csd, means=max(csd - spread, 0.0), spread=spread)


def too_unsure(one: float, other: float, people: float) -> tuple[bool, bool]:
    """Which of two windows is too unsure for their distance to say anything of the hearts.

    Noise moves an ECG away from itself and never towards another: windows that lie near each other
    are alike however noisy they are, but of those that do not, one of them may be to blame.

    Parameters
    ----------
    one, other : float
        Uncertainty percentile of each.
    people : float
        Their distance among those of two people, from `share_nearer`.

    Returns
    -------
    (bool, bool)
    """
    if not people >= ALIKE_SHARE:
        return False, False
    return one >= UNSURE_PERCENTILE, other >= UNSURE_PERCENTILE


def too_noisy(serial: Serial) -> dict[int, str]:
    """Which of two measured recordings is too noisy to be measured.

    Parameters
    ----------
    serial : Serial

    Returns
    -------
    dict of int to str
        0 for the first and 1 for the second -> why. A recording without beats, or with too few, is
        not noisy for that.
    """
    return {
        number: why
        for number, each in enumerate((serial.one, serial.other))
        if each.beat is None and (why := each.get("qrs_ms").why).startswith("too noisy")
    }


@dataclass(frozen=True, eq=False)
class LaidUnder:
    """A window of one ECG on the clock of a window of another.

    Attributes
    ----------
    signal_mv : ndarray, shape (12, n_times)
        NaN where there is no signal.
    recorded : tuple of bool
        Of each of `LEADS`, whether this ECG has it.
    shift_s : float
        How much later it stands than it was recorded.
    """

    signal_mv: npt.NDArray[np.float32]
    recorded: tuple[bool, ...]
    shift_s: float


def laid_under(one: StandardEcg, start_s: float, other: StandardEcg, other_s: float) -> LaidUnder:
    """A window of one ECG moved so that its first beat meets that of a window of another.

    Parameters
    ----------
    one : StandardEcg
        Stays where it is.
    start_s : float
        Its window, in seconds from the start of the recording.
    other : StandardEcg
        Is laid under it.
    other_s : float
        Its window.

    Returns
    -------
    LaidUnder
        As long as the window of ``one``. Unmoved where no beat was found in one of the two.
    """
    n = min(round(WINDOW_S * one.fs_hz), one.n_times - round(start_s * one.fs_hz))
    found = [heart_beats(ecg, at).time_s for ecg, at in ((one, start_s), (other, other_s))]
    shift = 0
    if all(times.size for times in found):
        shift = round((float(found[0][0]) - float(found[1][0])) * one.fs_hz)
    begin = round(other_s * other.fs_hz)
    stop = min(begin + round(WINDOW_S * other.fs_hz), other.n_times)
    window = np.where(
        other.valid[:, begin:stop], other.signal_mv[:, begin:stop], np.float32(np.nan)
    )
    signal = np.full((len(LEADS), n), np.nan, np.float32)
    first, last = max(shift, 0), min(n, shift + window.shape[1])
    if last > first:
        signal[:, first:last] = window[:, first - shift : last - shift]
    recorded = tuple(origin != "missing" for origin in other.lead_origin)
    return LaidUnder(signal, recorded, shift / one.fs_hz)


def answers_beside(
    questions: Sequence[EncodedQuestion],
    one: Explanation,
    i: int,
    other: Explanation,
    j: int,
    shares: Sequence[float | None] | None = None,
) -> tuple[AnswerPair, ...]:
    """The same questions asked of both windows.

    Parameters
    ----------
    questions : sequence of EncodedQuestion
    one, other : Explanation
    i, j : int
        Windows of each.
    shares : sequence of float or None, optional
        Prevalence of each question, as `prevalences` gives them.

    Returns
    -------
    tuple of AnswerPair
        In the order of ``questions``.
    """
    a, b = one.track.embedding[np.array([i])], other.track.embedding[np.array([j])]
    first, second = asked_window(one, i), asked_window(other, j)
    return tuple(
        AnswerPair(question.answer(a, first, share), question.answer(b, second, share))
        for question, share in zip(questions, shares or (None,) * len(questions), strict=True)
    )


def leads_beside(one: Explanation, i: int, other: Explanation, j: int) -> tuple[LeadPair, ...]:
    """Lead by lead, in the order of `LEADS`; none where the model does not tell leads apart.

    Each recording is compared with reference ECGs that have its own leads.

    Parameters
    ----------
    one, other : Explanation
    i, j : int
        Windows of each.

    Returns
    -------
    tuple of LeadPair
        12, or none.
    """
    from echoing_core.figures import lead_percentile

    if one.track.by_lead is None or other.track.by_lead is None:
        return ()
    first = lead_percentile(one.track, one.lead_reference)[i]
    second = lead_percentile(other.track, other.lead_reference)[j]
    return tuple(
        LeadPair(lead, float(a), float(b)) for lead, a, b in zip(LEADS, first, second, strict=True)
    )


def distances_between_people(index: GalleryIndex) -> Floats:
    """CSD between ECGs of different patients of a collection, ascending.

    Of a large collection, of 1000 items spread evenly over it. About 5 MB and 0.1 s.

    Parameters
    ----------
    index : GalleryIndex

    Returns
    -------
    ndarray of float64, shape (n_pairs,)
    """
    rows = np.arange(len(index))
    if rows.size > _MOST_ITEMS:
        # Evenly spread and not drawn, so that the same collection always gives the same scale.
        rows = np.linspace(0, rows.size - 1, _MOST_ITEMS).astype(np.int64)
    ecg = index.gaussians("ecg")[rows]
    patients = index.items["patient_id"].to_numpy()[rows]
    apart = distances.csd(ecg.mu, ecg.log_var, ecg.mu, ecg.log_var)
    # Each pair once, and no item with itself.
    first, second = np.triu_indices(len(rows), k=1)
    strangers = patients[first] != patients[second]
    return np.sort(apart[first[strangers], second[strangers]].astype(np.float64))


def distances_within(explanation: Explanation) -> Floats:
    """CSD between windows of one recording that share no second, ascending.

    Of at most 300 windows that hold signal, spread evenly over the recording. Empty where there
    are fewer than `FEWEST_PAIRS` pairs.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    ndarray of float64, shape (n_pairs,)
    """
    track = explanation.track
    rows = np.flatnonzero(track.valid_fraction.max(axis=1) > 0)
    if rows.size > _MOST_WINDOWS:
        rows = rows[np.linspace(0, rows.size - 1, _MOST_WINDOWS).astype(np.int64)]
    ecg = track.embedding[rows]
    apart = distances.csd(ecg.mu, ecg.log_var, ecg.mu, ecg.log_var)
    first, second = np.triu_indices(len(rows), k=1)
    # Windows that overlap share samples, so they would be near for that reason alone.
    disjoint = track.start_s[rows[second]] - track.start_s[rows[first]] >= track.window_s
    scale = np.sort(apart[first[disjoint], second[disjoint]].astype(np.float64))
    return scale if scale.size >= FEWEST_PAIRS else np.empty(0)


def share_nearer(distance: float, scale: Floats) -> float:
    """Per cent of a scale's distances that are smaller; NaN without a scale.

    Parameters
    ----------
    distance : float
    scale : ndarray
        Ascending, from `distances_within` or `distances_between_people`.

    Returns
    -------
    float
        0..100.
    """
    if not scale.size:
        return float("nan")
    return 100.0 * float(np.searchsorted(scale, distance)) / scale.size
