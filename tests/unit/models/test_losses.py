"""The objectives against slow, direct versions in float64."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from echoing_core.errors import ConfigError
from echoing_core.metrics.distances import csd
from echoing_core.models.config import LossConfig
from echoing_core.models.losses import (
    LOSS_NAMES,
    MatchingLoss,
    displacement_nll,
    information_bottleneck,
    lost_share,
    match_weights,
    pseudo_positives,
    sum_nll,
)


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


def test_the_first_match_may_set_the_threshold() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    match = torch.tensor([[True, True, False, False]])
    weakest = pseudo_positives(logits, match)
    first = pseudo_positives(logits, match, "first")
    assert weakest.tolist() == [[1.0, 1.0, 1.0, 0.0]]
    # 2 lies below the first match's 3; the second match stays one all the same.
    assert first.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert pseudo_positives(logits, nothing, "first").sum() == 0
    with pytest.raises(ConfigError, match="weakest, first"):
        MatchingLoss(LossConfig(pseudo_positive_above="last"))


def test_matches_of_a_row_may_weigh_as_one() -> None:
    match = torch.tensor([[True, True, False], [True, False, False]])
    # Row counts 2 and 1, column counts 2, 1 and 0.
    assert match_weights(match).tolist() == [[0.5, 0.75, 1.0], [0.75, 1.0, 1.0]]
    batch = _batch()
    distance = _direct_csd(*batch[:4])
    weight = match_weights(batch[4])
    pairs = [
        float(weight[i, j]) * _bce(-2.0 * float(distance[i, j]) + 3.0, float(batch[4][i, j]))
        for i in range(6)
        for j in range(5)
    ]
    config = LossConfig("pcmepp", 2.0, 3.0, pseudo_positive_weight=0.0, vib_weight=0.0)
    by_row = MatchingLoss(dataclasses.replace(config, match_weight="row"))(*batch)
    assert by_row.total.item() == pytest.approx(2.0 * sum(pairs) / len(pairs), rel=1e-5)
    # With one match a row and column, as released, nothing changes.
    single = (*(part[:5] for part in batch[:4]), torch.eye(5, dtype=torch.bool))
    by_pair, by_row = (
        MatchingLoss(dataclasses.replace(config, match_weight=how))(*single).total
        for how in ("pair", "row")
    )
    assert by_pair.item() == by_row.item()
    with pytest.raises(ConfigError, match="pair, row"):
        MatchingLoss(LossConfig(match_weight="column"))


def test_bottleneck_of_a_standard_normal_is_zero() -> None:
    zero = torch.zeros(2, 5)
    assert float(information_bottleneck(zero, zero)) == 0.0


def test_displacement_is_least_likely_wrong_at_the_true_variance() -> None:
    """For a squared displacement of 0.04 the best log-variance is log 0.04 (+ the floor)."""
    squared = torch.full((1, 1), 0.04)
    best = math.log(0.04 + 1e-6)

    def nll(log_var: float) -> float:
        return float(displacement_nll(squared, torch.full((1, 1), log_var)))

    assert nll(best) < nll(best + 0.1)
    assert nll(best) < nll(best - 0.1)


def test_the_sum_is_likeliest_where_it_is_true() -> None:
    """However the variances spread, sum_nll is least where they add up to what moved."""
    squared = torch.tensor([[0.3, 0.1, 0.0, 0.0]])
    uneven = torch.tensor([[0.01, 0.09, 0.1, 0.2]])
    best = float(sum_nll(squared, torch.log(uneven)))
    assert best == pytest.approx(1.0 + math.log(0.4), abs=1e-4)
    assert best < float(sum_nll(squared, torch.log(1.1 * uneven)))
    assert best < float(sum_nll(squared, torch.log(0.9 * uneven)))


def test_displacement_gives_no_gradient_to_the_means() -> None:
    seen = torch.ones(1, 2, requires_grad=True)
    log_var = torch.zeros(1, 2, requires_grad=True)
    displacement_nll(seen.square(), log_var).backward()
    assert seen.grad is None
    assert log_var.grad is not None


def _window() -> tuple[torch.Tensor, torch.Tensor]:
    t = torch.arange(1000) / 100
    return torch.sin(2 * math.pi * t).expand(1, 12, 1000).clone(), torch.ones(1, 12, 1000)


def test_nothing_is_lost_in_an_unchanged_window() -> None:
    assert float(lost_share(_window(), _window(), 20).abs().max()) == 0.0


def test_lost_share_by_hand() -> None:
    """Noise of a tenth of the lead's power (10 dB) is half lost, in its lead and time alone."""
    clean = _window()
    view = clean[0].clone()
    size = math.sqrt(0.1 * 0.5)
    view[0, 6, 400:600] += size * (-1.0) ** torch.arange(200)
    lost = lost_share(clean, (view, clean[1]), 20)
    assert lost.shape == (1, 12, 50)
    assert lost[0, 6, 22:28] == pytest.approx(0.5, abs=1e-4)
    assert float(lost[0, 6, :17].max()) == 0.0
    assert float(lost[0, :6].max()) == 0.0


