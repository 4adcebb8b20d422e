"""Recordings looked at, asked and compared; models, indexes and samples opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError, SignalQualityError
from echoing_core.export.track import Explanation
from echoing_core.io import TableLayout, read_recording
from echoing_core.progress import SILENT, Progress
from echoing_core.records import (
    LEADS,
    STANDARD_FS_HZ,
    WINDOW_S,
    Answer,
    GaussianEmbedding,
    Hit,
    Recording,
    StandardEcg,
    WindowTrack,
)
from echoing_core.signals import standardise
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.signals.windows import stride_to_samples, window_starts
from echoing_core.uncertainty.fusion import Fused, fuse
from echoing_core.uncertainty.reasons import (
    WindowReasons,
    reasons_from_cells,
    reasons_from_percentile,
)
from echoing_core.uncertainty.reference import Reference
from echoing_core.zeroshot.prompts import PromptSet, load_prompt_sets, prompt_set_from_text

if TYPE_CHECKING:
    from echoing_core.models.checkpoint import Checkpoint
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.retrieve.search import ItemFilter


_ROOT = Path(__file__).resolve().parents[2]
WINDOW_N = round(WINDOW_S * STANDARD_FS_HZ)


def assets_folder() -> Path:
    """Where the shipped model, prompts and recordings lie.

    Beside the package in a checkout; ``ECHOING_HOME`` names another place.
    """
    return Path(os.environ.get("ECHOING_HOME", _ROOT)) / "assets"


def indexes_folder() -> Path:
    """Where the shipped index lies; see `assets_folder`."""
    return Path(os.environ.get("ECHOING_HOME", _ROOT)) / "indexes"


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model.

    Attributes
    ----------
    name, hash : str
        Folder name; sha256 over the files that it computes with.
    card_markdown : str
    reference : Reference
        sigma^2 of the reference cohort.
    trained_on : mapping
        The training record: data, settings, figures.
    simulated_training : bool
        True when no real ECG was used in training.
    imported : bool
        True for published weights of others, under their licence.
    checkpoint : Checkpoint
    """

    name: str
    hash: str
    card_markdown: str
    reference: Reference
    trained_on: Mapping[str, Any]
    simulated_training: bool
    imported: bool
    checkpoint: Checkpoint

    @property
    def has_attribution(self) -> bool:
        """Whether sigma^2 has parts by lead and moment, and missing leads can be told."""
        return self.checkpoint.has_attribution

    @property
    def saw_words(self) -> bool:
        """Whether the words that its vocabulary knows are those of its training."""
        return self.checkpoint.tokenizer.saw_words


@dataclass(frozen=True)
class Sample:
    """A recording that ships with the project."""

    sample_id: str
    title: str
    description: str
    simulated: bool
    paths: tuple[Path, ...]


def load_model(folder: str | os.PathLike[str] | None = None) -> Model:
    """Load a model folder; without a name, the shipped demo model.

    Raises
    ------
    CheckpointError
        The folder is missing, damaged or of another kind.
    """
    from echoing_core.models.checkpoint import load_checkpoint

    return _as_model(load_checkpoint(folder or assets_folder() / "models" / "demo"))


def _as_model(checkpoint: Checkpoint) -> Model:
    return Model(
        name=checkpoint.name,
        hash=checkpoint.hash,
        card_markdown=checkpoint.card,
        reference=Reference.from_dict(checkpoint.reference),
        trained_on=checkpoint.training,
        simulated_training=not (
            checkpoint.training.get("real_ecgs", 0) or checkpoint.training.get("imported")
        ),
        imported=bool(checkpoint.training.get("imported")),
        checkpoint=checkpoint,
    )


def load_index(
    folder: str | os.PathLike[str] | None = None, model: Model | None = None
) -> GalleryIndex:
    """Open an index; without a name, the shipped one. With ``model``, refuse a foreign index.

    Raises
    ------
    IndexMismatchError
        The index is damaged, or was built with another model.
    """
    from echoing_core.retrieve.index import open_index

    path = Path(folder) if folder is not None else indexes_folder() / "demo"
    return open_index(path, checkpoint_hash=model.hash if model is not None else None)


