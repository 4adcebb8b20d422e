"""Published ECG encoders of others under our names: ECG-FM, MELP and Echo2ECG.

A file is recognised by the names and shapes in it, never by its own name:

=========  =======================================================================================
system     files
=========  =======================================================================================
ECG-FM     ``.pt`` of fairseq-signals, pre-trained (names without prefix) and fine-tuned
           (``encoder.``, and a head ``proj``). Of model, optimiser and settings the model is read
MELP       safetensors in half precision, or a trainer's ``.ckpt``: the ECG tower of either, and
           the language model where the file has one and its vocabulary is given
Echo2ECG   ``.ckpt`` with ``cfg``, ``ecg_encoder`` and ``token_aggregator``, or with ``model``
=========  =======================================================================================

What stands before all names is cut off; then names and shapes must fit to the last one. How many
layers there are and how wide is read off the arrays; the number of attention heads leaves no trace
and is a 64th of the width, as published.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.models.config import BertTextConfig, FrozenEcgConfig, ModelConfig
from echoing_core.models.frozen import FrozenEncoder
from echoing_core.models.melp import MelpEncoder
from echoing_core.models.otis import PATCH
from echoing_core.models.pickled import MAX_TENSOR_BYTES, MAX_TENSORS, read_tables

ECG_FM, MELP, ECHO2ECG = "ECG-FM", "MELP", "Echo2ECG"

_HEAD_WIDTH = 64
MELP_TOKENS = 128
"""Where MELP cuts reports."""

_ENTRIES = {
    "model": "",
    "state_dict": "",
    "ecg_encoder": "ecg_encoder.",
    "token_aggregator": "token_aggregator.",
}
_STEM = "feature_extractor.conv_layers.0.0.weight"
_PATCHES = "patch_embed.proj.weight"
_QUERY = "attn_pool_contrast.query"
_WORDS = "lm_model.bert.embeddings.word_embeddings.weight"

# Two spellings of torch for one length and one direction.
_WEIGHT_NORM = {
    "conv_pos.pos_conv.0.weight_g": "conv_pos.pos_conv.0.parametrizations.weight.original0",
    "conv_pos.pos_conv.0.weight_v": "conv_pos.pos_conv.0.parametrizations.weight.original1",
}
_PRETRAINING = ("mask_emb", "quantizer.", "project_q.", "final_proj.")
_LAYER = re.compile(r"(?:encoder\.layers|blocks|encoder\.layer)\.(\d+)\.")


@dataclass(frozen=True)
class System:
    """What is known of a published system.

    Attributes
    ----------
    name, home : str
        As its authors call it; where its files are.
    licence : str
        A sentence or two.
    trained_on : str
        After "By its authors, on".
    left_out : tuple of (tuple of str, str)
        Beginnings of names of arrays that are not needed, and in words what they are.
    notes : tuple of str
        What a person should know before believing it.
    defaults : FrozenEcgConfig
        Its preprocessing.
    """

    name: str
    home: str
    licence: str
    trained_on: str
    left_out: tuple[tuple[tuple[str, ...], str], ...]
    notes: tuple[str, ...]
    defaults: FrozenEcgConfig


_LANGUAGE_WORDS = (
    "its language model: name its vocabulary with --vocab, or it answers no question in words here"
)
_PRETRAINING_WORDS = "what masked prediction needs (quantiser, projections, the mask's vector)"

SYSTEMS: Mapping[str, System] = {
    ECG_FM: System(
        ECG_FM,
        "wanglab/ecg-fm on the Hugging Face hub",
        "ECG-FM's code and weights are under the MIT licence.",
        "MIMIC-IV-ECG and PhysioNet/CinC Challenge 2021, two halves of 5 s of each ECG",
        (
            (_PRETRAINING, _PRETRAINING_WORDS),
            (("proj.",), "the head for the labels it was fine-tuned to"),
        ),
        (
            "PTB-XL is part of the PhysioNet/CinC Challenge 2021 that it was trained on: figures "
            "on PTB-XL are not of unseen ECGs.",
            "Each lead is given to it without mean and scale, so it does not see voltages: what "
            "rests on them, such as hypertrophy, it can know by shape alone.",
            "A window of 10 s is read as two segments of 5 s; their means over time are averaged.",
        ),
        FrozenEcgConfig(),
    ),
    MELP: System(
        MELP,
        "fuyingw/MELP_Encoder on the Hugging Face hub",
        "MELP's weights are under Apache-2.0.",
        "MIMIC-IV-ECG with its machine reports",
        (
            (_PRETRAINING, _PRETRAINING_WORDS),
            (("bn.",), "statistics of its first stage"),
            (("logit_scale",), "scales of its losses"),
            (("attn_pool_caption.", "ln_caption."), "the queries that captions are written from"),
            (
                ("lm_model.cls.", "text_decoder.", "sent_proj."),
                "what its training alone needs of texts: sentences and caption decoder",
            ),
            (("lm_model.", "proj_t."), _LANGUAGE_WORDS),
        ),
        (
            "It is nearly blind to one gain for all leads and to a constant on any lead, so it "
            "does not see absolute voltages.",
            "Its vector is the mean of its beats in the space of its rhythm loss.",
        ),
        FrozenEcgConfig(layers=8, beats=12, segment=5000, lead_order="mimic", gain="min_max"),
    ),
    ECHO2ECG: System(
        ECHO2ECG,
        "its authors' GitHub page",
        "Echo2ECG's README puts it under the MIT licence. It was trained towards embeddings of "
        "EchoPrime, whose own licence allows academic, non-commercial use only: ask before any "
        "other use.",
        "ECGs of echo studies, drawn towards EchoPrime's embeddings of their views",
        (
            (
                (
                    "echo_projection_for_agg.",
                    "echo_view_aggregator.",
                    "echo_alignment_global_token.",
                    "ecg_alignment_global_token.",
                ),
                "the side of echo studies, and the map into the space that they share",
            ),
        ),
        (
            "Its authors do not say at which rate it read ECGs. Taken is the rate above, by "
            "--input-hz; 400 Hz is the default of their own helper, 100 Hz would make its 1,008 "
            "samples 10 s long.",
            "Its vector is the mean over all patches, normalised: 192 numbers, as its authors' "
            "nearest neighbours use them; here they are brought to unit length.",
        ),
        FrozenEcgConfig(
            kind="otis", width=192, heads=3, ffn=768, input_hz=400, segment=1008, gain="group_z"
        ),
    ),
}


@dataclass(frozen=True, eq=False)
class ForeignEcg:
    """An ECG encoder of others, read from its file.

    Attributes
    ----------
    system : System
    encoder : FrozenEncoder or MelpEncoder
        In evaluation mode, without gradients.
    left_out : tuple of str
        In words, what else the file holds.
    logit_scale : float
        What a difference of two cosines is worth in log-odds; 1 where there are no texts.
    """

    system: System
    encoder: FrozenEncoder | MelpEncoder
    left_out: tuple[str, ...]
    logit_scale: float = 1.0


def recognised(state: Mapping[str, Tensor]) -> str | None:
    """The system whose arrays these are, by their names; None if it is none of these.

    Parameters
    ----------
    state : mapping of str to Tensor

    Returns
    -------
    str or None
    """
    if _prefix(state, _STEM) is not None:
        return ECG_FM if _prefix(state, _QUERY) is None else MELP
    return ECHO2ECG if _prefix(state, _PATCHES) is not None else None


def read_foreign(
    path: Path,
    *,
    input_hz: int | None = None,
    segments: str | None = None,
    lead_order: str | None = None,
    with_text: bool = False,
) -> ForeignEcg:
    """A published ECG encoder from its file, which is not executed.

    Parameters
    ----------
    path : Path
        By `torch.save`, or safetensors.
    input_hz, segments, lead_order : optional
        As in `FrozenEcgConfig`, in place of what is known of the system.
    with_text : bool
        Take the encoder of texts, too.

    Returns
    -------
    ForeignEcg

    Raises
    ------
    CheckpointError
        The file cannot be read, holds none of these systems, or not all of one, or no texts.
    ConfigError
        There is no such rate, choice or order.
    """
    state = _state_of(path)
    name = recognised(state)
    if any("text_encoder.backbone." in key for key in state) and name is None:
        raise CheckpointError(
            f"{path.name} looks like EchoingECG's weights, which go with their scaler. Name both: "
            "echoing import-weights echoingecg.pt ecg_scaler.pkl OUT"
        )
    if name is None:
        raise CheckpointError(
            f"{path.name} holds none of the ECG encoders that are known here: "
            f"{', '.join(SYSTEMS)}. Their arrays are recognised by name; name the file as its "
            "authors published it."
        )
    system = SYSTEMS[name]
    own, left_out = _sorted(state, system)
    config = _sizes(path, own, system.defaults)
    config = dataclasses.replace(
        config,
        input_hz=config.input_hz if input_hz is None else input_hz,
        segments=config.segments if segments is None else segments,
        lead_order=config.lead_order if lead_order is None else lead_order,
    )
    model = ModelConfig(architecture="frozen", dim=config.dim, frozen=config)
    scale = 1.0
    if with_text:
        text, sizes, scale = _text_of(path, state, name)
        model = ModelConfig(architecture="melp", dim=config.dim, frozen=config, released_text=sizes)
        left_out = tuple(words for words in left_out if words != _LANGUAGE_WORDS)
    # Without numbers: the network takes those of the file, and no second copy is made.
    with torch.device("meta"):
        encoder = MelpEncoder(model) if with_text else FrozenEncoder(model)
    tower: nn.Module = encoder.ecg.tower
    if with_text:
        own = {f"ecg.tower.{key}": value for key, value in own.items()} | text
        tower = encoder
    wanted = {key: tuple(value.shape) for key, value in tower.state_dict().items()}
    missing = sorted(set(wanted) - set(own))
    if missing:
        raise CheckpointError(
            f"{path.name} looks like {name} and lacks {len(missing)} of its {len(wanted)} arrays, "
            f"{missing[0]} among them. Fetch the file again."
        )
    wrong = [key for key in sorted(own) if wanted.get(key) != tuple(own[key].shape)]
    if wrong:
        what = "has no place in it" if wrong[0] not in wanted else "has another shape"
        raise CheckpointError(
            f"{path.name} looks like {name}, but {wrong[0]} {what}. It may be of another version; "
            "name the file as its authors published it."
        )
    # One NaN would make every figure NaN, far from its cause.
    if not all(bool(torch.isfinite(value).all()) for value in own.values()):
        raise CheckpointError(f"{path.name} has weights that are not finite. Fetch the file again.")
    tower.load_state_dict(own, strict=True, assign=True)
    encoder.eval().requires_grad_(False)
    return ForeignEcg(system, encoder, left_out, scale)


def _state_of(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"There is no file of weights {path.name!r}. Name it.") from error
    # Eight bytes for the length of a table in JSON, and its first bracket.
    if start[8:] == b"{":
        return _safetensors(path)
    return read_tables(path, _ENTRIES)


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    # Half precision is widened, so the numbers may take twice the file.
    if path.stat().st_size > MAX_TENSOR_BYTES // 2:
        raise CheckpointError(f"{path.name} holds more than any model that is read here.")
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            if len(names) > MAX_TENSORS:
                raise CheckpointError(f"{path.name} holds more than any model that is read here.")
            state = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged. Fetch the file again.") from error
    return {
        name: value.float() if value.is_floating_point() else value for name, value in state.items()
    }


def _prefix(state: Mapping[str, Tensor], ending: str) -> str | None:
    """What stands before a name that ends so; None where none does."""
    found = next((name for name in state if name == ending or name.endswith("." + ending)), None)
    return None if found is None else found.removesuffix(ending)


def _sorted(
    state: Mapping[str, Tensor], system: System
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Arrays by the names of our tower, and in words what is left out."""
    inner = _prefix(state, _PATCHES if system.name == ECHO2ECG else _STEM) or ""
    tower = _prefix(state, _QUERY) if system.name == MELP else None
    around = inner if tower is None else tower
    # From the innermost to the whole model; a file may hold any of them.
    outer = around.removesuffix("encoder.").removesuffix("ecg_")
    own: dict[str, Tensor] = {}
    left: list[str] = []
    for name, value in state.items():
        places = [p for p in (inner, around, outer) if name.startswith(p)]
        words = _left_out(system, [name.removeprefix(place) for place in places])
        if words is not None:
            left.append(words)
        elif name.startswith(inner):
            short = name.removeprefix(inner)
            own[f"ecg_encoder.{_WEIGHT_NORM.get(short, short)}"] = value
        else:
            own[name.removeprefix(around if name.startswith(around) else outer)] = value
    return own, tuple(dict.fromkeys(left))


