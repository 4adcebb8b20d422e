"""Closed forms worked by hand, and one definition for NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echoing_core.metrics.distances import cosine, csd, wasserstein

LN2, LN4 = np.log(2.0), np.log(4.0)
MU_A = np.array([[1.0, 0.0]])
LOG_VAR_A = np.array([[0.0, 0.0]])  # sigma^2 = 1, 1
MU_B = np.array([[0.0, 1.0], [1.0, 0.0]])
LOG_VAR_B = np.array([[LN2, LN2], [LN4, LN4]])  # sigma^2 = 2, 2 and 4, 4


def random_gaussians(n: int, dim: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=(n, dim)), rng.normal(-3.0, 1.0, size=(n, dim))


def test_csd_by_hand():
    # b0: ||(1,0) - (0,1)||^2 = 2, plus 1 + 1 and 2 + 2: 8.  b1: 0 + 2 + (4 + 4) = 10.
    np.testing.assert_allclose(csd(MU_A, LOG_VAR_A, MU_B, LOG_VAR_B), [[8.0, 10.0]], rtol=1e-14)


def test_wasserstein_by_hand():
    # b0: 2 + 2 (1 - sqrt 2)^2 = 2 + 2 (3 - 2 sqrt 2) = 8 - 4 sqrt 2.  b1: 0 + 2 (1 - 2)^2 = 2.
    np.testing.assert_allclose(
        wasserstein(MU_A, LOG_VAR_A, MU_B, LOG_VAR_B), [[8.0 - 4.0 * np.sqrt(2.0), 2.0]], rtol=1e-14
    )


def test_cosine_by_hand_ignores_the_length_and_survives_zero():
    a = np.array([[3.0, 4.0], [0.0, 0.0]])
    b = np.array([[2.0, 0.0], [-6.0, -8.0]])
    # (3,4).(2,0) / (5 * 2) = 0.6; (3,4) and -2 (3,4) are opposite.
    np.testing.assert_allclose(cosine(a, b), [[0.6, -1.0], [0.0, 0.0]], atol=1e-15)


def test_gram_form_equals_the_direct_form():
    rng = np.random.default_rng(3)
    (mu_a, lv_a), (mu_b, lv_b) = random_gaussians(7, 16, rng), random_gaussians(5, 16, rng)
    squared = ((mu_a[:, None] - mu_b[None]) ** 2).sum(-1)
    direct = squared + (np.exp(lv_a)[:, None] + np.exp(lv_b)[None]).sum(-1)
    np.testing.assert_allclose(csd(mu_a, lv_a, mu_b, lv_b), direct, rtol=0, atol=1e-12)
    std = (np.exp(lv_a / 2)[:, None] - np.exp(lv_b / 2)[None]) ** 2
    np.testing.assert_allclose(
        wasserstein(mu_a, lv_a, mu_b, lv_b), squared + std.sum(-1), rtol=0, atol=1e-12
    )


def test_csd_is_the_expected_squared_distance_of_samples():
    rng = np.random.default_rng(4)
    (mu_a, lv_a), (mu_b, lv_b) = random_gaussians(1, 4, rng), random_gaussians(1, 4, rng)
    za = mu_a + np.exp(lv_a / 2) * rng.normal(size=(200_000, 4))
    zb = mu_b + np.exp(lv_b / 2) * rng.normal(size=(200_000, 4))
    sampled = ((za - zb) ** 2).sum(-1)
    standard_error = sampled.std() / np.sqrt(len(sampled))
    assert abs(sampled.mean() - csd(mu_a, lv_a, mu_b, lv_b)[0, 0]) < 4 * standard_error


def test_torch_and_numpy_agree_to_the_last_digits():
    rng = np.random.default_rng(5)
    arrays = [*random_gaussians(6, 32, rng), *random_gaussians(4, 32, rng)]
    tensors = [torch.from_numpy(a) for a in arrays]
    for distance in (csd, wasserstein):
        np.testing.assert_allclose(distance(*tensors).numpy(), distance(*arrays), atol=1e-12)
    np.testing.assert_allclose(
        cosine(tensors[0], tensors[2]).numpy(), cosine(arrays[0], arrays[2]), atol=1e-12
    )


def test_csd_passes_gradcheck():
    rng = np.random.default_rng(6)
    arrays = [*random_gaussians(3, 4, rng), *random_gaussians(2, 4, rng)]
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    assert torch.autograd.gradcheck(csd, tensors)
    assert torch.autograd.gradcheck(wasserstein, tensors)


def test_half_precision_is_raised_to_float32_and_keeps_its_gradient():
    mu = torch.tensor([[0.6, 0.8]], dtype=torch.float16, requires_grad=True)
    log_var = torch.full((1, 2), -7.0, dtype=torch.float16)
    other = torch.tensor([[0.0, 1.0]], dtype=torch.float16)
    distance = csd(mu, log_var, other, log_var)
    assert distance.dtype == torch.float32
    distance.sum().backward()
    # d ||mu - other||^2 / d mu = 2 (mu - other) = (1.2, -0.4)
    np.testing.assert_allclose(mu.grad.float().numpy(), [[1.2, -0.4]], atol=2e-3)
    assert csd(*(np.ones((1, 2), dtype=np.float16),) * 4).dtype == np.float32


def test_autocast_does_not_reach_the_gram_product():
    rng = np.random.default_rng(7)
    arrays = [a.astype(np.float32) for a in (*random_gaussians(4, 64, rng),) * 2]
    tensors = [torch.from_numpy(a) for a in arrays]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = csd(*tensors)
    assert under_autocast.dtype == torch.float32
    # bfloat16 has three digits; NumPy knows no autocast.
    np.testing.assert_allclose(under_autocast.numpy(), csd(*arrays), rtol=1e-5)


def test_foreign_types_and_shapes_are_programming_errors():
    with pytest.raises(TypeError, match="NumPy array or a torch tensor"):
        cosine(_Foreign(), _Foreign())
    with pytest.raises(ValueError, match="one dim"):
        cosine(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="differ"):
        csd(np.ones((2, 3)), np.ones((3, 3)), np.ones((2, 3)), np.ones((2, 3)))


class _Foreign:
    ndim = 2
    shape = (1, 1)
