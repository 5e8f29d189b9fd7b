"""The axes of a search as a sweep file has them: what a value is drawn from, and when there is one."""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PositiveFloat, Tag

from ...evaluation.base import listed
from ...methods.config import Config
from .errors import Misfit, show

Scalar = bool | int | float | str


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """1 and 1.0 are the same value of an axis; 1 and true are not."""
    seen: set[tuple[bool, Any]] = set()
    for i, value in enumerate(values):
        key = (isinstance(value, bool), repr(value) if isinstance(value, (dict, tuple, list)) else value)
        if key in seen:
            raise Misfit(f"duplicate value {show(value)}; list each value once", (i,))
        seen.add(key)
    return values


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the first number must be less than the second")
    return bounds


OneOrSeveral = BeforeValidator(listed, json_schema_input_type=Scalar | tuple[Scalar, ...])
Allowed = Annotated[tuple[Scalar, ...], Field(min_length=1), OneOrSeveral]


class Axis(Config):
    """What a value is drawn from."""

    when: dict[str, Allowed] = Field(
        default_factory=dict,
        description="the axis is there only for these values: `method`, or another dotted key, to one value or several",
    )


class Uniform(Axis):
    uniform: Annotated[tuple[float, float], AfterValidator(_rising)]


class LogUniform(Axis):
    loguniform: Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_rising)]


class IntegerRange(Axis):
    randint: Annotated[tuple[int, int], AfterValidator(_rising)] = Field(description="both ends are included")


class Choice(Axis):
    choice: Annotated[tuple[Scalar, ...], Field(min_length=1), AfterValidator(distinct)]


Domain = Uniform | LogUniform | IntegerRange | Choice


def kind_of(value: Any) -> str | None:
    """The key of a search axis beside `when`."""
    keys = type(value).model_fields if isinstance(value, get_args(Domain)) else value if isinstance(value, dict) else ()
    kinds = [key for key in keys if key != "when"]
    return kinds[0] if len(kinds) == 1 and isinstance(kinds[0], str) else None


KINDS = tuple(next(key for key in kind.model_fields if key != "when") for kind in get_args(Domain))
"""``uniform`` and its kin."""
AXIS_RULE = "must be one of {uniform: [low, high]}, {loguniform: [low, high]}, {randint: [low, high]}, {choice: [...]}"
SearchAxis = Annotated[
    Annotated[Uniform, Tag("uniform")]
    | Annotated[LogUniform, Tag("loguniform")]
    | Annotated[IntegerRange, Tag("randint")]
    | Annotated[Choice, Tag("choice")],
    Discriminator(kind_of, custom_error_type="search_axis", custom_error_message=AXIS_RULE),
]
