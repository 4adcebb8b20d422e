"""Metrics worked by hand; the arithmetic stands beside each."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from echoing_core.metrics import scores as metrics
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap, patient_bootstrap_all
from echoing_core.metrics.distances import cosine, csd
from echoing_core.metrics.results import Result, results_table, to_records
from echoing_core.records import GaussianEmbedding
from tests.ranks import pair_ranks, same_text_ranks

# Four queries and four gallery items; query i belongs to item i.
DISTANCES = np.array(
    [
        [0.1, 0.5, 0.9, 0.4],  # own item nearest: rank 1
        [0.2, 0.3, 0.9, 0.1],  # 0.1 and 0.2 are nearer: rank 3
        [0.5, 0.5, 0.5, 0.9],  # a tie of three with its own item: rank 3
        [0.1, 0.2, 0.3, 0.4],  # last: rank 4
    ]
)


def test_pair_ranks_and_recall():
    ranks = pair_ranks(DISTANCES)
    assert ranks.tolist() == [1, 3, 3, 4]
    assert metrics.recall_at_k(ranks, 1) == 0.25
    assert metrics.recall_at_k(ranks, 3) == 0.75
    assert metrics.recall_at_k(ranks, 100) == 1.0


def test_same_text_ranks():
    # a: items 0, 2; b: item 1; c: item 3. Five queries over the same four items:
    #   "a" 0.1 at item 0: rank 1.   "b" 0.3, items 3 and 0 nearer: rank 3.
    #   "a" 0.5 tied with item 1 (b): rank 2.   "a" item 0 at 0.1: rank 1, though its own is last.
    #   "z" is nowhere: n_gallery + 1 = 5.
    distances = np.vstack([DISTANCES, DISTANCES[:1]])
    ranks = same_text_ranks(distances, ["a", "b", "a", "a", "z"], ["a", "b", "a", "c"])
    assert ranks.tolist() == [1, 3, 2, 1, 5]
    assert metrics.recall_at_k(ranks, 4) == 0.8


def test_ranks_in_pieces_are_those_of_the_whole_matrix(monkeypatch):
    """Twelve queries in pieces of five, by both orders and both kinds of hit."""
    monkeypatch.setattr(metrics, "_QUERIES_AT_ONCE", 5)
    rng = np.random.default_rng(5)
    text, ecg = (
        GaussianEmbedding(
            rng.normal(size=(12, 4)).astype(np.float32),
            rng.normal(-1, 1, size=(12, 4)).astype(np.float32),
        )
        for _ in range(2)
    )
    reports = [f"report {i % 4}" for i in range(12)]
    for order, distances in (
        (metrics.CSD, csd(text.mu, text.log_var, ecg.mu, ecg.log_var)),
        (metrics.COSINE, 1.0 - cosine(text.mu, ecg.mu)),
    ):
        exact = metrics.text_to_ecg_ranks(text, ecg, reports, order=order)
        np.testing.assert_array_equal(exact, pair_ranks(distances))
        same = metrics.text_to_ecg_ranks(text, ecg, reports, order=order, hit=metrics.SAME_TEXT)
        np.testing.assert_array_equal(same, same_text_ranks(distances, reports, reports))
    with pytest.raises(ValueError, match="no ranking"):
        metrics.text_to_ecg_ranks(text, ecg, reports, order="euclid")


def test_auroc_with_a_tie():
    # Positives 0.8, 0.5; negatives 0.5, 0.2, 0.9. Pairs won: 0.8 beats 0.5 and 0.2 (2),
    # 0.5 beats 0.2 (1) and ties 0.5 (1/2): 3.5 of 6.
    labels, scores = [1, 1, 0, 0, 0], [0.8, 0.5, 0.5, 0.2, 0.9]
    assert metrics.auroc(labels, scores) == pytest.approx(3.5 / 6)
    assert metrics.auroc(labels, [1, 1, 1, 1, 1]) == 0.5
    assert math.isnan(metrics.auroc([1, 1], [0.1, 0.2]))


def test_auroc_of_resampled_rows_is_that_of_the_rows():
    rng = np.random.default_rng(3)
    # Few different scores, so that most are tied, and some truths that are not known.
    scores = rng.integers(0, 6, size=(40, 5)).astype(float)
    labels = rng.integers(0, 2, size=(40, 5)).astype(float)
    labels[rng.random((40, 5)) < 0.2] = np.nan
    labels[:, 4] = 1.0
    resampled = metrics.ResampledAuroc(labels, scores)
    for _ in range(20):
        rows = rng.integers(0, 40, size=40)
        for column, found in enumerate(resampled(rows)):
            known = rows[np.isfinite(labels[rows, column])]
            one_by_one = metrics.auroc(labels[known, column] > 0.5, scores[known, column])
            assert found == pytest.approx(one_by_one, nan_ok=True)
    assert np.isnan(resampled(rows)[4])
    with pytest.raises(ValueError, match="finite scores"):
        metrics.ResampledAuroc(labels, labels)


def test_average_precision_with_a_tie():
    # Thresholds 0.9 (0 of 1), 0.8 (1 of 2), 0.5 (2 of 4): recall steps 0, 1/2, 1/2 with
    # precisions 0, 1/2, 1/2.
    labels, scores = [1, 1, 0, 0, 0], [0.8, 0.5, 0.5, 0.2, 0.9]
    assert metrics.average_precision(labels, scores) == pytest.approx(0.5)
    assert math.isnan(metrics.average_precision([0, 0], [0.1, 0.2]))


def test_macro_auroc_does_not_drop_an_undefined_class():
    labels = np.array([[1, 0], [0, 1], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.1, 0.4], [0.2, 0.6]])
    # Class 0: 1.0. Class 1: 0.4 beats 0.1, loses to 0.6: 0.5.
    assert metrics.macro_auroc(labels, scores) == pytest.approx(0.75)
    assert math.isnan(metrics.macro_auroc(labels * [1, 0], scores))


def test_balanced_accuracy():
    # "yes" 1 of 2, "no" 3 of 4: (0.5 + 0.75) / 2.
    truth = ["yes", "yes", "no", "no", "no", "no"]
    predicted = ["yes", "no", "no", "no", "no", "yes"]
    assert metrics.balanced_accuracy(truth, predicted) == pytest.approx(0.625)
    assert metrics.balanced_accuracy(truth, ["no"] * 6) == 0.5
    assert math.isnan(metrics.balanced_accuracy(["no"], ["no"]))


def test_expected_calibration_error():
    # Two bins. 0.2, 0.4 (one yes of two): |0.6 - 1| = 0.4 summed. 0.9, 1.0 (both yes): 0.1.
    # (0.4 + 0.1) / 4 = 0.125.
    found = metrics.expected_calibration_error([0, 1, 1, 1], [0.2, 0.4, 0.9, 1.0], n_bins=2)
    assert found == pytest.approx(0.125)
    # Bins of three and one: 0.1, 0.2, 0.3 without a yes, gap 0.2; 0.9 with one, gap 0.1. Weighted
    # by their items (3 * 0.2 + 1 * 0.1) / 4 = 0.175; the plain mean of the gaps would be 0.15.
    unequal = metrics.expected_calibration_error([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9], n_bins=2)
    assert unequal == pytest.approx(0.175)
    # Empty bins do not count: of five, 0.2..0.4 holds two (0.3, one yes), 0.6..0.8 one (0.7, no)
    # and the last three (0.9, two yes): (2 * 0.2 + 1 * 0.7 + 3 * (0.9 - 2 / 3)) / 6 = 0.3.
    gaps = metrics.expected_calibration_error(
        [1, 0, 0, 1, 1, 0], [0.3, 0.3, 0.7, 0.9, 0.9, 0.9], n_bins=5
    )
    assert gaps == pytest.approx(0.3)
    with pytest.raises(ValueError, match="between 0 and 1"):
        metrics.expected_calibration_error([0, 1], [0.5, 1.5])


def test_risk_coverage_and_its_area():
    # Order of acceptance: u = 1 (error 0), u = 2 twice (errors 1 and 0: 1/2 each), u = 3 (1).
    # Risks: 0, (0.5)/2, (1.0)/3, (2.0)/4; area = (0 + 1/4 + 1/3 + 1/2) / 4 = 13/48.
    coverage, risk = metrics.risk_coverage([2.0, 1.0, 3.0, 2.0], [1, 0, 1, 0])
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1.0])
    np.testing.assert_allclose(risk, [0.0, 0.25, 1 / 3, 0.5])
    assert metrics.aurc([2.0, 1.0, 3.0, 2.0], [1, 0, 1, 0]) == pytest.approx(13 / 48)


def test_risk_coverage_with_weights():
    # One positive of four: weights 2 and 2/3. Accepted: u = 1 (negative, right), u = 2 (positive,
    # wrong), u = 3 twice (negatives, one wrong: 1/2 each). Kept weight 2/3, 8/3, 10/3, 4, so
    # coverage 1/6, 4/6, 5/6, 1; lost 0, 2, 2 + 1/3, 2 + 2/3, so risk 0, 3/4, 7/10, 2/3.
    u, wrong = [3.0, 1.0, 2.0, 3.0], [1, 0, 1, 0]
    weights = metrics.balanced_weights([0, 0, 1, 0])
    np.testing.assert_allclose(weights, [2 / 3, 2 / 3, 2, 2 / 3])
    coverage, risk = metrics.risk_coverage(u, wrong, weights)
    np.testing.assert_allclose(coverage, [1 / 6, 4 / 6, 5 / 6, 1.0])
    np.testing.assert_allclose(risk, [0, 3 / 4, 7 / 10, 2 / 3])
    # 1/6 * 0 + 3/6 * 3/4 + 1/6 * 7/10 + 1/6 * 2/3
    assert metrics.aurc(u, wrong, weights) == pytest.approx(3 / 8 + 7 / 60 + 1 / 9)
    assert risk[-1] == pytest.approx(1 - metrics.balanced_accuracy([0, 0, 1, 0], [1, 0, 0, 0]))
    assert metrics.aurc(u, wrong, np.full(4, 7.0)) == pytest.approx(metrics.aurc(u, wrong))


def test_entropy_is_that_of_the_probability():
    p = np.array([0.5, 0.1, 0.9, 1e-6])
    logit = np.log(p / (1 - p))
    expected = -p * np.log2(p) - (1 - p) * np.log2(1 - p)
    np.testing.assert_allclose(metrics.binary_entropy(logit), expected)
    # 1 - p is 0 for both, the entropies are not.
    sure = metrics.binary_entropy(np.array([50.0, -60.0]))
    assert sure[0] > sure[1] > 0


def test_entropy_lies_between_0_and_1_bit_and_is_greatest_at_one_half():
    p = np.array([0.001, 0.11, 0.25, 0.5, 0.75, 0.999])
    h = metrics.binary_entropy(np.log(p / (1 - p)))
    assert ((h >= 0) & (h <= 1)).all()
    # -0.25 log2 0.25 - 0.75 log2 0.75 = 0.25 * 2 + 0.75 * 0.41504 = 0.81128
    np.testing.assert_allclose(h[2:5], [0.811278, 1.0, 0.811278], atol=1e-6)
    # H(0.11) = 0.35029 + 0.14963 = 0.49992
    assert h[1] == pytest.approx(0.499916, abs=1e-5)


def test_reliability_points():
    # Two bins: 0.2 and 0.4 with one yes of two; nothing above.
    predicted, observed, count = metrics.reliability([0, 1], [0.2, 0.4], n_bins=2)
    assert (predicted[0], observed[0]) == (pytest.approx(0.3), 0.5)
    assert np.isnan([predicted[1], observed[1]]).all()
    assert count.tolist() == [2, 0]


def test_spearman_and_median_split():
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5) = 0.9486833.
    assert metrics.spearman([1, 2, 2, 9], [1, 2, 3, 4]) == pytest.approx(0.9486833)
    assert math.isnan(metrics.spearman([1, 1, 1], [1, 2, 3]))
    assert metrics.median_split([1.0, 2.0, 2.0, 5.0]).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.auroc([0, 1], [0.1, np.nan]),
        lambda: metrics.auroc([0, 2], [0.1, 0.2]),
        lambda: metrics.auroc([0, 1, 1], [0.1, 0.2]),
        lambda: metrics.auroc([], []),
        lambda: pair_ranks(np.zeros((2, 3))),
        lambda: metrics.relevant_ranks(np.array([[np.nan]]), np.array([[True]])),
        lambda: metrics.relevant_ranks(np.zeros((2, 3)), np.zeros((3, 2))),
        lambda: metrics.recall_at_k([], 1),
        lambda: metrics.recall_at_k([1], 0),
        lambda: metrics.balanced_accuracy([1, 0], [1]),
        lambda: metrics.macro_auroc([1, 0], [1, 0]),
        lambda: metrics.median_split([np.nan]),
        lambda: metrics.aurc([1, 2], [0, 1], [1, 0]),
        lambda: metrics.balanced_weights([0, 2]),
    ],
)
def test_inputs_that_do_not_fit_are_errors(call):
    with pytest.raises(ValueError, match=r".+"):
        call()


def test_bootstrap_draws_patients_not_rows():
    # One patient holds 90 of 100 rows, all 1; ten hold one 0 each. Resampling rows would give
    # a standard deviation near 0.03; resampling 11 patients makes the share swing widely.
    values = np.repeat([1.0, 0.0], [90, 10])
    patients = np.r_[np.zeros(90, dtype=int), np.arange(1, 11)]
    found = patient_bootstrap(lambda x: float(x.mean()), (values,), patients, seed=1)
    assert found.value == pytest.approx(0.9)
    assert (found.n_items, found.n_patients, found.n_resamples) == (100, 11, 1000)
    assert found.low == 0.0
    assert found.high > 0.95


def test_bootstrap_interval_of_a_mean_matches_theory():
    rng = np.random.default_rng(2)
    values = rng.normal(size=400)
    found = patient_bootstrap(lambda x: float(x.mean()), (values,), np.arange(400), seed=3)
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half_width, rel=0.1)
    assert found.low < found.value < found.high


def test_bootstrap_is_the_same_for_the_same_seed():
    values, patients = np.arange(30.0), np.repeat(list("abcdefghij"), 3)
    runs = [
        patient_bootstrap(lambda x: float(x.mean()), (values,), patients, seed=s, n_resamples=50)
        for s in (7, 7, 8)
    ]
    assert runs[0] == runs[1]
    assert (runs[0].low, runs[0].high) != (runs[2].low, runs[2].high)


def test_bootstrap_counts_resamples_where_the_metric_is_undefined():
    labels, scores = np.array([1, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3])
    found = patient_bootstrap(metrics.auroc, (labels, scores), np.arange(4), seed=0)
    # The only positive stays away with probability (3/4)^4 = 0.316; it is alone with 1/256.
    assert found.n_undefined / 1000 == pytest.approx(0.316 + 1 / 256, abs=0.05)
    assert found.value == found.low == found.high == 1.0
    only_positives = patient_bootstrap(metrics.auroc, (np.ones(4), scores), np.arange(4), seed=0)
    assert only_positives.n_undefined == 1000
    assert math.isnan(only_positives.low)


def test_bootstrap_of_several_figures_pairs_them():
    rng = np.random.default_rng(4)
    patients = np.repeat(np.arange(50), 2)
    a = np.repeat(rng.normal(size=50), 2)
    b = a + 0.01 * rng.normal(size=100) - 0.05
    found = patient_bootstrap_all(
        lambda x, y: {"a": float(x.mean()), "gap": float(x.mean() - y.mean())}, (a, b), patients
    )
    assert found["a"] == patient_bootstrap(lambda x: float(x.mean()), (a,), patients)
    # What both share cancels: the gap is known far better than either.
    assert 0.04 < found["gap"].low < found["gap"].high < 0.06
    assert found["a"].high - found["a"].low > 0.3


def test_bootstrap_refuses_rows_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        patient_bootstrap(metrics.auroc, (np.ones(3), np.ones(2)), np.arange(3))


def result(data: str, value: float) -> Result:
    estimate = Estimate(value, value - 0.1, value + 0.1, 40, 30, 1000, 0, seed=5)
    return Result(data, "AF | flutter", "AUROC", "demo", estimate, simulated=True, gallery_size=9)


def test_tables_say_simulated_and_cannot_be_broken_by_a_name():
    results = [result("test patients", 0.8125), result("simulated cohort", float("nan"))]
    lines = results_table(results).to_markdown().splitlines()
    assert lines[2] == (
        "| test patients (simulated) | AF \\| flutter | AUROC | demo | 0.812 "
        "| 0.713 to 0.912 (95 %) | 40 (30), gallery 9 |"
    )
    assert "not defined" in lines[3]
    assert lines[3].count("simulated") == 1
    rows = json.loads(json.dumps(to_records(results), allow_nan=False))
    assert rows[0]["value"] == 0.8125
    assert rows[1]["value"] is None
    assert rows[0]["n_patients"] == 30
    assert rows[0]["seed"] == 5
