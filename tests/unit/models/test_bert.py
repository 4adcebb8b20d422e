"""Our BERT is the published one: same weights, same states, same gradients."""

from __future__ import annotations

import pytest
import torch

from echoing_core.models.bert import Bert
from echoing_core.models.config import TextEncoderConfig
from echoing_core.models.hugging_face import declare_missing_operators

CONFIG = TextEncoderConfig(
    hidden=32, n_layers=2, n_heads=4, ffn=48, vocab_size=60, max_tokens=20, dropout=0.1
)


def _inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1, 60, (5, 12), generator=generator)
    mask = (torch.arange(12)[None] < torch.tensor([12, 7, 1, 9, 3])[:, None]).long()
    return ids * mask, mask


@pytest.mark.slow
def test_states_and_gradients_are_those_of_transformers() -> None:
    declare_missing_operators()
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    ours = Bert(CONFIG).eval()
    theirs = BertModel(
        BertConfig(
            vocab_size=60,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=20,
        ),
        add_pooling_layer=False,
    ).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    ids, mask = _inputs()
    a, b = ours(ids, mask), theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    # States of padding are nobody's: nothing reads them.
    torch.testing.assert_close(a[mask.bool()], b[mask.bool()], rtol=0, atol=1e-6)
    for states in (a, b):
        states[mask.bool()].square().sum().backward()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert mine.grad is not None and other.grad is not None, name
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_padding_changes_nothing() -> None:
    torch.manual_seed(1)
    bert = Bert(CONFIG).eval()
    ids, mask = _inputs()
    short = bert(ids[1:2, :7], mask[1:2, :7])
    torch.testing.assert_close(bert(ids, mask)[1:2, :7], short, rtol=0, atol=1e-6)


def test_recomputed_activations_give_the_same_gradients() -> None:
    torch.manual_seed(1)
    bert, gradients = Bert(CONFIG).train(), []
    ids, mask = _inputs()
    for recompute in (False, True):
        bert.recompute = recompute
        bert.zero_grad()
        torch.manual_seed(7)
        bert(ids, mask).square().sum().backward()
        gradients.append([p.grad.clone() for p in bert.parameters() if p.grad is not None])
    for kept, again in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, again)


def test_dropout_acts_in_training_alone() -> None:
    bert = Bert(CONFIG)
    ids, mask = _inputs()
    bert.train()
    assert not torch.equal(bert(ids, mask), bert(ids, mask))
    bert.eval()
    assert torch.equal(bert(ids, mask), bert(ids, mask))
