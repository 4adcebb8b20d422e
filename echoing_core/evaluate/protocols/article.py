"""The figures that the EchoingECG article prints, as data, and what in them is not certain.

Read from a scan, so a few cells were lost. Each cell is written as the scan has it:

::

    63.2     printed
    -        the article gives none
    ?        printed, but lost in the scan
    ~62.4    taken from elsewhere in the article, or from the position of a number in the scan

All numbers are percent. Tables 2 and 4 are on MIMIC-IV-ECG, table 3 on MUSIC, table 5 on both.
The article gives no intervals, and neither the size of a gallery nor that of table 2's test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What a reader must know of a cell before comparing with it.
PRINTED, NOT_GIVEN, LOST, INFERRED = "printed", "not given", "lost in the scan", "inferred"

PROVENANCE = (
    "EchoingECG (MICCAI 2025), printed without intervals; cells of a scan: ? was lost in it, "
    "~ is inferred"
)


@dataclass(frozen=True)
class Cell:
    """One number of the article.

    Attributes
    ----------
    percent : float or None
    status : str
        `PRINTED`, `NOT_GIVEN`, `LOST` or `INFERRED`.
    """

    percent: float | None
    status: str

    def __str__(self) -> str:
        if self.percent is None:
            return "?" if self.status == LOST else "-"
        return f"{'~' if self.status == INFERRED else ''}{self.percent:.1f}"


@dataclass(frozen=True)
class ArticleTable:
    """One table of the article.

    Attributes
    ----------
    number : int
    title : str
    sources : tuple of str
        ``source`` of the data sets beside whose figures it may stand.
    columns : tuple of str
    rows : mapping of model to (column to Cell)
    note : str
        What is inferred or odd in it.
    """

    number: int
    title: str
    sources: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Cell]]
    note: str


def parse_cell(text: str) -> Cell:
    """Read one cell as this file writes it.

    Parameters
    ----------
    text : str
        A number, or a mark as the head of this file lists them.

    Returns
    -------
    Cell

    Raises
    ------
    ValueError
        It is neither a number of percent nor one of the marks.
    """
    text = text.strip()
    if text == "-":
        return Cell(None, NOT_GIVEN)
    if text == "?":
        return Cell(None, LOST)
    # ~ stands before a number only.
    percent = float(text.removeprefix("~"))
    if not 0.0 <= percent <= 100.0:
        raise ValueError(f"{text} is no percentage")
    return Cell(percent, INFERRED if text.startswith("~") else PRINTED)


def _table(
    number: int, title: str, sources: tuple[str, ...], columns: str, rows: str, note: str
) -> ArticleTable:
    names = tuple(name.strip() for name in columns.split("|"))
    rows_by_model: dict[str, Mapping[str, Cell]] = {}
    for line in rows.strip().splitlines():
        # strict: a row with a cell too few would shift the others into wrong columns.
        model, *cells = line.split("|")
        rows_by_model[model.strip()] = dict(zip(names, map(parse_cell, cells), strict=True))
    return ArticleTable(number, title, sources, names, rows_by_model, note)


# Layout as in the article: three protocols for all ECGs, for the low and the high half of
# uncertainty. Kept as text, so that a row can be set beside the scan by eye.
TABLE_2 = _table(
    2,
    "LVEF < 40 %, balanced accuracy",
    ("mimic-iv",),
    "All ZS | All 10 % | All 100 % | Low ZS | Low 10 % | Low 100 % "
    "| High ZS | High 10 % | High 100 %",
    """
    ECG-CLIP   | 56.3 | 64.5 | 77.1 | -    | 66.2 | 77.4  | -    | 62.8 | 76.8
    MEDBind    | ?    | ?    | ?    | -    | ?    | ~75.7 | -    | ?    | ?
    ECG-FM_M   | -    | 55.0 | 66.8 | -    | 58.4 | 69.1  | -    | 51.6 | 64.5
    ECG-FM_P   | -    | 61.5 | 70.7 | -    | 64.2 | 72.4  | -    | 58.8 | 69.0
    EchoingECG | 63.2 | 69.3 | 78.9 | 68.3 | 74.3 | 84.4  | 58.1 | 64.2 | 73.4
    """,
    "EchoingECG's halves are by the median of sigma^2, those of the others by entropy at 0.5. The "
    "column of MEDBind's 75.7 is inferred from its position.",
)

TABLE_3 = _table(
    3,
    "MUSIC, balanced accuracy",
    ("music",),
    "LVEF<40 ZS | LVEF<40 FT | SLVH ZS | SLVH FT | DLV ZS | DLV FT | SLVH+DLV ZS | SLVH+DLV FT",
    """
    ECG-CLIP (start)    | 64.1 | 58.8 | 58.9 | 59.4 | 60.4 | 58.7 | 61.3  | 84.9
    MEDBind (start)     | 64.2 | 60.2 | 56.3 | 62.0 | 61.1 | 61.5 | 62.6  | 85.5
    ECG-FM_M (start)    | -    | 63.2 | -    | 76.0 | -    | 69.6 | -     | 87.2
    ECG-FM_P (start)    | -    | 64.8 | -    | 60.8 | -    | 62.4 | -     | 74.4
    EchoingECG (start)  | ?    | 66.0 | ?    | ?    | ?    | ?    | ~62.4 | 89.0
    EchoingECG (high)   | 65.0 | 60.0 | 77.4 | 76.8 | 65.6 | 51.2 | 60.6  | 89.0
    EchoingECG (low)    | 68.0 | 65.6 | 79.2 | 77.6 | 70.4 | 63.2 | 66.4  | 91.4
    """,
    "start, high, low: the 10-s window at the recording's start, of highest and of lowest sigma^2. "
    "62.4 is taken from table 5. 125 test recordings: the standard error is 4 points or more.",
)

TABLE_4 = _table(
    4,
    "Text to ECG retrieval",
    ("mimic-iv",),
    "All R@1 | All R@10 | Low R@1 | Low R@10 | High R@1 | High R@10",
    """
    ECG-CLIP   | 50.2 | 93.9 | -    | -    | -    | -
    MEDBind    | 53.6 | 94.5 | -    | -    | -    | -
    EchoingECG | 67.0 | 94.5 | 76.8 | 98.5 | 45.9 | 72.7
    """,
    "The size of the gallery is not given. The halves do not average to the whole, so each must "
    "have been ranked in a gallery of its own.",
)

# Two data sets in one table; `sources` names both, so it stands beside either.
TABLE_5 = _table(
    5,
    "Ablation",
    ("mimic-iv", "music"),
    "LVEF<40 ZS | SLVH+DLV ZS | R@1",
    """
    InfoNCE                | 56.8 | 61.0 | 53.2
    InfoNCE + echo teacher | 61.2 | 62.1 | 52.9
    PCME++                 | 62.0 | 61.7 | 67.9
    PCME++ + echo teacher  | 63.2 | 62.4 | 67.0
    """,
    "LVEF < 40 % on MIMIC, SLVH or DLV on MUSIC (start window), retrieval on MIMIC-IV-ECG.",
)

TABLES: Mapping[int, ArticleTable] = {
    table.number: table for table in (TABLE_2, TABLE_3, TABLE_4, TABLE_5)
}


def beside(number: int, source: str) -> ArticleTable | None:
    """The article's table where a data set of this source may stand beside it; None otherwise.

    Parameters
    ----------
    number : int
        2 to 5, as the article counts its tables.
    source : str
        ``source`` of the data set.

    Returns
    -------
    ArticleTable or None
    """
    table = TABLES[number]
    return table if source in table.sources else None
