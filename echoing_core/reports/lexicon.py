"""The word list `lexicon.yaml`, turned round for reading: what words mean, and what they name."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from echoing_core.documents import parse_yaml

Kind = Literal[
    "word", "deny_before", "deny_again", "deny_after", "excluded", "excludes", "to_exclude",
    "sure", "is_there", "past", "starts_again", "joint", "filler", "unknown",
]  # fmt: skip
"""What words do in a sentence; most are sections of the file."""

_GRAMMAR: tuple[Kind, ...] = (
    "deny_before",
    "deny_again",
    "deny_after",
    "excluded",
    "excludes",
    "to_exclude",
    "is_there",
    "past",
    "starts_again",
)


@dataclass(frozen=True)
class Rule:
    """Concepts that name a finding together; those of ``along`` belong to it where they stand."""

    needed: frozenset[str]
    finding: str
    along: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Detail:
    """What may be normal by itself: ``name`` with its article, and what it denies then."""

    name: str
    of: frozenset[str]
    denies: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """The lexicon file, turned round for reading.

    Attributes
    ----------
    phrases : dict
        Words in their order -> concepts.
    stems : dict
        Beginning of a word -> concepts.
    rules : tuple of Rule
        The largest set of concepts first.
    not_asked : frozenset of str
        What rules name and no question asks.
    details : tuple of Detail
        Where it is said to be normal, its name is a concept and a finding.
    grammar : dict
        Words in their order -> what they do.
    sure, neutral, neutral_end : frozenset of tuple of str
        Phrases that are read before the sentence is cut into clauses.
    longest : int
        Most words in a phrase.
    vocabulary : frozenset of str
        Every single word that is known.
    """

    phrases: dict[tuple[str, ...], frozenset[str]]
    stems: dict[str, frozenset[str]]
    rules: tuple[Rule, ...]
    not_asked: frozenset[str]
    details: tuple[Detail, ...]
    sited: frozenset[str]
    without: dict[str, frozenset[str]]
    grammar: dict[tuple[str, ...], Kind]
    sure: frozenset[tuple[str, ...]]
    neutral: frozenset[tuple[str, ...]]
    neutral_end: frozenset[tuple[str, ...]]
    filler: frozenset[str]
    breaks: frozenset[str]
    joints: frozenset[str]
    alternatives: frozenset[str]
    implied: dict[str, frozenset[str]]
    weak: frozenset[str]
    beside_normal: frozenset[str]
    healthy: frozenset[str]
    decisive: frozenset[str]
    age_words: frozenset[str]
    not_misspelt: frozenset[str]
    longest: int
    vocabulary: frozenset[str]

    def named(self, concepts: frozenset[str]) -> tuple[list[str], frozenset[str]]:
        """Findings of a set of concepts, and what is left over.

        Parameters
        ----------
        concepts : frozenset of str

        Returns
        -------
        findings : list of str
            Of the largest rule that fits, then among what it left.
        left : frozenset of str
        """
        findings: list[str] = []
        left = concepts
        for rule in self.rules:
            if rule.needed <= left:
                findings.append(rule.finding)
                left = left - rule.needed - rule.along
        # "Sinus rhythm, normal axis, normal ECG" says all three.
        beside = self.beside_normal | {detail.name for detail in self.details}
        if not self.weak.isdisjoint(findings) and not set(findings) <= self.weak | beside:
            findings = [f for f in findings if f not in self.weak]
        return findings, left


def folded(text: str) -> str:
    """Lower case, without accents and French elisions; "-", "/" and "+" become spaces."""
    # Italian "né" is "neither"; without its accent it would be the French "ne".
    plain = re.sub(r"\bné\b", "ni", unicodedata.normalize("NFC", text.casefold()))
    plain = unicodedata.normalize("NFKD", plain.replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    plain = re.sub(r"\(\s*-\s*\)", " absent ", re.sub(r"\bz\. ?n\.", "zn", plain))
    plain = re.sub(r"\b(d|l|qu|n)['’]", r"\1 ", plain.replace("w/o", "without"))
    return re.sub(r"[-/+&'’]", " ", plain)


@cache
def lexicon() -> Lexicon:
    """The lexicon that ships."""
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

    def sequences(section: str) -> frozenset[tuple[str, ...]]:
        return frozenset(tuple(folded(str(w)).split()) for w in content[section])

    grammar: dict[tuple[str, ...], Kind] = {
        words: kind for kind in reversed(_GRAMMAR) for words in sequences(kind)
    }
    sure, neutral, neutral_end = map(sequences, ("sure", "neutral", "neutral_end"))
    filler = frozenset(folded(str(w)) for w in content["filler"])
    known = (*phrases, *grammar, *sure, *neutral, *neutral_end)

    def names(section: str) -> frozenset[str]:
        return frozenset(map(str, content[section]))

    details = tuple(
        Detail(
            name if name.endswith("s") else f"a {name}",
            frozenset(detail["of"]),
            tuple(detail["denies"]),
        )
        for name, detail in ((f"normal {key}", v) for key, v in content["details"].items())
    )
    of_details = frozenset(detail.name for detail in details)
    breaks, joints = names("breaks"), names("joints")
    return Lexicon(
        phrases={k: frozenset(v) for k, v in phrases.items()},
        stems={k: frozenset(v) for k, v in stems.items()},
        rules=(
            *_rules(content["findings"], content["not_asked"]),
            *(Rule(frozenset({name}), name) for name in sorted(of_details)),
        ),
        not_asked=names("not_asked") | of_details,
        details=details,
        sited=names("sited"),
        without={k: frozenset(v) for k, v in content["without"].items()},
        grammar=grammar,
        sure=sure,
        neutral=neutral,
        neutral_end=neutral_end,
        filler=filler,
        breaks=breaks,
        joints=joints,
        alternatives=names("alternatives"),
        implied={k: frozenset(v) for k, v in content["implied"].items()},
        weak=names("weak"),
        beside_normal=names("beside_normal"),
        healthy=names("healthy") | of_details,
        decisive=names("decisive"),
        age_words=names("age_words"),
        not_misspelt=names("not_misspelt"),
        longest=max(len(p) for p in known),
        vocabulary=frozenset({w for p in known for w in p} | filler | breaks | joints),
    )


def _rules(asked: dict[str, list[str]], not_asked: dict[str, list[str]]) -> tuple[Rule, ...]:
    """The largest set first; among equals the order of the file, and what is not asked last.

    A single word that is not asked goes first, since it takes others along: "junctional
    tachycardia" is no tachycardia of the sinus.
    """
    rules: list[tuple[int, bool, Rule]] = []
    for foreign, section in ((False, asked), (True, not_asked)):
        for finding, sets in section.items():
            for names in sets:
                words = str(names).split()
                needed = frozenset(w for w in words if w[0] != "+")
                along = frozenset(w[1:] for w in words if w[0] == "+")
                last = foreign == (len(needed) > 1)
                rules.append((-len(needed), last, Rule(needed, finding, along)))
    rules.sort(key=lambda rule: rule[:2])
    return tuple(rule for _, _, rule in rules)
