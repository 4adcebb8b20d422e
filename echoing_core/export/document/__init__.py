"""A report to take away: its text and drawings once, written as HTML, PDF or PNG.

Everything is drawn in millimetres of paper, so that ECG paper has its true size when printed.
"""

from echoing_core.export.document.blocks import Block, Facts, Heading, NewPage, Picture, Table, Text
from echoing_core.export.document.content import (
    CALIBRATION_NOTE,
    MAX_NAME,
    Asked,
    Found,
    Report,
    Sheet,
    clean_name,
    deidentified,
)
from echoing_core.export.document.drawing import Drawing
from echoing_core.export.document.page import report_html
from echoing_core.export.document.sheets import report_pdf, report_png

__all__ = [
    "CALIBRATION_NOTE",
    "MAX_NAME",
    "Asked",
    "Block",
    "Drawing",
    "Facts",
    "Found",
    "Heading",
    "NewPage",
    "Picture",
    "Report",
    "Sheet",
    "Table",
    "Text",
    "clean_name",
    "deidentified",
    "report_html",
    "report_pdf",
    "report_png",
]
