"""Where networks compute: on this machine's processor, or on a GPU.

What a GPU gives are the processor's numbers up to the rounding of float32, never of a narrower type
that nobody asked for. It is begun only for as much work as repays its start, unless it is asked for
by name.
"""

from __future__ import annotations

import copy
import os
from typing import TypeVar

import torch
from torch import nn

from echoing_core.errors import ConfigError

DEVICE_VARIABLE = "ECHOING_DEVICE"
"""Environment variable with a device for everything this process and its children compute."""

AUTO = "auto"

Network = TypeVar("Network", bound=nn.Module)

_CPU = torch.device("cpu")


def chosen_device(name: str | None = None) -> torch.device:
    """The device that a name means here.

    Parameters
    ----------
    name : str, optional
        ``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; by default
        what `DEVICE_VARIABLE` names, else ``"auto"``.

    Returns
    -------
    torch.device

    Raises
    ------
    ConfigError
        It is another word, or a GPU that is not here.
    """
    name = (name or os.environ.get(DEVICE_VARIABLE, "").strip() or AUTO).lower()
    kind, _, number = name.partition(":")
    if kind == AUTO and not number:
        return torch.device("cuda") if torch.cuda.is_available() else _CPU
    if kind == "cpu" and not number:
        return _CPU
    if kind != "cuda" or not (number.isdecimal() or not name.partition(":")[1]):
        raise ConfigError(f"There is no device {name!r}. Name auto, cpu, cuda or cuda:0.")
    n = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= n:
        has = "no GPU that it can use" if n == 0 else f"{n} of them, from cuda:0 to cuda:{n - 1}"
        raise ConfigError(f"The device {name} is not here: PyTorch sees {has}. Name cpu or auto.")
    return torch.device(name)


def device_for(n: int, *, enough: int, of: nn.Module | None = None) -> torch.device:
    """Where to do a piece of work.

    Parameters
    ----------
    n : int
        Its size.
    enough : int
        Size from which on it repays a GPU that was not asked for by name.
    of : Module, optional
        The network that does it; one that lies elsewhere than on the processor stays there.

    Returns
    -------
    torch.device

    Raises
    ------
    ConfigError
        As `chosen_device`.
    """
    if of is not None and device_of(of).type != "cpu":
        return device_of(of)
    by_itself = os.environ.get(DEVICE_VARIABLE, "").strip().lower() in ("", AUTO)
    # Small work does not even ask whether there is a GPU, which takes a while where there is one.
    return _CPU if by_itself and n < enough else chosen_device()


def device_of(network: nn.Module) -> torch.device:
    """Where a network lies.

    Parameters
    ----------
    network : Module

    Returns
    -------
    torch.device
        The processor for one without weights.
    """
    first = next(network.parameters(), None)
    return _CPU if first is None else first.device


def compute_in_full(device: torch.device) -> None:
    """Let float32 be float32 on a GPU; PyTorch's convolutions there take TF32 by themselves.

    Parameters
    ----------
    device : torch.device
        A processor needs nothing.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def placed(network: Network, device: torch.device) -> Network:
    """A network as it is needed on a device: itself where it lies there, else a copy.

    Parameters
    ----------
    network : Module
    device : torch.device

    Returns
    -------
    Module
        Of the weights of this moment.
    """
    compute_in_full(device)
    if device_of(network) == device:
        return network
    return copy.deepcopy(network).to(device)
