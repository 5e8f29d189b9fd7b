"""Signs of life of the worker groups, and which of those that have a job have hung."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

SILENT_SECONDS = 120.0
"""Without a sign of life a worker has hung, even where progress may take longer: a thread of its own gives it."""
BEATS = 12
"""Signs of life in the time that is allowed without one."""


class Beat(NamedTuple):
    """What a worker says of itself, every few seconds."""

    rank: int
    node: str
    """Ray's id of the machine."""
    actor: Any
    """Ray's handle of the process."""
    idle_seconds: float
    """Since it last met the other ranks."""


class Hung(NamedTuple):
    """A worker group that is to be ended."""

    group: str
    reason: str
    actors: list[Any]


class _Heard(NamedTuple):
    beat: Beat
    at: float


def silent_seconds(hang_seconds: float) -> float:
    """How long a worker may give no sign of life, if `hang_seconds` may pass without progress."""
    return min(SILENT_SECONDS, hang_seconds)


class Beats:
    """The latest sign of life of each worker. Times are those of this process: clocks of machines need not agree."""

    def __init__(self, hang_seconds: float, now: Callable[[], float] = time.monotonic):
        """`hang_seconds`: how long a group with a job may make no progress."""
        self.hang_seconds, self.now = hang_seconds, now
        self._heard: dict[str, dict[int, _Heard]] = {}
        self._suspected: dict[str, float] = {}
        """Since when."""

    def hear(self, group: str, beat: Beat) -> bool:
        """Take in a sign of life; whether the worker is to say where it is, because its group seems to have hung."""
        self._heard.setdefault(group, {})[beat.rank] = _Heard(beat, self.now())
        return group in self._suspected

    def forget(self, group: str) -> None:
        """Its workers have gone."""
        self._heard.pop(group, None)
        self._suspected.pop(group, None)

    @property
    def groups(self) -> list[str]:
        """Those that have been heard."""
        return list(self._heard)

    def nodes(self, group: str) -> set[str]:
        """The machines of a group, as far as its workers have told."""
        return {heard.beat.node for heard in self._heard.get(group, {}).values()}

    def hung(self, groups: Iterable[tuple[str, float]]) -> list[Hung]:
        """Those of `groups`, each with the time at which its job began, that have hung.

        A group is first suspected for two beats: its other workers say where they are, and one that was only slow is heard.
        """
        found: list[Hung] = []
        for group, since in groups:
            reason = self._wrong_with(group, since)
            if reason is None:
                self._suspected.pop(group, None)
            elif self.now() - self._suspected.setdefault(group, self.now()) > 2 * self._interval:
                found.append(Hung(group, reason, [heard.beat.actor for heard in self._heard[group].values()]))
        return found

    @property
    def _interval(self) -> float:
        return silent_seconds(self.hang_seconds) / BEATS

    def _wrong_with(self, group: str, since: float) -> str | None:
        heard = self._heard.get(group, {})
        for rank, (_, at) in sorted(heard.items()):
            silence = self.now() - max(at, since)
            if silence > silent_seconds(self.hang_seconds):
                return f"rank {rank} gave no sign of life for {silence:.0f} s"
        idle = min((self.now() - max(at - beat.idle_seconds, since) for beat, at in heard.values()), default=0.0)
        return f"no rank made progress for {idle:.0f} s" if idle > self.hang_seconds else None
