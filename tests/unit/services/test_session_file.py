"""A session file keeps settings, is bound to its samples, and refuses what it does not know."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from echoing_core import services
from echoing_core.errors import ConfigError
from echoing_core.records import Recording
from echoing_core.services import Caliper, PromptSet, Session, Setting, WaveMarks
from echoing_core.services.session_file import MAX_BYTES, VERSION

TABLE = (
    Setting("layout", "choice", ("12x1", "3x4"), in_link=True),
    Setting("k", "number", low=1, high=50, whole=True, in_link=True),
    Setting("span", "range", low=0, high=100, in_link=True),
    Setting("hide", "flag", in_link=True),
    Setting("leads", "choices", ("I", "II"), in_link=True),
    Setting("labels", "choices"),
    Setting("search", "text", max_chars=50),
    Setting("wording_*", "text"),
)
SETTINGS = {
    "layout": "3x4",
    "k": 7,
    "span": [5.0, 80.0],
    "hide": True,
    "leads": ["II"],
    "labels": ["af"],
    "search": "Vorhofflimmern <b>",
    "wording_positive_af": "atrial fibrillation\nafib",
}
QUESTION = PromptSet("own_1", "Is it <b>?", ("yes",), ("no",))


def recording(seed: int = 0, record_id: str = "a") -> Recording:
    signal = np.random.default_rng(seed).standard_normal((2, 100)).astype(np.float32)
    signal[0, :5] = np.nan
    return Recording(signal, 100.0, ("I", "II"), record_id)


def session() -> Session:
    key = bytes(range(16))
    made = services.fingerprint(recording(), key)
    return Session(dict(SETTINGS), (QUESTION,), 12.5, 0.2, "kors_gls", key.hex(), made)


def changed(**changes: object) -> bytes:
    values = json.loads(services.session_text(session(), TABLE)) | changes
    return json.dumps(values).encode()


def test_what_is_saved_comes_back() -> None:
    text = services.session_text(session(), TABLE)
    assert services.read_session(text.encode(), TABLE) == session()


def test_an_empty_session_comes_back() -> None:
    text = services.session_text(Session(), TABLE)
    assert services.read_session(text.encode(), TABLE) == Session()
    assert not Session().bound


def test_what_was_done_by_hand_comes_back_and_nothing_else_is_taken() -> None:
    caliper = Caliper("II", 1.2, 2.012, 0.1, -0.24, march=True)
    kept = replace(
        session(),
        calipers=(caliper,),
        wave_marks=(WaveMarks(0.0, {"p_onset": -172.0, "t_offset": 310.0}),),
    )
    text = services.session_text(kept, TABLE)
    assert services.read_session(text.encode(), TABLE) == kept
    drawn = json.loads(text)["calipers"][0]
    for field, wrong in (
        ("calipers", [drawn | {"lead": "<b>"}]),
        ("calipers", [drawn | {"start_mv": 1e9}]),
        ("calipers", [drawn | {"start_s": True}]),
        ("calipers", [drawn] * 201),
        ("wave_marks", [{"start_s": 0.0, "marks_ms": {"u_wave": 1.0}}]),
        ("wave_marks", [{"start_s": 0.0, "marks_ms": {"p_onset": "soon"}}]),
        ("wave_marks", [{"start_s": -1.0, "marks_ms": {}}]),
    ):
        with pytest.raises(ConfigError, match=field):
            services.read_session(changed(**{field: wrong}), TABLE)


def test_it_knows_its_recording_by_the_samples_alone() -> None:
    read = services.read_session(services.session_text(session(), TABLE).encode(), TABLE)
    assert read.belongs_to(recording()) and read.belongs_to(recording(record_id="other name"))
    assert not read.belongs_to(recording(seed=1))
    one_off = recording().signal_mv.copy()
    one_off[1, 50] = np.nextafter(one_off[1, 50], np.float32(9))
    assert not read.belongs_to(replace(recording(), signal_mv=one_off))
    assert not read.belongs_to(replace(recording(), fs_hz=200.0))
    other = services.fingerprint(recording(), bytes(16))
    assert other != session().fingerprint


def test_nothing_of_the_recording_is_in_it() -> None:
    text = services.session_text(session(), TABLE)
    assert "record_id" not in text and "signal" not in text


def test_what_the_table_does_not_hold_is_not_saved() -> None:
    told = replace(session(), settings={**SETTINGS, "secret": "x", "k": 900})
    kept = json.loads(services.session_text(told, TABLE))["settings"]
    assert "secret" not in kept and "k" not in kept


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "damaged"),
        (b"\xff\xfe", "damaged"),
        (b"[]", "damaged"),
        (b'{"format": NaN}', "damaged"),
        (b"[" * 100_000, "damaged"),
        (b"{}", "no session file"),
        (b" " * (MAX_BYTES + 1), "at most 512 kB"),
        (changed(version=VERSION + 1), "has version 2"),
        (changed(version=True), "has version True"),
        (changed(patient="x"), "field 'patient'"),
        (changed(settings={"secret": 1}), "setting 'secret'"),
        (changed(settings={"k": 0}), "value for 'k'"),
        (changed(settings={"k": 1.5}), "value for 'k'"),
        (changed(settings={"k": True}), "value for 'k'"),
        (changed(settings={"layout": "5x5"}), "value for 'layout'"),
        (changed(settings={"layout": ["3x4"]}), "value for 'layout'"),
        (changed(settings={"span": [80, 5]}), "value for 'span'"),
        (changed(settings={"search": "x" * 51}), "value for 'search'"),
        (changed(settings={"wording_": "x"}), "setting 'wording_'"),
        (changed(settings=[]), "value for 'settings'"),
        (changed(window_start_s=-1), "value for 'window_start_s'"),
        (changed(stride_s=0), "value for 'stride_s'"),
        (changed(stride_s="1"), "value for 'stride_s'"),
        (changed(vcg_method="magic"), "value for 'vcg_method'"),
        (changed(vcg_method=[]), "value for 'vcg_method'"),
        (changed(recording={"key": "00", "fingerprint": "00"}), "value for 'recording'"),
        (changed(recording="x"), "value for 'recording'"),
        (changed(own_questions={}), "value for 'own_questions'"),
        (changed(own_questions=[{"name": "a"}]), "value for 'own_questions'"),
        (
            changed(
                own_questions=[{"name": "a", "question": "b", "positive": "c", "negative": ["d"]}]
            ),
            "value for 'own_questions'",
        ),
        (
            changed(
                own_questions=[{"name": "a", "question": "b", "positive": [], "negative": ["d"]}]
            ),
            "no positive prompt",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as error:
        services.read_session(content, TABLE)
    assert len(str(error.value)) < 250


def test_a_session_too_large_is_not_saved() -> None:
    many = tuple(
        PromptSet(f"q{i}", "q", tuple(f"{j} {'x' * 380}" for j in range(10)), ("no",))
        for i in range(190)
    )
    with pytest.raises(ConfigError, match="512 kB"):
        services.session_text(replace(session(), own_questions=many), TABLE)


def test_a_link_holds_no_text_of_a_person() -> None:
    query = services.link_query(SETTINGS, TABLE)
    assert query == {"layout": "3x4", "k": "7", "span": "5,80", "hide": "1", "leads": "II"}
    back = services.settings_from_link(query, TABLE)
    assert back == {k: v for k, v in SETTINGS.items() if k in query}
    with pytest.raises(ValueError, match="must not stand in a link"):
        Setting("search", "text", in_link=True)
    with pytest.raises(ValueError, match="must not stand in a link"):
        Setting("labels", "choices", in_link=True)


@pytest.mark.parametrize(
    "query",
    [
        {"k": "900"}, {"k": "x"}, {"k": "1.5"}, {"span": "1"}, {"span": "9,1"}, {"hide": "yes"},
        {"layout": "<script>"}, {"search": "name"}, {"unknown": "1"}, {"leads": "I,X"},
        {"k": "nan"}, {"span": "nan,nan"}, {"k": "1" * 300},
    ],
)  # fmt: skip
def test_what_a_link_must_not_ask_for_is_left_out(query: dict[str, str]) -> None:
    assert services.settings_from_link(query, TABLE) == {}
