"""Objectives: tensors in, scalars out; no models, no data.

The matching losses are on pairs of Gaussians, in Gram form. ``pcmepp`` is PCME++'s loss as
released (Chun, ICLR 2024, eq. 4-6): binary cross entropy of -a*csd + b over all pairs,
pseudo-positives, and a variational information bottleneck. ``csd_infonce`` is the EchoingECG
paper's wording, CSD inside a softmax. ``infonce`` is the plain cosine baseline. All take a match
matrix rather than assuming the diagonal: reports with the same text are the same match, not
negatives of each other.

The displacement losses teach sigma^2 alone. A recording's mean should not depend on how badly it
was recorded. So the distance between the mean of a corrupted view and the mean of the clean view
is the error that sigma^2 is to predict, per dimension, by the Gaussian likelihood (Nix & Weigend
1994; Kendall & Gal 2017, eq. 5). Both means enter without gradient: the space itself is not bent
by this loss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core import plugins
from echoing_core.errors import ConfigError
from echoing_core.metrics.distances import csd
from echoing_core.models.config import LossConfig
from echoing_core.models.variance_head import FLOOR

LOSS_NAMES = ("pcmepp", "csd_infonce", "infonce")
"""Ours; `loss_names` has those of plugins, too."""
PSEUDO_POSITIVES = ("weakest", "first")
MATCH_WEIGHTS = ("pair", "row")

NOISE_SHARE = 0.1
"""Noise of this share of the lead's own power counts as half lost (10 dB)."""

POWER_FLOOR = 0.05
"""Least power of a lead (in units of its usual power) that noise is set against."""

_SMOOTH_CHUNKS = 5


@dataclass(frozen=True)
class LossTerms:
    """The total and its terms, for the log.

    Attributes
    ----------
    total : Tensor, shape ()
    match, pseudo, vib : Tensor, shape ()
        Its terms, without gradient; 0 where a loss has no such term.
    """

    total: Tensor
    match: Tensor
    pseudo: Tensor
    vib: Tensor


@dataclass(frozen=True)
class PluggedLoss:
    """A matching loss of another package, an entry point of ``echoing.losses``.

    Attributes
    ----------
    compute : callable
        (mu_a, log_var_a, mu_b, log_var_b, match, scale, shift) -> Tensor, shape (): ECGs a and
        texts b as in `MatchingLoss.forward`, and the two learnt constants.
    logit_per_scale : float
        Log-odds that a difference of two cosines is worth, over ``scale``; see `logit_scale`.
    """

    compute: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
    logit_per_scale: float = 2.0


def loss_names() -> tuple[str, ...]:
    """`LOSS_NAMES` and those of plugins."""
    return (*LOSS_NAMES, *plugins.plugins(plugins.LOSSES))


def plugged_loss(name: str) -> PluggedLoss:
    """A loss of a plugin.

    Parameters
    ----------
    name : str

    Returns
    -------
    PluggedLoss

    Raises
    ------
    ConfigError
        It is not installed, cannot be imported, or is something else.
    """
    loss = plugins.load(plugins.LOSSES, name)
    if not isinstance(loss, PluggedLoss):
        raise ConfigError(f"The loss {name} is no echoing_core.models.losses.PluggedLoss.")
    return loss


