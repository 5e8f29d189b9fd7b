"""What a sweep file may say about the weights that a backbone begins with. Free of torch."""

from pathlib import PurePath

from pydantic import Field, model_validator

from .base_config import Config, Sha256

OF_A_TRIAL = "trial:"
TIMM = "timm"
OF_TIMM = f"{TIMM}:"
DEFAULT_TAG = "default"
"""Of timm's weights: those that timm takes if it is not told which."""


def names_a_file(text: str) -> bool:
    """Whether `weights: text` is a path: not weights of a trial, nor timm's own."""
    return text != TIMM and not text.startswith((OF_A_TRIAL, OF_TIMM))


class WeightsConfig(Config):
    """What a backbone begins with: a file, the backbone of a trial that is in the sweep's own store, or timm's own weights."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="a safetensors file or a PyTorch checkpoint, or a folder with one; relative to the sweep file",
    )
    trial: str | None = Field(
        default=None,
        min_length=1,
        description="a trial of the store, pretrained: its id, its label or a part of either",
    )
    timm: str | None = Field(
        default=None,
        min_length=1,
        description="timm's weights for the backbone, by their tag, from its cache on this machine; `default`: those of the"
        " tag in the backbone's name, else timm's first",
        exclude_if=lambda tag: tag is None,
    )
    title: str | None = Field(
        default=None, min_length=1, description="in tables; unset: the name of the file or trial, or timm's tag"
    )
    prefix: str | None = Field(
        default=None,
        description="of the backbone's names in the file, as `teacher.backbone`; unset: that under which most are found",
    )
    partial: bool = Field(default=False, description="whether tensors that the file lacks may begin at random")
    sha256: Sha256 | None = Field(default=None, description="of the file; unset: that of the file as it is")

    @model_validator(mode="before")
    @classmethod
    def place_alone(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value.startswith(OF_A_TRIAL):
            return {"trial": value.removeprefix(OF_A_TRIAL).strip()}
        if not names_a_file(value):
            return {"timm": DEFAULT_TAG if value == TIMM else value.removeprefix(OF_TIMM).strip()}
        return {"path": value}

    @model_validator(mode="after")
    def one_place(self) -> "WeightsConfig":
        if [self.path, self.trial, self.timm].count(None) != 2:
            raise ValueError("weights need a `path`, a `trial` or `timm`, and one of them")
        return self

    @property
    def place(self) -> str:
        """As messages name it."""
        if self.timm is not None:
            return f"'{TIMM}'" if self.timm == DEFAULT_TAG else f"'{OF_TIMM}{self.timm}'"
        return f"trial '{self.trial}'" if self.path is None else f"'{self.path}'"

    @property
    def name(self) -> str:
        """What tables call them: their title, the name of the file or folder without its ending, the trial, or timm's tag."""
        if self.title is not None:
            return self.title
        if self.timm is not None:
            return TIMM if self.timm == DEFAULT_TAG else f"{TIMM} {self.timm}"
        if self.path is None:
            return f"trial {self.trial}"
        return PurePath(self.path).name.removesuffix(".tar").rpartition(".")[0] or PurePath(self.path).name
