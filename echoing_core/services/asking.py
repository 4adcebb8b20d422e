"""Questions in words: asked of a window, of a fused recording, along it, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.export.track import Explanation
from echoing_core.records import Answer, GaussianEmbedding, Recording, StandardEcg, WindowTrack
from echoing_core.reports.understanding import (
    AskedFinding,
    Understood,
    prompt_sets_of,
    understand,
)
from echoing_core.services.explaining import explain
from echoing_core.services.heads import beside, head_answers, head_prevalences, heads_of
from echoing_core.services.models import Model, prompt_sets
from echoing_core.services.searching import Collection
from echoing_core.services.windows import fuse_recording, most_sure_window, window_embedding
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.zeroshot import answering, closed_form
from echoing_core.zeroshot.answering import NO, UNKNOWN_WINDOW, WITHHELD, YES, AskedWindow, Judged
from echoing_core.zeroshot.calibration import CalibratedQuestion, check_prevalence
from echoing_core.zeroshot.prompts import PromptSet, prompt_set_from_text

Floats = npt.NDArray[np.float64]
Questions = str | PromptSet | Sequence[str | PromptSet] | None
Prevalence = float | Mapping[str, float] | None
"""Of everything that is asked, or by question."""

N_SIMILAR = 100
"""So many ECGs of a collection with the most similar answers are counted in `check_answer`."""

_FEWEST_LABELLED = 300
_QUOTES = "\"'“”„«»"
# A day has 86,000 windows, and their sigma^2 in 64 bits is 0.2 GB: this many numbers at a time.
_MOST_CELLS = 2_000_000


# What only an echocardiogram shows; a thick wall on the ECG is "hypertrophy" alone.
_ECHO_WORDS = re.compile(
    r"\b(?:lvef|ejection fraction|systolic (?:function|dysfunction)|wall thick\w*|thick\w* walls?"
    r"|walls? of normal thickness|dilat\w+|enlarged left ventricle|ventricular size"
    r"|lv size|cavity|on echo)\b"
)


@dataclass(frozen=True, eq=False)
class AlongAnswers:
    """The answers to one question at every window; NaN where nothing was recorded.

    Attributes
    ----------
    probability, low, high : ndarray, shape (n_windows,)
        As in `Answer`.
    verdict : ndarray of str, shape (n_windows,)
        As in `Answer`; empty where nothing was recorded.
    """

    probability: Floats
    low: Floats
    high: Floats
    verdict: npt.NDArray[np.str_]

    @property
    def unsure(self) -> npt.NDArray[np.bool_]:
        """Windows with signal of which no answer is given."""
        return np.asarray(self.verdict == WITHHELD)

    @property
    def shares_pct(self) -> tuple[float, float, float]:
        """Per cent of the windows with signal that say (or lean) yes, are not sure, and say no."""
        n = max(int((self.verdict != "").sum()), 1)
        kinds = [verdict_kind(v) for v in self.verdict.tolist()]
        yes, no, unsure = (kinds.count(kind) for kind in (YES, NO, WITHHELD))
        return 100.0 * yes / n, 100.0 * unsure / n, 100.0 * no / n


@dataclass(frozen=True, eq=False)
class EncodedQuestion:
    """A question whose texts are embedded, so that it can be asked again at no cost.

    Attributes
    ----------
    prompts : PromptSet
    positive, negative : GaussianEmbedding
        One row for each of its texts.
    unknown_words : tuple of str
        See `unknown_words`.
    logit_scale : float
        Of the model that embedded it.
    calibration : CalibratedQuestion or None
        None where these texts were never measured with this model.
    simulated : bool
        It asks for what the model learnt from simulated hearts alone.
    """

    prompts: PromptSet
    positive: GaussianEmbedding
    negative: GaussianEmbedding
    unknown_words: tuple[str, ...]
    logit_scale: float
    calibration: CalibratedQuestion | None = None
    simulated: bool = False

    def is_calibrated(self, leads: str | None) -> bool:
        """Whether answers are probabilities for recordings with these leads, and not scores."""
        known = self.calibration
        return known is not None and known.calibration.fitting(leads) is not None

    def answer(
        self,
        embedding: GaussianEmbedding,
        window: AskedWindow = UNKNOWN_WINDOW,
        prevalence: float | None = None,
    ) -> Answer:
        """The answer for one embedded window, or for one fused recording.

        Parameters
        ----------
        embedding : GaussianEmbedding, one row
        window : AskedWindow
            See `asked_window`.
        prevalence : float, optional
            Share of the user's patients with what is asked.
        """
        return answering.answer(
            embedding,
            self.positive,
            self.negative,
            question=self.prompts.question,
            positive_prompts=self.prompts.positive,
            negative_prompts=self.prompts.negative,
            logit_scale=self.logit_scale,
            unknown_words=self.unknown_words,
            calibration=self.calibration,
            simulated=self.simulated,
            window=window,
            prevalence=prevalence,
        )

    def answers_along(
        self, track: WindowTrack, leads: str | None = None, prevalence: float | None = None
    ) -> AlongAnswers:
        """The answer at every window of a recording, by the same rules as `answer`.

        Parameters
        ----------
        track : WindowTrack
            Its percentiles among recordings with the same leads.
        leads : str or None
            Key of the recording's lead set.
        prevalence : float, optional
        """
        n = len(track)
        probability, low, high = np.empty(n), np.empty(n), np.empty(n)
        verdict = np.empty(n, dtype="<U32")
        n_rows = max(_MOST_CELLS // track.embedding.mu.shape[1], 1)
        signal = track.valid_fraction.max(axis=1)
        for begin in range(0, n, n_rows):
            rows = slice(begin, begin + n_rows)
            judged = self._judged(
                track.embedding[rows], leads, track.percentile[rows], signal[rows], prevalence
            )
            probability[rows], verdict[rows] = judged.probability, judged.verdict
            low[rows], high[rows] = judged.low, judged.high
        empty = signal <= 0
        for values in (probability, low, high):
            values[empty] = np.nan
        verdict[empty] = ""
        return AlongAnswers(probability, low, high, verdict)

    def _judged(
        self,
        embedding: GaussianEmbedding,
        leads: str | None,
        percentile: Floats,
        signal_share: Floats,
        prevalence: float | None,
    ) -> Judged:
        return answering.judge(
            embedding,
            self.positive,
            self.negative,
            logit_scale=self.logit_scale,
            calibration=self.calibration,
            simulated=self.simulated,
            leads=leads,
            percentile=percentile,
            signal_share=signal_share,
            prevalence=prevalence,
        )

    def wording_spread(self, embedding: GaussianEmbedding) -> Floats:
        """The score if only one text said yes and one said no, for every such pair.

        Scores and not calibrated probabilities: a map belongs to all texts together.

        Parameters
        ----------
        embedding : GaussianEmbedding, one row

        Returns
        -------
        ndarray, shape (n_positive, n_negative)
        """
        yes, no = (
            side.mu / np.linalg.norm(side.mu, axis=1, keepdims=True)
            for side in (self.positive, self.negative)
        )
        direction = yes[:, None, :].astype(np.float64) - no[None, :, :]
        margin = direction @ embedding.mu[0].astype(np.float64)
        variance = direction**2 @ np.exp(embedding.log_var[0].astype(np.float64))
        return closed_form.probabilities(margin, np.sqrt(variance), logit_scale=self.logit_scale)


@dataclass(frozen=True)
class AnswerCheck:
    """What ECGs with a known finding say about an answer.

    Attributes
    ----------
    n_similar, n_with : int
        ECGs with the most similar answers, and how many of these have the finding.
    n_all, n_all_with : int
        The same of all ECGs of which it is known.
    """

    n_similar: int
    n_with: int
    n_all: int
    n_all_with: int


@dataclass(frozen=True)
class ReadQuestion:
    """A question in free words, and how it was read.

    Attributes
    ----------
    text : str
        As it was typed.
    questions : tuple of PromptSet
        One for each finding that it asks for.
    note : str
        Sentences that say how it was read; empty where it says that itself.
    findings : tuple of AskedFinding
        What each of the questions asks; empty where the text is asked as it stands.
    """

    text: str
    questions: tuple[PromptSet, ...]
    note: str
    findings: tuple[AskedFinding, ...] = ()


def read_question(text: str) -> ReadQuestion:
    """Read a question in free words.

    Parameters
    ----------
    text : str
        Words in quotation marks are not read, but asked as they stand against their own denial.

    Returns
    -------
    ReadQuestion

    Raises
    ------
    ConfigError
        The text is empty or too long, names nothing that an ECG can be asked, or asks for
        something that is measured.
    """
    typed = " ".join(text.split())
    if len(typed) > 2 and typed[0] in _QUOTES and typed[-1] in _QUOTES:
        question = prompt_set_from_text(typed[1:-1])
        return ReadQuestion(typed, (question,), f"Asked as it stands: {question.question}.")
    reading = understand(typed)
    questions = prompt_sets_of(reading, prompt_sets())
    return ReadQuestion(typed, questions, _reading_note(reading, questions), reading.findings)


def read_questions(texts: Sequence[str]) -> tuple[tuple[ReadQuestion, ...], dict[str, str]]:
    """Read several questions in free words; one that is refused does not refuse the others.

    Parameters
    ----------
    texts : sequence of str
        As in `read_question`.

    Returns
    -------
    tuple of ReadQuestion
        Those that can be asked.
    dict of str to str
        Text of a refused one -> why.
    """
    readings: list[ReadQuestion] = []
    refused: dict[str, str] = {}
    for text in texts:
        try:
            readings.append(read_question(text))
        except ConfigError as error:
            refused[text] = str(error)
    return tuple(readings), refused


def _reading_note(reading: Understood, questions: Sequence[PromptSet]) -> str:
    titles = [question.question for question in questions]
    sentences = []
    if [title.casefold() for title in titles] != [reading.text.casefold().strip(" .?!")]:
        sentences.append(f"{reading.text!r} is read as: {'; '.join(titles)}.")
    if reading.ages:
        sentences.append(
            f"Left out: {', '.join(reading.ages)}. The question is for the finding of any age: "
            "acute or old cannot be told."
        )
    if reading.corrections:
        pairs = ", ".join(f"{typed} for {known}" for typed, known in reading.corrections)
        sentences.append(f"Taken for misspelt: {pairs}.")
    if reading.ignored:
        sentences.append(f"Not understood and left out: {', '.join(reading.ignored)}.")
    return " ".join(sentences)


def as_prompt_sets(prompts: Questions) -> tuple[PromptSet, ...]:
    """Questions in any of the forms that `ask` takes, as prompt sets.

    A text is read by `read_question`; it may ask for several findings.
    """
    if prompts is None:
        return prompt_sets()
    if isinstance(prompts, str | PromptSet):
        prompts = [prompts]
    return tuple(
        question
        for item in prompts
        for question in (read_question(item).questions if isinstance(item, str) else (item,))
    )


def encode_question(model: Model, prompts: PromptSet) -> EncodedQuestion:
    """Embed the texts of a question, and look up what its answers are worth; some 0.1 s."""
    from echoing_core.embed.questions import encode_sides

    checkpoint = model.checkpoint
    positive, negative = encode_sides(checkpoint, prompts)
    words = " ".join([*prompts.positive, *prompts.negative])
    return EncodedQuestion(
        prompts,
        positive,
        negative,
        checkpoint.tokenizer.unknown_words(words),
        checkpoint.logit_scale,
        None if model.calibration is None else model.calibration.of(prompts),
        learnt_from_simulation(model, prompts),
    )


def learnt_from_simulation(model: Model, prompts: PromptSet) -> bool:
    """Whether a question asks for what an echocardiogram shows, of a model that saw none.

    Parameters
    ----------
    model : Model
    prompts : PromptSet
        Told by its texts, since own questions have names of their own.
    """
    if model.imported or not model.trained_on.get("simulated_ecgs", 0):
        return False
    texts = " ".join([*prompts.positive, *prompts.negative]).lower()
    return _ECHO_WORDS.search(texts) is not None


def asked_window(explanation: Explanation, index: int) -> AskedWindow:
    """What has to be known of a window of a recording to judge answers about it.

    Parameters
    ----------
    explanation : Explanation
    index : int
        Row of its track.
    """
    # Always like with like, whatever reading of the percentile is on the screen.
    track = explanation.read_among(all_leads=False).track
    return AskedWindow(
        explanation.lead_set.key,
        float(track.percentile[index]) if explanation.has_sigma2 else None,
        float(track.valid_fraction[index].max()),
    )


def verdict_kind(verdict: str) -> str:
    """``"yes"``, ``"no"`` or ``"not sure enough"``, whether it leans that way or says so."""
    words = verdict.split()
    if not words or verdict == WITHHELD:
        return verdict
    return words[1] if words[0] == "leans" else verdict


def ask(
    model: Model,
    recording: Recording | StandardEcg | Explanation,
    prompts: Questions = None,
    *,
    start_s: float | None = None,
    rule: str | None = None,
    prevalence: Prevalence = None,
    vcg_method: str = DEFAULT_VCG_METHOD,
) -> list[Answer]:
    """Answers about one window of a recording, or about the whole of it.

    Questions are asked by prompts (zero-shot). What a head of the model answers to one of them
    stands right after it; where no questions are named, every head answers.

    Parameters
    ----------
    model : Model
    recording : Recording, StandardEcg or Explanation
    prompts : optional
        A question in words (see `read_question`), a `PromptSet`, or several; without, the shipped
        questions.
    start_s : float, optional
        Start of the window. Without, the window with the lowest sigma^2 is asked.
    rule : {"start", "lowest", "precision", "trimmed"}, optional
        Ask the recording as `fuse_recording` fuses it, instead of a window.
    prevalence : float or mapping, optional
        Share of your patients with what is asked, 0 to 1; by name or title of the question where
        there are several. Without, that of the ECGs that the model's calibration knows.
    vcg_method : str
        As in `explain`.

    Returns
    -------
    list of Answer
        In the order of ``prompts``; a question in words has one for each finding it asks for. Of
        a head, ``by`` and the question itself say so.

    Raises
    ------
    ConfigError
        Both a start and a rule are given, there is no such rule, a question is refused, or the
        prevalence is no share.
    """
    questions = as_prompt_sets(prompts)
    shares = prevalences(questions, prevalence)
    if rule is not None and start_s is not None:
        raise ConfigError(
            "A window can be asked, or the fused recording, but not both. Leave out the start of "
            "the window or the rule."
        )
    if not isinstance(recording, Explanation):
        recording = explain(model, recording, vcg_method=vcg_method)
    track = recording.track
    if rule is not None:
        fused = fuse_recording(track, rule)
        embedding = fused.embedding
        window = fused_window(recording, fused.used)
    elif start_s is None:
        index = most_sure_window(track)
        start_s = float(track.start_s[index])
        embedding, window = track.embedding[np.array([index])], asked_window(recording, index)
    else:
        embedding = window_embedding(model, recording, start_s, vcg_method)
        # Between two windows of the track: the nearer one tells percentile and signal.
        window = asked_window(recording, int(np.argmin(np.abs(track.start_s - start_s))))
    answers = [
        encode_question(model, question).answer(embedding, window, share)
        for question, share in zip(questions, shares, strict=True)
    ]
    heads = heads_of(model, None if prompts is None else questions)
    of_heads = head_answers(
        model,
        recording,
        heads,
        embedding,
        window,
        start_s=start_s,
        rule=rule,
        prevalences=head_prevalences(heads, questions, shares),
    )
    return beside(questions, answers, heads, of_heads)


def prevalences(questions: Sequence[PromptSet], given: Prevalence) -> tuple[float | None, ...]:
    """The prevalence of each question; None where nobody gave one.

    Parameters
    ----------
    questions : sequence of PromptSet
    given : float, mapping or None
        As in `ask`.

    Raises
    ------
    ConfigError
        It is no share, or names a question that is not asked.
    """
    if given is None:
        return (None,) * len(questions)
    if isinstance(given, int | float):
        check_prevalence(given)
        return (float(given),) * len(questions)
    names = {name for question in questions for name in (question.name, question.question)}
    unknown = sorted(set(given) - names)
    if unknown:
        asked = ", ".join(question.name for question in questions)
        raise ConfigError(
            f"A prevalence is given for {unknown[0]!r}, which is not asked. Asked are: {asked}."
        )
    for share in given.values():
        check_prevalence(share)
    return tuple(given.get(q.name, given.get(q.question)) for q in questions)


def fused_window(explanation: Explanation, used: npt.NDArray[np.bool_]) -> AskedWindow:
    """What has to be known of a fused recording: the median of the windows that count.

    A fused Gaussian is surer than any window by averaging, which no percentile of windows knows.

    Parameters
    ----------
    explanation : Explanation
    used : ndarray of bool, shape (n_windows,)
        Of `Fused`.
    """
    track = explanation.read_among(all_leads=False).track
    rows = used if used.any() else np.ones(len(track), dtype=bool)
    return AskedWindow(
        explanation.lead_set.key,
        float(np.median(track.percentile[rows])) if explanation.has_sigma2 else None,
        float(np.median(track.valid_fraction[rows].max(axis=1))),
    )


def check_answer(
    collection: Collection, question: EncodedQuestion, answer: Answer
) -> AnswerCheck | None:
    """How often ECGs that answer alike have the finding, where a collection knows it.

    Answers are alike whose margins are: the `N_SIMILAR` nearest margins are counted.

    Parameters
    ----------
    collection : Collection
    question : EncodedQuestion
    answer : Answer
        To this question.

    Returns
    -------
    AnswerCheck or None
        None where the question has no label, or fewer than 300 ECGs have it.
    """
    label, items = question.prompts.label, collection.index.items
    if label is None or label not in collection.flags:
        return None
    truth = items[f"label_{label}"].to_numpy(dtype=np.float64)
    known = np.flatnonzero(np.isfinite(truth))
    if known.size < _FEWEST_LABELLED:
        return None
    direction = closed_form.question_direction(question.positive, question.negative)
    margins = collection.index.vectors("ecg").products(direction)[known]
    alike = np.argsort(np.abs(margins - answer.margin), kind="stable")[:N_SIMILAR]
    return AnswerCheck(
        n_similar=int(alike.size),
        n_with=int(truth[known][alike].sum()),
        n_all=int(known.size),
        n_all_with=int(truth[known].sum()),
    )
