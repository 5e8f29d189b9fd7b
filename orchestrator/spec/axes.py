"""The axes of a grid and of a search: whether there are such keys, and values to try them with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel

from ...datasets.config import DatasetConfig
from ...methods import METHODS
from ...methods.config import BackboneConfig, PretrainConfig
from .constraints import keys_of
from .domains import Axis, Choice, kind_of
from .errors import Problem, Steps, did_you_mean, dotted, show, unknown
from .label import WEIGHTS
from .models import SweepSpec
from .resolve import Group, applies
from .search import SearchConfig
from .yaml_document import Document

ROOTS: dict[str, type[BaseModel]] = {"pretrain": PretrainConfig, "backbone": BackboneConfig, "dataset": DatasetConfig}
"""Where a dotted key may start, beside `method`."""
RULE = "(an axis is a dotted key under method, pretrain, backbone or dataset, as in pretrain.batch_size)"


def axis_problems(spec: SweepSpec, document: Document, *, all_methods: bool) -> tuple[list[Problem], set[str]]:
    """Axes over keys that there are not, and axes that stand twice; and which these are.

    Unless `all_methods` are known, a key that none of the known ones has is let pass.
    """
    problems: list[Problem] = []
    bad: set[str] = set()
    places: list[tuple[Steps, str]] = [(("grid", key), key) for key in spec.grid]
    places += [(("search", "space", key), key) for key in (spec.search.space if spec.search else {})]
    for path, key in places:
        what = _wrong_with(key, spec, all_methods=all_methods)
        if what is not None:
            bad.add(key)
        elif path[0] == "search" and key in spec.grid:
            what = "appears in both `grid` and `search.space`; keep one"
        elif path[0] == "search" and key.split(".")[0] == "dataset":
            what = "scores on different images do not compare; list the values under `grid` to search for each"
            bad.add(key)
        elif path[0] == "search" and key == WEIGHTS:
            what = "weights cannot be searched; list them under `grid` to search for each"
            bad.add(key)
        if what is not None:
            problems.append(document.problem(path, f"{dotted(path)}: {what}", of_key=True))
    if spec.search is not None:
        for path, what in _wrong_references(spec.search, spec, all_methods=all_methods):
            problems.append(document.problem(path, f"{dotted(path)}: {what}", of_key="when" in path))
    return problems, bad


def _wrong_references(search: SearchConfig, spec: SweepSpec, *, all_methods: bool) -> Iterator[tuple[Steps, str]]:
    """Conditions and constraints over keys that there are not."""
    names = [entry.name for entry in spec.methods]
    for axis, domain in search.space.items():
        for key, allowed in domain.when.items():
            path: Steps = ("search", "space", axis, "when", key)
            absent = [name for name in allowed if name not in names] if key == "method" else []
            what = None if key == "method" else _wrong_with(key, spec, all_methods=all_methods)
            if absent and all_methods:
                what = f"the sweep has no method {show(absent[0])} (it has: {', '.join(dict.fromkeys(names))})"
            if what is not None:
                yield path, what
    for i, constraint in enumerate(search.constraints):
        for key in keys_of(constraint):
            what = _wrong_with(key, spec, all_methods=all_methods)
            if what is not None:
                yield ("search", "constraints", i), what


def _wrong_with(key: str, spec: SweepSpec, *, all_methods: bool) -> str | None:
    root, *steps = key.split(".")
    methods = [METHODS[entry.name] for entry in spec.methods]
    names = {"method": _fields(methods), **{name: _fields([model]) for name, model in ROOTS.items()}}
    if root not in names or (not steps and root in ("method", "pretrain")):
        full = [f"{name}.{field}" for name, fields in names.items() for field in fields]
        near = [name for name in full if not steps and name.endswith(f".{root}")]
        hint = f"; did you mean '{near[0]}'?" if near else did_you_mean(key, full) if root not in names else ""
        return f"unknown axis {show(key)}{hint} {RULE}"
    if root == "method" and not all_methods:
        return None
    if key.startswith(f"{WEIGHTS}."):
        return (
            f"weights are one value; list whole ones under '{WEIGHTS}', as in [a.pth, {{path: b.pth, partial: true}}]"
        )
    models: Sequence[type[BaseModel]] = methods if root == "method" else [ROOTS[root]]
    for i, step in enumerate(steps):
        fields = _fields(models)
        if root == "method":
            fields.pop("name", None) if i == 0 else None
        if not fields:
            return f"'{steps[i - 1]}' has no keys that an axis can reach; write its whole value"
        if step not in fields:
            return unknown("key", step, fields)
        if get_origin(fields[step]) is dict:
            return None if len(steps) <= i + 2 else f"'{step}' takes one key"
        models = _models_in(fields[step])
    return None


def _fields(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    return {key: field.annotation for model in models for key, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models in an optional value; a list's have no dotted keys."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is tuple:
        return []
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


class Probe(NamedTuple):
    """A value that a search may sample."""

    axis: str
    value: Any
    where: Steps
    sampled: Mapping[str, Any]
    """It, and a value of each axis that it depends on."""


def probes(search: SearchConfig, group: Group, bad_axes: set[str]) -> Iterator[Probe]:
    """For a row: both ends of each range, each choice."""
    for key, domain in search.space.items():
        if key in bad_axes or not applies(key, group.entry) or not _may_be(domain, group):
            continue
        kind = kind_of(domain)
        assert kind is not None
        values: tuple[Any, ...] = domain.choice if isinstance(domain, Choice) else getattr(domain, kind)
        for i, value in enumerate(values):
            where: Steps = ("search", "space", key, kind, i)
            yield Probe(key, value, where, _conditions(key, search) | {key: value})


def _may_be(domain: Axis, group: Group) -> bool:
    """Whether the row's method and its point of the grid leave room for an axis."""
    fixed = {"method": group.entry.name, **group.axes}
    return all(fixed[key] in allowed for key, allowed in domain.when.items() if key in fixed)


def _conditions(axis: str, search: SearchConfig) -> dict[str, Any]:
    """The first of the values on which an axis depends, and those on which their axes do."""
    found: dict[str, Any] = {}
    for key, allowed in search.space[axis].when.items():
        if key in search.space:
            found |= _conditions(key, search) | {key: allowed[0]}
    return found
