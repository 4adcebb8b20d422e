"""The same targets and changes, led by what lines of the readers an input reaches (atheris)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

# Nothing of the program here: what is imported before atheris looks is not followed.
if TYPE_CHECKING:
    from tests.fuzz.targets import Target

_ROOM = "echoing_core.io", "echoing_core.zeroshot", "echoing_core.documents"
_LONGEST = 400_000


def run_guided(
    chosen: list[Target], seed: int, minutes: float, out: Path, corpus: Path
) -> dict[str, Any]:
    """Each target in a process of its own, since libFuzzer never returns.

    Parameters
    ----------
    chosen : list of Target
    seed : int
    minutes : float
        Of all together.
    out, corpus : Path
        Where findings go, and past ones are.

    Returns
    -------
    dict
        Inputs by target, and findings.
    """
    from tests.fuzz.attempt import Finding

    inputs, findings = {}, []
    for target in chosen:
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "told.json"
            command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(seed), str(told)]
            environment = {**os.environ, "ECHOING_FUZZ_OUT": str(out), "FUZZ_CORPUS": str(corpus)}
            environment["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
            seconds = max(5, round(60 * minutes / len(chosen)))
            done = subprocess.run(
                [*command, str(seconds), folder], env=environment, capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if not told.exists():
                raise SystemExit(f"{target.name} did not run: {done.stderr[-2000:]}")
            result = json.loads(told.read_text())
            if result["open"] is not None and done.returncode != 0:
                result["findings"].append([target.name, "crash", f"exit {done.returncode}"])
        inputs[target.name] = result["inputs"]
        findings += [Finding(*one) for one in result["findings"]]
        for one in result["findings"]:
            print(*one, sep=": ", flush=True)  # noqa: T201 - part of the command
    return {"inputs": inputs, "findings": [vars(one) for one in findings]}


def _lead(name: str, seed: int, told: Path, seconds: int, folder: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=list(_ROOM)):
        from tests.fuzz.attempt import attempt, packed, unpacked
        from tests.fuzz.mutate import mutated
        from tests.fuzz.targets import targets

        (target,) = (one for one in targets() if one.name == name)
        seeds = target.seeds()
        for path in sorted(Path(os.environ["FUZZ_CORPUS"]).glob("*.zip")):
            of, files = unpacked(path.read_bytes())
            if of == name:
                seeds.append(files)
        for files in seeds:
            attempt(target, files)
    out = Path(os.environ["ECHOING_FUZZ_OUT"])
    inputs, found = 0, {}
    begun = folder / "begun"
    begun.mkdir()
    for i, files in enumerate(seeds):
        (begun / str(i)).write_bytes(packed(files, name))
    last = time.monotonic()

    def tell(running: str | None) -> None:
        told.write_text(
            json.dumps(
                {
                    "inputs": inputs,
                    "findings": [[f.target, f.kind, f.what] for f in found.values()],
                    "open": running,
                }
            )
        )

    def one_input(data: bytes) -> None:
        nonlocal inputs, last
        try:
            _, files = unpacked(data)
        except Exception:  # noqa: BLE001 - libFuzzer's own first inputs are no archives
            return
        inputs += 1
        finding = attempt(target, files)
        if finding is not None and finding.key not in found:
            found[finding.key] = finding
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{finding.key}.zip").write_bytes(data)
        if time.monotonic() - last > 0.5:
            last = time.monotonic()
            tell("input")

    def changed(data: bytes, most: int, number: int) -> bytes:
        rng = Random(number)
        try:
            _, files = unpacked(data)
        except Exception:  # noqa: BLE001 - as above
            files = rng.choice(seeds)
        new = packed(mutated(files, rng, seeds), name)
        return new if len(new) <= most else packed(rng.choice(seeds), name)

    tell(None)
    atheris.Setup(
        [
            sys.argv[0], str(begun), f"-max_total_time={seconds}", f"-seed={seed}",
            f"-max_len={_LONGEST}", "-timeout=60", "-rss_limit_mb=4096", "-verbosity=0",
            "-print_final_stats=0", f"-artifact_prefix={folder}/",
        ],
        one_input,
        custom_mutator=changed,
    )  # fmt: skip
    # It ends the process itself; what was told last is at most half a second old.
    atheris.Fuzz()


if __name__ == "__main__":
    _name, _seed, _told, _seconds, _folder = sys.argv[1:]
    _lead(_name, int(_seed), Path(_told), int(_seconds), Path(_folder))
