"""Shipped prompts use words that report texts use, so that none of them is unknown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from echoing_core.reports.composing import compose_report
from echoing_core.reports.vocabulary import FINDINGS
from echoing_core.zeroshot.prompts import load_prompt_sets


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text))


def test_every_word_of_the_prompts_occurs_in_reports(repo_root: Path) -> None:
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    for key in FINDINGS:
        for lvef_pct in (None, 30.0, 60.0):
            for _ in range(40):
                seen |= words(compose_report([key], rng, style="free", lvef_pct=lvef_pct))
    for item in load_prompt_sets(repo_root / "assets" / "prompts"):
        for prompt in (*item.positive, *item.negative):
            assert words(prompt) <= seen | {"no", "evidence", "of"}, prompt
