"""What the file itself says of the open recording, beside what is found here."""

from __future__ import annotations

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import StandardEcg
from ui import frame, state

_N_TEXTS = 50


def show(ecg: StandardEcg) -> None:
    """Measurements, statements, rhythms and beats of the device; nothing where it says none.

    Parameters
    ----------
    ecg : StandardEcg
    """
    said = ecg.annotations
    if not said:
        return
    with st.expander(
        "Beats, measurements and statements in the file", icon=":material/clinical_notes:"
    ):
        st.caption(
            "Read from the file"
            + (f" ({frame.literal(', '.join(said.sources))})" if said.sources else "")
            + ". The model does not see it."
        )
        rows = state.remembered("device_rows", (ecg,), lambda: services.measurement_rows(ecg))
        if rows:
            st.html(
                frame.html_table(
                    ("", "The device", "Found here"), rows,
                    label="Measurements of the device and of this program", css_class="seen",
                )
            )  # fmt: skip
        for line in said.statements:
            st.markdown(f"- {frame.literal(line)}")
        for line in services.rhythm_lines(said):
            st.markdown(f"- Rhythm: {frame.literal(line)}")
        if beats := services.beat_words(said):
            st.markdown(f"- {beats}; their letters stand over the paper.")
        for mark in said.texts[:_N_TEXTS]:
            at = figures.clock(mark.at_s, tenths=True)
            st.markdown(f"- {at}: {frame.literal(mark.text)}")
        if len(said.texts) > _N_TEXTS:
            st.markdown(f"- and {len(said.texts) - _N_TEXTS:,} more notes")