def _text_of(
    path: Path, state: Mapping[str, Tensor], name: str
) -> tuple[dict[str, Tensor], BertTextConfig, float]:
    """MELP's encoder of texts by our names, its sizes, and the scale of its rhythm loss."""
    place = _prefix(state, _WORDS) if name == MELP else None
    if place is None:
        raise CheckpointError(
            f"{path.name} has no encoder of texts, so there is nothing for a vocabulary. Leave "
            "--vocab out, or name a file of the whole of MELP."
        )
    kept = ("lm_model.bert.", "proj_t.")
    # Older files number the positions in an array of its own.
    own = {
        f"text.{short}": value
        for full, value in state.items()
        if full.startswith(place)
        and (short := full.removeprefix(place)).startswith(kept)
        and not short.endswith("position_ids")
    }
    bert = "text.lm_model.bert."
    try:
        vocab_size, hidden = own[f"text.{_WORDS}"].shape
        n_positions = own[f"{bert}embeddings.position_embeddings.weight"].shape[0]
        sizes = BertTextConfig(
            hidden=hidden,
            n_layers=len({match[1] for match in map(_LAYER.search, own) if match}),
            n_heads=max(1, hidden // _HEAD_WIDTH),
            ffn=own[f"{bert}encoder.layer.0.intermediate.dense.weight"].shape[0],
            vocab_size=vocab_size,
            n_positions=n_positions,
            max_tokens=min(MELP_TOKENS, n_positions),
        )
        return own, sizes, float(state[place + "logit_scale"].exp())
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path.name} holds a part of MELP's language model alone. Leave --vocab out to take "
            "its ECG tower without it."
        ) from error


