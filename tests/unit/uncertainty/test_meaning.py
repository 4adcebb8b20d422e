"""What is said of sigma^2 follows from what taught it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from echoing_core.evaluate.shipped.card import write_card
from echoing_core.models.checkpoint import Checkpoint, load_checkpoint, update_documents
from echoing_core.services import load_model, shipped_models
from echoing_core.uncertainty.meaning import CARD_WORDS, MEANINGS, NAMES
from tests.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return load_checkpoint(folder)


@pytest.mark.parametrize(
    ("sigma2", "record", "taught_by"),
    [
        ("displacement", {"sigma2_scale": 0.4}, "displacement"),
        ("displacement", {"second_stage": {"steps": 5}}, "displacement"),
        ("displacement", {"config": {"variance_steps": 400}}, "displacement"),
        # A head for displacement that only the matching loss ever reached.
        ("displacement", {"config": {"loss": {"name": "pcmepp"}}}, "matching"),
        ("displacement", {"config": {"loss": {"name": "infonce"}}}, "nothing"),
        ("matching", {"second_stage": {"steps": 5}}, "matching"),
        ("matching", {"imported": {"from": "x"}}, "matching"),
        ("matching", {"config": {"loss": {"name": "infonce"}}}, "nothing"),
    ],
)
def test_what_taught_it(
    tiny: Checkpoint, sigma2: str, record: dict[str, object], taught_by: str
) -> None:
    model = dataclasses.replace(tiny, sigma2=sigma2, training=record)
    assert model.sigma2_taught_by == taught_by


def test_every_kind_has_its_words() -> None:
    kinds = {"displacement", "matching", "nothing", "absent"}
    assert set(MEANINGS) == set(CARD_WORDS) == set(NAMES) == kinds
    assert "no sigma²" in MEANINGS["absent"]
    assert "noise" in MEANINGS["displacement"] and "does not say" in MEANINGS["displacement"]
    assert "ambiguous" in MEANINGS["matching"] and "not taught what noise" in MEANINGS["matching"]


@pytest.mark.parametrize("name", shipped_models())
def test_cards_and_screens_of_shipped_models_agree_with_their_records(name: str) -> None:
    """Each sentence about sigma^2 is true of the model that it stands beside."""
    model = load_model(name)
    wanted = "displacement" if model.has_attribution else "matching"
    assert model.sigma2_taught_by == wanted
    assert model.sigma2_means == MEANINGS[wanted]
    kinds = model.checkpoint.sigma2_kinds
    if wanted == kinds[0]:
        assert f"`sigma2: {wanted}`" in model.card_markdown
        others = [words for kind, words in CARD_WORDS.items() if kind not in kinds]
        assert not any(words in model.card_markdown for words in others)


def test_the_card_is_written_for_what_taught_it(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    write_tiny_model(folder)
    training = {
        "simulated_ecgs": 1,
        "simulated_patients": 1,
        "real_ecgs": 0,
        "ecg_parameters": 1,
        "text_parameters": 1,
        "config": {"model": {"dim": 12}, "loss": {"name": "pcmepp"}},
    }
    update_documents(folder, training=training)
    model = load_model(folder)
    card = write_card("x", "f" * 64, training, "r", [], taught_by=model.sigma2_taught_by)
    assert "`sigma2: matching`" in card
    assert CARD_WORDS["matching"] in card
    assert CARD_WORDS["displacement"] not in card
