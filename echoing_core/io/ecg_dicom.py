"""ECG waveforms in DICOM to `Recording`: 12-lead, general and ambulatory (Holter) objects.

An object may hold several multiplex groups: the rhythm, once more as a median beat, or one group
for each part of a recording. What is called derived, median or average is never read; groups of
one sampling rate are laid side by side by their time offsets.

No value of the object but sizes, rates and codes ever stands in a message.

References
----------
DICOM PS3.3 C.10.9 (Waveform), A.34 (ECG objects); PS3.16 CID 3001 (ECG leads).
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import (
    MissingLeadError,
    RecordError,
    UnitsError,
    UnreadableRecordError,
)
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import (
    Channel,
    Findings,
    check_rate,
    check_size,
    check_span,
    check_unpacked,
    mv_per_unit,
    recording_from,
)
from echoing_core.io.decoders import (
    DEFLATED,
    check_items,
    damage_as,
    import_decoder,
    transfer_syntax,
)
from echoing_core.io.dicom_annotations import dicom_annotations
from echoing_core.io.lead_names import canonical_lead_name, may_be_ecg, says_ecg
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import NOTHING, Told, channel_leads
from echoing_core.records import LEADS, Recording

# A day of 12 leads at 500 Hz in 16 bits.
MAX_FILE_BYTES = 1024**3
MAX_GROUPS = 10_000
MAX_CHANNELS = 64

_ECG_KINDS = {
    "1.2.840.10008.5.1.4.1.1.9.1.1": "12-lead ECG",
    "1.2.840.10008.5.1.4.1.1.9.1.2": "general ECG",
    "1.2.840.10008.5.1.4.1.1.9.1.3": "ambulatory ECG",
    "1.2.840.10008.5.1.4.1.1.9.1.4": "general 32-bit ECG",
}
# Objects of other classes hold ECG leads, too, as a catheter laboratory's beside its pressures.
_OTHER_KINDS = {
    "1.2.840.10008.5.1.4.1.1.9.2.1": "hemodynamic waveform",
    "1.2.840.10008.5.1.4.1.1.9.3.1": "electrophysiology waveform",
    "1.2.840.10008.5.1.4.1.1.9.5.1": "arterial pulse waveform",
    "1.2.840.10008.5.1.4.1.1.9.6.1": "respiratory waveform",
    "1.2.840.10008.5.1.4.1.1.9.7.4": "sleep study",
}
# Classes of the standard, and those among them that are waveforms; makers have their own besides.
_OF_DICOM, _WAVEFORMS = "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1.9."
_BIG_ENDIAN = "1.2.840.10008.1.2.2"

_LEAD_NUMBERS = dict(zip((1, 2, 61, 62, 63, 64, *range(3, 9)), LEADS, strict=True))
"""Numbers of the leads in SCP-ECG and, as ``2:1``, in MDC (ISO/IEEE 11073-10102)."""

MIN_PADDING_S = 1.0
"""A run of a padding value that is an ordinary sample, too, is a gap from this length on."""

# What may stand first in an object without the 128 bytes and the mark: group 2 or 8, explicit VR.
_BARE = re.compile(rb"[\x02\x08]\0[\0-\x70]\0(?:UL|OB|UI|SH|CS|DA|TM|DT|LO|PN|ST|IS)", re.DOTALL)
_LEAD_CODE = re.compile(r"(?:5\.6\.3-9-|2:)(\d{1,3})", re.ASCII)
_NO_RHYTHM = re.compile(r"median|average|template|represent|beat", re.IGNORECASE)

_DTYPES = {
    (8, "SB"): "i1", (8, "UB"): "u1", (16, "SS"): "i2", (16, "US"): "u2",
    (32, "SL"): "i4", (32, "UL"): "u4",
}  # fmt: skip


def is_dicom(head: bytes) -> bool:
    """Whether a file is a DICOM file: by its mark after 128 bytes, or by its first elements.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    if head[128:132] == b"DICM" or head[:4] == b"DICM" or _BARE.match(head):
        return True
    # Implicit VR has no letters: a short even length, and after it another element of group 8.
    if len(head) < 16 or head[:2] != b"\x08\0" or head[3] != 0:
        return False
    n_bytes = int.from_bytes(head[4:8], "little")
    return n_bytes % 2 == 0 and n_bytes < 256 and head[8 + n_bytes : 10 + n_bytes] == b"\x08\0"


