"""What a selection has in common, and its table."""

from __future__ import annotations

import csv
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from echoing_core import services
from echoing_core.services.selecting import _at_least, joined_tally, tally


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
    index: Any = SimpleNamespace(
        items=items, card={"checkpoint_hash": "f" * 64}, label_names=("af", "mi")
    )
    made = services.Collection("", index, "folder")
    xy = np.stack([np.arange(n), -np.arange(n)], axis=1).astype(float)
    vars(made)["map"] = SimpleNamespace(xy=xy)
    return made


def in_common(rows: range, names: list[str]) -> tuple[services.FindingShare, ...]:
    made = collection()
    here = made.tally(services.ItemFilter(among=tuple(rows)), names)
    return services.in_common(here, made.everything)


def test_what_stands_out_comes_first_and_chance_is_called_chance() -> None:
    af, mi = in_common(range(5), ["mi", "af"])
    assert (af.name, af.n, af.n_known, af.n_all, af.n_all_known) == ("af", 5, 5, 5, 20)
    assert (af.share, af.base, af.chance) == (1.0, 0.25, False)
    # 2 of the 4 that are known, as in the whole: that is nothing.
    assert (mi.n, mi.n_known, mi.n_all_known, mi.chance) == (2, 4, 19, True)
    assert in_common(range(5, 9), ["af"]) == ()


def test_the_probability_of_a_draw_is_exact() -> None:
    # All 5 of 5 out of 20: 1 of C(20, 5) = 15504 draws.
    assert _at_least(5, 5, 5, 20) == pytest.approx(1 / 15504)
    assert _at_least(0, 5, 5, 20) == pytest.approx(1.0)
    # Of 3 drawn of 6 with 4: at least 2 is (C(4,2) C(2,1) + C(4,3)) / C(6,3) = 16 / 20.
    assert _at_least(2, 3, 4, 6) == pytest.approx(0.8)


def test_the_table_of_a_selection() -> None:
    table = collection().table(services.ItemFilter(among=(1, 0)))
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["item_id"] for row in rows] == ["i0", "i1"]
    assert rows[1]["label_mi"] == "1" and rows[0]["label_mi"] == ""
    assert rows[0]["report"] == "'=1+1" and rows[1]["simulated"] == "true"
    assert float(rows[1]["map_y"]) == -1.0 and rows[1]["model"] == "f" * 16


def test_counts_of_shards_are_those_of_the_whole() -> None:
    made, names = collection(), ["af", "mi"]
    items = made.index.items
    # A rare label may be known of no item of a shard.
    shards = (items[:7], items[7:].drop(columns="label_mi"), items[:0])
    parts = [tally(one, names, digests=True) for one in shards]
    joined = joined_tally(parts)
    assert (joined.n, joined.labels["af"].n, joined.labels["mi"].n_known) == (20, 5, 6)
    assert joined.median_percentile == made.everything.median_percentile == 50.0
    assert joined.labels["af"].digest != joined.labels["mi"].digest
    assert np.isnan(parts[2].median_percentile)
