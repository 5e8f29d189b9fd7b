"""Plots of a search, and what is said if there are too few points."""

from pathlib import Path

import pytest
from made_by_hand import searched, sweep
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.search_plots import MOST_SEARCHES, higher_is_better, importances, search_plots
from ssl_sweep.orchestrator.store.records import SearchPoint, SearchRecord


def search(count: int) -> SearchRecord:
    """The score depends on the rate alone."""
    points = tuple(
        SearchPoint(
            values={"pretrain.optimizer.lr": 0.001 * 2**i, "method.t": (i * 7) % count, "method.head": "ab"[i % 2]},
            scores={"knn/top1": 80.0 - (i - 5) ** 2}, seeds=1,
        )
        for i in range(count)
    )  # fmt: skip
    return SearchRecord(
        title="SimCLR", backbone="resnet18", dataset="cifar10", objectives=("knn/top1",), points=points, best=points[5]
    )


def test_a_search_has_its_history_importance_and_parallel_coordinates() -> None:
    history, importance, parallel = search_plots([search(14)])
    assert [plot.name for plot in (history, importance, parallel)] == ["s1-history", "s1-importance", "s1-parallel"]
    assert "optimizer.lr" in importance.drawings[0].svg and "PED-ANOVA" in importance.caption
    drawn = parallel.drawings[0].svg
    assert ">lr<" in drawn and ">a<" in drawn and ">kNN top-1<" in drawn and "14 scored points" in parallel.caption


def test_the_value_that_the_score_depends_on_is_the_most_important() -> None:
    found = importances(search(14).points, ["pretrain.optimizer.lr", "method.t"], "knn/top1")
    assert max(found, key=found.__getitem__) == "pretrain.optimizer.lr" and sum(found.values()) == pytest.approx(1)


def test_with_few_points_no_importance_is_claimed() -> None:
    _, importance, *_ = search_plots([searched(70.0, 71.0, None)])
    assert not importance.drawings and "2 scored points, and it takes 10" in importance.missing
    assert search_plots([searched(70.0)]) == ()


def test_several_objectives_have_a_front() -> None:
    assert search_plots([searched(70.0, 71.0, costs=(1.0, 2.0))])[-1].name == "s1-front"
    assert higher_is_better("knn/top1") and not higher_is_better("gpu_hours")


def test_of_many_searches_the_first_are_drawn() -> None:
    assert len(search_plots([searched(70.0, 71.0)] * (MOST_SEARCHES + 3))) == 3 * MOST_SEARCHES


def test_the_plots_are_in_the_page_and_beside_the_markdown(tmp_path: Path) -> None:
    files = write_report(sweep(searches=(search(14),)), tmp_path)
    assert "s1-parallel-title" in files.html.read_text()
    assert "plots/s1-parallel.svg" in files.markdown.read_text() and (tmp_path / "plots/s1-parallel.svg").is_file()
