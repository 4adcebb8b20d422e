"""MELP's language model: what it is graded by, that it learns, and the folder that comes out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from echoing_core.datasets.study_set import StudySet
from echoing_core.errors import CheckpointError, DataSetError
from echoing_core.progress import Progress
from echoing_core.training.language import (
    LanguageTrainer,
    Texts,
    perplexities,
    summed_cross_entropy,
    texts_to_learn,
    tokens_of,
    write_text_model,
)
from echoing_core.training.run import train
from tests import tiny_run


def after(steps: int = 6, **given: object) -> dict[str, Tensor]:
    start = tiny_run.language_trainer(steps=steps, save_every=2)
    done = train(
        start.encoder, start.batches, start.config, kind=LanguageTrainer, **given  # type: ignore[arg-type]
    )  # fmt: skip
    return done.encoder.state_dict()


def test_the_loss_is_the_mean_over_tokens_written_out() -> None:
    run = tiny_run.language_trainer(dtype=torch.float64)
    run.modules.eval()
    ids, mask = run.batches.at(0)
    loss = run.terms((ids, mask))[0][1]()[0].item()
    nats, n = 0.0, 0
    for row, there in zip(ids, mask, strict=True):
        known = int(there.sum())
        for k in range(1, known):
            # The text as if it ended here: what comes later cannot have helped.
            logits = run.encoder(row[None, :k], torch.ones(1, k, dtype=torch.int64))[0, -1]
            nats -= math.log(torch.softmax(logits, -1)[row[k]].item())
            n += 1
    assert n == int(mask[:, 1:].sum()) > 60
    assert loss == pytest.approx(nats / n, abs=1e-9)


def test_padding_is_neither_asked_nor_counted() -> None:
    logits = torch.randn(2, 3, 5, dtype=torch.float64)
    ids, mask = torch.tensor([[1, 2, 0], [4, 0, 0]]), torch.tensor([[1, 1, 0], [1, 0, 0]])
    p = torch.log_softmax(logits, -1)
    wanted = -(p[0, 0, 1] + p[0, 1, 2] + p[1, 0, 4]).item()
    assert summed_cross_entropy(logits, ids, mask).item() == pytest.approx(wanted, abs=1e-12)


def test_a_text_begins_with_its_mark_and_has_no_cls() -> None:
    tokenizer = tiny_run.language_trainer().batches.tokenizer  # type: ignore[attr-defined]
    ids, mask = tokens_of(tokenizer, ["sinus", "sinus rhythm"])
    vocabulary = tokenizer.tokenizer.get_vocab()
    assert set(ids[:, 0].tolist()) == {vocabulary["[BOS]"]}
    assert vocabulary["[CLS]"] not in ids.flatten().tolist()
    assert mask.sum(1).tolist()[1] > mask.sum(1).tolist()[0]


def test_it_learns_more_than_how_often_words_occur() -> None:
    run = tiny_run.language_trainer(steps=120)
    # Of the same five phrases in their order, so that what comes next can be known.
    unseen, learnt = tiny_run.texts()[::4], [t for k, t in enumerate(tiny_run.texts()) if k % 4]
    tokenizer = run.batches.tokenizer  # type: ignore[attr-defined]
    batches = Texts(learnt, tokenizer, 8, 5)
    before = perplexities(run.encoder.eval(), tokenizer, unseen, learnt)
    done = train(run.encoder, batches, run.config, kind=LanguageTrainer)
    figures = perplexities(done.encoder, tokenizer, unseen, learnt)
    assert figures["perplexity"] < 0.5 * figures["perplexity by frequency alone"]
    # The rival is there to win: against random weights it does.
    assert before["perplexity"] > before["perplexity by frequency alone"]
    assert before["perplexity by frequency alone"] == figures["perplexity by frequency alone"]


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def cut(stage: str, done: float, total: int) -> None:
        if done == 3:
            raise KilledError

    whole = after()
    with pytest.raises(KilledError):
        after(run=tmp_path / "run", progress=Progress(cut))
    resumed = after(run=tmp_path / "run", resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def _studies(reports: list[str], split: list[str]) -> StudySet:
    n = len(reports)
    ids = [str(k) for k in range(n)]
    table = pd.DataFrame({"report": reports, "split": split, "source": "made", "quality": ""})
    table = table.assign(patient_id=ids, study_id=ids, record_id=ids, simulated=True)
    return StudySet(table, np.zeros((n, 12, 10), np.float32), np.ones((n, 12, 10), bool))


def test_texts_of_training_patients_and_of_a_file_each_once(tmp_path: Path) -> None:
    studies = _studies(
        ["Sinus rhythm.", "Sinus rhythm.", "AF.", "AF.", "Block.", ""],
        ["train", "train", "train", "valid", "valid", "train"],
    )
    more = tmp_path / "more.txt"
    more.write_text("Heart failure is common.\n\nAF.\n", encoding="utf-8")
    assert texts_to_learn(studies, None) == (["Sinus rhythm.", "AF."], ["Block."])
    assert texts_to_learn(studies, more)[0][2:] == ["Heart failure is common."]
    more.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataSetError, match="UTF-8"):
        texts_to_learn(studies, more)
    with pytest.raises(DataSetError, match="no text"):
        texts_to_learn(_studies(["", "x"], ["train", "valid"]), None)
    with pytest.raises(DataSetError, match="batch needs 8"):
        tokenizer = tiny_run.language_trainer().batches.tokenizer  # type: ignore[attr-defined]
        Texts(["a", "b"], tokenizer, 8, 1)


@pytest.mark.slow
def test_the_folder_is_a_bert_that_the_second_stage_begins_with(tmp_path: Path) -> None:
    from echoing_core.models.melp import read_melp_tokenizer
    from echoing_core.models.released import read_bert
    from echoing_core.training.melp import new_encoder, vocabulary_of

    run = tiny_run.language_trainer()
    tokenizer, sizes = run.batches.tokenizer, run.config.model.released_text  # type: ignore[attr-defined]
    folder = tmp_path / "words"
    write_text_model(folder, run.encoder, tokenizer, sizes, {"figures": {}})  # type: ignore[arg-type]
    texts = tiny_run.texts()[:5]
    again = read_melp_tokenizer(str(folder), sizes.max_tokens)
    ids, mask = tokens_of(again, texts)
    assert torch.equal(ids, tokens_of(tokenizer, texts)[0])
    theirs = read_bert(str(folder)).eval()
    ours = run.encoder.bert.eval()  # type: ignore[union-attr]
    with torch.no_grad():
        states = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(states[mask == 1], ours(ids, mask)[mask == 1], atol=1e-5)  # type: ignore[operator]
    settings = tiny_run.melp_config("melp")
    _, settings = vocabulary_of(settings, [], str(folder))
    taken = new_encoder(settings, text_model=str(folder)).text.lm_model.bert.state_dict()  # type: ignore[union-attr]
    # The entry for a text's beginning, too, which no other BERT brings along.
    assert all(torch.equal(taken[name], value) for name, value in ours.state_dict().items())  # type: ignore[union-attr,operator]
    # Half of the weights would be random without a word.
    state = load_file(folder / "model.safetensors")
    from safetensors.torch import save_file

    kept = {name: value for name, value in state.items() if "layer.0.output" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 4 of its weights"):
        read_bert(str(folder))
    assert replace(sizes, hidden=16) == sizes
