"""ECHO-CLIP's zero-shot readings of a video: similarities in, numbers out.

A video is at most 20 frames; a similarity is the cosine between a frame's embedding and a text's.
Nothing here knows a model.

References
----------
Christensen et al., Nat Med 30 (2024) 1481, and its code's ``prompts_used.json``: regression and
binary prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

EF_TEMPLATES = (
    "THE LEFT VENTRICULAR EJECTION FRACTION IS ESTIMATED TO BE <#>% ",
    "LV EJECTION FRACTION IS <#>%. ",
)
"""ECHO-CLIP's own two, trailing spaces included."""

EF_VALUES_PCT = tuple(range(101))

BINARY_PROMPTS: Mapping[str, tuple[str, ...]] = {
    "lvef_lt40": (
        "THE LEFT VENTRICULAR EJECTION FRACTION IS SEVERELY REDUCED. ",
        "LEFT VENTRICULAR SYSTOLIC FUNCTION IS SEVERELY REDUCED. ",
        "THERE IS SEVERE GLOBAL HYPOKINESIS OF THE LEFT VENTRICLE. ",
    ),
    "slvh": (
        "THERE IS SEVERE CONCENTRIC LEFT VENTRICULAR HYPERTROPHY. ",
        "LEFT VENTRICULAR WALL THICKNESS IS SEVERELY INCREASED. ",
    ),
    "dlv": (
        "THE LEFT VENTRICLE IS DILATED. ",
        "LEFT VENTRICULAR CAVITY SIZE IS INCREASED. ",
    ),
}
"""Prompts of ours in the same style; the keys are those of the simulated truth."""

_TOP_SHARE = 0.2


def filled(
    templates: Sequence[str] = EF_TEMPLATES, values: Sequence[int] = EF_VALUES_PCT
) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
    """Every template with every value in the place of ``<#>``, and the value of each text.

    Returns
    -------
    tuple of str, ndarray of shape (n_templates * n_values,)
    """
    texts = tuple(t.replace("<#>", str(value)) for t in templates for value in values)
    return texts, np.tile(np.asarray(values, dtype=np.float64), len(templates))


def regression_reading(similarity: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Read a number off the candidates that the frames of one video are most similar to.

    Each frame sorts the candidates by similarity and writes down their values. The value of a
    rank is the mean over frames of what stands there; the answer is the median over the first
    20 % of the ranks (rounded down, at least one).

    Parameters
    ----------
    similarity : array-like, shape (n_frames, n_candidates)
    values : array-like, shape (n_candidates,)
        What each candidate says, in the unit of the answer.

    Returns
    -------
    float
        Equal similarities keep the candidates' order.
    """
    scores, said = _frames_by_texts(similarity), np.asarray(values, dtype=np.float64)
    if said.shape != (scores.shape[1],):
        raise ValueError(f"{said.shape} values do not fit {scores.shape[1]} candidates")
    order = np.argsort(-scores, axis=1, kind="stable")
    by_rank = said[order].mean(axis=0)
    n_top = max(int(_TOP_SHARE * said.size), 1)
    return float(np.median(by_rank[:n_top]))


def binary_reading(similarity: npt.ArrayLike) -> float:
    """Mean cosine over the frames of one video and all prompts of a finding.

    The number is not calibrated: it orders videos, and a threshold has to come from others.

    Parameters
    ----------
    similarity : array-like, shape (n_frames, n_prompts)
    """
    return float(_frames_by_texts(similarity).mean())


def _frames_by_texts(similarity: npt.ArrayLike) -> npt.NDArray[np.float64]:
    scores = np.asarray(similarity, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ValueError(f"similarity must be finite, frames by texts, not of {scores.shape}")
    return scores
