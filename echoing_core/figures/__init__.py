"""Results -> Plotly figures. Nothing here knows streamlit, a model or a file.

Every figure keeps the number of points near the number of pixels, whatever the length of the
recording.
"""

from echoing_core.figures.answers import answers_along_figure, answers_figure, reference_figure
from echoing_core.figures.attribution import lead_percentile
from echoing_core.figures.overview import (
    decimate_min_max,
    first_shown_lead,
    overview_figure,
    shown_percentile,
)
from echoing_core.figures.paper import FORMATS, GRID_3X4, paper_figure
from echoing_core.figures.style import SCALE, clock, colour_of
from echoing_core.figures.table import table_head
from echoing_core.figures.uncertainty_map import Mark, map_data, trace_points, unrecorded_spans

__all__ = [
    "FORMATS",
    "GRID_3X4",
    "SCALE",
    "Mark",
    "answers_along_figure",
    "answers_figure",
    "clock",
    "colour_of",
    "decimate_min_max",
    "first_shown_lead",
    "lead_percentile",
    "map_data",
    "overview_figure",
    "paper_figure",
    "reference_figure",
    "shown_percentile",
    "table_head",
    "trace_points",
    "unrecorded_spans",
]
