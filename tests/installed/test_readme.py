"""Commands of README, and of the pages on training and evaluation, in order in an empty folder.

Sizes are small: `SMALLER` lists each change. What needs data that nobody ships, or what is typed in
a checkout, stands in `NOT_RUN` with its reason. A line that is in neither list is run as it stands,
so a new one cannot be passed over in silence. That the commands of all other pages can be typed is
tested in `tests/unit/test_docs.py`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

NEEDS_PTBXL = "PTB-XL is not in this repository"
NEEDS_BENCHMARK = "graded recordings and real noise are not in this repository"
CHECKOUT = "typed in a checkout; .ci/run does the same"
NEEDS_MUSIC = "MUSIC is not in this repository"
HOURS = "hours, whatever its size"

LONG = ("docs/how-to/train.md", "docs/how-to/evaluate.md")
"""Pages whose commands train; what they need is tested room by room, and together they take
minutes."""

NOT_RUN: dict[str, str] = {
    "make app": CHECKOUT,
    "make test": CHECKOUT,
    "source .venv/bin/activate": CHECKOUT,
    "echoing prepare ptbxl PTBXL_FOLDER runs/ptbxl": NEEDS_PTBXL,
    "echoing evaluate --preset melp-ptbxl-super --data runs/ptbxl": NEEDS_PTBXL,
    "echoing evaluate uncertainty --recordings DIR --labels grades.csv --json out.json": (
        NEEDS_BENCHMARK
    ),
    "echoing evaluate uncertainty --cinc DIR --ptbxl DIR --nstdb DIR --mitdb DIR "
    "--markdown out.md": NEEDS_BENCHMARK,
    "echoing evaluate demo --ptbxl PTBXL_FOLDER": NEEDS_PTBXL,
    "echoing evaluate --preset music-table3 --data MUSIC_FOLDER": NEEDS_MUSIC,
    "echoing evaluate --preset music-table3 --patients 200": HOURS,
    "echoing evaluate ablation runs/table5-both --teacher runs/teacher --both-variances": HOURS,
    "echoing evaluate calibration --model runs/model --data runs/data --write": (
        "a few simulated patients have too few of any finding"
    ),
    "echoing train paper --data runs/full --out runs/paper --text-model BIOBERT": (
        "BioBERT is not in this repository"
    ),
    "echoing train ulip --data runs/data --echo runs/clips --texts runs/texts.npz "
    "--out runs/ulip": ("text vectors of a teacher of echo and text are not in this repository"),
    "torchrun --nproc-per-node 2 -m echoing_core.cli train from demo --data runs/data "
    "--out runs/two": "torchrun is started in tests/unit/training",
}

MELP_SMALL = (
    "--set model.frozen.layers=1 --set model.frozen.input_hz=100 --set steps=2 --set batch_size=8"
)

SMALLER: dict[str, str] = {
    "echoing simulate runs/tour --patients 20 --seed 7": (
        "echoing simulate runs/tour --patients 2 --seed 7"
    ),
    "echoing explain SIM_MUSIC --csv runs/seen.csv": (
        "echoing explain SIM_MUSIC --csv runs/seen.csv --stride 10"
    ),
    "echoing simulate runs/cohort --patients 4000 --seed 7 --echo": (
        "echoing simulate runs/cohort --patients 40 --seed 7 --echo"
    ),
    "echoing prepare simulated runs/data --patients 4000 --seed 7": (
        "echoing prepare simulated runs/data --patients 40 --seed 7"
    ),
    "echoing teacher train runs/teacher": (
        "echoing teacher train runs/teacher --steps 1 --studies 2 --workers 1"
    ),
    "echoing train from demo --data runs/data --echo runs/echo --out runs/model --second-stage": (
        "echoing train from demo --data runs/data --echo runs/echo --out runs/model --second-stage "
        "--set steps=2 --set batch_size=8 --set variance.where_steps=0 --set variance.steps=2 "
        "--set variance.text_steps=2"
    ),
    "echoing train melp-stage1 --data runs/data --out runs/melp1": (
        f"echoing train melp-stage1 --data runs/data --out runs/melp1 {MELP_SMALL} "
        "--set model.frozen.segment=500"
    ),
    "echoing train melp-text --data runs/data --out runs/words": (
        f"echoing train melp-text --data runs/data --out runs/words {MELP_SMALL} "
        "--set model.frozen.segment=1000 --set model.released_text.n_layers=1"
    ),
    "echoing train melp-stage2 --data runs/data --out runs/melp --begin runs/melp1 "
    "--text-model runs/words": (
        "echoing train melp-stage2 --data runs/data --out runs/melp --begin runs/melp1 "
        f"--text-model runs/words {MELP_SMALL} --set model.frozen.segment=1000 "
        "--set model.released_text.n_layers=1"
    ),
    "echoing train echo2ecg --data runs/data --echo runs/clips --out runs/echo2ecg": (
        "echoing train echo2ecg --data runs/data --echo runs/clips --out runs/echo2ecg "
        "--set steps=2 --set batch_size=8 --set model.frozen.layers=1"
    ),
    "echoing train from medbind --data runs/data --echo runs/clips --text-model BIOBERT "
    "--out runs/medbind": (
        "echoing train from medbind --data runs/data --echo runs/clips --out runs/medbind "
        "--set model.architecture=compact --set steps=2 --set batch_size=8"
    ),
    "echoing train from ecg-clip --data runs/data --text-model BIOBERT --out runs/ecg-clip": (
        "echoing train from ecg-clip --data runs/data --out runs/ecg-clip "
        "--set model.architecture=compact --set steps=2 --set batch_size=8"
    ),
    "echoing compare-models demo runs/model theirs --data runs/data --html runs/compared.html": (
        "echoing compare-models demo runs/model --data runs/data --html runs/compared.html "
        "--labels NORM --seeds 1 --resamples 10"
    ),
    "echoing evaluate zero-shot --model runs/model --data runs/data": (
        "echoing evaluate zero-shot --model runs/model --data runs/data --resamples 10"
    ),
    "echoing evaluate retrieval --model runs/model --data runs/data": (
        "echoing evaluate retrieval --model runs/model --data runs/data --resamples 10"
    ),
    "echoing evaluate ablation runs/table5 --teacher runs/teacher": (
        "echoing evaluate ablation runs/table5 --teacher runs/teacher --patients 150 "
        "--test-patients 20 --seeds 1 --steps 1 --resamples 10"
    ),
    "echoing train from demo --data runs/data --out runs/wide --set optimiser.lr=5e-4 "
    "--set model.sigma2=both": (
        "echoing train from demo --data runs/data --out runs/wide --set optimiser.lr=5e-4 "
        "--set model.sigma2=both --set steps=2 --set batch_size=8 --set variance.where_steps=0 "
        "--set variance.steps=2 --set variance.text_steps=2"
    ),
    "echoing evaluate few-shot --model runs/model --data runs/data": (
        "echoing evaluate few-shot --model runs/model --data runs/data --labels NORM --seeds 1 "
        "--resamples 10"
    ),
    "echoing evaluate fine-tune --model runs/model --data runs/data": (
        "echoing evaluate fine-tune --model runs/model --data runs/data --labels NORM --seeds 1 "
        "--train-ecgs 8 --epochs 1 --resamples 10"
    ),
}

# One interpreter for all commands: in one each, importing torch would be most of the time.
RUNNER = """
import json, shlex, sys, time
from typer.testing import CliRunner
from echoing_core.cli import app
told = []
for kind, text in json.load(sys.stdin):
    started = time.process_time()
    if kind == "python":
        error = None
        try:
            exec(compile(text, "README.md", "exec"), {})
        except Exception as raised:
            error = repr(raised)
    else:
        done = CliRunner().invoke(app, shlex.split(text)[1:])
        error = None if done.exit_code == 0 else done.output[-1000:] + repr(done.exception)
    told.append((text, error))
    print(f"{time.process_time() - started:6.1f} s of a core: {text}", file=sys.stderr, flush=True)
    if error:
        break
