"""The points of a search and their scores, as the store keeps them."""

from collections.abc import Mapping, Sequence

from ..spec.identity import digest, evaluation_id
from ..spec.models import Domain, SearchConfig, SweepSpec
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import Record
from .space import Values


class Point(Record):
    """One sampled point of a search."""

    search: str = ""
    """`search_id` of the search that sampled it; empty in stores of earlier versions."""
    trial_id: str
    values: Values
    value: float | None
    """The metric at its end, in percent; None while there is none."""
    stopped: bool = False
    """Ended early: it is not tried again."""


class Points(Record):
    """All points of a sweep: of each search in the order of their sampling, a point that was sampled twice twice."""

    points: tuple[Point, ...] = ()


def search_id(search: SearchConfig, space: Mapping[str, Domain], template: PlannedTrial) -> str:
    """Hash of what must be the same for two points to be of one search: axes, metric, data, and all training that is not searched.

    `template` is the trial of the search's row before anything is sampled.
    """
    name = search.metric.partition("/")[0]
    content = {
        "space": {key: domain.model_dump(mode="json") for key, domain in space.items()},
        "metric": search.metric,
        "evaluation": [evaluation_id(config) for config in template.trial.evaluate if config.name == name],
        "trial": template.trial_id,
    }
    return digest(content)


def read_points(spec: SweepSpec, store: Store) -> list[Point]:
    """The points that earlier runs of the sweep have sampled, also for searches that the file no longer asks for."""
    record = store.read_record(_name(spec), Points)
    return list(record.points) if record else []


def write_points(spec: SweepSpec, store: Store, points: Sequence[Point]) -> None:
    """Keep the points of today's searches, beside those of earlier ones."""
    searches = {point.search for point in points}
    others = [point for point in read_points(spec, store) if point.search not in searches]
    store.write_record(_name(spec), Points(points=(*others, *points)))


def _name(spec: SweepSpec) -> str:
    return f"sweeps/{spec.name}/search.json"


def best_of(points: Sequence[Point]) -> Point | None:
    """The best point that ran to its end."""
    ended = [point for point in points if point.value is not None and not point.stopped]
    return max(ended, key=lambda point: point.value or 0.0, default=None)
