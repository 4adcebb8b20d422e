"""Marks on windows: in the list, as annotations, in the session file."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from echoing_core import services
from echoing_core.errors import ConfigError
from echoing_core.records import GaussianEmbedding, WindowTrack
from echoing_core.services import Session, WindowMark
from echoing_core.services.session_file import MAX_MARKS


def track() -> WindowTrack:
    """Four windows, each a second after the other; the third is the least sure."""
    zero = np.zeros((4, 2), dtype=np.float32)
    return WindowTrack(
        start_s=np.arange(4.0),
        embedding=GaussianEmbedding(zero, zero),
        uncertainty=np.array([1.0, 2.0, 9.0, 3.0]),
        percentile=np.array([10.0, 20.0, 99.5, 30.0]),
        valid_fraction=np.ones((4, 12)),
        by_lead=None,
        novelty=None,
        window_s=10.0,
        stride_s=1.0,
    )


MARKS = (
    WindowMark(2.0, 12.0, "rejected", "=electrode, loose"),
    WindowMark(1.0, 11.0, "accepted"),
)


def test_the_list_holds_the_worst_and_every_other_that_was_marked() -> None:
    rows = services.review_rows("one", track(), [2, 3], MARKS)
    text = services.review_csv(rows)
    listed = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == "record,start_s,end_s,percentile,reason,grade,note"
    assert [(row["start_s"], row["percentile"], row["grade"]) for row in listed] == [
        ("2.000", "99.50", "rejected"),
        ("3.000", "30.00", ""),
        ("1.000", "20.00", "accepted"),
    ]
    # What a spreadsheet would compute is text.
    assert listed[0]["note"] == "'=electrode, loose"


def test_marks_become_annotations_in_the_order_of_time() -> None:
    texts = services.marks_as_text(MARKS)
    assert [(t.at_s, t.text) for t in texts] == [
        (1.0, "accepted"),
        (2.0, "rejected: =electrode, loose"),
    ]


def test_a_session_file_brings_the_marks_back() -> None:
    session = Session(marks=MARKS)
    assert services.read_session(services.session_text(session, ()).encode(), ()).marks == MARKS
    # Without any the file is what earlier versions read.
    assert "marks" not in json.loads(services.session_text(replace(session, marks=()), ()))


@pytest.mark.parametrize(
    "marks",
    [
        {},
        [{"start_s": 1.0}],
        [{"start_s": 2.0, "end_s": 1.0, "grade": "accepted", "note": ""}],
        [{"start_s": 0.0, "end_s": 1.0, "grade": "signed", "note": ""}],
        [{"start_s": 0.0, "end_s": 1.0, "grade": [], "note": ""}],
        [{"start_s": 0.0, "end_s": 1.0, "grade": "", "note": "x" * 301}],
        [{"start_s": True, "end_s": 2.0, "grade": "", "note": ""}],
        [{"start_s": 0.0, "end_s": 1.0, "grade": "", "note": ""}] * (MAX_MARKS + 1),
    ],
)
def test_marks_that_cannot_be_are_refused(marks: object) -> None:
    values = json.loads(services.session_text(Session(), ()))
    values["marks"] = marks
    with pytest.raises(ConfigError, match=r"marks|start_s"):
        services.read_session(json.dumps(values).encode(), ())
