"""What the engine asks of Ray, and what it makes of a cluster's nodes."""

import pytest
import ray.train
import ray.train.torch
from ssl_sweep.orchestrator.engine.cluster import Node, refuse_what_cannot_fit, room_for
from ssl_sweep.orchestrator.engine.protocol import Shape
from ssl_sweep.orchestrator.engine.worker_group import UNUSED, _GroupTrainer
from ssl_sweep.orchestrator.spec.errors import UserError


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Data warns of its own settings
def test_groups_do_without_some_callbacks_of_ray_train() -> None:
    """Both are still there to be left out, by these names."""
    scaling = ray.train.ScalingConfig(num_workers=1)

    def names(trainer: type[ray.train.torch.TorchTrainer]) -> set[str]:
        made = trainer(lambda: None, scaling_config=scaling)
        return {type(callback).__name__ for callback in made._create_default_callbacks()}

    assert names(ray.train.torch.TorchTrainer) - names(_GroupTrainer) == set(UNUSED)


def test_groups_fit_node_by_node() -> None:
    one = Shape(workers=1, cpus=4, gpus=0)
    assert room_for(one, [Node("a", 17, 0)]) == 4
    assert room_for(one, [Node("a", 3, 0), Node("b", 3, 0)]) == 0  # six CPUs, and no node with four
    assert room_for(Shape(2, 4, 0), [Node("a", 4, 0), Node("b", 7, 0)]) == 1  # a group may span nodes, a worker not
    assert room_for(Shape(2, 1, 1), [Node("a", 64, 3)]) == 1
    assert room_for(Shape(1, 1, 0.5), [Node("a", 64, 2)]) == 4
    assert room_for(Shape(1, 1, 0.3), [Node("a", 64, 2)]) == 6  # three to a GPU
    assert room_for(Shape(4, 1, 1), [Node("a", 64, 3)]) == 0


def test_what_cannot_fit_is_refused_node_by_node() -> None:
    with pytest.raises(UserError) as error:
        refuse_what_cannot_fit(Shape(2, 8, 1), [Node("one", 4, 2), Node("two", 16, 1)])
    assert str(error.value).splitlines() == [
        "resources: a trial takes 2 workers × (8 CPUs, 1 GPU), and the nodes of the cluster have less:",
        "  one: 4 CPUs, 2 GPUs: room for 0 of these workers",
        "  two: 16 CPUs, 1 GPUs: room for 1 of these workers",
    ]
