"""A path that is wrong is told at once, in words that mend it, by every command that takes one.

All commands run one after the other in one process of their own. Instead of their times, which
depend on the machine, it is looked at what they had imported when they refused: the libraries that
cost seconds must not be among it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer

from echoing_core.cli import app
from echoing_core.datasets.prepared import FILES, FORMAT, KIND

HEAVY = ("torch", "torchvision", "transformers", "faiss", "open_clip", "timm", "streamlit")

RUNNER = """
import json, sys
from typer.testing import CliRunner
from echoing_core.cli import app
heavy, cases = json.load(sys.stdin)
told = []
for arguments in cases:
    done = CliRunner().invoke(app, arguments)
    error = None if isinstance(done.exception, (SystemExit, type(None))) else repr(done.exception)
    told.append((done.exit_code, done.stdout, done.stderr, error))
    told[-1] += ([name for name in heavy if name in sys.modules],)
print(json.dumps(told))
"""

# Of a bare name, the names that are known are told instead.
INDEX = r"`echoing index build INDEX`|echoing indexes"
MODEL = r"`echoing train from demo --data PREPARED --out MODEL`|echoing models"
PREPARE = r"`echoing prepare NAME ROOT OUT`"
EMBED = r"`echoing teacher embed FOLDER STORE --teacher TEACHER`"
TEACHER = r"`echoing teacher train TEACHER`"
PUBLISHED = r"docs/datasets\.md"
PRESET = r"`echoing prepare ptbxl ROOT OUT`"

# The places are made below: `none` does not exist, `empty` holds nothing, `other` holds a file
# of no kind that is known here, `prepared` is a set of 8 training ECGs with one label.
CASES: tuple[tuple[str, str], ...] = (
    ("explain none", "no file or recording called none"),
    ("explain empty", "The folder empty holds no header"),
    ("explain SIM_NORMAL --model none", MODEL),
    ("ask none --prompt lbbb", "no file or recording called none"),
    ("ask SIM_NORMAL --model other", f"other.*({MODEL})"),
    ("convert none out.edf", "no file or recording called none"),
    ("convert empty out.edf", "The folder empty holds no header"),
    ("convert SIM_NORMAL none/out.edf", "its folder does not exist"),
    ("convert SIM_NORMAL other", r"does not say a format by its ending.*\.edf \(EDF\+\)"),
    ("convert SIM_NORMAL two-words!.hea", "letters, digits, - and _"),
    ("rhythm none", "no file or recording called none"),
    ("rhythm empty", "The folder empty holds no header"),
    ("rhythm SIM_NORMAL --model none", MODEL),
    ("rhythm SIM_NORMAL --csv none/none/out.csv", "its folder does not exist"),
    ("rhythm SIM_NORMAL --annotated other", "does not say a format by its ending"),
    ("measure none", "no file or recording called none"),
    ("measure empty", "The folder empty holds no header"),
    ("measure SIM_NORMAL --sex other", "one of male, female"),
    ("measure SIM_NORMAL --csv none/none/out.csv", "its folder does not exist"),
    ("compare none SIM_NORMAL", "no file or recording called none"),
    ("compare SIM_NORMAL empty", "The folder empty holds no header"),
    ("compare SIM_NORMAL SIM_NORMAL --said-of none", "one of both, first, second"),
    ("compare SIM_NORMAL SIM_NORMAL --lead ECG", "no channel and lead"),
    ("compare SIM_NORMAL SIM_NORMAL --at 400", "no stretch of 10 s from second 400"),
    ("compare SIM_NORMAL SIM_NORMAL --record none", "none"),
    ("compare SIM_NORMAL SIM_NORMAL --markdown none/none/out.md", "its folder does not exist"),
    ("compare SIM_NORMAL SIM_NORMAL --questions --model none", MODEL),
    ("batch none", "none is no folder"),
    ("batch empty", "empty holds no recording"),
    ("batch . --workers 2", "Name a file for the table"),
    ("batch . --cluster auto --csv -", "Name a file for the table"),
    ("batch . --restart", "goes with --workers or --cluster"),
    ("batch other", "other holds no recording"),
    ("search lbbb --index none", INDEX),
    ("search lbbb --index empty", f"empty.*({INDEX})"),
    ("search lbbb --index prepared", rf"prepared.*({INDEX})"),
    ("search lbbb --model none", MODEL),
    ("search --recording none", "no file or recording called none"),
    ("search lbbb --fast", "--fast is for --recording"),
    ("app --index other", f"other.*({INDEX})"),
    ("app --collection none", "There is no folder none.*PTB-XL"),
    ("app --keep other", "Name one"),
    ("app --cluster ray", "is for an index in shards, and none is named"),
    ("samples cases --write --export none", "Give --write or --export"),
    ("samples cases --export other", "is not empty"),
    ("index build out --model none", MODEL),
    ("index build other", "other already holds.*would be replaced"),
    ("embed none out", "no folder none"),
    ("embed other out --model none", MODEL),
    ("embed other other", "other already holds.*would be replaced"),
    ("index build out --embedded none", "no folder none.*echoing embed"),
    ("index build out --embedded prepared", "prepared holds the card of another kind"),
    ("index build out --data prepared --shards 2", "--shards goes with --embedded"),
    ("index build out --embedded none --workers 2", "go with --shards"),
    ("index serve none", "Name the cluster that holds the shards"),
    ("index serve prepared --cluster ray", rf"prepared.*({INDEX})"),
    ("index build out --data none", f"no folder none.*{PREPARE}"),
    ("index build out --folder none", "no folder none"),
    ("index build out --folder other --reports none", "no file none"),
    ("simulate other", "other is not empty"),
    ("prepare simulated other", "other already holds something"),
    ("prepare ptbxl none out", "no folder none"),
    ("prepare ptbxl empty out", "no ptbxl_database.csv in empty"),
    ("train from demo --data none --out out", f"no folder none.*{PREPARE}"),
    ("train from demo --data empty --out out", f"empty holds no card.json.*{PREPARE}"),
    ("train paper --data other --out out", f"other holds no card.json.*{PREPARE}"),
    ("train release --data none --out out", f"no folder none.*{PREPARE}"),
    ("train from demo --data prepared --echo none --out out", f"no folder none.*{EMBED}"),
    ("train from demo --data prepared --out other", "other already holds.*would be replaced"),
    ("train melp-stage1 --data none --out out", f"no folder none.*{PREPARE}"),
    ("train melp-text --data none --out out", f"no folder none.*{PREPARE}"),
    ("train melp-text --data prepared --out other", "other already holds.*would be replaced"),
    ("train melp-text --data prepared --texts none --out out", "no file none.*one text a line"),
    (
        "train melp-stage2 --data prepared --out out --text-model prepared/none",
        "no folder prepared/none.*melp-text",
    ),
    ("train melp-stage2 --data empty --out out", f"empty holds no card.json.*{PREPARE}"),
    ("train melp-stage2 --data prepared --begin none --out out", MODEL),
    ("train echo2ecg --data none --out out", f"no folder none.*{PREPARE}"),
    ("train echo2ecg --data prepared --echo none --out out", f"none.*{EMBED}"),
    ("train ulip --data other --out out", f"other holds no card.json.*{PREPARE}"),
    ("train demo --out other", "other already holds.*would be replaced"),
    ("train demo --out out --ptbxl none", f"needed is PTB-XL.*{PUBLISHED}"),
    ("train demo --out out --zscored empty", "empty holds no records.csv"),
    ("train demo --out out --teacher none", f"needed is an echo teacher.*{TEACHER}"),
    ("train demo --out out --begin none", MODEL),
    ("compare-models demo --data none", f"no folder none.*{PREPARE}"),
    ("compare-models demo --data empty", f"empty holds no card.json.*{PREPARE}"),
    ("compare-models demo --data prepared", r"no study in test \(8 in train"),
    ("compare-models demo none --data prepared", MODEL),
    ("compare-models demo demo --data prepared", "demo stands there twice"),
    ("compare-models demo --data prepared --html none/none/a.html", "its folder does not exist"),
    ("evaluate --preset melp-ptbxl-super", f"name it with --data.*{PRESET}"),
    ("evaluate --preset melp-ptbxl-super --data none", f"no folder none.*{PRESET}"),
    ("evaluate --preset melp-ptbxl-super --data empty", f"empty is not a prepared.*{PRESET}"),
    (
        "evaluate --preset melp-ptbxl-super --data prepared",
        rf"from simulated and has no label NORM, MI, STTC, CD, HYP \(it has af\).*{PRESET}",
    ),
    (
        "evaluate --preset mimic-table4 --data prepared",
        r"no study in test \(8 in train.*mimic ROOT",
    ),
    ("evaluate --preset music-table3 --data empty", "empty is not.*`echoing prepare music"),
    ("evaluate zero-shot --data none", f"no folder none.*{PREPARE}"),
    ("evaluate zero-shot --data prepared", r"no study in test \(8 in train, 0 in valid, 0 in test"),
    ("evaluate few-shot --data empty", f"empty holds no card.json.*{PREPARE}"),
    ("evaluate knn --data prepared", "no study in test"),
    ("evaluate fine-tune --data prepared", "no study in test"),
    ("evaluate retrieval --data other", f"other holds no card.json.*{PREPARE}"),
    ("evaluate echo-studies --data none", f"no folder none.*{PREPARE}"),
    ("evaluate echo-studies --data prepared", "no study in test"),
    ("evaluate demo --ptbxl empty", f"empty holds no ptbxl_database.csv.*{PUBLISHED}"),
    ("evaluate leads --ptbxl none", f"needed is PTB-XL.*{PUBLISHED}"),
    ("evaluate fusion --model none", MODEL),
    ("evaluate distances --model none", MODEL),
    ("evaluate calibration", "either PTB-XL with --ptbxl or a prepared set"),
    ("evaluate calibration --ptbxl none", f"needed is PTB-XL.*{PUBLISHED}"),
    ("evaluate calibration --data empty", f"empty holds no card.json.*{PREPARE}"),
    ("evaluate uncertainty --cinc empty", f"no quality_labels.csv.*{PUBLISHED}"),
    ("evaluate uncertainty --nstdb other", f"no em.hea or EM.mat.*{PUBLISHED}"),
    ("evaluate uncertainty --mitdb none", "no folder none. Name one that holds the recordings"),
    ("evaluate uncertainty --recordings none --labels other/notes.txt", "no folder none"),
    ("evaluate uncertainty --recordings other --labels none", "no file none"),
    ("evaluate statements none", "no folder none. Name one that holds the recordings"),
    ("evaluate statements empty", "empty holds no recording"),
    ("evaluate statements other --prompts none", "other holds no recording"),
    ("evaluate echo-pairs --teacher none", f"needed is an echo teacher.*{TEACHER}"),
    ("evaluate echo-text none", "no file none"),
    ("evaluate ablation out --data none --echo none", f"no folder none.*{PREPARE}"),
    ("evaluate ablation out --teacher empty", f"no open_clip_config.json.*{TEACHER}"),
    ("teacher train other", "other already holds.*would be replaced"),
    ("teacher measure --teacher none", f"needed is an echo teacher.*{TEACHER}"),
    ("teacher measure --teacher empty", TEACHER),
    ("teacher measure --teacher empty --echonet none", f"needed is EchoNet-Dynamic.*{PUBLISHED}"),
    ("teacher embed none out --teacher none", "none is not a folder"),
    ("teacher embed empty out --teacher none", "empty holds no echo clip"),
    ("teacher read none", "no echo clip none.*AVI or DICOM"),
    ("teacher read empty", "empty is empty.*AVI or DICOM"),
    ("teacher read other/notes.txt --teacher none", f"needed is an echo teacher.*{TEACHER}"),
    ("teacher read other/notes.txt --recording none", "no file or recording called none"),
    ("import-weights none out", "no file none"),
    (
        "import-weights none none out",
        r"no file none.*weights \(echoingecg.pt\) must be named first",
    ),
    (
        "import-weights other/notes.txt none out",
        r"no file none.*scaler \(ecg_scaler.pkl\) must be named second",
    ),
)

# Commands without a path that could be wrong before they write.
WITHOUT = {"samples build", "samples list", "models", "indexes", "plugins"}


@dataclass(frozen=True)
class Told:
    """How a command ended.

    Attributes
    ----------
    code : int
    out, err : str
    crash : str or None
        An exception that no sentence was made of.
    heavy : list of str
        Of `HEAVY`, what it or a command before it had imported.
    """

    code: int
    out: str
    err: str
    crash: str | None
    heavy: list[str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """All of `CASES`, run in one process."""
    place = tmp_path_factory.mktemp("refusals")
    (place / "empty").mkdir()
    (place / "other").mkdir()
    (place / "other" / "notes.txt").write_text("nothing of ours\n")
    (place / "prepared").mkdir()
    card: dict[str, Any] = {
        "kind": KIND,
        "format": FORMAT,
        "source": "simulated",
        "simulated": True,
        "labels": {"af": {"known": 8, "positive": 3}},
        "splits": {"train": {"studies": 8}, "valid": {"studies": 0}, "test": {"studies": 0}},
        "files": dict.fromkeys(FILES, ""),
    }
    (place / "prepared" / "card.json").write_text(json.dumps(card))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=place,
        input=json.dumps([HEAVY, [case.split() for case, _ in CASES]]),
        capture_output=True,
        text=True,
        check=True,
    )
    # None of them wrote anything.
    assert {path.name for path in place.iterdir()} == {"empty", "other", "prepared"}
    assert [path.name for path in (place / "other").iterdir()] == ["notes.txt"]
    return {case: Told(*one) for (case, _), one in zip(CASES, json.loads(done.stdout), strict=True)}


# All cases are asked in one process, which takes a dozen seconds.
@pytest.mark.slow
@pytest.mark.parametrize(("case", "words"), CASES, ids=[case for case, _ in CASES])
def test_a_wrong_path_is_told_with_what_mends_it(
    told: dict[str, Told], case: str, words: str
) -> None:
    one = told[case]
    assert one.crash is None
    assert (one.code, one.out) == (2, ""), one.err
    assert re.search(words, one.err), one.err
    assert len(one.err.strip().splitlines()) == 1


@pytest.mark.slow
def test_no_refusal_waits_for_a_library_that_takes_seconds(told: dict[str, Told]) -> None:
    # In the order in which they ran: the first with one of them is the one that imported it.
    guilty = {case: one.heavy for case, one in told.items() if one.heavy}
    assert not guilty, next(iter(guilty.items()))


def _commands(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for key, command in group.commands.items():
        full = f"{name} {key}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, full)
        else:
            yield full, command


def test_every_command_that_takes_a_path_is_asked() -> None:
    """So that a new command is not left out in silence."""
    known = dict(_commands(typer.main.get_command(app)))
    # One data set stands for all: they share one command.
    sets = {name for name in known if name.startswith("prepare ")} - {"prepare simulated"}
    tried = {name for name in known if any(f"{case} ".startswith(f"{name} ") for case, _ in CASES)}
    assert tried & sets == {"prepare ptbxl"}
    left = set(known) - sets - WITHOUT - tried
    assert not left, f"of no path that is wrong is asked: {sorted(left)}"
