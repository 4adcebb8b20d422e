"""The report as HTML, PDF and PNG: true proportions, nothing from elsewhere, nobody's name."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from echoing_core import services
from echoing_core.errors import ConfigError
from echoing_core.export.document import AnswerSection, Document, SearchSection, sheets
from echoing_core.export.document.deidentify import plain_words
from echoing_core.measure import Measurement
from echoing_core.records import LEADS, Answer, Hit, Recording
from echoing_core.services import Explanation, Model

HOSTILE = '<script>alert(1)</script><img src=http://evil.example/x> $x^2$ {"a"} \x07 心'
NAME = "MUELLER_ANNA_19570304"


@pytest.fixture(scope="module")
def model() -> Model:
    return services.load_model()


def recording(**changes: object) -> Recording:
    rng = np.random.default_rng(3)
    time_s = np.arange(30 * 250) / 250
    beats = np.exp(-(((time_s % 0.8) - 0.3) ** 2) / 0.0005)
    signal = np.stack([(0.4 + 0.1 * i) * beats for i in range(12)])
    signal += 0.02 * rng.standard_normal(signal.shape)
    values: dict[str, object] = {
        "signal_mv": signal.astype(np.float32),
        "fs_hz": 250.0,
        "lead_names": LEADS,
        "record_id": NAME,
        "source_names": (*LEADS[:11], "V6 Anna Mueller"),
        "notes": (
            f"{NAME}.dat holds 5 bytes more than the header declares.",
            "Channel 'Anna M.' is left out, recorded on 04.03.2026 by mueller.",
            "The header gives no gain for II; 200 units per mV is assumed.",
        ),
    }
    return Recording(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def explanation(model: Model) -> Explanation:
    return services.explain(model, recording())


def an_answer(question: str = "LVEF < 40 %") -> Answer:
    return Answer(question, 0.7, (0.4, 0.9), 0.1, 0.1, 0.8, "not sure enough", ("a",), ("b",))


def a_hit(report: str, simulated: bool = True) -> Hit:
    return Hit(1, NAME, NAME, NAME, 0.5, "csd", report, 0.1, 20.0, simulated)


def document_of(model: Model, explanation: Explanation, **changes: object) -> Document:
    values: dict[str, object] = {
        "recording": recording(),
        "answers": [AnswerSection("the surest window", (an_answer(),))],
        "searches": [SearchSection("words", (a_hit("sinus rhythm"),), "demo")],
    }
    return services.make_document(model, explanation, [0, 5], **(values | changes))  # type: ignore[arg-type]


class Page(HTMLParser):
    """Elements, their attributes and the text of a page; fails where tags do not match."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def svg_paths(page: str) -> Iterator[tuple[str, np.ndarray]]:
    """Class and points of every path on ECG paper."""
    for match in re.finditer(r"<svg .*?</svg>", page, re.S):
        for path in ElementTree.fromstring(match[0]).iter("{http://www.w3.org/2000/svg}path"):
            points = re.findall(r"[ML](-?[\d.e-]+) (-?[\d.e-]+)", path.get("d", ""))
            yield path.get("class", ""), np.array(points, dtype=float)


def pdf_text(pdf: bytes) -> str:
    """Words of all pages, on one line."""
    pages = PdfReader(io.BytesIO(pdf), strict=True).pages
    return " ".join(" ".join(page.extract_text().split()) for page in pages)


def test_the_page_says_what_it_must(model: Model, explanation: Explanation) -> None:
    page = Page(services.document_html(document_of(model, explanation, made_on="2026-11-21")))
    words = page.text()
    for needed in (
        "Research use only, not a medical device, not for diagnosis",
        model.hash,
        "2026-11-21",
        "torch 2.",
        "numpy 2.",
        "echoing-core",
        "LVEF < 40 %",
        "score 70 of 100, no probability",
        "not calibrated: a score, not a probability",
        "A score is no probability, and nothing here is a diagnosis",
        "sinus rhythm (simulated)",
        "Uncertainty along the recording",
        "Window A: 00:00 to 00:10",
        "Window B: 00:05 to 00:15",
        "I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6",
        "200 units per mV is assumed",
    ):
        assert needed in words, needed
    assert "Simulated recording" not in words


