"""Published files of ECG-FM, MELP and Echo2ECG become model folders; nothing in them is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.embed.encode import (
    encode_batch,
    encode_batch_terms,
    encode_reports,
    encode_texts,
)
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.evaluate.protocols.settings import EvaluationOptions, FineTuneSettings
from echoing_core.models.checkpoint import load_checkpoint
from echoing_core.models.config import ABSENT, NO_SIGMA2, FrozenEcgConfig, ModelConfig
from echoing_core.models.foreign_ecg import ECG_FM, ECHO2ECG, MELP, SYSTEMS, read_foreign
from echoing_core.models.foreign_preprocessing import ForeignInput
from echoing_core.models.pickled import read_tables, read_tensors
from echoing_core.records import LEADS, Recording
from echoing_core.services import own_index
from echoing_core.signals.scaling import LeadScaler
from echoing_core.training.settings import RunConfig
from echoing_core.uncertainty.meaning import MEANINGS
from tests import foreign_files as files
from tests.unit.evaluate.protocols.test_runs import study_set
from tests.unit.models.test_import_weights import PAYLOADS, Payload

FORMATS: dict[str, tuple[str, str, Callable[[Path], nn.Module]]] = {
    "ecg-fm": (ECG_FM, "a.pt", files.write_ecg_fm),
    "ecg-fm old": (ECG_FM, "a.pt", lambda path: files.write_ecg_fm(path, old=True)),
    "ecg-fm tuned": (ECG_FM, "a.pt", files.write_ecg_fm_finetuned),
    "melp": (MELP, "model.safetensors", files.write_melp_safetensors),
    "melp prefix": (
        MELP,
        "model.safetensors",
        lambda path: files.write_melp_safetensors(path, "model.ecg_encoder."),
    ),
    "melp ckpt": (MELP, "a.ckpt", files.write_melp_checkpoint),
    "echo2ecg": (ECHO2ECG, "a.ckpt", files.write_echo2ecg),
    "echo2ecg whole": (
        ECHO2ECG,
        "a.ckpt",
        lambda path: files.write_echo2ecg(path, component=True),
    ),
}


@pytest.fixture(scope="module")
def ecgs() -> tuple[np.ndarray, np.ndarray]:
    """Windows of two people, of whom one lacks a lead."""
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (2, 12, 1000)).astype(np.float32)
    valid = np.ones(signal.shape, dtype=bool)
    valid[1, 4] = False
    return np.where(valid, signal, 0).astype(np.float32), valid


def written_out(network: Any, segments: Tensor) -> Tensor:
    """What the networks as they were saved make of segments, on the unit sphere."""
    flat = segments.flatten(0, 1)
    if isinstance(network, files.Wav2Vec2):
        vectors = network(flat).mean(1)
    elif isinstance(network, files.MelpTower):
        pooled = network.ln_contrast(network.attn_pool_contrast(network.ecg_encoder(flat)))
        vectors = (pooled @ network.proj_contrast).mean(1)
    else:
        tokens = network.ecg_encoder(flat)[:, 1:].mean(1)
        vectors = network.token_aggregator.ecg_layernorm_global(tokens)
    return functional.normalize(vectors.unflatten(0, segments.shape[:2]).mean(1), dim=-1)


@pytest.mark.parametrize("kind", FORMATS)
def test_each_published_format_imports_embeds_and_opens(
    kind: str, tmp_path: Path, ecgs: tuple[np.ndarray, np.ndarray]
) -> None:
    system, name, write = FORMATS[kind]
    network = write(tmp_path / name)
    made = services.import_encoder(tmp_path / name, tmp_path / "model")
    model = services.load_model(tmp_path / "model")
    assert model.trained_on["system"] == system and model.imported
    assert not model.has_text and not model.has_sigma2 and model.sigma2_taught_by == "absent"
    assert SYSTEMS[system].licence == made.licence and made.licence in model.card_markdown
    assert "Band-limited to 40 Hz" in model.card_markdown
    ecg = model.checkpoint.encoder.ecg
    found = encode_batch(ecg, model.checkpoint.scaler, *ecgs)
    signal, valid = map(torch.from_numpy, ecgs)
    with torch.inference_mode():
        wanted = written_out(network, ForeignInput(ecg.config)(signal, valid))
    np.testing.assert_allclose(found.mu, wanted.numpy(), atol=1e-5)
    assert np.unique(found.log_var).size == 1
    # Every ECG is as sure as any other, and lies in the middle.
    assert_close(model.reference.percentile(found.uncertainty), np.full(2, 50.0))


def test_a_window_is_embedded_alike_alone_and_among_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    signal = rng.normal(0, 0.3, (8, 12, 1000)).astype(np.float32)
    valid = np.ones(signal.shape, dtype=bool)
    for kind in ("ecg-fm", "melp", "echo2ecg"):
        _, name, write = FORMATS[kind]
        write(tmp_path / name)
        foreign = read_foreign(tmp_path / name)
        scaler = LeadScaler((0.0,) * 12, (1.0,) * 12)
        together = encode_batch(foreign.encoder.ecg, scaler, signal, valid)
        alone = [encode_batch(foreign.encoder.ecg, scaler, s[None], v[None]).mu
                 for s, v in zip(signal, valid, strict=True)]  # fmt: skip
        assert np.abs(together.mu - np.concatenate(alone)).max() <= 1e-5, kind


def test_both_spellings_of_weight_norm_give_the_same(tmp_path: Path) -> None:
    files.write_ecg_fm(tmp_path / "new.pt")
    files.write_ecg_fm(tmp_path / "old.pt", old=True)
    new, old = (read_foreign(tmp_path / f"{name}.pt").encoder.ecg for name in ("new", "old"))
    x, valid = torch.randn(1, 12, 1000), torch.ones(1, 12, 1000)
    assert torch.equal(new(x, valid)[0], old(x, valid)[0])


def test_what_else_a_file_holds_is_told(tmp_path: Path) -> None:
    for kind, word in (
        ("ecg-fm", "masked prediction"),
        ("ecg-fm tuned", "the head for the labels"),
        ("melp ckpt", "language model"),
        ("echo2ecg whole", "the side of echo studies"),
    ):
        _, name, write = FORMATS[kind]
        write(tmp_path / name)
        assert any(word in words for words in read_foreign(tmp_path / name).left_out), kind
    files.write_echo2ecg(tmp_path / "bare.ckpt")
    assert read_foreign(tmp_path / "bare.ckpt").left_out == ()


def test_preprocessing_can_be_chosen_and_the_card_says_so(tmp_path: Path) -> None:
    files.write_echo2ecg(tmp_path / "a.ckpt")
    made = services.import_encoder(tmp_path / "a.ckpt", tmp_path / "m", input_hz=100)
    assert made.model.checkpoint.encoder.config.frozen.input_hz == 100
    assert any("chosen at import" in note for note in made.notes)
    assert "100 Hz, segments of 1,008 samples (10.08 s" in made.model.card_markdown
    for wrong in ({"input_hz": 5}, {"segments": "last"}):
        with pytest.raises(ConfigError):
            services.import_encoder(tmp_path / "a.ckpt", tmp_path / "m2", **wrong)
    assert not (tmp_path / "m2").exists()


@pytest.mark.parametrize("half", [False, True])
def test_melp_with_its_text_answers_in_words(
    half: bool, tmp_path: Path, ecgs: tuple[np.ndarray, np.ndarray]
) -> None:
    path = tmp_path / ("m.safetensors" if half else "m.ckpt")
    whole = files.write_melp_whole(path, half=half)
    made = services.import_encoder(path, tmp_path / "model", vocab=tmp_path)
    model = services.load_model(tmp_path / "model")
    assert model.has_text and not model.has_sigma2 and "Text encoder: " in model.card_markdown
    assert not any("--vocab" in note for note in made.notes)
    assert abs(model.checkpoint.logit_scale - 1 / 0.07) <= (0.02 if half else 1e-4)
    found = encode_texts(model.checkpoint, ["Atrial fibrillation.", "normal ecg"])
    # [CLS] [BOS] atrial fibrillation . [SEP], by hand.
    ids = torch.tensor([[2, 9, 5, 6, 4, 3], [2, 9, 7, 8, 3, 0]])
    signal, valid = map(torch.from_numpy, ecgs)
    with torch.inference_mode():
        wanted, _ = whole.text(ids, (ids > 0).long())
        mu, _ = whole.ecg(signal, valid)
    np.testing.assert_allclose(found.mu, wanted.numpy(), atol=1e-5)
    encoded = encode_batch(model.checkpoint.encoder.ecg, model.checkpoint.scaler, *ecgs)
    np.testing.assert_allclose(encoded.mu, mu.numpy(), atol=1e-5)
    done = CliRunner().invoke(
        app,
        ["ask", "SIM_AF", "--prompt", "atrial fibrillation", "--model", str(tmp_path / "model")],
    )
    assert done.exit_code == 0, done.output
    assert "has no sigma^2" in done.output and "Band-limited to 40 Hz" in done.output
    # Its one constant lies at percentile 50 of itself, which is said nowhere.
    assert "percentile" not in done.output.replace(NO_SIGMA2, "")
    asked = ["ask", "SIM_AF", "--fuse", "precision", "--json", "-", "--model"]
    told = json.loads(CliRunner().invoke(app, [*asked, str(tmp_path / "model")]).stdout)
    assert told["fused"]["percentile"] is None and told["fused"]["uncertainty"] is None
    assert {answer["percentile"] for answer in told["answers"]} == {None}
    done = CliRunner().invoke(
        app, ["explain", "SIM_AF", "--csv", "-", "--model", str(tmp_path / "model")]
    )
    assert done.stdout.startswith("start_s,end_s,valid_I,")
    done = CliRunner().invoke(app, ["explain", "SIM_AF", "--model", str(tmp_path / "model")])
    assert MEANINGS[ABSENT] in done.output
    assert "percentile" not in done.output.replace(MEANINGS[ABSENT], "")
    query = services.query_embedding(model, "atrial fibrillation.")
    np.testing.assert_allclose(query.mu[0], found.mu[0], atol=1e-6)


def test_a_vocabulary_goes_with_a_text_encoder_of_its_size(tmp_path: Path) -> None:
    files.write_melp_whole(tmp_path / "m.ckpt")
    # Without a vocabulary the tower alone, and how to get the rest is told.
    made = services.import_encoder(tmp_path / "m.ckpt", tmp_path / "tower")
    assert not made.model.has_text and any("--vocab" in note for note in made.notes)
    with (tmp_path / "vocab.txt").open("a", encoding="utf-8") as file:
        file.write("sinus\n")
    with pytest.raises(ConfigError, match="has 11 and the language model 10"):
        services.import_encoder(tmp_path / "m.ckpt", tmp_path / "model", vocab=tmp_path)
    files.write_ecg_fm(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="no encoder of texts"):
        services.import_encoder(tmp_path / "a.pt", tmp_path / "model", vocab=tmp_path)
    assert not (tmp_path / "model").exists()


# --- nothing is built or run -----------------------------------------------------------------


def test_a_configuration_object_is_passed_over_and_never_built(tmp_path: Path) -> None:
    files.write_echo2ecg(tmp_path / "a.ckpt")
    read_foreign(tmp_path / "a.ckpt")
    assert not (tmp_path / "a.built").exists()
    # Whoever reads tables of tensors alone still refuses it.
    with pytest.raises(CheckpointError, match="omegaconf"):
        read_tensors(tmp_path / "a.ckpt")
    # Built by Python's own reader, it would have made the file.
    with files.settings_object(tmp_path / "a.built"):
        torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert (tmp_path / "a.built").exists()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_files_with_a_payload_are_refused_and_nothing_runs(
    tmp_path: Path, payload: type[Payload]
) -> None:
    target = tmp_path / "ran"
    model = files.ecg_fm().state_dict()
    whole = files.echo2ecg()
    contents: list[dict[str, Any]] = [
        files.fairseq_file(dict(model)) | {"args": payload(target)},
        files.fairseq_file(dict(model) | {"mask_emb": payload(target)}),
        {"state_dict": dict(model), "hyper_parameters": {"a": [payload(target)]}},
    ]
    with files.settings_object(tmp_path / "built") as cfg:
        cfg["deep"] = payload(target)
        contents.append({"cfg": cfg, "ecg_encoder": whole.ecg_encoder.state_dict()})
        for content in contents:
            torch.save(content, tmp_path / "a.pt")
            with pytest.raises(CheckpointError, match="Nothing in it was executed"):
                services.import_encoder(tmp_path / "a.pt", tmp_path / "model")
    assert not target.exists() and not (tmp_path / "model").exists()


def test_only_the_named_tables_are_read(tmp_path: Path) -> None:
    saved = {
        "cfg": {"a": 1},
        "one": {"x": torch.ones(2)},
        "two": {"x": torch.zeros(3)},
        "other": {"x": torch.ones(4)},
    }
    torch.save(saved, tmp_path / "t.pt")
    read = read_tables(tmp_path / "t.pt", {"one": "", "two": "two."})
    assert {name: tuple(v.shape) for name, v in read.items()} == {"x": (2,), "two.x": (3,)}


# --- what is refused -------------------------------------------------------------------------


def _saved(path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Path:
    torch.save(files.fairseq_file(change(dict(files.ecg_fm().state_dict()))), path)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "layer_norm.bias"}, "lacks 1 of its"),
        (lambda s: s | {"layer_norm.bias": torch.zeros(3)}, "has another shape"),
        (lambda s: s | {"encoder.strange": torch.zeros(3)}, "has no place in it"),
        (lambda s: s | {"layer_norm.bias": torch.full((files.STEM,), torch.nan)}, "not finite"),
        (lambda s: {k: v for k, v in s.items() if "post_extract" not in k}, "a part of"),
        (lambda s: {"weight": torch.zeros(2)}, "none of the ECG encoders"),
        (
            lambda s: {"text_encoder.backbone.embeddings.x": torch.zeros(2)},
            "echoingecg.pt ecg_scaler.pkl",
        ),
    ],
)  # fmt: skip
def test_what_only_looks_like_published_weights_is_refused(
    tmp_path: Path, change: Any, words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        read_foreign(_saved(tmp_path / "a.pt", change))


def test_otis_with_gates_is_another_version(tmp_path: Path) -> None:
    state = dict(files.echo2ecg().state_dict())
    state["ecg_encoder.blocks.0.mlp.fc1_g.weight"] = torch.zeros(3, 3)
    torch.save({"model": state}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="of another version"):
        read_foreign(tmp_path / "a.ckpt")


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    files.write_melp_safetensors(tmp_path / "m.safetensors")
    data = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        read_foreign(tmp_path / "cut.safetensors")
    save_file({"x": torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match="none of the ECG encoders"):
        read_foreign(tmp_path / "other.safetensors")


# --- what such a model does ------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("ecg_fm")
    files.write_ecg_fm(place / "a.pt")
    services.import_encoder(place / "a.pt", place / "model")
    return place / "model"


def test_it_refuses_texts_in_a_sentence(folder: Path) -> None:
    model = services.load_model(folder)
    for task in (
        lambda: services.query_embedding(model, "atrial fibrillation"),
        lambda: services.evaluate_held_out(model),
        lambda: services.evaluate_protocol(model, "zero-shot"),
        lambda: services.evaluate_protocol(model, "retrieval"),
        lambda: services.measure_distances(model),
    ):
        with pytest.raises(CheckpointError, match="reads ECGs alone and has no text encoder"):
            task()
    checkpoint = load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="no text encoder"):
        checkpoint.encoder.text(torch.ones(1, 3), torch.ones(1, 3))
    held = encode_reports(checkpoint, ["atrial fibrillation", ""])
    assert np.isfinite(held.mu).all() and len(held) == 2


def test_it_gives_no_terms_of_sigma2(folder: Path, ecgs: tuple[np.ndarray, np.ndarray]) -> None:
    checkpoint = load_checkpoint(folder)
    encoded = encode_batch_terms(checkpoint.encoder.ecg, checkpoint.scaler, *ecgs)
    assert encoded.by_lead is None and encoded.novelty is None
    assert not checkpoint.has_attribution and not checkpoint.masks_leads


def test_the_command_names_the_licence_and_what_to_know(tmp_path: Path) -> None:
    files.write_melp_safetensors(tmp_path / "model.safetensors")
    run = CliRunner().invoke(
        app, ["import-weights", str(tmp_path / "model.safetensors"), str(tmp_path / "m")]
    )
    assert run.exit_code == 0, run.output
    assert "Apache-2.0" in run.output and "Band-limited to 40 Hz" in run.output
    many = CliRunner().invoke(app, ["import-weights", "a", "b", "c", str(tmp_path / "m")])
    assert many.exit_code == 2 and "3 files were given" in many.output


@pytest.mark.parametrize(
    "protocol",
    ["knn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("few-shot", "fine-tune"))],
)
def test_probes_and_fine_tuning_work_and_say_what_limits_them(
    folder: Path, tmp_path: Path, protocol: str
) -> None:
    whole = study_set(32, "train").concat(study_set(16, "valid"), study_set(16, "test"))
    save_prepared(tmp_path / "made", whole)
    options = EvaluationOptions(
        labels=("af",), n_resamples=5, n_seeds=1, fine_tune=FineTuneSettings(epochs=1)
    )
    model = services.load_model(folder)
    before = model.checkpoint.encoder.ecg.tower.state_dict()
    experiment = services.evaluate_protocol(
        model,
        protocol,
        data=tmp_path / "made",
        options=options,
        # Of neighbours there is nothing to keep.
        out=None if protocol == "knn" else tmp_path / "with_head",
    )
    text = experiment.to_markdown()
    assert "Band-limited to 40 Hz" in text and "zero-shot" not in {
        result.protocol for result in experiment.results
    }
    assert {result.model for result in experiment.results} == {"model", "random weights"}
    if protocol != "knn":
        (head,) = services.load_model(tmp_path / "with_head").heads
        assert head.label == "af"
    # A copy was tuned, not the model.
    after = load_checkpoint(folder).encoder.ecg.tower.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_recording_is_looked_at_and_its_like_are_found(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    signals = rng.normal(0, 0.2, (3, 12, 1200)).astype(np.float32)
    recordings = [Recording(s, 100.0, LEADS, f"r{i}") for i, s in enumerate(signals)]
    model = services.load_model(folder)
    seen = services.explain(model, recordings[1], 2.0)
    assert np.unique(seen.track.percentile).tolist() == [50.0]
    assert "no sigma²" in seen.to_dict({})["sigma2_means"]
    items = [own_index.items_of_recording(model, recording)[0] for recording in recordings]
    table = {"r1": own_index.Metadata("atrial fibrillation")}
    collection = own_index.own_collection(model, own_index.own_files(model, items, table, "mine"))
    query = services.query_embedding(model, seen, items[1].start_s)
    first = collection.search(query, 3).hits[0]
    assert first.record_id.startswith("r1") and first.report == "atrial fibrillation"
    with pytest.raises(ConfigError, match="Search among its ECGs"):
        collection.search(query, 3, target="report")


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "resnet"},
        {"gain": "loud"},
        {"segments": "last"},
        {"width": 100, "heads": 12},
        {"layers": 0},
        {"segment": 4},
    ],
)
def test_settings_that_cannot_be_built_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        FrozenEcgConfig(**wrong)


def test_such_a_model_is_not_trained_on_reports() -> None:
    frozen = FrozenEcgConfig()
    with pytest.raises(ConfigError, match="has 768 dimensions"):
        ModelConfig(architecture="frozen", frozen=frozen)
    # One of frames alone could learn by masked prediction, but not from reports either.
    model = ModelConfig(architecture="frozen", dim=768, frozen=frozen)
    with pytest.raises(ConfigError, match="are their own"):
        RunConfig(model=model)
    otis = FrozenEcgConfig(kind="otis", width=192, heads=3, segment=1008)
    model = ModelConfig(architecture="frozen", dim=192, frozen=otis)
    with pytest.raises(ConfigError, match="comes from `echoing import-weights`"):
        RunConfig(model=model)
    # Settings of others are what they were before there was this one.
    assert "frozen" not in ModelConfig().settings()
