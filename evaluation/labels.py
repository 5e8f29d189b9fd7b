"""Which training images an evaluation uses with their labels: a share of each class, or a list. Free of torch."""

from pathlib import PurePath
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Discriminator, Field, PositiveInt, Tag
from pydantic.json_schema import SkipJsonSchema

from ..methods.base_config import Config, Sha256


def _share(value: Any) -> Any:
    """``1%`` as 0.01."""
    if not isinstance(value, str):
        return value
    number = value.removesuffix("%").strip()
    share = float(number) / 100 if number != value and number.replace(".", "", 1).isdigit() else 0
    if not 0 < share <= 1:
        raise ValueError("must be a share, as 1% or 0.01, or a mapping with `list`")
    return share


class LabelList(Config):
    """Training images by their names or numbers, one a line of a file, as the published lists for 1 % and 10 % of ImageNet-1k."""

    internal: ClassVar[frozenset[str]] = frozenset({"count"})
    """Fields that no sweep file sets."""

    list: str = Field(min_length=1, description="a text file; relative to the sweep file")
    sha256: Sha256 | None = Field(default=None, description="of the file; unset: that of the file as it is")
    count: SkipJsonSchema[PositiveInt | None] = None
    """Lines of the file, once it is read."""

    @property
    def identity(self) -> dict[str, str]:
        """As JSON values: the content, wherever it lies, once it is known."""
        return {"list": self.list} if self.sha256 is None else {"sha256": self.sha256}

    @property
    def text(self) -> str:
        """In tables: the same for a file of the same content, wherever it lies."""
        if self.sha256 is None or self.count is None:
            return f"listed in {PurePath(self.list).name}"
        return f"{self.count} listed ({self.sha256[:8]})"


LabelShare = Annotated[float, Field(gt=0, le=1), BeforeValidator(_share)]
Labels = Annotated[
    Annotated[LabelShare, Tag("share")] | Annotated[LabelList, Tag("LabelList")],
    Discriminator(lambda value: "LabelList" if isinstance(value, (dict, LabelList)) else "share"),
]


def labels_text(labels: float | LabelList) -> str:
    """``1%``, or the list in words."""
    return labels.text if isinstance(labels, LabelList) else f"{100 * labels:g}%"
