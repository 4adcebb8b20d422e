"""The command line: ``echoing --help``.

Results go to stdout as tables, or as JSON where ``--json -`` asks for it; progress and
warnings go to stderr. What a user can cause ends in one sentence and exit code 2.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from echoing_core.errors import ConfigError, EchoingError

# `services` and what it imports cost most of a second; every command imports it when it runs,
# so that help and completion answer at once.
if TYPE_CHECKING:
    from echoing_core.explanation import Explanation
    from echoing_core.records import Recording
    from echoing_core.services import Model

DISCLAIMER = "Research use only, not a medical device, not for diagnosis."
_REPORT_WIDTH = 90
_EXIT_USER = 2


class _OneSentence(TyperGroup):
    """Ends any `EchoingError` as one sentence on stderr; programming mistakes still surface."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EchoingError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(_EXIT_USER) from None


_PLAIN: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
}
app = typer.Typer(
    name="echoing",
    cls=_OneSentence,
    help=f"ECGs and reports as Gaussians in one space. {DISCLAIMER}",
    **_PLAIN,
)
train_app = typer.Typer(help="Train a model.", **_PLAIN)
index_app = typer.Typer(help="Build an index to search in.", **_PLAIN)
evaluate_app = typer.Typer(help="Measure a model on data it was not trained on.", **_PLAIN)
samples_app = typer.Typer(help="The recordings that ship with the project.", **_PLAIN)
app.add_typer(train_app, name="train")
app.add_typer(index_app, name="index")
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(samples_app, name="samples")

ModelOption = Annotated[
    Path | None,
    typer.Option("--model", help="Model folder; without it, the shipped demo model."),
]
JsonOption = Annotated[
    str | None,
    typer.Option("--json", help="Write JSON to this file; - for stdout, instead of the table."),
]
RecordingArgument = Annotated[
    list[Path],
    typer.Argument(
        help="A header (.hea), a record's name, a folder with one record, or all of its files.",
        show_default=False,
    ),
]
RecordOption = Annotated[
    str | None,
    typer.Option("--record", help="Which record, where a folder holds several."),
]
VcgOption = Annotated[
    str,
    typer.Option(
        "--vcg-method",
        help="How 12 leads are made of X, Y, Z where only those exist: dower, kors_pinv, kors_gls.",
    ),
]
PtbxlOption = Annotated[
    Path | None,
    typer.Option("--ptbxl", help="Folder of PTB-XL with records100/ and ptbxl_database.csv."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0)]


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    patients: Annotated[int, typer.Option("--patients", min=1)] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 7,
) -> None:
    """Write a simulated cohort with known truth, as WFDB and CSV."""
    from echoing_core import services

    with _bar("simulate") as progress:
        n_ecgs = services.simulate_cohort(out, patients, seed, progress=progress)
    typer.echo(f"{n_ecgs} simulated ECGs of {patients} simulated patients in {out}")


@train_app.command("demo")
def train_demo(
    out: Annotated[Path, typer.Option("--out", help="Model folder to write.")],
    ptbxl: PtbxlOption = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1)] = None,
    variance_steps: Annotated[
        int | None,
        typer.Option("--variance-steps", min=1),
    ] = None,
    patients: Annotated[
        int | None,
        typer.Option("--patients", min=1, help="Simulated patients, test patients included."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", min=2)] = None,
    seed: SeedOption = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Write the losses of every step here, as JSON lines."),
    ] = None,
) -> None:
    """Train the demo model on simulated ECGs, and on PTB-XL where a folder of it is given."""
    from echoing_core import services
    from echoing_core.config import CohortConfig, TrainingConfig

    given = {
        "steps": steps,
        "variance_steps": variance_steps,
        "batch_size": batch_size,
        "seed": seed,
    }
    chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    cohort = CohortConfig() if patients is None else CohortConfig(n_patients=patients)
    with _stage_bars() as progress:
        model = services.train_demo(
            out,
            ptbxl=ptbxl,
            config=replace(TrainingConfig(), **chosen),
            cohort=cohort,
            log_path=log,
            progress=progress,
        )
    typer.echo(f"Model {model.name}, hash {model.hash[:16]}, in {out}; read {out / 'card.md'}")


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
    model: ModelOption = None,
) -> None:
    """See where along a recording the model is unsure."""
    _at_most_one_on_stdout(json_out, csv_out)
    _, seen = _explained(recording, record, model, stride, vcg_method)
    if json_out is not None:
        _deliver(seen.json_text(), json_out)
    if csv_out is not None:
        _deliver(seen.csv_text(), csv_out)
    if "-" not in (json_out, csv_out):
        typer.echo(_summary(seen))


