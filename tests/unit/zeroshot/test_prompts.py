"""Prompt sets and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from echoing_core.errors import ConfigError
from echoing_core.zeroshot.prompts import (
    PromptSet,
    load_prompt_sets,
    prompt_set_from_text,
    save_prompt_sets,
)

GOOD = {
    "name": "af",
    "question": "AF?",
    "label": "af",
    "positive": ["atrial fibrillation"],
    "negative": ["sinus rhythm"],
}


def write(path: Path, content: object) -> Path:
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_shipped_prompts(repo_root: Path) -> None:
    sets = load_prompt_sets(repo_root / "assets" / "prompts")
    labels = [item.label for item in sets]
    assert labels[:5] == ["lvef_lt40", "slvh", "dlv", "af", "lbbb"]
    assert labels[5:] == ["NORM", "MI", "STTC", "CD", "HYP"]
    for item in sets:
        for prompts in (item.positive, item.negative):
            assert 5 <= len(prompts) <= 8
            assert len(set(prompts)) == len(prompts)
            assert all(text == text.lower() for text in prompts)


def test_save_then_load(tmp_path: Path) -> None:
    sets = (
        PromptSet("a", "A < 40 %?", ("yes: it is", "ef 25 %"), ("no",), "lvef_lt40"),
        PromptSet("b", "Frage über Öl", ("ja",), ("nein", "'quoted'")),
    )
    save_prompt_sets(sets, tmp_path / "p.yaml")
    assert load_prompt_sets(tmp_path / "p.yaml") == sets
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    write(tmp_path / "2.yaml", [GOOD])
    write(tmp_path / "1.yaml", [GOOD | {"name": "other"}])
    assert [item.name for item in load_prompt_sets(tmp_path)] == ["other", "af"]
    write(tmp_path / "3.yaml", [GOOD])
    with pytest.raises(ConfigError, match="af stands there 2 times"):
        load_prompt_sets(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([GOOD | {"postive": ["x"]}], "unknown key postive"),
        ([{k: v for k, v in GOOD.items() if k != "negative"}], "negative is missing"),
        ([GOOD | {"positive": []}], "no positive prompt"),
        ([GOOD | {"positive": "atrial fibrillation"}], "list of texts"),
        ([GOOD | {"positive": [False]}], "list of texts"),
        ([GOOD | {"negative": ["  "]}], "0 characters"),
        ([GOOD | {"negative": ["x" * 401]}], "401 characters"),
        ([GOOD | {"negative": ["atrial fibrillation"]}], "both sides"),
        ([GOOD | {"name": "A F"}], "lower-case"),
        ([GOOD | {"name": 7}], "name must be a text"),
        ([GOOD | {"label": ["af"]}], "label must be a text"),
        ([GOOD | {"question": " "}], "no question"),
        (["af"], "entry 1"),
        ({"af": GOOD}, "must hold a list"),
        ([], "must hold a list"),
    ],
)
def test_wrong_files_end_in_a_sentence(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_prompt_sets(write(tmp_path / "p.yaml", content))


def test_what_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no \.yaml"):
        load_prompt_sets(tmp_path)
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_prompt_sets(tmp_path / "nowhere.yaml")
    for content in (b"[unclosed", b"\xff\xfe\x00"):
        (tmp_path / "p.yaml").write_bytes(content)
        with pytest.raises(ConfigError, match="cannot be read as a file of prompts"):
            load_prompt_sets(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text("- !!python/object/apply:os.getcwd []", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read as a file of prompts"):
        load_prompt_sets(tmp_path / "p.yaml")


def test_question_of_a_free_text() -> None:
    item = prompt_set_from_text("  Atrial  fibrillation? ")
    assert item.positive == ("atrial fibrillation",)
    assert item.negative == (
        "no atrial fibrillation",
        "no evidence of atrial fibrillation",
        "normal ecg",
    )
    assert item.name == "atrial_fibrillation"
    assert item.label is None
    assert "normal ecg" not in prompt_set_from_text("normal ECG").negative
    assert prompt_set_from_text("ЭКГ").name == "question"
    for empty in ("", " ? "):
        with pytest.raises(ConfigError, match="empty"):
            prompt_set_from_text(empty)
    with pytest.raises(ConfigError, match="characters"):
        prompt_set_from_text("x" * 1000)
