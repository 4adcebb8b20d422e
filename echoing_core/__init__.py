"""EchoingECG: ECGs, reports and echocardiograms as Gaussians in one space.

Importing the package is cheap: no torch, no network, no folder made. The names below load
what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from echoing_core.version import __version__

if TYPE_CHECKING:
    from echoing_core.io import read_recording
    from echoing_core.services import ask, explain, load_index, load_model, search
    from echoing_core.services.features import EchoingFeatures
    from echoing_core.training.prepared_data import EchoingDataset

__all__ = [
    "EchoingDataset",
    "EchoingFeatures",
    "__version__",
    "ask",
    "explain",
    "load_index",
    "load_model",
    "read_recording",
    "search",
]

_HOME = {
    "read_recording": "echoing_core.io",
    "load_model": "echoing_core.services",
    "load_index": "echoing_core.services",
    "explain": "echoing_core.services",
    "ask": "echoing_core.services",
    "search": "echoing_core.services",
    # Their base classes come from scikit-learn and torch.
    "EchoingFeatures": "echoing_core.services.features",
    "EchoingDataset": "echoing_core.training.prepared_data",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
