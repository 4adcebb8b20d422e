"""Objectives: tensors in, scalars out; no models, no data."""

from echoing_core.models.losses.displacement import displacement_nll, lost_share, sum_nll
from echoing_core.models.losses.matching import LOSS_NAMES, LossTerms, MatchingLoss

__all__ = ["LOSS_NAMES", "LossTerms", "MatchingLoss", "displacement_nll", "lost_share", "sum_nll"]
