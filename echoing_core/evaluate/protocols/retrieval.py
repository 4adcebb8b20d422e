"""From a report to its ECG: recall at k, in galleries whose size is stated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.embed.encode import encode_texts
from echoing_core.evaluate.protocols.answers import BY_SIGMA2, HIGH, LOW
from echoing_core.evaluate.protocols.data import EvaluationData, patients_of, reports_of
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.results import ALL, Result
from echoing_core.metrics.scores import (
    COSINE,
    CSD,
    EXACT_PAIR,
    SAME_TEXT,
    median_split,
    recall_at_k,
    text_to_ecg_ranks,
)
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import BoolArray, GaussianEmbedding

FULL_GALLERY, OWN_GALLERY = "full gallery", "each half its own gallery"
TASK = "text to ECG"
KS = (1, 5, 10)


def retrieval(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    data: EvaluationData,
    *,
    by_entropy: bool,
    n_resamples: int,
) -> list[Result]:
    """Measure recall at 1, 5 and 10 by both orders and kinds of hit, for all ECGs and for halves.

    The halves are those of the ECG's sigma^2. *Full gallery*: every report is ranked among all
    ECGs, and the queries are split by the sigma^2 of their own ECG; the halves then average to the
    whole. *Each half its own gallery*: a report is ranked among the ECGs of its half only, which
    is easier, since that gallery is half as large; the article's Table 4 must have been made so, or
    its halves would average to the whole. Without sigma^2 (``by_entropy``) there are no halves.

    Parameters
    ----------
    checkpoint : Checkpoint
        Embeds the reports.
    name : str
        How tables call the encoder that made ``ecg``.
    ecg : GaussianEmbedding
        The gallery's ECGs.
    data : EvaluationData
        Its test split is the gallery.
    by_entropy : bool
        The model has no sigma^2 to make halves by.
    n_resamples : int

    Returns
    -------
    list of Result

    Raises
    ------
    DataSetError
        A study has no report.
    """
    gallery = data.split("test")
    texts, patients = reports_of(gallery), patients_of(gallery)
    text = encode_texts(checkpoint, texts)
    # Halves are by the ECG searched for, not by the report that searches: the article splits ECGs.
    low = np.ones(len(texts), dtype=bool) if by_entropy else median_split(ecg.uncertainty)
    results: list[Result] = []
    for order in (CSD, COSINE):
        for hit in (EXACT_PAIR, SAME_TEXT):
            places = [(FULL_GALLERY, text_to_ecg_ranks(text, ecg, texts, order=order, hit=hit))]
            if not by_entropy:
                places.append((OWN_GALLERY, _ranks_by_half(text, ecg, texts, low, order, hit)))
            for place, ranks in places:
                results += [
                    Result(
                        data.name,
                        TASK,
                        metric,
                        name,
                        estimate,
                        data.simulated,
                        protocol=f"by {order}, {hit}, {place}",
                        group=group,
                        n_group=n_group,
                        split=BY_SIGMA2,
                        # Nothing is drawn in training here, so the one seed is the figure itself.
                        per_seed=(estimate.value,),
                        gallery_size=len(texts) if place == FULL_GALLERY else n_group,
                    )
                    for group, metric, estimate, n_group in _recalls(
                        ranks,
                        low,
                        patients,
                        groups=_groups(place, by_entropy=by_entropy),
                        n_resamples=n_resamples,
                    )
                ]
    return results


def _groups(place: str, *, by_entropy: bool) -> tuple[str, ...]:
    if place == OWN_GALLERY:
        # Of halves with galleries of their own there is no whole: ranks from two galleries do not
        # mix.
        return LOW, HIGH
    return (ALL,) if by_entropy else (ALL, LOW, HIGH)


def _ranks_by_half(
    text: GaussianEmbedding,
    ecg: GaussianEmbedding,
    texts: Sequence[str],
    low: BoolArray,
    order: str,
    hit: str,
) -> npt.NDArray[np.int64]:
    ranks = np.zeros(len(texts), dtype=np.int64)
    for half in (np.flatnonzero(low), np.flatnonzero(~low)):
        if half.size:
            # Own texts too: a hit by same text must lie in the gallery of this half.
            own = [texts[int(i)] for i in half]
            ranks[half] = text_to_ecg_ranks(text[half], ecg[half], own, order=order, hit=hit)
    return ranks


def _recalls(
    ranks: npt.NDArray[np.int64],
    low: BoolArray,
    patients: npt.NDArray[np.str_],
    *,
    groups: tuple[str, ...],
    n_resamples: int,
) -> Iterator[tuple[str, str, Estimate, int]]:
    """(group, metric, estimate, queries of the group)."""
    everyone = np.ones(len(low), dtype=bool)
    for group, rows in ((ALL, everyone), (LOW, low), (HIGH, ~low)):
        # With equal sigma^2 everywhere all are low, and there is no high half to measure.
        if group not in groups or not rows.any():
            continue
        # Ranks are resampled, not the gallery: each query keeps its rank among the ECGs ranked
        # once.
        estimates = patient_bootstrap_all(
            lambda resampled: {f"R@{k}": recall_at_k(resampled, k) for k in KS},
            (ranks[rows],),
            patients[rows],
            n_resamples=n_resamples,
        )
        for metric, estimate in estimates.items():
            yield group, metric, estimate, int(rows.sum())
