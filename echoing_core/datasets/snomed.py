"""Diagnoses of the PhysioNet/CinC Challenges 2020 and 2021, as SNOMED-CT codes in headers.

The codes, names, abbreviations and sources are those of ``dx_mapping_scored.csv`` and
``dx_mapping_unscored.csv`` of the challenge 2021's evaluation code (Reyna et al. 2021); the 38
classes of CSN are those that MERL and MELP evaluate, with the codes of
``ConditionNames_SNOMED-CT.csv`` of the Chapman-Shaoxing-Ningbo release.
"""

from __future__ import annotations

from typing import NamedTuple

SUBSETS: tuple[str, ...] = (
    "cpsc_2018",
    "cpsc_2018_extra",
    "st_petersburg_incart",
    "ptb",
    "ptb-xl",
    "georgia",
    "chapman_shaoxing",
    "ningbo",
)
"""Sources of the challenge's training data, in the order of the letters in `_TABLE`."""


class Diagnosis(NamedTuple):
    """One code of the mapping.

    Attributes
    ----------
    code : int
        SNOMED-CT.
    abbreviation, name : str
    scored : bool
        Whether the challenge 2021 scored it.
    subsets : frozenset of str
        Sources in which some ECG carries it. In the others nobody looked for it, so there its
        absence says nothing.
    """

    code: int
    abbreviation: str
    name: str
    scored: bool
    subsets: frozenset[str]


EQUIVALENT: dict[int, int] = {
    733534002: 164909002,
    713427006: 59118001,
    63593006: 284470004,
    17338001: 427172004,
}
"""Codes that the challenge scores as one: the first counts as the second."""

# Complete and plain bundle branch block count as one here, as in `EQUIVALENT`; of premature beats
# all three ventricular codes.
LABEL_CODES: dict[str, tuple[int, ...]] = {
    "sinus_rhythm": (426783006,),
    "sinus_bradycardia": (426177001,),
    "sinus_tachycardia": (427084000,),
    "sinus_arrhythmia": (427393009,),
    "af": (164889003,),
    "flutter": (164890007,),
    "paced": (10370003,),
    "pvc": (427172004, 17338001, 164884008),
    "pac": (284470004, 63593006),
    "lbbb": (164909002, 733534002),
    "rbbb": (59118001, 713427006),
    "irbbb": (713426002,),
    "lafb": (445118002,),
    "av_block_1": (270492004,),
    "lvh": (164873001,),
}
"""Labels that other data sets have too (without ``label_``) -> codes any of which makes it true."""

CPSC2018_CODES: dict[str, int] = {
    "NORM": 426783006,
    "AFIB": 164889003,
    "1AVB": 270492004,
    "CLBBB": 164909002,
    "CRBBB": 59118001,
    "PAC": 284470004,
    "VPC": 164884008,
    "STD": 429622005,
    "STE": 164931005,
}
"""The nine classes of CPSC2018 as the challenge coded them."""

CSN_CODES: dict[str, int] = {
    "AQW": 164917005,
    "UW": 164937009,
    "SR": 426783006,
    "WPW": 74390002,
    "2AVB": 195042002,
    "AT": 713422000,
    "VB": 11157007,
    "ARS": 47665007,
    "STTC": 428750005,
    "SA": 427393009,
    "STE": 164930006,
    "VPB": 17338001,
    "TWO": 59931005,
    "STTU": 164931005,
    "ALS": 39732003,
    "APB": 284470004,
    "2AVB1": 54016002,
    "PRIE": 164947007,
    "CCR": 251199005,
    "CR": 251198002,
    "AF": 164890007,
    "AVB": 233917008,
    "QTIE": 111975006,
    "LBBB": 164909002,
    "VEB": 75532003,
    "SVT": 426761007,
    "RBBB": 59118001,
    "1AVB": 270492004,
    "STDD": 429622005,
    "MI": 164865005,
    "AFIB": 164889003,
    "TWC": 164934002,
    "PWC": 164912004,
    "ERV": 428417006,
    "RVH": 89792004,
    "LVH": 164873001,
    "ST": 427084000,
    "JEB": 426995002,
}
"""The 38 classes of Chapman-Shaoxing and Ningbo (CSN) in MERL and MELP, by their codes.

Here AF is atrial flutter and AFIB atrial fibrillation, as that release abbreviates them.
"""

