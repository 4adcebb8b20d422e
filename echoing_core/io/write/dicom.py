"""`Outgoing` to a DICOM waveform object: 12-lead, general or ambulatory ECG by what it holds.

References
----------
DICOM PS3.3 A.34.3 to A.34.5 (limits of the objects), C.10.9 (Waveform), C.10.10 (annotations);
PS3.16 CID 3001 (leads).
"""

from __future__ import annotations

import io

from echoing_core.errors import ConfigError
from echoing_core.io.annotations import measurement_line, statement_line
from echoing_core.io.decoders import import_decoder
from echoing_core.io.write.outgoing import NOT_MEASURED, Outgoing
from echoing_core.records import LEADS
from echoing_core.version import __version__

_MDC = dict(zip(LEADS, (1, 2, 61, 62, 63, 64, *range(3, 9)), strict=True)) | {
    "X": 16, "Y": 17, "Z": 18,
}  # fmt: skip
_TWELVE_LEAD = "1.2.840.10008.5.1.4.1.1.9.1.1"
_GENERAL = "1.2.840.10008.5.1.4.1.1.9.1.2"
_AMBULATORY = "1.2.840.10008.5.1.4.1.1.9.1.3"
_EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"

# No date is known after names and dates were left out, and the object must have one.
_NO_DATE = "19000101"
_MAX_GENERAL_S = 3600.0
_MAX_REMARK = 1024


def dicom_bytes(out: Outgoing) -> bytes:
    """One ECG object without anybody's name.

    Parameters
    ----------
    out : Outgoing

    Raises
    ------
    ConfigError
        No ECG object may hold so many leads, or this sampling rate.
    """
    import_decoder("pydicom", "pydicom")
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import UID, generate_uid

    kind = _object_for(out)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE)
    meta.MediaStorageSOPClassUID = UID(kind)
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
    )
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "", "", "", ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Names, dates and free texts are not carried over"
    ds.StudyID, ds.StudyDate, ds.StudyTime, ds.AccessionNumber = "", "", "", ""
    ds.ReferringPhysicianName, ds.Modality = "", "ECG"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = _NO_DATE, "000000", _NO_DATE + "000000"
    ds.Manufacturer, ds.ManufacturerModelName = "EchoingECG", "converter"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "", __version__
    ds.AcquisitionContextSequence = []
    ds.WaveformSequence = [_group(out, Dataset)]
    ds.WaveformAnnotationSequence = []
    said = out.annotations
    lines = [measurement_line(name, value) for name, value in said.measurements.items()]
    lines += [statement_line(statement) for statement in said.statements]
    for remark in (*out.remarks, *lines):
        note = Dataset()
        note.UnformattedTextValue = remark[:_MAX_REMARK]
        # Of the first group, and of all its channels.
        note.ReferencedWaveformChannels = [1, 0]
        ds.WaveformAnnotationSequence.append(note)
    ds.SpecificCharacterSet = "ISO_IR 192"
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _object_for(out: Outgoing) -> str:
    n_leads, fs_hz, n_times = len(out.lead_names), out.fs_hz, out.n_times
    if n_leads <= 13 and 200 <= fs_hz <= 1000 and n_times <= 16384:
        return _TWELVE_LEAD
    if n_leads <= 24 and 200 <= fs_hz <= 1000 and n_times <= _MAX_GENERAL_S * fs_hz:
        return _GENERAL
    if n_leads <= 12 and 50 <= fs_hz <= 1000:
        return _AMBULATORY
    raise ConfigError(
        f"No DICOM object holds {n_leads} leads at {fs_hz:g} Hz for {n_times / fs_hz:,.0f} s: an "
        "ECG has up to 24 leads at 200 to 1000 Hz, a long one up to 12 at 50 to 1000 Hz. Choose "
        "EDF or WFDB."
    )


def _group(out: Outgoing, dataset: type) -> object:
    item = dataset()
    item.MultiplexGroupTimeOffset = 0
    item.WaveformOriginality, item.MultiplexGroupLabel = "ORIGINAL", "RHYTHM"
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = out.digital.shape
    item.SamplingFrequency = f"{out.fs_hz:.10g}"
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
    item.ChannelDefinitionSequence = [_channel(out, lead, dataset) for lead in out.lead_names]
    item.WaveformPaddingValue = NOT_MEASURED.to_bytes(2, "little", signed=True)
    item["WaveformPaddingValue"].VR = "OW"
    item.WaveformData = out.digital.T.astype("<i2").tobytes()
    item["WaveformData"].VR = "OW"
    return item


def _channel(out: Outgoing, lead: str, dataset: type) -> object:
    channel, source, unit = dataset(), dataset(), dataset()
    channel.ChannelLabel = lead
    number = _MDC.get(lead, 0)
    source.CodeValue, source.CodingSchemeDesignator = f"2:{number}", "MDC"
    source.CodeMeaning = f"Lead {lead}" if number else lead
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
    channel.ChannelSourceSequence = [source]
    channel.ChannelSensitivity = f"{out.unit_uv:g}"
    channel.ChannelSensitivityUnitsSequence = [unit]
    channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
    channel.ChannelSampleSkew, channel.WaveformBitsStored = "0", 16
    return channel
