"""Fine-tuning: the whole network learns from labels (SimCLR, arXiv:2002.05709, app. B.8; MAE, arXiv:2111.06377, app. A.1)."""

import copy
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from timm.loss import SoftTargetCrossEntropy
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torchvision.transforms import v2

from ..datasets.batches import evaluation_batches
from ..datasets.color import MEAN, STD, constants
from ..methods.encoder import Encoder, build_encoder
from ..methods.parts.device import to_device
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from .classifier import central_square, crop_and_flip, labelled_batches, linear_head, seed_step
from .config import FinetuneConfig
from .features import batch_size
from .supervised import Training, plan, train
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
    steps = plan(
        task.train,
        config.batch_size,
        config.epochs,
        task.world_size,
        warmup_epochs=config.warmup_epochs,
        final_lr_factor=config.final_lr_factor,
    )
    optimizer = _optimizer(model, config, config.lr * steps.batch_size / 256)
    views = (crop_and_flip if config.augment else central_square)(config.interpolation)
    augment = _Augmentation(config, task)

    def loss(parallel: nn.Module, images: Tensor, labels: Tensor, step: int) -> Tensor:
        seed_step(task.seed, step, task.rank)
        return augment.loss(parallel, images, labels, task)

    batches = partial(labelled_batches, task, steps, views)
    return train(task, Training(model, optimizer, steps, batches, loss, partial(_score, model, task)))


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


class _Augmentation:
    """What the protocol does to a batch after crop and flip, and the loss that goes with it."""

    def __init__(self, config: FinetuneConfig, task: Task):
        classes = task.train.num_classes
        self.smoothing = config.label_smoothing
        self.randaugment = v2.RandAugment(num_ops=2, magnitude=9) if config.randaugment else None
        self.erase = RandomErasing(config.erasing, mode="pixel", device=str(task.device)) if config.erasing else None
        self.mix = None
        if config.mixup or config.cutmix:
            self.mix = Mixup(config.mixup, config.cutmix, label_smoothing=config.label_smoothing, num_classes=classes)

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor, task: Task) -> Tensor:
        """Cross-entropy of the augmented batch."""
        if self.randaugment is not None:
            images = self._randaugment(images)
        if self.erase is not None:
            images = self.erase(images)
        mix = self.mix if len(images) % 2 == 0 else None  # timm mixes pairs
        target = labels
        if mix is not None:
            images, target = mix(images, labels)
        with task.autocast():
            logits = model(images)
        if mix is not None:
            return SoftTargetCrossEntropy()(logits.float(), target)
        return F.cross_entropy(logits.float(), target, label_smoothing=self.smoothing)

    def _randaugment(self, images: Tensor) -> Tensor:
        mean, std = constants(images.device, MEAN, STD)
        pixels = ((images * std + mean) * 255).round().to(torch.uint8)  # exact: a crop has whole grey levels
        assert self.randaugment is not None
        drawn = torch.stack([self.randaugment(image) for image in pixels])
        return (drawn.float() / 255 - mean) / std


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