# Code, abbreviation, * for scored, a letter for each source in which it occurs, name.
_TABLE = """
164889003 AF * AQISXEJ- atrial fibrillation
164890007 AFL * -Q-SXEJN atrial flutter
6374002 BBB * --IS-E-N bundle branch block
426627000 Brady * -QI--E-N bradycardia
733534002 CLBBB * -------N complete left bundle branch block
713427006 CRBBB * -Q--XE-N complete right bundle branch block
270492004 IAVB * AQ--XEJN 1st degree av block
713426002 IRBBB * -Q--XE-N incomplete right bundle branch block
39732003 LAD * ----XEJN left axis deviation
445118002 LAnFB * ----XE-N left anterior fascicular block
164909002 LBBB * AQ--XEJN left bundle branch block
251146004 LQRSV * ----XEJN low qrs voltages
698252002 NSIVCB * -QI-XEJN nonspecific intraventricular conduction disorder
426783006 NSR * AQ-SXEJN sinus rhythm
284470004 PAC * AQI-XEJN premature atrial contraction
10370003 PR * -Q--X--N pacing rhythm
365413008 PRWP * -------N poor r wave progression
427172004 PVC * -Q-----N premature ventricular contractions
164947007 LPR * ----X-JN prolonged pr interval
111975006 LQT * -Q--XEJN prolonged qt interval
164917005 QAb * -Q--XEJN q wave abnormal
47665007 RAD * -Q--XEJN right axis deviation
59118001 RBBB * AQI--EJN right bundle branch block
427393009 SA * -QI-XE-N sinus arrhythmia
426177001 SB * -Q--XEJN sinus bradycardia
427084000 STach * -QISXEJN sinus tachycardia
63593006 SVPB * -QI-XE-N supraventricular premature beats
164934002 TAb * -Q--XEJN t wave abnormal
59931005 TInv * -QI-XEJN t wave inversion
17338001 VPB * -Q---EJ- ventricular premature beats
233892002 AAR . -------N accelerated atrial escape rhythm
164951009 abQRS . ----X--- abnormal qrs
251187003 AED . -------N atrial escape beat
61277005 AIVR . -------N accelerated idioventricular rhythm
426664006 AJR . -----E-N accelerated junctional rhythm
251139008 ALR . -----E-- suspect arm ecg leads reversed
57054005 AMI . --I----N acute myocardial infarction
413444003 AMIs . -Q---E-- acute myocardial ischemia
426434006 AnMIs . ----XE-- anterior ischemia
54329005 AnMI . -Q--X--N anterior myocardial infarction
251173003 AB . --I---J- atrial bigeminy
195080001 AFAFL . -Q---E-- atrial fibrillation and flutter
195126007 AH . -Q---E-- atrial hypertrophy
251268003 AP . -----E-- atrial pacing pattern
106068003 ARH . -------N atrial rhythm
713422000 ATach . -Q---EJN atrial tachycardia
233917008 AVB . -Q---EJN av block
50799005 AVD . -------N atrioventricular dissociation
29320008 AVJR . -Q-----N atrioventricular junctional rhythm
251166008 AVNRT . ------J- atrioventricular node reentrant tachycardia
233897008 AVRT . ------JN atrioventricular reentrant tachycardia
251170000 BPAC . -QI----N blocked premature atrial contraction
418818005 BRU . -------N brugada
74615001 BTS . -QI----- brady tachy syndrome
426749004 CAF . -Q------ chronic atrial fibrillation
251199005 CCR . ------J- counterclockwise rotation
61721007 CVCL/CCVCL . -------N clockwise or counterclockwise vectorcardiographic loop
698247007 CD . ---S---- cardiac dysrhythmia
27885002 CHB . -Q--XEJN complete heart block
204384007 CIAHB . ---S---- congenital incomplete atrioventricular heart block
53741008 CHD . --IS---- coronary heart disease
413844008 CMI . -Q------ chronic myocardial ischemia
251198002 CR . ------J- clockwise rotation
82226007 DIB . -Q------ diffuse intraventricular block
428417006 ERe . -----EJN early repolarization
13640000 FB . --I---JN fusion beats
164942001 FQRS . ------J- fqrs wave
84114007 HF . ---S---- heart failure
368009 HVD . ---S---- heart valve disorder
251259000 HTV . -Q------ high t-voltage
251200008 ICA . ----X--- indeterminate cardiac axis
195042002 IIAVB . -Q--XEJN 2nd degree av block
426183003 IIAVBII . -------N mobitz type ii atrioventricular block
425419005 IIs . ----XE-- inferior ischaemia
251120003 ILBBB . -Q--XE-N incomplete left bundle branch block
704997005 ISTD . -Q------ inferior st segment depression
49260003 IR . --I----- idioventricular rhythm
426995002 JE . -Q---EJN junctional escape
251164006 JPC . -Q----JN junctional premature complex
426648003 JTach . -Q---E-N junctional tachycardia
253352002 LAA . -----E-- left atrial abnormality
67741000119109 LAE . -Q--XEJN left atrial enlargement
446813000 LAH . -Q-----N left atrial hypertrophy
425623009 LIs . ----XE-- lateral ischaemia
445211001 LPFB . ----XE-N left posterior fascicular block
164873001 LVH . -QI-XEJN left ventricular hypertrophy
55827005 LVHV . ------JN left ventricular high voltage
370365005 LVS . -Q------ left ventricular strain
164865005 MI . -QISXEJN myocardial infarction
164861001 MIs . -Q--X--- myocardial ischemia
54016002 MoI . --I---JN mobitz type i wenckebach atrioventricular block
428750005 NSSTTA . -Q--XEJ- nonspecific st t abnormality
164867002 OldMI . -Q------ old myocardial infarction
282825002 PAF . --IS---- paroxysmal atrial fibrillation
251205003 PPW . -------N prolonged p wave
67198005 PSVT . --I-X--- paroxysmal supraventricular tachycardia
425856008 PVT . --I----N paroxysmal ventricular tachycardia
164912004 PWC . ------JN p wave change
253339007 RAAb . -----E-- right atrial abnormality
164921003 RAb . -Q---E-- r wave abnormal
446358003 RAH . -Q--X-JN right atrial hypertrophy
67751000119106 RAHV . -------N right atrial high voltage
314208002 RAF . ---S---- rapid atrial fibrillation
89792004 RVH . -Q--XEJN right ventricular hypertrophy
17366009 SAAWR . ------J- sinus atrium to atrial wandering rhythm
65778007 SAB . -Q-----N sinoatrial block
5609005 SARR . -------N sinus arrest
60423000 SND . --I----- sinus node dysfunction
49578007 SPRI . -Q---E-N shortened pr interval
77867006 SQT . -Q-----N decreased qt interval
55930002 STC . -Q--XE-N st changes
429622005 STD . AQI-XEJN st depression
164931005 STE . AQI-XEJ- st elevation
164930006 STIAb . -QI--EJN st interval abnormal
251168009 SVB . --I----- supraventricular bigeminy
426761007 SVT . -QI-XEJN supraventricular tachycardia
266257000 TIA . --I----- transient ischemic attack
251223006 TPW . -------N tall p wave
164937009 UAb . -Q----JN u wave abnormal
11157007 VBig . -QI-XEJ- ventricular bigeminy
164884008 VEB . A-I-XE-- ventricular ectopics
75532003 VEsB . -QI---JN ventricular escape beat
81898007 VEsR . -Q---E-N ventricular escape rhythm
164896001 VF . -Q-S-E-N ventricular fibrillation
111288001 VFL . -Q-----N ventricular flutter
266249003 VH . -Q-SXE-- ventricular hypertrophy
195060002 VPEx . -Q---EJ- ventricular pre excitation
251266004 VPP . -----E-- ventricular pacing pattern
251182009 VPVC . --I----- paired ventricular premature complexes
164895002 VTach . -QIS---- ventricular tachycardia
251180001 VTrig . -QI-XEJ- ventricular trigeminy
195101003 WAP . -----EJ- wandering atrial pacemaker
74390002 WPW . --ISXEJN wolff parkinson white pattern
"""


