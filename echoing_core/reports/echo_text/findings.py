"""Findings, systolic function and measures in the sentences of an echo report, by rules.

A finding is a mention (a pattern below) with a grade, which is taken from the words before it in
its clause or, failing these, right after it; "no" before or "not seen" after it make the grade
"none". Whether it is certain, and whether it is of this examination, is decided by the words of
its clause, too. Every pattern is written for the text of a `Sentence`: lower case, plain hyphens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from echoing_core.reports.echo_text.sentences import (
    GRADE,
    GRADE_PATTERN,
    NUMBER,
    PRESENT,
    Sentence,
    grade_in,
    grade_of,
    number_of,
)

FINDINGS: tuple[str, ...] = (
    "lv_hypertrophy",
    "lv_dilation",
    "la_dilation",
    "ra_dilation",
    "rv_dilation",
    "rv_dysfunction",
    "wall_motion_abnormality",
    "aortic_stenosis",
    "aortic_regurgitation",
    "mitral_stenosis",
    "mitral_regurgitation",
    "tricuspid_regurgitation",
    "pericardial_effusion",
    "pulmonary_hypertension",
)

NONE = "none"
"""Grade of a finding that is denied."""


@dataclass(frozen=True)
class Finding:
    """One finding as a report has it.

    Attributes
    ----------
    name : str
        One of `FINDINGS`.
    grade : str
        One of `GRADES`, or ``"present"`` where none is stated. Of an effusion, small is mild and
        large severe.
    certain : bool
        False of what is possible or cannot be excluded.
    past : bool
        Stated of an earlier time.
    start, end : int
        Place of the mention in the report, so that ``report[start:end] == text``.
    text : str
        The mention as written.
    """

    name: str
    grade: str
    certain: bool
    past: bool
    start: int
    end: int
    text: str

    @property
    def present(self) -> bool | None:
        """None where it is not certain."""
        return self.grade != NONE if self.certain else None


@dataclass(frozen=True)
class LvFunction:
    """What words say of a ventricle's systolic function.

    Attributes
    ----------
    grade : str
        A key of `lvef.GRADE_LIMITS_PCT`.
    past : bool
        Stated of an earlier time.
    start, end : int
        Place in the report.
    text : str
        The words as written.
    """

    grade: str
    past: bool
    start: int
    end: int
    text: str


# Words before a mention that deny it.
_NO = re.compile(
    r"\b(?:no|not|without|w/o|denies|absent|absence\s+of|negative\s+for|free\s+of|nor|neither|never|non"
    r"|ruled\s+out|resolved|resolution\s+of|none|excluded|nil)\b"
)
# Words after a mention that deny it: "effusion: none", "thrombus is not seen". Within 30
# characters and without a comma between, so that they belong to this mention.
_NO_AFTER = re.compile(
    r"^[^,;]{0,30}?\b(?:(?:is|are|was|were)\s+(?:not\b|absent|excluded)|not\s+(?:seen|present|noted"
    r"|detected|identified|appreciated|visuali[sz]ed|evident)|absent|none|(?:has|have)\s+resolved"
    r"|resolved|nil)\b|^\s*[:=-]\s*no(?:ne)?\b|^\s*\(-\)"
)
# Where a clause begins anew: a "no" before such a word does not reach beyond it.
_TURN = re.compile(
    r"\b(?:but|however|although|though|except|while|whereas|apart\s+from|other\s+than"
    r"|there\s+(?:is|are)|and\s+(?:there|a)\b|with(?!\s*in\b|out))\b|[:;]"
)
# "no more than mild" is mild.
_NOT_MORE = re.compile(r"\b(?:no(?:t)?|nothing)\s+(?:more|greater|worse)\s+than\s*$")
# Doubt, and questions of the referring doctor ("evaluate for"), make a finding uncertain.
_MAYBE = re.compile(
    r"\b(?:possibl[ey]|probabl[ey]|cannot\s+(?:be\s+)?(?:exclude|rule)\w*|can't\s+(?:exclude|rule)"
    r"|may\s+(?:be|have)|question\s+of|suspect\w*|suspicio\w+|concern\w*\s+for|suggest\w+|r/o"
    r"|rule\s+out|evaluate\s+for|assess\s+for|eval\s+for|indication|reason\s+for)\b|\?"
)
_MAYBE_AFTER = re.compile(
    r"^[^,;]{0,20}?\b(?:cannot\s+be|is\s+possible|not\s+excluded|can\s*not)\b|^\s*\?"
)
# Earlier times, unless the same clause says that it holds now: "known MR remains moderate".
_PAST = re.compile(
    r"\b(?:history\s+of|h/o|hx\s+of|previous(?:ly)?|prior|s/p|status\s+post|formerly|pmh\w*"
    r"|known)\b"
)
_NOW = re.compile(r"\b(?:now|current\w*|today|is|are|remains?|compared|unchanged|persist\w+)\b")
# What may stand between items of a list that share one grade: "mild MR and TR".
_JOINT = re.compile(r"[\s,/&]*(?:(?:and|or|nor|the|any|also|a)\b[\s,/&]*)*")

# Valves. "(re)gurg", "insuf" and "incompeten" in all their forms and usual misspellings; "AR PHT"
# is a pressure half time and no regurgitation, "Mr. ___" a person. The last entry, without a name,
# takes what belongs to the pulmonary valve or to a prosthesis' rim out of the text.
_REG = r"(?:re?gurg\w*|regurig\w*|insuf\w*|incompeten\w+)"
_STEN = r"stenos[ie]s|stenotic"
_VALVES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "aortic_regurgitation",
        re.compile(rf"aortic\s+(?:valve\s+|valvular\s+)?{_REG}|\b(?:ar|ai)\b(?!\s*[=:]?\s*pht)"),
    ),
    ("aortic_stenosis", re.compile(rf"aortic\s+(?:valve\s+|valvular\s+)?(?:{_STEN})")),
    (
        "mitral_regurgitation",
        re.compile(rf"mitral\s+(?:valve\s+|valvular\s+)?{_REG}|\bmr\b(?!\.?\s+_)"),
    ),
    ("mitral_stenosis", re.compile(rf"mitral\s+(?:valve\s+|valvular\s+)?(?:{_STEN})")),
    (
        "tricuspid_regurgitation",
        re.compile(
            rf"tricuspid\s+(?:valve\s+|valvular\s+)?{_REG}"
            r"|\btr\b(?!\s*(?:gradient|jet|vel|vmax|max|peak|pg))"
        ),
    ),
    (
        "",
        re.compile(
            rf"pulmon\w+\s+(?:valve\s+|valvular\s+)?(?:{_REG}|{_STEN})"
            rf"|tricuspid\s+(?:valve\s+)?(?:{_STEN})|perivalvular|paravalvular"
        ),
    ),
)
# "Aortic valve: moderate stenosis" names the valve before, and not beside, what is wrong with it.
_BARE = re.compile(rf"\b(?P<what>{_REG}|{_STEN})")
_VALVE_NAMED = re.compile(
    r"\b(?:(?P<a>aortic\s+valve|aortic\s+leaflets|aortic\s+(?:regurg|insuf|stenos)\w+|av\s*:|aortic\s*:)"
    r"|(?P<m>mitral(?:\s+valve|\s+leaflets)?|mv\s*:)|(?P<t>tricuspid(?:\s+valve)?|tv\s*:)"
    r"|(?P<p>pulmon\w+\s+valve|pv\s*:))"
)
_NAME_OF = {
    "ar": "aortic_regurgitation",
    "as": "aortic_stenosis",
    "mr": "mitral_regurgitation",
    "ms": "mitral_stenosis",
    "tr": "tricuspid_regurgitation",
}
# Two letters that are also a word, a title or a unit count only as capitals among small letters,
# or after a grade or a "no".
_SHORT = (
    (
        "aortic_stenosis",
        re.compile(
            r"\bas\b(?!\s+(?:well|a|an|the|described|above|noted|seen|per|compared|before|of|in|to"
            r"|it)\b)"
        ),
    ),
    ("mitral_stenosis", re.compile(r"\bms\b(?!\.)")),
)
_GRADED_BEFORE = re.compile(
    rf"(?:(?:{GRADE_PATTERN})|\b(?:no|or|nor|calcific|significant|for|of|and)|/)[\s,]*$"
)

# An effusion alone counts where the sentence goes on to the pericardium; a pleural one never.
_EFFUSION = re.compile(
    r"pericard\w+\s+(?:fluid\s+)?(?:eff?usions?|fluid)"
    r"|(?<!pleural )\beffusions?\b(?=[^.]*pericard)|(?<=pericardium:\sno\s)effusion"
)
_PH = re.compile(
    r"pulmonary\s+(?:artery\s+|arterial\s+|venous\s+)?(?:systolic\s+)?h(?:yper)?te?nsion|\bphtn\b"
    r"|pulm\w*\.?\s+(?:htn|hypertension)|\bpah\b"
)
# "PA systolic pressure is mildly elevated" is pulmonary hypertension without its name.
_PA_PRESSURE = re.compile(
    r"(?:pulmonary(?:\s+arter\w+)?|\bpa\b|right\s+ventricular|\brv\b)\s*(?:peak\s+)?(?:systolic\s+)?"
    r"(?:pressure)s?|\bpasp\b|\brvsp\b"
)
# "wall motion is ..." (`plain`) says nothing yet; all other forms are abnormal by themselves.
_MOTION = re.compile(
    r"wall[- ]*motion\s+(?:abn\w+|defect\w*)|(?P<plain>wall[- ]*motion\s*(?:\bis\b|\bwas\b"
    r"|appears|:))|\brwmas?\b|\bwmas?\b"
    r"|(?:hypo|a|dys)kine\w+|kinetic\s+abn\w+"
    r"|aneurysm\w*(?=[^.]*\b(?:apex|apical|lv|left\s+vent))"
)

# Chambers and what is said of them. The groups `rvx`, `lvx` and `other` are no chambers: they
# keep "left ventricular outflow tract is dilated" from being said of the left ventricle.
_SUBJECT = re.compile(
    r"(?P<biv>\bbi-?ventric\w+|both\s+ventricles|left\s+(?:and|or)\s+right\s+ventric\w+)"
    r"|(?P<bia>\bbi-?atrial|both\s+atria|left\s+(?:and|or)\s+right\s+atri\w+)"
    r"|(?P<four>(?:all\s+)?four\s+chambers?|all\s+chambers)"
    r"|(?P<rvx>right\s+ventricular\s+(?:outflow|inflow)|rvot|pacer|pacing)"
    r"|(?P<lvx>left\s+ventricular\s+outflow|lvot)"
    r"|(?P<lv>left\s+(?:ventric\w+|vent\b)|\blv(?:edd|idd?|id|h)?\b|\bl\.?v\b)"
    r"|(?P<rv>right\s+(?:ventric\w+|vent\b)|\brv\b)"
    r"|(?P<la>left\s+atri\w+|\bla\b|\blae\b)|(?P<ra>right\s+atri\w+|\bra\b|\brae\b)"
    r"|(?P<atria>\batria\b|\batrial(?=\s+siz))"
    r"|(?P<other>aort\w+|\bivc\b|inferior\s+vena|sinus(?:es)?\s+of|annul\w+|coronary|root"
    r"|pulmonary\s+arter\w+|main\s+pa\b|hepatic|leaflet\w*|valve\w*|pericard\w+)"
)
_CHAMBERS: dict[str, tuple[str, ...]] = {
    "biv": ("lv", "rv"),
    "bia": ("la", "ra"),
    "four": ("lv", "rv", "la", "ra"),
    "atria": ("la", "ra"),
    "lv": ("lv",),
    "rv": ("rv",),
    "la": ("la",),
    "ra": ("ra",),
}
# What may stand between a grade and the word that it grades: "mild concentric hypertrophy".
_GRADE_GAP = (
    r"[\s,]*(?:(?:concentric|eccentric|symmetric\w*|global|overall|degree\s+of|generali[sz]ed"
    r"|diffuse|focal|\(?\d\+\)?)[\s,]*)*"
)
_NORMAL = r"(?:within\s+)?(?:normal|nl|wnl)"
# "Wall thickness, cavity size and systolic function are normal."
_ALL_NORMAL = (
    r"(?=(?:(?!\bis\b|dilat|enlarg|increas|\bwith\b|thicken)[^.;:]){0,80}?\b(?:are|were)\s+(?:all\s+)?"
    r"(?:normal|within\s+normal|wnl))"
)
_IS = r"\s*(?:is|are|was|were|:|=|appears)"
# Group `big` is a dilation, `normal` denies it, `lae` names its chamber ("LAE", "RAE").
_DILATED = re.compile(
    r"(?P<big>di?lat\w+|dialat\w+|enlarge\w*|increased\s+in\s+size"
    r"|(?:size|volume\w*|cavity|diameter)\s+(?:index\s+)?(?:is|are)\s+(?:\w+\s+){0,3}?increased)"
    r"|(?P<lae>\blae\b|\brae\b)"
    r"|(?P<normal>(?:normal|nml|nl|not\s+enlarged)(?:[- ]+(?:in\s+)?(?:cavity\s+|chamber\s+"
    r"|internal\s+)?(?:size|sized|dimensions?|volumes?))"
    r"|(?:size|dimensions?|volumes?|diameters?)(?:\s+and\s+(?:wall\s+thickness(?:es)?"
    rf"|(?:systolic\s+)?function))?(?:{_IS})?\s*{_NORMAL}|of\s+normal\s+size"
    r"|(?:normal|nl)\s+(?:(?:left|right|lv|rv|la|ra|atri\w+|ventric\w+|biventric\w+|biatrial|chamber"
    r"|cavity|and|internal)\s+){1,4}(?:sizes?|dimensions?|volumes?)"
    rf"|(?:sizes?|dimensions?|volumes?){_ALL_NORMAL})"
)
# As `_DILATED`; "wall thickness is increased" counts as hypertrophy.
_HYPERTROPHY = re.compile(
    r"(?P<lvh>\blvh\b)|(?P<big>hyper?trop\w+|hypertophy"
    r"|thick\w+\s+(?:\w+\s+){0,2}?(?:left\s+ventricular|lv)\s+walls?"
    r"|walls?\s+(?:is|are)\s+(?:\w+\s+){0,3}?thick\w*"
    rf"|wall\s+thick\w+(?:{_IS})?\s*(?:\w+\s+){{0,3}}?(?:increas\w+|elevated)"
    r"|increas\w+\s+(?:\w+\s+){0,3}?wall\s+thick\w+)"
    r"|(?P<normal>wall\s+thick\w+(?:\s+of\s+the\s+(?:lv|left\s+ventric\w+))?(?:\s*,?\s*(?:and\s+)?(?:cavity\s+|chamber\s+)?(?:size"
    rf"|dimensions?|volumes?)?)?(?:{_IS})?\s*{_NORMAL}"
    r"|normal\s+(?:\w+\s+){0,3}?wall\s+thick\w*"
    rf"|wall\s+thick\w+{_ALL_NORMAL}"
    r"|normal\s+(?:in\s+)?(?:cavity\s+)?size,?\s+(?:and\s+)?wall\s+thick\w*)"
)
# Mentions of function. `dia` (diastolic) is skipped; `fun` needs a word of `_FUNCTION_WORD` near
# it; `dys`, `hypo` and `state` say by themselves that it is reduced (or hyperdynamic).
_FUNCTION = re.compile(
    r"(?P<dia>diastolic\s+(?:dys)?function|diastolic\s+relaxation)"
    r"|(?P<dys>(?:systolic\s+|contractile\s+)?dysfunction|systolic\s+failure)"
    r"|(?P<fun>(?:systolic\s+|contractile\s+|pump\s+)?(?:fu\w{3,7}on|contractility"
    r"|contraction|performance)|ejection\s+fraction|\b(?:lv)?ef\b(?!\s+slope)|free\s+wall\s+motion)"
    r"|(?P<hypo>(?:global\w*|diffuse\w*)(?:\s+\w+){0,3}?\s+(?:hypokine\w+))"
    r"|(?P<state>hypo-?contractile|(?<=ventricle\sis\s)hypokinetic|(?<=\b[lr]v\sis\s)hypokinetic|(?<=dilated\sand\s)hypokinetic"
    r"|hypokine\w+(?=\s+of\s+(?:the\s+)?(?:rv\b|right\s+ventric))|hyperdynamic|hyper-?contractile|hyper-?kinetic)"
)
_FUNCTION_WORD = re.compile(
    r"(?P<low_normal>low[- ]+(?:to\s+)?normal|lower\s+limits?\s+of\s+normal"
    r"|borderline(?:\s+normal)?)"
    r"|(?P<normal>(?<!ab)normal(?:i[sz]ed)?|preserved|intact|within\s+normal\s+limits|wnl|\bgood\b"
    r"|unremarkable|not\s+(?:\w+\s+)?(?:reduced|impaired|depressed)|unimpaired|\bnl\b|excellent)"
    r"|(?P<hyper>hyper-?dynamic|vigorous|supra-?normal|hyper-?contractile|hyper-?kinetic)"
    r"|(?P<reduced>re?duced|redcued|depress\w*|impair\w*|decreas\w+|diminish\w+|\bpoor|\blow\b"
    r"|abnormal|dysfunction|hypo-?kine\w+|hypo-?contractile|compromised)"
)
# The same without names of groups, for use inside another pattern.
_FUNCTION_WORD_PLAIN = re.sub(r"\?P<\w+>", "?:", _FUNCTION_WORD.pattern)
# Grade of dysfunction to what it makes of the function.
_STEPS = {
    "mild": "mildly reduced",
    "trace": "mildly reduced",
    "mild to moderate": "mildly to moderately reduced",
    "moderate": "moderately reduced",
    "moderate to severe": "moderately to severely reduced",
    "severe": "severely reduced",
    PRESENT: "reduced",
}


def findings(sentence: Sentence) -> Iterator[Finding]:
    """All findings of a sentence, in no particular order.

    Yields
    ------
    Finding
        One for each mention, so a name may come several times.
    """
    yield from _valves(sentence)
    yield from _simple(sentence, "pericardial_effusion", _EFFUSION)
    yield from _simple(sentence, "pulmonary_hypertension", _PH)
    yield from _pressure(sentence)
    yield from _motion(sentence)
    for name, pattern in (("dilation", _DILATED), ("hypertrophy", _HYPERTROPHY)):
        yield from _of_chambers(sentence, name, pattern)
    for chamber, function in _functions(sentence):
        if chamber == "rv" and function.grade != "hyperdynamic":
            yield _rv_dysfunction(function)


def lv_functions(sentence: Sentence) -> Iterator[LvFunction]:
    """What words say of the left ventricle's systolic function.

    Yields
    ------
    LvFunction
        In the order of the text.
    """
    for chamber, function in _functions(sentence):
        if chamber == "lv":
            yield function


def _finding(sentence: Sentence, name: str, grade: str, start: int, end: int) -> Finding:
    """A finding at a place of the sentence, with its certainty and time from its clause."""
    before, after = sentence.text[:start], sentence.text[end:]
    opening = _TURN.split(before)[-1]
    past = bool(_PAST.search(opening)) and not (_NOW.search(opening) or _NO_AFTER.match(after))
    # "No pericardial effusion to suggest tamponade": what is denied is denied for certain.
    certain = not (_MAYBE.search(opening) or _MAYBE_AFTER.match(after)) or grade == NONE
    at = sentence.start + start
    return Finding(
        name, grade, certain, past, at, sentence.start + end, sentence.original[start:end]
    )


def _valves(sentence: Sentence) -> Iterator[Finding]:
    """Regurgitations and stenoses: written out, as two letters, or after their valve's name."""
    text = sentence.text
    mentions = [
        (m.start(), m.end(), name)
        for name, p in _VALVES
        for m in p.finditer(text)
        if sentence.original[m.start() : m.end() + 1] not in ("Mr.", "Mr ")
    ]
    taken = [(a, b) for a, b, _ in mentions]
    for name, pattern in _SHORT:
        for m in pattern.finditer(text):
            written = sentence.original[m.start() : m.end()]
            plain = written.islower() or sentence.original.isupper()
            if not plain or _GRADED_BEFORE.search(text[: m.start()]):
                mentions.append((m.start(), m.end(), name))
    for m in _BARE.finditer(text):
        if any(a <= m.start() < b for a, b in taken):
            continue
        # The last valve named before it; a tricuspid or pulmonary stenosis is no finding here.
        named = list(_VALVE_NAMED.finditer(text, 0, m.start()))
        what = "s" if m["what"].startswith("sten") else "r"
        name = _NAME_OF.get(f"{named[-1].lastgroup}{what}", "") if named else ""
        mentions.append((m.start(), m.end(), name))
    yield from _graded(sentence, sorted(mentions))


