"""Files and bytes to `Recording`, and back; echocardiography clips to `EchoClip`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echoing_core.lazy import lazily

if TYPE_CHECKING:
    from echoing_core.io.echo import read_echo_clip, read_echo_study, write_avi
    from echoing_core.io.grouping import RecordFiles, group_records
    from echoing_core.io.kinds import FORMATS
    from echoing_core.io.lead_names import canonical_lead_name, guessed_leads
    from echoing_core.io.reading import channels_in, read_recording, records_in, table_in
    from echoing_core.io.table import (
        SamplesIn,
        TableColumn,
        TableLayout,
        TablePreview,
        told_by_layout,
    )
    from echoing_core.io.told import Told, as_told
    from echoing_core.io.wfdb import Extent, read_stretch, record_extent, write_wfdb
else:
    __getattr__ = lazily(__name__, __file__)

__all__ = [
    "FORMATS",
    "Extent",
    "RecordFiles",
    "SamplesIn",
    "TableColumn",
    "TableLayout",
    "TablePreview",
    "Told",
    "as_told",
    "canonical_lead_name",
    "channels_in",
    "group_records",
    "guessed_leads",
    "read_echo_clip",
    "read_echo_study",
    "read_recording",
    "read_stretch",
    "record_extent",
    "records_in",
    "table_in",
    "told_by_layout",
    "write_avi",
    "write_wfdb",
]
