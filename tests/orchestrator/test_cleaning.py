"""What a store holds, and what may go: `du`, `rm`, `gc`."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from by_hand import TRIAL, SweepByHand
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import ViewType
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.cli.storage import size
from ssl_sweep.orchestrator.search.points import Point, Points
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import held
from ssl_sweep.orchestrator.store.trial_list import ListedTrial, TrialList
from ssl_sweep.orchestrator.sweep.cleaning import collect_garbage, find_garbage
from ssl_sweep.orchestrator.sweep.results import write_trials
from ssl_sweep.orchestrator.tracking import removal
from ssl_sweep.orchestrator.tracking.ledger import Ledger

ONE, SHARED, TWO, POINT, ALONE = (f"simclr-{name}-0123456789" for name in ("one", "shared", "two", "point", "alone"))
DAY = 24 * 3600.0


class Shelf:
    """A store with two sweeps that share a trial, and a trial that no sweep uses; each trial takes 1000 bytes."""

    def __init__(self, location: Path):
        self.store = Store(str(location))
        for name in (ONE, SHARED, TWO, POINT, ALONE):
            self.store.write(f"trials/{name}/trial.json", bytes(1000))
        self.list("one", [ONE, SHARED, "simclr-never-began"])
        self.list("two", [SHARED, TWO])
        points = Points(points=(Point(trial_id=POINT, values={}),))
        self.store.write_record("sweeps/two/search.json", points)

    def list(self, sweep: str, trials: Iterable[str]) -> None:
        listed = tuple(ListedTrial(id=name, trial={}) for name in trials)
        self.store.write_record(f"sweeps/{sweep}/trials.json", TrialList(trials=listed))

    def size(self, sweep: str) -> int:
        return sum(file.bytes for file in self.store.walk(f"sweeps/{sweep}"))

    @property
    def trials(self) -> set[str]:
        return set(self.store.names("trials"))

    def ssl_sweep(self, *arguments: str, expect: int = 0, answer: str | None = None) -> str:
        command = [*arguments, "--storage", self.store.location]
        done = CliRunner().invoke(main, command, input=answer, catch_exceptions=False)
        assert done.exit_code == expect, done.output
        return done.output


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "runs")


def test_gc_deletes_features_if_it_is_asked_to(shelf: Shelf) -> None:
    """Of trials that sweeps use; nothing but the features, and not of what runs."""
    for trial in (ONE, TWO):
        shelf.store.write(f"trials/{trial}/features/key-test-00000.arrow", bytes(300))
    assert {item.kind for item in find_garbage(shelf.store)} == {"trial"}
    with held(shelf.store, f"trials/{ONE}"):
        assert "freed      1.3 kB" in shelf.ssl_sweep("gc", "--features", "--yes")
    assert shelf.store.names(f"trials/{ONE}/features") and not shelf.store.names(f"trials/{TWO}/features")
    assert shelf.store.exists(f"trials/{TWO}/trial.json")


def test_du_says_what_each_sweep_takes(shelf: Shelf) -> None:
    one, two = shelf.size("one"), shelf.size("two")
    shelf.store.write(f"trials/{TWO}/features/key-test-00000.arrow", bytes(300))
    assert json.loads(shelf.ssl_sweep("du", "--json")) == [
        {"sweep": "one", "trials": 2, "bytes": one + 2000, "frees": one + 1000, "features": 0},
        {"sweep": "two", "trials": 3, "bytes": two + 3300, "frees": two + 2300, "features": 300},
        {"sweep": None, "trials": 1, "bytes": 1000, "frees": 1000, "features": 0},
    ]
    lines = shelf.ssl_sweep("du").splitlines()
    rows = [line.split() for line in lines]
    assert ["sweep", "trials", "size", "frees", "features"] in rows
    assert ["(no", "sweep)", "1", "1.0", "kB", "1.0", "kB", "0", "B"] in rows
    assert lines[-1] == f"{size(one + two + 5300)} in {shelf.store.location}"


def test_rm_keeps_what_another_sweep_uses(shelf: Shelf) -> None:
    text = shelf.ssl_sweep("rm", "one", expect=1, answer="n\n")
    assert "1 trial; 1 more are used by other sweeps and stay" in text
    assert shelf.trials == {ONE, SHARED, TWO, POINT, ALONE}
    shelf.ssl_sweep("rm", "one", answer="y\n")
    assert shelf.trials == {SHARED, TWO, POINT, ALONE}
    assert shelf.store.names("sweeps") == ["two"]
    shelf.ssl_sweep("rm", "two", "--yes")
    assert shelf.trials == {ALONE}
    assert shelf.store.names("sweeps") == []
    assert "which has none" in shelf.ssl_sweep("rm", "two", "--yes", expect=2)


def test_rm_refuses_what_runs(shelf: Shelf) -> None:
    with held(shelf.store, "sweeps/one"):
        assert "is running on" in shelf.ssl_sweep("rm", "one", "--yes", expect=2)
    with held(shelf.store, f"trials/{ONE}"):  # by a sweep that has not listed it
        assert f"kept       trial {ONE}, which is running" in shelf.ssl_sweep("rm", "one", "--yes")
    assert shelf.trials == {ONE, SHARED, TWO, POINT, ALONE}


def test_gc_deletes_what_no_sweep_uses(shelf: Shelf) -> None:
    shelf.store.write("trials/not-ours/notes.txt", b"of another program")
    (row,) = json.loads(shelf.ssl_sweep("gc", "--dry-run", "--json"))
    assert row == {"kind": "trial", "where": f"trials/{ALONE}", "files": 1, "bytes": 1000}
    assert "Aborted" in shelf.ssl_sweep("gc", expect=1, answer="n\n")
    with held(shelf.store, f"trials/{ALONE}"):
        assert "nothing to delete" in shelf.ssl_sweep("gc", "--yes")
    assert ALONE in shelf.trials
    assert "freed      1." in shelf.ssl_sweep("gc", "--yes")
    assert shelf.trials == {ONE, SHARED, TWO, POINT, "not-ours"}


def test_gc_deletes_nothing_while_a_list_is_damaged(shelf: Shelf) -> None:
    shelf.store.write("sweeps/two/trials.json", b"{")
    for command in (("gc", "--yes"), ("rm", "one", "--yes"), ("du",)):
        assert "trials.json is damaged, so it is not known" in shelf.ssl_sweep(*command, expect=2)
    assert shelf.trials == {ONE, SHARED, TWO, POINT, ALONE}


def test_gc_deletes_what_crashes_have_left(sweep: SweepByHand) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    (config,) = sweep.item.trial.evaluate
    folder, root = sweep.folder, Path(sweep.store.location)
    folder.save_checkpoint(4, b"of the pretraining")
    folder.evaluation_checkpoints(config).save(1, b"of an evaluation that is done")
    other = f"{folder.folder}/evaluations/checkpoints/linear-mae@1-0123456789/000000001-0.pt"
    sweep.store.write(other, b"of one that goes on")
    new, old = (root / f"trials/{TRIAL}/{name}.tmp" for name in ("new", "old"))
    for path in (new, old):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * DAY,) * 2)
    done = CliRunner().invoke(main, ["gc", "--yes", "--storage", str(root)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert folder.checkpoint() is None and folder.evaluation_checkpoints(config).newest() is None
    assert sweep.store.exists(other)
    assert new.exists() and not old.exists()
    assert folder.backbone() == b"weights" and folder.status().state == "finished"


def test_checkpoints_of_an_interrupted_trial_stay(sweep: SweepByHand) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.begin()
    sweep.train(last=2)
    sweep.folder.save_checkpoint(2, b"to resume from")
    done = CliRunner().invoke(main, ["gc", "--yes", "--storage", sweep.store.location], catch_exceptions=False)
    assert "nothing to delete" in done.output
    assert sweep.folder.checkpoint() == b"to resume from"


def test_what_members_of_a_population_keep_for_others_stays_while_their_sweep_runs(sweep: SweepByHand) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    sweep.folder.keep_checkpoint(2, b"for others")
    with held(sweep.store, f"sweeps/{sweep.spec.name}"):
        assert find_garbage(sweep.store) == []
    assert collect_garbage(sweep.store, find_garbage(sweep.store))
    assert sweep.folder.kept_checkpoint(2) is None


def test_rm_moves_the_runs_to_mlflow_s_trash(sweep: SweepByHand) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    assert sweep.track()
    parent, child = sweep.runs
    done = CliRunner().invoke(main, ["rm", "small", "--yes", "--storage", sweep.store.location], catch_exceptions=False)
    assert "2 runs moved to its trash" in done.output
    client = MlflowClient(sweep.uri)
    left = client.search_runs([parent.info.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert {run.info.run_id for run in left} == {parent.info.run_id, child.info.run_id}
    assert sweep.store.names("trials") == [] and sweep.store.exists("mlflow.db")


def test_rm_does_without_mlflow(sweep: SweepByHand) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    assert sweep.track()
    Path(sweep.store.path("mlflow.db")).write_bytes(b"no database" * 1000)
    done = CliRunner().invoke(main, ["rm", "small", "--yes", "--storage", sweep.store.location], catch_exceptions=False)
    assert done.exit_code == 0 and "stay: " in done.output
    assert sweep.store.names("sweeps") == []


WITH_PASSWORD = b"name: small\ntracking: postgresql://me:${DB_PASSWORD}@db/mlflow\n"


@pytest.fixture
def reached(sweep: SweepByHand, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses of MLflow at which runs are looked for, of a sweep whose MLflow has a password."""
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    sweep.store.write("sweeps/small/sweep.yaml", WITH_PASSWORD)
    sweep.store.write_record(Ledger.name("small"), Ledger(uri="postgresql://me:***@db/mlflow", parent="1"))
    found: list[str] = []
    monkeypatch.setattr(removal, "_runs", lambda uri, *_: found.append(uri) or [])
    return found


