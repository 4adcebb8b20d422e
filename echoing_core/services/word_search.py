"""A search in words: what is asked is read, and looked for in reports, labels and ECGs together.

The words become findings, each to be there or absent (`reports.understanding`). An item is judged
twice. Its report and labels, read by the same reader, say that it is so, that it is not, or
nothing. Its ECG has, for each finding, the margin of the question and the closed-form sampled
distance to the texts that say yes; of several findings the worst counts, since all must hold. Both
add up to one score, in which what a report says weighs more than what an ECG looks like
(docs/experiments.md has the figures, and those of other ways to join them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.export.track import Explanation
from echoing_core.records import GaussianEmbedding, Hit, Recording, StandardEcg
from echoing_core.reports.stated import OF_ECHO
from echoing_core.reports.understanding import MAX_TEXT, AskedFinding
from echoing_core.retrieve.scale import CHANCE_PCT
from echoing_core.services.asking import EncodedQuestion, encode_question, read_question
from echoing_core.services.models import Model
from echoing_core.services.searching import (
    Collection,
    Search,
    plain_words,
    query_embedding,
    reference_distances,
)
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.zeroshot import closed_form

if TYPE_CHECKING:
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.retrieve.scale import FindingScale, ReferenceDistances
    from echoing_core.retrieve.search import ItemFilter

Floats = npt.NDArray[np.float64]

STATED_WEIGHT = 1.0
"""What a report that says so adds to the score of an ECG, which spans about 1."""

SILENT_WEIGHT = 0.25
"""What a report takes away that does not mention a finding: reports leave things out."""


@dataclass(frozen=True, eq=False)
class _Part:
    """One finding of a search, judged for every item.

    Attributes
    ----------
    title : str
        As the reader words it: ``"No atrial fibrillation"``.
    asked : AskedFinding or None
        None where the words are searched as they stand.
    margin : ndarray, shape (n,)
        Of the question as it is asked, denial included.
    apart : ndarray or None, shape (n,)
        Half the CSD to the texts that say yes; None of a finding that is to be absent.
    said : ndarray of int8, shape (n,)
        1 so, -1 the opposite, 0 nothing.
    words : tuple of str
        That say so.
    silent : ndarray of bool, shape (n,)
        The item has a report that would have mentioned the finding, and does not.
    scale : FindingScale or None
    """

    title: str
    asked: AskedFinding
    margin: Floats
    apart: Floats | None
    said: npt.NDArray[np.int8]
    words: tuple[str, ...]
    silent: npt.NDArray[np.bool_]
    scale: FindingScale | None

    def fits(self) -> npt.NDArray[np.bool_]:
        """Of every item, whether its report says so or, where none could, its ECG does."""
        so = self.said > 0
        if self.scale is None:
            return so
        sign = -1.0 if self.asked.negated else 1.0
        looks = self.scale.fits(sign * self.margin, negated=self.asked.negated)
        untold = (self.said == 0) & (~self.silent | self.asked.negated)
        return np.asarray(so | (looks & untold))

    def reason(self, row: int) -> str:
        """Why an item is where it is, or why it is not higher."""
        if self.said[row] != 0:
            words = quoted(self.words[row])
            return words if self.said[row] > 0 else f"against it: {words}"
        if self.scale is None:
            return ""
        sign = -1.0 if self.asked.negated else 1.0
        margin = sign * float(self.margin[row])
        if self.asked.negated:
            less = float(self.scale.above_lacking_pct(margin, negated=True))
            return f"{self.title}: ECG less like it than {_share(less)} of ECGs that have it"
        more = float(self.scale.above_lacking_pct(margin))
        return f"{self.title}: ECG more like it than {_share(more)} of ECGs without it"


@dataclass(frozen=True)
class _Options:
    """How to search; see `search`."""

    k: int
    order: str
    target: str
    where: ItemFilter | None
    unique_reports: bool


def search(
    index: GalleryIndex,
    model: Model,
    query: str | Recording | StandardEcg | Explanation,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
    unique_reports: bool = False,
) -> list[Hit]:
    """ECGs or reports for a text, or nearest to a window of a recording.

    Parameters
    ----------
    index : GalleryIndex
        From `load_index`.
    model : Model
        That the index was built with.
    query : str, Recording, StandardEcg or Explanation
        A text is read, see `search_in_words`.
    k : int
    order : {"csd", "cosine"}
        Exact closed-form sampled distance, or cosine of the means.
    target : {"ecg", "report"}
    where : ItemFilter, optional
        Applied before the nearest ``k`` are taken.
    start_s : float, optional
        Start of the window of a recording; without, the one with the lowest sigma^2.
    vcg_method : str
        As in `explain`.
    unique_reports : bool
        Show each report text once, at its nearest item.

    Returns
    -------
    list of Hit
        Nearest first.

    Raises
    ------
    ConfigError
        The text is empty or names no finding, or a setting is impossible.
    SignalQualityError
        There is no window at ``start_s``.
    """
    found = search_collection(
        Collection("", index, "folder"),
        model,
        query,
        k,
        order=order,
        target=target,
        where=where,
        start_s=start_s,
        vcg_method=vcg_method,
        unique_reports=unique_reports,
    )
    return list(found.hits)


def search_collection(
    collection: Collection,
    model: Model,
    query: str | Recording | StandardEcg | Explanation,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    start_s: float | None = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
    unique_reports: bool = False,
) -> Search:
    """As `search`, with how the text was read, why each hit is there, and whether any fits.

    Parameters
    ----------
    collection : Collection
    model, query, k, order, target, where, start_s, vcg_method, unique_reports
        As in `search`.

    Returns
    -------
    Search

    Raises
    ------
    ConfigError, SignalQualityError
        As in `search`.
    """
    if isinstance(query, str):
        return search_in_words(
            collection,
            model,
            query,
            k,
            order=order,
            target=target,
            where=where,
            unique_reports=unique_reports,
        )
    return collection.search(
        query_embedding(model, query, start_s, vcg_method),
        k,
        order=order,
        target=target,
        where=where,
        unique_reports=unique_reports,
        scale=reference_distances(model),
    )


def search_in_words(
    collection: Collection,
    model: Model,
    text: str,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    unique_reports: bool = False,
) -> Search:
    """Items for a text: by what reports and labels state, and by what ECGs look like.

    Parameters
    ----------
    collection : Collection
    model : Model
        That the collection was built with.
    text : str
        Read by `read_question`: findings, each there or absent; all must hold. Words in quotation
        marks, and a text that is longer than a question (a whole report), are searched as they
        stand.
    k, order, target, where, unique_reports
        As in `search`.

    Returns
    -------
    Search
        Its ``note`` says how the text was read.

    Raises
    ------
    ConfigError
        The text is empty or names nothing that an ECG can be asked, or a setting is impossible.
    """
    from echoing_core.retrieve.search import ranked_hits

    plain = " ".join(text.split())
    if not plain:
        raise ConfigError("The search text is empty. Type what to look for.")
    scale = reference_distances(model)
    options = _Options(k, order, target, where, unique_reports)
    if len(plain) > MAX_TEXT:
        note = f"Longer than {MAX_TEXT} characters, so it is searched as it stands."
        return _as_it_stands(collection, model, plain, note, scale, options)
    reading = read_question(plain)
    if not reading.findings:
        note = f"Searched as it stands: {plain[1:-1]}."
        return _as_it_stands(collection, model, plain[1:-1], note, scale, options)
    comparable = collection.comparable(target)
    questions = [encode_question(model, question) for question in reading.questions]
    parts = _judged(collection, reading.findings, questions, scale, order, target)
    score = _score(parts)
    score[~comparable] = -np.inf
    query = _between(questions)
    apart = collection.distances(query, order, target)
    hits, passing = ranked_hits(
        collection.index,
        score,
        apart,
        k=k,
        order=order,
        where=where,
        unique_reports=unique_reports,
    )
    passing &= comparable
    rows = [collection.row(hit.item_id) for hit in hits]
    fitting = np.all([part.fits() for part in parts], axis=0) & passing
    close: bool | None = None
    if passing.any() and (fitting.any() or all(part.scale is not None for part in parts)):
        close = bool(fitting.any())
    return Search(
        hits=tuple(hits),
        query=query,
        order=order,
        target=target,
        n_passing=int(passing.sum()),
        n_compared=int(comparable.sum()),
        distances=apart,
        places=np.where(comparable, -score, np.nan),
        scale=scale,
        with_report=True,
        note=" ".join(n for n in (reading.note, _by_chance(parts, fitting, passing)) if n),
        reasons=tuple(
            "; ".join(dict.fromkeys(r for part in parts if (r := part.reason(row)))) for row in rows
        ),
        close=close,
        far="" if close is not False else _nothing_close(parts, rows[0], collection),
    )


def _judged(
    collection: Collection,
    findings: Sequence[AskedFinding],
    questions: Sequence[EncodedQuestion],
    scale: ReferenceDistances | None,
    order: str,
    target: str,
) -> list[_Part]:
    """Each finding, judged for every item."""
    side: Literal["ecg", "report"] = "report" if target == "report" else "ecg"
    vectors = collection.index.vectors(side)
    with_text = (collection.index.items["report"].str.strip() != "").to_numpy()
    parts = []
    for asked, question in zip(findings, questions, strict=True):
        direction = closed_form.question_direction(question.positive, question.negative)
        apart = None
        if not asked.negated:
            yes = closed_form.prototype(question.positive)
            # Of two equally similar ECGs the cleaner one comes first, unless by similarity alone.
            spread = vectors.sums if order == "csd" else 0.0
            apart = 0.5 * (vectors.apart(yes) + spread)
        said, words = collection.answers(asked)
        name = question.prompts.name.removeprefix("no_") if asked.negated else question.prompts.name
        parts.append(
            _Part(
                question.prompts.question,
                asked,
                vectors.products(direction),
                apart,
                said,
                words,
                (said == 0) & with_text & (not asked.finding.startswith(OF_ECHO)),
                # Reference margins are those of ECGs.
                scale.findings.get(name) if scale is not None and side == "ecg" else None,
            )
        )
    return parts


def _score(parts: Sequence[_Part]) -> Floats:
    """What items are ranked by, the largest first, shape (n,)."""
    looks = np.min([part.margin for part in parts], axis=0)
    apart = [part.apart for part in parts if part.apart is not None]
    if apart:
        looks = looks - np.max(apart, axis=0)
    stated = np.zeros(len(looks))
    for part in parts:
        # A report that is silent on a finding speaks, a little, for its absence.
        unsaid = SILENT_WEIGHT if part.asked.negated else -SILENT_WEIGHT
        stated += np.where(part.silent, unsaid, part.said)
    return np.asarray(looks + STATED_WEIGHT * stated / len(parts))


def _between(questions: Sequence[EncodedQuestion]) -> GaussianEmbedding:
    """One Gaussian for several findings: the direction between those of their texts."""
    directions = [closed_form.prototype(question.positive) for question in questions]
    mean = np.sum(directions, axis=0)
    length = float(np.linalg.norm(mean))
    # Two opposite findings have nothing between them; the first is as good as the other.
    mu = mean / length if length > 1e-6 else directions[0]
    variance = np.mean(
        [np.exp(q.positive.log_var.astype(np.float64)).mean(axis=0) for q in questions], axis=0
    )
    return GaussianEmbedding(
        mu[None].astype(np.float32), np.log(np.maximum(variance, 1e-30))[None].astype(np.float32)
    )


def _as_it_stands(
    collection: Collection,
    model: Model,
    text: str,
    note: str,
    scale: ReferenceDistances | None,
    options: _Options,
) -> Search:
    """Items whose report holds these very words first, then by distance to the embedded text."""
    from echoing_core.retrieve.search import ranked_hits

    query = query_embedding(model, text)
    found = collection.search(
        query,
        options.k,
        order=options.order,
        target=options.target,
        where=options.where,
        from_text=True,
        scale=scale,
    )
    apart = found.distances
    comparable = np.isfinite(apart)
    wanted = plain_words(text)
    holds = np.array([wanted in words for words in collection.report_words])
    # No distance is as large as 100: the words themselves go before what is only near.
    score = np.where(comparable, 100.0 * holds - np.nan_to_num(apart), -np.inf)
    hits, passing = ranked_hits(
        collection.index,
        score,
        apart,
        k=options.k,
        order=options.order,
        where=options.where,
        unique_reports=options.unique_reports,
    )
    rows = [collection.row(hit.item_id) for hit in hits]
    there = bool((holds & passing).any())
    return replace(
        found,
        hits=tuple(hits),
        places=np.where(comparable, -score, np.nan),
        note=note,
        as_it_stands=True,
        reasons=tuple("these words stand in its report" if holds[row] else "" for row in rows),
        close=True if there else found.close,
        far="" if there else found.far,
    )


def _by_chance(
    parts: Sequence[_Part],
    fitting: npt.NDArray[np.bool_],
    passing: npt.NDArray[np.bool_],
) -> str:
    """How many ECGs look like it where no report says so, and how many would by chance."""
    sought = [part for part in parts if not part.asked.negated]
    said = np.any([part.said > 0 for part in sought], axis=0) if sought else True
    if not fitting.any() or np.any(fitting & said):
        return ""
    n = int((passing & ~np.any([part.silent for part in sought], axis=0)).sum())
    expected = n * CHANCE_PCT / 100.0
    # Of two findings that must both hold, chance gives fewer: this is then the most it gives.
    words = f"about {expected:.0f}" if expected >= 1.0 else "less than one"
    words = words if len(sought) == 1 else f"at most {words}"
    return (
        f"By their ECG alone {int(fitting.sum())} of {n:,} look like it; among so many {words} "
        "would by chance."
    )


def _nothing_close(parts: Sequence[_Part], best: int, collection: Collection) -> str:
    """The sentence that no item fits, with how far the best one is from it."""
    silent = np.any([part.silent for part in parts], axis=0)
    if not collection.has_reports:
        sentence = "Nothing close: no ECG looks like it."
    elif silent.all():
        sentence = "Nothing close: no report says so."
    else:
        sentence = "Nothing close: no report says so, and no ECG without a report looks like it."
    said = next((part.words[best] for part in parts if part.said[best] < 0), "")
    if said:
        return f"{sentence} Against the nearest speaks: {quoted(said)}."
    for part in parts:
        if part.scale is None or part.asked.negated or part.fits()[best]:
            continue
        margin = float(part.margin[best])
        less = 100.0 - float(part.scale.above_having_pct(margin))
        more = 100.0 - float(part.scale.above_lacking_pct(margin))
        return (
            f"{sentence} The nearest looks less like {_lower(part.title)} than {_share(less)} of "
            f"ECGs that have it; {_share(more)} of ECGs without it look more like it."
        )
    # Each finding may be there, but never all of them in one ECG.
    return sentence


def quoted(words: str) -> str:
    """Words of a report in quotation marks; a label as it is.

    Parameters
    ----------
    words : str
        From `Stated.answers`.

    Returns
    -------
    str
    """
    return words if words.startswith("label ") else f"report “{words}”"


def _lower(title: str) -> str:
    first = title.split()[0]
    return title if first.isupper() or "-" in first else title[:1].lower() + title[1:]


def _share(percent: float) -> str:
    # A finite sample knows nothing of the last per cent.
    if percent > 99.0:
        return "more than 99 %"
    return f"{percent:.0f} %" if percent >= 1.0 else "less than 1 %"
