"""Files changed by somebody who knows their formats.

Bytes changed at random are noticed by the first check of most readers. So a file is changed as what
it is: words and numbers of a text, fields of an EDF header, elements of a DICOM object, parts of an
XML or JSON tree, files in a zip archive; and sums of check are made right again, most of the time.
"""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from binascii import crc_hqx
from collections.abc import Callable
from random import Random
from typing import Any

Files = dict[str, bytes]

WORDS = (
    b"", b"0", b"-0", b"-1", b"1", b"2", b"255", b"65536", b"2147483648", b"-2147483648",
    b"18446744073709551616", b"1e308", b"-1e308", b"1e-320", b"1e999", b"nan", b"inf", b"-inf",
    b"NaN", b"0x10", b"1_000", b"1e", b".", b"-", b"+", b"/", b"%s", b"%00", b"\x00", b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", "μV".encode(), "\u0660\u0661".encode(), "\u2212".encode(),
    b"true", b"null", b"9" * 40, b"9" * 5000, b"a" * 3000, b" " * 2000, b"(" * 300, b"mV", b"uV",
    b"Hz", b"I", b"V1", b"II", b"1:2:3", b"00:00:60", b"31/02/2020", b"../../etc/passwd", b"\n",
    b"\r\n", b"\t", b",", b";", b"\"", b"'", b"=", b"&amp;", b"<!--", b"[[", b"{}",
)  # fmt: skip
NUMBERS = (0, 1, 2, 3, 7, 8, 12, 16, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6,
           2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**64 - 1)  # fmt: skip
LEAVES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.5, 1e308, -1e308, 2**31, 2**63, 10**30, "", "0", "nan", "mV",
    "\ud800", "a" * 500, [], {}, [[]], [0], {"a": 0}, "\x00",
)  # fmt: skip
_TOKEN = re.compile(rb"[A-Za-z_]+|[0-9.+-]+|[^A-Za-z0-9\s]")
_TAG = re.compile(rb"<[^<>]{1,400}>")
_EDF_FIELDS = (8, 80, 80, 8, 8, 8, 44, 8, 8, 4)
_EDF_SIGNAL_FIELDS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)


def mutated(files: Files, rng: Random, others: list[Files] | None = None) -> Files:
    """Files with one to four changes.

    Parameters
    ----------
    files : dict of str to bytes
        By name.
    rng : Random
    others : list of dict, optional
        Sound files of the same kind, to take pieces from.

    Returns
    -------
    dict of str to bytes
    """
    changed = dict(files)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        if len(changed) > 1 and rng.random() < 0.04:
            del changed[rng.choice(list(changed))]
            continue
        name = rng.choice(list(changed))
        if others and rng.random() < 0.05:
            other = rng.choice(others)
            donor = other[rng.choice(list(other))]
            changed[name] = _spliced(changed[name], donor, rng)
            continue
        changed[name] = _changed(changed[name], rng)
    return changed


def _changed(data: bytes, rng: Random, depth: int = 0) -> bytes:
    if not data or rng.random() < 0.12:
        return _bytes(data, rng)
    if data[:4] == b"PK\x03\x04" and depth < 2:
        return _zip(data, rng, depth)
    if data[128:132] == b"DICM":
        return _dicom(data, rng)
    if data[:8] in (b"0       ", b"\xffBIOSEMI") and len(data) > 512:
        return _edf(data, rng)
    if data[:8] == b"ISHNE1.0":
        return _mended(_bytes(data, rng), _ishne, rng)
    if b"SCPECG" in data[:64]:
        return _mended(_bytes(data, rng), _scp, rng)
    head = data[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:1] in (b"{", b"[") and rng.random() < 0.7:
        return _json(data, rng)
    if head[:1] == b"<" and rng.random() < 0.5:
        return _xml(data, rng)
    if head[:2] == b"<\x00" or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _utf16(data, rng)
    if b"\x00" not in data[:400]:
        return _text(data, rng)
    return _bytes(data, rng)


def _spliced(data: bytes, donor: bytes, rng: Random) -> bytes:
    start = rng.randrange(len(donor) + 1)
    piece = donor[start : start + rng.choice((4, 16, 100, 1000))]
    place = rng.randrange(len(data) + 1)
    return data[:place] + piece + data[place + rng.choice((0, len(piece))) :]


