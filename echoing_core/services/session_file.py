"""A session as a small JSON file: how a recording was looked at, but nothing of the recording.

The file is bound to its recording by a keyed hash of the samples. The key is drawn anew for each
file, so two files of one recording cannot be recognised as such, and no list of hashes made
beforehand finds a recording. Whoever has the recording can check it, and nobody can get it back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

import numpy as np

from echoing_core.documents import DocumentError, parse_json
from echoing_core.errors import ConfigError
from echoing_core.export.by_hand import MAX_CALIPERS, MAX_STRETCHES, Caliper, WaveMarks
from echoing_core.export.review import GRADES, MAX_MARKS, MAX_NOTE, WindowMark
from echoing_core.records import Recording
from echoing_core.services.export import versions
from echoing_core.signals.leads import VCG_METHOD_NAMES
from echoing_core.zeroshot.prompts import PromptSet

FORMAT = "EchoingECG session"
VERSION = 1
# Files come from anywhere: size, number and length are limited before anything is believed.
MAX_BYTES = 512 * 1024
KEY_BYTES = 16
_FIELDS = (
    "format", "version", "made_with", "recording", "window_start_s", "stride_s", "vcg_method",
    "settings", "own_questions", "marks", "calipers", "wave_marks",
)  # fmt: skip
_MAX_ITEMS = 200
_CALIPER = ("lead", "start_s", "end_s", "start_mv", "end_mv", "march")

Value = str | float | int | bool | list[str] | list[float] | None
Kind = Literal["choice", "choices", "number", "range", "flag", "text"]


@dataclass(frozen=True)
class Setting:
    """One setting that a session file keeps.

    Attributes
    ----------
    key : str
        Where the app holds it; with ``*`` at the end, every key that begins so.
    kind : {"choice", "choices", "number", "range", "flag", "text"}
    options : tuple of str
        What a choice may be; empty where the recording or the collection decides.
    low, high : float
        Of a number or both ends of a range.
    whole : bool
        The number is an integer.
    max_chars : int
        Of a text, or of each choice.
    in_link : bool
        May stand in a link. Never for texts, nor for choices without listed options: a link ends
        up in histories and logs.
    """

    key: str
    kind: Kind
    options: tuple[str, ...] = ()
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    max_chars: int = 2000
    in_link: bool = False

    def __post_init__(self) -> None:
        # Of a closed kind is a value that cannot carry words of a person.
        closed = self.kind in ("number", "range", "flag") or bool(self.options)
        if self.in_link and (not closed or self.key.endswith("*")):
            raise ValueError(f"{self.key} may hold a text, which must not stand in a link")

    def matches(self, key: str) -> bool:
        """Whether a key is one of this setting.

        Parameters
        ----------
        key : str
            A whole key, without ``*``.

        Returns
        -------
        bool
        """
        if self.key.endswith("*"):
            return key.startswith(self.key[:-1]) and key != self.key[:-1]
        return key == self.key

    def accepts(self, value: object) -> bool:
        """Whether a value is one that this setting can take.

        Parameters
        ----------
        value : object
            As JSON gives it: a file may hold anything.

        Returns
        -------
        bool
        """
        match self.kind:
            case "choice":
                return self._is_option(value)
            case "choices":
                return (
                    isinstance(value, list)
                    and len(value) <= _MAX_ITEMS
                    and all(self._is_option(v) for v in value)
                )
            case "number":
                return self._is_number(value)
            case "range":
                return (
                    isinstance(value, list | tuple)
                    and len(value) == 2
                    and all(self._is_number(v) for v in value)
                    and value[0] <= value[1]
                )
            case "flag":
                return isinstance(value, bool)
            case "text":
                return isinstance(value, str) and len(value) <= self.max_chars

    def _is_option(self, value: object) -> bool:
        if not isinstance(value, str) or len(value) > self.max_chars:
            return False
        return not self.options or value in self.options

    def _is_number(self, value: object) -> bool:
        if not _is_number(value):
            return False
        return self.low <= value <= self.high and (not self.whole or float(value).is_integer())


@dataclass(frozen=True)
class Session:
    """How a recording was looked at.

    Attributes
    ----------
    settings : mapping
        By the keys of the table of settings.
    own_questions : tuple of PromptSet
    window_start_s, stride_s, vcg_method : optional
        None where no recording was open.
    key, fingerprint : str
        Hexadecimal; empty where no recording was open.
    marks : tuple of WindowMark
        What was said of windows of that recording.
    calipers : tuple of Caliper
        Drawn on its paper.
    wave_marks : tuple of WaveMarks
        Onsets and ends of waves that were set by hand.
    """

    settings: Mapping[str, Value] = field(default_factory=dict)
    own_questions: tuple[PromptSet, ...] = ()
    window_start_s: float | None = None
    stride_s: float | None = None
    vcg_method: str | None = None
    key: str = ""
    fingerprint: str = ""
    marks: tuple[WindowMark, ...] = ()
    calipers: tuple[Caliper, ...] = ()
    wave_marks: tuple[WaveMarks, ...] = ()

    @property
    def bound(self) -> bool:
        """Whether it belongs to a recording."""
        return bool(self.fingerprint)

    def belongs_to(self, recording: Recording) -> bool:
        """Whether it was made with these samples, whatever the recording is called.

        Parameters
        ----------
        recording : Recording

        Returns
        -------
        bool
        """
        own = fingerprint(recording, bytes.fromhex(self.key))
        # In constant time, as hashes with a key should be compared.
        return hmac.compare_digest(own, self.fingerprint)


def fingerprint(recording: Recording, key: bytes) -> str:
    """Keyed hash (HMAC-SHA256) of the samples, their rate and the leads; of no name.

    Parameters
    ----------
    recording : Recording
    key : bytes
        Drawn anew for each session file.

    Returns
    -------
    str
        Hexadecimal.
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)
    # Rate and shape first: the same numbers at another rate are another recording.
    digest.update(f"{recording.fs_hz:.6g} {recording.signal_mv.shape}".encode())
    for row in recording.signal_mv:
        # One spelling of NaN, or the same gap could hash in several ways.
        clean = np.where(np.isnan(row), np.float32(np.nan), row).astype("<f4")
        digest.update(clean.tobytes())
    return digest.hexdigest()


