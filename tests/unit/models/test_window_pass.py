"""The pass that windows share, against the modules whose numbers it must give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from echoing_core.models.config import BOTH, DISPLACEMENT, MATCHING, EcgEncoderConfig
from echoing_core.models.ecg_encoder import WINDOW_N, CompactEcgEncoder
from echoing_core.models.variance_head import HOP
from echoing_core.models.window_pass import WindowPass, WindowValues

KINDS = {
    DISPLACEMENT: (DISPLACEMENT,),
    MATCHING: (MATCHING,),
    BOTH: (DISPLACEMENT, MATCHING),
    "matching first": (MATCHING, DISPLACEMENT),
}


def _encoder(kinds: tuple[str, ...], clip: float = 8.0) -> CompactEcgEncoder:
    torch.manual_seed(1)
    config = EcgEncoderConfig(
        stem_width=8,
        mid_width=8,
        width=16,
        n_blocks=2,
        dilated_blocks=1,
        n_pool_heads=4,
        clip_scaled=clip,
        variance_width=4,
        variance_hidden=8,
    )
    encoder = CompactEcgEncoder(config, 6, kinds).eval()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            # As if it had been trained: nothing that is 0 or 1 hides a mistake.
            for values, low in ((module.running_mean, -0.5), (module.running_var, 0.5)):
                assert values is not None
                values.uniform_(low, low + 1.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
        if isinstance(module, nn.LayerNorm):
            nn.init.uniform_(module.weight, -1.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return encoder


def _signal(n_times: int) -> tuple[Tensor, Tensor]:
    """A stretch with a rail, a flat lead, a gap and all that lies between, (1, 12, n_times)."""
    scaled = torch.randn(1, 12, n_times, generator=torch.Generator().manual_seed(2))
    valid = torch.ones_like(scaled)
    scaled[0, 2, 300:800], scaled[0, 4] = 400.0, 0.0
    scaled[0, :, 1500:1700], valid[0, :, 1500:1700] = 0.0, 0.0
    return scaled, valid


def _check(encoder: CompactEcgEncoder, got: WindowValues, signal: Tensor, valid: Tensor) -> None:
    """Each window alone, by the modules."""
    maps = encoder.frame_maps(signal, valid)
    trunk = encoder.trunk_of(maps)
    pairs = [
        (got.mu, encoder.mean_from(maps)),
        (got.log_var, encoder.log_var_from(maps)),
        (got.novelty, encoder.novelty(trunk)),
    ]
    terms = None if encoder.variance_head is None else encoder.variance_from(maps)
    if encoder.sigma2 == DISPLACEMENT:
        assert terms is not None and got.cells is not None and got.lost is not None
        pairs += [(got.cells, terms.cells), (got.lost, terms.lost_logit.sigmoid())]
    else:
        assert got.cells is None and got.lost is None
    if len(encoder.sigma2_kinds) == 2:
        assert got.other is not None and terms is not None
        assert encoder.matching_head is not None
        other = terms.log_var if encoder.sigma2 == MATCHING else encoder.matching_head(trunk)
        pairs.append((got.other, other.exp().sum(1)))
    else:
        assert got.other is None
    for mine, expected in pairs:
        torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kinds", KINDS.values(), ids=list(KINDS))
@pytest.mark.parametrize("hops", [range(0, 45, 5), [0, 1, 30, 44], [7]])
def test_windows_of_a_stretch_are_those_of_the_modules(
    kinds: tuple[str, ...], hops: list[int]
) -> None:
    encoder = _encoder(kinds)
    scaled, valid = _signal(WINDOW_N + 44 * HOP)
    with torch.inference_mode():
        shared = WindowPass(encoder)
        firsts = torch.tensor(list(hops))
        got = shared.windows(shared.frames(scaled, valid), firsts, keep_cells=True)
        alone = [
            torch.cat([x[..., h * HOP : h * HOP + WINDOW_N] for h in hops]) for x in (scaled, valid)
        ]
        _check(encoder, got, alone[0], alone[1])


def test_windows_side_by_side_and_more_than_are_worked_on_together() -> None:
    # Another clip than that of the heads of single leads, so both are computed.
    encoder = _encoder((DISPLACEMENT, MATCHING), clip=3.0)
    scaled, valid = (x[..., : 40 * 50].reshape(12, 40, 50) for x in _signal(2000))
    scaled, valid = (x.transpose(0, 1).repeat(1, 1, 20) for x in (scaled, valid))
    with torch.inference_mode():
        shared = WindowPass(encoder)
        got = shared.windows(shared.frames(scaled, valid), None, keep_cells=True)
        _check(encoder, got, scaled, valid)
