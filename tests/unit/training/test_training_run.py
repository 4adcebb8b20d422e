"""The training run: batches that depend on their number alone, resuming, several processes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echoing_core.config import from_mapping, to_mapping
from echoing_core.errors import CheckpointError, ConfigError, LostProcessError
from echoing_core.progress import Progress
from echoing_core.training import run as run_module
from echoing_core.training.augmentation import raghu_view
from echoing_core.training.batches import Batches, StepBatch
from echoing_core.training.distributed import (
    World,
    _until,
    joined_dropout,
    joined_statistics,
    share_of,
    speaks_for_all,
)
from echoing_core.training.run import flushed_denormals, train
from echoing_core.training.settings import (
    ObjectiveConfig,
    OptimiserConfig,
    RunConfig,
    ViewConfig,
)
from echoing_core.training.text_cache import TextStates
from echoing_core.training.trainer import rate_factor
from tests import tiny_run

ROOT = Path(__file__).resolve().parents[3]


def _run(settings: RunConfig, **kwargs: object) -> dict[str, torch.Tensor]:
    start = tiny_run.trainer(settings, echo=tiny_run.echo_pairs())
    done = train(start.encoder, start.batches, settings, **kwargs)  # type: ignore[arg-type]
    return done.encoder.state_dict()


def _equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


# Batches


def test_a_batch_depends_on_its_number_alone() -> None:
    settings = tiny_run.config(views=ViewConfig(kind="raghu", partial_report_share=0.5))
    first, second = (tiny_run.trainer(settings, echo=tiny_run.echo_pairs()).batches for _ in "ab")
    for number in (7, 0, 3):
        a, b = first.at(number), second.at(number)
        assert a.text is not None and b.text is not None
        assert a.echo is not None and b.echo is not None
        assert torch.equal(a.text.scaled, b.text.scaled)
        assert a.text.texts == b.text.texts
        assert torch.equal(a.echo.scaled, b.echo.scaled)
    assert not torch.equal(first.at(0).text.scaled, first.at(1).text.scaled)  # type: ignore[union-attr]


def test_in_an_epoch_every_row_comes_at_most_once() -> None:
    settings = tiny_run.config(batch_size=10)
    batches = Batches(
        [tiny_run.source(43)],
        tiny_run.trainer(settings).batches.scaler,
        tiny_run.trainer(settings).batches.tokenizer,
        settings,
    )
    assert batches.per_epoch == 4
    for epoch in range(3):
        drawn = Counter(
            row for number in range(4) for _, row in batches.text_rows(4 * epoch + number)
        )
        assert len(drawn) == 40
        assert set(drawn.values()) == {1}
    assert batches.text_rows(0) != batches.text_rows(4)


def test_alternate_batches_hold_one_kind_and_use_each_once_an_epoch() -> None:
    settings = tiny_run.config(
        batch_size=4, objective=ObjectiveConfig(mode="alternate", draw="uniform")
    )
    batches = tiny_run.trainer(settings, echo=tiny_run.echo_pairs(20)).batches
    turns = [batches.turn(number) for number in range(2 * batches.per_epoch)]
    assert all((turn.text is None) != (turn.echo is None) for turn in turns)
    texts = [turn.text for turn in turns if turn.text is not None]
    echoes = [turn.echo for turn in turns if turn.echo is not None]
    assert sorted(texts) == list(range(2 * batches.text_batches_per_epoch))
    assert sorted(echoes) == list(range(2 * 5))


@pytest.mark.slow
def test_drawn_uniformly_the_last_of_six_echo_batches_comes_about_the_twelfth_step() -> None:
    """The released sampler's trap (689 text batches, 6 echo batches); proportional spreads them."""
    from echoing_core.training.batches import _plan

    last = {
        proportional: np.mean(
            [np.flatnonzero(_plan(s, 0, 689, 6, proportional))[-1] + 1 for s in range(400)]
        )
        for proportional in (False, True)
    }
    assert 11 < last[False] < 13
    assert 560 < last[True] < 640


