"""What a file says of its recording, on the page and on the paper."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from echoing_core.services import WindowReasons, heart_beats
from tests.unit.export.test_annotations import SAID, ecg
from ui import ecg_paper


def _page() -> None:
    from tests.unit.export.test_annotations import ecg
    from ui.explore import device

    device.show(ecg())


def test_measurements_statements_and_rhythms_are_folded_in_the_page() -> None:
    at = AppTest.from_function(_page).run(timeout=60)
    assert not at.exception
    [box] = at.expander
    assert box.label == "Beats, measurements and statements in the file"
    words = " ".join(m.value for m in box.markdown)
    for part in ("Sinus rhythm", "Rhythm: atrial fibrillation", "10 normal", "cough"):
        assert part in words
    assert "(a\\.atr)" in box.caption[0].value


def test_beats_of_the_file_go_to_the_paper_in_the_window_s_time() -> None:
    calm = WindowReasons(None, None, (), (), "Nothing stands out.", None)
    data = ecg_paper.window_data(ecg(), 4.0, heart_beats(ecg(), 4.0), calm)
    assert data["device"]["t"][0] == 0.4 and data["device"]["symbol"][0] == "V"
    assert len(data["device"]["t"]) == (SAID.beat_s >= 4.0).sum()
    assert data["device"]["words"].startswith("The file: sinus rhythm; atrial fibrillation; ")