@app.command()
def ask(
    recording: RecordingArgument,
    prompt: Annotated[
        list[str] | None,
        typer.Option("--prompt", help="A finding in words; may be repeated."),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", help="YAML file or folder of prompt sets."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option("--at", help="Start of the window in seconds; without it, the surest one."),
    ] = None,
    json_out: JsonOption = None,
    vcg_method: VcgOption = "dower",
    record: RecordOption = None,
    model: ModelOption = None,
) -> None:
    """Ask questions in words about one 10-second window (without any, the shipped ones)."""
    from echoing_core import services

    asked: list[str | services.PromptSet] = []
    if prompts is not None:
        asked += services.prompt_sets(prompts)
    asked += prompt or []
    loaded, seen = _explained(recording, record, model, 1.0, vcg_method)
    start_s = at
    if start_s is None:
        start_s = float(seen.track.start_s[services.most_sure_window(seen.track)])
    answers = services.ask(loaded, seen, asked or None, start_s=start_s)
    if json_out is not None:
        content = _header(loaded, seen) | {
            "window": {"start_s": start_s, "window_s": seen.track.window_s},
            "answers": [asdict(answer) for answer in answers],
        }
        _deliver(_json_text(content), json_out)
    if json_out != "-":
        end_s = start_s + seen.track.window_s
        typer.echo(f"{_title(seen)}, window {start_s:g}-{end_s:g} s")
        rows = [
            (
                answer.question,
                f"{answer.probability:.2f}",
                f"{answer.interval[0]:.2f} to {answer.interval[1]:.2f}",
                f"{answer.p_margin_positive:.2f}",
                answer.verdict,
                ", ".join(answer.unknown_words),
            )
            for answer in answers
        ]
        header = ("question", "probability", "90 % interval", "P(margin>0)", "verdict", "unknown")
        typer.echo(_table(header, rows))
        typer.echo(DISCLAIMER)


@index_app.command("build")
def index_build(
    out: Annotated[
        Path | None,
        typer.Argument(help="Index folder to write; without it, the shipped one.", metavar="OUT"),
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1)] = 1000,
    seed: SeedOption = None,
    model: ModelOption = None,
) -> None:
    """Simulate ECGs and reports that no training saw, embed them and write an index."""
    from echoing_core import services

    folder = out if out is not None else services.indexes_folder() / "demo"
    loaded = services.load_model(model)
    with _bar("simulate the gallery") as progress:
        n_items = services.build_demo_index(
            folder, loaded, n_items=items, seed=seed, progress=progress
        )
    typer.echo(f"{n_items} simulated items in {folder}, for model {loaded.hash[:16]}")


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for.")] = None,
    recording: Annotated[
        Path | None,
        typer.Option("--recording", help="Look for neighbours of this recording instead."),
    ] = None,
    at: Annotated[
        float | None,
        typer.Option("--at", help="Start of its window in seconds; without it, the surest one."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many neighbours.")] = 10,
    order: Annotated[str, typer.Option("--order", help="csd or cosine.")] = "csd",
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            help="ecg or report; without it, a text finds ECGs and an ECG finds reports.",
        ),
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option("--index", help="Index folder; without it, the shipped one."),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="label=value, or label=low..high; may be repeated."),
    ] = None,
    max_percentile: Annotated[
        float,
        typer.Option("--max-percentile", help="Leave out items that are less sure than this."),
    ] = 100.0,
    unique_reports: Annotated[
        bool, typer.Option("--unique-reports", help="Show each report text once.")
    ] = False,
    json_out: JsonOption = None,
    vcg_method: VcgOption = "dower",
    model: ModelOption = None,
) -> None:
    """Find the nearest ECGs or reports to a text or to a window of a recording."""
    from echoing_core import services
    from echoing_core.retrieve.search import ItemFilter

    if (text is None) == (recording is None):
        raise ConfigError("Give either a text or --recording to search with.")
    chosen = ItemFilter(
        labels=dict(_condition(item) for item in where or []), max_percentile=max_percentile
    )
    query = services.read_recording(recording) if recording is not None else text or ""
    loaded = services.load_model(model)
    hits = services.search(
        services.load_index(index, loaded),
        loaded,
        query,
        k,
        order=order,
        target=target or ("ecg" if recording is None else "report"),
        where=chosen,
        start_s=at,
        vcg_method=vcg_method,
        unique_reports=unique_reports,
    )
    unknown = services.unknown_words(loaded, text) if text else ()
    if unknown:
        typer.echo(f"The model never saw these words: {', '.join(unknown)}.", err=True)
    if json_out is not None:
        content = {
            "disclaimer": DISCLAIMER,
            "model": loaded.name,
            "model_hash": loaded.hash,
            "unknown_words": list(unknown),
            "hits": [asdict(hit) for hit in hits],
        }
        _deliver(_json_text(content), json_out)
    if json_out != "-":
        rows = [
            (
                str(hit.rank),
                f"{hit.distance:.4f}",
                f"{hit.percentile:.0f}",
                hit.item_id + (" (simulated)" if hit.simulated else ""),
                _shortened(hit.report),
            )
            for hit in hits
        ]
        typer.echo(_table(("rank", order, "percentile", "item", "report"), rows))
        typer.echo(DISCLAIMER)


