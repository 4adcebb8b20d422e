"""Ten seconds on ECG paper: 25 mm/s, 10 mm/mV, 3x4 leads and a rhythm strip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from echoing_core.figures.style import FONT, GAP, INK, MUTED
from echoing_core.records import LEADS, WINDOW_S, StandardEcg

Floats = npt.NDArray[np.float64]

GRID_3X4: tuple[tuple[str, ...], ...] = (
    ("I", "aVR", "V1", "V4"),
    ("II", "aVL", "V2", "V5"),
    ("III", "aVF", "V3", "V6"),
)
"""Rows of the printed page; each column is a quarter of the ten seconds."""

RHYTHM_LEAD = "II"
SPEED_MM_S, GAIN_MM_MV = 25.0, 10.0
PULSE_MV, PULSE_S = 1.0, 0.2
_NAME_MV = 1.1
_PULSE_LEFT_S = 0.62
_SECONDS_MV = 0.35
_FINE, _BOLD, _PAPER, _TRACE, _DERIVED = "#f9dcdc", "#eeb0b0", "#fffafa", "#16181d", "#3b3f9b"


@dataclass(frozen=True)
class _Row:
    """Leads beside each other on one baseline.

    Attributes
    ----------
    leads : tuple of str
    base : float
        Their zero line, in millivolts below that of the first row (negative).
    band : (float, float)
        Lower and upper edge of what belongs to this row.
    rhythm : bool
        True for a lead that is shown a second time, in full.
    """

    leads: tuple[str, ...]
    base: float
    band: tuple[float, float]
    rhythm: bool = False


def page_rows(ecg: StandardEcg, begin: int, end: int) -> list[_Row]:
    """Where the leads go on the page.

    As on a printed page, the same distance everywhere, but more of it where the complexes of two
    rows would touch, and at most 4 mV, so that a loose electrode does not stretch the page.

    Parameters
    ----------
    ecg : StandardEcg
    begin, end : int
        Samples that are shown.

    Returns
    -------
    list of _Row
        From top to bottom.
    """
    leads = [*GRID_3X4, (_rhythm_lead(ecg),)]
    up, down = np.array([_reach(ecg, row, begin, end) for row in leads]).transpose(1, 0, 2)
    # (rows, quarters): only complexes in the same quarter of the page can touch.
    touching = down[:-1] + up[1:] + 0.2
    distance = np.full(len(leads) - 1, np.clip(np.ceil(2 * touching.max()) / 2, 2.5, 4.0))
    above = np.clip(up[0].max() + 0.2, 1.5, 4.0)
    below = np.clip(down[-1].max() + 0.2, 1.2, 4.0)
    # Upwards is positive, and the page goes down.
    base = -np.concatenate([[0.0], np.cumsum(distance)])
    edges = np.concatenate([[above], base[:-1] - 0.5 * distance, [base[-1] - below]])
    return [
        _Row(row, float(b), (float(low), float(high)), i == len(GRID_3X4))
        for i, (row, b, low, high) in enumerate(zip(leads, base, edges[1:], edges, strict=False))
    ]


def _reach(
    ecg: StandardEcg, leads: tuple[str, ...], begin: int, end: int
) -> tuple[list[float], list[float]]:
    """How far up and down the leads of a row go in each quarter of its length."""
    cuts = np.linspace(begin, end, 5).round().astype(int)
    up, down = [0.0] * 4, [0.0] * 4
    for j in range(4):
        index, part = LEADS.index(leads[j % len(leads)]), slice(cuts[j], cuts[j + 1])
        shown = ecg.signal_mv[index, part][ecg.valid[index, part]]
        if shown.size:
            up[j], down[j] = max(float(shown.max()), 0.0), max(-float(shown.min()), 0.0)
    return up, down


def paper_figure(
    ecg: StandardEcg,
    start_s: float,
    length_s: float = WINDOW_S,
    *,
    width_px: int = 1280,
) -> go.Figure:
    """The leads of one stretch as they are printed, with a calibration pulse in each row.

    One second is 25 mm wide and one millivolt 10 mm high at any size: the axes are tied, so
    pixels per second are 2.5 times pixels per millivolt. Small boxes are 0.04 s and 0.1 mV,
    large ones 0.2 s and 0.5 mV. A lead that was not recorded is named and left empty, a derived
    one is drawn and named in blue.

    Parameters
    ----------
    ecg : StandardEcg
    start_s : float
    length_s : float
        Shown length in seconds; each of the four columns gets a quarter.
    width_px : int
        Width that the page has for it; it decides the height, never the scale.

    Returns
    -------
    plotly.graph_objects.Figure
    """
    begin = round(start_s * ecg.fs_hz)
    end = min(begin + round(length_s * ecg.fs_hz), ecg.n_times)
    rows = page_rows(ecg, begin, end)
    figure = go.Figure()
    for row in rows:
        _add_pulse(figure, row.base)
        share_s = length_s / len(row.leads)
        for column, lead in enumerate(row.leads):
            place = _Place(column * share_s, share_s, row.base)
            _add_name(figure, ecg, lead, begin, place)
            if _origin(ecg, lead) == "missing":
                continue
            _add_lead(figure, ecg, lead, begin, end, place, rhythm=row.rhythm)
            if column:
                _add_separator(figure, column * share_s, row.base)
    _add_seconds(figure, length_s, rows[-1].band[0])
    _frame(figure, length_s, rows[0].band[1], rows[-1].band[0] - _SECONDS_MV, width_px)
    return figure


@dataclass(frozen=True)
class _Place:
    """Where a lead goes on the page: its left edge, its length, its zero line."""

    left_s: float
    length_s: float
    base: float


def _frame(figure: go.Figure, length_s: float, top: float, bottom: float, width_px: int) -> None:
    # Height follows from the width in millimetres, so that boxes are square at any size.
    width_mm = (length_s + _PULSE_LEFT_S + 0.1) * SPEED_MM_S
    height_mm = (top - bottom) * GAIN_MM_MV
    hidden = {"showticklabels": False, "zeroline": False, "ticks": "", "showline": False}
    figure.update_layout(
        template="none", showlegend=False, font={"family": FONT, "color": INK},
        height=round((width_px - 4) * height_mm / width_mm) + 12,
        margin={"l": 2, "r": 2, "t": 6, "b": 6},
        paper_bgcolor="white", plot_bgcolor=_PAPER, dragmode="zoom", hovermode="closest",
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={
            **hidden, "range": [-_PULSE_LEFT_S, length_s + 0.1], "dtick": 0.2, "tick0": 0,
            "gridcolor": _BOLD, "gridwidth": 1, "constrain": "domain", "constraintoward": "left",
            "minor": {"dtick": 0.04, "tick0": 0, "gridcolor": _FINE, "showgrid": True},
        },
        yaxis={
            **hidden, "range": [bottom, top], "dtick": 0.5, "tick0": 0, "scaleanchor": "x",
            "scaleratio": GAIN_MM_MV / SPEED_MM_S, "constrain": "domain",
            "constraintoward": "top",
            "gridcolor": _BOLD, "gridwidth": 1,
            "minor": {"dtick": 0.1, "tick0": 0, "gridcolor": _FINE, "showgrid": True},
        },
    )  # fmt: skip


def _add_pulse(figure: go.Figure, base: float) -> None:
    """1 mV for 0.2 s: 10 mm high and 5 mm wide."""
    rise, left = -0.4, -0.5
    figure.add_scatter(
        x=[left, rise, rise, rise + PULSE_S, rise + PULSE_S, rise + PULSE_S + 0.1],
        y=[base + level * PULSE_MV for level in (0, 0, 1, 1, 0, 0)],
        mode="lines", line={"color": _TRACE, "width": 1.2}, name="calibration", hoverinfo="skip",
        meta={"kind": "calibration"},
    )  # fmt: skip


def _add_separator(figure: go.Figure, x_s: float, base: float) -> None:
    """Two short ticks where one lead of a row ends and the next begins."""
    for level in (-0.55, 0.55):
        figure.add_shape(
            type="line", x0=x_s, x1=x_s, y0=base + level - 0.15, y1=base + level + 0.15,
            line={"color": MUTED, "width": 1.2}, name="separator",
        )  # fmt: skip


def _add_seconds(figure: go.Figure, length_s: float, bottom: float) -> None:
    """The seconds of the window, so that "seconds 3 to 6" can be found."""
    for second in range(int(length_s) + 1):
        figure.add_annotation(
            x=second, y=bottom - _SECONDS_MV / 2, text=f"{second} s", showarrow=False,
            font={"size": 11, "color": MUTED}, name=f"second {second}",
        )  # fmt: skip


def _add_name(figure: go.Figure, ecg: StandardEcg, lead: str, begin: int, place: _Place) -> None:
    """The lead's name above its trace, and whether it was recorded."""
    origin = _origin(ecg, lead)
    words = f"<b>{lead}</b>"
    if origin == "derived":
        words += " <i style='font-size:11px'>derived</i>"
    first = begin + round(place.left_s * ecg.fs_hz)
    x = place.left_s + _free_place(ecg, lead, first, origin == "derived")
    y = place.base + _NAME_MV
    colour = {"measured": INK, "derived": _DERIVED, "missing": MUTED}[origin]
    figure.add_annotation(
        x=x, y=y, text=words, showarrow=False, xanchor="left", align="left", yanchor="middle",
        font={"size": 14, "color": colour}, name=f"lead {lead}",
    )  # fmt: skip
    if origin == "missing":
        figure.add_annotation(
            x=place.left_s + min(place.length_s, 2.5) / 2, y=place.base, text="not recorded",
            showarrow=False, font={"size": 13, "color": MUTED}, name=f"missing {lead}",
        )  # fmt: skip


