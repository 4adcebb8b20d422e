"""Many recordings one after another: a row for each, or the reason why there is none."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from echoing_core.errors import EchoingError
from echoing_core.export.batch_table import BatchFailure, BatchResult, BatchRow
from echoing_core.io.looking import opened_archive
from echoing_core.io.many import BatchItem
from echoing_core.io.sources import SourceFile
from echoing_core.io.told import NOTHING, Told
from echoing_core.io.zipped import is_zip
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray, WindowTrack
from echoing_core.services.asking import (
    EncodedQuestion,
    Prevalence,
    as_prompt_sets,
    asked_window,
    encode_question,
    prevalences,
)
from echoing_core.services.explaining import ExplainJob
from echoing_core.services.heads import beside, head_answers, head_prevalences, heads_of
from echoing_core.services.measuring import MEASURED_WHOLE_S, measurements
from echoing_core.services.models import Model
from echoing_core.services.uploads import Through, at_once
from echoing_core.services.windows import extreme_windows, most_sure_window, window_reasons
from echoing_core.signals.heart_beats import heart_beats
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.uncertainty.intervals import UNSURE_PERCENTILE
from echoing_core.zeroshot.prompts import PromptSet

if TYPE_CHECKING:
    from echoing_core.measure import Measurement
    from echoing_core.models.heads import Head
    from echoing_core.records import Recording

logger = logging.getLogger(__name__)

Turn = Callable[[], contextlib.AbstractContextManager[object]]

_OVERHEAD_BYTES = 200_000
"""What a small file costs beside its bytes, in bytes of a large one: for the time left alone."""

# Share of a file whose windows are all embedded but whose row is not there yet.
_ALMOST = 0.999

_UNEXPECTED = (
    "It could not be read, for a reason that this program did not expect. Export the recording "
    "again."
)


def batch(
    model: Model,
    recordings: Iterable[BatchItem | str | Path],
    questions: str | PromptSet | Sequence[str | PromptSet] | None = None,
    *,
    vcg_method: str = DEFAULT_VCG_METHOD,
    prevalence: Prevalence = None,
    told: Told = NOTHING,
    measured: bool = False,
    turn: Turn = contextlib.nullcontext,
    through: Through = at_once,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = SILENT,
) -> Iterator[BatchResult]:
    """Look at recordings one after another; none stops the rest.

    Parameters
    ----------
    model : Model
    recordings : iterable of BatchItem or path
        See `group_files` and `folder_items`. Of an archive, each recording gives a result.
    questions : optional
        As in `ask`; none with an empty sequence. They are asked of the surest window, and heads
        answer as there.
    vcg_method : str
        As in `explain`.
    prevalence : float, optional
        As in `ask`.
    told : Told, optional
        What a person says of all of them; a channel holds for the files that have it.
    measured : bool
        Measure intervals and axes, too: 0.12 s of a 10-s ECG, all else of which takes 0.06 s.
    turn : callable
        Gives a context that is held while the model works, for fractions of a second each time.
    through : callable
        Calls what parses the files: a server that was given them reads them in another process
        (`uploads.gated`).
    stop : callable
        Asked between the steps; when it says True, what is under way is dropped and the rest
        is not begun.
    progress : Progress, optional
        Counts files, with the share of the one under way as a fraction.

    Yields
    ------
    BatchRow or BatchFailure
        In the order of ``recordings``.
    """
    items = [item if isinstance(item, BatchItem) else _at(Path(item)) for item in recordings]
    with turn():
        # Embedded once, and not for every recording. A model of ECGs alone is asked nothing unless
        # somebody wants it, and then says why not.
        asked = as_prompt_sets(() if questions is None and not model.has_text else questions)
        shares = prevalences(asked, prevalence)
        encoded = [encode_question(model, prompts) for prompts in asked]
    # Where nothing is asked, heads do not answer either.
    heads = heads_of(model, None if questions is None else asked)
    said = told if told == NOTHING else replace(told, where_there=True)
    run = _Run(
        model, encoded, heads, vcg_method, shares, said, measured, turn, through, stop,
        lambda share: None,
    )  # fmt: skip
    for done, item in enumerate(items):
        run.step = _steps(progress, done, len(items))
        run.step(0.0)
        for result in _results(run, item):
            if result is None:
                return
            yield result
        if stop():
            return
    progress(len(items), len(items))


@dataclass(eq=False)
class _Run:
    """What all recordings of a batch have in common."""

    model: Model
    questions: Sequence[EncodedQuestion]
    heads: Sequence[Head]
    vcg_method: str
    shares: Sequence[float | None]
    told: Told
    measured: bool
    turn: Turn
    through: Through
    stop: Callable[[], bool]
    step: Callable[[float], None]


def _steps(progress: Progress, done: int, total: int) -> Callable[[float], None]:
    def step(share: float) -> None:
        # A file is done when its row is there, not when its last window is looked at.
        progress(done + min(share, _ALMOST), total)

    return step


def _at(path: Path) -> BatchItem:
    try:
        size = path.stat().st_size
    except OSError:
        return BatchItem(path.name, (), refusal=f"{path.name} is not there; check its name.")
    return BatchItem(path.name, (SourceFile(path.name, size, path=path),))


def _results(run: _Run, item: BatchItem) -> Iterator[BatchResult | None]:
    """One result, or those of an archive; None as soon as the batch is to stop."""
    try:
        item = item.at_hand()
    except EchoingError as error:
        yield _failure(item, error)
        return
    # An archive becomes the recordings in it; any other item stays itself, with its own files.
    opened: list[tuple[BatchItem, tuple[SourceFile, ...] | None]] = [(item, None)]
    if item.files and is_zip(item.files[0].head(4)):
        failure = None
        try:
            inside = run.through(opened_archive, item)
            if inside is not None:
                # The items hold the archive and not what came out of it.
                opened = [(replace(one, files=item.files), one.files) for one in inside]
        except Exception as error:  # noqa: BLE001 - told as a result, like every other
            failure = _failure(item, error)
        if failure is not None:
            yield failure
            return
    while opened:
        if run.stop():
            yield None
            return
        # Taken off the list, so that the bytes of each recording are free once its row is there.
        inner, files = opened.pop(0)
        try:
            result: BatchResult | None = _row(run, inner, files)
        except Exception as error:  # noqa: BLE001 - one file never stops the rest
            result = _failure(inner, error)
        yield result


def _failure(item: BatchItem, error: Exception) -> BatchFailure:
    if isinstance(error, EchoingError):
        return BatchFailure(item.name, item, type(error).__name__, str(error))
    # Without the message: it may quote the file.
    logger.error("unexpected %s while a recording of a batch was read", type(error).__name__)
    return BatchFailure(item.name, item, "Unexpected", _UNEXPECTED)


def _row(run: _Run, item: BatchItem, files: Sequence[SourceFile] | None) -> BatchRow | None:
    begun = time.perf_counter()
    # Without the archive around them, where they are unpacked.
    own = item if files is None else replace(item, files=tuple(files), members=())
    recording = run.through(BatchItem.read, own, None, run.told)
    with run.turn():
        job = ExplainJob(run.model, recording, vcg_method=run.vcg_method)
    # Step by step, so that others get their turn at the model and a stop takes effect within a
    # fraction of a second.
    while not job.finished:
        if run.stop():
            return None
        with run.turn():
            job.step()
        run.step(job.done / job.total)
    explanation = job.explanation()
    ecg, track = explanation.ecg, explanation.track
    best = most_sure_window(track)
    worst = extreme_windows(track, 1, surest=False)[0]
    start_s = float(track.start_s[best])
    with run.turn():
        # Why the recording is unsure is asked of its worst window, everything else of its best.
        reason = window_reasons(run.model, explanation, [worst])[worst].sentence
        embedding = track.embedding[np.array([best])]
        window = asked_window(explanation, best)
        answers = tuple(
            question.answer(embedding, window, share)
            for question, share in zip(run.questions, run.shares, strict=True)
        )
        prompts = [question.prompts for question in run.questions]
        of_heads = head_answers(
            run.model,
            explanation,
            run.heads,
            embedding,
            window,
            start_s=start_s,
            prevalences=head_prevalences(run.heads, prompts, run.shares),
        )
        answers = tuple(beside(prompts, answers, run.heads, of_heads))
        rate_bpm = heart_beats(ecg, start_s).rate_bpm
    measured = _measured(recording, start_s) if run.measured else ()
    # Windows without signal would count as very unsure and move both median and share.
    percentile = track.percentile[_holds_signal(track)]
    return BatchRow(
        name=item.name,
        item=item,
        file_format=recording.file_format,
        simulated=ecg.simulated,
        duration_s=recording.duration_s,
        fs_hz=recording.fs_hz,
        measured=ecg.leads_with("measured"),
        derived=ecg.leads_with("derived"),
        missing=ecg.leads_with("missing"),
        n_windows=len(track),
        best_start_s=start_s,
        best_percentile=float(track.percentile[best]),
        median_percentile=float(np.median(percentile)),
        unsure_share=float((percentile >= UNSURE_PERCENTILE).mean()),
        reason=reason,
        heart_rate_bpm=None if rate_bpm is None else float(rate_bpm),
        answers=answers,
        cautions=explanation.cautions,
        seconds=time.perf_counter() - begun,
        measurements=measured,
    )


def _measured(recording: Recording, start_s: float) -> tuple[Measurement, ...]:
    long = recording.duration_s > MEASURED_WHOLE_S
    try:
        return measurements(recording, start_s if long else None).values
    except EchoingError:
        # Of leads or a rate that the model reads and measuring does not.
        return ()


def _holds_signal(track: WindowTrack) -> BoolArray:
    return np.asarray(track.valid_fraction.max(axis=1) > 0)


@dataclass(eq=False)
class _Work:
    """What a job and its thread share. It does not know the job, which may so be forgotten."""

    items: list[BatchItem]
    stop: threading.Event = field(default_factory=threading.Event)
    results: list[BatchResult] = field(default_factory=list)
    done: int = 0
    share: float = 0.0
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def tell(self, stage: str, done: float, total: int) -> None:
        self.done, self.share = int(done), done - int(done)


class BatchJob:
    """A batch in a thread of its own.

    Results arrive while it runs and stay when it is stopped. When nobody holds the job any more,
    as when the session that began it has ended, the thread stops by itself.

    Parameters
    ----------
    model, questions, vcg_method, prevalence, measured, turn, through
        As in `batch`.
    items : sequence of BatchItem
    """

    def __init__(
        self,
        model: Model,
        items: Sequence[BatchItem],
        questions: Sequence[PromptSet] = (),
        *,
        vcg_method: str = DEFAULT_VCG_METHOD,
        prevalence: Prevalence = None,
        measured: bool = False,
        turn: Turn = contextlib.nullcontext,
        through: Through = at_once,
    ) -> None:
        self.questions = tuple(questions)
        self._work = _Work(list(items))
        # The thread holds `_Work` alone, so the job is collected when its session forgets it, and
        # this then stops the thread.
        weakref.finalize(self, self._work.stop.set)
        self._thread = threading.Thread(
            # A function and not a method, which would hold the job alive.
            target=_run,
            args=(
                self._work,
                model,
                self.questions,
                vcg_method,
                prevalence,
                measured,
                turn,
                through,
            ),
            name="batch",
            # A batch must not keep the process from ending.
            daemon=True,
        )
        self._thread.start()

    @property
    def results(self) -> tuple[BatchResult, ...]:
        """What there is so far."""
        return tuple(self._work.results)

    @property
    def rows(self) -> tuple[BatchRow, ...]:
        return tuple(r for r in self.results if isinstance(r, BatchRow))

    @property
    def failures(self) -> tuple[BatchFailure, ...]:
        return tuple(r for r in self.results if isinstance(r, BatchFailure))

    @property
    def done(self) -> int:
        """Files that are through; an archive counts as one."""
        return self._work.done

    @property
    def total(self) -> int:
        return len(self._work.items)

    @property
    def share(self) -> float:
        """How much is done, from 0 to 1, by size."""
        # Files of a folder differ a thousandfold in length; counting them would mislead about the
        # time left.
        weights = [item.size + _OVERHEAD_BYTES for item in self._work.items]
        done = self._work.done
        partly = self._work.share * weights[done] if done < len(weights) else 0.0
        return (sum(weights[:done]) + partly) / max(sum(weights), 1)

    @property
    def left_s(self) -> float:
        """Seconds left by the pace so far; NaN while there is none."""
        share = self.share
        if share <= 0:
            return float("nan")
        return (time.monotonic() - self._work.begun) * (1 - share) / share

    @property
    def seconds(self) -> float:
        """That it has taken."""
        end = time.monotonic() if self._work.ended is None else self._work.ended
        return end - self._work.begun

    @property
    def finished(self) -> bool:
        """Whether nothing more comes, be it through or stopped."""
        return self._work.ended is not None

    @property
    def stopped(self) -> bool:
        """Whether it was stopped before the last file was through."""
        return self._work.stop.is_set() and self._work.done < self.total

    @property
    def held_bytes(self) -> int:
        """Bytes of files in memory, kept so that a recording can be opened."""
        # By identity: recordings of one archive share its bytes.
        files = {id(f): f for item in self._work.items for f in item.files if f.data is not None}
        return sum(file.size for file in files.values())

    def cancel(self) -> None:
        """Stop after the step under way; what is there stays."""
        self._work.stop.set()

    def wait(self, timeout_s: float | None = None) -> None:
        """Until it is finished, or until the time is over.

        Parameters
        ----------
        timeout_s : float, optional
            Seconds; without it, as long as it takes.
        """
        self._thread.join(timeout_s)


def _run(
    work: _Work,
    model: Model,
    questions: tuple[PromptSet, ...],
    vcg_method: str,
    prevalence: Prevalence,
    measured: bool,
    turn: Turn,
    through: Through,
) -> None:
    try:
        for result in batch(
            model,
            work.items,
            questions,
            vcg_method=vcg_method,
            prevalence=prevalence,
            measured=measured,
            turn=turn,
            through=through,
            stop=work.stop.is_set,
            progress=Progress(work.tell),
        ):
            work.results.append(result)
    except Exception as error:  # noqa: BLE001 - a thread has nobody to tell but its results
        # What befalls one file is a failure of that file; here the model itself gave up.
        logger.error("a batch ended by an unexpected %s", type(error).__name__)
        rest = work.items[work.done :]
        work.results += [_failure(item, error) for item in rest]
        work.done = len(work.items)
    finally:
        work.ended = time.monotonic()
