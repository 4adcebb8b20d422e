"""One echocardiogram as a teacher reads it: mean and variance of its frames, EF, findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.echo.measuring import TASKS, ZeroShot, frame_spread
from echoing_core.echo.reading_scale import N_ALIKE, ReadingScale
from echoing_core.echo.store import ECHO_CLIP_FRAMES, FrameChoice
from echoing_core.echo.teacher import EchoTeacher, echo_gaussian
from echoing_core.records import EchoStudy, GaussianEmbedding

Floats = npt.NDArray[np.float64]
Verdict = Literal["yes", "no", "unclear", ""]

# Four of five that were read alike must agree before a reading is called a yes or a no.
_SURE_SHARE = 0.8


@dataclass(frozen=True, eq=False)
class ClipReading:
    """One clip of a study.

    Attributes
    ----------
    clip_id, view : str
        The view is known of simulated clips alone.
    fps : float
        Frames a second; NaN where the file does not say.
    stride : int
        Every how manieth frame was read.
    lvef_pct : float
        By the prompts, of this clip alone; NaN of a single frame.
    spread : float
        Summed variance of its frames' vectors.
    away : ndarray, shape (n_frames,)
        Squared distance of each frame's vector from the clip's mean; their mean is ``spread``.
    """

    clip_id: str
    view: str
    fps: float
    stride: int
    lvef_pct: float
    spread: float
    away: Floats

    @property
    def n_frames(self) -> int:
        return len(self.away)


@dataclass(frozen=True)
class FindingReading:
    """A finding as the teacher reads it.

    Attributes
    ----------
    key : str
        As in `measuring.TASKS`.
    score : float
        Mean cosine to its prompts: it orders studies and is no probability.
    n_with : int or None
        Of the `N_ALIKE` known studies with the most similar score, those that had it; None
        where the teacher was never measured.
    verdict : {"yes", "no", "unclear", ""}
        Yes or no where four of five of those agree; empty where there are none.
    """

    key: str
    score: float
    n_with: int | None
    verdict: Verdict

    @property
    def name(self) -> str:
        return TASKS[self.key]

    @property
    def worth(self) -> str:
        """What the score says of known studies, in words; empty where there are none."""
        if self.n_with is None:
            return ""
        return f"{self.n_with} of the {N_ALIKE} known hearts read most alike had it"


@dataclass(frozen=True, eq=False)
class EchoReading:
    """A study as a teacher reads it.

    Attributes
    ----------
    study_id : str
    clips : tuple of ClipReading
    embedding : GaussianEmbedding, one row
        Mean and log variance of the frames of all clips, in the teacher's space.
    spread : float
        Summed variance, 0..1.
    spread_within : float
        Mean over the clips of a clip's own variance: what moves. The rest lies between clips.
    spread_pct, spread_within_pct : float or None
        Per cent of the known studies that have less.
    lvef_pct : float
        By ECHO-CLIP's prompts.
    lvef_range_pct : tuple of float or None
        See `ReadingScale.lvef_range_pct`.
    findings : tuple of FindingReading
    teacher, teacher_hash : str
    teacher_simulated, echo_simulated : bool
        Whether the teacher learnt from simulated echo alone; whether any clip is simulated.
    scale_source : str
        Which the known studies are; empty where there are none.
    notes : tuple of str
        Of the reader.
    """

    study_id: str
    clips: tuple[ClipReading, ...]
    embedding: GaussianEmbedding
    spread: float
    spread_within: float
    spread_pct: float | None
    spread_within_pct: float | None
    lvef_pct: float
    lvef_range_pct: tuple[float, float, float] | None
    findings: tuple[FindingReading, ...]
    teacher: str
    teacher_hash: str
    teacher_simulated: bool
    echo_simulated: bool
    scale_source: str
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        return sum(clip.n_frames for clip in self.clips)

    @property
    def lvef_words(self) -> str:
        """What hearts that were read alike truly had, in words; empty where none are known."""
        if self.lvef_range_pct is None:
            return ""
        low, middle, high = self.lvef_range_pct
        return (
            f"the {N_ALIKE} known hearts read most alike truly had {middle:.0f} % in the middle, "
            f"nine of ten {low:.0f} to {high:.0f} %"
        )

    def finding(self, key: str) -> FindingReading:
        """The finding of a key of `measuring.TASKS`."""
        return next(one for one in self.findings if one.key == key)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; the Gaussian with all of its dimensions."""
        span = self.lvef_range_pct
        return {
            "study": self.study_id,
            "teacher": self.teacher,
            "teacher_hash": self.teacher_hash,
            "teacher_simulated": self.teacher_simulated,
            "echo_simulated": self.echo_simulated,
            "n_frames": self.n_frames,
            "clips": [
                {
                    "clip": clip.clip_id,
                    "view": clip.view,
                    "fps": clip.fps if np.isfinite(clip.fps) else None,
                    "n_frames": clip.n_frames,
                    "stride": clip.stride,
                    "lvef_pct": round(clip.lvef_pct, 2) if np.isfinite(clip.lvef_pct) else None,
                    "variance": round(clip.spread, 6),
                }
                for clip in self.clips
            ],
            "variance": round(self.spread, 6),
            "variance_within_clips": round(self.spread_within, 6),
            "variance_percentile": _shortened(self.spread_pct),
            "variance_within_clips_percentile": _shortened(self.spread_within_pct),
            "lvef_pct": round(self.lvef_pct, 2),
            "lvef_of_hearts_read_alike_pct": None if span is None else [round(v, 1) for v in span],
            "findings": {
                one.key: {
                    "score": round(one.score, 5),
                    "had_it_of_alike": one.n_with,
                    "n_alike": None if one.n_with is None else N_ALIKE,
                    "verdict": one.verdict or None,
                }
                for one in self.findings
            },
            "compared_with": self.scale_source or None,
            "mu": [round(float(v), 6) for v in self.embedding.mu[0]],
            "log_var": [round(float(v), 4) for v in self.embedding.log_var[0]],
            "notes": list(self.notes),
        }


