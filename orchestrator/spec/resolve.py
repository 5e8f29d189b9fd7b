"""From a method's entry and a point of the grid to a trial, resolved to the last value."""

import contextlib
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from ...datasets.config import DatasetConfig
from ...evaluation.registry import EVALUATIONS
from ...evaluation.registry import resolve as resolve_evaluation
from ...methods import METHODS
from ...methods.config import BackboneConfig
from ...methods.weights_config import WeightsConfig
from .changes import Change, scheduled
from .errors import show
from .messages import validate
from .models import MethodEntry, ShapeConfig, SweepSpec, TrialSpec
from .recipes import Options, RecipeValues, merge, method_defaults, recipe_values


class Group(NamedTuple):
    """One row of the table: a method at one point of the grid, over all seeds."""

    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    """Of the method's entry in the sweep."""
    entry: MethodEntry
    axes: Mapping[str, Any]


def groups(spec: SweepSpec) -> list[Group]:
    """The rows of the sweep. An axis over a key that a method does not have leaves that method as it is."""
    rows: list[Group] = []
    for index, entry in enumerate(spec.methods):
        axes = _axes_of(spec, entry)
        points = itertools.product(*axes.values())
        rows += [Group(index, entry, dict(zip(axes, point, strict=True))) for point in points]
    return rows


def count_trials(spec: SweepSpec, but: frozenset[int] = frozenset()) -> int:
    """How many trials the sweep has, without making them; entries of methods `but` are left out."""
    entries = [entry for i, entry in enumerate(spec.methods) if i not in but]
    return sum(math.prod(map(len, _axes_of(spec, entry).values())) for entry in entries) * len(spec.seeds)


def _axes_of(spec: SweepSpec, entry: MethodEntry) -> dict[str, tuple[Any, ...]]:
    return {key: values for key, values in spec.grid.items() if applies(key, entry)}


def applies(key: str, entry: MethodEntry) -> bool:
    """Whether the axis `key` says something about this method."""
    root, _, rest = key.partition(".")
    return root != "method" or rest.split(".")[0] in METHODS[entry.name].model_fields


def resolve(
    spec: SweepSpec,
    group: Group,
    seed: int,
    sampled: Mapping[str, object] | None = None,
    changes: Sequence[Change] = (),
    *,
    holdout: bool = False,
) -> TrialSpec:
    """One trial: the method's defaults, then the recipe, the sweep, the method's entry, the axes; and what changes later.

    Raises:
        ValidationError: the values do not fit together.
        RecipeError: the sweep's recipe has nothing for the data set.
    """
    values = trial_values(spec, group, seed, sampled, holdout=holdout)
    if changes:
        values["changes"] = tuple(change.model_dump() for change in changes)
        values["axes"] |= scheduled(values["axes"], changes)
    return validate(TrialSpec, values)


def trial_values(
    spec: SweepSpec, group: Group, seed: int, sampled: Mapping[str, object] | None = None, *, holdout: bool = False
) -> dict[str, Any]:
    """The values of `resolve`, not yet checked together."""
    entry = group.entry
    axes = {key: value for key, value in {**group.axes, **(sampled or {})}.items() if applies(key, entry)}
    axes = _tuples(axes)
    backbone_config = entry.backbone or spec.backbone
    if entry.weights is not None:
        backbone_config = backbone_config.model_copy(update={"weights": entry.weights})
    material: dict[str, Any] = {"dataset": spec.dataset.model_dump(), "backbone": backbone_config.model_dump()}
    material = _laid(material, {key: value for key, value in axes.items() if key.split(".")[0] in material})
    dataset, backbone = _dataset(material, spec), _backbone(material)
    recipe = recipe_values(spec.recipe, dataset.name, entry.name, backbone)
    trained = _trained(spec, entry, axes, recipe)
    size = trained["pretrain"]["batch_size"], trained["pretrain"]["epochs"]
    if all(isinstance(number, int) for number in size):  # of an axis: the trial's own check says so
        recipe = recipe_values(spec.recipe, dataset.name, entry.name, backbone, *size)
        trained = _trained(spec, entry, axes, recipe)
    return {
        **material,
        "backbone": _with_options(material["backbone"], recipe.options),
        **trained,
        "image_size": dataset.usual_size,
        "evaluate": tuple(
            resolve_evaluation(item, backbone, (item.dataset or dataset).name).model_dump() for item in spec.evaluate
        ),
        "seed": seed,
        "split": "holdout" if holdout else "test",
        "recipe": spec.recipe,
        "features": "none" if holdout else spec.features,
        "resources": _shape(spec.resources) | (_shape(entry.resources, exclude_unset=True) if entry.resources else {}),
        "axes": {key: _shown(key, value, spec) for key, value in axes.items()},
    }


