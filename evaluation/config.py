"""Evaluation protocols as data: a name with a version, and the settings that it stands for. Free of torch.

A protocol's settings never change: a changed setting is a new version. What a sweep sets by hand is kept beside the
protocol's name as `changed`, so that a report cannot mistake one for the other.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, TypeAdapter

from ..methods.config import Config, Probability


class KnnConfig(Config):
    """Weighted vote of the k nearest training images by cosine similarity; weight exp(similarity / temperature)."""

    name: Literal["knn"] = "knn"
    protocol: Literal["knn/lightly@1"] = "knn/lightly@1"
    k: PositiveInt = 200
    temperature: PositiveFloat = 0.1


class LinearConfig(Config):
    """A linear classifier on the frozen backbone, trained by SGD with momentum 0.9 on random crops and flips."""

    name: Literal["linear"] = "linear"
    protocol: Literal["linear/simclr@1", "linear/mae@1"] = "linear/simclr@1"
    epochs: PositiveInt = 90
    batch_size: PositiveInt = 256
    lr: PositiveFloat = Field(default=0.1, description="at batch 256; scaled linearly")
    warmup_epochs: NonNegativeFloat = 0
    final_lr_factor: Probability = 0.001
    normalize_features: bool = Field(
        default=False, description="batch norm without affine parameters before the classifier"
    )
    augment: bool = Field(default=True, description="off: features of the plain images, extracted once (much faster)")


class FinetuneConfig(Config):
    """The whole network and a linear classifier, trained with labels."""

    name: Literal["finetune"] = "finetune"
    protocol: Literal["finetune/simclr@1", "finetune/mae@1"] = "finetune/simclr@1"
    epochs: PositiveInt = 30
    batch_size: PositiveInt = 256
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
        default=True, description="off: no random crops and flips, for images that they would make others, as of digits"
    )
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @property
    def draws(self) -> bool:
        """Whether anything but crops and flips is drawn."""
        return any((self.drop_path, self.mixup, self.cutmix, self.randaugment, self.erasing))


def _name_alone(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


EvaluationConfig = Annotated[
    Annotated[KnnConfig | LinearConfig | FinetuneConfig, Field(discriminator="name")], BeforeValidator(_name_alone)
]
EVALUATION: TypeAdapter[KnnConfig | LinearConfig | FinetuneConfig] = TypeAdapter(EvaluationConfig)
EVALUATIONS = ("knn", "linear", "finetune")

PROTOCOLS: dict[str, KnnConfig | LinearConfig | FinetuneConfig] = {
    "knn/lightly@1": KnnConfig(),
    "linear/simclr@1": LinearConfig(),
    "linear/mae@1": LinearConfig(protocol="linear/mae@1", warmup_epochs=10, normalize_features=True),
    "finetune/simclr@1": FinetuneConfig(),
    "finetune/mae@1": FinetuneConfig(
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
}


def default_protocol(evaluation: str, is_vit: bool) -> str:
    """The protocol that the benchmark tables use for this kind of backbone."""
    if evaluation == "knn":
        return "knn/lightly@1"
    return f"{evaluation}/{'mae' if is_vit else 'simclr'}@1"


def resolve(
    config: KnnConfig | LinearConfig | FinetuneConfig, is_vit: bool
) -> KnnConfig | LinearConfig | FinetuneConfig:
    """The protocol's settings, overlaid with those that the sweep sets."""
    own = config.model_dump(exclude_unset=True)
    own.setdefault("protocol", default_protocol(config.name, is_vit))
    return EVALUATION.validate_python(PROTOCOLS[own["protocol"]].model_dump() | own)


def changed_settings(config: KnnConfig | LinearConfig | FinetuneConfig) -> dict[str, object]:
    """The settings that differ from those of the protocol."""
    standard = PROTOCOLS[config.protocol].model_dump()
    return {key: value for key, value in config.model_dump().items() if value != standard[key]}