def session_text(session: Session, table: Sequence[Setting]) -> str:
    """The text of a session file.

    Parameters
    ----------
    session : Session
    table : sequence of Setting
        What may be kept; other settings are left out.

    Returns
    -------
    str
        JSON with a line end.

    Raises
    ------
    ConfigError
        It would be larger than a session file may be.
    """
    values: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "made_with": versions()["echoing-core"],
        "recording": {"key": session.key, "fingerprint": session.fingerprint}
        if session.bound
        else None,
        # No name of the recording, no time of day: nothing here tells whose it is.
        "window_start_s": session.window_start_s,
        "stride_s": session.stride_s,
        "vcg_method": session.vcg_method,
        "settings": {
            key: value
            for key, value in sorted(session.settings.items())
            if (known := _setting(table, key)) is not None and known.accepts(value)
        },
        "own_questions": [
            {
                "name": q.name,
                "question": q.question,
                "positive": list(q.positive),
                "negative": list(q.negative),
            }
            for q in session.own_questions
        ],
    }
    if session.marks:
        # Only where there are any: earlier versions refuse a field that they do not know.
        values["marks"] = [
            {"start_s": m.start_s, "end_s": m.end_s, "grade": m.grade, "note": m.note}
            for m in session.marks
        ]
    if session.calipers:
        values["calipers"] = [
            {name: getattr(c, name) for name in _CALIPER} for c in session.calipers
        ]
    if session.wave_marks:
        values["wave_marks"] = [
            {"start_s": w.start_s, "marks_ms": dict(w.marks_ms)} for w in session.wave_marks
        ]
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    if len(text.encode()) > MAX_BYTES:
        raise ConfigError(
            f"This session holds more text than the {MAX_BYTES // 1024} kB that a session file "
            "may have. Take out some of your own questions."
        )
    return text


