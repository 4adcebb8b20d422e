"""Arrays in HDF5 files, as some data sets are published: one array of all ECGs, or a file each.

h5py is no requirement of the product, since it reads these sets alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, DataSetError, UnreadableRecordError


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The h5py file at ``path``, closed in the end.

    Parameters
    ----------
    path : Path

    Raises
    ------
    ConfigError
        h5py is not installed.
    UnreadableRecordError
        It is no HDF5 file, or damaged.
    """
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(
            "This data set is published as HDF5, and h5py is not installed. Install it with: "
            'pip install "echoing-core[research]"'
        ) from error
    try:
        # No locks: a data set may lie on a disk that cannot be written.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        raise UnreadableRecordError(
            f"{path.name} cannot be read as HDF5; it is damaged or not fully downloaded."
        ) from error


def array_of(file: Any, name: str, n_dims: int, where: str) -> Any:
    """An array of numbers in an open file, not read yet.

    Parameters
    ----------
    file : h5py.File
    name : str
        Of the array.
    n_dims : int
    where : str
        Name of the file, for a message.

    Returns
    -------
    h5py.Dataset

    Raises
    ------
    DataSetError
        There is none of that kind. Links to other files are not followed.
    """
    import h5py

    link = file.get(name, getlink=True)
    found = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.ndim != n_dims or found.dtype.kind not in "iuf":
        raise DataSetError(
            f"{where} holds no array {name} with {n_dims} dimension{'s' if n_dims > 1 else ''}. "
            "Use the published file."
        )
    return found


def rows_of(path: Path, name: str) -> npt.NDArray[np.int64]:
    """A column of whole numbers.

    Parameters
    ----------
    path : Path
    name : str

    Raises
    ------
    DataSetError, UnreadableRecordError
        See `array_of` and `opened`.
    """
    with opened(path) as file:
        return np.asarray(array_of(file, name, 1, path.name)[:], dtype=np.int64)
