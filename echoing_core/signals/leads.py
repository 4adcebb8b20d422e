"""Lead algebra: order by name, Einthoven and Goldberger, and 12 leads from a VCG.

Frank's axes point to the left (X), downwards (Y) and to the back (Z). All 8-lead matrices
run over I, II, V1...V6; the other four limb leads follow from I and II.

Three ways to make 12 leads from X, Y, Z:

``dower``
    Dower's synthesis matrix: each lead as a fixed projection of the heart vector.
``kors_pinv``
    Pseudo-inverse of Kors's regression, the literal reading of "Kors transformation" for
    this direction. It inverts Kors exactly but is the 12-lead ECG of least power, which is
    not a plausible one: V1's share of X has the wrong sign and V2, V3 are far too small.
``kors_gls``
    The most plausible 12-lead ECG that Kors's regression maps onto the VCG, given how the
    leads of real ECGs vary together (`PTBXL_LEAD_COVARIANCE_MV2`).

References
----------
Kors et al. 1990, Eur Heart J 11:1083 (8 leads to XYZ). Dower et al. 1980, Clin Cardiol 3:87
(XYZ to 8 leads). Edenbrandt & Pahlm 1988, J Electrocardiol 21:361 (inverse Dower).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import LEADS, FloatArray

EIGHT_LEADS: tuple[str, ...] = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
"""The independent leads, in the order of all matrices here."""

LIMB_LEADS: tuple[str, ...] = LEADS[:6]


def _constant(rows: Sequence[Sequence[float]]) -> npt.NDArray[np.float64]:
    matrix = np.array(rows, dtype=np.float64)
    matrix.flags.writeable = False
    return matrix


# Rows X, Y, Z; columns as `EIGHT_LEADS` (Kors 1990, regression).
KORS = _constant(
    [
        [0.38, -0.07, -0.13, 0.05, -0.01, 0.14, 0.06, 0.54],
        [-0.07, 0.93, 0.06, -0.02, -0.05, 0.06, -0.17, 0.13],
        [0.11, -0.23, -0.43, -0.06, -0.14, -0.20, -0.11, 0.31],
    ]
)
"""Kors regression, shape (3, 8): 8 leads to X, Y, Z."""

# Rows as `EIGHT_LEADS`; columns X, Y, Z (Dower 1980).
DOWER = _constant(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
"""Dower synthesis, shape (8, 3): X, Y, Z to 8 leads."""

PTBXL_LEAD_COVARIANCE_MV2 = _constant(
    [
        [0.02175, 0.01247, -0.01722, -0.00574, 0.00707, 0.01954, 0.02437, 0.02198],
        [0.01247, 0.02181, -0.01189, -0.00349, 0.01466, 0.02704, 0.02776, 0.02317],
        [-0.01722, -0.01189, 0.03579, 0.04007, 0.02047, -0.00520, -0.01983, -0.02182],
        [-0.00574, -0.00349, 0.04007, 0.08929, 0.06357, 0.02534, -0.00190, -0.01169],
        [0.00707, 0.01466, 0.02047, 0.06357, 0.08173, 0.05601, 0.02700, 0.01168],
        [0.01954, 0.02704, -0.00520, 0.02534, 0.05601, 0.06942, 0.05131, 0.03507],
        [0.02437, 0.02776, -0.01983, -0.00190, 0.02700, 0.05131, 0.05704, 0.04307],
        [0.02198, 0.02317, -0.02182, -0.01169, 0.01168, 0.03507, 0.04307, 0.04036],
    ]
)
"""How the 8 leads vary together, shape (8, 8), mV^2, rounded to 1e-5.

