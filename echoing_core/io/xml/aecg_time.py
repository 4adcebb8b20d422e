"""Times and quantities of HL7 version 3: time stamps, and numbers with a unit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import datetime

from echoing_core.io.xml.tree import number_in

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
"""In one of each unit."""

# Date and time without separators, a fraction, a zone.
_STAMP = re.compile(r"(\d{14})(\.\d{1,9})?(?:[+-]\d{4})?", re.ASCII)


def quantity(element: ET.Element | None) -> float | None:
    """The number in an element's ``value``; None where there is none."""
    return None if element is None else number_in(element.get("value", ""))


def seconds_of(element: ET.Element | None) -> float | None:
    """A moment in seconds: since 1970 of a time stamp, and else as the number says.

    Parameters
    ----------
    element : Element or None
        With ``value`` and perhaps ``unit``.

    Returns
    -------
    float or None
        None for what is no time.

    Raises
    ------
    ValueError
        A time stamp of a day or hour that does not exist.
    """
    if element is None:
        return None
    stamp = _STAMP.fullmatch(element.get("value", ""))
    if stamp is not None and not element.get("unit"):
        moment = datetime.strptime(stamp[1], "%Y%m%d%H%M%S")
        # Only differences count, so the zone may be passed over.
        return (moment - datetime(1970, 1, 1)).total_seconds() + float(stamp[2] or 0.0)
    number, unit = quantity(element), element.get("unit", "s")
    return None if number is None or unit not in SECONDS else number * SECONDS[unit]
