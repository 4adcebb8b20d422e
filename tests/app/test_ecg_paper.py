"""What the ECG paper sends to the browser, and what it takes back."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.records import LEADS, StandardEcg
from echoing_core.services import WaveMarks, WindowReasons, heart_beats
from tests.unit.measure.made import Heart, made
from ui import by_hand, ecg_paper

CALM = WindowReasons(None, None, (), (), "Nothing stands out.", None)


def made_up_ecg() -> StandardEcg:
    """Thirty seconds at 75 bpm; V2 was not recorded and V1 has a gap."""
    t = np.arange(3000) / 100.0
    beat = np.exp(-0.5 * (((t % 0.8) - 0.4) / 0.012) ** 2)
    signal = np.outer(np.linspace(0.5, 1.5, 12), beat).astype(np.float32)
    valid = np.ones(signal.shape, dtype=np.bool_)
    valid[LEADS.index("V2")] = False
    valid[LEADS.index("V1"), 1200:1300] = False
    signal[~valid] = 0.0
    origin = tuple("missing" if lead == "V2" else "measured" for lead in LEADS)
    return StandardEcg(signal, valid, origin, "made-up")


def sent(ecg: StandardEcg, start_s: float, report: WindowReasons = CALM) -> dict[str, Any]:
    return ecg_paper.window_data(ecg, start_s, heart_beats(ecg, start_s), report)


def test_one_window_goes_to_the_browser_and_no_more() -> None:
    ecg = made_up_ecg()
    data = sent(ecg, 10.0)
    assert (data["fs"], data["n"]) == (100.0, 1000)
    assert [lead["name"] for lead in data["leads"]] == list(LEADS)
    assert len(json.dumps(data)) < 40_000
    values = np.frombuffer(base64.b64decode(data["samples"]), dtype="<i2").reshape(11, 1000)
    there = [i for i, lead in enumerate(LEADS) if lead != "V2"]
    v1 = there.index(LEADS.index("V1"))
    assert (values[v1, 200:300] == -32768).all() and (values[v1, 300:] > -32768).all()
    shown = ecg.valid[there, 1000:2000]
    np.testing.assert_allclose(
        values[shown] / 1000.0, ecg.signal_mv[there, 1000:2000][shown], atol=0.0006
    )
    assert data["beats"]["words"] == "Heart rate 75 bpm, 13 beats"
    np.testing.assert_allclose([rr for rr in data["beats"]["rr"] if rr], 800.0, atol=2.0)


def test_colours_go_along_only_where_a_lead_is_to_blame() -> None:
    levels = np.full((12, 50), 80.4)
    levels[0, 0] = np.nan
    report = dataclasses.replace(CALM, cell_percentile=levels)
    assert sent(made_up_ecg(), 0.0, report)["cells"] is None
    blamed = dataclasses.replace(report, leads=("I",))
    assert sent(made_up_ecg(), 0.0, blamed)["cells"][0][:2] == [None, 80]


def test_a_millivolt_beyond_int16_is_cut_and_not_wrapped() -> None:
    ecg = made_up_ecg()
    ecg.signal_mv[0, 5] = 60.0
    values = np.frombuffer(base64.b64decode(sent(ecg, 0.0)["samples"]), dtype="<i2")
    assert values[5] == 32_000


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        (
            {"layout": "3x4", "speed": 50, "lead": "V5"},
            {"layout": "3x4", "speed": 50, "lead": "V5"},
        ),
        ({"layout": "<script>", "speed": True, "fit": 1, "other": 3}, {}),
        ({"lead": ["II"], "gain": {"a": 1}, "zoom": None}, {}),
        ("no settings", {}),
        (None, {}),
    ],
)
def test_only_known_settings_are_taken(wanted: object, known: dict[str, Any]) -> None:
    assert ecg_paper._known(wanted) == known


def paper_of(app: AppTest) -> dict[str, Any]:
    (component,) = (c for c in app.get("bidi_component") if c.proto.component_name == "ecg_paper")
    data: dict[str, Any] = json.loads(component.proto.json)
    return data


def test_the_paper_of_a_sample(open_app: Callable[[], AppTest]) -> None:
    app = open_app()
    short = next(s.title for s in services.samples() if "10 s" in s.description)
    next(b for b in app.button if b.label == short).click().run()
    assert not app.exception and not app.error
    data = paper_of(app)
    assert data["n"] == 1000 and data["settings"] == {}
    assert data["beats"]["words"].startswith("Heart rate ") and data["beats"]["caution"] is None
    assert "record" not in data and "SIM" not in json.dumps(data)


def test_settings_are_restored(open_app: Callable[[], AppTest]) -> None:
    app = open_app()
    app.session_state["paper_settings"] = {"layout": "3x4", "lead": "V1"}
    app.session_state["paper_round"] = 4
    short = next(s.title for s in services.samples() if "10 s" in s.description)
    next(b for b in app.button if b.label == short).click().run()
    data = paper_of(app)
    assert (data["settings"], data["round"]) == ({"layout": "3x4", "lead": "V1"}, 4)


def test_waves_go_along_in_seconds_of_the_window_with_what_is_not_there() -> None:
    found = services.measurements(made(Heart(p_mv=0.0), (800.0,) * 12), by_hand={"t_offset": 390.0})
    assert found.beat is not None
    data = ecg_paper.waves_data(found, 1.0, steps=2)
    assert data["marks"]["p_onset"] is None and data["marks"]["t_offset"] == 390.0
    assert (data["hand"], data["steps"]) == (["t_offset"], 2)
    assert list(data["missing"]) == ["pr_ms"] and "no P wave" in data["missing"]["pr_ms"]
    first = found.beat.time_s[found.beat.time_s >= 1.0][0] - 1.0
    assert data["beats"][0] == pytest.approx(first, abs=1e-4) and data["beats"][-1] <= 10.0
    flat = made(Heart(r_mv=0.0, p_mv=0.0, t_mv=0.0), (800.0,) * 3)
    assert list(ecg_paper.waves_data(services.measurements(flat), 0.0)) == ["why"]


class TestByHand:
    """What the browser says of marks and calipers, and what of it is kept."""

    @pytest.fixture(autouse=True)
    def _session(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamlit.session_state", {})

    def test_marks_are_set_undone_and_taken_back(self) -> None:
        ecg = made(rr_ms=(800.0,) * 6, leads=("I", "II", "V2"))
        before = by_hand.measured(ecg, None, "m")
        end = round(before.mark_ms("t_offset"))
        by_hand.take_marks(ecg, None, {"set": {"t_offset": end + 20}})
        by_hand.take_marks(ecg, None, {"set": {"t_offset": end + 40, "qrs_onset": -50}})
        assert by_hand.measured(ecg, None, "m").by_hand == {"t_offset": end + 40, "qrs_onset": -50}
        # Out of order, of no such mark, and no number: nothing of it is kept.
        for wrong in ({"qrs_offset": -200}, {"u": 3}, {"t_offset": True}, {"t_offset": "x"}, 5):
            by_hand.take_marks(ecg, None, {"set": wrong})
        by_hand.take_marks(ecg, None, "set")
        assert by_hand.steps_back(ecg, 0.0) == 2
        by_hand.take_marks(ecg, None, {"undo": True})
        assert by_hand.marks_of(ecg, 0.0) == {"t_offset": end + 20}
        by_hand.take_marks(ecg, None, {"reset": True})
        assert by_hand.measured(ecg, None, "m").by_hand == {}
        by_hand.take_marks(ecg, None, {"undo": True})
        kept = by_hand.kept_of(ecg)
        calipers, marks = kept.calipers, kept.wave_marks
        assert (calipers, marks[0].marks_ms) == ((), {"t_offset": end + 20})
        # Of another recording there are none, and those of a session file take their place.
        other = dataclasses.replace(ecg)
        assert by_hand.marks_of(other, 0.0) == {}
        by_hand.from_session(other, calipers, marks)
        assert by_hand.marks_of(other, 0.0) == {"t_offset": end + 20}
        assert by_hand.steps_back(other, 0.0) == 0
        # Marks that cannot be, as of a changed file, are let go, and the paper is drawn.
        by_hand.from_session(other, (), (WaveMarks(0.0, {"p_offset": 300.0}),))
        assert by_hand.measured(other, None, "m").by_hand == {}
        assert by_hand.marks_of(other, 0.0) == {}

    def test_calipers_are_kept_by_seconds_of_the_recording(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ecg = made(rr_ms=(800.0,) * 6, leads=("I", "II", "V2"))
        current = SimpleNamespace(recording=ecg)
        monkeypatch.setattr("ui.record.opened", lambda: current)
        one = {"lead": "II", "t": [1.0, 1.8], "mv": [0.1, 0.2], "march": False}
        by_hand.take_calipers(20.0, [one, {**one, "lead": "X"}, {**one, "t": [1]}, "caliper"])
        assert [c.start_s for c in by_hand.calipers()] == [21.0]
        by_hand.take_calipers(0.0, [one])
        assert len(by_hand.calipers()) == 2 and len(by_hand.calipers(20.0)) == 1
        by_hand.take_calipers(20.0, [])
        assert [c.start_s for c in by_hand.calipers()] == [1.0]
        # Infinite numbers are no place on the paper.
        by_hand.take_calipers(
            0.0, [{**one, "mv": [float("inf"), 0.0]}, {**one, "t": [float("nan")] * 2}]
        )
        assert by_hand.calipers() == ()
