"""Figures of groups and of seeds, the paper's numbers, and the layout of tables."""

from __future__ import annotations

import json

import numpy as np
import pytest

from echoing_core.evaluate.protocols import article
from echoing_core.evaluate.protocols.ablation_tables import (
    RunScores,
    TestSet,
    over_seeds,
    paired_over_seeds,
    table_5,
)
from echoing_core.evaluate.protocols.answers import (
    AUROC,
    BALANCED_ACCURACY,
    GAP,
    HIGH,
    LOW,
    Place,
    Scored,
    differences,
)
from echoing_core.evaluate.protocols.settings import ZERO_SHOT
from echoing_core.evaluate.protocols.tables import answers_table, table_2, table_3, table_4
from echoing_core.metrics.bootstrap import patient_bootstrap_all, patient_bootstrap_over_seeds
from echoing_core.metrics.results import ALL, PROTOCOL_KEYS, Experiment, Result, to_records
from echoing_core.metrics.scores import auroc, balanced_accuracy

PATIENTS = np.array(list("abcdefgh"))
TRUTH = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
LOW_HALF = np.array([True, True, False, False, True, True, False, False])
SCORE = np.array([1.0, 2.0, -1.0, 1.0, -1.0, -2.0, 1.0, 2.0])


def place(**changed: object) -> Place:
    given = {
        "data": "toy",
        "model": "demo",
        "task": "LVEF < 40 %",
        "label": "lvef_lt40",
        "protocol": ZERO_SHOT,
        "simulated": True,
        "split": "median of sigma^2",
    }
    return Place(**(given | changed))  # type: ignore[arg-type]


def figures(**changed: object) -> list[Result]:
    return Scored(place(**changed), TRUTH, [SCORE], [LOW_HALF], PATIENTS).results(n_resamples=20)


def value(found: list[Result], metric: str, group: str) -> float:
    return next(f.estimate.value for f in found if (f.metric, f.group) == (metric, group))


def test_groups_by_hand() -> None:
    """All: 3 of 4 positives and 2 of 4 negatives right, (0.75 + 0.5) / 2 = 0.625. The low half is
    all right; the high half has 1 of 2 and 0 of 2, 0.25. The gap is 0.75."""
    found = figures()
    for group, expected in ((ALL, 0.625), (LOW, 1.0), (HIGH, 0.25), (GAP, 0.75)):
        assert value(found, BALANCED_ACCURACY, group) == expected
    # High half: -1 and 1 against 1 and 2: of four pairs one is a tie, 0.5 / 4.
    assert value(found, AUROC, HIGH) == 0.125
    assert {f.group: f.n_group for f in found} == {ALL: 8, LOW: 4, HIGH: 4, GAP: 8}


def test_a_constant_answer_has_balanced_accuracy_one_half() -> None:
    found = Scored(place(), TRUTH, [np.full(8, -1.0)], [LOW_HALF], PATIENTS).results(n_resamples=20)
    assert value(found, BALANCED_ACCURACY, ALL) == value(found, AUROC, ALL) == 0.5


def test_unknown_answers_are_left_out_and_an_empty_half_is_not_defined() -> None:
    truth = TRUTH.copy()
    truth[[2, 3, 6, 7]] = np.nan
    found = Scored(place(), truth, [SCORE], [LOW_HALF], PATIENTS).results(n_resamples=20)
    assert value(found, BALANCED_ACCURACY, ALL) == 1.0
    assert np.isnan(value(found, BALANCED_ACCURACY, HIGH))
    assert found[0].estimate.n_items == 4
    experiment = Experiment("s", "S", "how", tuple(found), (answers_table(found),))
    assert "not defined" in experiment.to_markdown()
    told = json.loads(json.dumps(experiment.to_dict(), allow_nan=False))
    assert told["results"][0]["value"] == 1.0
    records = to_records(found, PROTOCOL_KEYS)
    assert tuple(records[0])[: len(PROTOCOL_KEYS)] == PROTOCOL_KEYS
    assert records[0]["per_seed"] == [1.0]
    assert next(r for r in records if r["group"] == HIGH)["per_seed"] == [None]


