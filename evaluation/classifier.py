"""What the trained evaluations share: crops with labels, and a linear classifier."""

from contextlib import closing
from typing import Literal

import torch
from torch import Tensor, nn

from ..datasets.batches import training_batches
from ..methods.config import ViewConfig, ViewsConfig
from ..methods.encoder import Encoder
from .supervised import Labelled, LabelledBatches, Plan
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


def labelled_batches(task: Task, plan: Plan, views: ViewsConfig, start_step: int = 0) -> LabelledBatches:
    """This rank's images (B, 3, H, W) with their labels, for each step from `start_step` on."""
    batches = training_batches(
        task.train,
        views,
        task.image_size,
        seed=task.seed,
        batch_size=plan.batch_size,
        rank=task.rank,
        world_size=task.world_size,
        start_step=start_step,
        total_steps=plan.total_steps,
    )
    with closing(batches):
        for batch in batches:
            yield Labelled(batch.global_views[0].image, batch.labels, batch.samples)


HeadInit = Literal["normal", "mae", "uniform"]


def linear_head(dim: int, num_classes: int, seed: int, init: HeadInit = "normal") -> nn.Linear:
    """A classifier, the same on every rank.

    normal: weights from N(0, 0.01²), zero bias. mae: weights from N(0, 0.00002²), zero bias. uniform: weights and biases
    from U(-1/√dim, 1/√dim), as `nn.Linear` begins.
    """
    head = nn.Linear(dim, num_classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        if init == "uniform":
            for parameter in (head.weight, head.bias):
                parameter.uniform_(-(dim**-0.5), dim**-0.5, generator=generator)
            return head
        head.weight.normal_(0, 2e-5 if init == "mae" else 0.01, generator=generator)
        head.bias.zero_()
    return head


class Classifier(nn.Module):
    """An encoder and a linear classifier on its pooled features."""

    def __init__(self, encoder: Encoder, num_classes: int, seed: int, head_init: HeadInit = "normal"):
        super().__init__()
        self.encoder = encoder
        self.head = linear_head(encoder.dim, num_classes, seed, head_init)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, C) of images (B, 3, H, W)."""
        return self.head(self.encoder(image))