def _simple(sentence: Sentence, name: str, pattern: re.Pattern[str]) -> Iterator[Finding]:
    mentions = [(m.start(), m.end(), name) for m in pattern.finditer(sentence.text)]
    yield from _graded(sentence, mentions)


def _graded(sentence: Sentence, mentions: list[tuple[int, int, str]]) -> Iterator[Finding]:
    """Grade each mention by the words before it, or else after it; a list shares its grade."""
    text = sentence.text
    previous_end, previous = 0, ""
    for i, (start, end, name) in enumerate(mentions):
        if start < previous_end:
            continue
        stop = mentions[i + 1][0] if i + 1 < len(mentions) else len(text)
        grade = _grade_at(text, previous_end, start, end, stop, previous)
        previous_end, previous = end, grade
        if name:
            yield _finding(sentence, name, grade, start, end)


def _grade_at(text: str, opening: int, start: int, end: int, stop: int, previous: str) -> str:
    """Grade of the mention from ``start`` to ``end``.

    Words from ``opening`` (the end of the mention before, whose grade is ``previous``) to ``stop``
    (the start of the next) may belong to it.
    """
    before, after = text[opening:start], text[end:stop]
    if previous and _JOINT.fullmatch(before):
        return _after_grade(after) or previous
    clause = _TURN.split(before)[-1]
    graded = [m for m in GRADE.finditer(clause) if _near(clause[m.end() :])]
    if graded:
        last = graded[-1]
        if _denied(clause[: last.start()]):
            return NONE
        return grade_of(last)
    later = _after_grade(after)
    if _NO.search(clause) or _NO_AFTER.match(after):
        return NONE
    return later or PRESENT


