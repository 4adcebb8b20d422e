"""What every page has: its title, the disclaimer, and errors as sentences."""

from __future__ import annotations

import base64
import html
import logging
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

from echoing_core import figures
from echoing_core.errors import EchoingError, of_the_system
from ui import state

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator
    from streamlit.navigation.page import Page as StreamlitPage

    from echoing_core.services import Model

logger = logging.getLogger(__name__)

DISCLAIMER = "Research use only, not a medical device"

CSV, JSON, PARQUET = "text/csv", "application/json", "application/vnd.apache.parquet"
CHART_CONFIG = {"displayModeBar": False, "scrollZoom": False}
"""Of Plotly charts that are looked at and not zoomed."""

_UI = Path(__file__).parent
# One file of fixed text; nothing of a person or a file ever goes into a style.
_STYLE = f"<style>\n{(_UI / 'style.css').read_text(encoding='utf-8')}</style>"


def style() -> None:
    """The style that all pages share; `app.py` alone calls this."""
    state.App.routed.value = True
    st.html(_STYLE)


def phone_menu(pages: Sequence[StreamlitPage]) -> None:
    """Links to the pages on narrow screens.

    There, Streamlit folds its own menu into a sidebar that stays open over the page after
    a choice.

    Parameters
    ----------
    pages : sequence of Page
        In the order of the menu.
    """
    with st.container(key="phone_menu", horizontal=True, gap="small"):
        for page in pages:
            st.page_link(page, label=page.title, width="content")


def title(words: str) -> None:
    """The heading of a page, and the disclaimer beside it.

    Parameters
    ----------
    words : str
    """
    _through_the_router()
    with st.container(
        horizontal=True,
        horizontal_alignment="distribute",
        vertical_alignment="center",
        gap="small",
    ):
        st.title(words, anchor=False, width="content")
        st.badge(DISCLAIMER, icon=":material/experiment:", color="orange")


def _through_the_router() -> None:
    """Run `app.py` where Streamlit runs a page by itself.

    It takes a folder called ``pages`` for its older kind of app until somebody has opened
    `app.py`; a link to a page, opened first after a start, would come without style and menu.
    """
    if PagesManager.uses_pages_directory and not state.App.routed.value:
        PagesManager.uses_pages_directory = False
        st.rerun()


def literal(text: str) -> str:
    """Text of a person or a file for Markdown.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Escaped, so that it is shown as it is, in one line.
    """
    # Every sign of punctuation, since Markdown, Streamlit's icons and colours use most of them.
    marked = "".join(f"\\{c}" if c in string.punctuation else c for c in text)
    return " ".join(marked.split())


class Html(str):
    """Text that is HTML already; `html_table` escapes every other."""

    __slots__ = ()


