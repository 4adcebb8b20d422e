"""The published encoders: keys, shapes, pooling; what they must not depend on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echoing_core.config import from_mapping, to_mapping
from echoing_core.embed.encode import encode_batch, encode_batch_terms, encode_dense_terms
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.config import ModelConfig
from echoing_core.models.encoders import build_ecg_encoder, build_encoder
from echoing_core.models.foreign import published_name
from echoing_core.models.released import (
    LEAD_ORDERS,
    GeneralisedPooling,
    ReleasedDualEncoder,
    position_encoding,
)
from echoing_core.progress import Progress
from echoing_core.records import LEADS, StandardEcg
from echoing_core.signals.scaling import LeadScaler
from echoing_core.uncertainty.attribution import attribute_windows
from tests.released_model import CONFIG

FULL = ModelConfig(architecture="released", dim=512, log_var_bias=0.0)
SCALER = LeadScaler((0.0,) * 12, (0.3,) * 12)


@pytest.fixture(scope="module")
def full() -> ReleasedDualEncoder:
    """The full size without a single number."""
    with torch.device("meta"):
        encoder = build_encoder(FULL)
    assert isinstance(encoder, ReleasedDualEncoder)
    return encoder


@pytest.fixture(scope="module")
def small() -> ReleasedDualEncoder:
    torch.manual_seed(0)
    encoder = build_encoder(CONFIG)
    assert isinstance(encoder, ReleasedDualEncoder)
    return encoder.eval()


def test_keys_and_shapes_are_the_published_ones(full: ReleasedDualEncoder) -> None:
    listing = Path(__file__).resolve().parents[4] / "shared/facts/echoingecg_state_dict_keys.tsv"
    if not listing.is_file():
        pytest.skip("the list of published keys is not beside this checkout")
    with listing.open(encoding="utf-8") as file:
        listed = {name: (shape, kind) for name, shape, kind in csv.reader(file, delimiter="\t")}
    ours = {
        published_name(name): (str(tuple(value.shape)), str(value.dtype))
        for name, value in full.state_dict().items()
    }
    assert ours == listed


def test_counts_are_the_published_ones(full: ReleasedDualEncoder) -> None:
    names = list(full.state_dict())
    assert len(names) == 669
    assert sum(name.startswith("ecg.") for name in names) == 448
    assert sum(p.numel() for p in full.ecg.parameters()) == 126_642_944
    assert sum(p.numel() for p in full.text.parameters()) == 109_123_136
    assert sum(p.numel() for p in full.text.backbone.parameters()) == 108_310_272


@pytest.mark.slow
def test_frames_of_any_length_at_full_width(full: ReleasedDualEncoder) -> None:
    for n_times, n_frames in (
        (500, 32),
        (999, 63),
        (1000, 63),
        (1024, 64),
        (1500, 94),
        (5000, 313),
    ):
        with torch.device("meta"):
            frames = full.ecg.features(torch.empty(2, 12, n_times))
        assert frames.shape == (2, n_frames, 1536)


def test_receptive_field_is_nearly_the_window(small: ReleasedDualEncoder) -> None:
    x = torch.randn(1, 12, 3000, requires_grad=True)
    small.ecg.features(x)[0, 90].sum().backward()
    assert x.grad is not None
    touched = torch.nonzero(x.grad.abs().sum((0, 1)))
    # Rounded gradients through 67 convolutions may vanish at the very ends.
    assert 900 < int(touched.max() - touched.min()) + 1 <= 995


def test_means_are_unit_and_batches_do_not_matter(small: ReleasedDualEncoder) -> None:
    x = torch.randn(5, 12, 1000)
    with torch.inference_mode():
        mu, log_var = small.ecg(x, torch.ones_like(x))
        alone = [small.ecg(x[i : i + 1], x[i : i + 1]) for i in range(5)]
    assert_close(mu.norm(dim=1), torch.ones(5), atol=1e-6, rtol=0)
    assert_close(mu, torch.cat([m for m, _ in alone]), atol=1e-6, rtol=0)
    assert_close(log_var, torch.cat([v for _, v in alone]), atol=1e-5, rtol=0)


def test_texts_do_not_depend_on_their_neighbours(small: ReleasedDualEncoder) -> None:
    ids = torch.randint(5, CONFIG.released_text.vocab_size, (3, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    with torch.inference_mode():
        mu, log_var = small.text(ids, mask)
        short = small.text(ids[1:2, :7], mask[1:2, :7])
        states = small.text.states(ids, mask)
        again = small.text.from_states(states, mask)
    assert_close(mu.norm(dim=1), torch.ones(3), atol=1e-6, rtol=0)
    assert_close((mu[1:2], log_var[1:2]), short, atol=1e-5, rtol=0)
    assert_close((mu, log_var), again, atol=0, rtol=0)


def test_log_variance_starts_where_the_configuration_says() -> None:
    for bias in (0.0, -7.0):
        torch.manual_seed(0)
        encoder = build_encoder(
            from_mapping(ModelConfig, CONFIG.settings() | {"log_var_bias": bias})
        )
        with torch.inference_mode():
            _, log_var = encoder.eval().ecg(torch.randn(2, 12, 1000), torch.ones(2, 12, 1000))
        assert abs(float(log_var.mean()) - bias) < 0.5


# --- pooling ---------------------------------------------------------------------------------


def slow_pooling(pool: GeneralisedPooling, features: Tensor) -> Tensor:
    """One sequence, item by item: the two directions, their mean, and one channel at a time."""
    n, width = len(features), pool.width
    gru = pool.gru

    def direction(order: list[int], suffix: str) -> dict[int, Tensor]:
        w_in, w_state = (getattr(gru, f"weight_{k}_l0{suffix}") for k in ("ih", "hh"))
        b_in, b_state = (getattr(gru, f"bias_{k}_l0{suffix}") for k in ("ih", "hh"))
        state, out = torch.zeros(width), {}
        for k in order:
            a = w_in @ position_encoding(n, width)[k] + b_in
            b = w_state @ state + b_state
            reset = torch.sigmoid(a[:width] + b[:width])
            keep = torch.sigmoid(a[width : 2 * width] + b[width : 2 * width])
            new = torch.tanh(a[2 * width :] + reset * b[2 * width :])
            state = (1 - keep) * new + keep * state
            out[k] = state
        return out

    forward = direction(list(range(n)), "")
    backward = direction(list(range(n))[::-1], "_reverse")
    scores = torch.stack([pool.linear.weight[0] @ (forward[k] + backward[k]) / 2 for k in range(n)])
    weights = torch.exp(scores / 0.1) / torch.exp(scores / 0.1).sum()
    columns = []
    for channel in features.T:
        ranked = sorted(channel.tolist(), reverse=True)
        columns.append(sum(w * value for w, value in zip(weights, ranked, strict=True)))
    return torch.stack(columns)


@pytest.fixture
def pool() -> GeneralisedPooling:
    torch.manual_seed(1)
    return GeneralisedPooling().requires_grad_(False)


def test_pooling_equals_a_slow_direct_version(pool: GeneralisedPooling) -> None:
    features = torch.randn(7, 3)
    assert_close(pool(features[None])[0], slow_pooling(pool, features), atol=1e-5, rtol=0)


def test_pooling_worked_by_hand(pool: GeneralisedPooling) -> None:
    # With a zero score the weights are equal: the mean. Channel 1: (3 + 1 + 2) / 3 = 2.
    pool.linear.weight.zero_()
    features = torch.tensor([[[3.0, -1.0], [1.0, 0.0], [2.0, 4.0]]])
    assert_close(pool(features), torch.tensor([[2.0, 1.0]]))
    # Two real items of three: (3 + 1) / 2 = 2 and (-1 + 0) / 2 = -0.5, whatever the third is.
    mask = torch.tensor([[1, 1, 0]])
    assert_close(pool(features, mask), torch.tensor([[2.0, -0.5]]))


def test_position_encoding_worked_by_hand() -> None:
    table = position_encoding(2, 4)
    # Position 0: sin 0, cos 0. Position 1: rates 1 and 10000 ** -0.5 = 0.01.
    assert_close(table[0], torch.tensor([0.0, 1.0, 0.0, 1.0]))
    assert_close(table[1], torch.tensor([0.841471, 0.540302, 0.0099998, 0.99995]))


def test_pooling_weights_depend_on_the_length_alone(pool: GeneralisedPooling) -> None:
    weights = pool.weights(torch.tensor([63, 63, 5]))
    assert_close(weights[0], weights[1], atol=0, rtol=0)
    assert_close(weights.sum(1), torch.ones(3))
    assert_close(weights[2, :5], pool.weights(torch.tensor([5]))[0])
    assert not weights[2, 5:].any()


def test_pooling_knows_no_order_and_no_padding(pool: GeneralisedPooling) -> None:
    features = torch.randn(2, 9, 4)
    shuffled = features[:, torch.randperm(9)]
    assert_close(pool(features), pool(shuffled), atol=1e-6, rtol=0)
    padded = torch.cat([features, 100 * torch.randn(2, 6, 4)], dim=1)
    mask = torch.cat([torch.ones(2, 9), torch.zeros(2, 6)], dim=1).long()
    assert_close(pool(padded, mask), pool(features), atol=1e-5, rtol=0)


# --- around them -----------------------------------------------------------------------------


def test_leads_reach_the_network_in_its_own_order(small: ReleasedDualEncoder) -> None:
    assert LEAD_ORDERS["mimic"][4:6] == ("aVF", "aVL")
    assert sorted(LEAD_ORDERS["mimic"]) == sorted(LEADS)
    mimic = build_encoder(
        from_mapping(
            ModelConfig,
            CONFIG.settings() | {"released_ecg": {"init_dim": 8, "lead_order": "mimic"}},
        )
    ).eval()
    mimic.load_state_dict(small.state_dict())
    x = torch.randn(1, 12, 1000)
    swapped = x[:, [0, 1, 2, 3, 5, 4, *range(6, 12)]]
    with torch.inference_mode():
        assert_close(mimic.ecg(x, x), small.ecg(swapped, x), atol=0, rtol=0)
        assert not torch.allclose(mimic.ecg(x, x)[0], small.ecg(x, x)[0])


def test_windows_go_in_batches_and_have_no_parts(small: ReleasedDualEncoder) -> None:
    signal = np.random.default_rng(0).normal(0, 0.3, (12, 4000)).astype(np.float32)
    ecg = StandardEcg(signal, np.ones(signal.shape, dtype=np.bool_), ("measured",) * 12, "r")
    starts = np.arange(0, 3001, 100)
    told: list[tuple[int, int]] = []
    parts = encode_dense_terms(
        small.ecg, SCALER, ecg, starts, progress=Progress(lambda _, done, n: told.append((done, n)))
    )
    cut = np.stack([signal[:, start : start + 1000] for start in starts])
    single = encode_batch(small.ecg, SCALER, cut, np.ones(cut.shape, dtype=np.bool_))
    np.testing.assert_allclose(parts.embedding.mu, single.mu, atol=1e-6)
    assert told == [(16, 31), (31, 31)]
    assert parts.by_lead is None and parts.novelty is None and parts.rest is None
    empty = encode_batch_terms(small.ecg, SCALER, cut[:0], cut[:0] > 0)
    assert empty.embedding.mu.shape == (0, CONFIG.dim)


def test_parts_by_lead_are_refused_with_a_sentence(small: ReleasedDualEncoder) -> None:
    signal = np.zeros((1, 12, 1000), dtype=np.float32)
    with pytest.raises(CheckpointError, match="does not tell which leads"):
        attribute_windows(small.ecg, SCALER, signal, signal == 0)


def test_configurations_keep_to_their_architecture() -> None:
    compact = ModelConfig()
    assert set(compact.settings()) == {"dim", "log_var_bias", "ecg", "text"}
    assert from_mapping(ModelConfig, compact.settings()) == compact
    assert set(FULL.settings()) == {
        "dim", "log_var_bias", "architecture", "released_ecg", "released_text",
    }  # fmt: skip
    assert from_mapping(ModelConfig, FULL.settings()) == FULL
    assert from_mapping(ModelConfig, to_mapping(FULL)) == FULL
    with pytest.raises(ConfigError, match="no architecture 'large'"):
        from_mapping(ModelConfig, {"architecture": "large"})
    with pytest.raises(ConfigError, match="no lead order"):
        build_ecg_encoder(
            from_mapping(
                ModelConfig, {"architecture": "released", "released_ecg": {"lead_order": "any"}}
            )
        )


@pytest.mark.slow
def test_a_bert_is_taken_from_a_folder_of_the_right_size(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    sizes = CONFIG.released_text
    theirs = BertModel(
        BertConfig(
            vocab_size=sizes.vocab_size,
            hidden_size=sizes.hidden,
            num_hidden_layers=sizes.n_layers,
            num_attention_heads=sizes.n_heads,
            intermediate_size=sizes.ffn,
            max_position_embeddings=sizes.n_positions,
        )
    ).eval()
    theirs.save_pretrained(tmp_path / "bert")
    other = build_encoder(CONFIG).eval()
    assert isinstance(other, ReleasedDualEncoder)
    other.text.load_pretrained(str(tmp_path / "bert"))
    # Pooler included, which published files have and nothing reads.
    ours = other.text.backbone.state_dict()
    assert ours.keys() == theirs.state_dict().keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.state_dict().items())
    ids = torch.randint(1, sizes.vocab_size, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(9)[None] < torch.tensor([[9], [4], [1]])).long()
    with torch.inference_mode():
        wanted = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        found = other.text.states(ids, mask)
    torch.testing.assert_close(found[mask.bool()], wanted[mask.bool()], rtol=0, atol=1e-6)
    wider = from_mapping(
        ModelConfig,
        {"architecture": "released", "released_ecg": {"init_dim": 8}}
        | {"released_text": to_mapping(CONFIG.released_text) | {"hidden": 32}},
    )
    larger = build_encoder(wider)
    assert isinstance(larger, ReleasedDualEncoder)
    with pytest.raises(CheckpointError, match="layers of width 16"):
        larger.text.load_pretrained(str(tmp_path / "bert"))


@pytest.mark.slow
def test_without_the_hub_a_bert_by_name_is_a_sentence(small: ReleasedDualEncoder) -> None:
    with pytest.raises(CheckpointError, match="No BERT could be loaded"):
        small.text.load_pretrained("nobody/no-such-bert")
