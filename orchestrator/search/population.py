"""Population based training: which member of a population ends, who goes on in its place, and with which settings."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..spec.domains import Choice, Domain, IntegerRange, Scalar, Uniform
from ..spec.search import PopulationConfig
from .space import Space, Values, sample

FACTORS = (0.8, 1.2)
"""By which a number is multiplied to be tried next to what it was."""


class Member(NamedTuple):
    """A trial of the population that neither failed nor was replaced."""

    trial_id: str
    scores: Mapping[int, float]
    """By epoch, at the ends of intervals since its own last change; more is better."""


def donors(trial_id: str, epoch: int, members: Sequence[Member], config: PopulationConfig) -> list[str]:
    """The members that may go on in the place of one that has come to `epoch`; none if it goes on itself.

    Nobody waits: each is compared by its latest score until then. Who is among the worst ends for one of the best that has
    come as far, if that is better.
    """
    latest = {
        member.trial_id: max((at, score) for at, score in member.scores.items() if at <= epoch)[1]
        for member in members
        if any(at <= epoch for at in member.scores)
    }
    ranked = sorted(latest, key=lambda name: latest[name])
    count = min(math.ceil(len(ranked) * config.quantile), len(ranked) // 2)
    if trial_id not in ranked[:count]:
        return []
    came = {member.trial_id for member in members if epoch in member.scores}
    return [name for name in ranked[-count:] if name in came and latest[name] > latest[trial_id]]


def explored(space: Space, values: Mapping[str, Scalar], resample: float, draw: random.Random) -> Values:
    """Settings near `values`; each is sampled anew with probability `resample`. All lie in the space, and may be the same."""
    fresh = sample(space, draw)
    return {
        key: fresh[key] if draw.random() < resample else _beside(domain, values[key], draw)
        for key, domain in space.items()
    }


def _beside(domain: Domain, value: Scalar, draw: random.Random) -> Scalar:
    if isinstance(domain, Choice):
        at = domain.choice.index(value) + draw.choice((-1, 1))
        return domain.choice[min(max(at, 0), len(domain.choice) - 1)]
    assert isinstance(value, (int, float)), "of a range"
    near = value * draw.choice(FACTORS)
    if isinstance(domain, IntegerRange):
        low, high = domain.randint
        return min(max(round(near), low), high)
    low, high = domain.uniform if isinstance(domain, Uniform) else domain.loguniform
    return min(max(near, low), high)
