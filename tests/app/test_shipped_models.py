"""Every model that ships opens on every page, and its words are those of its own sigma^2."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from echoing_core import services
from echoing_core.services import DEFAULT_MODEL, shipped_models

OpenApp = Callable[[], AppTest]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:missing ScriptRunContext")]

SAYS = {
    "displacement": "because of how the ECG was recorded",
    "matching": "how ambiguous an ECG is to this model",
}


def words(app: AppTest) -> str:
    # What is behind a question mark counts, too.
    elements = [*app.markdown, *app.header, *app.caption]
    return "\n".join(f"{e.value} {getattr(e.proto, 'help', '')}" for e in elements)


@pytest.mark.parametrize("name", shipped_models())
def test_a_shipped_model_opens_on_every_page(open_app: OpenApp, name: str) -> None:
    app = open_app().switch_page("pages/model.py").run()
    if name != DEFAULT_MODEL:
        app.selectbox(key="model_choice").select(name).run()
    kind = services.load_model(name).sigma2
    other = next(text for key, text in SAYS.items() if key != kind)
    assert SAYS[kind] in words(app) and other not in words(app)
    app.switch_page("pages/explore.py").run()
    title = next(s.title for s in services.samples() if s.sample_id == "SIM_LBBB")
    next(b for b in app.button if b.label == title).click().run()
    assert not app.exception and not app.error
    assert SAYS[kind] in words(app) and other not in words(app)
    # The ECG is drawn whether or not sigma^2 tells leads apart.
    assert any(c.proto.component_name == "ecg_paper" for c in app.get("bidi_component"))
    for page in ("ask", "retrieve", "compare", "echo"):
        app.switch_page(f"pages/{page}.py").run()
        assert not app.exception and not app.error, page
        assert other not in words(app), page