def _bytes(data: bytes, rng: Random) -> bytes:
    """Numbers of two to eight bytes are set to the ends of their ranges; now and then more."""
    changed = bytearray(data)
    size = len(changed)
    place = rng.randrange(max(1, min(size, rng.choice((16, 64, 300, 1200, 5000, size or 1)))))
    what = rng.random()
    if what < 0.5:
        order, form = rng.choice("<>"), rng.choice("bBhHiIqQfd")
        if form in "fd":
            number: float = rng.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf")))
            if form == "d":
                number = rng.choice((number, 1e300))
        else:
            bits = 8 * struct.calcsize(form)
            number = rng.choice(NUMBERS) + rng.choice((0, 0, 0, -1, 1))
            number = int(number) % 2**bits
            if form.islower() and number >= 2 ** (bits - 1):
                number -= 2**bits
        piece = struct.pack(order + form, number)
        if rng.random() < 0.5:
            place -= place % len(piece)
        changed[place : place + len(piece)] = piece
    elif what < 0.7 and size:
        changed[min(place, size - 1)] ^= 1 << rng.randrange(8)
    elif what < 0.8:
        changed[place:place] = rng.choice((rng.randbytes(rng.randrange(1, 9)), rng.choice(WORDS)))
    elif what < 0.88:
        del changed[place : place + rng.choice((1, 2, 8, 40, 300))]
    elif what < 0.94:
        changed[place:place] = changed[place : place + rng.choice((1, 2, 8, 40, 300))]
    else:
        del changed[rng.randrange(size + 1) :]
    return bytes(changed)


def _text(data: bytes, rng: Random) -> bytes:
    what = rng.random()
    if what < 0.7:
        # A window of it: a table of samples is long, and its head says what it is.
        start = 0 if rng.random() < 0.7 else rng.randrange(len(data) or 1)
        found = list(_TOKEN.finditer(data, start, start + 1500))
        if found:
            one = rng.choice(found)
            new = rng.choice(WORDS) if rng.random() < 0.8 else rng.choice(found).group()
            return data[: one.start()] + new + data[one.end() :]
    lines = data.split(b"\n")
    i = rng.randrange(min(len(lines), rng.choice((3, 20, len(lines)))))
    if what < 0.76:
        del lines[i]
    elif what < 0.82:
        lines.insert(i, rng.choice(lines))
    elif what < 0.86:
        lines[i] = lines[i] * rng.choice((2, 50))
    elif what < 0.9:
        lines[i] = lines[i][: rng.randrange(len(lines[i]) + 1)]
    elif what < 0.93:
        lines[i:i] = [lines[i]] * rng.choice((10, 1000))
    elif what < 0.96:
        lines[i] = rng.choice(WORDS) + lines[i]
    else:
        piece = rng.choice((b"[", b"(", b"{a: ", b"- ", b"a:\n ", b"<a>", b"&a ", b"*a ", b"!!a "))
        lines[i] = piece * rng.choice((1, 50, 3000)) + lines[i]
    return b"\n".join(lines)


def _json(data: bytes, rng: Random) -> bytes:
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return _text(data, rng)
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        # Of long lists, which are samples, a few are enough.
        pairs = (
            list(node.items()) if isinstance(node, dict)
            else list(enumerate(node))[:12] if isinstance(node, list) else []
        )  # fmt: skip
        for key, inner in pairs:
            places.append((node, key))
            walk(inner)

    try:
        walk(tree)
    except RecursionError:
        return _text(data, rng)
    if not places:
        return json.dumps(rng.choice(LEAVES)).encode()
    node, key = rng.choice(places)
    what = rng.random()
    if what < 0.5:
        node[key] = rng.choice(LEAVES)
    elif what < 0.6:
        del node[key]
    elif what < 0.7:
        node[key] = [node[key]] * rng.choice((1, 2, 300))
    elif what < 0.8:
        donor, name = rng.choice(places)
        # A copy, since a tree that holds itself has no end.
        node[key] = json.loads(json.dumps(donor[name])) if name in _keys(donor) else None
    elif what < 0.9:
        node[key] = {str(key): node[key]}
    elif isinstance(node, dict):
        node[rng.choice(("", "\ud800", "__class__", "type", "a" * 300))] = node[key]
    else:
        node.insert(0, node[key])
    text = json.dumps(tree)
    if rng.random() < 0.1:
        text = text.replace("0", rng.choice(("1e999", "9" * 4400, "-0", "NaN")), 1)
    return text.encode()


