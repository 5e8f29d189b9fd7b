"""The worker groups of an engine: started for what waits, replaced when they die, ended when they hang or others need the room."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ray

from ..spec.errors import UserError
from ..store.fault import Fault
from .board import News
from .cluster import draining, give_back_room, nodes
from .group_config import GroupConfig
from .protocol import Shape
from .scheduler import Group, Node, plan_groups

if TYPE_CHECKING:
    from .worker_group import WorkerGroup

REPLACEMENTS = 3
"""Worker groups in a row that may end without an event between them, before the engine gives up."""
LOOK_SECONDS = 5.0
"""Between two looks at the machines."""
ROOM_SECONDS, ROOM_LOOK_SECONDS = 60.0, 1.0
"""How long to look for the room of a group that ended by an error, and how often."""
PATIENCE_SECONDS = 60.0
"""After which a user is told that workers cannot be had yet."""


class GroupPool:
    """Follows what the board tells."""

    def __init__(
        self,
        board: Any,
        make_config: Callable[[str, Shape], GroupConfig],
        scratch: str,
        limit: int | None,
        say: Callable[[str], None],
        *,
        embedded: bool,
    ):
        """Args:
        board: the actor's handle.
        make_config: what a group of this name and shape is told.
        scratch: a folder for Ray Train.
        limit: of groups at once; None is as many as fit.
        say: takes what a user should know.
        embedded: whether the machines are this one alone.
        """
        self.board, self.make_config, self.scratch, self.limit = board, make_config, scratch, limit
        self._say, self.embedded = say, embedded
        self.machines: list[Node] = nodes()
        self.groups: list[WorkerGroup] = []
        self._started = self._lost = 0
        self._looked = time.monotonic()
        self._room_until = self._room_looked = 0.0
        """Until when to look for the room of a group whose controller died, and the last look."""
        self._waits: dict[str, float] = {}
        """Since when, of groups whose workers have not been heard."""

    def adjust(self, news: News) -> None:
        """Act on what the board has told.

        Raises:
            UserError: worker groups keep ending before they do anything.
        """
        if news.batches:
            self._lost = 0
        self._drop_ended()
        self._give_back_room()
        for hung in news.hung:
            ray.get(self.board.lose.remote(hung.group, Fault.HUNG, hung.reason))
            for actor in hung.actors:
                ray.kill(actor)
        self._look_at_machines()
        self._tell_of_waiting(news)
        self.start(news.waiting, news.busy)

    def start(self, waiting: list[tuple[Shape, int]], busy: list[str]) -> None:
        """Start groups for what waits, and let go of those that take its room."""
        alive = [group for group in self.groups if not group.is_retired]
        known = [Group(group.name, group.shape, group.name in busy) for group in alive]
        # retired groups take their room until they have ended
        known += [Group(group.name, group.shape, is_busy=True) for group in self.groups if group.is_retired]
        changes = plan_groups(self.machines, known, waiting, self.limit)
        for shape in changes.start:
            self._start_group(shape)
        for group in alive:
            if group.name in changes.retire:
                group.is_retired = True
                ray.get(self.board.retire.remote(group.name))

    def join(self, seconds: float) -> None:
        """Wait for the end of all groups; the board has closed."""
        deadline = time.monotonic() + seconds
        for group in self.groups:
            group.join(max(0.0, deadline - time.monotonic()))

    def _drop_ended(self) -> None:
        for group in [group for group in self.groups if not group.is_alive]:
            self.groups.remove(group)
            self._waits.pop(group.name, None)
            ray.get(self.board.lose.remote(group.name, Fault.WORKER_DIED, "its worker group ended"))
            if group.error is not None:
                self._room_until = time.monotonic() + ROOM_SECONDS
            self._lost += not group.is_retired
            if self._lost > REPLACEMENTS:
                why = str(group.error).strip().splitlines()[-1] if group.error else "they ended"
                raise UserError(f"Ray cannot keep workers running: {why}")

    def _give_back_room(self) -> None:
        """Once the death of a controller has come to Ray's ears, others may have the room of its group."""
        now = time.monotonic()
        if now < self._room_until and now - self._room_looked >= ROOM_LOOK_SECONDS:
            self._room_looked = now
            give_back_room()

    def _start_group(self, shape: Shape) -> None:
        from .worker_group import WorkerGroup

        config = self.make_config(f"group-{self._started}", shape)
        self._started += 1
        self._waits[config.name] = time.monotonic()
        self.groups.append(WorkerGroup(config, self.scratch))

    def _look_at_machines(self) -> None:
        """Machines may join a cluster and leave it."""
        if self.embedded or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        self.machines = nodes()
        leaving = draining()
        for name in ray.get(self.board.groups_on.remote(leaving)) if leaving else ():
            group = next((group for group in self.groups if group.name == name and not group.is_retired), None)
            if group is not None:
                self._say("a node is going to be taken back: its trials keep a checkpoint and go on elsewhere")
                group.is_retired = True
                ray.get(self.board.preempt.remote(name))

    def _tell_of_waiting(self, news: News) -> None:
        now = time.monotonic()
        for group in self.groups:
            if group.name in news.heard:
                self._waits.pop(group.name, None)
            elif now - self._waits.get(group.name, now) > PATIENCE_SECONDS:
                del self._waits[group.name]
                self._say(f"waiting for {group.shape}: the cluster has no room for them now, or starts them slowly")
