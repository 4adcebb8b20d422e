"""The WordPiece vocabulary of a small text model, and the words it was trained on."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.errors import CheckpointError

_PADDING, _UNKNOWN, _START, _END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
_SPECIAL = (_PADDING, _UNKNOWN, _START, _END)

# What BertPreTokenizer makes of a text: runs of letters and digits, and single marks.
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"[a-z]+|\d+")


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers of a text, in order."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class ReportTokenizer:
    """WordPiece tokens for reports and prompts, lower-cased.

    Attributes
    ----------
    tokenizer : tokenizers.Tokenizer
    known_words : frozenset of str
        Words that occurred in the training texts. Others are cut into pieces the model may
        never have learnt, and are flagged to the user.
    max_tokens : int
    """

    tokenizer: Any
    known_words: frozenset[str]
    max_tokens: int

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token ids and attention mask, both of shape (n_texts, longest)."""
        encoded = self.tokenizer.encode_batch([text.lower() for text in texts])
        rows = [item.ids[: self.max_tokens] for item in encoded]
        longest = max((len(row) for row in rows), default=1)
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return ids, mask

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words of ``text`` that were in no training text, each once, in order."""
        return tuple(dict.fromkeys(word for word in words_of(text) if word not in self.known_words))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``words.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        (folder / "words.json").write_text(
            json.dumps({"max_tokens": self.max_tokens, "words": sorted(self.known_words)}),
            encoding="utf-8",
        )


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_tokens: int) -> ReportTokenizer:
    """Make a WordPiece vocabulary from training texts: their words, then single characters.

    The most frequent words enter whole, in order of frequency and then of the alphabet;
    anything else falls apart into
    characters. The usual trainer breaks ties by hash order, so
    two runs on the same texts give two vocabularies; this one gives the same bytes.
    """
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.processors import BertProcessing

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_PIECE.findall(text.lower()))
    characters = sorted({*string.ascii_lowercase, *string.digits, *"".join(counts)})
    vocabulary = [*_SPECIAL, *characters, *(f"##{character}" for character in characters)]
    frequent = sorted(
        (word for word in counts if len(word) > 1 and counts[word] > 1),
        key=lambda word: (-counts[word], word),
    )
    vocabulary += frequent[: max(0, vocab_size - len(vocabulary))]
    tokenizer = Tokenizer(
        WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token=_UNKNOWN)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(
        (_END, vocabulary.index(_END)), (_START, vocabulary.index(_START))
    )
    known = frozenset(word for piece in counts for word in words_of(piece))
    # Through its own file, so that training and loading use the very same object.
    return _from_json(tokenizer.to_str(), known, max_tokens)


def load_tokenizer(folder: Path) -> ReportTokenizer:
    """Read what `ReportTokenizer.save` wrote.

    Raises
    ------
    CheckpointError
        A file is missing or not what it should be.
    """
    try:
        words = json.loads((folder / "words.json").read_text(encoding="utf-8"))
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
        return _from_json(text, frozenset(words["words"]), int(words["max_tokens"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "The model's tokenizer cannot be read. Fetch the model folder again."
        ) from error


def _from_json(text: str, words: frozenset[str], max_tokens: int) -> ReportTokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    # Truncation by the tokenizer keeps the closing [SEP], a plain cut would lose it.
    tokenizer.enable_truncation(max_tokens)
    return ReportTokenizer(tokenizer, words, max_tokens)
