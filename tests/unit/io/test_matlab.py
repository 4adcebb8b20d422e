"""MATLAB's level 5: the numbers that SciPy writes, and types that nobody defined."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.io

from echoing_core.errors import UnreadableRecordError
from echoing_core.io.sources import SourceFile
from echoing_core.io.table.matlab import matrix_in


def stored(packed: bool = False, **variables: object) -> SourceFile:
    stream = io.BytesIO()
    scipy.io.savemat(stream, variables, do_compression=packed)
    return SourceFile("rec.mat", len(stream.getvalue()), data=stream.getvalue())


@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_of_number_is_what_scipy_wrote(packed: bool) -> None:
    rng = np.random.default_rng(0)
    for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8", "i8", "u8"):
        for shape in ((1, 1), (3, 1), (2, 7), (12, 40)):
            wanted = (100 * rng.normal(size=shape)).astype(kind)
            read = matrix_in(stored(packed, a="a text", b=wanted[:1], val=wanted, c={"x": 1}))
            np.testing.assert_array_equal(read, wanted)
    # Another name where there is no val; a text, a struct and complex numbers are passed over.
    wanted = np.arange(6.0).reshape(2, 3)
    read = matrix_in(stored(packed, a="text", b={"x": 1}, c=wanted * 1j, d=wanted))
    np.testing.assert_array_equal(read, wanted)


@pytest.mark.parametrize("kind", [0, 8, 16, 19, 20, 255, 65_535])
def test_a_type_that_nobody_defined_is_refused(kind: int) -> None:
    sound = stored(val=np.arange(300, dtype="<i2").reshape(3, 100))
    data = bytearray(sound.data or b"")
    place = data.index(b"val\0") + 4
    assert data[place : place + 4] == b"\3\0\0\0"
    data[place : place + 4] = kind.to_bytes(4, "little")
    with pytest.raises(UnreadableRecordError, match=r"MATLAB|matrix of numbers"):
        matrix_in(SourceFile("rec.mat", len(data), data=bytes(data)))


def test_damage_is_told() -> None:
    sound = stored(val=np.arange(300, dtype="<i2").reshape(3, 100)).data or b""
    for cut in (sound[:-40], sound[:200], sound[:140]):
        with pytest.raises(UnreadableRecordError):
            matrix_in(SourceFile("rec.mat", len(cut), data=cut))
