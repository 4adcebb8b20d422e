"""The step of the build that puts what ships into the wheel; all else is in pyproject.toml.

In a checkout the app, the models, the indexes and the recordings lie beside the package, where
people find them. A wheel has no beside, so there they lie in it (`services.shipped_folder`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import Command, setup
from setuptools.command.build import build

SHIPPED = ("app.py", "pages", "ui", ".streamlit", "assets", "indexes")
INSIDE = Path("echoing_core", "_shipped")


class Ship(Command):
    """Copies `SHIPPED` into the package that is built, and names it to the source archive."""

    description = "copy the app, models, indexes and recordings into the package"
    # Set by setuptools: a package that is used in place needs no copies.
    editable_mode = False
    build_lib: str | None = None

    def initialize_options(self) -> None:
        """Nothing can be chosen."""

    def finalize_options(self) -> None:
        """Take the folder of the build from the build."""
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def get_source_files(self) -> list[str]:
        """The files that ship, relative to this one."""
        found = [
            path
            for name in SHIPPED
            for path in ([Path(name)] if Path(name).is_file() else sorted(Path(name).rglob("*")))
        ]
        return [str(p) for p in found if p.is_file() and "__pycache__" not in p.parts]

    def get_output_mapping(self) -> dict[str, str]:
        """Each file of the build, and the one that it is a copy of."""
        if self.editable_mode:
            return {}
        root = Path(self.build_lib or "") / INSIDE
        return {str(root / name): name for name in self.get_source_files()}

    def get_outputs(self) -> list[str]:
        """The files that this step writes."""
        return list(self.get_output_mapping())

    def run(self) -> None:
        """Copy."""
        # A build folder that was used before may hold a model that ships no longer.
        if not self.editable_mode:
            shutil.rmtree(Path(self.build_lib or "") / INSIDE, ignore_errors=True)
        for target, source in self.get_output_mapping().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


build.sub_commands.append(("ship", None))
setup(cmdclass={"ship": Ship})