def _trained(spec: SweepSpec, entry: MethodEntry, axes: dict[str, Any], recipe: RecipeValues) -> dict[str, Any]:
    """The values of `method` and `pretrain`."""
    pretrain = METHODS[entry.name].pretrain.model_dump()
    for layer in (
        recipe.pretrain,
        spec.pretrain.model_dump(exclude_unset=True),
        entry.pretrain.model_dump(exclude_unset=True) if entry.pretrain else {},
    ):
        pretrain = merge(pretrain, layer)
    method = merge(method_defaults(entry.name), recipe.method)
    trained = {"method": merge(method, _tuples(entry.settings)), "pretrain": pretrain}
    return _laid(trained, {key: value for key, value in axes.items() if key.split(".")[0] in trained})


def _with_options(backbone: Any, options: Options) -> Any:
    """With the recipe's options where the sweep sets none. Given weights are of a network that the sweep describes."""
    if not options:
        return backbone
    values = backbone if isinstance(backbone, dict) else {"name": backbone}
    own = values.get("options", {})
    if values.get("weights") is not None or not isinstance(own, dict):
        return backbone
    return values | {"options": options | own}


def _shown(key: str, value: Any, spec: SweepSpec) -> bool | int | float | str:
    """The value of an axis in labels and tables; weights and data sets by their names, for their places are long."""
    with contextlib.suppress(ValidationError):  # the trial's own check says so
        if key == "backbone.weights":
            return validate(WeightsConfig, value).name
        if key == "dataset":
            names = [validate(DatasetConfig, item).display_name for item in spec.grid.get(key, ())]
            if len(set(names)) == len(names):
                return validate(DatasetConfig, value).display_name
    return value if isinstance(value, (bool, int, float, str)) else show(value)


def shapes_of(spec: SweepSpec) -> list[ShapeConfig]:
    """The workers that trials of the sweep may take, each once."""
    own = [entry.resources for entry in spec.methods]
    values = [_shape(spec.resources) | (_shape(item, exclude_unset=True) if item else {}) for item in own]
    return list(dict.fromkeys(validate(ShapeConfig, item) for item in values))


def _shape(resources: ShapeConfig, *, exclude_unset: bool = False) -> dict[str, Any]:
    return resources.model_dump(include=set(ShapeConfig.model_fields), exclude_unset=exclude_unset)


def _dataset(material: dict[str, Any], spec: SweepSpec) -> DatasetConfig:
    try:
        return validate(DatasetConfig, material["dataset"])
    except ValidationError:  # of an axis: the trial's own check says so
        return spec.dataset


def _backbone(material: dict[str, Any]) -> str:
    try:
        return validate(BackboneConfig, material["backbone"]).name
    except ValidationError:  # as above
        return ""


def _tuples(value: Any) -> Any:
    """Lists as tuples, as in a file that was just read: what went through JSON has lists."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _laid(values: dict[str, Any], axes: dict[str, Any]) -> dict[str, Any]:
    for key, value in axes.items():
        values = _with(values, key.split("."), value)
    return values


def _with(values: Any, path: list[str], value: Any) -> Any:
    """A copy of `values` that has `value` at `path`; a name alone becomes a mapping."""
    if not path:
        return value
    inside = values if isinstance(values, dict) else {} if values is None else {"name": values}
    return inside | {path[0]: _with(inside.get(path[0]), path[1:], value)}


def shared_batches(trial: TrialSpec) -> list[tuple[str, int]]:
    """The batches that workers divide among themselves, each with its name: of the pretraining, then of the evaluations."""
    return [*pretrain_batches(trial), *evaluation_batches(trial)]


def pretrain_batches(trial: TrialSpec) -> list[tuple[str, int]]:
    """That of the pretraining; none of a method that does not train."""
    parts, batch_size = trial.pretrain.accumulate, trial.pretrain.batch_size
    what = "part of a batch" if parts > 1 else "`pretrain.batch_size`"
    return [(f"{what} of method '{trial.method.name}'", batch_size // parts)] if trial.method.trains else []


def evaluation_batches(trial: TrialSpec) -> list[tuple[str, int]]:
    """Those of the evaluations that train."""
    return [
        (f"`batch_size` of evaluation '{item.known_as}'", of(item))
        for item in trial.evaluate
        if (of := EVALUATIONS[item.name].batch_size)
    ]


def is_divisible(trial: TrialSpec, workers: int) -> bool:
    """Whether so many workers can share each batch evenly, and each part of an accumulated one has two images or more."""
    parts, batch_size = trial.pretrain.accumulate, trial.pretrain.batch_size
    whole = not trial.method.trains or (not batch_size % parts and batch_size > parts)
    return whole and not any(n % workers for _, n in shared_batches(trial))
