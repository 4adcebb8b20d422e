"""Ten seconds on ECG paper: 25 mm/s, 10 mm/mV, 3x4 leads and a rhythm strip."""

from __future__ import annotations

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
_LEFT_S = 0.62
_NAME_MV = 1.1
_FINE, _BOLD, _PAPER, _TRACE, _DERIVED = "#f9dcdc", "#eeb0b0", "#fffafa", "#16181d", "#3b3f9b"


def row_layout_mv(ecg: StandardEcg, begin: int, end: int) -> tuple[float, float, float]:
    """Distance between rows, room above the first and room below the last, in millivolts.

    As on a printed page, but with more room where the complexes of two rows would touch; at
    most 4 mV, so that a loose electrode does not stretch the page.
    """
    rows = [*GRID_3X4, (_rhythm_lead(ecg),) * 4]
    cuts = np.linspace(begin, end, 5).round().astype(int)
    up, down = np.zeros((len(rows), 4)), np.zeros((len(rows), 4))
    for i, leads in enumerate(rows):
        for j, lead in enumerate(leads):
            index, part = LEADS.index(lead), slice(cuts[j], cuts[j + 1])
            shown = ecg.signal_mv[index, part][ecg.valid[index, part]]
            if shown.size:
                up[i, j], down[i, j] = max(shown.max(), 0.0), max(-shown.min(), 0.0)
    touching = float((down[:-1] + up[1:]).max()) + 0.2
    spacing = float(np.clip(np.ceil(2.0 * touching) / 2.0, 2.5, 4.0))
    above = float(np.clip(up[0].max() + 0.2, 1.5, 4.0))
    below = float(np.clip(down[-1].max() + 0.2, 1.2, 4.0))
    return spacing, above, below


def paper_figure(
    ecg: StandardEcg, start_s: float, length_s: float = WINDOW_S, *, width_px: int = 1280
) -> go.Figure:
    """The leads of one stretch as they are printed: 3x4, a rhythm strip, a calibration pulse.

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
    """
    begin = round(start_s * ecg.fs_hz)
    end = min(begin + round(length_s * ecg.fs_hz), ecg.n_times)
    spacing, above, below = row_layout_mv(ecg, begin, end)
    figure = go.Figure()
    quarter = length_s / 4
    for row, leads in enumerate(GRID_3X4):
        _add_pulse(figure, -row * spacing)
        for column, lead in enumerate(leads):
            _add_lead(figure, ecg, lead, begin, end, column * quarter, quarter, -row * spacing)
            if column:
                _add_separator(figure, column * quarter, -row * spacing)
    rhythm = _rhythm_lead(ecg)
    base = -len(GRID_3X4) * spacing
    _add_pulse(figure, base)
    _add_lead(figure, ecg, rhythm, begin, end, 0.0, length_s, base, rhythm=True)
    _frame(figure, length_s, above, base - below, width_px)
    return figure


def _frame(figure: go.Figure, length_s: float, top: float, bottom: float, width_px: int) -> None:
    width_mm = (length_s + _LEFT_S + 0.1) * SPEED_MM_S
    height_mm = (top - bottom) * GAIN_MM_MV
    hidden = {"showticklabels": False, "zeroline": False, "ticks": "", "showline": False}
    figure.update_layout(
        template="none", showlegend=False, font={"family": FONT, "color": INK},
        height=round((width_px - 4) * height_mm / width_mm) + 12,
        margin={"l": 2, "r": 2, "t": 6, "b": 6},
        paper_bgcolor="white", plot_bgcolor=_PAPER, dragmode="zoom", hovermode="closest",
        hoverlabel={"bgcolor": "white", "font": {"color": INK}},
        xaxis={
            **hidden, "range": [-_LEFT_S, length_s + 0.1], "dtick": 0.2, "tick0": 0,
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


def _add_lead(
    figure: go.Figure,
    ecg: StandardEcg,
    lead: str,
    begin: int,
    end: int,
    left_s: float,
    length_s: float,
    base: float,
    *,
    rhythm: bool = False,
) -> None:
    origin = _origin(ecg, lead)
    colour = {"measured": INK, "derived": _DERIVED, "missing": MUTED}[origin]
    words = f"<b>{lead}</b>"
    if origin == "derived":
        words += " <i style='font-size:11px'>derived</i>"
    shift_s = _free_place(ecg, lead, begin + round(left_s * ecg.fs_hz), origin == "derived")
    figure.add_annotation(
        x=left_s + shift_s, y=base + _NAME_MV, text=words, showarrow=False, xanchor="left",
        yanchor="middle", font={"size": 14, "color": colour}, name=f"lead {lead}",
    )  # fmt: skip
    if origin == "missing":
        figure.add_annotation(
            x=left_s + length_s / 2, y=base, text="not recorded", showarrow=False,
            font={"size": 13, "color": MUTED}, name=f"missing {lead}",
        )  # fmt: skip
        return
    a = begin + round(left_s * ecg.fs_hz)
    b = min(a + round(length_s * ecg.fs_hz), end)
    row = LEADS.index(lead)
    valid = ecg.valid[row, a:b]
    millivolts = np.where(valid, ecg.signal_mv[row, a:b].astype(np.float64), np.nan)
    shown_s = (np.arange(a, b) - begin) / ecg.fs_hz
    _add_gaps(figure, shown_s, valid, base)
    figure.add_scatter(
        x=shown_s, y=base + millivolts, customdata=np.round(millivolts, 3), mode="lines",
        line={"color": colour if origin == "derived" else _TRACE, "width": 1.3},
        name=f"{lead} rhythm" if rhythm else lead, connectgaps=False,
        meta={"kind": "rhythm" if rhythm else "lead", "lead": lead, "base_mv": base},
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
