"""What a question in free words asks: findings, whether they are denied, numbers; or a refusal.

A text encoder takes "no atrial fibrillation" for a text about atrial fibrillation, and gives
"banana" a place among ECGs. So a question is read before it is asked. Its words become concepts
(`lexicon.yaml`: several languages, abbreviations, lay words; misspellings by edit distance), and
sets of concepts become findings of `vocabulary.WORDING`, the most particular first. A negation
holds for its own part of the sentence (`grammar`). Words that mean nothing here are listed, and a
question of such words alone is refused; so is one whose words would be dropped to make it another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from posixpath import commonprefix

from echoing_core.errors import ConfigError
from echoing_core.reports.grammar import Sentence, read_sentence
from echoing_core.reports.lexicon import folded, lexicon
from echoing_core.reports.vocabulary import SUPERCLASS_WORDS, WORDING
from echoing_core.zeroshot.prompts import PromptSet

MAX_TEXT = 400
"""Longest question that is read, in characters."""

# Words of four letters are too near to too many others; long ones may hold two mistakes.
_SHORTEST_CORRECTED = 5
_LONG_WORD = 10

_TOKEN = re.compile(r"[^\W_]+|[,.;:!?()]")

_BELOW = (
    r"(?:<=?|≤|below|under|(?:less|lower|smaller) than|at most|no more than|unter|kleiner als"
    r"|hochstens|maximal|moins de|inferieure? a|menor (?:de|que)|inferior a|por debajo de)"
)
_ABOVE = (
    r"(?:>=?|≥|above|over|(?:more|greater|higher) than|at least|not below|no less than|uber"
    r"|mindestens|grosser als|plus de|superieure? a|mayor (?:de|que)|superior a|por encima de)"
)
_JOINS = re.compile(r"[,;]\s*|\b(?:and|with|but|or|und|mit|aber|oder|et|avec|mais|y|con|pero)\s+")
_EF = (
    r"(?:lvef|ef|ejection fraction|fevg|fevi|auswurffraktion|ejektionsfraktion|fraction d ejection"
    r"|fraccion de eyeccion)"
)
_NUMBER = r"\d{1,3}(?:[.,]\d+)?(?![\d.,]*\d)"
_PERCENT = r"(?:%|percent|per cent|prozent|pour cent|por ciento)"
_SIGN = rf"(?P<sign>{_BELOW}|{_ABOVE})"
_EF_LIMIT = re.compile(
    rf"\b{_EF}(?: is| of| ist)?\s*(?P<not>(?:not|nicht|pas|no)\s+)?{_SIGN}\s*(?P<pct>{_NUMBER})"
)
_EF_LIMIT_BEHIND = re.compile(
    rf"\b{_EF}(?: is| of| ist)?\s*(?P<pct>{_NUMBER})\s*{_PERCENT}?\s*\b(?:or|oder|ou|o)\s+"
    r"(?:(?P<below>less|lower|below|under|weniger|kleiner|darunter|moins|menos)"
    r"|(?:more|higher|above|over|greater|mehr|hoher|grosser|daruber|plus|mas))\b"
)
_EF_NUMBER = re.compile(
    rf"\b{_EF}\b(?:\s*[=:~]|\s+(?:is|of|ist|de|von|at|bei|between|from|zwischen|entre|about|around"
    rf"|um|ca|equals|equal|to|exactly|genau|not|nicht)\b)*\s*{_NUMBER}(?!\w)"
    rf"|\b{_NUMBER}\s*{_PERCENT}\s*{_EF}\b"
)
_ANY_LIMIT = re.compile(rf"(?:{_BELOW}|{_ABOVE})\s*\d")
_EITHER = re.compile(r"(?i)(fibrillation|flimmern|\ba?fib|\baf)\s*/\s*-?\s*(?:\w*flattern|flutter)")
_RATIO = re.compile(r"\b\d\s*:\s*\d\b")
_MEASURED = {
    "The heart rate": r"(?:heart ?rate|hr|pulse|rate|herzfrequenz|frequence cardiaque"
    r"|frecuencia cardiaca)",
    "The PR interval": r"(?:pr|pq)(?: interval| time| zeit)?",
    "The QRS duration": r"qrs(?: duration| width| dauer)?",
    "The QT interval": r"qtc?(?: interval| time| zeit)?",
}
"""What is measured on the paper and never asked: how a sentence names it, and how people do."""

_SHIPPED = {
    "atrial_fibrillation": "atrial_fibrillation",
    "lbbb": "lbbb",
    "normal_ecg": "normal",
    "infarction": "myocardial_infarction",
    "st_t": "st_t_changes",
    "conduction_disturbance": "conduction_disturbance",
    "lv_dilated": "dilated_lv",
    "wall_severely_thick": "severe_lvh",
    "lvef_reduced": "lvef_below_40",
}
"""Findings for which a question ships, and its name: its wording was chosen with more care."""

_GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "infarction": (
        "Myocardial infarction",
        (*SUPERCLASS_WORDS["MI"], *(WORDING[k].machine for k in WORDING if k.startswith("mi_"))),
    ),
    "st_t": (
        "ST-T changes",
        (
            *SUPERCLASS_WORDS["STTC"],
            *(WORDING[k].machine for k in ("nonspecific_st", "nonspecific_t", "ischemia")),
        ),
    ),
    "conduction_disturbance": ("Conduction disturbance", SUPERCLASS_WORDS["CD"]),
    "av_block": (
        "AV block",
        tuple(
            text for k in ("av_block_1", "av_block_2", "av_block_3") for text in WORDING[k].free[:4]
        ),
    ),
    "bundle_branch_block": (
        "Bundle branch block",
        (*WORDING["lbbb"].free[:4], *WORDING["rbbb"].free[:4]),
    ),
    "arrhythmia": (
        "Arrhythmia",
        tuple(
            WORDING[k].machine
            for k in ("sinus_arrhythmia", "atrial_fibrillation", "sv_arrhythmia", "premature_beats")
        ),
    ),
    "lvef_reduced": (
        "Reduced LVEF",
        (
            *WORDING["lvef_severely_reduced"].free,
            *WORDING["lvef_moderately_reduced"].free,
        ),
    ),
}
"""Findings that cover several of the vocabulary: title, and texts that say yes."""

_OPPOSITE: dict[str, tuple[str, ...]] = {
    "normal_ecg": WORDING["abnormal_ecg"].free,
    "sinus_rhythm": (
        *WORDING["atrial_fibrillation"].free[:3],
        *WORDING["atrial_flutter"].free[:2],
        *WORDING["paced_rhythm"].free[:2],
        *WORDING["svt"].free[:2],
    ),
    "sinus_bradycardia": (
        *WORDING["sinus_tachycardia"].free[:2],
        *WORDING["sinus_rhythm"].free[:2],
        "atrial fibrillation",
    ),
    "sinus_tachycardia": (
        *WORDING["sinus_bradycardia"].free[:2],
        *WORDING["sinus_rhythm"].free[:2],
        "atrial fibrillation",
    ),
    "lvef_reduced": WORDING["lvef_normal"].free,
    "lvef_normal": (
        *WORDING["lvef_severely_reduced"].free,
        *WORDING["lvef_moderately_reduced"].free,
    ),
    "lv_dilated": WORDING["lv_size_normal"].free,
    "wall_severely_thick": WORDING["wall_thickness_normal"].free,
}
"""Texts that say no to a finding, where its absence has words of its own."""

_SINUS = ("sinus rhythm", "normal sinus rhythm", "rhythm is sinus", "sinus rhythm. normal ecg.")


@dataclass(frozen=True)
class AskedFinding:
    """One finding that a question asks for.

    Attributes
    ----------
    finding : str
        A finding of the lexicon: a key of `vocabulary.WORDING`, or a group of several.
    negated : bool
        The question says that it is absent.
    threshold_pct : float, optional
        Of ``"lvef_below"``: the question is whether the ejection fraction lies below this.
    """

    finding: str
    negated: bool = False
    threshold_pct: float | None = None


@dataclass(frozen=True)
class Understood:
    """How a question was read.

    Attributes
    ----------
    text : str
        As it was typed.
    findings : tuple of AskedFinding
        In the order in which they stand, each once; at least one.
    corrections : tuple of (str, str)
        Words that were taken for others.
    ignored : tuple of str
        Words that mean nothing here.
    ages : tuple of str
        Words for how old a finding is, which is not asked.
    """

    text: str
    findings: tuple[AskedFinding, ...]
    corrections: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    ages: tuple[str, ...] = ()


def understand(text: str) -> Understood:
    """Read a question in free words.

    Parameters
    ----------
    text : str

    Returns
    -------
    Understood

    Raises
    ------
    ConfigError
        The question is empty, too long, names nothing that an ECG can be asked, or asks for
        something that is measured.
    """
    question = " ".join(text.split())
    if not question:
        raise ConfigError("The question is empty. Type what to look for, such as a finding.")
    if len(question) > MAX_TEXT:
        raise ConfigError(
            f"The question has {len(question)} characters; at most {MAX_TEXT} are read. Ask one "
            "finding at a time."
        )
    plain = folded(question)
    if (ratio := _RATIO.search(plain)) is not None:
        raise ConfigError(_without(question, ratio[0]))
    compared, rest = _ejection_fraction(plain)
    tokens, corrections = _corrected(_TOKEN.findall(rest))
    read = read_sentence(tokens)
    if compared is not None and not read.said:
        return Understood(question, (compared,))
    if not read.said:
        raise ConfigError(_refusal(question, read.unknown))
    _check(question, read)
    # What cannot be excluded is asked like what is there.
    findings = [AskedFinding(said.finding, said.state == "denied") for said in read.said]
    if compared is not None:
        findings.append(compared)
    ages = dict.fromkeys(token for token in tokens if token in lexicon().age_words)
    return Understood(
        question,
        tuple(dict.fromkeys(_without_implied(findings))),
        tuple(corrections),
        tuple(dict.fromkeys(read.unknown)),
        tuple(ages),
    )


def _check(question: str, read: Sentence) -> None:
    """Refuse what would be answered as something else.

    Raises
    ------
    ConfigError
    """
    named = {said.finding for said in read.said if said.state != "denied"}
    if {"lvef_reduced", "lvef_normal"} <= named:
        raise ConfigError(
            f"{question!r} asks for a reduced and a preserved ejection fraction at once, and heart "
            "failure is read as a reduced one: the model has no finding for heart failure with "
            "preserved ejection fraction. Ask for one of them, such as EF above 50."
        )
    for said in read.said:
        if said.finding in lexicon().not_asked:
            raise ConfigError(
                f"{_capital(said.finding)}: the model has no finding for it, and a near one would "
                "be another question. Ask for a finding that it has, such as atrial fibrillation."
            )
        if said.state == "past" and not _leaves_traces(said.finding):
            raise ConfigError(
                f"{question!r} asks for what was: an ECG shows what is there now. Ask for the "
                "finding alone."
            )
    if read.left:
        words = ", ".join(dict.fromkeys(read.left))
        raise ConfigError(_without(question, words))
    if any(said.listed for said in read.said):
        raise ConfigError(
            f"{question!r} can mean two things, since a comma alone does not say whether the "
            'denial goes on. Put "or" before the last of what is absent, as in: no AF, LBBB or '
            'LVH; and "but" before what is there, as in: no AF but LBBB.'
        )
    if read.astray:
        raise ConfigError(
            f"It is not clear what is denied in {question!r}. Put the denial before the finding, "
            "such as: no atrial fibrillation."
        )


def _without(question: str, words: str) -> str:
    return (
        f"{question!r} asks for more than the model has a finding for: without {words} it would be "
        "another question. Ask for the finding without it, if that is meant."
    )


def _leaves_traces(finding: str) -> bool:
    return finding == "infarction" or finding.startswith("mi_")


def mentioned(sentence: str) -> tuple[AskedFinding, ...]:
    """Findings that a sentence of a report names, each with whether it is denied.

    As `understand` reads a question, but what names nothing is no error, a general conclusion
    ("abnormal ecg") counts beside findings, and nothing is left out because another implies it.
    What is unsure ("cannot be excluded") or of the past is not named, nor what a denial may or may
    not hold for ("no AF, LBBB"), and what the model has no finding for is none.

    Parameters
    ----------
    sentence : str

    Returns
    -------
    tuple of AskedFinding
        In the order in which they stand; empty where none is named.
    """
    # "Fibrillation/flutter" of a report leaves open which; most are fibrillation (PTB-XL).
    tokens, _ = _corrected(_TOKEN.findall(folded(_EITHER.sub(r"\1", sentence))))
    not_asked = lexicon().not_asked
    named: list[AskedFinding] = []
    for said in read_sentence(tokens).said:
        if said.finding.startswith("an abnormal ") and said.state == "there":
            # "The P wave is abnormal": nothing is asked of it, but the ECG is not normal.
            named.append(AskedFinding("normal_ecg", True))
        elif (
            said.finding not in not_asked
            and not said.listed
            and (
                said.state in ("there", "denied")
                or (said.state == "past" and _leaves_traces(said.finding))
            )
        ):
            named.append(AskedFinding(said.finding, said.state == "denied"))
    return tuple(dict.fromkeys(named))


def asked_of_all() -> Understood:
    """A question for every finding that can be asked, an ejection fraction below 40 % among them.

    Returns
    -------
    Understood
    """
    left_out = {"abnormal_ecg", *lexicon().not_asked}
    names = {rule.finding for rule in lexicon().rules} - left_out
    asked = tuple(AskedFinding(name) for name in sorted(names))
    return Understood("", (*asked, AskedFinding("lvef_below", threshold_pct=40.0)))


def _without_implied(findings: Sequence[AskedFinding]) -> list[AskedFinding]:
    words = lexicon()
    implied = {
        (name, f.negated) for f in findings for name in words.implied.get(f.finding, frozenset())
    }
    kept = [f for f in findings if (f.finding, f.negated) not in implied]
    strong = [f for f in kept if f.finding not in words.weak]
    # "Sinus bradycardia, otherwise normal": a conclusion beside findings is no question of its own.
    # Beside denials alone it is: "normal ECG without LVH".
    return strong if any(not f.negated for f in strong) else kept


def _refusal(question: str, unknown: Sequence[str]) -> str:
    if unknown:
        words = ", ".join(dict.fromkeys(unknown))
        return (
            f"{words}: not a word for a finding of an ECG that is known here. Ask for a finding, "
            "such as atrial fibrillation, or write a prompt set of your own."
        )
    return (
        f"{question!r} names no finding. Ask for one, such as atrial fibrillation, or write a "
        "prompt set of your own."
    )


def _ejection_fraction(plain: str) -> tuple[AskedFinding | None, str]:
    """A comparison of the ejection fraction with a number, and the text without it.

    None where there is no such comparison.

    Raises
    ------
    ConfigError
        A number is compared that the model cannot know.
    """
    for name, words in _MEASURED.items():
        if re.search(rf"\b{words}(?: is| of)?\s*{_SIGN}\s*\d", plain):
            raise ConfigError(
                f"{name} is measured, not asked: read it from the window on ECG paper, or with "
                "`echoing measure` on the command line. Ask for a finding instead, such as sinus "
                "bradycardia."
            )
    match = _EF_LIMIT_BEHIND.search(plain) or _EF_LIMIT.search(plain)
    outside = plain if match is None else f"{plain[: match.start()]} {plain[match.end() :]}"
    if _EF_NUMBER.search(outside) or (match is not None and _ANY_LIMIT.search(outside)):
        raise ConfigError(
            "An ejection fraction is asked with one limit, as in: EF below 40, or EF above 50. A "
            "range or a value is not asked: ask for one limit, then for the other."
        )
    if match is None:
        return None, plain
    # Its own words begin behind the last conjunction; what stands before is another finding's.
    first = max((m.end() for m in _JOINS.finditer(plain, 0, match.start())), default=0)
    groups = match.groupdict()
    if "sign" in groups:
        above = re.fullmatch(_ABOVE, groups["sign"]) is not None
        above ^= groups["not"] is not None
    else:
        above = groups["below"] is None
    kinds = ("deny_before", "deny_again")
    denials = {w[0] for w, kind in lexicon().grammar.items() if len(w) == 1 and kind in kinds}
    own = plain[first : match.start()].split()
    denied = bool(denials & set(own))
    while own and own[-1] in denials:
        own.pop()
    asked = AskedFinding("lvef_below", denied != above, _percent(groups["pct"]))
    behind = re.sub(rf"^\s*{_PERCENT}", "", plain[match.end() :])
    before = re.sub(rf"(?:{_JOINS.pattern})$", "", plain[:first])
    return asked, " ".join([before, *own, behind])


def _percent(number: str) -> float:
    """A limit as it was typed: 0.35 is a fraction, 35 are per cent."""
    value = float(number.replace(",", "."))
    pct = round(100 * value, 6) if 0 < value < 1 else value
    if pct != round(pct):
        raise ConfigError(
            f"An ejection fraction is asked in whole per cent, as in: EF below 40, not {number}."
        )
    return pct


def _corrected(tokens: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Each unknown word of five letters or more, exchanged for a known one that is near."""
    words = lexicon()
    out: list[str] = []
    corrections: list[tuple[str, str]] = []
    for token in tokens:
        if (
            len(token) < _SHORTEST_CORRECTED
            or token in words.vocabulary
            or token in words.not_misspelt
            or not token.isalpha()
            or any(token.startswith(stem) for stem in words.stems)
        ):
            out.append(token)
            continue
        best = _nearest(token, words.vocabulary)
        if best is not None:
            corrections.append((token, best))
        out.append(best or token)
    return out, corrections


