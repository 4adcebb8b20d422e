"""Batches of ECG-text and ECG-echo pairs, each a function of the seed and its number alone.

Nothing is remembered between batches. So a run that was killed goes on with the batch it was
at, every process of several draws the same batch and works on its share of it, and batches can
be made ahead in another thread.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.records import BoolArray
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.augmentation import view_of
from echoing_core.training.distributed import World, encoded_share_of, share_of
from echoing_core.training.settings import RunConfig
from echoing_core.zeroshot.prompts import PromptSet

# First words of the seeds of independent streams.
_ORDER, _VIEW, _WORDS, _PLAN, _PROMPTS = 1, 2, 3, 4, 5

# A finding in fewer ECGs weighs no more than this: a single ECG must not rule a step.
_RAREST = 0.03

_SENTENCE_END = re.compile(r"(?<=\.)\s+")

ReportSource = Callable[[int, np.random.Generator], str]
"""Row number and generator -> one wording of that study's report."""


@dataclass(frozen=True, eq=False)
class Source:
    """Studies of one origin.

    Attributes
    ----------
    name : str
    signal_mv : ndarray, shape (n, 12, 1000)
    valid : ndarray of bool, same shape
    report : ReportSource
        May word the same findings differently at every call.
    share : float
        Share of every batch that comes from here; the shares of all sources sum to 1.
    answers : ndarray, shape (n, n_questions), optional
        Truth of each ECG for the questions of `Batches`: 1, 0, or NaN where it is not known.
    patients : ndarray of int64, shape (n,), optional
        Whose each ECG is, where that matters to the loss.
    """

    name: str
    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    report: ReportSource
    share: float
    answers: npt.NDArray[np.float32] | None = None
    patients: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.signal_mv)


@dataclass(frozen=True, eq=False)
class EchoPairs:
    """ECGs whose patient had an echocardiogram, and what the teacher made of it.

    Attributes
    ----------
    signal_mv : ndarray, shape (n, 12, 1000)
    valid : ndarray of bool, same shape
    echo : ndarray of int, shape (n,)
        Row of each ECG's echocardiogram in ``mu``; several ECGs may share one.
    mu, log_var : ndarray, shape (n_echoes, dim)
    study : ndarray of int, shape (n_echoes,), optional
        Which study each echocardiogram is of; without it each is one of its own.
    reports : tuple of str, n, optional
        Of the ECGs, for the term of echo and text.
    """

    signal_mv: npt.NDArray[np.float32]
    valid: BoolArray
    echo: npt.NDArray[np.int64]
    mu: npt.NDArray[np.float32]
    log_var: npt.NDArray[np.float32]
    study: npt.NDArray[np.int64] | None = None
    reports: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.signal_mv) != len(self.echo) or self.mu.shape != self.log_var.shape:
            raise DataSetError(
                f"{len(self.signal_mv)} ECGs, {len(self.echo)} echo numbers and teacher arrays of "
                f"shape {self.mu.shape} and {self.log_var.shape} do not belong together."
            )

    def __len__(self) -> int:
        return len(self.signal_mv)


@dataclass(frozen=True, eq=False)
class AskedBatch:
    """Questions of a step, with what is true of its ECGs.

    Attributes
    ----------
    token_ids, token_mask : Tensor of int64, shape (n_questions * 2 * n_a_side, n_tokens)
        Prompts: for each question those for yes, then those for no.
    answers : Tensor, shape (n_ecgs, n_questions)
        1, 0, or NaN where it is not known; of the whole batch.
    balance : Tensor, shape (2, n_questions)
        Weight of an answer no, and of an answer yes.
    """

    token_ids: Tensor
    token_mask: Tensor
    answers: Tensor
    balance: Tensor


