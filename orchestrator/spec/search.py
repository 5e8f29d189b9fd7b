"""The search of a sweep file: its axes, where points come from, what decides, and when it ends."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from ...evaluation.base import Metric
from ...evaluation.registry import EVALUATIONS, MONITOR, is_of_a_name, search_metrics
from ...methods.config import Config, Probability
from ...methods.quantities import integer, plural
from .constraints import Constraint
from .domains import LogUniform, OneOrSeveral, SearchAxis, Uniform, distinct
from .errors import Misfit, did_you_mean, one_of, show, unknown

MAX_POINTS = 10_000
POINTS = 16
"""Of a search that says neither how many nor when it ends."""
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Algorithm(NamedTuple):
    """What there is to know of a sampler before it is made."""

    several: bool = False
    """Whether it can look for a trade-off between several objectives."""
    conditions: bool = False
    """Whether an axis may depend on another one."""
    of_ray: bool = False
    """One of Ray Tune's searchers, which need packages of their own."""


ALGORITHMS: Mapping[str, Algorithm] = {
    "random": Algorithm(several=True, conditions=True),
    "grid": Algorithm(several=True, conditions=True),
    "optuna": Algorithm(several=True, conditions=True),
    "tpe": Algorithm(several=True, conditions=True),
    "bohb": Algorithm(conditions=True),
    "pbt": Algorithm(),
    "gp": Algorithm(several=True),
    "cmaes": Algorithm(),
    "nsgaii": Algorithm(several=True, conditions=True),
    "qmc": Algorithm(several=True),
    "ax": Algorithm(of_ray=True),
    "bayesopt": Algorithm(of_ray=True),
    "hebo": Algorithm(of_ray=True),
    "hyperopt": Algorithm(of_ray=True),
    "nevergrad": Algorithm(of_ray=True),
    "zoopt": Algorithm(of_ray=True),
}
"""Our own, Optuna's samplers by their names (`optuna` is its default, `tpe`), BOHB by one of these, and those of Ray Tune."""

COSTS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("hours", "hours", higher_is_better=False, digits=2),
        Metric("gpu_hours", "GPU-hours", higher_is_better=False, digits=2),
        Metric("memory_gb", "memory", "GB", higher_is_better=False),
        Metric("parameters", "parameters", "M", higher_is_better=False),
        Metric("images_per_second", "images/s", digits=0),
    )
}
"""What a trial takes, as an objective or a limit."""


class EarlyStopping(Config):
    """A scheduler of Ray Tune's, asked after each scored epoch."""

    name: Literal["asha", "hyperband", "median"] = Field(
        default="asha",
        description="asha: of each rung's trials, one in `reduction` goes on; hyperband: the same with several first rungs;"
        " median: what is worse than the median of the others ends",
    )
    grace_epochs: PositiveInt = Field(default=10, description="no trial ends before")
    reduction: Annotated[int, Field(ge=2)] = 3


class PopulationConfig(Config):
    """Population based training (arXiv:1711.09846): the worst members end, and the best go on in their place with other settings."""

    interval_epochs: PositiveInt = Field(default=10, description="between two comparisons of a member with the others")
    quantile: Annotated[float, Field(gt=0, le=0.5)] = Field(
        default=0.25, description="share of the members that are among the worst, and among the best"
    )
    resample: Probability = Field(
        default=0.25, description="how often a setting is sampled anew, and not next to the value that it had"
    )


TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h|d)")
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def _time(value: str) -> str:
    if not TIME.fullmatch(value):
        raise Misfit(f"got {show(value)}; must be a time as '90 min', '12 h' or '2 d'")
    return value


def _without_cycles(space: dict[str, Any]) -> dict[str, Any]:
    """Conditions lead from axis to axis and never back."""
    for key in space:
        seen, waiting = {key}, [key]
        while waiting:
            for other in space[waiting.pop()].when:
                if other == key:
                    raise Misfit("depends on itself", (key, "when"))
                if other in space and other not in seen:
                    seen.add(other)
                    waiting.append(other)
    return space