def _keys(node: Any) -> Any:
    return node.keys() if isinstance(node, dict) else range(len(node))


def _xml(data: bytes, rng: Random) -> bytes:
    # The first few hundred: what follows in a file of samples is more of the same.
    found = []
    for one in _TAG.finditer(data):
        found.append(one)
        if len(found) == 600:
            break
    if len(found) < 2:
        return _text(data, rng)
    what = rng.random()
    i = rng.randrange(len(found) - 1)
    one, following = found[i], found[i + 1]
    if what < 0.35:
        # What stands between two tags.
        return data[: one.end()] + rng.choice(WORDS) + data[following.start() :]
    if what < 0.6:
        inner = _text(one.group(), rng)
        return data[: one.start()] + inner + data[one.end() :]
    if what < 0.75:
        return data[: one.start()] + data[one.end() :]
    if what < 0.85:
        j = min(len(found) - 1, i + rng.choice((1, 2, 5, 30)))
        piece = data[one.start() : found[j].end()]
        return data[: one.start()] + piece * rng.choice((2, 2, 40)) + data[one.start() :]
    if what < 0.93:
        j = min(len(found) - 1, i + rng.choice((1, 2, 5, 30)))
        return data[: one.start()] + data[found[j].end() :]
    deep = rng.choice(
        (b"<a>" * 2000, b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"<![CDATA[", b"<?a?>" * 99)
    )
    return data[: one.start()] + deep + data[one.start() :]


def _utf16(data: bytes, rng: Random) -> bytes:
    try:
        text = data.decode("utf-16").encode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        return _bytes(data, rng)
    changed = (_xml if rng.random() < 0.6 else _text)(text, rng)
    return changed.decode("utf-8", "replace").encode("utf-16")


def _edf(data: bytes, rng: Random) -> bytes:
    """One field of the header, which are of a fixed width; a signal's as often as the file's."""
    if rng.random() < 0.2:
        return _bytes(data, rng)
    try:
        n_signals = max(1, min(500, int(data[252:256])))
    except ValueError:
        n_signals = 1
    if rng.random() < 0.45:
        field = rng.randrange(len(_EDF_FIELDS))
        place, width = sum(_EDF_FIELDS[:field]), _EDF_FIELDS[field]
    else:
        field = rng.randrange(len(_EDF_SIGNAL_FIELDS))
        width = _EDF_SIGNAL_FIELDS[field]
        place = 256 + n_signals * sum(_EDF_SIGNAL_FIELDS[:field]) + width * rng.randrange(n_signals)
    word = rng.choice(
        (*WORDS, b"EDF+C", b"EDF+D", b"EDF Annotations", b"Startdate X", b"24BIT", b"EDF+")
    )
    return data[:place] + word[:width].ljust(width) + data[place + width :]


