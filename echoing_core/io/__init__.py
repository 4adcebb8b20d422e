"""Files and bytes to `Recording`, and back."""

from __future__ import annotations

from echoing_core.io.echo.avi import write_avi
from echoing_core.io.echo.clips import read_echo_clip, read_echo_study
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.reading import read_recording, table_in
from echoing_core.io.table.layout import TableColumn, TableLayout, TablePreview
from echoing_core.io.wfdb.write import write_wfdb

__all__ = [
    "TableColumn",
    "TableLayout",
    "TablePreview",
    "canonical_lead_name",
    "read_echo_clip",
    "read_echo_study",
    "read_recording",
    "table_in",
    "write_avi",
    "write_wfdb",
]
