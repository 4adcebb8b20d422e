"""The model's answers beside what the files themselves say of their ECGs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.errors import ConfigError, DataSetError, EchoingError
from echoing_core.io.annotations import rhythm_words
from echoing_core.io.many import BatchItem, folder_items
from echoing_core.progress import SILENT, Progress
from echoing_core.records import WINDOW_S, Annotations, Recording
from echoing_core.reports.understanding import AskedFinding, understand
from echoing_core.services.asking import ask, verdict_kind
from echoing_core.services.explaining import explain, fitting_stride_s
from echoing_core.services.models import Model, prompt_sets
from echoing_core.services.windows import most_sure_window
from echoing_core.zeroshot.answering import NO, YES
from echoing_core.zeroshot.prompts import PromptSet

if TYPE_CHECKING:
    from echoing_core.evaluate.statements import Compared
    from echoing_core.metrics.results import Experiment


def evaluate_statements(
    model: Model,
    folder: str | Path,
    questions: Sequence[PromptSet] | None = None,
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Experiment:
    """How often the model's answers agree with the device's statements in the files of a folder.

    Parameters
    ----------
    model : Model
        With a text encoder.
    folder : path
        Recordings whose files hold statements or rhythms, at any depth.
    questions : sequence of PromptSet, optional
        Without, the shipped ones; only those that ask for one finding that reports have words for.
    n_resamples : int
    progress : Progress, optional
        Counts recordings.

    Returns
    -------
    Experiment

    Raises
    ------
    DataSetError
        No file says anything of what is asked.
    ConfigError
        There is no recording in the folder, or no question that can be compared.
    """
    from echoing_core.evaluate.statements import statement_agreement

    asked = _asked(prompt_sets() if questions is None else questions)
    items, _ = folder_items(folder)
    compared: list[Compared] = []
    silent = unreadable = 0
    simulated = False
    for done, item in enumerate(items):
        progress(done, len(items))
        try:
            recordings = [item.read()] if not item.is_archive else _unpacked(item)
            for recording in recordings:
                found = _compared(model, recording, item.name, asked)
                compared += found
                silent += not found
                simulated = simulated or recording.simulated
        except EchoingError:
            # One damaged file does not spoil the others; it is counted.
            unreadable += 1
    progress(len(items), len(items))
    if not compared:
        raise DataSetError(
            f"No recording in {folder} says anything of what is asked. Give files that hold "
            "statements of a device (GE MUSE, Philips, CardioSoft, aECG, SCP-ECG) or rhythms."
        )
    return statement_agreement(
        compared,
        model_name=model.name,
        counts={
            "recordings compared": len({c.recording for c in compared}),
            "recordings that say nothing of it": silent,
            "files that cannot be read": unreadable,
        },
        simulated=simulated,
        n_resamples=n_resamples,
    )


def lines_at(annotations: Annotations, start_s: float, stop_s: float) -> list[str]:
    """What a file says of a stretch: its statements, and the rhythm that fills the stretch.

    Parameters
    ----------
    annotations : Annotations
    start_s, stop_s : float

    Returns
    -------
    list of str
    """
    filling = [
        rhythm_words(span.name)
        for span in annotations.rhythms
        if span.start_s <= start_s and span.stop_s >= stop_s
    ]
    return [*annotations.statements, *filling]


def _asked(questions: Sequence[PromptSet]) -> list[tuple[PromptSet, AskedFinding]]:
    """The questions for one finding each, with it."""
    found = []
    for question in questions:
        try:
            findings = understand(question.question).findings
        except ConfigError:
            continue
        if len(findings) == 1:
            found.append((question, findings[0]))
    if not found:
        raise ConfigError(
            "No question asks for one finding that the language of reports has words for."
        )
    return found


def _unpacked(item: BatchItem) -> list[Recording]:
    return [inner.read(files) for inner, files in item.inside()]


def _compared(
    model: Model,
    recording: Recording,
    name: str,
    asked: Sequence[tuple[PromptSet, AskedFinding]],
) -> list[Compared]:
    from echoing_core.evaluate.statements import Compared, stated_of

    if not (recording.annotations.statements or recording.annotations.rhythms):
        return []
    explanation = explain(model, recording, fitting_stride_s(recording.duration_s))
    track = explanation.track
    start_s = float(track.start_s[most_sure_window(track)])
    stop_s = min(start_s + WINDOW_S, recording.duration_s)
    lines = lines_at(recording.annotations, start_s, stop_s)
    known = [(question, *stated_of(lines, finding)) for question, finding in asked]
    known = [(question, so, words) for question, so, words in known if so is not None]
    if not known:
        return []
    answers = ask(model, explanation, [question for question, _, _ in known], start_s=start_s)
    # A trained head answers beside the prompts, under a question of its own.
    verdicts = {answer.question: verdict_kind(answer.verdict) for answer in answers}
    return [
        Compared(
            name, question.question, bool(so), words,
            {YES: True, NO: False}.get(verdicts[question.question]),
        )
        for question, so, words in known
    ]  # fmt: skip
