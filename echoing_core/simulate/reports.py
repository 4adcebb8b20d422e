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
    """Write the report of one study.

    A machine report states every finding, so that the same findings give the same text. A free
    one leaves some out, denies some that are absent, and is now and then mistaken.

    Parameters
    ----------
    style : {"machine", "free"}
    echo_in_report, omission, wrong : float
        See `study.SimulationConfig`.
    """
    tells_echo = rng.random() < echo_in_report
    if style == "machine":
        told = (*findings, *(echo_findings if tells_echo else ()))
        return compose_report(told, rng, style=style)

    told_ecg = [f for f in findings if f in _LEADING or rng.random() >= omission]
    if rng.random() < 0.6:
        told_ecg = [f for f in told_ecg if f != "abnormal_ecg"]
    told_ecg = told_ecg or [findings[0]]
    if rng.random() < wrong:
        told_ecg = [_MISTAKEN.get(f, f) for f in told_ecg]
    absent: list[str] = []
    if rng.random() < 0.25:
        seen = {f.split("_")[0] for f in findings}
        options = [f for f in _DENIED_ECG if f not in findings and f.split("_")[0] not in seen]
        count = min(int(rng.integers(1, 3)), len(options))
        absent += [options[int(i)] for i in rng.permutation(len(options))[:count]]
    told_echo: list[str] = []
    if tells_echo:
        # The ejection fraction is nearly always told, the rest less often.
        told_echo = [
            f for f in echo_findings if rng.random() < (0.95 if f.startswith("lvef") else 0.65)
        ]
        if rng.random() < 0.15:
            absent += [f for f in _DENIED_ECHO if f not in echo_findings][:1]
    gives_number = any(f.startswith("lvef") for f in told_echo) and rng.random() < 0.75
    doubtful = [
        f
        for f in told_ecg
        if f in ("lvh_voltage", "lae", "abnormal_qrs")
        or (f.startswith("mi_") and state.infarct_size < 0.42)
        or (f.startswith("ischemia") and state.st_t_size < 0.35)
    ]
    return compose_report(
        [*told_ecg, *told_echo],
        rng,
        style=style,
        absent=absent,
        lvef_pct=state.lvef_pct if gives_number else None,
        heart_rate_bpm=round(state.heart_rate_bpm),
        doubtful=doubtful,
    )


def ejection_fraction_sentence(state: HeartState, rng: np.random.Generator) -> str:
    """State the ejection fraction as one reader would, with the reader's error."""
    read_pct = state.lvef_pct + READER_SD_POINTS * rng.normal()
    return writing.ejection_fraction_sentence(read_pct, rng)


def echo_sentences(state: HeartState, rng: np.random.Generator) -> tuple[str, ...]:
    """State a heart's ejection fraction, function, walls and size, in six sentences."""
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
