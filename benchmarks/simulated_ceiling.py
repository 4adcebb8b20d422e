"""How well the best possible reader of a simulated ECG could know the heart.

    python benchmarks/simulated_ceiling.py [--hearts 20000]

Every ECG is drawn from the fields of `HeartState` after the first five, and from random numbers
that have nothing to do with the heart. So a classifier that is given exactly those fields (and
age and sex, which an ECG shows in part) knows at least as much as any reader of the trace, and its
held-out AUROC bounds what a model can reach. Gradient boosting on many thousand hearts comes
close to that bound from below; `severity_bound` gives it from above for the ejection fraction,
because all signs of it pass through one noisy number.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from echoing_core.reports.vocabulary import DLV_LVEDD_MM, SLVH_WALL_MM
from echoing_core.simulate.heart.patients import LONG, patient_state, stream
from echoing_core.simulate.heart.sampling import SEVERITY_NOISE, deficit_of
from echoing_core.simulate.heart.state import HeartState

F64 = npt.NDArray[np.float64]

HIDDEN = ("lvef_pct", "wall_mm", "lvedd_mm")
"""Fields that the ECG is not drawn from."""

TARGETS = ("lvef_lt40", "slvh", "dlv")


@dataclass(frozen=True)
class Ceiling:
    """Bound for one target.

    Attributes
    ----------
    target : str
        One of `TARGETS`.
    auroc : float
        Held-out AUROC of gradient boosting on the ECG-generating fields.
    interval : tuple of float
        95 % bootstrap interval over held-out hearts.
    balanced_accuracy : float
        At the best cut-off of the training half.
    prevalence : float
    n_train, n_test : int
    """

    target: str
    auroc: float
    interval: tuple[float, float]
    balanced_accuracy: float
    prevalence: float
    n_train: int
    n_test: int


def ecg_fields(states: list[HeartState]) -> F64:
    """Everything that ECGs are drawn from, words as indicator columns, (n_states, n_columns)."""
    columns: list[F64] = []
    for field in dataclasses.fields(HeartState):
        if field.name in HIDDEN:
            continue
        values = [getattr(state, field.name) for state in states]
        if isinstance(values[0], str):
            columns += [np.array([v == word for v in values], float) for word in sorted({*values})]
        else:
            columns.append(np.array(values, dtype=np.float64))
    return np.stack(columns, axis=1)


def estimate_ceiling(
    target: str, *, n_hearts: int = 20_000, seed: int = 1, n_bootstrap: int = 500
) -> Ceiling:
    """Estimate the bound of one target on patients 0 to ``n_hearts`` - 1 of a cohort.

    Two thirds train, the rest tests.

    Raises
    ------
    ValueError
        For an unknown target.
    """
    if target not in TARGETS:
        raise ValueError(f"target must be one of {TARGETS}, not {target!r}")
    states = [patient_state(seed, patient) for patient in range(n_hearts)]
    truth = np.array([_is_positive(target, state) for state in states])
    fields = ecg_fields(states)
    n_train = 2 * n_hearts // 3
    model = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=180,
        max_leaf_nodes=12,
        min_samples_leaf=40,
        l2_regularization=5.0,
        random_state=0,
    )
    model.fit(fields[:n_train], truth[:n_train])
    score = model.predict_proba(fields)[:, 1]
    cut = _best_cut(score[:n_train], truth[:n_train])
    test, test_score = truth[n_train:], score[n_train:]
    rng = stream(LONG, seed, 0)
    draws = []
    for _ in range(n_bootstrap):
        rows = rng.integers(0, test.size, size=test.size)
        if 0 < test[rows].sum() < test.size:
            draws.append(roc_auc_score(test[rows], test_score[rows]))
    low, high = np.percentile(draws, (2.5, 97.5))
    return Ceiling(
        target=target,
        auroc=float(roc_auc_score(test, test_score)),
        interval=(float(low), float(high)),
        balanced_accuracy=_balanced_accuracy(test_score >= cut, test),
        prevalence=float(truth.mean()),
        n_train=n_train,
        n_test=int(test.size),
    )


def severity_bound(*, n_hearts: int = 20_000, seed: int = 1) -> float:
    """AUROC for LVEF < 40 % of the visible severity itself, before it is blurred into signs."""
    lvef = np.array([patient_state(seed, patient).lvef_pct for patient in range(n_hearts)])
    rng = stream(LONG, seed, 1)
    deficit = np.array([deficit_of(value) for value in lvef])
    severity = deficit + SEVERITY_NOISE * rng.normal(size=n_hearts)
    return float(roc_auc_score(lvef < 40.0, severity))


def _is_positive(target: str, state: HeartState) -> bool:
    if target == "lvef_lt40":
        return state.lvef_pct < 40.0
    if target == "slvh":
        return state.wall_mm >= SLVH_WALL_MM
    return state.lvedd_mm > DLV_LVEDD_MM[state.sex]


def _balanced_accuracy(called: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]) -> float:
    return float(0.5 * (called[truth].mean() + (~called[~truth]).mean()))


def _best_cut(score: F64, truth: npt.NDArray[np.bool_]) -> float:
    cuts = np.quantile(score, np.linspace(0.02, 0.98, 97))
    return float(max(cuts, key=lambda cut: _balanced_accuracy(score >= cut, truth)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hearts", type=int, default=20_000)
    n_hearts = parser.parse_args().hearts
    print("| target | AUROC | 95 % interval | balanced accuracy | prevalence |")
    print("| --- | --- | --- | --- | --- |")
    for target in TARGETS:
        ceiling = estimate_ceiling(target, n_hearts=n_hearts)
        low, high = ceiling.interval
        print(
            f"| {target} | {ceiling.auroc:.3f} | {low:.3f}-{high:.3f} "
            f"| {ceiling.balanced_accuracy:.3f} | {ceiling.prevalence:.3f} |"
        )
    bound = severity_bound(n_hearts=n_hearts)
    print(f"\nAUROC of the visible severity itself, for LVEF < 40 %: {bound:.3f}")


if __name__ == "__main__":
    main()
