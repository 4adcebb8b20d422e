"""Left ventricular ejection fraction in the sentences of an echo report.

A statement is a mention of the term (`EF_TERM`) with the values that follow it, or stand right
before it. Each value is of this examination or of an earlier one, which the words around it decide;
conditions ("ICD if EF < 35 %"), normal ranges and other measures are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from echoing_core.reports.echo_text.sentences import NUMBER, Sentence, number_of

# Values of `Lvef.kind`.
NUMBER_KIND, RANGE, AT_LEAST, AT_MOST, WORDS = "number", "range", "at least", "at most", "words"

GRADE_LIMITS_PCT: dict[str, tuple[float, float]] = {
    "hyperdynamic": (65.0, 100.0),
    "normal": (50.0, 100.0),
    "low normal": (50.0, 55.0),
    "mildly reduced": (40.0, 52.0),
    "mildly to moderately reduced": (35.0, 46.0),
    "moderately reduced": (30.0, 40.0),
    "moderately to severely reduced": (25.0, 36.0),
    "severely reduced": (0.0, 30.0),
    "reduced": (0.0, 52.0),
}
"""What a word means in percent (Lang et al., J Am Soc Echocardiogr 2015;28:1, table 4, rounded to
one limit for both sexes)."""


@dataclass(frozen=True)
class Lvef:
    """One statement of the ejection fraction.

    Attributes
    ----------
    pct : float or None
        The number, the middle of a range, or the limit of "> 55 %"; None of words alone.
    low_pct, high_pct : float
        Limits that the statement gives, 0 and 100 where it gives none.
    kind : str
        ``"number"``, ``"range"``, ``"at least"``, ``"at most"`` or ``"words"``.
    grade : str or None
        A key of `GRADE_LIMITS_PCT`, of words.
    method : str or None
        ``"3D"``, ``"biplane"``, ``"visual"``.
    past : bool
        Stated of an earlier examination.
    start, end : int
        Place in the report, so that ``report[start:end] == text``.
    text : str
        The words as written.
    """

    pct: float | None
    low_pct: float
    high_pct: float
    kind: str
    grade: str | None
    method: str | None
    past: bool
    start: int
    end: int
    text: str

    def below(self, threshold_pct: float) -> bool | None:
        """Whether it lies below a threshold; None where the statement does not decide it.

        A range counts by its middle, "moderately reduced" (30 to 40) as below 40.

        Parameters
        ----------
        threshold_pct : float
            In percent.
        """
        if self.kind in (NUMBER_KIND, RANGE) and self.pct is not None:
            return self.pct < threshold_pct
        if self.high_pct <= threshold_pct:
            return True
        return False if self.low_pct >= threshold_pct else None


# "ejection fraction" with its misspellings ("ejecton fracton", "egection frxn").
_EJECTION = r"e[jg]\w{2,8}\s+f(?:r|x)\w{0,8}"
EF_TERM = re.compile(
    rf"\b(?:(?:lv|l\.v\.)[- ]?e\.?f\b\.?|(?:left\s+ventric\w+\s+|lv\s+)?{_EJECTION}|e\.?f\b\.?"
    r"|ejection\s+frac\w*)(?!\s+slope)"
)
# Whose ejection fraction it is, if not the left ventricle's.
_OTHERS = re.compile(
    r"(?:\brv|right\s+ventric\w+(?:\s+\w+)?|\bla|\bra|(?:left|right)\s+atri\w+(?:\s+\w+)?"
    r"|gall\s?bladder|\bgb|atrial|regurgitant)\s*$"
)
# Parts of a value: a bound, one or two numbers, their percent signs, a plus behind.
_PERCENT = r"(?:%|per\s?cent|pct\b|prcnt|pc\b)"
_BOUND = (
    r"(?P<bound>>\s?/?=|=\s?>|<\s?/?=|=\s?<|>|<|≥|≤|\+/-|(?:no|not)\s+(?:more|greater|higher)\s+than|(?:greater|more|higher|better)\s+than(?:\s+or"
    r"\s+equal\s+to)?|over|above|at\s+least|exceeds|(?:less|lower)\s+than(?:\s+or\s+equal\s+to)?"
    r"|below|under|at\s+most|up\s+to)?"
)
_VALUE = re.compile(
    rf"{_BOUND}\s*(?<![\w./])(?P<a>{NUMBER})(?![\d/]|\.\d)\s*(?P<pa>{_PERCENT})?"
    rf"(?:\s*(?P<sep>-|to|and|/|~)\s*(?P<b>{NUMBER})(?![\d/]|\.\d)\s*(?P<pb>{_PERCENT})?)?"
    r"(?P<plus>\s?\+(?![/\d]))?"
)
# "mid 40s", "low to mid 50's": the range of values in `_values_of`.
_DECADE = re.compile(
    r"(?P<part>low|mid|upper|high)?(?:dle)?[- ]*(?:to[- ])?(?P<ten>[2-8]0)'?\s?s\b"
)
# A number without a percent sign is no percentage before one of these.
_UNIT_AFTER = re.compile(
    r"\s*(?:mm|cm|m/s|ml|l/min|year|yr|y/?o|bpm|beat|week|wk|day|month|mo\b|kg|g\b|msec|ms\b|pack"
    r"|[a-z]{3,}-?year|°|am\b|pm\b|:\d|x\b|french|mg|hour|hr|frames|d\b|ch\b|chamber|st\b|nd\b|th\b)"
)
# Words after which a percentage is not that of the ejection fraction.
_OTHER_MEASURE = re.compile(
    r"fractional\s+short|\bfs\b|\bgls\b|strain|\brv\b|\brvef|right\s+ventric|tapse|stenos(?:is|ed)|"
    r"occlu|\blad\b|\brca\b|\blcx\b|\blm\b|satur|\bspo2|\bo2\b|regurgitant\s+f|\brf\b|\bfac\b|"
    r"collaps|variation|infarct\s+size|scar|\bhct\b|hematocrit|predicted|confidence|carotid|"
    r"atrial\s+ej|respiratory|burden|pacing|paced|percentile|target\s+heart|\bmphr\b|max\w*\s+pred"
)
# Criteria, goals and questions: the value after these is nobody's.
_HYPOTHETICAL = re.compile(
    r"\b(?:if|should|unless|criteri\w+|would|threshold|cut-?off|goal|target|indicated\s+(?:for|when|in)"
    r"|defined\s+as|patients\s+with|in\s+case|when\s+(?:the\s+)?(?:lv)?ef\s+(?:falls|drops)|whether"
    r"|eligib\w+|trial|study\s+enroll\w+|guideline\w*|evaluate\s+for)\b"
)
# Before the normal value of a table.
_REFERENCE = re.compile(
    r"\b(?:nl|ref(?:erence)?|normal\s+(?:range|value|limit|is)|normals?|norm|range)\b[\s:=(]*$"
)
# Of an earlier time, before a value. De-identified dates are runs of underscores.
_PAST = re.compile(
    r"\b(?:previous\w*|prior\w*|prev|formerly|former|earlier|old|last|baseline|compared\s+(?:to|with)"
    r"|versus|vs|from|history\s+of|h/o|hx|was\s+once|used\s+to\s+be|in\s+the\s+past|past|known"
    r"|pre-?\s?(?:op\w*|treatment|crt|tavr|procedure|chemo\w*|bypass)|initial(?:ly)?|had\s+been|outside|nadir"
    r"|before|(?:in|of|from|since)\s+(?:19|20)\d\d|in\s+_{2,}|(?:19|20)\d\d|ago|pmh\w*)\b"
    r"|[,;(]\s*(?:it\s+)?was\b"
)
# Of this examination again: of the last word of either kind before a value, this decides.
_NOW = re.compile(
    r"\b(?:now|current\w*|today\w*|present(?:ly)?|at\s+present|this\s+(?:study|exam\w*|time)|repeat\w*"
    r"|latest|most\s+recent|(?:improved|increased|decreased|declined|fallen|dropped|risen|recovered|"
    r"reduced|normali[sz]ed|worsened|rose|fell|up|down|gone)\s+(?:up\s+|down\s+)?(?:back\s+)?to|"
    r"has\s+\w+ed|is|post-?\s?(?:op\w*|treatment|crt|tavr|procedure|bypass))\b|->|=>|→"
)
# Of an earlier time, after a value: "30 % in 2015"; but not "55 %, unchanged from before".
_PAST_AFTER = re.compile(
    r"^(?!\W*(?:\w+\s+){0,3}?(?:since|compared|than|from|unchanged|vs|versus|relative|similar)\b)"
    r"\s*\)?\s*(?:\w+\s+){0,3}?\(?(?:previously|prior\b|before\b|earlier|formerly|initially"
    r"|at\s+baseline|in\s+(?:19|20)\d\d|\(?(?:19|20)\d\d|in\s+_{2,}|last\s+(?:year|month|week|\w+)"
    r"|\w+\s+(?:years?|months?|weeks?|days?)\s+ago|on\s+(?:the\s+)?(?:prior|previous|last|outside))"
)
# "Compared with the study of ___, LVEF is 55 %": the past ends at the comma.
_COMPARED = re.compile(
    r"^(?:[^%]*?)\b(?:compared|comparison|since|relative)\b[^,%]*?(?:,|\)|_{2,})(?!\d)"
)
# "Prior LVEF is 30 %": the word belongs to the term itself, whatever verb follows.
_STRONG_PAST = re.compile(
    rf"\b(?:prior|previous|last|old|former|baseline|outside|earlier)(?:\s+[\w']+){{0,3}}?\s+"
    rf"(?:lv)?(?:{_EJECTION}|e\.?f\b)"
)
_METHODS = (
    ("3D", re.compile(r"\b3[- ]?d\b|three[- ]dimension")),
    (
        "biplane",
        re.compile(r"bi-?\s?plane|simps\w+|simpson|\bmod\s?bp\b|\bbp\b|method\s+of\s+dis[ck]"),
    ),
    ("visual", re.compile(r"visual\w*|eyeball\w*|estimat\w+|qualitativ\w+")),
)


@dataclass(frozen=True)
class _Value:
    """A value and its place in the sentence."""

    pct: float
    low_pct: float
    high_pct: float
    kind: str
    start: int
    end: int


def lvef_numbers(sentence: Sentence) -> Iterator[Lvef]:
    """Statements with a number; those of an earlier time are marked.

    Yields
    ------
    Lvef
        In the order of the text.
    """
    text = sentence.text
    terms = [t for t in EF_TERM.finditer(text) if not _OTHERS.search(text[: t.start()])]
    done = 0
    for i, term in enumerate(terms):
        end = terms[i + 1].start() if i + 1 < len(terms) else len(text)
        # Beyond 160 characters a number belongs to something else, and the search stays short.
        values = list(_after(text, term.end(), min(end, term.end() + 160)))
        if not values or re.search(r"[,;]", text[term.end() : values[0].start]):
            values = [*_before(text, term.start(), done), *values]
        if not values or _HYPOTHETICAL.search(text[done : values[0].start]):
            continue
        opening = done
        for k, value in enumerate(values):
            if k and _is_reference(text, values[k - 1], value):
                continue
            following = values[k + 1].start if k + 1 < len(values) else end
            n_past = _past_after(text[value.end : following], last=following == end)
            past = bool(n_past) or _is_past(text[opening : value.start])
            start = sentence.start + (term.start() if k == 0 else value.start)
            stop = sentence.start + max(value.end, term.end() if k == 0 else 0)
            first = min(start, sentence.start + value.start)
            yield Lvef(
                value.pct,
                value.low_pct,
                value.high_pct,
                value.kind,
                None,
                _method(text, opening, value, following),
                past,
                first,
                stop,
                sentence.original[first - sentence.start : stop - sentence.start],
            )
            opening = value.end + n_past
        done = opening


def _after(text: str, start: int, end: int) -> Iterator[_Value]:
    """Values after a mention, until another measure begins."""
    blocked = _OTHER_MEASURE.search(text, start, end)
    end = blocked.start() if blocked else end
    first = True
    for match in _decades_and_values(text, start, end):
        values = _values_of(text, match, gap=text[start : match.start()] if first else None)
        if values:
            first = False
            yield from values


def _before(text: str, end: int, done: int) -> Iterator[_Value]:
    """A value right before a mention: "a 35 % EF"."""
    for match in _VALUE.finditer(text, done, end):
        gap = text[match.end() : end]
        if (match["pa"] or match["pb"]) and re.fullmatch(
            r"[\s(]*(?:(?:left\s+ventricular|lv|calculated|estimated|visual|biplane|systolic)\s*)*",
            gap,
        ):
            yield from _values_of(text, match, gap=None)


def _decades_and_values(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """Matches of `_VALUE` and `_DECADE` in the order of the text, none inside another."""
    place = start
    while place < end:
        value, decade = _VALUE.search(text, place, end), _DECADE.search(text, place, end)
        # "low 50s" begins before the number in it.
        if decade and (value is None or decade.start("ten") <= value.start("a")):
            value = decade
        if value is None:
            return
        yield value
        place = value.end()


# Words between the term and a number without a percent sign: "EF is estimated at 55".
_CLOSE = re.compile(
    r"[\s:=~,(\-*>|]*(?:(?:is|was|of|at|about|approx\w*\.?|around|roughly|circa|ca\.?|estimated|est\.?|to|be"
    r"|now|currently|today|the|by|visually|visual|estimate|biplane|simpson'?s?|method|range|in|calculated|"
    r"measured|equals?|appears|seems|between|from|a|an|value|lv|3d|2d|\(?[a-z]?\d?[a-z]?\)?)[\s:=~,()\-*.]*)*"
)


def _values_of(text: str, match: re.Match[str], *, gap: str | None) -> list[_Value]:
    """Values of a match: two of a change, none where it is no ejection fraction.

    ``gap`` is what stands between the term and the match; None where another value stands there.
    """
    if match.re is _DECADE:
        ten = float(match["ten"])
        low, high = {
            "low": (ten, ten + 3),
            "mid": (ten + 4, ten + 6),
            "upper": (ten + 7, ten + 9),
            "high": (ten + 7, ten + 9),
        }.get(match["part"] or "", (ten, ten + 9))
        return [_Value((low + high) / 2, low, high, RANGE, match.start(), match.end())]
    bound, a, b = match["bound"], number_of(match["a"]), match["b"]
    end = match.end()
    percent = bool(match["pa"] or match["pb"])
    # "EF 55 and 60" are two things unless it says "between".
    if match["sep"] == "and" and "between" not in text[: match.start()][-25:]:
        b = None
    if b is not None and _UNIT_AFTER.match(text, end) and not match["pb"]:
        b = None
    if b is None:
        end = match.end("pa") if match["pa"] else match.end("a")
        percent = bool(match["pa"])
    bare = not percent and (_UNIT_AFTER.match(text, end) or gap is None)
    if bare or (not percent and not _CLOSE.fullmatch(gap or "")):
        return []
    values = [a] if b is None else [a, number_of(b)]
    # A share such as 0.35.
    if all(value < 1.0 for value in values):
        values = [round(100 * value, 1) for value in values]
    # No heart ejects less or more: what lies outside is a grade, a date or a misprint.
    if any(not 4.0 <= value <= 95.0 for value in values):
        return []
    start = match.start("bound") if bound else match.start("a")
    if bound == "+/-":
        return []
    if len(values) == 2:
        if _is_change(text[: match.start()]) or values[0] > values[1]:
            middle = match.start("b")
            return [
                _Value(values[0], values[0], values[0], NUMBER_KIND, start, match.start("sep")),
                _Value(values[1], values[1], values[1], NUMBER_KIND, middle, end),
            ]
        return [_Value(sum(values) / 2, values[0], values[1], RANGE, start, end)]
    value = values[0]
    if match["plus"] and b is None:
        return [_Value(value, value, 100.0, AT_LEAST, start, end)]
    if (bound and bound[0] in "<≤lbu") or (
        bound and bound.startswith(("at most", "=<", "= <", "no"))
    ):
        return [_Value(value, 0.0, value, AT_MOST, start, end)]
    if bound:
        return [_Value(value, value, 100.0, AT_LEAST, start, end)]
    return [_Value(value, value, value, NUMBER_KIND, start, end)]


def _is_change(before: str) -> bool:
    """Whether "30 to 55" is from then to now and not a range."""
    return bool(
        re.search(r"\bfrom\s*(?:about|approximately|approx\.?|an?\s+\w+\s+of|~)?\s*$", before)
        and not re.search(r"rang\w+\s+from\s*$", before)
    )


def _is_reference(text: str, previous: _Value, value: _Value) -> bool:
    """Whether a value is the normal one, printed beside the patient's."""
    between = text[previous.end : value.start]
    if _REFERENCE.search(between):
        return True
    # Tables print the normal value in the next column, with nothing but space between.
    return value.kind in (AT_LEAST, AT_MOST) and not between.strip(" |\t")


