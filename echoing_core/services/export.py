"""What a person takes away: the track as JSON, and a document that says where it comes from."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from echoing_core.errors import EchoingError
from echoing_core.export.document import (
    AnswerSection,
    Document,
    SearchSection,
    WindowSheet,
    clean_name,
    deidentified,
)
from echoing_core.export.document.rhythm import RHYTHM_FROM_S
from echoing_core.export.track import Explanation
from echoing_core.measure import Measurement
from echoing_core.services.measuring import MEASURED_WHOLE_S, measurements
from echoing_core.services.models import Model
from echoing_core.services.rhythm import rhythm_over_time
from echoing_core.services.windows import extreme_windows, window_reasons
from echoing_core.signals.lead_sets import ALL_KEY
from echoing_core.uncertainty.reasons import WindowReasons

if TYPE_CHECKING:
    from echoing_core.export.by_hand import WaveMarks
    from echoing_core.export.document.ecg_paper import Layout
    from echoing_core.records import Recording, StandardEcg
    from echoing_core.rhythm import Rhythm

# Reasons take a pass through the model each; a table of a day needs those at its ends.
_N_LISTED = 4
_PACKAGES = ("echoing-core", "torch", "numpy", "scipy", "faiss-cpu")


def versions() -> dict[str, str]:
    """Versions of this program and of what it computes with.

    Returns
    -------
    dict of str to str
        By the names that PyPI has; what is not installed is left out.
    """
    numbers = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            numbers[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # Another build of the same library under another name.
            continue
    return numbers


def make_document(
    model: Model,
    explanation: Explanation,
    windows: Sequence[int],
    *,
    name: str = "recording",
    recording: Recording | None = None,
    layout: Layout = "12x1",
    answers: Sequence[AnswerSection] = (),
    searches: Sequence[SearchSection] = (),
    real_texts: bool = False,
    settings: Mapping[str, str] | None = None,
    by_hand: Sequence[WaveMarks] = (),
    with_rhythm: bool = True,
    made_on: str | None = None,
) -> Document:
    """Make a document about one recording, without the name or any other text of its file.

    Parameters
    ----------
    model : Model
    explanation : Explanation
        By this model.
    windows : sequence of int
        Those that get a sheet of ECG paper, in this order.
    name : str
        What to call the recording; the file's own name is never used.
    recording : Recording, optional
        As it was read: gives the file format, and the channel names that notes may quote.
    layout : {"12x1", "3x4"}
        Of the ECG paper.
    answers : sequence of AnswerSection
    searches : sequence of SearchSection
    real_texts : bool
        Print the report texts of real people among the hits, which may hold names.
    settings : mapping, optional
        Further settings to list, in words.
    by_hand : sequence of WaveMarks
        Onsets and ends of waves that a person set in stretches of the recording.
    with_rhythm : bool
        Whether beats are found and told over time, where the recording lasts a minute or more; of a
        day that takes half a minute.
    made_on : str, optional
        Date of making; today's, UTC, by default.

    Returns
    -------
    Document
        To be written by `document_html`, `document_pdf` or `document_png`.

    Raises
    ------
    ConfigError
        The name is too long, or too many windows were chosen.
    """
    # First of all: a name that is too long must not cost a pass through the model.
    called = clean_name(name)
    names = (*recording.source_names, *recording.lead_names) if recording is not None else ()
    plain = deidentified(explanation, called, names)
    # The surest window may be the chosen one, too.
    numbers = list(dict.fromkeys(windows))
    reasons = window_reasons(model, plain, numbers)
    return Document(
        explanation=plain,
        reference=explanation.reference,
        sheets=tuple(WindowSheet(i, reasons[i]) for i in numbers),
        made_on=made_on or _today(),
        provenance=_provenance(model, plain, settings or {}),
        file_format=recording.file_format if recording is not None else "",
        layout=layout,
        answers=tuple(answers),
        searches=tuple(searches),
        real_texts=real_texts,
        learnt_from=_learnt_from(model),
        measured=_measured(explanation, recording, numbers, by_hand),
        measured_in=_measured_in(explanation, recording),
        rhythm=_rhythm(explanation, recording, called) if with_rhythm else None,
    )


def ecg_paper_svg(ecg: StandardEcg, start_s: float = 0.0) -> str:
    """Ten seconds on ECG paper as one ``<svg>`` element, as a report prints them.

    Parameters
    ----------
    ecg : StandardEcg
    start_s : float
        Of the ten seconds, from the start of the recording.

    Returns
    -------
    str
        25 mm to the second and 10 mm to the millivolt; all text is escaped.
    """
    from echoing_core.export.document.ecg_paper import ecg_paper_drawing
    from echoing_core.export.document.elements import svg_text

    return svg_text(ecg_paper_drawing(ecg, start_s, "3x4"))


def _measured(
    explanation: Explanation,
    recording: Recording | None,
    numbers: Sequence[int],
    by_hand: Sequence[WaveMarks],
) -> tuple[Measurement, ...]:
    """What is measured of a short recording, or in the first window that holds anything."""
    track = explanation.track
    there = [i for i in numbers if track.valid_fraction[i].max() > 0]
    if recording is None or not there:
        return ()
    start_s = None
    if recording.duration_s > MEASURED_WHOLE_S:
        start_s = float(track.start_s[there[0]])
    marks = {round(one.start_s, 3): one.marks_ms for one in by_hand}
    moved = marks.get(round(start_s or 0.0, 3))
    try:
        return measurements(recording, start_s, track.window_s, by_hand=moved).values
    except EchoingError:
        # Of leads or a rate that the model reads and measuring does not.
        return ()


def _measured_in(explanation: Explanation, recording: Recording | None) -> str:
    if recording is None or recording.duration_s > MEASURED_WHOLE_S:
        return ""
    return "" if len(explanation.track) < 2 else "the whole recording"


def _rhythm(explanation: Explanation, recording: Recording | None, name: str) -> Rhythm | None:
    if recording is None or recording.duration_s < RHYTHM_FROM_S:
        return None
    try:
        # Rejected by ECGs with the same leads, in either reading: else missing leads would reject
        # all.
        found = rhythm_over_time(recording, explanation.read_among(all_leads=False))
    except EchoingError:
        # Of leads or a rate that the model reads and beats are not found in.
        return None
    return replace(found, record_id=name)


def track_json(
    model: Model, explanation: Explanation, windows: Sequence[int] = (), made_on: str | None = None
) -> str:
    """The track as JSON, with the reasons of some windows.

    Parameters
    ----------
    model : Model
    explanation : Explanation
        By this model.
    windows : sequence of int
        Those that have their reasons, beside the surest and the least sure ones.
    made_on : str, optional
        Date of making; today's, UTC, by default.

    Returns
    -------
    str
    """
    listed = set(windows)
    for surest in (True, False):
        listed.update(extreme_windows(explanation.track, _N_LISTED, surest=surest))
    reasons: Mapping[int, WindowReasons] = window_reasons(model, explanation, sorted(listed))
    values = explanation.to_dict(reasons) | {"made_on": made_on or _today(), "versions": versions()}
    return json.dumps(values, indent=1) + "\n"


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _learnt_from(model: Model) -> str:
    # Of imported weights only their own card can say what they learnt from.
    if model.imported:
        return ""
    if model.simulated_training:
        return "The model was trained on simulated ECGs only."
    return "The model learnt findings of the echocardiogram from simulation."


def _provenance(
    model: Model, explanation: Explanation, settings: Mapping[str, str]
) -> dict[str, str]:
    used = explanation.settings
    low, high = used["band_hz"]
    values = {
        "Model trained on": "simulated ECGs only"
        if model.simulated_training
        else "imported weights, see its card"
        if model.imported
        else f"{model.trained_on.get('real_ecgs', 0):,} real and "
        f"{model.trained_on.get('simulated_ecgs', 0):,} simulated ECGs",
        "Uncertainty compared with": f"{explanation.reference.n:,} windows: "
        f"{explanation.reference.name}"
        + (" (simulated)" if explanation.reference.simulated else "")
        + (
            ""
            if explanation.reference.leads_key == ALL_KEY
            else f", reduced to {explanation.lead_set.words}"
        ),
        "Windows": f"{used['window_s']:g} s, a new one every {used['stride_s']:g} s",
        "Filter": f"{low:g} to {high:g} Hz, then {used['fs_hz']:g} Hz",
    }
    if explanation.ecg.leads_with("derived"):
        values["Derived leads"] = explanation.ecg.derivation or "from the measured leads"
    values.update(settings)
    values["Versions"] = ", ".join(f"{name} {number}" for name, number in versions().items())
    return values
