"""One report of several sweeps: each trial once, a column for the sweep, what differs, what cannot be compared."""

import gzip
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.cli.results import report
from ssl_sweep.orchestrator.report import render_table, write_report
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.several import differences_table, merged
from ssl_sweep.orchestrator.report.write import KEPT_RESULT
from ssl_sweep.orchestrator.store.records import SweepResult


def two() -> SweepResult:
    """One trial in both, of which the second has another evaluation too; a rate that is an axis of the second alone."""
    shared = trial("simclr", 0, evaluation(80.0), setting="s", trained_with={"pretrain.optimizer.lr": 0.1})
    again = trial(
        "simclr", 0, evaluation(80.0), evaluation(85.0, "linear"), setting="s", dataset="my name",
        axes={"pretrain.optimizer.lr": 0.1}, trained_with={"pretrain.optimizer.lr": 0.1},
    )  # fmt: skip
    other = trial(
        "simclr", 1, evaluation(82.0), setting="t", axes={"pretrain.optimizer.lr": 0.3},
        trained_with={"pretrain.optimizer.lr": 0.3},
    )  # fmt: skip
    apart = trial("byol", 0, evaluation(70.0), dataset="pets", dataset_fingerprint="xyz", setting="u")
    return merged([sweep(shared, name="first"), sweep(again, other, apart, name="second")], "ssl-sweep report a b")


def test_a_trial_of_both_sweeps_is_counted_once_and_has_all_evaluations() -> None:
    result = two()
    assert [(one.trial_id, one.sweeps) for one in result.trials] == [
        ("simclr-0-s", ("first", "second")), ("simclr-1-t", ("second",)), ("byol-0-u", ("second",)),
    ]  # fmt: skip
    assert [record.name for record in result.trials[0].evaluations] == ["knn", "linear"]


def test_one_table_has_a_column_for_the_sweep() -> None:
    table = render_table(two())[0]
    labels = [column.label for column in table.columns]
    assert table.title == "cifar10" and labels[:2] == ["method", "sweep"] and "lr" in labels
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert [(row[1], row[labels.index("lr")]) for row in rows] == [("first, second", "0.1"), ("second", "0.3")]


def test_differences_and_what_is_not_comparable_are_said() -> None:
    result = two()
    table = differences_table(result, data_tables(result))
    rows = {row.cells[0].text: [cell.text for cell in row.cells[1:]] for row in table.rows}
    assert rows["trials"] == ["1", "3"] and rows["optimizer.lr"] == ["0.1", "0.1, 0.3"]
    assert rows["method"] == ["SimCLR", "BYOL, SimCLR"] and "backbone" not in rows
    assert table.remarks[0] == "1 trial is in several of the sweeps, and counted once."
    assert "Not comparable: data set pets is in second only; it has a table of its own." in table.remarks


def test_a_protocol_of_one_sweep_alone_is_said() -> None:
    a = trial("simclr", 0, evaluation(80.0), setting="s")
    b = trial("byol", 0, evaluation(81.0, settings={"k": 20, "temperature": 0.1}), setting="t")
    result = merged([sweep(a, name="first"), sweep(b, name="second")], "")
    said = [text for text in differences_table(result, data_tables(result)).remarks if text.startswith("Not comp")]
    assert len(said) == 2 and all(
        re.search(r"on cifar10: kNN[¹²] \(knn/lightly@1\) is in \w+ only", text) for text in said
    )


def test_the_command_compares_folders_of_reports(tmp_path: Path) -> None:
    write_report(sweep(trial("simclr", 0, evaluation(80.0), setting="s"), name="first"), tmp_path / "a")
    write_report(sweep(trial("byol", 0, evaluation(81.0), setting="t"), name="second"), tmp_path / "b" / "report")
    done = CliRunner().invoke(report, [str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out" / "report.html").read_text()
    assert "first and second" in text and "No trial is in several of the sweeps." in text
    assert "Differences between the sweeps" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "empty"], "empty: no sweep.json.gz in this folder or in its report/; give a sweep file"),
        (["a", "a"], "a: is given twice; name each sweep once"),
        (["a", "damaged"], "damaged/sweep.json.gz: cannot be read"),
    ],
)
def test_folders_that_cannot_be_compared(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(sweep(trial("simclr", 0, evaluation(80.0))), tmp_path / "a")
    for folder in ("empty", "damaged"):
        (tmp_path / folder).mkdir()
    (tmp_path / "damaged" / KEPT_RESULT).write_bytes(gzip.compress(b"{}")[:-3])
    done = CliRunner().invoke(report, arguments)
    assert done.exit_code == 2 and said in done.output and "Traceback" not in done.output
