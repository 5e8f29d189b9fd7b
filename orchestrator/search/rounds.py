"""Search: settings sampled for each method, scored on held-out training images; the best then get the real seeds.

The points and their scores are in the store, so a resumed search samples only the rest, and knows what it saw.
"""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..engine.board import Job
from ..spec.expand import Group, applies, resolve
from ..spec.models import Choice, Domain, IntegerRange, LogUniform, SearchConfig, SweepSpec, TrialSpec, Uniform
from ..store.files import Store
from ..store.records import Record
from ..store.trial_folder import TrialStore
from ..sweep.plan import Planned

if TYPE_CHECKING:
    from ..engine.ray_engine import Engine


class Point(Record):
    """One sampled point of one group's search."""

    group: str
    trial_id: str
    values: dict[str, Any]
    value: float | None
    """The metric at its end, in percent; None where there is none yet."""
    stopped: bool = False
    """Ended early by the scheduler: it is not tried again."""


class Points(Record):
    points: tuple[Point, ...] = ()


def group_key(group: Group) -> str:
    return f"{group.index}-{group.entry.name}-{group.axes}"


def read_points(spec: SweepSpec, store: Store) -> list[Point]:
    """The points that earlier runs of the sweep have sampled."""
    record = store.read_record(f"sweeps/{spec.name}/search.json", Points)
    return list(record.points) if record else []


def write_points(spec: SweepSpec, store: Store, points: list[Point]) -> None:
    store.write_record(f"sweeps/{spec.name}/search.json", Points(points=tuple(points)))


def domains(search: SearchConfig, group: Group) -> dict[str, Domain]:
    """The axes that say something about the group's method."""
    return {key: domain for key, domain in search.space.items() if applies(key, group.entry)}


def random_trials(spec: SweepSpec, group: Group) -> list[tuple[dict[str, Any], TrialSpec]]:
    """Points of a random search with their trials; the same at every call."""
    assert spec.search is not None
    draw = random.Random(f"{spec.search.seed} {group_key(group)}")
    space = domains(spec.search, group)
    points = [{key: _sample(domain, draw) for key, domain in space.items()} for _ in range(spec.search.trials)]
    return [(point, resolve(spec, group, spec.seeds[0], point, holdout=True)) for point in points]


def _sample(domain: Domain, draw: random.Random) -> Any:
    if isinstance(domain, Uniform):
        return draw.uniform(*domain.uniform)
    if isinstance(domain, LogUniform):
        low, high = domain.loguniform
        return low * (high / low) ** draw.random()
    if isinstance(domain, IntegerRange):
        return draw.randint(*domain.randint)
    return draw.choice(domain.choice)


def tune_space(search: SearchConfig, group: Group) -> dict[str, Any]:
    """The axes as Ray Tune has them."""
    from ray import tune

    space: dict[str, Any] = {}
    for key, domain in domains(search, group).items():
        if isinstance(domain, Uniform):
            space[key] = tune.uniform(*domain.uniform)
        elif isinstance(domain, LogUniform):
            space[key] = tune.loguniform(*domain.loguniform)
        elif isinstance(domain, IntegerRange):
            space[key] = tune.randint(domain.randint[0], domain.randint[1] + 1)
        else:
            assert isinstance(domain, Choice)
            space[key] = tune.choice(list(domain.choice))
    return space


def score(folder: TrialStore, trial: TrialSpec, metric: str) -> float | None:
    """The search's metric of a trial: of its evaluation, or of its last epoch that was evaluated."""
    name, _, measure = metric.partition("/")
    config = next(item for item in trial.evaluate if item.name == name)
    record = folder.evaluation(config)
    if record is not None:
        return record.metrics[measure]
    seen = [epoch.logs[metric] for epoch in folder.history() if metric in epoch.logs]
    return seen[-1] if seen else None


def best_point(points: list[Point], group: Group) -> dict[str, Any] | None:
    """Values of the group's best point that ran to its end."""
    ended = [p for p in points if p.group == group_key(group) and p.value is not None and not p.stopped]
    return max(ended, key=lambda point: point.value or 0.0).values if ended else None


def run_group(
    spec: SweepSpec, group: Group, planned: list[Planned], known: list[Point], start: Callable[[], "Engine"]
) -> None:
    """Sample and carry what is still missing of the group's search.

    `planned` are a random search's trials; an Optuna search samples its own, knowing the `known` points. `start` gives
    the engine, and is called only if there is something to carry.
    """
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    search = spec.search
    assert search is not None
    scheduler = None
    if search.early_stopping is not None:
        scheduler = ASHAScheduler(
            time_attr="epoch",
            max_t=max(1, resolve(spec, group, spec.seeds[0]).pretrain.epochs),
            grace_period=search.early_stopping.grace_epochs,
            reduction_factor=search.early_stopping.reduction,
        )
    if search.algorithm == "random":
        stopped = {point.trial_id for point in known if point.stopped}
        jobs: list[Job] = [item.job() for item in planned if item.trial_id not in stopped and item.missing()]
        if jobs:
            start().run(jobs, search.metric, scheduler)
        return
    seen = [point for point in known if point.group == group_key(group) and point.value is not None]
    rest = search.trials - len(seen)
    if rest <= 0:
        return
    searcher = OptunaSearch(
        tune_space(search, group),
        metric="value",
        mode="max",
        seed=search.seed + len(seen),
        points_to_evaluate=[point.values for point in seen] or None,
        evaluated_rewards=[point.value for point in seen] or None,
    )
    base = {
        "spec": spec.model_dump(mode="json", exclude_unset=True),
        "group": group.index,
        "axes": group.axes,
        "prepared": planned[0].prepared.model_dump(mode="json"),
    }
    start().sample(base, rest, search.metric, searcher, scheduler)
