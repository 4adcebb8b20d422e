"""All measurements of a recording: intervals, axes, amplitudes, criteria, with spread and reasons.

Nothing is measured that is not there to see. No P wave counts that the beats do not repeat; no
interval whose beats disagree; no axis and no voltage where leads do not add up, as I + III must
give II, for such leads have been scaled one by one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.measure import values, voltages
from echoing_core.measure.beat import (
    AFTER_S,
    BEAT_FS_HZ,
    BEFORE_S,
    FIDUCIAL,
    LONGEST_S,
    MedianBeat,
    NoBeatError,
    median_beat,
    stretch_of,
)
from echoing_core.measure.values import Measurement
from echoing_core.measure.waves import MARK, MARKS, P_SEARCH_MS, agreed, delineate, qrs_end, repeats
from echoing_core.records import LEADS, BoolArray, Recording
from echoing_core.rhythm.fibrillation import THRESHOLD, af_probability

F64 = npt.NDArray[np.float64]

MOST_SPREAD_MS = 40.0
"""An interval that differs more from beat to beat (SD) is no one interval."""
MOST_SPREAD_DEG = 30.0
REPEATS = 0.5
"""Least agreement of beats on a P wave. Of the LUDB records of even number, those without a P wave
reach 0.35, those with one 0.59 and more."""
REPEATS_IRREGULAR = 0.75
"""The same where intervals are irregular, for flutter repeats itself, too. Those with a P wave have
0.88 and more."""
REPEATS_QUARTER = 0.55
"""There three beats of four must agree so far: by chance half of a dozen stretches of fibrillation
do. Set, as is the next, with most of the records in view that ``benchmarks/p_waves.py`` counts."""
MOST_PR_SPREAD_MS = 21.0
"""A wave that lies more differently before each QRS (SD) belongs to no QRS. Of 300 records in AF
7 are given a PR, of 982 in sinus rhythm 914; before these two limits it was 15 and 918."""

LEAST_SINGLE = 0.34
"""An interval that a smaller share of single beats shows is one of noise."""

HAND_MARKS: Mapping[str, str] = MappingProxyType(
    {
        "p_onset": "P onset",
        "p_offset": "P end",
        "qrs_onset": "QRS onset",
        "qrs_offset": "QRS end",
        "t_offset": "T end",
    }
)
"""Marks that a person may set, in the order of time, and their words: those that intervals need."""

_MS = BEAT_FS_HZ / 1000.0
_MEDIAN_NOISE = 1.25
_MOST_SINGLE = 16
_NEAR_MS = 40.0
_T_TAIL_MS = 40.0
_LEAST_SHARE = 0.25
_FLAT_SHARE = 0.12
_INTERVALS = (
    ("p_ms", "P duration", "p_onset", "p_offset"),
    ("pr_ms", "PR interval", "p_onset", "qrs_onset"),
    ("qrs_ms", "QRS duration", "qrs_onset", "qrs_offset"),
    ("qt_ms", "QT interval", "qrs_onset", "t_offset"),
)
_AXES = (
    ("p_axis_deg", "P axis", "p_onset", "p_offset"),
    ("qrs_axis_deg", "QRS axis", "qrs_onset", "qrs_offset"),
    ("t_axis_deg", "T axis", "qrs_offset", "t_offset"),
)
_AMPLITUDE_WORDS: Mapping[str, str] = {
    "q_mv": "Q depth",
    "r_mv": "R height",
    "s_mv": "S depth",
    "st_j_mv": "ST at J",
    "st_j60_mv": "ST at J + 60 ms",
    "t_mv": "T height",
}
_WAVE = {"p": "P wave", "qrs": "QRS complex", "t": "T wave"}
_SCALED = (
    "I + III is not II in this recording, so its leads have been scaled one by one and their "
    "amplitudes cannot be compared"
)


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of a stretch of a recording.

    Attributes
    ----------
    record_id : str
    start_s, duration_s : float
        The stretch, in seconds of the recording.
    beat : MedianBeat or None
        None where no beat could be measured.
    marks_ms : ndarray, shape (n_leads, 8)
        Onsets, peaks and offsets of each lead of ``beat`` in the order of `waves.MARKS`, in
        milliseconds from the fiducial; NaN where a lead shows no such wave.
    together_ms : ndarray, shape (8,)
        The same of all leads together.
    values : tuple of Measurement
        Of the heart as a whole.
    by_lead : tuple of Measurement
        Intervals, amplitudes and ST levels lead by lead.
    sex : str or None
        As it was told; criteria depend on it.
    device : mapping of str to float
        What the file itself states, by `io.annotations.MEASUREMENTS`.
    notes : tuple of str
        What to know of all of it.
    simulated : bool
    by_hand : mapping of str to float
        Those of `HAND_MARKS` that a person set, in ms from the fiducial. They stand in
        ``together_ms``, and the values that follow from them say so.
    """

    record_id: str
    start_s: float
    duration_s: float
    beat: MedianBeat | None
    marks_ms: F64
    together_ms: F64
    values: tuple[Measurement, ...]
    by_lead: tuple[Measurement, ...] = ()
    sex: str | None = None
    device: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    simulated: bool = False
    by_hand: Mapping[str, float] = field(default_factory=dict)

    def get(self, name: str, lead: str = "") -> Measurement:
        """One measurement.

        Parameters
        ----------
        name : str
        lead : str
            Empty for the heart as a whole.

        Raises
        ------
        KeyError
            There is none of that name.
        """
        for one in self.by_lead if lead else self.values:
            if one.name == name and one.lead == lead:
                return one
        raise KeyError(f"no measurement {name} {lead}".strip())

    def mark_ms(self, name: str) -> float:
        """An onset, peak or offset of all leads together, in ms from the fiducial; NaN for none."""
        return float(self.together_ms[MARK[name]])


