"""Published weights of others as one of our model folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoing_core.config import to_mapping
from echoing_core.errors import ConfigError
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LONG_PADDING, SCIPY_PADDING
from echoing_core.services.given import check_model_out, check_published
from echoing_core.services.models import Model, load_model

if TYPE_CHECKING:
    from echoing_core.models.released import ReleasedDualEncoder
    from echoing_core.models.tokenizer import ReportTokenizer
    from echoing_core.signals.scaling import LeadScaler
    from echoing_core.uncertainty.reference import Reference


LICENCE = (
    "EchoingECG's published weights are under CC BY-NC-ND 4.0: not for commercial use, and not to "
    "be passed on in changed form. That holds for this copy of them, too."
)

REFERENCE_SEED = 20_003
"""Another seed than any cohort's or gallery's: patients of different seeds are different people."""

LOGIT_SCALE = 10.0
"""Twice the scale that the published loss starts with. What it ended with is in no file."""

# (init_dim, dim) of the published network: only weights of that size are its.
_PUBLISHED = (96, 512)
_REAL_ECGS = 88_291


@dataclass(frozen=True, eq=False)
class ImportedWeights:
    """An imported model, and what holds for it.

    Attributes
    ----------
    model : Model
    licence : str
    notes : tuple of str
        What a person should know before believing the model.
    """

    model: Model
    licence: str
    notes: tuple[str, ...]


def import_weights(
    weights: str | os.PathLike[str],
    scaler: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    vocab: str | os.PathLike[str] | None = None,
    lead_order: str = "mimic",
    reference_ecgs: int = 200,
    filter_padding: str = SCIPY_PADDING,
    progress: Progress = SILENT,
) -> ImportedWeights:
    """Turn ``echoingecg.pt`` and ``ecg_scaler.pkl`` into a model folder.

    Neither file is executed: see `models.pickled`.

    Parameters
    ----------
    weights, scaler : path
        The two published files.
    out : path
        Model folder to write.
    vocab : path or str, optional
        BioBERT's vocab.txt, a folder with it, or a name on the Hugging Face hub; without it
        BioBERT's own name there.
    lead_order : {"mimic", "standard"}
        Order in which the weights and the scaler have the leads.
    reference_ecgs : int
        Simulated ECGs that percentiles of sigma^2 compare with.
    filter_padding : {"scipy", "long"}
        How recordings are filtered at their ends before the model reads them: as the published code
        does, or as this project's own models.
    progress : Progress, optional
        Told of each stage by its name.

    Returns
    -------
    ImportedWeights

    Raises
    ------
    CheckpointError
        A file is missing, damaged, of another kind, or asks for anything but numbers.
    ConfigError
        A setting does not exist, or the vocabulary belongs to another model.
    """
    check_published(weights, scaler)
    check_model_out(out)
    from echoing_core.models.checkpoint import save_checkpoint, update_documents
    from echoing_core.models.foreign import read_published, read_published_scaler
    from echoing_core.models.tokenizer import BIOBERT, read_bert_tokenizer
    from echoing_core.signals.filters import check_padding

    check_padding(filter_padding)
    # The small files first: what is wrong with them should be told at once.
    lead_scaler, order_note = read_published_scaler(Path(scaler), lead_order)
    tokenizer = read_bert_tokenizer(BIOBERT if vocab is None else os.fspath(vocab))
    encoder = read_published(Path(weights), lead_order)
    tokenizer = _fitting(tokenizer, encoder)
    reference = _reference(encoder, lead_scaler, reference_ecgs, filter_padding, progress)
    notes = (order_note, _SCALE_NOTE, _reference_note(reference), _PADDING_NOTES[filter_padding])
    training = _training_record(encoder, lead_order, notes)
    folder = Path(out)
    model_hash = save_checkpoint(
        folder,
        encoder=encoder,
        tokenizer=tokenizer,
        scaler=lead_scaler,
        logit_scale=LOGIT_SCALE,
        reference=reference.to_dict(),
        training=training,
        # The card names the hash, which is known only once the folder is written.
        card="",
        filter_padding=filter_padding,
    )
    update_documents(folder, card=imported_card(folder.name, model_hash, training))
    # Nearly a gigabyte, which must not lie in memory twice while the folder is read back.
    del encoder
    return ImportedWeights(load_model(folder), LICENCE, notes)


_SCALE_NOTE = (
    "The published file does not hold what its loss learnt, so answers use the scale that it "
    f"started with ({LOGIT_SCALE:g}): their order is the model's, their probabilities are not "
    "calibrated."
)


_PADDING_NOTES: dict[str, str] = {
    SCIPY_PADDING: "Recordings are filtered with SciPy's own padding at their ends, as the "
    "published code does.",
    LONG_PADDING: "Recordings are filtered with 3 s of padding at their ends; the published code "
    "leaves SciPy's few samples, and the first and last second differ.",
}


def _fitting(tokenizer: ReportTokenizer, encoder: ReleasedDualEncoder) -> ReportTokenizer:
    from dataclasses import replace

    config = encoder.config.released_text
    # A vocabulary of another size would give each word the vector of another one, silently.
    n_entries = tokenizer.tokenizer.get_vocab_size()
    if n_entries != config.vocab_size:
        raise ConfigError(
            f"The vocabulary has {n_entries:,} entries and the text encoder {config.vocab_size:,}. "
            "Name the vocab.txt that belongs to these weights with --vocab (BioBERT v1.1, cased)."
        )
    if tokenizer.max_tokens == config.max_tokens:
        return tokenizer
    tokenizer.tokenizer.enable_truncation(config.max_tokens)
    return replace(tokenizer, max_tokens=config.max_tokens)


def _reference(
    encoder: ReleasedDualEncoder,
    scaler: LeadScaler,
    n_ecgs: int,
    filter_padding: str,
    progress: Progress,
) -> Reference:
    from echoing_core.embed.encode import encode_batch
    from echoing_core.evaluate.shipped.gallery import gallery_set
    from echoing_core.uncertainty.reference import Reference

    studies = gallery_set(
        n_ecgs,
        REFERENCE_SEED,
        filter_padding=filter_padding,
        progress=progress.stage("simulate"),
    )
    embedding = encode_batch(
        encoder.ecg,
        scaler,
        studies.signal_mv,
        studies.valid,
        progress=progress.stage("embed the reference cohort"),
    )
    values = embedding.uncertainty
    # Infinite sigma^2 would make percentiles of nothing, and first be noticed on a screen.
    if not np.isfinite(values).all():
        raise ConfigError(
            "These weights give simulated ECGs a sigma^2 that is not finite, so nothing can be "
            "compared with it. Check that weights and scaler belong together."
        )
    name = f"{len(values)} simulated ECGs with everyday noise, embedded at import"
    return Reference.from_values(values, name=name, simulated=True)


def _reference_note(reference: Reference) -> str:
    return (
        f"Percentiles of sigma^2 compare with {reference.n} simulated ECGs, which these weights "
        "were not trained on; real ECGs may all lie at one end of them."
    )


def _training_record(
    encoder: ReleasedDualEncoder, lead_order: str, notes: Sequence[str]
) -> dict[str, Any]:
    from echoing_core.datasets.simulated import CohortConfig

    config = encoder.config
    # Other sizes are a test's or someone's own, of which the article says nothing.
    published = (config.released_ecg.init_dim, config.dim) == _PUBLISHED
    return {
        "imported": True,
        "licence": LICENCE,
        "lead_order": lead_order,
        "ecg_parameters": sum(p.numel() for p in encoder.ecg.parameters()),
        "text_parameters": sum(p.numel() for p in encoder.text.parameters()),
        "dim": config.dim,
        "simulated_ecgs": 0,
        # As the paper says; the file itself says nothing.
        "real_ecgs": _REAL_ECGS if published else 0,
        # Not trained on: what the commands that simulate test patients draw them from.
        "cohort": to_mapping(CohortConfig()),
        "notes": list(notes),
    }


def imported_card(
    name: str, model_hash: str, training: Mapping[str, Any], figures: str | None = None
) -> str:
    """The card of imported weights as Markdown.

    Parameters
    ----------
    name : str
        Of the model folder.
    model_hash : str
        Over the files that it computes with.
    training : mapping
        The training record that `import_weights` wrote.
    figures : str, optional
        A table of measured figures as Markdown.

    Returns
    -------
    str
    """
    real = training["real_ecgs"]
    trained_on = (
        f"By its authors, on {real:,} real ECGs of MIMIC-IV and echocardiograms of the same "
        "patients, as their paper says; this project has checked none of that."
        if real
        else "Not known: these weights are not of the published size."
    )
    return "\n".join(
        [
            f"# Model card: {name} (imported weights)",
            "",
            "**Research use only. Not a medical device, not for diagnosis.**",
            "",
            f"**Licence: {training['licence']}**",
            "<https://creativecommons.org/licenses/by-nc-nd/4.0/>. Authors: those of EchoingECG "
            "(weights at mcintoshML/EchoingECG). This project is not theirs.",
            "",
            f"- Hash: `{model_hash[:16]}`",
            f"- ECG encoder: ProbXResNet1D, {training['ecg_parameters']:,} parameters, 12 leads at "
            "100 Hz, 10-second windows, all leads needed",
            f"- Text encoder: BioBERT with two pooled heads, {training['text_parameters']:,} "
            "parameters",
            f"- Space: {training['dim']} dimensions, unit-norm mu, diagonal sigma^2",
            "",
            "## Trained on",
            "",
            trained_on,
            "",
            "## What to know before believing it",
            "",
            *(f"- {note}" for note in training["notes"]),
            "- It was never told of missing leads or gaps: they are given to it as flat lines, and "
            "screens and files say so.",
            "- It does not tell which leads and moments its sigma^2 comes from, nor whether a "
            "window is unlike its training.",
            "- A text is cut into the pieces of a general vocabulary; that it can be written does "
            "not mean that the model learnt it.",
            "",
            "## Figures",
            "",
            figures or "Not evaluated here yet: run `echoing evaluate demo`.",
            "",
        ]
    )
