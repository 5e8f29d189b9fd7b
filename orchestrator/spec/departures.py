"""Where a trial departs from its recipe: a published number is of the recipe as it is."""

from typing import Any

from ...methods import METHODS
from ...methods.config import PretrainConfig
from .errors import show
from .models import TrialSpec
from .recipes import RecipeError, merge, method_defaults, recipe_values

ELSEWHERE = {"epochs", "batch_size", "knn_every", "diagnose_every", "stop_collapsed"}
"""Of `pretrain`: what tables show in columns of its own, and what changes no number."""


def departures(trial: TrialSpec) -> tuple[str, ...]:
    """Settings with another value than the recipe's for this training, as ``pretrain.precision bf16 (recipe: float32)``.

    Nothing for recipe ``paper``, which is the methods' defaults and no one run, and nothing of the trial's axes, which a
    table shows.
    """
    pretrain, backbone = trial.pretrain, trial.backbone
    if trial.recipe == "paper":
        return ()
    try:
        recipe = recipe_values(
            trial.recipe, trial.dataset.name, trial.method.name, backbone.name, pretrain.batch_size, pretrain.epochs
        )
    except RecipeError:  # the recipe had this data set in an earlier version
        return ()
    config_class = METHODS[trial.method.name]
    method = config_class.model_validate(merge(method_defaults(trial.method.name), recipe.method))
    optimisation = PretrainConfig.model_validate(merge(config_class.pretrain.model_dump(), recipe.pretrain))
    theirs = {
        "method": method.model_dump(),
        "pretrain": optimisation.model_dump(exclude=ELSEWHERE),
        "backbone.options": {} if backbone.weights is not None else recipe.options,
    }
    ours = {
        "method": trial.method.model_dump(),
        "pretrain": pretrain.model_dump(exclude=ELSEWHERE),
        "backbone.options": {key: value for key, value in backbone.options.items() if key in recipe.options},
    }
    found = _differences("", ours, theirs)
    return tuple(text for key, text in found.items() if not any(_covers(axis, key) for axis in trial.axes))


def _differences(prefix: str, ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, expected in theirs.items():
        key, own = f"{prefix}{name}", ours.get(name)
        if isinstance(expected, dict) and isinstance(own, dict):
            found |= _differences(f"{key}.", own, expected)
        elif own != expected:
            lists = isinstance(own, tuple) or isinstance(expected, tuple)
            found[key] = key if lists else f"{key} {show(own)} (recipe: {show(expected)})"
    return found


def _covers(axis: str, key: str) -> bool:
    return key == axis or key.startswith(f"{axis}.")
