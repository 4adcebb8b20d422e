from __future__ import annotations

import numpy as np
import pytest

from echoing_core.errors import ConfigError
from echoing_core.records import FRANK_LEADS, LEADS, Recording, StandardEcg
from echoing_core.signals import standardise
from echoing_core.signals.lead_sets import (
    LEAD_SETS,
    LeadSet,
    lead_set_key,
    lead_set_of,
    lead_words,
    measured_words,
    reduced_to,
)
from echoing_core.signals.leads import DOWER, KORS
from tests.made_tracks import track_of


def recorded(*names: str, vcg_method: str = "dower") -> StandardEcg:
    """Twelve seconds of small sines in these leads, as the app reads them."""
    time = np.arange(3000) / 250
    rows = [np.sin(2 * np.pi * (2 + i) * time) for i in range(len(names))]
    recording = Recording(np.array(rows, dtype=np.float32), 250.0, names, "sines")
    return standardise(recording, vcg_method=vcg_method)


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("V5", "II"), "II+V5"),
        (("MLII", "V1", "II"), "II+V1"),
        (("I",), "I"),
        # Any two limb leads give all six.
        (("I", "II"), "limb"),
        (("aVF", "III", "V1"), "limb+V1"),
        (("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), "12"),
        (LEADS, "12"),
        (FRANK_LEADS, "XYZ:dower"),
        (("II", *FRANK_LEADS), "II+XYZ:dower"),
        # Where 12 leads are measured, X, Y and Z change nothing.
        ((*LEADS, *FRANK_LEADS), "12"),
    ],
)
def test_the_key_tells_what_a_recording_measures(names: tuple[str, ...], key: str) -> None:
    assert lead_set_key(recorded(*names)) == key
    assert LeadSet.from_key(key).key == key


def test_the_method_of_a_vectorcardiogram_is_part_of_its_key() -> None:
    assert lead_set_key(recorded(*FRANK_LEADS, vcg_method="kors_gls")) == "XYZ:kors_gls"
    assert LeadSet.from_key("XYZ") == LeadSet.from_key("XYZ:dower")


def test_a_key_may_be_written_in_any_order() -> None:
    assert LeadSet.from_key("V1+II") == LeadSet(("II", "V1"))
    assert LeadSet.from_key("II+I+V1").key == "limb+V1"
    assert lead_set_key(["V5", "II"]) == "II+V5"


@pytest.mark.parametrize("key", ["", "V9", "II+V9", "XYZ:guess"])
def test_what_is_no_lead_set_is_refused(key: str) -> None:
    with pytest.raises(ConfigError):
        LeadSet.from_key(key)
    with pytest.raises(ConfigError, match="at least one"):
        LeadSet(())


def test_named_sets_are_different_and_canonical() -> None:
    keys = [lead_set.key for lead_set in LEAD_SETS]
    assert len(set(keys)) == len(keys)
    assert [LeadSet.from_key(key) for key in keys] == list(LEAD_SETS)


def test_a_lead_that_falls_off_stays_in_the_set() -> None:
    ecg = recorded("II", "V5")
    ecg.valid[LEADS.index("V5"), 200:] = False
    assert lead_set_key(ecg) == "II+V5"


def test_reduced_ecgs_are_what_the_app_makes_of_fewer_leads() -> None:
    whole = recorded(*LEADS)
    signal_mv, valid = reduced_to(LeadSet(("II", "V1")), whole.signal_mv[None], whole.valid[None])
    kept = [LEADS.index("II"), LEADS.index("V1")]
    others = [i for i in range(12) if i not in kept]
    np.testing.assert_array_equal(signal_mv[0, kept], whole.signal_mv[kept])
    assert valid[0, kept].all()
    assert not valid[0, others].any()
    assert not signal_mv[0, others].any()


def test_reduced_to_a_vectorcardiogram_goes_by_kors_and_back_by_dower() -> None:
    whole = recorded(*LEADS)
    whole.valid[LEADS.index("V3"), :100] = False
    signal_mv, valid = reduced_to(
        LeadSet.from_key("II+XYZ"), whole.signal_mv[None], whole.valid[None]
    )
    eight = np.stack(
        [whole.signal_mv[LEADS.index(n)] for n in ("I", "II")] + list(whole.signal_mv[6:])
    )
    by_hand = DOWER @ (KORS @ eight)
    # V2 is the fourth of the eight; II was measured and stays as it was.
    np.testing.assert_allclose(signal_mv[0, LEADS.index("V2"), 100:], by_hand[3, 100:], atol=1e-5)
    np.testing.assert_array_equal(signal_mv[0, 1], whole.signal_mv[1])
    # X, Y and Z need all eight.
    assert not valid[0, LEADS.index("V6"), :100].any()
    assert valid[0, LEADS.index("V6"), 100:].all()
    assert valid[0, 1].all()


def test_words_for_people() -> None:
    assert LeadSet(("II", "V5")).words == "two leads: II and V5"
    assert LeadSet(("I",)).words == "one lead: I"
    assert LeadSet(("I", "II")).words == "the six limb leads"
    assert LeadSet(("I", "II", "V1")).words == "seven leads: limb leads and V1"
    assert LeadSet(LEADS).words == "all 12 leads"
    assert LeadSet.from_key("XYZ").words == "12 leads derived from X, Y and Z (Dower synthesis)"


def test_what_was_measured_and_what_follows() -> None:
    assert measured_words(recorded("II", "V1")) == "2 of 12 leads measured: II and V1"
    assert measured_words(recorded(*LEADS)) == "All 12 leads measured"
    assert measured_words(recorded("I", "II")) == (
        "2 of 12 leads measured: I and II; III, aVR, aVL and aVF derived from them"
    )
    assert measured_words(recorded(*FRANK_LEADS)).endswith("12 leads derived from X, Y and Z")


def test_an_ecg_with_a_foreign_derivation_keeps_its_leads() -> None:
    origin = tuple("derived" if lead == "III" else "measured" for lead in LEADS)
    ecg = StandardEcg(
        np.zeros((12, 1000), np.float32), np.ones((12, 1000), bool), origin, "x", "another program"
    )
    assert lead_set_of(ecg).is_all


def test_leads_are_named_as_a_clinician_would() -> None:
    assert lead_words(("V5", "V6")) == "V5-V6"
    assert lead_words(("II", "aVF", "V1", "V2", "V3", "V6")) == "II, aVF, V1-V3 and V6"
    assert lead_words(LEADS[:6]) == "limb leads"
    assert lead_words((*LEADS[:6], "V1")) == "limb leads and V1"
    assert lead_words(LEADS[6:]) == "chest leads"
    assert lead_words(LEADS) == "all leads"
    assert lead_words(("II", "V1"), among=("II", "V1")) == "all recorded leads"


def test_a_track_tells_its_leads_by_what_they_hold() -> None:
    track = track_of([10.0, 20.0])
    track.valid_fraction[:] = 0.0
    track.valid_fraction[1, [1, 10]] = 0.4
    assert lead_set_key(track) == "II+V5"
