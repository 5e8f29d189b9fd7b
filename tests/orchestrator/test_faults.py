"""What follows when an attempt ends by a fault: retries within budgets, more memory, a method or a sweep that ends."""

from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine.faults import RULES, Action, FaultPolicy
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.engine.protocol import TrialEvent
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.events import AttemptLost, StatusChanged
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.attempts import ENGINES, Attempts
from ssl_sweep.orchestrator.sweep.driver import Driver
from told_engine import ToldEngine

SweepFile = Callable[..., Path]
RUNNING = StatusChanged(state=TrialState.RUNNING, attempt=1)
FINISHED = StatusChanged(state=TrialState.FINISHED)


def failed(fault: Fault, reason: str = "why") -> StatusChanged:
    return StatusChanged(state=TrialState.FAILED, reason=reason, fault=fault)


class Engine(ToldEngine):
    def begin(self) -> str:
        """The next job runs."""
        name = self.waiting.pop(0).trial_id
        self.news.append(TrialEvent(name, RUNNING))
        return name


class Scene:
    def __init__(self, items: list[PlannedTrial]):
        self.engines: list[Engine] = []
        self.said: list[str] = []
        self.items = items
        self.gone = False
        self.attempts = Attempts(self.make, 2, self.said.append)
        self.attempts.submit(items)

    def make(self) -> Engine:
        if self.gone:
            raise UserError("no Ray cluster at 'host:6379': Connection refused")
        self.engines.append(Engine())
        return self.engines[-1]

    @property
    def engine(self) -> Engine:
        return self.engines[-1]

    def meet(self, fault: Fault, reason: str = "why") -> list[TrialEvent]:
        """The next job begins, and ends by a fault; what is told after it began."""
        self.engine.tell(self.engine.begin(), failed(fault, reason))
        return self.attempts.events(0)[1:]


@pytest.fixture
def scene(sweep_file: SweepFile) -> Scene:
    trials = trials_of(sweep_file(methods=["random", "simclr"], seeds=[0, 1, 2, 3, 4]))
    prepared = prepare(trials[0].dataset, data_root())
    return Scene([PlannedTrial(f"{trial.method.name}-{trial.seed}", trial, prepared) for trial in trials])


def test_every_fault_has_a_rule() -> None:
    assert set(RULES) == set(Fault)


def test_budgets_are_of_one_trial_and_one_kind_of_fault() -> None:
    policy = FaultPolicy(max_failures=1)
    assert policy.decide("a", Fault.WORKER_DIED) is Action.RETRY
    assert policy.decide("a", Fault.NODE_LOST) is Action.RETRY
    assert policy.decide("b", Fault.WORKER_DIED) is Action.RETRY
    assert policy.decide("a", Fault.WORKER_DIED) is Action.FAIL
    assert all(policy.decide("a", Fault.PREEMPTED) is Action.RETRY for _ in range(100))
    assert FaultPolicy(0).decide("a", Fault.WORKER_DIED) is Action.FAIL


def test_a_trial_whose_worker_died_goes_on_before_the_others_until_its_budget_is_spent(scene: Scene) -> None:
    for _ in range(2):
        ((name, event),) = scene.meet(Fault.WORKER_DIED, "its worker died")
        assert name == "random-0"
        assert isinstance(event, AttemptLost) and event.reason == "its worker died"
    ((_, event),) = scene.meet(Fault.WORKER_DIED, "its worker died")
    assert isinstance(event, StatusChanged) and event.reason == "its worker died (3 times)"
    assert "random-0" not in scene.attempts.jobs and scene.engine.begin() == "random-1"


def test_a_trial_that_ran_out_of_memory_gets_more_once(scene: Scene) -> None:
    ((_, event),) = scene.meet(Fault.OUT_OF_MEMORY)
    assert isinstance(event, AttemptLost) and scene.engine.waiting[0].alone
    ((_, event),) = scene.meet(Fault.OUT_OF_MEMORY)
    assert isinstance(event, StatusChanged) and "lower `pretrain.batch_size`" in (event.reason or "")


def test_three_errors_alike_end_a_method_and_no_other(scene: Scene) -> None:
    assert len(scene.meet(Fault.CODE_ERROR, "ValueError: a")) == 1
    assert len(scene.meet(Fault.CODE_ERROR, "ValueError: b")) == 1
    assert len(scene.meet(Fault.CODE_ERROR, "ValueError: a")) == 1
    told = scene.meet(Fault.CODE_ERROR, "ValueError: a")
    assert [name for name, _ in told] == ["random-3", "random-4"]
    _, last = told[-1]
    assert isinstance(last, StatusChanged) and last.state is TrialState.FAILED
    assert last.reason == "not begun: 3 trials of random ended by the same error: ValueError: a"
    assert set(scene.attempts.jobs) == {f"simclr-{seed}" for seed in range(5)}
    assert scene.attempts.broken.keys() == {"random"} and len(scene.said) == 1


