"""Gaussians of echocardiograms: computed once through a teacher, cached, and stored sealed.

The cache is a folder with one small file a study. A file's name follows from everything that its
content depends on: teacher, study, which frames, and the source's own mark of its state. So a
change of any of them computes anew and an interrupted run goes on where it stopped.

A store is a folder with ``mu.npy``, ``log_var.npy`` and ``items.parquet``, sealed as every folder
of embeddings; its card carries the teacher's name and hash, and says where the echo or the teacher
was simulated.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import read_card, read_checked, replacing_file, seal, writing_folder
from echoing_core.echo.teacher import EchoTeacher, echo_gaussian
from echoing_core.errors import (
    ConfigError,
    DataSetError,
    EchoingError,
    IndexMismatchError,
    RecordError,
)
from echoing_core.progress import SILENT, Progress
from echoing_core.records import EchoClip, EchoStudy

KIND = "echo embedding store"
_FILES = frozenset({"mu.npy", "log_var.npy", "items.parquet"})

POINT_LOG_VAR = -18.42
"""Log variance of what is one point: of one frame, or of a vector without a variance."""

F32 = npt.NDArray[np.float32]
Pool = Literal["study", "clip"]

# Part of every cached file's name: raised when the same inputs give other numbers.
_FORMAT = 1


@dataclass(frozen=True, eq=False)
class EchoEmbeddings:
    """What a teacher made of echocardiograms, one row a study or a clip.

    Attributes
    ----------
    study_ids : tuple of str, n
    mu, log_var : ndarray, shape (n, dim), float32
        As `echo.teacher.echo_gaussian` gives them.
    n_frames : ndarray, shape (n,), int64
        Frames behind each row.
    teacher, teacher_hash : str
    simulated : bool
        True when the teacher or any of the echocardiograms is simulated.
    clip_ids : tuple of str
        One a row where rows are clips; empty where a row is a study.
    frames : str
        Which frames of a clip were embedded, of `FRAMES`.
    """

    study_ids: tuple[str, ...]
    mu: npt.NDArray[np.float32]
    log_var: npt.NDArray[np.float32]
    n_frames: npt.NDArray[np.int64]
    teacher: str
    teacher_hash: str
    simulated: bool
    clip_ids: tuple[str, ...] = ()
    frames: str = "echo-clip"

    def __post_init__(self) -> None:
        n = len(self.study_ids)
        if self.mu.ndim != 2 or self.mu.shape[0] != n or self.mu.shape != self.log_var.shape:
            raise ValueError(f"mu {self.mu.shape}, log_var {self.log_var.shape}: {n} rows needed")
        if self.n_frames.shape != (n,) or len(self.clip_ids) not in (0, n):
            raise ValueError(f"n_frames and clip_ids must have {n} entries")
        if not self.clip_ids and len(set(self.study_ids)) != n:
            raise ValueError("a study may only stand in one row")

    def __len__(self) -> int:
        return len(self.study_ids)

    @property
    def dim(self) -> int:
        return int(self.mu.shape[1])


def save_echo_embeddings(folder: Path, embeddings: EchoEmbeddings) -> dict[str, Any]:
    """Write a store, all or nothing; returns its card.

    Parameters
    ----------
    folder : Path
        New, empty, or an older store of this kind, which is then replaced.
    embeddings : EchoEmbeddings
        At least one row.

    Returns
    -------
    dict
        Names the teacher, its hash, and whether rows are studies or clips.

    Raises
    ------
    ConfigError
        If ``folder`` holds something else.
    """
    import pandas as pd

    if not len(embeddings):
        raise ValueError("there is nothing to write")
    # One NaN among the targets would make every loss of a training NaN.
    if not (np.isfinite(embeddings.mu).all() and np.isfinite(embeddings.log_var).all()):
        raise ValueError("echo embeddings must be finite")
    # Both kinds of rows have the same columns, so that one reader serves.
    clips = embeddings.clip_ids or ("",) * len(embeddings)
    items = pd.DataFrame(
        {
            "study_id": list(embeddings.study_ids),
            "clip_id": list(clips),
            "n_frames": embeddings.n_frames.astype(np.int64),
        }
    )
    with writing_folder(Path(folder), kind=KIND) as temporary:
        np.save(temporary / "mu.npy", embeddings.mu.astype(np.float32))
        np.save(temporary / "log_var.npy", embeddings.log_var.astype(np.float32))
        items.to_parquet(temporary / "items.parquet", engine="pyarrow")
        return seal(
            temporary,
            kind=KIND,
            checkpoint_hash=embeddings.teacher_hash,
            n=len(embeddings),
            dim=embeddings.dim,
            extra={
                "teacher": embeddings.teacher,
                "simulated": embeddings.simulated,
                "rows": "clips" if embeddings.clip_ids else "studies",
                "frames": embeddings.frames,
            },
        )


def load_echo_embeddings(folder: Path, *, teacher_hash: str | None = None) -> EchoEmbeddings:
    """Read a folder that `save_echo_embeddings` wrote.

    Parameters
    ----------
    folder : Path
    teacher_hash : str, optional
        Hash of the teacher in use; without it, a store of any teacher is read.

    Raises
    ------
    IndexMismatchError
        If the folder is damaged, of another kind, or of another teacher.
    """
    import pandas as pd

    folder = Path(folder)
    card = read_card(folder, kind=KIND, files=_FILES, checkpoint_hash=teacher_hash)
    # Whether echo is simulated must be known wherever its figures are shown.
    if type(card.get("teacher")) is not str or type(card.get("simulated")) is not bool:
        raise _unfit(folder, "does not name its teacher")
    mu, log_var = (_array(folder, f"{name}.npy", card) for name in ("mu", "log_var"))
    # From the checked bytes and not from the path, which may change meanwhile.
    items = pd.read_parquet(io.BytesIO(read_checked(folder, "items.parquet", card)))
    if len(items) != card["n"] or list(items.columns) != ["study_id", "clip_id", "n_frames"]:
        raise _unfit(folder, "has a table of items that does not fit its arrays")
    clips = tuple(items["clip_id"].astype(str))
    return EchoEmbeddings(
        study_ids=tuple(items["study_id"].astype(str)),
        mu=mu,
        log_var=log_var,
        n_frames=items["n_frames"].to_numpy(np.int64),
        teacher=card["teacher"],
        teacher_hash=card["checkpoint_hash"],
        simulated=card["simulated"],
        clip_ids=clips if card.get("rows") == "clips" else (),
        # Stores of before there was a choice have ECHO-CLIP's.
        frames=str(card.get("frames", ECHO_CLIP)),
    )


def _array(folder: Path, name: str, card: dict[str, Any]) -> npt.NDArray[np.float32]:
    content = io.BytesIO(read_checked(folder, name, card))
    try:
        # A pickle could run code; an array of numbers needs none.
        array = np.load(content, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _unfit(folder, f"holds a {name} that is not a NumPy array file") from error
    if array.shape != (card["n"], card["dim"]) or array.dtype != np.float32:
        raise _unfit(folder, f"holds a {name} of {array.dtype}, shape {array.shape}")
    return np.asarray(array)


def _unfit(folder: Path, what: str) -> IndexMismatchError:
    return IndexMismatchError(f"{folder} {what}. Embed the echocardiograms again.")


# Embedding studies, and the cache


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a clip are embedded: ECHO-CLIP's 0, 2, ... 38 by default.

    Attributes
    ----------
    stride : int
        Every how manieth frame.
    max_frames : int or None
        At most so many of a clip; None for all.
    """

    stride: int = 2
    max_frames: int | None = 20

    @property
    def reach(self) -> int | None:
        """How many frames of a clip need to be read; None for all."""
        return None if self.max_frames is None else self.stride * self.max_frames

    def of(self, clip: EchoClip) -> npt.NDArray[np.uint8]:
        """Choose frames of a clip.

        Parameters
        ----------
        clip : EchoClip

        Returns
        -------
        ndarray, shape (n, height, width, 3), uint8
            In their order.
        """
        return clip.frames[: self.reach : self.stride]


