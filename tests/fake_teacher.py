"""An echo teacher without weights: frames and texts become vectors by rules that tests know."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.echo.reading import EchoReader
from echoing_core.echo.reading_scale import N_ALIKE, ReadingScale

F32 = npt.NDArray[np.float32]


class FakeTeacher:
    """A frame's mean grey level is an angle between the first two axes; texts are drawn by name."""

    def __init__(
        self, dim: int = 12, *, simulated: bool = True, image_size: tuple[int, int] = (16, 16)
    ) -> None:
        self.dim, self.simulated, self.image_size = dim, simulated, image_size
        self.name = "fake stand-in trained on simulated echo"
        self.hash = hashlib.sha256(f"fake {dim}".encode()).hexdigest()

    def embed_frames(self, frames: npt.NDArray[np.uint8]) -> F32:
        """Unit vectors, shape (n, dim)."""
        angle = frames.reshape(len(frames), -1).mean(axis=1) / 255.0 * np.pi / 2
        vectors = np.zeros((len(frames), self.dim), np.float32)
        vectors[:, 0], vectors[:, 1] = np.cos(angle), np.sin(angle)
        return vectors

    def embed_text(self, texts: Sequence[str]) -> F32:
        """Unit vectors, shape (n, dim), of the text alone."""
        seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) for text in texts]
        drawn = np.array([np.random.default_rng(seed).normal(size=self.dim) for seed in seeds])
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def fake_scale(teacher: FakeTeacher, n: int = 100) -> ReadingScale:
    """Readings of ``n`` hearts; those with a finding have the higher scores."""
    ramp = np.linspace(-1.0, 1.0, n)
    return ReadingScale(
        source=f"{n} simulated studies",
        simulated=True,
        teacher_hash=teacher.hash,
        lvef_pct=np.linspace(10.0, 70.0, n),
        read_pct=np.linspace(20.0, 60.0, n),
        spread=np.linspace(0.0, 0.5, n),
        spread_within=np.linspace(0.0, 0.1, n),
        scores=dict.fromkeys(("lvef_lt40", "slvh", "dlv"), ramp),
        having={key: np.arange(n) >= n - N_ALIKE for key in ("lvef_lt40", "slvh", "dlv")},
    )


def fake_reader(dim: int = 12, *, simulated: bool = True, scale: bool = True) -> EchoReader:
    """A reader of the fake teacher."""
    teacher = FakeTeacher(dim, simulated=simulated)
    return EchoReader(teacher, fake_scale(teacher) if scale else None)  # type: ignore[arg-type]