def html_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    label: str,
    css_class: str,
    row_classes: Sequence[str] = (),
    row_heads: bool = True,
) -> str:
    """A table in a box that scrolls by itself, with the keyboard too, and is read out row by row.

    Parameters
    ----------
    heads : sequence of str
        Of the columns.
    rows : sequence of sequence of str
        Plain text, or `Html`.
    label : str
        What a screen reader calls the box.
    css_class : str
        Of the box, in ``style.css``.
    row_classes : sequence of str, optional
        Of each row.
    row_heads : bool
        Whether the first cell of a row is its heading.

    Returns
    -------
    str
        HTML, for `st.html`.
    """

    def cell(text: str, head: str = "") -> str:
        # Escaped by default: cells may hold text of a person or a file.
        inner = text if isinstance(text, Html) else html.escape(text)
        return f'<th scope="{head}">{inner}</th>' if head else f"<td>{inner}</td>"

    body = []
    for i, row in enumerate(rows):
        cells = [cell(text, "row" if row_heads and j == 0 else "") for j, text in enumerate(row)]
        start = f'<tr class="{row_classes[i]}">' if row_classes else "<tr>"
        body.append(f"{start}{''.join(cells)}</tr>")
    return (
        # tabindex: a box that scrolls must be reachable with the keyboard.
        f'<div class="{css_class}" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f"<table><thead><tr>{''.join(cell(text, 'col') for text in heads)}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def picture(svg: str, alt: str, css_class: str = "") -> str:
    """A drawing as an ``<img>``, which a page shows at once and a screen reader reads by one name.

    Parameters
    ----------
    svg : str
        A whole ``<svg>`` element.
    alt : str
        What it shows.
    css_class : str, optional
        Of the picture, in ``style.css``.

    Returns
    -------
    str
        HTML, for `st.html`.
    """
    data = base64.b64encode(svg.encode()).decode()
    named = f'class="{css_class}" ' if css_class else ""
    return f'<img {named}alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">'


def panel(words: str, icon: str, key: str) -> DeltaGenerator | None:
    """A panel to unfold, whose content is made and sent when it is open.

    Parameters
    ----------
    words : str
        On it. With others it would be another panel, and closed.
    icon : str
    key : str

    Returns
    -------
    DeltaGenerator or None
        The panel, to be filled; None while it is closed.
    """
    box = st.expander(words, icon=icon, key=key, on_change="rerun")
    return box if box.open else None


def download(
    words: str,
    make: Callable[[], str | bytes],
    name: str,
    mime: str,
    *,
    key: str = "",
    disabled: bool = False,
) -> None:
    """A button that makes a file when it is pressed, not on every rerun.

    Parameters
    ----------
    words : str
        On the button.
    make : callable
        Gives the contents of the file.
    name, mime : str
        Of the file.
    key : str, optional
        Of the button; by default from the words on it.
    disabled : bool
    """
    st.download_button(
        words,
        make,
        name,
        mime,
        key=key or f"download_{words.replace(' ', '_').lower()}",
        # The file is made when the button is pressed; the page need not run for it.
        on_click="ignore",
        icon=":material/download:",
        disabled=disabled,
    )


def component(name: str, style: str, *scripts: str) -> Any:
    """Part of a page that is drawn in the browser by scripts of our own, under ``ui/components``.

    Parameters
    ----------
    name : str
        Of the component and its folder.
    style : str
        File name of its stylesheet.
    *scripts : str
        File names. Together they are one module for the browser, in several files for people.

    Returns
    -------
    callable
        Draws it, with ``key``, ``data`` and a callback for each value that the browser sends.
    """
    folder = _UI / "components" / name
    return st.components.v2.component(
        name,
        css=(folder / style).read_text(encoding="utf-8"),
        js="\n".join((folder / script).read_text(encoding="utf-8") for script in scripts),
    )


def chart(figure: go.Figure, key: str, alt: str, config: dict[str, bool] | None = None) -> None:
    """A figure of ours in the colours of the page's theme.

    Parameters
    ----------
    figure : plotly.graph_objects.Figure
        In its colours for a light page.
    key : str
    alt : str
        What a screen reader says of it.
    config : dict, optional
        Of Plotly; by default it is looked at and not zoomed.
    """
    if st.context.theme.type == "dark":
        figure = figures.in_dark(figure)
    st.plotly_chart(figure, key=key, theme=None, config=config or CHART_CONFIG, alt=alt)


def error(words: str | None) -> None:
    """A sentence that says what went wrong, if something did.

    Parameters
    ----------
    words : str or None
        May hold text of a person or a file.
    """
    if words is not None:
        st.error(literal(words), icon=":material/error:")


def simulated_badge(words: str = "simulated") -> None:
    """The mark of anything that was not measured on a person.

    Parameters
    ----------
    words : str
    """
    st.badge(words, icon=":material/science:", color="violet")


def tells_lack(model: Model, *what: str) -> bool:
    """Say what a page needs that the model does not have; nothing where it has all of it.

    Parameters
    ----------
    model : Model
    what : {"text", "sigma2"}
        Each once.

    Returns
    -------
    bool
        Whether something is lacking.
    """
    sentences = [model.lacks[part] for part in what if part in model.lacks]
    for sentence in sentences:
        st.info(literal(sentence), icon=":material/info:")
    return bool(sentences)


def training_note(model: Model) -> None:
    """Where the model's knowledge comes from, wherever its answers are shown.

    Parameters
    ----------
    model : Model
    """
    if model.imported:
        st.badge("imported weights, see the licence in the model card", color="blue")
        return
    if model.simulated_training:
        simulated_badge("model trained on simulated ECGs only")
        return
    simulated_badge("echo findings learnt from simulation")


class _Guard:
    """See `guarded`. A class, so that type checkers know that it may end a block early."""

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        said = str(error) if isinstance(error, EchoingError) else of_the_system(error)
        if said is not None:
            if not isinstance(error, EchoingError):
                logger.error("the system refused something to a page", exc_info=error)
            st.error(literal(said), icon=":material/error:")
        elif isinstance(error, Exception):
            # The person gets a sentence without details: these may hold paths or text of a file.
            logger.error("unexpected error in a page", exc_info=error)
            st.error(
                "Something failed that should not have; the details are in the log of the "
                "server. Try again, or open another recording.",
                icon=":material/error:",
            )
        # Streamlit's own signals (stop, rerun) are no `Exception` and pass through.
        return isinstance(error, Exception)


def guarded() -> _Guard:
    """Turn what goes wrong inside into one sentence on the page, and go on after it."""
    return _Guard()
