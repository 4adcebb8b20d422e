"""Properties of report wording."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from echoing_core.reports.composing import compose_report
from echoing_core.reports.scp_text import SCP_FINDINGS, report_from_scp
from echoing_core.reports.vocabulary import FINDINGS

keys = st.lists(st.sampled_from(FINDINGS), max_size=6)
seeds = st.integers(0, 2**32 - 1)
styles = st.sampled_from(["machine", "free"])


@given(keys, keys, seeds, styles, st.one_of(st.none(), st.floats(5, 80)))
def test_texts_are_lower_case_sentences_fixed_by_the_seed(
    findings: list[str], absent: list[str], seed: int, style: str, lvef_pct: float | None
) -> None:
    def write(order: list[str]) -> str:
        rng = np.random.default_rng(seed)
        return compose_report(order, rng, style=style, absent=absent, lvef_pct=lvef_pct)

    text = write(findings)
    assert text == text.lower() == text.strip()
    assert text == write(findings[::-1])
    assert ".." not in text and "  " not in text and " ," not in text
    if findings:
        assert text.endswith(".")


@given(
    st.dictionaries(
        st.sampled_from(sorted(SCP_FINDINGS)),
        st.sampled_from([0.0, 15.0, 35.0, 50.0, 80.0, 100.0]),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["MID", "LAD", "SAG", None]),
    seeds,
    styles,
)
def test_every_set_of_scp_codes_can_be_worded(
    codes: dict[str, float], axis: str | None, seed: int, style: str
) -> None:
    text = report_from_scp(codes, axis, np.random.default_rng(seed), style=style)
    assert text and text == text.lower()
