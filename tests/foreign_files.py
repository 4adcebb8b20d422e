"""Files as the authors of ECG-FM, MELP and Echo2ECG publish them: small, with random numbers."""

from __future__ import annotations

import argparse
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from echoing_core.models.config import BertTextConfig, FrozenEcgConfig, ModelConfig
from echoing_core.models.melp import MelpEncoder, published_name
from echoing_core.models.otis import Echo2Ecg, OtisEncoder
from echoing_core.models.wav2vec2 import MelpTower, Wav2Vec2

WIDTH, STEM, FFN = 32, 8, 24

NEW = "conv_pos.pos_conv.0.parametrizations.weight.original"
OLD = {NEW + "0": "conv_pos.pos_conv.0.weight_g", NEW + "1": "conv_pos.pos_conv.0.weight_v"}


def ecg_fm(seed: int = 0) -> Wav2Vec2:
    torch.manual_seed(seed)
    return Wav2Vec2(2, WIDTH, heads=1, ffn=FFN, stem_width=STEM, pretraining=True).eval()


def melp_config(vocab_size: int = 40) -> ModelConfig:
    """MELP of the sizes here, with its text side."""
    return ModelConfig(
        architecture="melp",
        dim=16,
        frozen=FrozenEcgConfig(
            layers=2,
            width=WIDTH,
            heads=1,
            ffn=FFN,
            stem_width=STEM,
            beats=3,
            beat_width=16,
            segment=5000,
            lead_order="mimic",
            gain="min_max",
        ),
        released_text=BertTextConfig(WIDTH, 2, 1, FFN, vocab_size, 20, 12, 0.0),
    )


def melp(seed: int = 0) -> MelpTower:
    return MelpTower(ecg_fm(seed), WIDTH, beats=3, beat_width=16, full=True).eval()


def echo2ecg(seed: int = 0) -> Echo2Ecg:
    torch.manual_seed(seed)
    encoder = OtisEncoder(2, width=16, heads=1, ffn=FFN, n_times=1008)
    return Echo2Ecg(encoder, 16, view_width=6, study_width=8, heads=2, dim=4).eval()


