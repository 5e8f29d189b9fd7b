"""Attentive probe: a query that attends to the frozen backbone's patch tokens, and a linear classifier (CAPI, arXiv:2502.08769, app. B)."""

from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..methods.config import BatchSize, Probability
from .base import ACCURACY, Evaluation, EvaluationConfig, Values

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..datasets.image_set import ImageSet
    from .attentive_pool import Probes
    from .supervised import Labelled, LabelledBatches, Plan
    from .task import Score, Task


class Probe(NamedTuple):
    """The settings of one probe."""

    weight_decay: float
    lr: float

    @property
    def settings(self) -> Mapping[str, float]:
        return {"lr": self.lr, "weight_decay": self.weight_decay}


class AttentiveConfig(EvaluationConfig):
    """Attention of one learned query over the tokens of the patches, or over the cells of a CNN's map, then a linear classifier.

    Every lr with every weight_decay is a probe; all are trained in one pass, by AdamW on random crops and flips.
    """

    name: Literal["attentive"] = "attentive"
    protocol: Literal["attentive/capi@1"] = "attentive/capi@1"
    epochs: PositiveInt = 10
    batch_size: BatchSize = 1024
    lr: Values[PositiveFloat] = Field(
        default=(1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2),
        description="at batch 256; scaled linearly",
    )
    weight_decay: Values[NonNegativeFloat] = Field(default=(5e-4, 1e-3, 5e-2), description="of weights, not of biases")
    selection: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.1, description="share of the training images that is held out to select a probe"
    )
    warmup_epochs: NonNegativeFloat = 1
    final_lr_factor: Probability = 0.0
    augment: bool = Field(
        default=True, description="off: plain images, where crops and flips would make others of them"
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(default="bicubic", description="of the random crops")

    @property
    def probes(self) -> list[Probe]:
        """One for each combination of the lists."""
        return [Probe(*values) for values in product(self.weight_decay, self.lr)]


def evaluate_attentive(task: "Task", config: AttentiveConfig) -> "Score":
    """Train the probes and score them after each epoch, as `evaluate_linear` does with its heads.

    Raises:
        NotFinite: the scores of no probe are finite; on every rank.
        Refused: nothing would be left to train on.
    """
    import torch
    import torch.nn.functional as F

    from .attentive_pool import Probes, groups
    from .selection import held_out_rows
    from .supervised import Training, plan_of, train

    fit, held = held_out_rows(task.train, config.selection, task.seed)
    held_out, task = task.train.subset(held), task._replace(train=task.train.subset(fit))
    steps = plan_of(task, config)
    probes = Probes(len(config.probes), task.encoder.dim, task.train.num_classes, task.seed).to(task.device)
    scale = steps.batch_size / 256
    optimizer = torch.optim.AdamW(
        [
            group
            for pool, probe in zip(probes.pools, config.probes, strict=True)
            for group in map(dict, groups(pool, probe.lr * scale, probe.weight_decay))
        ],
        betas=(0.9, 0.95),
    )

    def loss(model: "nn.Module", batch: "Labelled", _step: int) -> "Tensor":
        losses = [F.cross_entropy(logits, batch.labels) for logits in model(batch.inputs)]
        return torch.stack(losses).sum()  # each probe gets the gradient of its own loss

    batches = partial(_training_tokens, task, config, steps)
    return train(task, Training(probes, optimizer, steps, batches, loss, _scorer(task, config, probes, held_out)))


def _training_tokens(task: "Task", config: AttentiveConfig, steps: "Plan", start_step: int) -> "LabelledBatches":
    """This rank's tokens (B, N, D) with their labels, for each step from `start_step` on."""
    from .attentive_pool import tokens_of
    from .classifier import central_square, crop_and_flip, labelled_batches

    views = (crop_and_flip if config.augment else central_square)(config.interpolation)
    with closing(labelled_batches(task, steps, views, start_step)) as batches:
        for batch in batches:
            yield batch._replace(inputs=tokens_of(task, batch.inputs))


def _scorer(task: "Task", config: AttentiveConfig, probes: "Probes", held_out: "ImageSet") -> "Callable[[bool], Score]":
    """Scores the probes as they are. Tokens are not kept: those of a large data set have no room."""
    from .attentive_pool import counted_probes, probe_answers
    from .details import details_of
    from .heads import selected, selected_score

    def score(last: bool) -> "Score":
        tested, held = (counted_probes(task, images, probes, len(config.probes)) for images in (task.test, held_out))
        score = selected_score([probe.settings for probe in config.probes], tested, held)
        if not last:
            return score
        return score._replace(details=details_of(task, probe_answers(task, probes.pools[selected(tested, held)])))

    return score


ATTENTIVE = Evaluation(
    "attentive",
    "attentive",
    AttentiveConfig,
    (AttentiveConfig(),),
    evaluate_attentive,
    metrics=ACCURACY,
    batch_size=lambda config: config.batch_size,
)
"""CAPI's 12,500 steps are 10 epochs of ImageNet-1k in batches of 1,024, the first of them the warm-up."""
