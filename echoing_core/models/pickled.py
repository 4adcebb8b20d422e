"""Numbers out of two kinds of pickle files, none of which is ever executed.

A pickle is a program. Python's reader runs it, and it may import and call anything. Here its
operations are walked one by one (`pickletools` only takes them apart) and answered with plain
values of our own: the few names that belong to a table of tensors, or to a fitted scaler, stand
for a function written here; any other name ends the reading with a sentence before anything else
is looked at.

Read are the zip archives of `torch.save` (`read_tensors`, and `read_tables` where settings of a
trainer lie beside the weights: these are passed over, not built) and a pickled or joblib-dumped
``StandardScaler`` (`read_scaler`). Members that are compressed, sizes that do not fit, strides that
reach out of their storage and anything that would take more memory than the file is large are
refused.
"""

from __future__ import annotations

import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import CheckpointError

MAX_PROGRAM_BYTES = 16 * 2**20
"""The program of 669 tensors has about 80 kB."""

MAX_SCALER_BYTES = 2**20
MAX_TENSORS = 20_000
MAX_TENSOR_BYTES = 8 * 2**30

# How every file by torch before 1.6 begins: a pickle of its magic number.
_LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# Kinds of numbers that weights come in; a file with any other is refused.
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
}


class _RefusedError(Exception):
    """The program asks for something that no table of numbers needs."""


