"""Made-up parts of sigma^2 and made-up signals: which leads, when, why, and in which words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from echoing_core.records import LEADS
from echoing_core.signals import standardise
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.simulate import simulate_study
from echoing_core.simulate.noise.electrodes import misplace
from echoing_core.uncertainty.artefacts import GROUND, lead_artefacts
from echoing_core.uncertainty.attribution import lead_badness
from echoing_core.uncertainty.reasons import (
    WindowReasons,
    as_if_everywhere,
    leads_to_blame,
    reasons_from_cells,
    reasons_from_percentile,
)
from echoing_core.uncertainty.reference import LeadReference, Reference

REFERENCE = Reference.from_values(np.linspace(0.0, 1.0, 2001), name="made", simulated=True)
"""sigma^2 of 0.42 is at percentile 42."""

RECORDED = ("measured",) * 12


def made_signal() -> tuple[np.ndarray, np.ndarray]:
    """Ten seconds of a beat a second in all leads, clean."""
    t = np.arange(1000) / 100
    beat = np.exp(-0.5 * ((t % 1.0 - 0.5) / 0.02) ** 2) + 0.2 * np.exp(
        -0.5 * ((t % 1.0 - 0.75) / 0.05) ** 2
    )
    return np.tile(beat, (12, 1)).astype(np.float32), np.ones((12, 1000), dtype=np.bool_)


def made_cells(total: float, **share_by_lead: float) -> np.ndarray:
    """Parts with this sum, evenly in time; what no lead is named for is spread over the others."""
    share = np.full(12, (1 - sum(share_by_lead.values())) / max(12 - len(share_by_lead), 1))
    for lead, value in share_by_lead.items():
        share[LEADS.index(lead)] = value
    return np.repeat((total * share / 50)[:, None], 50, axis=1)


def into(cells: np.ndarray, lead: str, start_s: float, end_s: float) -> None:
    """Gather the parts of one lead in a stretch."""
    row = cells[LEADS.index(lead)]
    a, b = round(5 * start_s), round(5 * end_s)
    total = row.sum()
    row[:] = 0.05 * total / (50 - (b - a))
    row[a:b] = 0.95 * total / (b - a)


def told(cells: np.ndarray, signal: np.ndarray | None = None, **changes) -> WindowReasons:
    clean, valid = made_signal()
    given = {
        # As if every lead were worth as much: then the most is lost where the terms are highest.
        "lost": cells / max(cells.max(), 1e-12),
        "rest": 0.0,
        "valid": valid,
        "lead_origin": RECORDED,
        "novelty": 0.5,
        "reference": REFERENCE,
    } | changes
    return reasons_from_cells(cells, signal_mv=clean if signal is None else signal, **given)


def with_missing(*names: str) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Origin, signal and mask of a recording that holds only these leads."""
    signal, valid = made_signal()
    absent = [i for i, lead in enumerate(LEADS) if lead not in names]
    signal[absent], valid[absent] = 0, False
    origin = tuple("measured" if lead in names else "missing" for lead in LEADS)
    return origin, signal, valid


def test_noise_in_two_leads_for_three_seconds_is_told_as_such() -> None:
    cells = made_cells(0.9, V5=0.4, V6=0.32)
    into(cells, "V5", 3, 6)
    into(cells, "V6", 3, 6)
    signal, _ = made_signal()
    signal[10:, 300:600] += np.random.default_rng(0).normal(0, 0.2, (2, 300)).astype(np.float32)
    report = told(cells, signal)
    assert report.sentence == "Mostly V5-V6 (72 %), seconds 3 to 6: noise."
    assert report.leads == ("V5", "V6")
    assert report.span_s == pytest.approx((3.0, 6.0), abs=0.25)
    (reason,) = report.reasons
    assert (reason.kind, reason.leads) == ("noise", ("V5", "V6"))
    assert reason.share == pytest.approx(0.72)
    assert report.share_by_lead.sum() == pytest.approx(1)


def test_a_ruined_lead_is_named_though_it_costs_little() -> None:
    """aVR is as lost as V1, and worth a seventeenth of it: the limb leads tell what it told."""
    cells = made_cells(0.9, V1=0.7, aVR=0.04)
    lost = np.zeros_like(cells)
    lost[[LEADS.index("V1"), LEADS.index("aVR")]] = 1.0
    report = told(cells, lost=lost)
    # 1 and sqrt(0.06): aVR alone is no half of V1, and two thirds are V1's.
    assert report.leads == ("V1",)
    # Lost alone would say both; what they cost says that nothing is wrong with aVR.
    lost[LEADS.index("V1")] = 0.2
    report = told(cells, lost=lost)
    assert report.leads == ("aVR", "V1")
    assert report.sentence.startswith("Mostly aVR and V1 (74 %)")
    few = made_cells(0.9, V1=0.36, aVR=0.04)
    assert told(few, lost=lost).sentence.startswith("Above all aVR and V1 (40 %)")


