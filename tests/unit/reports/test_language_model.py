"""Answers of language models: parsed, checked against the report, and refused where they fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from echoing_core.errors import CheckpointError
from echoing_core.models.hugging_face import declare_missing_operators, load_text_generator
from echoing_core.reports.echo_text.language_model import (
    MAX_WORDS,
    parse_answer,
    prompt_for,
    read_with,
)

REPORT = "LVEF is estimated at 30-\n35 %, previously 55 %. Mild MR. No pericardial effusion."


def _lvef(**changes: object) -> dict[str, object]:
    return {
        "kind": "range",
        "low": 30,
        "high": 35,
        "grade": None,
        "quote": "estimated at 30- 35 %",
    } | changes


def _answer(**content: object) -> str:
    return f"Here it is:\n```json\n{json.dumps(content)}\n```"


def test_answer_becomes_the_type_that_the_rules_give() -> None:
    past = {"kind": "number", "low": 55, "high": 55, "grade": None, "quote": "previously 55 %"}
    listed = [
        {"name": "mitral_regurgitation", "grade": "mild", "quote": "mild mr"},
        {"name": "pericardial_effusion", "grade": "none", "quote": "No pericardial effusion"},
    ]
    prompts = []

    def model(prompt: str) -> str:
        prompts.append(prompt)
        return _answer(lvef=_lvef(), lvef_past=past, findings=listed)

    reading = read_with(model, REPORT)
    assert REPORT in prompts[0]
    assert not reading.refused
    assert not reading.cut
    found = reading.findings
    assert found.lvef is not None
    assert (found.lvef_pct, found.lvef.kind) == (32.5, "range")
    assert REPORT[found.lvef.start : found.lvef.end] == "estimated at 30-\n35 %"
    assert found.lvef_past is not None
    assert (found.lvef_past.pct, found.lvef_past.past) == (55.0, True)
    assert found.grade("mitral_regurgitation") == "mild"
    assert found.grade("pericardial_effusion") == "none"
    assert found.lvef_below(40.0) is True


@pytest.mark.parametrize(
    ("lvef", "why"),
    [
        (_lvef(quote="LVEF 30-35 %"), "does not stand in the report"),
        (_lvef(low=40, high=45), "does not stand in"),
        (_lvef(high=30), "is no range"),
        (_lvef(kind="number"), "is no number"),
        (_lvef(kind="guess"), "no kind"),
        (_lvef(low=300, high=350), "percent"),
        (_lvef(low="30"), "percent"),
        (_lvef(low=True, high=None), "percent"),
        (_lvef(low=None, high=None), "percent"),
        (_lvef(kind="words", grade="awful"), "no grade"),
        (_lvef(quote=""), "no quote"),
        ("35 %", "no object"),
    ],
)
def test_what_the_report_does_not_bear_out_is_refused(lvef: object, why: str) -> None:
    found, refused = parse_answer(_answer(lvef=lvef), REPORT)
    assert found.lvef is None
    assert len(refused) == 1
    assert why in refused[0]


def test_findings_that_are_none_are_refused_one_by_one() -> None:
    listed = [
        {"name": "mitral_regurgitation", "grade": "mild", "quote": "Mild MR"},
        {"name": "mitral_regurgitation", "grade": "severe", "quote": "Mild MR"},
        {"name": "broken_heart", "grade": "mild", "quote": "Mild MR"},
        {"name": "aortic_stenosis", "grade": "some", "quote": "Mild MR"},
        {"name": "aortic_stenosis", "grade": "mild", "quote": "Mild AS"},
    ]
    found, refused = parse_answer(_answer(findings=listed, mood="good"), REPORT)
    assert dict.fromkeys(found.findings) == {"mitral_regurgitation": None}
    assert found.grade("mitral_regurgitation") == "mild"
    assert len(refused) == 5


@pytest.mark.parametrize(
    "answer", ["", "LVEF 35 %", "{", "[1]", '{"a": 1}', "{" * 5000, '{"lvef": ' * 3000]
)
def test_answers_without_json_find_nothing(answer: str) -> None:
    found, refused = parse_answer(answer, REPORT)
    assert found.lvef is None
    assert refused == ("the answer holds no JSON object",)


def test_long_reports_are_cut_and_that_is_told() -> None:
    prompt, cut = prompt_for("word " * (MAX_WORDS + 5))
    assert cut
    assert prompt.count("word ") <= MAX_WORDS + 2
    assert not prompt_for("word " * MAX_WORDS)[1]


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, as a local folder has one."""
    declare_missing_operators()
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("lm")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2600,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    return folder


def test_a_local_model_is_asked_and_its_nonsense_refused(tiny_model: Path) -> None:
    generate = load_text_generator(tiny_model)
    generate.max_new_tokens = 12
    assert generate("LVEF") == generate("LVEF")
    reading = read_with(generate, REPORT)
    assert reading.findings.lvef is None
    assert reading.refused == ("the answer holds no JSON object",)
    with pytest.raises(CheckpointError, match="tokens"):
        generate("a" * 3000)


def test_nothing_is_downloaded_and_nothing_unsafe_loaded(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="local folder"):
        load_text_generator("someone/some-model")
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_text_generator(tmp_path)
