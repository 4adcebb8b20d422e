"""WFDB records: a header, the data files that it names, and segments; written, too."""

from __future__ import annotations

from echoing_core.io.wfdb.record import read_wfdb
from echoing_core.io.wfdb.stretch import Extent, read_stretch, record_extent
from echoing_core.io.wfdb.write import write_wfdb

__all__ = ["Extent", "read_stretch", "read_wfdb", "record_extent", "write_wfdb"]
