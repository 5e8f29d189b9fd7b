"""Where a store may lie: MLflow's files are inside it, and commands that only read leave it as it is."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from in_process import carry, trials_of
from mlflow import MlflowClient
from sqlalchemy.engine import make_url
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.tracking.database import sqlite_uri, tracking_uri
from ssl_sweep.orchestrator.tracking.tracker import Tracker

SweepFile = Callable[..., Path]
ODD = "my runs #1 100%25 ü?x=1"


def call(*arguments: object, expect: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.mark.parametrize("name", ["runs", "my runs", "a#b", "100%25", "a?b=1", "ü+%", ODD])
def test_sqlalchemy_opens_the_database_that_is_meant(name: str, tmp_path: Path) -> None:
    path = f"{tmp_path}/{name}/mlflow.db"
    url = make_url(sqlite_uri(path))
    assert (url.database, dict(url.query), url.get_backend_name()) == (path, {}, "sqlite")


def test_mlflow_s_files_lie_in_the_store(sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(storage=ODD)
    spec, _ = load_spec(path)
    store = Store(spec.storage)
    store.write("sweeps/small/sweep.yaml", b"name: small\n")
    uri = tracking_uri(spec, store, path.parent)
    assert Tracker(spec, store, uri).close(TrialState.FINISHED)
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, ODD}
    assert {entry.name for entry in (tmp_path / ODD).iterdir()} == {"sweeps", "mlflow.db", "mlartifacts"}
    with sqlite3.connect(tmp_path / ODD / "mlflow.db") as database:
        ((run, status),) = database.execute("select run_uuid, status from runs")
    database.close()
    assert status == "FINISHED"
    assert [file.path for file in MlflowClient(uri).list_artifacts(run)] == ["sweep.yaml"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"storage": "s3://bucket/runs"}, "sqlite:///{folder}/mlflow.db"),
        ({"tracking": "sqlite:///shared/mlflow.db"}, "sqlite:///{folder}/shared/mlflow.db"),
        ({"tracking": "sqlite:////tmp/mlflow.db"}, "sqlite:////tmp/mlflow.db"),
        ({"tracking": "sqlite:///:memory:"}, "sqlite:///:memory:"),
        ({"tracking": "http://localhost:5000"}, "http://localhost:5000"),
    ],
)
def test_a_database_without_a_whole_path_lies_next_to_the_sweep_file(
    changes: dict[str, str], expected: str, sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    path = sweep_file(**changes)
    spec, _ = load_spec(path)
    monkeypatch.chdir("/")
    assert tracking_uri(spec, Store(spec.storage), path.parent) == expected.format(folder=tmp_path)


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_commands_that_read_leave_the_store_as_it_is(
    sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweep_file(methods=["random", "simclr"], evaluate=[{"name": "knn", "k": 20}], storage="runs")
    call("plan", path)
    assert not (tmp_path / "runs").exists()
    carry(trials_of(path)[0], tmp_path / "runs")
    for folder in (tmp_path / "runs").rglob("*"):
        folder.chmod(0o555 if folder.is_dir() else 0o444)
    (tmp_path / "runs").chmod(0o555)
    before = files(tmp_path)
    elsewhere = tmp_path.parent
    monkeypatch.chdir(elsewhere)
    assert "2 trials, 1 done" in call("plan", path)
    assert "1 of 2 trials finished" in call("status", path)
    assert "0 sweeps" in call("status", "--storage", tmp_path / "runs")
    assert files(tmp_path) == before
    for folder in [tmp_path / "runs", *(tmp_path / "runs").rglob("*")]:
        folder.chmod(0o755)


@pytest.mark.parametrize("command", ["plan", "status", "report"])
def test_a_variable_that_is_not_set_makes_no_folder(command: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(storage="$NO_SUCH_VARIABLE/runs")
    text = call(command, path, expect=2)
    assert "storage: got '$NO_SUCH_VARIABLE/runs'; the environment variable 'NO_SUCH_VARIABLE' is not set" in text
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name}


@pytest.mark.parametrize("command", ["plan", "status", "submit"])
def test_a_place_that_cannot_be_used_is_named(command: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    trials_of(path := sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}]))
    carry(trials_of(path)[0], tmp_path / "runs")  # so that the data is prepared
    (tmp_path / "file").touch()
    path = sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}], storage="file/runs")
    text = call(command, path, expect=2)
    assert text.startswith(f"error: storage '{tmp_path}/file/runs' cannot be used: Not a directory")
    assert len(text.splitlines()) == 1