def test_seeds_are_averaged() -> None:
    """0.625 as above, and 1.0 of a perfect seed: 0.8125."""
    perfect = np.where(TRUTH > 0.5, 1.0, -1.0)
    scored = Scored(place(), TRUTH, [SCORE, perfect], [LOW_HALF, LOW_HALF], PATIENTS)
    found = scored.results(n_resamples=20)
    assert value(found, BALANCED_ACCURACY, ALL) == 0.8125
    assert found[0].per_seed == (0.625, 1.0) and found[0].n_seeds == 2


def test_differences_are_to_the_control_and_of_tuning_to_its_probe() -> None:
    """demo 0.625 (above), control always no 0.5; tuned is perfect, 1.0, its probe 0.625."""
    no, perfect = np.full(8, -1.0), np.where(TRUTH > 0.5, 1.0, -1.0)

    def scored(score: np.ndarray, **changed: object) -> Scored:
        return Scored(place(**changed), TRUTH, [score], [LOW_HALF], PATIENTS)

    found = differences(
        [
            scored(SCORE),
            scored(no, model="random weights"),
            scored(SCORE, protocol="frozen probe"),
            scored(perfect, protocol="fine-tuned"),
        ],
        model="demo",
        control="random weights",
        n_resamples=20,
    )
    told = {(f.protocol, f.metric): f.estimate.value for f in found}
    assert told["zero-shot: demo - random weights", BALANCED_ACCURACY] == 0.125
    assert told["demo: fine-tuned - frozen probe", BALANCED_ACCURACY] == 0.375
    assert len(found) == 4


def test_one_seed_is_the_patient_bootstrap() -> None:
    def metrics(y: np.ndarray, s: np.ndarray) -> dict[str, float]:
        return {"": auroc(y, s)}

    plain = patient_bootstrap_all(metrics, (TRUTH, SCORE), PATIENTS, n_resamples=50)
    seeded = patient_bootstrap_over_seeds(metrics, [(TRUTH, SCORE)], PATIENTS, n_resamples=50)
    assert plain == seeded


def test_intervals_over_seeds_hold_the_spread_of_seeds() -> None:
    """Two seeds of 0 and 1 whatever the patients: the mean of two draws is 0, 0.5 or 1."""
    zero, one = np.zeros(8), np.ones(8)
    estimate = over_seeds(
        lambda _, s: float(s.mean()), TRUTH, [zero, one], PATIENTS, n_resamples=200
    )
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)
    # Paired by seed the same spread cancels.
    shifted = [zero + 0.25, one + 0.25]
    gap = paired_over_seeds(
        lambda _, s: float(s.mean()), TRUTH, shifted, [zero, one], PATIENTS, n_resamples=200
    )
    assert (gap.value, gap.low, gap.high) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_over_seeds(balanced_accuracy, TRUTH, shifted, [zero], PATIENTS)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_the_papers_numbers_are_read(number: int) -> None:
    table = article.TABLES[number]
    for row in table.rows.values():
        assert tuple(row) == table.columns
        for cell in row.values():
            assert (cell.percent is None) == (cell.status in (article.NOT_GIVEN, article.LOST))


def test_cells_of_the_paper_say_how_sure_they_are() -> None:
    two, three = article.TABLE_2.rows, article.TABLE_3.rows
    assert two["MEDBind"]["All ZS"].status == article.LOST
    assert two["MEDBind"]["Low 100 %"] == article.Cell(75.7, article.INFERRED)
    assert two["ECG-FM_M"]["All ZS"].status == article.NOT_GIVEN
    assert three["EchoingECG (start)"]["SLVH+DLV ZS"] == article.Cell(62.4, article.INFERRED)
    assert [str(article.parse_cell(t)) for t in ("?", "-", "~62.4", "5")] == [
        "?",
        "-",
        "~62.4",
        "5.0",
    ]
    with pytest.raises(ValueError, match="percentage"):
        article.parse_cell("632")
    # The halves of table 2 average to the whole (68.3 and 58.1 to 63.2), those of table 4 do not.
    ours = two["EchoingECG"]
    for part in ("ZS", "10 %", "100 %"):
        low, high, every = (ours[f"{g} {part}"].percent for g in ("Low", "High", "All"))
        assert low is not None and high is not None
        assert (low + high) / 2 == pytest.approx(every, abs=0.06)


