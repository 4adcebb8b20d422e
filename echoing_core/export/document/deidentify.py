"""Notes of readers, with everything left out that could have come from a file.

A note quotes names of files and channels, and those may be a person's. So it is not searched for
names, which nobody could list, but read the other way: what is not a word of this program's own
sentences, a lead or a plain number becomes "…". A word that is missing here costs a gap in a note,
never a name in a document.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cache

from echoing_core.errors import ConfigError
from echoing_core.export.track import Explanation
from echoing_core.io.annotations import RHYTHMS
from echoing_core.records import FRANK_LEADS, LEADS, Annotations, Recording
from echoing_core.reports.stated import read_report
from echoing_core.reports.vocabulary import WORDING

# One line of a title on A4.
MAX_NAME = 60
HIDDEN = "…"

_SENTENCES = """
a above according acquisition add after all also amplitude amplitudes an and annotation
annotations another answers any are as ask assumed at baseline be beat beats because been before
belong belongs below between bimodal but by bytes calls cannot cells channel channels checksum
column columns compare complexes compression computed corrected damaged data declared declares
default derived device differs disconnected do does dower each ecg electrode electrodes empty end
ends every extra far few file files filled filter filters first fit flat following for frame
frames frank frequent frequently from g gain gaps given gives go goes group groups had has have
header held here high hold holds how hz i if ii in inside intermittent intermittently interpolated
interrupted interruptions into is it its jumps keeps kept known kors lead leads leaves left less
limb line lines list listed little long longer low made masked may mean measured median missing
model modified more most mv names needed no noise not nothing nv object of off on once one only or
other out own part parts pass pattern per philips plain printed qrs quality rate read reader
recorded recorder recording rely repeated resampled rest rhythm s same sample samples sampling say
says second seconds seen segment segments shape sigma signal signals since six slowly so some
something somewhat standard start starts still strips synthesis taken test than that the their
follow page layouts states offset moves outside unknown many 3x4 6x2
them then there these they thirds this those three through time times to together told too treated
trunk twelve twice two uncertain unit units unread up used uv uvperlsb value values voltage
voltages was waveform waveforms were wfdb what where which whole with without wrong x y z zero
"""
_WORDS = frozenset(_SENTENCES.split()) | {lead.lower() for lead in (*LEADS, *FRANK_LEADS)}

# A word with inner apostrophes, or a number with its decimals.
_TOKEN = re.compile(r"[^\W_](?:[\w'’]|(?<=\d)[.,](?=\d))*|_[\w]*")
_DATE = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}")
_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+|\d{1,4}(?:\.\d{1,3})?")
# A year is the part of a birthday that is easiest to overlook.
_YEAR = re.compile(r"(?:18|19|20)\d\d")
# Several gaps in a row become one, so that their number says nothing of the name's length.
_GAPS = re.compile(rf"{HIDDEN}(?:[\s.,:;_'\"“”‘’()/\\-]*{HIDDEN})+")


def plain_words(sentence: str, names: Collection[str] = ()) -> str:
    """``sentence`` with a gap for whatever this program does not say by itself.

    Parameters
    ----------
    sentence : str
        A note of a reader.
    names : collection of str
        Names of the record and of channels that are no leads: left out even where they look like
        words of a sentence.

    Returns
    -------
    str
        With "…" for every gap.
    """
    # A channel may be called like a word of our own sentences.
    own = {name.lower() for name in names}
    # Before the words, since a date falls into tokens that are plain numbers.
    text = _DATE.sub(HIDDEN, sentence)
    parts = []
    end = 0
    for match in _TOKEN.finditer(text):
        # 2000 Hz is a sampling rate and no year.
        unit = text[match.end() : match.end() + 3] == " Hz"
        parts += [text[end : match.start()], _kept(match[0], own, unit)]
        end = match.end()
    joined = "".join([*parts, text[end:]])
    # Control characters could turn the direction of what follows.
    joined = "".join(c for c in joined if c.isprintable())
    return _GAPS.sub(HIDDEN, joined)


def _kept(token: str, own: Collection[str], is_rate: bool) -> str:
    word = token.lower()
    if word in own:
        return HIDDEN
    if word in _WORDS or (_NUMBER.fullmatch(token) and (is_rate or not _YEAR.fullmatch(token))):
        return token
    return HIDDEN


def clean_name(typed: str) -> str:
    """What a person typed as the name of the recording, on one line.

    Parameters
    ----------
    typed : str

    Returns
    -------
    str
        ``"recording"`` where nothing was typed.

    Raises
    ------
    ConfigError
        Longer than `MAX_NAME` characters.
    """
    # Line ends and tabs of a pasted name become spaces.
    name = " ".join("".join(c if c.isprintable() else " " for c in typed).split())
    if len(name) > MAX_NAME:
        raise ConfigError(
            f"The name has {len(name)} characters, and up to {MAX_NAME} fit. Shorten it."
        )
    return name or "recording"


def deidentified(explanation: Explanation, name: str, names: Sequence[str] = ()) -> Explanation:
    """The same track under another name, and without any text that came from the file.

    The record's name is often the patient's, channels may be named after people, and a reader
    quotes both in its notes: of these only what `plain_words` knows is left.

    Parameters
    ----------
    explanation : Explanation
    name : str
        What to call the recording.
    names : sequence of str
        The channel names of the file (`Recording.source_names`).

    Returns
    -------
    Explanation
    """
    own = _words_of([explanation.recording_id, *names])
    return replace(
        explanation,
        recording_id=name,
        ecg=replace(
            explanation.ecg,
            record_id=name,
            notes=tuple(plain_words(note, own) for note in explanation.ecg.notes),
            annotations=plain_annotations(explanation.ecg.annotations),
        ),
    )


def plain_notes(recording: Recording) -> tuple[str, ...]:
    """What the reader says of a recording, without any text that came from the file.

    Parameters
    ----------
    recording : Recording

    Returns
    -------
    tuple of str
        The notes, after a line for each statement of the file on leads (unit, filters).
    """
    own = _words_of([recording.record_id, *recording.source_names, *recording.lead_names])
    leads: dict[str, list[str]] = {}
    for lead, stated in zip(recording.lead_names, recording.stated, strict=False):
        if stated:
            leads.setdefault(plain_words(f"{lead}: {stated}", own).split(": ", 1)[-1], []).append(
                plain_words(lead, own)
            )
    lines = [f"{', '.join(names)}: {stated}" for stated, names in leads.items()]
    return (*lines, *(plain_words(note, own) for note in recording.notes))


def plain_annotations(annotations: Annotations) -> Annotations:
    """What a file says of beats, rhythm and findings, without anything that could name a person.

    Parameters
    ----------
    annotations : Annotations

    Returns
    -------
    Annotations
        Beats and measurements as they are. A statement or rhythm stays whole where every word of
        it is one of the language of ECGs; of any other statement its findings stay in our words,
        unless it doubts them. Texts at moments are left out.
    """
    lines = [line for text in annotations.statements for line in _plain_statement(text)]
    return replace(
        annotations,
        rhythms=tuple(s for s in annotations.rhythms if s.name in RHYTHMS or _is_plain(s.name)),
        texts=(),
        statements=tuple(dict.fromkeys(lines)),
        sources=(),
    )


def _is_plain(text: str) -> bool:
    return all(
        token.lower() in _ecg_words() or _kept(token, (), is_rate=False) != HIDDEN
        for token in _TOKEN.findall(_DATE.sub(HIDDEN, text))
    ) and HIDDEN not in _DATE.sub(HIDDEN, text)


def _plain_statement(text: str) -> list[str]:
    if _is_plain(text):
        return [text]
    if _DOUBT & {token.lower() for token in _TOKEN.findall(text)}:
        return []
    stated = read_report(text)
    no = (f"no {_phrase(name)}" for name in stated.denied)
    return [*(_phrase(name) for name in stated.present), *no]


def _phrase(finding: str) -> str:
    return WORDING[finding].machine if finding in WORDING else finding.replace("_", " ")


@cache
def _ecg_words() -> frozenset[str]:
    """The words of all phrases for findings, and of how carts speak of them."""
    phrases = [phrase for wording in WORDING.values() for phrase in wording.free]
    words = {token.lower() for phrase in phrases for token in _TOKEN.findall(phrase)}
    return frozenset(words | set(_CART.split()) | _DOUBT)


_DOUBTS = """
borderline cannot consider could excluded may might out possible possibly probable probably
questionable rule suggest suggestive suggests suspect uncertain
"""
_DOUBT = frozenset(_DOUBTS.split())
_CART = """
acute all and anterior atrial block by changes complexes conduction criteria current degree
demand due early ekg electronic fascicular first fusion high incomplete interval lower marked
mild minimal moderate new nonspecific normal occasional old or otherwise pacemaker paced pacing
pattern prolonged rapid rate recent response rhythm second severe short slow supraventricular
third type undetermined undetermined unusual variant ventricular voltage with without
"""


def _words_of(names: Sequence[str]) -> set[str]:
    """Names and their parts that are no leads, nor so short or common that they say nothing."""
    # Every file names its channels after leads; these must stay readable.
    leads = {lead.lower() for lead in (*LEADS, *FRANK_LEADS)}
    parts = {part.lower() for name in names for part in re.split(r"[\W_]+", name)}
    # Two letters are in every sentence, and name nobody.
    return {part for part in parts if len(part) > 2 and part not in leads | _COMMON}


_COMMON = frozenset({"ecg", "lead", "leads", "record", "recording", "channel", "signal"})
