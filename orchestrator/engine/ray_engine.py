"""The engine on Ray: worker groups that Ray Train keeps alive take jobs from a board, one after another."""

import contextlib
import importlib
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from ..spec.models import AUTO, SweepSpec
from ..spec.resolve import shapes_of
from ..store.fault import Fault
from ..store.files import Store
from ..store.scratch import prefix, remove_abandoned
from ..store.trial_state import TrialState
from .board import Board, News
from .check_nodes import NodeChecks
from .cluster import LOOK_SECONDS, NAMESPACE, Head, lost_part, nodes, start_ray
from .group_config import GroupConfig
from .group_pool import GroupPool
from .protocol import EngineLost, Job, Shape, TrialEvent
from .scheduler import refuse_what_cannot_fit, room_for

CLOSE_SECONDS = 20.0


class RayEngine:
    """A running Ray, its board, and the worker groups that have been started."""

    def __init__(self, spec: SweepSpec, store: Store, data_root: Path, address: str | None, say: Callable[[str], None]):
        """`address` of a cluster, or None to embed Ray; `say` takes what a user should know while it runs."""
        self.resources, self.asked, self.store = spec.resources, shapes_of(spec), store
        self.data_root, self.address = data_root, address
        self._say = say
        self._checks = NodeChecks(store, data_root)
        remove_abandoned()
        self.scratch = tempfile.mkdtemp(prefix=prefix())
        self._room = 0
        self._has_gpus = False
        self._pool: GroupPool | None = None
        self._head: Head | None = None
        """Of a joined cluster."""
        self._is_lost = False
        self._submissions: list[Any] = []
        """Calls that may not have been carried out yet: those that are made later could overtake them."""

    def start(self) -> None:
        """Start or join Ray.

        Raises:
            UserError: there is no cluster, a trial does not fit it, or its nodes lack the store or our code.
            EngineLost: Ray did not start; another process may have more luck.
        """
        self._say("starting Ray" if self.address is None else f"joining Ray at {self.address}")
        # Ray Train imports torch, which takes seconds; meanwhile the processes of Ray start.
        threading.Thread(target=importlib.import_module, args=(".worker_group", __package__)).start()
        start_ray(self.address, max(shape.workers * shape.cpus_per_worker for shape in self.asked))
        self._head = None if self.address is None else Head()
        machines = nodes()
        self._has_gpus = any(machine.gpus for machine in machines)
        shapes = [Shape.of(asked, cluster_has_gpus=self._has_gpus) for asked in self.asked]
        for shape in shapes:
            refuse_what_cannot_fit(shape, machines)
        self._checks.code_and_store()
        self.board_name = f"board-{uuid.uuid4().hex[:8]}"
        self.board: Any = (
            ray.remote(Board)
            .options(name=self.board_name, namespace=NAMESPACE, num_cpus=0, max_concurrency=10_000)
            .remote(self.resources.hang_minutes * 60)
        )
        limit, embedded = self.resources.concurrent_trials, self.address is None
        self._pool = GroupPool(self.board, self._group_config, self.scratch, limit, self._say, embedded=embedded)
        self._widen(shapes)
        if self._has_gpus and self.gpu is None and any(asked.gpus_per_worker == AUTO for asked in self.asked):
            self._say(
                "the cluster has GPUs of several models: each trial with `gpus_per_worker: auto` takes a whole one"
            )

    @property
    def pool(self) -> GroupPool:
        assert self._pool is not None, "started"
        return self._pool

    @property
    def room(self) -> int:
        """How many worker groups fit, or may run at once, of the smallest trials so far."""
        return self._room

    @property
    def gpu(self) -> str | None:
        """The model of the GPUs, as Ray calls it; None without any, or if there are several models."""
        models = {machine.gpu for machine in self.pool.machines if machine.gpus}
        return models.pop() if len(models) == 1 else None

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        """Queue jobs, and start worker groups for them as far as there is room."""
        placed = [(self._shape(job), job) for job in jobs]
        self._widen(shape for shape, _ in placed)
        begins = not self.pool.groups
        with self._losing():
            self._checks.data(jobs)
            self._submissions.append(self.board.submit.remote(placed, first))
            if begins:  # the groups start meanwhile, as the board does
                counts: dict[Shape, int] = {}
                for shape, _ in placed:
                    counts[shape] = counts.get(shape, 0) + 1
                self.pool.start(list(counts.items()), [])

    def larger(self, job: Job, fault: Fault) -> Job | None:
        """A whole GPU instead of a part, or a whole machine for each worker; None if the job has that already."""
        shape = self._shape(job)
        if fault is Fault.OUT_OF_GPU_MEMORY:
            whole = job.resources.model_copy(update={"gpus_per_worker": 1.0})
            return job._replace(resources=whole) if 0 < shape.gpus < 1 else None
        alone = job._replace(alone=True)
        return alone if self._shape(alone).cpus > shape.cpus else None

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened since the last call.

        Raises:
            UserError: worker groups keep ending before they do anything.
            EngineLost: the board, or Ray, has ended.
        """
        with self._losing():
            self._wait_for_submissions()
            news: News = self._answer(self.board.news.remote(timeout))
            self.pool.adjust(news)
            if self.address is None and (part := lost_part()) is not None:
                raise EngineLost(f"its {part} ended")
        return [event for batch in news.batches for event in batch.events()]

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`; returns those withdrawn before they began."""
        with self._losing():
            self._wait_for_submissions()
            return self._answer(self.board.stop.remote(trial_id, state))

    def close(self) -> None:
        """Shut down the worker groups, then Ray."""
        if ray.is_initialized():
            is_there = not self._is_lost and (self.address is not None or lost_part() is None)
            if self._pool is not None and is_there:
                with contextlib.suppress(RayError):
                    ray.get(self.board.close.remote(), timeout=CLOSE_SECONDS)
                    self._pool.join(CLOSE_SECONDS)
            ray.shutdown()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _widen(self, shapes: Iterable[Shape]) -> None:
        room = max(room_for(shape, self.pool.machines) for shape in set(shapes))
        self._room = max(self._room, min(room, self.resources.concurrent_trials or room))

    def _wait_for_submissions(self) -> None:
        for call in self._submissions:
            self._answer(call)
        self._submissions = []

    def _answer(self, call: Any) -> Any:
        """Of the board's, which never comes if the whole cluster has gone."""
        if self._head is None:
            return ray.get(call)
        self._head.expect()
        while not ray.wait([call], timeout=LOOK_SECONDS)[0]:
            self._head.expect()
        return ray.get(call)

    @contextlib.contextmanager
    def _losing(self) -> Generator[None]:
        """An error of Ray itself: the board has gone, or what all of Ray needs."""
        try:
            yield
        except RayError as error:
            self._is_lost = True
            raise EngineLost(str(error).strip().splitlines()[0]) from error
        except EngineLost:
            self._is_lost = True
            raise

    def _shape(self, job: Job) -> Shape:
        """The workers of a job; alone, each reserves as much of a machine as leaves room for no other."""
        shape = Shape.of(job.resources, cluster_has_gpus=self._has_gpus)
        if not job.alone:
            return shape
        sizes = sorted({int(machine.cpus) for machine in self.pool.machines}, reverse=True)
        larger = [shape._replace(cpus=size) for size in sizes if size > shape.cpus]
        return next((item for item in larger if room_for(item, self.pool.machines)), shape)

    def _group_config(self, name: str, shape: Shape) -> GroupConfig:
        return GroupConfig(
            name,
            self.board_name,
            NAMESPACE,
            self.store.location,
            str(self.data_root),
            shape,
            self.resources.checkpoint_minutes * 60,
            self.resources.hang_minutes * 60,
            self.resources.compile,
        )