def _denied(before: str) -> bool:
    """Whether a grade after these words is denied: "no significant", "no moderate or" severe.

    "No X, mild" denies X alone; "no more than mild" is mild.
    """
    denial = _NO.search(before)
    if denial is None or _NOT_MORE.search(before):
        return False
    first, comma, _ = before[denial.end() :].partition(",")
    return not comma or not re.search(r"[a-z]", GRADE.sub("", first))


def _near(gap: str) -> bool:
    """Whether a grade still belongs to what follows after these words.

    At most five of them, and none that takes the grade for itself: "mildly thickened leaflets with
    MR" does not grade the regurgitation.
    """
    return len(re.findall(r"[a-z]+", gap)) <= 5 and not re.search(
        r"thick|calcifi(?!c\b)|dilat|reduc|increas|prolaps|sclero|\band\b|restrict|elevat", gap
    )


# A grade right after a mention: "MR is mild", "TR (moderate)", "AS: at least moderate".
_AFTER = re.compile(
    r"[\s,(:=\-]*(?:(?:is|are|was|were|appears?|remains?|now|there|noted|present|seen|to\s+be"
    r"|grade[ds]?|as|severity|at|least|likely|still|which|of|overall|about|only)\b[\s,(:=\-]*)*"
    rf"(?P<how>{GRADE_PATTERN})"
)


