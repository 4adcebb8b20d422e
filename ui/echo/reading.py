"""What the teacher reads off an echocardiogram: EF, findings, and the frames' mean and variance."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import streamlit as st

from echoing_core import figures, services
from ui import frame

if TYPE_CHECKING:
    from echoing_core.services import EchoReading
    from ui.state import ReadEcho

_VIEWS = {
    "a4c": "apical four-chamber",
    "plax": "parasternal long axis",
    "psax": "parasternal short axis",
}
# More clips than that are a list of numbers and no picture.
_MOST_DRAWN = 6
FINDINGS = {
    "lvef_lt40": "LVEF < 40 %",
    "slvh": "Severe LV hypertrophy",
    "dlv": "Dilated left ventricle",
}
"""Names of the findings as the questions to the ECG have them."""

VERDICTS = {"yes": "yes", "no": "no", "unclear": "not clear", "": "not known"}


def show(read: ReadEcho) -> None:
    """Who read what, the clips, and the ejection fraction.

    Parameters
    ----------
    read : ReadEcho
    """
    reading = read.reading
    st.header("What the teacher reads off the echocardiogram", anchor=False)
    n = len(reading.clips)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(
            f"**{n} clip{'s' if n > 1 else ''}** · {reading.n_frames} frames read",
            width="content",
        )
        if reading.echo_simulated:
            frame.simulated_badge("simulated echocardiogram")
        if reading.teacher_simulated:
            frame.simulated_badge(f"read by a {frame.literal(reading.teacher)}")
        else:
            st.badge(f"read by {frame.literal(reading.teacher)}", color="blue")
    for caution in services.echo_cautions(reading):
        st.warning(frame.literal(caution), icon=":material/warning:")
    _pictures(read)
    left, right = st.columns([2, 5], gap="large")
    with left:
        st.metric("LVEF, as the teacher reads it", f"{reading.lvef_pct:.0f} %")
    with right:
        if reading.lvef_range_pct is not None:
            words = frame.literal(reading.lvef_words)
            st.markdown(f"What such a reading is worth: {words}.")
            st.caption(f"Known hearts: {frame.literal(reading.scale_source)}.")
        by_clip = [
            f"{_name(reading, i)} {clip.lvef_pct:.0f} %"
            for i, clip in enumerate(reading.clips[:_MOST_DRAWN])
            if math.isfinite(clip.lvef_pct)
        ]
        if len(reading.clips) > 1:
            st.caption(f"Of single clips: {', '.join(by_clip)}.")


def findings(read: ReadEcho) -> None:
    """The findings as the teacher reads them, and what such readings were worth.

    Parameters
    ----------
    read : ReadEcho
    """
    st.html(
        frame.html_table(
            ("Finding", "The teacher reads", "Of known hearts read alike", "Score"),
            [
                (FINDINGS[one.key], VERDICTS[one.verdict], one.worth or "never measured",
                 f"{one.score:+.3f}")
                for one in read.reading.findings
            ],
            label="Findings as the teacher reads them",
            css_class="beside sentences",
        )
    )  # fmt: skip
    st.caption(
        "Yes or no where four of five hearts that were read alike agree. The score is the mean "
        "cosine of the frames to the prompts of the finding; it is no probability."
    )


def frames(read: ReadEcho) -> None:
    """The frames' mean and variance.

    Parameters
    ----------
    read : ReadEcho
    """
    reading = read.reading
    st.header("The frames: their mean and variance", anchor=False)
    st.markdown(
        f"Each frame is a direction of length 1 in the teacher’s {reading.embedding.mu.shape[1]} "
        f"dimensions. Around their mean they vary by **{reading.spread:.4f}**"
        f"{_among(reading.spread_pct)}; within single clips, where the heart’s motion is what "
        f"changes, by **{reading.spread_within:.4f}**{_among(reading.spread_within_pct)}. The rest "
        "lies between clips. Mean and variance are what an ECG model is trained against."
    )
    drawn = reading.clips[:_MOST_DRAWN]
    times = services.frame_times_s(reading)[: len(drawn)]
    frame.chart(
        figures.echo_frames_figure(
            [_name(reading, i) for i in range(len(drawn))],
            times,
            [clip.away for clip in drawn],
            in_seconds=all(math.isfinite(clip.fps) for clip in drawn),
        ),
        key="echo_frames",
        alt="For each clip, how far each frame lies from the mean of the clip, over time.",
    )
    st.caption(
        "Squared distance of each frame from the mean of its clip; the dotted line is their mean, "
        "which is the clip’s variance. A beat shows as a rise and a fall."
    )
    if len(reading.clips) > _MOST_DRAWN:
        st.caption(f"The first {_MOST_DRAWN} of {len(reading.clips)} clips are drawn.")
    if reading.notes:
        with st.expander(f"Notes of the reader ({len(reading.notes)})", icon=":material/notes:"):
            for note in reading.notes:
                st.markdown(f"- {frame.literal(note)}")
    frame.download(
        "Download the reading (JSON)",
        lambda: json.dumps(
            {"disclaimer": frame.DISCLAIMER, **reading.to_dict()}, indent=1, ensure_ascii=False
        ),
        "echo_reading.json",
        frame.JSON,
        key="echo_json",
    )


def _pictures(read: ReadEcho) -> None:
    """The first frame of the clips, with the name of each under it."""
    shown = read.opened.pictures[:_MOST_DRAWN]
    with st.container(horizontal=True, gap="small", key="echo_pictures"):
        for i, picture in enumerate(shown):
            st.image(picture, caption=_name(read.reading, i), width=150)


def _name(reading: EchoReading, index: int) -> str:
    clip = reading.clips[index]
    return _VIEWS.get(clip.view, clip.view) or clip.clip_id[:24] or f"clip {index + 1}"


def _among(percentile: float | None) -> str:
    return "" if percentile is None else f" (more than {percentile:.0f} of 100 known studies)"
