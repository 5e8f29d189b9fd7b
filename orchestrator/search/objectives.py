"""What a search compares of a trial: metrics of its evaluations, and what it took."""

from collections.abc import Mapping, Sequence

from ..spec.identity import evaluation_id
from ..spec.models import ShapeConfig, TrialSpec
from ..spec.search import COSTS
from ..store.records import Cost
from ..store.trial_status import TrialStatus

Scores = dict[str, float]
"""By objective."""


def is_maximised(objective: str) -> bool:
    """Whether more is better."""
    return objective not in COSTS or COSTS[objective].higher_is_better


def scores_of(trial: TrialSpec, status: TrialStatus, objectives: Sequence[str], devices: float) -> Scores | None:
    """All objectives of a trial that is complete; None if one is missing. `devices`: see `devices_of`."""
    found: Scores = {}
    for objective in objectives:
        value = _cost(objective, status, devices) if objective in COSTS else _metric(objective, trial, status)
        if value is None:
            return None
        found[objective] = value
    return found


def _metric(objective: str, trial: TrialSpec, status: TrialStatus) -> float | None:
    name, _, measure = objective.partition("/")
    config = next((item for item in trial.evaluate if item.known_as == name), None)
    record = status.evaluations.get(evaluation_id(config)) if config is not None else None
    return None if record is None else record.metrics.get(measure)


def _cost(objective: str, status: TrialStatus, devices: float) -> float | None:
    done = status.pretrain
    if done is None:
        return None
    memory = done.cost.gpu_reserved or done.cost.resident
    values: Mapping[str, float | None] = {
        "hours": done.cost.seconds / 3600,
        "gpu_hours": _device_hours(done.cost, devices),
        "memory_gb": None if memory is None else memory / 1e9,
        "parameters": done.parameters,
        "images_per_second": done.images_per_second,
    }
    return values[objective]


def hours_of(status: TrialStatus, devices: float) -> float:
    """What a trial has taken of its devices so far, evaluations included, however it ended."""
    done = [record.cost for record in status.evaluations.values()]
    done += [status.pretrain.cost] if status.pretrain is not None else []
    hours = sum(_device_hours(cost, devices) for cost in done)
    return hours + (status.progress.seconds / 3600 * devices if status.pretrain is None else 0.0)


def _device_hours(cost: Cost, devices: float) -> float:
    """Of the GPUs that it had, or of `devices` if that is not known."""
    return cost.seconds / 3600 * (devices if cost.gpus is None else cost.workers * cost.gpus)


def devices_of(resources: ShapeConfig) -> float:
    """How many devices a trial holds: GPUs, or a worker's CPUs if it has none; a whole GPU as long as no part is measured."""
    return resources.workers * (resources.known_gpus or 1.0)


def is_better(objective: str, a: float, b: float) -> bool:
    """Whether `a` is better than `b`, and not as good."""
    return a > b if is_maximised(objective) else a < b


def keeps(limits: Mapping[str, float], scores: Mapping[str, float]) -> bool:
    """Whether a trial took no more than is allowed."""
    return not any(key in scores and is_better(key, limit, scores[key]) for key, limit in limits.items())


def dominates(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    """Whether `a` is better than `b` in one objective, and worse in none."""
    return any(is_better(key, a[key], b[key]) for key in a) and not any(is_better(key, b[key], a[key]) for key in a)