def read_session(content: bytes, table: Sequence[Setting]) -> Session:
    """A session from the bytes of a file, or a sentence about what is wrong with it.

    Parameters
    ----------
    content : bytes
    table : sequence of Setting
        The settings that there are, and what each may be.

    Returns
    -------
    Session

    Raises
    ------
    ConfigError
        Too large, no session file, of a later version, or with a field or value that this version
        does not know.
    """
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"A session file has at most {MAX_BYTES // 1024} kB, and this one has "
            f"{len(content) // 1024:,} kB. Choose the file that “Save session” made."
        )
    values = _json_object(content)
    if values.get("format") != FORMAT:
        raise ConfigError("This is no session file of EchoingECG. Choose one that it saved.")
    # True == 1 in Python, and JSON has true.
    if values.get("version") is True or values.get("version") != VERSION:
        raise ConfigError(
            f"This session file has version {_short(values.get('version'))}, and this program "
            f"reads version {VERSION}. Save the session again with the program in use."
        )
    # A later version may mean more by a field; to drop it silently would open another session.
    _refuse_unknown(values, _FIELDS, "field")
    key, bound_to = _binding(values.get("recording"))
    return Session(
        settings=_settings(values.get("settings", {}), table),
        own_questions=_questions(values.get("own_questions", [])),
        window_start_s=_seconds(values, "window_start_s", 0.0, 1e7),
        stride_s=_seconds(values, "stride_s", 0.01, 1e5),
        vcg_method=_vcg_method(values.get("vcg_method")),
        marks=_marks(values.get("marks", [])),
        calipers=_calipers(values.get("calipers", [])),
        wave_marks=_wave_marks(values.get("wave_marks", [])),
        key=key,
        fingerprint=bound_to,
    )


def _json_object(content: bytes) -> dict[str, Any]:
    damaged = "This session file is damaged or was changed by hand. Save the session again."
    try:
        values = parse_json(content)
    except DocumentError as error:
        raise ConfigError(damaged) from error
    if not isinstance(values, dict):
        raise ConfigError(damaged)
    return values


def _refuse_unknown(values: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ConfigError(
            f"This session file has the {what} {_short(unknown[0])}, which this version does not "
            "know. Save the session again with the program in use."
        )


def _binding(value: object) -> tuple[str, str]:
    if value is None:
        return "", ""
    if isinstance(value, dict) and set(value) == {"key", "fingerprint"}:
        key, digest = value["key"], value["fingerprint"]
        if _is_hex(key, KEY_BYTES) and _is_hex(digest, hashlib.sha256().digest_size):
            return key, digest
    raise _wrong("recording")


def _is_hex(value: object, n_bytes: int) -> bool:
    return (
        isinstance(value, str)
        and len(value) == 2 * n_bytes
        and all(c in "0123456789abcdef" for c in value)
    )


def _settings(value: object, table: Sequence[Setting]) -> dict[str, Value]:
    if not isinstance(value, dict) or len(value) > _MAX_ITEMS:
        raise _wrong("settings")
    kept: dict[str, Value] = {}
    for key, item in value.items():
        known = _setting(table, key)
        if known is None:
            _refuse_unknown({key: item}, (), "setting")
            continue
        if not known.accepts(item):
            raise _wrong(key)
        kept[key] = item
    return kept


def _questions(value: object) -> tuple[PromptSet, ...]:
    if not isinstance(value, list) or len(value) > _MAX_ITEMS:
        raise _wrong("own_questions")
    questions = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"name", "question", "positive", "negative"}:
            raise _wrong("own_questions")
        sides = (item["positive"], item["negative"])
        texts = [
            item["name"],
            item["question"],
            *(t for s in sides if isinstance(s, list) for t in s),
        ]
        if not all(isinstance(s, list) for s in sides) or not all(
            isinstance(t, str) and len(t) <= 2000 for t in texts
        ):
            raise _wrong("own_questions")
        questions.append(
            PromptSet(item["name"], item["question"], tuple(sides[0]), tuple(sides[1]))
        )
    return tuple(questions)


def _marks(value: object) -> tuple[WindowMark, ...]:
    if not isinstance(value, list) or len(value) > MAX_MARKS:
        raise _wrong("marks")
    marks = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"start_s", "end_s", "grade", "note"}:
            raise _wrong("marks")
        start_s, end_s = (_seconds(item, name, 0.0, 1e7) for name in ("start_s", "end_s"))
        grade, note = item["grade"], item["note"]
        known = isinstance(grade, str) and grade in GRADES and isinstance(note, str)
        if start_s is None or end_s is None or not start_s < end_s or not known:
            raise _wrong("marks")
        if len(note) > MAX_NOTE:
            raise _wrong("marks")
        marks.append(WindowMark(start_s, end_s, grade, note))
    return tuple(marks)


