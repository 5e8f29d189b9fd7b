"""A worker group: data-parallel workers that stay, and run one trial after another.

Starting processes, importing torch and joining a process group take many seconds; a trial that is handed to a running
group starts in milliseconds. Ray Train starts the group, and starts it again when a worker or a node dies. What becomes of
the trial that it had is the driver's to decide; another attempt resumes at its checkpoint in the store.
"""

import threading
from typing import Any

import ray.train
import ray.train.torch

from .group_config import GroupConfig
from .group_faults import FaultReporter
from .process_group import process_group

UNUSED = ("PlacementGroupCleanerCallback", "DatasetsCallback")
"""Callbacks of Ray Train that a group does without.

The cleaner asks whether our controller is alive, but asks the Ray that was started last on this machine: a second sweep next
to the first would take the first one's workers away. `GroupPool` does what it would, and Ray itself after the driver's end. The
other starts an actor for Ray Data, which has no part here, and the workers wait seconds for it.
"""


def run_jobs(values: dict[str, Any]) -> None:
    """The train loop that Ray Train starts on every worker; `values` are those of a `GroupConfig`.

    Only the workers import what trains: the driver and Ray's controllers, which get this function too, do without.
    """
    from .worker import work

    work(GroupConfig(**values))


class WorkerGroup:
    """One Ray Train run, in a thread of the driver."""

    def __init__(self, config: GroupConfig, scratch: str):
        """Start it."""
        self.name, self.shape = config.name, config.shape
        self.is_retired = False
        """Whether it ends after its present job."""
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(config, scratch), name=self.name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, or is being started again by Ray Train."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def _run(self, config: GroupConfig, scratch: str) -> None:
        shape = config.shape
        gpus = shape.gpus > 0
        resources = {"CPU": float(shape.cpus)} | ({"GPU": shape.gpus} if gpus else {})
        try:
            _GroupTrainer(
                run_jobs,
                train_loop_config=config._asdict(),
                torch_config=process_group("nccl" if gpus else "gloo", scratch),
                scaling_config=ray.train.ScalingConfig(
                    num_workers=shape.workers, use_gpu=gpus, resources_per_worker=resources
                ),
                run_config=ray.train.RunConfig(
                    name=config.name,
                    storage_path=scratch,
                    # What becomes of the trial is the driver's to decide; the group itself always comes back.
                    failure_config=ray.train.FailureConfig(max_failures=-1),
                    callbacks=[FaultReporter(config)],
                ),
            ).fit()
        except BaseException as error:  # the engine replaces the group, or tells the user
            self.error = error


class _GroupTrainer(ray.train.torch.TorchTrainer):
    """Ray Train's trainer without the callbacks in `UNUSED`."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ not in UNUSED]
