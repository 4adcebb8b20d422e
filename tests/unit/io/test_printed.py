"""Leads of 2.5 s that follow one another on a printed page keep their times."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.errors import ConfigError, UnreadableRecordError
from echoing_core.io import Told, read_recording
from echoing_core.records import LEADS, Recording
from echoing_core.signals import standardise
from echoing_core.signals.standard import filled_to_window
from tests import device_files as device
from tests import ecg_files as made

FS_HZ = 200
N = 500
"""Samples of a column of 2.5 s."""
SIGNAL = made.ecg(10.0, FS_HZ)
MV = SIGNAL * 5e-3
COLUMN = {lead: i // 3 for i, lead in enumerate(LEADS)}
"""On a page of 3 x 4."""


def page_mv(strip: str | None = None) -> npt.NDArray[np.float64]:
    """What the page shows: of each lead its quarter of ten seconds."""
    page = np.full(MV.shape, np.nan)
    for i, lead in enumerate(LEADS):
        part = slice(None) if lead == strip else slice(N * COLUMN[lead], N * COLUMN[lead] + N)
        page[i, part] = MV[i, part]
    return page


def quarters(strip: str | None = None) -> list[made.Ints]:
    return [
        row if lead == strip else row[N * COLUMN[lead] :][:N]
        for lead, row in zip(LEADS, SIGNAL, strict=True)
    ]


def muse(unit: str, strip: str | None = None) -> bytes:
    """MUSE with all twelve leads, each with its own start: none, in samples or in milliseconds."""
    per_column = {"": 0, "samples": N, "ms": 2500}[unit]
    leads = ""
    for lead, row in zip(LEADS, quarters(strip), strict=True):
        begins = 0 if lead == strip else per_column * COLUMN[lead]
        leads += (
            f"<LeadData><LeadTimeOffset>{begins}</LeadTimeOffset><LeadSampleCountTotal>{row.size}"
            "</LeadSampleCountTotal><LeadAmplitudeUnitsPerBit>5</LeadAmplitudeUnitsPerBit>"
            f"<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits><LeadID>{lead}</LeadID>"
            f"<WaveFormData>{base64.b64encode(row.astype('<i2').tobytes()).decode()}"
            "</WaveFormData></LeadData>"
        )
    return (
        "<RestingECG><Waveform><WaveformType>Rhythm</WaveformType><SampleBase>200</SampleBase>"
        f"{leads}</Waveform></RestingECG>"
    ).encode()


def check(recording: Recording, strip: str | None = None) -> None:
    rows = [recording.lead_names.index(lead) for lead in LEADS]
    np.testing.assert_allclose(recording.signal_mv[rows], page_mv(strip), atol=1e-6)
    # The model is told what was not recorded, and no lead is called missing.
    ecg = standardise(filled_to_window(recording))
    assert ecg.leads_with("measured") == LEADS
    assert 0.2 < ecg.valid[LEADS.index("V6")].mean() < 0.3


@pytest.mark.parametrize("unit", ["samples", "ms"])
@pytest.mark.parametrize("strip", [None, "II"])
def test_muse_says_when_each_lead_begins(unit: str, strip: str | None) -> None:
    recording = read_recording({"a.xml": muse(unit, strip)})
    check(recording, strip)
    assert any("follow one another in time" in note for note in recording.notes)


@pytest.mark.parametrize("strip", [None, "II"])
def test_muse_that_does_not_say_it_is_placed_as_a_person_says(strip: str | None) -> None:
    files = {"a.xml": muse("", strip)}
    if strip:
        with pytest.raises(UnreadableRecordError, match="3x4 or 6x2"):
            read_recording(files)
    else:
        # Twelve leads of 2.5 s may as well be simultaneous: nothing is placed in silence.
        assert read_recording(files).n_times == N
    said = read_recording(files, told=Told(printed="3x4"))
    check(said, strip)
    assert any("as on a page of 3x4" in note for note in said.notes)


def test_offsets_that_fit_no_unit_are_refused() -> None:
    data = re.sub(rb"Offset>500<", b"Offset>444<", muse("samples"))
    with pytest.raises(UnreadableRecordError, match="begin later than others"):
        read_recording({"a.xml": data})


def test_cardiosoft_eli_and_tables_are_placed_as_a_person_says() -> None:
    said = Told(printed="3x4")
    cardiosoft = device.cardiosoft(SIGNAL, FS_HZ)
    eli = device.eli(SIGNAL, FS_HZ)
    for lead, row in zip(LEADS, quarters("II"), strict=True):
        values = ",".join(map(str, row.tolist())).encode()
        cardiosoft = re.sub(
            rb'(<StripData>.*?lead="%s">)[^<]*' % lead.encode(), rb"\g<1>" + values,
            cardiosoft, flags=re.DOTALL,
        )  # fmt: skip
        data = base64.b64encode(row.astype("<i2").tobytes())
        ends = rb'" NAME="%s" />\n' % lead.encode()
        eli = re.sub(rb'(<CHANNEL[^>]* DATA=")[^"]*' + ends, rb"\g<1>" + data + ends, eli)
    for name, content in (("a.xml", cardiosoft), ("b.xml", eli)):
        with pytest.raises(UnreadableRecordError, match="different lengths"):
            read_recording({name: content})
        check(read_recording({name: content}, told=said), "II")
    text = io.StringIO()
    columns = [(row * 5e-3).tolist() for row in quarters("II")]
    text.write(",".join(f"{lead} (mV)" for lead in LEADS) + "\n")
    for i in range(4 * N):
        text.write(",".join(f"{c[i]:.6f}" if i < len(c) else "" for c in columns) + "\n")
    table = {"c.csv": text.getvalue().encode()}
    check(read_recording(table, told=Told(printed="3x4", fs_hz=200.0)), "II")


def test_two_columns_of_five_seconds() -> None:
    rows = np.vstack([MV[:6, : 2 * N], MV[6:, 2 * N :]])
    buffer = io.BytesIO()
    np.save(buffer, rows.T.astype(np.float32))
    told = Told(
        {f"column {i + 1}": lead for i, lead in enumerate(LEADS)},
        fs_hz=200.0, unit="mV", printed="6x2",
    )  # fmt: skip
    said = read_recording({"a.npy": buffer.getvalue()}, told=told)
    np.testing.assert_allclose(said.signal_mv[0, : 2 * N], MV[0, : 2 * N], atol=1e-5)
    np.testing.assert_allclose(said.signal_mv[6, 2 * N :], MV[6, 2 * N :], atol=1e-5)
    assert np.isnan(said.signal_mv[0, 2 * N :]).all() and np.isnan(said.signal_mv[6, : 2 * N]).all()


def test_pages_that_do_not_exist_or_fit() -> None:
    with pytest.raises(ConfigError, match="3x4, 6x2"):
        Told(printed="4x3")
    with pytest.raises(ConfigError, match="Leads of 10 s"):
        read_recording(made.wfdb(SIGNAL, FS_HZ), told=Told(printed="3x4"))


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "a.xml").write_bytes(muse("", "II"))
    arguments = ["convert", str(folder / "a.xml"), str(folder / "b.edf")]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2 and "3x4" in refused.output
    done = CliRunner().invoke(app, [*arguments, "--printed", "3x4"])
    assert done.exit_code == 0
    check(read_recording(folder / "b.edf"), "II")
