"""Lead algebra."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from echoing_core.errors import ConfigError, MissingLeadError
from echoing_core.records import LEADS
from echoing_core.signals.leads import (
    KORS,
    KORS_GLS,
    KORS_PINV,
    LIMB_LEADS,
    PTBXL_LEAD_COVARIANCE_MV2,
    VCG_METHODS,
    limb_lead_sources,
    limb_leads_from,
    reorder,
    vcg_to_12_lead,
)


@pytest.fixture
def limb(rng: np.random.Generator) -> dict[str, np.ndarray]:
    i, ii = rng.normal(size=(2, 50))
    return {
        "I": i,
        "II": ii,
        "III": ii - i,
        "aVR": -(i + ii) / 2,
        "aVL": i - ii / 2,
        "aVF": ii - i / 2,
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("pair", list(itertools.combinations(LIMB_LEADS, 2)))
def test_any_two_limb_leads_give_the_other_four(
    limb: dict[str, np.ndarray], pair: tuple[str, str]
) -> None:
    derived = limb_leads_from({lead: limb[lead] for lead in pair})
    assert set(derived) == set(LIMB_LEADS) - set(pair)
    for lead, values in derived.items():
        np.testing.assert_allclose(values, limb[lead], atol=1e-12)


def test_limb_leads_prefer_i_and_ii_and_never_replace_a_measured_one() -> None:
    assert limb_lead_sources({"aVR", "II", "I", "V1"}) == ("I", "II")
    assert limb_lead_sources({"II", "V1"}) is None
    ones = np.ones(3)
    assert set(limb_leads_from({"I": ones, "II": ones, "aVF": ones})) == {"III", "aVR", "aVL"}


def test_one_limb_lead_is_not_enough() -> None:
    with pytest.raises(MissingLeadError, match="II, V1"):
        limb_leads_from({"II": np.ones(3), "V1": np.ones(3)})


@pytest.mark.parametrize("method", list(VCG_METHODS))
def test_einthoven_and_goldberger_hold_for_every_method(
    method: str, rng: np.random.Generator
) -> None:
    leads = dict(zip(LEADS, vcg_to_12_lead(rng.normal(size=(3, 40)), method), strict=True))
    np.testing.assert_allclose(leads["III"], leads["II"] - leads["I"], atol=1e-12)
    np.testing.assert_allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(leads["aVL"], leads["I"] - leads["II"] / 2, atol=1e-12)


def test_vcg_batches_and_wrong_shapes(rng: np.random.Generator) -> None:
    xyz = rng.normal(size=(2, 3, 40))
    batch = vcg_to_12_lead(xyz)
    assert batch.shape == (2, 12, 40)
    np.testing.assert_array_equal(batch[1], vcg_to_12_lead(xyz[1]))
    with pytest.raises(ValueError, match="n_times"):
        vcg_to_12_lead(xyz[:, :2])


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dower, kors_pinv, kors_gls"):
        vcg_to_12_lead(np.zeros((3, 5)), "inverse_dower")


@pytest.mark.parametrize("matrix", [KORS_PINV, KORS_GLS])
def test_inverses_of_kors_return_the_vcg(matrix: np.ndarray) -> None:
    np.testing.assert_allclose(KORS @ matrix, np.eye(3), atol=1e-10)


def test_the_stored_covariance_is_one() -> None:
    np.testing.assert_array_equal(PTBXL_LEAD_COVARIANCE_MV2, PTBXL_LEAD_COVARIANCE_MV2.T)
    assert np.linalg.eigvalsh(PTBXL_LEAD_COVARIANCE_MV2).min() > 0
    with pytest.raises(ValueError, match="read-only"):
        PTBXL_LEAD_COVARIANCE_MV2[0, 0] = 1.0


def test_generalised_least_squares_avoids_the_wrong_sign_in_v1() -> None:
    # V1 lies on the right: a vector to the left (X) must point away from it.
    assert KORS_PINV[2, 0] > 0
    assert KORS_GLS[2, 0] < 0


def test_reorder_goes_by_name() -> None:
    names = ("aVF", "aVL", "I", "RESP")
    rows = np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(reorder(rows, names, ("I", "aVF")), [[4, 5], [0, 1]])
    with pytest.raises(MissingLeadError, match=r"no lead II, V1 \(1 of 3 found\)"):
        reorder(rows, names, ("I", "II", "V1"))
    with pytest.raises(ValueError, match="fit"):
        reorder(rows, names[:3])