def _after_grade(after: str) -> str | None:
    match = _AFTER.match(after)
    return None if match is None else grade_in(match["how"])


def _pressure(sentence: Sentence) -> Iterator[Finding]:
    """Pulmonary hypertension as an elevated (or normal) pressure."""
    text = sentence.text
    for m in _PA_PRESSURE.finditer(text):
        rest = re.match(
            rf"[^.;]{{0,45}}?(?:(?P<normal>\bnormal|not\s+elevated|within\s+normal)|(?:(?P<how>{GRADE_PATTERN})\s*)?(?:elevated|increased|raised))",
            text[m.end() :],
        )
        before = re.search(
            rf"(?:(?P<how>{GRADE_PATTERN})\s*)?(?P<up>elevated|increased|raised|normal)\s+(?:estimated\s+)?$",
            text[: m.start()],
        )
        end = m.end() + (rest.end() if rest else 0)
        if rest:
            grade = NONE if rest["normal"] else grade_in(rest["how"] or "") or PRESENT
        elif before:
            grade = NONE if before["up"] == "normal" else grade_in(before["how"] or "") or PRESENT
            if grade != NONE and _NO.search(text[: before.start()]):
                grade = NONE
        else:
            continue
        yield _finding(sentence, "pulmonary_hypertension", grade, m.start(), end)


