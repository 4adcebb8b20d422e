"""What a report states: which findings are there, which it denies, and in which words.

The same reader as for questions (`understanding`) goes over a report sentence by sentence, so that
a question in German and a report in English meet in findings and a denial is never taken for the
finding. A report of an inferior infarct says of "infarction" that it is there, and one of a normal
ECG denies every disease: both are knowledge about findings and stand in `covers` and `_excludes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from echoing_core.errors import ConfigError
from echoing_core.reports.echo_text.reading import echo_findings
from echoing_core.reports.scp_text import LABEL_GROUPS, label_words
from echoing_core.reports.understanding import AskedFinding, mentioned, understand
from echoing_core.reports.vocabulary import WORDING

_SENTENCE = re.compile(r"[^.;\n!?]+")
_LONGEST_QUOTE = 80
_MOST_CHARACTERS = 4000
_LOWEST_NORMAL_PCT = 50.0

# What may speak of the echocardiogram; its reader then decides. Such words ("normal left
# ventricular size") would otherwise be read as a normal ECG.
_PERHAPS_ECHO = re.compile(r"\b(?:lv|left ventric\w*|l?v?ef|ejection|walls?|echo\w*|tte|hfref)\b")
_SURELY_ECHO = re.compile(r"\b(?:echo\w*|tte|wall thick\w*|walls)\b")

OF_ECHO = ("lvef", "lv_", "wall_")
"""How findings of the echocardiogram begin: the report of an ECG does not mention them, whether
they are there or not."""

_NOT_DISEASE = frozenset(
    {
        *("sinus_rhythm", "sinus_bradycardia", "sinus_tachycardia", "sinus_arrhythmia"),
        *("normal_ecg", "abnormal_ecg", "normal_axis", "left_axis", "right_axis"),
        *("vertical_axis", "indeterminate_axis", "low_voltage", "high_voltage", "premature_beats"),
        *("pvc", "pac", "arrhythmia"),
    }
)
"""What may stand in the report of an ECG that is otherwise normal."""

_SINUS = ("sinus_rhythm", "sinus_bradycardia", "sinus_tachycardia", "sinus_arrhythmia")
_OTHER_RHYTHMS = ("atrial_fibrillation", "atrial_flutter", "svt", "psvt")

_PARTS: Mapping[str, tuple[str, ...]] = {
    "infarction": tuple(k for k in WORDING if k.startswith("mi_")),
    "ischemia": tuple(k for k in WORDING if k.startswith("ischemia_")),
    "injury": tuple(k for k in WORDING if k.startswith("injury_")),
    "st_t": (
        *(k for k, w in WORDING.items() if w.superclass == "STTC"),
        *("ischemia", "st_depression", "st_elevation", "t_inversion", "t_flat", "nonspecific_t"),
    ),
    "conduction_disturbance": (
        *(k for k, w in WORDING.items() if w.superclass == "CD"),
        "av_block",
        "bundle_branch_block",
    ),
    "av_block": ("av_block_1", "av_block_2", "av_block_3"),
    "bundle_branch_block": ("lbbb", "rbbb", "ilbbb", "irbbb"),
    "premature_beats": ("pvc", "pac", "bigeminy", "trigeminy"),
    "arrhythmia": (*_OTHER_RHYTHMS, "sv_arrhythmia", "premature_beats"),
    "sinus_rhythm": ("sinus_bradycardia", "sinus_tachycardia", "sinus_arrhythmia"),
    "svt": ("psvt",),
    "av_block_1": ("prolonged_pr",),
    "lvef_reduced": ("lvef_severely_reduced", "lvef_moderately_reduced"),
}

_EXCLUDES: Mapping[str, tuple[str, ...]] = {
    "lvef_normal": ("lvef_reduced",),
    "lvef_reduced": ("lvef_normal",),
    **dict.fromkeys(_SINUS, _OTHER_RHYTHMS),
    **dict.fromkeys(_OTHER_RHYTHMS, (*_SINUS, "normal_ecg")),
    "sinus_bradycardia": (*_OTHER_RHYTHMS, "sinus_tachycardia"),
    "sinus_tachycardia": (*_OTHER_RHYTHMS, "sinus_bradycardia"),
    "paced_rhythm": ("normal_ecg",),
}
"""What cannot be there beside a finding."""


@dataclass(frozen=True)
class Stated:
    """Findings of a report or of labels.

    Attributes
    ----------
    present, denied : mapping of str to str
        Finding -> the words that say so.
    lvef_pct : (low, high) or None
        Between which values the ejection fraction is said to lie, in percent.
    """

    present: Mapping[str, str]
    denied: Mapping[str, str]
    lvef_pct: tuple[float, float] | None = None

    def answers(self, asked: AskedFinding) -> tuple[bool | None, str]:
        """Whether what is asked is so, as far as it is stated.

        Parameters
        ----------
        asked : AskedFinding

        Returns
        -------
        so : bool or None
            None where nothing is said of it.
        words : str
            That say so; empty with None.
        """
        there, words = self._is_there(asked)
        return (None, "") if there is None else (there != asked.negated, words)

    def _is_there(self, asked: AskedFinding) -> tuple[bool | None, str]:
        if asked.threshold_pct is not None:
            return self._is_below(asked.threshold_pct)
        for name in covered(asked.finding):
            if name in self.present:
                return True, self.present[name]
        if asked.finding in self.denied:
            return False, self.denied[asked.finding]
        # "No bundle branch block" denies the left one, too.
        for general, parts in _PARTS.items():
            if general in self.denied and asked.finding in parts:
                return False, self.denied[general]
        for name, words in self.present.items():
            if excludes(name, asked.finding):
                return False, words
        return None, ""

    def _is_below(self, threshold_pct: float) -> tuple[bool | None, str]:
        if self.lvef_pct is None:
            return None, ""
        low, high = self.lvef_pct
        words = f"LVEF {low:g} %" if low == high else f"LVEF {low:g} to {high:g} %"
        if low >= threshold_pct:
            return False, words
        # "Moderately reduced, 30 to 40" lies below 40.
        return (True, words) if high <= threshold_pct else (None, "")


@cache
def covered(finding: str) -> tuple[str, ...]:
    """A finding and all that it covers: of infarction, the infarcts of every site.

    Parameters
    ----------
    finding : str

    Returns
    -------
    tuple of str
        The finding itself first.
    """
    names = [finding]
    for name in names:
        names += [part for part in _PARTS.get(name, ()) if part not in names]
    return tuple(names)


@cache
def excludes(finding: str, other: str) -> bool:
    """Whether ``other`` cannot be there where ``finding`` is stated.

    Parameters
    ----------
    finding, other : str

    Returns
    -------
    bool
    """
    if finding == "normal_ecg":
        return other not in _NOT_DISEASE and not other.startswith(OF_ECHO)
    if other == "normal_ecg" and finding not in _NOT_DISEASE:
        return not finding.startswith(OF_ECHO)
    return other in _EXCLUDES.get(finding, ())


@lru_cache(maxsize=50_000)
def read_report(text: str) -> Stated:
    """Read a report.

    Parameters
    ----------
    text : str
        In any of the languages of `understanding`; only its first 4000 characters are read.

    Returns
    -------
    Stated
        What is both stated and denied counts as stated.
    """
    present: dict[str, str] = {}
    denied: dict[str, str] = {}
    lvef_pct = None
    for match in _SENTENCE.finditer(text[:_MOST_CHARACTERS]):
        sentence = " ".join(match[0].split())
        if not sentence:
            continue
        read = _sentence(sentence)
        lvef_pct = lvef_pct or read.lvef_pct
        for mine, theirs in ((present, read.present), (denied, read.denied)):
            for finding, words in theirs.items():
                mine.setdefault(finding, words)
    return Stated(present, {k: w for k, w in denied.items() if k not in present}, lvef_pct)


@lru_cache(maxsize=50_000)
def _sentence(sentence: str) -> Stated:
    words = sentence
    if len(sentence) > _LONGEST_QUOTE:
        words = sentence[: _LONGEST_QUOTE - 1] + "…"
    if _PERHAPS_ECHO.search(sentence.lower()):
        echo = _echo_sentence(sentence, words)
        if echo is not None:
            return echo
    found = mentioned(sentence)
    return Stated(
        {f.finding: words for f in found if not f.negated},
        {f.finding: words for f in found if f.negated},
    )


def _echo_sentence(sentence: str, words: str) -> Stated | None:
    """What a sentence on the echocardiogram states; None where it is on the ECG."""
    read = echo_findings(sentence)
    dilated, thick = read.grade("lv_dilation"), read.grade("lv_hypertrophy")
    sure = _SURELY_ECHO.search(sentence.lower()) is not None
    if read.lvef is None and dilated is None and not (sure or thick == "severe"):
        return None
    so: dict[str, bool] = {}
    lvef_pct = None
    if read.lvef is not None:
        low, high = read.lvef.low_pct, read.lvef.high_pct
        lvef_pct = (low, high) if read.lvef.pct is None else (read.lvef.pct, read.lvef.pct)
        reduced = read.lvef_below(_LOWEST_NORMAL_PCT)
        if reduced is not None:
            so |= {"lvef_reduced": reduced, "lvef_normal": not reduced}
    if dilated is not None:
        so["lv_dilated"] = dilated != "none"
    if thick is not None:
        so["wall_severely_thick"] = thick == "severe"
    return Stated(
        {k: words for k, there in so.items() if there},
        {k: words for k, there in so.items() if not there},
        lvef_pct,
    )


def read_labels(labels: Mapping[str, object]) -> Stated:
    """Read what labels say: yes or no for a finding each, and the ejection fraction.

    Parameters
    ----------
    labels : mapping of str to str, float or bool
        By their names without ``label_``, as `Hit.labels`.

    Returns
    -------
    Stated
        Names that are no finding are left out.
    """
    present: dict[str, str] = {}
    denied: dict[str, str] = {}
    lvef_pct = None
    for name, value in labels.items():
        if not isinstance(value, bool | int | float) or value != value:
            continue
        if name == "lvef_pct":
            lvef_pct = (float(value), float(value))
        finding = finding_of_label(name) if value in (0, 1) else None
        if finding is not None:
            side = present if value else denied
            words = label_words(name) if name.startswith(LABEL_GROUPS) else name
            side.setdefault(finding, f"label {words or name}: {'yes' if value else 'no'}")
    return Stated(present, denied, lvef_pct)


@cache
def finding_of_label(name: str) -> str | None:
    """The finding that a yes/no label is about, or None.

    Parameters
    ----------
    name : str
        ``"af"``, ``"lbbb"``, ``"AFIB"``... A finding's own key, or what a person would read so.

    Returns
    -------
    str or None
    """
    if name in WORDING or name in _PARTS:
        return name
    if name in _LABELS:
        return _LABELS[name]
    try:
        findings = understand(name.replace("_", " ")).findings
    except ConfigError:
        return None
    return findings[0].finding if len(findings) == 1 and not findings[0].negated else None


_LABELS: Mapping[str, str | None] = {
    "flutter": "atrial_flutter",
    "paced": "paced_rhythm",
    "NORM": "normal_ecg",
    "CD": "conduction_disturbance",
    # Truths of simulated hearts that an ECG's report does not state.
    "lvef_lt40": None,
    "slvh": "wall_severely_thick",
    "dlv": "lv_dilated",
    "slvh_or_dlv": None,
    # The superclass counts subendocardial injury as infarction; "mi" is infarction alone.
    "MI": None,
    "HYP": None,
}
