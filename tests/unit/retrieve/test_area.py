"""An area of the map: which items lie in it, and that a search keeps to them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from echoing_core.retrieve.projection import inside
from echoing_core.retrieve.search import ItemFilter


def test_points_in_a_polygon_that_is_not_convex() -> None:
    # A U of 3 x 3 whose middle is open from above, drawn either way round.
    corners = [(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)]
    xy = np.array([[0.5, 2], [1.5, 2], [2.5, 2], [1.5, 0.5], [4, 2], [-1, 0], [1.5, 3.5]])
    assert inside(corners, xy).tolist() == [0, 2, 3]
    assert inside(corners[::-1], xy).tolist() == [0, 2, 3]
    # A lasso that crosses itself leaves out what it goes around twice.
    assert inside([*corners[:4], *corners[:4]], xy).tolist() == []


def test_inside_agrees_with_winding_by_angles() -> None:
    rng = np.random.default_rng(0)
    turn = np.sort(rng.uniform(0, 2 * np.pi, 40))
    far = rng.uniform(0.5, 1.0, 40)
    star = np.stack([far * np.cos(turn), far * np.sin(turn)], axis=1)
    xy = rng.uniform(-1, 1, (500, 2))
    apart = star[None] - xy[:, None]
    angle = np.arctan2(apart[..., 1], apart[..., 0])
    steps = np.roll(angle, -1, axis=1) - angle
    winding = ((steps + np.pi) % (2 * np.pi) - np.pi).sum(axis=1)
    assert inside(star, xy).tolist() == np.flatnonzero(np.abs(winding) > np.pi).tolist()


def test_a_filter_keeps_to_given_rows() -> None:
    items = pd.DataFrame({"percentile": [10.0, 20.0, 90.0, 30.0]})
    where = ItemFilter(max_percentile=50.0, among=(3, 2, 0))
    assert where.rows(items).tolist() == [0, 3]
    assert ItemFilter(among=()).rows(items).tolist() == []
