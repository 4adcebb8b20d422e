"""``README.md`` of a model folder: its card, under the metadata that the Hugging Face hub reads.

It is made of the card and the training record whenever these are written, stands outside the
manifest, and is never read by a model: whoever publishes a model may rewrite it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from echoing_core.documents import DocumentError, parse_yaml
from echoing_core.models.config import ModelConfig

README = "README.md"

OUR_WEIGHTS = "- Weights: Apache-2.0."
"""The line by which a card puts its weights under this project's own licence."""

_LICENCES = {"ECG-FM": "mit", "MELP": "apache-2.0"}
"""Of imported systems, where one licence of the hub's list says all of it."""

_ECHOINGECG = "cc-by-nc-nd-4.0"


def hub_readme(
    name: str,
    card: str,
    training: Mapping[str, Any],
    config: ModelConfig,
    model_hash: str,
    index: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The card of a model as the hub takes it.

    Parameters
    ----------
    name : str
        Of the folder.
    card : str
        Markdown of ``card.md``.
    training : mapping
        The training record.
    config : ModelConfig
    model_hash : str
    index : sequence of mapping
        Of `metrics.model_index.model_index`; without figures there is none in the file.

    Returns
    -------
    str
        YAML between lines of ``---``, then the card.

    References
    ----------
    Hugging Face, hub-docs, modelcard.md.
    """
    data = {
        **licence_of(card, training),
        **({"language": ["en"]} if config.has_text else {}),
        "library_name": "echoing-core",
        "pipeline_tag": "feature-extraction",
        "tags": [
            "ecg",
            "electrocardiography",
            *(["text"] if config.has_text else []),
            *(["uncertainty"] if config.has_sigma2 else []),
            "research-only",
            "not-a-medical-device",
        ],
        "model_name": name,
        # Not of the hub's list: what tells this model from others of its name.
        "echoing": {
            "model_hash": model_hash,
            "architecture": config.architecture,
            "dim": config.dim,
            **{
                key: training[key]
                for key in ("ecg_parameters", "text_parameters", "simulated_ecgs", "real_ecgs")
                if isinstance(training.get(key), int)
            },
        },
        **({"model-index": [dict(entry) for entry in index]} if index else {}),
    }
    return f"---\n{front_matter(data)}---\n\n{card.strip() or f'# {name}'}\n"


def licence_of(card: str, training: Mapping[str, Any]) -> dict[str, str]:
    """The hub's fields for the licence of a model's weights, no wider than what is known.

    Parameters
    ----------
    card : str
    training : mapping
        The training record; that of imported weights names its system.

    Returns
    -------
    dict of str to str
        ``license``, and ``license_name`` where the hub's list has none.
    """
    if training.get("imported"):
        system = training.get("system")
        if system is None:
            return {"license": _ECHOINGECG}
        if system in _LICENCES:
            return {"license": _LICENCES[str(system)]}
        return {"license": "other", "license_name": "see-the-card"}
    if OUR_WEIGHTS in card:
        return {"license": "apache-2.0"}
    # Whoever trained it decides, as far as their data's licence lets them.
    return {"license": "other", "license_name": "not-chosen-yet"}


def trained_on(training: Mapping[str, Any]) -> str:
    """What a model has seen, in a few words.

    Parameters
    ----------
    training : mapping
        The training record.

    Returns
    -------
    str
        Without a full stop.
    """
    if training.get("imported"):
        system = str(training.get("system", ""))
        return f"published weights{system and f' of {system}'}, which name no data"
    parts = []
    if real := int(training.get("real_ecgs", 0)):
        source = training.get("real_source")
        parts.append(f"{real:,} real ECGs" + (f" of {source}" if source else ""))
    if simulated := int(training.get("simulated_ecgs", 0)):
        parts.append(f"{simulated:,} simulated ECGs")
    if echoes := int(training.get("echo_pairs", 0) or 0):
        parts.append(f"{echoes:,} pairs with an echo")
    return ", ".join(parts) or "nothing (random weights)"


def front_matter(data: Mapping[str, Any]) -> str:
    """Metadata as YAML, in its own order.

    Parameters
    ----------
    data : mapping

    Returns
    -------
    str
        With a line end.
    """
    return str(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=100))


def index_of(readme: str) -> list[dict[str, Any]]:
    """The figures that a card of the hub holds.

    Parameters
    ----------
    readme : str
        As `hub_readme` writes it, or as somebody changed it.

    Returns
    -------
    list of dict
        Empty where there are none, or where it is no such card any more.
    """
    parts = readme.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return []
    try:
        data = parse_yaml(parts[1])
    except DocumentError:
        return []
    index = data.get("model-index") if isinstance(data, dict) else None
    return [e for e in index if isinstance(e, dict)] if isinstance(index, list) else []
