"""Commands about a recording or a question: explain, ask, convert."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoing_core.cli.output import (
    at_most_one_on_stdout,
    bar,
    deliver,
    json_text,
    read_prevalence,
    table,
    writable,
)
from echoing_core.cli.root import (
    JsonOption,
    ModelOption,
    PrevalenceOption,
    RecordingArgument,
    RecordOption,
    VcgOption,
    app,
)
from echoing_core.cli.telling import (
    FsOption,
    LeadOption,
    PrintedOption,
    SamplesInOption,
    ScaleOption,
    UnitOption,
    told,
)
from echoing_core.errors import ConfigError, MissingLeadError
from echoing_core.records import WINDOW_S, Recording, StandardEcg
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.export.track import Explanation
    from echoing_core.services import Model, PromptSet, ReadQuestion, Told, WindowReasons

_N_LISTED = 3


@app.command()
def explain(
    recording: RecordingArgument,
    stride: Annotated[
        float, typer.Option("--stride", help="Seconds between the starts of two windows.")
    ] = 1.0,
    json_out: JsonOption = None,
    csv_out: Annotated[
        str | None,
        typer.Option("--csv", help="Write one row per window to this file; - for stdout."),
    ] = None,
    vcg_method: VcgOption = "dower",
    record: RecordOption = None,
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
    model: ModelOption = None,
) -> None:
    """See where along a recording the model is unsure, and which leads that comes from.

    Every window's parts by lead are in CSV and JSON; the sentence that says why only of the
    windows that the summary lists.
    """
    at_most_one_on_stdout(json_out, csv_out)
    writable(json_out, csv_out)
    from echoing_core import services

    loaded, explanation = _explained(
        recording,
        record,
        model,
        stride,
        vcg_method,
        told(lead, fs, unit, scale, samples_in, printed),
    )
    surest, least_sure = (
        services.extreme_windows(explanation.track, _N_LISTED, surest=surest)
        for surest in (True, False)
    )
    reports = services.window_reasons(loaded, explanation, [*surest, *least_sure])
    if json_out is not None:
        deliver(explanation.json_text(reports), json_out)
    if csv_out is not None:
        deliver(explanation.csv_text(), csv_out)
    if "-" not in (json_out, csv_out):
        typer.echo(_summary(explanation, surest, least_sure, reports))


@app.command()
def ask(
    recording: RecordingArgument,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt",
            help="A finding in words, such as 'no atrial fibrillation'; may be repeated. In "
            "quotation marks of its own it is asked as it stands.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="YAML file or folder of prompt sets."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option("--at", help="Start of the window in seconds; without it, the surest one."),
    ] = None,
    fuse: Annotated[
        str | None,
        typer.Option(
            "--fuse",
            help="Ask the whole recording: precision or trimmed fuse its windows, lowest and "
            "start take one of them.",
        ),
    ] = None,
    prevalence: PrevalenceOption = None,
    json_out: JsonOption = None,
    vcg_method: VcgOption = "dower",
    record: RecordOption = None,
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
    model: ModelOption = None,
) -> None:
    """Ask questions in words about one window or the fused recording (without any, the shipped)."""
    from echoing_core import services

    # Read before anything is loaded: a question that is refused should be told at once.
    asked, readings, refused = asked_questions(prompt, prompts)
    shares = read_prevalence(prevalence)
    loaded, explanation = _explained(
        recording, record, model, 1.0, vcg_method, told(lead, fs, unit, scale, samples_in, printed)
    )
    start_s = finite(at)
    if start_s is None and fuse is None:
        start_s = float(explanation.track.start_s[services.most_sure_window(explanation.track)])
    answers = services.ask(
        loaded, explanation, asked, start_s=start_s, rule=fuse, prevalence=shares
    )
    if start_s is None:
        asked_of, where = _fused(loaded, explanation, str(fuse))
    else:
        asked_of, where = _window(loaded, explanation, start_s)
    if json_out is not None:
        content = _header(loaded, explanation) | asked_of
        from echoing_core.export.wording import answer_values

        content["answers"] = [answer_values(answer) for answer in answers]
        content["refused"] = [{"question": text, "reason": why} for text, why in refused.items()]
        deliver(json_text(content), json_out)
    if json_out != "-":
        typer.echo(f"{_title(explanation)}, {where}")
        notes = [*explanation.cautions, *(r.note for r in readings if r.note)]
        notes += [*loaded.lacks.values(), *filter(None, [loaded.checkpoint.caution])]
        for note in notes:
            typer.echo(f"note: {note}")
        for answer in answers:
            typer.echo(services.answer_line(answer).text)
            if answer.unknown_words:
                words = ", ".join(answer.unknown_words)
                typer.echo(f"  {services.unknown_words_mean(loaded)}: {words}.")
        for line in refusal_lines(refused):
            typer.echo(line)
        typer.echo(DISCLAIMER)


def asked_questions(
    prompt: Sequence[str] | None, prompts: Path | None
) -> tuple[list[PromptSet] | None, tuple[ReadQuestion, ...], dict[str, str]]:
    """The questions of ``--prompt`` and ``--prompts``.

    Parameters
    ----------
    prompt : sequence of str, optional
    prompts : Path, optional

    Returns
    -------
    list of PromptSet or None
        None where neither was given, and the shipped ones are asked.
    tuple of ReadQuestion
        How those of ``--prompt`` were read.
    dict of str to str
        Those that are refused, with why.

    Raises
    ------
    ConfigError
        All of them are refused, or ``prompts`` holds no questions.
    """
    from echoing_core import services

    asked = [] if prompts is None else list(services.prompt_sets(prompts))
    readings, refused = services.read_questions(prompt or [])
    asked += [question for reading in readings for question in reading.questions]
    if refused and not asked:
        raise ConfigError("\n".join(refused.values()))
    return asked or None, readings, refused


def refusal_lines(refused: Mapping[str, str]) -> list[str]:
    """A line for each question that was refused, as a failed file has in a batch."""
    return [f"refused: {text}: {why}" for text, why in refused.items()]


@app.command()
def convert(
    recording: RecordingArgument,
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write; its ending says the format: .hea (WFDB), .edf (EDF+), .dcm "
            "(DICOM), .xml (HL7 aECG), .csv or .parquet.",
            show_default=False,
        ),
    ],
    record: RecordOption = None,
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    scale: ScaleOption = 1.0,
    samples_in: SamplesInOption = None,
    printed: PrintedOption = None,
) -> None:
    """Write a recording in another format, without names and dates.

    Gaps stay gaps, and a remark says what the file was made of.
    """
    from echoing_core import services

    # Before anything is read: a name that cannot be written should be told at once.
    services.format_for(out)
    read = services.read_recording(
        services.recording_source(recording),
        record_name=record,
        told=told(lead, fs, unit, scale, samples_in, printed),
    )
    for path in services.convert(read, out):
        typer.echo(f"Written: {path}")
    for note in read.notes:
        typer.echo(note)


def _explained(
    paths: Sequence[Path],
    record: str | None,
    model: Path | None,
    stride_s: float,
    method: str,
    said: Told,
) -> tuple[Model, Explanation]:
    from echoing_core import services

    # Read before loading the model: a wrong path should be reported at once.
    recording = services.read_recording(
        services.recording_source(paths), record_name=record, told=said, stay_stored=True
    )
    check_leads(recording)
    loaded = services.load_model(model)
    job = services.ExplainJob(loaded, recording, stride_s, vcg_method=method)
    # As measured it is four times what is embedded, and no longer needed.
    del recording
    with bar("embed") as progress:
        explanation = job.run(progress)
    return loaded, explanation


def check_leads(recording: Recording) -> None:
    """Ask for the leads of channels that say none, before anything heavy is loaded.

    Parameters
    ----------
    recording : Recording

    Raises
    ------
    MissingLeadError
        None of its channels is a lead.
    """
    from echoing_core import services

    names = recording.source_names or recording.lead_names
    if services.has_leads(recording):
        return
    guess = services.guessed_leads(names)
    channel, lead = next(iter(guess.items()), (names[0], "II"))
    raise MissingLeadError(
        f"{recording.record_id} does not say which lead {' and '.join(names[:8])} "
        f'{"is" if len(names) == 1 else "are"}. Say it, as in --lead "{channel}={lead}".'
    )


def finite(at: float | None) -> float | None:
    """A start in seconds as it was given.

    Parameters
    ----------
    at : float or None

    Raises
    ------
    ConfigError
        It is no finite number.
    """
    if at is not None and not math.isfinite(at):
        raise ConfigError(f"A window cannot start at {at} s. Give seconds from the start.")
    return at


def _window(model: Model, explanation: Explanation, start_s: float) -> tuple[dict[str, Any], str]:
    """The window that was asked, for JSON and in words."""
    from echoing_core import services

    window = services.explain(model, _cut(explanation.ecg, start_s)).track
    facts: dict[str, Any] = {"start_s": start_s, "window_s": window.window_s}
    told, words = _sigma2(model, float(window.uncertainty[0]), float(window.percentile[0]))
    end_s = start_s + window.window_s
    return {"window": facts | told}, f"window {start_s:g}-{end_s:g} s{words}"


def _sigma2(
    model: Model, uncertainty: float, percentile: float
) -> tuple[dict[str, float | None], str]:
    """sigma^2 for JSON and in words; of a model that has none neither is told."""
    if not model.has_sigma2:
        return {"uncertainty": None, "percentile": None}, ""
    told: dict[str, float | None] = {"uncertainty": uncertainty, "percentile": percentile}
    return told, f", sigma^2 percentile {percentile:.0f}"


def _fused(model: Model, explanation: Explanation, rule: str) -> tuple[dict[str, Any], str]:
    """The fused recording that was asked, for JSON and in words."""
    from echoing_core import services

    fused = services.fuse_recording(explanation.track, rule)
    # As the answers tell it: averaging makes a fused Gaussian surer than any window.
    percentile = services.fused_window(explanation, fused.used).percentile or 0.0
    told, words = _sigma2(model, float(fused.embedding.uncertainty[0]), percentile)
    words = words and f"{words} (median of these windows)"
    n, n_used = len(explanation.track), int(fused.used.sum())
    facts: dict[str, Any] = {"rule": rule, "n_windows": n, "n_used": n_used}
    return {"fused": facts | told}, f"{n_used} of {n} windows by rule {rule}{words}"


def _cut(ecg: StandardEcg, start_s: float) -> StandardEcg:
    """The one window of a recording, filtered with the whole of it."""
    first = round(start_s * ecg.fs_hz)
    window = slice(first, first + round(WINDOW_S * ecg.fs_hz))
    return replace(ecg, signal_mv=ecg.signal_mv[:, window], valid=ecg.valid[:, window])


def _header(model: Model, explanation: Explanation) -> dict[str, Any]:
    return {
        "disclaimer": DISCLAIMER,
        "recording": explanation.recording_id,
        "simulated": explanation.ecg.simulated,
        "model": model.name,
        "model_hash": model.hash,
        "notes": [*explanation.ecg.notes, *explanation.cautions],
    }


def _title(explanation: Explanation) -> str:
    return explanation.recording_id + (" (simulated)" if explanation.ecg.simulated else "")


def _summary(
    explanation: Explanation,
    surest: Sequence[int],
    least_sure: Sequence[int],
    reports: Mapping[int, WindowReasons],
) -> str:
    """What a person wants first: leads, notes, the surest and least sure windows, and why."""
    from echoing_core import services

    ecg, track = explanation.ecg, explanation.track
    lines = [f"{_title(explanation)}: {ecg.recorded_s:.1f} s, {len(track)} windows"]
    for origin in ("measured", "derived", "missing"):
        if names := ecg.leads_with(origin):
            how = f" ({ecg.derivation})" if origin == "derived" and ecg.derivation else ""
            lines.append(f"leads {origin}: {', '.join(names)}{how}")
    lines += [explanation.compared] if explanation.has_sigma2 else []
    lines.append(explanation.sigma2_means)
    lines += [f"note: {note}" for note in (*ecg.notes, *explanation.cautions)]
    lines += [f"the device says: {line}" for line in services.annotation_lines(ecg)]
    if explanation.has_sigma2:
        lines += _sure_and_unsure(explanation, surest, least_sure, reports)
    lines.append(f"model {explanation.model_name} {explanation.model_hash[:16]}. {DISCLAIMER}")
    return "\n".join(lines)


def _sure_and_unsure(
    explanation: Explanation,
    surest: Sequence[int],
    least_sure: Sequence[int],
    reports: Mapping[int, WindowReasons],
) -> list[str]:
    """The table of windows, why the least sure ones are so, and sigma^2 over the recording."""
    import numpy as np

    ecg, track = explanation.ecg, explanation.track
    rows = [
        (
            which,
            f"{track.start_s[i]:.2f}",
            f"{track.start_s[i] + track.window_s:.2f}",
            f"{track.uncertainty[i]:.4g}",
            f"{track.percentile[i]:.1f}",
        )
        for which, chosen in (("most", surest), ("least", least_sure))
        for i in chosen
    ]
    lines = [table(("sure", "from s", "to s", "sigma^2", "percentile"), rows)]
    lines += [f"from {track.start_s[i]:.2f} s: {reports[i].sentence}" for i in least_sure]
    low, middle, high = np.percentile(track.percentile, [5, 50, 95])
    lines.append(
        f"percentile over the recording: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}"
    )
    if not explanation.lead_set.is_all:
        low, middle, high = np.percentile(
            explanation.read_among(all_leads=True).track.percentile, [5, 50, 95]
        )
        raised = "; missing leads alone raise these" if ecg.leads_with("missing") else ""
        lines.append(
            f"among 12-lead ECGs: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}{raised}"
        )
    return lines
