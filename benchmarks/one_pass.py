"""One pass over a recording against embedding its windows one by one.

    python benchmarks/one_pass.py RECORDING [RECORDING ...]

Prints, per recording and stride, the largest difference of mu and log_var, and how many times
longer the windows take one by one (batches of 128), measured in this one run.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from echoing_core import load_model, read_recording
from echoing_core.embed.encode import encode_batch, encode_dense
from echoing_core.signals import cut_windows, standardise, stride_to_samples, window_starts

STRIDES_S = (0.2, 1.0, 10.0)
MAX_WINDOWS_ONE_BY_ONE = 2000


def main(paths: list[str]) -> None:
    model = load_model()
    encoder, scaler = model.checkpoint.encoder.ecg, model.checkpoint.scaler
    print("| Recording | Stride s | Windows | max abs mu | max abs log_var | Time ratio |")
    print("|---|---|---|---|---|---|")
    for path in paths:
        ecg = standardise(read_recording(path))
        for stride_s in STRIDES_S:
            starts = window_starts(ecg.n_times, 1000, stride_to_samples(stride_s))
            begun = time.perf_counter()
            dense = encode_dense(encoder, scaler, ecg, starts)
            one_pass_s = (time.perf_counter() - begun) / len(starts)
            # Both ends always; in between as many as a patient person waits for.
            n = min(len(starts), MAX_WINDOWS_ONE_BY_ONE)
            chosen = np.unique(np.linspace(0, len(starts) - 1, n).round().astype(int))
            begun = time.perf_counter()
            single = encode_batch(encoder, scaler, *cut_windows(ecg, starts[chosen]))
            single_s = (time.perf_counter() - begun) / len(chosen)
            print(
                f"| {ecg.record_id} | {stride_s:g} | {len(starts)} "
                f"| {np.abs(dense.mu[chosen] - single.mu).max():.1e} "
                f"| {np.abs(dense.log_var[chosen] - single.log_var).max():.1e} "
                f"| {single_s / one_pass_s:.1f} |"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
