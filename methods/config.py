"""What a sweep file may say about a method, its views and its optimisation. Free of torch, so that sweep files validate quickly."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from .base_config import BatchSize, Config, Decay, Probability, Range
from .quantities import plural
from .rates import DESCRIPTION, Rates
from .weights_config import WeightsConfig

# ---- views -----------------------------------------------------------------------------------------------------------


class ColorJitter(Config):
    """Strengths as in torchvision: factors from [1 - x, 1 + x], hue shifts from [-x, x] turns; the four in random order."""

    brightness: NonNegativeFloat = 0.8
    contrast: NonNegativeFloat = 0.8
    saturation: NonNegativeFloat = 0.8
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    p: Probability = 0.8


class GaussianBlur(Config):
    """Pillow's Gaussian blur; sigma is in pixels whatever the image size."""

    p: Probability = 0.5
    sigma: Range = (0.1, 2.0)


class Solarize(Config):
    p: Probability = 0.2
    threshold: Annotated[int, Field(ge=0, le=255)] = 128


class ViewConfig(Config):
    """One kind of crop and what is done to it, in this order: crop, flip, jitter, gray, blur, solarize, normalise."""

    count: PositiveInt = 1
    size: PositiveInt | None = Field(
        default=None, description="pixels; unset: `resolution` times the data set's image size"
    )
    resolution: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="share of the image size, to the nearest multiple of 8, where `size` is unset"
    )
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    flip: Probability = 0.5
    jitter: ColorJitter | None = ColorJitter()
    grayscale: Probability = 0.2
    blur: GaussianBlur | None = GaussianBlur()
    solarize: Solarize | None = None
    solarize_before_blur: bool = False

    def pixels(self, image_size: int) -> int:
        """Side of the square crop, for a data set whose images are used at `image_size` pixels."""
        if self.size is not None:
            return self.size
        if self.resolution == 1:
            return image_size
        return max(8, round(image_size * self.resolution / 8) * 8)


class ViewsConfig(Config):
    global_views: tuple[ViewConfig, ...] = Field(min_length=1)
    local_views: tuple[ViewConfig, ...] = ()


# ---- optimisation ----------------------------------------------------------------------------------------------------


class OptimizerConfig(Config):
    """The optimizer; the rate at the top of the schedule is `lr`, scaled from batch 256 by `lr_scaling`."""

    added = frozenset({"clip_each"})

    name: Literal["sgd", "adam", "adamw", "lars"] = "sgd"
    lr: PositiveFloat = 0.03
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        default="linear", description="rate = lr, lr x batch / 256, or lr x sqrt(batch / 256)"
    )
    weight_decay: NonNegativeFloat = 1e-4
    final_weight_decay: NonNegativeFloat | None = Field(
        default=None, description="final weight decay of the cosine schedule"
    )
    momentum: Decay = Field(default=0.9, description="sgd and lars")
    betas: tuple[Decay, Decay] = Field(default=(0.9, 0.999), description="adam and adamw")
    trust_coefficient: PositiveFloat = Field(default=0.001, description="lars")
    exclude_norm_and_bias: bool = Field(
        default=True, description="no weight decay (nor LARS scaling) on vectors and scalars"
    )
    norm_and_bias_lr: PositiveFloat = Field(
        default=1.0, description="rate of vectors and scalars, as a share of the rate"
    )
    clip_norm: PositiveFloat | None = Field(default=None, description="largest norm of the whole gradient")
    clip_each: bool = Field(default=False, description="`clip_norm` is of each parameter's gradient by itself")

    def peak_lr(self, batch_size: int) -> float:
        """Learning rate at the top of the schedule, for a global batch of `batch_size` images."""
        factor = {"none": 1.0, "linear": batch_size / 256, "sqrt": (batch_size / 256) ** 0.5}
        return self.lr * factor[self.lr_scaling]


class ScheduleConfig(Config):
    """Linear warm-up, then a cosine to `final_lr_factor` times the peak."""

    warmup_epochs: NonNegativeFloat = 0.0
    final_lr_factor: Probability = 0.0
    by: Literal["step", "epoch"] = Field(
        default="step", description="the rate moves at each step, or stays the same for an epoch"
    )


