"""Neighbours of a query in a gallery, with filters that act before the top k."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import GaussianEmbedding, Hit

if TYPE_CHECKING:
    import pandas as pd

    from echoing_core.retrieve.index import GalleryIndex

Order = Literal["csd", "cosine"]
Target = Literal["ecg", "report"]
ORDERS: tuple[Order, ...] = ("csd", "cosine")
TARGETS: tuple[Target, ...] = ("ecg", "report")

ChoiceT = TypeVar("ChoiceT", bound=str)
LabelFilter = str | float | bool | tuple[float, float]


@dataclass(frozen=True)
class ItemFilter:
    """Which items of a gallery may be found; all conditions must hold.

    Attributes
    ----------
    labels : mapping of str to value or (low, high)
        Label name without ``label_``. A value must be equal; a pair is a closed range, with
        ``-inf`` or ``inf`` for an open end. An item without that label is left out.
    min_percentile, max_percentile : float
        Closed range of the ECG's uncertainty percentile, 0..100.
    sources : tuple of str or None
        Names in the column ``source``.
    simulated : bool or None
        Only simulated items, or only measured ones.
    exclude_patient_ids, exclude_item_ids : tuple of str
        Left out, as for the query's own patient.
    among : tuple of int or None
        Row numbers of the only items that may be found, such as `Projection.inside` gives.
    """

    labels: Mapping[str, LabelFilter] = field(default_factory=dict)
    min_percentile: float = 0.0
    max_percentile: float = 100.0
    sources: tuple[str, ...] | None = None
    simulated: bool | None = None
    exclude_patient_ids: tuple[str, ...] = ()
    exclude_item_ids: tuple[str, ...] = ()
    among: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_percentile <= self.max_percentile <= 100.0:
            raise ConfigError(
                f"An uncertainty percentile range of {self.min_percentile} to "
                f"{self.max_percentile} is not possible. Give two numbers between 0 and 100, "
                "the smaller first."
            )
        for name, wanted in self.labels.items():
            if isinstance(wanted, tuple) and not wanted[0] <= wanted[1]:
                raise ConfigError(
                    f"No {name} lies between {wanted[0]:g} and {wanted[1]:g}. Give two numbers, "
                    "the smaller first."
                )

    def rows(self, items: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Row numbers of the items that pass, ascending.

        Parameters
        ----------
        items : DataFrame
            `GalleryIndex.items`.

        Raises
        ------
        ConfigError
            If a label or a source does not exist in the gallery.
        """
        keep = items["percentile"].between(self.min_percentile, self.max_percentile).to_numpy()
        for name, wanted in self.labels.items():
            keep = keep & _matches(_label_column(items, name), name, wanted)
        if self.sources is not None:
            self.check_sources(set(items["source"]))
            keep = keep & items["source"].isin(self.sources).to_numpy()
        if self.simulated is not None:
            keep = keep & (items["simulated"].to_numpy() == self.simulated)
        if self.exclude_patient_ids:
            keep = keep & ~items["patient_id"].isin(self.exclude_patient_ids).to_numpy()
        if self.exclude_item_ids:
            keep = keep & ~items["item_id"].isin(self.exclude_item_ids).to_numpy()
        if self.among is not None:
            chosen = np.zeros(len(items), dtype=bool)
            chosen[list(self.among)] = True
            keep = keep & chosen
        return np.flatnonzero(keep).astype(np.int64)

    def check_sources(self, known: set[str]) -> None:
        """Refuse a source that a gallery does not have.

        Parameters
        ----------
        known : set of str
            Its sources.

        Raises
        ------
        ConfigError
        """
        for source in self.sources or ():
            if source not in known:
                raise ConfigError(
                    f"The gallery has no source {source!r}. It has: {_listing(known)}."
                )

    def check_labels(self, known: set[str]) -> None:
        """Refuse a label that a gallery does not have.

        Parameters
        ----------
        known : set of str
            Its labels, without ``label_``.

        Raises
        ------
        ConfigError
        """
        for name in self.labels:
            if name not in known:
                raise _no_label(name, known)

    def of_rows(self, rows: npt.NDArray[np.integer], items: pd.DataFrame) -> ItemFilter:
        """The same for some of a gallery's items, which may lack its sources and labels.

        Parameters
        ----------
        rows : ndarray of int
            Their rows in the gallery, ascending.
        items : DataFrame
            Of these.

        Returns
        -------
        ItemFilter
        """
        sources, among = self.sources, self.among
        if sources is not None:
            here = set(items["source"])
            sources = tuple(source for source in sources if source in here)
        if among is not None:
            wanted = np.asarray(among, dtype=np.int64)
            among = tuple(np.flatnonzero(np.isin(rows, wanted)).tolist())
        labels = {k: v for k, v in self.labels.items() if f"label_{k}" in items.columns}
        # Of none of these it is known, so none passes.
        if len(labels) < len(self.labels):
            among = ()
        return replace(self, labels=labels, sources=sources, among=among)


