"""Calibrated probabilities against a general optimiser, Bayes' rule and simulated truth."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.records import AnswerWorth, GaussianEmbedding
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.zeroshot.answering import AskedWindow, answer
from echoing_core.zeroshot.calibration import (
    INTERCEPT_STD,
    SLOPE_MEAN,
    SLOPE_STD,
    CalibratedQuestion,
    Calibration,
    LeadSetCalibration,
    PlattMap,
    QuestionCalibration,
    calibrated,
    fit_platt,
    shifted,
    texts_digest,
    wording_std,
    wrong_limit,
)
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

WORTH = AnswerWorth(
    n=200, n_positive=40, auroc=0.9, auroc_low=0.85, auroc_high=0.94, yes_n=20, yes_right=18,
    no_n=120, no_right=115,
)  # fmt: skip
PROMPTS = PromptSet("it", "Is it so", ("it is", "it is indeed"), ("it is not", "it never is"))


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Margins, and a truth of which the logit is 1.6 x - 1 in their deviations."""
    x = rng.normal(size=n)
    return 0.1 + 0.05 * x, (rng.random(n) < expit(1.6 * x - 1.0)).astype(float)


def fitted(**changes: float) -> LeadSetCalibration:
    """A map of slope 2 and intercept 0 that was fitted on 100 ECGs, half of them with it."""
    numbers = {
        "centre": 0.0, "scale": 0.1, "typical_var": 0.0, "slope": 2.0, "intercept": 0.0,
        "slope_var": 0.04, "intercept_var": 0.09, "covariance": 0.01,
    } | changes  # fmt: skip
    return LeadSetCalibration("12", PlattMap(**numbers), 100, 50, 0.2, True, WORTH)


def embedded(margin: float, var: float = 1e-8) -> GaussianEmbedding:
    """An ECG whose margin along (1, -1) is this: (a, b) of length 1 with a - b = margin."""
    angle = np.pi / 4 - np.arcsin(margin / np.sqrt(2))
    mu = np.array([[np.cos(angle), np.sin(angle)]], dtype=np.float32)
    return GaussianEmbedding(mu, np.full_like(mu, np.log(var)))


def asked(
    margin: float,
    fitting: LeadSetCalibration | None = None,
    *,
    negated: bool = False,
    window: AskedWindow | None = None,
    prevalence: float | None = None,
    spread: float = 0.0,
    var: float = 1e-8,
):
    """The answer to `PROMPTS` whose two texts a side lie ``spread`` apart."""
    sides = [
        GaussianEmbedding(
            np.array([[a + spread, b], [a - spread, b]], dtype=np.float32),
            np.full((2, 2), -20.0, dtype=np.float32),
        )
        for a, b in ((1.0, 0.0), (0.0, 1.0))
    ]
    texts = [PROMPTS.positive, PROMPTS.negative]
    if negated:
        sides, texts = sides[::-1], texts[::-1]
    question = QuestionCalibration("it", "Is it so", "y", "n", 0.5, (fitting or fitted(),))
    return answer(
        embedded(margin, var),
        *sides,
        question="Is it so",
        positive_prompts=texts[0],
        negative_prompts=texts[1],
        logit_scale=20.0,
        calibration=CalibratedQuestion(question, negated, {}),
        window=window or AskedWindow("12", 50.0, 1.0),
        prevalence=prevalence,
    )


def test_the_map_is_the_mode_that_a_general_optimiser_finds() -> None:
    margin, truth = drawn(np.random.default_rng(1), 120)
    platt = fit_platt(margin, np.full(120, 0.01), truth)
    x = (margin - margin.mean()) / margin.std()

    def loss(w: Floats) -> float:
        z = w[0] + w[1] * x
        likelihood = truth * log_expit(z) + (1 - truth) * log_expit(-z)
        prior = ((w[0] - logit(truth.mean())) / INTERCEPT_STD) ** 2
        return float(-likelihood.sum() + 0.5 * (prior + ((w[1] - SLOPE_MEAN) / SLOPE_STD) ** 2))

    best = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert (platt.intercept, platt.slope) == pytest.approx(tuple(best.x), abs=1e-5)
    # Laplace: the inverse of the curvature, here by differences of the loss itself.
    step, hessian = 1e-3, np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = np.eye(2)[i] * step, np.eye(2)[j] * step
            at = best.x
            hessian[i, j] = (
                loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)
            ) / (4 * step**2)
    inverse = np.linalg.inv(hessian)
    assert platt.slope_var == pytest.approx(inverse[1, 1], rel=1e-3)
    assert platt.intercept_var == pytest.approx(inverse[0, 0], rel=1e-3)
    assert platt.covariance == pytest.approx(inverse[0, 1], rel=1e-3)