class CollapseConfig(Config):
    """When features count as collapsed, from the end of epoch `grace_epochs` on."""

    min_rank: NonNegativeFloat = Field(default=2.0, description="least RankMe (arXiv:2210.02885) of the features")
    min_std: NonNegativeFloat = Field(
        default=0.01, description="least spread of the normalised features; 1 is that of a sphere filled evenly"
    )
    grace_epochs: PositiveInt = 1


class PretrainConfig(Config):
    """How a method is trained. `batch_size` is global: it does not depend on the number of workers or GPUs."""

    epochs: PositiveInt = 100
    batch_size: BatchSize = 256
    precision: Literal["float32", "bf16"] = "float32"
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    rates: Rates | None = Field(default=None, exclude_if=lambda rates: rates is None, description=DESCRIPTION)
    accumulate: PositiveInt = Field(
        default=1,
        description="parts of a batch that go through the network one after another; batch norm, negatives and other"
        " statistics of the batch see a part",
    )
    sync_batchnorm: bool = Field(default=True, description="batch statistics over all workers")
    knn_every: NonNegativeInt = Field(
        default=0,
        description="epochs between two evaluations by kNN, and by ridge if it is listed, while pretraining; 0: none",
    )
    diagnose_every: NonNegativeInt = Field(
        default=1, description="epochs between two looks at the features' rank and spread; 0: none"
    )
    stop_collapsed: CollapseConfig | None = Field(default=None, description="fail a trial whose features collapse")


# ---- methods ---------------------------------------------------------------------------------------------------------


Family = Literal["contrastive", "distillation", "redundancy reduction", "clustering", "masked", "baseline"]


class MethodConfig(Config):
    """Base of every method's configuration. The class defaults are the paper's."""

    title: ClassVar[str]
    """Name in tables, e.g. ``SimCLR``."""
    paper: ClassVar[str]
    """Full title and arXiv id."""
    family: ClassVar[Family]
    version: ClassVar[int] = 1
    """Raised whenever a change to the method's code changes its numbers; part of a trial's identity."""
    needs_vit: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    masks_patches: ClassVar[bool] = False
    """Whether patches of each image are drawn by `parts/masks.py`."""
    num_global_views: ClassVar[int | None] = 1
    """Global views of an image that the loss takes; None: two or more."""
    uses_local_views: ClassVar[bool] = False
    one_global_size: ClassVar[bool] = False
    """Whether all global views go through the network as one batch, and so must have one size."""
    trains: ClassVar[bool] = True
    """False for what is evaluated as it is initialised: the loop skips the training."""
    weights: ClassVar[Literal["allowed", "needed", "refused"]] = "allowed"
    """Whether the backbone may, must or must not begin with given weights."""
    pretrain: ClassVar[PretrainConfig]
    """The paper's optimisation: used where neither the sweep nor a recipe sets a value."""

    name: str
    views: ViewsConfig

    @model_validator(mode="after")
    def views_are_what_the_loss_takes(self) -> "MethodConfig":
        """Views that no loss reads would be drawn for nothing, and missing ones fail in the first step."""
        found, wanted = sum(view.count for view in self.views.global_views), self.num_global_views
        if found < 2 if wanted is None else found != wanted:
            count = "two or more global views" if wanted is None else plural(wanted, "global view")
            raise ValueError(f"method '{self.name}' takes {count} of an image, but `views.global_views` has {found}")
        if self.views.local_views and not self.uses_local_views:
            raise ValueError(f"method '{self.name}' takes no `views.local_views`")
        sizes = {(view.size, view.resolution if view.size is None else None) for view in self.views.global_views}
        if self.one_global_size and len(sizes) > 1:
            raise ValueError(f"method '{self.name}' needs one `size` or `resolution` for all of `views.global_views`")
        return self


Option = bool | int | float | str


class BackboneConfig(Config):
    """An encoder: `resnet18-cifar`, or any timm model by its name with `options` for ``timm.create_model``."""

    name: str
    options: dict[str, Option | tuple[Option, ...]] = Field(default_factory=dict)
    weights: WeightsConfig | None = Field(
        default=None,
        exclude_if=lambda weights: weights is None,
        description="begin with these: a path, `trial:ID`, `timm`, `timm:TAG`, or a mapping; unset: at random",
    )

    @model_validator(mode="before")
    @classmethod
    def name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value
