"""Fine-tuning: the whole network learns from labels.

`finetune/simclr@1` is that of SimCLR (arXiv:2002.05709, app. B.8). `finetune/mae@2` is that of MAE's code for ViT-B
(arXiv:2111.06377, app. A.1; `FINETUNE.md` of facebookresearch/mae), but for the batch, which is 256 instead of 1024, with the
linear rule for the rate; the first step's rate, which there is zero; and one mixup or CutMix for the batch of all ranks instead of
one for each rank. `finetune/mae@1` meant the same, but let each layer learn at the rate of the one above it, and had
torchvision's RandAugment, of a third of the strength.

`finetune/lightly-vit@1` is how the ViTs of Lightly's ImageNet benchmark were fine-tuned. Its code means MAE's settings too, but
the names of layers that it looks for are torchvision's and its networks are timm's: there is neither layer decay nor drop
path. The classifier has AdamW's own rate, 0.001, at the peak of the schedule, and tokens and positions are not trained.
"""

import copy
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..methods.backbones import is_vit
from ..methods.config import BackboneConfig, BatchSize, Probability
from ..methods.rates import DESCRIPTION, Rates, rates_problem
from .base import ACCURACY, Evaluation, EvaluationConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from ..methods.encoder import Encoder
    from .classifier import Classifier
    from .details import Answers
    from .task import Score, Task