def test_intervals_cover_the_true_probability() -> None:
    # 150 fits to 170 ECGs each: the true logit at a margin is known, since it was chosen.
    rng = np.random.default_rng(0)
    at = 0.1 + 0.05 * np.array([-1.0, 0.0, 1.0])
    true = expit(1.6 * np.array([-1.0, 0.0, 1.0]) - 1.0)
    inside = []
    for _ in range(150):
        margin, truth = drawn(rng, 170)
        platt = fit_platt(margin, np.zeros(170), truth)
        one = LeadSetCalibration("12", platt, 170, int(truth.sum()), 0.5, True)
        said = calibrated(one, at, np.zeros(3), np.zeros(3), base_rate=truth.mean())
        inside.append((said.low <= true) & (true <= said.high))
    # 450 draws of three dependent points: 0.90, give or take three standard errors of 150.
    assert 0.83 <= np.mean(inside) <= 0.97


def test_few_positives_keep_the_slope_near_its_prior() -> None:
    margin, truth = drawn(np.random.default_rng(3), 150)
    rare = np.zeros(150)
    rare[np.argsort(margin)[-3:]] = 1
    # Separated: without a prior the slope would grow without end.
    platt = fit_platt(margin, np.zeros(150), rare)
    assert 1.0 < platt.slope < SLOPE_MEAN + 3 * SLOPE_STD
    assert platt.slope_var > fit_platt(margin, np.zeros(150), truth).slope_var
    with pytest.raises(ValueError, match="with and without"):
        fit_platt(margin, np.zeros(150), np.zeros(150))


def test_another_prevalence_is_bayes_rule_by_hand() -> None:
    # 100 fitted ECGs, half with it; likelihood ratio of P = 0.8 is 4. With 2 % who have it:
    # odds 0.02 / 0.98 * 4 = 0.081633, P = 0.075472.
    assert expit(shifted(logit(0.8), 0.5, 0.02)) == pytest.approx(0.0754717, abs=1e-6)
    margin = 0.1 * logit(0.8) / 2.0
    plain, shifted_one = asked(margin), asked(margin, prevalence=0.02)
    assert plain.probability == pytest.approx(0.8, abs=1e-4)
    assert shifted_one.probability == pytest.approx(0.075472, abs=1e-4)
    assert shifted_one.base_rate == 0.02 and shifted_one.prevalence_given
    # Of a denial it is the share without the finding.
    denied = asked(margin, negated=True, prevalence=0.98)
    assert denied.probability == pytest.approx(1 - 0.075472, abs=1e-4)
    for wrong in (0.0, 1.0, 5.0, float("nan")):
        with pytest.raises(ConfigError, match="not possible"):
            asked(margin, prevalence=wrong)


@pytest.mark.parametrize("margin", [-0.5, -0.11, 0.0, 0.03, 0.2, 0.6])
def test_an_interval_holds_its_probability_and_a_denial_is_the_complement(margin: float) -> None:
    one = asked(margin, spread=0.05, var=1e-3)
    assert one.interval[0] < one.probability < one.interval[1]
    assert one.p_wrong == pytest.approx(min(one.probability, 1 - one.probability))
    denied = asked(margin, spread=0.05, var=1e-3, negated=True)
    assert denied.probability == pytest.approx(1 - one.probability, abs=1e-9)
    assert denied.interval == pytest.approx((1 - one.interval[1], 1 - one.interval[0]), abs=1e-9)
    assert {one.verdict, denied.verdict} in ({"yes", "no"}, {"not sure enough"})
    assert denied.worth is not None and denied.worth.yes_n == WORTH.no_n
    assert denied.worth.n_positive == WORTH.n - WORTH.n_positive
    assert denied.base_rate == pytest.approx(0.5) and denied.negated


def test_sigma2_above_its_usual_size_draws_towards_the_base_rate() -> None:
    # Twice the variance of the margins in all: half the distance from the mean is left.
    sure = calibrated(fitted(), [0.1], [0.0], [0.0], base_rate=0.5)
    vague = calibrated(fitted(), [0.1], [0.1], [0.0], base_rate=0.5)
    assert logit(sure.probability[0]) == pytest.approx(2.0)
    assert logit(vague.probability[0]) == pytest.approx(1.0)
    assert vague.high[0] - vague.low[0] > sure.high[0] - sure.low[0]
    # Where it was usual when the map was fitted, the map knows it already.
    usual = calibrated(fitted(typical_var=0.01), [0.1], [0.1], [0.0], base_rate=0.5)
    assert logit(usual.probability[0]) == pytest.approx(2.0)


def test_the_variances_of_the_interval_add_up() -> None:
    said = calibrated(fitted(), [0.1], [0.05], [0.02], base_rate=0.5)
    x = 0.01 / (0.01 + 0.0025)
    variance = 0.09 + 2 * 0.01 * x + 0.04 * x**2
    variance += (20 * 0.02) ** 2 + 20**2 * 0.0025 * 0.01 / (0.01 + 0.0025)
    assert logit(said.high[0]) - logit(said.probability[0]) == pytest.approx(
        1.6448536 * np.sqrt(variance)
    )


