"""Every format through the app: opened, told what a table is, and what the model saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ecg_files as made
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.io import read_recording
from echoing_core.records import LEADS
from echoing_core.signals import standardise
from tests.unit.io.test_printed import SIGNAL as PAGE
from tests.unit.io.test_printed import N, muse

OpenApp = Callable[[], AppTest]
SIGNAL = made.ecg()
MV = SIGNAL * (made.UV / 1000)


def upload(app: AppTest, files: Mapping[str, bytes]) -> AppTest:
    chosen = [(name, data, "application/octet-stream") for name, data in files.items()]
    return app.file_uploader[0].set_value(chosen).run()


def press(app: AppTest, key: str) -> AppTest:
    return next(b for b in app.button if b.key == key).click().run()


def markup(app: AppTest) -> str:
    return "\n".join(h.proto.body for h in app.get("html"))


@pytest.mark.parametrize("name", ["EDF", "DICOM", "MUSE", "WFDB zip"])
def test_a_file_is_opened_and_what_the_model_saw_is_told(open_app: OpenApp, name: str) -> None:
    app = upload(open_app(), made.every_format(SIGNAL)[name])
    assert not app.exception and not app.error
    recording = app.session_state["record"].recording
    np.testing.assert_allclose(recording.signal_mv[0], MV[0], atol=1e-6)
    assert any(e.label.startswith("What the model saw") for e in app.expander)
    table = next(t for t in markup(app).split("<table>") if "The file says" in t)
    if name == "EDF":
        assert "<td>ECG V1 <em>(renamed)</em></td><td>5 uV per unit" in table
    if name == "MUSE":
        assert table.count("derived: Einthoven and Goldberger from I, II") == 4


def test_a_table_is_asked_about_and_then_read(open_app: OpenApp) -> None:
    app = upload(open_app(), {"strip.npy": made.npy(SIGNAL)})
    assert not app.exception and "record" not in app.session_state
    press(app, "read_table")
    assert len(app.error) == 1 and "lead" in app.error[0].value
    press(app, "order_12")
    next(n for n in app.number_input if n.label.startswith("Samples")).set_value(500.0).run()
    unit = next(s for s in app.selectbox if s.label == "Unit of the numbers")
    unit.set_value("raw numbers").run()
    next(n for n in app.number_input if n.label == "Numbers for 1 mV").set_value(200.0).run()
    press(app, "read_table")
    assert not app.exception and not app.error
    recording = app.session_state["record"].recording
    assert recording.lead_names == LEADS and recording.fs_hz == 500
    np.testing.assert_allclose(recording.signal_mv, MV, atol=1e-6)
    assert "table_preview" not in app.session_state


def test_what_a_table_says_is_filled_in(open_app: OpenApp) -> None:
    app = upload(open_app(), {"strip.csv": made.csv(SIGNAL)})
    press(app, "read_table")
    assert not app.exception and not app.error
    np.testing.assert_allclose(app.session_state["record"].recording.signal_mv, MV, atol=1e-6)


def test_channels_that_say_no_lead_are_asked_about_once(open_app: OpenApp) -> None:
    night = made.edf(SIGNAL[[1, 0]], leads=("1", "2")).replace(b"ECG 1 ", b"ECG1  ")
    night = night.replace(b"ECG 2 ", b"ECG2  ")
    app = upload(open_app(), {"night.edf": night})
    assert not app.exception and not app.error and "record" not in app.session_state
    assert any("ECG1 as II, ECG2 as V5" in c.value for c in app.caption)
    next(s for s in app.selectbox if s.label == "ECG2").set_value("I").run()
    press(app, "read_table")
    assert not app.exception and not app.error
    recording = app.session_state["record"].recording
    assert recording.lead_names == ("II", "I")
    np.testing.assert_allclose(recording.signal_mv, MV[[1, 0]], atol=1e-6)
    assert any("As was said, ECG2 is lead I." in note for note in recording.notes)
    # The next file with these channels is filled in alike.
    again = upload(app, {"next.edf": night})
    assert next(s for s in again.selectbox if s.label == "ECG2").value == "I"


def test_a_unit_that_is_not_said_is_asked_for(open_app: OpenApp) -> None:
    app = upload(open_app(), {"a.edf": made.edf(SIGNAL[:3], leads=LEADS[:3], units="")})
    assert not app.exception and not app.error and "record" not in app.session_state
    next(s for s in app.selectbox if s.label == "Unit of the numbers").set_value("µV").run()
    press(app, "read_table")
    assert not app.exception and not app.error
    np.testing.assert_allclose(app.session_state["record"].recording.signal_mv, MV[:3], atol=1e-6)


def test_of_two_recordings_one_is_chosen(open_app: OpenApp) -> None:
    files = {**made.wfdb(SIGNAL[:, :5000], name="b"), "a.edf": made.edf(-SIGNAL)}
    app = upload(open_app(), files)
    assert not app.exception and not app.error and "record" not in app.session_state
    which = next(s for s in app.selectbox if s.label == "Recording")
    assert which.options == ["a.edf", "b"]
    which.set_value("b").run()
    press(app, "open_record")
    assert not app.exception and not app.error
    assert app.session_state["record"].recording.record_id == "b"


def test_names_of_columns_are_text(open_app: OpenApp) -> None:
    data = made.csv(SIGNAL).replace(b"V6 (mV)", b"<script>alert(1)</script> (mV)")
    app = upload(open_app(), {"strip.csv": data})
    assert not app.exception
    assert "\\<script\\>" in "".join(s.label for s in app.selectbox)
    app = upload(open_app(), {"a.edf": made.edf(SIGNAL, prefilter="<b onload=x>HP</b>")})
    assert "&lt;b onload=x&gt;" in markup(app) and "<b onload" not in markup(app)


def test_what_the_model_saw_of_gaps_and_leads_that_are_left_out() -> None:
    onsets = [0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22]
    leads = ("I", "II", "RESP", *LEADS[3:])
    recording = read_recording({"a.edf": made.edf(SIGNAL, leads=leads, onsets_s=onsets)})
    seen = services.what_the_model_saw(recording, standardise(recording))
    assert [lead.lead for lead in seen.leads] == list(LEADS)
    assert seen.leads[2].origin == "derived" and "Einthoven" in seen.leads[2].source
    assert seen.leads[6].renamed and seen.leads[6].source == "ECG V1"
    assert seen.n_gaps == 1 and seen.source_fs_hz == 500
    gap = seen.gaps[0]
    assert gap.start_s == pytest.approx(9, abs=0.6) and gap.stop_s == pytest.approx(20, abs=0.6)
    assert gap.leads == LEADS
    assert 40 < seen.leads[0].measured_pct < 55
    assert any("interrupted" in note for note in seen.notes)
    assert any("RESP" in note for note in seen.notes)


@pytest.mark.slow
def test_leads_of_a_printed_page_are_asked_about_and_placed(open_app: OpenApp) -> None:
    app = upload(open_app(), {"page.xml": muse("", "II")})
    assert not app.exception and "record" not in app.session_state
    assert any("different lengths" in i.value for i in app.info)
    page = next(s for s in app.selectbox if s.label == "The leads were recorded")
    assert page.options == [
        "one after the other: 3 rows, 4 columns",
        "one after the other: 6 rows, 2 columns",
    ]
    press(app, "read_table")
    assert not app.exception and not app.error
    recording = app.session_state["record"].recording
    v6 = recording.signal_mv[recording.lead_names.index("V6")]
    np.testing.assert_allclose(v6[3 * N :], PAGE[11, 3 * N : 4 * N] * 5e-3, atol=1e-6)
    assert np.isnan(v6[: 3 * N]).all()
