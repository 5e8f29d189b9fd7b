"""The board: trials that wait, the trial that each gang has, what the trials report, and who is asked to stop.

One plain object in one process, so nothing needs a lock. Gangs (groups of workers that stay) ask it for work; searchers
and the command line read what comes back. It keeps nothing that the store does not have as well.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Status = Literal["waiting", "running", "finished", "failed", "stopped"]
ENDED: tuple[Status, ...] = ("finished", "failed", "stopped")


class Job(NamedTuple):
    """One trial to do, as it travels to a gang."""

    trial_id: str
    trial: dict[str, Any]  # a TrialSpec as JSON: classes of methods may differ between processes, data does not
    fingerprint: str


@dataclass
class _Entry:
    job: Job
    status: Status = "waiting"
    reason: str | None = None
    gang: str | None = None
    attempts: int = 0
    stop: bool = False
    events: list[dict[str, Any]] = field(default_factory=list)


class Board:
    """All calls are short; whoever waits asks again."""

    def __init__(self, max_failures: int):
        self.max_failures = max_failures
        self.entries: dict[str, _Entry] = {}
        self.news_log: list[tuple[str, dict[str, Any]]] = []
        self.tags: dict[str, str] = {}
        self.closed = False
        self.stopping = False

    # -- searchers --

    def put(self, job: Job, tag: str | None = None) -> None:
        """Add a trial that waits for a gang; `tag` is what Tune calls it. One that is there already stays as it is."""
        if tag is not None:
            self.tags[tag] = job.trial_id
        if job.trial_id in self.entries:
            return
        self.entries[job.trial_id] = _Entry(job)
        self._tell(job.trial_id, {"kind": "status", "status": "waiting", "trial": job.trial})
        if self.stopping:
            self._end(self.entries[job.trial_id], "stopped", "not started")

    def outcome(self, trial_id: str, seen: int) -> tuple[Status, list[dict[str, Any]]]:
        """A trial's status and its events after the first `seen`."""
        entry = self.entries[trial_id]
        return entry.status, entry.events[seen:]

    # -- gangs --

    def lease(self, gang: str) -> Job | None:
        """The gang's own unfinished trial if it has one (it comes back from a crash), else the next that waits."""
        for entry in self.entries.values():
            if entry.gang == gang and entry.status == "running":
                return self._start(entry) or self.lease(gang)
        for entry in self.entries.values():
            if entry.status == "waiting":
                entry.gang = gang
                return self._start(entry) or self.lease(gang)
        return None

    def _start(self, entry: _Entry) -> Job | None:
        if entry.attempts > self.max_failures:
            self._end(entry, "failed", f"its worker died {entry.attempts} times")
            return None
        if entry.stop:
            self._end(entry, "stopped", "stopped after its worker died")
            return None
        entry.attempts += 1
        entry.status = "running"
        self._tell(entry.job.trial_id, {"kind": "status", "status": "running", "attempt": entry.attempts})
        return entry.job

    def report(self, trial_id: str, event: dict[str, Any]) -> None:
        self.entries[trial_id].events.append(event)
        self._tell(trial_id, event)

    def finish(self, trial_id: str, status: Status, reason: str | None) -> None:
        """A gang is done with a trial. The first word counts: ranks that fail together all call."""
        if self.entries[trial_id].status not in ENDED:
            self._end(self.entries[trial_id], status, reason)

    def stop_requested(self, trial_id: str) -> bool:
        return self.entries[trial_id].stop

    def is_closed(self) -> bool:
        return self.closed

    # -- the driver --

    def news(self, seen: int) -> list[tuple[str, dict[str, Any]]]:
        """Everything that was reported after the first `seen` reports, in order, with its trial."""
        return self.news_log[seen:]

    def stop(self, trial_id: str | None = None) -> None:
        """Ask one trial, or all, to keep a checkpoint and end; those that wait end now."""
        self.stopping |= trial_id is None
        for entry in self.entries.values():
            if trial_id not in (None, entry.job.trial_id):
                continue
            entry.stop = True
            if entry.status == "waiting":
                self._end(entry, "stopped", "not started")

    def stop_tagged(self, tag: str) -> None:
        """Stop the trial that Tune calls `tag`."""
        if tag in self.tags:
            self.stop(self.tags[tag])

    def close(self) -> None:
        """Gangs that find no trial go home."""
        self.closed = True

    def _end(self, entry: _Entry, status: Status, reason: str | None) -> None:
        entry.status, entry.reason = status, reason
        self._tell(entry.job.trial_id, {"kind": "status", "status": status, "reason": reason})

    def _tell(self, trial_id: str, event: dict[str, Any]) -> None:
        self.news_log.append((trial_id, event))
