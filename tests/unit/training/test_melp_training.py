"""MELP's two stages: what a step learns from, resuming, and the model folder that comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.losses import matched_cross_entropy
from echoing_core.models.melp import MelpEncoder
from echoing_core.progress import Progress
from echoing_core.training.melp import for_use, new_encoder, trainer_of
from echoing_core.training.run import train
from echoing_core.training.settings import MelpConfig, ViewConfig, load_preset
from echoing_core.training.trainer import rate_factor
from tests import tiny_run


def after(kind: str, **given: object) -> dict[str, Tensor]:
    settings = tiny_run.melp_config(kind, save_every=2)
    start = tiny_run.melp_trainer(settings)
    config = start.config
    done = train(start.encoder, start.batches, config, kind=trainer_of(config), **given)  # type: ignore[arg-type]
    return done.encoder.state_dict()


@pytest.mark.parametrize("kind", ["masked", pytest.param("melp", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def cut(stage: str, done: float, total: int) -> None:
        if done == 3:
            raise KilledError

    whole = after(kind)
    with pytest.raises(KilledError):
        after(kind, run=tmp_path / "run", progress=Progress(cut))
    resumed = after(kind, run=tmp_path / "run", resume=True)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("kind", ["masked", "melp"])
def test_every_part_that_a_loss_reads_learns_from_it(kind: str) -> None:
    run = tiny_run.melp_trainer(tiny_run.melp_config(kind))
    before = {name: p.detach().clone() for name, p in run.modules.named_parameters()}
    logged = run.step([run.batches.at(0)])
    still = {name for name, p in run.modules.named_parameters() if torch.equal(p, before[name])}
    # What no loss reads: the other stage's own, the head of a stage between, unused constants.
    unread = ("echo_loss.", "text_loss.shift", "encoder.text.lm_model.cls")
    if kind == "melp":
        unread += ("encoder.ecg.tower.logit_scale", "text_loss.scale")
        own = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
        unread += tuple(f"encoder.ecg.tower.ecg_encoder.{name}" for name in own)
    assert not {name for name in still if not name.startswith(unread)}
    names = ("prediction", "contrast") if kind == "masked" else ("rhythm", "caption", "beat")
    assert all(name in logged for name in names)


def test_the_second_stages_loss_is_its_three_at_their_weights() -> None:
    plain = replace(tiny_run.melp_config("melp"), views=ViewConfig())
    run = tiny_run.melp_trainer(plain, dtype=torch.float64)
    run.modules.eval()
    batch = run.batches.at(0)
    total, parts = run.terms(batch)[0][1]()
    wanted = parts["rhythm"] + 2.0 * parts["caption"] + 0.2 * parts["beat"]
    assert abs(total.item() - wanted) <= 1e-9
    encoder, text = run.encoder, batch.text
    mu = encoder.ecg.mean(text.scaled.double(), text.valid.double())
    written = encoder.text.read(text.token_ids, text.token_mask)
    scale = encoder.text.logit_scale.exp()
    direct = matched_cross_entropy(scale * mu @ encoder.text.mean(written[0]).T, text.match)
    assert abs(parts["rhythm"] - direct.item()) <= 1e-9
    # Captions one ECG after another, with the text that is its own.
    sums, n = 0.0, 0
    windows = encoder.ecg.input(text.scaled.double(), text.valid.double())[:, 0]
    memory = encoder.ecg.tower.caption_memory(encoder.ecg.tower.ecg_encoder(windows))
    for row, at in enumerate(text.own.tolist()):
        length = int(text.token_mask[at].sum())
        logits = encoder.text.text_decoder(written[1][at : at + 1], memory[row : row + 1])[0]
        follows = text.token_ids[at, 2:length]
        sums += functional.cross_entropy(logits[: length - 2], follows, reduction="sum").item()
        n += len(follows)
    assert abs(parts["caption"] - sums / n) <= 1e-9


def test_each_ecgs_own_report_is_told_and_so_is_whose_it_is() -> None:
    run = tiny_run.melp_trainer(tiny_run.melp_config("melp"))
    reports = tiny_run.texts()
    batch = run.batches.at(1)
    rows = [row for _, row in run.batches.text_rows(1)]
    assert [batch.text.texts[i] for i in batch.text.own] == [reports[row % 31] for row in rows]
    assert batch.text.patients.tolist() == [row // 3 for row in rows]
    assert batch.text.number == 1


def test_leads_are_left_out_half_of_the_time() -> None:
    run = tiny_run.melp_trainer(tiny_run.melp_config("masked"))
    kept = torch.cat([run.batches.at(k).text.valid.amax(2) for k in range(6)])
    assert 0.4 < kept.mean() < 0.6
    assert set(kept.unique().tolist()) == {0.0, 1.0}


def test_layers_of_a_given_language_model_can_stay_and_random_ones_cannot() -> None:
    settings = tiny_run.melp_config("melp", melp=MelpConfig(frozen_text_layers=1, decoder_layers=1))
    run = tiny_run.melp_trainer(settings)
    bert = run.encoder.text.lm_model.bert
    assert not any(p.requires_grad for p in bert.encoder.parameters())
    assert all(p.requires_grad for p in bert.embeddings.parameters())
    from echoing_core.training.melp import vocabulary_of

    with pytest.raises(ConfigError, match="would stay random"):
        vocabulary_of(settings, ["normal ecg."], None)


def test_what_these_losses_do_not_read_is_refused() -> None:
    for name in ("melp-stage1", "melp-stage2", "ecg-fm"):
        for change in ("loss.name=pcmepp", "freeze_text=true", "objective.question_weight=0.5"):
            with pytest.raises(ConfigError, match="are their own"):
                load_preset(name, [change])
    with pytest.raises(ConfigError, match="reads ECGs alone"):
        load_preset("melp-stage1", ["model.frozen.beats=3", "model.dim=256"])


def test_a_first_stage_is_taken_over_and_one_of_other_sizes_is_not(tmp_path: Path) -> None:
    first = tiny_run.melp_trainer(tiny_run.melp_config("masked"))
    settings = tiny_run.melp_config("melp")
    given = SimpleNamespace(name="stage1", encoder=for_use(first.encoder))
    second = new_encoder(settings, begin=given)  # type: ignore[arg-type]
    network = second.ecg.tower.ecg_encoder.state_dict()
    theirs = given.encoder.ecg.tower.ecg_encoder.state_dict()
    assert all(torch.equal(network[name], value) for name, value in theirs.items())
    assert len(theirs) > 20
    model = settings.model
    wider = replace(model, frozen=replace(model.frozen, ffn=24))
    with pytest.raises(CheckpointError, match="has not the network"):
        new_encoder(replace(settings, model=wider), begin=given)  # type: ignore[arg-type]


def test_a_model_for_use_embeds_as_the_one_that_was_trained() -> None:
    run = tiny_run.melp_trainer(tiny_run.melp_config("melp"))
    whole = run.encoder.eval()
    lean = for_use(whole)
    assert isinstance(lean, MelpEncoder) and len(lean.state_dict()) < len(whole.state_dict())
    batch = run.batches.at(0).text
    pair = (batch.scaled, batch.valid)
    assert torch.equal(lean.ecg(*pair)[0], whole.ecg(*pair)[0])
    texts = (batch.token_ids, batch.token_mask)
    assert torch.equal(lean.text(*texts)[0], whole.text(*texts)[0])


def test_the_rate_begins_anew_in_each_cycle() -> None:
    settings = load_preset("melp-published").optimiser
    rates = [rate_factor(step, 100, settings) for step in range(100)]
    assert rates[0] == rates[50] == 1.0 and rates[25] == pytest.approx(0.5)
    assert rates[49] < 0.01 and rates[99] < 0.01


def test_presets_are_of_the_published_sizes() -> None:
    first, second = load_preset("melp-stage1"), load_preset("melp-stage2")
    assert first.predicts_masked and load_preset("ecg-fm").predicts_masked
    with torch.device("meta"):
        whole = new_encoder(second)
        # The second stage takes over every array of the first that it has a place for.
        begin = new_encoder(first)
    theirs = {k: v.shape for k, v in begin.ecg.tower.ecg_encoder.state_dict().items()}
    assert theirs == {k: v.shape for k, v in whole.ecg.tower.ecg_encoder.state_dict().items()}
    assert len(whole.state_dict()) == 550
