"""WordPiece vocabularies: of our own small text model with the words it knows, or of a BERT."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.documents import parse_json
from echoing_core.errors import CheckpointError

_PADDING, _UNKNOWN, _START, _END = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
BIOBERT = "dmis-lab/biobert-v1.1"

TEMPLATE = "Given the data for ECG. The corresponding ECG report is : {text}\n\n."
"""What the published model's lower-cased reports stand in. The sentence itself keeps its capitals:
that vocabulary knows them."""

_SPECIAL = (_PADDING, _UNKNOWN, _START, _END)

# What BertPreTokenizer makes of a text: runs of letters and digits, and single marks.
_PIECE = re.compile(r"\w+|[^\w\s]")
_WORD = re.compile(r"[a-z]+|\d+")


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers of a text, in order.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str
    """
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
    template : str or None
        A sentence around every text, which stands for ``{text}``.
    saw_words : bool
        False where ``known_words`` are only a foreign vocabulary's whole entries: it cuts other
        words into pieces that it may well have learnt.
    """

    tokenizer: Any
    known_words: frozenset[str]
    max_tokens: int
    template: str | None = None
    saw_words: bool = True

    def encode(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Token ids and attention mask, both of shape (n_texts, longest).

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        ids, mask : ndarray of int64, shape (n_texts, longest)
        """
        lower = [text.lower() for text in texts]
        if self.template is not None:
            lower = [self.template.replace("{text}", text) for text in lower]
        encoded = self.tokenizer.encode_batch(lower)
        rows = [item.ids[: self.max_tokens] for item in encoded]
        longest = max((len(row) for row in rows), default=1)
        ids = np.zeros((len(rows), longest), dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return ids, mask

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words of ``text`` that were in no training text, each once, in order.

        Parameters
        ----------
        text : str

        Returns
        -------
        tuple of str
            In lower case.
        """
        return tuple(dict.fromkeys(word for word in words_of(text) if word not in self.known_words))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and ``words.json``.

        Parameters
        ----------
        folder : Path
            Made if it is not there.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        words: dict[str, Any] = {"max_tokens": self.max_tokens, "words": sorted(self.known_words)}
        # Only where it is not the usual: files of our own vocabularies stay as they always were.
        if self.template is not None:
            words["template"] = self.template
        if not self.saw_words:
            words["saw_words"] = False
        (folder / "words.json").write_text(json.dumps(words), encoding="utf-8")


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_tokens: int) -> ReportTokenizer:
    """Make a WordPiece vocabulary from training texts: their words, then single characters.

    The most frequent words enter whole, in order of frequency and then of the alphabet; anything
    else falls apart into characters. The usual trainer breaks ties by hash order, so two runs on
    the same texts give two vocabularies; this one gives the same bytes.

    Parameters
    ----------
    texts : iterable of str
    vocab_size : int
        At most. A word needs two occurrences to enter.
    max_tokens : int
        Where texts are cut.

    Returns
    -------
    ReportTokenizer
    """
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.processors import BertProcessing

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_PIECE.findall(text.lower()))
    # All letters and digits, so that any word can at least be spelled.
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

    Parameters
    ----------
    folder : Path

    Returns
    -------
    ReportTokenizer

    Raises
    ------
    CheckpointError
        A file is missing or not what it should be.
    """
    try:
        files = [(folder / name).read_bytes() for name in ("tokenizer.json", "words.json")]
    except OSError as error:
        raise _unreadable() from error
    return parse_tokenizer(*files)


def parse_tokenizer(tokenizer: bytes, words: bytes) -> ReportTokenizer:
    """As `load_tokenizer`, of files that are in memory.

    Parameters
    ----------
    tokenizer, words : bytes
        Of ``tokenizer.json`` and ``words.json``.

    Raises
    ------
    CheckpointError
        One of them is not what it should be.
    """
    try:
        known = parse_json(words)
        template = known.get("template")
        if not isinstance(template, str | None):
            raise TypeError("the template must be a text")
        return replace(
            _from_json(
                tokenizer.decode("utf-8"), frozenset(known["words"]), int(known["max_tokens"])
            ),
            template=template,
            saw_words=known.get("saw_words", True) is True,
        )
    # The library raises bare exceptions for what it cannot read.
    except Exception as error:
        raise _unreadable() from error


def _unreadable() -> CheckpointError:
    return CheckpointError("The model's tokenizer cannot be read. Fetch the model folder again.")


def read_bert_tokenizer(
    source: str | Path = BIOBERT, max_tokens: int = 244, template: str | None = TEMPLATE
) -> ReportTokenizer:
    """The vocabulary of a cased BERT, for texts that are lower-cased before they meet it.

    Parameters
    ----------
    source : str or path
        A vocab.txt, a folder with one, or a name on the Hugging Face hub.
    max_tokens : int
        Where texts are cut, [CLS] and [SEP] included.
    template : str, optional
        See `ReportTokenizer`.

    Returns
    -------
    ReportTokenizer

    Raises
    ------
    CheckpointError
        There is no such file, the hub cannot be reached, or it is no WordPiece vocabulary.
    """
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordPiece
    from tokenizers.processors import BertProcessing

    entries = _entries(source)
    vocabulary = {entry: i for i, entry in enumerate(entries)}
    complete = all(token in vocabulary for token in _SPECIAL) and entries[0] == _PADDING
    if not complete or len(vocabulary) != len(entries):
        raise CheckpointError(
            f"{Path(source).name} is not the vocabulary of a BERT: it needs [PAD] as its first "
            "entry, [UNK], [CLS] and [SEP], and none twice. Name the vocab.txt of the model's BERT."
        )
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=_UNKNOWN))
    # Lower-casing is done before: the template around a report keeps its capitals.
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(
        (_END, vocabulary[_END]), (_START, vocabulary[_START])
    )
    words = frozenset(entry for entry in entries if _WORD.fullmatch(entry))
    return replace(
        _from_json(tokenizer.to_str(), words, max_tokens), template=template, saw_words=False
    )


def _entries(source: str | Path) -> list[str]:
    path = Path(source)
    if path.is_dir():
        path = path / "vocab.txt"
    if not path.is_file():
        path = _from_hub(str(source))
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The vocabulary {path.name} cannot be read as text. Name a vocab.txt."
        ) from error
    # The last line break ends a line, it begins none.
    return [line.rstrip("\r") for line in (lines[:-1] if lines[-1] == "" else lines)] or [""]


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(name, "vocab.txt"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"No vocabulary was found at {name!r}. Name a vocab.txt, a folder with one, or a name "
            f"such as {BIOBERT} while the Hugging Face hub can be reached."
        ) from error


def _from_json(text: str, words: frozenset[str], max_tokens: int) -> ReportTokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_padding()
    # Truncation by the tokenizer keeps the closing [SEP], a plain cut would lose it.
    tokenizer.enable_truncation(max_tokens)
    return ReportTokenizer(tokenizer, words, max_tokens)
