"""From a report to its ECG: recall at k, in galleries whose size is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_texts
from echoing_core.errors import DataSetError
from echoing_core.evaluate.protocols.data import embed_ecgs, patients_of
from echoing_core.evaluate.protocols.results import ALL, HIGH, LOW, Figure
from echoing_core.evaluate.protocols.splits import BY_SIGMA2
from echoing_core.metrics.bootstrap import Estimate, patient_bootstrap_all
from echoing_core.metrics.distances import cosine, csd
from echoing_core.metrics.scores import median_split, recall_at_k, relevant_ranks
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.models.encoders import EcgEncoder
from echoing_core.records import BoolArray, GaussianEmbedding

CSD, COSINE = "csd", "cosine"
EXACT_PAIR, SAME_TEXT = "exact pair", "same text"
FULL_GALLERY, OWN_GALLERY = "full gallery", "each half its own gallery"
TASK = "text to ECG"
KS = (1, 5, 10)

_QUERIES_AT_ONCE = 256


def retrieval_ranks(
    checkpoint: Checkpoint,
    gallery: StudySet,
    *,
    order: str = CSD,
    hit: str = EXACT_PAIR,
    encoder: EcgEncoder | None = None,
) -> npt.NDArray[np.int64]:
    """Rank of each report's own ECG among all ECGs of the gallery.

    Parameters
    ----------
    gallery : StudySet, n rows
        Each report is a query.
    order : {"csd", "cosine"}
    hit : {"exact pair", "same text"}
        With the second, any ECG whose report is the same text is a hit.
    encoder : EcgEncoder, optional
        Another ECG encoder than the model's own.

    Returns
    -------
    ndarray of int, shape (n,)
        1 is best; a tie counts against.
    """
    texts = reports_of(gallery)
    ecg = embed_ecgs(encoder or checkpoint.encoder.ecg, checkpoint.scaler, gallery)
    return ranks_of(encode_texts(checkpoint, texts), ecg, texts, order=order, hit=hit)


def ranks_of(
    text: GaussianEmbedding,
    ecg: GaussianEmbedding,
    texts: Sequence[str],
    *,
    order: str,
    hit: str,
) -> npt.NDArray[np.int64]:
    """`retrieval_ranks` of embeddings; row i of both belongs to one study.

    Some queries at a time: the matrix of a gallery of 25,000 would need 5 GB.
    """
    if order not in (CSD, COSINE) or hit not in (EXACT_PAIR, SAME_TEXT):
        raise ValueError(f"no ranking by {order!r} with hits by {hit!r}")
    codes: dict[str, int] = {}
    code = np.asarray([codes.setdefault(text, len(codes)) for text in texts])
    own = code if hit == SAME_TEXT else np.arange(len(texts))
    ranks = []
    for first in range(0, len(texts), _QUERIES_AT_ONCE):
        rows = slice(first, first + _QUERIES_AT_ONCE)
        if order == CSD:
            distance = csd(text.mu[rows], text.log_var[rows], ecg.mu, ecg.log_var)
        else:
            distance = 1.0 - cosine(text.mu[rows], ecg.mu)
        ranks.append(relevant_ranks(distance, own[rows, None] == own[None, :]))
    return np.concatenate(ranks)


def retrieval(
    checkpoint: Checkpoint,
    name: str,
    ecg: GaussianEmbedding,
    gallery: StudySet,
    *,
    data: str,
    simulated: bool,
    deterministic: bool,
    n_resamples: int,
) -> list[Figure]:
    """Recall at 1, 5 and 10 by both orders and both kinds of hit, for all ECGs and for halves.

    The halves are those of the ECG's sigma^2. *Full gallery*: every report is ranked among all
    ECGs, and the queries are split by the sigma^2 of their own ECG; the halves then average to the
    whole. *Each half its own gallery*: a report is ranked among the ECGs of its half only, which
    is easier, since that gallery is half as large; the paper's Table 4 must have been made so, or
    its halves would average to the whole. Without sigma^2 (``deterministic``) there are no halves.

    Parameters
    ----------
    name : str
        How tables call the encoder that made ``ecg``.
    ecg : GaussianEmbedding
        The gallery's ECGs.
    """
    texts, patients = reports_of(gallery), patients_of(gallery)
    text = encode_texts(checkpoint, texts)
    low = np.ones(len(texts), dtype=bool) if deterministic else median_split(ecg.uncertainty)
    found: list[Figure] = []
    for order in (CSD, COSINE):
        for hit in (EXACT_PAIR, SAME_TEXT):
            places = [(FULL_GALLERY, ranks_of(text, ecg, texts, order=order, hit=hit))]
            if not deterministic:
                places.append((OWN_GALLERY, _ranks_by_half(text, ecg, texts, low, order, hit)))
            for place, ranks in places:
                found += [
                    Figure(
                        data,
                        name,
                        TASK,
                        "",
                        f"by {order}, {hit}, {place}",
                        group,
                        metric,
                        estimate,
                        simulated,
                        n_group=n_group,
                        split=BY_SIGMA2,
                        per_seed=(estimate.value,),
                        gallery_size=len(texts) if place == FULL_GALLERY else n_group,
                    )
                    for group, metric, estimate, n_group in _recalls(
                        ranks,
                        low,
                        patients,
                        groups=_groups(place, deterministic=deterministic),
                        n_resamples=n_resamples,
                    )
                ]
    return found


def reports_of(gallery: StudySet) -> list[str]:
    """The reports, in order.

    Raises
    ------
    DataSetError
        A study has none.
    """
    texts = gallery.table["report"]
    missing = int((texts.isna() | (texts.astype(str).str.strip() == "")).sum())
    if missing:
        raise DataSetError(
            f"{missing} of {len(texts)} studies have no report, so they cannot be searched by it. "
            "Choose a set with reports."
        )
    return [str(text) for text in texts]


def _groups(place: str, *, deterministic: bool) -> tuple[str, ...]:
    if place == OWN_GALLERY:
        return LOW, HIGH
    return (ALL,) if deterministic else (ALL, LOW, HIGH)


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
            own = [texts[int(i)] for i in half]
            ranks[half] = ranks_of(text[half], ecg[half], own, order=order, hit=hit)
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
        if group not in groups or not rows.any():
            continue
        estimates = patient_bootstrap_all(
            lambda kept: {f"R@{k}": recall_at_k(kept, k) for k in KS},
            (ranks[rows],),
            patients[rows],
            n_resamples=n_resamples,
        )
        for metric, estimate in estimates.items():
            yield group, metric, estimate, int(rows.sum())
