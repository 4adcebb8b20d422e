"""What the published code does where ours deviates: filter padding, clipping, echo frames."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from torch.nn.utils import clip_grad_norm_
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.adapter import first_window
from echoing_core.datasets.prepared import (
    check_filter_padding,
    filter_padding_of,
    load_prepared,
    save_prepared,
)
from echoing_core.datasets.registry import build_adapter, data_set_names, options_of
from echoing_core.datasets.simulated import build_simulated
from echoing_core.echo.store import FRAMES, EchoEmbeddings, named_frames, save_echo_embeddings
from echoing_core.embed.encode import encode_batch
from echoing_core.errors import CheckpointError, ConfigError, DataSetError
from echoing_core.evaluate.protocols.data import open_data
from echoing_core.models.checkpoint import load_checkpoint, save_checkpoint
from echoing_core.models.config import LossConfig
from echoing_core.records import LEADS, EchoClip, Recording
from echoing_core.signals import standardise
from echoing_core.signals.filters import bandpass
from echoing_core.simulate import simulate_study
from echoing_core.training.settings import OptimiserConfig, load_preset
from tests import tiny_run
from tests.tiny_model import write_tiny_model


def _recording(fs_hz: float = 500.0, seconds: float = 10.0) -> Recording:
    rng = np.random.default_rng(4)
    # A slow wander makes the ends of a zero-phase filter visible.
    wander = np.cumsum(rng.normal(0, 0.02, (12, round(seconds * fs_hz))), axis=1)
    return Recording(wander.astype(np.float32), fs_hz, LEADS, "r")


def _by_scipy_alone(recording: Recording) -> np.ndarray:
    """The published chain, written out: band-pass forwards and backwards, then resampled."""
    sections = scipy.signal.butter(
        4, [0.5, 40.0], btype="bandpass", fs=recording.fs_hz, output="sos"
    )
    band = scipy.signal.sosfiltfilt(sections, recording.signal_mv.astype(np.float64), axis=1)
    ratio = Fraction(100, int(recording.fs_hz))
    return np.asarray(
        scipy.signal.resample_poly(
            band,
            ratio.numerator,
            ratio.denominator,
            axis=1,
            window=("kaiser", 5.0),
            padtype="median",
        )
    )


@pytest.mark.parametrize("fs_hz", [500.0, 1000.0, 360.0])
def test_scipy_s_padding_is_scipy_s(fs_hz: float) -> None:
    recording = _recording(fs_hz)
    found = standardise(recording, filter_padding="scipy").signal_mv
    np.testing.assert_allclose(found, _by_scipy_alone(recording), atol=1e-5)
    # Ours is another one at the ends, and the same where the edge has died away.
    ours = standardise(recording).signal_mv
    assert np.abs(ours - found)[:, :100].max() > 0.01
    with pytest.raises(ConfigError, match="long, scipy"):
        standardise(recording, filter_padding="none")
    with pytest.raises(ConfigError, match="long, scipy"):
        bandpass(recording.signal_mv, fs_hz, padding="none")


def test_long_recordings_differ_at_their_ends_alone() -> None:
    recording = _recording(seconds=40.0)
    gap = np.abs(
        standardise(recording).signal_mv - standardise(recording, filter_padding="scipy").signal_mv
    ).max(axis=0)
    assert gap[1000:3000].max() < 1e-4 < 1e-2 < max(gap[:100].max(), gap[-100:].max())


def test_every_data_set_has_the_option(tmp_path: Path) -> None:
    # EchoNet-Dynamic holds videos alone.
    for name in set(data_set_names()) - {"echonet"}:
        (option,) = [o for o in options_of(name) if o.name == "filter_padding"]
        assert option.default == "long"
    assert build_adapter("ptbxl", {"filter-padding": "scipy"}).filter_padding == "scipy"  # type: ignore[attr-defined]
    recording = _recording(seconds=12.0)
    window = first_window(recording, filter_padding="scipy").signal_mv
    np.testing.assert_allclose(window, _by_scipy_alone(recording)[:, :1000], atol=1e-5)


@pytest.mark.slow
def test_a_prepared_set_names_its_padding_and_no_other_model_reads_it(tmp_path: Path) -> None:
    services.prepare_simulated(tmp_path / "scipy", 12, 3, filter_padding="scipy")
    save_prepared(tmp_path / "long", build_simulated(12, 3), card={})
    assert filter_padding_of(tmp_path / "scipy") == "scipy"
    # Of before there was a choice, and as data sets write their options.
    assert filter_padding_of(tmp_path / "long") == "long"
    save_prepared(
        tmp_path / "set", build_simulated(12, 3), card={"options": {"filter_padding": "scipy"}}
    )
    assert filter_padding_of(tmp_path / "set") == "scipy"
    with pytest.raises(DataSetError, match="filter_padding=long"):
        check_filter_padding(tmp_path / "scipy", "long")
    studies = load_prepared(tmp_path / "scipy")
    row = studies.table.iloc[0]
    patient, ecg = (int(part) for part in _numbers(str(row["record_id"])))
    again = standardise(simulate_study(3, patient, ecg).recording_12, filter_padding="scipy")
    np.testing.assert_array_equal(studies.signal_mv[0], again.signal_mv)


def _numbers(record_id: str) -> tuple[int, int]:
    from echoing_core.simulate.heart.patients import parse_record_id

    _, patient, ecg = parse_record_id(record_id)
    return patient, ecg


def test_a_model_carries_its_padding_and_reads_by_it(tmp_path: Path) -> None:
    old_hash = write_tiny_model(tmp_path / "long")
    tiny = load_checkpoint(tmp_path / "long")
    parts = {
        "encoder": tiny.encoder,
        "tokenizer": tiny.tokenizer,
        "scaler": tiny.scaler,
        "logit_scale": tiny.logit_scale,
        "reference": tiny.reference,
        "training": tiny.training,
        "card": tiny.card,
    }
    # Said or not, the present padding leaves the hash of a model as it is.
    assert save_checkpoint(tmp_path / "same", **parts, filter_padding="long") == old_hash
    config = json.loads((tmp_path / "same" / "config.json").read_text(encoding="utf-8"))
    assert "filter_padding" not in config
    assert save_checkpoint(tmp_path / "scipy", **parts, filter_padding="scipy") != old_hash
    model = services.load_model(tmp_path / "scipy")
    assert model.checkpoint.filter_padding == "scipy" and tiny.filter_padding == "long"
    recording = _recording()
    explained = services.explain(model, recording)
    np.testing.assert_allclose(explained.ecg.signal_mv, _by_scipy_alone(recording), atol=1e-5)
    by_hand = _by_scipy_alone(recording)[None].astype(np.float32)
    expected = encode_batch(
        model.checkpoint.encoder.ecg, model.checkpoint.scaler, by_hand, np.ones(by_hand.shape, bool)
    )
    np.testing.assert_allclose(explained.track.embedding.mu, expected.mu, atol=1e-4)
    # A prepared set that was filtered otherwise is refused before anything is embedded.
    save_prepared(tmp_path / "data", build_simulated(12, 3))
    with pytest.raises(DataSetError, match="the model reads 'scipy'"):
        open_data(model.checkpoint, tmp_path / "data", ("test",))
    text = (tmp_path / "scipy" / "config.json").read_text(encoding="utf-8")
    assert json.loads(text)["filter_padding"] == "scipy"


def test_a_model_of_an_unknown_padding_is_refused(tmp_path: Path) -> None:
    write_tiny_model(tmp_path / "m")
    tiny = load_checkpoint(tmp_path / "m")
    save_checkpoint(
        tmp_path / "odd",
        encoder=tiny.encoder,
        tokenizer=tiny.tokenizer,
        scaler=tiny.scaler,
        logit_scale=1.0,
        reference=tiny.reference,
        training={},
        card="",
        filter_padding="zeros",
    )
    with pytest.raises((ConfigError, CheckpointError), match="zeros"):
        load_checkpoint(tmp_path / "odd")


def test_the_presets_of_the_article_ask_for_what_the_release_does() -> None:
    for name in ("paper", "release"):
        config = load_preset(name)
        assert config.filter_padding == "scipy"
        assert config.optimiser.clip_loss_constants
        assert config.echo_frames == "every"
    ours = load_preset("demo")
    assert (ours.filter_padding, ours.echo_frames) == ("long", "")
    assert not ours.optimiser.clip_loss_constants
    for wrong in ("filter_padding=zeros", "echo_frames=some"):
        with pytest.raises(ConfigError, match=wrong.split("=")[0]):
            load_preset("demo", [wrong])


@pytest.mark.parametrize("with_constants", [False, True])
def test_clipping_with_or_without_the_loss_s_constants(with_constants: bool) -> None:
    limit = 0.01
    settings = tiny_run.config(
        loss=LossConfig("pcmepp", scale_init=5.0, shift_init=5.0),
        optimiser=OptimiserConfig(
            lr=0.0, clip_norm=limit, clip_loss_constants=with_constants, average_decay=0.0
        ),
    )
    trainer = tiny_run.trainer(settings)
    logged = trainer.step([trainer.batches.at(0)])
    constants = [p.grad for p in trainer.text_loss.parameters() if p.grad is not None]
    encoders = [p.grad for p in trainer.encoder.parameters() if p.grad is not None]
    assert constants and float(torch.stack([g.abs().max() for g in constants]).max()) > 0

    def norm(grads: list[torch.Tensor]) -> float:
        return float(torch.sqrt(sum((g**2).sum() for g in grads)))

    # The same gradients unclipped, then clipped by torch itself over one set or the other.
    free = tiny_run.trainer(replace(settings, optimiser=replace(settings.optimiser, clip_norm=0.0)))
    free.step([free.batches.at(0)])
    whole = list(free.encoder.parameters())
    if with_constants:
        whole += [*free.text_loss.parameters(), *free.echo_loss.parameters()]
    total = clip_grad_norm_([p for p in whole if p.grad is not None], limit)
    assert logged["grad_norm"] == pytest.approx(float(total), rel=1e-4) and float(total) > limit
    expected = [p.grad for p in free.text_loss.parameters() if p.grad is not None]
    for found, wanted in zip(constants, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-9)
    clipped = norm(encoders + constants) if with_constants else norm(encoders)
    assert clipped == pytest.approx(limit, rel=1e-3)


def test_frames_by_name() -> None:
    frames = np.zeros((55, 2, 2, 3), dtype=np.uint8)
    frames[:, 0, 0, 0] = np.arange(55)
    clip = EchoClip(frames, 30.0, "c")
    taken = {name: choice.of(clip)[:, 0, 0, 0].tolist() for name, choice in FRAMES.items()}
    assert taken == {
        "echo-clip": list(range(0, 40, 2)),
        "first-40": list(range(40)),
        "every": list(range(55)),
    }
    assert named_frames("every").reach is None and named_frames("first-40").reach == 40
    with pytest.raises(ConfigError, match="echo-clip, first-40, every"):
        named_frames("all")


def test_a_run_refuses_data_and_echo_of_another_kind(tmp_path: Path) -> None:
    studies = build_simulated(12, 3)
    save_prepared(tmp_path / "data", studies)
    ids = tuple(str(name) for name in studies.table["study_id"])
    mu = np.tile(np.eye(8, dtype=np.float32)[:1], (len(ids), 1))
    stored = EchoEmbeddings(ids, mu, mu, np.full(len(ids), 8), "made up", "0" * 64, True)
    card = save_echo_embeddings(tmp_path / "echo", stored)
    assert card["frames"] == "echo-clip"
    told = ["train", "from", "demo", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "m")]
    for more, seen in (
        (["--set", "filter_padding=scipy"], "filter_padding=scipy"),
        (["--echo", str(tmp_path / "echo"), "--set", "echo_frames=every"], "--frames every"),
    ):
        done = CliRunner().invoke(app, [*told, *more])
        assert done.exit_code == 2 and seen in " ".join(done.output.split()), done.output
    assert not (tmp_path / "m").exists()
