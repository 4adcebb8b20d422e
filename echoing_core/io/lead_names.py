"""One table from the names that files give to leads to the names used here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from echoing_core.io.sources import shown
from echoing_core.records import FRANK_LEADS, LEADS

_LIMB_SPELLINGS: dict[str, tuple[str, ...]] = {
    "I": ("I", "MLI", "ML1", "D1", "DI"),
    "II": ("II", "MLII", "ML2", "D2", "DII"),
    "III": ("III", "MLIII", "ML3", "D3", "DIII"),
}
"""Limb leads; D1 or DI (derivation) is usual in French, Spanish and Portuguese."""

_MODIFIED = frozenset({"MLI", "ML1", "MLII", "ML2", "MLIII", "ML3"})

_TABLE: dict[str, str] = {
    **{spelling: lead for lead, spellings in _LIMB_SPELLINGS.items() for spelling in spellings},
    **{lead.upper(): lead for lead in LEADS[3:6]},
    **{lead: lead for lead in LEADS[6:]},
    **{f"C{lead[1]}": lead for lead in LEADS[6:]},  # IEC 60601 names the chest electrodes C1-C6
    **{lead: lead for lead in FRANK_LEADS},
    **{f"V{lead}": lead for lead in FRANK_LEADS},
}
"""Upper-case spelling, without the words below, to canonical name."""

# Words that say "this is an ECG lead" and nothing about which one.
_WORDS = re.compile(
    r"^(?:MDC|ECG|EKG|LEADS?|FRANK|VCG|ORTHOGONAL|ELEC|POTL)(?![A-Z0-9])|^VCG(?=[XYZ]$)"
    r"|^E[CK]G(?=(?:I{1,3}|AV[RLF]|V[1-6])$)"
)
_SUFFIX = re.compile(r"(?:^|[\s_:.\-(\[])(?:LEAD|ECG|EKG|REF)$")
_GLUE = " _:.-()[]"

# Modified chest leads: V1 to V6 against the left arm, used where a chest lead cannot be had.
_MODIFIED_CHEST = {f"MCL{n}": f"V{n}" for n in range(1, 7)}

# Two electrodes that give a limb lead by its definition (Einthoven); IEC calls the leg F.
_PAIRS: tuple[tuple[str, str, str], ...] = (
    ("(?:LA|L)", "(?:RA|R)", "I"),
    ("(?:LL|LF|F)", "(?:RA|R)", "II"),
    ("(?:LL|LF|F)", "(?:LA|L)", "III"),
)
_BETWEEN = r"\s*[-/:_]\s*"

_ECG_WORD = re.compile(r"(?:^|[^A-Z])(?:ECG|EKG|ELECTROCARD|ELEKTROKARD)")
# Bipolar leads of Holter and stress recorders.
_BIPOLAR = re.compile(r"(?:MCL|CM|CS|CB|CC|CR|CL)[1-7]|NASA|ES|AS|AI", re.ASCII)
# "ECG rate" and the like are numbers that somebody worked out, not a lead.
_ABOUT_ECG = re.compile(
    r"(?<![A-Z])(?:HR|RATE|RR|QUAL\w*|IMP\w*|RESP\w*|EDR|EVENTS?|MARK\w*|TRIG\w*|SYNC|STAT\w*|"
    r"LEAD ?OFF|BATT\w*|TEMP\w*|NOISE)(?![A-Z])"
)

# Electrodes of the 10-20 and 10-10 systems that no ECG has. C1-C6 are chest electrodes as well.
_EEG_ONLY = re.compile(
    r"FP[12Z]|AF[3478Z]|F[34789Z]|F10|FC[1-6Z]|FT(?:[789]|10)|T[3-8]|CZ|CP[1-6Z]|TP(?:[789]|10)|"
    r"P[3478Z]|PO[3478Z]|O[12Z]",
    re.ASCII,
)
_ALSO_EEG = re.compile(r"C[1-6]", re.ASCII)
_OF_A_NIGHT = re.compile(r"(?:^|[^A-Z])(?:EEG|EOG|EMG)")


def _reduced(name: str) -> str:
    """Upper case, without words such as "Lead" or "ECG", without blanks and brackets.

    A leading minus is kept, because -aVR is not aVR.
    """
    text = " ".join(unicodedata.normalize("NFKC", name).upper().split())
    # Not negated here: which leads are upside down is for the file to say.
    if text.startswith("-"):
        return text
    before = ""
    # Names such as "ECG Lead I-REF" carry several such words, at both ends.
    while before != text:
        before = text
        text = _SUFFIX.sub("", _WORDS.sub("", text).strip(_GLUE)).strip(_GLUE)
    return text


def canonical_lead_name(name: str) -> str | None:
    """Canonical name of a lead.

    Parameters
    ----------
    name : str
        Name as a file spells it, for example ``"AVR"``, ``"Lead I"``, ``"MLII"`` or ``"vx"``.

    Returns
    -------
    str or None
        One of `LEADS` or `FRANK_LEADS`; None where the name says no standard lead. So are
        right-sided and posterior leads (V4R, V7), bipolar chest leads (CM5, V4-V5), and a
        bare ``"V"`` or ``"ECG"``, because where they were taken is not known.

    Examples
    --------
    >>> canonical_lead_name("ECG avr"), canonical_lead_name("vx"), canonical_lead_name("RESP")
    ('aVR', 'X', None)
    """
    return _TABLE.get(_reduced(name))


def is_modified_limb_lead(name: str) -> bool:
    """Whether ``name`` is a limb lead taken on the trunk (MLI, MLII, MLIII).

    Parameters
    ----------
    name : str
        As a file spells it.
    """
    return _reduced(name) in _MODIFIED


@dataclass(frozen=True)
class NamedLead:
    """What the name of a channel says, seen beside the names of the others.

    Attributes
    ----------
    lead : str or None
        One of `LEADS` or `FRANK_LEADS`.
    note : str
        What is to be told of it, with ``{}`` for the lead; empty where the name is plain.
    is_doubted : bool
        Whether the name is a lead's, and yet not taken for one, because the other channels are
        those of an EEG.
    """

    lead: str | None
    note: str = ""
    is_doubted: bool = False


def named_leads(names: Sequence[str]) -> list[NamedLead]:
    """The leads of a whole file by the names of its channels.

    A name alone does not always decide. C3 and C4 are chest electrodes of an ECG and electrodes
    over the scalp, and V3, I and II occur in EEGs; so where channels are called like electrodes
    of an EEG, names without a word such as "ECG" are doubted, unless they are plainly a set of
    ECG leads. Where a file has no V1, MCL1 stands for it, and says so.

    Parameters
    ----------
    names : sequence of str
        Of all channels, as the file spells them.

    Returns
    -------
    list of NamedLead
        Parallel to ``names``.
    """
    plain = [canonical_lead_name(name) for name in names]
    doubted = _doubted(names, plain)
    taken = {lead for i, lead in enumerate(plain) if lead is not None and i not in doubted}
    found = []
    for index, name in enumerate(names):
        lead, note = plain[index], ""
        if index in doubted:
            found.append(NamedLead(None, is_doubted=True))
            continue
        if lead is not None and is_modified_limb_lead(name):
            note = (
                f"Lead {lead} is {_as_shown(name)}, a modified limb lead taken on the trunk; "
                "its shape differs somewhat from a standard limb lead."
            )
        elif lead is None and (pair := _by_electrodes(name)) not in (None, *taken):
            lead, note = pair, f"{_as_shown(name)} is lead {pair} by its two electrodes."
        elif lead is None and (chest := _MODIFIED_CHEST.get(_reduced(name))) not in (None, *taken):
            lead = chest
            note = (
                f"{_as_shown(name)}, a modified chest lead against the left arm, stands for "
                f"{chest}; its shape differs somewhat from {chest}."
            )
        if lead is not None:
            taken.add(lead)
        found.append(NamedLead(lead, note))
    return found


def says_ecg(name: str) -> bool:
    """Whether a channel's name says that it is an ECG, be it without saying which lead.

    Parameters
    ----------
    name : str
        ``"ECG"``, ``"EKG1-EKG2"`` and ``"CM5"`` do, ``"ECG rate"`` and ``"RESP"`` do not.
    """
    text = unicodedata.normalize("NFKC", name).upper().strip()
    if _ABOUT_ECG.search(text):
        return False
    return bool(_ECG_WORD.search(text) or _BIPOLAR.fullmatch(_reduced(name)))


def is_eeg(names: Sequence[str]) -> bool:
    """Whether channels are called like the electrodes of an EEG.

    Parameters
    ----------
    names : sequence of str
        Of all channels, as the file spells them.
    """
    return sum(bool(_EEG_ONLY.fullmatch(electrode)) for electrode in _electrodes(names)) >= 2


def says_other(name: str) -> bool:
    """Whether a channel's name says that it is an EEG, EOG or EMG.

    Parameters
    ----------
    name : str
    """
    return bool(_OF_A_NIGHT.search(unicodedata.normalize("NFKC", name).upper()))


def may_be_ecg(name: str) -> bool:
    """Whether a channel's name is a lead's, or says ECG.

    Parameters
    ----------
    name : str
    """
    return canonical_lead_name(name) is not None or says_ecg(name)


def guessed_leads(names: Sequence[str]) -> dict[str, str]:
    """A lead to start from for channels that say none; a person has to agree.

    Ambulatory recorders and sleep laboratories mostly take a modified lead II, and as a second
    channel one over V1 or V5. The digit of a bipolar chest lead (CM5) is the place of its positive
    electrode.

    Parameters
    ----------
    names : sequence of str
        Of all channels, as the file spells them.

    Returns
    -------
    dict of str to str
        Of those that say no lead and may be an ECG; a minus before the lead where the electrodes
        are the other way round.
    """
    free = [lead for lead in ("II", "V5", "V1", "I", "III") if lead not in named_as(names)]
    guesses: dict[str, str] = {}
    leads = named_leads(names)
    unnamed = [n for n, lead in zip(names, leads, strict=True) if lead.lead is None]
    for name in (n for n in unnamed if says_ecg(n)):
        reduced = _reduced(name)
        turned = _by_electrodes(name, turned=True)
        if turned is not None:
            guesses[name] = f"-{turned}"
        elif re.fullmatch(r"(?:MCL|CM|CS|CB|CC|CR|CL)[1-6]", reduced, re.ASCII):
            guesses[name] = f"V{reduced[-1]}"
        elif free:
            guesses[name] = free.pop(0)
    return guesses


def named_as(names: Sequence[str]) -> set[str]:
    """The leads that names say outright.

    Parameters
    ----------
    names : sequence of str
    """
    return {lead.lead for lead in named_leads(names) if lead.lead is not None}


def _electrodes(names: Sequence[str]) -> list[str]:
    """The first electrode in names such as "EEG Fp1-A2", in upper case."""
    texts = [" ".join(unicodedata.normalize("NFKC", name).upper().split()) for name in names]
    return [re.split(r"[-:/]", t.removeprefix("EEG").strip(_GLUE))[0].strip() for t in texts]


def _doubted(names: Sequence[str], leads: Sequence[str | None]) -> set[int]:
    """Positions of names that are a lead's in an ECG, and an electrode's in this file."""
    texts = [" ".join(unicodedata.normalize("NFKC", n).upper().split()) for n in names]
    n_bare = sum(bool(_EEG_ONLY.fullmatch(t)) for t in texts)
    n_eeg = sum(bool(_EEG_ONLY.fullmatch(e)) for e in _electrodes(names))
    is_night = n_eeg > 0 or any(_OF_A_NIGHT.search(t) for t in texts)
    bare = {i for i, lead in enumerate(leads) if lead is not None and _TABLE.get(texts[i]) == lead}
    said = {leads[i] for i in bare}
    # No EEG has these: augmented leads, or all six chest leads with two limb leads.
    is_set = bool(said & set(LEADS[3:6])) or {"I", "II", *LEADS[6:]} <= said
    if is_set and not any(_ALSO_EEG.fullmatch(texts[i]) for i in bare):
        return set()
    chest = {i for i in bare if _ALSO_EEG.fullmatch(texts[i])}
    # A bare V3 is spelled like the bare Fp1 beside it; beside "EEG Fp1-A2" it is something else.
    doubted = (
        {i for i in bare if texts[i] not in _MODIFIED} if n_bare >= 2 and not is_set else set()
    )
    complete = len(chest) == 6 and n_eeg == 0
    return doubted | (chest if is_night and not complete else set())


def _by_electrodes(name: str, *, turned: bool = False) -> str | None:
    """The limb lead between two electrodes, such as LA-RA; with ``turned`` that of RA-LA."""
    text = _reduced(name)
    for plus, minus, lead in _PAIRS:
        first, second = (minus, plus) if turned else (plus, minus)
        if re.fullmatch(first + _BETWEEN + second, text):
            # L-R alone may be eyes; the letters count only where the name says ECG.
            long_names = len(re.sub(r"[^A-Z]", "", text)) > 3
            return lead if long_names or says_ecg(name) else None
    return None


def _as_shown(name: str) -> str:
    # Braces would be taken for the place of leads in a note.
    return shown(name).replace("{", "(").replace("}", ")")
