"""Window tracks with percentiles of one's choice."""

from __future__ import annotations

import numpy as np

from echoing_core.records import GaussianEmbedding, WindowTrack


def track_of(percentile: list[float], start_s: list[float] | None = None) -> WindowTrack:
    n = len(percentile)
    values = np.array(percentile, dtype=np.float64)
    by_lead = np.zeros((n, 12), dtype=np.float32)
    by_lead[:, 6] = values
    return WindowTrack(
        start_s=np.arange(n) * 10.0 if start_s is None else np.array(start_s),
        embedding=GaussianEmbedding(np.zeros((n, 2), np.float32), np.zeros((n, 2), np.float32)),
        uncertainty=values,
        percentile=values,
        valid_fraction=np.ones((n, 12)),
        by_lead=by_lead,
        novelty=None,
        window_s=10.0,
        stride_s=10.0,
    )