def test_match_follows_what_reports_say_or_the_diagonal() -> None:
    settings = tiny_run.config()
    batch = tiny_run.trainer(settings, echo=tiny_run.echo_pairs(20, 3)).batches.at(0)
    assert batch.text is not None and batch.echo is not None
    assert batch.text.n_texts == len(set(batch.text.texts))
    assert (batch.echo.match.sum(1) == 1).all()
    assert batch.echo.match.shape == (8, 3)
    released = replace(settings, objective=ObjectiveConfig(identity_match=True))
    batch = tiny_run.trainer(released, echo=tiny_run.echo_pairs(20, 3)).batches.at(0)
    assert batch.text is not None and batch.echo is not None
    assert torch.equal(batch.text.match, torch.eye(8, dtype=torch.bool))
    assert torch.equal(batch.echo.match, torch.eye(8, dtype=torch.bool))


def test_shares_of_processes_make_up_the_batch() -> None:
    settings = tiny_run.config()
    whole = tiny_run.trainer(settings, echo=tiny_run.echo_pairs()).batches.at(2)
    parts = [
        tiny_run.trainer(settings, echo=tiny_run.echo_pairs(), world=World(rank, 2)).batches.at(2)
        for rank in range(2)
    ]
    for kind in ("text", "echo"):
        joined = torch.cat([getattr(part, kind).scaled for part in parts])
        assert torch.equal(joined, getattr(whole, kind).scaled)
    assert sum((part.text.texts for part in parts), ()) == whole.text.texts  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 200}, "smaller batch"),
        ({"objective": ObjectiveConfig(mode="both")}, "objective.mode"),
        ({"precision": "half"}, "precision"),
        ({"objective": ObjectiveConfig(text_weight=1.5)}, "text_weight"),
    ],
)
def test_impossible_settings_are_refused_in_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny_run.trainer(tiny_run.config(**changes))


def test_however_many_share_a_batch_it_stays_the_same() -> None:
    settings = tiny_run.config(views=ViewConfig(kind="raghu", partial_report_share=0.5))
    whole = tiny_run.trainer(settings, echo=tiny_run.echo_pairs(7)).batches.at(3)
    assert whole.text is not None and whole.echo is not None
    parts = [
        tiny_run.trainer(settings, echo=tiny_run.echo_pairs(7), world=World(rank, 3)).batches.at(3)
        for rank in range(3)
    ]
    texts = [part.text for part in parts if part.text is not None]
    echoes = [part.echo for part in parts if part.echo is not None]
    # Eight by three, and seven: one more for the first.
    assert [len(part.scaled) for part in texts] == [3, 3, 2]
    assert [len(part.scaled) for part in echoes] == [3, 2, 2]
    for name in ("scaled", "valid", "token_ids", "token_mask"):
        joined = torch.cat([getattr(part, name) for part in texts])
        assert torch.equal(joined, getattr(whole.text, name)), name
    assert sum((part.texts for part in texts), ()) == whole.text.texts
    assert torch.equal(torch.cat([part.scaled for part in echoes]), whole.echo.scaled)
    assert all(torch.equal(part.match, whole.text.match) for part in texts)


def test_more_processes_than_pairs_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"Start at most 8, or .* larger batch_size"):
        tiny_run.trainer(tiny_run.config(), world=World(0, 9))
    with pytest.raises(ConfigError, match="fewer processes"):
        tiny_run.trainer(tiny_run.config(), echo=tiny_run.echo_pairs(2), world=World(0, 3))


