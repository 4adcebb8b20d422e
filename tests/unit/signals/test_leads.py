"""Lead algebra."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS
from echoing_core.signals.leads import (
    KORS,
    KORS_GLS,
    KORS_PINV,
    LIMB_LEADS,
    PTBXL_LEAD_COVARIANCE_MV2,
    VCG_METHODS,
    limb_lead_sources,
    limb_weights,
    vcg_matrix,
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
    weights = limb_weights(pair)
    assert set(weights) == set(LIMB_LEADS)
    for lead, (a, b) in weights.items():
        np.testing.assert_allclose(a * limb[pair[0]] + b * limb[pair[1]], limb[lead], atol=1e-12)


def test_limb_leads_prefer_i_and_ii() -> None:
    assert limb_lead_sources({"aVR", "II", "I", "V1"}) == ("I", "II")
    assert limb_lead_sources({"aVR", "aVF", "III"}) == ("III", "aVF")
    assert limb_lead_sources({"II", "V1"}) is None


@pytest.mark.parametrize("method", list(VCG_METHODS))
def test_einthoven_and_goldberger_hold_for_every_method(
    method: str, rng: np.random.Generator
) -> None:
    leads = dict(zip(LEADS, vcg_matrix(method) @ rng.normal(size=(3, 40)), strict=True))
    np.testing.assert_allclose(leads["III"], leads["II"] - leads["I"], atol=1e-12)
    np.testing.assert_allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], 0, atol=1e-12)
    np.testing.assert_allclose(leads["aVL"], leads["I"] - leads["II"] / 2, atol=1e-12)


def test_unknown_method_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dower, kors_pinv, kors_gls"):
        vcg_matrix("inverse_dower")


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