def test_answers_are_withheld_and_say_why() -> None:
    sure = asked(0.3)
    assert sure.verdict == "yes" and sure.reasons == () and sure.p_wrong < 0.2
    assert asked(-0.3).verdict == "no"
    unsure = asked(0.02)
    assert unsure.verdict == "not sure enough"
    assert "would be wrong in 40 of 100" in unsure.reasons[-1]
    (unlike,) = asked(0.3, window=AskedWindow("12", 99.0, 1.0)).reasons
    assert "too unsure here (percentile 99" in unlike
    (empty,) = asked(0.3, window=AskedWindow("12", 50.0, 0.3)).reasons
    assert empty == "only 30 % of the window holds signal"
    useless = LeadSetCalibration("12", fitted().map, 100, 50, 0.2, beats_base_rate=False)
    assert "no better than telling everybody the base rate" in asked(0.3, useless).reasons[0]
    # P(wrong) of 17 % would pass, but other texts would have answered otherwise.
    flips = asked(0.08, spread=0.4)
    assert flips.verdict == "not sure enough" and "flips with the wording" in flips.reasons[0]


def test_the_spread_of_texts_is_the_standard_error_of_their_mean() -> None:
    mu = np.array([[0.6, 0.8]])
    yes = GaussianEmbedding(
        np.array([[1.0, 0.2], [1.0, -0.2], [1.0, 0.0]], dtype=np.float32),
        np.zeros((3, 2), dtype=np.float32),
    )
    no = GaussianEmbedding(np.array([[0.0, 1.0]], dtype=np.float32), np.zeros((1, 2), np.float32))
    # Products with the three texts: 0.76, 0.44, 0.60; their variance is 0.0256, over three texts.
    assert wording_std(mu, yes, no, None) == pytest.approx([np.sqrt(0.0256 / 3)], rel=1e-5)
    # An ECG like all others is told apart by no text.
    assert wording_std(mu, yes, no, mu[0]) == pytest.approx([0.0])


def test_at_most_the_promised_share_of_mistakes_is_given() -> None:
    p = np.random.default_rng(2).beta(0.5, 1.5, size=400)
    limit = wrong_limit(p, 0.4)
    wrong = np.minimum(p, 1 - p)
    given = wrong[wrong <= limit].sum() / wrong.sum()
    assert 0.38 < given <= 0.4
    assert wrong_limit(np.array([0.5]), 0.4) == 0.0


def test_a_lead_set_is_asked_by_its_own_map_or_by_the_largest_within() -> None:
    sets = tuple(
        LeadSetCalibration(key, fitted().map, 100, 50, 0.2, True)
        for key in ("12", "limb", "II+V5", "II", "XYZ:dower")
    )
    question = QuestionCalibration("it", "Is it so", "y", "n", 0.5, sets)

    def key_for(leads: str | None) -> str | None:
        found = question.fitting(leads)
        return None if found is None else found.leads

    assert key_for(None) == "12" and key_for("II+V5") == "II+V5"
    assert key_for(LeadSet(("II", "V1", "V5")).key) == "II+V5"
    assert key_for("II+V3") == "II" and key_for("limb+V2") == "limb"
    assert key_for("XYZ:kors_gls") == "XYZ:dower"
    # Nothing that was measured lies within it.
    assert key_for("V4") is None


def test_a_calibration_comes_back_from_json_and_knows_its_texts() -> None:
    question = QuestionCalibration(
        "it", "Is it so", texts_digest(PROMPTS.positive), texts_digest(PROMPTS.negative), 0.2,
        (fitted(),),
    )  # fmt: skip
    made = Calibration("abc", "ECGs", "others", (question,), {"12": np.array([0.25, -0.5])})
    document = json.loads(json.dumps(made.to_dict()))
    again = Calibration.from_dict(document, "abc")
    assert again.questions == made.questions
    assert again.centres["12"].tolist() == [0.25, -0.5]
    found = again.of(PromptSet("x", "X", (" It  is indeed", "it is"), PROMPTS.negative))
    assert found is not None and not found.negated
    denied = again.of(PromptSet("no_it", "No", PROMPTS.negative, PROMPTS.positive))
    assert denied is not None and denied.negated
    # One word more is another question, which nobody measured.
    assert again.of(PromptSet("x", "X", (*PROMPTS.positive, "so it is"), PROMPTS.negative)) is None
    with pytest.raises(CheckpointError, match="not made with this model"):
        Calibration.from_dict(document, "def")
    document["questions"][0]["lead_sets"][0]["map"]["slope"] = "steep"
    with pytest.raises(CheckpointError, match="slope must be float"):
        Calibration.from_dict(document, "abc")