@dataclass(frozen=True, eq=False)
class TextBatch:
    """ECGs, the distinct texts among their reports, and which belongs to which.

    ``scaled``, ``valid``, ``texts`` and their tokens are this process's share; all else is that of
    the whole batch.

    Attributes
    ----------
    scaled, valid : Tensor, shape (n_share, 12, n_times)
    texts : tuple of str
    token_ids, token_mask : Tensor of int64, shape (n_texts_share, n_tokens)
    match : Tensor of bool, shape (n_ecgs, n_texts)
    own : Tensor of int64, shape (n_ecgs,)
        Which text is that of each ECG's own report; others may fit it, too.
    patients : Tensor of int64, shape (n_ecgs,)
        -1 where they are not told.
    number : int
        Of the batch.
    asked : AskedBatch or None
        Where the run learns from questions.
    """

    scaled: Tensor
    valid: Tensor
    texts: tuple[str, ...]
    token_ids: Tensor
    token_mask: Tensor
    match: Tensor
    own: Tensor
    patients: Tensor
    number: int
    asked: AskedBatch | None = None

    @property
    def n_texts(self) -> int:
        return int(self.match.shape[1])


@dataclass(frozen=True, eq=False)
class EchoTexts:
    """The distinct reports of an echo batch, of which this process encodes its share.

    Attributes
    ----------
    token_ids, token_mask : Tensor of int64, shape (n_texts_share, n_tokens)
    match : Tensor of bool, shape (n_echoes, n_texts)
        Of the whole batch.
    """

    token_ids: Tensor
    token_mask: Tensor
    match: Tensor


@dataclass(frozen=True, eq=False)
class EchoBatch:
    """This process's share of ECGs; all echocardiograms of the batch, and the match matrix.

    Attributes
    ----------
    scaled, valid : Tensor, shape (n_share, 12, n_times)
    mu, log_var : Tensor, shape (n_echoes, dim)
    match : Tensor of bool, shape (n_ecgs, n_echoes)
    texts : EchoTexts or None
        Where echocardiograms are matched with reports, too.
    """

    scaled: Tensor
    valid: Tensor
    mu: Tensor
    log_var: Tensor
    match: Tensor
    texts: EchoTexts | None = None


@dataclass(frozen=True, eq=False)
class StepBatch:
    """What one forward pass needs: a batch of one kind, or of both.

    Attributes
    ----------
    text : TextBatch or None
    echo : EchoBatch or None
    """

    text: TextBatch | None
    echo: EchoBatch | None


@dataclass(frozen=True)
class Turn:
    """Which text batch and which echo batch come next, counted from the run's beginning.

    Attributes
    ----------
    text, echo : int or None
        None where the turn has none of that kind.
    """

    text: int | None
    echo: int | None


class BatchSource(Protocol):
    """What the loop asks of batches: each is a function of its number alone."""

    @property
    def per_epoch(self) -> int:
        """Batches of one pass over the data."""

    def at(self, number: int) -> Any:
        """Batch ``number`` of the run, this process's share of it."""

    def fingerprint(self) -> str:
        """Hash over what the run learns from."""


