"""Files and bytes to `Recording`, and back; echocardiography clips to `EchoClip`."""

from __future__ import annotations

from echoing_core.io.echo import read_echo_clip, read_echo_study, write_avi
from echoing_core.io.grouping import RecordFiles, group_records
from echoing_core.io.kinds import FORMATS
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.reading import read_recording, table_in
from echoing_core.io.table import SamplesIn, TableColumn, TableLayout, TablePreview
from echoing_core.io.wfdb import Extent, read_stretch, record_extent, write_wfdb

__all__ = [
    "FORMATS",
    "Extent",
    "RecordFiles",
    "SamplesIn",
    "TableColumn",
    "TableLayout",
    "TablePreview",
    "canonical_lead_name",
    "group_records",
    "read_echo_clip",
    "read_echo_study",
    "read_recording",
    "read_stretch",
    "record_extent",
    "table_in",
    "write_avi",
    "write_wfdb",
]
