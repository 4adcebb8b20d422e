"""How far a long piece of work is: one object, with a form that says nothing.

Work that takes time takes a `Progress`, by default `SILENT`, and never asks whether there is one.
Only the command line and the app know what a person sees of it: they hand in the function that
draws. Work in several stages takes one stage after the other from the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Listener = Callable[[str, float, int], None]
"""Takes the stage's name, what is done of it and how much there is in all.

What is done is a whole number, or a fraction where the item under way is counted in part. A
listener may raise to stop the work.
"""


@dataclass(frozen=True)
class Progress:
    """Tells whoever waits how much of a stage is done.

    Parameters
    ----------
    tell : callable, optional
        See `Listener`. None tells nobody.
    name : str
        The stage that this object speaks of; empty for work of a single stage.

    Examples
    --------
    >>> progress = Progress(lambda stage, done, total: print(f"{stage}: {done} of {total}"))
    >>> progress.stage("embed")(3, 10)
    embed: 3 of 10
    """

    tell: Listener | None = None
    name: str = ""

    def __call__(self, done: float, total: int) -> None:
        """Say that ``done`` of ``total`` are done."""
        if self.tell is not None:
            self.tell(self.name, done, total)

    def stage(self, name: str) -> Progress:
        """Take the same listener for a stage of this name."""
        return Progress(self.tell, name)


SILENT = Progress()
"""Progress that nobody watches."""
