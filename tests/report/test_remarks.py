"""Rows with weights that are partly random, cells of failed trials, and what is said if no two rows can be tested."""

from made_by_hand import COST, evaluation, sweep, trial
from ssl_sweep.orchestrator.report import render_table
from ssl_sweep.orchestrator.report.document import build_document
from ssl_sweep.orchestrator.report.remarks import (
    BASELINES_REMARK,
    FEW_SEEDS_REMARK,
    MISSING_REMARK,
    PARTIAL,
    PARTIAL_REMARK,
)
from ssl_sweep.orchestrator.report.table import Table
from ssl_sweep.orchestrator.store.records import MissingEvaluation, PretrainRecord, TrialResult


def pretrained(method: str, top1: float, missing: int) -> TrialResult:
    began = PretrainRecord(cost=COST, epochs=0, images_per_second=0, weights_missing=missing)
    return trial(method, 0, evaluation(top1), pretrain=began, setting=f"{method}{missing}", axes={"n": missing})


def rows(table: Table) -> list[tuple[str, str, bool]]:
    """Method, kNN top-1, and whether it is bold."""
    place = next(i for i, column in enumerate(table.columns) if column.label == "top-1")
    return [(row.cells[0].text, row.cells[place].text, row.cells[place].best) for row in table.rows]


def test_a_row_that_is_partly_random_says_so_and_is_not_the_best() -> None:
    result = sweep(pretrained("pretrained", 80.0, 0), pretrained("pretrained", 90.0, 3), pretrained("simclr", 70.0, 0))
    (table,) = render_table(result)
    assert rows(table) == [
        ("pretrained", "80.0", True), (f"pretrained {PARTIAL}", "90.0", False), ("SimCLR", "70.0", False),
    ]  # fmt: skip
    assert PARTIAL_REMARK in table.remarks
    (section,) = build_document(result, None).data
    assert section.highlights[0].startswith("Highest kNN top-1: pretrained, n 0, 80.0")


def test_a_row_that_was_trained_since_may_be_the_best() -> None:
    (table,) = render_table(sweep(pretrained("simclr", 90.0, 3), pretrained("byol", 70.0, 0)))
    assert rows(table) == [("BYOL", "70.0", False), (f"SimCLR {PARTIAL}", "90.0", True)]


def test_seeds_that_only_a_baseline_shares_are_no_lack_of_seeds() -> None:
    trials = [trial(method, seed, evaluation(80.0 + seed)) for method in ("simclr", "random") for seed in range(3)]
    (table,) = render_table(sweep(*trials))
    text = " ".join(table.remarks)
    assert BASELINES_REMARK in text and FEW_SEEDS_REMARK not in text


def test_a_cell_says_that_its_evaluation_failed_or_was_not_run() -> None:
    lost = MissingEvaluation(
        name="linear",
        known_as="linear",
        protocol="linear/simclr@1",
        settings={"epochs": 90},
        split="test",
        reason="a reason",
    )
    failed = trial("byol", 0, evaluation(81.0), status="failed", missing=(lost,))
    skipped = trial("dino", 0, status="failed", pretrain=None, missing=(lost.model_copy(update={"reason": None}),))
    (table,) = render_table(sweep(failed, skipped, trial("simclr", 0, evaluation(80.0))))
    groups = [column.group for column in table.columns]
    place = next(i for i, group in enumerate(groups) if group.startswith("linear"))
    assert [row.cells[place].text for row in table.rows] == ["failed", "not run", "–"]
    assert table.notes[1].text.startswith("no trial has a number") and MISSING_REMARK in table.remarks
