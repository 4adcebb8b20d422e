"""The table of lead names."""

from __future__ import annotations

import pytest

from echoing_core.io import canonical_lead_name
from echoing_core.io.lead_names import is_modified_limb_lead
from echoing_core.records import FRANK_LEADS, LEADS


@pytest.mark.parametrize(
    ("spelling", "lead"),
    [
        *((lead, lead) for lead in LEADS + FRANK_LEADS),
        *((lead.upper(), lead) for lead in LEADS),
        *((lead.lower(), lead) for lead in LEADS),
        ("AVR", "aVR"),
        ("Lead I", "I"),
        ("LEAD_II", "II"),
        ("ECG I", "I"),
        ("ECG aVF", "aVF"),
        ("ECG lead V1", "V1"),
        ("EKG-V2", "V2"),
        ("I (ECG)", "I"),
        ("MDC_ECG_LEAD_III", "III"),
        ("MDC_ECG_ELEC_POTL_AVL", "aVL"),
        ("MLI", "I"),
        ("MLII", "II"),
        ("MLIII", "III"),
        ("D1", "I"),
        ("DI", "I"),
        ("DIII", "III"),
        ("V1-REF", "V1"),
        ("C4", "V4"),
        ("vx", "X"),
        ("VY", "Y"),
        ("Frank Z", "Z"),
        ("VCG X", "X"),
        ("VCGY", "Y"),
        ("  v6 ", "V6"),
        ("Ⅱ", "II"),  # one character, as Japanese devices write it
    ],
)
def test_spellings_lead_to_the_canonical_name(spelling: str, lead: str) -> None:
    assert canonical_lead_name(spelling) == lead


@pytest.mark.parametrize(
    "name",
    [
        "", "RESP", "ABP", "PLETH", "ECG", "V", "lead", "ECG1", "V7", "V4R", "CM5", "V4-V5",
        "-aVR", "IV", "MCL1", "ES", "Z0", "II+III", "Vxy", "VCG", "channel 1", "MV1",
    ],
)  # fmt: skip
def test_other_channels_are_no_lead(name: str) -> None:
    assert canonical_lead_name(name) is None


def test_modified_limb_leads_are_told_apart() -> None:
    assert is_modified_limb_lead("mlii")
    assert not is_modified_limb_lead("II")
