"""Optuna's samplers: told of every point so far, whoever sampled it."""

import warnings
from typing import TYPE_CHECKING, cast

from ..spec.domains import Choice, Domain, IntegerRange, LogUniform, Scalar, Uniform
from ..spec.search import SearchConfig
from .objectives import is_better, is_maximised, keeps
from .points import Point
from .space import Space, Values, is_active

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial, TrialState


class OptunaSampler:
    """A study whose trials are the points of one search."""

    def __init__(self, search: SearchConfig, space: Space, seen: int):
        """`seen` counts earlier points: another run of the search does not sample the same again."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._optuna, self._search, self._space = optuna, search, space
        self._distributions = {key: _distribution(domain) for key, domain in space.items()}
        to = optuna.study.StudyDirection
        directions = [to.MAXIMIZE if is_maximised(name) else to.MINIMIZE for name in search.metric]
        self.learns = search.algorithm != "qmc"
        # what does not learn goes on in its one sequence, of which the search leaves out what it has
        sampler = _sampler(search.algorithm, search.seed + (seen if self.learns else 0))
        self._study = optuna.create_study(directions=directions, sampler=sampler)
        self._asked: list[tuple[Values, Trial]] = []
        self._weighs_limits = search.algorithm not in ("qmc", "cmaes")

    def next(self) -> Values | None:
        """The next point."""
        trial = self._study.ask()
        values: Values = {}
        for key, domain in self._space.items():
            if is_active(domain, self._space, values):
                values[key] = _suggested(trial, key, domain)
        self._asked.append((values, trial))
        return values

    def refuse(self) -> None:
        """The study keeps it as failed."""
        _, trial = self._asked.pop()
        self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)

    def tell(self, point: Point) -> None:
        """End a trial that it was sampled for, or add one: each point is told as often as it was sampled."""
        states = self._optuna.trial.TrialState
        several = len(self._search.metric) > 1
        state = self._state(point)
        values = None if state is states.FAIL else [point.scores[name] for name in self._search.metric]
        limits = {
            name: _excess(name, point.scores[name], limit)
            for name, limit in self._search.limits.items()
            if name in point.scores and self._weighs_limits
        }
        asked = next((pair for pair in self._asked if pair[0] == point.values), None)
        if asked is None:
            trial = self._optuna.trial.create_trial(
                params=point.values,
                distributions={key: self._distributions[key] for key in point.values},
                values=values,
                state=state,
                intermediate_values=dict(point.curve),
                constraints=limits or None,
            )
            self._study.add_trial(trial)
            return
        self._asked.remove(asked)
        _, trial = asked
        if not several:
            for epoch, score in point.curve.items():
                trial.report(score, epoch)
        for name, excess in limits.items():
            trial.set_constraint(name, excess)
        self._study.tell(trial, values if state is states.COMPLETE else None, state)

    def _state(self, point: Point) -> "TrialState":
        states = self._optuna.trial.TrialState
        if not point.scores or (not self._weighs_limits and not keeps(self._search.limits, point.scores)):
            return states.FAIL
        if point.stopped:  # of several objectives, half a training says nothing
            return states.PRUNED if len(self._search.metric) == 1 else states.FAIL
        return states.COMPLETE


def _excess(name: str, value: float, limit: float) -> float:
    """By how much a limit is broken; at most 0 if it is kept."""
    return abs(value - limit) if is_better(name, limit, value) else -abs(value - limit)


def _sampler(algorithm: str, seed: int) -> "BaseSampler":
    from optuna import samplers

    independent = samplers.RandomSampler(seed=seed)
    match algorithm:
        case "gp":
            return samplers.GPSampler(seed=seed, independent_sampler=independent, warn_independent_sampling=False)
        case "cmaes":
            return samplers.CmaEsSampler(
                seed=seed, independent_sampler=independent, warn_independent_sampling=False, consider_pruned_trials=True
            )
        case "nsgaii":
            return samplers.NSGAIISampler(seed=seed, population_size=20)
        case "qmc":
            return samplers.QMCSampler(
                seed=seed, scramble=True, independent_sampler=independent,
                warn_independent_sampling=False, warn_asynchronous_seeding=False,
            )  # fmt: skip
        case "bohb":
            # one estimator over all axes, of the points that went furthest: Falkner et al., arXiv:1807.01774
            return samplers.TPESampler(seed=seed, multivariate=True, group=True)
        case _:
            return samplers.TPESampler(seed=seed)


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


def _suggested(trial: "Trial", key: str, domain: Domain) -> Scalar:
    if isinstance(domain, Uniform):
        return trial.suggest_float(key, *domain.uniform)
    if isinstance(domain, LogUniform):
        return trial.suggest_float(key, *domain.loguniform, log=True)
    if isinstance(domain, IntegerRange):
        return trial.suggest_int(key, *domain.randint)
    assert isinstance(domain, Choice)
    return cast(Scalar, trial.suggest_categorical(key, domain.choice))