@dataclass(eq=False)
class _Group:
    """One multiplex group that may be rhythm: where it starts, and its channels in mV."""

    item: Any
    fs_hz: float
    start_s: float
    n_times: int
    n_channels: int


def read_dicom_ecg(file: SourceFile) -> Recording:
    """Read one ECG object.

    Parameters
    ----------
    file : SourceFile

    Returns
    -------
    Recording
        Millivolts; NaN for padding, and where a group does not reach.

    Raises
    ------
    RecordError
        One of its children.
    """
    name = shown(file.name)
    if file.size > MAX_FILE_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_FILE_BYTES // 1024**3} GB, the most that is read."
        )
    dataset = _dataset(file, name)
    notes = Findings()
    with _damage_as_sentence(name):
        kind = str(dataset.get("SOPClassUID", ""))
        of_dicom = kind.startswith(_OF_DICOM) and not kind.startswith(_WAVEFORMS)
        if of_dicom or ("WaveformSequence" not in dataset and kind not in _ECG_KINDS):
            raise UnreadableRecordError(
                f"{name} is a DICOM object of another kind than an ECG; choose the ECG waveform, "
                "not a picture, report or folder index."
            )
        items = list(dataset.get("WaveformSequence") or [])
        if len(items) > MAX_GROUPS:
            raise UnreadableRecordError(
                f"{name} holds {len(items)} waveform groups; at most {MAX_GROUPS} can be read."
            )
        groups = _rhythm_groups(items, name, notes)
        channels = _channels(groups, file.told or NOTHING, name, notes)
        every = file.told is not None and file.told.every
        if kind not in (*_ECG_KINDS, *_OTHER_KINDS) and not (
            every or any(may_be_ecg(c.name) for c in channels)
        ):
            held = ", ".join(shown(c.source_name) for c in channels[:8])
            raise MissingLeadError(
                f"{name} is a DICOM waveform of another kind than an ECG, and none of its channels "
                f"is called like a lead ({held}); say which is which, or choose the ECG waveform."
            )
    stem = file.name.rsplit(".", 1)[0]
    form = f"DICOM {_ECG_KINDS.get(kind) or _OTHER_KINDS.get(kind, 'waveform')}"
    if kind not in _ECG_KINDS:
        notes.add("The object is of another class than an ECG; the leads in it are read.")
    return recording_from(channels, stem, form, notes, annotations=_annotations(dataset, name))


def _annotations(dataset: Any, name: str) -> Gathered:
    """What the object says of itself; nothing where that is damaged, since the ECG is not."""
    try:
        with _damage_as_sentence(name):
            return dicom_annotations(dataset)
    except RecordError:
        return Gathered()


def _dataset(file: SourceFile, name: str) -> Any:
    pydicom = import_decoder("pydicom", "pydicom")
    from pydicom.errors import InvalidDicomError

    content = file.content()
    if content[:4] == b"DICM":  # the mark without the 128 bytes before it
        content = bytes(128) + bytes(content[:])
    # pydicom reads a memory map as it reads a file.
    stream: Any = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with _damage_as_sentence(name):
            syntax = transfer_syntax(stream, force=True)
            if syntax == _BIG_ENDIAN:
                raise UnreadableRecordError(
                    f"{name} uses a byte order that DICOM has given up; export it again."
                )
            if syntax == DEFLATED:
                raise UnreadableRecordError(
                    f"{name} is deflated as a whole, which is not read here; export it without "
                    "that compression."
                )
            check_items(content, name)
            # The whole header is parsed only now that its syntax is known to be safe.
            stream.seek(0)
            return pydicom.dcmread(stream, stop_before_pixels=True, force=True)
    except InvalidDicomError as exc:
        raise UnreadableRecordError(f"{name} is not a DICOM file; export the ECG again.") from exc