def test_rm_takes_mlflow_s_password_from_its_variable(
    sweep: SweepByHand, reached: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB_PASSWORD", "open-sesame")
    command = ["rm", "small", "--yes", "--storage", sweep.store.location]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert reached == ["postgresql://me:open-sesame@db/mlflow"]
    assert "0 runs moved to its trash" in done.output and "sesame" not in done.output


def test_rm_says_before_it_asks_that_the_password_is_missing(sweep: SweepByHand, reached: list[str]) -> None:
    command = ["rm", "small", "--storage", sweep.store.location]
    text = CliRunner().invoke(main, command, input="n\n", catch_exceptions=False).output
    missing = "the store does not keep its password, and the environment variable 'DB_PASSWORD' is not set"
    assert f"its runs would stay there: {missing}" in text and sweep.store.names("sweeps") == ["small"]
    sweep.store.write("sweeps/small/sweep.yaml", WITH_PASSWORD.replace(b"${DB_PASSWORD}@db", b"x@other"))
    text = CliRunner().invoke(main, [*command, "--yes"], catch_exceptions=False).output
    assert "runs at postgresql://me:***@db/mlflow stay: the store does not keep its password, nor does" in text
    assert reached == [] and sweep.store.names("sweeps") == []


def test_sizes_are_in_decimal_units() -> None:
    assert [size(n) for n in (0, 999, 1000, 123_456, 999_700, 2 * 10**9, 10**15)] == [
        "0 B", "999 B", "1.0 kB", "123 kB", "1.0 MB", "2.0 GB", "1000.0 TB",
    ]  # fmt: skip
