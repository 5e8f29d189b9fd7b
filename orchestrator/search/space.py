"""The axes of a search: which of them a row has, and points sampled from them."""

import json
import random
from collections.abc import Mapping
from typing import Any

from ..spec.constraints import value_at
from ..spec.domains import Axis, Choice, Domain, IntegerRange, LogUniform, Scalar, Uniform
from ..spec.expand import Group, applies
from ..spec.models import TrialSpec
from ..spec.search import SearchConfig

Values = dict[str, Scalar]
"""A point: dotted key to value."""
Space = Mapping[str, Domain]
"""In an order in which an axis comes after those that it depends on."""


def domains(search: SearchConfig, group: Group, trial: TrialSpec) -> Space:
    """The axes that a row has; `trial` is the row's before anything is sampled."""
    fixed = trial.model_dump()
    found: dict[str, Domain] = {}
    left = {key: domain for key, domain in search.space.items() if applies(key, group.entry)}
    while left:
        ready = [key for key, domain in left.items() if not domain.when.keys() & left.keys()]
        for key in ready:
            domain = left.pop(key)
            if all(
                other in found or _is_fixed(other, allowed, search, fixed) for other, allowed in domain.when.items()
            ):
                found[key] = domain
    return found


def _is_fixed(key: str, allowed: tuple[Scalar, ...], search: SearchConfig, fixed: Mapping[str, Any]) -> bool:
    """Whether a condition holds that no axis of the row decides."""
    if key in search.space:
        return False  # an axis that the row does not have
    try:
        return _among(value_at(fixed, "method.name" if key == "method" else key), allowed)
    except KeyError:
        return False


def _among(value: Scalar, allowed: tuple[Scalar, ...]) -> bool:
    """Whether it is one of them; true is not 1."""
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed)


def is_active(domain: Axis, space: Space, values: Mapping[str, Scalar]) -> bool:
    """Whether a point with these values, of the axes before, has a value on this one too."""
    decided = {key: allowed for key, allowed in domain.when.items() if key in space}
    return all(key in values and _among(values[key], allowed) for key, allowed in decided.items())


def key_of(values: Mapping[str, object]) -> str:
    """Tells points apart, true from 1 as well."""
    return json.dumps(values, sort_keys=True)


def contains(space: Space, values: Values) -> bool:
    """Whether a point has a value on each axis that is there for it, and no other."""
    active = {key for key, domain in space.items() if is_active(domain, space, values)}
    return active == values.keys() and all(_allows(space[key], value) for key, value in values.items())


def _allows(domain: Domain, value: Scalar) -> bool:
    if isinstance(domain, Choice):
        return _among(value, domain.choice)
    if isinstance(domain, IntegerRange):
        low, high = domain.randint
    else:
        low, high = domain.uniform if isinstance(domain, Uniform) else domain.loguniform
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def sample(space: Space, draw: random.Random) -> Values:
    """A point, each axis for itself."""
    values: Values = {}
    for key, domain in space.items():
        if is_active(domain, space, values):
            values[key] = _value(domain, draw)
    return values


def _value(domain: Domain, draw: random.Random) -> Scalar:
    if isinstance(domain, Uniform):
        return draw.uniform(*domain.uniform)
    if isinstance(domain, LogUniform):
        low, high = domain.loguniform
        return min(high, low * (high / low) ** draw.random())
    if isinstance(domain, IntegerRange):
        return draw.randint(*domain.randint)
    return draw.choice(domain.choice)
