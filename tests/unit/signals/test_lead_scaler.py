"""One mean and one scale per lead for a data set."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoing_core.errors import CheckpointError, DataSetError
from echoing_core.records import LEADS
from echoing_core.signals import LeadScaler


def _data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    gain = np.linspace(0.1, 2.0, 12)[None, :, None]
    signal = (rng.normal(size=(4, 12, 300)) * gain + 0.5).astype(np.float32)
    valid = np.ones(signal.shape, dtype=np.bool_)
    signal[0, 2, :100], valid[0, 2, :100] = 1000.0, False  # must not count
    return signal, valid


def test_fit_ignores_what_is_not_valid() -> None:
    signal, valid = _data()
    scaler = LeadScaler.fit(signal, valid)
    for lead in range(12):
        values = signal[:, lead][valid[:, lead]]
        assert scaler.mean_mv[lead] == pytest.approx(float(values.mean()), abs=1e-5)
        assert scaler.scale_mv[lead] == pytest.approx(float(values.std()), rel=1e-5)


def test_apply_scales_and_masks() -> None:
    signal, valid = _data()
    scaler = LeadScaler.fit(signal, valid)
    scaled = scaler.apply(signal, valid)
    assert scaled.dtype == np.float32
    np.testing.assert_array_equal(scaled[~valid], 0.0)
    assert scaled[:, 5].std() == pytest.approx(1.0, abs=1e-4)
    unmasked = scaler.apply(signal)
    np.testing.assert_array_equal(unmasked[valid], scaled[valid])
    assert abs(unmasked[0, 2, 0]) > 100


def test_shapes_are_checked() -> None:
    signal, valid = _data()
    scaler = LeadScaler.fit(signal, valid)
    with pytest.raises(ValueError, match="12"):
        scaler.apply(signal[:, :11])
    with pytest.raises(ValueError, match="valid"):
        scaler.apply(signal, valid[:2])
    with pytest.raises(ValueError, match="each of the 12"):
        LeadScaler((0.0,) * 11, (1.0,) * 12)


def test_a_lead_without_signal_cannot_be_fitted() -> None:
    signal, valid = _data()
    valid[:, LEADS.index("V3")] = False
    with pytest.raises(DataSetError, match="V3"):
        LeadScaler.fit(signal, valid)


def test_json_round_trip() -> None:
    scaler = LeadScaler.fit(*_data())
    assert LeadScaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "keys"),
        ({"mean_mv": [0.0] * 11}, "each of the 12"),
        ({"mean_mv": "abc"}, "list of numbers"),
        ({"mean_mv": [True] * 12}, "list of numbers"),
        ({"mean_mv": [float("nan")] * 12}, "finite"),
        ({"scale_mv": [0.0] * 12}, "positive"),
        ({"lead_names": [*LEADS[:3], "aVR", "aVF", "aVL", *LEADS[6:]]}, "for the leads"),
    ],
)
def test_damaged_scalers_are_refused(change: dict[str, object], message: str) -> None:
    values = LeadScaler((0.0,) * 12, (1.0,) * 12).to_dict() | change
    with pytest.raises(CheckpointError, match=message):
        LeadScaler.from_dict(values)


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(CheckpointError, match="mean_mv"):
        LeadScaler.from_dict({"scale_mv": [1.0] * 12})
