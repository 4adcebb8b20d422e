"""What the first visits would wait for, loaded by a thread while nobody does.

After every run of a page Streamlit has Python look through all objects of the server for rubbish:
0.2 s in which nothing is sent. What is loaded here is left out of that.
"""

from __future__ import annotations

import gc
import importlib
import logging
import pkgutil
import threading
import time

import ui
from echoing_core.errors import EchoingError
from echoing_core.services import uploads

logger = logging.getLogger(__name__)

# What the first page needs, whichever it is; a person waits for it.
_FIRST = ("ui.opening", "ui.settings", "ui.guide", "ui.teaching", "ui.turns", "ui.explore.session")
# A server that nobody visits is warm after this; a browser takes so long to start and draw.
_PATIENCE_S, _DRAWN_S = 10.0, 0.7

_shown = threading.Event()


def begin() -> threading.Thread:
    """Load what all sessions share, in a thread that ends with the server.

    Returns
    -------
    Thread
    """
    thread = threading.Thread(target=_warm, name="warming", daemon=True)
    thread.start()
    return thread


def page_shown() -> None:
    """Go on with what is large: the first page is on its way to the person."""
    _shown.set()


def set_aside() -> None:
    """Remove the rubbish among all objects, and leave what remains out of later searches.

    What is rubbish only later is found when this is called again.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def _warm() -> None:
    try:
        for name in _FIRST:
            importlib.import_module(name)
        set_aside()
        if _shown.wait(_PATIENCE_S):
            # Often a browser on this machine draws it now.
            time.sleep(_DRAWN_S)
        # So that the first upload finds a process to be read in.
        uploads.warm()
        for found in pkgutil.walk_packages(ui.__path__, "ui."):
            importlib.import_module(found.name)
        _first_look()
        set_aside()
    except EchoingError as error:
        # A page that needs it says the same.
        logger.warning("not loaded ahead: %s", error)
    except Exception:
        logger.exception("what pages share could not be loaded ahead")


def _first_look() -> None:
    """Look at a shipped ECG of ten seconds, which loads everything that an upload needs."""
    from echoing_core import services
    from ui import resources

    model = resources.first_model()
    resources.prompt_sets()
    for sample in resources.samples():
        recording = services.read_recording(sample.paths)
        if recording.duration_s > services.SHOWN_FROM_S:
            continue
        looking = services.ExplainJob(model, recording, 10.0)
        while not looking.has_overview:
            looking.step()
        explanation = looking.explanation()
        services.window_reasons(model, explanation, [0])
        services.flagged_intervals(model, explanation)
        services.heart_beats(explanation.ecg, 0.0)
        return
