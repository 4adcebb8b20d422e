"""States of a frozen text model, computed once and read from disk in training.

BioBERT's forward pass is most of a training step on a small machine, and with frozen weights
it gives the same states for the same report every time. They are kept as float16 in one file
a few hundred texts, memory-mapped when read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from echoing_core.artifacts import replacing_file, write_text_atomically
from echoing_core.errors import ConfigError
from echoing_core.models.tokenizer import ReportTokenizer
from echoing_core.progress import SILENT, Progress

# A file is computed whole or not at all, so a run that is stopped loses at most so many.
_TEXTS_A_FILE = 256
_BATCH = 32


class TextStates:
    """Token states of a fixed list of texts.

    Parameters
    ----------
    folder : Path
        Where the files are and go. One folder serves several models: files lie under a hash of
        the text model's weights, the tokenizer and the texts.
    tower : nn.Module
        With ``states(ids, mask)`` of shape (n, n_tokens, hidden) and frozen weights.
    tokenizer : ReportTokenizer
    texts : sequence of str
        All texts that will be asked for.
    progress : Progress, optional
        Counts texts.
    """

    def __init__(
        self,
        folder: Path,
        tower: nn.Module,
        tokenizer: ReportTokenizer,
        texts: Sequence[str],
        *,
        device: torch.device | None = None,
        progress: Progress = SILENT,
    ) -> None:
        # Sorted, so that the key does not depend on the order of the data set.
        unique = sorted(set(texts))
        self.folder = folder / _key(tower, tokenizer, unique)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._place: dict[str, tuple[int, int, int]] = {}
        self._files: list[npt.NDArray[np.float16]] = []
        device = device or torch.device("cpu")
        tower.eval()
        for number, first in enumerate(range(0, len(unique), _TEXTS_A_FILE)):
            shard = unique[first : first + _TEXTS_A_FILE]
            path = self.folder / f"{number:06d}.npy"
            lengths = self._lengths(path, shard, tower, tokenizer, device)
            self._files.append(np.load(path, mmap_mode="r"))
            begin = 0
            for text, length in zip(shard, lengths, strict=True):
                self._place[text] = (number, begin, begin + length)
                begin += length
            progress(first + len(shard), len(unique))

    def of(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """States (n, longest, hidden), float32, and their int64 mask.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        states : Tensor, shape (n, longest, hidden)
            float32.
        mask : Tensor of int64, shape (n, longest)

        Raises
        ------
        ConfigError
            A text was not among those that were given at the beginning.
        """
        pieces = []
        for text in texts:
            if text not in self._place:
                raise ConfigError(
                    "A report was met whose states were not computed: reports must be used whole "
                    "and in one wording (views.partial_report_share 0) while the text model is "
                    "frozen."
                )
            number, begin, end = self._place[text]
            pieces.append(self._files[number][begin:end])
        longest = max((len(piece) for piece in pieces), default=1)
        hidden = self._files[0].shape[1]
        states = np.zeros((len(pieces), longest, hidden), dtype=np.float32)
        mask = np.zeros((len(pieces), longest), dtype=np.int64)
        for i, piece in enumerate(pieces):
            states[i, : len(piece)] = piece
            mask[i, : len(piece)] = 1
        return torch.from_numpy(states), torch.from_numpy(mask)

    def _lengths(
        self,
        path: Path,
        texts: Sequence[str],
        tower: Any,
        tokenizer: ReportTokenizer,
        device: torch.device,
    ) -> list[int]:
        """Tokens of each text of a file, which is written first where it is not there."""
        listing = path.with_suffix(".json")
        # The list is written last: where it is, the states are whole.
        if listing.is_file():
            return list(json.loads(listing.read_text(encoding="utf-8")))
        rows, lengths = [], []
        with torch.inference_mode():
            for first in range(0, len(texts), _BATCH):
                ids, mask = tokenizer.encode(texts[first : first + _BATCH])
                states = tower.states(
                    torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
                )
                for state, n in zip(states.float().cpu().numpy(), mask.sum(1), strict=True):
                    # Padding is not stored; float16 is half of what BioBERT's states need on disk.
                    rows.append(state[: int(n)].astype(np.float16))
                    lengths.append(int(n))
        with replacing_file(path) as draft:
            np.save(draft, np.concatenate(rows))
        write_text_atomically(listing, json.dumps(lengths))
        return lengths


def _key(tower: nn.Module, tokenizer: ReportTokenizer, texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tower.state_dict().items()):
        # Only the heads learn; their weights do not change the states.
        if name.startswith("backbone."):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy())
    digest.update(tokenizer.tokenizer.to_str().encode())
    digest.update(f"{tokenizer.max_tokens} {getattr(tokenizer, 'template', '')}".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:24]
