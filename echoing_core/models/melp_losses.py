"""Objectives of MELP and of what its ECG tower learns first: tensors in, scalars out.

==================  ==============================================================================
rhythm              the mean of an ECG's beats against the vector of its report: InfoNCE
token               the next token of a report, written while looking at its ECG: `caption_loss`
beat                beats against sentences, each attending to the other: `beat_scores`, InfoNCE
masked prediction   which of 101 codes stood in a masked frame: `masked_prediction`
==================  ==============================================================================

References
----------
Wang et al., "From token to rhythm: a multi-scale approach for ECG-language pretraining", ICML 2025.
Huang et al., "GLoRIA: a multimodal global-local representation learning framework", ICCV 2021, on
whose attention between parts the beat loss rests. Baevski et al., "wav2vec 2.0", NeurIPS 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BEAT_ATTENTION, BEAT_COSINE, BEAT_SCALE = 4.0, 5.0, 10.0
"""Sharpness of the attention over beats; what a cosine is worth within a pair; what a pair's score
is worth among pairs."""

PREDICTION_TEMPERATURE = 0.1


def beat_scores(
    beats: Tensor, sentences: Tensor, there: Tensor, *, per_sentence: bool = True
) -> Tensor:
    """How well the beats of each ECG go with the sentences of each report.

    Beats E_l and sentences s_m, of which none needs unit length: a is the softmax over sentences of
    E_l s_m, w the softmax over beats of 4 a, c_m = sum over l of w E_l, and the score
    10 log (mean over m of exp(5 cos(c_m, s_m))).

    Parameters
    ----------
    beats : Tensor, shape (n, n_beats, dim)
    sentences : Tensor, shape (m, n_sentences, dim)
    there : Tensor of bool, shape (m, n_sentences)
        False where a report has no further sentence; each has at least one.
    per_sentence : bool
        False takes the sum in place of the mean, as published: a long report then scores higher
        with every ECG.

    Returns
    -------
    Tensor, shape (n, m)
    """
    dots = torch.einsum("nld,jmd->njlm", beats, sentences)
    over_sentences = dots.masked_fill(~there[None, :, None], -torch.inf).softmax(-1)
    # Each column is a distribution over beats, also where there is no sentence, which counts below.
    weight = (BEAT_ATTENTION * over_sentences).softmax(2)
    # c itself, of shape (n, m, n_sentences, dim), is not needed: |c|^2 = w^T E E^T w.
    gram = beats @ beats.transpose(1, 2)
    squared = torch.einsum("njlm,nlk,njkm->njm", weight, gram, weight)
    length = squared.clamp_min(1e-12).sqrt() * sentences.norm(dim=-1).clamp_min(1e-6)
    cosine = (weight * dots).sum(2) / length
    score: Tensor = (BEAT_COSINE * cosine).masked_fill(~there, -torch.inf).logsumexp(-1)
    if per_sentence:
        score = score - there.sum(-1).to(score).log()
    return BEAT_SCALE * score


def caption_loss(logits: Tensor, token_ids: Tensor, padding: int = 0) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the tokens that follow, summed, and how many there are.

    Parameters
    ----------
    logits : Tensor, shape (n, n_tokens, n_vocabulary)
        What is expected after each token.
    token_ids : Tensor of int64, shape (n, n_tokens)
        The tokens themselves; the second is what the first place of ``logits`` should say.
    padding : int
        Counts as no token.

    Returns
    -------
    loss, n : Tensor, shape ()
    """
    wanted = token_ids[:, 1:].flatten()
    loss = functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), wanted, ignore_index=padding, reduction="sum"
    )
    return loss, (wanted != padding).sum()


def masked_prediction(
    predicted: Tensor, codes: Tensor, masked: Tensor, others: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each masked frame's own code among those of other frames, summed.

    Parameters
    ----------
    predicted, codes : Tensor, shape (n, n_frames, width)
        Of which the cosines are taken, over a temperature of 0.1.
    masked : Tensor of bool, shape (n, n_frames)
    others : Tensor of int64, shape (n, n_frames, n_others)
        Frames of the same ECG whose codes are the wrong answers; read where ``masked``. One with
        the very same code is no wrong answer.

    Returns
    -------
    loss, n : Tensor, shape ()
        The sum, and the number of masked frames.
    """
    row = torch.arange(len(codes), device=codes.device)[:, None].expand_as(masked)[masked]
    own, wrong = codes[masked], codes[row[:, None], others[masked]]
    candidates = torch.cat([own[:, None], wrong], dim=1)
    cosine = functional.cosine_similarity(predicted[masked][:, None], candidates, dim=-1)
    same = (wrong == own[:, None]).all(-1)
    logits = cosine / PREDICTION_TEMPERATURE
    logits = logits.masked_fill(functional.pad(same, (1, 0)), -torch.inf)
    return -logits.log_softmax(1)[:, 0].sum(), masked.sum()


def drawn_masks(
    n: int, n_frames: int, share: float, span: int, generator: torch.Generator
) -> Tensor:
    """Which frames are masked: spans that may overlap, beginning at different frames.

    Parameters
    ----------
    n, n_frames : int
    share : float
        Of all frames, were there no overlap.
    span : int
        Frames.

    Returns
    -------
    Tensor of bool, shape (n, n_frames)
    """
    span = min(span, n_frames)
    n_starts = max(1, int(share * n_frames / span + 0.5))
    begins = torch.rand(n, n_frames - span + 1, generator=generator).argsort(1)[:, :n_starts]
    frames = begins[..., None] + torch.arange(span)
    masked = torch.zeros(n, n_frames, dtype=torch.bool)
    return masked.scatter_(1, frames.flatten(1), True)


def drawn_others(masked: Tensor, n_others: int, generator: torch.Generator) -> Tensor:
    """For each masked frame so many other masked frames of the same ECG, with replacement.

    Parameters
    ----------
    masked : Tensor of bool, shape (n, n_frames)
    n_others : int

    Returns
    -------
    Tensor of int64, shape (n, n_frames, n_others)
        0 where not masked.
    """
    n, n_frames = masked.shape
    count = masked.sum(1)[:, None, None]
    # Masked frames first, in their order.
    frames = (~masked).to(torch.int8).argsort(dim=1, stable=True)
    drawn = torch.rand(n, n_frames, n_others, generator=generator)
    place = (drawn * (count - 1).clamp_min(1)).long()
    own = (masked.cumsum(1) - 1)[..., None]
    # Past itself, so that a frame is never its own wrong answer.
    place = torch.minimum(place + (place >= own), count - 1)
    others = frames[:, None].expand(-1, n_frames, -1).gather(2, place.clamp_min(0))
    return others.masked_fill(~masked[..., None], 0)