def _motion(sentence: Sentence) -> Iterator[Finding]:
    """Wall motion abnormalities, which have no grade."""
    text = sentence.text
    for m in _MOTION.finditer(text):
        around = text[: m.start()].rsplit(",", 1)[-1] + text[m.start() : m.end() + 25].split(",")[0]
        # Right ventricle and conduction ("septal motion") have abnormal motion of their own.
        if re.search(r"\brv\b|right\s+ventric|mcconnell|septal\s+motion|atrial", around):
            continue
        clause = _TURN.split(text[: m.start()])[-1]
        normal = re.match(r"[\s:]*(?:\w+\s+){0,2}?(?:normal|intact|preserved)", text[m.end() :])
        if m.lastgroup == "plain" and not normal:
            if not re.match(r"[\s\w]{0,30}abnormal", text[m.end() :]):
                continue
            normal = None
        negated = _NO.search(clause) or normal or _NO_AFTER.match(text[m.end() :])
        yield _finding(
            sentence, "wall_motion_abnormality", NONE if negated else PRESENT, m.start(), m.end()
        )


def _subjects(text: str, start: int, end: int) -> tuple[str, ...]:
    """Chambers that a word at this place is said of."""
    behind = re.match(r"\s*(?:of|in|the|a|systolic|,|\s)*", text[end:])
    at = end + (behind.end() if behind else 0)
    following = _SUBJECT.match(text, at)
    if following and not text[end:at].strip().startswith(","):
        return _chained(text, following)
    ahead = list(_SUBJECT.finditer(text, 0, start))
    if not ahead:
        return ()
    last = ahead[-1]
    chambers = list(_CHAMBERS.get(str(last.lastgroup), ()))
    for m in reversed(ahead[:-1]):
        if not _JOINT.fullmatch(text[m.end() : last.start()]):
            break
        chambers += _CHAMBERS.get(str(m.lastgroup), ())
        last = m
    return tuple(chambers)


