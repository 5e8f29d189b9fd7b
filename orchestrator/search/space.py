"""The axes of a search: which of them a method has, and points sampled from them."""

import random

from ..spec.expand import Group, applies
from ..spec.models import Choice, Domain, IntegerRange, LogUniform, SearchConfig, Uniform

Value = bool | int | float | str
Values = dict[str, Value]
"""A point: dotted key to value."""


def domains(search: SearchConfig, group: Group) -> dict[str, Domain]:
    """The axes that say something about the group's method."""
    return {key: domain for key, domain in search.space.items() if applies(key, group.entry)}


def contains(space: dict[str, Domain], values: Values) -> bool:
    """Whether a point has a value on each axis and no other."""
    return space.keys() == values.keys() and all(_allows(space[key], value) for key, value in values.items())


def _allows(domain: Domain, value: Value) -> bool:
    if isinstance(domain, Choice):
        return value in domain.choice
    if isinstance(domain, IntegerRange):
        low, high = domain.randint
    else:
        low, high = domain.uniform if isinstance(domain, Uniform) else domain.loguniform
    return not isinstance(value, str) and low <= value <= high


def sample(space: dict[str, Domain], draw: random.Random) -> Values:
    """A point, each axis for itself."""
    return {key: _value(domain, draw) for key, domain in space.items()}


def _value(domain: Domain, draw: random.Random) -> Value:
    if isinstance(domain, Uniform):
        return draw.uniform(*domain.uniform)
    if isinstance(domain, LogUniform):
        low, high = domain.loguniform
        return low * (high / low) ** draw.random()
    if isinstance(domain, IntegerRange):
        return draw.randint(*domain.randint)
    return draw.choice(domain.choice)
