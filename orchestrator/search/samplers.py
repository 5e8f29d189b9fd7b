"""Where the points of a search come from."""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Protocol

from ..spec.domains import Choice, IntegerRange
from ..spec.search import ALGORITHMS, SearchConfig
from .points import Point
from .space import Space, Values, is_active, sample


class Sampler(Protocol):
    """A sequence of points; some look at the scores of those before."""

    learns: bool
    """Whether a point is better sampled after others have been scored."""

    def next(self) -> Values | None:
        """The next point; None if there is no other."""
        ...

    def refuse(self) -> None:
        """The point that was sampled last cannot be run."""
        ...

    def tell(self, point: Point) -> None:
        """A point of the search, or one that is known from elsewhere, has come to its end; without scores, it failed.

        A point that was sampled twice is told twice.
        """
        ...


class RandomSampler:
    """The same sequence at every call for one search."""

    learns = False

    def __init__(self, space: Space, key: str):
        """`key` tells the sequence from others."""
        self._space, self._draw = space, random.Random(key)

    def next(self) -> Values | None:
        """The next point."""
        return sample(self._space, self._draw)

    def refuse(self) -> None:
        """Nothing is learnt."""

    def tell(self, point: Point) -> None:
        """Nothing is learnt."""


class GridSampler:
    """Every point once: the values of the first axis change last."""

    learns = False

    def __init__(self, space: Space):
        self._points = _product(space)

    def next(self) -> Values | None:
        """The next point."""
        return next(self._points, None)

    def refuse(self) -> None:
        """Nothing is learnt."""

    def tell(self, point: Point) -> None:
        """Nothing is learnt."""


def _product(space: Space) -> Iterator[Values]:
    seen: set[tuple[tuple[str, object], ...]] = set()
    values: list[Sequence[bool | int | float | str]] = []
    for domain in space.values():
        assert isinstance(domain, (Choice, IntegerRange)), "the file was checked"
        values.append(domain.choice if isinstance(domain, Choice) else _integers(domain))
    for whole in itertools.product(*values):
        point: Values = {}
        for (key, domain), value in zip(space.items(), whole, strict=True):
            if is_active(domain, space, point):
                point[key] = value
        found = tuple((key, repr(value)) for key, value in point.items())
        if found not in seen:  # without an axis that is not there, two are the same
            seen.add(found)
            yield point


def _integers(domain: IntegerRange) -> Sequence[int]:
    low, high = domain.randint
    return range(low, high + 1)


def sampler_for(search: SearchConfig, space: Space, key: str, known: Sequence[Point]) -> Sampler:
    """The sampler that the sweep asks for.

    Args:
        search: of the sweep.
        space: the axes of the row.
        key: tells the search from others of the sweep.
        known: points of earlier runs, which a search has first.

    Raises:
        UserError: a package of Ray Tune's searcher is not installed.
    """
    if search.algorithm in ("random", "pbt"):
        return RandomSampler(space, f"{search.seed} {key}")
    if search.algorithm == "grid":
        return GridSampler(space)
    if ALGORITHMS[search.algorithm].of_ray:
        from .ray_searcher import RaySearcher

        return RaySearcher(search, space, known)
    from .optuna_sampler import OptunaSampler

    return OptunaSampler(search, space, seen=len(known))