def _chained(text: str, first: re.Match[str]) -> tuple[str, ...]:
    chambers = list(_CHAMBERS.get(str(first.lastgroup), ()))
    end = first.end()
    while following := _SUBJECT.match(text, end + len(str(_JOINT.match(text[end:]).group()))):  # type: ignore[union-attr]
        if following.start() == end:
            break
        chambers += _CHAMBERS.get(str(following.lastgroup), ())
        end = following.end()
    return tuple(chambers)


def _of_chambers(sentence: Sentence, what: str, pattern: re.Pattern[str]) -> Iterator[Finding]:
    """``what`` (dilation or hypertrophy) of every chamber that it is said of."""
    text = sentence.text
    for m in pattern.finditer(text):
        if m.lastgroup in ("lvh", "lae"):
            chambers: tuple[str, ...] = ({"lvh": "lv", "lae": "la", "rae": "ra"}[m.group()],)
        else:
            chambers = _subjects(text, m.start(), m.end())
            inside = _SUBJECT.search(m.group())
            if inside:
                chambers = _CHAMBERS.get(str(inside.lastgroup), chambers)
        # Hypertrophy and thick walls without a chamber are the left ventricle's.
        if not chambers and what == "hypertrophy":
            chambers = ("lv",)
        grade = _chamber_grade(text, m)
        for chamber in chambers:
            name = f"{chamber}_{what}"
            if name in FINDINGS:
                yield _finding(sentence, name, grade, m.start(), m.end())