@lru_cache(maxsize=20_000)
def _nearest(word: str, vocabulary: frozenset[str]) -> str | None:
    """The known word with the fewest letters to change, of the same first letter."""
    limit = 1 if len(word) < _LONG_WORD else 2
    best: tuple[int, int, str] | None = None
    for known in vocabulary:
        if abs(len(known) - len(word)) > limit or len(known) < _SHORTEST_CORRECTED - 1:
            continue
        if known[0] != word[0]:
            continue
        apart = _edits(word, known, limit)
        # Of two as near the one that ends alike: "fibrilation" is English, not "fibrilacion".
        ranked = (apart, -_same_ending(word, known), known)
        if apart <= limit and (best is None or ranked < best):
            best = ranked
    return best[2] if best else None


def _same_ending(a: str, b: str) -> int:
    """So many letters are the same from behind."""
    return len(commonprefix([a[::-1], b[::-1]]))


def _edits(a: str, b: str, limit: int) -> int:
    """Damerau-Levenshtein distance (neighbours exchanged count once), or ``limit`` + 1."""
    before_last: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before_last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before_last, last = last, row
    return last[-1]


def prompt_sets_of(reading: Understood, shipped: Sequence[PromptSet] = ()) -> tuple[PromptSet, ...]:
    """Make yes/no questions of a text that was read, one for each finding that it asks for.

    A denied finding has the texts of its question exchanged, so that P(not X) is 1 - P(X).

    Parameters
    ----------
    reading : Understood
    shipped : sequence of PromptSet
        Questions whose wording is taken where they ask for the same.

    Returns
    -------
    tuple of PromptSet
        Their ``question`` says how the text was read.

    Raises
    ------
    ConfigError
        A limit of the ejection fraction divides no reports.
    """
    by_name = {prompts.name: prompts for prompts in shipped}
    return tuple(_question(asked, by_name) for asked in reading.findings)