def test_dropout_of_a_shared_batch_is_that_of_one_process() -> None:
    n, p, generator = 5, 0.4, torch.Generator().manual_seed(1)
    x = torch.randn(n, 3, 7, generator=generator)
    query, key, value = (torch.randn(n, 2, 4, 8, generator=generator) for _ in "qkv")
    mask = torch.rand(n, 1, 1, 4, generator=generator) > 0.3
    mask[..., 0] = True

    def dropped(rows: slice) -> list[torch.Tensor]:
        torch.manual_seed(3)
        attention = torch.nn.functional.scaled_dot_product_attention
        return [
            torch.nn.functional.dropout(x[rows], p),
            attention(query[rows], key[rows], value[rows], attn_mask=mask[rows], dropout_p=p),
            torch.nn.Dropout(p)(x[rows]),
            torch.nn.Dropout(p).eval()(x[rows]),
        ]

    alone = dropped(slice(0, n))
    assert not torch.equal(alone[0], x) and not torch.equal(alone[0], alone[2])
    for size in (2, 3):
        parts = []
        for rank in range(size):
            world = World(rank, size)
            with joined_dropout(n, world):
                parts.append(dropped(share_of(n, world)))
        for whole, pieces in zip(alone, zip(*parts, strict=True), strict=True):
            assert torch.allclose(torch.cat(pieces), whole, atol=1e-6)


def test_settings_survive_a_file() -> None:
    settings = tiny_run.config()
    assert from_mapping(RunConfig, to_mapping(settings)) == settings


# Steps


def test_joint_is_the_weighted_sum_of_both_terms() -> None:
    settings = tiny_run.config()
    run = tiny_run.trainer(settings, echo=tiny_run.echo_pairs())
    values = run.step([run.batches.at(0)])
    assert values["loss"] == pytest.approx(0.7 * values["text"] + 0.3 * values["echo"], rel=1e-6)
    run.encoder.eval()
    both = run.batches.at(0)
    text, echo = (run.loss(StepBatch(both.text, None)), run.loss(StepBatch(None, both.echo)))
    assert run.loss(both).item() == pytest.approx((text + echo).item(), rel=1e-6)
    alone = tiny_run.trainer(settings)
    values = alone.step([alone.batches.at(0)])
    assert values["loss"] == pytest.approx(values["text"])


def test_terms_one_by_one_give_the_gradient_of_their_sum() -> None:
    settings = tiny_run.config(optimiser=OptimiserConfig(clip_norm=0.0))
    run, whole = (tiny_run.trainer(settings, echo=tiny_run.echo_pairs()) for _ in "ab")
    run.step([run.batches.at(0)])
    whole.encoder.train()
    whole.loss(whole.batches.at(0)).backward()
    for (name, a), b in zip(
        run.modules.named_parameters(), whole.modules.parameters(), strict=True
    ):
        if b.grad is not None:
            assert a.grad is not None
            assert torch.allclose(a.grad, b.grad, atol=1e-6), name


