"""The document as one HTML file that needs nothing from anywhere else."""

from __future__ import annotations

import html
from collections.abc import Iterable

from echoing_core.export.document.content import Document
from echoing_core.export.document.elements import (
    Block,
    Facts,
    Heading,
    NewPage,
    Picture,
    Table,
    Text,
    svg_text,
)

# Nothing may be fetched and no script may run, whatever a text in it might hold.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 8mm; max-width: 273mm; color: #1b2430; background: #fff;
  font: 11pt/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 18pt; margin: 0 0 2mm; }
h2 { font-size: 13pt; margin: 7mm 0 2mm; break-after: avoid; }
p { margin: 0 0 2mm; max-width: 210mm; }
.caution { border-left: 1.2mm solid #b45309; background: #fff7ed; padding: 1.5mm 3mm; }
.note, figcaption { color: #4b5563; font-size: 9.5pt; }
figure { margin: 0; break-inside: avoid; }
.drawing { overflow-x: auto; }
.drawing:focus-visible { outline: 2px solid #7e03a8; }
svg { display: block; flex: none; }
svg text { font-family: system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
table { border-collapse: collapse; width: 100%; margin: 0 0 3mm; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: 1mm 3mm 1mm 0;
  border-bottom: 0.2mm solid #dcdfe5; }
.facts th { font-weight: 600; width: 52mm; }
tr { break-inside: avoid; }
footer { margin-top: 8mm; padding-top: 2mm; border-top: 0.3mm solid #1b2430; font-size: 9.5pt; }
@media (max-width: 600px) {
  body { padding: 4mm; }
  .facts th { width: 32mm; }
  th, td { padding-right: 2mm; }
}
@media print {
  /* Across, on whatever paper is in the printer: 267 mm of ECG paper fit A4 and Letter. */
  @page { size: landscape; margin: 6mm 6mm 8mm; }
  body { padding: 0; max-width: 267mm; font-size: 9.5pt; line-height: 1.35; }
  p, td { orphans: 3; widows: 3; }
  th, td { padding-top: 0.4mm; padding-bottom: 0.4mm; }
  h1 { margin-bottom: 1mm; }
  .caution { padding: 0.8mm 3mm; }
  .drawing { overflow: visible; }
  section.sheet { break-before: page; }
  h2 { margin: 3mm 0 1mm; }
  p { margin-bottom: 1mm; }
}
"""


def document_html(document: Document) -> str:
    """Write the document as one page; printed on A4 across, its ECG paper has its true size.

    Parameters
    ----------
    document : Document

    Returns
    -------
    str
        One file without scripts, links and anything to load.
    """
    return page_html(document.title, document.blocks(), document.stamp)


def page_html(title: str, blocks: Iterable[Block], stamp: str) -> str:
    """Write any blocks as one page, as `document_html` does those of a recording.

    Parameters
    ----------
    title : str
        Of the window; what is read stands in the blocks.
    blocks : iterable of Block
    stamp : str
        At the foot.

    Returns
    -------
    str
        One file without scripts, links and anything to load.
    """
    # A section a sheet, so that the printer begins a page where paper does.
    sections: list[list[str]] = [[]]
    for block in blocks:
        if isinstance(block, NewPage):
            sections.append([])
        else:
            sections[-1].append(_element(block))
    first, *others = ("\n".join(parts) for parts in sections)
    body = f"<section>\n{first}\n</section>\n" + "\n".join(
        f'<section class="sheet">\n{part}\n</section>' for part in others
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n"
        f"<footer>{html.escape(stamp)}</footer>\n</body>\n</html>\n"
    )


def _element(block: Block) -> str:
    match block:
        case Heading():
            return f"<h{block.level}>{html.escape(block.text)}</h{block.level}>"
        case Text():
            kind = "" if block.kind == "plain" else f' class="{block.kind}"'
            return f"<p{kind}>{html.escape(block.text)}</p>"
        case Facts():
            rows = "".join(
                f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(value)}</td></tr>'
                for name, value in block.rows
            )
            return f'<table class="facts"><tbody>{rows}</tbody></table>'
        case Table():
            head = "".join(
                f'<th scope="col">{html.escape(cell) or "&nbsp;"}</th>' for cell in block.head
            )
            rows = "".join(
                "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>"
                for row in block.rows
            )
            shares = [100 * w / sum(block.weights) for w in block.weights]
            columns = "".join(f'<col style="width:{share:.1f}%"/>' for share in shares)
            return (
                f"<table><colgroup>{columns}</colgroup><thead><tr>{head}</tr></thead>"
                f"<tbody>{rows}</tbody></table>"
            )
        case Picture():
            # Focusable, so that a wide drawing can be scrolled with the keyboard.
            caption = f"<figcaption>{html.escape(block.caption)}</figcaption>"
            label = html.escape(block.drawing.alt)
            return (
                f'<figure><div class="drawing" tabindex="0" role="group" aria-label="{label}">'
                f"{svg_text(block.drawing)}</div>{caption if block.caption else ''}</figure>"
            )
        case NewPage():
            raise ValueError("a page break is no element")
