"""What flows through the package: frozen, NumPy only, one direction.

bytes -> `Recording` -> `StandardEcg` -> windows -> `GaussianEmbedding` -> `WindowTrack`
-> answers and hits. Arrays are never changed in place once they are inside one of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

LEADS: tuple[str, ...] = (
    "I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6",
)  # fmt: skip
"""The one order of the 12 leads, used everywhere after reading."""

FRANK_LEADS: tuple[str, ...] = ("X", "Y", "Z")
"""Frank's orthogonal leads: X to the left, Y downwards, Z to the back."""

STANDARD_FS_HZ = 100.0
"""Sampling rate of every `StandardEcg`."""

WINDOW_S = 10.0
"""Length of the window that the model reads, in seconds."""

_ROWS_AT_ONCE = 4096

FilterPadding = Literal["long", "scipy"]

LONG_PADDING: FilterPadding = "long"
SCIPY_PADDING: FilterPadding = "scipy"
PADDINGS: tuple[FilterPadding, ...] = (LONG_PADDING, SCIPY_PADDING)
"""How much signal is mirrored at both ends of a recording while it is filtered: 3 s, or the few
samples that SciPy takes where nothing is said, as the published EchoingECG does. A model reads what
it was trained on, so its folder names one of them."""


@dataclass(frozen=True)
class RhythmSpan:
    """A stretch of a recording that its file says to be in one rhythm.

    Attributes
    ----------
    start_s, stop_s : float
        Seconds from the start of the recording.
    name : str
        WFDB's code without its parenthesis (``"AFIB"``), or the file's own words.
    """

    start_s: float
    stop_s: float
    name: str


@dataclass(frozen=True)
class TextMark:
    """Words that a file ties to a moment.

    Attributes
    ----------
    at_s : float
        Seconds from the start of the recording.
    text : str
    """

    at_s: float
    text: str


@dataclass(frozen=True, eq=False)
class Annotations:
    """What the file or the device itself says of a recording; nothing here is this program's.

    Times are seconds, so that they hold at any sampling rate; ``round(beat_s * fs_hz)`` is the
    sample.

    Attributes
    ----------
    beat_s : ndarray, shape (n_beats,)
        Seconds from the start of the recording, ascending.
    beat_symbols : ndarray of str, shape (n_beats,)
        WFDB's letter of each (``"N"``, ``"V"``...); ``"Q"`` where the file does not say the kind.
    rhythms : tuple of RhythmSpan
    texts : tuple of TextMark
    measurements : mapping of str to float
        By their names in `io.annotations.MEASUREMENTS`, which end in the unit.
    statements : tuple of str
        Lines of the device's interpretation, as they stand there.
    sources : tuple of str
        What was read, for people.
    """

    beat_s: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    beat_symbols: npt.NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype="<U1"))
    rhythms: tuple[RhythmSpan, ...] = ()
    texts: tuple[TextMark, ...] = ()
    measurements: Mapping[str, float] = field(default_factory=dict)
    statements: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.beat_s.ndim != 1 or self.beat_s.shape != self.beat_symbols.shape:
            raise ValueError(
                f"beat_s {self.beat_s.shape} and beat_symbols {self.beat_symbols.shape} must be "
                "of one length"
            )

    def __bool__(self) -> bool:
        parts = (self.rhythms, self.texts, self.measurements, self.statements)
        return self.beat_s.size > 0 or any(parts)


NO_ANNOTATIONS = Annotations()


