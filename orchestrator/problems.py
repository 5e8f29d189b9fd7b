"""Errors in what the user wrote: all of a file at once, each with its place, what was given and what is allowed."""

import difflib
import json
from collections.abc import Iterable
from typing import Any, NamedTuple


class Problem(NamedTuple):
    """One error at one place; `position` is (line, column), one-based."""

    file: str
    position: tuple[int, int]
    message: str

    def __str__(self) -> str:
        line, column = self.position
        return f"{self.file}:{line}:{column}: {self.message}"


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and what can. Shown without a traceback."""


class SpecError(UserError):
    """Every problem of a sweep file."""

    def __init__(self, problems: list[Problem]):
        self.problems = sorted(set(problems), key=lambda problem: (problem.position, problem.message))
        count = f"{len(self.problems)} errors" if len(self.problems) > 1 else "1 error"
        super().__init__("\n".join([*map(str, self.problems), f"{count} in {self.problems[0].file}"]))


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """``; did you mean 'simclr'?`` or nothing."""
    near = difflib.get_close_matches(str(given).lower(), list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def unknown(kind: str, given: object, allowed: Iterable[str]) -> str:
    """Message for a name that is not on the list."""
    names = list(allowed)
    return f"unknown {kind} {show(given)}{did_you_mean(given, names)} (allowed: {', '.join(names)})"


def show(value: Any) -> str:
    """A value as a user would write it, cut to one line."""
    if isinstance(value, str):
        text = f"'{value}'"
    else:
        try:
            text = json.dumps(value, default=str)
        except ValueError:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
