"""Two windows beside each other: distances, answers, leads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echoing_core import services
from echoing_core.export.track import Explanation
from echoing_core.records import Answer
from echoing_core.services import AnswerPair, LeadPair, Model
from echoing_core.signals.standard import standardise
from tests.broken_uploads import sound_upload
from tests.tiny_model import write_tiny_model
from tests.unit.measure.made import made as beating


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    write_tiny_model(folder)
    return services.load_model(folder)


@pytest.fixture(scope="module")
def seen(model: Model) -> Explanation:
    return services.explain(model, services.read_recording(sound_upload(seconds=60.0)), 1.0)


def answer(probability: float, low: float, high: float) -> Answer:
    return Answer(
        "q", probability, (low, high), 0.0, 1.0, 0.5, "no", ("a",), ("b",), basis="calibrated"
    )


def test_a_distance_is_its_two_parts(seen: Explanation) -> None:
    track = seen.track
    apart = services.windows_apart(track, 0, track, 20)
    mu, var = track.embedding.mu.astype(float), np.exp(track.embedding.log_var.astype(float))
    means = ((mu[0] - mu[20]) ** 2).sum()
    assert apart.means == pytest.approx(means, abs=1e-5)
    assert apart.spread == pytest.approx(var[0].sum() + var[20].sum(), rel=1e-5)
    assert apart.csd == pytest.approx(apart.means + apart.spread, rel=1e-5)
    same = services.windows_apart(track, 3, track, 3)
    assert same.means == pytest.approx(0.0, abs=1e-5)


def test_windows_of_the_scale_share_no_second(seen: Explanation) -> None:
    scale = services.distances_within(seen)
    n = len(seen.track)
    assert len(scale) == sum(n - shift for shift in range(10, n))
    assert (np.diff(scale) >= 0).all()


def test_a_short_recording_makes_no_scale(model: Model) -> None:
    short = services.explain(model, services.read_recording(sound_upload(seconds=12.0)), 1.0)
    assert services.distances_within(short).size == 0
    assert np.isnan(services.share_nearer(1.0, services.distances_within(short)))


def test_share_nearer() -> None:
    scale = np.array([1.0, 2.0, 3.0, 4.0])
    assert services.share_nearer(0.5, scale) == 0
    assert services.share_nearer(2.5, scale) == 50
    assert services.share_nearer(9.0, scale) == 100


def test_answers_are_those_of_a_single_question(model: Model, seen: Explanation) -> None:
    (prompts,) = services.as_prompt_sets("atrial fibrillation")
    question = services.encode_question(model, prompts)
    (pair,) = services.answers_beside([question], seen, 0, seen, 30)
    (one,) = services.ask(model, seen, "atrial fibrillation", start_s=0.0)
    assert pair.one.probability == pytest.approx(one.probability, abs=1e-3)
    assert pair.difference == pair.other.probability - pair.one.probability


def test_intervals_that_touch_are_not_apart() -> None:
    assert AnswerPair(answer(0.2, 0.1, 0.3), answer(0.5, 0.4, 0.6)).apart
    assert not AnswerPair(answer(0.2, 0.1, 0.4), answer(0.5, 0.4, 0.6)).apart
    assert AnswerPair(answer(0.5, 0.4, 0.6), answer(0.2, 0.1, 0.3)).apart
    # A score has no interval of a probability.
    score = replace(answer(0.2, 0.1, 0.3), basis="simulated")
    assert AnswerPair(score, answer(0.5, 0.4, 0.6)).apart is None


def test_leads_differ_by_much_or_by_being_there(model: Model, seen: Explanation) -> None:
    pairs = services.leads_beside(seen, 0, seen, 30)
    assert [p.lead for p in pairs][:3] == ["I", "II", "III"]
    assert LeadPair("I", 20.0, 60.0).differs and not LeadPair("I", 20.0, 30.0).differs
    assert LeadPair("I", float("nan"), 60.0).differs
    assert not LeadPair("I", float("nan"), float("nan")).differs


def test_people_in_the_shipped_collection_lie_apart() -> None:
    scale = services.distances_between_people(services.load_index())
    assert len(scale) > 10_000 and (np.diff(scale) >= 0).all() and scale[0] > 0


def test_a_distance_between_unsure_windows_says_nothing_unless_they_are_alike() -> None:
    assert services.too_unsure(97.0, 40.0, people=60.0) == (True, False)
    assert services.too_unsure(95.0, 90.0, people=25.0) == (True, True)
    # What is near is alike for all its noise; without a scale nothing is called far.
    assert services.too_unsure(97.0, 99.0, people=10.0) == (False, False)
    assert services.too_unsure(97.0, 99.0, people=float("nan")) == (False, False)
    assert services.too_unsure(40.0, float("nan"), people=60.0) == (False, False)


def test_a_recording_of_noise_is_too_noisy_and_one_without_beats_is_not() -> None:
    ecg = beating(rr_ms=(800.0,) * 6, leads=("I", "II", "V2"))
    noise = np.random.default_rng(0).normal(0.0, 0.6, ecg.signal_mv.shape).astype(np.float32)
    good = services.measurements(ecg)
    for signal_mv, noisy in ((ecg.signal_mv + noise, True), (0.0 * ecg.signal_mv, False)):
        found = services.measurements(replace(ecg, signal_mv=signal_mv))
        told = services.too_noisy(services.compare_measured(good, found))
        assert set(told) == ({1} if noisy else set())


def test_a_window_is_laid_under_another_by_the_first_beats() -> None:
    one, other = (standardise(beating(rr_ms=rr)) for rr in ((900.0,) * 13, (700.0,) * 17))
    under = services.laid_under(one, 0.0, other, 0.0)
    assert under.shift_s == pytest.approx(0.2, abs=0.03)
    shift = round(under.shift_s * 100)
    assert np.isnan(under.signal_mv[:, :shift]).all()
    np.testing.assert_array_equal(
        under.signal_mv[:, shift:], other.signal_mv[:, : under.signal_mv.shape[1] - shift]
    )
