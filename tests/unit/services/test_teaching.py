"""Teaching cases: drawn alike every time, and shown by the model as their story says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from echoing_core import services
from echoing_core.errors import ConfigError
from echoing_core.services import teaching
from echoing_core.simulate.teaching import LEAD_OFF, SWAPPED, draw_case


@pytest.fixture(scope="module")
def model() -> services.Model:
    return services.load_model()


def test_two_hundred_cases_of_every_story_are_listed_in_turn() -> None:
    ids = services.case_ids()
    kinds = [one.rpartition("-")[0] for one in ids]
    assert len(ids) == len(set(ids)) == 200
    assert tuple(kinds[:6]) == tuple(services.STORIES)
    assert dict(Counter(kinds)) == dict(teaching.COUNTS)
    # What was drawn and not shown is told.
    drawn = {one.kind: one for one in services.drawn_cases()}
    assert all(drawn[k].n_shown == n <= drawn[k].n_drawn for k, n in teaching.COUNTS.items())


@pytest.mark.parametrize("case_id", services.case_ids()[:6])
def test_a_case_is_drawn_alike_and_shown(model: services.Model, case_id: str) -> None:
    case, again = services.teaching_case(case_id), services.teaching_case(case_id)
    assert (case.choices, case.answer, case.because) == (again.choices, again.answer, again.because)
    for one, other in zip(case.recordings, again.recordings, strict=True):
        np.testing.assert_array_equal(one.signal_mv, other.signal_mv)
        assert one.simulated and one.record_id.startswith(case_id)
    assert 0 <= case.answer < len(case.choices) == len(set(case.choices))
    shown = services.shown_by(model, case)
    assert shown.holds, shown.words


@pytest.mark.slow
def test_the_model_shows_every_case_that_ships(model: services.Model) -> None:
    failed = [
        one for one in services.case_ids()
        if not services.shown_by(model, services.teaching_case(one)).holds
    ]  # fmt: skip
    assert failed == []


def test_a_case_whose_story_is_not_shown_is_left_out(
    model: services.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of the first swaps is hidden: 5 is drawn and not shown.
    assert not services.shown_by(model, draw_case(SWAPPED, 5)).holds
    assert "swapped-5" not in services.case_ids() and "swapped-6" in services.case_ids()
    (tmp_path / "assets").mkdir()
    out = tmp_path / "assets" / teaching.FILE
    (told,) = services.draw_teaching_cases(model, counts={LEAD_OFF: 2}, out=out)
    assert (told.n_drawn, told.n_shown) == (2, 2)
    monkeypatch.setenv("ECHOING_HOME", str(tmp_path))
    assert services.case_ids() == ("lead_off-0", "lead_off-1")
    assert services.export_cases(tmp_path / "out") == 2
    read = services.read_recording(tmp_path / "out" / "records" / "lead_off-1.hea")
    drawn = services.teaching_case("lead_off-1").recordings[0]
    np.testing.assert_allclose(read.signal_mv, drawn.signal_mv, atol=2e-3)
    assert "V" in (tmp_path / "out" / "cases.csv").read_text(encoding="utf-8")
    out.write_text("cases: [1", encoding="utf-8")
    with pytest.raises(ConfigError, match="no list of teaching cases"):
        services.case_ids()
    with pytest.raises(ConfigError, match="no teaching case"):
        services.teaching_case("lead_off-x")