def measure(
    recording: Recording,
    start_s: float = 0.0,
    length_s: float = LONGEST_S,
    *,
    sex: str | None = None,
    by_hand: Mapping[str, float] | None = None,
) -> Measured:
    """Measure the median beat of a recording, or of a stretch of it.

    Parameters
    ----------
    recording : Recording
        In mV at its own sampling rate, NaN in gaps.
    start_s, length_s : float
        The stretch in seconds; at most `LONGEST_S` of it.
    sex : {"male", "female"}, optional
        For the Cornell criterion.
    by_hand : mapping of str to float, optional
        Marks of all leads together that a person set, by `HAND_MARKS`, in ms from the fiducial:
        they take the place of those found.

    Returns
    -------
    Measured

    Raises
    ------
    ConfigError
        Marks set by hand are no such marks, or not in the order of P, QRS and T; ``sex`` is
        another word.
    SignalQualityError
        The recording has no such stretch.
    MissingLeadError
        It holds no ECG lead.
    SamplingRateError
        Its sampling rate is too low.

    References
    ----------
    Kligfield et al., AHA/ACC/HRS recommendations part I, Circulation 2007;115:1306 (global
    intervals from the median beat of all leads); Rautaharju et al., part IV, 2009;119:e241 (QT).
    """
    if sex is not None and sex not in values.SEXES:
        raise ConfigError(f"sex must be one of {', '.join(values.SEXES)}, not {sex!r}.")
    part = stretch_of(recording, start_s, length_s)
    first_s = max(0.0, start_s)
    # What was assumed when it was read holds for every number.
    notes = list(recording.notes)
    if part is not recording:
        notes.append(
            f"Measured from second {first_s:g} to {first_s + part.duration_s:g} of the recording."
        )
    try:
        beat = median_beat(part)
    except NoBeatError as error:
        return Measured(
            record_id=recording.record_id,
            start_s=first_s,
            duration_s=part.duration_s,
            beat=None,
            marks_ms=np.full((0, len(MARKS)), np.nan),
            together_ms=np.full(len(MARKS), np.nan),
            values=_nothing(str(error)),
            sex=sex,
            device=recording.annotations.measurements,
            notes=tuple(notes),
            simulated=recording.simulated,
        )
    found = _Found.of(beat).with_marks(by_hand or {})
    heights = found.lead_amplitudes()
    if beat.flat:
        notes.append(f"{_flat_words(beat.flat)}: nothing is measured there.")
    if beat.derived:
        notes.append(f"Computed from the limb leads recorded: {', '.join(beat.derived)}.")
    return Measured(
        record_id=recording.record_id,
        start_s=first_s,
        duration_s=part.duration_s,
        beat=beat,
        marks_ms=(found.marks - FIDUCIAL) / _MS,
        together_ms=(found.together - FIDUCIAL) / _MS,
        values=(*_rates(beat), *found.intervals(), *found.axes(), *found.criteria(heights, sex)),
        by_lead=(*found.lead_intervals(), *heights),
        sex=sex,
        device=recording.annotations.measurements,
        notes=tuple(notes),
        simulated=recording.simulated,
        by_hand=dict(by_hand or {}),
    )


