"""Which device is meant, and when a GPU is not even asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from echoing_core.errors import ConfigError
from echoing_core.models.devices import chosen_device, device_for, device_of, placed


def gpus(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    monkeypatch.delenv("ECHOING_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n)


def test_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    assert chosen_device().type == chosen_device("auto").type == "cpu"
    gpus(monkeypatch, 1)
    assert chosen_device().type == "cuda"
    monkeypatch.setenv("ECHOING_DEVICE", "cpu")
    assert chosen_device().type == "cpu" and chosen_device("cuda").type == "cuda"


@pytest.mark.parametrize(
    ("name", "n", "said"),
    [
        ("cuda", 0, "PyTorch sees no GPU that it can use"),
        ("cuda:2", 2, "sees 2 of them, from cuda:0 to cuda:1"),
        ("gpu", 1, "There is no device 'gpu'"),
        ("cuda:", 1, "There is no device 'cuda:'"),
        ("cuda:-1", 1, "There is no device"),
        ("cpu:3", 1, "There is no device"),
        ("auto:1", 1, "There is no device"),
    ],
)
def test_a_device_that_is_not_here(
    name: str, n: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(monkeypatch, n)
    with pytest.raises(ConfigError, match=said):
        chosen_device(name)
    # Named for everything, it is missed by little work, too.
    monkeypatch.setenv("ECHOING_DEVICE", name)
    with pytest.raises(ConfigError, match=said):
        device_for(1, enough=100)


def test_little_work_asks_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 1)
    assert device_for(100, enough=100).type == "cuda"
    assert chosen_device("CUDA:0") == torch.device("cuda:0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("it was asked for"))
    assert device_for(99, enough=100).type == "cpu"
    monkeypatch.setenv("ECHOING_DEVICE", "auto")
    assert device_for(99, enough=100).type == "cpu"


def test_what_is_there_is_not_copied() -> None:
    network = nn.Linear(2, 2)
    assert placed(network, torch.device("cpu")) is network
    moved = placed(network, torch.device("meta"))
    assert device_of(moved).type == "meta" and device_of(network).type == "cpu"
    assert device_of(nn.Identity()).type == "cpu"
