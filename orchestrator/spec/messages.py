"""Pydantic's errors as a user reads them: where in the data, what was given, what is allowed."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ...evaluation.base import EvaluationConfig
from ...evaluation.labels import LabelList
from ...evaluation.registry import EVALUATIONS
from ...methods import METHODS
from ...methods.config import MethodConfig
from .domains import KINDS
from .errors import Misfit, Problem, Steps, did_you_mean, dotted, show, unknown
from .yaml_document import Document

M = TypeVar("M", bound=BaseModel)

TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
SHORT = {  # models that a name alone may stand for
    "DatasetConfig": "a data set's name, or a mapping with `name`",
    "BackboneConfig": "a backbone's name, or a mapping with `name`",
    "WeightsConfig": "a path, trial:ID, timm, timm:TAG, or a mapping",
    "MethodEntry": "a method's name, or a mapping with `name`",
}
BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
NAME_RULE = "must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"


class Complaint(NamedTuple):
    """What is wrong at one place of some data."""

    path: Steps
    text: str
    of_key: bool = False
    """The key is at fault, and not its value."""

    def message(self, path: Steps) -> str:
        """The whole message, for data that stands at `path`."""
        place = dotted(path[:-1] if self.of_key else path)
        return f"{place}: {self.text}" if place else self.text


def validate(model: type[M], data: Any) -> M:
    """Strict validation of plain data: text is no number, a number no text, and one value no list."""
    return model.model_validate(data, strict=True, context={"strict": True})


def problems_of(
    error: ValidationError,
    document: Document,
    model: type[BaseModel],
    prefix: Steps = (),
    *,
    data: Any = None,
    also: tuple[str, ...] = (),
) -> list[Problem]:
    """The errors as problems of the file.

    `prefix` is where the model's data stands in the file, `data` that data where it is not the file's as it is, and
    `also` names keys that are allowed beside those of the model.
    """
    if data is None:
        data = document.data
        for step in prefix:
            data = data[step]
    return [
        document.problem((*prefix, *item.path), item.message((*prefix, *item.path)), of_key=item.of_key)
        for item in complaints(error, model, data, also)
    ]


def complaints(
    error: ValidationError, model: type[BaseModel], data: Any, also: tuple[str, ...] = ()
) -> Iterator[Complaint]:
    """One complaint a place; what the members of a union say of one value becomes one sentence."""
    places: dict[Steps, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and details["input"]:
            continue  # pydantic counts valid entries only, and has said what is wrong with the others
        places.setdefault(_path_in(data, details), []).append(details)
    above = {path[:length] for path in places for length in range(len(path))}
    for path, found in places.items():
        first = found[0]
        if first["type"] in TYPES and path in above:
            continue  # another member of the union got further
        if len(found) > 1 and all(details["type"] in TYPES for details in found):
            rules = list(dict.fromkeys(_type_rule(details) for details in found))
            yield Complaint(path, f"got {show(first['input'])}; must be {', '.join(rules[:-1])} or {rules[-1]}")
        elif first["type"] == "extra_forbidden":
            keys = _allowed_keys(model, first["loc"][:-1], data)
            keys += also if len(first["loc"]) == 1 else ()
            yield Complaint(path, unknown("key", path[-1], keys), of_key=True)
        else:
            short_list = first["type"] == "missing" and isinstance(first["loc"][-1], int)
            for details in found[-1:] if short_list else found:
                yield _complaint(details, path)


def _complaint(details: ErrorDetails, path: Steps) -> Complaint:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        last = details["loc"][-1]
        if isinstance(last, int):
            return Complaint(path, f"got {show(given)}; must be a list of {last + 1} values")
        return Complaint(path, f"the key '{last}' is missing")
    if kind == "value_error":
        error = context["error"]
        if isinstance(error, Misfit):
            return Complaint((*path, *error.at), str(error))
        return Complaint(
            path, str(error) if given is None or isinstance(given, dict) else f"got {show(given)}; {error}"
        )
    if kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return Complaint(path, f"got {show(given)}; must be {context['expected']}{did_you_mean(given, allowed)}")
    return Complaint(path, f"got {show(given)}; {_rule(details)}")


def _rule(details: ErrorDetails) -> str:
    """The rule that was broken, as a sentence's end."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in TYPES:
        return f"must be {_type_rule(details)}{_remedy(kind, details['input'])}"
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        bound = context[key]
        return f"must be {words} {int(bound) if bound == int(bound) else bound}"
    rules = {
        "finite_number": "must be a finite number",
        "too_short": "needs at least one entry",
        "too_long": f"must be a list of {context.get('max_length')} values",
        "string_pattern_mismatch": NAME_RULE,
        "string_too_short": "must not be empty",
    }
    message = details["msg"]
    return rules.get(kind) or message[0].lower() + message[1:]


