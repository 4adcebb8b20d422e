"""References for lead sets, measured: the same ECGs with fewer leads, embedded again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from echoing_core.embed.encode import encode_batch_terms
from echoing_core.models.encoders import EcgEncoder
from echoing_core.progress import SILENT, Progress
from echoing_core.records import BoolArray
from echoing_core.signals.lead_sets import LeadSet, reduced_to
from echoing_core.signals.scaling import LeadScaler
from echoing_core.uncertainty.reference import LeadReference

Float32s = npt.NDArray[np.float32]


def fit_lead_references(
    encoder: EcgEncoder,
    scaler: LeadScaler,
    signal_mv: Float32s,
    valid: BoolArray,
    lead_sets: Sequence[LeadSet],
    *,
    name: str,
    simulated: bool,
    progress: Progress = SILENT,
) -> dict[str, LeadReference]:
    """Measure sigma^2 of 12-lead ECGs that were reduced to each of some lead sets.

    Parameters
    ----------
    encoder : EcgEncoder
        With its final sigma^2.
    scaler : LeadScaler
        Of the same checkpoint.
    signal_mv, valid : ndarray, shape (n, 12, 1000)
        ECGs of all 12 leads, 100 Hz, 0.5-40 Hz.
    lead_sets : sequence of LeadSet
    name : str
        What the ECGs are, for a person.
    simulated : bool
        True when all of them were simulated.
    progress : Progress
        Counts lead sets.

    Returns
    -------
    dict of str to LeadReference
        By the keys of the lead sets.
    """
    references = {}
    for done, lead_set in enumerate(lead_sets, start=1):
        windows = encode_batch_terms(encoder, scaler, *reduced_to(lead_set, signal_mv, valid))
        references[lead_set.key] = LeadReference.of_leads(
            lead_set,
            windows.embedding.uncertainty,
            windows.by_lead,
            name=name,
            simulated=simulated,
        )
        progress(done, len(lead_sets))
    return references
