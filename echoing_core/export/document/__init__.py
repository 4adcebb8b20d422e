"""A document about one recording: its sections once, written as HTML, PDF or PNG.

Everything is drawn in millimetres of paper, so that ECG paper has its true size when printed.
"""

from echoing_core.export.document.content import (
    AnswerSection,
    Document,
    SearchSection,
    WindowSheet,
)
from echoing_core.export.document.deidentify import clean_name, deidentified
from echoing_core.export.document.experiment import experiment_html
from echoing_core.export.document.page import document_html
from echoing_core.export.document.sheets import document_pdf, document_png

__all__ = [
    "AnswerSection",
    "Document",
    "SearchSection",
    "WindowSheet",
    "clean_name",
    "deidentified",
    "document_html",
    "document_pdf",
    "document_png",
    "experiment_html",
]
