"""What changed from A to B on the waveform: the beats over each other, and their measurements."""

from __future__ import annotations

import numpy as np
import streamlit as st

from echoing_core import figures, services
from echoing_core.services import Serial
from ui import by_hand, frame, state
from ui.compare.sides import Side


def measured(one: Side, other: Side) -> Serial:
    """Both sides measured, and their differences.

    Parameters
    ----------
    one, other : Side
        Of two times of one recording, and of long recordings, the chosen windows are measured; of
        others all that there is.

    Returns
    -------
    Serial
    """
    same = one.record.recording is other.record.recording
    found = []
    for side in (one, other):
        window = (side.start_s, side.track.window_s)
        if not same:
            stretch = by_hand.stretch(side.record.recording, *window)
        else:
            # Of a recording that is one window long there is nothing else.
            stretch = window if len(side.track) > 1 else None
        found.append(
            by_hand.measured(side.record.recording, stretch, f"compare_measured_{side.letter}")
        )
    serial: Serial = state.remembered(
        "compare_changes", tuple(found), lambda: services.compare_measured(found[0], found[1])
    )
    return serial


def show(serial: Serial) -> None:
    """The median beats lead by lead, and a table of differences with their intervals.

    Parameters
    ----------
    serial : Serial
    """
    st.header("What changed in the beats?", anchor=False)
    if serial.beats is None:
        words = _lettered(serial.why)
        st.info(frame.literal(words[:1].upper() + words[1:]), icon=":material/info:")
        if all(d.value is None for d in serial.differences):
            # A table of fourteen times the same reason says no more.
            return
    st.markdown(_summary(serial))
    if serial.beats is not None:
        _beats(serial)
    rows = [[_lettered(cell) for cell in row] for row in services.serial_rows(serial)]
    st.html(
        frame.html_table(
            ("", "A", "B", "B less A (95 % interval)", ""),
            rows,
            label="Measurements of A and B, and their differences",
            css_class="beside sentences",
        )
    )
    for note in services.serial_notes(serial):
        st.caption(frame.literal(_lettered(note)))
    if serial.by_lead:
        with st.expander("Heights lead by lead"):
            st.html(
                frame.html_table(
                    ("Lead", "", "A", "B", "B less A (95 % interval)", ""),
                    [
                        [_lettered(cell) for cell in row]
                        for row in services.serial_lead_rows(serial)
                    ],
                    label="Heights of A and B in each lead, and their differences",
                    css_class="beside sentences",
                )
            )
    st.caption(
        "Measured on the median beats; the model does not take part. An interval holds how beats "
        "vary and what two measurements of one heart differ by, not where electrodes were put. "
        f"{services.VISIT_NOTE} Not for diagnosis."
    )


def _summary(serial: Serial) -> str:
    """What changed, in one line."""
    changed = [d for d in serial.differences if d.changed and d.one.name not in _SAID_BY_OTHERS]
    much = [
        f"{frame.literal(d.one.words)} {frame.literal(services.difference_words(d))}"
        for d in changed
        if d.beyond_visits
    ]
    little = [frame.literal(d.one.words) for d in changed if not d.beyond_visits]
    n_not = sum(d.value is None for d in serial.differences)
    lacking = f" {n_not} of {len(serial.differences)} cannot be compared." if n_not else ""
    if much:
        said = f"**Changed by more than from visit to visit**: {'; '.join(much)}."
    elif little:
        said = "**No measurement changed** by more than from visit to visit."
    else:
        return f"**No measurement changed** by more than repeats differ by.{lacking}"
    return said + (f" Changed by less than that: {', '.join(little)}." if little else "") + lacking


# One formula is enough of a sentence; the table has all four.
_SAID_BY_OTHERS = frozenset(
    {"qtc_bazett_ms", "qtc_framingham_ms", "qtc_hodges_ms", "sokolow_lyon_mv", "cornell_mv"}
)


def _lettered(words: str) -> str:
    # The core knows a first and a second; on this page they are called A and B.
    for core, here in (("the first", "A"), ("the second", "B")):
        words = words.replace(core, here)
    return words


def _beats(serial: Serial) -> None:
    beats = serial.beats
    if beats is None:
        return
    likeness = dict(zip(beats.leads, np.round(beats.likeness, 2).tolist(), strict=True))
    pictures = []
    for lead, svg in figures.beats_beside_svgs(beats).items():
        said = f"{likeness[lead]:.2f}"
        alt = f"Lead {lead}: median beats of A and B over each other, likeness {said}"
        pictures.append(
            f"<figure>{frame.picture(svg, alt)}"
            f"<figcaption><b>{lead}</b> {said}</figcaption></figure>"
        )
    # Letters of leads and numbers of ours alone.
    st.html(
        '<div class="beats_key"><span class="a">A</span><span class="b">B</span><span>Median beats '
        "over each other from the onset of the QRS, 25 mm/s and 10 mm/mV; the number is how alike "
        f'they are, 1 the same shape.</span></div><div class="beats">{"".join(pictures)}</div>'
    )
