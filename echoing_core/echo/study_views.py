"""Echo studies of several views, one vector a clip: our store, or a file of EchoPrime's form.

EchoPrime gives 512 numbers a clip, not of unit length. With the view of the clip beside them, as
one of 11, there are 523; the last 11 are then not read. A file is

=========  =====================================================================================
npz        ``embeddings`` (n_clips, width) and ``study_id`` (n_clips,); ``clip_id`` where there is
parquet    the columns ``study_id`` and ``embedding`` (a list a row), or one column a number, named
           ``e0``, ``e1``...; ``clip_id`` where there is
=========  =====================================================================================
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import sha256_of_file
from echoing_core.echo.store import POINT_LOG_VAR, EchoEmbeddings, load_echo_embeddings
from echoing_core.errors import DataSetError

if TYPE_CHECKING:
    import pandas as pd

F32 = npt.NDArray[np.float32]

ECHOPRIME_WIDTH, ECHOPRIME_VIEWS = 512, 11
ENDINGS = (".npz", ".parquet")
_NUMBERED = re.compile(r"e(\d+)")


@dataclass(frozen=True, eq=False)
class StudyViews:
    """Clips of echo studies, one row a clip.

    Attributes
    ----------
    study_ids : tuple of str, n
    vectors : ndarray, shape (n, width), float32
        As the teacher gives them, of any length.
    teacher, teacher_hash : str
        Who made them; of a file its name and the sha256 of it.
    simulated : bool
    """

    study_ids: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    teacher: str
    teacher_hash: str
    simulated: bool = False

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.study_ids):
            raise DataSetError(
                f"{len(self.study_ids)} clips and embeddings of shape {self.vectors.shape} do not "
                "belong together; one row a clip is needed."
            )
        if not len(self) or not np.isfinite(self.vectors).all():
            raise DataSetError(
                "The embeddings of echo clips must be finite numbers, of at least one clip."
            )

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def rows_of_studies(self) -> dict[str, npt.NDArray[np.int64]]:
        """Rows of each study's clips, studies in the order in which they come."""
        rows: dict[str, list[int]] = {}
        for row, study in enumerate(self.study_ids):
            rows.setdefault(study, []).append(row)
        return {study: np.array(own, dtype=np.int64) for study, own in rows.items()}


def padded(
    vectors: F32, rows: Sequence[npt.NDArray[np.int64]]
) -> tuple[F32, npt.NDArray[np.bool_]]:
    """Studies of different numbers of views as one array.

    Parameters
    ----------
    vectors : ndarray, shape (n, width)
    rows : sequence of ndarray of int
        Of each study at least one.

    Returns
    -------
    views : ndarray, shape (n_studies, n_views, width)
        As many views as the largest study has; 0 where a study has fewer.
    missing : ndarray of bool, shape (n_studies, n_views)
    """
    counts = np.array([len(own) for own in rows])
    missing = np.arange(counts.max()) >= counts[:, None]
    views = np.zeros((*missing.shape, vectors.shape[1]), dtype=np.float32)
    views[~missing] = vectors[np.concatenate(list(rows))]
    return views, missing


def views_of(store: EchoEmbeddings) -> StudyViews:
    """The means of a store, whose rows are clips or, at worst, studies of one vector each.

    Parameters
    ----------
    store : EchoEmbeddings

    Returns
    -------
    StudyViews
    """
    return StudyViews(store.study_ids, store.mu, store.teacher, store.teacher_hash, store.simulated)


def as_embeddings(views: StudyViews) -> EchoEmbeddings:
    """Vectors of a file as a store's, of unit length and without a variance that means anything.

    So embeddings of another modality, such as chest X-rays by study, serve as echo does.

    Parameters
    ----------
    views : StudyViews

    Returns
    -------
    EchoEmbeddings
        One row a vector; log variances are those of a point, for losses that read none.

    Raises
    ------
    DataSetError
        A vector is 0, which has no direction.
    """
    lengths = np.linalg.norm(views.vectors, axis=1, keepdims=True)
    if not lengths.all():
        raise DataSetError("An embedding is 0 throughout. Leave that row out.")
    n = len(views)
    return EchoEmbeddings(
        study_ids=views.study_ids,
        mu=views.vectors / lengths,
        log_var=np.full(views.vectors.shape, POINT_LOG_VAR, dtype=np.float32),
        n_frames=np.ones(n, dtype=np.int64),
        teacher=views.teacher,
        teacher_hash=views.teacher_hash,
        simulated=views.simulated,
        clip_ids=tuple(f"row {k}" for k in range(n)),
        frames="",
    )


def read_views(path: Path) -> StudyViews:
    """A store of ours, or a file of embeddings; told apart by what lies there.

    Parameters
    ----------
    path : Path
        Folder of ``echoing teacher embed --by-clip``, or a file ending in ``.npz`` or
        ``.parquet``.

    Returns
    -------
    StudyViews

    Raises
    ------
    DataSetError
        There is no such file, or it lacks what is needed.
    IndexMismatchError
        The store is damaged.
    """
    if path.is_dir():
        return views_of(load_echo_embeddings(path))
    if not path.is_file() or path.suffix.lower() not in ENDINGS:
        raise DataSetError(
            f"{path} is no store of echo embeddings and no file of them ({' or '.join(ENDINGS)}). "
            "Make a store with `echoing teacher embed FOLDER STORE --teacher TEACHER --by-clip`."
        )
    ids, vectors = _of_npz(path) if path.suffix.lower() == ".npz" else _of_parquet(path)
    if vectors.ndim == 2 and vectors.shape[1] == ECHOPRIME_WIDTH + ECHOPRIME_VIEWS:
        vectors = vectors[:, :ECHOPRIME_WIDTH]
    return StudyViews(
        ids, np.asarray(vectors, dtype=np.float32), f"clips of {path.name}", sha256_of_file(path)
    )


def _of_npz(path: Path) -> tuple[tuple[str, ...], npt.NDArray[np.floating]]:
    try:
        # A pickle could run code; arrays of numbers and of text need none.
        with np.load(path, allow_pickle=False) as content:
            vectors, ids = content["embeddings"], content["study_id"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _lacking(path, "the arrays embeddings and study_id") from error
    if vectors.dtype.kind != "f" or ids.ndim != 1:
        raise _lacking(path, "embeddings that are numbers and a vector study_id")
    return tuple(str(name) for name in ids), vectors


def _of_parquet(path: Path) -> tuple[tuple[str, ...], npt.NDArray[np.floating]]:
    import pandas as pd
    import pyarrow

    try:
        table = pd.read_parquet(path, engine="pyarrow")
        vectors = _vectors_of(table)
        ids = tuple(str(name) for name in table["study_id"])
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise _lacking(
            path, "the columns study_id and embedding, or study_id and e0, e1"
        ) from error
    return ids, vectors


def _vectors_of(table: pd.DataFrame) -> npt.NDArray[np.floating]:
    if "embedding" in table.columns:
        # Lists of one length; np.stack refuses others.
        return np.stack([np.asarray(row, dtype=np.float32) for row in table["embedding"]])
    numbered = {int(m[1]): name for name in table.columns if (m := _NUMBERED.fullmatch(str(name)))}
    if sorted(numbered) != list(range(len(numbered))):
        raise KeyError("e0")
    return table[[numbered[k] for k in range(len(numbered))]].to_numpy(np.float32)


def _lacking(path: Path, what: str) -> DataSetError:
    return DataSetError(
        f"{path.name} holds no embeddings of echo clips: needed are {what}, one row a clip. "
        "docs/reference/files.md says which form."
    )