def test_nothing_is_kept_of_trials_that_ended(scene: Scene) -> None:
    for _ in range(3):
        scene.meet(Fault.CODE_ERROR)
    for _ in range(5):
        scene.engine.tell(scene.engine.begin(), FINISHED)
        scene.attempts.events(0)
    assert scene.attempts.jobs == {} and scene.attempts._methods == {} and not scene.attempts._begun


def test_numbers_that_are_not_finite_say_nothing_of_the_method(scene: Scene) -> None:
    for _ in range(4):
        assert len(scene.meet(Fault.DIVERGED, "the loss is not finite")) == 1
    assert not scene.attempts.broken


def test_a_full_store_ends_the_sweep_and_no_trial(scene: Scene) -> None:
    ((_, event),) = scene.meet(Fault.STORE_FULL, "storage 'x' cannot be used: No space left on device")
    assert isinstance(event, StatusChanged) and event.state is TrialState.INTERRUPTED
    assert scene.attempts.fatal == "storage 'x' cannot be used: No space left on device"


def test_nothing_is_tried_again_while_the_sweep_stops(scene: Scene) -> None:
    name = scene.engine.begin()
    assert len(scene.attempts.stop(None, TrialState.INTERRUPTED)) == 9
    scene.engine.tell(name, failed(Fault.WORKER_DIED))
    _, (_, event) = scene.attempts.events(0)
    assert isinstance(event, StatusChanged) and event.state is TrialState.INTERRUPTED and not scene.attempts.jobs


def test_a_lost_ray_is_started_again_with_all_that_is_left(scene: Scene) -> None:
    scene.engine.tell(scene.engine.begin(), FINISHED)
    scene.engine.begin()
    scene.attempts.events(0)
    scene.engine.lost = True
    ((name, event),) = scene.attempts.events(0)
    assert name == "random-1" and isinstance(event, AttemptLost) and event.fault is Fault.ENGINE_LOST
    assert len(scene.engines) == 2 and len(scene.engine.waiting) == 9
    assert scene.engine.begin() == "random-1"


def test_a_ray_that_is_lost_again_and_again_ends_the_sweep(scene: Scene) -> None:
    with pytest.raises(UserError, match="submit again to go on: everything is kept"):
        for _ in range(ENGINES + 1):
            scene.engine.lost = True
            scene.attempts.events(0)
    assert len(scene.engines) == ENGINES + 1


def test_a_ray_that_is_lost_while_the_sweep_stops_is_not_started_again(scene: Scene) -> None:
    scene.engine.begin()
    scene.attempts.events(0)
    scene.attempts.stop(None, TrialState.INTERRUPTED)
    scene.engine.lost = True
    ((name, event),) = scene.attempts.events(0)
    assert name == "random-0" and isinstance(event, StatusChanged) and event.state is TrialState.INTERRUPTED
    assert len(scene.engines) == 1 and not scene.attempts.jobs


def test_a_cluster_that_does_not_come_back_ends_the_sweep(scene: Scene) -> None:
    name = scene.engine.begin()
    scene.attempts.events(0)
    scene.engine.lost = scene.gone = True
    with pytest.raises(UserError, match="Connection refused; submit again to go on: everything is kept"):
        scene.attempts.events(0)
    assert scene.attempts.close() == [name]  # whose end is then recorded: no worker is left to do so


def test_a_status_remembers_its_restarts() -> None:
    status = TrialStatus().apply(RUNNING).apply(AttemptLost(fault=Fault.HUNG, reason="rank 1 hung", time=5.0))
    assert status.state is TrialState.INTERRUPTED
    status = status.apply(RUNNING.model_copy(update={"attempt": 2})).apply(FINISHED)
    assert status.attempts == 2
    assert [(item.fault, item.reason, item.time) for item in status.restarts] == [(Fault.HUNG, "rank 1 hung", 5.0)]


def test_an_engine_that_cannot_start_is_closed(tmp_path: Path) -> None:
    closed: list[bool] = []

    class Refuses(Engine):
        def start(self) -> None:
            raise UserError("no node fits")

        def close(self) -> None:
            closed.append(True)

    driver = Driver(Store(str(tmp_path)), {}, Refuses, (), Interrupts(), 2)
    with pytest.raises(UserError, match="no node fits"):
        driver.attempts.make_engine()
    assert closed == [True]
