"""What the model saw of a recording: leads, units, rate, filters, gaps and notes."""

from __future__ import annotations

import html

import streamlit as st

from echoing_core import figures, services
from echoing_core.records import Recording, StandardEcg
from echoing_core.services import Seen, SeenLead
from ui import frame

_SHOWN_GAPS = 12
_ORIGIN = {"measured": "measured", "derived": "derived", "missing": "not recorded"}


def section(recording: Recording, ecg: StandardEcg) -> None:
    """An expander with everything that happened between the file and the model."""
    seen = _seen(recording, ecg)
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
        if seen.left_out:
            left = ", ".join(seen.left_out)
            st.markdown(f"In the file but not used: {frame.literal(left)}.")
        st.markdown(_gaps(seen))


def _seen(recording: Recording, ecg: StandardEcg) -> Seen:
    """Worked out once for each open recording, kept in this session alone."""
    kept = st.session_state.get("seen")
    if kept is None or kept[0] is not ecg:
        kept = (ecg, services.what_the_model_saw(recording, ecg))
        st.session_state["seen"] = kept
    seen: Seen = kept[1]
    return seen


def _table(leads: tuple[SeenLead, ...]) -> str:
    """A plain table: it is read aloud row by row, and scrolls in its own box."""
    heads = ("Lead", "Comes from", "Called in the file", "The file says", "Present")
    rows = []
    for lead in leads:
        # What a file spells is text, never markup.
        called = html.escape(lead.source) if lead.origin == "measured" else ""
        if lead.renamed:
            called += " <em>(renamed)</em>"
        how = _ORIGIN[lead.origin]
        if lead.origin == "derived":
            how += f": {html.escape(lead.source)}"
        share = "" if lead.origin == "missing" else f"{_percent(lead.measured_pct)} %"
        cells = (how, called, html.escape(lead.stated), share)
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr class="{lead.origin}"><th scope="row">{lead.lead}</th>{body}</tr>')
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    return (
        "<style>.seen{overflow-x:auto}.seen table{border-collapse:collapse;font-size:.875rem}"
        ".seen th,.seen td{padding:.15rem .9rem .15rem 0;text-align:left;white-space:nowrap}"
        ".seen thead th{font-weight:600;border-bottom:1px solid rgba(128,128,128,.4)}"
        ".seen tr.missing{opacity:.7}</style>"
        '<div class="seen" tabindex="0" role="region" aria-label="Leads the model saw">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
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
        n_there = sum(lead.origin != "missing" for lead in seen.leads)
        which = "all leads" if len(gap.leads) == n_there else ", ".join(gap.leads)
        lines.append(f"- {span}: {which}")
    if seen.n_gaps > _SHOWN_GAPS:
        lines.append(f"- and {seen.n_gaps - _SHOWN_GAPS:,} more")
    return "\n".join(lines)