def _question(asked: AskedFinding, shipped: Mapping[str, PromptSet]) -> PromptSet:
    prompts = shipped.get(_SHIPPED.get(asked.finding, ""))
    if asked.threshold_pct is not None:
        name = f"lvef_below_{asked.threshold_pct:.0f}"
        prompts = shipped.get(name) or _lvef_below(name, asked.threshold_pct)
    elif prompts is None:
        title, positive = _GROUPS.get(asked.finding) or (
            _title(WORDING[asked.finding].machine),
            WORDING[asked.finding].free,
        )
        prompts = PromptSet(
            asked.finding, title, tuple(dict.fromkeys(positive)), _negative(asked.finding, positive)
        )
    if not asked.negated:
        return prompts
    # Without its label: that holds the truth of the finding, not of its absence.
    return PromptSet(
        f"no_{prompts.name}",
        _denied(prompts.question),
        positive=prompts.negative,
        negative=prompts.positive,
    )


def _negative(finding: str, positive: Sequence[str]) -> tuple[str, ...]:
    """Texts that say no.

    Chosen on folds 1-7 of PTB-XL among the plain denial, normal ECGs alone and normal ECGs with
    other findings (docs/experiments.md).
    """
    if finding in _OPPOSITE:
        return _OPPOSITE[finding]
    if (finding in WORDING and WORDING[finding].group == "rhythm") or finding == "arrhythmia":
        return _SINUS
    return (f"no {positive[0]}", f"no evidence of {positive[0]}", "normal ecg")


