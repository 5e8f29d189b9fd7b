"""The driver, with an engine that only says what became of its jobs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.engine.protocol import Job, TrialEvent
from ssl_sweep.orchestrator.search.base import Action, Create
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.events import Event, StatusChanged
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep import driver as driver_module
from ssl_sweep.orchestrator.sweep.driver import Driver

SweepFile = Callable[..., Path]


class OtherSweep:
    """An engine whose trials another sweep computes: it finds them taken, or done when it gets to them."""

    room = 1

    def __init__(self, storage: Path, trials: list[TrialSpec], ends: list[StatusChanged]):
        self.storage, self.trials, self.ends = storage, {trial.seed: trial for trial in trials}, ends
        self.given: list[int] = []
        self.news: list[TrialEvent] = []

    def start(self) -> None:
        pass

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        for job in jobs:
            self.given.append(job.trial.seed)
            carry(self.trials[job.trial.seed], self.storage)
            self.news += [TrialEvent(job.trial_id, event) for event in self.ends]

    def events(self, timeout: float) -> list[TrialEvent]:
        news, self.news = self.news, []
        return news

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        return []

    def close(self) -> None:
        pass


class OneAfterAnother:
    """A search that wants the next trial once it knows how the last one did."""

    def __init__(self, trials: list[TrialSpec]):
        self.left = list(trials)
        self.scores: list[float] = []
        self.running = 0

    def earlier(self) -> list[Create]:
        return []

    def created(self, trial_id: str, trial: TrialSpec) -> None:
        self.running += 1

    def found(self, trial_id: str, status: TrialStatus) -> None:
        (record,) = status.evaluations.values()
        self.scores.append(record.metrics["top1"])
        self.running -= 1

    def more(self, room: int) -> list[Create]:
        return [] if self.running or not self.left else [Create(self.left.pop(0))]

    stops_early = False
    method = "random"

    def keep(self, *, now: bool) -> None:
        pass

    def on_event(self, trial_id: str, event: Event, status: TrialStatus) -> list[Action]:
        return []


TAKEN = [StatusChanged(state=TrialState.WAITING, reason="taken")]
DONE = [StatusChanged(state=TrialState.RUNNING, attempt=2), StatusChanged(state=TrialState.FINISHED)]


@pytest.mark.parametrize("ends", [TAKEN, DONE], ids=["taken", "done"])
def test_what_another_sweep_computes_counts(
    ends: list[StatusChanged], sweep_file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(driver_module, "POLL_SECONDS", 0.0)
    trials = trials_of(sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}], seeds=[0, 1]))
    dataset = trials[0].dataset
    engine, search = OtherSweep(tmp_path / "runs", trials, ends), OneAfterAnother(trials)
    driver = Driver(
        Store(str(tmp_path / "runs")), {dataset: prepare(dataset, data_root())}, lambda: engine, (), Interrupts(), 2
    )
    driver.search([search])
    assert engine.given == [0, 1]
    assert len(search.scores) == 2 and not search.running
    assert {status.state for status in driver.state.trials.values()} == {TrialState.FINISHED}
    assert all(status.pretrain and len(status.evaluations) == 1 for status in driver.state.trials.values())
