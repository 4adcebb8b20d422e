"""How often `reports.echo_text` is right, on sentences whose truth is known."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoing_core.errors import DataSetError
from echoing_core.metrics.results import Experiment, Table
from echoing_core.progress import SILENT, Progress
from echoing_core.reports.echo_text.findings import FINDINGS, Finding
from echoing_core.reports.echo_text.lvef import WORDS, Lvef
from echoing_core.reports.echo_text.reading import EchoFindings, echo_findings

LVEF_KINDS = ("lvef_number", "lvef_range", "lvef_at_least", "lvef_at_most", "lvef_words")
MEASURES = (
    "septum_mm",
    "posterior_wall_mm",
    "lvedd_mm",
    "fractional_shortening_pct",
    "pasp_mmhg",
)
KINDS: tuple[str, ...] = (*LVEF_KINDS, "lvef_past_pct", *FINDINGS, *MEASURES)
COLUMNS = ("half", "text", "truth")


@dataclass(frozen=True)
class TrueSentence:
    """A sentence and all that it says.

    Attributes
    ----------
    half : str
        ``"developed"`` where rules were written with it in view, ``"held out"`` where not.
    text : str
    truth : mapping of str to str
        A kind (`KINDS`) to a number, a grade, ``"possible"``, or words; empty where it says
        nothing that is looked for.
    """

    half: str
    text: str
    truth: Mapping[str, str]


@dataclass(frozen=True)
class Score:
    """Right, wrongly said and missed of one kind; a wrong value is both of the last."""

    kind: str
    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> float | None:
        """Right among all said; None where nothing was said."""
        said = self.right + self.wrong
        return self.right / said if said else None

    @property
    def recall(self) -> float | None:
        """Right among all there is; None where there is none."""
        there = self.right + self.missed
        return self.right / there if there else None


@dataclass(frozen=True)
class EchoTextReport:
    """Scores of one half, the last of all kinds together, and every sentence that is not right."""

    half: str
    n_sentences: int
    scores: tuple[Score, ...]
    failures: tuple[tuple[str, str, str], ...]
    """(sentence, truth, what was said)."""

    @property
    def n_right(self) -> int:
        """Sentences of which everything was right."""
        return self.n_sentences - len(self.failures)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "half": self.half,
            "sentences": self.n_sentences,
            "sentences_right": self.n_right,
            "scores": [
                {
                    "kind": score.kind,
                    "right": score.right,
                    "wrong": score.wrong,
                    "missed": score.missed,
                    "precision": score.precision,
                    "recall": score.recall,
                }
                for score in self.scores
            ],
            "failures": [
                {"text": text, "truth": truth, "said": said} for text, truth, said in self.failures
            ],
        }

    def to_markdown(self) -> str:
        """A section with a table, and the failures below it."""
        rows = [
            [
                score.kind.replace("_", " "),
                *(str(count) for count in (score.right, score.wrong, score.missed)),
                _percent(score.precision),
                _percent(score.recall),
            ]
            for score in self.scores
        ]
        failures = []
        for text, truth, said in self.failures:
            one_line = text.replace("\n", " ⏎ ")
            failures.append(
                f'- "{one_line}": true is {truth or "nothing"}; said was {said or "nothing"}'
            )
        notes = "What is not right:\n\n" if failures else "Nothing is wrong."
        header = ["kind", "right", "wrongly said", "missed", "precision", "recall"]
        return Experiment(
            "echo_text",
            f"Sentences {self.half}",
            f"{self.n_right} of {self.n_sentences} sentences are right in every respect.",
            tables=(Table("", header, rows, note=notes + "\n".join(failures)),),
        ).to_markdown()


def read_sentences(path: Path) -> tuple[TrueSentence, ...]:
    r"""Read a CSV with the columns ``half``, ``text`` and ``truth``.

    ``truth`` is ``kind=value`` joined by semicolons: ``lvef_range=57.5; mitral_regurgitation=mild;
    pericardial_effusion=none``. A line end within a text is written ``\n``.

    Parameters
    ----------
    path : path

    Returns
    -------
    tuple of TrueSentence

    Raises
    ------
    DataSetError
        A column is missing, or a kind is not known.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise DataSetError(
                    f"{path.name} needs the columns {', '.join(COLUMNS)}; it has "
                    f"{', '.join(rows.fieldnames or ()) or 'none'}."
                )
            sentences = tuple(_sentence_of(path, row) for row in rows)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataSetError(f"{path.name} cannot be read as a CSV in UTF-8.") from error
    if not sentences:
        raise DataSetError(f"{path.name} has no sentence.")
    return sentences