def _rhythm_groups(items: Sequence[Any], name: str, notes: Findings) -> list[_Group]:
    """The groups of the rhythm, all of one sampling rate."""
    if not items:
        raise UnreadableRecordError(f"{name} holds no waveform; choose the ECG itself.")
    groups = []
    for item in items:
        label = str(item.get("MultiplexGroupLabel", ""))
        # An object may hold the median beat beside the rhythm, and a model would take it for one.
        derived = str(item.get("WaveformOriginality", "ORIGINAL")).upper() == "DERIVED"
        if derived or _NO_RHYTHM.search(label):
            notes.add("The object holds a median or derived waveform too; the rhythm is used.")
            continue
        fs_hz = float(item.get("SamplingFrequency") or 0.0)
        check_rate(fs_hz, name)
        # Given in ms.
        start_s = float(item.get("MultiplexGroupTimeOffset") or 0.0) / 1000.0
        n_times = int(item.get("NumberOfWaveformSamples") or 0)
        n_channels = int(item.get("NumberOfWaveformChannels") or 0)
        if n_times < 1 or not 1 <= n_channels <= MAX_CHANNELS or not math.isfinite(start_s):
            raise UnreadableRecordError(
                f"{name} declares {n_channels} channels of {n_times} samples; export it again."
            )
        groups.append(_Group(item, fs_hz, start_s, n_times, n_channels))
    if not groups:
        raise UnreadableRecordError(
            f"{name} holds only median or derived beats, not the rhythm; export the rhythm."
        )
    # The rate of the group that holds most seconds of leads is the recording's.
    largest = max(groups, key=lambda g: g.n_channels * g.n_times / g.fs_hz)
    rhythm = [g for g in groups if g.fs_hz == largest.fs_hz]
    if len(rhythm) < len(groups):
        notes.add("Waveform groups of another sampling rate are left out.")
    # Offsets count from the acquisition's start, which may lie before the first sample.
    origin_s = min(g.start_s for g in rhythm)
    for group in rhythm:
        group.start_s -= origin_s
    return rhythm


def _channels(groups: Sequence[_Group], told: Told, name: str, notes: Findings) -> list[Channel]:
    fs_hz = groups[0].fs_hz
    # First sample of each group on the common clock.
    places = [round(g.start_s * fs_hz) for g in groups]
    n_times = max(p + g.n_times for p, g in zip(places, groups, strict=True))
    check_span(n_times / fs_hz, name)
    # Small groups in many places would ask for memory that the file never held.
    n_channels = max(g.n_channels for g in groups)
    check_size(n_times, n_channels, fs_hz, name)
    recorded = sum(g.n_channels * g.n_times for g in groups)
    check_unpacked(4 * n_times * n_channels, 4 * recorded, name, gaps=True)
    by_name: dict[str, Channel] = {}
    for place, group in zip(places, groups, strict=True):
        raw = _samples(group, name)
        definitions = list(group.item.get("ChannelDefinitionSequence") or [])
        if len(definitions) != group.n_channels:
            raise UnreadableRecordError(
                f"{name} describes {len(definitions)} of {group.n_channels} channels; export it "
                "again."
            )
        padded = _padded(raw, _padding(group.item, raw.dtype), fs_hz)
        leads_seen: set[str] = set()
        named = _leads(definitions, told, notes)
        refused: list[tuple[str, bool, RecordError]] = []
        for column, (definition, (source, lead, is_lead)) in enumerate(
            zip(definitions, named, strict=True)
        ):
            if source is None:
                continue
            if lead in leads_seen:
                notes.add(
                    "Two channels of one group hold the same lead, the first is used: {}.", lead
                )
                continue
            leads_seen.add(lead)
            gaps = padded[:, column]
            try:
                signal_mv, stated = _to_mv(raw[:, column], definition, lead, gaps, told, name)
            except UnitsError as error:
                refused.append((lead, is_lead, error))
                continue
            channel = by_name.get(lead)
            if channel is None:
                check_size(n_times, len(by_name) + 1, fs_hz, name)
                row = np.full(n_times, np.nan, dtype=np.float32)
                channel = by_name[lead] = Channel(source, lead, fs_hz, row, stated)
            # A view: writing to it fills the channel; what stands there already is kept.
            free = channel.signal_mv[place : place + group.n_times]
            if not np.isnan(free).all():
                notes.add("Recorded twice for the same time, and the first is used: {}.", lead)
            free[:] = np.where(np.isnan(free), signal_mv, free)
        has_lead = any(canonical_lead_name(lead) for lead in by_name)
        for lead, is_lead, why in refused:
            # One damaged channel, or a pressure, does not spoil the leads.
            if not has_lead and (is_lead or not by_name):
                raise why
            notes.add(f"{lead.replace('{', '(').replace('}', ')')} is left out. {why}")
    return list(by_name.values())


