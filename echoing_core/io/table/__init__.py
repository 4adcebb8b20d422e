"""Tables of samples: CSV, TSV, Parquet and NPY, and what their columns are."""

from __future__ import annotations

from echoing_core.io.table.cells import HEAD_ROWS, SamplesIn, is_binary_table, is_table_text
from echoing_core.io.table.layout import (
    TableColumn,
    TableLayout,
    TablePreview,
    preview_table,
    read_table,
    read_table_as_stated,
    told_by_layout,
)
from echoing_core.io.table.matlab import is_matrix

__all__ = [
    "HEAD_ROWS",
    "SamplesIn",
    "TableColumn",
    "TableLayout",
    "TablePreview",
    "is_binary_table",
    "is_matrix",
    "is_table_text",
    "preview_table",
    "read_table",
    "read_table_as_stated",
    "told_by_layout",
]