def _type_rule(details: ErrorDetails) -> str:
    return SHORT.get(details.get("ctx", {}).get("class_name", ""), TYPES[details["type"]])


def _remedy(kind: str, given: Any) -> str:
    if kind == "tuple_type" and isinstance(given, (bool, int, float, str)):
        return f", as in {show([given])}"
    if kind == "string_type" and isinstance(given, (bool, int, float)):
        return "; put it in quotes"
    if kind in ("int_type", "float_type") and isinstance(given, str):
        try:
            float(given)
        except ValueError:
            return ""
        return "; write it without quotes"
    return ""


def _path_in(data: Any, details: ErrorDetails) -> Steps:
    """Where the error is, without what the data does not have: names of union members, and keys that are missing."""
    path: list[str | int] = []
    location = details["loc"]
    for i, step in enumerate(location):
        if not _has(data, step):
            continue
        if step in KINDS and any(_has(data, after) for after in location[i + 1 : i + 2]):
            continue  # pydantic names the kind of an axis, which is also the name of its key
        data = data[step]
        path.append(step)
    return tuple(path)


def _has(data: Any, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(data, (tuple, list)) and step < len(data)
    return isinstance(data, dict) and step in data


def _allowed_keys(model: type[BaseModel], location: Steps, data: Any) -> list[str]:
    """Keys of the model at `location`, looking through optional values, lists and unions."""
    current: Any = model
    for step in location:
        candidates = _named_models(current, data)
        tagged = [m for m in candidates if step in _names(m)]
        if tagged:
            current = tagged[0]
            continue
        data = data[step] if _has(data, step) else None
        fields = [m.model_fields[step].annotation for m in candidates if step in m.model_fields]
        current = fields[0] if fields else current
    return list(dict.fromkeys(key for candidate in _named_models(current, data) for key in keys_of(candidate)))


def keys_of(model: type[BaseModel]) -> list[str]:
    """What a file writes for the model's fields."""
    internal = model.internal if issubclass(model, (EvaluationConfig, LabelList)) else frozenset[str]()
    return [field.alias or key for key, field in model.model_fields.items() if key not in internal]


def _named_models(annotation: Any, data: Any) -> list[type[BaseModel]]:
    """The models in a type; for one of which `data` names the kind, that kind's own."""
    name = data.get("name") if isinstance(data, dict) else None

    def own(model: type[BaseModel]) -> type[BaseModel]:
        if model is MethodConfig and isinstance(name, str) and name in METHODS:
            return METHODS[name]
        if model is EvaluationConfig and isinstance(name, str) and name in EVALUATIONS:
            return EVALUATIONS[name].config
        return model

    return [own(model) for model in models_in(annotation)]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models in a type, looking through optional values, lists and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in models_in(argument)]


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    """Values of a discriminator, and the model's class name, as pydantic puts them into locations."""
    field = model.model_fields.get("name")
    literals = get_args(field.annotation) if field is not None else ()
    return (*literals, model.__name__)