def _chamber_grade(text: str, m: re.Match[str]) -> str:
    """Grade of a dilation or hypertrophy: inside its own words, before them, or after them."""
    if m.lastgroup == "normal":
        return NONE
    inside = GRADE.search(m.group())
    clause = _TURN.split(text[: m.start()])[-1].rsplit(",", 1)[-1]
    graded = [
        g
        for g in GRADE.finditer(clause)
        if re.fullmatch(_GRADE_GAP + r"(?:\w+\s+){0,3}", clause[g.end() :])
    ]
    if _NO.search(clause[: graded[-1].start()] if graded else clause):
        return NONE
    if inside:
        return grade_of(inside)
    if graded:
        return grade_of(graded[-1])
    if _NO_AFTER.match(text[m.end() :]):
        return NONE
    return _after_grade(text[m.end() :]) or PRESENT


def _functions(sentence: Sentence) -> Iterator[tuple[str, LvFunction]]:
    """Chamber (``"lv"`` or ``"rv"``) and what is said of its systolic function."""
    text = sentence.text
    for m in _FUNCTION.finditer(text):
        if m.lastgroup == "dia" or re.search(r"diastolic\s+(?:\w+\s+)?$", text[: m.start()]):
            continue
        # Other organs have a function, too.
        if re.search(
            r"(?:renal|liver|hepatic|thyroid|valv\w+|prosthe\w+|kidney|lung|cognitive|atrial|platelet)\s+$",
            text[: m.start()],
        ):
            continue
        grade, start, end = _function_grade(text, m)
        if grade is None:
            continue
        chambers = _function_subjects(text, m)
        opening = text[: m.start()]
        past = bool(_PAST.search(opening)) and not _NOW.search(text[:end])
        for chamber in chambers:
            at = sentence.start + start
            yield (
                chamber,
                LvFunction(grade, past, at, sentence.start + end, sentence.original[start:end]),
            )


def _function_subjects(text: str, m: re.Match[str]) -> tuple[str, ...]:
    """Ventricles that a mention of function is said of."""
    if "ejection" in m.group() or m.group() in ("ef", "lvef"):
        before = text[: m.start()]
        return ("rv",) if re.search(r"(?:right\s+ventricular|\brv)\s*$", before) else ("lv",)
    ventricles = tuple(c for c in _subjects(text, m.start(), m.end()) if c in ("lv", "rv"))
    if ventricles or _SUBJECT.search(text):
        return ventricles
    # "Systolic function is normal" with no chamber named is the left ventricle's.
    return ("lv",) if "systolic" in text or m.lastgroup in ("hypo", "state") else ()


