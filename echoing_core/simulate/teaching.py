"""Simulated teaching cases: a story, the recording that tells it, and what is true about it.

A kind and the number of a patient determine a case fully, so a list of numbers is all that has to
be kept of two hundred. Which of them a model really shows is asked in `services.teaching`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS, Recording
from echoing_core.simulate.ecg.long import simulate_long
from echoing_core.simulate.ecg.study import SimulatedStudy, SimulationConfig, simulate_study
from echoing_core.simulate.noise.electrodes import misplace
from echoing_core.simulate.noise.shapes import lose_signal
from echoing_core.simulate.noise.spans import NoiseEpisode, add_noise

# A cohort of its own: no model was trained on its patients, and none of them is shipped.
SEED = 40_001

LEAD_OFF, NOISY, WHY, SWAPPED, WHICH_AF, REPORT = (
    "lead_off", "noisy_stretch", "why_unsure", "swapped", "which_af", "which_report",
)  # fmt: skip

STORIES: dict[str, str] = {
    LEAD_OFF: "Find the lead that fell off",
    NOISY: "Where is the model least sure?",
    WHY: "Why is the model unsure here?",
    SWAPPED: "Are electrodes swapped?",
    WHICH_AF: "Which of these is atrial fibrillation?",
    REPORT: "Which report belongs to this ECG?",
}
"""Kind of case -> how it is called."""

WHY_CAUSES: dict[str, tuple[str, str]] = {
    "muscle": ("noise", "Muscle noise, as of a person who shivers"),
    "electrode_motion": ("baseline or motion", "An electrode that moves on the skin"),
    "lead_off": ("lead off", "A lead without signal: its electrode is off"),
    "saturation": ("saturated", "An amplifier driven to its limit"),
}
"""Of the kind `WHY`: what was done -> the artefact as `uncertainty.artefacts` calls it, and in
words."""

SWAPS: dict[str, str] = {
    "arms": "The two arm electrodes",
    "right leg": "An arm electrode and the one on the right leg",
    "chest reversed": "The chest electrodes, attached in reverse",
    "": "None: they are where they should be",
}
"""Of the kind `SWAPPED`: what was done -> in words."""

_STRETCH_S, _N_STRETCHES = 10, 6
_CHOICES = 4
_MOST_TRIED = 200

# Nothing but the noise floor, so that the story is all there is to see; whole and true reports.
_QUIET = SimulationConfig(
    clean_share=1.0,
    moderate_share=0.0,
    echo_in_report=0.0,
    machine_share=0.0,
    omission=0.0,
    wrong=0.0,
)


@dataclass(frozen=True, eq=False)
class TeachingCase:
    """A case as it is put to a person.

    Attributes
    ----------
    case_id : str
        Kind and number, such as ``lead_off-12``.
    kind : str
        Of `STORIES`.
    question, look : str
        What is asked, and where in the app the answer shows.
    choices : tuple of str
    answer : int
        The right one of them.
    because : str
        Why it is right: what was done to the recording.
    truth : str
        What `services.teaching` compares a model with: a lead, an artefact, a swap.
    recordings : tuple of Recording
        One; of `WHICH_AF` one for each choice. All simulated.
    """

    case_id: str
    kind: str
    question: str
    look: str
    choices: tuple[str, ...]
    answer: int
    because: str
    truth: str
    recordings: tuple[Recording, ...]


def draw_case(kind: str, number: int) -> TeachingCase:
    """Draw a case; the arguments determine it.

    Parameters
    ----------
    kind : str
        Of `STORIES`.
    number : int
        From 0.

    Returns
    -------
    TeachingCase

    Raises
    ------
    ConfigError
        There is no such kind, or the number is negative.
    """
    if kind not in STORIES or number < 0:
        raise ConfigError(
            f"There is no teaching case {kind}-{number}. The kinds are {', '.join(STORIES)}, and "
            "numbers begin at 0."
        )
    rng = np.random.default_rng([SEED, list(STORIES).index(kind), number])
    return _DRAW[kind](f"{kind}-{number}", number, rng)


def _lead_off(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    study = _quiet(number)
    signal = study.recording_12.signal_mv.copy()
    # A chest electrode takes one lead with it; a limb electrode would take half of them.
    leads = list(rng.permutation(LEADS[6:])[:_CHOICES])
    lost = str(leads[0])
    fs_hz = study.recording_12.fs_hz
    begin, n = round(float(rng.uniform(0.0, 3.0)) * fs_hz), signal.shape[1]
    row = LEADS.index(lost)
    lose_signal(signal[row : row + 1, begin:n], 0.5, fs_hz, (lost,), rng)
    choices = tuple(sorted(str(lead) for lead in leads))
    return TeachingCase(
        case_id,
        LEAD_OFF,
        "One chest electrode came off while this ECG was recorded. Which lead is lost?",
        "Explore: the leads named beside the paper, and the rows by lead of the uncertainty.",
        choices,
        choices.index(lost),
        f"From second {begin / fs_hz:.1f} on, {lost} holds what an open input picks up, and "
        "nothing of the heart. The other leads are as they were.",
        lost,
        (_recording(study, signal, case_id),),
    )


def _noisy(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    place = int(rng.integers(_N_STRETCHES))
    kind = str(rng.choice(("muscle", "electrode_motion")))
    begin = float(place * _STRETCH_S)
    episode = NoiseEpisode(kind, float(rng.uniform(0.6, 0.95)), begin, begin + _STRETCH_S)
    long = simulate_long(
        SEED,
        number,
        duration_s=float(_STRETCH_S * _N_STRETCHES),
        fs_hz=250.0,
        leads="12",
        noise=[episode],
    )
    choices = tuple(
        f"{_STRETCH_S * i} to {_STRETCH_S * (i + 1)} s after the start" for i in range(_N_STRETCHES)
    )
    return TeachingCase(
        case_id,
        NOISY,
        "This recording lasts a minute. In which ten seconds should the model be believed least?",
        "Explore: the colours along the recording, and “Least sure” in the toolbar.",
        choices,
        place,
        f"{WHY_CAUSES[kind][1]} was drawn into these ten seconds alone.",
        str(place),
        (replace(long.recording, record_id=case_id),),
    )


def _why(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    study = _quiet(number)
    kind = str(rng.choice(list(WHY_CAUSES)))
    recording = study.recording_12
    episode = NoiseEpisode(kind, float(rng.uniform(0.65, 1.0)), 0.0, recording.duration_s)
    signal, _ = add_noise(recording.signal_mv, recording.fs_hz, LEADS, [episode], rng)
    artefact, words = WHY_CAUSES[kind]
    choices = tuple(text for _, text in WHY_CAUSES.values())
    return TeachingCase(
        case_id,
        WHY,
        "The model is unsure of this ECG. What is wrong with the recording?",
        "Explore: the paper, and the sentence beside it that says where the doubt comes from.",
        choices,
        choices.index(words),
        f"{words} was drawn into it; the heart's own signal was left as it is.",
        artefact,
        (_recording(study, signal, case_id),),
    )


def _swapped(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    study = _quiet(number)
    kind = str(rng.choice(list(SWAPS)))
    signal = study.recording_12.signal_mv
    if kind:
        signal = misplace(signal, np.ones(signal.shape, dtype=np.bool_), rng, kind)
    choices = tuple(SWAPS.values())
    done = (
        "The leads were computed anew with the electrodes in each other's places."
        if kind
        else "Nothing was done to this ECG."
    )
    return TeachingCase(
        case_id,
        SWAPPED,
        "Were electrodes attached in each other's places here, and which?",
        "Explore: lead I against V6, aVR, a limb lead that is flat, the R wave from V1 to V6.",
        choices,
        list(SWAPS).index(kind),
        f"{done} A swap is no noise: the model may be as sure of it as of any other ECG, so it is "
        "looked for in the signal, and sigma^2 alone does not show it.",
        kind,
        (_recording(study, signal, case_id),),
    )


def _which_af(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    one = _first(number, rng, lambda s: bool(s.labels["af"]) and s.state.rhythm == "af")
    others: list[SimulatedStudy] = []
    for _ in range(_CHOICES - 1):
        others.append(_first(number, rng, lambda s: s.state.rhythm in ("sinus", "flutter")))
    answer = int(rng.integers(_CHOICES))
    studies = [*others[:answer], one, *others[answer:]]
    letters = "ABCD"[:_CHOICES]
    return TeachingCase(
        case_id,
        WHICH_AF,
        f"One of these {_CHOICES} ECGs shows atrial fibrillation. Which?",
        "Explore: P waves and the distance between beats in II and V1. Ask: “Atrial fibrillation?” "
        "of each.",
        tuple(f"ECG {letter}" for letter in letters),
        answer,
        f"The heart of ECG {letters[answer]} has no atrial beat, and its ventricles follow at no "
        "fixed distance; the others are in sinus rhythm or flutter.",
        letters[answer],
        tuple(
            _recording(study, study.recording_12.signal_mv, f"{case_id}-{letter}")
            for letter, study in zip(letters, studies, strict=True)
        ),
    )


def _which_report(case_id: str, number: int, rng: np.random.Generator) -> TeachingCase:
    one = _quiet(number)
    taken = [one]
    while len(taken) < _CHOICES:
        known = [set(study.findings) for study in taken]
        # Two reports that share most findings are told apart by nobody.
        taken.append(
            _first(
                number,
                rng,
                lambda s, known=known: all(  # type: ignore[misc]
                    len(set(s.findings) & k) <= len(set(s.findings) | k) // 3 for k in known
                ),
            )
        )
    order = rng.permutation(_CHOICES)
    choices = tuple(taken[i].report for i in order)
    return TeachingCase(
        case_id,
        REPORT,
        "Which of these reports was written of this ECG?",
        "Explore: measure it. Retrieve, “This ECG → reports”: which words its neighbours have.",
        choices,
        int(np.flatnonzero(order == 0)[0]),
        "It was worded from the findings of this very heart; the others are of other hearts.",
        one.report,
        (_recording(one, one.recording_12.signal_mv, case_id),),
    )


_DRAW: dict[str, Callable[[str, int, np.random.Generator], TeachingCase]] = {
    LEAD_OFF: _lead_off,
    NOISY: _noisy,
    WHY: _why,
    SWAPPED: _swapped,
    WHICH_AF: _which_af,
    REPORT: _which_report,
}


def _quiet(patient: int) -> SimulatedStudy:
    return simulate_study(SEED, patient, config=_QUIET)


def _first(
    number: int, rng: np.random.Generator, fits: Callable[[SimulatedStudy], bool]
) -> SimulatedStudy:
    """Some patient who fits, not the one of this number."""
    for patient in rng.integers(1_000, 1_000_000, _MOST_TRIED).tolist():
        study = _quiet(patient)
        if patient != number and fits(study):
            return study
    raise RuntimeError("no simulated patient fits a teaching case; widen the search")


def _recording(study: SimulatedStudy, signal_mv: np.ndarray, name: str) -> Recording:
    # The name is that of the case: a study's own would tell where to draw it again.
    return replace(
        study.recording_12, signal_mv=np.asarray(signal_mv, dtype=np.float32), record_id=name
    )