class MatchingLoss(nn.Module):
    """Loss between a batch of ECGs and a batch of texts.

    Parameters
    ----------
    config : LossConfig
        ``config.name`` is one of `loss_names`.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        if config.name not in loss_names():
            raise ConfigError(f"Unknown loss {config.name!r}. Known: {', '.join(loss_names())}.")
        self.plugged = None if config.name in LOSS_NAMES else plugged_loss(config.name)
        if config.pseudo_positive_above not in PSEUDO_POSITIVES:
            raise ConfigError(
                "Setting loss.pseudo_positive_above must be one of "
                f"{', '.join(PSEUDO_POSITIVES)}, not {config.pseudo_positive_above!r}."
            )
        if config.match_weight not in MATCH_WEIGHTS:
            raise ConfigError(
                f"Setting loss.match_weight must be one of {', '.join(MATCH_WEIGHTS)}, not "
                f"{config.match_weight!r}."
            )
        self.config = config
        learnt = config.learn_constants
        self.scale = nn.Parameter(torch.tensor(float(config.scale_init)), requires_grad=learnt)
        self.shift = nn.Parameter(torch.tensor(float(config.shift_init)), requires_grad=learnt)

    def forward(
        self, mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor, match: Tensor
    ) -> LossTerms:
        """Loss of a batch, with its terms for the log.

        Parameters
        ----------
        mu_a, log_var_a : Tensor, shape (n, dim)
            ECGs.
        mu_b, log_var_b : Tensor, shape (m, dim)
            Texts.
        match : Tensor of bool, shape (n, m)
            True where ECG i and text j belong together.

        Returns
        -------
        LossTerms
        """
        # At least float32, also under autocast: the squared distance is a difference of near
        # numbers, and a softmax over bfloat16 cosines forgets their third digit.
        mu_a, log_var_a, mu_b, log_var_b = map(_widened, (mu_a, log_var_a, mu_b, log_var_b))
        with torch.autocast(mu_a.device.type, enabled=False):
            if self.plugged is not None:
                pair = (mu_a, log_var_a, mu_b, log_var_b)
                total = self.plugged.compute(*pair, match, self.scale, self.shift)
                zero = total.new_zeros(())
                return LossTerms(total, total.detach(), zero, zero)
            if self.config.name == "infonce":
                return self._softmax(self.scale * (mu_a @ mu_b.T), match)
            distance = csd(mu_a, log_var_a, mu_b, log_var_b)
            if self.config.name == "csd_infonce":
                return self._softmax(-self.scale * distance, match)
            return self._pcmepp(distance, match, (mu_a, log_var_a), (mu_b, log_var_b))

    def _softmax(self, logits: Tensor, match: Tensor) -> LossTerms:
        total = matched_cross_entropy(logits, match)
        zero = total.new_zeros(())
        return LossTerms(total, total.detach(), zero, zero)

    def _pcmepp(
        self, distance: Tensor, match: Tensor, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]
    ) -> LossTerms:
        logits = -self.scale * distance + self.shift
        positive, also = match.to(logits.dtype), self.config.pseudo_positive_weight
        by_row = self.config.match_weight == "row"
        weight = match_weights(match).to(positive) if by_row else None
        own = positive if weight is None else weight * positive
        # Twice: the released form adds the matching term once for either direction.
        weights = 2.0 * (also + (1.0 if weight is None else weight))
        wanted, pairs = 2.0 * own, None
        if also > 0:
            above = self.config.pseudo_positive_above
            pairs = pseudo_positives(logits, match, above)
            pairs += pseudo_positives(logits.T, match.T, above).T
            wanted = wanted.add_(pairs, alpha=also)
        # Cross-entropies of the same logits are one of their targets' mean, by the sum of their
        # weights. What each comes to by itself is only looked at.
        target = wanted.div_(weights)
        if isinstance(weights, Tensor):
            total = functional.binary_cross_entropy_with_logits(logits, target, weight=weights)
        else:
            total = weights * functional.binary_cross_entropy_with_logits(logits, target)
        with torch.no_grad():
            # -log(1 - p), to which a match adds -logit.
            of_none, flat = functional.softplus(logits), logits.flatten()
            n_pairs, mean = flat.numel(), of_none.mean()
            of_all = mean if weight is None else (weight * of_none).mean()
            matching = of_all - flat @ own.flatten() / n_pairs
            zero = pseudo = logits.new_zeros(())
            if pairs is not None:
                pseudo = also * (2.0 * mean - flat @ pairs.flatten() / n_pairs)
        vib = zero
        if self.config.vib_weight > 0:
            vib = self.config.vib_weight * (
                information_bottleneck(*a, drop_above=self.config.vib_drop_above)
                + information_bottleneck(*b, drop_above=self.config.vib_drop_above)
            )
        return LossTerms(total + vib, matching, pseudo, vib.detach())


def matched_cross_entropy(logits: Tensor, match: Tensor) -> Tensor:
    """InfoNCE in both directions: each row and each column is a distribution over its matches.

    Parameters
    ----------
    logits : Tensor, shape (n, m)
    match : Tensor of bool, same shape

    Returns
    -------
    Tensor, scalar
    """
    target = match.to(logits.dtype)
    rows = target / target.sum(1, keepdim=True).clamp_min(1.0)
    columns = target / target.sum(0, keepdim=True).clamp_min(1.0)
    forward = -(rows * functional.log_softmax(logits, dim=1)).sum(1).mean()
    backward = -(columns * functional.log_softmax(logits, dim=0)).sum(0).mean()
    return 0.5 * (forward + backward)


def logit_scale(loss_name: str, scale: float) -> float:
    """Log-odds that a difference of two cosines is worth, after training with a learnt ``scale``.

    The scale itself for ``infonce``, whose logits are scale * cosine. Twice the scale for the
    losses on -scale * csd: csd holds |mu_a - mu_b|^2 = 2 - 2 cosine, and the variances, equal for
    both sides of a question, cancel.

    Parameters
    ----------
    loss_name : str
        One of `loss_names`.
    scale : float
        `MatchingLoss.scale` at the end of training.

    Returns
    -------
    float
    """
    if loss_name not in LOSS_NAMES:
        return scale * plugged_loss(loss_name).logit_per_scale
    return scale * (1.0 if loss_name == "infonce" else 2.0)


def match_weights(match: Tensor) -> Tensor:
    """Weights of pairs by which the matches of a row, and those of a column, count as one.

    Parameters
    ----------
    match : Tensor of bool, shape (n, m)

    Returns
    -------
    Tensor, shape (n, m)
        1 where there is no match; of a match the mean of one over its row's and its column's
        number of matches.
    """
    count = match.to(torch.float32)
    of_row = count.sum(1, keepdim=True).clamp_min(1.0)
    of_column = count.sum(0, keepdim=True).clamp_min(1.0)
    return torch.where(match, 0.5 / of_row + 0.5 / of_column, torch.ones_like(count))


def pseudo_positives(logits: Tensor, match: Tensor, above: str = "weakest") -> Tensor:
    """1 where a pair looks at least as matching as one of the row's own matches (PCME++ 3.3).

    Shape (n, m), no gradient. A row without any match has no pseudo-positives.

    Parameters
    ----------
    logits : Tensor, shape (n, m)
    match : Tensor of bool, same shape
    above : {"weakest", "first"}
        Which match sets the threshold. With one match a row both are the same.

    Returns
    -------
    Tensor, shape (n, m)

    References
    ----------
    Chun, ICLR 2024 (PCME++), sec. 3.3.
    """
    with torch.no_grad():
        # Of each row's matches, shape (n,); infinite without any.
        of_match = torch.where(match, logits, torch.full_like(logits, float("inf")))
        if above == "first":
            # The first largest of 0 and 1 is the first match.
            own = of_match.gather(1, match.to(torch.int64).argmax(1, keepdim=True)).squeeze(1)
        else:
            own = of_match.amin(1)
        return (match | (logits >= own[:, None])).to(logits.dtype)


def information_bottleneck(
    mu: Tensor, log_var: Tensor, *, drop_above: float | None = None
) -> Tensor:
    """KL of N(mu, sigma^2) from N(0, 1), averaged over batch and dimensions.

    With v = log sigma^2 this is the exact KL of a diagonal Gaussian up to the average over
    dimensions, which follows PCME++.

    Parameters
    ----------
    mu, log_var : Tensor, shape (n, dim)
    drop_above : float, optional
        A larger value counts as 0, without gradient, as the released code has it (1e4).

    Returns
    -------
    Tensor, scalar
    """
    # Means one by one, each of which is a pass over memory less than a sum of all.
    kl = -0.5 * (1.0 + log_var.mean() - mu.square().mean() - log_var.exp().mean())
    if drop_above is not None and float(kl.detach()) > drop_above:
        return kl.new_zeros(())
    return kl


def displacement_nll(squared: Tensor, log_var: Tensor) -> Tensor:
    """Mean over batch and dimensions of 1/2 [squared / sigma^2 + log sigma^2].

    Parameters
    ----------
    squared : Tensor, shape (n, dim)
        (mu_view - mu_clean)^2 of the view at hand and its clean original; detached here.
    log_var : Tensor, shape (n, dim)
        Predicted for the view at hand.

    Returns
    -------
    Tensor, scalar
    """
    # The floor of sigma^2 itself, or the likelihood would ask for less than the head can give.
    target = squared.detach() + FLOOR
    return 0.5 * (target * torch.exp(-log_var) + log_var).mean()


def sum_nll(squared: Tensor, log_var: Tensor) -> Tensor:
    """Mean over the batch of m / S + log S, with m and S the sums of squares and of sigma^2.

    The likelihood of an exponential variable of mean S. Dimension by dimension the many narrow
    directions outvote the few wide ones that make up nearly all of the sum, and the sum is what
    is shown.

    Parameters
    ----------
    squared, log_var : Tensor, shape (n, dim)
        As in `displacement_nll`.

    Returns
    -------
    Tensor, scalar
    """
    moved = squared.detach().sum(1) + squared.shape[1] * FLOOR
    total = torch.exp(log_var).sum(1)
    return (moved / total + torch.log(total)).mean()


def lost_share(
    clean: tuple[Tensor, Tensor], degraded: tuple[Tensor, Tensor], chunk_n: int
) -> Tensor:
    """How much of what the heart wrote in each lead and chunk is lost in the view.

    Noise power over (noise power + `NOISE_SHARE` of the lead's own power), the noise being the
    difference between view and original, averaged over about a second so that a flat lead is
    lost between its beats, too. Where the view is masked and the original is not, all is lost.

    Parameters
    ----------
    clean, degraded : (scaled, valid), each of shape (n, 12, n_times)
    chunk_n : int
        Samples of a chunk.

    Returns
    -------
    Tensor, shape (n, 12, n_times // chunk_n), 0..1
    """
    (signal, measured), (view, visible) = clean, degraded
    n, n_leads, n_times = signal.shape
    chunks = (n, n_leads, n_times // chunk_n, chunk_n)
    noise = ((view - signal) * visible * measured).square().reshape(chunks).mean(-1)
    reach = _SMOOTH_CHUNKS // 2
    # Over five chunks, about a second: longer than the pause between two beats.
    noise = functional.avg_pool1d(
        functional.pad(noise, (reach, reach), mode="replicate"), _SMOOTH_CHUNKS, 1
    )
    # Of the lead over the whole window, shape (n, 12).
    power = signal.square().sum(-1) / measured.sum(-1).clamp_min(1.0)
    noisy = noise / (noise + NOISE_SHARE * power.clamp_min(POWER_FLOOR)[..., None])
    hidden = (measured * (1.0 - visible)).reshape(chunks).mean(-1)
    return torch.maximum(noisy, hidden)


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
