"""From a sweep to its trials: methods x grid x seeds, each resolved to the last value."""

import itertools
import math
from typing import Any, NamedTuple

from pydantic import ValidationError

from ..datasets.config import DatasetConfig
from ..evaluation.config import resolve as resolve_evaluation
from ..methods import load_config_class
from ..methods.backbones import is_vit
from ..methods.config import BackboneConfig
from .document import Document
from .messages import validate
from .problems import Problem, SpecError, show
from .recipes import merge, method_defaults, recipe_values
from .spec import MethodEntry, SweepSpec, TrialSpec


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
        axes = axes_of(spec, entry)
        points = itertools.product(*axes.values())
        rows += [Group(index, entry, dict(zip(axes, point, strict=True))) for point in points]
    return rows


def axes_of(spec: SweepSpec, entry: MethodEntry) -> dict[str, tuple[Any, ...]]:
    """The axes of the grid that say something about this method."""
    return {key: values for key, values in spec.grid.items() if applies(key, entry)}


def count_trials(spec: SweepSpec) -> int:
    """How many trials `expand` would give."""
    points = (math.prod(map(len, axes_of(spec, entry).values())) for entry in spec.methods)
    return sum(points) * len(spec.seeds)
