"""Factors on the learning rates of parts of a backbone, by patterns over the names of its parameters. Free of torch."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeFloat, PlainSerializer, WithJsonSchema


def _read(value: Any) -> Any:
    """What `_written` made, as the mapping that it was made of."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) and ": " in item for item in value):
        return {pattern: float(factor) for pattern, _, factor in (item.rpartition(": ") for item in value)}
    return value


def _written(rates: Mapping[str, float]) -> list[str]:
    """In their order, which counts and which a digest of a mapping would not see: ``["stem.*: 0", "layer1.*: 0.1"]``."""
    return [f"{pattern}: {int(factor) if factor == int(factor) else repr(factor)}" for pattern, factor in rates.items()]


Rates = Annotated[
    dict[Annotated[str, Field(min_length=1)], NonNegativeFloat],
    BeforeValidator(_read),
    PlainSerializer(_written, return_type=list[str]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "number", "minimum": 0}}),
]
"""Pattern to factor: of the patterns that match a name the last one counts, and 1 if none does. 0: the part is frozen."""
DESCRIPTION = (
    "factors on the rate of parameters of the backbone, by patterns over their names; 0: frozen, with the running"
    " statistics of batch norm; the last pattern that matches counts"
)


def factor_of(name: str, rates: Mapping[str, float]) -> float:
    """The factor of the parameter or buffer `name` of a backbone."""
    return next((factor for pattern, factor in reversed(list(rates.items())) if fnmatchcase(name, pattern)), 1.0)


def rates_text(rates: Mapping[str, float]) -> str:
    """``stem.*: 0, layer1.*: 0.1``."""
    return ", ".join(_written(rates))


def rates_problem(rates: Mapping[str, float], names: Sequence[str], backbone: str) -> str | None:
    """What is wrong with the first pattern that matches none of the parameters' `names`; None if all match."""
    for pattern in rates:
        if not any(fnmatchcase(name, pattern) for name in names):
            parts = _parts(names)
            near = difflib.get_close_matches(pattern, [*parts, *names], n=1)
            inside = [f"{pattern.rstrip('.')}.*"] if any(name.startswith(f"{pattern}.") for name in names) else near
            hint = f"; did you mean '{inside[0]}'?" if inside else ""
            return f"'{pattern}' matches no parameter of backbone '{backbone}'{hint} (it has {_listed(parts)})"
    return None


def _parts(names: Iterable[str]) -> list[str]:
    """``conv1.*, layer1.0.*``: a pattern for each part of a network, down to the first number."""
    found: list[str] = []
    for name in names:
        whole = re.match(r"[^.]+(?:\.[^.\d]+)*?\.\d+(?=\.)", name) or re.match(r"[^.]+(?=\.)", name)
        found.append(f"{whole[0]}.*" if whole else name)
    return list(dict.fromkeys(found))


def _listed(parts: Sequence[str]) -> str:
    """The parts, with runs of numbers as their ends: ``blocks.0.* to blocks.11.*``."""
    runs: list[list[str]] = []
    for part in parts:
        if runs and re.sub(r"\d+\.\*$", "", runs[-1][0]) == re.sub(r"\d+\.\*$", "", part) != part:
            runs[-1].append(part)
        else:
            runs.append([part])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