def test_a_sigma2_without_terms_says_how_unsure_and_what_is_unlike() -> None:
    _, valid = made_signal()
    calm = reasons_from_percentile(10.0, valid)
    assert calm.sentence == "Nothing stands out: as sure as on most ECGs." and not calm.reasons
    unlike = reasons_from_percentile(10.0, valid, novelty=1.2)
    assert "cannot be trusted here" in unlike.sentence
    assert [reason.kind for reason in unlike.reasons] == ["unlike training"]
    unsure = reasons_from_percentile(90.0, valid, novelty=1.2)
    assert unsure.sentence.startswith("Less sure") and "also unlike the ECGs" in unsure.sentence
    nothing = reasons_from_percentile(90.0, np.zeros_like(valid), novelty=1.2)
    assert nothing.sentence == "Nothing was recorded in this window." and not nothing.reasons


def test_badness_is_between_cost_and_loss() -> None:
    cells = np.array([[[0.1, 0.3], [0.0, 0.4], [0.0, 0.0]]])
    lost = np.array([[[0.5, 0.5], [0.0, 0.0], [1.0, 1.0]]])
    np.testing.assert_allclose(lead_badness(cells, lost), [[np.sqrt(0.4 * 0.5), 0.0, 0.0]])


def test_a_calm_window_needs_no_reason() -> None:
    report = told(made_cells(0.74, V5=0.9))
    assert report.sentence == "Nothing stands out: as sure as on most ECGs."
    assert (report.leads, report.reasons, report.span_s) == ((), (), None)
    assert told(made_cells(0.76, V5=0.9)).leads == ("V5",)


def test_what_is_unlike_training_is_told_even_where_sigma2_is_low() -> None:
    calm = told(made_cells(0.1), novelty=1.4)
    assert "cannot be trusted here" in calm.sentence
    assert [reason.kind for reason in calm.reasons] == ["unlike training"]
    unsure = told(made_cells(0.9, V2=0.8), novelty=1.4)
    assert unsure.sentence.startswith("Mostly V2 (80 %)")
    assert "unlike the ECGs" in unsure.sentence
    assert [reason.kind for reason in unsure.reasons] == ["none", "unlike training"]


def test_misplaced_electrodes_are_told_in_calm_windows_too() -> None:
    study = simulate_study(31, 0)
    clean = standardise(dataclasses.replace(study.recording_12, signal_mv=study.clean_12))
    valid, rng = clean.valid, np.random.default_rng(0)
    signal = misplace(clean.signal_mv, valid, rng, "right leg")
    calm = told(made_cells(0.1), signal)
    assert calm.sentence == f"The uncertainty is as low as on most ECGs. {GROUND.sentence}"
    assert [(r.kind, r.leads) for r in calm.reasons] == [("misplaced electrodes", LEADS[:6])]
    assert calm.leads == ()
    unsure = told(made_cells(0.9, V2=0.8), signal, novelty=1.4)
    kinds = [reason.kind for reason in unsure.reasons]
    assert kinds[-2:] == ["misplaced electrodes", "unlike training"]
    assert unsure.leads == ("V2",)
    assert unsure.sentence.startswith("Mostly V2 (80 %)") and GROUND.sentence in unsure.sentence


def alike(*names: str) -> LeadReference:
    """Of ECGs with these leads: 0 to 1 as a whole, and a tenth of that from the leads there are."""
    whole = np.linspace(0.0, 1.0, 101)
    by_lead = np.repeat(whole[:, np.newaxis] / (10 * len(names)), 12, axis=1)
    return LeadReference.of_leads(LeadSet(names), whole, by_lead, name="alike", simulated=True)


def test_missing_leads_are_no_cause_of_a_window() -> None:
    origin, signal, valid = with_missing("II", "V1")
    signal[1, 300:600] += np.random.default_rng(0).normal(0, 0.2, 300).astype(np.float32)
    given = {"valid": valid, "lead_origin": origin, "reference": alike("II", "V1")}
    cells = made_cells(0.9, II=0.06, V1=0.01)
    into(cells, "II", 3, 6)
    report = told(cells, signal, **given)
    # 0.06 of the 0.07 that the two measured leads give.
    assert report.sentence == "Mostly II (86 %), seconds 3 to 6: noise."
    assert [(reason.kind, reason.leads) for reason in report.reasons] == [("noise", ("II",))]
    assert report.share_by_lead[1] == pytest.approx(6 / 7)
    assert report.share_by_lead[[1, 6]].sum() == pytest.approx(1)
    # Six seventh of 0.063 in a third of the window, were it so everywhere: beyond any.
    assert report.cell_percentile[1, 20] == 100
    assert not report.cell_percentile[0].any()
    both = told(made_cells(0.9, II=0.04, V1=0.03), signal, **given)
    assert both.sentence.startswith("All recorded leads: noise (II)")


def test_a_window_as_sure_as_its_like_is_calm_whatever_it_lacks() -> None:
    origin, signal, valid = with_missing("V5")
    calm = told(made_cells(0.7), signal, valid=valid, lead_origin=origin, reference=alike("V5"))
    assert calm.sentence == "Nothing stands out: as sure as on most ECGs with these leads."
    assert calm.reasons == ()
    unsure = told(made_cells(0.8), signal, valid=valid, lead_origin=origin, reference=alike("V5"))
    assert unsure.sentence.startswith("Lead V5: ") and unsure.leads == ("V5",)


