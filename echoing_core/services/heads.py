"""What a model's heads answer, beside its answers from prompts.

A fine-tuned head has an encoder of its own, so the windows that are asked are embedded once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from echoing_core.export.track import Explanation
from echoing_core.records import Answer, GaussianEmbedding
from echoing_core.services.models import Model
from echoing_core.services.windows import fuse_recording
from echoing_core.zeroshot.answering import AskedWindow, head_answer
from echoing_core.zeroshot.calibration import CalibratedQuestion
from echoing_core.zeroshot.prompts import PromptSet

if TYPE_CHECKING:
    from echoing_core.models.heads import Head

_MOST_WINDOWS = 1000
"""Of a fused recording, evenly spread: a day has 86,400, and neighbours share most of their
signal."""


def heads_of(model: Model, questions: Sequence[PromptSet] | None = None) -> tuple[Head, ...]:
    """The heads of a model, or those of them that answer some questions.

    Parameters
    ----------
    model : Model
    questions : sequence of PromptSet, optional
        Without, all heads.

    Returns
    -------
    tuple of Head
    """
    if questions is None:
        return model.heads
    return tuple(head for head in model.heads if any(answers(head, q) for q in questions))


def answers(head: Head, question: PromptSet) -> bool:
    """Whether a head was trained for what a question asks.

    Parameters
    ----------
    head : Head
    question : PromptSet
        A finding in free words has no label; then its name tells. A denial has another name.

    Returns
    -------
    bool
    """
    return head.label in (question.label, question.name)


def head_prevalences(
    heads: Sequence[Head], questions: Sequence[PromptSet], shares: Sequence[float | None]
) -> list[float | None]:
    """The prevalence for each head: that of the question that it answers.

    Parameters
    ----------
    heads : sequence of Head
    questions : sequence of PromptSet
    shares : sequence of float or None
        Of the questions.

    Returns
    -------
    list of float or None
    """
    pairs = list(zip(questions, shares, strict=True))
    return [next((s for q, s in pairs if answers(head, q)), None) for head in heads]


def head_answers(
    model: Model,
    explanation: Explanation,
    heads: Sequence[Head],
    embedding: GaussianEmbedding,
    window: AskedWindow,
    *,
    start_s: float | None = None,
    rule: str | None = None,
    prevalences: Sequence[float | None] | None = None,
) -> list[Answer]:
    """What heads answer about one window of a recording, or about the whole of it.

    Parameters
    ----------
    model : Model
    explanation : Explanation
        By this model.
    heads : sequence of Head
        See `heads_of`.
    embedding : GaussianEmbedding, one row
        What is asked, by the model's own encoder: heads without an encoder read this.
    window : AskedWindow
        As in `EncodedQuestion.answer`.
    start_s : float, optional
        Start of the window.
    rule : str, optional
        The recording as `fuse_recording` fuses it, in place of a window. Of a head with an encoder
        the means of at most 1000 of its windows are averaged with the weights that they have there.
    prevalences : sequence of float or None, optional
        Share of the user's patients with what is asked, for each head.

    Returns
    -------
    list of Answer
        In the order of ``heads``; ``by`` and ``trained_on`` say whose answer it is.
    """
    cut = _asked_cut(explanation, start_s, rule) if any(h.encoder for h in heads) else None
    shares = [None] * len(heads) if prevalences is None else prevalences
    given = []
    for head, share in zip(heads, shares, strict=True):
        mean, std = head.logits(
            embedding
            if head.encoder is None or cut is None
            else _own(model, head, explanation, cut)
        )
        calibration = head.calibration
        given.append(
            head_answer(
                float(mean[0]),
                float(std[0]),
                question=head.title,
                by=head.kind,
                trained_on=head.trained_on,
                calibration=None
                if calibration is None
                else CalibratedQuestion(calibration, negated=False, centres={}),
                simulated=head.simulated,
                window=window,
                prevalence=share,
            )
        )
    return given


def beside(
    questions: Sequence[PromptSet],
    of_prompts: Sequence[Answer],
    heads: Sequence[Head],
    of_heads: Sequence[Answer],
) -> list[Answer]:
    """Answers of prompts and of heads in one list: a head's after the question that it answers.

    Parameters
    ----------
    questions : sequence of PromptSet
    of_prompts : sequence of Answer
        To these questions.
    heads : sequence of Head
    of_heads : sequence of Answer
        Theirs.

    Returns
    -------
    list of Answer
        Heads that belong to none of the questions come last.
    """
    left = list(zip(heads, of_heads, strict=True))
    joined: list[Answer] = []
    for question, answer in zip(questions, of_prompts, strict=True):
        joined.append(answer)
        joined += [said for head, said in left if answers(head, question)]
        left = [pair for pair in left if not answers(pair[0], question)]
    return joined + [said for _, said in left]


Cut = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]
"""First samples of windows, and how much each counts."""


def _asked_cut(explanation: Explanation, start_s: float | None, rule: str | None) -> Cut:
    track, fs_hz = explanation.track, explanation.ecg.fs_hz
    if rule is None:
        if start_s is None:
            raise ValueError("either a window or a rule is asked")
        return np.array([round(start_s * fs_hz)]), np.ones(1)
    fused = fuse_recording(track, rule)
    rows = np.flatnonzero(fused.weights > 0)
    if len(rows) > _MOST_WINDOWS:
        rows = rows[np.linspace(0, len(rows) - 1, _MOST_WINDOWS).round().astype(np.intp)]
    return np.round(track.start_s[rows] * fs_hz).astype(np.int64), fused.weights[rows]


def _own(model: Model, head: Head, explanation: Explanation, cut: Cut) -> GaussianEmbedding:
    """What is asked by a head's own encoder."""
    from echoing_core.embed.encode import encode_dense

    if head.encoder is None:
        raise ValueError("this head has no encoder of its own")
    starts, weights = cut
    windows = encode_dense(head.encoder, model.checkpoint.scaler, explanation.ecg, starts)
    mu = weights @ windows.mu.astype(np.float64)
    unit = (mu / np.linalg.norm(mu)).astype(np.float32)
    return GaussianEmbedding(unit[None], windows.log_var[:1])
