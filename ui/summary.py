"""What the open recording is, and what the model saw of it."""

from __future__ import annotations

import html
from functools import partial
from typing import TYPE_CHECKING, Literal

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import LEADS, Recording, StandardEcg
from echoing_core.services import Seen, SeenLead
from ui import frame, state

if TYPE_CHECKING:
    from ui.record import OpenRecord

# A person looks for the first few; a torn recording has thousands.
_SHOWN_GAPS = 12
_ORIGIN = {"measured": "measured", "derived": "derived", "missing": "not recorded"}


def show(record: OpenRecord) -> None:
    """One line that says what the recording is, and what the reader noted about it.

    Parameters
    ----------
    record : OpenRecord
    """
    recording, ecg = record.recording, record.explanation.ecg
    parts = [f"**{frame.literal(recording.record_id)}**", frame.literal(recording.file_format)]
    parts.append(f"{recording.fs_hz:g} → {ecg.fs_hz:g} Hz")
    # Seconds with a tenth below a minute, a clock above.
    short = recording.duration_s < 60
    parts.append(f"{recording.duration_s:.1f} s" if short else figures.clock(recording.duration_s))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(" · ".join(parts), width="content")
        if recording.simulated:
            frame.simulated_badge()
        for words, colour in _lead_badges(record):
            st.badge(words, color=colour)
    for caution in record.explanation.cautions:
        st.warning(frame.literal(caution), icon=":material/warning:")


def _lead_badges(record: OpenRecord) -> list[tuple[str, Literal["green", "blue", "gray"]]]:
    """What is measured, derived and missing, in words short enough for one line each."""
    ecg = record.explanation.ecg
    badges: list[tuple[str, Literal["green", "blue", "gray"]]] = []
    measured, derived = ecg.leads_with("measured"), ecg.leads_with("derived")
    missing = ecg.leads_with("missing")
    if measured:
        words = "all 12 leads" if len(measured) == len(LEADS) else ", ".join(measured)
        badges.append((f"measured: {words}", "green"))
    if derived:
        words = "all 12 leads" if len(derived) == len(LEADS) else ", ".join(derived)
        how = f" ({frame.literal(ecg.derivation)})" if ecg.derivation else ""
        badges.append((f"derived: {words}{how}", "blue"))
    if missing:
        badges.append((f"not recorded: {', '.join(missing)}", "gray"))
    return badges


def what_the_model_saw(recording: Recording, ecg: StandardEcg) -> None:
    """An expander with everything that happened between the file and the model.

    Parameters
    ----------
    recording : Recording
    ecg : StandardEcg
        Of the recording.
    """
    # Over a day of samples, so once for each recording and not on every run.
    seen = state.remembered("seen", (ecg,), partial(services.what_the_model_saw, recording, ecg))
    n = len(seen.notes)
    label = "What the model saw" + (f" ({n} note{'s' if n > 1 else ''})" if n else "")
    with st.expander(label, icon=":material/visibility:"):
        for note in seen.notes:
            st.markdown(f"- {frame.literal(note)}")
        low, high = seen.band_hz
        st.markdown(
            f"Read from {frame.literal(seen.file_format)} at {seen.source_fs_hz:g} Hz, filtered to "
            f"{low:g}–{high:g} Hz, then brought to {seen.fs_hz:g} Hz. Filters below are those that "
            "the file says the recorder used."
        )
        st.html(_table(seen.leads))
        st.markdown(_gaps(seen))


def _table(leads: tuple[SeenLead, ...]) -> str:
    """What became of each lead of the file."""
    rows = []
    for lead in leads:
        called = lead.source if lead.origin == "measured" else ""
        if lead.renamed:
            # What a file spells is text, never markup.
            called = frame.Html(f"{html.escape(called)} <em>(renamed)</em>")
        how = _ORIGIN[lead.origin]
        if lead.origin == "derived":
            how += f": {lead.source}"
        share = "" if lead.origin == "missing" else f"{_percent(lead.measured_pct)} %"
        rows.append((lead.lead, how, called, lead.stated, share))
    return frame.html_table(
        ("Lead", "Comes from", "Called in the file", "The file says", "Present"),
        rows,
        label="Leads the model saw",
        css_class="seen",
        row_classes=[lead.origin for lead in leads],
    )


def _percent(value: float) -> str:
    """Never "100" while something is missing."""
    return "100" if value == 100.0 else f"{min(value, 99.9):.1f}"


def _gaps(seen: Seen) -> str:
    if not seen.n_gaps:
        return "No gaps."
    lines = [f"Gaps, with the moments beside them that the filter blurs ({seen.n_gaps:,}):", ""]
    for gap in seen.gaps[:_SHOWN_GAPS]:
        span = f"{figures.clock(gap.start_s, tenths=True)} to "
        span += figures.clock(gap.stop_s, tenths=True)
        # Leads that were never recorded have no gaps, and "all leads" does not mean them.
        n_there = sum(lead.origin != "missing" for lead in seen.leads)
        which = "all leads" if len(gap.leads) == n_there else ", ".join(gap.leads)
        lines.append(f"- {span}: {which}")
    if seen.n_gaps > _SHOWN_GAPS:
        lines.append(f"- and {seen.n_gaps - _SHOWN_GAPS:,} more")
    return "\n".join(lines)
