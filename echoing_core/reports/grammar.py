"""What a sentence says of each finding that it names: there, denied, unsure, or of the past.

Each denial governs its own phrase. One before it holds up to the next that says otherwise, and
goes on over "and" and "or"; one behind it holds back over the phrase. A new denial begins anew;
only one that stands right before another ("not without") turns it round. What was not excluded is
unsure, and so is what somebody wants to exclude. Whether a denial goes on over commas alone ("no
AF, LBBB") the words do not tell, and `Said.listed` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from echoing_core.reports.lexicon import Kind, Lexicon, lexicon

State = Literal["there", "denied", "unsure", "past"]

PUNCTUATION = frozenset(",.;:!?()")
_SURE = "<sure>"
_DENIALS = frozenset({"deny_before", "deny_again", "deny_after"})
_SAYS = _DENIALS | {"excluded", "excludes", "to_exclude", "past"}
# A denial looks back from the very end: "nicht sign." looks forward.
_ENDING = frozenset({"deny_before", "deny_again", "is_there"})
_CUTS = _SAYS | {"joint", "sure"}


@dataclass(frozen=True)
class Said:
    """A finding that a sentence names, and what it says of it.

    Attributes
    ----------
    finding : str
    state : State
    listed : bool
        It stands in a list by commas of which another entry is denied, and is there only if that
        denial does not hold for the list.
    """

    finding: str
    state: State
    listed: bool = False


@dataclass
class Sentence:
    """What was read of a sentence.

    Attributes
    ----------
    said : list of Said
        In the order in which they stand; "nothing abnormal" is a normal ECG.
    unknown : list of str
        Words that mean nothing here.
    left : list of str
        Words that stand beside a finding and would make it another one.
    astray : bool
        A denial stands alone, and nothing tells what it denies.
    """

    said: list[Said] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    astray: bool = False


@dataclass(frozen=True)
class _Unit:
    kind: Kind
    text: str = ""
    concepts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Clause:
    """Tokens between two marks, and the marks.

    ``goes_on``: it is an entry of a list, with a comma behind it and an "or" later.
    """

    tokens: tuple[str, ...]
    before: str
    after: str
    goes_on: bool


@dataclass
class _Piece:
    """Words of a clause of which the same is said.

    ``opened`` by a denial or by a joint ("and", "or", or "with" for all others).
    """

    state: State
    opened: Literal["", "denial", "and", "or", "with"] = ""
    words: list[_Unit] = field(default_factory=list)
    unknown: bool = False

    @property
    def concepts(self) -> frozenset[str]:
        return _concepts(self.words)


def read_sentence(tokens: Sequence[str]) -> Sentence:
    """Read a sentence, or several.

    Parameters
    ----------
    tokens : sequence of str
        Folded words and marks.

    Returns
    -------
    Sentence
    """
    words = lexicon()
    out = Sentence()
    state: State = "there"
    outside: State = "there"
    by_clause: list[list[Said]] = []
    # Of each of them: whether it is an entry of a list by commas that says nothing of itself.
    entries: list[bool] = []
    heads_list = denied_before = denied_list = False
    for clause in _clauses(_without_set_phrases(tokens), words):
        units = _with_details(_units(clause.tokens, words, denied_before), words)
        kinds = {unit.kind for unit in units}
        denied_before |= bool(kinds & _DENIALS)
        out.unknown += [unit.text for unit in units if unit.kind == "unknown"]
        if kinds & _SAYS and not kinds & {"word", "unknown"}:
            # "LBBB: no", "AF (absent)", "no: AF". As if the finding stood in this clause.
            verdict = _pieces([_Unit("word"), *units], "there")[0].state
            heads_list = clause.after in (":", "(")
            back = by_clause[-2 if clause.before == ")" else -1 :]
            if not heads_list and clause.before in (":", ",", "(", ")", "?") and any(back):
                for said in back:
                    said[:] = [Said(s.finding, verdict) for s in said]
                if verdict == "denied" and clause.before != ")":
                    _leave_open(by_clause, entries, len(by_clause) - 1)
            elif not heads_list:
                out.astray = True
            state = verdict if heads_list else "there"
            denied_list = False
            continue
        if kinds <= {"is_there", "filler"} and clause.before == ":" and by_clause:
            # "No AF, LBBB: yes".
            by_clause[-1][:] = [replace(one, listed=False) for one in by_clause[-1]]
        if clause.before == ")":
            state = outside
        pieces = _pieces(units, state)
        said, left = _named(pieces, words)
        by_clause.append(said)
        out.left += left
        well = _well(said) or any(u.concepts & words.healthy for u in units)
        entry = state == "there" and _says_nothing(units) and not well
        if denied_list and entry and clause.before == ",":
            said[:] = [replace(one, listed=True) for one in said]
        elif clause.before == "," and pieces[0].state == "denied" and not pieces[0].opened:
            if state == "there":
                # "AF, LBBB absent": the denial stands behind.
                _leave_open(by_clause, entries, len(by_clause) - 1)
            denied_list = state == "there" and denied_list
        if clause.before != "," or not entry:
            denied_list = pieces[-1].state == "denied" and bool(said) and not well
        entries.append(entry and clause.after == ",")
        if clause.before != "(":
            outside = pieces[-1].state
        heads_list = heads_list and clause.after == ","
        goes_on = clause.goes_on or heads_list or clause.after == "("
        state = pieces[-1].state if goes_on else "there"
    out.said = [one for said in by_clause for one in said]
    return out


def _leave_open(by_clause: list[list[Said]], entries: list[bool], at: int) -> None:
    """Entries of a list that stand by commas before a clause that is denied from behind."""
    while at and entries[at - 1]:
        at -= 1
        by_clause[at][:] = [replace(one, listed=True) for one in by_clause[at]]


def _says_nothing(units: Sequence[_Unit]) -> bool:
    """Whether a clause names things alone; what begins by "with" is there."""
    first = units[0]
    own = first.kind == "joint" and first.text not in _ANDS | lexicon().alternatives
    return not own and {unit.kind for unit in units} <= {"word", "filler", "joint", "unknown"}


def _well(said: Sequence[Said]) -> bool:
    """Whether something healthy is named: "no AF, sinus rhythm" denies one of the two."""
    return any(one.finding in lexicon().healthy for one in said)


def _without_set_phrases(tokens: Sequence[str]) -> list[str]:
    """Tokens without what is said for the sake of the sentence; what makes sure is one token."""
    words = lexicon()
    out: list[str] = []
    at = 0
    while at < len(tokens):
        for n in range(min(words.longest, len(tokens) - at), 0, -1):
            span = tuple(tokens[at : at + n])
            ends = at + n == len(tokens) or tokens[at + n] in PUNCTUATION
            if span in words.sure:
                out.append(_SURE)
            elif words.grammar.get(span) == "deny_before" and not words.breaks.isdisjoint(span):
                # "Anything but": the "but" starts nothing.
                out.append("not")
            elif not (span in words.neutral or (ends and span in words.neutral_end)):
                continue
            at += n
            break
        else:
            out.append(tokens[at])
            at += 1
    return out


def _clauses(tokens: Sequence[str], words: Lexicon) -> Iterator[_Clause]:
    clause: list[str] = []
    before = "."
    for at, token in enumerate([*tokens, "."]):
        if token not in PUNCTUATION and token not in words.breaks:
            clause.append(token)
            continue
        mark = "." if token in words.breaks else token
        if clause:
            following = tokens[at + 1 :]
            end = next(
                (i for i, t in enumerate(following) if t in ".;!?" or t in words.breaks),
                len(following),
            )
            goes_on = mark == "," and not words.alternatives.isdisjoint(following[:end])
            yield _Clause(tuple(clause), before, mark, goes_on)
        clause, before = [], mark


def _units(clause: Sequence[str], words: Lexicon, denied_before: bool) -> list[_Unit]:
    """The words of a clause by what they mean and do."""
    units: list[_Unit] = []
    at = 0
    while at < len(clause):
        for n in range(min(words.longest, len(clause) - at), 0, -1):
            span = tuple(clause[at : at + n])
            text = " ".join(span)
            kind = words.grammar.get(span)
            if span in words.phrases:
                units.append(_Unit("word", text, words.phrases[span]))
            elif kind is not None:
                # "Noch" without "weder" is "still".
                if span != ("noch",) or denied_before or any(u.kind in _DENIALS for u in units):
                    units.append(_Unit(kind, text))
            elif n > 1:
                continue
            elif text == _SURE:
                units.append(_Unit("sure"))
            elif text in words.joints:
                units.append(_Unit("joint", text))
            else:
                stem = next((c for s, c in words.stems.items() if text.startswith(s)), None)
                if stem is not None:
                    units.append(_Unit("word", text, stem))
                else:
                    known = text in words.filler or text.isdigit()
                    units.append(_Unit("filler" if known else "unknown", text))
            at += n
            break
    return units


def _with_details(units: Sequence[_Unit], words: Lexicon) -> list[_Unit]:
    """Units, where "normal" and the detail that it stands beside are one: "QT is normal"."""
    of_details = frozenset().union(*(detail.of for detail in words.details))
    out: list[_Unit] = []
    at = 0
    while at < len(units):
        run: list[_Unit] = []
        normal = False
        # "Normal QRS axis", "the axis is normal": no more than fillers lie between.
        for unit in units[at:]:
            ends = not run and unit.kind != "word"
            ends |= _is_normal(unit) and normal
            ends |= not (unit.kind == "filler" or _is_normal(unit) or unit.concepts & of_details)
            if ends or (normal and not _is_normal(run[0])):
                break
            run.append(unit)
            normal |= _is_normal(unit)
        behind = units[at + len(run) : at + len(run) + 1]
        # "Low voltage, normal ECG" without its comma.
        of_ecg = not _is_normal(run[0]) and "ECG" in _concepts(behind) if run else False
        detail = next((d for d in words.details if d.of & _concepts(run)), None)
        if normal and detail is not None and not of_ecg:
            text = " ".join(unit.text for unit in run)
            out.append(_Unit("word", text, frozenset({detail.name})))
            at += len(run)
        else:
            out.append(units[at])
            at += 1
    return out


def _is_normal(unit: _Unit) -> bool:
    # A regular heartbeat need not have a normal rate.
    return "NORMAL" in unit.concepts and "REGULAR" not in unit.concepts


def _pieces(units: Sequence[_Unit], start: State) -> list[_Piece]:
    """The words of a clause, cut where something else is said of them."""
    pieces = [_Piece(start)]
    fence = 0
    for at, unit in enumerate(units):
        last, kind = pieces[-1], unit.kind
        if kind == "word":
            last.words.append(unit)
        elif kind == "unknown":
            last.unknown = True
        elif kind == "filler":
            continue
        elif kind == "joint":
            if _is_bare(last) and units[at - 1].kind in _ENDING:
                _say_behind(pieces, fence, last.state)
                last = pieces[-1]
            if at and units[at - 1].kind == "is_there":
                fence = len(pieces)
            _open_joint(pieces, unit.text)
        elif kind == "starts_again":
            if last.opened in ("and", "or", "with") and not last.words:
                last.state, fence = "there", len(pieces) - 1
        elif kind == "is_there":
            # "Is not seen"; but "not seen: ..." denies what follows.
            if _is_bare(last) and _ends(units, at):
                _say_behind(pieces, fence, last.state)
            elif last.opened == "denial" and last.words:
                # "No P wave seen left axis": German reports have no full stops.
                _open(pieces, "there", "")
        elif kind == "sure":
            _drop_bare(pieces)
            _open(pieces, "there", "")
            fence = len(pieces) - 1
        elif kind == "deny_again":
            _open(pieces, "denied", "denial")
        elif kind == "deny_before":
            # "Not without": right behind another one.
            twice = _is_bare(last) and last.state == "denied"
            _open(pieces, "there" if twice else "denied", "denial")
        else:
            _exclude(pieces, fence, kind, ends=_ends(units, at))
    if len(pieces) > 1 and _is_bare(pieces[-1]) and units[-1].kind in _ENDING:
        # "Old infarct cannot": of reports that were cut off.
        cut_off = units[-1].text in ("cannot", "can t")
        _say_behind(pieces, fence, "unsure" if cut_off else pieces[-1].state)
    return pieces


def _exclude(pieces: list[_Piece], fence: int, kind: Kind, *, ends: bool) -> None:
    """What words say that may stand before or behind: absent, ruled out, a thing of the past."""
    before = pieces[-1]
    denied = _drop_bare(pieces)
    state: State = "denied"
    if kind == "past":
        # "Not previous infarction", "cannot exclude previous infarction".
        state = before.state if before.opened == "denial" and not before.words else "past"
    elif kind == "deny_after":
        state = "there" if denied else "denied"
    elif denied or kind == "to_exclude":
        state = "unsure"
    # A participle looks back wherever it stands: German reports have no full stops.
    looks_back = ends or kind == "excluded"
    if not (looks_back and _say_behind(pieces, fence, state)):
        _open(pieces, state, "denial")


def _say_behind(pieces: list[_Piece], fence: int, state: State) -> bool:
    """Say something of the phrase that ends here; False where there is none."""
    at = len(pieces) - 1
    while at >= fence and not pieces[at].words:
        at -= 1
    if at < fence:
        return False
    del pieces[at + 1 :]
    nearest = _nearest_phrase(pieces[at])
    if nearest:
        kept = pieces[at].words[:nearest]
        pieces[at:] = [
            _Piece(pieces[at].state, pieces[at].opened, kept),
            _Piece(state, "with", pieces[at].words[nearest:]),
        ]
    else:
        while True:
            here = pieces[at]
            here.state = state
            joined = here.opened in ("and", "or")
            # "Infarction in the inferior leads": a site belongs to what stands before it.
            site = here.opened == "with" and not lexicon().named(here.concepts)[0]
            if at == fence or not (joined or site):
                break
            if pieces[at - 1].state != "there" and state != "denied":
                break
            at -= 1
    pieces.append(_Piece("there", "with"))
    return True


def _nearest_phrase(piece: _Piece) -> int:
    """Where the last phrase of a piece begins that names one finding; 0 for all of it."""
    begin = len(piece.words)
    named = False
    while begin:
        findings = lexicon().named(_concepts(piece.words[begin - 1 :]))[0]
        if len(findings) > 1 and named:
            return begin
        named |= bool(findings)
        begin -= 1
    return 0


def _open(pieces: list[_Piece], state: State, opened: Literal["", "denial"]) -> None:
    """Begin a piece, in the place of one that holds nothing."""
    if not pieces[-1].words:
        # "Inferior or not lateral": the joint before it has done its work.
        pieces[-1] = _Piece(state, opened)
    else:
        pieces.append(_Piece(state, opened))


def _open_joint(pieces: list[_Piece], joint: str) -> None:
    last = pieces[-1]
    opened: Literal["and", "or", "with"] = "with"
    if joint in lexicon().alternatives:
        opened = "or"
    elif joint in _ANDS:
        opened = "and"
    state = last.state
    if opened == "with" and state in ("unsure", "past"):
        state = "there"
    if last.words:
        pieces.append(_Piece(state, opened))


_ANDS = frozenset({"and", "und", "et", "y", "e", "plus"})


def _is_bare(piece: _Piece) -> bool:
    return piece.opened == "denial" and not piece.words and not piece.unknown


def _drop_bare(pieces: list[_Piece]) -> bool:
    """Take back a denial behind which nothing stands yet; whether there was one."""
    last = pieces[-1]
    if last.opened != "denial" or last.words:
        return False
    denied = last.state == "denied"
    if len(pieces) > 1:
        pieces.pop()
    else:
        pieces[-1] = _Piece("there")
    return denied


def _ends(units: Sequence[_Unit], at: int) -> bool:
    """Whether no word follows up to where something else begins."""
    for unit in units[at + 1 :]:
        if unit.kind in ("word", "unknown"):
            return False
        if unit.kind in _CUTS:
            return True
    return True


def _concepts(units: Iterable[_Unit]) -> frozenset[str]:
    return frozenset().union(*(unit.concepts for unit in units))


def _named(pieces: Sequence[_Piece], words: Lexicon) -> tuple[list[Said], list[str]]:
    """What is said in a clause, and words left over beside its findings.

    A piece that names nothing ("inferior" of "inferior and lateral infarct") goes to the next one.
    """
    out: list[Said] = []
    left: list[tuple[frozenset[str], frozenset[str]]] = []
    carried: frozenset[str] = frozenset()
    last: tuple[frozenset[str], State, int, int] = (frozenset(), "there", 0, 0)
    ill_denied = False
    last_at = -1
    for at, piece in enumerate(pieces):
        concepts = piece.concepts | carried
        named, over = words.named(concepts)
        carried = frozenset() if named else concepts
        if not named:
            continue
        state = piece.state
        well = words.healthy.issuperset(named)
        if state == "denied" and piece.opened in ("and", "with") and well and ill_denied:
            state = "there"
        ill_denied |= state == "denied" and not well
        last = (concepts, state, len(out), len(left))
        last_at = at
        out += _turned(named, state)
        left.append((concepts, over))
    if out and carried:
        # "Infarction in the inferior leads": a site behind its finding.
        named, over = words.named(last[0] | carried)
        out[last[2] :] = _turned(named, last[1])
        left[last[3] :] = [(last[0] | carried, over)]
    if not out and len(pieces) > 1:
        # "ventricles captured by a pacemaker": words that only mean something together.
        concepts = frozenset().union(*(piece.concepts for piece in pieces))
        named, over = words.named(concepts)
        out = _turned(named, pieces[-1].state)
        left.append((concepts, over))
    if not out:
        return out, [u.text for p in pieces for u in p.words if u.concepts & words.decisive]
    over = frozenset().union(*(over for _, over in left))
    used = frozenset().union(*(concepts - over for concepts, over in left))
    decisive = words.decisive
    if any(said.finding in words.sited for said in out):
        decisive |= {"LEAD"}
    # "AF without rapid ventricular response": a denial of what names nothing.
    own = frozenset().union(*(words.without.get(one.finding, ()) for one in out))
    denied = [
        unit.text
        for piece in pieces[last_at + 1 :]
        for unit in piece.words
        if last_at >= 0
        and piece.opened == "denial"
        and piece.state == "denied"
        and not unit.concepts <= own
    ]
    return out, denied + [
        unit.text
        for piece in pieces
        for unit in piece.words
        # "lv" is left and ventricular: it is used where either is.
        if unit.concepts & over & decisive and not unit.concepts & used
    ]


def _turned(named: Sequence[str], state: State) -> list[Said]:
    """What is said of findings; of those that are said by their opposite, of that."""
    turned: dict[State, State] = {"there": "denied", "denied": "there"}
    denied = {detail.name: detail.denies for detail in lexicon().details}
    out: list[Said] = []
    for finding in named:
        if finding == "abnormal_ecg":
            out.append(Said("normal_ecg", turned.get(state, state)))
        elif denied.get(finding) and state == "there":
            out += [Said(other, "denied") for other in denied[finding]]
        else:
            out.append(Said(finding, state))
    return out