class SearchConfig(Config):
    """Sampled axes, per method; scored on a held-out part of the training set, never on the test set."""

    space: Annotated[dict[str, SearchAxis], Field(min_length=1), AfterValidator(_without_cycles)]
    algorithm: str = Field(default="random", description="where points come from")
    trials: Annotated[int, Field(ge=1, le=MAX_POINTS)] | None = Field(
        default=None, description="points for each row of the table; unset: the whole grid, or 16"
    )
    gpu_hours: PositiveFloat | None = Field(
        default=None,
        description="of each row: once its trials have taken so many hours of a worker's device, no further one begins",
    )
    wall_time: Annotated[str, AfterValidator(_time)] | None = Field(
        default=None, description="as '12 h': after it no further trial of the search begins"
    )
    metric: Annotated[tuple[str, ...], Field(min_length=1), OneOrSeveral] = Field(
        default=(EVALUATIONS[MONITOR].main_key,),
        description="what decides; of several objectives the first does, and the report has the Pareto front of all",
    )
    limits: dict[str, PositiveFloat] = Field(
        default_factory=dict, description="what a trial takes at most (at least: images_per_second), to be chosen"
    )
    constraints: tuple[Constraint, ...] = Field(
        default=(), description="comparisons of dotted keys, as 'pretrain.schedule.warmup_epochs < pretrain.epochs / 2'"
    )
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(distinct)] | None = Field(
        default=None,
        description="the first of each point; the best half gets the second, the best quarter the third; unset: the first of `seeds`",
    )
    early_stopping: EarlyStopping | None = None
    population: PopulationConfig | None = Field(default=None, description="of `algorithm: pbt`, with `trials` members")
    seed: Seed = Field(default=0, description="of the sampling")

    @property
    def pbt(self) -> PopulationConfig | None:
        """How the population of `algorithm: pbt` develops; None for all others."""
        return (self.population or PopulationConfig()) if self.algorithm == "pbt" else None

    @property
    def main(self) -> str:
        """The objective that decides."""
        return self.metric[0]

    @property
    def points(self) -> int:
        """How many are sampled at most."""
        bounded = self.algorithm != "grid" and self.gpu_hours is None and self.wall_time is None
        return self.trials or (POINTS if bounded else MAX_POINTS)

    @property
    def extent(self) -> str:
        """How much each row tries, in words."""
        if self.trials is None and self.algorithm == "grid":
            what = "every point of its grid"
        elif self.algorithm == "pbt":
            what = f"a population of {integer(self.points)}"
        else:
            what = plural(self.points, "sampled point") if self.points < MAX_POINTS else "sampled points"
        bounds = [f"{self.gpu_hours:g} GPU-hours"] if self.gpu_hours is not None else []
        bounds += [self.wall_time] if self.wall_time is not None else []
        seeds = (
            f", the best with up to {len(self.seeds)} seeds" if self.seeds is not None and len(self.seeds) > 1 else ""
        )
        return what + seeds + (f", within {' and '.join(bounds)}" if bounds else "")

    @property
    def seconds(self) -> float | None:
        """After which no trial begins."""
        if self.wall_time is None:
            return None
        match = TIME.fullmatch(self.wall_time)
        assert match is not None
        return float(match[1]) * SECONDS[match[2]]

    @field_validator("algorithm")
    @classmethod
    def algorithm_exists(cls, algorithm: str) -> str:
        if algorithm not in ALGORITHMS:
            raise Misfit(unknown("algorithm", algorithm, ALGORITHMS))
        return algorithm

    @field_validator("metric")
    @classmethod
    def metrics_exist(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for i, metric in enumerate(metrics):
            allowed = [*search_metrics(), *(COSTS if i else ())]
            at = (i,) if len(metrics) > 1 else ()
            if metric not in allowed and not is_of_a_name(metric):
                raise Misfit(f"got {show(metric)}; must be {one_of(allowed)}{did_you_mean(metric, allowed)}", at)
            if metric in metrics[:i]:
                raise Misfit(f"duplicate objective {show(metric)}; list each once", at)
        return metrics

    @field_validator("limits")
    @classmethod
    def limits_exist(cls, limits: dict[str, float]) -> dict[str, float]:
        for key in limits:
            if key not in COSTS:
                raise Misfit(unknown("limit", key, COSTS), (key,))
        return limits

    @field_validator("early_stopping")
    @classmethod
    def metric_of_epochs(cls, value: EarlyStopping | None, info: ValidationInfo) -> EarlyStopping | None:
        metrics = info.data.get("metric")
        allowed = search_metrics(of_epochs=True)
        if value is not None and metrics is not None and metrics[0] not in allowed:
            raise Misfit(f"compares epochs, so `search.metric` must be {one_of(allowed)}, but it is '{metrics[0]}'")
        return value

    @model_validator(mode="after")
    def algorithm_can(self) -> "SearchConfig":
        """What the algorithm has no means for is refused, not left out."""
        able = ALGORITHMS[self.algorithm]
        if self.algorithm == "bohb" and (self.early_stopping is None or self.early_stopping.name != "hyperband"):
            raise Misfit(
                "'bohb' learns from trials that HyperBand ends; add `early_stopping: {name: hyperband}`", ("algorithm",)
            )
        if len(self.metric) > 1 and not able.several:
            names = [name for name, other in ALGORITHMS.items() if other.several]
            raise Misfit(
                f"has several, which `algorithm: {self.algorithm}` cannot weigh; use {one_of(names)}", ("metric",)
            )
        for key, axis in self.space.items():
            if not able.conditions and any(other in self.space for other in axis.when):
                names = [name for name, other in ALGORITHMS.items() if other.conditions]
                text = f"depends on another axis, which `algorithm: {self.algorithm}` cannot do; use {one_of(names)}"
                raise Misfit(text, ("space", key, "when"))
            if self.algorithm == "grid" and isinstance(axis, (Uniform, LogUniform)):
                raise Misfit(
                    "has no end of values, and `algorithm: grid` tries all; use {choice: [...]}", ("space", key)
                )
        return self

    @model_validator(mode="after")
    def population_alone(self) -> "SearchConfig":
        """A population has its own ends and bounds."""
        if self.algorithm != "pbt":
            if self.population is not None:
                raise Misfit("is of `algorithm: pbt` alone; remove it", ("population",))
            return self
        allowed = search_metrics(of_epochs=True)
        if self.main not in allowed:
            raise Misfit(f"`algorithm: pbt` compares epochs, so it must be {one_of(allowed)}", ("metric",))
        if self.early_stopping is not None:
            raise Misfit("`algorithm: pbt` ends trials by itself; remove it", ("early_stopping",))
        if self.seeds is not None and len(self.seeds) > 1:
            raise Misfit("`algorithm: pbt` trains its members with one seed; list one", ("seeds",))
        for key in ("gpu_hours", "wall_time"):
            if getattr(self, key) is not None:
                raise Misfit("`algorithm: pbt` is bounded by `trials` and `pretrain.epochs`; remove it", (key,))
        return self
