"""Swapped electrodes give the leads that textbooks show."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core.records import LEADS
from echoing_core.simulate.noise.electrodes import LEADS_FROM_ELECTRODES, MISPLACEMENTS, misplace


def test_misplaced_electrodes_give_the_leads_that_cardiology_knows() -> None:
    rng = np.random.default_rng(6)
    leads = (LEADS_FROM_ELECTRODES @ rng.normal(size=(9, 1000))).astype(np.float32)
    lead = dict(zip(LEADS, leads, strict=True))
    measured = np.ones(leads.shape, bool)

    def seen(kind: str) -> dict[str, np.ndarray]:
        return dict(zip(LEADS, misplace(leads, measured, rng, kind), strict=True))

    arms = seen("arms")
    for name, expected in {
        "I": -lead["I"],
        "II": lead["III"],
        "III": lead["II"],
        "aVR": lead["aVL"],
        "aVL": lead["aVR"],
        "aVF": lead["aVF"],
        "V3": lead["V3"],
    }.items():
        np.testing.assert_allclose(arms[name], expected, atol=1e-5)
    chest = seen("chest reversed")
    np.testing.assert_allclose(chest["V1"], lead["V6"], atol=1e-5)
    np.testing.assert_allclose(chest["aVR"], lead["aVR"], atol=1e-5)
    # With an arm's electrode on a leg, the lead between the legs is flat.
    legs = seen("right leg")
    assert min(np.ptp(legs["II"]), np.ptp(legs["III"])) < 1e-5
    for kind in MISPLACEMENTS:
        assert np.abs(misplace(leads, measured, rng, kind) - leads).max() > 0.1
    with pytest.raises(ValueError, match="head"):
        misplace(leads, measured, rng, "head")


def test_electrodes_of_leads_not_measured_together_stay_in_place() -> None:
    leads = np.ones((12, 1000), np.float32)
    measured = np.ones(leads.shape, bool)
    measured[0, :300] = False
    assert misplace(leads, measured, np.random.default_rng(0)) is leads
