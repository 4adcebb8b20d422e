"""The encoders of ECG-FM, MELP and Echo2ECG: their published sizes, and what they are blind to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from echoing_core.errors import ConfigError
from echoing_core.models.otis import Echo2Ecg, OtisEncoder, StudyPooling, time_positions
from echoing_core.models.wav2vec2 import (
    GumbelQuantiser,
    MelpTower,
    Wav2Vec2,
    n_frames,
)
from tests.published_keys import n_parameters, published_shapes, shapes

# --- published sizes --------------------------------------------------------------------------


def test_ecg_fm_has_the_published_weights() -> None:
    with torch.device("meta"):
        network = Wav2Vec2(pretraining=True)
    assert n_parameters(network) == 90_883_072
    assert n_parameters(network.encoder.layers[0]) == 7_087_872
    assert shapes(network) == published_shapes("keys_ecgfm_pretrained.tsv")


def test_melps_tower_has_the_published_weights() -> None:
    with torch.device("meta"):
        tower = MelpTower(Wav2Vec2(8, pretraining=True), full=True)
    assert n_parameters(tower.ecg_encoder) == 62_531_584
    assert n_parameters(tower) == 65_593_345
    prefix = "ecg_encoder."
    listed = {
        name.removeprefix(prefix): shape
        for name, shape in published_shapes("keys_melp.tsv").items()
        if name.startswith(prefix)
    }
    assert shapes(tower) == listed


def test_echo2ecg_has_the_published_weights() -> None:
    with torch.device("meta"):
        whole = Echo2Ecg(OtisEncoder())
    assert n_parameters(whole.ecg_encoder) == 7_123_680
    assert n_parameters(whole) == 12_470_368
    assert len(shapes(whole.ecg_encoder)) == 199
    assert shapes(whole) == published_shapes("keys_echo2ecg.tsv")


@pytest.mark.parametrize(("n", "frames"), [(2500, 156), (5000, 312), (1250, 78), (1000, 62)])
def test_frames_by_samples(n: int, frames: int) -> None:
    with torch.device("meta"):
        out = Wav2Vec2(layers=1)(torch.zeros(1, 12, n))
    assert out.shape == (1, frames, 768) and n_frames(n) == frames


def test_shapes_of_pooled_frames_and_tokens() -> None:
    with torch.device("meta"):
        tower = MelpTower(Wav2Vec2(layers=1), full=True)
        frames = tower.ecg_encoder(torch.zeros(2, 12, 5000))
        assert tower.beats(frames).shape == (2, 12, 256)
        assert tower.caption_memory(frames).shape == (2, 128, 768)
        whole = Echo2Ecg(OtisEncoder(layers=1))
        assert whole.ecg_encoder(torch.zeros(2, 12, 1008)).shape == (2, 505, 192)
        assert whole.ecg(torch.zeros(2, 12, 1008)).shape == (2, 512)


@pytest.mark.parametrize(
    "shape", [(1, 12, 1000), (1, 12, 1032), (1, 8, 1008)], ids=["short", "long", "leads"]
)
def test_otis_says_what_it_cannot_read(shape: tuple[int, ...]) -> None:
    with torch.device("meta"), pytest.raises(ConfigError, match="exactly 1,008 samples"):
        OtisEncoder(layers=1)(torch.zeros(shape))


def test_networks_that_cannot_be_built_are_refused() -> None:
    with pytest.raises(ConfigError, match="divided by the number of heads and by 16"):
        Wav2Vec2(1, width=40, heads=4)
    with pytest.raises(ConfigError, match="multiple of 24 samples"):
        OtisEncoder(1, n_times=1000)
    with pytest.raises(ConfigError, match="12 leads and at least 16 samples"):
        Wav2Vec2(1, width=16, heads=1, stem_width=4)(torch.zeros(1, 12, 15))


# --- wav2vec 2.0 ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Wav2Vec2:
    torch.manual_seed(0)
    return Wav2Vec2(2, width=32, heads=2, ffn=48, stem_width=16, pretraining=True).eval()


@pytest.fixture(scope="module")
def ecgs() -> Tensor:
    # Smooth, as an ECG of 500 Hz is, and about as large in millivolts.
    noise = torch.randn(8, 12, 2500, generator=torch.Generator().manual_seed(1))
    return functional.avg_pool1d(noise, 9, stride=1, padding=4)


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_stem_is_blind_to_one_gain_and_to_constants(small: Wav2Vec2, ecgs: Tensor) -> None:
    with torch.inference_mode():
        plain = small(ecgs)
        constants = torch.linspace(-2, 2, 12)[:, None]
        one_lead = torch.ones(12, 1)
        one_lead[3] = 2.0
        assert relative(small(2 * ecgs), plain) <= 1e-3
        assert relative(small(ecgs + constants), plain) <= 1e-4
        assert relative(small(ecgs * one_lead), plain) > 1e-2


def test_an_ecg_is_read_alike_alone_and_among_others(small: Wav2Vec2, ecgs: Tensor) -> None:
    with torch.inference_mode():
        together = small(ecgs)
        alone = torch.cat([small(ecg[None]) for ecg in ecgs])
    assert (together - alone).abs().max() <= 1e-5


def test_a_layer_is_attention_and_mlp_as_written_out(small: Wav2Vec2) -> None:
    x = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(2))
    layer = small.encoder.layers[0]
    q, k, v = (part(x)[0] for part in (layer.self_attn.q_proj, layer.self_attn.k_proj,
                                       layer.self_attn.v_proj))  # fmt: skip
    heads = []
    for head in (slice(0, 16), slice(16, 32)):
        weights = torch.softmax(q[:, head] @ k[:, head].T / math.sqrt(16), dim=-1)
        heads.append(weights @ v[:, head])
    attended = layer.self_attn.out_proj(torch.cat(heads, dim=-1))
    y = layer.self_attn_layer_norm(x[0] + attended)
    wanted = layer.final_layer_norm(y + layer.fc2(functional.gelu(layer.fc1(y))))
    assert_close(layer(x)[0], wanted, atol=1e-5, rtol=1e-5)


def test_positions_come_from_a_kernel_with_a_length_for_each_of_its_places() -> None:
    torch.manual_seed(3)
    positions = Wav2Vec2(1, width=16, heads=1, stem_width=4).conv_pos
    convolution = positions.pos_conv[0]
    stored = convolution.parametrizations.weight
    with torch.no_grad():
        stored.original0.copy_(torch.linspace(0.1, 2, 128)[None, None])
    direction = stored.original1
    length = direction.pow(2).sum((0, 1), keepdim=True).sqrt()
    kernel = direction / length * stored.original0
    x = torch.randn(1, 20, 16)
    wanted = functional.conv1d(x.transpose(1, 2), kernel, convolution.bias, padding=64, groups=16)
    assert_close(positions(x), functional.gelu(wanted[..., :20]).transpose(1, 2))


def test_masked_frames_are_replaced_by_the_masks_vector(small: Wav2Vec2, ecgs: Tensor) -> None:
    with torch.inference_mode():
        features = small.features(ecgs[:1])
        masked = torch.zeros(features.shape[:2], dtype=torch.bool)
        masked[:, 40:50] = True
        other = features.clone()
        other[:, 40:50] += 1.0
        assert_close(small.states(features, masked), small.states(other, masked))
        assert relative(small.states(features, masked), small.states(features)) > 1e-3


def test_quantised_frames_are_pairs_of_codes() -> None:
    torch.manual_seed(4)
    quantiser = GumbelQuantiser(8).eval()
    frames = torch.randn(2, 6, 8)
    quantised, perplexity = quantiser(frames, 2.0)
    logits = quantiser.weight_proj(frames)[1, 3]
    first, second = int(logits[:320].argmax()), int(logits[320:].argmax())
    wanted = torch.cat([quantiser.vars[0, first], quantiser.vars[0, 320 + second]])
    assert_close(quantised[1, 3], wanted)
    assert 2 < float(perplexity.detach()) < 640
    with torch.no_grad():
        quantiser.weight_proj.weight.zero_()
        quantiser.weight_proj.bias.zero_()
    # All codes alike: as many as there are.
    assert float(quantiser(frames, 2.0)[1].detach()) == pytest.approx(640, rel=1e-3)


def test_beats_are_pooled_with_queries(small: Wav2Vec2, ecgs: Tensor) -> None:
    torch.manual_seed(5)
    tower = MelpTower(small, width=32, beats=3, beat_width=8).eval()
    with torch.inference_mode():
        frames = small(ecgs[:2])
        beats = tower.beats(frames)
        assert beats.shape == (2, 3, 8)
        assert_close(tower(ecgs[:2]), beats.mean(1))
        # Attention has no places of its own: frames in another order are the same.
        assert_close(tower.beats(frames.flip(1)), beats, atol=1e-5, rtol=1e-4)


# --- OTiS and Echo2ECG ------------------------------------------------------------------------


def test_places_in_time_are_sines_then_cosines() -> None:
    rows = time_positions(5, 8)[0]
    assert rows.shape == (6, 8) and not rows[0].any()
    for place in range(5):
        for k in range(4):
            angle = place * 10_000 ** (-k / 4)
            assert float(rows[place + 1, k]) == pytest.approx(math.sin(angle), abs=1e-6)
            assert float(rows[place + 1, 4 + k]) == pytest.approx(math.cos(angle), abs=1e-6)


def test_tokens_go_lead_by_lead_with_time_above_and_lead_below() -> None:
    torch.manual_seed(6)
    encoder = OtisEncoder(layers=0, width=8, heads=1, n_times=72).eval()
    x = torch.randn(1, 12, 72)
    tokens = encoder(x)[0]
    assert tokens.shape == (1 + 12 * 3, 8)
    assert_close(tokens[0], encoder.cls_token[0, 0])
    lead, place = 4, 2
    patch = x[0, lead, place * 24 : (place + 1) * 24]
    embedding = encoder.patch_embed
    linear = embedding.proj.weight[:, 0, 0] @ patch + embedding.proj.bias
    wanted = functional.gelu(embedding.norm(linear))
    wanted = wanted + torch.cat(
        [encoder.pos_embed_y.weight[lead + 1], encoder.pos_embed_x[0, place + 1]]
    )
    assert_close(tokens[1 + lead * 3 + place], wanted)


def test_branches_are_left_out_in_training_alone() -> None:
    torch.manual_seed(7)
    encoder = OtisEncoder(2, width=8, heads=1, ffn=8, n_times=24, drop_path=0.9)
    x = torch.randn(64, 12, 24)
    assert_close(encoder.eval()(x), encoder(x))
    out = encoder.train()(x[:1].expand(64, -1, -1))
    assert out.std(0).max() > 1e-3


@pytest.fixture(scope="module")
def pooling() -> StudyPooling:
    torch.manual_seed(8)
    return StudyPooling(32, heads=4).eval()


def test_a_study_is_pooled_alike_in_any_order_and_whatever_is_missing(
    pooling: StudyPooling,
) -> None:
    views = torch.randn(2, 9, 32)
    missing = torch.zeros(2, 9, dtype=torch.bool)
    missing[0, 5:], missing[1, ::3] = True, True
    plain = pooling(views, missing)
    order = torch.randperm(9)
    assert (pooling(views[:, order], missing[:, order]) - plain).abs().max() <= 1e-6
    other = views.clone()
    other[missing] = float("nan")
    assert (pooling(other, missing) - plain).abs().max() <= 1e-6
    assert (pooling(views[:1, :5], missing[:1, :5]) - plain[:1]).abs().max() <= 1e-6


def test_one_view_is_itself_as_the_attention_maps_it(pooling: StudyPooling) -> None:
    view = torch.randn(1, 1, 32)
    attention = pooling.aggregator.mha
    value = functional.linear(view[0], attention.in_proj_weight[64:], attention.in_proj_bias[64:])
    wanted = attention.out_proj(value)
    assert_close(pooling(view, torch.zeros(1, 1, dtype=torch.bool)), wanted)


def test_a_study_without_views_is_refused(pooling: StudyPooling) -> None:
    with pytest.raises(ConfigError, match="without a single view"):
        pooling(torch.zeros(1, 2, 32), torch.ones(1, 2, dtype=torch.bool))


def test_missing_views_leave_no_trace_in_gradients() -> None:
    torch.manual_seed(9)
    whole = Echo2Ecg(
        OtisEncoder(1, 8, 1, 8, 24), width=8, view_width=6, study_width=8, heads=2, dim=4
    )
    views = torch.randn(1, 3, 6)
    views[0, 2] = float("nan")
    whole.study(views, torch.tensor([[False, False, True]])).sum().backward()
    gradient = whole.echo_projection_for_agg.weight.grad
    assert gradient is not None and bool(torch.isfinite(gradient).all())
