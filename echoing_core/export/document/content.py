"""What a document says: its sections in reading order, from plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from echoing_core.errors import ConfigError
from echoing_core.export.annotations import annotation_lines
from echoing_core.export.document.charts import answers_drawing, overview_drawing
from echoing_core.export.document.ecg_paper import LAYOUTS, Layout, ecg_paper_drawing
from echoing_core.export.document.elements import (
    Block,
    Facts,
    Heading,
    NewPage,
    Picture,
    Table,
    Text,
)
from echoing_core.export.document.front import front_blocks
from echoing_core.export.document.rhythm import rhythm_blocks
from echoing_core.export.track import Explanation
from echoing_core.export.wording import (
    ANSWER_HEADER,
    CALIBRATION_NOTE,
    answer_line,
    measured_words,
    novelty_words,
    percentile_words,
    remark_words,
    span_words,
)
from echoing_core.figures import clock
from echoing_core.measure import Measurement
from echoing_core.records import Answer, Hit
from echoing_core.rhythm import Rhythm
from echoing_core.uncertainty.reasons import WindowReasons
from echoing_core.uncertainty.reference import Reference
from echoing_core.version import DISCLAIMER

# Bounds of what a person reads on paper; exports of tables have no such bounds.
_MAX_SHEETS, _MAX_ANSWERS, _MAX_HITS = 8, 60, 50
_LETTERS = "ABCDEFGH"


@dataclass(frozen=True, eq=False)
class WindowSheet:
    """One window on ECG paper, and why the model is as sure of it as it is.

    Attributes
    ----------
    index : int
        Row of the track.
    reasons : WindowReasons
    """

    index: int
    reasons: WindowReasons


@dataclass(frozen=True)
class AnswerSection:
    """Questions that were answered.

    Attributes
    ----------
    about : str
        What was asked: ``"the window 00:10 to 00:20"``, ``"the whole recording, fused"``.
    answers : tuple of Answer
    notes : tuple of str
        What has to be known to read the answers; `CALIBRATION_NOTE` is always there.
    """

    about: str
    answers: tuple[Answer, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SearchSection:
    """A search and its hits.

    Attributes
    ----------
    query : str
        From what to what, in words.
    hits : tuple of Hit
    collection : str
        Which collection was searched.
    notes : tuple of str
        How words were read, and that nothing is close.
    by_fit : bool
        Hits stand in the order in which they fit findings, which no distance tells.
    """

    query: str
    hits: tuple[Hit, ...]
    collection: str = ""
    notes: tuple[str, ...] = ()
    by_fit: bool = False


@dataclass(frozen=True, eq=False)
class Document:
    """Everything that a document holds, in plain values and without anything of a person.

    Attributes
    ----------
    explanation : Explanation
        As `deidentified` gives it.
    reference : Reference
        Of the model.
    file_format : str
    sheets : tuple of WindowSheet
        At most eight.
    layout : {"12x1", "3x4"}
    answers : tuple of AnswerSection
    searches : tuple of SearchSection
    real_texts : bool
        Whether the reports of real people among the hits are printed too.
    made_on : str
        The date of making, ``"2026-11-21"``.
    provenance : mapping
        Versions, settings and the like, in the order in which to show them.
    learnt_from : str
        What to know of the model's training wherever its answers stand; empty if nothing.
    measured : tuple of Measurement
        What was measured in the first sheet's window, of the heart as a whole.
    measured_in : str
        Of what that was measured, where it is not that window.
    rhythm : Rhythm or None
        Of a recording of a minute and more.
    """

    explanation: Explanation
    reference: Reference
    sheets: tuple[WindowSheet, ...]
    made_on: str
    provenance: Mapping[str, str]
    file_format: str = ""
    layout: Layout = "12x1"
    answers: tuple[AnswerSection, ...] = ()
    searches: tuple[SearchSection, ...] = ()
    real_texts: bool = False
    learnt_from: str = ""
    measured: tuple[Measurement, ...] = ()
    measured_in: str = ""
    rhythm: Rhythm | None = None

    def __post_init__(self) -> None:
        # The layout comes from a session file or a link, too, so it may be any text.
        if self.layout not in LAYOUTS:
            raise ConfigError(f"There is no layout {self.layout!r}. Choose 12x1 or 3x4.")
        if len(self.sheets) > _MAX_SHEETS:
            raise ConfigError(
                f"A report holds up to {_MAX_SHEETS} windows, and {len(self.sheets)} were chosen. "
                "Choose fewer."
            )

    @property
    def title(self) -> str:
        """What stands first, and in the foot of every sheet."""
        return f"ECG report: {self.explanation.recording_id}"

    @property
    def stamp(self) -> str:
        """What stands on every page."""
        marks = ["Simulated recording."] if self.explanation.ecg.simulated else []
        return " ".join([DISCLAIMER, *marks])

    def blocks(self) -> list[Block]:
        """The document in reading order.

        Returns
        -------
        list of Block
            What both the HTML and the sheets are set from.
        """
        return [
            Heading(self.title, 1),
            Text(self.stamp, "caution"),
            *self._front(),
            *self._measured(),
            *self._recording(),
            *self._overview(),
            *(() if self.rhythm is None else rhythm_blocks(self.rhythm)),
            *self._windows(),
            *self._answers(),
            *self._hits(),
            *self._origin(),
        ]

    def _on_front(self) -> WindowSheet | None:
        """The first window that holds anything: it stands on the first page."""
        valid = self.explanation.track.valid_fraction
        return next((s for s in self.sheets if valid[s.index].max() > 0), None)

    def _front(self) -> list[Block]:
        sheet = self._on_front()
        if sheet is None:
            return []
        answers = [answer for section in self.answers for answer in section.answers]
        page = front_blocks(
            self.explanation,
            sheet.index,
            sheet.reasons,
            self.measured,
            answers,
            self.file_format,
            _LETTERS[self.sheets.index(sheet)],
        )
        return [*page, NewPage(), Heading("Appendix", 1)]

    def _measured(self) -> list[Block]:
        if not self.measured:
            return []
        rows = tuple((m.words, measured_words(m), remark_words(m)) for m in self.measured)
        return [
            Heading(f"Measured in {self.measured_in or 'the window of the first page'}"),
            Table(("", "Median beat, ± SD over beats", ""), rows, (4, 3, 6)),
        ]

    def _recording(self) -> list[Block]:
        ecg, settings = self.explanation.ecg, self.explanation.settings
        rows = [
            ("Recording", self.explanation.recording_id),
            # Tenths matter of ten seconds, not of a day.
            ("Length", clock(ecg.recorded_s, tenths=ecg.recorded_s < 60)),
            ("Sampling rate", f"{settings['source_fs_hz']:g} Hz, seen by the model at 100 Hz"),
        ]
        if self.file_format:
            # Of a recording that was simulated in memory there is no format.
            rows.insert(1, ("Read from", self.file_format))
        for origin, words in (
            ("measured", "Leads measured"),
            ("derived", "Leads derived"),
            ("missing", "Leads not recorded"),
        ):
            leads = ecg.leads_with(origin)
            if leads:
                how = f" ({ecg.derivation})" if origin == "derived" and ecg.derivation else ""
                rows.append((words, ", ".join(leads) + how))
        if ecg.simulated:
            rows.append(("Simulated", "yes: no person was measured"))
        recorded = np.array([o != "missing" for o in ecg.lead_origin])
        if recorded.any():
            # Of leads that exist: a missing lead is listed by name and is no gap.
            lost = 100 * (1 - float(ecg.valid[recorded].mean()))
            # A gap of a few samples must not be rounded to none.
            words = "none" if lost == 0 else f"{max(lost, 0.1):.1f} % of the recorded leads"
            rows.append(("Gaps", words))
        blocks: list[Block] = [Heading("The recording"), Facts(tuple(rows))]
        blocks += [Text(c, "caution") for c in self.explanation.cautions]
        # Once each: readers note the same thing for every segment.
        blocks += [Text(n, "note") for n in dict.fromkeys(ecg.notes)]
        device = annotation_lines(ecg)
        if device:
            blocks.append(Text("The device's own, read from the file and not seen by the model:"))
            blocks += [Text(line, "note") for line in device]
        return blocks

    def _overview(self) -> list[Block]:
        track = self.explanation.track
        # Letters join the frames in the overview to the sheets that follow.
        marks = [(letter, s.index) for letter, s in zip(_LETTERS, self.sheets, strict=False)]
        words = (
            "Each 10-second window is compared with reference ECGs of this model: percentile 96 "
            f"means less sure than on 96 of 100 of them. {self.explanation.measured} "
            f"{self.explanation.sigma2_means}"
        )
        if track.by_lead is not None:
            words += (
                " The rows under it tell the leads apart: a row is as bright as the strip would be "
                "if all leads there are were like it."
            )
        if marks:
            words += " Framed: the windows that follow."
        drawing = overview_drawing(self.explanation.ecg, track, self.reference, marks)
        return [Heading("Uncertainty along the recording"), Picture(drawing, words)]

    def _windows(self) -> list[Block]:
        ecg, track = self.explanation.ecg, self.explanation.track
        blocks: list[Block] = []
        for letter, sheet in zip(_LETTERS, self.sheets, strict=False):
            percentile = float(track.percentile[sheet.index])
            # Without signal there is no uncertainty, and no paper worth a sheet.
            recorded = bool(track.valid_fraction[sheet.index].max() > 0)
            if self.layout == "3x4" and sheet is self._on_front():
                # It would be the same sheet once more.
                continue
            blocks += [NewPage(), Heading(f"Window {letter}: {span_words(track, sheet.index)}")]
            if not recorded:
                blocks.append(Text("Nothing was recorded in this window."))
                continue
            blocks.append(
                Text(
                    f"Uncertainty percentile {percentile:.0f}: {percentile_words(percentile)}. "
                    f"Sum of sigma² {track.uncertainty[sheet.index]:.4g}. {sheet.reasons.sentence}"
                )
            )
            novelty = 0.0 if track.novelty is None else float(track.novelty[sheet.index])
            if unlike := novelty_words(novelty):
                blocks.append(Text(unlike, "caution"))
            # Shading says which lead; a model that does not tell leads apart has none.
            cells = sheet.reasons.cell_percentile if sheet.reasons.leads else None
            start_s = float(track.start_s[sheet.index])
            caption = "25 mm/s, 10 mm/mV at full size; small box 0.04 s and 0.1 mV; 0.5 to 40 Hz."
            if cells is not None:
                caption += " Orange: there the model is unsure of that lead."
            if ecg.leads_with("derived"):
                caption += " Blue: derived, not measured."
            if ecg.leads_with("missing"):
                caption += f" Not recorded: {', '.join(ecg.leads_with('missing'))}."
            if ecg.simulated:
                caption += " Simulated."
            blocks.append(Picture(ecg_paper_drawing(ecg, start_s, self.layout, cells), caption))
        return blocks

    def _answers(self) -> list[Block]:
        blocks: list[Block] = []
        for section in self.answers:
            answers = section.answers[:_MAX_ANSWERS]
            blocks += [NewPage(), Heading(f"Questions about {section.about}")]
            # Beside every answer, since a page may be read by itself.
            if self.learnt_from:
                blocks.append(Text(self.learnt_from, "caution"))
            lines = [answer_line(a) for a in answers]
            # One place was asked: its uncertainty is that of every answer.
            if lines and lines[0].uncertainty:
                blocks.append(Text(f"Uncertainty of what was asked: {lines[0].uncertainty}."))
            blocks.append(Picture(answers_drawing(answers)))
            blocks.append(
                Table(
                    ANSWER_HEADER[:-1],
                    tuple(line.cells[:-1] for line in lines),
                    (3, 4, 2.4, 1.3, 6),
                )
            )
            blocks += [Text(n, "note") for n in dict.fromkeys([CALIBRATION_NOTE, *section.notes])]
            # A word that the text encoder never met makes an answer look surer than it is.
            unknown = [
                f"{a.question}: the model does not know these words: {', '.join(a.unknown_words)}."
                for a in answers
                if a.unknown_words
            ]
            blocks += [Text(words, "note") for words in unknown]
            blocks += [
                Heading("Wording of the questions"),
                Table(
                    ("Question", "Says yes, the first of its texts", "Says no"),
                    tuple(
                        (a.question, _first_of(a.positive_prompts), _first_of(a.negative_prompts))
                        for a in answers
                        # A trained head reads no texts.
                        if a.positive_prompts
                    ),
                    (3, 4, 4),
                ),
            ]
        return blocks

    def _hits(self) -> list[Block]:
        blocks: list[Block] = []
        for search in self.searches:
            hits = search.hits[:_MAX_HITS]
            first = "Best matches" if search.by_fit else "Nearest"
            blocks += [NewPage(), Heading(f"{first} in the collection: {search.query}")]
            if search.collection:
                blocks.append(Text(search.collection))
            blocks += [Text(note) for note in search.notes]
            if not hits:
                blocks.append(Text("No item passed the filters."))
                continue
            table = [
                ("Rank", 1.1, [str(h.rank) for h in hits]),
                ("Its percentile", 1.8, [f"{h.percentile:.0f}" for h in hits]),
                ("Report", 6, [self._hit_text(h) for h in hits]),
            ]
            if not search.by_fit:
                # Both orders give distances, of different scales.
                kind = "CSD" if hits[0].order == "csd" else "1 − cosine"
                apart = [f"{h.distance:.3f}" for h in hits]
                table.insert(1, (f"Distance ({kind})", 1.9, apart))
            heads, widths, columns = zip(*table, strict=True)
            blocks.append(Table(heads, tuple(zip(*columns, strict=True)), widths))
            # Said, so that nobody takes a missing text for an empty report.
            if not self.real_texts and not all(h.simulated for h in hits):
                blocks.append(
                    Text(
                        "The reports of real people are left out, since such texts may hold names "
                        "and dates.",
                        "note",
                    )
                )
        return blocks

    def _hit_text(self, hit: Hit) -> str:
        # Simulated reports name nobody, so they are printed whatever was chosen.
        if hit.simulated:
            return f"{hit.report} (simulated)"
        return hit.report if self.real_texts else "left out"

    def _origin(self) -> list[Block]:
        rows = [
            ("Made on", self.made_on),
            ("Model", self.explanation.model_name),
            ("Model hash (sha256)", self.explanation.model_hash),
            *self.provenance.items(),
        ]
        return [Heading("How this was made"), Facts(tuple(rows)), Text(DISCLAIMER)]


def _first_of(texts: tuple[str, ...]) -> str:
    """The first wording and how many more: all of them would be pages that nobody reads."""
    more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
    return (texts[0] + more) if texts else ""
