"""Figures as the Hugging Face hub lists them in a card: its ``model-index``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from echoing_core.metrics.results import ALL, Result

_TYPES = {
    "AUROC": "roc_auc",
    "macro AUROC": "roc_auc",
    "balanced accuracy": "balanced_accuracy",
}
"""Names of the hub for metrics; others are called as they are here."""


def model_index(results: Sequence[Result], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every figure of some models with its interval, by data set and task.

    Parameters
    ----------
    results : sequence of Result
        Figures of other models and of parts of the data are left out, and those not defined.
    names : sequence of str
        Of the models.

    Returns
    -------
    list of dict
        One entry for each model that has figures; values as in the results, not in percent.

    References
    ----------
    Hugging Face, hub-docs, modelcard.md.
    """
    entries = []
    for name in names:
        places: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for r in results:
            if r.model == name and r.group == ALL and math.isfinite(r.estimate.value):
                places.setdefault((_data(r), r.task), []).append(_metric(r))
        listed = [
            {
                # The hub has no task of this kind; its own word for that is "other".
                "task": {"type": "other", "name": task},
                "dataset": {"type": _slug(data), "name": data, "split": "test"},
                "metrics": metrics,
            }
            for (data, task), metrics in places.items()
        ]
        if listed:
            entries.append({"name": name, "results": listed})
    return entries


def _data(result: Result) -> str:
    marked = result.simulated and "simulated" not in result.data.lower()
    return f"{result.data} (simulated)" if marked else result.data


def _metric(result: Result) -> dict[str, Any]:
    e = result.estimate
    told: dict[str, Any] = {"n": e.n_items, "n_patients": e.n_patients}
    if math.isfinite(e.low) and math.isfinite(e.high):
        told["interval"] = {"level": e.level, "low": e.low, "high": e.high}
    if result.gallery_size is not None:
        told["gallery"] = result.gallery_size
    return {
        "type": _TYPES.get(result.metric, _slug(result.metric)),
        "name": ", ".join(part for part in (result.protocol, result.metric) if part),
        "value": e.value,
        "args": told,
    }


def _slug(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
