"""One step of training: forward, losses, gradients, optimiser, average."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.models.encoders import Encoder
from echoing_core.models.hugging_face import TextStates as BertStates
from echoing_core.models.losses import MatchingLoss, logit_scale
from echoing_core.training.batches import (
    AskedBatch,
    Batches,
    BatchSource,
    EchoBatch,
    TextBatch,
)
from echoing_core.training.distributed import (
    World,
    average_gradients,
    gathered,
    joined_dropout,
    joined_statistics,
)
from echoing_core.training.settings import OptimiserConfig, RunConfig
from echoing_core.training.text_cache import TextStates

_BLOCK = re.compile(r"\bblocks\.(\d+)\.")
_BELOW_BLOCKS = ("patch_embed.", "cls_token", "pos_embed_y")

Term = Callable[[], tuple[Tensor, dict[str, float]]]
"""Computes one term of the loss, and what to log of it."""


class Trainer:
    """Both encoders, their losses and the optimiser, one step at a time.

    A system with other losses overrides `terms`; all else of a run is the same for it.

    Parameters
    ----------
    encoder : nn.Module
        With ``ecg(scaled, valid)`` and ``text(ids, mask)``, each giving (mu, log_var).
    batches : BatchSource
    config : RunConfig
    world : World
    states : TextStates, optional
        With ``config.freeze_text``.
    """

    def __init__(
        self,
        encoder: Encoder,
        batches: BatchSource,
        config: RunConfig,
        *,
        world: World | None = None,
        states: TextStates | None = None,
    ) -> None:
        self.world = world or World()
        self.encoder, self.batches, self.config, self.states = encoder, batches, config, states
        # What fills no step at the end of the last epoch is left out.
        self.n_steps = config.steps or max(
            1, config.epochs * batches.per_epoch // config.accumulate
        )
        self.text_loss = MatchingLoss(config.loss)
        self.echo_loss = MatchingLoss(config.loss)
        if config.freeze_text:
            self._bert.backbone.requires_grad_(False)
        if config.recompute_text:
            self._bert.recompute()
        self.modules = nn.ModuleDict(
            {"encoder": encoder, "text_loss": self.text_loss, "echo_loss": self.echo_loss}
        )
        # Only where it is used: states of runs without it stay as they are.
        if config.objective.echo_text_weight:
            self.echo_text_loss = MatchingLoss(config.loss)
            self.modules["echo_text_loss"] = self.echo_text_loss
        self.modules.to(self.world.device)
        if config.precision == "float64":
            self.modules.double()
        self.average: Encoder | None = None
        if config.optimiser.average_decay > 0:
            self.average = copy.deepcopy(encoder)
            self.average.requires_grad_(False)
        self.optimiser = build_optimiser(self.modules, config.optimiser)
        self.done = 0
        self._dtype = next(encoder.parameters()).dtype
        self._autocast = _is_bfloat16(config.precision, self.world.device)
        # A GPU draws dropout within its own kernels, and recomputing draws it a second time.
        self._drops_as_one = self.world.device.type == "cpu" and not config.recompute_text

    @property
    def result(self) -> Encoder:
        """The encoder that the run is for: the average where one is kept."""
        return self.encoder if self.average is None else self.average

    def step(self, batches: list[Any]) -> dict[str, float]:
        """One optimiser step on ``accumulate`` batches; returns what to log.

        Parameters
        ----------
        batches : list
            As ``batches.at`` gives them. Their gradients are averaged; each is contrasted by
            itself.

        Returns
        -------
        dict
            Figures by name: ``lr``, ``loss``, the terms, ``grad_norm``, the loss's constants.
        """
        rate = self._set_rate()
        self.encoder.train()
        if self.config.freeze_text:
            # Its dropout would give states that no cache holds.
            self._bert.backbone.eval()
        self.optimiser.zero_grad(set_to_none=True)
        logged: dict[str, float] = {"lr": rate}
        with joined_statistics(self.encoder, self.world):
            for number, batch in enumerate(batches):
                # Dropout follows from the step, too, so that a resumed run drops the same.
                torch.manual_seed(self._dropout_seed(number))
                # Term by term: the gradients add up, and only one term's activations are held.
                for weight, term in self.terms(batch):
                    value, figures = term()
                    torch.autograd.backward(weight * value / len(batches))
                    for name, figure in (*figures.items(), ("loss", weight * value.item())):
                        logged[name] = logged.get(name, 0.0) + figure / len(batches)
        parameters = [p for p in self.modules.parameters() if p.requires_grad]
        average_gradients(parameters, self.world)
        limit = self.config.optimiser.clip_norm
        clipped: nn.Module = self.encoder
        if self.config.optimiser.clip_loss_constants:
            clipped = self.modules
        # Without a limit it only measures.
        norm = nn.utils.clip_grad_norm_(
            [p for p in clipped.parameters() if p.requires_grad], limit or math.inf
        )
        logged["grad_norm"] = float(norm)
        self.optimiser.step()
        self._follow()
        self.done += 1
        logged["scale"] = self.text_loss.scale.item()
        logged["shift"] = self.text_loss.shift.item()
        return logged

    def loss(self, batch: Any) -> Tensor:
        """The step's loss over the whole batch.

        lambda * L_text + (1 - lambda) * L_echo where there are both, EchoingECG eq. 2; a batch of
        one kind counts with its weight. Without any echo pairs lambda has no meaning and is 1.

        Parameters
        ----------
        batch : StepBatch

        Returns
        -------
        Tensor, shape ()

        References
        ----------
        EchoingECG, eq. 2.
        """
        total = torch.zeros((), device=self.world.device)
        for weight, term in self.terms(batch):
            total = total + weight * term()[0]
        return total

    def terms(self, batch: Any) -> list[tuple[float, Term]]:
        """The terms of a step's loss, each with its weight; computed when they are called.

        Parameters
        ----------
        batch : StepBatch

        Returns
        -------
        list of (float, Term)
        """
        assert isinstance(self.batches, Batches)
        weight = self.config.objective.text_weight if self.batches.echo is not None else 1.0
        terms: list[tuple[float, Term]] = []
        if batch.text is not None:
            terms.append((weight, partial(self._text_term, batch.text)))
        if batch.echo is not None:
            terms.append((1.0 - weight, partial(self._echo_term, batch.echo)))
        return terms

    def _text_term(self, batch: TextBatch) -> tuple[Tensor, dict[str, float]]:
        device, n_ecgs = self.world.device, batch.match.shape[0]
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            with self._dropping(n_ecgs):
                ecg = self._ecgs(batch)
            with self._dropping(batch.n_texts):
                text = self._texts(batch)
        mu_ecg, v_ecg = (gathered(widened(x), n_ecgs, self.world) for x in ecg)
        mu_text, v_text = (gathered(widened(x), batch.n_texts, self.world) for x in text)
        # Every process sees the whole matrix, so its loss is that of one process.
        terms = self.text_loss(mu_ecg, v_ecg, mu_text, v_text, batch.match.to(device))
        total, figures = terms.total, {}
        if batch.asked is not None:
            asked = self._questions_term(mu_ecg, batch.asked)
            total = total + self.config.objective.question_weight * asked
            figures["questions"] = float(asked.detach())
        return total, {
            **figures,
            "text": float(terms.total.detach()),
            "sigma2_ecg": float(v_ecg.detach().exp().sum(1).mean()),
            "sigma2_text": float(v_text.detach().exp().sum(1).mean()),
        }

    def _questions_term(self, mu_ecg: Tensor, asked: AskedBatch) -> Tensor:
        """Binary cross-entropy of all known answers, by the margins that an answer is read from.

        Every process embeds all prompts: they are few, and their gradients then average to one
        process's.
        """
        device = self.world.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            mu, _ = self.encoder.text(asked.token_ids.to(device), asked.token_mask.to(device))
        n_questions = asked.answers.shape[1]
        # (n_questions, 2, dim): the unit direction of yes and of no, as `closed_form.prototype`.
        sides = functional.normalize(
            widened(mu).reshape(n_questions, 2, -1, mu.shape[1]).mean(2), dim=-1
        )
        margin = mu_ecg @ (sides[:, 0] - sides[:, 1]).T
        # Of this loss's own scale a margin is what an answer makes of it; it learns by matching.
        logit = logit_scale(self.config.loss.name, self.text_loss.scale.item()) * margin
        answers = asked.answers.to(mu_ecg)
        known = torch.isfinite(answers)
        truth = torch.where(known, answers, 0.0)
        no, yes = asked.balance.to(mu_ecg)
        weight = torch.where(truth > 0.5, yes, no) * known
        loss = functional.binary_cross_entropy_with_logits(logit, truth, reduction="none")
        return (weight * loss).sum() / weight.sum().clamp_min(1.0)

    def _dropping(self, n: int) -> AbstractContextManager[None]:
        """Dropout for a share of ``n`` joined rows."""
        return joined_dropout(n, self.world if self._drops_as_one else World())

    def _ecgs(self, batch: TextBatch | EchoBatch) -> tuple[Tensor, Tensor]:
        scaled, valid = (x.to(self.world.device, self._dtype) for x in (batch.scaled, batch.valid))
        if self.config.means_only:
            mu: Tensor = self.encoder.ecg.mean(scaled, valid)
            return mu, torch.full_like(mu, self.config.model.log_var_bias)
        pair: tuple[Tensor, Tensor] = self.encoder.ecg(scaled, valid)
        return pair

    @property
    def _bert(self) -> BertStates:
        """The text encoder, as one whose states can be frozen, kept or computed anew."""
        text = self.encoder.text
        if not isinstance(text, BertStates):
            raise ConfigError(
                "The text tower of a plugin can be neither frozen nor computed anew. Leave "
                "freeze_text and recompute_text out."
            )
        return text

    def _texts(self, batch: TextBatch) -> tuple[Tensor, Tensor]:
        device = self.world.device
        pair: tuple[Tensor, Tensor]
        if self.states is not None:
            states, mask = self.states.of(batch.texts)
            pair = self._bert.from_states(states.to(device, self._dtype), mask.to(device))
        else:
            pair = self.encoder.text(batch.token_ids.to(device), batch.token_mask.to(device))
        if self.config.means_only:
            return pair[0], torch.full_like(pair[0], self.config.model.log_var_bias)
        return pair

    def _echo_term(self, batch: EchoBatch) -> tuple[Tensor, dict[str, float]]:
        device, n_ecgs = self.world.device, batch.match.shape[0]
        half = torch.autocast(device.type, torch.bfloat16, enabled=self._autocast)
        with half, self._dropping(n_ecgs):
            ecg = self._ecgs(batch)
        mu, v = (gathered(widened(x), n_ecgs, self.world) for x in ecg)
        echo = (batch.mu.to(mu), batch.log_var.to(mu))
        edge = self.echo_loss(mu, v, *echo, batch.match.to(device)).total
        figures = {"echo": float(edge.detach())}
        if batch.texts is None:
            return edge, figures
        n_texts = batch.texts.match.shape[1]
        with half, self._dropping(n_texts):
            text = self.encoder.text(
                batch.texts.token_ids.to(device), batch.texts.token_mask.to(device)
            )
        mu_text, v_text = (gathered(widened(x), n_texts, self.world) for x in text)
        bound = self.echo_text_loss(*echo, mu_text, v_text, batch.texts.match.to(device)).total
        figures["echo text"] = float(bound.detach())
        # Beside the edge term, whose own weight the whole of this gets.
        share = self.config.objective.echo_text_weight / (1.0 - self.config.objective.text_weight)
        return edge + share * bound, figures

    def tensors(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name."""
        named = {f"modules.{k}": v for k, v in self.modules.state_dict().items()}
        if self.average is not None:
            named |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            named |= {f"optimiser.{number}.{k}": v for k, v in state.items()}
        return named

    def result_tensors(self) -> dict[str, Tensor]:
        """What the run would give now: weights of `result`, and the constants of the text loss."""
        named = {f"encoder.{k}": v for k, v in self.result.state_dict().items()}
        return named | {f"text_loss.{k}": v for k, v in self.text_loss.state_dict().items()}

    def take_result(self, named: Mapping[str, Tensor]) -> None:
        """Put back what `result_tensors` gave; the run ends here, since no moments come with it.

        Parameters
        ----------
        named : mapping of str to Tensor
        """
        for module, prefix in ((self.result, "encoder."), (self.text_loss, "text_loss.")):
            state = {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}
            module.load_state_dict(state, strict=True)

    def restore(self, step: int, named: Mapping[str, Tensor]) -> None:
        """Go on after ``step`` steps, with what `tensors` gave then.

        Parameters
        ----------
        step : int
        named : mapping of str to Tensor

        Raises
        ------
        ConfigError
            The tensors are not those of this model.
        """
        # Names are `tensors`' own: kind, point, the name within it.
        groups: dict[str, dict[str, Tensor]] = {"modules": {}, "average": {}, "optimiser": {}}
        for name, tensor in named.items():
            kind, _, rest = name.partition(".")
            groups[kind][rest] = tensor
        try:
            self.modules.load_state_dict(groups["modules"], strict=True)
            if self.average is not None:
                self.average.load_state_dict(groups["average"], strict=True)
        except RuntimeError as error:
            raise ConfigError(
                "The saved state is of another model. Give the run a folder of its own."
            ) from error
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in groups["optimiser"].items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        # Rates and decays are of the settings; only the moments come from the file.
        self.optimiser.load_state_dict(
            {"state": state, "param_groups": self.optimiser.state_dict()["param_groups"]}
        )
        self.done = step

    def _dropout_seed(self, number: int) -> int:
        """Of batch ``number`` of this step.

        The same in all processes where each takes its rows of one draw; else of its own in each,
        so that they drop different units.
        """
        stream = 0 if self._drops_as_one else self.world.rank
        mixed = np.random.SeedSequence((self.config.seed, self.done, number, stream))
        return int(mixed.generate_state(1, np.uint64)[0])

    def _set_rate(self) -> float:
        settings = self.config.optimiser
        rate = settings.lr * rate_factor(self.done, self.n_steps, settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["lr_factor"]
        return rate

    def _follow(self) -> None:
        if self.average is None:
            return
        # A short memory at the start, or the average would drag its random beginning along.
        decay = min(self.config.optimiser.average_decay, (1 + self.done) / (10 + self.done))
        with torch.no_grad():
            for slow, fast in zip(
                self.average.parameters(), self.encoder.parameters(), strict=True
            ):
                slow.lerp_(fast, 1.0 - decay)
            # Statistics of BatchNorm are averages already.
            for buffer, current in zip(self.average.buffers(), self.encoder.buffers(), strict=True):
                buffer.copy_(current)


def rate_factor(step: int, n_steps: int, settings: OptimiserConfig) -> float:
    """Share of the learning rate at ``step``: linear from ``warmup_start``, then cosine.

    Parameters
    ----------
    step : int
        From 0.
    n_steps : int
        Of the whole run.
    settings : OptimiserConfig

    Returns
    -------
    float
        0..1
    """
    warmup = round(settings.warmup_share * n_steps)
    if step < warmup:
        return settings.warmup_start + (1.0 - settings.warmup_start) * step / warmup
    at, n = step - warmup, max(1, n_steps - warmup)
    if settings.cycles > 1:
        at = at * settings.cycles % n
    down = 0.5 * (1.0 + math.cos(math.pi * at / n))
    return settings.final_share + (1.0 - settings.final_share) * down


def build_optimiser(modules: nn.Module, settings: OptimiserConfig) -> torch.optim.AdamW:
    """Weight decay on matrices only, unless asked otherwise: elsewhere it has no meaning.

    Parameters
    ----------
    modules : nn.Module
        Only what has gradients is optimised.
    settings : OptimiserConfig

    Returns
    -------
    AdamW
    """
    parameters = [p for p in modules.parameters() if p.requires_grad]
    decayed = [p for p in parameters if settings.decay_vectors or p.ndim > 1]
    plain = [p for p in parameters if not settings.decay_vectors and p.ndim <= 1]
    by_layer = layer_factors(modules, settings.layer_decay)
    groups: list[dict[str, Any]] = []
    for group, decay in ((decayed, settings.weight_decay), (plain, 0.0)):
        # The loss's constants are the only parameters without a dimension.
        weights = [p for p in group if p.ndim > 0 or settings.constants_lr_factor == 1.0]
        constants = [p for p in group if p.ndim == 0 and settings.constants_lr_factor != 1.0]
        layers: dict[float, list[nn.Parameter]] = {}
        for p in weights:
            layers.setdefault(by_layer.get(p, 1.0), []).append(p)
        for factor, params in (*layers.items(), (settings.constants_lr_factor, constants)):
            groups.append({"params": params, "weight_decay": decay, "lr_factor": factor})
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
    )


def layer_factors(modules: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Learning rates over the usual one, of the blocks of a transformer and what lies below them.

    Parameters
    ----------
    modules : nn.Module
        Blocks are those whose names hold ``blocks.K``.
    decay : float
        1 for equal rates.

    Returns
    -------
    dict of Parameter to float
        decay^(n - 1 - k) for block k of n; only of these parameters.
    """
    if decay == 1.0:
        return {}
    named = {name: p for name, p in modules.named_parameters() if p.requires_grad}
    blocks = {name: int(m[1]) for name in named if (m := _BLOCK.search(name))}
    top = max(blocks.values(), default=0)
    below = {name: 0 for name in named if any(part in name for part in _BELOW_BLOCKS)}
    return {named[name]: decay ** (top - k) for name, k in (blocks | below).items()}


def _is_bfloat16(precision: str, device: torch.device) -> bool:
    return precision == "bfloat16" or (precision == "auto" and device.type == "cuda")


def widened(x: Tensor) -> Tensor:
    """Embeddings for the loss: out of bfloat16, and as they are where a run is in float64.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        float32, or float64 where it was.
    """
    return x if x.dtype == torch.float64 else x.float()
