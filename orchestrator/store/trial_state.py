"""The states of a trial: every table, file and run derives its words from these."""

from enum import StrEnum


class TrialState(StrEnum):
    WAITING = "waiting"
    """Never started."""
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    """Started, and ended by the user, a lost driver or a lost machine; it resumes at its checkpoint."""
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED_EARLY = "stopped_early"
    """Ended by a search, which had seen enough."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is going to happen in this sweep."""
        return self in (TrialState.FINISHED, TrialState.FAILED, TrialState.STOPPED_EARLY)

    @property
    def words(self) -> str:
        """For a reader: ``stopped early``."""
        return self.value.replace("_", " ")

    def may_become(self, other: "TrialState") -> bool:
        """Whether the transition is legal."""
        return other in _NEXT[self]


_BEGUN = frozenset((TrialState.WAITING, TrialState.RUNNING))
_NEXT: dict[TrialState, frozenset[TrialState]] = {
    TrialState.WAITING: frozenset(
        TrialState
    ),  # it may end unstarted: another sweep computed it, no workers could be had
    TrialState.RUNNING: frozenset(TrialState),  # running again: its worker died, and another one continues
    # What has ended changes only by being submitted again: to resume, to retry, or for one more evaluation.
    TrialState.INTERRUPTED: _BEGUN,
    TrialState.FINISHED: _BEGUN,
    TrialState.FAILED: _BEGUN,
    TrialState.STOPPED_EARLY: _BEGUN,
}
