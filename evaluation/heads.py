"""Linear classifiers on the features of one pass, trained side by side, each as if it were alone."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from ..methods.parts.collectives import total_over_ranks
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from ..methods.quantities import noun_of
from .classifier import linear_head
from .readout import Feature, Readout
from .selection import first_best
from .task import Counts, NotFinite, Score, Task, Variant, count

if TYPE_CHECKING:
    from .linear import LinearConfig


class Heads(nn.Module):
    """Several linear classifiers; those on one feature share its normalisation, which learns nothing."""

    def __init__(self, linears: Sequence[nn.Linear], features: Sequence[Feature], readout: Readout, *, normalize: bool):
        """`features`: one for each of the `linears`."""
        super().__init__()
        self.linears = nn.ModuleList(linears)
        self.features = tuple(features)
        self.columns = dict(readout.columns)
        norms = {name: _norm(readout.width_of(name)) if normalize else nn.Identity() for name in self.columns}
        self.norms = nn.ModuleDict(norms)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (H * B, C) of what the readout returns (B, width): all rows of the first head, then of the second."""
        inputs = {name: self._input(name, x) for name in self.columns}
        return torch.cat([linear(inputs[name]) for linear, name in zip(self.linears, self.features, strict=True)])

    def one(self, index: int, x: Tensor) -> Tensor:
        """Logits (B, C) of a single head."""
        return self.linears[index](self._input(self.features[index], x))

    def _input(self, name: Feature, x: Tensor) -> Tensor:
        return self.norms[name](x[:, self.columns[name]].contiguous())  # in memory as for a head that is alone


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm1d(width, affine=False, eps=1e-6)


class Built(NamedTuple):
    """The heads of an evaluation, on the device."""

    model: nn.Module
    """Logits (H * B, C) of what the readout returns (B, width)."""
    linears: list[nn.Linear]
    single: list[Callable[[Tensor], Tensor]]
    """Logits (B, C) of each head for itself."""


def build(task: Task, config: "LinearConfig", readout: Readout) -> Built:
    """The heads, each with the weights that it would begin with alone."""
    features: list[Feature] = [head.features for head in config.heads]
    linears = [linear_head(readout.width_of(name), task.train.num_classes, task.seed) for name in features]
    if len(linears) > 1:
        model: nn.Module = Heads(linears, features, readout, normalize=config.normalize_features)
    else:  # in the form that checkpoints of a single head have always had
        model = nn.Sequential(_norm(readout.width), linears[0]) if config.normalize_features else linears[0]
    model = convert_sync_batchnorm(model, task.device).to(task.device)
    if isinstance(model, Heads):
        return Built(model, linears, [partial(model.one, index) for index in range(len(linears))])
    return Built(model, linears, [model])


class Scored(NamedTuple):
    """This rank's features of the images that heads are scored on."""

    features: Tensor  # (n, width)
    labels: Tensor  # (n,)


Settings = Mapping[str, float | str]


def selected(tested: Sequence[Counts | None], held: Sequence[Counts | None]) -> int:
    """Which of the heads `selected_score` is of."""
    correct = [
        None if own is None or other is None else other.correct1 for own, other in zip(tested, held, strict=True)
    ]
    if all(value is None for value in correct):
        raise NotFinite(f"the scores of all {len(correct)} heads are not finite")
    return first_best(correct)


def selected_score(heads: Sequence[Settings], tested: Sequence[Counts | None], held: Sequence[Counts | None]) -> Score:
    """The score of the head with the best top-1 on held-out images (of equals, the first), with all heads beside it.

    Args:
        heads: the settings of each.
        tested: of each, on the test images; None for one whose scores are not finite.
        held: likewise on the held-out images.

    Raises:
        NotFinite: no head has finite scores; on every rank.
    """
    best = selected(tested, held)
    variants: list[Variant] = []
    for index in sorted(range(len(heads)), key=lambda index: index != best):
        own, other = tested[index], held[index]
        if own is not None and other is not None:
            metrics = {**own.score().metrics, "held_out_top1": other.score().metrics["top1"]}
            variants.append(Variant(heads[index], metrics))
    found = tested[best]
    assert found is not None
    score = found.score()
    if len(heads) == 1:
        images = sum(one.images for one in held if one is not None)
        return score._replace(remarks=(f"trained without the {images:,} {noun_of(images, 'held-out training image')}",))
    return score._replace(variants=tuple(variants), remarks=tuple(_remarks(heads, variants, held)))


def counted(built: Built, scored: Scored) -> list[Counts | None]:
    """Of each head on all ranks; None for one whose scores are not finite."""
    hits = total_over_ranks(torch.stack([count(head(scored.features), scored.labels) for head in built.single]))
    return [None if bad else Counts(*counts) for *counts, bad in hits.tolist()]


def _remarks(heads: Sequence[Settings], variants: Sequence[Variant], held: Sequence[Counts | None]) -> list[str]:
    """How the head was selected; `variants` say which it is, and how much that decides."""
    images = next(one.images for one in held if one is not None)
    remarks = [
        f"by the one of {len(heads)} heads with the best top-1 on {images:,} {noun_of(images, 'held-out training image')}"
    ]
    if len(variants) < len(heads):
        diverged = len(heads) - len(variants)
        remarks.append(f"{diverged} of the heads diverged and {'is' if diverged == 1 else 'are'} left out")
    return remarks