def _left_out(system: System, names: list[str]) -> str | None:
    """What an array is that is not needed, in words; None if it is needed."""
    for beginnings, words in system.left_out:
        if any(name.startswith(beginnings) for name in names):
            return words
    return None


def _sizes(path: Path, own: Mapping[str, Tensor], defaults: FrozenEcgConfig) -> FrozenEcgConfig:
    """The sizes of a network, read off its arrays."""
    # Counted, not the largest number: a name may hold any.
    layers = len({match[1] for match in map(_LAYER.search, own) if match})
    try:
        if defaults.kind == "otis":
            width = own["ecg_encoder.patch_embed.proj.weight"].shape[0]
            return dataclasses.replace(
                defaults,
                layers=layers,
                width=width,
                heads=max(1, width // _HEAD_WIDTH),
                ffn=own["ecg_encoder.blocks.0.mlp.fc1.weight"].shape[0],
                segment=PATCH * (own["ecg_encoder.pos_embed_x"].shape[1] - 1),
            )
        width, stem_width = own["ecg_encoder.post_extract_proj.weight"].shape
        beats, beat_width = 0, defaults.beat_width
        if defaults.beats:
            beats, beat_width = own[_QUERY].shape
        return dataclasses.replace(
            defaults,
            layers=layers,
            width=width,
            heads=max(1, width // _HEAD_WIDTH),
            ffn=own["ecg_encoder.encoder.layers.0.fc1.weight"].shape[0],
            stem_width=stem_width,
            beats=beats,
            beat_width=beat_width,
        )
    except (KeyError, IndexError, ValueError, ConfigError) as error:
        raise CheckpointError(
            f"{path.name} holds a part of {' or '.join(SYSTEMS)} alone, or one of a strange size. "
            "Name the file as its authors published it."
        ) from error
