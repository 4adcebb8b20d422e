"""Results -> Plotly figures, and what the drawings in the browser are made of.

Nothing here knows streamlit, a model or a file. Every figure keeps the number of points near the
number of pixels, whatever the length of the recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echoing_core.lazy import lazily

if TYPE_CHECKING:
    from echoing_core.figures.answers import answers_along_figure as answers_along_figure
    from echoing_core.figures.answers import reference_figure as reference_figure
    from echoing_core.figures.echo import echo_distance_figure as echo_distance_figure
    from echoing_core.figures.echo import echo_frames_figure as echo_frames_figure
    from echoing_core.figures.median_beat import FIRST_COLOUR as FIRST_COLOUR
    from echoing_core.figures.median_beat import SECOND_COLOUR as SECOND_COLOUR
    from echoing_core.figures.median_beat import beats_beside_svgs as beats_beside_svgs
    from echoing_core.figures.median_beat import median_beat_figure as median_beat_figure
    from echoing_core.figures.rhythm import interval_figure as interval_figure
    from echoing_core.figures.rhythm import rate_figure as rate_figure
    from echoing_core.figures.style import SCALE as SCALE
    from echoing_core.figures.style import SCALE_DARK as SCALE_DARK
    from echoing_core.figures.style import clock as clock
    from echoing_core.figures.style import colour_of as colour_of
    from echoing_core.figures.style import in_dark as in_dark
    from echoing_core.figures.style import packed as packed
    from echoing_core.figures.table import table_head as table_head
    from echoing_core.figures.thumbnail import thumbnail_svg as thumbnail_svg
    from echoing_core.figures.uncertainty_map import Mark as Mark
    from echoing_core.figures.uncertainty_map import decimate_min_max as decimate_min_max
    from echoing_core.figures.uncertainty_map import first_shown_lead as first_shown_lead
    from echoing_core.figures.uncertainty_map import lead_percentile as lead_percentile
    from echoing_core.figures.uncertainty_map import map_data as map_data
    from echoing_core.figures.uncertainty_map import trace_points as trace_points
    from echoing_core.figures.uncertainty_map import unrecorded_spans as unrecorded_spans
    from echoing_core.uncertainty.intervals import shown_percentile as shown_percentile
else:
    __getattr__ = lazily(__name__, __file__)
