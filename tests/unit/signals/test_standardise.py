"""From a recording to 12 leads at 100 Hz."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.errors import (
    ConfigError,
    MissingLeadError,
    SamplingRateError,
    SignalQualityError,
)
from echoing_core.records import FRANK_LEADS, LEADS, Recording
from echoing_core.signals import standardise
from echoing_core.signals.leads import vcg_matrix


def make(
    names: tuple[str, ...],
    *,
    fs_hz: float = 500.0,
    seconds: float = 12.0,
    seed: int = 1,
    simulated: bool = False,
) -> Recording:
    """Smooth noise in every lead: broad in frequency, different in each."""
    n_times = round(seconds * fs_hz)
    rng = np.random.default_rng(seed)
    knots = rng.normal(scale=0.5, size=(len(names), int(seconds * 25) + 2))
    at = np.linspace(0, knots.shape[1] - 1, n_times)
    signal = np.stack([np.interp(at, np.arange(knots.shape[1]), row) for row in knots])
    return Recording(
        signal.astype(np.float32), fs_hz, names, "rec-1", notes=("a note",), simulated=simulated
    )


def change(recording: Recording, lead: str, samples: slice, value: float) -> Recording:
    signal = recording.signal_mv.copy()
    signal[recording.lead_names.index(lead), samples] = value
    return Recording(signal, recording.fs_hz, recording.lead_names, recording.record_id)


def test_twelve_measured_leads() -> None:
    ecg = standardise(make(LEADS, simulated=True))
    assert ecg.signal_mv.shape == (12, 1200)
    assert ecg.signal_mv.dtype == np.float32
    assert ecg.valid.all()
    assert ecg.lead_origin == ("measured",) * 12
    assert ecg.derivation is None
    assert ecg.notes == ("a note",)
    assert ecg.simulated
    assert ecg.fs_hz == 100.0


def test_names_decide_not_positions() -> None:
    recording = make(LEADS)
    # MIMIC-IV-ECG stores aVF before aVL.
    order = [0, 1, 2, 3, 5, 4, *range(6, 12)]
    shuffled = Recording(recording.signal_mv[order], 500.0, tuple(LEADS[i] for i in order), "rec-1")
    np.testing.assert_array_equal(standardise(shuffled).signal_mv, standardise(recording).signal_mv)


def test_eight_leads_are_completed_by_einthoven_and_goldberger() -> None:
    recording = make(("V6", "V5", "V4", "V3", "V2", "V1", "II", "I"))
    ecg = standardise(recording)
    lead = dict(zip(LEADS, ecg.signal_mv, strict=True))
    assert ecg.leads_with("derived") == ("III", "aVR", "aVL", "aVF")
    assert ecg.derivation == "Einthoven and Goldberger from I, II"
    np.testing.assert_allclose(lead["III"], lead["II"] - lead["I"], atol=1e-6)
    np.testing.assert_allclose(lead["aVR"], -(lead["I"] + lead["II"]) / 2, atol=1e-6)
    np.testing.assert_allclose(lead["aVF"], lead["II"] - lead["I"] / 2, atol=1e-6)


def test_a_measured_lead_is_never_replaced() -> None:
    # III here is unrelated to I and II, so a derived one would show.
    recording = make(("I", "II", "III"))
    alone = standardise(make(("I", "II", "III"))).signal_mv[2]
    ecg = standardise(recording)
    assert ecg.lead_origin[2] == "measured"
    np.testing.assert_array_equal(ecg.signal_mv[2], alone)
    assert np.abs(alone - (ecg.signal_mv[1] - ecg.signal_mv[0])).max() > 0.1


def test_one_limb_and_one_chest_lead_leave_ten_missing() -> None:
    ecg = standardise(make(("II", "V1"), fs_hz=360.0))
    assert ecg.leads_with("measured") == ("II", "V1")
    assert len(ecg.leads_with("missing")) == 10
    assert ecg.derivation is None
    missing = [i for i, origin in enumerate(ecg.lead_origin) if origin == "missing"]
    assert not ecg.valid[missing].any()
    assert not ecg.signal_mv[missing].any()


@pytest.mark.parametrize(
    ("method", "says"), [("dower", "Dower"), ("kors_pinv", "Kors"), ("kors_gls", "PTB-XL")]
)
def test_frank_leads_become_twelve_derived_ones(method: str, says: str) -> None:
    ecg = standardise(make(FRANK_LEADS, fs_hz=1000.0), vcg_method=method)
    assert ecg.lead_origin == ("derived",) * 12
    assert ecg.derivation is not None
    assert says in ecg.derivation
    # The same as converting first and filtering afterwards: both are linear, but for the
    # median with which resampling continues each lead at its ends (a tenth of a second).
    xyz = make(FRANK_LEADS, fs_hz=1000.0).signal_mv
    first = Recording((vcg_matrix(method) @ xyz).astype(np.float32), 1000.0, LEADS, "r")
    inner = slice(15, -15)
    np.testing.assert_allclose(
        ecg.signal_mv[:, inner], standardise(first).signal_mv[:, inner], atol=1e-5
    )


def test_measured_leads_win_over_frank_leads() -> None:
    both = make((*FRANK_LEADS, *LEADS))
    twelve = Recording(both.signal_mv[3:], 500.0, LEADS, "rec-1")
    ecg = standardise(both)
    assert ecg.lead_origin == ("measured",) * 12
    np.testing.assert_array_equal(ecg.signal_mv, standardise(twelve).signal_mv)
    assert any("12 leads are used" in note for note in ecg.notes)


def test_frank_leads_fill_only_what_is_missing() -> None:
    ecg = standardise(make(("II", "V1", *FRANK_LEADS)))
    assert ecg.leads_with("measured") == ("II", "V1")
    assert len(ecg.leads_with("derived")) == 10
    alone = standardise(make(("II", "V1", *FRANK_LEADS)), vcg_method="kors_pinv")
    np.testing.assert_array_equal(ecg.signal_mv[1], alone.signal_mv[1])


def test_two_frank_leads_are_not_enough() -> None:
    with pytest.raises(MissingLeadError, match="holds X and Y but not Z"):
        standardise(make(("X", "Y")))


def test_no_ecg_lead_lists_what_was_found() -> None:
    with pytest.raises(MissingLeadError, match="ABP, RESP"):
        standardise(make(("ABP", "RESP")))


def test_other_channels_are_left_out() -> None:
    ecg = standardise(make(("RESP", "II")))
    assert ecg.leads_with("measured") == ("II",)


def test_too_short() -> None:
    with pytest.raises(SignalQualityError, match=r"3\.00 s long; at least 10 s"):
        standardise(make(LEADS, seconds=3.0))
    assert standardise(make(LEADS, seconds=10.0)).n_times == 1000


def test_nothing_but_gaps() -> None:
    signal = np.full((2, 6000), np.nan, dtype=np.float32)
    with pytest.raises(SignalQualityError, match="no measured value in I, II"):
        standardise(Recording(signal, 500.0, ("I", "II"), "rec-1"))


def test_rate_and_method_are_checked() -> None:
    with pytest.raises(SamplingRateError):
        standardise(make(LEADS, fs_hz=50.0))
    with pytest.raises(ConfigError):
        standardise(make(FRANK_LEADS), vcg_method="magic")


def test_a_gap_stays_a_gap_and_spoils_nothing_else() -> None:
    whole = make(LEADS)
    gappy = change(whole, "V2", slice(3000, 3500), np.nan)  # seconds 6 to 7
    ecg, reference = standardise(gappy), standardise(whole)
    row = LEADS.index("V2")
    assert not ecg.valid[row, 590:711].any()
    assert ecg.valid[row, :590].all()
    assert ecg.valid[row, 711:].all()
    np.testing.assert_array_equal(ecg.signal_mv[row, 590:711], 0.0)
    others = [i for i in range(12) if i != row]
    np.testing.assert_array_equal(ecg.signal_mv[others], reference.signal_mv[others])
    far = np.r_[0:400, 900:1200]
    np.testing.assert_allclose(ecg.signal_mv[row, far], reference.signal_mv[row, far], atol=0.03)


def test_a_gap_in_a_source_is_a_gap_in_what_follows_from_it() -> None:
    ecg = standardise(change(make(("I", "II")), "II", slice(3000, 3500), np.nan))
    assert ecg.valid[0].all()
    for lead in ("II", "III", "aVR", "aVL", "aVF"):
        assert not ecg.valid[LEADS.index(lead), 600:700].any()
        assert not ecg.signal_mv[LEADS.index(lead), 600:700].any()
    vcg = standardise(change(make(FRANK_LEADS), "Z", slice(3000, 3500), np.nan))
    assert not vcg.valid[:, 600:700].any()


def test_an_empty_lead_counts_as_not_measured() -> None:
    ecg = standardise(change(make(LEADS), "aVL", slice(None), np.nan))
    assert ecg.leads_with("derived") == ("aVL",)
    assert any("aVL held no measured value" in note for note in ecg.notes)


def test_the_input_is_not_changed() -> None:
    recording = change(make(LEADS), "V2", slice(3000, 3500), np.nan)
    before = recording.signal_mv.copy()
    standardise(recording)
    np.testing.assert_array_equal(recording.signal_mv, before)
