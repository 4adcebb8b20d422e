"""JSON and YAML that came from anywhere: read in linear time, or refused with a reason.

What both parsers let through and the rest of a program does not expect is refused here, once:
nesting without end, numbers that are none, halves of characters, and what YAML adds of its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

MOST_LEVELS = 40
"""Of lists and mappings within each other."""

# Half of a character outside of the first 65,536: as an escape it passes both parsers, and every
# later attempt to write the text fails.
_HALF = re.compile(r"[\ud800-\udfff]")
_OPEN = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSED = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


# Twenty times as fast, where the library was built with it; neither builds more than plain values.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(ValueError):
    """A document cannot be read; the message is a phrase without a full stop."""


def json_text(value: Any) -> str:
    """A document that `parse_json` reads back, with null where a number is not finite.

    Parameters
    ----------
    value : object
        Of mappings, lists, tuples and plain values.

    Returns
    -------
    str
        Indented, ending in a line break.
    """
    return json.dumps(_finite_in(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite_in(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite_in(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite_in(item) for item in value]
    # JSON has no word for a figure that is not defined.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse_json(content: bytes) -> Any:
    """Read a JSON document.

    Parameters
    ----------
    content : bytes
        UTF-8.

    Returns
    -------
    object
        Of dict, list, str, int, float, bool and None.

    Raises
    ------
    DocumentError
        It is no JSON, nests more than `MOST_LEVELS` deep, or holds a number or a text that cannot
        be written again.
    """
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_number, parse_float=_finite)
    # ValueError: also integers of thousands of digits, whose reading takes quadratic time.
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"it is not readable JSON ({_reason(error)})") from error
    _check(value)
    return value


def parse_yaml(content: bytes | str) -> Any:
    """Read a YAML document of plain values: no aliases, no tags, one document.

    Parameters
    ----------
    content : bytes or str
        UTF-8.

    Returns
    -------
    object
        Of dict, list, str, int, float, bool, date and None.

    Raises
    ------
    DocumentError
        It is no YAML, nests more than `MOST_LEVELS` deep, or holds something that is not a plain
        value.
    """
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        # The scanner keeps a list as long as the nesting is deep and walks it for every token, so
        # the depth is looked at while it scans, and before anything is built.
        _check_tokens(yaml.scan(text, _Loader))
        loader = _Loader(text)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except DocumentError:
        raise
    # Numbers and dates are recognised by their look and built by int, float and datetime, which
    # refuse some that look right; escapes may name characters that do not exist.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise DocumentError(f"it is not readable YAML ({_reason(error)})") from error
    except (LookupError, AttributeError, TypeError) as error:
        raise DocumentError("it is not readable YAML (a value of it cannot be read)") from error
    _check(value)
    return value


def _check_tokens(tokens: Iterator[Any]) -> None:
    depth = 0
    for token in tokens:
        if isinstance(token, _OPEN):
            depth += 1
            if depth > MOST_LEVELS:
                raise DocumentError(f"it nests lists deeper than {MOST_LEVELS} levels")
        elif isinstance(token, _CLOSED):
            depth -= 1
        elif isinstance(token, yaml.AliasToken | yaml.AnchorToken):
            # A few lines of aliases can stand for gigabytes.
            raise DocumentError("it uses YAML aliases (* and &). Write each text out")
        elif isinstance(token, yaml.TagToken):
            raise DocumentError("it uses YAML tags (!). Quote the texts that begin with one")


def _check(value: Any) -> None:
    """Refuse what no file of ours can hold, without recursion."""
    level = [value]
    for depth in range(MOST_LEVELS + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict | list):
                if depth == MOST_LEVELS:
                    raise DocumentError(f"it nests lists deeper than {MOST_LEVELS} levels")
                inner += [*item.keys(), *item.values()] if isinstance(item, dict) else item
            elif isinstance(item, str) and _HALF.search(item):
                raise DocumentError("a text in it holds half of a character")
            elif isinstance(item, float) and not math.isfinite(item):
                raise DocumentError("a number in it is not finite")
        level = inner


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")[:200]
