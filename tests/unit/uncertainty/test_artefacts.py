"""Swapped electrodes leave a mark, and hearts as they are do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from echoing_core.records import LEADS
from echoing_core.signals import standardise
from echoing_core.simulate import simulate_study
from echoing_core.simulate.noise.electrodes import misplace
from echoing_core.uncertainty.artefacts import (
    ARMS,
    CHEST,
    GAP,
    GROUND,
    lead_artefacts,
    suspected_misplacements,
)

MEASURED = ("measured",) * 12


@pytest.fixture(scope="module")
def ecgs() -> list[np.ndarray]:
    found = []
    for patient in range(40):
        study = simulate_study(31, patient)
        clean = dataclasses.replace(study.recording_12, signal_mv=study.clean_12)
        found.append(standardise(clean).signal_mv)
    return found


def share(ecgs: list[np.ndarray], kind: str | None, suspicion: object) -> float:
    rng = np.random.default_rng(1)
    valid = np.ones((12, 1000), bool)
    shown = [ecg if kind is None else misplace(ecg, valid, rng, kind) for ecg in ecgs]
    suspected = [suspected_misplacements(ecg, valid, MEASURED) for ecg in shown]
    return float(np.mean([suspicion in misplacements for misplacements in suspected]))


def test_swaps_are_found_and_hearts_as_they_are_left_alone(ecgs: list[np.ndarray]) -> None:
    for suspicion in (ARMS, GROUND, CHEST):
        assert share(ecgs, None, suspicion) <= 0.1
    assert share(ecgs, "right leg", GROUND) > 0.9
    assert share(ecgs, "chest reversed", CHEST) > 0.6
    # Of real ECGs two thirds are found; simulated ones have smaller P waves in I.
    assert share(ecgs, "arms", ARMS) > 0.25
    # Another heart's axis is no swap that can be told.
    assert share(ecgs, "chest pair", CHEST) <= 0.1


def test_a_channel_that_is_off_is_no_swap(ecgs: list[np.ndarray]) -> None:
    valid = np.ones((12, 1000), bool)
    for ecg in ecgs[:10]:
        off = ecg.copy()
        off[1] = 0.0
        assert GROUND not in suspected_misplacements(off, valid, MEASURED)


def test_nothing_is_said_of_leads_that_show_no_electrode(ecgs: list[np.ndarray]) -> None:
    rng = np.random.default_rng(2)
    valid = np.ones((12, 1000), bool)
    swapped = misplace(ecgs[0], valid, rng, "right leg")
    assert suspected_misplacements(swapped, valid, MEASURED) == (GROUND,)
    limb_derived = tuple("derived" if lead in LEADS[2:6] else "measured" for lead in LEADS)
    assert suspected_misplacements(swapped, valid, limb_derived) == (GROUND,)
    assert suspected_misplacements(swapped, valid, ("derived",) * 12) == ()
    assert suspected_misplacements(swapped, valid, ("missing", *MEASURED[1:])) == ()
    gap = valid.copy()
    gap[3] = False
    assert suspected_misplacements(swapped, gap, MEASURED) == ()
    flat = np.zeros((12, 1000), np.float32)
    assert suspected_misplacements(flat, valid, MEASURED) == ()
    noise = rng.normal(0, 1, (12, 1000)).astype(np.float32)
    assert set(suspected_misplacements(noise, valid, MEASURED)) <= {ARMS, GROUND, CHEST}


@pytest.mark.parametrize(("gap_s", "span_s", "is_gap"), [
    (0.4, (9.2, 10.0), True),  # a calibration pulse of 0.4 s, cut off at the end
    (0.2, (9.2, 10.0), False),
    (0.4, (0.0, 10.0), False),
    (0.6, (0.0, 10.0), True),
])  # fmt: skip
def test_a_gap_is_the_cause_where_it_is_half_a_second_or_a_third(
    ecgs: list[np.ndarray], gap_s: float, span_s: tuple[float, float], is_gap: bool
) -> None:
    signal, valid = ecgs[0].copy(), np.ones((12, 1000), bool)
    n = round(100 * gap_s)
    signal[:, -n:], valid[:, -n:] = 0.0, False
    every = np.ones(12, bool)
    found = lead_artefacts(signal, valid, every, every, span_s)
    assert {kind == GAP for kind in found.values()} == {is_gap}