def test_activations_computed_again_give_the_same_gradients() -> None:
    runs = [tiny_run.trainer(tiny_run.config(recompute_text=again)) for again in (False, True)]
    for run in runs:
        run.step([run.batches.at(0)])
    for a, b in zip(*(run.encoder.text.parameters() for run in runs), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_accumulated_gradients_are_the_mean_of_the_batches() -> None:
    settings = tiny_run.config(accumulate=2, optimiser=OptimiserConfig(clip_norm=0.0))
    run = tiny_run.trainer(settings)
    # Batch statistics would differ between one pass and two.
    for module in run.encoder.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.momentum = 0.0
    batches = [run.batches.at(0), run.batches.at(1)]
    gradients = []
    for batch in batches:
        run.modules.zero_grad()
        run.encoder.train()
        run.loss(batch).backward()
        gradients.append(
            {k: p.grad.clone() for k, p in run.modules.named_parameters() if p.grad is not None}
        )
    run.step(batches)
    for name, parameter in run.modules.named_parameters():
        if parameter.grad is not None:
            mean = (gradients[0][name] + gradients[1][name]) / 2
            assert torch.allclose(parameter.grad, mean, atol=1e-6), name


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    settings = OptimiserConfig(warmup_share=0.1, warmup_start=1e-3)
    factors = [rate_factor(step, 100, settings) for step in range(101)]
    assert factors[0] == pytest.approx(1e-3)
    assert factors[10] == 1.0
    assert max(factors) == 1.0
    assert factors[100] == pytest.approx(0.0)
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    # A straight line from the start to the full rate: 0.001 + 0.999 * step / 10.
    for step, expected in ((1, 0.1009), (2, 0.2008), (5, 0.5005), (9, 0.9001)):
        assert factors[step] == pytest.approx(expected, rel=1e-12)
    # Half a cosine: half the rate in the middle of what is left.
    assert factors[55] == pytest.approx(0.5)


def test_each_step_of_the_warm_up_is_taken_at_its_own_rate() -> None:
    settings = tiny_run.config(
        steps=10, optimiser=OptimiserConfig(lr=2e-3, warmup_share=0.4, warmup_start=0.2)
    )
    run = tiny_run.trainer(settings)
    for expected in (4e-4, 8e-4, 1.2e-3, 1.6e-3, 2e-3):
        logged = run.step([run.batches.at(run.done)])["lr"]
        assert logged == pytest.approx(expected, rel=1e-12)
        assert {group["lr"] for group in run.optimiser.param_groups} == {logged}


def test_bfloat16_gives_nearly_the_same_loss() -> None:
    plain = tiny_run.trainer(tiny_run.config(precision="float32"))
    half = tiny_run.trainer(tiny_run.config(precision="bfloat16"))
    a, b = (run.loss(run.batches.at(0)).item() for run in (plain, half))
    assert a != b
    assert a == pytest.approx(b, rel=0.05)


@pytest.mark.slow
def test_training_lowers_both_terms() -> None:
    settings = tiny_run.config(
        steps=60, views=ViewConfig(), optimiser=OptimiserConfig(lr=1e-2), batch_size=16
    )
    rows: list[dict[str, float]] = []
    _run(settings, log=lambda _, values: rows.append(dict(values)))
    for term in ("text", "echo"):
        values = [row[term] for row in rows]
        assert np.mean(values[-8:]) < np.mean(values[:8])


# Resuming


@pytest.mark.parametrize(
    ("mode", "dropout"),
    [("joint", 0.3), pytest.param("alternate", 0.0, marks=pytest.mark.slow)],
)
def test_a_resumed_run_ends_with_the_same_bits(mode: str, dropout: float, tmp_path: Path) -> None:
    settings = tiny_run.config(
        objective=ObjectiveConfig(text_weight=0.7, mode=mode), save_every=2, steps=5
    )
    settings = tiny_run.with_dropout(settings, dropout)
    whole = _run(settings)

    class KilledError(Exception):
        pass

    def cut(stage: str, done: float, total: int) -> None:
        if done == 3:
            raise KilledError

    with pytest.raises(KilledError):
        _run(settings, run=tmp_path / "run", progress=Progress(cut))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text()
    (tmp_path / "run" / "metrics.jsonl").write_text(lines + '{"step": 3, "lo')
    resumed = _run(settings, run=tmp_path / "run", resume=True)
    assert _equal(whole, resumed)
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(5))
    assert [path.name for path in sorted((tmp_path / "run" / "steps").iterdir())] == [
        "00000004",
        "00000005",
    ]


@pytest.mark.slow
def test_dropout_is_a_function_of_seed_and_step() -> None:
    """Nothing that was drawn before decides which units a step drops."""
    settings = tiny_run.with_dropout(tiny_run.config(), 0.5)

    def after(n_steps: int, *, seed: int = 5, drawn_before: int = 0) -> torch.Tensor:
        run = tiny_run.trainer(replace(settings, seed=seed))
        if seed != settings.seed:
            run.batches = tiny_run.trainer(settings).batches
            run.encoder.load_state_dict(tiny_run.trainer(settings).encoder.state_dict())
        batch = run.batches.at(0)
        torch.manual_seed(drawn_before)
        # Weights stay as they are, so steps differ by what they drop alone.
        run.optimiser.step = lambda: None  # type: ignore[method-assign, assignment]
        for _ in range(n_steps):
            run.step([batch])
        gradient = run.encoder.text.mean.weight.grad
        assert gradient is not None
        return gradient

    assert torch.equal(after(1), after(1, drawn_before=99))
    assert torch.equal(after(2), after(2, drawn_before=99))
    assert not torch.equal(after(1), after(2)), "each step drops other units"
    assert not torch.equal(after(1), after(1, seed=6)), "and each seed"