@evaluate_app.command("demo")
def evaluate_demo(
    model: ModelOption = None,
    ptbxl: PtbxlOption = None,
    json_out: JsonOption = None,
    markdown_out: Annotated[
        str | None,
        typer.Option("--markdown", help="Write the table to this file; - for stdout."),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=10, help="Bootstrap resamples of the patients.")
    ] = 1000,
    into_card: Annotated[
        bool, typer.Option("--write-card", help="Put the figures into the model's card.")
    ] = False,
) -> None:
    """Zero-shot and retrieval figures with intervals, beside those of random weights."""
    from echoing_core import services
    from echoing_core.evaluate.tables import to_markdown, to_records

    _at_most_one_on_stdout(json_out, markdown_out)
    folder = model if model is not None else services.assets_folder() / "models" / "demo"
    loaded = services.load_model(folder)
    with _bar("simulate the test patients") as progress:
        results = services.evaluate_model(
            loaded,
            ptbxl=ptbxl,
            folder=folder if into_card else None,
            n_resamples=resamples,
            progress=progress,
        )
    table = to_markdown(results)
    if json_out is not None:
        content = {
            "disclaimer": DISCLAIMER,
            "model": loaded.name,
            "model_hash": loaded.hash,
            "results": to_records(results),
        }
        _deliver(_json_text(content), json_out)
    if markdown_out is not None:
        _deliver(table, markdown_out)
    if "-" not in (json_out, markdown_out):
        typer.echo(table, nl=False)


@samples_app.command("build")
def samples_build(
    out: Annotated[
        Path | None,
        typer.Argument(help="Folder to write; without it, the shipped one.", metavar="OUT"),
    ] = None,
) -> None:
    """Make the shipped recordings again (all of them simulated)."""
    from echoing_core import services

    typer.echo("\n".join(services.build_samples(out)))


@app.command("app")
def run_app(port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8501) -> None:
    """Open the app in the browser; without a display, only serve it."""
    root = Path(__file__).resolve().parents[1]
    if not (root / "app.py").is_file():
        raise ConfigError(
            "The app is not part of an installed package. Run this command from a checkout, "
            "installed with: pip install -e ."
        )
    display = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    arguments = [sys.executable, "-m", "streamlit", "run", "app.py"]
    arguments += ["--server.port", str(port), "--server.headless", str(not display).lower()]
    typer.echo(f"EchoingECG at http://127.0.0.1:{port} (stop with Ctrl+C). {DISCLAIMER}")
    sys.stdout.flush()
    # Streamlit looks for .streamlit/config.toml in the folder that it is started from.
    os.chdir(root)
    os.execv(sys.executable, arguments)


def _explained(
    paths: Sequence[Path], record: str | None, model: Path | None, stride_s: float, method: str
) -> tuple[Model, Explanation]:
    from echoing_core import services

    source = paths[0] if len(paths) == 1 else list(paths)
    # Read before loading the model: a wrong path should be told at once.
    recording: Recording = services.read_recording(source, record_name=record)
    loaded = services.load_model(model)
    with _bar("embed") as progress:
        seen = services.explain(loaded, recording, stride_s, vcg_method=method, progress=progress)
    return loaded, seen


