"""Eight methods out of Lightly's own heads, losses, memory banks and transforms, in a plain loop.

Each has the heads, losses, views and teachers of Lightly's CIFAR-10 benchmark: no blur, teachers that move by 0.99 before
the forward pass. The backbone is given, and so are its initial weights. The optimizer is AdamW for all, with an epoch of
warm-up and a cosine: the benchmark's SGD wants more epochs than a race has.
"""

import copy
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, DINOLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss
from lightly.models import modules, utils
from lightly.models.modules import heads
from lightly.transforms import DINOTransform, SimCLRTransform, SimSiamTransform, SwaVTransform
from PIL import Image
from torch import Tensor, nn

MOMENTUM = 0.99
BANK = 4096
PIXELS = 32
BATCH_SIZE = 128
LR = 0.001  # at this batch size
WEIGHT_DECAY = 0.01

Transform = Callable[[Image.Image], list[Tensor]]


class LightlyMethod(nn.Module):
    """`forward` is the loss of a batch of views."""

    transform: Transform = SimCLRTransform(input_size=PIXELS, cj_strength=0.5, gaussian_blur=0.0)

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__()
        self.backbone = backbone
        self.teachers: list[tuple[nn.Module, nn.Module]] = []  # (student, teacher); plain list: modules register below

    def teacher(self, student: nn.Module, start: nn.Module | None = None) -> nn.Module:
        """A copy of `student`, or `start`, without gradients, that `move_teachers` moves."""
        teacher = copy.deepcopy(student) if start is None else start
        utils.deactivate_requires_grad(teacher)
        self.teachers.append((student, teacher))
        return teacher

    def move_teachers(self) -> None:
        for student, teacher in self.teachers:
            utils.update_momentum(student, teacher, m=MOMENTUM)

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        raise NotImplementedError


class JointEmbedding(LightlyMethod):
    """One head, and a criterion over the embeddings of both views."""

    head: nn.Module
    criterion: nn.Module

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        a, b = (self.head(self.backbone(view)) for view in views)
        return self.criterion(a, b)


class SimCLR(JointEmbedding):
    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.SimCLRProjectionHead(dim, 512, 128)
        self.criterion = NTXentLoss()


class BarlowTwins(JointEmbedding):
    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.ProjectionHead(
            [(dim, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)), (2048, 2048, None, None)]
        )
        self.criterion = BarlowTwinsLoss()


class MoCo(LightlyMethod):
    """Without batch norm in splits, which only Lightly's own ResNet has; so shuffled keys would change nothing."""

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.MoCoProjectionHead(dim, 512, 128)
        self.key_backbone, self.key_head = self.teacher(self.backbone), self.teacher(self.head)
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(BANK, 128))

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        def direction(query: Tensor, key: Tensor) -> Tensor:
            return self.criterion(self.head(self.backbone(query)), self.key_head(self.key_backbone(key)))

        return 0.5 * (direction(views[0], views[1]) + direction(views[1], views[0]))


class BYOL(LightlyMethod):
    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.BYOLProjectionHead(dim, 1024, 256)
        self.predictor = heads.BYOLPredictionHead(256, 1024, 256)
        self.target_backbone, self.target_head = self.teacher(self.backbone), self.teacher(self.head)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        p, z = [], []
        for view in views:
            p.append(self.predictor(self.head(self.backbone(view))))
            z.append(self.target_head(self.target_backbone(view)).detach())
        return 0.5 * (self.criterion(p[0], z[1]) + self.criterion(p[1], z[0]))


class SimSiam(LightlyMethod):
    transform = SimSiamTransform(input_size=PIXELS, gaussian_blur=0.0)

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.ProjectionHead(
            [
                (dim, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)),
                (2048, 2048, nn.BatchNorm1d(2048), None),
            ]
        )
        self.predictor = heads.SimSiamPredictionHead(2048, 512, 2048)
        self.criterion = NegativeCosineSimilarity()

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        z = [self.head(self.backbone(view)) for view in views]
        p = [self.predictor(each) for each in z]
        return 0.5 * (self.criterion(z[0].detach(), p[1]) + self.criterion(z[1].detach(), p[0]))


class NNCLR(LightlyMethod):
    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.ProjectionHead(
            [
                (dim, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)),
                (2048, 256, nn.BatchNorm1d(256), None),
            ]
        )
        self.predictor = heads.NNCLRPredictionHead(256, 4096, 256)
        self.criterion = NTXentLoss()
        self.bank = modules.NNMemoryBankModule(size=(BANK, 256))

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        z = [self.head(self.backbone(view)) for view in views]
        p = [self.predictor(each) for each in z]
        neighbours = [self.bank(z[0].detach(), update=False), self.bank(z[1].detach(), update=True)]
        return 0.5 * (self.criterion(neighbours[0], p[1]) + self.criterion(neighbours[1], p[0]))


class SwAV(LightlyMethod):
    transform = SwaVTransform(
        crop_sizes=[PIXELS],
        crop_counts=[2],
        crop_min_scales=[0.14],
        crop_max_scales=[1.0],
        cj_strength=0.5,
        gaussian_blur=0.0,
    )

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = heads.SwaVProjectionHead(dim, 512, 128)
        self.prototypes = heads.SwaVPrototypes(128, 512)
        self.criterion = SwaVLoss()

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        self.prototypes.normalize()
        scores = [self.prototypes(F.normalize(self.head(self.backbone(view)), dim=1)) for view in views]
        return self.criterion(scores, [])


class DINO(LightlyMethod):
    transform = DINOTransform(global_crop_size=PIXELS, n_local_views=0, gaussian_blur=(0.0, 0.0, 0.0))

    def __init__(self, backbone: nn.Module, dim: int):
        super().__init__(backbone, dim)
        self.head = self.new_head(dim)
        self.teacher_backbone = self.teacher(self.backbone)
        self.teacher_head = self.teacher(self.head, start=self.new_head(dim))
        self.criterion = DINOLoss(output_dim=2048)

    def new_head(self, dim: int) -> nn.Module:
        head = heads.DINOProjectionHead(dim, 2048, 256, 2048, batch_norm=True)
        layers = [(dim, 2048, nn.BatchNorm1d(2048), nn.GELU()), (2048, 256, None, None)]  # two, for CIFAR-10
        head.layers = heads.ProjectionHead(layers).layers
        return head

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        targets = [self.teacher_head(self.teacher_backbone(view)) for view in views]
        return self.criterion(targets, [self.head(self.backbone(view)) for view in views], epoch=epoch)


LIGHTLY_METHODS: dict[str, type[LightlyMethod]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "moco": MoCo,
    "simsiam": SimSiam,
    "barlow_twins": BarlowTwins,
    "dino": DINO,
    "swav": SwAV,
    "nnclr": NNCLR,
}


def train(
    method: LightlyMethod, images: list[Image.Image], epochs: int, batch_size: int, generator: torch.Generator
) -> list[float]:
    """The mean loss of each epoch; whole batches, in an order that `generator` draws."""
    trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LR, weight_decay=WEIGHT_DECAY)
    steps = len(images) // batch_size
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, partial(rate, warmup=steps, total=epochs * steps))
    transform = type(method).transform
    history = []
    method.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator).tolist()
        losses = []
        for step in range(steps):
            rows = [transform(images[i]) for i in order[step * batch_size : (step + 1) * batch_size]]
            views = [torch.stack(view) for view in zip(*rows, strict=True)]
            method.move_teachers()
            loss = method(views, epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        history.append(sum(losses) / len(losses))
    return history


def rate(step: int, warmup: int, total: int) -> float:
    """Share of the peak rate: a line up, then a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup - 1))))