@dataclass(frozen=True)
class _Name:
    """A name that the program may use; what it stands for is decided in `_Rules`."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class _Thing:
    """An object that the program makes: its class, its state, and what it stands for.

    The program may refer to it before its state is known, so it is filled in place.
    """

    of: _Name
    state: Any = None
    value: Any = None


@dataclass(frozen=True)
class _Rules:
    """What one kind of file may do.

    Attributes
    ----------
    calls : mapping
        Names that may be called, and our own answer to each.
    classes : set
        Names of which objects may be made; they become a `_Thing`.
    plain : set
        Names that may be mentioned.
    persistent : callable, optional
        Answers a persistent id.
    built : callable
        Told of a `_Thing` that got its state, with the rest of the file.
    passed_over : callable
        Whether a name stands for something that is not needed: nothing stands in its place,
        whatever the program does with it.
    """

    calls: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    persistent: Callable[[Any], Any] | None = None
    built: Callable[[_Thing, io.BytesIO], None] = lambda thing, rest: None
    passed_over: Callable[[str], bool] = lambda name: False

    def name(self, module: Any, name: Any) -> Any:
        # Nothing but a text is ever made into one: a nest of tuples could be endlessly long.
        if not isinstance(module, str) or not isinstance(name, str):
            raise _RefusedError("it asks for something without a name")
        found = _Name(module, name)
        if str(found) in self.calls or str(found) in self.classes or str(found) in self.plain:
            return found
        if self.passed_over(str(found)):
            return _NOTHING
        raise _RefusedError(f"it asks for {str(found)[:80]!r}")


# What the operation MARK puts on the stack; an object of ours, so no file can imitate it.
_MARK = object()
# Stands for a name that is passed over, and for whatever a program would make with it.
_NOTHING = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
# Operations that put their argument, a plain value, on the stack.
_LITERALS = frozenset((
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "UNICODE", "INT", "LONG", "FLOAT", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8",
))  # fmt: skip
# Say only how the program is written.
_SILENT = frozenset({"PROTO", "FRAME"})


class _Walk:
    """One pass over a program; `run` gives the value that it ends with."""

    def __init__(self, rest: io.BytesIO, rules: _Rules) -> None:
        self.rest = rest
        self.rules = rules
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self.rest):
            name = opcode.name
            if name == "STOP":
                return self.stack.pop()
            if name in _LITERALS:
                self.stack.append(argument)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self.stack.append(_EMPTY[name]())
            elif name not in _SILENT:
                step = _STEPS.get(name)
                if step is None:
                    raise _RefusedError(f"it uses the operation {name}")
                step(self, argument)
        raise _RefusedError("it has no end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def to_mark(self) -> list[Any]:
        # The last mark: marks may be nested.
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                taken = self.stack[place + 1 :]
                del self.stack[place:]
                return taken
        raise _RefusedError("it is damaged")

    def take(self, n: int) -> list[Any]:
        if len(self.stack) < n or any(value is _MARK for value in self.stack[-n:]):
            raise _RefusedError("it is damaged")
        taken = self.stack[-n:]
        del self.stack[-n:]
        return taken

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise _RefusedError("it is damaged")
        return self.stack[-1]

    def set_items(self, items: list[Any]) -> None:
        if self.stack and self.stack[-1] is _NOTHING:
            return
        table = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Any other key might not be hashable, or be an object of the file.
            if not isinstance(key, str | int):
                raise _RefusedError("a key of a table is neither a text nor a number")
            table[key] = value

    def call(self) -> None:
        function, arguments = self.take(2)
        if function is _NOTHING:
            self.push(_NOTHING)
            return
        if not isinstance(function, _Name) or not isinstance(arguments, tuple):
            raise _RefusedError("it is damaged")
        answer = self.rules.calls.get(str(function))
        if answer is None:
            raise _RefusedError(f"it calls {function}")
        self.push(answer(*arguments))

    def make(self) -> None:
        # The arguments are not looked at: all that counts comes with BUILD.
        of, _ = self.take(2)
        if of is _NOTHING:
            self.push(_NOTHING)
            return
        if not isinstance(of, _Name) or str(of) not in self.rules.classes:
            raise _RefusedError("it makes an object of a class that is none")
        self.push(_Thing(of))

    def build(self) -> None:
        thing, state = self.take(2)
        if isinstance(thing, _Thing):
            thing.state = state
            self.rules.built(thing, self.rest)
        elif thing is not _NOTHING and not isinstance(thing, dict):
            # An OrderedDict's attributes (torch keeps `_metadata` there) hold no number.
            raise _RefusedError("it is damaged")
        self.push(thing)

    def stack_global(self) -> None:
        module, name = self.take(2)
        self.push(self.rules.name(module, name))

    def remember(self, place: Any) -> None:
        self.memo[int(place)] = self.take(1)[0]
        self.push(self.memo[int(place)])

    def recall(self, place: Any) -> None:
        if int(place) not in self.memo:
            raise _RefusedError("it is damaged")
        self.push(self.memo[int(place)])

    def persistent(self) -> None:
        if self.rules.persistent is None:
            raise _RefusedError("it refers to something outside itself")
        self.push(self.rules.persistent(self.take(1)[0]))


_STEPS: dict[str, Callable[[_Walk, Any], None]] = {
    "MARK": lambda walk, _: walk.push(_MARK),
    "TUPLE": lambda walk, _: walk.push(tuple(walk.to_mark())),
    "TUPLE1": lambda walk, _: walk.push(tuple(walk.take(1))),
    "TUPLE2": lambda walk, _: walk.push(tuple(walk.take(2))),
    "TUPLE3": lambda walk, _: walk.push(tuple(walk.take(3))),
    "SETITEM": lambda walk, _: walk.set_items(walk.take(2)),
    "SETITEMS": lambda walk, _: walk.set_items(walk.to_mark()),
    "APPEND": lambda walk, _: _append(walk, walk.take(1)),
    "APPENDS": lambda walk, _: _append(walk, walk.to_mark()),
    "GLOBAL": lambda walk, argument: walk.push(walk.rules.name(*str(argument).split(" ", 1))),
    "STACK_GLOBAL": lambda walk, _: walk.stack_global(),
    "REDUCE": lambda walk, _: walk.call(),
    "NEWOBJ": lambda walk, _: walk.make(),
    "BUILD": lambda walk, _: walk.build(),
    "BINPERSID": lambda walk, _: walk.persistent(),
    "MEMOIZE": lambda walk, _: walk.remember(len(walk.memo)),
    # Only what is listed here or above is done; any other operation ends the reading.
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Walk.remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Walk.recall),
}


def _append(walk: _Walk, values: list[Any]) -> None:
    if walk.stack and walk.stack[-1] is _NOTHING:
        return
    walk.top(list).extend(values)


def _walked(data: bytes, rules: _Rules, what: str) -> Any:
    """The value of a program, or a sentence that says why it was not read."""
    try:
        return _Walk(io.BytesIO(data), rules).run()
    except _RefusedError as error:
        raise CheckpointError(
            f"{what} was not read: {error}, which no table of numbers needs. Nothing in it was "
            "executed. Take the file as its authors published it."
        ) from error
    # What a damaged program runs into within our own steps; a refusal has said its reason.
    except (ValueError, TypeError, LookupError, OverflowError, struct.error) as error:
        raise CheckpointError(
            f"{what} is damaged or of another kind. Fetch the file again."
        ) from error


# --- torch ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: torch.dtype
    n: int


@dataclass(frozen=True)
class _TensorAt:
    """Where a tensor's numbers lie."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The table of tensors of a file by `torch.save`, in 32 bits; int64 stays as it is.

    A table that lies under a key of its own, such as ``state_dict``, is found.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to Tensor
        By the names of the file.

    Raises
    ------
    CheckpointError
        The file is missing, of torch's old format, damaged, or holds anything but tensors.
    """
    return _opened(path, lambda archive: archive.tensors())


# Settings of a run, by the libraries that keep them beside the weights.
_SETTINGS_OF = ("omegaconf.", "lightning.", "pytorch_lightning.", "lightning_fabric.")
_PLAIN_TYPES = ("dict", "list", "tuple", "set", "int", "long", "float", "str", "unicode", "bool")
_SETTINGS = frozenset(
    {
        "typing.Any",
        "argparse.Namespace",
        "collections.defaultdict",
        "pathlib.PosixPath",
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in _PLAIN_TYPES),
    }
)


def is_setting(name: str) -> bool:
    """Whether a name of a pickle stands for a run's settings, which are passed over.

    Parameters
    ----------
    name : str
        Module and name.

    Returns
    -------
    bool
    """
    return name in _SETTINGS or name.startswith(_SETTINGS_OF)


def read_tables(path: Path, entries: Mapping[str, str]) -> dict[str, Tensor]:
    """Tensors of some entries of a file by `torch.save`, in 32 bits; int64 stays as it is.

    A run's settings (`is_setting`) and its other tables, such as the moments of an optimiser, are
    passed over: no such object is made, and no number of such a table read.

    Parameters
    ----------
    path : Path
    entries : mapping of str to str
        By the name of an entry what stands before the names of its tensors. A file without any of
        them is one table itself.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    CheckpointError
        As in `read_tensors`.
    """
    return _opened(path, lambda archive: archive.tensors(entries))


def _opened(path: Path, read: Callable[[_Archive], dict[str, Tensor]]) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            start = file.read(len(_LEGACY_START))
    except OSError as error:
        raise CheckpointError(
            f"There is no file of weights {path.name!r}. Name the .pt file."
        ) from error
    if start.startswith(_LEGACY_START):
        raise CheckpointError(
            f"{path.name} is in the format that torch wrote before version 1.6, which is not read "
            "here. Save it again with a newer torch."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            return read(_Archive(archive, path))
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(
            f"{path.name} is damaged, or no file of weights by torch.save. Fetch it again."
        ) from error


class _Archive:
    """An open zip archive by torch, its members checked before any is read."""

    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self.archive = archive
        self.what = path.name
        members = archive.infolist()
        # Compressed members could be far larger than the file.
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise CheckpointError(
                f"{path.name} has compressed members, which torch.save never writes. Take the "
                "file as its authors published it."
            )
        programs = [m.filename for m in members if m.filename.rpartition("/")[2] == "data.pkl"]
        if len(programs) != 1 or len({m.filename for m in members}) != len(members):
            raise CheckpointError(
                f"{path.name} is no file of weights by torch.save: it needs one data.pkl. Name "
                "the .pt file."
            )
        self.sizes = {member.filename: member.file_size for member in members}
        self.top = programs[0].removesuffix("data.pkl")
        if self.sizes[programs[0]] > MAX_PROGRAM_BYTES:
            raise CheckpointError(f"The table of {path.name} is larger than that of any model.")
        order = self.top + "byteorder"
        if order in self.sizes and archive.read(order).strip() != b"little":
            raise CheckpointError(f"{path.name} has big-endian numbers, which are not read here.")

    def tensors(self, entries: Mapping[str, str] | None = None) -> dict[str, Tensor]:
        rules = _Rules(
            calls={
                # Answers of our own: nothing of these modules is imported or called.
                "collections.OrderedDict": _empty_table,
                "torch._utils._rebuild_tensor_v2": self.tensor_at,
                "torch.Size": _size,
            },
            plain=frozenset(f"torch.{name}" for name in _STORAGES),
            persistent=self.storage,
            passed_over=is_setting if entries is not None else lambda name: False,
        )
        value = _walked(self.archive.read(self.top + "data.pkl"), rules, self.what)
        found = _named_tables(value, entries or {}) or _table_of(value)
        if found is None:
            raise CheckpointError(
                f"{self.what} holds no table of tensors. Save the model's state_dict with "
                "torch.save."
            )
        # Checked on the plan, before a single number is read.
        if len(found) > MAX_TENSORS or sum(map(_n_bytes, found.values())) > MAX_TENSOR_BYTES:
            raise CheckpointError(f"{self.what} holds more than any model that is read here.")
        return {name: self.read(place) for name, place in found.items()}

    def storage(self, identity: Any) -> _Storage:
        if not isinstance(identity, tuple) or len(identity) != 5 or identity[0] != "storage":
            raise _RefusedError("it refers to something that is no storage")
        _, kind, key, _, n = identity
        if not isinstance(key, str):
            raise _RefusedError("a storage has no name")
        # The size in the zip must be what the program says, or numbers of another member would be
        # read.
        dtype = _STORAGES.get(kind.name) if isinstance(kind, _Name) else None
        size = self.sizes.get(f"{self.top}data/{key}")
        if dtype is None or size is None or not isinstance(n, int) or size != n * dtype.itemsize:
            raise _RefusedError("a storage is not as large as it says")
        return _Storage(key, dtype, n)

    def tensor_at(
        self, storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any
    ) -> _TensorAt:
        if not isinstance(shape, tuple) or not isinstance(stride, tuple):
            raise _RefusedError("a tensor has no shape")
        numbers = (offset, *shape, *stride)
        if (
            not isinstance(storage, _Storage)
            or len(shape) != len(stride)
            # `type is` and not isinstance: True is an int.
            or not all(type(number) is int and number >= 0 for number in numbers)
        ):
            raise _RefusedError("a tensor has no shape")
        count = math.prod(shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        # A stride of 0 would let one stored number stand for any count of them.
        if count and (last >= storage.n or count > storage.n):
            raise _RefusedError("a tensor reaches out of its storage")
        return _TensorAt(storage, offset, tuple(shape), tuple(stride))

    def read(self, place: _TensorAt) -> Tensor:
        if 0 in place.shape:
            return torch.zeros(place.shape)
        raw = bytearray(self.archive.read(f"{self.top}data/{place.storage.key}"))
        flat = torch.frombuffer(raw, dtype=place.storage.dtype)
        view = flat.as_strided(place.shape, place.stride, place.offset)
        wanted = torch.int64 if view.dtype == torch.int64 else torch.float32
        # A part of a storage is copied, so that the rest of it can be forgotten.
        whole = view.is_contiguous() and view.numel() == flat.numel()
        return view.to(wanted) if whole else view.to(wanted).contiguous().clone()


def _n_bytes(place: _TensorAt) -> int:
    # 4 at least: half precision is widened.
    return math.prod(place.shape) * max(4, place.storage.dtype.itemsize)


def _size(sizes: Any = ()) -> tuple[Any, ...]:
    if not isinstance(sizes, tuple | list):
        raise _RefusedError("a tensor has no shape")
    return tuple(sizes)


def _empty_table(*items: Any) -> dict[Any, Any]:
    if items:
        raise _RefusedError("a table is given in a way that torch does not use")
    return {}


def _table_of(value: Any) -> dict[str, _TensorAt] | None:
    """The table itself, or the one that lies under a key of it."""
    if not isinstance(value, dict):
        return None
    if value and all(isinstance(place, _TensorAt) for place in value.values()):
        return {str(name): place for name, place in value.items()}
    # The largest: an optimiser's state may lie beside the weights.
    inner = [found for found in map(_inner_table, value.values()) if found]
    return max(inner, key=len) if inner else None


def _named_tables(value: Any, entries: Mapping[str, str]) -> dict[str, _TensorAt]:
    """The tables under these keys, one after another."""
    inside = value if isinstance(value, dict) else {}
    return {
        before + name: place
        for entry, before in entries.items()
        for name, place in (_inner_table(inside.get(entry)) or {}).items()
    }


def _inner_table(value: Any) -> dict[str, _TensorAt] | None:
    is_table = isinstance(value, dict) and value
    if is_table and all(isinstance(place, _TensorAt) for place in value.values()):
        return {str(name): place for name, place in value.items()}
    return None


# --- scaler -----------------------------------------------------------------------------------

_SCALERS = frozenset(
    {
        "sklearn.preprocessing._data.StandardScaler",
        "sklearn.preprocessing.data.StandardScaler",
    }
)
_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_ARRAY, _DTYPE = "numpy.ndarray", "numpy.dtype"
# Plain numbers only: object arrays would hold further programs.
_DTYPES = {f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)} | {"b1"}


def read_scaler(path: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and scale of a pickled or joblib-dumped ``StandardScaler``, 12 numbers each.

    Parameters
    ----------
    path : Path

    Returns
    -------
    mean, scale : ndarray of float64, shape (12,)
        In the order of the file.

    Raises
    ------
    CheckpointError
        The file is missing, compressed, damaged, or holds anything but such a scaler.
    """
    try:
        with path.open("rb") as file:
            # One byte more than allowed tells a larger file without reading it.
            data = file.read(MAX_SCALER_BYTES + 1)
    except OSError as error:
        raise CheckpointError(f"There is no scaler {path.name!r}. Name the .pkl file.") from error
    if len(data) > MAX_SCALER_BYTES:
        raise CheckpointError(
            f"{path.name} is far too large for a scaler of 12 leads. Name the scaler's file."
        )
    if not data.startswith(b"\x80"):
        raise CheckpointError(
            f"{path.name} is not an uncompressed pickle. Save the scaler again by joblib.dump "
            "without compression."
        )
    scaler = _walked(data, _scaler_rules(), path.name)
    if not isinstance(scaler, _Thing) or str(scaler.of) not in _SCALERS:
        raise CheckpointError(f"{path.name} holds no StandardScaler. Name the scaler's file.")
    state = scaler.state if isinstance(scaler.state, dict) else {}
    mean, scale = (
        _twelve(state.get(name), f"{name} of {path.name}") for name in ("mean_", "scale_")
    )
    # 0 is possible, for a lead that never moved; the caller keeps it from dividing.
    if (scale < 0).any():
        raise CheckpointError(f"scale_ of {path.name} has negative numbers. Fetch it again.")
    return mean, scale


