"""The room that a worker group has taken: Ray keeps it until the driver's end, if the controller that took it dies."""

from typing import TYPE_CHECKING

import ray
from ray.train.v2._internal.execution.callback import WorkerGroupCallback

from .group_config import GroupConfig

if TYPE_CHECKING:
    from ray.train.v2._internal.execution.worker_group import WorkerGroup as TrainWorkers


class PlaceReporter(WorkerGroupCallback):
    """Tells the board which placement group the workers are in. Ray Train's own cleaner is not used, see `UNUSED`."""

    def __init__(self, config: GroupConfig):
        self.group, self.board, self.namespace = config.name, config.board, config.namespace

    def after_worker_group_start(self, worker_group: "TrainWorkers") -> None:
        """Ray Train's controller calls it, each time it has started the workers."""
        placement = worker_group.get_worker_group_state().placement_group_handle.placement_group
        board = ray.get_actor(self.board, namespace=self.namespace)
        ray.get(board.placed.remote(self.group, placement.id.hex()))
