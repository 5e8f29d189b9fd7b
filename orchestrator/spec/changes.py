"""Changes of settings in the middle of a training: which there can be, and a schedule in words."""

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import Field, PositiveInt

from ...methods.config import Config, MethodConfig, OptimizerConfig

CHANGEABLE = "a real number of `pretrain.optimizer`, or of the method itself, as a temperature"
"""What `is_changeable`, in words. Sizes and counts, which networks and batches are built by, are integers."""


class Change(Config):
    """New values from the end of an epoch on."""

    after_epoch: PositiveInt = Field(description="epochs that are complete before")
    values: Annotated[dict[str, float], Field(min_length=1)]


def is_changeable(key: str, method: type[MethodConfig]) -> bool:
    """Whether the setting at a dotted key may change while the method is trained, see `CHANGEABLE`."""
    root, _, name = key.rpartition(".")
    model = {"pretrain.optimizer": OptimizerConfig, "method": method}.get(root)
    return model is not None and name in model.model_fields and _is_real(model.model_fields[name].annotation)


def _is_real(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _is_real(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return all(_is_real(kind) for kind in get_args(annotation) if kind is not NoneType)
    return annotation is float


def values_after(changes: Sequence[Change], epochs: int) -> dict[str, float]:
    """The settings that have changed once so many epochs are complete."""
    return {key: value for change in changes if change.after_epoch <= epochs for key, value in change.values.items()}


def scheduled(values: Mapping[str, object], changes: Sequence[Change]) -> dict[str, str]:
    """Of the settings that change, all values in words: ``0.2,0.24@10`` is 0.2 for ten epochs, then 0.24."""
    words: dict[str, str] = {}
    for change in changes:
        for key, value in change.values.items():
            before = words.get(key) or _short(values.get(key))
            words[key] = f"{before},{_short(value)}@{change.after_epoch}"
    return words


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, (int, float)) else "unset" if value is None else str(value)