@dataclass(frozen=True, eq=False)
class Recording:
    """One ECG recording as it was measured, leads by name.

    Attributes
    ----------
    signal_mv : ndarray, shape (n_leads, n_times), float32
        Millivolts. NaN where nothing was measured (gaps, test pattern).
    fs_hz : float
        Sampling rate in Hz.
    lead_names : tuple of str
        Canonical names (`LEADS`, `FRANK_LEADS`), or the file's own name for a channel that
        is not one of them. Each name once.
    record_id : str
        Name of the record, taken from the file name.
    source_names : tuple of str
        The channel names as the file spells them, parallel to ``lead_names``.
    notes : tuple of str
        Plain sentences about what the reader found or did (assumed gain, masked start...).
    file_format : str
        For example ``"WFDB"``.
    simulated : bool
        True when the file says it was simulated.
    stated : tuple of str
        What the file says of each channel (unit, gain, filters), parallel to ``lead_names``.
    annotations : Annotations
        What the file says of beats, rhythm and findings.
    """

    signal_mv: npt.NDArray[np.float32]
    fs_hz: float
    lead_names: tuple[str, ...]
    record_id: str
    source_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    file_format: str = "WFDB"
    simulated: bool = False
    stated: tuple[str, ...] = ()
    annotations: Annotations = NO_ANNOTATIONS

    def __post_init__(self) -> None:
        if self.signal_mv.ndim != 2 or self.signal_mv.shape[0] != len(self.lead_names):
            raise ValueError(
                f"signal_mv has shape {self.signal_mv.shape}, which does not fit "
                f"{len(self.lead_names)} lead names"
            )
        if len(set(self.lead_names)) != len(self.lead_names):
            raise ValueError(f"lead names repeat: {self.lead_names}")

    @property
    def n_times(self) -> int:
        return int(self.signal_mv.shape[1])

    @property
    def duration_s(self) -> float:
        return self.n_times / self.fs_hz


@dataclass(frozen=True, eq=False)
class StandardEcg:
    """The 12 leads in the order of `LEADS`, filtered, at 100 Hz, and which of them are real.

    Attributes
    ----------
    signal_mv : ndarray, shape (12, n_times), float32
        Millivolts, 0.5-40 Hz. Zero wherever ``valid`` is False (never NaN), so ``signal_mv``
        must not be read without ``valid``.
    valid : ndarray, shape (12, n_times), bool
        False in gaps and for the whole of a missing lead.
    lead_origin : tuple of 12 str
        ``"measured"``, ``"derived"`` (Einthoven, Goldberger, Dower...) or ``"missing"``.
    derivation : str or None
        How derived leads were made, for example ``"Dower synthesis from X, Y, Z"``.
    record_id, notes, simulated, annotations
        As in `Recording`.
    unrecorded_s : float
        Seconds at its end that were never recorded and fill up a window.
    """

    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    lead_origin: tuple[str, ...]
    record_id: str
    derivation: str | None = None
    notes: tuple[str, ...] = ()
    simulated: bool = False
    fs_hz: float = STANDARD_FS_HZ
    annotations: Annotations = NO_ANNOTATIONS
    unrecorded_s: float = 0.0

    def __post_init__(self) -> None:
        if self.signal_mv.ndim != 2 or self.signal_mv.shape[0] != len(LEADS):
            raise ValueError(f"signal_mv must have 12 rows, not shape {self.signal_mv.shape}")
        if self.valid.shape != self.signal_mv.shape:
            raise ValueError(f"valid has shape {self.valid.shape}, not {self.signal_mv.shape}")
        if len(self.lead_origin) != len(LEADS):
            raise ValueError("lead_origin needs one entry for each of the 12 leads")

    @property
    def n_times(self) -> int:
        return int(self.signal_mv.shape[1])

    @property
    def duration_s(self) -> float:
        return self.n_times / self.fs_hz

    @property
    def recorded_s(self) -> float:
        return self.duration_s - self.unrecorded_s

    def leads_with(self, origin: str) -> tuple[str, ...]:
        """Names of the leads whose origin is ``origin``, in the order of `LEADS`."""
        return tuple(lead for lead, o in zip(LEADS, self.lead_origin, strict=True) if o == origin)


