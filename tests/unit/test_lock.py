"""The list with hashes says the versions of the lists that people change."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.utils import canonicalize_name


def test_every_package_is_locked_in_its_version_with_a_hash(repo_root: Path) -> None:
    text = (repo_root / "requirements.lock").read_text(encoding="utf-8")
    entry = r"^(\S+)==(\S+) \\\n    --hash=sha256:([0-9a-f]{64})$"
    locked = {name: version for name, version, _ in re.findall(entry, text, re.MULTILINE)}
    # Nothing stands there that the pattern passes over.
    assert 2 * len(locked) == sum(not line.startswith("#") for line in text.splitlines())
    for name in ("requirements.txt", "requirements-serve.txt"):
        for line in (repo_root / name).read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            package, _, version = line.partition("==")
            # A local version such as +cpu is the same release.
            assert locked[canonicalize_name(package)].partition("+")[0] == version, line
