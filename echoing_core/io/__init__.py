"""Files and bytes to `Recording`, and back."""

from __future__ import annotations

from echoing_core.io.echo import read_echo_clip, read_echo_study
from echoing_core.io.echo_avi import write_avi
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.reading import read_recording, table_in
from echoing_core.io.table import TableColumn, TableLayout, TablePreview
from echoing_core.io.wfdb_write import write_wfdb

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
