"""Pooling by attention with one learned query, and classifiers on it that are trained side by side."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..datasets.batches import evaluation_batches
from ..datasets.image_set import ImageSet
from ..methods.parts.collectives import total_over_ranks
from ..methods.parts.device import to_device
from .details import Answers, answers
from .features import batch_size
from .parameter_groups import Group
from .task import Counts, Task, count

HEAD_WIDTH = 64


class AttentivePool(nn.Module):
    """The query attends to the tokens in heads of width 64; a linear classifier takes what they return.

    With one query q, its product with a key W x is that of Wᵀq with the token x itself, and the mean of values V x is V times
    the mean of the tokens. So neither keys nor values are computed for each token. A bias of the keys would change nothing.
    """

    def __init__(self, dim: int, num_classes: int, seed: int):
        super().__init__()
        self.heads = dim // math.gcd(dim, HEAD_WIDTH)
        self.query = nn.Parameter(torch.empty(dim))
        self.key = nn.Parameter(torch.empty(dim, dim))
        self.value = nn.Linear(dim, dim)
        self.classifier = nn.Linear(dim, num_classes)
        generator = torch.Generator().manual_seed(seed)
        for weight in (self.query, self.key, self.value.weight, self.classifier.weight):
            nn.init.trunc_normal_(weight, std=0.02, generator=generator)
        for linear in (self.value, self.classifier):
            nn.init.zeros_(linear.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (B, C) of tokens (B, N, D)."""
        query, key, value = (x.unflatten(0, (self.heads, -1)) for x in (self.query, self.key, self.value.weight))
        looks_for = torch.einsum("hw,hwd->hd", query, key) / math.sqrt(query.shape[1])  # (H, D)
        attention = (tokens @ looks_for.T).softmax(dim=1)  # (B, N, H)
        seen = attention.transpose(1, 2) @ tokens  # (B, H, D)
        pooled = torch.einsum("bhd,hwd->bhw", seen, value).flatten(1) + self.value.bias  # (B, D)
        return self.classifier(pooled)


class Probes(nn.Module):
    """Several of them, each with the weights that it would begin with alone."""

    def __init__(self, number: int, dim: int, num_classes: int, seed: int):
        super().__init__()
        self.pools = nn.ModuleList(AttentivePool(dim, num_classes, seed) for _ in range(number))

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Logits (B, C) of each for tokens (B, N, D)."""
        return [pool(tokens) for pool in self.pools]


def groups(pool: nn.Module, lr: float, weight_decay: float) -> list[Group]:
    """A probe's weights, which decay, and its biases, which do not."""
    named = list(pool.named_parameters())
    weights = [parameter for name, parameter in named if not name.endswith("bias")]
    biases = [parameter for name, parameter in named if name.endswith("bias")]
    return [
        Group(params=weights, lr=lr, weight_decay=weight_decay),
        Group(params=biases, lr=lr, weight_decay=0.0),
    ]


@torch.no_grad()
def tokens_of(task: Task, images: Tensor) -> Tensor:
    """Tokens (B, N, D) of the patches of images (B, 3, H, W), or the cells of a CNN's map; float32."""
    encoder = task.encoder.eval()
    with task.autocast():
        if encoder.patch_size is None:
            return encoder.feature_map(images).flatten(2).transpose(1, 2).float()
        return encoder.tokens(images)[:, encoder.num_prefix_tokens :].float()


@torch.no_grad()
def counted_probes(task: Task, images: ImageSet, probes: nn.Module, number: int) -> list[Counts | None]:
    """Of each of the `number` probes on all ranks; None for one whose scores are not finite."""
    hits = torch.zeros(number, 4, dtype=torch.long, device=task.device)
    for rows, tokens in _plain_tokens(task, images):
        labels = to_device(images.labels[rows], task.device)
        hits += torch.stack([count(logits, labels) for logits in probes(tokens)])
    return [None if bad else Counts(*counts) for *counts, bad in total_over_ranks(hits).tolist()]


@torch.no_grad()
def probe_answers(task: Task, pool: nn.Module) -> list[Answers]:
    """Of one probe, to this rank's test images, batch by batch."""
    return [answers(pool(tokens)) for _, tokens in _plain_tokens(task, task.test)]


def _plain_tokens(task: Task, images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows (B,) and tokens (B, N, D) of this rank's share of the images."""
    batches = evaluation_batches(images, task.image_size, batch_size(task), rank=task.rank, world_size=task.world_size)
    for rows, view in batches:
        yield rows, tokens_of(task, view)
        task.is_alive()
