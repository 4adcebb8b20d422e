"""Fit what a model's answers are worth on one fold of PTB-XL, and measure it on another.

Fold 8 is for calibration alone: no weight is trained on it. Fold 9 is where the result is looked
at. Every question with a true answer in the SCP statements is asked of every named lead set, of
which the other leads are taken away.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from echoing_core.datasets.prepared import check_filter_padding, load_prepared
from echoing_core.datasets.ptbxl import PtbXl, load_ptbxl
from echoing_core.datasets.study_set import StudySet
from echoing_core.datasets.zscored import VOLTAGE_CODES, ZSCORED_SOURCE, load_zscored
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import encode_sides
from echoing_core.errors import DataSetError
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import (
    Experiment,
    Table,
    estimate_record,
    json_number,
    number,
    with_interval,
)
from echoing_core.metrics.scores import auroc, expected_calibration_error
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import AnswerWorth, BoolArray, GaussianEmbedding
from echoing_core.reports.scp_text import FINDING_CODES
from echoing_core.reports.understanding import AskedFinding, Understood, prompt_sets_of
from echoing_core.signals.lead_sets import LEAD_SETS, LeadSet, reduced_to
from echoing_core.training.demo import (
    PTBXL_CALIBRATION_FOLDS,
    PTBXL_TEST_FOLDS,
    PTBXL_TRAIN_FOLDS,
)
from echoing_core.zeroshot.answering import NO, YES, Judged, judge
from echoing_core.zeroshot.calibration import (
    FEWEST_POSITIVES,
    CalibratedQuestion,
    Calibration,
    LeadSetCalibration,
    QuestionCalibration,
    calibrated,
    fit_platt,
    fitted_rate,
    shifted,
    texts_digest,
    wrong_limit,
)
from echoing_core.zeroshot.closed_form import Z_90, margins
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]
Strings = npt.NDArray[np.str_]

RATE_FOLDS = (*PTBXL_TRAIN_FOLDS, *PTBXL_CALIBRATION_FOLDS)
"""Of their table alone the base rates are taken: 173 ECGs of one fold have 3 of LBBB."""

MAIN_LABELS = ("NORM", "MI", "STTC", "CD", "HYP", "af", "lbbb")
SHOWN_LEADS = ("12", "II+V5", "I")
N_BINS = 15

_N_CV, _N_DRAWS, _N_GROUPS = 5, 1000, 5
_FEW_RESAMPLES = 200


@dataclass(frozen=True, eq=False)
class AskedTruth:
    """A question with its true answers.

    Attributes
    ----------
    prompts : PromptSet
    codes : frozenset of str or None
        SCP statements any of which makes it true; None where the label column says it.
    """

    prompts: PromptSet
    codes: frozenset[str] | None

    def truth(self, table: pd.DataFrame) -> Floats:
        """0 or 1 for each row of a study table, NaN where unknown."""
        if self.codes is None:
            return np.asarray(table[f"label_{self.prompts.label}"].astype(float))
        truth = np.array([float(not self.codes.isdisjoint(codes)) for codes in table["scp_codes"]])
        if not self.codes.isdisjoint(VOLTAGE_CODES):
            # Their statements on voltage were taken out with the millivolts.
            truth[(table["source"] == ZSCORED_SOURCE).to_numpy()] = np.nan
        return truth

    def is_known(self, table: pd.DataFrame) -> bool:
        """Whether the table says it at all."""
        column = "scp_codes" if self.codes is not None else f"label_{self.prompts.label}"
        return column in table.columns


def questions_with_truth(shipped: Sequence[PromptSet]) -> list[AskedTruth]:
    """Questions whose answers the statements or labels of a data set hold.

    Parameters
    ----------
    shipped : sequence of PromptSet

    Returns
    -------
    list of AskedTruth
        The shipped ones with a label, then the findings of `FINDING_CODES`, in the wording that a
        question in free words gets.
    """
    asked = [AskedTruth(prompts, None) for prompts in shipped if prompts.label is not None]
    names = {one.prompts.name for one in asked}
    for finding, codes in FINDING_CODES.items():
        (prompts,) = prompt_sets_of(Understood(finding, (AskedFinding(finding),)), shipped)
        if prompts.name not in names:
            asked.append(AskedTruth(prompts, frozenset(codes)))
    return asked


def calibrate(
    checkpoint: Checkpoint,
    fit: StudySet,
    measure: StudySet | None,
    shipped: Sequence[PromptSet],
    *,
    fitted_on: str,
    measured_on: str = "",
    rates: pd.DataFrame | None = None,
    lead_sets: Sequence[LeadSet] = LEAD_SETS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> tuple[Calibration, Experiment]:
    """Fit the maps of all questions and lead sets, and measure what they are worth.

    Parameters
    ----------
    checkpoint : Checkpoint
    fit : StudySet
        Labelled ECGs that no weight was trained on.
    measure : StudySet or None
        Others, of other patients; without them answers carry no worth.
    shipped : sequence of PromptSet
    fitted_on, measured_on : str
        Both in words.
    rates : DataFrame, optional
        Study table that gives the base rates; by default that of ``fit``.
    lead_sets : sequence of LeadSet
    n_resamples : int
        Of the patients.
    progress : Progress, optional
        Counts lead sets.

    Returns
    -------
    Calibration, Experiment

    Raises
    ------
    DataSetError
        No question has a true answer there, or a patient is in both sets.
    """
    if measure is not None:
        both = set(_patients(fit)) & set(_patients(measure))
        if both:
            raise DataSetError(
                f"{len(both)} patients are among the ECGs that the calibration is fitted on and "
                "among those that it is measured on. Split by patient."
            )
    asked = [one for one in questions_with_truth(shipped) if one.is_known(fit.table)]
    if not asked:
        raise DataSetError(
            "No shipped question has its label among the data. Prepare a data set with labels such "
            "as label_MI, or name PTB-XL."
        )
    sides = {one.prompts: encode_sides(checkpoint, one.prompts) for one in asked}
    truths = {one.prompts: one.truth(fit.table) for one in asked}
    base = {one.prompts: _base_rate(one, fit.table if rates is None else rates) for one in asked}
    fitted: dict[PromptSet, list[LeadSetCalibration]] = {one.prompts: [] for one in asked}
    centres: dict[str, Floats] = {}
    measurements: list[_Measured] = []
    for at, lead_set in enumerate(lead_sets):
        progress(at, len(lead_sets))
        ecg = _embedded(checkpoint, fit, lead_set)
        other = None if measure is None else _embedded(checkpoint, measure, lead_set)
        centres[lead_set.key] = ecg.mu.astype(np.float64).mean(axis=0)
        for one in asked:
            margin, std = margins(ecg, *sides[one.prompts])
            known = np.isfinite(truths[one.prompts])
            fitting = fit_lead_set(
                lead_set.key,
                margin[known],
                std[known],
                truths[one.prompts][known],
                _patients(fit)[known],
                base[one.prompts],
            )
            if fitting is None:
                continue
            if measure is not None and other is not None and one.is_known(measure.table):
                measured = _measure(
                    one,
                    QuestionCalibration(
                        one.prompts.name, one.prompts.question, "", "", base[one.prompts],
                        (fitting,),
                    ),
                    other,
                    sides[one.prompts],
                    measure,
                    checkpoint.logit_scale,
                    centres[lead_set.key],
                    n_resamples,
                )  # fmt: skip
                if measured is not None:
                    fitting = replace(fitting, worth=measured.worth)
                    measurements.append(measured)
            fitted[one.prompts].append(fitting)
    progress(len(lead_sets), len(lead_sets))
    questions = tuple(
        QuestionCalibration(
            prompts.name,
            prompts.question,
            texts_digest(prompts.positive),
            texts_digest(prompts.negative),
            base[prompts],
            tuple(each),
        )
        for prompts, each in fitted.items()
        if each
    )
    calibration = Calibration(checkpoint.hash, fitted_on, measured_on, questions, centres)
    return calibration, _experiment(measurements, fitted_on, measured_on)


def calibrate_on_ptbxl(
    checkpoint: Checkpoint,
    folder: Path,
    shipped: Sequence[PromptSet],
    *,
    zscored: Path | None = None,
    measure_zscored: bool = False,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> tuple[Calibration, Experiment]:
    """`calibrate` on fold 8 of PTB-XL, measured on fold 9, base rates of folds 1 to 8.

    Parameters
    ----------
    checkpoint, shipped, n_resamples, progress
        As in `calibrate`.
    folder : Path
        Of PTB-XL.
    zscored : Path, optional
        Folder of further ECGs whose millivolts are lost (`datasets.zscored`): those of fold 8 are
        fitted on, too, for what does not rest on voltage. Rare findings have few others.
    measure_zscored : bool
        Measure on those of fold 9, too: an ECE of 245 ECGs says little.
    """
    fit, measure = (
        load_ptbxl(folder, folds=folds) for folds in (PTBXL_CALIBRATION_FOLDS, PTBXL_TEST_FOLDS)
    )
    fitted_on = f"{len(fit)} real ECGs of PTB-XL fold 8"
    if zscored is not None:
        donors = load_ptbxl(folder, folds=PTBXL_TRAIN_FOLDS)
        further = load_zscored(zscored, folds=PTBXL_CALIBRATION_FOLDS, donors=donors)
        fit = fit.concat(further)
        fitted_on += f" and {len(further)} more of it with borrowed millivolts"
    measured_on = f"{len(measure)} real ECGs of PTB-XL fold 9"
    if zscored is not None and measure_zscored:
        more = load_zscored(zscored, folds=PTBXL_TEST_FOLDS, donors=donors)
        measure = measure.concat(more)
        measured_on += f" and {len(more)} more of it with borrowed millivolts"
    return calibrate(
        checkpoint,
        fit,
        measure,
        shipped,
        fitted_on=fitted_on,
        measured_on=measured_on,
        rates=_statements(folder),
        n_resamples=n_resamples,
        progress=progress,
    )


def calibrate_on_prepared(
    checkpoint: Checkpoint,
    folder: Path,
    shipped: Sequence[PromptSet],
    *,
    lead_sets: Sequence[LeadSet] = LEAD_SETS,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> tuple[Calibration, Experiment]:
    """`calibrate` on the split ``valid`` of a prepared set, measured on ``test`` where it has one.

    Parameters
    ----------
    checkpoint, shipped, lead_sets, n_resamples, progress
        As in `calibrate`.
    folder : Path
        That `echoing prepare` made; questions are asked whose label it has.

    Raises
    ------
    DataSetError
        It has no split ``valid``, or no label that is asked.
    """
    check_filter_padding(folder, checkpoint.filter_padding)
    studies = load_prepared(folder, splits=("valid", "test"))
    parts = {name: studies.where(studies.table["split"] == name) for name in ("valid", "test")}
    fit, measure = parts["valid"], parts["test"]
    if not len(fit):
        raise DataSetError(
            f"{folder.name} has no ECGs in its split valid, on which a calibration is fitted."
        )

    def words(part: StudySet, name: str) -> str:
        kind = "simulated" if part.table["simulated"].all() else "real"
        return f"{len(part)} {kind} ECGs of {folder.name}, split {name}"

    return calibrate(
        checkpoint,
        fit,
        measure if len(measure) else None,
        shipped,
        fitted_on=words(fit, "valid"),
        measured_on=words(measure, "test") if len(measure) else "",
        lead_sets=lead_sets,
        n_resamples=n_resamples,
        progress=progress,
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    """Figures of one question and lead set on ECGs that neither weights nor map have seen."""

    leads: str
    name: str
    label: str
    question: str
    worth: AnswerWorth
    rate: float
    base_rate: float
    figures: dict[str, Estimate]
    ideal_ece: tuple[float, float]
    covered: int
    groups: int
    withheld: int
    beats: bool


def fit_lead_set(
    key: str, margin: Floats, std: Floats, truth: Floats, patients: Strings, base_rate: float
) -> LeadSetCalibration | None:
    """Fit the map of one question and lead set.

    Parameters
    ----------
    key : str
        Of the lead set.
    margin, std : ndarray, shape (n,)
        Of ECGs that no weight was trained on.
    truth : ndarray, shape (n,)
        0 or 1.
    patients : ndarray of str, shape (n,)
    base_rate : float
        That answers start from.

    Returns
    -------
    LeadSetCalibration or None
        None where too few have the finding, or lack it.
    """
    n, n_positive = truth.size, int(truth.sum())
    if min(n_positive, n - n_positive) < FEWEST_POSITIVES or margin.std() == 0:
        return None
    open_to_all = LeadSetCalibration(
        key, fit_platt(margin, std, truth), n, n_positive, 0.5, beats_base_rate=True
    )
    p = calibrated(open_to_all, margin, std, np.zeros(n), base_rate=base_rate).probability
    return replace(
        open_to_all,
        wrong_limit=wrong_limit(p),
        beats_base_rate=_beats_base_rate(margin, std, truth, patients),
    )


def _beats_base_rate(margin: Floats, std: Floats, truth: Floats, patients: Strings) -> bool:
    """Whether the Brier score of maps fitted without a patient is below that of the base rate."""
    people, person = np.unique(patients, return_inverse=True)
    n_parts = min(_N_CV, people.size)
    if n_parts < 2:
        return False
    part = np.random.default_rng(0).permutation(people.size)[person] % n_parts
    said, rate = np.empty(truth.size), np.empty(truth.size)
    for one in range(n_parts):
        left, rest = part == one, part != one
        rate[left] = truth[rest].mean()
        if not 0 < truth[rest].sum() < rest.sum():
            said[left] = rate[left]
            continue
        platt = fit_platt(margin[rest], std[rest], truth[rest])
        fitting = LeadSetCalibration(
            "12", platt, int(rest.sum()), int(truth[rest].sum()), 0.5, True
        )
        said[left] = calibrated(
            fitting, margin[left], std[left], np.zeros(left.sum()), base_rate=float(rate[left][0])
        ).probability
    return bool(((said - truth) ** 2).sum() < ((rate - truth) ** 2).sum())


def _measure(
    asked: AskedTruth,
    question: QuestionCalibration,
    ecg: GaussianEmbedding,
    sides: tuple[GaussianEmbedding, GaussianEmbedding],
    studies: StudySet,
    logit_scale: float,
    centre: Floats,
    n_resamples: int,
) -> _Measured | None:
    """Answers as a user gets them, set against the truth; None where all are alike."""
    fitting = question.lead_sets[0]
    truth = asked.truth(studies.table)
    known = np.isfinite(truth)
    truth, patients = truth[known], _patients(studies)[known]
    if truth.size == 0 or truth.min() == truth.max():
        return None
    rows = np.flatnonzero(known)
    handed = CalibratedQuestion(question, False, {fitting.leads: centre})

    def judged(prevalence: float | None = None) -> Judged:
        return judge(
            ecg[rows],
            *sides,
            logit_scale=logit_scale,
            calibration=handed,
            simulated=False,
            leads=fitting.leads,
            prevalence=prevalence,
        )

    answers, rate = judged(), float(truth.mean())
    p, at_rate = answers.probability, judged(rate).probability
    yes, no = answers.verdict == YES, answers.verdict == NO
    shown = fitting.leads in SHOWN_LEADS
    # Of other lead sets nothing but the AUROC is ever shown with an interval, by two digits.
    figures = patient_bootstrap_all(
        _figures if shown else _area, (truth, p, at_rate, yes, no), patients,
        n_resamples=n_resamples if shown else min(n_resamples, _FEW_RESAMPLES),
    )  # fmt: skip
    area = figures["AUROC"]
    worth = AnswerWorth(
        n=int(truth.size),
        n_positive=int(truth.sum()),
        auroc=area.value,
        auroc_low=area.low,
        auroc_high=area.high,
        yes_n=int(yes.sum()),
        yes_right=int(truth[yes].sum()),
        no_n=int(no.sum()),
        no_right=int((1 - truth[no]).sum()),
    )
    covered, groups = _coverage(answers, truth, fitting, question.base_rate) if shown else (0, 0)
    return _Measured(
        leads=fitting.leads,
        name=question.name,
        label=(asked.prompts.label or "") if asked.codes is None else "",
        question=question.question,
        worth=worth,
        rate=rate,
        base_rate=question.base_rate,
        figures=figures,
        ideal_ece=_ideal_ece(p) if shown else (float("nan"), float("nan")),
        covered=covered,
        groups=groups,
        withheld=int(truth.size - yes.sum() - no.sum()),
        beats=fitting.beats_base_rate,
    )


def _area(truth: Floats, p: Floats, *_: Floats) -> dict[str, float]:
    return {"AUROC": auroc(truth > 0, p)}


def _figures(
    truth: Floats, p: Floats, at_rate: Floats, yes: BoolArray, no: BoolArray
) -> dict[str, float]:
    wrong = (p > 0.5) != (truth > 0)
    given = yes | no
    brier, plain = float(((p - truth) ** 2).mean()), float(truth.var())
    return {
        "AUROC": auroc(truth > 0, p),
        "ECE": expected_calibration_error(truth > 0, p, n_bins=N_BINS),
        "ECE at this prevalence": expected_calibration_error(truth > 0, at_rate, n_bins=N_BINS),
        "Brier": brier,
        "Brier less base rate's": brier - plain,
        "wrong": float(wrong.mean()),
        "wrong given as sure": float((wrong & given).sum() / wrong.sum())
        if wrong.any()
        else float("nan"),
        "not sure enough": float(1.0 - given.mean()),
    }


def _ideal_ece(p: Floats) -> tuple[float, float]:
    """Mean and 95 % quantile of the ECE if every probability were true.

    With few ECGs both are far from 0; an ECE below the second is no sign of a wrong probability.
    """
    rng = np.random.default_rng(0)
    draws = [
        expected_calibration_error(rng.random(p.size) < p, p, n_bins=N_BINS) for _ in range(400)
    ]
    return float(np.mean(draws)), float(np.quantile(draws, 0.95))


def _coverage(
    answers: Judged, truth: Floats, fitting: LeadSetCalibration, base_rate: float
) -> tuple[int, int]:
    """Of fifths of the ECGs by probability, in how many the interval explains the count of yes.

    A probability is not seen, only yes and no. So a fifth is covered if the number of its ECGs
    with the finding lies between the 5 % and 95 % quantiles of that number, where each ECG's
    logit is drawn from its interval and its truth from that probability. Errors of the map are
    drawn once for all ECGs, those of wording and sigma^2 for each.
    """
    said = answers.calibrated
    if said is None:
        raise ValueError("coverage is asked of calibrated answers")
    rng = np.random.default_rng(0)
    platt = fitting.map
    logit = np.log(said.probability) - np.log1p(-said.probability)
    # Back from the logit to the standardised margin, at the base rate that answers start from.
    from_fitted = float(shifted(0.0, fitted_rate(fitting), base_rate))
    x = (logit - from_fitted - platt.intercept) / platt.slope
    total_var = ((np.log(said.high) - np.log1p(-said.high) - logit) / Z_90) ** 2
    own_std = np.sqrt(np.maximum(total_var - platt.logit_var(x), 0.0))
    cov = [
        [platt.intercept_var, platt.covariance],
        [platt.covariance, platt.slope_var],
    ]
    shift = rng.multivariate_normal([0.0, 0.0], cov, size=_N_DRAWS)
    drawn = logit + shift[:, :1] + shift[:, 1:] * x + own_std * rng.normal(size=(_N_DRAWS, x.size))
    counts = rng.random(drawn.shape) < 1.0 / (1.0 + np.exp(-drawn))
    covered = 0
    groups = np.array_split(np.argsort(said.probability, kind="stable"), _N_GROUPS)
    for group in groups:
        low, high = np.quantile(counts[:, group].sum(axis=1), [0.05, 0.95], method="nearest")
        covered += bool(low <= truth[group].sum() <= high)
    return covered, len(groups)


def _experiment(measured: Sequence[_Measured], fitted_on: str, measured_on: str) -> Experiment:
    """What came out, a table for each of `SHOWN_LEADS` and all lead sets in the JSON."""
    tables, records = [], []
    for one in measured:
        records.append(
            {
                "leads": one.leads, "name": one.name, "question": one.question,
                "label": one.label, "base_rate": json_number(one.base_rate),
                "share_measured": json_number(one.rate),
                "ideal_ece": json_number(one.ideal_ece[0]),
                "ideal_ece_95": json_number(one.ideal_ece[1]),
                "beats_base_rate": one.beats, "covered": one.covered, "groups": one.groups,
                "not_sure_enough": one.withheld, "worth": asdict(one.worth),
                "figures": {name: estimate_record(e) for name, e in one.figures.items()},
            }
        )  # fmt: skip
    keys = list(dict.fromkeys(one.leads for one in measured))
    for key in [key for key in SHOWN_LEADS if key in keys]:
        mine = [one for one in measured if one.leads == key]
        covered, groups = sum(one.covered for one in mine), sum(one.groups for one in mine)
        rows = [
            (
                f"**{one.question}**" if one.label in MAIN_LABELS else one.question,
                f"{one.worth.n_positive}",
                with_interval(one.figures["AUROC"]),
                with_interval(one.figures["ECE"]),
                f"{number(one.ideal_ece[0])} ({number(one.ideal_ece[1])})",
                with_interval(one.figures["ECE at this prevalence"]),
                with_interval(one.figures["Brier less base rate's"], signed=True),
                f"{one.worth.yes_right}/{one.worth.yes_n}",
                f"{one.worth.no_right}/{one.worth.no_n}",
                with_interval(one.figures["wrong"]),
                with_interval(one.figures["wrong given as sure"]),
                with_interval(one.figures["not sure enough"]),
                f"{one.covered}/{one.groups}",
            )
            for one in mine
        ]
        tables.append(
            Table(
                LeadSet.from_key(key).words,
                _HEADER,
                rows,
                note=f"90 % intervals cover {covered} of {groups} fifths "
                f"({100 * covered / max(groups, 1):.0f} %).",
            )
        )
    return Experiment(
        "calibration",
        "Calibrated answers",
        f"Maps fitted on {fitted_on}, measured on {measured_on or 'nothing'}; limits chosen on "
        f"the first alone. ECE over {N_BINS} bins of equal width; beside it what a perfectly "
        "calibrated model would show with as many ECGs (in brackets what it would stay below in 95 "
        "of 100 such measurements), and the ECE if the share with the finding among the measured "
        "ECGs is given as prevalence. Wrong: the likelier of yes and no. "
        "95 % intervals, bootstrap over patients.",
        tables=tuple(tables),
        content={"fitted_on": fitted_on, "measured_on": measured_on, "measured": records},
    )


_HEADER = (
    "question", "with it", "AUROC", "ECE", "ideal", "ECE, prevalence given",
    "Brier less base rate's", "yes right", "no right", "wrong", "of these given as sure",
    "not sure enough", "fifths covered",
)  # fmt: skip


def _embedded(checkpoint: Checkpoint, studies: StudySet, lead_set: LeadSet) -> GaussianEmbedding:
    signal_mv, valid = reduced_to(lead_set, studies.signal_mv, studies.valid)
    return encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, signal_mv, valid)


def _patients(studies: StudySet) -> Strings:
    return np.asarray(studies.table["patient_id"].astype(str))


def _base_rate(asked: AskedTruth, table: pd.DataFrame) -> float:
    """Share with the finding; half an ECG is added to both sides, so that it is never 0 or 1."""
    truth = asked.truth(table)
    known = truth[np.isfinite(truth)]
    return float((known.sum() + 0.5) / (known.size + 1.0))


def _statements(folder: Path) -> pd.DataFrame:
    """The table of the folds that base rates are taken from, without any signal."""
    table = PtbXl(folds=RATE_FOLDS).plan(folder).table
    return table.assign(scp_codes=table["scp_codes"].map(json.loads))
