"""Linear probe: a linear classifier on the frozen backbone (SimCLR, arXiv:2002.05709, app. B.6; MAE, arXiv:2111.06377)."""

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..methods.backbones import is_vit
from ..methods.config import BatchSize, Probability
from .base import ACCURACY, Evaluation, EvaluationConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .supervised import Labelled, LabelledBatches, Plan
    from .task import Score, Task


class LinearConfig(EvaluationConfig):
    """A linear classifier on the frozen backbone, trained by SGD with momentum 0.9 on random crops and flips."""

    name: Literal["linear"] = "linear"
    protocol: Literal["linear/simclr@1", "linear/mae@1"] = "linear/simclr@1"
    epochs: PositiveInt = 90
    batch_size: BatchSize = 256
    lr: PositiveFloat = Field(default=0.1, description="at batch 256; scaled linearly")
    warmup_epochs: NonNegativeFloat = 0
    final_lr_factor: Probability = 0.001
    normalize_features: bool = Field(
        default=False, description="batch norm without affine parameters before the classifier"
    )
    augment: bool = Field(default=True, description="off: features of the plain images, extracted once (much faster)")


def evaluate_linear(task: "Task", config: LinearConfig) -> "Score":
    """Train the classifier by SGD with momentum 0.9 and score it after each epoch.

    A batch larger than the training set becomes the training set; the rate follows the batch that is used.
    """
    import torch
    import torch.nn.functional as F

    from .features import own_features
    from .supervised import Training, plan, train
    from .task import count, total

    steps = plan(
        task.train,
        config.batch_size,
        config.epochs,
        task.world_size,
        warmup_epochs=config.warmup_epochs,
        final_lr_factor=config.final_lr_factor,
    )
    test, truth = own_features(task, task.test)
    head = _head(task, config)
    optimizer = torch.optim.SGD(head.parameters(), lr=config.lr * steps.batch_size / 256, momentum=0.9)

    def loss(model: "nn.Module", batch: "Labelled", _step: int) -> "Tensor":
        return F.cross_entropy(model(batch.inputs), batch.labels)

    @torch.no_grad()
    def score() -> "Score":
        head.eval()
        hits = count(head(test), truth)
        head.train()
        return total(hits).score()

    return train(task, Training(head, optimizer, steps, partial(_training_features, task, config, steps), loss, score))


def _head(task: "Task", config: LinearConfig) -> "nn.Module":
    from torch import nn

    from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
    from .classifier import linear_head

    linear = linear_head(task.encoder.dim, task.train.num_classes, task.seed)
    if not config.normalize_features:
        return linear.to(task.device)
    norm = nn.BatchNorm1d(task.encoder.dim, affine=False, eps=1e-6)
    return convert_sync_batchnorm(nn.Sequential(norm, linear), task.device).to(task.device)


def _training_features(task: "Task", config: LinearConfig, steps: "Plan", start_step: int) -> "LabelledBatches":
    """This rank's features (B, D) with their labels, for each step from `start_step` on."""
    import torch

    from .classifier import crop_and_flip, labelled_batches

    if not config.augment:
        yield from _stored_features(task, steps, start_step)
        return
    encoder = task.encoder.eval()
    with closing(labelled_batches(task, steps, crop_and_flip(), start_step)) as batches:
        for batch in batches:
            with torch.no_grad(), task.autocast():
                features = encoder(batch.inputs).float()
            yield batch._replace(inputs=features)


def _stored_features(task: "Task", steps: "Plan", start_step: int) -> "LabelledBatches":
    from ..datasets.batches import epoch_order
    from .features import all_features
    from .supervised import Labelled

    features, labels = all_features(task, task.train)
    own = steps.batch_size // task.world_size
    order, ordered_epoch = labels, -1
    for step in range(start_step, steps.total_steps):
        epoch, position = divmod(step, steps.steps_per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = epoch_order(task.seed, epoch, len(features)).to(features.device), epoch
        start = position * steps.batch_size + task.rank * own
        rows = order[start : start + own]
        yield Labelled(features[rows], labels[rows], rows)


LINEAR = Evaluation(
    "linear",
    "linear",
    LinearConfig,
    (LinearConfig(), LinearConfig(protocol="linear/mae@1", warmup_epochs=10, normalize_features=True)),
    evaluate_linear,
    metrics=ACCURACY,
    default=lambda backbone, _dataset: "linear/mae@1" if is_vit(backbone) else "linear/simclr@1",
    batch_size=lambda config: config.batch_size,
)
