"""What this project takes from ``transformers``: weights of a BERT, and a language model.

``transformers`` costs six seconds of processor time to import, so its networks are not used: a BERT
is our own (`models.bert`), with its names.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from echoing_core.errors import CheckpointError

MAX_NEW_TOKENS = 700

_declared: list[Any] = []
"""Kept for the life of the process: a library that is collected takes its operators along."""


def declare_missing_operators() -> bool:
    """Declare ``torchvision::nms`` and ``qnms`` if nothing else can; True if it was done.

    PyPI's torchvision is linked against CUDA libraries. Beside a CPU build of torch they are
    absent, its import fails for want of two operators that this project never calls, and
    transformers, which looks for torchvision, fails with it. Declaring the operators' signatures
    is enough.

    Call it before the first import of torchvision, open_clip, timm or transformers. Without
    torchvision, or with a CUDA build of torch, whose torchvision brings the real ones, it does
    nothing.
    """
    if _declared or torch.version.cuda is not None or not importlib.util.find_spec("torchvision"):
        return False
    library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
    return True


class TextGenerator:
    """Answers a prompt, greedily: the same prompt always gets the same answer.

    Parameters
    ----------
    tokenizer, model
        Of ``transformers``.
    max_new_tokens : int
    """

    def __init__(self, tokenizer: Any, model: Any, max_new_tokens: int = MAX_NEW_TOKENS) -> None:
        self.tokenizer = tokenizer
        self.model = model.eval()
        self.max_new_tokens = max_new_tokens

    def __call__(self, prompt: str) -> str:
        """Answer, without the prompt.

        Parameters
        ----------
        prompt : str

        Returns
        -------
        str

        Raises
        ------
        CheckpointError
            The prompt leaves no room for an answer.
        """
        text, special = prompt, True
        # Models tuned for conversation answer only within their own template.
        if getattr(self.tokenizer, "chat_template", None):
            message = [{"role": "user", "content": prompt}]
            text = self.tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
            # A chat template writes the special tokens itself; twice would confuse the model.
            special = False
        given = self.tokenizer(text, return_tensors="pt", add_special_tokens=special)
        ids = given["input_ids"].to(self.model.device)
        # Beyond its positions a model would fail within torch, or answer nonsense.
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and ids.shape[1] >= room:
            raise CheckpointError(
                f"The prompt has {ids.shape[1]} tokens and the language model reads {room}. Take "
                "one that reads longer texts."
            )
        left = (
            self.max_new_tokens if room is None else min(self.max_new_tokens, room - ids.shape[1])
        )
        with torch.inference_mode():
            out = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=left,
                # Greedy: the same prompt gives the same answer.
                do_sample=False,
                pad_token_id=self._padding(),
            )
        return str(self.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True))

    def _padding(self) -> int:
        # Only one prompt is read at a time, so what pads does not matter; generate wants a number.
        for one in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if one is not None:
                return int(one)
        return 0


def load_text_generator(
    source: str | Path, *, download: bool = False, device: str = "cpu"
) -> TextGenerator:
    """Load a causal language model: safetensors only, and no code of its own is run.

    Parameters
    ----------
    source : str or Path
        A local folder in the format of ``transformers``; with ``download``, a name on the hub.
    download : bool
        Without it nothing is ever fetched.
    device : str

    Returns
    -------
    TextGenerator

    Raises
    ------
    CheckpointError
        There is no such folder, or it cannot be loaded.
    """
    local = Path(source).is_dir()
    if not local and not download:
        raise CheckpointError(
            f"There is no folder {source} with a language model. Name a local folder; nothing is "
            "downloaded unless that is asked for."
        )
    declare_missing_operators()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # No code of the folder's own is ever run.
    safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(source), **safe)
        model: Any = AutoModelForCausalLM.from_pretrained(str(source), use_safetensors=True, **safe)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"{Path(source).name} cannot be loaded as a causal language model with safetensors: "
            f"{str(error).splitlines()[0][:200]}"
        ) from error
    return TextGenerator(tokenizer, model.to(device))


class TextStates(nn.Module):
    """Tokens -> token states of a BERT -> Gaussian; how states are pooled is a child's own.

    A child registers ``backbone`` itself, so that its weights keep their order and names.
    """

    backbone: Any

    def forward(self, token_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var), both (batch, dim), from int64 tokens of shape (batch, n_tokens).

        Parameters
        ----------
        token_ids, attention_mask : Tensor of int64, shape (batch, n_tokens)

        Returns
        -------
        mu, log_var : Tensor, shape (batch, dim)
        """
        return self.from_states(self.states(token_ids, attention_mask), attention_mask)

    def states(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token states of the backbone, shape (batch, n_tokens, hidden).

        Parameters
        ----------
        token_ids, attention_mask : Tensor of int64, shape (batch, n_tokens)

        Returns
        -------
        Tensor, shape (batch, n_tokens, hidden)
        """
        states: Tensor = self.backbone(token_ids, attention_mask)
        return states

    def recompute(self) -> None:
        """Compute activations again in the backward pass instead of keeping them."""
        self.backbone.recompute = True

    def from_states(self, states: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(mu, log_var) from token states; see the children."""
        raise NotImplementedError