class Batches:
    """All batches of a run.

    Parameters
    ----------
    sources : sequence of Source
        Their shares sum to 1.
    echo : EchoPairs, optional
    scaler, tokenizer
    config : RunConfig
    questions : sequence of PromptSet
        To which the sources' ``answers`` belong, in this order; used where
        ``config.objective.question_weight`` is above 0.
    world : World

    Raises
    ------
    ConfigError
        There are fewer pairs in a batch than processes, or more than a source has.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        scaler: LeadScaler,
        tokenizer: ReportTokenizer,
        config: RunConfig,
        *,
        echo: EchoPairs | None = None,
        questions: Sequence[PromptSet] = (),
        world: World | None = None,
    ) -> None:
        self.questions = tuple(questions) if config.objective.question_weight > 0 else ()
        self.sources = [source for source in sources if len(source)]
        self.echo = echo if echo is not None and len(echo) else None
        self.scaler, self.tokenizer, self.config = scaler, tokenizer, config
        self.world = world or World()
        size = config.batch_size
        # However many processes share it, the batch is the same; each needs a part of it.
        if size < self.world.size:
            raise ConfigError(
                f"A batch of {size} cannot be shared by {self.world.size} processes. Start at most "
                f"{size}, or begin a run with a larger batch_size."
            )
        self._counts = rows_per_source(size, [source.share for source in self.sources])
        self._answers = [
            self._unknown(source) if source.answers is None else source.answers
            for source in self.sources
        ]
        self._balance = self._balanced_weights()
        for source, n in zip(self.sources, self._counts, strict=True):
            if len(source) < n:
                raise ConfigError(
                    f"{source.name} has {len(source)} ECGs, and a batch needs {n} of them. Use a "
                    "smaller batch or more data."
                )
        self.echo_size = 0
        if self.echo is not None:
            # A small set of echo pairs is one batch.
            self.echo_size = min(config.objective.echo_batch_size or size, len(self.echo))
            if self.echo_size < max(2, self.world.size):
                raise ConfigError(
                    f"{self.echo_size} ECGs with an echocardiogram make no batch for "
                    f"{self.world.size} process(es). Start fewer processes, or train without them."
                )

    @property
    def text_batches_per_epoch(self) -> int:
        """Full batches in one pass over the source that takes longest to walk through."""
        return max(
            len(source) // n for source, n in zip(self.sources, self._counts, strict=True) if n
        )

    @property
    def per_epoch(self) -> int:
        """Batches of one epoch, of whatever kind."""
        if self.echo is None or self.config.objective.mode == "joint":
            return self.text_batches_per_epoch
        return self.text_batches_per_epoch + self._echo_batches_per_epoch

    @property
    def _echo_batches_per_epoch(self) -> int:
        return len(self.echo) // self.echo_size if self.echo is not None else 0

    def fingerprint(self) -> str:
        """Hash over what the run learns from: numbers, sizes, texts' first words, teacher."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(f"{source.name} {len(source)} {source.share:.6f}".encode())
            # About 64 windows are enough to tell another data set, and cheap for a large one.
            digest.update(source.signal_mv[:: max(1, len(source) // 64)].tobytes())
            rng = np.random.default_rng(0)
            digest.update(source.report(0, rng).encode())
        if self.echo is not None:
            digest.update(self.echo.mu.tobytes())
            digest.update(self.echo.echo.tobytes())
        return digest.hexdigest()

    def texts_in_use(self) -> list[str]:
        """Every report as a batch would have it, where reports are used whole.

        Returns
        -------
        list of str
        """
        rng = np.random.default_rng(0)
        return [
            " ".join(sentences_of(source.report(row, rng)))
            for source in self.sources
            for row in range(len(source))
        ]

    def turn(self, number: int) -> Turn:
        """Which batches batch ``number`` of the run is made of.

        Parameters
        ----------
        number : int
            Counted from the beginning of the run, over all epochs.

        Returns
        -------
        Turn
        """
        if self.echo is None:
            return Turn(number, None)
        if self.config.objective.mode == "joint":
            return Turn(number, number)
        epoch, k = divmod(number, self.per_epoch)
        # Text and echo batches are numbered apart: each kind walks through its own data.
        plan = self._plan(epoch)
        n_echo_before = int(plan[:k].sum())
        if plan[k]:
            return Turn(None, epoch * self._echo_batches_per_epoch + n_echo_before)
        return Turn(epoch * self.text_batches_per_epoch + k - n_echo_before, None)

    def at(self, number: int) -> StepBatch:
        """Batch ``number`` of the run, this process's share of it.

        Parameters
        ----------
        number : int

        Returns
        -------
        StepBatch
        """
        turn = self.turn(number)
        return StepBatch(
            None if turn.text is None else self._text(turn.text),
            None if turn.echo is None else self._echo(turn.echo),
        )

    def text_rows(self, number: int) -> list[tuple[int, int]]:
        """(source, row) of every ECG of text batch ``number``.

        Parameters
        ----------
        number : int

        Returns
        -------
        list of (int, int)
            In the order of the batch.
        """
        drawn: list[tuple[int, int]] = []
        # Sources one after the other: the order within a batch changes no loss.
        for i, n in enumerate(self._counts):
            drawn += [(i, int(row)) for row in self._rows(i, len(self.sources[i]), n, number)]
        return drawn

    def echo_rows(self, number: int) -> npt.NDArray[np.int64]:
        """Rows of the ECGs of echo batch ``number``.

        Parameters
        ----------
        number : int

        Returns
        -------
        ndarray of int, shape (echo_size,)
            In the order of the batch.
        """
        assert self.echo is not None
        return self._rows(len(self.sources), len(self.echo), self.echo_size, number)

    def _rows(self, stream: int, total: int, n: int, number: int) -> npt.NDArray[np.int64]:
        """Every row at most once in an epoch of this source; what fills no batch waits."""
        if n == 0:
            return np.zeros(0, dtype=np.int64)
        return rows_of_epoch(self.config.seed, stream, total, n, number)

    def _plan(self, epoch: int) -> npt.NDArray[np.bool_]:
        return _plan(
            self.config.seed,
            epoch,
            self.text_batches_per_epoch,
            self._echo_batches_per_epoch,
            self.config.objective.draw == "proportional",
        )

    def _text(self, number: int) -> TextBatch:
        rows = self.text_rows(number)
        texts, reports = [], []
        for slot, (i, row) in enumerate(rows):
            # Of this text alone: the wording does not depend on who else is in the batch.
            rng = np.random.default_rng((_WORDS, self.config.seed, number, slot))
            sentences = sentences_of(self.sources[i].report(row, rng))
            reports.append(frozenset(sentences))
            texts.append(" ".join(self._some_sentences(sentences, rng)))
        if self.config.objective.identity_match:
            # As released: texts are not compared, and equal ones are negatives of each other.
            unique, match = texts, torch.eye(len(texts), dtype=torch.bool)
            place = list(range(len(texts)))
        else:
            unique = list(dict.fromkeys(texts))
            where = {text: i for i, text in enumerate(unique)}
            place = [where[text] for text in texts]
            # A text is a match of every report that holds all its sentences, its own included.
            sentence_sets = [frozenset(sentences_of(text)) for text in unique]
            match = torch.tensor([[text <= report for text in sentence_sets] for report in reports])
        # Every process draws the same batch and computes only the views of its share.
        own = share_of(len(rows), self.world)
        scaled, valid = self._views(
            [
                (self.sources[i].signal_mv[row], self.sources[i].valid[row], slot)
                for slot, (i, row) in list(enumerate(rows))[own]
            ],
            (_VIEW, self.config.seed, number, 0),
        )
        # Texts are shared out apart from ECGs: there may be fewer of them.
        part = encoded_share_of(len(unique), self.world)
        # All are as long as the longest of the batch, whose dropout is drawn as one.
        ids, mask = self.tokenizer.encode(unique)
        return TextBatch(
            scaled,
            valid,
            tuple(unique[part]),
            torch.from_numpy(ids[part]),
            torch.from_numpy(mask[part]),
            match,
            torch.tensor(place),
            torch.tensor([self._patient(i, row) for i, row in rows]),
            number,
            self._asked(number, rows) if self.questions else None,
        )

    def _patient(self, source: int, row: int) -> int:
        patients = self.sources[source].patients
        return -1 if patients is None else int(patients[row])

    def _asked(self, number: int, rows: Sequence[tuple[int, int]]) -> AskedBatch:
        rng = np.random.default_rng((_PROMPTS, self.config.seed, number))
        n = self.config.objective.prompts_a_side
        texts: list[str] = []
        for question in self.questions:
            for side in (question.positive, question.negative):
                # A side with fewer prompts than are drawn says some of them twice.
                order = np.resize(rng.permutation(len(side)), n)
                texts.extend(side[i] for i in order)
        ids, mask = self.tokenizer.encode(texts)
        answers = np.stack([self._answers[i][row] for i, row in rows])
        return AskedBatch(
            torch.from_numpy(ids),
            torch.from_numpy(mask),
            torch.from_numpy(answers),
            torch.from_numpy(self._balance),
        )

    def _unknown(self, source: Source) -> npt.NDArray[np.float32]:
        # One NaN, seen as the answers of a whole source.
        return np.broadcast_to(np.float32(np.nan), (len(source), len(self.questions)))

    def _balanced_weights(self) -> npt.NDArray[np.float32]:
        """Weights of no and of yes, shape (2, n_questions), by which both count alike.

        So the margin of 0 lies where both kinds of error are equally frequent, as a margin is read.
        """
        n_known = np.zeros(len(self.questions))
        n_yes = np.zeros(len(self.questions))
        for i, n in enumerate(self._counts):
            if self.questions and n:
                answers = self._answers[i]
                # As often as a batch draws this source.
                each = n / len(answers)
                n_known += each * np.isfinite(answers).sum(axis=0)
                n_yes += each * np.nansum(answers, axis=0)
        share = np.clip(n_yes / np.maximum(n_known, 1e-9), _RAREST, 1.0 - _RAREST)
        return np.stack([0.5 / (1.0 - share), 0.5 / share]).astype(np.float32)

    def _echo(self, number: int) -> EchoBatch:
        assert self.echo is not None
        rows = self.echo_rows(number)
        echoes = self.echo.echo[rows]
        if self.config.objective.identity_match:
            unique, match = echoes, torch.eye(len(rows), dtype=torch.bool)
        else:
            # ECGs of one echocardiogram share its column.
            unique = np.unique(echoes)
            belongs = self._belongs
            match = torch.from_numpy(belongs[echoes][:, None] == belongs[unique][None, :])
        own = share_of(len(rows), self.world)
        scaled, valid = self._views(
            [
                (self.echo.signal_mv[row], self.echo.valid[row], slot)
                for slot, row in list(enumerate(rows))[own]
            ],
            (_VIEW, self.config.seed, number, 1),
        )
        return EchoBatch(
            scaled,
            valid,
            torch.from_numpy(np.asarray(self.echo.mu[unique], dtype=np.float32)),
            torch.from_numpy(np.asarray(self.echo.log_var[unique], dtype=np.float32)),
            match,
            self._echo_texts(rows, match) if self.config.objective.echo_text_weight else None,
        )

    @property
    def _belongs(self) -> npt.NDArray[np.int64]:
        """What two echocardiograms must share to match the same ECGs: a study, or all."""
        assert self.echo is not None
        if self.config.objective.match_studies and self.echo.study is not None:
            return self.echo.study
        return np.arange(len(self.echo.mu))

    def _echo_texts(self, rows: npt.NDArray[np.int64], match: Tensor) -> EchoTexts:
        assert self.echo is not None
        if not self.echo.reports:
            raise ConfigError(
                "The term of echo and text needs the reports of the ECGs with an echocardiogram. "
                "Set objective.echo_text_weight to 0."
            )
        texts = [self.echo.reports[row] for row in rows]
        unique = texts if self.config.objective.identity_match else list(dict.fromkeys(texts))
        own = torch.eye(len(texts), dtype=torch.bool)
        if not self.config.objective.identity_match:
            own = torch.tensor([[text == other for other in unique] for text in texts])
        ids, mask = self.tokenizer.encode(unique)
        part = encoded_share_of(len(unique), self.world)
        # An echocardiogram is matched with the report of any ECG that it belongs to.
        through = (match.T.float() @ own.float()) > 0
        return EchoTexts(torch.from_numpy(ids[part]), torch.from_numpy(mask[part]), through)

    def _some_sentences(self, sentences: Sequence[str], rng: np.random.Generator) -> list[str]:
        """All sentences, or at times a random few of them in their order."""
        share = self.config.views.partial_report_share
        if len(sentences) < 2 or rng.random() >= share:
            return list(sentences)
        # At least one, and never all of them.
        n_chosen = int(rng.integers(1, len(sentences)))
        chosen = np.sort(rng.permutation(len(sentences))[:n_chosen])
        return [sentences[i] for i in chosen]

    def _views(
        self,
        windows: Sequence[tuple[npt.NDArray[np.float32], BoolArray, int]],
        stream: tuple[int, ...],
    ) -> tuple[Tensor, Tensor]:
        signals, masks = [], []
        for signal_mv, valid, slot in windows:
            # By slot, so that a view does not depend on how many processes share the batch.
            rng = np.random.default_rng((*stream, slot))
            view, measured = view_of(
                np.asarray(signal_mv), np.asarray(valid), self.config.views, rng
            )
            signals.append(view)
            masks.append(measured)
        return scaled_tensors(self.scaler, signals, masks)


def sentences_of(report: str) -> list[str]:
    """The sentences of a report, each with its full stop; a number's point ends none.

    Parameters
    ----------
    report : str

    Returns
    -------
    list of str
    """
    return [sentence for sentence in _SENTENCE_END.split(report.strip()) if sentence]


def scaled_tensors(
    scaler: LeadScaler,
    signals: Sequence[npt.NDArray[np.float32]],
    masks: Sequence[BoolArray],
) -> tuple[Tensor, Tensor]:
    """Windows as an ECG encoder takes them.

    Parameters
    ----------
    scaler : LeadScaler
    signals : sequence of ndarray, shape (12, n_times)
        In mV.
    masks : sequence of ndarray of bool, same shape

    Returns
    -------
    scaled, valid : Tensor, shape (n, 12, n_times)
        float32; ``scaled`` is 0 where not valid.
    """
    valid = np.stack(masks)
    scaled = np.where(valid, scaler.apply(np.stack(signals)), 0.0)
    return (
        torch.from_numpy(scaled.astype(np.float32)),
        torch.from_numpy(valid.astype(np.float32)),
    )


def rows_per_source(size: int, shares: Sequence[float]) -> list[int]:
    """How many of ``size`` come from each source; the last takes what rounding leaves.

    Parameters
    ----------
    size : int
    shares : sequence of float
        Sum to 1.

    Returns
    -------
    list of int
        Sum to ``size``.
    """
    counts: list[int] = []
    for i, share in enumerate(shares):
        last = i == len(shares) - 1
        counts.append(size - sum(counts) if last else round(size * share))
    return counts


def rows_of_epoch(seed: int, stream: int, total: int, n: int, number: int) -> npt.NDArray[np.int64]:
    """Rows of batch ``number``, each row at most once in an epoch.

    Parameters
    ----------
    seed : int
    stream : int
        Of several sets of one run, which.
    total, n : int
        Rows of the set, and of a batch.
    number : int
        Of the batch, counted over all epochs.

    Returns
    -------
    ndarray of int, shape (n,)
    """
    # A new order in every epoch; rows that fill no batch wait for the next.
    epoch, k = divmod(number, total // n)
    return _order(seed, stream, epoch, total)[k * n : (k + 1) * n]


# All batches of an epoch share one permutation, which takes long to draw for a large set.
@lru_cache(maxsize=8)
def _order(seed: int, stream: int, epoch: int, total: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((_ORDER, seed, stream, epoch)).permutation(total)


@lru_cache(maxsize=4)
def _plan(
    seed: int, epoch: int, n_text: int, n_echo: int, proportional: bool
) -> npt.NDArray[np.bool_]:
    """True where an epoch's batch is one of echo pairs."""
    rng = np.random.default_rng((_PLAN, seed, epoch))
    if proportional:
        # Drawing in proportion to the batches left is drawing an order of all batches.
        return np.asarray(rng.permutation(n_text + n_echo) < n_echo)
    # Drawn among the kinds that have batches left: few echo batches are used up early.
    plan = []
    left = [n_text, n_echo]
    while any(left):
        kinds = [kind for kind in (0, 1) if left[kind]]
        kind = kinds[int(rng.integers(len(kinds)))]
        left[kind] -= 1
        plan.append(kind == 1)
    return np.array(plan, dtype=np.bool_)
