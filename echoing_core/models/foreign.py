"""The published weights of EchoingECG under our names, and the order of the leads they expect.

The file ``echoingecg.pt`` holds 669 arrays, 448 of the ECG encoder and 221 of the text encoder; our
modules keep their names, so a key changes its prefix only. How large the networks are is read off
the arrays. The file does not hold what its loss learnt, and neither file says in which order the
leads were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.config import BertTextConfig, ModelConfig, ReleasedEcgConfig
from echoing_core.models.pickled import read_scaler, read_tensors
from echoing_core.models.released import LEAD_ORDERS, ReleasedDualEncoder
from echoing_core.records import LEADS
from echoing_core.signals.scaling import LeadScaler

PREFIXES = {"ecg_encoder.": "ecg.", "text_encoder.": "text."}
# What DataParallel, a trainer and torch.compile put before the names.
WRAPPERS = ("", "module.", "model.", "_orig_mod.")
# Channels of one attention head, in all BERTs of the original family.
_HEAD_WIDTH = 64
# A lead that never moved would be divided by 0.
_LEAST_SCALE = 1e-8

_LAYER = re.compile(r"text_encoder\.backbone\.encoder\.layer\.(\d+)\.")


def read_published(path: Path, lead_order: str = "mimic") -> ReleasedDualEncoder:
    """The published encoders from their file of weights, which is not executed.

    Parameters
    ----------
    path : Path
        ``echoingecg.pt``, by `torch.save`; the table may lie under ``state_dict``, and its names
        may begin with ``module.``.
    lead_order : {"mimic", "standard"}
        Order in which the network was given the leads.

    Returns
    -------
    ReleasedDualEncoder
        In evaluation mode, without gradients.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds another architecture.
    ConfigError
        There is no such order.
    """
    if lead_order not in LEAD_ORDERS:
        raise ConfigError(
            f"There is no lead order {lead_order!r}. Choose one of {', '.join(LEAD_ORDERS)}."
        )
    state = _unwrapped(read_tensors(path))
    try:
        config = config_of(state, lead_order)
        # Without numbers: the network takes those of the file, and no second copy is made.
        with torch.device("meta"):
            encoder = ReleasedDualEncoder(config)
        missing, unexpected = encoder.load_state_dict(
            {our_name(name): value for name, value in state.items()}, strict=False, assign=True
        )
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} holds another architecture than EchoingECG's. Name the published "
            "echoingecg.pt."
        ) from error
    if missing or unexpected:
        what = f"lacks {len(missing)} arrays" if missing else f"has {len(unexpected)} too many"
        raise CheckpointError(
            f"{path.name} {what}, {(missing or unexpected)[0]} among them. Name the published "
            "echoingecg.pt."
        )
    # One NaN would make every answer NaN, far from its cause.
    if not all(bool(torch.isfinite(value).all()) for value in encoder.state_dict().values()):
        raise CheckpointError(f"{path.name} has weights that are not finite. Fetch the file again.")
    _fill_what_no_file_holds(encoder)
    encoder.eval().requires_grad_(False)
    return encoder


def our_name(name: str) -> str:
    """``ecg_encoder.conv1.weight`` -> ``ecg.conv1.weight``; others stay as they are.

    Parameters
    ----------
    name : str
        As in the published file.

    Returns
    -------
    str
    """
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def published_name(name: str) -> str:
    """The inverse of `our_name`.

    Parameters
    ----------
    name : str
        As in `ReleasedDualEncoder`.

    Returns
    -------
    str
    """
    for theirs, ours in PREFIXES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def config_of(state: Mapping[str, Tensor], lead_order: str) -> ModelConfig:
    """The sizes of the networks, read off their arrays.

    The number of attention heads leaves no trace: it is taken to be a 64th of the width, as in
    every BERT of the original family.

    Parameters
    ----------
    state : mapping of str to Tensor
        By published names.
    lead_order : {"standard", "mimic"}

    Returns
    -------
    ModelConfig
    """
    words = state["text_encoder.backbone.embeddings.word_embeddings.weight"]
    # A set: every layer has many arrays.
    layers = {int(match[1]) for match in map(_LAYER.match, state) if match}
    hidden = int(words.shape[1])
    ffn = state["text_encoder.backbone.encoder.layer.0.intermediate.dense.weight"]
    positions = state["text_encoder.backbone.embeddings.position_embeddings.weight"]
    defaults = BertTextConfig()
    return ModelConfig(
        architecture="released",
        dim=int(state["ecg_encoder.linear.weight"].shape[0]),
        log_var_bias=0.0,
        released_ecg=ReleasedEcgConfig(
            init_dim=int(state["ecg_encoder.conv1.weight"].shape[0]), lead_order=lead_order
        ),
        released_text=BertTextConfig(
            hidden=hidden,
            n_layers=len(layers),
            # At least one, for the small networks of tests.
            n_heads=max(1, hidden // _HEAD_WIDTH),
            ffn=int(ffn.shape[0]),
            vocab_size=int(words.shape[0]),
            n_positions=int(positions.shape[0]),
            max_tokens=min(defaults.max_tokens, int(positions.shape[0])),
        ),
    )


def read_published_scaler(path: Path, lead_order: str = "mimic") -> tuple[LeadScaler, str]:
    """``ecg_scaler.pkl`` in the order of `LEADS`, and what its numbers say of their own order.

    Parameters
    ----------
    path : Path
        ``ecg_scaler.pkl``.
    lead_order : {"mimic", "standard"}
        Order of its 12 rows.

    Returns
    -------
    scaler : LeadScaler
    note : str
        See `order_words`.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds anything but the means and scales of 12 leads.
    """
    mean, scale = read_scaler(path)
    order = LEAD_ORDERS[lead_order]
    rows = [order.index(lead) for lead in LEADS]
    scaler = LeadScaler(
        tuple(float(mean[row]) for row in rows),
        tuple(max(float(scale[row]), _LEAST_SCALE) for row in rows),
    )
    return scaler, order_words(scale, lead_order)


def suggested_order(scale: npt.NDArray[np.float64]) -> str | None:
    """The order that fits 12 standard deviations; None if they cannot tell.

    III = II - I, aVL = I - II / 2 and aVF = II - I / 2 hold for every sample. So the standard
    deviations of I, II and III give the covariance of I and II, and with it those of aVL and aVF.

    Parameters
    ----------
    scale : ndarray, shape (12,)
        Standard deviations, in the file's order of leads.

    Returns
    -------
    {"standard", "mimic"} or None
    """
    i, ii, iii = (float(value) ** 2 for value in scale[:3])
    # var(II - I) = var I + var II - 2 cov; i, ii and iii are variances.
    covariance = (i + ii - iii) / 2
    avl, avf = i + ii / 4 - covariance, ii + i / 4 - covariance
    if min(avl, avf) <= 0 or not (scale[4:6] > 0).all():
        return None
    # Logarithm of a ratio of standard deviations, hence the half.
    expected = math.log(avl / avf) / 2
    observed = math.log(float(scale[4]) / float(scale[5]))
    # Rounding and recordings whose leads do not fit each other blur a difference this small.
    if abs(expected) < 0.03 or abs(abs(observed) - abs(expected)) > 0.5 * abs(expected):
        return None
    return "standard" if observed * expected > 0 else "mimic"


def order_words(scale: npt.NDArray[np.float64], chosen: str) -> str:
    """One caution about the order of the leads, which no file states.

    Parameters
    ----------
    scale : ndarray, shape (12,)
    chosen : {"standard", "mimic"}

    Returns
    -------
    str
        One or two sentences, for the notes of an import.
    """
    suggested = suggested_order(scale)
    rows = f"rows 5 and 6 of its scale are {scale[4]:.4g} and {scale[5]:.4g}"
    if suggested is None:
        return (
            f"Caution: the order of the leads is not documented, and the scaler does not tell "
            f"({rows}). Taken is {chosen!r}: {_words_of(chosen)}."
        )
    if suggested == chosen:
        return (
            f"The order of the leads is not documented. Taken is {chosen!r}, {_words_of(chosen)}; "
            f"the scaler fits it ({rows}, as leads I, II and III demand)."
        )
    return (
        f"Caution: the order of the leads is not documented. Taken is {chosen!r}, "
        f"{_words_of(chosen)}, but the scaler fits {suggested!r} ({rows}, and leads I, II and III "
        f"demand the opposite). Import again with --lead-order {suggested}."
    )


def _words_of(order: str) -> str:
    leads = LEAD_ORDERS[order]
    first, second = sorted(("aVL", "aVF"), key=leads.index)
    return f"{first} before {second}"


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what data parallelism or a trainer put before them, and without indices."""
    for wrapper in WRAPPERS:
        if any(name.startswith(wrapper + "ecg_encoder.") for name in state):
            state = {name.removeprefix(wrapper): value for name, value in state.items()}
            break
    # Older versions of transformers saved the numbers 0, 1, 2... of the positions.
    return {name: v for name, v in state.items() if not name.endswith("embeddings.position_ids")}


def _fill_what_no_file_holds(encoder: ReleasedDualEncoder) -> None:
    """Buffers that are no weights, which a model made on the meta device has no numbers for."""
    order = LEAD_ORDERS[encoder.config.released_ecg.lead_order]
    encoder.ecg.lead_rows = torch.tensor([LEADS.index(lead) for lead in order])
    left = [name for name, value in encoder.named_buffers() if value.is_meta]
    left += [name for name, value in encoder.named_parameters() if value.is_meta]
    if left:
        raise RuntimeError(f"no numbers for {left}")
