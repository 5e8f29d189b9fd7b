"""Linear probe: a linear classifier on the frozen backbone (SimCLR, arXiv:2002.05709, app. B.6; MAE, arXiv:2111.06377)."""

from contextlib import closing
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets.batches import epoch_order
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from .classifier import crop_and_flip, labelled_batches, linear_head
from .config import LinearConfig
from .features import all_features, own_features
from .supervised import LabelledBatches, Plan, Training, plan, train
from .task import Counts, Score, Task, count, total


def evaluate_linear(task: Task, config: LinearConfig) -> Score:
    """Train the classifier by SGD with momentum 0.9 and score it after each epoch.

    A batch larger than the training set becomes the training set; the rate follows the batch that is used.
    """
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

    def loss(model: nn.Module, features: Tensor, labels: Tensor, _step: int) -> Tensor:
        return F.cross_entropy(model(features), labels)

    @torch.no_grad()
    def score() -> Counts:
        head.eval()
        counts = total(count(head(test), truth))
        head.train()
        return counts

    return train(task, Training(head, optimizer, steps, partial(_training_features, task, config, steps), loss, score))


def _head(task: Task, config: LinearConfig) -> nn.Module:
    linear = linear_head(task.encoder.dim, task.train.num_classes, task.seed)
    if not config.normalize_features:
        return linear.to(task.device)
    norm = nn.BatchNorm1d(task.encoder.dim, affine=False, eps=1e-6)
    return convert_sync_batchnorm(nn.Sequential(norm, linear), task.device).to(task.device)


def _training_features(task: Task, config: LinearConfig, steps: Plan, start_step: int) -> LabelledBatches:
    """This rank's features (B, D) and labels (B,) of each step from `start_step` on."""
    if not config.augment:
        yield from _stored_features(task, steps, start_step)
        return
    encoder = task.encoder.eval()
    with closing(labelled_batches(task, steps, crop_and_flip(), start_step)) as batches:
        for images, labels in batches:
            with torch.no_grad(), task.autocast():
                features = encoder(images).float()
            yield features, labels


def _stored_features(task: Task, steps: Plan, start_step: int) -> LabelledBatches:
    features, labels = all_features(task, task.train)
    own = steps.batch_size // task.world_size
    order, ordered_epoch = torch.empty(0), -1
    for step in range(start_step, steps.total_steps):
        epoch, position = divmod(step, steps.steps_per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = epoch_order(task.seed, epoch, len(features)).to(features.device), epoch
        start = position * steps.batch_size + task.rank * own
        rows = order[start : start + own]
        yield features[rows], labels[rows]