def _nothing(why: str) -> tuple[Measurement, ...]:
    names = [
        ("heart_rate_bpm", "Heart rate", "bpm"),
        ("rr_ms", "Mean RR interval", "ms"),
        *((name, words, "ms") for name, words, *_ in _INTERVALS),
        *((f"qtc_{name}_ms", words, "ms") for name, (words, _) in values.QTC.items()),
        *((name, words, "°") for name, words, *_ in _AXES),
        ("sokolow_lyon_mv", "Sokolow-Lyon", "mV"),
        ("cornell_mv", "Cornell", "mV"),
    ]
    return tuple(Measurement(name, words, None, unit, why=why) for name, words, unit in names)


def _irregular(beat: MedianBeat) -> bool:
    probability = af_probability(beat.rr_ms)
    return probability is not None and probability >= THRESHOLD


def _rates(beat: MedianBeat) -> tuple[Measurement, Measurement]:
    known = beat.rr_ms[np.isfinite(beat.rr_ms)]
    if not known.size:
        why = "no interval between two beats was recorded without a gap"
        return (
            Measurement("heart_rate_bpm", "Heart rate", None, "bpm", why=why),
            Measurement("rr_ms", "Mean RR interval", None, "ms", why=why),
        )
    rr, spread = float(known.mean()), float(known.std(ddof=1)) if known.size > 1 else None
    rate = 60_000.0 / rr
    note = "intervals are as irregular as in atrial fibrillation" if _irregular(beat) else ""
    n = int(known.size)
    return (
        Measurement(
            "heart_rate_bpm", "Heart rate", rate, "bpm",
            None if spread is None else rate * spread / rr, n, note,
        ),
        Measurement("rr_ms", "Mean RR interval", rr, "ms", spread, n, note),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Found:
    """Marks of the median beat, and how those of single beats lie about them.

    Attributes
    ----------
    beat : MedianBeat
    marks : ndarray, shape (n_leads, 8)
        Samples; those of derived leads are NaN, for they tell nothing that their sources do not.
    together : ndarray, shape (8,)
    shifts : ndarray, shape (n_single, 8)
        Of single beats against the median, in samples.
    missing : mapping of str to str
        Wave (``"p"``, ``"qrs"``, ``"t"``) -> why it is not there.
    before : ndarray, shape (8,)
        ``together`` before a person set any.
    by_hand : frozenset of str
        Marks that a person set.
    """

    beat: MedianBeat
    marks: F64
    together: F64
    shifts: F64
    missing: Mapping[str, str]
    before: F64
    by_hand: frozenset[str] = frozenset()

    @classmethod
    def of(cls, beat: MedianBeat) -> _Found:
        rows = beat.measured
        rr = float(np.nanmedian(beat.rr_ms)) if np.isfinite(beat.rr_ms).any() else 1000.0
        noise = beat.noise_mv[rows] * _MEDIAN_NOISE / np.sqrt(beat.n_beats)
        own = delineate(beat.signal_mv[rows], noise, rr)
        missing = _missing(beat, own, rows, rr)
        if "p" in missing:
            own[:, : MARK["p_offset"] + 1] = np.nan
        if "t" in missing:
            own[:, MARK["t_onset"] :] = np.nan
        shifts = _shifts(beat, own, rows, rr)
        pr_ms = (shifts[:, MARK["qrs_onset"]] - shifts[:, MARK["p_onset"]]) / _MS
        pr_ms = pr_ms[np.isfinite(pr_ms)]
        spread_ms = float(pr_ms.std(ddof=1)) if pr_ms.size > 2 else 0.0
        if "p" not in missing and spread_ms > MOST_PR_SPREAD_MS:
            missing["p"] = f"what lies before the QRS comes {spread_ms:.0f} ms (SD) sooner or later"
            own[:, : MARK["p_offset"] + 1] = shifts[:, : MARK["p_offset"] + 1] = np.nan
        marks = np.full((len(beat.leads), len(MARKS)), np.nan)
        marks[rows] = own
        together = np.array([agreed(own[:, MARK[name]], name) for name in MARKS])
        together[MARK["qrs_offset"]] = qrs_end(beat.signal_mv[rows], own)
        return cls(beat, marks, together, shifts, missing, together)

    def with_marks(self, by_hand: Mapping[str, float]) -> _Found:
        """The same with marks that a person set, in ms from the fiducial."""
        if not by_hand:
            return self
        together = self.together.copy()
        for name, at_ms in by_hand.items():
            if name not in HAND_MARKS:
                raise ConfigError(f"{name} cannot be set by hand; {', '.join(HAND_MARKS)} can.")
            if not -1000.0 * BEFORE_S <= at_ms < 1000.0 * AFTER_S:
                raise ConfigError(
                    f"{HAND_MARKS[name]} was set to {at_ms:g} ms from the R peak, which is outside "
                    "of the beat. Set it again, or take it back."
                )
            together[MARK[name]] = FIDUCIAL + at_ms * _MS
        begins, ends = together[MARK["qrs_onset"]], together[MARK["p_offset"]]
        peaks = together[MARK["p_peak"]]
        if "p_offset" not in by_hand and peaks < begins < ends:
            # An end of P that was found gives way to a beginning of the QRS that was seen.
            together[MARK["p_offset"]] = begins
        there = [name for name in HAND_MARKS if np.isfinite(together[MARK[name]])]
        for name, following in itertools.pairwise(there):
            if not {name, following} & set(by_hand):
                continue
            # P may run into the QRS; every wave has a length.
            apart = together[MARK[following]] - together[MARK[name]]
            if apart < 0 or (apart == 0 and name != "p_offset"):
                raise ConfigError(
                    f"{HAND_MARKS[following]} lies before {HAND_MARKS[name]}, since marks were set "
                    "by hand. Set them in order, or take them back."
                )
        # Of a wave that was not found, both ends have to be told.
        missing = {
            wave: why
            for wave, why in self.missing.items()
            if not all(
                np.isfinite(together[MARK[name]]) for name in HAND_MARKS if name.startswith(wave)
            )
        }
        return replace(self, together=together, missing=missing, by_hand=frozenset(by_hand))

    def _told(self, one: Measurement, *marks: str) -> Measurement:
        """A measurement that says so where a person set one of its marks."""
        moved = [HAND_MARKS[name] for name in marks if name in self.by_hand]
        if not moved or one.value is None:
            return one
        note = f"{' and '.join(moved)} set by hand"
        return replace(one, by_hand=True, why=", ".join(part for part in (note, one.why) if part))

    def at(self, name: str) -> float:
        return float(self.together[MARK[name]])

    def why(self, *names: str) -> str:
        """Why the waves of these marks are not there; empty where they are."""
        for name in names:
            wave = name.partition("_")[0]
            if wave in self.missing:
                return self.missing[wave]
        return ""

    def intervals(self) -> list[Measurement]:
        told = []
        for name, words, begin, end in _INTERVALS:
            why = self.why(begin, end)
            value = (self.at(end) - self.at(begin)) / _MS
            if not why and not value > 0:
                why = f"the {_WAVE[begin.partition('_')[0]]} could not be told from what follows"
            spread, n = self._spread(begin, end)
            if not why and {begin, end} & self.by_hand:
                # Whoever set it has seen it, however the single beats look.
                found = (self.before[MARK[end]] - self.before[MARK[begin]]) / _MS
                note = f"measured: {found:.0f} ms" if np.isfinite(found) else ""
                by_hand = Measurement(name, words, value, "ms", spread, n, note)
                told.append(self._told(by_hand, begin, end))
                continue
            note = ""
            if name == "p_ms" and self.at("p_offset") >= self.at("qrs_onset"):
                note = "P runs into the QRS, so it is taken to end where that begins"
            if not why and n < max(2, LEAST_SINGLE * len(self.shifts)):
                why = f"too noisy: {n} of {len(self.shifts)} single beats show it"
            if not why and spread is not None and spread > MOST_SPREAD_MS:
                why = f"beats disagree by {spread:.0f} ms (SD)"
            told.append(
                Measurement(name, words, None, "ms", why=why)
                if why
                else Measurement(name, words, value, "ms", spread, n, note)
            )
        return told + self._corrected(told[-1])

    def _spread(self, begin: str, end: str) -> tuple[float | None, int]:
        apart = (self.shifts[:, MARK[end]] - self.shifts[:, MARK[begin]]) / _MS
        apart = apart[np.isfinite(apart)]
        if apart.size < 2:
            return None, int(apart.size)
        return float(apart.std(ddof=1)), int(apart.size)

    def _corrected(self, qt: Measurement) -> list[Measurement]:
        known = self.beat.rr_ms[np.isfinite(self.beat.rr_ms)]
        why, note = (qt.why if qt.value is None else ""), ""
        if not known.size:
            why = why or "no interval between two beats was recorded without a gap"
        elif _irregular(self.beat):
            if known.size < 10:
                why = why or "intervals are irregular, and fewer than ten were recorded"
            note = "by the mean of irregular intervals"
        told = []
        for name, (words, formula) in values.QTC.items():
            full = f"qtc_{name}_ms"
            if why or qt.value is None:
                told.append(Measurement(full, words, None, "ms", why=why))
                continue
            rr = float(known.mean())
            value = formula(qt.value, rr)
            spread = qt.spread
            if spread is not None:
                # Of the QT alone: the rate of the stretch is one number.
                spread = abs(formula(qt.value + spread, rr) - value)
            corrected = Measurement(full, words, value, "ms", spread, qt.n_beats, note)
            told.append(self._told(corrected, "qrs_onset", "t_offset"))
        return told

    def axes(self) -> list[Measurement]:
        return [self._axis(*one) for one in _AXES]

    def _axis(self, name: str, words: str, begin: str, end: str) -> Measurement:
        def none(why: str) -> Measurement:
            return Measurement(name, words, None, "°", why=why)

        wave = name.partition("_")[0]
        why = self.why(begin, end, f"{wave}_peak" if wave != "qrs" else begin)
        if why:
            return none(why)
        leads = self.beat.leads
        flat = [lead for lead in self.beat.flat if lead in voltages.LIMB_DEG]
        if flat:
            return none(_flat_words(flat))
        limb = [k for k in self.beat.measured if leads[k] in voltages.LIMB_DEG]
        if len(limb) < 2:
            return none("two limb leads are needed, and this recording has fewer")
        if self.beat.add_up is False:
            return none(_SCALED)
        if not self.at(end) > self.at(begin):
            return none(f"the {_WAVE[wave]} has no length")
        names = tuple(leads[k] for k in limb)
        net, whole = self._heights(self.beat.signal_mv[limb], begin, end)
        vector = voltages.frontal_vector(names, net)
        if vector is None or vector[0] < _FLAT_SHARE * float(np.max(whole)):
            return none(f"the {_WAVE[wave]} points to no side of the frontal plane")
        turns = []
        for single in self.beat.beats_mv[:_MOST_SINGLE, limb]:
            if np.isnan(single).any():
                continue
            one = voltages.frontal_vector(names, self._heights(single, begin, end)[0])
            if one is not None:
                # From -180 to 180 around the median beat's.
                turns.append((one[1] - vector[1] + 180.0) % 360.0 - 180.0)
        spread = float(np.std(turns, ddof=1)) if len(turns) > 2 else None
        if spread is not None and spread > MOST_SPREAD_DEG:
            return none(f"beats disagree by {spread:.0f}° (SD)")
        return self._told(Measurement(name, words, vector[1], "°", spread, len(turns)), begin, end)

    def _heights(self, signal_mv: F64, begin: str, end: str) -> tuple[F64, F64]:
        first, last = self.at(begin), self.at(end)
        if begin == "p_onset":
            # A P wave rides on a slope: its zero is the line between its ends.
            a, b = signal_mv[:, [round(first)]], signal_mv[:, [round(last)]]
            share = (np.arange(signal_mv.shape[1]) - first) / max(1.0, last - first)
            return voltages.net_deflection(signal_mv, first, last, a + (b - a) * share)
        zero = voltages.level_mv(signal_mv, self.at("qrs_onset"))
        return voltages.net_deflection(signal_mv, first, last, zero)

    def lead_intervals(self) -> list[Measurement]:
        told = []
        for k, lead in enumerate(self.beat.leads):
            for name, words, begin, end in _INTERVALS:
                value = (self.marks[k, MARK[end]] - self.marks[k, MARK[begin]]) / _MS
                why = self.why(begin, end)
                if lead in self.beat.flat:
                    why = why or _flat_words([lead])
                elif lead in self.beat.derived:
                    why = why or "computed from other leads, which tell it"
                elif not value > 0:
                    waves = {begin.partition("_")[0], end.partition("_")[0]} - {"qrs"} or {"qrs"}
                    why = why or f"no {_WAVE[waves.pop()]} stands out of this lead"
                told.append(
                    Measurement(name, words, None, "ms", why=why, lead=lead)
                    if why
                    else Measurement(name, words, float(value), "ms", lead=lead)
                )
        return told

    def _amplitudes_why(self, lead: str) -> str:
        why = self.missing.get("qrs", "")
        if not why and lead in self.beat.flat:
            return _flat_words([lead])
        if not why and self.beat.add_up is False and lead in LEADS:
            return _SCALED
        return why

    def lead_amplitudes(self) -> list[Measurement]:
        if "qrs" in self.missing:
            return []
        peak = self.at("t_peak")
        t_peak = peak if np.isfinite(peak) else None
        on, off = self.at("qrs_onset"), self.at("qrs_offset")
        whole = voltages.amplitudes(self.beat.signal_mv, on, off, t_peak)
        single = [
            voltages.amplitudes(np.nan_to_num(one), on, off, t_peak)
            for one in self.beat.beats_mv[:_MOST_SINGLE]
        ]
        there: BoolArray = np.asarray(np.isfinite(self.beat.beats_mv[:_MOST_SINGLE]).all(axis=2))
        told = []
        for k, lead in enumerate(self.beat.leads):
            for name, words in _AMPLITUDE_WORDS.items():
                value = float(whole[name][k])
                why = self._amplitudes_why(lead)
                if not why and not np.isfinite(value):
                    why = self.missing.get("t", "")
                    if not why and name == "t_mv" and t_peak is None:
                        why = "no peak of the T wave stands out"
                    why = why or "too little was recorded behind the QRS"
                if why:
                    told.append(Measurement(name, words, None, "mV", why=why, lead=lead))
                    continue
                each = [one[name][k] for i, one in enumerate(single) if there[i, k]]
                spread = float(np.std(each, ddof=1)) if len(each) > 2 else None
                height = Measurement(name, words, value, "mV", spread, len(each), lead=lead)
                told.append(self._told(height, "qrs_onset", "qrs_offset"))
        return told

    def criteria(self, heights: list[Measurement], sex: str | None) -> list[Measurement]:
        by = {(one.name, one.lead): one for one in heights}

        def parts(*wanted: tuple[str, str]) -> tuple[list[Measurement], str]:
            lacking = [lead for _, lead in wanted if lead not in self.beat.leads]
            if lacking:
                return [], f"not recorded: {', '.join(lacking)}"
            flat = [lead for _, lead in wanted if lead in self.beat.flat]
            if flat:
                return [], _flat_words(flat)
            got = [by[one] for one in wanted if one in by]
            why = self.missing.get("qrs", "")
            return got, next((one.why for one in got if one.value is None), why)

        sides, why = parts(("s_mv", "V1"), ("r_mv", "V5"), ("r_mv", "V6"))
        told = [
            _sum(
                "sokolow_lyon_mv", "Sokolow-Lyon, S in V1 + R in V5 or V6 (limit 3.5 mV)",
                [sides[0], max(sides[1:], key=lambda one: one.value or 0.0)] if not why else [],
                why, values.sokolow_lyon_met,
            )
        ]  # fmt: skip
        pair, why = parts(("r_mv", "aVL"), ("s_mv", "V3"))
        limit = "limit 2.8 mV in men, 2.0 mV in women"
        told.append(
            _sum(
                "cornell_mv", f"Cornell, R in aVL + S in V3 ({limit})",
                pair, why, lambda mv: values.cornell_met(mv, sex),
            )
        )  # fmt: skip
        return told


def _flat_words(leads: Sequence[str]) -> str:
    """Of leads that show no heartbeat."""
    return f"{' and '.join(leads)} {'is' if len(leads) == 1 else 'are'} flat"


def _sum(
    name: str,
    words: str,
    parts: list[Measurement],
    why: str,
    met: Callable[[float], bool | None],
) -> Measurement:
    known = [one.value for one in parts if one.value is not None]
    if why or len(known) < 2:
        return Measurement(name, words, None, "mV", why=why or "no QRS complex stands out")
    value = float(sum(known))
    spreads = [one.spread for one in parts if one.spread is not None]
    # As of parts that vary by themselves.
    spread = math.hypot(*spreads) if len(spreads) == 2 else None
    verdict = met(value)
    note = "depends on the sex, which was not told" if verdict is None else ""
    n = min(one.n_beats for one in parts)
    by_hand = any(one.by_hand for one in parts)
    if by_hand:
        note = ", ".join(part for part in (note, "ends of the QRS set by hand") if part)
    return Measurement(name, words, value, "mV", spread, n, note, met=verdict, by_hand=by_hand)


def _missing(beat: MedianBeat, marks: F64, rows: list[int], rr_ms: float) -> dict[str, str]:
    """Which waves are not there, and why."""
    n = len(rows)
    with_qrs = int(np.isfinite(marks[:, MARK["qrs_onset"]]).sum())
    if with_qrs < max(1, _LEAST_SHARE * n):
        return dict.fromkeys(("p", "qrs", "t"), "too noisy: no QRS complex stands out")
    missing = {}
    with_t = int(np.isfinite(marks[:, MARK["t_offset"]]).sum())
    if with_t < max(1, _LEAST_SHARE * n):
        missing["t"] = (
            "no T wave stands out"
            if with_t == 0
            else f"a T wave stands out in {with_t} of {n} leads alone"
        )
    with_p = int(np.isfinite(marks[:, MARK["p_onset"]]).sum())
    irregular = ", and the intervals are as irregular as in atrial fibrillation"
    why = ""
    if with_p < max(1, _LEAST_SHARE * n):
        why = "no P wave stands out" if with_p == 0 else f"P stands out in {with_p} of {n} leads"
    else:
        on = agreed(marks[:, MARK["qrs_onset"]], "qrs_onset")
        end = agreed(marks[:, MARK["t_offset"]], "t_offset")
        before = end - rr_ms * _MS if np.isfinite(end) else 0.0
        # Where `delineate` looked for a P wave, but for the last of the T wave, which repeats, too.
        first = max(round(on - P_SEARCH_MS[0] * _MS), round(before + _T_TAIL_MS * _MS), 0)
        if round(on) - 8 - first > 20:
            like = repeats(beat.beats_mv[:, rows], first, round(on) - 8)
            quarter, middle = np.quantile(like, (0.25, 0.5)).tolist()
            if middle < (REPEATS_IRREGULAR if _irregular(beat) else REPEATS) or (
                _irregular(beat) and quarter < REPEATS_QUARTER
            ):
                why = "no P wave that the beats repeat"
    if why:
        missing["p"] = why + (irregular if _irregular(beat) else "")
    return missing


def _shifts(beat: MedianBeat, own: F64, rows: list[int], rr_ms: float) -> F64:
    """How the marks of single beats lie about those of the median, in samples."""
    told = np.full((min(beat.n_beats, _MOST_SINGLE), len(MARKS)), np.nan)
    for i in range(len(told)):
        single = beat.beats_mv[i, rows]
        whole = ~np.isnan(single).any(axis=1)
        if not whole.any():
            continue
        apart = np.full_like(own, np.nan)
        apart[whole] = delineate(single[whole], beat.noise_mv[rows][whole], rr_ms) - own[whole]
        apart[np.abs(apart) > _NEAR_MS * _MS] = np.nan
        # Of all leads together, so that one noisy lead says little.
        enough = np.isfinite(apart).sum(axis=0) >= max(1, _LEAST_SHARE * len(rows))
        told[i, enough] = np.nanmedian(apart[:, enough], axis=0)
    return told
