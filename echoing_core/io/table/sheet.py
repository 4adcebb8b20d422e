"""A spreadsheet (XLSX) as the text of a table, so that it is read like one.

An XLSX is a zip of XML. It is unpacked within the limits of `io.zipped`, and of its XML only rows,
cells and texts are looked at; no formula is computed, the values that were saved count.

References
----------
ECMA-376, part 1, clause 18 (SpreadsheetML).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.parsers import expat

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.numbers import NUMBER
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.zipped import unzip

_MARK = b"PK\x03\x04"
# Excel, LibreOffice and libraries begin with one of these.
_FIRST_NAMES = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/")

MAX_CELLS = 20_000_000
MAX_COLUMNS = 256
_MAX_TEXT = 256
"""Characters of a cell that are kept; one text may stand in many cells."""
_SHEET = re.compile(r"sheet\d*\.xml", re.IGNORECASE)
_PLACE = re.compile(r"([A-Z]{1,3})\d{1,7}")


class _UnwantedError(Exception):
    """Raised within the parser; its text becomes the end of a sentence."""


def is_sheet(head: bytes) -> bool:
    """Whether a zip archive begins as Office documents do.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    return head.startswith(_MARK) and head[30:].startswith(_FIRST_NAMES)


def sheet_as_text(file: SourceFile) -> SourceFile:
    """The one sheet with numbers of a spreadsheet, its cells with tabs between them.

    Parameters
    ----------
    file : SourceFile
        One that `is_sheet`.

    Raises
    ------
    UnreadableRecordError
        Damaged, beyond the limits, no spreadsheet, or none or several sheets with numbers.
    """
    name = shown(file.name)
    parts = unzip(file)
    sheets = [(part, data) for part, data in parts if _SHEET.fullmatch(part)]
    if not sheets:
        raise UnreadableRecordError(
            f"{name} is an Office document without a table; save the table as XLSX or CSV."
        )
    shared = next((data for part, data in parts if part.lower() == "sharedstrings.xml"), b"")
    try:
        texts = _shared_texts(shared) if shared else []
        tables = [_lines(data, texts) for _, data in sheets]
    except _UnwantedError as exc:
        raise UnreadableRecordError(
            f"{name} {exc}, which a table has no use for; save it as CSV."
        ) from None
    except (expat.ExpatError, LookupError, ValueError) as exc:
        raise UnreadableRecordError(
            f"{name} is a damaged spreadsheet; save the table again, or as CSV."
        ) from exc
    filled = [lines for lines, n_numbers in tables if n_numbers]
    if len(filled) != 1:
        how_many = "no sheet" if not filled else f"{len(filled)} sheets"
        raise UnreadableRecordError(
            f"{name} has {how_many} with numbers; keep the one sheet with the ECG."
        )
    text = "\n".join(filled[0]) + "\n"
    data = text.encode()
    return SourceFile(file.name, len(data), data=data)


def _parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
) -> None:
    def tag(name: str) -> str:
        return name.rsplit(" ", 1)[-1].rsplit(":", 1)[-1]

    def unwanted(*_: object) -> None:
        raise _UnwantedError("declares rules or entities of its own")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, values: start(tag(name), values)
    parser.EndElementHandler = lambda name: end(tag(name))
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = unwanted
    parser.EntityDeclHandler = unwanted
    parser.SkippedEntityHandler = unwanted
    parser.Parse(data, True)


def _shared_texts(data: bytes) -> list[str]:
    texts: list[str] = []
    piece: list[str] = []
    inside = False

    def start(tag: str, _: dict[str, str]) -> None:
        nonlocal inside
        if tag == "si":
            piece.clear()
        inside = tag == "t"

    def end(tag: str) -> None:
        nonlocal inside
        inside = False
        if tag == "si":
            texts.append("".join(piece))

    def text(part: str) -> None:
        if inside:
            piece.append(part)

    _parse(data, start, end, text)
    return texts


def _lines(data: bytes, texts: list[str]) -> tuple[list[str], int]:
    """Rows of a sheet as lines, and how many of their cells are numbers."""
    lines: list[str] = []
    row: dict[int, str] = {}
    value: list[str] = []
    kind, column, inside = "n", -1, False
    n_cells = n_numbers = 0

    def count(n: int) -> None:
        nonlocal n_cells
        n_cells += n
        if n_cells > MAX_CELLS:
            raise _UnwantedError(f"has more than {MAX_CELLS:,} cells")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal kind, column, inside
        if tag == "row":
            row.clear()
            column = -1
        elif tag == "c":
            count(1)
            kind = attributes.get("t", "n")
            place = _PLACE.fullmatch(attributes.get("r", ""))
            column = _column(place[1]) if place is not None else column + 1
            if column >= MAX_COLUMNS:
                raise _UnwantedError(f"has more than {MAX_COLUMNS} columns")
            value.clear()
        inside = tag in ("v", "t")

    def end(tag: str) -> None:
        nonlocal inside, n_numbers
        inside = False
        if tag == "c":
            cell = "".join(value)
            if kind == "s":
                cell = texts[int(cell)]
            cell = cell[:_MAX_TEXT]
            # Of other kinds a number is one that Excel would not calculate with.
            n_numbers += bool(kind == "n" and NUMBER.fullmatch(cell))
            row[column] = " ".join(cell.split())
        elif tag == "row" and row:
            width = max(row) + 1
            count(width - len(row))
            lines.append("\t".join(row.get(i, "") for i in range(width)))

    def text(part: str) -> None:
        if inside:
            value.append(part)

    _parse(data, start, end, text)
    return lines, n_numbers


def _column(letters: str) -> int:
    """A is 0, Z 25, AA 26."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number - 1
