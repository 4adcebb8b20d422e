"""The document on sheets across, A4 or Letter, as PDF and as one PNG.

Drawn with matplotlib, which comes with wfdb anyhow: it writes both formats, embeds a font that
has sigma and most alphabets, and starts no browser.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from echoing_core.export.document.content import Document
from echoing_core.export.document.elements import (
    Block,
    Box,
    Dot,
    Drawing,
    Facts,
    Heading,
    Line,
    NewPage,
    Picture,
    Table,
    Text,
    Words,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Sheet = Literal["A4", "Letter"]
SHEETS: dict[Sheet, tuple[float, float]] = {"A4": (297.0, 210.0), "Letter": (279.4, 215.9)}
"""Width and height in millimetres, across."""

_TOP_MM, _BOTTOM_MM = 12.0, 14.0
# As wide as the ECG paper at its true size; it has margins on both kinds of sheet.
_TEXT_MM = 267.0
_LEADING = 1.42
_PT_PER_MM = 72 / 25.4
# Lines of 0.12 mm stay visible, and eight sheets stay a few megabytes.
_PNG_DPI = 110
_INK, _MUTED, _RULE = "#1b2430", "#4b5563", "#dcdfe5"
_SIZES = {"h1": 6.0, "h2": 4.4, "plain": 3.3, "caution": 3.3, "note": 2.9}
_FACT_MM = 52.0
_FACT_WIDTHS = (_FACT_MM, _TEXT_MM - _FACT_MM)
_ROW_MM, _LAST_ROWS = 3.1, 3
# Characters that are drawn of a text and of a word; a report has at most 4,000.
_MOST_TEXT, _MOST_WORD = 6000, 120
# Matplotlib's settings belong to the whole process; two documents at once would take turns.
_ONE_AT_A_TIME = threading.Lock()


def document_pdf(document: Document, sheet: Sheet = "A4") -> bytes:
    """Write the document as PDF: text that can be selected, ECG paper at its true size.

    Parameters
    ----------
    document : Document
    sheet : {"A4", "Letter"}

    Returns
    -------
    bytes
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_pdf import PdfPages

    out = io.BytesIO()
    about = {"Title": document.title, "Creator": "EchoingECG", "Subject": document.stamp}
    with (
        _ONE_AT_A_TIME,
        mpl.rc_context({"pdf.fonttype": 42}),
        PdfPages(out, metadata=about) as pdf,
    ):
        for figure in _figures(document, sheet):
            pdf.savefig(figure)
    return out.getvalue()