@dataclass(frozen=True, eq=False)
class GaussianEmbedding:
    """Gaussians in the shared space.

    Attributes
    ----------
    mu : ndarray, shape (n, dim)
        Unit-norm means.
    log_var : ndarray, shape (n, dim)
        Natural logarithm of sigma^2, per dimension.
    """

    mu: npt.NDArray[np.float32]
    log_var: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.mu.ndim != 2 or self.mu.shape != self.log_var.shape:
            raise ValueError(f"mu {self.mu.shape} and log_var {self.log_var.shape} must be equal")

    def __len__(self) -> int:
        return int(self.mu.shape[0])

    @property
    def uncertainty(self) -> npt.NDArray[np.float64]:
        """Sum of sigma^2 over dimensions, shape (n,).

        References
        ----------
        Chun, PCME++ (ICLR 2024), section 3.5: the uncertainty of an item is ||sigma^2||_1.
        """
        # float64: a sum of hundreds of small float32 terms would lose what separates neighbours.
        # Some rows at a time: all windows of a day would take twice the memory of the embedding.
        total = np.empty(len(self))
        for first in range(0, len(self), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            total[rows] = np.exp(self.log_var[rows].astype(np.float64)).sum(axis=1)
        return total

    def __getitem__(self, rows: slice | npt.NDArray[np.integer] | BoolArray) -> GaussianEmbedding:
        return GaussianEmbedding(self.mu[rows], self.log_var[rows])


@dataclass(frozen=True, eq=False)
class EchoClip:
    """One moving picture of an echocardiogram.

    Attributes
    ----------
    frames : ndarray, shape (n_frames, height, width, 3), uint8
        RGB, only the ultrasound region where the file says which that is.
    fps : float
        Frames per second; NaN where the file does not say.
    clip_id : str
        Name of the file or object, without its folder.
    view : str
        ``"a4c"``, ``"plax"``, ``"psax"``, or empty where it is not known.
    simulated : bool
    """

    frames: npt.NDArray[np.uint8]
    fps: float
    clip_id: str
    view: str = ""
    simulated: bool = False

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 of shape (n, height, width, 3), not {self.frames.dtype} "
                f"of {self.frames.shape}"
            )


