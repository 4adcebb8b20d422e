"""What a question in free words asks: findings, whether they are denied, numbers; or a refusal.

A text encoder takes "no atrial fibrillation" for a text about atrial fibrillation, and gives
"banana" a place among ECGs. So a question is read before it is asked. Its words become concepts
(`lexicon.yaml`: several languages, abbreviations, lay words; misspellings by edit distance), and
sets of concepts become findings of `vocabulary.WORDING`, the most particular first. A negation
holds for its own part of the sentence. Words that mean nothing here are listed, and a question of
such words alone is refused.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Literal

from echoing_core.documents import parse_yaml
from echoing_core.errors import ConfigError
from echoing_core.reports.vocabulary import SUPERCLASS_WORDS, WORDING
from echoing_core.zeroshot.prompts import PromptSet

MAX_TEXT = 400
"""Longest question that is read, in characters."""

# Words of four letters are too near to too many others; long ones may hold two mistakes.
_SHORTEST_CORRECTED = 5
_LONG_WORD = 10

_TOKEN = re.compile(r"[^\W_]+|[,.;:!?()]")
_PUNCTUATION = frozenset(",.;:!?()")

_BELOW = (
    r"(?:<=?|≤|below|under|(?:less|lower|smaller) than|at most|no more than|unter|kleiner als"
    r"|moins de|inferieure? a|menor (?:de|que)|inferior a|por debajo de)"
)
_ABOVE = (
    r"(?:>=?|≥|above|over|(?:more|greater|higher) than|at least|not below|no less than|uber"
    r"|grosser als|plus de|superieure? a|mayor (?:de|que)|superior a|por encima de)"
)
_EF = (
    r"(?:lvef|ef|ejection fraction|fevg|fevi|auswurffraktion|fraction d ejection"
    r"|fraccion de eyeccion)"
)
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
    """

    text: str
    findings: tuple[AskedFinding, ...]
    corrections: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Lexicon:
    """The lexicon file, turned round for reading.

    Attributes
    ----------
    phrases : dict
        Words in their order -> concepts.
    stems : dict
        Beginning of a word -> concepts.
    rules : tuple of (concepts, finding)
        The largest set of concepts first.
    before, after : frozenset of tuple of str
        What denies the words behind it, and the words before it.
    longest : int
        Most words in a phrase.
    vocabulary : frozenset of str
        Every single word that is known.
    """

    phrases: dict[tuple[str, ...], frozenset[str]]
    stems: dict[str, frozenset[str]]
    rules: tuple[tuple[frozenset[str], str], ...]
    filler: frozenset[str]
    before: frozenset[tuple[str, ...]]
    after: frozenset[tuple[str, ...]]
    breaks: frozenset[str]
    joints: frozenset[str]
    alternatives: frozenset[str]
    implied: dict[str, frozenset[str]]
    weak: frozenset[str]
    not_misspelt: frozenset[str]
    longest: int
    vocabulary: frozenset[str]


@dataclass(frozen=True)
class _Unit:
    """A phrase of a clause: a word with concepts, a denial, or a joint."""

    kind: Literal["word", "before", "after", "joint"]
    concepts: frozenset[str] = frozenset()


def folded(text: str) -> str:
    """Lower case, without accents and French elisions; "-", "/" and "+" become spaces."""
    plain = unicodedata.normalize("NFKD", text.casefold().replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"\b(d|l|qu)['’]", r"\1 ", plain.replace("w/o", "without"))
    return re.sub(r"[-/+&'’]", " ", plain)


@cache
def _lexicon() -> _Lexicon:
    # Of plain words of our own, but this reader is five times faster than `yaml.safe_load`.
    content = parse_yaml(
        resources.files("echoing_core.reports").joinpath("lexicon.yaml").read_text(encoding="utf-8")
    )
    phrases: dict[tuple[str, ...], set[str]] = {}
    stems: dict[str, set[str]] = {}
    for concept, words in content["concepts"].items():
        for word in words:
            word = folded(str(word))
            if word.endswith("*"):
                stems.setdefault(word[:-1], set()).add(concept)
            else:
                phrases.setdefault(tuple(word.split()), set()).add(concept)
    rules = [
        (frozenset(str(names).split()), finding)
        for finding, sets in content["findings"].items()
        for names in sets
    ]
    # The largest set first; among equals the order of the file.
    rules.sort(key=lambda rule: -len(rule[0]))
    before = frozenset(tuple(folded(str(w)).split()) for w in content["deny_before"])
    after = frozenset(tuple(folded(str(w)).split()) for w in content["deny_after"])
    filler = frozenset(folded(str(w)) for w in content["filler"])
    singles = {w for p in phrases for w in p} | filler | {w for p in before | after for w in p}
    return _Lexicon(
        {k: frozenset(v) for k, v in phrases.items()},
        {k: frozenset(v) for k, v in stems.items()},
        tuple(rules),
        filler,
        before,
        after,
        frozenset(content["breaks"]),
        frozenset(map(str, content["joints"])),
        frozenset(content["alternatives"]),
        {k: frozenset(v) for k, v in content["implied"].items()},
        frozenset(content["weak"]),
        frozenset(content["not_misspelt"]),
        max(len(p) for p in (*phrases, *before, *after)),
        frozenset(singles),
    )


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
    compared = _ejection_fraction(plain)
    if compared is not None:
        return Understood(question, (compared,))
    tokens, corrections = _corrected(_TOKEN.findall(plain))
    findings: list[AskedFinding] = []
    ignored: list[str] = []
    denied = False
    for clause, goes_on in _clauses(tokens):
        units, unknown = _units(clause)
        ignored += unknown
        findings += _findings(units, denied=denied)
        denied = goes_on and (denied or any(unit.kind == "before" for unit in units))
    findings = _without_implied(findings)
    if not findings:
        raise ConfigError(_refusal(question, ignored))
    return Understood(
        question, tuple(dict.fromkeys(findings)), tuple(corrections), tuple(dict.fromkeys(ignored))
    )


