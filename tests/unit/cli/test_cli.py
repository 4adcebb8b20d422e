"""The command line on a tiny model with random weights: outputs, files, and how errors end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from echoing_core.cli import app
from echoing_core.cli.searching import _condition
from echoing_core.errors import ConfigError
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.records import LEADS, GaussianEmbedding
from echoing_core.retrieve.index import build_index
from tests.tiny_model import write_tiny_model

Run = Callable[..., Any]
DIM = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, its index, and three recordings."""
    folder = tmp_path_factory.mktemp("cli")
    model_hash = write_tiny_model(folder / "model")
    _write_index(folder / "index", model_hash)
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (12, 14 * 250))
    write_wfdb(folder, "twelve", signal, 250, LEADS)
    write_wfdb(folder, "two", signal[:2], 250, ("II", "V1"))
    write_wfdb(folder, "vector", signal[:3], 250, ("vx", "vy", "vz"), comments=("simulated",))
    write_wfdb(folder, "short", signal[:, :500], 250, LEADS)
    return folder


def _write_index(folder: Path, model_hash: str, n: int = 6) -> None:
    rng = np.random.default_rng(1)
    mu = rng.normal(size=(n, DIM)).astype(np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    embedding = GaussianEmbedding(mu, np.full((n, DIM), -6, dtype=np.float32))
    items = pd.DataFrame(
        {
            "item_id": [f"item-{i}" for i in range(n)],
            "patient_id": [f"patient-{i}" for i in range(n)],
            "record_id": [f"record-{i}" for i in range(n)],
            "report": [f"report number {i}" for i in range(n)],
            "uncertainty": embedding.uncertainty,
            "percentile": np.linspace(0, 100, n),
            "text_uncertainty": embedding.uncertainty,
            "simulated": True,
            "source": "simulated",
            "label_af": [True, False] * (n // 2),
            "label_lvef_pct": np.linspace(20, 70, n),
        }
    )
    build_index(folder, ecg=embedding, text=embedding, items=items, checkpoint_hash=model_hash)


@pytest.fixture
def run(place: Path) -> Run:
    """Run ``echoing`` with the tiny model."""

    def invoke(*arguments: str | Path, model: bool = True) -> Any:
        given = [str(argument) for argument in arguments]
        if model:
            given += ["--model", str(place / "model")]
        return CliRunner().invoke(app, given)

    return invoke


def test_explain_json_holds_what_is_needed_to_judge_it(run: Run, place: Path) -> None:
    out = place / "seen.json"
    done = run("explain", place / "twelve.hea", "--stride", "2", "--json", out)
    assert done.exit_code == 0, done.stderr
    seen = json.loads(out.read_text())
    assert {"model_hash", "leads", "settings", "windows", "disclaimer", "simulated"} <= set(seen)
    assert seen["settings"]["stride_s"] == 2
    assert seen["leads"]["found"] == list(LEADS)
    assert [w["start_s"] for w in seen["windows"]] == [0.0, 2.0, 4.0]
    assert {"start_s", "uncertainty", "percentile"} <= set(seen["windows"][0])
    assert "leads measured: I, II" in done.stdout
    assert "not a medical device" in done.stdout


def test_explain_json_on_stdout_is_nothing_but_json(run: Run, place: Path) -> None:
    done = run("explain", place / "two.hea", "--json", "-")
    seen = json.loads(done.stdout)
    assert seen["leads"]["found"] == ["II", "V1"]
    assert len(seen["leads"]["missing"]) == 10


def test_explain_csv_has_a_row_for_each_window(run: Run, place: Path) -> None:
    done = run("explain", place / "twelve.hea", "--csv", "-")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [float(row["start_s"]) for row in rows] == [0, 1, 2, 3, 4]
    assert [float(row["end_s"]) for row in rows] == [10, 11, 12, 13, 14]


def test_explain_says_derived_and_missing(run: Run, place: Path) -> None:
    derived = run("explain", place / "vector.hea", "--vcg-method", "kors_pinv")
    assert "leads derived: I, II" in derived.stdout
    missing = run("explain", place / "two.hea")
    assert "leads missing: I, III, aVR" in missing.stdout


def test_explain_says_where_the_least_sure_windows_are_unsure(run: Run, place: Path) -> None:
    told = run("explain", place / "two.hea", "--json", place / "why.json")
    (line,) = [line for line in told.stdout.splitlines() if line.startswith("from ")]
    written = json.loads((place / "why.json").read_text(encoding="utf-8"))
    explained = [w for w in written["windows"] if "sentence" in w]
    least_sure = max(written["windows"], key=lambda w: w["uncertainty"])
    assert least_sure in explained
    assert line == f"from {least_sure['start_s']:.2f} s: {least_sure['sentence']}"


def test_explain_takes_a_record_by_its_files(run: Run, place: Path) -> None:
    one = run("explain", place / "twelve.hea", "--json", "-")
    files = run("explain", place / "twelve.dat", place / "twelve.hea", "--json", "-")
    assert files.stdout == one.stdout


def test_explain_takes_what_the_file_does_not_say(run: Run, place: Path) -> None:
    for name in ("two.hea", "two.dat"):
        (place / name.replace("two", "night")).write_bytes(
            (place / name).read_bytes().replace(b" II\n", b" ECG\n").replace(b" V1\n", b" RESP\n")
        )
    header = place / "night.hea"
    header.write_text(header.read_text().replace("two", "night"))
    asked = run("explain", header)
    assert asked.exit_code == 2
    assert "does not say which lead ECG and RESP are" in asked.stderr
    assert '--lead "ECG=II"' in asked.stderr
    told = run("explain", header, "--lead", "ECG=-II", "--json", place / "night.json")
    assert told.exit_code == 0, told.stderr
    seen = json.loads((place / "night.json").read_text(encoding="utf-8"))
    assert seen["leads"]["found"] == ["II"]
    assert any("ECG is lead II, upside down" in note for note in seen["notes"])


def test_ask_answers_free_text_and_flags_unknown_words(run: Run, place: Path) -> None:
    question = "atrial zebra"
    quoted = f'"{question}"'
    done = run("ask", place / "twelve.hea", "--prompt", quoted, "--at", "2.5", "--json", "-")
    told = json.loads(done.stdout)
    assert told["window"]["start_s"] == 2.5
    assert 0 <= told["window"]["percentile"] <= 100
    (answer,) = told["answers"]
    assert answer["question"] == question
    assert answer["interval"][0] <= answer["probability"] <= answer["interval"][1]
    assert "zebra" in answer["unknown_words"]
    assert "atrial" not in answer["unknown_words"]


def test_ask_reads_a_question_before_it_asks(run: Run, place: Path) -> None:
    ask = ("ask", place / "twelve.hea", "--at", "0")
    done = run(*ask, "--prompt", "no AFib", "--prompt", "atrial fibrillation", "--json", "-")
    denied, asked = json.loads(done.stdout)["answers"]
    assert (denied["question"], asked["question"]) == (
        "No atrial fibrillation",
        "Atrial fibrillation",
    )
    assert denied["probability"] == pytest.approx(1 - asked["probability"], abs=1e-9)
    told = run(*ask, "--prompt", "kein Vorhofflimern").stdout
    assert "'kein Vorhofflimern' is read as: No atrial fibrillation." in told
    assert "Taken for misspelt: vorhofflimern for vorhofflimmern." in told
    refused = run(*ask, "--prompt", "banana")
    assert refused.exit_code == 2 and refused.stderr.startswith("banana: not a word for a finding")


def test_a_refused_question_does_not_refuse_the_others(
    run: Run, place: Path, tmp_path: Path
) -> None:
    both = ("--prompt", "banana", "--prompt", "lbbb")
    ask = run("ask", place / "twelve.hea", "--at", "0", *both, "--json", "-")
    told = json.loads(ask.stdout)
    assert ask.exit_code == 0 and len(told["answers"]) == 1
    (refused,) = told["refused"]
    assert refused["question"] == "banana" and "not a word for a finding" in refused["reason"]
    assert "refused: banana: banana: not" in run("ask", place / "twelve.hea", *both).stdout
    folder, table = tmp_path / "ecgs", tmp_path / "table.csv"
    folder.mkdir()
    for ending in (".hea", ".dat"):
        (folder / f"twelve{ending}").write_bytes((place / f"twelve{ending}").read_bytes())
    done = run("batch", folder, *both, "--csv", table)
    assert done.exit_code == 0 and "refused: banana: " in done.stdout
    (row,) = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    assert row["questions_refused"].startswith("banana: banana: not a word")
    assert row["left_bundle_branch_block_question"]
    # With nothing left to ask, the shipped questions are not asked in their place.
    none = run("batch", folder, "--prompt", "banana", "--csv", "-")
    assert (none.exit_code, none.stdout) == (2, "")


def test_ask_fuses_the_windows(run: Run, place: Path) -> None:
    ask = ("ask", place / "twelve.hea", "--prompt", "sinus rhythm")
    told = json.loads(run(*ask, "--fuse", "precision", "--json", "-").stdout)
    assert {"rule": "precision", "n_windows": 5, "n_used": 5}.items() <= told["fused"].items()
    assert told["fused"]["percentile"] == told["answers"][0]["percentile"]
    assert "window" not in told
    assert "1 of 5 windows by rule start" in run(*ask, "--fuse", "start").stdout
    refused = run(*ask, "--fuse", "best")
    assert refused.exit_code == 2
    assert "Choose start, lowest, precision, trimmed" in refused.stderr


def test_ask_picks_the_surest_window(run: Run, place: Path) -> None:
    seen = json.loads(run("explain", place / "twelve.hea", "--json", "-").stdout)
    told = json.loads(
        run("ask", place / "twelve.hea", "--prompt", "sinus rhythm", "--json", "-").stdout
    )
    surest = min(seen["windows"], key=lambda window: window["uncertainty"])
    assert told["window"]["start_s"] == surest["start_s"]
    assert told["window"]["uncertainty"] == pytest.approx(surest["uncertainty"], rel=1e-5)


def test_ask_without_questions_asks_the_shipped_ones(run: Run, place: Path) -> None:
    done = run("ask", place / "twelve.hea")
    assert "LVEF" in done.stdout
    # Random weights, measured on nothing: a score and no probability.
    assert "of 100, no probability" in done.stdout and "%, 90" not in done.stdout


def test_ask_takes_a_file_of_prompts(run: Run, place: Path) -> None:
    file = place / "mine.yaml"
    file.write_text(
        "- {name: fib, question: Does it fibrillate, label: null,"
        " positive: [atrial fibrillation], negative: [sinus rhythm]}\n"
    )
    done = run("ask", place / "twelve.hea", "--prompts", file, "--prompt", "normal ecg")
    assert done.stdout.index("Does it fibrillate") < done.stdout.index("Normal ECG")


def test_search_by_text_and_by_recording(run: Run, place: Path) -> None:
    text = run("search", "kein Sinusrhythmus", "-k", "3", "--index", place / "index", "--json", "-")
    content = json.loads(text.stdout)
    assert [hit["rank"] for hit in content["hits"]] == [1, 2, 3]
    assert "is read as: No sinus rhythm" in content["read_as"]
    assert all("why" in hit for hit in content["hits"])
    stands = run("search", '"sinus"', "-k", "3", "--index", place / "index", "--json", "-")
    distances = [hit["distance"] for hit in json.loads(stands.stdout)["hits"]]
    assert distances == sorted(distances)
    ecg = run("search", "--recording", place / "two.hea", "--index", place / "index")
    assert ecg.exit_code == 0
    assert ecg.stdout.count("(simulated)") == 6


def test_search_filters_before_the_nearest_are_taken(run: Run, place: Path) -> None:
    def found(*conditions: str) -> set[str]:
        index = place / "index"
        done = run("search", "sinus", "-k", "6", "--index", index, "--json", "-", *conditions)
        return {hit["item_id"] for hit in json.loads(done.stdout)["hits"]}

    assert found("--where", "af=true") == {"item-0", "item-2", "item-4"}
    assert found("--where", "lvef_pct=..40") == {"item-0", "item-1", "item-2"}
    assert found("--where", "af=no", "--where", "lvef_pct=40..70") == {"item-3", "item-5"}
    nothing = run("search", "sinus", "--index", place / "index", "--where", "lvef_pct=99..").stdout
    assert "No item passes the filters" in nothing and "rank" not in nothing
    assert found("--max-percentile", "20") == {"item-0", "item-1"}


def test_search_says_which_words_are_unknown(run: Run, place: Path) -> None:
    done = run("search", '"zebra rhythm"', "--index", place / "index")
    assert done.exit_code == 0
    assert "zebra" in done.stderr
    assert "rhythm" not in done.stderr
    read = run("search", "zebra lbbb", "--index", place / "index")
    assert read.exit_code == 0
    assert "Not understood and left out: zebra" in read.stdout
    refused = run("search", "banana", "--index", place / "index")
    assert refused.exit_code == 2
    assert "not a word for a finding" in refused.stderr


def test_a_simulated_cohort_is_read_back_and_says_so(run: Run, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    made = run("simulate", cohort, "--patients", "2", "--seed", "3", model=False)
    assert made.exit_code == 0, made.stderr
    assert "simulated" in made.stdout
    header = sorted((cohort / "records").glob("*.hea"))[0]
    seen = json.loads(run("explain", header, "--json", "-").stdout)
    assert seen["simulated"] is True
    assert "(simulated)" in run("explain", header).stdout


@pytest.mark.parametrize(("display", "headless"), [("", "true"), (":0", "false")])
def test_the_app_is_started_from_where_its_settings_are(
    run: Run, repo_root: Path, monkeypatch: pytest.MonkeyPatch, display: str, headless: str
) -> None:
    started: list[list[str]] = []
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.execv", lambda _, arguments: started.append(arguments))
    monkeypatch.chdir(repo_root / "docs")
    done = run("app", "--port", "8600", model=False)
    assert done.exit_code == 0, done.stderr
    assert Path.cwd() == repo_root
    assert "http://127.0.0.1:8600" in done.stdout
    command = " ".join(started[0][1:])
    assert command == (f"-m streamlit run app.py --server.port 8600 --server.headless {headless}")


def test_a_built_index_is_searched(run: Run, tmp_path: Path) -> None:
    built = run("index", "build", tmp_path / "index", "--items", "3", "--seed", "5")
    assert built.exit_code == 0, built.stderr
    done = run("search", "sinus rhythm", "--index", tmp_path / "index")
    assert done.stdout.count("(simulated)") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "nowhere.hea"],
        ["explain", "{place}/short.hea"],
        ["explain", "{place}/twelve.hea", "--stride", "0"],
        ["explain", "{place}/twelve.hea", "--stride", "nan"],
        ["explain", "{place}/vector.hea", "--vcg-method", "wizardry"],
        ["explain", "{place}/twelve.hea", "--json", "-", "--csv", "-"],
        ["explain", "{place}/twelve.hea", "--json", "{place}/no/such/folder.json"],
        ["explain", "{place}"],
        ["ask", "{place}/twelve.hea", "--at", "7"],
        ["ask", "{place}/twelve.hea", "--at", "nan"],
        ["ask", "{place}/twelve.hea", "--prevalence", "often"],
        ["ask", "{place}/twelve.hea", "--prevalence", "5"],
        ["ask", "{place}/twelve.hea", "--prevalence", "zebra=0.1"],
        ["ask", "{place}/twelve.hea", "--prevalence", "0.1", "--prevalence", "lbbb=0.2"],
        ["evaluate", "calibration"],
        ["ask", "{place}/twelve.hea", "--prompt", " "],
        ["ask", "{place}/twelve.hea", "--prompts", "{place}/nothing.yaml"],
        ["search"],
        ["search", "sinus", "--recording", "{place}/twelve.hea"],
        ["search", " ", "--index", "{place}/index"],
        ["search", "sinus", "--index", "{place}/nothing"],
        ["search", "sinus", "--index", "{place}/index", "--order", "alphabet"],
        ["search", "sinus", "--index", "{place}/index", "-k", "0"],
        ["search", "sinus", "--index", "{place}/index", "--where", "af"],
        ["search", "sinus", "--index", "{place}/index", "--where", "colour=red"],
        ["search", "sinus", "--index", "{place}/index", "--where", "lvef_pct=70..40"],
        ["search", "sinus", "--index", "{place}/index", "--max-percentile", "101"],
    ],
    ids=" ".join,
)
def test_what_a_user_gets_wrong_ends_in_a_sentence(
    run: Run, place: Path, arguments: list[str]
) -> None:
    done = run(*(argument.format(place=place) for argument in arguments))
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.strip().endswith(".")
    assert "Traceback" not in done.stderr


