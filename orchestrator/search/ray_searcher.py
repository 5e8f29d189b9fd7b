"""Ray Tune's searchers by their names, used without a Tune run: each asks for a package of its own."""

import importlib
from collections.abc import Sequence
from typing import Any

from ..spec.domains import Choice, Domain, IntegerRange, LogUniform, Scalar, Uniform
from ..spec.errors import UserError
from ..spec.search import SearchConfig
from .points import Point
from .space import Space, Values, contains

PACKAGES = {
    "ax": "ax-platform sqlalchemy",
    "bayesopt": "'bayesian-optimization<2'",
    "hebo": "HEBO",
    "hyperopt": "hyperopt",
    "nevergrad": "nevergrad 'bayesian-optimization<2'",
    "zoopt": "zoopt",
}
"""What pip installs for each."""
VALUE = "value"


class RaySearcher:
    """One searcher, which has the points of earlier runs to begin with."""

    learns = True

    def __init__(self, search: SearchConfig, space: Space, known: Sequence[Point]):
        """Raises UserError: its package is not installed, or it cannot search such axes."""
        self._space = space
        self._objective = search.main
        self._asked: list[tuple[str, Values]] = []
        self._count = 0
        begin = [dict(point.values) for point in known if contains(space, point.values)]
        try:
            self._searcher = _make(search, {key: _domain(domain) for key, domain in space.items()}, begin)
            for _ in begin:  # the search runs these by itself
                self.next()
        except Exception as error:  # whatever a foreign package raises
            reason = " ".join(str(error).split())[:300]
            packages = PACKAGES[search.algorithm]
            raise UserError(
                f"search.algorithm: '{search.algorithm}' cannot be used here: {reason} (it needs: pip install {packages})"
            ) from None

    def next(self) -> Values | None:
        """The next point."""
        self._count += 1
        name = f"point-{self._count}"
        found: Any = self._searcher.suggest(name)
        if not isinstance(found, dict):
            return None
        values = {key: _plain(found[key], domain) for key, domain in self._space.items()}
        self._asked.append((name, values))
        return values

    def refuse(self) -> None:
        """The searcher takes it as failed."""
        name, _ = self._asked.pop()
        self._searcher.on_trial_complete(name, error=True)

    def tell(self, point: Point) -> None:
        """Only of points that it was asked for: what else is known it cannot learn."""
        asked = next((pair for pair in self._asked if pair[1] == point.values), None)
        if asked is None:
            return
        self._asked.remove(asked)
        name, _ = asked
        if self._objective not in point.scores:
            self._searcher.on_trial_complete(name, error=True)
            return
        result = {VALUE: point.scores[self._objective], "training_iteration": max(point.curve, default=1)}
        self._searcher.on_trial_result(name, result)
        self._searcher.on_trial_complete(name, result)


def _make(search: SearchConfig, space: dict[str, Any], begin: list[dict[str, Scalar]]) -> Any:
    from ray.tune.search import create_searcher

    options: dict[str, Any] = {
        "points_to_evaluate": begin or None,
        "budget": search.points,
        **dict.fromkeys(("seed", "random_state", "random_state_seed"), search.seed),  # each has one of these names
    }
    if search.algorithm == "nevergrad":
        options["optimizer"] = importlib.import_module("nevergrad").optimizers.NGOpt
    searcher = create_searcher(search.algorithm, **options)
    searcher.set_search_properties(VALUE, "max", space)
    return searcher


def _domain(domain: Domain) -> Any:
    from ray import tune

    if isinstance(domain, Uniform):
        return tune.uniform(*domain.uniform)
    if isinstance(domain, LogUniform):
        return tune.loguniform(*domain.loguniform)
    if isinstance(domain, IntegerRange):
        low, high = domain.randint
        return tune.randint(low, high + 1)
    return tune.choice(list(domain.choice))


def _plain(value: Any, domain: Domain) -> Scalar:
    """A number as Python's own, where the package has NumPy's."""
    if isinstance(domain, Choice):
        return next(choice for choice in domain.choice if choice == value)
    return int(value) if isinstance(domain, IntegerRange) else float(value)