def _samples(group: _Group, name: str) -> npt.NDArray[np.integer]:
    """Raw samples of a group, shape (n_times, n_channels)."""
    item = group.item
    kind = (
        int(item.get("WaveformBitsAllocated") or 0),
        str(item.get("WaveformSampleInterpretation")),
    )
    if kind not in _DTYPES:
        raise UnreadableRecordError(
            f"{name} stores its samples with {kind[0]} bits in a way that is not read here; "
            "export it with 16-bit integers."
        )
    dtype = np.dtype("<" + _DTYPES[kind])
    data = item.get("WaveformData")
    data = b"" if data is None else bytes(data)
    # Before anything is reshaped: a header may declare more than the file holds.
    wanted = group.n_times * group.n_channels * dtype.itemsize
    if len(data) < wanted:
        raise UnreadableRecordError(
            f"{name} is cut short: {len(data):,} of {wanted:,} bytes of waveform are there; copy "
            "or export it again."
        )
    # Channels are interleaved sample by sample (PS3.3 C.10.9.1.4).
    values = np.frombuffer(data, dtype=dtype, count=group.n_times * group.n_channels)
    return values.reshape(group.n_times, group.n_channels)


def _padding(item: Any, dtype: np.dtype[Any]) -> int | None:
    """The value that means "not measured", if the group names one."""
    value = item.get("WaveformPaddingValue")
    if isinstance(value, bytes) and len(value) >= dtype.itemsize:
        return int(np.frombuffer(value[: dtype.itemsize], dtype=dtype)[0])
    return int(value) if isinstance(value, int) else None


def _padded(
    raw: npt.NDArray[np.integer], padding: int | None, fs_hz: float
) -> npt.NDArray[np.bool_]:
    """Where samples are padding and no measurement, shape (n_times, n_channels).

    Some writers name 0 as the padding value, which is an ordinary sample as well. A value that
    lies within what a channel measured counts only in a long run, at an end of the channel or in
    all of them.
    """
    if padding is None:
        return np.zeros(raw.shape, dtype=np.bool_)
    hit: npt.NDArray[np.bool_] = np.asarray(raw == padding)
    if not hit.any():
        return hit
    long = max(1, round(MIN_PADDING_S * fs_hz))
    in_all = _runs_of(np.asarray(hit.all(axis=1)), long)
    for column in range(raw.shape[1]):
        others = raw[~hit[:, column], column]
        if others.size == 0 or not int(others.min()) < padding < int(others.max()):
            continue
        away = np.flatnonzero(~hit[:, column])
        first, last = int(away[0]), int(away[-1]) + 1
        kept = in_all.copy()
        kept[:first] |= first >= long
        kept[last:] |= raw.shape[0] - last >= long
        hit[:, column] &= kept
    return hit


