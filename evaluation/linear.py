"""Linear probe: a linear classifier on the frozen backbone (SimCLR, arXiv:2002.05709, app. B.6; MAE, arXiv:2111.06377).

Lists of settings are several classifiers, the heads, which are trained on the same batches (DINOv2, arXiv:2304.07193). The one
that is reported is selected on training images that none of them is trained on.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..methods.backbones import is_vit
from ..methods.config import BackboneConfig, BatchSize, Probability
from ..methods.quantities import noun_of
from .base import ACCURACY, Evaluation, EvaluationConfig, Values
from .readout import Feature, feature_problem

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..datasets.image_set import ImageSet
    from .heads import Built
    from .readout import Readout
    from .supervised import Labelled, LabelledBatches, Plan
    from .task import Score, Task

SELECTION = 0.1
"""Share of the training images that several heads are selected on, unless another is set."""


class Head(NamedTuple):
    """The settings of one classifier."""

    features: Feature
    weight_decay: float
    lr: float

    @property
    def settings(self) -> Mapping[str, float | str]:
        return {"lr": self.lr, "weight_decay": self.weight_decay, "features": self.features}


class LinearConfig(EvaluationConfig):
    """A linear classifier on the frozen backbone, trained by SGD with momentum 0.9 on random crops and flips.

    Lists of lr, weight_decay and features are one head for each combination, all trained in one pass.
    """

    added: ClassVar[frozenset[str]] = frozenset({"weight_decay", "features", "selection", "interpolation"})

    name: Literal["linear"] = "linear"
    protocol: Literal["linear/simclr@1", "linear/mae@1", "linear/dinov2@1"] = "linear/simclr@1"
    epochs: PositiveInt = 90
    batch_size: BatchSize = 256
    lr: Values[PositiveFloat] = Field(default=(0.1,), description="at batch 256; scaled linearly")
    weight_decay: Values[NonNegativeFloat] = Field(default=(0.0,), description="of weights and bias")
    features: Values[Feature] = Field(
        default=("pooled",),
        description="of a ViT also: cls, its class token; cls4, those of the last four blocks; +mean: and the mean patch token",
    )
    selection: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        default=None,
        description="share of the training images that is held out to select a head;"
        f" unset: {SELECTION:g} with several heads, else 0",
    )
    warmup_epochs: NonNegativeFloat = 0
    final_lr_factor: Probability = 0.001
    normalize_features: bool = Field(
        default=False, description="batch norm without affine parameters before the classifier"
    )
    augment: bool = Field(default=True, description="off: features of the plain images, extracted once (much faster)")
    interpolation: Literal["bilinear", "bicubic"] = Field(default="bilinear", description="of the random crops")

    @property
    def heads(self) -> list[Head]:
        """One for each combination of the lists."""
        return [Head(*values) for values in product(self.features, self.weight_decay, self.lr)]

    @property
    def held_out(self) -> float:
        """Share of the training images that no head is trained on."""
        return self.selection if self.selection is not None else SELECTION * (len(self.heads) > 1)


def refusal(config: LinearConfig, backbone: BackboneConfig) -> tuple[str, str] | None:
    """A setting that cannot be used with the others or with the backbone, and why."""
    if len(config.heads) > 1 and not config.held_out:
        return "selection", f"got 0; with {len(config.heads)} heads, one is selected on held-out training images"
    problem = feature_problem(config.features, backbone)
    return None if problem is None else ("features", problem)


def evaluate_linear(task: "Task", config: LinearConfig) -> "Score":
    """Train the heads by SGD with momentum 0.9 and score them after each epoch.

    The score of an epoch is that of the head which leads on the held-out images then, and the last epoch's is the result.
    A batch larger than the training set becomes the training set; the rate follows the batch that is used.

    Raises:
        NotFinite: the scores of no head are finite; on every rank.
        Refused: `refusal` says why.
    """
    import torch
    import torch.nn.functional as F

    from .heads import build
    from .readout import Readout
    from .selection import held_out_rows
    from .supervised import Training, plan_of, train
    from .task import Refused

    problem = refusal(config, task.backbone)
    if problem is not None:
        raise Refused("{}: {}".format(*problem))
    readout = Readout(task.encoder, config.features)
    held_out: ImageSet | None = None
    if config.held_out:
        fit, held = held_out_rows(task.train, config.held_out, task.seed)
        held_out, task = task.train.subset(held), task._replace(train=task.train.subset(fit))
    steps = plan_of(task, config)
    built = build(task, config, readout)
    groups = [
        {"params": linear.parameters(), "lr": head.lr * steps.batch_size / 256, "weight_decay": head.weight_decay}
        for head, linear in zip(config.heads, built.linears, strict=True)
    ]

    def loss(model: "nn.Module", batch: "Labelled", _step: int) -> "Tensor":
        logits: Tensor = model(batch.inputs)
        losses = [F.cross_entropy(own, batch.labels) for own in logits.chunk(len(groups))]
        return torch.stack(losses).sum()  # each head gets the gradient of its own loss

    optimizer = torch.optim.SGD(groups, momentum=0.9)
    score = _scorer(task, config, readout, built, held_out)
    batches = partial(_training_features, task, config, readout, steps)
    return train(task, Training(built.model, optimizer, steps, batches, loss, score))


def _scorer(
    task: "Task", config: LinearConfig, readout: "Readout", built: "Built", held_out: "ImageSet | None"
) -> "Callable[[bool], Score]":
    """Scores the heads as they are, on features that are extracted once."""
    import torch

    from .details import answers, details_of
    from .features import own_features
    from .heads import Scored, counted, selected, selected_score
    from .task import count, total

    test = Scored(*own_features(task, task.test, readout=readout))
    held = None
    if held_out is not None and len(built.linears) > 1:
        held = Scored(*own_features(task, held_out, readout=readout))

    def scored() -> "tuple[Score, int]":
        """With the number of the head that it is of."""
        if held is not None:
            heads = [head.settings for head in config.heads]
            tested, chosen_on = counted(built, test), counted(built, held)
            return selected_score(heads, tested, chosen_on), selected(tested, chosen_on)
        score = total(count(built.model(test.features), test.labels)).score()
        if held_out is None:
            return score, 0
        return score._replace(
            remarks=(f"trained without the {len(held_out):,} {noun_of(len(held_out), 'held-out training image')}",)
        ), 0

    @torch.no_grad()
    def score(last: bool) -> "Score":
        built.model.eval()
        found, head = scored()
        if last:
            found = found._replace(details=details_of(task, [answers(built.single[head](test.features))]))
        built.model.train()
        return found

    return score


def _training_features(
    task: "Task", config: LinearConfig, readout: "Readout", steps: "Plan", start_step: int
) -> "LabelledBatches":
    """This rank's features (B, width) with their labels, for each step from `start_step` on."""
    import torch

    from .classifier import crop_and_flip, labelled_batches

    if not config.augment:
        yield from _stored_features(task, readout, steps, start_step)
        return
    task.encoder.eval()
    with closing(labelled_batches(task, steps, crop_and_flip(config.interpolation), start_step)) as batches:
        for batch in batches:
            with torch.no_grad(), task.autocast():
                features = readout(batch.inputs).float()
            if (
                config.held_out
            ):  # batch norm rounds a view of a ViT's tokens, which a single head always had, in another way
                features = features.contiguous()
            yield batch._replace(inputs=features)


