"""The measurements on the Explore page: values with their spread, reasons, the device's own."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _page() -> None:
    from dataclasses import replace
    from types import SimpleNamespace

    from echoing_core.records import Annotations
    from tests.unit.measure.made import Heart, made
    from ui.explore import measurements

    ecg = made(Heart(p_mv=0.0), (800.0,) * 6, leads=("I", "II", "V1"))
    stated = replace(ecg, annotations=Annotations(measurements={"qt_ms": 402.0}))
    # Of a short recording the track says no more than how long its windows are.
    track = SimpleNamespace(window_s=10.0)
    measurements.show_measurements(stated, SimpleNamespace(track=track))  # type: ignore[arg-type]


def test_nothing_is_measured_until_the_panel_is_open() -> None:
    at = AppTest.from_function(_page).run(timeout=60)
    assert not at.exception
    assert [box.label for box in at.expander] == ["Measurements: PR, QRS, QT, axes, voltages"]
    assert not at.get("html")
    at.session_state["measurements_panel"] = True
    at.run(timeout=60)
    assert not at.exception
    shown = at.get("html")[0].proto.body
    for part in ("QT interval", "402 ms", "not measurable: no P wave", "not recorded: V5, V6"):
        assert part in shown
    assert "Not for diagnosis" in at.caption[0].value
    assert at.expander[1].label == "Lead by lead"
