"""Nine methods out of Lightly's own heads, losses, memory banks and transforms, in a plain loop.

Each has the heads, losses, views and teachers of Lightly's CIFAR-10 benchmark: no blur, teachers that move by 0.99 before the forward
pass. The backbone and its initial weights are given. DCL and DCLW are not here, since Lightly's losses have changed since, nor is SMoG.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, DINOLoss, NegativeCosineSimilarity, NTXentLoss, SwaVLoss
from lightly.models import modules, utils
from lightly.models.modules import heads
from lightly.transforms import DINOTransform, FastSiamTransform, SimCLRTransform, SimSiamTransform, SwaVTransform
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

MOMENTUM, PIXELS = 0.99, 32

Transform = Callable[[Image.Image], list[Tensor]]


class Plan(NamedTuple):
    """How a method is trained: all its parameters alike, nothing clipped, no part of a batch by itself."""

    optimizer: str
    """`sgd` with momentum 0.9, `adam` or `adamw`."""
    lr: float
    """At the top of the schedule, for this batch."""
    weight_decay: float
    warmup_epochs: int
    by_epoch: bool
    """Whether the rate stays the same for an epoch, as torch's ``CosineAnnealingLR`` has it; there is then no warm-up."""
    epochs: int
    batch_size: int

    @property
    def bank(self) -> int:
        """Rows of a memory bank, as in Lightly's benchmark."""
        return 8192 if self.batch_size >= 512 else 4096

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """The rate of a step: a line up, then a cosine to zero."""
        if self.by_epoch:
            return self.lr * 0.5 * (1 + math.cos(math.pi * (step // steps_per_epoch) / self.epochs))
        warmup, total = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        if step < warmup:
            return self.lr * (step + 1) / warmup
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup - 1))))

    def new_optimizer(self, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, self.lr, momentum=0.9, weight_decay=self.weight_decay)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(parameters, self.lr, weight_decay=self.weight_decay)


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
    """Keys are shuffled, which matters for a backbone with batch norm in splits."""

    def __init__(self, backbone: nn.Module, dim: int, bank: int):
        super().__init__(backbone, dim)
        self.head = heads.MoCoProjectionHead(dim, 512, 128)
        self.key_backbone, self.key_head = self.teacher(self.backbone), self.teacher(self.head)
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(bank, 128))

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        def direction(query: Tensor, key: Tensor) -> Tensor:
            shuffled, order = utils.batch_shuffle(key)
            keys = utils.batch_unshuffle(self.key_head(self.key_backbone(shuffled)), order)
            return self.criterion(self.head(self.backbone(query)), keys)

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


class FastSiam(SimSiam):
    transform = FastSiamTransform(input_size=PIXELS, gaussian_blur=0.0)

    def forward(self, views: list[Tensor], epoch: int) -> Tensor:
        z = [self.head(self.backbone(view)) for view in views]
        targets = [torch.stack(z[:i] + z[i + 1 :]).mean(dim=0).detach() for i in range(len(z))]
        losses = [self.criterion(target, self.predictor(each)) for target, each in zip(targets, z, strict=True)]
        return torch.stack(losses).mean()


class NNCLR(LightlyMethod):
    def __init__(self, backbone: nn.Module, dim: int, bank: int):
        super().__init__(backbone, dim)
        self.head = heads.ProjectionHead(
            [
                (dim, 2048, nn.BatchNorm1d(2048), nn.ReLU(inplace=True)),
                (2048, 256, nn.BatchNorm1d(256), None),
            ]
        )
        self.predictor = heads.NNCLRPredictionHead(256, 4096, 256)
        self.criterion = NTXentLoss()
        self.bank = modules.NNMemoryBankModule(size=(bank, 256))

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


LIGHTLY_METHODS: dict[str, Callable[..., LightlyMethod]] = {
    "simclr": SimCLR,
    "byol": BYOL,
    "moco": MoCo,
    "simsiam": SimSiam,
    "fastsiam": FastSiam,
    "barlow_twins": BarlowTwins,
    "dino": DINO,
    "swav": SwAV,
    "nnclr": NNCLR,
}


def new_method(name: str, backbone: nn.Module, dim: int, plan: Plan) -> LightlyMethod:
    bank: dict[str, Any] = {"bank": plan.bank} if name in ("moco", "nnclr") else {}
    return LIGHTLY_METHODS[name](backbone, dim, **bank)


def train(
    method: LightlyMethod,
    images: list[Image.Image],
    plan: Plan,
    generator: torch.Generator,
    device: torch.device,
    decoders: int = 0,
) -> list[float]:
    """The mean loss of each epoch; whole batches, in an order that `generator` draws. `decoders`: processes that make views."""
    method.to(device).train()
    optimizer = plan.new_optimizer([parameter for parameter in method.parameters() if parameter.requires_grad])
    views_of = Views(images, type(method).transform)
    steps = len(images) // plan.batch_size
    history = []
    for epoch in range(plan.epochs):
        order = torch.randperm(len(images), generator=generator).tolist()
        losses = []
        loader = DataLoader(views_of, plan.batch_size, sampler=order, drop_last=True, num_workers=decoders)
        for step, views in enumerate(loader):
            for group in optimizer.param_groups:
                group["lr"] = plan.rate(epoch * steps + step, steps)
            method.move_teachers()
            loss = method([view.to(device) for view in views], epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        history.append(sum(losses) / len(losses))
    return history


class Views:
    """The images, each as the views that `transform` makes of it."""

    def __init__(self, images: list[Image.Image], transform: Transform):
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(self.images[index])
