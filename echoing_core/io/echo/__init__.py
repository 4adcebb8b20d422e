"""Echocardiography clips: AVI videos and DICOM ultrasound."""

from __future__ import annotations

from echoing_core.io.echo.avi import write_avi
from echoing_core.io.echo.clips import read_echo_clip, read_echo_study

__all__ = ["read_echo_clip", "read_echo_study", "write_avi"]
