"""XML of ECG devices to a tree, without anything that XML can do to a program.

No entity but the five of XML itself, no document type with rules of its own, nothing fetched, and
limits on size, depth and number of elements. A bare ``<!DOCTYPE RestingECG SYSTEM "x.dtd">``, as
GE MUSE writes it, is passed over; the file that it names is never opened.
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from xml.parsers import expat

import numpy as np
import numpy.typing as npt

from echoing_core.errors import UnreadableRecordError, UnsaidTimesError
from echoing_core.io.annotations import Gathered
from echoing_core.io.channels import Channel, array_of
from echoing_core.io.printed import PRINTED
from echoing_core.io.sources import SourceFile, shown
from echoing_core.io.told import Told

MAX_BYTES = 64 * 1024**2
# Devices nest ten levels; a thousand can exhaust the stack of what walks the tree.
MAX_DEPTH = 100
MAX_ELEMENTS = 1_000_000

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)


class _UnwantedError(Exception):
    """Raised within the parser; its text becomes the end of a sentence."""


def is_xml(head: bytes) -> bool:
    """Whether a file begins as XML does, in UTF-8, UTF-16 or Latin-1.

    Parameters
    ----------
    head : bytes
        The first bytes of the file.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.replace(b"\0", b"")[2:]
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def parse_xml(file: SourceFile) -> ET.Element:
    """The root of an XML file; tags carry no namespace, and nothing remains of comments.

    Parameters
    ----------
    file : SourceFile

    Raises
    ------
    UnreadableRecordError
        Damaged, too large, or with declarations that a recording has no use for.
    """
    name = shown(file.name)
    if file.size > MAX_BYTES:
        raise UnreadableRecordError(
            f"{name} is larger than {MAX_BYTES // 1024**2} MB, the most that is read of XML; "
            "export a shorter part, or another format."
        )
    try:
        return _build(bytes(file.content()[:]))
    except _UnwantedError as exc:
        raise UnreadableRecordError(
            f"{name} {exc}, which an ECG has no use for; export the recording again."
        ) from None
    except (expat.ExpatError, LookupError, ValueError) as exc:
        raise UnreadableRecordError(
            f"{name} is damaged or cut short: it is not well-formed XML; export it again."
        ) from exc


def _build(data: bytes) -> ET.Element:
    builder = ET.TreeBuilder()
    # The blank between namespace and name is what `local` cuts at.
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    depth = count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MAX_DEPTH or count > MAX_ELEMENTS:
            raise _UnwantedError("is nested too deeply or has too many parts")
        builder.start(local(tag), {local(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(local(tag))

    def doctype(name: str, system: str | None, public: str | None, has_rules: int) -> None:
        if has_rules:
            raise _UnwantedError("declares rules of its own (DOCTYPE)")

    def entity(*_: object) -> None:
        raise _UnwantedError("declares or uses entities")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    parser.EntityDeclHandler = entity
    parser.UnparsedEntityDeclHandler = entity
    parser.SkippedEntityHandler = entity
    # And no external subset of a document type either.
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.Parse(data, True)
    return builder.close()


def local(tag: str) -> str:
    """A name without its namespace."""
    return tag.rsplit(" ", 1)[-1]


def text_of(parent: ET.Element | None, path: str) -> str:
    """Text of the first element at ``path``, runs of blanks as one.

    Parameters
    ----------
    parent : Element or None
    path : str
        As for `Element.find`.

    Returns
    -------
    str
        Empty where there is no such element.
    """
    element = None if parent is None else parent.find(path)
    return "" if element is None else " ".join("".join(element.itertext()).split())


def add_measurements(
    gathered: Gathered, parent: ET.Element | None, names: Mapping[str, str]
) -> None:
    """Measurements of the device out of the children of an element.

    Parameters
    ----------
    gathered : Gathered
        Told each that is a number.
    parent : Element or None
    names : mapping of str to str
        Tag (or path) of a child -> name in `io.annotations.MEASUREMENTS`.
    """
    for tag, name in names.items():
        gathered.add_measurement(name, number_in(text_of(parent, tag)))


def number_in(text: str) -> float | None:
    """A finite number out of what stands in an element or attribute; None for anything else."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def numbers_in(text: str, what: str) -> npt.NDArray[np.float64]:
    """Samples out of text: numbers with blanks or commas between them.

    Parameters
    ----------
    text : str
    what : str
        Beginning of a message, for example ``"Lead I of a.xml"``.

    Raises
    ------
    UnreadableRecordError
        Something in it is no number, or nothing is in it.
    """
    try:
        values = np.array(text.replace(",", " ").split(), dtype=np.float64)
    except ValueError as exc:
        raise UnreadableRecordError(
            f"{what} holds samples that are no numbers; export it again."
        ) from exc
    if not values.size:
        raise UnreadableRecordError(f"{what} holds no sample; export it again.")
    return values


def with_one_length(channels: Sequence[Channel], told: Told, name: str) -> None:
    """Fill up leads of different lengths where a person says how they lie in time.

    Parameters
    ----------
    channels : sequence of Channel
        Shorter ones end in NaN afterwards.
    told : Told
    name : str
        Of the file, fit for a message.

    Raises
    ------
    UnsaidTimesError
        There are two lengths, and nobody said that it is a printed page.
    """
    most = max(c.signal_mv.size for c in channels)
    for channel in channels:
        lacking = most - channel.signal_mv.size
        if lacking and not told.printed:
            raise UnsaidTimesError(
                f"The leads of {name} have different lengths, and the file does not say how they "
                f"lie in time; say it if it is a printed page ({' or '.join(PRINTED)}), or export "
                "it with full-length leads."
            )
        if lacking:
            channel.signal_mv = np.pad(array_of(channel), (0, lacking), constant_values=np.nan)