ECHO_CLIP_FRAMES = FrameChoice()

ECHO_CLIP = "echo-clip"
FRAMES: dict[str, FrameChoice] = {
    ECHO_CLIP: ECHO_CLIP_FRAMES,
    "first-40": FrameChoice(1, 40),
    "every": FrameChoice(1, None),
}
"""By name: ECHO-CLIP's own 20 of the first 40, all of those 40, or every frame, which the published
EchoingECG embeds. A store's card has the name."""


def named_frames(name: str) -> FrameChoice:
    """Which frames a name stands for.

    Parameters
    ----------
    name : str
        Of `FRAMES`.

    Returns
    -------
    FrameChoice

    Raises
    ------
    ConfigError
        There is no such choice.
    """
    if name not in FRAMES:
        raise ConfigError(
            f"There is no choice of frames {name!r}. Choose one of {', '.join(FRAMES)}."
        )
    return FRAMES[name]


@dataclass(frozen=True)
class EchoSource:
    """A study that can be read when it is needed.

    Attributes
    ----------
    study_id : str
    read : callable
        Gives the study.
    state : str
        Changes when the files behind it do, for example their sizes and dates; part of what the
        cache goes by.
    """

    study_id: str
    read: Callable[[], EchoStudy]
    state: str = ""


@dataclass(frozen=True, eq=False)
class EchoRun:
    """What `embed_studies` did.

    Attributes
    ----------
    embeddings : EchoEmbeddings
        In the order of the studies; those that failed are not in it.
    failures : dict of str to str
        Why a study could not be used.
    n_computed, n_cached : int
        Studies embedded now, and studies found in the cache.
    """

    embeddings: EchoEmbeddings
    failures: dict[str, str] = field(default_factory=dict)
    n_computed: int = 0
    n_cached: int = 0


