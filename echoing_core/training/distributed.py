"""Several processes as one: a joined batch whose loss and gradients are those of one process.

Every process encodes its share of a batch; the embeddings are gathered with their gradient, so
that each sees the whole matrix of pairs; batch statistics and dropout are those of the joined
batch; and gradients are averaged. Started by ``torchrun``, which sets what `joined` reads.

How such a run ends: all meet once more through the launcher's store before any of them closes its
connections, since a process that leaves while another still listens takes that one down. Where one
fails, it alone says why (`speaks_for_all`), and the others follow it.
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from echoing_core.errors import ConfigError, LostProcessError
from echoing_core.models.devices import chosen_device, compute_in_full

logger = logging.getLogger(__name__)

COLLECTIVE_S = 600.0
"""Seconds after which a gather of a step is given up: processes are that far apart at most."""

WAIT_S = 3600.0
"""Seconds for what one process does while the others wait: validation, a state on disk."""

_STORE_S = 60.0
"""Of the last meeting, to which all come from a barrier."""

_CONNECT_S = 10.0

_GO_ON = "The same command with --resume goes on from the newest saved state."


@dataclass(frozen=True)
class World:
    """Which process of how many this one is.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
    device : torch.device
    waiting : process group, optional
        What `wait_for_all` waits by: over the processor, with a time-out of its own.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    waiting: Any = field(default=None, compare=False, repr=False)

    @property
    def is_first(self) -> bool:
        """True for the process that logs, validates and saves."""
        return self.rank == 0


@contextmanager
def joined() -> Iterator[World]:
    """The world that ``torchrun`` made, or this process alone; on GPUs where there are any.

    ``ECHOING_DEVICE`` names another device (`models.devices`); of several processes each takes the
    GPU of its own number.

    All processes leave together: whoever comes to the end of the block waits for the others.

    Yields
    ------
    World

    Raises
    ------
    ConfigError
        The device that is named is not here.
    LostProcessError
        Another process ended within the block, or the launcher told this one to stop.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = chosen_device()
    with_gpu = device.type == "cuda"
    if with_gpu:
        if size > 1 or device.index is None:
            device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        compute_in_full(device)
    if size == 1:
        yield World(device=device)
        return
    # gloo works without a GPU.
    distributed.init_process_group(
        "nccl" if with_gpu else "gloo", timeout=timedelta(seconds=COLLECTIVE_S)
    )
    waiting = distributed.new_group(backend="gloo", timeout=timedelta(seconds=WAIT_S))
    world = World(distributed.get_rank(), size, device, waiting)
    before = signal.signal(signal.SIGTERM, _told_to_stop)
    try:
        yield world
        wait_for_all(world)
        _meet_for_the_last_time(world)
    except BaseException:
        # First of all, before the others see a closed connection: they would tell of that.
        speaks_for_all()
        # NCCL would wait for the others here; its connections end with the process.
        if not with_gpu:
            distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()
    signal.signal(signal.SIGTERM, before)


def speaks_for_all() -> bool:
    """Whether this process is the one that says why a run of several processes ends.

    The first that asks is, and stays it. Without a launcher's store to ask, everyone is: told
    twice is better than not at all. A process that has asked no longer heeds SIGTERM, by which the
    launcher would end it in the middle of its sentence.

    Returns
    -------
    bool
        True for a process that is alone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return True
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    rank = os.environ.get("RANK", "0")
    try:
        # A connection of its own: this is also asked before a group is made and after its end.
        store = cast(Any, distributed).TCPStore(
            os.environ["MASTER_ADDR"],
            int(os.environ["MASTER_PORT"]),
            is_master=False,
            wait_for_workers=False,
            timeout=timedelta(seconds=_CONNECT_S),
        )
        # A launcher that starts all anew keeps its store.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        teller: bytes = store.compare_set(f"echoing/{attempt}/teller", "", rank)
    except (KeyError, ValueError, RuntimeError):
        return True
    return teller.decode() == rank


def end_with(sentence: str, code: int) -> NoReturn:
    """End this process of several, with a sentence on stderr where no other says one.

    Parameters
    ----------
    sentence : str
    code : int
    """
    if speaks_for_all():
        sys.stderr.write(f"{sentence}\n")
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # What still waits for another process would wait for it at a usual exit, too.
    os._exit(code)


def _told_to_stop(*_: object) -> None:
    # Once: what follows must not be cut short by a second.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise LostProcessError(
        f"Training was told to stop, most often because another of its processes ended. {_GO_ON}"
    )


