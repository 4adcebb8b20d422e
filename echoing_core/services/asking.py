"""Questions asked of many windows: their texts are embedded once."""

from __future__ import annotations

from collections.abc import Sequence

from echoing_core.records import Answer, GaussianEmbedding
from echoing_core.services.questioning import answer_encoded, encode_question
from echoing_core.services.recordings import Model
from echoing_core.zeroshot.prompts import PromptSet


class AskedOften:
    """Prompt sets with their embedded texts.

    Parameters
    ----------
    model : Model
    questions : sequence of PromptSet
    """

    def __init__(self, model: Model, questions: Sequence[PromptSet]) -> None:
        self._model = model
        self._questions = [encode_question(model, question) for question in questions]

    def answers(self, embedding: GaussianEmbedding) -> tuple[Answer, ...]:
        """What `answer_embedding` says of one window (a `GaussianEmbedding` of one row)."""
        return tuple(answer_encoded(self._model, embedding, q) for q in self._questions)