def _function_grade(text: str, m: re.Match[str]) -> tuple[str | None, int, int]:
    """Grade of a mention of function, with the place of the words that say it.

    None where the text around it says nothing of how good it is.
    """
    start, end = m.span()
    if m.lastgroup == "state":
        word = "hyperdynamic" if m.group().startswith("hyper") else "reduced"
        return word, start, end
    before = text[max(0, start - 60) : start]
    if m.lastgroup in ("dys", "hypo"):
        clause = _TURN.split(text[:start])[-1]
        graded = [g for g in GRADE.finditer(clause) if len(clause[g.end() :].split()) <= 4]
        if m.lastgroup == "hypo" and not graded:
            graded = list(GRADE.finditer(text, start, end))
        if _NO.search(clause):
            return "normal", start, end
        later = _after_grade(text[end:])
        grade = grade_of(graded[-1]) if graded else later or PRESENT
        first = text.rfind(graded[-1].group(), 0, end) if graded else start
        return _STEPS[grade], first, end
    # Words on the right ventricle or behind a percentage belong to something else.
    rest = re.split(r"[;]|\bwith(?!in)\b|\bright\b|\brv\b|%", text[end:])[0]
    # "function was reduced and is now normal": what comes before "now" is skipped.
    now = re.search(r"\b(?:was|previous\w*|prior)\b.*?(?=\bnow\b)", rest)
    skipped = now.end() if now else 0
    after = re.match(
        rf"\W*(?:\([^)]*\)\W*)?(?:of\s+the\s+)?(?:\w+\W+){{0,5}}?(?:(?P<how>{GRADE_PATTERN})\W*(?:global\w*\s+)?)?(?P<word>{_FUNCTION_WORD.pattern})",
        rest[skipped:],
    )
    ahead = re.search(
        rf"(?:(?P<how>{GRADE_PATTERN})\W+)?(?P<word>{_FUNCTION_WORD.pattern})\W+(?:(?!is\b|are\b|with\b|while\b|whereas\b|but\b|however\b|{_FUNCTION_WORD_PLAIN})\w+\W+){{0,5}}?$",
        before,
    )
    chosen = ahead or after
    if chosen is None:
        return None, start, end
    shift = start - len(before) if chosen is ahead else end + skipped
    span = (min(start, shift + chosen.start("word")), max(end, shift + chosen.end()))
    kind = next(k for k in ("low_normal", "normal", "hyper", "reduced") if chosen[k])
    if kind == "low_normal":
        return "low normal", *span
    if kind == "hyper":
        return "hyperdynamic", *span
    if kind == "normal":
        denied = re.search(r"\b(?:not|no\s+longer|ab)\W*$", text[: shift + chosen.start("word")])
        return ("reduced" if denied else "normal"), *span
    how = grade_in(chosen["how"] or "") or (_after_grade(text[end:]) if ahead else None)
    if how is None and _NO.search(_TURN.split(text[: shift + chosen.start("word")])[-1]):
        return "normal", *span
    return _STEPS[how or PRESENT], *span


def _rv_dysfunction(function: LvFunction) -> Finding:
    """Function of the right ventricle as a finding; `_STEPS` read the other way round."""
    grades = {step: grade for grade, step in _STEPS.items() if grade != "trace"}
    grade = NONE if function.grade in ("normal", "low normal") else grades[function.grade]
    return Finding(
        "rv_dysfunction", grade, True, function.past, function.start, function.end, function.text
    )


# A length up to 25 characters after its name.
_MM = rf"[^.;%]{{0,25}}?(?P<n>{NUMBER})\s*(?P<unit>mm|cm)"
_MEASURES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "septum_mm",
        re.compile(
            rf"(?:\bivsd?\b|(?:inter)?ventricular\s+sept\w+|\bseptum|septal\s+(?:wall\s+)?thickness|sept(?:al)?\s+wall){_MM}"
        ),
    ),
    (
        "posterior_wall_mm",
        re.compile(rf"(?:\b(?:lv)?pwd?\b|posterior\s+wall|inferolateral\s+wall){_MM}"),
    ),
    (
        "lvedd_mm",
        re.compile(
            r"(?:\blvedd\b|\blvidd\b|\blvid\s*\(?d\b|\blvdd\b"
            rf"|end[- ]diastolic\s+(?:dimension|diameter)){_MM}"
        ),
    ),
)
_SHORTENING = re.compile(
    rf"(?:fractional\s+shortening|\bfs\b)[^.;]{{0,25}}?(?P<n>{NUMBER})\s*(?:%|percent)"
)
_PASP = re.compile(
    rf"(?:\bpasp\b|\brvsp\b|(?:pulmonary\s+arter\w+|\bpa\b|right\s+ventricular|\brv\b)\s+(?:peak\s+)?systolic\s+pressure)[^.;]{{0,40}}?(?P<n>{NUMBER})\s*(?:mm\s?hg|torr)"
)
# Values outside are misread, or of something else.
_LIMITS = {
    "septum_mm": (3.0, 40.0),
    "posterior_wall_mm": (3.0, 40.0),
    "lvedd_mm": (15.0, 110.0),
    "fractional_shortening_pct": (3.0, 80.0),
    "pasp_mmhg": (8.0, 150.0),
}


def measures(sentence: Sentence) -> Iterator[tuple[str, float]]:
    """Lengths in mm, fractional shortening in percent and pulmonary pressure in mmHg.

    Yields
    ------
    name : str
        A key of `reading.EchoFindings.measures`.
    value : float
    """
    for name, pattern in (
        *_MEASURES,
        ("fractional_shortening_pct", _SHORTENING),
        ("pasp_mmhg", _PASP),
    ):
        low, high = _LIMITS[name]
        for m in pattern.finditer(sentence.text):
            value = number_of(m["n"])
            if "unit" in m.re.groupindex and m["unit"] == "cm":
                value = round(10 * value, 1)
            if low <= value <= high:
                yield name, value
