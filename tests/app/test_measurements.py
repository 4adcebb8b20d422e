"""The measurements on the Explore page: values with their spread, reasons, the device's own."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _page() -> None:
    from dataclasses import replace

    from echoing_core import services
    from echoing_core.records import Annotations
    from tests.unit.measure.made import Heart, made
    from ui.explore import measurements

    ecg = made(Heart(p_mv=0.0), (800.0,) * 6, leads=("I", "II", "V1"))
    stated = replace(ecg, annotations=Annotations(measurements={"qt_ms": 402.0}))
    measurements.panel(services.measurements(stated))


def test_values_reasons_and_the_device_stand_in_one_table() -> None:
    at = AppTest.from_function(_page).run(timeout=60)
    assert not at.exception
    shown = at.get("html")[0].proto.body
    assert "QT interval" in shown
    assert "402 ms" in shown
    assert "not measurable: no P wave" in shown
    assert "not recorded: V5, V6" in shown
    assert "Not for diagnosis" in at.caption[0].value
    assert at.expander[0].label == "Lead by lead"