@dataclass(frozen=True, eq=False)
class _Rows:
    """One study's rows, as they lie in the cache."""

    clip_ids: tuple[str, ...]
    mu: F32
    log_var: F32
    n_frames: npt.NDArray[np.int64]
    simulated: bool


def embed_study(
    teacher: EchoTeacher, study: EchoStudy, *, choice: FrameChoice = ECHO_CLIP_FRAMES
) -> tuple[F32, F32, int]:
    """One Gaussian of all chosen frames of all clips of a study.

    The article keeps one vector a study and does not say how clips are brought together; here
    their frames are pooled.

    Parameters
    ----------
    teacher : EchoTeacher
    study : EchoStudy
    choice : FrameChoice
        Which frames of each clip.

    Returns
    -------
    mu, log_var : ndarray, shape (dim,), float32
    n_frames : int

    Raises
    ------
    RecordError
        If there are fewer than two frames.
    """
    rows = _rows_of(teacher, study, choice, "study")
    return rows.mu[0], rows.log_var[0], int(rows.n_frames[0])


def embed_studies(
    teacher: EchoTeacher,
    studies: Sequence[EchoSource],
    cache_folder: Path | None,
    *,
    choice: FrameChoice = ECHO_CLIP_FRAMES,
    pool: Pool = "study",
    progress: Progress = SILENT,
) -> EchoRun:
    """Embed many studies, computing only what the cache does not hold for this teacher.

    Parameters
    ----------
    teacher : EchoTeacher
    studies : sequence of EchoSource
        Each id once; a study is only read if the cache does not have it.
    cache_folder : Path or None
        Made where it does not exist. Every finished study is in it at once, so a killed run
        loses one study at most.
    choice : FrameChoice
    pool : {"study", "clip"}
        One row a study, or one a clip of at least two frames.
    progress : Progress, optional
        Counts studies.

    Raises
    ------
    DataSetError
        If no study could be used. A single one that cannot is in ``failures``.
    ValueError
        If a study id is given twice.
    """
    # Two studies of one name would share a row of the store and a file of the cache.
    if len({s.study_id for s in studies}) != len(studies):
        raise ValueError("every study id may be given once")
    if cache_folder is not None:
        cache_folder.mkdir(parents=True, exist_ok=True)
    embedded: list[tuple[str, _Rows]] = []
    failures: dict[str, str] = {}
    n_cached = 0
    for done, source in enumerate(studies, start=1):
        path = None
        if cache_folder is not None:
            # The name holds all that the content depends on: what is there is what is wanted.
            path = cache_folder / f"{_key(teacher, source, choice, pool)}.npz"
        rows = None if path is None else _read_rows(path, teacher.dim)
        if rows is not None:
            n_cached += 1
            embedded.append((source.study_id, rows))
        else:
            try:
                rows = _rows_of(teacher, source.read(), choice, pool)
            # One study that cannot be read must not cost the days spent on the others.
            except EchoingError as error:
                failures[source.study_id] = str(error)
            else:
                if path is not None:
                    _write_rows(path, rows)
                embedded.append((source.study_id, rows))
        progress(done, len(studies))
    if not embedded:
        # The first reason stands for all: it is most often the same.
        why = next(iter(failures.values()), "There are none.")
        raise DataSetError(f"None of {len(studies)} echo studies could be used. {why}")
    return EchoRun(
        embeddings=_joined(teacher, embedded, pool),
        failures=failures,
        n_computed=len(embedded) - n_cached,
        n_cached=n_cached,
    )


