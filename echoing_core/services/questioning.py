"""Questions asked along a recording, with the wording taken apart and the answers checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.records import Answer, GaussianEmbedding, WindowTrack
from echoing_core.services.collection import Collection
from echoing_core.services.recordings import Model
from echoing_core.zeroshot import closed_form
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

N_SIMILAR = 100
"""So many ECGs of a collection with the most similar answers are counted in `check_answer`."""

_FEWEST_LABELLED = 300
_MOST_CELLS = 2_000_000


@dataclass(frozen=True, eq=False)
class EncodedQuestion:
    """A question whose texts are embedded, so that it can be asked again at no cost.

    Attributes
    ----------
    prompts : PromptSet
    positive, negative : GaussianEmbedding
        One row for each of its texts.
    unknown_words : tuple of str
    """

    prompts: PromptSet
    positive: GaussianEmbedding
    negative: GaussianEmbedding
    unknown_words: tuple[str, ...]


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


@dataclass(frozen=True)
class Checked:
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


def encode_question(model: Model, prompts: PromptSet) -> EncodedQuestion:
    """Embed the texts of a question; some 0.1 s."""
    from echoing_core.embed.encode import encode_texts

    both = encode_texts(model.checkpoint, [*prompts.positive, *prompts.negative])
    n = len(prompts.positive)
    words = " ".join([*prompts.positive, *prompts.negative])
    return EncodedQuestion(
        prompts, both[:n], both[n:], model.checkpoint.tokenizer.unknown_words(words)
    )


def answer_encoded(model: Model, embedding: GaussianEmbedding, question: EncodedQuestion) -> Answer:
    """The answer for one embedded window, or for one fused recording."""
    return closed_form.answer(
        embedding,
        question.positive,
        question.negative,
        question=question.prompts.question,
        positive_prompts=question.prompts.positive,
        negative_prompts=question.prompts.negative,
        logit_scale=model.checkpoint.logit_scale,
        unknown_words=question.unknown_words,
    )


def answers_along(model: Model, track: WindowTrack, question: EncodedQuestion) -> AlongAnswers:
    """The answer at every window of a recording, by the same rule as `answer_encoded`."""
    scale = model.checkpoint.logit_scale
    n = len(track)
    probability, ends = np.empty(n), np.empty((n, 2))
    # In pieces: a day has 86,000 windows, and their sigma^2 in 64 bits is 0.2 GB.
    for begin in range(0, n, max(_MOST_CELLS // track.embedding.mu.shape[1], 1)):
        rows = slice(begin, begin + max(_MOST_CELLS // track.embedding.mu.shape[1], 1))
        margin, std = closed_form.margins(
            track.embedding[rows], question.positive, question.negative
        )
        probability[rows] = closed_form.probabilities(margin, std, logit_scale=scale)
        ends[rows] = closed_form.intervals(margin, std, logit_scale=scale)
    empty = track.valid_fraction.max(axis=1) <= 0
    probability[empty], ends[empty] = np.nan, np.nan
    return AlongAnswers(probability, ends[:, 0], ends[:, 1])


def wording_spread(model: Model, embedding: GaussianEmbedding, question: EncodedQuestion) -> Floats:
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
        for side in (question.positive, question.negative)
    )
    direction = yes[:, None, :].astype(np.float64) - no[None, :, :]
    margin = direction @ embedding.mu[0].astype(np.float64)
    variance = direction**2 @ np.exp(embedding.log_var[0].astype(np.float64))
    return closed_form.probabilities(
        margin, np.sqrt(variance), logit_scale=model.checkpoint.logit_scale
    )


def check_answer(
    collection: Collection, question: EncodedQuestion, answer: Answer
) -> Checked | None:
    """How often ECGs that answer alike have the finding, where a collection knows it.

    Answers are alike whose margins are: the `N_SIMILAR` nearest margins are counted. None where
    the question has no label, or fewer than 300 ECGs have it.
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
    return Checked(
        n_similar=int(alike.size),
        n_with=int(truth[known][alike].sum()),
        n_all=int(known.size),
        n_all_with=int(truth[known].sum()),
    )