class EchoReader:
    """A teacher that is ready to read: its prompts embedded, its scale at hand.

    Parameters
    ----------
    teacher : EchoTeacher
    scale : ReadingScale, optional
        Without one, readings are numbers of which nothing is known.
    """

    def __init__(self, teacher: EchoTeacher, scale: ReadingScale | None = None) -> None:
        self.teacher = teacher
        self.scale = scale
        self._prompts = ZeroShot(teacher, list(TASKS))

    def read(self, study: EchoStudy, *, choice: FrameChoice = ECHO_CLIP_FRAMES) -> EchoReading:
        """Read one study.

        Parameters
        ----------
        study : EchoStudy
        choice : FrameChoice
            By default ECHO-CLIP's 20 frames of each clip, every second from the first.

        Raises
        ------
        RecordError
            All clips together have fewer than two frames.
        """
        teacher, scale = self.teacher, self.scale
        vectors = [teacher.embed_frames(choice.of(clip)) for clip in study.clips]
        every = np.concatenate([np.empty((0, teacher.dim), np.float32), *vectors])
        # It refuses a still picture: without motion there is no variance and no EF.
        mu, log_var = echo_gaussian(every)
        clips = tuple(
            ClipReading(
                clip_id=clip.clip_id,
                view=clip.view,
                fps=clip.fps,
                stride=choice.stride,
                lvef_pct=self._prompts.lvef_pct(frames)[0] if len(frames) > 1 else float("nan"),
                spread=frame_spread(frames),
                away=np.square(frames - frames.mean(axis=0, dtype=np.float64)).sum(axis=1),
            )
            for clip, frames in zip(study.clips, vectors, strict=True)
            if len(frames)
        )
        spread, within = frame_spread(every), float(np.mean([clip.spread for clip in clips]))
        lvef_pct = self._prompts.lvef_pct(every)[0]
        return EchoReading(
            study_id=study.study_id,
            clips=clips,
            embedding=GaussianEmbedding(mu[None], log_var[None]),
            spread=spread,
            spread_within=within,
            spread_pct=None if scale is None else _below_pct(scale.spread, spread),
            spread_within_pct=None if scale is None else _below_pct(scale.spread_within, within),
            lvef_pct=lvef_pct,
            lvef_range_pct=None if scale is None else scale.lvef_range_pct(lvef_pct),
            findings=tuple(self._finding(key, every) for key in TASKS),
            teacher=teacher.name,
            teacher_hash=teacher.hash,
            teacher_simulated=teacher.simulated,
            echo_simulated=any(clip.simulated for clip in study.clips),
            scale_source="" if scale is None else scale.source,
            notes=study.notes,
        )

    def _finding(self, key: str, vectors: npt.NDArray[np.float32]) -> FindingReading:
        score = self._prompts.score(vectors, key)
        if self.scale is None:
            return FindingReading(key, score, None, "")
        n_with = self.scale.n_with(key, score)
        return FindingReading(key, score, n_with, verdict_of(n_with))


def verdict_of(n_with: int) -> Verdict:
    """Yes, no, or neither, by how many of `N_ALIKE` known studies had a finding.

    Parameters
    ----------
    n_with : int

    Returns
    -------
    {"yes", "no", "unclear"}
    """
    if n_with >= _SURE_SHARE * N_ALIKE:
        return "yes"
    return "no" if n_with <= (1.0 - _SURE_SHARE) * N_ALIKE + 1e-9 else "unclear"


def _below_pct(values: Floats, value: float) -> float:
    return float(100.0 * np.mean(values < value))


def _shortened(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
