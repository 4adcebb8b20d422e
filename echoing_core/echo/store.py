"""A folder of the echo teacher's Gaussians: ``mu.npy``, ``log_var.npy``, ``items.parquet``.

Sealed as every folder of embeddings; the card carries the teacher's name and hash, and says where
the echo or the teacher was simulated.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.artifacts import read_card, read_checked, seal, writing_folder
from echoing_core.errors import IndexMismatchError

KIND = "echo embedding store"
_FILES = frozenset({"mu.npy", "log_var.npy", "items.parquet"})


@dataclass(frozen=True, eq=False)
class EchoEmbeddings:
    """What a teacher made of echocardiograms, one row a study or a clip.

    Attributes
    ----------
    study_ids : tuple of str, n
    mu, log_var : ndarray, shape (n, dim), float32
        As `models.echo_teacher.echo_gaussian` gives them.
    n_frames : ndarray, shape (n,), int64
        Frames behind each row.
    teacher, teacher_hash : str
    simulated : bool
        True when the teacher or any of the echocardiograms is simulated.
    clip_ids : tuple of str
        One a row where rows are clips; empty where a row is a study.
    """

    study_ids: tuple[str, ...]
    mu: npt.NDArray[np.float32]
    log_var: npt.NDArray[np.float32]
    n_frames: npt.NDArray[np.int64]
    teacher: str
    teacher_hash: str
    simulated: bool
    clip_ids: tuple[str, ...] = ()

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

    Raises
    ------
    ConfigError
        If ``folder`` holds something else.
    """
    import pandas as pd

    if not len(embeddings):
        raise ValueError("there is nothing to write")
    if not (np.isfinite(embeddings.mu).all() and np.isfinite(embeddings.log_var).all()):
        raise ValueError("echo embeddings must be finite")
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
    if type(card.get("teacher")) is not str or type(card.get("simulated")) is not bool:
        raise _unfit(folder, "does not name its teacher")
    mu, log_var = (_array(folder, f"{name}.npy", card) for name in ("mu", "log_var"))
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
    )


def _array(folder: Path, name: str, card: dict[str, Any]) -> npt.NDArray[np.float32]:
    content = io.BytesIO(read_checked(folder, name, card))
    try:
        array = np.load(content, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _unfit(folder, f"holds a {name} that is not a NumPy array file") from error
    if array.shape != (card["n"], card["dim"]) or array.dtype != np.float32:
        raise _unfit(folder, f"holds a {name} of {array.dtype}, shape {array.shape}")
    return np.asarray(array)


def _unfit(folder: Path, what: str) -> IndexMismatchError:
    return IndexMismatchError(f"{folder} {what}. Embed the echocardiograms again.")
