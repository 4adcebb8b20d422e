"""Documents from anywhere: plain values are read, everything else is refused at once."""

from __future__ import annotations

import json

import pytest
import yaml

from echoing_core.documents import MOST_LEVELS, DocumentError, json_text, parse_json, parse_yaml

PLAIN = {"name": "af", "share": 0.25, "n": [1, 2, -3], "none": None, "of": {"µV": True}}


def test_plain_values_are_read_as_they_are() -> None:
    assert parse_json(json.dumps(PLAIN).encode()) == PLAIN
    assert parse_yaml(yaml.safe_dump(PLAIN, allow_unicode=True).encode()) == PLAIN
    # A whole character beyond the first 65,536, as an escape of two halves.
    assert parse_json(b'["\\ud83e\\udec0"]') == ["\U0001fac0"]
    deep = b"[" * MOST_LEVELS + b"]" * MOST_LEVELS
    assert parse_json(deep) == parse_yaml(deep)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "decode"),
        (b"{", "JSON"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"[" + b"9" * 5000 + b"]", "digits"),
        (b'["\\ud800"]', "half of a character"),
        (b'{"\\udfff": 1}', "half of a character"),
        (b"[" * 41 + b"]" * 41, "deeper than 40"),
        (b"[" * 100_000, "recursion"),
        (b'{"a":' * 41 + b"1" + b"}" * 41, "deeper than 40"),
    ],
)
def test_json_that_no_program_should_meet(content: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        parse_json(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "decode"),
        (b"[unclosed", "YAML"),
        (b"- !!bool foo", "tags"),
        (b"- !!int ''", "tags"),
        (b"- !own x", "tags"),
        (b"- !!python/object/apply:os.getcwd []", "tags"),
        (b"- &a [x]\n- *a", "aliases"),
        (b'- "\\uD800"', "half of a character|YAML"),
        (b'- "\\UFFFFFFFF"', "YAML"),
        (b"- .inf", "not finite"),
        (b"- 2001-99-99", "YAML"),
        (b"- 190:20:30:" + b"1:" * 300 + b"0.5", "YAML|not finite"),
        (b"? [a, b]\n: 1\n? {c: d}\n: 2", "YAML"),
        (b"- a\n--- \n- b", "YAML"),
        (b"[" * 60_000, "deeper than 40"),
        (b"- " * 60_000, "deeper than 40"),
        (b"{a: " * 60_000, "deeper than 40"),
    ],
)
def test_yaml_that_no_program_should_meet(content: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        parse_yaml(content)


def test_what_is_written_is_read_and_what_is_not_defined_is_null() -> None:
    written = {"r": float("nan"), "n": (1, float("inf")), "µV": [{"x": 0.1}], "yes": True}
    assert parse_json(json_text(written).encode()) == {
        "r": None, "n": [1, None], "µV": [{"x": 0.1}], "yes": True,
    }  # fmt: skip
