"""MELP whole: the published names and shapes, its text side, and what its decoder may look at."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from echoing_core.errors import ConfigError
from echoing_core.models.bert import Bert
from echoing_core.models.config import (
    BertTextConfig,
    FrozenEcgConfig,
    ModelConfig,
    TextEncoderConfig,
)
from echoing_core.models.melp import (
    BEGIN,
    CaptionDecoder,
    MelpEncoder,
    melp_tokenizer,
    published_name,
    sentence_means,
)
from echoing_core.models.tokenizer import ReportTokenizer, load_tokenizer, train_tokenizer
from tests.foreign_files import melp_config
from tests.published_keys import n_parameters, published_shapes

PUBLISHED = ModelConfig(
    architecture="melp",
    frozen=FrozenEcgConfig(layers=8, beats=12, segment=5000, gain="min_max"),
    released_text=BertTextConfig(vocab_size=30523, max_tokens=128),
)


def test_it_has_every_published_array() -> None:
    with torch.device("meta"):
        whole = MelpEncoder(PUBLISHED, full=True)
    state = whole.state_dict()
    assert len(state) == 550
    found = {published_name(name): tuple(value.shape) for name, value in state.items()}
    assert found == published_shapes("keys_melp.tsv")
    assert n_parameters(whole.ecg.tower) == 65_593_345
    text = whole.text
    # Tied, so the head has the words of the embedding; that it does not learn takes none away.
    assert sum(p.numel() for p in text.lm_model.parameters()) == 109_515_067
    assert n_parameters(text.text_decoder) == 108_506_880
    assert n_parameters(text.proj_t) == 262_656 and n_parameters(text.sent_proj) == 196_864
    assert sum(p.numel() for p in whole.parameters()) == 284_074_813


def test_in_use_it_has_no_more_than_it_needs() -> None:
    torch.manual_seed(0)
    small, whole = MelpEncoder(melp_config()), MelpEncoder(melp_config(), full=True)
    needed = small.state_dict()
    assert set(needed) < set(whole.state_dict())
    assert not any("decoder" in name or "quantizer" in name or "cls" in name for name in needed)


def test_sizes_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"as wide as model\.released_text\.hidden"):
        replace(PUBLISHED, released_text=replace(PUBLISHED.released_text, hidden=96, n_heads=6))
    with pytest.raises(ConfigError, match="256 dimensions"):
        replace(PUBLISHED, dim=128)


# --- text -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> ReportTokenizer:
    return melp_tokenizer(train_tokenizer(["sinus rhythm. normal ecg."] * 2, 200, 12))


@pytest.fixture(scope="module")
def encoder(tokenizer: ReportTokenizer) -> MelpEncoder:
    torch.manual_seed(1)
    size = tokenizer.tokenizer.get_vocab_size()
    return MelpEncoder(melp_config(size), full=True, decoder_layers=2).eval()


def encoded(tokenizer: ReportTokenizer, *texts: str) -> tuple[Tensor, Tensor]:
    ids, mask = tokenizer.encode(texts)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def test_a_report_begins_with_its_own_token(tokenizer: ReportTokenizer, tmp_path: object) -> None:
    ids, _ = tokenizer.encode(["Sinus Rhythm."])
    pieces = [tokenizer.tokenizer.id_to_token(int(i)) for i in ids[0]]
    assert pieces == ["[CLS]", BEGIN, "sinus", "rhythm", ".", "[SEP]"]
    # Behind all others, as a vocabulary that was extended by one has it.
    assert ids[0, 1] == tokenizer.tokenizer.get_vocab_size() - 1
    tokenizer.save(tmp_path)  # type: ignore[arg-type]
    assert (load_tokenizer(tmp_path).encode(["Sinus Rhythm."])[0] == ids).all()  # type: ignore[arg-type]


def test_the_report_is_read_as_if_padded_to_its_full_length_with_cls_at_the_end(
    encoder: MelpEncoder, tokenizer: ReportTokenizer
) -> None:
    ids, mask = encoded(tokenizer, "sinus rhythm. normal ecg.", "normal ecg.")
    with torch.inference_mode():
        report, tokens = encoder.text.read(ids, mask)
        bert = encoder.text.lm_model.bert
        for row in range(2):
            n = int(mask[row].sum())
            # All 12 places: the tokens without [CLS], padding, [CLS] in the last place.
            full = torch.cat([ids[row, 1:n], torch.zeros(12 - n, dtype=torch.long), ids[row, :1]])
            known = full != 0
            seen = known[None] & torch.ones(12, 12).tril().bool()
            wanted = bert(full[None], seen[None])[0]
            assert_close(report[row], wanted[-1])
            assert_close(tokens[row, : n - 1], wanted[: n - 1])


def test_a_token_sees_those_before_it_alone(
    encoder: MelpEncoder, tokenizer: ReportTokenizer
) -> None:
    ids, mask = encoded(tokenizer, "sinus rhythm. normal ecg.")
    other = ids.clone()
    # [CLS] leaves, so the state before it is of the token at the same place here.
    other[0, 5] = 3
    with torch.inference_mode():
        (report, tokens), (changed, moved) = (encoder.text.read(x, mask) for x in (ids, other))
    assert torch.equal(tokens[0, :4], moved[0, :4])
    assert not torch.allclose(tokens[0, 4:], moved[0, 4:]) and not torch.allclose(report, changed)


def test_a_text_is_embedded_alike_alone_and_among_longer_ones(
    encoder: MelpEncoder, tokenizer: ReportTokenizer
) -> None:
    with torch.inference_mode():
        both, log_var = encoder.text(*encoded(tokenizer, "normal ecg.", "sinus rhythm. ecg."))
        alone, _ = encoder.text(*encoded(tokenizer, "normal ecg."))
    assert_close(both[:1], alone)
    assert_close(both.norm(dim=1), torch.ones(2)) and log_var.unique().numel() == 1


def test_places_and_masks_by_token_leave_a_plain_bert_as_it_was() -> None:
    torch.manual_seed(2)
    bert = Bert(TextEncoderConfig(8, 2, 2, 8, 20, 6, 0.0)).eval()
    ids, mask = torch.randint(4, 20, (2, 5)), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    plain = bert(ids, mask)
    assert_close(bert(ids, mask[:, None].expand(2, 5, 5), torch.arange(5)), plain)


def test_sentences_end_with_their_full_stops() -> None:
    states = torch.arange(18, dtype=torch.float64).reshape(2, 9, 1)
    # [BOS] a . b . c [SEP], and one without any full stop; 9 is the full stop.
    ids = torch.tensor([[1, 5, 9, 6, 9, 7, 2, 0, 0], [1, 5, 6, 2, 0, 0, 0, 0, 0]])
    means, there = sentence_means(states, ids, 9, {0, 1, 2})
    assert there.tolist() == [[True, True, True], [True, False, False]]
    assert means[0, :, 0].tolist() == [1.5, 3.5, 5.0] and means[1, 0, 0] == 10.5
    # As published the rest is dropped; where nothing would be left it stays.
    means, there = sentence_means(states, ids, 9, {0, 1, 2}, keep_rest=False)
    assert there.tolist() == [[True, True, False], [True, False, False]]
    assert means[1, 0, 0] == 10.5


# --- decoder ----------------------------------------------------------------------------------


def test_a_caption_is_written_from_what_stands_before_and_from_the_ecg() -> None:
    torch.manual_seed(3)
    decoder = CaptionDecoder(16, 11, layers=2).eval()
    states, memory = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    with torch.inference_mode():
        plain = decoder(states, memory)
        later = states.clone()
        later[:, 3] += torch.randn(16)
        moved = decoder(later, memory)
        assert plain.shape == (2, 5, 11)
        assert_close(moved[:, :3], plain[:, :3])
        assert (moved[:, 3:] - plain[:, 3:]).abs().amax(2).min() > 1e-3
        other = memory.clone()
        other[1] += torch.randn(3, 16)
        turned = decoder(states, other)
    assert_close(turned[0], plain[0])
    assert (turned[1] - plain[1]).abs().amax(1).min() > 1e-4
