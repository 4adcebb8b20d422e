"""What the first answer of a command imports: the list, since time is the machine's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROBE = """
import json, sys
import torch
with_torch = set(sys.modules)
from echoing_core.cli import app
from typer.testing import CliRunner
loaded = {}
for command in json.loads(sys.argv[1]):
    before = set(sys.modules)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, (command, done.output, done.exception)
    loaded[command[0]] = sorted(set(sys.modules) - with_torch)
print(json.dumps(loaded))
"""

COMMANDS = (
    ("explain", "SIM_AF"),
    ("ask", "SIM_LBBB", "--prompt", "lbbb"),
    # Last, since it is the one that may load tables.
    ("search", "lbbb", "-k", "3"),
)

OURS = {"echoing_core"}
# The command line, settings, texts and weights; what NumPy and Python load is their own business.
SMALL = {"typer", "pydantic", "pydantic_core", "yaml", "tokenizers", "safetensors"}
TABLES = {"pandas", "pyarrow", "faiss"}
HEAVY = {
    "faiss", "matplotlib", "open_clip", "pandas", "plotly", "pyarrow", "pydicom", "sklearn",
    "streamlit", "timm", "torchvision", "tqdm", "transformers", "wfdb",
}  # fmt: skip
"""What some part of the product needs, and an answer does not."""


@pytest.mark.slow
def test_an_answer_imports_what_it_needs_and_no_more() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(COMMANDS)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    for command, allowed in (("explain", set()), ("ask", set()), ("search", TABLES)):
        names = set(loaded[command])
        roots = {name.split(".")[0] for name in names}
        assert roots & HEAVY == allowed, f"{command} imports {roots & HEAVY}"
        assert roots >= OURS | SMALL
        # Parts of SciPy that import the rest of it; its own root is light.
        parts = {name for name in names if name.startswith(("scipy.signal", "scipy.ndimage"))}
        assert not parts | {n for n in names if n.startswith(("scipy.stats", "scipy.special"))}
        # `import torch` brings torch.distributed by itself; what compiles and exports it does not.
        assert not {name for name in names if name.startswith(("torch._dynamo", "torch._inductor"))}
        # Encoders of others, training and figures.
        ours = {name for name in names if name.startswith("echoing_core.")}
        for room in ("training.trainer", "echo", "figures.paper", "models.frozen", "models.melp"):
            assert f"echoing_core.{room}" not in ours, f"{command} imports {room}"
