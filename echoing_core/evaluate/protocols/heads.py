"""From a protocol's trained weights to a head that a model folder keeps (`models.heads`).

Of several seeds the first is kept: a head is one set of weights, and the figures of all of them say
what another draw would have given. What is learnt from real ECGs is calibrated on the valid split;
what is learnt from simulation is not, since nobody knows what it is worth on a person.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from echoing_core.evaluate.protocols.answers import AUROC
from echoing_core.evaluate.protocols.data import EvaluationData, embed_ecgs, patients_of, truth_of
from echoing_core.evaluate.protocols.fine_tune import Labelled, Tuned, training_ecgs
from echoing_core.evaluate.protocols.settings import FineTuneSettings
from echoing_core.evaluate.shipped.calibration import fit_lead_set
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.probe import LinearProbe
from echoing_core.metrics.scores import auroc
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.heads import FEW_SHOT, FINE_TUNED, Head
from echoing_core.records import LEADS, AnswerWorth
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.zeroshot.answering import NO, YES, judge_logits
from echoing_core.zeroshot.calibration import CalibratedQuestion, QuestionCalibration
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

_N_RESAMPLES = 1000


def tuned_head(
    checkpoint: Checkpoint,
    data: EvaluationData,
    question: PromptSet,
    tuned: Tuned,
    settings: FineTuneSettings,
) -> Head:
    """The first seed of a fine-tuned question as a head, calibrated and measured.

    Parameters
    ----------
    checkpoint : Checkpoint
        Gives the scaler.
    data : EvaluationData
        That it was tuned on.
    question : PromptSet
        With a label.
    tuned : Tuned
        Of seed 0.
    settings : FineTuneSettings

    Returns
    -------
    Head
    """
    label = str(question.label)
    train, valid = training_ecgs(data, label, settings, seed=0)
    weights = tuned.head.weight.detach().numpy()[0].astype(np.float64)
    bare = _bare(data, question, FINE_TUNED, train, len(valid.yes))
    head = replace(
        bare,
        probe=LinearProbe(weights, float(tuned.head.bias.detach()[0])),
        encoder=tuned.encoder,
        epoch=tuned.epoch,
    )
    return _measured(checkpoint, data, head, valid)


def probe_head(
    checkpoint: Checkpoint, data: EvaluationData, question: PromptSet, probe: LinearProbe
) -> Head:
    """The probe from all training patients as a head, calibrated and measured.

    Parameters
    ----------
    checkpoint : Checkpoint
    data : EvaluationData
        That it was fitted on; calibrated on its valid split, where it has one.
    question : PromptSet
        With a label.
    probe : LinearProbe

    Returns
    -------
    Head
    """
    label = str(question.label)
    train = Labelled.of(data.split("train"), label)
    valid = Labelled.of(data.splits["valid"], label) if "valid" in data.splits else None
    bare = _bare(data, question, FEW_SHOT, train, 0 if valid is None else len(valid.yes))
    return _measured(checkpoint, data, replace(bare, probe=probe), valid)


def _bare(
    data: EvaluationData, question: PromptSet, kind: str, train: Labelled, n_valid: int
) -> Head:
    return Head(
        label=str(question.label),
        question=question.question,
        kind=kind,
        # Tables say it in the name; a head says it itself.
        source=data.name.removesuffix(" (simulated)"),
        simulated=data.simulated,
        n_train=len(train.yes),
        n_positive=int(train.yes.sum()),
        n_valid=n_valid,
        probe=LinearProbe(np.zeros(1), 0.0),
    )


def _measured(
    checkpoint: Checkpoint, data: EvaluationData, head: Head, valid: Labelled | None
) -> Head:
    """With its calibration by the valid ECGs, and its figures on the test split."""
    encoder = checkpoint.encoder.ecg if head.encoder is None else head.encoder
    test = Labelled.of(data.split("test"), head.label)
    logit, std = head.logits(embed_ecgs(encoder, checkpoint.scaler, test.studies))
    people = patients_of(test.studies)
    area = patient_bootstrap_all(
        lambda yes, score: {AUROC: auroc(yes, score)},
        (test.yes, logit),
        people,
        n_resamples=_N_RESAMPLES,
    )[AUROC]
    head = replace(
        head,
        measured={
            "n": len(test.yes),
            "n_positive": int(test.yes.sum()),
            "auroc": area.value,
            "auroc_low": area.low,
            "auroc_high": area.high,
        },
    )
    if valid is None or data.simulated:
        return head
    at, spread = head.logits(embed_ecgs(encoder, checkpoint.scaler, valid.studies))
    truth = truth_of(data.split("train"), head.label)
    known = truth[np.isfinite(truth)]
    # Half an ECG is added to both sides, so that it is never 0 or 1.
    rate = float((known.sum() + 0.5) / (known.size + 1.0))
    fitted = fit_lead_set(
        _leads(valid), at, spread, valid.yes.astype(np.float64), patients_of(valid.studies), rate
    )
    if fitted is None:
        return head
    calibration = QuestionCalibration(head.label, head.question, "", "", rate, (fitted,))
    given = judge_logits(
        logit,
        std,
        calibration=CalibratedQuestion(calibration, negated=False, centres={}),
        simulated=False,
        leads=fitted.leads,
    ).verdict
    yes, no = given == YES, given == NO
    worth = AnswerWorth(
        n=len(test.yes),
        n_positive=int(test.yes.sum()),
        auroc=area.value,
        auroc_low=area.low,
        auroc_high=area.high,
        yes_n=int(yes.sum()),
        yes_right=int(test.yes[yes].sum()),
        no_n=int(no.sum()),
        no_right=int((~test.yes[no]).sum()),
    )
    return replace(
        head, calibration=replace(calibration, lead_sets=(replace(fitted, worth=worth),))
    )


def _leads(ecgs: Labelled) -> str:
    """Key of the lead set that most of these ECGs have."""
    there = np.asarray(ecgs.studies.valid).any(axis=2).mean(axis=0) > 0.5
    return LeadSet(tuple(lead for lead, known in zip(LEADS, there, strict=True) if known)).key
