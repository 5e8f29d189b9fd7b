"""What fine-tuning does to a batch after crop and flip: RandAugment, random erasing, mixup or CutMix; and its loss.

Everything is drawn by `methods/parts/draws.py`, so that the number of ranks changes nothing.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import v2

from ..datasets.color import MEAN, STD, constants
from ..methods.parts.collectives import gather, rank, world_size
from ..methods.parts.draws import Purpose, drawing, hash64, normals, sample_keys, step_key, uniforms
from .randaugment import POLICY, randaugment
from .supervised import Labelled
from .task import Task

if TYPE_CHECKING:
    from .finetune import FinetuneConfig

ERASED_AREA = (0.02, 1 / 3)
ERASED_ASPECT = 0.3
"""Erased boxes are up to 1 / this times as high as wide, and as wide as high."""
ERASE_TRIES = 10


class Augmentation:
    """The augmentation of a fine-tuning protocol."""

    def __init__(self, config: "FinetuneConfig", task: Task):
        self.config, self.task = config, task

    def loss(self, model: nn.Module, batch: Labelled, step: int) -> Tensor:
        """Cross-entropy of the augmented batch; `model` gives logits (B, C) of images (B, 3, H, W)."""
        config, seed = self.config, self.task.seed
        images, labels, samples = batch
        if config.randaugment:
            images = self._randaugmented(images, sample_keys(seed, Purpose.RANDAUGMENT, step, samples))
        if config.erasing:
            images = erased(images, sample_keys(seed, Purpose.ERASING, step, samples), config.erasing)
        mixing = drawn_mixing(config, step_key(seed, Purpose.MIXING, step), images.shape[2], images.shape[3])
        if mixing is not None:
            images = mixed(images, next_of(images), mixing)
        with self.task.autocast(), drawing(seed, Purpose.FINETUNE, step, samples):
            logits = model(images)
        if mixing is None:
            return self._cross_entropy(logits, labels)
        share = mixing.share
        return share * self._cross_entropy(logits, labels) + (1 - share) * self._cross_entropy(logits, next_of(labels))

    def _randaugmented(self, images: Tensor, keys: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) after RandAugment for their keys (B,)."""
        mean, std = constants(images.device, MEAN, STD)
        levels = ((images * std + mean) * 255).round().to(torch.uint8)  # exact: a crop has whole grey levels
        if self.config.randaugment_policy == POLICY:
            levels = randaugment(levels, keys, self.config.interpolation)
        else:
            levels = _torchvisions(levels, keys)
        return (levels.float() / 255 - mean) / std

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)


# ---- mixup and CutMix ----


class Mixing(NamedTuple):
    """How each image of a step's batch is mixed with its partner."""

    share: float
    """Of the image; the rest is the partner's."""
    box: tuple[int, int, int, int] | None
    """Top, bottom, left and right of what CutMix takes from the partner; None: mixup."""


def drawn_mixing(config: "FinetuneConfig", key: int, height: int, width: int) -> Mixing | None:
    """Mixup (arXiv:1710.09412) or CutMix (arXiv:1905.04899), one for a step's batch as in MAE's fine-tuning.

    With both, each has probability 1/2. None: the protocol has neither.
    """
    if not config.mixup and not config.cutmix:
        return None
    draw = np.random.RandomState([key >> 32, key % 2**32])  # its streams are frozen, unlike those of `Generator`
    cut = bool(config.cutmix) and (not config.mixup or draw.random_sample() < 0.5)
    alpha = config.cutmix if cut else config.mixup
    share = float(draw.beta(alpha, alpha))
    if not cut:
        return Mixing(share, None)
    side = math.sqrt(1 - share)
    rows, columns = int(height * side), int(width * side)
    y, x = int(draw.randint(height)), int(draw.randint(width))  # the middle
    top, bottom = max(0, y - rows // 2), min(height, y + (rows + 1) // 2)
    left, right = max(0, x - columns // 2), min(width, x + (columns + 1) // 2)
    return Mixing(1 - (bottom - top) * (right - left) / (height * width), (top, bottom, left, right))


def next_of(rows: Tensor) -> Tensor:
    """The partner of each of this rank's rows (B, ...): the next one in the batch of all ranks; the last one's is the first.

    In this ring every image has a partner, however many there are, and a rank needs a single row of another.
    """
    firsts = gather(rows[:1].contiguous())  # (W, ...)
    follower = (rank() + 1) % world_size()
    return torch.cat([rows[1:], firsts[follower : follower + 1]])


def mixed(images: Tensor, partners: Tensor, mixing: Mixing) -> Tensor:
    """Images (B, 3, H, W) with their share, or all but the box, and the rest of their partners (B, 3, H, W)."""
    if mixing.box is None:
        return images * mixing.share + partners * (1 - mixing.share)
    top, bottom, left, right = mixing.box
    images = images.clone()
    images[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return images


# ---- what is drawn for each image ----


def erased(images: Tensor, keys: Tensor, probability: float) -> Tensor:
    """Random erasing (arXiv:1708.04896): with this probability, a box of each image (B, 3, H, W) is normal noise. keys: (B,)."""
    height, width = images.shape[2:]
    drawn = uniforms(keys, 1 + 4 * ERASE_TRIES)
    area, aspect, y, x = drawn[:, 1:].unflatten(1, (4, ERASE_TRIES)).unbind(1)  # each (B, tries)
    area = (ERASED_AREA[0] + (ERASED_AREA[1] - ERASED_AREA[0]) * area) * height * width
    aspect = (math.log(ERASED_ASPECT) * (2 * aspect - 1)).exp()
    rows, columns = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (rows < height) & (columns < width)
    first = fits.int().argmax(dim=1, keepdim=True)  # the first that fits
    erases = (drawn[:, :1] < probability) & fits.any(dim=1, keepdim=True)  # (B, 1)
    rows, columns, y, x = (value.gather(1, first) for value in (rows, columns, y, x))  # each (B, 1)
    top, left = (y * (height - rows + 1)).floor(), (x * (width - columns + 1)).floor()
    i, j = (torch.arange(size, device=images.device) for size in (height, width))
    inside = ((i >= top) & (i < top + rows))[:, :, None] & ((j >= left) & (j < left + columns))[:, None]  # (B, H, W)
    noise = normals(hash64(ERASE_TRIES, keys), images[0].numel()).view(images.shape).to(images.dtype)
    return torch.where((inside & erases[:, :, None])[:, None], noise, images)


def _torchvisions(levels: Tensor, keys: Tensor) -> Tensor:
    """Images (B, 3, H, W), uint8, after torchvision's RandAugment, which draws from torch's generator: seeded with the key of each (B,)."""
    operate = v2.RandAugment(num_ops=2, magnitude=9)
    made: list[Tensor] = []
    with torch.random.fork_rng(devices=[]):
        for image, key in zip(levels, keys.tolist(), strict=True):
            torch.default_generator.manual_seed(key)
            made.append(operate(image))
    return torch.stack(made)
