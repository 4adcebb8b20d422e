"""The uncertainty map: choosing, hiding, listing, looking closer, and long recordings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from holter import holter
from streamlit.testing.v1 import AppTest

from echoing_core import services

OpenApp = Callable[[], AppTest]

pytestmark = pytest.mark.filterwarnings("ignore:missing ScriptRunContext")


def map_of(app: AppTest) -> dict[str, Any]:
    (drawn,) = (c for c in app.get("bidi_component") if c.proto.component_name == "uncertainty_map")
    data: dict[str, Any] = json.loads(drawn.proto.json)
    return data


def press(app: AppTest, label: str) -> AppTest:
    return next(b for b in app.button if b.label == label).click().run()


@pytest.fixture
def opened(open_app: OpenApp) -> AppTest:
    """The sample of 20 minutes."""
    return press(open_app(), services.samples()[0].title)


def test_the_map_is_told_in_words_and_numbers(opened: AppTest) -> None:
    data = map_of(opened)
    assert data["duration"] == pytest.approx(1196.0) and data["rows"] == 1
    assert "percentile" in data["words"] and "Chosen: " in data["words"]
    assert any(data["words"] == c.value for c in opened.caption)
    assert data["marks"] and {kind for _, _, kind in data["marks"]} <= {
        "noise", "baseline or motion", "lead off", "saturated", "gap", "none", "unlike training",
    }  # fmt: skip


@pytest.mark.slow
def test_uncertain_stretches_one_after_another(opened: AppTest) -> None:
    opened.slider(key="window_start").set_value(datetime(2000, 1, 1)).run()
    starts = []
    for _ in range(3):
        opened.button(key="next_unsure_one").click().run()
        track = opened.session_state["record"].explanation.track
        window = opened.session_state["window"]
        assert track.percentile[window] >= 90
        starts.append(float(track.start_s[window]))
    assert starts == sorted(set(starts))
    opened.button(key="previous_unsure").click().run()
    assert float(track.start_s[opened.session_state["window"]]) == starts[-2]


@pytest.mark.slow
def test_what_is_hidden_is_told_and_left_out_of_what_is_kept(opened: AppTest) -> None:
    opened.session_state["listed_panel"] = True
    opened.button(key="unsure_0").click().run()
    opened.slider(key="hide_above").set_value(80).run()
    assert not opened.exception and map_of(opened)["hideAbove"] == 80
    track = opened.session_state["record"].explanation.track
    n_hidden = int((track.percentile > 80).sum())
    assert any(f"Hidden: {n_hidden:,} of" in c.value for c in opened.caption)
    assert any("hidden by the threshold" in i.value for i in opened.info)
    assert "Shown" in opened.dataframe[0].value.columns


@pytest.mark.slow
def test_the_table_is_of_windows_and_of_stretches(opened: AppTest) -> None:
    opened.session_state["listed_panel"] = True
    opened.run()
    table = opened.dataframe[0].value
    assert list(table.columns) == ["Time", "Percentile", "Reason"]
    assert table["Percentile"].tolist() == sorted(table["Percentile"], reverse=True)
    choice = next(c for c in opened.get("button_group") if c.key == "listed_kind")
    choice.set_value("stretches").run()
    stretches = opened.dataframe[0].value
    assert len(stretches) == len(map_of(opened)["unsure"])
    assert (stretches["Percentile"] >= 90).all() and stretches["Reason"].str.len().gt(10).all()


@pytest.mark.slow
def test_a_long_recording_is_filled_in_and_then_looked_at_more_closely(open_app: OpenApp) -> None:
    app = open_app()
    made = holter(7500.0).recording
    model = services.load_model()
    looking = services.ExplainJob(model, made)
    while not looking.has_overview:
        looking.step()
    first = looking.explanation()
    assert len(first.track) == math.ceil((looking.total - 1) / 3)
    from ui.record import OpenRecord
    from ui.state import MapView

    app.session_state["record"] = OpenRecord(made, first, 10.0, "dower")
    app.session_state["record_round"] = 1
    app.session_state["looking"] = looking
    app.run()
    assert not app.exception and not app.error
    explanation = app.session_state["record"].explanation
    assert len(explanation.track) == looking.total and "looking" not in app.session_state
    assert map_of(app)["rows"] == 3
    # A view of less than ten minutes is worth a window every second.
    app.session_state["map_state"] = MapView(1, view_s=(3600.0, 3900.0))
    app.run()
    track = app.session_state["record"].explanation.track
    inside = (track.start_s >= 3600.0) & (track.start_s <= 3890.0)
    assert np.diff(track.start_s[inside]) == pytest.approx(1.0)
    assert map_of(app)["begin"] == 3600.0
