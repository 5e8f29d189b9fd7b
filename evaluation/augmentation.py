"""Fine-tuning's augmentation of a batch: RandAugment, erasing, mixup and cutmix, and the loss that goes with them."""

import torch
import torch.nn.functional as F
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from timm.loss import SoftTargetCrossEntropy
from torch import Tensor, nn
from torchvision.transforms import v2

from ..datasets.color import MEAN, STD, constants
from .finetune import FinetuneConfig
from .task import Task


class Augmentation:
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
