"""Where noise is: truth of the simulated windows, and the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoing_core.errors import DataSetError
from echoing_core.evaluate.uncertainty.where import (
    KINDS,
    SEEN_MV,
    annotated_windows,
    overlap,
    simulated_windows,
    where_study,
)
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.metrics.results import Experiment
from echoing_core.models.checkpoint import Checkpoint
from echoing_core.records import LEADS, BoolArray
from echoing_core.uncertainty.attribution import N_CHUNKS, Attribution


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ECGs of which one has noise in V2, a flat one, and a table of bad leads."""
    folder = tmp_path_factory.mktemp("annotated")
    rng = np.random.default_rng(0)
    t = np.arange(0, 10, 1 / 250)
    beat = np.exp(-((((t * 1.2) % 1.0 - 0.3) / 0.02) ** 2))
    good = np.linspace(0.4, 1.5, 12)[:, None] * beat + rng.normal(0, 0.002, (12, t.size))
    spoiled = good.copy()
    spoiled[LEADS.index("V2")] = rng.normal(0, 1.0, t.size)
    for name, signal in (("good", good), ("spoiled", spoiled), ("flat", np.zeros_like(good))):
        write_wfdb(folder, name, signal, 250, LEADS)
    columns = [f"bad_{lead}" for lead in LEADS]
    flags = {"good": [], "spoiled": ["bad_V2"], "flat": columns}
    lines = [",".join(["record", *columns])] + [
        ",".join([name, *("1" if column in bad else "0" for column in columns)])
        for name, bad in flags.items()
    ]
    (folder / "leadwise_quality.csv").write_text("\n".join(lines))
    return folder


def figure(
    experiment: Experiment, data: str, task: str, metric: str, score: str = "sigma^2"
) -> float:
    (value,) = (
        r.estimate.value
        for r in experiment.results
        if data in r.data and (r.task, r.metric, r.model) == (task, metric, score)
    )
    return value


def by_size(_: object, __: object, signal_mv: np.ndarray, valid: BoolArray) -> Attribution:
    """A part that is the mean steepness of its cell, and so knows muscle noise from rest."""
    steep = np.abs(np.diff(signal_mv, axis=2, append=signal_mv[..., -1:])) * valid
    cells = np.median(steep.reshape(len(steep), 12, N_CHUNKS, -1), axis=3)
    cells = cells.astype(np.float32)
    return Attribution(cells, np.zeros(len(steep), dtype=np.float32), np.minimum(cells, 1.0))


@pytest.mark.parametrize(
    ("first", "second", "iou"),
    [
        ((2.0, 4.0), (2.0, 4.0), 1.0),
        ((2.0, 4.0), (3.0, 5.0), 1 / 3),
        ((2.0, 4.0), (4.0, 5.0), 0.0),
        ((0.0, 10.0), (4.0, 6.0), 0.2),
        ((0.0, 0.0), (0.0, 0.0), 0.0),
    ],
)
def test_overlap(first: tuple[float, float], second: tuple[float, float], iou: float) -> None:
    assert overlap(first, second) == pytest.approx(iou)
    assert overlap(second, first) == pytest.approx(iou)


@pytest.mark.slow
def test_simulated_windows_know_their_noise() -> None:
    windows, spans = simulated_windows(8)
    assert [span.kind for span in spans] == list(KINDS) * 2
    for window, span in zip(windows, spans, strict=True):
        assert window.signal_mv.shape == (12, 1000)
        assert window.bad.any()
        assert 2.0 <= span.end_s - span.start_s <= 6.001
        assert 0.0 <= span.start_s < span.end_s <= 10.0
    again, _ = simulated_windows(8)
    np.testing.assert_array_equal(windows[5].signal_mv, again[5].signal_mv)


def test_a_lead_is_bad_by_what_reaches_the_band() -> None:
    windows, spans = simulated_windows(4)
    muscle, span = windows[KINDS.index("muscle")], spans[KINDS.index("muscle")]
    middle = slice(round(span.start_s * 100) + 50, round(span.end_s * 100) - 50)
    outside = np.r_[0 : max(round(span.start_s * 100) - 50, 0), round(span.end_s * 100) + 50 : 1000]
    # Of steepness a bad lead has more inside the span than outside it, whatever its beats do.
    steep = np.abs(np.diff(muscle.signal_mv, axis=1, append=0.0))
    gained = np.median(steep[:, middle], axis=1) - np.median(steep[:, outside], axis=1)
    assert gained[muscle.bad].min() > 0
    assert gained[~muscle.bad].max(initial=0.0) < SEEN_MV


def test_annotated_windows_leave_out_what_is_refused(annotated: Path) -> None:
    windows, n_refused = annotated_windows(annotated)
    assert n_refused == 1
    assert [np.flatnonzero(w.bad).tolist() for w in windows] == [[], [LEADS.index("V2")]]
    assert np.argmax(windows[1].penalty) == LEADS.index("V2")


def test_a_recording_that_cannot_be_used_is_named(annotated: Path, tmp_path: Path) -> None:
    columns = ",".join(f"bad_{lead}" for lead in LEADS)
    (tmp_path / "leadwise_quality.csv").write_text(f"record,{columns}\nbrief" + ",0" * 12)
    write_wfdb(tmp_path, "brief", np.random.default_rng(0).normal(size=(12, 900)), 250, LEADS)
    with pytest.raises(DataSetError, match=r"record brief cannot be used: .* 3\.60 s"):
        annotated_windows(tmp_path)


@pytest.mark.slow
def test_parts_that_know_where_score_high(
    annotated: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echoing_core.evaluate.uncertainty.where.attribute_windows", by_size)
    study = where_study(checkpoint, cinc=annotated, n_simulated=12, n_resamples=20)
    clear = study.counts.pop("simulated with a clearly bad lead")
    assert 0 < clear <= 12
    assert study.counts == {"annotated": 2, "refused as flat and left out": 1, "simulated": 12}
    assert figure(study, "annotated leads", "bad leads, pooled", "AUROC") == 1.0
    within = ("bad leads within a recording", "AUROC, mean of recordings")
    assert figure(study, "annotated leads", *within, "plain index") == 1.0
    muscle = "simulated, muscle"
    assert figure(study, muscle, "span of the noise", "share with IoU >= 0.5") > 0.5
    assert figure(study, muscle, "chunks in the noise within a recording", within[1]) > 0.7


def test_a_real_model_is_measured_without_real_recordings(checkpoint: Checkpoint) -> None:
    study = where_study(checkpoint, n_simulated=4, n_resamples=10)
    assert study.counts["simulated"] == 4
    assert all("simulated" in result.data and result.simulated for result in study.results)