def test_terms_of_few_leads_are_compared_with_those_of_few_leads() -> None:
    reference = alike("II", "V1")
    terms = np.zeros((2, 12))
    terms[:, [1, 6]] = [[0.01, 0.03], [0.02, 0.02]]
    terms[:, 0] = 0.26
    # In the reference the leads give a tenth of all. Here they give 0.04 of 0.4 and more: were
    # both like V1, 0.06 in place of 0.04, so the window of 0.4 would be one of 0.6.
    levels = as_if_everywhere(terms, 0.1, reference.n_leads, reference)
    assert levels[0, [1, 6]] == pytest.approx([20.0, 60.0])
    # Equal leads are as bright as their window.
    assert levels[1, [1, 6]] == pytest.approx([40.0, 40.0])


def test_each_cause_is_told_from_the_others() -> None:
    clean, _ = made_signal()
    rng = np.random.default_rng(1)
    bumps = np.interp(np.arange(1000), np.arange(0, 1001, 50), rng.normal(0, 0.5, 21))
    spoilt = {
        "noise": clean[0] + rng.normal(0, 0.1, 1000),
        "baseline or motion": clean[0] + bumps,
        "lead off": np.zeros(1000),
        "saturated": np.where(np.arange(1000) % 100 < 30, 6.0, clean[0]),
        "none": clean[0],
    }
    for kind, row in spoilt.items():
        signal, valid = made_signal()
        signal[7] = row
        found = lead_artefacts(signal, valid, np.ones(12, np.bool_), np.arange(12) == 7)
        assert found == {"V2": kind}
    signal, valid = made_signal()
    valid[7, 400:460], signal[7, 400:460] = False, 0.0
    assert lead_artefacts(signal, valid, valid.any(axis=1), np.arange(12) == 7) == {"V2": "gap"}


def test_a_cause_is_looked_for_where_the_uncertainty_lies() -> None:
    signal, valid = made_signal()
    signal[7, 800:] = 0.0
    everywhere, asked = np.ones(12, np.bool_), np.arange(12) == 7
    assert lead_artefacts(signal, valid, everywhere, asked, (8.0, 10.0)) == {"V2": "lead off"}
    assert lead_artefacts(signal, valid, everywhere, asked, (0.0, 5.0)) == {"V2": "none"}


def test_two_causes_in_one_window_are_told_lead_by_lead() -> None:
    signal, _ = made_signal()
    signal[6] = 0.0
    signal[7:9] += np.random.default_rng(2).normal(0, 0.2, (2, 1000)).astype(np.float32)
    report = told(made_cells(0.9, V1=0.2, V2=0.2, V3=0.2, V4=0.3), signal)
    assert report.sentence == (
        "Mostly V1-V4 (90 %): flat, as if an electrode were off (V1); noise (V2-V3)."
    )
    assert [reason.leads for reason in report.reasons] == [("V2", "V3"), ("V4",), ("V1",)]


def test_a_lead_as_flat_as_the_blamed_one_is_named_too() -> None:
    origin, signal, valid = with_missing("II", "V1")
    signal[[1, 6]] = 0.0
    given = {"valid": valid, "lead_origin": origin, "reference": alike("II", "V1")}
    report = told(made_cells(0.9, II=0.08, V1=0.01), signal, **given)
    assert report.sentence == "All recorded leads: flat, as if an electrode were off."
    assert report.leads == ("II", "V1")
    # One that has signal is not, however little the other gives.
    signal[6, ::2] = 0.3
    report = told(made_cells(0.9, II=0.08, V1=0.01), signal, **given)
    assert report.leads == ("II",)


def test_equal_leads_are_blamed_together() -> None:
    assert leads_to_blame(np.ones(12)).all()
    assert leads_to_blame([5, 4, 0.5, 0.5]).tolist() == [True, True, False, False]
    assert leads_to_blame([9, 0.5, 0.5]).tolist() == [True, False, False]
    assert not leads_to_blame(np.zeros(12)).any()
    assert told(made_cells(0.9)).sentence.startswith("All leads: ")
    most = told(made_cells(0.9, III=0.005, aVL=0.005, aVF=0.005))
    assert most.sentence.startswith("Nearly all leads (98 %): ") and len(most.leads) == 9


def test_an_empty_window_and_parts_of_nothing() -> None:
    _, valid = made_signal()
    empty = told(made_cells(0.9), np.zeros((12, 1000)), valid=np.zeros_like(valid))
    assert empty.sentence == "Nothing was recorded in this window."
    assert empty.leads == () and empty.reasons == ()
    nothing = told(np.zeros((12, 50)), rest=0.9)
    assert nothing.leads == () and nothing.share_by_lead.sum() == 0


def test_the_scale_of_parts_is_that_of_whole_windows() -> None:
    cells = made_cells(0.6)
    assert as_if_everywhere(cells.sum(1), 0.1, 12, REFERENCE) == pytest.approx(np.full(12, 70.0))
    report = told(cells, rest=0.1)
    assert report.cell_percentile == pytest.approx(np.full((12, 50), 70.0))
