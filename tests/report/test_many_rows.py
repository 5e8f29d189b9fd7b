"""Reports of many rows: ranked, with details of the best ones only, and small."""

import json
import re
from pathlib import Path

import pytest
from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import render_table, write_report
from ssl_sweep.orchestrator.report.document import MOST_PICTURES, DataSection, build_document
from ssl_sweep.orchestrator.report.ranking import MOST_DETAILED
from ssl_sweep.orchestrator.report.write import ReportFiles
from ssl_sweep.orchestrator.store.records import SweepResult

COUNT = 120


def many(count: int) -> SweepResult:
    rows = [
        trial(
            "simclr", 0, evaluation(60.0 + i / 10), evaluation(70.0 + i / 10, "linear"), setting=f"{i:03d}",
            axes={"lr": i}, views=b"\x89PNG\xff", departures=(f"lr = {i} (recipe: 0.1)",),
        )
        for i in range(count)
    ]  # fmt: skip
    baseline = trial("random", 0, evaluation(31.0), evaluation(40.0, "linear"), pretrain=None, history=())
    return sweep(*rows, baseline.model_copy(update={"title": "Random init"}))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return write_report(many(COUNT), tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def section() -> DataSection:
    (found,) = build_document(many(COUNT), None).data
    return found


def test_many_rows_are_ranked_and_few_keep_their_order() -> None:
    (table,) = render_table(many(COUNT))
    place = next(i for i, column in enumerate(table.columns) if column.label == "lr")
    assert [row.cells[place].text for row in table.rows[:2]] == ["119", "118"] and table.rows[-1].baseline
    (few,) = render_table(many(3))
    assert [row.cells[place].text for row in few.rows[:3]] == ["0", "1", "2"]


def test_details_are_of_the_best_rows_and_say_what_is_left_out(section: DataSection) -> None:
    shown = MOST_DETAILED + 1
    for table in (section.intervals, section.learning):
        assert MOST_DETAILED <= len({row.cells[0].text + row.cells[1].text for row in table.rows}) <= 2 * shown
        assert table.remarks[-1].startswith(
            f"Shown: the best {shown} of {COUNT + 1} settings by kNN top-1; the others:"
        )
    assert len(section.pictures) == MOST_PICTURES
    assert "lr 119" in section.pictures[0].title
    training = section.plots[0]
    assert len(training.drawings) == MOST_DETAILED
    assert len(section.table.remarks) < 20


def test_the_baseline_is_in_the_accuracy_plot_and_few_points_have_names(section: DataSection) -> None:
    for plot in (plot for plot in section.plots if plot.name in ("d1-time", "d1-knn-linear")):
        names = re.findall(r"<text[^>]*>((?:SimCLR|Random)[^<]*)</text>", plot.drawings[0].svg)
        assert "Random init" in names and len(names) == 13
        assert "108 others have no name" in plot.caption


def test_rows_have_what_a_reader_filters_and_sorts_by(written: ReportFiles) -> None:
    text = written.html.read_text()
    assert len(text) < 1.5e6
    assert text.count('data-method="SimCLR"') == COUNT and 'data-method="Random init"' in text
    assert '<section data-dataset="cifar10">' in text and 'data-v="60.0"' in text


def test_the_chart_has_the_curves_of_the_best_rows(written: ReportFiles) -> None:
    found = re.search(r'<script type="application/json">(.*?)</script>', written.html.read_text())
    assert found
    curves = json.loads(found[1])
    assert list(curves) == ["kNN top-1, %", "loss"]
    assert len(curves["loss"]) == 100 and curves["loss"][0]["name"] == "SimCLR, lr 119"
    assert curves["loss"][0]["points"] == [[1, 5.0], [2, 2.5], [3, 1.667], [4, 1.25]]


def test_the_page_says_nothing_that_ends_its_script(tmp_path: Path) -> None:
    result = sweep(trial("simclr", 0, evaluation(80.0), title="</script><b>x</b>"))
    text = write_report(result, tmp_path).html.read_text()
    assert "</script><b>" not in text and "\\u003c/script>" in text
