"""Does sigma^2 grow as leads are taken away?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echoing_core.embed.encode import encode_batch
from echoing_core.evaluate.shipped.held_out import HeldOut
from echoing_core.evaluate.uncertainty.part import Part, measured
from echoing_core.evaluate.uncertainty.scores import RANDOM, SIGMA2, Scorer
from echoing_core.metrics.results import Result
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.progress import SILENT, Progress
from echoing_core.records import LEADS, BoolArray

LEAD_SETS: dict[str, tuple[str, ...]] = {
    "12 leads": LEADS,
    "8 leads (I, II, V1-V6)": ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"),
    "6 leads (limb)": ("I", "II", "III", "aVR", "aVL", "aVF"),
    "3 leads (I, II, III)": ("I", "II", "III"),
    "2 leads (I, II)": ("I", "II"),
    "1 lead (I)": ("I",),
}
"""From all to one. Each but the limb leads is a part of the one before."""

N_ECGS = 500

_QUARTILES = {"median": 0.5, "lower quartile": 0.25, "upper quartile": 0.75}

_METHOD = (
    "Leads are masked, as the model is told of leads that were not recorded. (A reader of I and II "
    "would derive the other limb leads; here nothing is derived, so that the 8 leads and the first "
    "two limb leads hold all that the 12 and the 6 do.) The plain index is no rival: a "
    "lead that is not there is no noise to it. Intervals: 95 %, bootstrap over patients."
)


def missing_study(
    checkpoint: Checkpoint,
    sets: Sequence[HeldOut],
    *,
    n_resamples: int = 1000,
    progress: Progress = SILENT,
) -> Part:
    """sigma^2 of the same ECGs with fewer and fewer leads.

    Parameters
    ----------
    sets : sequence of HeldOut
        Of each at most the first `N_ECGS` ECGs are used.
    """
    scorer = Scorer.of(checkpoint)
    encoders = {SIGMA2: scorer.trained, RANDOM: scorer.random}
    results: list[Result] = []
    for done, held_out in enumerate(sets):
        signal_mv = held_out.studies.signal_mv[:N_ECGS]
        valid = held_out.studies.valid[:N_ECGS]
        columns: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
        for step, leads in enumerate(LEAD_SETS.values(), start=1):
            kept = valid & lead_mask(leads)[:, np.newaxis]
            # What is masked is 0, as it is in a recording without that lead.
            seen = np.where(kept, signal_mv, np.float32(0.0))
            for name, encoder in encoders.items():
                columns[name].append(encode_batch(encoder, scorer.scaler, seen, kept).uncertainty)
            progress(done * len(LEAD_SETS) + step, len(sets) * len(LEAD_SETS))
        results += _figures(
            held_out,
            {name: np.stack(values, axis=1) for name, values in columns.items()},
            n_resamples,
        )
    return Part("missing", "Leads taken away", _METHOD, tuple(results))


def lead_mask(leads: Sequence[str]) -> BoolArray:
    """True for the leads named, shape (12,), in the order of `LEADS`."""
    return np.array([lead in leads for lead in LEADS])


def _figures(held_out: HeldOut, by_set: dict[str, np.ndarray], n_resamples: int) -> list[Result]:
    patients = held_out.patients[:N_ECGS]
    results: list[Result] = []
    for column, name in list(enumerate(LEAD_SETS))[1:]:
        for metric, quantile in _QUARTILES.items():
            results += measured(
                (held_out.name, f"{name}: sigma^2 over that with 12", metric),
                lambda ratios, q=quantile: float(np.quantile(ratios, q)),
                {score: v[:, column] / v[:, 0] for score, v in by_set.items()},
                patients,
                simulated=held_out.simulated,
                n_resamples=n_resamples,
            )
    shares = {
        f"{name}: more than with 12": lambda v, c=column: v[:, c] > v[:, 0]
        for column, name in list(enumerate(LEAD_SETS))[1:]
    } | {"more at every step from 12 to 1": lambda v: (np.diff(v, axis=1) > 0).all(axis=1)}
    for task, holds in shares.items():
        results += measured(
            (held_out.name, task, "share of ECGs"),
            lambda rows: float(rows.mean()),
            {score: holds(values) for score, values in by_set.items()},
            patients,
            simulated=held_out.simulated,
            n_resamples=n_resamples,
        )
    return results
