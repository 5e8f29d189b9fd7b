"""Why the workers of a group died, as Ray tells its controller."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import ray
from ray.exceptions import RayActorError, RayError
from ray.train import UserCallback
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

from ..store.fault import Fault
from .group_config import GroupConfig

if TYPE_CHECKING:
    from ray.train.v2._internal.execution.context import TrainRunContext


class Loss(NamedTuple):
    """What became of a group's workers."""

    fault: Fault
    reason: str


SIGNS = (
    ("node running low on memory", Loss(Fault.OUT_OF_MEMORY, "Ray ended its worker: the machine was low on memory")),
    ("its node has died", Loss(Fault.NODE_LOST, "its node was lost")),
    ("node was terminated", Loss(Fault.NODE_LOST, "its node was lost")),
)
"""Words in Ray's errors that tell more than their types."""


class FaultReporter(UserCallback):
    """Tells the board, before Ray Train starts the group again."""

    def __init__(self, config: GroupConfig):
        self.group, self.board, self.namespace = config.name, config.board, config.namespace

    def after_exception(self, run_context: "TrainRunContext", worker_exceptions: dict[int, Exception]) -> None:
        """Ray Train's controller calls it with each failed rank's error."""
        fault, reason = loss_of(worker_exceptions.values())
        board = ray.get_actor(self.board, namespace=self.namespace)
        ray.get(board.lose.remote(self.group, fault, reason))


def loss_of(errors: Iterable[Exception]) -> Loss:
    """What happened, from the errors of all ranks that failed: those that lost a peer say less than the peer's own."""
    found = [_loss(error) for error in errors]
    order = (Fault.PREEMPTED, Fault.NODE_LOST, Fault.OUT_OF_MEMORY, Fault.HUNG, Fault.WORKER_DIED)
    return min(found, key=lambda loss: order.index(loss.fault), default=Loss(Fault.WORKER_DIED, "its worker died"))


def _loss(error: Exception) -> Loss:
    cause = error.health_check_failure if isinstance(error, WorkerHealthCheckFailedError) else error
    if isinstance(cause, RayActorError) and cause.preempted:
        return Loss(Fault.PREEMPTED, "its node was taken back by its provider")
    if isinstance(error, WorkerHealthCheckTimeoutError):
        return Loss(Fault.HUNG, "its worker did not answer")
    text = str(cause) if isinstance(cause, RayError) else ""
    return next((loss for words, loss in SIGNS if words in text.lower()), Loss(Fault.WORKER_DIED, "its worker died"))
