"""What a sweep file may say about its images. Free of torch and NumPy."""

import difflib
import re
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from ..methods.config import Config
from .list_file import LISTS
from .registry import DATASETS
from .torchvision_classes import TORCHVISION


def _listed(schema: dict[str, Any]) -> None:
    schema["enum"] = list(DATASETS)


_HOLDOUT = 0.1

FILES = {".parquet": "parquet"} | dict.fromkeys(LISTS, "list")
"""Data sets that are one file, by its ending."""

COLUMNS_OF = ("parquet", "list", "huggingface")


class ColumnsConfig(Config):
    """Which columns of a table hold images and labels."""

    image: str | None = Field(
        default=None, description="of the images, or of their paths; unset: `image` or `img`, or `path`"
    )
    label: str | None = Field(default=None, description="of the classes; unset: `label`")


def named(text: str) -> dict[str, str]:
    """The mapping that a data set's name, or the path of a user's images, stands for."""
    if text.startswith("torchvision."):
        return {"name": "torchvision", "class_name": text.rsplit(".", 1)[1]}
    if name := FILES.get(PurePath(text).suffix):
        return {"name": name, "path": text}
    return {"name": "folder", "path": text} if "/" in text else {"name": text}


class DatasetConfig(Config):
    """A data set by name; those that are not downloaded need a `path`."""

    name: str = Field(json_schema_extra=_listed)
    path: str | None = Field(
        None,
        validate_default=True,
        description="folder or file of the images, relative to the sweep file; or s3://, gs://",
    )
    class_name: str | None = Field(
        None, validate_default=True, description="for `torchvision`: the class, as CIFAR100 or Flowers102"
    )
    columns: ColumnsConfig | None = Field(
        None,
        description="for `parquet`, `list` and `huggingface`: columns with other names than the usual",
        exclude_if=lambda columns: columns is None,
    )
    title: str | None = Field(
        None,
        max_length=100,
        exclude_if=lambda title: title is None,
        description="what tables call it; unset: its name, or of one's own images the last part of the path, without a file's ending",
    )
    image_size: PositiveInt | None = Field(None, description="pixels; unset: the data set's usual size")
    train_images: PositiveInt | None = Field(
        None, description="use this many training images, the same share of each class"
    )
    test_images: PositiveInt | None = Field(None, description="use this many test images, the same share of each class")
    holdout: Annotated[float, Field(gt=0, lt=1)] = Field(
        _HOLDOUT, description="share of the training set that tuning is scored on"
    )
    damaged: Literal["fail", "skip"] = Field(
        "fail", description="what becomes of images that cannot be read: an error that names them, or they are left out"
    )

    @model_validator(mode="before")
    @classmethod
    def name_alone(cls, value: object) -> object:
        return named(value) if isinstance(value, str) else value

    @field_validator("name")
    @classmethod
    def name_is_known(cls, name: str) -> str:
        if name not in DATASETS:
            *first, last = (f"'{known}'" for known in DATASETS)
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
        return name

    @field_validator("title")
    @classmethod
    def title_is_readable(cls, title: str | None) -> str | None:
        if title is not None and not (title.isprintable() and title.strip()):
            raise ValueError("must be a line of text")
        return title

    @field_validator("path")
    @classmethod
    def path_is_given(cls, path: str | None, info: ValidationInfo) -> str | None:
        name = info.data.get("name")
        if path is None and name is not None and DATASETS[name].needs_path:
            raise ValueError(f"data set '{name}' needs a `path`")
        if name == "list" and "://" in (path or ""):
            raise ValueError("a `list` and its images must be files of this machine; a folder or Parquet may be remote")
        return path

    @field_validator("class_name")
    @classmethod
    def class_is_known(cls, class_name: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("name") != "torchvision":
            if class_name is not None:
                raise ValueError("`class_name` is for the data set 'torchvision' alone")
        elif class_name not in TORCHVISION:
            given = "needs a `class_name`" if class_name is None else f"has no class '{class_name}' here"
            near = difflib.get_close_matches(class_name or "", TORCHVISION, n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(f"data set 'torchvision' {given}{hint} (allowed: {', '.join(TORCHVISION)})")
        return class_name

    @field_validator("columns")
    @classmethod
    def columns_are_of_a_table(cls, columns: ColumnsConfig | None, info: ValidationInfo) -> ColumnsConfig | None:
        if columns is not None and info.data.get("name") not in COLUMNS_OF:
            raise ValueError(f"`columns` is for the data sets {', '.join(COLUMNS_OF)} alone")
        return columns

    @property
    def is_remote(self) -> bool:
        """Whether the images lie on an object store."""
        return self.path is not None and "://" in self.path

    @property
    def kind(self) -> str:
        """Which data set it is, whatever the user calls it, in ids and names of files: torchvision's classes by their own."""
        return self.class_name or self.name

    @property
    def display_name(self) -> str:
        """What a user is shown: the title; unset, the last part of the path of a user's own images, or the `kind`."""
        if self.title is not None:
            return self.title
        if self.path is None or not DATASETS[self.name].named_by_path:
            return self.kind
        path = PurePath(self.path)
        return (path.stem if path.suffix in FILES else path.name) or self.kind

    @property
    def slug(self) -> str:
        """The displayed name as part of an evaluation's name, which has letters, digits, '.', '_' and '-' only."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.display_name)[:40].strip("-") or self.kind

    @property
    def source(self) -> "DatasetConfig":
        """Without what changes no image: two that are equal have the same images."""
        return self.model_copy(update={"title": None, "image_size": None, "holdout": _HOLDOUT, "damaged": "fail"})

    @property
    def usual_size(self) -> int:
        """Pixels at which the images are used."""
        usual = TORCHVISION[self.class_name].size if self.class_name else DATASETS[self.name].image_size
        return self.image_size or usual