def _meet_for_the_last_time(world: World) -> None:
    """Return when nobody uses the group any longer.

    Not by the group itself: whoever is through its barrier first would close connections on which
    the others still wait for the barrier's last message, and they would fail.
    """
    # Typed only in part, hence Any.
    c10d: Any = importlib.import_module("torch.distributed.distributed_c10d")
    store = c10d._get_default_store()
    for key in ("echoing/done", "echoing/left"):
        # Counted over all meetings of this store, so that a second one waits, too.
        due = -(-store.add(key, 1) // world.size) * world.size
        # Without a launcher's store the first process holds it, and goes last.
        if key == "echoing/done" or world.is_first:
            _until(partial(_has_reached, store, key, due), _STORE_S, world)


def _has_reached(store: Any, key: str, due: int) -> bool:
    # Adding nothing is how a counter is read.
    return bool(store.add(key, 0) >= due)


def _until(happened: Callable[[], bool], limit_s: float, world: World) -> None:
    """Look again and again, so that a signal is heeded meanwhile."""
    deadline = time.monotonic() + limit_s
    while not happened():
        if time.monotonic() > deadline:
            raise LostProcessError(
                f"Process {world.rank} of {world.size} waited {limit_s / 60:.0f} minutes for the "
                f"others, and stopped. {_GO_ON}"
            )
        time.sleep(0.01)


def _together(call: Callable[..., Any], *args: Any) -> Any:
    """Do what takes all processes, and say it plainly where one of them is gone."""
    try:
        return call(*args)
    except RuntimeError as error:
        # Which connection it was, for whoever asks with --verbose.
        logger.info("%s", error)
        raise LostProcessError(
            "Training stopped, because another of its processes ended before the run was done. "
            f"{_GO_ON}"
        ) from error


class _Gathered(torch.autograd.Function):
    """Rows of all processes; what all of them send back of this one's rows is its gradient."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, world: World) -> Tensor:
        ctx.own = slice(world.rank * len(share), (world.rank + 1) * len(share))
        parts = [torch.empty_like(share) for _ in range(world.size)]
        _together(distributed.all_gather, parts, share)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        _together(distributed.all_reduce, total)
        return total[ctx.own], None


class _Summed(torch.autograd.Function):
    """Sum over all processes, in which each has the part that it brought."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        _together(distributed.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        _together(distributed.all_reduce, total)
        return total


def gathered(share: Tensor, n: int, world: World) -> Tensor:
    """The ``n`` rows of a joined batch in their order; the gradient finds its way back.

    Parameters
    ----------
    share : Tensor, shape (m, dim)
        The rows of `share_of`; any below them are left out.
    n : int
    world : World

    Returns
    -------
    Tensor, shape (n, dim)
    """
    if world.size == 1:
        return share
    shares = [_share(n, rank, world.size) for rank in range(world.size)]
    sizes = [rows.stop - rows.start for rows in shares]
    own = share[: sizes[world.rank]]
    # Equal shares for the way; zeros below, which are left out again.
    padded = functional.pad(own, (0, 0, 0, max(sizes) - len(own))).contiguous()
    rows: Tensor = cast(Any, _Gathered).apply(padded, world)
    starts = range(0, len(rows), max(sizes))
    return torch.cat([rows[at : at + size] for at, size in zip(starts, sizes, strict=True)])


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
    _together(distributed.all_reduce, used)
    for parameter, n_users in zip(parameters, used.tolist(), strict=True):
        if not n_users:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        _together(distributed.all_reduce, parameter.grad)
        parameter.grad /= world.size


def wait_for_all(world: World) -> None:
    """Return when every process has come here.

    Parameters
    ----------
    world : World

    Raises
    ------
    LostProcessError
        One of them is gone, or has not come within `WAIT_S` seconds.
    """
    if world.size == 1:
        return
    work: Any = _together(_nothing_of_all, world.waiting)
    _until(work.is_completed, WAIT_S, world)
    # Raises what went wrong, where something did.
    _together(work.wait)


def _nothing_of_all(group: Any) -> Any:
    # Not `barrier`, which on GPUs is one of the device's and cannot be looked at.
    return distributed.all_reduce(torch.zeros(1), group=group, async_op=True)


@contextmanager
def one_of_each_machine_first(world: World) -> Iterator[None]:
    """Let one process of every machine do what is in the block, and the others after it.

    For what is kept on disk: the others find it there.

    Parameters
    ----------
    world : World
    """
    goes_first = os.environ.get("LOCAL_RANK", "0") == "0"
    if not goes_first:
        wait_for_all(world)
    yield
    if goes_first:
        wait_for_all(world)


def check_same(text: str, world: World) -> None:
    """Refuse a run whose processes would not do the same.

    Parameters
    ----------
    text : str
        Settings, data and saved steps, in words.
    world : World

    Raises
    ------
    ConfigError
    """
    if world.size == 1:
        return
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
    all_of_them = [torch.zeros(1, dtype=torch.int64) for _ in range(world.size)]
    mine = torch.tensor([digest], dtype=torch.int64)
    _together(distributed.all_gather, all_of_them, mine, world.waiting)
    if len({int(one) for one in all_of_them}) > 1:
        raise ConfigError(
            "The processes of this run do not all see the same settings, data or saved steps. "
            "Give each machine the same prepared data, and --run a folder that all of them share."
        )


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
        axes = [axis for axis in range(x.ndim) if axis != 1]
        # To broadcast one number a channel over batch and time.
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = x.new_full((1,), x.numel() / x.shape[1])
        # One message for sums and count; shares may differ in size.
        sums = torch.cat([x.sum(axes), count])
        total: Tensor = cast(Any, _Summed).apply(sums)
        n = total[-1]
        mean = total[:-1] / n
        # A second sum rather than the mean square less the squared mean, which cancels.
        centred = x - mean.view(shape)
        squares: Tensor = cast(Any, _Summed).apply(centred.square().sum(axes))
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


class _JoinedDropout(TorchFunctionMode):
    """Dropout as one process with the joined batch would draw it, of which each takes its rows.

    The generator stands alike in all processes, and each draws for all rows.
    """

    def __init__(self, n: int, world: World) -> None:
        super().__init__()
        self._n, self._own = n, encoded_share_of(n, world)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.dropout:
            return self._dropout(*args, **kwargs)
        if func is functional.scaled_dot_product_attention and kwargs.get("dropout_p", 0.0) > 0:
            return self._attention(*args, **kwargs)
        if func is functional.gumbel_softmax:
            return self._choice(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0.0:
            return x
        # As torch draws it on a processor: one number for each element of the whole batch.
        kept = x.new_empty((self._n, *x.shape[1:])).bernoulli_(1.0 - p)[self._own]
        return x * (kept / (1.0 - p))

    def _choice(self, logits: Tensor, tau: float = 1.0, hard: bool = False, **_: Any) -> Tensor:
        # As torch draws it, for the whole batch.
        noise = -logits.new_empty((self._n, *logits.shape[1:])).exponential_().log()
        soft = ((logits + noise[self._own]) / tau).softmax(-1)
        if not hard:
            return soft
        chosen = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
        return chosen - soft.detach() + soft

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        scale: float | None = None,
        **_: Any,
    ) -> Tensor:
        # Written out, since torch's own draws within; only BERTs come here, which are not causal.
        logits = (query @ key.transpose(-2, -1)) * (scale or query.shape[-1] ** -0.5)
        if attn_mask is not None and attn_mask.dtype == torch.bool:
            logits = logits.masked_fill(~attn_mask, -torch.inf)
        elif attn_mask is not None:
            logits = logits + attn_mask
        return self._dropout(torch.softmax(logits, dim=-1), dropout_p) @ value


@contextmanager
def joined_dropout(n: int, world: World) -> Iterator[None]:
    """Let dropout of ``n`` joined rows be drawn as in one process while the context lasts.

    Every process must stand at the same place of the same random stream. What is computed a second
    time in the backward pass would draw outside of the context, so it must not be used there.

    Parameters
    ----------
    n : int
        Rows of the joined batch, of which this process has those of `share_of`.
    world : World
    """
    if world.size == 1:
        yield
        return
    with _JoinedDropout(n, world):
        yield


def share_of(n: int, world: World) -> slice:
    """The rows of ``n`` that this process takes: as many as every other, or one more.

    Parameters
    ----------
    n : int
    world : World

    Returns
    -------
    slice
        Empty where there are fewer rows than processes.
    """
    return _share(n, world.rank, world.size)


def encoded_share_of(n: int, world: World) -> slice:
    """`share_of`, or one row that does not count, where that is empty.

    So all processes draw equally many random numbers and take part in every parameter's gradient.

    Parameters
    ----------
    n : int
    world : World

    Returns
    -------
    slice
    """
    own = share_of(n, world)
    return own if own.stop > own.start else slice(0, 1)


def _share(n: int, rank: int, size: int) -> slice:
    each, more = divmod(n, size)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))
