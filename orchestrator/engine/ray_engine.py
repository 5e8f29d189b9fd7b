"""The engine: Ray Train carries trials on gangs that stay, Ray Tune samples, schedules and stops them.

Everything here can be lost at any time: what is done is in the store, and the next `submit` goes on from there.
"""

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by Ray when it is imported: quick answers to a dead worker, and an interrupt that is ours to handle.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")  # gangs and followers start together
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the table is ours to draw

import ray
import ray.train
import ray.train.torch
from ray import tune
from ray.exceptions import RayError

from ..spec.errors import UserError
from ..spec.models import ResourcesConfig
from ..store.files import Store
from .board import Board, Job
from .interrupts import Interrupts
from .shared_folder import refuse_unshared
from .tune_follower import follow
from .worker_group import GangConfig, carry_trials

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
GOING_HOME_SECONDS = 20.0
NAMESPACE = "ssl-sweep"
CLEANER = "PlacementGroupCleanerCallback"
FOLLOWER_CPUS = 0.01
"""Of the function that follows a trial; Tune refuses none at all."""

News = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Shape:
    """What one gang takes."""

    workers: int
    cpus: int
    gpus: float

    def fits(self, cpus: float, gpus: float) -> int:
        """How many gangs the resources hold."""
        by_cpu = int(cpus // (self.workers * self.cpus))
        return min(by_cpu, int(gpus // (self.workers * self.gpus))) if self.gpus else by_cpu


class Engine:
    """A running Ray, its board, and the gangs that have been started."""

    def __init__(
        self,
        resources: ResourcesConfig,
        store: Store,
        data_root: Path,
        news: News,
        interrupts: Interrupts,
        on_stop: Callable[[], None],
        embedded: bool,
    ):
        self.resources, self.store, self.data_root, self.news = resources, store, data_root, news
        self.interrupts, self.on_stop = interrupts, on_stop
        self.scratch = tempfile.mkdtemp(prefix="ssl-sweep-")
        self.board_name = f"board-{uuid.uuid4().hex[:8]}"
        self.board: Any = (
            ray.remote(Board)
            .options(name=self.board_name, namespace=NAMESPACE, num_cpus=0)
            .remote(resources.max_failures)
        )
        total = ray.cluster_resources()
        gpus = resources.gpus_per_worker
        self.shape = Shape(
            resources.workers,
            resources.cpus_per_worker,
            float(total.get("GPU", 0) > 0) if gpus is None else gpus,
        )
        # An embedded Ray has one CPU more than the machine, for the followers; see `started`.
        self.cpus = total.get("CPU", 0) - 1 if embedded else total.get("CPU", 0)
        self.gpus = total.get("GPU", 0)
        self.gangs: list[threading.Thread] = []
        self.gang_errors: list[BaseException] = []
        self.seen = 0
        self.stopping = False
        if not self.shape.fits(self.cpus, self.gpus):
            raise UserError(
                f"resources: a trial takes {self.shape.workers} workers with {self.shape.cpus} CPUs and"
                f" {self.shape.gpus:g} GPUs each, and Ray has {self.cpus:g} CPUs and {self.gpus:g} GPUs in all"
            )

    def run(self, jobs: list[Job], metric: str | None = None, scheduler: Any = None) -> None:
        """Carry the jobs; returns when all have ended, by themselves, by the scheduler or by the user."""
        for job in jobs:  # by us, and not by their followers: gangs then take them in this order
            ray.get(self.board.put.remote(job))
        space = {"job": tune.grid_search([tuple(job) for job in jobs])}
        self._tune(space, len(jobs), metric, scheduler=scheduler)

    def sample(self, base: dict[str, Any], count: int, metric: str, searcher: Any, scheduler: Any) -> None:
        """Carry `count` trials at points that the searcher samples; `base` is what `sampled_job` reads."""
        self._tune({}, count, metric, searcher, scheduler, base)

    def _tune(
        self,
        space: dict[str, Any],
        trials: int,
        metric: str | None,
        searcher: Any = None,
        scheduler: Any = None,
        base: dict[str, Any] | None = None,
    ) -> None:
        room = self.shape.fits(self.cpus, self.gpus)
        limit = self.resources.concurrent_trials or room
        gangs = min(room, limit, trials)
        self._start_gangs(gangs)
        trainable = tune.with_parameters(follow, board=self.board_name, namespace=NAMESPACE, metric=metric, base=base)
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"CPU": FOLLOWER_CPUS}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="value" if metric else None,
                mode="max" if metric else None,
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=trials if searcher else 1,
                max_concurrent_trials=gangs + (0 if searcher else 1),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(storage_path=self.scratch, verbose=0, callbacks=[_StopsOnBoard(self.board)]),
        )
        errors: list[BaseException] = []

        def fit() -> None:
            try:
                tuner.fit()
            except BaseException as error:  # carried to the main thread, which raises it
                errors.append(error)

        thread = threading.Thread(target=fit, name="tune", daemon=True)
        thread.start()
        with self.interrupts.watched():
            while thread.is_alive():
                self._poll()
                thread.join(POLL_SECONDS)
        self._poll()
        if errors:
            raise errors[0]

    def _poll(self) -> None:
        for trial_id, event in ray.get(self.board.news.remote(self.seen)):
            self.seen += 1
            self.news(trial_id, event)
        if self.interrupts.requested and not self.stopping:
            self.stopping = True
            self.on_stop()
            ray.get(self.board.stop.remote())  # all trials keep a checkpoint and end
        if self.gangs and not any(gang.is_alive() for gang in self.gangs):
            ray.get(self.board.stop.remote())
            why = self.gang_errors[0] if self.gang_errors else "they ended"
            raise UserError(f"Ray cannot keep workers running: {str(why).strip().splitlines()[-1]}")

    def close(self, patience: float) -> None:
        """Send the gangs home, and give each of them `patience` seconds to get there."""
        with contextlib.suppress(RayError):
            ray.get(self.board.close.remote())
        for gang in self.gangs:
            gang.join(timeout=patience)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _start_gangs(self, count: int) -> None:
        for index in range(len(self.gangs), count):
            thread = threading.Thread(target=self._gang, args=(f"gang-{index}",), name=f"gang-{index}", daemon=True)
            self.gangs.append(thread)
            thread.start()

    def _gang(self, name: str) -> None:
        gpus = self.shape.gpus > 0
        config = GangConfig(
            name,
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
        resources = {"CPU": float(self.shape.cpus)} | ({"GPU": self.shape.gpus} if gpus else {})
        try:
            trainer = _GangTrainer(
                carry_trials,
                train_loop_config=config._asdict(),
                torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpus else "gloo"),
                scaling_config=ray.train.ScalingConfig(
                    num_workers=self.shape.workers, use_gpu=gpus, resources_per_worker=resources
                ),
                run_config=ray.train.RunConfig(
                    name=name,
                    storage_path=self.scratch,
                    # The board counts a trial's failures; the gang itself always comes back.
                    failure_config=ray.train.FailureConfig(max_failures=-1),
                ),
            )
            trainer.fit()
        except BaseException as error:  # told to the user by `_poll` once no gang is left
            self.gang_errors.append(error)


class _GangTrainer(ray.train.torch.TorchTrainer):
    """Ray Train's trainer without its cleaner of placement groups.

    The cleaner asks whether our controller lives, but asks the Ray that was started last on this machine: a second sweep
    beside the first would take the first one's workers away. Ray itself removes the groups when the driver has gone.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ != CLEANER]


class _StopsOnBoard(tune.Callback):
    """A trial that Tune's scheduler stopped is told so through the board: no process is killed."""

    def __init__(self, board: Any):
        self.board = board

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        result = trial.last_result or {}
        if "status" not in result:
            self.board.stop_tagged.remote(trial.trial_id)


@contextlib.contextmanager
def started(
    resources: ResourcesConfig,
    store: Store,
    data_root: Path,
    news: News,
    interrupts: Interrupts,
    on_stop: Callable[[], None],
    address: str | None,
) -> Generator[Engine]:
    """Ray, embedded in this process or at `address`, with a board. `on_stop` is called when trials are asked to end.

    Raises:
        UserError: the cluster has not what a trial takes, or its nodes do not share the store.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    if address is None:
        cpus = max(os.cpu_count() or 1, resources.workers * resources.cpus_per_worker) + 1
        # "local": without it, Ray joins whatever cluster was started on this machine
        ray.init("local", num_cpus=cpus, include_dashboard=False, **quiet)
    else:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"no Ray cluster at '{address}': {error}") from None
    interrupts.listen()
    engine: Engine | None = None
    patience = 0.0
    try:
        refuse_unshared(store)
        engine = Engine(resources, store, data_root, news, interrupts, on_stop, embedded=address is None)
        yield engine
        patience = GOING_HOME_SECONDS
    finally:
        if engine is not None:
            engine.close(patience)
        ray.shutdown()
