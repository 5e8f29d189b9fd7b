"""Values of the command line that take the place of those of a sweep file: ``--set pretrain.epochs=10``."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...datasets.config import named
from ...datasets.registry import DATASETS
from .errors import Problem, SpecError, Steps, did_you_mean, dotted, show
from .yaml_document import Document, parse_document
from .yaml_text import as_yaml

OPTION = "--set"
DOTTED = (("grid",), ("search", "space"))
"""Mappings whose keys are dotted themselves."""
NAMES = {"dataset", "backbone", "methods", "evaluate"}
"""Keys whose values, or entries, a name alone may stand for."""
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
NOWHERE = (0, 0)
"""An option has no line."""


class Override(NamedTuple):
    """One option."""

    text: str
    """As it was given: ``KEY=VALUE``."""
    key: str
    value: Any

    def problem(self, message: str) -> Problem:
        """Something wrong with it."""
        return Problem(f"{OPTION} {self.text}", NOWHERE, message)


def options_of(overrides: Iterable[str]) -> list[str]:
    """The options that make these overrides, for a command line."""
    return [word for text in overrides for word in (OPTION, text)]


def apply_overrides(document: Document, options: tuple[str, ...]) -> None:
    """Put the values of `options` in the place of the document's; its text is then that of a file which has them.

    Relative paths among them are taken from the folder of the sweep file, as those in it.

    Raises:
        SpecError: an option is not KEY=VALUE, its value is not YAML, or its key leads nowhere.
    """
    problems: list[Problem] = []
    for text in options:
        try:
            override = _parsed(text)
            path = _Change(override, document.data).make()
        except SpecError as error:
            problems += error.problems
        else:
            document.options = {place: name for place, name in document.options.items() if place[: len(path)] != path}
            document.options[path] = f"{OPTION} {text}"
    if problems:
        raise SpecError(problems)
    if options:
        document.text = as_yaml(document.data)


def _parsed(text: str) -> Override:
    key, equals, value = text.partition("=")
    override = Override(text, key.strip(), None)
    if not equals or not override.key or STEP.sub("", override.key):
        example = "pretrain.epochs=10 or methods[0].temperature=0.2"
        raise SpecError([override.problem(f"got {show(text)}; must be KEY=VALUE, as in {example}")])
    try:
        data = parse_document(f"value: {value}", override.key).data
    except SpecError as error:
        reasons = [override.problem(_of_key(problem.message, override.key)) for problem in error.problems]
        raise SpecError(reasons) from None
    if [*data] != ["value"]:
        raise SpecError([override.problem(f"{override.key}: got {show(value)}; must be one YAML value")])
    return override._replace(value=data["value"])


def _of_key(message: str, key: str) -> str:
    return f"{key}{message.removeprefix('value')}" if message.startswith("value") else f"{key}: {message}"


class _Change:
    """The way of one override into a file's data."""

    def __init__(self, override: Override, data: dict[str, Any]):
        self.override, self.data = override, data

    def make(self) -> Steps:
        """Change the data; returns where."""
        path: Steps = ()
        rest = self.override.key
        replaced: list[tuple[Any, str | int]] = []
        value: Any = self.data
        while rest:
            value = self.opened(value, path)
            step, rest = self.step(value, path, rest)
            replaced.append((value, step))
            path = (*path, step)
            value = value[step] if isinstance(step, int) else value.get(step)
        value = self.override.value
        for holder, step in reversed(replaced):
            value = _with(holder, step, value)
        self.data.clear()
        self.data.update(value)
        return path

    def opened(self, value: Any, path: Steps) -> Any:
        """What is at `path`, as a mapping or a list; a name alone becomes a mapping."""
        if value is None:
            return {}
        if isinstance(value, (dict, tuple)):
            return value
        if isinstance(value, str) and _may_be_name(path):
            return _as_mapping(value, path)
        raise self.refusal(f"{dotted(path)}: has the value {show(value)} in the sweep file, which has no keys")

    def step(self, value: Any, path: Steps, rest: str) -> tuple[str | int, str]:
        """The next step of the way, and what of the key comes after it."""
        if isinstance(value, dict):
            known = [key for key in value if rest == key or rest.startswith((f"{key}.", f"{key}["))]
            if known:
                key = max(known, key=len)
                return key, rest[len(key) :].removeprefix(".")
            if path in DOTTED:
                return rest, ""
        match = STEP.match(rest)
        assert match is not None
        step, rest = match[1] or match[2], rest[match.end() :].removeprefix(".")
        return (self.index(value, path, step) if isinstance(value, tuple) else step), rest

    def index(self, entries: tuple[Any, ...], path: Steps, step: str) -> int:
        """Of an entry of a list, by its number or its name."""
        if step.isdecimal() and int(step) < len(entries):
            return int(step)
        names = [_name_of(entry) for entry in entries]
        if names.count(step) == 1:
            return names.index(step)
        told = ", ".join(f"{i}: {name}" if name else str(i) for i, name in enumerate(names))
        hint = did_you_mean(step, [name for name in names if name]) if not step.isdecimal() else ""
        several = f"{names.count(step)} entries have that name; " if names.count(step) else ""
        given = show(int(step)) if step.isdecimal() else show(step)
        raise self.refusal(f"{dotted(path)}: got {given}{hint}; {several}must be an entry of the list ({told})")

    def refusal(self, message: str) -> SpecError:
        return SpecError([self.override.problem(message)])


def _with(holder: Any, step: str | int, value: Any) -> Any:
    """A copy of a mapping or a list with one value."""
    if isinstance(holder, tuple):
        return tuple(value if i == step else entry for i, entry in enumerate(holder))
    return {**holder, step: value}


def _may_be_name(path: Steps) -> bool:
    keys = [step for step in path if isinstance(step, str)]
    listed = keys[:1] in (["methods"], ["evaluate"])
    return bool(keys) and keys[-1] in NAMES and (not listed or len(path) > 1)


def _as_mapping(value: str, path: Steps) -> dict[str, str]:
    """The mapping that a name, or a data set's path, stands for."""
    if path[-1] != "dataset":
        return {"name": value}
    made = named(value)
    return made if made["name"] in DATASETS else {"name": "folder", "path": value}


def _name_of(entry: Any) -> str:
    """What an entry of `methods` or `evaluate` is called."""
    if isinstance(entry, dict):
        name = entry.get("as", entry.get("name"))
        return name if isinstance(name, str) else ""
    return entry if isinstance(entry, str) else ""
