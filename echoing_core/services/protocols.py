"""Prepared study sets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from echoing_core.errors import ConfigError
from echoing_core.services.recordings import Progress


def prepare_simulated(
    out: str | os.PathLike[str],
    n_patients: int,
    seed: int,
    *,
    echo_in_report: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Simulate a cohort and write it as a prepared study set.

    Parameters
    ----------
    echo_in_report : float, 0..1, optional
        Share of reports that also tell the echocardiogram; without it, the simulation's default.

    Returns
    -------
    dict
        The set's card.

    Raises
    ------
    ConfigError
        The share is out of range, or ``out`` holds something else.
    """
    from echoing_core.datasets.prepared import save_prepared
    from echoing_core.datasets.simulated import build_simulated
    from echoing_core.simulate import SimulationConfig

    config = SimulationConfig()
    if echo_in_report is not None:
        if not 0.0 <= echo_in_report <= 1.0:
            raise ConfigError(
                f"A share of {echo_in_report:g} of the reports is not between 0 and 1."
            )
        config = replace(config, echo_in_report=echo_in_report)
    studies = build_simulated(n_patients, seed, config=config, n_workers=2, progress=progress)
    card = {"seed": seed, "echo_in_report": config.echo_in_report}
    return save_prepared(Path(out), studies, card=card)
