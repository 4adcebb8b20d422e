"""What the reports of simulated studies state, of the ECG and of the echocardiogram.

A report does not state all that is there, and rarely something wrong. Which findings and numbers
are stated is decided here; how they are worded is decided in `reports`.
"""

from __future__ import annotations

import numpy as np

from echoing_core.reports.composing import compose_report
from echoing_core.reports.echo_text import writing
from echoing_core.simulate.heart.state import HeartState

READER_SD_POINTS = 3.0
"""Two readings of one echocardiogram differ by about this much, and reports state one of them."""

# What people take the trouble to deny.
_DENIED_ECG = (
    "atrial_fibrillation",
    "lbbb",
    "rbbb",
    "ischemia",
    "st_elevation",
    "st_depression",
    "lvh",
    "pvc",
    "q_waves",
)
_DENIED_ECHO = ("lv_dilated", "wall_severely_thick")

# Findings that nobody leaves out: without them the report would be of another patient.
_LEADING = (
    "atrial_fibrillation",
    "atrial_flutter",
    "svt",
    "paced_rhythm",
    "lbbb",
    "normal_ecg",
)

# A wrong reading takes one for its look-alike.
_MISTAKEN = {
    "lbbb": "ivcd",
    "rbbb": "irbbb",
    "pac": "pvc",
    "atrial_flutter": "atrial_fibrillation",
    "t_flat": "nonspecific_t",
    "t_inversion": "ischemia",
    "lvh_voltage": "lvh",
    "sinus_arrhythmia": "sinus_rhythm",
    "sinus_rhythm": "sinus_arrhythmia",
}


def write_report(
    state: HeartState,
    findings: tuple[str, ...],
    echo_findings: tuple[str, ...],
    rng: np.random.Generator,
    *,
    style: str,
    echo_in_report: float,
    omission: float,
    wrong: float,
) -> str:
    """Write the report of one study's ECG, with its echocardiogram in some.

    A machine report states every finding, so that the same findings give the same text. A free
    one leaves some out, denies some that are absent, and is now and then mistaken.

    Parameters
    ----------
    state : HeartState
        For ejection fraction, rate, and how marked an infarct or ischaemia is.
    findings, echo_findings : tuple of str
        As `ecg.reading` finds them.
    rng : Generator
    style : {"machine", "free"}
    echo_in_report, omission, wrong : float
        See `study.SimulationConfig`.
    """
    with_echo = rng.random() < echo_in_report
    if style == "machine":
        stated = (*findings, *(echo_findings if with_echo else ()))
        return compose_report(stated, rng, style=style)

    stated_ecg = [f for f in findings if f in _LEADING or rng.random() >= omission]
    # "Abnormal ECG" says nothing that the findings do not.
    if rng.random() < 0.6:
        stated_ecg = [f for f in stated_ecg if f != "abnormal_ecg"]
    stated_ecg = stated_ecg or [findings[0]]
    if rng.random() < wrong:
        stated_ecg = [_MISTAKEN.get(f, f) for f in stated_ecg]
    # A quarter of the reports deny one or two things, none of them akin to what is there.
    absent: list[str] = []
    if rng.random() < 0.25:
        families = {f.split("_")[0] for f in findings}
        options = [f for f in _DENIED_ECG if f.split("_")[0] not in families]
        count = min(int(rng.integers(1, 3)), len(options))
        absent += [options[int(i)] for i in rng.permutation(len(options))[:count]]
    stated_echo: list[str] = []
    if with_echo:
        # The ejection fraction is nearly always stated, the rest less often.
        stated_echo = [
            f for f in echo_findings if rng.random() < (0.95 if f.startswith("lvef") else 0.65)
        ]
        if rng.random() < 0.15:
            absent += [f for f in _DENIED_ECHO if f not in echo_findings][:1]
    gives_number = any(f.startswith("lvef") for f in stated_echo) and rng.random() < 0.75
    # What is hardly visible may be called possible.
    doubtful = [
        f
        for f in stated_ecg
        if f in ("lvh_voltage", "lae", "abnormal_qrs")
        or (f.startswith("mi_") and state.infarct_size < 0.42)
        or (f.startswith("ischemia") and state.st_t_size < 0.35)
    ]
    return compose_report(
        [*stated_ecg, *stated_echo],
        rng,
        style=style,
        absent=absent,
        lvef_pct=state.lvef_pct if gives_number else None,
        heart_rate_bpm=round(state.heart_rate_bpm),
        doubtful=doubtful,
    )


def ejection_fraction_sentence(state: HeartState, rng: np.random.Generator) -> str:
    """State the ejection fraction as one reader would, with the reader's error.

    Parameters
    ----------
    state : HeartState
    rng : Generator
        Draws the error and the wording.
    """
    read_pct = state.lvef_pct + READER_SD_POINTS * rng.normal()
    return writing.ejection_fraction_sentence(read_pct, rng)


def echo_sentences(state: HeartState, rng: np.random.Generator) -> tuple[str, ...]:
    """State a heart's ejection fraction, function, walls and size.

    Parameters
    ----------
    state : HeartState
    rng : Generator
        Draws the reader's error and the wordings.

    Returns
    -------
    tuple of str
        Six sentences.
    """
    return (
        ejection_fraction_sentence(state, rng),
        writing.function_sentence(state.lvef_pct, rng),
        *writing.wall_sentences(state.wall_mm, rng),
        *writing.size_sentences(state.lvedd_mm, state.sex, rng),
    )


def echo_report(
    state: HeartState, rng: np.random.Generator, *, n_sentences: int | None = None
) -> str:
    """Compose the echo report of a simulated heart.

    Parameters
    ----------
    state : HeartState
    rng : numpy Generator
        Chooses the wording, the sentences and their order.
    n_sentences : int, optional
        How many of the sentences are stated; without it, all.
    """
    sentences = echo_sentences(state, rng)
    n_stated = len(sentences) if n_sentences is None else min(n_sentences, len(sentences))
    return "".join(sentences[int(i)] for i in rng.permutation(len(sentences))[:n_stated])
