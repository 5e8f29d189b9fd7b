"""The engine on Ray: worker groups that Ray Train keeps alive take jobs from a board, one after another."""

import contextlib
import importlib
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

from ..spec.errors import UserError
from ..spec.models import ResourcesConfig
from ..store.files import Store
from ..store.trial_state import TrialState
from .batch import Batch
from .board import Board
from .check_nodes import NodeChecks
from .cluster import NAMESPACE, nodes, refuse_what_cannot_fit, room_for, start_ray
from .group_config import GroupConfig
from .protocol import Job, Shape, TrialEvent

if TYPE_CHECKING:
    from .worker_group import WorkerGroup

CLOSE_SECONDS = 20.0
REPLACEMENTS = 3
"""Worker groups in a row that may end without an event between them, before the engine gives up."""


class RayEngine:
    """A running Ray, its board, and the worker groups that have been started."""

    def __init__(
        self,
        resources: ResourcesConfig,
        store: Store,
        data_root: Path,
        address: str | None,
        say: Callable[[str], None],
    ):
        """`address` of a cluster, or None to embed Ray; `say` takes what a user should know while it starts."""
        self.resources, self.store, self.data_root, self.address = resources, store, data_root, address
        self._say = say
        self._checks = NodeChecks(store, data_root)
        self.scratch = tempfile.mkdtemp(prefix="ssl-sweep-")
        self.groups: list[WorkerGroup] = []
        self._started = self._lost = 0
        self._queued = self._room = 0
        self._submissions: list[Any] = []
        """Calls that may not have been carried out yet: those that are made later could overtake them."""

    def start(self) -> None:
        """Start or join Ray.

        Raises:
            UserError: there is no cluster, a trial does not fit it, or its nodes lack the store or our code.
        """
        self._say("starting Ray" if self.address is None else f"joining Ray at {self.address}")
        # Ray Train imports torch, which takes seconds; meanwhile the processes of Ray start.
        threading.Thread(target=importlib.import_module, args=(".worker_group", __package__)).start()
        start_ray(self.address, self.resources.workers * self.resources.cpus_per_worker)
        machines = nodes()
        self.shape = Shape.of(self.resources, cluster_has_gpus=any(machine.gpus for machine in machines))
        refuse_what_cannot_fit(self.shape, machines)
        self._checks.code_and_store()
        room = room_for(self.shape, machines)
        self._room = min(room, self.resources.concurrent_trials or room)
        self.board_name = f"board-{uuid.uuid4().hex[:8]}"
        self.board: Any = (
            ray.remote(Board)
            .options(name=self.board_name, namespace=NAMESPACE, num_cpus=0, max_concurrency=10_000)
            .remote(self.resources.max_failures)
        )

    @property
    def room(self) -> int:
        """How many worker groups fit, or may run at once."""
        return self._room

    def submit(self, jobs: list[Job]) -> None:
        """Queue jobs, and start worker groups for them as far as there is room."""
        self._checks.data(jobs)
        self._queued += len(jobs)
        self._submissions.append(self.board.submit.remote(jobs))  # the groups start meanwhile, as the board does
        while len(self.groups) < min(self._room, self._queued):
            self._start_group()

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened since the last call.

        Raises:
            UserError: worker groups keep ending before they do anything.
        """
        self._wait_for_submissions()
        self._replace_lost_groups()
        found: list[Batch] = ray.get(self.board.news.remote(timeout))
        if found:
            self._lost = 0
        return [event for batch in found for event in batch.events()]

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those withdrawn before they began."""
        self._wait_for_submissions()
        return ray.get(self.board.stop.remote(trial_id, state))

    def close(self) -> None:
        """Shut down the worker groups, then Ray."""
        if ray.is_initialized():
            with contextlib.suppress(RayError, AttributeError):  # it may never have had a board
                ray.get(self.board.close.remote())
            deadline = time.monotonic() + CLOSE_SECONDS
            for group in self.groups:
                group.join(max(0.0, deadline - time.monotonic()))
            ray.shutdown()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _wait_for_submissions(self) -> None:
        ray.get(self._submissions)
        self._submissions = []

    def _replace_lost_groups(self) -> None:
        for group in [group for group in self.groups if not group.is_alive]:
            self.groups.remove(group)
            ray.get(self.board.release.remote(group.name))
            self._lost += 1
            if self._lost > REPLACEMENTS:
                why = str(group.error).strip().splitlines()[-1] if group.error else "they ended"
                raise UserError(f"Ray cannot keep workers running: {why}")
            self._start_group()

    def _start_group(self) -> None:
        gpus = self.shape.gpus > 0
        config = GroupConfig(
            f"group-{self._started}",
            self.board_name,
            NAMESPACE,
            self.store.location,
            str(self.data_root),
            gpus,
            self.shape.cpus,
            self.resources.decoders(gpus),
            self.resources.checkpoint_minutes * 60,
            self.resources.compile,
        )
        from .worker_group import WorkerGroup

        self._started += 1
        self.groups.append(WorkerGroup(config, self.shape, self.scratch))
