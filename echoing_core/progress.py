"""How far a long piece of work is: one object, with a form that says nothing.

Work that takes time takes a `Progress`, by default `SILENT`, and never asks whether there is one.
Only the command line and the app know what a person sees of it: they hand in the function that
draws. Work in several stages takes one stage after the other from the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Progress:
    """Tells whoever waits how much of a stage is done.

    Parameters
    ----------
    tell : callable, optional
        Takes the name of the stage, what is done of it and how much there is in all. None tells
        nobody.
    name : str
        The stage that this object speaks of.
    """

    tell: Report | None = None
    name: str = ""

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` are done."""
        if self.tell is not None:
            self.tell(self.name, done, total)

    def stage(self, name: str) -> Progress:
        """The same listener, told of another stage."""
        return Progress(self.tell, name)

    def within(self, first: int, total: int) -> Progress:
        """A part of this stage: its counts are added to ``first``, and its total is ours."""
        return Progress(
            None if self.tell is None else lambda _, done, __: self(first + done, total), self.name
        )


SILENT = Progress()
"""Progress that nobody watches."""