def _add_lead(
    figure: go.Figure,
    ecg: StandardEcg,
    lead: str,
    begin: int,
    end: int,
    place: _Place,
    *,
    rhythm: bool,
) -> None:
    a = begin + round(place.left_s * ecg.fs_hz)
    b = min(a + round(place.length_s * ecg.fs_hz), end)
    row = LEADS.index(lead)
    valid = ecg.valid[row, a:b]
    millivolts = np.where(valid, ecg.signal_mv[row, a:b].astype(np.float64), np.nan)
    shown_s = (np.arange(a, b) - begin) / ecg.fs_hz
    _add_gaps(figure, shown_s, valid, place.base)
    figure.add_scatter(
        x=shown_s, y=place.base + millivolts, customdata=np.round(millivolts, 3), mode="lines",
        line={"color": _DERIVED if _origin(ecg, lead) == "derived" else _TRACE, "width": 1.3},
        name=f"{lead} rhythm" if rhythm else lead, connectgaps=False,
        meta={"kind": "rhythm" if rhythm else "lead", "lead": lead, "base_mv": place.base},
        hovertemplate=f"{lead}  %{{x:.2f}} s  %{{customdata:.2f}} mV<extra></extra>",
    )  # fmt: skip


def _free_place(ecg: StandardEcg, lead: str, first: int, long_name: bool) -> float:
    """Seconds into the lead, of the first one, where its name covers none or least of the trace.

    Always above its own trace: below, it could be read as the name of the next row.
    """
    width_n = round((0.6 if long_name else 0.28) * ecg.fs_hz)
    shifts_s = np.arange(0.04, 0.9, 0.06)
    row = LEADS.index(lead)
    covered = []
    for shift_s in shifts_s:
        start = first + round(shift_s * ecg.fs_hz)
        shown = ecg.signal_mv[row, start : start + width_n]
        covered.append(int((shown > _NAME_MV - 0.2).sum()))
    return float(shifts_s[int(np.argmin(covered))])


def _add_gaps(
    figure: go.Figure, shown_s: Floats, valid: npt.NDArray[np.bool_], base: float
) -> None:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid, [True]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2):
        figure.add_shape(
            type="rect", x0=shown_s[start], x1=shown_s[stop - 1], y0=base - 0.8, y1=base + 0.8,
            line={"width": 0}, fillcolor=GAP, opacity=0.6, layer="below", name="gap",
        )  # fmt: skip


def _origin(ecg: StandardEcg, lead: str) -> str:
    return ecg.lead_origin[LEADS.index(lead)]


def _rhythm_lead(ecg: StandardEcg) -> str:
    """Lead II, or the first lead there is."""
    present = [lead for lead in LEADS if _origin(ecg, lead) != "missing"]
    return RHYTHM_LEAD if RHYTHM_LEAD in present or not present else present[0]
