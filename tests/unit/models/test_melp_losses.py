"""MELP's three losses and masked prediction, against slow forms in double precision."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from echoing_core.models.losses import matched_cross_entropy
from echoing_core.models.melp_losses import (
    beat_scores,
    caption_loss,
    drawn_masks,
    drawn_others,
    masked_prediction,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def dot(a: Tensor, b: Tensor) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def slow_score(beats: Tensor, sentences: list[Tensor], per_sentence: bool) -> float:
    """One ECG and one report, written out."""
    total = 0.0
    attention = [[math.exp(dot(beat, s)) for s in sentences] for beat in beats]
    attention = [[a / sum(row) for a in row] for row in attention]
    for m, sentence in enumerate(sentences):
        weights = [math.exp(4.0 * row[m]) for row in attention]
        context = [
            sum(w * float(beat[d]) for w, beat in zip(weights, beats, strict=True)) / sum(weights)
            for d in range(len(sentence))
        ]
        c = torch.tensor(context, dtype=torch.float64)
        total += math.exp(5.0 * dot(c, sentence) / math.sqrt(dot(c, c) * dot(sentence, sentence)))
    return 10.0 * math.log(total / len(sentences) if per_sentence else total)


def slow_infonce(scores: list[list[float]]) -> float:
    n, total = len(scores), 0.0
    for i in range(n):
        total -= scores[i][i] - math.log(sum(math.exp(scores[i][j]) for j in range(n)))
        total -= scores[i][i] - math.log(sum(math.exp(scores[j][i]) for j in range(n)))
    return total / (2 * n)


def beats_and_sentences(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    there = torch.tensor([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=torch.bool)
    return normal(4, 5, 6, seed=seed), normal(4, 3, 6, seed=seed + 1), there


@pytest.mark.parametrize("per_sentence", [True, False])
def test_the_beat_loss_equals_a_written_out_triple_loop(per_sentence: bool) -> None:
    beats, sentences, there = beats_and_sentences()
    scores = beat_scores(beats, sentences, there, per_sentence=per_sentence)
    slow = [
        [
            slow_score(beats[n], list(sentences[j][there[j]]), per_sentence)
            for j in range(len(sentences))
        ]
        for n in range(len(beats))
    ]
    wanted = slow_infonce(slow)
    found = matched_cross_entropy(scores, torch.eye(4, dtype=torch.bool)).item()
    assert abs(found - wanted) <= 1e-9
    assert (scores - torch.tensor(slow, dtype=torch.float64)).abs().max() <= 1e-9


def test_summed_a_report_of_more_sentences_scores_higher_and_on_average_it_does_not() -> None:
    beats, sentences, _ = beats_and_sentences()
    once, there = sentences[:, :1], torch.ones(4, 1, dtype=torch.bool)
    twice, both = once.expand(-1, 2, -1), torch.ones(4, 2, dtype=torch.bool)

    def difference(per_sentence: bool) -> Tensor:
        # Of two equal sentences all attention is 1/2 in place of 1: uniform over beats both times.
        few = beat_scores(beats, once, there, per_sentence=per_sentence)
        return beat_scores(beats, twice, both, per_sentence=per_sentence) - few

    assert difference(True).abs().max() <= 1e-9
    assert (difference(False) - 10 * math.log(2)).abs().max() <= 1e-9


def test_what_is_no_sentence_leaves_no_trace_not_even_in_gradients() -> None:
    beats, sentences, there = beats_and_sentences()
    other = torch.where(there[..., None], sentences, normal(4, 3, 6, seed=9))
    sentences, other = sentences.requires_grad_(True), other.detach()
    scores = beat_scores(beats, sentences, there)
    assert torch.equal(scores, beat_scores(beats, other, there))
    scores.square().sum().backward()
    assert sentences.grad is not None and bool(torch.isfinite(sentences.grad).all())
    assert bool((sentences.grad[~there] == 0).all())


def test_rhythm_equals_the_direct_form_and_equal_rows_give_log_of_the_batch() -> None:
    ecg, text = (functional.normalize(normal(5, 7, seed=seed), dim=-1) for seed in (0, 1))
    match = torch.eye(5, dtype=torch.bool)
    slow = [[14.0 * dot(a, b) for b in text] for a in ecg]
    found = matched_cross_entropy(14.0 * ecg @ text.T, match).item()
    assert abs(found - slow_infonce(slow)) <= 1e-9
    one = ecg[:1].expand(5, -1)
    assert matched_cross_entropy(14.0 * one @ one.T, match).item() == pytest.approx(math.log(5))
    beats, sentences, _ = beats_and_sentences()
    equal = beat_scores(
        beats[:1].expand(4, -1, -1),
        sentences[:1].expand(4, -1, -1),
        torch.ones(4, 3, dtype=torch.bool),
    )
    alike = matched_cross_entropy(equal, torch.eye(4, dtype=torch.bool))
    assert alike.item() == pytest.approx(math.log(4))


def test_ecgs_and_reports_in_another_order_give_the_same() -> None:
    beats, sentences, there = beats_and_sentences()
    order, match = torch.tensor([2, 0, 3, 1]), torch.eye(4, dtype=torch.bool)
    plain = matched_cross_entropy(beat_scores(beats, sentences, there), match)
    turned = matched_cross_entropy(beat_scores(beats[order], sentences[order], there[order]), match)
    assert abs(plain.item() - turned.item()) <= 1e-12


def test_the_caption_loss_is_that_of_the_next_token_and_passes_padding_over() -> None:
    logits = normal(2, 4, 6)
    ids = torch.tensor([[1, 5, 2, 3], [1, 4, 0, 0]])
    loss, n = caption_loss(logits, ids)
    wanted = 0.0
    for i, at, follows in ((0, 0, 5), (0, 1, 2), (0, 2, 3), (1, 0, 4)):
        row = [float(x) for x in logits[i, at]]
        wanted += math.log(sum(math.exp(x) for x in row)) - row[follows]
    assert abs(loss.item() - wanted) <= 1e-9 and n.item() == 4
    # Nothing that stands where padding would be predicted is read, nor the last place of any.
    other = logits.clone()
    other[1, 1:], other[:, 3] = 99.0, -99.0
    assert torch.equal(caption_loss(other, ids)[0], loss)


def test_masked_prediction_equals_the_direct_form() -> None:
    predicted, codes = normal(2, 6, 4), normal(2, 6, 4, seed=1)
    # A frame with the very same code as another is no wrong answer for it.
    codes[0, 2] = codes[0, 1]
    masked = torch.tensor([[0, 1, 1, 1, 0, 0], [1, 0, 0, 1, 0, 0]], dtype=torch.bool)
    others = drawn_others(masked, 5, torch.Generator().manual_seed(3))
    loss, n = masked_prediction(predicted, codes, masked, others)
    wanted = 0.0
    for i, t in masked.nonzero().tolist():

        def logit(frame: int, i: int = i, t: int = t) -> float:
            x, y = predicted[i, t], codes[i, frame]
            return 10.0 * dot(x, y) / math.sqrt(dot(x, x) * dot(y, y))

        wrong = [k for k in others[i, t].tolist() if not torch.equal(codes[i, k], codes[i, t])]
        wanted += math.log(math.exp(logit(t)) + sum(math.exp(logit(k)) for k in wrong)) - logit(t)
    assert abs(loss.item() - wanted) <= 1e-9 and n.item() == 5


def test_wrong_answers_are_other_masked_frames_of_the_same_ecg() -> None:
    generator = torch.Generator().manual_seed(0)
    masked = drawn_masks(40, 156, 0.65, 10, generator)
    # Ten spans of ten, which overlap: of 156 frames about half.
    assert 0.40 < masked.double().mean() < 0.60
    runs = functional.avg_pool1d(masked.double()[:, None], 10, stride=1)[:, 0]
    assert bool(((runs == 1).sum(1) >= 10).all())
    others = drawn_others(masked, 100, generator)
    rows = torch.arange(40)[:, None, None].expand_as(others)
    assert bool(masked[rows, others][masked].all())
    itself = torch.arange(156)[None, :, None]
    assert not bool((others == itself)[masked].any())
    # All of them come, and about as often as each other.
    counts = torch.bincount(others[0][masked[0]].flatten(), minlength=156)[masked[0]]
    assert counts.min() > 0.6 * counts.double().mean()