def _rows_of(teacher: EchoTeacher, study: EchoStudy, choice: FrameChoice, pool: Pool) -> _Rows:
    chosen = [(clip, choice.of(clip)) for clip in study.clips]
    # Frames of clips of different sizes cannot be one array, so each clip goes by itself.
    vectors = [(clip.clip_id, teacher.embed_frames(frames)) for clip, frames in chosen]
    if pool == "study":
        joined = [v for _, v in vectors] or [np.empty((0, teacher.dim), np.float32)]
        vectors = [("", np.concatenate(joined))]
    else:
        # A still picture of a study is left out by itself; only a study without any clip fails.
        vectors = [(name, v) for name, v in vectors if len(v) >= 2]
        if not vectors:
            raise RecordError(
                f"Study {study.study_id} has no clip of at least 2 frames. "
                "Choose a study with moving pictures."
            )
    gaussians = [echo_gaussian(v) for _, v in vectors]
    return _Rows(
        clip_ids=tuple(name for name, _ in vectors),
        mu=np.stack([mu for mu, _ in gaussians]),
        log_var=np.stack([log_var for _, log_var in gaussians]),
        n_frames=np.array([len(v) for _, v in vectors], np.int64),
        simulated=any(clip.simulated for clip in study.clips),
    )


def _joined(teacher: EchoTeacher, studies: list[tuple[str, _Rows]], pool: Pool) -> EchoEmbeddings:
    rows = [r for _, r in studies]
    return EchoEmbeddings(
        # A study's id stands once for each of its rows.
        study_ids=tuple(name for name, r in studies for _ in r.clip_ids),
        mu=np.concatenate([r.mu for r in rows]),
        log_var=np.concatenate([r.log_var for r in rows]),
        n_frames=np.concatenate([r.n_frames for r in rows]),
        teacher=teacher.name,
        teacher_hash=teacher.hash,
        # Either makes the numbers unfit to be shown as real.
        simulated=teacher.simulated or any(r.simulated for r in rows),
        clip_ids=() if pool == "study" else tuple(c for r in rows for c in r.clip_ids),
    )


def _key(teacher: EchoTeacher, source: EchoSource, choice: FrameChoice, pool: Pool) -> str:
    dependencies = {
        "format": _FORMAT,
        "teacher": teacher.hash,
        "study": source.study_id,
        "state": source.state,
        "pool": pool,
        **asdict(choice),
    }
    return hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()


def _write_rows(path: Path, rows: _Rows) -> None:
    with replacing_file(path) as draft:
        np.savez(
            draft,
            clip_ids=np.array(rows.clip_ids, dtype=np.str_),
            mu=rows.mu,
            log_var=rows.log_var,
            n_frames=rows.n_frames,
            simulated=np.array(rows.simulated),
        )


def _read_rows(path: Path, dim: int) -> _Rows | None:
    """A study from the cache; None where it is not there or not whole, so it is made again."""
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            rows = _Rows(
                clip_ids=tuple(str(name) for name in content["clip_ids"]),
                mu=content["mu"],
                log_var=content["log_var"],
                n_frames=content["n_frames"],
                simulated=bool(content["simulated"]),
            )
    # What a kill leaves behind: a file cut short, or one of another kind.
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    # No hash covers the cache, so at least shapes and types are checked.
    shape = (len(rows.clip_ids), dim)
    fits = rows.mu.shape == shape == rows.log_var.shape and rows.n_frames.shape == shape[:1]
    return rows if fits and rows.mu.dtype == rows.log_var.dtype == np.float32 else None
