"""The points of a search and their scores, as the store keeps them."""

from ..spec.expand import Group
from ..spec.models import SweepSpec
from ..store.files import Store
from ..store.records import Record
from .space import Values


class Point(Record):
    """One sampled point of one group's search."""

    group: str
    trial_id: str
    values: Values
    value: float | None
    """The metric at its end, in percent; None while there is none."""
    stopped: bool = False
    """Ended early: it is not tried again."""


class Points(Record):
    points: tuple[Point, ...] = ()


def group_key(group: Group) -> str:
    """Which points are a group's."""
    return f"{group.index}-{group.entry.name}-{group.axes}"


def read_points(spec: SweepSpec, store: Store) -> list[Point]:
    """The points that earlier runs of the sweep have sampled."""
    record = store.read_record(f"sweeps/{spec.name}/search.json", Points)
    return list(record.points) if record else []


def write_points(spec: SweepSpec, store: Store, points: list[Point]) -> None:
    store.write_record(f"sweeps/{spec.name}/search.json", Points(points=tuple(points)))


def best_of(points: list[Point]) -> Values | None:
    """Values of the best point that ran to its end."""
    ended = [point for point in points if point.value is not None and not point.stopped]
    return max(ended, key=lambda point: point.value or 0.0).values if ended else None