def old_spelling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weight norm as torch named it before it had parametrisations."""
    return {OLD.get(name, name): value for name, value in state.items()}


def fairseq_file(model: dict[str, Tensor]) -> dict[str, Any]:
    """The entries that fairseq-signals writes; moments of the optimiser are no numbers here."""
    no_number = torch.full((WIDTH,), float("nan"))
    moments = {
        i: {"step": 5, "exp_avg": no_number, "exp_avg_sq": no_number} for i in range(len(model) + 9)
    }
    return {
        "cfg": {"model": {"_name": "wav2vec2_cmsc", "layers": 2}, "common": {"seed": 1}},
        "args": None,
        "model": OrderedDict(model),
        "criterion": OrderedDict(),
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 5}],
        "task_state": {},
        "extra_state": {"epoch": 2, "metrics": {"loss": 1.5}, "val_loss": 0.5},
        "last_optimizer_state": {"state": moments, "param_groups": [{"lr": 5e-5}]},
    }


def write_ecg_fm(path: Path, *, old: bool = False) -> Wav2Vec2:
    """Pre-trained, as ``mimic_iv_ecg_physionet_pretrained.pt``."""
    network = ecg_fm()
    state = network.state_dict()
    torch.save(fairseq_file(old_spelling(state) if old else dict(state)), path)
    return network


def write_ecg_fm_finetuned(path: Path) -> Wav2Vec2:
    """As ``mimic_iv_ecg_finetuned.pt``: other names, and a head for 17 labels."""
    network = ecg_fm()
    unused = ("quantizer.", "project_q.", "final_proj.")
    state = {
        f"encoder.{name}": value
        for name, value in old_spelling(network.state_dict()).items()
        if not name.startswith(unused)
    }
    state |= {"proj.weight": torch.randn(17, WIDTH), "proj.bias": torch.randn(17)}
    torch.save(fairseq_file(state), path)
    return network


def melp_state(tower: MelpTower) -> dict[str, Tensor]:
    """Of the tower, with the statistics that stay of its first stage."""
    return dict(tower.state_dict())


def write_melp_safetensors(path: Path, before: str = "") -> MelpTower:
    """As ``model.safetensors``: half precision, with something before all names."""
    tower = melp()
    for value in tower.state_dict().values():
        value.copy_(value.half().float())
    halved = {
        before + name: value.half() if value.is_floating_point() else value
        for name, value in melp_state(tower).items()
    }
    save_file({name: value.contiguous() for name, value in halved.items()}, str(path))
    return tower


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", "atrial", "fibrillation", "normal", "ecg")


def write_melp_whole(path: Path, *, half: bool = False) -> MelpEncoder:
    """MELP with its text side, as a trainer's file or in half precision; and ``vocab.txt``."""
    torch.manual_seed(4)
    # One entry is behind those of the file; with so few places reports are cut where they end.
    config = melp_config(len(WORDS) + 1)
    config = replace(config, released_text=replace(config.released_text, max_tokens=20))
    whole = MelpEncoder(config, full=True, decoder_layers=1).eval()
    state = {published_name(name): value.clone() for name, value in whole.state_dict().items()}
    state["lm_model.bert.embeddings.position_ids"] = torch.arange(20)[None]
    (path.parent / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    if half:
        with torch.no_grad():
            for value in whole.state_dict().values():
                value.copy_(value.half().float() if value.is_floating_point() else value)
        save_file(
            {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, str(path)
        )
    else:
        torch.save({"state_dict": OrderedDict(state), "epoch": 3, "global_step": 12}, path)
    return whole


def write_melp_checkpoint(path: Path) -> MelpTower:
    """A trainer's file of the whole model, with its settings and optimiser."""
    tower = melp()
    state = {f"ecg_encoder.{name}": value for name, value in melp_state(tower).items()} | {
        "logit_scale": torch.tensor(2.0),
        "lm_model.bert.embeddings.word_embeddings.weight": torch.randn(9, 4),
        "proj_t.0.weight": torch.randn(4, 4),
        "sent_proj.weight": torch.randn(4, 4),
        "text_decoder.text_projection": torch.randn(4, 9),
    }
    torch.save(
        {
            "epoch": 3,
            "global_step": 12,
            "state_dict": OrderedDict(state),
            "hyper_parameters": argparse.Namespace(lr=2e-4, folder=Path("a")),
            "callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.7)}},
            "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
        },
        path,
    )
    return tower


@contextmanager
def settings_object(target: Path) -> Iterator[Any]:
    """A configuration as omegaconf pickles it, which makes ``target`` if anybody builds it."""
    package = types.ModuleType("omegaconf")
    module = types.ModuleType("omegaconf.dictconfig")

    class DictConfig(dict):  # type: ignore[type-arg]
        def __setstate__(self, state: Any) -> None:
            target.touch()

        def __getstate__(self) -> Any:
            return {"_metadata": {"ref_type": Any, "flags": {}}, "_content": {"depth": 12}}

    DictConfig.__module__, DictConfig.__qualname__ = module.__name__, "DictConfig"
    module.DictConfig = DictConfig  # type: ignore[attr-defined]
    sys.modules |= {"omegaconf": package, "omegaconf.dictconfig": module}
    try:
        made = DictConfig()
        made["mode"] = [1, "val"]
        yield made
    finally:
        del sys.modules["omegaconf"], sys.modules["omegaconf.dictconfig"]


def write_echo2ecg(path: Path, *, component: bool = False) -> Echo2Ecg:
    """As ``echo2ecg.ckpt``, or whole with a trainer's epoch; both with a configuration object."""
    whole = echo2ecg()
    with settings_object(path.with_suffix(".built")) as cfg:
        if component:
            content: dict[str, Any] = {"model": whole.state_dict(), "cfg": cfg, "epoch": 49}
        else:
            content = {
                "cfg": cfg,
                "ecg_encoder": whole.ecg_encoder.state_dict(),
                "token_aggregator": whole.token_aggregator.state_dict(),
            }
        torch.save(content, path)
    return whole
