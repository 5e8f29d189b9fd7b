"""Fine-tuning: the whole network learns from labels (SimCLR, arXiv:2002.05709, app. B.8; MAE, arXiv:2111.06377, app. A.1)."""

import copy
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from ..methods.backbones import is_vit
from ..methods.config import BatchSize, Probability
from .base import ACCURACY, Evaluation, EvaluationConfig

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from .classifier import Classifier
    from .task import Score, Task


class FinetuneConfig(EvaluationConfig):
    """The whole network and a linear classifier, trained with labels."""

    name: Literal["finetune"] = "finetune"
    protocol: Literal["finetune/simclr@1", "finetune/mae@1"] = "finetune/simclr@1"
    epochs: PositiveInt = 30
    batch_size: BatchSize = 256
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: PositiveFloat = Field(default=0.05, description="at batch 256; scaled linearly")
    weight_decay: NonNegativeFloat = 0.0
    warmup_epochs: NonNegativeFloat = 0
    final_lr_factor: Probability = 0.001
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="rate of a layer = this ^ layers above it"
    )
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: NonNegativeFloat = 0.0
    cutmix: NonNegativeFloat = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    randaugment: bool = Field(default=False, description="two operations of magnitude 9 on each image")
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
    from .supervised import Training, plan, train

    model = _classifier(task, config)
    steps = plan(
        task.train,
        config.batch_size,
        config.epochs,
        task.world_size,
        warmup_epochs=config.warmup_epochs,
        final_lr_factor=config.final_lr_factor,
    )
    optimizer = _optimizer(model, config, config.lr * steps.batch_size / 256)
    views = (crop_and_flip if config.augment else central_square)(config.interpolation)
    loss = Augmentation(config, task).loss
    batches = partial(labelled_batches, task, steps, views)
    return train(task, Training(model, optimizer, steps, batches, loss, partial(_score, model, task)))


def _classifier(task: "Task", config: FinetuneConfig) -> "Classifier":
    from ..methods.encoder import build_encoder
    from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
    from .classifier import Classifier

    if config.drop_path:
        options = task.backbone.options | {"drop_path_rate": config.drop_path}
        encoder = build_encoder(task.backbone.model_copy(update={"options": options}), task.image_size)
        encoder.load_state_dict(task.encoder.state_dict())
    else:
        encoder = copy.deepcopy(task.encoder)
    model = Classifier(encoder.requires_grad_(True), task.train.num_classes, task.seed)
    # Positions that a method fixed stay fixed: they are a table and not weights.
    for name, parameter in task.encoder.named_parameters():
        if name.endswith("pos_embed") and not parameter.requires_grad:
            encoder.get_parameter(name).requires_grad_(False)
    if task.world_size > 1:
        convert_sync_batchnorm(model, task.device)
    return model.to(task.device).train()


def _optimizer(model: "Classifier", config: FinetuneConfig, lr: float) -> "Optimizer":
    import torch
    from timm.optim import param_groups_layer_decay

    if config.optimizer == "sgd":
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, lr, momentum=0.9, weight_decay=config.weight_decay)
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        model.encoder.model, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    groups.append({"params": list(model.head.parameters()), "weight_decay": 0.0})
    for group in groups:
        group["lr"] = lr * group.pop("lr_scale", 1.0)
    return torch.optim.AdamW(groups, lr)


def _score(model: "Classifier", task: "Task") -> "Score":
    import torch

    from ..datasets.batches import evaluation_batches
    from ..methods.parts.device import to_device
    from .features import batch_size
    from .task import count, total

    model.eval()
    hits = torch.zeros(4, dtype=torch.long, device=str(task.device))
    batches = evaluation_batches(
        task.test, task.image_size, batch_size(task), rank=task.rank, world_size=task.world_size
    )
    for rows, view in batches:
        with torch.no_grad(), task.autocast():
            logits = model(view)
        hits += count(logits.float(), to_device(task.test.labels[rows], task.device))
        task.is_alive()
    model.train()
    return total(hits).score()


FINETUNE = Evaluation(
    "finetune",
    "finetune",
    FinetuneConfig,
    (
        FinetuneConfig(),
        FinetuneConfig(
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
        ),
    ),
    evaluate_finetune,
    metrics=ACCURACY,
    default=lambda backbone, _dataset: "finetune/mae@1" if is_vit(backbone) else "finetune/simclr@1",
    batch_size=lambda config: config.batch_size,
)
