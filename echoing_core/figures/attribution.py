"""Which leads sigma^2 comes from: over a recording, and on the paper of one window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.style import GAP, MUTED, SCALE, stepped_scale
from echoing_core.records import LEADS, WindowTrack
from echoing_core.uncertainty.reasons import CALM_PERCENTILE, as_if_everywhere
from echoing_core.uncertainty.reference import Reference

Floats = npt.NDArray[np.float64]

_SHADE_ALPHA = (0.1, 0.6)


@dataclass(frozen=True, eq=False)
class Columns:
    """Windows gathered into as many columns as there are pixels.

    Attributes
    ----------
    seen : ndarray of int
        Windows that are shown.
    first : ndarray of int, shape (n_columns,)
        Where in ``seen`` each column begins.
    borders : ndarray, shape (n_columns + 1,)
        In seconds.
    """

    seen: npt.NDArray[np.intp]
    first: npt.NDArray[np.intp]
    borders: Floats


def lead_percentile(track: WindowTrack, reference: Reference) -> Floats:
    """Each lead of each window on the scale of whole windows, shape (n_windows, 12).

    `as_if_everywhere`: the percentile of a window whose leads were all like this one. NaN where
    the lead holds no signal: what a missing lead costs is known beforehand and no news.
    """
    assert track.by_lead is not None, "the model of this track does not tell leads apart"
    rest = track.uncertainty - track.by_lead.sum(axis=1, dtype=np.float64)
    levels = as_if_everywhere(track.by_lead, rest[:, np.newaxis], len(LEADS), reference)
    return np.where(track.valid_fraction > 0, levels, np.nan)


def add_lead_rows(
    figure: go.Figure,
    track: WindowTrack,
    reference: Reference,
    columns: Columns,
    x: Floats,
) -> None:
    """Twelve rows under the overview, on its third y-axis: one for each lead, in the same colours.

    Of several windows in one column each lead shows its highest.

    Parameters
    ----------
    x : ndarray, shape (n_columns + 1,)
        The borders of ``columns`` in the units of the axis.
    """
    levels = np.fmax.reduceat(
        lead_percentile(track, reference)[columns.seen], columns.first, axis=0
    )
    figure.add_shape(
        type="rect", xref="x domain", yref="y3 domain", x0=0, x1=1, y0=0, y1=1,
        layer="below", fillcolor=GAP, line={"width": 0},
    )  # fmt: skip
    figure.add_heatmap(
        x=x, y=np.arange(len(LEADS)), z=levels.T.astype(np.float32), yaxis="y3", zmin=0, zmax=100,
        colorscale=stepped_scale(), showscale=False, hoverongaps=False, hoverinfo="skip", ygap=1,
        name="leads",
    )  # fmt: skip
    figure.update_layout(
        yaxis3={
            "domain": [0.0, 0.38], "range": [len(LEADS) - 0.5, -0.5], "fixedrange": True,
            "tickvals": list(range(len(LEADS))), "ticktext": list(LEADS), "showgrid": False,
            "tickfont": {"size": 11, "color": MUTED}, "zeroline": False,
        }
    )  # fmt: skip


def add_shading(
    figure: go.Figure,
    lead: str,
    cell_percentile: Floats,
    length_s: float,
    shown_s: tuple[float, float],
    band_mv: tuple[float, float],
) -> None:
    """Colour behind the trace of one lead where its part of sigma^2 is high.

    Nothing below percentile 75, more colour from there to 100: the scale belongs to the model.

    Parameters
    ----------
    cell_percentile : ndarray, shape (n_chunks,)
        `as_if_everywhere` of this lead's chunks, which cover ``length_s`` seconds.
    shown_s : (float, float)
        Stretch of the window that is drawn.
    band_mv : (float, float)
        Lower and upper edge on the page.
    """
    edges = np.linspace(0.0, length_s, len(cell_percentile) + 1)
    shown = (edges[1:] > shown_s[0] + 1e-9) & (edges[:-1] < shown_s[1] - 1e-9)
    levels = np.where(cell_percentile >= CALM_PERCENTILE, cell_percentile, np.nan)[shown]
    if np.isnan(levels).all():
        return
    borders = np.append(edges[:-1][shown], edges[1:][shown][-1]).clip(*shown_s)
    figure.add_heatmap(
        x=borders, y=band_mv, z=[levels.astype(np.float32)], zmin=CALM_PERCENTILE, zmax=100,
        colorscale=[(i, _shade(alpha)) for i, alpha in enumerate(_SHADE_ALPHA)],
        showscale=False, hoverongaps=False, hoverinfo="skip", name=f"shading {lead}",
        meta={"kind": "shading", "lead": lead},
    )  # fmt: skip


def _shade(alpha: float) -> str:
    """The brightest colour of `SCALE`, see-through."""
    red, green, blue = (int(SCALE[-1][i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