def _lvef_below(name: str, threshold_pct: float) -> PromptSet:
    """Ejection fractions in words and numbers on both sides of a limit."""
    low: list[str] = []
    high: list[str] = []
    for value in range(15, 80, 5):
        # A report next to the limit says little about its side.
        if abs(value - threshold_pct) >= 5:
            (low if value < threshold_pct else high).append(f"lvef {value} %")
    if not low or not high:
        raise ConfigError(
            f"An ejection fraction of {threshold_pct:g} % divides no reports. Ask for a limit from "
            "20 to 70 %."
        )
    number = f"{threshold_pct:g} %"
    return PromptSet(
        name,
        f"LVEF < {number}",
        (f"lvef is less than {number}", *low),
        (f"lvef is {number} or more", *high),
    )


_WRITTEN = {
    "av": "AV",
    "ecg": "ECG",
    "qrs": "QRS",
    "qt": "QT",
    "pr": "PR",
    "st": "ST",
    "st-t": "ST-T",
    "t": "T",
    "q": "Q",
    "lvef": "LVEF",
    "wolff-parkinson-white": "Wolff-Parkinson-White",
}


def _title(words: str) -> str:
    """A phrase of the vocabulary, which is in lower case, as it is printed."""
    return _capital(" ".join(_WRITTEN.get(word, word) for word in words.split()))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _denied(title: str) -> str:
    """The title of the opposite question; abbreviations stay as they are."""
    if " < " in title:
        return title.replace(" < ", " >= ")
    if title == "Normal ECG":
        return "Not a normal ECG"
    first = title.split()[0]
    small = title if first.isupper() or "-" in first else title[:1].lower() + title[1:]
    return f"No {small}"