@dataclass(frozen=True, eq=False)
class EchoStudy:
    """All clips of one echocardiogram.

    Attributes
    ----------
    study_id : str
    clips : tuple of EchoClip
        In the order of their names.
    notes : tuple of str
        What the reader left out, and why.
    """

    study_id: str
    clips: tuple[EchoClip, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class WindowTrack:
    """A recording seen through a sliding window.

    Attributes
    ----------
    start_s : ndarray, shape (n_windows,)
        Start of each window in seconds from the start of the recording.
    embedding : GaussianEmbedding
        One Gaussian per window.
    uncertainty : ndarray, shape (n_windows,)
        Sum of sigma^2 over dimensions.
    percentile : ndarray, shape (n_windows,)
        Share, in percent, of the checkpoint's reference cohort that is less uncertain.
    valid_fraction : ndarray, shape (n_windows, 12)
        Share of each lead in each window that was measured or derived.
    by_lead : ndarray, shape (n_windows, 12), or None
        Part of ``uncertainty`` that each lead is to blame for; None where the model does not tell
        leads apart.
    novelty : ndarray, shape (n_windows,), or None
        Distance from the windows of training; above 1 is farther than 99 % of them. None where
        the model does not know it.
    window_s, stride_s : float
    other_sigma2 : ndarray, shape (n_windows,), or None
        Sum of the model's other sigma^2 over dimensions, where it has two.
    """

    start_s: npt.NDArray[np.float64]
    embedding: GaussianEmbedding
    uncertainty: npt.NDArray[np.float64]
    percentile: npt.NDArray[np.float64]
    valid_fraction: npt.NDArray[np.float64]
    by_lead: npt.NDArray[np.float32] | None
    novelty: npt.NDArray[np.float32] | None
    window_s: float
    stride_s: float
    other_sigma2: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return int(self.start_s.shape[0])


@dataclass(frozen=True)
class AnswerWorth:
    """How answers to one question fared on real ECGs that the model never saw.

    Attributes
    ----------
    n, n_positive : int
        ECGs asked, and those that have the finding.
    auroc, auroc_low, auroc_high : float
        Of the probability, with its 95 % interval over patients.
    yes_n, yes_right : int
        Answers "yes" that were given, and how many of these were right.
    no_n, no_right : int
        The same of "no"; the rest was called "not sure enough".
    """

    n: int
    n_positive: int
    auroc: float
    auroc_low: float
    auroc_high: float
    yes_n: int
    yes_right: int
    no_n: int
    no_right: int


@dataclass(frozen=True)
class Answer:
    """What the model says to one zero-shot question about one window.

    Attributes
    ----------
    question : str
        Short name, for example ``"LVEF < 40 %"``.
    probability : float
        Of yes. Calibrated where ``basis`` says so; else the score alone, which is no probability
        of a finding.
    interval : tuple of float
        90 % interval that holds ``probability``. Calibrated: of the calibration, the wording and
        sigma^2. Else of the Gaussian of the margin alone.
    margin, margin_std : float
        Mean and standard deviation of z.(p - n).
    p_margin_positive : float
        P(margin > 0).
    verdict : str
        ``"yes"`` or ``"no"``, of a calibrated answer alone; ``"leans yes (unvalidated)"``,
        ``"leans no (not calibrated)"`` and the like of others; ``"not sure enough"``.
    unknown_words : tuple of str
        Words of the prompts that the text model never saw in training.
    basis : str
        ``"calibrated"``; ``"simulated"``, learnt from simulated hearts and validated on nobody;
        ``"uncalibrated"``.
    score : float
        Probability of the positive prompts against the negative ones, averaged over the ECG's
        Gaussian; NaN where it was not kept.
    p_wrong : float or None
        Probability that the likelier of yes and no is wrong; None unless calibrated.
    reasons : tuple of str
        Why the verdict is "not sure enough", as parts of a sentence.
    base_rate : float or None
        Share of people with what was asked that the probability starts from.
    prevalence_given : bool
        Whether the user set that share.
    worth : AnswerWorth or None
        None where it was never measured. Of a denial, counted for the denial.
    worth_leads : str
        The leads of those ECGs in words.
    negated : bool
        The answer is the complement of a calibrated finding.
    percentile : float or None
        Of the window's sigma^2 among recordings with these leads.
    by : str
        Who answers: ``"prompts"`` (zero-shot), ``"fine-tuned head"``, ``"few-shot head"``. A head
        has no prompts.
    trained_on : str
        ECGs that a head was trained on, in words; empty of prompts.
    """

    question: str
    probability: float
    interval: tuple[float, float]
    margin: float
    margin_std: float
    p_margin_positive: float
    verdict: str
    positive_prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    unknown_words: tuple[str, ...] = ()
    basis: str = "uncalibrated"
    score: float = float("nan")
    p_wrong: float | None = None
    reasons: tuple[str, ...] = ()
    base_rate: float | None = None
    prevalence_given: bool = False
    worth: AnswerWorth | None = None
    worth_leads: str = ""
    negated: bool = False
    percentile: float | None = None
    by: str = "prompts"
    trained_on: str = ""


@dataclass(frozen=True)
class Hit:
    """One neighbour found in an index.

    Attributes
    ----------
    rank : int
        1 for the nearest.
    item_id, patient_id, record_id : str
    distance : float
        CSD, or 1 - cosine, as ``order`` says: smaller is nearer.
    order : str
        ``"csd"`` or ``"cosine"``.
    report : str
        The report text of the item.
    labels : mapping of str to str, float or bool
    uncertainty, percentile : float
        sigma^2 (sum) of the item's ECG and its percentile in the reference cohort.
    simulated : bool
    """

    rank: int
    item_id: str
    patient_id: str
    record_id: str
    distance: float
    order: str
    report: str
    uncertainty: float
    percentile: float
    simulated: bool
    labels: Mapping[str, str | float | bool] = field(default_factory=dict)
