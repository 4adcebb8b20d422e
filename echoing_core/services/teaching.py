"""Teaching cases: which there are, and whether a model shows what their story says."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoing_core.artifacts import write_text_atomically
from echoing_core.documents import DocumentError, parse_yaml
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.records import WINDOW_S
from echoing_core.services.models import assets_folder
from echoing_core.simulate.teaching import (
    LEAD_OFF,
    NOISY,
    REPORT,
    STORIES,
    SWAPPED,
    WHICH_AF,
    WHY,
    TeachingCase,
    draw_case,
)

if TYPE_CHECKING:
    from echoing_core.services.models import Model

FILE = "teaching.yaml"
COUNTS: Mapping[str, int] = {
    LEAD_OFF: 40,
    NOISY: 35,
    WHY: 35,
    SWAPPED: 30,
    WHICH_AF: 30,
    REPORT: 30,
}
"""How many of each kind ship."""

UNSURE_PERCENTILE = 75.0
"""`uncertainty.reasons.CALM_PERCENTILE`: from here on a model says why it is unsure."""

_MOST_LEADS = 2


@dataclass(frozen=True)
class Shown:
    """What a model shows of a case.

    Attributes
    ----------
    holds : bool
        It is what the story says.
    words : str
        What it shows, in a sentence or two.
    """

    holds: bool
    words: str


@dataclass(frozen=True)
class DrawnCases:
    """How many of the cases of a kind were drawn until enough were shown.

    Attributes
    ----------
    kind : str
    n_drawn, n_shown : int
    """

    kind: str
    n_drawn: int
    n_shown: int


def case_ids() -> tuple[str, ...]:
    """The cases that ship, the kinds in turn; none where their list is not there.

    Raises
    ------
    ConfigError
        The list cannot be read.
    """
    path = assets_folder() / FILE
    if not path.is_file():
        return ()
    cases = _read(path)["cases"]
    longest = max((len(numbers) for numbers in cases.values()), default=0)
    return tuple(
        f"{kind}-{cases[kind][i]}"
        for i in range(longest)
        for kind in STORIES
        if i < len(cases.get(kind, ()))
    )


def drawn_cases() -> tuple[DrawnCases, ...]:
    """Of each kind, how many cases were drawn for those that ship.

    Raises
    ------
    ConfigError
        As `case_ids`.
    """
    path = assets_folder() / FILE
    if not path.is_file():
        return ()
    return tuple(
        DrawnCases(kind, int(n["drawn"]), int(n["shown"]))
        for kind, n in _read(path)["drawn"].items()
    )


def teaching_case(case_id: str) -> TeachingCase:
    """A case by its name.

    Parameters
    ----------
    case_id : str
        As `case_ids` gives it.

    Returns
    -------
    TeachingCase

    Raises
    ------
    ConfigError
        There is no such case.
    """
    kind, _, number = case_id.rpartition("-")
    if not number.isdecimal() or len(number) > 9:
        raise ConfigError(
            f"There is no teaching case {case_id!r}. `echoing samples cases` lists them."
        )
    return draw_case(kind, int(number))


def shown_by(model: Model, case: TeachingCase) -> Shown:
    """Whether a model shows what a case says, and what it shows.

    Parameters
    ----------
    model : Model
    case : TeachingCase

    Returns
    -------
    Shown
    """
    if case.kind == NOISY:
        return _least_sure(model, case)
    if case.kind == WHICH_AF:
        return _most_likely(model, case)
    if case.kind == REPORT:
        return _nearest_report(model, case)
    return _reasons(model, case)


def draw_teaching_cases(
    model: Model,
    *,
    counts: Mapping[str, int] = COUNTS,
    out: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[DrawnCases, ...]:
    """Draw cases until a model shows as many of each kind as are wanted.

    Those that it does not show are left out and counted.

    Parameters
    ----------
    model : Model
    counts : mapping of str to int
        Kind -> how many.
    out : Path, optional
        Where the list goes; without, where the app looks for it.
    progress : Progress, optional
        A stage for each kind.

    Returns
    -------
    tuple of DrawnCases

    Raises
    ------
    ConfigError
        The model shows fewer than one case of a kind in ten.
    """
    kept: dict[str, list[int]] = {}
    drawn = []
    for kind, wanted in counts.items():
        tell, number = progress.stage(kind), 0
        kept[kind] = []
        while len(kept[kind]) < wanted:
            if number >= 10 * wanted:
                raise ConfigError(
                    f"Model {model.name} shows {len(kept[kind])} of {number} cases of the kind "
                    f"{kind}, so they teach nothing about it. Leave that kind out."
                )
            if shown_by(model, draw_case(kind, number)).holds:
                kept[kind].append(number)
            number += 1
            tell(len(kept[kind]), wanted)
        drawn.append(DrawnCases(kind, number, len(kept[kind])))
    lines = [
        "# Teaching cases, all simulated: kind -> numbers, see echoing_core/simulate/teaching.py.",
        "# Kept are those that the model shows as their story says; `drawn` counts all.",
        "# Made by: echoing samples cases --write",
        f"model: {model.name}",
        f"model_hash: {model.hash}",
        "drawn:",
        *(f"  {d.kind}: {{drawn: {d.n_drawn}, shown: {d.n_shown}}}" for d in drawn),
        "cases:",
        *(f"  {kind}: {numbers}" for kind, numbers in kept.items()),
    ]
    write_text_atomically(out or assets_folder() / FILE, "\n".join(lines) + "\n")
    return tuple(drawn)


def export_cases(folder: Path, *, progress: Progress = SILENT) -> int:
    """Write the cases that ship: recordings as WFDB, questions and solutions as a table.

    Parameters
    ----------
    folder : Path
        New or empty.
    progress : Progress, optional
        Counts cases.

    Returns
    -------
    int
        Cases written.

    Raises
    ------
    ConfigError
        The folder holds something, or there is no list of cases.
    """
    from echoing_core.io.wfdb.write import write_wfdb

    ids = case_ids()
    if not ids:
        raise ConfigError("There is no list of teaching cases: echoing samples cases --write")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty. Choose a new folder, or empty this one.")
    (folder / "records").mkdir(parents=True)
    with (folder / "cases.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ("case", "story", "question", "choices", "answer", "because", "records", "simulated")
        )
        for done, case_id in enumerate(ids, start=1):
            case = teaching_case(case_id)
            for one in case.recordings:
                # As many units as 16 bits hold of the largest artefact.
                gain = min(1000.0, 32_000.0 / float(np.nanmax(np.abs(one.signal_mv))))
                write_wfdb(
                    folder / "records",
                    one.record_id,
                    one.signal_mv,
                    one.fs_hz,
                    one.lead_names,
                    comments=one.notes,
                    gain=gain,
                )
            writer.writerow(
                (
                    case.case_id,
                    STORIES[case.kind],
                    case.question,
                    " | ".join(case.choices),
                    case.choices[case.answer],
                    case.because,
                    " ".join(one.record_id for one in case.recordings),
                    True,
                )
            )
            progress(done, len(ids))
    return len(ids)


def _read(path: Path) -> dict[str, Any]:
    content: Any = None
    with contextlib.suppress(DocumentError):
        content = parse_yaml(path.read_bytes())
    if isinstance(content, dict):
        cases, drawn = content.get("cases"), content.get("drawn")
        numbers = cases.values() if isinstance(cases, dict) else ()
        if numbers and isinstance(drawn, dict) and all(isinstance(n, list) for n in numbers):
            return content
    raise ConfigError(f"{path.name} is no list of teaching cases. Make it again with --write.")


def _reasons(model: Model, case: TeachingCase) -> Shown:
    from echoing_core.services.explaining import explain
    from echoing_core.services.windows import window_reasons
    from echoing_core.uncertainty.artefacts import ARMS, CHEST, GROUND
    from echoing_core.uncertainty.reasons import MISPLACED

    explanation = explain(model, case.recordings[0], WINDOW_S)
    percentile = float(explanation.track.percentile[0])
    why = window_reasons(model, explanation, [0])[0]
    words = f"Uncertainty percentile {percentile:.0f}. {why.sentence}"
    if case.kind == SWAPPED:
        expected = {"arms": ARMS, "right leg": GROUND, "chest reversed": CHEST}
        found = [r.leads for r in why.reasons if r.kind == MISPLACED]
        holds = found == ([expected[case.truth].leads] if case.truth else [])
        return Shown(holds, words)
    if percentile < UNSURE_PERCENTILE:
        return Shown(False, words)
    if case.kind == LEAD_OFF:
        return Shown(case.truth in why.leads and len(why.leads) <= _MOST_LEADS, words)
    return Shown(bool(why.reasons) and why.reasons[0].kind == case.truth, words)


def _least_sure(model: Model, case: TeachingCase) -> Shown:
    from echoing_core.services.explaining import explain

    track = explain(model, case.recordings[0], 1.0).track
    least = int(np.argmax(track.uncertainty))
    start_s = float(track.start_s[least])
    begin_s = WINDOW_S * int(case.truth)
    # More than half of the least sure window lies in the stretch.
    holds = abs(start_s - begin_s) < WINDOW_S / 2
    return Shown(
        holds,
        f"Least sure from {start_s:.0f} to {start_s + WINDOW_S:.0f} s, at uncertainty percentile "
        f"{track.percentile[least]:.0f}; surest at percentile {track.percentile.min():.0f}.",
    )


def _most_likely(model: Model, case: TeachingCase) -> Shown:
    from echoing_core.services.asking import ask
    from echoing_core.services.models import prompt_sets

    if not model.has_text:
        return Shown(False, "This model reads no questions.")
    question = next(one for one in prompt_sets() if one.label == "af")
    likely = [ask(model, one, question)[0].probability for one in case.recordings]
    best = int(np.argmax(likely))
    told = ", ".join(
        f"{100 * p:.0f} % for {words[-1]}" for words, p in zip(case.choices, likely, strict=True)
    )
    return Shown(best == case.answer, f"How likely atrial fibrillation is: {told}.")


def _nearest_report(model: Model, case: TeachingCase) -> Shown:
    from echoing_core.embed.encode import encode_texts
    from echoing_core.metrics.distances import csd
    from echoing_core.services.searching import query_embedding

    if not model.has_text:
        return Shown(False, "This model reads no reports.")
    query = query_embedding(model, case.recordings[0])
    texts = encode_texts(model.checkpoint, list(case.choices))
    apart = csd(query.mu, query.log_var, texts.mu, texts.log_var)[0]
    best = int(np.argmin(apart))
    told = ", ".join(f"{one:.2f} to number {i}" for i, one in enumerate(apart, start=1))
    return Shown(best == case.answer, f"Distances (CSD) of this ECG: {told}.")
