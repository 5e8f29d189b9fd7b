"""From a sweep to its trials: methods x grid x seeds, each resolved to the last value."""

import itertools
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..evaluation.config import resolve as resolve_evaluation
from ..methods import load_config_class
from ..methods.backbones import backbone_modules, is_vit
from .document import Document, Path_
from .load import problems_of, validate
from .problems import Problem, SpecError, did_you_mean, show, unknown
from .recipes import available, merge, recipe_values
from .spec import MethodEntry, SweepSpec, TrialSpec

AXIS_ROOTS = ("method", "pretrain", "backbone", "dataset")


class Group(NamedTuple):
    """One row of the table: a method at one point of the grid, over all seeds."""

    index: int
    """Of the method's entry in the sweep."""
    entry: MethodEntry
    axes: dict[str, Any]


def groups(spec: SweepSpec) -> list[Group]:
    """The rows of the sweep. An axis over a key that a method does not have leaves that method as it is."""
    rows: list[Group] = []
    for index, entry in enumerate(spec.methods):
        axes = {key: values for key, values in spec.grid.items() if applies(key, entry)}
        points = itertools.product(*axes.values())
        rows += [Group(index, entry, dict(zip(axes, point, strict=True))) for point in points]
    return rows


def expand(spec: SweepSpec, document: Document) -> list[TrialSpec]:
    """All trials of the sweep at its own values (those of a search are sampled later).

    Raises:
        SpecError: with every problem that shows only in a resolved trial, at the place in the file that causes it.
    """
    problems = _axis_problems(spec, document) + _recipe_problems(spec, document)
    if problems:
        raise SpecError(problems)
    trials: list[TrialSpec] = []
    for group in groups(spec):
        try:
            first = resolve(spec, group, spec.seeds[0])
            problems += _trial_problems(first, spec, group, document)
            trials += [first, *(resolve(spec, group, seed) for seed in spec.seeds[1:])]
        except ValidationError as error:
            problems += _resolution_problems(error, group, spec, document)
    if problems:
        raise SpecError(problems)
    return trials


def resolve(
    spec: SweepSpec, group: Group, seed: int, sampled: dict[str, Any] | None = None, *, holdout: bool = False
) -> TrialSpec:
    """One trial: the method's defaults, then the recipe, the sweep, the method's entry, the axes.

    Raises:
        ValidationError: the values do not fit together.
    """
    entry = group.entry
    axes = {**group.axes, **{key: value for key, value in (sampled or {}).items() if applies(key, entry)}}
    recipe_method, recipe_pretrain = recipe_values(spec.recipe, spec.dataset.name, entry.name)
    pretrain = load_config_class(entry.name).pretrain.model_dump()
    for layer in (
        recipe_pretrain,
        spec.pretrain.model_dump(exclude_unset=True),
        entry.pretrain.model_dump(exclude_unset=True) if entry.pretrain else {},
    ):
        pretrain = merge(pretrain, layer)
    values: dict[str, Any] = {
        "dataset": spec.dataset.model_dump(),
        "backbone": (entry.backbone or spec.backbone).model_dump(),
        "method": merge({"name": entry.name, **recipe_method}, entry.settings),
        "pretrain": pretrain,
    }
    for key, value in axes.items():
        _set(values, key.split("."), value)
    vit = is_vit(_backbone_name(values["backbone"]))
    return validate(
        TrialSpec,
        values
        | {
            "image_size": values["dataset"].get("image_size") or spec.dataset.usual_size,
            "evaluate": tuple(resolve_evaluation(item, vit).model_dump() for item in spec.evaluate),
            "seed": seed,
            "split": "holdout" if holdout else "test",
            "recipe": spec.recipe,
            "axes": {
                key: value if isinstance(value, (bool, int, float, str)) else show(value) for key, value in axes.items()
            },
        },
    )


def _backbone_name(backbone: Any) -> str:
    return backbone if isinstance(backbone, str) else str(backbone["name"])


def _set(values: dict[str, Any], path: list[str], value: Any) -> None:
    for step in path[:-1]:
        if not isinstance(values.get(step), dict):
            values[step] = {} if values.get(step) is None else {"name": values[step]}
        values = values[step]
    values[path[-1]] = value


