"""Teaching cases: a question about a simulated recording, asked above the pages that answer it.

As the guide, it stands above all pages; the answers that were given stay in the session.
"""

from __future__ import annotations

import html

import streamlit as st

from echoing_core import figures, services
from echoing_core.services import TeachingCase
from ui import frame, record, resources, state

_ALL = "all"
_LETTERS = "ABCD"


def offer() -> None:
    """The button that begins, where recordings are opened; nothing where no case ships."""
    ids = services.case_ids()
    if not ids or under_way():
        return
    st.markdown("**Learn what uncertainty shows**")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"{len(ids)} teaching cases", key="teach_begin", icon=":material/school:",
            on_click=_begin,
        )  # fmt: skip
        frame.simulated_badge()
    st.caption("A question, a recording, and the solution with what the model says to it.")


def under_way() -> bool:
    """Whether a case is shown."""
    return state.Teaching.place.value is not None and state.Guide.step.value is None


def panel(page_title: str) -> None:
    """The case, on top of the page; a new one is opened on Explore.

    Parameters
    ----------
    page_title : str
        Of the page that is drawn.
    """
    if not under_way():
        return
    # Once for each case: afterwards a person may go to any page.
    if state.Teaching.to_open.value is not None and page_title != "Explore":
        st.switch_page("pages/explore.py")
    ids = _ids()
    place = min(state.Teaching.place.value or 0, len(ids) - 1)
    case = state.remembered(
        "teaching_case", (ids[place],), lambda: services.teaching_case(ids[place])
    )
    with st.container(border=True, key="teaching", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            # A screen reader reads the new case out when it appears.
            st.html(
                '<div role="status" class="guide"><p><strong>'
                f"Teaching case {place + 1} of {len(ids)}: "
                f"{html.escape(services.STORIES[case.kind])}</strong></p></div>",
                width="content",
            )
            frame.simulated_badge()
            st.caption(_progress(), width="content")
        if len(case.recordings) > 1:
            _candidates(case)
        chosen = st.radio(
            case.question,
            range(len(case.choices)),
            format_func=lambda i: _choice_words(case, i),
            index=None,
            key=f"teach_choice_{case.case_id}",
            persist_state="session",
            horizontal=max(map(len, case.choices)) < 30,
        )
        _buttons(case, chosen, place, len(ids), page_title)
        _solution(case)


def _choice_words(case: TeachingCase, i: int) -> str:
    words = frame.literal(case.choices[i])
    # Long ones are spoken of by their number.
    return f"{i + 1}: {words}" if case.kind == services.WHICH_REPORT else words


def _progress() -> str:
    given = state.Teaching.given.value
    right = sum(given.values())
    return f"{right} right of {len(given)} answered" if given else "No case answered yet"


def _ids() -> tuple[str, ...]:
    story = state.Teaching.story.value
    every = services.case_ids()
    return tuple(one for one in every if one.startswith(f"{story}-")) or every


def _candidates(case: TeachingCase) -> None:
    """The recordings to choose among: a strip of each, and a button that opens it."""

    def drawn() -> list[str]:
        return [figures.thumbnail_svg(services.standardise(one)) for one in case.recordings]

    strips = state.remembered("teaching_strips", (case.case_id,), drawn)
    with st.container(horizontal=True, gap="xsmall", key="teach_strips"):
        for i, (letter, svg) in enumerate(zip(_LETTERS, strips, strict=False)):
            with st.container(width=156, gap="xsmall"):
                st.html(frame.picture(svg, f"ECG {letter}: ten seconds of lead II", "thumb"))
                st.button(
                    f"Open ECG {letter}", key=f"teach_open_{letter}", on_click=_open, args=(i,),
                    type="tertiary", icon=":material/folder_open:",
                )  # fmt: skip


def _buttons(case: TeachingCase, chosen: int | None, place: int, n: int, page_title: str) -> None:
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        st.button(
            "Check my answer", key="teach_check", disabled=chosen is None,
            # A primary button that cannot be pressed has no words in some themes.
            type="secondary" if chosen is None else "primary",
            on_click=_check, args=(case, chosen),
        )  # fmt: skip
        st.button(
            "Previous", key="teach_back", on_click=_to, args=(place - 1,), disabled=place == 0
        )
        st.button(
            "Next case", key="teach_next", on_click=_to, args=(place + 1,), disabled=place + 1 >= n
        )
        if page_title == "Explore" and not _is_open(case):
            st.button("Open its recording", key="teach_again", on_click=_open, args=(0,))
        st.selectbox(
            "Stories",
            [_ALL, *services.STORIES],
            format_func=lambda one: services.STORIES.get(one, "All stories, in turn"),
            key=state.Teaching.story.key,
            persist_state="session",
            on_change=_to,
            args=(0,),
            width=280,
        )
        st.button("Leave the cases", key="teach_leave", on_click=_leave, type="tertiary")


def _solution(case: TeachingCase) -> None:
    if case.case_id not in state.Teaching.given.value:
        st.caption(f"Where to look: {frame.literal(case.look)}")
        return
    right = f"“{frame.literal(case.choices[case.answer])}”"
    if state.Teaching.given.value[case.case_id]:
        st.success(f"Right: {right}. {frame.literal(case.because)}", icon=":material/check:")
    else:
        st.error(f"It is {right}. {frame.literal(case.because)}", icon=":material/close:")
    model = resources.model()

    def told() -> services.Shown:
        with resources.turn():
            return services.shown_by(model, case)

    shown = state.remembered("teaching_shown", (case.case_id, model.hash), told)
    st.markdown(f"**What the model says:** {frame.literal(shown.words)}")
    if not shown.holds:
        st.caption("This model does not show what the story says; the model demo does.")


def _is_open(case: TeachingCase) -> bool:
    current = record.opened()
    names = {one.record_id for one in case.recordings}
    return current is not None and current.recording.record_id in names


def open_case() -> None:
    """Open the case's recording once; on Explore, above what it draws."""
    # Taken before it is opened, so that a cancel is not followed by another beginning.
    number = state.Teaching.to_open.take()
    if number is None or not under_way():
        return
    with frame.guarded():
        ids = _ids()
        place = min(state.Teaching.place.value or 0, len(ids) - 1)
        case = services.teaching_case(ids[place])
        record.read_and_show(lambda: case.recordings[min(number, len(case.recordings) - 1)])


def _begin() -> None:
    state.Guide.step.clear()
    # The stories were checked with this model.
    state.App.model.value = services.DEFAULT_MODEL
    _to(0)


def _to(place: int) -> None:
    state.Teaching.place.value = place
    state.Teaching.to_open.value = 0


def _open(number: int) -> None:
    state.Teaching.to_open.value = number


def _check(case: TeachingCase, chosen: int | None) -> None:
    if chosen is not None:
        # The first answer counts: afterwards the solution is known.
        given = state.Teaching.given.value
        state.Teaching.given.value = {case.case_id: chosen == case.answer, **given}


def _leave() -> None:
    state.Teaching.place.clear()
