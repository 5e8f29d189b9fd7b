"""Attempts at trials: gives them to the engine, and again after a fault, by the one table of `engine.faults`."""

import contextlib
import time
from collections.abc import Callable, Sequence

from ..engine.faults import ALIKE, RULES, Action, FaultPolicy
from ..engine.protocol import Engine, EngineLost, Job, TrialEvent
from ..spec.errors import UserError
from ..store.events import AttemptLost, Event, StatusChanged
from ..store.fault import Fault
from ..store.planned import PlannedTrial
from ..store.trial_state import TrialState

ENGINES = 3
"""How often Ray may be lost without an event between, before a sweep gives up."""
LOST = "Ray was lost"


class Attempts:
    """What the engine has of a sweep. Its events are those of the engine, but for faults: they say what follows from them."""

    def __init__(self, make_engine: Callable[[], Engine], max_failures: int, say: Callable[[str], None]):
        """`make_engine` makes and starts one; called on first need, and again if Ray is lost. `say` tells the user."""
        self.make_engine, self.say = make_engine, say
        self.policy = FaultPolicy(max_failures)
        self.engine: Engine | None = None
        self.jobs: dict[str, Job] = {}
        """Given to the engine and not ended."""
        self.broken: dict[str, str] = {}
        """Methods whose trials end by the same error again and again, with what is said of those that are not begun."""
        self.fatal: str | None = None
        """Why no trial of the sweep can go on."""
        self.stopping = False
        self._methods: dict[str, str] = {}
        """Of `jobs`."""
        self._begun: set[str] = set()
        self._lost = 0

    @property
    def room(self) -> int:
        """How many trials run at once."""
        return 1 if self.engine is None else self.engine.room

    def submit(self, items: Sequence[PlannedTrial]) -> None:
        """Run these trials after all others."""
        if not items:
            return
        jobs = [_job(item) for item in items]
        self._methods |= {item.trial_id: item.trial.method.name for item in items}
        self.jobs |= {job.trial_id: job for job in jobs}
        with contextlib.suppress(EngineLost):  # the next look at the events meets it again, and goes on elsewhere
            self._engine().submit(jobs)

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened; waits up to `timeout` seconds for something.

        Raises:
            UserError: no worker, or no Ray, can be kept running.
        """
        found: list[TrialEvent] = []
        try:
            for trial_id, event in self._engine().events(timeout):
                self._lost = 0
                found += self._seen(trial_id, event)
        except EngineLost as error:
            found += self._go_on_elsewhere(error)
        return found

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those withdrawn before they began. All: none is tried again."""
        self.stopping |= trial_id is None
        try:
            withdrawn = self._engine().stop(trial_id, state)
        except EngineLost:  # as above
            return []
        for name in withdrawn:
            self._forget(name)
        return withdrawn

    def close(self) -> list[str]:
        """Let go of the engine; returns the trials that were running."""
        if self.engine is not None:
            self.engine.close()
            self.engine = None
        return [name for name in self.jobs if name in self._begun]

    def _engine(self) -> Engine:
        if self.engine is None:
            self.engine = self.make_engine()
        return self.engine

    def _seen(self, trial_id: str, event: Event) -> list[TrialEvent]:
        if not isinstance(event, StatusChanged):
            return [TrialEvent(trial_id, event)]
        if event.state is TrialState.RUNNING:
            self._begun.add(trial_id)
        elif event.fault is not None and trial_id in self.jobs:
            return self._after_fault(trial_id, event, event.fault)
        else:
            self._forget(trial_id)
        return [TrialEvent(trial_id, event)]

    def _forget(self, trial_id: str) -> None:
        self.jobs.pop(trial_id, None)
        self._methods.pop(trial_id, None)
        self._begun.discard(trial_id)

    # -- faults --

    def _after_fault(self, trial_id: str, event: StatusChanged, fault: Fault) -> list[TrialEvent]:
        action = self.policy.decide(trial_id, fault)
        if action is Action.STOP_SWEEP:
            self.fatal = self.fatal or event.reason
        if action is not Action.FAIL and (self.stopping or self.fatal):
            self._forget(trial_id)
            return [TrialEvent(trial_id, event.model_copy(update={"state": TrialState.INTERRUPTED}))]
        again = self._again(self.jobs[trial_id], action, fault)
        if again is not None:
            self._begun.discard(trial_id)
            self.jobs[trial_id] = again
            self._engine().submit([again], first=True)
            lost = AttemptLost(fault=fault, reason=event.reason or fault.value, time=event.time or time.time())
            return [TrialEvent(trial_id, lost)]
        method = self._methods[trial_id]
        self._forget(trial_id)
        times = self.policy.times(trial_id, fault)
        more = f" ({times} times)" if times > 1 else ""
        if RULES[fault].action is Action.ENLARGE:
            more = "; no more is to be had: lower `pretrain.batch_size`, or raise `pretrain.accumulate` or `resources.workers`"
        event = event.model_copy(update={"reason": f"{event.reason}{more}"})
        return [TrialEvent(trial_id, event), *self._of_broken_method(method, trial_id, event, fault)]

    def _again(self, job: Job, action: Action, fault: Fault) -> Job | None:
        """The job to try again; None if the trial has failed."""
        if action is Action.ENLARGE:
            return self._engine().larger(job, fault)
        return job if action is Action.RETRY else None

    def _of_broken_method(self, method: str, trial_id: str, event: StatusChanged, fault: Fault) -> list[TrialEvent]:
        """Ends of the trials that are not begun because others of their method ended by the same error."""
        reason = event.reason or ""
        if fault is not Fault.CODE_ERROR or method in self.broken or not self.policy.breaks(method, trial_id, reason):
            return []
        self.broken[method] = f"not begun: {ALIKE} trials of {method} ended by the same error: {reason}"
        self.say(f"no other trial of {method} is begun: {ALIKE} ended by the same error: {reason}")
        ended: list[TrialEvent] = []
        for name in [name for name in self.jobs if self._methods[name] == method and name not in self._begun]:
            ended += [TrialEvent(item, self.not_begun(method)) for item in self.stop(name, TrialState.FAILED)]
        return ended

    def not_begun(self, method: str) -> StatusChanged:
        """The end of a trial of a broken method."""
        return StatusChanged(state=TrialState.FAILED, reason=self.broken[method], time=time.time())

    def _go_on_elsewhere(self, error: EngineLost) -> list[TrialEvent]:
        """Make another engine, and give it all jobs."""
        self._lost += 1
        running = self.close()
        if self._lost > ENGINES:
            raise UserError(f"{LOST} {self._lost} times ({error}); submit again to go on: everything is kept")
        if self.stopping:
            waiting = [name for name in self.jobs if name not in running]
            ended = [*running, *waiting]
            for name in ended:
                self._forget(name)
            return [TrialEvent(name, StatusChanged(state=TrialState.INTERRUPTED, reason=LOST)) for name in ended]
        self.say(f"{LOST} ({error}); it is started or joined again, and trials go on from their checkpoints")
        try:
            engine = self._engine()
        except UserError as again:
            raise UserError(f"{again}; submit again to go on: everything is kept") from None
        self._begun.clear()
        with contextlib.suppress(EngineLost):  # as in `submit`
            engine.submit(list(self.jobs.values()))
        lost = AttemptLost(fault=Fault.ENGINE_LOST, reason=LOST, time=time.time())
        return [TrialEvent(name, lost) for name in running]


def _job(item: PlannedTrial) -> Job:
    trial = item.trial
    return Job(
        item.trial_id,
        trial.model_dump_json(),
        item.prepared.fingerprint,
        trial.resources,
        keep_every=trial.keep_every,
        features=trial.features,
    )
