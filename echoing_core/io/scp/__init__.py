"""SCP-ECG (ISO 11073-91064) to `Recording`: one module a step from bytes to millivolts."""

from __future__ import annotations

from echoing_core.io.scp.rhythm import read_scp
from echoing_core.io.scp.sections import is_scp

__all__ = ["is_scp", "read_scp"]