def _past_after(after: str, *, last: bool) -> int:
    """How many characters after a value put it into the past: "30 % in 2015", "25 % -> 45 %"."""
    arrow = re.match(r"\s*(?:=>|→|to\s+\d)", after)
    if arrow and not last:
        return arrow.end()
    past = _PAST_AFTER.match(after)
    if past is None:
        return 0
    # "55 % (previously 30 %)": the word belongs to the value that follows it.
    return past.end() if last or re.search(r"[,;)]|\b(?:now|and|to)\b", after[past.end() :]) else 0


def _is_past(before: str) -> bool:
    """Whether the words before a value, from the value before it on, put it into the past."""
    strong = _STRONG_PAST.search(before)
    trimmed = _COMPARED.sub("", before)
    strong = strong if strong and strong.start() >= len(before) - len(trimmed) else None
    past = [m.end() for m in _PAST.finditer(trimmed)]
    now = [m.end() for m in _NOW.finditer(trimmed)]
    if strong:
        now = [m.end() for m in _NOW.finditer(trimmed) if m.group() != "is"]
    if now and (not past or now[-1] > past[-1]):
        return False
    return bool(past)


def _method(text: str, start: int, value: _Value, end: int) -> str | None:
    """Method named in the clause of a value; the most exact one of several."""
    clause = text[start : value.end] + re.split(r"[,;]|\band\b", text[value.end : end])[0]
    for name, pattern in _METHODS:
        if pattern.search(clause):
            return name
    return None