def applies(key: str, entry: MethodEntry) -> bool:
    """Whether the axis `key` says something about this method."""
    root, _, rest = key.partition(".")
    return root != "method" or rest.split(".")[0] in load_config_class(entry.name).model_fields


def _axis_problems(spec: SweepSpec, document: Document) -> list[Problem]:
    problems: list[Problem] = []
    axes: list[tuple[Path_, str]] = [(("grid", key), key) for key in spec.grid]
    axes += [(("search", "space", key), key) for key in (spec.search.space if spec.search else {})]
    for path, key in axes:
        root, _, rest = key.partition(".")
        if root not in AXIS_ROOTS or (root in ("method", "pretrain") and not rest):
            hint = did_you_mean(root, AXIS_ROOTS)
            rule = f"(an axis is a dotted key under {', '.join(AXIS_ROOTS)}, as in pretrain.batch_size)"
            message = f"unknown axis '{key}'{hint} {rule}"
            problems.append(document.problem(path, message, of_key=True))
        elif root == "method" and not any(applies(key, entry) for entry in spec.methods):
            fields = sorted(
                {field for entry in spec.methods for field in load_config_class(entry.name).model_fields} - {"name"}
            )
            message = f"axis '{key}': {unknown('key', rest, fields)}"
            problems.append(document.problem(path, message, of_key=True))
        elif path[0] == "search" and key in spec.grid:
            problems.append(document.problem(path, f"axis '{key}' is in `grid` too", of_key=True))
    return problems


def _recipe_problems(spec: SweepSpec, document: Document) -> list[Problem]:
    known = available(spec.recipe)
    if spec.recipe == "paper" or spec.dataset.name in known:
        return []
    message = (
        f"recipe '{spec.recipe}' has no values for data set '{spec.dataset.name}' (it has: {', '.join(known)});"
        " recipe 'paper' fits every data set"
    )
    return [document.problem(("recipe",), message)]


def _trial_problems(trial: TrialSpec, spec: SweepSpec, group: Group, document: Document) -> list[Problem]:
    """What is well-formed and yet cannot run."""
    problems: list[Problem] = []
    where: Path_ = ("methods", group.index) if group.entry.backbone else ("backbone",)
    name = trial.backbone.name.split(".")[0]
    if name not in backbone_modules():
        near = did_you_mean(name, backbone_modules())
        problems.append(
            document.problem(where, f"unknown backbone '{name}'{near} (allowed: resnet18-cifar, or any timm model)")
        )
    elif trial.method.needs_vit and not is_vit(name):
        message = (
            f"method '{trial.method.name}' needs a vision transformer, and the backbone is '{name}';"
            " give it one with `backbone:` beside its name"
        )
        problems.append(document.problem(("methods", group.index), message))
    workers = spec.resources.workers
    if trial.pretrain.batch_size % workers:
        message = f"the global batch of {trial.pretrain.batch_size} images does not divide by {workers} workers"
        problems.append(document.problem(("resources", "workers"), message))
    if spec.search is not None and spec.search.metric.split("/")[0] not in [item.name for item in trial.evaluate]:
        message = f"search.metric: '{spec.search.metric}' needs that evaluation in `evaluate`"
        problems.append(document.problem(("search", "metric"), message))
    return problems


def _resolution_problems(error: ValidationError, group: Group, spec: SweepSpec, document: Document) -> list[Problem]:
    """Errors of a resolved trial, at the axis or the key of the file that brought the value in."""
    problems: list[Problem] = []
    plain = {"method": {}, "pretrain": {}, "backbone": {}, "dataset": {}}
    for problem, details in zip(
        problems_of(error, Document(document.name, plain), TrialSpec), error.errors(include_url=False), strict=True
    ):
        location = ".".join(str(step) for step in details["loc"])
        key = next((key for key in group.axes if location.startswith(key) or key.startswith(location)), None)
        if key is None:
            path: Path_ = ("methods", group.index) if location.startswith("method") else tuple(details["loc"])
        else:
            path = ("grid", key, list(spec.grid[key]).index(group.axes[key]))
        problems.append(document.problem(path, problem.message))
    return problems
