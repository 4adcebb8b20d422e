"""Items of a collection as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

# A cell that begins so is a formula for a spreadsheet.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
TEXTS = ("report", "report_original", "report_translated")
"""Columns of texts that items may have."""


def collection_csv(
    items: pd.DataFrame,
    xy: npt.NDArray[np.floating],
    rows: npt.NDArray[np.integer],
    model: str,
    labels: Sequence[str],
    texts: Sequence[str],
) -> str:
    """Some items as CSV: who and what they are, how sure the model is, where on the map, findings.

    Parameters
    ----------
    items : DataFrame
        `GalleryIndex.items`.
    xy : ndarray, shape (n, 2)
        Of all items, on the map.
    rows : ndarray of int
        Which, in this order.
    model : str
        Hash of the model.
    labels : sequence of str
        Labels of the collection, of which these items may lack some.
    texts : sequence of str
        Its columns of texts.

    Returns
    -------
    str
        A label that is not known is empty. What a spreadsheet would take for a formula begins
        with ``'``.
    """
    columns = [f"label_{name}" for name in labels]
    ids = ["item_id", "record_id", "patient_id", "source", "simulated"]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*ids, "percentile", "map_x", "map_y", *texts, *columns, "model"])
    for row in rows:
        item = items.iloc[int(row)]
        writer.writerow(
            [
                *(_cell(item[column]) for column in ids),
                f"{item['percentile']:.2f}",
                *(f"{value:.5f}" for value in xy[row]),
                *(_cell(item.get(column, float("nan"))) for column in (*texts, *columns)),
                model[:16],
            ]
        )
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    # Whole numbers without a point, as labels are.
    return "" if value != value else f"{value:g}"
