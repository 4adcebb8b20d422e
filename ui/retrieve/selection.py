"""The ECGs of a collection that a person is looking at: an area of the map, filters, or both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import streamlit as st

from echoing_core import services
from echoing_core.services import FindingShare, ItemFilter, Searched
from ui import frame, state
from ui.retrieve import search

_MOST_CORNERS = 400
_MOST_FINDINGS = 8


def map_identity(collection: Searched) -> str:
    """By what the map of a collection is told from that of another.

    Parameters
    ----------
    collection : Searched

    Returns
    -------
    str
    """
    return f"{state.Find.collection.value}:{len(collection)}"


def area(collection: Searched) -> tuple[tuple[float, float], ...]:
    """Corners of the area that was chosen on the map of this collection; empty without one.

    Parameters
    ----------
    collection : Searched

    Returns
    -------
    tuple of (float, float)
    """
    chosen = state.Find.area.value
    return chosen[1] if chosen is not None and chosen[0] == map_identity(collection) else ()


def take_area(collection: Searched) -> None:
    """Take the area that the browser sends; a callback.

    Parameters
    ----------
    collection : Searched
        That was drawn.
    """
    sent = state.sent_by("find_map").get("area")
    identity = map_identity(collection)
    if not isinstance(sent, dict) or sent.get("identity") != identity:
        return
    corners = _corners(sent.get("points"))
    if corners is not None:
        state.Find.area.value = (identity, corners)


def _corners(sent: Any) -> tuple[tuple[float, float], ...] | None:
    """Corners as numbers; None for what is no area. The browser may send anything."""
    if not isinstance(sent, list) or not 3 <= len(sent) <= _MOST_CORNERS:
        return None
    corners = []
    for point in sent:
        if not isinstance(point, list) or len(point) != 2:
            return None
        if not all(isinstance(v, int | float) and math.isfinite(v) for v in point):
            return None
        corners.append((float(point[0]), float(point[1])))
    return tuple(corners)


def within(collection: Searched, where: ItemFilter) -> ItemFilter:
    """The same filter, within the area of the map.

    Parameters
    ----------
    collection : Searched
    where : ItemFilter

    Returns
    -------
    ItemFilter
    """
    corners = area(collection)
    if not corners:
        return where
    # Of a million dots it takes seconds, and the page is drawn anew with every click.
    rows = state.remembered(
        "find_area_rows",
        (collection, corners),
        lambda: collection.rows_inside(corners),
    )
    return replace(where, among=rows)


def _clear() -> None:
    state.Find.area.clear()


def show(collection: Searched, where: ItemFilter) -> None:
    """How many ECGs are chosen, what they have in common, and their table to take away.

    Parameters
    ----------
    collection : Searched
    where : ItemFilter
        With the area, see `within`.
    """
    corners, names = area(collection), search.flags_of(collection)
    everywhere = collection.everything
    # A whole collection need not be counted again.
    here = everywhere if where == ItemFilter() else collection.tally(where, names)
    if here.n == len(collection) and not corners:
        st.caption(
            "“Lasso” and “Box” choose an area of the map, and the filters above ECGs by finding: "
            "the search then goes on among these, what they have in common is told here, and they "
            "can be saved as a table."
        )
        return
    with st.container(border=True, key="find_selection", gap="small"):
        by = "in the area" if corners else "pass the filters"
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{here.n:,} of {len(collection):,} ECGs** {by}", width="content")
            if corners:
                st.button(
                    "Whole collection again", key="find_area_clear", icon=":material/close:",
                    type="tertiary", on_click=_clear,
                )  # fmt: skip
        if not here.n:
            return
        # What is rarer than everywhere is nothing that they have in common.
        shares = [one for one in services.in_common(here, everywhere) if one.share > one.base]
        if shares:
            # As a table that is read out, and not as colours alone.
            st.html(
                frame.html_table(
                    ("What they have in common", "Of these", "Of all"),
                    [_row(one) for one in shares[:_MOST_FINDINGS]],
                    label="Findings of the chosen ECGs",
                    css_class="table",
                )
            )
            st.caption(
                "What stands out most first. “Perhaps chance”: as many ECGs drawn at random would "
                f"have one of these {len(names)} findings as often in more than 1 of 20 draws."
            )
        elif names:
            st.caption("No finding is more frequent among these than in the whole collection.")
        st.caption(
            f"Uncertainty percentile: median {here.median_percentile:.0f}, and "
            f"{everywhere.median_percentile:.0f} in the collection."
        )
        frame.download(
            f"Save these {here.n:,} as a table (CSV)",
            lambda: collection.table(where),
            "selection.csv",
            frame.CSV,
            key="find_selection_csv",
        )


def _row(one: FindingShare) -> tuple[str, str, str]:
    # Numbers and their sign are never parted in a narrow cell.
    share = f"{100 * one.share:.0f}\u00a0% ({one.n:,} of {one.n_known:,})"
    return (
        search.label_words(one.name),
        f"{share}, perhaps chance" if one.chance else share,
        f"{100 * one.base:.0f}\u00a0%" if one.base >= 0.01 else f"{100 * one.base:.1f}\u00a0%",
    )