@pytest.mark.slow
def test_a_run_is_only_resumed_as_it_was_begun(tmp_path: Path) -> None:
    settings = tiny_run.config(save_every=2, steps=2)
    _run(settings, run=tmp_path)
    with pytest.raises(ConfigError, match="--resume"):
        _run(settings, run=tmp_path)
    with pytest.raises(ConfigError, match="seed: 5 then, 6 now"):
        _run(replace(settings, seed=6), run=tmp_path, resume=True)
    content = tmp_path / "steps" / "00000002" / "state.json"
    kept = content.read_text()
    # So many shared the work then; the batches were the same.
    content.write_text(kept.replace('"processes": 1', '"processes": 4'))
    assert content.read_text() != kept
    _run(settings, run=tmp_path, resume=True)
    state = tmp_path / "steps" / "00000002" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="00000002"):
        _run(settings, run=tmp_path, resume=True)
    shutil.rmtree(tmp_path / "steps")
    _run(settings, run=tmp_path, resume=True)


def test_validation_is_logged_and_tensorboard_written(tmp_path: Path) -> None:
    settings = tiny_run.config(steps=3, validate_every=2)
    seen: list[int] = []

    def validate(encoder: torch.nn.Module, step: int) -> dict[str, float]:
        assert not encoder.training
        seen.append(step)
        return {"recall": 0.5}

    _run(settings, run=tmp_path, validate=validate, tensorboard=tmp_path / "tb")
    assert seen == [2, 3]
    rows = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("valid/recall" in row for row in rows) == 2
    assert any((tmp_path / "tb").iterdir())


# Several processes


