"""Evaluations of other packages have columns of their own, whether the package is installed here or not."""

import io
import json
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from made_by_hand import COST, evaluation, sweep, trial
from rich.console import Console
from ssl_sweep.evaluation.base import Evaluation, EvaluationConfig, Metric
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.evaluation.task import Score, Task
from ssl_sweep.orchestrator.report import render_table, terminal_table, write_report
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.sections import cost_table
from ssl_sweep.orchestrator.report.table import Table
from ssl_sweep.orchestrator.report.tidy import tidy_table
from ssl_sweep.orchestrator.store.records import EvaluationRecord, SweepResult


class SpeedConfig(EvaluationConfig):
    name: str = "speed"
    protocol: str = "speed/all@1"


def score(task: Task, config: SpeedConfig) -> Score:
    return Score({"ms": 1.0}, 1)


SPEED = Evaluation(
    "speed",
    "Speed",
    SpeedConfig,
    (SpeedConfig(),),
    score,
    metrics=(Metric("ms", "time", "ms", higher_is_better=False, digits=2), Metric("share", "share", "%")),
)


def speed(ms: float, best: float | None = None) -> EvaluationRecord:
    return EvaluationRecord(
        name="speed",
        protocol="speed/all@1",
        settings={},
        metrics={"share": 50.0, "ms": ms},
        best={} if best is None else {"ms": best},
        images=10,
        split="test",
        cost=COST,
    )


def result(best: float | None = None) -> SweepResult:
    return sweep(
        trial("simclr", 0, evaluation(80.0), speed(1.234, best)), trial("byol", 0, evaluation(70.0), speed(2.5, best))
    )


def columns(table: Table) -> dict[tuple[str, str], list[str]]:
    return {
        (column.group, column.label): [row.cells[i].text for row in table.rows]
        for i, column in enumerate(table.columns)
        if column.group
    }


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EVALUATIONS, "_plugins", {"speed": EntryPoint("speed", "here:SPEED", EVALUATIONS.group)})
    monkeypatch.setitem(EVALUATIONS._loaded, "speed", SPEED)


@pytest.mark.usefixtures("installed")
def test_its_metrics_are_columns_in_its_order_and_the_smallest_is_best() -> None:
    (table,) = render_table(result(best=1.0))
    assert {key: texts for key, texts in columns(table).items() if key[0] == "Speed²"} == {
        ("Speed²", "time, ms"): ["2.50", "1.23"],
        ("Speed²", "best epoch*"): ["1.00", "1.00"],
        ("Speed²", "share"): ["50.0", "50.0"],
    }
    index = next(i for i, column in enumerate(table.columns) if column.label == "time, ms")
    assert [row.cells[index].best for row in table.rows] == [False, True]
    assert any(remark.startswith("* Smallest time over the epochs") for remark in table.remarks)


@pytest.mark.parametrize("ranked", [True, False])
def test_what_is_not_ranked_is_not_compared(ranked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = Metric("ms", "time", "ms", higher_is_better=False, ranked=ranked)
    monkeypatch.setattr(EVALUATIONS, "_plugins", {"speed": EntryPoint("speed", "here:SPEED", EVALUATIONS.group)})
    monkeypatch.setitem(EVALUATIONS._loaded, "speed", replace(SPEED, metrics=(measure, *SPEED.metrics[1:])))
    trials = [
        trial(m, seed, speed(start + seed**2 / 10)) for m, start in (("simclr", 1), ("byol", 3)) for seed in range(3)
    ]
    trials[0] = trial("simclr", 0, speed(0.9))  # or all differences were the same
    (data,) = data_tables(sweep(*trials))
    assert [found.rivals[0].shown for found in data.comparisons] == [True] * ranked


def test_without_its_package_it_has_its_names_for_titles() -> None:
    (table,) = render_table(result())
    assert [key for key in columns(table) if key[0] == "speed²"] == [("speed²", "share"), ("speed²", "ms")]
    assert [row.cells[0].text for row in cost_table(result()).rows] == ["pretraining", "kNN", "speed", "all"]


@pytest.mark.usefixtures("installed")
def test_the_whole_report(tmp_path: Path) -> None:
    files = write_report(result(), tmp_path)
    assert "- Lowest Speed time, ms: SimCLR, 1.23" in files.markdown.read_text()
    rows = [row for row in tidy_table(result()).to_pylist() if row["evaluation"] == "speed"]
    assert json.loads(rows[0]["metrics"]) == {"ms": 1.234, "share": 50.0}
    assert rows[0]["top1"] is rows[0]["correct5"] is None and rows[0]["images"] == 10
    alone = sweep(trial("simclr", 0, speed(1.5)), trial("byol", 0, speed(2.5)))
    text = write_report(alone, tmp_path / "alone").html.read_text()
    assert "Speed time (speed/all@1) after pretraining" in text


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("width", [200, 60])
def test_the_terminal_keeps_the_main_metric(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal_table(result()))
    text = console.export_text()
    assert "1.23" in text and all(len(line) <= width for line in text.splitlines())
    assert ("share" in text.split("Hidden for")[0]) == (width == 200)
