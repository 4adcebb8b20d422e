"""The same questions asked again and again: their texts are embedded once."""

from __future__ import annotations

from collections.abc import Sequence

from echoing_core.records import Answer, GaussianEmbedding
from echoing_core.services.questioning import answer_encoded, encode_question
from echoing_core.services.recordings import Model
from echoing_core.zeroshot_prompts import PromptSet


class AskedOften:
    """Questions that are asked of many windows.

    Parameters
    ----------
    model : Model
    questions : sequence of PromptSet
        May be empty.
    """

    def __init__(self, model: Model, questions: Sequence[PromptSet]) -> None:
        self.model = model
        self.questions = tuple(questions)
        self._encoded = [encode_question(model, prompts) for prompts in self.questions]

    def answers(self, embedding: GaussianEmbedding) -> tuple[Answer, ...]:
        """Answers for one embedded window (one row), in the order of the questions."""
        return tuple(answer_encoded(self.model, embedding, q) for q in self._encoded)
