"""Zero-shot answers against arithmetic, sampling and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, ndtr

from echoing_core.errors import ConfigError
from echoing_core.records import GaussianEmbedding
from echoing_core.zeroshot import closed_form


def gaussians(mu: list[list[float]], var: float = 0.01) -> GaussianEmbedding:
    array = np.asarray(mu, dtype=np.float32)
    return GaussianEmbedding(array, np.full_like(array, np.log(var)))


YES, NO = gaussians([[1.0, 0.0]]), gaussians([[0.0, 1.0]])
ECG = gaussians([[0.8, 0.6]], var=0.02)


def ask(ecg: GaussianEmbedding, scale: float = 10.0):
    return closed_form.answer(
        ecg,
        YES,
        NO,
        question="is it so",
        positive_prompts=["it is"],
        negative_prompts=["it is not"],
        logit_scale=scale,
        unknown_words=["glorp"],
    )


def test_answer_by_hand():
    # p - n = (1, -1); m = 0.8 - 0.6 = 0.2; s^2 = 0.02 + 0.02 = 0.04, s = 0.2.
    # probability: sigmoid(2 / sqrt(1 + pi 100 * 0.04 / 8)) = sigmoid(2 / 1.603370) = 0.776845
    # interval: sigmoid(10 (0.2 -+ 1.644854 * 0.2)) = sigmoid(-1.28971), sigmoid(5.28971)
    # P(margin > 0) = Phi(1) = 0.841345
    found = ask(ECG)
    assert found.margin == pytest.approx(0.2, abs=1e-7)
    assert found.margin_std == pytest.approx(0.2, abs=1e-7)
    assert found.probability == pytest.approx(0.776845, abs=1e-6)
    assert found.interval == pytest.approx((0.215902, 0.994982), abs=1e-6)
    assert found.p_margin_positive == pytest.approx(0.841345, abs=1e-6)
    assert found.verdict == "not sure enough"
    assert found.positive_prompts == ("it is",)
    assert found.unknown_words == ("glorp",)


def test_verdicts():
    assert ask(gaussians([[1.0, 0.0]], var=0.001)).verdict == "yes"
    assert ask(gaussians([[0.0, 1.0]], var=0.001)).verdict == "no"
    # The same direction with a wide Gaussian is no longer an answer.
    assert ask(gaussians([[1.0, 0.0]], var=1.0)).verdict == "not sure enough"


def test_prompts_of_a_side_are_averaged_and_renormalised():
    both = gaussians([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(
        closed_form.prototype(both), [np.sqrt(0.5), np.sqrt(0.5)], rtol=1e-12
    )


def test_sigmoid_and_normal_distribution_are_those_of_scipy():
    x = np.array([-800.0, -40.0, -3.0, -1e-9, 0.0, 0.5, 9.0, 800.0, np.inf, -np.inf])
    np.testing.assert_allclose(closed_form.sigmoid(x), expit(x), rtol=1e-14)
    np.testing.assert_allclose(
        closed_form.p_margin_positive(x, np.ones_like(x)), ndtr(x), rtol=1e-13
    )


def test_margin_moments_match_sampling():
    rng = np.random.default_rng(0)
    dim = 8
    ecg = GaussianEmbedding(
        rng.normal(size=(1, dim)).astype(np.float32),
        rng.normal(-2, 1, size=(1, dim)).astype(np.float32),
    )
    yes = gaussians(rng.normal(size=(3, dim)).tolist())
    no = gaussians(rng.normal(size=(2, dim)).tolist())
    mean, std = closed_form.margins(ecg, yes, no)
    z = ecg.mu + np.exp(ecg.log_var / 2) * rng.normal(size=(200_000, dim))
    sampled = z @ (closed_form.prototype(yes) - closed_form.prototype(no))
    assert mean[0] == pytest.approx(sampled.mean(), abs=4 * std[0] / np.sqrt(200_000))
    assert std[0] == pytest.approx(sampled.std(), rel=0.01)
    share = (sampled > 0).mean()
    assert closed_form.p_margin_positive(mean, std)[0] == pytest.approx(share, abs=0.005)
    low, high = closed_form.intervals(mean, std, logit_scale=3.0)[0]
    inside = (expit(3.0 * sampled) > low) & (expit(3.0 * sampled) < high)
    assert inside.mean() == pytest.approx(0.90, abs=0.005)


def test_probit_approximation_keeps_its_stated_error():
    # Only k m and k s matter, so k = 1 covers every scale. Quadrature on a fine grid of z.
    z = np.linspace(-9.0, 9.0, 20_001)
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    worst = 0.0
    for std in np.geomspace(0.05, 300.0, 30):
        margin = np.linspace(-5.0, 5.0, 41) * np.sqrt(1 + std**2)
        exact = expit(margin[:, None] + std * z) @ weight
        found = closed_form.probabilities(margin, np.full(41, std), logit_scale=1.0)
        worst = max(worst, float(np.abs(found - exact).max()))
    assert worst < closed_form.PROBIT_ERROR
    # The bound is not idle: the limit for wide Gaussians is |sigmoid(sqrt(8/pi) x) - Phi(x)|.
    x = np.linspace(-4.0, 4.0, 2001)
    assert worst == pytest.approx(np.abs(expit(np.sqrt(8 / np.pi) * x) - ndtr(x)).max(), abs=5e-4)


def test_exact_where_it_should_be():
    zero, spread = np.zeros(3), np.array([0.0, 0.1, 5.0])
    np.testing.assert_allclose(closed_form.probabilities(zero, spread, logit_scale=7.0), 0.5)
    m = np.array([-0.4, 0.1, 0.9])
    np.testing.assert_allclose(closed_form.probabilities(m, zero, logit_scale=7.0), expit(7.0 * m))
    np.testing.assert_allclose(closed_form.p_margin_positive(m, zero), [0.0, 1.0, 1.0])


def test_the_same_prompts_on_both_sides_decide_nothing():
    mean, std = closed_form.margins(ECG, YES, YES)
    assert closed_form.p_margin_positive(mean, std)[0] == 0.5
    low, high = closed_form.intervals(mean, std, logit_scale=10.0)[0]
    assert closed_form.verdict((float(low), float(high))) == "not sure enough"


def test_impossible_questions_are_refused():
    nothing = GaussianEmbedding(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))
    with pytest.raises(ConfigError, match="at least one prompt"):
        closed_form.margins(ECG, YES, nothing)
    with pytest.raises(ConfigError, match="cancel out"):
        closed_form.margins(ECG, gaussians([[1.0, 0.0], [-1.0, 0.0]]), NO)


def test_programming_errors():
    with pytest.raises(ValueError, match="one window"):
        ask(gaussians([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="do not fit"):
        closed_form.answer(
            ECG,
            YES,
            NO,
            question="q",
            positive_prompts=["a", "b"],
            negative_prompts=["c"],
            logit_scale=1.0,
        )
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="logit_scale"):
            ask(ECG, scale)
