"""Bytes of strangers are parsed in processes of their own, within limits, or not at all.

A reader may be held up, blown up or brought down by a file that was made for it. So a server gives
every upload to a worker process that is used again for the next one, may compute, grow and answer
only so much, and can write to no file. One that does not keep to it is ended and replaced, and the
person is told in a sentence; nobody else notices.
"""

from __future__ import annotations

from echoing_core.gate.limits import Limits, limits_for, no_core_file
from echoing_core.gate.pool import IN_PROCESS, Gate, direct

__all__ = ["IN_PROCESS", "Gate", "Limits", "direct", "limits_for", "no_core_file"]