Mean of x x^T over 1,484 ten-second records of PTB-XL (Wagner et al. 2020, Sci Data 7:154,
doi 10.1038/s41597-020-0495-6; licence CC BY 4.0), folds 1-8 of ids 1-1999, band-passed
0.5-40 Hz at 100 Hz; 15 records with amplitudes beyond 5 mV left out.
``benchmarks/ptbxl_lead_covariance.py`` makes it again.
"""


def generalised_inverse(
    forward: FloatArray, covariance: FloatArray | None = None
) -> npt.NDArray[np.float64]:
    """Right inverse G of a 3 x 8 matrix K: K G = 1.

    Without a covariance the Moore-Penrose inverse (smallest leads); with the covariance C of
    the leads, C K^T (K C K^T)^-1: the best linear guess of leads whose VCG is given exactly
    (generalised least squares).

    Parameters
    ----------
    forward : ndarray, shape (3, 8)
        K, from 8 leads to X, Y, Z.
    covariance : ndarray, shape (8, 8), optional
        C, mean of x x^T of the leads.

    Returns
    -------
    ndarray, shape (8, 3)
    """
    c = np.eye(forward.shape[1]) if covariance is None else covariance
    return np.asarray(c @ forward.T @ np.linalg.inv(forward @ c @ forward.T), dtype=np.float64)


KORS_PINV = _constant(generalised_inverse(KORS).tolist())
"""Pseudo-inverse of `KORS`, shape (8, 3)."""

KORS_GLS = _constant(generalised_inverse(KORS, PTBXL_LEAD_COVARIANCE_MV2).tolist())
"""Inverse of `KORS` that respects how leads vary together, shape (8, 3)."""

VCG_METHODS: dict[str, npt.NDArray[np.float64]] = {
    "dower": DOWER,
    "kors_pinv": KORS_PINV,
    "kors_gls": KORS_GLS,
}

DEFAULT_VCG_METHOD = "dower"

VCG_METHOD_NAMES: dict[str, str] = {
    "dower": "Dower synthesis",
    "kors_pinv": "Pseudo-inverse of Kors",
    "kors_gls": "Inverse of Kors with the PTB-XL lead covariance",
}
"""How the methods are called on screen."""

# Each limb lead as a combination of I and II (Einthoven 1912; Goldberger 1942).
_LIMB_FROM_I_II: dict[str, tuple[float, float]] = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}


def vcg_matrix(method: str = DEFAULT_VCG_METHOD) -> npt.NDArray[np.float64]:
    """Matrix from X, Y, Z to the 12 leads, for ``vcg_matrix(method) @ xyz_mv``.

    Parameters
    ----------
    method : str
        A key of `VCG_METHODS`; see the module's description.

    Returns
    -------
    ndarray, shape (12, 3)
        In the order of `LEADS`. III = II - I and aVR + aVL + aVF = 0 hold by construction.

    Raises
    ------
    ConfigError
        If there is no such method.
    """
    if method not in VCG_METHODS:
        raise ConfigError(
            f"There is no VCG to 12-lead method {method!r}. Choose one of: "
            f"{', '.join(VCG_METHODS)}."
        )
    # The matrices hold I and II only; the other limb leads are sums of these.
    eight = VCG_METHODS[method]
    limb = np.array([_LIMB_FROM_I_II[lead] for lead in LIMB_LEADS]) @ eight[:2]
    return np.vstack([limb, eight[2:]])


def limb_lead_sources(names: Collection[str]) -> tuple[str, str] | None:
    """The two measured limb leads from which the others are best computed.

    Any two limb leads determine the other four.

    Parameters
    ----------
    names : collection of str
        The leads that were measured.

    Returns
    -------
    (str, str) or None
        I and II if both are there, else the first pair in the order I, II, III, aVF, aVL, aVR.
        None with fewer than two limb leads.
    """
    # The augmented leads come last: they are smaller, and so noisier once scaled up again.
    order = ("I", "II", "III", "aVF", "aVL", "aVR")
    present = [lead for lead in order if lead in names]
    return next(itertools.combinations(present, 2), None)


def limb_weights(sources: tuple[str, str]) -> dict[str, tuple[float, float]]:
    """Weights of the two source leads in each of the six limb leads.

    With sources I and II these are Einthoven's and Goldberger's equations: III = II - I,
    aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.

    Parameters
    ----------
    sources : (str, str)
        From `limb_lead_sources`.

    Returns
    -------
    dict of lead to (float, float)
        The lead is the first weight times the first source plus the second times the second.
    """
    # sources = basis (I, II), so any limb lead is its row times the inverse.
    basis = np.array([_LIMB_FROM_I_II[lead] for lead in sources])
    inverse = np.linalg.inv(basis)
    weights = {}
    for lead, row in _LIMB_FROM_I_II.items():
        first, second = np.array(row) @ inverse
        weights[lead] = (float(first), float(second))
    return weights
