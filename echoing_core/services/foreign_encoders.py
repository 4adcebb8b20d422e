"""Published ECG encoders of others, of ECGs alone, as one of our model folders."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.services.given import check_given, check_model_out
from echoing_core.services.models import load_model
from echoing_core.services.weights import ImportedWeights

if TYPE_CHECKING:
    from echoing_core.models.foreign_ecg import ForeignEcg

_GAIN_WORDS = {
    "none": "millivolts as they are",
    "min_max": "the smallest sample of all leads to 0, the largest to 1",
    "lead_z": "each lead to mean 0 and standard deviation 1",
    "group_z": "clipped at 4 standard deviations, each lead's baseline taken away, then mean 0 and "
    "standard deviation 1 for the leads I-III, aVR-aVF and V1-V6 each",
}


def import_encoder(
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    input_hz: int | None = None,
    segments: str | None = None,
    lead_order: str | None = None,
    vocab: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> ImportedWeights:
    """Turn the published file of ECG-FM, MELP or Echo2ECG into a model folder.

    The file is recognised by its content and never executed: see `models.foreign_ecg`.

    Parameters
    ----------
    weights : path
    out : path
        Model folder to write.
    input_hz : int, optional
        Rate at which the network reads; without it what is known of the system.
    segments : {"all", "first"}, optional
        Of each window the mean over all whole segments, or the first alone.
    lead_order : {"standard", "mimic"}, optional
    vocab : path or str, optional
        The vocabulary of MELP's language model: a vocab.txt, a folder with it, or a name on the
        Hugging Face hub. With it the model reads texts, too, and answers questions in words.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    ImportedWeights

    Raises
    ------
    CheckpointError
        The file is damaged, of no known system, or asks for anything but numbers.
    ConfigError
        A setting does not exist, or the vocabulary belongs to another model.
    """
    check_given(files=[weights])
    check_model_out(out)
    from echoing_core.models.foreign_ecg import read_foreign
    from echoing_core.models.melp import read_melp_tokenizer
    from echoing_core.uncertainty.absent import save_without_sigma2

    reading = progress.stage("read the weights")
    reading(0, 1)
    foreign = read_foreign(
        Path(weights),
        input_hz=input_hz,
        segments=segments,
        lead_order=lead_order,
        with_text=vocab is not None,
    )
    reading(1, 1)
    tokenizer = None
    if vocab is not None:
        text = foreign.encoder.config.released_text
        tokenizer = read_melp_tokenizer(os.fspath(vocab), text.max_tokens)
        n_entries = tokenizer.tokenizer.get_vocab_size()
        # A vocabulary of another size would give each word the vector of another one, silently.
        if n_entries != text.vocab_size:
            raise ConfigError(
                f"With one entry for the beginning of a report the vocabulary has {n_entries:,} "
                f"and the language model {text.vocab_size:,}. Name the vocab.txt that belongs to "
                "these weights with --vocab; MELP's is that of ncbi/MedCPT-Query-Encoder."
            )
    training = _training_record(foreign)
    folder = Path(out)
    save_without_sigma2(
        folder,
        foreign.encoder,
        training,
        lambda model_hash: encoder_card(folder.name, model_hash, training),
        tokenizer=tokenizer,
        logit_scale=foreign.logit_scale,
    )
    licence, notes = str(training["licence"]), tuple(training["notes"])
    # Hundreds of megabytes, which must not lie in memory twice while the folder is read back.
    del foreign
    return ImportedWeights(load_model(folder), licence, notes)


def _training_record(foreign: ForeignEcg) -> dict[str, Any]:
    from echoing_core.datasets.simulated import CohortConfig
    from echoing_core.models.config import BAND_LIMITED

    system, ecg = foreign.system, foreign.encoder.ecg
    config = ecg.config
    same = dataclasses.replace(
        config,
        input_hz=system.defaults.input_hz,
        segments=system.defaults.segments,
        lead_order=system.defaults.lead_order,
    )
    changed = (
        ()
        if same == config
        else ("Its preprocessing was chosen at import and is not what is known of its authors'.",)
    )
    left = (f"Left out of its file: {'; '.join(foreign.left_out)}.",) if foreign.left_out else ()
    return {
        "imported": True,
        "system": system.name,
        "home": system.home,
        "licence": system.licence,
        "trained_on": system.trained_on,
        # A table of places in time is stored among OTiS's weights and never learnt.
        "ecg_parameters": sum(
            p.numel() for name, p in ecg.named_parameters() if not name.endswith("pos_embed_x")
        ),
        "text_parameters": sum(p.numel() for p in foreign.encoder.text.parameters()),
        "dim": ecg.dim,
        "layers": config.layers,
        "width": config.width,
        "reading": _reading_words(ecg.config),
        "simulated_ecgs": 0,
        # The files say nothing of it.
        "real_ecgs": 0,
        # Not trained on: what the commands that simulate test patients draw them from.
        "cohort": to_mapping(CohortConfig()),
        "notes": [BAND_LIMITED, *changed, *system.notes, *left],
    }


def _reading_words(config: Any) -> str:
    which = "the mean over all whole ones" if config.segments == "all" else "the first alone"
    return (
        f"{config.input_hz} Hz, segments of {config.segment:,} samples "
        f"({config.segment / config.input_hz:.2f} s; of a window of 10 s {which}); "
        f"{_GAIN_WORDS[config.gain]}; leads in the order {config.lead_order}"
    )


def encoder_card(
    name: str, model_hash: str, training: Mapping[str, Any], figures: str | None = None
) -> str:
    """The card of an imported ECG encoder as Markdown.

    Parameters
    ----------
    name : str
        Of the model folder.
    model_hash : str
        Over the files that it computes with.
    training : mapping
        The training record that `import_encoder` wrote.
    figures : str, optional
        A table of measured figures as Markdown.

    Returns
    -------
    str
    """
    system = training["system"]
    return "\n".join(
        [
            f"# Model card: {name} (imported weights of {system})",
            "",
            "**Research use only. Not a medical device, not for diagnosis.**",
            "",
            f"**Licence: {training['licence']}** Weights: {training['home']}. This project is not "
            f"that of {system}'s authors, and none of their code is in it.",
            "",
            f"- Hash: `{model_hash[:16]}`",
            f"- ECG encoder: {training['ecg_parameters']:,} parameters, {training['layers']} "
            f"layers of width {training['width']}",
            f"- What it reads: {training['reading']}",
            f"- Space: {training['dim']} dimensions, mu on the unit sphere",
            "- No text encoder: it answers no question in words and finds nothing by words"
            if not training["text_parameters"]
            else f"- Text encoder: {training['text_parameters']:,} parameters",
            "- No sigma^2: one constant stands for it, so it does not say where it can be believed",
            "",
            "## Trained on",
            "",
            f"By its authors, on {training['trained_on']}, as they say; this project has checked "
            "none of that.",
            "",
            "## What to know before believing it",
            "",
            *(f"- {note}" for note in training["notes"]),
            "- Leads that were not recorded are given to it as flat lines.",
            "",
            "## Figures",
            "",
            figures
            or "Not evaluated here yet: run `echoing evaluate few-shot --model FOLDER "
            "--data PREPARED`.",
            "",
        ]
    )
