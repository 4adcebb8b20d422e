"""How often answers agree with what the device or an annotator says of the same ECG.

A reference is read from statements and rhythms in the files themselves, by the reader of reports
(`reports.stated`). It is not the truth: a cart's program errs too, and what a statement does not
mention is not counted as absent unless something stated excludes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from echoing_core.metrics.bootstrap import patient_bootstrap
from echoing_core.metrics.results import Experiment, Result, Table, with_interval
from echoing_core.reports.stated import read_report
from echoing_core.reports.understanding import AskedFinding

AGREES, DISAGREES, UNSURE = "agrees", "disagrees", "not sure enough"


@dataclass(frozen=True)
class Compared:
    """One answer beside what the file says.

    Attributes
    ----------
    recording, question : str
    stated : bool
        Whether what is asked is so, as the file says.
    words : str
        Of the file, that say so.
    answer : bool or None
        The model's yes or no, leanings included; None where it is not sure enough.
    """

    recording: str
    question: str
    stated: bool
    words: str
    answer: bool | None

    @property
    def outcome(self) -> str:
        """`AGREES`, `DISAGREES` or `UNSURE`."""
        if self.answer is None:
            return UNSURE
        return AGREES if self.answer == self.stated else DISAGREES


def stated_of(lines: Sequence[str], asked: AskedFinding) -> tuple[bool | None, str]:
    """Whether lines of a device say that what is asked is so.

    Parameters
    ----------
    lines : sequence of str
        Statements and rhythms.
    asked : AskedFinding

    Returns
    -------
    so : bool or None
        None where they say nothing of it.
    words : str
    """
    return read_report(". ".join(lines)).answers(asked)


def statement_agreement(
    compared: Sequence[Compared],
    *,
    model_name: str,
    counts: dict[str, float],
    simulated: bool = False,
    n_resamples: int = 1000,
) -> Experiment:
    """The answers beside the statements, by question.

    Parameters
    ----------
    compared : sequence of Compared
        Of files that say something of a question; one recording may stand for several questions.
    model_name : str
    counts : dict
        Recordings read, without statements, and the like.
    simulated : bool
        Whether any recording was simulated.
    n_resamples : int
        Of the recordings, for the intervals.

    Returns
    -------
    Experiment
    """
    results, rows = [], []
    for question in dict.fromkeys(c.question for c in compared):
        of_it = [c for c in compared if c.question == question]
        decided = [c for c in of_it if c.answer is not None]
        counted = [
            str(sum(c.outcome == outcome for c in of_it)) for outcome in (AGREES, DISAGREES, UNSURE)
        ]
        n_yes = sum(c.stated for c in of_it)
        cell = "no answer was sure enough"
        if decided:
            estimate = patient_bootstrap(
                lambda right: float(np.mean(right)),
                (np.array([c.outcome == AGREES for c in decided], dtype=np.float64),),
                [c.recording for c in decided],
                n_resamples=n_resamples,
            )
            cell = with_interval(estimate, percent=True)
            results.append(
                Result(
                    data="the device's statements", task=question, metric="agreement",
                    model=model_name, estimate=estimate, simulated=simulated,
                    protocol="zero-shot, surest window",
                )
            )  # fmt: skip
        rows.append((question, str(n_yes), str(len(of_it) - n_yes), *counted, cell))
    header = (
        "Question", "Stated yes", "Stated no", "Agrees", "Disagrees", "Not sure enough",
        "Agreement of decided, % (95 % interval)",
    )  # fmt: skip
    against = [c for c in compared if c.outcome == DISAGREES]
    disagreements = [
        (c.recording, c.question, "yes" if c.stated else "no", c.words, "yes" if c.answer else "no")
        for c in against
    ]
    tables = [Table("By question", header, rows)]
    if against:
        tables.append(
            Table(
                "Disagreements",
                ("Recording", "Question", "Stated", "In the words", "Answered"),
                disagreements,
            )
        )
    return Experiment(
        "statements",
        "Agreement with the device's own statements",
        "The surest window of each recording was asked zero-shot; the reference is what the file's "
        "statements and its rhythm in that window say, read by rules. It is another opinion and no "
        "truth. What is not stated is not counted.",
        tuple(results),
        tuple(tables),
        counts,
    )
