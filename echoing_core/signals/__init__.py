"""From a `Recording` to a `StandardEcg` and its windows. This room knows no files."""

from echoing_core.signals.scaling import LeadScaler
from echoing_core.signals.standard import standardise
from echoing_core.signals.windows import cut_windows, stride_to_samples, window_starts

__all__ = ["LeadScaler", "cut_windows", "standardise", "stride_to_samples", "window_starts"]
