"""The objectives against slow, direct versions in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from echoing_core.config import LossConfig
from echoing_core.errors import ConfigError
from echoing_core.losses import LOSS_NAMES, MatchingLoss, displacement_nll
from echoing_core.losses.matching import information_bottleneck, pseudo_positives


def _batch(n: int = 6, m: int = 5, dim: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mu_a = torch.nn.functional.normalize(torch.randn(n, dim, generator=generator), dim=-1)
    mu_b = torch.nn.functional.normalize(torch.randn(m, dim, generator=generator), dim=-1)
    log_var_a = torch.randn(n, dim, generator=generator) - 3
    log_var_b = torch.randn(m, dim, generator=generator) - 3
    match = torch.zeros(n, m, dtype=torch.bool)
    match[torch.arange(n), torch.arange(n) % m] = True
    return mu_a, log_var_a, mu_b, log_var_b, match


def _direct_csd(mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor) -> Tensor:
    """d_ij by its definition, one dimension at a time."""
    n, m, dim = len(mu_a), len(mu_b), mu_a.shape[1]
    distance = torch.zeros(n, m, dtype=torch.float64)
    for i in range(n):
        for j in range(m):
            for d in range(dim):
                difference = float(mu_a[i, d]) - float(mu_b[j, d])
                distance[i, j] += difference**2
                distance[i, j] += math.exp(float(log_var_a[i, d])) + math.exp(
                    float(log_var_b[j, d])
                )
    return distance


def _bce(logit: float, target: float) -> float:
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0.0) - logit * target


def test_pcmepp_equals_the_direct_form() -> None:
    batch = _batch()
    config = LossConfig("pcmepp", scale_init=2.0, shift_init=3.0)
    loss = MatchingLoss(config)(*batch)
    distance, match = _direct_csd(*batch[:4]), batch[4]
    n, m = match.shape
    logit = [[-2.0 * float(distance[i, j]) + 3.0 for j in range(m)] for i in range(n)]
    matching = sum(_bce(logit[i][j], float(match[i, j])) for i in range(n) for j in range(m))
    rows = columns = 0.0
    for i in range(n):
        own = min(logit[i][j] for j in range(m) if match[i, j])
        for j in range(m):
            rows += _bce(logit[i][j], float(match[i, j] or logit[i][j] >= own))
    for j in range(m):
        own = min(logit[i][j] for i in range(n) if match[i, j])
        for i in range(n):
            columns += _bce(logit[i][j], float(match[i, j] or logit[i][j] >= own))
    kl = sum(
        -0.5 * float((1 + v - u.square() - v.exp()).double().mean())
        for u, v in ((batch[0], batch[1]), (batch[2], batch[3]))
    )
    expected = 2 * matching / (n * m) + 0.1 * (rows + columns) / (n * m) + 1e-4 * kl
    assert loss.total.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["csd_infonce", "infonce"])
def test_softmax_losses_equal_the_direct_form(name: str) -> None:
    mu_a, log_var_a, mu_b, log_var_b, match = _batch()
    loss = MatchingLoss(LossConfig(name, scale_init=4.0))(mu_a, log_var_a, mu_b, log_var_b, match)
    if name == "infonce":
        logits = 4.0 * (mu_a @ mu_b.T).double()
    else:
        logits = -4.0 * _direct_csd(mu_a, log_var_a, mu_b, log_var_b)
    n, m = match.shape
    forward = backward = 0.0
    for i in range(n):
        log_norm = math.log(sum(math.exp(float(logits[i, j])) for j in range(m)))
        own = [j for j in range(m) if match[i, j]]
        forward -= sum(float(logits[i, j]) - log_norm for j in own) / len(own)
    for j in range(m):
        log_norm = math.log(sum(math.exp(float(logits[i, j])) for i in range(n)))
        own = [i for i in range(n) if match[i, j]]
        backward -= sum(float(logits[i, j]) - log_norm for i in own) / len(own)
    assert loss.total.item() == pytest.approx(0.5 * (forward / n + backward / m), rel=1e-5)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_a_step_along_the_gradient_brings_matches_nearer(name: str) -> None:
    mu_a, log_var_a, mu_b, log_var_b, match = _batch()
    mu_a = mu_a.clone().requires_grad_(True)
    loss = MatchingLoss(LossConfig(name, scale_init=4.0, shift_init=4.0))
    loss(mu_a, log_var_a, mu_b, log_var_b, match).total.backward()
    assert mu_a.grad is not None
    nearer = torch.nn.functional.normalize((mu_a - 0.05 * mu_a.grad / mu_a.grad.norm()), dim=-1)
    before = (mu_a @ mu_b.T)[match].mean()
    assert (nearer @ mu_b.T)[match].mean() > before


def test_pseudo_positives_always_hold_the_row_s_own_match() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 1.0, 2.0]])
    match = torch.tensor([[True, False, False], [False, False, True]])
    # Row 0: its own logit is 1, and 2 is at least that. Row 1: its own is 2, and 3 is.
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert torch.equal(pseudo_positives(logits, match), expected)


def test_bottleneck_of_a_standard_normal_is_zero() -> None:
    zero = torch.zeros(2, 5)
    assert float(information_bottleneck(zero, zero)) == 0.0


def test_displacement_is_least_likely_wrong_at_the_true_variance() -> None:
    """For a squared displacement of 0.04 the best log-variance is log 0.04 (+ the floor)."""
    seen, clean = torch.full((1, 1), 0.2), torch.zeros(1, 1)
    best = math.log(0.04 + 1e-6)

    def nll(log_var: float) -> float:
        return float(displacement_nll(seen, clean, torch.full((1, 1), log_var)))

    assert nll(best) < nll(best + 0.1)
    assert nll(best) < nll(best - 0.1)


def test_displacement_gives_no_gradient_to_the_means() -> None:
    seen = torch.ones(1, 2, requires_grad=True)
    log_var = torch.zeros(1, 2, requires_grad=True)
    displacement_nll(seen, torch.zeros(1, 2), log_var).backward()
    assert seen.grad is None
    assert log_var.grad is not None


def test_unknown_loss_is_named() -> None:
    with pytest.raises(ConfigError, match="tripletish"):
        MatchingLoss(LossConfig("tripletish"))
