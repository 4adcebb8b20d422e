"""Which of the 12 leads a recording measures at all: its lead set.

Uncertainty, calibration and what an answer was worth are only comparable among ECGs with the same
leads. A lead set holds what is known exactly: two limb leads give the other four, so I and II
are the same set as all six. Leads that were made of a vectorcardiogram are a kind of their own,
because the 12 of them hold three leads' worth of signal, by a model of the body.

A lead belongs to the set if the recording has it anywhere. One that falls off for an hour is a
fault of that hour, and no other kind of recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from echoing_core.errors import ConfigError
from echoing_core.records import FRANK_LEADS, LEADS, BoolArray, StandardEcg, WindowTrack
from echoing_core.signals.leads import (
    DEFAULT_VCG_METHOD,
    EIGHT_LEADS,
    KORS,
    LIMB_LEADS,
    VCG_METHOD_NAMES,
    VCG_METHODS,
    limb_lead_sources,
    vcg_matrix,
)

ALL_KEY, LIMB_KEY, VCG_KEY = "12", "limb", "XYZ"

_NUMBERS = (
    "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
)  # fmt: skip


@dataclass(frozen=True)
class LeadSet:
    """The leads that are known of a recording.

    Attributes
    ----------
    leads : tuple of str
        Measured, or exactly derived from two limb leads; in the order of `LEADS`.
    vcg : str or None
        A key of `VCG_METHODS` where every other lead was made of X, Y and Z by it; None where the
        other leads are missing.
    """

    leads: tuple[str, ...]
    vcg: str | None = None

    def __post_init__(self) -> None:
        unknown = [lead for lead in self.leads if lead not in LEADS]
        if unknown:
            raise ConfigError(f"{', '.join(unknown)}: no such lead. Leads are {', '.join(LEADS)}.")
        if self.vcg is not None and self.vcg not in VCG_METHODS:
            raise ConfigError(
                f"There is no VCG to 12-lead method {self.vcg!r}. Choose one of: "
                f"{', '.join(VCG_METHODS)}."
            )
        if not self.leads and self.vcg is None:
            raise ConfigError("A lead set needs at least one lead, or X, Y and Z.")
        known = set(self.leads)
        if limb_lead_sources(known) is not None:
            known |= set(LIMB_LEADS)
        # Equal sets are equal values, however they were written.
        object.__setattr__(self, "leads", tuple(lead for lead in LEADS if lead in known))
        if len(known) == len(LEADS):
            object.__setattr__(self, "vcg", None)

    @classmethod
    def from_key(cls, key: str) -> LeadSet:
        """Read a key, also one that is not in canonical form: ``"V5+II"``, ``"I+II+V1"``.

        Parameters
        ----------
        key : str
            Parts joined by ``+``: a lead, ``12``, ``limb``, ``XYZ`` or ``XYZ:method``.

        Returns
        -------
        LeadSet

        Raises
        ------
        ConfigError
            A part is none of these.
        """
        leads: list[str] = []
        vcg = None
        for part in key.split("+"):
            name, _, method = part.strip().partition(":")
            if name == VCG_KEY:
                vcg = method or DEFAULT_VCG_METHOD
            elif name in (ALL_KEY, LIMB_KEY):
                leads += LEADS if name == ALL_KEY else LIMB_LEADS
            else:
                leads.append(name)
        return cls(tuple(leads), vcg)

    @property
    def key(self) -> str:
        """Canonical name: ``"12"``, ``"limb"``, ``"limb+V1"``, ``"II+V5"``, ``"XYZ:dower"``."""
        if self.is_all:
            return ALL_KEY
        parts = list(self.leads)
        if set(LIMB_LEADS) <= set(parts):
            parts = [LIMB_KEY, *parts[len(LIMB_LEADS) :]]
        if self.vcg is not None:
            parts.append(f"{VCG_KEY}:{self.vcg}")
        return "+".join(parts)

    @property
    def is_all(self) -> bool:
        """Whether all 12 leads are known as they are."""
        return len(self.leads) == len(LEADS)

    @property
    def present(self) -> BoolArray:
        """Leads that the model is given, shape (12,)."""
        return np.array([self.vcg is not None or lead in self.leads for lead in LEADS])

    @property
    def missing(self) -> tuple[str, ...]:
        """Leads that the model is not given, in the order of `LEADS`."""
        return tuple(lead for lead, given in zip(LEADS, self.present, strict=True) if not given)

    @property
    def words(self) -> str:
        """For a person: ``"two leads: II and V5"``, ``"the six limb leads"``."""
        if self.is_all:
            return "all 12 leads"
        if self.vcg is not None:
            derived = f"derived from X, Y and Z ({VCG_METHOD_NAMES[self.vcg]})"
            if not self.leads:
                return f"12 leads {derived}"
            return f"{lead_words(self.leads)} measured and the other leads {derived}"
        if self.leads == LIMB_LEADS:
            return "the six limb leads"
        n = len(self.leads)
        return f"{_NUMBERS[n]} lead{'s' if n > 1 else ''}: {lead_words(self.leads)}"


LEAD_SETS: tuple[LeadSet, ...] = tuple(
    LeadSet.from_key(key)
    for key in (
        "12", "limb", *LEADS,
        *(f"{limb}+{chest}" for limb in ("limb", "II") for chest in LEADS[6:]),
        "V1+V5", "V2+V5", "limb+V1+V5", "limb+V2+V5", "II+V1+V5", "III+V1+V5",
        *(f"XYZ:{method}" for method in VCG_METHODS),
    )
)  # fmt: skip
"""What devices record: 12-lead machines, six-lead hand-held ones, patient monitors (limb leads and
one or two of the chest), Holter with two or three channels, watches, patches and other single
channels, and vectorcardiograms."""


def lead_set_of(ecg: StandardEcg) -> LeadSet:
    """The lead set of a recording.

    Parameters
    ----------
    ecg : StandardEcg

    Returns
    -------
    LeadSet
    """
    derived = ecg.leads_with("derived")
    derivation = ecg.derivation or ""
    vcg = next((m for m, name in VCG_METHOD_NAMES.items() if f"{name} from X" in derivation), None)
    known = ecg.leads_with("measured")
    if vcg is None:
        # Whatever made them, they are there; two limb leads are the only other way.
        known += derived
    return LeadSet(known, vcg)


def lead_set_key(of: StandardEcg | WindowTrack | Iterable[str]) -> str:
    """Canonical name of a lead set, by which references and calibrations are kept.

    Parameters
    ----------
    of : StandardEcg, WindowTrack or names of leads
        A track knows only which leads hold signal: of leads made of X, Y and Z it says ``"12"``,
        so take the `StandardEcg` where there is one.

    Returns
    -------
    str
        See `LeadSet.key`.

    Raises
    ------
    ConfigError
        There is no lead, or one that does not exist.
    """
    if isinstance(of, StandardEcg):
        return lead_set_of(of).key
    if isinstance(of, WindowTrack):
        highest = of.valid_fraction.max(axis=0).tolist()
        return LeadSet(tuple(n for n, part in zip(LEADS, highest, strict=True) if part > 0)).key
    return LeadSet(tuple(of)).key


def reduced_to(
    lead_set: LeadSet, signal_mv: npt.NDArray[np.float32], valid: BoolArray
) -> tuple[npt.NDArray[np.float32], BoolArray]:
    """12-lead ECGs as a recorder with fewer leads would have given them to the model.

    Other leads are taken away. For a vectorcardiogram X, Y and Z are those of Kors's regression,
    and the leads are made of them again by the set's own method.

    Parameters
    ----------
    lead_set : LeadSet
    signal_mv : ndarray, shape (..., 12, n_times)
        Millivolts, in the order of `LEADS`.
    valid : ndarray of bool, same shape

    Returns
    -------
    signal_mv, valid : ndarray, same shapes
        New arrays; 0 and False where there is nothing.

    References
    ----------
    Kors et al. 1990, Eur Heart J 11:1083.
    """
    keep = np.array([lead in lead_set.leads for lead in LEADS])[:, np.newaxis]
    out_valid = valid & keep
    out = np.where(out_valid, signal_mv, 0.0).astype(np.float32)
    if lead_set.vcg is None:
        return out, out_valid
    eight = [LEADS.index(lead) for lead in EIGHT_LEADS]
    there = valid[..., eight, :].all(axis=-2, keepdims=True)
    project = (vcg_matrix(lead_set.vcg) @ KORS).astype(np.float32)
    derived = np.where(there, project @ signal_mv[..., eight, :], 0.0)
    return np.where(keep, out, derived).astype(np.float32), np.where(keep, out_valid, there)


def lead_words(leads: Sequence[str], among: Sequence[str] = LEADS) -> str:
    """Leads as a clinician names them: ``"V5-V6"``, ``"limb leads"``, ``"II, aVF and V1-V3"``.

    Parameters
    ----------
    leads : sequence of str
    among : sequence of str
        The leads there are; all of them are ``"all leads"``, or ``"all recorded leads"``.

    Returns
    -------
    str
    """
    chosen = set(leads)
    if chosen == set(among):
        return "all leads" if len(chosen) == len(LEADS) else "all recorded leads"
    words = []
    limb, chest = LEADS[:6], LEADS[6:]
    if chosen.issuperset(limb):
        words.append("limb leads")
    else:
        words += [lead for lead in limb if lead in chosen]
    if chosen.issuperset(chest):
        words.append("chest leads")
    else:
        words += _runs([lead for lead in chest if lead in chosen])
    return listed(words)


def listed(words: Sequence[str]) -> str:
    """``"I"``, ``"I and II"``, ``"I, II and V1"``.

    Parameters
    ----------
    words : sequence of str

    Returns
    -------
    str
    """
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def measured_words(ecg: StandardEcg) -> str:
    """What a recording measured, as a sentence without its stop.

    Parameters
    ----------
    ecg : StandardEcg

    Returns
    -------
    str
        ``"2 of 12 leads measured: II and V1"``; what follows from them is named, too.
    """
    measured, derived = ecg.leads_with("measured"), ecg.leads_with("derived")
    if len(measured) == len(LEADS):
        return "All 12 leads measured"
    if not measured:
        return f"No lead measured as such; 12 leads derived from {listed(FRANK_LEADS)}"
    words = f"{len(measured)} of 12 leads measured: {lead_words(measured)}"
    if derived:
        words += f"; {lead_words(derived)} derived from them"
        if lead_set_of(ecg).vcg is not None:
            words = words.removesuffix(" from them") + f" from {listed(FRANK_LEADS)}"
    return words


def _runs(chest: Sequence[str]) -> list[str]:
    """V1, V2, V3, V5 -> V1-V3, V5."""
    numbers = [int(lead[1:]) for lead in chest]
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return [f"V{run[0]}" + (f"-V{run[-1]}" if len(run) > 1 else "") for run in runs]
