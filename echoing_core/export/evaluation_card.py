"""The card of an evaluation: its figures as metadata that catalogues read, and in words below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echoing_core.metrics.model_index import model_index
from echoing_core.metrics.results import Experiment
from echoing_core.models.hub_card import front_matter
from echoing_core.version import DISCLAIMER, __version__

_NOT_SAID = "not stated in the data's card"


def evaluation_card(
    experiment: Experiment,
    models: Mapping[str, str],
    *,
    data: Mapping[str, Any] | None = None,
    data_name: str = "",
) -> str:
    """Write the card.

    Parameters
    ----------
    experiment : Experiment
    models : mapping of str to str
        Name of each model in the figures, to its hash.
    data : mapping, optional
        Card of the prepared set that was measured on; None where there is none.
    data_name : str
        Of the data; empty where patients were simulated for it.

    Returns
    -------
    str
        YAML between lines of ``---`` with a ``model-index``, then Markdown.

    References
    ----------
    Hugging Face, hub-docs, modelcard.md.
    """
    of = [result.simulated for result in experiment.results]
    simulated = bool(data["simulated"]) if data is not None else not data_name
    # The figures belong to whoever measured; a licence is told of the data alone.
    licence = str((data or {}).get("licence", "simulated here" if simulated else _NOT_SAID))
    told: dict[str, Any] = {
        "tags": ["evaluation", "ecg", "research-only"],
        "evaluated_with": f"echoing-core {__version__}",
        "models": [{"name": name, "model_hash": found} for name, found in models.items()],
        "data": {
            "name": data_name or "simulated patients",
            "simulated": simulated or any(of),
            "licence": licence,
        },
    }
    if data is not None:
        told["data"] |= {
            "source": str(data["source"]),
            "splits": {name: dict(split) for name, split in data["splits"].items()},
            # Which bytes: the same set prepared otherwise gives other figures.
            "sha256": dict(data["files"]),
        }
    told["model-index"] = model_index(experiment.results, list(models))
    caution = ""
    if simulated or (of and all(of)):
        caution = " Simulated ECGs: no real patient stands behind these figures."
    elif any(of):
        caution = " Some figures are of simulated ECGs, and say so."
    body = experiment.to_markdown()
    if not experiment.title:
        body = f"{experiment.method}\n\n{body}" if experiment.method else body
    return "\n".join(
        [
            "---",
            f"{front_matter(told)}---",
            "",
            "# Evaluation card",
            "",
            f"**{DISCLAIMER}**{caution}",
            "",
            *_about_data(data, data_name, licence),
            "Figures hold for ECGs like these, prepared in this way. They say nothing of other "
            "hospitals, devices or populations, and are no evidence of use in care.",
            "",
            body,
        ]
    )


def _about_data(data: Mapping[str, Any] | None, name: str, licence: str) -> list[str]:
    if data is None:
        by = f"{name}. Its licence is {licence}" if name else "patients simulated for it"
        return [f"Measured on {by}.", ""]
    counts = ", ".join(
        f"{split['studies']:,} ECGs of {split['patients']:,} patients in {which}"
        for which, split in data["splits"].items()
        if split["studies"]
    )
    return [f"Measured on {name} ({data['source']}): {counts}. Licence of the data: {licence}.", ""]
