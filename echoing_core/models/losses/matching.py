"""The three objectives on pairs of Gaussians, in Gram form.

``pcmepp`` is PCME++'s matching loss as released (Chun, ICLR 2024, eq. 4-6): binary cross
entropy of -a*csd + b over all pairs, pseudo-positives, and a variational information
bottleneck. ``csd_infonce`` is the EchoingECG paper's wording, CSD inside a softmax.
``infonce`` is the plain cosine baseline. All take a match matrix rather than assuming the
diagonal: reports with the same text are the same match, not negatives of each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from echoing_core.errors import ConfigError
from echoing_core.metrics.distances import csd
from echoing_core.models.config import LossConfig

LOSS_NAMES = ("pcmepp", "csd_infonce", "infonce")


@dataclass(frozen=True)
class LossTerms:
    """The total and its parts, for the log."""

    total: Tensor
    match: Tensor
    pseudo: Tensor
    vib: Tensor


class MatchingLoss(nn.Module):
    """Loss between a batch of ECGs and a batch of texts.

    Parameters
    ----------
    config : LossConfig
        ``config.name`` is one of `LOSS_NAMES`.
    """

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        if config.name not in LOSS_NAMES:
            raise ConfigError(f"Unknown loss {config.name!r}. Known: {', '.join(LOSS_NAMES)}.")
        self.config = config
        self.scale = nn.Parameter(torch.tensor(float(config.scale_init)))
        self.shift = nn.Parameter(torch.tensor(float(config.shift_init)))

    def forward(
        self, mu_a: Tensor, log_var_a: Tensor, mu_b: Tensor, log_var_b: Tensor, match: Tensor
    ) -> LossTerms:
        """
        Parameters
        ----------
        mu_a, log_var_a : Tensor, shape (n, dim)
            ECGs.
        mu_b, log_var_b : Tensor, shape (m, dim)
            Texts.
        match : Tensor of bool, shape (n, m)
            True where ECG i and text j belong together.
        """
        # At least float32, also under autocast: the squared distance is a difference of near
        # numbers, and a softmax over bfloat16 cosines forgets their third digit.
        mu_a, log_var_a, mu_b, log_var_b = map(_widened, (mu_a, log_var_a, mu_b, log_var_b))
        with torch.autocast(mu_a.device.type, enabled=False):
            if self.config.name == "infonce":
                return self._softmax(self.scale * (mu_a @ mu_b.T), match)
            distance = csd(mu_a, log_var_a, mu_b, log_var_b)
            if self.config.name == "csd_infonce":
                return self._softmax(-self.scale * distance, match)
            return self._pcmepp(distance, match, (mu_a, log_var_a), (mu_b, log_var_b))

    def _softmax(self, logits: Tensor, match: Tensor) -> LossTerms:
        target = match.to(logits.dtype)
        rows = target / target.sum(1, keepdim=True).clamp_min(1.0)
        columns = target / target.sum(0, keepdim=True).clamp_min(1.0)
        forward = -(rows * functional.log_softmax(logits, dim=1)).sum(1).mean()
        backward = -(columns * functional.log_softmax(logits, dim=0)).sum(0).mean()
        total = 0.5 * (forward + backward)
        zero = total.new_zeros(())
        return LossTerms(total, total.detach(), zero, zero)

    def _pcmepp(
        self, distance: Tensor, match: Tensor, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]
    ) -> LossTerms:
        logits = -self.scale * distance + self.shift
        target = match.to(logits.dtype)
        matching = functional.binary_cross_entropy_with_logits(logits, target)
        zero = matching.new_zeros(())
        pseudo = zero
        if self.config.pseudo_positive_weight > 0:
            rows = functional.binary_cross_entropy_with_logits(
                logits, pseudo_positives(logits, match)
            )
            columns = functional.binary_cross_entropy_with_logits(
                logits.T, pseudo_positives(logits.T, match.T)
            )
            pseudo = self.config.pseudo_positive_weight * (rows + columns)
        vib = zero
        if self.config.vib_weight > 0:
            vib = self.config.vib_weight * (
                information_bottleneck(*a, drop_above=self.config.vib_drop_above)
                + information_bottleneck(*b, drop_above=self.config.vib_drop_above)
            )
        # Twice: the released form adds the matching term once for either direction.
        total = 2.0 * matching + pseudo + vib
        return LossTerms(total, matching.detach(), pseudo.detach(), vib.detach())


def pseudo_positives(logits: Tensor, match: Tensor) -> Tensor:
    """1 where a pair looks at least as matching as the row's own weakest match (PCME++ 3.3).

    Shape (n, m), no gradient. A row without any match has no pseudo-positives.
    """
    with torch.no_grad():
        own = torch.where(match, logits, torch.full_like(logits, float("inf"))).amin(1)
        return (match | (logits >= own[:, None])).to(logits.dtype)


def information_bottleneck(
    mu: Tensor, log_var: Tensor, *, drop_above: float | None = None
) -> Tensor:
    """KL of N(mu, sigma^2) from N(0, 1), averaged over batch and dimensions.

    With v = log sigma^2 this is the exact KL of a diagonal Gaussian up to the average over
    dimensions, which follows PCME++.

    Parameters
    ----------
    drop_above : float, optional
        A larger value counts as 0, without gradient, as the released code has it (1e4).
    """
    kl = -0.5 * (1.0 + log_var - mu.square() - log_var.exp()).mean()
    if drop_above is not None and float(kl.detach()) > drop_above:
        return kl.new_zeros(())
    return kl


def _widened(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
