"""Answers beside what the device says of the same ECG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoing_core.errors import DataSetError
from echoing_core.evaluate.statements import Compared, stated_of, statement_agreement
from echoing_core.records import Annotations, RhythmSpan
from echoing_core.reports.understanding import AskedFinding
from echoing_core.services.statements import evaluate_statements, lines_at
from tests import ecg_files as made

AF = AskedFinding("atrial_fibrillation")


@pytest.mark.parametrize(
    ("lines", "so"),
    [
        (["Atrial fibrillation with rapid ventricular response", "Abnormal ECG"], True),
        (["Sinus rhythm", "Left axis deviation"], False),
        (["Normal sinus rhythm. Normal ECG"], False),
        (["Left bundle branch block"], None),
        (["no atrial fibrillation"], False),
        ([], None),
    ],
)
def test_what_is_stated(lines: list[str], so: bool | None) -> None:
    assert stated_of(lines, AF)[0] is so


def test_only_a_rhythm_that_fills_the_window_speaks_of_it() -> None:
    said = Annotations(
        rhythms=(RhythmSpan(0, 12, "N"), RhythmSpan(12, 60, "AFIB")), statements=("Low voltage",)
    )
    assert lines_at(said, 1.0, 11.0) == ["Low voltage", "sinus rhythm"]
    assert lines_at(said, 5.0, 15.0) == ["Low voltage"]
    assert lines_at(said, 20.0, 30.0) == ["Low voltage", "atrial fibrillation"]


def test_agreement_is_counted_of_what_was_decided() -> None:
    rows = [(True, True), (True, False), (False, False), (False, None), (True, True)]
    compared = [
        Compared(f"r{i}", "Atrial fibrillation", so, "words", answer)
        for i, (so, answer) in enumerate(rows)
    ]
    compared.append(Compared("r0", "Normal ECG", False, "words", None))
    experiment = statement_agreement(
        compared, model_name="m", counts={"recordings compared": 5}, n_resamples=200
    )
    assert experiment.tables[0].rows[0][:6] == ("Atrial fibrillation", "3", "2", "3", "1", "1")
    assert experiment.tables[0].rows[1][-1] == "no answer was sure enough"
    [result] = experiment.results
    assert result.estimate.value == pytest.approx(3 / 4) and result.estimate.n_items == 4
    assert 0.0 <= result.estimate.low < 0.75 < result.estimate.high <= 1.0
    assert experiment.tables[1].rows == [("r1", "Atrial fibrillation", "yes", "words", "no")]


@pytest.mark.slow
def test_files_of_a_folder_beside_a_model(tmp_path: Path) -> None:
    from echoing_core import services
    from tests.tiny_model import write_tiny_model

    write_tiny_model(tmp_path / "model")
    model = services.load_model(tmp_path / "model")
    folder = tmp_path / "files"
    folder.mkdir()
    signal = made.ecg(12.0)
    for name, text in (("a", "Atrial fibrillation"), ("b", "Sinus rhythm"), ("c", "")):
        diagnosis = (
            "<Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>"
            f"{text}</StmtText></DiagnosisStatement></Diagnosis></RestingECG>"
        )
        data = made.muse(signal).replace(b"</RestingECG>", diagnosis.encode())
        (folder / f"{name}.xml").write_bytes(data)
    experiment = evaluate_statements(model, folder, n_resamples=20)
    assert dict(experiment.counts) == {
        "recordings compared": 2,
        "recordings that say nothing of it": 1,
        "files that cannot be read": 0,
    }
    by_question = {row[0]: row for row in experiment.tables[0].rows}
    assert by_question["Atrial fibrillation"][1:3] == ("1", "1")
    counted = np.array(by_question["Atrial fibrillation"][3:6], dtype=int)
    assert counted.sum() == 2
    for name in ("a", "b"):
        (folder / f"{name}.xml").unlink()
    with pytest.raises(DataSetError, match="says anything of what is asked"):
        evaluate_statements(model, folder)
