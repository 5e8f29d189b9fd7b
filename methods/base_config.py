"""What every configuration is made of: its base class, and kinds of numbers and text."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first number must not be greater than the second")
    return bounds


def _digits(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError("must be the 64 hexadecimal digits that `sha256sum` prints")
    return text


Probability = Annotated[float, Field(ge=0, le=1)]
BatchSize = Annotated[int, Field(ge=2)]
"""Over all workers; batch norm has no statistics of one image."""
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Share of a running mean that stays at each step."""
Sha256 = Annotated[str, AfterValidator(_digits)]
Range = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ordered)]


class Config(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error rather than a silent default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)

    added: ClassVar[frozenset[str]] = frozenset()
    """Settings that came later: at its default, such a one is no part of an identity, so that results from before it stay valid."""

    @property
    def late(self) -> set[str]:
        """What was added later, and says nothing."""
        fields = type(self).model_fields
        return {key for key in self.added if getattr(self, key) == fields[key].default}
