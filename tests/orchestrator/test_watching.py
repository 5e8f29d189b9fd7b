"""Looking at a sweep and its trials from elsewhere: its state as it changes, logs, weights."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from by_hand import KNN, TRIAL, SweepByHand
from click.testing import CliRunner
from scripted import scripted_engine
from ssl_sweep.orchestrator.cli import watching
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.store.events import Warned
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import held
from ssl_sweep.orchestrator.store.log_reader import LogReader
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_list import TrialList
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep import watch
from ssl_sweep.orchestrator.sweep.results import write_trials
from ssl_sweep.orchestrator.sweep.watch import until_released
from steered import Steered, place_of
from steered import no_tracking as no_tracking

LABEL = "simclr seed 0"


def ssl_sweep(*arguments: object, expect: int = 0) -> str:
    done = CliRunner().invoke(main, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == expect, done.output
    return done.output if expect else done.stdout  # a warning is on the other stream


def untimed(line: str) -> str:
    """Without the time that it begins with."""
    time.strptime(line[:19], "%Y-%m-%d %H:%M:%S")
    return line[21:]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def listed(sweep: SweepByHand) -> SweepByHand:
    """Whose data set is not here, so that its list alone says what its trials are."""
    write_trials(sweep.spec, [sweep.item], sweep.store)
    return sweep


def test_status_by_name_and_without_the_data(
    listed: SweepByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "elsewhere"))
    storage = listed.store.location
    listed.begin()
    listed.train(last=2)
    for place in (("small", "--storage", storage), (tmp_path / "sweep.yaml",)):
        text = ssl_sweep("status", *place)
        (line,) = [line for line in text.splitlines() if TRIAL in line]
        assert line.split()[:3] == LABEL.split() and "interrupted" in line and "1/2" in line
        (row,) = json.loads(ssl_sweep("status", *place, "--json"))
        assert (row["trial"], row["label"], row["status"]) == (TRIAL, LABEL, "interrupted")
    assert "no sweep in" in ssl_sweep("status", "smal", "--storage", storage, expect=2)


def test_a_watched_sweep_says_what_changes(listed: SweepByHand, monkeypatch: pytest.MonkeyPatch) -> None:
    def steps(store: Store, folder: str) -> Iterator[None]:
        assert folder == "sweeps/small"
        yield
        listed.begin()
        with held(listed.store, listed.folder.folder):
            yield
            listed.train(last=2)
            yield
            listed.tell(3, Warned(message="not a change of its state"))
            yield
        listed.finish()
        yield

    monkeypatch.setattr(watching, "until_released", steps)
    with held(listed.store, "sweeps/small"):
        text = ssl_sweep("status", "small", "--storage", listed.store.location, "--watch")
    first, *lines, last = map(untimed, text.splitlines())
    assert first.startswith("sweep 'small' runs on ") and first.endswith("; 1 trial: 1 waiting")
    name = f"{LABEL} [{TRIAL[-10:]}]"
    assert lines == [
        f"{name}: running, pretrain",
        f"{name}: pretrain epoch 1/2, loss 3.0000",
        f"{name}: finished, knn top-1 44.4 %, top-5 99.0 %",
    ]
    assert last == "sweep 'small' has ended; 1 trial: 1 finished"


def test_to_look_writes_nothing(listed: SweepByHand) -> None:
    listed.run()
    before = contents(Path(listed.store.location))
    place = ("--storage", listed.store.location)
    text = ssl_sweep("status", "small", *place, "--watch")
    assert untimed(text) == "sweep 'small' is not running; 1 trial: 1 finished\n"
    ssl_sweep("logs", LABEL, "-f", *place)
    ssl_sweep("path", LABEL, *place)
    assert contents(Path(listed.store.location)) == before


def test_a_lease_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOCAL_SECONDS", 0.01)
    store, looked = Store(str(tmp_path)), threading.Event()

    def look() -> None:
        for _ in until_released(store, "sweeps/small"):
            looked.set()

    thread = threading.Thread(target=look)
    with held(store, "sweeps/small"):
        thread.start()
        assert looked.wait(60)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()


def test_where_the_weights_are(listed: SweepByHand) -> None:
    place = ("--storage", listed.store.location)
    listed.begin()
    listed.train(last=2)
    text = ssl_sweep("path", "simclr", *place, expect=2)
    assert text == (
        f"error: trial {TRIAL} ({LABEL}) has no weights yet; it is interrupted (pretrain, 1 of 2 epochs done)\n"
    )
    listed.finish()
    assert (
        ssl_sweep("path", TRIAL[-10:], *place) == f"{listed.store.path(listed.folder.name('backbone.safetensors'))}\n"
    )
    assert "no trial 'byol'" in ssl_sweep("path", "byol", *place, expect=2)


def test_a_trial_that_never_began_has_no_log(listed: SweepByHand) -> None:
    text = ssl_sweep("logs", "simclr", "-f", "--storage", listed.store.location, expect=2)
    assert "has no log yet; it is waiting" in text
    listed.run()
    assert ssl_sweep("logs", "simclr", "--storage", listed.store.location) == "epoch 1 of 2\n"


@pytest.mark.parametrize("place", ["disk", "s3"])
def test_a_log_is_read_as_it_grows(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    location = str(tmp_path / "runs") if place == "disk" else request.getfixturevalue("s3_bucket")
    folder = TrialStore(Store(location), TRIAL)
    reader = LogReader(folder)
    assert reader.new() == b""
    folder.add_log(["one", "two"])
    assert reader.new() == b"one\ntwo\n"
    assert reader.new() == b""
    folder.add_log(["three"])
    folder.add_log(["four"])
    assert reader.new() == b"three\nfour\n"


@pytest.mark.usefixtures("no_tracking")
def test_trials_of_a_search_are_listed_while_it_runs(sweep_file: Callable[..., Path]) -> None:
    seen: list[set[str]] = []

    def script(trial: object) -> float:
        listed = place.store.read_record("sweeps/small/trials.json", TrialList)
        assert listed is not None
        running = {name for name in place.store.names("trials") if TrialStore(place.store, name).status().attempts}
        seen.append({item.id for item in listed.trials} - running)
        return 50.0

    search = {"space": {"method.temperature": {"choice": [0.1, 0.2]}}, "algorithm": "grid", "metric": "knn/top1"}
    path = sweep_file(evaluate=KNN, search=search)
    place = place_of(path)
    ran = Steered(path, scripted_engine(script))
    assert len(seen) == 3 and all(seen)
    assert set(ran.states.values()) == {TrialState.FINISHED}