def test_a_flat_lead_is_lost_between_its_beats_too() -> None:
    signal, valid = torch.zeros(1, 12, 1000), torch.ones(1, 12, 1000)
    signal[:, :, ::80] = 4.0
    view = signal.clone()
    view[0, 2] = 0.0
    lost = lost_share((signal, valid), (view, valid), 20)
    assert float(lost[0, 2].min()) > 0.8
    assert float(lost[0, 3].max()) == 0.0


def test_what_the_view_hides_is_lost_and_what_never_was_is_not() -> None:
    signal, valid = _window()
    valid[0, 1] = 0.0
    hidden = valid.clone()
    hidden[0, 4, :500] = 0.0
    lost = lost_share((signal * valid, valid), (signal * hidden, hidden), 20)
    assert torch.equal(lost[0, 4, :25], torch.ones(25))
    assert float(lost[0, 4, 25:].max()) == 0.0
    assert float(lost[0, 1].max()) == 0.0


def test_unknown_loss_is_named() -> None:
    with pytest.raises(ConfigError, match="tripletish"):
        MatchingLoss(LossConfig("tripletish"))


# The same three losses in float64, value and gradient, against a form without Gram matrix,
# without log-sum-exp tricks and without any code of ours.


def _direct_loss(
    name: str, mu_a: Tensor, v_a: Tensor, mu_b: Tensor, v_b: Tensor, match: Tensor
) -> Tensor:
    distance = (mu_a[:, None] - mu_b[None]).square().sum(-1)
    distance = distance + (v_a.exp()[:, None] + v_b.exp()[None]).sum(-1)
    target = match.double()
    if name == "pcmepp":
        p = torch.sigmoid(-2.0 * distance + 3.0)

        def bce(p: Tensor, y: Tensor) -> Tensor:
            return -(y * p.log() + (1 - y) * (1 - p).log()).sum() / y.numel()

        rows, columns = target.clone(), target.clone()
        for i in range(len(mu_a)):
            weakest = p[i][match[i]].min()
            rows[i][p[i] >= weakest] = 1
        for j in range(len(mu_b)):
            weakest = p[:, j][match[:, j]].min()
            columns[:, j][p[:, j] >= weakest] = 1
        kl = sum(
            (0.5 * (v.exp() + mu * mu - 1 - v)).sum() / v.numel()
            for mu, v in ((mu_a, v_a), (mu_b, v_b))
        )
        return 2 * bce(p, target) + 0.1 * (bce(p, rows) + bce(p, columns)) + 1e-4 * kl
    logits = 2.0 * mu_a @ mu_b.T if name == "infonce" else -2.0 * distance
    by_row = logits.exp() / logits.exp().sum(1, keepdim=True)
    by_column = logits.exp() / logits.exp().sum(0, keepdim=True)
    forward = -(target * by_row.log()).sum(1) / target.sum(1)
    backward = -(target * by_column.log()).sum(0) / target.sum(0)
    return 0.5 * (forward.mean() + backward.mean())


@pytest.mark.parametrize("name", LOSS_NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradient_equal_a_direct_float64_form(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, m, dim = 9, 7, 16
    mu_a = torch.nn.functional.normalize(torch.randn(n, dim, generator=generator).double(), dim=-1)
    mu_b = torch.nn.functional.normalize(torch.randn(m, dim, generator=generator).double(), dim=-1)
    v_a = torch.randn(n, dim, generator=generator).double() - 4
    v_b = torch.randn(m, dim, generator=generator).double() - 4
    match = torch.rand(n, m, generator=generator) < 0.2
    match[torch.arange(n), torch.arange(n) % m] = True
    gradients, values = [], []
    for ours in (True, False):
        leaves = [x.clone().requires_grad_(True) for x in (mu_a, v_a, mu_b, v_b)]
        if ours:
            loss = MatchingLoss(LossConfig(name, scale_init=2.0, shift_init=3.0)).double()
            value = loss(*leaves, match).total
        else:
            value = _direct_loss(name, *leaves, match)
        value.backward()
        values.append(value.item())
        gradients.append([x.grad if x.grad is not None else torch.zeros_like(x) for x in leaves])
    assert values[0] == pytest.approx(values[1], abs=1e-9, rel=0)
    for a, b in zip(*gradients, strict=True):
        assert (a - b).abs().max() < 1e-9


def test_the_softmax_over_a_row_does_not_see_the_anchors_variance() -> None:
    mu_a, v_a, mu_b, v_b, _ = _batch()
    first = torch.softmax(-csd(mu_a, v_a, mu_b, v_b), dim=1)
    wider = torch.softmax(-csd(mu_a, v_a + 2.0, mu_b, v_b), dim=1)
    assert torch.allclose(first, wider, atol=1e-6)


def test_an_exploded_bottleneck_can_be_left_out_as_released() -> None:
    mu, v = torch.zeros(2, 3), torch.full((2, 3), 12.0)
    assert information_bottleneck(mu, v) > 1e4
    assert information_bottleneck(mu, v, drop_above=1e4) == 0.0
