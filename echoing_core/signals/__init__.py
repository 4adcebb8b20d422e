"""From a `Recording` to a `StandardEcg` and its windows. This room knows no files."""

from echoing_core.signals.scaling import LeadScaler
from echoing_core.signals.standard import filled_to_window, standardise
from echoing_core.signals.windows import cut_windows, stride_to_samples, window_starts

__all__ = [
    "LeadScaler",
    "cut_windows",
    "filled_to_window",
    "standardise",
    "stride_to_samples",
    "window_starts",
]
