"""What the trained evaluations share: crops with labels, and a supervised epoch on any number of ranks."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..datasets.batches import steps_per_epoch, training_batches
from ..datasets.image_set import ImageSet
from ..methods.config import ViewConfig, ViewsConfig
from ..methods.parts.schedules import warmup_cosine
from .task import Task


def crop_and_flip(interpolation: str = "bilinear") -> ViewsConfig:
    """Random resized crop (area 0.08 to 1) and horizontal flip."""
    view = ViewConfig.model_validate(
        {"interpolation": interpolation, "jitter": None, "grayscale": 0.0, "blur": None, "solarize": None}
    )
    return ViewsConfig(global_views=(view,))


def central_square(interpolation: str = "bilinear") -> ViewsConfig:
    """The largest square in the middle: nothing is drawn."""
    (view,) = crop_and_flip(interpolation).global_views
    return ViewsConfig(global_views=(view.model_copy(update={"scale": (1.0, 1.0), "ratio": (1.0, 1.0), "flip": 0.0}),))


class Plan(NamedTuple):
    """The steps of a training with labels; its batch is the protocol's, or the whole training set if that is smaller."""

    batch_size: int
    steps_per_epoch: int
    epochs: int

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def plan(images: ImageSet, batch_size: int, epochs: int, world_size: int) -> Plan:
    fitting = min(batch_size, len(images) // world_size * world_size)
    return Plan(fitting, steps_per_epoch(len(images), fitting), epochs)


class Labelled(NamedTuple):
    """This rank's part of a step's batch."""

    images: Tensor  # (B, 3, H, W)
    labels: Tensor  # (B,)
    samples: Tensor  # (B,), int64: the number of each image in its data set


def labelled_batches(task: Task, plan: Plan, views: ViewsConfig) -> Iterator[Labelled]:
    """This rank's batch of each step."""
    batches = training_batches(
        task.train,
        views,
        task.image_size,
        seed=task.seed,
        batch_size=plan.batch_size,
        rank=task.rank,
        world_size=task.world_size,
        start_step=0,
        total_steps=plan.total_steps,
    )
    for batch in batches:
        yield Labelled(batch.global_views[0].image, batch.labels, batch.samples)


def rate_factor(step: int, plan: Plan, warmup_epochs: float, final: float) -> float:
    """Linear warm-up, then a cosine to `final`, by step."""
    return warmup_cosine(step, round(warmup_epochs * plan.steps_per_epoch), plan.total_steps, final)


def linear_head(dim: int, num_classes: int, seed: int) -> nn.Linear:
    """A classifier with weights from N(0, 0.01²) and zero bias, the same on every rank."""
    head = nn.Linear(dim, num_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.normal_(0, 0.01, generator=generator)
        head.bias.zero_()
    return head