def samples() -> list[Sample]:
    """The recordings that ship with the project, in the order in which to show them."""
    import yaml

    listing = assets_folder() / "recordings" / "samples.yaml"
    if not listing.is_file():
        return []
    entries = yaml.safe_load(listing.read_text(encoding="utf-8"))
    return [
        Sample(
            sample_id=entry["id"],
            title=entry["title"],
            description=entry["description"],
            simulated=entry["simulated"],
            paths=tuple(listing.parent / name for name in entry["files"]),
        )
        for entry in entries
    ]


def read_upload(files: Sequence[tuple[str, bytes]], layout: TableLayout | None = None) -> Recording:
    """Read the files that a browser sent. Nothing of them stays on disk.

    ``layout`` says what the columns of a table are, see `table_preview`.
    """
    return read_recording(files, layout=layout)


def explain(
    model: Model,
    recording: Recording | StandardEcg,
    stride_s: float = 1.0,
    *,
    vcg_method: str = DEFAULT_VCG_METHOD,
    progress: Progress = SILENT,
) -> Explanation:
    """sigma^2 of 10-second windows along a recording (EchoingECG, Fig. 2).

    Parameters
    ----------
    stride_s : float
        Seconds between window starts, from 0.01 s on. Multiples of 0.2 s share one pass.
    vcg_method : {"dower", "kors_pinv", "kors_gls"}
        How 12 leads are made of X, Y, Z where a recording has only those.
    progress : Progress, optional
        Counts windows: ``Progress(lambda stage, done, total: ...)``.

    Raises
    ------
    RecordError
        The recording is too short or lacks leads.
    ConfigError
        ``stride_s`` or ``vcg_method`` is not possible.
    """
    from echoing_core.embed.encode import encode_dense_terms

    stride_n = stride_to_samples(stride_s)
    ecg = _standard(recording, vcg_method)
    starts = window_starts(ecg.n_times, WINDOW_N, stride_n)
    parts = encode_dense_terms(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, ecg, starts, progress=progress
    )
    uncertainty = parts.embedding.uncertainty
    track = WindowTrack(
        start_s=starts / ecg.fs_hz,
        embedding=parts.embedding,
        uncertainty=uncertainty,
        percentile=model.reference.percentile(uncertainty),
        valid_fraction=_valid_fraction(ecg, starts),
        by_lead=parts.by_lead,
        novelty=parts.novelty,
        window_s=WINDOW_S,
        stride_s=stride_n / STANDARD_FS_HZ,
    )
    source_fs = recording.fs_hz
    return Explanation(
        recording_id=ecg.record_id,
        ecg=ecg,
        track=track,
        model_name=model.name,
        model_hash=model.hash,
        settings={
            "window_s": WINDOW_S,
            "stride_s": track.stride_s,
            "vcg_method": vcg_method,
            "source_fs_hz": source_fs,
            "fs_hz": STANDARD_FS_HZ,
            "band_hz": [0.5, 40.0],
        },
        cautions=cautions(model, ecg),
    )


def cautions(
    model: Model, recording: Recording | StandardEcg, *, vcg_method: str = DEFAULT_VCG_METHOD
) -> tuple[str, ...]:
    """What makes a recording one that this model cannot read as it should.

    The published network has no mask: what was not recorded it takes for a flat line. Refusing
    such recordings would keep them from a comparison on purpose, so they are told instead.
    """
    if model.has_attribution:
        return ()
    ecg = _standard(recording, vcg_method)
    if ecg.valid.all():
        return ()
    missing = ecg.leads_with("missing")
    kept = np.array([origin != "missing" for origin in ecg.lead_origin])
    absent = [f"the leads {', '.join(missing)}"] if missing else []
    if not ecg.valid[kept].all():
        absent.append("gaps in the recording")
    return (
        f"This model cannot be told what was not recorded: {' and '.join(absent)} were given to it "
        "as flat lines. Do not rely on its answers or its sigma^2 here.",
    )