def search_gallery(
    index: GalleryIndex,
    query: GaussianEmbedding,
    *,
    k: int,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    unique_reports: bool = False,
    exact: bool = False,
) -> list[Hit]:
    """The k nearest items of a gallery.

    Parameters
    ----------
    index : GalleryIndex
    query : GaussianEmbedding, one row
        Of an ECG window or of a text.
    k : int
        At least 1; fewer hits come back where fewer items pass the filter.
    order : {"csd", "cosine"}
        By closed-form sampled distance, or by the angle between the means alone.
    target : {"ecg", "report"}
        Compare the query with the items' ECGs or with their reports.
    where : ItemFilter, optional
        Applied before the top k, so k hits come back if k items pass.
    unique_reports : bool
        Of items with the same report text only the nearest one counts.
    exact : bool
        Also where the index has a fast search (`GalleryIndex.nearest`).

    Returns
    -------
    list of Hit
        Nearest first; empty if no item passes the filter.

    Raises
    ------
    ConfigError
        If ``k``, ``order``, ``target`` or ``where`` cannot be.
    IndexMismatchError
        If the query has another dimension than the index.
    """
    if k < 1:
        raise ConfigError(f"A search for {k} neighbours finds nothing. Ask for 1 or more.")
    chosen_order = one_of(order, ORDERS, "order")
    chosen_target = one_of(target, TARGETS, "target")
    rows = None if where is None else where.rows(index.items)
    if chosen_target == "report":
        if not index.has_report_vectors:
            raise ConfigError(
                "This collection was made with a model that reads ECGs alone, so a search among "
                "its reports finds nothing. Search among its ECGs."
            )
        # An item of one's own may have come without a report; there is nothing to find.
        with_report = np.flatnonzero(index.items["report"].str.strip().to_numpy() != "")
        if len(with_report) < len(index):
            rows = with_report if rows is None else np.intersect1d(rows, with_report)
    n_allowed = len(index) if rows is None else len(rows)
    n_fetched = k
    while True:
        nearest, distances = index.nearest(
            query, n_fetched, order=chosen_order, target=chosen_target, rows=rows, exact=exact
        )
        keep = np.arange(len(nearest))
        if unique_reports:
            keep = _first_of_each(index.items["report"].to_numpy()[nearest])
        if len(keep) >= k or len(nearest) >= n_allowed:
            break
        # How many share a report is not known beforehand.
        n_fetched = min(2 * n_fetched, n_allowed)
    chosen = keep[:k]
    return [
        hit_of(index.items, int(nearest[i]), float(distances[i]), rank, order)
        for rank, i in enumerate(chosen, start=1)
    ]


