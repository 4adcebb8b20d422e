"""A search in words, in a collection whose ECGs lie where their finding is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from echoing_core import services
from echoing_core.embed.encode import encode_texts
from echoing_core.errors import ConfigError
from echoing_core.records import GaussianEmbedding
from echoing_core.retrieve.index import index_files, open_index_files
from echoing_core.retrieve.scale import ReferenceDistances, finding_scale, quantiles_of
from echoing_core.retrieve.search import ItemFilter

AF, LBBB, SINUS = "atrial fibrillation", "left bundle branch block", "sinus rhythm"
HEARTS = (AF, LBBB, SINUS) * 4
Make = Callable[..., services.Collection]


@pytest.fixture(scope="module")
def model() -> services.Model:
    """The shipped model without what was measured with it."""
    loaded = services.load_model()
    return replace(loaded, checkpoint=replace(loaded.checkpoint, measured={}))


@pytest.fixture(scope="module")
def texts(model: services.Model) -> dict[str, np.ndarray]:
    """Where each finding lies: the texts' own places stand for ECGs that the model knows well."""
    found = encode_texts(model.checkpoint, [AF, LBBB, SINUS])
    return dict(zip((AF, LBBB, SINUS), found.mu, strict=True))


@pytest.fixture
def make(model: services.Model, texts: dict[str, np.ndarray]) -> Make:
    """A collection of twelve ECGs; by default without reports."""

    def build(
        reports: tuple[str, ...] = ("",) * 12, hearts: tuple[str, ...] = HEARTS, **labels: list
    ) -> services.Collection:
        rng = np.random.default_rng(0)
        mu = np.stack([texts[heart] for heart in hearts])
        mu = (mu + 0.01 * rng.normal(size=mu.shape)).astype(np.float32)
        mu /= np.linalg.norm(mu, axis=1, keepdims=True)
        n = len(hearts)
        ecg = GaussianEmbedding(mu, np.full_like(mu, -8.0))
        text = GaussianEmbedding(mu.copy(), np.zeros_like(mu))
        ids = [f"item-{i}" for i in range(n)]
        items = pd.DataFrame(
            {
                **{name: pd.Series(ids, dtype=object) for name in
                   ("item_id", "patient_id", "record_id")},
                "report": pd.Series(list(reports), dtype=object),
                "source": pd.Series(["own"] * n, dtype=object),
                "uncertainty": ecg.uncertainty,
                "percentile": np.linspace(0, 100, n),
                "text_uncertainty": text.uncertainty,
                "simulated": False,
                **{f"label_{name}": values for name, values in labels.items()},
            }
        )  # fmt: skip
        files = index_files(ecg=ecg, text=text, items=items, checkpoint_hash=model.hash)
        index = open_index_files(files, "made", checkpoint_hash=model.hash)
        return services.Collection("made", index, "built")

    return build


def hearts_of(found: services.Search) -> list[str]:
    return [HEARTS[int(hit.item_id.removeprefix("item-"))] for hit in found.hits]


@pytest.fixture(scope="module")
def measured(model: services.Model, texts: dict[str, np.ndarray]) -> services.Model:
    """The model with a scale: reference ECGs like those of the collection, and some noise."""
    from echoing_core.embed.questions import question_margins

    rng = np.random.default_rng(1)
    hearts = np.array(HEARTS * 40)
    mu = np.stack([texts[heart] for heart in hearts])
    mu = (mu + 0.02 * rng.normal(size=mu.shape)).astype(np.float32)
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    ecg = GaussianEmbedding(mu, np.full_like(mu, -8.0))
    scales = {}
    for text in (AF, LBBB):
        question = services.read_question(text).questions[0]
        scale = finding_scale(question_margins(model.checkpoint, ecg, question)[0], hearts == text)
        assert scale is not None
        scales[question.name] = scale
    pairs = {("csd", kind): quantiles_of(rng.normal(mean, 0.1, 500))
             for kind, mean in (("own_report", 0.7), ("other_report", 1.7))}  # fmt: skip
    document = ReferenceDistances("made up", len(hearts), True, pairs, scales).to_dict()
    checkpoint = replace(model.checkpoint, measured={"distances": document})
    return replace(model, checkpoint=checkpoint)


def test_a_finding_and_its_denial_find_the_opposite(model: services.Model, make: Make) -> None:
    collection = make()
    assert hearts_of(services.search_in_words(collection, model, "afib", 4)) == [AF] * 4
    assert hearts_of(services.search_in_words(collection, model, "Vorhofflimmern", 4)) == [AF] * 4
    without = services.search_in_words(collection, model, "kein Vorhofflimmern", 8)
    assert AF not in hearts_of(without)
    assert "No atrial fibrillation" in without.note
    neither = services.search_in_words(collection, model, f"no {AF}, no {LBBB}", 4)
    assert hearts_of(neither) == [SINUS] * 4
    mixed = services.search_in_words(collection, model, f"{LBBB} without {AF}", 4)
    assert hearts_of(mixed) == [LBBB] * 4


