"""What an ECG encoder costs: its parameters, and the work and time that one window takes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from echoing_core.datasets.study_set import StudySet
from echoing_core.evaluate.protocols.data import batch_of
from echoing_core.models.encoders import EcgEncoder
from echoing_core.signals.scaling import LeadScaler

WINDOWS = 16
REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """What an ECG encoder costs.

    Attributes
    ----------
    parameters : int
        Numbers that training may change.
    gflop : float
        Billions of floating point operations for a window of 10 s, of its matrix products and
        convolutions; a multiplication and an addition are two.
    ms : float
        Milliseconds of processor time a window on this machine, in a batch of `WINDOWS`; the best
        of `REPEATS`. Other processes change it little; with several threads it is the sum of
        theirs.
    threads : int
        That torch computed with.
    """

    parameters: int
    gflop: float
    ms: float
    threads: int


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what torch knows of the work of its own operations.

    `torch.utils.flop_counter.FlopCounterMode` does so, too, and fails on layers whose weights are
    computed (weight norm), since it follows modules.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket not in flop_registry:
            # Without gradients an operation made of others arrives here whole.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **kwargs, out_val=out)
        return out


def cost_of(encoder: EcgEncoder, scaler: LeadScaler, studies: StudySet) -> Cost:
    """Count and time an encoder on some windows.

    Parameters
    ----------
    encoder : EcgEncoder
        In evaluation mode.
    scaler : LeadScaler
    studies : StudySet
        Its first windows are taken.

    Returns
    -------
    Cost
    """
    n = min(WINDOWS, len(studies))
    batch = batch_of(scaler, studies, slice(0, n))
    flop = flop_of(encoder, *(part[:1] for part in batch))
    seconds = []
    with torch.inference_mode():
        for _ in range(REPEATS):
            began = time.process_time()
            encoder(*batch)
            seconds.append(time.process_time() - began)
    return Cost(
        parameters_of(encoder),
        flop / 1e9,
        # The best, not the mean: whatever else the machine does only ever adds.
        1e3 * float(np.min(seconds)) / n,
        torch.get_num_threads(),
    )


def flop_of(network: nn.Module, *inputs: Tensor) -> int:
    """Floating point operations of one pass, by the rule of `Cost.gflop`.

    Parameters
    ----------
    network : Module
        In evaluation mode; it may be without values, on torch's device ``meta``.
    *inputs : Tensor
        What it is called with.

    Returns
    -------
    int
    """
    counter = _Counter()
    with torch.inference_mode(), counter:
        network(*inputs)
    return counter.total


def parameters_of(encoder: EcgEncoder) -> int:
    """How many numbers training may change.

    Parameters
    ----------
    encoder : EcgEncoder

    Returns
    -------
    int
        Without OTiS's table of places in time, which is stored among its weights and never learnt.
    """
    return sum(
        p.numel() for name, p in encoder.named_parameters() if not name.endswith("pos_embed_x")
    )
