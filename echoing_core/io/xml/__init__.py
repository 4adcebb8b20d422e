"""XML of ECG devices. A format is known by the name of its root; each has one line in `READERS`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.xml import aecg, muse, philips
from echoing_core.io.xml.tree import is_xml, parse_xml
from echoing_core.records import Recording

__all__ = ["READERS", "is_xml", "read_xml"]

READERS: dict[str, Callable[[ET.Element, str], Recording]] = {
    muse.ROOT: muse.read_muse,
    philips.ROOT: philips.read_philips,
    aecg.ROOT: aecg.read_aecg,
}
"""Tag of the root -> reader of the tree; the second argument is the file's name."""


def read_xml(file: SourceFile) -> Recording:
    """Read one XML file of any of the formats.

    Parameters
    ----------
    file : SourceFile

    Raises
    ------
    RecordError
        One of its children: damaged, of no format that is read, or no ECG in it.
    """
    root = parse_xml(file)
    reader = READERS.get(root.tag)
    if reader is None:
        kind = "a web page" if root.tag.lower() == "html" else "XML of a kind"
        raise UnreadableRecordError(
            f"{shown(file.name)} is {kind} that holds no ECG for this program; GE MUSE, Philips "
            "Sierra and HL7 aECG are read."
        )
    return reader(root, file.name)
