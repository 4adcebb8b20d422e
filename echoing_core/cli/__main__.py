"""``python -m echoing_core.cli``: what ``torchrun -m`` starts."""

from echoing_core.cli import main

main()
