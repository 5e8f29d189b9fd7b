"""Where the points of a search come from."""

import random
from typing import TYPE_CHECKING, Protocol

from ..spec.models import Choice, Domain, IntegerRange, LogUniform, SearchConfig, Uniform
from .space import Values, sample

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class Sampler(Protocol):
    """A sequence of points; some look at the scores of those before."""

    learns: bool
    """Whether a point is better sampled after others have been scored."""

    def next(self) -> Values:
        """The next point."""
        ...

    def tell(self, values: Values, score: float | None) -> None:
        """The score of a point, or None if its trial failed."""
        ...


class RandomSampler:
    """The same points at every call for one search, one by one."""

    learns = False

    def __init__(self, space: dict[str, Domain], key: str):
        self._space, self._draw = space, random.Random(key)

    def next(self) -> Values:
        """The next point."""
        return sample(self._space, self._draw)

    def tell(self, values: Values, score: float | None) -> None:
        """Nothing is learnt."""


class OptunaSampler:
    """Optuna's tree-structured Parzen estimator, told of all points so far."""

    learns = True

    def __init__(self, space: dict[str, Domain], seed: int):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._space = {key: _distribution(domain) for key, domain in space.items()}
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))

    def next(self) -> Values:
        """The next point."""
        return dict(self._study.ask(self._space).params)

    def tell(self, values: Values, score: float | None) -> None:
        """Add a point that was scored, or that failed."""
        state = self._optuna.trial.TrialState.FAIL if score is None else self._optuna.trial.TrialState.COMPLETE
        self._study.add_trial(
            self._optuna.trial.create_trial(params=values, distributions=self._space, value=score, state=state)
        )


def _distribution(domain: Domain) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Uniform):
        return FloatDistribution(*domain.uniform)
    if isinstance(domain, LogUniform):
        return FloatDistribution(*domain.loguniform, log=True)
    if isinstance(domain, IntegerRange):
        return IntDistribution(*domain.randint)
    assert isinstance(domain, Choice)
    return CategoricalDistribution(domain.choice)


def sampler_for(search: SearchConfig, space: dict[str, Domain], key: str, seen: int) -> Sampler:
    """The sampler that the sweep asks for; `key` tells the search from others of the sweep, `seen` counts earlier points."""
    if search.algorithm == "random":
        return RandomSampler(space, f"{search.seed} {key}")
    return OptunaSampler(space, search.seed + seen)