def window_reasons(
    model: Model, explanation: Explanation, indices: Sequence[int]
) -> dict[int, WindowReasons]:
    """Which leads and moments the sigma^2 of windows comes from, and why, by window number.

    The windows are embedded once more, for their cells alone: 600 numbers for each window of a day
    would not be worth their memory.

    Raises
    ------
    IndexError
        The recording has no such window.
    """
    from echoing_core.uncertainty.attribution import attribute_windows

    ecg, track = explanation.ecg, explanation.track
    if not len(indices):
        return {}
    cuts = [round(float(track.start_s[i]) * ecg.fs_hz) for i in indices]
    signal_mv = np.array([ecg.signal_mv[:, cut : cut + WINDOW_N] for cut in cuts])
    valid = np.array([ecg.valid[:, cut : cut + WINDOW_N] for cut in cuts])
    novelty = track.novelty
    if novelty is None:
        return {
            index: reasons_from_percentile(float(track.percentile[index]), known)
            for index, known in zip(indices, valid, strict=True)
        }
    attribution = attribute_windows(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, signal_mv, valid
    )
    return {
        index: reasons_from_cells(
            attribution.cells[row],
            float(attribution.rest[row]),
            signal_mv[row],
            valid[row],
            lead_origin=ecg.lead_origin,
            novelty=float(novelty[index]),
            reference=model.reference,
        )
        for row, index in enumerate(indices)
    }


