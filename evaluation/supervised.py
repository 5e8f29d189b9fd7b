"""The supervised loop: trains any model with labels, on any number of ranks, and resumes from a checkpoint at any step."""

import contextlib
import io
import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from ..datasets.batches import steps_per_epoch
from ..datasets.image_set import ImageSet
from ..methods.parts.schedules import warmup_cosine
from ..methods.quantities import plural
from ..methods.snapshot import Snapshot
from .task import Refused, Score, Task

log = logging.getLogger(__name__)


class Labelled(NamedTuple):
    """This rank's part of a step's batch."""

    inputs: Tensor  # (B, ...): images, or features
    labels: Tensor  # (B,)
    samples: Tensor  # (B,), int64: the number of each image in its data set


LabelledBatches = Generator[Labelled, None, None]


class Plan(NamedTuple):
    """The steps of a training and its schedule: linear warm-up, then a cosine to `final_lr_factor` times the peak."""

    batch_size: int
    """Of all ranks together."""
    steps_per_epoch: int
    epochs: int
    warmup_epochs: float = 0.0
    final_lr_factor: float = 1.0

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def rate_factor(self, step: int) -> float:
        """Learning rate at `step`, as a share of the peak."""
        warmup = round(self.warmup_epochs * self.steps_per_epoch)
        return warmup_cosine(step, warmup, self.total_steps, self.final_lr_factor)


def plan(
    images: ImageSet,
    batch_size: int,
    epochs: int,
    world_size: int,
    *,
    warmup_epochs: float = 0.0,
    final_lr_factor: float = 1.0,
) -> Plan:
    """A plan whose batch is `batch_size`, or the whole training set if that is smaller.

    Raises:
        Refused: there are fewer images than ranks.
    """
    fitting = min(batch_size, len(images) // world_size * world_size)
    if not fitting:
        raise Refused(
            f"{plural(len(images), 'training image')} cannot be shared by {plural(world_size, 'worker')}; set fewer workers"
        )
    return Plan(fitting, steps_per_epoch(len(images), fitting), epochs, warmup_epochs, final_lr_factor)


class Schedule(Protocol):
    """What the configuration of an evaluation that trains says of its steps."""

    @property
    def batch_size(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def warmup_epochs(self) -> float: ...
    @property
    def final_lr_factor(self) -> float: ...


def plan_of(task: Task, config: Schedule) -> Plan:
    """The plan of a configuration for the task's training images. Raises Refused as `plan`."""
    return plan(
        task.train,
        config.batch_size,
        config.epochs,
        task.world_size,
        warmup_epochs=config.warmup_epochs,
        final_lr_factor=config.final_lr_factor,
    )


@dataclass(frozen=True)
class Training:
    """What is trained, on what, by which loss, and how it is scored."""

    model: nn.Module
    """On the device and in training mode. Its state and the optimizer's are all that the training changes."""
    optimizer: Optimizer
    """The learning rate of each group is its peak."""
    plan: Plan
    batches: Callable[[int], LabelledBatches]
    """From a step to this rank's batches of that step and all later ones."""
    loss: Callable[[nn.Module, Labelled, int], Tensor]
    """Scalar loss of the model for a batch and the step's number. Random draws are keyed by step and sample, so that a resume
    repeats them."""
    score: Callable[[bool], Score]
    """Scores the model as it is, on all ranks; leaves it in training mode. After the last epoch (True) with `Score.details`."""


def train(task: Task, training: Training) -> Score:
    """Train from the task's checkpoint, or from the start, and score after each epoch.

    The checkpoint is kept between two steps, so that a resumed training ends with the numbers of an undisturbed one.
    """
    model, optimizer, steps = training.model, training.optimizer, training.plan
    peaks = [group["lr"] for group in optimizer.param_groups]
    step, epochs = _resume(task, training)
    score: Score | None = None
    parallel = DistributedDataParallel(model) if task.world_size > 1 else model
    with contextlib.closing(training.batches(step)) as batches:
        for batch in batches:
            factor = steps.rate_factor(step)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            loss = training.loss(parallel, batch, step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            if step % steps.steps_per_epoch == 0:
                score = training.score(step == steps.total_steps)
                epochs.append(dict(score.metrics))
                task.after_epoch(len(epochs), steps.epochs, score.metrics)
            if step < steps.total_steps and task.checkpoints.due():
                task.checkpoints.save(step, partial(_state, training, step, epochs))
    assert score is not None, "the last step, which no checkpoint comes after, ends an epoch"
    return score._replace(epochs=tuple(epochs))


def _state(training: Training, step: int, epochs: list[dict[str, float]]) -> Snapshot:
    return Snapshot(
        {
            "model": training.model.state_dict(),
            "optimizer": training.optimizer.state_dict(),
            "step": step,
            "epochs": epochs,
        }
    )


def _resume(task: Task, training: Training) -> tuple[int, list[dict[str, float]]]:
    """Put the checkpoint's state, if there is one, into the model and the optimizer; returns the step and the metrics of past epochs."""
    content = task.checkpoints.load()
    if content is None:
        return 0, []
    saved = torch.load(io.BytesIO(content), map_location=task.device, weights_only=True)
    training.model.load_state_dict(saved["model"])
    training.optimizer.load_state_dict(saved["optimizer"])
    step: int = saved["step"]
    log.info("resumed at step %d of %d", step, training.plan.total_steps)
    return step, saved["epochs"]