def document_png(document: Document, dpi: int = _PNG_DPI) -> bytes:
    """Write all sheets under each other as one picture.

    Parameters
    ----------
    document : Document
    dpi : int
        Pixels to the inch.

    Returns
    -------
    bytes
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.image import imsave

    pictures = []
    with _ONE_AT_A_TIME:
        for figure in _figures(document, "A4"):
            figure.set_dpi(dpi)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            pictures.append(np.asarray(canvas.buffer_rgba())[:, :, :3].copy())
    out = io.BytesIO()
    imsave(out, np.concatenate(pictures), format="png", dpi=dpi)
    return out.getvalue()


@dataclass
class _Font:
    """Widths of characters, and which of them the font does not have."""

    face: Any
    known: frozenset[int]
    widths: dict[str, float] = field(default_factory=dict)

    def shown(self, text: str) -> str:
        """``text`` on one line, with a box for what cannot be drawn; cut where it has no end."""
        printable = (c if c.isprintable() else " " for c in text[:_MOST_TEXT])
        drawn = "".join(c if ord(c) in self.known else "□" for c in printable).split()
        if len(text) > _MOST_TEXT:
            drawn.append("…")
        # A file may call a channel anything, at any length, and a name has no place to break it.
        return " ".join(w if len(w) <= _MOST_WORD else f"{w[: _MOST_WORD - 1]}…" for w in drawn)

    def width(self, text: str, size_mm: float) -> float:
        total = 0.0
        for c in text:
            if c not in self.widths:
                # Measured once a character: a full sheet has some thousand of them.
                glyph = self.face.load_char(ord(c), flags=self.flags)
                self.widths[c] = glyph.linearHoriAdvance / 65536 / 100
            total += self.widths[c]
        return total * size_mm

    @property
    def flags(self) -> Any:
        from matplotlib.ft2font import LoadFlags

        return LoadFlags.NO_HINTING

    def lines(self, text: str, size_mm: float, width_mm: float) -> list[str]:
        """Words set into lines; a word longer than a line is broken."""
        lines = [""]
        for word in self.shown(text).split():
            tried = f"{lines[-1]} {word}".strip()
            if self.width(tried, size_mm) <= width_mm:
                lines[-1] = tried
                continue
            if lines[-1]:
                lines.append("")
            for c in word:
                if lines[-1] and self.width(lines[-1] + c, size_mm) > width_mm:
                    lines.append("")
                lines[-1] += c
        return lines


def _font() -> _Font:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    face = get_font(findfont(FontProperties(family="DejaVu Sans")))
    # 100 points at 72 dpi: widths come out in hundredths of the font's height.
    face.set_size(100, 72)
    return _Font(face, frozenset(face.get_charmap()))


def _figures(document: Document, kind: Sheet) -> list[Figure]:
    sheets = _Sheets(_font(), SHEETS[kind])
    blocks = document.blocks()
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        sheets.add(block, following)
    for number, sheet in enumerate(sheets.all, start=1):
        # On every sheet, since sheets part from each other.
        foot = f"{document.stamp}   {document.title}, {document.made_on}"
        line = sheets.font.lines(foot, 2.7, _TEXT_MM - 25)[0]
        sheet.words(0.0, sheet.height - 6.5, line, 2.7, _MUTED)
        page = f"{number} of {len(sheets.all)}"
        sheet.words(_TEXT_MM, sheet.height - 6.5, page, 2.7, _MUTED, "end")
    return [sheet.figure for sheet in sheets.all]


class _Sheet:
    """One sheet, drawn on in millimetres from its upper edge and from the left end of its lines."""

    def __init__(self, size_mm: tuple[float, float]) -> None:
        from matplotlib.figure import Figure

        width, self.height = size_mm
        left = (width - _TEXT_MM) / 2
        self.figure = Figure(figsize=(width / 25.4, self.height / 25.4), facecolor="white")
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.axes.set_axis_off()
        self.axes.set_xlim(-left, width - left)
        # Downwards, as drawings and reading go.
        self.axes.set_ylim(self.height, 0)

    def words(
        self, x: float, y: float, text: str, size_mm: float, colour: str = _INK,
        anchor: str = "start", bold: bool = False, order: int = 3,
    ) -> None:  # fmt: skip
        # Within a drawing in its turn: on ECG paper the grid would lie over the names of leads.
        self.axes.text(
            x, y, text, fontsize=size_mm * _PT_PER_MM, color=colour, va="baseline",
            ha={"start": "left", "middle": "center", "end": "right"}[anchor],
            fontweight="bold" if bold else "normal", fontfamily="DejaVu Sans",
            # A dollar sign is a dollar sign, not the start of a formula.
            parse_math=False, zorder=order,
        )  # fmt: skip

    def rule(self, y: float, colour: str = _RULE) -> None:
        self.axes.plot([0.0, _TEXT_MM], [y, y], color=colour, lw=0.2 * _PT_PER_MM)

    def box(self, left: float, top: float, width: float, height: float, colour: str) -> None:
        self.draw(Drawing(width, height, (Box(0, 0, width, height, colour),), ""), left, top)

    def draw(self, drawing: Drawing, left: float, top: float) -> None:
        from matplotlib.patches import Circle, Rectangle

        frame = Rectangle((left, top), drawing.width_mm, drawing.height_mm,
                          transform=self.axes.transData)  # fmt: skip
        run: list[Box] = []
        for order, item in enumerate(drawing.items, start=2):
            if isinstance(item, Box) and item.stroke is None:
                # Thousands of cells as one object: each by itself would take seconds.
                run.append(item)
                continue
            self._boxes(run, left, top, order)
            run = []
            match item:
                case Line():
                    (drawn,) = self.axes.plot(
                        left + item.points[:, 0], top + item.points[:, 1], color=item.colour,
                        lw=item.width_mm * _PT_PER_MM, zorder=order, solid_joinstyle="round",
                    )  # fmt: skip
                    # A pacing spike would otherwise be drawn over the text above.
                    drawn.set_clip_path(frame)
                case Box():
                    outline = Rectangle(
                        (left + item.left, top + item.top), item.width, item.height,
                        facecolor=item.fill or "none", edgecolor=item.stroke,
                        linewidth=item.stroke_mm * _PT_PER_MM, zorder=order,
                    )  # fmt: skip
                    self.axes.add_patch(outline)
                case Dot():
                    self.axes.add_patch(
                        Circle(
                            (left + item.x, top + item.y), item.radius, zorder=order,
                            facecolor="white" if item.hollow else item.colour,
                            edgecolor=item.colour, linewidth=0.5 * _PT_PER_MM,
                        )
                    )  # fmt: skip
                case Words():
                    self.words(
                        left + item.x, top + item.y, item.text, item.size_mm, item.colour,
                        item.anchor, item.bold, order,
                    )  # fmt: skip
        self._boxes(run, left, top, len(drawing.items) + 2)

    def _boxes(self, boxes: Sequence[Box], left: float, top: float, order: int) -> None:
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import to_rgba

        if not boxes:
            return
        corners = [
            [
                (left + b.left + x * b.width, top + b.top + y * b.height)
                for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))
            ]
            for b in boxes
        ]
        colours = [to_rgba(b.fill or "none", b.opacity if b.fill else 0.0) for b in boxes]
        self.axes.add_collection(
            PolyCollection(corners, facecolors=colours, linewidths=0, zorder=order - 1),
            autolim=False,
        )


class _Sheets:
    """Sets blocks one under the other and takes a new sheet where one is full."""

    def __init__(self, font: _Font, size_mm: tuple[float, float]) -> None:
        self.font = font
        self.size_mm = size_mm
        self.all = [_Sheet(size_mm)]
        self.y = _TOP_MM

    @property
    def bottom(self) -> float:
        return self.size_mm[1] - _BOTTOM_MM

    def add(self, block: Block, following: Block | None = None) -> None:
        """Set a block; a heading stays with what follows it."""
        match block:
            case NewPage():
                if self.y > _TOP_MM:
                    self._new_sheet()
            case Heading():
                size = _SIZES[f"h{block.level}"]
                # A heading at the foot of a sheet and its picture on the next help nobody.
                self._need(size * _LEADING + 2.5 + self._least_mm(following))
                self.y += 1.5 if self.y > _TOP_MM else 0.0
                self._lines(self.font.lines(block.text, size * 1.12, _TEXT_MM), size, bold=True)
                self.y += 1.0
            case Text():
                self._text(block)
            case Facts():
                # All of them on one sheet, where they fit.
                self._need(self._least_mm(block))
                self._rows(block.rows, _FACT_WIDTHS, bold_first=True)
                self.y += 2.0
            case Table():
                self._table(block)
            case Picture():
                self._picture(block)

    def _least_mm(self, block: Block | None) -> float:
        """Room that a block needs at once, so that a heading and it are not parted."""
        match block:
            case Picture():
                return self._picture_mm(block)
            case Facts():
                rows = sum(self._row_mm(row, _FACT_WIDTHS, bold_first=True) for row in block.rows)
                # What fills a sheet by itself cannot be kept together.
                return min(rows, 0.8 * (self.bottom - _TOP_MM))
        return 20.0

    def _new_sheet(self) -> None:
        self.all.append(_Sheet(self.size_mm))
        self.y = _TOP_MM

    def _need(self, height: float) -> None:
        if self.y + height > self.bottom and self.y > _TOP_MM:
            self._new_sheet()

    def _lines(
        self, lines: Sequence[str], size: float, *, colour: str = _INK, bold: bool = False,
        left: float = 0.0,
    ) -> None:  # fmt: skip
        for line in lines:
            self._need(size * _LEADING)
            self.y += size * _LEADING
            self.all[-1].words(left, self.y - 0.35 * size, line, size, colour, bold=bold)

    def _text(self, block: Text) -> None:
        size = _SIZES[block.kind]
        indent = 4.0 if block.kind == "caution" else 0.0
        lines = self.font.lines(block.text, size, min(_TEXT_MM - indent, 235.0))
        # A paragraph may break, but not after its first line or two.
        self._need(size * _LEADING * min(len(lines), 3))
        top, sheet = self.y, len(self.all)
        colour = _MUTED if block.kind == "note" else _INK
        self._lines(lines, size, colour=colour, left=indent)
        # The bar beside a caution that went on to another sheet would be of the wrong height.
        if indent and sheet == len(self.all):
            self.all[-1].box(0.0, top, 1.2, self.y - top, "#b45309")
        self.y += 1.3

    def _rows(
        self, rows: Sequence[Sequence[str]], widths: Sequence[float], *, bold_first: bool = False
    ) -> None:
        """Rows under each other, of which a new sheet never begins with the last one or two."""
        for i, row in enumerate(rows):
            if len(rows) - i == _LAST_ROWS:
                rest = (self._row_mm(one, widths, bold_first=bold_first) for one in rows[i:])
                self._need(min(sum(rest), 0.5 * (self.bottom - _TOP_MM)))
            self._row(row, widths, bold_first=bold_first)

    def _row_mm(
        self, cells: Sequence[str], widths: Sequence[float], *, bold_first: bool = False
    ) -> float:
        lines, _ = self._set(cells, widths, bold_first=bold_first)
        return _ROW_MM * _LEADING * max(len(cell) for cell in lines) + 1.4

    def _set(
        self, cells: Sequence[str], widths: Sequence[float], *, bold_first: bool = False,
        bold: bool = False,
    ) -> tuple[list[list[str]], list[bool]]:  # fmt: skip
        """The lines of each cell, and which cells are bold."""
        bolds = [bold or (bold_first and i == 0) for i in range(len(cells))]
        lines = [
            # Bold letters are about an eighth wider than the plain ones that are measured.
            self.font.lines(cell, _ROW_MM * (1.13 if heavy else 1.0), width - 3.0)
            for cell, width, heavy in zip(cells, widths, bolds, strict=True)
        ]
        return lines, bolds

    def _row(
        self, cells: Sequence[str], widths: Sequence[float], *, bold_first: bool = False,
        bold: bool = False,
    ) -> None:  # fmt: skip
        size = _ROW_MM
        set_cells, bolds = self._set(cells, widths, bold_first=bold_first, bold=bold)
        for piece in _pieces(set_cells, int((self.bottom - _TOP_MM) / (size * _LEADING)) - 4):
            height = size * _LEADING * max(len(lines) for lines in piece)
            self._need(height + 1.4)
            left = 0.0
            for lines, width, heavy in zip(piece, widths, bolds, strict=True):
                for i, line in enumerate(lines):
                    y = self.y + size * _LEADING * (i + 1) - 0.35 * size
                    self.all[-1].words(left, y, line, size, bold=heavy)
                left += width
            self.y += height + 0.7
            self.all[-1].rule(self.y)
            self.y += 0.7

    def _table(self, block: Table) -> None:
        total = sum(block.weights)
        widths = [_TEXT_MM * w / total for w in block.weights]
        # The head and a row or two.
        self._need(24.0)
        self._row(block.head, widths, bold=True)
        self._rows(block.rows, widths)
        self.y += 2.0

    def _picture_mm(self, block: Picture) -> float:
        lines = self._caption(block)
        return block.drawing.height_mm + 2.0 + _SIZES["note"] * _LEADING * len(lines)

    def _caption(self, block: Picture) -> list[str]:
        return self.font.lines(block.caption, _SIZES["note"], 250.0) if block.caption else []

    def _picture(self, block: Picture) -> None:
        self._need(self._picture_mm(block))
        shown = Drawing(
            block.drawing.width_mm, block.drawing.height_mm,
            tuple(self._known(item) for item in block.drawing.items), block.drawing.alt,
        )  # fmt: skip
        self.all[-1].draw(shown, 0.0, self.y)
        self.y += block.drawing.height_mm + 1.0
        self._lines(self._caption(block), _SIZES["note"], colour=_MUTED)
        self.y += 1.5

    def _known(self, item: Line | Box | Dot | Words) -> Line | Box | Dot | Words:
        if isinstance(item, Words):
            return Words(item.x, item.y, self.font.shown(item.text), item.size_mm, item.colour,
                         item.anchor, item.bold)  # fmt: skip
        return item


def _pieces(cells: list[list[str]], n_lines: int) -> Iterator[list[list[str]]]:
    """A row in parts of at most ``n_lines``, so that a long text may go over several sheets."""
    for start in range(0, max(len(lines) for lines in cells), n_lines):
        yield [lines[start : start + n_lines] for lines in cells]
