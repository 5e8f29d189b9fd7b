"""How each row was trained: the table, the columns of the files, the sweep file."""

import csv
import io
from pathlib import Path

import pyarrow.parquet
from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.tidy import COLUMNS
from ssl_sweep.orchestrator.report.trained import trained_table
from ssl_sweep.orchestrator.store.records import Scalar, SweepResult, TrialResult


def trained(method: str, seed: int, **values: Scalar) -> TrialResult:
    keys: dict[str, Scalar] = {
        "pretrain.optimizer.name": "sgd", "pretrain.optimizer.lr": 0.06, "pretrain.optimizer.weight_decay": 5e-4,
        "pretrain.optimizer.momentum": 0.9,
    }  # fmt: skip
    keys |= {f"method.{key}": value for key, value in values.items()}
    return trial(
        method, seed, evaluation(80.0), setting=f"{method}{values}", crops="2 × 32 px", trained_with=keys,
        weights_file=f"/runs/trials/{method}/backbone.safetensors",
    )  # fmt: skip


def result() -> SweepResult:
    text = "name: demo\nstorage: /runs\n"
    trials = (
        trained("simclr", 0, temperature=0.1),
        trained("simclr", 0, temperature=1),
        trained("byol", 0, momentum=0.99),
    )
    return sweep(*trials, sweep_file=text)


def test_the_table_has_optimizer_rates_views_and_whatever_differs() -> None:
    table = trained_table(data_tables(result())[0])
    labels = [column.label for column in table.columns]
    assert labels == [
        "setting",
        "optimizer",
        "learning rate",
        "weight decay",
        "views",
        "recipe",
        "temperature",
        "weights",
    ]
    rows = [[cell.text for cell in row.cells] for row in table.rows]
    assert rows[0][1:] == [
        "sgd", "0.06", "0.0005", "2 × 32 px", "lightly", "–", "/runs/trials/byol/backbone.safetensors",
    ]  # fmt: skip
    assert [row[6] for row in rows] == ["–", "0.1", "1"]


def test_results_of_earlier_versions_have_no_such_table() -> None:
    assert not trained_table(data_tables(sweep(trial("simclr", 0, evaluation(80.0))))[0]).rows


def test_hyperparameters_are_columns_of_the_files(tmp_path: Path) -> None:
    files = write_report(result(), tmp_path)
    schema = pyarrow.parquet.read_schema(files.parquet)
    assert schema.names[: len(COLUMNS)] == list(COLUMNS)
    assert [(name, str(schema.field(name).type)) for name in schema.names[len(COLUMNS) :]] == [
        ("method.momentum", "double"), ("method.temperature", "double"), ("pretrain.optimizer.lr", "double"),
        ("pretrain.optimizer.momentum", "double"), ("pretrain.optimizer.name", "string"),
        ("pretrain.optimizer.weight_decay", "double"),
    ]  # fmt: skip
    row = next(csv.DictReader(io.StringIO(files.csv.read_text())))
    assert (row["pretrain.optimizer.lr"], row["method.momentum"]) == ("0.06", "") and row["weights_file"]


def test_the_sweep_file_is_in_the_report(tmp_path: Path) -> None:
    files = write_report(result(), tmp_path)
    assert "name: demo\nstorage: /runs" in files.html.read_text()
    assert "```yaml\nname: demo\nstorage: /runs\n```" in files.markdown.read_text()
