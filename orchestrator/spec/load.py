"""From a sweep file to a checked `SweepSpec`: every error of the file at once, each with its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...methods import METHODS
from .errors import Problem, SpecError
from .expand import Broken, whole_problems
from .locate import locate
from .locations import whole
from .messages import complaints, problems_of, validate
from .models import SweepSpec
from .overrides import apply_overrides
from .published_file import published_problems
from .recipes import method_problems
from .yaml_document import Document, read_document

__all__ = ["load_spec", "problems_of", "validate"]


def load_spec(path: Path, overrides: Sequence[str] = ()) -> tuple[SweepSpec, Document]:
    """Read and check a sweep file; `overrides` (``KEY=VALUE``) take the place of its values.

    Raises:
        SpecError: with all problems of the file, those that only `expand` can see included.
    """
    document = read_document(path)
    apply_overrides(document, tuple(overrides))
    base = path.absolute().parent
    problems = locate(document, base)
    problems += [] if problems else published_problems(document)
    broken: set[tuple[Any, ...]] = set()
    spec: SweepSpec | None = None
    try:
        spec = validate(SweepSpec, document.data)
    except ValidationError as error:
        problems += problems_of(error, document, SweepSpec)
        broken |= {item.path for item in complaints(error, SweepSpec, document.data)}
    for i, entry in enumerate(_entries(document)):
        if isinstance(entry, dict) and entry.get("name") in METHODS:
            found = method_problems(
                document, ("methods", i), entry["name"], entry, ("backbone", "weights", "pretrain", "resources")
            )
            broken |= {("methods", i) for _ in found}
            problems += found
    if problems or spec is None:
        raise SpecError(problems + _problems_of_the_rest(document, broken))
    if "storage" not in document.data:
        spec = spec.model_copy(update={"storage": whole(spec.storage, base)})
    return spec, document


def _entries(document: Document) -> tuple[Any, ...]:
    entries = document.data.get("methods")
    return entries if isinstance(entries, tuple) else ()


def _problems_of_the_rest(document: Document, broken: set[tuple[Any, ...]]) -> list[Problem]:
    """What is wrong with the values taken together, as far as they stand: `broken` ones give way to harmless ones.

    Nothing is said that the broken values could have to do with.
    """
    places = {path[0] for path in broken if path}
    methods = frozenset(path[1] for path in broken if path[:1] == ("methods",) and len(path) > 1)
    if ("methods",) in broken or "methods" not in document.data:
        return []
    harmless: dict[str, Any] = {"name": "sweep", "dataset": "digits", "backbone": "resnet18-cifar"}
    places |= {key for key in ("dataset", "backbone") if key not in document.data}
    kept = {key: value for key, value in document.data.items() if key not in places}
    if "grid" in places and isinstance(document.data.get("grid"), dict):
        axes = {path[1] for path in broken if path[:1] == ("grid",) and len(path) > 1}
        kept["grid"] = {key: values for key, values in document.data["grid"].items() if key not in axes}
    kept["methods"] = tuple("random" if i in methods else entry for i, entry in enumerate(_entries(document)))
    try:
        spec = validate(SweepSpec, harmless | kept)
    except ValidationError:  # at odds with itself in one more way, which shows once the rest is mended
        return []
    return whole_problems(spec, document, Broken(frozenset(map(str, places)), methods))
