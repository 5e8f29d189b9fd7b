"""From a sweep file to a checked `SweepSpec`: every error of the file at once, each with its place."""

from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..methods import METHODS, load_config_class
from .document import Document, Path_, read_document
from .problems import Problem, SpecError, did_you_mean, show, unknown
from .spec import SweepSpec

M = TypeVar("M", bound=BaseModel)


def load_spec(path: Path) -> tuple[SweepSpec, Document]:
    """Read and check a sweep file.

    Raises:
        SpecError: with all problems of the file.
    """
    document = read_document(path)
    problems: list[Problem] = []
    spec: SweepSpec | None = None
    try:
        spec = validate(SweepSpec, document.data)
    except ValidationError as error:
        problems += problems_of(error, document, SweepSpec)
    problems += _method_problems(document)
    if problems or spec is None:
        raise SpecError(problems)
    return _with_whole_paths(spec), document


def _with_whole_paths(spec: SweepSpec) -> SweepSpec:
    """Paths are relative to the current folder; workers have another one."""
    path = spec.dataset.path
    if path is None or "://" in path:
        return spec
    whole = str(Path(path).expanduser().absolute())
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"path": whole})})


def validate(model: type[M], data: Any) -> M:
    """Strict validation of plain data: text is no number, a number no text, and one value no list."""
    return model.model_validate(data, strict=True)


def problems_of(
    error: ValidationError, document: Document, model: type[BaseModel], prefix: Path_ = ()
) -> list[Problem]:
    """Pydantic's errors as the file's problems; `prefix` is where the model's data stands in the file."""
    problems: list[Problem] = []
    for details in error.errors(include_url=False):
        path = prefix + _path_in(document.data, prefix, details["loc"])
        of_key = details["type"] == "extra_forbidden"
        problems.append(document.problem(path, _message(details, path, model), of_key=of_key))
    return problems


def _method_problems(document: Document) -> list[Problem]:
    """Errors in the methods' own settings, which depend on the method's name."""
    entries = document.data.get("methods")
    problems: list[Problem] = []
    for i, entry in enumerate(entries if isinstance(entries, tuple) else ()):
        if not isinstance(entry, dict) or entry.get("name") not in METHODS:
            continue  # reported by the sweep's own model
        config_class = load_config_class(entry["name"])
        settings = {key: value for key, value in entry.items() if key not in ("backbone", "pretrain")}
        try:
            validate(config_class, settings)
        except ValidationError as error:
            problems += problems_of(error, document, config_class, ("methods", i))
    return problems


def _path_in(data: Any, prefix: Path_, location: tuple[str | int, ...]) -> Path_:
    """Pydantic's location without the names of union members, which the file does not have."""
    for step in prefix:
        data = data[step]
    path: list[str | int] = []
    for i, step in enumerate(location):
        if (isinstance(data, dict) and step in data) or (
            isinstance(data, tuple) and isinstance(step, int) and step < len(data)
        ):
            data = data[step]
            path.append(step)
        elif i == len(location) - 1:
            path.append(step)
    return tuple(path)


def _message(details: ErrorDetails, path: Path_, model: type[BaseModel]) -> str:
    kind, given, context = details["type"], details["input"], details.get("ctx", {})
    key = ".".join(map(str, path))
    if kind == "extra_forbidden":
        return f"{_parent(path)}{unknown('key', path[-1], _allowed_keys(model, details['loc'][:-1]))}"
    if kind == "missing":
        return f"{_parent(path)}the key '{path[-1]}' is missing"
    if kind == "value_error":
        return f"{key}: {context['error']}" if key else str(context["error"])
    if kind == "union_tag_invalid":
        allowed = [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        return f"{key}: {unknown('name', context['tag'], allowed)}"
    if kind == "union_tag_not_found":
        return f"{key}: got {show(given)}; must be a mapping with a `name`"
    if kind == "literal_error":
        allowed = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        return f"{key}: got {show(given)}; must be {context['expected']}{did_you_mean(given, allowed)}"
    return f"{key}: got {show(given)}; {_rule(kind, context, details['msg'])}"


def _parent(path: Path_) -> str:
    return f"{'.'.join(map(str, path[:-1]))}: " if len(path) > 1 else ""


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text (put it in quotes if it looks like a number)",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _rule(kind: str, context: dict[str, Any], message: str) -> str:
    """The rule that was broken, as a sentence's end."""
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}"
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    if kind in bounds:
        words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
        return f"must be {words[bounds[kind]]} {context[bounds[kind]]}"
    if kind == "too_short":
        return f"needs at least {context['min_length']}"
    if kind == "too_long":
        return f"has room for {context['max_length']}"
    if kind == "missing_argument":
        return "has too few values"
    if kind == "string_pattern_mismatch":
        return "must be 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
    if kind == "string_too_short":
        return "must not be empty"
    return message[0].lower() + message[1:]


def _allowed_keys(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Keys of the model at `location`, looking through optional values, lists and unions."""
    current: Any = model
    for step in location:
        candidates = list(_models_in(current))
        tagged = [m for m in candidates if step in _names(m)]
        if tagged:
            current = tagged[0]
            continue
        fields = [
            m.model_fields[step].annotation for m in candidates if isinstance(step, str) and step in m.model_fields
        ]
        if fields:
            current = fields[0]
    keys: list[str] = []
    for candidate in _models_in(current):
        keys += [key for key in candidate.model_fields if key not in keys]
    return keys


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    """Values of a discriminator, and the model's class name, as pydantic puts them into locations."""
    field = model.model_fields.get("name")
    literals = get_args(field.annotation) if field is not None else ()
    return (*literals, model.__name__)
