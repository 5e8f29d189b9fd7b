"""What the engine asks of Ray, and what it makes of its answers."""

import pytest
import ray.train
import ray.train.torch
from ray.exceptions import ActorDiedError, RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError
from ssl_sweep.orchestrator.engine.cluster import machine
from ssl_sweep.orchestrator.engine.group_faults import loss_of
from ssl_sweep.orchestrator.engine.scheduler import Node
from ssl_sweep.orchestrator.engine.worker_group import UNUSED, _GroupTrainer
from ssl_sweep.orchestrator.store.fault import Fault


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Data warns of its own settings
def test_groups_do_without_some_callbacks_of_ray_train() -> None:
    """Both are still there to be left out, by these names."""
    scaling = ray.train.ScalingConfig(num_workers=1)

    def names(trainer: type[ray.train.torch.TorchTrainer]) -> set[str]:
        made = trainer(lambda: None, scaling_config=scaling)
        return {type(callback).__name__ for callback in made._create_default_callbacks()}

    assert names(ray.train.torch.TorchTrainer) - names(_GroupTrainer) == set(UNUSED)


def test_a_loss_is_told_by_the_rank_that_knows_most() -> None:
    lost_peer = RuntimeError("[gloo] Connection closed by peer")
    died = WorkerHealthCheckFailedError("", ActorDiedError())
    node = ActorDiedError()
    node.error_msg = "The actor died because its node has died. Node Id: 1"
    low = ActorDiedError()
    low.error_msg = "1 worker(s) were killed due to the node running low on memory."
    assert loss_of([lost_peer, died]).fault is Fault.WORKER_DIED
    assert loss_of([died, WorkerHealthCheckFailedError("", node)]).fault is Fault.NODE_LOST
    assert loss_of([WorkerHealthCheckFailedError("", low), lost_peer]).fault is Fault.OUT_OF_MEMORY
    assert loss_of([lost_peer, WorkerHealthCheckTimeoutError("")]).fault is Fault.HUNG
    assert loss_of([ActorDiedError(), RayActorError(preempted=True)]).fault is Fault.PREEMPTED


def test_a_machine_is_what_ray_says_of_its_resources() -> None:
    resources = {"CPU": 4.0, "GPU": 2.0, "accelerator_type:H100": 1.0, "node:10.0.0.1": 1.0, "memory": 1e9}
    assert machine("one", resources) == Node("one", 4, 2, "H100")
    assert machine("two", {"CPU": 4.0}) == Node("two", 4, 0)
