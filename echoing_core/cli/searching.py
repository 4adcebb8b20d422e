"""The command that searches a collection, for a text or from a recording."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from echoing_core.cli.output import deliver, json_text, table
from echoing_core.cli.recordings import check_leads, finite
from echoing_core.cli.root import ClusterOption, JsonOption, ModelOption, VcgOption, app
from echoing_core.cli.telling import FsOption, LeadOption, UnitOption, told
from echoing_core.errors import ConfigError
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.records import Recording

_REPORT_WIDTH = 70
_REASON_WIDTH = 70


@app.command()
def search(
    text: Annotated[
        str | None,
        typer.Argument(
            help="What to look for: findings, each there or absent (“lbbb without af”), in English,"
            " German, French, Spanish. In quotation marks, as it stands."
        ),
    ] = None,
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
        str | None,
        typer.Option(
            "--index",
            help="Index folder, its name (echoing indexes), or its place in an object store; "
            "without, the shipped one.",
        ),
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
    fast: Annotated[
        bool,
        typer.Option(
            "--fast",
            help="With --recording: by the fast search, where the index has one. It misses up to "
            "one in a hundred.",
        ),
    ] = False,
    cluster: ClusterOption = None,
    json_out: JsonOption = None,
    vcg_method: VcgOption = "dower",
    lead: LeadOption = None,
    fs: FsOption = None,
    unit: UnitOption = None,
    model: ModelOption = None,
) -> None:
    """Find ECGs or reports for a text, or nearest to a window of a recording."""
    from echoing_core import services
    from echoing_core.retrieve.search import ItemFilter

    if (text is None) == (recording is None):
        raise ConfigError("Give either a text or --recording to search with.")
    if fast and recording is None:
        raise ConfigError("--fast is for --recording: a search in words looks at every report.")
    chosen = ItemFilter(
        labels=dict(_condition(item) for item in where or []), max_percentile=max_percentile
    )
    # A wrong path is told before a model is loaded.
    place = None if index is None else services.index_place(index)
    services.check_given(index=place)
    query: str | Recording = text or ""
    if recording is not None:
        query = services.read_recording(
            services.recording_source([recording]), told=told(lead, fs, unit)
        )
        check_leads(query)
    loaded = services.load_model(model)
    found = services.search_collection(
        services.open_collection(place, loaded, cluster=cluster),
        loaded,
        query,
        k,
        order=order,
        target=target or ("ecg" if recording is None else "report"),
        where=chosen,
        start_s=finite(at),
        vcg_method=vcg_method,
        unique_reports=unique_reports,
        exact=not fast,
    )
    if not isinstance(query, str):
        for caution in services.cautions(loaded, query, vcg_method=vcg_method):
            typer.echo(caution, err=True)
    # A text that was read is asked in words of this program; only one that stands can hold others.
    unknown = services.unknown_words(loaded, text) if text and found.as_it_stands else ()
    if unknown:
        typer.echo(f"{services.unknown_words_mean(loaded)}: {', '.join(unknown)}.", err=True)
    reasons = found.reasons or tuple(found.distance_words(hit.distance) for hit in found.hits)
    if json_out is not None:
        content = {
            "disclaimer": DISCLAIMER,
            "model": loaded.name,
            "model_hash": loaded.hash,
            "unknown_words": list(unknown),
            "read_as": found.note,
            # None where the model's folder has no reference distances, or none of these findings.
            "close": found.close,
            "nothing_close": found.far,
            "n_passing": found.n_passing,
            "hits": [
                {**asdict(hit), "why": why} for hit, why in zip(found.hits, reasons, strict=True)
            ],
        }
        deliver(json_text(content), json_out)
    if json_out != "-":
        for line in (found.note, found.far):
            if line:
                typer.echo(line)
        rows = [
            (
                str(hit.rank),
                f"{hit.distance:.4f}",
                f"{hit.percentile:.0f}",
                hit.item_id + (" (simulated)" if hit.simulated else ""),
                _shortened(hit.report, _REPORT_WIDTH),
                _shortened(why, _REASON_WIDTH),
            )
            for hit, why in zip(found.hits, reasons, strict=True)
        ]
        # Ranks follow how items fit then, not this distance.
        measure = f"{order} to words" if found.by_fit else order
        if rows:
            typer.echo(table(("rank", measure, "percentile", "item", "report", "why"), rows))
        else:
            typer.echo("No item passes the filters. Allow more.")
        typer.echo(DISCLAIMER)


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


def _shortened(text: str, width: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."
