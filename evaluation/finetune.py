"""Fine-tuning: the whole network learns from labels (SimCLR, arXiv:2002.05709, app. B.8; MAE, arXiv:2111.06377, app. A.1)."""

import copy
from typing import Any

import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..datasets.batches import evaluation_batches
from ..methods.encoder import Encoder, build_encoder
from ..methods.parts.device import to_device
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from .augmentation import Augmentation
from .classifier import central_square, crop_and_flip, labelled_batches, linear_head, plan, rate_factor
from .config import FinetuneConfig
from .features import batch_size
from .task import Counts, Score, Task, count, total


class Classifier(nn.Module):
    """An encoder and a linear classifier on its pooled features."""

    def __init__(self, encoder: Encoder, num_classes: int, seed: int):
        super().__init__()
        self.encoder = encoder
        self.head = linear_head(encoder.dim, num_classes, seed)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, C) of images (B, 3, H, W)."""
        return self.head(self.encoder(image))


def evaluate_finetune(task: Task, config: FinetuneConfig) -> Score:
    """Train a copy of the backbone with a classifier and score it after each epoch."""
    model = _classifier(task, config)
    steps = plan(task.train, config.batch_size, config.epochs, task.world_size)
    optimizer = _optimizer(model, config, config.lr * steps.batch_size / 256)
    rates = [group["lr"] for group in optimizer.param_groups]
    augment = Augmentation(config, task)
    parallel = DistributedDataParallel(model) if task.world_size > 1 else model
    epochs: list[Counts] = []
    views = (crop_and_flip if config.augment else central_square)(config.interpolation)
    for step, batch in enumerate(labelled_batches(task, steps, views)):
        factor = rate_factor(step, steps, config.warmup_epochs, config.final_lr_factor)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        loss = augment.loss(parallel, batch, step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % steps.steps_per_epoch == 0:
            epochs.append(_score(model, task))
            task.after_epoch(len(epochs), config.epochs, epochs[-1])
    return Score(epochs[-1], tuple(epochs))


def _classifier(task: Task, config: FinetuneConfig) -> Classifier:
    if config.drop_path:
        options = task.backbone.options | {"drop_path_rate": config.drop_path}
        encoder = build_encoder(task.backbone.model_copy(update={"options": options}), task.image_size)
        encoder.load_state_dict(task.encoder.state_dict())
    else:
        encoder = copy.deepcopy(task.encoder)
    model = Classifier(encoder.requires_grad_(True), task.train.num_classes, task.seed)
    # Positions that a method fixed stay fixed: they are a table and not weights.
    for name, parameter in task.encoder.named_parameters():
        if name.endswith("pos_embed") and not parameter.requires_grad:
            encoder.get_parameter(name).requires_grad_(False)
    if task.world_size > 1:
        convert_sync_batchnorm(model, task.device)
    return model.to(task.device).train()


def _optimizer(model: Classifier, config: FinetuneConfig, lr: float) -> torch.optim.Optimizer:
    if config.optimizer == "sgd":
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr, momentum=0.9, weight_decay=config.weight_decay)
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        model.encoder.model, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    groups.append({"params": list(model.head.parameters()), "weight_decay": 0.0})
    for group in groups:
        group["lr"] = lr * group.pop("lr_scale", 1.0)
    return torch.optim.AdamW(groups, lr)


@torch.no_grad()
def _score(model: Classifier, task: Task) -> Counts:
    model.eval()
    hits = torch.zeros(3, dtype=torch.long, device=str(task.device))
    batches = evaluation_batches(
        task.test, task.image_size, batch_size(task), rank=task.rank, world_size=task.world_size
    )
    for rows, view in batches:
        with task.autocast():
            logits = model(view)
        hits += count(logits.float(), to_device(task.test.labels[rows], task.device))
    model.train()
    return total(hits)
