"""Several processes as one: a joined batch whose loss and gradients are those of one process.

Every process encodes its share of a batch; the embeddings are gathered with their gradient, so
that each sees the whole matrix of pairs; batch statistics are those of the joined batch; and
gradients are averaged. Started by ``torchrun``, which sets what `joined` reads.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional


@dataclass(frozen=True)
class World:
    """Which process of how many this one is.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
    device : torch.device
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """True for the process that logs, validates and saves."""
        return self.rank == 0


@contextmanager
def joined() -> Iterator[World]:
    """The world that ``torchrun`` made, or this process alone; on GPUs where there are any.

    Yields
    ------
    World
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    with_gpu = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if with_gpu else torch.device("cpu")
    if with_gpu:
        torch.cuda.set_device(device)
    if size == 1:
        yield World(device=device)
        return
    # gloo works without a GPU.
    distributed.init_process_group("nccl" if with_gpu else "gloo")
    try:
        yield World(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


def gathered(share: Tensor, world: World) -> Tensor:
    """Rows of all processes in their order; the gradient finds its way back.

    Every process must bring equally many rows.

    Parameters
    ----------
    share : Tensor, shape (n, dim)
    world : World

    Returns
    -------
    Tensor, shape (n * world.size, dim)
    """
    if world.size == 1:
        return share
    # Typed only in part, hence Any.
    functions: Any = importlib.import_module("torch.distributed.nn.functional")
    return torch.cat(functions.all_gather(share.contiguous()))


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replace every gradient by its mean over the processes.

    Each process differentiates the loss of the whole batch, and `gathered` sums what all of them
    send back; the mean is therefore the gradient that one process would have computed.

    Parameters
    ----------
    parameters : iterable of Parameter
    world : World
    """
    if world.size == 1:
        return
    parameters = [parameter for parameter in parameters if parameter.requires_grad]
    # A parameter that no process used must stay without gradient, or weight decay would act on
    # it; one that some process used needs all of them to take part.
    used = torch.tensor([p.grad is not None for p in parameters], device=world.device).int()
    distributed.all_reduce(used)
    for parameter, n_users in zip(parameters, used.tolist(), strict=True):
        if not n_users:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)
        parameter.grad /= world.size


def wait_for_all(world: World) -> None:
    """Return when every process has come here.

    Parameters
    ----------
    world : World
    """
    if world.size > 1:
        distributed.barrier()


class JoinedBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm over the batches of all processes; torch's own works on GPUs only.

    The same parameters and buffers under the same names. A share may differ in size.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by the statistics of all processes in training, by the running ones otherwise.

        Parameters
        ----------
        x : Tensor, shape (n, n_channels, n_times) or (n, n_channels)
            This process's share.

        Returns
        -------
        Tensor, same shape
        """
        if not self.training:
            return super().forward(x)
        functions: Any = importlib.import_module("torch.distributed.nn.functional")
        axes = [axis for axis in range(x.ndim) if axis != 1]
        # To broadcast one number a channel over batch and time.
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.new_full((1,), x.numel() / x.shape[1])
        # One message for sums and count; shares may differ in size.
        sums = torch.cat([x.sum(axes), count])
        total: Tensor = functions.all_reduce(sums)
        n = total[-1]
        mean = total[:-1] / n
        # A second sum rather than the mean square less the squared mean, which cancels.
        centred = x - mean.view(shape)
        squares: Tensor = functions.all_reduce(centred.square().sum(axes))
        var = squares / n
        with torch.no_grad():
            # torch stores the unbiased variance, and normalises by the biased one.
            self._remember(mean, var * n / (n - 1))
        normed = centred * torch.rsqrt(var + self.eps).view(shape)
        return normed * self.weight.view(shape) + self.bias.view(shape)

    def _remember(self, mean: Tensor, unbiased: Tensor) -> None:
        buffers = cast(Any, self)
        buffers.num_batches_tracked.add_(1)
        buffers.running_mean.lerp_(mean, self.momentum or 0.1)
        buffers.running_var.lerp_(unbiased, self.momentum or 0.1)


@contextmanager
def joined_statistics(module: nn.Module, world: World) -> Iterator[None]:
    """Let every BatchNorm of ``module`` see the whole batch while the context lasts.

    Parameters
    ----------
    module : nn.Module
    world : World
    """
    if world.size == 1:
        yield
        return
    # Its class is exchanged, not the module: parameters and optimiser know the module.
    norms = [m for m in module.modules() if type(m) is nn.BatchNorm1d]
    for norm in norms:
        norm.__class__ = JoinedBatchNorm1d
    try:
        yield
    finally:
        for norm in norms:
            norm.__class__ = nn.BatchNorm1d


def share_of(n: int, world: World) -> slice:
    """The rows of ``n`` that this process takes; the last ones get fewer, or none.

    Parameters
    ----------
    n : int
    world : World

    Returns
    -------
    slice
    """
    # Rounded up.
    each = -(-n // world.size)
    return slice(min(world.rank * each, n), min((world.rank + 1) * each, n))


def padded(rows: Tensor, n: int) -> Tensor:
    """``rows`` with zeros below, up to ``n``: gathering wants equal shares.

    Parameters
    ----------
    rows : Tensor, shape (m, dim), m <= n
    n : int

    Returns
    -------
    Tensor, shape (n, dim)
    """
    return functional.pad(rows, (0, 0, 0, n - len(rows)))
