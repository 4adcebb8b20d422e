"""Questions in words: asked of a window, of a fused recording, along it, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.export.track import Explanation
from echoing_core.records import Answer, GaussianEmbedding, Recording, StandardEcg, WindowTrack
from echoing_core.reports.understanding import (
    AskedFinding,
    Understood,
    prompt_sets_of,
    understand,
)
from echoing_core.services.explaining import explain
from echoing_core.services.models import Model, prompt_sets
from echoing_core.services.searching import Collection
from echoing_core.services.windows import fuse_recording, window_embedding
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet, prompt_set_from_text

Floats = npt.NDArray[np.float64]
Questions = str | PromptSet | Sequence[str | PromptSet] | None

N_SIMILAR = 100
"""So many ECGs of a collection with the most similar answers are counted in `check_answer`."""

_FEWEST_LABELLED = 300
_QUOTES = "\"'“”„«»"
# A day has 86,000 windows, and their sigma^2 in 64 bits is 0.2 GB: this many numbers at a time.
_MOST_CELLS = 2_000_000


@dataclass(frozen=True, eq=False)
class AlongAnswers:
    """The answers to one question at every window; NaN where nothing was recorded.

    Attributes
    ----------
    probability, low, high : ndarray, shape (n_windows,)
        Of yes, and the ends of its 90 % interval.
    """

    probability: Floats
    low: Floats
    high: Floats

    @property
    def shares_pct(self) -> tuple[float, float, float]:
        """Per cent of the windows with signal that say yes, are not sure enough, and say no."""
        there = np.isfinite(self.probability)
        n = max(int(there.sum()), 1)
        yes, no = int((self.low[there] > 0.5).sum()), int((self.high[there] < 0.5).sum())
        return 100.0 * yes / n, 100.0 * (int(there.sum()) - yes - no) / n, 100.0 * no / n


@dataclass(frozen=True, eq=False)
class EncodedQuestion:
    """A question whose texts are embedded, so that it can be asked again at no cost.

    Attributes
    ----------
    prompts : PromptSet
    positive, negative : GaussianEmbedding
        One row for each of its texts.
    unknown_words : tuple of str
        See `unknown_words`.
    logit_scale : float
        Of the model that embedded it.
    """

    prompts: PromptSet
    positive: GaussianEmbedding
    negative: GaussianEmbedding
    unknown_words: tuple[str, ...]
    logit_scale: float

    def answer(self, embedding: GaussianEmbedding) -> Answer:
        """The answer for one embedded window, or for one fused recording.

        Parameters
        ----------
        embedding : GaussianEmbedding, one row
        """
        return closed_form.answer(
            embedding,
            self.positive,
            self.negative,
            question=self.prompts.question,
            positive_prompts=self.prompts.positive,
            negative_prompts=self.prompts.negative,
            logit_scale=self.logit_scale,
            unknown_words=self.unknown_words,
        )

    def answers_along(self, track: WindowTrack) -> AlongAnswers:
        """The answer at every window of a recording, by the same rule as `answer`."""
        n = len(track)
        probability, ends = np.empty(n), np.empty((n, 2))
        n_rows = max(_MOST_CELLS // track.embedding.mu.shape[1], 1)
        for begin in range(0, n, n_rows):
            rows = slice(begin, begin + n_rows)
            margin, std = closed_form.margins(track.embedding[rows], self.positive, self.negative)
            probability[rows] = closed_form.probabilities(margin, std, logit_scale=self.logit_scale)
            ends[rows] = closed_form.intervals(margin, std, logit_scale=self.logit_scale)
        empty = track.valid_fraction.max(axis=1) <= 0
        probability[empty], ends[empty] = np.nan, np.nan
        return AlongAnswers(probability, ends[:, 0], ends[:, 1])

    def wording_spread(self, embedding: GaussianEmbedding) -> Floats:
        """The probability if only one text said yes and one said no, for every such pair.

        Parameters
        ----------
        embedding : GaussianEmbedding, one row

        Returns
        -------
        ndarray, shape (n_positive, n_negative)
        """
        yes, no = (
            side.mu / np.linalg.norm(side.mu, axis=1, keepdims=True)
            for side in (self.positive, self.negative)
        )
        direction = yes[:, None, :].astype(np.float64) - no[None, :, :]
        margin = direction @ embedding.mu[0].astype(np.float64)
        variance = direction**2 @ np.exp(embedding.log_var[0].astype(np.float64))
        return closed_form.probabilities(margin, np.sqrt(variance), logit_scale=self.logit_scale)


@dataclass(frozen=True)
class AnswerCheck:
    """What ECGs with a known finding say about an answer.

    Attributes
    ----------
    n_similar, n_with : int
        ECGs with the most similar answers, and how many of these have the finding.
    n_all, n_all_with : int
        The same of all ECGs of which it is known.
    """

    n_similar: int
    n_with: int
    n_all: int
    n_all_with: int


@dataclass(frozen=True)
class ReadQuestion:
    """A question in free words, and how it was read.

    Attributes
    ----------
    text : str
        As it was typed.
    questions : tuple of PromptSet
        One for each finding that it asks for.
    note : str
        Sentences that say how it was read; empty where it says that itself.
    findings : tuple of AskedFinding
        What each of the questions asks; empty where the text is asked as it stands.
    """

    text: str
    questions: tuple[PromptSet, ...]
    note: str
    findings: tuple[AskedFinding, ...] = ()


def read_question(text: str) -> ReadQuestion:
    """Read a question in free words.

    Parameters
    ----------
    text : str
        Words in quotation marks are not read, but asked as they stand against their own denial.

    Returns
    -------
    ReadQuestion

    Raises
    ------
    ConfigError
        The text is empty or too long, names nothing that an ECG can be asked, or asks for
        something that is measured.
    """
    typed = " ".join(text.split())
    if len(typed) > 2 and typed[0] in _QUOTES and typed[-1] in _QUOTES:
        question = prompt_set_from_text(typed[1:-1])
        return ReadQuestion(typed, (question,), f"Asked as it stands: {question.question}.")
    reading = understand(typed)
    questions = prompt_sets_of(reading, prompt_sets())
    return ReadQuestion(typed, questions, _reading_note(reading, questions), reading.findings)


def _reading_note(reading: Understood, questions: Sequence[PromptSet]) -> str:
    titles = [question.question for question in questions]
    sentences = []
    if [title.casefold() for title in titles] != [reading.text.casefold().strip(" .?!")]:
        sentences.append(f"{reading.text!r} is read as: {'; '.join(titles)}.")
    if reading.corrections:
        pairs = ", ".join(f"{typed} for {known}" for typed, known in reading.corrections)
        sentences.append(f"Taken for misspelt: {pairs}.")
    if reading.ignored:
        sentences.append(f"Not understood and left out: {', '.join(reading.ignored)}.")
    return " ".join(sentences)


def as_prompt_sets(prompts: Questions) -> tuple[PromptSet, ...]:
    """Questions in any of the forms that `ask` takes, as prompt sets.

    A text is read by `read_question`; it may ask for several findings.
    """
    if prompts is None:
        return prompt_sets()
    if isinstance(prompts, str | PromptSet):
        prompts = [prompts]
    return tuple(
        question
        for item in prompts
        for question in (read_question(item).questions if isinstance(item, str) else (item,))
    )


def encode_question(model: Model, prompts: PromptSet) -> EncodedQuestion:
    """Embed the texts of a question; some 0.1 s."""
    from echoing_core.embed.questions import encode_sides

    checkpoint = model.checkpoint
    positive, negative = encode_sides(checkpoint, prompts)
    words = " ".join([*prompts.positive, *prompts.negative])
    return EncodedQuestion(
        prompts,
        positive,
        negative,
        checkpoint.tokenizer.unknown_words(words),
        checkpoint.logit_scale,
    )


def ask(
    model: Model,
    recording: Recording | StandardEcg | Explanation,
    prompts: Questions = None,
    *,
    start_s: float | None = None,
    rule: str | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
) -> list[Answer]:
    """Zero-shot answers about one window of a recording, or about the whole of it.

    Parameters
    ----------
    model : Model
    recording : Recording, StandardEcg or Explanation
    prompts : optional
        A question in words (see `read_question`), a `PromptSet`, or several; without, the shipped
        questions.
    start_s : float, optional
        Start of the window. Without, the window with the lowest sigma^2 is asked.
    rule : {"start", "lowest", "precision", "trimmed"}, optional
        Ask the recording as `fuse_recording` fuses it, instead of a window.
    vcg_method : str
        As in `explain`.

    Returns
    -------
    list of Answer
        In the order of ``prompts``; a question in words has one for each finding it asks for.

    Raises
    ------
    ConfigError
        Both a start and a rule are given, there is no such rule, or a question is refused.
    """
    if rule is None:
        embedding = window_embedding(model, recording, start_s, vcg_method)
    elif start_s is not None:
        raise ConfigError(
            "A window can be asked, or the fused recording, but not both. Leave out the start of "
            "the window or the rule."
        )
    else:
        if not isinstance(recording, Explanation):
            recording = explain(model, recording, vcg_method=vcg_method)
        embedding = fuse_recording(recording.track, rule).embedding
    return [encode_question(model, q).answer(embedding) for q in as_prompt_sets(prompts)]


def check_answer(
    collection: Collection, question: EncodedQuestion, answer: Answer
) -> AnswerCheck | None:
    """How often ECGs that answer alike have the finding, where a collection knows it.

    Answers are alike whose margins are: the `N_SIMILAR` nearest margins are counted.

    Parameters
    ----------
    collection : Collection
    question : EncodedQuestion
    answer : Answer
        To this question.

    Returns
    -------
    AnswerCheck or None
        None where the question has no label, or fewer than 300 ECGs have it.
    """
    label, items = question.prompts.label, collection.index.items
    if label is None or label not in collection.flags:
        return None
    truth = items[f"label_{label}"].to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(truth))
    if known.size < _FEWEST_LABELLED:
        return None
    direction = closed_form.question_direction(question.positive, question.negative)
    margins = collection.index.gaussians("ecg").mu[known].astype(np.float64) @ direction
    alike = np.argsort(np.abs(margins - answer.margin), kind="stable")[:N_SIMILAR]
    return AnswerCheck(
        n_similar=int(alike.size),
        n_with=int(truth[known][alike].sum()),
        n_all=int(known.size),
        n_all_with=int(truth[known].sum()),
    )