def _valid_fraction(ecg: StandardEcg, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Measured or derived share of each lead in each window, shape (n_windows, 12)."""
    share = np.empty((len(starts), len(LEADS)))
    # Lead by lead and in 32 bits: a running count of all leads of a day is 0.8 GB.
    for row, valid in enumerate(ecg.valid):
        count = np.concatenate([[0], np.cumsum(valid, dtype=np.int32)])
        share[:, row] = (count[starts + WINDOW_N] - count[starts]) / WINDOW_N
    return share


def prompt_sets(path: str | os.PathLike[str] | None = None) -> tuple[PromptSet, ...]:
    """The shipped questions, or those of a file or folder."""
    return load_prompt_sets(Path(path) if path is not None else assets_folder() / "prompts")


def ask(
    model: Model,
    recording: Recording | StandardEcg | Explanation,
    prompts: str | PromptSet | Sequence[str | PromptSet] | None = None,
    *,
    start_s: float | None = None,
    rule: str | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
) -> list[Answer]:
    """Zero-shot answers about one window of a recording, or about the whole of it.

    Parameters
    ----------
    prompts : optional
        A question in words, a `PromptSet`, or several; without, the shipped questions.
    start_s : float, optional
        Start of the window. Without, the window with the lowest sigma^2 is asked.
    rule : {"start", "lowest", "precision", "trimmed"}, optional
        Ask the recording as `fuse_recording` fuses it, instead of a window.

    Returns
    -------
    list of Answer
        In the order of ``prompts``.

    Raises
    ------
    ConfigError
        Both a start and a rule are given, or there is no such rule.
    """
    if rule is None:
        embedding, _ = _one_window(model, recording, start_s, vcg_method)
    elif start_s is not None:
        raise ConfigError(
            "A window can be asked, or the fused recording, but not both. Leave out the start of "
            "the window or the rule."
        )
    else:
        if not isinstance(recording, Explanation):
            recording = explain(model, recording, vcg_method=vcg_method)
        embedding = fuse_recording(recording.track, rule).embedding
    return answer_embedding(model, embedding, as_prompt_sets(prompts))


def fuse_recording(track: WindowTrack, rule: str) -> Fused:
    """One Gaussian for a whole recording, with each window's share in it.

    Windows that hold little signal are left out by every rule, as `most_sure_window` does.

    Parameters
    ----------
    track : WindowTrack
        From `explain`, at any stride: the overlap of the windows is accounted for.
    rule : {"start", "lowest", "precision", "trimmed"}
        See `uncertainty.fusion`.

    Returns
    -------
    Fused
        ``weights`` and ``used`` in the order of the track's windows.
    """
    rows = _windows_with_signal(track)
    fused = fuse(track.embedding[rows], track.start_s[rows], track.window_s, rule)
    weights, used = np.zeros(len(track)), np.zeros(len(track), dtype=np.bool_)
    weights[rows], used[rows] = fused.weights, fused.used
    return Fused(fused.embedding, weights, used, rule)


def as_prompt_sets(
    prompts: str | PromptSet | Sequence[str | PromptSet] | None,
) -> tuple[PromptSet, ...]:
    """Questions in any of the forms that `ask` takes, as prompt sets."""
    if prompts is None:
        return prompt_sets()
    if isinstance(prompts, str | PromptSet):
        prompts = [prompts]
    return tuple(prompt_set_from_text(item) if isinstance(item, str) else item for item in prompts)


def answer_embedding(
    model: Model, embedding: GaussianEmbedding, questions: Sequence[PromptSet]
) -> list[Answer]:
    """Answers for one embedded window (a `GaussianEmbedding` of one row)."""
    from echoing_core.embed.encode import encode_texts
    from echoing_core.zeroshot import closed_form

    answers = []
    for question in questions:
        words = " ".join([*question.positive, *question.negative])
        answers.append(
            closed_form.answer(
                embedding,
                encode_texts(model.checkpoint, question.positive),
                encode_texts(model.checkpoint, question.negative),
                question=question.question,
                positive_prompts=question.positive,
                negative_prompts=question.negative,
                logit_scale=model.checkpoint.logit_scale,
                unknown_words=model.checkpoint.tokenizer.unknown_words(words),
            )
        )
    return answers


def search(
    index: GalleryIndex,
    model: Model,
    query: str | Recording | StandardEcg | Explanation,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
    unique_reports: bool = False,
) -> list[Hit]:
    """Nearest ECGs or reports to a text or to a window of a recording.

    Parameters
    ----------
    order : {"csd", "cosine"}
        Exact closed-form sampled distance, or cosine of the means.
    target : {"ecg", "report"}
    where : ItemFilter, optional
        Applied before the nearest ``k`` are taken.
    start_s : float, optional
        Start of the window of a recording; without, the one with the lowest sigma^2.
    unique_reports : bool
        Show each report text once, at its nearest item.
    """
    from echoing_core.embed.encode import encode_texts
    from echoing_core.retrieve.search import search_gallery

    if isinstance(query, str):
        if not query.strip():
            raise ConfigError("The search text is empty. Type what to look for.")
        embedding = encode_texts(model.checkpoint, [query])
    else:
        embedding, _ = _one_window(model, query, start_s, vcg_method)
    return search_gallery(
        index,
        embedding,
        k=k,
        order=order,
        target=target,
        where=where,
        unique_reports=unique_reports,
    )


def unknown_words(model: Model, text: str) -> tuple[str, ...]:
    """Words of a text that the model's text encoder never saw, or does not know whole."""
    return model.checkpoint.tokenizer.unknown_words(text)


def unknown_words_mean(model: Model) -> str:
    """What `unknown_words` says of words, as the start of a sentence that lists them."""
    if model.saw_words:
        return "The model never saw these words"
    return "The model's vocabulary has these words in pieces only"


def draw_item(index: GalleryIndex, item_id: str) -> StandardEcg:
    """The trace of an index item: as the index holds it, or drawn again from its seed and id.

    Raises
    ------
    ConfigError
        There is no such item, or it is a real recording of which the index holds no trace.
    """
    from echoing_core.retrieve.index import GAP
    from echoing_core.simulate import redraw

    rows = np.flatnonzero((index.items["item_id"] == item_id).to_numpy())
    if not rows.size:
        raise ConfigError(f"The index has no item {item_id}.")
    row = index.items.iloc[int(rows[0])]
    if index.traces is not None:
        microvolts = index.traces[int(rows[0])]
        valid = microvolts != GAP
        return StandardEcg(
            signal_mv=np.where(valid, microvolts / 1000.0, 0.0).astype(np.float32),
            valid=valid,
            lead_origin=_origins(index, int(rows[0]), valid),
            derivation="as its collection says",
            record_id=str(row["record_id"]),
            simulated=bool(row["simulated"]),
        )
    if not bool(row["simulated"]):
        raise ConfigError(f"Item {item_id} is a real recording; the index holds no trace of it.")
    return standardise(redraw(str(row["record_id"])).recording_12)


def _origins(
    index: GalleryIndex, row: int, valid: npt.NDArray[np.bool_]
) -> tuple[Literal["measured", "derived", "missing"], ...]:
    """Where the leads of a stored trace come from, as far as the card tells it."""
    told = index.card.get("lead_origins")
    letters = told[row] if isinstance(told, list) and len(told) == len(index) else ""
    if not isinstance(letters, str) or len(letters) != len(LEADS):
        letters = "m" * len(LEADS)
    return tuple(
        "missing" if not there else ("derived" if letter == "d" else "measured")
        for letter, there in zip(letters, np.atleast_1d(valid.any(axis=1)), strict=True)
    )


def _standard(recording: Recording | StandardEcg, vcg_method: str) -> StandardEcg:
    if isinstance(recording, StandardEcg):
        return recording
    return standardise(recording, vcg_method=vcg_method)


def _one_window(
    model: Model,
    recording: Recording | StandardEcg | Explanation,
    start_s: float | None,
    vcg_method: str,
) -> tuple[GaussianEmbedding, float]:
    """The embedding of one window (one row) and its start in seconds."""
    from echoing_core.embed.encode import encode_dense

    if isinstance(recording, Explanation):
        ecg, track = recording.ecg, recording.track
    else:
        ecg, track = _standard(recording, vcg_method), None
    if start_s is None:
        if track is None:
            track = explain(model, ecg).track
        surest = most_sure_window(track)
        return track.embedding[np.array([surest])], float(track.start_s[surest])
    start_n = round(start_s * ecg.fs_hz)
    if start_n < 0 or start_n + WINDOW_N > ecg.n_times:
        raise SignalQualityError(
            f"There is no 10-second window at {start_s:.1f} s: the recording lasts "
            f"{ecg.duration_s:.1f} s. Choose a start from 0 to {ecg.duration_s - WINDOW_S:.1f} s."
        )
    embedding = encode_dense(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, ecg, np.array([start_n])
    )
    return embedding, start_n / ecg.fs_hz


def most_sure_window(track: WindowTrack) -> int:
    """Index of the window with the lowest sigma^2 among those that hold some signal."""
    rows = _windows_with_signal(track)
    return int(rows[np.argmin(track.uncertainty[rows])])


def extreme_windows(track: WindowTrack, n: int, *, surest: bool) -> list[int]:
    """Up to ``n`` windows that do not overlap and hold signal, surest or least sure first."""
    # Ties at percentile 0 or 100 are common on noisy recordings, so sigma^2 itself decides.
    order = np.argsort(track.uncertainty if surest else -track.uncertainty, kind="stable")
    picked = [most_sure_window(track)] if surest else []
    for index in order.tolist():
        if len(picked) >= n:
            break
        apart = all(abs(track.start_s[index] - track.start_s[i]) >= track.window_s for i in picked)
        if apart and track.valid_fraction[index].max() > 0:
            picked.append(index)
    return picked


def _windows_with_signal(track: WindowTrack) -> npt.NDArray[np.intp]:
    """Windows that hold at least half as much signal as the fullest one."""
    share = track.valid_fraction.mean(axis=1)
    return np.flatnonzero(share >= 0.5 * share.max())