def _sentence_of(path: Path, row: Mapping[str, str]) -> TrueSentence:
    truth = {}
    for item in filter(None, (item.strip() for item in (row["truth"] or "").split(";"))):
        kind, _, value = (piece.strip() for piece in item.partition("="))
        if kind not in KINDS or not value:
            raise DataSetError(
                f"{path.name}: {item!r} is no kind with its value. Kinds are {', '.join(KINDS)}."
            )
        truth[kind] = _canonical(value)
    return TrueSentence(row["half"], row["text"].replace("\\n", "\n"), truth)


def score_echo_text(
    sentences: Sequence[TrueSentence],
    half: str,
    *,
    read: Callable[[str], EchoFindings] = echo_findings,
    progress: Progress = SILENT,
) -> EchoTextReport:
    """Read all sentences of one half and compare.

    Parameters
    ----------
    sentences : sequence of TrueSentence
    half : str
        Which of them count.
    read : callable
        Gives what a text says; without it, the rules.
    progress : Progress, optional
        Counts sentences.

    Returns
    -------
    EchoTextReport
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (*KINDS, "all")}
    failures = []
    chosen = [sentence for sentence in sentences if sentence.half == half]
    for done, sentence in enumerate(chosen):
        progress(done, len(chosen))
        said = readings_of(read(sentence.text))
        for kind in said.keys() | sentence.truth.keys():
            one, other = said.get(kind), sentence.truth.get(kind)
            if one == other:
                outcomes = ["right"]
            else:
                # A wrong value is both: said without truth, and the true value missed.
                outcomes = ["wrong"] * (one is not None) + ["missed"] * (other is not None)
            for outcome in outcomes:
                counts[kind][outcome] += 1
                counts["all"][outcome] += 1
        if said != dict(sentence.truth):
            failures.append((sentence.text, _in_words(sentence.truth), _in_words(said)))
    return EchoTextReport(
        half,
        len(chosen),
        tuple(
            Score(kind, count["right"], count["wrong"], count["missed"])
            for kind, count in counts.items()
            # Kinds that neither the truth nor the reading ever names have no row.
            if count.total()
        ),
        tuple(failures),
    )


def readings_of(echo: EchoFindings) -> dict[str, str]:
    """What was read, by kind and in the words of `TrueSentence`."""
    readings: dict[str, str] = {}
    if echo.lvef is not None:
        kind, value = _lvef(echo.lvef)
        readings[kind] = value
    if echo.lvef_past is not None and echo.lvef_past.pct is not None:
        readings["lvef_past_pct"] = f"{echo.lvef_past.pct:g}"
    readings |= {name: _finding(one) for name, one in echo.findings.items()}
    return readings | {name: f"{value:g}" for name, value in echo.measures.items()}


def _lvef(one: Lvef) -> tuple[str, str]:
    # Words give a grade ("mildly reduced"), all other kinds a percentage.
    value = one.grade if one.kind == WORDS else f"{one.pct:g}"
    return f"lvef_{one.kind.replace(' ', '_')}", str(value)


def _finding(one: Finding) -> str:
    return one.grade if one.certain else "possible"


def _canonical(value: str) -> str:
    try:
        return f"{float(value):g}"
    except ValueError:
        return value


def _in_words(by_kind: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {value}".replace("_", " ") for kind, value in sorted(by_kind.items()))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