def test_what_a_report_says_goes_before_what_an_ecg_looks_like(
    model: services.Model, make: Make
) -> None:
    reports = ["sinus rhythm."] * 12
    reports[2] = "Vorhofflimmern mit schneller Überleitung."
    reports[5] = "no atrial fibrillation."
    found = services.search_in_words(make(tuple(reports)), model, "afib", 12)
    assert found.hits[0].item_id == "item-2"
    assert found.reasons[0] == "report “Vorhofflimmern mit schneller Überleitung”"
    at = [hit.item_id for hit in found.hits].index("item-5")
    assert found.reasons[at] == "against it: report “no atrial fibrillation”"
    # Hits are in the order of their places, and the map asks for the place of any item.
    collection = make(tuple(reports))
    assert collection.as_hit(found, "item-2").rank == 1


def test_labels_count_where_the_report_says_nothing(model: services.Model, make: Make) -> None:
    af = [float("nan")] * 12
    af[1], af[0] = 1.0, 0.0
    found = services.search_in_words(make(af=af), model, "afib", 12)
    assert found.hits[0].item_id == "item-1" and found.reasons[0] == "label af: yes"
    assert found.hits[-1].item_id == "item-0"


def test_filters_act_before_the_best_are_taken(model: services.Model, make: Make) -> None:
    where = ItemFilter(exclude_item_ids=("item-0", "item-3", "item-6"))
    found = services.search_in_words(make(), model, "afib", 2, where=where)
    assert hearts_of(found) == [AF, LBBB] or hearts_of(found) == [AF, SINUS]
    assert found.n_passing == 9 and found.n_compared == 12
    reports = ("sinus rhythm.",) * 11 + ("af.",)
    unique = services.search_in_words(make(reports), model, "afib", 9, unique_reports=True)
    assert [hit.report for hit in unique.hits] == ["af.", "sinus rhythm."]


def test_words_in_quotation_marks_are_searched_as_they_stand(
    model: services.Model, make: Make
) -> None:
    reports = ["af."] * 12
    reports[8] = "Seen by Dr Who: zebra pattern, no af."
    found = services.search_in_words(make(tuple(reports)), model, "“Zebra pattern”", 3)
    assert found.as_it_stands and found.hits[0].item_id == "item-8" and found.close
    assert not found.by_fit
    assert found.reasons == ("these words stand in its report", "", "")
    rest = [hit.distance for hit in found.hits[1:]]
    assert rest == sorted(rest)


def test_what_is_no_finding_is_refused(model: services.Model, make: Make) -> None:
    for text in ("banana", "the weather in Paris", "heart rate above 100"):
        with pytest.raises(ConfigError, match=r"known here|names no finding|measured"):
            services.search_in_words(make(), model, text)
    with pytest.raises(ConfigError, match="empty"):
        services.search_in_words(make(), model, "  ")
    with pytest.raises(ConfigError, match="no reports"):
        services.search_in_words(make(), model, "af", target="report")


def test_nothing_close_is_said_where_no_ecg_has_it(measured: services.Model, make: Make) -> None:
    there = services.search_in_words(make(), measured, "afib", 3)
    assert there.close is True
    assert "4 of 12 look like it; among so many less than one would by chance." in there.note
    others = (LBBB, SINUS) * 6
    without = services.search_in_words(make(hearts=others), measured, "afib", 3)
    assert without.close is False and without.far.startswith("Nothing close: no ECG looks like it.")
    assert "ECGs that have it" in without.far
    # In a collection of two the same is said as in one of twelve.
    two = services.search_in_words(make(("",) * 2, (LBBB, SINUS)), measured, "afib", 3)
    assert two.close is False
    # A report that says so is enough, and one that could have and did not is not.
    reports = ("lbbb.",) * 11 + ("af.",)
    told = services.search_in_words(make(reports, others), measured, "af", 3)
    assert told.close is True and "by chance" not in told.note
    silent = services.search_in_words(make(("a lost report.",) * 12), measured, "af", 3)
    assert silent.close is False and silent.far.startswith("Nothing close: no report says so.")
    # The absence of something is not rare, so nothing has to stand out.
    assert services.search_in_words(make(hearts=others), measured, "no af", 3).close is True


def test_without_a_scale_nothing_is_said_of_closeness(model: services.Model, make: Make) -> None:
    found = services.search_in_words(make(hearts=(LBBB, SINUS) * 6), model, "afib", 3)
    assert found.close is None and found.far == "" and found.scale is None


def test_why_an_ecg_without_a_report_is_there(measured: services.Model, make: Make) -> None:
    found = services.search_in_words(make(), measured, "afib", 12)
    assert found.reasons[0] == (
        "Atrial fibrillation: ECG more like it than more than 99 % of ECGs without it"
    )


@pytest.mark.parametrize("order", ["csd", "cosine"])
def test_distances_are_to_the_texts_that_say_so(
    model: services.Model, make: Make, order: str
) -> None:
    collection = make()
    found = services.search_in_words(collection, model, "afib", 12, order=order)
    question = services.read_question("afib").questions[0]
    mu = encode_texts(model.checkpoint, question.positive).mu.astype(float)
    yes = mu.mean(axis=0) / np.linalg.norm(mu.mean(axis=0))
    cosine = collection.index.gaussians("ecg").mu @ yes
    for hit in found.hits:
        row = collection.row(hit.item_id)
        if order == "cosine":
            assert hit.distance == pytest.approx(1 - cosine[row], abs=1e-4)
        else:
            assert found.distances[row] == pytest.approx(hit.distance)
            assert hit.distance > 2 - 2 * cosine[row]