def mentioned(sentence: str) -> tuple[AskedFinding, ...]:
    """Findings that a sentence of a report names, each with whether it is denied.

    As `understand` reads a question, but what names nothing is no error, a general conclusion
    ("abnormal ecg") counts beside findings, and nothing is left out because another implies it.

    Parameters
    ----------
    sentence : str

    Returns
    -------
    tuple of AskedFinding
        In the order in which they stand; empty where none is named.
    """
    out: list[AskedFinding] = []
    denied = False
    tokens, _ = _corrected(_TOKEN.findall(folded(sentence)))
    for clause, goes_on in _clauses(tokens):
        units, _ = _units(clause)
        out += _findings(units, denied=denied)
        denied = goes_on and (denied or any(unit.kind == "before" for unit in units))
    return tuple(dict.fromkeys(out))


def asked_of_all() -> Understood:
    """A question for every finding that can be asked, an ejection fraction below 40 % among them.

    Returns
    -------
    Understood
    """
    names = dict.fromkeys(finding for _, finding in _lexicon().rules if finding != "abnormal_ecg")
    asked = tuple(AskedFinding(name) for name in sorted(names))
    return Understood("", (*asked, AskedFinding("lvef_below", threshold_pct=40.0)))


def _findings(units: Sequence[_Unit], *, denied: bool) -> list[AskedFinding]:
    """Findings of one clause, ``denied`` from its first word on where a list goes on.

    A denial before a word holds to the end of the clause, one after it back to its start. Joints
    cut what they can: a piece that names nothing ("inferior" of "inferior and lateral infarct")
    goes to the next one.
    """
    flips = sum(u.kind == "after" for u in units)
    pieces: list[tuple[frozenset[str], bool]] = []
    concepts: set[str] = set()
    negated = (flips % 2 == 1) != denied
    for unit in units:
        if unit.kind == "word":
            concepts |= unit.concepts
        elif unit.kind in ("before", "joint"):
            pieces.append((frozenset(concepts), negated))
            concepts = set()
            if unit.kind == "before":
                negated = not negated
    pieces.append((frozenset(concepts), negated))
    out: list[AskedFinding] = []
    carried: frozenset[str] = frozenset()
    last: tuple[frozenset[str], bool, int] = (frozenset(), False, 0)
    for piece, is_denied in pieces:
        named = _named(piece | carried)
        if named:
            last = (piece | carried, is_denied, len(out))
        carried = frozenset() if named else piece | carried
        out += [_turned(finding, is_denied) for finding in named]
    if out and carried:
        # "Infarction in the inferior leads": a site behind its finding.
        named = _named(last[0] | carried)
        out[last[2] :] = [_turned(finding, last[1]) for finding in named]
    if not out and len(pieces) > 1:
        # "ventricles captured by a pacemaker": words that only mean something together.
        together = frozenset().union(*(p for p, _ in pieces))
        out = [_turned(finding, pieces[-1][1]) for finding in _named(together)]
    return out


def _without_implied(findings: Sequence[AskedFinding]) -> list[AskedFinding]:
    lexicon = _lexicon()
    implied = {
        (name, f.negated) for f in findings for name in lexicon.implied.get(f.finding, frozenset())
    }
    kept = [f for f in findings if (f.finding, f.negated) not in implied]
    strong = [f for f in kept if f.finding not in lexicon.weak]
    # "Sinus bradycardia, otherwise normal": a conclusion beside findings is no question of its own.
    return strong or kept


def _turned(finding: str, negated: bool) -> AskedFinding:
    """ "Nothing abnormal" is a normal ECG, and so is "no finding"."""
    if finding == "abnormal_ecg":
        return AskedFinding("normal_ecg", not negated)
    return AskedFinding(finding, negated)


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


