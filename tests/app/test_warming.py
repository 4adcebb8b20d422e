"""What a server loads ahead of its first visits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from echoing_core import services
from ui import resources, warming


@pytest.fixture(autouse=True)
def nothing_stays_aside() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_was_set_aside_is_let_go_when_it_is_rubbish() -> None:
    class Loop:
        me: Loop

    one = Loop()
    one.me = one
    there = weakref.ref(one)
    warming.set_aside()
    del one
    gc.collect()
    assert there() is not None
    warming.set_aside()
    assert there() is None


@pytest.mark.slow
def test_a_server_loads_ahead_what_an_upload_needs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(warming, "_PATIENCE_S", 0.0)
    resources._model.clear()
    resources.first_model.clear()
    warming.begin().join(120)
    loaded: list[str] = []
    monkeypatch.setattr(services, "load_model", loaded.append)
    assert resources._model(services.DEFAULT_MODEL).has_sigma2
    assert loaded == []
    assert [r.getMessage() for r in caplog.records if r.levelname != "INFO"] == []
