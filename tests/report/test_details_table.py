"""Classification details in the report: their table, the footnote on unbalanced test sets, the tidy table."""

import json
from pathlib import Path

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import render_table, write_report
from ssl_sweep.orchestrator.report.details import details_table
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.tidy import tidy_table
from ssl_sweep.orchestrator.store.records import Details, EvaluationRecord, SweepResult


def detailed(
    balanced: float, worst: str = "cat", ece: float | None = 5.0, remarks: tuple[str, ...] = ()
) -> EvaluationRecord:
    details = Details(
        balanced_top1=balanced,
        ece=ece,
        worst_class=worst,
        worst_recall=balanced - 50,
        best_class="ship",
        best_recall=99.0,
    )
    return evaluation(80.0, details=details, remarks=remarks)


def cells(result: SweepResult) -> list[list[str]]:
    (data,) = data_tables(result)
    return [[cell.text for cell in row.cells] for row in details_table(data).rows]


def test_a_row_for_each_setting_with_its_seeds() -> None:
    result = sweep(
        trial("simclr", 0, detailed(80.0, ece=4.0)),
        trial("simclr", 1, detailed(82.0, "dog", ece=6.0)),
        trial("byol", 0, detailed(70.0, ece=None)),
    )
    assert cells(result) == [
        ["kNN¹", "BYOL", "70.0", "–", "cat 20.0", "ship 99.0"],
        ["kNN¹", "SimCLR", "81.0 ± 1.4", "5.0 ± 1.4", "cat, dog 31.0 ± 1.4", "ship 99.0 ± 0.0"],
    ]


def test_records_of_earlier_versions_have_none() -> None:
    earlier = trial("byol", 0, evaluation(70.0))
    assert cells(sweep(earlier)) == []
    assert cells(sweep(earlier, trial("simclr", 0, detailed(80.0))))[0] == ["kNN¹", "BYOL", "–", "–", "–", "–"]


def test_of_many_worst_classes_three_are_named() -> None:
    result = sweep(*(trial("simclr", seed, detailed(80.0, name)) for seed, name in enumerate("abcd")))
    assert cells(result)[0][4] == "a, b, c, … 30.0 ± 0.0"


def test_the_footnote_names_it_where_a_constant_answer_scores_well() -> None:
    majority = ("90.0 % of them are of one class, which is the top-1 of a constant answer",)
    result = sweep(
        trial("simclr", 0, detailed(52.04, remarks=majority)), trial("byol", 0, detailed(61.0, remarks=majority))
    )
    (table,) = render_table(result)
    assert "of a constant answer; balanced accuracy 52.0 to 61.0 %; k = 200" in table.notes[0].text
    (table,) = render_table(sweep(trial("simclr", 0, detailed(52.0, remarks=majority))))
    assert "; balanced accuracy 52.0 %;" in table.notes[0].text
    (table,) = render_table(sweep(trial("simclr", 0, detailed(52.0))))
    assert "balanced" not in table.notes[0].text


def test_the_files(tmp_path: Path) -> None:
    result = sweep(trial("simclr", 0, detailed(80.0, "<b>|cat")), trial("byol", 0, evaluation(70.0)))
    files = write_report(result, tmp_path)
    assert "<summary>Classification details</summary>" in (text := files.html.read_text())
    assert "<b>|cat" not in text and "&lt;b&gt;|cat 30.0" in text
    markdown = files.markdown.read_text()
    assert "### Classification details" in markdown and "\\|cat 30.0" in markdown
    found = {row["method"]: row["details"] for row in tidy_table(result).to_pylist()}
    assert found["byol"] is None and json.loads(found["simclr"])["worst_class"] == "<b>|cat"
    plain = write_report(sweep(trial("byol", 0, evaluation(70.0))), tmp_path / "plain")
    assert "Classification details" not in plain.html.read_text() + plain.markdown.read_text()
