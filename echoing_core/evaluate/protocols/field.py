"""The figures that the field publishes, and a column beside them for one's own.

They stand in ``field.yaml``, all in percent. A cell is written as in `article`: ``63.2`` printed,
``-`` not given there, ``~88.7`` read at second hand where the place of the number is not certain.
What a model of one's own gets is measured by `model_comparison` and stands in the last columns; it
is comparable with a published figure only as far as data, split and probe are, which the notes say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from echoing_core.documents import parse_yaml
from echoing_core.evaluate.protocols.article import parse_cell
from echoing_core.evaluate.protocols.settings import ZERO_SHOT
from echoing_core.metrics.bootstrap import Estimate
from echoing_core.metrics.results import Table, with_interval

FieldFigures = dict[str, dict[str, dict[str, Estimate]]]
"""Macro AUROC of one's own models: by preset, protocol and model."""

COMMAND = "echoing compare-models MODEL --data PREPARED --field field.md"

YOURS = "yours"


@dataclass(frozen=True)
class Published:
    """One table of the field.

    Attributes
    ----------
    name : str
    title : str
    rows : tuple of (str, str, str)
        What a row is called, and the preset and protocol that measure the same; both empty where
        nothing here does.
    cells : mapping of model to tuple of str
        As many as there are rows, as they are printed; three numbers of one cell have slashes
        between them.
    sources : mapping of model to str
    notes : tuple of str
    """

    name: str
    title: str
    rows: tuple[tuple[str, str, str], ...]
    cells: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, str]
    notes: tuple[str, ...]


@cache
def published_tables() -> tuple[Published, ...]:
    """The tables of ``field.yaml``.

    Returns
    -------
    tuple of Published
    """
    # On first use: whoever imports this to compare models may never ask for the field.
    text = resources.files("echoing_core.evaluate.protocols").joinpath("field.yaml")
    tables = []
    for table in parse_yaml(text.read_bytes())["tables"]:
        # A row that nothing here measures has a name alone.
        rows = tuple((*row, "", "")[:3] for row in table["rows"])
        cells: dict[str, tuple[str, ...]] = {}
        sources: dict[str, str] = {}
        for line in table["published"].strip().splitlines():
            model, source, *numbers = (part.strip() for part in line.split("|"))
            # A line with a cell too few would shift the others into wrong rows.
            if len(numbers) != len(rows):
                raise ValueError(f"{model} has {len(numbers)} cells for {len(rows)} rows")
            for number in numbers:
                for part in number.split("/"):
                    # Refuses what is no percentage; what is shown stays as it is printed.
                    parse_cell(part)
            cells[model], sources[model] = tuple(numbers), source
        tables.append(
            Published(table["name"], table["title"], rows, cells, sources, tuple(table["notes"]))
        )
    return tuple(tables)


def field_presets() -> tuple[str, ...]:
    """Presets that fill a column of one's own, as far as the prepared data have their labels."""
    presets = (preset for table in published_tables() for _, preset, _ in table.rows)
    return tuple(dict.fromkeys(preset for preset in presets if preset))


def published_table(published: Published, measured: FieldFigures | None = None) -> Table:
    """A table of the field with a column for each model of one's own, or an empty one.

    Parameters
    ----------
    published : Published
    measured : FieldFigures, optional
        Without it, one empty column.

    Returns
    -------
    Table
        Rows are data sets, columns models.
    """
    own = list(
        dict.fromkeys(
            name
            for by_protocol in (measured or {}).values()
            for by_model in by_protocol.values()
            for name in by_model
        )
    )
    lines = []
    for i, (row, preset, protocol) in enumerate(published.rows):
        theirs = [cells[i] for cells in published.cells.values()]
        lines.append([row, *theirs, *(_own(measured, preset, protocol, name) for name in own)])
        if not own:
            # Left for whoever fills it; only this document has cells without a word.
            lines[-1].append("")
    by_source: dict[str, list[str]] = {}
    for model, source in published.sources.items():
        by_source.setdefault(source, []).append(model)
    sources = "; ".join(f"{source}: {', '.join(models)}" for source, models in by_source.items())
    note = " ".join((*published.notes, f"Sources: {sources}."))
    return Table(published.title, ["", *published.cells, *(own or [YOURS])], lines, note=note)


def _own(measured: FieldFigures | None, preset: str, protocol: str, name: str) -> str:
    if not preset:
        return "not measured here"
    of_preset = (measured or {}).get(preset)
    if of_preset is None:
        return "not in these data"
    estimate = of_preset.get(protocol, {}).get(name)
    if estimate is None:
        return "no text encoder" if protocol == ZERO_SHOT else "not measured"
    return with_interval(estimate, percent=True)


HEAD = f"""# The field's table

What the field has published, and a column for a model of your own. One command measures it and
writes this page with the column filled:

    {COMMAND}

`PREPARED` is what `echoing prepare` made of [PTB-XL](datasets.md), CPSC2018 or CSN; a row whose
data it is not says so. The folder's own splits are used: for figures to claim, prepare the
published ones and look at the test split once. Every model on the command line gets a column, and
so do random weights of each architecture. All numbers are percent; `~` marks one whose place is
uncertain in the source, `-` one that is not given.

The tables of the EchoingECG article itself (ECG-CLIP, MEDBind and ECG-FM beside it, on MIMIC-IV-ECG
and MUSIC) stand beside your figures when you run their presets:

    echoing evaluate --preset mimic-table2 --data MIMIC
    echoing evaluate --preset music-table3 --data MUSIC
    echoing evaluate --preset mimic-table4 --data MIMIC
"""


def field_document(
    measured: FieldFigures | None = None, *, measured_on: str = "", remarks: Sequence[str] = ()
) -> str:
    """The page of the field's tables as Markdown.

    Parameters
    ----------
    measured : FieldFigures, optional
        Without it, the page as it ships, with an empty column.
    measured_on : str
        Data that one's own columns were measured on.
    remarks : sequence of str
        Sentences that must stand beside one's own figures.

    Returns
    -------
    str
    """
    parts = [HEAD]
    if measured_on:
        parts.append(
            " ".join((f"Own columns: {measured_on}, with 95 % intervals.", *remarks)) + "\n"
        )
    for published in published_tables():
        table = published_table(published, measured)
        parts.append(f"## {table.title}\n\n{table.to_markdown()}")
    return "\n".join(parts)