def _ejection_fraction(plain: str) -> AskedFinding | None:
    """A comparison of the ejection fraction with a number; None where there is none.

    Raises
    ------
    ConfigError
        A number is compared that the model cannot know.
    """
    sign = rf"(?P<sign>{_BELOW}|{_ABOVE})"
    for name, words in _MEASURED.items():
        if re.search(rf"\b{words}(?: is| of)?\s*{sign}\s*\d", plain):
            raise ConfigError(
                f"{name} is measured, not asked: read it from the window on ECG paper. Ask for a "
                "finding instead, such as sinus bradycardia."
            )
    match = re.search(rf"\b{_EF}(?: is| of)?\s*{sign}\s*(?P<pct>\d{{1,2}})\b", plain)
    if match is None:
        return None
    above = re.fullmatch(_ABOVE, match["sign"]) is not None
    denials = {words[0] for words in _lexicon().before if len(words) == 1}
    denied = bool(denials & set(plain[: match.start()].split()))
    return AskedFinding("lvef_below", denied != above, float(match["pct"]))


def _clauses(tokens: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """Clauses, and whether each is an entry of a list that goes on: a comma, and an "or" later."""
    lexicon = _lexicon()
    clause: list[str] = []
    for at, token in enumerate(tokens):
        if token in _PUNCTUATION or token in lexicon.breaks:
            following = tokens[at + 1 :]
            end = next(
                (i for i, t in enumerate(following) if t in ".;!?" or t in lexicon.breaks),
                len(following),
            )
            goes_on = token == "," and not lexicon.alternatives.isdisjoint(following[:end])
            if clause:
                yield clause, goes_on
            clause = []
        else:
            clause.append(token)
    if clause:
        yield clause, False


def _units(clause: Sequence[str]) -> tuple[list[_Unit], list[str]]:
    """The words of a clause as concepts, denials and joints; and those that mean nothing."""
    lexicon = _lexicon()
    units: list[_Unit] = []
    unknown: list[str] = []
    at = 0
    while at < len(clause):
        for n in range(min(lexicon.longest, len(clause) - at), 0, -1):
            span = tuple(clause[at : at + n])
            if span in lexicon.phrases:
                units.append(_Unit("word", lexicon.phrases[span]))
            elif span in lexicon.after and units and at + n == len(clause):
                units.append(_Unit("after"))
            elif span in lexicon.before:
                units.append(_Unit("before"))
            elif n == 1 and span[0] in lexicon.joints:
                units.append(_Unit("joint"))
            elif n == 1:
                word = span[0]
                stem = next((c for s, c in lexicon.stems.items() if word.startswith(s)), None)
                if stem is not None:
                    units.append(_Unit("word", stem))
                elif word not in lexicon.filler and not word.isdigit():
                    unknown.append(word)
            else:
                continue
            at += n
            break
    return units, unknown


def _named(concepts: frozenset[str]) -> list[str]:
    """Findings of a set of concepts: the largest rule that fits, then among what it left."""
    lexicon = _lexicon()
    findings: list[str] = []
    left = concepts
    for needed, finding in lexicon.rules:
        if needed <= left:
            findings.append(finding)
            left = left - needed
    return [f for f in findings if f not in lexicon.weak] or findings


def _corrected(tokens: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Each unknown word of five letters or more, exchanged for a known one that is near."""
    lexicon = _lexicon()
    out: list[str] = []
    corrections: list[tuple[str, str]] = []
    for token in tokens:
        if (
            len(token) < _SHORTEST_CORRECTED
            or token in lexicon.vocabulary
            or token in lexicon.not_misspelt
            or not token.isalpha()
            or any(token.startswith(stem) for stem in lexicon.stems)
        ):
            out.append(token)
            continue
        best = _nearest(token, lexicon.vocabulary)
        if best is not None:
            corrections.append((token, best))
        out.append(best or token)
    return out, corrections


@lru_cache(maxsize=20_000)
def _nearest(word: str, vocabulary: frozenset[str]) -> str | None:
    """The known word with the fewest letters to change, of the same first letter."""
    limit = 1 if len(word) < _LONG_WORD else 2
    best: tuple[int, str] | None = None
    for known in vocabulary:
        if abs(len(known) - len(word)) > limit or len(known) < _SHORTEST_CORRECTED - 1:
            continue
        if known[0] != word[0]:
            continue
        apart = _edits(word, known, limit)
        if apart <= limit and (best is None or (apart, known) < best):
            best = (apart, known)
    return best[1] if best else None


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
            _capital(WORDING[asked.finding].machine),
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


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _denied(title: str) -> str:
    """The title of the opposite question; abbreviations stay as they are."""
    if " < " in title:
        return title.replace(" < ", " >= ")
    first = title.split()[0]
    small = title if first.isupper() or "-" in first else title[:1].lower() + title[1:]
    return f"No {small}"
