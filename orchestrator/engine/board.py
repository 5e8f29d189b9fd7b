"""The board: jobs that wait, the job that each worker group has, and events on their way to the driver.

One object in one process, so nothing needs a lock. It keeps a trial only until it ends and an event only until it is
delivered, and nothing that the store does not have as well.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from dataclasses import dataclass
from typing import NamedTuple

from ..store.events import StatusChanged
from ..store.fault import Fault
from ..store.trial_state import TrialState
from .batch import Batch
from .beats import Beat, Beats, Hung
from .protocol import Job, Shape


@dataclass
class _Running:
    job: Job
    group: str
    since: float
    """On this process's own clock."""
    stop: TrialState | None = None
    """What it is asked to become."""
    is_preempted: bool = False
    """Whether it is to go on elsewhere."""


class _Waiting(NamedTuple):
    place: int
    """In the queue of all shapes."""
    job: Job


class News(NamedTuple):
    """What the driver has not heard of yet, and what its engine goes by."""

    batches: list[Batch]
    waiting: list[tuple[Shape, int]]
    """Jobs that no group has, by shape; the shape of the one that is next comes first."""
    busy: list[str]
    """Groups that have a job."""
    hung: list[Hung]
    heard: list[str]
    """Groups that have given a sign of life."""


class Board:
    """Worker groups and the driver wait here for each other, without polling."""

    def __init__(self, hang_seconds: float):
        """`hang_seconds`: how long a group with a job may make no progress."""
        self.closed = False
        self.beats = Beats(hang_seconds)
        self._waiting: defaultdict[Shape, deque[_Waiting]] = defaultdict(deque)
        self._first, self._last = 0, 0
        """Places in the queue that are taken next, before all others and after them."""
        self._running: dict[str, _Running] = {}
        self._retired: set[str] = set()
        self._news: list[Batch] = []
        self._jobs_changed = asyncio.Condition()
        self._news_came = asyncio.Event()

    # -- the driver --

    async def submit(self, jobs: list[tuple[Shape, Job]], first: bool = False) -> None:
        """Queue jobs, after all others or before them."""
        for shape, job in reversed(jobs) if first else jobs:
            if first:
                self._first -= 1
                self._waiting[shape].appendleft(_Waiting(self._first, job))
            else:
                self._last += 1
                self._waiting[shape].append(_Waiting(self._last, job))
        await self._wake_groups()

    async def news(self, timeout: float) -> News:
        """What was not delivered before; waits up to `timeout` seconds for an event."""
        if not self._news:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news_came.wait(), timeout)
        news, self._news = self._news, []
        self._news_came.clear()
        queues = sorted(((queue[0].place, shape, len(queue)) for shape, queue in self._waiting.items() if queue))
        waiting = [(shape, count) for _, shape, count in queues]
        groups = [(running.group, running.since) for running in self._running.values()]
        return News(news, waiting, [group for group, _ in groups], self.beats.hung(groups), self.beats.groups)

    async def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those that had not begun and are withdrawn."""
        for running in self._running.values():
            if trial_id in (None, running.job.trial_id):
                running.stop = state
        withdrawn: list[str] = []
        for shape, queue in self._waiting.items():
            withdrawn += [item.job.trial_id for item in queue if trial_id in (None, item.job.trial_id)]
            self._waiting[shape] = deque(item for item in queue if item.job.trial_id not in withdrawn)
        return withdrawn

    async def retire(self, group: str) -> None:
        """The group ends when it asks for its next job."""
        self._retired.add(group)
        await self._wake_groups()

    async def groups_on(self, nodes: set[str]) -> list[str]:
        """Groups that have workers on any of these machines, by Ray's ids."""
        return [group for group in self.beats.groups if self.beats.nodes(group) & nodes]

    async def preempt(self, group: str) -> None:
        """The group loses a machine soon: its trial keeps a checkpoint and goes on elsewhere, and the group ends."""
        for running in self._running.values():
            if running.group == group and running.stop is None:
                running.stop, running.is_preempted = TrialState.INTERRUPTED, True
        await self.retire(group)

    async def lose(self, group: str, fault: Fault, reason: str) -> None:
        """The group's workers have gone, and the attempt at its job with them."""
        self.beats.forget(group)
        for running in [item for item in self._running.values() if item.group == group]:
            if running.stop is not None and not running.is_preempted:
                end = StatusChanged(state=running.stop, reason="stopped after its worker died")
            else:
                end = StatusChanged(state=TrialState.FAILED, reason=reason, fault=fault)
            del self._running[running.job.trial_id]
            self._tell(Batch.of(running.job.trial_id, [end]))

    async def close(self) -> None:
        """Worker groups that ask for a job end."""
        self.closed = True
        await self._wake_groups()

    # -- worker groups --

    async def next_job(self, group: str, shape: Shape, timeout: float, last: Batch | None = None) -> Job | None:
        """The next job of the group's shape; waits up to `timeout`.

        `last`: events of the job before, its end among them.
        """
        if last is not None:
            await self.report(last)
        if any(running.group == group for running in self._running.values()):
            await self.lose(group, Fault.WORKER_DIED, "its worker died")  # it was started again, and nobody told
        async with self._jobs_changed:
            with contextlib.suppress(TimeoutError):
                ready = self._jobs_changed.wait_for(lambda: self._shall_end(group) or self._waiting.get(shape))
                await asyncio.wait_for(ready, timeout)
        if self._shall_end(group) or not self._waiting.get(shape):
            return None
        job = self._waiting[shape].popleft().job
        self._running[job.trial_id] = _Running(job, group, self.beats.now())
        return job

    async def beat(self, group: str, beat: Beat) -> bool:
        """A worker's sign of life; whether it is to log where it is."""
        return self.beats.hear(group, beat)

    async def is_over(self, group: str) -> bool:
        """Whether the group shall end."""
        return self._shall_end(group)

    def _shall_end(self, group: str) -> bool:
        return self.closed or group in self._retired

    async def report(self, batch: Batch) -> None:
        """Events of a running trial. What comes after its end is dropped: ranks that fail together may each report it."""
        running = self._running.get(batch.trial_id)
        if running is None:
            return
        if batch.ends:
            del self._running[batch.trial_id]
            batch = batch.preempted() if running.is_preempted else batch
        self._tell(batch)

    async def stop_requested(self, trial_id: str) -> TrialState | None:
        """What the trial is asked to become."""
        running = self._running.get(trial_id)
        return running.stop if running is not None else None

    def _tell(self, batch: Batch) -> None:
        self._news.append(batch)
        self._news_came.set()

    async def _wake_groups(self) -> None:
        async with self._jobs_changed:
            self._jobs_changed.notify_all()
