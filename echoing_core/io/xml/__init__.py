"""XML of ECG devices. A format is known by the name of its root; each has one line in `READERS`."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml import aecg, cardiosoft, eli, muse, philips
from echoing_core.io.xml.tree import is_xml, parse_xml
from echoing_core.records import Recording

__all__ = ["READERS", "is_xml", "read_xml"]

READERS: dict[str, Callable[[ET.Element, str, Told], Recording]] = {
    muse.ROOT: muse.read_muse,
    philips.ROOT: philips.read_philips,
    aecg.ROOT: aecg.read_aecg,
    cardiosoft.ROOT: cardiosoft.read_cardiosoft,
    eli.ROOT: eli.read_eli,
}
"""Tag of the root -> reader of the tree, the file's name and what a person says of it."""

FORMATS_OF_XML = "GE MUSE, GE CardioSoft, Mortara ELI, Philips Sierra and HL7 aECG"
"""For people."""

_WITHOUT_WAVEFORMS = {
    "HealthData": "in an export of Apple Health the ECGs are the tables (CSV) in the folder "
    "electrocardiograms.",
    "ClinicalDocument": "a clinical document describes an ECG; in an export of Apple Health the "
    "ECGs are the tables (CSV) in the folder electrocardiograms.",
    "gpx": "it is a route; an export of Apple Health has ECGs as tables (CSV) in the folder "
    "electrocardiograms.",
    "sapphire": "it is GE Sapphire XML, so export the ECG as GE MUSE XML or DICOM.",
}
"""Tag of a root that people take for an ECG -> what to do instead."""


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
        advice = _WITHOUT_WAVEFORMS.get(root.tag, "")
        raise UnreadableRecordError(
            f"{shown(file.name)} is {kind} that holds no ECG for this program; "
            f"{advice or FORMATS_OF_XML + ' are read.'}"
        )
    return reader(root, file.name, file.told or NOTHING)
