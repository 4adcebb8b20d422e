"""Folders that become collections once, and are found again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.datasets.prepared import save_prepared
from echoing_core.errors import DataSetError
from tests.ecg_files import ecg, wfdb
from tests.tiny_model import write_tiny_model
from tests.unit.evaluate.protocols.test_runs import study_set


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> services.Model:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return services.load_model(folder)


def test_a_prepared_set_is_indexed_once_for_each_content(
    model: services.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_prepared(tmp_path / "set", study_set(4, "test"))
    keep = tmp_path / "keep"
    first = services.ready_collection(tmp_path / "set", model, keep=keep)
    again = services.ready_collection(tmp_path / "set", model, keep=keep)
    assert (first.n, first.made) == (4, True)
    assert (again.n, again.made, again.folder) == (4, False, first.folder)
    # Other content under the same name replaces it, and so does a file that is gone.
    save_prepared(tmp_path / "set", study_set(5, "test"))
    other = services.ready_collection(tmp_path / "set", model, keep=keep)
    assert (other.n, other.made, other.folder) == (5, True, first.folder)
    (other.folder / "vectors.faiss").unlink()
    assert services.ready_collection(tmp_path / "set", model, keep=keep).made
    # The app finds it in the folder, and begins with it where it is named itself.
    monkeypatch.setenv(services.COLLECTIONS_VARIABLE, str(keep))
    (found,) = services.collections_at_hand()
    assert (found.n, found.model_hash, found.title) == (5, model.hash, "set")
    assert services.first_collection() is None
    monkeypatch.setenv(services.COLLECTIONS_VARIABLE, os.pathsep.join([str(other.folder), "gone"]))
    assert services.first_collection() == other.folder.resolve()
    assert len(services.collections_at_hand()) == 1


def ptbxl(folder: Path) -> Path:
    (folder / "records100" / "00000").mkdir(parents=True)
    rows = []
    codes = ("{'NORM': 100.0, 'SR': 0.0}", "{'AFIB': 0.0, 'IMI': 80.0}")
    for number, code, text in zip((1, 2), codes, ("sinusrhythmus normales ekg", ""), strict=True):
        place = f"records100/00000/{number:05d}_lr"
        noisy = ecg(10.0)[:, ::5] + np.random.default_rng(number).integers(-9, 9, (12, 1000))
        files = wfdb(noisy.astype(np.int16), fs_hz=100, name=Path(place).name)
        for name, content in files.items():
            (folder / place).parent.joinpath(name).write_bytes(content)
        english = "sinus rhythm, normal ecg" if text else ""
        rows.append(f'{number},{number},"{code}",{number},{place},x,{text},"{english}"')
    header = "ecg_id,patient_id,scp_codes,strat_fold,filename_lr,filename_hr,report,report_en"
    (folder / "ptbxl_database.csv").write_text("\n".join([header, *rows]) + "\n")
    statements = [
        ",description,form,rhythm,diagnostic_class,diagnostic_subclass",
        "NORM,normal ECG,,,NORM,NORM",
        "IMI,inferior myocardial infarction,,,MI,IMI",
        "SR,sinus rhythm,,1.0,,",
        "AFIB,atrial fibrillation,,1.0,,",
    ]
    (folder / "scp_statements.csv").write_text("\n".join(statements) + "\n")
    return folder


def test_ptbxl_as_published_is_prepared_and_keeps_its_own_reports(
    model: services.Model, tmp_path: Path
) -> None:
    root = ptbxl(tmp_path / "several" / "raw")
    assert services.collection_sources([tmp_path / "several"]) == [root]
    ready = services.ready_collection(root, model, keep=tmp_path / "keep")
    assert (ready.n, ready.made, ready.failures) == (2, True, 0)
    assert not services.ready_collection(root, model, keep=tmp_path / "keep").made
    collection = services.folder_collection(ready.folder, model)
    assert collection.name == "PTB-XL" and collection.has_reports
    one, two = (f"ptbxl-{n:05d}" for n in (1, 2))
    told = collection.items([one, two])
    assert told[one].original == "sinusrhythmus normales ekg"
    assert told[one].translated == "sinus rhythm, normal ecg"
    assert (told[two].original, told[two].translated) == ("", "")
    assert services.scp_label_words("sub_IMI") == "Inferior myocardial infarction"
    assert services.scp_label_words("rhythm_AFIB") == "Atrial fibrillation"
    assert services.scp_label_words("af") is None
    # A changed signal of the same size is another content.
    signal = next(root.rglob("*.dat"))
    content = bytearray(signal.read_bytes())
    content[100] ^= 1
    signal.write_bytes(bytes(content))
    assert services.ready_collection(root, model, keep=tmp_path / "keep").made


def test_the_app_begins_with_a_collection_of_one_option(
    model: services.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "ecgs"
    files.mkdir()
    for name, content in wfdb(ecg(10.0), name="a").items():
        (files / name).write_bytes(content)
    monkeypatch.setattr(os, "execv", lambda *_: None)
    monkeypatch.setenv(services.COLLECTIONS_VARIABLE, "")
    monkeypatch.setenv("ECHOING_MODEL", "")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["app", "--collection", "ecgs", "--model", str(model.folder)])
    assert done.exit_code == 0, done.output
    assert "ecgs: 1 ECGs" in done.output and "made and kept" in done.output
    made, kept = map(Path, os.environ[services.COLLECTIONS_VARIABLE].split(os.pathsep))
    assert made.parent == kept == tmp_path / "runs" / "collections"
    assert services.first_collection() == made


def test_what_holds_nothing_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"is empty\. Name a folder that holds a collection"):
        services.collection_sources([tmp_path])
    with pytest.raises(DataSetError, match="There is no folder"):
        services.collection_sources([tmp_path / "none"])
