"""ECG-CLIP and MEDBind: cosine losses of two and three modalities, against slow forms."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echoing_core.echo.study_views import StudyViews, as_embeddings, padded, read_views
from echoing_core.errors import ConfigError, DataSetError
from echoing_core.models.config import LossConfig
from echoing_core.training.batches import EchoPairs
from echoing_core.training.distributed import World
from echoing_core.training.paired import build_inputs, pair_with_echo
from echoing_core.training.settings import ObjectiveConfig, RunConfig, ViewConfig, load_preset
from tests import tiny_run
from tests.tiny_studies import clips, studies, write_npz

SET = studies()
CLIPS = clips(SET)


def bound(**changes: object) -> RunConfig:
    """Three equal terms, as the preset has them, small."""
    objective = ObjectiveConfig(
        text_weight=0.5, echo_text_weight=0.5, match_studies=True, echo_batch_size=8
    )
    return tiny_run.config(
        objective=objective,
        loss=LossConfig("infonce", scale_init=3.0),
        views=ViewConfig(),
        **changes,
    )


def third() -> EchoPairs:
    """ECGs with echocardiograms of fewer studies than there are echocardiograms."""
    pairs = tiny_run.echo_pairs()
    texts = tiny_run.texts()
    reports = tuple(texts[k % 5] for k in range(len(pairs)))
    return replace(pairs, study=np.arange(len(pairs.mu)) // 2, reports=reports)


def slow(a: np.ndarray, b: np.ndarray, match: np.ndarray, scale: float) -> float:
    """InfoNCE both ways; where several match, the mean of their logarithms."""
    total = 0.0
    for x, y, m in ((a, b, match), (b, a, match.T)):
        rows = []
        for i in range(len(x)):
            logits = [scale * float(x[i] @ y[j]) for j in range(len(y))]
            whole = math.log(sum(math.exp(v) for v in logits))
            own = [logits[j] - whole for j in range(len(y)) if m[i, j]]
            rows.append(-sum(own) / max(1, len(own)))
        total += 0.5 * sum(rows) / len(rows)
    return total


def test_the_loss_is_the_sum_of_three_contrasts() -> None:
    config = bound(precision="float64")
    run = tiny_run.trainer(config, echo=third(), dtype=torch.float64)
    run.encoder.eval()
    batch = run.batches.at(0)
    assert batch.text is not None and batch.echo is not None and batch.echo.texts is not None
    with torch.no_grad():
        whole = float(run.loss(batch))

        def ecg(part: object) -> np.ndarray:
            return run.encoder.ecg(part.scaled.double(), part.valid.double())[0].numpy()  # type: ignore[attr-defined]

        def text(part: object) -> np.ndarray:
            return run.encoder.text(part.token_ids, part.token_mask)[0].numpy()  # type: ignore[attr-defined]

        echo = batch.echo.mu.double().numpy()
        by_hand = 0.5 * slow(ecg(batch.text), text(batch.text), batch.text.match.numpy(), 3.0)
        by_hand += 0.5 * slow(ecg(batch.echo), echo, batch.echo.match.numpy(), 3.0)
        texts = batch.echo.texts
        by_hand += 0.5 * slow(echo, text(texts), texts.match.numpy(), 3.0)
    assert abs(whole - by_hand) <= 1e-9


def test_related_pairs_besides_the_own_one_are_matches() -> None:
    pairs = third()
    run = tiny_run.trainer(bound(), echo=pairs)
    batch = run.batches.at(0).echo
    assert batch is not None and batch.texts is not None
    rows = run.batches.echo_rows(0)  # type: ignore[attr-defined]
    unique = np.unique(pairs.echo[rows])
    assert pairs.study is not None
    for i, row in enumerate(rows):
        for j, echo in enumerate(unique):
            same = pairs.study[pairs.echo[row]] == pairs.study[echo]
            assert bool(batch.match[i, j]) == bool(same)
    one = replace(bound().objective, match_studies=False)
    own = replace(bound(), objective=one)
    alone = tiny_run.trainer(own, echo=pairs).batches.at(0).echo
    assert alone is not None and int(alone.match.sum()) < int(batch.match.sum())
    # Through the ECG: every echocardiogram has the reports of all its study's ECGs in the batch.
    reports = list(dict.fromkeys(pairs.reports[row] for row in rows))
    for j, echo in enumerate(unique):
        related = {
            pairs.reports[row] for row in rows if pairs.study[pairs.echo[row]] == pairs.study[echo]
        }
        assert {r for k, r in enumerate(reports) if batch.texts.match[j, k]} == related


def test_where_every_stay_is_its_own_the_edge_is_plain_infonce() -> None:
    pairs = replace(
        tiny_run.echo_pairs(12, 12), study=np.arange(12), reports=tuple(tiny_run.texts()[:12])
    )
    batch = tiny_run.trainer(bound(), echo=pairs).batches.at(0).echo
    assert batch is not None and bool((batch.match.sum(0) == 1).all())
    assert bool((batch.match.sum(1) == 1).all())


def test_processes_share_the_reports_of_an_echo_batch() -> None:
    whole = tiny_run.trainer(bound(), echo=third()).batches.at(1).echo
    shares = [
        tiny_run.trainer(bound(), echo=third(), world=World(rank, 2, torch.device("cpu")))
        .batches.at(1)
        .echo
        for rank in (0, 1)
    ]
    assert whole is not None and whole.texts is not None
    joined = torch.cat([share.texts.token_ids for share in shares])  # type: ignore[union-attr]
    assert torch.equal(joined, whole.texts.token_ids)
    assert all(torch.equal(s.texts.match, whole.texts.match) for s in shares)  # type: ignore[union-attr]


def test_a_step_moves_all_three_scales() -> None:
    run = tiny_run.trainer(bound(), echo=third())
    values = run.step([run.batches.at(0)])
    assert {"text", "echo", "echo text"} <= set(values)
    assert run.echo_text_loss.scale.grad is not None
    assert "modules.echo_text_loss.scale" in run.tensors()
    assert not any("echo_text" in name for name in tiny_run.trainer(tiny_run.config()).tensors())


def test_presets_say_what_they_are_and_refuse_what_cannot_be() -> None:
    clip, bind = load_preset("ecg-clip"), load_preset("medbind")
    assert clip.loss.name == bind.loss.name == "infonce"
    assert clip.objective.echo_text_weight == 0.0 and bind.objective.match_studies
    with pytest.raises(ConfigError, match="none is given"):
        build_inputs(replace(bind, model=tiny_run.config().model), SET)
    for change in ("objective.text_weight=1.0", "freeze_text=true", "objective.mode=alternate"):
        with pytest.raises(ConfigError, match="echo_text_weight"):
            load_preset("medbind", [change])
    with pytest.raises(ConfigError, match="contradict"):
        load_preset("medbind", ["objective.identity_match=true"])


# --- files of embeddings ----------------------------------------------------------------------


def test_files_of_echoprimes_form_are_read(tmp_path: Path) -> None:
    import pandas as pd

    npz = read_views(write_npz(tmp_path / "clips.npz", CLIPS))
    np.testing.assert_array_equal(npz.vectors, CLIPS.vectors)
    assert npz.study_ids == CLIPS.study_ids and npz.teacher == "clips of clips.npz"
    lists = pd.DataFrame({"study_id": CLIPS.study_ids, "embedding": list(CLIPS.vectors)})
    lists.to_parquet(tmp_path / "lists.parquet")
    numbers = pd.DataFrame(CLIPS.vectors[:, ::-1], columns=[f"e{k}" for k in range(5, -1, -1)])
    numbers.insert(0, "study_id", CLIPS.study_ids)
    numbers.to_parquet(tmp_path / "numbers.parquet")
    for name in ("lists.parquet", "numbers.parquet"):
        np.testing.assert_array_equal(read_views(tmp_path / name).vectors, CLIPS.vectors)
    # With the one-hot view behind them, which is not read.
    wide = np.random.default_rng(0).normal(size=(4, 523)).astype(np.float32)
    np.savez(tmp_path / "wide.npz", embeddings=wide, study_id=np.arange(4))
    found = read_views(tmp_path / "wide.npz")
    np.testing.assert_array_equal(found.vectors, wide[:, :512])
    assert found.study_ids == ("0", "1", "2", "3")


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", embeddings=np.zeros((2, 3), np.float32))
    np.savez(tmp_path / "b.npz", embeddings=np.zeros((2, 3)), study_id=np.arange(3))
    np.savez(tmp_path / "c.npz", embeddings=np.full((1, 3), np.nan), study_id=np.arange(1))
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "d.npz", embeddings=objects, study_id=np.arange(1))
    (tmp_path / "e.parquet").write_bytes(b"no table")
    for name, words in (
        ("a.npz", "study_id"),
        ("b.npz", "do not belong together"),
        ("c.npz", "finite"),
        ("d.npz", "no embeddings"),
        ("e.parquet", "no embeddings"),
        ("f.npz", "no store"),
        ("g.csv", "no store"),
    ):
        with pytest.raises(DataSetError, match=words):
            read_views(tmp_path / name)


def test_padding_marks_what_is_missing() -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2)
    views, missing = padded(vectors, [np.array([4, 1]), np.array([5])])
    assert missing.tolist() == [[False, False], [False, True]]
    np.testing.assert_array_equal(views[0], vectors[[4, 1]])
    np.testing.assert_array_equal(views[1], [[10, 11], [0, 0]])


def test_vectors_of_any_modality_stand_in_echos_place() -> None:
    store = as_embeddings(CLIPS)
    np.testing.assert_allclose(np.linalg.norm(store.mu, axis=1), 1.0, rtol=1e-6)
    pairs = pair_with_echo(SET, store, 4)
    assert pairs.mu.shape[1] == 4 and len(pairs) == len(CLIPS)
    assert pairs.study is not None
    # Clips of one study share its number, and no other's.
    own = {int(s): CLIPS.study_ids[k] for k, s in enumerate(pairs.study)}
    assert [own[int(s)] for s in pairs.study] == list(CLIPS.study_ids)
    with pytest.raises(DataSetError, match="0 throughout"):
        as_embeddings(StudyViews(("a",), np.zeros((1, 3), np.float32), "t", "0"))