def _stored_features(task: "Task", readout: "Readout", steps: "Plan", start_step: int) -> "LabelledBatches":
    from ..datasets.batches import epoch_order
    from .features import all_features
    from .supervised import Labelled

    features, labels = all_features(task, task.train, readout=readout)
    own = steps.batch_size // task.world_size
    order, ordered_epoch = labels, -1
    for step in range(start_step, steps.total_steps):
        epoch, position = divmod(step, steps.steps_per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = epoch_order(task.seed, epoch, len(features)).to(features.device), epoch
        start = position * steps.batch_size + task.rank * own
        rows = order[start : start + own]
        yield Labelled(features[rows], labels[rows], rows)


DINOV2 = LinearConfig(
    protocol="linear/dinov2@1",
    epochs=10,
    batch_size=1024,
    lr=(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1),
    features=("cls", "cls+mean", "cls4", "cls4+mean"),
    selection=0.1,
    final_lr_factor=0.0,
    interpolation="bicubic",
)
"""52 heads, as in DINOv2's `eval/linear.py`: its 10 epochs are 1,250 steps each, with which 1,024 images a step see ImageNet-1k once.

DINOv2 selects the head on the validation images that it then reports; here it is selected on held-out training images, so
that the heads are trained on nine tenths of them. Test images are cut as for all evaluations, and not resized bicubically.
"""

LINEAR = Evaluation(
    "linear",
    "linear",
    LinearConfig,
    (LinearConfig(), LinearConfig(protocol="linear/mae@1", warmup_epochs=10, normalize_features=True), DINOV2),
    evaluate_linear,
    metrics=ACCURACY,
    default=lambda backbone, _dataset: "linear/mae@1" if is_vit(backbone) else "linear/simclr@1",
    batch_size=lambda config: config.batch_size,
    refusal=refusal,
)
