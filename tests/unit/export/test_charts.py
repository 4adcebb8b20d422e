"""The curves of a document show what was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.export.document import charts
from echoing_core.export.document.elements import Line, Words
from echoing_core.records import LEADS, StandardEcg


@pytest.mark.parametrize("loose", [False, True])
def test_beats_are_not_cut_off_and_a_loose_electrode_does_not_flatten_them(loose: bool) -> None:
    signal = np.zeros((12, 1000), np.float32)
    signal[:, 50::80] = 1.73
    if loose:
        signal[:, 400:420] = 40.0
    ecg = StandardEcg(signal, np.ones(signal.shape, np.bool_), ("measured",) * len(LEADS), "made")
    items = charts._lead_trace(ecg, "I", np.array([0.0, 10.0]), np.array([20.0]), 17.0, 30.0)
    (reach,) = [item.text for item in items if isinstance(item, Words) and "mV" in item.text]
    assert reach == "±2.2 mV"
    middle = next(item.y for item in items if isinstance(item, Words))
    ups = np.concatenate([middle - i.points[:, 1] for i in items if isinstance(i, Line)])
    beat = 1.73 / (1.25 * 1.73) * charts._TRACE_MM / 2
    assert np.isclose(ups, beat, atol=0.05).sum() >= 10
