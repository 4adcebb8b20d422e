"""Questions along a recording, their wording taken apart, and answers checked."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from echoing_core import figures, services
from echoing_core.errors import ConfigError
from echoing_core.export.document.charts import answers_drawing
from echoing_core.export.wording import answer_line, answer_values
from echoing_core.zeroshot.prompts import (
    MAX_FILE_BYTES,
    MOST_SETS,
    PromptSet,
    parse_prompt_sets,
    prompt_sets_text,
)


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


@pytest.fixture(scope="module")
def seen(model: services.Model) -> services.Explanation:
    sample = next(s for s in services.samples() if s.sample_id == "SIM_MUSIC")
    return services.explain(model, services.read_recording(sample.paths), 10.0)


@pytest.fixture(scope="module")
def asked(model: services.Model) -> list[services.EncodedQuestion]:
    return [services.encode_question(model, p) for p in services.prompt_sets()[:3]]


def test_answers_along_are_those_of_each_window(model, seen, asked) -> None:
    for question in asked:
        along = question.answers_along(seen.track, seen.lead_set.key)
        for i in (0, 7, len(seen.track) - 1):
            window = services.asked_window(seen, i)
            one = question.answer(seen.track.embedding[np.array([i])], window)
            assert along.verdict[i] == one.verdict
            assert along.probability[i] == pytest.approx(one.probability)
            assert (along.low[i], along.high[i]) == pytest.approx(one.interval)
        assert sum(along.shares_pct) == pytest.approx(100.0)


def test_an_encoded_question_is_answered_as_ask_does(model, seen, asked) -> None:
    (whole,) = services.ask(model, seen, asked[0].prompts, rule="trimmed")
    fused = services.fuse_recording(seen.track, "trimmed")
    again = asked[0].answer(fused.embedding, services.fused_window(seen, fused.used))
    assert again.verdict == whole.verdict
    assert again.probability == pytest.approx(whole.probability, abs=1e-6)


def test_the_spread_is_that_of_questions_with_one_text_a_side(model, seen, asked) -> None:
    window = seen.track.embedding[np.array([3])]
    prompts = asked[0].prompts
    spread = asked[0].wording_spread(window)
    assert spread.shape == (len(prompts.positive), len(prompts.negative))
    single = replace(prompts, positive=prompts.positive[2:3], negative=prompts.negative[1:2])
    one = services.encode_question(model, single).answer(window)
    assert spread[2, 1] == pytest.approx(one.score, abs=1e-3)


def test_windows_without_signal_have_no_answer(model, seen, asked) -> None:
    valid = seen.track.valid_fraction.copy()
    valid[:2] = 0
    along = asked[0].answers_along(replace(seen.track, valid_fraction=valid))
    assert np.isnan(along.probability[:2]).all() and np.isfinite(along.probability[2:]).all()


def test_what_only_an_echo_shows_is_never_a_bare_yes(model, seen) -> None:
    by_label = {p.label: services.encode_question(model, p) for p in services.prompt_sets()}
    assert [label for label, one in by_label.items() if one.simulated] == [
        "lvef_lt40", "slvh", "dlv",
    ]  # fmt: skip
    words = ["LVEF below 35 %", "dilated left ventricle is absent", "ejection fraction above 50 %"]
    answers = services.ask(model, seen, [by_label["lvef_lt40"].prompts, *words])
    for answer in answers:
        assert answer.basis == "simulated" and answer.p_wrong is None and answer.worth is None
        assert answer.verdict == "not sure enough" or answer.verdict.startswith("leans ")
        assert "validated on nobody" in services.answer_line(answer).answer
    (hypertrophy,) = services.as_prompt_sets("left ventricular hypertrophy")
    assert not services.encode_question(model, hypertrophy).simulated


def test_a_prevalence_goes_to_the_question_that_it_is_of(model) -> None:
    asked = services.prompt_sets()[:3]
    assert services.prevalences(asked, None) == (None, None, None)
    assert services.prevalences(asked, 0.2) == (0.2, 0.2, 0.2)
    assert services.prevalences(asked, {asked[1].name: 0.1, asked[2].question: 0.3}) == (
        None, 0.1, 0.3,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="'zebra', which is not asked"):
        services.prevalences(asked, {"zebra": 0.1})
    for wrong in (0, 1, 5, float("nan")):
        with pytest.raises(ConfigError, match="not possible"):
            services.prevalences(asked, wrong)


def test_the_kind_of_a_verdict() -> None:
    kinds = ["yes", "no", "leans yes (unvalidated)", "leans no (not calibrated)", "not sure enough"]
    assert [services.verdict_kind(v) for v in kinds] == ["yes", "no", "yes", "no", kinds[-1]]


def test_answers_are_checked_against_a_collection(model) -> None:
    demo = services.shipped_collection(model)
    prompts = next(p for p in services.prompt_sets() if p.label == "af")
    question = services.encode_question(model, prompts)
    items = demo.index.items
    shares = []
    for truth in (False, True):
        row = int(np.flatnonzero(items["label_af"].to_numpy() == truth)[5])
        window = demo.index.gaussians("ecg", np.array([row]))
        answer = question.answer(window)
        check = services.check_answer(demo, question, answer)
        assert check is not None and check.n_similar == 100 and check.n_all == 1000
        assert check.n_all_with == int(items["label_af"].sum())
        shares.append(check.n_with)
    assert shares[1] > shares[0] + 20
    unlabelled = replace(question, prompts=replace(prompts, label=None))
    assert services.check_answer(demo, unlabelled, answer) is None


def test_the_strip_has_no_more_columns_than_pixels() -> None:
    n = 86_000
    probability = np.tile(np.linspace(0, 1, n), (2, 1))
    probability[1, : n // 2] = np.nan
    unsure = np.abs(probability - 0.5) < 0.1
    figure = figures.answers_along_figure(
        ["<b>LVEF</b>", "AF"], probability, unsure, np.arange(n) * 1.0, 10.0, [("surest", 5.0)],
        calibrated=[False, True],
    )  # fmt: skip
    grey, shown = figure.data
    z = np.array(shown.z, dtype=float)
    assert z.shape == (2, 600) and np.isnan(z[1, :299]).all()
    assert z[0, 0] < 1 and z[0, -1] > 99
    assert np.isnan(z[0, 300]) and np.array(grey.z, dtype=float)[0, 300] == 1
    assert "<b>" not in figure.layout.yaxis.ticktext[0]
    # A score is no per cent, neither where the pointer is nor on the scale of both.
    assert [tuple(row[0][1:]) for row in shown.customdata] == [("score ", " of 100"), ("", " %")]
    assert not [words for words in shown.colorbar.ticktext if "%" in words]


@pytest.mark.parametrize("text", ["AV block", "supraventricular arrhythmia"])
def test_a_finding_that_was_not_calibrated_has_no_probability_anywhere(model, seen, text) -> None:
    (prompts,) = services.as_prompt_sets(text)
    assert not services.encode_question(model, prompts).is_calibrated(seen.lead_set.key)
    (answer,) = services.ask(model, seen, text)
    line = answer_line(answer)
    assert answer.basis == "uncalibrated" and answer.p_wrong is None and answer.base_rate is None
    assert "not calibrated" in line.text and "no probability" in line.text
    assert "%" not in line.probability
    assert "not calibrated" in answer_values(answer)["words"]
    drawn = answers_drawing([answer])
    assert not [item for item in drawn.items if "%" in getattr(item, "text", "")]


def test_asking_along_twenty_minutes_is_quick(model, seen, asked) -> None:
    track = seen.track
    rows = np.arange(1200) % len(track)
    long = replace(
        track, start_s=np.arange(1200.0), embedding=track.embedding[rows],
        uncertainty=track.uncertainty[rows], percentile=track.percentile[rows],
        valid_fraction=track.valid_fraction[rows], by_lead=None, novelty=None,
    )  # fmt: skip
    began = time.perf_counter()
    for question in asked:
        question.answers_along(long)
    assert time.perf_counter() - began < 2.0


def test_prompt_sets_come_back_from_their_file() -> None:
    sets = (*services.prompt_sets(), PromptSet("own", "Größe: “ja”?", ("no",), ("- x: 1",), "af"))
    assert parse_prompt_sets(prompt_sets_text(sets).encode(), "it") == sets


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "must hold a list"),
        (b"\xff\xfe\x00", "cannot be read as a file of prompts"),
        (b"a: [", "cannot be read as a file of prompts"),
        (b"[" * 1500, "cannot be read as a file of prompts"),
        (b"- &a x\n- *a\n", "aliases"),
        (b"- !!python/object:os.system x\n", "cannot be read as a file of prompts"),
        (b"- {name: a, question: b, positive: [x]}", "the key negative is missing"),
        (b"- {name: a, question: b, positive: [no], negative: [y]}", "Quote each"),
        (b"x" * (MAX_FILE_BYTES + 1), "at most 256 kB"),
        (
            b"".join(
                b"- {name: a%d, question: b, positive: [x], negative: [z]}\n" % i
                for i in range(MOST_SETS + 1)
            ),
            "has 101 prompt sets",
        ),
        (b"- {name: a, question: b, positive: [x], negative: [z]}\n" * 2, "stands there 2 times"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse_prompt_sets(content, "it.yaml")
