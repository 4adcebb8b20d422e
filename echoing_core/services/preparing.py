"""Published data sets as prepared folders."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from echoing_core.datasets.registry import (
    DATA_SETS,
    Option,
    build_adapter,
    data_set_names,
    options_of,
    summary_of,
)
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import check_given

if TYPE_CHECKING:
    from echoing_core.datasets.preparing import PrepareReport


def prepare_data_set(
    name: str,
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    settings: Mapping[str, str] | None = None,
    n_workers: int | None = None,
    cluster: str | None = None,
    restart: bool = False,
    progress: Progress = SILENT,
) -> PrepareReport:
    """Read a data set as it was downloaded into a prepared folder.

    Parameters
    ----------
    name : str
        Of `data_sets`.
    root, out : path
    settings : mapping of str to str
        Its options, as they are typed.
    n_workers, cluster, restart, progress
        As in `datasets.preparing.prepare`.

    Returns
    -------
    PrepareReport

    Raises
    ------
    ConfigError, DataSetError
        An option does not fit, or a folder is not what it should be.
    """
    check_given(recordings=[root])
    # pandas and pyarrow are loaded only when something is prepared.
    from echoing_core.datasets.preparing import prepare

    return prepare(
        build_adapter(name, settings),
        Path(root),
        Path(out),
        n_workers=n_workers,
        cluster=cluster,
        restart=restart,
        progress=progress,
    )


def data_sets() -> dict[str, tuple[str, tuple[Option, ...]]]:
    """Name of each data set -> its summary, and its options.

    A plugin that cannot be imported stands there with the sentence that says so.
    """
    listed = {}
    for name in data_set_names():
        try:
            listed[name] = (summary_of(name), options_of(name))
        except ConfigError as error:
            if name in DATA_SETS:
                raise
            listed[name] = (str(error), ())
    return listed
