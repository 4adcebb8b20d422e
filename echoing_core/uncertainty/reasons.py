"""From the terms of a window's sigma^2 to a sentence: which leads, when, and why.

sigma^2 is a sum over leads and fifths of a second (`uncertainty.attribution`). The rules that
turn it into words, in their order:

1. *Calm.* A window below percentile 75 of the reference needs no explanation. The reference has
   the leads that the recording has (`reference.LeadReference`).
2. *Leads.* To blame is the smallest set of measured leads with at least two thirds of their
   badness (`attribution.lead_badness`), and whatever lead comes at least half as high as the
   least of them: equal leads are named together or not at all. The percentage beside them is what
   they give to sigma^2, without its floor, which is the same for every window.
3. *Missing leads* are no cause of a window: the recording lacks them from end to end, and so
   do the ECGs that it is compared with. What they cost is left out of all shares.
4. *Time.* The span that stands out most in the blamed, recorded leads (`intervals.noisy_span`) is
   named if it holds at least half of what they give, at twice the level of the rest or more, and
   leaves at least a second out.
5. *Artefacts* of each blamed lead in that span (`artefacts.lead_artefacts`). Where a blamed lead
   has no signal (`LOST`), any other lead that lost it in the same way is named as well.
6. *Misplaced electrodes* (`artefacts.suspected_misplacements`) are named in any window, also a
   calm one: they are no term of sigma^2.
7. *Unlike training.* Named whenever the window is farther from the training windows than 99 % of
   them, also where sigma^2 is low: sigma^2 was not learnt there.

Every limit is a plain share, chosen for sentences that read right; none was fitted to a label.
Where no time is named, none stands out: the noise may still be shorter than the window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from echoing_core.records import LEADS, BoolArray, FloatArray
from echoing_core.signals.lead_sets import lead_words
from echoing_core.uncertainty.artefacts import (
    ARTEFACT_WORDS,
    NONE,
    lead_artefacts,
    suspected_misplacements,
)
from echoing_core.uncertainty.attribution import lead_badness
from echoing_core.uncertainty.intervals import span_to_name
from echoing_core.uncertainty.reference import LeadReference, Reference

Floats = npt.NDArray[np.float64]

CALM_PERCENTILE = 75.0
BLAME_SHARE = 2.0 / 3.0
NEARLY = 0.5
"""A lead at least this many times as high as the least of those to blame is to blame as well."""

NEARLY_ALL = 0.75
"""Share of the recorded leads from which on they are no longer listed one by one."""

LOST = frozenset({"gap", "lead off", "saturated"})
"""Artefacts in which nothing of the heart is left."""

MISPLACED, UNLIKE = "misplaced electrodes", "unlike training"
MISSING = "missing leads"
"""Why a window is unsure beside 12-lead ECGs where it is calm beside its like; no `Reason`."""

_UNLIKE_TOO = "It is also unlike the ECGs that the model learnt from."
_NOTHING_RECORDED = "Nothing was recorded in this window."
_CALM = "Nothing stands out: as sure as on most ECGs."


@dataclass(frozen=True)
class Reason:
    """One cause of a window's uncertainty.

    Attributes
    ----------
    kind : str
        ``"misplaced electrodes"``, ``"unlike training"``, or an artefact of
        `artefacts.ARTEFACT_WORDS`.
    leads : tuple of str
        In the order of `LEADS`; empty for ``"unlike training"``, which is of the whole window.
    share : float
        Their share of what all measured leads give to sigma^2, 0..1.
    """

    kind: str
    leads: tuple[str, ...]
    share: float


@dataclass(frozen=True, eq=False)
class WindowReasons:
    """Which leads and moments a window's sigma^2 comes from, and why.

    Attributes
    ----------
    share_by_lead : ndarray, shape (12,), or None
        Each lead's share of what all measured leads give, 0 for a missing one; the sum is 1, or 0
        if no lead gives anything. None where sigma^2 has no terms by lead.
    span_s : (float, float) or None
        The span of the window that stands out, in seconds from its start; None if none does.
    leads : tuple of str
        The leads to blame for sigma^2, in the order of `LEADS`; none for a calm window.
    reasons : tuple of Reason
        Greatest share first, then ``"misplaced electrodes"`` and ``"unlike training"``, the only
        ones that a calm window can have.
    sentence : str
        All of this for a person.
    cell_percentile : ndarray, shape (12, 50), or None
        `as_if_everywhere` of each lead and chunk of 0.2 s; None as ``share_by_lead``.
    """

    share_by_lead: Floats | None
    span_s: tuple[float, float] | None
    leads: tuple[str, ...]
    reasons: tuple[Reason, ...]
    sentence: str
    cell_percentile: Floats | None


def as_if_everywhere(
    terms: npt.ArrayLike,
    rest: npt.ArrayLike,
    n_terms: int,
    reference: Reference,
    *,
    axes: tuple[int, ...] = (-1,),
) -> Floats:
    """Percentile of a window in which every term were like this one.

    So a term gets a colour on the scale of whole windows, which belongs to the model: the same
    term is as bright in every recording.

    Parameters
    ----------
    terms : array-like
        Terms of the sum of sigma^2, of leads or of leads and chunks.
    rest : array-like
        What belongs to no lead; broadcast against ``terms``.
    n_terms : int
        Terms in a window: 12 leads, or 600 leads and chunks; of fewer leads, where the reference
        is of fewer.
    reference : Reference
        Of the model that made the terms. With a `LeadReference` missing leads cost what they
        usually do beside such leads (`LeadReference.percentile_if_all`).
    axes : tuple of int
        Axes of ``terms`` that make up one window: leads, or leads and chunks.

    Returns
    -------
    ndarray, shape of ``terms``, 0..100
    """
    sums = n_terms * np.asarray(terms, dtype=np.float64)
    if isinstance(reference, LeadReference):
        every = np.asarray(terms, dtype=np.float64)
        whole = np.asarray(rest, dtype=np.float64) + every.sum(axis=axes, keepdims=True)
        present = reference.lead_set.present.reshape(-1, *(1,) * (len(axes) - 1))
        given = np.where(present, every, 0.0).sum(axis=axes, keepdims=True)
        return reference.percentile_if_all(sums, given, whole)
    return reference.percentile(np.asarray(rest, dtype=np.float64) + sums)


def reasons_from_cells(
    cells: FloatArray,
    lost: FloatArray,
    rest: float,
    signal_mv: FloatArray,
    valid: BoolArray,
    *,
    lead_origin: Sequence[str],
    novelty: float,
    reference: Reference,
) -> WindowReasons:
    """Explain one window by the rules of this module.

    Parameters
    ----------
    cells, lost : ndarray, shape (12, 50)
        Terms of its sum of sigma^2 by lead and chunk of 0.2 s, and how much is lost there
        (`Attribution`).
    rest : float
        What belongs to no lead.
    signal_mv, valid : ndarray, shape (12, n_times)
        The window as the model was given it, 100 Hz.
    lead_origin : sequence of 12 str
        As in `StandardEcg`.
    novelty : float
        As in `WindowTrack`.
    reference : Reference
        Of the model that made the cells, and of the leads that the recording has.

    Returns
    -------
    WindowReasons
    """
    terms = np.asarray(cells, dtype=np.float64)
    recorded = np.array([origin != "missing" for origin in lead_origin])
    # The rest belongs to no lead and takes no part in shares; nor does what missing leads cost.
    by_lead = np.where(recorded, terms.sum(axis=1), 0.0)
    given = float(by_lead.sum())
    draft = _Draft(
        badness=np.where(recorded, lead_badness(terms, lost), 0.0),
        share=by_lead / given if given > 0 else np.zeros(len(LEADS)),
        recorded=recorded,
    )
    like_it = "ECGs" if recorded.all() else "ECGs with these leads"
    misplacements = suspected_misplacements(signal_mv, valid, lead_origin)
    if not valid.any():
        draft.sentences.append(_NOTHING_RECORDED)
    elif given == 0 or float(reference.percentile(rest + terms.sum())) < CALM_PERCENTILE:
        draft.sentences.append(_calm_words(novelty > 1, like_it, misplaced=bool(misplacements)))
    else:
        _blame(draft, terms, signal_mv, valid)
        if novelty > 1:
            draft.sentences.append(_UNLIKE_TOO)
    # Only what sigma^2 comes from is to blame: misplacement and novelty are added after this.
    blamed = {lead for reason in draft.reasons for lead in reason.leads}
    for misplacement in misplacements:
        draft.add(MISPLACED, misplacement.leads)
        draft.sentences.append(misplacement.sentence)
    if novelty > 1 and valid.any():
        draft.reasons.append(Reason(UNLIKE, (), 0.0))
    return WindowReasons(
        share_by_lead=draft.share,
        span_s=draft.span_s,
        leads=tuple(lead for lead in LEADS if lead in blamed),
        reasons=tuple(draft.reasons),
        sentence=" ".join(draft.sentences),
        # What a missing lead costs is known beforehand and no news.
        cell_percentile=np.where(
            recorded[:, np.newaxis],
            as_if_everywhere(
                terms, rest, reference.n_leads * terms.shape[1], reference, axes=(-2, -1)
            ),
            0.0,
        ),
    )


def reasons_from_percentile(
    percentile: float, valid: BoolArray, *, novelty: float | None = None
) -> WindowReasons:
    """What can be said of a window by a model whose sigma^2 has no terms by lead and moment.

    Parameters
    ----------
    percentile : float
        Of the window's sum of sigma^2 in the reference cohort.
    valid : ndarray of bool, shape (12, n_times)
    novelty : float, optional
        As in `WindowTrack`, of a model that knows it.

    Returns
    -------
    WindowReasons
        A sentence, and whether the window is unlike training.
    """
    unlike = novelty is not None and novelty > 1 and bool(valid.any())
    if not valid.any():
        sentence = _NOTHING_RECORDED
    elif percentile < CALM_PERCENTILE:
        sentence = _calm_words(unlike, "ECGs", misplaced=False)
    else:
        sentence = "Less sure than on most ECGs; this model does not say where that comes from."
        if unlike:
            sentence += f" {_UNLIKE_TOO}"
    reasons = (Reason(UNLIKE, (), 0.0),) if unlike else ()
    return WindowReasons(None, None, (), reasons, sentence, None)


@dataclass(eq=False)
class _Draft:
    """The reasons of a window while they are collected."""

    badness: Floats
    share: Floats
    recorded: BoolArray
    span_s: tuple[float, float] | None = None
    reasons: list[Reason] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    def add(self, kind: str, leads: Sequence[str]) -> None:
        share = float(sum(self.share[LEADS.index(lead)] for lead in leads))
        self.reasons.append(Reason(kind, tuple(leads), share))


def _blame(draft: _Draft, terms: Floats, signal_mv: FloatArray, valid: BoolArray) -> None:
    blamed = leads_to_blame(draft.badness)
    draft.span_s = span_to_name(terms[blamed])
    artefacts = lead_artefacts(signal_mv, valid, draft.recorded, blamed, draft.span_s)
    lost = LOST.intersection(artefacts.values())
    if lost and not (blamed == draft.recorded).all():
        # Terms differ by what a lead is worth, but a lead is as flat as the one that is blamed.
        others = lead_artefacts(
            signal_mv, valid, draft.recorded, draft.recorded & ~blamed, draft.span_s
        )
        too = {lead: kind for lead, kind in others.items() if kind in lost}
        blamed |= np.isin(LEADS, list(too))
        both = artefacts | too
        artefacts = {lead: both[lead] for lead in LEADS if lead in both}
    by_kind = {
        kind: [lead for lead in artefacts if artefacts[lead] == kind] for kind in artefacts.values()
    }
    for kind, leads in by_kind.items():
        draft.add(kind, leads)
    draft.reasons.sort(key=lambda reason: -reason.share)
    if draft.recorded.sum() == 1:
        who = f"Lead {lead_words(_names(blamed))}"
    elif (blamed == draft.recorded).all():
        who = lead_words(_names(blamed), _names(draft.recorded)).capitalize()
    else:
        nearly_all = blamed.sum() >= NEARLY_ALL * draft.recorded.sum()
        share = float(draft.share[blamed].sum())
        # A lead may be lost and cost little: the others tell what it told.
        how_much = "Mostly" if share > 0.5 else "Above all"
        which = "Nearly all leads" if nearly_all else f"{how_much} {lead_words(_names(blamed))}"
        who = f"{which} ({100 * share:.0f} %)"
    draft.sentences.append(f"{who}{_span_words(draft.span_s)}: {_artefact_words(by_kind)}.")


def leads_to_blame(badness: npt.ArrayLike) -> BoolArray:
    """The smallest set with two thirds of the sum, and what comes at least half as high.

    Parameters
    ----------
    badness : array-like, shape (n_leads,), >= 0
        Of `attribution.lead_badness`.

    Returns
    -------
    ndarray of bool, shape (n_leads,)
        All False if all are 0.
    """
    terms = np.asarray(badness, dtype=np.float64)
    if terms.sum() <= 0:
        return np.zeros(terms.shape, dtype=np.bool_)
    falling = np.sort(terms)[::-1]
    # A hair less than two thirds: rounding of the running sum must not call for one more lead.
    enough = int(np.searchsorted(np.cumsum(falling), BLAME_SHARE * terms.sum() * (1 - 1e-9)))
    return np.asarray(terms >= NEARLY * falling[enough])


def _names(chosen: BoolArray) -> tuple[str, ...]:
    return tuple(lead for lead, is_chosen in zip(LEADS, chosen, strict=True) if is_chosen)


def _calm_words(novel: bool, like_it: str, *, misplaced: bool) -> str:
    if novel:
        return (
            f"The uncertainty is as low as on most {like_it}, but this window is unlike those that "
            "the model learnt from, so that cannot be trusted here."
        )
    if misplaced:
        # What is wrong follows; "nothing stands out" would contradict it.
        return f"The uncertainty is as low as on most {like_it}."
    return _CALM.replace("ECGs", like_it)


def _span_words(span_s: tuple[float, float] | None) -> str:
    if span_s is None:
        return ""
    start_s, end_s = span_s
    # A short span would often begin and end at the same whole second.
    digits = 0 if end_s - start_s >= 2 else 1
    return f", seconds {start_s:.{digits}f} to {end_s:.{digits}f}"


def _artefact_words(by_kind: Mapping[str, Sequence[str]]) -> str:
    """Leads without an artefact are not mentioned beside leads that have one."""
    named = {kind: leads for kind, leads in by_kind.items() if kind != NONE} or by_kind
    if len(by_kind) == 1:
        return "".join(ARTEFACT_WORDS[kind] for kind in named)
    return "; ".join(
        f"{ARTEFACT_WORDS[kind]} ({lead_words(leads)})" for kind, leads in named.items()
    )
