"""Mortara (now Hill-Rom, Baxter) ELI XML to `Recording`.

The format is not published; what is read here is what the files and the readers of several groups
agree on: one ``CHANNEL`` a lead with all that belongs to it in attributes, samples as 16-bit
integers, least significant byte first, in Base64. ``TYPICAL_CYCLE`` is an averaged beat and never
taken.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.channels import Channel, Findings, check_rate, check_size, recording_from
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml.muse import base64_integers
from echoing_core.io.xml.tree import number_in, with_one_length
from echoing_core.records import Recording

ROOT = "ECG"

_MAX_LEADS = 32
_ENCODING = {"ENCODING": "BASE64", "BITS": "16", "FORMAT": "SIGNED"}


def read_eli(root: ET.Element, file_name: str, told: Told = NOTHING) -> Recording:
    """Read the channels of one ELI file.

    Parameters
    ----------
    root : Element
        ``ECG``.
    file_name : str
    told : Told, optional
        The unit that was said goes before the file's; the rate stands in where the file has none.

    Returns
    -------
    Recording
        Millivolts.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file_name)
    elements = root.findall("CHANNEL")
    if not elements:
        if root.find("TYPICAL_CYCLE") is not None:
            raise UnreadableRecordError(
                f"{name} holds only an averaged beat, not the rhythm; export it with its channels."
            )
        raise UnreadableRecordError(
            f"{name} is XML without channels of an ECG; export it with its waveforms."
        )
    if len(elements) > _MAX_LEADS:
        raise MissingLeadError(
            f"{name} holds {len(elements)} channels; at most {_MAX_LEADS} can be read."
        )
    channels = [_channel(element, number, told, name) for number, element in enumerate(elements, 1)]
    with_one_length(channels, told, name)
    if len({c.fs_hz for c in channels}) > 1:
        raise SamplingRateError(
            f"The leads of {name} have different sampling rates; export them at one rate."
        )
    check_size(channels[0].signal_mv.size, len(channels), channels[0].fs_hz, name)
    return recording_from(channels, file_name.rsplit(".", 1)[0], "Mortara ELI XML", Findings())


def _channel(element: ET.Element, number: int, told: Told, name: str) -> Channel:
    source = element.get("NAME", "").strip() or f"channel {number}"
    lead = canonical_lead_name(source) or shown(source)
    what = f"Lead {lead} of {name}"
    for attribute, wanted in _ENCODING.items():
        given = element.get(attribute, wanted)
        if given.strip().upper() != wanted:
            raise UnreadableRecordError(
                f"{what} stores its samples with {attribute} {shown(given)}; only {wanted} is "
                "read, so export it as DICOM."
            )
    # Nothing says whether it counts units or milliseconds.
    if number_in(element.get("OFFSET", "0")) != 0:
        raise UnreadableRecordError(
            f"{what} gives an offset whose meaning is not known here; export it as DICOM."
        )
    fs_hz = number_in(element.get("SAMPLE_FREQ", "")) or told.fs_hz
    if fs_hz is None:
        raise SamplingRateError(f"{what} gives no sampling rate (SAMPLE_FREQ); export it again.")
    check_rate(fs_hz, name)
    units_per_mv = number_in(element.get("UNITS_PER_MV", ""))
    if told.mv_per_number is not None:
        units_per_mv = 1.0 / told.mv_per_number
    if units_per_mv is None or not units_per_mv > 1e-6:
        raise UnitsError(f"{what} gives no usable gain (UNITS_PER_MV); export it again.")
    digital = base64_integers(element.get("DATA", ""), what)
    mv = (digital / units_per_mv).astype(np.float32)
    return Channel(source, lead, fs_hz, mv, f"{units_per_mv:g} units per mV")
