"""An engine without workers: it keeps what it is given, and tells what it is told to."""

from ssl_sweep.orchestrator.engine.protocol import EngineLost, Job, TrialEvent
from ssl_sweep.orchestrator.store.events import Event
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.trial_state import TrialState


class ToldEngine:
    room = 1

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.news: list[TrialEvent] = []
        self.lost = False

    def start(self) -> None: ...

    def close(self) -> None: ...

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        self.waiting = [*jobs, *self.waiting] if first else [*self.waiting, *jobs]

    def larger(self, job: Job, fault: Fault) -> Job | None:
        return None if job.alone else job._replace(alone=True)

    def events(self, timeout: float) -> list[TrialEvent]:
        if self.lost:
            raise EngineLost("the head has gone")
        news, self.news = self.news, []
        return news

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        withdrawn = [job.trial_id for job in self.waiting if trial_id in (None, job.trial_id)]
        self.waiting = [job for job in self.waiting if job.trial_id not in withdrawn]
        return withdrawn

    def tell(self, trial_id: str, event: Event) -> None:
        self.news.append(TrialEvent(trial_id, event))