def ranked_hits(
    index: GalleryIndex,
    score: npt.NDArray[np.float64],
    distances: npt.NDArray[np.float64],
    *,
    k: int,
    order: str,
    where: ItemFilter | None = None,
    unique_reports: bool = False,
) -> tuple[list[Hit], npt.NDArray[np.bool_]]:
    """The k items of the highest score.

    Parameters
    ----------
    index : GalleryIndex
    score : ndarray, shape (n,)
        Of every item; ``-inf`` for those that cannot be found.
    distances : ndarray, shape (n,)
        Told with the hits.
    k, order, where, unique_reports
        As in `search_gallery`.

    Returns
    -------
    hits : list of Hit
        The highest score first; of equal scores, in order of row.
    passing : ndarray of bool, shape (n,)
        Which items passed the filter.

    Raises
    ------
    ConfigError
        If ``k``, ``order`` or ``where`` cannot be.
    """
    if k < 1:
        raise ConfigError(f"A search for {k} neighbours finds nothing. Ask for 1 or more.")
    one_of(order, ORDERS, "order")
    passing = np.ones(len(index), dtype=bool)
    if where is not None:
        passing[:] = False
        passing[where.rows(index.items)] = True
    allowed = np.flatnonzero(passing & np.isfinite(score))
    best = allowed[np.argsort(-score[allowed], kind="stable")]
    if unique_reports:
        best = best[_first_of_each(index.items["report"].to_numpy()[best])]
    hits = [
        hit_of(index.items, int(row), float(distances[row]), rank, order)
        for rank, row in enumerate(best[:k], start=1)
    ]
    return hits, passing


def one_of(value: str, choices: tuple[ChoiceT, ...], what: str) -> ChoiceT:
    """The choice that a word names.

    Parameters
    ----------
    value : str
    choices : tuple of str
    what : str
        As a message names the setting.

    Raises
    ------
    ConfigError
        It names none.
    """
    for choice in choices:
        if value == choice:
            return choice
    raise ConfigError(f"The search has no {what} {value!r}. Choose one of: {', '.join(choices)}.")


def _first_of_each(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Positions where a text occurs for the first time, ascending."""
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        first.setdefault(str(text), position)
    return np.asarray(sorted(first.values()), dtype=np.int64)


def hit_of(items: pd.DataFrame, row: int, distance: float, rank: int, order: str) -> Hit:
    """One row of the table as a `Hit`.

    Parameters
    ----------
    items : DataFrame
        `GalleryIndex.items`.
    row : int
    distance : float
        CSD, or 1 - cosine.
    rank : int
        From 1; 0 where it has none.
    order : {"csd", "cosine"}
    """
    item: dict[str, Any] = {str(name): items[name].iloc[row] for name in items.columns}
    return Hit(
        rank=rank,
        item_id=str(item["item_id"]),
        patient_id=str(item["patient_id"]),
        record_id=str(item["record_id"]),
        distance=distance,
        order=order,
        report=str(item["report"]),
        uncertainty=float(item["uncertainty"]),
        percentile=float(item["percentile"]),
        simulated=bool(item["simulated"]),
        labels={
            name.removeprefix("label_"): _plain(value)
            for name, value in item.items()
            if name.startswith("label_") and not _is_missing(value)
        },
    )


def _plain(value: Any) -> str | float | bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return float(value) if isinstance(value, int | float | np.number) else str(value)


def _is_missing(value: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(value))


def _label_column(items: pd.DataFrame, name: str) -> pd.Series[Any]:
    column = f"label_{name}"
    if column not in items.columns:
        known = {str(c).removeprefix("label_") for c in items.columns if c.startswith("label_")}
        raise _no_label(name, known)
    return items[column]


def _no_label(name: str, known: set[str]) -> ConfigError:
    return ConfigError(f"The gallery has no label {name!r}. It has: {_listing(known)}.")


def _matches(column: pd.Series[Any], name: str, wanted: LabelFilter) -> npt.NDArray[np.bool_]:
    present = column.notna().to_numpy()
    keep = np.zeros(len(column), dtype=bool)
    try:
        if isinstance(wanted, tuple):
            low, high = wanted
            numbers = column[present].astype(float).to_numpy()
            keep[present] = (numbers >= low) & (numbers <= high)
        elif isinstance(wanted, str):
            keep[present] = column[present].astype(str).to_numpy() == wanted
        else:
            keep[present] = column[present].astype(float).to_numpy() == float(wanted)
    except ValueError as error:
        raise ConfigError(
            f"The label {name!r} holds words, so it cannot be compared with {wanted!r}. "
            "Give one of its words."
        ) from error
    return keep


def _listing(names: set[str]) -> str:
    return ", ".join(sorted(names)) if names else "none"
