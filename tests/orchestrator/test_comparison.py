"""`diff` and `export`."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from by_hand import KNN
from click.testing import CliRunner
from scripted import scripted_engine
from ssl_sweep.orchestrator.cli.main import main
from steered import Steered
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]


def ssl_sweep(*arguments: object, expect: int = 0) -> bytes:
    done = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == expect, done.output
    return done.stdout_bytes if expect == 0 else done.output.encode()


def differences(*arguments: object) -> list[tuple[str, str, str, str]]:
    return [tuple(item.values()) for item in json.loads(ssl_sweep("diff", *arguments, "--json"))]


@pytest.mark.usefixtures("no_tracking")
def test_two_trials(sweep_file: SweepFile, tmp_path: Path) -> None:
    content: dict[str, Any] = {"evaluate": KNN, "seeds": [0, 1], "grid": {"method.temperature": [0.1, 0.2]}}
    path = sweep_file(**content)
    Steered(path, scripted_engine(lambda trial: "fails" if trial.seed else trial.method.temperature * 100))
    place = ("--storage", tmp_path / "runs")
    found = differences("temperature=0.1 seed 0", "temperature=0.2 seed 1", *place)
    assert found[:2] == [("", "method.temperature", "0.1", "0.2"), ("", "seed", "0", "1")]
    assert found[2][:3] == ("", "state", "finished") and found[2][3].startswith("failed: ValueError: no")
    assert [(key.split()[-1], a, b) for _, key, a, b in found[3:]] == [("top1", "10.00", "–"), ("top5", "99.00", "–")]
    text = ssl_sweep("diff", "temperature=0.1 seed 0", "temperature=0.2 seed 1", *place).decode()
    assert "method.temperature" in text and "A: simclr-" in text


def test_two_sweep_files(sweep_file: SweepFile) -> None:
    methods = ["simclr", "byol"]
    first = sweep_file(methods=methods)
    other = sweep_file(
        "other.yaml",
        methods=["simclr", {"name": "byol", "momentum": 0.5}, "random"],
        seeds=[0, 1],
        pretrain={"epochs": 3, "batch_size": 32},
    )
    found = differences(first, other)
    assert ("", "seeds", "[0]", "[0, 1]") in found
    assert ("", "pretrain.epochs", "2", "3") in found  # alike in all rows, so it is there once
    assert [item for item in found if item[1] == "pretrain.epochs"] == [("", "pretrain.epochs", "2", "3")]
    assert [item for item in found if item[0] == "byol"] == [("byol", "method.momentum", found[-2][2], "0.5")]
    assert found[-1] == ("random", "row", "–", "yes")
    assert ssl_sweep("diff", first, first) == b"no setting differs\n"
    assert b"is a file, and the other one is not" in ssl_sweep("diff", first, "simclr", expect=2)


@pytest.mark.usefixtures("no_tracking")
def test_export(sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(evaluate=KNN, seeds=[0, 1])
    Steered(path, scripted_engine(lambda trial: "fails" if trial.seed else 50.0))
    rows = list(csv.DictReader(io.StringIO(ssl_sweep("export", path).decode())))
    assert [(row["seed"], row["status"], row["top1"]) for row in rows] == [("0", "finished", "50"), ("1", "failed", "")]
    parsed = json.loads(ssl_sweep("export", path, "--format", "json"))
    assert [(row["seed"], row["status"], row["top1"]) for row in parsed] == [(0, "finished", 50.0), (1, "failed", None)]
    out = tmp_path / "results.parquet"
    assert ssl_sweep("export", path, "--format", "parquet", "-o", out).decode() == f"results    {out}\n"
    assert pq.read_table(out).column("top1").to_pylist() == [50.0, None]
    assert pq.read_table(io.BytesIO(ssl_sweep("export", path, "--format", "parquet"))).num_rows == 2
    assert b"cannot be written" in ssl_sweep("export", path, "-o", tmp_path / "no/where.csv", expect=2)
