"""What a selection has in common, and its table."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from echoing_core import services
from echoing_core.services.selecting import _at_least


def collection() -> services.Collection:
    n = 20
    items = pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(n)],
            "record_id": "r",
            "patient_id": "p",
            "source": "own",
            "simulated": True,
            "percentile": np.linspace(0, 100, n),
            "report": ["=1+1", *["sinus rhythm"] * (n - 1)],
            # 5 of 20, all of them first; and one of which the first is not known.
            "label_af": [1.0] * 5 + [0.0] * 15,
            "label_mi": [np.nan, *[1.0, 0.0] * 9, 1.0],
        }
    )
    index = SimpleNamespace(items=items, card={"checkpoint_hash": "f" * 64})
    xy = np.stack([np.arange(n), -np.arange(n)], axis=1).astype(float)
    made: Any = SimpleNamespace(index=index, map=SimpleNamespace(xy=xy))
    return cast("services.Collection", made)


def test_what_stands_out_comes_first_and_chance_is_called_chance() -> None:
    af, mi = services.in_common(collection(), np.arange(5), ["mi", "af"])
    assert (af.name, af.n, af.n_known, af.n_all, af.n_all_known) == ("af", 5, 5, 5, 20)
    assert (af.share, af.base, af.chance) == (1.0, 0.25, False)
    # 2 of the 4 that are known, as in the whole: that is nothing.
    assert (mi.n, mi.n_known, mi.n_all_known, mi.chance) == (2, 4, 19, True)
    assert services.in_common(collection(), np.arange(5, 9), ["af"]) == ()


def test_the_probability_of_a_draw_is_exact() -> None:
    # All 5 of 5 out of 20: 1 of C(20, 5) = 15504 draws.
    assert _at_least(5, 5, 5, 20) == pytest.approx(1 / 15504)
    assert _at_least(0, 5, 5, 20) == pytest.approx(1.0)
    # Of 3 drawn of 6 with 4: at least 2 is (C(4,2) C(2,1) + C(4,3)) / C(6,3) = 16 / 20.
    assert _at_least(2, 3, 4, 6) == pytest.approx(0.8)


def test_the_table_of_a_selection() -> None:
    rows = list(csv.DictReader(io.StringIO(services.selection_csv(collection(), np.array([1, 0])))))
    assert [row["item_id"] for row in rows] == ["i1", "i0"]
    assert rows[0]["label_mi"] == "1" and rows[1]["label_mi"] == ""
    assert rows[1]["report"] == "'=1+1" and rows[0]["simulated"] == "true"
    assert float(rows[0]["map_y"]) == -1.0 and rows[0]["model"] == "f" * 16
