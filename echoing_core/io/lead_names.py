"""One table from the names that files give to leads to the names used here."""

from __future__ import annotations

import re
import unicodedata

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
)
_SUFFIX = re.compile(r"(?:^|[\s_:.\-(\[])(?:LEAD|ECG|EKG|REF)$")
_GLUE = " _:.-()[]"


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
