"""Stopping a sweep through its store."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from by_hand import wait_for
from scripted import scripted_engine
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import held, holder
from ssl_sweep.orchestrator.store.records import Record
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep import stopping, watch
from ssl_sweep.orchestrator.sweep.place import Place
from ssl_sweep.orchestrator.sweep.stopping import StopRequest, ask_to_stop, heeding_requests, wait_for_end
from steered import Steered, place_of
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOCAL_SECONDS", 0.05)
    monkeypatch.setattr(watch, "LOCAL_SECONDS", 0.05)


class Waits:
    """An engine whose trial runs until it has been asked to stop `times`."""

    def __init__(self, times: int):
        self.begun, self.asked, self.go = threading.Event(), threading.Event(), threading.Event()
        waits, script = self, self.script

        class Engine(scripted_engine(script)):  # type: ignore[misc]
            count = 0

            def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
                withdrawn = InProcessEngine.stop(self, trial_id, state)
                Engine.count += 1
                waits.asked.set()
                if Engine.count == times:
                    waits.go.set()
                return withdrawn

        self.engine = Engine

    def script(self, trial: TrialSpec) -> float:
        self.begun.set()
        assert self.go.wait(60)
        return 50.0


class InThread:
    """Something that another process would do meanwhile; what it raises is raised at its end."""

    def __init__(self, do: Callable[[], None]):
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, args=(do,))
        self.thread.start()

    def _run(self, do: Callable[[], None]) -> None:
        try:
            do()
        except BaseException as error:
            self.errors.append(error)

    def join(self) -> None:
        self.thread.join(60)
        assert not self.errors, self.errors


@pytest.mark.usefixtures("no_tracking")
def test_a_request_stops_a_sweep_like_sigterm(sweep_file: SweepFile) -> None:
    path = sweep_file(seeds=[0, 1], evaluate=[{"name": "knn", "k": 20}])
    place, waits = place_of(path), Waits(times=1)

    def stop() -> None:
        assert waits.begun.wait(60)
        asked = ask_to_stop(place)
        assert asked is not None and asked.driver.pid == os.getpid() and not asked.at_once
        wait_for_end(place, asked.driver)
        assert holder(place.store, place.folder) is None

    other = InThread(stop)
    ran = Steered(path, waits.engine)
    other.join()
    assert ran.outcome.exit_status == 130
    assert "stopping: each trial keeps a checkpoint" in ran.text
    assert ran.states == {0: TrialState.INTERRUPTED, 1: TrialState.WAITING}
    assert ask_to_stop(place) is None

    again = Steered(path, scripted_engine(lambda trial: 50.0))  # whom the old request does not mean
    assert again.outcome.exit_status == 0


@pytest.mark.usefixtures("no_tracking")
def test_a_second_request_ends_it_at_once(sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=[{"name": "knn", "k": 20}])
    place, waits = place_of(path), Waits(times=2)

    def stop() -> None:
        assert waits.begun.wait(60)
        first = ask_to_stop(place)
        assert first is not None and not first.at_once
        assert waits.asked.wait(60)
        second = ask_to_stop(place)
        assert second is not None and second.at_once

    other = InThread(stop)
    ran = Steered(path, waits.engine)
    other.join()
    assert ran.outcome.exit_status == 130
    assert "ending at once; the report follows" in ran.text
    assert holder(place.store, place.folder) is None


@pytest.mark.usefixtures("no_tracking")
def test_two_requests_between_two_looks_end_it_at_once(sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=[{"name": "knn", "k": 20}])
    place, waits = place_of(path), Waits(times=1)

    def stop() -> None:
        assert waits.begun.wait(60)
        driver = holder(place.store, place.folder)
        assert driver is not None
        place.store.write_record(f"{place.folder}/stop.json", StopRequest(lease=driver.id, at_once=True))

    other = InThread(stop)
    ran = Steered(path, waits.engine)
    other.join()
    assert ran.outcome.exit_status == 130 and "ending at once" in ran.text


class Noting(Interrupts):
    def __init__(self) -> None:
        super().__init__()
        self.requests: list[bool] = []

    def request(self, *, at_once: bool) -> None:
        self.requests.append(at_once)


class Counting(Store):
    looks = 0

    def read_record(self, name: str, record: type[Record]) -> Record | None:
        found = super().read_record(name, record)
        self.looks += 1
        return found


@pytest.mark.parametrize("damaged", [False, True], ids=["another", "damaged"])
def test_a_request_for_another_driver_is_ignored(damaged: bool, tmp_path: Path) -> None:
    store, noted = Counting(str(tmp_path)), Noting()
    place = Place(store, "small")
    store.write_record("sweeps/small/stop.json", StopRequest(lease="another", at_once=True))
    if damaged:
        store.write("sweeps/small/stop.json", b"{")
    with heeding_requests(place, "mine", noted):
        wait_for(lambda: store.looks >= 2)
        assert noted.requests == []
        store.write_record("sweeps/small/stop.json", StopRequest(lease="mine"))
        wait_for(lambda: noted.requests)
        looks = store.looks
        wait_for(lambda: store.looks >= looks + 2)
        assert noted.requests == [False]  # once, however long it lies there
        store.write_record("sweeps/small/stop.json", StopRequest(lease="mine", at_once=True))
        wait_for(lambda: noted.requests == [False, True])


def test_the_end_of_a_driver_is_its_own(tmp_path: Path) -> None:
    """Whoever waits for one driver does not wait for the next."""
    place = Place(Store(str(tmp_path)), "small")
    with held(place.store, place.folder) as lease:
        assert lease is not None
        first = lease.holder
    with held(place.store, place.folder):
        wait_for_end(place, first)
