"""GE CardioSoft XML (``CardiologyXML``) to `Recording`.

The format is not published; what is read here is what files of UK Biobank (fields 20205 and 6025)
and the readers of several groups agree on. ``StripData`` holds one ``WaveformData`` a lead, whole
numbers with commas between them; ``FullDisclosure`` holds all leads of an exercise test in turn,
sample by sample, in the order of ``LeadOrder``. ``MedianSamples`` are averaged beats and are never
taken.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    SamplingRateError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import Channel, Findings, check_rate, check_size, recording_from
from echoing_core.io.lead_names import canonical_lead_name
from echoing_core.io.sources import shown
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.xml.tree import (
    add_measurements,
    number_in,
    numbers_in,
    text_of,
    with_one_length,
)
from echoing_core.records import Recording

ROOT = "CardiologyXML"

_MAX_LEADS = 32
_MV_PER_UNIT = {"uvperlsb": 1e-3, "mvperlsb": 1.0, "nvperlsb": 1e-6}

_Rows = list[tuple[str, npt.NDArray[np.float64]]]


def read_cardiosoft(root: ET.Element, file_name: str, told: Told = NOTHING) -> Recording:
    """Read the strip of a resting ECG, or all that was recorded of an exercise test.

    Parameters
    ----------
    root : Element
        ``CardiologyXML``.
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
    strip, full = root.find("StripData"), root.find("FullDisclosure")
    has_strip = strip is not None and strip.find("WaveformData") is not None
    has_full = bool(text_of(full, "FullDisclosureData"))
    notes = Findings()
    if has_full and full is not None:
        # An exercise test's strips are pieces of it.
        if has_strip:
            notes.add("The file holds printed strips too; the whole recording is used.")
        part, rows = full, _interleaved(full, name)
    elif has_strip and strip is not None:
        part, rows = strip, _by_lead(strip, name)
    elif root.find(".//MedianSamples") is not None:
        raise UnreadableRecordError(
            f"{name} holds only median beats, not the rhythm; export it with its strip data."
        )
    else:
        raise UnreadableRecordError(
            f"{name} is a CardioSoft report without waveforms; export it with its strip data."
        )
    fs_hz = _sampling_rate(part, told, name)
    mv_per_lsb, stated = _resolution(part, told, name)
    longest = max(row.size for _, row in rows)
    check_size(longest, len(rows), fs_hz, name)
    declared = text_of(part, "ChannelSampleCountTotal")
    if declared and declared != str(longest):
        raise UnreadableRecordError(
            f"Each lead of {name} holds {longest} samples where {shown(declared)} are "
            "declared; export it again."
        )
    channels = []
    for label, row in rows:
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
            mv = (row * mv_per_lsb).astype(np.float32)
        if np.isinf(mv).any():
            raise UnitsError(
                f"Lead {shown(label)} of {name} holds values without end; export it again."
            )
        channels.append(
            Channel(label, canonical_lead_name(label) or shown(label), fs_hz, mv, stated)
        )
    with_one_length(channels, told, name)
    stem = file_name.rsplit(".", 1)[0]
    said = _annotations(root)
    return recording_from(channels, stem, "GE CardioSoft XML", notes, annotations=said)


_MEASURED = {
    "VentricularRate": "heart_rate_bpm",
    "RRInterval": "rr_ms",
    "PDuration": "p_ms",
    "PQInterval": "pr_ms",
    "QRSDuration": "qrs_ms",
    "QTInterval": "qt_ms",
    "QTCInterval": "qtc_ms",
    "PAxis": "p_axis_deg",
    "RAxis": "qrs_axis_deg",
    "TAxis": "t_axis_deg",
}


def _annotations(root: ET.Element) -> Gathered:
    said = Gathered("measurements and interpretation of the CardioSoft file")
    add_measurements(said, root.find("RestingECGMeasurements"), _MEASURED)
    for path in (
        "Interpretation/Diagnosis/DiagnosisText",
        "Interpretation/Conclusion/ConclusionText",
    ):
        for line in root.findall(path):
            said.add_statement("".join(line.itertext()))
    return said


def _by_lead(strip: ET.Element, name: str) -> _Rows:
    waves = strip.findall("WaveformData")
    if len(waves) > _MAX_LEADS:
        raise MissingLeadError(
            f"{name} holds {len(waves)} waveforms in one strip; at most {_MAX_LEADS} can be read."
        )
    rows = []
    for number, wave in enumerate(waves, 1):
        label = wave.get("lead", "").strip() or f"channel {number}"
        text = "".join(wave.itertext())
        rows.append((label, numbers_in(text, f"Lead {shown(label)} of {name}")))
    return rows


def _interleaved(full: ET.Element, name: str) -> _Rows:
    labels = [label.strip() for label in text_of(full, "LeadOrder").split(",") if label.strip()]
    stated = number_in(text_of(full, "NumberOfChannels"))
    if not 0 < len(labels) <= _MAX_LEADS or (stated is not None and stated != len(labels)):
        raise MissingLeadError(
            f"{name} does not say which leads it holds (LeadOrder); export it again."
        )
    values = numbers_in(text_of(full, "FullDisclosureData"), f"The recording in {name}")
    if values.size % len(labels):
        raise UnreadableRecordError(
            f"{name} is cut short: {values.size} samples are no whole number of samples for each "
            f"of {len(labels)} leads; export it again."
        )
    table = values.reshape(-1, len(labels))
    return [(label, table[:, column]) for column, label in enumerate(labels)]


def _sampling_rate(part: ET.Element, told: Told, name: str) -> float:
    fs_hz = number_in(text_of(part, "SampleRate")) or told.fs_hz
    if fs_hz is None:
        raise SamplingRateError(f"{name} gives no sampling rate (SampleRate); export it again.")
    check_rate(fs_hz, name)
    return fs_hz


def _resolution(part: ET.Element, told: Told, name: str) -> tuple[float, str]:
    """Millivolts of one unit, and what the file says of it."""
    if told.mv_per_number is not None:
        return told.mv_per_number, ""
    element = part.find("Resolution")
    units = "" if element is None else element.get("units", "")
    size, factor = number_in(text_of(part, "Resolution")), _MV_PER_UNIT.get(units.lower())
    if size is None or size <= 0 or factor is None:
        raise UnitsError(
            f"{name} does not say how many microvolts one unit is (Resolution); export it again."
        )
    return size * factor, shown(f"{size:g} {units}")
