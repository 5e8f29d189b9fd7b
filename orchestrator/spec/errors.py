"""Errors in what the user wrote: all of a file at once, each with its place, what was given and what is allowed."""

import difflib
import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

Steps = tuple[str | int, ...]
"""The way to a value of a file: keys of mappings and indices of lists."""


class Problem(NamedTuple):
    """One error at one place; `position` is (line, column), one-based, or (0, 0) in an option of the command line."""

    file: str
    position: tuple[int, int]
    message: str

    def __str__(self) -> str:
        line, column = self.position
        if not line:
            return f"{self.file}: {self.message}"
        return f"{self.file}:{line}:{column}: {self.message}"


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and what can. Shown without a traceback."""


class SpecError(UserError):
    """Every problem of a sweep file."""

    def __init__(self, problems: list[Problem]):
        self.problems = sorted(set(problems), key=lambda problem: (problem.file, problem.position, problem.message))
        lines = [str(problem) for problem in self.problems]
        if len(lines) > 1:
            files = dict.fromkeys(problem.file for problem in self.problems)
            lines.append(f"{len(lines)} errors in {' and '.join(files)}")
        super().__init__("\n".join(lines))


class PlacedError(UserError):
    """What the user asked for does not fit the data; `at` is the place in the sweep file, of which no position is known here."""

    def __init__(self, text: str, at: Steps):
        super().__init__(f"{dotted(at)}: {text}")
        self.at = at


class Misfit(ValueError):
    """Raised by a model's validator: the message is whole, and `at` leads from the validated value to the culprit."""

    def __init__(self, message: str, at: Steps = ()):
        super().__init__(message)
        self.at = at


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """``; did you mean 'simclr'?`` or nothing."""
    near = difflib.get_close_matches(str(given).lower(), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def one_of(values: Iterable[str]) -> str:
    """``'a', 'b' or 'c'``."""
    *most, last = (f"'{value}'" for value in values)
    return f"{', '.join(most)} or {last}" if most else last


def unknown(kind: str, given: object, allowed: Iterable[str]) -> str:
    """Message for a name that is not on the list."""
    names = list(allowed)
    return f"unknown {kind} {show(given)}{did_you_mean(given, names)} (allowed: {', '.join(names)})"


def show(value: Any) -> str:
    """A value as a user would write it, cut to one line."""
    text = _yaml(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _yaml(value: Any) -> str:
    if isinstance(value, str):
        return repr(value) if not value.isprintable() or "'" in value else f"'{value}'"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(str(key))}: {_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' * (value < 0)}.inf"
    return json.dumps(value, default=str)


def dotted(path: Steps) -> str:
    """A place as a user would name it: ``methods[0].temperature``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' * bool(text)}{_key(step)}"
    return text


def _key(key: str) -> str:
    key = key if key.isprintable() else repr(key)[1:-1]
    return key if len(key) <= 60 else key[:57] + "..."
