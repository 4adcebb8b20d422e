"""The model card: what the model is, what it was trained on, what it was seen to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from echoing_core.evaluate.shipped.held_out import GALLERY_N
from echoing_core.metrics.results import NOT_DEFINED, Result, side_by_side
from echoing_core.models.config import DISPLACEMENT
from echoing_core.uncertainty.meaning import CARD_WORDS

_PTBXL_CREDIT = (
    "PTB-XL 1.0.3 (Wagner P, Strodthoff N, Bousseljot R-D, et al. PTB-XL, a large publicly "
    "available electrocardiography dataset. Scientific Data 7:154, 2020, "
    "doi 10.1038/s41597-020-0495-6), CC BY 4.0. No recording of it is part of this folder."
)


def write_card(
    name: str,
    model_hash: str,
    training: Mapping[str, Any],
    reference_name: str,
    results: Sequence[Result],
    calibration: Mapping[str, Any] | None = None,
    *,
    taught_by: str = DISPLACEMENT,
) -> str:
    """The card as Markdown.

    Parameters
    ----------
    name : str
        Of the model.
    model_hash : str
        Over the files that it computes with; its first 16 digits are printed.
    training : mapping
        The checkpoint's training record.
    reference_name : str
        What the percentiles of sigma^2 compare with.
    results : sequence of Result
        From the evaluation command, run on this very model; empty if it was not run.
    calibration : mapping, optional
        Of `zeroshot.calibration.Calibration`, as the model folder holds it.
    taught_by : str
        What taught sigma^2, by the keys of `uncertainty.meaning.CARD_WORDS`.

    Returns
    -------
    str
    """
    # Absent in records of models that were trained on simulated ECGs alone.
    real = training.get("real_ecgs", 0)
    seen = (
        f"{training['simulated_ecgs']:,} **simulated** 12-lead ECGs of "
        f"{training['simulated_patients']:,} simulated patients"
    )
    if real:
        seen += (
            f", and {real:,} **real** ECGs of {training['real_patients']:,} patients from "
            f"{training['real_source']}, with English reports worded from their SCP statements"
        )
    else:
        seen += ". No real ECG was used"
    lines = [
        f"# Model card: {name}",
        "",
        "**Research use only. Not a medical device, not for diagnosis.**",
        "",
        f"- Hash: `{model_hash[:16]}`",
        f"- ECG encoder: compact, {training['ecg_parameters']:,} parameters, 12 leads at 100 Hz, "
        "10-second windows, any subset of leads",
        f"- Text encoder: small BERT with its own WordPiece vocabulary, "
        f"{training['text_parameters']:,} parameters",
        f"- Space: {training['config']['model']['dim']} dimensions, unit-norm mu, diagonal sigma^2",
        "",
        "## Trained on",
        "",
        seen + "." + _borrowed_words(training),
        "",
        *_taught_words(training),
        "Everything the model knows about echocardiography (LVEF, wall thickness, ventricular "
        "size) comes from the simulator's published couplings, never from a real echocardiogram. "
        "Its answers about the echo of a real person have not been validated by anyone.",
        "",
        "## What sigma^2 means here",
        "",
        f"`sigma2: {taught_by}`",
        "",
        CARD_WORDS[taught_by],
        "",
        # `strangeness` is the key in exported files, and users look for that word.
        "Beside it, `strangeness` above 1 marks a window that lies farther from the training "
        "windows than 99 % of them: there sigma^2 itself is a guess.",
        "",
        f"Percentiles compare with the reference cohort: {reference_name}.",
        "",
        "## Held-out figures",
        "",
    ]
    if results:
        lines += [
            "From `echoing evaluate demo`. Intervals: 95 %, bootstrap over patients. Decision "
            "rule: margin > 0, no threshold was tuned. In-domain for the simulated patients. "
            + (
                "PTB-XL fold 9 shares hospital and devices with the training folds. "
                # Same hospital and devices as the training folds: not an outside test, which a
                # reader must know.
                if real and any("PTB-XL" in result.data for result in results)
                else ""
            )
            + "The random encoder has the same architecture and the trained text encoder. "
            f"Retrieval is in a gallery of {GALLERY_N} ECGs.",
            "",
            encoders_side_by_side(results, name),
        ]
    else:
        lines.append("Not evaluated yet: run `echoing evaluate demo`.")
    lines += [
        "",
        "## What answers are worth",
        "",
        *_worth_lines(calibration),
        "",
        "## Limits",
        "",
        "- Small model, small data; real ECGs of one country and one manufacturer's carts.",
        "- Words outside the training reports are flagged, and mean little to it.",
        "- Answers to questions about findings that no training report named are guesses.",
        "",
        "## Data licences and attribution",
        "",
        "- Simulated cohort: made by this project (`echoing simulate`), Apache-2.0. The mean wave "
        "vectors and torsos of its bodies were set on normal ECGs of PTB-XL.",
        # Credited in any case: the simulated bodies were set on it, even where no weight was.
        f"- {_PTBXL_CREDIT}" + (" The weights were trained on it." if real else ""),
        "- Weights: Apache-2.0.",
        "",
        "## Every training setting",
        "",
        "```json",
        # In full, so that a training can be repeated from the card alone.
        json.dumps(dict(training), indent=1),
        "```",
        "",
    ]
    return "\n".join(lines)


def _borrowed_words(training: Mapping[str, Any]) -> str:
    n = training.get("borrowed_ecgs", 0)
    if not n:
        return ""
    return (
        f" Of the real ECGs {n:,} were known without their millivolts and learnt with borrowed "
        "ones; they taught nothing of voltage, and sigma^2 nothing."
    )


def _taught_words(training: Mapping[str, Any]) -> list[str]:
    names = training.get("questions") or []
    if not names:
        return []
    return [
        f"It learnt the answers to {len(names)} questions, too ({', '.join(names)}), by the labels "
        "of the same ECGs. To these it is not zero-shot: it is prompted in the domain of its "
        "training. "
        "The rival with the same labels is the linear probe on random weights in the table below.",
        "",
    ]


def _worth_lines(calibration: Mapping[str, Any] | None) -> list[str]:
    """A table of the answers that were given on ECGs that nothing was fitted to."""
    if calibration is None:
        return [
            "Not calibrated: answers are scores. To calibrate them: "
            "`echoing evaluate calibration --ptbxl DIR --write`."
        ]
    rows = []
    for question in calibration["questions"]:
        worths = [one["worth"] for one in question["lead_sets"] if one["leads"] == "12"]
        if worths and worths[0] is not None:
            worth = worths[0]
            rows.append(
                f"| {question['question']} | {worth['n_positive']} of {worth['n']} "
                f"| {worth['auroc']:.3f} ({worth['auroc_low']:.3f} to {worth['auroc_high']:.3f}) "
                f"| {worth['yes_right']} of {worth['yes_n']} "
                f"| {worth['no_right']} of {worth['no_n']} |"
            )
    if not rows:
        return [f"Calibrated on {calibration['fitted_on']}, and measured on nothing."]
    return [
        f"Probabilities were calibrated on {calibration['fitted_on']} and measured on "
        f"{calibration['measured_on']}, with 12 leads. Where neither yes nor no was given, the "
        "answer was not sure enough. ECE, coverage, other leads: `echoing evaluate calibration`.",
        "",
        "| Question | with it | AUROC | yes, right | no, right |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "LVEF, severe LV hypertrophy and a dilated left ventricle have no such figures: they were "
        "learnt from simulation and validated on nobody.",
    ]


def encoders_side_by_side(results: Sequence[Result], model: str) -> str:
    """Markdown of a table with ``model`` and every other encoder in columns of their own.

    Parameters
    ----------
    results : sequence of Result
    model : str
        Its figures have a row each, and the first column.

    Returns
    -------
    str
        Without a line end.
    """
    table = side_by_side(results, first=model, sizes="ECGs (patients)", missing=NOT_DEFINED)
    return table.to_markdown().rstrip()