def _runs_of(mask: npt.NDArray[np.bool_], at_least: int) -> npt.NDArray[np.bool_]:
    """The runs of True of a length from ``at_least`` on."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    kept = np.zeros_like(mask)
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        kept[start:stop] = stop - start >= at_least
    return kept


def _leads(
    definitions: Sequence[Any], told: Told, notes: Findings
) -> list[tuple[str | None, str, bool]]:
    """Of each channel its name in the object (None: not to be read), that used here, and whether
    it may be an ECG lead."""
    spelled = [_lead(definition, column) for column, definition in enumerate(definitions)]
    found: list[tuple[str | None, str, bool]] = []
    leads = channel_leads([source for source, _ in spelled], told)
    said = {lead.removeprefix("-") for lead in map(told.lead_of, told.leads) if lead}
    for (source, coded), lead in zip(spelled, leads, strict=True):
        if lead is None or (coded in said and not told.lead_of(source)):
            found.append((None, shown(source), False))
            continue
        if lead.note:
            notes.add(lead.note)
        # A code says the lead, whatever the other channels are.
        name = lead.lead if told.lead_of(source) else coded or lead.lead
        found.append((source, name or shown(source), name is not None or says_ecg(source)))
    return found


def _lead(definition: Any, column: int) -> tuple[str, str | None]:
    """Name of a channel as the object spells it, and the lead that its code says."""
    sources = list(definition.get("ChannelSourceSequence") or [])
    meaning = str(sources[0].get("CodeMeaning", "")) if sources else ""
    source = meaning or str(definition.get("ChannelLabel", "")) or f"channel {column + 1}"
    code = str(sources[0].get("CodeValue", "")) if sources else ""
    if match := _LEAD_CODE.fullmatch(code):
        return source, _LEAD_NUMBERS.get(int(match[1]))
    # "Lead I (Einthoven)" and the like
    return source, canonical_lead_name(source.split("(")[0]) if "(" in source else None


def _to_mv(
    raw: npt.NDArray[np.integer],
    definition: Any,
    lead: str,
    gaps: npt.NDArray[np.bool_],
    told: Told,
    name: str,
) -> tuple[npt.NDArray[np.float32], str]:
    """One channel in mV, and what the object says of it."""
    sensitivity = definition.get("ChannelSensitivity")
    units_items = list(definition.get("ChannelSensitivityUnitsSequence") or [])
    units = str(units_items[0].get("CodeValue", "")) if units_items else ""
    factor = told.mv_per_number or (mv_per_unit(units) if units else None)
    if told.unit and sensitivity is None:
        sensitivity = 1.0
    if sensitivity is None or factor is None:
        given = f"in {shown(units)}" if units else "without a unit"
        raise UnitsError(
            f"Lead {lead} of {name} is {given} or has no sensitivity, so its size in mV is not "
            "known; say the unit of its numbers, or export it again."
        )
    # Sensitivity is nominal; the factor corrects it, and the baseline is in the sensitivity's
    # unit.
    correction = float(definition.get("ChannelSensitivityCorrectionFactor") or 1.0)
    gain = float(sensitivity) * correction
    baseline = float(definition.get("ChannelBaseline") or 0.0)
    if gain == 0 or not math.isfinite(gain) or not math.isfinite(baseline):
        raise UnitsError(f"Lead {lead} of {name} has no usable sensitivity; export it again.")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        mv = ((raw.astype(np.float64) * gain + baseline) * factor).astype(np.float32)
    mv[gaps] = np.nan
    if np.isinf(mv).any():
        raise UnitsError(f"Lead {lead} of {name} has no usable sensitivity; export it again.")
    stated = f"{gain:g} {units} per unit, baseline {baseline:g} {units}"
    low, high = definition.get("FilterLowFrequency"), definition.get("FilterHighFrequency")
    if low is not None and high is not None:
        stated += f", filters {float(low):g} to {float(high):g} Hz"
    notch = definition.get("NotchFilterFrequency")
    if notch:
        stated += f", notch {float(notch):g} Hz"
    return mv, shown(stated)


@contextmanager
def _damage_as_sentence(name: str) -> Iterator[None]:
    """Damage, and too large a recording, as one sentence."""
    try:
        with damage_as(f"{name} is damaged or cut short; export or copy it again.", OSError):
            yield
    except MemoryError:
        raise UnreadableRecordError(
            f"{name} needs more memory than there is; export a shorter part."
        ) from None
