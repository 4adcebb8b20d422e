"""LVEF, findings and measures out of the text of an echo report, by rules.

No model and no network: the same text always gives the same answer, and every answer names the
words it stands on. What the rules get wrong is measured in ``docs/echo-text.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from echoing_core.reports.echo_text.findings import (
    FINDINGS,
    Finding,
    LvFunction,
    findings,
    lv_functions,
)
from echoing_core.reports.echo_text.findings import measures as measures_of
from echoing_core.reports.echo_text.lvef import (
    GRADE_LIMITS_PCT,
    WORDS,
    Lvef,
    lvef_numbers,
)
from echoing_core.reports.echo_text.sentences import sentences, worse

# A measured ejection fraction goes before an estimate.
_METHOD_RANK = {"3D": 0, "biplane": 1, None: 2, "visual": 2}


@dataclass(frozen=True)
class EchoFindings:
    """What a report states, of its own examination and of earlier ones.

    Attributes
    ----------
    lvef : Lvef or None
        The ejection fraction of this examination: a measured one (3D, biplane) before an
        estimate, a number before words, and otherwise the first.
    lvef_past : Lvef or None
        The last one stated of an earlier examination.
    findings : mapping of str to Finding
        By name (`FINDINGS`); of several statements the worst. A finding that the report does not
        mention is absent from the mapping.
    findings_past : mapping of str to Finding
        Those stated of earlier times alone.
    measures : mapping of str to float
        ``septum_mm``, ``posterior_wall_mm``, ``lvedd_mm``, ``fractional_shortening_pct``,
        ``pasp_mmhg``: the first of each.
    """

    lvef: Lvef | None
    lvef_past: Lvef | None = None
    findings: Mapping[str, Finding] = field(default_factory=lambda: MappingProxyType({}))
    findings_past: Mapping[str, Finding] = field(default_factory=lambda: MappingProxyType({}))
    measures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def lvef_pct(self) -> float | None:
        """Number, middle of a range, or limit; None where there is none, or words alone."""
        return None if self.lvef is None else self.lvef.pct

    def lvef_below(self, threshold_pct: float) -> bool | None:
        """Whether the ejection fraction is below a threshold.

        Parameters
        ----------
        threshold_pct : float
            In percent.

        Returns
        -------
        bool or None
            None where the report does not decide it (`Lvef.below`).
        """
        return None if self.lvef is None else self.lvef.below(threshold_pct)

    def grade(self, name: str) -> str | None:
        """Grade of a finding that is certain, ``"none"`` where it is denied, else None.

        Parameters
        ----------
        name : str
            One of `FINDINGS`.

        Raises
        ------
        KeyError
            There is no such finding.
        """
        if name not in FINDINGS:
            raise KeyError(name)
        finding = self.findings.get(name)
        return finding.grade if finding is not None and finding.certain else None


def echo_findings(text: str) -> EchoFindings:
    """Read the text of an echo report, or of any note that holds one.

    Parameters
    ----------
    text : str
        English, in any capitals.

    Returns
    -------
    EchoFindings
        Empty where the text says nothing of the heart.
    """
    numbers: list[Lvef] = []
    words: list[Lvef] = []
    now: dict[str, Finding] = {}
    past: dict[str, Finding] = {}
    measured: dict[str, float] = {}
    for sentence in sentences(text):
        numbers += lvef_numbers(sentence)
        words += map(_lvef_of_words, lv_functions(sentence))
        for finding in findings(sentence):
            _keep_worst(past if finding.past else now, finding)
        for name, value in measures_of(sentence):
            measured.setdefault(name, value)
    # Words count only where no number does: "LVEF 35 %, moderately reduced" is a number.
    current = [one for one in numbers if not one.past] or [one for one in words if not one.past]
    earlier = [one for one in (*words, *numbers) if one.past]
    return EchoFindings(
        min(current, key=lambda one: _METHOD_RANK[one.method], default=None),
        earlier[-1] if earlier else None,
        MappingProxyType(now),
        MappingProxyType({name: one for name, one in past.items() if name not in now}),
        MappingProxyType(measured),
    )


def _lvef_of_words(function: LvFunction) -> Lvef:
    low_pct, high_pct = GRADE_LIMITS_PCT[function.grade]
    return Lvef(
        None,
        low_pct,
        high_pct,
        WORDS,
        function.grade,
        None,
        function.past,
        function.start,
        function.end,
        function.text,
    )


def _keep_worst(by_name: dict[str, Finding], one: Finding) -> None:
    """Put a finding in its place unless a worse one is there; what is certain goes before doubt."""
    other = by_name.get(one.name)
    if other is None or (one.certain, worse(one.grade, other.grade)) > (other.certain, False):
        by_name[one.name] = one
