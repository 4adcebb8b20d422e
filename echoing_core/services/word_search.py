"""A search in words: what is asked is read, and looked for in reports, labels and ECGs together.

The words become findings, each to be there or absent (`reports.understanding`). An item is judged
twice. Its report and labels, read by the same reader, say that it is so, that it is not, or
nothing. Its ECG has, for each finding, the margin of the question and the closed-form sampled
distance to the texts that say yes; of several findings the worst counts, since all must hold. Both
add up to one score, in which what a report says weighs more than what an ECG looks like
(docs/experiments.md has the figures, and those of other ways to join them).

A search is a `Request`, which holds no model; a collection judges its items by it, and so does each
shard of one (`services.sharded`); what they found is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, overload

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
    Found,
    Search,
    closeness,
    no_reports,
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
    from echoing_core.services.sharded import Shards

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
class Options:
    """How to search; see `search`."""

    k: int
    order: str
    target: str
    where: ItemFilter | None
    unique_reports: bool
    exact: bool = True

    def __post_init__(self) -> None:
        from echoing_core.retrieve.search import ORDERS, TARGETS, one_of

        one_of(self.order, ORDERS, "order")
        one_of(self.target, TARGETS, "target")


@dataclass(frozen=True, eq=False)
class Request:
    """A search, read and embedded.

    Attributes
    ----------
    query : GaussianEmbedding, one row
    options : Options
    scale : ReferenceDistances or None
        Of the model.
    findings : tuple of AskedFinding
        That are searched for; empty where it is by distance.
    questions : tuple of EncodedQuestion
        One for each of them.
    words : str
        That are searched for as they stand, as `plain_words`; empty otherwise.
    from_text : bool
    note : str
        How the text was read.
    """

    query: GaussianEmbedding
    options: Options
    scale: ReferenceDistances | None
    findings: tuple[AskedFinding, ...] = ()
    questions: tuple[EncodedQuestion, ...] = ()
    words: str = ""
    from_text: bool = False
    note: str = ""


@dataclass(frozen=True, eq=False)
class Judged:
    """What a collection, or a shard of one, has for a request; counts of shards add up.

    Attributes
    ----------
    hits : tuple of Hit
    places : tuple of float
        By what they are ranked, the smallest first.
    reasons : tuple of str
    n_passing, n_compared : int
        As in `Found`.
    n_fitting : int
        Items that pass the filter and have all that was searched for.
    n_said : int
        Of these, by what a report or label says.
    n_untold : int
        Items that pass and of which no report could have told.
    has_reports : bool
    all_silent : bool
        Every item has a report that does not mention it.
    lacking : str
        What the first of the hits lacks.
    label_names : tuple of str
        Labels that there are; asked for where a filter has labels.
    all_distances, all_places : ndarray, shape (n,)
        As in `Search`; empty where it is by distance.
    """

    hits: tuple[Hit, ...] = ()
    places: tuple[float, ...] = ()
    reasons: tuple[str, ...] = ()
    n_passing: int = 0
    n_compared: int = 0
    n_fitting: int = 0
    n_said: int = 0
    n_untold: int = 0
    has_reports: bool = False
    all_silent: bool = False
    lacking: str = ""
    label_names: tuple[str, ...] = ()
    all_distances: Floats = field(default_factory=lambda: np.empty(0))
    all_places: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def alone(self) -> Judged:
        """Without what is of all items, to be sent elsewhere."""
        return replace(self, all_distances=np.empty(0), all_places=np.empty(0))


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardSearch(Found):
    """`Found` in shards, with what was asked: where an item that is no hit lies is asked again.

    Attributes
    ----------
    request : Request
    """

    request: Request


def search(
    index: GalleryIndex | Shards,
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
    index : GalleryIndex or Shards
        From `load_index`, or from `open_shards`.
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
    from echoing_core.retrieve.index import GalleryIndex

    found = search_collection(
        Collection("", index, "folder") if isinstance(index, GalleryIndex) else index,
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
    collection: Collection | Shards,
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
    exact: bool = True,
) -> Found:
    """As `search`, with how the text was read, why each hit is there, and whether any fits.

    Parameters
    ----------
    collection : Collection or Shards
    model, query, k, order, target, where, start_s, vcg_method, unique_reports
        As in `search`.
    exact : bool
        False for the ECGs nearest to an ECG by the fast search, where the index has one.

    Returns
    -------
    Found

    Raises
    ------
    ConfigError, SignalQualityError
        As in `search`.
    """
    options = Options(k, order, target, where, unique_reports, exact)
    if isinstance(query, str):
        request = _read(model, query, options)
    else:
        place = query_embedding(model, query, start_s, vcg_method)
        request = Request(place, options, reference_distances(model))
    if isinstance(collection, Collection):
        return joined(request, [judge(collection, request)])
    return joined(request, collection.judge(request))


@overload
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
) -> Search: ...


@overload
def search_in_words(
    collection: Collection | Shards,
    model: Model,
    text: str,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    unique_reports: bool = False,
) -> Search | ShardSearch: ...


def search_in_words(
    collection: Collection | Shards,
    model: Model,
    text: str,
    k: int = 10,
    *,
    order: str = "csd",
    target: str = "ecg",
    where: ItemFilter | None = None,
    unique_reports: bool = False,
) -> Search | ShardSearch:
    """Items for a text: by what reports and labels state, and by what ECGs look like.

    Parameters
    ----------
    collection : Collection or Shards
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
    Search, or ShardSearch in Shards
        Its ``note`` says how the text was read.

    Raises
    ------
    ConfigError
        The text is empty or names nothing that an ECG can be asked, or a setting is impossible.
    """
    request = _read(model, text, Options(k, order, target, where, unique_reports))
    if not isinstance(collection, Collection):
        found = joined(request, collection.judge(request))
        return ShardSearch(**vars(found), request=request)
    one = judge(collection, request)
    found = joined(request, [one])
    return Search(**vars(found), distances=one.all_distances, places=one.all_places)


def _read(model: Model, text: str, options: Options) -> Request:
    plain = " ".join(text.split())
    if not plain:
        raise ConfigError("The search text is empty. Type what to look for.")
    scale = reference_distances(model)
    words, note = "", ""
    if len(plain) > MAX_TEXT:
        words = plain
        note = f"Longer than {MAX_TEXT} characters, so it is searched as it stands."
    else:
        reading = read_question(plain)
        if not reading.findings:
            words = plain[1:-1]
            note = f"Searched as it stands: {words}."
    if words:
        query = query_embedding(model, words)
        return Request(query, options, scale, words=plain_words(words), from_text=True, note=note)
    questions = tuple(encode_question(model, question) for question in reading.questions)
    return Request(
        _between(questions),
        options,
        scale,
        reading.findings,
        questions,
        from_text=True,
        note=reading.note,
    )


def judge(collection: Collection, request: Request) -> Judged:
    """The items of a collection, or of a shard of one, for a request.

    Parameters
    ----------
    collection : Collection
    request : Request

    Returns
    -------
    Judged

    Raises
    ------
    ConfigError
        A setting is impossible, or reports are wanted and there are none.
    """
    if request.findings:
        return _judge_words(collection, request)
    if request.words:
        return _judge_as_it_stands(collection, request)
    options = request.options
    found = collection.nearest(
        request.query,
        options.k,
        order=options.order,
        target=options.target,
        where=options.where,
        unique_reports=options.unique_reports,
        exact=options.exact,
    )
    return Judged(
        found.hits,
        tuple(hit.distance for hit in found.hits),
        n_passing=found.n_passing,
        n_compared=found.n_compared,
    )


def judge_all(collection: Collection, request: Request) -> Judged:
    """As `judge`, and where every item lies, whatever was searched for.

    Parameters
    ----------
    collection : Collection
    request : Request

    Returns
    -------
    Judged

    Raises
    ------
    ConfigError
        As `judge`.
    """
    found = judge(collection, request)
    if request.from_text:
        return found
    options = request.options
    apart = collection.distances(request.query, options.order, options.target)
    return replace(found, all_distances=apart, all_places=apart)


def _judge_words(collection: Collection, request: Request) -> Judged:
    options = request.options
    comparable = collection.comparable(options.target)
    parts = _judged(collection, request)
    score = _score(parts)
    score[~comparable] = -np.inf
    apart = collection.distances(request.query, options.order, options.target)
    hits, passing = _ranked(collection, options, score, apart)
    passing &= comparable
    rows = [collection.row(hit.item_id) for hit in hits]
    fitting = np.all([part.fits() for part in parts], axis=0) & passing
    sought = [part for part in parts if not part.asked.negated]
    none = np.zeros(len(collection), dtype=bool)
    said = np.any([part.said > 0 for part in sought], axis=0) if sought else ~none
    silent = np.any([part.silent for part in sought], axis=0) if sought else none
    return Judged(
        tuple(hits),
        tuple(-float(score[row]) for row in rows),
        tuple(
            "; ".join(dict.fromkeys(r for part in parts if (r := part.reason(row)))) for row in rows
        ),
        n_passing=int(passing.sum()),
        n_compared=int(comparable.sum()),
        n_fitting=int(fitting.sum()),
        n_said=int((fitting & said).sum()),
        n_untold=int((passing & ~silent).sum()),
        has_reports=collection.has_reports,
        all_silent=bool(np.any([part.silent for part in parts], axis=0).all()),
        lacking=_lacking(parts, rows[0]) if rows else "",
        all_distances=apart,
        all_places=np.where(comparable, -score, np.nan),
    )


def _ranked(
    collection: Collection, options: Options, score: Floats, apart: Floats
) -> tuple[list[Hit], npt.NDArray[np.bool_]]:
    """Hits by score, and which items pass the filter."""
    from echoing_core.retrieve.search import ranked_hits

    return ranked_hits(
        collection.index,
        score,
        apart,
        k=options.k,
        order=options.order,
        where=options.where,
        unique_reports=options.unique_reports,
    )


def _judge_as_it_stands(collection: Collection, request: Request) -> Judged:
    """Items whose report holds these very words first, then by distance to the embedded text."""
    options = request.options
    comparable = collection.comparable(options.target)
    apart = collection.distances(request.query, options.order, options.target)
    holds = np.array([request.words in words for words in collection.report_words])
    # No distance is as large as 100: the words themselves go before what is only near.
    score = np.where(comparable, 100.0 * holds - np.nan_to_num(apart), -np.inf)
    hits, passing = _ranked(collection, options, score, apart)
    rows = [collection.row(hit.item_id) for hit in hits]
    return Judged(
        tuple(hits),
        tuple(-float(score[row]) for row in rows),
        tuple("these words stand in its report" if holds[row] else "" for row in rows),
        n_passing=int((passing & comparable).sum()),
        n_compared=int(comparable.sum()),
        n_fitting=int((holds & passing).sum()),
        all_distances=apart,
        all_places=np.where(comparable, -score, np.nan),
    )


def joined(request: Request, parts: Sequence[Judged]) -> Found:
    """What a collection found, or all of its shards.

    Parameters
    ----------
    request : Request
    parts : sequence of Judged
        In the order of their items in the collection.

    Returns
    -------
    Found
        The first hits of all, of equal ones in the order of the collection.

    Raises
    ------
    ConfigError
        Reports are wanted, and there are none.
    """
    options = request.options
    n_passing, n_compared, n_fitting, n_said, n_untold = (
        sum(getattr(part, name) for part in parts)
        for name in ("n_passing", "n_compared", "n_fitting", "n_said", "n_untold")
    )
    if options.target == "report" and not n_compared:
        raise no_reports()
    # Sorting is stable, and each part is sorted already.
    order = sorted(
        ((part, i) for part in parts for i in range(len(part.hits))),
        key=lambda one: one[0].places[one[1]],
    )
    reports: set[str] = set()
    chosen: list[tuple[Judged, int]] = []
    for part, i in order:
        report = part.hits[i].report
        if not (options.unique_reports and report in reports):
            chosen.append((part, i))
        reports.add(report)
    del chosen[options.k :]
    hits = tuple(replace(part.hits[i], rank=rank) for rank, (part, i) in enumerate(chosen, start=1))
    with_report = request.from_text or options.target == "report"
    close: bool | None
    note = request.note
    if request.findings:
        close = None
        if n_passing and (n_fitting or _all_scaled(request)):
            close = n_fitting > 0
        far = ""
        if close is False:
            far = _nothing_close(parts, chosen[0][0].lacking)
        chance = _by_chance(request.findings, n_fitting, n_said, n_untold)
        note = " ".join(n for n in (note, chance) if n)
    elif request.words and n_fitting:
        close, far = True, ""
    else:
        close, far = closeness(request.scale, options.order, hits, with_report=with_report)
    return Found(
        hits=hits,
        query=request.query,
        order=options.order,
        target=options.target,
        n_passing=n_passing,
        n_compared=n_compared,
        scale=request.scale,
        with_report=with_report,
        note=note,
        as_it_stands=bool(request.words),
        reasons=tuple(part.reasons[i] for part, i in chosen) if request.from_text else (),
        close=close,
        far=far,
    )


def _scale_of(
    request: Request, asked: AskedFinding, question: EncodedQuestion
) -> FindingScale | None:
    # Reference margins are those of ECGs.
    if request.scale is None or request.options.target == "report":
        return None
    name = question.prompts.name
    return request.scale.findings.get(name.removeprefix("no_") if asked.negated else name)


def _all_scaled(request: Request) -> bool:
    asked = zip(request.findings, request.questions, strict=True)
    return all(_scale_of(request, *one) is not None for one in asked)


def _judged(collection: Collection, request: Request) -> list[_Part]:
    """Each finding, judged for every item."""
    options = request.options
    side: Literal["ecg", "report"] = "report" if options.target == "report" else "ecg"
    vectors = collection.index.vectors(side)
    with_text = (collection.index.items["report"].str.strip() != "").to_numpy()
    parts = []
    for asked, question in zip(request.findings, request.questions, strict=True):
        direction = closed_form.question_direction(question.positive, question.negative)
        apart = None
        if not asked.negated:
            yes = closed_form.prototype(question.positive)
            # Of two equally similar ECGs the cleaner one comes first, unless by similarity alone.
            spread = vectors.sums if options.order == "csd" else 0.0
            apart = 0.5 * (vectors.apart(yes) + spread)
        said, words = collection.answers(asked)
        parts.append(
            _Part(
                question.prompts.question,
                asked,
                vectors.products(direction),
                apart,
                said,
                words,
                (said == 0) & with_text & (not asked.finding.startswith(OF_ECHO)),
                _scale_of(request, asked, question),
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


def _by_chance(findings: Sequence[AskedFinding], n_fitting: int, n_said: int, n_untold: int) -> str:
    """How many ECGs look like it where no report says so, and how many would by chance."""
    if not n_fitting or n_said:
        return ""
    expected = n_untold * CHANCE_PCT / 100.0
    # Of two findings that must both hold, chance gives fewer: this is then the most it gives.
    words = f"about {expected:.0f}" if expected >= 1.0 else "less than one"
    words = words if sum(not asked.negated for asked in findings) == 1 else f"at most {words}"
    return (
        f"By their ECG alone {n_fitting} of {n_untold:,} look like it; among so many {words} "
        "would by chance."
    )


def _nothing_close(judged: Sequence[Judged], lacking: str) -> str:
    """The sentence that no item fits, with how far the best one is from it."""
    if not any(one.has_reports for one in judged):
        sentence = "Nothing close: no ECG looks like it."
    elif all(one.all_silent for one in judged):
        sentence = "Nothing close: no report says so."
    else:
        sentence = "Nothing close: no report says so, and no ECG without a report looks like it."
    return f"{sentence} {lacking}".rstrip()


def _lacking(parts: Sequence[_Part], best: int) -> str:
    said = next((part.words[best] for part in parts if part.said[best] < 0), "")
    if said:
        return f"Against the nearest speaks: {quoted(said)}."
    for part in parts:
        if part.scale is None or part.asked.negated or part.fits()[best]:
            continue
        margin = float(part.margin[best])
        less = 100.0 - float(part.scale.above_having_pct(margin))
        more = 100.0 - float(part.scale.above_lacking_pct(margin))
        return (
            f"The nearest looks less like {_lower(part.title)} than {_share(less)} of "
            f"ECGs that have it; {_share(more)} of ECGs without it look more like it."
        )
    # Each finding may be there, but never all of them in one ECG.
    return ""


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