def _twelve(value: Any, what: str) -> npt.NDArray[np.float64]:
    if isinstance(value, _Thing):
        value = value.value
    if not isinstance(value, np.ndarray) or value.shape != (12,) or value.dtype != np.float64:
        raise CheckpointError(f"{what} is not 12 numbers in 64 bits, one for each lead.")
    if not np.isfinite(value).all():
        raise CheckpointError(f"{what} has numbers that are not finite.")
    return value


def _scaler_rules() -> _Rules:
    calls: dict[str, Callable[..., Any]] = {
        _DTYPE: _dtype,
        "_codecs.encode": _latin1,
    }
    # NumPy 2 has moved what NumPy 1 called numpy.core.
    for core in ("numpy.core", "numpy._core"):
        calls[f"{core}.multiarray._reconstruct"] = _unfilled
        calls[f"{core}.multiarray.scalar"] = _scalar
        calls[f"{core}.numeric._frombuffer"] = _from_buffer
    return _Rules(
        calls=calls,
        classes=frozenset({*_SCALERS, _WRAPPER}),
        plain=frozenset({_ARRAY}),
        built=_filled,
    )


def _dtype(code: Any, *rest: Any) -> _Thing:
    if not isinstance(code, str) or code not in _DTYPES:
        raise _RefusedError("an array holds no plain numbers")
    return _Thing(_Name("numpy", "dtype"), value=np.dtype(code))


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _RefusedError("it encodes a text in an unusual way")
    return text.encode("latin1")


