"""Make torchvision importable where its compiled operators are not.

PyPI's torchvision is linked against CUDA libraries. Beside a CPU build of torch they are absent,
its import fails for want of two operators that this project never calls, and transformers, which
looks for torchvision, fails with it. Declaring the operators' signatures is enough.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

_declared: list[Any] = []
"""Kept for the life of the process: a library that is collected takes its operators along."""


def declare_missing_operators() -> bool:
    """Declare ``torchvision::nms`` and ``qnms`` if nothing else can; True if it was done.

    Call it before the first import of torchvision, open_clip, timm or transformers. Without
    torchvision, or with a CUDA build of torch, whose torchvision brings the real ones, it does
    nothing.
    """
    if _declared or torch.version.cuda is not None or _has_no_torchvision():
        return False
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return True


def _has_no_torchvision() -> bool:
    return importlib.util.find_spec("torchvision") is None