def _dicom(data: bytes, rng: Random) -> bytes:
    """The value, length, type or tag of one element (explicit VR, little endian)."""
    found: list[tuple[int, int, int]] = []
    place = 132
    while place + 8 <= len(data) and len(found) < 400:
        long = data[place + 4 : place + 6] in (
            b"OB",
            b"OW",
            b"OF",
            b"SQ",
            b"UN",
            b"UT",
            b"OD",
            b"UC",
        )
        start = place + (12 if long else 8)
        form, at = ("<I", place + 8) if long else ("<H", place + 6)
        if start > len(data):
            break
        (length,) = struct.unpack_from(form, data, at)
        group = data[place : place + 4]
        if group[:2] == b"\xfe\xff":
            # An item and its end carry a length and no type; what is in it is walked, too.
            start, length = place + 8, 0
        elif data[place + 4 : place + 6] == b"SQ" or length == 0xFFFFFFFF:
            length = 0
        found.append((place, start, min(length, len(data) - start)))
        place = start + length
    if not found or rng.random() < 0.15:
        return _bytes(data, rng)
    place, start, length = rng.choice(found)
    what = rng.random()
    if what < 0.45:
        new = rng.choice(WORDS) if rng.random() < 0.6 else struct.pack("<Q", rng.choice(NUMBERS))
        if rng.random() < 0.7:
            new = new[:length].ljust(length, rng.choice((b" ", b"\0")))
        return data[:start] + new + data[start + length :]
    if what < 0.65:
        at = start - 4 if start - place == 12 else start - 2
        form = "<I" if start - place == 12 else "<H"
        bits = 8 * struct.calcsize(form)
        return data[:at] + struct.pack(form, rng.choice(NUMBERS) % 2**bits) + data[at + bits // 8 :]
    if what < 0.75:
        kinds = (b"US", b"SQ", b"UN", b"OW", b"DS", b"IS", b"SS", b"LO", b"FD", b"AT", b"??")
        return data[: place + 4] + rng.choice(kinds) + data[place + 6 :]
    if what < 0.85:
        return data[:place] + data[start + length :]
    return data[:place] + data[place : start + length] * rng.choice((2, 200)) + data[place:]


def _zip(data: bytes, rng: Random, depth: int) -> bytes:
    """One of the files inside, or how they are packed; the archive itself stays whole."""
    if rng.random() < 0.2:
        return _bytes(data, rng)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inside = [(name, archive.read(name)) for name in archive.namelist()[:60]]
    except Exception:  # noqa: BLE001 - it was changed before, and is no archive any more
        return _bytes(data, rng)
    if not inside:
        return _bytes(data, rng)
    i = rng.randrange(len(inside))
    name, content = inside[i]
    what = rng.random()
    if what < 0.75:
        inside[i] = (name, _changed(content, rng, depth + 1))
    elif what < 0.82:
        del inside[i]
    elif what < 0.9:
        inside.append((name, content))
    else:
        odd = ("../a.hea", "/etc/passwd", "a" * 300, "", "a/", "\ud83d", "__MACOSX/._x", "x\\y")
        inside[i] = (rng.choice(odd), content)
    packed = io.BytesIO()
    way = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    try:
        with zipfile.ZipFile(packed, "w", way) as archive:
            for name, content in inside:
                archive.writestr(zipfile.ZipInfo(name or "x"), content, way)
    except (ValueError, UnicodeEncodeError, UserWarning):
        return _bytes(data, rng)
    return packed.getvalue()


def _mended(data: bytes, mend: Callable[[bytes], bytes], rng: Random) -> bytes:
    """With a right sum of check, as whoever changes a file on purpose would make it."""
    if rng.random() < 0.1:
        return data
    try:
        return mend(data)
    except (struct.error, IndexError, ValueError):
        return data


def _scp(data: bytes) -> bytes:
    changed = bytearray(data)
    # Section 0 lists where each section is; each begins with its own sum, and the file with one
    # over all that follows.
    place = 6
    (n_bytes,) = struct.unpack_from("<I", changed, place + 4)
    for entry in range(place + 16, min(place + n_bytes, len(changed) - 10), 10):
        _, length, index = struct.unpack_from("<HII", changed, entry)
        start = index - 1
        if length > 0 and start >= 0 and start + length <= len(changed) and start > place:
            struct.pack_into(
                "<H", changed, start, crc_hqx(changed[start + 2 : start + length], 0xFFFF)
            )
    if place + n_bytes <= len(changed):
        struct.pack_into(
            "<H", changed, place, crc_hqx(changed[place + 2 : place + n_bytes], 0xFFFF)
        )
    struct.pack_into("<H", changed, 0, crc_hqx(changed[2:], 0xFFFF))
    return bytes(changed)


def _ishne(data: bytes) -> bytes:
    changed = bytearray(data)
    (variable,) = struct.unpack_from("<I", changed, 10)
    header = changed[10 : 10 + 512 + min(variable, 10**5)]
    struct.pack_into("<H", changed, 8, crc_hqx(header, 0xFFFF))
    return bytes(changed)