class FinetuneConfig(EvaluationConfig):
    """The whole network and a linear classifier, trained with labels."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"head_init", "head_lr", "param_groups", "pooling", "randaugment_policy"}
    )

    name: Literal["finetune"] = "finetune"
    protocol: Literal["finetune/simclr@1", "finetune/mae@1", "finetune/mae@2", "finetune/lightly-vit@1"] = (
        "finetune/simclr@1"
    )
    epochs: PositiveInt = 30
    batch_size: BatchSize = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = Field(default=0.05, description="at batch 256; scaled linearly")
    weight_decay: NonNegativeFloat = 0.0
    warmup_epochs: NonNegativeFloat = 0
    final_lr_factor: Probability = 0.001
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0,
        description="rate of a layer = this ^ layers above it, of AdamW; whether the classifier is one says `param_groups`",
    )
    param_groups: Literal["headless", "mae", "lightly"] = Field(
        default="headless",
        description="`headless`: the classifier counts as no layer and has no weight decay; `mae`: it is the layer above the"
        " network, and its weight decays; `lightly`: no layer decay, and tokens and positions are not trained",
    )
    head_lr: PositiveFloat | Literal["scaled"] = Field(
        default="scaled", description="of the classifier at the peak, for any batch; `scaled`: as of the network"
    )
    head_init: Literal["normal", "mae", "uniform"] = Field(
        default="normal",
        description="weights of the classifier from `normal`: N(0, 0.01²), `mae`: N(0, 0.00002²), `uniform`: ±1/√D (also biases)",
    )
    pooling: Literal["backbone", "patches"] = Field(
        default="backbone",
        description="`patches`: a ViT gives the mean of its patches behind a new norm, instead of its class token",
    )
    rates: Rates | None = Field(default=None, exclude_if=lambda rates: rates is None, description=DESCRIPTION)
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    randaugment: bool = Field(default=False, description="two operations of magnitude 9 on each image")
    randaugment_policy: Literal["torchvision-m9", "rand-m9-mstd0.5-inc1"] = Field(
        default="torchvision-m9",
        description="`torchvision-m9`: magnitude 9 of 30; `rand-m9-mstd0.5-inc1`: timm's, magnitude 9 ± 0.5 of 10, each operation"
        " with probability 1/2",
    )
    erasing: Probability = 0.0
    augment: bool = Field(
        default=True,
        description="off: no random crops and flips, for images whose label they would change (e.g. digits)",
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def draws(self) -> bool:
        """Whether anything but crops and flips is drawn."""
        return any((self.drop_path, self.mixup, self.cutmix, self.randaugment, self.erasing))


def evaluate_finetune(task: "Task", config: FinetuneConfig) -> "Score":
    """Train a copy of the backbone with a classifier and score it after each epoch."""
    from .augmentation import Augmentation
    from .classifier import central_square, crop_and_flip, labelled_batches
    from .supervised import Training, plan_of, train

    model = _classifier(task, config)
    steps = plan_of(task, config)
    optimizer = _optimizer(model, config, config.lr * steps.batch_size / 256)
    views = (crop_and_flip if config.augment else central_square)(config.interpolation)
    loss = Augmentation(config, task).loss
    batches = partial(labelled_batches, task, steps, views)
    return train(task, Training(model, optimizer, steps, batches, loss, partial(_score, model, task)))


def _classifier(task: "Task", config: FinetuneConfig) -> "Classifier":
    from ..methods.freezing import freeze
    from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
    from .classifier import Classifier
    from .parameter_groups import freeze_tokens

    encoder = _encoder(task, config).requires_grad_(True)
    model = Classifier(encoder, task.train.num_classes, task.seed, config.head_init)
    # Positions that a method fixed stay fixed: they are a table and not weights.
    for name, parameter in task.encoder.named_parameters():
        if name.endswith("pos_embed") and not parameter.requires_grad:
            encoder.get_parameter(name).requires_grad_(False)
    if config.param_groups == "lightly":
        freeze_tokens(encoder)
    if config.rates:
        freeze(encoder, config.rates)
    if task.world_size > 1:
        convert_sync_batchnorm(model, task.device)
    return model.to(task.device).train()


def _encoder(task: "Task", config: FinetuneConfig) -> "Encoder":
    """A copy of the backbone, with the drop path and the pooling of the configuration."""
    from ..methods.encoder import build_encoder

    options = _options(config, task.encoder)
    if not options:
        return copy.deepcopy(task.encoder)
    encoder = build_encoder(_with_options(task.backbone, options), task.image_size)
    weights = task.encoder.state_dict()
    if "global_pool" in options:  # the norm of each token goes, and one of their mean begins anew, as in MAE's
        fresh = encoder.state_dict()
        assert all("norm." in name for name in weights.keys() ^ fresh.keys())
        weights = fresh | {name: value for name, value in weights.items() if name in fresh}
    encoder.load_state_dict(weights)
    return encoder


def _options(config: FinetuneConfig, encoder: "Encoder") -> dict[str, Any]:
    """What differs in the network that is fine-tuned."""
    from ..methods.encoder import gives_class_token

    options: dict[str, Any] = {}
    if config.drop_path:
        options["drop_path_rate"] = config.drop_path
    if config.pooling == "patches" and gives_class_token(encoder):
        options["global_pool"] = "avg"
    return options


def _with_options(backbone: BackboneConfig, options: dict[str, Any]) -> BackboneConfig:
    return backbone.model_copy(update={"options": backbone.options | options})


def _misnamed(config: FinetuneConfig, backbone: BackboneConfig, image_size: int) -> tuple[str, str] | None:
    """A pattern of `rates` that matches nothing in the network which is fine-tuned."""
    if not config.rates:
        return None
    from ..methods.encoder import build_encoder

    encoder = build_encoder(backbone, image_size)
    if options := _options(config, encoder):
        encoder = build_encoder(_with_options(backbone, options), image_size)
    names = [name for name, _ in encoder.model.named_parameters()]
    problem = rates_problem(config.rates, names, backbone.name)
    return None if problem is None else ("rates", problem)


def _optimizer(model: "Classifier", config: FinetuneConfig, lr: float) -> "Optimizer":
    import torch

    from .parameter_groups import parameter_groups

    groups: list[dict[str, Any]] = [dict(group) for group in parameter_groups(model, config, lr)]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=0.9, weight_decay=config.weight_decay)
    return torch.optim.AdamW(groups, lr)


def _score(model: "Classifier", task: "Task", last: bool) -> "Score":
    import torch

    from ..datasets.batches import evaluation_batches
    from ..methods.parts.device import to_device
    from .details import answers, details_of
    from .features import batch_size
    from .task import count, total

    model.eval()
    hits = torch.zeros(4, dtype=torch.long, device=str(task.device))
    batches = evaluation_batches(
        task.test, task.image_size, batch_size(task), rank=task.rank, world_size=task.world_size
    )
    answered: list[Answers] = []
    for rows, view in batches:
        with torch.no_grad(), task.autocast():
            logits = model(view).float()
        answered += [answers(logits)] if last else []
        hits += count(logits, to_device(task.test.labels[rows], task.device))
        task.is_alive()
    model.train()
    score = total(hits).score()
    return score._replace(details=details_of(task, answered)) if last else score


_MAE = FinetuneConfig(
    protocol="finetune/mae@1",
    epochs=100,
    optimizer="adamw",
    lr=5e-4,
    weight_decay=0.05,
    warmup_epochs=5,
    layer_decay=0.65,
    drop_path=0.1,
    mixup=0.8,
    cutmix=1.0,
    label_smoothing=0.1,
    randaugment=True,
    erasing=0.25,
    interpolation="bicubic",
)
_MAE_2 = _MAE.model_copy(
    update={
        "protocol": "finetune/mae@2",
        "final_lr_factor": 0.002,  # MAE ends at 1e-6 whatever the batch
        "param_groups": "mae",
        "head_init": "mae",
        "pooling": "patches",
        "randaugment_policy": "rand-m9-mstd0.5-inc1",
    }
)
_LIGHTLY_VIT = _MAE_2.model_copy(
    update={
        "protocol": "finetune/lightly-vit@1",
        "final_lr_factor": 0.001,
        "layer_decay": 1.0,
        "param_groups": "lightly",
        "head_lr": 1e-3,
        "head_init": "uniform",
        "pooling": "backbone",
        "drop_path": 0.0,
    }
)


def published_protocol(backbone: str, dataset: str) -> str:
    """As in Lightly's table, which has ViTs on ImageNet-1k alone; on other data sets they are fine-tuned as MAE's."""
    if not is_vit(backbone):
        return "finetune/simclr@1"
    return "finetune/lightly-vit@1" if dataset == "imagenet1k" else "finetune/mae@2"


FINETUNE = Evaluation(
    "finetune",
    "finetune",
    FinetuneConfig,
    (FinetuneConfig(), _MAE, _MAE_2, _LIGHTLY_VIT),
    evaluate_finetune,
    metrics=ACCURACY,
    default=published_protocol,
    batch_size=lambda config: config.batch_size,
    misnamed=_misnamed,
)
