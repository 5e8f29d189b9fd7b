"""The board: jobs that wait, the job that each worker group has, and events on their way to the driver.

One object in one process, so nothing needs a lock. It keeps a trial only until it ends and an event only until it is
delivered, and nothing that the store does not have as well.
"""

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass

from ..store.events import StatusChanged
from ..store.trial_state import TrialState
from .batch import Batch
from .protocol import Job


@dataclass
class _Running:
    job: Job
    group: str
    starts: int = 0
    stop: TrialState | None = None
    """What it is asked to become."""


class Board:
    """Worker groups and the driver wait here for each other, without polling."""

    def __init__(self, max_failures: int):
        self.max_failures = max_failures
        self.closed = False
        self._waiting: deque[Job] = deque()
        self._running: dict[str, _Running] = {}
        self._news: list[Batch] = []
        self._jobs_changed = asyncio.Condition()
        self._news_came = asyncio.Event()

    # -- the driver --

    async def submit(self, jobs: list[Job]) -> None:
        """Queue jobs."""
        self._waiting.extend(jobs)
        await self._wake_groups()

    async def news(self, timeout: float) -> list[Batch]:
        """Events that were not delivered before; waits up to `timeout` seconds for one."""
        if not self._news:
            try:
                await asyncio.wait_for(self._news_came.wait(), timeout)
            except TimeoutError:
                return []
        news, self._news = self._news, []
        self._news_came.clear()
        return news

    async def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those that had not begun and are withdrawn."""
        for running in self._running.values():
            if trial_id in (None, running.job.trial_id):
                running.stop = state
        withdrawn = [job.trial_id for job in self._waiting if trial_id in (None, job.trial_id)]
        self._waiting = deque(job for job in self._waiting if job.trial_id not in withdrawn)
        return withdrawn

    async def close(self) -> None:
        """Worker groups that ask for a job end."""
        self.closed = True
        await self._wake_groups()

    # -- worker groups --

    async def next_job(self, group: str, timeout: float, last: Batch | None = None) -> Job | None:
        """The group's own unfinished job if it has one (it comes back from a crash), else the next; waits up to `timeout`.

        `last`: events of the job before, its end among them.
        """
        if last is not None:
            await self.report(last)
        own = next((item for item in self._running.values() if item.group == group), None)
        if own is not None and self._may_start(own):
            return own.job
        async with self._jobs_changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._jobs_changed.wait_for(lambda: self.closed or self._waiting), timeout)
        if self.closed or not self._waiting:
            return None
        job = self._waiting.popleft()
        self._running[job.trial_id] = _Running(job, group, starts=1)
        return job

    async def release(self, group: str) -> None:
        """The group will not come back: its job goes to the front of the queue."""
        for running in [item for item in self._running.values() if item.group == group]:
            if self._may_start(running):
                del self._running[running.job.trial_id]
                self._waiting.appendleft(running.job)
        await self._wake_groups()

    def _may_start(self, running: _Running) -> bool:
        """Whether a job whose workers died is started again; if not, it ends here."""
        trial_id = running.job.trial_id
        if running.stop is not None:
            self._end(trial_id, StatusChanged(state=running.stop, reason="stopped after its worker died"))
            return False
        if running.starts > self.max_failures:
            self._end(
                trial_id, StatusChanged(state=TrialState.FAILED, reason=f"its worker died {running.starts} times")
            )
            return False
        running.starts += 1
        return True

    async def is_closed(self) -> bool:
        """Whether worker groups shall end."""
        return self.closed

    async def report(self, batch: Batch) -> None:
        """Events of a running trial. What comes after its end is dropped: ranks that fail together may each report it."""
        if batch.trial_id in self._running:
            if batch.ends:
                del self._running[batch.trial_id]
            self._tell(batch)

    async def stop_requested(self, trial_id: str) -> TrialState | None:
        """What the trial is asked to become."""
        running = self._running.get(trial_id)
        return running.stop if running is not None else None

    def _end(self, trial_id: str, event: StatusChanged) -> None:
        del self._running[trial_id]
        self._tell(Batch.of(trial_id, [event]))

    def _tell(self, batch: Batch) -> None:
        self._news.append(batch)
        self._news_came.set()

    async def _wake_groups(self) -> None:
        async with self._jobs_changed:
            self._jobs_changed.notify_all()
