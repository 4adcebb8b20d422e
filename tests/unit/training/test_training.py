"""Sampling, augmentation and the two stages, on a very small model and made-up signals."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from echoing_core.config import from_mapping, to_mapping
from echoing_core.errors import ConfigError
from echoing_core.models.config import EcgEncoderConfig, LossConfig, ModelConfig, TextEncoderConfig
from echoing_core.models.encoders import DualEncoder
from echoing_core.models.tokenizer import train_tokenizer
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.augmentation import (
    cut_gap,
    degrade,
    disturb,
    drop_leads,
    lose_contact,
)
from echoing_core.training.batches import Batches, Source, TextBatch, sentences_of
from echoing_core.training.run import TrainedPair, train
from echoing_core.training.settings import (
    OptimiserConfig,
    RunConfig,
    VarianceConfig,
    ViewConfig,
    demo_recipe,
    load_preset,
)
from echoing_core.training.trainer import rate_factor
from echoing_core.training.variance_stage import Sampler, train_variance

SLOW, FAST = "sinus bradycardia", "sinus tachycardia"


def _source(n: int, share: float = 1.0) -> Source:
    """Sine waves: slow ones and fast ones, with the word for each."""
    t = np.arange(1000) / 100
    rate = np.where(np.arange(n) % 2 == 0, 1.0, 6.0)
    phase = np.random.default_rng(0).uniform(0, 6, (n, 12, 1))
    signal = 0.3 * np.sin(2 * np.pi * rate[:, None, None] * t + phase)
    texts = [SLOW if r == 1.0 else FAST for r in rate]
    return Source(
        "sines",
        signal.astype(np.float32),
        np.ones(signal.shape, bool),
        lambda i, _: texts[i],
        share,
    )


def _sampler(*sources: Source) -> Sampler:
    tokenizer = train_tokenizer([SLOW, FAST] * 2, 80, 12)
    scaler = LeadScaler(np.zeros(12), np.full(12, 0.3))
    return Sampler(sources, scaler, tokenizer, np.random.default_rng(0))


def _batches(config: RunConfig, *sources: Source) -> Batches:
    scaler = LeadScaler(np.zeros(12), np.full(12, 0.3))
    tokenizer = train_tokenizer([SLOW, FAST] * 2, 80, 12)
    return Batches(sources, scaler, tokenizer, config)


def _texts(batches: Batches, number: int = 0) -> TextBatch:
    batch = batches.at(number).text
    assert batch is not None
    return batch


def _space(config: RunConfig, *sources: Source, **kwargs: object) -> TrainedPair:
    batches = _batches(config, *sources)
    return train(DualEncoder(config.model), batches, config, **kwargs)  # type: ignore[arg-type]


def _config(steps: int) -> RunConfig:
    model = ModelConfig(
        dim=8,
        ecg=EcgEncoderConfig(
            stem_width=8,
            mid_width=8,
            width=16,
            n_pool_heads=2,
            variance_width=4,
            variance_hidden=16,
            dropout=0.0,
        ),
        text=TextEncoderConfig(
            hidden=16, n_layers=1, n_heads=2, ffn=16, vocab_size=80, max_tokens=12, dropout=0.0
        ),
    )
    return RunConfig(
        seed=20261121,
        steps=steps,
        batch_size=16,
        precision="float32",
        optimiser=OptimiserConfig(
            lr=3e-3, warmup_share=2 / steps, warmup_start=0.5, average_decay=0.995
        ),
        views=ViewConfig(kind="device", corrupt_share=0.4, lead_subset_share=0.25),
        loss=LossConfig("pcmepp"),
        model=model,
        variance=VarianceConfig(
            where_steps=steps, steps=steps, text_steps=steps, batch_size=8, text_batch_size=16
        ),
    )


def _with_views(config: RunConfig, **changes: float) -> RunConfig:
    return dataclasses.replace(config, views=dataclasses.replace(config.views, **changes))  # type: ignore[arg-type]


def test_equal_texts_are_one_column_with_all_their_matches() -> None:
    batch = _texts(_batches(dataclasses.replace(_config(1), batch_size=8), _source(20)))
    assert batch.match.shape == (8, 2)
    assert torch.equal(batch.match.sum(1), torch.ones(8, dtype=torch.int64))
    assert int(batch.match.sum()) == 8


def test_a_part_of_a_report_matches_every_report_that_says_it() -> None:
    reports = ["sinus rhythm. normal ecg.", "sinus rhythm. lbbb. abnormal ecg."]
    plain = _source(2)
    source = Source("s", plain.signal_mv, plain.valid, lambda i, _: reports[i], 1.0)
    config = _with_views(dataclasses.replace(_config(1), batch_size=2), partial_report_share=1.0)
    batches = _batches(config, source)
    both_matched = 0
    for number in range(20):
        batch = _texts(batches, number)
        assert batch.match.any(0).all()
        assert batch.match.any(1).all()
        # Only "sinus rhythm." is said in both reports.
        both_matched += int((batch.match.sum(0) == 2).any())
    assert 0 < both_matched < 20


def test_sentences_keep_numbers_whole() -> None:
    assert sentences_of("lvef 35.5 %. no lvh.") == ["lvef 35.5 %.", "no lvh."]


def test_every_study_is_seen_once_before_any_comes_again() -> None:
    batches = _batches(dataclasses.replace(_config(1), batch_size=5), _source(10))
    seen = [row for number in range(2) for _, row in batches.text_rows(number)]
    assert sorted(seen) == list(range(10))


def test_sources_keep_their_shares() -> None:
    few, many = _source(4, 0.25), _source(40, 0.75)
    drawn = _sampler(few, many)._draw(16)
    assert sum(source is few for source, _ in drawn) == 4


@pytest.mark.slow
def test_the_space_learns_to_tell_slow_from_fast() -> None:
    torch.manual_seed(0)
    # A shorter memory than in earnest: the average must have left its random beginning.
    config = dataclasses.replace(_config(60), batch_size=32)
    config = dataclasses.replace(
        config, optimiser=dataclasses.replace(config.optimiser, average_decay=0.9)
    )
    losses: list[float] = []
    space = _space(config, _source(64), log=lambda _, row: losses.append(row["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    batch = _texts(_batches(_with_views(config, corrupt_share=0.0), _source(64)))
    with torch.inference_mode():
        mu, _ = space.encoder.ecg(batch.scaled, batch.valid)
        text, _ = space.encoder.text(batch.token_ids, batch.token_mask)
    chosen = (mu @ text.T).argmax(1)
    assert (batch.match[torch.arange(32), chosen]).float().mean() > 0.9


@pytest.mark.slow
def test_the_second_stage_leaves_every_angle_between_means() -> None:
    torch.manual_seed(0)
    config = _config(60)
    encoder = DualEncoder(config.model)
    sampler = _sampler(_source(64))
    batch = _texts(_batches(config, _source(64)))

    def cosines() -> torch.Tensor:
        with torch.inference_mode():
            mu, _ = encoder.eval().ecg(batch.scaled, batch.valid)
            text, _ = encoder.text(batch.token_ids, batch.token_mask)
        every = torch.cat([mu, text])
        return every @ every.T

    before, weights = cosines(), {k: v.clone() for k, v in encoder.state_dict().items()}
    rows: list[dict[str, float]] = []
    train_variance(encoder, sampler, config.variance, log=lambda _, row: rows.append(dict(row)))
    assert torch.allclose(cosines(), before, atol=1e-5)
    moved = {k for k, v in encoder.state_dict().items() if not torch.equal(v, weights[k])}
    rotated = ("ecg.mean_head.out.", "text.mean.")
    heads = ("ecg.variance_head.", "text.variance_head.", "ecg.novelty.")
    assert all(key.startswith(rotated + heads) for key in moved)
    for prefix in rotated + heads:
        assert any(key.startswith(prefix) for key in moved)
    for term in ("sum_nll", "where", "text_nll"):
        values = [row[term] for row in rows if term in row]
        assert np.mean(values[-10:]) < np.mean(values[:10])


def test_a_contact_fault_reaches_some_leads_and_stays_in_band() -> None:
    rng = np.random.default_rng(3)
    clean = _source(1).signal_mv[0]
    hit = []
    for _ in range(60):
        faulty = lose_contact(clean, rng)
        assert np.isfinite(faulty).all()
        assert faulty.dtype == np.float32
        hit.append(int((faulty != clean).any(axis=1).sum()))
    assert min(hit) >= 1
    assert min(hit) < 6


def test_garbled_reports_lose_sentences_or_words() -> None:
    report = "sinus rhythm. normal axis. lvef 60 %."
    source = _source(4)
    sampler = _sampler(Source("s", source.signal_mv, source.valid, lambda i, _: report, 1.0))
    left = [sampler._garbled(report) for _ in range(200)]
    assert report in left
    assert any(text in report and text != report for text in left)
    assert any(text not in report for text in left)
    assert all(text for text in left)


@pytest.mark.parametrize("loss", ["pcmepp", "csd_infonce", "infonce"])
def test_same_seed_same_weights(loss: str) -> None:
    def run() -> dict[str, torch.Tensor]:
        torch.manual_seed(4)
        config = dataclasses.replace(_config(3), batch_size=8, loss=LossConfig(loss))
        return _space(config, _source(16)).encoder.state_dict()

    first, second = run(), run()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_dropped_leads_are_masked_and_some_lead_stays() -> None:
    rng = np.random.default_rng(0)
    valid = np.ones((12, 1000), bool)
    kept = [int(drop_leads(valid, rng).any(axis=1).sum()) for _ in range(200)]
    assert min(kept) == 1
    assert max(kept) <= 11


def test_a_gap_hits_all_leads_alike() -> None:
    masked = cut_gap(np.ones((12, 1000), bool), np.random.default_rng(1))
    assert (masked == masked[0]).all()
    assert not masked.all()


def test_disturbed_windows_stay_in_the_filter_s_band() -> None:
    """A step or a rail has passed the 0.5 Hz filter: no lead keeps an offset."""
    rng = np.random.default_rng(2)
    clean = _source(1).signal_mv[0]
    for _ in range(30):
        disturbed = disturb(clean, rng, 1.0)
        scale = disturbed.std(axis=1) + 0.02
        assert (np.abs(disturbed.mean(axis=1)) < 0.5 * scale).all()


def test_no_share_no_change() -> None:
    source = _source(1)
    rng = np.random.default_rng(0)
    before = source.signal_mv[0], source.valid[0]
    after = degrade(*before, rng, corrupt_share=0.0, lead_subset_share=0.0)
    assert after[0] is before[0]
    assert after[1] is before[1]


def test_config_round_trip_and_typos() -> None:
    config = _config(3)
    assert from_mapping(RunConfig, to_mapping(config)) == config
    with pytest.raises(ConfigError, match=r"loss\.nmae"):
        from_mapping(RunConfig, {"loss": {"nmae": "pcmepp"}})
    with pytest.raises(ConfigError, match="steps must be int"):
        from_mapping(RunConfig, {"steps": "many"})


def test_the_demo_recipe_is_its_preset_and_a_short_one_warms_up_as_the_full_one() -> None:
    assert to_mapping(demo_recipe()) == {
        **to_mapping(load_preset("demo")),
        "optimiser": {**to_mapping(load_preset("demo").optimiser), "warmup_share": 82 / 1150},
        # It always has a second stage for sigma^2.
        "means_only": True,
    }
    short = demo_recipe(steps=20, batch_size=32, seed=3, where_steps=4, variance_steps=5)
    assert (short.steps, short.batch_size, short.seed) == (20, 32, 3)
    assert (short.variance.where_steps, short.variance.steps) == (4, 5)
    assert short.variance.text_batch_size == 32
    for step in range(20):
        # 1e-5 at the first step, 1e-3 at the 82nd.
        expected = 0.01 + 0.99 * step / 82
        assert rate_factor(step, short.steps, short.optimiser) == pytest.approx(expected)
        assert rate_factor(step, 1150, demo_recipe().optimiser) == pytest.approx(expected)
