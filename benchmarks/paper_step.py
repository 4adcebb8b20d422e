"""One training step of the `paper` preset at full size: time and peak memory.

BERT-base's shape with random weights, 126 M ECG weights, batch 128, reports of 244 tokens, 256
dimensions, and an echo batch of 128 beside it (the joint objective). Nothing is downloaded and
nothing learnt is kept. On a machine without GPU the text model's activations are computed twice,
or they alone would not fit into 24 GB.

    python benchmarks/paper_step.py
    python benchmarks/paper_step.py --batch 32
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import time

import numpy as np
import torch

from echoing_core.models.encoders import build_encoder
from echoing_core.training.batches import Batches, EchoBatch, StepBatch, TextBatch
from echoing_core.training.distributed import World
from echoing_core.training.settings import RunConfig, load_preset
from echoing_core.training.trainer import Trainer


class MadeUp(Batches):
    """Numbers of the right shape instead of data."""

    per_epoch = 1

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.echo = True  # type: ignore[assignment]

    def at(self, number: int) -> StepBatch:
        """Random ECGs, tokens and teacher Gaussians."""
        n, model = self.config.batch_size, self.config.model
        rng = torch.Generator().manual_seed(number)
        eye = torch.eye(n, dtype=torch.bool)
        ids = torch.randint(1000, 28000, (n, model.released_text.max_tokens), generator=rng)
        mu = torch.nn.functional.normalize(torch.randn(n, model.dim, generator=rng), dim=-1)
        window = (n, 12, 1000)
        text = TextBatch(
            torch.randn(window, generator=rng),
            torch.ones(window),
            tuple(str(i) for i in range(n)),
            ids,
            torch.ones_like(ids),
            eye,
            torch.arange(n),
            torch.full((n,), -1),
            number,
        )
        echo = EchoBatch(
            torch.randn(window, generator=rng),
            torch.ones(window),
            mu,
            torch.full((n, model.dim), -6.0),
            eye,
        )
        return StepBatch(text, echo)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1)
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    config = dataclasses.replace(
        load_preset("paper"), steps=10, batch_size=arguments.batch, recompute_text=not on_gpu
    )
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.model)
    world = World(device=torch.device("cuda" if on_gpu else "cpu"))
    trainer = Trainer(encoder, MadeUp(config), config, world=world)  # type: ignore[arg-type]
    n_weights = sum(p.numel() for p in encoder.parameters())
    print(f"{n_weights:,} weights, batch {config.batch_size}, {world.device.type}")
    for number in range(arguments.steps):
        batch = trainer.batches.at(number)
        started = time.monotonic()
        values = trainer.step([batch])
        if on_gpu:
            torch.cuda.synchronize()
        seconds = time.monotonic() - started
        peak = (
            torch.cuda.max_memory_allocated() / 2**30
            if on_gpu
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        )
        shown = {name: round(value, 4) for name, value in values.items()}
        print(f"step {number}: {seconds:.1f} s, peak {peak:.1f} GiB, {shown}")
    assert np.isfinite(values["loss"])


if __name__ == "__main__":
    main()