def _unfilled(of: Any, *rest: Any) -> _Thing:
    if not isinstance(of, _Name) or str(of) != _ARRAY:
        raise _RefusedError("it makes an array of another kind")
    return _Thing(of)


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    return _array(raw, dtype, (), fortran=False).item()


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> npt.NDArray[Any]:
    return _array(raw, dtype, shape, fortran=order == "F")


def _array(raw: Any, dtype: Any, shape: Any, *, fortran: bool) -> npt.NDArray[Any]:
    if not isinstance(raw, bytes | bytearray):
        raise _RefusedError("an array holds no plain numbers")
    kind = _numbers(dtype)
    sizes, n_bytes = _extent(shape, kind)
    if n_bytes != len(raw):
        raise _RefusedError("an array is not as large as it says")
    values = np.frombuffer(bytes(raw), dtype=kind)
    return values.reshape(sizes, order="F" if fortran else "C")


def _numbers(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, _Thing) or not isinstance(dtype.value, np.dtype):
        raise _RefusedError("an array holds no plain numbers")
    return dtype.value


def _extent(shape: Any, kind: np.dtype[Any]) -> tuple[tuple[int, ...], int]:
    """A shape, checked, and the bytes that it takes."""
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise _RefusedError("an array has no shape")
    return shape, math.prod(shape) * kind.itemsize


