"""Does a search in words find what it asks for, and say so where there is nothing?

    python benchmarks/searches.py PTBXL [--folds 9]

The 50 searches of `tests/questions/searches.yaml` (denials, sites of infarction, two findings at
once, other languages) are made in PTB-XL's ECGs as three collections: without any report, with
PTB-XL's own reports (German, Swedish and English, of about half of the ECGs), and with reports
worded from the SCP statements as for training. The last holds the truth in words, so it measures
how reports are read and nothing of the model. Truth is the SCP statements, whatever their
likelihood.

Printed is the precision at 10: of the CSD to the embedded text, as searches once were, and of
`search_in_words`; beside it the share of ECGs that are right (chance) and the best that is possible
where fewer than 10 are. Then how often "nothing close" is said: with all ECGs, without those
that are right, and to off-topic searches. Intervals are of a bootstrap over the searches.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from echoing_core import load_model
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.datasets.study_set import StudySet
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.errors import ConfigError
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.index import index_files, open_index_files
from echoing_core.retrieve.search import ItemFilter
from echoing_core.services import Collection, Model, query_embedding, search_in_words

QUESTIONS = Path(__file__).resolve().parents[1] / "tests" / "questions"
K = 10
N_RESAMPLES = 2000


def right(codes: list[str], statements: list[set[str]]) -> np.ndarray:
    """Which ECGs hold all of the codes, and none of those that a "-" stands before."""
    return np.array(
        [
            all((c[1:] not in s) if c.startswith("-") else (c in s) for c in codes)
            for s in statements
        ]
    )


def collection(
    model: Model, studies: StudySet, ecg: GaussianEmbedding, reports: list[str]
) -> Collection:
    """The ECGs with these reports as a collection in memory, without labels."""
    mu = np.zeros_like(ecg.mu)
    mu[:, 0] = 1.0
    log_var = np.zeros_like(mu)
    there = [i for i, report in enumerate(reports) if report.strip()]
    if there:
        encoded = encode_texts(model.checkpoint, [reports[i] for i in there])
        mu[there], log_var[there] = encoded.mu, encoded.log_var
    text = GaussianEmbedding(mu, log_var)
    table = studies.table
    items = pd.DataFrame(
        {
            "item_id": table["record_id"].astype(str).astype(object),
            "patient_id": table["patient_id"].astype(str).astype(object),
            "record_id": table["record_id"].astype(str).astype(object),
            "report": pd.Series(reports, dtype=object),
            "source": pd.Series(["ptbxl"] * len(table), dtype=object),
            "uncertainty": ecg.uncertainty,
            "percentile": model.reference.percentile(ecg.uncertainty),
            "text_uncertainty": text.uncertainty,
            "simulated": False,
        }
    )
    files = index_files(ecg=ecg, text=text, items=items, checkpoint_hash=model.hash)
    return Collection("PTB-XL", open_index_files(files, "x", checkpoint_hash=model.hash), "built")


def with_interval(values: np.ndarray) -> str:
    """Mean over the searches, and its bootstrap interval."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(len(values), size=(N_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    model = load_model(given.model)
    studies = load_ptbxl(given.ptbxl, folds=given.folds)
    checkpoint = model.checkpoint
    ecg = encode_batch(checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid)
    report(model, studies, ecg)


def report(model: Model, studies: StudySet, ecg: GaussianEmbedding) -> None:
    """Make all searches in all collections and print what they found."""
    table = studies.table
    statements = [set(codes) for codes in table["scp_codes"]]
    searches = yaml.safe_load((QUESTIONS / "searches.yaml").read_text(encoding="utf-8"))
    searches = [(str(text), [str(c) for c in codes]) for text, codes in searches]
    refused_texts = yaml.safe_load((QUESTIONS / "refused.yaml").read_text(encoding="utf-8"))
    off_topic = [str(text) for texts in refused_texts.values() for text in texts]
    original = table["report_original"].fillna("").astype(str)
    collections = {
        "no reports": collection(model, studies, ecg, [""] * len(table)),
        "its own reports": collection(model, studies, ecg, list(original)),
        "worded statements": collection(model, studies, ecg, list(table["report"].astype(str))),
    }
    truths = [right(codes, statements) for _, codes in searches]
    chance = np.array([truth.mean() for truth in truths])
    possible = np.array([min(1.0, truth.sum() / K) for truth in truths])
    found: dict[str, np.ndarray] = {}
    said: dict[str, list[str]] = {}
    for name, searched in collections.items():
        rows = {item: row for row, item in enumerate(searched.index.items["item_id"])}
        before, after, close, close_without = [], [], [], []
        for (text, codes), truth in zip(searches, truths, strict=True):
            plain = searched.search(query_embedding(model, text), K, from_text=True)
            read = search_in_words(searched, model, text, K)
            before.append(np.mean([truth[rows[hit.item_id]] for hit in plain.hits]))
            after.append(np.mean([truth[rows[hit.item_id]] for hit in read.hits]))
            if all(c.startswith("-") for c in codes):
                continue
            if truth.any():
                close.append(read.close)
            wrong = ItemFilter(exclude_item_ids=tuple(np.array(list(rows))[truth]))
            close_without.append(search_in_words(searched, model, text, K, where=wrong).close)
        if name == "no reports":
            found["before"] = np.array(before)
        found[name] = np.array(after)
        refused = 0
        for text in off_topic:
            try:
                refused += search_in_words(searched, model, text, K).close is False
            except ConfigError:
                refused += 1
        said[name] = [
            f"{sum(c is False for c in close)} of {len(close)}",
            f"{sum(c is False for c in close_without)} of {len(close_without)}",
            f"{refused} of {len(off_topic)}",
        ]
    print(f"{len(table)} ECGs of {table['patient_id'].nunique()} patients\n")
    print("| search | right | possible | " + " | ".join(found) + " |")
    print("|---" * (3 + len(found)) + "|")
    for i, (text, _) in enumerate(searches):
        cells = " | ".join(f"{values[i]:.1f}" for values in found.values())
        print(f"| {text} | {100 * chance[i]:.1f} % | {possible[i]:.1f} | {cells} |")
    cells = " | ".join(with_interval(values) for values in found.values())
    print(f"| mean | {100 * chance.mean():.1f} % | {possible.mean():.3f} | {cells} |")
    print("\n| collection | better than before by |\n|---|---|")
    for name in collections:
        print(f"| {name} | {with_interval(found[name] - found['before'])} |")
    print("\n“Nothing close” is said:\n")
    print("| collection | although there are such | where there are none | off-topic |")
    print("|---|---|---|---|")
    for name, cells_said in said.items():
        print(f"| {name} | {' | '.join(cells_said)} |")


if __name__ == "__main__":
    main()