def _parsed() -> dict[int, Diagnosis]:
    diagnoses = {}
    for line in _TABLE.strip().splitlines():
        code, abbreviation, scored, letters, name = line.split(maxsplit=4)
        # One letter a source, "-" where no ECG of it carries the code.
        subsets = frozenset(s for s, letter in zip(SUBSETS, letters, strict=True) if letter != "-")
        diagnoses[int(code)] = Diagnosis(int(code), abbreviation, name, scored == "*", subsets)
    return diagnoses


# Parsed once at import: the text above can be set beside the published CSV, line by line.
DIAGNOSES: dict[int, Diagnosis] = _parsed()
"""SNOMED code -> diagnosis, the scored ones first."""


def same(code: int) -> int:
    """The code that the challenge counts ``code`` as.

    Parameters
    ----------
    code : int
        SNOMED-CT; one without an equivalent stands for itself.

    Returns
    -------
    int
    """
    return EQUIVALENT.get(code, code)


def sources_of(codes: tuple[int, ...] | frozenset[int]) -> frozenset[str]:
    """Sources in which any of the codes occurs, by the published mapping.

    Parameters
    ----------
    codes : tuple or frozenset of int
        SNOMED-CT; codes that are not in `DIAGNOSES` occur nowhere.

    Returns
    -------
    frozenset of str
        Of `SUBSETS`.
    """
    return frozenset().union(*(DIAGNOSES[code].subsets for code in codes if code in DIAGNOSES))