print()
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Block:
    """A block of a page that is typed.

    Attributes
    ----------
    kind : str
        ``"shell"`` or ``"python"``.
    lines : tuple of str
        Of a shell, without comments.
    """

    kind: str
    lines: tuple[str, ...]


def blocks_of(readme: str) -> list[Block]:
    """Blocks of commands in their order; a listing of folders is none."""
    found: list[Block] = []
    shell: list[str] = []
    fenced: list[str] | None = None
    kind = before = ""
    for line in [*readme.splitlines(), ""]:
        if line.startswith("```"):
            if fenced is not None:
                found.append(Block(kind, tuple(fenced)))
            kind, fenced = line[3:] or "shell", [] if fenced is None else None
        elif fenced is not None:
            fenced.append(line)
        # Four spaces after an empty line; in a list they only go on with its item.
        elif line.startswith("    ") and (shell or before == ""):
            shell.append(re.sub(r"\s+#\s.*$", "", line.strip()))
        elif shell:
            if not shell[0].startswith("app.py, pages/"):
                found.append(Block("shell", tuple(shell)))
            shell = []
        before = line
    return found


@pytest.fixture(scope="module")
def first(repo_root: Path) -> list[Block]:
    """The blocks of README.md."""
    return blocks_of((repo_root / "README.md").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def long(repo_root: Path) -> list[Block]:
    """The blocks of `LONG`, in the order in which the pages are read."""
    return [
        block
        for page in LONG
        for block in blocks_of((repo_root / page).read_text(encoding="utf-8"))
    ]


def test_the_lists_name_lines_that_are_there(first: list[Block], long: list[Block]) -> None:
    blocks = first + long
    lines = {line for block in blocks if block.kind == "shell" for line in block.lines}
    assert set(NOT_RUN) <= lines, set(NOT_RUN) - lines
    assert set(SMALLER) <= lines, set(SMALLER) - lines
    assert not set(NOT_RUN) & set(SMALLER)
    # A smaller size changes options and no command.
    for line, smaller in SMALLER.items():
        words = line.split()[1:3]
        assert smaller.split()[1:3] == words


def test_blocks_are_found_with_their_comments_taken_off() -> None:
    text = "a\n\n    one --x 1   # why\n    two\n\nb\n\n```python\nf('#')\n```\n\n    three\n"
    assert blocks_of(text) == [
        Block("shell", ("one --x 1", "two")),
        Block("python", ("f('#')",)),
        Block("shell", ("three",)),
    ]


def typed_of(blocks: list[Block]) -> list[tuple[str, str]]:
    """What is typed of some blocks: (kind, text), each shell line by itself."""
    typed: list[tuple[str, str]] = []
    for block in blocks:
        if block.kind == "python":
            typed.append(("python", "\n".join(block.lines)))
            continue
        commands = [SMALLER.get(line, line) for line in block.lines if line not in NOT_RUN]
        assert all(line.startswith("echoing ") for line in commands), commands
        typed += [("shell", line) for line in commands]
    return typed


def run_all(typed: list[tuple[str, str]], folder: Path) -> None:
    """Run them in an empty folder, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        cwd=folder,
        input=json.dumps(typed),
        capture_output=True,
        text=True,
        check=False,
    )
    # With -s: what each costs.
    sys.stderr.write(done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told[-1][1] is None, told[-1]
    assert len(told) == len(typed)


@pytest.mark.slow
def test_the_first_five_minutes_of_readme_run_in_an_empty_folder(
    first: list[Block], tmp_path: Path
) -> None:
    typed = typed_of(first)
    assert len(typed) >= 5
    run_all(typed, tmp_path)
    # Everything went where README says.
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"tour", "seen.csv"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.skipif(
    not os.environ.get("ECHOING_README"), reason="ECHOING_README=1 trains as the pages do, minutes"
)
def test_the_pages_that_train_run_in_an_empty_folder(
    first: list[Block], long: list[Block], tmp_path: Path
) -> None:
    # After README's, in their order: no block may find the folder of another in its way.
    run_all(typed_of(first + long), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert (tmp_path / "runs" / "model" / "manifest.json").is_file()
    assert (tmp_path / "runs" / "table5").is_dir()
