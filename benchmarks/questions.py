"""How well do questions in people's own words tell real ECGs apart?

    python benchmarks/questions.py PTBXL [--folds 9]

The 360 phrases of `tests/questions/phrases.yaml` (15 findings; canonical, abbreviated, misspelt,
lay words, sentences, denials, three languages) are asked of PTB-XL's ECGs: as they stand, against
"no ..." as free texts once were, and as `reports.understanding` reads them. Printed is the mean
AUROC over the phrases of each kind, with a bootstrap over patients. Truth is the SCP statements,
whatever their likelihood. A phrase that is refused counts 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from echoing_core import load_model
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.embed.encode import encode_batch
from echoing_core.embed.questions import question_margins
from echoing_core.errors import ConfigError
from echoing_core.metrics.bootstrap import patient_bootstrap_all
from echoing_core.metrics.scores import auroc
from echoing_core.reports.scp_text import FINDING_CODES
from echoing_core.reports.understanding import prompt_sets_of, understand
from echoing_core.services import prompt_sets
from echoing_core.zeroshot.prompts import PromptSet

PHRASES = Path(__file__).resolve().parents[1] / "tests" / "questions" / "phrases.yaml"
N_RESAMPLES = 200


def as_they_stand(text: str) -> tuple[PromptSet, ...]:
    """The text against its own denial, unread."""
    words = " ".join(text.lower().split()).strip(" .?!")
    denial = (f"no {words}", f"no evidence of {words}", "normal ecg")
    if words == "normal ecg":
        denial = ("abnormal ecg", "not a normal ecg")
    return (PromptSet("question", text, (words,), denial),)


def true_for(group: dict[str, list[str]]) -> set[str]:
    """SCP statements that make a group of phrases true."""
    (finding,) = understand(group["canonical"][0]).findings
    return set(FINDING_CODES[finding.finding])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    given = parser.parse_args()
    checkpoint = load_model().checkpoint
    studies = load_ptbxl(given.ptbxl, folds=given.folds)
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid)
    patients = np.asarray(studies.table["patient_id"].astype(str))
    statements = [set(codes) for codes in studies.table["scp_codes"]]
    shipped = prompt_sets()
    margins: dict[PromptSet, np.ndarray] = {}

    def margin(question: PromptSet) -> np.ndarray:
        if question not in margins:
            margins[question] = question_margins(checkpoint, ecg, question)[0]
        return margins[question]

    def asked(text: str, reader: Callable[[str], tuple[PromptSet, ...]]) -> np.ndarray | None:
        try:
            # Of several findings all must hold.
            return np.min([margin(question) for question in reader(text)], axis=0)
        except ConfigError:
            return None

    groups = yaml.safe_load(PHRASES.read_text(encoding="utf-8"))
    readers = {
        "as they stand": as_they_stand,
        "as read": lambda t: prompt_sets_of(understand(t), shipped),
    }
    print(f"{len(studies)} ECGs of {len(set(patients))} patients\n")
    print("| kind | phrases | " + " | ".join(readers) + " |")
    print("|---" * (2 + len(readers)) + "|")
    kinds = [kind for kind in next(iter(groups.values())) if kind != "codes"]
    rows = {
        name: [
            (kind, np.array([bool(s & true_for(group)) for s in statements]), asked(text, read))
            for group in groups.values()
            for kind in kinds
            for text in group[kind]
        ]
        for name, read in readers.items()
    }
    cells: dict[str, list[str]] = {kind: [] for kind in (*kinds, "all")}
    for asked_rows in rows.values():

        def by_kind(index: np.ndarray, asked_rows: list = asked_rows) -> dict[str, float]:
            values: dict[str, list[float]] = {kind: [] for kind in (*kinds, "all")}
            for kind, truth, score in asked_rows:
                label = truth[index] != (kind == "negation")
                value = 0.5 if score is None else auroc(label, score[index])
                if np.isfinite(value):
                    values[kind].append(value)
                    values["all"].append(value)
            return {kind: float(np.mean(each)) for kind, each in values.items()}

        estimates = patient_bootstrap_all(
            by_kind, (np.arange(len(patients)),), patients, n_resamples=N_RESAMPLES
        )
        for kind, e in estimates.items():
            cells[kind].append(f"{e.value:.3f} ({e.low:.3f} to {e.high:.3f})")
    first = next(iter(rows.values()))
    for kind, shown in cells.items():
        n = sum(kind in (k, "all") for k, _, _ in first)
        print(f"| {kind} | {n} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
