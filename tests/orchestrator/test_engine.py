"""What the engine asks of Ray and does not say aloud."""

import pytest
import ray.train
import ray.train.torch
from ssl_sweep.orchestrator.engine.ray_engine import CLEANER, Shape, _GangTrainer


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ray Data warns of its own settings
def test_gangs_have_no_cleaner_of_placement_groups() -> None:
    """It would ask another Ray on the same machine whether the gang's controller lives, and remove the workers."""
    scaling = ray.train.ScalingConfig(num_workers=1)

    def names(trainer: type[ray.train.torch.TorchTrainer]) -> set[str]:
        made = trainer(lambda: None, scaling_config=scaling)
        return {type(callback).__name__ for callback in made._create_default_callbacks()}

    assert names(ray.train.torch.TorchTrainer) - names(_GangTrainer) == {CLEANER}


def test_shapes_that_fit() -> None:
    assert Shape(workers=2, cpus=4, gpus=0).fits(cpus=17, gpus=0) == 2
    assert Shape(workers=2, cpus=1, gpus=1).fits(cpus=64, gpus=3) == 1
    assert Shape(workers=1, cpus=1, gpus=0.5).fits(cpus=64, gpus=2) == 4
    assert Shape(workers=4, cpus=1, gpus=1).fits(cpus=64, gpus=3) == 0
