"""Intervals, axes and voltages of the open recording, or of the chosen window of a long one."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import Recording
from echoing_core.services import Explanation, Measured
from ui import by_hand, frame, state, windows


def show_measurements(recording: Recording, explanation: Explanation) -> None:
    """A closed panel with what is measured of the median beat, its spread, and what is not.

    Parameters
    ----------
    recording : Recording
        At its own sampling rate.
    explanation : Explanation
        Of the same recording; its chosen window is measured where the recording is long.
    """
    # Measured when it is open: half a second that not every visit needs.
    words = "Measurements: PR, QRS, QT, axes, voltages"
    box = frame.panel(words, ":material/straighten:", "measurements_panel")
    if box is not None:
        with box, frame.guarded():
            panel(_measured(recording, explanation), by_hand.kept_of(recording))


def _measured(recording: Recording, explanation: Explanation) -> Measured:
    return by_hand.measured(recording, stretch_of(recording, explanation), "measured")


def moved(recording: Recording, explanation: Explanation) -> Measured | None:
    """What is measured with marks that were set by hand; None where none were."""
    stretch = stretch_of(recording, explanation)
    if not by_hand.marks_of(recording, 0.0 if stretch is None else stretch[0]):
        return None
    return by_hand.measured(recording, stretch, "measured")


def stretch_of(recording: Recording, explanation: Explanation) -> tuple[float, float] | None:
    """What is measured of the open recording now, as `by_hand.measured` takes it."""
    track = explanation.track
    # Of a short recording all is measured, whatever is chosen.
    if recording.duration_s <= services.MEASURED_WHOLE_S:
        return None
    start_s = float(track.start_s[windows.chosen(track)])
    return by_hand.stretch(recording, start_s, track.window_s)


def panel(found: Measured, kept: state.ByHand) -> None:
    """What was measured, as tables and as files.

    Parameters
    ----------
    found : Measured
    kept : ByHand
        Whose calipers go into the files.
    """
    rows = [tuple(row) for row in services.measured_rows(found)]
    st.html(
        frame.html_table(
            ("", "Value", "SD over beats", "The device", "Remarks"),
            rows,
            label="Measurements of this recording",
            css_class="beside sentences",
        )
    )
    beat = found.beat
    said = [f"Of the median of {beat.n_beats} of {beat.n_found} beats."] if beat else []
    said += [frame.literal(note) for note in found.notes]
    st.caption(
        " ".join(
            [*said, "Measured on the waveform; the model does not take part. Not for diagnosis."]
        )
    )
    if beat is not None:
        figure = figures.median_beat_figure(found)
        if st.context.theme.type == "dark":
            figure = figures.in_dark(figure)
        st.plotly_chart(
            figure,
            key="median_beat",
            theme=None,
            config=frame.CHART_CONFIG,
            alt="The median beat in every lead, with bands where P, QRS and T begin and end. The "
            "table above holds their lengths.",
        )
    for table in services.measured_tables(found)[1:]:
        with st.expander(table.title):
            st.html(
                frame.html_table(
                    table.header,
                    table.rows,
                    label="Measurements lead by lead",
                    css_class="beside sentences",
                )
            )
            st.caption(frame.literal(table.note))
    # The name of the file may be a person's; the one typed for the report takes its place.
    name = services.clean_name(state.Document.name.value) or "recording"
    taken = replace(found, record_id=name)
    with st.container(horizontal=True, gap="small"):
        frame.download(
            "Measurements as CSV",
            lambda: services.measured_csv([taken], kept.calipers),
            "measurements.csv",
            frame.CSV,
        )
        frame.download(
            "Measurements as JSON",
            lambda: services.measured_json(taken, kept.calipers),
            "measurements.json",
            frame.JSON,
        )