def test_a_missing_and_a_damaged_model_are_told(run: Run, place: Path) -> None:
    missing = run("explain", place / "twelve.hea", "--model", place / "none", model=False)
    assert missing.exit_code == 2
    assert "There is no model" in missing.stderr and "at hand (demo" in missing.stderr
    write_tiny_model(place / "damaged")
    weights = place / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    damaged = run("explain", place / "twelve.hea", "--model", place / "damaged", model=False)
    assert damaged.exit_code == 2
    assert "model.safetensors" in damaged.stderr


def test_an_index_of_another_model_is_refused(run: Run, place: Path) -> None:
    write_tiny_model(place / "other", seed=5)
    done = run(
        "search", "sinus", "--index", place / "index", "--model", place / "other", model=False
    )
    assert done.exit_code == 2
    assert done.stdout == ""


def test_a_mistake_in_the_program_still_surfaces(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("echoing_core.services.ExplainJob", broken)
    assert isinstance(run("explain", place / "twelve.hea").exception, ZeroDivisionError)


def test_a_failed_write_leaves_no_draft(run: Run, place: Path) -> None:
    before = {path.name for path in place.iterdir()}
    assert run("explain", place / "twelve.hea", "--csv", place / "index").exit_code == 2
    assert {path.name for path in place.iterdir()} == before


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("af=true", ("af", True)),
        ("af = no", ("af", False)),
        ("lvef_pct=35", ("lvef_pct", 35.0)),
        ("lvef_pct=35..40", ("lvef_pct", (35.0, 40.0))),
        ("lvef_pct=50..", ("lvef_pct", (50.0, float("inf")))),
        ("rhythm=sinus", ("rhythm", "sinus")),
        ("note=a=b", ("note", "a=b")),
    ],
)
def test_conditions(text: str, condition: tuple[str, object]) -> None:
    assert _condition(text) == condition


@pytest.mark.parametrize("text", ["", "=", "af=", "=true"])
def test_half_a_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="label=value"):
        _condition(text)


def test_help_lists_the_commands_without_loading_the_product() -> None:
    probe = (
        "import sys; from echoing_core.cli import main; sys.argv = ['echoing', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([m for m in ('torch', 'scipy', 'pandas', 'faiss', 'streamlit') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for command in ("simulate", "train", "explain", "ask", "index", "search", "evaluate", "app"):
        assert f"  {command} " in done.stdout
