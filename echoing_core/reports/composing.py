"""Report texts from findings: a cart's fixed wording, or the free wording of many writers.

Free texts come from `N_WRITERS` fixed writers. A writer always words a finding the same way and
always orders and joins sentences the same way, as people do; so one set of findings has at most
that many texts (and as many again for each other ejection fraction or heart rate), and equal
texts meet often enough to be counted as the same match.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from echoing_core.reports.vocabulary import (
    FINDINGS,
    SUPERCLASS_WORDS,
    WORDING,
    lvef_grade,
    superclasses_of,
)

N_WRITERS = 24
"""Number of fixed writers of free texts."""

# Units modulo N_WRITERS: multiplying by one permutes the writers, so every phrase of a finding
# is used equally often and phrases of different findings do not move together.
_UNITS = (1, 5, 7, 11, 13, 17, 19, 23)
_PLACE = {key: place for place, key in enumerate(FINDINGS)}

# Phrases with these parts read wrongly after "no": "no rhythm is atrial fibrillation" says
# nothing, and "no wide qrs with..." would deny more than the finding.
_NOT_DENIED = (",", " is ", "signs of", " with ", "meets ", " not ")

# "{}" alone takes several findings in one sentence; "{} not seen" makes one sentence of each.
_NEGATIONS = ("no {}", "no evidence of {}", "no signs of {}", "without {}", "{} not seen")


def compose_report(
    findings: Sequence[str],
    rng: np.random.Generator,
    *,
    style: str,
    absent: Sequence[str] = (),
    lvef_pct: float | None = None,
    heart_rate_bpm: int | None = None,
    doubtful: Collection[str] = (),
    superclasses: Sequence[str] | None = None,
) -> str:
    """Write one report, in lower case.

    Parameters
    ----------
    findings : sequence of str
        Keys of `FINDINGS` that are present. Their order does not matter.
    rng : Generator
        Chooses the writer of a free text; one number is drawn in either style.
    style : {"machine", "free"}
        ``"machine"`` states each finding in fixed words and order, without numbers or
        negations. ``"free"`` is one of `N_WRITERS` writers.
    absent : sequence of str
        Keys that a free text denies ("no evidence of atrial fibrillation").
    lvef_pct : float, optional
        Ejection fraction in percent: most writers of free texts then give a number or a limit.
    heart_rate_bpm : int, optional
        Some writers of free texts state it.
    doubtful : collection of str
        Keys among ``findings`` that half of the writers call "possible".
    superclasses : sequence of str, optional
        PTB-XL superclasses for the writers who end with an impression; taken from the findings
        when not given.

    Returns
    -------
    str
        The text, in lower case.

    Raises
    ------
    ValueError
        For an unknown finding or style.
    """
    unknown = sorted({*findings, *absent, *doubtful} - _PLACE.keys())
    if unknown:
        raise ValueError(f"unknown findings {unknown}; the known ones are vocabulary.FINDINGS")
    writer = int(rng.integers(N_WRITERS))
    present = sorted(set(findings), key=_PLACE.__getitem__)
    if style == "machine":
        return " ".join(f"{WORDING[key].machine}." for key in present)
    if style != "free":
        raise ValueError(f'style must be "machine" or "free", not {style!r}')

    groups: dict[str, list[str]] = {"rhythm": [], "ecg": [], "summary": []}
    # Beats and axis stand among the ECG's findings; the echocardiogram has a text of its own.
    for key in present:
        group = WORDING[key].group
        if group == "echo":
            continue
        text = _phrase(key, writer)
        if key in doubtful and writer % 2:
            text = f"possible {text}"
        groups[group if group in groups else "ecg"].append(text)
    # One writer in eight states the rate.
    if groups["rhythm"] and heart_rate_bpm is not None and writer % 8 == 3:
        groups["rhythm"].append(f"rate {heart_rate_bpm} bpm")

    classes = superclasses_of(findings) if superclasses is None else superclasses
    body = _arrange(groups, _impression(classes, writer), writer)
    denied = _deny([key for key in absent if WORDING[key].group != "echo"], writer)
    echo = _echo_text(present, [k for k in absent if WORDING[k].group == "echo"], lvef_pct, writer)
    # One in six begins with the echocardiogram.
    parts = [echo, body, denied] if writer % 6 == 5 else [body, denied, echo]
    return " ".join(part for part in parts if part).lower()


def _phrase(key: str, writer: int, *, denied: bool = False) -> str:
    """The writer's phrase for a finding, always the same one."""
    place = _PLACE[key]
    turn = (_UNITS[place % len(_UNITS)] * writer + place) % N_WRITERS
    free = WORDING[key].free
    if denied:
        free = tuple(t for t in free if not any(word in t for word in _NOT_DENIED))
    return free[turn * len(free) // N_WRITERS]


def _join(phrases: Sequence[str]) -> str:
    if len(phrases) < 2:
        return "".join(phrases)
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def _impression(classes: Sequence[str], writer: int) -> str:
    # A third of the writers name the superclass after the particular finding.
    if not classes or writer % 3 != 1:
        return ""
    words = []
    for name in classes:
        options = SUPERCLASS_WORDS[name]
        # Five of eight such writers use the plainest word.
        words.append(options[max(0, writer // 3 - 5) % len(options)])
    return _join(words)


def _arrange(groups: dict[str, list[str]], impression: str, writer: int) -> str:
    """Findings and impression in one of eight layouts, three writers each."""
    rhythm, ecg, summary = groups["rhythm"], groups["ecg"], groups["summary"]
    everything = [*rhythm, *ecg, *summary]
    if not everything:
        return f"impression: {impression}." if impression else ""
    layout = writer // 3
    if layout == 0:
        text = ". ".join(everything)
    elif layout == 1:
        text = ", ".join(everything)
    elif layout == 2:
        text = f"ecg shows {_join([*rhythm, *ecg])}" if rhythm or ecg else ""
        text = ". ".join([t for t in (text, *summary) if t])
    elif layout == 3:
        head = " with ".join(t for t in (", ".join(rhythm), _join(ecg)) if t)
        text = ". ".join([t for t in (head, *summary) if t])
    elif layout == 4:
        text = ", ".join([*summary, *ecg])
        text = "; rhythm: ".join(t for t in (text, ", ".join(rhythm)) if t)
    elif layout == 5:
        text = f"ecg: {'; '.join(everything)}"
    elif layout == 6:
        text = ". ".join([t for t in (", ".join(rhythm), *summary) if t])
        there_is = f"there is {_join(ecg)}" if ecg else ""
        text = ". ".join(t for t in (text, there_is) if t)
    else:
        text = ". ".join([*summary, *ecg, *rhythm])
    if not impression:
        return f"{text}."
    return f"{impression}: {text}." if layout == 7 else f"{text}. impression: {impression}."


def _deny(absent: Sequence[str], writer: int) -> str:
    """A sentence, or several, that deny findings."""
    keys = sorted(set(absent), key=_PLACE.__getitem__)
    if not keys:
        return ""
    phrases = [_phrase(key, writer, denied=True) for key in keys]
    pattern = _NEGATIONS[writer % len(_NEGATIONS)]
    if "{} " in pattern:
        return " ".join(f"{pattern.format(text)}." for text in phrases)
    return f"{pattern.format(' or '.join(phrases))}."


def _lvef_text(grade: str | None, lvef_pct: float | None, writer: int) -> str:
    """Ejection fraction in words, as a number, a range or a limit, as the writer does."""
    if lvef_pct is None:
        return "" if grade is None else _phrase(grade, writer)
    words = _phrase(grade or lvef_grade(lvef_pct), writer)
    # Readers estimate to 5 %. Rounding down never carries a value across a limit such as 40 %.
    step_pct = 5 * int(np.floor(lvef_pct / 5))
    below_40 = "lvef is less than 40 %" if lvef_pct < 40 else "lvef is 40 % or more"
    return (
        words,
        f"lvef {step_pct} %",
        f"ejection fraction estimated at {step_pct}-{step_pct + 5} %",
        below_40,
        f"{words}, ef {step_pct}%",
        words,
        f"{words}. {below_40}",
        f"left ventricular ejection fraction is {step_pct} %",
    )[writer % 8]


def _echo_text(
    present: Sequence[str], absent: Sequence[str], lvef_pct: float | None, writer: int
) -> str:
    echo = [key for key in present if WORDING[key].group == "echo"]
    grade = next((key for key in echo if key.startswith("lvef_")), None)
    lvef = _lvef_text(grade, lvef_pct, writer)
    rest = [_phrase(key, writer) for key in echo if not key.startswith("lvef_")]
    sentences = [t for t in (lvef, *rest) if t]
    if writer // 8 == 1:
        sentences.reverse()
    lead = ("", "echo: ", "echocardiogram: ", "tte: ")[writer % 4]
    text = ". ".join(sentences) if writer % 3 else ", ".join(sentences)
    text = f"{lead}{text}." if text else ""
    denied = _deny(absent, writer)
    return " ".join(t for t in (text, denied) if t)