def test_the_page_asks_nothing_of_anybody(model: Model, explanation: Explanation) -> None:
    page = services.document_html(document_of(model, explanation, name=HOSTILE[:50]))
    parsed = Page(page)
    assert {tag for tag, _ in parsed.elements}.isdisjoint(
        {"script", "link", "img", "iframe", "image", "use", "a", "object", "form", "base"}
    )
    for _, attributes in parsed.elements:
        assert not {"src", "href", "xlink:href", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|@font-face", page)
    outside = [a for a in re.findall(r"https?://[^\"'\s<]+", page) if "evil" not in a]
    assert set(outside) == {"http://www.w3.org/2000/svg"}
    policy = next(a["content"] for t, a in parsed.elements if a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


@pytest.mark.parametrize("layout", ["12x1", "3x4"])
def test_the_paper_has_its_true_proportions(
    model: Model, explanation: Explanation, layout: str
) -> None:
    page = services.document_html(document_of(model, explanation, layout=layout))
    paths = list(svg_paths(page))
    # A path unit is a millimetre: the size in mm is that of the box that is shown.
    for width, height, box in re.findall(
        r'<svg [^>]*width="([\d.]+)mm" height="([\d.]+)mm" viewBox="0 0 ([\d. ]+)"', page
    ):
        assert box == f"{width} {height}"
    pulses = [p for kind, p in paths if kind == "calibration"]
    assert pulses
    for pulse in pulses:
        assert np.ptp(pulse[:, 1]) == pytest.approx(10.0, abs=0.02)
        assert pulse[3, 0] - pulse[2, 0] == pytest.approx(5.0, abs=0.02)
    per_mv = np.ptp(pulses[0][:, 1])
    ecg = explanation.ecg
    for lead in LEADS:
        shown = [p for kind, p in paths if kind == f"lead-{lead}"]
        # The first page is the first window in 3x4; its sheet of twelve rows is in the appendix.
        # Lead II is a rhythm strip, too, on each page of 3x4.
        n_3x4, n_12x1 = (2, 0) if layout == "3x4" else (1, 2)
        assert len(shown) == n_3x4 * (2 if lead == "II" else 1) + n_12x1
        points = shown[0]
        per_s = (points[-1, 0] - points[0, 0]) / ((len(points) - 1) / ecg.fs_hz)
        assert per_s / per_mv == pytest.approx(2.5, rel=0.01)
        first = round((points[0, 0] - 16.0) / 25.0 * ecg.fs_hz)
        drawn_mv = -(points[:, 1] - points[0, 1]) / per_mv
        signal = ecg.signal_mv[LEADS.index(lead), first : first + len(points)]
        np.testing.assert_allclose(drawn_mv, signal - signal[0], atol=0.003)
    fine = next(p for kind, p in paths if kind == "grid-1mm")
    assert np.unique(np.round(np.diff(np.unique(fine[:, 0])), 2)).tolist()[0] == 1.0


def test_a_missing_lead_is_named_and_not_drawn(model: Model) -> None:
    source = recording(signal_mv=recording().signal_mv[6:], lead_names=LEADS[6:], source_names=())
    made = services.make_document(model, services.explain(model, source), [0], recording=source)
    page = services.document_html(made)
    drawn = {kind for kind, _ in svg_paths(page) if kind.startswith("lead-")}
    assert drawn == {f"lead-{lead}" for lead in LEADS[6:]}
    # Half of twelve leads stand under each other, without empty columns.
    assert ">not recorded<" not in page
    assert page.count("ot recorded: I, II, III, aVR, aVL, aVF") >= 2


def test_a_criterion_says_whether_it_is_met(model: Model, explanation: Explanation) -> None:
    told = (
        Measurement("cornell_mv", "Cornell", 2.84, "mV", met=True),
        Measurement("sokolow_lyon_mv", "Sokolow-Lyon", 1.2, "mV", why="by hand", met=False),
    )
    made = replace(document_of(model, explanation), measured=told)
    page = services.document_html(made)
    assert "not met, by hand" in page
    assert ">met<" in page


def test_the_first_page_is_all_there_is_to_sign(model: Model, explanation: Explanation) -> None:
    answers = [AnswerSection("the surest window", tuple(an_answer(f"Q{i}") for i in range(14)))]
    made = document_of(model, explanation, answers=answers)
    front, appendix = services.document_html(made).split('</section>\n<section class="sheet">', 1)
    words = " ".join(re.sub(r"<[^>]+>", " ", front).split())
    assert "Appendix" not in words and "Appendix" in appendix
    # A beat every 0.8 s; of a spike without P and T there is no PR and no QT.
    assert re.search(r"Heart rate 75 (± 0 )?bpm", words) and "PR not measurable" in words
    for needed in (
        "Research use only",
        "measured: all 12 leads",
        "Uncertainty percentile",
        "Q0: not sure enough, score 70 of 100, not calibrated",
        "Q11: not sure enough",
        "(2 more in the appendix)",
        "Read by",
    ):
        assert needed in words, needed
    assert "Q12" not in words and "Q13" in appendix
    # A box before each of twelve, and the ECG once.
    assert front.count('fill="none" stroke="#1b2430" stroke-width="0.25"') == 12
    assert [kind for kind, _ in svg_paths(front)].count("lead-V3") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("sheet", "size_mm"), [("A4", (297.0, 210.0)), ("Letter", (279.4, 215.9))])
def test_the_fullest_first_page_fits_one_sheet(
    model: Model, explanation: Explanation, sheet: sheets.Sheet, size_mm: tuple[float, float]
) -> None:
    answers = [AnswerSection("a window", tuple(an_answer(f"Question {i}") for i in range(12)))]
    pdf = services.document_pdf(document_of(model, explanation, answers=answers), sheet)
    pages = PdfReader(io.BytesIO(pdf), strict=True).pages
    first, second = pages[0].extract_text(), pages[1].extract_text()
    assert "Read by" in first and "Question 11" in first and second.startswith("Appendix")
    width, height = (float(v) / 72 * 25.4 for v in pages[0].mediabox[2:])
    assert (width, height) == pytest.approx(size_mm, abs=0.1)
    assert all(len(page.extract_text().split("\n")) > 4 for page in pages)


@pytest.mark.slow
def test_no_name_of_a_file_gets_out(model: Model, explanation: Explanation) -> None:
    made = document_of(model, explanation)
    plain = services.deidentified(explanation, "recording", recording().source_names)
    pdf = services.document_pdf(made)
    texts = {
        "html": services.document_html(made),
        "pdf": pdf_text(pdf) + pdf.decode("latin-1"),
        "json": services.track_json(model, plain),
        "csv": plain.csv_text(),
        "parquet": plain.parquet_bytes().decode("latin-1"),
    }
    assert "bytes more than the header declares" in texts["pdf"]
    for kind, text in texts.items():
        for word in (NAME, "mueller", "anna", "19570304", "04.03.2026"):
            assert word not in text.lower() and word.upper() not in text.upper(), (kind, word)
    assert "bytes more than the header declares" in texts["html"]


def test_reports_of_real_people_are_left_out_unless_asked_for(
    model: Model, explanation: Explanation
) -> None:
    searches = [SearchSection("words", (a_hit("seen by Dr Smith", simulated=False),))]
    page = services.document_html(document_of(model, explanation, searches=searches))
    assert "Smith" not in page and "left out" in page
    document = document_of(model, explanation, searches=searches, real_texts=True)
    page = services.document_html(document)
    assert "Smith" in page


def test_hits_that_stand_by_fit_have_no_distance_beside_them(
    model: Model, explanation: Explanation
) -> None:
    hits = (a_hit("sinus rhythm"),)
    pages = [
        services.document_html(
            document_of(model, explanation, searches=[SearchSection("words", hits, by_fit=fit)])
        )
        for fit in (False, True)
    ]
    assert ["Distance (CSD)" in page for page in pages] == [True, False]
    assert ["Best matches in the collection" in page for page in pages] == [False, True]


@pytest.mark.slow
def test_hostile_texts_stay_texts(model: Model, explanation: Explanation) -> None:
    made = document_of(
        model,
        explanation,
        name=HOSTILE[:60],
        answers=[AnswerSection(HOSTILE, (an_answer(HOSTILE), an_answer("x" * 900)), (HOSTILE,))],
        searches=[SearchSection(HOSTILE, (a_hit(HOSTILE * 40),), HOSTILE)],
        settings={HOSTILE: HOSTILE},
    )
    page = Page(services.document_html(made))
    assert "script" not in {tag for tag, _ in page.elements}
    assert "<script>alert(1)</script>" in page.text()
    words = pdf_text(services.document_pdf(made))
    assert "<script>alert(1)</script>" in words and "$x^2$" in words


@pytest.mark.slow
def test_the_pdf_has_a_page_for_each_window_on_a4(model: Model, explanation: Explanation) -> None:
    pdf = services.document_pdf(document_of(model, explanation))
    reader = PdfReader(io.BytesIO(pdf), strict=True)
    assert 5 <= len(reader.pages) <= 7
    for page in reader.pages:
        width, height = (float(v) / 72 * 25.4 for v in page.mediabox[2:])
        assert (width, height) == pytest.approx((297.0, 210.0), abs=0.1)
        assert "not for diagnosis" in page.extract_text()
    words = pdf_text(pdf)
    for needed in (model.hash, "Window B: 00:05 to 00:15", "LVEF < 40 %", "sinus rhythm"):
        assert needed in words, needed
    # Fonts go along, or the text would look different elsewhere.
    assert b"/FontFile2" in pdf


@pytest.mark.slow
def test_the_png_is_all_sheets(model: Model, explanation: Explanation) -> None:
    from PIL import Image

    picture = Image.open(io.BytesIO(services.document_png(document_of(model, explanation))))
    assert picture.format == "PNG" and picture.width == pytest.approx(297 / 25.4 * 110, abs=1)
    assert picture.height / picture.width >= 4 * 210 / 297 - 0.01


def test_a_name_without_end_is_cut_where_it_is_drawn() -> None:
    font = sheets._font()
    assert font.shown("Pat ient\n7") == "Pat ient 7"
    assert font.shown("x" * 10**6) == "x" * 119 + "… …"
    many = font.shown("lead " * 10**5)
    assert len(many) < 6100 and many.endswith(" …")
    # Was 35 s for a channel that is called so.
    began = time.process_time()
    assert len(font.lines("ab " * 10**6, 3.3, 200.0)) < 100
    assert time.process_time() - began < 1.0


def test_a_simulated_recording_says_so_everywhere(model: Model) -> None:
    source = recording(simulated=True)
    made = services.make_document(model, services.explain(model, source), [0], recording=source)
    words = Page(services.document_html(made)).text()
    assert "Simulated recording." in words and "Simulated yes: no person was measured" in words
    assert "0.5 to 40 Hz. Simulated." in words


def test_the_table_is_the_same_in_every_format(model: Model, explanation: Explanation) -> None:
    by_csv = pd.read_csv(io.StringIO(explanation.csv_text()))
    by_parquet = pd.read_parquet(io.BytesIO(explanation.parquet_bytes()))
    assert list(by_csv.columns) == list(by_parquet.columns)
    # Percentiles have three digits after the point in CSV, however small they are.
    names = ["percentile", "percentile_12_leads"]
    percentiles = by_parquet[names]
    np.testing.assert_allclose(by_csv[names], percentiles, atol=5.1e-4)
    by_csv, by_parquet = by_csv.drop(columns=names), by_parquet.drop(columns=names)
    np.testing.assert_allclose(by_csv, by_parquet, rtol=1e-3, atol=1e-4)
    made = json.loads(services.track_json(model, explanation, [3], made_on="2026-11-21"))
    assert made["made_on"] == "2026-11-21" and made["versions"]["torch"]
    assert made["disclaimer"] and made["model_hash"] == model.hash
    assert "sentence" in made["windows"][3]
    for name in names:
        told = [window[name] for window in made["windows"]]
        np.testing.assert_allclose(told, percentiles[name], atol=1e-3)


def test_names_and_numbers_of_windows_have_limits(model: Model, explanation: Explanation) -> None:
    assert services.clean_name("  a\n b ") == "a b" and services.clean_name(" ") == "recording"
    with pytest.raises(ConfigError, match="61 characters"):
        services.clean_name("x" * 61)
    with pytest.raises(ConfigError, match="up to 8 windows"):
        services.make_document(model, explanation, range(9))


@pytest.mark.slow
def test_a_day_is_drawn_with_few_points(model: Model) -> None:
    long = recording(
        signal_mv=np.tile(recording().signal_mv[:, :2500], (1, 20)), source_names=(), notes=()
    )
    explanation = services.explain(model, long, 0.2)
    page = services.document_html(services.make_document(model, explanation, []))
    assert len(explanation.track) > 900 and len(page) < 600_000


def read(name: str, content: bytes, *more: tuple[str, bytes]) -> Recording:
    return services.read_recording([(name, content), *more])


def wfdb_with_a_name() -> Recording:
    samples = (1000 * recording().signal_mv[:2, :5000].T).astype("<i2")
    header = (
        "Doe_Jane 3 250 2500 10:11:12 04/03/2026\n"
        "Doe_Jane.dat 16 1000/mV 16 0 0 0 0 II\n"
        "Doe_Jane.dat 16 1000/mV 16 0 0 0 0 Doe, Jane *1957\n"
        "Doe_Jane.dat 16 1000/mmHg 16 0 0 0 0 Jane Doe\n"
        "# Name: Jane Doe\n# Date of birth: 1957-03-04\n"
    )
    data = np.column_stack([samples[:2500], samples[:2500, 0]]).astype("<i2").tobytes()
    return read("Doe_Jane.hea", header.encode(), ("Doe_Jane.dat", data + b"12345678"))


def edf_with_a_name() -> Recording:
    import datetime

    edfio = pytest.importorskip("edfio")
    signals = [
        edfio.EdfSignal(recording().signal_mv[i, :5000].astype(float), 250, label=label,
                        physical_dimension="mV")
        for i, label in enumerate(("ECG II", "ECG V1", "Jane Doe"))
    ]  # fmt: skip
    made = edfio.Edf(
        signals,
        patient=edfio.Patient(
            name="Doe_Jane", code="MRN1957", birthdate=datetime.date(1957, 3, 4), sex="F"
        ),
        recording=edfio.Recording(
            startdate=datetime.date(2026, 3, 4), hospital_administration_code="Doe"
        ),
    )
    out = io.BytesIO()
    made.write(out)
    return read("Doe_Jane_1957.edf", out.getvalue())


def dicom_with_a_name() -> Recording:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

    samples = (1000 * recording().signal_mv[:3, :5000].T).astype("<i2")
    channels = []
    for meaning in ("Lead II", "Lead V1", "Jane Doe"):
        source = Dataset()
        source.CodeValue, source.CodingSchemeDesignator = "x", "99X"
        source.CodeMeaning = meaning
        unit = Dataset()
        unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
        channel = Dataset()
        channel.ChannelSourceSequence = [source]
        channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence = "1", [unit]
        channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
        channel.WaveformBitsStored = 16
        channels.append(channel)
    group = Dataset()
    group.MultiplexGroupTimeOffset, group.WaveformOriginality = "0", "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = 3, 5000
    group.SamplingFrequency, group.ChannelDefinitionSequence = "250", channels
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 16, "SS"
    group.WaveformData = samples.tobytes()
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID, made.SOPInstanceUID = TwelveLeadECGWaveformStorage, generate_uid()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made.PatientName, made.PatientID, made.PatientBirthDate = "Doe^Jane", "MRN1957", "19570304"
    made.StudyDate, made.AcquisitionDateTime, made.Modality = "20260304", "20260304101112", "ECG"
    made.InstitutionName, made.WaveformSequence = "Doe Clinic", [group]
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return read("Doe_Jane.dcm", out.getvalue())


@pytest.mark.parametrize("make", [wfdb_with_a_name, edf_with_a_name, dicom_with_a_name])
def test_names_and_dates_in_headers_do_not_get_out(
    model: Model, make: Callable[[], Recording]
) -> None:
    source = make()
    assert "doe" in source.record_id.lower()
    explanation = services.explain(model, source)
    made = services.make_document(
        model, explanation, [0], recording=source, name="case", made_on="2026-11-21"
    )
    plain = services.deidentified(explanation, "case", source.source_names)
    texts = (
        services.document_html(made),
        services.track_json(model, plain, made_on="2026-11-21"),
        plain.csv_text(),
        plain.parquet_bytes().decode("latin-1"),
    )
    for text in texts:
        for word in ("doe", "jane", "1957", "mrn", "04/03", "2026-03", "20260304", "clinic"):
            assert word not in text.lower().replace("does", ""), word


@pytest.mark.parametrize(
    ("note", "shown"),
    [
        ("Lead V1 held no measured value and was left out.", None),
        ("The sampling rate of 2000 Hz was taken from the time column.", None),
        ("The header declares 12,345 samples, two thirds of the 18,517 in the data file.", None),
        ("Recorded twice for the same time, and the first is used: V1, V2.", None),
        ("Signals that are no ECG lead are left out: Jane Doe, Resp.",
         "Signals that are no ECG lead are left out: …."),
        ("Erika Mustermann 4.dat holds 5 bytes more than the header declares.",
         "… 4.… holds 5 bytes more than the header declares."),
        ("Recorded on 04.03.2026 at 1957.", "Recorded on … at …."),
        ("Left out: 8012345678, 19570304 <script>.", "Left out: … <…>."),
    ],
)  # fmt: skip
def test_of_a_note_only_this_programs_own_words_are_kept(note: str, shown: str | None) -> None:
    assert plain_words(note) == (note if shown is None else shown)
