"""MELP's two stages, and ECG-FM's one, as losses of the training loop.

=========  =========================  =============================================================
preset     trainer                    learns from
=========  =========================  =============================================================
first      `MaskedTrainer`            ECGs alone: which code stood in a masked frame, and which two
                                      halves are of one patient
second     `MelpTrainer`              ECGs with reports: rhythm, caption and beat
=========  =========================  =============================================================

Between them a language model learns cardiology's words (`training.language`), and is given to the
second stage by ``--text-model``, as any BERT is. Without one that stage learns its own from the
reports alone.

Losses are those of the whole batch however many processes share it: the authors' beat loss and
captions are of each process alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.config import ModelConfig
from echoing_core.models.encoders import Encoder, build_encoder
from echoing_core.models.frozen import FrozenEcgEncoder, FrozenEncoder
from echoing_core.models.losses import matched_cross_entropy
from echoing_core.models.melp import (
    MelpEncoder,
    melp_tokenizer,
    read_melp_tokenizer,
    sentence_means,
)
from echoing_core.models.melp_losses import (
    beat_scores,
    caption_loss,
    drawn_masks,
    drawn_others,
    masked_prediction,
)
from echoing_core.models.tokenizer import ReportTokenizer, train_tokenizer
from echoing_core.models.wav2vec2 import n_frames
from echoing_core.training.batches import Batches, TextBatch
from echoing_core.training.distributed import World, gathered, share_of
from echoing_core.training.settings import RunConfig
from echoing_core.training.trainer import Term, Trainer, widened

# First word of the seeds of masks.
_MASKS = 6
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[BOS]")


def joined_rows(share: Tensor, n: int, world: World) -> Tensor:
    """`gathered` for rows of any shape."""
    if world.size == 1:
        return share
    return gathered(share.flatten(1), n, world).reshape(n, *share.shape[1:])


class MaskedTrainer(Trainer):
    """`Trainer` of a `FrozenEncoder` with a ``wav2vec2`` that learns from ECGs alone."""

    def terms(self, batch: Any) -> list[tuple[float, Term]]:
        """The one term; see `Trainer.terms`.

        Parameters
        ----------
        batch : StepBatch
            Whose texts are not read.

        Returns
        -------
        list of (float, Term)
        """
        return [(1.0, partial(self._masked_term, batch.text))]

    def _masked_term(self, batch: TextBatch) -> tuple[Tensor, dict[str, float]]:
        settings, device, n = self.config.masked, self.world.device, len(batch.match)
        ecg: Any = self.encoder.ecg
        scaled, valid = (x.to(device, self._dtype) for x in (batch.scaled, batch.valid))
        halves = ecg.input(scaled, valid).unbind(1)
        if len(halves) != 2:
            raise ConfigError(
                f"Masked prediction contrasts the two halves of each window, and this one has "
                f"{len(halves)}: model.frozen.segment must be half of 10 s at its input_hz."
            )
        generator = torch.Generator().manual_seed(_seed(self.config.seed, batch.number))
        own, frames = share_of(n, self.world), n_frames(halves[0].shape[-1])
        loss, count = torch.zeros((), device=device), 0
        further: dict[str, Tensor] = {}
        vectors: list[Tensor] = []
        for half in halves:
            # Of all rows in every process, so that each knows how many frames there are.
            mask = drawn_masks(n, frames, settings.share, settings.span, generator)
            others = drawn_others(mask, settings.others, generator)[own].to(device)
            count += int(mask.sum())
            with (
                torch.autocast(device.type, torch.bfloat16, enabled=self._autocast),
                self._dropping(n),
            ):
                found = self._predicted(ecg.tower.ecg_encoder, half, mask[own].to(device))
            predicted, codes, states, terms = found
            pair = (widened(predicted), widened(codes))
            loss = loss + masked_prediction(*pair, mask[own].to(device), others)[0]
            vectors.append(functional.normalize(states.mean(1), dim=-1))
            # Shares of a batch differ in size where processes do not divide it. How many codes are
            # in use is known of each share alone.
            part = 0.5 * len(half) * self.world.size / n
            further = {k: part * v + further.get(k, 0.0) for k, v in terms.items()}
        prediction = self._of_all(loss * self.world.size / count)
        first, second = (gathered(widened(x), n, self.world) for x in vectors)
        whose = batch.patients.to(device)
        # Of a patient that is not told, each ECG is another.
        whose = torch.where(whose < 0, -1 - torch.arange(n, device=device), whose)
        same = whose[:, None] == whose[None, :]
        contrast = self.text_loss(first, first, second, second, same).total
        total = prediction + settings.contrast_weight * contrast
        for name, weight in (
            ("diversity", settings.diversity_weight),
            ("penalty", settings.penalty_weight),
        ):
            if weight:
                total = total + weight * self._of_all(further[name])
        figures = {"prediction": prediction, "contrast": contrast, **further}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def _predicted(
        self, network: Any, half: Tensor, masked: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        settings = self.config.masked
        features: Tensor = network.features(half)
        # The same values, and a share of the gradient.
        slow = settings.stem_gradient * features
        slow = slow + (features - slow).detach()
        states: Tensor = network.states(slow, masked)
        temperature = max(
            settings.code_temperature_end,
            settings.code_temperature * settings.code_temperature_decay**self.done,
        )
        codes, perplexity = network.quantizer(slow, temperature)
        n_codes = network.quantizer.weight_proj.out_features
        terms = {
            "diversity": (n_codes - perplexity) / n_codes,
            "penalty": widened(features).square().mean(),
        }
        return network.final_proj(states), network.project_q(codes), states, terms

    def _of_all(self, own: Tensor) -> Tensor:
        return mean_of_all(own, self.world)


class MelpTrainer(Trainer):
    """`Trainer` of a whole `MelpEncoder` by its three losses."""

    def __init__(self, encoder: Encoder, batches: Any, config: RunConfig, **given: Any) -> None:
        if not isinstance(encoder, MelpEncoder) or not isinstance(batches, Batches):
            raise ConfigError("MELP's losses need a model of the architecture melp.")
        for layer in encoder.text.lm_model.bert.encoder.layer[: config.melp.frozen_text_layers]:
            layer.requires_grad_(False)
        super().__init__(encoder, batches, config, **given)
        ids = batches.tokenizer.tokenizer.token_to_id
        self._full_stop = -1 if ids(".") is None else ids(".")
        self._special = {ids(token) for token in _SPECIAL} - {None}

    def step(self, batches: list[Any]) -> dict[str, float]:
        """One step; see `Trainer.step`."""
        logged = super().step(batches)
        # Its own scale, in the place where the loop and a model folder look for one.
        with torch.no_grad():
            self.text_loss.scale.copy_(self._scale(self.result))
        return logged | {"scale": self.text_loss.scale.item()}

    def _scale(self, encoder: Encoder) -> Tensor:
        text: Any = encoder.text
        scale: Tensor = text.logit_scale.exp()
        limit = self.config.melp.scale_max
        return scale.clamp_max(limit) if limit else scale

    def terms(self, batch: Any) -> list[tuple[float, Term]]:
        """All three losses as one term, since they share both encoders; see `Trainer.terms`.

        Parameters
        ----------
        batch : StepBatch

        Returns
        -------
        list of (float, Term)
        """
        return [(1.0, partial(self._melp_term, batch.text))]

    def _melp_term(self, batch: TextBatch) -> tuple[Tensor, dict[str, float]]:
        settings, world, device = self.config.melp, self.world, self.world.device
        n, m = batch.match.shape
        ecg, text, tower = self._parts()
        scaled, valid = (x.to(device, self._dtype) for x in (batch.scaled, batch.valid))
        ids, mask = batch.token_ids.to(device), batch.token_mask.to(device)
        segments = ecg.input(scaled, valid)
        if segments.shape[1] != 1:
            raise ConfigError(
                "MELP reads a window at once: model.frozen.segment must be 10 s at its input_hz."
            )
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            with self._dropping(n):
                frames = tower.ecg_encoder(segments[:, 0])
            beats, memory = tower.beats(frames), tower.caption_memory(frames)
            with self._dropping(m):
                report, tokens = text.read(ids, mask)
            means, there = sentence_means(
                tokens, ids[:, 1:], self._full_stop, self._special, keep_rest=settings.keep_rest
            )
            mu_text, sentences = text.mean(report), text.sent_proj(means)
        match, own = batch.match.to(device), batch.own.to(device)
        beats = joined_rows(widened(beats), n, world)
        mu_ecg = functional.normalize(beats.mean(1), dim=-1)
        mu_text = gathered(widened(mu_text), m, world)
        rhythm = matched_cross_entropy(self._scale(self.encoder) * mu_ecg @ mu_text.T, match)
        sentences, there = self._all_sentences(widened(sentences), there, m)
        scores = beat_scores(beats, sentences, there, per_sentence=settings.per_sentence)
        beat = matched_cross_entropy(scores, match)
        # Reports are shared out apart from ECGs, so an ECG's own may have been read elsewhere.
        tokens, all_ids = joined_rows(tokens, m, world), joined_rows(ids.double(), m, world).long()
        rows = own[share_of(n, world)]
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            logits = text.text_decoder(tokens[rows], memory)
        written, _ = caption_loss(widened(logits), all_ids[rows][:, 1:])
        n_tokens = (all_ids[own][:, 2:] != 0).sum().clamp_min(1)
        caption = mean_of_all(written * world.size / n_tokens, world)
        total = (
            settings.rhythm_weight * rhythm
            + settings.caption_weight * caption
            + settings.beat_weight * beat
        )
        figures = {"rhythm": rhythm, "caption": caption, "beat": beat}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    def _parts(self) -> tuple[FrozenEcgEncoder, Any, Any]:
        """ECG side, text side, and the network of the former; its parts have no types in torch."""
        assert isinstance(self.encoder, MelpEncoder)
        return self.encoder.ecg, self.encoder.text, self.encoder.ecg.tower

    def _all_sentences(self, own: Tensor, there: Tensor, m: int) -> tuple[Tensor, Tensor]:
        """Sentences of all reports, of which some process may have longer ones."""
        world = self.world
        if world.size == 1:
            return own, there
        count = torch.tensor([[float(there.shape[1])]], device=own.device)
        missing = int(gathered(count, world.size, world).max()) - there.shape[1]
        own = joined_rows(functional.pad(own, (0, 0, 0, missing)), m, world)
        return own, gathered(functional.pad(there.to(own.dtype), (0, missing)), m, world) > 0


def mean_of_all(own: Tensor, world: World) -> Tensor:
    """The mean over processes, with the gradient of this one's own: gradients are averaged later.

    Parameters
    ----------
    own : Tensor, shape ()
    world : World

    Returns
    -------
    Tensor, shape ()
    """
    if world.size == 1:
        return own
    whole = gathered(own.detach().reshape(1, 1), world.size, world).mean()
    return own + (whole - own).detach()


def _seed(seed: int, number: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence((_MASKS, seed, number)).generate_state(1, np.uint64)[0] >> 1)


def trainer_of(config: RunConfig) -> type[Trainer]:
    """Whose losses a run of these settings learns by.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    type of Trainer
    """
    if config.model.architecture == "melp":
        return MelpTrainer
    return MaskedTrainer if config.predicts_masked else Trainer


def vocabulary_of(
    config: RunConfig, reports: Sequence[str], text_model: str | None
) -> tuple[ReportTokenizer, RunConfig]:
    """The vocabulary of a run with MELP's language model, and the settings with its size.

    Parameters
    ----------
    config : RunConfig
    reports : sequence of str
        Of training patients.
    text_model : str, optional
        Whose vocabulary is taken; without one it is learnt from the reports.

    Returns
    -------
    tokenizer : ReportTokenizer
    config : RunConfig

    Raises
    ------
    ConfigError
        Layers of a language model that nobody trained are to stay as they are.
    """
    text = config.model.released_text
    if text_model is None:
        if config.melp.frozen_text_layers:
            raise ConfigError(
                f"The first {config.melp.frozen_text_layers} layers of the language model would "
                "stay random. Name a BERT with --text-model, or set melp.frozen_text_layers to 0."
            )
        tokenizer = melp_tokenizer(train_tokenizer(reports, text.vocab_size, text.max_tokens))
    else:
        tokenizer = read_melp_tokenizer(text_model, text.max_tokens)
    text = dataclasses.replace(text, vocab_size=tokenizer.tokenizer.get_vocab_size())
    model = dataclasses.replace(config.model, released_text=text)
    return tokenizer, dataclasses.replace(config, model=model)


def new_encoder(
    config: RunConfig, *, begin: Checkpoint | None = None, text_model: str | None = None
) -> Encoder:
    """What a run begins with, with all that its losses need.

    Parameters
    ----------
    config : RunConfig
        For one of the trainers here.
    begin : Checkpoint, optional
        Of a model whose frames are taken over: a first stage, or a published encoder.
    text_model : str, optional
        A BERT whose weights the language model begins with.

    Returns
    -------
    MelpEncoder or FrozenEncoder

    Raises
    ------
    CheckpointError, ConfigError
        One of the two does not fit.
    """
    encoder: FrozenEncoder | MelpEncoder
    if config.predicts_masked:
        encoder = FrozenEncoder(config.model, full=True, dropout=config.masked.dropout)
    else:
        encoder = MelpEncoder(
            config.model,
            full=True,
            decoder_layers=config.melp.decoder_layers,
            dropout=config.melp.dropout,
        )
    if begin is not None:
        _take_frames(encoder, begin)
    if text_model is not None and isinstance(encoder, MelpEncoder):
        take_bert(encoder.text.lm_model.bert, text_model)
    return encoder


def _take_frames(encoder: Any, begin: Checkpoint) -> None:
    given: Any = begin.encoder.ecg
    network = encoder.ecg.tower.ecg_encoder
    tower = getattr(given, "tower", None)
    theirs = {} if tower is None else tower.ecg_encoder.state_dict()
    state = network.state_dict()
    # What masked prediction alone needs is in no model folder, and begins anew.
    unused = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
    needed = {k: v.shape for k, v in state.items() if not k.startswith(unused)}
    if needed != {k: v.shape for k, v in theirs.items() if not k.startswith(unused)}:
        raise CheckpointError(
            f"Model {begin.name} has not the network that this run trains. Begin with a model of "
            "melp-stage1 of the same sizes (model.frozen), or with none."
        )
    network.load_state_dict(state | theirs)


def take_bert(bert: nn.Module, source: str) -> None:
    """Weights of a BERT into one that may have an entry more in its vocabulary.

    Parameters
    ----------
    bert : nn.Module
        Changed in place.
    source : str
        As for `models.released.read_bert`.

    Raises
    ------
    CheckpointError
        It cannot be read, or has other sizes.
    """
    from echoing_core.models.released import read_bert

    state = read_bert(source).state_dict()
    own = bert.state_dict()
    words = "embeddings.word_embeddings.weight"
    # The entry for the beginning of a report is the last, and no BERT has it.
    extended = own[words].clone()
    n = min(len(extended), len(state[words]))
    if state[words].shape[1:] == extended.shape[1:] and len(extended) - n <= 1:
        extended[:n] = state[words][:n]
        state = state | {words: extended}
    try:
        bert.load_state_dict({name: state[name] for name in own})
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"The BERT of {source!r} has other sizes than model.released_text. Name another, or "
            "change these settings."
        ) from error


def for_use(encoder: Encoder) -> Encoder:
    """The model that a folder holds: without what training alone needed.

    Parameters
    ----------
    encoder : nn.Module
        As a run gave it.

    Returns
    -------
    nn.Module
        The same where there is nothing to leave out; else in evaluation mode, without gradients.
    """
    if not isinstance(encoder, (FrozenEncoder, MelpEncoder)):
        return encoder
    config: ModelConfig = encoder.config
    lean = build_encoder(config)
    state = encoder.state_dict()
    lean.load_state_dict({name: state[name] for name in lean.state_dict()})
    return lean.eval().requires_grad_(False)