def _filled(thing: _Thing, rest: io.BytesIO) -> None:
    """What an object stands for once its state is known."""
    name, state = str(thing.of), thing.state
    if name == _DTYPE:
        # (version, which end comes first, ...)
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", "|", "=", ">"):
            raise _RefusedError("an array holds no plain numbers")
        thing.value = _numbers(thing).newbyteorder(order)
    elif name == _ARRAY:
        # (version, shape, dtype, Fortran order, raw bytes)
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("it is damaged")
        thing.value = _array(state[4], state[2], state[1], fortran=bool(state[3]))
    elif name == _WRAPPER:
        thing.value = _beside(state, rest)


def _beside(state: Any, rest: io.BytesIO) -> npt.NDArray[Any]:
    """An array whose bytes joblib wrote into the file, right after the operation that ends here."""
    if not isinstance(state, dict):
        raise _RefusedError("it is damaged")
    kind = _numbers(state.get("dtype"))
    shape, n_bytes = _extent(state.get("shape"), kind)
    if state.get("numpy_array_alignment_bytes") is not None:
        # One byte says how many follow that only fill up.
        rest.read(int.from_bytes(rest.read(1), "little"))
    # Before reading, so that a false shape takes no memory.
    if n_bytes > MAX_SCALER_BYTES:
        raise _RefusedError("an array is larger than the file")
    return _array(rest.read(n_bytes), state["dtype"], shape, fortran=state.get("order") == "F")
