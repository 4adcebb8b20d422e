"""From a margin to a probability that says how often the answer is right.

A margin grows with the probability of yes, but its sigmoid is no probability: the scale k was
learnt for matching texts, where every text is as likely as any other. ECGs with known findings
that no weight was trained on give the map. One map belongs to one question in one wording, and to
one lead set; both are looked up, and whatever has none is not calibrated.

    x = (shrunk margin - mean) / deviation of the fitted ECGs
    logit P(yes) = b + a x + logit(base rate) - logit(base rate of the fitted ECGs)

(Platt 1999, here with a Gaussian prior instead of smoothed targets, since rare findings have
three positives.) sigma^2 beyond what the fitted ECGs had shrinks a margin towards their mean, as
regression to the mean asks for: a window that tells little is answered near the base rate.

The interval adds three variances of the logit: of the map (Laplace's approximation of its
posterior), of the wording (which text would have been chosen) and of sigma^2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.config import from_mapping
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.records import AnswerWorth, GaussianEmbedding
from echoing_core.signals.lead_sets import LeadSet
from echoing_core.zeroshot.closed_form import Z_90, sigmoid
from echoing_core.zeroshot.prompts import PromptSet

Floats = npt.NDArray[np.float64]

FORMAT = 1

SLOPE_MEAN, SLOPE_STD, INTERCEPT_STD = 2.0, 1.0, 3.0
"""Prior of the map, in deviations of the margin. Chosen by log loss in five-fold cross-validation
over 17 questions on fold 8 of PTB-XL, where it mattered little (0.158 to 0.163)."""

FEWEST_POSITIVES = 3
"""Fewer ECGs with (or without) a finding make no calibration."""

SURE_SHARE = 0.28
"""Share of the wrong answers that may be given as sure, in expectation on the fitted ECGs. The
promise is a half; the rest is for what a limit loses on other ECGs. With 0.4 one question of two
models broke the promise on fold 9 that keeps it with this."""


@dataclass(frozen=True)
class PlattMap:
    """A logistic map from margins to logits, and how sure it is.

    Attributes
    ----------
    centre, scale : float
        Mean and standard deviation of the margins that it was fitted on.
    typical_var : float
        Mean variance of those margins by sigma^2.
    slope, intercept : float
        Of the standardised margin.
    slope_var, intercept_var, covariance : float
        Of their posterior.
    """

    centre: float
    scale: float
    typical_var: float
    slope: float
    intercept: float
    slope_var: float
    intercept_var: float
    covariance: float

    def standardised(self, margin: npt.ArrayLike, margin_std: npt.ArrayLike) -> Floats:
        """Margins in deviations from the mean, shrunk where sigma^2 is above its usual size.

        With true margins N(centre, scale^2) and an error of variance s^2, the mean of the true
        margin given the seen one is the centre plus scale^2 / (scale^2 + s^2) of the distance.
        The map has learnt that factor for the typical s^2, so only the ratio to it is applied.

        Parameters
        ----------
        margin, margin_std : array-like, same shape

        Returns
        -------
        ndarray
        """
        m, s = np.asarray(margin, dtype=np.float64), np.asarray(margin_std, dtype=np.float64)
        usual = self.scale**2 + self.typical_var
        # Never stretched: a surer window than usual tells no more than the map was fitted to.
        factor = np.minimum(usual / (self.scale**2 + s**2), 1.0)
        return np.asarray((m - self.centre) / self.scale * factor)

    def logit(self, x: Floats) -> Floats:
        """Logit of yes where the base rate is that of the fitted ECGs; ``x`` standardised."""
        return self.intercept + self.slope * x

    def logit_var(self, x: Floats) -> Floats:
        """Variance of `logit` by the posterior of slope and intercept."""
        variance = self.intercept_var + 2.0 * self.covariance * x + self.slope_var * x**2
        return np.maximum(variance, 0.0)


@dataclass(frozen=True)
class LeadSetCalibration:
    """One question, asked of ECGs with some leads.

    Attributes
    ----------
    leads : str
        Key of the lead set.
    map : PlattMap
    n, n_positive : int
        ECGs that it was fitted on, and those with the finding.
    wrong_limit : float
        Answers whose P(wrong) is above this are not given.
    beats_base_rate : bool
        Whether in cross-validation on the fitted ECGs the Brier score is below that of saying the
        base rate of everybody.
    worth : AnswerWorth or None
        On ECGs that neither weights nor map have seen.
    """

    leads: str
    map: PlattMap
    n: int
    n_positive: int
    wrong_limit: float
    beats_base_rate: bool
    worth: AnswerWorth | None = None


@dataclass(frozen=True)
class QuestionCalibration:
    """The maps of one question.

    Attributes
    ----------
    name, question : str
        Of the prompt set.
    yes, no : str
        Digests of its texts; other words are another question.
    base_rate : float
        Share of ECGs with the finding where the map is used, if nobody says otherwise.
    lead_sets : tuple of LeadSetCalibration
    """

    name: str
    question: str
    yes: str
    no: str
    base_rate: float
    lead_sets: tuple[LeadSetCalibration, ...]

    def fitting(self, leads: str | None) -> LeadSetCalibration | None:
        """The map for a lead set: its own, or that of the largest set among its leads.

        Parameters
        ----------
        leads : str or None
            Key of a lead set; None is taken for 12 leads.

        Returns
        -------
        LeadSetCalibration or None
            None where no set that was measured lies within these leads.
        """
        by_key = {one.leads: one for one in self.lead_sets}
        key = "12" if leads is None else leads
        if key in by_key:
            return by_key[key]
        wanted = LeadSet.from_key(key)
        if wanted.vcg is not None:
            # Other ways from X, Y and Z, or some leads besides: the same three leads of signal.
            return next((o for o in self.lead_sets if LeadSet.from_key(o.leads).vcg), None)
        within = [
            one
            for one in self.lead_sets
            if LeadSet.from_key(one.leads).vcg is None
            and set(LeadSet.from_key(one.leads).leads) <= set(wanted.leads)
        ]
        return max(within, key=lambda o: len(LeadSet.from_key(o.leads).leads), default=None)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; numbers have seven digits."""
        values: dict[str, Any] = _shortened(asdict(self))
        return values

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> QuestionCalibration:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        document : mapping

        Returns
        -------
        QuestionCalibration

        Raises
        ------
        ConfigError, KeyError, TypeError
            It is none.
        """
        inner = tuple(_lead_set(one) for one in document["lead_sets"])
        return from_mapping(cls, {**document, "lead_sets": inner})


@dataclass(frozen=True, eq=False)
class CalibratedQuestion:
    """A question as it was asked, with its maps.

    Attributes
    ----------
    calibration : QuestionCalibration
    negated : bool
        The texts for yes and no are exchanged: the answer is the complement.
    centres : mapping
        Lead set -> mean of the fitted ECGs' mu, shape (dim,).
    """

    calibration: QuestionCalibration
    negated: bool
    centres: Mapping[str, Floats]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a model's answers were worth on ECGs with known findings.

    Attributes
    ----------
    model_hash : str
        Of the model that embedded the ECGs.
    fitted_on, measured_on : str
        In words: ``"173 real ECGs of PTB-XL fold 8"``.
    questions : tuple of QuestionCalibration
    centres : mapping
        Lead set -> mean of the fitted ECGs' mu, shape (dim,). Wording is compared about it, since
        what a text adds to every ECG alike is in the map already.
    """

    model_hash: str
    fitted_on: str
    measured_on: str
    questions: tuple[QuestionCalibration, ...]
    centres: Mapping[str, Floats]

    @cached_property
    def _by_texts(self) -> dict[tuple[str, str], QuestionCalibration]:
        return {(q.yes, q.no): q for q in self.questions}

    def of(self, prompts: PromptSet) -> CalibratedQuestion | None:
        """Look a question up by its texts.

        Parameters
        ----------
        prompts : PromptSet

        Returns
        -------
        CalibratedQuestion or None
            None where these texts were never measured.
        """
        yes, no = texts_digest(prompts.positive), texts_digest(prompts.negative)
        for key, negated in (((yes, no), False), ((no, yes), True)):
            if key in self._by_texts:
                return CalibratedQuestion(self._by_texts[key], negated, self.centres)
        return None

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold; numbers have seven digits."""
        return {
            "format": FORMAT,
            "model_hash": self.model_hash,
            "fitted_on": self.fitted_on,
            "measured_on": self.measured_on,
            # Four digits: the spread over texts needs no more, and there are dim times 15 of them.
            "centres": {key: [float(f"{v:.4g}") for v in row] for key, row in self.centres.items()},
            "questions": [question.to_dict() for question in self.questions],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], model_hash: str) -> Calibration:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        document : mapping
        model_hash : str
            Of the model that it lies beside.

        Returns
        -------
        Calibration

        Raises
        ------
        CheckpointError
            It is of another format or another model, or damaged.
        """
        if document.get("format") != FORMAT or document.get("model_hash") != model_hash:
            raise CheckpointError(
                "calibration.json was not made with this model. Make it again with: echoing "
                "evaluate calibration --write"
            )
        try:
            centres = {
                key: np.asarray(row, dtype=np.float64) for key, row in document["centres"].items()
            }
            return cls(
                model_hash,
                document["fitted_on"],
                document["measured_on"],
                tuple(QuestionCalibration.from_dict(one) for one in document["questions"]),
                centres,
            )
        except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"calibration.json of the model cannot be used: {error}. Make it again with: "
                "echoing evaluate calibration --write"
            ) from error


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Calibrated answers of n windows.

    Attributes
    ----------
    probability, low, high : ndarray, shape (n,)
        Of yes, and the ends of a 90 % interval that holds it.
    wording_low, wording_high : ndarray, shape (n,)
        Ends of the part of that interval that is the wording's.
    """

    probability: Floats
    low: Floats
    high: Floats
    wording_low: Floats
    wording_high: Floats

    @property
    def p_wrong(self) -> Floats:
        """P(wrong) of the likelier of yes and no."""
        return np.minimum(self.probability, 1.0 - self.probability)


def calibrated(
    fitting: LeadSetCalibration,
    margin: npt.ArrayLike,
    margin_std: npt.ArrayLike,
    wording_std: npt.ArrayLike,
    *,
    base_rate: float,
    prevalence: float | None = None,
    negated: bool = False,
) -> Calibrated:
    """Probabilities and intervals of margins.

    Parameters
    ----------
    fitting : LeadSetCalibration
    margin, margin_std, wording_std : array-like, shape (n,)
        Of the question as it was asked; see `wording_std`.
    base_rate : float
        Of the finding, `QuestionCalibration.base_rate`.
    prevalence : float, optional
        Of the asked finding (of its absence where ``negated``) in the user's clinic, in place of
        the base rate.
    negated : bool
        The margin is that of the exchanged texts.

    Returns
    -------
    Calibrated
    """
    m = np.asarray(margin, dtype=np.float64)
    s = np.asarray(margin_std, dtype=np.float64)
    rate = base_rate
    if prevalence is not None:
        check_prevalence(prevalence)
        rate = 1.0 - prevalence if negated else prevalence
    platt = fitting.map
    x = platt.standardised(-m if negated else m, s)
    logit = shifted(platt.logit(x), fitted_rate(fitting), rate)
    wording_var = (platt.slope / platt.scale * np.asarray(wording_std, dtype=np.float64)) ** 2
    # What is left unknown of the true margin once the seen one is known.
    left = s**2 * platt.scale**2 / (platt.scale**2 + s**2)
    signal_var = (platt.slope / platt.scale) ** 2 * left
    half = Z_90 * np.sqrt(platt.logit_var(x) + wording_var + signal_var)
    half_wording = Z_90 * np.sqrt(wording_var)
    if negated:
        logit = -logit
    return Calibrated(
        sigmoid(logit),
        sigmoid(logit - half),
        sigmoid(logit + half),
        sigmoid(logit - half_wording),
        sigmoid(logit + half_wording),
    )


def shifted(logit: npt.ArrayLike, fitted: float, rate: float) -> Floats:
    """Logits where another share of people has the finding, by Bayes' rule.

    The likelihood ratio of a margin stays; the odds before it change.

    Parameters
    ----------
    logit : array-like
    fitted, rate : float
        Base rates, between 0 and 1: before and after.

    Returns
    -------
    ndarray

    References
    ----------
    Saerens, Latinne and Decaestecker, Neural Computation 14 (2002), eq. 2.4.
    """
    return np.asarray(logit, dtype=np.float64) + _logit(rate) - _logit(fitted)


def fitted_rate(fitting: LeadSetCalibration) -> float:
    """Base rate of the ECGs that a map was fitted on."""
    return fitting.n_positive / fitting.n


def check_prevalence(prevalence: float) -> None:
    """Refuse what is no share of people.

    Raises
    ------
    ConfigError
        It does not lie between 0 and 1.
    """
    if not 0.0 < prevalence < 1.0:
        raise ConfigError(
            f"A prevalence of {prevalence:g} is not possible. Give the share of your patients who "
            "have the finding, between 0 and 1: 0.05 for 5 %."
        )


def fit_platt(margin: Floats, margin_std: Floats, truth: Floats) -> PlattMap:
    """Fit a map by the mode of its posterior.

    Parameters
    ----------
    margin, margin_std : ndarray, shape (n,)
        Of ECGs that no weight was trained on.
    truth : ndarray, shape (n,)
        0 or 1.

    Returns
    -------
    PlattMap

    Raises
    ------
    ValueError
        There are only positives or only negatives, or all margins are equal.

    References
    ----------
    Platt, "Probabilistic outputs for support vector machines", 1999. MacKay, Neural Computation 4
    (1992), for Laplace's approximation.
    """
    y = np.asarray(truth, dtype=np.float64)
    m = np.asarray(margin, dtype=np.float64)
    centre, scale = float(m.mean()), float(m.std())
    rate = float(y.mean())
    if not 0.0 < rate < 1.0 or scale <= 0:
        raise ValueError("a map needs ECGs with and without the finding, and margins that differ")
    x = (m - centre) / scale
    design = np.stack([np.ones_like(x), x], axis=1)
    prior_mean = np.array([_logit(rate), SLOPE_MEAN])
    precision = np.diag([INTERCEPT_STD**-2, SLOPE_STD**-2])
    weights = prior_mean.copy()
    for _ in range(100):
        p = sigmoid(design @ weights)
        gradient = design.T @ (y - p) - precision @ (weights - prior_mean)
        hessian = (design * (p * (1.0 - p))[:, None]).T @ design + precision
        step = np.linalg.solve(hessian, gradient)
        # The log posterior is concave; a bounded step keeps the first ones from overshooting.
        weights = weights + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-10:
            break
    covariance = np.linalg.inv(hessian)
    return PlattMap(
        centre=centre,
        scale=scale,
        typical_var=float((np.asarray(margin_std, dtype=np.float64) ** 2).mean()),
        slope=float(weights[1]),
        intercept=float(weights[0]),
        slope_var=float(covariance[1, 1]),
        intercept_var=float(covariance[0, 0]),
        covariance=float(covariance[0, 1]),
    )


def wrong_limit(probability: Floats, share: float = SURE_SHARE) -> float:
    """The largest P(wrong) at which answers may still be given.

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Calibrated, of the fitted ECGs.
    share : float
        Of all wrong answers that are to be expected, so many may be given.

    Returns
    -------
    float
        0..0.5. By expected and not by counted mistakes: a rare finding has one or two of them.
    """
    p = np.sort(np.minimum(probability, 1.0 - probability))
    total = np.cumsum(p)
    given = np.flatnonzero(total <= share * total[-1])
    return float(p[given[-1]]) if given.size else 0.0


def wording_std(
    mu: npt.NDArray[np.floating],
    positive: GaussianEmbedding,
    negative: GaussianEmbedding,
    centre: Floats | None,
) -> Floats:
    """Standard error of margins by the choice of the texts.

    Had other texts of the same kinds been written, the mean over them would differ by the standard
    error of a mean. Only what is particular to an ECG counts: the share that a text adds to every
    ECG is part of the map.

    Parameters
    ----------
    mu : ndarray, shape (n, dim)
    positive, negative : GaussianEmbedding
    centre : ndarray, shape (dim,), or None
        Mean of mu over the fitted ECGs.

    Returns
    -------
    ndarray, shape (n,)
        0 of a side with a single text, whose spread nobody knows.
    """
    about = np.asarray(mu, dtype=np.float64)
    if centre is not None:
        about = about - centre
    variance = np.zeros(about.shape[0])
    for side in (positive, negative):
        texts = side.mu.astype(np.float64)
        if len(texts) < 2:
            continue
        # As in `closed_form.prototype`: the mean of the texts, scaled to length 1.
        texts = texts / np.linalg.norm(texts.mean(axis=0))
        variance += (about @ texts.T).var(axis=1, ddof=1) / len(texts)
    return np.sqrt(variance)


def texts_digest(texts: Sequence[str]) -> str:
    """A short name for a set of texts, whatever their order, capitals and spaces."""
    plain = sorted({" ".join(text.casefold().split()) for text in texts})
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def _lead_set(values: Mapping[str, Any]) -> LeadSetCalibration:
    flat = {key: value for key, value in values.items() if key != "worth"}
    worth = values["worth"]
    read = from_mapping(LeadSetCalibration, flat)
    return read if worth is None else replace(read, worth=from_mapping(AnswerWorth, worth))


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def _short(value: float) -> float:
    return float(f"{float(value):.7g}")


def _shortened(value: Any) -> Any:
    """Nested plain values with floats of seven digits: float64 noise is no information."""
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(inner) for inner in value]
    return value