def test_table_2_has_the_papers_columns_and_its_rows_only_beside_its_data() -> None:
    table = table_2(figures(), source="simulated")
    markdown, records = table.to_markdown(), table.records
    header = [cell.strip() for cell in markdown.splitlines()[0].strip("|").split("|")]
    assert header == ["", *article.TABLE_2.columns]
    assert "paper:" not in markdown and markdown.rstrip().endswith("not set beside these.")
    assert [row["row"] for row in records] == ["demo"]
    real = figures(simulated=False)
    table = table_2(real, source="mimic-iv")
    markdown, records = table.to_markdown(), table.records
    assert "| paper: EchoingECG | 63.2 | 69.3 |" in markdown and "~75.7" in markdown
    assert records[-1]["All ZS"] == {"value_percent": 63.2, "status": article.PRINTED}
    # A set that mixes in simulated ECGs is not the paper's, whatever its source is called.
    assert "paper:" not in table_2(figures(), source="mimic-iv").to_markdown()
    assert "paper:" not in table_2(real, source="ptbxl").to_markdown()


def test_table_3_takes_rows_by_window() -> None:
    markdown = table_3({"demo (start)": figures()}, source="simulated").to_markdown()
    line = next(line for line in markdown.splitlines() if "demo (start)" in line)
    assert line.startswith("| demo (start) | 62.5 (") and line.count("| - |") >= 3
    assert markdown.count("LVEF<40 ZS") == 1


def test_table_4_tells_the_galleries() -> None:
    estimate = figures()[0].estimate
    found = [
        Result(
            "toy", "text to ECG", "R@1", "demo", estimate, True, size,
            protocol=f"by csd, exact pair, {where}", group=group, n_group=4,
        )
        for where, group, size in (
            ("full gallery", ALL, 8),
            ("each half its own gallery", LOW, 4),
        )
    ]  # fmt: skip
    markdown = table_4(found, source="simulated").to_markdown()
    assert "full gallery: 8 ECGs; each half its own gallery: 4 ECGs" in markdown
    assert "| demo, exact pair, full gallery | 62.5" in markdown


def test_table_5_by_hand() -> None:
    """Two seeds of A with 0.625 and 1.0; B always answers no: 0.5. R@1: 1/4 and 3/4; 0."""
    perfect = np.where(TRUTH > 0.5, 1.0, -1.0)
    no = np.full(8, -1.0)

    def seed(margin: np.ndarray, ranks: list[int]) -> RunScores:
        margins = {"lvef_lt40": margin, "slvh_or_dlv": margin}
        return RunScores(margins, {"pair": np.array(ranks)}, np.zeros(8), 0.0)

    rows = {
        "A": [seed(SCORE, [1, 2, 3, 20]), seed(perfect, [1, 1, 1, 9])],
        "B": [seed(no, [5, 5, 5, 50])] * 2,
    }
    test = TestSet(
        {"lvef_lt40": TRUTH, "slvh_or_dlv": TRUTH}, PATIENTS, PATIENTS[:4], "simulated", True
    )
    found = table_5(
        rows, test, compare=[("A", "B")], probabilistic={"A": True, "B": False}, n_resamples=50
    )
    by_place = {(result.model, result.metric): result for result in found.results}

    def value(row: str, column: str) -> float:
        return by_place[row, column].estimate.value

    assert value("A", "LVEF<40 ZS") == 0.8125
    assert value("A - B", "LVEF<40 ZS") == 0.3125
    assert value("A", "R@1") == 0.5 and value("B", "R@1") == 0.0
    assert value("A", "R@10") == 0.875
    assert by_place["A", "R@1"].per_seed == (0.25, 0.75)
    markdown = found.to_markdown()
    assert "| B | no | 50.0 (50.0 to 50.0)" in markdown and "+31.2" in markdown
    assert "paper:" not in markdown and "Simulated ECGs" in markdown
    json.dumps(found.to_dict(), allow_nan=False)