@pytest.mark.slow
def test_three_processes_are_one_with_the_joined_batch(tmp_path: Path) -> None:
    """Eight pairs among three: shares differ; with dropout, and in both kinds of batches.

    Of MELP's stages, its language model and of Echo2ECG, too.
    """
    alone, joined = tmp_path / "1", tmp_path / "3"
    tiny_run.some_steps(alone)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    script = [str(ROOT / "tests" / "tiny_run.py"), str(joined)]
    done = subprocess.run(
        [sys.executable, *launch, *script],
        cwd=ROOT,
        env={**_environment(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        # Most of it is three processes that import torch, on however few cores there are.
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for mode in ("joint", "alternate", "masked", "melp", "echo2ecg", "words"):
        _are_close(alone / f"{mode}.safetensors", joined / f"{mode}.safetensors")


def _are_close(first: Path, second: Path) -> None:
    from safetensors.torch import load_file

    one, other = load_file(str(first)), load_file(str(second))
    assert one.keys() == other.keys()
    assert one["loss"].item() == pytest.approx(other["loss"].item(), rel=1e-12)
    gradients = [name for name in one if name.startswith("grad.")]
    largest = max(one[name].abs().max().item() for name in gradients)
    for name in one:
        close = torch.allclose(
            one[name].double(), other[name].double(), rtol=1e-9, atol=1e-9 * largest
        )
        assert close, name


def test_joined_batch_statistics_are_those_of_torch_in_one_process(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        plain, joined = (torch.nn.BatchNorm1d(5) for _ in "ab")
        inputs = 3.0 * torch.randn(4, 5, 7) + 1.0
        x, y = (inputs.clone().requires_grad_() for _ in "ab")
        expected = plain(x)
        # Two processes, of which the group of this test has only one.
        with joined_statistics(joined, World(0, 2)):
            actual = joined(y)
        assert type(joined) is torch.nn.BatchNorm1d
        assert torch.allclose(actual, expected, atol=1e-6)
        weights = torch.randn(4, 5, 7)
        for normed in (actual, expected):
            (normed * weights).sum().backward()
        assert x.grad is not None and y.grad is not None
        assert torch.allclose(y.grad, x.grad, atol=1e-6)
        for name, buffer in plain.named_buffers():
            assert torch.allclose(joined.get_buffer(name), buffer, atol=1e-6), name
    finally:
        torch.distributed.destroy_process_group()


def test_one_of_several_processes_tells_why_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speaks_for_all(), "a process alone"
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    heeded = signal.getsignal(signal.SIGTERM)
    for name, value in (("WORLD_SIZE", "3"), ("MASTER_ADDR", "127.0.0.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_PORT", str(store.port))

    def asked(rank: int, attempt: int = 0) -> bool:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(attempt))
        return speaks_for_all()

    try:
        assert [asked(2), asked(0), asked(1), asked(2)] == [True, False, False, True]
        assert asked(0, attempt=1), "started anew, all may speak again"
        # The launcher must not end it in the middle of its sentence.
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, heeded)


@pytest.mark.parametrize("save_every", [0, 2])
def test_all_processes_wait_equally_often(
    save_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first has something to validate; the others wait as often as it does."""
    waited: list[int] = []
    monkeypatch.setattr(run_module, "wait_for_all", lambda world: waited.append(world.rank))
    settings = tiny_run.config(steps=3, validate_every=2, save_every=save_every)
    for rank in (0, 1):
        validate = (lambda encoder, step: {"recall": 0.5}) if rank == 0 else None
        # As far as gathers go, a process alone.
        place = tmp_path / str(rank)
        _run(settings, run=place, validate=validate, world=World(rank, 1))
    # After two steps and after the last.
    expected = 2 + (2 if save_every else 0)
    assert waited == [0] * expected + [1] * expected


def test_nobody_waits_for_ever() -> None:
    began = time.monotonic()
    with pytest.raises(LostProcessError, match=r"Process 1 of 2 waited .* --resume"):
        _until(lambda: False, 0.05, World(1, 2))
    assert 0.05 <= time.monotonic() - began < 5
    _until(lambda: True, 0.0, World(1, 2))


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE")}


# Views and cached states


def test_raghu_views_keep_shape_and_tell_gaps() -> None:
    rng = np.random.default_rng(0)
    window = tiny_run.source(1).signal_mv[0]
    valid = np.ones(window.shape, bool)
    valid[3] = False
    changed = 0
    for _ in range(40):
        view, measured = raghu_view(window, valid, rng, 0.5)
        assert view.shape == window.shape and view.dtype == np.float32
        assert np.isfinite(view).all()
        assert (view[~measured] == 0).all()
        assert not measured[3].any()
        changed += not np.array_equal(view[0], window[0])
    assert changed > 30
    same, _ = raghu_view(window, np.ones(window.shape, bool), rng, 0.0)
    assert np.array_equal(same, window)


def test_cached_states_train_the_heads_alone(tmp_path: Path) -> None:
    settings = tiny_run.config(freeze_text=True, views=ViewConfig())
    run = tiny_run.trainer(settings)
    texts = [text.strip() for text in tiny_run.texts()]
    frozen = {k: v.clone() for k, v in run.encoder.text.backbone.state_dict().items()}
    states = TextStates(tmp_path, run.encoder.text, run.batches.tokenizer, texts)
    direct = run.encoder.text.eval()(
        *(torch.from_numpy(x) for x in run.batches.tokenizer.encode(texts[:5]))
    )
    kept = run.encoder.text.from_states(*states.of(texts[:5]))
    assert torch.allclose(direct[0], kept[0], atol=2e-3)
    train(run.encoder, run.batches, settings, states=states)
    after = run.encoder.text.backbone.state_dict()
    assert all(torch.equal(frozen[k], after[k]) for k in frozen)
    written = {path: path.stat().st_mtime_ns for path in states.folder.iterdir()}
    again = TextStates(tmp_path, run.encoder.text, run.batches.tokenizer, texts)
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == written
    with pytest.raises(ConfigError, match="whole"):
        states.of(["a report nobody knows."])


def test_the_processor_is_left_as_it_was() -> None:
    """Flushing denormals is a state of the whole process, and other libraries check for it."""

    def are_flushed() -> bool:
        return bool((torch.tensor(1e-42) * 1.0).item() == 0.0)

    assert not are_flushed()
    with flushed_denormals():
        assert are_flushed()
        with flushed_denormals():
            assert are_flushed()
        assert are_flushed(), "an inner block gives back what it found"
    assert not are_flushed()