def _header(model: Model, seen: Explanation) -> dict[str, Any]:
    return {
        "disclaimer": DISCLAIMER,
        "recording": seen.recording_id,
        "simulated": seen.ecg.simulated,
        "model": model.name,
        "model_hash": model.hash,
    }


def _title(seen: Explanation) -> str:
    return seen.recording_id + (" (simulated)" if seen.ecg.simulated else "")


def _summary(seen: Explanation, n_shown: int = 3) -> str:
    """What a person wants first: leads, notes, and the surest and least sure windows."""
    import numpy as np

    ecg, track = seen.ecg, seen.track
    lines = [f"{_title(seen)}: {ecg.duration_s:.1f} s, {len(track)} windows"]
    for origin in ("measured", "derived", "missing"):
        if names := ecg.leads_with(origin):
            how = f" ({ecg.derivation})" if origin == "derived" and ecg.derivation else ""
            lines.append(f"leads {origin}: {', '.join(names)}{how}")
    lines += [f"note: {note}" for note in ecg.notes]
    ranked = np.argsort(track.uncertainty, kind="stable")
    n_shown = min(n_shown, (len(ranked) + 1) // 2)
    rows = [
        (
            which,
            f"{track.start_s[i]:.2f}",
            f"{track.start_s[i] + track.window_s:.2f}",
            f"{track.uncertainty[i]:.4g}",
            f"{track.percentile[i]:.1f}",
        )
        for which, chosen in (("most", ranked[:n_shown]), ("least", ranked[::-1][:n_shown]))
        for i in chosen
    ]
    lines.append(_table(("sure", "from s", "to s", "sigma^2", "percentile"), rows))
    low, middle, high = np.percentile(track.percentile, [5, 50, 95])
    lines.append(
        f"percentile over the recording: 5 % {low:.0f}, median {middle:.0f}, 95 % {high:.0f}"
    )
    lines.append(f"model {seen.model_name} {seen.model_hash[:16]}. {DISCLAIMER}")
    return "\n".join(lines)


def _condition(text: str) -> tuple[str, str | float | bool | tuple[float, float]]:
    """``af=true``, ``lvef_pct=..40``, ``rhythm=af`` -> label and value of an `ItemFilter`."""
    label, sign, value = (part.strip() for part in text.partition("="))
    if not (label and sign and value):
        raise ConfigError(
            f"{text!r} is not a condition. Write label=value or label=low..high, such as af=true "
            "or lvef_pct=..40."
        )
    if value.lower() in ("true", "yes", "false", "no"):
        return label, value.lower() in ("true", "yes")
    low, dots, high = value.partition("..")
    with contextlib.suppress(ValueError):
        if dots:
            return label, (float(low or "-inf"), float(high or "inf"))
        return label, float(value)
    return label, value


def _at_most_one_on_stdout(*targets: str | None) -> None:
    if targets.count("-") > 1:
        raise ConfigError("Only one output can go to stdout (-). Name a file for the other.")


def _deliver(text: str, target: str) -> None:
    """Write ``text`` to stdout (``-``) or to a file, whole or not at all."""
    from echoing_core.explanation import write_text_atomically

    if target == "-":
        typer.echo(text, nl=False)
        return
    try:
        write_text_atomically(Path(target), text)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}.") from error


def _json_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _REPORT_WIDTH else line[: _REPORT_WIDTH - 3] + "..."


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the last one is left ragged."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


@contextlib.contextmanager
def _bar(stage: str) -> Iterator[Callable[[int, int], None]]:
    with _stage_bars() as progress:
        yield lambda done, total: progress(stage, done, total)


@contextlib.contextmanager
def _stage_bars() -> Iterator[Callable[[str, int, int], None]]:
    """One tqdm bar per stage on stderr, only where stderr is a terminal."""
    from tqdm import tqdm

    bars: dict[str, tqdm[Any]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            # disable=None: no bar where stderr is not a terminal.
            bars[stage] = tqdm(total=total, desc=stage, disable=None, file=sys.stderr)
        bars[stage].update(done - bars[stage].n)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()


def main() -> None:
    """Entry point of the console script ``echoing``."""
    app()


__all__ = ["app", "main"]