def _calipers(value: object) -> tuple[Caliper, ...]:
    if not isinstance(value, list) or len(value) > MAX_CALIPERS:
        raise _wrong("calipers")
    calipers = []
    for item in value:
        if not isinstance(item, dict) or set(item) != set(_CALIPER):
            raise _wrong("calipers")
        if not isinstance(item["march"], bool):
            raise _wrong("calipers")
        if not all(_is_number(item[name]) for name in _CALIPER[1:5]):
            raise _wrong("calipers")
        try:
            calipers.append(Caliper(**item))
        except ValueError as error:
            raise _wrong("calipers") from error
    return tuple(calipers)


def _wave_marks(value: object) -> tuple[WaveMarks, ...]:
    if not isinstance(value, list) or len(value) > MAX_STRETCHES:
        raise _wrong("wave_marks")
    stretches = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"start_s", "marks_ms"}:
            raise _wrong("wave_marks")
        marks = item["marks_ms"]
        if not isinstance(marks, dict) or not _is_number(item["start_s"]):
            raise _wrong("wave_marks")
        if not all(_is_number(at_ms) for at_ms in marks.values()):
            raise _wrong("wave_marks")
        try:
            told = {name: float(at_ms) for name, at_ms in marks.items()}
            stretches.append(WaveMarks(float(item["start_s"]), told))
        except ValueError as error:
            raise _wrong("wave_marks") from error
    return tuple(stretches)


def _is_number(value: object) -> TypeGuard[int | float]:
    # In Python a bool is an int, too.
    return isinstance(value, int | float) and not isinstance(value, bool)


def _seconds(values: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if not _is_number(value) or not low <= value <= high:
        raise _wrong(name)
    return float(value)


def _vcg_method(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value in VCG_METHOD_NAMES):
        return value
    raise _wrong("vcg_method")


def _setting(table: Sequence[Setting], key: str) -> Setting | None:
    # The longest name wins, so that a family of keys may have an exception.
    matching = [s for s in table if s.matches(key)]
    return max(matching, key=lambda s: len(s.key)) if matching else None


def _wrong(name: str) -> ConfigError:
    return ConfigError(
        f"This session file holds a value for {_short(name)} that cannot be. Save the session "
        "again."
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:38]}…"


def link_query(settings: Mapping[str, Value], table: Sequence[Setting]) -> dict[str, str]:
    """The settings that may stand in a link, as texts; never words of a person.

    Parameters
    ----------
    settings : mapping
        By the keys of the table.
    table : sequence of Setting

    Returns
    -------
    dict of str to str
        By the same keys.
    """
    query = {}
    for key, value in settings.items():
        known = _setting(table, key)
        if known is None or not known.in_link or not known.accepts(value):
            continue
        match value:
            # Before int(), which a bool would match.
            case bool():
                query[key] = str(int(value))
            case list() | tuple():
                query[key] = ",".join(_number(v) if not isinstance(v, str) else v for v in value)
            case int() | float():
                query[key] = _number(value)
            case str():
                query[key] = value
    return query


def settings_from_link(query: Mapping[str, str], table: Sequence[Setting]) -> dict[str, Value]:
    """What a link asks for; what it must not or cannot ask for is left out without a word.

    Parameters
    ----------
    query : mapping of str to str
        Of the address, decoded.
    table : sequence of Setting

    Returns
    -------
    dict
        By the keys of the table.
    """
    kept: dict[str, Value] = {}
    # A link may be old or typed by hand, so what does not fit is dropped, where a file is refused.
    for key, text in query.items():
        known = _setting(table, key)
        if known is None or not known.in_link or len(text) > 200:
            continue
        value = _from_text(text, known)
        if value is not None and known.accepts(value):
            kept[key] = value
    return kept


def _from_text(text: str, known: Setting) -> Value:
    try:
        match known.kind:
            case "flag":
                return {"0": False, "1": True}.get(text)
            case "number":
                return _as_number(text, known.whole)
            case "range":
                low, high = text.split(",")
                return [_as_number(low, known.whole), _as_number(high, known.whole)]
            case "choices":
                return text.split(",") if text else []
            case _:
                return text
    except ValueError:
        return None


def _as_number(text: str, whole: bool) -> float | int:
    return int(text) if whole else float(text)


def _number(value: float) -> str:
    return f"{value:.10g}"
