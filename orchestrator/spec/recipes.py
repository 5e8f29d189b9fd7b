"""Recipes: where the values that a sweep does not set come from. Data under ``sweeps/recipes/``, one file a data set."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, PositiveInt, ValidationError

from ...methods import METHODS
from ...methods.config import Config, Option, PretrainConfig
from .errors import Problem, SpecError, Steps, UserError, unknown
from .messages import problems_of, validate
from .models import RecipeName
from .yaml_document import Document, read_document

SWEEPS = Path(__file__).parents[2] / "sweeps"


class RecipeError(UserError):
    """A recipe has nothing for a data set."""


Options = dict[str, Option | tuple[Option, ...]]
"""Of a backbone, for ``timm.create_model``."""
OF_A_METHOD = ("pretrain", "backbones")
"""What a method's entry of a recipe has beside the method's own settings."""


class RecipeCase(Config):
    """What holds for some sizes of a training only, or for one backbone."""

    backbone: str | None = None
    least_batch_size: PositiveInt = 1
    below_epochs: PositiveInt | None = None
    methods: dict[str, dict[str, Any]]

    def holds(self, backbone: str, batch_size: int, epochs: int) -> bool:
        fits = batch_size >= self.least_batch_size and (self.below_epochs is None or epochs < self.below_epochs)
        return fits and self.backbone in (None, backbone)


class Recipe(Config):
    """`pretrain` for all methods; `methods`: each method's own settings, with its `pretrain` and `backbones` beside them."""

    pretrain: PretrainConfig = PretrainConfig()
    backbones: dict[str, Options] = Field(default_factory=dict)
    """By the backbone's name, for all methods."""
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    cases: tuple[RecipeCase, ...] = ()


class RecipeValues(NamedTuple):
    """What a recipe sets for a method on a data set."""

    method: dict[str, Any]
    pretrain: dict[str, Any]
    options: Options
    """Of the backbone."""


def available(recipe: RecipeName) -> list[str]:
    """Data sets that `recipe` has values for."""
    return sorted(path.stem.removeprefix(f"{recipe}-") for path in (SWEEPS / "recipes").glob(f"{recipe}-*.yaml"))


def recipe_values(
    recipe: RecipeName, dataset: str, method: str, backbone: str, batch_size: int = 1, epochs: int = 1
) -> RecipeValues:
    """What `recipe` sets for `method` with `backbone` on `dataset`, in a training of this size.

    ``paper`` has no file: it is the defaults of the method's configuration.

    Raises:
        RecipeError: the recipe has nothing for `dataset`.
    """
    if recipe == "paper":
        return RecipeValues({}, {}, {})
    known = available(recipe)
    if dataset not in known:
        raise RecipeError(
            f"got '{recipe}', which has no values for data set '{dataset}' (only for: {', '.join(known)});"
            " recipe 'paper' fits every data set"
        )
    values = load_recipe(SWEEPS / "recipes" / f"{recipe}-{dataset}.yaml")
    own = values.methods.get(method, {})
    for case in values.cases:
        if case.holds(backbone, batch_size, epochs):
            own = merge(own, case.methods.get(method, {}))
    pretrain = merge(values.pretrain.model_dump(exclude_unset=True), own.get("pretrain", {}))
    options = values.backbones.get(backbone, {}) | own.get("backbones", {}).get(backbone, {})
    return RecipeValues({key: value for key, value in own.items() if key not in OF_A_METHOD}, pretrain, options)


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
    problems += _entry_problems(document, ("methods",), document.data.get("methods"))
    for index, case in enumerate(recipe.cases):
        problems += _entry_problems(document, ("cases", index, "methods"), case.methods)
    if problems:
        raise SpecError(problems)
    return recipe


def _entry_problems(document: Document, where: Steps, methods: Any) -> list[Problem]:
    """Errors in a recipe's entries of `methods`, at `where` of the file."""
    problems: list[Problem] = []
    for name, own in methods.items() if isinstance(methods, dict) else ():
        if not isinstance(own, dict):
            continue
        here = (*where, name)
        if name not in METHODS:
            problems.append(document.problem(here, f"methods: {unknown('method', name, METHODS)}", of_key=True))
            continue
        problems += method_problems(document, here, name, own, OF_A_METHOD)
        try:
            validate(PretrainConfig, own.get("pretrain", {}))
        except ValidationError as error:
            problems += problems_of(error, document, PretrainConfig, (*here, "pretrain"))
        try:
            validate(Recipe, {"backbones": own.get("backbones", {})})
        except ValidationError as error:
            problems += problems_of(error, document, Recipe, here)
    return problems


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
