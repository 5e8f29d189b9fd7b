"""Recipes: where the values that a sweep does not set come from. Data under ``sweeps/recipes/``, one file a data set."""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ...methods import METHODS
from ...methods.config import Config, PretrainConfig
from .errors import Problem, SpecError, Steps, UserError, unknown
from .messages import problems_of, validate
from .models import RecipeName
from .yaml_document import Document, read_document

SWEEPS = Path(__file__).parents[2] / "sweeps"


class RecipeError(UserError):
    """A recipe has nothing for a data set."""


class Recipe(Config):
    """`pretrain` for all methods; `methods`: each method's own settings, with its `pretrain` beside them."""

    pretrain: PretrainConfig = PretrainConfig()
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)


def available(recipe: RecipeName) -> list[str]:
    """Data sets that `recipe` has values for."""
    return sorted(path.stem.removeprefix(f"{recipe}-") for path in (SWEEPS / "recipes").glob(f"{recipe}-*.yaml"))


def recipe_values(recipe: RecipeName, dataset: str, method: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `recipe` sets for `method` on `dataset`: the method's own settings, and those of `pretrain`.

    ``paper`` has no file: it is the defaults of the method's configuration.

    Raises:
        RecipeError: the recipe has nothing for `dataset`.
    """
    if recipe == "paper":
        return {}, {}
    known = available(recipe)
    if dataset not in known:
        raise RecipeError(
            f"got '{recipe}', which has no values for data set '{dataset}' (only for: {', '.join(known)});"
            " recipe 'paper' fits every data set"
        )
    values = load_recipe(SWEEPS / "recipes" / f"{recipe}-{dataset}.yaml")
    own = dict(values.methods.get(method, {}))
    pretrain = merge(values.pretrain.model_dump(exclude_unset=True), own.pop("pretrain", {}))
    return own, pretrain


@cache
def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe file with the models that its values are for; once, as every trial asks for it.

    Raises:
        SpecError: with all problems of the file.
    """
    document = read_document(path)
    problems: list[Problem] = []
    recipe = Recipe()
    try:
        recipe = validate(Recipe, document.data)
    except ValidationError as error:
        problems += problems_of(error, document, Recipe)
    methods = document.data.get("methods")
    for name, own in methods.items() if isinstance(methods, dict) else ():
        if not isinstance(own, dict):
            continue
        where = ("methods", name)
        if name not in METHODS:
            problems.append(document.problem(where, f"methods: {unknown('method', name, METHODS)}", of_key=True))
            continue
        problems += method_problems(document, where, name, own, ("pretrain",))
        try:
            validate(PretrainConfig, own.get("pretrain", {}))
        except ValidationError as error:
            problems += problems_of(error, document, PretrainConfig, (*where, "pretrain"))
    if problems:
        raise SpecError(problems)
    return recipe


def method_problems(
    document: Document, where: Steps, name: str, own: dict[str, Any], beside: tuple[str, ...]
) -> list[Problem]:
    """Errors in what the mapping `own`, at `where` of the file, sets for method `name`, but for the keys `beside`."""
    settings = {key: value for key, value in own.items() if key not in beside}
    data = merge(method_defaults(name), {"name": name} | settings)
    config_class = METHODS[name]
    try:
        validate(config_class, data)
    except ValidationError as error:
        return problems_of(error, document, config_class, where, data=data, also=beside)
    return []


def method_defaults(name: str) -> dict[str, Any]:
    """The paper's settings of method `name`."""
    return METHODS[name].model_validate({}).model_dump()


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, key by key. A mapping of another `name` replaces the whole: its neighbours do not suit it."""
    if "name" in over and "name" in base and over["name"] != base["name"]:
        return over
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
