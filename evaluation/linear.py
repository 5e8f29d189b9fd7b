"""Linear probe: a linear classifier on the frozen backbone (SimCLR, arXiv:2002.05709, app. B.6; MAE, arXiv:2111.06377)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..datasets.batches import epoch_order
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from .classifier import Plan, crop_and_flip, labelled_batches, linear_head, plan, rate_factor
from .config import LinearConfig
from .features import all_features, own_features
from .task import Counts, Score, Task, count, total


def evaluate_linear(task: Task, config: LinearConfig) -> Score:
    """Train the classifier by SGD with momentum 0.9 and score it after each epoch.

    A batch larger than the training set becomes the training set; the rate follows the batch that is used.
    """
    steps = plan(task.train, config.batch_size, config.epochs, task.world_size)
    test, truth = own_features(task, task.test)
    head = _head(task, config)
    model = DistributedDataParallel(head) if task.world_size > 1 else head
    optimizer = torch.optim.SGD(head.parameters(), lr=config.lr, momentum=0.9)
    epochs: list[Counts] = []
    for step, (features, labels) in enumerate(_training_features(task, config, steps)):
        factor = rate_factor(step, steps, config.warmup_epochs, config.final_lr_factor)
        optimizer.param_groups[0]["lr"] = config.lr * steps.batch_size / 256 * factor
        loss = F.cross_entropy(model(features), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % steps.steps_per_epoch == 0:
            head.eval()
            with torch.no_grad():
                epochs.append(total(count(head(test), truth)))
            head.train()
            task.after_epoch(len(epochs), config.epochs, epochs[-1])
    return Score(epochs[-1], tuple(epochs))


def _head(task: Task, config: LinearConfig) -> nn.Module:
    linear = linear_head(task.encoder.dim, task.train.num_classes, task.seed)
    if not config.normalize_features:
        return linear.to(task.device)
    norm = nn.BatchNorm1d(task.encoder.dim, affine=False, eps=1e-6)
    return convert_sync_batchnorm(nn.Sequential(norm, linear), task.device).to(task.device)


def _training_features(task: Task, config: LinearConfig, steps: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    """This rank's features (B, D) and labels (B,) of each step."""
    if not config.augment:
        yield from _stored_features(task, steps)
        return
    encoder = task.encoder.eval()
    for images, labels, _ in labelled_batches(task, steps, crop_and_flip()):
        with torch.no_grad(), task.autocast():
            features = encoder(images).float()
        yield features, labels


def _stored_features(task: Task, steps: Plan) -> Iterator[tuple[Tensor, Tensor]]:
    features, labels = all_features(task, task.train)
    own = steps.batch_size // task.world_size
    for epoch in range(steps.epochs):
        order = epoch_order(task.seed, epoch, len(features)).to(features.device)
        for step in range(steps.steps_per_epoch):
            start = step * steps.batch_size + task.rank * own
            rows = order[start : start + own]
            yield features[rows], labels[rows]
