"""Which settings are compared, when one is called better, and what a report says of one seed."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_by_hand import evaluation, full_sweep, sweep, trial
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.comparison import NO_DIFFERENCE, comparison_table
from ssl_sweep.orchestrator.report.document import build_document
from ssl_sweep.orchestrator.report.intervals import COLUMNS, interval_table
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.ranks import rank_table, rankings
from ssl_sweep.orchestrator.report.remarks import (
    FEW_SEEDS_REMARK,
    ONE_SEED_REMARK,
    TESTED_REMARK,
)
from ssl_sweep.orchestrator.report.statistics import paired_t
from ssl_sweep.orchestrator.report.table import Table
from ssl_sweep.orchestrator.store.records import SweepResult, TrialResult

BYOL, SIMCLR, DINO = [86.1, 86.4, 86.0], [84.0, 84.4, 84.1], [85.0, 86.9, 85.4]


def seeds(method: str, scores: Sequence[float], **changes: object) -> list[TrialResult]:
    return [trial(method, seed, evaluation(score), **changes) for seed, score in enumerate(scores)]


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in table.rows]


def compared(*trials: TrialResult) -> list[list[str]]:
    (data,) = data_tables(sweep(*trials))
    return texts(comparison_table(data.comparisons, data.protocols, data.names, data.detailed))


def test_the_best_setting_against_each_other() -> None:
    rows = compared(
        *seeds("byol", BYOL), *seeds("simclr", SIMCLR), *seeds("dino", DINO), *seeds("random", [40, 41, 42])
    )
    p = [paired_t([a - b for a, b in zip(BYOL, other, strict=True)]) for other in (SIMCLR, DINO)]
    assert p[0] is not None and p[1] is not None and 3 * p[0] < 0.05 < p[1]
    assert rows == [
        ["kNN¹ top-1", "BYOL", "DINO", "3", "+0.40", "−1.63 to +2.43", f"{2 * p[1]:.4f}", NO_DIFFERENCE],
        ["kNN¹ top-1", "BYOL", "SimCLR", "3", "+2.00", "+1.75 to +2.25", f"{3 * p[0]:.4f}", "BYOL is better"],
    ]


def test_only_common_seeds_are_paired() -> None:
    odd = [trial("simclr", seed, evaluation(80.0 + seed % 3)) for seed in (1, 2, 3, 4)]
    (row,) = compared(*seeds("byol", [86.1, 86.4, 87.0, 86.2]), *odd)
    assert row[3:5] == ["3", f"+{(86.4 + 87.0 + 86.2) / 3 - 81:.2f}"]


def test_a_setting_with_fewer_common_seeds_is_listed_but_not_tested() -> None:
    rows = compared(*seeds("byol", BYOL), *seeds("simclr", SIMCLR), *seeds("dino", [90.0, 91.0]))
    assert rows[0][1:] == ["BYOL", "DINO", "2", "−4.25", "–", "–", "not tested: 2 common seeds"]
    assert rows[1][-1] == "BYOL is better"


def test_equal_differences_are_no_proof() -> None:
    (row,) = compared(*seeds("byol", [86.1, 86.4, 86.0]), *seeds("simclr", [84.1, 84.4, 84.0]))
    assert row[4:] == ["+2.00", "–", "–", "not tested: every seed has the same difference"]


def test_wilcoxon_from_six_seeds_on() -> None:
    (row,) = compared(
        *seeds("byol", [86.1, 86.4, 86.0, 86.3, 86.2, 86.9]), *seeds("simclr", [84, 84.1, 84.2, 84, 84.3, 84])
    )
    assert row[-2:] == ["0.0312", "BYOL is better"]


@pytest.mark.parametrize(
    ("byol", "simclr", "remark"),
    [
        (BYOL[:1], SIMCLR[:1], ONE_SEED_REMARK),
        (BYOL, SIMCLR[:2], FEW_SEEDS_REMARK),
        (BYOL, SIMCLR, TESTED_REMARK),
    ],
)
def test_what_is_claimed_is_said_once(
    byol: Sequence[float], simclr: Sequence[float], remark: str, tmp_path: Path
) -> None:
    result = sweep(*seeds("byol", byol), *seeds("simclr", simclr))
    files = write_report(result, tmp_path)
    for text in (files.markdown.read_text(), files.html.read_text()):
        assert text.count(remark) == 1
        assert text.count("Comparison of methods</h3>") + text.count("### Comparison") == (remark == TESTED_REMARK)
    (section,) = build_document(result, None).data
    (highlight,) = section.highlights
    assert highlight.startswith("Highest kNN top-1: BYOL, 86.")
    assert highlight.endswith("; better than the other, by paired tests") == (remark == TESTED_REMARK)


def test_intervals_over_seeds_and_over_images() -> None:
    (data,) = data_tables(sweep(*seeds("byol", [84.0, 85.0, 86.0]), *seeds("simclr", [45.0])))
    table = interval_table(data)
    assert texts(table) == [
        ["kNN¹ top-1", "BYOL", "85.0", "82.5 to 87.5", "3 seeds"],
        ["kNN¹ top-1", "SimCLR", "45.0", "44.0 to 46.0", "10\u202f000 images"],
    ]
    assert len(table.remarks) == 2
    mean_per_class = evaluation(45.0, correct1=5000)  # no share of the images
    (data,) = data_tables(sweep(trial("simclr", 0, mean_per_class)))
    assert interval_table(data).rows == ()


def test_statistics_csv(tmp_path: Path) -> None:
    files = write_report(full_sweep(), tmp_path)
    rows = list(csv.DictReader(io.StringIO(files.statistics.read_text())))
    assert list(rows[0]) == list(COLUMNS)
    found = {(row["method"], row["evaluation"], row["metric"], row["epoch"]): row for row in rows}
    assert len(found) == len(rows) == 3 * 2 * 2 + 2  # two metrics of two evaluations, and the best epoch of two methods
    simclr = found["simclr", "knn", "top1", "last"]
    assert [simclr[key] for key in ("n", "mean", "std", "images_low")] == ["3", "85", "1", ""]
    assert float(simclr["low"]) == pytest.approx(85 - 2.484138, abs=1e-6)
    byol = found["byol", "knn", "top1", "last"]
    assert (byol["n"], byol["std"], byol["low"]) == ("1", "", "") and 85 < float(byol["images_low"]) < 86
    assert (
        found["byol", "knn", "top1", "best"]["mean"] == "86.5"
        and not found["byol", "knn", "top1", "best"]["images_low"]
    )


def over_datasets(*names: str, orders: str = "abcd", **changes: object) -> SweepResult:
    """Four methods that rank as in `orders` on each data set, by their titles."""
    scores = {title: 90.0 - 2 * place for place, title in enumerate(orders)}
    trials = [
        trial(title, 0, evaluation(score), dataset=name, axes={"dataset": name}, image_size=32 + i, **changes)
        for i, name in enumerate(names)
        for title, score in scores.items()
    ]
    return sweep(*trials)


def ranked(result: SweepResult) -> Table:
    return rank_table(rankings(result, data_tables(result)))


def test_ranks_over_data_sets() -> None:
    table = ranked(over_datasets("x", "y", "z"))
    assert texts(table) == [
        ["kNN top-1", "a", "1", "1", "1", "1.00", "–"],
        ["kNN top-1", "b", "2", "2", "2", "2.00", NO_DIFFERENCE],
        ["kNN top-1", "c", "3", "3", "3", "3.00", NO_DIFFERENCE],
        ["kNN top-1", "d", "4", "4", "4", "4.00", "a is better"],
    ]
    assert table.remarks[1] == (
        "kNN top-1: 4 methods on 3 data sets; Friedman's test: p = 0.0293, which is rough for so few; "
        "critical difference: 2.71."
    )


def test_ranks_that_disagree_show_no_difference() -> None:
    parts = [over_datasets(name, orders=orders) for name, orders in (("x", "abcd"), ("y", "dcba"), ("z", "badc"))]
    table = ranked(sweep(*(one for part in parts for one in part.trials)))
    assert {row[-1] for row in texts(table)} == {"–", NO_DIFFERENCE}


def test_ranks_take_three_data_sets_and_three_methods_on_all() -> None:
    assert ranked(over_datasets("x", "y")).rows == ()
    assert ranked(over_datasets("x", "y", "z", orders="ab")).rows == ()
    whole = over_datasets("x", "y", "z")
    less = whole.model_copy(update={"trials": whole.trials[:-1]})  # d has no result on z
    table = ranked(less)
    assert [row[1] for row in texts(table)] == ["a", "b", "c"]
    assert table.remarks[1].endswith("Left out, since not every data set has one result of theirs: d.")
    part = [one.model_copy(update={"full_dataset": False}) for one in over_datasets("y").trials]
    assert ranked(sweep(*over_datasets("x", "y").trials, *part)).rows == ()  # a part of y is no third data set


def test_the_written_report_has_the_ranks(tmp_path: Path) -> None:
    files = write_report(over_datasets("x", "y", "z"), tmp_path)
    assert "## Ranks over data sets\n\n| evaluation |" in files.markdown.read_text()
    assert "<h2>Ranks over data sets</h2>" in files.html.read_text()
